/* syslogtcp: syslog over TCP (Flume's SyslogTcpSource), framed by line feeds or by octet counts (RFC 6587), told apart frame by frame.
 *
 * A frame that begins with "DIGITS <" is counted: rsyslog and syslog-ng put a line feed at the end inside the count, which is no part of the message.
 * Any other ends with a line feed; empty ones make no event. A message longer than eventSize is cut: the first piece is marked Incomplete,
 * what follows is an event of its own (Invalid), as in Flume. An unterminated message at the end of a connection makes no event, as in Flume. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/source/stream_options.h"
#include "dataplane/source/syslog_make.h"
#include "dataplane/stream.h"

struct syslogtcp_config {
	const char *host;
	uint32_t port;
	uint32_t event_bytes;
	struct syslog_make_config make;
	struct stream_options stream;
};

struct syslogtcp {
	const struct syslogtcp_config *config;
	struct syslog_maker maker;
};

struct syslogtcp_stream {
	uint32_t counted_left;		/* of a counted frame longer than eventSize */
	bool cut;			/* a piece of this frame was an event already */
};

static const struct option syslogtcp_options[] = {
	{ "port", OPT_U32, offsetof(struct syslogtcp_config, port), NULL, 1, 65535, NULL, "TCP port.", OPTION_REQUIRED },
	{ "host", OPT_STRING, offsetof(struct syslogtcp_config, host), NULL, 0, 0, NULL, "Address or name to listen on; all when not set.",
	  .old_names = "bind" },
	{ "eventSize", OPT_U32, offsetof(struct syslogtcp_config, event_bytes), "2500", 10, 65535, "bytes", "Longer messages are cut." },
	SYSLOG_MAKE_OPTIONS(struct syslogtcp_config, make),
	STREAM_OPTIONS(struct syslogtcp_config, stream, "0"),
	{ NULL },
};

static int
check(const void *config, const char *name, struct err *err)
{
	const struct syslogtcp_config *c = config;
	struct syslog_format *format;
	int rc = syslog_format_open(&format, &c->make.format, 0, err);
	syslog_format_close(format);
	return rc ? err_prefix(err, rc, "%s", name) : stream_options_check(&c->stream, name, err);
}

static uint32_t
listens(const void *config, struct source_listen *out, uint32_t max)
{
	const struct syslogtcp_config *c = config;
	if (max)
		out[0] = (struct source_listen){ .host = c->host, .port = c->port, .allow = c->stream.allow, .stream = &c->stream };
	return 1;
}

static int
open_source(void **source, const void *config, struct ingress_source *in, struct err *err)
{
	const struct syslogtcp_config *c = config;
	struct syslogtcp *s = calloc(1, sizeof *s);
	if (!s)
		return err_set(err, ENOMEM, "no memory");
	*source = s;
	s->config = c;
	return syslog_maker_open(&s->maker, &c->make, in, c->event_bytes, err);
}

static void
close_source(void *source)
{
	struct syslogtcp *s = source;
	syslog_maker_close(&s->maker);
	free(s);
}

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

/* One event. False: no credit, the frame stays. */
static bool
message(struct syslogtcp *s, struct stream *stream, const uint8_t *bytes, uint32_t len, uint32_t at, bool cut)
{
	struct ingress_source *in = s->maker.in;
	/* Kept fields never make a body longer than its message by more than a few blanks. */
	if (!ingress_ready(in, len + 16)) {
		stream_wait(stream, STREAM_WAIT_CREDIT);
		return false;
	}
	uint32_t ticket = stream_ticket(stream, at);
	if (!ticket) {
		stream_wait(stream, STREAM_WAIT_CREDIT);
		return false;
	}
	struct event *event = syslog_make(&s->maker, bytes, len, &stream->peer, in->ingress->wall_ns, cut);
	if (event)
		event->ticket = ticket;
	return true;
}

/* A piece of at most eventSize bytes of a counted frame. Returns what was eaten. */
static uint32_t
counted(struct syslogtcp *s, struct stream *stream, const uint8_t *p, uint32_t have, uint32_t at)
{
	struct syslogtcp_stream *t = stream->state;
	uint32_t most = s->config->event_bytes, want = t->counted_left < most ? t->counted_left : most;
	if (have < want)
		return 0;
	uint32_t len = want;
	bool whole = want == t->counted_left;
	if (whole && len && p[len - 1] == '\n')
		len--;
	if (len && !message(s, stream, p, len, at, !whole && !t->cut))
		return 0;
	t->counted_left -= want;
	t->cut = t->counted_left != 0;
	return want;
}

static int64_t
on_bytes(void *source, struct stream *stream, const uint8_t *bytes, uint32_t len, bool last)
{
	struct syslogtcp *s = source;
	struct syslogtcp_stream *t = stream->state;
	const uint32_t most = s->config->event_bytes;
	uint32_t n = 0;
	while (n < len) {
		const uint8_t *p = bytes + n;
		uint32_t left = len - n, count;
		if (t->counted_left) {
			uint32_t eaten = counted(s, stream, p, left, n);
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
		int prefix = t->cut ? 0 : count_prefix(p, left, &count);
		if (prefix < 0 && !last)
			break;
		if (prefix > 0) {
			t->counted_left = count;
			uint32_t eaten = count ? counted(s, stream, p + prefix, left - (uint32_t)prefix, n) : 0;
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
		if (!message(s, stream, p, size, n, !newline && !t->cut))
			break;
		t->cut = !newline;
		n += size + (newline ? 1 : 0);
	}
	if (last && n < len && !stream->wait)
		ingress_drop_empty(s->maker.in);	/* the unterminated tail */
	return n;
}

const struct source_ops source_syslogtcp = {
	.name = "syslogtcp",
	.class_names = "org.apache.flume.source.SyslogTcpSource",
	.help = "Syslog over TCP, RFC 3164 and RFC 5424, framed by line feeds or octet counts (RFC 6587).",
	.options = syslogtcp_options,
	.config_size = sizeof(struct syslogtcp_config),
	.check = check,
	.listens = listens,
	.open = open_source,
	.on_bytes = on_bytes,
	.stream_bytes = sizeof(struct syslogtcp_stream),
	.close = close_source,
};
