/* multiport_syslogtcp: syslog over TCP on many ports (Flume's MultiportSyslogTCPSource), lines or octet counts; an own parser and own header names. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/utf8.h"
#include "dataplane/resolve.h"
#include "dataplane/source/keep_fields.h"
#include "dataplane/source/stream_options.h"
#include "dataplane/source/syslog_frame.h"
#include "dataplane/source/syslogmulti.h"
#include "dataplane/stream.h"

enum charset { CHARSET_UTF8, CHARSET_LATIN1, CHARSET_ASCII };

struct multiport_config {
	const char *host;
	struct option_list ports;
	uint32_t event_bytes;
	const char *keep_fields;
	const char *port_header, *client_ip_header, *client_hostname_header;
	const char *charset;
	struct option_family port_charsets, port_allows;
	struct stream_options stream;
};

struct multiport {
	const struct multiport_config *config;
	struct ingress_source *in;
	uint32_t keep;
	const struct name *facility, *severity, *priority, *version, *timestamp, *host, *status, *port, *client_ip, *client_hostname;
	uint8_t *scratch;
	uint8_t charsets[65536];	/* by port */
};

#define NONE(name, why) { name, OPT_STRING, 0, NULL, 0, 0, NULL, "Not used.", OPTION_NO_MEANING, .note = why }

static const struct option multiport_options[] = {
	{ "ports", OPT_LIST, offsetof(struct multiport_config, ports), NULL, 0, 0, NULL, "TCP ports, blank separated.", OPTION_REQUIRED },
	{ "host", OPT_STRING, offsetof(struct multiport_config, host), NULL, 0, 0, NULL, "Address or name to listen on; all when not set.",
	  .old_names = "bind" },
	{ "eventSize", OPT_U32, offsetof(struct multiport_config, event_bytes), "2500", 10, 200000, "bytes", "Longer messages are cut." },
	{ "keepFields", OPT_STRING, offsetof(struct multiport_config, keep_fields), "none", 0, 0, NULL,
	  "all, none, or any of: priority version timestamp hostname; these stay in the body." },
	{ "portHeader", OPT_STRING, offsetof(struct multiport_config, port_header), NULL, 0, 0, NULL, "Header for the port a message came to." },
	{ "clientIPHeader", OPT_STRING, offsetof(struct multiport_config, client_ip_header), NULL, 0, 0, NULL, "Header for the sender's address." },
	{ "clientHostnameHeader", OPT_STRING, offsetof(struct multiport_config, client_hostname_header), NULL, 0, 0, NULL,
	  "Header for the sender's host name; its address until the name is known." },
	{ "charset.default", OPT_STRING, offsetof(struct multiport_config, charset), "UTF-8", 0, 0, NULL,
	  "What messages are written in (UTF-8, ISO-8859-1, US-ASCII): one that is not is marked Invalid." },
	{ "penstock.allow.port.", OPT_FAMILY, offsetof(struct multiport_config, port_allows), NULL, 0, 0, NULL,
	  "Senders taken on one port, as prefixes separated by blanks, in place of penstock.allow." },
	{ "charset.port.", OPT_FAMILY, offsetof(struct multiport_config, port_charsets), NULL, 0, 0, NULL, "The same for one port." },
	NONE("batchSize", "batches form by themselves: what one read brings, up to a block"),
	NONE("readBufferBytes", "the buffer is the carrier's"),
	NONE("readBufferSize", "the buffer is the carrier's"),
	NONE("numProcessors", "penstock.lcores says how many cores take part"),
	STREAM_OPTIONS(struct multiport_config, stream, "0"),
	{ NULL },
};

static int
charset_parse(const char *text)
{
	static const struct { const char *name; uint8_t charset; } names[] = {
		{ "UTF-8", CHARSET_UTF8 }, { "UTF8", CHARSET_UTF8 }, { "ISO-8859-1", CHARSET_LATIN1 }, { "ISO8859_1", CHARSET_LATIN1 },
		{ "latin1", CHARSET_LATIN1 }, { "US-ASCII", CHARSET_ASCII }, { "ASCII", CHARSET_ASCII },
	};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (strcasecmp(text, names[i].name) == 0)
			return names[i].charset;
	return -1;
}

static bool
port_parse(const char *text, uint32_t *port)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);
	*port = (uint32_t)value;
	return *text >= '0' && *text <= '9' && !*end && value >= 1 && value <= 65535;
}

static int
charset_check(const char *text, const char *name, const char *option, struct err *err)
{
	if (charset_parse(text) >= 0)
		return 0;
	return err_set(err, EINVAL, "sources.%s: %s: \"%s\" is not supported: choose UTF-8, ISO-8859-1 or US-ASCII (bodies are stored as they came)", name, option,
		       text);
}

static const char *
port_allow(const struct multiport_config *c, uint32_t port)
{
	uint32_t of;
	for (size_t i = 0; i < c->port_allows.count; i++)
		if (port_parse(c->port_allows.items[i].key, &of) && of == port)
			return c->port_allows.items[i].value;
	return NULL;
}

