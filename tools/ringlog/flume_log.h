/* flume_log: reads the data directories of Apache Flume's file channel (format 3, Flume 1.4 to 1.11). Reads only. One thread.
 *
 * The few protobuf messages are decoded by hand: five fields each at most, all of fixed width or bytes; see docs/decisions. */
#ifndef PENSTOCK_TOOLS_RINGLOG_FLUME_LOG_H
#define PENSTOCK_TOOLS_RINGLOG_FLUME_LOG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

struct keyring;

struct flume_file {
	uint32_t id;
	char path[4096];
	int fd;
	const uint8_t *bytes;		/* mapped */
	uint64_t len;
	bool encrypted;			/* then `plain` holds one record */
	uint8_t *plain;
	uint32_t plain_room;
	char key_alias[256];
	uint8_t iv[16];
};

struct flume_pointer {			/* of an event: where its put stands */
	uint32_t file, offset;
};

struct flume_record {
	uint64_t order;			/* writeOrderID: all records of a channel in order of writing */
	int64_t transaction;
	struct flume_pointer at;	/* put: its own place; take: the put's */
	uint8_t type;			/* 1 put, 2 take, 3 rollback, 4 commit */
	uint8_t commit_type;
	uint32_t next;			/* of the same transaction and kind; UINT32_MAX: none */
};

struct flume_log {
	struct flume_file *files;	/* by id */
	uint32_t file_count;
	struct flume_record *records;
	uint64_t record_count, record_room;
	struct flume_pointer *queue;	/* what Flume would deliver, in order */
	uint64_t queue_count, queue_room;
	struct flume_pointer *taken;
	uint64_t taken_count, taken_room;
	uint64_t puts, takes, commits, rollbacks, noops, open_puts, open_takes;
	uint64_t checkpoint_order;	/* 0: none was used */
	uint64_t bad_stretches;		/* places from which on a file could not be read */
	struct keyring *keys;		/* or NULL */
};

struct flume_header {
	const uint8_t *name, *value;
	uint32_t name_len, value_len;
};

struct flume_event {
	const uint8_t *body;
	uint32_t body_len, header_count;
	struct flume_header *headers;	/* owned by the reader, until the next event */
	uint32_t header_room;
};

/* Opens the directories; with a checkpoint directory (or NULL) its queue is the beginning, else all logs are replayed, as Flume does without
 * one. Fills the queue. Complaints about single places go to `complain`. */
int flume_log_open(struct flume_log *log, const char *const *dirs, uint32_t dir_count, const char *checkpoint, FILE *complain, struct err *err);
/* The event at a place: 0, or -EBADMSG with the reason in err. */
int flume_log_event(struct flume_log *log, struct flume_pointer at, struct flume_event *event, struct err *err);
void flume_log_close(struct flume_log *log);
void flume_event_free(struct flume_event *event);

#endif
