/* tree: the dated folders of published topics, as sweep and clean go through them: root/<topic>/<subdir>/YYYY/MM/dd[/HH]. The main thread. */
#ifndef PENSTOCK_CAMUS_TREE_H
#define PENSTOCK_CAMUS_TREE_H

#include "camus/place.h"
#include "camus/topic_filter.h"

#define TREE_DEPTH 8

/* Entries of a directory; FS_MISSING counts as none. free(*memory) later. 0 or -EIO. */
int tree_list(struct fs *fs, const char *path, struct fs_answer *answer, void **memory, struct err *err);

/* Where, which topics, and what time it is (camus.sweeper.*, camus.default.timezone). */
struct tree_filter {
	char source[FS_PATH_BYTES], dest[FS_PATH_BYTES];
	const char *subdir;
	int64_t today;			/* days since 1970 in the zone */
	int hour;
	struct topic_filter *white, *black;
};
int tree_filter_open(struct tree_filter *filter, const struct camus_conf *conf, struct place *place, struct err *err);
void tree_filter_close(struct tree_filter *filter);

/* topic: its folders, with slashes; dated: YYYY/MM/dd or YYYY/MM/dd/HH; parts: these as numbers, the last -1 for a day. Not 0 ends the walk.
 * A day comes after its hours. */
typedef int tree_dated(void *context, const char *topic, const char *path, const char *dated, const int parts[4]);
int tree_dates(const struct tree_filter *filter, struct fs *fs, tree_dated *dated, void *context, struct err *err);

#endif
