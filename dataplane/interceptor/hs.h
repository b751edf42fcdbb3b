/* hs: Hyperscan behind a small door: one pattern, compiled on control, scanned with one scratch a thread. */
#ifndef PENSTOCK_DATAPLANE_INTERCEPTOR_HS_H
#define PENSTOCK_DATAPLANE_INTERCEPTOR_HS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct hs_pattern;
struct hs_room;		/* a thread's scratch */

/* NULL when Hyperscan does not take the pattern or this CPU: go without. Bytes, MULTILINE, every match end reported. */
struct hs_pattern *hs_pattern_new(const char *pattern);
void hs_pattern_free(struct hs_pattern *pattern);

struct hs_room *hs_room_new(const struct hs_pattern *pattern);
void hs_room_free(struct hs_room *room);

/* True when there is a match anywhere. */
bool hs_has(const struct hs_pattern *pattern, struct hs_room *room, const uint8_t *text, uint32_t len);
/* Calls hit with the end of every match; false when the scan failed (nothing may be concluded). */
bool hs_each(const struct hs_pattern *pattern, struct hs_room *room, const uint8_t *text, uint32_t len,
	     void (*hit)(uint32_t end, void *context), void *context);

#endif
