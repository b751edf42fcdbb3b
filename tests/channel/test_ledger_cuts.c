/* State records: at every cut point of short runs what comes back is the state after some number of the notes, not before those that
 * were durable; events of DONE are never offered again, those of an INTENT wait until it is resolved. In long lives live records outlive
 * their segments, with any of the snapshots and with none. Built with a mistake (CHANNEL_BROKEN) it must fail. */
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

/* ---- power cuts ---- */

#define KEYS 6u
#define NOTES_MAX 400u

struct noted {			/* one note, as the oracle knows it */
	uint32_t key;
	bool removed;
	uint64_t value;		/* of a plain record; of an INTENT its file number */
};

struct file {			/* what a sink that keeps files open did with one */
	uint64_t intent, done, abandon;	/* numbers of the notes; 0 none */
	struct event_range runs[32];
	uint32_t run_count;
	struct span *spans[8];
	uint32_t span_count;
	bool settled;
};

static struct oracle {		/* of one life */
	struct noted notes[NOTES_MAX];
	uint32_t note_count;
	uint64_t plain_durable, sink_durable;
	struct file files[64];
	uint32_t file_count;
} oracle, *const o = &oracle;

static void
play_note(struct play *p, uint64_t *seed)
{
	uint64_t number, random = next_random(seed), value[20];
	struct noted *n = &o->notes[o->note_count];
	uint32_t key = (uint32_t)(random % KEYS);
	memset(value, (int)random, sizeof value);
	value[0] = random;
	if (o->note_count == NOTES_MAX)
		return;
	struct state_record r = { .class = STATE_FLOW, .key = &key, .key_len = sizeof key, .value = value,
		.value_len = (uint32_t)(8 + random / 64 % 150), .order = o->note_count };
	bool remove = random / 8 % 5 == 0;
	int rc = remove ? ledger_remove(p->plain, STATE_FLOW, &key, sizeof key, &number) : ledger_note(p->plain, &r, &number);
	if (rc == -EIO)
		return;		/* the disk is dead already */
	assert_int_equal(rc, 0);
	*n = (struct noted){ .key = key, .removed = remove, .value = random };
	assert_int_equal(number, ++o->note_count);
}

static void
file_key(uint32_t index, char *key)
{
	snprintf(key, 16, "k1/%08u", index);
}

/* A sink that keeps files open: takes, notes an INTENT, resolves it when it is durable, settles. */
static void
play_sink(struct play *p, uint64_t *seed)
{
	const struct channel_ops *ops = p->r.channel->ops;
	uint64_t random = next_random(seed);
	char key[16];
	uint8_t set[64 * SET_RUN_MAX];
	for (uint32_t i = 0; i < o->file_count; i++) {
		struct file *f = &o->files[i];
		if (f->settled || ledger_durable(p->sink) < f->intent)
			continue;
		file_key(i, key);
		if (!f->done && !f->abandon && (random >> 8 & 1))
			(void)ledger_resolve(p->sink, key, (uint16_t)strlen(key), random >> 9 & 3 ? CONSUMER_DONE : CONSUMER_ABANDON, "x", 1,
					     random >> 9 & 3 ? &f->done : &f->abandon);
		uint64_t number = f->done ? f->done : f->abandon;
		if (!number || ledger_durable(p->sink) < number)
			continue;
		for (uint32_t k = 0; k < f->span_count; k++)
			ops->settle(p->taker, f->spans[k], f->done ? SETTLE_COMMIT : SETTLE_ROLLBACK, NULL, 0);
		f->settled = true;
	}
	if (o->file_count == 64)
		return;
	struct file *f = &o->files[o->file_count];
	*f = (struct file){ 0 };
	struct set_writer w;
	set_begin(&w, set, sizeof set);
	for (int i = 0; i < 3; i++) {
		struct span *s;
		if (ops->take(p->taker, 1 + (uint32_t)(random >> 12) % 5, 100000, 0, &s) || !s)
			break;
		f->spans[f->span_count++] = s;
		f->runs[f->run_count++] = (struct event_range){ s->first, s->events };
	}
	if (!f->span_count)
		return;
	/* Spans that were offered again may come out of order. */
	for (uint32_t i = 0; i < f->run_count; i++)
		for (uint32_t k = i + 1; k < f->run_count; k++)
			if (f->runs[k].first < f->runs[i].first) {
				struct event_range swap = f->runs[i];
				f->runs[i] = f->runs[k];
				f->runs[k] = swap;
			}
	for (uint32_t i = 0; i < f->run_count; i++)
		set_add(&w, f->runs[i].first, f->runs[i].count);
	struct consumer_record c = { .state = CONSUMER_INTENT, .set = set, .set_len = set_end(&w), .more = (const uint8_t *)"path", .more_len = 4 };
	file_key(o->file_count, key);
	if (ledger_note_consumer(p->sink, key, (uint16_t)strlen(key), o->file_count, &c, &f->intent) == 0)
		o->file_count++;
	else
		for (uint32_t i = 0; i < f->span_count; i++)
			ops->settle(p->taker, f->spans[i], SETTLE_ROLLBACK, NULL, 0);
}

