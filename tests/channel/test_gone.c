/* Somebody removes or replaces files of a log that is open: nothing is acknowledged into files that no start will find. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "channel/format.h"
#include "tests/channel/file_case.h"

static const char *dirs[] = { "/d" };
static const struct channel_file_config config = { .checkpoint_dir = "/c", .data_dirs = { 1, dirs }, .capacity = 1000000, .sync = true,
	.required_space = 1, .max_file_size = 1u << 30, .transaction_capacity = 100000, .checkpoint_interval_ms = 1000, .sync_interval_s = 5,
	.segment_size = 1u << 20, .spare_bytes = 1u << 21, .ledger_bytes = 1u << 20 };
static struct clock_manual manual;
static struct file_place place = { .config = &config, .clock = &manual.clock };

/* The writer looks once a while. */
static void
look(struct rig *r)
{
	clock_manual_advance(&manual, NS_PER_S);
	rig_step(r, 2);
}

static uint64_t
gauge(const char *name)
{
	return metrics_sum("CHANNEL", "c1", name);
}

static void
begin(struct logio_mem **mem, struct channel_case *c, struct rig *r)
{
	place.mem = *mem = logio_mem_new();
	*c = file_case(&place);
	clock_manual_init(&manual, NS_PER_S, NS_PER_S);
	rig_open(r, c, 0);
	rig_fill(r, 5, 1000);
	look(r);
	assert_int_equal(gauge("files_gone"), 0);
	assert_int_equal(r->done, 50);
}

/* What shows that a directory is the one that was opened is taken away, while a group is under way, and comes back. */
static void
directory(const char *file)
{
	struct logio_mem *mem;
	struct channel_case c;
	struct rig r;
	begin(&mem, &c, &r);
	struct logio *io = logio_mem_io(mem);
	logio_mem_hold(mem, true);
	assert_int_equal(rig_put(&r, 10, 1000), 10);
	rig_step(&r, 1);
	assert_int_equal(io->ops->rename(io, file, "/away", true), 0);
	look(&r);
	while (logio_mem_complete(mem, 0))	/* the disk says that all is well */
		;
	logio_mem_hold(mem, false);
	rig_step(&r, 3);
	assert_int_equal(r.done, 50);
	assert_int_equal(r.failed, 10);
	assert_int_equal(gauge("files_gone"), 1);
	assert_int_equal(gauge("Unhealthy"), 1);
	if (rig_put(&r, 10, 1000))
		rig_settle_down(&r);
	assert_int_equal(r.done, 50);
	assert_int_equal(rig_drain(&r, 0, 0), 50);	/* what was stored goes out */
	assert_int_equal(io->ops->rename(io, "/away", file, true), 0);
	for (int i = 0; i < 20; i++)		/* it is tried again after a while */
		look(&r);
	assert_int_equal(gauge("Unhealthy"), 0);
	assert_int_equal(gauge("files_gone"), 0);
	r.next = 50;
	rig_fill(&r, 3, 1000);
	assert_int_equal(r.done, 80);
	rig_close(&r);
	rig_open(&r, &c, 0);
	assert_int_equal(rig_drain(&r, 50, 0), 30);	/* what failed is not there */
	rig_close(&r);
	logio_mem_free(mem);
}

static void
test_directory(void **state)
{
	(void)state;
	directory("/d/ringlog.meta");
	directory("/c/checkpoint-1");
}

/* Another file in its place is not the one that is written to. */
static void
test_replaced(void **state)
{
	(void)state;
	struct logio_mem *mem;
	struct logio_file *other;
	struct channel_case c;
	struct rig r;
	begin(&mem, &c, &r);
	struct logio *io = logio_mem_io(mem);
	assert_int_equal(io->ops->remove(io, "/d/ringlog.meta"), 0);
	assert_int_equal(io->ops->file_open(io, "/d/ringlog.meta", 4096, LOGIO_CREATE, &other), 0);
	look(&r);
	assert_int_equal(gauge("Unhealthy"), 1);
	if (rig_put(&r, 10, 1000))
		rig_settle_down(&r);
	assert_int_equal(r.done, 50);
	rig_close(&r);
	logio_mem_free(mem);
}

static void
remove_segment(const char *name, void *context)
{
	struct logio *io = context;
	char path[200];
	if (strncmp(name, "segment-0", 9))
		return;
	snprintf(path, sizeof path, "/d/%s", name);
	assert_int_equal(io->ops->remove(io, path), 0);
}

