#include "channel/readback.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "channel/broken.h"
#include "channel/engine.h"
#include "channel/keyring.h"
#include "channel/record.h"

#define RUN_BYTES (4u << 20)	/* read at once by a taker that goes through the log in order */
#define RUNS_AHEAD 2u		/* on their way behind the one that is walked: a read waits behind the writes under way */
#define RUNS_BYTES_MAX (32u << 20)	/* a taker's buffers stay single blocks beyond that */
#define HUGE_BYTES (2u << 20)
_Static_assert(RUNS_AHEAD <= LOGIO_READS_MAX, "each has its place");

static bool
holds(const struct buffer *b, uint64_t position, uint32_t bytes)
{
	return b->len && position >= b->position && position + bytes <= b->position + b->len;
}

/* A read over a bad sector costs the disk seconds: once, not for each block before it. */
static void
run_broken(struct readback *r, uint64_t position, uint32_t bytes)
{
	r->broken = position;
	r->broken_end = position + bytes;
}

/* What was on its way has come. */
static void
buffer_wait(struct readback *r, struct buffer *b)
{
	if (b->status == LOGIO_READING)
		r->engine->io->ops->reader_wait(r->reader, &b->status);
	if (b->status) {
		run_broken(r, b->position, b->len);
		b->len = 0;
	}
	b->status = 0;
}

static uint32_t
run_most(const struct readback *r)
{
	uint64_t segment = r->engine->log->segment_bytes;
	return segment < RUN_BYTES ? (uint32_t)segment : RUN_BYTES;
}

/* All that is to be read from `position` on up to the limit, as far as one run goes; 0: nothing in one. */
static uint32_t
run_length(const struct readback *r, uint64_t position, uint64_t limit)
{
	uint64_t segment = r->engine->log->segment_bytes, end = (position / segment + 1) * segment;
	if (end > limit)
		end = limit;
	if (position < r->broken_end && end > r->broken)
		end = r->broken;
	return end <= position ? 0 : end - position < RUN_BYTES ? (uint32_t)(end - position) : RUN_BYTES;
}

static uint64_t
log_end(struct engine *e)
{
	pthread_mutex_lock(&e->lock);
	uint64_t end = e->acked_position;	/* behind it all is still on its way */
	pthread_mutex_unlock(&e->lock);
	return end;
}

/* How much to read for the block at `position`. One who goes through the log in order gets a run: while writes are under way a read waits
 * behind them, however short it is. */
static uint32_t
run_bytes(struct readback *r, uint64_t position, uint32_t bytes)
{
	uint32_t run = position == r->next_position ? run_length(r, position, log_end(r->engine)) : 0;
	return run > bytes ? run : bytes;
}

/* Runs lie in huge pages where there are some: the disk takes 4 MiB in two pieces then. */
static int
buffer_room(struct readback *r, struct buffer *b, uint32_t bytes, bool run)
{
	if (b->room >= bytes)
		return 0;
	free(b->bytes);
	r->room_bytes -= b->room;
	b->room = 0;
	if (run)
		bytes = run_most(r);
	size_t align = run && bytes >= HUGE_BYTES ? HUGE_BYTES : BLOCK_ALIGN_BYTES, whole = (bytes + align - 1) / align * align;
	if (!(b->bytes = aligned_alloc(align, whole)))		/* C11: of a multiple of the alignment only */
		return -ENOMEM;
	if (align == HUGE_BYTES)
		(void)madvise(b->bytes, whole, MADV_HUGEPAGE);
	b->room = bytes;
	r->room_bytes += bytes;
	return 0;
}

static bool
room_allowed(const struct readback *r, const struct buffer *b, uint32_t run)
{
	return run <= b->room || r->room_bytes - b->room + run_most(r) <= RUNS_BYTES_MAX;
}

static bool
block_good(struct readback *r, struct buffer *b, uint64_t position, uint32_t bytes, int *trouble)
{
	bool missing = false;
	if (position >= b->position && position + bytes <= b->checked)
		return true;
	uint8_t *block = b->bytes + (position - b->position);
	if (block_check(block, bytes) || keyring_unseal(r->engine->log->keys, block, &missing) ||
	    (((const struct block_header *)block)->position != position && !BROKEN(LAP))) {
		if (missing)
			*trouble = -EACCES;	/* nothing is lost: the key may be given again */
		return false;
	}
	if (position == b->checked)
		b->checked += bytes;
	return true;
}

/* Nothing refers to it, nothing is on its way to it; consumed: and what it holds was gone through. */
static struct buffer *
buffer_unused(const struct readback *r, bool consumed)
{
	struct buffer *found = NULL;
	for (uint32_t i = 0; i < r->count; i++) {
		struct buffer *b = r->buffers[i];
		if (!b->refs && !b->status && (!consumed || !b->len || b->position + b->len <= r->next_position) && (!found || b->room > found->room))
			found = b;
	}
	return found;
}

static struct buffer *
buffer_new(struct readback *r)
{
	struct buffer *b = r->count < BUFFERS_MAX ? calloc(1, sizeof *b) : NULL;
	if (b)
		r->buffers[r->count++] = b;
	return b;
}