static void
play_run(struct play *p, uint32_t turns, uint64_t seed, uint32_t body)
{
	const struct channel_ops *ops = p->r.channel->ops;
	for (uint32_t i = 0; i < turns; i++) {
		uint64_t random = next_random(&seed);
		(void)ops->writer_step(p->r.channel, 0);
		if (random & 1)
			rig_put(&p->r, 1 + random / 2 % 7, body);
		if (random & 16)
			play_note(p, &seed);
		if (random & 32)
			play_note(p, &seed);
		play_sink(p, &seed);
		(void)ops->writer_step(p->r.channel, 0);
		if (random >> 8 & 3)
			(void)logio_mem_complete(p->mem, random >> 12 & 1);
		(void)ops->writer_step(p->r.channel, 0);
		rig_reap(&p->r);
		o->plain_durable = ledger_durable(p->plain);
		o->sink_durable = ledger_durable(p->sink);
	}
}

struct seen {
	uint64_t value[KEYS];
	bool there[KEYS];
	uint32_t count;
};

static bool
see_flow(const struct state_record *r, void *context)
{
	struct seen *s = context;
	uint32_t key;
	assert_int_equal(r->key_len, sizeof key);
	memcpy(&key, r->key, sizeof key);
	assert_true(key < KEYS && !s->there[key] && r->value_len >= 8);
	s->there[key] = true;
	memcpy(&s->value[key], r->value, 8);
	s->count++;
	return true;
}

/* The state is that after m notes for some m from durable on. */
static void
check_prefix(const struct seen *s)
{
	struct seen now = { .count = 0 };
	for (uint32_t m = 0;; m++) {
		bool same = m >= o->plain_durable;
		for (uint32_t k = 0; k < KEYS && same; k++)
			same = now.there[k] == s->there[k] && (!now.there[k] || now.value[k] == s->value[k]);
		if (same)
			return;
		if (m == o->note_count)
			break;
		now.there[o->notes[m].key] = !o->notes[m].removed;
		now.value[o->notes[m].key] = o->notes[m].value;
	}
	fail_msg("the recovered state is none that was noted (durable %llu of %u)", (unsigned long long)o->plain_durable, o->note_count);
}

struct files {
	uint32_t intents[64], count;
	bool there[64];
};

static bool
see_file(const struct state_record *r, void *context)
{
	struct files *f = context;
	struct consumer_record c;
	unsigned index;
	assert_int_equal(sscanf(r->key, "k1/%8u", &index), 1);
	assert_true(index < 64 && consumer_decode(r->value, r->value_len, &c));
	assert_int_equal(r->order, index);
	f->there[index] = true;
	if (c.state == CONSUMER_INTENT)
		f->intents[f->count++] = index;
	else
		assert_int_equal(c.state, CONSUMER_DONE);
	return true;
}

/* Which of the numbers below `end` are offered now. */
static void
offered(struct play *p, uint8_t *map, uint64_t end)
{
	const struct channel_ops *ops = p->r.channel->ops;
	struct span *s, *spans[256];
	uint32_t n = 0;
	while (ops->take(p->taker, 1000, UINT64_MAX, 0, &s) == 0 && s) {
		for (uint64_t i = s->first; i < s->first + s->events; i++) {
			assert_true(i < end && !map[i]);
			map[i] = 1;
		}
		assert_true(n < 256);
		spans[n++] = s;
	}
	for (uint32_t i = 0; i < n; i++)
		ops->settle(p->taker, spans[i], SETTLE_ROLLBACK, NULL, 0);
}

static void
mark_runs(const struct file *f, uint8_t *map, uint8_t value)
{
	for (uint32_t i = 0; i < f->run_count; i++)
		memset(map + f->runs[i].first, value, f->runs[i].count);
}

