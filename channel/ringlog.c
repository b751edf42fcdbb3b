#include "channel/ringlog.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/crc32c.h"
#include "base/log.h"

#define PATH_BYTES 4096
#define SEARCH_BYTES (1u << 20)

static void
segment_path(const struct ringlog *log, uint64_t index, char *path)
{
	snprintf(path, PATH_BYTES, "%s/segment-%016" PRIx64, log->dirs[index % log->dir_count], index);
}

/* Under the lock. The place of `index` or where it would stand. */
static uint32_t
segment_at(const struct ringlog *log, uint64_t index)
{
	uint32_t i = log->segment_count;
	while (i > 0 && log->segments[i - 1].index >= index)
		i--;
	return i;
}

static int
segment_insert(struct ringlog *log, uint64_t index, struct logio_file *file)
{
	if (log->segment_count == log->segment_room) {
		uint32_t room = log->segment_room ? log->segment_room * 2 : 64;
		struct segment *more = realloc(log->segments, room * sizeof *more);
		if (!more)
			return -ENOMEM;
		log->segments = more;
		log->segment_room = room;
	}
	uint32_t i = segment_at(log, index);
	memmove(&log->segments[i + 1], &log->segments[i], (log->segment_count - i) * sizeof *log->segments);
	log->segments[i] = (struct segment){ .index = index, .file = file };
	log->segment_count++;
	return 0;
}

/* The file of a segment; NULL when there is none. */
static struct logio_file *
segment_file(struct ringlog *log, uint64_t index)
{
	struct logio_file *file = NULL;
	pthread_mutex_lock(&log->lock);
	uint32_t i = segment_at(log, index);
	if (i < log->segment_count && log->segments[i].index == index) {
		if (!log->segments[i].file) {
			char path[PATH_BYTES];
			segment_path(log, index, path);
			(void)log->io->ops->file_open(log->io, path, 0, 0, &log->segments[i].file);
		}
		file = log->segments[i].file;
	}
	pthread_mutex_unlock(&log->lock);
	return file;
}

/* Makes the segment in place, under the lock: a file of that name is never replaced while somebody writes to it. */
static int
segment_make(struct ringlog *log, uint64_t index)
{
	char path[PATH_BYTES];
	struct logio_file *file;
	int rc = 0;
	segment_path(log, index, path);
	pthread_mutex_lock(&log->lock);
	uint32_t i = segment_at(log, index);
	if (i == log->segment_count || log->segments[i].index != index) {	/* else the other thread was faster */
		rc = log->io->ops->file_open(log->io, path, log->segment_bytes, LOGIO_CREATE, &file);
		if (!rc)
			rc = segment_insert(log, index, file);
	}
	pthread_mutex_unlock(&log->lock);
	return rc;
}

struct found {
	struct ringlog *log;
	uint32_t dir;
};

static void
visit_name(const char *name, void *context)
{
	struct found *found = context;
	uint64_t index;
	int end = 0;
	if (sscanf(name, "segment-%16" SCNx64 "%n", &index, &end) == 1 && end == 24 && !name[24] &&
	    index % found->log->dir_count == found->dir)
		(void)segment_insert(found->log, index, NULL);
}

static int
meta_open(struct ringlog *log, uint32_t dir, bool create, struct err *err)
{
	char path[PATH_BYTES];
	struct logio_file *file;
	snprintf(path, sizeof path, "%s/ringlog.meta", log->dirs[dir]);
	struct log_meta *meta = aligned_alloc(4096, META_BYTES);
	if (!meta)
		return err_set(err, ENOMEM, "no memory");
	int rc = log->io->ops->file_open(log->io, path, 0, 0, &file);
	if (!rc) {
		rc = log->io->ops->read(log->io, file, 0, meta, META_BYTES);
		if (rc)
			err_set(err, -rc, "%s: %s", path, strerror(-rc));
		else if (meta->magic != META_MAGIC || meta->crc != crc32c(0, meta, offsetof(struct log_meta, crc)))
			rc = err_set(err, EBADMSG, "%s: is damaged; without it the log cannot be read", path);
		else if (meta->version != FORMAT_VERSION)
			rc = err_set(err, EPROTONOSUPPORT, "%s: version %u is not known, this program writes %u", path, meta->version, FORMAT_VERSION);
		else if (meta->dirs != log->dir_count)
			rc = err_set(err, EINVAL, "%s: the log was made with %u data directories, not %u", path, meta->dirs, log->dir_count);
		else if (dir && memcmp(meta->log_id, log->log_id, LOG_ID_BYTES))
			rc = err_set(err, EINVAL, "%s: belongs to another log than %s", path, log->dirs[0]);
		else {
			memcpy(log->log_id, meta->log_id, LOG_ID_BYTES);
			log->segment_bytes = meta->segment_bytes;
		}
	} else if (rc != -ENOENT || !create) {
		free(meta);
		return err_set(err, -rc, "%s: %s", path, strerror(-rc));
	} else if (!(rc = log->io->ops->file_open(log->io, path, META_BYTES, LOGIO_CREATE, &file))) {
		memset(meta, 0, META_BYTES);
		*meta = (struct log_meta){ .magic = META_MAGIC, .version = FORMAT_VERSION, .segment_bytes = log->segment_bytes,
			.dirs = log->dir_count };
		memcpy(meta->log_id, log->log_id, LOG_ID_BYTES);
		meta->crc = crc32c(0, meta, offsetof(struct log_meta, crc));
		if ((rc = log->io->ops->write(log->io, file, 0, meta, META_BYTES, true)))
			err_set(err, -rc, "%s: %s", path, strerror(-rc));
	} else {
		free(meta);
		return err_set(err, -rc, "%s: %s", path, strerror(-rc));
	}
	log->io->ops->file_close(log->io, file);
	free(meta);
	return rc;
}

