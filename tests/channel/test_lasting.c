/* What must not grow with a backlog, and what lasts: the start's reads, spans open for hours, what several runners settled, and that a failure
 * is a cut and no hole. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "channel/ledger.h"
#include "tests/channel/file_case.h"

static const char *dirs[] = { "/d" };
static const struct channel_file_config config = { .checkpoint_dir = "/c", .data_dirs = { 1, dirs }, .capacity = 1000000, .sync = true,
	.required_space = 1, .max_file_size = 1u << 30, .transaction_capacity = 100000, .checkpoint_interval_ms = 1000, .sync_interval_s = 5,
	.segment_size = 1u << 20 };
static struct clock_manual manual;
static struct file_place place = { .config = &config, .clock = &manual.clock };

static void
begin(struct logio_mem **mem, struct channel_case *c, struct rig *r)
{
	place.mem = *mem = logio_mem_new();
	*c = file_case(&place);
	clock_manual_init(&manual, NS_PER_S, NS_PER_S);
	rig_open(r, c, 0);
}

/* Time goes by, the writer tends the log. */
static void
pass(struct rig *r, uint32_t seconds)
{
	for (uint32_t i = 0; i < 3; i++) {
		clock_manual_advance(&manual, seconds * NS_PER_S / 3);
		(void)r->channel->ops->writer_step(r->channel, 0);
	}
}

static struct taker *
taker_open(struct rig *r)
{
	struct taker *t;
	struct err err;
	assert_int_equal(r->channel->ops->taker_open(r->channel, "k", &t, &err), 0);
	return t;
}

static struct span *
take(struct rig *r, struct taker *t, uint32_t events)
{
	struct span *s = NULL;
	for (int i = 0; i < 5 && !s; i++)
		assert_int_equal(r->channel->ops->take(t, events, UINT64_MAX, 0, &s), 0);
	return s;
}

/* Whole content of a span, from `value` on. */
static void
span_holds(struct rig *r, const struct span *s, uint64_t value)
{
	struct span_cursor cursor = { { 0 } };
	struct event_view e;
	uint32_t n = 0;
	for (; r->channel->ops->span_next(s, &cursor, &e); n++)
		assert_int_equal(event_value(&e), value + n);
	assert_int_equal(n, s->events);
}

static uint64_t read_bytes;
static const struct logio_ops *real_ops;

static int
counted_read(struct logio *io, struct logio_file *file, uint64_t offset, void *bytes, uint32_t len)
{
	read_bytes += len;
	return real_ops->read(io, file, offset, bytes, len);
}

/* Bytes read by a start, until it can take and give, after a power cut with a backlog of so many blocks of 12 KiB. */
static uint64_t
start_reads(uint32_t blocks, bool ledger)
{
	struct logio_mem *mem;
	struct channel_case c;
	struct rig r;
	begin(&mem, &c, &r);
	if (ledger) {
		struct ledger *l = r.channel->ops->ledger(r.channel);
		struct ledger_link *link;
		struct err err;
		uint64_t number;
		assert_int_equal(ledger_link_open(l, "k", 0, -1, &link, &err), 0);
		struct state_record record = { .class = STATE_FLOW, .key = "a", .key_len = 1, .value = "b", .value_len = 1 };
		assert_int_equal(ledger_note(link, &record, &number), 0);
		rig_settle_down(&r);
		ledger_link_close(link);
	}
	for (uint32_t i = 0; i < blocks; i += 50) {
		rig_fill(&r, 50, 1000);
		pass(&r, 1);
	}
	file_case_die(&r, mem, 5);
	struct logio *io = logio_mem_io(mem);
	struct logio_ops counted = *io->ops;
	real_ops = io->ops;
	counted.read = counted_read;
	io->ops = &counted;
	read_bytes = 0;
	rig_open(&r, &c, 0);
	uint64_t bytes = read_bytes;
	assert_int_equal(r.channel->ops->unsettled(r.channel), blocks * 10);
	struct taker *t = taker_open(&r);
	struct span *s = take(&r, t, 10);
	assert_non_null(s);
	span_holds(&r, s, 0);
	r.channel->ops->settle(t, s, SETTLE_COMMIT, NULL, 0);
	r.channel->ops->taker_close(t);
	io->ops = real_ops;
	rig_close(&r);
	logio_mem_free(mem);
	return bytes;
}

/* A backlog ten times as long costs the start one read of a header for each segment more, and nothing of what stands in them. */
static void
test_start(void **state)
{
	(void)state;
	for (int ledger = 0; ledger < 2; ledger++) {
		uint64_t little = start_reads(200, ledger), much = start_reads(2000, ledger);
		print_message("%sa start reads %llu bytes with 2.4 MB of backlog, %llu with 24 MB\n", ledger ? "with state records, " : "",
			      (unsigned long long)little, (unsigned long long)much);
		assert_true(much < little + (24 << 20) / (1 << 20) * 3 * 4096 + (1 << 20));
	}
}

/* A span stays open for a day while another runner settles 30 segments behind it, in bits and pieces: its events pin the disk and no memory;
 * they come again as they were; what the other settled does not, also after a power cut. */
