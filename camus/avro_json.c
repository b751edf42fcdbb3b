#include "camus/avro_json.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 64

static int value_read(const json_t *json, avro_value_t *to, int depth, struct err *err);

static const char *
short_name(const char *name)
{
	const char *dot = strrchr(name, '.');
	return dot ? dot + 1 : name;
}

static int
union_read(const json_t *json, avro_value_t *to, int depth, struct err *err)
{
	avro_schema_t schema = avro_value_get_schema(to);
	const char *name = json_is_null(json) ? "null" : NULL;
	const json_t *inner = json;
	if (!name && json_is_object(json) && json_object_size(json) == 1) {
		name = json_object_iter_key(json_object_iter((json_t *)json));
		inner = json_object_get(json, name);
	}
	for (size_t i = 0; name && i < avro_schema_union_size(schema); i++) {
		avro_value_t branch;
		if (strcmp(short_name(avro_schema_type_name(avro_schema_union_branch(schema, (int)i))), short_name(name)) != 0)
			continue;
		return avro_value_set_branch(to, (int)i, &branch) ? err_set(err, EINVAL, "%s", avro_strerror()) : value_read(inner, &branch, depth, err);
	}
	return err_set(err, EINVAL, "of a union want null or {\"type\": value} with one of its types");
}

/* One character below U+0100 a byte. Free it; NULL: another character. */
static uint8_t *
bytes_of(const json_t *json, size_t *len)
{
	const char *text = json_string_value(json);
	size_t room = json_string_length(json);
	uint8_t *bytes = malloc(room + 1);
	*len = 0;
	for (size_t i = 0; bytes && i < room; i++) {
		uint8_t c = (uint8_t)text[i];
		if (c >= 0x80) {
			if (c > 0xc3 || i + 1 == room) {
				free(bytes);
				return NULL;
			}
			c = (uint8_t)(c << 6 | ((uint8_t)text[++i] & 0x3f));
		}
		bytes[(*len)++] = c;
	}
	return bytes;
}

static int
integer_read(const json_t *json, avro_value_t *to, bool wide)
{
	if (!json_is_integer(json))
		return -EINVAL;
	json_int_t number = json_integer_value(json);
	if (wide)
		return avro_value_set_long(to, number) ? -EINVAL : 0;
	return number < INT32_MIN || number > INT32_MAX || avro_value_set_int(to, (int32_t)number) ? -EINVAL : 0;
}

static int
bytes_read(const json_t *json, avro_value_t *to, bool fixed)
{
	size_t len;
	uint8_t *bytes = json_is_string(json) ? bytes_of(json, &len) : NULL;
	int rc = !bytes || (fixed ? avro_value_set_fixed(to, bytes, len) : avro_value_set_bytes(to, bytes, len)) ? -EINVAL : 0;
	free(bytes);
	return rc;
}

static int
members_read(const json_t *json, avro_value_t *to, avro_type_t type, int depth, struct err *err)
{
	avro_value_t inner;
	if (type == AVRO_ARRAY) {
		for (size_t i = 0; i < json_array_size(json); i++) {
			int rc = avro_value_append(to, &inner, NULL) ? -EINVAL : value_read(json_array_get(json, i), &inner, depth, err);
			if (rc)
				return err_prefix(err, rc, "[%zu]", i);
		}
		return json_is_array(json) ? 0 : -EINVAL;
	}
	if (!json_is_object(json))
		return -EINVAL;
	if (type == AVRO_MAP) {
		const char *key;
		json_t *value;
		json_object_foreach((json_t *)json, key, value) {
			int rc = avro_value_add(to, key, &inner, NULL, NULL) ? -EINVAL : value_read(value, &inner, depth, err);
			if (rc)
				return err_prefix(err, rc, "%s", key);
		}
		return 0;
	}
	size_t count;
	avro_value_get_size(to, &count);
	for (size_t i = 0; i < count; i++) {
		const char *name;
		avro_value_get_by_index(to, i, &inner, &name);
		const json_t *value = json_object_get(json, name);
		if (!value)
			return err_set(err, EINVAL, "%s: not there", name);
		int rc = value_read(value, &inner, depth, err);
		if (rc)
			return err_prefix(err, rc, "%s", name);
	}
	return 0;
}

static int
value_read(const json_t *json, avro_value_t *to, int depth, struct err *err)
{
	avro_type_t type = avro_value_get_type(to);
	int rc = 0, symbol;
	if (depth > DEPTH_MAX)
		return err_set(err, EINVAL, "nested too deeply");
	switch (type) {
	case AVRO_NULL:
		rc = json_is_null(json) ? avro_value_set_null(to) : -EINVAL;
		break;
	case AVRO_BOOLEAN:
		rc = json_is_boolean(json) ? avro_value_set_boolean(to, json_is_true(json)) : -EINVAL;
		break;
	case AVRO_INT32:
	case AVRO_INT64:
		rc = integer_read(json, to, type == AVRO_INT64);
		break;
	case AVRO_FLOAT:
		rc = json_is_number(json) ? avro_value_set_float(to, (float)json_number_value(json)) : -EINVAL;
		break;
	case AVRO_DOUBLE:
		rc = json_is_number(json) ? avro_value_set_double(to, json_number_value(json)) : -EINVAL;
		break;
	case AVRO_STRING:
		rc = json_is_string(json) && strlen(json_string_value(json)) == json_string_length(json) ? avro_value_set_string(to, json_string_value(json)) : -EINVAL;
		break;
	case AVRO_BYTES:
	case AVRO_FIXED:
		rc = bytes_read(json, to, type == AVRO_FIXED);
		break;
	case AVRO_ENUM:
		symbol = json_is_string(json) ? avro_schema_enum_get_by_name(avro_value_get_schema(to), json_string_value(json)) : -1;
		rc = symbol >= 0 ? avro_value_set_enum(to, symbol) : -EINVAL;
		break;
	case AVRO_UNION:
		return union_read(json, to, depth + 1, err);
	case AVRO_ARRAY:
	case AVRO_MAP:
	case AVRO_RECORD:
		rc = members_read(json, to, type, depth + 1, err);
		break;
	default:
		rc = -EINVAL;
	}
	if (!rc)
		return 0;
	return err && err->text[0] ? -EINVAL : err_set(err, EINVAL, "no %s", avro_schema_type_name(avro_value_get_schema(to)));
}

int
avro_json_read(const json_t *json, avro_value_t *to, struct err *err)
{
	struct err own = { "" };
	avro_value_reset(to);
	int rc = value_read(json, to, 0, &own);
	return rc ? err_set(err, EINVAL, "%s", own.text) : 0;
}
