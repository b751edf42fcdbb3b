/* spillablememory: the promises of every channel, with events in memory and on disk in one order; when it goes to disk and back; what a
 * restart finds. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "channel/channel_file.h"
#include "tests/conformance/channel_conformance.h"

static const char *dirs[] = { "/d" };
static struct channel_spillable_config config = {
	.file = { .checkpoint_dir = "/c", .data_dirs = { 1, dirs }, .sync = true, .required_space = 1, .max_file_size = 1u << 30,
		  .transaction_capacity = 100, .checkpoint_interval_ms = 1, .sync_interval_s = 5, .segment_size = 1, .ledger_bytes = 1u << 20,
		  .checkpoint_on_close = true },
	.threshold = 5, .byte_percentage = 20, .average = 500,
};
static uint64_t memory_part;		/* events; the rest of the capacity is on disk */
static struct clock_manual now;

static int
open_parts(struct channel_case *c, const struct channel_env *env, uint64_t capacity, struct channel **channel, struct err *err)
{
	struct channel_spillable_config mine = config;
	struct channel_env own = *env;
	own.clock = &now.clock;
	mine.memory_capacity = memory_part < capacity ? memory_part : capacity;
	mine.overflow_capacity = capacity - mine.memory_capacity;
	return channel_spillable_open_on(channel, &mine, &own, logio_mem_io(c->context), err);
}

static void
clean(struct channel_case *c)
{
	logio_mem_free(c->context);
	c->context = logio_mem_new();
}

static void
conform(uint64_t memory)
{
	struct channel_case c = { .open = open_parts, .clean = clean, .context = logio_mem_new() };
	memory_part = memory;
	channel_conformance(&c);
	logio_mem_free(c.context);
}

static void
all_in_memory(void **state)
{
	(void)state;
	conform(UINT64_MAX);
}

static void
all_on_disk(void **state)
{
	(void)state;
	conform(0);
}

static void
some_in_memory(void **state)
{
	(void)state;
	conform(3000);
	conform(300);
}

static uint64_t
metric(const char *name)
{
	return metrics_sum("CHANNEL", "c1", name);
}

/* Takes up to n events that begin with `value`; returns the value behind them. */
static uint64_t
take_some(struct rig *r, struct taker *t, uint64_t value, uint32_t n)
{
	struct span *s;
	while (n && r->channel->ops->take(t, n, UINT64_MAX, 0, &s) == 0 && s) {
		struct span_cursor cursor = { { 0 } };
		struct event_view e;
		while (r->channel->ops->span_next(s, &cursor, &e))
			assert_int_equal(event_value(&e), value++);
		n -= s->events;
		assert_int_equal(r->channel->ops->settle(t, s, SETTLE_COMMIT, NULL, 0), 0);
	}
	return value;
}

static void
spills_and_comes_back(void **state)
{
	(void)state;
	struct channel_case c = { .open = open_parts, .clean = clean, .context = logio_mem_new() };
	struct rig r;
	struct taker *t;
	struct err err;
	memory_part = 100;
	config.overflow_timeout_s = 3;
	rig_open(&r, &c, 1000);
	assert_int_equal(r.channel->ops->taker_open(r.channel, "k1", &t, &err), 0);
	assert_false(r.channel->ops->promise(r.channel).durable);
	assert_null(r.channel->ops->ledger(r.channel));
	(void)r.channel->ops->writer_step(r.channel, 0);
	while (rig_put(&r, 10, 64))
		rig_settle_down(&r);
	/* Memory is full: for three seconds nothing is taken in. */
	uint64_t first = r.put;
	assert_true(first >= 90 && first <= 100);
	metric("ChannelSize");
	for (int i = 0; i < 29; i++) {
		clock_manual_advance(&now, 100 * NS_PER_MS);
		rig_settle_down(&r);
		assert_int_equal(rig_put(&r, 10, 64), 0);
	}
	clock_manual_advance(&now, 200 * NS_PER_MS);
	rig_settle_down(&r);
	rig_settle_down(&r);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(rig_put(&r, 10, 64), 10);
		rig_settle_down(&r);
	}
	assert_int_equal(metric("memory_events"), first);
	assert_int_equal(metric("overflow_events"), 200);
	assert_int_equal(metric("ChannelSize"), first + 200);
	assert_int_equal(metric("spilling"), 1);
	/* A little room in memory is not enough (5 of 100), more is: new events go there while old ones are on disk. */
	uint64_t next = take_some(&r, t, 0, 2);
	rig_settle_down(&r);
	assert_int_equal(metric("spilling"), 1);
	next = take_some(&r, t, next, 60);
	rig_settle_down(&r);
	assert_int_equal(metric("spilling"), 0);
	for (int i = 0; i < 12; i++) {		/* blocks of the disk that were handed out are used up first */
		rig_put(&r, 4, 64);
		rig_settle_down(&r);
	}
	assert_true(metric("memory_events") > first - 62);
	next = take_some(&r, t, next, UINT32_MAX);
	assert_int_equal(next, r.put);
	assert_int_equal(r.channel->ops->unsettled(r.channel), 0);
	r.channel->ops->taker_close(t);
	rig_close(&r);
	logio_mem_free(c.context);
	config.overflow_timeout_s = 0;
}

