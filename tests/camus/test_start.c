/* Where partitions start, how they are shared out, and what JSON says of time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "camus/decode.h"
#include "camus/job.h"

struct row {
	int64_t earliest, latest, saved;	/* saved -1: none */
	bool to_last, to_earliest;
	enum proof last, first;
	enum start_why why;
	int64_t start;
	bool pull, proven;
};

static const struct row rows[] = {
	/* new partitions, with and without retention having bitten */
	{ 0, 10, -1, false, false, PROOF_UNKNOWN, PROOF_UNKNOWN, START_NEW, 0, true, false },
	{ 5, 10, -1, false, false, PROOF_UNKNOWN, PROOF_UNKNOWN, START_NEW, 5, true, false },
	{ 5, 5, -1, false, false, PROOF_UNKNOWN, PROOF_UNKNOWN, START_NEW, 5, false, false },
	/* goes on; offset 0 is no "unset" */
	{ 0, 10, 4, false, false, PROOF_SAME, PROOF_UNKNOWN, START_SAVED, 4, true, true },
	{ 0, 10, 4, false, false, PROOF_GONE, PROOF_UNKNOWN, START_SAVED, 4, true, false },
	{ 0, 10, 10, false, false, PROOF_UNKNOWN, PROOF_UNKNOWN, START_SAVED, 10, false, false },
	{ 3, 10, 0, false, false, PROOF_UNKNOWN, PROOF_UNKNOWN, START_OUT_OF_RANGE, 0, false, false },
	{ 3, 10, 0, false, true, PROOF_UNKNOWN, PROOF_UNKNOWN, START_EARLIEST, 3, true, false },
	/* the move list */
	{ 0, 10, 4, true, false, PROOF_UNKNOWN, PROOF_UNKNOWN, START_LATEST, 10, false, false },
	/* shorter than what was read: made again, or cut */
	{ 0, 3, 8, false, false, PROOF_UNKNOWN, PROOF_DIFFERENT, START_RECREATED, 0, true, false },
	{ 0, 0, 8, false, false, PROOF_UNKNOWN, PROOF_GONE, START_RECREATED, 0, false, false },
	{ 0, 3, 8, false, false, PROOF_UNKNOWN, PROOF_SAME, START_TRUNCATED, 3, false, false },
	{ 2, 6, 8, false, false, PROOF_UNKNOWN, PROOF_GONE, START_OUT_OF_RANGE, 8, false, false },
	/* grown past the saved offset again */
	{ 0, 20, 8, false, false, PROOF_DIFFERENT, PROOF_DIFFERENT, START_RECREATED, 0, true, false },
	{ 0, 20, 8, false, false, PROOF_DIFFERENT, PROOF_SAME, START_CHANGED, 8, false, false },
	{ 0, 20, 8, false, true, PROOF_DIFFERENT, PROOF_SAME, START_EARLIEST, 0, true, false },
	/* no leader */
	{ -1, -1, 8, false, false, PROOF_UNKNOWN, PROOF_UNKNOWN, START_NO_LEADER, 8, false, false },
};

static void
test_start(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const struct row *row = &rows[i];
		struct part part = { .topic = "t", .earliest = row->earliest, .latest = row->latest };
		part.saved = (struct saved){ .known = row->saved >= 0, .next = row->saved, .last = { .offset = row->saved - 1 }, .first = { .offset = 0 } };
		if (row->saved < 0)
			part.saved.last.offset = part.saved.first.offset = -1;
		start_decide(&part, row->to_last, row->to_earliest);
		start_prove(&part, row->last, row->first, row->to_earliest);
		if (part.why != row->why || part.start != row->start || part.pull != row->pull || part.proven != row->proven)
			fail_msg("row %zu: %s, start %lld, pull %d, proven %d", i, start_why_name(part.why), (long long)part.start, part.pull,
				part.proven);
	}
}

static void
test_falling_behind(void **state)
{
	(void)state;
	struct part part = { .topic = "t", .earliest = 100, .latest = 500, .saved = { .known = true, .next = 150 } };
	start_decide(&part, false, false);
	assert_true(part.falling_behind);
	part.saved.next = 250;
	start_decide(&part, false, false);
	assert_false(part.falling_behind);
}

static void
test_allocate(void **state)
{
	(void)state;
	static const int64_t sizes[] = { 70, 10, 50, 40, 30, 0, 20 };
	struct job job = { .conf = NULL };
	char name[8];
	for (size_t i = 0; i < 7; i++) {
		snprintf(name, sizeof name, "t%zu", i);
		struct part *part = job_part(&job, name, 0);
		part->latest = sizes[i];
		part->pull = sizes[i] > 0;
	}
	int32_t task_of[7];
	assert_int_equal(allocate_tasks(&job, 2, task_of), 2);
	int64_t load[2] = { 0, 0 };
	for (size_t i = 0; i < 7; i++) {
		if (sizes[i] == 0) {
			assert_int_equal(task_of[i], -1);
			continue;
		}
		assert_in_range(task_of[i], 0, 1);
		load[task_of[i]] += sizes[i];
	}
	assert_int_equal(load[0], 110);
	assert_int_equal(load[1], 110);
	assert_int_equal(allocate_tasks(&job, 100, task_of), 6);
	job_free(&job);
}

static void
time_is(const char *format, const char *json, int64_t want)
{
	struct camus_conf conf = { .time_field = "timestamp", .time_format = format };
	struct json_time *time;
	int64_t ms;
	assert_int_equal(json_time_open(&time, &conf, NULL), 0);
	struct err err = { "" };
	int rc = json_time_read(time, (const uint8_t *)json, strlen(json), 77, &ms, &err);
	if (want == INT64_MIN)
		assert_int_equal(rc, -22);
	else {
		assert_int_equal(rc, 0);
		assert_int_equal(ms, want);
	}
	json_time_close(time);
}

static void
test_json_time(void **state)
{
	(void)state;
	const char *standard = "[dd/MMM/yyyy:HH:mm:ss Z]";
	time_is("unix_milliseconds", "{\"timestamp\":1406947271534}", 1406947271534);
	time_is("unix_seconds", "{\"timestamp\":140694727}", 140694727000);
	time_is("unix", "{\"timestamp\":\"140694727\"}", 140694727000);
	time_is("yyyy-MM-dd HH:mm:ss Z", "{\"timestamp\":\"2014-02-01 01:15:27 UTC\"}", 1391217327000);
	time_is(standard, "{\"timestamp\":\"1994-11-05T08:15:30-05:00\"}", 784041330000);
	time_is(standard, "{\"timestamp\":\"1994-11-05T13:15:30Z\"}", 784041330000);
	time_is(standard, "{\"timestamp\":\"[01/Feb/2014:01:15:27 +0000]\"}", 1391217327000);
	time_is("ISO-8601", "{\"timestamp\":\"1994-11-05T13:15:30.250Z\"}", 784041330250);
	time_is("ISO-8601", "{\"timestamp\":\"05/11/1994\"}", 77);
	time_is(standard, "{\"other\":1}", 77);
	time_is("unix_seconds", "{\"timestamp\":0}", 77);
	time_is("unix_milliseconds", "{\"timestamp\":1e400}", 77);	/* an object, but no time */
	time_is(standard, "[1]", INT64_MIN);
	time_is(standard, "{\"timestamp\":", INT64_MIN);
	time_is(standard, "", INT64_MIN);
}

int
main(void)
{
	setenv("TZ", "UTC", 1);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_start),
		cmocka_unit_test(test_falling_behind),
		cmocka_unit_test(test_allocate),
		cmocka_unit_test(test_json_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
