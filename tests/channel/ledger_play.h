/* ledger_play: a file channel on a disk in memory, with its ledger open: what the tests of state records share. */
#ifndef PENSTOCK_TESTS_LEDGER_PLAY_H
#define PENSTOCK_TESTS_LEDGER_PLAY_H

#include "channel/channel_file.h"
#include "channel/ledger.h"
#include "tests/conformance/channel_conformance.h"

struct play {
	struct rig r;
	struct logio_mem *mem;
	struct channel_case c;
	struct ledger *ledger;
	struct ledger_link *plain, *sink;
	struct taker *taker;
};

extern bool play_at_close;		/* checkpoint and snapshot at an orderly stop */
extern bool play_sealed;		/* the log and the snapshots are encrypted */
extern uint64_t play_limited;		/* bytes of live records; 0: plenty */
extern uint64_t play_segment_bytes;	/* 0: small ones */

void play_begin(struct play *p);	/* on a new disk */
void play_open(struct play *p);		/* once more, on the same */
void play_close(struct play *p);
void play_end(struct play *p);

uint64_t next_random(uint64_t *seed);
void settle_down(struct play *p);		/* a few turns of the writer */
void settle_all(struct play *p);		/* commits all events */
void note_key(struct play *p, uint64_t key, uint64_t value);
void check_key(struct play *p, uint64_t key, uint64_t value);
uint64_t metric(const char *name);	/* of the ledger */

#endif
