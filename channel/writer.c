/* writer: the step of the writer thread: end groups, gather, write, give credit; sleep when there is nothing. */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/log.h"
#include "channel/engine.h"

#define CREDIT_MAX 128u		/* blocks a link holds ready: what it takes in while the disk is away for a moment */

void
engine_writer_wake(struct channel *channel)
{
	struct engine *e = (struct engine *)channel;
	/* An exchange on both sides: either we see that it sleeps, or it sees what we pushed before. */
	if (atomic_exchange(&e->writer_sleeps, false)) {
		uint64_t one = 1;
		(void)!write(e->wake_fd, &one, sizeof one);
	}
}

static void
link_wake(struct engine_link *l)
{
	if (l->link.wake_fd >= 0 && atomic_exchange(&l->link.sleeping, false)) {
		uint64_t one = 1;
		(void)!write(l->link.wake_fd, &one, sizeof one);
	}
}

static void
block_complete(struct engine *e, struct memory *m, int status)
{
	struct completion *c = m->completion;
	struct engine_link *l = m->link;
	c->serial = m->block.serial;
	c->events = m->block.events;
	c->status = status;
	c->ticket_count = m->block.ticket_count;
	memcpy(c->tickets, m->block.tickets, m->block.ticket_count * sizeof *c->tickets);
	m->completion = NULL;
	m->link = NULL;
	bool pushed = spsc_push(&l->link.completions, c);
	assert(pushed);
	atomic_fetch_sub_explicit(&e->pending_blocks, 1, memory_order_relaxed);
	link_wake(l);
}

/* The oldest group has ended. */
static void
group_complete(struct engine *e, struct group *g)
{
	struct engine_counters *n = &e->counters;
	int status = e->failed ? -EIO : g->status;
	if (status && !e->failed) {
		e->failed = true;
		counter_set(&n->unhealthy, 1);
		log_error("channel %s: a write to the log failed (%s): nothing more is stored until it is opened again", e->name,
			  strerror(-status));
	}
	e->writing -= g->events;
	if (status) {
		counter_add(&n->failed, g->events);
		counter_add(&n->put_error, g->count);
	} else {
		counter_add(&n->stored, g->events);
		counter_add(&n->put_success, g->events);
		counter_add(&n->payload_bytes, g->payload);
		counter_add(&n->log_bytes, e->log ? g->bytes : 0);
		counter_add(&n->syncs, 1);
		counter_add(&n->blocks_written, g->count);
		pthread_mutex_lock(&e->lock);
		uint64_t durable = atomic_load_explicit(&e->durable, memory_order_relaxed);
		for (uint32_t i = 0; i < g->count; i++) {
			struct memory *m = g->blocks[i];
			const struct block_header *h = (const struct block_header *)m->block.bytes;
			m->state = MEMORY_TAIL;
			m->entry = e->entry_tail;
			e->tail[e->tail_count++] = m;
			if (!h->events)
				continue;
			assert(h->first_event == durable);
			struct entry entry = { .first = durable, .position = h->position, .previous_end = g->previous_end, .events = h->events,
				.bytes = h->bytes, .raw_bytes = h->raw_bytes, .previous_crc = g->previous_crc, .memory = m };
			if (!engine_entry_add(e, &entry))
				abort();
			e->bytes_held += h->raw_bytes / 100 + h->events / 2 + 1;
			durable += h->events;
		}
		atomic_fetch_add(&e->stored_total, g->events);
		atomic_store(&e->durable, durable);
		e->acked_position = g->position + g->bytes;
		e->acked_crc = g->crc;
		bool sleepers = e->takers_waiting != 0;
		pthread_mutex_unlock(&e->lock);
		e->durable_position = g->position + g->bytes;
		if (sleepers)
			pthread_cond_broadcast(&e->wake);
	}
	for (uint32_t i = 0; i < g->count; i++) {
		struct memory *m = g->blocks[i];
		block_complete(e, m, status);
		if (status) {
			m->state = MEMORY_FREE;
			e->free[e->free_count++] = m;
		}
	}
}

static int
groups_end(struct engine *e)
{
	struct logio_done done[LOGIO_GROUPS_MAX];
	int did = 0;
	if (e->io && e->group_count) {
		int n = e->io->ops->reap(e->io, done, LOGIO_GROUPS_MAX);
		for (int i = 0; i < n; i++) {
			struct group *g = done[i].context;
			g->ended = true;
			g->status = done[i].status;
		}
	}
	while (e->group_count && e->groups[e->group_first].ended) {
		group_complete(e, &e->groups[e->group_first]);
		e->group_first = (e->group_first + 1) % LOGIO_GROUPS_MAX;
		e->group_count--;
		did++;
	}
	return did;
}