/* One run that loses power in write n. False: it did not get that far. */
static bool
cut_at(uint64_t n, uint64_t seed, uint32_t turns, uint32_t body)
{
	static struct play play;
	struct play *p = &play;
	play_begin(p);
	memset(o, 0, sizeof *o);
	struct logio_mem *mem = p->mem;
	logio_mem_hold(mem, true);
	logio_mem_cut_after(mem, n);
	uint64_t writes = logio_mem_writes(mem);
	play_run(p, turns, seed, body);
	bool reached = logio_mem_writes(mem) - writes > n;
	uint64_t put = p->r.put, acknowledged = p->r.done;
	logio_mem_abort(mem);
	logio_mem_cut_after(mem, 0);
	play_close(p);
	logio_mem_power_off(mem, seed ^ n);
	logio_mem_hold(mem, false);

	uint64_t end = put + 1;
	uint8_t *now = calloc(end, 1), *never = calloc(end, 1), *doubt = calloc(end, 1), *must = calloc(end, 1);
	for (int lap = 0; lap < 3; lap++) {
		play_open(p);
		struct seen seen = { .count = 0 };
		ledger_each(p->ledger, STATE_FLOW, NULL, 0, see_flow, &seen);
		check_prefix(&seen);
		struct files files = { .count = 0 };
		ledger_each(p->ledger, STATE_CONSUMER, "k1/", 3, see_file, &files);
		if (lap == 0) {
			memset(must, 0, end);
			memset(must, 1, acknowledged);
			for (uint32_t i = 0; i < o->file_count; i++) {
				struct file *f = &o->files[i];
				if (f->done)	/* it may have been settled */
					mark_runs(f, must, 0);
			}
			for (uint32_t i = 0; i < o->file_count; i++) {
				struct file *f = &o->files[i];
				if (f->intent <= o->sink_durable && !f->done && !f->abandon)
					assert_true(files.there[i]);
				if (f->abandon && f->abandon <= o->sink_durable)
					assert_false(files.there[i]);
				if (f->done && f->done <= o->sink_durable)
					mark_runs(f, never, 1);
			}
		}
		memset(doubt, 0, end);
		for (uint32_t i = 0; i < files.count; i++)
			mark_runs(&o->files[files.intents[i]], doubt, 1);
		memset(now, 0, end);
		offered(p, now, end);
		for (uint64_t i = 0; i < end; i++) {
			assert_false(now[i] && never[i]);
			assert_false(now[i] && doubt[i]);
			if (must[i] && !never[i] && !doubt[i])
				assert_true(now[i]);
		}
		/* Resolve one half in each lap, by turns delivered and not. */
		for (uint32_t i = 0; i < files.count; i++) {
			uint32_t index = files.intents[i];
			char key[16];
			uint64_t number;
			if (lap == 0 && i % 2)
				continue;
			file_key(index, key);
			bool done = (seed >> index) & 1;
			assert_int_equal(ledger_resolve(p->sink, key, (uint16_t)strlen(key), done ? CONSUMER_DONE : CONSUMER_ABANDON, NULL, 0, &number), 0);
			settle_down(p);
			assert_int_equal(ledger_durable(p->sink), number);
			mark_runs(&o->files[index], done ? never : must, 1);
			mark_runs(&o->files[index], done ? must : never, 0);
		}
		memset(now, 0, end);
		offered(p, now, end);
		for (uint64_t i = 0; i < end; i++) {
			assert_false(now[i] && never[i]);
			if (must[i] && lap)
				assert_true(now[i]);
		}
		if (lap == 1) {	/* the process dies, the disk lives */
			logio_mem_abort(mem);
			logio_mem_cut_after(mem, 0);
		}
		play_close(p);
		if (lap == 1)
			logio_mem_power_off(mem, seed);
		/* The recovered prefix is what counts from now on. */
		o->plain_durable = 0;
	}
	free(now);
	free(never);
	free(doubt);
	free(must);
	logio_mem_free(mem);
	return reached;
}

static void
cuts(void **state)
{
	(void)state;
	uint64_t runs = 0;
	assert_true(cut_at(68, 2787488, 30, 100));	/* an INTENT in a backlog that recovery had not read */
	for (uint64_t seed = 1; seed <= 5; seed++)
		for (uint64_t n = 0; cut_at(n, seed * 7919, 30, 100); n++)
			runs++;
	print_message("%llu cut points\n", (unsigned long long)runs);
	assert_true(runs > 200);
}

/* ---- long lives ---- */

