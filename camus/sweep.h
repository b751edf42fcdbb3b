/* sweep: many small files of published folders to few, as the Camus sweeper does. The main thread.
 *
 * A folder is swept into a new one beside it (below _penstock), which then takes the old one's place by a manifest of the loader's own row: of a loader
 * run and a sweep only one goes on, and a sweep that dies is finished by whoever comes next. What went into a swept folder stands in it
 * (_sources), so that files that come later are added, and none twice. Plain text in HDFS that is swept in place is put together where it lies
 * (sweep_concat.c). */
#ifndef PENSTOCK_CAMUS_SWEEP_H
#define PENSTOCK_CAMUS_SWEEP_H

#include <jansson.h>

#include "camus/manifest.h"
#include "camus/place.h"

#define SWEEP_SOURCES "_sources"

struct sweep_source {
	char *path;
	uint64_t file_id, length, modified_ms, block_bytes;
	uint32_t replication;
};

/* One folder to be made. Strings are the owner's. */
struct sweep_plan {
	const char *topic;
	char output[FS_PATH_BYTES];
	bool in_place;			/* the sources lie in the output */
	bool again;			/* an output is there: it is an input too, its files are among the sources */
	uint64_t output_id;		/* of the folder that is there; 0: none */
	struct sweep_source *sources;
	size_t source_count, source_room;
	json_t *known;			/* entries of _sources that go on */
	bool success;			/* has _SUCCESS */
	uint64_t bytes;
};

struct sweep_result {
	uint64_t records, duplicates, files, bytes;
	uint64_t staged_id;		/* of the folder that was made */
};

/* Writes the plan's records into `staged`. 0 or -errno; -ENOTSUP: such files cannot be swept, err says why. */
int sweep_merge(struct place *place, const struct camus_conf *conf, const struct sweep_plan *plan, const char *staged, struct sweep_result *result,
		struct err *err);

/* Bytes after which a new output file is begun; UINT64_MAX: one takes all. */
uint64_t sweep_file_room(const struct camus_conf *conf, const struct sweep_plan *plan);
/* 0 and the files' ending; -ENOTSUP: there are others than plain text among them (err names one). */
int sweep_is_plain_text(const struct sweep_plan *plan, const char **extension, struct err *err);

/* What CONCAT is to do, as an entry of "swaps" in *swap. 0 or -errno; -ENOTSUP: these files have to be read and written anew, err says why. */
int sweep_concat(struct fs *fs, const struct camus_conf *conf, const struct sweep_plan *plan, json_t **swap, struct sweep_result *result,
		 struct err *err);
/* Does it; safe to repeat. 0, also when HDFS refuses (`refused` says why: the files that were not put together stay as they are), or -errno. */
int sweep_concat_publish(struct fs *fs, const json_t *swap, struct err *refused, struct err *err);

/* "swaps" of a manifest: each new folder takes its place, or files are put together. Safe to repeat. */
int sweep_publish(struct fs *fs, const struct manifest *manifest, struct err *refused, struct err *err);

#endif
