/* Where a partition starts. Camus's rules (its offset 0 does not mean "unset" here), and besides them the proof that what was read is
 * still what Kafka has: a topic that was deleted and made again, or a log that was cut, is otherwise not seen once it has grown past the
 * saved offset. */
#include <stdio.h>

#include "camus/job.h"

void
start_decide(struct part *part, bool to_last, bool to_earliest)
{
	const struct saved *saved = &part->saved;
	part->proven = false;
	part->falling_behind = false;
	if (part->earliest < 0 || part->latest < 0) {
		part->why = START_NO_LEADER;
		part->start = saved->known ? saved->next : 0;
		part->pull = false;
		return;
	}
	if (to_last) {
		part->why = START_LATEST;
		part->start = part->latest;
	} else if (!saved->known) {
		part->why = START_NEW;
		part->start = part->earliest;
	} else {
		part->why = START_SAVED;
		part->start = saved->next;
		if (saved->next < part->earliest || saved->next > part->latest) {
			part->why = to_earliest ? START_EARLIEST : START_OUT_OF_RANGE;
			if (to_earliest)
				part->start = part->earliest;
		} else if (3 * (part->start - part->earliest) < part->latest - part->start) {
			part->falling_behind = true;
		}
	}
	part->pull = part->why != START_OUT_OF_RANGE && part->start < part->latest;
}

/* Only where something is to be read: nothing is skipped or repeated where nothing is new. */
bool
start_needs_last(const struct part *part)
{
	return part->why == START_SAVED && part->pull && part->saved.last.offset >= 0;
}

bool
start_needs_first(const struct part *part, enum proof last)
{
	if (part->saved.first.offset < 0 || part->why == START_LATEST)
		return false;
	if (part->saved.known && part->saved.next > part->latest && part->latest >= 0)
		return true;
	return last == PROOF_DIFFERENT;
}

void
start_prove(struct part *part, enum proof last, enum proof first, bool to_earliest)
{
	bool beyond = part->saved.known && part->latest >= 0 && part->saved.next > part->latest;
	if (part->why == START_LATEST || part->why == START_NO_LEADER || part->why == START_NEW)
		return;
	/* An empty or shorter log in which the very first record is another one: this is not the log that was read. The same holds when the first
	 * record cannot be there any more although the log begins at 0. */
	bool other = first == PROOF_DIFFERENT || (first == PROOF_GONE && part->earliest == 0 && (beyond || last == PROOF_DIFFERENT));
	if ((beyond || last == PROOF_DIFFERENT) && other) {
		part->why = START_RECREATED;
		part->start = part->earliest;
		part->pull = part->start < part->latest;
		return;
	}
	if (beyond && first == PROOF_SAME) {
		part->why = START_TRUNCATED;
		part->start = part->latest;
		part->pull = false;
		return;
	}
	if (last == PROOF_DIFFERENT) {
		part->why = to_earliest ? START_EARLIEST : START_CHANGED;
		part->pull = to_earliest && part->earliest < part->latest;
		if (to_earliest)
			part->start = part->earliest;
		return;
	}
	if (part->why == START_SAVED)
		part->proven = last == PROOF_SAME;
}
