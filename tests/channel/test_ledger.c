/* State records: coding of event sets, the limit of live bytes, the largest records, a full disk, a channel without a disk. Power cuts and
 * long lives: test_ledger_cuts.c. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "tests/channel/ledger_play.h"

static void
sets(void **state)
{
	(void)state;
	uint64_t seed = 7;
	for (int round = 0; round < 200; round++) {
		static uint8_t bytes[200 * SET_RUN_MAX];
		struct event_range in[200], out;
		struct set_writer w;
		struct set_reader r;
		uint64_t at = next_random(&seed) % 1000000, events = 0;
		uint32_t n = (uint32_t)(next_random(&seed) % 200), i = 0;
		set_begin(&w, bytes, sizeof bytes);
		for (uint32_t k = 0; k < n; k++) {
			in[k] = (struct event_range){ at, 1 + next_random(&seed) % (k % 3 ? 1 : 500) };
			for (uint64_t e = 0; e < in[k].count; e += 100)	/* touching pieces become one run */
				set_add(&w, at + e, in[k].count - e < 100 ? in[k].count - e : 100);
			events += in[k].count;
			at += in[k].count + 1 + next_random(&seed) % 90;
		}
		uint32_t len = set_end(&w);
		assert_false(w.full);
		assert_int_equal(w.events, events);
		set_open(&r, bytes, len);
		while (set_next(&r, &out)) {
			assert_int_equal(out.first, in[i].first);
			assert_int_equal(out.count, in[i++].count);
		}
		assert_false(r.bad);
		assert_int_equal(i, n);
		for (uint32_t cut = 1; cut < len && cut < 40; cut++) {	/* any bytes are read without harm */
			set_open(&r, bytes, len - cut);
			while (set_next(&r, &out))
				;
		}
	}
	uint8_t small[SET_RUN_MAX + 1];
	struct set_writer w;
	set_begin(&w, small, sizeof small);
	for (int i = 0; i < 100; i++)
		set_add(&w, (uint64_t)i * 10, 1);
	assert_int_equal(set_end(&w), 0);
	assert_true(w.full);
	const uint8_t wrong[] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0xff };
	struct set_reader r;
	struct event_range run;
	set_open(&r, wrong, sizeof wrong);
	while (set_next(&r, &run))
		;
	assert_true(r.bad);
}

/* The limit holds for new records; what ends others passes. */
static void
limit(void **state)
{
	(void)state;
	static struct play play;
	struct play *p = &play;
	play_limited = 20000;
	play_begin(p);
	play_limited = 0;
	uint64_t number, key = 0, value[50] = { 0 };
	struct state_record r = { .class = STATE_FLOW, .key = &key, .key_len = 8, .value = value, .value_len = sizeof value };
	int rc;
	while ((rc = ledger_note(p->plain, &r, &number)) == 0) {
		key++;
		settle_down(p);
	}
	assert_int_equal(rc, -ENOSPC);
	assert_true(key > 20 && key < 50);
	struct consumer_record intent = { .state = CONSUMER_INTENT, .more = (const uint8_t *)value, .more_len = sizeof value };
	assert_int_equal(ledger_note_consumer(p->sink, "k1", 2, 1, &intent, &number), -ENOSPC);
	key = 0;
	assert_int_equal(ledger_remove(p->plain, STATE_FLOW, &key, 8, &number), 0);
	settle_down(p);
	assert_int_equal(ledger_note_consumer(p->sink, "k1", 2, 1, &intent, &number), 0);
	settle_down(p);
	assert_int_equal(ledger_resolve(p->sink, "k1", 2, CONSUMER_ABANDON, NULL, 0, &number), 0);
	assert_int_equal(ledger_resolve(p->sink, "k2", 2, CONSUMER_DONE, NULL, 0, &number), -ENOENT);
	value[0] = 1;
	r.value_len = LEDGER_VALUE_MAX + 1;
	assert_int_equal(ledger_note(p->plain, &r, &number), -ENOSPC);
	play_end(p);
}

