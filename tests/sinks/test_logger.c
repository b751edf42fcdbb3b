/* The logger's layout, the escapes of topics, and the runner's pauses. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sinks/escape.h"
#include "sinks/format/dump.h"
#include "tests/lib/sink_fixture.h"

static struct sink_fixture f;

static void
dump_is(const void *body, uint32_t len, const char *headers, uint32_t max, const char *wanted)
{
	char *text = NULL;
	size_t room = 0;
	fixture_init(&f, 0);
	fake_put(&f.channel, body, len, headers);
	struct event_view view = { .body = f.channel.events[0].body, .body_len = len, .record = (const uint8_t *)&f.channel.events[0] };
	long n = event_dump(&view, max, &text, &room);
	assert_string_equal(text, wanted);
	assert_int_equal(n, strlen(wanted));
	free(text);
	fixture_free(&f);
}

static void
layout(void **state)
{
	(void)state;
	dump_is("hello", 5, "k=v k2=#2", 16, "{ headers:{k=v, k2=2} body: 68 65 6C 6C 6F                                  hello }");
	dump_is("", 0, NULL, 16, "{ headers:{} body: }");
	dump_is("0123456789abcdef!", 17, NULL, 16, "{ headers:{} body: 30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66 0123456789abcdef }");
	dump_is("0123456789abcdef\x01\xff", 18, NULL, 32,
		"{ headers:{} body: 30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66 0123456789abcdef\n"
		"00000010 01 FF                                           .. }");
	dump_is("x", 1, "a=b\nforged", 16, "{ headers:{a=b.forged} body: 78                                              x }");
}

static void
fill_is(const char *template, const char *headers, const char *wanted)
{
	struct escape *escape;
	struct err err;
	char text[256] = "";
	fixture_init(&f, 0);
	fake_put(&f.channel, "", 0, headers);
	struct event_view view = { .record = (const uint8_t *)&f.channel.events[0] };
	assert_int_equal(escape_parse(&escape, template, &err), 0);
	long n = escape_fill(escape, &view, text, sizeof text);
	if (wanted) {
		assert_string_equal(text, wanted);
		assert_int_equal(n, strlen(wanted));
	} else {
		assert_int_equal(n, -EINVAL);
	}
	escape_free(escape);
	fixture_free(&f);
}

static void
escapes(void **state)
{
	(void)state;
	setenv("TZ", "UTC", 1);
	fill_is("plain-topic_1.x", NULL, "plain-topic_1.x");
	fill_is("logs-%{host}-%{none}.", "host=h1", "logs-h1-.");
	fill_is("%{n}", "n=#42", "42");
	fill_is("%Y-%m-%d/%H%M%S", "timestamp=#1700000000123", "2023-11-14/221320");
	fill_is("%t|%s|%j|%y|%e|%k|%l|%I|%p|%n|%a|%A|%b|%B|%D|%z|%%|%q|", "timestamp=1700000000123",
		"1700000000123|1700000000|318|23|14|22|10|10|PM|11|Tue|Tuesday|Nov|November|11/14/23|+0000|%||");
	fill_is("%c", "timestamp=#1700000000123", "Tue Nov 14 22:13:20 2023");
	fill_is("%H", NULL, NULL);
	fill_is("%H", "timestamp=soon", NULL);
	fill_is("%{not closed %- 5%", NULL, "%{not closed %- 5%");
	struct escape *escape;
	struct err err;
	assert_int_equal(escape_parse(&escape, "x%[shell]", &err), -EINVAL);
	assert_non_null(strstr(err.text, "shell"));
	char small[4];
	struct event_view none = { 0 };
	assert_int_equal(escape_parse(&escape, "four", &err), 0);
	assert_true(escape_is_plain(escape));
	assert_int_equal(escape_fill(escape, &none, small, sizeof small), -ENOSPC);
	escape_free(escape);
}

static void
null_and_read_errors(void **state)
{
	(void)state;
	fixture_init(&f, 0);
	assert_int_equal(fixture_open(&f, &sink_null, NULL, "batchSize=3", NULL), 0);
	for (int i = 0; i < 10; i++)
		fake_put(&f.channel, "x", 1, NULL);
	f.channel.take_error = -EIO;
	fixture_step(&f);
	assert_int_equal(f.channel.settled, 0);
	assert_false(sink_runner_busy(f.runner));
	clock_manual_advance(&f.clock, NS_PER_S);
	fixture_step(&f);
	assert_int_equal(f.channel.settled, 10);
	assert_int_equal(fixture_metric("delivered"), 10);
	fixture_free(&f);
}

static void
logger_takes_all(void **state)
{
	(void)state;
	fixture_init(&f, 0);
	assert_int_equal(fixture_open(&f, &sink_logger, NULL, "maxBytesToLog=nonsense", NULL), 0);
	fake_put(&f.channel, "hello", 5, "k=v");
	fake_put(&f.channel, "world", 5, NULL);
	fixture_step(&f);
	assert_int_equal(f.channel.settled, 2);
	fixture_free(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(layout), cmocka_unit_test(escapes), cmocka_unit_test(null_and_read_errors), cmocka_unit_test(logger_takes_all),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
