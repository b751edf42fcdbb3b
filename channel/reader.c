/* reader: the window of taken events: take, settle in any order, offer again what was rolled back, lowest first. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "channel/engine.h"

#define PIECES_MAX 32u
#define BUFFERS_MAX 64u

struct buffer {			/* a block read back from the log */
	uint8_t *bytes;
	uint32_t room, refs;
	uint64_t position;
};

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

struct window_span {
	struct span span;
	struct window_span *next;
	uint32_t piece_count;
	struct piece pieces[PIECES_MAX];
};

struct taker {
	struct engine *engine;
	struct window_span *free, *open;
	struct buffer *buffers[BUFFERS_MAX];
	uint32_t buffer_count;
};

bool
ranges_add(struct ranges *r, uint64_t first, uint64_t end)
{
	uint32_t i = r->count;
	if (first == end)
		return true;
	while (i > 0 && r->items[i - 1].first > first)
		i--;
	if (i > 0 && r->items[i - 1].end == first) {
		r->items[i - 1].end = end;
		i--;
	} else {
		if (r->count == r->room) {
			uint32_t room = r->room ? r->room * 2 : 256;
			struct range *more = realloc(r->items, room * sizeof *more);
			if (!more)
				return false;
			r->items = more;
			r->room = room;
		}
		memmove(&r->items[i + 1], &r->items[i], (r->count - i) * sizeof *r->items);
		r->items[i] = (struct range){ first, end };
		r->count++;
	}
	if (i + 1 < r->count && r->items[i].end == r->items[i + 1].first) {
		r->items[i].end = r->items[i + 1].end;
		memmove(&r->items[i + 1], &r->items[i + 2], (r->count - i - 2) * sizeof *r->items);
		r->count--;
	}
	return true;
}

static void
ranges_cut_front(struct ranges *r, uint64_t end)
{
	r->items[0].first = end;
	if (r->items[0].first == r->items[0].end)
		memmove(&r->items[0], &r->items[1], --r->count * sizeof *r->items);
}

