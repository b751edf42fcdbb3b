/* syslog_frame: syslog messages of a stream, framed by line feeds or by octet counts (RFC 6587), told apart frame by frame.
 *
 * A frame that begins with "DIGITS <" is counted: rsyslog and syslog-ng put a line feed at the end inside the count, which is no part of the message.
 * Any other ends with a line feed; empty ones make no event. A message longer than `most` is cut: the first piece is told as cut, what follows are
 * messages of their own, as in Flume. */
#ifndef PENSTOCK_DATAPLANE_SOURCE_SYSLOG_FRAME_H
#define PENSTOCK_DATAPLANE_SOURCE_SYSLOG_FRAME_H

#include <stdbool.h>
#include <stdint.h>

struct stream;

struct syslog_framing {			/* of one connection; zeros at the start */
	uint32_t counted_left;		/* of a counted frame longer than `most` */
	bool cut;			/* a piece of this frame was a message already */
};

/* len > 0, no newline at the end; `at`: where its frame begins in `bytes`; end: where it ends, 0 when this is a piece of it and more follows. False: no
 * credit, the frame stays. */
typedef bool (*syslog_message_fn)(void *source, struct stream *stream, const uint8_t *bytes, uint32_t len, uint32_t at, uint32_t end, bool cut);

/* For on_bytes: returns what was eaten. */
uint32_t syslog_frames(struct syslog_framing *framing, uint32_t most, struct stream *stream, const uint8_t *bytes, uint32_t len, bool last,
		       syslog_message_fn message, void *source);

/* For stream_state and stream_state_set. */
uint32_t syslog_framing_state(const struct stream *stream);
void syslog_framing_set(struct stream *stream, uint32_t state);

/* Where the message begins in a frame that was cut short: behind the octet count, if it has one and more than that. */
uint32_t syslog_frame_begin(const uint8_t *bytes, uint32_t len);

#endif
