/* Counts of audit: the floor of a window at its edges and for times from nowhere, a table that is bounded and forgets nothing it has not told, and
 * the message that the loader reads again. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sinks/audit_table.h"
#include "sinks/format/audit.h"

static struct audit_table table;

static void
window_edges(void **state)
{
	(void)state;
	static const struct { int64_t time, begin; } rows[] = {
		{ 0, 0 }, { 1, 0 }, { 599999, 0 }, { 600000, 600000 }, { 1199999, 600000 }, { -1, -600000 }, { -600000, -600000 }, { -600001, -1200000 },
		{ 1700000000123, 1699999800000 }, { INT64_MAX, INT64_MAX - INT64_MAX % 600000 }, { INT64_MIN, INT64_MIN },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_int_equal(audit_window(rows[i].time, 600000), rows[i].begin);
}

static void
header_times(void **state)
{
	(void)state;
	static const struct { const char *text; bool is; int64_t ms; } rows[] = {
		{ "1700000000123", true, 1700000000123 }, { "-5", true, -5 }, { "+5", true, 5 }, { "0", false, 0 }, { "", false, 0 }, { "12x", false, 0 },
		{ "x", false, 0 }, { "1.5", false, 0 }, { "9223372036854775807", true, INT64_MAX }, { "99999999999999999999", false, 0 },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		int64_t ms = 0;
		assert_int_equal(audit_time((const uint8_t *)rows[i].text, strlen(rows[i].text), &ms), rows[i].is);
		assert_int_equal(ms, rows[i].ms);
	}
}

static void
counts(void **state)
{
	(void)state;
	audit_table_init(&table, 60000);
	struct audit_window *a = audit_table_add(&table, "a", 59999), *b = audit_table_add(&table, "a", 60000), *c = audit_table_add(&table, "b", 59999);
	struct audit_window *d = audit_table_add(&table, "a", -1);
	assert_true(a != b && b != c && a != c && d != a);
	assert_ptr_equal(audit_table_add(&table, "a", 0), a);
	assert_ptr_equal(audit_table_add(&table, "a", 119999), b);
	assert_ptr_equal(audit_table_add(&table, "a", -60000), d);
	assert_int_equal(a->count, 2);
	assert_int_equal(c->count, 1);
	assert_int_equal(d->begin_ms, -60000);
	uint32_t windows;
	assert_int_equal(audit_table_untold_records(&table, &windows), 7);
	assert_int_equal(windows, 4);
	char long_name[AUDIT_TOPIC_BYTES + 1];
	memset(long_name, 'x', sizeof long_name);
	long_name[AUDIT_TOPIC_BYTES] = '\0';
	assert_null(audit_table_add(&table, long_name, 0));
	long_name[AUDIT_TOPIC_BYTES - 1] = '\0';
	assert_non_null(audit_table_add(&table, long_name, 0));
}

/* What comes while a count is on its way is told with the next; a refused one is told again. */
static void
telling(void **state)
{
	(void)state;
	audit_table_init(&table, 60000);
	struct audit_window *a = audit_table_add(&table, "a", 1), *b = audit_table_add(&table, "b", 1);
	assert_ptr_equal(audit_table_untold(&table, NULL), a);
	assert_ptr_equal(audit_table_untold(&table, a), b);
	assert_null(audit_table_untold(&table, b));
	audit_window_send(a);
	assert_ptr_equal(audit_table_untold(&table, NULL), b);
	audit_table_add(&table, "a", 2);
	assert_ptr_equal(audit_table_untold(&table, NULL), b);	/* one at a time: they cannot overtake each other */
	audit_window_sent(a, true);
	assert_int_equal(a->told, 1);
	assert_ptr_equal(audit_table_untold(&table, NULL), a);
	audit_window_send(a);
	audit_window_sent(a, false);
	assert_int_equal(a->told, 1);
	assert_ptr_equal(audit_table_untold(&table, NULL), a);
	audit_window_send(a);
	audit_window_sent(a, true);
	assert_ptr_equal(audit_table_untold(&table, NULL), b);
}

static void
overflow(void **state)
{
	(void)state;
	audit_table_init(&table, 1000);
	for (uint32_t i = 0; i < AUDIT_WINDOWS; i++)
		assert_non_null(audit_table_add(&table, i % 2 ? "odd" : "even", (int64_t)i * 1000));
	/* Full of what nobody was told: nothing of it is given up. */
	assert_null(audit_table_add(&table, "new", 5));
	uint32_t windows;
	assert_int_equal(audit_table_untold_records(&table, &windows), AUDIT_WINDOWS);
	struct audit_window *third = audit_table_add(&table, "even", 2000), *eighth = audit_table_add(&table, "odd", 7000);
	uint64_t serial = eighth->serial;
	audit_window_send(third);
	assert_null(audit_table_add(&table, "new", 5));		/* on its way is not told */
	audit_window_sent(third, true);
	audit_window_send(eighth);
	audit_window_sent(eighth, true);
	audit_table_add(&table, "odd", 7000);			/* told, and more since */
	assert_int_equal(third->count, 2);
	struct audit_window *fresh = audit_table_add(&table, "new", 5);
	assert_ptr_equal(fresh, third);
	assert_int_equal(fresh->count, 1);
	assert_int_equal(fresh->begin_ms, 0);
	assert_true(fresh->serial > AUDIT_WINDOWS);
	assert_int_equal(eighth->serial, serial);
	assert_null(audit_table_add(&table, "even", 2000));	/* it was given up, and there is no room now */
	audit_window_send(fresh);
	audit_window_sent(fresh, true);
	struct audit_window *again = audit_table_add(&table, "even", 2000);
	assert_int_equal(again->count, 1);			/* under another serial: added to what was told before */
	assert_true(again->serial > serial);
	assert_ptr_equal(audit_table_add(&table, "odd", 7000), eighth);
}

