/* Recovery: at every cut point of a short run, and with sectors of unsynced writes arriving by chance: what was acknowledged is there,
 * in order, once; groups are whole or gone; nothing is invented; damage below the durable end is told from a torn tail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "channel/format.h"
#include "tests/channel/file_case.h"

static const char *dirs[] = { "/d" };

static const struct channel_file_config config = { .checkpoint_dir = "/c", .data_dirs = { 1, dirs }, .capacity = 100000, .sync = true,
	.required_space = 1, .max_file_size = 1u << 30, .transaction_capacity = 100, .checkpoint_interval_ms = 1, .sync_interval_s = 5,
	.segment_size = 2u << 20 };

/* A run with several groups in flight that end in an order of the seed's, and a sink that settles some. Ends when `n` blocks were put
 * or the disk is dead. Acknowledged: r->done; settled: *settled. */
static void
run(struct rig *r, struct logio_mem *mem, uint32_t blocks, uint64_t seed, uint64_t *settled)
{
	const struct channel_ops *ops = r->channel->ops;
	struct taker *t;
	struct err err;
	ops->taker_open(r->channel, "k1", &t, &err);
	for (uint32_t i = 0; i < blocks; i++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		(void)ops->writer_step(r->channel, 0);
		rig_put(r, 1 + (seed >> 60), 40 + (seed >> 50) % 900);
		if (seed >> 59 & 1)
			rig_put(r, 3, 300);
		(void)ops->writer_step(r->channel, 0);
		if (seed >> 40 & 3)
			(void)logio_mem_complete(mem, seed >> 30 & 1);
		(void)ops->writer_step(r->channel, 0);
		rig_reap(r);
		struct span *s;
		if ((seed >> 20 & 3) == 0 && ops->take(t, 5, 100000, 0, &s) == 0 && s) {
			*settled += s->events;
			ops->settle(t, s, SETTLE_COMMIT, NULL, 0);
		}
	}
	ops->taker_close(t);
}

/* What is in the channel now: consecutive values; returns first and end. */
static void
content(struct rig *r, uint64_t *first, uint64_t *end)
{
	const struct channel_ops *ops = r->channel->ops;
	struct taker *t;
	struct err err;
	struct span *s;
	ops->taker_open(r->channel, "k1", &t, &err);
	*first = *end = UINT64_MAX;
	while (ops->take(t, 1000, UINT64_MAX, 0, &s) == 0 && s) {
		struct span_cursor cursor = { { 0 } };
		struct event_view e;
		while (ops->span_next(s, &cursor, &e)) {
			uint64_t value = event_value(&e);
			if (*first == UINT64_MAX)
				*first = *end = value;
			assert_int_equal(value, *end);
			assert_int_equal(e.number, value);
			++*end;
		}
		ops->settle(t, s, SETTLE_COMMIT, NULL, 0);
	}
	ops->taker_close(t);
}

static bool
cut_at(uint64_t n, uint64_t seed)
{
	struct logio_mem *mem = logio_mem_new();
	struct file_place place = { .config = &config, .mem = mem };
	struct channel_case c = file_case(&place);
	struct rig r;
	uint64_t settled = 0, first, end;
	rig_open(&r, &c, 0);
	logio_mem_hold(mem, true);
	logio_mem_cut_after(mem, n);
	uint64_t writes = logio_mem_writes(mem);
	run(&r, mem, 12, seed, &settled);
	bool reached = logio_mem_writes(mem) - writes > n;
	uint64_t acknowledged = r.done, put = r.put;
	logio_mem_abort(mem);
	logio_mem_cut_after(mem, 0);		/* dead for good: closing writes nothing */
	rig_close(&r);
	logio_mem_power_off(mem, seed ^ n);
	logio_mem_hold(mem, false);

	for (int lap = 0; lap < 2; lap++) {	/* twice: what the first recovery did is a state to recover from, too */
		rig_open(&r, &c, 0);
		uint64_t unsettled = r.channel->ops->unsettled(r.channel);
		content(&r, &first, &end);
		if (first == UINT64_MAX) {
			assert_int_equal(unsettled, 0);
			end = r.next = lap ? put : acknowledged;
			assert_true(lap || settled >= acknowledged);
		} else {
			assert_int_equal(unsettled, end - first);
			assert_true(first <= settled);			/* nothing unsettled is missing */
			assert_true(end >= acknowledged && end <= put);	/* all acknowledged, nothing invented */
		}
		if (lap == 0) {	/* the log goes on */
			r.next = end;
			(void)r.channel->ops->writer_step(r.channel, 0);
			r.put = 0;
			assert_int_equal(rig_put(&r, 7, 500), 7);
			rig_settle_down(&r);
			assert_int_equal(r.done, 7);
			acknowledged = put = end + 7;
			settled = end;
		}
		rig_close(&r);
	}
	logio_mem_free(mem);
	return reached;
}

