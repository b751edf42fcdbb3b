#include "sinks/format/out.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SHORT_BYTES 64		/* below it a copy is cheaper than an entry */

static const uint8_t line_feed_byte = '\n';

struct out *
out_new(void)
{
	struct out *out = malloc(sizeof *out);
	if (out) {
		out_reset(out, -1, 0);
	}
	return out;
}

void
out_free(struct out *out)
{
	free(out);
}

void
out_reset(struct out *out, int fd, uint64_t written)
{
	out->fd = fd;
	out->chunks = NULL;
	out->error = 0;
	out->written = written;
	out->waiting = 0;
	out->iov_count = 0;
	out->copied = 0;
	out->joint = NULL;
}

void
out_reset_chunks(struct out *out, struct chunks *chunks, uint64_t written)
{
	out_reset(out, -1, written);
	out->chunks = chunks;
}

int
out_flush(struct out *out)
{
	struct iovec *iov = out->iov;
	uint32_t left = out->iov_count;
	for (; out->chunks && left && !out->error; left--, iov++) {
		out->error = chunks_put(out->chunks, iov->iov_base, iov->iov_len);
		out->written += iov->iov_len;
	}
	while (left && !out->error) {
		ssize_t n = writev(out->fd, iov, (int)left);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			out->error = -errno;
			break;
		}
		out->written += (uint64_t)n;
		while (left && (size_t)n >= iov->iov_len) {
			n -= (ssize_t)iov->iov_len;
			iov++;
			left--;
		}
		if (n) {
			iov->iov_base = (uint8_t *)iov->iov_base + n;
			iov->iov_len -= (size_t)n;
		}
	}
	out->waiting = 0;
	out->iov_count = 0;
	out->copied = 0;
	out->joint = NULL;
	return out->error;
}

static int
entry_add(struct out *out, const void *bytes, size_t len)
{
	if (out->iov_count == OUT_IOV_MAX) {
		int rc = out_flush(out);
		if (rc)
			return rc;
	}
	out->iov[out->iov_count++] = (struct iovec){ (void *)bytes, len };
	out->waiting += len;
	return 0;
}

int
out_copy(struct out *out, const void *bytes, size_t len)
{
	if (out->error)
		return out->error;
	out->joint = NULL;
	const uint8_t *from = bytes;
	while (len) {
		/* Entries point into `copy`: it empties only with all of them. */
		if (out->copied == OUT_COPY_BYTES && out_flush(out))
			return out->error;
		size_t n = OUT_COPY_BYTES - out->copied;
		if (n > len)
			n = len;
		struct iovec *last = out->iov_count ? &out->iov[out->iov_count - 1] : NULL;
		bool joins = last && (uint8_t *)last->iov_base + last->iov_len == out->copy + out->copied;
		if (!joins && out->iov_count == OUT_IOV_MAX && out_flush(out))
			return out->error;
		if (out->copied + n > OUT_COPY_BYTES)
			continue;
		uint8_t *to = out->copy + out->copied;
		memcpy(to, from, n);
		out->copied += (uint32_t)n;
		if (joins) {
			last->iov_len += n;
			out->waiting += n;
		} else if (entry_add(out, to, n)) {
			return out->error;
		}
		from += n;
		len -= n;
	}
	return 0;
}

int
out_refer(struct out *out, const uint8_t *bytes, size_t len, bool line_feed)
{
	if (out->error)
		return out->error;
	/* The block's own padding serves as the line feed between two adjacent bodies. */
	if (line_feed && out->joint && out->joint + 1 == bytes && out->iov_count >= 2 && *out->joint == '\n') {
		struct iovec *last = &out->iov[out->iov_count - 2];
		last->iov_len += 1 + len;
		out->waiting += len + 1;
		out->joint = bytes + len;
		return 0;
	}
	if (len == 0 || (!line_feed && len < SHORT_BYTES)) {
		int rc = len ? out_copy(out, bytes, len) : 0;
		return rc == 0 && line_feed ? out_copy(out, &line_feed_byte, 1) : rc;
	}
	if (out->iov_count + 2 > OUT_IOV_MAX && out_flush(out))
		return out->error;
	entry_add(out, bytes, len);
	out->joint = NULL;
	if (line_feed) {
		entry_add(out, &line_feed_byte, 1);
		out->joint = bytes + len;
	}
	return 0;
}
