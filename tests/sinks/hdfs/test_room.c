/* test_room: the hdfs sink, exactly once, on channels that open files fill: files end early for room, intake never stops; what it shows of its
 * open files; many buckets, little memory, idle requests. On this machine's files. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "sinks/sink_hdfs.h"
#include "tests/lib/sink_fixture.h"

#define WALL_MS UINT64_C(1500000000000)
#define CAPACITY 1000000u
#define STEP_NS (100 * NS_PER_MS)

static char dir[64], path_option[256], conf_option[] = "penstock.hdfs.conf=/";

static int
begin(void **state)
{
	struct sink_fixture *f = calloc(1, sizeof *f);
	/* In memory where there is such a place: thousands of files are synced here. */
	snprintf(dir, sizeof dir, "%s/penstock-room-XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path_option, sizeof path_option, "hdfs.path=file://%s/%%{b}", dir);
	fixture_init(f, WALL_MS);
	f->channel.notes = true;
	*state = f;
	return 0;
}

static int
end(void **state)
{
	char command[256];
	fixture_free(*state);
	free(*state);
	snprintf(command, sizeof command, "rm -rf %s", dir);
	return system(command);
}

static uint32_t
unsettled(const struct sink_fixture *f)
{
	return f->channel.count - f->channel.settled;
}

/* `rate` events a second for `seconds` into the channel, which takes none beyond its capacity; one a minute for a second bucket if wanted. The
 * highest number of unsettled events. */
static uint32_t
load(struct sink_fixture *f, uint32_t rate, uint32_t seconds, bool slow)
{
	uint32_t most = 0;
	for (uint32_t i = 0; i < seconds * 10; i++) {
		assert_true(unsettled(f) + rate / 10 < CAPACITY);	/* intake would stop */
		fake_put_many(&f->channel, rate / 10, "an event of some bytes, as they come");
		if (slow && i % 600 == 0)
			fake_put(&f->channel, "slow", 4, "b=slow");
		for (int k = 0; k < 8; k++) {
			clock_manual_advance(&f->clock, STEP_NS / 8);
			fixture_step(f);
		}
		most = unsettled(f) > most ? unsettled(f) : most;
	}
	return most;
}

static uint32_t
words_count(const char *text)
{
	uint32_t count = *text != '\0';
	for (; *text; text++)
		count += *text == ' ';
	return count;
}

static uint32_t
files_in(const char *sub)
{
	char path[256];
	snprintf(path, sizeof path, "%s/%s", dir, sub);
	char *list = files_list(path);
	assert_null(strstr(list, ".tmp"));
	uint32_t count = words_count(list);
	free(list);
	return count;
}

static void
finish(struct sink_fixture *f)
{
	sink_runner_finish(f->runner, f->clock.now + 60 * NS_PER_S);
	f->runner = NULL;
	assert_int_equal(unsettled(f), 0);
}

#define OPEN(f, ...) assert_int_equal(fixture_open(f, &sink_hdfs, NULL, path_option, conf_option, "hdfs.fileType=DataStream", "hdfs.rollCount=0", \
	"hdfs.rollSize=0", "hdfs.batchSize=10000", __VA_ARGS__, NULL), 0)

/* 20,000 events/s with hourly rolls: half of the capacity is full after 25 s. */
static void
test_hourly_rolls(void **state)
{
	struct sink_fixture *f = *state;
	fake_capacity(&f->channel, CAPACITY);
	OPEN(f, "hdfs.rollInterval=3600");
	uint32_t most = load(f, 20000, 120, false);
	assert_in_range(most, CAPACITY / 2, CAPACITY * 6 / 10);
	assert_in_range(fixture_metric("rolled_for_room"), 3, 6);	/* as few as the room allows */
	finish(f);
	assert_in_range(files_in(""), 4, 7);
}

static void
test_no_rolls(void **state)
{
	struct sink_fixture *f = *state;
	fake_capacity(&f->channel, CAPACITY);
	OPEN(f, "hdfs.rollInterval=0");
	uint32_t most = load(f, 100000, 20, false);
	assert_in_range(most, CAPACITY / 2, CAPACITY * 7 / 10);
	assert_in_range(fixture_metric("rolled_for_room"), 2, 6);
	finish(f);
}

/* The slow bucket's file has the oldest event most of the time; it goes, and the fast one's still goes too. */
static void
test_slow_bucket(void **state)
{
	struct sink_fixture *f = *state;
	fake_capacity(&f->channel, CAPACITY);
	OPEN(f, "hdfs.rollInterval=3600");
	uint32_t most = load(f, 10000, 240, true);
	assert_in_range(most, CAPACITY / 2, CAPACITY * 6 / 10);
	finish(f);
	assert_in_range(files_in("slow"), 2, 5);
}

