/* engine: opening, closing, recovery into the window, links, and the helper that checkpoints and makes segments. */
#include "channel/engine.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "channel/broken.h"
#include "channel/ledger_impl.h"

#define HUGE_BYTES ((size_t)2 << 20)
#define TEND_NS (50 * NS_PER_MS)
#define LOOK_NS (250 * NS_PER_MS)	/* what is acknowledged into files that somebody removed, at most */
#define IDLE_NS (2 * NS_PER_S)	/* nothing was written for so long: the checkpoint says how far the log was durable, as no later group does */
#define CHECKPOINT_DISTANCE_BYTES (UINT64_C(1) << 30)	/* what a recovery reads at most */

static const struct metric metrics[] = {
#define M(name, type, field, unit, help) { name, type, offsetof(struct engine_counters, field), unit, help }
	M("ChannelSize", METRIC_GAUGE, size, "events", "Events stored and not yet settled."),
	M("ChannelCapacity", METRIC_GAUGE, capacity, "events", "Unsettled events at which intake stops."),
	M("ChannelFillPercentage", METRIC_GAUGE, fill, "hundredths of a percent", "ChannelSize of ChannelCapacity."),
	M("EventPutAttemptCount", METRIC_COUNTER, put_attempt, "events", "Events submitted."),
	M("EventPutSuccessCount", METRIC_COUNTER, put_success, "events", "Events stored."),
	M("EventTakeAttemptCount", METRIC_COUNTER, take_attempt, "calls", "Takes tried."),
	M("EventTakeSuccessCount", METRIC_COUNTER, take_success, "events", "Events taken and committed."),
	M("Open", METRIC_GAUGE, open, "boolean", "The channel is open."),
	M("Closed", METRIC_GAUGE, closed, "boolean", "The channel is closed."),
	M("Unhealthy", METRIC_GAUGE, unhealthy, "boolean", "Writes fail, in a new extent too; nothing is stored until one works."),
	M("EventPutErrorCount", METRIC_COUNTER, put_error, "blocks", "Blocks that could not be stored."),
	M("EventTakeErrorCount", METRIC_COUNTER, take_error, "calls", "Takes that found the log unreadable."),
	M("CheckpointWriteErrorCount", METRIC_COUNTER, checkpoint_error, "checkpoints", "Checkpoints that could not be written."),
	M("CheckpointBackupWriteErrorCount", METRIC_COUNTER, backup_error, "checkpoints", "Backup checkpoints that could not be written."),
	M("stored", METRIC_COUNTER, stored, "events", "Events stored as the channel promises."),
	M("failed", METRIC_COUNTER, failed, "events", "Events lost because a write or sync failed."),
	M("log_bytes", METRIC_COUNTER, log_bytes, "bytes", "Bytes written to the log, padding included."),
	M("payload_bytes", METRIC_COUNTER, payload_bytes, "bytes", "Bytes of bodies stored."),
	M("read_bytes", METRIC_COUNTER, read_bytes, "bytes", "Bytes of the log read back since it was opened: a sink that keeps up reads none."),
	M("syncs", METRIC_COUNTER, syncs, "groups", "Groups written, one sync each."),
	M("blocks", METRIC_COUNTER, blocks_written, "blocks", "Blocks written."),
	M("damage", METRIC_GAUGE, damage, "gaps", "Damaged stretches that recovery skipped."),
	M("damaged_events", METRIC_GAUGE, damaged_events, "events", "Events lost in damaged stretches of the log."),
	M("fences", METRIC_COUNTER, fences, "extents", "Extents given up after a failed write; what was not durable was written again elsewhere."),
	M("disk_full", METRIC_GAUGE, disk_full, "boolean", "Intake is stopped: the disk is full or below minimumRequiredSpace."),
	M("files_gone", METRIC_GAUGE, files_gone, "boolean", "Files of the log were removed or replaced while it is open; see the program's log."),
	M("oldest_event", METRIC_GAUGE, oldest, "number", "Number of the oldest unsettled event."),
#undef M
};

