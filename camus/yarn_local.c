#include "camus/yarn_local.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "camus/yarn.h"

#define NAME "penstock-camus-"
#define LOCK "lock"
#define OUTPUT "output"
#define UNLOCKED_S 3600			/* a folder without a lock may be about to get one; after so long nobody is at it */

static const char *
temporary(void)
{
	const char *dir = getenv("TMPDIR");
	return dir && *dir ? dir : "/tmp";
}

/* What a client makes is all that is in there; anything else keeps the folder. */
static bool
folder_empty(int folder_fd)
{
	static const char *const names[] = { YARN_JOB_FILE, OUTPUT, LOCK };
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (unlinkat(folder_fd, names[i], 0) && errno != ENOENT)
			return false;
	return true;
}

static void
left_remove(int dir_fd, const char *name)
{
	struct stat stat;
	int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return;
	int lock = -1;
	bool dead = false;
	if (fstat(fd, &stat) == 0 && stat.st_uid == geteuid() && (stat.st_mode & 0777) == 0700) {
		lock = openat(fd, LOCK, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
		dead = lock >= 0 ? flock(lock, LOCK_EX | LOCK_NB) == 0 : errno == ENOENT && time(NULL) > stat.st_mtime + UNLOCKED_S;
	}
	if (dead && folder_empty(fd) && unlinkat(dir_fd, name, AT_REMOVEDIR) == 0)
		log_info("%s/%s: left by a client that died: removed", temporary(), name);
	else if (dead)
		log_warn("%s/%s: left by a client that died, and cannot be removed: %s", temporary(), name, strerror(errno));
	if (lock >= 0)
		close(lock);
	close(fd);
}

static void
left_sweep(void)
{
	DIR *dir = opendir(temporary());
	const struct dirent *entry;
	if (!dir)
		return;
	while ((entry = readdir(dir)))
		if (strncmp(entry->d_name, NAME, sizeof NAME - 1) == 0)
			left_remove(dirfd(dir), entry->d_name);
	closedir(dir);
}

int
yarn_local_make(struct yarn_local *local, struct err *err)
{
	const char *dir = temporary();
	char lock[400];
	*local = (struct yarn_local){ .lock_fd = -1 };
	size_t at = strcspn(dir, ",*?[]{}\\#% \t");
	if (dir[at])
		return err_set(err, EINVAL, "TMPDIR \"%s\": the character '%c' means something else on the command line of a Hadoop job "
			"(penstock.camus.execution = yarn): want a folder without any of ,*?[]{}\\#%% and blanks", dir, dir[at]);
	if (strlen(dir) > sizeof local->folder - sizeof NAME - 8)
		return err_set(err, ENAMETOOLONG, "TMPDIR \"%.100s...\": too long", dir);
	left_sweep();
	for (int turn = 0; turn < 10; turn++) {
		struct stat stat;
		snprintf(local->folder, sizeof local->folder, "%s/" NAME "XXXXXX", dir);
		if (!mkdtemp(local->folder)) {
			int rc = err_set(err, errno, "%s: %s", local->folder, strerror(errno));
			local->folder[0] = '\0';
			return rc;
		}
		snprintf(local->job_file, sizeof local->job_file, "%s/" YARN_JOB_FILE, local->folder);
		snprintf(local->output, sizeof local->output, "%s/" OUTPUT, local->folder);
		snprintf(lock, sizeof lock, "%s/" LOCK, local->folder);
		local->lock_fd = open(lock, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (local->lock_fd < 0 || flock(local->lock_fd, LOCK_EX) || fstat(local->lock_fd, &stat)) {
			int rc = err_set(err, errno, "%s: %s", lock, strerror(errno));
			yarn_local_remove(local);
			return rc;
		}
		if (stat.st_nlink)
			return 0;
		yarn_local_remove(local);	/* another client took the lock between two of our calls, and the folder for one that was left */
	}
	return err_set(err, EAGAIN, "%s: folders are removed as soon as they are made", dir);
}

void
yarn_local_remove(struct yarn_local *local)
{
	if (!local->folder[0])
		return;
	int fd = open(local->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0) {
		folder_empty(fd);
		close(fd);
	}
	rmdir(local->folder);
	if (local->lock_fd >= 0)
		close(local->lock_fd);
	local->folder[0] = '\0';
}
