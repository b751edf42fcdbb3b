/* ringlog: endless positions over segment files: place, segments made ahead, recovery, checkpoints.  docs/ringlog-format.md.
 *
 * Threads: the append side (position, previous_*) is the writer's; tend runs on the helper thread (or the writer's, in tests); the
 * table of segments stands under `lock`. */
#ifndef PENSTOCK_CHANNEL_RINGLOG_H
#define PENSTOCK_CHANNEL_RINGLOG_H

#include <pthread.h>

#include "channel/format.h"
#include "channel/keyring.h"
#include "channel/logio.h"
#include "channel/record.h"

#define RINGLOG_DIRS_MAX 16u
#define RINGLOG_PATH_BYTES 4096u

struct segment {
	uint64_t index;
	struct logio_file *file;	/* opened when first needed */
	/* Its first block's header, as recovery found it: end of the group before, and epoch. */
	bool begins, gone;		/* gone: somebody removed it, which was told */
	uint32_t begin_epoch;
	uint64_t begin_end;
};

/* An extent that was given up after a failed write: blocks in [end, at) whose epoch is not above do not count. */
struct fence {
	uint64_t end, at;
	uint32_t epoch;
};

struct ringlog {
	struct logio *io;
	const char *dirs[RINGLOG_DIRS_MAX];
	uint32_t dir_count;
	const char *checkpoint_dir;	/* NULL: reading only */
	const char *backup_dir;		/* or NULL */
	uint64_t segment_bytes, required_space;
	uint64_t spare_bytes;		/* of segments that nobody needs any more: kept, at least one a directory, and used again */
	uint8_t log_id[LOG_ID_BYTES];
	bool id_known;			/* read from a meta file */
	uint8_t host_id[HOST_ID_BYTES];	/* this host's; zeros: unknown, nothing is compared */
	bool adopt;			/* take over a log that another host wrote */
	struct keyring *keys;		/* of sealed blocks, or NULL; ended by ringlog_close */
	const char *active_key;		/* new blocks are sealed with it; NULL: they stay plain */
	bool sealed_ok;			/* blocks whose key is missing are passed on sealed (tools); else recovery refuses */
	uint32_t epoch;

	uint64_t position;		/* where the next group goes, unless it does not fit in the segment */
	uint32_t previous_crc;
	uint64_t first_position;	/* where recovery began to read */
	uint64_t number_least;		/* the end is damaged: numbers below were given away; 0: it is not */
	/* Blocks of a lower epoch from there on are leftovers: what the checkpoint said (0: nothing), and what this start will say. */
	uint32_t cut_epoch;
	uint64_t cut_position, epoch_begin;
	uint32_t scan_crc;		/* of the group before scan_limit, when scan_chained */
	bool scan_chained;
	uint64_t scan_limit;		/* recovery begins here at the latest; UINT64_MAX: at the checkpoint's `durable` */
	_Atomic uint64_t keep_position;	/* the ledger needs what is not below */
	struct fence *fences;		/* found by recovery, and made since */
	uint32_t fence_count, fence_room;
	uint64_t fence_index;		/* segments below were given up or tried */

	/* The list of segments changes with both locks held, make_lock first; `lock` is never held over a call of the disk that waits for it,
	 * but to open a file: the writer takes it for every group. */
	pthread_mutex_t make_lock, lock;
	struct segment *segments;	/* by index, ascending */
	uint32_t segment_count, segment_room;

	struct logio_file *reserve[RINGLOG_DIRS_MAX];	/* segments that only state records may use; under lock */
	uint64_t reserve_index;		/* segment that was one and is not replaced yet: no events go there; UINT64_MAX: none */
	_Atomic bool want_reserve;	/* there are state records */
	struct logio_file *spare[RINGLOG_DIRS_MAX];	/* zero-filled and not yet a segment; tend's */
	struct logio_file *checkpoint_files[3], *backup_files[2];
	uint64_t checkpoint_serial;
	unsigned checkpoint_turn;	/* which copy the next synced one overwrites */
	uint64_t checkpoint_position;	/* of the newest synced checkpoint: segments below may be used again */
	struct checkpoint *checkpoint;	/* aligned; the newest one */

	struct logio_file *metas[RINGLOG_DIRS_MAX];	/* kept open: what stands there later must be these */
	uint32_t looked;		/* segments before this place were looked at in this round */
	_Atomic unsigned gone;		/* RINGLOG_GONE_*, as ringlog_look finds; the writer takes GONE_SEGMENT back when it has left the extent */
	_Atomic uint64_t segments_gone;
	_Atomic bool backup_gone;	/* backup checkpoints are not where a start looks for them */
	_Atomic bool no_space;
	_Atomic uint64_t checkpoint_errors, backup_errors, read_bytes;
	uint64_t damage_count, damage_bytes, cut_bytes;
};

/* dirs, checkpoint_dir, io and segment_bytes (for a new log) are set; the rest zero. Makes or reads the meta file and the newest checkpoint.
 * `create` false: the log must be there. */
int ringlog_open(struct ringlog *log, bool create, struct err *err);
void ringlog_close(struct ringlog *log);

/* Recovery is to begin at this position (of a group) at the latest; not known: at the oldest segment. False: the log does not reach back so
 * far. */
