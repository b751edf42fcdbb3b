/* Audit counts to a Kafka topic. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <librdkafka/rdkafka.h>

#include "camus/counts.h"
#include "channel/kafka_conf.h"

#define TOPIC "TrackingMonitoringEvent"	/* Camus's */

struct sent {
	size_t failed;
	rd_kafka_resp_err_t first;
};

static void
delivered(rd_kafka_t *producer, const rd_kafka_message_t *message, void *opaque)
{
	struct sent *sent = opaque;
	(void)producer;
	if (message->err && sent->failed++ == 0)
		sent->first = message->err;
}

static rd_kafka_t *
producer_new(const struct camus_conf *conf, struct sent *sent, struct err *err)
{
	char words[256];
	rd_kafka_conf_t *kafka = rd_kafka_conf_new();
	rd_kafka_conf_set_dr_msg_cb(kafka, delivered);
	rd_kafka_conf_set_opaque(kafka, sent);
	int rc = kafka_conf_defaults(kafka, KAFKA_PRODUCER, err);
	if (!rc && (rd_kafka_conf_set(kafka, "bootstrap.servers", conf->brokers, words, sizeof words) ||
	    rd_kafka_conf_set(kafka, "client.id", conf->client_name, words, sizeof words) ||
	    rd_kafka_conf_set(kafka, "enable.idempotence", "true", words, sizeof words) ||
	    rd_kafka_conf_set(kafka, "message.timeout.ms", "30000", words, sizeof words)))
		rc = err_set(err, EINVAL, "%s", words);
	for (size_t i = 0; !rc && i < conf->kafka.count; i++)
		if (strncmp(conf->kafka.items[i].key, "s", 1) == 0)	/* security.*, ssl.*, sasl.* */
			rc = kafka_conf_set(kafka, KAFKA_PRODUCER, conf->kafka.items[i].key, conf->kafka.items[i].value, err);
	rd_kafka_t *producer = rc ? NULL : rd_kafka_new(RD_KAFKA_PRODUCER, kafka, words, sizeof words);
	if (!producer) {
		rd_kafka_conf_destroy(kafka);
		if (!rc)
			err_set(err, EINVAL, "no Kafka producer: %s", words);
	}
	return producer;
}

int
counts_send(const struct camus_conf *conf, const struct manifest *manifest, struct err *err)
{
	json_t *root = json_loads(manifest->text, 0, NULL), *counts = json_object_get(root, "counts");
	struct sent sent = { 0 };
	if (!json_array_size(counts)) {
		json_decref(root);
		return 0;
	}
	const char *tier = conf_text(conf, "kafka.monitor.tier");
	tier = tier ? tier : "penstock-camus";
	rd_kafka_t *producer = producer_new(conf, &sent, err);
	size_t i;
	json_t *topic, *entry;
	const char *name;
	int rc = producer ? 0 : -EINVAL;
	json_array_foreach(counts, i, topic) {
		if (rc)
			break;
		int64_t window = json_integer_value(json_object_get(topic, "granularity"));
		const char *about = json_string_value(json_object_get(topic, "topic"));
		json_object_foreach(json_object_get(topic, "counts"), name, entry) {
			int64_t start = json_integer_value(json_object_get(entry, "start"));
			json_t *key = json_pack("{s:s, s:s, s:I, s:s}", "topic", about, "tier", tier, "window", (json_int_t)start, "run", manifest->run);
			json_t *value = json_pack("{s:s, s:s, s:I, s:I, s:I, s:O, s:O, s:s, s:I}", "eventType", about, "tier", tier, "beginTimestamp",
				(json_int_t)start, "endTimestamp", (json_int_t)(start + window), "count",
				json_integer_value(json_object_get(entry, "count")), "server", json_object_get(entry, "server"), "service",
				json_object_get(entry, "service"), "run", manifest->run, "manifest", (json_int_t)manifest->number);
			char *key_text = json_dumps(key, JSON_COMPACT), *value_text = json_dumps(value, JSON_COMPACT);
			rd_kafka_resp_err_t answer;
			while ((answer = rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(TOPIC), RD_KAFKA_V_KEY(key_text, strlen(key_text)),
				RD_KAFKA_V_VALUE(value_text, strlen(value_text)), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END)) ==
				RD_KAFKA_RESP_ERR__QUEUE_FULL)
				rd_kafka_poll(producer, 100);
			if (answer && sent.failed++ == 0)
				sent.first = answer;
			free(key_text);
			free(value_text);
			json_decref(key);
			json_decref(value);
		}
	}
	if (producer) {
		if (rd_kafka_flush(producer, 35000) && sent.failed++ == 0)
			sent.first = RD_KAFKA_RESP_ERR__TIMED_OUT;
		rd_kafka_destroy(producer);
	}
	if (!rc && sent.failed)
		rc = err_set(err, EIO, "%zu audit counts did not reach topic %s: %s (they are sent again by the next run)", sent.failed, TOPIC,
			rd_kafka_err2str(sent.first));
	json_decref(root);
	return rc;
}
