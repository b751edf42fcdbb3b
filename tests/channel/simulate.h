/* simulate: what its parts share. */
#ifndef PENSTOCK_TESTS_CHANNEL_SIMULATE_H
#define PENSTOCK_TESTS_CHANNEL_SIMULATE_H

#include <stdbool.h>
#include <stdint.h>

#include "channel/ledger.h"

/* Below `below`, of the life's seed. */
uint64_t draw(uint64_t below);
/* Tells how to replay the life, and ends the process. */
void broken_promise(const char *condition) __attribute__((noreturn));

#define CHECK(condition, ...)                                                                                                        \
	do {                                                                                                                         \
		if (!(condition)) {                                                                                                  \
			fprintf(stderr, __VA_ARGS__);                                                                                \
			broken_promise(#condition);                                                                                  \
		}                                                                                                                    \
	} while (0)

/* ---- simulate_notes.c ---- */
void notes_forget(void);		/* another log */
void notes_open(struct ledger *ledger);
void notes_close(void);
/* Notes another version of some key; false: there was no room. */
bool notes_note(void);
/* After recovery: of each key the version is one that was noted and, but for damage, not older than what was durable. */
void notes_look(bool damaged);

#endif
