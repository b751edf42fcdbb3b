/* Every n-th allocation, write, read, sync, opening and renaming fails in turn, until none is left to fail: calls answer with errors or
 * the channel goes round it, and what was acknowledged is in the log afterwards, in order, once; nothing leaks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "channel/channel_file.h"

#define BLOCK_BYTES 8192u
#define BLOCKS 16u

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
char *__real_strdup(const char *text);

static bool armed, fired;
static uint64_t countdown = UINT64_MAX;

static bool
fails(void)
{
	if (!armed || countdown == UINT64_MAX || countdown-- != 0)
		return false;
	countdown = UINT64_MAX;
	fired = true;
	return true;
}

void *
__wrap_malloc(size_t bytes)
{
	return fails() ? NULL : __real_malloc(bytes);
}

void *
__wrap_calloc(size_t count, size_t bytes)
{
	return fails() ? NULL : __real_calloc(count, bytes);
}

void *
__wrap_realloc(void *old, size_t bytes)
{
	return fails() ? NULL : __real_realloc(old, bytes);
}

void *
__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
	return fails() ? NULL : __real_aligned_alloc(alignment, bytes);
}

char *
__wrap_strdup(const char *text)
{
	return fails() ? NULL : __real_strdup(text);
}

/* The disk's own memory never runs out: a table before its table. */
static struct logio *real_io;
static struct logio proxy;

#define DISARMED(call)                                                                                                               \
	bool was = armed;                                                                                                            \
	armed = false;                                                                                                               \
	int rc = real_io->ops->call;                                                                                                 \
	armed = was;                                                                                                                 \
	return rc

static void
p_memory(struct logio *io, void *bytes, size_t len)
{
	(void)io, (void)bytes, (void)len;
}

static int
p_open(struct logio *io, const char *path, uint64_t bytes, unsigned flags, struct logio_file **file)
{
	(void)io;
	DISARMED(file_open(real_io, path, bytes, flags, file));
}

static void
p_close_file(struct logio *io, struct logio_file *file)
{
	(void)io, (void)file;
}

static int
p_submit(struct logio *io, struct logio_file *file, uint64_t offset, const struct logio_write *writes, uint32_t count, bool sync, void *context)
{
	(void)io;
	DISARMED(submit(real_io, file, offset, writes, count, sync, context));
}

static int
p_reap(struct logio *io, struct logio_done *done, int max)
{
	(void)io;
	DISARMED(reap(real_io, done, max));
}

static int
p_read(struct logio *io, struct logio_file *file, uint64_t offset, void *bytes, uint32_t len)
{
	(void)io;
	DISARMED(read(real_io, file, offset, bytes, len));
}

static int
p_write(struct logio *io, struct logio_file *file, uint64_t offset, const void *bytes, uint32_t len, bool sync)
{
	(void)io;
	DISARMED(write(real_io, file, offset, bytes, len, sync));
}

static int
p_sync(struct logio *io, struct logio_file *file)
{
	(void)io;
	DISARMED(sync(real_io, file));
}

static int
p_list(struct logio *io, const char *dir, void (*visit)(const char *name, void *context), void *context)
{
	(void)io;
	return real_io->ops->list(real_io, dir, visit, context);
}

static int
p_rename(struct logio *io, const char *from, const char *to, bool sync)
{
	(void)io;
	DISARMED(rename(real_io, from, to, sync));
}

static int
p_dir_sync(struct logio *io, const char *path)
{
	(void)io;
	DISARMED(dir_sync(real_io, path));
}

static int
p_remove(struct logio *io, const char *path)
{
	(void)io;
	DISARMED(remove(real_io, path));
}

static int
p_free_bytes(struct logio *io, const char *dir, uint64_t *bytes)
{
	(void)io;
	return real_io->ops->free_bytes(real_io, dir, bytes);
}

static void
p_close(struct logio *io)
{
	(void)io;
}

static const struct logio_ops proxy_ops = {
	.name = "proxy", .memory = p_memory, .file_open = p_open, .file_close = p_close_file, .submit = p_submit, .reap = p_reap,
	.read = p_read, .write = p_write, .sync = p_sync, .list = p_list, .rename = p_rename, .dir_sync = p_dir_sync, .remove = p_remove,
	.free_bytes = p_free_bytes, .close = p_close,
};

static uint8_t *region;
static struct block_scratch *scratch;
static struct clock_manual manual;

