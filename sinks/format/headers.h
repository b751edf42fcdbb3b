/* headers: all headers of an event, however many, in memory that is kept from event to event. */
#ifndef PENSTOCK_SINKS_FORMAT_HEADERS_H
#define PENSTOCK_SINKS_FORMAT_HEADERS_H

#include <errno.h>
#include <stdlib.h>

#include "channel/block.h"

/* Fills *headers (grown with realloc, *room entries) and *count. 0 or -ENOMEM. */
static inline int
headers_all(const struct event_view *event, struct header_view **headers, uint32_t *room, uint32_t *count)
{
	*count = event_view_headers(event, *headers, *room);
	while (*count > *room) {
		uint32_t more = *count + 16;
		struct header_view *grown = realloc(*headers, more * sizeof *grown);
		if (!grown)
			return -ENOMEM;
		*headers = grown;
		*room = more;
		*count = event_view_headers(event, *headers, *room);
	}
	return 0;
}

#endif
