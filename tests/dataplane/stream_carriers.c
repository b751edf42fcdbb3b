#include "tests/dataplane/stream_carriers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sched.h>
#include <unistd.h>

#include "dataplane/net/tcp_segment.h"

#ifndef TCP_NODELAY
#define TCP_NODELAY 1	/* netinet/tcp.h has states of the same names as ours */
#endif
#define NOW 1795245136u
#define BLOCKS 16

/* ---- what both do around their input ---- */

static void
turn_begin(struct stream_rig *rig, uint64_t ns)
{
	clock_manual_advance(&rig->clock, ns);
	ingress_reap(&rig->ingress);
}

static void
turn_put(struct stream_rig *rig, bool write)
{
	ingress_put(&rig->ingress);
	ingress_seal_due(&rig->ingress, true);
	while (write && rig->channel->ops->writer_step(rig->channel, 0) > 0)
		;
	ingress_reap(&rig->ingress);
}

/* ---- kernel sockets ---- */

struct kernel kernel_side;

static void
kernel_open(struct stream_case *c, const struct source_ops *ops, const char *properties)
{
	char text[512];
	struct err err = { "" };
	/* A free port: that of a socket which is closed again; none of those that the kernel, or tests/lib/agent.py, gives to others meanwhile. */
	int fd = socket(AF_INET, SOCK_STREAM, 0), rc = -1;
	kernel_side.to = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	for (uint32_t i = 0; rc && i < 1000; i++) {
		kernel_side.to.sin_port = htons((uint16_t)(10000 + ((uint32_t)getpid() * 7919 + i) % 2000));
		rc = bind(fd, (struct sockaddr *)&kernel_side.to, sizeof kernel_side.to);
	}
	assert_int_equal(rc, 0);
	close(fd);
	snprintf(text, sizeof text, "%s=%u %s=127.0.0.1 %s", ops == &source_multiport_syslogtcp ? "ports" : "port", ntohs(kernel_side.to.sin_port),
		 ops == &source_syslogtcp || ops == &source_multiport_syslogtcp ? "host" : "bind", properties);
	stream_rig_open(&c->rig, ops, text, NOW, BLOCKS);
	assert_int_equal(kernel_streams_open(&kernel_side.ks, &c->rig.ingress, &err), 0);
	struct source_listen listen;
	ops->listens(c->rig.config, &listen, 1);
	if (kernel_streams_listen(&kernel_side.ks, &listen, &c->rig.ingress.sources[0], &err))
		fail_msg("%s", err.text);
}

static void
kernel_turn(struct stream_case *c, bool write, uint64_t ns)
{
	turn_begin(&c->rig, ns);
	kernel_streams_step(&kernel_side.ks, c->rig.clock.now);
	turn_put(&c->rig, write);
	kernel_streams_flush(&kernel_side.ks, c->rig.clock.now);
	sched_yield();			/* the kernel's own thread may be what brings the bytes, on this CPU */
}

static void
kernel_close(struct stream_case *c)
{
	for (int i = 0; i < 4; i++)
		kernel_turn(c, true, NS_PER_MS);
	kernel_streams_close(&kernel_side.ks);
	stream_rig_close(&c->rig);
}

