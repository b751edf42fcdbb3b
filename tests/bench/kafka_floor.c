/* kafka_floor BROKERS TOPIC RECORDS: what librdkafka alone can do, for ./bench camus. Reads a topic's records from the oldest on, touches each byte of each
 * payload, and prints {"records":N,"bytes":N,"seconds":S,"sum":N}; the time is from the assignment to the last record. */
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BATCH 1000

static double
now(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void
set(rd_kafka_conf_t *conf, const char *key, const char *value)
{
	char text[256];
	if (rd_kafka_conf_set(conf, key, value, text, sizeof text) != RD_KAFKA_CONF_OK) {
		fprintf(stderr, "kafka_floor: %s\n", text);
		exit(1);
	}
}

int
main(int argc, char **argv)
{
	char text[256];
	if (argc != 4) {
		fprintf(stderr, "usage: kafka_floor BROKERS TOPIC RECORDS\n");
		return 2;
	}
	uint64_t want = strtoull(argv[3], NULL, 10), records = 0, bytes = 0, sum = 0;
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	set(conf, "bootstrap.servers", argv[1]);
	set(conf, "group.id", "floor");
	set(conf, "enable.auto.commit", "false");
	set(conf, "check.crcs", "true");		/* as the loader has it */
	set(conf, "queued.min.messages", "100000");
	set(conf, "queued.max.messages.kbytes", "131072");
	rd_kafka_t *consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
	const struct rd_kafka_metadata *metadata;
	if (!consumer) {
		fprintf(stderr, "kafka_floor: %s\n", text);
		return 1;
	}
	rd_kafka_poll_set_consumer(consumer);
	rd_kafka_topic_t *topic = rd_kafka_topic_new(consumer, argv[2], NULL);
	if (rd_kafka_metadata(consumer, 0, topic, &metadata, 10000) || metadata->topic_cnt != 1) {
		fprintf(stderr, "kafka_floor: no such topic\n");
		return 1;
	}
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(16);
	for (int i = 0; i < metadata->topics[0].partition_cnt; i++)
		rd_kafka_topic_partition_list_add(list, argv[2], i)->offset = RD_KAFKA_OFFSET_BEGINNING;
	rd_kafka_metadata_destroy(metadata);
	double began = now(), last = began;
	rd_kafka_assign(consumer, list);
	rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(consumer);
	rd_kafka_message_t *messages[BATCH];
	while (records < want && now() < last + 20) {
		ssize_t got = rd_kafka_consume_batch_queue(queue, 50, messages, BATCH);
		for (ssize_t i = 0; i < got; i++) {
			const unsigned char *payload = messages[i]->payload;
			if (!messages[i]->err) {
				for (size_t at = 0; at < messages[i]->len; at++)
					sum += payload[at];
				bytes += messages[i]->len;
				records++;
			}
			rd_kafka_message_destroy(messages[i]);
		}
		if (got > 0)
			last = now();
	}
	printf("{\"records\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"seconds\":%.6f,\"sum\":%" PRIu64 "}\n", records, bytes, last - began, sum);
	rd_kafka_queue_destroy(queue);
	rd_kafka_topic_partition_list_destroy(list);
	rd_kafka_topic_destroy(topic);
	rd_kafka_assign(consumer, NULL);
	rd_kafka_consumer_close(consumer);
	rd_kafka_destroy(consumer);
	return records == want ? 0 : 1;
}
