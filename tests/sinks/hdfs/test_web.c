/* test_web: the hdfs sink over WebHDFS as a double serves it: what goes into each CREATE, replicas before the rename, appends that are refused, a limit
 * of calls. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/lib/sink_fixture.h"
#include "tests/lib/webhdfs_double.h"

#define WALL_MS UINT64_C(1500000000000)

static char path_option[128];

static int
begin(void **state)
{
	struct sink_fixture *f = calloc(1, sizeof *f);
	fixture_init(f, WALL_MS);
	f->channel.notes = true;
	snprintf(path_option, sizeof path_option, "hdfs.path=webhdfs://%s/x", double_address);
	double_order("/reset");
	*state = f;
	return 0;
}

static int
end(void **state)
{
	fixture_free(*state);
	free(*state);
	return 0;
}

/* The sink's clock is ahead of the double's: a pause of the machine is no silence of the NameNode. */
#define NO_TIMEOUT "hdfs.callTimeout=2147483647"

#define OPEN(f, ...) assert_int_equal(fixture_open(f, &sink_hdfs, NULL, path_option, "hdfs.fileType=DataStream", "hdfs.rollCount=0", "hdfs.rollSize=0", NO_TIMEOUT, \
	__VA_ARGS__, NULL), 0)

/* The sink's clock goes `ms` for each real millisecond or so, until `wanted` events are settled or 20 s are over. */
static void
run(struct sink_fixture *f, uint64_t ms, uint32_t wanted)
{
	for (int i = 0; i < 20000 && f->channel.settled < wanted; i++) {
		clock_manual_advance(&f->clock, ms * NS_PER_MS);
		sink_runner_step(f->runner, NS_PER_MS);
		usleep(1000);	/* the double is another process */
	}
	if (f->channel.settled != wanted)
		fail_msg("%u of %u settled; CREATE %ld, SEND %ld, GETFILESTATUS %ld, RENAME %ld", f->channel.settled, wanted, double_order("/count?op=CREATE"),
			 double_order("/count?op=SEND"), double_order("/count?op=GETFILESTATUS"), double_order("/count?op=RENAME"));
}

static void
test_site(void **state)
{
	struct sink_fixture *f = *state;
	char dir[] = "/tmp/penstock-web-XXXXXX", path[64], option[96], command[64];
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/hdfs-site.xml", dir);
	FILE *file = fopen(path, "w");
	fputs("<configuration><property><name>dfs.replication</name><value>2</value></property><property><name>dfs.blocksize</name><value>1m</value></property>"
	      "<property><name>fs.permissions.umask-mode</name><value>027</value></property></configuration>", file);
	fclose(file);
	snprintf(option, sizeof option, "penstock.hdfs.conf=%s", dir);
	OPEN(f, option, "hdfs.rollInterval=1", "penstock.hdfs.sync_block=true");
	fake_put(&f->channel, "one", 3, NULL);
	run(f, 20, 1);
	assert_int_equal(double_order("/asked?op=CREATE&name=replication&value=2"), 1);
	assert_int_equal(double_order("/asked?op=CREATE&name=blocksize&value=1048576"), 1);
	assert_int_equal(double_order("/asked?op=CREATE&name=permission&value=640"), 1);
	assert_int_equal(double_order("/asked?op=CREATE&name=createflag&value=CREATE,SYNC_BLOCK"), 1);
	/* CREATE, the look at its identity, RENAME: no more calls for a file. */
	assert_int_equal(fixture_metric("name_node_calls"), 3);
	snprintf(command, sizeof command, "rm -r %s", dir);
	assert_int_equal(system(command), 0);
}

static void
test_replicas(void **state)
{
	struct sink_fixture *f = *state;
	OPEN(f, "hdfs.rollInterval=1", "hdfs.minBlockReplicas=3", "penstock.hdfs.conf=/");
	double_order("/replicas?n=1,2,3");
	fake_put(&f->channel, "one", 3, NULL);
	run(f, 50, 1);
	assert_int_equal(double_order("/count?op=GETFILEBLOCKLOCATIONS"), 3);
	assert_int_equal(fixture_metric("under_replicated"), 0);
	/* Never enough: after half a minute it goes all the same, and is counted. */
	double_order("/replicas?n=1");
	fake_put(&f->channel, "two", 3, NULL);
	uint64_t from_ns = f->clock.now;
	run(f, 50, 2);
	assert_int_equal(double_order("/count?op=GETFILEBLOCKLOCATIONS"), 9);
	assert_int_equal(fixture_metric("under_replicated"), 1);
	assert_in_range((f->clock.now - from_ns) / NS_PER_S, 30, 60);
	/* A cluster that does not know the question. */
	double_order("/fault?op=GETFILEBLOCKLOCATIONS&kind=unsupported");
	fake_put(&f->channel, "three", 5, NULL);
	run(f, 20, 3);
	assert_int_equal(fixture_metric("under_replicated"), 1);
}

