#include "camus/avro_project.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define DEPTH_MAX 64

struct walk {
	const json_t *root;		/* where named types are looked up */
	struct err *err;
	int depth;
};

static int project(struct walk *walk, const avro_value_t *from, avro_value_t *to, const json_t *json);
static int fill(struct walk *walk, avro_value_t *to, const json_t *value, const json_t *json);

static const char *
short_name(const char *name)
{
	const char *dot = strrchr(name, '.');
	return dot ? dot + 1 : name;
}

static const json_t *
find_named(const json_t *json, const char *name)
{
	size_t i;
	const json_t *item, *got;
	if (json_is_array(json)) {
		for (i = 0; i < json_array_size(json); i++)
			if ((got = find_named(json_array_get(json, i), name)))
				return got;
		return NULL;
	}
	if (!json_is_object(json))
		return NULL;
	const char *own = json_string_value(json_object_get(json, "name"));
	if (own && json_object_get(json, "type") && strcmp(short_name(own), short_name(name)) == 0 &&
	    (json_object_get(json, "fields") || json_object_get(json, "symbols") || json_object_get(json, "size")))
		return json;
	static const char *const inside[] = { "type", "items", "values", "fields" };
	for (i = 0; i < sizeof inside / sizeof *inside; i++)
		if ((item = json_object_get(json, inside[i])) && (got = find_named(item, name)))
			return got;
	return NULL;
}

/* The node that says what a type is: names are followed, {"type": {...}} unwrapped. */
static const json_t *
node_of(const struct walk *walk, const json_t *json)
{
	for (int i = 0; i < 8; i++) {
		if (json_is_string(json)) {
			const json_t *named = find_named(walk->root, json_string_value(json));
			return named ? named : json;
		}
		const json_t *type = json_object_get(json, "type");
		if (!json_is_object(json) || (!json_is_object(type) && !json_is_array(type)))
			return json;
		json = type;
	}
	return json;
}

static int
bad(struct walk *walk, const char *words)
{
	return err_set(walk->err, EINVAL, "%s", words);
}

/* 2: the same type, 1: can be promoted, 0: neither. */
static int
fits(const avro_value_t *from, avro_schema_t to)
{
	avro_type_t a = avro_value_get_type(from), b = avro_typeof(to);
	if (b == AVRO_LINK)
		return fits(from, avro_schema_link_target(to));
	if (a == b) {
		if (a != AVRO_RECORD && a != AVRO_ENUM && a != AVRO_FIXED)
			return 2;
		return strcmp(avro_schema_name(avro_value_get_schema(from)), avro_schema_name(to)) == 0 ? 2 : a == AVRO_RECORD ? 1 : 0;
	}
	bool number = b == AVRO_FLOAT || b == AVRO_DOUBLE;
	return (a == AVRO_INT32 && (b == AVRO_INT64 || number)) || (a == AVRO_INT64 && number) || (a == AVRO_FLOAT && b == AVRO_DOUBLE) ||
		(a == AVRO_STRING && b == AVRO_BYTES) || (a == AVRO_BYTES && b == AVRO_STRING);
}

static int
project_union(struct walk *walk, const avro_value_t *from, avro_value_t *to, const json_t *json)
{
	avro_schema_t schema = avro_value_get_schema(to);
	size_t count = avro_schema_union_size(schema), best = count;
	int best_fit = 0;
	for (size_t i = 0; i < count; i++) {
		int fit = fits(from, avro_schema_union_branch(schema, (int)i));
		if (fit > best_fit) {
			best = i;
			best_fit = fit;
		}
	}
	avro_value_t branch;
	if (best == count || avro_value_set_branch(to, (int)best, &branch))
		return bad(walk, "no branch of the newest schema's union takes the value");
	return project(walk, from, &branch, json_array_get(json, best));
}

static int
project_record(struct walk *walk, const avro_value_t *from, avro_value_t *to, const json_t *json)
{
	size_t count;
	const json_t *fields = json_object_get(json, "fields");
	avro_value_get_size(to, &count);
	for (size_t i = 0; i < count; i++) {
		avro_value_t target, source;
		const char *name;
		if (avro_value_get_by_index(to, i, &target, &name))
			return bad(walk, avro_strerror());
		const json_t *field = json_array_get(fields, i);
		int rc;
		if (avro_value_get_by_name(from, name, &source, NULL) == 0) {
			rc = project(walk, &source, &target, json_object_get(field, "type"));
		} else {
			const json_t *value = json_object_get(field, "default");
			if (!value)
				return err_set(walk->err, EINVAL, "field %s is missing and has no default in the newest schema", name);
			rc = fill(walk, &target, value, json_object_get(field, "type"));
		}
		if (rc)
			return err_prefix(walk->err, rc, "field %s", name);
	}
	return 0;
}

