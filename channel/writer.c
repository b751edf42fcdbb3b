/* writer: the step of the writer thread: end groups, gather, write, give credit; sleep when there is nothing. */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/log.h"
#include "channel/broken.h"
#include "channel/ledger_impl.h"

#define FENCE_TRIES 2u		/* extents tried, without anything becoming durable in between, before blocks are failed */
#define FENCE_BACKOFF_MAX_NS (10 * NS_PER_S)
#define PARK_NS (50 * NS_PER_MS)	/* between looks for room on a full disk */
#define TELL_NS NS_PER_MS	/* between two wakings of sinks while groups are under way */
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
	if (status && m->block.generation == l->generation)
		l->generation++;	/* all that this ingress filled before it sees the completion fails too */
	c->generation = l->generation;
	c->ticket_count = m->block.ticket_count;
	memcpy(c->tickets, m->block.tickets, m->block.ticket_count * sizeof *c->tickets);
	m->completion = NULL;
	m->link = NULL;
	bool pushed = spsc_push(&l->link.completions, c);
	assert(pushed);
	atomic_fetch_sub_explicit(&e->pending_blocks, 1, memory_order_relaxed);
	link_wake(l);
}

/* Under lock: the blocks of a group may be taken now. */
static void
group_durable(struct engine *e, struct group *g)
{
	uint64_t durable = atomic_load_explicit(&e->durable, memory_order_relaxed);
	for (uint32_t i = 0; i < g->count; i++) {
		struct memory *m = g->blocks[i];
		const struct block_header *h = (const struct block_header *)m->block.bytes;
		if (m->is_state)
			continue;
		m->state = MEMORY_TAIL;
		m->entry = e->hot.tail;
		e->tail[e->tail_count++] = m;
		if (!h->events)
			continue;
		assert(h->first_event == durable);
		struct entry entry = { .first = durable, .position = h->position, .previous_end = g->previous_end, .events = h->events,
			.bytes = h->bytes, .raw_bytes = h->raw_bytes, .previous_crc = g->previous_crc, .memory = m };
		bool added = entries_add(&e->hot, &entry);
		assert(added);		/* group_send made room */
		e->bytes_held += h->raw_bytes / e->slot_bytes + h->events / 2 + 1;
		durable += h->events;
	}
	atomic_fetch_add(&e->stored_total, g->events);
	atomic_store(&e->durable, durable);
	e->acked_position = g->position + g->bytes;
	e->acked_crc = g->crc;
	if (g->synced) {
		e->durable_synced = e->acked_position;
		e->durable_synced_crc = g->crc;
		e->durable_synced_number = durable;
	}
}

/* Wakes sinks. One that sleeps costs this CPU a call and two switches: small groups in a row wake it once a while, the last of them at once. How long
 * the writer may sleep before it must ask again. */
static uint64_t
takers_tell(struct engine *e)
{
	if (!e->tell_due)
		return UINT64_MAX;
	uint64_t now = clock_now_ns(e->clock), ago = now - e->told_ns;
	if (e->group_count && ago < TELL_NS)
		return TELL_NS - ago;
	e->tell_due = false;
	e->told_ns = now;
	pthread_cond_broadcast(&e->wake);
	return UINT64_MAX;
}

/* The i-th of the groups that have not been completed, oldest first. */
static struct group *
group_at(const struct engine *e, uint32_t i)
{
	return (struct group *)&e->groups[(e->group_first + i) % ENGINE_GROUPS];
}

/* The oldest group has ended, well or for good. */
static void
group_complete(struct engine *e, struct group *g)
{
	struct engine_counters *n = &e->counters;
	int status = g->status;
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
		group_durable(e, g);
		bool sleepers = e->takers_waiting != 0;
		pthread_mutex_unlock(&e->lock);
		if (g->synced)
			e->durable_position = g->position + g->bytes;
		e->fence_tries = 0;
		e->tell_due |= sleepers;
	}
	ledger_group_done(e->ledger, g, status);
	for (uint32_t i = 0; i < g->count; i++) {
		struct memory *m = g->blocks[i];
		if (m->is_state) {
			atomic_fetch_sub_explicit(&e->pending_blocks, 1, memory_order_relaxed);
			continue;
		}
		block_complete(e, m, status);
		if (status) {
			m->state = MEMORY_FREE;
			e->free[e->free_count++] = m;
		}
	}
}