static bool
checkpoint_valid(const struct ringlog *log, const struct checkpoint *c)
{
	return c->magic == CHECKPOINT_MAGIC && c->version == FORMAT_VERSION && c->crc == crc32c(0, c, offsetof(struct checkpoint, crc)) &&
	       !memcmp(c->log_id, log->log_id, LOG_ID_BYTES) && c->range_count <= CHECKPOINT_RANGES;
}

static int
checkpoints_open(struct ringlog *log, struct err *err)
{
	static const char *const names[3] = { "checkpoint-0", "checkpoint-1", "checkpoint-soft" };
	struct checkpoint *c = aligned_alloc(4096, CHECKPOINT_BYTES);
	char path[PATH_BYTES];
	int rc = c ? 0 : -ENOMEM;
	uint64_t synced = 0;
	for (int i = 0; i < 5 && !rc; i++) {
		if (i >= 3 && !log->backup_dir)
			break;
		snprintf(path, sizeof path, "%s/%s", i < 3 ? log->checkpoint_dir : log->backup_dir, names[i < 3 ? i : i - 3]);
		struct logio_file **file = i < 3 ? &log->checkpoint_files[i] : &log->backup_files[i - 3];
		rc = log->io->ops->file_open(log->io, path, CHECKPOINT_BYTES, LOGIO_CREATE, file);
		if (rc)
			err_set(err, -rc, "%s: %s", path, strerror(-rc));
		else if (!log->io->ops->read(log->io, *file, 0, c, CHECKPOINT_BYTES) && checkpoint_valid(log, c)) {
			if (i < 2 && c->serial > synced) {
				synced = c->serial;
				log->checkpoint_turn = (unsigned)i ^ 1;	/* the newest copy is not the next to be overwritten */
			}
			if (c->serial > log->checkpoint_serial) {
				memcpy(log->checkpoint, c, sizeof *c);
				log->checkpoint_serial = c->serial;
			}
		}
	}
	free(c);
	return rc;
}

int
ringlog_open(struct ringlog *log, bool create, struct err *err)
{
	assert(log->dir_count >= 1 && log->dir_count <= RINGLOG_DIRS_MAX && log->segment_bytes % BLOCK_ALIGN_BYTES == 0);
	pthread_mutex_init(&log->lock, NULL);
	if (getrandom(log->log_id, sizeof log->log_id, 0) != sizeof log->log_id)
		return err_set(err, EIO, "no random bytes");
	log->checkpoint = aligned_alloc(4096, CHECKPOINT_BYTES);
	if (!log->checkpoint)
		return err_set(err, ENOMEM, "no memory");
	memset(log->checkpoint, 0, CHECKPOINT_BYTES);
	int rc = 0;
	for (uint32_t i = 0; i < log->dir_count && !rc; i++)
		rc = meta_open(log, i, create, err);
	for (uint32_t i = 0; i < log->dir_count && !rc; i++) {
		rc = log->io->ops->list(log->io, log->dirs[i], visit_name, &(struct found){ .log = log, .dir = i });
		if (rc)
			err_set(err, -rc, "%s: %s", log->dirs[i], strerror(-rc));
	}
	if (!rc && log->checkpoint_dir)
		rc = checkpoints_open(log, err);
	return rc;
}

