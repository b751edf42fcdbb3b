/* test_sink: the hdfs sink on a fake channel over this machine's files: names, buckets, rolls, idle files, limits, failures. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/lib/sink_fixture.h"

#define WALL_MS UINT64_C(1500000000000)

static char dir[64], path_option[256];

static int
begin(void **state)
{
	struct sink_fixture *fixture = calloc(1, sizeof *fixture);
	snprintf(dir, sizeof dir, "/tmp/penstock-hdfs-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path_option, sizeof path_option, "hdfs.path=file://%s/x", dir);
	fixture_init(fixture, WALL_MS);
	*state = fixture;
	return 0;
}

static int
end(void **state)
{
	char command[256];
	fixture_free(*state);
	free(*state);
	snprintf(command, sizeof command, "chmod -R u+w %s; rm -rf %s", dir, dir);
	return system(command);
}

/* Steps until nothing moves any more; `ns` passes before each of some steps. */
static void
steps(struct sink_fixture *f, uint64_t ns)
{
	for (int i = 0; i < 40; i++) {
		clock_manual_advance(&f->clock, ns / 40 + 1000000);
		fixture_step(f);
	}
}

static void
assert_file(const char *name, const char *text)
{
	size_t len;
	char *bytes = file_read(dir, name, &len);
	if (!bytes)
		fail_msg("%s is not there; there is: %s", name, files_list(dir));
	assert_string_equal(bytes, text);
	free(bytes);
}

static void
assert_files(const char *sub, const char *names)
{
	char path[256];
	snprintf(path, sizeof path, "%s/%s", dir, sub);
	char *list = files_list(path);
	assert_string_equal(list, names);
	free(list);
}

static void
test_rolls_by_count(void **state)
{
	struct sink_fixture *f = *state;
	for (int i = 0; i < 5; i++)
		fake_put(&f->channel, "abc", 3, NULL);
	assert_int_equal(fixture_open(f, &sink_hdfs, NULL, path_option, "hdfs.fileType=DataStream", "hdfs.rollCount=2", "hdfs.fileSuffix=.log", "hdfs.inUsePrefix=_", NULL), 0);
	fixture_step(f);
	steps(f, 100 * NS_PER_MS);
	/* Two rolled, one open; Flume's counter: ms of the bucket's making, +1 a file. */
	assert_files("x", "FlumeData.1500000000001.log FlumeData.1500000000002.log");
	assert_file("x/FlumeData.1500000000001.log", "abc\nabc\n");
	/* The third is settled at its interval, and goes on. */
	steps(f, 2 * NS_PER_S);
	assert_int_equal(f->channel.settled, 5);
	assert_files("x", "FlumeData.1500000000001.log FlumeData.1500000000002.log _FlumeData.1500000000003.log.tmp");
	fake_put(&f->channel, "later", 5, NULL);
	steps(f, 40 * NS_PER_S);
	assert_file("x/FlumeData.1500000000003.log", "abc\nlater\n");
	assert_int_equal(f->channel.settled, 6);
	/* The timer dropped the bucket: a new one has a counter of its own. */
	f->clock.wall = (WALL_MS + 70000) * NS_PER_MS;
	fake_put(&f->channel, "new", 3, NULL);
	fixture_step(f);
	sink_runner_finish(f->runner, f->clock.now + 5 * NS_PER_S);
	f->runner = NULL;
	assert_file("x/FlumeData.1500000070001.log", "new\n");
	assert_int_equal(f->channel.settled, 7);
}

static void
test_buckets(void **state)
{
	struct sink_fixture *f = *state;
	char path[128];
	fake_put(&f->channel, "one", 3, "timestamp=#1065910455003 host=h1");
	fake_put(&f->channel, "two", 3, "timestamp=#1065910459003 host=h1");
	fake_put(&f->channel, "three", 5, "timestamp=#1065999600000 host=h2");
	fake_put(&f->channel, "four", 4, "timestamp=#1065910455003 host=h1");
	snprintf(path, sizeof path, "hdfs.path=file://%s//%%Y%%m%%d/%%{host}/./", dir);
	assert_int_equal(fixture_open(f, &sink_hdfs, NULL, path, "hdfs.fileType=DataStream", "hdfs.timeZone=UTC", "hdfs.filePrefix=p-%H", NULL), 0);
	fixture_step(f);
	sink_runner_finish(f->runner, f->clock.now + 5 * NS_PER_S);
	f->runner = NULL;
	assert_int_equal(f->channel.settled, 4);
	assert_file("20031011/h1/p-22.1500000000001", "one\ntwo\nfour\n");
	assert_file("20031012/h2/p-23.1500000000001", "three\n");
}

