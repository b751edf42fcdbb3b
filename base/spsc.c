#include "base/spsc.h"

#include <assert.h>
#include <errno.h>

int
spsc_init(struct spsc *ring, uint32_t entries)
{
	assert(entries >= 1 && entries <= 1u << 30);
	uint32_t slots = 1;
	while (slots < entries)
		slots *= 2;
	*ring = (struct spsc){ .slots = calloc(slots, sizeof(void *)), .mask = slots - 1 };
	return ring->slots ? 0 : -ENOMEM;
}

void
spsc_free(struct spsc *ring)
{
	free(ring->slots);
	ring->slots = NULL;
}
