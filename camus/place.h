/* place: the file system of a job and its folders. Main thread. */
#ifndef PENSTOCK_CAMUS_PLACE_H
#define PENSTOCK_CAMUS_PLACE_H

#include "camus/conf.h"
#include "sinks/hdfs/fs.h"

struct place {
	struct fs *fs;
	struct fs_config config;		/* for further connections to the same file system */
	char destination[FS_PATH_BYTES], base[FS_PATH_BYTES], history[FS_PATH_BYTES];	/* within it */
	char state[FS_PATH_BYTES];		/* <base>/_penstock: manifests, lock */
	char work[FS_PATH_BYTES];		/* <destination>/_penstock: files of running and unfinished runs */
	char locked[64];			/* run whose lock we took; "": none */
};

/* 0, or -EINVAL when the folders lie in different file systems. */
int place_open(struct place *place, const struct camus_conf *conf, struct err *err);
/* A connection of its own for a task. */
int place_connect(const struct place *place, const struct camus_conf *conf, struct fs **fs, struct err *err);
void place_close(struct place *place);

/* One run of a job at a time: <state>/lock. It only saves effort: the manifest decides. -EBUSY: err names who has it. */
int place_lock(struct place *place, const char *run, struct err *err);
/* Is it still ours? -EBUSY: another run took it over, as this one did not renew it for ten minutes. 0 without a lock. */
int place_lock_check(struct place *place, struct err *err);
void place_lock_renew(struct place *place, const char *run);
void place_unlock(struct place *place);

#endif
