#include "tools/trafficgen/ledger.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "tools/trafficgen/load.h"
#include "tools/trafficgen/stamp.h"

int
ledger_open(struct ledger *ledger, uint32_t source_count)
{
	*ledger = (struct ledger){ .source_count = source_count };
	ledger->sources = calloc(source_count, sizeof *ledger->sources);
	return ledger->sources ? 0 : -ENOMEM;
}

void
ledger_close(struct ledger *ledger)
{
	for (uint32_t i = 0; ledger->sources && i < ledger->source_count; i++)
		free(ledger->sources[i].bits);
	free(ledger->sources);
	*ledger = (struct ledger){ 0 };
}

static bool
crc_holds(const uint8_t *text, uint32_t from, uint32_t to, uint32_t crc)
{
	return crc32c(0, text + from, to - from) == crc;
}

/* Does the text before the stamp give its CRC, from wherever the header ends? */
static bool
text_holds(const uint8_t *text, uint32_t len, uint32_t crc)
{
	const uint8_t *at = text, *end = text + len;
	const size_t tag_len = sizeof LOAD_TAG - 1;
	while ((at = memmem(at, (size_t)(end - at), LOAD_TAG, tag_len))) {
		if (crc_holds(text, (uint32_t)(at - text), len, crc))
			return true;
		at += tag_len;
	}
	if (crc_holds(text, 0, len, crc))
		return true;
	uint32_t head = load_text_at(text, len);
	return head && crc_holds(text, head, len, crc);
}

static bool
make_room(struct ledger *ledger, struct ledger_source *source, uint64_t sequence)
{
	uint64_t room = source->room ? source->room : 1024;
	while (room <= sequence)
		room *= 2;
	if (ledger->sent_known && room > source->sent + 64)
		room = (source->sent + 64) & ~UINT64_C(63);
	uint64_t *bits = realloc(source->bits, room / 8);
	if (!bits)
		return false;
	memset(bits + source->room / 64, 0, (room - source->room) / 8);
	source->bits = bits;
	source->room = room;
	return true;
}

void
ledger_note(struct ledger *ledger, const uint8_t *text, uint32_t len)
{
	struct stamp stamp;
	ledger->copies++;
	if (len < STAMP_BYTES || !stamp_read(text + len - STAMP_BYTES, &stamp) || !text_holds(text, len - STAMP_BYTES, stamp.crc)) {
		ledger->corrupted++;
		return;
	}
	struct ledger_source *source = stamp.source < ledger->source_count ? &ledger->sources[stamp.source] : NULL;
	if (!source || stamp.sequence == 0 || stamp.sequence > (ledger->sent_known ? source->sent : LEDGER_SEQUENCE_MAX) ||
	    (stamp.sequence >= source->room && !make_room(ledger, source, stamp.sequence))) {
		ledger->phantom++;
		return;
	}
	uint64_t bit = UINT64_C(1) << (stamp.sequence & 63), *word = &source->bits[stamp.sequence >> 6];
	if (*word & bit) {
		ledger->duplicated++;
		return;
	}
	*word |= bit;
	ledger->unique++;
	if (stamp.sequence < source->highest)
		ledger->reordered++;
	else
		source->highest = stamp.sequence;
}

uint64_t
ledger_lost_acked(const struct ledger *ledger)
{
	uint64_t lost = 0;
	for (uint32_t i = 0; i < ledger->source_count; i++) {
		const struct ledger_source *source = &ledger->sources[i];
		for (uint64_t n = 1; n <= source->acked; n++)
			lost += n >= source->room || !(source->bits[n / 64] >> (n % 64) & 1);
	}
	return lost;
}

uint64_t
ledger_lost(const struct ledger *ledger)
{
	uint64_t sent = 0;
	for (uint32_t i = 0; i < ledger->source_count; i++)
		sent += ledger->sent_known ? ledger->sources[i].sent : ledger->sources[i].highest;
	return sent - ledger->unique;
}

uint64_t
ledger_lacks(const struct ledger *ledger, const struct ledger *acked)
{
	uint64_t lacks = 0;
	for (uint32_t s = 0; s < acked->source_count; s++) {
		const struct ledger_source *there = &acked->sources[s], *here = &ledger->sources[s];
		for (uint64_t w = 0; w < there->room / 64; w++)
			lacks += (uint64_t)__builtin_popcountll(there->bits[w] & ~(w < here->room / 64 ? here->bits[w] : 0));
	}
	return lacks;
}
