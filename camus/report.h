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
	char failure[512];		/* why the run as a whole failed; "" */
};

void report_task(struct run_report *report, const struct task *task);
void report_print(const struct run_report *report, const struct job *job, int status, const struct run_options *options);
void report_plan(const struct job *job, const struct run_options *options);
/* Errors of the run, one JSON object a line, as errors.jsonl in `folder`. 0 or -errno. */
int report_errors_store(const struct job *job, struct place *place, const char *folder, struct err *err);

#endif