void
ringlog_close(struct ringlog *log)
{
	for (uint32_t i = 0; i < log->segment_count; i++)
		if (log->segments[i].file)
			log->io->ops->file_close(log->io, log->segments[i].file);
	for (int i = 0; i < 3; i++)
		if (log->checkpoint_files[i])
			log->io->ops->file_close(log->io, log->checkpoint_files[i]);
	for (int i = 0; i < 2; i++)
		if (log->backup_files[i])
			log->io->ops->file_close(log->io, log->backup_files[i]);
	for (uint32_t i = 0; i < log->dir_count; i++)
		if (log->spare[i])
			log->io->ops->file_close(log->io, log->spare[i]);
	free(log->segments);
	free(log->checkpoint);
	pthread_mutex_destroy(&log->lock);
}

int
ringlog_read(struct ringlog *log, uint64_t position, void *bytes, uint32_t len)
{
	struct logio_file *file = segment_file(log, position / log->segment_bytes);
	uint64_t offset = position % log->segment_bytes;
	if (!file || offset + len > log->segment_bytes)
		return -ENOENT;
	return log->io->ops->read(log->io, file, offset, bytes, len);
}

struct scan {
	struct ringlog *log;
	uint8_t *bytes;			/* of one group, grows */
	uint64_t room;
	uint8_t *search;		/* SEARCH_BYTES */
	const char *wrong;
};

static bool
scan_room(struct scan *scan, uint64_t bytes)
{
	if (bytes <= scan->room)
		return true;
	uint8_t *more = aligned_alloc(4096, bytes);
	if (!more)
		return false;
	if (scan->room)
		memcpy(more, scan->bytes, scan->room);
	free(scan->bytes);
	scan->bytes = more;
	scan->room = bytes;
	return true;
}

static const char *
header_wrong(const struct ringlog *log, const struct block_header *h, uint64_t position)
{
	const char *wrong = block_check_header((const uint8_t *)h);
	if (wrong)
		return wrong;
	if (memcmp(h->log_id, log->log_id, LOG_ID_BYTES))
		return "block of another log";
	if (h->position != position)
		return "block of another position";
	if (position % log->segment_bytes + h->bytes > log->segment_bytes)
		return "block exceeds its segment";
	return NULL;
}

/* Reads and checks the whole group at `position`. Returns its bytes, 0 when there is none; *crc is its group CRC. */
static uint64_t
group_read(struct scan *scan, uint64_t position, uint32_t *crc)
{
	struct ringlog *log = scan->log;
	uint64_t bytes = 0;
	uint32_t count = 1, epoch = 0, chain = 0, group_crc = 0;
	uint64_t end = 0, events = 0;
	for (uint32_t i = 0; i < count; i++) {
		if (!scan_room(scan, bytes + BLOCK_ALIGN_BYTES) || ringlog_read(log, position + bytes, scan->bytes + bytes, BLOCK_ALIGN_BYTES))
			return scan->wrong = "cannot be read", 0;
		const struct block_header *h = (const struct block_header *)(scan->bytes + bytes);
		if ((scan->wrong = header_wrong(log, h, position + bytes)))
			return 0;
		uint64_t len = h->bytes;
		if (!scan_room(scan, bytes + len) || ringlog_read(log, position + bytes, scan->bytes + bytes, (uint32_t)len))
			return scan->wrong = "cannot be read", 0;
		h = (const struct block_header *)(scan->bytes + bytes);
		if ((scan->wrong = block_check(scan->bytes + bytes, len)))
			return 0;
		if (i == 0) {
			count = h->group_count;
			epoch = h->epoch;
			chain = h->previous_crc;
			end = h->previous_end;
		} else if (h->first_event != events)
			return scan->wrong = "numbers are not dense", 0;
		if (h->group_index != i || h->group_count != count || h->group_position != position || h->epoch != epoch ||
		    h->previous_crc != chain || h->previous_end != end)
			return scan->wrong = "blocks of different groups", 0;
		events = h->first_event + h->events;
		group_crc = crc32c(group_crc, &h->header_crc, sizeof h->header_crc);
		bytes += len;
	}
	*crc = group_crc;
	return bytes;
}

/* The first position at or behind `from` where a whole group stands whose epoch is at least `epoch` and, with `durable`, whose `durable`
 * lies above `from`. UINT64_MAX: none. */
