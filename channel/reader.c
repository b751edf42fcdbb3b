/* reader: the window of taken events: take, settle in any order, offer again what was rolled back, lowest first. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "channel/broken.h"
#include "channel/ledger_impl.h"
#include "channel/readback.h"

#define PIECES_MAX 32u
#define READ_TRIES 10u		/* takes, between which the runner backs off, before a block that cannot be read is given up */

struct piece {			/* a run of events in one block */
	struct block_view view;
	struct memory *memory;	/* pinned, or */
	struct buffer *buffer;
	struct walk start;
	uint32_t events;
	/* copied under the lock */
	uint64_t sequence, first, position;
	uint32_t bytes, skip;	/* events between start and the first wanted */
};

struct pieces {			/* of a span whose bytes are still wanted; goes back to the taker when they are not */
	struct pieces *next;
	struct piece items[PIECES_MAX];
};

struct window_span {		/* small: a sink may hold it open for hours */
	struct span span;
	struct window_span *next, **at;	/* in the free list; among the open ones, with what points to it */
	uint32_t piece_count;
	struct pieces *memory;
	struct piece *pieces;
};

struct taker {
	struct engine *engine;
	struct window_span *free, *open;
	struct pieces *pieces_free;
	struct readback readback;
};

/* The entry that holds `number` (or the first behind it). */
static uint64_t
entry_find(struct engine *e, uint64_t number)
{
	struct entries *n = number < e->cold_end_number && e->cold.head < e->cold.tail ? &e->cold : &e->hot;
	uint64_t low = n->head, high = n->tail;
	while (low < high) {
		uint64_t middle = low + (high - low) / 2;
		struct entry *entry = engine_entry(e, middle);
		if (entry->first + entry->events <= number)
			low = middle + 1;
		else
			high = middle;
	}
	if (n == &e->cold && low == n->tail && e->cold_walk.position == e->cold_limit)
		low = e->hot.head;
	return low;
}

static uint64_t
entry_after(struct engine *e, uint64_t sequence)
{
	return sequence + 1 == e->cold.tail && e->cold_walk.position == e->cold_limit ? e->hot.head : sequence + 1;
}

/* Under lock: numbers that a damaged stretch held are never offered. */
static int
events_lost(struct engine *e, uint64_t first, uint64_t end)
{
	if (first < e->acked)
		first = e->acked;
	if (end <= first)
		return 0;
	if (!ranges_reserve(&e->settled, 2))
		return -ENOMEM;
	uint64_t lost = ranges_add_missing(&e->settled, first, end);
	atomic_fetch_add_explicit(&e->settled_total, lost, memory_order_relaxed);
	counter_add(&e->counters.damaged_events, lost);
	return 0;
}

#define COLD_STEP 64u

/* Reads headers of a backlog that recovery left alone, as far as the next take may need. Without the lock, one taker at a time. */
static int
cold_read(struct taker *t, uint32_t max_events)
{
	struct engine *e = t->engine;
	int rc = 0;
	uint8_t *bytes = NULL;
	pthread_mutex_lock(&e->cold_lock);
	for (uint32_t i = 0; i < COLD_STEP && !rc; i++) {
		pthread_mutex_lock(&e->lock);
		bool enough = e->cold_walk.position == e->cold_limit || e->cold_number >= e->taken + max_events;
		bool room = enough || (ranges_reserve(&e->settled, 2) && entries_reserve(&e->cold, 1));
		struct log_walk walk = e->cold_walk;
		pthread_mutex_unlock(&e->lock);
		if (enough)
			break;
		if (!room || (!bytes && !(bytes = aligned_alloc(4096, BLOCK_ALIGN_BYTES)))) {
			rc = -ENOMEM;
			break;
		}
		const struct block_header *h = (const struct block_header *)bytes;
		uint64_t gap, from = walk.position;
		const struct buffer *ahead = readback_run(&t->readback, walk.position, e->cold_limit);
		struct ringlog_ahead run = ahead ? (struct ringlog_ahead){ ahead->bytes, ahead->position, ahead->len } : (struct ringlog_ahead){ NULL };
		int found = ringlog_next(e->log, &walk, e->cold_limit, e->cold_tries < READ_TRIES, bytes, &gap, &run);
		if (found < 0) {
			e->cold_tries++;
			rc = found;
			break;
		}
		e->cold_tries = 0;
		if (gap) {
			log_error("channel %s: the log is damaged from position %llu on for %llu bytes; skipped", e->name,
				  (unsigned long long)from, (unsigned long long)gap);
			ringlog_aside(e->log, from, from + gap, "damaged");
		}
		pthread_mutex_lock(&e->lock);
		e->damage_found += gap != 0;
		uint64_t first = found ? h->first_event : e->cold_end_number, events = found ? h->events : 0;
		if (first > e->cold_number)
			rc = events_lost(e, e->cold_number, first);
		if (found && first + events > e->acked && events) {
			struct entry entry = { .first = first, .position = h->position, .previous_end = h->previous_end, .events = h->events,
				.bytes = h->bytes, .raw_bytes = h->raw_bytes, .previous_crc = h->previous_crc };
			(void)entries_add(&e->cold, &entry);
		}
		if (first + events > e->cold_number)
			e->cold_number = first + events;
		e->cold_walk = walk;
		engine_acked_move(e);
		pthread_mutex_unlock(&e->lock);
	}
	free(bytes);
	pthread_mutex_unlock(&e->cold_lock);
	return rc;
}

