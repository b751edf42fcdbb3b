/* stream_impl: what stream.c, streams.c and stream_ticket.c share. Thread: the ingress's. */
#ifndef PENSTOCK_DATAPLANE_STREAM_IMPL_H
#define PENSTOCK_DATAPLANE_STREAM_IMPL_H

#include "dataplane/stream.h"

/* ---- stream.c ---- */

/* Ends it, once: counted in `why`; by RST, or in order. */
void stream_shut(struct stream *stream, struct counter *why, bool reset);
/* Offers what lies in the tail again when nothing is waited for any more. */
void stream_resume(struct stream *stream);
void stream_tail_free(struct stream *stream);

/* ---- streams.c ---- */

bool streams_slot_take(struct streams *streams, struct stream *stream);
void streams_slot_give(struct streams *streams, struct stream *stream);
/* Into the queue for credit, and out of it. */
void streams_wait(struct stream *stream);
void streams_wait_not(struct stream *stream);

/* ---- stream_ticket.c ---- */

/* The bytes of this feed are eaten: its ticket waits for the channels now. */
void stream_ticket_close(struct stream *stream);
/* Moves the durable edge and tells the carrier. */
void stream_progress(struct stream *stream);

#endif
