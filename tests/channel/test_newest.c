/* The newest group damaged: whether it is damage or a torn tail is told by what says how far the log was durable: a checkpoint, or the header
 * of a block behind it. And segments that a backlog leaves behind are given back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "channel/format.h"
#include "tests/channel/file_case.h"

#define SEGMENT "/d/segment-0000000000000000"

static const char *dirs[] = { "/d" };
static struct channel_file_config config = { .checkpoint_dir = "/c", .data_dirs = { 1, dirs }, .capacity = 100000, .sync = true,
	.required_space = 1, .max_file_size = 1u << 30, .transaction_capacity = 100, .checkpoint_interval_ms = 3600000, .sync_interval_s = 5,
	.segment_size = 2u << 20 };
static struct clock_manual manual;
static struct file_place place = { .config = &config, .clock = &manual.clock };

static void
fill(struct rig *r, uint32_t blocks, uint32_t body)
{
	rig_fill(r, blocks, body);
	(void)r->channel->ops->writer_step(r->channel, 0);
}

/* Takes and commits all there is: dense from `first` on, but for `missing` numbers from `hole` on. Returns the end. */
static uint64_t
content(struct rig *r, uint64_t first, uint64_t hole, uint64_t missing)
{
	const struct channel_ops *ops = r->channel->ops;
	struct taker *t;
	struct err err;
	struct span *s;
	ops->taker_open(r->channel, "k1", &t, &err);
	for (int dry = 0; dry < 5;) {
		assert_int_equal(ops->take(t, 1000, UINT64_MAX, 0, &s), 0);
		if (!s) {
			dry++;
			continue;
		}
		struct span_cursor cursor = { { 0 } };
		struct event_view e;
		while (ops->span_next(s, &cursor, &e)) {
			if (first == hole)
				first += missing;
			assert_int_equal(e.number, first);
			assert_int_equal(event_value(&e), first++);
		}
		ops->settle(t, s, SETTLE_COMMIT, NULL, 0);
	}
	ops->taker_close(t);
	return first;
}

static void
count_asides(const char *name, void *context)
{
	*(uint32_t *)context += strncmp(name, "aside-", 6) == 0;
}

static uint32_t
files(struct logio_mem *mem, void (*visit)(const char *name, void *context))
{
	uint32_t n = 0;
	logio_mem_io(mem)->ops->list(logio_mem_io(mem), "/d", visit, &n);
	return n;
}

static void
begin(struct logio_mem **mem, struct channel_case *c, struct rig *r)
{
	place.mem = *mem = logio_mem_new();
	*c = file_case(&place);
	clock_manual_init(&manual, NS_PER_S, NS_PER_S);
	rig_open(r, c, 0);
}

/* The process dies (what it wrote stays), or the power goes after a quiet moment; then the newest group is found damaged: it was durable,
 * and that is known without any later group and long before checkpointInterval. */
static void
newest_damaged(bool power, size_t at)
{
	struct logio_mem *mem;
	struct channel_case c;
	struct rig r;
	uint64_t len;
	begin(&mem, &c, &r);
	fill(&r, 5, 100);
	if (power) {
		for (int i = 0; i < 4; i++) {
			clock_manual_advance(&manual, NS_PER_S);
			(void)r.channel->ops->writer_step(r.channel, 0);
		}
		logio_mem_abort(mem);
		logio_mem_cut_after(mem, 0);
	}
	rig_close(&r);
	if (power)
		logio_mem_power_off(mem, 7);
	logio_mem_bytes(mem, SEGMENT, &len)[4 * 4096 + at] ^= 1;
	rig_open(&r, &c, 0);
	assert_int_equal(content(&r, 0, UINT64_MAX, 0), 40);
	assert_int_equal(metrics_sum("CHANNEL", "c1", "damage"), 1);
	assert_int_equal(metrics_sum("CHANNEL", "c1", "damaged_events"), 10);
	assert_true(files(mem, count_asides) >= 1);
	r.next = 50;			/* no number is given twice */
	fill(&r, 2, 100);
	rig_close(&r);
	rig_open(&r, &c, 0);
	assert_int_equal(content(&r, 50, UINT64_MAX, 0), 70);
	assert_int_equal(r.channel->ops->unsettled(r.channel), 0);
	rig_close(&r);
	logio_mem_free(mem);
}

static void
test_newest(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++)
		newest_damaged(i & 1, i & 2 ? 700 : 30);	/* its payload, its header */
}

