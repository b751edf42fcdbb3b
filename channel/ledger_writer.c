/* ledger_writer: the writer's side of the ledger (notes into blocks, carrying forward, what a group's end means) and the helper's
 * (pruning, snapshots, what may be used again). */
#include <stdlib.h>
#include <unistd.h>

#include "channel/broken.h"
#include "channel/ledger_impl.h"

#define CARRY_BYTES (64u << 10)		/* of one block */
#define SNAPSHOT_BACKOFF_NS (100 * NS_PER_MS)	/* after one that failed: doubled with every failure, to 10 s */
#define SNAPSHOT_BACKOFF_MAX_NS (10 * NS_PER_S)
#define PRUNE_TURN 4096u		/* records looked at before the lock is offered to others */

/* ---- the writer's side ---- */

bool
ledger_pending(struct ledger *l)
{
	return atomic_load(&l->queued) != 0 || (atomic_load(&l->carry_below) != 0 && !atomic_load(&l->carry_stuck));
}

static struct ledger_block *
block_begin(struct ledger *l, uint32_t *slot)
{
	for (*slot = 0; *slot < LEDGER_BLOCKS; ++*slot) {
		struct ledger_block *b = &l->blocks[*slot];
		if (b->used)
			continue;
		if (!b->memory.block.bytes && !(b->memory.block.bytes = aligned_alloc(BLOCK_ALIGN_BYTES, l->block_bytes)))
			return NULL;
		b->used = true;
		b->carried = 0;
		b->memory.block.capacity = l->block_bytes;
		b->memory.block.impl = &b->memory;
		b->memory.is_state = true;
		return b;
	}
	return NULL;
}

static void
ring_read(const struct ledger_link *link, uint64_t at, void *bytes, uint32_t len)
{
	uint32_t offset = (uint32_t)at & link->mask, first = link->mask + 1 - offset < len ? link->mask + 1 - offset : len;
	memcpy(bytes, link->ring + offset, first);
	if (len > first)
		memcpy((uint8_t *)bytes + first, link->ring, len - first);
}

struct fill {
	uint8_t *begin, *at, *end;
	uint32_t records;
};

/* The lead byte and length of a record of `len` payload bytes; NULL when it does not fit. */
static uint8_t *
fill_record(struct fill *f, uint32_t len)
{
	if ((size_t)(f->end - f->at) < len + 8u)
		return NULL;
	*f->at++ = RECORD_STATE;
	f->at = varint_put(f->at, len);
	uint8_t *payload = f->at;
	f->at += len;
	f->records++;
	return payload;
}

static void
key_out(struct ledger *l, uint8_t class, const void *key, uint16_t key_len)
{
	struct ledger_item *i = table_find(&l->table, class & STATE_CLASS_MASK, key, key_len);
	if (i)
		i->last_out = l->out_seq;
}

static void
fill_notes(struct ledger *l, struct fill *f, uint32_t slot)
{
	for (struct ledger_link *link = l->links; link; link = link->next) {
		uint64_t head = atomic_load_explicit(&link->head, memory_order_relaxed);
		uint64_t tail = atomic_load_explicit(&link->tail, memory_order_acquire), was = link->taken;
		while (head != tail) {
			uint32_t len;
			struct state_record r;
			ring_read(link, head, &len, 4);
			bool lost = atomic_load_explicit(&link->status, memory_order_relaxed);	/* a failure is a cut: what was noted behind it goes, too */
			uint8_t *payload = lost ? NULL : fill_record(f, len);
			if (!payload && !lost)
				break;
			if (!lost)
				ring_read(link, head + 4, payload, len);
			head += 4 + (uint64_t)len;
			link->taken++;
			if (lost)
				continue;
			if (state_decode(payload, len, &r))
				key_out(l, r.class, r.key, r.key_len);
		}
		if (link->taken == was)
			continue;
		atomic_store_explicit(&link->head, head, memory_order_release);
		atomic_fetch_sub(&l->queued, link->taken - was);
		if (!atomic_load_explicit(&link->status, memory_order_relaxed))
			link->sent[slot] = link->taken;
		if (BROKEN(NOTE_EARLY))
			atomic_store(&link->durable, link->taken);
	}
}