static void *
region_alloc(size_t bytes, void *context)
{
	(void)context;
	assert_true(bytes <= BLOCKS * BLOCK_BYTES);
	return region;
}

static int
open_channel(struct channel **channel)
{
	static const char *dirs[] = { "/d" };
	static const struct channel_file_config config = { .checkpoint_dir = "/c", .data_dirs = { 1, dirs }, .capacity = 100000, .sync = true,
		.required_space = 1, .max_file_size = 1u << 30, .transaction_capacity = 100, .checkpoint_interval_ms = 1, .sync_interval_s = 5,
		.segment_size = 1, .checkpoint_on_close = true };
	struct channel_env env = { .name = "c1", .clock = &manual.clock, .block_bytes = BLOCK_BYTES, .blocks = BLOCKS, .links_max = 1,
		.alloc = region_alloc };
	struct err err;
	return channel_file_open_on(channel, &config, &env, &proxy, &err);
}

struct progress {
	uint64_t put, done, failed;		/* events; values are their order */
	uint64_t value_of[2000];		/* by number */
	bool settled[2000];			/* by value */
	uint64_t ends[400];			/* values behind each block put */
	bool kept[400];
	uint32_t blocks;
};

static void
reap(struct channel_link *link, struct progress *p)
{
	for (struct completion *c; (c = channel_completion(link));) {
		p->kept[c->tickets[0]] = !c->status;
		if (c->status)
			p->failed += c->events;
		else
			p->done += c->events;
		channel_completion_done(link, c);
	}
}

static void
put(struct channel_link *link, struct progress *p, uint32_t len)
{
	struct block *b = channel_credit(link);
	if (!b || p->blocks == 400)
		return;
	block_open(b, scratch);
	for (int i = 0; i < 3; i++) {
		uint8_t body[1000] = { 0 };
		memcpy(body, &p->put, sizeof p->put);
		struct event e = { .body = body, .body_len = len, .time_ns = 1000 };
		assert_int_equal(block_put(b, 0, &e), 0);
		p->put++;
	}
	p->ends[p->blocks] = p->put;
	(void)block_note_ticket(b, p->blocks++);
	block_seal(b);
	channel_submit(link, &b);
}

static void
taken(const struct channel_ops *ops, const struct span *s, struct progress *p)
{
	struct span_cursor cursor = { { 0 } };
	struct event_view e;
	while (ops->span_next(s, &cursor, &e)) {
		assert_true(e.number < 2000);
		memcpy(&p->value_of[e.number], e.body, sizeof p->value_of[0]);
	}
}

static void
settled(struct progress *p, uint64_t first, uint64_t end)
{
	for (uint64_t n = first; n < end; n++)
		p->settled[p->value_of[n]] = true;
}

/* One run of everything: open, put, take, settle in parts, release, close. Armed in every call into the channel. */
static void
scenario(struct progress *p)
{
	struct channel *channel;
	struct channel_link *link;
	struct taker *taker;
	struct err err;
	armed = true;
	if (open_channel(&channel)) {
		armed = false;
		return;
	}
	const struct channel_ops *ops = channel->ops;
	bool linked = ops->link(channel, "i", -1, &link, &err) == 0, taking = ops->taker_open(channel, "k", &taker, &err) == 0;
	struct span *open[8] = { NULL };
	for (uint32_t i = 0; i < 150 && linked; i++) {
		(void)ops->writer_step(channel, 0);
		armed = false;
		put(link, p, 300 + i % 3 * 300);
		reap(link, p);
		armed = true;
		(void)ops->writer_step(channel, 0);
		clock_manual_advance(&manual, NS_PER_MS);
		if (!taking || i % 2 || i < 30)
			continue;
		struct span *s;
		if (ops->take(taker, 7, UINT64_MAX, 0, &s) || !s)
			continue;
		armed = false;
		taken(ops, s, p);
		armed = true;
		uint64_t first = s->first, end = first + s->events;
		if (!open[i % 8]) {
			open[i % 8] = s;
			ops->span_release(taker, s);
			continue;
		}
		struct event_range set = { .first = open[i % 8]->first + 1, .count = 2 };
		uint64_t old = open[i % 8]->first, old_end = old + open[i % 8]->events;
		if (i % 3) {
			old = set.first < old_end ? set.first : old_end;
			old_end = set.first + 2 < old_end ? set.first + 2 : old_end;
		}
		if (ops->settle(taker, open[i % 8], SETTLE_COMMIT, i % 3 ? &set : NULL, i % 3 ? 1 : 0) == 0)
			settled(p, old, old_end);
		else
			(void)ops->settle(taker, open[i % 8], SETTLE_ROLLBACK, NULL, 0);
		open[i % 8] = NULL;
		if (ops->settle(taker, s, SETTLE_COMMIT, NULL, 0) == 0 || ops->settle(taker, s, SETTLE_COMMIT, NULL, 0) == 0)
			settled(p, first, end);
	}
	for (uint32_t i = 0; i < 50 && !ops->idle(channel); i++) {	/* a full disk and a failed extent are tried again after a while */
		clock_manual_advance(&manual, 100 * NS_PER_MS);
		(void)ops->writer_step(channel, 0);
	}
	armed = false;
	if (linked)
		reap(link, p);
	armed = true;
	if (taking)
		ops->taker_close(taker);
	ops->close(channel);
	armed = false;
}

