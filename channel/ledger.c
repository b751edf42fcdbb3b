/* ledger: links, notes on their way to the writer, the durable state.  The contract is in ledger.h. */
#include "channel/ledger.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "channel/ledger_impl.h"

#define RING_LEAST (64u << 10)
#define RECORD_OVERHEAD 64u		/* lead byte, lengths and state head of one record, at most */
#define PRUNE_TURN 4096u
#define CARRY_BYTES (64u << 10)		/* of one block */

static const struct metric metrics[] = {
#define M(name, type, field, unit, help) { name, type, offsetof(struct ledger_counters, field), unit, help }
	M("records", METRIC_GAUGE, keys, "records", "Live state records."),
	M("bytes", METRIC_GAUGE, bytes, "bytes", "Bytes of live state records in memory."),
	M("limit", METRIC_GAUGE, limit, "bytes", "Bytes at which new records are refused (penstock.ledger.bytes)."),
	M("notes", METRIC_COUNTER, notes, "records", "Records noted and durable."),
	M("removed", METRIC_COUNTER, removed, "records", "Records that were removed or have served."),
	M("carried", METRIC_COUNTER, carried, "records", "Live records written again before their segment is used again."),
	M("blocks", METRIC_COUNTER, blocks, "blocks", "State blocks written."),
	M("marks", METRIC_COUNTER, marks, "marks", "Marks of sources stored with events."),
	M("failed", METRIC_COUNTER, failed, "blocks", "State blocks that could not be written."),
	M("snapshots", METRIC_COUNTER, snapshots, "snapshots", "Snapshots written."),
	M("snapshot_bytes", METRIC_GAUGE, snapshot_bytes, "bytes", "Size of the last snapshot."),
	M("snapshot_errors", METRIC_COUNTER, snapshot_errors, "snapshots", "Snapshots that could not be written."),
	M("in_doubt", METRIC_GAUGE, in_doubt, "records", "INTENTs of an earlier run that nobody has resolved."),
	M("held_events", METRIC_GAUGE, held_events, "events", "Events held back by INTENTs in doubt."),
#undef M
};

/* Under the lock. */
static void
count_table(struct ledger *l)
{
	counter_set(&l->counters.keys, l->table.count);
	counter_set(&l->counters.bytes, l->table.bytes);
	counter_set(&l->counters.held_events, l->held_events);
	atomic_store_explicit(&l->live_bytes, l->table.bytes, memory_order_relaxed);
}

int
ledger_open(struct ledger **ledger, const struct ledger_config *config, struct err *err)
{
	struct ledger *l = calloc(1, sizeof *l);
	if (!l || table_init(&l->table)) {
		free(l);
		return err_set(err, ENOMEM, "no memory");
	}
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->wake, &attr);
	pthread_condattr_destroy(&attr);
	l->engine = config->engine;
	l->log = config->log;
	l->limit = config->limit;
	int rc = 0;
	if (l->log) {
		l->segment_bytes = l->log->segment_bytes;
		uint64_t most = l->segment_bytes / 4;
		l->block_bytes = most < LEDGER_VALUE_MAX + (64u << 10) ? (uint32_t)most / BLOCK_ALIGN_BYTES * BLOCK_ALIGN_BYTES
								       : LEDGER_VALUE_MAX + (64u << 10);
		l->recovering = true;
		rc = snapshots_open(&l->snapshots, l->log, true, &l->table, err);
		if (!rc && !ringlog_begin(l->log, l->snapshots.position, l->snapshots.valid)) {
			log_warn("%s: the ledger's snapshot is older than the log; the log holds the same records", l->log->checkpoint_dir);
			table_clear(&l->table);
			l->snapshots.valid = false;
			(void)ringlog_begin(l->log, 0, false);
		}
	}
	if (rc) {
		ledger_close(l);
		return rc;
	}
	counter_set(&l->counters.limit, l->limit);
	count_table(l);
	l->metrics = (struct metric_set){ .kind = "LEDGER", .component = l->engine->name, .metrics = metrics,
		.count = sizeof metrics / sizeof *metrics, .counters = &l->counters };
	metrics_add(&l->metrics);
	*ledger = l;
	return 0;
}

