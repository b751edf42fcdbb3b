/* spillable_take: takers of a spillablememory channel: they follow the list of runs from part to part. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "channel/spillable.h"

int
spillable_taker_open(struct channel *channel, const char *sink, struct taker **taker, struct err *err)
{
	struct spillable *s = (struct spillable *)channel;
	struct taker *t = calloc(1, sizeof *t);
	int rc = t ? 0 : err_set(err, ENOMEM, "no memory");
	if (t)
		t->spillable = s;
	for (int i = 0; i < 2 && !rc; i++)
		if (s->parts[i].channel)
			rc = engine_taker_open(s->parts[i].channel, sink, &t->parts[i], err);
	if (rc) {
		if (t && t->parts[MEMORY])
			engine_taker_close(t->parts[MEMORY]);
		free(t);
		return rc;
	}
	*taker = t;
	return 0;
}

/* Under lock. */
static bool
offer(const struct spillable *s)
{
	return s->redo.count || s->frontier < s->next_number;
}

/* Under lock: our number -> its run, which is there as long as it is not settled. */
static struct run *
run_find(struct spillable *s, uint64_t number)
{
	uint64_t low = s->runs.head, high = s->runs.tail;
	while (low < high) {
		uint64_t middle = low + (high - low) / 2;
		struct run *run = run_at(&s->runs, middle);
		if (run->first + run->events <= number)
			low = middle + 1;
		else
			high = middle;
	}
	assert(low < s->runs.tail);
	return run_at(&s->runs, low);
}

/* Under lock: `count` events from `first` on (of one run) are settled. */
static void
run_settle(struct spillable *s, uint64_t first, uint64_t count)
{
	struct run *run = run_find(s, first);
	assert(count <= run->left);
	run->left -= count;
	spillable_runs_move(s);
}

/* Under lock: takes what comes next, from one run. */
static int
take_next(struct taker *t, uint32_t max_events, uint64_t max_bytes, struct outer_span *o)
{
	struct spillable *s = t->spillable;
	for (;;) {
		bool again = s->redo.count != 0;
		uint64_t number = again ? s->redo.items[0].first : s->frontier, end = again ? s->redo.items[0].end : s->next_number;
		if (again && end == s->frontier)	/* what is new follows at once */
			end = s->next_number;
		if (number == end)
			return 0;
		struct run *run = run_find(s, number);
		if (end > run->first + run->events)
			end = run->first + run->events;
		uint64_t inner = run->inner + (number - run->first), events = end - number < max_events ? end - number : max_events;
		int rc = engine_take(t->parts[run->part], (uint32_t)events, max_bytes, 0, &o->inner);
		/* Of a log with damage, or settled before the restart: these never come. */
		uint64_t skipped = o->inner ? o->inner->first - inner : part_unsettled(&s->parts[run->part]) ? 0 : end - number;
		if (rc || (!o->inner && !skipped))
			return rc;
		assert(!o->inner || o->inner->first >= inner);
		uint64_t taken = o->inner && !skipped ? o->inner->events : 0, stop = number + (skipped < end - number ? skipped : end - number) + taken;
		if (o->inner && !taken) {	/* it belongs to a later run, or reaches into one: once more, from where it begins */
			(void)engine_settle(t->parts[run->part], o->inner, SETTLE_ROLLBACK, NULL, 0);
			o->inner = NULL;
		}
		if (again) {
			if (stop > s->frontier)
				s->frontier = stop;
			s->redo.items[0].first = stop;
			if (stop >= s->redo.items[0].end)
				memmove(&s->redo.items[0], &s->redo.items[1], --s->redo.count * sizeof *s->redo.items);
		} else
			s->frontier = stop;
		o->part = run->part;
		if (stop - taken > number)
			run_settle(s, number, stop - taken - number);
		if (!taken)
			continue;
		o->delta = stop - taken - o->inner->first;
		o->span = (struct span){ .taker = t, .first = stop - taken, .events = o->inner->events, .body_bytes = o->inner->body_bytes, .impl = o };
		return 0;
	}
}

