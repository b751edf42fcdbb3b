/* stream_rig: one stream source, its ingress and a carrier made of arrays, for tests: feed bytes, look at events and replies. */
#ifndef PENSTOCK_TESTS_LIB_STREAM_RIG_H
#define PENSTOCK_TESTS_LIB_STREAM_RIG_H

#include "dataplane/source/stream_options.h"
#include "dataplane/stream.h"

struct rig_stream {
	struct stream stream;		/* first */
	uint8_t out[1 << 20];
	uint32_t out_len, out_max;
	bool open, closed, reset, reading;
	uint64_t durable_told;
	uint32_t durable_calls;
};

struct stream_rig {
	struct clock_manual clock;
	struct pipeline pipeline;
	struct pipeline_source spec;
	struct ingress ingress;
	struct streams streams;
	struct stream_listener listener;
	struct channel *channel;	/* NULL: events go nowhere */
	void *config;
	struct option_values values;
	bool own_channel;
	void (*seen)(void *context, const struct event *event);	/* every event, when its batch is put */
	void *seen_context;
};

/* NAME=VALUE pairs, blank between them; ~ in a value stands for a blank. channel: a memory channel of `blocks` blocks when > 0. */
void stream_rig_open(struct stream_rig *rig, const struct source_ops *ops, const char *properties, uint64_t wall_s, uint32_t blocks);
void stream_rig_open_small(struct stream_rig *rig, const struct source_ops *ops, const char *properties, uint64_t wall_s, uint32_t blocks,
			   uint32_t capacity);	/* events */
/* The same over a channel of the caller's (may be NULL). */
void stream_rig_open_on(struct stream_rig *rig, const struct source_ops *ops, const char *properties, uint64_t wall_s, struct channel *channel);
void stream_rig_close(struct stream_rig *rig);
/* One turn: reap, run, put, seal, and with `write` the channel's writer until it is idle. */
void stream_rig_turn(struct stream_rig *rig, bool write);

/* withholds: a carrier that can hold back its acknowledgement. */
struct rig_stream *rig_connect(struct stream_rig *rig, bool withholds, uint16_t local_port);
void rig_end(struct rig_stream *stream);
/* Bodies of all events in the channel, newline after each; empties it. Static memory. */
const char *rig_stored(struct stream_rig *rig);

#endif
