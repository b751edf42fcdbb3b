/* compare reads the counts of all partitions, also while agents go on telling: one that comes to its end twice is not two. What Kafka says is scripted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "camus/run.h"

#define COUNT "{\"eventType\":\"t\",\"tier\":\"agents\",\"beginTimestamp\":%d,\"endTimestamp\":%d,\"count\":1,\"run\":\"r\"}"

static const struct {
	int32_t partition;
	int window;		/* -1: the partition's end */
} script[] = { { 0, 0 }, { 0, -1 }, { 0, 1 }, { 0, -1 }, { 0, -1 }, { 1, 2 }, { 1, 3 }, { 1, -1 } };
static size_t at;

rd_kafka_message_t *__wrap_rd_kafka_consumer_poll(rd_kafka_t *consumer, int timeout_ms);
rd_kafka_message_t *
__wrap_rd_kafka_consumer_poll(rd_kafka_t *consumer, int timeout_ms)
{
	static rd_kafka_message_t message;
	static char text[300];
	(void)consumer;
	(void)timeout_ms;
	assert_true(at < sizeof script / sizeof *script);
	int begin = script[at].window * 600000;
	snprintf(text, sizeof text, COUNT, begin, begin + 600000);
	message = (rd_kafka_message_t){ .partition = script[at].partition, .offset = (int64_t)at, .payload = text, .len = strlen(text),
		.err = script[at].window < 0 ? RD_KAFKA_RESP_ERR__PARTITION_EOF : RD_KAFKA_RESP_ERR_NO_ERROR };
	at++;
	return &message;
}

void __wrap_rd_kafka_message_destroy(rd_kafka_message_t *message);
void
__wrap_rd_kafka_message_destroy(rd_kafka_message_t *message)
{
	(void)message;
}

static void
test_ends(void **state)
{
	char text[512], dir[] = "/tmp/penstock-compare-XXXXXX", said[200] = "";
	static const char *const keys[] = { "etl.destination.path", "etl.execution.base.path", "etl.execution.history.path" };
	struct camus_conf conf = { .values = { NULL } };
	struct err err = { "" };
	(void)state;
	rd_kafka_t *owner = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), text, sizeof text);
	rd_kafka_mock_cluster_t *cluster = rd_kafka_mock_cluster_new(owner, 1);
	rd_kafka_mock_topic_create(cluster, "TrackingMonitoringEvent", 2, 1);
	assert_non_null(mkdtemp(dir));
	for (size_t i = 0; i < 3; i++) {
		snprintf(text, sizeof text, "%s=file://%s/%zu", keys[i], dir, i);
		assert_int_equal(conf_define(&conf, text, &err), 0);
	}
	snprintf(text, sizeof text, "kafka.brokers=%s", rd_kafka_mock_cluster_bootstraps(cluster));
	assert_int_equal(conf_define(&conf, text, &err), 0);
	assert_int_equal(conf_load(&conf), 0);
	snprintf(text, sizeof text, "%s/said", dir);
	fflush(stdout);
	int kept = dup(1);
	assert_non_null(freopen(text, "w", stdout));
	int status = run_compare(&conf, &(struct run_options){ .quiet = true }, "agents");
	fflush(stdout);
	dup2(kept, 1);
	close(kept);
	FILE *file = fopen(text, "r");
	assert_non_null(file);
	assert_non_null(fgets(said, sizeof said, file));
	fclose(file);
	assert_int_equal(status, 0);
	assert_string_equal(said, "windows: 0 the same, 0 differ, 4 not loaded to their end\n");
	assert_int_equal(at, sizeof script / sizeof *script);
	conf_free(&conf);
	rd_kafka_mock_cluster_destroy(cluster);
	rd_kafka_destroy(owner);
	snprintf(text, sizeof text, "rm -r %s", dir);
	assert_int_equal(system(text), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_ends) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
