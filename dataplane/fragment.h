/* fragment: half lines that a killed process had acknowledged and whose connection does not go on. Each becomes an event of its own, flagged as
 * incomplete by its source (on_fragment), so that no acknowledged byte is lost. A mark in the event's own block says that it has come, so a
 * crash in between brings it neither twice nor not at all.
 *
 * Owner: control takes them over, the lcore's carrier frees them. Thread: the lcore. */
#ifndef PENSTOCK_DATAPLANE_FRAGMENT_H
#define PENSTOCK_DATAPLANE_FRAGMENT_H

#include "dataplane/ingress.h"

struct fragment;
struct ledger_link;

struct fragments {
	struct ingress *ingress;
	struct fragment *first;
	uint64_t next_ns;
	uint64_t count, bytes;		/* taken over, ever */
};

/* The record of a half line: {source, zero byte, peer, own address, ...}. `link` notes that it is gone. 0; -ENOENT: no such source here; -ENOMEM. */
int fragment_take(struct fragments *fragments, struct ledger_link *link, const void *key, uint16_t key_len, uint64_t order, const void *bytes,
		  uint32_t len, struct err *err);
/* Every turn. */
void fragments_run(struct fragments *fragments, uint64_t now_ns);
/* `link` takes the place of one that lost a note. */
void fragments_link(struct fragments *fragments, const struct ledger_link *dead, struct ledger_link *link, uint64_t now_ns);
/* The records stay where an event is not stored yet. */
void fragments_free(struct fragments *fragments);

#endif