static void
test_every_cut(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 12; seed++) {
		uint64_t n = 0;
		while (cut_at(n, seed))
			n++;
		assert_true(n > 12);
	}
}

/* A durable block is damaged: it alone is lost, counted; what stands behind it is delivered under its old numbers. */
static void
test_damage(void **state)
{
	(void)state;
	struct logio_mem *mem = logio_mem_new();
	struct file_place place = { .config = &config, .mem = mem };
	struct channel_case c = file_case(&place);
	struct rig r;
	uint64_t len;
	rig_open(&r, &c, 0);
	rig_fill(&r, 5, 100);
	rig_close(&r);
	uint8_t *log = logio_mem_bytes(mem, "/d/segment-0000000000000000", &len);
	assert_non_null(log);
	log[4096 + 700] ^= 1;		/* the second block */
	rig_open(&r, &c, 0);
	assert_int_equal(r.channel->ops->unsettled(r.channel), 40);
	assert_int_equal(metrics_sum("CHANNEL", "c1", "damage"), 1);
	struct taker *t;
	struct err err;
	struct span *s;
	r.channel->ops->taker_open(r.channel, "k1", &t, &err);
	uint64_t n = 0;
	while (r.channel->ops->take(t, 1000, UINT64_MAX, 0, &s) == 0 && s) {
		struct span_cursor cursor = { { 0 } };
		struct event_view e;
		while (r.channel->ops->span_next(s, &cursor, &e)) {
			assert_int_equal(event_value(&e), n < 10 ? n : n + 10);
			assert_int_equal(e.number, n < 10 ? n : n + 10);
			n++;
		}
		r.channel->ops->settle(t, s, SETTLE_COMMIT, NULL, 0);
	}
	assert_int_equal(n, 40);
	r.channel->ops->taker_close(t);
	rig_close(&r);
	/* the newest block damaged: no later one says that it was durable; it is cut as a torn tail */
	rig_open(&r, &c, 0);
	rig_close(&r);
	logio_mem_free(mem);
}

/* The newest group cannot be read, and nothing says that it was durable: reported all the same, and the log goes on behind it. */
static void
test_unreadable_end(void **state)
{
	(void)state;
	struct logio_mem *mem = logio_mem_new();
	struct file_place place = { .config = &config, .mem = mem };
	struct channel_case c = file_case(&place);
	struct rig r;
	uint64_t first, end, len;
	static const char *const names[] = { "/c/checkpoint-0", "/c/checkpoint-1", "/c/checkpoint-soft" };
	rig_open(&r, &c, 0);
	rig_fill(&r, 5, 100);
	rig_close(&r);
	for (int i = 0; i < 3; i++)
		logio_mem_bytes(mem, names[i], &len)[9] ^= 1;
	logio_mem_bad(mem, "/d/segment-0000000000000000", 4 * 4096);
	rig_open(&r, &c, 0);
	assert_int_equal(metrics_sum("CHANNEL", "c1", "damage"), 1);
	assert_int_equal(r.channel->ops->unsettled(r.channel), 40);
	content(&r, &first, &end);
	assert_int_equal(end, 40);
	r.next = 40;
	rig_fill(&r, 2, 100);
	rig_close(&r);
	rig_open(&r, &c, 0);
	content(&r, &first, &end);
	assert_int_equal(end, 60);
	rig_close(&r);
	logio_mem_free(mem);
}

