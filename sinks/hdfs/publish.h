/* publish: gives a finished file its final name, exactly once, also when the answer of the rename is lost: by the file's identity. */
#ifndef PENSTOCK_SINKS_HDFS_PUBLISH_H
#define PENSTOCK_SINKS_HDFS_PUBLISH_H

#include "sinks/hdfs/fs.h"

enum publish_result {
	PUBLISH_DONE,		/* it stands under the final name, or was there and a consumer has moved it on */
	PUBLISH_TAKEN,		/* another file has the final name; ours still has its in-use name */
	PUBLISH_GONE,		/* neither name nor identity: somebody removed it, or it was copied and deleted */
	PUBLISH_LATER,		/* not now (text says why): ours still has its in-use name, or nothing could be asked; may be begun again */
};

struct publish;
typedef void publish_done(void *context, enum publish_result result, enum fs_class class, const char *text);

#define PUBLISH_ANY_LENGTH UINT64_MAX

/* Begins; ends with `done` from within fs_step. file_id 0: identity unknown, the length must do (or not even that: PUBLISH_ANY_LENGTH). look_first: the rename may have been
 * done by an earlier life, so look before asking. NULL: no memory. */
struct publish *publish_begin(struct fs *fs, const char *from, const char *to, uint64_t file_id, uint64_t length, bool look_first,
			      publish_done *done, void *context);
void publish_cancel(struct publish *publish);

#endif