/* The oldest live records once more, behind all that is on its way for them. */
static uint64_t
fill_carried(struct ledger *l, struct fill *f)
{
	uint64_t below = atomic_load(&l->carry_below), count = 0;
	uint8_t *begin = f->at;
	struct ledger_item *i = l->table.oldest;
	for (; i && i->position < below && (size_t)(f->at - begin) < CARRY_BYTES; i = i->newer) {
		const struct state_record r = { .class = i->class, .key = i->bytes, .key_len = i->key_len, .value = i->bytes + i->key_len,
			.value_len = i->value_len, .order = i->order };
		if (i->last_out > l->done_seq)
			continue;
		uint8_t head[24], *end = head;
		*end++ = r.class;
		end = varint_put(end, r.order);
		end = varint_put(end, r.key_len);
		uint8_t *payload = fill_record(f, (uint32_t)(end - head) + r.key_len + r.value_len);
		if (!payload)
			break;
		(void)state_encode(payload, &r);
		i->last_out = l->out_seq;
		count++;
	}
	/* All that is left is under way already: try again when a group has ended. */
	atomic_store(&l->carry_stuck, count == 0);
	return count;
}

struct memory *
ledger_gather(struct ledger *l, bool alone)
{
	l->out_seq++;
	if (!l->log || (!ledger_pending(l) && (alone || !atomic_load(&l->carry_below))))
		return NULL;
	uint32_t slot;
	pthread_mutex_lock(&l->lock);
	struct ledger_block *b = block_begin(l, &slot);
	if (!b) {
		pthread_mutex_unlock(&l->lock);
		return NULL;
	}
	struct fill f = { .begin = b->memory.block.bytes + BLOCK_HEADER_BYTES, .end = b->memory.block.bytes + l->block_bytes };
	f.at = f.begin;
	fill_notes(l, &f, slot);
	if (atomic_load(&l->carry_below))
		b->carried = fill_carried(l, &f);
	pthread_mutex_unlock(&l->lock);
	if (!f.records) {
		b->used = false;
		return NULL;
	}
	uint32_t used = (uint32_t)(f.at - b->memory.block.bytes), bytes = (used + BLOCK_ALIGN_BYTES - 1) / BLOCK_ALIGN_BYTES * BLOCK_ALIGN_BYTES;
	uint64_t now = clock_wall_ns(l->engine->clock);
	memset(f.at, 0, bytes - used);
	*(struct block_header *)b->memory.block.bytes = (struct block_header){ .magic = BLOCK_MAGIC, .version = FORMAT_VERSION, .bytes = bytes,
		.records = f.records, .first_time_ns = now, .last_time_ns = now, .record_bytes = (uint32_t)(f.at - f.begin) };
	b->memory.block.events = b->memory.block.raw_bytes = b->memory.block.ticket_count = 0;
	b->memory.state = MEMORY_WRITING;
	return &b->memory;
}

void
ledger_block_out(struct ledger *l, const struct block *block)
{
	if (!block->mark_bytes || !l->log)
		return;
	struct block_view view;
	struct record_view record;
	struct state_record r;
	uint8_t key[LEDGER_KEY_MAX];
	const struct block_header *h = (const struct block_header *)block->bytes;
	struct walk walk = { .record_offset = h->record_bytes - block->mark_bytes, .raw_offset = h->raw_bytes };
	pthread_mutex_lock(&l->lock);
	if (block_view_open(&view, block->bytes, h->bytes))
		while (block_walk(&view, &walk, &record) > 0)
			if (record.type == RECORD_MARK && mark_decode(record.payload, record.payload_len, key, &r))
				key_out(l, r.class, r.key, r.key_len);
	pthread_mutex_unlock(&l->lock);
}

static void
links_done(struct ledger *l, uint32_t slot, int status)
{
	for (struct ledger_link *link = l->links; link; link = link->next) {
		uint64_t number = link->sent[slot];
		if (!number)
			continue;
		link->sent[slot] = 0;
		if (status)
			atomic_store_explicit(&link->status, status, memory_order_release);
		else if (!atomic_load(&link->status)) {
			counter_add(&l->counters.notes, number - atomic_load(&link->durable));
			atomic_store_explicit(&link->durable, number, memory_order_release);
		}
		if (link->wake_fd >= 0) {
			uint64_t one = 1;
			(void)!write(link->wake_fd, &one, sizeof one);
		}
	}
}

void
ledger_group_done(struct ledger *l, const struct group *g, int status)
{
	if (!l->log)
		return;
	pthread_mutex_lock(&l->lock);
	for (uint32_t i = 0; i < g->count; i++) {
		const struct memory *m = g->blocks[i];
		const struct block_header *h = (const struct block_header *)m->block.bytes;
		if (!status && m->is_state)
			ledger_apply_block(l, m->block.bytes, 0);
		else if (!status && m->block.mark_bytes)
			ledger_apply_block(l, m->block.bytes, h->record_bytes - m->block.mark_bytes);
	}
	if (!status) {
		l->durable_position = g->position + g->bytes;
		l->durable_crc = g->crc;
	}
	if (l->done_seq < g->ledger_seq)
		l->done_seq = g->ledger_seq;
	atomic_store(&l->carry_stuck, false);
	for (uint32_t i = 0; i < g->count; i++) {
		struct ledger_block *b = (struct ledger_block *)g->blocks[i];
		if (!g->blocks[i]->is_state)
			continue;
		links_done(l, (uint32_t)(b - l->blocks), status);
		counter_add(status ? &l->counters.failed : &l->counters.blocks, 1);
		counter_add(&l->counters.carried, status ? 0 : b->carried);
		b->used = false;
	}
	ledger_count(l);
	ledger_links_reap(l);
	if (l->waiting)
		pthread_cond_broadcast(&l->wake);
	pthread_mutex_unlock(&l->lock);
}

