/* Avro records. On the wire: magic byte 0, 4-byte big-endian schema id, Avro's binary encoding. What comes out is encoded in the topic's newest schema.
 * A record already written in it goes through as it is; another one is resolved by Avro's rules. Two more of Camus's decoders take Avro's JSON
 * encoding instead: with the schema's number in a field, and of the newest schema behind 4 bytes. Those go through a plan (avro_plan.h) as long as
 * they are in the newest schema and plain; the others, and whatever is wrong, take the way of values. */
#include <avro.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "camus/avro_json.h"
#include "camus/avro_plan.h"
#include "camus/avro_project.h"
#include "camus/decode.h"
#include "camus/registry.h"
#include "sinks/format/audit.h"

struct resolution {			/* from one writer schema to the newest one */
	struct resolution *next;
	const struct schema *from, *to;
	avro_value_iface_t *class;	/* of the newest schema */
	avro_value_t value;
	avro_value_iface_t *written_class;	/* of the writer's; NULL: the same */
	avro_value_t written;
	json_t *json;			/* the newest schema's text */
	struct avro_plan *plan;		/* of the writer's schema; NULL: not made yet */
};

struct avro_decoder {
	const struct camus_conf *conf;
	struct registry *registry;
	bool by_record;
	const struct schema *latest;
	struct resolution *resolutions, *last;
	struct avro_text *text;		/* NULL: none was read yet */
	char *out;
	size_t room;
	char server[256], service[256];
};

static int
open_with(void **out, const struct camus_conf *conf, bool confluent, struct err *err)
{
	struct avro_decoder *decoder = calloc(1, sizeof *decoder);
	if (!decoder)
		return err_set(err, ENOMEM, "no memory");
	decoder->conf = conf;
	decoder->by_record = confluent && conf->subject_record;
	*out = decoder;
	return registry_open(&decoder->registry, conf, confluent, err);
}

static int
camus_open(void **out, const struct camus_conf *conf, const char *topic, struct err *err)
{
	(void)topic;
	return open_with(out, conf, false, err);
}

static int
confluent_open(void **out, const struct camus_conf *conf, const char *topic, struct err *err)
{
	(void)topic;
	return open_with(out, conf, true, err);
}

static void
avro_close(void *context)
{
	struct avro_decoder *decoder = context;
	while (decoder->resolutions) {
		struct resolution *r = decoder->resolutions;
		decoder->resolutions = r->next;
		if (r->written_class) {
			avro_value_decref(&r->written);
			avro_value_iface_decref(r->written_class);
		}
		json_decref(r->json);
		avro_plan_free(r->plan);
		avro_value_decref(&r->value);
		avro_value_iface_decref(r->class);
		free(r);
	}
	avro_text_free(decoder->text);
	registry_close(decoder->registry);
	free(decoder->out);
	free(decoder);
}

static struct resolution *
resolution_get(struct avro_decoder *decoder, const struct schema *from, struct err *err)
{
	if (decoder->last && decoder->last->from == from && decoder->last->to == decoder->latest)
		return decoder->last;
	for (struct resolution *r = decoder->resolutions; r; r = r->next)
		if (r->from == from && r->to == decoder->latest)
			return decoder->last = r;
	struct resolution *r = calloc(1, sizeof *r);
	if (!r)
		abort();
	r->from = from;
	r->to = decoder->latest;
	r->class = avro_generic_class_from_schema(decoder->latest->avro);
	if (!r->class || avro_generic_value_new(r->class, &r->value)) {
		err_set(err, EINVAL, "schema %lld: %s", (long long)decoder->latest->id, avro_strerror());
		free(r);
		return NULL;
	}
	if (from->id != decoder->latest->id) {
		r->written_class = avro_generic_class_from_schema(from->avro);
		r->json = json_loads(decoder->latest->json, JSON_DECODE_ANY, NULL);
		if (!r->written_class || avro_generic_value_new(r->written_class, &r->written)) {
			err_set(err, EINVAL, "schema %lld: %s", (long long)from->id, avro_strerror());
			avro_value_decref(&r->value);
			avro_value_iface_decref(r->class);
			json_decref(r->json);
			free(r);
			return NULL;
		}
	}
	r->next = decoder->resolutions;
	return decoder->last = decoder->resolutions = r;
}

/* Through unions to the value in them. */
static bool
field(const avro_value_t *record, const char *name, avro_value_t *value)
{
	if (avro_value_get_type(record) != AVRO_RECORD || avro_value_get_by_name(record, name, value, NULL))
		return false;
	while (avro_value_get_type(value) == AVRO_UNION) {
		avro_value_t branch;
		if (avro_value_get_current_branch(value, &branch))
			return false;
		*value = branch;
	}
	return true;
}

