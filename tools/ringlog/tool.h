/* tool: what the commands of penstock-ringlog share: arguments, a disk that is only read, printing, writing a new log. One thread. */
#ifndef PENSTOCK_TOOLS_RINGLOG_TOOL_H
#define PENSTOCK_TOOLS_RINGLOG_TOOL_H

#include <stdio.h>

#include "channel/ringlog.h"

enum {				/* flags that a command understands */
	TOOL_ALL = 1, TOOL_PROGRESS = 2, TOOL_TO = 4, TOOL_CHECKPOINT = 8,
};

struct tool_args {
	bool json, all, progress;
	const char *to, *checkpoint, *keys, *password, *active_key;
	const char *dirs[RINGLOG_DIRS_MAX];
	uint32_t dir_count;
};

/* How a command ends: the log is damaged or something could not be taken over; it could not be done at all, told in err. Both are exit status 1. */
enum tool_end { TOOL_DONE, TOOL_DAMAGE, TOOL_TROUBLE };

struct tool_command {
	const char *name, *help;
	unsigned flags;
	enum tool_end (*run)(const struct tool_args *args, struct err *err);
};

/* The keys that --keys and --password name; NULL when they were not given. 0 or -errno. */
int tool_keys(const struct tool_args *args, struct keyring **keys, struct err *err);

extern const struct tool_command tool_info, tool_dump, tool_verify, tool_salvage, tool_import, tool_ledger;

/* ---- a disk that is only read: nothing is made, opened for writing or changed; reads ahead with a thread of its own ---- */
int ahead_open(struct logio **io, struct err *err);

/* ---- printing ---- */
void print_text(FILE *out, const uint8_t *bytes, uint32_t len, bool json);
/* "name": "text"; bytes that are not UTF-8 go as hex under "name_hex". */
void print_json(FILE *out, const char *name, uint32_t name_len, const uint8_t *bytes, uint32_t len);
/* The records of a checked block from event number `first` on, a line each; `all`: not events alone. */
void print_block(FILE *out, const uint8_t *bytes, uint64_t first, bool all, bool json);

/* ---- a new log ---- */
struct out {
	struct ringlog log;
	char data[4096], checkpoint[4096];
	uint64_t blocks, events, bytes, first_number, end_number;
	struct sealer *sealer;		/* NULL: blocks are written plain */
	uint8_t *sealed;
	uint32_t sealed_room;
	uint64_t want_number;		/* where the checkpoint shall stand */
	uint64_t want_position;		/* the place that belongs to it, once passed */
	uint32_t want_crc;
};

/* Makes ARGS->to/data and ARGS->to/checkpoint, empty or not there before. log_id NULL: a new one. Blocks are sealed with args->active_key of
 * `keys`, when it is given. log.epoch is the caller's to set. */
int out_open(struct out *out, const struct tool_args *args, uint64_t segment_bytes, const uint8_t *log_id, const struct keyring *keys,
	     struct err *err);
/* Writes a sealed block as a group of its own; first_event and all below 16 of the header are set here but first_event. Aligned bytes. */
int out_block(struct out *out, uint8_t *bytes, struct err *err);
/* Syncs; with `ranges` a checkpoint says that all below out->want_number is settled and the ranges, too. rc: how it went so far. */
int out_close(struct out *out, int rc, const struct checkpoint *settled, struct err *err);

#endif