/* The segments alone: the log goes on in a new extent, what was under way is written there. A start finds that and says what is lost. */
static void
test_segments(void **state)
{
	(void)state;
	struct logio_mem *mem;
	struct channel_case c;
	struct rig r;
	begin(&mem, &c, &r);
	struct logio *io = logio_mem_io(mem);
	logio_mem_hold(mem, true);
	assert_int_equal(rig_put(&r, 10, 1000), 10);
	rig_step(&r, 1);
	assert_int_equal(io->ops->list(io, "/d", remove_segment, io), 0);
	clock_manual_advance(&manual, NS_PER_S);
	(void)r.channel->ops->writer_step(r.channel, 0);
	while (logio_mem_complete(mem, 0))
		;
	logio_mem_hold(mem, false);
	rig_step(&r, 20);
	assert_int_equal(r.done, 60);
	assert_int_equal(r.failed, 0);
	assert_int_equal(gauge("fences"), 1);
	assert_int_equal(gauge("files_gone"), 1);
	assert_int_equal(gauge("Unhealthy"), 0);
	for (int i = 0; i < 3; i++)
		look(&r);
	rig_fill(&r, 300, 1000);			/* over some segments */
	assert_int_equal(r.done, 3060);
	assert_int_equal(r.failed, 0);
	assert_int_equal(gauge("fences"), 1);
	rig_close(&r);
	rig_open(&r, &c, 0);
	assert_int_equal(rig_drain(&r, 50, 0), 3010);
	assert_int_equal(gauge("damage"), 1);	/* the others, which were in what was removed */
	rig_close(&r);
	logio_mem_free(mem);
}

/* Older ones: told, intake goes on. */
static void
test_older(void **state)
{
	(void)state;
	struct logio_mem *mem;
	struct channel_case c;
	struct rig r;
	begin(&mem, &c, &r);
	struct logio *io = logio_mem_io(mem);
	rig_fill(&r, 300, 1000);
	assert_int_equal(io->ops->remove(io, "/d/segment-0000000000000001"), 0);
	for (int i = 0; i < 3; i++)
		look(&r);
	assert_int_equal(gauge("files_gone"), 1);
	assert_int_equal(gauge("fences"), 0);
	rig_fill(&r, 3, 1000);
	assert_int_equal(r.failed, 0);
	assert_int_equal(rig_drain(&r, 0, 0), 3080);
	rig_close(&r);
	logio_mem_free(mem);
}

/* The newest serial among the backup checkpoints; 0: none. */
static uint64_t
backup_serial(struct logio_mem *mem)
{
	static const char *const names[] = { "/b/checkpoint-0", "/b/checkpoint-1" };
	struct checkpoint c;
	uint64_t len, serial = 0;
	for (int i = 0; i < 2; i++) {
		const uint8_t *bytes = logio_mem_bytes(mem, names[i], &len);
		if (!bytes)
			continue;
		memcpy(&c, bytes, sizeof c);
		if (c.magic == CHECKPOINT_MAGIC && c.serial > serial)
			serial = c.serial;
	}
	return serial;
}

/* Backup checkpoints: told and counted, nothing waits for them; made anew, at once, where that goes. */
static void
test_backup(void **state)
{
	(void)state;
	struct channel_file_config dual = config;
	dual.dual = true;
	dual.backup_dir = "/b";
	place.config = &dual;
	struct logio_mem *mem;
	struct channel_case c;
	struct rig r;
	begin(&mem, &c, &r);
	struct logio *io = logio_mem_io(mem);
	uint64_t before = backup_serial(mem);
	assert_true(before > 0);
	rig_fill(&r, 1, 1000);
	assert_int_equal(io->ops->rename(io, "/b/checkpoint-0", "/away-0", true), 0);
	assert_int_equal(io->ops->rename(io, "/b/checkpoint-1", "/away-1", true), 0);
	logio_mem_fail_nth(mem, LOGIO_MEM_OPEN, 0);	/* not yet */
	clock_manual_advance(&manual, NS_PER_S);
	rig_step(&r, 1);
	assert_true(logio_mem_fired(mem));
	assert_int_equal(gauge("files_gone"), 1);
	assert_int_equal(gauge("Unhealthy"), 0);
	assert_int_equal(gauge("CheckpointBackupWriteErrorCount"), 1);	/* the interval's was due too */
	rig_fill(&r, 3, 1000);
	assert_int_equal(r.done, 90);
	assert_int_equal(r.failed, 0);
	assert_int_equal(backup_serial(mem), 0);
	look(&r);
	assert_int_equal(gauge("files_gone"), 0);
	assert_true(backup_serial(mem) > before);
	assert_int_equal(gauge("CheckpointBackupWriteErrorCount"), 1);
	/* Another directory in its place, which another log uses: left alone, told as long as it is there. */
	assert_int_equal(io->ops->remove(io, "/b/checkpoint-1"), 0);
	struct logio_file *other;
	struct checkpoint *theirs = aligned_alloc(4096, CHECKPOINT_BYTES);
	uint64_t len;
	assert_non_null(theirs);
	memcpy(theirs, logio_mem_bytes(mem, "/b/checkpoint-0", &len), CHECKPOINT_BYTES);
	theirs->log_id[0] ^= 1;
	theirs->crc = crc32c(0, theirs, offsetof(struct checkpoint, crc));
	assert_int_equal(io->ops->file_open(io, "/b/checkpoint-1", CHECKPOINT_BYTES, LOGIO_CREATE, &other), 0);
	assert_int_equal(io->ops->write(io, other, 0, theirs, CHECKPOINT_BYTES, true), 0);
	for (int i = 0; i < 3; i++)
		look(&r);
	assert_int_equal(gauge("files_gone"), 1);
	rig_fill(&r, 3, 1000);
	assert_int_equal(r.done, 120);
	assert_memory_equal(theirs, logio_mem_bytes(mem, "/b/checkpoint-1", &len), CHECKPOINT_BYTES);
	assert_int_equal(io->ops->remove(io, "/b/checkpoint-1"), 0);
	look(&r);
	assert_int_equal(gauge("files_gone"), 0);
	/* It is what a start can stand on alone. */
	assert_int_equal(rig_drain(&r, 0, 0), 120);
	look(&r);
	assert_int_equal(io->ops->rename(io, "/b/checkpoint-0", "/away-0", true), 0);
	look(&r);
	rig_close(&r);
	static const char *const ours[] = { "/c/checkpoint-0", "/c/checkpoint-1", "/c/checkpoint-soft" };
	for (int i = 0; i < 3; i++)
		assert_int_equal(io->ops->remove(io, ours[i]), 0);
	rig_open(&r, &c, 0);
	assert_int_equal(r.channel->ops->unsettled(r.channel), 0);
	rig_close(&r);
	free(theirs);
	logio_mem_free(mem);
	place.config = &config;
}