static void
refresh(struct metric_set *set)
{
	struct engine *e = set->context;
	struct engine_counters *c = &e->counters;
	uint64_t size = engine_unsettled(&e->channel), capacity = atomic_load(&e->capacity);
	counter_set(&c->size, size);
	counter_set(&c->capacity, capacity);
	counter_set(&c->fill, capacity ? size * 10000 / capacity : 0);
	counter_set(&c->take_attempt, atomic_load(&e->took_total));
	counter_set(&c->take_success, atomic_load(&e->taken_total));
	counter_set(&c->unhealthy, e->failed || (e->log && atomic_load(&e->log->gone)));
	pthread_mutex_lock(&e->lock);
	counter_set(&c->oldest, e->acked);
	pthread_mutex_unlock(&e->lock);
	if (e->log) {
		counter_set(&c->checkpoint_error, atomic_load(&e->log->checkpoint_errors));
		counter_set(&c->backup_error, atomic_load(&e->log->backup_errors));
		counter_set(&c->read_bytes, atomic_load(&e->log->read_bytes));
		counter_set(&c->damage, e->log->damage_count + e->damage_found);
		counter_set(&c->files_gone, atomic_load(&e->log->gone) || atomic_load(&e->log->segments_gone) || atomic_load(&e->log->backup_gone));
		counter_set(&c->disk_full, atomic_load(&e->log->no_space) || e->park_ns);
	}
}

bool
entries_reserve(struct entries *n, uint32_t more)
{
	while (n->tail - n->head + more > (uint64_t)n->mask + 1 || !n->items) {
		uint32_t room = n->items ? (n->mask + 1) * 2 : 4096;
		struct entry *items = malloc(room * sizeof *items);
		if (!items)
			return false;
		for (uint64_t q = n->head; q < n->tail; q++)
			items[q & (room - 1)] = n->items[q & n->mask];
		free(n->items);
		n->items = items;
		n->mask = room - 1;
	}
	return true;
}

bool
entries_add(struct entries *n, const struct entry *entry)
{
	if (!entries_reserve(n, 1))
		return false;
	n->items[n->tail++ & n->mask] = *entry;
	return true;
}

static uint64_t
entry_slots(const struct engine *e, const struct entry *entry)
{
	return entry->raw_bytes / e->slot_bytes + entry->events / 2 + 1;
}

void
engine_acked_move(struct engine *e)
{
	while (e->settled.count && e->settled.items[0].first <= e->acked) {
		if (e->settled.items[0].end > e->acked)
			e->acked = e->settled.items[0].end;
		memmove(&e->settled.items[0], &e->settled.items[1], --e->settled.count * sizeof *e->settled.items);
	}
	if (e->taken < e->acked)
		e->taken = e->acked;
	if (e->cold_walk.position < e->cold_limit && e->acked >= e->cold_end_number) {	/* nobody will walk over the rest: it pins no disk */
		e->cold_walk.position = e->cold_limit;
		e->cold_number = e->cold_end_number;
	}
	assert(e->acked <= e->taken && e->taken <= atomic_load(&e->durable));
	struct entries *both[] = { &e->cold, &e->hot };
	for (int i = 0; i < 2; i++)
		while (both[i]->head < both[i]->tail) {
			struct entry *entry = engine_entry(e, both[i]->head);
			if (entry->first + entry->events > e->acked)
				break;
			e->bytes_held -= entry_slots(e, entry);
			both[i]->head++;
		}
}

/* ---- recovery ---- */

struct recovery {
	struct engine *e;
	bool begun, failed;
	uint64_t expected, lost;
};

