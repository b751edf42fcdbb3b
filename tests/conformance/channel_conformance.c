#include "tests/conformance/channel_conformance.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

void
rig_open(struct rig *r, struct channel_case *c, uint64_t capacity)
{
	struct channel_env env = { .name = "c1", .clock = &clock_system, .block_bytes = 16384, .blocks = 16, .links_max = 2 };
	struct err err = { "" };
	*r = (struct rig){ 0 };
	if (c->open(c, &env, capacity, &r->channel, &err))
		fail_msg("open: %s", err.text);
	assert_int_equal(r->channel->ops->link(r->channel, "i1", -1, &r->link, &err), 0);
	assert_int_equal(block_scratch_init(&r->scratch, 16384), 0);
}

void
rig_close(struct rig *r)
{
	r->channel->ops->close(r->channel);
	block_scratch_free(r->scratch);
}

uint32_t
rig_put(struct rig *r, uint32_t events, uint32_t body_len)
{
	uint8_t body[4096];
	struct block *b = channel_credit(r->link);
	if (!b)
		return 0;
	block_open(b, r->scratch);
	uint32_t n = 0;
	for (; n < events; n++) {
		char text[24];
		memset(body, '.', body_len);
		int len = snprintf(text, sizeof text, "%016llu", (unsigned long long)r->next);
		memcpy(body, text, (size_t)len);
		struct header h = { .name = name_intern("k", 1), .kind = HEADER_NUMBER, .value.number = (int64_t)r->next };
		struct event e = { .body = body, .body_len = body_len, .headers = &h, .header_count = 1, .time_ns = 5 };
		int rc = block_put(b, 0, &e);
		if (rc) {
			assert_int_equal(rc, -ENOSPC);
			break;
		}
		r->next++;
	}
	assert_true(n > 0);
	r->put += n;
	block_note_ticket(b, (uint32_t)r->put);
	block_seal(b);
	channel_submit(r->link, &b);
	assert_null(b);
	return n;
}

void
rig_reap(struct rig *r)
{
	for (struct completion *c; (c = channel_completion(r->link));) {
		assert_int_equal(c->ticket_count, 1);
		if (c->status)
			r->failed += c->events;
		else
			r->done += c->events;
		channel_completion_done(r->link, c);
	}
}

void
rig_settle_down(struct rig *r)
{
	do {
		(void)r->channel->ops->writer_step(r->channel, NS_PER_MS);
		rig_reap(r);
	} while (!r->channel->ops->idle(r->channel));
	(void)r->channel->ops->writer_step(r->channel, 0);
	rig_reap(r);
}

void
rig_step(struct rig *r, uint32_t times)
{
	for (uint32_t i = 0; i < times; i++) {
		(void)r->channel->ops->writer_step(r->channel, 0);
		rig_reap(r);
	}
}

void
rig_fill(struct rig *r, uint32_t blocks, uint32_t body_len)
{
	for (uint32_t i = 0; i < blocks; i++) {
		rig_step(r, 1);
		assert_int_equal(rig_put(r, 10, body_len), 10);
		rig_settle_down(r);
	}
}

uint64_t
rig_drain(struct rig *r, uint64_t first, uint32_t in_vain)
{
	struct taker *t;
	struct span *s;
	struct err err;
	uint64_t seen = 0, next = first;
	assert_int_equal(r->channel->ops->taker_open(r->channel, "k", &t, &err), 0);
	for (uint32_t vain = 0; vain <= in_vain;) {
		if (r->channel->ops->take(t, 10, UINT64_MAX, 0, &s) || !s) {
			vain++;
			continue;
		}
		struct span_cursor cursor = { { 0 } };
		struct event_view e;
		while (r->channel->ops->span_next(s, &cursor, &e)) {
			uint64_t value = event_value(&e);
			assert_true(in_vain ? value >= next : value == next);
			next = value + 1;
			seen++;
		}
		assert_int_equal(r->channel->ops->settle(t, s, SETTLE_COMMIT, NULL, 0), 0);
	}
	r->channel->ops->taker_close(t);
	return seen;
}

uint64_t
event_value(const struct event_view *event)
{
	char text[17] = "";
	assert_true(event->body_len >= 16);
	memcpy(text, event->body, 16);
	uint64_t value = strtoull(text, NULL, 10);
	struct header_view h;
	assert_true(event_view_header(event, "k", 1, &h));
	assert_int_equal(h.number, value);
	return value;
}

