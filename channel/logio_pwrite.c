/* logio_pwrite: the writer thread writes and syncs by itself; for kernels that do not give us io_uring. */
#include <errno.h>
#include <stdlib.h>

#include "channel/logio_posix.h"

struct logio_pwrite {
	struct logio io;
	struct logio_done done[LOGIO_GROUPS_MAX];
	int count;
};

static void
memory(struct logio *io, void *bytes, size_t len)
{
	(void)io, (void)bytes, (void)len;
}

static int
submit(struct logio *io, struct logio_file *file, uint64_t offset, const struct logio_write *writes, uint32_t count, bool sync, void *context)
{
	struct logio_pwrite *p = (struct logio_pwrite *)io;
	int rc = 0;
	if (p->count == LOGIO_GROUPS_MAX)
		return -EAGAIN;
	for (uint32_t i = 0; i < count && !rc; i++) {
		rc = posix_write(io, file, offset, writes[i].bytes, writes[i].len, sync && i + 1 == count);
		offset += writes[i].len;
	}
	p->done[p->count++] = (struct logio_done){ .context = context, .status = rc };
	return 0;
}

static int
reap(struct logio *io, struct logio_done *done, int max)
{
	struct logio_pwrite *p = (struct logio_pwrite *)io;
	int n = p->count < max ? p->count : max;
	for (int i = 0; i < n; i++)
		done[i] = p->done[i];
	for (int i = n; i < p->count; i++)
		p->done[i - n] = p->done[i];
	p->count -= n;
	return n;
}

static void
close_io(struct logio *io)
{
	free(io);
}

static const struct logio_ops ops = {
	.name = "pwrite", .memory = memory, .file_open = posix_file_open, .file_close = posix_file_close, .submit = submit, .reap = reap,
	.read = posix_read, .write = posix_write, .sync = posix_sync, .list = posix_list, .rename = posix_rename, .dir_sync = posix_dir_sync, .remove = posix_remove,
	.free_bytes = posix_free_bytes, .there = posix_there, .close = close_io,
};

int
logio_pwrite_open(struct logio **io, int wake_fd, struct err *err)
{
	(void)wake_fd;
	struct logio_pwrite *p = calloc(1, sizeof *p);
	if (!p)
		return err_set(err, ENOMEM, "no memory");
	p->io.ops = &ops;
	posix_files_allow();
	*io = &p->io;
	return 0;
}
