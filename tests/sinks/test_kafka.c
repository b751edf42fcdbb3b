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
#include "sinks/format/audit.h"
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
	rd_kafka_mock_topic_create(mock, "audit", 1, 1);
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

/* Steps until so many are settled; bounded by 60 s. */
static void
settle_all(uint32_t settled)
{
	uint64_t end = clock_now_ns(&clock_system) + 60 * NS_PER_S;
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
	uint64_t end = clock_now_ns(&clock_system) + 60 * NS_PER_S;
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
	uint64_t end = clock_now_ns(&clock_system) + 60 * NS_PER_S;
	while (!f.channel.rollbacks && clock_now_ns(&clock_system) < end)
		sink_runner_step(f.runner, 20 * NS_PER_MS);
	assert_true(f.channel.rollbacks >= 1);
	assert_int_equal(f.channel.settled, 0);
	rd_kafka_mock_broker_set_up(mock, 1);
	settle_all(1);
	topic_is("t1", 1, "0::patient;");
}

/* An idempotent producer that lost count with its broker takes nothing any more: another one has to go on, with what it had not delivered. */
static void
failed(const char *audit)
{
	assert_int_equal(fixture_open(&f, &sink_kafka, &clock_system, servers, "kafka.topic=t1", "flumeBatchSize=10", "kafka.producer.acks=all",
		"kafka.producer.enable.idempotence=true", audit, NULL), 0);
	char body[32];
	for (int turn = 1; turn <= 2; turn++) {
		for (int i = 0; i < 25; i++)
			fake_put(&f.channel, body, (uint32_t)snprintf(body, sizeof body, "e%d", i), NULL);
		rd_kafka_mock_push_request_errors(mock, 0 /* Produce */, 1, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
		settle_all((uint32_t)turn * 25);
		assert_true(f.channel.rollbacks >= (uint32_t)turn);
	}
}

static void
failed_for_good(void **state)
{
	(void)state;
	failed(NULL);
}

static void
failed_for_good_with_counts(void **state)
{
	(void)state;
	failed("penstock.kafka.audit.topic=audit");
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

/* The greatest count of each key of the audit topic, summed by topic and window: "topic@window=count;" in the order of the first message. */
static const char *
counts_text(int messages)
{
	struct { char key[256], topic[64]; int64_t begin_ms, count; } told[64];
	size_t keys = 0;
	static char text[1024];
	char *all = topic_read("audit", messages), *p = all, *end;
	text[0] = '\0';
	for (int m = 0; m < messages; m++, p = end) {
		char *value = strstr(p, "{\"eventType\""), key[256];
		struct audit_count count;
		assert_non_null(value);
		json_t *json = json_loads(value, JSON_DISABLE_EOF_CHECK, NULL);
		assert_non_null(json);
		assert_true(audit_read(json, &count));
		assert_string_equal(count.tier, "agents");
		assert_int_equal(count.length_ms, 60000);
		assert_non_null(count.run);
		json_t *service = json_array_get(json_object_get(json, "services"), 0);
		assert_int_equal(json_integer_value(json_object_get(service, "count")), count.count);
		assert_string_equal(json_string_value(json_object_get(service, "service")), "a1.k1");
		char *kafka_key = audit_key(&count);
		assert_memory_equal(value - 1 - strlen(kafka_key), kafka_key, strlen(kafka_key));
		free(kafka_key);
		snprintf(key, sizeof key, "%s %lld %s", count.topic, (long long)count.begin_ms, count.run);
		size_t i = 0;
		while (i < keys && strcmp(told[i].key, key) != 0)
			i++;
		if (i == keys) {
			assert_true(keys < 64);
			snprintf(told[i].key, sizeof told[i].key, "%s", key);
			snprintf(told[i].topic, sizeof told[i].topic, "%s", count.topic);
			told[i].begin_ms = count.begin_ms;
			told[i].count = 0;
			keys++;
		}
		assert_true(count.count > told[i].count);	/* each says more than the one before */
		told[i].count = count.count;
		json_decref(json);
		end = strchr(value, ';') + 1;
	}
	for (size_t i = 0; i < keys; i++) {
		int64_t sum = 0;
		bool first = true;
		for (size_t k = 0; k < keys; k++) {
			if (strcmp(told[i].topic, told[k].topic) == 0 && told[i].begin_ms == told[k].begin_ms) {
				sum += told[k].count;
				first = first && k >= i;
			}
		}
		size_t used = strlen(text);
		if (first)
			snprintf(text + used, sizeof text - used, "%s@%lld=%lld;", told[i].topic, (long long)told[i].begin_ms, (long long)sum);
	}
	free(all);
	return text;
}

static void
counts_are(int messages, const char *wanted)
{
	assert_string_equal(counts_text(messages), wanted);
}

#define AUDIT "penstock.kafka.audit.topic=audit", "penstock.kafka.audit.tier=agents", "penstock.kafka.audit.window=1m", "kafka.producer.linger.ms=1"

/* Stops the sink; all of its counts are out. */
static void
audit_stop(void)
{
	sink_runner_finish(f.runner, clock_now_ns(&clock_system) + 60 * NS_PER_S);
	f.runner = NULL;
}

/* By topic and window, at the edges; held spans are told together. */
static void
audit_counts(void **state)
{
	(void)state;
	assert_int_equal(fixture_open(&f, &sink_kafka, &clock_system, servers, "kafka.topic=t1", "useFlumeEventFormat=true", "flumeBatchSize=4",
				      "penstock.kafka.audit.interval=1m", AUDIT, NULL), 0);
	fake_put(&f.channel, "a", 1, "timestamp=#1700000039999");
	fake_put(&f.channel, "b", 1, "timestamp=#1700000040000");
	fake_put(&f.channel, "c", 1, "timestamp=1699999980000");
	fake_put(&f.channel, "d", 1, "timestamp=#1700000000000 topic=t2");
	settle_all(4);			/* the first after a pause is told at once */
	assert_int_equal(fixture_metric("audit_told"), 3);
	for (int i = 0; i < 10; i++)
		fake_put(&f.channel, "e", 1, "timestamp=#1700000039998");
	uint64_t end = clock_now_ns(&clock_system) + 300 * NS_PER_MS;
	while (clock_now_ns(&clock_system) < end)
		sink_runner_step(f.runner, 20 * NS_PER_MS);
	assert_int_equal(f.channel.settled, 4);	/* in Kafka, and held until they are told */
	audit_stop();
	assert_int_equal(f.channel.settled, 14);
	assert_int_equal(f.channel.rollbacks, 0);
	const char *text = counts_text(4);	/* the topics in either order */
	if (strcmp(text, "t2@1699999980000=1;t1@1699999980000=12;t1@1700000040000=1;") != 0)
		assert_string_equal(text, "t1@1699999980000=12;t1@1700000040000=1;t2@1699999980000=1;");
}

/* A topic whose broker gives the records their times (the mock's says 1234 of each): what Kafka has is what counts. */
static void
audit_by_record_time(void **state)
{
	(void)state;
	assert_int_equal(fixture_open(&f, &sink_kafka, &clock_system, servers, "kafka.topic=t1", "timestampHeader=timestamp", AUDIT, NULL), 0);
	fake_put(&f.channel, "none", 4, NULL);
	fake_put(&f.channel, "other", 5, "timestamp=#1700000000000");
	settle_all(2);
	audit_stop();
	counts_are(1, "t1@0=2;");
}

/* Flume's Avro events have their time in the header `timestamp`, whatever the record's is; without one it is the record's. */
static void
audit_event_format(void **state)
{
	(void)state;
	assert_int_equal(fixture_open(&f, &sink_kafka, &clock_system, servers, "kafka.topic=t1", "useFlumeEventFormat=true", "timestampHeader=other",
				      "flumeBatchSize=3", AUDIT, NULL), 0);
	fake_put(&f.channel, "a", 1, "timestamp=#1700000039999 other=#1600000000000");
	fake_put(&f.channel, "b", 1, "timestamp=-1 other=#1600000000000");
	fake_put(&f.channel, "c", 1, "timestamp=soon other=#1600000000000");
	settle_all(3);
	fake_put(&f.channel, "d", 1, "timestamp=1700000039998");
	settle_all(4);
	audit_stop();
	counts_are(4, "t1@1699999980000=2;t1@-60000=1;t1@0=1;");
}

/* A batch that fails in part: what Kafka has of it counts, and counts again when it is there twice. */
static void
audit_of_failures(void **state)
{
	(void)state;
	assert_int_equal(fixture_open(&f, &sink_kafka, &clock_system, servers, "kafka.topic=t%{n}", "useFlumeEventFormat=true", "flumeBatchSize=2",
				      "kafka.producer.retries=0", AUDIT, NULL), 0);
	fake_put(&f.channel, "0", 1, "n=2 timestamp=#1700000000000");
	settle_all(1);
	uint64_t told = fixture_metric("audit_told");
	assert_int_equal(told, 1);
	rd_kafka_mock_push_request_errors(mock, 0 /* Produce */, 1, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
	fake_put(&f.channel, "a", 1, "n=1 timestamp=#1700000000000");
	fake_put(&f.channel, "b", 1, "n=2 timestamp=#1700000000000");
	settle_all(3);
	assert_int_equal(f.channel.rollbacks, 1);
	told = fixture_metric("audit_told");
	audit_stop();
	/* Each topic is a request of its own; which of them came first, and failed, cannot be said. */
	const char *text = counts_text((int)told);
	bool first_failed = strstr(text, "t1@1699999980000=1;");
	free(topic_read("t1", first_failed ? 1 : 2));
	free(topic_read("t2", first_failed ? 3 : 2));
	assert_non_null(strstr(text, first_failed ? "t2@1699999980000=3;" : "t2@1699999980000=2;"));
	assert_non_null(strstr(text, first_failed ? "t1@1699999980000=1;" : "t1@1699999980000=2;"));
}

/* Nobody leads the audit topic: nothing is settled before its count is told. */
static void
audit_before_settle(void **state)
{
	(void)state;
	rd_kafka_mock_partition_set_leader(mock, "audit", 0, -1);
	assert_int_equal(fixture_open(&f, &sink_kafka, &clock_system, servers, "kafka.topic=t1", "useFlumeEventFormat=true",
				      "kafka.producer.metadata.max.age.ms=500", AUDIT, NULL), 0);
	fake_put(&f.channel, "a", 1, "timestamp=#1700000000000");
	uint64_t end = clock_now_ns(&clock_system) + 500 * NS_PER_MS;
	while (clock_now_ns(&clock_system) < end)
		sink_runner_step(f.runner, 20 * NS_PER_MS);
	free(topic_read("t1", 1));
	assert_int_equal(f.channel.settled, 0);
	rd_kafka_mock_partition_set_leader(mock, "audit", 0, 1);
	settle_all(1);
	audit_stop();
	counts_are(1, "t1@1699999980000=1;");
}

/* An audit topic that refuses holds nobody back; once it takes counts again, the whole count is there. */
static void
audit_refused(void **state)
{
	(void)state;
	rd_kafka_mock_topic_set_error(mock, "audit", RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
	assert_int_equal(fixture_open(&f, &sink_kafka, &clock_system, servers, "kafka.topic=t1", "useFlumeEventFormat=true", "flumeBatchSize=10",
				      "kafka.producer.retries=0", "kafka.producer.delivery.timeout.ms=4000", "kafka.producer.request.timeout.ms=3000",
				      "kafka.producer.metadata.max.age.ms=500", "penstock.kafka.audit.interval=10ms", AUDIT, NULL), 0);
	for (int i = 0; i < 500; i++)
		fake_put(&f.channel, "x", 1, "timestamp=#1700000000000");
	settle_all(500);
	assert_int_equal(f.channel.rollbacks, 0);
	assert_true(fixture_metric("audit_failed") >= 1);
	assert_int_equal(fixture_metric("audit_told"), 0);
	rd_kafka_mock_topic_set_error(mock, "audit", RD_KAFKA_RESP_ERR_NO_ERROR);
	uint64_t end = clock_now_ns(&clock_system) + 60 * NS_PER_S;
	while (!fixture_metric("audit_told") && clock_now_ns(&clock_system) < end)
		sink_runner_step(f.runner, 20 * NS_PER_MS);
	audit_stop();
	counts_are(1, "t1@1699999980000=500;");
}

/* A memory channel as Flume has it has room for 100 events: those that are held must not stop it. */
static void
audit_small_channel(void **state)
{
	(void)state;
	fake_capacity(&f.channel, 40);
	assert_int_equal(fixture_open(&f, &sink_kafka, &clock_system, servers, "kafka.topic=t1", "useFlumeEventFormat=true", "flumeBatchSize=5",
				      "penstock.kafka.audit.interval=1m", AUDIT, NULL), 0);
	fake_put(&f.channel, "x", 1, "timestamp=#1700000000000");
	settle_all(1);
	for (int i = 0; i < 10; i++)
		fake_put(&f.channel, "x", 1, "timestamp=#1700000000000");
	settle_all(11);
	audit_stop();
	counts_are(2, "t1@1699999980000=11;");
}

static void
audit_mistakes(void **state)
{
	(void)state;
	static const struct { const char *option, *other, *words; } rows[] = {
		{ "penstock.kafka.audit.tier=agents", "flumeBatchSize=1", "penstock.kafka.audit.topic" },
		{ "penstock.kafka.audit.topic=a b", "flumeBatchSize=1", "no name of a topic" },
		{ "penstock.kafka.audit.topic=c%{n}", "flumeBatchSize=1", "no name of a topic" },
		{ "penstock.kafka.audit.topic=t1", "flumeBatchSize=1", "is kafka.topic too" },
		{ "penstock.kafka.audit.topic=audit", "kafka.producer.acks=0", "want 1 or all" },
		{ "penstock.kafka.audit.topic=audit", "penstock.kafka.audit.window=90s", "whole minutes" },
		{ "penstock.kafka.audit.topic=audit", "penstock.kafka.audit.window=0", "whole minutes" },
		{ "penstock.kafka.audit.topic=audit", "penstock.kafka.audit.interval=2m", "10ms to 1m" },
		{ "penstock.kafka.audit.topic=audit", "penstock.kafka.audit.tier=\xff", "UTF-8" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		assert_int_not_equal(fixture_open(&f, &sink_kafka, NULL, servers, "kafka.topic=t1", rows[i].option, rows[i].other, NULL), 0);
		if (!strstr(f.err.text, rows[i].words))
			fail_msg("%s: %s", rows[i].option, f.err.text);
	}
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(messages), T(topics_and_partitions), T(event_format), T(errors_are_tried_again), T(broker_down_then_up), T(failed_for_good), T(failed_for_good_with_counts), T(stop_without_broker),
		T(mistakes_are_told), T(audit_counts), T(audit_by_record_time), T(audit_event_format), T(audit_of_failures), T(audit_before_settle), T(audit_refused),
		T(audit_small_channel), T(audit_mistakes), cmocka_unit_test(java_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
