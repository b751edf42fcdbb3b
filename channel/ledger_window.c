/* ledger_window: what consumer records mean for the window: DONE is settled, an INTENT of an earlier run is held back until resolved. */
#include <errno.h>
#include <stdlib.h>

#include "channel/broken.h"
#include "channel/ledger_impl.h"

static int
by_first(const void *a, const void *b)
{
	const struct range *x = a, *y = b;
	return x->first < y->first ? -1 : x->first > y->first;
}

static bool
range_append(struct ranges *r, uint64_t first, uint64_t end)
{
	if (r->count == r->room) {
		uint32_t room = r->room ? r->room * 2 : 256;
		struct range *more = realloc(r->items, room * sizeof *more);
		if (!more)
			return false;
		r->items = more;
		r->room = room;
	}
	r->items[r->count++] = (struct range){ first, end };
	return true;
}

/* Sorts and joins; whatever order and overlap they had. */
static void
ranges_tidy(struct ranges *r)
{
	uint32_t n = 0;
	if (r->count)
		qsort(r->items, r->count, sizeof *r->items, by_first);
	for (uint32_t i = 0; i < r->count; i++) {
		if (n && r->items[i].first <= r->items[n - 1].end) {
			if (r->items[i].end > r->items[n - 1].end)
				r->items[n - 1].end = r->items[i].end;
		} else
			r->items[n++] = r->items[i];
	}
	r->count = n;
}

/* a without b, into out. */
static bool
ranges_minus(const struct ranges *a, const struct ranges *b, struct ranges *out)
{
	uint32_t k = 0;
	for (uint32_t i = 0; i < a->count; i++) {
		uint64_t at = a->items[i].first, end = a->items[i].end;
		while (k < b->count && b->items[k].end <= at)
			k++;
		for (uint32_t j = k; j < b->count && b->items[j].first < end; j++) {
			if (b->items[j].first > at && !range_append(out, at, b->items[j].first))
				return false;
			if (b->items[j].end > at)
				at = b->items[j].end;
		}
		if (at < end && !range_append(out, at, end))
			return false;
	}
	return true;
}

static bool
set_append(struct ranges *r, const struct consumer_record *c, uint64_t from, uint64_t to)
{
	struct set_reader set;
	struct event_range run;
	set_open(&set, c->set, c->set_len);
	while (set_next(&set, &run)) {
		uint64_t first = run.first < from ? from : run.first, end = run.first + run.count > to ? to : run.first + run.count;
		if (first < end && !range_append(r, first, end))
			return false;
	}
	return true;
}

int
window_build(struct engine *e, const struct ledger_table *t, uint64_t end, uint64_t *held_events)
{
	struct ranges held = { 0 }, left = { 0 };
	bool ok = true;
	for (struct ledger_item *i = t->oldest; i && ok; i = i->newer) {
		struct consumer_record c;
		if (i->class != STATE_CONSUMER || !consumer_decode(i->bytes + i->key_len, i->value_len, &c))
			continue;
		if (c.state == CONSUMER_DONE || c.state == CONSUMER_ASIDE)
			ok = BROKEN(DONE) || set_append(&e->settled, &c, e->acked, end);
		else if (c.state == CONSUMER_INTENT) {
			i->held = true;
			ok = BROKEN(HELD) || set_append(&held, &c, e->acked, end);
		}
	}
	ranges_tidy(&e->settled);
	ranges_tidy(&held);
	ok = ok && ranges_minus(&held, &e->settled, &left);
	free(held.items);
	free(e->held.items);
	e->held = left;
	*held_events = 0;
	for (uint32_t i = 0; i < left.count; i++)
		*held_events += left.items[i].end - left.items[i].first;
	return ok ? 0 : -ENOMEM;
}

uint64_t
window_resolve(struct engine *e, const uint8_t *set, uint32_t set_len, bool delivered)
{
	struct ranges ours = { 0 }, others = { 0 }, freed = { 0 };
	struct consumer_record c = { .set = set, .set_len = set_len };
	uint64_t events = 0;
	pthread_mutex_lock(&e->lock);
	bool ok = set_append(&ours, &c, e->acked, atomic_load(&e->durable));
	ranges_tidy(&ours);
	ok = ok && ranges_minus(&e->held, &ours, &others);	/* what stays held */
	ok = ok && ranges_minus(&e->held, &others, &freed);
	if (ok) {
		free(e->held.items);
		e->held = others;
		others = (struct ranges){ 0 };
		for (uint32_t i = 0; i < freed.count && ok; i++) {
			uint64_t first = freed.items[i].first, end = freed.items[i].end;
			events += end - first;
			if (delivered) {
				ok = ranges_add(&e->settled, first, end);
				atomic_fetch_add_explicit(&e->settled_total, end - first, memory_order_relaxed);
			} else if (first < atomic_load(&e->taken))
				ok = ranges_add(&e->redo, first, end < atomic_load(&e->taken) ? end : atomic_load(&e->taken));
		}
		engine_acked_move(e);
		if (e->takers_waiting)
			pthread_cond_broadcast(&e->wake);
	}
	pthread_mutex_unlock(&e->lock);
	free(ours.items);
	free(others.items);
	free(freed.items);
	if (!ok)
		abort();	/* no memory, as everywhere in the window */
	return events;
}

/* The range that holds `number`, or the first behind it; count when there is none. */
static uint32_t
range_at(const struct ranges *r, uint64_t number)
{
	uint32_t low = 0, high = r->count;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (r->items[middle].end <= number)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

uint64_t
window_skip(const struct engine *e, uint64_t number)
{
	for (;;) {
		uint32_t s = range_at(&e->settled, number), h = range_at(&e->held, number);
		if (s < e->settled.count && e->settled.items[s].first <= number)
			number = e->settled.items[s].end;
		else if (h < e->held.count && e->held.items[h].first <= number)
			number = e->held.items[h].end;
		else
			return number;
	}
}

uint64_t
window_stop(const struct engine *e, uint64_t number)
{
	uint32_t s = range_at(&e->settled, number), h = range_at(&e->held, number);
	uint64_t stop = s < e->settled.count ? e->settled.items[s].first : UINT64_MAX;
	return h < e->held.count && e->held.items[h].first < stop ? e->held.items[h].first : stop;
}