static void
recover_block(const struct block_header *h, const uint8_t *bytes, void *context)
{
	struct recovery *r = context;
	struct engine *e = r->e;
	ledger_recover_block(e->ledger, h, bytes);
	if (!r->begun) {
		r->begun = true;
		if (!e->log->checkpoint_serial)
			e->acked = h->first_event;
		if (e->cold_limit > e->cold_walk.position)	/* it begins at the checkpoint's `durable`, or before */
			e->cold_end_number = h->first_event < r->expected ? h->first_event : r->expected;
		else
			r->expected = h->first_event < e->acked ? h->first_event : e->acked;
		if (e->cold_limit > e->cold_walk.position && h->first_event < r->expected)
			r->expected = h->first_event;
	}
	if (h->first_event > r->expected) {	/* the numbers of a damaged stretch: never offered */
		uint64_t from = r->expected < e->acked ? e->acked : r->expected;
		if (h->first_event > from) {
			r->failed |= !ranges_reserve(&e->settled, 2);
			r->lost += r->failed ? 0 : ranges_add_missing(&e->settled, from, h->first_event);
		}
	}
	if (h->first_event < r->expected)
		return;
	r->expected = h->first_event + h->events;
	if (r->expected <= e->acked || !h->events)
		return;
	struct entry entry = { .first = h->first_event, .position = h->position, .previous_end = h->previous_end, .events = h->events,
		.bytes = h->bytes, .raw_bytes = h->raw_bytes, .previous_crc = h->previous_crc };
	r->failed |= !entries_add(&e->hot, &entry);
	e->bytes_held += entry_slots(e, &entry);
}

static void
recover_damage(uint64_t from, uint64_t to, const char *what, void *context)
{
	struct recovery *r = context;
	log_error("channel %s: the log is damaged from position %" PRIu64 " to %" PRIu64 " (%s); skipped", r->e->name, from, to, what);
}

static int
recover(struct engine *e, struct err *err)
{
	struct recovery r = { .e = e };
	struct ringlog *log = e->log;
	const struct checkpoint *c = log->checkpoint;
	e->acked = c->number;
	if (c->durable > c->position) {
		e->cold_walk = (struct log_walk){ .position = c->position, .previous_end = c->position, .previous_crc = c->previous_crc,
			.crc = c->previous_crc, .crc_known = true };
		e->cold_limit = c->durable;
		e->cold_number = c->number;
		r.expected = e->cold_end_number = c->durable_number;
	}
	for (uint32_t i = 0; i < c->range_count && !r.failed; i++) {
		uint64_t first = c->ranges[i].first, stop = first + c->ranges[i].count;
		r.failed = !ranges_reserve(&e->settled, 2);
		if (first >= e->acked && stop > first && !r.failed)
			(void)ranges_add_missing(&e->settled, first, stop);
	}
	int rc = ringlog_recover(log, true, recover_block, recover_damage, &r, err);
	if (rc)
		return rc;
	if (e->cold_limit > log->first_position)	/* it began before `durable` */
		e->cold_limit = log->first_position;
	if (e->cold_limit < e->cold_walk.position)
		e->cold_limit = e->cold_walk.position;
	if (log->number_least > r.expected) {	/* the end is damaged: these numbers were given away */
		uint64_t from = r.expected < e->acked ? e->acked : r.expected;
		r.failed |= !ranges_reserve(&e->settled, 2);
		if (from < log->number_least && !r.failed)
			r.lost += ranges_add_missing(&e->settled, from, log->number_least);
		r.expected = log->number_least;
	}
	uint64_t end = r.expected > e->acked ? r.expected : e->acked;
	uint64_t settled = 0;
	while (e->settled.count && e->settled.items[e->settled.count - 1].end > end)	/* of a log without syncs, after a power cut */
		e->settled.count--;
	if (r.failed)
		return err_set(err, ENOMEM, "no memory");
	rc = ledger_recovered(e->ledger, end, err);
	if (rc)
		return rc;
	for (uint32_t i = 0; i < e->settled.count; i++)
		settled += e->settled.items[i].end - e->settled.items[i].first;
	if (r.lost)
		log_error("channel %s: %" PRIu64 " events are lost in damaged stretches of the log", e->name, r.lost);
	counter_add(&e->counters.damaged_events, r.lost);
	e->taken = e->acked;
	e->appended = end;
	atomic_store(&e->durable, end);
	atomic_store(&e->stored_total, end - e->acked);
	atomic_store(&e->settled_total, settled);
	e->durable_position = log->position;
	e->acked_position = e->durable_synced = log->position;
	e->acked_crc = e->durable_synced_crc = log->previous_crc;
	e->durable_synced_number = end;
	e->written_segment = log->position / log->segment_bytes;
	engine_acked_move(e);
	return 0;
}

/* ---- the helper ---- */