/* One whose content is not wanted any more; for a read ahead (`needed` false) there may be none. */
static struct buffer *
buffer_pick(struct readback *r, bool needed, int *trouble)
{
	struct buffer *b = buffer_unused(r, true);
	if (!b && r->room_bytes + run_most(r) <= RUNS_BYTES_MAX)
		b = buffer_new(r);
	if (!b && needed && !(b = buffer_unused(r, false)) && !(b = buffer_new(r))) {
		for (uint32_t i = 0; i < r->count && !b; i++)
			if (r->buffers[i]->status)
				buffer_wait(r, b = r->buffers[i]);
		*trouble = r->count == BUFFERS_MAX ? -EAGAIN : -ENOMEM;
	}
	if (b)
		b->len = 0;
	return b;
}

static struct buffer *
buffer_of(const struct readback *r, uint64_t position, uint32_t bytes)
{
	for (uint32_t i = 0; i < r->count; i++)
		if (holds(r->buffers[i], position, bytes))
			return r->buffers[i];
	return NULL;
}

/* Sends for the runs behind this one. What fails here is read again when it is wanted. */
static void
ahead(struct readback *r, const struct buffer *run)
{
	const struct logio_ops *ops = r->engine->io->ops;
	uint64_t position = run->position + run->len, limit = 0;
	int trouble;
	/* What was sent for and then came to another taker: it has come long ago, and its place and memory are wanted. */
	for (uint32_t i = 0; i < r->count; i++)
		if (r->buffers[i]->status && r->buffers[i]->position + r->buffers[i]->len <= r->next_position)
			buffer_wait(r, r->buffers[i]);
	for (uint32_t n = 0; n < RUNS_AHEAD && !r->no_ahead; n++) {
		struct buffer *b = buffer_of(r, position, BLOCK_ALIGN_BYTES);
		if (b) {
			position = b->position + b->len;
			continue;
		}
		if (!limit)
			limit = log_end(r->engine);
		uint32_t bytes = run_length(r, position, limit);
		if (!bytes || (bytes < RUN_BYTES && position + bytes == limit))
			return;		/* it still grows, and what is there is in memory most likely */
		if (!r->reader && ops->reader_open && ops->reader_open(r->engine->io, &r->reader)) {
			r->reader = NULL;
			r->no_ahead = true;
			return;
		}
		if (!(b = buffer_pick(r, false, &trouble)) || !room_allowed(r, b, bytes) || buffer_room(r, b, bytes, true))
			return;
		if (ringlog_read_begin(r->engine->log, r->reader, position, b->bytes, bytes, &b->status)) {
			b->status = 0;
			run_broken(r, position, bytes);
			return;
		}
		b->position = b->checked = position;
		b->len = bytes;
		position += bytes;
	}
}

struct buffer *
readback_get(struct readback *r, uint64_t position, uint32_t bytes, int *trouble)
{
	struct buffer *b = NULL;
	for (uint32_t i = 0; i < r->count; i++) {
		struct buffer *one = r->buffers[i];
		if (!holds(one, position, bytes))
			continue;
		buffer_wait(r, one);
		if (one->len && block_good(r, one, position, bytes, trouble)) {
			one->refs++;
			r->next_position = position + bytes;
			if (one->len > bytes)
				ahead(r, one);
			return one;
		}
	}
	if (!(b = buffer_pick(r, true, trouble)))
		return NULL;
	uint32_t run = run_bytes(r, position, bytes);
	if (!room_allowed(r, b, run))
		run = bytes;
	*trouble = -ENOMEM;
	if (buffer_room(r, b, run, run > bytes))
		return NULL;
	int rc = ringlog_read(r->engine->log, position, b->bytes, run);
	if (rc && run > bytes) {
		run_broken(r, position, run);
		rc = ringlog_read(r->engine->log, position, b->bytes, run = bytes);
	}
	if (rc) {
		*trouble = -EIO;
		return NULL;
	}
	b->position = b->checked = position;
	*trouble = -EBADMSG;
	if (!block_good(r, b, position, bytes, trouble))
		return NULL;
	*trouble = 0;
	b->len = run;
	b->refs = 1;
	r->next_position = position + bytes;
	if (run > bytes)
		ahead(r, b);
	return b;
}

struct buffer *
readback_run(struct readback *r, uint64_t position, uint64_t limit)
{
	int trouble;
	struct buffer *b = buffer_of(r, position, BLOCK_ALIGN_BYTES);
	if (b)
		buffer_wait(r, b);
	if (!b || !b->len) {
		uint32_t run = run_length(r, position, limit);
		b = buffer_pick(r, true, &trouble);
		if (!b || !run || !room_allowed(r, b, run) || buffer_room(r, b, run, true))
			return NULL;
		if (ringlog_read(r->engine->log, position, b->bytes, run)) {
			run_broken(r, position, run);
			return NULL;
		}
		b->position = b->checked = position;
		b->len = run;
	}
	b->refs++;		/* kept from the reads ahead */
	ahead(r, b);
	b->refs--;
	return b;
}

void
readback_close(struct readback *r)
{
	if (r->reader)
		r->engine->io->ops->reader_close(r->reader);
	for (uint32_t i = 0; i < r->count; i++) {
		free(r->buffers[i]->bytes);
		free(r->buffers[i]);
	}
}
