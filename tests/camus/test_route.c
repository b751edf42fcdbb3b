/* Buckets and folders against the vectors of Camus's own unit tests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "camus/route.h"

struct vector {
	const char *partitioner, *sub, *format, *locale, *zone, *topic;
	uint32_t minutes;
	int64_t time, bucket;
	const char *folder;
};

#define BI "'bi-hourly'/'year='YYYY/'month='MMMM/'day='dd/'hour='H"

static const struct vector vectors[] = {
	{ "com.linkedin.camus.etl.kafka.partitioner.DefaultPartitioner", NULL, NULL, "en_US", "America/Los_Angeles", "t", 60, 1400549463000,
	  1400547600000, "t/hourly/2014/05/19/18" },
	{ "DefaultPartitioner", NULL, NULL, "en_US", "America/Los_Angeles", "testTopic", 60, 1406777693000, 1406775600000,
	  "testTopic/hourly/2014/07/30/20" },
	{ "HourlyPartitioner", NULL, NULL, "en_US", "America/Los_Angeles", "tpc", 60, 1391252400000, 1391252400000, "tpc/hourly/2014/02/01/03" },
	{ "HourlyPartitioner", "incoming", NULL, "en_US", "Europe/Amsterdam", "tpc", 60, 1391220000000, 1391220000000,
	  "tpc/incoming/2014/02/01/03" },
	{ "DailyPartitioner", NULL, NULL, "en_US", "America/Los_Angeles", "tpc", 60, 1391245200000, 1391241600000, "tpc/daily/2014/02/01" },
	{ "TimeBasedPartitioner", NULL, BI, "nl_NL", "Europe/Amsterdam", "tpc", 120, 1391220000000, 1391216400000,
	  "tpc/bi-hourly/year=2014/month=februari/day=01/hour=2" },
	{ "TimeBasedPartitioner", NULL, BI, "fr", "Europe/Amsterdam", "tpc", 120, 1388541600000, 1388538000000,
	  "tpc/bi-hourly/year=2014/month=janvier/day=01/hour=2" },
	/* before 1970: Camus divides towards zero and is a bucket late; a floor is meant */
	{ "HourlyPartitioner", NULL, NULL, "en_US", "UTC", "a.b", 60, -1, -3600000, "a_b/hourly/1969/12/31/23" },
	/* the hour that is there twice, and the gap */
	{ "HourlyPartitioner", NULL, NULL, "en_US", "Europe/Amsterdam", "t", 60, 1414283400000, 1414281600000, "t/hourly/2014/10/26/02" },
	{ "HourlyPartitioner", NULL, NULL, "en_US", "Europe/Amsterdam", "t", 60, 1396141200000, 1396141200000, "t/hourly/2014/03/30/03" },
};

static void
conf_fill(struct camus_conf *conf, const struct vector *v)
{
	memset(conf, 0, sizeof *conf);
	conf->partitioner = v->partitioner;
	conf->sub_dir = v->sub;
	conf->path_format = v->format ? v->format : "'hourly'/YYYY/MM/dd/HH";
	conf->locale = v->locale;
	conf->zone = v->zone;
	conf->partition_minutes = v->minutes;
}

static void
test_vectors(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
		const struct vector *v = &vectors[i];
		struct camus_conf conf;
		conf_fill(&conf, v);
		struct route *route;
		struct err err = { "" };
		if (route_open(&route, &conf, v->topic, &err))
			fail_msg("vector %zu: %s", i, err.text);
		assert_int_equal(route_bucket(route, v->time), v->bucket);
		assert_string_equal(route_folder(route, v->bucket), v->folder);
		assert_true(route_bucket_end(route, v->bucket) > v->time);
		route_close(route);
	}
}

/* Every bucket holds what was asked for, and asking again for its start gives the same. */
static void
test_every_hour_of_a_year(void **state)
{
	(void)state;
	static const char *const zones[] = { "Europe/Amsterdam", "America/Los_Angeles", "Asia/Kolkata", "Australia/Lord_Howe" };
	for (size_t z = 0; z < sizeof zones / sizeof *zones; z++) {
		struct camus_conf conf;
		struct vector v = { "DailyPartitioner", NULL, NULL, "en_US", zones[z], "t", 60, 0, 0, NULL };
		conf_fill(&conf, &v);
		struct route *route;
		assert_int_equal(route_open(&route, &conf, "t", NULL), 0);
		for (int64_t t = 1388534400000; t < 1420070400000; t += 1800000) {
			int64_t bucket = route_bucket(route, t);
			assert_true(bucket <= t);
			assert_true(t < route_bucket_end(route, bucket));
			assert_true(t - bucket <= 25 * 3600000);
			assert_int_equal(route_bucket(route, bucket), bucket);
		}
		route_close(route);
	}
}

static void
test_refusals(void **state)
{
	(void)state;
	static const struct vector bad[] = {
		{ "com.example.MyPartitioner", NULL, NULL, "en_US", "UTC", "t", 60, 0, 0, "com.example.MyPartitioner" },
		{ "DefaultPartitioner", NULL, NULL, "en_US", "Mars/Olympus", "t", 60, 0, 0, "Mars/Olympus" },
		{ "TimeBasedPartitioner", NULL, "YYYY/QQ", "en_US", "UTC", "t", 60, 0, 0, "letter Q" },
		{ "TimeBasedPartitioner", NULL, "'open/YYYY", "en_US", "UTC", "t", 60, 0, 0, "quote" },
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct camus_conf conf;
		conf_fill(&conf, &bad[i]);
		struct route *route;
		struct err err = { "" };
		assert_true(route_open(&route, &conf, "t", &err) < 0);
		assert_non_null(strstr(err.text, bad[i].folder));
		route_close(route);
	}
}

static void
test_names(void **state)
{
	(void)state;
	char name[256];
	assert_int_equal(route_file_name(name, sizeof name, "tpc", "brk1", 1, 2, 45330016, 1388538000000, ""), 0);
	assert_string_equal(name, "tpc.brk1.1.2.45330016.1388538000000");
	assert_int_equal(route_file_name(name, sizeof name, "a.b", "0", 10, 7, 9, 5, ".avro"), 0);
	assert_string_equal(name, "a_b.0.10.7.9.5.avro");
	assert_true(route_file_name(name, 8, "a.b", "0", 10, 7, 9, 5, ".avro") < 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_every_hour_of_a_year),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