/* The largest records there may be, more of them than the ring holds at a time; in small segments, and in those of the default size. */
static void
large_in(uint64_t segment_bytes)
{
	static struct play play;
	struct play *p = &play;
	play_segment_bytes = segment_bytes;
	play_begin(p);
	uint32_t most = ledger_value_max(p->ledger);
	assert_true(segment_bytes ? most == LEDGER_VALUE_MAX : most < 1u << 20);
	uint8_t *value = malloc(most + 1), *back = malloc(most + 1);
	uint64_t number = 0;
	for (uint64_t key = 0; key < 5; key++) {
		for (uint32_t i = 0; i < most; i++)
			value[i] = (uint8_t)(i * 31 + key);
		struct state_record r = { .class = STATE_FLOW, .key = &key, .key_len = 8, .value = value, .value_len = most + 1 };
		assert_int_equal(ledger_note(p->sink, &r, &number), -EMSGSIZE);
		r.value_len = most;
		while (ledger_note(p->sink, &r, &number) == -EAGAIN)
			(void)p->r.channel->ops->writer_step(p->r.channel, 0);
	}
	settle_down(p);
	assert_int_equal(ledger_durable(p->sink), number);
	logio_mem_cut_after(p->mem, 0);
	play_close(p);
	logio_mem_power_off(p->mem, 1);
	play_open(p);
	for (uint64_t key = 0; key < 5; key++) {
		assert_int_equal(ledger_get(p->ledger, STATE_FLOW, &key, 8, back, most + 1, NULL), most);
		for (uint32_t i = 0; i < most; i++)
			if (back[i] != (uint8_t)(i * 31 + key))
				fail_msg("byte %u of record %llu", i, (unsigned long long)key);
	}
	free(value);
	free(back);
	play_end(p);
	play_segment_bytes = 0;
}

static void
large(void **state)
{
	(void)state;
	large_in(0);
	large_in(64u << 20);
}

/* ---- a million keys ---- */

#define KEYS 1000000u

static uint64_t
key_value(uint64_t key, int updates)	/* every 100th was noted again each time */
{
	return key % 100 ? key + 1 : key + 1 + (uint64_t)updates * KEYS;
}

static void
keys_check(struct play *p, int updates)
{
	assert_int_equal(metric("records"), KEYS - KEYS / 1000);
	for (uint64_t key = 0; key < KEYS; key++) {
		uint64_t value;
		if (key % 1000 == 7)
			assert_int_equal(ledger_get(p->ledger, STATE_FLOW, &key, 8, &value, 8, NULL), -ENOENT);
		else
			check_key(p, key, key_value(key, updates));
	}
}

static void
keys_update(struct play *p, int updates)
{
	for (uint64_t key = 0; key < KEYS; key += 100)
		note_key(p, key, key_value(key, updates));
	settle_down(p);
}

static void
power_off(struct play *p)
{
	logio_mem_abort(p->mem);
	logio_mem_cut_after(p->mem, 0);
	play_close(p);
	logio_mem_power_off(p->mem, 3);
}

/* The snapshot has what is live and no more, and its size is told; a start from it and the log behind it has every key, and so has one
 * from the log alone when both snapshots are damaged. */
static void
million(void **state)
{
	(void)state;
	static struct play play;
	struct play *p = &play;
	uint64_t number, len;
	play_segment_bytes = 64u << 20;
	play_at_close = true;
	play_begin(p);
	for (uint64_t key = 0; key < KEYS; key++)
		note_key(p, key, key_value(key, 0));
	for (uint64_t key = 7; key < KEYS; key += 1000)
		while (ledger_remove(p->plain, STATE_FLOW, &key, 8, &number) == -EAGAIN)
			(void)p->r.channel->ops->writer_step(p->r.channel, 0);
	settle_down(p);
	keys_check(p, 0);
	assert_in_range(metric("bytes"), 16 * KEYS, 160 * KEYS);
	play_close(p);			/* in order: a snapshot of all */
	play_at_close = false;
	play_open(p);
	keys_check(p, 0);
	keys_update(p, 1);
	power_off(p);
	uint64_t largest = 0;
	for (int i = 0; i < 2; i++)
		if (logio_mem_bytes(p->mem, i ? "/c/ledger-1" : "/c/ledger-0", &len) && len > largest)
			largest = len;
	assert_in_range(largest, 20 * KEYS, 40 * KEYS);
	play_open(p);
	keys_check(p, 1);
	keys_update(p, 2);
	power_off(p);
	for (int i = 0; i < 2; i++)
		if (logio_mem_bytes(p->mem, i ? "/c/ledger-1" : "/c/ledger-0", &len))
			logio_mem_rot(p->mem, i ? "/c/ledger-1" : "/c/ledger-0", 50, 1);
	play_open(p);
	keys_check(p, 2);
	play_end(p);
	play_segment_bytes = 0;
}

