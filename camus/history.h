/* history: the executions in Camus's form, so that Camus could go on where we stopped, and we where it did. The main thread.
 *
 * A run that commits builds <base>/_penstock/<run>/ (offsets-m-00000 with one entry a partition, requests.previous, errors-m-00000, errors.jsonl)
 * before its manifest, which says the folder's name in the history; after the manifest the folder is renamed there as a whole. Names are
 * Camus's, yyyy-MM-dd-HH-mm-ss in UTC, and grow from run to run. */
#ifndef PENSTOCK_CAMUS_HISTORY_H
#define PENSTOCK_CAMUS_HISTORY_H

#include "camus/manifest.h"
#include "camus/place.h"

#define HISTORY_NAME_BYTES 64

/* Name of the newest execution; "" when there is none. */
int history_newest(struct place *place, char newest[static HISTORY_NAME_BYTES], struct err *err);
/* Chooses job->history behind all that are there; -ESTALE when the newest is behind `ours` (the newest manifest's, "" without one): Camus
 * has run since, and err names both remedies. */
int history_choose(struct job *job, const char *newest, const char *ours, struct err *err);

/* The run's execution, below the state folder, as files of the batch (which the caller waits for). */
int history_build(const struct job *job, const struct place *place, struct fs_batch *batch, struct err *err);
/* Gives a manifest's folder its name; safe to repeat. */
int history_show(struct place *place, const struct manifest *manifest, struct err *err);

/* The offsets of one execution into the job's parts (saved and now). The largest one of a partition counts. */
int history_import(struct place *place, const char *name, struct job *job, struct err *err);
/* The newest execution folder below the base path that is newer than `than`; "" none. */
int history_running(struct place *place, const char *than, char newest[static HISTORY_NAME_BYTES], struct err *err);

/* Old executions, folders of failed ones and manifests go while there are more entries below the base path than its share of the quota. */
struct prune_result {
	uint64_t entries, limit;	/* before; files and folders */
	uint32_t executions, leftovers, manifests;	/* removed */
};
/* 0 or -errno; told only: a history that is too long stops no run. manifest: the newest one's number. */
int history_prune(struct place *place, const struct camus_conf *conf, uint64_t manifest, struct prune_result *result, struct err *err);

#endif
