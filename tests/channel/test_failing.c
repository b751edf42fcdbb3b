/* What fails and stays failed, or fails once at a bad moment: what it costs, and that nothing is given up for what can be mended. */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "channel/engine.h"
#include "channel/ledger.h"
#include "tests/channel/file_case.h"

#define BLOCK_ON_DISK 12288u	/* of ten events of 1000 bytes: 85 in a segment */

static const char *dirs[] = { "/d" };
static const struct channel_file_config config = { .checkpoint_dir = "/c", .data_dirs = { 1, dirs }, .capacity = 1000000, .sync = true,
	.required_space = 1, .max_file_size = 1u << 30, .transaction_capacity = 100000, .checkpoint_interval_ms = 1000, .sync_interval_s = 5,
	.segment_size = 1u << 20, .spare_bytes = 1u << 21, .ledger_bytes = 1u << 20 };
static struct clock_manual manual;
static struct file_place place = { .config = &config, .clock = &manual.clock };

/* The disk in memory behind a table of our own, for what it cannot do. */
static const struct logio_ops *real;
static struct logio_ops mine;
static const char *refused;	/* a file whose opening fails, */
static int refused_rc;		/* so */
static const char *broken;	/* files whose writing fails: the beginning of their paths */
static struct logio_file *broken_files[4];
static uint32_t broken_count, broken_writes;
static bool spare_fails;	/* the next renaming of the spare segment, after it was done */
static uint32_t spare_opens;

static int
my_open(struct logio *io, const char *path, uint64_t bytes, unsigned flags, struct logio_file **file)
{
	if (refused && !strcmp(path, refused))
		return refused_rc;
	spare_opens += !strcmp(path, "/d/segment-spare");
	int rc = real->file_open(io, path, bytes, flags, file);
	struct logio_file *empty;
	if (rc == -ENOSPC && real->there(io, path, NULL) == -ENOENT)
		(void)real->file_open(io, path, 0, LOGIO_CREATE, &empty);	/* as on a real disk: its name is there */
	if (!rc && broken && !strncmp(path, broken, strlen(broken)) && broken_count < 4)
		broken_files[broken_count++] = *file;
	return rc;
}

static int
my_rename(struct logio *io, const char *from, const char *to, bool sync)
{
	int rc = real->rename(io, from, to, sync);
	if (rc || !spare_fails || strcmp(from, "/d/segment-spare"))
		return rc;
	spare_fails = false;
	return -EIO;
}

static int
my_write(struct logio *io, struct logio_file *file, uint64_t offset, const void *bytes, uint32_t len, bool sync)
{
	for (uint32_t i = 0; broken && i < broken_count; i++)
		if (file == broken_files[i]) {
			broken_writes++;
			return -ENOSPC;
		}
	return real->write(io, file, offset, bytes, len, sync);
}

static void
begin(struct logio_mem **mem, struct channel_case *c, struct rig *r)
{
	place.mem = *mem = logio_mem_new();
	struct logio *io = logio_mem_io(*mem);
	real = io->ops;
	mine = *real;
	mine.file_open = my_open;
	mine.write = my_write;
	mine.rename = my_rename;
	io->ops = &mine;
	refused = broken = NULL;
	broken_count = broken_writes = 0;
	*c = file_case(&place);
	clock_manual_init(&manual, NS_PER_S, NS_PER_S);
	rig_open(r, c, 0);
}

static void
pass(struct rig *r, uint32_t seconds)
{
	for (uint32_t i = 0; i < 2; i++) {
		clock_manual_advance(&manual, seconds * NS_PER_S);
		rig_step(r, 2);
	}
}

static uint64_t
gauge(const char *name)
{
	return metrics_sum("CHANNEL", "c1", name);
}

static int
try_open(struct channel **channel, struct err *err)
{
	struct channel_env env = { .name = "c1", .clock = &manual.clock, .block_bytes = 16384, .blocks = 16, .links_max = 2 };
	return channel_file_open_on(channel, &config, &env, logio_mem_io(place.mem), err);
}

