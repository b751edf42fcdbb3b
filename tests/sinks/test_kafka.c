/* The kafka sink against librdkafka's mock cluster: what lands in it, errors of the broker, a broker that is away and comes
 * back, the stop with nobody there, and the names of Java's properties. Real time (librdkafka has its own threads), no sleeps. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "channel/kafka_conf.h"
#include "tests/lib/sink_fixture.h"

static struct sink_fixture f;
static rd_kafka_t *mock_owner;
static rd_kafka_mock_cluster_t *mock;
static char servers[256];

static int
set_up(void **state)
{
	(void)state;
	char text[256];
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	mock_owner = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
	mock = rd_kafka_mock_cluster_new(mock_owner, 1);
	rd_kafka_mock_topic_create(mock, "t1", 1, 1);
	rd_kafka_mock_topic_create(mock, "t2", 4, 1);
	snprintf(servers, sizeof servers, "kafka.bootstrap.servers=%s", rd_kafka_mock_cluster_bootstraps(mock));
	fixture_init(&f, 0);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	fixture_free(&f);
	rd_kafka_mock_cluster_destroy(mock);
	rd_kafka_destroy(mock_owner);
	return 0;
}

/* Steps until so many are settled; bounded by 30 s. */
static void
settle_all(uint32_t settled)
{
	uint64_t end = clock_now_ns(&clock_system) + 30 * NS_PER_S;
	while (f.channel.settled < settled && clock_now_ns(&clock_system) < end)
		sink_runner_step(f.runner, 20 * NS_PER_MS);
	assert_int_equal(f.channel.settled, settled);
}

/* Reads `count` messages of a topic; "partition:key:value;" of each, in order of arrival. */
static char *
topic_read(const char *topic, int count)
{
	char text[512];
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_conf_set(conf, "bootstrap.servers", rd_kafka_mock_cluster_bootstraps(mock), text, sizeof text);
	rd_kafka_conf_set(conf, "group.id", "g", text, sizeof text);
	rd_kafka_t *consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
	rd_kafka_poll_set_consumer(consumer);
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(4);
	for (int i = 0; i < (strcmp(topic, "t2") ? 1 : 4); i++)
		rd_kafka_topic_partition_list_add(list, topic, i)->offset = RD_KAFKA_OFFSET_BEGINNING;
	rd_kafka_assign(consumer, list);
	rd_kafka_topic_partition_list_destroy(list);
	char *all = calloc(1, 1 << 16), *p = all, *all_end = all + (1 << 16);
	uint64_t end = clock_now_ns(&clock_system) + 20 * NS_PER_S;
	while (count && clock_now_ns(&clock_system) < end) {
		rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, 100);
		if (!message)
			continue;
		if (!message->err) {
			p += snprintf(p, (size_t)(all_end - p), "%d:%.*s:", message->partition, (int)message->key_len, message->key ?
				(char *)message->key : "");
			memcpy(p, message->payload, message->len);
			p += message->len;
			rd_kafka_headers_t *headers;
			const char *name;
			const void *value;
			size_t len;
			if (rd_kafka_message_headers(message, &headers) == 0) {
				for (size_t i = 0; rd_kafka_header_get_all(headers, i, &name, &value, &len) == 0; i++)
					p += snprintf(p, (size_t)(all_end - p), "[%s=%.*s]", name, (int)len, (const char *)value);
			}
			rd_kafka_timestamp_type_t type;
			int64_t ms = rd_kafka_message_timestamp(message, &type);
			if (ms == 1700000000123)
				p += snprintf(p, (size_t)(all_end - p), "@");
			p += snprintf(p, (size_t)(all_end - p), ";");
			count--;
		}
		rd_kafka_message_destroy(message);
	}
	assert_int_equal(count, 0);
	rd_kafka_consumer_close(consumer);
	rd_kafka_destroy(consumer);
	return all;
}

static void
topic_is(const char *topic, int count, const char *wanted)
{
	char *text = topic_read(topic, count);
	assert_string_equal(text, wanted);
	free(text);
}

