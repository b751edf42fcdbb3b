/* simpledate: reads times by a pattern of java.text.SimpleDateFormat, as Flume's syslog sources do for format.dateFormat.
 *
 * As there: only the beginning of the text is read; numbers may be too large and roll over (25:61 is 02:01 of the next day); what the pattern does
 * not name is that of 1970-01-01T00:00:00; a fraction is a number of milliseconds (".5" is 5 ms); dates before 1582-10-15 are Julian.
 * Letters: y, M L, d, D, E, H k K h, a, m, s, S, z Z X (offsets, GMT, UTC; no other names of zones), quotes. All others are refused by name.
 * Names of months and days are English. */
#ifndef PENSTOCK_DATAPLANE_SOURCE_SIMPLEDATE_H
#define PENSTOCK_DATAPLANE_SOURCE_SIMPLEDATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct simpledate;	/* read only once compiled; any thread */

/* now_s: wall time in seconds since 1970; years of two digits lie from 80 years before it to 20 after. */
int simpledate_compile(const char *pattern, int64_t now_s, struct simpledate **date, struct err *err);
void simpledate_free(struct simpledate *date);
/* ms since 1970; false when the text does not follow the pattern. Without an offset in it the time is of the process's zone (TZ). */
bool simpledate_parse(const struct simpledate *date, const uint8_t *text, uint32_t len, int64_t *ms);

#endif