static bool
has_port(const struct multiport_config *c, uint32_t port)
{
	uint32_t of;
	for (size_t i = 0; i < c->ports.count; i++)
		if (port_parse(c->ports.items[i], &of) && of == port)
			return true;
	return false;
}

static int
port_allows_check(const struct multiport_config *c, const char *name, struct err *err)
{
	for (size_t i = 0; i < c->port_allows.count; i++) {
		const struct option_pair *pair = &c->port_allows.items[i];
		struct source_listen where = { .port_allow = pair->value };
		struct address_prefix *allow;
		uint32_t count;
		if (!port_parse(pair->key, &where.port) || !has_port(c, where.port))
			return err_set(err, EINVAL, "sources.%s: penstock.allow.port.%s: \"%s\" is none of its ports", name, pair->key, pair->key);
		int rc = source_listen_allow(&where, name, &allow, &count, err);
		free(allow);
		if (rc)
			return rc;
	}
	return 0;
}

static int
check(const void *config, const char *name, struct err *err)
{
	const struct multiport_config *c = config;
	uint32_t port;
	if (c->ports.count > SOURCE_LISTENS_MAX)
		return err_set(err, EINVAL, "sources.%s: ports: more than %d: use a second source", name, SOURCE_LISTENS_MAX);
	for (size_t i = 0; i < c->ports.count; i++)
		if (!port_parse(c->ports.items[i], &port))
			return err_set(err, EINVAL, "sources.%s: ports: \"%s\" is no port (want 1 to 65535, blank separated)", name, c->ports.items[i]);
	int rc = charset_check(c->charset, name, "charset.default", err);
	for (size_t i = 0; i < c->port_charsets.count && !rc; i++) {
		const struct option_pair *pair = &c->port_charsets.items[i];
		if (!port_parse(pair->key, &port))
			return err_set(err, EINVAL, "sources.%s: charset.port.%s: \"%s\" is no port", name, pair->key, pair->key);
		rc = charset_check(pair->value, name, pair->key, err);
	}
	if (!rc)
		rc = port_allows_check(c, name, err);
	return rc ? rc : stream_options_check(&c->stream, name, err);
}

static uint32_t
listens(const void *config, struct source_listen *out, uint32_t max)
{
	const struct multiport_config *c = config;
	uint32_t count = 0, port;
	for (size_t i = 0; i < c->ports.count; i++)
		if (port_parse(c->ports.items[i], &port) && count++ < max)
			out[count - 1] = (struct source_listen){ .host = c->host, .port = port, .allow = c->stream.allow, .port_allow = port_allow(c, port),
								.stream = &c->stream };
	return count;
}

static const struct name *
header_name(const char *text)
{
	return text ? name_intern(text, strlen(text)) : NULL;
}

static int
open_source(void **source, const void *config, struct ingress_source *in, struct err *err)
{
	const struct multiport_config *c = config;
	struct multiport *s = calloc(1, sizeof *s);
	if (!s)
		return err_set(err, ENOMEM, "no memory");
	*source = s;
	s->config = c;
	s->in = in;
	s->keep = keep_fields_parse(c->keep_fields);
	s->facility = header_name("Facility");
	s->severity = header_name("Severity");
	s->priority = header_name("Priority");
	s->version = header_name("Version");
	s->timestamp = header_name("timestamp");
	s->host = header_name("host");
	s->status = header_name("flume.syslog.status");
	s->port = header_name(c->port_header);
	s->client_ip = header_name(c->client_ip_header);
	s->client_hostname = header_name(c->client_hostname_header);
	memset(s->charsets, charset_parse(c->charset), sizeof s->charsets);
	for (size_t i = 0; i < c->port_charsets.count; i++) {
		uint32_t port = 0;
		port_parse(c->port_charsets.items[i].key, &port);
		s->charsets[port] = (uint8_t)charset_parse(c->port_charsets.items[i].value);
	}
	s->scratch = malloc(c->event_bytes + 64);
	return s->scratch ? 0 : err_set(err, ENOMEM, "no memory");
}

static void
close_source(void *source)
{
	struct multiport *s = source;
	free(s->scratch);
	free(s);
}

static bool
decodable(const struct multiport *s, uint16_t port, const uint8_t *bytes, uint32_t len)
{
	switch ((enum charset)s->charsets[port]) {
	case CHARSET_UTF8:
		return utf8_valid(bytes, len);
	case CHARSET_ASCII:
		for (uint32_t i = 0; i < len; i++)
			if (bytes[i] & 0x80)
				return false;
		return true;
	case CHARSET_LATIN1:
		break;
	}
	return true;
}

static bool
set_copy(struct batch *batch, struct event *event, const struct name *name, const void *bytes, uint32_t len)
{
	uint8_t *copy = batch_copy(batch, bytes, len);
	if (!copy) {
		event->dropped = 1;
		return false;
	}
	return event_set_bytes(batch, event, name, copy, len);
}

