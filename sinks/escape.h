/* escape: Flume's %-escapes (BucketPath) in paths and topics, taken apart once and filled in per event.
 *
 * %{header}; %[localhost|IP|FQDN]; %t %s and the date and time letters, which need a numeric `timestamp` header (ms) and use the
 * local zone and English names. %% is a percent sign; another letter is nothing, as in Flume. Read only after escape_parse. */
#ifndef PENSTOCK_SINKS_ESCAPE_H
#define PENSTOCK_SINKS_ESCAPE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "channel/block.h"

struct escape;

int escape_parse(struct escape **escape, const char *text, struct err *err);	/* 0, -EINVAL or -ENOMEM */
void escape_free(struct escape *escape);
bool escape_is_plain(const struct escape *escape);	/* no escapes at all: the text itself */
/* Terminated text into `text`; its length, -ENOSPC (does not fit), or -EINVAL (no usable timestamp header). */
long escape_fill(const struct escape *escape, const struct event_view *event, char *text, size_t room);

#endif
