/* selector: marks the channels of each event. Flume's kinds replicating and multiplexing. Built by control, read only. */
#ifndef PENSTOCK_DATAPLANE_SELECTOR_SELECTOR_H
#define PENSTOCK_DATAPLANE_SELECTOR_SELECTOR_H

#include "base/event.h"

struct selector_mapping {
	const char *value;
	uint32_t len;
	uint64_t channels;		/* slots: required and optional together */
};

struct selector {
	const struct name *header;	/* NULL: replicating, `otherwise` for every event */
	struct selector_mapping *mappings;	/* owned by control */
	uint32_t mapping_count;
	uint64_t otherwise;		/* slots for events without a mapping */
};

/* Sets event->channels of every event that is not dropped; 0 means unrouted. Ingress thread. */
void selector_run(const struct selector *selector, struct batch *batch);

#endif
