/* ranges: sets of event numbers as runs, sorted and apart. Zeroed is empty; items is freed by the owner. Thread: the owner's. */
#ifndef PENSTOCK_CHANNEL_RANGES_H
#define PENSTOCK_CHANNEL_RANGES_H

#include <stdbool.h>
#include <stdint.h>

struct range {
	uint64_t first, end;
};

struct ranges {
	struct range *items;
	uint32_t count, room;
};

/* Room for `more` runs, so that ranges_add cannot fail so many times. False: no memory. */
bool ranges_reserve(struct ranges *ranges, uint32_t more);
/* [first, end), which is not in the set yet. False: no memory, nothing changed. */
bool ranges_add(struct ranges *ranges, uint64_t first, uint64_t end);
/* What of [first, end) is not in the set; room for 2 runs is reserved. Returns how many numbers were not there. */
uint64_t ranges_add_missing(struct ranges *ranges, uint64_t first, uint64_t end);
/* Takes the numbers below `end` out of the first run. */
void ranges_cut_front(struct ranges *ranges, uint64_t end);

#endif
