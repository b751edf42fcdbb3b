/* syslogudp makes of every golden input what a real Flume 1.11 made of it, but for the differences listed in docs/differences.md:
 * leftovers of earlier datagrams, the cut at 2048 bytes, and replaced bytes that are no UTF-8. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <jansson.h>
#include <time.h>

#include "dataplane/ingress.h"

static char path[1024];

static const char *
golden(const char *name)
{
	snprintf(path, sizeof path, "%s/golden/syslog/%s", getenv("PENSTOCK_TESTS"), name);
	return path;
}

struct told {
	struct option_report report;
};

static void
tell(struct option_report *report, bool fatal, const char *origin, const char *key, const char *text)
{
	(void)report;
	fprintf(stderr, "%s %s: %s: %s\n", fatal ? "error" : "warning", origin, key, text);
}

struct rig {
	struct clock_manual clock;
	struct pipeline pipeline;
	struct pipeline_source spec;
	struct ingress ingress;
	void *config;
	struct option_values values;
};

static void
rig_open(struct rig *rig, struct property *props, size_t count, uint64_t wall_s)
{
	memset(rig, 0, sizeof *rig);
	clock_manual_init(&rig->clock, 0, wall_s * NS_PER_S);
	rig->config = calloc(1, source_syslogudp.config_size);
	struct told told = { .report.tell = tell };
	assert_int_equal(option_parse(source_syslogudp.options, props, count, rig->config, &rig->values, &told.report), 0);
	rig->spec = (struct pipeline_source){ .name = "r1", .ops = &source_syslogudp, .config = rig->config };
	rig->pipeline = (struct pipeline){ .generation = 1, .sources = &rig->spec, .source_count = 1 };
	struct err err = { "" };
	assert_int_equal(ingress_open(&rig->ingress, "test", &rig->pipeline, &rig->clock.clock, -1, &err), 0);
}

static void
rig_close(struct rig *rig)
{
	ingress_close(&rig->ingress);
	option_values_free(&rig->values);
	free(rig->config);
}

static size_t
unhex(const char *hex, uint8_t *out)
{
	size_t n = 0;
	for (; hex[0]; hex += 2) {
		char two[3] = { hex[0], hex[1], 0 };
		out[n++] = (uint8_t)strtoul(two, NULL, 16);
	}
	return n;
}

/* Every header expected is there with its value and no other. */
static void
check_headers(const char *name, const struct event *event, json_t *headers, bool leftovers)
{
	const char *key;
	json_t *value;
	size_t expected = 0;
	json_object_foreach(headers, key, value) {
		if (leftovers && (strcmp(key, "priority") == 0 || strcmp(key, "version") == 0))
			continue;
		expected++;
		const struct header *header = event_header(event, name_intern(key, strlen(key)));
		if (!header)
			fail_msg("%s: header %s is missing", name, key);
		char digits[24];
		const uint8_t *text;
		uint32_t len = event_header_text(event, header, digits, &text);
		if (strcmp(key, "chost") == 0)
			continue;	/* whatever the machine calls itself */
		if (len != json_string_length(value) || memcmp(text, json_string_value(value), len) != 0)
			fail_msg("%s: header %s is \"%.*s\", Flume has \"%s\"", name, key, (int)len, text, json_string_value(value));
	}
	size_t have = event->header_count + (event->shared ? event->shared->count : 0);
	if (have != expected)
		fail_msg("%s: %zu headers, Flume has %zu", name, have, expected);
}

