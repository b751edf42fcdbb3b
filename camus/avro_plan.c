#include "camus/avro_plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "sinks/format/avro.h"

#define DEPTH_MAX 64
#define TOKENS_MAX (1u << 18)	/* of one record; what was needed for the largest one stays */
#define BINARY_DEPTH_MAX 512	/* libavro calls itself for each */
#define EMPTY_MAX (1u << 16)	/* items of a record that take no byte: each takes memory */
#define FIXED_MAX (64u << 20)
#define KEYS_MAX 64		/* of one object; with more it is refused */

/* ---- the schema ---- */

enum field_kind { FIELD_OTHER, FIELD_HEADER, FIELD_TIMESTAMP, FIELD_TIME, FIELD_SERVER, FIELD_SERVICE };

struct node;

struct field {			/* of a record; branch of a union */
	const char *name;
	size_t len;
	enum field_kind kind;
	struct node *node;
};

struct node {
	struct node *next;	/* of the plan */
	avro_schema_t schema;
	avro_type_t type;
	struct field *fields;
	size_t count;
	struct node *inner;	/* of an array or map */
	size_t fixed;		/* bytes of a fixed, symbols of an enum */
	bool twice;		/* two fields have one name */
	enum { UNSEEN, WITHIN, SEEN } mark;	/* for endless */
};

struct avro_plan {
	struct node *nodes, *root;
	bool broken;
};

static enum field_kind
kind_of(const char *name)
{
	static const char *const names[] = { "", "header", "timestamp", "time", "server", "service" };
	for (enum field_kind kind = FIELD_HEADER; kind <= FIELD_SERVICE; kind++)
		if (strcmp(name, names[kind]) == 0)
			return kind;
	return FIELD_OTHER;
}

static const char *
short_name(const char *name)
{
	const char *dot = strrchr(name, '.');
	return dot ? dot + 1 : name;
}

static struct node *
node_of(struct avro_plan *plan, avro_schema_t schema)
{
	while (avro_typeof(schema) == AVRO_LINK)
		schema = avro_schema_link_target(schema);
	for (struct node *node = plan->nodes; node; node = node->next)
		if (node->schema == schema)
			return node;
	struct node *node = calloc(1, sizeof *node);
	if (!node) {
		plan->broken = true;
		return NULL;
	}
	node->schema = schema;
	node->type = avro_typeof(schema);
	node->next = plan->nodes;
	plan->nodes = node;
	if (node->type == AVRO_RECORD || node->type == AVRO_UNION) {
		node->count = node->type == AVRO_RECORD ? avro_schema_record_size(schema) : avro_schema_union_size(schema);
		node->fields = calloc(node->count + 1, sizeof *node->fields);
		for (size_t i = 0; node->fields && i < node->count; i++) {
			struct field *field = &node->fields[i];
			avro_schema_t of = node->type == AVRO_RECORD ? avro_schema_record_field_get_by_index(schema, (int)i)
				: avro_schema_union_branch(schema, (int)i);
			field->name = node->type == AVRO_RECORD ? avro_schema_record_field_name(schema, (int)i) : short_name(avro_schema_type_name(of));
			field->len = strlen(field->name);
			field->kind = node->type == AVRO_RECORD ? kind_of(field->name) : FIELD_OTHER;
			field->node = node_of(plan, of);
		}
		plan->broken |= !node->fields;
	}
	if (node->type == AVRO_ARRAY)
		node->inner = node_of(plan, avro_schema_array_items(schema));
	if (node->type == AVRO_MAP)
		node->inner = node_of(plan, avro_schema_map_values(schema));
	if (node->type == AVRO_FIXED)
		node->fixed = (size_t)avro_schema_fixed_size(schema);
	if (node->type == AVRO_ENUM)
		node->fixed = (size_t)avro_schema_enum_number_of_symbols(schema);
	return node;
}

/* libavro takes two fields of one name. Both would be written of one key, for which there is room once. */
static bool
names_twice(const struct node *node)
{
	for (size_t i = 0; i < node->count; i++)
		for (size_t k = i + 1; k < node->count; k++)
			if (node->fields[i].len == node->fields[k].len && memcmp(node->fields[i].name, node->fields[k].name, node->fields[i].len) == 0)
				return true;
	return false;
}