/* A backlog that others have to take, and a young file: no file of a few events each tick. */
static void
test_backlog(void **state)
{
	struct sink_fixture *f = *state;
	fake_capacity(&f->channel, CAPACITY);
	f->channel.take_error = 0;
	OPEN(f, "hdfs.rollInterval=3600");
	fake_put(&f->channel, "first", 5, NULL);
	fixture_step(f);
	fake_put_many(&f->channel, 900000, "x");
	uint32_t put = f->channel.count;
	f->channel.next = put;	/* as if another sink had them */
	for (int i = 0; i < 300; i++) {
		if (i % 10 == 0)
			fake_put(&f->channel, "more", 4, NULL);
		clock_manual_advance(&f->clock, STEP_NS / 10);
		fixture_step(f);
	}
	assert_in_range(fixture_metric("rolled_for_room"), 1, 3);
	f->channel.next = 0;
	load(f, 0, 20, false);
	finish(f);
}

/* ---- many buckets, little memory ---- */

#define BUCKETS 5000u
#define EACH 80u

static void
test_many_buckets(void **state)
{
	struct sink_fixture *f = *state;
	char text[256], header[32];
	uint64_t memory = 0, requests = 0, open_files = 0;
	memset(text, 'x', sizeof text);
	OPEN(f, "hdfs.rollInterval=600", "hdfs.threadsPoolSize=3", "penstock.hdfs.memory=64m");
	/* 103 MB in all, round and round the buckets. */
	for (uint32_t i = 0; i < EACH; i++) {
		for (uint32_t b = 0; b < BUCKETS; b++) {
			snprintf(header, sizeof header, "b=%u", b);
			int n = snprintf(text, sizeof text, "%u-%u ", b, i);
			text[n] = 'x';
			fake_put(&f->channel, text, sizeof text, header);
		}
		for (int k = 0; k < 1000 && f->channel.next < f->channel.count; k++) {
			clock_manual_advance(&f->clock, 5 * NS_PER_MS);
			fixture_step(f);
			clock_manual_advance(&f->clock, 100 * NS_PER_MS);	/* so that the metrics are of now */
			fixture_step(f);
			memory = fixture_metric("memory") > memory ? fixture_metric("memory") : memory;
			requests = fixture_metric("requests") > requests ? fixture_metric("requests") : requests;
			open_files = fixture_metric("open_files") > open_files ? fixture_metric("open_files") : open_files;
		}
		assert_int_equal(f->channel.next, f->channel.count);
	}
	assert_int_equal(open_files, BUCKETS);
	assert_in_range(requests, 1, 12);
	assert_in_range(memory, 32u << 20, (64u + 21u) << 20);	/* one take's piece of 4 KiB for each may come on top */
	assert_int_equal(fixture_metric("files_failed"), 0);
	/* One append is for half of the memory's share of a bucket at least, so a file of 20 KB has three. */
	assert_in_range(fixture_metric("appends"), 1000, BUCKETS * (EACH * (sizeof text + 1) / ((32u << 20) / (BUCKETS + 1))));
	finish(f);
	for (uint32_t b = 0; b < BUCKETS; b += 999) {
		char sub[16], path[128];
		snprintf(sub, sizeof sub, "%u", b);
		snprintf(path, sizeof path, "%s/%u", dir, b);
		char *list = files_list(path);
		assert_int_equal(words_count(list), 1);
		size_t len;
		char *bytes = file_read(path, list, &len);
		assert_int_equal(len, EACH * (sizeof text + 1));
		for (uint32_t i = 0; i < EACH; i++) {
			int n = snprintf(text, sizeof text, "%u-%u ", b, i);
			assert_memory_equal(bytes + i * (sizeof text + 1), text, (size_t)n);
		}
		free(bytes);
		free(list);
	}
}

/* A request that gets nothing for 20 s is ended; the file goes on, and its end comes behind what is there. */
static void
test_idle_request(void **state)
{
	struct sink_fixture *f = *state;
	OPEN(f, "hdfs.rollInterval=300");
	char line[1000];
	memset(line, 'l', sizeof line - 1);
	line[sizeof line - 1] = '\0';
	fake_put_many(&f->channel, 2000, line);
	for (int i = 0; i < 40; i++) {
		clock_manual_advance(&f->clock, 100 * NS_PER_MS);
		fixture_step(f);
	}
	assert_int_equal(fixture_metric("requests"), 1);
	for (int i = 0; i < 200; i++) {
		clock_manual_advance(&f->clock, 100 * NS_PER_MS);
		fixture_step(f);
	}
	assert_int_equal(fixture_metric("requests"), 0);
	assert_int_equal(fixture_metric("open_files"), 1);
	assert_int_equal(f->channel.settled, 0);
	fake_put(&f->channel, "last", 4, NULL);
	for (int i = 0; i < 310; i++) {
		clock_manual_advance(&f->clock, NS_PER_S);
		fixture_step(f);
		fixture_step(f);
	}
	assert_int_equal(f->channel.settled, 2001);
	finish(f);
	size_t len;
	char *list = files_list(dir), *bytes = file_read(dir, list, &len);
	assert_int_equal(words_count(list), 1);
	assert_int_equal(len, 2000 * sizeof line + 5);
	assert_string_equal(bytes + len - 6, "\nlast\n");
	free(bytes);
	free(list);
}

