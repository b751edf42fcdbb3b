/* joda: reads times by a pattern of Joda-Time's DateTimeFormat, as Flume's RegexExtractorInterceptorMillisSerializer does.
 *
 * Letters: y Y (year), M (month; MMM and more: English name), d (day), D (day of the year), E (English weekday), H k K h (hour),
 * a (am, pm), m, s, S (fraction), Z (offset, +hh:mm or +hhmm or Z), quotes. All others are refused by name. Without Z the time is the process's zone's. */
#ifndef PENSTOCK_DATAPLANE_INTERCEPTOR_JODA_H
#define PENSTOCK_DATAPLANE_INTERCEPTOR_JODA_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct joda;	/* read only once compiled; any thread */

int joda_compile(const char *pattern, struct joda **joda, struct err *err);
void joda_free(struct joda *joda);
/* ms since 1970. False when the text does not follow the pattern, names an impossible date, or a local time that the change to summer time skips. */
bool joda_parse(const struct joda *joda, const uint8_t *text, uint32_t len, int64_t *ms);

#endif
