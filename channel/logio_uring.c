/* logio_uring: groups by io_uring. A group is one DSYNC write of all its blocks, from registered memory where the kernel (6.15) has that; else
 * the blocks of a large one are written side by side from registered memory, then one fdatasync. */
#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "channel/logio_posix.h"

/* Up to here the pages of a vectored write (which cannot be of registered memory) cost less than a sync of its own, which a kernel thread does. */
#define VECTOR_BYTES_MAX (512u << 10)
#define RING_ENTRIES 512u	/* >= LOGIO_GROUPS_MAX * (LOGIO_WRITES_MAX + 1) */
_Static_assert(RING_ENTRIES >= LOGIO_GROUPS_MAX * (LOGIO_WRITES_MAX + 1), "a submission always finds an entry");

#define SUBMIT_TRIES 1000u	/* a millisecond apart, while the kernel is short of memory for requests */
#define WRITEV_FIXED 61		/* IORING_OP_WRITEV_FIXED, of which liburing 2.3 knows nothing */

struct op {			/* one write of a group */
	struct group *group;
	uint32_t len;		/* 0: the sync */
};

struct group {
	bool used;
	bool sync;		/* a sync is still to be sent */
	int fd, status;
	uint32_t pending;
	void *context;
	struct iovec parts[LOGIO_WRITES_MAX];	/* of a vectored write, while it is under way */
	struct op ops[LOGIO_WRITES_MAX], sync_op;
};

struct logio_uring {
	struct logio io;
	struct io_uring ring;
	bool vector_fixed;	/* the kernel (6.15) writes vectors of registered memory */
	uint8_t *memory;	/* registered; NULL: none */
	size_t memory_bytes;
	struct group groups[LOGIO_GROUPS_MAX];
};

static void
memory(struct logio *io, void *bytes, size_t len)
{
	struct logio_uring *u = (struct logio_uring *)io;
	struct iovec iov = { .iov_base = bytes, .iov_len = len };
	int rc = io_uring_register_buffers(&u->ring, &iov, 1);
	if (rc) {
		static atomic_flag said = ATOMIC_FLAG_INIT;
		if (!atomic_flag_test_and_set(&said))
			log_info("ring log: %zu KiB of block memory cannot be registered (%s; see ulimit -l): writing without it", len >> 10,
				 strerror(-rc));
		return;
	}
	u->memory = bytes;
	u->memory_bytes = len;
}

/* Gives the kernel what stands in the ring. When it does not take all of it, the rest is taken out of the ring again: *left entries, and why. */
static int
send_all(struct io_uring *ring, uint32_t *left)
{
	uint32_t tries = 0;
	int rc = 0;
	*left = 0;
	while (io_uring_sq_ready(ring)) {
		rc = io_uring_submit(ring);
		if (rc > 0 || rc == -EINTR)
			continue;	/* it stops at an entry that it refuses, whose end says so; the rest is still there */
		if ((rc == 0 || rc == -EAGAIN || rc == -EBUSY) && ++tries < SUBMIT_TRIES) {
			nanosleep(&(struct timespec){ .tv_nsec = NS_PER_MS }, NULL);
			continue;
		}
		*left = io_uring_sq_ready(ring);
		uint32_t head = *ring->sq.khead;	/* only a call of ours moves it */
		ring->sq.sqe_head = ring->sq.sqe_tail = head;
		__atomic_store_n(ring->sq.ktail, head, __ATOMIC_RELEASE);
		return rc ? rc : -EIO;
	}
	return 0;
}

static bool
registered(const struct logio_uring *u, const struct logio_write *write)
{
	const uint8_t *bytes = write->bytes;
	return u->memory && bytes >= u->memory && bytes + write->len <= u->memory + u->memory_bytes;
}

