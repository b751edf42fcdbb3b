/* localfs: this machine's files behind the table of fs.h. Work is done at once, its end is told in the next step. A file is synced
 * before it counts as written, a directory after a rename or removal in it. */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sinks/hdfs/fs.h"

#define BEHIND_BYTES (8u << 20)

struct local {
	struct fs fs;
	struct fs_call *calls, **calls_end;	/* in the order of their begin */
	struct fs_file *files;
	int event_fd;
};

struct fs_call {
	struct fs_call *next;
	struct local *local;
	enum fs_op op;
	bool recursive, cancelled;
	uint64_t offset, length;
	fs_done *done;
	void *context;
	char *path, *to;
};

struct fs_file {
	struct fs_file *next, **link;
	struct local *local;
	struct fs_write write;
	char *path;
	int fd, error;
	const char *what;	/* that failed */
	bool ending;
	uint64_t moved_ns;
	uint64_t waiting;	/* bytes written since the disk was told to begin */
};

static enum fs_class
errno_class(int errnum)
{
	switch (errnum) {
	case EEXIST: case EISDIR: return FS_EXISTS;
	case ENOENT: return FS_MISSING;
	case EACCES: case EPERM: case EROFS: return FS_DENIED;
	case EDQUOT: return FS_QUOTA;
	case ENOSPC: return FS_SPACE;
	case ENOTDIR: case ENAMETOOLONG: case EINVAL: case ELOOP: return FS_INVALID;
	case ENOTEMPTY: return FS_NOT_EMPTY;
	default: return FS_FAILED;
	}
}

static void
wake(struct local *local)
{
	uint64_t one = 1;
	(void)!write(local->event_fd, &one, sizeof one);
}

static struct fs_call *
local_begin(struct fs *fs, const struct fs_request *request)
{
	struct local *local = (struct local *)fs;
	struct fs_call *call = calloc(1, sizeof *call);
	if (!call)
		return NULL;
	*call = (struct fs_call){
		.local = local, .op = request->op, .recursive = request->recursive, .offset = request->offset, .length = request->length,
		.done = request->done, .context = request->context, .path = strdup(request->path), .to = request->to ? strdup(request->to) : NULL,
	};
	if (!call->path || (request->to && !call->to)) {
		free(call->path);
		free(call->to);
		free(call);
		return NULL;
	}
	*local->calls_end = call;
	local->calls_end = &call->next;
	wake(local);
	return call;
}

static void
local_cancel(struct fs_call *call)
{
	call->cancelled = true;	/* freed by the next step, not done */
}

static int
parent_sync(const char *path_)
{
	char path[FS_PATH_BYTES];
	if ((size_t)snprintf(path, sizeof path, "%s", path_) >= sizeof path)
		return -ENAMETOOLONG;
	fs_path_parent(path);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int rc = fsync(fd) ? -errno : 0;
	close(fd);
	return rc;
}

static int
dirs_make(const char *path_, mode_t mode)
{
	char path[FS_PATH_BYTES];
	size_t len = (size_t)snprintf(path, sizeof path, "%s", path_);
	if (len >= sizeof path)
		return -ENAMETOOLONG;
	struct stat stat;
	for (char *p = path + 1;; p++) {
		if (*p && *p != '/')
			continue;
		char end = *p;
		*p = '\0';
		if (mkdir(path, mode) && errno != EEXIST && (errno != EACCES || access(path, F_OK)))
			return -errno;
		if (!end)
			break;
		*p = end;
	}
	if (lstat(path, &stat) == 0 && S_ISLNK(stat.st_mode))
		return 0;
	return S_ISDIR(stat.st_mode) ? 0 : -ENOTDIR;
}

static void
status_fill(struct fs_status *status, const struct stat *stat)
{
	*status = (struct fs_status){
		.file_id = stat->st_ino, .length = S_ISDIR(stat->st_mode) ? 0 : (uint64_t)stat->st_size,
		.modified_ms = (uint64_t)stat->st_mtim.tv_sec * 1000 + (uint64_t)stat->st_mtim.tv_nsec / NS_PER_MS,
		.block_bytes = 128u << 20, .replication = 1, .mode = (uint16_t)(stat->st_mode & 07777), .directory = S_ISDIR(stat->st_mode),
		.name = "", .owner = "",
	};
}

