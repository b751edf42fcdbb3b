#include "sinks/format/audit.h"

#include <stdlib.h>
#include <string.h>

int64_t
audit_window(int64_t time_ms, int64_t length_ms)
{
	int64_t rest = time_ms % length_ms;
	if (rest < 0)
		rest += length_ms;
	return time_ms < INT64_MIN + rest ? INT64_MIN : time_ms - rest;
}

bool
audit_time(const uint8_t *text, size_t len, int64_t *time_ms)
{
	char digits[24], *stop;
	if (len == 0 || len >= 20)
		return false;
	memcpy(digits, text, len);
	digits[len] = '\0';
	long long ms = strtoll(digits, &stop, 10);
	if (*stop || !ms)
		return false;
	*time_ms = ms;
	return true;
}

static char *
text_of(json_t *json)
{
	char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
	json_decref(json);
	return text;
}

char *
audit_key(const struct audit_count *count)
{
	return text_of(json_pack("{s:s, s:s, s:I, s:s}", "topic", count->topic, "tier", count->tier, "window", (json_int_t)count->begin_ms, "run", count->run));
}

char *
audit_value(const struct audit_count *count, json_t *services, int64_t manifest)
{
	json_t *value = json_pack("{s:s, s:s, s:I, s:I, s:I, s:O, s:s}", "eventType", count->topic, "tier", count->tier, "beginTimestamp",
		(json_int_t)count->begin_ms, "endTimestamp", (json_int_t)(count->begin_ms + count->length_ms), "count", (json_int_t)count->count, "services",
		services, "run", count->run);
	if (value && manifest)
		json_object_set_new(value, "manifest", json_integer((json_int_t)manifest));
	return text_of(value);
}

bool
audit_read(const json_t *message, struct audit_count *count)
{
	const json_t *begin = json_object_get(message, "beginTimestamp"), *end = json_object_get(message, "endTimestamp"), *many = json_object_get(message, "count");
	*count = (struct audit_count){
		.topic = json_string_value(json_object_get(message, "eventType")), .tier = json_string_value(json_object_get(message, "tier")),
		.run = json_string_value(json_object_get(message, "run")), .begin_ms = json_integer_value(begin), .count = json_integer_value(many),
	};
	if (!count->topic || !count->tier || !json_is_integer(begin) || !json_is_integer(many))
		return false;
	if (json_is_integer(end) && __builtin_sub_overflow(json_integer_value(end), count->begin_ms, &count->length_ms))
		count->length_ms = 0;
	return true;
}
