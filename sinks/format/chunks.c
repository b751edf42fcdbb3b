#include "sinks/format/chunks.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_MIN (4u << 10)
#define CHUNK_MAX (1u << 20)

struct chunk {
	struct chunk *next;
	uint32_t start, used, room;
	uint8_t bytes[];
};

/* The largest ones are kept for the next put, of any queue: memory that goes back to the kernel comes again page by page, which cost
 * as much as sending it. */
#define SPARE_MAX 16u
static pthread_mutex_t spare_lock = PTHREAD_MUTEX_INITIALIZER;
static struct chunk *spares;		/* this and the count under spare_lock */
static uint32_t spare_count;

static struct chunk *
chunk_get(size_t room)
{
	struct chunk *chunk = NULL;
	if (room == CHUNK_MAX) {
		pthread_mutex_lock(&spare_lock);
		if ((chunk = spares)) {
			spares = chunk->next;
			spare_count--;
		}
		pthread_mutex_unlock(&spare_lock);
	}
	if (!chunk)
		chunk = malloc(sizeof *chunk + room);
	if (chunk)
		*chunk = (struct chunk){ .room = (uint32_t)room };
	return chunk;
}

static void
chunk_free(struct chunk *chunk)
{
	if (chunk->room == CHUNK_MAX) {
		pthread_mutex_lock(&spare_lock);
		bool keep = spare_count < SPARE_MAX;
		if (keep) {
			chunk->next = spares;
			spares = chunk;
			spare_count++;
		}
		pthread_mutex_unlock(&spare_lock);
		if (keep)
			return;
	}
	free(chunk);
}

int
chunks_put(struct chunks *chunks, const void *bytes, size_t len)
{
	struct chunk *last = chunks->last;
	size_t here = last ? last->room - last->used : 0;
	struct chunk *more = NULL;
	if (here < len) {
		size_t need = len - here, room = chunks->memory >= CHUNK_MAX ? CHUNK_MAX : chunks->memory / 4 / CHUNK_MIN * CHUNK_MIN;
		size_t least = chunks->least < CHUNK_MIN ? CHUNK_MIN : chunks->least;
		room = room < least ? least : room < CHUNK_MAX ? room : CHUNK_MAX;	/* thousands of queues: little more than is needed */
		while (room < need)
			room *= 2;
		if (room > UINT32_MAX / 2 || !(more = chunk_get(room)))
			return -ENOMEM;
		chunks->memory += room;
	}
	const uint8_t *from = bytes;
	size_t n = here < len ? here : len;
	if (n) {
		memcpy(last->bytes + last->used, from, n);
		last->used += (uint32_t)n;
	}
	if (more) {
		memcpy(more->bytes, from + n, len - n);
		more->used = (uint32_t)(len - n);
		if (last)
			last->next = more;
		else
			chunks->first = more;
		chunks->last = more;
	}
	chunks->bytes += len;
	return 0;
}

const uint8_t *
chunks_front(const struct chunks *chunks, size_t *len)
{
	struct chunk *first = chunks->first;
	if (!chunks->bytes)
		return NULL;
	*len = first->used - first->start;
	return first->bytes + first->start;
}

void
chunks_drop(struct chunks *chunks, size_t len)
{
	assert(len <= chunks->bytes);
	chunks->bytes -= len;
	while (chunks->first) {
		struct chunk *first = chunks->first;
		size_t n = first->used - first->start;
		if (n > len) {
			first->start += (uint32_t)len;
			return;
		}
		len -= n;
		if (first == chunks->last && !chunks->bytes && first->room <= CHUNK_MIN) {
			first->start = first->used = 0;	/* the last small one is kept */
			return;
		}
		chunks->first = first->next;
		if (!chunks->first)
			chunks->last = NULL;
		chunks->memory -= first->room;
		chunk_free(first);
		if (!len && chunks->bytes)
			return;
	}
}

size_t
chunks_take(struct chunks *chunks, void *bytes, size_t room)
{
	uint8_t *to = bytes;
	size_t taken = 0;
	while (taken < room && chunks->bytes) {
		size_t len;
		const uint8_t *from = chunks_front(chunks, &len);
		if (len > room - taken)
			len = room - taken;
		memcpy(to + taken, from, len);
		taken += len;
		chunks_drop(chunks, len);
	}
	return taken;
}

void
chunks_free(struct chunks *chunks)
{
	for (struct chunk *chunk = chunks->first, *next; chunk; chunk = next) {
		next = chunk->next;
		chunk_free(chunk);
	}
	*chunks = (struct chunks){ .least = chunks->least };
}
