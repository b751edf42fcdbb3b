/* netcatudp: one datagram, one event: the bytes up to the first line feed (Flume's NetcatUdpSource). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/ingress.h"

struct netcatudp_config {
	const char *bind;
	uint32_t port;
	const char *remote_address;
	struct option_list allow;
	bool gro;
	const char *interface;
};

struct netcatudp {
	struct ingress_source *in;
	const struct name *remote;
};

static const struct option netcatudp_options[] = {
	{ "port", OPT_U32, offsetof(struct netcatudp_config, port), NULL, 1, 65535, NULL, "UDP port.", OPTION_REQUIRED },
	{ "bind", OPT_STRING, offsetof(struct netcatudp_config, bind), NULL, 0, 0, NULL, "Address or name to listen on; all when not set.",
	  .old_names = "host" },
	{ "remoteAddress", OPT_STRING, offsetof(struct netcatudp_config, remote_address), NULL, 0, 0, NULL,
	  "Header for the sender, as /address:port; none when not set.", .old_names = "remoteAddressHeader" },
	{ "penstock.allow", OPT_LIST, offsetof(struct netcatudp_config, allow), NULL, 0, 0, NULL, "Senders taken, as prefixes (10.0.0.0/8); all when not set." },
	{ "penstock.interface", OPT_STRING, offsetof(struct netcatudp_config, interface), NULL, 0, 0, NULL,
	  "Kernel sockets: network interface on which the multicast group is joined that the source is bound to; the kernel's choice when not set." },
	{ "penstock.gro", OPT_BOOL, offsetof(struct netcatudp_config, gro), "false", 0, 0, NULL,
	  "Kernel sockets: take runs of datagrams as one (UDP_GRO), which is faster; the kernel then counts a run it drops as one datagram." },
	{ NULL },
};

static int
check(const void *config, const char *name, struct err *err)
{
	const struct netcatudp_config *c = config;
	return source_allow_check(&c->allow, name, err);
}

static uint32_t
listens(const void *config, struct source_listen *out, uint32_t max)
{
	const struct netcatudp_config *c = config;
	if (max)
		out[0] = (struct source_listen){ .host = c->bind, .port = c->port, .datagram = true, .allow = c->allow, .gro = c->gro,
						 .interface = c->interface };
	return 1;
}

static int
open_source(void **source, const void *config, struct ingress_source *in, struct err *err)
{
	const struct netcatudp_config *c = config;
	struct netcatudp *s = calloc(1, sizeof *s);
	if (!s)
		return err_set(err, ENOMEM, "no memory");
	s->in = in;
	s->remote = c->remote_address ? name_intern(c->remote_address, strlen(c->remote_address)) : NULL;
	*source = s;
	return 0;
}

static void
close_source(void *source)
{
	free(source);
}

static void
on_datagram(void *source, const struct datagram *dg)
{
	struct netcatudp *s = source;
	const uint8_t *newline = dg->len ? memchr(dg->bytes, '\n', dg->len) : NULL;
	struct event *event = ingress_append(s->in, dg->bytes, newline ? (uint32_t)(newline - dg->bytes) : dg->len, dg->time_ns);
	if (!event || !s->remote)
		return;
	char text[ADDRESS_TEXT_BYTES + 16];
	text[0] = '/';
	size_t n = 1 + address_ip_text(&dg->from, text + 1, ADDRESS_TEXT_BYTES);
	text[n++] = ':';
	n += number_text(dg->from.port, text + n);
	struct batch *batch = &s->in->ingress->batch;
	uint8_t *copy = batch_copy(batch, text, (uint32_t)n);
	if (copy)
		event_set_bytes(batch, event, s->remote, copy, (uint32_t)n);
	else
		event->dropped = 1;
}

const struct source_ops source_netcatudp = {
	.name = "netcatudp",
	.class_names = "org.apache.flume.source.NetcatUdpSource",
	.help = "Lines over UDP: one datagram is one event, up to its first line feed.",
	.options = netcatudp_options,
	.config_size = sizeof(struct netcatudp_config),
	.check = check,
	.listens = listens,
	.open = open_source,
	.on_datagram = on_datagram,
	.close = close_source,
};
