/* steps: what the commands of the batch loader are made of. Main thread. */
#ifndef PENSTOCK_CAMUS_STEPS_H
#define PENSTOCK_CAMUS_STEPS_H

#include <pthread.h>
#include <stdbool.h>

#include "camus/commit.h"
#include "camus/history.h"
#include "camus/report.h"

void steps_job(struct job *job, const struct camus_conf *conf);
/* Where the run's files lie until they are published. 0 or -ENAMETOOLONG. */
int steps_folder(const struct place *place, const struct job *job, char folder[static FS_PATH_BYTES], struct err *err);
/* State of the job: newest manifest. `finish`: carried out first if it was not. `history`: refuses when Camus has run since (err names the
 * remedies), and chooses job->history; without it the job has no history. */
int steps_state(struct place *place, struct job *job, bool finish, bool history, struct run_report *report, struct err *err);
/* commit_publish, and what was found missing stays known. */
int steps_publish(struct place *place, struct manifest *manifest, bool again, struct commit_result *result, struct err *err);
/* Pulls every part that says so into files below `folder`, which come as job->files. */
int steps_pull(struct job *job, struct place *place, const char *folder, struct run_report *report, struct err *err);
/* A writer of the task's (which has its file system) for files below `folder`. */
int steps_writer(struct task *task, const char *folder, uint64_t memory, struct err *err);
/* One whole file, with its folder below the destination as `final`, gets its final name and becomes the job's; its strings go to the job, or away. */
int steps_file_add(struct job *job, const struct place *place, struct data_file *file, struct err *err);
/* The job's outcome becomes the next manifest and is carried out. `command` made it; counts: instead of the job's own (NULL), taken over. */
int steps_decide(struct job *job, struct place *place, const char *command, const char *folder, json_t *counts, struct run_report *report,
		 struct err *err);
/* Thresholds of skipped records: -ERANGE when nothing may be committed. */
int steps_judge(const struct job *job, struct err *err);
/* Folders of runs that died before they decided anything go when nobody has touched them for a day. */
void steps_leftovers(struct place *place, const struct job *job);

/* Waits at most 0.2 s for a task's thread; true: it has ended and is joined. Main thread, which tells of progress meanwhile. */
bool task_ended(pthread_t thread);

#endif