/* ---- what is shown ---- */

struct shown {
	struct sink_fixture *f;
	char text[4096];
	uint64_t age_s;		/* of the last one shown; each next one tells the difference */
	_Atomic bool done;
};

static void
show(void *context, const struct sink_file *file)
{
	struct shown *shown = context;
	size_t used = strlen(shown->text);
	const char *name = strrchr(file->name, '/');
	snprintf(shown->text + used, sizeof shown->text - used, "%.9s %s %llu %llu\n", name + 1, file->state,
		 (unsigned long long)(shown->age_s ? shown->age_s - file->age_s : 0), (unsigned long long)file->events);
	shown->age_s = file->age_s;
}

static void *
ask(void *context)
{
	struct shown *shown = context;
	sink_runner_files(shown->f->runner, show, shown);
	shown->done = true;
	return NULL;
}

static void
test_status(void **state)
{
	struct sink_fixture *f = *state;
	static struct shown shown;
	pthread_t thread;
	OPEN(f, "hdfs.rollInterval=0", "hdfs.filePrefix=%{b}");
	fake_put(&f->channel, "one", 3, "b=aa");
	fixture_step(f);
	clock_manual_advance(&f->clock, 7 * NS_PER_S);
	fake_put(&f->channel, "two", 3, "b=bb");
	fixture_step(f);
	clock_manual_advance(&f->clock, 2 * NS_PER_S);
	shown.f = f;
	assert_int_equal(pthread_create(&thread, NULL, ask, &shown), 0);
	while (!shown.done) {
		clock_manual_advance(&f->clock, NS_PER_S);	/* the ages' difference is what does not depend on the threads */
		fixture_step(f);
	}
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_non_null(strstr(shown.text, "aa.k1."));
	if (!strstr(shown.text, " open 0 1\nbb.k1.") || !strstr(shown.text, " open 7 1\n"))
		fail_msg("%s", shown.text);	/* the oldest first */
	assert_true(fixture_metric("oldest_unsettled_s") >= 9);
	assert_int_equal(fixture_metric("open_bytes"), 8);
	finish(f);
}

/* ---- advice ---- */

static void
advised(void *context, const char *key, const char *text)
{
	char *to = context;
	snprintf(to + strlen(to), 4096 - strlen(to), "%s: %s\n", key, text);
}

static void
test_advice(void **state)
{
	static const struct {
		uint64_t interval_s, count, bytes;
		uint64_t capacity;
		const char *kind, *want;	/* NULL: nothing is said */
	} cases[] = {
		{ 30, 10, 1024, 1000000, "file", "hdfs.rollCount: a file ends after 10 events: at 1,000 events/s that is 360000 files an hour" },
		{ 30, 10, 1024, 1000000, "memory", "hdfs.rollSize: a file ends after 1024 bytes: at 1 MiB/s that is 3686400 files an hour" },
		{ 30, 0, 0, 1000000, "file", NULL },
		{ 3600, 0, 0, 1000000, "file", "1 an hour and bucket: above 138 events/s they end earlier" },
		{ 3600, 0, 0, 100000000, "file", NULL },
		{ 3600, 0, 0, 1000000, "memory", NULL },
		{ 0, 0, 0, 1000000, "file", "no roll ends a file: it ends when half of channel c1's capacity (500000 of 1000000 events)" },
		{ 0, 600000, 0, 1000000, "file", "a file of 600000 events never fills" },
		{ 0, 500000, 0, 1000000, "file", NULL },
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct hdfs_config config = { .roll_interval_s = cases[i].interval_s, .roll_events = cases[i].count, .roll_bytes = cases[i].bytes,
			.in_use_suffix = ".tmp" };
		char text[4096] = "";
		sink_hdfs.advise(&config, &(struct sink_place){ "c1", cases[i].kind, cases[i].capacity }, advised, text);
		if (cases[i].want ? !strstr(text, cases[i].want) : text[0] != '\0')
			fail_msg("case %zu: %s", i, text);
	}
}

#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_hourly_rolls), T(test_no_rolls), T(test_slow_bucket), T(test_backlog), T(test_many_buckets), T(test_idle_request), T(test_status), T(test_advice),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