/* ---- the helper's side ---- */

/* DONE and set aside records of events that no restart would offer again have served. */
static void
prune(struct ledger *l, uint64_t number)
{
	uint32_t turn = 0;
	if (number == l->pruned)
		return;
	l->pruned = number;
	pthread_mutex_lock(&l->lock);
	l->table.cursors[1] = l->table.oldest;
	for (struct ledger_item *i; (i = l->table.cursors[1]);) {
		struct consumer_record c;
		struct set_reader set;
		struct event_range run;
		uint64_t end = 0;
		if (++turn % PRUNE_TURN == 0) {		/* the writer waits for this lock */
			pthread_mutex_unlock(&l->lock);
			pthread_mutex_lock(&l->lock);
			continue;
		}
		l->table.cursors[1] = i->newer;
		if (i->class != STATE_CONSUMER || !consumer_decode(i->bytes + i->key_len, i->value_len, &c) ||
		    (c.state != CONSUMER_DONE && c.state != CONSUMER_ASIDE))
			continue;
		set_open(&set, c.set, c.set_len);
		while (end <= number && set_next(&set, &run))
			end = run.first + run.count;
		if (end > number)
			continue;
		table_remove(&l->table, i);
		counter_add(&l->counters.removed, 1);
	}
	ledger_count(l);
	pthread_mutex_unlock(&l->lock);
}

static void
snapshot(struct ledger *l, uint64_t position, uint32_t crc)
{
	uint64_t bytes = 0;
	if (snapshot_write(&l->snapshots, &l->table, &l->lock, position, crc, &bytes)) {
		uint64_t backoff = l->snapshot_backoff_ns ? 2 * l->snapshot_backoff_ns : SNAPSHOT_BACKOFF_NS;
		l->snapshot_backoff_ns = backoff < SNAPSHOT_BACKOFF_MAX_NS ? backoff : SNAPSHOT_BACKOFF_MAX_NS;
		l->snapshot_ns = clock_now_ns(l->engine->clock) + l->snapshot_backoff_ns;
		counter_add(&l->counters.snapshot_errors, 1);
		return;
	}
	l->snapshot_ns = l->snapshot_backoff_ns = 0;
	counter_add(&l->counters.snapshots, 1);
	counter_set(&l->counters.snapshot_bytes, bytes);
}

void
ledger_tend(struct ledger *l, uint64_t checkpoint_position, uint64_t checkpoint_number)
{
	if (!l->log)
		return;
	prune(l, checkpoint_number);
	pthread_mutex_lock(&l->lock);
	uint64_t position = l->durable_position, live = l->table.bytes;
	uint32_t crc = l->durable_crc;
	pthread_mutex_unlock(&l->lock);
	/* Large ledgers are written less often: at most a quarter of what the log writes. */
	uint64_t step = 4 * live > l->segment_bytes ? 4 * live : l->segment_bytes;
	if ((!l->snapshots.valid || position - l->snapshots.position >= step) && (!l->snapshot_ns || clock_now_ns(l->engine->clock) >= l->snapshot_ns))
		snapshot(l, position, crc);
	pthread_mutex_lock(&l->lock);
	uint64_t floor = l->table.oldest && !BROKEN(CARRY) ? l->table.oldest->position : UINT64_MAX;
	pthread_mutex_unlock(&l->lock);
	uint64_t keep = l->snapshots.valid ? l->snapshots.position : 0;
	uint64_t needed = checkpoint_position < keep ? checkpoint_position : keep;
	/* Only where old records are all that keeps a segment. */
	bool carry = floor / l->segment_bytes < needed / l->segment_bytes && position - floor > 2 * step;
	atomic_store(&l->carry_below, carry ? (position - step) / l->segment_bytes * l->segment_bytes : 0);
	if (carry)
		engine_writer_wake(&l->engine->channel);
	atomic_store(&l->log->keep_position, floor < keep ? floor : keep);
}

void
ledger_final(struct ledger *l)
{
	if (l->log && l->durable_position != l->snapshots.position)
		snapshot(l, l->durable_position, l->durable_crc);
}
