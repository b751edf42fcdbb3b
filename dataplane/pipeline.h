/* pipeline: what control builds and every ingress reads: sources with their interceptors and the channels behind them.
 * Built and freed by control; read only in between. */
#ifndef PENSTOCK_DATAPLANE_PIPELINE_H
#define PENSTOCK_DATAPLANE_PIPELINE_H

#include "channel/channel.h"
#include "dataplane/interceptor/interceptor.h"
#include "dataplane/selector/selector.h"
#include "dataplane/source/source.h"

#define PIPELINE_CHANNELS_MAX 64	/* slots: bits of a channel set */
#define PIPELINE_INTERCEPTORS_MAX 16

struct pipeline_interceptor {
	const char *name;
	const struct interceptor_ops *ops;
	void *compiled;
};

struct pipeline_source {
	const char *name;		/* r1 */
	const struct source_ops *ops;
	const void *config;
	struct pipeline_interceptor interceptors[PIPELINE_INTERCEPTORS_MAX];
	uint32_t interceptor_count;
	struct selector selector;
	uint64_t required, optional;	/* channel slots the selector can name */
};

struct pipeline {
	uint64_t generation;
	struct channel *channels[PIPELINE_CHANNELS_MAX];	/* by slot */
	uint32_t channel_count;
	struct pipeline_source *sources;
	uint32_t source_count;
};

#endif
