/* resolve: host names of addresses, looked up away from the hot path and cached with a limit. Until a name is known the address
 * stands in its place; an address without a name keeps its text. A name server that cannot tell now is asked again a minute later. */
#ifndef PENSTOCK_DATAPLANE_RESOLVE_H
#define PENSTOCK_DATAPLANE_RESOLVE_H

#include "base/address.h"

struct resolved {
	uint8_t ip[16];
	const struct resolved *before;	/* what stood for it until a server could tell: events under way may point to it */
	uint32_t len;
	_Atomic uint32_t again_s;	/* nobody could tell: its text for now, to be asked again then; 0: an answer for good */
	char name[];
};

/* Any thread, wait-free on a hit. NULL: not known yet; the question is queued (at most 1,024 wait, further ones are asked again later). The answer
 * lives for the life of the process. */
const struct resolved *resolve_name(const struct address *address);

/* Control: starts and stops the thread that asks. Without it nothing is ever resolved. */
int resolve_start(void);
void resolve_stop(void);

#endif
