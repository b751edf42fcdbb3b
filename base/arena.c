#include "base/arena.h"

#include <errno.h>
#include <stdlib.h>

int
arena_init(struct arena *arena, size_t size)
{
	*arena = (struct arena){ .bytes = malloc(size), .size = size };
	return arena->bytes ? 0 : -ENOMEM;
}

void
arena_free(struct arena *arena)
{
	free(arena->bytes);
	*arena = (struct arena){ 0 };
}