struct avro_plan *
avro_plan_new(avro_schema_t schema)
{
	struct avro_plan *plan = calloc(1, sizeof *plan);
	if (!plan)
		return NULL;
	plan->root = node_of(plan, schema);
	if (plan->broken) {
		avro_plan_free(plan);
		return NULL;
	}
	for (struct node *node = plan->nodes; node; node = node->next)
		node->twice = node->type == AVRO_RECORD && names_twice(node);
	return plan;
}

/* A record that has itself as a field: no record of it ends. */
static bool
endless(struct node *record)
{
	record->mark = WITHIN;
	for (size_t i = 0; i < record->count; i++) {
		struct node *inner = record->fields[i].node;
		if (inner->type == AVRO_RECORD && (inner->mark == WITHIN || (inner->mark == UNSEEN && endless(inner))))
			return true;
	}
	record->mark = SEEN;
	return false;
}

const char *
avro_plan_trouble(struct avro_plan *plan)
{
	for (struct node *node = plan->nodes; node; node = node->next) {
		if (node->type == AVRO_RECORD && node->mark == UNSEEN && endless(node))
			return "a record has itself as a field, so that none of it ends";
		if (node->type == AVRO_FIXED && node->fixed > FIXED_MAX)	/* also below 0, for which libavro writes where nothing is */
			return "a fixed of an impossible size";
	}
	return NULL;
}

void
avro_plan_free(struct avro_plan *plan)
{
	if (!plan)
		return;
	while (plan->nodes) {
		struct node *node = plan->nodes;
		plan->nodes = node->next;
		free(node->fields);
		free(node);
	}
	free(plan);
}

/* ---- the text: a list of what is in it, in order ---- */

enum token_kind { TOKEN_OBJECT, TOKEN_ARRAY, TOKEN_KEY, TOKEN_STRING, TOKEN_NUMBER, TOKEN_TRUE, TOKEN_FALSE, TOKEN_NULL };

struct token {
	const char *text;
	uint32_t len;
	uint32_t next;		/* behind the value; a key's value is the next one */
	uint32_t members;	/* of an object or array */
	enum token_kind kind;
};

struct level {
	uint32_t token;
	uint64_t keys;		/* a bit for each key's hash */
};

struct avro_text {
	struct json *json;
	char *copy;
	size_t room;
	struct token *tokens;
	uint32_t count, tokens_room;
	struct level levels[JSON_DEPTH_MAX + 2];
	uint32_t depth;
	uint8_t *out;
	size_t out_room;
};

struct avro_text *
avro_text_new(void)
{
	struct avro_text *text = calloc(1, sizeof *text);
	if (text && !(text->json = json_new())) {
		free(text);
		return NULL;
	}
	return text;
}

void
avro_text_free(struct avro_text *text)
{
	if (!text)
		return;
	json_free(text->json);
	free(text->copy);
	free(text->tokens);
	free(text->out);
	free(text);
}

static bool
token_add(struct avro_text *t, enum token_kind kind, const char *text, size_t len)
{
	if (t->count == t->tokens_room) {
		uint32_t room = t->tokens_room ? t->tokens_room * 2 : 256;
		struct token *grown = room > TOKENS_MAX ? NULL : realloc(t->tokens, room * sizeof *grown);
		if (!grown)
			return false;
		t->tokens = grown;
		t->tokens_room = room;
	}
	t->tokens[t->count] = (struct token){ text, (uint32_t)len, t->count + 1, 0, kind };
	t->count++;
	return true;
}

/* A value: counts in the array around it. */
static bool
value_add(struct avro_text *t, enum token_kind kind, const char *text, size_t len)
{
	if (t->depth && t->tokens[t->levels[t->depth - 1].token].kind == TOKEN_ARRAY)
		t->tokens[t->levels[t->depth - 1].token].members++;
	return token_add(t, kind, text, len);
}

