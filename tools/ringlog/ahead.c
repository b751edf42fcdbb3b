/* ahead: files that are only read, in large pieces, the next ones fetched by threads while the last one is looked at. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel/logio_posix.h"
#include "tools/ringlog/tool.h"

#define PIECE_BYTES (2u << 20)
#define PIECES 6u		/* one that is looked at, and what is under way behind it */
#define FETCHERS 4u

enum piece_state { PIECE_EMPTY, PIECE_WANTED, PIECE_BUSY, PIECE_READY };

struct piece {			/* bytes [index * PIECE_BYTES, ...) of a file */
	uint8_t *bytes;
	int fd;
	uint64_t index;
	ssize_t len;
	enum piece_state state;
};

/* Fetchers turn WANTED pieces into READY ones, the reader does all else; a READY piece is the reader's. */
struct ahead {
	struct logio io;		/* first */
	pthread_t threads[FETCHERS];
	uint32_t thread_count;
	pthread_mutex_t lock;
	pthread_cond_t change;
	bool stop;
	struct piece pieces[PIECES];
	int last_fd;			/* where the reader was: it goes on, or looks at one place only */
	uint64_t last_end;
};

static ssize_t
fetch(const struct piece *p)
{
	size_t done = 0;
	while (done < PIECE_BYTES) {
		ssize_t n = pread(p->fd, p->bytes + done, PIECE_BYTES - done, (off_t)(p->index * PIECE_BYTES + done));
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
		struct piece *p = NULL;
		for (uint32_t i = 0; i < PIECES; i++)
			if (a->pieces[i].state == PIECE_WANTED && (!p || a->pieces[i].index < p->index))
				p = &a->pieces[i];
		if (!p) {
			pthread_cond_wait(&a->change, &a->lock);
			continue;
		}
		p->state = PIECE_BUSY;
		pthread_mutex_unlock(&a->lock);
		ssize_t len = fetch(p);
		pthread_mutex_lock(&a->lock);
		p->len = len;
		p->state = PIECE_READY;
		pthread_cond_broadcast(&a->change);
	}
	pthread_mutex_unlock(&a->lock);
	return NULL;
}

/* Under lock. */
static struct piece *
piece_find(struct ahead *a, int fd, uint64_t index)
{
	for (uint32_t i = 0; i < PIECES; i++)
		if (a->pieces[i].state != PIECE_EMPTY && a->pieces[i].fd == fd && a->pieces[i].index == index)
			return &a->pieces[i];
	return NULL;
}

/* Under lock: asks for the piece, in place of one that nobody will look at again. */
static void
piece_want(struct ahead *a, int fd, uint64_t index, uint64_t needed)
{
	if (piece_find(a, fd, index))
		return;
	for (uint32_t i = 0; i < PIECES; i++) {
		struct piece *p = &a->pieces[i];
		bool kept = p->fd == fd && p->index >= needed && p->index < needed + PIECES;
		if (p->state == PIECE_BUSY || (p->state != PIECE_EMPTY && kept))
			continue;
		p->fd = fd;
		p->index = index;
		p->state = PIECE_WANTED;
		pthread_cond_broadcast(&a->change);
		return;
	}
}

/* The piece that was asked for, once it is there. The reader's until it asks for others. */
static struct piece *
piece_get(struct ahead *a, int fd, uint64_t index)
{
	struct piece *p;
	pthread_mutex_lock(&a->lock);
	for (uint64_t i = index; i < index + PIECES - 1; i++)
		piece_want(a, fd, i, index);
	while (!(p = piece_find(a, fd, index)) || p->state != PIECE_READY) {
		pthread_cond_wait(&a->change, &a->lock);
		piece_want(a, fd, index, index);	/* all were busy with another file before */
	}
	pthread_mutex_unlock(&a->lock);
	return p;
}

static int
ahead_read(struct logio *io, struct logio_file *file, uint64_t offset, void *bytes, uint32_t len)
{
	struct ahead *a = (struct ahead *)io;
	uint8_t *out = bytes;
	if (file->fd < 0)
		return -ENOENT;
	bool near = file->fd == a->last_fd && offset <= a->last_end && offset + PIECE_BYTES > a->last_end;
	if (len <= BLOCK_ALIGN_BYTES && !near)		/* a look at one place only */
		return posix_read(io, file, offset, out, len);
	a->last_fd = file->fd;
	a->last_end = offset + len;
	while (len) {
		const struct piece *p = piece_get(a, file->fd, offset / PIECE_BYTES);
		uint64_t within = offset % PIECE_BYTES;
		if (p->len < 0 || (uint64_t)p->len <= within)	/* the end, or a place that cannot be read: said exactly */
			return posix_read(io, file, offset, out, len);
		uint32_t n = (uint64_t)p->len - within < len ? (uint32_t)((uint64_t)p->len - within) : len;
		memcpy(out, p->bytes + within, n);
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

/* Before a descriptor is closed, and its number perhaps used again: nothing of it is under way or kept. */
static void
ahead_file_close(struct logio *io, struct logio_file *file)
{
	struct ahead *a = (struct ahead *)io;
	pthread_mutex_lock(&a->lock);
	for (uint32_t i = 0; i < PIECES; i++) {
		struct piece *p = &a->pieces[i];
		while (p->fd == file->fd && p->state == PIECE_BUSY)
			pthread_cond_wait(&a->change, &a->lock);
		if (p->fd == file->fd)
			p->state = PIECE_EMPTY;
	}
	pthread_mutex_unlock(&a->lock);
	if (a->last_fd == file->fd)
		a->last_fd = -1;
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
ahead_refuse_rename(struct logio *io, const char *from, const char *to, bool sync)
{
	(void)io, (void)from, (void)to, (void)sync;
	return -EROFS;
}

static int
ahead_refuse_dir_sync(struct logio *io, const char *path)
{
	(void)io, (void)path;
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
	for (uint32_t i = 0; i < a->thread_count; i++)
		pthread_join(a->threads[i], NULL);
	pthread_cond_destroy(&a->change);
	pthread_mutex_destroy(&a->lock);
	for (uint32_t i = 0; i < PIECES; i++)
		free(a->pieces[i].bytes);
	free(a);
}

static const struct logio_ops ahead_ops = {
	.name = "ahead", .file_open = ahead_file_open, .file_close = ahead_file_close, .read = ahead_read, .write = ahead_refuse_write,
	.list = posix_list, .rename = ahead_refuse_rename, .dir_sync = ahead_refuse_dir_sync, .remove = ahead_refuse_remove,
	.free_bytes = posix_free_bytes, .close = ahead_close,
};

int
ahead_open(struct logio **io, struct err *err)
{
	struct ahead *a = calloc(1, sizeof *a);
	if (!a)
		return err_set(err, ENOMEM, "no memory");
	a->io.ops = &ahead_ops;
	a->last_fd = -1;
	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->change, NULL);
	bool ok = true;
	for (uint32_t i = 0; i < PIECES && ok; i++)
		ok = (a->pieces[i].bytes = aligned_alloc(BLOCK_ALIGN_BYTES, PIECE_BYTES)) != NULL;
	while (ok && a->thread_count < FETCHERS && pthread_create(&a->threads[a->thread_count], NULL, fetcher, a) == 0)
		a->thread_count++;
	if (!a->thread_count) {
		ahead_close(&a->io);
		return err_set(err, ENOMEM, "no memory or no thread");
	}
	*io = &a->io;
	return 0;
}
