/* The event time of a JSON record: camus.message.timestamp.field and .format. */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unicode/udat.h>
#include <unicode/ustring.h>

#include "base/calendar.h"
#include "base/json.h"
#include "camus/decode.h"

enum format { FORMAT_SECONDS, FORMAT_MILLISECONDS, FORMAT_ISO, FORMAT_PATTERN };

enum value_kind { VALUE_NONE, VALUE_TEXT, VALUE_NUMBER };

struct json_time {
	const char *field;
	size_t field_len;
	enum format format;
	UDateFormat *pattern;
	struct calendar *utc, *local;	/* local: of a text without a zone, the process's, as Java's default */
	struct json *json;
	char *record;			/* the running record, with room for the parser behind it */
	size_t record_len, record_room;
	char *strict;			/* the same as strict JSON, when it was none */
	size_t strict_len;		/* 0: it was */
	unsigned depth;			/* of the walk */
	bool object, wanted;		/* it is an object; the next value is the field's */
	enum value_kind value_kind;
	char value[256];		/* the field's; a longer one is no time */
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
	time->json = json_new();
	if (!time->json)
		return err_set(err, ENOMEM, "no memory");
	time->field = conf->time_field;
	time->field_len = strlen(conf->time_field);
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
	if (time->local)
		calendar_close(time->local);
	if (time->utc)
		calendar_close(time->utc);
	if (time->json)
		json_free(time->json);
	free(time->record);
	free(time->strict);
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

static void
value_take(struct json_time *time, enum value_kind kind, const char *text, size_t len)
{
	time->wanted = false;
	time->value_kind = kind == VALUE_NONE || len >= sizeof time->value ? VALUE_NONE : kind;
	if (time->value_kind == VALUE_NONE)
		return;
	memcpy(time->value, text, len);
	time->value[len] = '\0';
}

static bool
on_nested(struct json_time *time, bool begin)
{
	if (begin && time->wanted)
		value_take(time, VALUE_NONE, NULL, 0);
	time->depth = begin ? time->depth + 1 : time->depth - 1;
	return true;
}

static bool
on_object(void *context, bool begin)
{
	struct json_time *time = context;
	if (begin && time->depth == 0)
		time->object = true;
	return on_nested(time, begin);
}

static bool
on_array(void *context, bool begin)
{
	return on_nested(context, begin);
}

static bool
on_key(void *context, const char *text, size_t len)
{
	struct json_time *time = context;
	time->wanted = time->depth == 1 && len == time->field_len && memcmp(text, time->field, len) == 0;
	return true;
}

static bool
on_string(void *context, const char *text, size_t len)
{
	struct json_time *time = context;
	if (time->wanted)
		value_take(time, VALUE_TEXT, text, len);
	return true;
}

static bool
on_number(void *context, const char *text, size_t len)
{
	struct json_time *time = context;
	if (time->wanted)
		value_take(time, VALUE_NUMBER, text, len);
	return true;
}

static bool
on_boolean(void *context, bool value)
{
	struct json_time *time = context;
	(void)value;
	if (time->wanted)
		value_take(time, VALUE_NONE, NULL, 0);
	return true;
}

static bool
on_null(void *context)
{
	return on_boolean(context, false);
}

static const struct json_calls calls = {
	.object = on_object, .array = on_array, .key = on_key, .string = on_string, .number = on_number, .boolean = on_boolean, .null = on_null,
};

static void
room_make(char **bytes, size_t *room, size_t need)
{
	if (*bytes && *room >= need)
		return;
	*room = need * 2;
	free(*bytes);
	*bytes = malloc(*room);
	if (!*bytes)
		abort();	/* twice a record: as librdkafka itself would */
}

/* What the walker does not take, Gson may: rewritten, and read by a parser that nests deeper. 0 or -EINVAL. */
static int
lenient_read(struct json_time *time, struct err *err)
{
	size_t room = 0;
	json_error_t trouble;
	free(time->strict);
	time->strict = NULL;
	room_make(&time->strict, &room, 6 * time->record_len + 16);
	time->strict_len = json_strict(time->record, time->record_len, time->strict);
	if (time->strict_len == (size_t)-1)	/* nested too deeply for that too, or nothing to be made of it */
		time->strict_len = 0;
	json_t *root = time->strict_len ? json_loadb(time->strict, time->strict_len, JSON_ALLOW_NUL, &trouble)
		: json_loadb(time->record, time->record_len, JSON_ALLOW_NUL, &trouble);
	if (!json_is_object(root)) {
		err_set(err, EINVAL, root ? "no JSON object" : "no JSON: %s", trouble.text);
		json_decref(root);
		return -EINVAL;
	}
	const json_t *value = json_object_get(root, time->field);
	char number[64];
	value_take(time, VALUE_NONE, NULL, 0);
	if (json_is_string(value))
		value_take(time, VALUE_TEXT, json_string_value(value), json_string_length(value));
	else if (json_is_integer(value) || json_is_real(value))
		value_take(time, VALUE_NUMBER, number, (size_t)(json_is_integer(value)
			? snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value))
			: snprintf(number, sizeof number, "%.17g", json_real_value(value))));
	json_decref(root);
	return 0;
}

/* What most times are: a whole number without sign. False: anything else. */
static bool
whole_number(const char *text, int64_t *number)
{
	int64_t sum = 0;
	const char *p = text;
	for (; *p >= '0' && *p <= '9' && p < text + 16; p++)
		sum = sum * 10 + (*p - '0');
	*number = sum;
	return p > text && !*p && sum < INT64_C(9000000000000000);
}

/* The field's value as ms; 0: none. */
static int64_t
value_ms(struct json_time *time)
{
	int64_t ms = 0;
	char *end;
	if (time->value_kind == VALUE_NONE)
		return 0;
	if (time->format == FORMAT_SECONDS || time->format == FORMAT_MILLISECONDS) {
		if (whole_number(time->value, &ms))
			return time->format == FORMAT_SECONDS ? ms * 1000 : ms;
		double number = strtod(time->value, &end);
		if (*end || !(number < 9e15 && number > -9e15))
			return 0;
		return (int64_t)number * (time->format == FORMAT_SECONDS ? 1000 : 1);
	}
	if (time->value_kind == VALUE_NUMBER && strpbrk(time->value, ".eE"))
		return 0;
	return text_parse(time, time->value, &ms) ? ms : 0;
}

int
json_time_read(struct json_time *time, const uint8_t *json, size_t len, int64_t fallback_ms, int64_t *time_ms, struct err *err)
{
	room_make(&time->record, &time->record_room, len + JSON_PADDING);
	memcpy(time->record, json, len);
	memset(time->record + len, 0, JSON_PADDING);
	time->record_len = len;
	time->strict_len = 0;
	time->depth = 0;
	time->object = time->wanted = false;
	time->value_kind = VALUE_NONE;
	enum json_result result = json_walk(time->json, time->record, len, &calls, time);
	if (result != JSON_OK && lenient_read(time, err))
		return -EINVAL;
	if (result == JSON_OK && !time->object)
		return err_set(err, EINVAL, "no JSON object");
	int64_t ms = value_ms(time);
	*time_ms = ms ? ms : fallback_ms;
	return 0;
}

const char *
json_time_text(const struct json_time *time, size_t *len)
{
	*len = time->strict_len ? time->strict_len : time->record_len;
	return time->strict_len ? time->strict : time->record;
}