/* How many blocks at the head of the link's ring must lie in one group; 0: not all are there yet, or they do not fit into what is left. */
static uint32_t
run_length(struct engine *e, struct engine_link *l, const struct group *g, uint64_t room)
{
	struct block *first = spsc_peek(&l->link.submit, 0);
	if (!first)
		return 0;
	uint32_t run = first->joined + 1;
	assert(run <= LOGIO_WRITES_MAX);
	if (run > 1 && !spsc_peek(&l->link.submit, run - 1))
		return 0;
	if (g->count + run > LOGIO_WRITES_MAX || g->bytes + (uint64_t)run * e->block_bytes > room)
		return 0;
	return spsc_count(&l->link.completions_free) >= run ? run : 0;	/* else it does not reap: nothing more of it is taken */
}

/* Takes submitted blocks, link by link, as many as a group may hold. */
static void
group_gather(struct engine *e, struct group *g)
{
	uint32_t links = atomic_load_explicit(&e->link_count, memory_order_acquire);
	uint64_t room = e->log ? e->log->segment_bytes : UINT64_MAX;
	g->count = g->bytes = g->events = g->payload = 0;
	g->ended = false;
	for (uint32_t i = 0; i < links; i++) {
		struct engine_link *l = e->links[(e->link_turn + i) % links];
		uint32_t run = 0;
		while (run || (run = run_length(e, l, g, room))) {
			run--;
			struct completion *c = spsc_pop(&l->link.completions_free);
			struct memory *m = ((struct block *)spsc_pop(&l->link.submit))->impl;
			assert(m->state == MEMORY_OUT && m->link == l);
			m->state = MEMORY_WRITING;
			m->completion = c;
			l->out--;
			e->reserved -= m->block.events_max;
			g->blocks[g->count++] = m;
			g->bytes += ((struct block_header *)m->block.bytes)->bytes;
			g->events += m->block.events;
			g->payload += m->block.raw_bytes - m->block.events;
		}
	}
	if (links)
		e->link_turn = (e->link_turn + 1) % links;
}

static void
group_headers(struct engine *e, struct group *g)
{
	uint64_t at = g->position;
	g->crc = 0;
	for (uint32_t i = 0; i < g->count; i++) {
		struct block_header *h = (struct block_header *)g->blocks[i]->block.bytes;
		h->first_event = e->appended;
		e->appended += h->events;
		if (!e->log)
			continue;
		memcpy(h->log_id, e->log->log_id, LOG_ID_BYTES);
		h->epoch = e->log->epoch;
		h->position = at;
		h->group_position = g->position;
		h->group_index = i;
		h->group_count = g->count;
		h->durable = e->durable_position;
		h->previous_end = g->previous_end;
		h->previous_crc = g->previous_crc;
		block_finish((uint8_t *)h);
		g->crc = crc32c(g->crc, &h->header_crc, sizeof h->header_crc);
		at += h->bytes;
	}
}

static void
group_send(struct engine *e, struct group *g)
{
	struct logio_write writes[LOGIO_WRITES_MAX];
	struct logio_file *file;
	uint64_t offset;
	atomic_store_explicit(&e->channel.hungry, 0, memory_order_relaxed);	/* at once: a plain sync keeps this thread */
	counter_add(&e->counters.put_attempt, g->events);
	atomic_fetch_add_explicit(&e->pending_blocks, g->count, memory_order_relaxed);
	e->writing += g->events;
	e->group_count++;
	g->status = 0;
	if (!e->log || e->failed) {
		g->position = g->previous_end = 0;
		if (!e->failed)
			group_headers(e, g);
		g->ended = true;
		return;
	}
	g->previous_end = e->log->position;
	g->previous_crc = e->log->previous_crc;
	int rc = ringlog_place(e->log, g->bytes, &g->position, &file, &offset);
	if (rc) {
		g->status = rc;
		g->ended = true;
		return;
	}
	group_headers(e, g);
	e->log->previous_crc = g->crc;
	for (uint32_t i = 0; i < g->count; i++) {
		struct block_header *h = (struct block_header *)g->blocks[i]->block.bytes;
		writes[i] = (struct logio_write){ .bytes = h, .len = h->bytes };
	}
	uint64_t now = e->sync_groups ? 0 : clock_now_ns(e->clock);
	bool sync = e->sync_groups || now - e->last_sync_ns >= e->sync_interval_ns;
	if (sync)
		e->last_sync_ns = now;
	rc = e->io->ops->submit(e->io, file, offset, writes, g->count, sync, g);
	if (rc) {
		g->status = rc;
		g->ended = true;
	}
}

static int
gather(struct engine *e)
{
	int did = 0;
	while (e->group_count < e->groups_max) {
		struct group *g = &e->groups[(e->group_first + e->group_count) % LOGIO_GROUPS_MAX];
		group_gather(e, g);
		if (!g->count)
			break;
		group_send(e, g);
		did++;
		if (!e->io || e->failed)
			groups_end(e);
	}
	return did;
}