/* Checks that the span holds the events from `value` on; returns the value behind it. */
static uint64_t
span_is(struct rig *r, struct span *span, uint64_t value)
{
	struct span_cursor cursor = { { 0 } };
	struct event_view e;
	uint32_t n = 0;
	uint64_t bytes = 0;
	while (r->channel->ops->span_next(span, &cursor, &e)) {
		assert_int_equal(event_value(&e), value + n);
		assert_int_equal(e.number, span->first + n);
		bytes += e.body_len;
		n++;
	}
	assert_int_equal(n, span->events);
	assert_int_equal(bytes, span->body_bytes);
	return value + n;
}

static struct span *
take(struct rig *r, struct taker *t, uint32_t events)
{
	struct span *span;
	assert_int_equal(r->channel->ops->take(t, events, UINT64_MAX, 0, &span), 0);
	return span;
}

static void
in_order(struct channel_case *c)
{
	struct rig r;
	struct taker *t;
	struct err err;
	rig_open(&r, c, 100000);
	const struct channel_ops *ops = r.channel->ops;
	assert_int_equal(ops->taker_open(r.channel, "k1", &t, &err), 0);
	assert_null(take(&r, t, 10));
	uint64_t seen = 0;
	for (int round = 0; round < 200; round++) {
		(void)ops->writer_step(r.channel, 0);
		while (rig_put(&r, 1 + (uint32_t)round % 60, 200))
			;
		rig_settle_down(&r);
		assert_int_equal(r.done, r.put);
		assert_int_equal(ops->unsettled(r.channel), r.put - seen);
		for (struct span *s; (s = take(&r, t, 1 + (uint32_t)round % 37 * 20));) {
			seen = span_is(&r, s, seen);
			assert_int_equal(ops->settle(t, s, SETTLE_COMMIT, NULL, 0), 0);
		}
		assert_int_equal(seen, r.put);
	}
	assert_true(r.put > 2000);
	assert_int_equal(ops->unsettled(r.channel), 0);
	assert_true(ops->idle(r.channel));
	ops->taker_close(t);
	rig_close(&r);
	c->clean(c);
}

static void
out_of_order(struct channel_case *c)
{
	struct rig r;
	struct taker *t1, *t2;
	struct err err;
	rig_open(&r, c, 100000);
	const struct channel_ops *ops = r.channel->ops;
	ops->taker_open(r.channel, "k1", &t1, &err);
	ops->taker_open(r.channel, "k2", &t2, &err);
	(void)ops->writer_step(r.channel, 0);
	rig_put(&r, 50, 64);
	rig_put(&r, 50, 64);
	rig_settle_down(&r);
	assert_int_equal(r.done, 100);
	struct span *a = take(&r, t1, 20), *b = take(&r, t2, 20), *d = take(&r, t1, 20);
	span_is(&r, a, 0);
	span_is(&r, b, 20);
	span_is(&r, d, 40);
	ops->settle(t1, d, SETTLE_COMMIT, NULL, 0);
	ops->settle(t2, b, SETTLE_ROLLBACK, NULL, 0);
	/* 25..29 of the first span are done, the rest is not */
	struct event_range set[] = { { a->first + 5, 5 }, { a->first + 12, 1 } };
	ops->settle(t1, a, SETTLE_COMMIT, set, 2);
	assert_int_equal(ops->unsettled(r.channel), 100 - 20 - 6);
	static const struct { uint32_t from, count; } again[] = { { 0, 5 }, { 10, 2 }, { 13, 17 }, { 30, 10 }, { 60, 40 } };
	/* 13..19 and 20..39 lie side by side: one run, taken in two */
	struct span *spans[5];
	for (int i = 0; i < 5; i++) {
		spans[i] = take(&r, i & 1 ? t1 : t2, i == 2 ? 17 : 100);
		assert_non_null(spans[i]);
		assert_int_equal(spans[i]->events, again[i].count);
		span_is(&r, spans[i], again[i].from);
	}
	for (int i = 4; i >= 0; i--)
		ops->settle(i & 1 ? t1 : t2, spans[i], SETTLE_COMMIT, NULL, 0);
	assert_int_equal(ops->unsettled(r.channel), 0);
	assert_null(take(&r, t1, 10));
	/* a limit in bytes: at least one event, else no more than fit */
	rig_put(&r, 30, 100);
	rig_settle_down(&r);
	struct span *s;
	ops->take(t1, 100, 250, 0, &s);
	assert_int_equal(s->events, 2);
	ops->settle(t1, s, SETTLE_COMMIT, NULL, 0);
	ops->take(t1, 100, 10, 0, &s);
	assert_int_equal(s->events, 1);
	span_is(&r, s, 102);
	ops->taker_close(t1);		/* gives back what is open */
	s = take(&r, t2, 100);
	assert_int_equal(s->events, 28);
	span_is(&r, s, 102);
	ops->settle(t2, s, SETTLE_COMMIT, NULL, 0);
	ops->taker_close(t2);
	rig_close(&r);
	c->clean(c);
}

