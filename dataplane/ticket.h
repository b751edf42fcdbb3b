/* ticket: what a source waits for before it answers: a request, a run of stream bytes, a file chunk, a consumed batch.
 *
 * A ticket is open from ticket_open to its end. Each block of a required channel that holds one of its events counts on it (`pending`); optional
 * channels do not. When nothing is pending and the source has said that no more events come (ticket_complete), the ticket ends: the
 * source's ack(cookie, status) is called, once, from ingress_reap, on the ingress's own thread, never inside append, put or complete.
 * status is 0 (every required channel has what it promises: durable, or in memory) or the first error.
 * Tickets of a stream end in the order in which they were opened (stream_ticket_open); others as they come.
 *
 * Owner and thread: the ingress. */
#ifndef PENSTOCK_DATAPLANE_TICKET_H
#define PENSTOCK_DATAPLANE_TICKET_H

#include <stdbool.h>
#include <stdint.h>

struct block;
struct ingress;
struct ingress_source;
struct stream;

struct ticket {
	struct ingress_source *in;	/* NULL: free */
	struct stream *stream;		/* whose order it keeps; NULL: none, or that stream has ended */
	uint64_t cookie;
	uint64_t begin, end;		/* of a stream: offsets of its bytes; end UINT64_MAX while not complete */
	uint64_t noted_serial;		/* block that noted it last */
	uint64_t marked;		/* of a stream that goes on after a restart: what the mark in that block says */
	uint32_t pending;
	uint32_t next;			/* free list, or the next of its stream */
	uint32_t due_next;
	int status;
	bool complete, due, settled, of_stream, asked;
};

struct tickets {
	struct ticket *table;		/* 0 is no ticket */
	uint32_t room, free, open;
	uint32_t asked;			/* of those open: a peer waits for the answer */
	uint32_t due_first, due_last;
};

int tickets_init(struct tickets *tickets);
void tickets_free(struct tickets *tickets);

/* A ticket, or 0 when there is no memory for one (the source then brings nothing now). Set event->ticket after ingress_append. */
uint32_t ticket_open(struct ingress_source *in, uint64_t cookie);
/* The source has appended the ticket's last event. */
void ticket_complete(struct ingress *ingress, uint32_t ticket);
/* The first error counts. */
void ticket_fail(struct ingress *ingress, uint32_t ticket, int status);

static inline struct ticket *
ticket_at(const struct tickets *tickets, uint32_t ticket)
{
	return &tickets->table[ticket];
}

/* ---- for ingress and stream ---- */

/* The block has room to note it. */
bool ticket_reserve(struct tickets *tickets, uint32_t ticket, struct block *block);
/* stream_end: of its event (base/event.h). */
void ticket_note(struct tickets *tickets, uint32_t ticket, uint32_t stream_end, struct block *block);
/* A completion names it. */
void ticket_returned(struct tickets *tickets, uint32_t ticket, int status);
/* Ends those that are due. The ingress's batch must be put. */
void tickets_settle(struct ingress *ingress);
void ticket_release(struct tickets *tickets, uint32_t ticket);

#endif
