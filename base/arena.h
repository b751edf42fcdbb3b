/* arena: memory for one batch, emptied in one go. Fixed size, so the hot path never allocates.
 * Owner and thread: whoever made it. */
#ifndef PENSTOCK_BASE_ARENA_H
#define PENSTOCK_BASE_ARENA_H

#include <stddef.h>
#include <stdint.h>

struct arena {
	uint8_t *bytes;
	size_t size, used;
};

int arena_init(struct arena *arena, size_t size);	/* 0 or -ENOMEM */
void arena_free(struct arena *arena);

/* `len` bytes aligned to 8, or NULL when the arena is used up. */
static inline void *
arena_get(struct arena *arena, size_t len)
{
	size_t need = (len + 7) & ~(size_t)7;
	if (need < len || need > arena->size - arena->used)
		return NULL;
	void *p = arena->bytes + arena->used;
	arena->used += need;
	return p;
}

static inline void
arena_empty(struct arena *arena)
{
	arena->used = 0;
}

#endif