/* The entry that holds `number` (or the first behind it). */
static uint64_t
entry_find(struct engine *e, uint64_t number)
{
	uint64_t low = e->entry_head, high = e->entry_tail;
	while (low < high) {
		uint64_t middle = low + (high - low) / 2;
		struct entry *entry = engine_entry(e, middle);
		if (entry->first + entry->events <= number)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* NULL with *trouble: -EAGAIN when open spans hold all buffers, -EIO when the log gives nothing good. */
static struct buffer *
buffer_get(struct taker *t, uint64_t position, uint32_t bytes, int *trouble)
{
	struct buffer *unused = NULL;
	for (uint32_t i = 0; i < t->buffer_count; i++) {
		struct buffer *b = t->buffers[i];
		if (b->position == position && b->bytes) {
			b->refs++;
			return b;
		}
		if (!b->refs)
			unused = b;
	}
	if (!unused) {
		*trouble = -EAGAIN;
		if (t->buffer_count == BUFFERS_MAX || !(unused = calloc(1, sizeof *unused)))
			return NULL;
		t->buffers[t->buffer_count++] = unused;
	}
	*trouble = -EIO;
	unused->position = UINT64_MAX;
	if (unused->room < bytes) {
		free(unused->bytes);
		unused->room = 0;
		if (!(unused->bytes = aligned_alloc(4096, bytes)))
			return NULL;
		unused->room = bytes;
	}
	if (ringlog_read(t->engine->log, position, unused->bytes, bytes) || block_check(unused->bytes, bytes) ||
	    ((struct block_header *)unused->bytes)->position != position)
		return NULL;
	*trouble = 0;
	unused->position = position;
	unused->refs = 1;
	return unused;
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
	t->engine = (struct engine *)channel;
	*taker = t;
	return 0;
}

/* Under lock: waits for something to offer. */
static bool
offer_wait(struct engine *e, uint64_t wait_ns)
{
	if (e->redo.count || e->taken < atomic_load(&e->durable))
		return true;
	if (!wait_ns)
		return false;
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	wait_ns += (uint64_t)until.tv_nsec;
	until.tv_sec += (time_t)(wait_ns / NS_PER_S);
	until.tv_nsec = (long)(wait_ns % NS_PER_S);
	e->takers_waiting++;
	while (!e->redo.count && e->taken >= atomic_load(&e->durable))
		if (pthread_cond_timedwait(&e->wake, &e->lock, &until))
			break;
	e->takers_waiting--;
	return e->redo.count || e->taken < atomic_load(&e->durable);
}

/* Under lock: picks the run of numbers and its blocks. */
static void
span_pick(struct engine *e, struct window_span *s, uint32_t max_events, uint64_t max_bytes)
{
	bool again = e->redo.count != 0;
	uint64_t first = again ? e->redo.items[0].first : e->taken;
	uint64_t end = again ? e->redo.items[0].end : atomic_load(&e->durable);
	/* Numbers that are settled already (of a checkpoint, of damage) are not offered again. */
	if (!again)
		for (uint32_t i = 0; i < e->settled.count; i++) {
			if (e->settled.items[i].first <= first && first < e->settled.items[i].end)
				first = e->settled.items[i].end;
			else if (e->settled.items[i].first > first && e->settled.items[i].first < end)
				end = e->settled.items[i].first;
		}
	if (end > first + max_events)
		end = first + max_events;
	uint64_t at = first, bodies = 0;
	for (uint64_t q = entry_find(e, first); at < end && q < e->entry_tail && s->piece_count < PIECES_MAX; q++) {
		struct entry *entry = engine_entry(e, q);
		if (s->piece_count && bodies >= max_bytes)
			break;
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
			p->buffer = buffer_get(t, p->position, p->bytes, trouble);
			if (!p->buffer)
				break;
			bytes = p->buffer->bytes;
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
			if (p->sequence >= t->engine->entry_head)
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

static void
span_give_back(struct taker *t, struct window_span *s)
{
	s->next = t->free;
	t->free = s;
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
	s->piece_count = 0;
	s->span = (struct span){ .taker = t, .impl = s };
	atomic_fetch_add_explicit(&e->took_total, 1, memory_order_relaxed);
	if (max_events == 0)
		max_events = 1;
	pthread_mutex_lock(&e->lock);
	if (offer_wait(e, wait_ns))
		span_pick(e, s, max_events, max_bytes);
	pthread_mutex_unlock(&e->lock);
	if (!s->span.events) {
		span_give_back(t, s);
		return 0;
	}
	int trouble = 0;
	uint32_t picked = s->span.events, events = span_open(t, s, max_bytes, &trouble);
	if (events < picked) {
		pthread_mutex_lock(&e->lock);
		if (!ranges_add(&e->redo, s->span.first + events, s->span.first + picked))
			abort();
		if (!events) {
			for (uint32_t i = 0; i < s->piece_count; i++)
				piece_end(e, &s->pieces[i]);
			s->piece_count = 0;
		}
		pthread_mutex_unlock(&e->lock);
	}
	if (trouble == -EAGAIN)
		trouble = 0;	/* later, when spans have ended or were released */
	if (trouble) {
		static struct log_limit limit;
		log_limited(&limit, LOG_ERROR, "channel %s: the log cannot be read at event %llu: %s", e->name,
			    (unsigned long long)(s->span.first + events), trouble == -EIO ? "I/O or checksum error" : "damaged");
		counter_add(&e->counters.take_error, 1);
	}
	if (!events) {
		span_give_back(t, s);
		return trouble;
	}
	s->span.events = events;
	s->next = t->open;
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
	struct window_span **at = &t->open;
	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
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
		(void)engine_settle(t, &t->open->span, SETTLE_ROLLBACK, NULL, 0);
	for (struct window_span *s = t->free, *next; s; s = next) {
		next = s->next;
		free(s);
	}
	for (uint32_t i = 0; i < t->buffer_count; i++) {
		free(t->buffers[i]->bytes);
		free(t->buffers[i]);
	}
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