static void
client_headers(struct multiport *s, struct event *event, const struct address *from)
{
	struct batch *batch = &s->in->ingress->batch;
	char ip[ADDRESS_TEXT_BYTES];
	uint32_t len = (uint32_t)address_ip_text(from, ip, sizeof ip);
	const struct resolved *resolved = s->client_hostname ? resolve_name(from) : NULL;
	if (s->client_ip)
		set_copy(batch, event, s->client_ip, ip, len);
	if (s->client_hostname && resolved)
		event_set_bytes(batch, event, s->client_hostname, resolved->name, resolved->len);
	else if (s->client_hostname)
		set_copy(batch, event, s->client_hostname, ip, len);
}

static uint32_t
put_field(uint8_t *out, uint32_t at, const uint8_t *bytes, struct syslog_slice slice)
{
	memcpy(out + at, bytes + slice.offset, slice.len);
	out[at + slice.len] = ' ';
	return at + slice.len + 1;
}

/* The kept fields as they came, in Flume's order, then the body. */
static uint32_t
kept_body(struct multiport *s, const struct syslog_message *m, const uint8_t *bytes)
{
	uint8_t *out = s->scratch;
	uint32_t n = 0;
	if (s->keep & KEEP_PRIORITY) {
		out[0] = '<';
		n = put_field(out, 1, bytes, m->priority_text);
		out[n - 1] = '>';
	}
	if (s->keep & KEEP_VERSION && m->version.len)
		n = put_field(out, n, bytes, m->version);
	if (s->keep & KEEP_TIMESTAMP)
		n = put_field(out, n, bytes, m->stamp);
	if (s->keep & KEEP_HOSTNAME)
		n = put_field(out, n, bytes, m->host);
	memcpy(out + n, bytes + m->body.offset, m->body.len);
	return n + m->body.len;
}

/* NULL: dropped and counted. */
static struct event *
make(struct multiport *s, const struct address *from, uint16_t port, const uint8_t *bytes, uint32_t len, bool cut)
{
	struct batch *batch = &s->in->ingress->batch;
	uint64_t now_ns = s->in->ingress->wall_ns;
	struct syslog_message m;
	int64_t ms = 0;
	bool parsed = decodable(s, port, bytes, len) && syslogmulti_parse(&m, bytes, len, now_ns, &ms);
	const uint8_t *body = bytes;
	uint32_t body_len = len;
	if (parsed && m.body.len && s->keep != KEEP_ALL) {
		body = bytes + m.body.offset;
		body_len = m.body.len;
		if (s->keep != KEEP_NONE) {
			body_len = kept_body(s, &m, bytes);
			body = s->scratch;
		}
	}
	struct event *event = ingress_append(s->in, body, body_len, now_ns);
	if (!event)
		return NULL;
	if (parsed) {
		event_set_number(batch, event, s->facility, m.priority / 8);
		event_set_number(batch, event, s->severity, m.priority % 8);
		set_copy(batch, event, s->priority, bytes + m.priority_text.offset, m.priority_text.len);
		if (m.version.len)
			event_set_bytes(batch, event, s->version, "1", 1);
		event_set_number(batch, event, s->timestamp, ms);
		set_copy(batch, event, s->host, bytes + m.host.offset, m.host.len);
	}
	if (!parsed || cut)
		event_set_bytes(batch, event, s->status, parsed ? "Incomplete" : "Invalid", parsed ? 10 : 7);
	if (s->port)
		event_set_number(batch, event, s->port, port);
	if (s->client_ip || s->client_hostname)
		client_headers(s, event, from);
	return event;
}

static bool
message(void *source, struct stream *stream, const uint8_t *bytes, uint32_t len, uint32_t at, uint32_t end, bool cut)
{
	struct multiport *s = source;
	uint32_t ticket = 0;
	if (!ingress_ready(s->in, len + 16) || !(ticket = stream_ticket(stream, at))) {
		stream_wait(stream, STREAM_WAIT_CREDIT);
		return false;
	}
	struct event *event = make(s, &stream->peer, stream->local.port, bytes, len, cut);
	if (event)
		stream_event(stream, event, ticket, end);
	return true;
}

static struct event *
on_fragment(void *source, const struct address *from, const struct address *to, const uint8_t *bytes, uint32_t len)
{
	uint32_t begin = syslog_frame_begin(bytes, len);
	return make(source, from, to->port, bytes + begin, len - begin, true);
}

static int64_t
on_bytes(void *source, struct stream *stream, const uint8_t *bytes, uint32_t len, bool last)
{
	struct multiport *s = source;
	uint32_t n = syslog_frames(stream->state, s->config->event_bytes, stream, bytes, len, last, message, s);
	if (last && n < len && !stream->wait)
		ingress_drop_empty(s->in);	/* the unterminated tail */
	return n;
}

const struct source_ops source_multiport_syslogtcp = {
	.name = "multiport_syslogtcp",
	.class_names = "org.apache.flume.source.MultiportSyslogTCPSource",
	.help = "Syslog over TCP on many ports, framed by line feeds or octet counts (RFC 6587).",
	.options = multiport_options,
	.config_size = sizeof(struct multiport_config),
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