/* Under lock: the end of the group before the one that holds the first unsettled event. */
static void
unsettled_position(struct engine *e, uint64_t *position, uint32_t *crc)
{
	struct entries *n = e->cold.head < e->cold.tail ? &e->cold : e->cold_walk.position < e->cold_limit ? NULL : &e->hot;
	if (!n) {
		*position = e->cold_walk.previous_end;
		*crc = e->cold_walk.previous_crc;
	} else if (n->head < n->tail) {
		const struct entry *entry = engine_entry(e, n->head);
		*position = entry->previous_end;
		*crc = entry->previous_crc;
	} else {
		*position = e->acked_position;
		*crc = e->acked_crc;
	}
}

static int
checkpoint(struct engine *e, bool sync, bool clean)
{
	struct checkpoint *c = e->log->checkpoint;
	pthread_mutex_lock(&e->lock);
	c->number = e->acked;
	unsettled_position(e, &c->position, &c->previous_crc);
	c->durable = e->durable_synced;
	c->durable_number = e->durable_synced_number;
	c->durable_crc = e->durable_synced_crc;
	if (BROKEN(CHECKPOINT_FIRST)) {
		c->durable = e->log->position;
		c->durable_number = e->appended;
		c->durable_crc = e->log->previous_crc;
	}
	c->range_count = e->settled.count < CHECKPOINT_RANGES ? e->settled.count : CHECKPOINT_RANGES;
	for (uint32_t i = 0; i < c->range_count; i++) {
		c->ranges[i].first = e->settled.items[i].first;
		c->ranges[i].count = e->settled.items[i].end - e->settled.items[i].first;
	}
	pthread_mutex_unlock(&e->lock);
	c->clean = clean;
	return ringlog_checkpoint(e->log, sync);
}

void
engine_tend(struct engine *e)
{
	struct ringlog *log = e->log;
	uint64_t now = clock_now_ns(e->clock);
	pthread_mutex_lock(&e->lock);
	uint64_t acked = e->acked, position, durable = e->acked_position, synced = e->durable_synced;
	uint32_t crc;
	unsettled_position(e, &position, &crc);
	pthread_mutex_unlock(&e->lock);
	if (now - e->looked_ns >= LOOK_NS) {
		unsigned before = atomic_load(&log->gone);
		ringlog_look(log, durable);
		e->looked_ns = now;
		if (atomic_load(&log->gone) != before)
			engine_writer_wake(&e->channel);
	}
	if (atomic_load(&log->gone) & RINGLOG_GONE_DIR)
		return;		/* nothing is made or moved in a directory that is not the log's */
	if (synced != e->moved) {
		e->moved = synced;
		e->moved_ns = now;
	}
	bool interval = now - e->checkpoint_ns >= e->checkpoint_interval_ns;
	bool due = (acked != e->checkpoint_number &&
		    (interval || position / log->segment_bytes > log->checkpoint_position / log->segment_bytes)) ||
		   (synced != e->checkpoint_durable &&
		    (interval || now - e->moved_ns >= IDLE_NS || synced - e->checkpoint_durable >= e->checkpoint_bytes));
	if (due) {
		if (checkpoint(e, true, false) == 0) {
			e->checkpoint_number = acked;
			e->checkpoint_durable = synced;
		}
		e->checkpoint_ns = now;
	} else if ((acked != e->checkpoint_number && acked != e->soft_number) || (synced != e->checkpoint_durable && synced != e->soft_durable)) {
		(void)checkpoint(e, false, false);
		e->soft_number = acked;
		e->soft_durable = synced;
	}
	bool full = atomic_load(&log->no_space);
	ledger_tend(e->ledger, log->checkpoint_position, e->checkpoint_number);
	ringlog_tend(log, durable);
	if (full && !atomic_load(&log->no_space))
		engine_writer_wake(&e->channel);
}

static void *
helper_main(void *context)
{
	struct engine *e = context;
	pthread_mutex_lock(&e->helper_lock);
	while (!atomic_load(&e->helper_stop)) {
		struct timespec until;
		clock_gettime(CLOCK_MONOTONIC, &until);
		uint64_t ns = (uint64_t)until.tv_nsec + TEND_NS;
		until.tv_sec += (time_t)(ns / NS_PER_S);
		until.tv_nsec = (long)(ns % NS_PER_S);
		if (!e->helper_due)
			pthread_cond_timedwait(&e->helper_wake, &e->helper_lock, &until);
		e->helper_due = false;
		pthread_mutex_unlock(&e->helper_lock);
		engine_tend(e);
		pthread_mutex_lock(&e->helper_lock);
	}
	pthread_mutex_unlock(&e->helper_lock);
	return NULL;
}