/* All of the group in one write; false: too much of it. */
static bool
submit_vector(struct logio_uring *u, struct group *g, const struct logio_write *writes, uint32_t count, uint64_t offset)
{
	uint32_t bytes = 0;
	bool fixed = u->vector_fixed;
	for (uint32_t i = 0; i < count && fixed; i++)
		fixed = registered(u, &writes[i]);
	for (uint32_t i = 0; i < count; i++) {
		if (!fixed && writes[i].len > VECTOR_BYTES_MAX - bytes)
			return false;
		g->parts[i] = (struct iovec){ .iov_base = (void *)(uintptr_t)writes[i].bytes, .iov_len = writes[i].len };
		bytes += writes[i].len;
	}
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
	assert(sqe);
	io_uring_prep_writev2(sqe, g->fd, g->parts, count, offset, RWF_DSYNC);
	if (fixed)
		sqe->opcode = WRITEV_FIXED;	/* of buffer 0 */
	g->ops[0] = (struct op){ .group = g, .len = bytes };
	io_uring_sqe_set_data(sqe, &g->ops[0]);
	g->sync = false;
	g->pending = 1;
	return true;
}

static int
submit(struct logio *io, struct logio_file *file, uint64_t offset, const struct logio_write *writes, uint32_t count, bool sync, void *context)
{
	struct logio_uring *u = (struct logio_uring *)io;
	struct group *g = NULL;
	assert(count >= 1 && count <= LOGIO_WRITES_MAX);
	for (uint32_t i = 0; i < LOGIO_GROUPS_MAX && !g; i++)
		if (!u->groups[i].used)
			g = &u->groups[i];
	if (!g)
		return -EAGAIN;
	g->used = true;
	g->sync = sync && count > 1;
	g->fd = file->fd;
	g->status = 0;
	g->pending = count;
	g->context = context;
	bool vector = g->sync && submit_vector(u, g, writes, count, offset);
	for (uint32_t i = 0; i < count && !vector; i++) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
		assert(sqe);
		if (registered(u, &writes[i]))
			io_uring_prep_write_fixed(sqe, file->fd, writes[i].bytes, writes[i].len, offset, 0);
		else
			io_uring_prep_write(sqe, file->fd, writes[i].bytes, writes[i].len, offset);
		if (sync && count == 1)
			sqe->rw_flags = RWF_DSYNC;
		g->ops[i] = (struct op){ .group = g, .len = writes[i].len };
		io_uring_sqe_set_data(sqe, &g->ops[i]);
		offset += writes[i].len;
	}
	uint32_t left;
	int rc = send_all(&u->ring, &left);
	if (!rc)
		return 0;
	g->status = rc;
	g->sync = false;
	g->pending -= left;
	if (g->pending)
		return 0;	/* some of it is under way: its end will say that it failed */
	g->used = false;
	return rc;
}

static int
reap(struct logio *io, struct logio_done *done, int max)
{
	struct logio_uring *u = (struct logio_uring *)io;
	struct io_uring_cqe *cqe;
	int n = 0;
	while (n < max && io_uring_peek_cqe(&u->ring, &cqe) == 0) {
		struct op *op = io_uring_cqe_get_data(cqe);
		struct group *g = op->group;
		int result = cqe->res;
		io_uring_cqe_seen(&u->ring, cqe);
		if (result < 0)
			g->status = result;
		else if (op->len && (uint32_t)result != op->len)
			g->status = -EIO;	/* a short write is a failed one */
		if (--g->pending)
			continue;
		if (g->sync && !g->status) {
			struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
			assert(sqe);
			io_uring_prep_fsync(sqe, g->fd, IORING_FSYNC_DATASYNC);
			g->sync_op = (struct op){ .group = g };
			io_uring_sqe_set_data(sqe, &g->sync_op);
			g->sync = false;
			g->pending = 1;
			uint32_t left;
			if (!(g->status = send_all(&u->ring, &left)))
				continue;
		}
		g->used = false;
		done[n++] = (struct logio_done){ .context = g->context, .status = g->status };
	}
	return n;
}

static void
close_io(struct logio *io)
{
	struct logio_uring *u = (struct logio_uring *)io;
	io_uring_queue_exit(&u->ring);
	free(u);
}

/* ---- a taker's reads ---- */

struct logio_reader {
	struct io_uring ring;
	struct { int *status; uint32_t len; } reads[LOGIO_READS_MAX];
};

