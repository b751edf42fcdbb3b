/* netcat: lines over TCP, one event each (Flume's NetcatSource). `OK` is sent when every required channel has acknowledged the line, so the reply is the
 * promise. A full channel leaves the connection unread instead of FAILED; FAILED says that a channel could not store the line. */
#include <errno.h>
#include <iconv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/utf8.h"
#include "dataplane/source/stream_options.h"
#include "dataplane/stream.h"

#define LINES_MAX 1024u			/* under way on one connection, each with an answer to come */
#define LINES_SILENT_MAX 65536u		/* the same with ack-every-event = false: a window of 1,024 was 0.1 M events/s */
#define COOKIE_TOO_LONG (UINT64_C(1) << 63)	/* the line that does not fit: say so and close; else a count of lines */

struct netcat_config {
	const char *bind;
	uint32_t port;
	bool acks;
	uint32_t line_chars;
	const char *encoding;
	struct stream_options stream;
};

struct netcat {
	const struct netcat_config *config;
	struct ingress_source *in;
	iconv_t decode;			/* (iconv_t)-1: UTF-8 */
	uint8_t *text;			/* of one decoded line */
};

struct netcat_stream {
	uint32_t lines;			/* under way */
	bool ended;			/* a line was too long: nothing more is read */
};

static const struct option netcat_options[] = {
	{ "port", OPT_U32, offsetof(struct netcat_config, port), NULL, 1, 65535, NULL, "TCP port.", OPTION_REQUIRED },
	{ "bind", OPT_STRING, offsetof(struct netcat_config, bind), NULL, 0, 0, NULL, "Address or name to listen on.", OPTION_REQUIRED, .old_names = "host" },
	{ "ack-every-event", OPT_BOOL, offsetof(struct netcat_config, acks), "true", 0, 0, NULL, "Answer OK for every line, once it is stored." },
	{ "max-line-length", OPT_U32, offsetof(struct netcat_config, line_chars), "512", 2, 65536, "characters", "Longest line, newline included." },
	{ "encoding", OPT_STRING, offsetof(struct netcat_config, encoding), "utf-8", 0, 0, NULL, "Of what is received; bodies are stored as UTF-8." },
	STREAM_OPTIONS(struct netcat_config, stream, "0"),
	{ NULL },
};

static bool
is_utf8(const char *name)
{
	return strcasecmp(name, "utf-8") == 0 || strcasecmp(name, "utf8") == 0;
}

static int
check(const void *config, const char *name, struct err *err)
{
	const struct netcat_config *c = config;
	iconv_t decode = is_utf8(c->encoding) ? (iconv_t)-1 : iconv_open("UTF-8", c->encoding);
	if (decode == (iconv_t)-1 && !is_utf8(c->encoding))
		return err_set(err, EINVAL, "sources.%s: encoding: \"%s\" is not known: choose utf-8, iso-8859-1 or another name that iconv -l shows", name,
			       c->encoding);
	uint8_t probe[] = { '\n' }, out[8];
	char *from = (char *)probe, *to = (char *)out;
	size_t from_left = 1, to_left = sizeof out;
	if (decode != (iconv_t)-1) {
		bool splits = iconv(decode, &from, &from_left, &to, &to_left) != (size_t)-1 && to_left == sizeof out - 1 && out[0] == '\n';
		iconv_close(decode);
		if (!splits)
			return err_set(err, EINVAL, "sources.%s: encoding: \"%s\": its line feed is more than one byte: choose an encoding that holds ASCII", name,
				       c->encoding);
	}
	return stream_options_check(&c->stream, name, err);
}

static uint32_t
listens(const void *config, struct source_listen *out, uint32_t max)
{
	const struct netcat_config *c = config;
	if (max)
		out[0] = (struct source_listen){ .host = c->bind, .port = c->port, .allow = c->stream.allow, .stream = &c->stream, .replies = true };
	return 1;
}

static int
open_source(void **source, const void *config, struct ingress_source *in, struct err *err)
{
	const struct netcat_config *c = config;
	struct netcat *s = calloc(1, sizeof *s);
	if (!s)
		return err_set(err, ENOMEM, "no memory");
	*source = s;
	s->config = c;
	s->in = in;
	s->decode = is_utf8(c->encoding) ? (iconv_t)-1 : iconv_open("UTF-8", c->encoding);
	s->text = malloc(4 * (size_t)c->line_chars + 16);
	return s->text ? 0 : err_set(err, ENOMEM, "no memory");
}

static void
close_source(void *source)
{
	struct netcat *s = source;
	if (s->decode != (iconv_t)-1)
		iconv_close(s->decode);
	free(s->text);
	free(s);
}