static bool
nested(struct avro_text *t, enum token_kind kind, bool begin)
{
	if (!begin) {
		t->tokens[t->levels[--t->depth].token].next = t->count;
		return true;
	}
	if (t->depth > JSON_DEPTH_MAX || !value_add(t, kind, NULL, 0))
		return false;
	t->levels[t->depth++] = (struct level){ .token = t->count - 1 };
	return true;
}

static bool
on_object(void *context, bool begin)
{
	return nested(context, TOKEN_OBJECT, begin);
}

static bool
on_array(void *context, bool begin)
{
	return nested(context, TOKEN_ARRAY, begin);
}

static bool
same(const struct token *token, const char *text, size_t len)
{
	return token->len == len && memcmp(token->text, text, len) == 0;
}

static bool
on_key(void *context, const char *text, size_t len)
{
	struct avro_text *t = context;
	struct level *level = &t->levels[t->depth - 1];
	uint64_t hash = len ? (uint64_t)(len * 31 + (uint8_t)text[0] * 7 + (uint8_t)text[len / 2] * 3 + (uint8_t)text[len - 1]) : 0;
	uint64_t bit = UINT64_C(1) << (hash & 63);
	if (++t->tokens[level->token].members > KEYS_MAX || memchr(text, 0, len))
		return false;
	if (level->keys & bit)
		for (uint32_t i = level->token + 1; i < t->count; i = t->tokens[i + 1].next)
			if (same(&t->tokens[i], text, len))
				return false;	/* the last one counts */
	level->keys |= bit;
	return token_add(t, TOKEN_KEY, text, len);
}

static bool
on_string(void *context, const char *text, size_t len)
{
	return !memchr(text, 0, len) && value_add(context, TOKEN_STRING, text, len);
}

static bool
on_number(void *context, const char *text, size_t len)
{
	return value_add(context, TOKEN_NUMBER, text, len);
}

static bool
on_boolean(void *context, bool value)
{
	return value_add(context, value ? TOKEN_TRUE : TOKEN_FALSE, NULL, 0);
}

static bool
on_null(void *context)
{
	return value_add(context, TOKEN_NULL, NULL, 0);
}

static const struct json_calls calls = {
	.object = on_object, .array = on_array, .key = on_key, .string = on_string, .number = on_number, .boolean = on_boolean, .null = on_null,
};

bool
avro_text_read(struct avro_text *t, const uint8_t *json, size_t len)
{
	if (len > UINT32_MAX / 4)
		return false;
	if (len + JSON_PADDING > t->room) {
		free(t->copy);
		t->room = (len + JSON_PADDING) * 2;
		t->copy = malloc(t->room);
		if (!t->copy) {
			t->room = 0;
			return false;
		}
	}
	memcpy(t->copy, json, len);
	memset(t->copy + len, 0, JSON_PADDING);
	t->count = t->depth = 0;
	return json_walk(t->json, t->copy, len, &calls, t) == JSON_OK && t->count && t->tokens[0].kind == TOKEN_OBJECT;
}

/* A key's token among an object's; `hint` is tried first. 0: none. */
static uint32_t
key_find(const struct avro_text *t, uint32_t object, uint32_t hint, const char *name, size_t len)
{
	uint32_t end = t->tokens[object].next;
	if (hint < end && same(&t->tokens[hint], name, len))
		return hint;
	for (uint32_t i = object + 1; i < end; i = t->tokens[i + 1].next)
		if (same(&t->tokens[i], name, len))
			return i;
	return 0;
}

/* Up to 18 digits. */
static bool
whole(const char *text, size_t len, int64_t *number)
{
	size_t i = len && text[0] == '-', begin = i;
	int64_t sum = 0;
	if (len - i > 18)
		return false;
	for (; i < len && text[i] >= '0' && text[i] <= '9'; i++)
		sum = sum * 10 + (text[i] - '0');
	*number = text[0] == '-' ? -sum : sum;
	return i == len && i > begin;
}

bool
avro_text_number(const struct avro_text *t, const char *field, int64_t *number)
{
	uint32_t key = key_find(t, 0, 1, field, strlen(field));
	if (!key)
		return false;
	const struct token *value = &t->tokens[key + 1];
	return (value->kind == TOKEN_NUMBER || value->kind == TOKEN_STRING) && whole(value->text, value->len, number) && *number >= 0;
}