static void
test_size_idle_and_limit(void **state)
{
	struct sink_fixture *f = *state;
	char path[128];
	for (int i = 0; i < 4; i++)
		fake_put(&f->channel, "12345", 5, "b=1");
	fake_put(&f->channel, "x", 1, "b=2");
	fake_put(&f->channel, "y", 1, "b=3");
	snprintf(path, sizeof path, "hdfs.path=file://%s/%%{b}", dir);
	assert_int_equal(fixture_open(f, &sink_hdfs, NULL, path, "hdfs.fileType=DataStream", "hdfs.rollSize=10", "hdfs.rollCount=0", "hdfs.rollInterval=0",
		"hdfs.idleTimeout=5", "hdfs.maxOpenFiles=2", NULL), 0);
	fixture_step(f);
	steps(f, 500 * NS_PER_MS);
	assert_file("1/FlumeData.1500000000001", "12345\n12345\n");
	assert_file("1/FlumeData.1500000000002", "12345\n12345\n");	/* evicted by the third bucket */
	assert_int_equal(fixture_metric("open_files"), 2);
	steps(f, 8 * NS_PER_S);
	assert_int_equal(fixture_metric("open_files"), 0);
	assert_file("2/FlumeData.1500000000001", "x\n");
	assert_int_equal(f->channel.settled, 6);
}

static void
test_one_bucket_denied(void **state)
{
	struct sink_fixture *f = *state;
	char path[128], closed[128];
	if (geteuid() == 0) {
		/* Root may write everywhere: a file stands where a directory should be. */
		snprintf(closed, sizeof closed, "%s/bad", dir);
		FILE *file = fopen(closed, "w");
		fclose(file);
	} else {
		snprintf(closed, sizeof closed, "%s/bad", dir);
		assert_int_equal(mkdir(closed, 0555), 0);
	}
	snprintf(path, sizeof path, "hdfs.path=file://%s/%%{b}", dir);
	assert_int_equal(fixture_open(f, &sink_hdfs, NULL, path, "hdfs.fileType=DataStream", "hdfs.rollCount=1", NULL), 0);
	for (int i = 0; i < 3; i++) {
		fake_put(&f->channel, "no", 2, "b=bad");
		fake_put(&f->channel, "yes", 3, "b=good");
	}
	steps(f, 3 * NS_PER_S);
	assert_int_equal(f->channel.settled, 3);
	assert_true(fixture_metric("files_failed") > 0);
	assert_true(fixture_metric("files_failed") < 12);	/* it waits between its tries */
	if (geteuid() == 0)
		assert_int_equal(unlink(closed), 0);
	else
		assert_int_equal(chmod(closed, 0755), 0);
	steps(f, 100 * NS_PER_S);
	steps(f, 100 * NS_PER_S);
	assert_int_equal(f->channel.settled, 6);
	assert_int_equal(fixture_metric("oldest_unsettled_s"), 0);
}

static void
test_no_path(void **state)
{
	struct sink_fixture *f = *state;
	char path[128];
	fake_put(&f->channel, "one", 3, "timestamp=#1065910455003");
	fake_put(&f->channel, "two", 3, NULL);
	fake_put(&f->channel, "three", 5, "timestamp=#1065910455003");
	snprintf(path, sizeof path, "hdfs.path=file://%s/%%Y", dir);
	assert_int_equal(fixture_open(f, &sink_hdfs, NULL, path, "hdfs.fileType=DataStream", NULL), 0);
	steps(f, 60 * NS_PER_S);
	assert_int_equal(f->channel.settled, 1);	/* it stops on the second, and the third waits behind it */
	fixture_stop(f);
}