static bool
long_of(const avro_value_t *value, int64_t *number)
{
	int32_t small;
	if (avro_value_get_type(value) == AVRO_INT64)
		return avro_value_get_long(value, number) == 0;
	if (avro_value_get_type(value) == AVRO_INT32 && avro_value_get_int(value, &small) == 0) {
		*number = small;
		return true;
	}
	return false;
}

static const char *
text_of(const avro_value_t *record, const char *name, char *to, size_t room)
{
	avro_value_t value;
	const char *text;
	size_t size;
	if (!field(record, name, &value) || avro_value_get_type(&value) != AVRO_STRING || avro_value_get_string(&value, &text, &size) || size == 0)
		return NULL;
	size_t len = size - 1 < room - 1 ? size - 1 : room - 1;
	memcpy(to, text, len);
	to[len] = '\0';
	return to;
}

/* Writer's schema and the newest one. id -1: the newest is the writer's. */
static enum decode_result
schemas_get(struct avro_decoder *decoder, const char *topic, int64_t id, struct resolution **r, struct err *err)
{
	const struct schema *from = NULL;
	if (id >= 0 && decoder->by_record) {	/* old producers: one subject for each kind of record */
		if (registry_by_id(decoder->registry, topic, id, &from, err) != REGISTRY_OK)
			return DECODE_SCHEMA_NOT_FOUND;
		topic = avro_schema_name(from->avro);
		decoder->latest = NULL;
		if (!topic) {
			err_set(err, EINVAL, "schema %lld has no name, and is.new.producer = false names its subject by that", (long long)id);
			return DECODE_SCHEMA_NOT_FOUND;
		}
	}
	if (!decoder->latest && registry_latest(decoder->registry, topic, &decoder->latest, err) != REGISTRY_OK)
		return DECODE_SCHEMA_NOT_FOUND;
	if (id < 0)
		from = decoder->latest;
	else if (!from && registry_by_id(decoder->registry, topic, id, &from, err) != REGISTRY_OK)
		return DECODE_SCHEMA_NOT_FOUND;
	if (from->id > decoder->latest->id && decoder->conf->schema_change != SCHEMA_PROJECT) {	/* a newer id appeared: the newest schema is asked for again */
		registry_refresh(decoder->registry, topic);
		if (registry_latest(decoder->registry, topic, &decoder->latest, err) != REGISTRY_OK)
			return DECODE_SCHEMA_NOT_FOUND;
	}
	*r = resolution_get(decoder, from, err);
	return *r ? DECODE_OK : DECODE_OTHER;
}

/* Into out: the value encoded in the newest schema. */
static enum decode_result
value_encode(struct avro_decoder *decoder, struct resolution *r, struct decoded *out, struct err *err)
{
	size_t need;
	if (avro_value_sizeof(&r->value, &need)) {
		err_set(err, EINVAL, "a record that cannot be written: %s", avro_strerror());
		return DECODE_OTHER;
	}
	if (need > decoder->room || !decoder->out) {
		free(decoder->out);
		decoder->room = need * 2 + 64;
		decoder->out = malloc(decoder->room);
		if (!decoder->out)
			abort();
	}
	avro_writer_t writer = avro_writer_memory(decoder->out, (int64_t)decoder->room);
	int rc = avro_value_write(writer, &r->value);
	out->len = (size_t)avro_writer_tell(writer);
	avro_writer_free(writer);
	out->payload = (const uint8_t *)decoder->out;
	if (rc)
		err_set(err, EINVAL, "a record that cannot be written: %s", avro_strerror());
	return rc ? DECODE_OTHER : DECODE_OK;
}

/* From the writer's schema (in r->written) to the newest (in r->value), if they are two. */
static enum decode_result
value_project(struct avro_decoder *decoder, struct resolution *r, struct err *err)
{
	if (!r->written_class || avro_project(&r->written, &r->value, r->json, err) == 0)
		return DECODE_OK;
	err_prefix(err, 0, "schema %lld as the newest one, %lld", (long long)r->from->id, (long long)decoder->latest->id);
	return DECODE_OTHER;
}

/* Time, server and service as the record says them. */
static void
header_read(struct avro_decoder *decoder, struct resolution *r, struct decoded *out)
{
	avro_value_t header, time;
	int64_t ms;
	bool has_header = field(&r->value, "header", &header);
	if ((has_header && field(&header, "time", &time) && long_of(&time, &ms)) || (field(&r->value, "timestamp", &time) && long_of(&time, &ms)))
		out->time_ms = ms;
	if (has_header) {
		out->server = text_of(&header, "server", decoder->server, sizeof decoder->server);
		out->service = text_of(&header, "service", decoder->service, sizeof decoder->service);
	}
}

