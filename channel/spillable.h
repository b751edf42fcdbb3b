/* spillable: what channel_spillable.c (parts, writer) and spillable_take.c (takers) share. Internal to channel/. */
#ifndef PENSTOCK_CHANNEL_SPILLABLE_H
#define PENSTOCK_CHANNEL_SPILLABLE_H

#include "channel/channel_file.h"
#include "channel/engine.h"

enum part { MEMORY, OVERFLOW };

struct run {			/* events that lie in one part, side by side */
	uint64_t first;		/* our number; set when it can be taken */
	uint64_t inner;		/* the part's */
	uint64_t events, left;	/* left: not yet settled */
	uint8_t part;
	bool ended, failed;
};

struct runs {			/* a ring; sequence numbers only grow */
	struct run *items;
	uint64_t head, tail;
	uint32_t mask;
};

struct outer_link {
	struct channel_link link;
	struct completion *completions;
	uint32_t out;		/* blocks in its hands or its credit ring */
	uint32_t generation;	/* of blocks that may be stored */
};

struct flight {			/* a block that its part has not completed */
	struct outer_link *link;
	struct completion *completion;
	uint64_t run;
	uint32_t generation;
};

struct spillable_counters {
	struct counter size, capacity, fill, put_attempt, put_success, take_attempt, take_success, memory, overflow, spilled, spilling, stored, failed;
};

struct part_state {
	struct channel *channel;
	struct engine *engine;
	struct channel_link *link;
	uint64_t capacity;
	struct flight *flights;		/* a ring, as long as the part has blocks: completions come in order */
	uint32_t flight_first, flight_count;
	uint64_t next;			/* number of the next event that completes */
};

struct spillable {
	struct channel channel;
	struct part_state parts[2];	/* channel NULL: not there */
	struct clock *clock;
	char *name;
	struct outer_link **links;
	_Atomic uint32_t link_count;
	uint32_t links_max, link_turn;
	uint64_t timeout_ns, full_since;
	uint32_t threshold;
	bool spilling;
	int wake_fd;			/* that of the engine whose I/O can wake us */
	_Atomic bool writer_sleeps;
	_Atomic uint64_t under_way;

	pthread_mutex_t lock;
	pthread_cond_t wake;
	uint32_t takers_waiting;
	struct runs pending, runs;	/* blocks on their way, in order; what can be taken and is not settled */
	uint64_t next_number, frontier;	/* of the next run; of the next event to be taken for the first time */
	struct ranges redo;
	_Atomic uint64_t took, taken;
	struct spillable_counters counters;
};

struct outer_span {
	struct span span;		/* handed out */
	struct span *inner;
	struct outer_span *next;
	uint64_t delta;			/* our number - the part's */
	uint8_t part;
};

struct taker {
	struct spillable *spillable;
	struct taker *parts[2];
	struct outer_span *free, *open;
};

/* Under lock: blocks whose turn has come can be taken; settled runs go from the front. */
void spillable_runs_move(struct spillable *spillable);
void spillable_writer_wake(struct channel *channel);

static inline struct run *
run_at(const struct runs *r, uint64_t sequence)
{
	return &r->items[sequence & r->mask];
}

static inline uint64_t
part_unsettled(const struct part_state *p)
{
	return p->channel ? engine_unsettled(p->channel) : 0;
}

int spillable_taker_open(struct channel *channel, const char *sink, struct taker **taker, struct err *err);
int spillable_take(struct taker *taker, uint32_t max_events, uint64_t max_bytes, uint64_t wait_ns, struct span **span);
int spillable_settle(struct taker *taker, struct span *span, enum settle how, const struct event_range *set, uint32_t set_count);
void spillable_span_release(struct taker *taker, struct span *span);
void spillable_taker_idle(struct taker *taker);
void spillable_taker_close(struct taker *taker);
bool spillable_span_next(const struct span *span, struct span_cursor *cursor, struct event_view *event);

#endif