/* Old records are carried along while the log goes round, and are found with any of the snapshots, and with none. */
static void
carried(void **state)
{
	(void)state;
	static struct play play;
	struct play *p = &play;
	uint64_t newest = 1;
	play_begin(p);
	for (uint64_t k = 0; k < 300; k++)
		note_key(p, k, k + 1);
	for (int lap = 0; lap < 6; lap++) {
		uint64_t before = metric("carried");
		for (int i = 0; i < 900; i++) {		/* 12 MB: six segments */
			uint64_t number, gone = 1000000 + newest - 1;	/* before the new one */
			rig_put(&p->r, 3, 4000);
			newest++;
			note_key(p, 1000000 + newest - 1, newest);
			(void)ledger_remove(p->plain, STATE_FLOW, &gone, 8, &number);
			(void)p->r.channel->ops->writer_step(p->r.channel, 0);
			rig_reap(&p->r);
			settle_all(p);
		}
		rig_settle_down(&p->r);
		settle_down(p);
#ifndef CHANNEL_BROKEN	/* there the loss must show */
		assert_true(metric("carried") >= before + 300);
#endif
		(void)before;
		assert_true(metric("snapshots") > 0);
		uint64_t len;
		assert_int_equal(logio_mem_bytes(p->mem, "/c/ledger-0", &len)[64], play_sealed);	/* cipher */
		uint8_t *oldest = logio_mem_bytes(p->mem, "/d/segment-0000000000000000", &len);
		assert_null(oldest);		/* it was used again */
		if (lap % 3)
			logio_mem_cut_after(p->mem, 0);
		play_close(p);
		logio_mem_power_off(p->mem, (uint64_t)lap);
		for (int i = 0; i < lap % 3; i++) {	/* one snapshot is damaged, then both */
			uint8_t *bytes = logio_mem_bytes(p->mem, i ? "/c/ledger-1" : "/c/ledger-0", &len);
			memset(bytes, 0x55, 64);
			if (lap == 5 && i == 0)
				logio_mem_bytes(p->mem, "/c/ledger-0", &len)[4100] ^= 1;
		}
		play_open(p);
		for (uint64_t k = 0; k < 300; k++)
			check_key(p, k, k + 1);
		check_key(p, 1000000 + newest - 1, newest);
		uint64_t gone = 1000000 + newest - 2;
		assert_int_equal(ledger_get(p->ledger, STATE_FLOW, &gone, 8, NULL, 0, NULL), -ENOENT);
		assert_int_equal(metric("records"), 301);
	}
	play_end(p);
}

static void
carried_sealed(void **state)
{
	play_sealed = true;
	carried(state);
	play_sealed = false;
}

static void
million(void **state)
{
	(void)state;
	static struct play play;
	struct play *p = &play;
	const uint64_t keys = 1000000;
	play_at_close = true;
	play_begin(p);
	for (uint64_t k = 0; k < keys; k++)
		note_key(p, k, k * 3);
	settle_down(p);
	while (!p->r.channel->ops->idle(p->r.channel))
		(void)p->r.channel->ops->writer_step(p->r.channel, 0);
	assert_int_equal(metric("records"), keys);
	uint64_t live = metric("bytes"), number;
	uint64_t begin = clock_now_ns(&clock_system);
	play_close(p);
	uint64_t closed = clock_now_ns(&clock_system);
	play_open(p);
	uint64_t opened = clock_now_ns(&clock_system);
	assert_int_equal(metric("records"), keys);
	for (uint64_t k = 0; k < keys; k += 997)
		check_key(p, k, k * 3);
	uint64_t bytes;
	(void)logio_mem_bytes(p->mem, "/c/ledger-0", &bytes);
	uint64_t other;
	(void)logio_mem_bytes(p->mem, "/c/ledger-1", &other);
	bytes = bytes > other ? bytes : other;
	print_message("1 M records: %llu bytes in memory, %llu in a snapshot; written in %llu ms, read in %llu ms\n", (unsigned long long)live,
		      (unsigned long long)bytes, (unsigned long long)(closed - begin) / NS_PER_MS, (unsigned long long)(opened - closed) / NS_PER_MS);
	assert_true(bytes > keys * 20 && bytes < keys * 64);
	/* All of it goes again, and the snapshot with it. */
	for (uint64_t k = 0; k < keys; k++)
		while (ledger_remove(p->plain, STATE_FLOW, &k, 8, &number) == -EAGAIN)
			(void)p->r.channel->ops->writer_step(p->r.channel, 0);
	while (!p->r.channel->ops->idle(p->r.channel))
		(void)p->r.channel->ops->writer_step(p->r.channel, 0);
	assert_int_equal(metric("records"), 0);
	play_at_close = false;
	play_end(p);
}

#ifdef CHANNEL_BROKEN
#include "channel/broken.h"
enum broken channel_broken;

/* The build with mistakes: test_ledger MISTAKE must fail, without one it must not. */
int
main(int argc, char **argv)
{
	static const char *const names[] = { "note-early", "carry", "held", "done" };
	log_set_level(LOG_ERROR);
	for (int i = 0; i < 4; i++)
		if (argc > 1 && !strcmp(argv[1], names[i]))
			channel_broken = (enum broken)(BROKEN_NOTE_EARLY + i);
	const struct CMUnitTest tests[] = { cmocka_unit_test(cuts), cmocka_unit_test(carried) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
#else
int
main(void)
{
	log_set_level(LOG_ERROR);
	const struct CMUnitTest tests[] = { cmocka_unit_test(cuts), cmocka_unit_test(carried), cmocka_unit_test(carried_sealed),
					    cmocka_unit_test(million) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
