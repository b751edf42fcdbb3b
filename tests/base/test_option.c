/* option: one table through option_parse: every type, flag, range and message; option_format parses back to the same text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/option.h"

struct thing {
	const char *path, *password;
	bool on;
	uint32_t port, mode, lenient;
	uint64_t wait_ns, bytes;
	int64_t offset;
	struct option_list words, dirs;
	struct option_family family;
};

static const char *const modes[] = { "none", "gzip", "Snappy", NULL };
#define AT(f) offsetof(struct thing, f)
static const struct option options[] = {
	{ "path", OPT_STRING, AT(path), NULL, .help = "Where it goes.", .flags = OPTION_REQUIRED },
	{ "password", OPT_STRING, AT(password), NULL, .help = "x", .flags = OPTION_SECRET },
	{ "on", OPT_BOOL, AT(on), "true" },
	{ "port", OPT_U32, AT(port), "514", 1, 65535, "port", "Port.", .old_names = "portNumber listen.port" },
	{ "mode", OPT_CHOICE, AT(mode), "gzip", .choices = modes },
	{ "lenient", OPT_U32, AT(lenient), "7", 1, 10, .flags = OPTION_LENIENT },
	{ "wait", OPT_U64, AT(wait_ns), "10s", .flags = OPTION_DURATION },
	{ "bytes", OPT_U64, AT(bytes), "256m", 4096, INT64_C(1) << 40, .flags = OPTION_SIZE },
	{ "offset", OPT_I64, AT(offset), "-1" },
	{ "words", OPT_LIST, AT(words), NULL },
	{ "dirs", OPT_LIST, AT(dirs), "/a,/b", .separator = "," },
	{ "kafka.", OPT_FAMILY, AT(family) },
	{ "kafka.special", OPT_BOOL, AT(on), "true" },
	{ "idle", OPT_STRING, 0, NULL, .flags = OPTION_NO_MEANING, .note = "nothing here" },
	{ "gone", OPT_STRING, 0, NULL, .flags = OPTION_REFUSED, .note = "use path" },
	{ "ssl.", OPT_FAMILY, 0, NULL, .flags = OPTION_REFUSED, .note = "no TLS here" },
	{ NULL },
};

struct told {
	struct option_report report;
	char text[2048];
};

static void
told_tell(struct option_report *report, bool fatal, const char *origin, const char *key, const char *text)
{
	struct told *told = (struct told *)report;
	size_t n = strlen(told->text);
	snprintf(told->text + n, sizeof told->text - n, "%s %s %s: %s\n", fatal ? "E" : "W", origin ? origin : "-", key, text);
}

static int
parse(struct thing *thing, struct option_values *values, struct told *told, struct property *props, size_t count)
{
	memset(thing, 0x5a, sizeof *thing);
	memset(told, 0, sizeof *told);
	told->report.tell = told_tell;
	return option_parse(options, props, count, thing, values, &told->report);
}

static void
test_defaults(void **state)
{
	(void)state;
	struct property props[] = { { "path", "/x", "f:1" } };
	struct thing t;
	struct told told;
	struct option_values values = { 0 };
	assert_int_equal(parse(&t, &values, &told, props, 1), 0);
	assert_string_equal(told.text, "");
	assert_string_equal(t.path, "/x");
	assert_null(t.password);
	assert_true(t.on);
	assert_int_equal(t.port, 514);
	assert_int_equal(t.mode, 1);
	assert_int_equal(t.wait_ns, UINT64_C(10000000000));
	assert_int_equal(t.bytes, 256 << 20);
	assert_int_equal(t.offset, -1);
	assert_int_equal(t.words.count, 0);
	assert_int_equal(t.dirs.count, 2);
	assert_string_equal(t.dirs.items[1], "/b");
	assert_int_equal(t.family.count, 0);
	assert_true(props[0].used);
	option_values_free(&values);
	assert_null(values.chunks);
}

static void
test_values(void **state)
{
	(void)state;
	struct property props[] = {
		{ "path", "/x", "f:1" }, { "on", "yes", "f:2" }, { "listen.port", "+99", "f:3" }, { "mode", "SNAPPY", "f:4" },
		{ "lenient", "11", "f:5" }, { "wait", "250ms", "f:6" }, { "bytes", "4k", "f:7" }, { "offset", "-9223372036854775808", "f:8" },
		{ "words", " a\tb  c ", "f:9" }, { "dirs", "/q, /r ,,", "f:10" }, { "kafka.a.b", "1", "f:11" }, { "kafka.special", "FALSE", "f:12" },
		{ "kafka.c", "2", "f:13" }, { "idle", "5", "f:14" }, { "other", "5", "f:15" }, { "kafka.", "5", "f:16" },
	};
	struct thing t;
	struct told told;
	struct option_values values = { 0 };
	assert_int_equal(parse(&t, &values, &told, props, sizeof props / sizeof *props), 0);
	assert_string_equal(told.text,
		"W f:2 on: 'yes' means false: only 'true' is true; write true or false\n"
		"W f:3 listen.port: is an old name: write 'port'\n"
		"W f:5 lenient: '11' cannot be used, the default '7' is taken: write a whole number from 1 to 10\n");
	assert_false(t.on);
	assert_int_equal(t.port, 99);
	assert_int_equal(t.mode, 2);
	assert_int_equal(t.lenient, 7);
	assert_int_equal(t.wait_ns, 250000000);
	assert_int_equal(t.bytes, 4096);
	assert_true(t.offset == INT64_MIN);
	assert_int_equal(t.words.count, 3);
	assert_string_equal(t.words.items[2], "c");
	assert_int_equal(t.dirs.count, 2);
	assert_string_equal(t.dirs.items[1], "/r");
	assert_int_equal(t.family.count, 2);
	assert_string_equal(t.family.items[0].key, "a.b");
	assert_string_equal(t.family.items[1].value, "2");
	assert_true(props[13].used);
	assert_false(props[14].used);
	assert_false(props[15].used);	/* a family's bare prefix names nothing */
	option_values_free(&values);
}

