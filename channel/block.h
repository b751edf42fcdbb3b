/* block: encoded records on their way to a channel; its bytes have the on-disk layout (docs/ringlog-format.md) from the start.
 *
 * Owner:  one at a time; ingress (filling) -> channel writer (writing) -> tail (sinks read, pinned) -> any ingress.
 * Thread: the owner's.  Moves through the submit and credit rings; reuse and pins under the take-window mutex.
 * Ends:   never; made when the channel opens, reused.  A free block is the only credit an ingress has. */
#ifndef PENSTOCK_CHANNEL_BLOCK_H
#define PENSTOCK_CHANNEL_BLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/event.h"

#define BLOCK_ALIGN_BYTES 4096u
#define BLOCK_TICKETS_MAX 256u

/* Where the records and the dictionary of the one open block of an (ingress, channel) pair grow; copied behind the bodies at seal. */
struct block_scratch;

struct block {
	uint8_t *bytes;			/* capacity bytes, aligned to BLOCK_ALIGN_BYTES, registered with the ring where possible */
	uint32_t capacity;
	uint32_t raw_bytes;		/* used bytes of the region of bodies */
	uint32_t events;
	uint64_t serial;		/* new at every open, never 0; names this filling of the memory */
	uint64_t first_time_ns, last_time_ns;	/* wall time of receipt of the first and last event */
	struct block_scratch *scratch;	/* while open */
	uint32_t events_max;		/* 0: no limit; the credit that came with this block, in events (block_put answers -ENOSPC beyond) */
	uint32_t joined;		/* so many blocks submitted behind it on the same link belong to one group with it */
	uint32_t generation;		/* of the link, when the block was taken as credit */
	uint32_t mark_bytes, marks;	/* marks, which stand at the end of the records */
	uint32_t reserved;		/* bytes kept free for them while open */
	uint32_t ticket_count;
	uint32_t tickets[BLOCK_TICKETS_MAX];
	bool check;			/* block_seal makes the checksum of the content: it is still in the caches of who filled it */
	void *impl;			/* the channel's own */
};

int block_scratch_init(struct block_scratch **scratch, uint32_t block_capacity);
void block_scratch_free(struct block_scratch *scratch);

/* Makes an empty block of the memory. */
void block_open(struct block *block, struct block_scratch *scratch);

/* Where the next body may be written, when `len` bytes (and the line feed behind them) and one record without own headers still fit; else NULL.
 * Nothing is taken until block_put_staged. The room of several bodies may be asked for at once (a batch's run). */
uint8_t *block_room(struct block *block, uint32_t len);

/* Bytes and events that still fit into an open block; what one event may need at most, its header set included (no body is looked at). */
uint32_t block_left(const struct block *block);
uint32_t block_events_left(const struct block *block);
uint64_t block_need(const struct event *event);

/* Adds one event whose body already lies at the end of the region of bodies (at block_room()), line feed behind it.
 * `slot` is the channel's slot in the ingress (for header sets). 0; -ENOSPC when it no longer fits in this block (nothing changed). */
int block_put_staged(struct block *block, uint32_t slot, const struct event *event);
/* The same with the body copied from elsewhere. -EMSGSIZE when it would not even fit into an empty block. */
int block_put(struct block *block, uint32_t slot, const struct event *event);

/* Keeps `bytes` free of what block_put and block_room may use, for a mark. False: they are not there. */
bool block_reserve(struct block *block, uint32_t bytes);
/* A mark, in reserved room; between the last event and block_seal. */
void block_put_mark(struct block *block, const uint8_t *source, uint32_t source_len, uint64_t order, const uint8_t *key, uint32_t key_len,
		    const uint8_t *resume, uint32_t resume_len);

/* Notes a ticket (once a block). False when the block has no room for another: seal it. */
bool block_note_ticket(struct block *block, uint32_t ticket);

/* Ends filling: dictionary and records come to stand behind the bodies, zeros up to the alignment. The writer fills in the rest of the header.
 * Returns the bytes to write, a multiple of BLOCK_ALIGN_BYTES. */
uint32_t block_seal(struct block *block);

/* ---- reading ---- */

struct block_view;		/* a checked block's bytes and dictionary */

struct event_view {
	const uint8_t *body;
	uint32_t body_len;
	uint64_t number;		/* dense within the log: (log id, number) is the event's name for life */
	const struct block_view *block;
	const uint8_t *record;		/* encoded headers; for event_view_headers */
	uint32_t record_len;
};

struct header_view {
	const char *name;		/* not terminated */
	uint32_t name_len;
	uint32_t len;			/* of bytes; unused for a number */
	const uint8_t *bytes;		/* NULL: a number */
	int64_t number;
};

/* All headers of an event, own ones first, hidden ones left out; returns how many there are (may be above max; max are filled). */
uint32_t event_view_headers(const struct event_view *event, struct header_view *headers, uint32_t max);
bool event_view_header(const struct event_view *event, const char *name, size_t name_len, struct header_view *header);
/* The value's bytes; digits (24 bytes) holds a number's text. Returns the length. */
uint32_t header_view_text(const struct header_view *header, char *digits, const uint8_t **text);

#endif
