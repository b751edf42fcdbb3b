/* Marks: a source that can rewind, over two required channels on a disk that loses power at each of its writes, or fails: after the
 * restart it resumes at its mark; each channel holds each event once, in order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "channel/channel_file.h"
#include "channel/ledger.h"
#include "dataplane/ingress.h"

#define KEYS 2u
#define EVENTS 60u		/* of each key */

/* ---- a source that reads two files of EVENTS lines; every fifth line makes an event that is filtered ---- */

struct rewinder {
	struct ingress_source *in;
	struct mark *marks[KEYS];
	uint64_t at[KEYS];		/* lines read */
	uint64_t seed;
	uint32_t body;
};

static uint64_t
next_random(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return *seed >> 20;
}

static int
source_open(void **source, const void *config, struct ingress_source *in, struct err *err)
{
	struct rewinder *r = calloc(1, sizeof *r);
	const uint8_t *resume;
	uint32_t len;
	r->in = in;
	r->seed = *(const uint64_t *)config;
	r->body = 30;
	for (uint32_t k = 0; k < KEYS; k++) {
		char key[16];
		r->marks[k] = mark_open(in, key, (uint16_t)snprintf(key, sizeof key, "file-%u", k), err);
		assert_non_null(r->marks[k]);
		assert_true(mark_kept(r->marks[k]));
		uint64_t offset;
		if (mark_start(r->marks[k], &r->at[k], &resume, &len)) {
			assert_int_equal(len, 8);
			memcpy(&offset, resume, 8);
			assert_int_equal(offset, r->at[k] * 3);
		}
	}
	*source = r;
	return 0;
}

static int
source_poll(void *source, uint32_t room)
{
	struct rewinder *r = source;
	uint32_t k = (uint32_t)(next_random(&r->seed) % KEYS), brought = 0;
	(void)room;
	if (r->at[k] == EVENTS)
		k ^= 1;
	if (r->at[k] == EVENTS || !ingress_ready(r->in, r->body))
		return 0;
	uint32_t ticket = ticket_open(r->in, (uint64_t)k << 32 | r->at[k]);
	for (uint32_t i = 0; i < 1 + next_random(&r->seed) % 6 && r->at[k] < EVENTS && ingress_ready(r->in, r->body); i++) {
		char body[64];
		uint64_t line = ++r->at[k], offset = line * 3;
		int len = snprintf(body, sizeof body, "%u %03u ........................", k, (unsigned)line);
		struct event *event = ingress_append(r->in, body, (uint32_t)len, 1000);
		assert_non_null(event);
		mark_event(r->marks[k], event, line, &offset, 8);
		event->ticket = ticket;
		event->dropped = line % 5 == 0;
		brought++;
	}
	ticket_complete(r->in->ingress, ticket);
	return (int)brought;
}

static void
source_ack(void *source, uint64_t cookie, int status)
{
	struct rewinder *r = source;
	if (status < 0 && r->at[cookie >> 32] > (uint32_t)cookie)
		r->at[cookie >> 32] = (uint32_t)cookie;
}

static void
source_close(void *source)
{
	free(source);
}

static const struct source_ops rewinder_ops = { .name = "rewinder", .open = source_open, .poll = source_poll, .ack = source_ack, .close = source_close };

/* ---- the rig ---- */

static const char *dir_a[] = { "/a" }, *dir_b[] = { "/b" };
static struct channel_file_config configs[2] = {
	{ .checkpoint_dir = "/ca", .data_dirs = { 1, dir_a }, .capacity = 100000, .sync = true, .required_space = 1, .max_file_size = 1u << 30,
	  .transaction_capacity = 100, .checkpoint_interval_ms = 1, .sync_interval_s = 5, .segment_size = 1 },
	{ .checkpoint_dir = "/cb", .data_dirs = { 1, dir_b }, .capacity = 100000, .sync = true, .required_space = 1, .max_file_size = 1u << 30,
	  .transaction_capacity = 100, .checkpoint_interval_ms = 1, .sync_interval_s = 5, .segment_size = 1 },
};

static struct clock_manual now;

struct bench {
	struct channel *channels[2];
	struct pipeline pipeline;
	struct pipeline_source source;
	struct ingress ingress;
	uint64_t seed;
	uint32_t count;
};