/* The disk is full of events: a sink that notes an INTENT and a DONE for each file drains it all the same, and intake goes on. */
static void
full_disk(void **state)
{
	(void)state;
	static struct play play;
	struct play *p = &play;
	play_begin(p);
	note_key(p, 1, 1);
	settle_down(p);		/* there is a ledger: its reserve is made */
	uint64_t number, len;
	assert_non_null(logio_mem_bytes(p->mem, "/d/segment-reserve", &len));
	logio_mem_space(p->mem, 20u << 20);
	for (int i = 0; i < 4000; i++) {
		(void)p->r.channel->ops->writer_step(p->r.channel, 0);
		rig_put(&p->r, 3, 4000);
		(void)p->r.channel->ops->writer_step(p->r.channel, 0);
		rig_reap(&p->r);
	}
	uint64_t full = p->r.put, acknowledged = p->r.done, files = 0;	/* numbers begin at 0 */
	assert_true(acknowledged > 1000 && acknowledged < 5000);
	assert_int_equal(p->r.failed, 0);
	logio_mem_space(p->mem, 19u << 20);	/* somebody else takes what was kept free */
	/* Every file has events of every segment: nothing is free before the last one is done. */
	struct span *s, *spans[400];
	const struct channel_ops *ops = p->r.channel->ops;
	uint32_t span_count = 0;
	while (ops->take(p->taker, 100, UINT64_MAX, 0, &s) == 0 && s) {
		ops->span_release(p->taker, s);
		assert_true(span_count < 400);
		spans[span_count++] = s;
	}
	uint8_t *set = malloc(20000);
	for (; files < 28; files++) {
		char key[16];
		struct set_writer w;
		set_begin(&w, set, 20000);
		for (uint64_t i = files; i < acknowledged; i += 28)
			set_add(&w, i, 1);
		struct consumer_record intent = { .state = CONSUMER_INTENT, .set = set, .set_len = set_end(&w) };
		assert_int_equal(w.events, (acknowledged - files + 27) / 28);
		snprintf(key, sizeof key, "k1/%08u", (unsigned)files);
		assert_int_equal(ledger_note_consumer(p->sink, key, (uint16_t)strlen(key), files, &intent, &number), 0);
		settle_down(p);
		assert_int_equal(ledger_durable(p->sink), number);
		assert_int_equal(ledger_resolve(p->sink, key, (uint16_t)strlen(key), CONSUMER_DONE, NULL, 0, &number), 0);
		settle_down(p);
		assert_int_equal(ledger_durable(p->sink), number);
	}
	free(set);
	assert_null(logio_mem_bytes(p->mem, "/d/segment-reserve", &len));	/* it was needed */
	assert_int_equal(p->r.done, acknowledged);
	for (uint32_t i = 0; i < span_count; i++)
		ops->settle(p->taker, spans[i], SETTLE_COMMIT, NULL, 0);
	print_message("%llu events on a full disk, drained by %llu files\n", (unsigned long long)acknowledged, (unsigned long long)files);
	for (int i = 0; i < 200; i++) {
		usleep(1000);
		(void)ops->writer_step(p->r.channel, 0);
		rig_put(&p->r, 3, 4000);
		(void)ops->writer_step(p->r.channel, 0);
		rig_reap(&p->r);
	}
	assert_true(p->r.done > full);
	assert_non_null(logio_mem_bytes(p->mem, "/d/segment-reserve", &len));
	assert_int_equal(p->r.failed, 0);
	play_end(p);
}

/* A write fails, and behind the fence only the first of four groups finds room on the disk. The records that were gathered with the events of the others pass
 * these by, each in its turn: what is noted later comes behind them. */
