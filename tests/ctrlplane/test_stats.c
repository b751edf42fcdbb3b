/* Proves Flume's JSON (keys, attributes by kind, strings), Prometheus names and units, and that the accounts are judged as stats.h
 * says: even, moving, uneven. The expected attribute sets are those of a real Flume 1.11. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "ctrlplane/stats.h"

struct source_counters {
	struct counter received, accepted, parsed, filtered, routed, drop_bad, scan_ns;
};
static const struct metric source_metrics[] = {
	{ "EventReceivedCount", METRIC_COUNTER, offsetof(struct source_counters, received), "events", "Events received." },
	{ "EventAcceptedCount", METRIC_COUNTER, offsetof(struct source_counters, accepted), "events", "Events stored." },
	{ "events_parsed", METRIC_COUNTER, offsetof(struct source_counters, parsed), "events", "Events parsed." },
	{ "filtered", METRIC_COUNTER, offsetof(struct source_counters, filtered), "events", "Events an interceptor dropped." },
	{ "routed", METRIC_COUNTER, offsetof(struct source_counters, routed), "events", "Events handed to a channel." },
	{ "drop_bad", METRIC_COUNTER, offsetof(struct source_counters, drop_bad), "events", "Bad ones." },
	{ "scan_ns", METRIC_COUNTER, offsetof(struct source_counters, scan_ns), "ns", "Time in the scan." },
};

struct channel_counters {
	struct counter size, capacity, stored, failed;
};
static const struct metric channel_metrics[] = {
	{ "ChannelSize", METRIC_GAUGE, offsetof(struct channel_counters, size), "events", "Events waiting." },
	{ "ChannelCapacity", METRIC_GAUGE, offsetof(struct channel_counters, capacity), "events", "Events that fit." },
	{ "stored", METRIC_COUNTER, offsetof(struct channel_counters, stored), "events", "Events stored." },
	{ "failed", METRIC_COUNTER, offsetof(struct channel_counters, failed), "events", "Events lost." },
};

struct intake_counters {
	struct counter offered, full, in_flight, acknowledged, failed;
};
static const struct metric intake_metrics[] = {
	{ "offered", METRIC_COUNTER, offsetof(struct intake_counters, offered), "events", "Events for the channel." },
	{ "channel_full", METRIC_COUNTER, offsetof(struct intake_counters, full), "events", "Events without room." },
	{ "in_flight", METRIC_GAUGE, offsetof(struct intake_counters, in_flight), "events", "Events on the way." },
	{ "acknowledged", METRIC_COUNTER, offsetof(struct intake_counters, acknowledged), "events", "Events stored." },
	{ "store_failed", METRIC_COUNTER, offsetof(struct intake_counters, failed), "events", "Events lost." },
};

#define SET(kind_, component_, table, counters_) \
	{ .kind = kind_, .component = component_, .metrics = table, .count = sizeof table / sizeof *table, .counters = counters_ }

struct fixture {
	struct clock_manual clock;
	struct stats *stats;
	struct source_counters source[2];	/* of two threads */
	struct channel_counters channel;
	struct intake_counters intake;
	struct metric_set sets[4];
	int pauses;
	bool moving;
};

static void
on_pause(void *context)
{
	struct fixture *f = context;
	f->pauses++;
	if (f->moving)
		counter_add(&f->source[0].parsed, 1);
}

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	clock_manual_init(&f->clock, 5 * NS_PER_S, UINT64_C(1795246059937) * NS_PER_MS);
	f->stats = stats_open(&f->clock.clock);
	stats_set_pause(f->stats, on_pause, f);
	f->sets[0] = (struct metric_set)SET("SOURCE", "r1", source_metrics, &f->source[0]);
	f->sets[1] = (struct metric_set)SET("SOURCE", "r1", source_metrics, &f->source[1]);
	f->sets[2] = (struct metric_set)SET("CHANNEL", "c1", channel_metrics, &f->channel);
	f->sets[3] = (struct metric_set)SET("INTAKE", "c1", intake_metrics, &f->intake);
	for (int i = 0; i < 4; i++)
		metrics_add(&f->sets[i]);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;
	for (int i = 0; i < 4; i++)
		metrics_remove(&f->sets[i]);
	stats_close(f->stats);
	free(f);
	return 0;
}

static json_t *
flume(struct fixture *f)
{
	char *text = stats_flume_json(f->stats);
	json_t *all = json_loads(text, 0, NULL);
	assert_non_null(all);
	free(text);
	return all;
}

