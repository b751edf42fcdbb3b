#include "camus/route.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unicode/ucal.h>
#include <unicode/udat.h>
#include <unicode/uloc.h>
#include <unicode/ustring.h>

#define FOLDER_BYTES 2048

struct route {
	enum conf_partitioner kind;
	int64_t length_ms;
	UCalendar *calendar;
	UDateFormat *format;
	char head[512];			/* "topic/hourly/", or "topic/" when the pattern has all the rest */
	/* The stretch of time with one offset from UTC that was asked for last. */
	int64_t offset_from, offset_to, offset;
	int64_t folder_bucket;
	bool folder_known;
	char folder[FOLDER_BYTES];
};

void
route_topic_folder(const char *topic, char *text)
{
	for (; *topic; topic++)
		*text++ = *topic == '.' ? '_' : *topic;
	*text = '\0';
}

/* Joda's letters to those of libicu, which differ in few. 0 or -EINVAL. */
static int
pattern_translate(const char *joda, UChar *icu, size_t room, struct err *err)
{
	size_t n = 0;
	bool quoted = false;
	char ascii[512];
	for (const char *p = joda; *p; p++) {
		char c = *p;
		if (c == '\'')
			quoted = !quoted;
		else if (!quoted && ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))) {
			switch (c) {
			case 'Y':		/* year of era */
				c = 'y';
				break;
			case 'y':
				c = 'u';	/* may be negative */
				break;
			case 'x':		/* week year */
				c = 'Y';
				break;
			case 'G': case 'w': case 'D': case 'M': case 'd': case 'a': case 'K': case 'h': case 'H': case 'k': case 'm': case 's':
			case 'S': case 'z': case 'Z': case 'E':
				break;
			default:
				return err_set(err, EINVAL, "\"%s\": the letter %c is no part of a pattern that is understood here (put text into "
					"single quotes)", joda, c);
			}
		}
		if (n + 2 >= sizeof ascii || n + 2 >= room)
			return err_set(err, EINVAL, "\"%s\": a pattern of more than %zu characters", joda, sizeof ascii - 2);
		ascii[n++] = c;
	}
	if (quoted)
		return err_set(err, EINVAL, "\"%s\": a single quote is not closed", joda);
	ascii[n] = '\0';
	UErrorCode status = U_ZERO_ERROR;
	u_strFromUTF8(icu, (int32_t)room, NULL, ascii, (int32_t)n, &status);
	return U_FAILURE(status) ? err_set(err, EINVAL, "\"%s\": no text in UTF-8", joda) : 0;
}

static int
partitioner_parse(const char *text, enum conf_partitioner *kind, struct err *err)
{
	static const struct {
		const char *name;
		enum conf_partitioner kind;
	} names[] = {
		{ "DefaultPartitioner", PARTITION_DEFAULT }, { "HourlyPartitioner", PARTITION_HOURLY }, { "DailyPartitioner", PARTITION_DAILY },
		{ "TimeBasedPartitioner", PARTITION_TIME }, { "TopicGroupingPartitioner", PARTITION_TOPIC_GROUP },
	};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (conf_class_is(text, names[i].name)) {
			*kind = names[i].kind;
			return 0;
		}
	return err_set(err, EINVAL, "etl.partitioner.class \"%s\": Java classes cannot be loaded; want DefaultPartitioner, HourlyPartitioner, "
		"DailyPartitioner, TimeBasedPartitioner or TopicGroupingPartitioner", text);
}

int
route_open(struct route **out, const struct camus_conf *conf, const char *topic, struct err *err)
{
	struct route *route = calloc(1, sizeof *route);
	if (!route)
		return err_set(err, ENOMEM, "no memory");
	*out = route;
	int rc = partitioner_parse(conf_topic(&conf->partitioners, topic, conf->partitioner), &route->kind, err);
	if (rc)
		return rc;
	const char *pattern = "YYYY/MM/dd/HH", *sub = conf->sub_dir ? conf->sub_dir : "hourly", *locale = "en_US";
	route->length_ms = (int64_t)conf->partition_minutes * 60000;
	if (route->kind == PARTITION_HOURLY)
		route->length_ms = 3600000;
	if (route->kind == PARTITION_DAILY) {
		route->length_ms = 86400000;
		pattern = "YYYY/MM/dd";
		sub = conf->sub_dir ? conf->sub_dir : "daily";
	}
	if (route->kind == PARTITION_TIME) {
		pattern = conf->path_format;
		locale = conf->locale;
	}
	char folder[256];
	if (strlen(topic) >= sizeof folder)
		return err_set(err, EINVAL, "topic %s: a name of more than %zu bytes", topic, sizeof folder - 1);
	route_topic_folder(topic, folder);
	if (route->kind == PARTITION_TIME)
		snprintf(route->head, sizeof route->head, "%s/", folder);
	else if ((size_t)snprintf(route->head, sizeof route->head, "%s/%s/", folder, sub) >= sizeof route->head)
		return err_set(err, EINVAL, "etl.destination.path.topic.sub.dir \"%s\": too long", sub);

	UChar zone[128], wide[520];
	UErrorCode status = U_ZERO_ERROR;
	int32_t zone_len = 0;
	u_strFromUTF8(zone, 128, &zone_len, conf->zone, -1, &status);
	/* An unknown name would quietly mean UTC. */
	UChar canonical[128];
	UBool system = false;
	if (U_SUCCESS(status))
		ucal_getCanonicalTimeZoneID(zone, zone_len, canonical, 128, &system, &status);
	if (U_FAILURE(status) || (!system && strncmp(conf->zone, "GMT", 3) != 0 && strcmp(conf->zone, "UTC") != 0))
		return err_set(err, EINVAL, "etl.default.timezone \"%s\": no such time zone (want one like Europe/Amsterdam)", conf->zone);
	rc = pattern_translate(pattern, wide, 520, err);
	if (rc)
		return err_prefix(err, rc, "etl.destination.path.topic.sub.dirformat");
	status = U_ZERO_ERROR;
	route->calendar = ucal_open(zone, zone_len, locale, UCAL_GREGORIAN, &status);
	route->format = udat_open(UDAT_PATTERN, UDAT_PATTERN, locale, zone, zone_len, wide, -1, &status);
	if (U_FAILURE(status))
		return err_set(err, EINVAL, "the calendar of %s, %s cannot be opened: %s", conf->zone, locale, u_errorName(status));
	return 0;
}

