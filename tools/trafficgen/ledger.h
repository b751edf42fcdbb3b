/* ledger: what came of a run, a bit per (source, sequence). Memory grows with the sequences, not with copies; a sequence above what was sent
 * (or, when that is not known, above LEDGER_SEQUENCE_MAX) is a phantom. One owner, one thread. */
#ifndef PENSTOCK_TOOLS_TRAFFICGEN_LEDGER_H
#define PENSTOCK_TOOLS_TRAFFICGEN_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#define LEDGER_SEQUENCE_MAX (UINT64_C(1) << 32)

struct ledger_source {
	uint64_t *bits;			/* bit n: sequence n was seen */
	uint64_t room;			/* bits there is memory for */
	uint64_t sent;			/* last sequence that was sent; 0: none, or not known */
	uint64_t acked;			/* last sequence that was acknowledged, all before it too; 0: none, or not known */
	uint64_t highest;		/* seen */
};

struct ledger {
	struct ledger_source *sources;
	uint32_t source_count;
	bool sent_known;
	uint64_t copies;		/* lines looked at */
	uint64_t unique, duplicated, reordered, corrupted, phantom;
};

int ledger_open(struct ledger *ledger, uint32_t source_count);	/* 0 or -ENOMEM */
void ledger_close(struct ledger *ledger);

/* One event's text as it was delivered: the body, with or without a syslog header or header_and_text's braces in front. No line feed. */
void ledger_note(struct ledger *ledger, const uint8_t *text, uint32_t len);
/* Sequences sent and not seen; without a report of what was sent: the holes below the highest seen. */
uint64_t ledger_lost(const struct ledger *ledger);
/* Sequences up to each source's `acked` that were not seen. */
uint64_t ledger_lost_acked(const struct ledger *ledger);
/* Sequences that `acked` has and `ledger` lacks. */
uint64_t ledger_lacks(const struct ledger *ledger, const struct ledger *acked);

#endif
