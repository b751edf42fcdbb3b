/* logio_mem: a disk in memory, and all that can go wrong with one, from one seed. One thread.
 *
 * A file has two images: `cache`, what reads see while the machine runs, and `disk`, what survives a power cut. A write goes to the cache
 * at once and stands in the journal until it is synced; then it goes to the disk. At a power cut each sector of what stands in the
 * journal has arrived or not, in any order, or in another place. Names and sizes of files are durable when the call has returned. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "channel/logio.h"

#define SECTOR_BYTES 512u	/* what arrives whole or not at all */
#define BAD_BYTES 4096u		/* what a latent error makes unreadable */

struct logio_file {		/* here: a file of the disk, which outlives its openings */
	struct logio_file *next;
	char *path;		/* "": removed, but perhaps open */
	uint8_t *cache, *disk;
	uint8_t *bad;		/* one a BAD_BYTES; NULL: none */
	uint64_t bytes;
};

struct write {			/* not synced yet */
	struct write *next;
	struct logio_file *file;
	uint64_t offset;
	uint32_t len;
	bool in_flight, told, last, sync;	/* last of its group */
	bool absent;		/* does not reach the disk */
	bool synced;		/* its place, or part of it, holds what was synced */
	int status;
	void *context;
	uint8_t bytes[];
};

struct logio_mem {
	struct logio io;
	struct logio_mem_counts counts;
	struct logio_file *files;
	struct write *journal, **journal_end;
	bool hold, dead, aborted;
	uint64_t operations, cut_at, fail_at, space;
	struct logio_mem_faults faults;
	uint64_t random;
	unsigned nth_kinds;
	uint64_t nth;
	bool fired;
};

static struct logio_mem *
mem_of(struct logio *io)
{
	return (struct logio_mem *)io;
}

static uint64_t
draw(uint64_t *state)		/* splitmix64 */
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* The fault of this operation fires. */
static bool
fault(struct logio_mem *m, unsigned kind, uint16_t chance)
{
	bool fires = false;
	if ((m->nth_kinds & kind) && m->nth-- == 0) {
		m->nth_kinds = 0;
		m->fired = fires = true;
	} else {
		fires = chance && (uint16_t)draw(&m->random) < chance;
	}
	uint64_t *counts = &m->counts.write_errors;
	switch (kind) {
	case LOGIO_MEM_READ: counts = &m->counts.read_errors; break;
	case LOGIO_MEM_SYNC: counts = &m->counts.sync_errors; break;
	case LOGIO_MEM_OPEN: counts = &m->counts.open_errors; break;
	case LOGIO_MEM_RENAME: counts = &m->counts.rename_errors; break;
	}
	*counts += fires;
	return fires;
}

enum step { STEP_GOOD, STEP_DIES, STEP_DEAD };

