/* syslogudp: one datagram, one syslog message (Flume's SyslogUDPSource).
 *
 * Differs from Flume where Flume loses or mixes data (docs/differences.md): a datagram is not cut at 2048 bytes, priority and version of an
 * earlier datagram never stand on a later event, bytes that are no UTF-8 stay as they are. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/source/syslog_make.h"

struct syslogudp_config {
	const char *host;
	uint32_t port;
	struct syslog_make_config make;
	struct option_list allow;
	bool gro;
	const char *interface;
};

struct syslogudp {
	struct syslog_maker maker;
};

static const struct option syslogudp_options[] = {
	{ "port", OPT_U32, offsetof(struct syslogudp_config, port), NULL, 1, 65535, NULL, "UDP port.", OPTION_REQUIRED },
	{ "host", OPT_STRING, offsetof(struct syslogudp_config, host), NULL, 0, 0, NULL, "Address or name to listen on; all when not set.",
	  .old_names = "bind" },
	SYSLOG_MAKE_OPTIONS(struct syslogudp_config, make),
	{ "penstock.allow", OPT_LIST, offsetof(struct syslogudp_config, allow), NULL, 0, 0, NULL, "Senders taken, as prefixes (10.0.0.0/8); all when not set." },
	{ "penstock.interface", OPT_STRING, offsetof(struct syslogudp_config, interface), NULL, 0, 0, NULL,
	  "Kernel sockets: network interface on which the multicast group is joined that the source is bound to; the kernel's choice when not set." },
	{ "penstock.gro", OPT_BOOL, offsetof(struct syslogudp_config, gro), "false", 0, 0, NULL,
	  "Kernel sockets: take runs of datagrams as one (UDP_GRO), which is faster; the kernel then counts a run it drops as one datagram." },
	{ NULL },
};

static int
check(const void *config, const char *name, struct err *err)
{
	const struct syslogudp_config *c = config;
	struct syslog_format *format;
	int rc = syslog_format_open(&format, &c->make.format, 0, err);
	syslog_format_close(format);
	return rc ? err_prefix(err, rc, "%s", name) : source_allow_check(&c->allow, name, err);
}

static uint32_t
listens(const void *config, struct source_listen *out, uint32_t max)
{
	const struct syslogudp_config *c = config;
	if (max)
		out[0] = (struct source_listen){ .host = c->host, .port = c->port, .datagram = true, .allow = c->allow, .gro = c->gro,
						 .interface = c->interface };
	return 1;
}

static int
open_source(void **source, const void *config, struct ingress_source *in, struct err *err)
{
	const struct syslogudp_config *c = config;
	struct syslogudp *s = calloc(1, sizeof *s);
	if (!s)
		return err_set(err, ENOMEM, "no memory");
	*source = s;
	return syslog_maker_open(&s->maker, &c->make, in, 65536, err);
}

static void
close_source(void *source)
{
	struct syslogudp *s = source;
	syslog_maker_close(&s->maker);
	free(s);
}

static void
on_datagram(void *source, const struct datagram *dg)
{
	struct syslogudp *s = source;
	const uint8_t *bytes = dg->bytes;
	uint32_t len = dg->len;
	while (len && *bytes == '\n')		/* Flume skips line feeds before the priority */
		bytes++, len--;
	const uint8_t *newline = len ? memchr(bytes, '\n', len) : NULL;
	if (newline)
		len = (uint32_t)(newline - bytes);
	if (!len) {
		ingress_drop_empty(s->maker.in);
		return;
	}
	syslog_make(&s->maker, bytes, len, &dg->from, dg->time_ns, false);
}

const struct source_ops source_syslogudp = {
	.name = "syslogudp",
	.class_names = "org.apache.flume.source.SyslogUDPSource",
	.help = "Syslog over UDP, RFC 3164 and RFC 5424; one datagram is one event.",
	.options = syslogudp_options,
	.config_size = sizeof(struct syslogudp_config),
	.check = check,
	.listens = listens,
	.open = open_source,
	.on_datagram = on_datagram,
	.close = close_source,
};
