#include "sinks/format/chunks.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_MIN (4u << 10)
#define CHUNK_MAX (1u << 20)

struct chunk {
	struct chunk *next;
	uint32_t start, used, room;
	uint8_t bytes[];
};

int
chunks_put(struct chunks *chunks, const void *bytes, size_t len)
{
	struct chunk *last = chunks->last;
	size_t here = last ? last->room - last->used : 0;
	struct chunk *more = NULL;
	if (here < len) {
		size_t need = len - here, room = chunks->memory / 4 / CHUNK_MIN * CHUNK_MIN;
		room = room < CHUNK_MIN ? CHUNK_MIN : room < CHUNK_MAX ? room : CHUNK_MAX;	/* thousands of queues: little more than is needed */
		while (room < need)
			room *= 2;
		if (room > UINT32_MAX / 2 || !(more = malloc(sizeof *more + room)))
			return -ENOMEM;
		*more = (struct chunk){ .room = (uint32_t)room };
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
		free(first);
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
		free(chunk);
	}
	*chunks = (struct chunks){ 0 };
}