static void
full_disk_order(void **state)
{
	(void)state;
	static struct play play;
	struct play *p = &play;
	static const uint32_t blocks[] = { 4, 4, 4, 0 };
	uint64_t left, failed = metrics_sum("LEDGER", "c1", "failed");
	play_segment_bytes = 8 * 16384;
	play_begin(p);
	const struct channel_ops *ops = p->r.channel->ops;
	struct logio *io = logio_mem_io(p->mem);
	note_key(p, 1, 1);
	settle_down(p);
	logio_mem_hold(p->mem, true);
	for (uint32_t g = 0; g < 4; g++) {
		note_key(p, 1, 2 + g);
		for (uint32_t i = 0; i < blocks[g]; i++)
			assert_int_equal(rig_put(&p->r, 15, 1000), 15);
		(void)ops->writer_step(p->r.channel, 0);
	}
	assert_int_equal(io->ops->free_bytes(io, "/d", &left), 0);
	logio_mem_space(p->mem, (UINT64_C(1) << 40) - left + 8 * 16384 + 4096);	/* a segment more */
	logio_mem_fail_nth(p->mem, LOGIO_MEM_SYNC | LOGIO_MEM_WRITE, 0);
	while (logio_mem_complete(p->mem, 0))
		;
	assert_true(logio_mem_fired(p->mem));
	logio_mem_hold(p->mem, false);
	for (int i = 0; i < 20; i++) {
		settle_down(p);
		rig_reap(&p->r);
	}
	assert_int_equal(metrics_sum("CHANNEL", "c1", "fences"), 1);
	assert_int_equal(metrics_sum("CHANNEL", "c1", "disk_full"), 1);
	assert_int_equal(p->r.done, 4 * 15);
	check_key(p, 1, 5);
	note_key(p, 1, 6);
	settle_down(p);
	check_key(p, 1, 6);
	assert_int_equal(p->r.done, 4 * 15);
	logio_mem_space(p->mem, UINT64_C(1) << 40);
	for (int i = 0; i < 400 && p->r.done < p->r.put; i++) {
		(void)ops->writer_step(p->r.channel, NS_PER_MS);
		rig_reap(&p->r);
	}
	assert_int_equal(p->r.done, 12 * 15);
	assert_int_equal(metrics_sum("LEDGER", "c1", "failed"), failed);
	check_key(p, 1, 6);
	play_close(p);
	play_open(p);
	check_key(p, 1, 6);
	assert_int_equal(p->r.channel->ops->unsettled(p->r.channel), 12 * 15);
	play_end(p);
	play_segment_bytes = 0;
}

static void
memory_channel(void **state)
{
	(void)state;
	struct channel *channel;
	struct err err = { "" };
	uint8_t config_bytes[1024] = { 0 };
	struct option_values values = { 0 };
	struct option_report report = { 0 };
	assert_int_equal(option_parse(channel_memory.options, NULL, 0, config_bytes, &values, &report), 0);
	struct channel_env env = { .name = "c1", .clock = &clock_system, .block_bytes = 16384, .blocks = 16, .links_max = 1 };
	assert_int_equal(channel_memory.open(&channel, config_bytes, &env, &err), 0);
	assert_false(channel->ops->promise(channel).notes);
	struct ledger *ledger = channel->ops->ledger(channel);
	struct ledger_link *link;
	uint64_t number, order;
	assert_int_equal(ledger_link_open(ledger, "k1", 0, -1, &link, &err), 0);
	struct consumer_record intent = { .state = CONSUMER_INTENT, .more = (const uint8_t *)"x", .more_len = 1 };
	assert_int_equal(ledger_note_consumer(link, "a", 1, 7, &intent, &number), 0);
	assert_true(ledger_durable(link) >= number && !ledger_status(link));
	uint8_t value[16];
	assert_int_equal(ledger_get(ledger, STATE_CONSUMER, "a", 1, value, sizeof value, &order), 3);
	assert_int_equal(order, 7);
	assert_int_equal(ledger_resolve(link, "a", 1, CONSUMER_DONE, NULL, 0, &number), 0);
	assert_int_equal(ledger_remove(link, STATE_CONSUMER, "a", 1, &number), 0);
	assert_int_equal(ledger_get(ledger, STATE_CONSUMER, "a", 1, value, sizeof value, &order), -ENOENT);
	ledger_link_close(link);
	channel->ops->close(channel);
	option_values_free(&values);
}

int
main(void)
{
	log_set_level(LOG_ERROR);
	const struct CMUnitTest tests[] = { cmocka_unit_test(sets), cmocka_unit_test(large), cmocka_unit_test(million), cmocka_unit_test(limit), cmocka_unit_test(full_disk),
					    cmocka_unit_test(full_disk_order), cmocka_unit_test(memory_channel) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