static void
piece_end(struct engine *e, struct piece *p)	/* under lock */
{
	if (p->memory && --p->memory->pins == 0)
		e->pinned--;
	if (p->buffer)
		p->buffer->refs--;
	p->memory = NULL;
	p->buffer = NULL;
}

int
engine_taker_open(struct channel *channel, const char *sink, struct taker **taker, struct err *err)
{
	(void)sink;
	struct taker *t = calloc(1, sizeof *t);
	if (!t)
		return err_set(err, ENOMEM, "no memory");
	t->engine = t->readback.engine = (struct engine *)channel;
	*taker = t;
	return 0;
}

/* Under lock. Numbers that are settled already (of a checkpoint, of damage, DONE in the ledger) or held back are not offered. */
static bool
offer_ready(struct engine *e)
{
	e->taken = window_skip(e, e->taken);
	return e->redo.count || e->taken < atomic_load(&e->durable);
}

/* Under lock. */
static uint64_t
offer_first(const struct engine *e)
{
	return e->redo.count ? e->redo.items[0].first : e->taken;
}

/* Under lock: waits for something to offer. */
static bool
offer_wait(struct engine *e, uint64_t wait_ns)
{
	if (offer_ready(e))
		return true;
	if (!wait_ns)
		return false;
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	wait_ns += (uint64_t)until.tv_nsec;
	until.tv_sec += (time_t)(wait_ns / NS_PER_S);
	until.tv_nsec = (long)(wait_ns % NS_PER_S);
	e->takers_waiting++;
	while (!offer_ready(e))
		if (pthread_cond_timedwait(&e->wake, &e->lock, &until))
			break;
	e->takers_waiting--;
	return offer_ready(e);
}

/* Under lock: picks the run of numbers and its blocks. */
static void
span_pick(struct engine *e, struct window_span *s, uint32_t max_events, uint64_t max_bytes)
{
	bool again = e->redo.count != 0;
	uint64_t first = again ? e->redo.items[0].first : e->taken;
	uint64_t end = again ? e->redo.items[0].end : atomic_load(&e->durable);
	if (!again && window_stop(e, first) < end)
		end = window_stop(e, first);
	if (end > first + max_events)
		end = first + max_events;
	uint64_t at = first, bodies = 0;
	for (uint64_t q = entry_find(e, first); at < end && entry_there(e, q) && s->piece_count < PIECES_MAX; q = entry_after(e, q)) {
		struct entry *entry = engine_entry(e, q);
		if (s->piece_count && bodies >= max_bytes)
			break;
		if (entry->first > at) {	/* cannot be, but numbers are not made up */
			end = at;
			break;
		}
		struct piece *p = &s->pieces[s->piece_count++];
		uint64_t stop = entry->first + entry->events < end ? entry->first + entry->events : end;
		uint32_t index = (uint32_t)(at - entry->first);
		*p = (struct piece){ .sequence = q, .first = entry->first, .position = entry->position, .bytes = entry->bytes,
			.events = (uint32_t)(stop - at) };
		if (entry->hint.events <= index)
			p->start = entry->hint;
		p->skip = index - p->start.events;
		if (entry->memory && (!e->log || entry->memory->pins || e->pinned < e->block_count / 2)) {
			p->memory = entry->memory;
			if (p->memory->pins++ == 0)
				e->pinned++;
		}
		bodies += (uint64_t)entry->raw_bytes * p->events / entry->events;
		at = stop;
	}
	if (again)
		ranges_cut_front(&e->redo, at);
	else
		e->taken = at;
	s->span.first = first;
	s->span.events = (uint32_t)(at - first);
}