static int
reader_open(struct logio *io, struct logio_reader **reader)
{
	(void)io;
	struct logio_reader *r = calloc(1, sizeof *r);
	if (!r)
		return -ENOMEM;
	int rc = io_uring_queue_init(LOGIO_READS_MAX, &r->ring, 0);
	if (rc) {
		free(r);
		return rc;
	}
	*reader = r;
	return 0;
}

static int
reader_begin(struct logio_reader *r, struct logio_file *file, uint64_t offset, void *bytes, uint32_t len, int *status)
{
	uint32_t i = 0;
	while (i < LOGIO_READS_MAX && r->reads[i].status)
		i++;
	struct io_uring_sqe *sqe = i < LOGIO_READS_MAX ? io_uring_get_sqe(&r->ring) : NULL;
	if (!sqe)
		return -EAGAIN;
	r->reads[i].status = status;
	r->reads[i].len = len;
	*status = LOGIO_READING;
	io_uring_prep_read(sqe, file->fd, bytes, len, offset);
	io_uring_sqe_set_data64(sqe, i);
	uint32_t left;
	int rc = send_all(&r->ring, &left);
	if (rc)
		r->reads[i].status = NULL;
	return rc;
}

static void
reader_wait(struct logio_reader *r, const int *status)
{
	struct io_uring_cqe *cqe;
	while (*status == LOGIO_READING) {
		if (io_uring_wait_cqe(&r->ring, &cqe))
			continue;	/* -EINTR */
		uint64_t i = io_uring_cqe_get_data64(cqe);
		*r->reads[i].status = cqe->res < 0 ? cqe->res : (uint32_t)cqe->res == r->reads[i].len ? 0 : -EIO;
		r->reads[i].status = NULL;
		io_uring_cqe_seen(&r->ring, cqe);
	}
}

static void
reader_close(struct logio_reader *r)
{
	for (uint32_t i = 0; i < LOGIO_READS_MAX; i++)
		if (r->reads[i].status)
			reader_wait(r, r->reads[i].status);	/* the kernel writes into that memory */
	io_uring_queue_exit(&r->ring);
	free(r);
}

static const struct logio_ops ops = {
	.name = "uring", .memory = memory, .file_open = posix_file_open, .file_close = posix_file_close, .submit = submit, .reap = reap,
	.reader_open = reader_open, .reader_begin = reader_begin, .reader_wait = reader_wait, .reader_close = reader_close,
	.read = posix_read, .write = posix_write, .sync = posix_sync, .list = posix_list, .rename = posix_rename, .dir_sync = posix_dir_sync, .remove = posix_remove,
	.free_bytes = posix_free_bytes, .there = posix_there, .close = close_io,
};

int
logio_uring_open(struct logio **io, int wake_fd, struct err *err)
{
	struct logio_uring *u = calloc(1, sizeof *u);
	if (!u)
		return err_set(err, ENOMEM, "no memory");
	/* The end of a write is noted when the writer calls the kernel next or sleeps there, instead of by an interrupt in the midst of its work. */
	int rc = io_uring_queue_init(RING_ENTRIES, &u->ring, IORING_SETUP_COOP_TASKRUN);
	if (rc == -EINVAL)	/* a kernel before 5.19 */
		rc = io_uring_queue_init(RING_ENTRIES, &u->ring, 0);
	if (rc) {
		free(u);
		return err_set(err, -rc, "io_uring: %s", strerror(-rc));
	}
	if (wake_fd >= 0 && (rc = io_uring_register_eventfd(&u->ring, wake_fd))) {
		close_io(&u->io);
		return err_set(err, -rc, "io_uring: eventfd: %s", strerror(-rc));
	}
	struct io_uring_probe *probe = io_uring_get_probe_ring(&u->ring);
	u->vector_fixed = probe && io_uring_opcode_supported(probe, WRITEV_FIXED);
	io_uring_free_probe(probe);
	u->io.ops = &ops;
	posix_files_allow();
	*io = &u->io;
	return 0;
}
