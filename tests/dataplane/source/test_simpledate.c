/* Times by patterns of SimpleDateFormat: each row of the golden file is what java.text.SimpleDateFormat (Java 17) says, in two zones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dataplane/source/simpledate.h"

#define NOW_S 1795219200	/* years of two digits: from 1946-11-21 */

static void
check(const json_t *row)
{
	const char *pattern = json_string_value(json_array_get(row, 1)), *text = json_string_value(json_array_get(row, 2));
	const json_t *expected = json_array_get(row, 3);
	struct simpledate *date;
	struct err err = { "" };
	int rc = simpledate_compile(pattern, NOW_S, &date, &err);
	if (json_is_string(expected)) {
		assert_int_not_equal(rc, 0);
		return;
	}
	if (rc)
		fail_msg("%s", err.text);
	size_t len = strlen(text);
	uint8_t *exact = malloc(len ? len : 1);	/* so that the address sanitizer sees a byte too far */
	memcpy(exact, text, len);
	int64_t ms = 0;
	bool read = simpledate_parse(date, exact, (uint32_t)len, &ms);
	if (read != json_is_integer(expected) || (read && ms != json_integer_value(expected)))
		fail_msg("%s: \"%s\" by \"%s\": %s%lld, Java: %lld", getenv("TZ"), text, pattern, read ? "" : "unread ", (long long)ms,
			 (long long)json_integer_value(expected));
	free(exact);
	simpledate_free(date);
}

static void
test_golden(void **state)
{
	(void)state;
	FILE *in = fopen(GOLDEN_FILE, "r");
	assert_non_null(in);
	char *line = NULL;
	size_t size = 0;
	int rows = 0;
	for (; getline(&line, &size, in) > 0; rows++) {
		json_t *row = json_loads(line, 0, NULL);
		assert_non_null(row);
		setenv("TZ", strcmp(json_string_value(json_array_get(row, 0)), "UTC") == 0 ? "UTC0" : "EST5EDT,M3.2.0,M11.1.0", 1);
		tzset();
		check(row);
		json_decref(row);
	}
	assert_true(rows > 200);
	free(line);
	fclose(in);
}

static void
test_refused(void **state)
{
	(void)state;
	static const char *const patterns[] = { "yyyy ww", "G", "u", "YYYY", "XXXX", "yyyy 'T" };
	for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
		struct simpledate *date;
		struct err err = { "" };
		assert_true(simpledate_compile(patterns[i], NOW_S, &date, &err) < 0);
		assert_null(date);
		assert_non_null(strstr(err.text, patterns[i]));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_golden), cmocka_unit_test(test_refused) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