static void
put_many(struct sink_fixture *f, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		fake_put(&f->channel, "event", 5, NULL);
}

/* Small files side by side: one answer to CREATE is for eight of them, and a listing tells the identities of those that end together. */
static void
test_side_by_side(void **state)
{
	struct sink_fixture *f = *state;
	OPEN(f, "hdfs.rollCount=1", "hdfs.rollInterval=2", "penstock.hdfs.conf=/");
	double_order("/fault?op=SEND&kind=slow&count=8&ms=150");	/* so that they do */
	put_many(f, 9);		/* the last one waits for its time */
	run(f, 1, 9);
	assert_int_equal(double_order("/count?op=CREATE"), 2);
	assert_int_equal(double_order("/count?op=SEND"), 9);
	assert_int_equal(double_order("/count?op=RENAME"), 9);
	assert_int_equal(double_order("/count?op=MKDIRS"), 0);
	long looks = double_order("/count?op=GETFILESTATUS") + double_order("/count?op=LISTSTATUS_BATCH");
	assert_in_range(looks, 2, 7);
	assert_in_range(double_order("/count?op=LISTSTATUS_BATCH"), 1, 4);
	assert_int_equal(fixture_metric("files_closed"), 9);
	assert_int_equal(fixture_metric("files_failed"), 0);
	/* A NameNode that has no such listing is asked once; then by name. */
	long lists = double_order("/count?op=LISTSTATUS_BATCH");
	looks = double_order("/count?op=GETFILESTATUS");
	double_order("/fault?op=LISTSTATUS_BATCH&kind=unsupported&count=9");
	double_order("/fault?op=SEND&kind=slow&count=8&ms=150");
	put_many(f, 9);
	run(f, 1, 18);
	assert_int_equal(double_order("/count?op=LISTSTATUS_BATCH"), lists + 1);
	assert_int_equal(double_order("/count?op=GETFILESTATUS"), looks + 9);
	assert_int_equal(fixture_metric("files_failed"), 0);
}

/* Trouble where an earlier answer led: the NameNode is asked again, and each event is there once. */
static void
test_side_by_side_trouble(void **state)
{
	struct sink_fixture *f = *state;
	OPEN(f, "hdfs.rollCount=1", "hdfs.rollInterval=2", "penstock.hdfs.conf=/");
	double_order("/fault?op=SEND&kind=standby&count=3");
	double_order("/fault?op=SEND&kind=lost_before&count=2");
	put_many(f, 30);
	run(f, 5, 30);
	assert_in_range(double_order("/count?op=CREATE"), 5, 30);
	assert_int_equal(fixture_metric("files_failed"), 2);
	/* A second look, seconds later: the answer is too old. */
	long asked = double_order("/count?op=CREATE");
	clock_manual_advance(&f->clock, 2 * NS_PER_S);
	put_many(f, 1);
	run(f, 5, 31);
	assert_int_equal(double_order("/count?op=CREATE"), asked + 1);
	/* The two that were not answered are not there, and looked for once more in these 2 s: they may be made late. */
	assert_int_equal(double_order("/count?op=DELETE"), 4);
	assert_int_equal(fixture_metric("files_closed"), 31);
}

static void
until_none_in_use(struct sink_fixture *f)
{
	for (int i = 0; i < 2000 && double_order("/in_use"); i++) {
		clock_manual_advance(&f->clock, 5 * NS_PER_MS);
		sink_runner_step(f->runner, NS_PER_MS);
		usleep(1000);
	}
	assert_int_equal(double_order("/in_use"), 0);
}

/* The NameNode has the name and no DataNode for it: the next try overwrites what the first one made. */
static void
test_no_place_for_a_block(void **state)
{
	struct sink_fixture *f = *state;
	OPEN(f, "hdfs.rollInterval=2", "penstock.hdfs.conf=/", "penstock.delivery=at_least_once");
	double_order("/fault?op=SEND&kind=full&count=2");
	put_many(f, 3);
	run(f, 5, 3);
	assert_int_equal(double_order("/count?op=SEND"), 3);
	assert_int_equal(fixture_metric("files_failed"), 0);
	until_none_in_use(f);
}

