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
void
ledger_count(struct ledger *l)
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
		if (!rc && !ringlog_begin(l->log, l->snapshots.position, l->snapshots.previous_crc, l->snapshots.valid)) {
			log_warn("%s: the ledger's snapshot is older than the log; the log holds the same records", l->log->checkpoint_dir);
			table_clear(&l->table);
			l->snapshots.valid = false;
			(void)ringlog_begin(l->log, 0, 0, false);
		}
	}
	if (rc) {
		ledger_close(l);
		return rc;
	}
	counter_set(&l->counters.limit, l->limit);
	ledger_count(l);
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
	for (uint32_t i = 0; i < LEDGER_BLOCKS; i++) {
		free(l->blocks[i].memory.block.bytes);
		free(l->blocks[i].memory.sealed);
	}
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
	if (i && r->class == STATE_MARK && r->order < i->order)
		return;		/* noted before and written after the events that moved it on */
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
void
ledger_apply_block(struct ledger *l, const uint8_t *bytes, uint32_t from)
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
		ledger_apply_block(l, bytes, 0);
}

int
ledger_recovered(struct ledger *l, uint64_t end, struct err *err)
{
	if (window_build(l->engine, &l->table, end, &l->held_events))
		return err_set(err, ENOMEM, "no memory for the ledger");
	l->recovering = false;
	atomic_store(&l->log->want_reserve, l->table.count != 0);
	l->durable_position = l->log->position;
	l->durable_crc = l->log->previous_crc;
	uint64_t doubt = 0;
	for (struct ledger_item *i = l->table.oldest; i; i = i->newer)
		doubt += i->held;
	counter_set(&l->counters.in_doubt, doubt);
	if (doubt)
		log_info("channel %s: %" PRIu64 " INTENTs are in doubt, %" PRIu64 " events wait for their sinks to resolve them", l->engine->name, doubt,
			 l->held_events);
	ledger_count(l);
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
	if (l->log)
		atomic_store(&l->log->want_reserve, true);
	pthread_mutex_unlock(&l->lock);
	*out = link;
	return 0;
}

/* Under the lock: a closed link goes when all it noted has ended. */
void
ledger_links_reap(struct ledger *l)
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
		ledger_links_reap(l);
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
		ledger_count(l);
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