static void
check_case(struct rig *rig, json_t *input, json_t *output)
{
	static uint8_t bytes[65536], body[65536];
	const char *name = json_string_value(json_object_get(input, "case"));
	size_t len = unhex(json_string_value(json_object_get(input, "input_hex")), bytes);
	struct ingress *ingress = &rig->ingress;
	struct datagram dg = { .bytes = bytes, .len = (uint32_t)len, .time_ns = rig->clock.wall };
	address_parse_ip(&dg.from, "127.0.0.1");
	source_syslogudp.on_datagram(ingress->sources[0].self, &dg);
	json_t *events = json_object_get(output, "events");
	if (ingress->batch.count != json_array_size(events))
		fail_msg("%s: %u events, Flume has %zu", name, ingress->batch.count, json_array_size(events));
	for (uint32_t i = 0; i < ingress->batch.count; i++) {
		const struct event *event = &ingress->batch.events[i];
		json_t *expected = json_array_get(events, i);
		json_t *headers = json_object_get(expected, "headers");
		check_headers(name, event, headers, !json_object_get(headers, "timestamp"));
		size_t body_len = unhex(json_string_value(json_object_get(expected, "body_hex")), body);
		if (strcmp(name, "body-latin1") == 0)
			assert_non_null(memmem(event->body, event->body_len, "caf\xe9", 4));	/* kept as it came */
		else if (len > 2048)
			assert_true(event->body_len > body_len && memcmp(event->body, body, body_len) == 0);	/* not cut */
		else if (event->body_len != body_len || memcmp(event->body, body, body_len) != 0)
			fail_msg("%s: body \"%.*s\", Flume has \"%.*s\"", name, (int)event->body_len, event->body, (int)body_len, body);
	}
	ingress_put(ingress);
}

static void
check_file(const char *file, struct property *props, size_t count, uint64_t wall_s)
{
	struct rig rig;
	rig_open(&rig, props, count, wall_s);
	FILE *in = fopen(golden("cases.jsonl"), "r");
	assert_non_null(in);
	FILE *out = fopen(golden(file), "r");
	assert_non_null(out);
	char *a = NULL, *b = NULL;
	size_t a_size = 0, b_size = 0;
	int cases = 0;
	while (getline(&b, &b_size, out) > 0) {
		json_t *output = json_loads(b, JSON_ALLOW_NUL, NULL), *input;
		assert_non_null(output);
		const char *name = json_string_value(json_object_get(output, "case"));
		do {
			assert_true(getline(&a, &a_size, in) > 0);
			input = json_loads(a, JSON_ALLOW_NUL, NULL);
			assert_non_null(input);
			if (strcmp(json_string_value(json_object_get(input, "case")), name) == 0)
				break;
			json_decref(input);
		} while (true);
		check_case(&rig, input, output);
		cases++;
		json_decref(input);
		json_decref(output);
	}
	assert_true(cases > 50);
	free(a);
	free(b);
	fclose(in);
	fclose(out);
	rig_close(&rig);
}

#define UTC_RUN 1795245136	/* 2026-11-21T07:12:16Z */

static void
test_none(void **state)
{
	(void)state;
	struct property props[] = { { "port", "5140", "t:1" } };
	check_file("utc-udp-none.jsonl", props, 1, UTC_RUN);
}

static void
test_all(void **state)
{
	(void)state;
	struct property props[] = { { "port", "5140", "t:1" }, { "keepFields", "all", "t:2" } };
	check_file("utc-udp-all.jsonl", props, 2, UTC_RUN);
}

static void
test_four(void **state)
{
	(void)state;
	struct property props[] = { { "port", "5140", "t:1" }, { "keepFields", "hostname timestamp version priority", "t:2" },
				    { "clientIPHeader", "cip", "t:3" }, { "clientHostnameHeader", "chost", "t:4" } };
	check_file("utc-udp-four.jsonl", props, 4, UTC_RUN);
}

static void
test_new_york(void **state)
{
	(void)state;
	setenv("TZ", "EST5EDT,M3.2.0,M11.1.0", 1);
	tzset();
	struct property props[] = { { "port", "5140", "t:1" } };
	check_file("new_york-udp-none.jsonl", props, 1, UTC_RUN + 68);
	setenv("TZ", "UTC0", 1);
	tzset();
}

