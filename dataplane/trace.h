/* trace: what happens to the next events of a source, as JSON lines for control. Costs one load a batch when off; when control
 * is slow, lines are dropped and counted, never events.
 *
 * Owner: control makes and frees it; it is hung into an ingress_source and taken out again, and freed once `gone` is set by the
 * ingress (the turn after). Thread: the ingress writes, control reads; a spsc ring of lines lies between. */
#ifndef PENSTOCK_DATAPLANE_TRACE_H
#define PENSTOCK_DATAPLANE_TRACE_H

#include "base/event.h"
#include "base/spsc.h"

struct pipeline;

#define TRACE_LINE_BYTES 4096
#define TRACE_LINES 256

struct trace {
	struct spsc filled, empty;		/* of char[TRACE_LINE_BYTES] */
	char *lines;
	uint64_t left;				/* events still to trace */
	uint64_t dropped;			/* lines */
	const char *dropped_by[BATCH_EVENTS_MAX];
	uint32_t was_dropped[BATCH_EVENTS_MAX / 32];
	_Atomic uint32_t finished;		/* set when `left` reached 0 */
};

int trace_init(struct trace *trace, uint64_t events);	/* control; 0 or -ENOMEM */
void trace_free(struct trace *trace);

/* Ingress thread, round a batch. */
void trace_begin(struct trace *trace, const struct batch *batch);
void trace_interceptor(struct trace *trace, const struct batch *batch, const char *interceptor);
void trace_end(struct trace *trace, const struct batch *batch, const struct pipeline *pipeline);

#endif