static void
test_errors_all_told(void **state)
{
	(void)state;
	struct property props[] = {
		{ "port", "0", "f:1" }, { "mode", "bzip", "f:2" }, { "wait", "5", "f:3" }, { "bytes", "1x", "f:4" }, { "offset", "9223372036854775808", "f:5" },
		{ "gone", "1", "f:6" }, { "ssl.key", "1", "f:7" }, { "port", "12a", "f:8" }, { "portNumber", "1", "f:9" },
	};
	struct thing t;
	struct told told;
	struct option_values values = { 0 };
	assert_int_equal(parse(&t, &values, &told, props, sizeof props / sizeof *props), -22);
	assert_string_equal(told.text,
		"E - path: is required and not set: Where it goes.\n"
		"W f:9 portNumber: is ignored: it is another name of 'port', which is set too (f:8)\n"
		"E f:8 port: '12a' cannot be used: write a whole number from 1 to 65535 (port)\n"
		"E f:2 mode: 'bzip' cannot be used: write one of none, gzip, Snappy\n"
		"E f:3 wait: '5' cannot be used: write a time such as 500ms, 10s or 2m\n"
		"E f:4 bytes: '1x' cannot be used: write a size such as 64k, 256m or 1g from 4k to 1t\n"
		"E f:5 offset: '9223372036854775808' cannot be used: write a whole number\n"
		"E f:6 gone: is not supported: use path\n"
		"E f:7 ssl.key: is not supported: no TLS here\n");
	option_values_free(&values);
}

static void
test_format(void **state)
{
	(void)state;
	static const struct { const char *name, *in, *out; } table[] = {
		{ "path", "/a b", "/a b" }, { "password", "tiger", "****" }, { "on", "TRUE", "true" }, { "port", "00514", "514" }, { "mode", "snappy", "Snappy" },
		{ "wait", "60000ms", "1m" }, { "wait", "90s", "90s" }, { "wait", "0", "0s" }, { "bytes", "1048576", "1m" }, { "bytes", "4097", "4097" },
		{ "offset", "-5", "-5" }, { "words", "a  b", "a b" }, { "dirs", "/a ,/b", "/a,/b" },
	};
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		struct property props[] = { { "path", "/x", "f:1" }, { table[i].name, table[i].in, "f:2" } };
		struct thing t;
		struct told told;
		struct option_values values = { 0 };
		char text[64];
		assert_int_equal(parse(&t, &values, &told, props, 2), 0);
		assert_true(option_format(option_find(options, table[i].name), &t, text, sizeof text));
		assert_string_equal(text, table[i].out);
		option_values_free(&values);
	}
	struct property props[] = { { "path", "/x", "f:1" } };
	struct thing t;
	struct told told;
	struct option_values values = { 0 };
	char text[64];
	assert_int_equal(parse(&t, &values, &told, props, 1), 0);
	assert_false(option_format(option_find(options, "words"), &t, text, sizeof text));
	assert_false(option_format(option_find(options, "idle"), &t, text, sizeof text));
	assert_string_equal(option_find(options, "portNumber")->name, "port");
	assert_string_equal(option_find(options, "kafka.x")->name, "kafka.");
	assert_null(option_find(options, "kafka"));
	option_values_free(&values);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults), cmocka_unit_test(test_values), cmocka_unit_test(test_errors_all_told), cmocka_unit_test(test_format),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