/* Without the lock: opens the blocks, finds the first event, counts bodies up to the limit. Returns the events that go out. */
static uint32_t
span_open(struct taker *t, struct window_span *s, uint64_t max_bytes, int *trouble)
{
	uint32_t events = 0, i;
	for (i = 0; i < s->piece_count; i++) {
		struct piece *p = &s->pieces[i];
		struct record_view record;
		const uint8_t *bytes = p->memory ? p->memory->block.bytes : NULL;
		if (!bytes) {
			p->buffer = readback_get(&t->readback, p->position, p->bytes, trouble);
			if (!p->buffer)
				break;
			bytes = p->buffer->bytes + (p->position - p->buffer->position);
		}
		bool ok = block_view_open(&p->view, bytes, p->bytes);
		while (ok && p->skip) {
			ok = block_walk(&p->view, &p->start, &record) > 0;
			if (ok && record.type == RECORD_EVENT)
				p->skip--;
		}
		struct walk walk = p->start;
		uint32_t n = 0;
		bool full = false;
		const struct block_header *h = p->view.header;
		if (ok && !walk.record_offset && p->events == h->events && h->records == h->events &&
		    s->span.body_bytes + (h->raw_bytes - h->records) <= max_bytes) {
			s->span.body_bytes += h->raw_bytes - h->records;	/* all of the block: nothing to look for in it */
			events += p->events;
			continue;
		}
		while (ok && n < p->events) {
			struct walk before = walk;
			ok = block_walk(&p->view, &walk, &record) > 0;
			if (!ok || record.type != RECORD_EVENT)
				continue;
			if (s->span.body_bytes + record.event.body_len > max_bytes && events + n) {
				walk = before;
				full = true;
				break;
			}
			s->span.body_bytes += record.event.body_len;
			n++;
		}
		if (!ok)
			*trouble = -EBADMSG;
		p->events = n;
		events += n;
		if (n) {
			pthread_mutex_lock(&t->engine->lock);
			if (entry_there(t->engine, p->sequence))
				engine_entry(t->engine, p->sequence)->hint = walk;
			pthread_mutex_unlock(&t->engine->lock);
		}
		if (full || !ok) {
			i++;
			break;
		}
	}
	pthread_mutex_lock(&t->engine->lock);
	while (s->piece_count > i)
		piece_end(t->engine, &s->pieces[--s->piece_count]);
	pthread_mutex_unlock(&t->engine->lock);
	return events;
}

static bool
pieces_take(struct taker *t, struct window_span *s)
{
	s->memory = t->pieces_free;
	if (s->memory)
		t->pieces_free = s->memory->next;
	else if (!(s->memory = malloc(sizeof *s->memory)))
		return false;
	s->pieces = s->memory->items;
	return true;
}

static void
pieces_give_back(struct taker *t, struct window_span *s)
{
	if (!s->memory)
		return;
	s->memory->next = t->pieces_free;
	t->pieces_free = s->memory;
	s->memory = NULL;
	s->pieces = NULL;
}

static void
span_give_back(struct taker *t, struct window_span *s)
{
	pieces_give_back(t, s);
	s->next = t->free;
	t->free = s;
}

/* Under lock: nothing of [from, to) could be read. A block that stays unreadable, or is not what was written, is given up: reported,
 * counted, and what stands behind it is offered. Returns where what is still offered begins. */
static uint64_t
block_lost(struct engine *e, uint64_t from, uint64_t to, int *trouble, struct range *aside)
{
	uint64_t q = entry_find(e, from);
	if (!entry_there(e, q))
		return from;
	struct entry *entry = engine_entry(e, q);
	if (entry->tries < READ_TRIES && (*trouble == -EIO ? ++entry->tries < READ_TRIES : ++entry->tries < 2))
		return from;
	uint64_t end = entry->first + entry->events < to ? entry->first + entry->events : to;
	if (events_lost(e, from, end))
		return from;
	e->damage_found++;
	log_error("channel %s: the block at position %llu cannot be read (%s): %llu events are lost", e->name,
		  (unsigned long long)entry->position, *trouble == -EIO ? "I/O error" : "checksum", (unsigned long long)(end - from));
	*aside = (struct range){ entry->position, entry->position + entry->bytes };
	*trouble = 0;
	return end;
}

