/* ingress_impl: what ingress.c and whole.c share: the way of one channel's blocks (its intake), and the put of a batch. Thread: the ingress's. */
#ifndef PENSTOCK_DATAPLANE_INGRESS_IMPL_H
#define PENSTOCK_DATAPLANE_INGRESS_IMPL_H

#include <assert.h>

#include "dataplane/ingress.h"
#include "dataplane/stream.h"

#define OVERFLOW_BYTES (1u << 20)

static inline void
intake_set_pending(struct ingress_channel *channel, int64_t change)
{
	channel->pending += (uint64_t)change;
	counter_set(&channel->counters.pending, channel->pending);
}

static inline void
intake_seal(struct ingress_channel *channel)
{
	if (channel->ingress->has_flows && channel->open->ticket_count)
		streams_mark(channel->ingress, channel->open);
	if (channel->marks_dirty)
		marks_write(channel);
	block_seal(channel->open);
}

static inline void
intake_submit(struct ingress_channel *channel)
{
	intake_seal(channel);
	counter_add(&channel->counters.blocks, 1);
	channel_submit(channel->link, &channel->open);
	channel->in_flight++;
	assert(channel->open == NULL);
}

static inline bool
intake_has_credit(struct ingress_channel *channel)
{
	return channel->spare_count || spsc_count(&channel->link->credit);
}

/* The open block, or a fresh one, or NULL: out of credit. */
static inline struct block *
intake_block(struct ingress_channel *channel)
{
	if (channel->open)
		return channel->open;
	struct block *block = channel->spare_count ? channel->spare[--channel->spare_count] : channel_credit(channel->link);
	if (!block)
		return NULL;
	if (!channel->scratch && block_scratch_init(&channel->scratch, block->capacity)) {
		/* Only at the first block of a link; a machine without memory for it has none for anything else. */
		assert(!"no memory for block scratch");
	}
	block_open(block, channel->scratch);
	channel->open = block;
	return block;
}

/* ingress.c: the events of the batch that are to be stored, into their channels. */
void ingress_put_direct(struct ingress *ingress, struct ingress_source *in);
void ingress_put_copies(struct ingress *ingress, struct ingress_source *in);

/* whole.c */

/* What other events stand in goes ahead; the set under way gets blocks of its own. */
void whole_split(struct ingress *ingress);
/* Makes way for a new open block. False: the set under way cannot go on. */
bool whole_pass_on(struct ingress *ingress, struct ingress_channel *channel);
/* ingress_put of a set under way. */
void whole_put(struct ingress *ingress, struct ingress_source *in);

#endif
