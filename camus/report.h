/* report: what a run says at its end, and what it leaves in the history. Main thread. */
#ifndef PENSTOCK_CAMUS_REPORT_H
#define PENSTOCK_CAMUS_REPORT_H

#include "camus/kafka.h"
#include "camus/place.h"
#include "camus/run.h"

struct run_report {
	bool quiet;
	uint64_t manifest, published;
	uint64_t recovered, recovered_files, taken_away;	/* an earlier run's manifest that was finished */
	uint32_t tasks;
	uint64_t task_min_ns, task_max_ns, task_sum_ns, kafka_ns, decode_ns, write_ns;
	bool hook_failed;
	bool in_doubt;			/* whether its manifest stands is not known: what it names stays */
	uint64_t unfinished;		/* manifest that is decided and not carried out; 0: none */
	char refused[400];		/* of a sweep's manifest: as in commit_result */
	char failure[512];		/* why the run as a whole failed; "" */
};

/* What a run adds up to. */
struct report_sums {
	uint64_t records, bytes, written, late, old, tombstones, schema, other, pulled, proven, unproven;
	uint64_t record_lag;		/* in Kafka, behind what is committed */
	uint64_t event_lag_ms;		/* age of the partitions' oldest committed event time */
};
struct report_sums report_sum(const struct job *job);

void report_task(struct run_report *report, const struct task *task);
void report_print(const struct run_report *report, const struct job *job, int status, const struct run_options *options);
/* Textfile for Prometheus's node exporter, put in place by a rename; a failure is told only. */
void report_metrics(const struct run_report *report, const struct job *job, int status, const char *path);
void report_plan(const struct job *job, const struct run_options *options);
/* Errors of the run, one JSON object a line, as errors.jsonl in `folder`, a file of the batch. 0 or -errno. */
int report_errors_store(const struct job *job, struct fs_batch *batch, const char *folder, struct err *err);

#endif