static void
bench_open(struct bench *b, struct logio_mem *mem, uint32_t count, uint64_t seed)
{
	struct err err = { "" };
	memset(b, 0, sizeof *b);
	b->count = count;
	b->seed = seed;
	for (uint32_t i = 0; i < count; i++) {
		struct channel_env env = { .name = i ? "c2" : "c1", .clock = &now.clock, .block_bytes = 8192, .blocks = 12, .links_max = 1 };
		if (channel_file_open_on(&b->channels[i], &configs[i], &env, logio_mem_io(mem), &err))
			fail_msg("%s", err.text);
	}
	uint64_t slots = (1u << count) - 1;
	b->source = (struct pipeline_source){ .name = "r1", .ops = &rewinder_ops, .config = &b->seed, .required = slots, .selector.otherwise = slots };
	b->pipeline = (struct pipeline){ .generation = 1, .channels = { b->channels[0], b->channels[1] }, .channel_count = count,
		.sources = &b->source, .source_count = 1 };
	if (ingress_open(&b->ingress, "i1", &b->pipeline, &now.clock, -1, &err))
		fail_msg("%s", err.text);
}

static void
bench_close(struct bench *b)
{
	ingress_close(&b->ingress);
	for (uint32_t i = 0; i < b->count; i++)
		b->channels[i]->ops->close(b->channels[i]);
}

static void
turn(struct bench *b, struct logio_mem *mem, uint64_t *seed)
{
	uint64_t random = next_random(seed);
	clock_manual_advance(&now, 20 * NS_PER_MS);
	ingress_reap(&b->ingress);
	source_poll(b->ingress.sources[0].self, 100);
	if (random & 1)
		ingress_put(&b->ingress);
	if (random & 2) {
		ingress_put(&b->ingress);
		ingress_seal_due(&b->ingress, random & 4);
	}
	for (uint32_t i = 0; i < b->count; i++)
		if (random >> (8 + i) & 1)
			(void)b->channels[i]->ops->writer_step(b->channels[i], 0);
	if (random >> 16 & 3)
		(void)logio_mem_complete(mem, random >> 18 & 1);
	for (uint32_t i = 0; i < b->count; i++)
		(void)b->channels[i]->ops->writer_step(b->channels[i], 0);
}

static bool
run_to_end(struct bench *b, struct logio_mem *mem)
{
	uint64_t seed = 3;
	struct rewinder *r = b->ingress.sources[0].self;
	for (int i = 0; i < 3000; i++) {
		turn(b, mem, &seed);
		if (r->at[0] == EVENTS && r->at[1] == EVENTS) {
			ingress_put(&b->ingress);
			ingress_seal_due(&b->ingress, true);
			if (ingress_drained(&b->ingress) && r->at[0] == EVENTS && r->at[1] == EVENTS)
				return true;
		}
	}
	return false;
}

/* Each line that is not filtered, once, in order. */
static void
check_content(struct channel *c)
{
	const struct channel_ops *ops = c->ops;
	struct taker *t;
	struct err err;
	struct span *s;
	uint32_t next[KEYS] = { 1, 1 };
	assert_int_equal(ops->taker_open(c, "k1", &t, &err), 0);
	while (ops->take(t, 1000, UINT64_MAX, 0, &s) == 0 && s) {
		struct span_cursor cursor = { { 0 } };
		struct event_view e;
		while (ops->span_next(s, &cursor, &e)) {
			char text[8] = { 0 };
			unsigned key, line;
			memcpy(text, e.body, 5);
			assert_int_equal(sscanf(text, "%u %u", &key, &line), 2);
			assert_int_equal(line, next[key]);
			next[key] = line + (line % 5 == 4 ? 2 : 1);
		}
		ops->settle(t, s, SETTLE_COMMIT, NULL, 0);
	}
	ops->taker_close(t);
	for (uint32_t k = 0; k < KEYS; k++)
		assert_int_equal(next[k], EVENTS + 1);
}