static int
project_items(struct walk *walk, const avro_value_t *from, avro_value_t *to, const json_t *json, bool map)
{
	size_t count;
	avro_value_get_size(from, &count);
	for (size_t i = 0; i < count; i++) {
		avro_value_t source, target;
		const char *key;
		if (avro_value_get_by_index(from, i, &source, &key) ||
		    (map ? avro_value_add(to, key, &target, NULL, NULL) : avro_value_append(to, &target, NULL)))
			return bad(walk, avro_strerror());
		int rc = project(walk, &source, &target, json_object_get(json, map ? "values" : "items"));
		if (rc)
			return rc;
	}
	return 0;
}

static bool
number_of(const avro_value_t *from, double *number, int64_t *whole)
{
	int32_t small;
	float real;
	switch (avro_value_get_type(from)) {
	case AVRO_INT32:
		avro_value_get_int(from, &small);
		*whole = small;
		*number = small;
		return true;
	case AVRO_INT64:
		avro_value_get_long(from, whole);
		*number = (double)*whole;
		return true;
	case AVRO_FLOAT:
		avro_value_get_float(from, &real);
		*number = real;
		return true;
	case AVRO_DOUBLE:
		avro_value_get_double(from, number);
		return true;
	default:
		return false;
	}
}

static int
project_plain(struct walk *walk, const avro_value_t *from, avro_value_t *to)
{
	double number;
	int64_t whole = 0;
	const void *bytes;
	const char *text;
	size_t size;
	int flag, symbol;
	avro_type_t type = avro_value_get_type(to), source = avro_value_get_type(from);
	switch (type) {
	case AVRO_NULL:
		return avro_value_set_null(to);
	case AVRO_BOOLEAN:
		avro_value_get_boolean(from, &flag);
		return avro_value_set_boolean(to, flag);
	case AVRO_INT32:
		number_of(from, &number, &whole);
		return avro_value_set_int(to, (int32_t)whole);
	case AVRO_INT64:
		number_of(from, &number, &whole);
		return avro_value_set_long(to, whole);
	case AVRO_FLOAT:
		return number_of(from, &number, &whole) ? avro_value_set_float(to, (float)number) : EINVAL;
	case AVRO_DOUBLE:
		return number_of(from, &number, &whole) ? avro_value_set_double(to, number) : EINVAL;
	case AVRO_STRING:
	case AVRO_BYTES:
		if (source == AVRO_STRING) {
			avro_value_get_string(from, &text, &size);
			bytes = text;
			size--;
		} else {
			avro_value_get_bytes(from, &bytes, &size);
		}
		if (type == AVRO_BYTES)
			return avro_value_set_bytes(to, (void *)bytes, size);
		return source == AVRO_STRING ? avro_value_set_string_len(to, (char *)bytes, size + 1) : bad(walk, "bytes where text is wanted");
	case AVRO_FIXED:
		avro_value_get_fixed(from, &bytes, &size);
		return avro_value_set_fixed(to, (void *)bytes, size);
	case AVRO_ENUM:
		avro_value_get_enum(from, &symbol);
		text = avro_schema_enum_get(avro_value_get_schema(from), symbol);
		symbol = text ? avro_schema_enum_get_by_name(avro_value_get_schema(to), text) : -1;
		return symbol < 0 ? bad(walk, "a symbol that the newest schema does not have") : avro_value_set_enum(to, symbol);
	default:
		return EINVAL;
	}
}

static int
project(struct walk *walk, const avro_value_t *from, avro_value_t *to, const json_t *json)
{
	avro_value_t branch;
	int rc;
	json = node_of(walk, json);
	if (walk->depth >= DEPTH_MAX)
		return bad(walk, "nested too deep");
	if (avro_value_get_type(from) == AVRO_UNION) {
		if (avro_value_get_current_branch(from, &branch))
			return bad(walk, avro_strerror());
		from = &branch;
	}
	walk->depth++;
	if (avro_value_get_type(to) == AVRO_UNION)
		rc = project_union(walk, from, to, json);
	else if (!fits(from, avro_value_get_schema(to)))
		rc = bad(walk, "its type cannot be read as the newest schema's");
	else if (avro_value_get_type(to) == AVRO_RECORD)
		rc = project_record(walk, from, to, json);
	else if (avro_value_get_type(to) == AVRO_ARRAY || avro_value_get_type(to) == AVRO_MAP)
		rc = project_items(walk, from, to, json, avro_value_get_type(to) == AVRO_MAP);
	else if ((rc = project_plain(walk, from, to)) > 0)
		rc = bad(walk, avro_strerror());
	walk->depth--;
	return rc;
}

