/* escape: Flume's %-escapes (BucketPath) in paths and topics, taken apart once and filled in per event.
 *
 * %{header}; %[localhost|IP|FQDN]; %t %s and the date and time letters, which need a numeric `timestamp` header (ms) and use
 * English names and the zone of struct escape_time (this machine's without). %% is a percent sign; another letter is nothing, as in
 * Flume. One thread (the calendar has state). */
#ifndef PENSTOCK_SINKS_ESCAPE_H
#define PENSTOCK_SINKS_ESCAPE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/calendar.h"
#include "base/err.h"
#include "channel/block.h"

struct escape;

int escape_parse(struct escape **escape, const char *text, struct err *err);	/* 0, -EINVAL or -ENOMEM */
void escape_free(struct escape *escape);
bool escape_is_plain(const struct escape *escape);	/* no escapes at all: the text itself */
bool escape_needs_time(const struct escape *escape);	/* a letter that needs the timestamp */
bool escape_by_instant(const struct escape *escape);	/* no header and no %t: equal instants (by the second) give equal texts */
/* Terminated text into `text`; its length, -ENOSPC (does not fit), or -EINVAL (no usable timestamp header). */
long escape_fill(const struct escape *escape, const struct event_view *event, char *text, size_t room);

/* How the letters of a sink see time. */
struct escape_time {
	struct calendar *calendar;	/* zone */
	bool round;
	enum calendar_unit unit;
	uint32_t value;
	bool use_clock;			/* now_ms counts instead of the header */
	int64_t now_ms;
};
/* The same with a zone, rounding (of all letters but %t) and perhaps this machine's clock. */
long escape_fill_at(const struct escape *escape, const struct event_view *event, const struct escape_time *time, char *text, size_t room);
/* The instant that the letters show, rounded: escape_fill_at of two events with the same instant and the same headers gives the same
 * text, but for %t. False: no usable timestamp. */
bool escape_instant(const struct event_view *event, const struct escape_time *time, int64_t *ms);

#endif