/* ---- encoding ---- */

enum where { AT_TOP, AT_HEADER, AT_ELSEWHERE };

struct encoder {
	const struct avro_text *text;
	struct avro_binary *out;
	uint8_t *p;			/* there is room for all: see avro_plan_encode */
	bool header_timed;
};

static bool
decimal(const struct token *token, double *number)
{
	char copy[64], *end;
	int64_t integer;
	if (token->kind != TOKEN_NUMBER)
		return false;
	if (whole(token->text, token->len, &integer)) {
		*number = (double)integer;
		return true;
	}
	if (token->len >= sizeof copy)
		return false;
	memcpy(copy, token->text, token->len);
	copy[token->len] = '\0';
	if (!strpbrk(copy, ".eE"))
		return false;
	*number = strtod(copy, &end);
	return !*end && isfinite(*number);
}

/* One character below U+0100 a byte. */
static bool
bytes_put(struct encoder *e, const struct token *token, bool fixed, size_t want)
{
	size_t count = 0;
	if (token->kind != TOKEN_STRING)
		return false;
	for (size_t i = 0; i < token->len; i++) {
		uint8_t c = (uint8_t)token->text[i];
		if (c >= 0x80 && (c > 0xc3 || ++i == token->len))
			return false;
		count++;
	}
	if (fixed && count != want)
		return false;
	if (!fixed)
		e->p += avro_long(e->p, (int64_t)count);
	for (size_t i = 0; i < token->len; i++) {
		uint8_t c = (uint8_t)token->text[i];
		if (c >= 0x80)
			c = (uint8_t)(c << 6 | ((uint8_t)token->text[++i] & 0x3f));
		*e->p++ = c;
	}
	return true;
}

static void
little(struct encoder *e, uint64_t bits, int bytes)
{
	for (int i = 0; i < bytes; i++)
		*e->p++ = (uint8_t)(bits >> (8 * i));
}

/* What the record says of itself. */
static void
integer_note(struct encoder *e, enum field_kind kind, int64_t number)
{
	if (kind == FIELD_TIME || (kind == FIELD_TIMESTAMP && !e->header_timed)) {
		e->out->timed = true;
		e->out->time_ms = number;
		e->header_timed |= kind == FIELD_TIME;
	}
}

static void
string_note(struct encoder *e, enum field_kind kind, const struct token *token)
{
	if (kind == FIELD_SERVER) {
		e->out->server = token->text;
		e->out->server_len = token->len;
	} else if (kind == FIELD_SERVICE) {
		e->out->service = token->text;
		e->out->service_len = token->len;
	}
}

static bool value_put(struct encoder *e, const struct node *node, uint32_t at, enum where where, enum field_kind kind, int depth);

static bool
record_put(struct encoder *e, const struct node *node, uint32_t at, enum where where, int depth)
{
	const struct token *tokens = e->text->tokens;
	uint32_t hint = at + 1;
	if (tokens[at].kind != TOKEN_OBJECT || node->twice)
		return false;
	for (size_t i = 0; i < node->count; i++) {
		const struct field *field = &node->fields[i];
		uint32_t key = key_find(e->text, at, hint, field->name, field->len);
		if (!key)
			return false;
		enum field_kind kind = field->kind;
		if (where == AT_ELSEWHERE || (where == AT_TOP ? kind > FIELD_TIMESTAMP : kind < FIELD_TIME))
			kind = FIELD_OTHER;
		if (!value_put(e, field->node, key + 1, AT_ELSEWHERE, kind, depth))
			return false;
		hint = tokens[key + 1].next;
	}
	return true;
}

static bool
union_put(struct encoder *e, const struct node *node, uint32_t at, enum field_kind kind, int depth)
{
	const struct token *token = &e->text->tokens[at];
	const char *name = "null";
	size_t len = 4;
	if (token->kind == TOKEN_OBJECT && token->members == 1) {
		name = token[1].text;
		len = token[1].len;
		for (size_t i = len; i-- > 0;)
			if (name[i] == '.') {
				name += i + 1;
				len -= i + 1;
				break;
			}
		at += 2;
	} else if (token->kind != TOKEN_NULL) {
		return false;
	}
	for (size_t i = 0; i < node->count; i++)
		if (node->fields[i].len == len && memcmp(node->fields[i].name, name, len) == 0) {
			e->p += avro_long(e->p, (int64_t)i);
			return value_put(e, node->fields[i].node, at, AT_ELSEWHERE, kind, depth);
		}
	return false;
}

