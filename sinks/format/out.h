/* out: bytes on their way into one file, gathered for writev.
 *
 * What must stay is either copied (out_copy: small pieces) or referred to (out_refer: bodies, which stay where they are until
 * out_flush; their span is open that long). A referred piece that begins right behind the last one's line feed joins it, so a run of
 * adjacent bodies of a block is one entry.
 *
 * Owner and thread: the sink. */
#ifndef PENSTOCK_SINKS_FORMAT_OUT_H
#define PENSTOCK_SINKS_FORMAT_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "sinks/format/chunks.h"

#define OUT_IOV_MAX 1024
#define OUT_COPY_BYTES (256u << 10)

struct out {
	int fd;				/* borrowed; -1 none */
	struct chunks *chunks;		/* instead of fd; borrowed; NULL none */
	int error;			/* -errno of the first write that failed; sticky until out_reset */
	uint64_t written;		/* bytes the kernel (or chunks) has, of this file */
	uint64_t waiting;		/* bytes in the entries below */
	uint32_t iov_count;
	uint32_t copied;		/* used bytes of `copy` */
	const uint8_t *joint;		/* the line feed the last referred piece ends with (in `line_feed`), else NULL */
	struct iovec iov[OUT_IOV_MAX];
	uint8_t copy[OUT_COPY_BYTES];
};

struct out *out_new(void);		/* NULL: no memory */
void out_free(struct out *out);
/* Forgets what waits; goes on with another file of which `written` bytes stand. */
void out_reset(struct out *out, int fd, uint64_t written);
/* The same into memory. */
void out_reset_chunks(struct out *out, struct chunks *chunks, uint64_t written);
int out_copy(struct out *out, const void *bytes, size_t len);
/* A body, and with `line_feed` one line feed behind it. */
int out_refer(struct out *out, const uint8_t *bytes, size_t len, bool line_feed);
int out_flush(struct out *out);		/* 0 or -errno */

/* Where the next byte will stand in the file. */
static inline uint64_t
out_position(const struct out *out)
{
	return out->written + out->waiting;
}

#endif
