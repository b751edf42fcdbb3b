/* syslogtcp: syslog over TCP (Flume's SyslogTcpSource), framed by line feeds or by octet counts. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/source/stream_options.h"
#include "dataplane/source/syslog_frame.h"
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

static const struct option syslogtcp_options[] = {
	{ "port", OPT_U32, offsetof(struct syslogtcp_config, port), NULL, 1, 65535, NULL, "TCP port.", OPTION_REQUIRED },
	{ "host", OPT_STRING, offsetof(struct syslogtcp_config, host), NULL, 0, 0, NULL, "Address or name to listen on; all when not set.",
	  .old_names = "bind" },
	{ "eventSize", OPT_U32, offsetof(struct syslogtcp_config, event_bytes), "2500", 10, 200000, "bytes", "Longer messages are cut." },
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
	if (!rc && c->make.format.regex && c->event_bytes > 65535)
		return err_set(err, EINVAL, "sources.%s: eventSize: %u: with format.regex at most 65535", name, c->event_bytes);
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

/* One event. False: no credit, the frame stays. */
static bool
message(void *source, struct stream *stream, const uint8_t *bytes, uint32_t len, uint32_t at, uint32_t end, bool cut)
{
	struct syslogtcp *s = source;
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
		stream_event(stream, event, ticket, end);
	return true;
}

static int64_t
on_bytes(void *source, struct stream *stream, const uint8_t *bytes, uint32_t len, bool last)
{
	struct syslogtcp *s = source;
	uint32_t n = syslog_frames(stream->state, s->config->event_bytes, stream, bytes, len, last, message, s);
	if (last && n < len && !stream->wait)
		ingress_drop_empty(s->maker.in);	/* the unterminated tail makes no event, as in Flume */
	return n;
}

static struct event *
on_fragment(void *source, const struct address *from, const struct address *to, const uint8_t *bytes, uint32_t len)
{
	struct syslogtcp *s = source;
	uint32_t begin = syslog_frame_begin(bytes, len);
	(void)to;
	return syslog_make(&s->maker, bytes + begin, len - begin, from, s->maker.in->ingress->wall_ns, true);
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
	.stream_bytes = sizeof(struct syslog_framing),
	.stream_state = syslog_framing_state,
	.stream_state_set = syslog_framing_set,
	.on_fragment = on_fragment,
	.close = close_source,
};