static enum decode_result
avro_decode(void *context, const struct message *message, struct decoded *out, struct err *err)
{
	struct avro_decoder *decoder = context;
	const uint8_t *bytes = message->value;
	if (message->value_len < 5 || bytes[0] != 0) {
		err_set(err, EINVAL, "no Avro record: want a 0 and a schema's number of 4 bytes in front");
		return DECODE_OTHER;
	}
	int64_t id = (int64_t)bytes[1] << 24 | (int64_t)bytes[2] << 16 | (int64_t)bytes[3] << 8 | bytes[4];
	struct resolution *r;
	enum decode_result result = schemas_get(decoder, message->topic, id, &r, err);
	if (result != DECODE_OK)
		return result;
	size_t len = SIZE_MAX;	/* what stands behind the record is none of it, and would be in the way of the file's next one */
	if (r->plan || (r->plan = avro_plan_new(r->from->avro)))
		len = avro_plan_record(r->plan, bytes + 5, message->value_len - 5);
	if (len == SIZE_MAX) {
		err_set(err, EINVAL, "no record of schema %lld: cut, of another schema, or nested too deeply", (long long)r->from->id);
		return DECODE_OTHER;
	}
	avro_reader_t reader = avro_reader_memory((const char *)bytes + 5, (int64_t)len);
	avro_value_reset(&r->value);
	if (r->written_class)
		avro_value_reset(&r->written);
	int rc = avro_value_read(reader, r->written_class ? &r->written : &r->value);
	avro_reader_free(reader);
	if (rc) {
		err_set(err, EINVAL, "no record of schema %lld: %s", (long long)r->from->id, avro_strerror());
		return DECODE_OTHER;
	}
	result = value_project(decoder, r, err);
	if (result != DECODE_OK)
		return result;
	out->time_ms = decode_fallback_ms(decoder->conf, message);
	header_read(decoder, r, out);
	out->schema = decoder->latest;
	if (r->written_class)
		return value_encode(decoder, r, out, err);
	out->payload = bytes + 5;
	out->len = len;
	return DECODE_OK;
}

static const char *
name_copy(char *to, size_t room, const char *name, size_t len)
{
	if (!name)
		return NULL;
	len = len < room - 1 ? len : room - 1;
	memcpy(to, name, len);
	to[len] = '\0';
	return to;
}

/* A plain record in the newest schema. False: for the other way; else *result says how it ended. */
static bool
plan_decode(struct avro_decoder *decoder, const struct message *message, bool latest, struct decoded *out, enum decode_result *result, struct err *err)
{
	size_t skip = latest ? 4 : 0;
	int64_t id = -1;
	struct resolution *r;
	struct avro_binary binary;
	if (message->value_len <= skip || (!decoder->text && !(decoder->text = avro_text_new())) ||
	    !avro_text_read(decoder->text, message->value + skip, message->value_len - skip) ||
	    (!latest && !avro_text_number(decoder->text, decoder->conf->schema_id_field, &id)))
		return false;
	*result = schemas_get(decoder, message->topic, id, &r, err);
	if (*result != DECODE_OK)
		return true;
	if (r->written_class || (!r->plan && !(r->plan = avro_plan_new(decoder->latest->avro))) || !avro_plan_encode(r->plan, decoder->text, &binary))
		return false;
	out->time_ms = decode_fallback_ms(decoder->conf, message);
	if (!latest) {
		if (binary.timed)
			out->time_ms = binary.time_ms;
		out->server = name_copy(decoder->server, sizeof decoder->server, binary.server, binary.server_len);
		out->service = name_copy(decoder->service, sizeof decoder->service, binary.service, binary.service_len);
	}
	out->schema = decoder->latest;
	out->payload = binary.bytes;
	out->len = binary.len;
	return true;
}

