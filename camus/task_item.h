/* task_item: what goes between a run's client and a task on another machine: the work of the task as one line of JSON, and its report.
 *
 * Both are read with care: a line or a report that is cut, of another program or about something else is refused with the place in it.
 * The client writes items and reads reports (main thread); the task reads its item and writes its report (its main thread). */
#ifndef PENSTOCK_CAMUS_TASK_ITEM_H
#define PENSTOCK_CAMUS_TASK_ITEM_H

#include "camus/kafka.h"
#include "camus/writer.h"

/* The task's partitions as one line, with a line feed; free it. */
char *task_item_text(const struct task *task, uint32_t tasks);
/* Such a line into an empty job: run, parts (all to be pulled), what is complete. `from`: where the line comes from, for words. 0 or -EINVAL. */
int task_item_read(struct job *job, uint32_t *number, const char *line, size_t len, const char *from, struct err *err);

/* What became of the task: its parts, whole files, errors, durations; free it. Files as writer_files gave them. */
char *task_report_text(const struct task *task, const struct written *files, size_t count);
/* A report into the task's parts and errors; files come with their base name as `temporary` (strings of *files and *files go to the caller, also
 * with an error). Nothing of the task is changed unless the whole report is good. 0 or -EINVAL. */
int task_report_read(struct task *task, const char *text, size_t len, const char *from, struct data_file **files, size_t *count, struct err *err);

#endif
