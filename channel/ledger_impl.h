/* ledger_impl: what the engine calls of the ledger, and its table. Internal to channel/.
 *
 * Threads: gather, block_out, *_done belong to the writer; tend to the helper; lock order: the ledger's lock, then the engine's. */
#ifndef PENSTOCK_CHANNEL_LEDGER_IMPL_H
#define PENSTOCK_CHANNEL_LEDGER_IMPL_H

#include <pthread.h>

#include "channel/engine.h"
#include "channel/ledger.h"

#define STATE_CLASS_MASK 63u
#define STATE_REMOVED 128u		/* in the class byte: the key goes */
#define LEDGER_BLOCKS LOGIO_GROUPS_MAX

/* ---- table: (class, key) -> record, and a list by position, oldest first ---- */
struct ledger_item {
	struct ledger_item *hash_next, *older, *newer;
	uint64_t position;		/* of the block that holds it; kept until carried forward */
	uint64_t order, last_out;	/* sequence of the last group that wrote this key */
	uint32_t hash, value_len, room;
	uint16_t key_len;
	uint8_t class;
	bool held;			/* an INTENT of an earlier run, its events are held back */
	uint8_t bytes[];		/* key, value */
};

struct ledger_table {
	struct ledger_item **buckets, *oldest, *newest;
	struct ledger_item *cursors[2];	/* next item of a snapshot, of pruning; moved on when that item goes */
	uint32_t mask;
	uint64_t count, bytes;
};

int table_init(struct ledger_table *table);
void table_clear(struct ledger_table *table);	/* empty, usable again */
void table_free(struct ledger_table *table);
struct ledger_item *table_find(const struct ledger_table *table, uint8_t class, const void *key, uint16_t key_len);
/* Puts or replaces; the item comes to the end of the list. NULL: no memory. */
struct ledger_item *table_put(struct ledger_table *table, const struct state_record *record, uint64_t position);
void table_remove(struct ledger_table *table, struct ledger_item *item);

/* ---- encoding ---- */
uint32_t state_bytes_max(const struct state_record *record);
uint8_t *state_encode(uint8_t *at, const struct state_record *record);
/* class keeps STATE_REMOVED. False: makes no sense. */
bool state_decode(const uint8_t *payload, uint32_t len, struct state_record *record);
/* A mark record of a block as the state record it stands for; its key is put together in `key` (LEDGER_KEY_MAX). */
bool mark_decode(const uint8_t *payload, uint32_t len, uint8_t *key, struct state_record *record);

/* ---- snapshot ---- */
#define SNAPSHOT_MAGIC 0x4c525350u	/* PSRL */
struct snapshot_header {
	uint32_t magic, version;
	uint8_t log_id[LOG_ID_BYTES];
	uint64_t serial, position;	/* all records below `position` are in it */
	uint32_t previous_crc, payload_crc;
	uint64_t count, bytes;
	uint32_t cipher, key_id;	/* enum block_cipher; of the records as a whole */
	uint8_t salt[SALT_BYTES], tag[16];
	uint8_t reserved[4096 - 68 - 40];
	uint32_t crc;
};
#define SNAPSHOT_ABOUT 40u	/* bytes of the header that are authenticated with the records: to `position` */
_Static_assert(sizeof(struct snapshot_header) == 4096 && offsetof(struct snapshot_header, bytes) == 56 &&
	       offsetof(struct snapshot_header, crc) == 4092, "as documented");

struct snapshots {
	struct ringlog *log;
	struct logio_file *files[2];
	uint64_t serial, position;	/* of the newest one */
	uint32_t previous_crc;
	unsigned turn;
	bool valid;
};

/* Opens (with `create` makes) both files in the checkpoint directory and loads the newest valid one into the table. */
int snapshots_open(struct snapshots *snapshots, struct ringlog *log, bool create, struct ledger_table *table, struct err *err);
/* Writes the table as of `position`, taking `lock` a chunk at a time. *bytes: its size. */
int snapshot_write(struct snapshots *snapshots, struct ledger_table *table, pthread_mutex_t *lock, uint64_t position, uint32_t previous_crc,
		   uint64_t *bytes);
void snapshots_close(struct snapshots *snapshots);

/* ---- the ledger ---- */
struct ledger_counters {
	struct counter keys, bytes, limit, notes, removed, carried, blocks, marks, failed, snapshots, snapshot_bytes, snapshot_errors, in_doubt,
		held_events;
};