static bool
members_put(struct encoder *e, const struct node *node, uint32_t at, int depth)
{
	const struct token *token = &e->text->tokens[at];
	if (token->kind != (node->type == AVRO_ARRAY ? TOKEN_ARRAY : TOKEN_OBJECT))
		return false;
	if (token->members)
		e->p += avro_long(e->p, token->members);
	for (uint32_t i = at + 1; i < token->next; i = e->text->tokens[i].next) {
		if (node->type == AVRO_MAP) {
			const struct token *key = &e->text->tokens[i++];
			e->p += avro_long(e->p, key->len);
			memcpy(e->p, key->text, key->len);
			e->p += key->len;
		}
		if (!value_put(e, node->inner, i, AT_ELSEWHERE, FIELD_OTHER, depth))
			return false;
	}
	*e->p++ = 0;
	return true;
}

static bool
value_put(struct encoder *e, const struct node *node, uint32_t at, enum where where, enum field_kind kind, int depth)
{
	const struct token *token = &e->text->tokens[at];
	int64_t number;
	double real;
	float small;
	uint64_t bits;
	uint32_t bits32;
	int symbol;
	char name[256];
	if (depth > DEPTH_MAX)
		return false;
	switch (node->type) {
	case AVRO_NULL:
		return token->kind == TOKEN_NULL;
	case AVRO_BOOLEAN:
		*e->p++ = token->kind == TOKEN_TRUE;
		return token->kind == TOKEN_TRUE || token->kind == TOKEN_FALSE;
	case AVRO_INT32:
	case AVRO_INT64:
		if (token->kind != TOKEN_NUMBER || !whole(token->text, token->len, &number) ||
		    (node->type == AVRO_INT32 && (number < INT32_MIN || number > INT32_MAX)))
			return false;
		integer_note(e, kind, number);
		e->p += avro_long(e->p, number);
		return true;
	case AVRO_FLOAT:
		if (!decimal(token, &real))
			return false;
		small = (float)real;
		memcpy(&bits32, &small, 4);
		little(e, bits32, 4);
		return true;
	case AVRO_DOUBLE:
		if (!decimal(token, &real))
			return false;
		memcpy(&bits, &real, 8);
		little(e, bits, 8);
		return true;
	case AVRO_STRING:
		if (token->kind != TOKEN_STRING)
			return false;
		string_note(e, kind, token);
		e->p += avro_long(e->p, token->len);
		memcpy(e->p, token->text, token->len);
		e->p += token->len;
		return true;
	case AVRO_BYTES:
	case AVRO_FIXED:
		return bytes_put(e, token, node->type == AVRO_FIXED, node->fixed);
	case AVRO_ENUM:
		if (token->kind != TOKEN_STRING || token->len >= sizeof name)
			return false;
		memcpy(name, token->text, token->len);
		name[token->len] = '\0';
		symbol = avro_schema_enum_get_by_name(node->schema, name);
		if (symbol < 0)
			return false;
		e->p += avro_long(e->p, symbol);
		return true;
	case AVRO_UNION:
		return union_put(e, node, at, kind, depth + 1);
	case AVRO_RECORD:
		return record_put(e, node, at, kind == FIELD_HEADER ? AT_HEADER : where, depth + 1);
	case AVRO_ARRAY:
	case AVRO_MAP:
		return members_put(e, node, at, depth + 1);
	default:
		return false;
	}
}

