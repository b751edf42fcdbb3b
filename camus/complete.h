/* complete: which folders have everything, and what came after that.
 *
 * A topic is complete up to the lowest event time its partitions have committed, less penstock.camus.complete_delay. A partition that was read to its
 * end and had nothing new counts by the clock at the beginning of the run: a record made before that would have been there; later than that nothing
 * is complete, whatever records say of their time. A folder whose last bucket
 * ends by then gets `_SUCCESS`; a record that comes for it later is late. What is open, and how far each topic is complete, goes from manifest to
 * manifest; the folders a manifest completes stand in it and are marked after its files are published, again if need be.
 * The run's thread; complete_until also the tasks', while nothing else changes it. */
#ifndef PENSTOCK_CAMUS_COMPLETE_H
#define PENSTOCK_CAMUS_COMPLETE_H

#include <jansson.h>

#include "camus/job.h"
#include "camus/manifest.h"

#define COMPLETE_MARK "_SUCCESS"
#define COMPLETE_LATE_FOLDER "_late"

struct completeness;

/* What the newest manifest says; kept by the job until complete_free. */
void complete_load(struct job *job, const struct manifest *manifest);
void complete_free(struct completeness *complete);
/* Folders that end at or before this are complete, ms since 1970; INT64_MIN: none are. */
int64_t complete_until(const struct job *job, const char *topic);
/* After the tasks: what is open, and what this run completes. -ENOMEM or what route_open says. */
int complete_decide(struct job *job, struct err *err);
/* Folders that the run completes. */
size_t complete_count(const struct job *job);
/* "open", "complete" and "until" of the job's manifest. */
void complete_write(const struct job *job, json_t *root);
/* Marks the folders that the manifest completes. 0 or -errno. */
int complete_publish(struct fs *fs, const struct manifest *manifest, struct err *err);
/* Lowest committed event time of a part as its run leaves it; INT64_MIN: unknown. */
int64_t complete_part_time(const struct job *job, const struct part *part);

#endif
