/* yarn: a run's tasks as mappers of a Hadoop Streaming job. The client (this process) writes the work items, starts the job as a child process, waits,
 * and reads the reports of committed attempts below the job's output folder; the files in them become the run's own, as if threads had written them.
 *
 * <run folder>/items     one work item a line
 * <run folder>/out       the job's output: `report-<task>` and `data-<task>-<n>` of committed attempts, when all are (committer v1)
 * <run folder>/stop      made by a client that was asked to end: tasks look for it
 * <state>/yarn-<run>     a job of this run may be at work; taken away when YARN says that it ended
 *
 * Main thread. */
#ifndef PENSTOCK_CAMUS_YARN_H
#define PENSTOCK_CAMUS_YARN_H

#include "camus/kafka.h"
#include "camus/report.h"

#define YARN_JOB_FILE "penstock-job.json"	/* settings and site files, beside the mapper */
#define YARN_REPORT "report-"
#define YARN_STOP "stop"

/* What runs of this job left that died while their tasks were at work goes, once YARN says that these ended; waits penstock.camus.yarn.wait for it.
 * 0; -EBUSY: one is still at work (err names it); -errno: nobody can say. */
int yarn_sweep(struct job *job, struct place *place, struct err *err);
/* Tasks to reports: parts, job->files, errors. 0, or -errno when nothing of the job may be used. */
int yarn_run(struct job *job, struct place *place, const char *folder, struct task *tasks, uint32_t count, struct run_report *report, struct err *err);

/* The `task` command: one mapper. Exit status. */
int yarn_task(const char *job_file);
/* The `bundle` command: an archive of this program, its libraries and loader. Exit status. */
int yarn_bundle(const char *path);

#endif
