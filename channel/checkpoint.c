/* checkpoint: small copies of where the log stands, written in turn; the newest valid one counts. */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "channel/ringlog.h"

/* A read that fails once is no news, and an older copy knows less. */
static int
checkpoint_read(struct ringlog *log, struct logio_file *file, struct checkpoint *c)
{
	int rc = -EIO;
	for (int i = 0; i < 3 && rc; i++)
		rc = log->io->ops->read(log->io, file, 0, c, CHECKPOINT_BYTES);
	return rc;
}

/* 1: one of ours; 0: torn, never written; -errno with the error told: must not be written over. */
static int
checkpoint_look(const struct ringlog *log, const char *path, const struct checkpoint *c, struct err *err)
{
	if (c->magic != CHECKPOINT_MAGIC || c->crc != crc32c(0, c, offsetof(struct checkpoint, crc)))
		return 0;
	if (c->version > FORMAT_VERSION)
		return err_set(err, EPROTONOSUPPORT, "%s: format version %u is not known, this program knows up to %u", path, c->version,
			       FORMAT_VERSION);
	if (memcmp(c->log_id, log->log_id, LOG_ID_BYTES))
		return err_set(err, EINVAL, "%s: belongs to another log than %s; give each log a checkpoint directory of its own, or remove the "
			       "checkpoints of a log that is gone", path, log->dirs[0]);
	return c->range_count <= CHECKPOINT_RANGES;
}

int
ringlog_checkpoints_open(struct ringlog *log, struct err *err)
{
	static const char *const names[3] = { "checkpoint-0", "checkpoint-1", "checkpoint-soft" };
	struct checkpoint *c = aligned_alloc(4096, CHECKPOINT_BYTES);
	char path[RINGLOG_PATH_BYTES];
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
		else if (!checkpoint_read(log, *file, c) && (rc = checkpoint_look(log, path, c, err)) > 0) {
			rc = 0;
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
ringlog_backup_again(struct ringlog *log, struct err *err)
{
	const struct logio_ops *ops = log->io->ops;
	struct checkpoint *old = aligned_alloc(4096, CHECKPOINT_BYTES);
	char path[RINGLOG_PATH_BYTES];
	int rc = old ? 0 : err_set(err, ENOMEM, "no memory");
	for (int i = 0; i < 2 && !rc; i++) {
		struct logio_file *file = NULL;
		snprintf(path, sizeof path, "%s/checkpoint-%d", log->backup_dir, i);
		if (!ringlog_gone(log, path, log->backup_files[i]))
			continue;
		rc = ops->file_open(log->io, path, CHECKPOINT_BYTES, LOGIO_CREATE, &file);
		if (!rc && (rc = ops->read(log->io, file, 0, old, CHECKPOINT_BYTES)) == 0) {
			if ((rc = checkpoint_look(log, path, old, err)) < 0) {	/* another directory, and in use */
				ops->file_close(log->io, file);
				break;
			}
			rc = ops->write(log->io, file, 0, log->checkpoint, CHECKPOINT_BYTES, true);
		}
		if (rc) {
			if (file)
				ops->file_close(log->io, file);
			err_set(err, -rc, "%s: %s", path, strerror(-rc));
			break;
		}
		ops->file_close(log->io, log->backup_files[i]);
		log->backup_files[i] = file;
	}
	free(old);
	return rc;
}

int
ringlog_checkpoint(struct ringlog *log, bool sync)
{
	struct checkpoint *c = log->checkpoint;
	c->magic = CHECKPOINT_MAGIC;
	c->version = FORMAT_VERSION;
	memcpy(c->log_id, log->log_id, LOG_ID_BYTES);
	c->epoch = log->epoch;
	c->epoch_begin = log->epoch_begin + 1;
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
	if (sync && log->backup_dir && (atomic_load(&log->backup_gone) ||
					log->io->ops->write(log->io, log->backup_files[which], 0, c, CHECKPOINT_BYTES, true)))
		atomic_fetch_add(&log->backup_errors, 1);
	return 0;
}
