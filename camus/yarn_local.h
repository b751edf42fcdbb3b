/* yarn_local: the client's folder on this machine while a job is at work, with what Hadoop is to send along and the child's words.
 * <TMPDIR, else /tmp>/penstock-camus-XXXXXX, for its owner only; `lock` in it is locked as long as the client lives, so that what a killed one
 * left (its settings may hold passwords) is taken away by the next. Main thread. */
#ifndef PENSTOCK_CAMUS_YARN_LOCAL_H
#define PENSTOCK_CAMUS_YARN_LOCAL_H

#include "base/err.h"

struct yarn_local {
	char folder[300];		/* "": none */
	char job_file[400], output[400];
	int lock_fd;
};

/* Makes the folder, and takes away those of dead clients of the same user. 0 or -errno. */
int yarn_local_make(struct yarn_local *local, struct err *err);
void yarn_local_remove(struct yarn_local *local);

#endif