/* A segment that is there and cannot be opened (rights, too few descriptors) is no damage: the start is refused, nothing is given up. */
static void
test_open_refused(void **state)
{
	(void)state;
	static const int reasons[] = { -EACCES, -EMFILE };
	for (int i = 0; i < 4; i++) {
		struct logio_mem *mem;
		struct channel_case c;
		struct rig r;
		struct channel *channel;
		struct err err = { "" };
		begin(&mem, &c, &r);
		rig_fill(&r, 200, 1000);
		pass(&r, 2);
		rig_close(&r);
		refused = i / 2 ? "/d/segment-0000000000000002" : "/d/segment-0000000000000001";	/* where the log ends; in its backlog */
		refused_rc = reasons[i % 2];
		assert_int_equal(try_open(&channel, &err), reasons[i % 2]);
		assert_non_null(strstr(err.text, refused));
		assert_non_null(strstr(err.text, strerror(-refused_rc)));
		refused = NULL;
		rig_open(&r, &c, 0);
		assert_int_equal(rig_drain(&r, 0, 0), 2000);
		assert_int_equal(gauge("damage"), 0);
		rig_close(&r);
		logio_mem_free(mem);
	}
}

/* A log has an open file for each segment, and a backlog has many: more than a process is allowed at first (1024, mostly). */
static void
test_many_segments(void **state)
{
	(void)state;
	char dir[] = "/tmp/penstock-failing-XXXXXX", checkpoint[64], data[64], command[96];
	struct rlimit before, few;
	assert_non_null(mkdtemp(dir));
	snprintf(checkpoint, sizeof checkpoint, "%s/checkpoint", dir);
	snprintf(data, sizeof data, "%s/data", dir);
	const char *items[] = { data };
	struct channel_file_config on_disk = config;
	on_disk.checkpoint_dir = checkpoint;
	on_disk.data_dirs.items = items;
	on_disk.segment_size = 1;	/* the least: 8 blocks */
	on_disk.spare_bytes = 0;
	on_disk.io = FILE_IO_PWRITE;
	struct file_place there = { .config = &on_disk };
	struct channel_case c = file_case(&there);
	struct rig r;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	few = before;
	few.rlim_cur = 48;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	rig_open(&r, &c, 0);
	rig_fill(&r, 600, 1000);
	assert_int_equal(r.done, 6000);
	rig_close(&r);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	rig_open(&r, &c, 0);
	assert_int_equal(rig_drain(&r, 0, 0), 6000);
	rig_close(&r);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	snprintf(command, sizeof command, "rm -rf '%s'", dir);
	assert_int_equal(system(command), 0);
}

/* A log with a backlog, a settled part, and a failed write that arrived all the same, behind a fence again. */
static void
fenced(struct logio_mem **mem, struct channel_case *c, struct rig *r, uint64_t seed)
{
	begin(mem, c, r);
	rig_fill(r, 3, 1000);
	assert_int_equal(rig_drain(r, 0, 0), 30);
	clock_manual_advance(&manual, NS_PER_S);	/* one checkpoint knows of it */
	rig_step(r, 1);
	rig_fill(r, 2, 1000);
	logio_mem_faults(*mem, &(struct logio_mem_faults){ .seed = seed });
	logio_mem_fail_nth(*mem, LOGIO_MEM_WRITE, 0);
	rig_fill(r, 1, 1000);
	assert_int_equal(gauge("fences"), 1);
	rig_fill(r, 3, 1000);
	assert_int_equal(r->done, 90);
	file_case_die(r, *mem, 0);	/* all that was written arrives */
	uint64_t len;
	uint8_t *soft = logio_mem_bytes(*mem, "/c/checkpoint-soft", &len);
	assert_non_null(soft);
	memset(soft, 0, len);		/* it was never synced */
}

/* A read at the start that fails once is no news, whichever it is: the same is there, nothing twice, nothing lost, no damage. */
static void
test_start_read_once(void **state)
{
	(void)state;
	uint32_t fired = 0;
	for (uint64_t seed = 1; seed < 4; seed++)	/* the first: all of it arrives */
		for (uint64_t n = 0, more = 1; more; n++) {
			struct logio_mem *mem;
			struct channel_case c;
			struct rig r;
			struct channel *channel;
			struct err err = { "" };
			fenced(&mem, &c, &r, seed);
			logio_mem_fail_nth(mem, LOGIO_MEM_READ, n);
			int rc = try_open(&channel, &err);
			more = logio_mem_fired(mem);
			fired += more != 0;
			logio_mem_fail_nth(mem, 0, 0);
			if (rc) {
				assert_true(more);
				rig_open(&r, &c, 0);
			} else {
				assert_true(((struct engine *)channel)->log->first_position < 1u << 20);	/* it read over the fence */
				r.channel = channel;
				assert_int_equal(block_scratch_init(&r.scratch, 16384), 0);
			}
			assert_int_equal(gauge("damage"), 0);
			assert_int_equal(rig_drain(&r, 30, 0), 60);
			assert_int_equal(gauge("damaged_events"), 0);
			rig_close(&r);
			logio_mem_free(mem);
		}
	assert_true(fired > 20);
}

