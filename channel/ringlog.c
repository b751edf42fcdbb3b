#include "channel/ringlog.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/crc32c.h"
#include "base/log.h"

#define SEGMENTS_AHEAD 8u	/* at most, and of spare_bytes, beside the next one: a writer at the disk's speed passes one in 20 ms */
#define PATH_BYTES RINGLOG_PATH_BYTES

void
ringlog_segment_path(const struct ringlog *log, uint64_t index, char *path)
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

/* Under one of the locks. */
static bool
segment_has(const struct ringlog *log, uint64_t index)
{
	uint32_t i = segment_at(log, index);
	return i < log->segment_count && log->segments[i].index == index;
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

int
ringlog_segment_open(struct ringlog *log, uint64_t index, struct logio_file **file)
{
	int rc = -ENOENT;
	*file = NULL;
	pthread_mutex_lock(&log->lock);
	uint32_t i = segment_at(log, index);
	if (i < log->segment_count && log->segments[i].index == index) {
		rc = 0;
		if (!log->segments[i].file) {
			char path[PATH_BYTES];
			ringlog_segment_path(log, index, path);
			rc = log->io->ops->file_open(log->io, path, 0, 0, &log->segments[i].file);
		}
		*file = log->segments[i].file;
	}
	pthread_mutex_unlock(&log->lock);
	return rc;
}

struct logio_file *
ringlog_segment(struct ringlog *log, uint64_t index)
{
	struct logio_file *file;
	(void)ringlog_segment_open(log, index, &file);
	return file;
}

bool
ringlog_segment_begin(struct ringlog *log, uint64_t index, uint64_t *end, uint32_t *epoch)
{
	pthread_mutex_lock(&log->lock);
	uint32_t i = segment_at(log, index);
	bool begins = i < log->segment_count && log->segments[i].index == index && log->segments[i].begins;
	if (begins) {
		*end = log->segments[i].begin_end;
		*epoch = log->segments[i].begin_epoch;
	}
	pthread_mutex_unlock(&log->lock);
	return begins;
}

/* Makes the segment in place, with make_lock: a file of that name is never replaced while somebody writes to it. */
static int
segment_make(struct ringlog *log, uint64_t index)
{
	char path[PATH_BYTES];
	struct logio_file *file;
	int rc = 0;
	ringlog_segment_path(log, index, path);
	pthread_mutex_lock(&log->make_lock);
	if (!segment_has(log, index)) {	/* else the other thread was faster */
		rc = log->io->ops->file_open(log->io, path, log->segment_bytes, LOGIO_CREATE, &file);
		if (!rc) {
			pthread_mutex_lock(&log->lock);
			rc = segment_insert(log, index, file);
			pthread_mutex_unlock(&log->lock);
		} else if (rc == -ENOSPC || rc == -EDQUOT) {
			(void)log->io->ops->remove(log->io, path);	/* a part of it: the next start would take it for damage */
		}
	}
	pthread_mutex_unlock(&log->make_lock);
	return rc;
}

struct found {
	struct ringlog *log;
	uint32_t dir;
	bool misplaced;			/* a segment of another directory's stands here: index */
	uint64_t index;
};

static void
visit_name(const char *name, void *context)
{
	struct found *found = context;
	uint64_t index;
	int end = 0;
	if (sscanf(name, "segment-%16" SCNx64 "%n", &index, &end) != 1 || end != 24 || name[24])
		return;
	if (index % found->log->dir_count == found->dir)
		(void)segment_insert(found->log, index, NULL);
	else {
		found->misplaced = true;
		found->index = index;
	}
}

/* Written beside and renamed: a crash leaves the old one, or none, but no half one. */
static int
meta_write(struct ringlog *log, const char *path, struct log_meta *meta, struct err *err)
{
	const struct logio_ops *ops = log->io->ops;
	char fresh[PATH_BYTES + 8];
	struct logio_file *file;
	snprintf(fresh, sizeof fresh, "%s.new", path);
	memset(meta, 0, META_BYTES);
	*meta = (struct log_meta){ .magic = META_MAGIC, .version = FORMAT_VERSION, .segment_bytes = log->segment_bytes, .dirs = log->dir_count };
	memcpy(meta->log_id, log->log_id, LOG_ID_BYTES);
	meta->crc = crc32c(0, meta, offsetof(struct log_meta, crc));
	memcpy(meta->host_id, log->host_id, HOST_ID_BYTES);
	meta->host_crc = crc32c(0, meta, offsetof(struct log_meta, host_crc));
	int rc = ops->file_open(log->io, fresh, META_BYTES, LOGIO_CREATE, &file);
	if (!rc) {
		rc = ops->write(log->io, file, 0, meta, META_BYTES, true);
		ops->file_close(log->io, file);
	}
	if (!rc)
		rc = ops->rename(log->io, fresh, path, true);
	return rc ? err_set(err, -rc, "%s: %s", path, strerror(-rc)) : 0;
}

static void
id_text(const uint8_t *id, char *text)
{
	for (int i = 0; i < (int)HOST_ID_BYTES; i++)
		snprintf(text + 2 * i, 3, "%02x", id[i]);
}

/* The log was written on this host, or nobody knows, or it is taken over. *stale: the file names another host or an older version. */
static int
meta_check(struct ringlog *log, const char *path, const struct log_meta *meta, bool *stale, struct err *err)
{
	static const uint8_t nobody[HOST_ID_BYTES];
	char theirs[2 * HOST_ID_BYTES + 1], mine[2 * HOST_ID_BYTES + 1];
	if (meta->magic != META_MAGIC || meta->crc != crc32c(0, meta, offsetof(struct log_meta, crc)))
		return err_set(err, EBADMSG, "%s: is damaged; without it the log cannot be read%s", path,
			       log->dir_count > 1 ? " (copy it from another data directory of the log)" : "");
	if (meta->version > FORMAT_VERSION || meta->version == 0)
		return err_set(err, EPROTONOSUPPORT, "%s: format version %u is not known, this program knows up to %u", path, meta->version,
			       FORMAT_VERSION);
	if (meta->version > 1 && meta->host_crc != crc32c(0, meta, offsetof(struct log_meta, host_crc)))
		return err_set(err, EBADMSG, "%s: is damaged; without it the log cannot be read", path);
	if (meta->dirs != log->dir_count)
		return err_set(err, EINVAL, "%s: the log was made with %u data directories, not %u", path, meta->dirs, log->dir_count);
	if (log->id_known && memcmp(meta->log_id, log->log_id, LOG_ID_BYTES))
		return err_set(err, EINVAL, "%s: belongs to another log than %s", path, log->dirs[0]);
	bool other = meta->version > 1 && memcmp(meta->host_id, nobody, HOST_ID_BYTES) && memcmp(log->host_id, nobody, HOST_ID_BYTES) &&
		     memcmp(meta->host_id, log->host_id, HOST_ID_BYTES);
	if (other && !log->adopt) {
		id_text(meta->host_id, theirs);
		id_text(log->host_id, mine);
		return err_set(err, EINVAL, "%s: the log was written on another host (machine id %s, this one is %s); if it was moved here on "
			       "purpose and nobody else uses it, set penstock.adoptLog = true", path, theirs, mine);
	}
	*stale = other || meta->version < FORMAT_VERSION;
	return 0;
}

/* *missing: there is none, and one may be made. */
static int
meta_open(struct ringlog *log, uint32_t dir, bool create, bool *missing, struct err *err)
{
	const struct logio_ops *ops = log->io->ops;
	char path[PATH_BYTES];
	struct logio_file *file;
	bool stale = false;
	snprintf(path, sizeof path, "%s/ringlog.meta", log->dirs[dir]);
	struct log_meta *meta = aligned_alloc(4096, META_BYTES);
	if (!meta)
		return err_set(err, ENOMEM, "no memory");
	int rc = ops->file_open(log->io, path, 0, 0, &file);
	if (!rc) {
		rc = ops->read(log->io, file, 0, meta, META_BYTES);
		ops->file_close(log->io, file);
		if (rc)
			err_set(err, -rc, "%s: %s", path, strerror(-rc));
		else if (!(rc = meta_check(log, path, meta, &stale, err))) {
			memcpy(log->log_id, meta->log_id, LOG_ID_BYTES);
			log->id_known = true;
			log->segment_bytes = meta->segment_bytes;
			if (stale && create)	/* before anything of this version is written, so that an older program refuses it */
				rc = meta_write(log, path, meta, err);
		}
	} else if (rc == -ENOENT && create) {
		*missing = true;
		rc = 0;
	} else
		err_set(err, -rc, "%s: %s", path, strerror(-rc));
	free(meta);
	return rc;
}

/* Makes the meta files of a new log, or the rest of them when a crash came between. A directory without one beside others with segments is
 * one whose disk is not there: a fresh start in it would lose what it held. */
static int
metas_make(struct ringlog *log, const bool *missing, struct err *err)
{
	char path[PATH_BYTES];
	struct log_meta *meta = aligned_alloc(4096, META_BYTES);
	int rc = meta ? 0 : err_set(err, ENOMEM, "no memory");
	for (uint32_t i = 0; i < log->dir_count && !rc; i++) {
		if (!missing[i])
			continue;
		snprintf(path, sizeof path, "%s/ringlog.meta", log->dirs[i]);
		if (log->segment_count)
			rc = err_set(err, ENOENT, "%s: is not there, though the log has segments: is the disk of that directory mounted?", path);
		else
			rc = meta_write(log, path, meta, err);
	}
	free(meta);
	return rc;
}

int
ringlog_open(struct ringlog *log, bool create, struct err *err)
{
	assert(log->dir_count >= 1 && log->dir_count <= RINGLOG_DIRS_MAX && log->segment_bytes % BLOCK_ALIGN_BYTES == 0);
	pthread_mutex_init(&log->make_lock, NULL);
	pthread_mutex_init(&log->lock, NULL);
	log->scan_limit = UINT64_MAX;
	log->reserve_index = UINT64_MAX;
	if (getrandom(log->log_id, sizeof log->log_id, 0) != sizeof log->log_id)
		return err_set(err, EIO, "no random bytes");
	log->checkpoint = aligned_alloc(4096, CHECKPOINT_BYTES);
	if (!log->checkpoint)
		return err_set(err, ENOMEM, "no memory");
	memset(log->checkpoint, 0, CHECKPOINT_BYTES);
	int rc = 0;
	bool missing[RINGLOG_DIRS_MAX] = { false };
	for (uint32_t i = 0; i < log->dir_count && !rc; i++)
		rc = meta_open(log, i, create, &missing[i], err);
	for (uint32_t i = 0; i < log->dir_count && !rc; i++) {
		struct found found = { .log = log, .dir = i };
		rc = log->io->ops->list(log->io, log->dirs[i], visit_name, &found);
		if (!rc && found.misplaced) {
			rc = err_set(err, EINVAL, "%s: segment-%016" PRIx64 " belongs into %s: are the directories in another order than before?",
				     log->dirs[i], found.index, log->dirs[found.index % log->dir_count]);
			break;
		}
		if (rc)
			err_set(err, -rc, "%s: %s", log->dirs[i], strerror(-rc));
	}
	if (!rc && create)
		rc = metas_make(log, missing, err);
	if (!rc && create)
		rc = ringlog_metas_hold(log, err);
	if (!rc && log->checkpoint_dir)
		rc = ringlog_checkpoints_open(log, err);
	atomic_store(&log->keep_position, UINT64_MAX);
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
		if (log->reserve[i])
			log->io->ops->file_close(log->io, log->reserve[i]);
	for (uint32_t i = 0; i < log->dir_count; i++)
		if (log->metas[i])
			log->io->ops->file_close(log->io, log->metas[i]);
	for (uint32_t i = 0; i < log->dir_count; i++)
		if (log->spare[i])
			log->io->ops->file_close(log->io, log->spare[i]);
	keyring_close(log->keys);
	free(log->segments);
	free(log->fences);
	free(log->checkpoint);
	pthread_mutex_destroy(&log->make_lock);
	pthread_mutex_destroy(&log->lock);
}

bool
ringlog_begin(struct ringlog *log, uint64_t position, uint32_t previous_crc, bool known)
{
	uint64_t oldest = log->segment_count ? log->segments[0].index * log->segment_bytes : 0;
	if (known && log->segment_count && oldest > position)
		return false;
	log->scan_limit = known ? position : oldest;
	log->scan_crc = previous_crc;
	log->scan_chained = known;
	return true;
}

/* A direct read answers with what the device said: ENODATA for a bad sector, EILSEQ, ETIMEDOUT, ENOLINK ... To all above they are one. */
int
ringlog_read(struct ringlog *log, uint64_t position, void *bytes, uint32_t len)
{
	struct logio_file *file;
	int rc = ringlog_segment_open(log, position / log->segment_bytes, &file);
	uint64_t offset = position % log->segment_bytes;
	if (rc == -ENOENT || offset + len > log->segment_bytes)
		return -ENOENT;
	atomic_fetch_add_explicit(&log->read_bytes, len, memory_order_relaxed);
	return rc || log->io->ops->read(log->io, file, offset, bytes, len) ? -EIO : 0;
}

int
ringlog_read_begin(struct ringlog *log, struct logio_reader *reader, uint64_t position, void *bytes, uint32_t len, int *status)
{
	if (!reader)
		return *status = ringlog_read(log, position, bytes, len);
	struct logio_file *file;
	int rc = ringlog_segment_open(log, position / log->segment_bytes, &file);
	uint64_t offset = position % log->segment_bytes;
	if (rc || offset + len > log->segment_bytes)
		return rc ? rc : -ENOENT;
	atomic_fetch_add_explicit(&log->read_bytes, len, memory_order_relaxed);
	return log->io->ops->reader_begin(reader, file, offset, bytes, len, status);
}

/* The reserve becomes segment `index`. */
static bool
reserve_use(struct ringlog *log, uint64_t index)
{
	char from[PATH_BYTES], to[PATH_BYTES];
	uint32_t dir = index % log->dir_count;
	bool made = false;
	snprintf(from, sizeof from, "%s/segment-reserve", log->dirs[dir]);
	ringlog_segment_path(log, index, to);
	pthread_mutex_lock(&log->make_lock);
	pthread_mutex_lock(&log->lock);
	if (log->reserve[dir] && log->io->ops->rename(log->io, from, to, true) == 0 && segment_insert(log, index, log->reserve[dir]) == 0) {
		log->reserve[dir] = NULL;
		log->reserve_index = index;
		made = true;
	}
	pthread_mutex_unlock(&log->lock);
	pthread_mutex_unlock(&log->make_lock);
	return made;
}

static int
place(struct ringlog *log, uint32_t bytes, bool state, uint64_t *position, struct logio_file **file, uint64_t *offset)
{
	uint64_t left = log->segment_bytes - log->position % log->segment_bytes;
	uint64_t at = left < bytes ? log->position + left : log->position;
	uint64_t index = at / log->segment_bytes;
	pthread_mutex_lock(&log->lock);
	bool reserved = index == log->reserve_index && !log->reserve[index % log->dir_count];
	pthread_mutex_unlock(&log->lock);
	if (reserved && !state)
		return -ENOSPC;
	*file = ringlog_segment(log, index);
	if (!*file) {		/* the helper was too slow: without zeros it is right too, only slower */
		int rc = segment_make(log, index);
		if (rc && state && reserve_use(log, index))
			rc = 0;
		if (rc)
			return rc;
		if (!(*file = ringlog_segment(log, index)))
			return -EIO;
	}
	*position = at;
	*offset = at % log->segment_bytes;
	log->position = at + bytes;
	return 0;
}

int
ringlog_place(struct ringlog *log, uint32_t bytes, uint64_t *position, struct logio_file **file, uint64_t *offset)
{
	return place(log, bytes, false, position, file, offset);
}

int
ringlog_place_state(struct ringlog *log, uint32_t bytes, uint64_t *position, struct logio_file **file, uint64_t *offset)
{
	return place(log, bytes, true, position, file, offset);
}

/* Takes a segment that nothing durable stands in out of the log. */
static void
segment_drop(struct ringlog *log, uint64_t index)
{
	char path[PATH_BYTES];
	ringlog_segment_path(log, index, path);
	pthread_mutex_lock(&log->make_lock);
	pthread_mutex_lock(&log->lock);
	uint32_t i = segment_at(log, index);
	if (i < log->segment_count && log->segments[i].index == index) {
		if (log->segments[i].file)
			log->io->ops->file_close(log->io, log->segments[i].file);
		memmove(&log->segments[i], &log->segments[i + 1], (--log->segment_count - i) * sizeof *log->segments);
		(void)log->io->ops->remove(log->io, path);
	}
	pthread_mutex_unlock(&log->lock);
	pthread_mutex_unlock(&log->make_lock);
}

/* Segments from `index` on, which hold nothing yet, and were removed by somebody: they are made again. Nothing is under way. */
static void
segments_gone_drop(struct ringlog *log, uint64_t index)
{
	char path[PATH_BYTES];
	for (uint32_t i = 0; log->io->ops->there;) {
		pthread_mutex_lock(&log->lock);
		while (i < log->segment_count && log->segments[i].index < index)
			i++;
		bool more = i < log->segment_count;
		struct segment segment = more ? log->segments[i] : (struct segment){ 0 };
		pthread_mutex_unlock(&log->lock);
		if (!more)
			return;
		ringlog_segment_path(log, segment.index, path);
		int rc = log->io->ops->there(log->io, path, segment.file);
		if (rc == -ENOENT || rc == -ESTALE)
			segment_drop(log, segment.index);
		index = segment.index + 1;
	}
}

int
ringlog_fence(struct ringlog *log, uint64_t end, uint32_t previous_crc, uint64_t number, uint64_t durable)
{
	uint64_t index = (log->position + log->segment_bytes - 1) / log->segment_bytes;
	if (index < log->fence_index)
		index = log->fence_index;
	uint64_t at = index * log->segment_bytes;
	uint8_t *bytes = aligned_alloc(4096, 2 * BLOCK_ALIGN_BYTES);
	if (!bytes)
		return -ENOMEM;
	memset(bytes, 0, 2 * BLOCK_ALIGN_BYTES);
	struct block_header *h = (struct block_header *)bytes;
	*h = (struct block_header){ .magic = BLOCK_MAGIC, .version = FORMAT_VERSION, .flags = BLOCK_FENCE, .epoch = log->epoch,
		.bytes = BLOCK_ALIGN_BYTES, .position = at, .first_event = number, .records = 1, .group_position = at, .group_count = 1,
		.durable = durable, .previous_end = end, .previous_crc = previous_crc };
	memcpy(h->log_id, log->log_id, LOG_ID_BYTES);
	uint8_t *record = bytes + BLOCK_HEADER_BYTES, payload[16];
	uint8_t *payload_end = varint_put(varint_put(payload, CONTROL_FENCE), end);
	*record++ = RECORD_CONTROL | RECORD_MUST;
	record = varint_put(record, (uint64_t)(payload_end - payload));
	memcpy(record, payload, (size_t)(payload_end - payload));
	record += payload_end - payload;
	h->record_bytes = (uint32_t)(record - bytes - BLOCK_HEADER_BYTES);
	block_finish(bytes);
	segments_gone_drop(log, index);
	struct logio_file *file = ringlog_segment(log, index);
	int rc = file ? 0 : segment_make(log, index);
	if (!rc && !(file = ringlog_segment(log, index)))
		rc = -EIO;
	if (!rc)
		rc = log->io->ops->write(log->io, file, 0, bytes, BLOCK_ALIGN_BYTES, true);
	if (!rc)
		rc = log->io->ops->read(log->io, file, 0, bytes + BLOCK_ALIGN_BYTES, BLOCK_ALIGN_BYTES);
	if (!rc && memcmp(bytes, bytes + BLOCK_ALIGN_BYTES, BLOCK_ALIGN_BYTES))
		rc = -EIO;
	if (!rc)
		rc = ringlog_fence_note(log, end, at, log->epoch);
	if (rc) {
		if (rc != -ENOSPC && rc != -ENOMEM)
			log->fence_index = index + 1;
		segment_drop(log, index);
	} else {
		log->fence_index = index + 1;
		log->position = at + BLOCK_ALIGN_BYTES;
		log->previous_crc = crc32c(0, &h->header_crc, sizeof h->header_crc);
	}
	free(bytes);
	return rc;
}

/* With make_lock: the place of the oldest segment of a directory, from place `i` on, that nobody needs; segment_count: there is none. */
static uint32_t
segment_unneeded(const struct ringlog *log, uint32_t dir, uint32_t i)
{
	uint64_t keep = atomic_load(&log->keep_position), end = log->checkpoint_position < keep ? log->checkpoint_position : keep;
	while (i < log->segment_count && (log->segments[i].index + 1) * log->segment_bytes <= end && log->segments[i].index % log->dir_count != dir)
		i++;
	return i < log->segment_count && (log->segments[i].index + 1) * log->segment_bytes <= end ? i : log->segment_count;
}

/* With both locks. Its file, NULL when nobody has opened it yet. */
static struct logio_file *
segment_remove(struct ringlog *log, uint64_t index)
{
	uint32_t i = segment_at(log, index);
	struct logio_file *file = log->segments[i].file;
	memmove(&log->segments[i], &log->segments[i + 1], (--log->segment_count - i) * sizeof *log->segments);
	return file;
}

/* With make_lock: takes the oldest segment of a directory that nobody needs out of the log; false: there is none. It stands at `path` now. */
static bool
segment_recycle(struct ringlog *log, uint32_t dir, const char *path, struct logio_file **file)
{
	char from[PATH_BYTES];
	uint32_t i = segment_unneeded(log, dir, 0);
	if (i == log->segment_count)
		return false;
	uint64_t index = log->segments[i].index;
	ringlog_segment_path(log, index, from);
	if (log->io->ops->rename(log->io, from, path, true))
		return false;
	pthread_mutex_lock(&log->lock);
	*file = segment_remove(log, index);
	pthread_mutex_unlock(&log->lock);
	return true;
}

/* Segments that nobody needs become those of [first, last] that are not there, as far as they go. Several renames at a time: a sync of a
 * directory is a commit of the file system's journal, and every write to the log waits for that. */
static void
segments_recycle(struct ringlog *log, uint64_t first, uint64_t last)
{
	struct { uint64_t from, to; } moved[SEGMENTS_AHEAD + 2];
	char from[PATH_BYTES], to[PATH_BYTES];
	uint32_t count = 0, next[RINGLOG_DIRS_MAX] = { 0 };
	bool failed = false, synced[RINGLOG_DIRS_MAX] = { false };
	assert(last - first < SEGMENTS_AHEAD + 2);
	pthread_mutex_lock(&log->make_lock);
	for (uint64_t index = first; index <= last && !failed; index++) {
		uint32_t dir = index % log->dir_count, i;
		if (segment_has(log, index) || (i = segment_unneeded(log, dir, next[dir])) == log->segment_count)
			continue;
		ringlog_segment_path(log, log->segments[i].index, from);
		ringlog_segment_path(log, index, to);
		if (log->io->ops->rename(log->io, from, to, false))
			break;
		next[dir] = i + 1;
		moved[count].from = log->segments[i].index;
		moved[count++].to = index;
	}
	for (uint32_t i = 0; i < count && !failed; i++) {
		uint32_t dir = moved[i].to % log->dir_count;
		ringlog_segment_path(log, moved[i].to, to);
		failed = !synced[dir] && log->io->ops->dir_sync(log->io, to);
		synced[dir] = true;
	}
	if (failed) {		/* nothing is written under a name that may be lost */
		while (count-- > 0) {
			ringlog_segment_path(log, moved[count].from, from);
			ringlog_segment_path(log, moved[count].to, to);
			(void)log->io->ops->rename(log->io, to, from, false);
		}
	} else if (count) {
		pthread_mutex_lock(&log->lock);
		for (uint32_t i = 0; i < count; i++)
			(void)segment_insert(log, moved[i].to, segment_remove(log, moved[i].from));	/* into the room of the old one */
		pthread_mutex_unlock(&log->lock);
	}
	pthread_mutex_unlock(&log->make_lock);
}

/* A segment of each directory is kept for state records alone, so that what drains a full log can always be noted. */
static void
reserve_tend(struct ringlog *log)
{
	bool all = true;
	for (uint32_t dir = 0; dir < log->dir_count; dir++) {
		char path[PATH_BYTES];
		struct logio_file *file = NULL;
		pthread_mutex_lock(&log->make_lock);
		bool have = log->reserve[dir] != NULL;
		snprintf(path, sizeof path, "%s/segment-reserve", log->dirs[dir]);
		if (!have && log->io->ops->file_open(log->io, path, 0, 0, &file) && segment_recycle(log, dir, path, &file) && !file &&
		    log->io->ops->file_open(log->io, path, 0, 0, &file))
			file = NULL;
		pthread_mutex_unlock(&log->make_lock);
		if (!have && !file && !atomic_load(&log->no_space) &&
		    log->io->ops->file_open(log->io, path, log->segment_bytes, LOGIO_CREATE, &file)) {
			file = NULL;
			(void)log->io->ops->remove(log->io, path);	/* perhaps a part of it */
		}
		pthread_mutex_lock(&log->lock);
		if (file)
			log->reserve[dir] = file;
		all &= log->reserve[dir] != NULL;
		pthread_mutex_unlock(&log->lock);
	}
	if (all)
		log->reserve_index = UINT64_MAX;
}

/* Segments that somebody removed and nobody needs any more: closed, their bytes are free, and none waits in vain to be used again. */
static void
segments_gone_forget(struct ringlog *log)
{
	struct logio_file *file;
	bool found = true;
	pthread_mutex_lock(&log->make_lock);
	while (found) {
		found = false;
		file = NULL;
		pthread_mutex_lock(&log->lock);
		uint64_t keep = atomic_load(&log->keep_position), end = log->checkpoint_position < keep ? log->checkpoint_position : keep;
		for (uint32_t i = 0; i < log->segment_count && (log->segments[i].index + 1) * log->segment_bytes <= end && !found; i++)
			if ((found = log->segments[i].gone))
				file = segment_remove(log, log->segments[i].index);
		pthread_mutex_unlock(&log->lock);
		if (file)
			log->io->ops->file_close(log->io, file);
	}
	pthread_mutex_unlock(&log->make_lock);
}

/* Segments that nobody needs any more give their bytes back until there is room. */
static void
space_make(struct ringlog *log, uint32_t dir)
{
	char path[PATH_BYTES];
	uint64_t bytes;
	snprintf(path, sizeof path, "%s/segment-spare", log->dirs[dir]);
	while (!log->spare[dir] && !log->io->ops->free_bytes(log->io, log->dirs[dir], &bytes) && bytes < log->required_space + log->segment_bytes) {
		struct logio_file *file = NULL;
		pthread_mutex_lock(&log->make_lock);
		bool made = segment_recycle(log, dir, path, &file);
		pthread_mutex_unlock(&log->make_lock);
		if (!made)
			return;
		if (file)
			log->io->ops->file_close(log->io, file);
		if (log->io->ops->remove(log->io, path))
			return;
	}
}

/* Segments that a backlog has left behind, beyond those kept for what comes next, go back to the file system: one a call, so that the
 * disk is not held up. */
static void
surplus_give_back(struct ringlog *log, uint64_t next)
{
	uint64_t keep = log->spare_bytes / log->segment_bytes, surplus = 0, least = atomic_load(&log->keep_position);
	struct segment oldest = { 0 };
	char path[PATH_BYTES];
	if (least > log->checkpoint_position)
		least = log->checkpoint_position;
	if (keep < log->dir_count)
		keep = log->dir_count;
	pthread_mutex_lock(&log->make_lock);
	pthread_mutex_lock(&log->lock);
	for (uint32_t i = log->segment_count; i > 0 && log->segments[i - 1].index > next && keep; i--)
		keep--;		/* those made ahead are some of them */
	while (surplus < log->segment_count && (log->segments[surplus].index + 1) * log->segment_bytes <= least)
		surplus++;
	if (surplus > keep) {
		oldest = log->segments[0];
		memmove(&log->segments[0], &log->segments[1], --log->segment_count * sizeof *log->segments);
	}
	pthread_mutex_unlock(&log->lock);
	pthread_mutex_unlock(&log->make_lock);
	if (surplus <= keep)
		return;
	if (oldest.file)
		log->io->ops->file_close(log->io, oldest.file);
	ringlog_segment_path(log, oldest.index, path);
	if (log->io->ops->remove(log->io, path))	/* listed again at the next start */
		log_warn("%s: cannot be removed", path);
}

void
ringlog_tend(struct ringlog *log, uint64_t position)
{
	uint64_t next = position / log->segment_bytes + 1, free_bytes;
	char to[PATH_BYTES], spare[PATH_BYTES];
	if (atomic_load(&log->segments_gone))
		segments_gone_forget(log);
	if (atomic_load(&log->no_space))
		space_make(log, next % log->dir_count);
	if (!log->io->ops->free_bytes(log->io, log->dirs[next % log->dir_count], &free_bytes))
		if (atomic_exchange(&log->no_space, free_bytes < log->required_space) != (free_bytes < log->required_space))
			log_warn("%s: %" PRIu64 " bytes free, minimumRequiredSpace is %" PRIu64 ": the channel %s", log->dirs[next % log->dir_count],
				 free_bytes, log->required_space,
				 free_bytes < log->required_space ? "takes nothing in, and drains" : "takes events in again");
	if (atomic_load(&log->want_reserve))
		reserve_tend(log);
	bool near = ringlog_segment(log, next - 1) && ringlog_segment(log, next);
	uint64_t ahead = atomic_load(&log->no_space) ? 0 : log->spare_bytes / log->segment_bytes;
	if (ahead > SEGMENTS_AHEAD)
		ahead = SEGMENTS_AHEAD;
	if (!near || (ahead && !ringlog_segment(log, next + 1)))
		segments_recycle(log, next - 1, next + ahead);
	surplus_give_back(log, next);
	for (uint64_t index = next - 1; index <= next && !atomic_load(&log->no_space); index++) {
		if (ringlog_segment(log, index))
			continue;
		uint32_t dir = index % log->dir_count;
		snprintf(spare, sizeof spare, "%s/segment-spare", log->dirs[dir]);
		ringlog_segment_path(log, index, to);
		if (!log->spare[dir] && log->io->ops->file_open(log->io, spare, log->segment_bytes, LOGIO_CREATE | LOGIO_ZERO, &log->spare[dir]))
			continue;
		pthread_mutex_lock(&log->make_lock);
		int rc = segment_has(log, index) ? -EEXIST : log->io->ops->rename(log->io, spare, to, true);
		if (rc == -ENOENT) {	/* removed, or renamed by a call that failed then */
			log->io->ops->file_close(log->io, log->spare[dir]);
			log->spare[dir] = NULL;
		}
		if (!rc) {
			pthread_mutex_lock(&log->lock);
			if (segment_insert(log, index, log->spare[dir]) == 0)
				log->spare[dir] = NULL;
			pthread_mutex_unlock(&log->lock);
		}
		pthread_mutex_unlock(&log->make_lock);
	}
}