/* Brings back memory of the tail: of settled blocks (memory), or the oldest that no sink has pinned (their bytes are in the log). */
static void
tail_reclaim(struct engine *e, uint32_t want)
{
	pthread_mutex_lock(&e->lock);
	uint32_t kept = 0;
	for (uint32_t i = 0; i < e->tail_count; i++) {
		struct memory *m = e->tail[i];
		bool done = m->entry < e->entry_head;
		if (m->pins || !want || (!e->log && !done)) {
			e->tail[kept++] = m;
			continue;
		}
		if (!done && m->entry < e->entry_tail && engine_entry(e, m->entry)->memory == m)
			engine_entry(e, m->entry)->memory = NULL;
		m->state = MEMORY_FREE;
		e->free[e->free_count++] = m;
		want--;
	}
	e->tail_count = kept;
	pthread_mutex_unlock(&e->lock);
}

static int
credit(struct engine *e)
{
	uint32_t links = atomic_load_explicit(&e->link_count, memory_order_acquire), missing = 0;
	if (!links)
		return 0;
	uint32_t target = e->block_count / (2 * links);
	target = target > CREDIT_MAX ? CREDIT_MAX : target < 2 ? 2 : target;
	for (uint32_t i = 0; i < links; i++)
		missing += e->links[i]->out < target ? target - e->links[i]->out : 0;
	if (!missing) {
		atomic_store_explicit(&e->starved, false, memory_order_relaxed);
		return 0;
	}
	int given = 0;
	/* Told first, looked at after: a settle in between wakes us. */
	atomic_store(&e->starved, true);
	e->settled_seen = atomic_load(&e->settled_total);
	if (e->free_count < missing)
		tail_reclaim(e, missing - e->free_count);
	uint64_t capacity = atomic_load_explicit(&e->capacity, memory_order_relaxed);
	uint64_t least = capacity / 16 < 2048 ? capacity / 16 : 2048;
	bool stopped = e->log && atomic_load_explicit(&e->log->no_space, memory_order_relaxed);
	if (e->capacity_bytes) {
		pthread_mutex_lock(&e->lock);
		stopped = e->bytes_held >= e->capacity_bytes;
		pthread_mutex_unlock(&e->lock);
	}
	for (uint32_t i = 0; i < links && !stopped; i++) {
		struct engine_link *l = e->links[i];
		bool gave = false;
		while (l->out < target && e->free_count) {
			uint64_t used = engine_unsettled(&e->channel) + e->writing + e->reserved;
			uint64_t room = used < capacity ? capacity - used : 0;
			if (room == 0 || (room < least && l->out))
				break;
			uint64_t reserve = room / (2 * links);
			struct memory *m = e->free[--e->free_count];
			m->block.events_max = reserve > ENGINE_RESERVE_EVENTS ? ENGINE_RESERVE_EVENTS : reserve ? (uint32_t)reserve : 1;
			m->block.events = m->block.raw_bytes = m->block.ticket_count = 0;
			m->state = MEMORY_OUT;
			m->link = l;
			l->out++;
			e->reserved += m->block.events_max;
			bool pushed = spsc_push(&l->link.credit, &m->block);
			assert(pushed);
			gave = true;
			given++;
		}
		if (gave)
			link_wake(l);
	}
	if ((uint32_t)given == missing)
		atomic_store_explicit(&e->starved, false, memory_order_relaxed);
	return given;
}

static bool
submitted(struct engine *e)
{
	uint32_t links = atomic_load_explicit(&e->link_count, memory_order_acquire);
	for (uint32_t i = 0; i < links; i++)
		if (spsc_count(&e->links[i]->link.submit))
			return true;
	return false;
}

int
engine_writer_step(struct channel *channel, uint64_t wait_ns)
{
	struct engine *e = (struct engine *)channel;
	int did = groups_end(e), gathered = gather(e);
	did += gathered + groups_end(e);
	did += credit(e);
	if (e->log && !e->helper_runs)
		engine_tend(e);
	/* The writer is free: small groups at low load, full blocks while one is under way. Without a disk the takers decide. */
	uint32_t hungry = e->group_count == 0 && !gathered;
	if (!e->log && hungry)
		hungry = atomic_load_explicit(&e->taken, memory_order_relaxed) >= atomic_load_explicit(&e->durable, memory_order_relaxed);
	if (atomic_load_explicit(&channel->hungry, memory_order_relaxed) != hungry)
		atomic_store_explicit(&channel->hungry, hungry, memory_order_relaxed);
	if (did || !wait_ns)
		return did;
	(void)atomic_exchange(&e->writer_sleeps, true);
	bool more_room = atomic_load(&e->starved) && atomic_load(&e->settled_total) != e->settled_seen;
	if (!more_room && (!submitted(e) || e->group_count == e->groups_max)) {
		struct timespec wait = { .tv_sec = (time_t)(wait_ns / NS_PER_S), .tv_nsec = (long)(wait_ns % NS_PER_S) };
		struct pollfd fd = { .fd = e->wake_fd, .events = POLLIN };
		if (ppoll(&fd, 1, &wait, NULL) > 0) {
			uint64_t count;
			(void)!read(e->wake_fd, &count, sizeof count);
		}
	}
	atomic_store(&e->writer_sleeps, false);
	return 0;
}