static void
forget_checkpoints(struct logio_mem *mem)
{
	static const char *const names[] = { "/c/checkpoint-0", "/c/checkpoint-1", "/c/checkpoint-soft" };
	uint64_t len;
	for (int i = 0; i < 3; i++)
		logio_mem_bytes(mem, names[i], &len)[9] ^= 1;
}

/* No checkpoint tells: the header of a block that is damaged itself says that the group before it was durable. The last one is cut, and
 * its bytes are kept. */
static void
test_header_tells(void **state)
{
	(void)state;
	struct logio_mem *mem;
	struct channel_case c;
	struct rig r;
	uint64_t len;
	begin(&mem, &c, &r);
	fill(&r, 5, 100);
	rig_close(&r);
	forget_checkpoints(mem);
	uint8_t *log = logio_mem_bytes(mem, SEGMENT, &len);
	log[3 * 4096 + 30] ^= 1;
	log[4 * 4096 + 700] ^= 1;
	rig_open(&r, &c, 0);
	assert_int_equal(metrics_sum("CHANNEL", "c1", "damage"), 1);
	assert_int_equal(metrics_sum("CHANNEL", "c1", "damaged_events"), 10);
	assert_int_equal(files(mem, count_asides), 2);
	assert_int_equal(content(&r, 0, UINT64_MAX, 0), 30);
	r.next = 40;
	fill(&r, 2, 100);
	rig_close(&r);
	forget_checkpoints(mem);
	rig_open(&r, &c, 0);		/* the same from the oldest group on, over the damage */
	assert_int_equal(content(&r, 0, 30, 10), 60);
	rig_close(&r);
	logio_mem_free(mem);
}

/* Nothing says that the newest group was durable: it is cut without a word of damage; but its bytes are kept, whatever of it is damaged. */
static void
test_doubtful_kept(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++) {
		static const size_t at[] = { 700, 30, 1 };	/* payload, header, magic */
		struct logio_mem *mem;
		struct channel_case c;
		struct rig r;
		uint64_t len;
		begin(&mem, &c, &r);
		fill(&r, 5, 100);
		rig_close(&r);
		forget_checkpoints(mem);
		uint8_t *log = logio_mem_bytes(mem, SEGMENT, &len), was[4096];
		log[4 * 4096 + at[i]] ^= 1;
		memcpy(was, log + 4 * 4096, sizeof was);
		rig_open(&r, &c, 0);
		assert_int_equal(metrics_sum("CHANNEL", "c1", "damage"), 0);
		assert_int_equal(files(mem, count_asides), 1);
		uint8_t *aside = logio_mem_bytes(mem, "/d/aside-0000000000004000-1", &len);
		assert_true(aside && len >= 4096);
		assert_memory_equal(aside, was, 4096);
		assert_int_equal(content(&r, 0, UINT64_MAX, 0), 40);
		rig_close(&r);
		logio_mem_free(mem);
	}
}

static void
count_segments(const char *name, void *context)
{
	*(uint32_t *)context += strncmp(name, "segment-0", 9) == 0;
}

/* A backlog of 12 segments drains: all but penstock.spareBytes of them, and what is written now, go back to the file system; the log goes on. */
static void
test_given_back(void **state)
{
	(void)state;
	for (uint64_t spare = 0; spare <= 6u << 20; spare += 6u << 20) {
		struct logio_mem *mem;
		struct channel_case c;
		struct rig r;
		config.spare_bytes = spare;
		begin(&mem, &c, &r);
		fill(&r, 2000, 1000);
		uint32_t most = files(mem, count_segments);
		assert_true(most >= 12);
		assert_int_equal(content(&r, 0, UINT64_MAX, 0), 20000);
		for (int i = 0; i < 20; i++) {
			clock_manual_advance(&manual, NS_PER_S);
			(void)r.channel->ops->writer_step(r.channel, 0);
		}
		assert_int_equal(files(mem, count_segments), spare ? 3 + 2 : 1 + 2);
		fill(&r, 300, 1000);
		rig_close(&r);
		rig_open(&r, &c, 0);
		assert_int_equal(content(&r, 20000, UINT64_MAX, 0), 23000);
		rig_close(&r);
		logio_mem_free(mem);
	}
	config.spare_bytes = 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_newest), cmocka_unit_test(test_header_tells), cmocka_unit_test(test_doubtful_kept),
					    cmocka_unit_test(test_given_back) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
