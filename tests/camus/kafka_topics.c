/* kafka_topics BROKERS PREFIX TOPICS PARTITIONS RECORDS BYTES: makes PREFIX-0000 and so on in one request, and fills each partition. For tests with
 * more topics than command line tools make in a test's time. */
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static rd_kafka_t *
client_new(const char *brokers)
{
	char text[256];
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	if (rd_kafka_conf_set(conf, "bootstrap.servers", brokers, text, sizeof text) != RD_KAFKA_CONF_OK ||
	    rd_kafka_conf_set(conf, "linger.ms", "50", text, sizeof text) != RD_KAFKA_CONF_OK ||
	    rd_kafka_conf_set(conf, "topic.metadata.refresh.sparse", "true", text, sizeof text) != RD_KAFKA_CONF_OK ||
	    rd_kafka_conf_set(conf, "queue.buffering.max.messages", "200000", text, sizeof text) != RD_KAFKA_CONF_OK)
		return NULL;
	return rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
}

static int
topics_make(rd_kafka_t *client, const char *prefix, int topics, int partitions)
{
	char name[200], text[200];
	rd_kafka_NewTopic_t **wanted = calloc((size_t)topics, sizeof *wanted);
	rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
	rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(client, RD_KAFKA_ADMIN_OP_CREATETOPICS);
	if (!wanted)
		return 1;
	rd_kafka_AdminOptions_set_request_timeout(options, 240000, text, sizeof text);
	rd_kafka_AdminOptions_set_operation_timeout(options, 240000, text, sizeof text);
	for (int i = 0; i < topics; i++) {
		snprintf(name, sizeof name, "%s-%04d", prefix, i);
		wanted[i] = rd_kafka_NewTopic_new(name, partitions, 1, text, sizeof text);
	}
	rd_kafka_CreateTopics(client, wanted, (size_t)topics, options, queue);
	rd_kafka_event_t *event = rd_kafka_queue_poll(queue, 250000);
	int rc = !event || rd_kafka_event_error(event) ? 1 : 0;
	if (rc)
		fprintf(stderr, "kafka_topics: %s\n", event ? rd_kafka_event_error_string(event) : "no answer");
	size_t count = 0;
	const rd_kafka_topic_result_t **results = rc ? NULL : rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
	for (size_t i = 0; i < count; i++)
		if (rd_kafka_topic_result_error(results[i])) {
			fprintf(stderr, "kafka_topics: %s: %s\n", rd_kafka_topic_result_name(results[i]), rd_kafka_topic_result_error_string(results[i]));
			rc = 1;
		}
	if (event)
		rd_kafka_event_destroy(event);
	rd_kafka_NewTopic_destroy_array(wanted, (size_t)topics);
	free(wanted);
	rd_kafka_AdminOptions_destroy(options);
	rd_kafka_queue_destroy(queue);
	return rc;
}

static void
delivered(rd_kafka_t *client, const rd_kafka_message_t *message, void *context)
{
	(void)client;
	if (message->err)
		++*(long *)context;
}

int
main(int argc, char **argv)
{
	if (argc != 7) {
		fprintf(stderr, "usage: kafka_topics BROKERS PREFIX TOPICS PARTITIONS RECORDS BYTES\n");
		return 2;
	}
	int topics = atoi(argv[3]), partitions = atoi(argv[4]), records = atoi(argv[5]), bytes = atoi(argv[6]);
	rd_kafka_t *client = client_new(argv[1]);
	char name[200], *record = calloc(1, (size_t)bytes + 32);
	if (!client || !record || topics_make(client, argv[2], topics, partitions))
		return 1;
	rd_kafka_destroy(client);
	long failed = 0;
	/* A producer of its own for some topics each: it knows of the topics it was told about. */
	for (int first = 0; first < topics; first += 100) {
		char text[256];
		rd_kafka_conf_t *conf = rd_kafka_conf_new();
		rd_kafka_conf_set(conf, "bootstrap.servers", argv[1], text, sizeof text);
		rd_kafka_conf_set(conf, "linger.ms", "50", text, sizeof text);
		rd_kafka_conf_set(conf, "queue.buffering.max.messages", "400000", text, sizeof text);
		rd_kafka_conf_set_dr_msg_cb(conf, delivered);
		rd_kafka_conf_set_opaque(conf, &failed);
		if (!(client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text)))
			return 1;
		for (int i = first; i < topics && i < first + 100; i++) {
			snprintf(name, sizeof name, "%s-%04d", argv[2], i);
			rd_kafka_topic_t *topic = rd_kafka_topic_new(client, name, NULL);
			for (int p = 0; p < partitions; p++)
				for (int n = 0; n < records; n++) {
					int len = snprintf(record, 32, "%d %d %d ", i, p, n);
					memset(record + len, 'x', (size_t)(bytes > len ? bytes - len : 0));
					while (rd_kafka_produce(topic, p, RD_KAFKA_MSG_F_COPY, record, (size_t)(bytes > len ? bytes : len), NULL, 0, NULL))
						rd_kafka_poll(client, 10);
				}
			rd_kafka_poll(client, 0);
			rd_kafka_topic_destroy(topic);
		}
		if (rd_kafka_flush(client, 120000))
			failed++;
		rd_kafka_destroy(client);
	}
	free(record);
	if (failed)
		fprintf(stderr, "kafka_topics: %ld records not taken\n", failed);
	return failed != 0;
}