static void
link_free(struct ledger_link *link)
{
	free(link->ring);
	free(link);
}

void
ledger_close(struct ledger *l)
{
	if (l->metrics.counters)
		metrics_remove(&l->metrics);
	for (struct ledger_link *link = l->links, *next; link; link = next) {
		next = link->next;
		link_free(link);
	}
	for (uint32_t i = 0; i < LEDGER_BLOCKS; i++)
		free(l->blocks[i].memory.block.bytes);
	if (l->log)
		snapshots_close(&l->snapshots);
	table_free(&l->table);
	pthread_mutex_destroy(&l->lock);
	pthread_cond_destroy(&l->wake);
	free(l);
}

/* ---- the durable state ---- */

/* Under the lock: a record has become durable at `position`. */
static void
apply(struct ledger *l, struct state_record *r, uint64_t position)
{
	bool removed = r->class & STATE_REMOVED;
	r->class &= STATE_CLASS_MASK;
	struct ledger_item *i = table_find(&l->table, r->class, r->key, r->key_len);
	struct consumer_record c = { 0 };
	if (r->class == STATE_CONSUMER && !removed && consumer_decode(r->value, r->value_len, &c))
		removed = c.state == CONSUMER_ABANDON;
	if (i && i->held && (removed || c.state == CONSUMER_DONE || c.state == CONSUMER_ASIDE)) {
		struct consumer_record was = { 0 };
		(void)consumer_decode(i->bytes + i->key_len, i->value_len, &was);
		i->held = false;
		if (!l->recovering) {
			l->held_events -= window_resolve(l->engine, was.set, was.set_len, !removed);
			counter_set(&l->counters.in_doubt, counter_read(&l->counters.in_doubt) - 1);
		}
	}
	if (removed) {
		if (i) {
			table_remove(&l->table, i);
			counter_add(&l->counters.removed, 1);
		}
		return;
	}
	bool fresh = !i;
	i = table_put(&l->table, r, position);
	if (!i)
		abort();	/* no memory: nothing that was promised could be kept */
	if (fresh)
		i->last_out = l->out_seq;	/* others of this key may be under way */
}

static void
payload_apply(struct ledger *l, const struct record_view *record, uint64_t position)
{
	struct state_record r;
	uint8_t key[LEDGER_KEY_MAX];
	if (record->type == RECORD_STATE && state_decode(record->payload, record->payload_len, &r))
		apply(l, &r, position);
	else if (record->type == RECORD_MARK && mark_decode(record->payload, record->payload_len, key, &r)) {
		apply(l, &r, position);
		counter_add(&l->counters.marks, l->recovering ? 0 : 1);
	}
}

/* State and mark records of a block from offset `from` of its records on. */
static void
block_apply(struct ledger *l, const uint8_t *bytes, uint32_t from)
{
	const struct block_header *h = (const struct block_header *)bytes;
	struct block_view view;
	struct record_view record;
	struct walk walk = { .record_offset = from, .raw_offset = from ? h->raw_bytes : 0 };
	if (!block_view_open(&view, bytes, h->bytes))
		return;
	while (block_walk(&view, &walk, &record) > 0)
		payload_apply(l, &record, h->position);
}

void
ledger_recover_block(struct ledger *l, const struct block_header *h, const uint8_t *bytes)
{
	if (h->records > h->events && (!l->snapshots.valid || h->position >= l->snapshots.position))
		block_apply(l, bytes, 0);
}

int
ledger_recovered(struct ledger *l, uint64_t end, struct err *err)
{
	if (window_build(l->engine, &l->table, end, &l->held_events))
		return err_set(err, ENOMEM, "no memory for the ledger");
	l->recovering = false;
	l->durable_position = l->log->position;
	l->durable_crc = l->log->previous_crc;
	uint64_t doubt = 0;
	for (struct ledger_item *i = l->table.oldest; i; i = i->newer)
		doubt += i->held;
	counter_set(&l->counters.in_doubt, doubt);
	if (doubt)
		log_info("channel %s: %" PRIu64 " INTENTs are in doubt, %" PRIu64 " events wait for their sinks to resolve them", l->engine->name, doubt,
			 l->held_events);
	count_table(l);
	if (l->snapshots.position > l->log->position)	/* without syncs: the log has lost what the snapshot knows */
		l->snapshots.valid = false;
	/* Nothing may be used again before one snapshot is there; the helper writes newer ones. */
	atomic_store(&l->log->keep_position, l->snapshots.valid ? l->snapshots.position : 0);
	return 0;
}