/* Both synced checkpoints damaged: the whole log is offered again rather than nothing. */
static void
test_no_checkpoint(void **state)
{
	(void)state;
	struct logio_mem *mem = logio_mem_new();
	struct file_place place = { .config = &config, .mem = mem };
	struct channel_case c = file_case(&place);
	static const char *const names[] = { "/c/checkpoint-0", "/c/checkpoint-1", "/c/checkpoint-soft" };
	struct rig r;
	uint64_t first, end, len;
	rig_open(&r, &c, 0);
	rig_fill(&r, 5, 100);
	rig_close(&r);
	for (int i = 0; i < 3; i++) {
		uint8_t *bytes = logio_mem_bytes(mem, names[i], &len);
		if (bytes)
			bytes[9] ^= 1;
	}
	rig_open(&r, &c, 0);
	content(&r, &first, &end);
	assert_int_equal(first, 0);
	assert_int_equal(end, 50);
	r.next = 50;
	rig_fill(&r, 1, 100);
	rig_close(&r);
	logio_mem_free(mem);
}

/* Segments are used again, behind the checkpoint: a long run takes few files. */
static void
visit(const char *name, void *context)
{
	*(uint32_t *)context += strncmp(name, "segment-", 8) == 0;
}

static void
test_recycling(void **state)
{
	(void)state;
	struct logio_mem *mem = logio_mem_new();
	struct file_place place = { .config = &config, .mem = mem };
	struct channel_case c = file_case(&place);
	struct rig r;
	uint64_t first, end;
	rig_open(&r, &c, 0);
	for (int i = 0; i < 2000; i++) {		/* 2000 blocks of 12 KiB: 12 segments of 2 MiB */
		(void)r.channel->ops->writer_step(r.channel, 0);
		assert_int_equal(rig_put(&r, 10, 1000), 10);
		rig_settle_down(&r);
		if (i % 50 == 49)
			content(&r, &first, &end);
	}
	uint32_t segments = 0;
	logio_mem_io(mem)->ops->list(logio_mem_io(mem), "/d", visit, &segments);
	assert_true(segments >= 2 && segments <= 5);
	rig_fill(&r, 3, 100);
	rig_close(&r);
	rig_open(&r, &c, 0);
	content(&r, &first, &end);
	assert_int_equal(first, 20000);
	assert_int_equal(end, 20030);
	rig_close(&r);
	logio_mem_free(mem);
}

/* What is not ours is refused by name, and not written over. */
static void
refused(struct logio_mem *mem, const char *why)
{
	struct channel_env env = { .name = "c1", .clock = &clock_system, .block_bytes = 16384, .blocks = 16, .links_max = 2 };
	struct channel *channel;
	struct err err = { "" };
	if (channel_file_open_on(&channel, &config, &env, logio_mem_io(mem), &err) == 0)
		fail_msg("opened, though %s", why);
	if (!strstr(err.text, why))
		fail_msg("\"%s\" does not say \"%s\"", err.text, why);
}

static void
test_refused(void **state)
{
	(void)state;
	struct logio_mem *mem = logio_mem_new();
	struct file_place place = { .config = &config, .mem = mem };
	struct channel_case c = file_case(&place);
	struct rig r;
	uint64_t len, first, end;
	rig_open(&r, &c, 0);
	rig_fill(&r, 3, 100);
	rig_close(&r);

	struct log_meta *meta = (struct log_meta *)logio_mem_bytes(mem, "/d/ringlog.meta", &len), meta_was = *meta;
	meta->version = FORMAT_VERSION + 1;
	meta->crc = crc32c(0, meta, offsetof(struct log_meta, crc));
	refused(mem, "/d/ringlog.meta: format version 3 is not known");
	*meta = meta_was;
	meta->dirs = 2;
	meta->crc = crc32c(0, meta, offsetof(struct log_meta, crc));
	refused(mem, "was made with 2 data directories");
	*meta = meta_was;

	struct block_header *h = (struct block_header *)logio_mem_bytes(mem, "/d/segment-0000000000000000", &len), h_was = *h;
	h->log_id[3] ^= 1;
	h->header_crc = crc32c(0, h, offsetof(struct block_header, header_crc));
	refused(mem, "(segment-0000000000000000) belongs to another log");
	*h = h_was;
	h->version = FORMAT_VERSION + 1;
	h->header_crc = crc32c(0, h, offsetof(struct block_header, header_crc));
	refused(mem, "has blocks of format version 3");
	*h = h_was;

	struct checkpoint *cp = (struct checkpoint *)logio_mem_bytes(mem, "/c/checkpoint-0", &len), cp_was = *cp;
	cp->log_id[3] ^= 1;
	cp->crc = crc32c(0, cp, offsetof(struct checkpoint, crc));
	refused(mem, "/c/checkpoint-0: belongs to another log than /d");
	*cp = cp_was;

	rig_open(&r, &c, 0);
	content(&r, &first, &end);
	assert_int_equal(first, 0);
	assert_int_equal(end, 30);
	rig_close(&r);
	logio_mem_free(mem);
}