static void group_write(struct engine *e, struct group *g);

/* Opens a new extent behind the last durable group. */
static int
fence(struct engine *e)
{
	uint64_t number = atomic_load(&e->durable);
	unsigned gone = atomic_load(&e->log->gone);
	if (gone & RINGLOG_GONE_DIR)
		return -ESTALE;
	int rc = ringlog_fence(e->log, e->acked_position, e->acked_crc, number, e->durable_position);
	if (rc)
		return rc;
	atomic_fetch_and(&e->log->gone, ~gone);
	counter_add(&e->counters.fences, 1);
	log_warn("channel %s: a write failed: the log goes on at position %llu", e->name, (unsigned long long)e->log->position);
	e->appended = number;
	pthread_mutex_lock(&e->lock);
	e->acked_position = e->log->position;
	e->acked_crc = e->log->previous_crc;
	e->durable_synced = e->acked_position;
	e->durable_synced_crc = e->acked_crc;
	e->durable_synced_number = number;
	pthread_mutex_unlock(&e->lock);
	e->durable_position = e->log->position;
	e->written_segment = e->log->position / e->log->segment_bytes;
	return 0;
}

static void
store_failed(struct engine *e, int rc)
{
	if (!e->failed)
		log_error("channel %s: writes to the log fail (%s): nothing is stored until one works", e->name, strerror(-rc));
	e->failed = true;
	counter_set(&e->counters.unhealthy, 1);
	e->retry_ns = clock_now_ns(e->clock) + e->backoff_ns;
	e->backoff_ns = e->backoff_ns * 2 > FENCE_BACKOFF_MAX_NS ? FENCE_BACKOFF_MAX_NS : e->backoff_ns * 2;
}

/* A write or sync failed, and everything else in flight has ended: what is not durable is still in memory and is written again behind a
 * fence. Only if that fails too do the completions carry the error. */
static void
groups_again(struct engine *e)
{
	int rc = -EIO;
	for (uint32_t i = 0; i < e->group_count; i++) {
		struct group *g = group_at(e, i);
		if (g->status) {
			rc = g->status;
			break;
		}
	}
	e->fencing = false;
	if (e->fence_tries++ < FENCE_TRIES && !e->closing && (rc = fence(e)) == 0) {
		bool parked = false;	/* behind one that waits for room all wait: numbers are given in order */
		for (uint32_t i = 0; i < e->group_count; i++) {
			struct group *g = group_at(e, i);
			if (parked) {
				g->parked = true;
				g->ended = false;
				g->status = 0;
			} else {
				group_write(e, g);
			}
			parked = g->parked;
		}
		return;
	}
	store_failed(e, rc);
	e->appended = atomic_load(&e->durable);
	for (uint32_t i = 0; i < e->group_count; i++) {
		struct group *g = group_at(e, i);
		g->status = rc;
		g->ended = true;
		g->parked = false;
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
			if (!g->status && e->log && atomic_load_explicit(&e->log->gone, memory_order_relaxed))
				g->status = -ESTALE;	/* it is on the disk, where nobody finds it */
			if (BROKEN(ACK_EARLY))
				e->groups[(g - e->groups + 1) % ENGINE_GROUPS].ended = true;
		}
	}
	while (e->group_count && e->groups[e->group_first].ended) {
		struct group *g = &e->groups[e->group_first];
		if (e->log && g->status && !e->failed) {
			e->fencing = true;
			bool all = true;
			for (uint32_t i = 0; i < e->group_count; i++) {
				struct group *other = group_at(e, i);
				all &= other->ended || other->parked;
			}
			if (!all)
				break;
			groups_again(e);
			did++;
			continue;
		}
		group_complete(e, g);
		e->group_first = (e->group_first + 1) % ENGINE_GROUPS;
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
	if (g->events && g->bytes + (uint64_t)run * e->block_bytes > e->group_bytes)
		return 0;
	return spsc_count(&l->link.completions_free) >= run ? run : 0;	/* else it does not reap: nothing more of it is taken */
}

