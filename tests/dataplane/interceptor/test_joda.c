/* Times by Joda-Time patterns: values, what does not parse, what is refused, and the change to and from summer time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dataplane/interceptor/joda.h"

#define BAD INT64_MIN

static int64_t
parse(const char *pattern, const char *text)
{
	struct joda *joda;
	struct err err = {""};
	int64_t ms;
	if (joda_compile(pattern, &joda, &err) != 0)
		fail_msg("%s", err.text);
	bool ok = joda_parse(joda, (const uint8_t *)text, (uint32_t)strlen(text), &ms);
	joda_free(joda);
	return ok ? ms : BAD;
}

static void
test_utc(void **state)
{
	static const struct {
		const char *pattern, *text;
		int64_t ms;
	} table[] = {
		{"yyyy-MM-dd HH:mm", "2012-10-17 14:34", 1350484440000},
		{"yyyy-MM-dd HH:mm", "2012-10-17 14:34:44", BAD},
		{"yyyy-MM-dd HH:mm", "2012-13-17 14:34", BAD},
		{"yyyy-MM-dd HH:mm", "2012-02-30 14:34", BAD},
		{"yyyy-MM-dd HH:mm", "2012-10-17 24:34", BAD},
		{"yyyy-MM-dd HH:mm:ss,SSS", "2012-10-17 14:34:44,338", 1350484484338},
		{"yyyy-MM-dd HH:mm:ss,SSS", "2012-10-17 14:34:44,3", 1350484484300},
		{"yyyy-MM-dd'T'HH:mm:ssZ", "2012-10-17T14:34:44+02:00", 1350477284000},
		{"yyyy-MM-dd'T'HH:mm:ssZZ", "2012-10-17T14:34:44-0230", 1350493484000},
		{"dd/MMM/yyyy:HH:mm:ss Z", "17/oct/2012:14:34:44 +0000", 1350484484000},
		{"d MMMM yyyy", "7 October 2012", 1349568000000},
		{"yyyyMMddHHmmss", "20121017143444", 1350484484000},
		{"yyyyMMddHHmmss", "2012101714344", 1350484444000},	/* the last number may be shorter */
		{"MM-dd", "02-29", 951782400000},			/* no year: 2000 */
		{"HH:mm", "01:02", 3720000},				/* no date: 1970 */
		{"yyyy", "2000", 946684800000},
		{"hh:mm a", "12:30 PM", 45000000},
		{"hh:mm a", "12:30 am", 1800000},
		{"EEE, dd MMM yyyy", "Wed, 17 Oct 2012", 1350432000000},
		{"yyyy DDD", "2012 291", 1350432000000},
		{"h 'o''clock'", "3 o'clock", 10800000},
		{"yyyy", "", BAD},
		{"yyyy", "x", BAD},
	};
	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		int64_t ms = parse(table[i].pattern, table[i].text);
		if (ms != table[i].ms)
			fail_msg("%s by %s: %lld", table[i].text, table[i].pattern, (long long)ms);
	}
}

static void
test_zone(void **state)
{
	(void)state;
	setenv("TZ", "America/New_York", 1);
	tzset();
	assert_int_equal(parse("yyyy-MM-dd HH:mm", "2012-10-17 14:34"), 1350498840000);
	assert_int_equal(parse("yyyy-MM-dd HH:mm", "2021-03-14 02:30"), BAD);			/* skipped */
	assert_int_equal(parse("yyyy-MM-dd HH:mm", "2021-11-07 01:30"), 1636263000000);	/* twice: the earlier */
	assert_int_equal(parse("yyyy-MM-dd HH:mm Z", "2021-11-07 01:30 Z"), 1636248600000);
	setenv("TZ", "UTC", 1);
	tzset();
}

static void
test_refused(void **state)
{
	static const char *const patterns[] = {"yyyy z", "ww", "G", "ZZZ", "xxxx", "c"};
	(void)state;
	for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
		struct joda *joda;
		struct err err = {""};
		assert_int_equal(joda_compile(patterns[i], &joda, &err), -ENOTSUP);
		assert_non_null(strstr(err.text, "not supported"));
	}
}

int
main(void)
{
	setenv("TZ", "UTC", 1);
	tzset();
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_utc), cmocka_unit_test(test_zone), cmocka_unit_test(test_refused)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