struct ledger_link {
	struct ledger *ledger;
	struct ledger_link *next;
	uint8_t *ring;
	uint32_t mask;
	int wake_fd;
	bool closed;			/* under lock */
	uint64_t taken;			/* notes the writer has taken; writer's */
	uint64_t sent[LEDGER_BLOCKS];	/* last note in the block of this slot, 0 none; writer's */
	_Alignas(CACHE_LINE_BYTES) _Atomic uint64_t tail;	/* bytes; its thread's */
	uint64_t noted;
	_Alignas(CACHE_LINE_BYTES) _Atomic uint64_t head;	/* the writer's */
	_Atomic uint64_t durable;
	_Atomic int status;
};

struct ledger_block {
	struct memory memory;
	bool used;
	uint64_t carried;
};

struct ledger {
	struct engine *engine;
	struct ringlog *log;		/* NULL: no disk */
	pthread_mutex_t lock;
	pthread_cond_t wake;
	uint32_t waiting;
	struct ledger_table table;
	struct ledger_link *links;
	struct snapshots snapshots;
	uint64_t limit, segment_bytes;
	uint32_t block_bytes;
	_Atomic uint64_t queued, live_bytes;
	_Atomic uint64_t carry_below;	/* records below this position are to be written again; 0: none */
	_Atomic bool carry_stuck;
	struct ledger_block blocks[LEDGER_BLOCKS];
	uint64_t out_seq, done_seq;	/* groups gathered, groups ended; writer's */
	uint64_t durable_position;	/* under lock: all groups below it are applied */
	uint32_t durable_crc;
	uint64_t held_events;
	uint64_t pruned;		/* the helper's: number of the last pruning */
	uint64_t snapshot_ns, snapshot_backoff_ns;	/* the helper's: when the next may be tried after one that failed */
	bool recovering;
	struct ledger_counters counters;
	struct metric_set metrics;
};

struct ledger_config {
	struct engine *engine;
	struct ringlog *log;
	uint64_t limit;			/* most live bytes */
};

/* After ringlog_open: loads the snapshot, and lowers log->begin_position to where the scan must begin. */
int ledger_open(struct ledger **ledger, const struct ledger_config *config, struct err *err);
void ledger_close(struct ledger *ledger);
/* Every checked block from log->begin_position on, in order. */
void ledger_recover_block(struct ledger *ledger, const struct block_header *header, const uint8_t *bytes);
/* The scan is over: builds engine->settled (union) and engine->held; the log ends at its position. */
int ledger_recovered(struct ledger *ledger, uint64_t end, struct err *err);

/* Under the lock: gauges; state and mark records of a block that is durable, from offset `from` of its records on; closed links go. */
void ledger_count(struct ledger *ledger);
void ledger_apply_block(struct ledger *ledger, const uint8_t *bytes, uint32_t from);
void ledger_links_reap(struct ledger *ledger);

bool ledger_pending(struct ledger *ledger);
/* Once for each group that will be written, even when it holds no state block; NULL: nothing to write. */
struct memory *ledger_gather(struct ledger *ledger, bool alone);
void ledger_block_out(struct ledger *ledger, const struct block *block);
/* A group has ended, in order: its blocks (state block among them) with their status. */
void ledger_group_done(struct ledger *ledger, const struct group *group, int status);
/* Snapshot, carrying forward, what may be reused. checkpoint_*: of the newest synced one. */
void ledger_tend(struct ledger *ledger, uint64_t checkpoint_position, uint64_t checkpoint_number);
/* At an orderly close, when nothing is in flight. */
void ledger_final(struct ledger *ledger);

/* ---- the window's part (ledger_window.c); takes the engine's lock ---- */
int window_build(struct engine *engine, const struct ledger_table *table, uint64_t end, uint64_t *held_events);
/* Events of a set that were held back are settled or offered again. */
uint64_t window_resolve(struct engine *engine, const uint8_t *set, uint32_t set_len, bool delivered);
/* First event at or behind `number` that is neither settled nor held; under the engine's lock. */
uint64_t window_skip(const struct engine *engine, uint64_t number);
/* The first settled or held event behind `number`, UINT64_MAX: none. */
uint64_t window_stop(const struct engine *engine, uint64_t number);

#endif