#define VALUE(all, component, name) json_string_value(json_object_get(json_object_get(all, component), name))

static void
test_flume_json(void **state)
{
	struct fixture *f = *state;
	stats_component_add(f->stats, "SOURCE", "r1", "syslogudp");
	stats_component_add(f->stats, "SOURCE", "r2", "netcatudp");
	stats_component_add(f->stats, "CHANNEL", "c1", "file");
	stats_component_add(f->stats, "CHANNEL", "c2", "memory");
	stats_component_add(f->stats, "SINK", "k1", "file_roll");
	stats_component_add(f->stats, "SINK", "k2", "org.apache.flume.sink.kafka.KafkaSink");
	stats_component_add(f->stats, "SINK", "k3", "logger");
	counter_add(&f->source[0].received, 3);
	counter_add(&f->source[1].received, 4);
	counter_set(&f->channel.size, 1);
	counter_set(&f->channel.capacity, 1000);

	json_t *all = flume(f);
	assert_int_equal(json_object_size(all), 5);
	assert_string_equal(VALUE(all, "SOURCE.r1", "EventReceivedCount"), "7");
	assert_string_equal(VALUE(all, "SOURCE.r1", "AppendBatchReceivedCount"), "0");
	assert_string_equal(VALUE(all, "SOURCE.r1", "StartTime"), "1795246059937");
	assert_string_equal(VALUE(all, "SOURCE.r1", "StopTime"), "0");
	assert_string_equal(VALUE(all, "SOURCE.r1", "Type"), "SOURCE");
	assert_int_equal(json_object_size(json_object_get(all, "SOURCE.r1")), 13);
	assert_int_equal(json_object_size(json_object_get(all, "CHANNEL.c1")), 17);
	assert_int_equal(json_object_size(json_object_get(all, "CHANNEL.c2")), 10);
	assert_int_equal(json_object_size(json_object_get(all, "SINK.k1")), 13);
	assert_int_equal(json_object_size(json_object_get(all, "SINK.k2")), 13);
	assert_string_equal(VALUE(all, "CHANNEL.c1", "ChannelFillPercentage"), "0.1");
	assert_string_equal(VALUE(all, "CHANNEL.c1", "Open"), "true");
	assert_string_equal(VALUE(all, "CHANNEL.c2", "ChannelFillPercentage"), "1.7976931348623157E308");
	assert_null(VALUE(all, "SOURCE.r1", "filtered"));
	json_decref(all);

	clock_manual_advance(&f->clock, 2 * NS_PER_MS);
	stats_component_stopped(f->stats, "CHANNEL", "c1");
	stats_component_remove(f->stats, "SINK", "k2");
	all = flume(f);
	assert_int_equal(json_object_size(all), 4);
	assert_string_equal(VALUE(all, "CHANNEL.c1", "StopTime"), "1795246059939");
	assert_string_equal(VALUE(all, "CHANNEL.c1", "Open"), "false");
	json_decref(all);
}

/* Each component as a real Flume 1.11 showed it, with counters that hold its values: ours is the same, text by text. */
static void
test_golden(void **state)
{
	struct fixture *f = *state;
	json_t *golden = json_load_file(GOLDEN, 0, NULL), *entry;
	size_t i;
	assert_true(json_array_size(golden) >= 8);
	for (int k = 0; k < 4; k++)	/* the fixture's own would be added up */
		metrics_remove(&f->sets[k]);
	json_array_foreach(golden, i, entry) {
		const char *component = json_string_value(json_object_get(entry, "component")), *name = strchr(component, '.') + 1, *key;
		char *kind = strndup(component, name - 1 - component);
		json_t *attributes = json_object_get(entry, "attributes"), *value;
		struct metric table[32];
		struct counter counters[32];
		struct metric_set set = { .kind = kind, .component = name, .metrics = table, .counters = counters };
		json_object_foreach(attributes, key, value) {
			table[set.count] = (struct metric){ key, METRIC_COUNTER, set.count * sizeof *counters, "events", "" };
			const char *text = json_string_value(value);
			counter_set(&counters[set.count++], strcmp(text, "true") == 0 ? 1 : strtoull(text, NULL, 10));
		}
		metrics_add(&set);
		f->clock.wall = strtoull(json_string_value(json_object_get(attributes, "StartTime")), NULL, 10) * NS_PER_MS;
		stats_component_add(f->stats, kind, name, json_string_value(json_object_get(entry, "type")));
		json_t *all = flume(f);
		char *ours = json_dumps(json_object_get(all, component), JSON_SORT_KEYS), *theirs = json_dumps(attributes, JSON_SORT_KEYS);
		assert_string_equal(ours, theirs);
		free(ours);
		free(theirs);
		json_decref(all);
		stats_component_remove(f->stats, kind, name);
		metrics_remove(&set);
		free(kind);
	}
	json_decref(golden);
}