/* A process dies by SIGKILL while it writes; what it had told of as acknowledged is there. */
static void
test_kill(void **state)
{
	(void)state;
	char dir[] = "/tmp/penstock-kill-XXXXXX", checkpoint[64], data[64], command[64];
	assert_non_null(mkdtemp(dir));
	snprintf(checkpoint, sizeof checkpoint, "%s/checkpoint", dir);
	snprintf(data, sizeof data, "%s/data", dir);
	const char *items[] = { data };
	struct channel_file_config real = config;
	real.checkpoint_dir = checkpoint;
	real.data_dirs.items = items;
	struct file_place on_disk = { .config = &real };
	struct channel_case c = file_case(&on_disk);
	int fds[2];
	assert_int_equal(pipe(fds), 0);
	pid_t child = fork();
	assert_true(child >= 0);
	struct rig r;
	if (child == 0) {
		rig_open(&r, &c, 0);
		for (;;) {
			(void)r.channel->ops->writer_step(r.channel, 0);
			(void)rig_put(&r, 20, 200);
			rig_reap(&r);
			if (write(fds[1], &r.done, sizeof r.done) != sizeof r.done)
				_exit(1);
		}
	}
	close(fds[1]);
	uint64_t done = 0, value;
	while (done < 3000 && read(fds[0], &value, sizeof value) == sizeof value)
		done = value;
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	while (read(fds[0], &value, sizeof value) == sizeof value)
		done = value;
	close(fds[0]);
	uint64_t first, end;
	rig_open(&r, &c, 0);
	content(&r, &first, &end);
	assert_int_equal(first, 0);
	assert_true(end >= done);
	rig_close(&r);
	snprintf(command, sizeof command, "rm -rf '%s'", dir);
	assert_int_equal(system(command), 0);
}

/* A log that another host wrote is taken over only when told so. */
static void
test_adopt(void **state)
{
	(void)state;
	if (access("/etc/machine-id", R_OK)) {
		print_message("SKIP: no /etc/machine-id here\n");
		return;
	}
	char dir[] = "/tmp/penstock-adopt-XXXXXX", checkpoint[64], data[64], path[96], command[64];
	assert_non_null(mkdtemp(dir));
	snprintf(checkpoint, sizeof checkpoint, "%s/checkpoint", dir);
	snprintf(data, sizeof data, "%s/data", dir);
	snprintf(path, sizeof path, "%s/ringlog.meta", data);
	const char *items[] = { data };
	struct channel_file_config real = config;
	real.checkpoint_dir = checkpoint;
	real.data_dirs.items = items;
	struct file_place on_disk = { .config = &real };
	struct channel_case c = file_case(&on_disk);
	struct rig r;
	rig_open(&r, &c, 0);
	rig_fill(&r, 2, 100);
	rig_close(&r);
	FILE *f = fopen(path, "r+");
	struct log_meta meta;
	assert_non_null(f);
	assert_int_equal(fread(&meta, sizeof meta, 1, f), 1);
	meta.host_id[0] ^= 1;
	meta.host_crc = crc32c(0, &meta, offsetof(struct log_meta, host_crc));
	rewind(f);
	assert_int_equal(fwrite(&meta, sizeof meta, 1, f), 1);
	fclose(f);
	struct channel_env env = { .name = "c1", .clock = &clock_system, .block_bytes = 16384, .blocks = 16, .links_max = 2 };
	struct channel *channel;
	struct err err = { "" };
	assert_int_not_equal(channel_file.open(&channel, &real, &env, &err), 0);
	assert_non_null(strstr(err.text, "penstock.adoptLog = true"));
	real.adopt = true;
	rig_open(&r, &c, 0);
	assert_int_equal(r.channel->ops->unsettled(r.channel), 20);
	rig_close(&r);
	real.adopt = false;		/* it is ours now */
	rig_open(&r, &c, 0);
	rig_close(&r);
	snprintf(command, sizeof command, "rm -rf '%s'", dir);
	assert_int_equal(system(command), 0);
}

