/* channel: where events wait between ingress and sinks, durable or not. One ops table per kind (file, memory, ...).
 *
 * Threads: control opens, links, closes; each ingress has a link of its own; one writer thread calls writer_step; sink runners
 * take and settle through takers of their own. What comes back for every submitted block is a completion; credit travels apart. */
#ifndef PENSTOCK_CHANNEL_CHANNEL_H
#define PENSTOCK_CHANNEL_CHANNEL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/counter.h"
#include "base/err.h"
#include "base/option.h"
#include "base/spsc.h"
#include "channel/block.h"

struct channel;
struct ledger;
struct taker;

struct completion {
	uint64_t serial;		/* of the block */
	uint32_t events;
	uint32_t generation;		/* a failure: of the blocks that may be stored after it */
	int status;			/* 0 durable (or in memory, by the channel's promise); -errno: lost by this channel */
	uint32_t ticket_count;
	uint32_t tickets[BLOCK_TICKETS_MAX];
};

/* One (ingress, channel) pair. Owner: the channel. submit: ingress -> writer; completions, credit: writer -> ingress. */
struct channel_link {
	struct channel *channel;
	struct spsc submit;		/* struct block *; as deep as there are blocks, push cannot fail */
	struct spsc completions;	/* struct completion *; hand back with channel_completion_done */
	struct spsc completions_free;
	struct spsc credit;		/* struct block * */
	int wake_fd;			/* eventfd the writer signals after a completion or credit when `sleeping`; -1: the ingress polls */
	/* A failure is a cut, not a hole: after a block that failed the channel fails all that its ingress filled before it saw that
	 * completion. The ingress's; moves when it takes such a completion. */
	uint32_t generation;
	_Atomic bool sleeping;		/* set by the ingress before it sleeps, with a look at the rings after */
	void *impl;
};

struct channel_promise {
	bool durable, ordered, settles_sets, notes, marks, live_resize;
};

/* Small durable key-values in the channel (channel/ledger.h); the last of a key counts. */
struct state_record {
	uint8_t class;			/* enum state_class: consumer, source mark, flow, half line */
	const void *key, *value;
	uint16_t key_len;
	uint32_t value_len;
	uint64_t order;
};

enum settle { SETTLE_COMMIT, SETTLE_ROLLBACK };

/* Some events of a span, by number. */
struct event_range {
	uint64_t first, count;
};

/* A taken run of events; opaque to sinks but for these and span_next. */
struct span {
	struct taker *taker;
	uint64_t first;			/* number of its first event */
	uint32_t events;
	uint64_t body_bytes;
	void *impl;
};

struct span_cursor {
	uint64_t state[8];
};

struct channel_env {
	const char *name;		/* c1 */
	struct clock *clock;
	uint32_t block_bytes;		/* 0: default 256 KiB */
	uint32_t blocks;		/* 0: default; memory budget in blocks, at least 4 per link */
	uint32_t group_bytes;		/* most of what one sync makes durable, where it need not be more; 0: 2 MiB */
	uint32_t links_max;		/* ingresses that will be linked */
	bool huge_pages;		/* try MAP_HUGETLB for block memory */
	void *(*alloc)(size_t bytes, void *context);	/* NULL: mmap of our own */
	void *alloc_context;
};

struct channel_ops {
	const char *name;			/* Flume's alias: "file", "memory" */
	const char *class_names;		/* Flume's class names, blank separated */
	const char *help;
	const struct option *options;
	size_t config_size;
	int (*check)(const void *config, const char *name, struct err *err);	/* cross-option rules; may be NULL */
	int (*open)(struct channel **channel, const void *config, const struct channel_env *env, struct err *err);
	int (*link)(struct channel *channel, const char *ingress, int wake_fd, struct channel_link **link, struct err *err);
	/* Writer thread. One turn: gather, write, sync, complete, give credit. Returns > 0 when it did something; with wait_ns > 0
	 * sleeps in the kernel that long at most when there is nothing to do. */
	int (*writer_step)(struct channel *channel, uint64_t wait_ns);
	void (*writer_wake)(struct channel *channel);	/* any thread */
	struct ledger *(*ledger)(struct channel *channel);	/* state records; NULL: the channel keeps none */
	int (*taker_open)(struct channel *channel, const char *sink, struct taker **taker, struct err *err);
	/* Up to max_events and max_bytes of bodies; waits at most wait_ns for something to be durable. NULL span: nothing there.
	 * Several spans of one taker may be open. */
	int (*take)(struct taker *taker, uint32_t max_events, uint64_t max_bytes, uint64_t wait_ns, struct span **span);
	/* Ends the span and frees it. With set: only those events get `how`, the rest the other. 0, -ECANCELED when it was lost. */
	int (*settle)(struct taker *taker, struct span *span, enum settle how, const struct event_range *set, uint32_t set_count);
	/* The sink has copied what it needs: the span's bytes may go (pins, read buffers), its name stays until settle. */
	void (*span_release)(struct taker *taker, struct span *span);
	void (*taker_idle)(struct taker *taker);
	void (*taker_close)(struct taker *taker);
	bool (*span_next)(const struct span *span, struct span_cursor *cursor, struct event_view *event);	/* cursor zeroed to begin */
	int (*reconfigure)(struct channel *channel, const void *config, struct err *err);
	struct channel_promise (*promise)(const struct channel *channel);
	bool (*idle)(struct channel *channel);		/* nothing submitted that is not completed */
	uint64_t (*unsettled)(struct channel *channel);	/* events stored and not yet settled */
	void (*close)(struct channel *channel);		/* after writer and takers have stopped; syncs and writes the checkpoint */
};

/* Every kind's struct channel begins so. */
struct channel {
	const struct channel_ops *ops;
	const char *name;
	uint32_t transaction_capacity;	/* events; 0: no limit exposed */
	uint32_t joined_max;		/* blocks that can lie in one group; 0: as many as one may hold */
	_Atomic uint32_t keep_alive_s;	/* how long a request waits for room before its sender is told that there is none (Flume: a put) */
	_Atomic uint32_t hungry;	/* the writer is free to take a block: ingresses seal open ones */
	struct metric_set metrics;	/* Flume's CHANNEL attributes and our own: stored, failed, log_bytes, syncs ... */
};

extern const struct channel_ops channel_file, channel_memory, channel_spillable;
extern const struct channel_ops *const channel_kinds[];		/* NULL terminated */

/* Ingress thread: credit, or NULL. */
static inline struct block *
channel_credit(struct channel_link *link)
{
	struct block *block = spsc_pop(&link->credit);
	if (block)
		block->generation = link->generation;
	return block;
}

/* Writer thread, first of all: it works little and often, and everybody waits for what it does. Where the kernel lets it (Linux 6.12) it runs
 * as soon as it is woken, not when whoever has its CPU has used up some milliseconds. */
void channel_writer_begin(void);

/* Ingress thread: hands over a sealed block and empties the giver's hand. */
void channel_submit(struct channel_link *link, struct block **block);

static inline struct completion *
channel_completion(struct channel_link *link)
{
	struct completion *completion = spsc_pop(&link->completions);
	if (completion && completion->status)
		link->generation = completion->generation;
	return completion;
}

static inline void
channel_completion_done(struct channel_link *link, struct completion *completion)
{
	(void)spsc_push(&link->completions_free, completion);
}

static inline bool
channel_hungry(const struct channel *channel)
{
	return atomic_load_explicit(&channel->hungry, memory_order_relaxed) != 0;
}

#endif