/* Of those that may go the one that was not touched for longest does. */
static void
oldest_goes(void **state)
{
	(void)state;
	audit_table_init(&table, 1000);
	for (uint32_t i = 0; i < AUDIT_WINDOWS; i++) {
		struct audit_window *window = audit_table_add(&table, "t", (int64_t)i * 1000);
		audit_window_send(window);
		audit_window_sent(window, true);
	}
	struct audit_window *first = audit_table_add(&table, "t", 0);
	audit_window_send(first);
	audit_window_sent(first, true);
	for (uint32_t i = 1; i < 10; i++) {
		struct audit_window *window = audit_table_add(&table, "u", (int64_t)i * 1000);
		assert_ptr_equal(window, &table.windows[i]);
		audit_window_send(window);
		audit_window_sent(window, true);
	}
	assert_ptr_equal(audit_table_add(&table, "t", 999), first);
}

/* Nothing is counted twice and nothing is forgotten, with many more windows than room; a refusal now and then. */
static void
sums(void **state)
{
	(void)state;
	enum { TOPICS = 7, WINDOWS = 400, RECORDS = 200000 };
	static uint64_t added[TOPICS][WINDOWS], told[TOPICS][WINDOWS], by_serial[RECORDS * 2];
	uint64_t seed = 12345;
	audit_table_init(&table, 1000);
	memset(added, 0, sizeof added);
	memset(told, 0, sizeof told);
	for (uint32_t i = 0; i < RECORDS; i++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		uint32_t t = (uint32_t)(seed >> 33) % TOPICS, w = (uint32_t)(seed >> 40) % WINDOWS;
		char name[8];
		snprintf(name, sizeof name, "t%u", t);
		added[t][w]++;
		if (!audit_table_add(&table, name, (int64_t)w * 1000 + (int64_t)(seed >> 50) % 1000))
			told[t][w]++;		/* goes by itself */
		if (i % 700 == 0 || i == RECORDS - 1) {
			for (struct audit_window *window = NULL; (window = audit_table_untold(&table, window));) {
				bool worked = i == RECORDS - 1 || (window->serial + i) % 5 != 0;
				audit_window_send(window);
				if (worked) {
					told[window->topic[1] - '0'][window->begin_ms / 1000] += window->sent - by_serial[window->serial];
					by_serial[window->serial] = window->sent;
				}
				audit_window_sent(window, worked);
			}
		}
	}
	assert_memory_equal(added, told, sizeof added);
}

static void
message(void **state)
{
	(void)state;
	struct audit_count count = { .topic = "a \"topic\"", .tier = "agents", .run = "r-1", .begin_ms = -600000, .length_ms = 600000, .count = 7 }, read;
	json_t *services = json_pack("[{s:s, s:s, s:i}]", "server", "h", "service", "a1.k1", "count", 7);
	char *key = audit_key(&count), *value = audit_value(&count, services, 0), *numbered = audit_value(&count, services, 3);
	json_decref(services);
	assert_string_equal(key, "{\"topic\":\"a \\\"topic\\\"\",\"tier\":\"agents\",\"window\":-600000,\"run\":\"r-1\"}");
	assert_string_equal(value, "{\"eventType\":\"a \\\"topic\\\"\",\"tier\":\"agents\",\"beginTimestamp\":-600000,\"endTimestamp\":0,\"count\":7,"
		"\"services\":[{\"server\":\"h\",\"service\":\"a1.k1\",\"count\":7}],\"run\":\"r-1\"}");
	assert_non_null(strstr(numbered, ",\"run\":\"r-1\",\"manifest\":3}"));
	json_t *json = json_loads(value, 0, NULL);
	assert_true(audit_read(json, &read));
	assert_string_equal(read.topic, count.topic);
	assert_string_equal(read.tier, "agents");
	assert_string_equal(read.run, "r-1");
	assert_int_equal(read.begin_ms, -600000);
	assert_int_equal(read.length_ms, 600000);
	assert_int_equal(read.count, 7);
	json_decref(json);
	free(key);
	free(value);
	free(numbered);
	count.topic = "\xff";
	assert_null(audit_key(&count));
	static const char *const wrong[] = { "[]", "7", "{}", "{\"eventType\":\"t\",\"tier\":\"x\",\"beginTimestamp\":\"1\",\"count\":1}",
		"{\"eventType\":\"t\",\"tier\":\"x\",\"beginTimestamp\":1,\"count\":1.5}", "{\"eventType\":1,\"tier\":\"x\",\"beginTimestamp\":1,\"count\":1}" };
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		json = json_loads(wrong[i], JSON_DECODE_ANY, NULL);
		assert_false(audit_read(json, &read));
		json_decref(json);
	}
	assert_false(audit_read(NULL, &read));
	json = json_loads("{\"eventType\":\"t\",\"tier\":\"x\",\"beginTimestamp\":-9223372036854775808,\"endTimestamp\":5,\"count\":1}", 0, NULL);
	assert_true(audit_read(json, &read));
	assert_null(read.run);
	json_decref(json);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(window_edges), cmocka_unit_test(header_times), cmocka_unit_test(counts), cmocka_unit_test(telling),
		cmocka_unit_test(overflow), cmocka_unit_test(oldest_goes), cmocka_unit_test(sums), cmocka_unit_test(message),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