static uint64_t
group_search(struct scan *scan, uint64_t from, uint32_t epoch, bool durable)
{
	struct ringlog *log = scan->log;
	for (uint32_t i = 0; i < log->segment_count; i++) {
		uint64_t begin = log->segments[i].index * log->segment_bytes, end = begin + log->segment_bytes;
		if (end <= from)
			continue;
		for (uint64_t at = begin > from ? begin : from; at < end;) {
			uint32_t len = end - at < SEARCH_BYTES ? (uint32_t)(end - at) : SEARCH_BYTES;
			if (ringlog_read(log, at, scan->search, len)) {
				if (len > BLOCK_ALIGN_BYTES)	/* a bad sector: go round it */
					len = BLOCK_ALIGN_BYTES;
				if (ringlog_read(log, at, scan->search, len)) {
					at += len;
					continue;
				}
			}
			for (uint32_t o = 0; o < len; o += BLOCK_ALIGN_BYTES) {
				const struct block_header *h = (const struct block_header *)(scan->search + o);
				uint32_t crc;
				if (h->magic != BLOCK_MAGIC || header_wrong(log, h, at + o) || h->group_index || h->epoch < epoch ||
				    (durable && h->durable <= from))
					continue;
				if (group_read(scan, at + o, &crc))
					return at + o;
			}
			at += len;
		}
	}
	return UINT64_MAX;
}

static int
recover(struct scan *scan, void (*visit)(const struct block_header *block, const uint8_t *bytes, void *context),
	void (*damage)(uint64_t from, uint64_t to, const char *what, void *context), void *context)
{
	struct ringlog *log = scan->log;
	const struct checkpoint *c = log->checkpoint;
	bool chained = log->checkpoint_serial != 0;	/* previous_crc is known */
	uint64_t at = c->position, end = at;
	uint32_t crc, previous = c->previous_crc, epoch = 0;
	const char *wrong = NULL;
	if (!log->checkpoint_serial) {
		at = end = group_search(scan, 0, 0, false);
		if (at == UINT64_MAX)
			at = end = 0;
		uint64_t begin = at / log->segment_bytes * log->segment_bytes;
		if (at != begin) {	/* a segment always begins with a group */
			(void)group_read(scan, begin, &crc);
			log->damage_count++;
			log->damage_bytes += at - begin;
			if (damage)
				damage(begin, at, scan->wrong, context);
		}
	}
	log->first_position = at;
	for (;;) {
		uint64_t bytes = group_read(scan, at, &crc);
		if (at == end)
			wrong = scan->wrong;
		const struct block_header *h = (const struct block_header *)scan->bytes;
		if (bytes && (h->epoch < epoch || (chained && (h->previous_crc != previous || h->previous_end != end)))) {
			bytes = 0;
			wrong = "does not follow the group before";
		}
		if (!bytes) {
			uint64_t next = (end + log->segment_bytes - 1) / log->segment_bytes * log->segment_bytes;
			if (at == end && next != end) {		/* perhaps it did not fit in the segment */
				at = next;
				continue;
			}
			/* damage or the torn tail? */
			uint64_t found = group_search(scan, end, epoch, true);
			if (found == UINT64_MAX)
				break;
			log->damage_count++;
			log->damage_bytes += found - end;
			if (damage)
				damage(end, found, wrong, context);
			at = end = found;
			chained = false;
			continue;
		}
		for (uint64_t o = 0; o < bytes;) {
			h = (const struct block_header *)(scan->bytes + o);
			visit(h, scan->bytes + o, context);
			o += h->bytes;
		}
		epoch = h->epoch;
		if (log->epoch < epoch)
			log->epoch = epoch;
		at = end = at + bytes;
		previous = crc;
		chained = true;
	}
	log->position = end;
	log->previous_crc = previous;
	return 0;
}

int
ringlog_recover(struct ringlog *log, bool repair, void (*visit)(const struct block_header *block, const uint8_t *bytes, void *context),
		void (*damage)(uint64_t from, uint64_t to, const char *what, void *context), void *context, struct err *err)
{
	struct scan scan = { .log = log, .search = aligned_alloc(4096, SEARCH_BYTES) };
	if (!scan.search)
		return err_set(err, ENOMEM, "no memory");
	log->epoch = log->checkpoint->epoch;
	int rc = recover(&scan, visit, damage, context);
	free(scan.search);
	free(scan.bytes);
	if (rc || !repair)
		return rc;
	/* What was read may stand in a cache only; from here on it counts as durable. */
	for (uint32_t i = 0; i < log->segment_count && !rc; i++)
		if ((log->segments[i].index + 1) * log->segment_bytes > log->first_position && segment_file(log, log->segments[i].index))
			rc = log->io->ops->sync(log->io, log->segments[i].file);
	if (rc)
		return err_set(err, -rc, "%s: sync: %s", log->dirs[0], strerror(-rc));
	log->epoch++;
	return 0;
}