static int
entry_remove(const char *path, const struct stat *stat, int type, struct FTW *ftw)
{
	(void)stat;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int
name_order(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void
list_tell(struct fs_call *call, struct fs_answer *answer)
{
	struct dirent **names = NULL;
	struct stat stat;
	int count = scandir(call->path, &names, NULL, name_order), used = 0;
	struct fs_status *list = NULL;
	if (count < 0 && errno == ENOTDIR && lstat(call->path, &stat) == 0) {
		/* As HDFS: the listing of a file is the file. */
		struct fs_status one;
		status_fill(&one, &stat);
		answer->list = &one;
		answer->list_count = 1;
		call->done(call->context, answer);
		return;
	}
	if (count < 0) {
		answer->class = errno_class(errno);
		answer->text = strerror(errno);
		call->done(call->context, answer);
		return;
	}
	list = calloc((size_t)count + 1, sizeof *list);
	for (int i = 0; list && i < count; i++) {
		char path[FS_PATH_BYTES];
		if (strcmp(names[i]->d_name, ".") == 0 || strcmp(names[i]->d_name, "..") == 0 ||
		    (call->to && strcmp(names[i]->d_name, call->to) <= 0) || fs_path_join(path, sizeof path, call->path, names[i]->d_name) || lstat(path, &stat))
			continue;
		status_fill(&list[used], &stat);
		list[used++].name = names[i]->d_name;
	}
	answer->list = list;
	answer->list_count = (size_t)used;
	if (!list) {
		answer->class = FS_FAILED;
		answer->text = "no memory";
	}
	call->done(call->context, answer);
	for (int i = 0; i < count; i++)
		free(names[i]);
	free(names);
	free(list);
}

static void
read_tell(struct fs_call *call, struct fs_answer *answer)
{
	struct stat stat;
	uint8_t *bytes = NULL;
	int fd = open(call->path, O_RDONLY | O_CLOEXEC), errnum = 0;
	if (fd < 0 || fstat(fd, &stat)) {
		errnum = errno;
	} else if (S_ISDIR(stat.st_mode)) {
		errnum = EISDIR;
	} else {
		uint64_t left = call->offset < (uint64_t)stat.st_size ? (uint64_t)stat.st_size - call->offset : 0;
		size_t want = call->length && call->length < left ? call->length : left, n = 0;
		if (want > FS_READ_BYTES)
			errnum = EFBIG;
		else if (!(bytes = malloc(want + 1)))
			errnum = ENOMEM;
		while (!errnum && n < want) {
			ssize_t got = pread(fd, bytes + n, want - n, (off_t)(call->offset + n));
			if (got < 0)
				errnum = errno;
			if (got <= 0)
				break;
			n += (size_t)got;
		}
		if (bytes)
			bytes[n] = '\0';
		answer->bytes = bytes;
		answer->len = n;
	}
	if (errnum) {
		answer->class = errnum == EISDIR ? FS_INVALID : errno_class(errnum);
		answer->text = strerror(errnum);
		answer->len = 0;
	}
	call->done(call->context, answer);
	free(bytes);
	if (fd >= 0)
		close(fd);
}

static _Thread_local struct fs_summary *summing;	/* nftw has no context */

static int
entry_sum(const char *path, const struct stat *stat, int type, struct FTW *ftw)
{
	(void)path;
	(void)ftw;
	if (type == FTW_D || type == FTW_DP) {
		summing->directories++;
	} else {
		summing->files++;
		summing->length += (uint64_t)stat->st_size;
	}
	return 0;
}

/* RENAME_NOREPLACE: the step that decides is the kernel's. Network file systems that do not have it (NFS) say EINVAL, always: then a file's second
 * name decides, which is never made over another; for a folder we look first. */
static int
rename_new(const char *from, const char *to)
{
	struct stat stat;
	if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL || lstat(from, &stat))
		return -errno;
	if (!S_ISDIR(stat.st_mode))
		return link(from, to) || unlink(from) ? -errno : 0;
	return lstat(to, &stat) == 0 ? -EEXIST : rename(from, to) ? -errno : 0;
}

static void
call_do(struct fs_call *call)
{
	struct fs_answer answer = { .exception = "", .text = "", .status = { .name = "", .owner = "" } };
	struct stat stat;
	int rc = 0;
	switch (call->op) {
	case FS_STAT:
		if (lstat(call->path, &stat))
			rc = -errno;
		else
			status_fill(&answer.status, &stat);
		break;
	case FS_LIST:
		list_tell(call, &answer);
		return;
	case FS_MKDIRS:
		rc = dirs_make(call->path, 0777);
		answer.yes = rc == 0;
		break;
	case FS_RENAME: {
		rc = rename_new(call->path, call->to);
		answer.yes = rc == 0;
		if (rc == -EEXIST || rc == -ENOENT || rc == -ENOTDIR)
			rc = 0;
		else if (!rc)
			rc = parent_sync(call->to);
		break;
	}
	case FS_DELETE:
		if (lstat(call->path, &stat)) {
			rc = errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
			break;
		}
		rc = call->recursive && S_ISDIR(stat.st_mode) ? nftw(call->path, entry_remove, 16, FTW_DEPTH | FTW_PHYS) : remove(call->path);
		rc = rc ? -errno : parent_sync(call->path);
		answer.yes = rc == 0;
		break;
	case FS_READ:
		read_tell(call, &answer);
		return;
	case FS_REPLICAS:
		rc = lstat(call->path, &stat) ? -errno : 0;
		answer.replicas = 1;
		break;
	case FS_CONCAT:
		rc = -EOPNOTSUPP;
		break;
	case FS_SUMMARY:
		answer.summary.name_quota = answer.summary.space_quota = -1;
		summing = &answer.summary;
		rc = nftw(call->path, entry_sum, 16, FTW_PHYS) ? -errno : 0;
		answer.summary.space = answer.summary.length;
		summing = NULL;
		break;
	}
	if (rc) {
		answer.class = rc == -EEXIST && call->op == FS_DELETE ? FS_NOT_EMPTY : errno_class(-rc);
		answer.text = strerror(-rc);
	}
	call->done(call->context, &answer);
}

static struct fs_file *
local_file_begin(struct fs *fs, const struct fs_write *write)
{
	struct local *local = (struct local *)fs;
	struct fs_file *file = calloc(1, sizeof *file);
	if (!file || !(file->path = strdup(write->path))) {
		free(file);
		return NULL;
	}
	file->local = local;
	file->write = *write;
	file->write.path = file->path;
	file->moved_ns = clock_now_ns(fs->clock);
	file->what = "made";
	if (write->append) {
		file->fd = open(file->path, O_WRONLY | O_APPEND | O_CLOEXEC);
	} else {
		int flags = O_WRONLY | O_CREAT | O_CLOEXEC | (write->overwrite ? O_TRUNC : O_EXCL);
		file->fd = open(file->path, flags, 0666);
		if (file->fd < 0 && errno == ENOENT) {
			char parent[FS_PATH_BYTES];
			snprintf(parent, sizeof parent, "%s", file->path);
			fs_path_parent(parent);
			int rc = dirs_make(parent, 0777);
			errno = -rc;
			if (!rc)
				file->fd = open(file->path, flags, 0666);
		}
	}
	if (file->fd < 0)
		file->error = errno;
	file->next = local->files;
	file->link = &local->files;
	if (file->next)
		file->next->link = &file->next;
	local->files = file;
	wake(local);
	return file;
}

static void
file_free(struct fs_file *file)
{
	*file->link = file->next;
	if (file->next)
		file->next->link = file->link;
	if (file->fd >= 0)
		close(file->fd);
	free(file->path);
	free(file);
}

static void
local_file_more(struct fs_file *file)
{
	wake(file->local);
}

static void
local_file_end(struct fs_file *file)
{
	file->ending = true;
	wake(file->local);
}

static uint64_t
local_file_moved_ns(const struct fs_file *file)
{
	return file->moved_ns;
}

/* Writes what waits; true when the file has ended, one way or the other. */
static bool
file_step(struct fs_file *file)
{
	struct chunks *bytes = file->write.bytes;
	while (!file->error && bytes->bytes) {
		size_t len;
		const uint8_t *front = chunks_front(bytes, &len);
		ssize_t n = write(file->fd, front, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			file->error = errno;
			file->what = "written";
			break;
		}
		chunks_drop(bytes, (size_t)n);
		file->local->fs.counters.bytes_written += (uint64_t)n;
		file->moved_ns = clock_now_ns(file->local->fs.clock);
		file->waiting += (uint64_t)n;
		if (file->waiting >= BEHIND_BYTES) {
			file->waiting = 0;
			sync_file_range(file->fd, 0, 0, SYNC_FILE_RANGE_WRITE);	/* so that the end has little to wait for; what fails is told there */
		}
	}
	if (file->error)
		return true;
	if (!file->ending)
		return false;
	int rc = fdatasync(file->fd) ? -errno : parent_sync(file->path);
	file->error = -rc;
	file->what = "synced";
	return true;
}

static uint64_t
local_step(struct fs *fs)
{
	struct local *local = (struct local *)fs;
	uint64_t count;
	(void)!read(local->event_fd, &count, sizeof count);
	struct fs_call *calls = local->calls;
	local->calls = NULL;
	local->calls_end = &local->calls;
	for (struct fs_call *call = calls, *next; call; call = next) {
		if (!call->cancelled) {
			fs->counters.calls++;
			call_do(call);
		}
		next = call->next;
		free(call->path);
		free(call->to);
		free(call);
	}
again:
	for (struct fs_file *file = local->files; file; file = file->next) {
		if (!file_step(file))
			continue;
		struct fs_answer answer = { .exception = "", .text = "", .status = { .name = "", .owner = "" } };
		char text[256];
		if (file->error) {
			snprintf(text, sizeof text, "cannot be %s: %s", file->what, strerror(file->error));
			answer.class = errno_class(file->error);
			answer.text = text;
			answer.untouched = file->fd < 0;
		}
		fs_done *done = file->write.done;
		void *context = file->write.context;
		file_free(file);
		done(context, &answer);
		goto again;	/* done may have changed the list */
	}
	return local->calls ? 0 : UINT64_MAX;
}

static int
local_fd(const struct fs *fs)
{
	return ((const struct local *)fs)->event_fd;
}

static void
local_close(struct fs *fs)
{
	struct local *local = (struct local *)fs;
	while (local->files)
		file_free(local->files);
	for (struct fs_call *call = local->calls, *next; call; call = next) {
		next = call->next;
		free(call->path);
		free(call->to);
		free(call);
	}
	close(local->event_fd);
	free(local);
}

static const struct fs_ops local_ops = {
	.name = "localfs", .begin = local_begin, .cancel = local_cancel, .file_begin = local_file_begin, .file_more = local_file_more,
	.file_end = local_file_end, .file_cancel = file_free, .file_moved_ns = local_file_moved_ns, .step = local_step, .fd = local_fd,
	.close = local_close,
};

int
localfs_open(struct fs **made, const struct fs_config *config, struct clock *clock, struct err *err)
{
	struct local *local = calloc(1, sizeof *local);
	(void)config;
	if (!local)
		return err_set(err, ENOMEM, "no memory");
	local->fs = (struct fs){ .ops = &local_ops, .clock = clock };
	local->calls_end = &local->calls;
	local->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (local->event_fd < 0) {
		free(local);
		return err_set(err, errno, "no descriptor: %s", strerror(errno));
	}
	*made = &local->fs;
	return 0;
}