/* Priority and version of one datagram never stand on the next. */
static void
test_no_leftovers(void **state)
{
	(void)state;
	struct rig rig;
	struct property props[] = { { "port", "5140", "t:1" } };
	rig_open(&rig, props, 1, UTC_RUN);
	static const char *const messages[] = { "<34>1 2003-10-11T22:14:15Z h one", "<35>unmatched" };
	for (int i = 0; i < 2; i++)
		source_syslogudp.on_datagram(rig.ingress.sources[0].self,
					     &(struct datagram){ .bytes = (const uint8_t *)messages[i], .len = (uint32_t)strlen(messages[i]) });
	assert_int_equal(rig.ingress.batch.count, 2);
	assert_non_null(event_header(&rig.ingress.batch.events[0], name_intern("version", 7)));
	assert_null(event_header(&rig.ingress.batch.events[1], name_intern("version", 7)));
	assert_null(event_header(&rig.ingress.batch.events[1], name_intern("priority", 8)));
	rig_close(&rig);
}

/* format.*: one golden file a source; its first line has the properties, each other a message and what a real Flume made of it. */
static void
check_format(const char *file)
{
	FILE *in = fopen(golden(file), "r");
	assert_non_null(in);
	char *line = NULL;
	size_t size = 0;
	struct rig rig;
	struct property props[8] = { { "port", "5140", "t:1" } };
	size_t count = 1;
	assert_true(getline(&line, &size, in) > 0);
	json_t *first = json_loads(line, 0, NULL), *value;
	const char *key;
	json_object_foreach(json_object_get(first, "properties"), key, value)
		props[count++] = (struct property){ key, json_string_value(value), "t:2" };
	rig_open(&rig, props, count, UTC_RUN);
	for (int cases = 0; getline(&line, &size, in) > 0; cases++) {
		json_t *row = json_loads(line, 0, NULL), *headers = json_object_get(row, "headers");
		assert_non_null(row);
		const char *input = json_string_value(json_object_get(row, "input"));
		source_syslogudp.on_datagram(rig.ingress.sources[0].self, &(struct datagram){ .bytes = (const uint8_t *)input,
			(uint32_t)strlen(input), .time_ns = rig.clock.wall });
		assert_int_equal(rig.ingress.batch.count, 1);
		const struct event *event = &rig.ingress.batch.events[0];
		/* Flume leaves priority and version of the datagram before on an event that has none. */
		static const char *const stale[] = { "priority", "version" };
		for (int i = 0; i < 2; i++)
			if (!event_header(event, name_intern(stale[i], strlen(stale[i]))))
				json_object_del(headers, stale[i]);
		check_headers(input, event, headers, false);
		static uint8_t body[4096];
		size_t len = unhex(json_string_value(json_object_get(row, "body_hex")), body);
		uint8_t *null = memmem(body, len, "null ", 5);	/* a host that took no part: we leave it out */
		if (null) {
			memmove(null, null + 5, (size_t)(body + len - null) - 5);
			len -= 5;
		}
		if (event->body_len != len || memcmp(event->body, body, len) != 0)
			fail_msg("%s: body \"%.*s\", Flume has \"%.*s\"", input, (int)event->body_len, event->body, (int)len, body);
		ingress_put(&rig.ingress);
		json_decref(row);
	}
	json_decref(first);
	free(line);
	fclose(in);
	rig_close(&rig);
}

static void
test_format(void **state)
{
	(void)state;
	static const char *const files[] = { "slashes", "rfc1123", "swap", "three", "clock" };
	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		char file[64];
		snprintf(file, sizeof file, "../syslog_format/%s.jsonl", files[i]);
		check_format(file);
	}
}