static int
kernel_dial(struct stream_case *c)
{
	(void)c;
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
	/* The turns are faster than a delayed ACK, which Nagle's algorithm would wait for. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	assert_int_equal(connect(fd, (struct sockaddr *)&kernel_side.to, sizeof kernel_side.to), 0);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

static ssize_t
kernel_send(struct stream_case *c, int client, const void *bytes, size_t len)
{
	(void)c;
	ssize_t n = send(client, bytes, len, MSG_NOSIGNAL);
	return n >= 0 ? n : errno == EAGAIN ? 0 : -errno;
}

static ssize_t
kernel_recv(struct stream_case *c, int client, void *bytes, size_t room)
{
	(void)c;
	ssize_t n = recv(client, bytes, room, 0);
	return n >= 0 ? n : -errno;
}

static void
kernel_finish(struct stream_case *c, int client)
{
	(void)c;
	shutdown(client, SHUT_WR);
}

static void
kernel_cut(struct stream_case *c, int client)
{
	(void)c;
	struct linger off = { 1, 0 };
	setsockopt(client, SOL_SOCKET, SO_LINGER, &off, sizeof off);
	close(client);
}

static void
kernel_drop(struct stream_case *c, int client)
{
	(void)c;
	close(client);
}

static const struct stream_counters *
kernel_counters(struct stream_case *c)
{
	(void)c;
	return &kernel_side.ks.listens[0]->listener.counters;
}

/* ---- the lcore's TCP ---- */

#define RESEND_TURNS 400

struct lcore lcore_side;

static enum drop
no_udp(void *context, const struct net_datagram *datagram)
{
	(void)context;
	(void)datagram;
	return DROP_NO_LISTENER;
}

static void
lcore_open(struct stream_case *c, const struct source_ops *ops, const char *properties)
{
	char text[512];
	struct err err = { "" };
	uint32_t flight_max = lcore_side.flight_max;
	memset(&lcore_side, 0, sizeof lcore_side);
	lcore_side.flight_max = flight_max;
	snprintf(text, sizeof text, "%s=6514 %s", ops == &source_multiport_syslogtcp ? "ports" : "port", properties);
	if (ops != &source_syslogtcp && ops != &source_multiport_syslogtcp)
		snprintf(text, sizeof text, "port=6514 bind=192.0.2.10 %s", properties);
	stream_rig_open(&c->rig, ops, text, NOW, BLOCKS);
	struct net_config config = bench_config();
	lcore_side.port = port_mem_open("p0", bench_mac, NULL, 0, 1, NULL);
	lcore_side.net = net_open(&config, lcore_side.port, 0, no_udp, NULL, &err);
	lcore_side.next_port = 40000;
	struct source_listen where;
	ops->listens(c->rig.config, &where, 1);
	struct stream_limits limits = { .connections = where.stream->connections, .idle_ns = where.idle_ns ? where.idle_ns : where.stream->idle_ns,
					.frame_ns = where.stream->frame_ns };
	struct address at = ip("192.0.2.10");
	at.port = 6514;
	struct tcp_config tcp = { .connections_max = 64, .chunks = 2048, .secret = { 3, 4 } };
	int rc = tcp_listeners_add(&lcore_side.listeners, &at, &where, &limits, c->durable && !where.replies ? STREAM_DURABLE : STREAM_RECEIVED,
				   &c->rig.ingress.sources[0], &err);
	if (!rc)
		rc = stream_listener_tls(&lcore_side.listeners.list[0]->listener, where.stream, where.tickets, &err);
	rc |= tcp_carrier_open(&lcore_side.carrier, &tcp, lcore_side.net, &c->rig.streams, &lcore_side.listeners, "p0", &err);
	if (rc)
		fail_msg("%s", err.text);
}

/* A segment of a client; false: the port keeps no more for now. */
static bool
put(struct client *k, uint8_t flags, uint32_t seq, const uint8_t *options, uint32_t options_bytes, const uint8_t *data, uint32_t len)
{
	uint8_t frame[2000], segment[2000];
	struct address to = ip("192.0.2.10");
	to.port = 6514;
	uint32_t header = TCP_BYTES + options_bytes;
	k->said = CLIENT_RX_BYTES - k->rx_len;
	tcp_header_put(segment, k->from.port, 6514, seq, flags & TCP_ACK ? k->ack : 0, header, flags, (uint16_t)k->said);
	if (options_bytes)
		memcpy(segment + TCP_BYTES, options, options_bytes);
	if (len)
		memcpy(segment + header, data, len);
	tcp_checksum_put(segment, header + len, &k->from, &to);
	uint32_t n = bench_ip(frame, &k->from, &to, PROTO_TCP, 64, segment, header + len, -1);
	return port_mem_feed(lcore_side.port, frame, n) == 0;
}

/* Sends what window and buffer allow. */
static void
pump(struct client *k)
{
	for (int n = 0; n < 12 && k->open && !k->reset && !k->fin_sent; n++) {
		uint32_t flight = k->nxt - k->una, len = k->tx_len - flight, window = k->window, room;
		if (lcore_side.flight_max && lcore_side.flight_max < window)
			window = lcore_side.flight_max;
		room = window > flight ? window - flight : 0;
		if (!len && k->fin) {
			k->fin_sent = put(k, TCP_ACK | TCP_FIN, k->nxt, NULL, 0, NULL, 0);
			k->nxt += k->fin_sent;
			return;
		}
		len = len < CLIENT_MSS ? len : CLIENT_MSS;
		len = len < room ? len : room;
		if (!len || !put(k, TCP_ACK | TCP_PSH, k->nxt, NULL, 0, k->tx + flight, len))
			return;
		k->nxt += len;
	}
}

static void
client_input(const uint8_t *p)
{
	const uint8_t *t = p + ETH_BYTES + IP4_BYTES;
	uint32_t bytes = get16(p + ETH_BYTES + 2) - IP4_BYTES, header = (t[12] >> 4) * 4u, len = bytes - header, seq = get32(t + 4), ack = get32(t + 8);
	struct client *k = NULL;
	for (int i = 0; i < LCORE_CLIENTS; i++)
		if (lcore_side.clients[i].used && lcore_side.clients[i].from.port == get16(t + 2))
			k = &lcore_side.clients[i];
	if (!k || k->reset)
		return;
	if (t[13] & TCP_RST) {
		k->reset = true;
		return;
	}
	if (t[13] & TCP_SYN) {
		struct tcp_syn syn;
		tcp_syn_parse(t + TCP_BYTES, header - TCP_BYTES, &syn);
		k->shift = syn.shift;
		k->window = get16(t + 14);
		k->ack = seq + 1;
		k->una = k->nxt = ack;
		k->open = true;
		put(k, TCP_ACK, k->nxt, NULL, 0, NULL, 0);
		return;
	}
	uint32_t acked = ack - k->una, flight = k->nxt - k->una;
	assert_true(acked <= flight || (int32_t)acked < 0);
	if ((int32_t)acked > 0) {
		uint32_t of_tx = acked < k->tx_len ? acked : k->tx_len;
		memmove(k->tx, k->tx + of_tx, k->tx_len - of_tx);
		k->tx_len -= of_tx;
		k->una = ack;
		k->quiet = 0;
	}
	if ((int32_t)acked >= 0)
		k->window = (uint32_t)get16(t + 14) << k->shift;
	bool said = len || (t[13] & TCP_FIN);
	if (len && seq == k->ack && len <= CLIENT_RX_BYTES - k->rx_len) {
		memcpy(k->rx + k->rx_len, t + header, len);
		k->rx_len += len;
		k->ack += len;
	}
	if ((t[13] & TCP_FIN) && seq + len == k->ack && !k->fin_got) {
		k->ack++;
		k->fin_got = true;
	}
	if (said || (int32_t)(seq - k->ack) < 0)	/* a probe too */
		put(k, TCP_ACK, k->nxt, NULL, 0, NULL, 0);
}

static void
lcore_turn(struct stream_case *c, bool write, uint64_t ns)
{
	struct frame frames[PORT_BURST_MAX];
	const uint8_t *p;
	uint32_t n, len;
	turn_begin(&c->rig, ns);
	streams_run(&c->rig.streams, c->rig.clock.now);
	for (int i = 0; i < LCORE_CLIENTS; i++) {
		struct client *k = &lcore_side.clients[i];
		if (!k->used || !k->open)
			continue;
		if (k->nxt != k->una && ++k->quiet > RESEND_TURNS) {	/* all of it again */
			k->nxt = k->una;
			k->fin_sent = false;
			k->quiet = 0;
		}
		pump(k);
	}
	while ((n = port_rx(lcore_side.port, 0, frames, PORT_BURST_MAX))) {
		net_input(lcore_side.net, frames, n, c->rig.clock.now);
		port_release(lcore_side.port, 0, frames, n);
	}
	net_tick(lcore_side.net, c->rig.clock.now);
	turn_put(&c->rig, write);
	tcp_listeners_credit(&lcore_side.listeners, &c->rig.ingress, 1);
	tcp_carrier_turn(&lcore_side.carrier, c->rig.clock.now);
	tcp_check(lcore_side.carrier.tcp);
	while (port_mem_sent(lcore_side.port, &p, &len))
		if (get16(p + 12) == ETH_IP4 && p[ETH_BYTES + 9] == PROTO_TCP)
			client_input(p);
}

static void
lcore_close(struct stream_case *c)
{
	for (int i = 0; i < 4; i++)
		lcore_turn(c, true, NS_PER_MS);
	struct net_counters *counters = net_counters(lcore_side.net);
	assert_int_equal(counter_read(&counters->frames_in), net_account_out(counters));
	tcp_carrier_close(&lcore_side.carrier);
	tcp_listeners_free(&lcore_side.listeners);
	net_close(lcore_side.net);
	port_close(lcore_side.port);
	stream_rig_close(&c->rig);
}

static int
lcore_dial(struct stream_case *c)
{
	int i = 0;
	while (lcore_side.clients[i].used)
		assert_true(++i < LCORE_CLIENTS);
	struct client *k = &lcore_side.clients[i];
	memset(k, 0, sizeof *k);
	k->used = true;
	k->from = ip("192.0.2.99");
	k->from.port = lcore_side.next_port++;
	uint8_t options[TCP_OPTIONS_MAX];
	struct tcp_syn syn = { .mss = 1460, .shift = 0, .has_shift = true, .has_sack = true };
	k->una = UINT32_MAX - 5000 - k->from.port;	/* wraps soon */
	assert_true(put(k, TCP_SYN, k->una, options, tcp_syn_options(&syn, options), NULL, 0));
	(void)c;
	return i;
}

static ssize_t
lcore_send(struct stream_case *c, int client, const void *bytes, size_t len)
{
	struct client *k = &lcore_side.clients[client];
	(void)c;
	if (k->reset)
		return -ECONNRESET;
	size_t room = CLIENT_TX_BYTES - k->tx_len;
	len = len < room ? len : room;
	memcpy(k->tx + k->tx_len, bytes, len);
	k->tx_len += (uint32_t)len;
	return (ssize_t)len;
}

static ssize_t
lcore_recv(struct stream_case *c, int client, void *bytes, size_t room)
{
	struct client *k = &lcore_side.clients[client];
	(void)c;
	if (!k->rx_len)
		return k->reset ? -ECONNRESET : k->fin_got ? 0 : -EAGAIN;
	uint32_t n = k->rx_len < room ? k->rx_len : (uint32_t)room;
	memcpy(bytes, k->rx, n);
	memmove(k->rx, k->rx + n, k->rx_len - n);
	k->rx_len -= n;
	if (k->said < CLIENT_RX_BYTES / 2 && CLIENT_RX_BYTES - k->rx_len >= CLIENT_RX_BYTES / 2 && !k->reset)
		put(k, TCP_ACK, k->nxt, NULL, 0, NULL, 0);	/* the window is open again */
	return n;
}

static void
lcore_finish(struct stream_case *c, int client)
{
	(void)c;
	lcore_side.clients[client].fin = true;
}

static void
lcore_cut(struct stream_case *c, int client)
{
	struct client *k = &lcore_side.clients[client];
	(void)c;
	put(k, TCP_RST, k->nxt, NULL, 0, NULL, 0);
	k->used = false;
}

/* As a kernel does: FIN, unless the connection is over. What comes then is not read. */
static void
lcore_drop(struct stream_case *c, int client)
{
	struct client *k = &lcore_side.clients[client];
	if (k->open && !k->reset) {
		k->fin = true;
		for (int i = 0; i < 1000 && !(k->fin_sent && k->una == k->nxt) && !k->reset; i++)
			lcore_turn(c, true, NS_PER_MS);
	}
	k->used = false;
}

static const struct stream_counters *
lcore_counters(struct stream_case *c)
{
	(void)c;
	return &lcore_side.listeners.list[0]->listener.counters;
}

struct stream_case kernel_case = {
	.name = "kernel", .open = kernel_open, .close = kernel_close, .turn = kernel_turn, .dial = kernel_dial, .send = kernel_send, .recv = kernel_recv,
	.finish = kernel_finish, .cut = kernel_cut, .drop = kernel_drop, .counters = kernel_counters,
};

struct stream_case lcore_case = {
	.name = "lcore", .open = lcore_open, .close = lcore_close, .turn = lcore_turn, .dial = lcore_dial, .send = lcore_send, .recv = lcore_recv,
	.finish = lcore_finish, .cut = lcore_cut, .drop = lcore_drop, .counters = lcore_counters,
};