void
route_close(struct route *route)
{
	if (!route)
		return;
	if (route->calendar)
		ucal_close(route->calendar);
	if (route->format)
		udat_close(route->format);
	free(route);
}

/* Offset from UTC at an instant; remembers the stretch over which it holds. */
static int64_t
offset_at(struct route *route, int64_t utc_ms)
{
	if (utc_ms >= route->offset_from && utc_ms < route->offset_to)
		return route->offset;
	UErrorCode status = U_ZERO_ERROR;
	ucal_setMillis(route->calendar, (UDate)utc_ms, &status);
	int64_t offset = ucal_get(route->calendar, UCAL_ZONE_OFFSET, &status) + ucal_get(route->calendar, UCAL_DST_OFFSET, &status);
	if (U_FAILURE(status))
		return 0;
	UDate from, to;
	route->offset = offset;
	route->offset_from = ucal_getTimeZoneTransitionDate(route->calendar, UCAL_TZ_TRANSITION_PREVIOUS_INCLUSIVE, &from, &status) && U_SUCCESS(status)
		? (int64_t)from : INT64_MIN;
	status = U_ZERO_ERROR;
	route->offset_to = ucal_getTimeZoneTransitionDate(route->calendar, UCAL_TZ_TRANSITION_NEXT, &to, &status) && U_SUCCESS(status)
		? (int64_t)to : INT64_MAX;
	return offset;
}

/* The next change of the offset behind an instant, or the instant itself when there is none. */
static int64_t
next_change(struct route *route, int64_t utc_ms)
{
	offset_at(route, utc_ms);
	return route->offset_to == INT64_MAX ? utc_ms : route->offset_to;
}

/* Joda's DateTimeZone.convertLocalToUTC, not strict: a local time in a gap is taken with the offset before it. */
static int64_t
local_to_utc(struct route *route, int64_t local)
{
	int64_t offset_local = offset_at(route, local);
	int64_t offset = offset_at(route, local - offset_local);
	if (offset_local != offset && offset_local < 0 && next_change(route, local - offset_local) != next_change(route, local - offset))
		offset = offset_local;
	return local - offset;
}

static int64_t
floor_to(int64_t value, int64_t step)
{
	int64_t rest = value % step;
	return value - (rest < 0 ? rest + step : rest);
}

int64_t
route_bucket(struct route *route, int64_t time_ms)
{
	const int64_t most = (int64_t)8640000000000000;	/* what Java's Date can hold: further away is the edge */
	if (time_ms > most)
		time_ms = most;
	if (time_ms < -most)
		time_ms = -most;
	int64_t offset = offset_at(route, time_ms), local = floor_to(time_ms + offset, route->length_ms);
	/* An hour that is there twice is two buckets with one folder (Joda takes the later one for both, so that one began after its records). */
	if (offset_at(route, local - offset) == offset)
		return local - offset;
	return local_to_utc(route, local);
}

int64_t
route_bucket_end(struct route *route, int64_t bucket)
{
	int64_t local = bucket + offset_at(route, bucket);
	int64_t end = local_to_utc(route, floor_to(local, route->length_ms) + route->length_ms);
	return end > bucket ? end : bucket + route->length_ms;
}

const char *
route_folder(struct route *route, int64_t bucket)
{
	if (route->folder_known && route->folder_bucket == bucket)
		return route->folder;
	UChar wide[1024];
	UErrorCode status = U_ZERO_ERROR;
	int32_t len = udat_format(route->format, (UDate)bucket, wide, 1024, NULL, &status), bytes = 0;
	size_t head = strlen(route->head);
	memcpy(route->folder, route->head, head);
	if (U_SUCCESS(status))
		u_strToUTF8(route->folder + head, (int32_t)(FOLDER_BYTES - head), &bytes, wide, len, &status);
	if (U_FAILURE(status) || (size_t)bytes + head >= FOLDER_BYTES)
		return NULL;
	route->folder_bucket = bucket;
	route->folder_known = true;
	return route->folder;
}

int
route_file_name(char *text, size_t room, const char *topic, const char *leader, int32_t partition, uint64_t count, int64_t offset, int64_t bucket,
		const char *extension)
{
	char folder[256];
	if (strlen(topic) >= sizeof folder)
		return -ENAMETOOLONG;
	route_topic_folder(topic, folder);
	int n = snprintf(text, room, "%s.%s.%d.%llu.%lld.%lld%s", folder, leader, partition, (unsigned long long)count, (long long)offset,
		(long long)bucket, extension);
	return n < 0 || (size_t)n >= room ? -ENAMETOOLONG : 0;
}

int64_t
route_folder_end(struct route *route, int64_t bucket)
{
	const char *folder = route_folder(route, bucket);
	char *this = folder ? strdup(folder) : NULL;
	int64_t end = bucket;
	for (int i = 0; this && i < 100000; i++) {
		end = route_bucket_end(route, end);
		folder = route_folder(route, end);
		if (!folder || strcmp(folder, this) != 0) {
			free(this);
			return end;
		}
	}
	free(this);
	return INT64_MAX;
}