static void
messages(void **state)
{
	(void)state;
	assert_int_equal(fixture_open(&f, &sink_kafka, &clock_system, servers, "kafka.topic=t1", "header.host=h", "timestampHeader=timestamp",
				      "kafka.producer.linger.ms=1", NULL), 0);
	fake_put(&f.channel, "hello", 5, "key=k1 host=h1");
	fake_put(&f.channel, "", 0, NULL);
	fake_put(&f.channel, "third", 5, "timestamp=#1700000000123");
	settle_all(3);
	assert_false(sink_runner_busy(f.runner));
	topic_is("t1", 3, "0:k1:hello[h=h1];0::;0::third@;");
	assert_int_equal(fixture_metric("EventDrainSuccessCount"), 3);
	assert_int_equal(fixture_metric("RollbackCount"), 0);
	assert_true(fixture_metric("BatchUnderflowCount") >= 1);
}

static void
topics_and_partitions(void **state)
{
	(void)state;
	assert_int_equal(fixture_open(&f, &sink_kafka, &clock_system, servers, "kafka.topic=t%{n}", "partitionIdHeader=p", "defaultPartitionId=0",
				      "kafka.producer.compression.type=lz4", NULL), 0);
	fake_put(&f.channel, "one", 3, "n=1");
	fake_put(&f.channel, "three", 5, "n=1 topic=t2 p=3");
	settle_all(2);
	topic_is("t1", 1, "0::one;");
	topic_is("t2", 1, "3::three;");
}

static void
event_format(void **state)
{
	(void)state;
	assert_int_equal(fixture_open(&f, &sink_kafka, &clock_system, servers, "kafka.topic=t1", "useFlumeEventFormat=true", NULL), 0);
	fake_put(&f.channel, "hello", 5, "host=h1");
	fake_put(&f.channel, "hello", 5, NULL);
	settle_all(2);
	char *text = topic_read("t1", 2);
	assert_memory_equal(text, "0::\x02\x08host\x04h1\x00\x0ahello;0::\x00\x0ahello;", 3 + 16 + 1 + 3 + 7 + 1);
	free(text);
}

