/* engine: what channel_file and channel_memory share: links, the writer's step, the window of taken events. The ring log under it or none.
 *
 * Invariants: acked <= taken <= durable <= appended, in event numbers.
 * Threads: the writer owns groups, free blocks and credit; `lock` guards the window, the index of blocks, the tail and pins. */
#ifndef PENSTOCK_CHANNEL_ENGINE_H
#define PENSTOCK_CHANNEL_ENGINE_H

#include <pthread.h>

#include "channel/channel.h"
#include "channel/logio.h"
#include "channel/ranges.h"
#include "channel/ringlog.h"

#define ENGINE_BLOCK_BYTES (256u << 10)
#define ENGINE_BLOCKS 128u
#define ENGINE_GROUP_BYTES (2u << 20)	/* larger ones are no faster on the disk, and leave the caches before their checksum is made */
#define FENCE_BACKOFF_NS (100 * NS_PER_MS)	/* doubled with every failure, to 10 s */
#define ENGINE_RESERVE_EVENTS 2048u	/* most events of one block, and so what one credit may stand for */

enum memory_state { MEMORY_FREE, MEMORY_OUT, MEMORY_WRITING, MEMORY_TAIL };

struct memory {				/* a block's memory for life */
	struct block block;
	struct engine_link *link;	/* while out or writing */
	enum memory_state state;
	uint32_t pins;
	uint64_t entry;			/* sequence number of its entry, in the tail */
	struct completion *completion;	/* while writing */
	uint8_t *sealed;		/* what is written when the log is encrypted; made at its first use, kept for life */
	bool is_state;			/* the ledger's own: no link, no completion, no tail */
};

#define ENTRY_HOT (UINT64_C(1) << 62)	/* sequence numbers of what recovery scanned and what was written since; below: read later */

struct entry {				/* a block with durable and unsettled events */
	uint64_t first, position, previous_end;
	uint32_t events, bytes, raw_bytes, previous_crc;
	struct memory *memory;		/* NULL: to be read from the log */
	uint8_t tries;			/* to read it back that failed */
	struct walk hint;		/* where a walk for event first + hint.events begins */
};

struct entries {			/* a ring; sequence numbers only grow */
	struct entry *items;
	uint64_t head, tail;
	uint32_t mask;
};

#define ENGINE_GROUPS (LOGIO_GROUPS_MAX + 1)	/* one is for state records that pass by all others, parked */
struct group {
	struct memory *blocks[LOGIO_WRITES_MAX];
	uint32_t count, bytes;
	uint64_t position, previous_end;
	uint32_t previous_crc, crc;
	uint32_t events, payload;
	bool ended, synced, parked;	/* parked: no room on the disk yet */
	uint64_t ledger_seq;
	int status;
};

struct engine_counters {
	struct counter size, capacity, fill, put_attempt, put_success, take_attempt, take_success, open, closed, unhealthy, put_error, take_error,
		checkpoint_error, backup_error, stored, failed, log_bytes, read_bytes, payload_bytes, syncs, blocks_written, damage, damaged_events, fences,
		disk_full, files_gone, oldest;
};

struct engine_link {
	struct channel_link link;
	struct completion *completions;
	uint32_t out;			/* blocks in its hands or its credit ring */
	uint32_t generation;		/* of the blocks that may be stored */
};

struct engine {
	struct channel channel;
	struct clock *clock;
	char *name;
	struct ringlog *log;		/* NULL: memory */
	struct ledger *ledger;
	struct sealer *sealer;		/* NULL: blocks are written as they are */
	struct logio *io;
	bool sync_groups;
	uint64_t sync_interval_ns, checkpoint_interval_ns;
	uint64_t checkpoint_bytes;	/* durable since the newest checkpoint, at most: what a recovery reads */
	_Atomic uint64_t capacity;	/* events */
	uint64_t capacity_bytes;	/* of bodies in slots (memory); 0: none */
	uint32_t slot_bytes;		/* of a slot */

	uint8_t *region;
	size_t region_bytes;
	void (*region_free)(void *region, size_t bytes);
	uint32_t block_bytes, block_count;
	struct memory *blocks;
	struct memory **free;		/* the writer's */
	uint32_t free_count;
	struct engine_link **links;
	_Atomic uint32_t link_count;
	uint32_t links_max, link_turn;

	/* writer */
	struct group groups[ENGINE_GROUPS];
	uint32_t group_first, group_count, groups_max;	/* groups_max: on the device at a time */
	uint32_t group_bytes;		/* of one group, as far as what must lie in one fits */
	uint64_t appended;		/* number of the next event */
	uint64_t reserved;		/* events that credit given out stands for */
	uint64_t writing;		/* events of groups in flight */
	uint64_t settled_seen;		/* settled_total when credit was last looked at */
	uint64_t durable_position;
	uint64_t last_sync_ns;
	bool failed;			/* also a new extent failed: nothing is stored until one works */
	bool fencing;			/* a write failed: the rest in flight is awaited, then all is written again elsewhere */
	uint32_t fence_tries;		/* without a group that became durable in between */
	uint64_t retry_ns, backoff_ns, park_ns;
	bool closing;
	uint64_t written_segment;	/* of the newest group */
	bool tell_due;			/* takers slept when something became durable */
	uint64_t told_ns;
	int wake_fd;
	_Atomic bool writer_sleeps, starved;
	_Atomic uint64_t pending_blocks;

