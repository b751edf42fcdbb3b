/* dump: an event as Flume's logger sink shows it. */
#ifndef PENSTOCK_SINKS_FORMAT_DUMP_H
#define PENSTOCK_SINKS_FORMAT_DUMP_H

#include "channel/block.h"

/* "{ headers:{k=v, k2=v2} body: 68 65 ...  he }" into *text (grown with realloc; *room bytes), terminated.
 * Control characters of headers become dots, so that a stranger cannot forge a line. Length, or -ENOMEM. */
long event_dump(const struct event_view *event, uint32_t max_body_bytes, char **text, size_t *room);

#endif
