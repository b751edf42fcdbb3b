/* properties: what java.util.Properties makes of the same bytes; lines and files of origin; written properties are read back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/properties.h"

static const struct {
	const char *in, *key, *value;	/* key NULL: nothing comes out; value NULL: an error */
	uint32_t line;
} table[] = {
	{ "a=b", "a", "b", 1 },
	{ "a = b \n", "a", "b ", 1 },
	{ "a:b", "a", "b", 1 },
	{ "a b=c", "a", "b=c", 1 },
	{ "a  :  = b", "a", "= b", 1 },
	{ "\t a\f\t=\f b", "a", "b", 1 },
	{ "a", "a", "", 1 },
	{ "a=", "a", "", 1 },
	{ "=b", "", "b", 1 },
	{ "# c\n! d\n\n  # e\na=1 # f", "a", "1 # f", 5 },
	{ "a=1\na=2\r\na=3\ra=4", "a", "4", 4 },
	{ "x=1\r\na=\\\r\n  b\\\n\tc", "a", "bc", 2 },
	{ "a=b\\\\\nc=d", "a", "b\\", 1 },
	{ "a=b\\\\\\\nc=d", "a", "b\\c=d", 1 },
	{ "a=b\\\n\nc=d", "a", "b", 1 },
	{ "a=b\\\n# c", "a", "b# c", 1 },
	{ "\\\n# c\na=1", "a", "1", 3 },
	{ "a=b\\", "a", "b", 1 },
	{ "a\\=b\\:c\\ d=e", "a=b:c d", "e", 1 },
	{ "a\\\\=b", "a\\", "b", 1 },
	{ "a=\\t\\n\\r\\f\\\"\\'\\q\\d\\0", "a", "\t\n\r\f\"'qd0", 1 },
	{ "a=(\\\\d+)", "a", "(\\d+)", 1 },
	{ "a=\\u00e9\\u20AC\\uD83D\\uDE00", "a", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 1 },
	{ "a=\\uD83Dx\\uDE00", "a", "?x?", 1 },
	{ "a=\xe9", "a", "\xc3\xa9", 1 },
	{ "\\#a=b", "#a", "b", 1 },
	{ "a=\\u12", "a", NULL, 1 },
	{ "a=\\u12g4", "a", NULL, 1 },
	{ "a=\\u0000", "a", NULL, 1 },
	{ "", NULL, NULL, 0 },
	{ "   \n\t\r\n#x", NULL, NULL, 0 },
};

static void
test_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		struct properties properties = { 0 };
		struct err err = { "" };
		int rc = properties_parse(&properties, "f", table[i].in, strlen(table[i].in), &err);
		if (table[i].key && !table[i].value) {
			assert_int_equal(rc, -22);
			assert_memory_equal(err.text, "f:1: ", 5);
		} else if (!table[i].key) {
			assert_int_equal(rc, 0);
			assert_int_equal(properties.count, 0);
		} else {
			assert_int_equal(rc, 0);
			const struct property_line *line = properties_find(&properties, table[i].key);
			if (!line)
				fail_msg("row %zu: no key '%s'", i, table[i].key);
			assert_string_equal(line->raw, table[i].value);
			assert_int_equal(line->line, table[i].line);
		}
		properties_free(&properties);
	}
}

static void
test_nul_is_refused(void **state)
{
	(void)state;
	struct properties properties = { 0 };
	struct err err = { "" };
	assert_int_equal(properties_parse(&properties, "f", "x=1\na=b\0c\n", 10, &err), -22);
	assert_string_equal(err.text, "f:2: a NUL character cannot stand in a key or value: take it out");
	properties_free(&properties);
}

static void
test_later_files_win(void **state)
{
	(void)state;
	struct properties properties = { 0 };
	assert_int_equal(properties_parse(&properties, "f", "a=1\nb=1\nb=2", 11, NULL), 0);
	assert_int_equal(properties_parse(&properties, "g", "\na=2", 4, NULL), 0);
	assert_int_equal(properties.count, 2);
	assert_string_equal(properties_find(&properties, "a")->origin, "g:2");
	assert_null(properties_find(&properties, "a")->replaced);	/* another file may do that */
	assert_string_equal(properties_find(&properties, "b")->replaced, "f:2");
	assert_null(properties_find(&properties, "c"));
	properties_free(&properties);
}

static void
test_many_keys(void **state)
{
	(void)state;
	struct text text = { 0 };
	struct properties properties = { 0 };
	for (int i = 0; i < 5000; i++)
		text_print(&text, "key.%d = %d\n", i, i);
	assert_int_equal(properties_parse(&properties, "f", text.text, text.len, NULL), 0);
	assert_int_equal(properties.count, 5000);
	assert_string_equal(properties_find(&properties, "key.4999")->raw, "4999");
	text_free(&text);
	properties_free(&properties);
}

static void
test_written_is_read_back(void **state)
{
	(void)state;
	static const char *const pairs[][2] = {
		{ "a", "b" }, { "a b=c:d", " lead" }, { "#x", "#y" }, { "!x", "a\\b" }, { "k\xc3\xa9", "\xf0\x9f\x98\x80\xe2\x82\xac\t\n" }, { "e", "" }, { "=", "=x" },
	};
	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
		struct text text = { 0 };
		struct properties properties = { 0 };
		properties_write(&text, pairs[i][0], pairs[i][1]);
		assert_int_equal(properties_parse(&properties, "f", text.text, text.len, NULL), 0);
		assert_int_equal(properties.count, 1);
		assert_string_equal(properties.lines[0]->key, pairs[i][0]);
		assert_string_equal(properties.lines[0]->raw, pairs[i][1]);
		text_free(&text);
		properties_free(&properties);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table), cmocka_unit_test(test_nul_is_refused), cmocka_unit_test(test_later_files_win), cmocka_unit_test(test_many_keys),
		cmocka_unit_test(test_written_is_read_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