	/* under lock */
	pthread_mutex_t lock;
	pthread_cond_t wake;
	uint32_t takers_waiting;
	struct entries hot, cold;
	struct memory **tail;		/* oldest first */
	uint32_t tail_count, pinned;
	uint64_t acked;
	_Atomic uint64_t taken;
	_Atomic uint64_t durable;	/* number behind the last durable event; written under lock */
	_Atomic uint64_t settled_total, stored_total;	/* since the numbers began: stored - settled = unsettled */
	uint64_t bytes_held;		/* slots of 100 bytes, of entries in memory */
	struct ranges settled, redo, held;	/* held: of INTENTs in doubt */
	uint64_t acked_position;
	uint32_t acked_crc;
	/* A backlog that recovery did not read: blocks from the walk's position to cold_limit, events from cold_number on. */
	struct log_walk cold_walk;
	uint32_t cold_tries;		/* reads of its headers that failed in a row */
	uint64_t cold_limit, cold_number, cold_end_number;
	uint64_t durable_synced;	/* e->durable_position, for the checkpoint */
	uint64_t durable_synced_number;
	uint32_t durable_synced_crc;
	uint64_t damage_found;		/* stretches found by takers */
	_Atomic uint64_t taken_total, took_total;

	/* helper */
	pthread_mutex_t cold_lock;	/* one taker at a time reads headers of the backlog */
	pthread_t helper;
	bool helper_runs;
	_Atomic bool helper_stop;
	bool helper_due;		/* under helper_lock: the writer came into another segment */
	pthread_mutex_t helper_lock;	/* never held for long */
	pthread_cond_t helper_wake;
	uint64_t checkpoint_ns, checkpoint_number, checkpoint_durable, soft_number, soft_durable;
	uint64_t looked_ns;		/* when the log's files were last looked for */
	uint64_t moved, moved_ns;	/* `durable` when it was last looked at, and since when it stands there */
	bool checkpoint_on_close;

	struct engine_counters counters;
};

struct engine_config {
	const struct channel_ops *ops;
	const struct channel_env *env;
	uint64_t capacity, capacity_bytes;
	uint32_t slot_bytes;		/* 0: 100 */
	uint32_t transaction_capacity, keep_alive_s;
	struct ringlog *log;		/* prepared for ringlog_open; owned by the engine from then on */
	struct logio *io;
	int wake_fd;			/* owned by the engine */
	bool sync_groups, checkpoint_on_close, helper;
	uint64_t sync_interval_ns, checkpoint_interval_ns, ledger_bytes;
};

int engine_open(struct channel **channel, const struct engine_config *config, struct err *err);
void engine_close(struct channel *channel);
int engine_link(struct channel *channel, const char *ingress, int wake_fd, struct channel_link **link, struct err *err);
int engine_writer_step(struct channel *channel, uint64_t wait_ns);
void engine_writer_wake(struct channel *channel);
struct ledger *engine_ledger(struct channel *channel);
bool engine_idle(struct channel *channel);
uint64_t engine_unsettled(struct channel *channel);
void engine_tend(struct engine *engine);	/* the helper's work, once */

int engine_taker_open(struct channel *channel, const char *sink, struct taker **taker, struct err *err);
int engine_take(struct taker *taker, uint32_t max_events, uint64_t max_bytes, uint64_t wait_ns, struct span **span);
int engine_settle(struct taker *taker, struct span *span, enum settle how, const struct event_range *set, uint32_t set_count);
void engine_span_release(struct taker *taker, struct span *span);
void engine_taker_idle(struct taker *taker);
void engine_taker_close(struct taker *taker);
bool engine_span_next(const struct span *span, struct span_cursor *cursor, struct event_view *event);

/* Under lock. */
void engine_acked_move(struct engine *engine);		/* over settled ranges, and drops entries that are done */
bool entries_reserve(struct entries *entries, uint32_t more);
bool entries_add(struct entries *entries, const struct entry *entry);


static inline struct entry *
engine_entry(struct engine *engine, uint64_t sequence)
{
	struct entries *entries = sequence < ENTRY_HOT ? &engine->cold : &engine->hot;
	return &entries->items[sequence & entries->mask];
}

static inline bool
entry_there(const struct engine *engine, uint64_t sequence)
{
	const struct entries *entries = sequence < ENTRY_HOT ? &engine->cold : &engine->hot;
	return sequence >= entries->head && sequence < entries->tail;
}

#endif
