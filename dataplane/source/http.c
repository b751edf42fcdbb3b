/* http: events by HTTP/1.1 (Flume's HTTPSource). All events of a request enter or none; 200 is sent when every required channel has acknowledged them, so the
 * reply is the promise. Answers keep the order of pipelined requests. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <zlib.h>

#include "dataplane/source/http_handler.h"
#include "dataplane/source/stream_options.h"
#include "dataplane/stream.h"

#define REQUESTS_MAX 128u		/* under way on one connection */
#define ANSWER_BYTES 1024u		/* at most, for one request */
#define WHOLE_MAX 16384u		/* a shorter body is read where it lies, when it is complete */
#define BODIES_BYTES (256u << 20)	/* memory of all bodies that are being collected, per thread */

/* Cookie of a ticket: the answer, and what its connection does then. */
#define COOKIE_CLOSE (UINT64_C(1) << 16)
#define COOKIE_HEAD (UINT64_C(1) << 17)	/* no body in the answer */
#define COOKIE_1_0 (UINT64_C(1) << 18)

static const struct answer {
	int status;
	const char *message;
} answers[HTTP_ANSWERS] = {
	[HTTP_OK] = { 200, "" },
	[HTTP_BAD_JSON] = { 400, "Bad request from client. Request has invalid JSON Syntax." },
	[HTTP_NULL_LIST] = { 500, "Deserializer threw unexpected exception. There is no list of events." },
	[HTTP_NULL_EVENT] = { 500, "Deserializer threw unexpected exception. An event is null." },
	[HTTP_CHARSET] = { 500, "Deserializer threw unexpected exception. The charset is none of UTF-8, UTF-16, UTF-32." },
	[HTTP_PARAMETER] = { 500, "Deserializer threw unexpected exception. A parameter of handler.mandatoryParameters is missing in the request." },
	[HTTP_HEADERS_MAX] = { 413, "An event has more than 1024 headers, or they do not fit into memory." },
	[HTTP_FULL] = { 503, "Error appending event to channel. Channel might be full." },
	[HTTP_STORE] = { 503, "Error appending event to channel. It could not be stored." },
	[HTTP_TOO_LARGE] = { 413, "The events do not fit into one batch of the channel: send fewer or smaller ones." },
	[HTTP_BODY_MAX] = { 413, "The body is larger than penstock.body.max." },
	[HTTP_BAD_GZIP] = { 400, "Bad request from client. The body is not gzip." },
	[HTTP_ENCODING] = { 415, "The Content-Encoding is neither gzip nor identity." },
	[HTTP_FORBIDDEN] = { 403, "" },
	[HTTP_METHOD] = { 405, "" },
	[HTTP_BAD_REQUEST] = { 400, "Bad request from client. This is no HTTP/1.1 request." },
	[HTTP_BAD_CHUNK] = { 400, "Bad request from client. A chunk is malformed." },
	[HTTP_URI_LONG] = { 414, "The request line is too long." },
	[HTTP_EXPECT] = { 417, "Only 100-continue can be expected." },
	[HTTP_FIELDS] = { 431, "The header fields are too many or too long." },
	[HTTP_TRANSFER] = { 501, "The only transfer coding is chunked." },
	[HTTP_VERSION] = { 505, "Only HTTP/1.1 and HTTP/1.0 are spoken here." },
	[HTTP_MEMORY] = { 503, "Too many bodies are being received." },
};

struct http_config {
	const char *bind;
	uint32_t port;
	const char *handler;
	struct http_handler_config handler_config;
	uint64_t body_bytes;
	uint32_t idle_ms;
	struct stream_options stream;
};

struct http {
	const struct http_config *config;
	struct ingress_source *in;
	const struct http_handler_ops *ops;
	void *handler;
	uint64_t bodies_bytes;
	char *text;			/* a short body with its padding */
	char *inflated;
	size_t inflated_room;
	time_t date_s;
	char date[40];
	char ok[128];			/* the answer of most requests, with that date; ok_bytes 0: not made yet */
	uint32_t ok_bytes;
};

enum state { STATE_HEAD, STATE_LENGTH, STATE_CHUNKED, STATE_READY };