/* ---- open, close ---- */

/* Ordinary memory, in huge pages as far as the kernel has some over: a block is then one piece for the device instead of 64. */
static void *
region_map(size_t bytes)
{
	uint8_t *all = mmap(NULL, bytes + HUGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (all == MAP_FAILED)
		return all;
	size_t before = -(uintptr_t)all & (HUGE_BYTES - 1);
	uint8_t *region = all + before;
	if (before)
		munmap(all, before);
	munmap(region + bytes, HUGE_BYTES - before);
	(void)madvise(region, bytes, MADV_HUGEPAGE);
	memset(region, 0, bytes);	/* now, not under the first events */
	return region;
}

static void
region_unmap(void *region, size_t bytes)
{
	munmap(region, bytes);
}

static int
memory_make(struct engine *e, const struct channel_env *env, struct err *err)
{
	e->region_bytes = (size_t)e->block_bytes * e->block_count;
	if (env->alloc)
		e->region = env->alloc(e->region_bytes, env->alloc_context);
	else {
		size_t bytes = (e->region_bytes + HUGE_BYTES - 1) / HUGE_BYTES * HUGE_BYTES;
		void *region = MAP_FAILED;
		if (env->huge_pages)
			region = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_POPULATE, -1, 0);
		if (region == MAP_FAILED)
			region = region_map(bytes);
		e->region = region == MAP_FAILED ? NULL : region;
		e->region_bytes = bytes;
		e->region_free = region_unmap;
	}
	e->blocks = calloc(e->block_count, sizeof *e->blocks);
	e->free = calloc(e->block_count, sizeof *e->free);
	e->tail = calloc(e->block_count, sizeof *e->tail);
	e->links = calloc(e->links_max, sizeof *e->links);
	e->hot.head = e->hot.tail = ENTRY_HOT;
	if (!e->region || !e->blocks || !e->free || !e->tail || !e->links || !entries_reserve(&e->hot, 1))
		return err_set(err, ENOMEM, "no memory for %u blocks of %u bytes", e->block_count, e->block_bytes);
	for (uint32_t i = e->block_count; i-- > 0;) {
		struct memory *m = &e->blocks[i];
		m->block.bytes = e->region + (size_t)i * e->block_bytes;
		m->block.capacity = e->block_bytes;
		m->block.impl = m;
		e->free[e->free_count++] = m;
	}
	return 0;
}

static void
link_free(struct engine_link *l)
{
	spsc_free(&l->link.submit);
	spsc_free(&l->link.completions);
	spsc_free(&l->link.completions_free);
	spsc_free(&l->link.credit);
	free(l->completions);
	free(l);
}

static void
engine_free(struct engine *e)
{
	for (uint32_t i = 0; e->links && i < atomic_load(&e->link_count); i++)
		link_free(e->links[i]);
	if (e->ledger)
		ledger_close(e->ledger);
	if (e->log) {
		ringlog_close(e->log);
		free(e->log);
	}
	if (e->io)
		e->io->ops->close(e->io);
	if (e->region && e->region_free)
		e->region_free(e->region, e->region_bytes);
	sealer_close(e->sealer);
	for (uint32_t i = 0; e->blocks && i < e->block_count; i++)
		free(e->blocks[i].sealed);
	free(e->blocks);
	free(e->free);
	free(e->tail);
	free(e->links);
	free(e->hot.items);
	free(e->cold.items);
	pthread_mutex_destroy(&e->cold_lock);
	free(e->settled.items);
	free(e->redo.items);
	free(e->held.items);
	free(e->name);
	close(e->wake_fd);
	pthread_mutex_destroy(&e->lock);
	pthread_cond_destroy(&e->wake);
	pthread_mutex_destroy(&e->helper_lock);
	pthread_cond_destroy(&e->helper_wake);
	free(e);
}