static void
test_java_double(void **state)
{
	static const struct { double value; const char *text; } table[] = {
		{ 0, "0.0" }, { 100, "100.0" }, { 0.1, "0.1" }, { 12.5, "12.5" }, { 100.0 / 3, "33.333333333333336" },
		{ 1e-4, "1.0E-4" }, { 1.25e-5, "1.25E-5" }, { 0.001, "0.001" }, { 1234567, "1234567.0" }, { 12345678, "1.2345678E7" },
	};
	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		char text[STATS_NUMBER_BYTES];
		stats_java_double(table[i].value, text);
		assert_string_equal(text, table[i].text);
	}
}

static void
test_prometheus(void **state)
{
	struct fixture *f = *state;
	stats_component_add(f->stats, "SOURCE", "r1", "syslogudp");
	counter_add(&f->source[0].received, 3);
	counter_add(&f->source[0].scan_ns, 1500000000);
	counter_set(&f->channel.size, 1);
	counter_set(&f->channel.capacity, 1000);
	char *text = stats_prometheus(f->stats);
	assert_non_null(strstr(text, "# TYPE penstock_source_event_received_total counter\n"
			       "penstock_source_event_received_total{component=\"r1\"} 3\n"));
	assert_non_null(strstr(text, "# TYPE penstock_source_scan_seconds_total counter\npenstock_source_scan_seconds_total{component=\"r1\"} 1.5\n"));
	assert_non_null(strstr(text, "penstock_channel_size{component=\"c1\"} 1\n"));
	assert_non_null(strstr(text, "penstock_channel_fill_ratio{component=\"c1\"} 0.001\n"));
	assert_non_null(strstr(text, "penstock_source_start_time_seconds{component=\"r1\"} 1795246059.937\n"));
	assert_null(strstr(text, "_count"));
	free(text);
}

static const char *
account_state_of(json_t *answer, const char *name)
{
	size_t i;
	json_t *account;
	json_array_foreach(json_object_get(answer, "accounts"), i, account)
		if (strcmp(json_string_value(json_object_get(account, "account")), name) == 0)
			return json_string_value(json_object_get(account, "state"));
	return "absent";
}

static void
test_accounts(void **state)
{
	struct fixture *f = *state;
	json_t *answer = json_object();
	counter_add(&f->source[0].parsed, 6);
	counter_add(&f->source[1].parsed, 4);
	counter_add(&f->source[0].filtered, 3);
	counter_add(&f->source[0].routed, 5);
	counter_add(&f->source[1].drop_bad, 2);
	counter_add(&f->intake.offered, 5);
	counter_add(&f->intake.full, 1);
	counter_set(&f->intake.in_flight, 1);
	counter_add(&f->intake.acknowledged, 2);
	counter_add(&f->intake.failed, 1);
	stats_drops(f->stats, answer);
	assert_string_equal(account_state_of(answer, "events"), "even");
	assert_string_equal(account_state_of(answer, "channel"), "even");
	assert_string_equal(account_state_of(answer, "frames"), "absent");
	assert_true(json_is_true(json_object_get(answer, "even")));
	assert_int_equal(f->pauses, 0);

	counter_set(&f->intake.in_flight, 0);	/* one unexplained */
	stats_drops(f->stats, answer);
	assert_string_equal(account_state_of(answer, "events"), "even");
	assert_string_equal(account_state_of(answer, "channel"), "uneven");
	assert_false(json_is_true(json_object_get(answer, "even")));

	f->moving = true;
	counter_add(&f->source[0].parsed, 1);
	stats_drops(f->stats, answer);
	assert_string_equal(account_state_of(answer, "events"), "moving");
	json_decref(answer);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_flume_json, setup, teardown),
		cmocka_unit_test_setup_teardown(test_golden, setup, teardown),
		cmocka_unit_test(test_java_double),
		cmocka_unit_test_setup_teardown(test_prometheus, setup, teardown),
		cmocka_unit_test_setup_teardown(test_accounts, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