struct http_stream {
	uint8_t state;			/* enum state */
	bool refused;			/* nothing more is read */
	bool continued;			/* 100 was sent for the request under way */
	uint8_t number;			/* of the request under way, from 1 on, and round again */
	uint32_t under_way;
	uint32_t ticket;		/* of a request that waits for credit */
	uint64_t full_ns;		/* since when it waits; 0: it does not */
	char *head;			/* copy, while its body comes */
	struct http1_request request;
	struct http1_chunked chunked;
	char *body;
	uint32_t body_len, body_room;
};

#define JETTY(name) { name, OPT_FAMILY, 0, NULL, 0, 0, NULL, "Settings of Jetty.", OPTION_NO_MEANING, .note = "there is no Jetty here" }

static const struct option http_options[] = {
	{ "port", OPT_U32, offsetof(struct http_config, port), NULL, 1, 65535, NULL, "TCP port.", OPTION_REQUIRED },
	{ "bind", OPT_STRING, offsetof(struct http_config, bind), NULL, 0, 0, NULL, "Address or name to listen on; all when not set.", .old_names = "host" },
	{ "handler", OPT_STRING, offsetof(struct http_config, handler), "org.apache.flume.source.http.JSONHandler", 0, 0, NULL,
	  "What makes events of a request: org.apache.flume.source.http.JSONHandler, org.apache.flume.source.http.BLOBHandler or "
	  "org.apache.flume.sink.solr.morphline.BlobHandler." },
	{ "handler.mandatoryParameters", OPT_LIST, offsetof(struct http_config, handler_config.mandatory), NULL, 0, 0, NULL,
	  "BLOBHandler: parameters without which a request is refused, comma separated.", .separator = "," },
	{ "handler.maxBlobLength", OPT_U64, offsetof(struct http_config, handler_config.blob_bytes), "100000000", 1, INT64_MAX, "bytes",
	  "morphline BlobHandler: longer bodies are cut." },
	{ "penstock.body.max", OPT_U64, offsetof(struct http_config, body_bytes), "4m", 1, 1 << 30, NULL,
	  "Largest body, also after gzip is undone; larger ones are answered with 413.", OPTION_SIZE },
	STREAM_OPTIONS(struct http_config, stream, "30s"),
	{ "ServerConnector.idleTimeout", OPT_U32, offsetof(struct http_config, idle_ms), "0", 0, 0, "ms",
	  "As penstock.idle.timeout, which is used when this is 0." },
	JETTY("QueuedThreadPool."), JETTY("HttpConfiguration."),
	{ "SslContextFactory.", OPT_FAMILY, 0, NULL, 0, 0, NULL, "Settings of Jetty's TLS.", OPTION_REFUSED,
	  .note = "use penstock.client.certificate (none, wanted, needed), include-protocols, exclude-protocols, include-cipher-suites or exclude-cipher-suites" },
	JETTY("ServerConnector."),
	{ NULL },
};

static const struct http_handler_ops *const handlers[] = { &http_handler_json, &http_handler_blob, &http_handler_morphline_blob, NULL };

static const struct http_handler_ops *
handler_find(const char *name)
{
	for (int i = 0; handlers[i]; i++)
		if (strcasecmp(handlers[i]->name, name) == 0)
			return handlers[i];
	return NULL;
}

static int
check(const void *config, const char *name, struct err *err)
{
	const struct http_config *c = config;
	if (!handler_find(c->handler))
		return err_set(err, EINVAL, "sources.%s: handler: \"%s\" is not known: choose %s, %s or %s", name, c->handler, handlers[0]->name,
			       handlers[1]->name, handlers[2]->name);
	return stream_options_check(&c->stream, name, err);
}

static uint32_t
listens(const void *config, struct source_listen *out, uint32_t max)
{
	const struct http_config *c = config;
	if (max)
		out[0] = (struct source_listen){ .host = c->bind, .port = c->port, .allow = c->stream.allow, .stream = &c->stream, .replies = true, .answers_full = true, .tickets = true,
						 .idle_ns = c->idle_ms * NS_PER_MS };
	return 1;
}

static int
open_source(void **source, const void *config, struct ingress_source *in, struct err *err)
{
	const struct http_config *c = config;
	struct http *s = calloc(1, sizeof *s);
	if (!s)
		return err_set(err, ENOMEM, "no memory");
	*source = s;
	s->config = c;
	s->in = in;
	s->ops = handler_find(c->handler);
	s->text = malloc(WHOLE_MAX + JSON_PADDING);
	if (!s->text)
		return err_set(err, ENOMEM, "no memory");
	return s->ops->open(&s->handler, &c->handler_config, in, err);
}