/* A sync that fails once costs an extent: nothing is failed, nothing comes twice. A disk that is full for a while stops intake only. */
static void
test_goes_round(void **state)
{
	(void)state;
	struct logio_mem *mem = logio_mem_new();
	struct file_place place = { .config = &config, .mem = mem };
	struct channel_case c = file_case(&place);
	struct rig r;
	uint64_t first, end;
	rig_open(&r, &c, 0);
	rig_fill(&r, 3, 100);
	logio_mem_fail_nth(mem, LOGIO_MEM_SYNC, 0);
	rig_fill(&r, 3, 100);
	assert_true(logio_mem_fired(mem));
	assert_int_equal(r.failed, 0);
	assert_int_equal(r.done, 60);
	assert_int_equal(metrics_sum("CHANNEL", "c1", "fences"), 1);
	rig_close(&r);
	rig_open(&r, &c, 0);
	content(&r, &first, &end);
	assert_int_equal(first, 0);
	assert_int_equal(end, 60);
	r.next = 60;
	logio_mem_space(mem, 0);	/* no new segment */
	uint64_t put = 0;
	for (int i = 0; i < 400; i++) {
		(void)r.channel->ops->writer_step(r.channel, 0);
		put += rig_put(&r, 10, 1000);
		rig_reap(&r);
	}
	assert_int_equal(metrics_sum("CHANNEL", "c1", "disk_full"), 1);
	assert_int_equal(rig_put(&r, 10, 1000), 0);
	uint64_t stored = r.done;
	content(&r, &first, &end);	/* it drains */
	assert_int_equal(end, 60 + stored);
	logio_mem_space(mem, UINT64_C(1) << 40);
	for (int i = 0; i < 400 && r.done < put; i++) {
		(void)r.channel->ops->writer_step(r.channel, NS_PER_MS);
		rig_reap(&r);
	}
	assert_int_equal(r.done, put);	/* what was under way is stored, and intake goes on */
	assert_int_equal(r.failed, 0);
	for (int i = 0; i < 3; i++)
		(void)r.channel->ops->writer_step(r.channel, 0);
	assert_int_equal(rig_put(&r, 10, 1000), 10);
	rig_settle_down(&r);
	rig_close(&r);
	logio_mem_free(mem);
}

/* A write fails, and of what is written again behind the fence a large group finds no room on the disk: a small one behind it waits for its turn. */
static void
test_fence_when_full(void **state)
{
	(void)state;
	struct logio_mem *mem = logio_mem_new();
	struct logio *io = logio_mem_io(mem);
	struct channel_file_config small = config;
	small.segment_size = 8 * 16384;
	struct file_place place = { .config = &small, .mem = mem };
	struct channel_case c = file_case(&place);
	static const uint32_t blocks[] = { 5, 4, 1 };
	struct rig r;
	uint64_t first, end, left;
	rig_open(&r, &c, 0);
	logio_mem_hold(mem, true);
	for (int g = 0; g < 3; g++) {
		for (int i = 0; i < 3 && g == 0; i++)
			(void)r.channel->ops->writer_step(r.channel, 0);
		for (uint32_t i = 0; i < blocks[g]; i++)
			assert_int_equal(rig_put(&r, g < 2 ? 15 : 2, 1000), g < 2 ? 15 : 2);
		(void)r.channel->ops->writer_step(r.channel, 0);
	}
	assert_int_equal(io->ops->free_bytes(io, "/d", &left), 0);
	logio_mem_space(mem, (UINT64_C(1) << 40) - left + 8 * 16384 + 4096);	/* a segment more */
	logio_mem_fail_nth(mem, LOGIO_MEM_SYNC | LOGIO_MEM_WRITE, 0);
	while (logio_mem_complete(mem, 0))
		;
	assert_true(logio_mem_fired(mem));
	logio_mem_hold(mem, false);
	for (int i = 0; i < 20; i++) {
		(void)r.channel->ops->writer_step(r.channel, 0);
		rig_reap(&r);
	}
	assert_int_equal(metrics_sum("CHANNEL", "c1", "fences"), 1);
	assert_int_equal(r.failed, 0);
	assert_int_equal(r.done, 5 * 15);
	assert_int_equal(metrics_sum("CHANNEL", "c1", "disk_full"), 1);
	logio_mem_space(mem, UINT64_C(1) << 40);
	for (int i = 0; i < 400 && r.done < r.put; i++) {
		(void)r.channel->ops->writer_step(r.channel, NS_PER_MS);
		rig_reap(&r);
	}
	assert_int_equal(r.done, 9 * 15 + 2);
	rig_close(&r);
	rig_open(&r, &c, 0);
	content(&r, &first, &end);
	assert_int_equal(first, 0);
	assert_int_equal(end, 9 * 15 + 2);
	rig_close(&r);
	logio_mem_free(mem);
}

