/* job: one run of the batch loader: what is known of each partition, where each starts, what came of it.
 *
 * Owner and thread: the run's (main); while tasks run, each `part` belongs to the one task that pulls it. */
#ifndef PENSTOCK_CAMUS_JOB_H
#define PENSTOCK_CAMUS_JOB_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/pool.h"
#include "camus/conf.h"

#define AVERAGE_BYTES 1024	/* of a record nobody has seen yet */

/* Shows that a record is still the one that was read: any client can fetch it again and compare. */
struct fingerprint {
	int64_t offset;		/* -1: none */
	int64_t time_ms;	/* Kafka's timestamp; -1: none */
	uint32_t crc;		/* CRC32C of key and value */
};

/* What a manifest says of a partition. */
struct saved {
	bool known;
	int64_t next;		/* offset to be read next */
	struct fingerprint last, first;
	int64_t average;	/* bytes a record */
	int64_t event_ms;	/* event time of the last record; INT64_MIN: none */
};

enum start_why {
	START_SAVED,		/* goes on */
	START_NEW,		/* never read before: from the oldest record */
	START_LATEST,		/* on the move list */
	START_EARLIEST,		/* saved offset out of range, kafka.move.to.earliest.offset */
	START_RECREATED,	/* the topic was deleted and made again: from its oldest record */
	START_TRUNCATED,	/* the log was cut below the saved offset: from its end */
	START_OUT_OF_RANGE,	/* not pulled; the run fails at its end */
	START_CHANGED,		/* records behind the saved offset were replaced: not pulled; the run fails */
	START_NO_LEADER,	/* not pulled; the run fails at its end */
};
const char *start_why_name(enum start_why why);

/* Of what is read again: only records of this bucket with such offsets. */
struct only {
	int64_t bucket, first, last;
};

struct part {
	const char *topic;
	int32_t partition;
	char leader[16];
	int64_t earliest, latest;	/* -1: could not be asked */
	struct saved saved;
	int64_t start;
	enum start_why why;
	bool pull;			/* has something to be read in this run */
	bool proven;			/* the record before `start` is the one that was read */
	bool falling_behind;		/* in the oldest quarter of what Kafka retains */

	const struct only *only;	/* NULL: all */
	size_t only_count;
	int64_t wanted_end;		/* with only: behind the last of them */

	/* the task's */
	struct saved now;		/* after the run; next == start when nothing was read */
	_Atomic uint64_t progress;	/* records so far, for those who look on */
	uint64_t late;			/* for folders that were complete */
	uint64_t records, bytes, written, skipped_old, skipped_tombstones, skipped_schema, skipped_other, decoded;
	bool failed;			/* its old offsets stay */
	bool more;			/* stopped by a limit */
	bool trouble;			/* stopped by an error: what was read counts, the run ends with status 1 */
	char words[256];		/* why it failed or stopped */
	struct counts *counts;		/* counts.h; NULL: none */
};

/* One file of a run, ready below _penstock and to be published. */
struct data_file {
	char *temporary, *final;
	uint64_t file_id, length, records;
	struct part *part;
	int64_t first, last;		/* offsets */
	int64_t bucket, bucket_end;	/* ms */
};

struct error_record {
	const struct part *part;
	int64_t offset, time_ms;
	char *words;
	void *key, *value;		/* kept records only */
	uint32_t key_len, value_len;
	bool kept;
};

struct job {
	const struct camus_conf *conf;
	struct pool pool;
	char run[64];			/* names this run: yyyy-MM-dd-HH-mm-ss (UTC) and a random end */
	char before[64], history_before[64];	/* the newest manifest's run and its name in the history; "" */
	char history[64];		/* name of its execution in Camus's history; "": none is written */
	uint64_t started_ns;		/* wall */
	uint64_t number;		/* of the newest manifest; 0: none */
	struct part **parts;
	size_t part_count, part_room;
	size_t unreadable_topics;	/* topics left out with an error */
	bool offsets_failed;

	json_t *swaps;		/* of a sweep's manifest; NULL: none */
	struct completeness *complete;	/* complete.h; NULL: none */
	struct data_file *files;	/* of all tasks, after they have ended */
	size_t file_count, file_room;
	struct error_record *errors;
	size_t error_count, error_room;

	uint64_t t_setup_ns, t_pull_ns, t_commit_ns, t_pre_ns;	/* durations */
};

struct part *job_part(struct job *job, const char *topic, int32_t partition);	/* found or made */
void job_free(struct job *job);

/* start.c: pure decisions */
/* Sets start, why, pull of a partition whose bounds and saved state are known. Whether the last record is still the same is settled
 * later by start_proven. to_last: the topic is on the move list. */
void start_decide(struct part *part, bool to_last, bool to_earliest);
enum proof { PROOF_SAME, PROOF_DIFFERENT, PROOF_GONE, PROOF_UNKNOWN };
/* What the fetched records say: `last` of saved.last, `first` of saved.first (asked only when needed: start_needs_first). */
bool start_needs_last(const struct part *part);
bool start_needs_first(const struct part *part, enum proof last);
void start_prove(struct part *part, enum proof last, enum proof first, bool to_earliest);

/* allocate.c: task number per part to be pulled, longest first to the task with least so far. task_of: part_count entries, -1: not pulled.
 * Returns the number of tasks used. */
uint32_t allocate_tasks(const struct job *job, uint32_t tasks_max, int32_t *task_of);

/* SIGTERM and SIGINT: tasks end where they are, what they have is committed. A second signal kills. Any thread may ask. */
void job_stop_on_signals(void);
bool job_stop_asked(void);
void job_stop_ask(void);	/* as a signal does */

/* A point at which a test may kill the process: PENSTOCK_CAMUS_KILL_AT=name[:n] sends SIGKILL at its n-th passing;
 * PENSTOCK_CAMUS_HOLD_AT stops it there (SIGSTOP), so that a test can do something at that moment before it lets it go on. */
void kill_point(const char *name);

/* A string for JSON. Words may have been cut within a character, or quote a stranger's bytes: then what is no ASCII becomes '?'. */
json_t *words_json(const char *words);

#endif