static void
close_source(void *source)
{
	struct http *s = source;
	if (s->handler)
		s->ops->close(s->handler);
	free(s->text);
	free(s->inflated);
	free(s);
}

enum http_answer
http_append(struct ingress_source *in, const char *body, uint32_t len, const struct http1_text *names, const struct http1_text *values, uint32_t count)
{
	struct batch *batch = &in->ingress->batch;
	struct event *event = ingress_append(in, body, len, in->ingress->wall_ns);
	if (!event)
		return HTTP_OK;		/* commit tells */
	if (!count)
		return HTTP_OK;
	/* Names that strangers choose are not interned: they stand in the batch. */
	struct header *headers = arena_get(&batch->arena, count * sizeof *headers);
	struct name *own = arena_get(&batch->arena, count * sizeof *own);
	if (!headers || !own)
		return HTTP_HEADERS_MAX;
	for (uint32_t i = 0; i < count; i++) {
		const struct name *known = names[i].len <= 64 ? name_find(names[i].bytes, names[i].len) : NULL;
		own[i] = (struct name){ .text = names[i].bytes, .len = names[i].len, .id = NAME_ID_INLINE };
		headers[i] = (struct header){ .name = known ? known : &own[i], .kind = HEADER_BYTES, .len = values[i].len,
					      .value.bytes = (const uint8_t *)values[i].bytes };
	}
	event->headers = headers;
	event->header_count = event->header_room = (uint16_t)count;
	return HTTP_OK;
}

/* ---- answers ---- */