/* A channel with 300 events, of which its memory has room for 50 or so. */
static void
spill(struct rig *r, struct channel_case *c)
{
	memory_part = 50;
	rig_open(r, c, 1000);
	(void)r->channel->ops->writer_step(r->channel, 0);
	for (int i = 0; i < 60; i++) {
		rig_put(r, 5, 64);
		rig_settle_down(r);
		rig_settle_down(r);
	}
}

/* What was on disk is there after a restart, once, in order; what was in memory is not. */
static void
restart(void **state)
{
	(void)state;
	struct channel_case c = { .open = open_parts, .clean = clean, .context = logio_mem_new() };
	struct rig r;
	struct taker *t;
	struct err err;
	spill(&r, &c);
	uint64_t memory = metric("memory_events"), disk = metric("overflow_events"), put = r.put;
	assert_true(memory >= 40 && disk >= 100 && memory + disk == put);
	assert_int_equal(r.channel->ops->taker_open(r.channel, "k1", &t, &err), 0);
	uint64_t next = take_some(&r, t, 0, (uint32_t)memory + 7);
	r.channel->ops->taker_close(t);
	rig_close(&r);

	rig_open(&r, &c, 1000);
	assert_int_equal(r.channel->ops->unsettled(r.channel), put - next);
	r.next = put;
	(void)r.channel->ops->writer_step(r.channel, 0);
	rig_put(&r, 5, 64);
	rig_settle_down(&r);
	assert_int_equal(r.channel->ops->taker_open(r.channel, "k1", &t, &err), 0);
	next = take_some(&r, t, next, UINT32_MAX);
	assert_int_equal(next, put + 5);
	r.channel->ops->taker_close(t);
	rig_close(&r);
	logio_mem_free(c.context);
}

/* A restart finds settled events in the midst of what is on disk, near its end: what comes behind them is still offered in order, the memory's
 * before the disk's of this run. */
static void
restart_with_hole(void **state)
{
	(void)state;
	struct channel_case c = { .open = open_parts, .clean = clean, .context = logio_mem_new() };
	struct rig r;
	struct taker *t;
	struct span *a, *b;
	struct err err;
	spill(&r, &c);
	uint64_t put = r.put;
	assert_int_equal(r.channel->ops->taker_open(r.channel, "k1", &t, &err), 0);
	uint64_t next = take_some(&r, t, 0, (uint32_t)put - 40);
	assert_int_equal(next, put - 40);
	assert_int_equal(r.channel->ops->take(t, 10, UINT64_MAX, 0, &a), 0);
	assert_int_equal(r.channel->ops->take(t, 20, UINT64_MAX, 0, &b), 0);
	assert_true(a && b && a->events == 10 && b->events == 20);
	assert_int_equal(r.channel->ops->settle(t, b, SETTLE_COMMIT, NULL, 0), 0);
	r.channel->ops->taker_close(t);
	rig_close(&r);

	rig_open(&r, &c, 1000);
	assert_int_equal(r.channel->ops->unsettled(r.channel), 20);
	r.next = put;
	(void)r.channel->ops->writer_step(r.channel, 0);
	for (int i = 0; i < 30; i++) {
		rig_put(&r, 5, 64);
		rig_settle_down(&r);
		rig_settle_down(&r);
	}
	uint64_t all = r.channel->ops->unsettled(r.channel);
	assert_int_equal(all, 20 + r.put);
	assert_true(metric("memory_events") >= 40 && metric("overflow_events") >= 40);
	assert_int_equal(r.channel->ops->taker_open(r.channel, "k1", &t, &err), 0);
	next = take_some(&r, t, put - 40, 10);
	assert_int_equal(next, put - 30);
	next = take_some(&r, t, put - 10, UINT32_MAX);
	assert_int_equal(next, put + r.put);
	assert_int_equal(r.channel->ops->unsettled(r.channel), 0);
	r.channel->ops->taker_close(t);
	rig_close(&r);
	logio_mem_free(c.context);
}

