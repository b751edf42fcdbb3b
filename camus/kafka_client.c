#include "camus/kafka_client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/crc32c.h"
#include "base/log.h"
#include "channel/kafka_conf.h"

#define ROOM_MIN (64u << 10)
#define ROOM_MAX (8u << 20)
#define RESPONSE_MAX (16u << 20)
#define MESSAGE_BYTES 512u	/* of librdkafka 2.0 for each message, besides its bytes */

static void
log_line_kafka(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
	(void)rk;
	if (level <= 3)
		log_warn("Kafka: %s: %s", facility, text);
	else
		log_debug("Kafka: %s: %s", facility, text);
}

static int
set(rd_kafka_conf_t *conf, const char *key, const char *value, struct err *err)
{
	char text[256];
	if (rd_kafka_conf_set(conf, key, value, text, sizeof text) == RD_KAFKA_CONF_OK)
		return 0;
	return err_set(err, EINVAL, "%s: %s", key, text);
}

static int
set_number(rd_kafka_conf_t *conf, const char *key, uint64_t value, struct err *err)
{
	char text[32];
	snprintf(text, sizeof text, "%llu", (unsigned long long)value);
	return set(conf, key, text, err);
}

struct kafka_room
kafka_room(uint64_t fetch_memory)
{
	/* Bytes that wait and librdkafka's own memory for them get an eighth each: twice that, because a queue that is being worked off does not count in
	 * it. Never more than the processor's cache holds: what waits longer has to be fetched from memory again. */
	uint64_t part = fetch_memory / 8;
	struct kafka_room room = { .bytes = part, .messages = part / MESSAGE_BYTES, .response = fetch_memory / 4 };
	if (room.bytes > ROOM_MAX)
		room.bytes = ROOM_MAX;
	if (room.bytes < ROOM_MIN)
		room.bytes = ROOM_MIN;
	if (room.messages < 1000)
		room.messages = 1000;
	if (room.response > RESPONSE_MAX)
		room.response = RESPONSE_MAX;
	if (room.response < ROOM_MIN)
		room.response = ROOM_MIN;
	return room;
}

/* What brings other things than records into the queue; the client ends the program when a call for records meets one. */
static int
event_refuse(const char *key, struct err *err)
{
	static const char *const keys[] = { "statistics.interval.ms", "log.queue", "enabled_events" };
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
		if (strcasecmp(key, keys[i]) == 0)
			return err_set(err, EINVAL, "not supported: the client's own events go nowhere here; leave it out (--metrics-file has the run's numbers)");
	return 0;
}