/* One more operation that changes something. */
static enum step
step(struct logio_mem *m)
{
	if (m->dead)
		return STEP_DEAD;
	if (m->operations++ < m->cut_at)
		return STEP_GOOD;
	m->dead = true;
	return STEP_DIES;
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

static bool
grow(struct logio_mem *m, struct logio_file *f, uint64_t bytes)
{
	uint64_t used = 0;
	if (bytes <= f->bytes)
		return true;
	for (const struct logio_file *other = m->files; other; other = other->next)
		used += *other->path ? other->bytes : 0;
	if (used + bytes - f->bytes > m->space) {
		m->counts.full++;
		return false;
	}
	f->cache = realloc(f->cache, bytes);
	f->disk = realloc(f->disk, bytes);
	assert(f->cache && f->disk);
	memset(f->cache + f->bytes, 0, bytes - f->bytes);
	memset(f->disk + f->bytes, 0, bytes - f->bytes);
	if (f->bad) {
		f->bad = realloc(f->bad, bytes / BAD_BYTES + 1);
		assert(f->bad);
		memset(f->bad + f->bytes / BAD_BYTES + 1, 0, bytes / BAD_BYTES - f->bytes / BAD_BYTES);
	}
	f->bytes = bytes;
	return true;
}

static int
file_open(struct logio *io, const char *path, uint64_t bytes, unsigned flags, struct logio_file **file)
{
	struct logio_mem *m = mem_of(io);
	struct logio_file **f = find(m, path);
	if (m->dead)
		return -EIO;
	if (!*f && !(flags & LOGIO_CREATE))
		return -ENOENT;
	if (fault(m, LOGIO_MEM_OPEN, m->faults.open))
		return -EIO;
	if (!*f || (flags & LOGIO_ZERO) || ((flags & LOGIO_CREATE) && bytes > (*f)->bytes)) {
		enum step s = step(m);
		if (s == STEP_DEAD || (s == STEP_DIES && draw(&m->random) & 1))
			return -EIO;
	}
	bool made = !*f;
	if (made) {
		*f = calloc(1, sizeof **f);
		assert(*f);
		(*f)->path = strdup(path);
		assert((*f)->path);
	}
	if ((flags & LOGIO_CREATE) && !grow(m, *f, bytes)) {
		if (made)
			(*f)->path[0] = 0;
		return -ENOSPC;
	}
	if ((flags & LOGIO_ZERO) && (*f)->bytes) {
		memset((*f)->cache, 0, (*f)->bytes);
		memset((*f)->disk, 0, (*f)->bytes);
	}
	*file = *f;
	return m->dead ? -EIO : 0;
}

static void
file_close(struct logio *io, struct logio_file *file)
{
	(void)io, (void)file;
}

static void
good_again(struct logio_file *f, uint64_t offset, uint64_t len)
{
	if (f->bad)
		memset(f->bad + offset / BAD_BYTES, 0, (len + BAD_BYTES - 1) / BAD_BYTES);
}

static struct write *
journal_add(struct logio_mem *m, struct logio_file *f, uint64_t offset, const void *bytes, uint32_t len)
{
	struct write *w = malloc(sizeof *w + len);
	assert(w);
	*w = (struct write){ .file = f, .offset = offset, .len = len };
	memcpy(w->bytes, bytes, len);
	*m->journal_end = w;
	m->journal_end = &w->next;
	return w;
}

static void
journal_remove(struct logio_mem *m, struct write **at)
{
	struct write *w = *at;
	*at = w->next;
	if (m->journal_end == &w->next)
		m->journal_end = at;
	free(w);
}

/* Puts the write on the disk. Older ones to the same place cannot undo it any more: they arrive with its bytes, if at all. */
static void
write_sync(struct logio_mem *m, struct write *w)
{
	if (w->absent)
		return;
	memcpy(w->file->disk + w->offset, w->bytes, w->len);
	w->synced = true;
	for (struct write *old = m->journal; old != w; old = old->next) {
		uint64_t from = old->offset > w->offset ? old->offset : w->offset;
		uint64_t to = old->offset + old->len < w->offset + w->len ? old->offset + old->len : w->offset + w->len;
		if (old->file == w->file && from < to) {
			old->synced = true;
			memcpy(old->bytes + (from - old->offset), w->bytes + (from - w->offset), to - from);
		}
	}
}

/* A failed write: nothing of it, a part or all of it has arrived. */
static void
write_fails(struct logio_mem *m, struct logio_file *file, uint64_t offset, const void *bytes, uint32_t len, struct write *w)
{
	uint64_t how = draw(&m->random) % 3;
	uint32_t part = how == 0 ? 0 : how == 1 ? (uint32_t)(draw(&m->random) % len) / SECTOR_BYTES * SECTOR_BYTES : len;
	memcpy(file->cache + offset, bytes, part);
	if (w) {
		w->absent = part != len;
		if (part && part != len)
			journal_add(m, file, offset, bytes, part)->told = true;
	} else if (part)
		journal_add(m, file, offset, bytes, part)->told = true;
}

static int
submit(struct logio *io, struct logio_file *file, uint64_t offset, const struct logio_write *writes, uint32_t count, bool sync, void *context)
{
	struct logio_mem *m = mem_of(io);
	int status = 0;
	struct write *group[LOGIO_WRITES_MAX];
	for (uint32_t i = 0; i < count; i++) {
		uint32_t len = writes[i].len;
		assert((uintptr_t)writes[i].bytes % 4096 == 0 && len % 4096 == 0 && offset + len <= file->bytes);
		enum step s = step(m);
		bool fails = s == STEP_GOOD && (fault(m, LOGIO_MEM_WRITE, m->faults.write) || m->operations > m->fail_at);
		struct write *w = journal_add(m, file, offset, writes[i].bytes, len);
		w->in_flight = true;
		w->sync = sync;
		w->last = i + 1 == count;
		w->context = context;
		w->absent = s == STEP_DEAD;
		if (fails) {
			status = -EIO;
			write_fails(m, file, offset, writes[i].bytes, len, w);
		} else if (s != STEP_DEAD) {
			memcpy(file->cache + offset, writes[i].bytes, len);
			good_again(file, offset, len);
		}
		group[i] = w;
		offset += len;
	}
	for (uint32_t i = 0; i < count; i++)
		group[i]->status = status;
	return 0;
}

/* A sync that failed: some of it has arrived, the rest never will, though reads may see it until the power goes. */
static void
sync_fails(struct logio_mem *m, struct write *w)
{
	if (draw(&m->random) & 1)
		w->absent = true;
}

bool
logio_mem_complete(struct logio_mem *m, uint32_t which)
{
	struct write *w = m->journal;
	if (m->dead)
		return false;
	for (; w; w = w->next)
		if (w->in_flight && !w->told) {
			if (!which)
				break;
			if (w->last)
				which--;
		}
	if (!w)
		return false;
	if (step(m) != STEP_GOOD)
		return false;
	void *context = w->context;
	bool fails = w->sync && fault(m, LOGIO_MEM_SYNC, m->faults.sync);
	for (struct write *next; w; w = next) {
		next = w->next;
		if (!w->in_flight || w->context != context)
			continue;
		bool last = w->last;
		w->in_flight = false;
		if (fails) {
			w->status = -EIO;
			sync_fails(m, w);
		}
		w->told = !last;	/* the last one tells of the group */
		if (!w->status && w->sync)
			write_sync(m, w);
		if (last)
			break;
	}
	return true;
}

static int
reap(struct logio *io, struct logio_done *done, int max)
{
	struct logio_mem *m = mem_of(io);
	int n = 0;
	if (!m->hold)
		while (logio_mem_complete(m, 0))
			;
	for (struct write **at = &m->journal; *at && n < max;) {
		struct write *w = *at;
		if (w->in_flight && m->aborted && w->last && !w->told) {
			w->told = true;
			done[n++] = (struct logio_done){ .context = w->context, .status = -EIO };
		} else if (!w->in_flight && w->last && !w->told) {
			w->told = true;
			done[n++] = (struct logio_done){ .context = w->context, .status = w->status };
		}
		if (!w->in_flight && w->told && w->sync && !w->status)	/* it is on the disk */
			journal_remove(m, at);
		else
			at = &w->next;
	}
	return n;
}

static int
read_file(struct logio *io, struct logio_file *file, uint64_t offset, void *bytes, uint32_t len)
{
	struct logio_mem *m = mem_of(io);
	if (m->dead || offset + len > file->bytes || fault(m, LOGIO_MEM_READ, m->faults.read))
		return -EIO;
	for (uint64_t at = offset / BAD_BYTES; file->bad && at <= (offset + len - 1) / BAD_BYTES; at++)
		if (file->bad[at]) {
			m->counts.bad_reads++;
			return -ENODATA;	/* as a direct read on Linux */
		}
	memcpy(bytes, file->cache + offset, len);
	return 0;
}

/* Reads of a taker that go on meanwhile: they see what stands there when they are waited for, which may have been written over. */
struct logio_reader {
	struct logio_mem *mem;
	struct read { struct logio_file *file; uint64_t offset, operations; void *bytes; uint32_t len; int *status; } reads[LOGIO_READS_MAX];
};

static int
reader_open(struct logio *io, struct logio_reader **reader)
{
	struct logio_reader *r = calloc(1, sizeof *r);
	assert(r);
	r->mem = mem_of(io);
	*reader = r;
	return 0;
}

static int
reader_begin(struct logio_reader *r, struct logio_file *file, uint64_t offset, void *bytes, uint32_t len, int *status)
{
	uint32_t i = 0;
	while (i < LOGIO_READS_MAX && r->reads[i].status)
		i++;
	if (i == LOGIO_READS_MAX)
		return -EAGAIN;
	r->reads[i] = (struct read){ file, offset, r->mem->operations, bytes, len, status };
	*status = LOGIO_READING;
	return 0;
}

static void
reader_wait(struct logio_reader *r, const int *status)
{
	for (uint32_t i = 0; i < LOGIO_READS_MAX; i++) {
		struct read *read = &r->reads[i];
		if (read->status != status)
			continue;
		r->mem->counts.overlapped_reads += read->operations != r->mem->operations;
		*read->status = read_file(&r->mem->io, read->file, read->offset, read->bytes, read->len);
		read->status = NULL;
	}
}

static void
reader_close(struct logio_reader *r)
{
	free(r);
}

static int
write_file(struct logio *io, struct logio_file *file, uint64_t offset, const void *bytes, uint32_t len, bool sync)
{
	struct logio_mem *m = mem_of(io);
	enum step s = step(m);
	if (s == STEP_DEAD)
		return -EIO;
	if (!grow(m, file, offset + len))
		return -ENOSPC;
	if (s == STEP_GOOD && (fault(m, LOGIO_MEM_WRITE, m->faults.write) || m->operations > m->fail_at)) {
		write_fails(m, file, offset, bytes, len, NULL);
		return -EIO;
	}
	memcpy(file->cache + offset, bytes, len);
	good_again(file, offset, len);
	struct write *w = journal_add(m, file, offset, bytes, len);
	w->told = true;
	if (s == STEP_DIES)
		return -EIO;
	if (!sync)
		return 0;
	if (step(m) != STEP_GOOD)
		return -EIO;
	if (fault(m, LOGIO_MEM_SYNC, m->faults.sync)) {
		sync_fails(m, w);
		return -EIO;
	}
	write_sync(m, w);
	struct write **at = &m->journal;
	while (*at != w)
		at = &(*at)->next;
	journal_remove(m, at);
	return 0;
}

static int
sync_file(struct logio *io, struct logio_file *file)
{
	struct logio_mem *m = mem_of(io);
	if (step(m) != STEP_GOOD)
		return -EIO;
	bool fails = fault(m, LOGIO_MEM_SYNC, m->faults.sync);
	for (struct write **at = &m->journal; *at;) {
		struct write *w = *at;
		if (w->file != file || w->in_flight || !w->told) {
			at = &w->next;
			continue;
		}
		if (fails) {
			sync_fails(m, w);
			at = &w->next;
		} else {
			write_sync(m, w);
			journal_remove(m, at);
		}
	}
	return fails ? -EIO : 0;
}

static int
list(struct logio *io, const char *dir, void (*visit)(const char *name, void *context), void *context)
{
	struct logio_mem *m = mem_of(io);
	size_t len = strlen(dir);
	if (m->dead || fault(m, LOGIO_MEM_READ, 0))
		return -EIO;
	for (struct logio_file *f = m->files; f; f = f->next)
		if (!strncmp(f->path, dir, len) && f->path[len] == '/')
			visit(f->path + len + 1, context);
	return 0;
}

static int
rename_file(struct logio *io, const char *from, const char *to, bool sync)	/* not synced: the same, nobody relies on it yet */
{
	(void)sync;
	struct logio_mem *m = mem_of(io);
	struct logio_file *f = *find(m, from);
	if (!f)
		return m->dead ? -EIO : -ENOENT;
	if (fault(m, LOGIO_MEM_RENAME, m->faults.rename))
		return -EIO;
	enum step s = step(m);
	if (s == STEP_DEAD || (s == STEP_DIES && draw(&m->random) & 1))
		return -EIO;
	struct logio_file *old = *find(m, to);
	if (old)
		old->path[0] = 0;
	free(f->path);
	f->path = strdup(to);
	assert(f->path);
	return s == STEP_DIES ? -EIO : 0;
}

static int
dir_sync(struct logio *io, const char *path)
{
	struct logio_mem *m = mem_of(io);
	(void)path;
	if (fault(m, LOGIO_MEM_SYNC, m->faults.sync))
		return -EIO;
	return step(m) == STEP_GOOD ? 0 : -EIO;
}

static void
file_free(struct logio_file *f)
{
	free(f->path);
	free(f->cache);
	free(f->disk);
	free(f->bad);
	free(f);
}

static int
remove_file(struct logio *io, const char *path)
{
	struct logio_mem *m = mem_of(io);
	struct logio_file *f = *find(m, path);
	if (!f)
		return m->dead ? -EIO : -ENOENT;
	if (fault(m, LOGIO_MEM_RENAME, m->faults.rename))
		return -EIO;
	enum step s = step(m);
	if (s == STEP_DEAD || (s == STEP_DIES && draw(&m->random) & 1))
		return -EIO;
	f->path[0] = 0;
	return s == STEP_DIES ? -EIO : 0;
}

static int
free_bytes(struct logio *io, const char *dir, uint64_t *bytes)
{
	(void)dir;
	struct logio_mem *m = mem_of(io);
	uint64_t used = 0;
	for (const struct logio_file *f = m->files; f; f = f->next)
		used += *f->path ? f->bytes : 0;
	*bytes = m->space > used ? m->space - used : 0;
	return 0;
}

static void
close_io(struct logio *io)
{
	(void)io;
}

static int
there(struct logio *io, const char *path, struct logio_file *file)
{
	struct logio_mem *m = mem_of(io);
	struct logio_file *found = m->dead ? NULL : *find(m, path);
	return m->dead ? -EIO : !found ? -ENOENT : file && file != found ? -ESTALE : 0;
}

static const struct logio_ops ops = {
	.name = "mem", .memory = memory, .file_open = file_open, .file_close = file_close, .submit = submit, .reap = reap, .read = read_file,
	.reader_open = reader_open, .reader_begin = reader_begin, .reader_wait = reader_wait, .reader_close = reader_close,
	.write = write_file, .sync = sync_file, .list = list, .rename = rename_file, .dir_sync = dir_sync, .remove = remove_file, .free_bytes = free_bytes,
	.there = there,
	.close = close_io,
};

struct logio_mem *
logio_mem_new(void)
{
	struct logio_mem *m = calloc(1, sizeof *m);
	assert(m);
	m->io.ops = &ops;
	m->cut_at = m->fail_at = UINT64_MAX;
	m->space = UINT64_C(1) << 40;
	m->journal_end = &m->journal;
	return m;
}

struct logio *
logio_mem_io(struct logio_mem *m)
{
	return &m->io;
}

void
logio_mem_free(struct logio_mem *m)
{
	while (m->journal)
		journal_remove(m, &m->journal);
	for (struct logio_file *f = m->files, *next; f; f = next) {
		next = f->next;
		file_free(f);
	}
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
	m->cut_at = n == UINT64_MAX ? n : m->operations + n;
}

bool
logio_mem_dead(const struct logio_mem *m)
{
	return m->dead;
}

void
logio_mem_fail_after(struct logio_mem *m, uint64_t n)
{
	m->fail_at = n == UINT64_MAX ? n : m->operations + n;
}

void
logio_mem_faults(struct logio_mem *m, const struct logio_mem_faults *faults)
{
	m->faults = *faults;
	m->random = faults->seed;
}

void
logio_mem_fail_nth(struct logio_mem *m, unsigned kinds, uint64_t n)
{
	m->nth_kinds = kinds;
	m->nth = n;
	m->fired = false;
}

bool
logio_mem_fired(const struct logio_mem *m)
{
	return m->fired;
}

void
logio_mem_space(struct logio_mem *m, uint64_t bytes)
{
	m->space = bytes;
}

void
logio_mem_abort(struct logio_mem *m)
{
	m->aborted = true;
}

uint64_t
logio_mem_writes(const struct logio_mem *m)
{
	return m->operations;
}

/* How much of what is not synced has arrived: each seed has its way. */
enum arrival { ARRIVES_NOTHING, ARRIVES_ALL, ARRIVES_BY_WRITE, ARRIVES_BY_SECTOR, ARRIVES_BEGINNING, ARRIVES_SHUFFLED, ARRIVALS };

/* Sectors of it that have arrived. */
static uint32_t
write_arrives(struct logio_mem *m, struct write *w, enum arrival how, uint64_t *random, struct write *elsewhere)
{
	static const uint8_t zeros[SECTOR_BYTES];
	uint32_t arrived = 0;
	struct logio_file *f = elsewhere ? elsewhere->file : w->file;
	uint64_t offset = elsewhere ? elsewhere->offset : w->offset;
	uint32_t len = elsewhere && elsewhere->len < w->len ? elsewhere->len : w->len;
	uint32_t stop = how == ARRIVES_BEGINNING ? (uint32_t)(draw(random) % (len + 1)) : len;
	if (w->absent || how == ARRIVES_NOTHING || (how == ARRIVES_BY_WRITE && draw(random) & 1))
		stop = 0;
	for (uint32_t at = 0; at < len; at += SECTOR_BYTES) {
		uint32_t bytes = stop - at < SECTOR_BYTES ? stop - at : SECTOR_BYTES;
		if (at < stop && ((how != ARRIVES_BY_SECTOR && how != ARRIVES_SHUFFLED) || draw(random) & 1)) {
			memcpy(f->disk + offset + at, w->bytes + at, bytes);
			arrived++;
			m->counts.misdirected += elsewhere && elsewhere != w && at == 0;
		} else if (memcmp(f->disk + offset + at, zeros, len - at < SECTOR_BYTES ? len - at : SECTOR_BYTES))
			m->counts.stale++;
	}
	m->counts.lost += !arrived;
	m->counts.torn += arrived && arrived < (w->len + SECTOR_BYTES - 1) / SECTOR_BYTES;
	return arrived;
}

void
logio_mem_power_off(struct logio_mem *m, uint64_t seed)
{
	uint64_t random = seed;
	enum arrival how = (enum arrival)(draw(&random) % ARRIVALS);
	uint32_t count = 0, n = 0;
	for (struct write *w = m->journal; w; w = w->next)
		count++;
	struct write **writes = malloc((count + 1) * sizeof *writes);
	assert(writes);
	for (struct write *w = m->journal; w; w = w->next)
		writes[n++] = w;
	for (uint32_t i = count; how == ARRIVES_SHUFFLED && i > 1; i--) {
		uint32_t other = (uint32_t)(draw(&random) % i);
		struct write *w = writes[i - 1];
		writes[i - 1] = writes[other];
		writes[other] = w;
	}
	bool missing = false;
	for (uint32_t i = 0; i < count; i++) {
		struct write *elsewhere = NULL;
		if (m->faults.misdirect && count > 1 && draw(&random) % 8 == 0) {
			elsewhere = writes[draw(&random) % count];
			if (elsewhere->absent || elsewhere->synced)
				elsewhere = NULL;
		}
		uint32_t arrived = write_arrives(m, writes[i], how, &random, elsewhere);
		m->counts.reordered += arrived && (missing || how == ARRIVES_SHUFFLED);
		missing |= !arrived;
	}
	free(writes);
	while (m->journal)
		journal_remove(m, &m->journal);
	for (struct logio_file **at = &m->files; *at;) {
		struct logio_file *f = *at;
		if (!*f->path) {
			*at = f->next;
			file_free(f);
			continue;
		}
		if (f->bytes)
			memcpy(f->cache, f->disk, f->bytes);
		at = &f->next;
	}
	m->dead = m->aborted = false;
	m->cut_at = m->fail_at = UINT64_MAX;
	m->faults = (struct logio_mem_faults){ 0 };
	m->nth_kinds = 0;
}

const struct logio_mem_counts *
logio_mem_counts(const struct logio_mem *m)
{
	return &m->counts;
}

uint8_t *
logio_mem_bytes(struct logio_mem *m, const char *path, uint64_t *len)
{
	struct logio_file *f = *find(m, path);
	if (f)
		*len = f->bytes;
	return f ? f->cache : NULL;
}

void
logio_mem_rot(struct logio_mem *m, const char *path, uint64_t offset, uint8_t bits)
{
	struct logio_file *f = *find(m, path);
	assert(f && offset < f->bytes);
	f->cache[offset] ^= bits;
	f->disk[offset] = f->cache[offset];
	m->counts.rotted++;
}

void
logio_mem_bad(struct logio_mem *m, const char *path, uint64_t offset)
{
	struct logio_file *f = *find(m, path);
	assert(f && offset < f->bytes);
	if (!f->bad)
		f->bad = calloc(1, f->bytes / BAD_BYTES + 1);
	assert(f->bad);
	f->bad[offset / BAD_BYTES] = 1;
	m->counts.made_bad++;
}
