/* channel_conformance: one body for every channel and every logio: what is promised is tested, by steps on one thread. */
#ifndef PENSTOCK_TESTS_CHANNEL_CONFORMANCE_H
#define PENSTOCK_TESTS_CHANNEL_CONFORMANCE_H

#include "channel/channel.h"

struct channel_case {
	/* Opens the channel (again: with what it held when it is durable). */
	int (*open)(struct channel_case *c, const struct channel_env *env, uint64_t capacity, struct channel **channel, struct err *err);
	void (*clean)(struct channel_case *c);		/* everything is forgotten */
	bool durable;
	void *context;
};

void channel_conformance(struct channel_case *c);

/* Helpers for other tests of channels. */
struct rig {
	struct channel *channel;
	struct channel_link *link;
	struct block_scratch *scratch;
	uint64_t put, done, failed;		/* events submitted; with completion 0; with an error */
	uint64_t next;				/* text of the next event's body */
};
void rig_open(struct rig *r, struct channel_case *c, uint64_t capacity);
void rig_close(struct rig *r);
/* Submits one block of up to `events`; returns how many there were (0: no credit). */
uint32_t rig_put(struct rig *r, uint32_t events, uint32_t body_len);
void rig_reap(struct rig *r);
void rig_settle_down(struct rig *r);		/* steps until all is completed */
void rig_step(struct rig *r, uint32_t times);		/* of the writer */
/* So many blocks of ten events, each settled down before the next. */
void rig_fill(struct rig *r, uint32_t blocks, uint32_t body_len);
/* Takes and commits all there is; takes in vain are allowed so often. Without any, the events are those from `first` on without a gap; else, with gaps. Returns how
 * many there were. */
uint64_t rig_drain(struct rig *r, uint64_t first, uint32_t in_vain);
uint64_t event_value(const struct event_view *event);

#endif