static const char *
date(struct http *s)
{
	time_t now = (time_t)(s->in->ingress->wall_ns / NS_PER_S);
	if (now == s->date_s)
		return s->date;
	static const char days[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	struct tm tm;
	gmtime_r(&now, &tm);
	snprintf(s->date, sizeof s->date, "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT", days + 3 * tm.tm_wday, (unsigned)tm.tm_mday % 100u, months + 3 * tm.tm_mon,
		 (unsigned)(tm.tm_year + 1900) % 10000u, (unsigned)tm.tm_hour % 100u, (unsigned)tm.tm_min % 100u, (unsigned)tm.tm_sec % 100u);
	s->date_s = now;
	s->ok_bytes = 0;
	return s->date;
}

static void
send_answer(struct http *s, struct stream *stream, enum http_answer which, uint64_t cookie)
{
	char text[ANSWER_BYTES], page[600];
	const struct answer *a = &answers[which];
	const char *today = date(s);
	int page_len = 0;
	bool plain = which == HTTP_OK && !(cookie & (COOKIE_CLOSE | COOKIE_1_0));
	if (plain && s->ok_bytes) {
		stream_send(stream, s->ok, s->ok_bytes);
		return;
	}
	if (*a->message)
		page_len = snprintf(page, sizeof page, "<html>\n<head>\n<title>Error %d %s</title>\n</head>\n<body><h2>HTTP ERROR %d %s</h2>\n"
				    "<table>\n<tr><th>STATUS:</th><td>%d</td></tr>\n<tr><th>MESSAGE:</th><td>%s</td></tr>\n</table>\n</body>\n</html>\n",
				    a->status, a->message, a->status, a->message, a->status, a->message);
	int n = snprintf(text, sizeof text, "HTTP/1.1 %d %s\r\nDate: %s\r\n%s%s%sContent-Length: %d\r\n\r\n", a->status, http1_reason(a->status), today,
			 page_len ? "Content-Type: text/html;charset=utf-8\r\nCache-Control: must-revalidate,no-cache,no-store\r\n" : "",
			 which == HTTP_METHOD ? "Allow: GET, POST\r\n" : "",
			 cookie & COOKIE_CLOSE ? "Connection: close\r\n" : cookie & COOKIE_1_0 ? "Connection: keep-alive\r\n" : "", page_len);
	if (plain && (size_t)n <= sizeof s->ok) {
		memcpy(s->ok, text, (size_t)n);
		s->ok_bytes = (uint32_t)n;
	}
	if (stream_send(stream, text, (uint32_t)n) && page_len && !(cookie & COOKIE_HEAD))
		stream_send(stream, page, (uint32_t)page_len);
	if (cookie & COOKIE_CLOSE)
		stream_close(stream);
}

static void
on_settled(void *source, struct stream *stream, uint64_t cookie, int status)
{
	struct http *s = source;
	if (!stream)
		return;
	struct http_stream *t = stream->state;
	t->under_way--;
	send_answer(s, stream, status ? HTTP_STORE : (enum http_answer)(cookie & 0xffff), cookie);
}

/* ---- requests ---- */

static void
body_free(struct http *s, struct http_stream *t)
{
	s->bodies_bytes -= t->body_room;
	free(t->body);
	free(t->head);
	t->head = t->body = NULL;
	t->body_len = t->body_room = 0;
}

static bool
body_add(struct http *s, struct http_stream *t, const void *bytes, size_t len, uint64_t expected)
{
	size_t need = t->body_len + len + JSON_PADDING;
	if (need > t->body_room) {
		size_t room = t->body_room ? 2 * (size_t)t->body_room : expected + JSON_PADDING < 65536 ? expected + JSON_PADDING + 1 : 65536;
		while (room < need)
			room *= 2;
		if (s->bodies_bytes + room - t->body_room > BODIES_BYTES)
			return false;
		char *body = realloc(t->body, room);
		if (!body)
			return false;
		s->bodies_bytes += room - t->body_room;
		t->body = body;
		t->body_room = (uint32_t)room;
	}
	if (len)
		memcpy(t->body + t->body_len, bytes, len);
	t->body_len += (uint32_t)len;
	return true;
}

/* Gives the request under way its answer, which is sent when all before it have theirs. */
static void
answer(struct stream *stream, enum http_answer which, uint32_t at)
{
	struct http_stream *t = stream->state;
	const struct http1_request *r = &t->request;
	uint32_t ticket = t->ticket ? t->ticket : stream_ticket_open(stream, 0, at);
	if (!ticket) {
		stream_reset(stream);
		return;
	}
	uint64_t cookie = which | (t->refused || !r->keep_alive ? COOKIE_CLOSE : 0) | (r->http_1_0 ? COOKIE_1_0 : 0) |
			  (r->method.len && http1_is(r->method, "HEAD") ? COOKIE_HEAD : 0);
	ticket_at(&stream->in->ingress->tickets, ticket)->cookie = cookie;
	stream_ticket_complete(stream, ticket);
	t->under_way++;
	t->ticket = 0;
	t->full_ns = 0;
	t->continued = false;
	if (cookie & COOKIE_CLOSE)
		t->refused = true;	/* what follows is not read */
}

static void
refuse(struct stream *stream, enum http_answer which, uint32_t at)
{
	struct http_stream *t = stream->state;
	t->refused = true;
	answer(stream, which, at);
}

static enum http_answer
inflate_body(struct http *s, const char **body, uint32_t *len)
{
	z_stream z = { .next_in = (Bytef *)*body, .avail_in = *len };
	size_t used = 0;
	if (inflateInit2(&z, 15 + 16) != Z_OK)
		return HTTP_MEMORY;
	int rc = Z_OK;
	while (rc == Z_OK && used <= s->config->body_bytes) {
		if (s->inflated_room - used < 4096 + JSON_PADDING) {
			size_t room = s->inflated_room ? 2 * s->inflated_room : 65536;
			char *more = realloc(s->inflated, room);
			if (!more)
				break;
			s->inflated = more;
			s->inflated_room = room;
		}
		size_t space = s->inflated_room - used - JSON_PADDING;
		z.next_out = (Bytef *)s->inflated + used;
		z.avail_out = (uInt)space;
		rc = inflate(&z, Z_NO_FLUSH);
		used += space - z.avail_out;
		if (rc == Z_STREAM_END && z.avail_in)
			rc = inflateReset(&z);	/* a further member */
		if (rc == Z_OK && !z.avail_in && z.avail_out)
			rc = Z_BUF_ERROR;	/* it ends too early */
	}
	inflateEnd(&z);
	if (used > s->config->body_bytes)
		return HTTP_BODY_MAX;
	if (rc != Z_STREAM_END)
		return rc == Z_OK ? HTTP_MEMORY : HTTP_BAD_GZIP;
	*body = s->inflated;
	*len = (uint32_t)used;
	return HTTP_OK;
}

/* The request's body is complete. False: it waits for credit and is looked at again. */
static bool
handle(struct http *s, struct stream *stream, const char *body, uint32_t len, uint32_t at)
{
	struct http_stream *t = stream->state;
	const struct http1_request *r = &t->request;
	if (http1_is(r->method, "TRACE") || http1_is(r->method, "OPTIONS"))
		return answer(stream, HTTP_FORBIDDEN, at), true;
	if (!http1_is(r->method, "POST") && !http1_is(r->method, "GET") && !http1_is(r->method, "HEAD"))
		return answer(stream, HTTP_METHOD, at), true;
	enum http_answer which = HTTP_OK;
	if (http1_is(r->content_encoding, "gzip") || http1_is(r->content_encoding, "x-gzip"))
		which = inflate_body(s, &body, &len);
	else if (r->content_encoding.len && !http1_is(r->content_encoding, "identity"))
		which = HTTP_ENCODING;
	if (which != HTTP_OK)
		return answer(stream, which, at), true;
	if (!t->ticket && !(t->ticket = stream_ticket_open(stream, 0, at)))
		return stream_reset(stream), true;
	ingress_begin(s->in, t->ticket);
	which = s->ops->run(s->handler, r, body, len, t->ticket);
	if (which != HTTP_OK) {
		ingress_abort(s->in);
		counter_add(&s->in->counters.read_fail, 1);
		return answer(stream, which, at), true;
	}
	int rc = ingress_commit(s->in);
	uint64_t now_ns = stream->streams->now_ns;
	uint64_t wait_ns = rc == -ENOSPC ? ingress_keep_alive_ns(s->in) : 0;
	if (wait_ns && (!t->full_ns || now_ns - t->full_ns < wait_ns)) {
		if (!t->full_ns)
			t->full_ns = now_ns;
		stream_wait_until(stream, t->full_ns + wait_ns, ingress_credit(s->in) + 1);
		return false;
	}
	if (rc)
		ingress_refused(s->in);
	answer(stream, rc == 0 ? HTTP_OK : rc == -EMSGSIZE ? HTTP_TOO_LARGE : HTTP_FULL, at);
	return true;
}

/* Pointers of the request into a copy of its head. */
static bool
keep_head(struct http_stream *t, const char *head)
{
	struct http1_request *r = &t->request;
	t->head = malloc(r->head_len);
	if (!t->head)
		return false;
	memcpy(t->head, head, r->head_len);
	struct http1_text *texts[] = { &r->method, &r->target, &r->content_type, &r->content_encoding };
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		if (texts[i]->len)
			texts[i]->bytes = t->head + (texts[i]->bytes - head);
	return true;
}

/* Returns the bytes eaten; 0: more are needed, or something is waited for. */
static uint32_t
head(struct http *s, struct stream *stream, const char *bytes, uint32_t len, uint32_t at)
{
	struct http_stream *t = stream->state;
	struct http1_request *r = &t->request;
	int n = http1_head(bytes, len, r);
	if (n == 0)
		return 0;
	if (n < 0) {
		enum http_answer which = n == -414 ? HTTP_URI_LONG : n == -417 ? HTTP_EXPECT : n == -431 ? HTTP_FIELDS : n == -501 ? HTTP_TRANSFER :
					 n == -505 ? HTTP_VERSION : HTTP_BAD_REQUEST;
		memset(r, 0, sizeof *r);
		refuse(stream, which, at);
		return len;
	}
	if (r->has_length && r->content_length > s->config->body_bytes) {
		refuse(stream, HTTP_BODY_MAX, at);
		return len;
	}
	uint32_t left = len - (uint32_t)n;
	bool whole = !r->chunked && r->content_length <= left;
	if (!whole && r->expects_continue && !t->continued) {
		static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
		if (t->under_way) {
			stream_wait(stream, STREAM_WAIT_SETTLE);	/* answers keep their order */
			return 0;
		}
		t->continued = true;
		if (!stream_send(stream, go_on, sizeof go_on - 1))
			return len;
	}
	if (whole && r->content_length <= WHOLE_MAX) {
		memcpy(s->text, bytes + n, (size_t)r->content_length);
		return handle(s, stream, s->text, (uint32_t)r->content_length, at) ? (uint32_t)n + (uint32_t)r->content_length : 0;
	}
	if (!r->chunked && r->content_length <= WHOLE_MAX)
		return 0;	/* it is offered again when more is there */
	if (!keep_head(t, bytes) || !body_add(s, t, NULL, 0, r->chunked ? 4096 : r->content_length)) {
		refuse(stream, HTTP_MEMORY, at);
		return len;
	}
	memset(&t->chunked, 0, sizeof t->chunked);
	t->state = r->chunked ? STATE_CHUNKED : STATE_LENGTH;
	t->number = (uint8_t)(t->number == UINT8_MAX ? 1 : t->number + 1);
	return (uint32_t)n;
}

static uint32_t
chunks(struct http *s, struct stream *stream, const char *bytes, uint32_t len, uint32_t at)
{
	struct http_stream *t = stream->state;
	uint32_t n = 0;
	bool done = false, bad = false;
	while (!done) {
		const char *data;
		size_t data_len, eaten = http1_chunks(&t->chunked, bytes + n, len - n, &data, &data_len, &done, &bad);
		if (bad || t->body_len + data_len > s->config->body_bytes || !body_add(s, t, data, data_len, 4096)) {
			refuse(stream, bad ? HTTP_BAD_CHUNK : t->body_len + data_len > s->config->body_bytes ? HTTP_BODY_MAX : HTTP_MEMORY, at);
			return len;
		}
		n += (uint32_t)eaten;
		if (!eaten)
			break;
	}
	if (done)
		t->state = STATE_READY;
	return n;
}

static int64_t
on_bytes(void *source, struct stream *stream, const uint8_t *bytes, uint32_t len, bool last)
{
	struct http *s = source;
	struct http_stream *t = stream->state;
	uint32_t n = 0;
	(void)last;
	while (!t->refused && (n < len || t->state == STATE_READY)) {
		const char *p = (const char *)bytes + n;
		uint32_t left = len - n, eaten = 0;
		if (t->under_way >= REQUESTS_MAX) {
			stream_wait(stream, STREAM_WAIT_SETTLE);
			break;
		}
		if (stream_send_room(stream) < (REQUESTS_MAX + 2) * 2 * ANSWER_BYTES / 3) {
			stream_wait(stream, STREAM_WAIT_SEND);
			break;
		}
		switch ((enum state)t->state) {
		case STATE_HEAD:
			eaten = head(s, stream, p, left, n);
			break;
		case STATE_LENGTH:
			eaten = left < t->request.content_length - t->body_len ? left : (uint32_t)(t->request.content_length - t->body_len);
			if (!body_add(s, t, p, eaten, t->request.content_length)) {
				refuse(stream, HTTP_MEMORY, n);
				break;
			}
			if (t->body_len == t->request.content_length)
				t->state = STATE_READY;
			break;
		case STATE_CHUNKED:
			eaten = chunks(s, stream, p, left, n);
			break;
		case STATE_READY:
			if (!handle(s, stream, t->body, t->body_len, n))
				goto out;
			body_free(s, t);
			t->state = STATE_HEAD;
			continue;
		}
		n += eaten;
		if (!eaten)
			break;
	}
out:
	stream_frame(stream, t->state != STATE_HEAD && t->state != STATE_READY && !t->refused ? t->number : 0);
	return t->refused ? len : n;
}

static void
on_close(void *source, struct stream *stream)
{
	struct http *s = source;
	struct http_stream *t = stream->state;
	/* A request that waited for credit ends with its connection. */
	if (t->ticket)
		stream_ticket_complete(stream, t->ticket);
	body_free(s, t);
}

const struct source_ops source_http = {
	.name = "http",
	.class_names = "org.apache.flume.source.http.HTTPSource",
	.help = "Events by HTTP POST and GET, answered with 200 once they are stored.",
	.options = http_options,
	.config_size = sizeof(struct http_config),
	.check = check,
	.listens = listens,
	.open = open_source,
	.on_bytes = on_bytes,
	.stream_bytes = sizeof(struct http_stream),
	.on_settled = on_settled,
	.on_close = on_close,
	.close = close_source,
};