bool
avro_plan_encode(const struct avro_plan *plan, struct avro_text *t, struct avro_binary *out)
{
	/* Every token is written at most once, with at most one length, count or branch in front and one end behind; texts are no longer than they were. */
	size_t need = t->room + (size_t)t->count * (2 * AVRO_LONG_BYTES + 8);
	if (need > t->out_room) {
		free(t->out);
		t->out_room = need * 2;
		t->out = malloc(t->out_room);
		if (!t->out) {
			t->out_room = 0;
			return false;
		}
	}
	*out = (struct avro_binary){ 0 };
	struct encoder e = { .text = t, .out = out, .p = t->out };
	if (!value_put(&e, plan->root, 0, AT_TOP, FIELD_OTHER, 0))
		return false;
	out->bytes = t->out;
	out->len = (size_t)(e.p - t->out);
	return true;
}

/* ---- binary records of others ---- */

struct binary {
	const uint8_t *p, *end;
	uint32_t empty;			/* items without a byte so far */
};

/* At most `most` bytes. */
static bool
long_take(struct binary *b, unsigned most, int64_t *number)
{
	uint64_t bits = 0;
	for (unsigned i = 0; i < most && b->p < b->end; i++) {
		uint8_t byte = *b->p++;
		if (i == 9 && byte > 1)
			return false;
		bits |= (uint64_t)(byte & 127) << (7 * i);
		if (byte < 128) {
			*number = (int64_t)(bits >> 1) ^ -(int64_t)(bits & 1);
			return true;
		}
	}
	return false;
}

static bool
bytes_skip(struct binary *b, uint64_t len)
{
	if (len > (uint64_t)(b->end - b->p))
		return false;
	b->p += len;
	return true;
}

static bool
text_skip(struct binary *b)
{
	int64_t len;
	return long_take(b, 10, &len) && len >= 0 && bytes_skip(b, (uint64_t)len);
}

static bool value_skip(const struct node *node, struct binary *b, int depth);

static bool
blocks_skip(const struct node *node, struct binary *b, int depth)
{
	int64_t count, bytes;
	while (long_take(b, 10, &count)) {
		const uint8_t *stop = NULL;
		if (count == 0)
			return true;
		if (count < 0) {
			if (count == INT64_MIN || !long_take(b, 10, &bytes) || bytes < 0 || bytes > b->end - b->p)
				return false;
			count = -count;
			stop = b->p + bytes;
		}
		for (; count; count--) {
			const uint8_t *from = b->p;
			if ((node->type == AVRO_MAP && !text_skip(b)) || !value_skip(node->inner, b, depth) ||
			    (b->p == from && ++b->empty > EMPTY_MAX))
				return false;
		}
		if (stop && stop != b->p)
			return false;
	}
	return false;
}

static bool
value_skip(const struct node *node, struct binary *b, int depth)
{
	int64_t number;
	if (depth > BINARY_DEPTH_MAX)
		return false;
	switch (node->type) {
	case AVRO_NULL:
		return true;
	case AVRO_BOOLEAN:
		return bytes_skip(b, 1);
	case AVRO_INT32:
		return long_take(b, 5, &number) && number >= INT32_MIN && number <= INT32_MAX;
	case AVRO_INT64:
		return long_take(b, 10, &number);
	case AVRO_FLOAT:
		return bytes_skip(b, 4);
	case AVRO_DOUBLE:
		return bytes_skip(b, 8);
	case AVRO_STRING:
	case AVRO_BYTES:
		return text_skip(b);
	case AVRO_FIXED:
		return bytes_skip(b, node->fixed);
	case AVRO_ENUM:
		return long_take(b, 5, &number) && number >= 0 && (uint64_t)number < node->fixed;
	case AVRO_UNION:
		return long_take(b, 5, &number) && number >= 0 && (uint64_t)number < node->count && value_skip(node->fields[number].node, b, depth + 1);
	case AVRO_RECORD:
		for (size_t i = 0; i < node->count; i++)
			if (!value_skip(node->fields[i].node, b, depth + 1))
				return false;
		return true;
	case AVRO_ARRAY:
	case AVRO_MAP:
		return blocks_skip(node, b, depth + 1);
	default:
		return false;
	}
}

size_t
avro_plan_record(const struct avro_plan *plan, const uint8_t *bytes, size_t len)
{
	struct binary b = { bytes, bytes + len, 0 };
	return value_skip(plan->root, &b, 0) ? (size_t)(b.p - bytes) : SIZE_MAX;
}