/* A bad sector costs a disk seconds each time: it is not asked for at each block before it, nor at each step of a search. */
static void
test_bad_sector_costs(void **state)
{
	(void)state;
	for (uint32_t sector = 0; sector < 2; sector++) {	/* a block's header; its bodies */
		struct logio_mem *mem;
		struct channel_case c;
		struct rig r;
		begin(&mem, &c, &r);
		rig_fill(&r, 200, 1000);
		pass(&r, 2);
		rig_close(&r);
		logio_mem_bad(mem, "/d/segment-0000000000000001", 60 * BLOCK_ON_DISK + sector * 4096);
		logio_mem_bad(mem, "/d/segment-0000000000000003", 900 << 10);	/* made ahead: where the start looks for more */
		rig_open(&r, &c, 0);
		assert_in_range(logio_mem_counts(mem)->bad_reads, 1, 8);
		assert_int_equal(rig_drain(&r, 0, 50), 1990);
		assert_int_equal(gauge("damaged_events"), 10);
		assert_in_range(logio_mem_counts(mem)->bad_reads, 10, 40);
		assert_true(gauge("EventTakeErrorCount") >= 9);
		rig_close(&r);
		logio_mem_free(mem);
	}
}

/* While nothing can be stored, a note that waits does not keep the writer awake. */
static void
test_note_waits(void **state)
{
	(void)state;
	struct logio_mem *mem;
	struct channel_case c;
	struct rig r;
	struct ledger_link *link;
	struct err err;
	uint64_t number, count = 1;
	begin(&mem, &c, &r);
	struct engine *e = (struct engine *)r.channel;
	assert_int_equal(ledger_link_open(e->ledger, "test", 1u << 16, -1, &link, &err), 0);
	rig_fill(&r, 2, 1000);
	logio_mem_fail_after(mem, 0);
	assert_int_equal(rig_put(&r, 10, 1000), 10);
	rig_step(&r, 20);
	assert_int_equal(gauge("Unhealthy"), 1);
	struct state_record record = { .class = STATE_CONSUMER, .key = "k", .key_len = 1, .value = "v", .value_len = 1 };
	assert_int_equal(ledger_note(link, &record, &number), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(write(e->wake_fd, &count, sizeof count), sizeof count);
		(void)r.channel->ops->writer_step(r.channel, NS_PER_S);	/* it sleeps, and is woken */
		struct pollfd woken = { .fd = e->wake_fd, .events = POLLIN };
		assert_int_equal(poll(&woken, 1, 0), 0);
	}
	logio_mem_fail_after(mem, UINT64_MAX);
	pass(&r, 10);
	assert_int_equal(gauge("Unhealthy"), 0);
	assert_int_equal(ledger_durable(link), number);		/* it was not lost */
	ledger_link_close(link);
	rig_close(&r);
	logio_mem_free(mem);
}

/* A snapshot that fails is not written anew at each turn of the helper: it is as long as the ledger. */
static void
test_snapshot_fails(void **state)
{
	(void)state;
	struct logio_mem *mem;
	struct channel_case c;
	struct rig r;
	begin(&mem, &c, &r);
	rig_close(&r);
	broken = "/c/ledger-";
	rig_open(&r, &c, 0);
	rig_fill(&r, 100, 1000);			/* of more than a segment: one is due */
	for (int i = 0; i < 600; i++) {	/* half a minute */
		clock_manual_advance(&manual, 50 * NS_PER_MS);
		rig_step(&r, 1);
	}
	assert_in_range(broken_writes, 3, 12);
	assert_int_equal(metrics_sum("LEDGER", "c1", "snapshot_errors"), broken_writes);
	broken = NULL;
	uint64_t before = metrics_sum("LEDGER", "c1", "snapshots");
	pass(&r, 10);
	assert_true(metrics_sum("LEDGER", "c1", "snapshots") > before);
	rig_close(&r);
	logio_mem_free(mem);
}

static uint64_t
bytes_used(struct logio_mem *mem)
{
	uint64_t bytes;
	assert_int_equal(logio_mem_io(mem)->ops->free_bytes(logio_mem_io(mem), "/d", &bytes), 0);
	return (UINT64_C(1) << 40) - bytes;
}

