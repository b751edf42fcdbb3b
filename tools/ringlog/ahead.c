/* ahead: files that are only read, in large pieces, the next one fetched by a thread while the last one is looked at. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel/logio_posix.h"
#include "tools/ringlog/tool.h"

#define PIECE_BYTES (4u << 20)

struct piece {
	uint8_t *bytes;
	int fd;				/* -1: nothing in it */
	uint64_t offset;
	ssize_t len;
};

/* The thread fills `next` while `wanted`; `now` belongs to the reader. */
struct ahead {
	struct logio io;		/* first */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t change;
	bool wanted, stop;
	struct piece now, next;
};

static ssize_t
fetch(struct piece *p)
{
	size_t done = 0;
	while (done < PIECE_BYTES) {
		ssize_t n = pread(p->fd, p->bytes + done, PIECE_BYTES - done, (off_t)(p->offset + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return done ? (ssize_t)done : -1;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

static void *
fetcher(void *context)
{
	struct ahead *a = context;
	pthread_mutex_lock(&a->lock);
	while (!a->stop) {
		if (!a->wanted) {
			pthread_cond_wait(&a->change, &a->lock);
			continue;
		}
		pthread_mutex_unlock(&a->lock);
		ssize_t len = fetch(&a->next);
		pthread_mutex_lock(&a->lock);
		a->next.len = len;
		a->wanted = false;
		pthread_cond_broadcast(&a->change);
	}
	pthread_mutex_unlock(&a->lock);
	return NULL;
}

static void
fetched_wait(struct ahead *a)
{
	pthread_mutex_lock(&a->lock);
	while (a->wanted)
		pthread_cond_wait(&a->change, &a->lock);
	pthread_mutex_unlock(&a->lock);
}

static bool
piece_has(const struct piece *p, int fd, uint64_t offset)
{
	return p->fd == fd && p->len > 0 && offset >= p->offset && offset < p->offset + (uint64_t)p->len;
}

static int
ahead_read(struct logio *io, struct logio_file *file, uint64_t offset, void *bytes, uint32_t len)
{
	struct ahead *a = (struct ahead *)io;
	uint8_t *out = bytes;
	if (file->fd < 0)
		return -ENOENT;
	while (len) {
		if (!piece_has(&a->now, file->fd, offset)) {
			bool onward = a->now.fd == file->fd && offset == a->now.offset + (uint64_t)a->now.len;
			if (len <= BLOCK_ALIGN_BYTES && !onward)	/* a look at one place only */
				return posix_read(io, file, offset, out, len);
			fetched_wait(a);
			struct piece was = a->now;
			if (piece_has(&a->next, file->fd, offset)) {
				a->now = a->next;
				a->next = was;
			} else {
				a->now.fd = file->fd;
				a->now.offset = offset / BLOCK_ALIGN_BYTES * BLOCK_ALIGN_BYTES;
				a->now.len = fetch(&a->now);
			}
			if (!piece_has(&a->now, file->fd, offset)) {	/* the end, or a place that cannot be read: said exactly */
				a->now.fd = -1;
				return posix_read(io, file, offset, out, len);
			}
			if (a->now.len == PIECE_BYTES) {
				a->next.fd = file->fd;
				a->next.offset = a->now.offset + PIECE_BYTES;
				a->next.len = 0;
				pthread_mutex_lock(&a->lock);
				a->wanted = true;
				pthread_cond_broadcast(&a->change);
				pthread_mutex_unlock(&a->lock);
			}
		}
		uint64_t here = a->now.offset + (uint64_t)a->now.len - offset;
		uint32_t n = here < len ? (uint32_t)here : len;
		memcpy(out, a->now.bytes + (offset - a->now.offset), n);
		out += n;
		offset += n;
		len -= n;
	}
	return 0;
}

static int
ahead_file_open(struct logio *io, const char *path, uint64_t bytes, unsigned flags, struct logio_file **file)
{
	(void)io, (void)bytes;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_DIRECT);
	if (fd < 0 && errno == EINVAL)
		fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && !(errno == ENOENT && flags & LOGIO_CREATE))	/* who would make it finds it empty */
		return -errno;
	struct logio_file *f = malloc(sizeof *f);
	if (!f) {
		if (fd >= 0)
			close(fd);
		return -ENOMEM;
	}
	f->fd = fd;
	*file = f;
	return 0;
}

static void
ahead_file_close(struct logio *io, struct logio_file *file)
{
	struct ahead *a = (struct ahead *)io;
	fetched_wait(a);
	if (a->now.fd == file->fd)
		a->now.fd = -1;
	if (a->next.fd == file->fd)
		a->next.fd = -1;
	if (file->fd >= 0)
		close(file->fd);
	free(file);
}

static int
ahead_refuse_write(struct logio *io, struct logio_file *file, uint64_t offset, const void *bytes, uint32_t len, bool sync)
{
	(void)io, (void)file, (void)offset, (void)bytes, (void)len, (void)sync;
	return -EROFS;
}

static int
ahead_refuse_rename(struct logio *io, const char *from, const char *to)
{
	(void)io, (void)from, (void)to;
	return -EROFS;
}

static int
ahead_refuse_remove(struct logio *io, const char *path)
{
	(void)io, (void)path;
	return -EROFS;
}

static void
ahead_close(struct logio *io)
{
	struct ahead *a = (struct ahead *)io;
	pthread_mutex_lock(&a->lock);
	a->stop = true;
	pthread_cond_broadcast(&a->change);
	pthread_mutex_unlock(&a->lock);
	pthread_join(a->thread, NULL);
	pthread_cond_destroy(&a->change);
	pthread_mutex_destroy(&a->lock);
	free(a->now.bytes);
	free(a->next.bytes);
	free(a);
}

static const struct logio_ops ahead_ops = {
	.name = "ahead", .file_open = ahead_file_open, .file_close = ahead_file_close, .read = ahead_read, .write = ahead_refuse_write,
	.list = posix_list, .rename = ahead_refuse_rename, .remove = ahead_refuse_remove, .free_bytes = posix_free_bytes, .close = ahead_close,
};

int
ahead_open(struct logio **io, struct err *err)
{
	struct ahead *a = calloc(1, sizeof *a);
	if (!a)
		return err_set(err, ENOMEM, "no memory");
	a->io.ops = &ahead_ops;
	a->now.fd = a->next.fd = -1;
	a->now.bytes = aligned_alloc(BLOCK_ALIGN_BYTES, PIECE_BYTES);
	a->next.bytes = aligned_alloc(BLOCK_ALIGN_BYTES, PIECE_BYTES);
	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->change, NULL);
	if (!a->now.bytes || !a->next.bytes || pthread_create(&a->thread, NULL, fetcher, a)) {
		free(a->now.bytes);
		free(a->next.bytes);
		free(a);
		return err_set(err, ENOMEM, "no memory or no thread");
	}
	*io = &a->io;
	return 0;
}