/* Some block of the run was filled before its ingress saw a failure, or nothing can be stored: all of the run fails. */
static bool
run_fails(struct engine *e, struct engine_link *l, uint32_t run)
{
	bool fails = e->failed;
	for (uint32_t i = 0; i < run && !fails; i++)
		fails = ((struct block *)spsc_peek(&l->link.submit, i))->generation != l->generation;
	return fails;
}

/* Another group may be sent off: one that ended before an older one gives its place on the device to the next. */
static bool
groups_room(const struct engine *e)
{
	uint32_t under_way = 0;
	for (uint32_t i = 0; i < e->group_count; i++)
		under_way += !group_at(e, i)->ended;
	return e->group_count < LOGIO_GROUPS_MAX && under_way < e->groups_max;
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

/* Takes submitted blocks, link by link, as many as a group may hold. */
static void
group_gather(struct engine *e, struct group *g)
{
	uint32_t links = atomic_load_explicit(&e->link_count, memory_order_acquire);
	uint64_t room = e->log ? e->log->segment_bytes : UINT64_MAX;
	g->count = g->bytes = g->events = g->payload = 0;
	g->ended = g->parked = false;
	struct memory *state = e->failed ? NULL : ledger_gather(e->ledger, !submitted(e));
	g->ledger_seq = e->ledger->out_seq;
	if (state) {
		g->blocks[g->count++] = state;
		g->bytes = ((struct block_header *)state->block.bytes)->bytes;
	}
	for (uint32_t i = 0; i < links; i++) {
		struct engine_link *l = e->links[(e->link_turn + i) % links];
		uint32_t run = 0;
		bool fails = false, fails_known = false;
		while (run || (run = run_length(e, l, g, room))) {
			if (!fails_known)
				fails = run_fails(e, l, run);
			fails_known = --run != 0;
			struct completion *c = spsc_pop(&l->link.completions_free);
			struct memory *m = ((struct block *)spsc_pop(&l->link.submit))->impl;
			assert(m->state == MEMORY_OUT && m->link == l);
			m->state = MEMORY_WRITING;
			m->completion = c;
			l->out--;
			e->reserved -= m->block.events_max;
			if (fails) {
				counter_add(&e->counters.failed, m->block.events);
				counter_add(&e->counters.put_error, 1);
				atomic_fetch_add_explicit(&e->pending_blocks, 1, memory_order_relaxed);
				block_complete(e, m, -EIO);
				m->state = MEMORY_FREE;
				e->free[e->free_count++] = m;
				continue;
			}
			ledger_block_out(e->ledger, &m->block);
			g->blocks[g->count++] = m;
			g->bytes += ((struct block_header *)m->block.bytes)->bytes;
			g->events += m->block.events;
			g->payload += m->block.raw_bytes - m->block.events;
		}
	}
	if (links)
		e->link_turn = (e->link_turn + 1) % links;
}

/* Memory for the sealed bytes of the group's blocks. */
static bool
group_seal_room(struct engine *e, struct group *g)
{
	for (uint32_t i = 0; e->sealer && i < g->count; i++) {
		struct memory *m = g->blocks[i];
		if (!m->sealed && !(m->sealed = aligned_alloc(BLOCK_ALIGN_BYTES, m->block.capacity)))
			return false;
	}
	return true;
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
		at += h->bytes;
		if (!e->sealer && g->blocks[i]->block.check)
			block_finish_header((uint8_t *)h);
		else if (!e->sealer)
			block_finish((uint8_t *)h);
		else if (sealer_seal(e->sealer, (uint8_t *)h, g->blocks[i]->sealed))
			abort();	/* AES on memory that is there cannot fail */
		else
			h = (struct block_header *)g->blocks[i]->sealed;	/* the tail in memory stays plain */
		g->crc = crc32c(g->crc, &h->header_crc, sizeof h->header_crc);
	}
}

