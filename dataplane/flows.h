/* flows: the connections of one thread, copied for control a few at a time. Control posts a query; the thread that owns the connections answers it at
 * the end of a turn and never waits. Costs one load a turn when nobody asks.
 *
 * Owner: control makes the query and frees it, once it is answered or taken back. Thread: as said at each function. */
#ifndef PENSTOCK_DATAPLANE_FLOWS_H
#define PENSTOCK_DATAPLANE_FLOWS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/address.h"

#define FLOW_ROWS 256		/* of one answer */
#define FLOW_LOOKS 8192		/* places looked at for one answer: a turn must stay short */

struct flow_row {
	struct address from, to;
	const char *source;		/* NULL: half open, or in TIME-WAIT */
	const char *carrier, *state;	/* "lcore" or "kernel"; as tcp_state_name */
	bool ack_durable, stalled, tls;
	uint64_t received, durable, acked;	/* bytes of the stream; kernel: acked is received */
	uint64_t window;		/* lcore: what the peer may still send */
	uint32_t queued_chunks, unsent;
	uint64_t idle_ns, age_ns;
};

struct flow_query {
	uint32_t port, cursor;		/* where to go on; the thread's */
	uint32_t count;
	bool more;
	_Atomic bool answered;
	struct flow_row rows[FLOW_ROWS];
};

typedef _Atomic(struct flow_query *) flow_post;

/* Control. False: somebody else's query is there. */
static inline bool
flow_ask(flow_post *post, struct flow_query *query)
{
	struct flow_query *none = NULL;
	atomic_store_explicit(&query->answered, false, memory_order_relaxed);
	return atomic_compare_exchange_strong(post, &none, query);
}

/* Control. True: taken back, the thread does not have it. False: it is being answered now, or is. */
static inline bool
flow_take_back(flow_post *post, struct flow_query *query)
{
	return atomic_compare_exchange_strong(post, &query, NULL);
}

/* The thread: the query to answer, or NULL. It is control's again with flow_answered. */
static inline struct flow_query *
flow_asked(flow_post *post)
{
	if (__builtin_expect(!atomic_load_explicit(post, memory_order_relaxed), 1))
		return NULL;
	return atomic_exchange(post, NULL);
}

static inline void
flow_answered(struct flow_query *query)
{
	atomic_store_explicit(&query->answered, true, memory_order_release);
}

#endif
