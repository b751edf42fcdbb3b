/* kafka: everything of the batch loader that speaks to Kafka: topics and offsets at setup, proofs, and the loop over partitions. */
#ifndef PENSTOCK_CAMUS_KAFKA_H
#define PENSTOCK_CAMUS_KAFKA_H

#include <stdatomic.h>

#include "camus/job.h"
#include "camus/writer.h"

/* Topics by the lists, leaders, oldest and newest offsets, decisions, proofs. Fills job->parts. 0, or -errno when nothing can be done. */
int kafka_setup(struct job *job, struct err *err);

/* Numbers that grow while tasks run; any thread may read. */
struct task_progress {
	_Atomic uint64_t records, bytes, done_records;
};

struct task {
	struct job *job;
	const struct camus_conf *conf;
	uint32_t number;
	struct part **parts;		/* this task's, one topic after the other */
	size_t part_count;
	uint64_t fetch_memory;
	struct fs *fs;
	struct writer *writer;
	struct task_progress progress;
	uint64_t t_kafka_ns, t_decode_ns, t_write_ns, t_all_ns;
	struct error_record *errors;
	size_t error_count, error_room;
	uint32_t errors_kept;
};

/* Pulls all partitions of the task into its writer; ends when each is at its end, limited or failed. The task's thread. */
void kafka_task_run(struct task *task);

/* First offset at or behind a time (ms since 1970) of each part that `pick` marks (by index), into offsets; the newest offset where there is none,
 * -1 where it cannot be asked for. */
int kafka_offsets_at(struct job *job, const bool *pick, int64_t time_ms, int64_t *offsets, struct err *err);

/* Stores the next offsets in a consumer group, for lag tools; the truth stays with the manifest. 0 or -errno, told only. */
int kafka_group_store(const struct job *job, struct err *err);

#endif