rd_kafka_t *
kafka_consumer_new(const struct camus_conf *conf, uint64_t fetch_memory, struct err *err)
{
	char text[512], group[300];
	rd_kafka_conf_t *kafka = rd_kafka_conf_new();
	struct kafka_room room = kafka_room(fetch_memory);
	snprintf(group, sizeof group, "penstock-camus-%s", conf->client_name);
	rd_kafka_conf_set_log_cb(kafka, log_line_kafka);
	int rc = set(kafka, "bootstrap.servers", conf->brokers, err);
	rc = rc ? rc : set(kafka, "client.id", conf->client_name, err);
	rc = rc ? rc : set(kafka, "group.id", group, err);
	rc = rc ? rc : set(kafka, "enable.auto.commit", "false", err);
	rc = rc ? rc : set(kafka, "enable.auto.offset.store", "false", err);
	rc = rc ? rc : set(kafka, "auto.offset.reset", "error", err);
	rc = rc ? rc : set(kafka, "enable.partition.eof", "true", err);
	rc = rc ? rc : set(kafka, "check.crcs", "true", err);
	rc = rc ? rc : set(kafka, "allow.auto.create.topics", "false", err);
	rc = rc ? rc : set(kafka, "fetch.error.backoff.ms", "50", err);
	rc = rc ? rc : set_number(kafka, "socket.timeout.ms", conf->timeout_ms, err);
	rc = rc ? rc : set_number(kafka, "max.partition.fetch.bytes", conf->fetch_bytes, err);
	/* With the broker's wait shorter than Camus's second: a partition at its end costs that wait. */
	rc = rc ? rc : set_number(kafka, "fetch.wait.max.ms", conf->fetch_wait_ms < 100 ? conf->fetch_wait_ms : 100, err);
	rc = rc ? rc : set_number(kafka, "fetch.min.bytes", conf->fetch_min_bytes, err);
	rc = rc ? rc : set_number(kafka, "queued.max.messages.kbytes", room.bytes >> 10, err);
	rc = rc ? rc : set_number(kafka, "queued.min.messages", room.messages, err);
	rc = rc ? rc : set_number(kafka, "message.max.bytes", room.response < 1000000 ? room.response : 1000000, err);	/* no more than the next */
	rc = rc ? rc : set_number(kafka, "fetch.max.bytes", room.response, err);
	/* Not in librdkafka 2.0: see kafka_consumer_wake. */
	rd_kafka_conf_set(kafka, "fetch.queue.backoff.ms", "5", text, sizeof text);
	for (size_t i = 0; !rc && i < conf->kafka.count; i++) {
		rc = event_refuse(conf->kafka.items[i].key, err);
		rc = rc ? rc : kafka_conf_set(kafka, KAFKA_CONSUMER, conf->kafka.items[i].key, conf->kafka.items[i].value, err);
		if (rc)
			err_prefix(err, rc, "penstock.camus.kafka.%s", conf->kafka.items[i].key);
	}
	if (rc) {
		rd_kafka_conf_destroy(kafka);
		return NULL;
	}
	rd_kafka_t *consumer = rd_kafka_new(RD_KAFKA_CONSUMER, kafka, text, sizeof text);
	if (!consumer) {
		rd_kafka_conf_destroy(kafka);
		err_set(err, EINVAL, "no Kafka consumer: %s", text);
		return NULL;
	}
	rd_kafka_poll_set_consumer(consumer);
	return consumer;
}

void
kafka_consumer_free(rd_kafka_t *consumer)
{
	if (!consumer)
		return;
	rd_kafka_assign(consumer, NULL);
	rd_kafka_consumer_close(consumer);
	rd_kafka_destroy(consumer);
}

void
kafka_consumer_wake(rd_kafka_t *consumer)
{
	char name[512], word[512];
	size_t name_len = sizeof name, word_len = sizeof word;
	const rd_kafka_conf_t *conf = rd_kafka_conf(consumer);
	if (rd_kafka_conf_get(conf, "sasl.username", name, &name_len) != RD_KAFKA_CONF_OK)
		name[0] = '\0';
	else if (name_len > sizeof name)
		return;
	if (rd_kafka_conf_get(conf, "sasl.password", word, &word_len) != RD_KAFKA_CONF_OK)
		word[0] = '\0';
	else if (word_len > sizeof word)
		return;
	rd_kafka_error_t *error = rd_kafka_sasl_set_credentials(consumer, name, word);
	if (error)
		rd_kafka_error_destroy(error);
}

int64_t
kafka_time_ms(const rd_kafka_message_t *message)
{
	rd_kafka_timestamp_type_t type;
	int64_t time = rd_kafka_message_timestamp(message, &type);
	return type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE ? -1 : time;
}

uint32_t
kafka_checksum(const void *key, size_t key_len, const void *value, size_t value_len)
{
	uint32_t lengths[2] = { (uint32_t)key_len, (uint32_t)value_len };
	uint32_t crc = crc32c(0, lengths, sizeof lengths);
	if (key_len)
		crc = crc32c(crc, key, key_len);
	return value_len ? crc32c(crc, value, value_len) : crc;
}

struct fingerprint
kafka_fingerprint(const rd_kafka_message_t *message)
{
	return (struct fingerprint){ message->offset, kafka_time_ms(message), kafka_checksum(message->key, message->key_len, message->payload, message->len) };
}