void
ledger_each(struct ledger *l, uint8_t class, const void *prefix, uint16_t prefix_len,
	    bool (*visit)(const struct state_record *record, void *context), void *context)
{
	pthread_mutex_lock(&l->lock);
	for (struct ledger_item *i = l->table.oldest; i; i = i->newer) {
		if (i->class != class || i->key_len < prefix_len || (prefix_len && memcmp(i->bytes, prefix, prefix_len)))
			continue;
		const struct state_record r = { .class = class, .key = i->bytes, .key_len = i->key_len, .value = i->bytes + i->key_len,
			.value_len = i->value_len, .order = i->order };
		if (!visit(&r, context))
			break;
	}
	pthread_mutex_unlock(&l->lock);
}

int64_t
ledger_get(struct ledger *l, uint8_t class, const void *key, uint16_t key_len, void *value, size_t room, uint64_t *order)
{
	int64_t len = -ENOENT;
	pthread_mutex_lock(&l->lock);
	const struct ledger_item *i = table_find(&l->table, class, key, key_len);
	if (i) {
		len = i->value_len;
		if (order)
			*order = i->order;
		memcpy(value, i->bytes + i->key_len, i->value_len < room ? i->value_len : room);
	}
	pthread_mutex_unlock(&l->lock);
	return len;
}

uint32_t
ledger_value_max(const struct ledger *l)
{
	uint32_t most = l->log ? l->block_bytes - BLOCK_HEADER_BYTES - LEDGER_KEY_MAX - RECORD_OVERHEAD : LEDGER_VALUE_MAX;
	return most < LEDGER_VALUE_MAX ? most : LEDGER_VALUE_MAX;
}

/* ---- noting ---- */

int
ledger_link_open(struct ledger *l, const char *who, uint32_t room, int wake_fd, struct ledger_link **out, struct err *err)
{
	uint32_t size = RING_LEAST;
	while (size < room && size < 1u << 30)
		size *= 2;
	struct ledger_link *link = aligned_alloc(CACHE_LINE_BYTES, (sizeof *link + CACHE_LINE_BYTES - 1) / CACHE_LINE_BYTES * CACHE_LINE_BYTES);
	if (!link)
		return err_set(err, ENOMEM, "%s: no memory", who);
	memset(link, 0, sizeof *link);
	link->ledger = l;
	link->mask = size - 1;
	link->wake_fd = wake_fd;
	if (!(link->ring = malloc(size))) {
		free(link);
		return err_set(err, ENOMEM, "%s: no memory", who);
	}
	pthread_mutex_lock(&l->lock);
	link->next = l->links;
	l->links = link;
	pthread_mutex_unlock(&l->lock);
	*out = link;
	return 0;
}

/* Under the lock: a closed link goes when all it noted has ended. */
static void
links_reap(struct ledger *l)
{
	for (struct ledger_link **at = &l->links, *link; (link = *at);) {
		bool busy = !link->closed || atomic_load(&link->head) != atomic_load(&link->tail);
		for (uint32_t i = 0; i < LEDGER_BLOCKS && !busy; i++)
			busy = link->sent[i] != 0;
		if (busy) {
			at = &link->next;
			continue;
		}
		*at = link->next;
		link_free(link);
	}
}

void
ledger_link_close(struct ledger_link *link)
{
	struct ledger *l = link->ledger;
	pthread_mutex_lock(&l->lock);
	link->closed = true;
	link->wake_fd = -1;
	if (!l->log)
		links_reap(l);
	pthread_mutex_unlock(&l->lock);
}

static void
ring_write(struct ledger_link *link, uint64_t at, const void *bytes, uint32_t len)
{
	uint32_t offset = (uint32_t)at & link->mask, first = link->mask + 1 - offset < len ? link->mask + 1 - offset : len;
	if (first)
		memcpy(link->ring + offset, bytes, first);
	if (len > first)
		memcpy(link->ring, (const uint8_t *)bytes + first, len - first);
}