/* On a full disk somebody removes the oldest segment: what is behind it still gives its bytes back when it is drained, and intake goes on. */
static void
test_removed_on_full_disk(void **state)
{
	(void)state;
	struct channel_file_config spares = config;
	spares.spare_bytes = 1u << 26;	/* more than there will be */
	place.config = &spares;
	struct logio_mem *mem;
	struct channel_case c;
	struct rig r;
	begin(&mem, &c, &r);
	struct logio *io = logio_mem_io(mem);
	rig_fill(&r, 300, 1000);
	uint64_t full = bytes_used(mem);
	assert_int_equal(io->ops->remove(io, "/d/segment-0000000000000000"), 0);
	logio_mem_space(mem, full - (1u << 20));
	pass(&r, 1);
	assert_int_equal(gauge("files_gone"), 1);
	assert_int_equal(gauge("disk_full"), 1);
	assert_int_equal(rig_drain(&r, 0, 0), 3000);
	for (int i = 0; i < 5; i++)
		pass(&r, 2);
	assert_int_equal(gauge("disk_full"), 0);
	rig_fill(&r, 20, 1000);
	assert_int_equal(r.done, 3200);
	rig_close(&r);
	logio_mem_free(mem);
	place.config = &config;
}

/* A segment that found no room leaves nothing behind that looks like a damaged one. */
static void
test_full_at_segment_end(void **state)
{
	(void)state;
	struct channel_file_config two = config;
	two.segment_size = 2u << 20;	/* 128 blocks of 16 KiB */
	place.config = &two;
	struct logio_mem *mem;
	struct channel_case c;
	struct rig r;
	begin(&mem, &c, &r);
	rig_step(&r, 1);
	logio_mem_space(mem, bytes_used(mem) + (3u << 19));	/* above minimumRequiredSpace, too little for a segment */
	for (int i = 0; i < 256; i++) {
		rig_step(&r, 1);
		assert_int_equal(rig_put(&r, 15, 1000), 15);
		rig_settle_down(&r);
	}
	assert_int_equal(((struct engine *)r.channel)->log->position, 4u << 20);
	assert_int_equal(rig_put(&r, 15, 1000), 15);
	rig_step(&r, 5);
	assert_int_equal(r.done, 256 * 15);
	assert_int_equal(gauge("disk_full"), 1);
	file_case_die(&r, mem, 0);
	logio_mem_space(mem, UINT64_C(1) << 40);
	rig_open(&r, &c, 0);
	assert_int_equal(gauge("damage"), 0);
	assert_int_equal(rig_drain(&r, 0, 0), 256 * 15);
	rig_close(&r);
	logio_mem_free(mem);
	place.config = &config;
}

/* The files that the log keeps ready: one that somebody removed, and one whose renaming failed when it had been done, are made anew. */
static void
test_kept_ready(void **state)
{
	(void)state;
	struct logio_mem *mem;
	struct channel_case c;
	struct rig r;
	struct ledger_link *link;
	struct err err;
	begin(&mem, &c, &r);
	struct logio *io = logio_mem_io(mem);
	assert_int_equal(ledger_link_open(((struct engine *)r.channel)->ledger, "test", 1u << 16, -1, &link, &err), 0);
	pass(&r, 1);
	uint64_t len;
	assert_non_null(logio_mem_bytes(mem, "/d/segment-reserve", &len));
	assert_int_equal(io->ops->remove(io, "/d/segment-reserve"), 0);
	pass(&r, 1);
	assert_non_null(logio_mem_bytes(mem, "/d/segment-reserve", &len));
	spare_fails = true;
	rig_fill(&r, 200, 1000);			/* over two segments */
	pass(&r, 1);
	assert_false(spare_fails);
	spare_opens = 0;
	rig_fill(&r, 200, 1000);
	assert_true(spare_opens >= 2);
	assert_int_equal(rig_drain(&r, 0, 0), 4000);
	ledger_link_close(link);
	rig_close(&r);
	logio_mem_free(mem);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_open_refused), cmocka_unit_test(test_many_segments), cmocka_unit_test(test_start_read_once),
		cmocka_unit_test(test_bad_sector_costs), cmocka_unit_test(test_note_waits), cmocka_unit_test(test_snapshot_fails),
		cmocka_unit_test(test_removed_on_full_disk), cmocka_unit_test(test_full_at_segment_end), cmocka_unit_test(test_kept_ready),
	};
	return cmocka_run_group_tests_name("failing", tests, NULL, NULL);
}