static void
test_hours(void **state)
{
	(void)state;
	for (int cut = 0; cut < 2; cut++) {
		struct logio_mem *mem;
		struct channel_case c;
		struct rig r;
		begin(&mem, &c, &r);
		rig_fill(&r, 3, 1000);
		const struct channel_ops *ops = r.channel->ops;
		struct taker *slow = taker_open(&r), *quick = taker_open(&r);
		struct span *open = take(&r, slow, 10), *s;
		span_holds(&r, open, 0);
		ops->span_release(slow, open);
		uint64_t number = 10;
		for (int hour = 0; hour < 24; hour++) {		/* 16 blocks of memory: intake would stand still if it were pinned */
			rig_fill(&r, 100, 1000);
			while ((s = take(&r, quick, 7))) {
				assert_int_equal(s->first, number);
				span_holds(&r, s, number);
				number += s->events;
				ops->settle(quick, s, SETTLE_COMMIT, NULL, 0);
			}
			pass(&r, 3600);
		}
		assert_int_equal(number, 24030);
		assert_int_equal(ops->unsettled(r.channel), 10);
		uint64_t len;
		assert_non_null(logio_mem_bytes(mem, "/d/segment-0000000000000000", &len));
		if (cut) {
			ops->taker_close(quick);
			ops->taker_close(slow);
			file_case_die(&r, mem, 5);
			rig_open(&r, &c, 0);
			assert_int_equal(ops->unsettled(r.channel), 10);
			slow = taker_open(&r);
		} else {
			ops->settle(slow, open, SETTLE_ROLLBACK, NULL, 0);
			ops->taker_close(quick);
		}
		open = take(&r, slow, 100);
		assert_non_null(open);
		assert_int_equal(open->events, 10);
		span_holds(&r, open, 0);
		ops->settle(slow, open, SETTLE_COMMIT, NULL, 0);
		assert_null(take(&r, slow, 100));
		for (int i = 0; i < 40; i++)
			pass(&r, 3);
		assert_null(logio_mem_bytes(mem, "/d/segment-0000000000000000", &len));	/* the disk is free again */
		ops->taker_close(slow);
		rig_close(&r);
		logio_mem_free(mem);
	}
}

/* What was filled before the ingress saw a failure fails too, though the disk works again: no event stands behind a hole. */
static void
test_cut_not_hole(void **state)
{
	(void)state;
	struct logio_mem *mem;
	struct channel_case c;
	struct rig r;
	begin(&mem, &c, &r);
	rig_fill(&r, 2, 1000);
	logio_mem_fail_after(mem, 0);
	assert_int_equal(rig_put(&r, 10, 1000), 10);
	for (int i = 0; i < 20; i++)		/* also in new extents: given up */
		(void)r.channel->ops->writer_step(r.channel, 0);
	logio_mem_fail_after(mem, UINT64_MAX);
	for (int i = 0; i < 3; i++) {		/* the ingress has not looked yet */
		assert_int_equal(rig_put(&r, 10, 1000), 10);
		pass(&r, 30);
	}
	assert_int_equal(r.done, 20);
	rig_reap(&r);
	assert_int_equal(r.failed, 40);
	assert_int_equal(r.done, 20);
	r.next = 20;				/* it has: its client sends it again */
	rig_fill(&r, 4, 1000);
	assert_int_equal(r.failed, 40);
	assert_int_equal(r.done, 60);
	file_case_die(&r, mem, 5);
	rig_open(&r, &c, 0);
	struct taker *t = taker_open(&r);
	uint64_t n = 0;
	for (struct span *s; (s = take(&r, t, 100)); r.channel->ops->settle(t, s, SETTLE_COMMIT, NULL, 0)) {
		span_holds(&r, s, n);
		n += s->events;
	}
	assert_int_equal(n, 60);
	r.channel->ops->taker_close(t);
	rig_close(&r);
	logio_mem_free(mem);
}

/* A segment whose beginning cannot be read is waited for once, not at each of the blocks before it: a sink's pauses between tries are seconds. */
static void
test_patience(void **state)
{
	(void)state;
	struct logio_mem *mem;
	struct channel_case c;
	struct rig r;
	begin(&mem, &c, &r);
	rig_fill(&r, 200, 1000);		/* of 12 KiB: 85 in the first segment */
	rig_close(&r);
	logio_mem_bad(mem, "/d/segment-0000000000000001", 0);
	rig_open(&r, &c, 0);
	uint32_t taken = 0, in_vain = 0;
	struct taker *t = taker_open(&r);
	for (struct span *s; taken < 1990 && in_vain < 1000;)
		if (r.channel->ops->take(t, 10, UINT64_MAX, 0, &s) || !s)
			in_vain++;
		else {
			taken += s->events;
			r.channel->ops->settle(t, s, SETTLE_COMMIT, NULL, 0);
		}
	assert_int_equal(taken, 1990);
	assert_int_equal(metrics_sum("CHANNEL", "c1", "damaged_events"), 10);
	assert_in_range(in_vain, 1, 20);
	r.channel->ops->taker_close(t);
	rig_close(&r);
	logio_mem_free(mem);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_start), cmocka_unit_test(test_hours), cmocka_unit_test(test_cut_not_hole),
					    cmocka_unit_test(test_patience) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
