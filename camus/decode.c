#include "camus/decode.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/pool.h"

int64_t
decode_fallback_ms(const struct camus_conf *conf, const struct message *message)
{
	if (conf->time_missing == MISSING_RECORD && message->time_ms >= 0)
		return message->time_ms;
	return (int64_t)(clock_wall_ns(&clock_system) / NS_PER_MS);
}

/* ---- JSON: the text as it is, time from a field ---- */

struct json_decoder {
	const struct camus_conf *conf;
	struct json_time *time;
};

static int
json_open(void **out, const struct camus_conf *conf, const char *topic, struct err *err)
{
	(void)topic;
	struct json_decoder *decoder = calloc(1, sizeof *decoder);
	if (!decoder)
		return err_set(err, ENOMEM, "no memory");
	decoder->conf = conf;
	*out = decoder;
	return json_time_open(&decoder->time, conf, err);
}

static enum decode_result
json_decode(void *context, const struct message *message, struct decoded *out, struct err *err)
{
	struct json_decoder *decoder = context;
	out->payload = message->value;
	out->len = message->value_len;
	return json_time_read(decoder->time, message->value, message->value_len, decode_fallback_ms(decoder->conf, message), &out->time_ms, err) == 0
		? DECODE_OK : DECODE_OTHER;
}

static void
json_close(void *context)
{
	struct json_decoder *decoder = context;
	json_time_close(decoder->time);
	free(decoder);
}

/* ---- JSON wrapped: payload and key in an object with where they came from ---- */

struct wrapped_decoder {
	const struct camus_conf *conf;
	struct json_time *payload, *key;
	struct text out;
};

static int
wrapped_open(void **out, const struct camus_conf *conf, const char *topic, struct err *err)
{
	(void)topic;
	struct wrapped_decoder *decoder = calloc(1, sizeof *decoder);
	if (!decoder)
		return err_set(err, ENOMEM, "no memory");
	decoder->conf = conf;
	*out = decoder;
	int rc = json_time_open(&decoder->payload, conf, err);
	return rc ? rc : json_time_open(&decoder->key, conf, err);
}

static enum decode_result
wrapped_decode(void *context, const struct message *message, struct decoded *out, struct err *err)
{
	struct wrapped_decoder *decoder = context;
	int64_t ignored;
	if (json_time_read(decoder->payload, message->value, message->value_len, decode_fallback_ms(decoder->conf, message), &out->time_ms, err))
		return DECODE_OTHER;
	if (message->key_len && json_time_read(decoder->key, message->key, message->key_len, 0, &ignored, err)) {
		err_prefix(err, 0, "the key");
		return DECODE_OTHER;
	}
	/* Kafka has no checksum of a record any more: ours is of key and payload, as in manifests. */
	uint32_t checksum = crc32c(crc32c(0, message->key, message->key_len), message->value, message->value_len);
	size_t len;
	const char *text = json_time_text(decoder->payload, &len);
	decoder->out.len = 0;
	text_print(&decoder->out, "{\"topic\":\"%s\",\"partition\":%d,\"offset\":%lld,\"checksum\":%u,\"payload\":", message->topic,
		(int)message->partition, (long long)message->offset, checksum);
	text_add(&decoder->out, text, len);
	if (message->key_len) {
		text = json_time_text(decoder->key, &len);
		text_print(&decoder->out, ",\"key\":");
		text_add(&decoder->out, text, len);
	}
	text_print(&decoder->out, ",\"timestamp\":%lld}", (long long)out->time_ms);
	out->payload = (const uint8_t *)decoder->out.text;
	out->len = decoder->out.len;
	return DECODE_OK;
}

static void
wrapped_close(void *context)
{
	struct wrapped_decoder *decoder = context;
	json_time_close(decoder->payload);
	json_time_close(decoder->key);
	text_free(&decoder->out);
	free(decoder);
}

/* ---- bytes and strings: as they are, at the record's own time ---- */

static int
raw_open(void **out, const struct camus_conf *conf, const char *topic, struct err *err)
{
	(void)topic;
	(void)err;
	*out = (void *)conf;
	return 0;
}

static enum decode_result
raw_decode(void *context, const struct message *message, struct decoded *out, struct err *err)
{
	(void)err;
	out->payload = message->value;
	out->len = message->value_len;
	out->time_ms = decode_fallback_ms(context, message);
	return DECODE_OK;
}

static void
raw_close(void *context)
{
	(void)context;
}

static const struct decoder_ops decoder_json = { "json", "JsonStringMessageDecoder", false, json_open, json_decode, json_close };
static const struct decoder_ops decoder_wrapped = { "json-wrapped", "JsonWrappedStringMessageDecoder", false, wrapped_open, wrapped_decode, wrapped_close };
static const struct decoder_ops decoder_string = { "string", "StringMessageDecoder", false, raw_open, raw_decode, raw_close };
static const struct decoder_ops decoder_raw = { "raw", "ByteArrayMessageDecoder RawMessageDecoder", false, raw_open, raw_decode, raw_close };

const struct decoder_ops *const decoder_kinds[] = { &decoder_json, &decoder_wrapped, &decoder_string, &decoder_raw,
	&decoder_camus_avro, &decoder_confluent, &decoder_json_avro, &decoder_latest, &decoder_flume, NULL };

static bool
listed(const char *names, const char *name)
{
	size_t len = strlen(name);
	for (const char *p = names; (p = strstr(p, name)); p += len)
		if ((p == names || p[-1] == ' ') && (p[len] == ' ' || !p[len]))
			return true;
	return false;
}

const struct decoder_ops *
decoder_find(const struct camus_conf *conf, const char *topic, struct err *err)
{
	const char *text = conf_topic(&conf->decoders, topic, conf->decoder), *dot = strrchr(text, '.'), *name = dot ? dot + 1 : text;
	for (const struct decoder_ops *const *ops = decoder_kinds; *ops; ops++)
		if (strcmp((*ops)->name, name) == 0 || listed((*ops)->class_names, name))
			return *ops;
	err_set(err, EINVAL, "camus.message.decoder.class \"%s\" (topic %s): not supported; want JsonStringMessageDecoder, "
		"JsonWrappedStringMessageDecoder, KafkaAvroMessageDecoder, LatestSchemaKafkaAvroMessageDecoder, JSONToAvroMessageDecoder, "
		"AvroMessageDecoder (Confluent's), flume, string or raw", text, topic);
	return NULL;
}
