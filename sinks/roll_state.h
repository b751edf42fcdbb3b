/* roll_state: the small file in which a file_roll sink keeps the name of its open file and how much of it counts.
 *
 * Two records of ROLL_STATE_BYTES lie one behind the other and are written in turn, so that a torn write leaves the other:
 *    0  u32  magic "PNSR"     4  u32  crc32c of [8, 512)     8  u64  sequence: the higher valid one counts
 *   16  u64  length in bytes that is on the disk and may be settled    24  u16  bytes of the name    26 ... name, then zeros
 * Little-endian. The record is on the disk before anything up to `length` is settled. A killed run may leave more in the
 * file than that; it was never settled and comes again, so the rest is cut.
 *
 * Owner and thread: the sink. */
#ifndef PENSTOCK_SINKS_ROLL_STATE_H
#define PENSTOCK_SINKS_ROLL_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define ROLL_STATE_BYTES 512u
#define ROLL_NAME_BYTES (ROLL_STATE_BYTES - 26u)

struct roll_state {
	int fd;
	uint64_t sequence;
	uint64_t length;
	char name[ROLL_NAME_BYTES + 1];		/* "": no file */
};

/* Opens or makes `file` in the directory and reads it. 0 or -errno. */
int roll_state_open(struct roll_state *state, int directory_fd, const char *file, struct err *err);
/* Writes name and length; with `sync` waits until they are on the disk. 0 or -errno. */
int roll_state_write(struct roll_state *state, const char *name, uint64_t length, bool sync);
void roll_state_close(struct roll_state *state);

#endif