/* The disk fails: what goes there carries an error, what is in memory comes out. */
static void
disk_fails(void **state)
{
	(void)state;
	struct logio_mem *mem = logio_mem_new();
	struct channel_case c = { .open = open_parts, .clean = clean, .context = mem };
	struct rig r;
	struct taker *t;
	struct err err;
	memory_part = 50;
	rig_open(&r, &c, 1000);
	(void)r.channel->ops->writer_step(r.channel, 0);
	logio_mem_fail_after(mem, 0);
	for (int i = 0; i < 40; i++) {
		rig_put(&r, 5, 64);
		rig_settle_down(&r);
		rig_settle_down(&r);
	}
	assert_true(r.failed > 0 && r.done >= 40 && r.done <= 50);
	assert_int_equal(r.failed + r.done, r.put);
	assert_int_equal(r.channel->ops->taker_open(r.channel, "k1", &t, &err), 0);
	assert_int_equal(take_some(&r, t, 0, UINT32_MAX), r.done);
	r.channel->ops->taker_close(t);
	rig_close(&r);
	logio_mem_free(mem);
}

static void
refuse_tell(struct option_report *report, bool fatal, const char *origin, const char *key, const char *text)
{
	(void)report, (void)origin, (void)key, (void)text;
	if (fatal)
		fail_msg("%s: %s", key, text);
}

static void
options(void **state)
{
	(void)state;
	struct channel_spillable_config c = { .average = 0 };
	struct option_values values = { 0 };
	struct option_report report = { refuse_tell };
	struct property props[] = { { "memoryCapacity", "7", "t", false }, { "overflowTimeout", "9", "t", false },
				    { "avgEventSize", "200", "t", false }, { "checkpointDir", "/x", "t", false }, { "keep-alive", "5", "t", false } };
	struct err err = { "" };
	assert_int_equal(option_parse(channel_spillable.options, props, 5, &c, &values, &report), 0);
	assert_int_equal(c.memory_capacity, 7);
	assert_int_equal(c.overflow_capacity, 100000000);
	assert_int_equal(c.overflow_timeout_s, 9);
	assert_int_equal(c.threshold, 5);
	assert_int_equal(c.average, 200);
	assert_string_equal(c.file.checkpoint_dir, "/x");
	assert_int_equal(c.file.transaction_capacity, 10000);
	assert_true(props[4].used);
	assert_int_equal(channel_spillable.check(&c, "c1", &err), 0);
	c.overflow_capacity = 0;
	assert_int_not_equal(channel_spillable.check(&c, "c1", &err), 0);
	option_values_free(&values);
}

int
main(void)
{
	log_set_level(LOG_ERROR);
	clock_manual_init(&now, NS_PER_S, UINT64_C(1790000000) * NS_PER_S);
	const struct CMUnitTest tests[] = { cmocka_unit_test(options), cmocka_unit_test(all_in_memory), cmocka_unit_test(all_on_disk),
					    cmocka_unit_test(some_in_memory), cmocka_unit_test(spills_and_comes_back), cmocka_unit_test(restart), cmocka_unit_test(restart_with_hole),
					    cmocka_unit_test(disk_fails) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
