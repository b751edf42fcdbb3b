/* chunks: a queue of bytes in memory, filled at one end and taken from the other. Chunks grow with use from 4 KiB to 1 MiB, so that
 * thousands of nearly empty queues cost little. Zeroed is empty. Owner and thread: whoever holds it. */
#ifndef PENSTOCK_SINKS_FORMAT_CHUNKS_H
#define PENSTOCK_SINKS_FORMAT_CHUNKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct chunk;

struct chunks {
	struct chunk *first, *last;
	uint64_t bytes;			/* in the queue */
	uint64_t memory;		/* of its chunks */
	uint32_t least;			/* bytes of a new chunk, at least: the owner's, for a queue that much flows through; 0: 4 KiB */
};

int chunks_put(struct chunks *chunks, const void *bytes, size_t len);	/* 0 or -ENOMEM (nothing was put) */
size_t chunks_take(struct chunks *chunks, void *bytes, size_t room);	/* bytes taken; 0: empty */
/* The bytes at the front that lie together; NULL: empty. chunks_drop then takes `len` of them (or more) away. */
const uint8_t *chunks_front(const struct chunks *chunks, size_t *len);
void chunks_drop(struct chunks *chunks, size_t len);
void chunks_free(struct chunks *chunks);	/* empties it; may be used again */

#endif