int
ringlog_place(struct ringlog *log, uint32_t bytes, uint64_t *position, struct logio_file **file, uint64_t *offset)
{
	uint64_t left = log->segment_bytes - log->position % log->segment_bytes;
	uint64_t at = left < bytes ? log->position + left : log->position;
	uint64_t index = at / log->segment_bytes;
	*file = segment_file(log, index);
	if (!*file) {		/* the helper was too slow: without zeros it is right too, only slower */
		int rc = segment_make(log, index);
		if (rc)
			return rc;
		if (!(*file = segment_file(log, index)))
			return -EIO;
	}
	*position = at;
	*offset = at % log->segment_bytes;
	log->position = at + bytes;
	return 0;
}

int
ringlog_checkpoint(struct ringlog *log, bool sync)
{
	struct checkpoint *c = log->checkpoint;
	c->magic = CHECKPOINT_MAGIC;
	c->version = FORMAT_VERSION;
	memcpy(c->log_id, log->log_id, LOG_ID_BYTES);
	c->epoch = log->epoch;
	c->serial = log->checkpoint_serial + 1;
	c->crc = crc32c(0, c, offsetof(struct checkpoint, crc));
	unsigned which = sync ? log->checkpoint_turn : 2;
	int rc = log->io->ops->write(log->io, log->checkpoint_files[which], 0, c, CHECKPOINT_BYTES, sync);
	if (rc) {
		atomic_fetch_add(&log->checkpoint_errors, 1);
		return rc;
	}
	log->checkpoint_serial++;
	if (sync) {
		log->checkpoint_position = c->position;
		log->checkpoint_turn ^= 1;
	}
	if (sync && log->backup_dir && log->io->ops->write(log->io, log->backup_files[which], 0, c, CHECKPOINT_BYTES, true))
		atomic_fetch_add(&log->backup_errors, 1);
	return 0;
}

/* Under the lock. */
static bool
segment_has(const struct ringlog *log, uint64_t index)
{
	uint32_t i = segment_at(log, index);
	return i < log->segment_count && log->segments[i].index == index;
}

void
ringlog_tend(struct ringlog *log, uint64_t position)
{
	uint64_t next = position / log->segment_bytes + 1, free_bytes;
	char from[PATH_BYTES], to[PATH_BYTES], spare[PATH_BYTES];
	if (!log->io->ops->free_bytes(log->io, log->dirs[next % log->dir_count], &free_bytes))
		if (atomic_exchange(&log->no_space, free_bytes < log->required_space) != (free_bytes < log->required_space))
			log_warn("%s: %" PRIu64 " bytes free, minimumRequiredSpace is %" PRIu64 ": the channel %s", log->dirs[next % log->dir_count],
				 free_bytes, log->required_space,
				 free_bytes < log->required_space ? "takes nothing in, and drains" : "takes events in again");
	for (uint64_t index = next - 1; index <= next; index++) {
		if (segment_file(log, index))
			continue;
		uint32_t dir = index % log->dir_count;
		snprintf(spare, sizeof spare, "%s/segment-spare", log->dirs[dir]);
		segment_path(log, index, to);
		/* The oldest segment that nobody needs, of the same directory; renamed and listed before the writer can look again. */
		bool made = false;
		pthread_mutex_lock(&log->lock);
		for (uint32_t i = 0; i < log->segment_count && !made; i++) {
			struct segment *old = &log->segments[i];
			if ((old->index + 1) * log->segment_bytes > log->checkpoint_position)
				break;
			if (old->index % log->dir_count != dir || segment_has(log, index))
				continue;
			segment_path(log, old->index, from);
			struct logio_file *file = old->file;
			if (log->io->ops->rename(log->io, from, to))
				break;
			memmove(old, old + 1, (--log->segment_count - i) * sizeof *old);
			made = segment_insert(log, index, file) == 0;
			break;
		}
		pthread_mutex_unlock(&log->lock);
		if (made || atomic_load(&log->no_space))
			continue;
		if (!log->spare[dir] && log->io->ops->file_open(log->io, spare, log->segment_bytes, LOGIO_CREATE | LOGIO_ZERO, &log->spare[dir]))
			continue;
		pthread_mutex_lock(&log->lock);
		if (!segment_has(log, index) && log->io->ops->rename(log->io, spare, to) == 0 &&
		    segment_insert(log, index, log->spare[dir]) == 0)
			log->spare[dir] = NULL;
		pthread_mutex_unlock(&log->lock);
	}
}