/* Avro's JSON encoding; latest: of the newest schema, behind 4 bytes, without a time. */
static enum decode_result
json_decode(struct avro_decoder *decoder, const struct message *message, bool latest, struct decoded *out, struct err *err)
{
	size_t skip = latest ? 4 : 0;
	json_error_t trouble;
	enum decode_result result;
	if (plan_decode(decoder, message, latest, out, &result, err))
		return result;
	json_t *root = message->value_len > skip
		? json_loadb((const char *)message->value + skip, message->value_len - skip, JSON_ALLOW_NUL, &trouble) : NULL;
	if (!json_is_object(root)) {
		json_decref(root);
		err_set(err, EINVAL, root ? "no JSON object" : message->value_len > skip ? "no JSON: %s" : "no JSON", trouble.text);
		return DECODE_OTHER;
	}
	const json_t *number = json_object_get(root, decoder->conf->schema_id_field);
	int64_t id = -1;
	if (!latest && json_is_integer(number))
		id = json_integer_value(number);
	else if (!latest && json_is_string(number) && json_string_length(number))
		id = strtoll(json_string_value(number), NULL, 10);
	result = DECODE_OTHER;
	struct resolution *r;
	if (!latest && id < 0)
		err_set(err, EINVAL, "no number of a schema in the field %s (camus.message.schema.id.field)", decoder->conf->schema_id_field);
	else
		result = schemas_get(decoder, message->topic, id, &r, err);
	if (result == DECODE_OK && avro_json_read(root, r->written_class ? &r->written : &r->value, err)) {
		err_prefix(err, 0, "no record of schema %lld in Avro's JSON encoding", (long long)r->from->id);
		result = DECODE_OTHER;
	}
	json_decref(root);
	if (result == DECODE_OK)
		result = value_project(decoder, r, err);
	if (result != DECODE_OK)
		return result;
	out->time_ms = decode_fallback_ms(decoder->conf, message);
	if (!latest)
		header_read(decoder, r, out);
	out->schema = decoder->latest;
	return value_encode(decoder, r, out, err);
}

static enum decode_result
json_id_decode(void *context, const struct message *message, struct decoded *out, struct err *err)
{
	return json_decode(context, message, false, out, err);
}

static enum decode_result
json_latest_decode(void *context, const struct message *message, struct decoded *out, struct err *err)
{
	return json_decode(context, message, true, out, err);
}

/* ---- Flume's Avro datum: {headers: map of string, body: bytes}; time from the header `timestamp` ---- */

static const char flume_json[] = "{\"type\":\"record\",\"name\":\"Event\",\"fields\":[{\"name\":\"headers\",\"type\":{\"type\":\"map\",\"values\":"
	"\"string\"}},{\"name\":\"body\",\"type\":\"bytes\"}]}";
static struct schema flume_schema = { .id = 0, .json = (char *)flume_json };

static int
flume_open(void **out, const struct camus_conf *conf, const char *topic, struct err *err)
{
	(void)topic;
	(void)err;
	*out = (void *)conf;
	return 0;
}

static void
flume_close(void *context)
{
	(void)context;
}

static bool
zigzag(const uint8_t **p, const uint8_t *end, int64_t *value)
{
	uint64_t n = 0;
	for (unsigned shift = 0; *p < end && shift < 64; shift += 7) {
		uint8_t byte = *(*p)++;
		n |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			*value = (int64_t)(n >> 1) ^ -(int64_t)(n & 1);
			return true;
		}
	}
	return false;
}

static bool
bytes_of(const uint8_t **p, const uint8_t *end, const uint8_t **bytes, int64_t *len)
{
	if (!zigzag(p, end, len) || *len < 0 || *len > end - *p)
		return false;
	*bytes = *p;
	*p += *len;
	return true;
}

static enum decode_result
flume_decode(void *context, const struct message *message, struct decoded *out, struct err *err)
{
	const uint8_t *p = message->value, *end = p + message->value_len, *key, *value;
	int64_t count, key_len, value_len, size;
	out->time_ms = decode_fallback_ms(context, message);
	out->payload = message->value;
	out->len = message->value_len;
	out->schema = &flume_schema;
	for (;;) {
		if (!zigzag(&p, end, &count))
			goto bad;
		if (count == 0)
			break;
		if (count < 0) {
			if (count == INT64_MIN || !zigzag(&p, end, &size))
				goto bad;
			count = -count;
		}
		for (; count > 0; count--) {
			if (!bytes_of(&p, end, &key, &key_len) || !bytes_of(&p, end, &value, &value_len))
				goto bad;
			if (key_len == 9 && memcmp(key, "timestamp", 9) == 0)
				(void)audit_time(value, (size_t)value_len, &out->time_ms);
		}
	}
	if (bytes_of(&p, end, &value, &value_len) && p == end)
		return DECODE_OK;
bad:
	err_set(err, EINVAL, "no event of Flume (headers and body in Avro)");
	return DECODE_OTHER;
}

const struct decoder_ops decoder_camus_avro = { "avro", "KafkaAvroMessageDecoder", true, camus_open, avro_decode, avro_close };
const struct decoder_ops decoder_confluent = { "confluent", "AvroMessageDecoder", true, confluent_open, avro_decode, avro_close };
const struct decoder_ops decoder_json_avro = { "json-avro", "JSONToAvroMessageDecoder", true, camus_open, json_id_decode, avro_close };
const struct decoder_ops decoder_latest = { "avro-json", "LatestSchemaKafkaAvroMessageDecoder", true, camus_open, json_latest_decode, avro_close };
const struct decoder_ops decoder_flume = { "flume", "FlumeEventDecoder", true, flume_open, flume_decode, flume_close };