/* On a real disk, with threads as in the agent: the directory of data, of checkpoints, or of their backup is removed. */
static void
test_real(void **state)
{
	(void)state;
	static const char *const removed[] = { "data", "checkpoint" };
	static const enum channel_file_io ways[] = { FILE_IO_PWRITE, FILE_IO_AUTO };
	for (int n = 0; n < 6; n++) {
		char dir[] = "/tmp/penstock-gone-XXXXXX", checkpoint[64], data[64], backup[64], command[192];
		assert_non_null(mkdtemp(dir));
		snprintf(checkpoint, sizeof checkpoint, "%s/checkpoint", dir);
		snprintf(data, sizeof data, "%s/data", dir);
		snprintf(backup, sizeof backup, "%s/backup", dir);
		const char *items[] = { data };
		struct channel_file_config real = config;
		real.checkpoint_dir = checkpoint;
		real.data_dirs.items = items;
		real.dual = true;
		real.backup_dir = backup;
		real.io = ways[n / 3];
		struct file_place on_disk = { .config = &real };
		struct channel_case c = file_case(&on_disk);
		struct rig r;
		rig_open(&r, &c, 0);
		rig_fill(&r, 5, 1000);
		assert_int_equal(r.done, 50);
		if (n % 3 == 2)		/* at once: one that is being emptied is filled again meanwhile */
			snprintf(command, sizeof command, "mv '%s' '%s.away'", backup, backup);
		else
			/* twice: what the helper makes between its two steps is in the way of the first */
			snprintf(command, sizeof command, "rm -rf '%s/%s' || rm -rf '%s/%s'", dir, removed[n % 3], dir, removed[n % 3]);
		assert_int_equal(system(command), 0);
		uint64_t end = clock_now_ns(&clock_system) + 100 * NS_PER_S;
		while (!gauge("files_gone") && clock_now_ns(&clock_system) < end)
			(void)r.channel->ops->writer_step(r.channel, NS_PER_MS);
		assert_int_equal(gauge("files_gone"), 1);
		if (n % 3 == 2) {	/* the backup: it is looked for until it is back */
			rig_fill(&r, 2, 1000);
			assert_int_equal(r.done, 70);
			assert_int_equal(mkdir(backup, 0750), 0);
			while (gauge("files_gone") && clock_now_ns(&clock_system) < end)
				(void)r.channel->ops->writer_step(r.channel, NS_PER_MS);
			assert_int_equal(gauge("files_gone"), 0);
			snprintf(command, sizeof command, "test -s '%s/checkpoint-1'", backup);
			assert_int_equal(system(command), 0);
			assert_int_equal(rig_drain(&r, 0, 0), 70);
			rig_close(&r);
			snprintf(command, sizeof command, "rm -rf '%s'", dir);
			assert_int_equal(system(command), 0);
			continue;
		}
		while (!gauge("Unhealthy") && clock_now_ns(&clock_system) < end)
			(void)r.channel->ops->writer_step(r.channel, NS_PER_MS);
		uint64_t done = r.done;
		if (rig_put(&r, 10, 1000))
			rig_settle_down(&r);
		assert_int_equal(r.done, done);
		assert_int_equal(rig_drain(&r, 0, 0), done);
		rig_close(&r);
		snprintf(command, sizeof command, "rm -rf '%s'", dir);
		assert_int_equal(system(command), 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_directory), cmocka_unit_test(test_replaced), cmocka_unit_test(test_segments), cmocka_unit_test(test_older),
		cmocka_unit_test(test_backup),
		cmocka_unit_test(test_real),
	};
	return cmocka_run_group_tests_name("gone", tests, NULL, NULL);
}
