/* line_source: a source for tests of streams: each line that is not blank is an event; waits where there is no room. */
#ifndef PENSTOCK_TESTS_DATAPLANE_LINE_SOURCE_H
#define PENSTOCK_TESTS_DATAPLANE_LINE_SOURCE_H

#include <assert.h>
#include <string.h>

#include "dataplane/source/source.h"
#include "dataplane/stream.h"

static inline int
lines_open(void **source, const void *config, struct ingress_source *in, struct err *err)
{
	(void)config;
	(void)err;
	*source = in;
	return 0;
}

static inline int64_t
lines_bytes(void *source, struct stream *stream, const uint8_t *bytes, uint32_t len, bool last)
{
	struct ingress_source *in = source;
	uint32_t at = 0;
	(void)last;
	for (const uint8_t *end; at < len && (end = memchr(bytes + at, '\n', len - at)); at = (uint32_t)(end - bytes) + 1) {
		uint32_t n = (uint32_t)(end - bytes) - at;
		if (!n)
			continue;
		if (!ingress_ready(in, n)) {
			stream_wait(stream, STREAM_WAIT_CREDIT);
			break;
		}
		uint32_t ticket = stream_ticket(stream, at);
		assert(ticket);
		struct event *event = ingress_append(in, bytes + at, n, 1);
		assert(event);
		stream_event(stream, event, ticket, at + n + 1);
	}
	return at;
}

static inline void
lines_close(void *source)
{
	(void)source;
}

static inline uint32_t
lines_state(const struct stream *stream)
{
	(void)stream;
	return 0;
}

static inline void
lines_state_set(struct stream *stream, uint32_t state)
{
	(void)stream;
	assert(state == 0);
}

static const struct source_ops lines __attribute__((unused)) = { .name = "lines", .open = lines_open, .on_bytes = lines_bytes, .close = lines_close };
/* Its connections outlive the process. */
static const struct source_ops lasting_lines = { .name = "lines", .open = lines_open, .on_bytes = lines_bytes, .close = lines_close,
	.stream_state = lines_state, .stream_state_set = lines_state_set };

#endif
