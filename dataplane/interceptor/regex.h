/* regex: finds a java.util.regex pattern in bodies: Hyperscan as a prefilter over the run of a batch, PCRE2 to confirm and to capture.
 *
 * The body is read as Java's new String(body, UTF_8) does it: what is not UTF-8 becomes U+FFFD, and then the pattern is looked for.
 * A search that goes over the match limit counts as "not found" and is counted. */
#ifndef PENSTOCK_DATAPLANE_INTERCEPTOR_REGEX_H
#define PENSTOCK_DATAPLANE_INTERCEPTOR_REGEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/counter.h"
#include "base/err.h"
#include "base/event.h"

struct regex;		/* compiled on control, read only afterwards */
struct regex_scratch;	/* one a thread and pattern */

struct regex_counters {
	struct counter scanned;		/* events */
	struct counter confirmed;	/* events that were handed to PCRE2 */
	struct counter found;		/* events */
	struct counter limit;		/* searches given up at the match limit or for want of memory */
	struct counter invalid;		/* events whose body is not UTF-8 */
	struct counter unread;		/* groups that regex_extractor's serializer could not read as a time */
};

#define REGEX_METRICS 6
extern const struct metric regex_metrics[REGEX_METRICS];

struct regex_match {
	const uint8_t *text;	/* the body, or its repaired copy in the scratch (good until the next find) */
	bool copied;
	uint32_t count;		/* groups that can be asked for, group 0 among them */
	const size_t *spans;	/* start and end of each; start SIZE_MAX: took no part */
};

int regex_compile(const char *pattern, struct regex **regex, struct err *err);
/* The pattern must match the whole text (Java's matches()): for regex_find, not for scans. */
int regex_compile_whole(const char *pattern, struct regex **regex, struct err *err);
void regex_free(struct regex *regex);
uint32_t regex_groups(const struct regex *regex);	/* capturing groups */
uint32_t regex_group_named(const struct regex *regex, const char *name, size_t len);	/* 0: there is none */
bool regex_always(const struct regex *regex);		/* finds something in every text: no need to look */

int regex_attach(const struct regex *regex, struct regex_scratch **scratch, struct err *err);
void regex_detach(struct regex_scratch *scratch);
struct regex_counters *regex_counters(struct regex_scratch *scratch);

/* Confirms one body alone. match may be NULL. */
bool regex_find(const struct regex *regex, struct regex_scratch *scratch, const uint8_t *body, uint32_t len, struct regex_match *match);

/* The next one at or behind `from`, in a text that is UTF-8 and begins at a whole match's text. */
bool regex_find_from(const struct regex *regex, struct regex_scratch *scratch, const uint8_t *text, size_t len, size_t from, struct regex_match *match);

/* Marks the events that may hold a match (one bit each); all others (and dropped ones) do not. */
struct regex_marks {
	uint64_t bits[BATCH_EVENTS_MAX / 64];
};
void regex_scan(const struct regex *regex, struct regex_scratch *scratch, const struct batch *batch, struct regex_marks *marks);

static inline bool
regex_marked(const struct regex_marks *marks, uint32_t i)
{
	return marks->bits[i / 64] >> (i % 64) & 1;
}

/* For tests: how scans are done. */
enum regex_mode { REGEX_BATCH, REGEX_SINGLE, REGEX_DIRECT };
enum regex_mode regex_mode(const struct regex_scratch *scratch);
bool regex_has_prefilter(const struct regex *regex);

#endif
