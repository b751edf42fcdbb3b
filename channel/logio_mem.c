/* logio_mem: a disk in memory that can hold back, tear, fail and lose power. Names and sizes of files are durable at once. One thread,
 * but for a lock around everything so that a helper thread may open files. */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "channel/logio.h"

struct logio_file {		/* here: a file of the disk, which outlives its openings */
	struct logio_file *next;
	char *path;
	uint8_t *cache, *disk;	/* what reads see; what survives */
	uint64_t bytes;
};

struct pending {
	struct pending *next;
	struct logio_file *file;
	uint64_t offset;
	uint32_t len;
	uint8_t *bytes;
	bool ended, told, last;	/* last write of its group */
	int status;
	void *context;
};

struct logio_mem {
	struct logio io;
	pthread_mutex_t lock;
	struct logio_file *files;
	struct pending *pending, **pending_end;
	bool hold, dead, aborted;
	uint64_t writes, cut_at, fail_at;
};

static struct logio_mem *
mem_of(struct logio *io)
{
	return (struct logio_mem *)io;
}

static struct logio_file **
find(struct logio_mem *m, const char *path)
{
	struct logio_file **f = &m->files;
	while (*f && strcmp((*f)->path, path))
		f = &(*f)->next;
	return f;
}

static void
memory(struct logio *io, void *bytes, size_t len)
{
	(void)io, (void)bytes, (void)len;
}

static void
resize(struct logio_file *f, uint64_t bytes)
{
	if (bytes <= f->bytes)
		return;
	f->cache = realloc(f->cache, bytes);
	f->disk = realloc(f->disk, bytes);
	assert(f->cache && f->disk);
	memset(f->cache + f->bytes, 0, bytes - f->bytes);
	memset(f->disk + f->bytes, 0, bytes - f->bytes);
	f->bytes = bytes;
}

static int
file_open(struct logio *io, const char *path, uint64_t bytes, unsigned flags, struct logio_file **file)
{
	struct logio_mem *m = mem_of(io);
	int rc = 0;
	pthread_mutex_lock(&m->lock);
	struct logio_file **f = find(m, path);
	if (!*f && !(flags & LOGIO_CREATE))
		rc = -ENOENT;
	else {
		if (!*f) {
			*f = calloc(1, sizeof **f);
			assert(*f);
			(*f)->path = strdup(path);
		}
		if (flags & LOGIO_CREATE)
			resize(*f, bytes);
		*file = *f;
	}
	pthread_mutex_unlock(&m->lock);
	return rc;
}

static void
file_close(struct logio *io, struct logio_file *file)
{
	(void)io, (void)file;
}

/* Counts a write; false when the disk dies in it. */
static bool
count_write(struct logio_mem *m)
{
	return m->dead ? false : m->writes++ < m->cut_at ? true : !(m->dead = true);
}

static int
submit(struct logio *io, struct logio_file *file, uint64_t offset, const struct logio_write *writes, uint32_t count, bool sync, void *context)
{
	(void)sync;
	struct logio_mem *m = mem_of(io);
	pthread_mutex_lock(&m->lock);
	int status = 0;
	for (uint32_t i = 0; i < count; i++) {
		assert((uintptr_t)writes[i].bytes % 4096 == 0 && writes[i].len % 4096 == 0 && offset + writes[i].len <= file->bytes);
		bool was_dead = m->dead, alive = count_write(m);
		if (alive && m->writes > m->fail_at)
			status = -EIO;
		struct pending *p = calloc(1, sizeof *p);
		assert(p);
		*p = (struct pending){ .file = file, .offset = offset, .len = writes[i].len, .bytes = malloc(writes[i].len), .last = i + 1 == count,
			.status = status, .context = context };
		assert(p->bytes);
		memcpy(p->bytes, writes[i].bytes, writes[i].len);
		if (!alive && !was_dead) {	/* torn: half of it arrives for sure, and is no sector's multiple */
			memcpy(file->disk + offset, p->bytes, writes[i].len / 2 + 100);
		}
		if (alive && !status)
			memcpy(file->cache + offset, p->bytes, writes[i].len);
		*m->pending_end = p;
		m->pending_end = &p->next;
		offset += writes[i].len;
	}
	pthread_mutex_unlock(&m->lock);
	return 0;
}

bool
logio_mem_complete(struct logio_mem *m, uint32_t which)
{
	pthread_mutex_lock(&m->lock);
	struct pending *p = m->pending;
	while (p && (p->ended || which)) {
		if (p->last && !p->ended)
			which--;
		p = p->next;
	}
	bool found = p && !m->dead;
	while (found) {
		p->ended = true;
		if (!p->status)
			memcpy(p->file->disk + p->offset, p->bytes, p->len);
		if (p->last)
			break;
		p = p->next;
	}
	pthread_mutex_unlock(&m->lock);
	return found;
}

static int
reap(struct logio *io, struct logio_done *done, int max)
{
	struct logio_mem *m = mem_of(io);
	int n = 0;
	if (!m->hold)
		while (logio_mem_complete(m, 0))
			;
	pthread_mutex_lock(&m->lock);
	for (struct pending **at = &m->pending; *at && n < max;) {
		struct pending *p = *at;
		if (p->told) {
			at = &p->next;
			continue;
		}
		if (!p->ended && m->aborted && p->last) {
			p->told = true;
			done[n++] = (struct logio_done){ .context = p->context, .status = -EIO };
		}
		if (!p->ended) {
			at = &p->next;
			continue;
		}
		if (p->last)
			done[n++] = (struct logio_done){ .context = p->context, .status = p->status };
		*at = p->next;
		free(p->bytes);
		free(p);
	}
	m->pending_end = &m->pending;
	while (*m->pending_end)
		m->pending_end = &(*m->pending_end)->next;
	pthread_mutex_unlock(&m->lock);
	return n;
}