/* Gives the group its place and sends it off. With no room on the disk it stays parked: draining makes room. */
static void
group_write(struct engine *e, struct group *g)
{
	struct logio_write writes[LOGIO_WRITES_MAX];
	struct logio_file *file;
	uint64_t offset;
	g->status = 0;
	g->ended = g->parked = false;
	g->previous_end = e->log->position;
	g->previous_crc = e->log->previous_crc;
	pthread_mutex_lock(&e->lock);
	bool room = entries_reserve(&e->hot, LOGIO_GROUPS_MAX * LOGIO_WRITES_MAX) && group_seal_room(e, g);
	pthread_mutex_unlock(&e->lock);
	bool state = g->count == 1 && g->blocks[0]->is_state;
	int rc = atomic_load_explicit(&e->log->gone, memory_order_relaxed) ? -ESTALE : room ? (state ? ringlog_place_state : ringlog_place)(e->log, g->bytes, &g->position, &file, &offset) : -ENOMEM;
	if (rc == -ENOSPC || rc == -EDQUOT || rc == -ENOMEM) {
		if (!e->park_ns)
			log_warn("channel %s: %s: it takes nothing in, and drains", e->name, rc == -ENOMEM ? "no memory" : "the disk is full");
		g->parked = true;
		e->park_ns = clock_now_ns(e->clock) + PARK_NS;
		return;
	}
	if (rc) {
		g->status = rc;
		g->ended = true;
		return;
	}
	group_headers(e, g);
	e->log->previous_crc = g->crc;
	for (uint32_t i = 0; i < g->count; i++) {
		struct memory *m = g->blocks[i];
		const struct block_header *h = (const struct block_header *)(e->sealer ? m->sealed : m->block.bytes);
		writes[i] = (struct logio_write){ .bytes = h, .len = h->bytes };
	}
	uint64_t now = e->sync_groups ? 0 : clock_now_ns(e->clock), segment = g->position / e->log->segment_bytes;
	g->synced = e->sync_groups || now - e->last_sync_ns >= e->sync_interval_ns;
	if (!e->sync_groups && segment != e->written_segment) {	/* a sync reaches one file */
		struct logio_file *before = ringlog_segment(e->log, e->written_segment);
		if (before && (rc = e->io->ops->sync(e->io, before))) {
			g->status = rc;
			g->ended = true;
			return;
		}
	}
	if (e->helper_runs && segment != e->written_segment) {
		pthread_mutex_lock(&e->helper_lock);
		e->helper_due = true;
		pthread_cond_signal(&e->helper_wake);
		pthread_mutex_unlock(&e->helper_lock);
	}
	e->written_segment = segment;
	if (g->synced)
		e->last_sync_ns = now;
	rc = e->io->ops->submit(e->io, file, offset, writes, g->count, g->synced && !BROKEN(SYNC), g);
	if (rc) {
		g->status = rc;
		g->ended = true;
	}
}

static void
group_send(struct engine *e, struct group *g)
{
	atomic_store_explicit(&e->channel.hungry, 0, memory_order_relaxed);	/* at once: a plain sync keeps this thread */
	counter_add(&e->counters.put_attempt, g->events);
	atomic_fetch_add_explicit(&e->pending_blocks, g->count, memory_order_relaxed);
	e->writing += g->events;
	e->group_count++;
	g->status = 0;
	g->synced = false;
	if (e->log) {
		group_write(e, g);
		return;
	}
	pthread_mutex_lock(&e->lock);
	bool room = entries_reserve(&e->hot, LOGIO_WRITES_MAX);
	pthread_mutex_unlock(&e->lock);
	g->position = g->previous_end = 0;
	if (room)
		group_headers(e, g);
	g->status = room ? 0 : -ENOMEM;
	g->ended = true;
}