static void
ring_read(const struct ledger_link *link, uint64_t at, void *bytes, uint32_t len)
{
	uint32_t offset = (uint32_t)at & link->mask, first = link->mask + 1 - offset < len ? link->mask + 1 - offset : len;
	memcpy(bytes, link->ring + offset, first);
	if (len > first)
		memcpy((uint8_t *)bytes + first, link->ring, len - first);
}

/* One record made of pieces, so that no sink must copy its set to put it between a state and a path. */
struct piece {
	const void *bytes;
	uint32_t len;
};

static int
note(struct ledger_link *link, uint8_t class, const void *key, uint16_t key_len, uint64_t order, const struct piece *pieces, uint32_t count,
     uint64_t *number)
{
	struct ledger *l = link->ledger;
	uint8_t head[32], *at = head;
	uint64_t value_len = 0;
	for (uint32_t i = 0; i < count; i++)
		value_len += pieces[i].len;
	if (key_len > LEDGER_KEY_MAX || value_len > ledger_value_max(l))
		return -EMSGSIZE;
	if (!l->log) {		/* durable at once, as far as it goes */
		uint8_t *value = malloc(value_len + 1), *to = value;
		if (!value)
			return -ENOMEM;
		for (uint32_t i = 0; i < count; i++, to += pieces[i - 1].len)
			if (pieces[i].len)
				memcpy(to, pieces[i].bytes, pieces[i].len);
		struct state_record r = { .class = class, .key = key, .key_len = key_len, .value = value, .value_len = (uint32_t)value_len,
			.order = order };
		pthread_mutex_lock(&l->lock);
		apply(l, &r, 0);
		count_table(l);
		counter_add(&l->counters.notes, 1);
		pthread_mutex_unlock(&l->lock);
		free(value);
		*number = ++link->noted;
		atomic_store(&link->durable, link->noted);
		return 0;
	}
	if (atomic_load_explicit(&link->status, memory_order_relaxed))
		return -EIO;
	*at++ = class;
	at = varint_put(at, order);
	at = varint_put(at, key_len);
	uint32_t len = (uint32_t)(at - head + key_len + value_len);
	uint64_t tail = atomic_load_explicit(&link->tail, memory_order_relaxed);
	if (4 + (uint64_t)len > (link->mask + 1ull) / 2)
		return -EMSGSIZE;
	if (tail + 4 + len - atomic_load_explicit(&link->head, memory_order_acquire) > link->mask + 1ull)
		return -EAGAIN;
	ring_write(link, tail, &len, 4);
	tail += 4;
	ring_write(link, tail, head, (uint32_t)(at - head));
	tail += (uint64_t)(at - head);
	ring_write(link, tail, key, key_len);
	tail += key_len;
	for (uint32_t i = 0; i < count; i++) {
		ring_write(link, tail, pieces[i].bytes, pieces[i].len);
		tail += pieces[i].len;
	}
	*number = ++link->noted;
	atomic_store_explicit(&link->tail, tail, memory_order_release);
	atomic_fetch_add(&l->queued, 1);
	engine_writer_wake(&l->engine->channel);
	return 0;
}

/* New records are refused beyond the limit; what ends others is not. */
static bool
over_limit(const struct ledger *l, uint64_t len)
{
	return l->limit && atomic_load_explicit(&l->live_bytes, memory_order_relaxed) + len > l->limit;
}

int
ledger_note(struct ledger_link *link, const struct state_record *r, uint64_t *number)
{
	if (over_limit(link->ledger, (uint64_t)r->key_len + r->value_len))
		return -ENOSPC;
	return note(link, r->class & STATE_CLASS_MASK, r->key, r->key_len, r->order, &(struct piece){ r->value, r->value_len }, 1, number);
}

int
ledger_remove(struct ledger_link *link, uint8_t class, const void *key, uint16_t key_len, uint64_t *number)
{
	return note(link, (class & STATE_CLASS_MASK) | STATE_REMOVED, key, key_len, 0, NULL, 0, number);
}

