/* ringlog_look: whether the files that the log is written to are still those that a start will find. Somebody may remove or replace them while
 * they are open: the kernel writes to what nobody can open any more, and says that all is well. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "channel/ringlog.h"

#define LOOK_OLDER 64u		/* segments with nothing but what was stored before, looked at in one call: they take turns */

bool
ringlog_gone(struct ringlog *log, const char *path, struct logio_file *file)
{
	int rc = log->io->ops->there(log->io, path, file);
	return rc == -ENOENT || rc == -ESTALE;	/* anything else says nothing */
}

static void
meta_path(const struct ringlog *log, uint32_t dir, char *path)
{
	snprintf(path, RINGLOG_PATH_BYTES, "%s/ringlog.meta", log->dirs[dir]);
}

int
ringlog_metas_hold(struct ringlog *log, struct err *err)
{
	char path[RINGLOG_PATH_BYTES];
	for (uint32_t i = 0; i < log->dir_count; i++) {
		meta_path(log, i, path);
		int rc = log->io->ops->file_open(log->io, path, 0, 0, &log->metas[i]);
		if (rc)
			return err_set(err, -rc, "%s: %s", path, strerror(-rc));
	}
	return 0;
}

/* The directory that is not what was opened; NULL: all are. */
static const char *
dir_gone(struct ringlog *log)
{
	char path[RINGLOG_PATH_BYTES];
	for (uint32_t i = 0; i < log->dir_count; i++) {
		meta_path(log, i, path);
		if (log->metas[i] && ringlog_gone(log, path, log->metas[i]))
			return log->dirs[i];
	}
	for (int i = 0; i < 2 && log->checkpoint_dir; i++) {
		snprintf(path, sizeof path, "%s/checkpoint-%d", log->checkpoint_dir, i);
		if (log->checkpoint_files[i] && ringlog_gone(log, path, log->checkpoint_files[i]))
			return log->checkpoint_dir;
	}
	return NULL;
}

/* Whether one that is written now or will be is gone; some of the older ones are looked at too. */
static bool
segments_look(struct ringlog *log, uint64_t position)
{
	char path[RINGLOG_PATH_BYTES], first[RINGLOG_PATH_BYTES];
	uint64_t written = position / log->segment_bytes;
	uint32_t older = 0, lost = 0;
	bool found = false;
	pthread_mutex_lock(&log->make_lock);	/* the list stays as it is, and none is renamed */
	for (uint32_t i = log->segment_count; i-- > 0;) {
		struct segment *s = &log->segments[i];
		bool old = s->index < written;
		if (old && (older == LOOK_OLDER || i >= log->looked))
			continue;
		older += old;
		if (old)
			log->looked = i;
		pthread_mutex_lock(&log->lock);
		struct logio_file *file = s->file;
		pthread_mutex_unlock(&log->lock);
		ringlog_segment_path(log, s->index, path);
		if (s->gone || !ringlog_gone(log, path, file))
			continue;
		found |= !old;
		if (lost++ == 0)
			memcpy(first, path, sizeof first);
		s->gone = true;
	}
	if (older < LOOK_OLDER)
		log->looked = UINT32_MAX;	/* the next round */
	pthread_mutex_unlock(&log->make_lock);
	if (lost) {
		atomic_fetch_add(&log->segments_gone, lost);
		log_error("%s: was removed while the log is open, and %u other segments: sinks get what is in them as long as this process runs, the next "
			  "start does not find it", first, lost - 1);
	}
	return found;
}

/* The segments kept for state records: one that is gone is made anew where there is room. */
static void
reserve_look(struct ringlog *log)
{
	char path[RINGLOG_PATH_BYTES];
	pthread_mutex_lock(&log->make_lock);
	for (uint32_t dir = 0; dir < log->dir_count; dir++) {
		pthread_mutex_lock(&log->lock);
		struct logio_file *file = log->reserve[dir];
		pthread_mutex_unlock(&log->lock);
		snprintf(path, sizeof path, "%s/segment-reserve", log->dirs[dir]);
		if (!file || !ringlog_gone(log, path, file))
			continue;
		log_error("%s: was removed while the log is open: a full disk needs it, so that what drains the log can be noted; it is made anew", path);
		pthread_mutex_lock(&log->lock);
		log->reserve[dir] = NULL;
		pthread_mutex_unlock(&log->lock);
		log->io->ops->file_close(log->io, file);
	}
	pthread_mutex_unlock(&log->make_lock);
}

/* Checkpoints go on without their backup: told, counted, and made anew. */
static void
backup_look(struct ringlog *log)
{
	char path[RINGLOG_PATH_BYTES];
	bool lost = false;
	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof path, "%s/checkpoint-%d", log->backup_dir, i);
		lost |= ringlog_gone(log, path, log->backup_files[i]);
	}
	if (!lost)
		return;
	if (!atomic_exchange(&log->backup_gone, true))
		log_error("%s: was removed, emptied or replaced while it is in use: checkpoints have no backup until it is back", log->backup_dir);
	struct err err = { "" };
	static struct log_limit limit;
	int rc = ringlog_backup_again(log, &err);
	if (!rc) {
		atomic_store(&log->backup_gone, false);
		log_info("%s: backup checkpoints are written again", log->backup_dir);
	} else if (rc != -ENOENT) {
		log_limited(&limit, LOG_ERROR, "%s", err.text);
	}
}

void
ringlog_look(struct ringlog *log, uint64_t position)
{
	if (!log->io->ops->there)
		return;
	if (log->backup_dir)
		backup_look(log);
	const char *dir = dir_gone(log);
	bool was = atomic_load(&log->gone) & RINGLOG_GONE_DIR;
	if (dir && !was) {
		atomic_fetch_or(&log->gone, RINGLOG_GONE_DIR);
		log_error("%s: was removed, emptied or replaced while the log in it is open: nothing is stored until what was there is back; sinks get what "
			  "was stored before as long as this process runs, the next start does not find it", dir);
	} else if (!dir && was) {
		atomic_fetch_and(&log->gone, ~(unsigned)RINGLOG_GONE_DIR);
		log_info("%s: the log's files are back", log->dirs[0]);
	}
	if (!dir)
		reserve_look(log);
	if (!dir && segments_look(log, position))
		atomic_fetch_or(&log->gone, RINGLOG_GONE_SEGMENT);
}
