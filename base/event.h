/* event: body, headers, receipt time and channel set of one event, and the batch that an ingress works on at a time.
 *
 * Bodies of a batch lie adjacent in the run, each followed by one line feed that is padding and no part of the body, so that
 * one Hyperscan call can scan them all. Headers lie apart: values in the batch arena, in a shared set, in the body itself, or
 * as a number.
 *
 * Owner and thread: the ingress. An event is valid from ingress_append until the ingress_put that ends the batch. */
#ifndef PENSTOCK_BASE_EVENT_H
#define PENSTOCK_BASE_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/name.h"

enum header_kind {
	HEADER_BYTES,	/* value.bytes, len: outside the body; lives as long as the batch (or the set) */
	HEADER_BODY,	/* value.body_offset, len: a slice of the event's own body */
	HEADER_NUMBER,	/* value.number: reads as its shortest decimal text */
};

struct header {
	const struct name *name;
	uint32_t len;		/* bytes of the value; unused for HEADER_NUMBER */
	uint8_t kind;		/* enum header_kind */
	union {
		const uint8_t *bytes;
		uint32_t body_offset;
		int64_t number;
	} value;
};

/* Headers that many events share: encoded once a block, referred to by id. Made and owned by a source instance (same thread as
 * the ingress), unchanged while any batch refers to it. Only HEADER_BYTES and HEADER_NUMBER inside. */
#define HEADER_SET_SLOTS 4
struct header_set {
	struct {			/* where this set already stands, per open block; written by block_put only */
		uint64_t serial;	/* serial of the block; 0 nowhere */
		uint32_t id;
	} in_block[HEADER_SET_SLOTS];
	uint32_t count;
	struct header headers[];
};

/* Where a source that can rewind stands once the event is stored; in the batch arena. */
struct mark;
struct mark_point {
	struct mark *mark;
	uint64_t order;
	uint32_t resume_len;
	uint8_t resume[];
};

struct event {
	uint8_t *body;			/* in the run (or, once a body is changed, in a second run); body[body_len] is '\n' */
	uint32_t body_len;
	uint16_t header_count;
	uint16_t header_room;
	struct header *headers;		/* the event's own; a name here hides the same name in `shared` */
	struct header_set *shared;	/* or NULL */
	uint64_t time_ns;		/* wall time of receipt */
	uint64_t channels;		/* bit per channel slot of the ingress, set by the selector: required or optional, see pipeline */
	uint32_t ticket;		/* 0: none */
	uint32_t dropped : 8;		/* set by interceptors: the event goes no further */
	uint32_t stream_end : 24;	/* of a stream: bytes from its ticket's first to the end of its frame; 0: not known */
	const struct mark_point *point;	/* dataplane/mark.h; NULL: the source keeps no marks */
};

#define BATCH_EVENTS_MAX 256

struct batch {
	struct event events[BATCH_EVENTS_MAX];
	uint32_t count;			/* events, dropped ones included until the batch is put */
	uint8_t *run;			/* bodies with their line feeds, in event order, nothing else between them */
	uint32_t run_bytes;
	struct arena arena;		/* headers and values of this batch */
	uint64_t no_room;		/* headers that found the arena used up; the event is dropped as `arena_full` */
};

int batch_init(struct batch *batch, size_t arena_bytes);	/* 0 or -ENOMEM */
void batch_free(struct batch *batch);
void batch_clear(struct batch *batch);

/* The header of that name (own headers first, then the shared set), or NULL. */
const struct header *event_header(const struct event *event, const struct name *name);

/* Sets a header: replaces one of the event's own, hides a shared one, or adds. `value` of HEADER_BYTES must live as long as
 * the batch (use batch_copy for bytes that do not). False when the arena is used up: the event is marked dropped and
 * batch->no_room grows. */
bool event_set(struct batch *batch, struct event *event, const struct header *header);
bool event_set_bytes(struct batch *batch, struct event *event, const struct name *name, const void *bytes, uint32_t len);
bool event_set_number(struct batch *batch, struct event *event, const struct name *name, int64_t number);
bool event_set_body(struct batch *batch, struct event *event, const struct name *name, uint32_t body_offset, uint32_t len);

/* Takes a header away; shared headers are first copied to the event. True when it was there. */
bool event_remove(struct batch *batch, struct event *event, const struct name *name);

/* Bytes of the value, whatever its kind; `digits` (at least 24 bytes) holds a number's text. Returns the length. */
uint32_t event_header_text(const struct event *event, const struct header *header, char *digits, const uint8_t **text);

/* A copy that lives as long as the batch, or NULL when the arena is used up. */
uint8_t *batch_copy(struct batch *batch, const void *bytes, uint32_t len);

/* Shortest decimal text of a number into digits (at least 24 bytes); returns its length. Not terminated. */
uint32_t number_text(int64_t number, char *digits);

#endif