static int
note_consumer(struct ledger_link *link, const void *key, uint16_t key_len, uint64_t order, const struct consumer_record *c, uint64_t *number)
{
	uint8_t head[12];
	head[0] = (uint8_t)c->state;
	uint8_t *end = varint_put(head + 1, c->set_len);
	const struct piece pieces[3] = { { head, (uint32_t)(end - head) }, { c->set, c->set_len }, { c->more, c->more_len } };
	return note(link, STATE_CONSUMER, key, key_len, order, pieces, 3, number);
}

int
ledger_note_consumer(struct ledger_link *link, const void *key, uint16_t key_len, uint64_t order, const struct consumer_record *c,
		     uint64_t *number)
{
	assert(c->state == CONSUMER_BOUND || c->state == CONSUMER_INTENT);
	if (over_limit(link->ledger, (uint64_t)key_len + c->set_len + c->more_len))
		return -ENOSPC;
	return note_consumer(link, key, key_len, order, c, number);
}

int
ledger_resolve(struct ledger_link *link, const void *key, uint16_t key_len, enum consumer_state state, const void *more, uint32_t more_len,
	       uint64_t *number)
{
	struct ledger *l = link->ledger;
	struct consumer_record c = { 0 };
	uint8_t *set = NULL;
	uint64_t order = 0;
	int rc = -ENOENT;
	assert(state == CONSUMER_DONE || state == CONSUMER_ABANDON || state == CONSUMER_ASIDE);
	pthread_mutex_lock(&l->lock);
	const struct ledger_item *i = table_find(&l->table, STATE_CONSUMER, key, key_len);
	if (i && consumer_decode(i->bytes + i->key_len, i->value_len, &c) && c.state == CONSUMER_INTENT) {
		order = i->order;
		rc = 0;
		if (state == CONSUMER_ABANDON)
			c.set_len = 0;
		else if (!(set = malloc(c.set_len + 1)))
			rc = -ENOMEM;
		else
			memcpy(set, c.set, c.set_len);
	}
	pthread_mutex_unlock(&l->lock);
	if (!rc) {
		c.state = state;
		c.set = set;
		c.more = more;
		c.more_len = more_len;
		rc = note_consumer(link, key, key_len, order, &c, number);
	}
	free(set);
	return rc;
}

uint64_t
ledger_durable(const struct ledger_link *link)
{
	return atomic_load_explicit(&link->durable, memory_order_acquire);
}

int
ledger_status(const struct ledger_link *link)
{
	return atomic_load_explicit(&link->status, memory_order_acquire);
}

int
ledger_sync(struct ledger_link *link, uint64_t number, uint64_t timeout_ns)
{
	struct ledger *l = link->ledger;
	struct timespec until;
	int rc = 0;
	clock_gettime(CLOCK_MONOTONIC, &until);
	timeout_ns += (uint64_t)until.tv_nsec;
	until.tv_sec += (time_t)(timeout_ns / NS_PER_S);
	until.tv_nsec = (long)(timeout_ns % NS_PER_S);
	pthread_mutex_lock(&l->lock);
	l->waiting++;
	while (ledger_durable(link) < number && !(rc = ledger_status(link)))
		if (pthread_cond_timedwait(&l->wake, &l->lock, &until)) {
			rc = ledger_durable(link) >= number ? 0 : -ETIMEDOUT;
			break;
		}
	l->waiting--;
	pthread_mutex_unlock(&l->lock);
	return rc;
}

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
			block_apply(l, m->block.bytes, 0);
		else if (!status && m->block.mark_bytes)
			block_apply(l, m->block.bytes, h->record_bytes - m->block.mark_bytes);
	}
	if (!status) {
		l->durable_position = g->position + g->bytes;
		l->durable_crc = g->crc;
	}
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
	count_table(l);
	links_reap(l);
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
	count_table(l);
	pthread_mutex_unlock(&l->lock);
}

static void
snapshot(struct ledger *l, uint64_t position, uint32_t crc)
{
	uint64_t bytes = 0;
	if (snapshot_write(&l->snapshots, &l->table, &l->lock, position, crc, &bytes)) {
		counter_add(&l->counters.snapshot_errors, 1);
		return;
	}
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
	if (!l->snapshots.valid || position - l->snapshots.position >= step)
		snapshot(l, position, crc);
	pthread_mutex_lock(&l->lock);
	uint64_t floor = l->table.oldest ? l->table.oldest->position : UINT64_MAX;
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