/* A checkpoint holds so many settled stretches above the first unsettled event and no more: what was settled beyond comes again after a restart, what was
 * not is never lost. */
static void
test_many_stretches(void **state)
{
	(void)state;
	enum { COUNT = 3 * CHECKPOINT_RANGES };
	for (int clean = 0; clean <= 1; clean++) {
		struct logio_mem *mem = logio_mem_new();
		struct file_place place = { .config = &config, .mem = mem };
		struct channel_case c = file_case(&place);
		const struct channel_ops *ops;
		static struct span *spans[COUNT];
		static uint32_t seen[COUNT];
		struct taker *t;
		struct span *s;
		struct err err;
		struct rig r;
		memset(seen, 0, sizeof seen);
		rig_open(&r, &c, 0);
		ops = r.channel->ops;
		while (r.done < COUNT) {
			(void)ops->writer_step(r.channel, 0);
			(void)rig_put(&r, COUNT - r.put < 10 ? (uint32_t)(COUNT - r.put) : 10, 100);
			rig_settle_down(&r);
		}
		assert_int_equal(ops->taker_open(r.channel, "k1", &t, &err), 0);
		for (uint32_t i = 0; i < COUNT; i++) {
			assert_int_equal(ops->take(t, 1, UINT64_MAX, 0, &spans[i]), 0);
			assert_non_null(spans[i]);
			ops->span_release(t, spans[i]);
		}
		for (uint32_t i = 1; i < COUNT; i += 2)		/* every other one, in no order */
			assert_int_equal(ops->settle(t, spans[(i * 7) % COUNT | 1], SETTLE_COMMIT, NULL, 0), 0);
		assert_int_equal(ops->unsettled(r.channel), COUNT / 2);
		for (int i = 0; i < 5; i++) {
			usleep(2000);
			(void)ops->writer_step(r.channel, 0);
		}
		if (clean) {
			ops->taker_close(t);
			rig_close(&r);
		} else {
			logio_mem_cut_after(mem, 0);
			ops->taker_close(t);
			rig_close(&r);
			logio_mem_power_off(mem, 1);
			logio_mem_cut_after(mem, UINT64_MAX);
		}
		rig_open(&r, &c, 0);
		uint64_t unsettled = ops->unsettled(r.channel), last = 0, came = 0;
		assert_int_equal(unsettled, COUNT - CHECKPOINT_RANGES);
		assert_int_equal(ops->taker_open(r.channel, "k1", &t, &err), 0);
		while (ops->take(t, 1000, UINT64_MAX, 0, &s) == 0 && s) {
			struct span_cursor cursor = { { 0 } };
			for (struct event_view e; ops->span_next(s, &cursor, &e); came++) {
				assert_int_equal(event_value(&e), e.number);
				assert_true(!came || e.number > last);
				last = e.number;
				seen[e.number]++;
			}
			ops->settle(t, s, SETTLE_COMMIT, NULL, 0);
		}
		ops->taker_close(t);
		assert_int_equal(came, unsettled);
		for (uint32_t i = 0; i < COUNT; i++)
			assert_int_equal(seen[i], i % 2 && i / 2 < CHECKPOINT_RANGES ? 0 : 1);
		rig_close(&r);
		logio_mem_free(mem);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_every_cut), cmocka_unit_test(test_damage), cmocka_unit_test(test_no_checkpoint),
					    cmocka_unit_test(test_recycling), cmocka_unit_test(test_kill),
					    cmocka_unit_test(test_unreadable_end), cmocka_unit_test(test_refused),
					    cmocka_unit_test(test_adopt), cmocka_unit_test(test_goes_round),
					    cmocka_unit_test(test_fence_when_full), cmocka_unit_test(test_many_stretches) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
