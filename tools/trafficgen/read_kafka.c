#include <errno.h>
#include <librdkafka/rdkafka.h>
#include <string.h>

#include "tools/trafficgen/read.h"

#define ANSWER_MS 15000

static int
assign_all(rd_kafka_t *consumer, const char *topic, int *partitions, struct err *err)
{
	const struct rd_kafka_metadata *metadata;
	rd_kafka_topic_t *handle = rd_kafka_topic_new(consumer, topic, NULL);
	rd_kafka_resp_err_t code = rd_kafka_metadata(consumer, 0, handle, &metadata, ANSWER_MS);
	rd_kafka_topic_destroy(handle);
	if (code)
		return err_set(err, EIO, "%s: %s", topic, rd_kafka_err2str(code));
	*partitions = metadata->topic_cnt ? metadata->topics[0].partition_cnt : 0;
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(*partitions + 1);
	for (int i = 0; i < *partitions; i++)
		rd_kafka_topic_partition_list_add(list, topic, metadata->topics[0].partitions[i].id)->offset = RD_KAFKA_OFFSET_BEGINNING;
	rd_kafka_metadata_destroy(metadata);
	code = *partitions ? rd_kafka_assign(consumer, list) : RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC;
	rd_kafka_topic_partition_list_destroy(list);
	return code ? err_set(err, EIO, "%s: %s", topic, rd_kafka_err2str(code)) : 0;
}

int
read_kafka(struct ledger *ledger, const char *brokers, const char *topic, struct err *err)
{
	static const char *const settings[][2] = {
		{ "group.id", "penstock-trafficgen-verify" }, { "enable.auto.commit", "false" }, { "enable.partition.eof", "true" },
		{ "auto.offset.reset", "earliest" }, { "isolation.level", "read_committed" },
	};
	char text[512];
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_conf_set(conf, "bootstrap.servers", brokers, text, sizeof text);
	for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
		rd_kafka_conf_set(conf, settings[i][0], settings[i][1], text, sizeof text);
	rd_kafka_t *consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
	if (!consumer) {
		rd_kafka_conf_destroy(conf);
		return err_set(err, EIO, "%s: %s", brokers, text);
	}
	rd_kafka_poll_set_consumer(consumer);
	int partitions = 0, ended = 0, rc = assign_all(consumer, topic, &partitions, err);
	while (!rc && ended < partitions) {
		rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, ANSWER_MS);
		if (!message) {
			rc = err_set(err, ETIMEDOUT, "%s/%s: nothing came for %d s", brokers, topic, ANSWER_MS / 1000);
		} else if (!message->err) {
			ledger_note(ledger, message->payload, (uint32_t)message->len);
		} else if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
			ended++;
		} else if (message->err != RD_KAFKA_RESP_ERR__TRANSPORT) {
			rc = err_set(err, EIO, "%s/%s: %s", brokers, topic, rd_kafka_message_errstr(message));
		}
		if (message)
			rd_kafka_message_destroy(message);
	}
	rd_kafka_consumer_close(consumer);
	rd_kafka_destroy(consumer);
	return rc;
}
