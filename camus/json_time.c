/* The event time of a JSON record: camus.message.timestamp.field and .format. */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unicode/udat.h>
#include <unicode/ustring.h>

#include "base/calendar.h"
#include "camus/decode.h"

enum format { FORMAT_SECONDS, FORMAT_MILLISECONDS, FORMAT_ISO, FORMAT_PATTERN };

struct json_time {
	const char *field;
	enum format format;
	UDateFormat *pattern;
	struct calendar *utc, *local;	/* local: of a text without a zone, the process's, as Java's default */
	char text[128];			/* the last text that was read, and what it meant */
	int64_t text_ms;
};

int
json_time_open(struct json_time **out, const struct camus_conf *conf, struct err *err)
{
	struct json_time *time = calloc(1, sizeof *time);
	if (!time)
		return err_set(err, ENOMEM, "no memory");
	*out = time;
	time->field = conf->time_field;
	const char *format = conf->time_format;
	UErrorCode status = U_ZERO_ERROR;
	int rc = calendar_open(&time->local, NULL, err);
	if (rc || (rc = calendar_open(&time->utc, "UTC", err)))
		return rc;
	if (strcmp(format, "unix_seconds") == 0 || strcmp(format, "unix") == 0)
		time->format = FORMAT_SECONDS;
	else if (strcmp(format, "unix_milliseconds") == 0)
		time->format = FORMAT_MILLISECONDS;
	else if (strcmp(format, "ISO-8601") == 0)
		time->format = FORMAT_ISO;
	else {
		UChar wide[256];
		time->format = FORMAT_PATTERN;
		u_strFromUTF8(wide, 256, NULL, format, -1, &status);
		time->pattern = udat_open(UDAT_PATTERN, UDAT_PATTERN, "en_US", NULL, 0, wide, -1, &status);
		if (U_FAILURE(status))
			return err_set(err, EINVAL, "camus.message.timestamp.format \"%s\": no pattern of SimpleDateFormat", format);
	}
	return 0;
}

void
json_time_close(struct json_time *time)
{
	if (!time)
		return;
	if (time->pattern)
		udat_close(time->pattern);
	calendar_close(time->local);
	calendar_close(time->utc);
	free(time);
}

static bool
digits(const char **p, int count, int *value)
{
	*value = 0;
	for (int i = 0; i < count; i++) {
		char c = (*p)[i];
		if (c < '0' || c > '9')
			return false;
		*value = *value * 10 + (c - '0');
	}
	*p += count;
	return true;
}

/* yyyy-MM-dd, optionally T and HH:mm[:ss[.fraction]], optionally Z or an offset. local: the zone of a text that has none. */
static bool
iso_parse(struct calendar *local, struct calendar *utc, const char *p, int64_t *ms)
{
	int year, month = 1, day = 1, hour = 0, minute = 0, second = 0, fraction = 0;
	if (!digits(&p, 4, &year))
		return false;
	if (*p == '-') {
		p++;
		if (!digits(&p, 2, &month))
			return false;
		if (*p == '-') {
			p++;
			if (!digits(&p, 2, &day))
				return false;
		}
	}
	if (month < 1 || month > 12 || day < 1 || day > 31)
		return false;
	if (*p == 'T') {
		p++;
		if (!digits(&p, 2, &hour))
			return false;
		if (*p == ':') {
			p++;
			if (!digits(&p, 2, &minute))
				return false;
			if (*p == ':') {
				p++;
				if (!digits(&p, 2, &second))
					return false;
				if (*p == '.' || *p == ',') {
					int scale = 100;
					for (p++; *p >= '0' && *p <= '9'; p++, scale /= 10)
						fraction += scale * (*p - '0');
				}
			}
		}
	}
	if (hour > 24 || minute > 59 || second > 60)
		return false;
	bool zone = false;
	int offset = 0;
	if (*p == 'Z') {
		zone = true;
		p++;
	} else if (*p == '+' || *p == '-') {
		int sign = *p++ == '-' ? -1 : 1, h, m = 0;
		if (!digits(&p, 2, &h))
			return false;
		if (*p == ':')
			p++;
		if (*p && !digits(&p, 2, &m))
			return false;
		zone = true;
		offset = sign * (h * 60 + m);
	}
	if (*p)
		return false;
	struct calendar_time fields = { .year = year, .month = month, .day = day, .hour = hour, .minute = minute, .second = second, .ms = fraction };
	*ms = calendar_join(zone ? utc : local, &fields) - (int64_t)offset * 60000;
	return true;
}

bool
json_time_iso(const char *text, int64_t *time_ms)
{
	struct calendar *utc;
	if (calendar_open(&utc, "UTC", NULL))
		return false;
	bool got = iso_parse(utc, utc, text, time_ms);
	calendar_close(utc);
	return got;
}

static bool
text_parse(struct json_time *time, const char *text, int64_t *ms)
{
	if (strlen(text) < sizeof time->text && strcmp(text, time->text) == 0 && *text) {
		*ms = time->text_ms;
		return true;
	}
	bool got = iso_parse(time->local, time->utc, text, ms);
	if (!got && time->format == FORMAT_PATTERN) {
		UChar wide[256];
		UErrorCode status = U_ZERO_ERROR;
		int32_t at = 0, len = 0;
		u_strFromUTF8(wide, 256, &len, text, -1, &status);
		UDate date = U_SUCCESS(status) ? udat_parse(time->pattern, wide, len, &at, &status) : 0;
		got = U_SUCCESS(status);
		*ms = (int64_t)date;
	}
	if (got && strlen(text) < sizeof time->text) {
		memcpy(time->text, text, strlen(text) + 1);
		time->text_ms = *ms;
	}
	return got;
}

int
json_time_read(struct json_time *time, const uint8_t *json, size_t len, int64_t fallback_ms, int64_t *time_ms, struct err *err)
{
	json_error_t trouble;
	json_t *root = json_loadb((const char *)json, len, JSON_ALLOW_NUL, &trouble);
	if (!json_is_object(root)) {
		err_set(err, EINVAL, root ? "no JSON object" : "no JSON: %s", trouble.text);
		json_decref(root);
		return -EINVAL;
	}
	const json_t *value = json_object_get(root, time->field);
	int64_t ms = 0;
	if (time->format == FORMAT_SECONDS || time->format == FORMAT_MILLISECONDS) {
		double number = 0;
		if (json_is_integer(value))
			number = (double)json_integer_value(value);
		else if (json_is_real(value))
			number = json_real_value(value);
		else if (json_is_string(value)) {
			char *end;
			number = strtod(json_string_value(value), &end);
			if (*end)
				number = 0;
		}
		number = (double)(int64_t)(number < 9e15 && number > -9e15 ? number : 0) * (time->format == FORMAT_SECONDS ? 1000 : 1);
		ms = (int64_t)number;
	} else if (json_is_string(value)) {
		if (!text_parse(time, json_string_value(value), &ms))
			ms = 0;
	} else if (json_is_integer(value)) {
		char text[32];
		snprintf(text, sizeof text, "%lld", (long long)json_integer_value(value));
		if (!text_parse(time, text, &ms))
			ms = 0;
	}
	json_decref(root);
	*time_ms = ms ? ms : fallback_ms;
	return 0;
}