int
engine_open(struct channel **channel, const struct engine_config *config, struct err *err)
{
	const struct channel_env *env = config->env;
	struct engine *e = calloc(1, sizeof *e);
	pthread_condattr_t attr;
	if (!e) {
		free(config->log);
		if (config->io)
			config->io->ops->close(config->io);
		close(config->wake_fd);
		return err_set(err, ENOMEM, "no memory");
	}
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_mutex_init(&e->lock, NULL);
	pthread_cond_init(&e->wake, &attr);
	pthread_mutex_init(&e->helper_lock, NULL);
	pthread_mutex_init(&e->cold_lock, NULL);
	pthread_cond_init(&e->helper_wake, &attr);
	pthread_condattr_destroy(&attr);
	e->clock = env->clock ? env->clock : &clock_system;
	e->name = strdup(env->name ? env->name : "channel");
	e->backoff_ns = FENCE_BACKOFF_NS;
	e->log = config->log;
	e->io = config->io;
	e->wake_fd = config->wake_fd;
	e->sync_groups = config->sync_groups;
	e->sync_interval_ns = config->sync_interval_ns;
	e->checkpoint_interval_ns = config->checkpoint_interval_ns;
	e->checkpoint_bytes = CHECKPOINT_DISTANCE_BYTES;
	e->checkpoint_on_close = config->checkpoint_on_close;
	atomic_store(&e->capacity, config->capacity);
	e->capacity_bytes = config->capacity_bytes;
	e->slot_bytes = config->slot_bytes ? config->slot_bytes : 100;
	e->links_max = env->links_max ? env->links_max : 1;
	e->block_bytes = env->block_bytes ? env->block_bytes : ENGINE_BLOCK_BYTES;
	e->block_count = env->blocks ? env->blocks : ENGINE_BLOCKS;
	if (e->block_count < 4 * e->links_max)
		e->block_count = 4 * e->links_max;
	e->groups_max = e->log ? 4 : 1;
	e->group_bytes = env->group_bytes ? env->group_bytes : ENGINE_GROUP_BYTES;
	e->channel.ops = config->ops;
	e->channel.name = e->name;
	e->channel.transaction_capacity = config->transaction_capacity;
	atomic_store(&e->channel.keep_alive_s, config->keep_alive_s);
	int rc = e->name ? 0 : err_set(err, ENOMEM, "no memory");
	if (rc)
		;
	else if (e->block_bytes % BLOCK_ALIGN_BYTES || e->block_bytes > 64u << 20)
		rc = err_set(err, EINVAL, "block size %u: must be a multiple of 4096 and at most 64 MiB", e->block_bytes);
	if (!rc)
		rc = memory_make(e, env, err);
	if (!rc && e->log) {
		e->io->ops->memory(e->io, e->region, e->region_bytes);
		rc = ringlog_open(e->log, true, err);
		if (!rc && e->log->segment_bytes < e->block_bytes)
			rc = err_set(err, EINVAL, "segments of %llu bytes cannot hold a block of %u", (unsigned long long)e->log->segment_bytes,
				     e->block_bytes);
		if (!rc) {	/* beside a block of state records, which has a quarter of a segment at most */
			uint64_t joined = e->log->segment_bytes / 4 * 3 / e->block_bytes;
			e->channel.joined_max = joined == 0 ? 1 : joined < LOGIO_WRITES_MAX ? (uint32_t)joined : LOGIO_WRITES_MAX - 1;
		}
		if (!rc && e->log->active_key)
			rc = sealer_open(&e->sealer, e->log->keys, e->log->active_key, e->log->log_id, err);
		for (uint32_t i = 0; i < e->block_count; i++)
			e->blocks[i].block.check = !e->sealer;	/* else it is of what stands on the disk, which the writer makes */
		if (!rc)
			rc = ledger_open(&e->ledger, &(struct ledger_config){ .engine = e, .log = e->log, .limit = config->ledger_bytes }, err);
		if (!rc)
			rc = recover(e, err);
		if (!rc) {	/* the epoch is on disk before anything is acknowledged */
			rc = checkpoint(e, true, false);
			if (rc)
				err_set(err, -rc, "%s: checkpoint: %s", e->log->checkpoint_dir, strerror(-rc));
			e->checkpoint_ns = clock_now_ns(e->clock);
			e->checkpoint_number = e->acked;
			e->checkpoint_durable = e->durable_synced;
		}
		if (!rc) {
			ledger_tend(e->ledger, e->log->checkpoint_position, e->checkpoint_number);
			ringlog_tend(e->log, e->log->position);
		}
	} else if (!rc)
		rc = ledger_open(&e->ledger, &(struct ledger_config){ .engine = e }, err);
	if (rc) {
		engine_free(e);
		return rc;
	}
	if (e->log && config->helper && pthread_create(&e->helper, NULL, helper_main, e) == 0)
		e->helper_runs = true;
	counter_set(&e->counters.open, 1);
	e->channel.metrics = (struct metric_set){ .kind = "CHANNEL", .component = e->name, .metrics = metrics,
		.count = sizeof metrics / sizeof *metrics, .counters = &e->counters, .refresh = refresh, .context = e };
	metrics_add(&e->channel.metrics);
	*channel = &e->channel;
	return 0;
}