static void
full(struct channel_case *c)
{
	struct rig r;
	struct taker *t;
	struct err err;
	rig_open(&r, c, 100);
	const struct channel_ops *ops = r.channel->ops;
	ops->taker_open(r.channel, "k1", &t, &err);
	for (int round = 0; round < 50; round++) {
		(void)ops->writer_step(r.channel, 0);
		(void)rig_put(&r, 1000, 20);
		rig_settle_down(&r);
		assert_true(ops->unsettled(r.channel) <= 100);
	}
	assert_true(ops->unsettled(r.channel) >= 90);
	assert_null(channel_credit(r.link));
	uint64_t before = r.put;
	struct span *s = take(&r, t, 60);
	span_is(&r, s, 0);
	ops->settle(t, s, SETTLE_COMMIT, NULL, 0);
	(void)ops->writer_step(r.channel, 0);
	assert_true(rig_put(&r, 1000, 20) > 0);
	rig_settle_down(&r);
	assert_true(r.put > before && r.done == r.put);
	ops->taker_close(t);
	rig_close(&r);
	c->clean(c);
}

/* A sink far behind: far more events than memory has blocks for. Only a channel with a log can. */
static void
behind_and_reopened(struct channel_case *c)
{
	struct rig r;
	struct taker *t;
	struct err err;
	rig_open(&r, c, 100000);
	const struct channel_ops *ops = r.channel->ops;
	ops->taker_open(r.channel, "k1", &t, &err);
	(void)ops->writer_step(r.channel, 0);
	while (r.put < 20000) {
		assert_true(rig_put(&r, 1000, 100) > 0);
		rig_settle_down(&r);
	}
	struct span *spans[8];
	uint64_t seen = 0;
	for (int i = 0; i < 8; i++) {		/* pins more than half of the blocks would be */
		spans[i] = take(&r, t, 1000);
		seen = span_is(&r, spans[i], seen);
	}
	assert_true(rig_put(&r, 1000, 100) > 0);	/* intake goes on */
	rig_settle_down(&r);
	for (int i = 7; i >= 4; i--)
		ops->settle(t, spans[i], SETTLE_COMMIT, NULL, 0);
	for (int i = 0; i < 3; i++)
		ops->settle(t, spans[i], SETTLE_COMMIT, NULL, 0);
	uint64_t hole = 0, put = r.put, first = spans[3]->first;
	for (int i = 0; i < 3; i++)
		hole += 1000;
	ops->taker_close(t);		/* spans[3] is given back */
	rig_close(&r);

	rig_open(&r, c, 100000);	/* what was settled stays settled, the rest is there, in order, under the same numbers */
	assert_int_equal(ops->unsettled(r.channel), put - 7000);
	ops->taker_open(r.channel, "k1", &t, &err);
	struct span *s = take(&r, t, 2000);
	assert_int_equal(s->events, 1000);
	assert_int_equal(s->first, first);
	span_is(&r, s, hole);
	ops->settle(t, s, SETTLE_COMMIT, NULL, 0);
	seen = 8000;
	r.next = put;
	for (int more = 1; (s = take(&r, t, 700));) {
		seen = span_is(&r, s, seen);
		ops->settle(t, s, SETTLE_COMMIT, NULL, 0);
		if (more && seen > put / 2) {
			(void)ops->writer_step(r.channel, 0);
			assert_true(rig_put(&r, 10, 100) == 10);
			rig_settle_down(&r);
			more = 0;
		}
	}
	assert_int_equal(seen, put + 10);
	ops->taker_close(t);
	rig_close(&r);
	rig_open(&r, c, 100000);
	assert_int_equal(ops->unsettled(r.channel), 0);
	ops->taker_open(r.channel, "k1", &t, &err);
	assert_null(take(&r, t, 1));
	ops->taker_close(t);
	rig_close(&r);
	c->clean(c);
}

void
channel_conformance(struct channel_case *c)
{
	in_order(c);
	out_of_order(c);
	full(c);
	if (c->durable)
		behind_and_reopened(c);
}