int
spillable_take(struct taker *t, uint32_t max_events, uint64_t max_bytes, uint64_t wait_ns, struct span **span)
{
	struct spillable *s = t->spillable;
	struct outer_span *o = t->free;
	*span = NULL;
	if (o)
		t->free = o->next;
	else if (!(o = malloc(sizeof *o)))
		return -ENOMEM;
	*o = (struct outer_span){ 0 };
	atomic_fetch_add_explicit(&s->took, 1, memory_order_relaxed);
	pthread_mutex_lock(&s->lock);
	if (!offer(s) && wait_ns) {
		struct timespec until;
		clock_gettime(CLOCK_MONOTONIC, &until);
		wait_ns += (uint64_t)until.tv_nsec;
		until.tv_sec += (time_t)(wait_ns / NS_PER_S);
		until.tv_nsec = (long)(wait_ns % NS_PER_S);
		s->takers_waiting++;
		while (!offer(s))
			if (pthread_cond_timedwait(&s->wake, &s->lock, &until))
				break;
		s->takers_waiting--;
	}
	int rc = offer(s) ? take_next(t, max_events ? max_events : 1, max_bytes, o) : 0;
	pthread_mutex_unlock(&s->lock);
	if (!o->inner) {
		o->next = t->free;
		t->free = o;
		return rc;
	}
	o->next = t->open;
	t->open = o;
	*span = &o->span;
	return 0;
}

static int
by_first(const void *a, const void *b)
{
	const struct event_range *x = a, *y = b;
	return x->first < y->first ? -1 : x->first > y->first;
}

int
spillable_settle(struct taker *t, struct span *span, enum settle how, const struct event_range *set, uint32_t set_count)
{
	struct spillable *s = t->spillable;
	struct outer_span *o = span->impl;
	struct event_range *mine = NULL;
	uint64_t first = span->first, end = first + span->events, at = first, committed = 0;
	if (set && !(mine = malloc((set_count + 1) * sizeof *mine)))
		return -ENOMEM;
	/* Its own bounds and numbers; as with every channel ranges do not overlap. */
	uint32_t n = 0;
	for (uint32_t i = 0; i < set_count && set; i++) {
		uint64_t from = set[i].first < first ? first : set[i].first, to = set[i].first + set[i].count > end ? end : set[i].first + set[i].count;
		if (from < to)
			mine[n++] = (struct event_range){ from, to - from };
	}
	if (n)
		qsort(mine, n, sizeof *mine, by_first);
	pthread_mutex_lock(&s->lock);
	/* In order: what lies between the ranges, and the ranges. */
	bool ok = true;
	for (uint32_t i = 0; i <= n && set; i++) {
		uint64_t from = i < n ? mine[i].first : end, to = i < n ? from + mine[i].count : end;
		if (from > at && how == SETTLE_COMMIT)
			ok = ranges_add(&s->redo, at, from) && ok;
		else if (from > at)
			committed += from - at;
		if (how == SETTLE_COMMIT)
			committed += to - from;
		else if (to > from)
			ok = ranges_add(&s->redo, from, to) && ok;
		at = to;
	}
	if (!set && how == SETTLE_COMMIT)
		committed = end - first;
	else if (!set)
		ok = ranges_add(&s->redo, first, end);
	for (uint32_t i = 0; i < n; i++)
		mine[i].first -= o->delta;
	int rc = engine_settle(t->parts[o->part], o->inner, how, mine, n);
	if (committed)
		run_settle(s, first, committed);
	if (s->redo.count && s->takers_waiting)
		pthread_cond_broadcast(&s->wake);
	pthread_mutex_unlock(&s->lock);
	assert(ok && !rc);
	free(mine);
	atomic_fetch_add_explicit(&s->taken, committed, memory_order_relaxed);
	struct outer_span **link = &t->open;
	while (*link != o)
		link = &(*link)->next;
	*link = o->next;
	o->next = t->free;
	t->free = o;
	spillable_writer_wake(&s->channel);
	return rc;
}

void
spillable_span_release(struct taker *t, struct span *span)
{
	struct outer_span *o = span->impl;
	engine_span_release(t->parts[o->part], o->inner);
}

void
spillable_taker_idle(struct taker *t)
{
	for (int i = 0; i < 2; i++)
		if (t->parts[i])
			engine_taker_idle(t->parts[i]);
}

void
spillable_taker_close(struct taker *t)
{
	while (t->open)
		(void)spillable_settle(t, &t->open->span, SETTLE_ROLLBACK, NULL, 0);
	for (int i = 0; i < 2; i++)
		if (t->parts[i])
			engine_taker_close(t->parts[i]);
	for (struct outer_span *o = t->free, *next; o; o = next) {
		next = o->next;
		free(o);
	}
	free(t);
}

bool
spillable_span_next(const struct span *span, struct span_cursor *cursor, struct event_view *event)
{
	const struct outer_span *o = span->impl;
	if (!engine_span_next(o->inner, cursor, event))
		return false;
	event->number += o->delta;
	return true;
}