int
engine_take(struct taker *t, uint32_t max_events, uint64_t max_bytes, uint64_t wait_ns, struct span **span)
{
	struct engine *e = t->engine;
	*span = NULL;
	struct window_span *s = t->free;
	if (s)
		t->free = s->next;
	else if (!(s = malloc(sizeof *s)))
		return -ENOMEM;
	*s = (struct window_span){ .span = { .taker = t, .impl = s } };
	if (!pieces_take(t, s)) {
		span_give_back(t, s);
		return -ENOMEM;
	}
	atomic_fetch_add_explicit(&e->took_total, 1, memory_order_relaxed);
	if (max_events == 0)
		max_events = 1;
	int trouble = 0;
	struct range aside = { 0, 0 };
	pthread_mutex_lock(&e->lock);
	bool there = offer_wait(e, wait_ns);
	/* What comes next may lie behind settled or held events that nobody has walked over yet, or be one of those that were held. */
	while (there && !trouble && e->cold_walk.position != e->cold_limit && (!e->redo.count || e->cold_number <= offer_first(e))) {
		pthread_mutex_unlock(&e->lock);
		trouble = cold_read(t, max_events);
		pthread_mutex_lock(&e->lock);
		there = offer_ready(e);
		if (offer_first(e) < e->cold_number) {	/* there is something to offer before what could not be read */
			trouble = 0;
			break;
		}
	}
	if (!trouble && !ranges_reserve(&e->redo, 2))
		trouble = -ENOMEM;
	if (there && !trouble)
		span_pick(e, s, max_events, max_bytes);
	pthread_mutex_unlock(&e->lock);
	if (!s->span.events) {
		if (trouble == -EIO)
			counter_add(&e->counters.take_error, 1);
		span_give_back(t, s);
		return trouble;
	}
	uint32_t picked = s->span.events, events = span_open(t, s, max_bytes, &trouble);
	if (events < picked) {
		pthread_mutex_lock(&e->lock);
		uint64_t from = s->span.first + events, to = s->span.first + picked;
		if (trouble && trouble != -EAGAIN && trouble != -ENOMEM && trouble != -EACCES && !events)
			from = block_lost(e, from, to, &trouble, &aside);
		bool added = ranges_add(&e->redo, from, to);
		assert(added);
		if (!events) {
			for (uint32_t i = 0; i < s->piece_count; i++)
				piece_end(e, &s->pieces[i]);
			s->piece_count = 0;
		}
		engine_acked_move(e);
		pthread_mutex_unlock(&e->lock);
	}
	if (aside.end)
		ringlog_aside(e->log, aside.first, aside.end, "damaged");
	if (trouble == -EAGAIN)
		trouble = 0;	/* later, when spans have ended or were released */
	if (trouble && !events) {
		static struct log_limit limit;
		log_limited(&limit, LOG_ERROR, "channel %s: the log cannot be read at event %llu: %s", e->name,
			    (unsigned long long)s->span.first, trouble == -EIO ? "I/O error" : trouble == -ENOMEM ? "no memory" : trouble == -EACCES ?
			    "its key is not among encryption.keyProvider.keys" : "damaged");
		counter_add(&e->counters.take_error, 1);
	}
	if (!events) {
		span_give_back(t, s);
		return trouble;
	}
	s->span.events = events;
	s->next = t->open;
	s->at = &t->open;
	if (s->next)
		s->next->at = &s->next;
	t->open = s;
	*span = &s->span;
	return 0;
}

static bool
settle_range(struct engine *e, enum settle how, uint64_t first, uint64_t end)
{
	if (how == SETTLE_COMMIT) {
		atomic_fetch_add_explicit(&e->settled_total, end - first, memory_order_relaxed);
		atomic_fetch_add_explicit(&e->taken_total, end - first, memory_order_relaxed);
		return ranges_add(&e->settled, first, end);
	}
	if (e->takers_waiting)
		pthread_cond_broadcast(&e->wake);
	return ranges_add(&e->redo, first, end);
}