/* Groups that found no room, oldest first. False: there still is none. */
static bool
groups_unpark(struct engine *e)
{
	if (!e->park_ns)
		return true;
	if (clock_now_ns(e->clock) < e->park_ns && !e->closing)
		return false;
	for (uint32_t i = 0; i < e->group_count; i++) {
		struct group *g = group_at(e, i);
		if (!g->parked)
			continue;
		group_write(e, g);
		if (g->parked && e->closing) {
			g->parked = false;
			g->ended = true;
			g->status = -ENOSPC;
		}
		if (g->parked)
			return false;
	}
	log_info("channel %s: takes events in again", e->name);
	e->park_ns = 0;
	return true;
}

/* Groups of events wait for room on the disk: state records pass them by, into the reserve; they are what makes room. The oldest of them first, also
 * one that waits among the events it was gathered with: of a key the last one counts. */
static int
state_first(struct engine *e)
{
	uint32_t parked = 0, with;
	while (parked < e->group_count && !group_at(e, parked)->parked)
		parked++;
	for (uint32_t i = parked; i < e->group_count; i++)
		if (!group_at(e, i)->parked)
			return 0;
	if (parked == e->group_count)
		return 0;
	for (with = parked; with < e->group_count && !group_at(e, with)->blocks[0]->is_state; with++)
		;
	struct group state = { .count = 0 };
	if (with < e->group_count && group_at(e, with)->count == 1) {
		if (with == parked)
			return 0;	/* no room for it either: it is tried again with the others */
		state = *group_at(e, with);
	} else if (e->group_count == ENGINE_GROUPS)
		return 0;
	else {
		struct group *from = with < e->group_count ? group_at(e, with) : NULL;
		struct memory *block = from ? from->blocks[0] : ledger_pending(e->ledger) ? ledger_gather(e->ledger, true) : NULL;
		if (!block)
			return 0;
		/* What is parked came before and ends after it. */
		state = (struct group){ .blocks = { block }, .count = 1, .bytes = ((struct block_header *)block->block.bytes)->bytes,
			.ledger_seq = e->ledger->done_seq };
		if (from) {
			memmove(&from->blocks[0], &from->blocks[1], --from->count * sizeof from->blocks[0]);
			from->bytes -= state.bytes;
		} else
			atomic_fetch_add_explicit(&e->pending_blocks, 1, memory_order_relaxed);
		with = e->group_count++;
	}
	for (uint32_t i = with; i > parked; i--)
		*group_at(e, i) = *group_at(e, i - 1);
	struct group *g = group_at(e, parked);
	*g = state;
	group_write(e, g);
	return !g->parked;
}

static int
gather(struct engine *e)
{
	int did = 0;
	if (e->failed && clock_now_ns(e->clock) >= e->retry_ns && !e->group_count && !e->closing) {
		int rc = fence(e);
		if (rc)
			store_failed(e, rc);
		else {
			e->failed = false;
			e->fence_tries = 0;
			e->backoff_ns = FENCE_BACKOFF_NS;
			counter_set(&e->counters.unhealthy, 0);
			log_info("channel %s: a new extent works: events are stored again", e->name);
			did++;
		}
	}
	if (e->log && !e->failed && (atomic_load_explicit(&e->log->gone, memory_order_relaxed) & RINGLOG_GONE_DIR) && !e->group_count)
		store_failed(e, -ESTALE);
	if (e->fencing)
		return did;
	if (!groups_unpark(e))
		return did + (e->closing ? 0 : state_first(e));
	while (groups_room(e)) {
		struct group *g = group_at(e, e->group_count);
		group_gather(e, g);
		if (!g->count)
			break;
		group_send(e, g);
		did++;
		if (!e->io)
			groups_end(e);
		if (g->parked || e->fencing || e->failed)
			break;
	}
	return did;
}