static bool
cut_at(uint64_t n, uint64_t seed, uint32_t count)
{
	struct logio_mem *mem = logio_mem_new();
	struct bench b;
	uint64_t random = seed;
	bool reached = false;
	for (int lap = 0; lap < 2; lap++) {	/* the power goes twice */
		bench_open(&b, mem, count, seed + (uint64_t)lap);
		logio_mem_hold(mem, true);
		logio_mem_cut_after(mem, lap ? n % 7 : n);
		uint64_t writes = logio_mem_writes(mem);
		for (int i = 0; i < 40; i++)
			turn(&b, mem, &random);
		if (lap == 0)
			reached = logio_mem_writes(mem) - writes > n;
		logio_mem_abort(mem);
		logio_mem_cut_after(mem, 0);
		bench_close(&b);
		logio_mem_power_off(mem, seed ^ n ^ (uint64_t)lap << 20);
		logio_mem_hold(mem, false);
	}
	bench_open(&b, mem, count, seed + 2);
	assert_true(run_to_end(&b, mem));
	for (uint32_t i = 0; i < count; i++)
		check_content(b.channels[i]);
	bench_close(&b);
	logio_mem_free(mem);
	return reached;
}

static void
cuts(uint32_t count)
{
	uint64_t runs = 0;
	for (uint64_t seed = 1; seed <= 3; seed++)
		for (uint64_t n = 0; cut_at(n, seed * 104729, count); n++)
			runs++;
	print_message("%llu cut points, %u channels\n", (unsigned long long)runs, count);
	assert_true(runs > 50);
}

static void
one_channel(void **state)
{
	(void)state;
	cuts(1);
}

static void
two_channels(void **state)
{
	(void)state;
	cuts(2);
}

/* The log says of both files, when there was time for it, that they were read to their end. */
static void
marks_noted(struct bench *b, struct logio_mem *mem)
{
	(void)run_to_end(b, mem);
	for (int i = 0; i < 2000; i++) {
		clock_manual_advance(&now, 20 * NS_PER_MS);
		ingress_reap(&b->ingress);
		ingress_seal_due(&b->ingress, true);
		for (uint32_t k = 0; k < b->count; k++)
			(void)b->channels[k]->ops->writer_step(b->channels[k], 0);
	}
	for (uint32_t i = 0; i < b->count; i++)
		for (uint32_t k = 0; k < KEYS; k++) {
			char key[16] = "r1";
			uint8_t resume[64];
			uint64_t order = 0;
			int len = snprintf(key + 3, sizeof key - 3, "file-%u", k);
			(void)ledger_get(b->channels[i]->ops->ledger(b->channels[i]), STATE_MARK, key, (uint16_t)(3 + len), resume, sizeof resume, &order);
			assert_int_equal(order, EVENTS);
		}
}

/* Writes fail for a while in the same process: completions carry errors, the source goes back, one channel has what the other has not. */
static void
failing_writes(void **state)
{
	(void)state;
	for (uint64_t n = 0; n < 40; n++) {
		struct logio_mem *mem = logio_mem_new();
		struct bench b;
		uint64_t random = n * 31 + 1;
		bench_open(&b, mem, 2, n);
		logio_mem_fail_after(mem, n);
		for (int i = 0; i < 30; i++)
			turn(&b, mem, &random);
		logio_mem_fail_after(mem, UINT64_MAX);
		bool ended = false;
		for (int i = 0; i < 20 && !ended; i++)
			ended = run_to_end(&b, mem);
		assert_true(ended);
		logio_mem_fail_after(mem, n & 1 ? 0 : UINT64_MAX);	/* while they are noted, too */
		for (int i = 0; i < 100; i++)
			turn(&b, mem, &random);
		logio_mem_fail_after(mem, UINT64_MAX);
		marks_noted(&b, mem);
		for (uint32_t i = 0; i < 2; i++)
			check_content(b.channels[i]);
		bench_close(&b);
		logio_mem_free(mem);
	}
}

int
main(void)
{
	log_set_level(LOG_ERROR);
	clock_manual_init(&now, NS_PER_S, UINT64_C(1790000000) * NS_PER_S);
	const struct CMUnitTest tests[] = { cmocka_unit_test(one_channel), cmocka_unit_test(two_channels), cmocka_unit_test(failing_writes) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