/* A mistake in format.* is told at start, with its property; Flume would lose the events. */
static void
test_format_refused(void **state)
{
	(void)state;
	static const char *const wrong[][3] = {
		{ "format.regex", "(a", "format.regex" }, { "format.search", "a(", "format.search" }, { "format.search", "a", "format.replace" },
		{ "format.dateFormat", "yyyy'", "format.dateFormat" }, { "format.dateFormat", "yyyy ww", "letter w" },
	};
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		struct property props[] = { { "port", "5140", "t:1" }, { "format.regex", "(.*)", "t:2" }, { wrong[i][0], wrong[i][1], "t:3" } };
		bool first = strcmp(wrong[i][0], "format.regex") == 0;
		if (first)
			props[1] = props[2];
		struct told told = { .report.tell = tell };
		struct option_values values = { 0 };
		void *config = calloc(1, source_syslogudp.config_size);
		struct err err = { "" };
		assert_int_equal(option_parse(source_syslogudp.options, props, first ? 2 : 3, config, &values, &told.report), 0);
		assert_true(source_syslogudp.check(config, "r1", &err) < 0);
		assert_non_null(strstr(err.text, wrong[i][2]));
		option_values_free(&values);
		free(config);
	}
}

/* A message that is not UTF-8 and a pattern that takes it: as Java reads it. One that the pattern does not take stays as it is. */
static void
test_format_not_utf8(void **state)
{
	(void)state;
	struct rig rig;
	struct property props[] = { { "port", "5140", "t:1" }, { "format.regex", "<(\\d+)>(\\d)? ?(\\d+) (\\S+) (.*)", "t:2" } };
	rig_open(&rig, props, 2, UTC_RUN);
	static const char *const messages[] = { "<34>12 h caf\xe9 x", "<34>caf\xe9" };
	for (int i = 0; i < 2; i++)
		source_syslogudp.on_datagram(rig.ingress.sources[0].self,
					     &(struct datagram){ .bytes = (const uint8_t *)messages[i], .len = (uint32_t)strlen(messages[i]) });
	const struct event *events = rig.ingress.batch.events;
	assert_int_equal(rig.ingress.batch.count, 2);
	assert_int_equal(events[0].body_len, 8);
	assert_memory_equal(events[0].body, "caf\xef\xbf\xbd x", 8);
	assert_int_equal(events[1].body_len, 8);
	assert_memory_equal(events[1].body, "<34>caf\xe9", 8);
	rig_close(&rig);
}

/* Every byte string is a message: one event or none, never a crash; the account stays even. */
static void
test_any_bytes(void **state)
{
	(void)state;
	struct rig rig;
	struct property props[] = { { "port", "5140", "t:1" }, { "keepFields", "timestamp", "t:2" } };
	rig_open(&rig, props, 2, UTC_RUN);
	uint64_t seed = 1;
	static const char seedling[] = "<34>1 2003-10-11T22:14:15.003Z host.example app - - - text";
	for (int round = 0; round < 200000; round++) {
		uint8_t bytes[96];
		memcpy(bytes, seedling, sizeof seedling);
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		uint32_t len = 1 + (uint32_t)(seed >> 33) % (sizeof seedling - 1);
		for (int flips = (int)(seed >> 60); flips >= 0; flips--) {
			seed = seed * 6364136223846793005u + 1442695040888963407u;
			bytes[(seed >> 33) % len] = (uint8_t)(seed >> 24);
		}
		uint8_t *exact = malloc(len);	/* so that the address sanitizer sees a byte too far */
		memcpy(exact, bytes, len);
		source_syslogudp.on_datagram(rig.ingress.sources[0].self, &(struct datagram){ .bytes = exact, .len = len, .time_ns = rig.clock.wall });
		free(exact);
		if (round % 100 == 0)
			ingress_put(&rig.ingress);
	}
	ingress_put(&rig.ingress);
	struct source_counters *c = &rig.ingress.sources[0].counters;
	assert_int_equal(counter_read(&c->parsed), counter_read(&c->unrouted));
	assert_int_equal(counter_read(&c->parsed) + counter_read(&c->drop_empty), 200000);
	rig_close(&rig);
}

int
main(void)
{
	setenv("TZ", "UTC0", 1);
	tzset();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_none), cmocka_unit_test(test_all), cmocka_unit_test(test_four),
		cmocka_unit_test(test_new_york), cmocka_unit_test(test_no_leftovers), cmocka_unit_test(test_any_bytes),
		cmocka_unit_test(test_format), cmocka_unit_test(test_format_refused), cmocka_unit_test(test_format_not_utf8),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