static int
read_file(struct logio *io, struct logio_file *file, uint64_t offset, void *bytes, uint32_t len)
{
	struct logio_mem *m = mem_of(io);
	pthread_mutex_lock(&m->lock);
	int rc = offset + len <= file->bytes ? 0 : -EIO;
	if (!rc)
		memcpy(bytes, file->cache + offset, len);
	pthread_mutex_unlock(&m->lock);
	return rc;
}

static int
write_file(struct logio *io, struct logio_file *file, uint64_t offset, const void *bytes, uint32_t len, bool sync)
{
	struct logio_mem *m = mem_of(io);
	pthread_mutex_lock(&m->lock);
	bool was_dead = m->dead;
	int rc = count_write(m) ? 0 : -EIO;
	if (!rc || !was_dead)
		resize(file, offset + len);
	if (!rc) {
		memcpy(file->cache + offset, bytes, len);
		if (sync)
			memcpy(file->disk + offset, bytes, len);
	} else if (!was_dead && sync)
		memcpy(file->disk + offset, bytes, len / 2 > 60 ? 60 : len / 2);
	pthread_mutex_unlock(&m->lock);
	return rc;
}

static int
sync_file(struct logio *io, struct logio_file *file)
{
	struct logio_mem *m = mem_of(io);
	return m->dead ? -EIO : (memcpy(file->disk, file->cache, file->bytes), 0);
}

static int
list(struct logio *io, const char *dir, void (*visit)(const char *name, void *context), void *context)
{
	struct logio_mem *m = mem_of(io);
	size_t len = strlen(dir);
	for (struct logio_file *f = m->files; f; f = f->next)
		if (!strncmp(f->path, dir, len) && f->path[len] == '/')
			visit(f->path + len + 1, context);
	return 0;
}

static int
rename_file(struct logio *io, const char *from, const char *to)
{
	struct logio_mem *m = mem_of(io);
	pthread_mutex_lock(&m->lock);
	struct logio_file *f = *find(m, from);
	if (f) {
		free(f->path);
		f->path = strdup(to);
	}
	pthread_mutex_unlock(&m->lock);
	return f ? 0 : -ENOENT;
}

static void
file_free(struct logio_file *f)
{
	free(f->path);
	free(f->cache);
	free(f->disk);
	free(f);
}

static int
remove_file(struct logio *io, const char *path)
{
	struct logio_mem *m = mem_of(io);
	pthread_mutex_lock(&m->lock);
	struct logio_file **at = find(m, path), *f = *at;
	if (f) {
		*at = f->next;
		file_free(f);
	}
	pthread_mutex_unlock(&m->lock);
	return f ? 0 : -ENOENT;
}

static int
free_bytes(struct logio *io, const char *dir, uint64_t *bytes)
{
	(void)io, (void)dir;
	*bytes = UINT64_C(1) << 40;
	return 0;
}

static void
close_io(struct logio *io)
{
	(void)io;
}

static const struct logio_ops ops = {
	.name = "mem", .memory = memory, .file_open = file_open, .file_close = file_close, .submit = submit, .reap = reap, .read = read_file,
	.write = write_file, .sync = sync_file, .list = list, .rename = rename_file, .remove = remove_file, .free_bytes = free_bytes,
	.close = close_io,
};

struct logio_mem *
logio_mem_new(void)
{
	struct logio_mem *m = calloc(1, sizeof *m);
	assert(m);
	m->io.ops = &ops;
	m->cut_at = m->fail_at = UINT64_MAX;
	m->pending_end = &m->pending;
	pthread_mutex_init(&m->lock, NULL);
	return m;
}

struct logio *
logio_mem_io(struct logio_mem *m)
{
	return &m->io;
}

static void
pending_drop(struct logio_mem *m)
{
	for (struct pending *p = m->pending, *next; p; p = next) {
		next = p->next;
		free(p->bytes);
		free(p);
	}
	m->pending = NULL;
	m->pending_end = &m->pending;
}

void
logio_mem_free(struct logio_mem *m)
{
	pending_drop(m);
	for (struct logio_file *f = m->files, *next; f; f = next) {
		next = f->next;
		file_free(f);
	}
	pthread_mutex_destroy(&m->lock);
	free(m);
}

void
logio_mem_hold(struct logio_mem *m, bool hold)
{
	m->hold = hold;
}

void
logio_mem_cut_after(struct logio_mem *m, uint64_t n)
{
	m->cut_at = n == UINT64_MAX ? n : m->writes + n;
}

void
logio_mem_fail_after(struct logio_mem *m, uint64_t n)
{
	m->fail_at = n == UINT64_MAX ? n : m->writes + n;
}

void
logio_mem_abort(struct logio_mem *m)
{
	m->aborted = true;
}

uint64_t
logio_mem_writes(const struct logio_mem *m)
{
	return m->writes;
}

void
logio_mem_power_off(struct logio_mem *m, uint64_t seed)
{
	for (struct pending *p = m->pending; p; p = p->next)
		for (uint32_t at = 0; at < p->len && !p->status; at += 512) {
			seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
			if (seed >> 63)
				memcpy(p->file->disk + p->offset + at, p->bytes + at, 512);
		}
	pending_drop(m);
	for (struct logio_file *f = m->files; f; f = f->next)
		if (f->bytes)
			memcpy(f->cache, f->disk, f->bytes);
	m->dead = m->aborted = false;
	m->cut_at = m->fail_at = UINT64_MAX;
}

uint8_t *
logio_mem_bytes(struct logio_mem *m, const char *path, uint64_t *len)
{
	struct logio_file *f = *find(m, path);
	if (f)
		*len = f->bytes;
	return f ? f->cache : NULL;
}
