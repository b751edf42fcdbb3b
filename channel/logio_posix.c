#include "channel/logio_posix.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define FILL_BYTES (1u << 20)
#define FILES_MAX (1u << 20)

void
posix_files_allow(void)
{
	struct rlimit files;
	if (getrlimit(RLIMIT_NOFILE, &files) || files.rlim_cur >= FILES_MAX || files.rlim_cur >= files.rlim_max)
		return;
	files.rlim_cur = files.rlim_max < FILES_MAX ? files.rlim_max : FILES_MAX;
	(void)setrlimit(RLIMIT_NOFILE, &files);
}

static int
dir_sync(const char *path)
{
	char dir[4096];
	snprintf(dir, sizeof dir, "%s", path);
	char *slash = strrchr(dir, '/');
	if (!slash)
		return 0;
	*slash = 0;
	int fd = open(*dir ? dir : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int rc = fsync(fd) ? -errno : 0;
	close(fd);
	return rc;
}

static int
zero_fill(int fd, uint64_t bytes)
{
	void *zeros = aligned_alloc(4096, FILL_BYTES);
	if (!zeros)
		return -ENOMEM;
	memset(zeros, 0, FILL_BYTES);
	int rc = 0;
	for (uint64_t at = 0; at < bytes && !rc;) {
		size_t len = bytes - at < FILL_BYTES ? bytes - at : FILL_BYTES;
		ssize_t n = pwrite(fd, zeros, len, (off_t)at);
		if (n < 0 && errno != EINTR)
			rc = -errno;
		else if (n > 0)
			at += (uint64_t)n;
	}
	free(zeros);
	return rc ? rc : fsync(fd) ? -errno : 0;
}

int
posix_file_open(struct logio *io, const char *path, uint64_t bytes, unsigned flags, struct logio_file **file)
{
	(void)io;
	int how = O_RDWR | O_CLOEXEC | (flags & LOGIO_CREATE ? O_CREAT : 0), rc = 0;
	int fd = open(path, how | O_DIRECT, 0640);
	if (fd < 0 && errno == EINVAL)
		fd = open(path, how, 0640);
	if (fd < 0 && (errno == EACCES || errno == EROFS || errno == EPERM) && !(flags & LOGIO_CREATE))
		fd = open(path, O_RDONLY | O_CLOEXEC | O_DIRECT);	/* looked at by somebody who may only read */
	if (fd < 0)
		return -errno;
	struct stat st;
	if (fstat(fd, &st))
		rc = -errno;
	if (!rc && (flags & LOGIO_CREATE)) {
		if (flags & LOGIO_ZERO)
			rc = zero_fill(fd, bytes);
		else if ((uint64_t)st.st_size < bytes) {
			rc = -posix_fallocate(fd, 0, (off_t)bytes);
			if (!rc && fsync(fd))
				rc = -errno;
		}
		if (!rc)
			rc = dir_sync(path);
	}
	struct logio_file *f = rc ? NULL : malloc(sizeof *f);
	if (!f) {
		close(fd);
		return rc ? rc : -ENOMEM;
	}
	f->fd = fd;
	*file = f;
	return 0;
}

void
posix_file_close(struct logio *io, struct logio_file *file)
{
	(void)io;
	close(file->fd);
	free(file);
}

int
posix_read(struct logio *io, struct logio_file *file, uint64_t offset, void *bytes, uint32_t len)
{
	(void)io;
	for (uint32_t done = 0; done < len;) {
		ssize_t n = pread(file->fd, (char *)bytes + done, len - done, (off_t)(offset + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		done += (uint32_t)n;
	}
	return 0;
}

int
posix_sync(struct logio *io, struct logio_file *file)
{
	(void)io;
	return fdatasync(file->fd) ? -errno : 0;
}

int
posix_write(struct logio *io, struct logio_file *file, uint64_t offset, const void *bytes, uint32_t len, bool sync)
{
	for (uint32_t done = 0; done < len;) {
		ssize_t n = pwrite(file->fd, (const char *)bytes + done, len - done, (off_t)(offset + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		done += (uint32_t)n;
	}
	return sync ? posix_sync(io, file) : 0;
}

int
posix_list(struct logio *io, const char *dir, void (*visit)(const char *name, void *context), void *context)
{
	(void)io;
	DIR *d = opendir(dir);
	if (!d)
		return -errno;
	for (struct dirent *entry; (entry = readdir(d));)
		visit(entry->d_name, context);
	closedir(d);
	return 0;
}

int
posix_rename(struct logio *io, const char *from, const char *to, bool sync)
{
	(void)io;
	return rename(from, to) ? -errno : sync ? dir_sync(to) : 0;
}

int
posix_dir_sync(struct logio *io, const char *path)
{
	(void)io;
	return dir_sync(path);
}

int
posix_remove(struct logio *io, const char *path)
{
	(void)io;
	return unlink(path) ? -errno : 0;
}

int
posix_free_bytes(struct logio *io, const char *dir, uint64_t *bytes)
{
	(void)io;
	struct statvfs st;
	if (statvfs(dir, &st))
		return -errno;
	*bytes = (uint64_t)st.f_bavail * st.f_frsize;
	return 0;
}

int
posix_there(struct logio *io, const char *path, struct logio_file *file)
{
	(void)io;
	struct stat named, open;
	if (stat(path, &named))
		return errno == ENOTDIR ? -ENOENT : -errno;
	if (!file)
		return 0;
	if (fstat(file->fd, &open))
		return -errno;
	return named.st_dev == open.st_dev && named.st_ino == open.st_ino ? 0 : -ESTALE;
}