/* A default, as JSON writes it (a union's is of its first branch; bytes are code points up to 255). */
static int
fill_one(struct walk *walk, avro_value_t *to, const json_t *value, const json_t *json)
{
	avro_value_t child;
	size_t count, i;
	const char *name;
	int rc = 0;
	json = node_of(walk, json);
	switch (avro_value_get_type(to)) {
	case AVRO_UNION:
		if (avro_value_set_branch(to, 0, &child))
			return bad(walk, avro_strerror());
		return fill(walk, &child, value, json_array_get(json, 0));
	case AVRO_NULL:
		return avro_value_set_null(to);
	case AVRO_BOOLEAN:
		return avro_value_set_boolean(to, json_is_true(value));
	case AVRO_INT32:
		return avro_value_set_int(to, (int32_t)json_integer_value(value));
	case AVRO_INT64:
		return avro_value_set_long(to, (int64_t)json_integer_value(value));
	case AVRO_FLOAT:
		return avro_value_set_float(to, (float)json_number_value(value));
	case AVRO_DOUBLE:
		return avro_value_set_double(to, json_number_value(value));
	case AVRO_STRING:
		return json_is_string(value) ? avro_value_set_string(to, json_string_value(value)) : bad(walk, "a default that is no text");
	case AVRO_BYTES:
	case AVRO_FIXED: {
		char bytes[1024];
		size_t len = 0;
		for (const uint8_t *p = (const uint8_t *)json_string_value(value); p && *p && len < sizeof bytes; p++) {
			uint8_t high = *p;
			bytes[len++] = (char)(high < 0x80 ? high : (uint8_t)((high & 3) << 6 | (*++p & 0x3f)));
		}
		return avro_value_get_type(to) == AVRO_BYTES ? avro_value_set_bytes(to, bytes, len) : avro_value_set_fixed(to, bytes, len);
	}
	case AVRO_ENUM: {
		int symbol = json_is_string(value) ? avro_schema_enum_get_by_name(avro_value_get_schema(to), json_string_value(value)) : -1;
		return symbol < 0 ? bad(walk, "a default that is none of the symbols") : avro_value_set_enum(to, symbol);
	}
	case AVRO_ARRAY:
		for (i = 0; i < json_array_size(value) && !rc; i++)
			rc = avro_value_append(to, &child, NULL) ? bad(walk, avro_strerror()) : fill(walk, &child, json_array_get(value, i),
				json_object_get(json, "items"));
		return rc;
	case AVRO_MAP: {
		const json_t *item;
		json_object_foreach((json_t *)value, name, item)
			if (!rc)
				rc = avro_value_add(to, name, &child, NULL, NULL) ? bad(walk, avro_strerror()) : fill(walk, &child, item,
					json_object_get(json, "values"));
		return rc;
	}
	case AVRO_RECORD:
		avro_value_get_size(to, &count);
		for (i = 0; i < count && !rc; i++) {
			const json_t *field = json_array_get(json_object_get(json, "fields"), i), *item;
			avro_value_get_by_index(to, i, &child, &name);
			item = json_object_get(value, name);
			item = item ? item : json_object_get(field, "default");
			rc = item ? fill(walk, &child, item, json_object_get(field, "type")) : bad(walk, "a default without all fields");
		}
		return rc;
	default:
		return bad(walk, "a type without defaults");
	}
}

static int
fill(struct walk *walk, avro_value_t *to, const json_t *value, const json_t *json)
{
	if (walk->depth >= DEPTH_MAX)
		return bad(walk, "a default that is nested too deep");
	walk->depth++;
	int rc = fill_one(walk, to, value, json);
	walk->depth--;
	return rc;
}

int
avro_project(const avro_value_t *from, avro_value_t *to, const json_t *json, struct err *err)
{
	struct walk walk = { json, err, 0 };
	return project(&walk, from, to, json);
}