/* Where nothing can be appended, each request is a file. */
static void
test_no_append(void **state)
{
	struct sink_fixture *f = *state;
	OPEN(f, "hdfs.rollInterval=300", "penstock.hdfs.conf=/", "penstock.delivery=at_least_once");
	double_order("/fault?op=APPEND&kind=unsupported&count=1000");
	fake_put(&f->channel, "one", 3, NULL);
	run(f, 20, 1);		/* settled by the end of its request; the file goes on */
	fake_put(&f->channel, "two", 3, NULL);
	run(f, 20, 2);		/* refused, offered again, settled in the next file */
	assert_int_equal(double_order("/count?op=APPEND"), 1);
	assert_int_equal(fixture_metric("files_failed"), 1);
	fake_put(&f->channel, "three", 5, NULL);
	run(f, 20, 3);
	fake_put(&f->channel, "four", 4, NULL);
	run(f, 20, 4);
	sink_runner_finish(f->runner, f->clock.now + NS_PER_S);
	f->runner = NULL;
	assert_int_equal(double_order("/count?op=APPEND"), 1);
}

static void
test_calls(void **state)
{
	struct sink_fixture *f = *state;
	assert_int_equal(fixture_open(f, &sink_hdfs, &clock_system, path_option, "hdfs.fileType=DataStream", "hdfs.rollCount=1", "hdfs.idleTimeout=1", "penstock.hdfs.conf=/",
		"penstock.hdfs.calls_per_second=20", NULL), 0);
	put_many(f, 40);
	uint64_t from_ns = clock_now_ns(&clock_system);
	run(f, 0, 40);
	uint64_t took_ms = (clock_now_ns(&clock_system) - from_ns) / NS_PER_MS;
	/* 40 files at 20 calls a second, of which one second's worth at once: each has its RENAME, the others are for several. */
	long calls = double_order("/count?op=CREATE") + double_order("/count?op=GETFILESTATUS") + double_order("/count?op=LISTSTATUS_BATCH") + 40;
	assert_int_equal(double_order("/count?op=RENAME"), 40);
	assert_in_range(took_ms, (calls - 20) * 50 - 100, 10000);
	assert_in_range(took_ms, 1000, 10000);
	assert_in_range(calls, 46, 100);
	/* The first files were asked for together; later ones come one by one as the limit lets them. */
	assert_in_range(double_order("/count?op=CREATE"), 5, 40);
}

/* Trouble that stays: each new try is a new file, and those before it must not become ever more work. */
static void
trouble(struct sink_fixture *f, const char *fault, const char *then)
{
	OPEN(f, "hdfs.rollInterval=2", "penstock.hdfs.conf=/");
	double_order(fault);
	double_order(then);
	put_many(f, 3);
	for (int i = 0; i < 4000 && fixture_metric("files_failed") < 12; i++) {
		clock_manual_advance(&f->clock, NS_PER_S);
		sink_runner_step(f->runner, NS_PER_MS);
		usleep(1000);
	}
	assert_int_equal(fixture_metric("files_failed"), 12);
}

/* No NameNode takes anything: nothing was made, so nothing is to be removed when it is back. */
static void
test_no_namenode(void **state)
{
	struct sink_fixture *f = *state;
	trouble(f, "/fault?op=CREATE&kind=retriable&count=1000000", "/fault?op=DELETE&kind=retriable&count=1000000");
	assert_int_equal(double_order("/count?op=DELETE"), 0);
	double_order("/calm");
	run(f, 50, 3);
	assert_int_equal(double_order("/in_use"), 0);
}

/* We may not write there, and so may not remove: each file that failed is asked about once. */
static void
test_denied(void **state)
{
	struct sink_fixture *f = *state;
	trouble(f, "/fault?op=SEND&kind=denied&count=1000000", "/fault?op=DELETE&kind=denied&count=1000000");
	assert_in_range(double_order("/count?op=DELETE"), 11, 12);
	double_order("/calm");
	run(f, 50, 3);
	assert_int_equal(double_order("/in_use"), 0);
	for (int i = 0; i < 200 && fixture_metric("oldest_unsettled_s"); i++) {
		clock_manual_advance(&f->clock, 10 * NS_PER_MS);
		sink_runner_step(f->runner, NS_PER_MS);
	}
	assert_int_equal(fixture_metric("oldest_unsettled_s"), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)

int
main(void)
{
	const struct CMUnitTest tests[] = { T(test_site), T(test_replicas), T(test_side_by_side), T(test_side_by_side_trouble), T(test_no_place_for_a_block), T(test_no_append), T(test_calls),
		T(test_no_namenode), T(test_denied) };
	return cmocka_run_group_tests(tests, double_start, double_stop);
}