void
engine_close(struct channel *channel)
{
	struct engine *e = (struct engine *)channel;
	metrics_remove(&channel->metrics);
	e->closing = true;
	for (int i = 0; i < 10000 && (e->group_count || (ledger_pending(e->ledger) && !e->failed)); i++)	/* what is in flight still ends: the kernel may be reading our memory */
		(void)engine_writer_step(channel, NS_PER_MS);
	if (e->helper_runs) {
		pthread_mutex_lock(&e->helper_lock);
		atomic_store(&e->helper_stop, true);
		pthread_cond_signal(&e->helper_wake);
		pthread_mutex_unlock(&e->helper_lock);
		pthread_join(e->helper, NULL);
	}
	if (e->log && e->checkpoint_on_close) {
		(void)checkpoint(e, true, true);
		ledger_final(e->ledger);
	}
	engine_free(e);
}

int
engine_link(struct channel *channel, const char *ingress, int wake_fd, struct channel_link **link, struct err *err)
{
	struct engine *e = (struct engine *)channel;
	uint32_t n = atomic_load(&e->link_count);
	if (n == e->links_max)
		return err_set(err, ENOSPC, "channel %s was opened for %u ingresses, %s is one more", e->name, e->links_max, ingress);
	struct engine_link *l = aligned_alloc(CACHE_LINE_BYTES, (sizeof *l + CACHE_LINE_BYTES - 1) / CACHE_LINE_BYTES * CACHE_LINE_BYTES);
	if (!l)
		return err_set(err, ENOMEM, "no memory");
	memset(l, 0, sizeof *l);
	l->link.channel = channel;
	l->link.wake_fd = wake_fd;
	l->link.impl = l;
	l->completions = calloc(e->block_count, sizeof *l->completions);
	if (!l->completions || spsc_init(&l->link.submit, e->block_count) || spsc_init(&l->link.completions, e->block_count) ||
	    spsc_init(&l->link.completions_free, e->block_count) || spsc_init(&l->link.credit, e->block_count)) {
		link_free(l);
		return err_set(err, ENOMEM, "no memory");
	}
	for (uint32_t i = 0; i < e->block_count; i++)
		(void)spsc_push(&l->link.completions_free, &l->completions[i]);
	e->links[n] = l;
	atomic_store(&e->link_count, n + 1);
	*link = &l->link;
	engine_writer_wake(channel);
	return 0;
}

struct ledger *
engine_ledger(struct channel *channel)
{
	return ((struct engine *)channel)->ledger;
}

bool
engine_idle(struct channel *channel)
{
	struct engine *e = (struct engine *)channel;
	for (uint32_t i = 0; i < atomic_load(&e->link_count); i++)
		if (spsc_count(&e->links[i]->link.submit))
			return false;
	return atomic_load(&e->pending_blocks) == 0 && !ledger_pending(e->ledger);
}

uint64_t
engine_unsettled(struct channel *channel)
{
	struct engine *e = (struct engine *)channel;
	uint64_t settled = atomic_load(&e->settled_total);
	return atomic_load(&e->stored_total) - settled;
}