bool ringlog_begin(struct ringlog *log, uint64_t position, uint32_t previous_crc, bool known);

/* Walks all whole groups from the checkpoint (or the oldest group) to the end, sets position; visit gets checked blocks in order. With
 * `repair` what was found is synced, the epoch raised and stored. */
int ringlog_recover(struct ringlog *log, bool repair, void (*visit)(const struct block_header *block, const uint8_t *bytes, void *context),
		    void (*damage)(uint64_t from, uint64_t to, const char *what, void *context), void *context, struct err *err);

/* The file of a segment, opened when first needed; NULL when there is none, or it cannot be opened. */
struct logio_file *ringlog_segment(struct ringlog *log, uint64_t index);
int ringlog_segment_open(struct ringlog *log, uint64_t index, struct logio_file **file);	/* the same, and why; -ENOENT: there is none */

/* What recovery saw at a segment's start; false: nothing of this log. */
bool ringlog_segment_begin(struct ringlog *log, uint64_t index, uint64_t *end, uint32_t *epoch);
int ringlog_fence_note(struct ringlog *log, uint64_t end, uint64_t at, uint32_t epoch);
/* Gives up what lies behind `end` (of the group whose CRC is previous_crc; `number`: that of the next event): opens a new extent, proves
 * it by writing and reading back a block that says where the old one ends. The append position is behind that block then. */
int ringlog_fence(struct ringlog *log, uint64_t end, uint32_t previous_crc, uint64_t number, uint64_t durable);
/* Bytes of the log that were read before: [position, position + len); bytes NULL: none. */
struct ringlog_ahead {
	const uint8_t *bytes;
	uint64_t position, len;
};

/* Copies [from, to) into a file beside the segments, what cannot be read as zeros: the log will be written over it one day. */
void ringlog_aside(struct ringlog *log, uint64_t from, uint64_t to, const char *what);
/* A walk over headers, from the end of a group on. */
struct log_walk {
	uint64_t position;		/* behind the last block */
	uint64_t previous_end;		/* of the last block's group: where a walk may begin again */
	uint32_t previous_crc;
	uint32_t crc, crc_next;		/* of the last whole group, of the one under way */
	uint32_t epoch, index, count;
	uint64_t ahead, ahead_end;	/* what the first block there says that it follows */
	uint32_t ahead_epoch;
	bool crc_known, crc_whole, lost, ahead_ok;
};

/* The header (BLOCK_ALIGN_BYTES read into `header`) of the next block below `limit`, where all was durable once; fenced stretches and
 * leftovers are stepped over. 1: there is one; 0: none. *gap: bytes of damage before it. -EIO, with
 * `patient`: a read failed, nothing has changed, try again; else what cannot be read is damage. What stands in
 * `run` is not read again. Takers' side. */
int ringlog_next(struct ringlog *log, struct log_walk *walk, uint64_t limit, bool patient, uint8_t *header, uint64_t *gap,
		 const struct ringlog_ahead *run);

/* Where a group of so many bytes goes, with its file; moves on. _state: one of state records alone, which may use the reserve on a full disk. */
int ringlog_place(struct ringlog *log, uint32_t bytes, uint64_t *position, struct logio_file **file, uint64_t *offset);
int ringlog_place_state(struct ringlog *log, uint32_t bytes, uint64_t *position, struct logio_file **file, uint64_t *offset);
/* 0; -EIO whatever the disk says; -ENOENT: no such segment. */
int ringlog_read(struct ringlog *log, uint64_t position, void *bytes, uint32_t len);
/* The same in the background; reader NULL: at once. See logio.h. */
int ringlog_read_begin(struct ringlog *log, struct logio_reader *reader, uint64_t position, void *bytes, uint32_t len, int *status);

/* Reads all copies; the newest valid one is log->checkpoint. Called by ringlog_open. */
int ringlog_checkpoints_open(struct ringlog *log, struct err *err);
/* Stores the checkpoint (number, position, previous_crc, ranges, clean are filled in). */
int ringlog_checkpoint(struct ringlog *log, bool sync);
/* The backup copies that are not there any more are made anew, with the newest checkpoint, where their directory is back. */
int ringlog_backup_again(struct ringlog *log, struct err *err);
/* What somebody did to the files while they are open. GONE_DIR: a directory of the log or its checkpoints is not the one that was opened, or was
 * emptied: what is written now is not found at the next start, so nothing may be acknowledged until it is back. GONE_SEGMENT: a segment at
 * `position` or behind it, which is written now or will be: the log must go on elsewhere. Older ones are told and counted, as are
 * backup checkpoints, which nothing waits for. Tend's thread. */
enum { RINGLOG_GONE_DIR = 1, RINGLOG_GONE_SEGMENT = 2 };
int ringlog_metas_hold(struct ringlog *log, struct err *err);
void ringlog_look(struct ringlog *log, uint64_t position);
/* The file that is open does not stand under this name any more. */
bool ringlog_gone(struct ringlog *log, const char *path, struct logio_file *file);
void ringlog_segment_path(const struct ringlog *log, uint64_t index, char *path);	/* RINGLOG_PATH_BYTES */

/* Makes the next segment, out of one that is not needed any more or new; of those not needed some more ahead, for a writer in haste. */
void ringlog_tend(struct ringlog *log, uint64_t position);

#endif
