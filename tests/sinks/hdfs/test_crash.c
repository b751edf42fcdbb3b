/* test_crash: the hdfs sink over a WebHDFS double and a real file channel is killed at each step of its files' way; then it comes again as it was, or
 * with other names, paths and serializer, after a consumer moved the files, or with answers lost. Each event stands once, and no file is left in use. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/lib/webhdfs_double.h"
#include "tests/sinks/hdfs/life.h"

/* The sink's clock is ahead of the double's: a pause of the machine is no silence of the NameNode. */
#define NO_TIMEOUT "hdfs.callTimeout=2147483647"
#define EVENTS 100u		/* in files of 7: some end side by side, the last one by its time */

enum between { NOTHING, ALL_CHANGED, MOVED, ANSWERS_LOST, WAYS };

static uint32_t found[4];	/* at the deaths: nothing, files in use, final ones, both */

static const char *const between_names[] = { "as it was", "all changed", "files moved", "answers lost" };

/* A kill comes when the double got so many calls of an op. */
struct moment {
	const char *op;
	long calls;
};

static int
tree(const char *order)
{
	char command[400];
	snprintf(command, sizeof command, "python3 " SOURCE_ROOT "/tests/sinks/hdfs/crash_tree.py %s %s", double_address, order);
	return system(command);
}

static void
one_life(const char *dir, enum between between, const struct moment *moment)
{
	struct life life;
	char path[128];
	snprintf(path, sizeof path, "hdfs.path=webhdfs://%s/x", double_address);
	const char *const options[] = { path, "hdfs.fileType=DataStream", "hdfs.rollCount=7", "hdfs.rollSize=0", "hdfs.rollInterval=1", "penstock.hdfs.conf=/", NO_TIMEOUT, NULL };
	life_begin(&life, dir, "k1", options);
	life_put(&life, EVENTS);
	if (between == ANSWERS_LOST) {
		double_order("/fault?op=RENAME&kind=lost_after&count=3");
		double_order("/fault?op=SEND&kind=lost_after&count=1");
		double_order("/fault?op=GETFILESTATUS&kind=lost_after&count=1");
	}
	char count[64];
	snprintf(count, sizeof count, "/count?op=%s", moment->op);
	for (int i = 0; i < 5000 && double_order(count) < moment->calls; i++)
		life_step(&life);
	_exit(7);	/* as a kill */
}

static void
crash(enum between between, const struct moment *moment)
{
	char dir[] = "/tmp/penstock-crash-XXXXXX", path[128], command[128];
	struct life life;
	assert_non_null(mkdtemp(dir));
	double_order("/reset");
	pid_t pid = fork();
	if (pid == 0)
		one_life(dir, between, moment);
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 7)
		fail_msg("%s, %s %ld: the first life ended with %d", between_names[between], moment->op, moment->calls, status);
	double_order("/calm");
	found[WEXITSTATUS(tree("state")) & 3]++;

	if (between == MOVED)
		assert_int_equal(tree("move"), 0);
	bool changed = between == ALL_CHANGED;
	snprintf(path, sizeof path, "hdfs.path=webhdfs://%s/%s", double_address, changed ? "other/%Y" : "x");
	const char *const options[] = { path, "hdfs.fileType=DataStream", "hdfs.rollCount=9", "hdfs.rollSize=0", "hdfs.rollInterval=1", "penstock.hdfs.conf=/", NO_TIMEOUT,
		changed ? "serializer=HEADER_AND_TEXT" : "serializer=TEXT", changed ? "hdfs.useLocalTimeStamp=true" : "hdfs.filePrefix=FlumeData", NULL };
	life_begin(&life, dir, changed ? "n1" : "k1", options);
	/* What is left in use is seen to within seconds, also when no event is unsettled. */
	for (int i = 0; i < 20000 && (life.rig.channel->ops->unsettled(life.rig.channel) || i < (changed ? 600 : 100)); i++)
		life_step(&life);
	for (int i = 0; i < 3000 && double_order("/in_use"); i++)	/* the double may be slow */
		life_step(&life);
	if (life.rig.channel->ops->unsettled(life.rig.channel) || tree("check 100"))
		fail_msg("%s, killed at %s %ld: %llu unsettled", between_names[between], moment->op, moment->calls,
			 (unsigned long long)life.rig.channel->ops->unsettled(life.rig.channel));
	assert_int_equal(metrics_sum("SINK", changed ? "n1" : "k1", "in_doubt"), 0);
	life_end(&life);
	snprintf(command, sizeof command, "rm -rf %s", dir);
	assert_int_equal(system(command), 0);
}

static void
test_each_step(void **state)
{
	(void)state;
	static const struct moment moments[] = { { "SEND", 1 }, { "SEND", 9 }, { "LISTSTATUS_BATCH", 1 }, { "RENAME", 1 }, { "RENAME", 6 },
		{ "RENAME", 15 } };
	for (size_t i = 0; i < sizeof moments / sizeof *moments; i++)
		for (int way = 0; way < WAYS; way++)
			crash((enum between)way, &moments[i]);
	print_message("deaths with nothing there %u, files in use %u, final ones %u, both %u\n", found[0], found[1], found[2], found[3]);
	assert_true(found[1] + found[3] >= 4);	/* a death amid the files' way was among them */
}

/* A DataNode that was given up makes the file all the same, after it was removed, or after a kill: it does not stay in use. */
static void
test_made_late(void **state)
{
	(void)state;
	for (int killed = 0; killed < 2; killed++) {
		char dir[] = "/tmp/penstock-late-XXXXXX", path[128], command[128];
		struct life life;
		assert_non_null(mkdtemp(dir));
		double_order("/reset");
		double_order("/fault?op=SEND&kind=late&count=2&ms=700");
		snprintf(path, sizeof path, "hdfs.path=webhdfs://%s/x", double_address);
		const char *const options[] = { path, "hdfs.fileType=DataStream", "hdfs.rollCount=50", "hdfs.rollSize=0", "hdfs.rollInterval=1", "penstock.hdfs.conf=/", NO_TIMEOUT, NULL };
		pid_t pid = killed ? fork() : 0;
		if (!pid) {
			life_begin(&life, dir, "k1", options);
			life_put(&life, EVENTS);
		}
		for (int i = 0; !pid && killed && i < 5000 && double_order("/count?op=DELETE") < 2; i++)
			life_step(&life);
		if (!pid && killed)
			_exit(7);
		if (killed) {
			int status;
			assert_int_equal(waitpid(pid, &status, 0), pid);
			assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
			life_begin(&life, dir, "k1", options);
		}
		/* 45 s of the sink's clock, some 8 of the double's. */
		for (int i = 0; i < 7500; i++)
			life_step(&life);
		assert_int_equal(life.rig.channel->ops->unsettled(life.rig.channel), 0);
		assert_int_equal(tree("check 100"), 0);
		life_end(&life);
		snprintf(command, sizeof command, "rm -rf %s", dir);
		assert_int_equal(system(command), 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_each_step), cmocka_unit_test(test_made_late) };
	return cmocka_run_group_tests(tests, double_start, double_stop);
}