static int
by_first(const void *a, const void *b)
{
	const struct event_range *x = a, *y = b;
	return x->first < y->first ? -1 : x->first > y->first;
}

int
engine_settle(struct taker *t, struct span *span, enum settle how, const struct event_range *set, uint32_t set_count)
{
	struct engine *e = t->engine;
	struct window_span *s = span->impl;
	uint64_t first = span->first, end = first + span->events;
	enum settle other = how == SETTLE_COMMIT ? SETTLE_ROLLBACK : SETTLE_COMMIT;
	struct event_range *sorted = NULL;
	bool ok = true;
	if (set) {
		if (!(sorted = malloc((set_count + 1) * sizeof *sorted)))
			return -ENOMEM;
		memcpy(sorted, set, set_count * sizeof *sorted);
		qsort(sorted, set_count, sizeof *sorted, by_first);
	}
	pthread_mutex_lock(&e->lock);
	if (!ranges_reserve(&e->settled, set_count + 1) || !ranges_reserve(&e->redo, set_count + 1)) {
		pthread_mutex_unlock(&e->lock);
		free(sorted);
		return -ENOMEM;		/* the span stays open */
	}
	if (!set)
		ok = settle_range(e, how, first, end);
	else {
		uint64_t at = first;
		for (uint32_t i = 0; i < set_count; i++) {
			uint64_t from = sorted[i].first > at ? sorted[i].first : at, to = sorted[i].first + sorted[i].count;
			if (from > end)
				from = end;
			if (to > end)
				to = end;
			if (to <= from)
				continue;
			ok = settle_range(e, other, at, from) && settle_range(e, how, from, to) && ok;
			at = to;
		}
		ok = settle_range(e, other, at, end) && ok;
	}
	for (uint32_t i = 0; i < s->piece_count; i++)
		piece_end(e, &s->pieces[i]);
	engine_acked_move(e);
	pthread_mutex_unlock(&e->lock);
	assert(ok);
	free(sorted);
	*s->at = s->next;
	if (s->next)
		s->next->at = s->at;
	span_give_back(t, s);
	if (atomic_load_explicit(&e->starved, memory_order_relaxed))
		engine_writer_wake(&e->channel);
	return 0;
}

void
engine_span_release(struct taker *t, struct span *span)
{
	struct window_span *s = span->impl;
	pthread_mutex_lock(&t->engine->lock);
	while (s->piece_count)
		piece_end(t->engine, &s->pieces[--s->piece_count]);
	pthread_mutex_unlock(&t->engine->lock);
	pieces_give_back(t, s);
}

void
engine_taker_idle(struct taker *t)
{
	(void)t;
}

void
engine_taker_close(struct taker *t)
{
	while (t->open)
		if (engine_settle(t, &t->open->span, SETTLE_ROLLBACK, NULL, 0))
			abort();	/* without memory for a range of numbers */
	for (struct window_span *s = t->free, *next; s; s = next) {
		next = s->next;
		free(s);
	}
	for (struct pieces *p = t->pieces_free, *next; p; p = next) {
		next = p->next;
		free(p);
	}
	readback_close(&t->readback);
	free(t);
}

/* state: 0 piece, 1 record offset + 1 (0: at the piece's start), 2 raw offset, 3 events of the walk, 4 events of the piece so far */
bool
engine_span_next(const struct span *span, struct span_cursor *cursor, struct event_view *event)
{
	const struct window_span *s = span->impl;
	uint64_t *state = cursor->state;
	while (state[0] < s->piece_count) {
		const struct piece *p = &s->pieces[state[0]];
		struct walk walk = p->start;
		struct record_view record;
		if (state[1])
			walk = (struct walk){ .record_offset = (uint32_t)(state[1] - 1), .raw_offset = (uint32_t)state[2],
				.events = (uint32_t)state[3] };
		while (state[4] < p->events && block_walk(&p->view, &walk, &record) > 0) {
			if (record.type != RECORD_EVENT)
				continue;
			*event = record.event;
			state[1] = walk.record_offset + 1ull;
			state[2] = walk.raw_offset;
			state[3] = walk.events;
			state[4]++;
			return true;
		}
		state[0]++;
		state[1] = state[4] = 0;
	}
	return false;
}
