#include "dataplane/source/syslog_frame.h"

#include <string.h>

#include "dataplane/stream.h"

struct framer {
	struct syslog_framing *state;
	uint32_t most;
	struct stream *stream;
	syslog_message_fn message;
	void *source;
};

/* Length of "DIGITS " before a '<', and the count; 0: not counted; -1: more bytes would tell. */
static int
count_prefix(const uint8_t *p, uint32_t len, uint32_t *count)
{
	uint32_t n = 0, value = 0;
	while (n < len && n < 9 && (uint8_t)(p[n] - '0') < 10)
		value = value * 10 + (uint32_t)(p[n++] - '0');
	if (n == 0 || p[0] == '0')
		return 0;
	if (n == len || (n + 1 == len && p[n] == ' '))
		return -1;
	if (p[n] != ' ' || p[n + 1] != '<')
		return 0;
	*count = value;
	return (int)n + 1;
}

/* A piece of at most eventSize bytes of a counted frame; `at` is that of p, `begin` where its frame or piece begins. Returns what was eaten. */
static uint32_t
counted(const struct framer *f, const uint8_t *p, uint32_t have, uint32_t at, uint32_t begin)
{
	struct syslog_framing *t = f->state;
	uint32_t most = f->most, want = t->counted_left < most ? t->counted_left : most;
	if (have < want)
		return 0;
	uint32_t len = want;
	bool whole = want == t->counted_left;
	if (whole && len && p[len - 1] == '\n')
		len--;
	if (len && !f->message(f->source, f->stream, p, len, begin, whole ? at + want : 0, !whole && !t->cut))
		return 0;
	t->counted_left -= want;
	t->cut = t->counted_left != 0;
	return want;
}

uint32_t
syslog_frames(struct syslog_framing *t, uint32_t most, struct stream *stream, const uint8_t *bytes, uint32_t len, bool last,
	      syslog_message_fn message, void *source)
{
	const struct framer f = { t, most, stream, message, source };
	uint32_t n = 0;
	while (n < len) {
		const uint8_t *p = bytes + n;
		uint32_t left = len - n, count;
		if (t->counted_left) {
			uint32_t eaten = counted(&f, p, left, n, n);
			if (!eaten)
				break;
			n += eaten;
			continue;
		}
		if (*p == '\n') {
			n++;
			t->cut = false;
			continue;
		}
		int prefix = t->cut || (uint8_t)(*p - '0') >= 10 ? 0 : count_prefix(p, left, &count);
		if (prefix < 0 && !last)
			break;
		if (prefix > 0) {
			t->counted_left = count;
			uint32_t eaten = count ? counted(&f, p + prefix, left - (uint32_t)prefix, n + (uint32_t)prefix, n) : 0;
			if (count && !eaten) {
				t->counted_left = 0;	/* the prefix is read again */
				break;
			}
			n += (uint32_t)prefix + eaten;
			continue;
		}
		uint32_t look = left < most ? left : most;
		const uint8_t *newline = memchr(p, '\n', look);
		if (!newline && left < most)
			break;
		uint32_t size = newline ? (uint32_t)(newline - p) : most;
		if (!message(source, stream, p, size, n, newline ? n + size + 1 : 0, !newline && !t->cut))
			break;
		t->cut = !newline;
		n += size + (newline ? 1 : 0);
	}
	return n;
}

uint32_t
syslog_frame_begin(const uint8_t *bytes, uint32_t len)
{
	uint32_t count;
	int prefix = count_prefix(bytes, len, &count);
	return prefix > 0 && (uint32_t)prefix < len ? (uint32_t)prefix : 0;
}

uint32_t
syslog_framing_state(const struct stream *stream)
{
	const struct syslog_framing *t = stream->state;
	return t->counted_left | (t->cut ? 1u << 31 : 0);
}

void
syslog_framing_set(struct stream *stream, uint32_t state)
{
	*(struct syslog_framing *)stream->state = (struct syslog_framing){ .counted_left = state & INT32_MAX, .cut = state >> 31 };
}