/* Brings back memory of the tail: all at its beginning that is settled, so that the same few blocks go round and stay in the caches; of what is not,
 * if more is wanted, the oldest that no sink has pinned (its bytes are in the log). */
static void
tail_reclaim(struct engine *e, uint32_t missing)
{
	pthread_mutex_lock(&e->lock);
	uint32_t kept = 0, i = 0;
	for (; i < e->tail_count; i++) {
		struct memory *m = e->tail[i];
		bool done = m->entry < e->hot.head;
		if (!done && (!e->log || e->free_count >= missing))
			break;
		if (m->pins) {
			e->tail[kept++] = m;
			continue;
		}
		if (!done && m->entry < e->hot.tail && engine_entry(e, m->entry)->memory == m)
			engine_entry(e, m->entry)->memory = NULL;
		m->state = MEMORY_FREE;
		e->free[e->free_count++] = m;
	}
	if (kept < i) {
		memmove(&e->tail[kept], &e->tail[i], (e->tail_count - i) * sizeof *e->tail);
		e->tail_count -= i - kept;
	}
	pthread_mutex_unlock(&e->lock);
}

static int
credit(struct engine *e)
{
	uint32_t links = atomic_load_explicit(&e->link_count, memory_order_acquire), missing = 0;
	uint32_t empty = 0;	/* links that have nothing: room for an event each is left to them */
	if (!links)
		return 0;
	uint32_t target = e->block_count / (2 * links);
	target = target > CREDIT_MAX ? CREDIT_MAX : target < 2 ? 2 : target;
	for (uint32_t i = 0; i < links; i++) {
		missing += e->links[i]->out < target ? target - e->links[i]->out : 0;
		empty += !e->links[i]->out;
	}
	if (!missing) {
		atomic_store_explicit(&e->starved, false, memory_order_relaxed);
		return 0;
	}
	int given = 0;
	/* Told first, looked at after: a settle in between wakes us. */
	atomic_store(&e->starved, true);
	e->settled_seen = atomic_load(&e->settled_total);
	tail_reclaim(e, missing);
	uint64_t capacity = atomic_load_explicit(&e->capacity, memory_order_relaxed);
	uint64_t least = capacity / 16 < 2048 ? capacity / 16 : 2048;
	bool stopped = e->log && (atomic_load_explicit(&e->log->no_space, memory_order_relaxed) || e->park_ns);
	if (e->capacity_bytes) {
		pthread_mutex_lock(&e->lock);
		stopped = e->bytes_held >= e->capacity_bytes;
		pthread_mutex_unlock(&e->lock);
	}
	for (uint32_t i = 0; i < links && !stopped; i++) {
		struct engine_link *l = e->links[i];
		bool gave = false;
		while (l->out < target && e->free_count) {
			uint64_t stored = engine_unsettled(&e->channel) + e->writing, used = stored + e->reserved;
			uint64_t room = used < capacity ? capacity - used : 0;
			if (capacity < links && room == 0 && !l->out && stored < capacity)
				room = 1;	/* what others hold idle does not shut it out: in all at most one event each too many */
			if (room == 0 || ((room < least || room <= empty) && l->out))
				break;
			empty -= !l->out;
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
	uint64_t tell_ns = takers_tell(e);
	if (did || !wait_ns)
		return did;
	if (wait_ns > tell_ns)
		wait_ns = tell_ns;
	(void)atomic_exchange(&e->writer_sleeps, true);
	bool more_room = atomic_load(&e->starved) && atomic_load(&e->settled_total) != e->settled_seen;
	bool notes = !e->failed && ledger_pending(e->ledger);	/* those wait for an extent that works */
	if (!more_room && ((!submitted(e) && !notes) || !groups_room(e) || e->fencing || e->park_ns)) {
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
