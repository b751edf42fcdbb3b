/* Audit counts to a Kafka topic. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <librdkafka/rdkafka.h>

#include "camus/counts.h"
#include "channel/kafka_conf.h"
#include "sinks/format/audit.h"

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

/* Counts of one topic's windows: {"<window>": {"count", "services": [{"server", "service", "count"}]}}. */
static json_t *
windows_of(const json_t *topic)
{
	json_t *windows = json_object(), *entry;
	const char *name;
	json_object_foreach(json_object_get(topic, "counts"), name, entry) {
		char start[32];
		json_int_t count = json_integer_value(json_object_get(entry, "count"));
		snprintf(start, sizeof start, "%lld", (long long)json_integer_value(json_object_get(entry, "start")));
		json_t *window = json_object_get(windows, start);
		if (!window) {
			window = json_pack("{s:i, s:[]}", "count", 0, "services");
			json_object_set_new(windows, start, window);
		}
		json_object_set_new(window, "count", json_integer(json_integer_value(json_object_get(window, "count")) + count));
		json_array_append_new(json_object_get(window, "services"), json_pack("{s:O, s:O, s:I}", "server", json_object_get(entry, "server"), "service",
			json_object_get(entry, "service"), "count", count));
	}
	return windows;
}

/* Takes key and value; NULL: what is there to tell cannot be written. */
static void
window_send(rd_kafka_t *producer, char *key, char *value, struct sent *sent)
{
	rd_kafka_resp_err_t answer;
	if (!key || !value)
		abort();
	while ((answer = rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(AUDIT_TOPIC), RD_KAFKA_V_KEY(key, strlen(key)),
		RD_KAFKA_V_VALUE(value, strlen(value)), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END)) ==
		RD_KAFKA_RESP_ERR__QUEUE_FULL)
		rd_kafka_poll(producer, 100);
	if (answer && sent->failed++ == 0)
		sent->first = answer;
	free(key);
	free(value);
}

const char *
counts_tier(const struct camus_conf *conf)
{
	const char *tier = conf_text(conf, "kafka.monitor.tier");
	return tier ? tier : "penstock-camus";
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
	const char *tier = counts_tier(conf);
	rd_kafka_t *producer = producer_new(conf, &sent, err);
	size_t i;
	json_t *topic, *window;
	const char *start;
	int rc = producer ? 0 : -EINVAL;
	json_array_foreach(counts, i, topic) {
		if (rc)
			break;
		json_int_t length = json_integer_value(json_object_get(topic, "granularity"));
		const char *about = json_string_value(json_object_get(topic, "topic"));
		json_t *windows = windows_of(topic);
		json_object_foreach(windows, start, window) {
			struct audit_count count = { .topic = about, .tier = tier, .run = manifest->run, .begin_ms = strtoll(start, NULL, 10),
				.length_ms = length, .count = json_integer_value(json_object_get(window, "count")) };
			window_send(producer, audit_key(&count), audit_value(&count, json_object_get(window, "services"), (int64_t)manifest->number), &sent);
		}
		json_decref(windows);
	}
	if (producer) {
		if (rd_kafka_flush(producer, 35000) && sent.failed++ == 0)
			sent.first = RD_KAFKA_RESP_ERR__TIMED_OUT;
		rd_kafka_destroy(producer);
	}
	if (!rc && sent.failed)
		rc = err_set(err, EIO, "%zu audit counts did not reach topic %s: %s (they are sent again by the next run)", sent.failed, AUDIT_TOPIC,
			rd_kafka_err2str(sent.first));
	json_decref(root);
	return rc;
}
