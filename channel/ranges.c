#include "channel/ranges.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

bool
ranges_reserve(struct ranges *r, uint32_t more)
{
	if (r->count + more <= r->room)
		return true;
	uint32_t room = r->room ? r->room : 256;
	while (room < r->count + more)
		room *= 2;
	struct range *items = realloc(r->items, room * sizeof *items);
	if (!items)
		return false;
	r->items = items;
	r->room = room;
	return true;
}

bool
ranges_add(struct ranges *r, uint64_t first, uint64_t end)
{
	uint32_t low = 0, i = r->count;
	if (first == end)
		return true;
	while (low < i) {	/* the first that begins behind `first` */
		uint32_t middle = low + (i - low) / 2;
		if (r->items[middle].first > first)
			i = middle;
		else
			low = middle + 1;
	}
	if (i > 0 && r->items[i - 1].end == first) {
		r->items[i - 1].end = end;
		i--;
	} else {
		if (!ranges_reserve(r, 1))
			return false;
		memmove(&r->items[i + 1], &r->items[i], (r->count - i) * sizeof *r->items);
		r->items[i] = (struct range){ first, end };
		r->count++;
	}
	if (i + 1 < r->count && r->items[i].end == r->items[i + 1].first) {
		r->items[i].end = r->items[i + 1].end;
		memmove(&r->items[i + 1], &r->items[i + 2], (r->count - i - 2) * sizeof *r->items);
		r->count--;
	}
	return true;
}

uint64_t
ranges_add_missing(struct ranges *r, uint64_t first, uint64_t end)
{
	uint64_t added = 0;
	while (first < end) {
		uint64_t stop = end, next = end;
		for (uint32_t i = 0; i < r->count; i++) {
			if (r->items[i].end <= first)
				continue;
			if (r->items[i].first <= first) {	/* there already */
				stop = first;
				next = r->items[i].end;
			} else if (r->items[i].first < end)
				stop = next = r->items[i].first;
			break;
		}
		if (stop > first) {
			bool ok = ranges_add(r, first, stop);
			assert(ok);
			added += stop - first;
		}
		first = next;
	}
	return added;
}

void
ranges_cut_front(struct ranges *r, uint64_t end)
{
	r->items[0].first = end;
	if (r->items[0].first == r->items[0].end)
		memmove(&r->items[0], &r->items[1], --r->count * sizeof *r->items);
}
