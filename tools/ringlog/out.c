/* out: writes a new log, block by block, and syncs it at the end. Nobody else may use the directory meanwhile. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "tools/ringlog/tool.h"

static int
dir_make_empty(const char *path, struct err *err)
{
	if (mkdir(path, 0750) == 0)
		return 0;
	DIR *d = errno == EEXIST ? opendir(path) : NULL;
	if (!d)
		return err_set(err, errno, "%s: %s", path, strerror(errno));
	int rc = 0;
	for (struct dirent *e; (e = readdir(d));)
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			rc = ENOTEMPTY;
	closedir(d);
	return rc ? err_set(err, rc, "%s: is not empty; name a directory that is, or is not there", path) : 0;
}

/* The meta file of a log that keeps its id. */
static int
meta_write(struct out *out, const uint8_t *log_id, uint64_t segment_bytes)
{
	char path[4200];
	struct logio *io = out->log.io;
	struct logio_file *file;
	uint8_t *page = aligned_alloc(BLOCK_ALIGN_BYTES, META_BYTES);
	struct log_meta meta = { .magic = META_MAGIC, .version = FORMAT_VERSION, .segment_bytes = segment_bytes, .dirs = 1 };
	if (!page)
		return -ENOMEM;
	memset(page, 0, META_BYTES);
	memcpy(meta.log_id, log_id, LOG_ID_BYTES);
	meta.crc = crc32c(0, &meta, offsetof(struct log_meta, crc));
	meta.host_crc = crc32c(0, &meta, offsetof(struct log_meta, host_crc));	/* no host yet: whoever opens it first */
	memcpy(page, &meta, sizeof meta);
	snprintf(path, sizeof path, "%s/ringlog.meta", out->data);
	int rc = io->ops->file_open(io, path, META_BYTES, LOGIO_CREATE, &file);
	if (!rc) {
		rc = io->ops->write(io, file, 0, page, META_BYTES, true);
		io->ops->file_close(io, file);
	}
	free(page);
	return rc;
}

int
out_open(struct out *out, const struct tool_args *args, uint64_t segment_bytes, const uint8_t *log_id, const struct keyring *keys, struct err *err)
{
	const char *dir = args->to;
	memset(out, 0, sizeof *out);
	out->want_number = out->want_position = UINT64_MAX;
	snprintf(out->data, sizeof out->data, "%s/data", dir);
	snprintf(out->checkpoint, sizeof out->checkpoint, "%s/checkpoint", dir);
	int rc = dir_make_empty(dir, err);
	if (!rc && (mkdir(out->data, 0750) || mkdir(out->checkpoint, 0750)))
		rc = err_set(err, errno, "%s: %s", dir, strerror(errno));
	if (!rc)
		rc = logio_pwrite_open(&out->log.io, -1, err);
	if (rc)
		return rc;
	if (log_id && (rc = meta_write(out, log_id, segment_bytes)))
		err_set(err, -rc, "%s/ringlog.meta: %s", out->data, strerror(-rc));
	out->log.dirs[0] = out->data;
	out->log.dir_count = 1;
	out->log.checkpoint_dir = out->checkpoint;
	out->log.segment_bytes = segment_bytes;
	if (!rc) {
		rc = ringlog_open(&out->log, true, err);
		if (!rc && args->active_key)
			rc = sealer_open(&out->sealer, keys, args->active_key, out->log.log_id, err);
		if (rc)
			ringlog_close(&out->log);
	}
	if (rc)
		out->log.io->ops->close(out->log.io);
	return rc;
}

int
out_block(struct out *out, uint8_t *bytes, struct err *err)
{
	struct ringlog *log = &out->log;
	struct block_header *h = (struct block_header *)bytes;
	struct logio_file *file;
	uint64_t offset, before = log->position;
	uint32_t crc_before = log->previous_crc;
	int rc = ringlog_place(log, h->bytes, &h->position, &file, &offset);
	if (rc)
		return err_set(err, -rc, "%s: %s", out->data, strerror(-rc));
	memcpy(h->log_id, log->log_id, LOG_ID_BYTES);
	h->epoch = log->epoch;
	h->group_position = h->position;
	h->group_index = 0;
	h->group_count = 1;
	h->durable = before;
	h->previous_end = before;
	h->previous_crc = crc_before;
	if (!out->sealer)
		block_finish(bytes);
	else {
		if (out->sealed_room < h->bytes) {
			free(out->sealed);
			out->sealed_room = h->bytes;
			if (!(out->sealed = aligned_alloc(BLOCK_ALIGN_BYTES, h->bytes)))
				return err_set(err, ENOMEM, "no memory");
		}
		if ((rc = sealer_seal(out->sealer, bytes, out->sealed)))
			return err_set(err, -rc, "encryption failed");
		h = (struct block_header *)(bytes = out->sealed);
	}
	log->previous_crc = crc32c(0, &h->header_crc, sizeof h->header_crc);
	if (out->want_position == UINT64_MAX && h->first_event + h->events > out->want_number) {
		out->want_position = before;
		out->want_crc = crc_before;
	}
	if ((rc = log->io->ops->write(log->io, file, offset, bytes, h->bytes, false)))
		return err_set(err, -rc, "%s: %s", out->data, strerror(-rc));
	if (!out->blocks++)
		out->first_number = h->first_event;
	out->end_number = h->first_event + h->events;
	out->events += h->events;
	out->bytes += h->bytes;
	return 0;
}

int
out_close(struct out *out, int rc, const struct checkpoint *settled, struct err *err)
{
	struct ringlog *log = &out->log;
	for (uint32_t i = 0; i < log->segment_count && !rc; i++)
		if (log->segments[i].file && (rc = log->io->ops->sync(log->io, log->segments[i].file)))
			err_set(err, -rc, "%s: sync: %s", out->data, strerror(-rc));
	if (!rc && settled) {
		struct checkpoint *c = log->checkpoint;
		bool none = out->want_position == UINT64_MAX;		/* all is settled */
		c->number = none ? out->end_number : out->want_number;
		c->position = none ? log->position : out->want_position;
		c->previous_crc = none ? log->previous_crc : out->want_crc;
		c->clean = 0;
		c->durable = log->position;
		c->durable_number = out->end_number;
		c->durable_crc = log->previous_crc;
		c->range_count = none ? 0 : settled->range_count;
		memcpy(c->ranges, settled->ranges, sizeof c->ranges);
		if ((rc = ringlog_checkpoint(log, true)))
			err_set(err, -rc, "%s: %s", out->checkpoint, strerror(-rc));
	}
	sealer_close(out->sealer);
	free(out->sealed);
	ringlog_close(log);
	log->io->ops->close(log->io);
	return rc;
}
