/* commit: manifest first, then everything it says, each step safe to repeat. The run's thread. */
#ifndef PENSTOCK_CAMUS_COMMIT_H
#define PENSTOCK_CAMUS_COMMIT_H

#include "camus/manifest.h"

struct commit_result {
	size_t published, taken_away;	/* files: under their final name; moved on by a consumer before we looked */
	size_t missing, occupied;	/* errors: gone from _penstock; another file has the name */
	char refused[400];		/* why files of a sweep were not put together, which harms nothing; "" */
};

/* Publishes a manifest's files. `again`: an earlier life may have begun with it. 0; -EAGAIN: not all could be done now (err says why),
 * the next run goes on; -EIO: files are missing or their names are taken (err names the first). */
int commit_publish(struct fs *fs, const struct manifest *manifest, bool again, struct commit_result *result, struct err *err);
/* Removes a run's folder. Failures are told only. */
void commit_clean(struct fs *fs, const char *folder);

#endif