/* The line as UTF-8; bytes that cannot be decoded stay as they are. */
static const uint8_t *
decode(struct netcat *s, const uint8_t *line, uint32_t *len)
{
	if (s->decode == (iconv_t)-1)
		return line;
	char *from = (char *)line, *to = (char *)s->text;
	size_t from_left = *len, to_left = 4 * (size_t)s->config->line_chars + 16;
	iconv(s->decode, NULL, NULL, NULL, NULL);
	if (iconv(s->decode, &from, &from_left, &to, &to_left) == (size_t)-1)
		return line;
	*len = (uint32_t)(to - (char *)s->text);
	return s->text;
}

static bool
too_long(const struct netcat *s, const uint8_t *line, uint32_t len)
{
	uint32_t most = s->config->line_chars;
	if (len < most)
		return false;
	return s->decode != (iconv_t)-1 || utf8_utf16_units(line, len) >= most;
}

static int64_t
on_bytes(void *source, struct stream *stream, const uint8_t *bytes, uint32_t len, bool last)
{
	struct netcat *s = source;
	struct netcat_stream *t = stream->state;
	uint32_t n = 0;
	while (n < len && !t->ended) {
		const uint8_t *line = bytes + n, *newline = memchr(line, '\n', len - n);
		uint32_t size = newline ? (uint32_t)(newline - line) : len - n;
		if (too_long(s, line, size)) {
			/* Its answer comes behind those of the lines before it. */
			uint32_t ticket = stream_ticket_open(stream, COOKIE_TOO_LONG, n);
			if (!ticket)
				return -ENOMEM;
			stream_ticket_complete(stream, ticket);
			ingress_drop_empty(s->in);
			t->ended = true;
			break;
		}
		if (!newline)
			break;
		if (t->lines >= (s->config->acks ? LINES_MAX : LINES_SILENT_MAX)) {
			stream_wait(stream, STREAM_WAIT_SETTLE);
			return n;
		}
		/* Each line under way may be answered FAILED. All of them have room behind TLS, too. While there are any, room comes when they are stored; the
		 * peer's reading makes none where nothing was sent. */
		if (stream_send_room(stream) < 96u * (t->lines + 2)) {
			stream_wait(stream, t->lines ? STREAM_WAIT_SETTLE : STREAM_WAIT_SEND);
			return n;
		}
		uint32_t ticket = 0;
		if (!ingress_ready(s->in, 4 * size) || !(ticket = stream_ticket(stream, n))) {
			stream_wait(stream, STREAM_WAIT_CREDIT);
			return n;
		}
		const uint8_t *body = decode(s, line, &size);
		struct event *event = ingress_append(s->in, body, size, s->in->ingress->wall_ns);
		if (event)
			event->ticket = ticket;
		else
			ticket_fail(s->in->ingress, ticket, -EMSGSIZE);
		ticket_at(&s->in->ingress->tickets, ticket)->cookie++;
		if (s->config->acks)
			stream_ticket_asked(stream, ticket);
		t->lines++;
		n = (uint32_t)(newline - bytes) + 1;
	}
	if (t->ended)
		return len;
	if (last && n < len)
		ingress_drop_empty(s->in);
	return n;
}

static void
on_settled(void *source, struct stream *stream, uint64_t cookie, int status)
{
	struct netcat *s = source;
	static const char ok[] = "OK\n", failed[] = "FAILED: a channel could not store the event\n";
	if (!stream)
		return;
	struct netcat_stream *t = stream->state;
	char text[3 * LINES_MAX];
	if (cookie & COOKIE_TOO_LONG) {
		int n = snprintf(text, sizeof text, "FAILED: Event exceeds the maximum length (%u chars, including newline)\n", s->config->line_chars);
		if (stream_send(stream, text, (uint32_t)n))
			stream_close(stream);
		return;
	}
	uint32_t lines = (uint32_t)cookie;
	t->lines -= lines;
	if (status) {
		while (lines-- && stream_send(stream, failed, sizeof failed - 1))
			;
	} else if (s->config->acks) {
		for (uint32_t i = 0; i < lines; i++)
			memcpy(text + 3 * i, ok, 3);
		stream_send(stream, text, 3 * lines);
	}
}

const struct source_ops source_netcat = {
	.name = "netcat",
	.class_names = "org.apache.flume.source.NetcatSource",
	.help = "Lines over TCP, each answered with OK once it is stored.",
	.options = netcat_options,
	.config_size = sizeof(struct netcat_config),
	.check = check,
	.listens = listens,
	.open = open_source,
	.on_bytes = on_bytes,
	.stream_bytes = sizeof(struct netcat_stream),
	.on_settled = on_settled,
	.close = close_source,
};
