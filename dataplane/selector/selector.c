#include "dataplane/selector/selector.h"

#include <string.h>

static uint64_t
mapped(const struct selector *selector, const struct event *event)
{
	const struct header *header = event_header(event, selector->header);
	if (!header)
		return selector->otherwise;
	char digits[24];
	const uint8_t *text;
	uint32_t len = event_header_text(event, header, digits, &text);
	for (uint32_t i = 0; i < selector->mapping_count; i++)
		if (selector->mappings[i].len == len && memcmp(selector->mappings[i].value, text, len) == 0)
			return selector->mappings[i].channels;
	return selector->otherwise;
}

void
selector_run(const struct selector *selector, struct batch *batch)
{
	for (uint32_t i = 0; i < batch->count; i++) {
		struct event *event = &batch->events[i];
		if (!event->dropped)
			event->channels = selector->header ? mapped(selector, event) : selector->otherwise;
	}
}