/* More than one span in flight, and a broker that refuses for a while: all arrive, none is settled early. */
static void
errors_are_tried_again(void **state)
{
	(void)state;
	assert_int_equal(fixture_open(&f, &sink_kafka, &clock_system, servers, "kafka.topic=t1", "flumeBatchSize=10", "kafka.producer.retries=0", NULL), 0);
	char body[32];
	for (int i = 0; i < 95; i++)
		fake_put(&f.channel, body, (uint32_t)snprintf(body, sizeof body, "e%d", i), NULL);
	rd_kafka_mock_push_request_errors(mock, 0 /* Produce */, 1, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
	settle_all(95);
	assert_true(f.channel.rollbacks >= 1);
	assert_int_equal(fixture_metric("RollbackCount"), f.channel.rollbacks);
	assert_int_equal(fixture_metric("EventDrainSuccessCount"), 95);
}

static void
broker_down_then_up(void **state)
{
	(void)state;
	assert_int_equal(fixture_open(&f, &sink_kafka, &clock_system, servers, "kafka.topic=t1", "kafka.producer.delivery.timeout.ms=300",
				      "kafka.producer.request.timeout.ms=200", "kafka.producer.reconnect.backoff.max.ms=200", NULL), 0);
	rd_kafka_mock_broker_set_down(mock, 1);
	fake_put(&f.channel, "patient", 7, NULL);
	uint64_t end = clock_now_ns(&clock_system) + 20 * NS_PER_S;
	while (!f.channel.rollbacks && clock_now_ns(&clock_system) < end)
		sink_runner_step(f.runner, 20 * NS_PER_MS);
	assert_true(f.channel.rollbacks >= 1);
	assert_int_equal(f.channel.settled, 0);
	rd_kafka_mock_broker_set_up(mock, 1);
	settle_all(1);
	topic_is("t1", 1, "0::patient;");
}

/* Nobody there at the stop: what pends goes back to the channel, bounded in time. */
static void
stop_without_broker(void **state)
{
	(void)state;
	assert_int_equal(fixture_open(&f, &sink_kafka, &clock_system, "brokerList=127.0.0.1:1", "topic=t1", NULL), 0);
	for (int i = 0; i < 500; i++)
		fake_put(&f.channel, "x", 1, NULL);
	sink_runner_step(f.runner, 0);
	assert_true(sink_runner_busy(f.runner));
	assert_int_equal(f.channel.open_spans, 5);
	sink_runner_finish(f.runner, clock_now_ns(&clock_system) + 50 * NS_PER_MS);
	f.runner = NULL;
	assert_int_equal(f.channel.open_spans, 0);
	assert_int_equal(f.channel.settled, 0);
	assert_int_equal(f.channel.rollbacks, 5);
}

static void
conf_is(const char *key, const char *value, const char *name, const char *wanted)
{
	struct err err = { "" };
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	int rc = kafka_conf_set(conf, KAFKA_PRODUCER, key, value, &err);
	char text[512] = "";
	size_t len = sizeof text;
	if (name) {
		if (rc)
			fail_msg("%s: %s", key, err.text);
		if (rd_kafka_conf_get(conf, name, text, &len) != RD_KAFKA_CONF_OK) {
			rd_kafka_topic_conf_t *topic = rd_kafka_conf_get_default_topic_conf(conf);
			assert_non_null(topic);
			assert_int_equal(rd_kafka_topic_conf_get(topic, name, text, &len), RD_KAFKA_CONF_OK);
		}
		assert_string_equal(text, wanted);
	} else {
		assert_int_not_equal(rc, 0);
		if (!strstr(err.text, wanted) || !strstr(err.text, key))
			fail_msg("%s: %s", key, err.text);
	}
	rd_kafka_conf_destroy(conf);
}

static void
java_names(void **state)
{
	(void)state;
	conf_is("acks", "all", "request.required.acks", "-1");
	conf_is("compression.type", "gzip", "compression.codec", "gzip");
	conf_is("linger.ms", "7", "queue.buffering.max.ms", "7");
	conf_is("batch.size", "16384", "batch.size", "16384");
	conf_is("buffer.memory", "33554432", "queue.buffering.max.kbytes", "32768");
	conf_is("retries", "2147483647", "message.send.max.retries", "2147483646");
	conf_is("delivery.timeout.ms", "1000", "message.timeout.ms", "1000");
	conf_is("request.timeout.ms", "1500", "request.timeout.ms", "1500");
	conf_is("security.protocol", "SASL_SSL", "security.protocol", "sasl_ssl");
	conf_is("sasl.mechanism", "PLAIN", "sasl.mechanisms", "PLAIN");
	conf_is("sasl.jaas.config", "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"u\" password=\"p w\";",
		"sasl.username", "u");
	conf_is("sasl.jaas.config", "org.apache.kafka.common.security.scram.ScramLoginModule required username='a' password='b';", "sasl.username", "a");
	conf_is("ssl.truststore.location", "/etc/ca.pem", "ssl.ca.location", "/etc/ca.pem");
	conf_is("ssl.endpoint.identification.algorithm", "", "ssl.endpoint.identification.algorithm", "none");
	conf_is("ssl.disableTLSHostnameVerification", "true", "ssl.endpoint.identification.algorithm", "none");
	conf_is("partitioner.class", "org.apache.kafka.clients.producer.internals.DefaultPartitioner", "partitioner", "murmur2_random");
	conf_is("sticky.partitioning.linger.ms", "0", "sticky.partitioning.linger.ms", "0");
	conf_is("key.serializer", "x", "queue.buffering.max.ms", "5");
	conf_is("ssl.truststore.location", "/etc/ca.jks", NULL, "PEM");
	conf_is("interceptor.classes", "x", NULL, "interceptors");
	conf_is("transactional.id", "x", NULL, "not supported");
	conf_is("lingr.ms", "5", NULL, "not supported");
	conf_is("linger.ms", "five", NULL, "cannot be used");
	conf_is("partitioner.class", "my.Own", NULL, "Java classes");
	conf_is("sasl.jaas.config", "com.sun.security.auth.module.Krb5LoginModule required;", NULL, "Kerberos");
}

static void
mistakes_are_told(void **state)
{
	(void)state;
	assert_int_not_equal(fixture_open(&f, &sink_kafka, NULL, "kafka.topic=t1", NULL), 0);
	assert_int_not_equal(fixture_open(&f, &sink_kafka, NULL, servers, "kafka.producer.acks=some", NULL), 0);
	assert_non_null(strstr(f.err.text, "acks"));
	assert_int_not_equal(fixture_open(&f, &sink_kafka, NULL, servers, "kafka.topic=%[nothing]", NULL), 0);
	assert_non_null(strstr(f.err.text, "kafka.topic"));
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(messages), T(topics_and_partitions), T(event_format), T(errors_are_tried_again), T(broker_down_then_up), T(stop_without_broker),
		T(mistakes_are_told), cmocka_unit_test(java_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
