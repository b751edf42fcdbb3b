/* manifest: what a run decided, one file of JSON per run, numbered without gaps. `manifest-<n>` appears by a rename that never replaces, so of
 * two runs one wins; `manifest-<n>.done` says that all of it was carried out. The newest one is the job's whole state.
 * The run's thread. */
#ifndef PENSTOCK_CAMUS_MANIFEST_H
#define PENSTOCK_CAMUS_MANIFEST_H

#include <jansson.h>

#include "camus/job.h"
#include "sinks/hdfs/fs.h"

struct manifest_file {
	char *temporary, *final;
	uint64_t file_id, length, records;
	char *topic;
	int32_t partition;
	int64_t first, last, bucket;
	bool missing;			/* known to be gone from _penstock, not taken by a consumer */
};

struct manifest {
	uint64_t number;
	bool done;			/* carried out */
	char run[64];
	char history[64];		/* name of its execution in Camus's history; "": none */
	char command[300];		/* what made it */
	char *folder;			/* the run's, below _penstock */
	struct manifest_file *files;
	size_t file_count;
	char *text;			/* JSON */
};

/* State folder: <base>/_penstock. Finds the newest manifest; number 0 when there is none. 0 or -errno. */
int manifest_newest(struct fs *fs, const char *state, uint64_t *number, bool *done, struct err *err);
/* What the text says, of manifest `number`; `path` is for errors. manifest_free in any case. */
int manifest_parse(struct manifest *manifest, uint64_t number, const char *text, size_t len, const char *path, struct err *err);
int manifest_read(struct fs *fs, const char *state, uint64_t number, struct manifest *manifest, struct err *err);
/* Saved offsets and fingerprints into the job's parts. */
int manifest_saved(const struct manifest *manifest, struct job *job, struct err *err);
/* The job's outcome as text; free it. `command` is what made it: run, reset, import ...; counts: audit counts instead of the job's; NULL. */
char *manifest_text(const struct job *job, const char *command, uint64_t number, const char *folder, json_t *counts);
/* Puts the text as manifest `number`, when all that the batch has is there. 0; -EEXIST: another run was first; -EINPROGRESS: whether it stands is not
 * known, so that nothing it names may go; -errno: it does not stand, and will not. */
int manifest_put(struct fs_batch *batch, const char *state, uint64_t number, const char *run, const char *text, struct err *err);
int manifest_done(struct fs *fs, const char *state, uint64_t number, struct err *err);
/* Files that were found missing are written down, so that a later life does not take them for taken by a consumer; and read again. */
int manifest_missing_store(struct fs *fs, const char *state, const struct manifest *manifest, struct err *err);
int manifest_missing_read(struct fs *fs, const char *state, struct manifest *manifest, struct err *err);
void manifest_free(struct manifest *manifest);

#endif
