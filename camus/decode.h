/* decode: Kafka record -> payload and event time. One ops table per decoder; an instance per task and topic, used on that task's thread. */
#ifndef PENSTOCK_CAMUS_DECODE_H
#define PENSTOCK_CAMUS_DECODE_H

#include "base/err.h"
#include "camus/conf.h"

struct message {
	const char *topic;
	int32_t partition;
	int64_t offset;
	int64_t time_ms;		/* Kafka's timestamp; -1: none */
	const uint8_t *key, *value;	/* NULL: none */
	size_t key_len, value_len;
};

struct schema;

struct decoded {
	const uint8_t *payload;		/* the message's, or the decoder's until its next call */
	size_t len;
	int64_t time_ms;
	const struct schema *schema;	/* of an Avro record; stays as long as the decoder */
	const char *server, *service;	/* for audit counts; stay until the next call */
};

enum decode_result { DECODE_OK, DECODE_SCHEMA_NOT_FOUND, DECODE_OTHER };

struct decoder_ops {
	const char *name;
	const char *class_names;	/* blank separated, without package */
	bool avro;			/* records are Avro data, else text or bytes */
	int (*open)(void **decoder, const struct camus_conf *conf, const char *topic, struct err *err);
	enum decode_result (*decode)(void *decoder, const struct message *message, struct decoded *out, struct err *err);
	void (*close)(void *decoder);
};

extern const struct decoder_ops decoder_camus_avro, decoder_confluent, decoder_json_avro, decoder_latest, decoder_flume;
extern const struct decoder_ops *const decoder_kinds[];	/* NULL terminated; one of one's own is a line in it */

/* The decoder of a topic by the configuration, or NULL with what to use in err. */
const struct decoder_ops *decoder_find(const struct camus_conf *conf, const char *topic, struct err *err);

/* json_time.c: the rules of Camus's JSON decoders. */
struct json_time;
int json_time_open(struct json_time **time, const struct camus_conf *conf, struct err *err);
/* Event time of a JSON object by the configured field; `fallback_ms` when the field is missing, unreadable or 0. -EINVAL: no JSON object. */
int json_time_read(struct json_time *time, const uint8_t *json, size_t len, int64_t fallback_ms, int64_t *time_ms, struct err *err);
/* The text of the last json_time_read that went well, as strict JSON (what Gson alone takes is rewritten); until the next one. */
const char *json_time_text(const struct json_time *time, size_t *len);
/* A text like 2026-11-21T10:00:00Z (a text without a zone is in UTC). */
bool json_time_iso(const char *text, int64_t *time_ms);
void json_time_close(struct json_time *time);

/* What stands for a record without a time of its own. */
int64_t decode_fallback_ms(const struct camus_conf *conf, const struct message *message);

#endif