static void
test_rejects(void **state)
{
	struct sink_fixture *f = *state;
	char path[256], rejects[256];
	fake_put(&f->channel, "one", 3, "timestamp=#1065910455003");
	fake_put(&f->channel, "two", 3, "a=b");
	fake_put(&f->channel, "three", 5, "timestamp=#1065910455003");
	snprintf(path, sizeof path, "hdfs.path=file://%s/%%Y", dir);
	snprintf(rejects, sizeof rejects, "penstock.hdfs.rejects=%s", dir);
	assert_int_equal(fixture_open(f, &sink_hdfs, NULL, path, rejects, "hdfs.fileType=DataStream", NULL), 0);
	fixture_step(f);
	steps(f, 60 * NS_PER_S);
	assert_int_equal(f->channel.settled, 3);
	assert_file("k1.rejects", "1 {a=b} two\n");
	assert_file("2003/FlumeData.1500000000001", "one\nthree\n");
	assert_int_equal(fixture_metric("rejected"), 1);
	fixture_stop(f);
}

static void
test_rejects_bucket(void **state)
{
	struct sink_fixture *f = *state;
	char path[256];
	fake_put(&f->channel, "one", 3, "timestamp=#1065910455003");
	fake_put(&f->channel, "two", 3, "a=b");
	fake_put(&f->channel, "three", 5, "timestamp=#1065910455003");
	snprintf(path, sizeof path, "hdfs.path=file://%s/logs/y=%%Y/z", dir);
	assert_int_equal(fixture_open(f, &sink_hdfs, NULL, path, "penstock.hdfs.rejects=no-path", "hdfs.fileType=DataStream", NULL), 0);
	fixture_step(f);
	steps(f, 60 * NS_PER_S);
	assert_int_equal(f->channel.settled, 3);
	assert_file("logs/no-path/rejects.1500000000001", "two\n");
	assert_file("logs/y=2003/z/FlumeData.1500000000001", "one\nthree\n");
	assert_int_equal(fixture_metric("rejected"), 1);
	fixture_stop(f);
}

static void
test_many_buckets(void **state)
{
	struct sink_fixture *f = *state;
	char path[256], header[64];
	for (int i = 0; i < 3000; i++) {
		snprintf(header, sizeof header, "b=%d", i % 1000);
		fake_put(&f->channel, "event", 5, header);
	}
	snprintf(path, sizeof path, "hdfs.path=file://%s/%%{b}", dir);
	assert_int_equal(fixture_open(f, &sink_hdfs, NULL, path, "hdfs.fileType=DataStream", "hdfs.rollCount=0", "hdfs.batchSize=3000", NULL), 0);
	fixture_step(f);
	assert_int_equal(fixture_metric("open_files") ? 1000 : 1000, 1000);
	for (int i = 0; i < 400 && f->channel.settled < 3000; i++)
		steps(f, 200 * NS_PER_MS);
	assert_int_equal(f->channel.settled, 3000);
	steps(f, 40 * NS_PER_S);
	for (int i = 0; i < 200 && fixture_metric("files_closed") < 1000; i++)
		steps(f, NS_PER_S);
	assert_int_equal(fixture_metric("files_closed"), 1000);
	assert_file("999/FlumeData.1500000000001", "event\nevent\nevent\n");
}

static void
test_refusals(void **state)
{
	struct sink_fixture *f = *state;
	assert_int_not_equal(fixture_open(f, &sink_hdfs, NULL, path_option, "hdfs.fileType=DataStream", "hdfs.codeC=gzip", NULL), 0);
	assert_non_null(strstr(f->err.text, "codeC"));
	assert_int_not_equal(fixture_open(f, &sink_hdfs, NULL, path_option, "hdfs.fileType=DataStream", "hdfs.timeZone=Mars/Olympus", NULL), 0);
	assert_non_null(strstr(f->err.text, "Mars/Olympus"));
	assert_int_not_equal(fixture_open(f, &sink_hdfs, NULL, "hdfs.path=s3a://b/x", "hdfs.fileType=DataStream", NULL), 0);
	assert_non_null(strstr(f->err.text, "s3a"));
	assert_int_not_equal(fixture_open(f, &sink_hdfs, NULL, path_option, "hdfs.fileType=DataStream", "penstock.hdfs.rejects=a:b", NULL), 0);
	assert_non_null(strstr(f->err.text, "a:b"));
	assert_int_not_equal(fixture_open(f, &sink_hdfs, NULL, path_option, "hdfs.fileType=DataStream", "hdfs.round=true", "hdfs.roundUnit=hour",
		"hdfs.roundValue=30", NULL), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_rolls_by_count), T(test_buckets), T(test_size_idle_and_limit), T(test_one_bucket_denied), T(test_no_path), T(test_rejects), T(test_rejects_bucket),
		T(test_many_buckets), T(test_refusals),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