/* Everything acknowledged is there or was settled; in order, once, nothing else. */
static void
judge(struct progress *p)
{
	struct channel *channel;
	struct taker *taker;
	struct err err;
	assert_int_equal(open_channel(&channel), 0);
	const struct channel_ops *ops = channel->ops;
	assert_int_equal(ops->taker_open(channel, "k", &taker, &err), 0);
	static bool there[2000];
	memset(there, 0, sizeof there);
	struct span *s;
	int64_t last = -1;
	uint64_t count = 0, unsettled = ops->unsettled(channel);
	while (ops->take(taker, 100, UINT64_MAX, 0, &s) == 0 && s) {
		struct span_cursor cursor = { { 0 } };
		struct event_view e;
		while (ops->span_next(s, &cursor, &e)) {
			uint64_t value;
			memcpy(&value, e.body, sizeof value);
			assert_true(value < p->put && (int64_t)value > last);
			last = (int64_t)value;
			there[value] = true;
			count++;
		}
		assert_int_equal(ops->settle(taker, s, SETTLE_COMMIT, NULL, 0), 0);
	}
	assert_int_equal(count, unsettled);
	assert_int_equal(ops->unsettled(channel), 0);
	for (uint32_t b = 0; b < p->blocks; b++)
		for (uint64_t v = b ? p->ends[b - 1] : 0; v < p->ends[b]; v++) {
			assert_true(there[v] || p->settled[v] || !p->kept[b]);
			p->settled[v] = true;
		}
	ops->taker_close(taker);
	ops->close(channel);
}

static bool
one(uint64_t n, unsigned kinds, bool cut)
{
	struct logio_mem *mem = logio_mem_new();
	static struct progress p;
	p = (struct progress){ .put = 0 };
	real_io = logio_mem_io(mem);
	proxy.ops = &proxy_ops;
	clock_manual_init(&manual, NS_PER_S, NS_PER_S);
	fired = false;
	countdown = UINT64_MAX;
	if (kinds)
		logio_mem_fail_nth(mem, kinds, n);
	else
		countdown = n;
	scenario(&p);
	countdown = UINT64_MAX;
	bool reached = kinds ? logio_mem_fired(mem) : fired;
	logio_mem_fail_nth(mem, 0, 0);
	if (cut)
		logio_mem_power_off(mem, n);
	judge(&p);
	scenario(&p);		/* the log goes on */
	judge(&p);
	logio_mem_free(mem);
	return reached;
}

static void
every(unsigned kinds, const char *name, uint64_t least)
{
	for (int cut = 0; cut < 2; cut++) {
		uint64_t n = 0;
		while (one(n, kinds, cut))
			n++;
		print_message("%s: %llu, each failed once%s\n", name, (unsigned long long)n, cut ? ", with a power cut after" : "");
		assert_true(n >= least);
	}
}

static void
test_allocations(void **state)
{
	(void)state;
	every(0, "allocations", 30);
}

static void
test_disk(void **state)
{
	(void)state;
	every(LOGIO_MEM_WRITE, "writes", 150);
	every(LOGIO_MEM_SYNC, "syncs", 150);
	every(LOGIO_MEM_READ, "reads", 5);
	every(LOGIO_MEM_OPEN, "openings", 5);
	every(LOGIO_MEM_RENAME, "renamings", 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_allocations), cmocka_unit_test(test_disk) };
	log_set_level((enum log_level)-1);
	region = aligned_alloc(4096, BLOCKS * BLOCK_BYTES);
	if (!region || block_scratch_init(&scratch, BLOCK_BYTES))
		return 1;
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	block_scratch_free(scratch);
	free(region);
	return rc;
}
