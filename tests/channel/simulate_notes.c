/* simulate_notes: the model of state records: what was noted of each key, and what is durable for sure. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tests/channel/simulate.h"

#define KEYS 12u
#define NOTES 512u

static struct {
	uint64_t noted[KEYS], sure[KEYS];	/* versions: noted last; durable for sure */
	struct ledger *ledger;
	struct ledger_link *link;
	struct { uint32_t key; uint64_t version, number; } under_way[NOTES];	/* of this link, not known to be durable */
	uint32_t count;
} notes;

void
notes_forget(void)
{
	memset(&notes, 0, sizeof notes);
}

void
notes_open(struct ledger *ledger)
{
	struct err err;
	notes.ledger = ledger;
	notes.count = 0;
	CHECK(ledger_link_open(ledger, "simulate", 65536, -1, &notes.link, &err) == 0, "ledger link: %s", err.text);
}

static void
reap(void)
{
	uint64_t durable = ledger_durable(notes.link);
	uint32_t kept = 0;
	for (uint32_t i = 0; i < notes.count; i++) {
		uint32_t key = notes.under_way[i].key;
		if (notes.under_way[i].number > durable)
			notes.under_way[kept++] = notes.under_way[i];
		else if (notes.under_way[i].version > notes.sure[key])
			notes.sure[key] = notes.under_way[i].version;
	}
	notes.count = kept;
}

void
notes_close(void)
{
	reap();
	ledger_link_close(notes.link);
}

bool
notes_note(void)
{
	struct err err;
	reap();
	if (ledger_status(notes.link)) {	/* a note was lost: another link */
		ledger_link_close(notes.link);
		CHECK(ledger_link_open(notes.ledger, "simulate", 65536, -1, &notes.link, &err) == 0, "ledger link: %s", err.text);
		notes.count = 0;
	}
	uint32_t key = (uint32_t)draw(KEYS), len = 8 + (uint32_t)draw(draw(8) ? 60 : 2000);
	uint64_t value[256], version = notes.noted[key] + 1, number;
	for (uint32_t i = 0; i < 256; i++)
		value[i] = version;
	char name[8];
	int name_len = snprintf(name, sizeof name, "k%u", key);
	struct state_record r = { .class = STATE_FLOW, .key = name, .key_len = (uint16_t)name_len, .value = value, .value_len = len,
		.order = version };
	if (notes.count == NOTES || ledger_note(notes.link, &r, &number))
		return false;
	notes.noted[key] = version;
	notes.under_way[notes.count].key = key;
	notes.under_way[notes.count].version = version;
	notes.under_way[notes.count++].number = number;
	return true;
}

void
notes_look(bool damaged)
{
	for (uint32_t key = 0; key < KEYS; key++) {
		char name[8];
		int name_len = snprintf(name, sizeof name, "k%u", key);
		uint64_t value[256] = { 0 }, order = 0;
		int64_t len = ledger_get(notes.ledger, STATE_FLOW, name, (uint16_t)name_len, value, sizeof value, &order);
		CHECK(len == -ENOENT || (len >= 8 && order == value[0]), "key %u: %" PRId64 " bytes, order %" PRIu64, key, len, order);
		uint64_t version = len < 0 ? 0 : value[0];
		CHECK(version <= notes.noted[key], "key %u: version %" PRIu64 " of %" PRIu64 " is invented", key, version, notes.noted[key]);
		CHECK(version >= notes.sure[key] || damaged, "key %u: version %" PRIu64 ", but %" PRIu64 " was durable", key, version,
		      notes.sure[key]);
		notes.sure[key] = version;
	}
}
