#include "camus/kafka_client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/log.h"
#include "channel/kafka_conf.h"

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

rd_kafka_t *
kafka_consumer_new(const struct camus_conf *conf, uint64_t fetch_memory, struct err *err)
{
	char text[512], group[300];
	rd_kafka_conf_t *kafka = rd_kafka_conf_new();
	uint64_t kbytes = fetch_memory >> 10;
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
	rc = rc ? rc : set_number(kafka, "queued.max.messages.kbytes", kbytes < 1024 ? 1024 : kbytes > 2097151 ? 2097151 : kbytes, err);
	/* Only the bytes above bound the queue: a partition whose number of messages is full is not asked for a whole second (librdkafka 2.0), in which a
	 * decoder slower than the broker runs dry. */
	rc = rc ? rc : set_number(kafka, "queued.min.messages", 10000000, err);
	for (size_t i = 0; !rc && i < conf->kafka.count; i++) {
		rc = kafka_conf_set(kafka, KAFKA_CONSUMER, conf->kafka.items[i].key, conf->kafka.items[i].value, err);
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

struct fingerprint
kafka_fingerprint(const rd_kafka_message_t *message)
{
	rd_kafka_timestamp_type_t type;
	int64_t time = rd_kafka_message_timestamp(message, &type);
	uint32_t lengths[2] = { (uint32_t)message->key_len, (uint32_t)message->len };
	uint32_t crc = crc32c(0, lengths, sizeof lengths);
	if (message->key)
		crc = crc32c(crc, message->key, message->key_len);
	if (message->payload)
		crc = crc32c(crc, message->payload, message->len);
	return (struct fingerprint){ message->offset, type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE ? -1 : time, crc };
}
