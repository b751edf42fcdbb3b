/* Proves: the conformance body of streams (tests/conformance/stream_conformance.c) holds over kernel sockets, over the lcore's TCP with ack = received,
 * and over the lcore's TCP with ack = durable, each of them plain and with TLS (OpenSSL's client over the clients of the carrier): the same sources,
 * the same promises.
 * How: kernel: sockets of loopback. Lcore: net and tcp over port_mem, with clients whose TCP is the few lines below (a wire that loses nothing). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <sched.h>
#include <unistd.h>

#include "dataplane/listen/kernel_stream.h"
#include "dataplane/net/tcp_segment.h"
#include "dataplane/tcp_carrier.h"
#include "tests/conformance/stream_conformance.h"
#include "tests/dataplane/net/bench.h"

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

static struct kernel {
	struct kernel_streams ks;
	struct sockaddr_in to;
} K;

static void
kernel_open(struct stream_case *c, const struct source_ops *ops, const char *properties)
{
	char text[512];
	struct err err = { "" };
	/* A free port: that of a socket which is closed again; none of those that the kernel, or tests/lib/agent.py, gives to others meanwhile. */
	int fd = socket(AF_INET, SOCK_STREAM, 0), rc = -1;
	K.to = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	for (uint32_t i = 0; rc && i < 1000; i++) {
		K.to.sin_port = htons((uint16_t)(10000 + ((uint32_t)getpid() * 7919 + i) % 2000));
		rc = bind(fd, (struct sockaddr *)&K.to, sizeof K.to);
	}
	assert_int_equal(rc, 0);
	close(fd);
	snprintf(text, sizeof text, "%s=%u %s=127.0.0.1 %s", ops == &source_multiport_syslogtcp ? "ports" : "port", ntohs(K.to.sin_port),
		 ops == &source_syslogtcp || ops == &source_multiport_syslogtcp ? "host" : "bind", properties);
	stream_rig_open(&c->rig, ops, text, NOW, BLOCKS);
	assert_int_equal(kernel_streams_open(&K.ks, &c->rig.ingress, &err), 0);
	struct source_listen listen;
	ops->listens(c->rig.config, &listen, 1);
	if (kernel_streams_listen(&K.ks, &listen, &c->rig.ingress.sources[0], &err))
		fail_msg("%s", err.text);
}

static void
kernel_turn(struct stream_case *c, bool write, uint64_t ns)
{
	turn_begin(&c->rig, ns);
	kernel_streams_step(&K.ks, c->rig.clock.now);
	turn_put(&c->rig, write);
	kernel_streams_flush(&K.ks, c->rig.clock.now);
	sched_yield();			/* the kernel's own thread may be what brings the bytes, on this CPU */
}

static void
kernel_close(struct stream_case *c)
{
	for (int i = 0; i < 4; i++)
		kernel_turn(c, true, NS_PER_MS);
	kernel_streams_close(&K.ks);
	stream_rig_close(&c->rig);
}

static int
kernel_dial(struct stream_case *c)
{
	(void)c;
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
	/* The turns are faster than a delayed ACK, which Nagle's algorithm would wait for. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	assert_int_equal(connect(fd, (struct sockaddr *)&K.to, sizeof K.to), 0);
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
	return &K.ks.listens[0]->listener.counters;
}

/* ---- the lcore's TCP ---- */

#define CLIENTS 16
#define TX_BYTES (256u << 10)
#define RX_BYTES (32u << 10)
#define MSS 1400u
#define RESEND_TURNS 400

struct client {
	bool used, open, fin, fin_sent, fin_got, reset;
	struct address from;
	uint32_t una, nxt, ack;		/* ours, and what we acknowledge */
	uint32_t window, said;		/* of penstock; what we said last of our own */
	uint8_t shift;
	uint32_t quiet;			/* turns without progress while something is on its way */
	uint8_t tx[TX_BYTES], rx[RX_BYTES];	/* tx: from una on */
	uint32_t tx_len, rx_len;
};

static struct lcore {
	struct port *port;
	struct net *net;
	struct tcp_listeners listeners;
	struct tcp_carrier carrier;
	struct client clients[CLIENTS];
	uint16_t next_port;
	uint32_t flight_max;		/* of a client, bytes: its congestion window; 0: none */
} L;

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
	uint32_t flight_max = L.flight_max;
	memset(&L, 0, sizeof L);
	L.flight_max = flight_max;
	snprintf(text, sizeof text, "%s=6514 %s", ops == &source_multiport_syslogtcp ? "ports" : "port", properties);
	if (ops != &source_syslogtcp && ops != &source_multiport_syslogtcp)
		snprintf(text, sizeof text, "port=6514 bind=192.0.2.10 %s", properties);
	stream_rig_open(&c->rig, ops, text, NOW, BLOCKS);
	struct net_config config = bench_config();
	L.port = port_mem_open("p0", bench_mac, NULL, 0, 1, NULL);
	L.net = net_open(&config, L.port, 0, no_udp, NULL, &err);
	L.next_port = 40000;
	struct source_listen where;
	ops->listens(c->rig.config, &where, 1);
	struct stream_limits limits = { .connections = where.stream->connections, .idle_ns = where.idle_ns ? where.idle_ns : where.stream->idle_ns,
					.frame_ns = where.stream->frame_ns };
	struct address at = ip("192.0.2.10");
	at.port = 6514;
	struct tcp_config tcp = { .connections_max = 64, .chunks = 2048, .secret = { 3, 4 } };
	int rc = tcp_listeners_add(&L.listeners, &at, &where, &limits, c->durable && !where.replies ? STREAM_DURABLE : STREAM_RECEIVED,
				   &c->rig.ingress.sources[0], &err);
	if (!rc)
		rc = stream_listener_tls(&L.listeners.list[0]->listener, where.stream, where.tickets, &err);
	rc |= tcp_carrier_open(&L.carrier, &tcp, L.net, &c->rig.streams, &L.listeners, "p0", &err);
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
	k->said = RX_BYTES - k->rx_len;
	tcp_header_put(segment, k->from.port, 6514, seq, flags & TCP_ACK ? k->ack : 0, header, flags, (uint16_t)k->said);
	if (options_bytes)
		memcpy(segment + TCP_BYTES, options, options_bytes);
	if (len)
		memcpy(segment + header, data, len);
	tcp_checksum_put(segment, header + len, &k->from, &to);
	uint32_t n = bench_ip(frame, &k->from, &to, PROTO_TCP, 64, segment, header + len, -1);
	return port_mem_feed(L.port, frame, n) == 0;
}

/* Sends what window and buffer allow. */
static void
pump(struct client *k)
{
	for (int n = 0; n < 12 && k->open && !k->reset && !k->fin_sent; n++) {
		uint32_t flight = k->nxt - k->una, len = k->tx_len - flight, window = k->window, room;
		if (L.flight_max && L.flight_max < window)
			window = L.flight_max;
		room = window > flight ? window - flight : 0;
		if (!len && k->fin) {
			k->fin_sent = put(k, TCP_ACK | TCP_FIN, k->nxt, NULL, 0, NULL, 0);
			k->nxt += k->fin_sent;
			return;
		}
		len = len < MSS ? len : MSS;
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
	for (int i = 0; i < CLIENTS; i++)
		if (L.clients[i].used && L.clients[i].from.port == get16(t + 2))
			k = &L.clients[i];
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
	if (len && seq == k->ack && len <= RX_BYTES - k->rx_len) {
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
	for (int i = 0; i < CLIENTS; i++) {
		struct client *k = &L.clients[i];
		if (!k->used || !k->open)
			continue;
		if (k->nxt != k->una && ++k->quiet > RESEND_TURNS) {	/* all of it again */
			k->nxt = k->una;
			k->fin_sent = false;
			k->quiet = 0;
		}
		pump(k);
	}
	while ((n = port_rx(L.port, 0, frames, PORT_BURST_MAX))) {
		net_input(L.net, frames, n, c->rig.clock.now);
		port_release(L.port, 0, frames, n);
	}
	net_tick(L.net, c->rig.clock.now);
	turn_put(&c->rig, write);
	tcp_listeners_credit(&L.listeners, &c->rig.ingress, 1);
	tcp_carrier_turn(&L.carrier, c->rig.clock.now);
	tcp_check(L.carrier.tcp);
	while (port_mem_sent(L.port, &p, &len))
		if (get16(p + 12) == ETH_IP4 && p[ETH_BYTES + 9] == PROTO_TCP)
			client_input(p);
}

static void
lcore_close(struct stream_case *c)
{
	for (int i = 0; i < 4; i++)
		lcore_turn(c, true, NS_PER_MS);
	struct net_counters *counters = net_counters(L.net);
	assert_int_equal(counter_read(&counters->frames_in), net_account_out(counters));
	tcp_carrier_close(&L.carrier);
	tcp_listeners_free(&L.listeners);
	net_close(L.net);
	port_close(L.port);
	stream_rig_close(&c->rig);
}

static int
lcore_dial(struct stream_case *c)
{
	int i = 0;
	while (L.clients[i].used)
		assert_true(++i < CLIENTS);
	struct client *k = &L.clients[i];
	memset(k, 0, sizeof *k);
	k->used = true;
	k->from = ip("192.0.2.99");
	k->from.port = L.next_port++;
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
	struct client *k = &L.clients[client];
	(void)c;
	if (k->reset)
		return -ECONNRESET;
	size_t room = TX_BYTES - k->tx_len;
	len = len < room ? len : room;
	memcpy(k->tx + k->tx_len, bytes, len);
	k->tx_len += (uint32_t)len;
	return (ssize_t)len;
}

static ssize_t
lcore_recv(struct stream_case *c, int client, void *bytes, size_t room)
{
	struct client *k = &L.clients[client];
	(void)c;
	if (!k->rx_len)
		return k->reset ? -ECONNRESET : k->fin_got ? 0 : -EAGAIN;
	uint32_t n = k->rx_len < room ? k->rx_len : (uint32_t)room;
	memcpy(bytes, k->rx, n);
	memmove(k->rx, k->rx + n, k->rx_len - n);
	k->rx_len -= n;
	if (k->said < RX_BYTES / 2 && RX_BYTES - k->rx_len >= RX_BYTES / 2 && !k->reset)
		put(k, TCP_ACK, k->nxt, NULL, 0, NULL, 0);	/* the window is open again */
	return n;
}

static void
lcore_finish(struct stream_case *c, int client)
{
	(void)c;
	L.clients[client].fin = true;
}

static void
lcore_cut(struct stream_case *c, int client)
{
	struct client *k = &L.clients[client];
	(void)c;
	put(k, TCP_RST, k->nxt, NULL, 0, NULL, 0);
	k->used = false;
}

/* As a kernel does: FIN, unless the connection is over. What comes then is not read. */
static void
lcore_drop(struct stream_case *c, int client)
{
	struct client *k = &L.clients[client];
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
	return &L.listeners.list[0]->listener.counters;
}

static struct stream_case kernel = {
	.name = "kernel", .open = kernel_open, .close = kernel_close, .turn = kernel_turn, .dial = kernel_dial, .send = kernel_send, .recv = kernel_recv,
	.finish = kernel_finish, .cut = kernel_cut, .drop = kernel_drop, .counters = kernel_counters,
};

static struct stream_case lcore = {
	.name = "lcore", .open = lcore_open, .close = lcore_close, .turn = lcore_turn, .dial = lcore_dial, .send = lcore_send, .recv = lcore_recv,
	.finish = lcore_finish, .cut = lcore_cut, .drop = lcore_drop, .counters = lcore_counters,
};

/* ---- TLS over either ---- */

#define TLS_CLIENTS 16
#define TLS_PENDING 16384u		/* bytes of records that wait for the carrier before no more is taken */

static struct tls {
	struct stream_case *carrier;
	SSL_CTX *ctx;
	struct { SSL *ssl; int inner; bool finish, finished; ssize_t end; } clients[TLS_CLIENTS];
	uint8_t out[TLS_CLIENTS][TLS_PENDING * 2];
	uint32_t out_len[TLS_CLIENTS];
} T;

static void
tls_open(struct stream_case *c, const struct source_ops *ops, const char *properties)
{
	char text[512];
	snprintf(text, sizeof text, "ssl=true keystore-type=PEM keystore=%s/lib/fuzz_tls.pem %s", getenv("PENSTOCK_TESTS"), properties);
	T.carrier->durable = c->durable;
	T.carrier->open(c, ops, text);
	T.ctx = SSL_CTX_new(TLS_client_method());
	assert_non_null(T.ctx);
}

/* What OpenSSL has for the wire. */
static void
tls_push(struct stream_case *c, int i)
{
	if (!T.clients[i].ssl)
		return;
	uint32_t room = sizeof T.out[i] - T.out_len[i];
	int n = room ? BIO_read(SSL_get_wbio(T.clients[i].ssl), T.out[i] + T.out_len[i], (int)room) : 0;
	T.out_len[i] += n > 0 ? (uint32_t)n : 0;
	ssize_t sent = T.out_len[i] ? T.carrier->send(c, T.clients[i].inner, T.out[i], T.out_len[i]) : 0;
	if (sent < 0) {
		T.clients[i].end = sent;
		T.out_len[i] = 0;
	} else {
		memmove(T.out[i], T.out[i] + sent, T.out_len[i] -= (uint32_t)sent);
	}
	if (T.clients[i].finish && !T.clients[i].finished && !T.out_len[i] && SSL_is_init_finished(T.clients[i].ssl)) {
		T.clients[i].finished = true;
		T.carrier->finish(c, T.clients[i].inner);
	}
}

/* Ciphertext that has come; false: none. */
static bool
tls_pull(struct stream_case *c, int i)
{
	uint8_t bytes[8192];
	ssize_t n = T.carrier->recv(c, T.clients[i].inner, bytes, sizeof bytes);
	if (n > 0)
		assert_int_equal(BIO_write(SSL_get_rbio(T.clients[i].ssl), bytes, (int)n), n);
	else if (n != -EAGAIN)
		T.clients[i].end = n == 0 ? 1 : n;
	return n > 0;
}

static void
tls_turn(struct stream_case *c, bool write, uint64_t ns)
{
	T.carrier->turn(c, write, ns);
	for (int i = 0; i < TLS_CLIENTS; i++) {
		if (!T.clients[i].ssl)
			continue;
		if (!SSL_is_init_finished(T.clients[i].ssl) && !T.clients[i].end) {
			tls_pull(c, i);
			SSL_do_handshake(T.clients[i].ssl);
		}
		tls_push(c, i);
	}
}

static void
tls_forget(int i)
{
	SSL_free(T.clients[i].ssl);
	T.clients[i].ssl = NULL;
}

static void
tls_close(struct stream_case *c)
{
	for (int i = 0; i < TLS_CLIENTS; i++)
		tls_forget(i);
	SSL_CTX_free(T.ctx);
	T.carrier->close(c);
}

static int
tls_dial(struct stream_case *c)
{
	int i = 0;
	while (T.clients[i].ssl)
		assert_true(++i < TLS_CLIENTS);
	memset(&T.clients[i], 0, sizeof T.clients[i]);
	T.out_len[i] = 0;
	T.clients[i].inner = T.carrier->dial(c);
	T.clients[i].ssl = SSL_new(T.ctx);
	SSL_set_bio(T.clients[i].ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	SSL_set_connect_state(T.clients[i].ssl);
	SSL_do_handshake(T.clients[i].ssl);
	return i;
}

static ssize_t
tls_send(struct stream_case *c, int i, const void *bytes, size_t len)
{
	if (T.clients[i].end < 0)
		return T.clients[i].end;
	tls_push(c, i);
	if (!SSL_is_init_finished(T.clients[i].ssl) || T.out_len[i] > TLS_PENDING / 2 || !len)
		return 0;
	int n = SSL_write(T.clients[i].ssl, bytes, (int)(len < TLS_PENDING ? len : TLS_PENDING));
	tls_push(c, i);
	return n > 0 ? n : 0;
}

static ssize_t
tls_recv(struct stream_case *c, int i, void *bytes, size_t room)
{
	SSL *ssl = T.clients[i].ssl;
	for (;;) {
		int n = SSL_read(ssl, bytes, (int)(room < 1u << 20 ? room : 1u << 20));
		if (n > 0)
			return n;
		if (SSL_get_shutdown(ssl) & SSL_RECEIVED_SHUTDOWN)
			return 0;
		if (SSL_get_error(ssl, n) != SSL_ERROR_WANT_READ)
			return -EPROTO;
		if (T.clients[i].end || !tls_pull(c, i))
			return T.clients[i].end > 0 ? 0 : T.clients[i].end ? T.clients[i].end : -EAGAIN;
	}
}

static void
tls_finish(struct stream_case *c, int i)
{
	SSL_shutdown(T.clients[i].ssl);
	T.clients[i].finish = true;
	tls_push(c, i);
}

static void
tls_cut(struct stream_case *c, int i)
{
	T.carrier->cut(c, T.clients[i].inner);
	tls_forget(i);
}

static void
tls_drop(struct stream_case *c, int i)
{
	T.carrier->drop(c, T.clients[i].inner);
	tls_forget(i);
}

static const struct stream_counters *
tls_counters(struct stream_case *c)
{
	return T.carrier->counters(c);
}

static struct stream_case tls = {
	.name = "TLS", .open = tls_open, .close = tls_close, .turn = tls_turn, .dial = tls_dial, .send = tls_send, .recv = tls_recv,
	.finish = tls_finish, .cut = tls_cut, .drop = tls_drop, .counters = tls_counters,
};

static void
test_tls_kernel(void **state)
{
	(void)state;
	T.carrier = &kernel;
	tls.durable = false;
	stream_conformance(&tls);
}

static void
test_tls_lcore_received(void **state)
{
	(void)state;
	T.carrier = &lcore;
	tls.durable = false;
	stream_conformance(&tls);
}

static void
test_tls_lcore_durable(void **state)
{
	(void)state;
	T.carrier = &lcore;
	tls.durable = true;
	stream_conformance(&tls);
}

/* A record that is larger than what its sender may have under way: its beginning is acknowledged after a while, its end with its events and not before. */
static void
test_tls_record(void **state)
{
	(void)state;
	enum { RECORD = 16000 };
	static char bytes[RECORD + 1];
	T.carrier = &lcore;
	tls.durable = true;
	L.flight_max = 10 * MSS;
	tls.open(&tls, &source_syslogtcp, "keepFields=all");
	int i = tls.dial(&tls), lines = 0;
	for (int n = 0; n < 20; n++)
		tls.turn(&tls, true, NS_PER_MS);
	struct client *k = &L.clients[T.clients[i].inner];
	for (int at = 0; at < RECORD; at += 100)
		snprintf(bytes + at, 101, "<13>%095d\n", at);
	uint32_t begin = k->una;
	assert_int_equal(tls.send(&tls, i, bytes, RECORD), RECORD);
	for (int n = 0; n < 30; n++)
		tls.turn(&tls, true, NS_PER_MS);
	assert_int_equal(k->una - begin, 0);
	assert_true(k->nxt - k->una <= L.flight_max && k->tx_len > L.flight_max);
	for (int n = 0; n < 200; n++)
		tls.turn(&tls, false, NS_PER_MS);	/* nobody writes */
	assert_true(k->nxt - begin > RECORD && k->tx_len > 0);	/* all of it is under way, its end is not acknowledged */
	assert_string_equal(rig_stored(&tls.rig), "");
	for (int n = 0; n < 200; n++)
		tls.turn(&tls, true, NS_PER_MS);
	assert_int_equal(k->tx_len, 0);
	for (const char *p = rig_stored(&tls.rig); *p; p = strchr(p, '\n') + 1)
		lines++;
	assert_int_equal(lines, RECORD / 100);
	tls.drop(&tls, i);
	tls.close(&tls);
	L.flight_max = 0;
}

/* Bytes that can never be durable (no TLS, a record without its end) do not hold a connection that both sides have closed: its place is free soon. */
static void
test_tls_never_durable(void **state)
{
	(void)state;
	char bytes[64] = "";
	T.carrier = &lcore;
	tls.durable = true;
	tls.open(&tls, &source_syslogtcp, "");
	/* One that speaks no TLS at all: it is closed, and closes. */
	int raw = lcore.dial(&tls);
	for (int n = 0; n < 5; n++)
		tls.turn(&tls, true, NS_PER_MS);
	lcore.send(&tls, raw, "<13>this is not TLS\n", 20);
	for (int n = 0; n < 5; n++)
		tls.turn(&tls, true, NS_PER_MS);
	assert_int_equal(lcore.recv(&tls, raw, bytes, sizeof bytes), 0);
	lcore.finish(&tls, raw);
	/* One that ends in the middle of a record. */
	int i = tls.dial(&tls);
	for (int n = 0; n < 20; n++)
		tls.turn(&tls, true, NS_PER_MS);
	assert_true(SSL_is_init_finished(T.clients[i].ssl));
	lcore.send(&tls, T.clients[i].inner, "\x17\x03\x03\x01\x00half", 9);
	lcore.finish(&tls, T.clients[i].inner);
	for (int n = 0; n < 1000; n++)
		tls.turn(&tls, true, NS_PER_MS);
	assert_int_equal(counter_read(&tls.counters(&tls)->open), 0);
	struct tcp_counters *tcp = tcp_counters(L.carrier.tcp);
	assert_int_equal(counter_read(&tcp->connections), counter_read(&tcp->time_wait));
	assert_int_equal(counter_read(&tls.counters(&tls)->reset_tls), 1);
	L.clients[raw].used = L.clients[T.clients[i].inner].used = false;
	tls.close(&tls);
}

static int alert_read;

static void
on_info(const SSL *ssl, int where, int what)
{
	(void)ssl;
	if (where & SSL_CB_READ && where & SSL_CB_ALERT)
		alert_read = what & 0xff;
}

/* A client of TLS 1.2 that asks for another handshake is told no and loses nothing; one of TLS 1.3 may have its keys renewed as often as it likes. Both carriers. */
static void
test_tls_anew(void **state)
{
	(void)state;
	struct stream_case *const carriers[] = { &kernel, &lcore };
	for (int which = 0; which < 2; which++) {
		char line[64], want[64 * 41] = "", got[64 * 41] = "";
		T.carrier = carriers[which];
		tls.durable = which == 1;
		tls.open(&tls, &source_syslogtcp, "keepFields=all");
		SSL_CTX_set_max_proto_version(T.ctx, TLS1_2_VERSION);
		int i = tls.dial(&tls);
		for (int n = 0; n < 50; n++)
			tls.turn(&tls, true, NS_PER_MS);
		assert_true(tls.send(&tls, i, "<13>before\n", 11) == 11);
		alert_read = 0;
		SSL_set_info_callback(T.clients[i].ssl, on_info);
		assert_int_equal(SSL_renegotiate(T.clients[i].ssl), 1);
		SSL_do_handshake(T.clients[i].ssl);	/* asks */
		for (int n = 0; n < 50; n++)
			tls.turn(&tls, true, NS_PER_MS);
		assert_int_equal(alert_read, SSL_AD_NO_RENEGOTIATION);
		assert_string_equal(rig_stored(&tls.rig), "<13>before\n");
		/* OpenSSL's client ends what it is told no on, with an alert. */
		assert_int_equal(counter_read(&tls.counters(&tls)->reset_tls), 1);
		tls.drop(&tls, i);
		for (int n = 0; n < 50; n++)
			tls.turn(&tls, true, NS_PER_MS);
		SSL_CTX_set_max_proto_version(T.ctx, TLS1_3_VERSION);
		i = tls.dial(&tls);
		for (int n = 0; n < 50; n++)
			tls.turn(&tls, true, NS_PER_MS);
		for (int k = 0; k < 40; k++) {
			assert_int_equal(SSL_key_update(T.clients[i].ssl, k & 1 ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED), 1);
			assert_int_equal(SSL_do_handshake(T.clients[i].ssl), 1);
			size_t len = (size_t)snprintf(line, sizeof line, "<13>line %d\n", k);
			assert_int_equal(tls.send(&tls, i, line, len), len);
			strcat(want, line);
			tls.turn(&tls, true, NS_PER_MS);
			strcat(got, rig_stored(&tls.rig));
		}
		for (int n = 0; n < 50; n++)
			tls.turn(&tls, true, NS_PER_MS);
		strcat(got, rig_stored(&tls.rig));
		assert_string_equal(got, want);
		tls.drop(&tls, i);
		for (int n = 0; n < 50; n++)
			tls.turn(&tls, true, NS_PER_MS);
		assert_int_equal(counter_read(&tls.counters(&tls)->open), 0);
		tls.close(&tls);
	}
}

static void
test_kernel(void **state)
{
	(void)state;
	stream_conformance(&kernel);
}

/* A sender of netcat that wants no answers may have more lines under way than answers would have room. Both carriers. */
static void
test_netcat_silent(void **state)
{
	(void)state;
	enum { LINES = 20000 };
	static char bytes[LINES * 8 + 1];
	struct stream_case *const carriers[] = { &kernel, &lcore };
	for (int i = 0; i < LINES; i++)
		snprintf(bytes + 8 * i, 9, "%07d\n", i);
	for (int which = 0; which < 2; which++) {
		struct stream_case *c = carriers[which];
		lcore.durable = false;
		c->open(c, &source_netcat, "ack-every-event=false");
		int client = c->dial(c);
		size_t sent = 0;
		for (int n = 0; n < 2000; n++) {
			if (sent < LINES * 8 && n > 5) {
				ssize_t took = c->send(c, client, bytes + sent, LINES * 8 - sent);
				assert_true(took >= 0);
				sent += (size_t)took;
			}
			c->turn(c, n > 300, NS_PER_MS);		/* nothing is stored for a while */
		}
		assert_int_equal(sent, LINES * 8);
		const char *stored = rig_stored(&c->rig);
		assert_int_equal(strlen(stored), LINES * 8);	/* cmocka's own message would be too long */
		assert_true(strcmp(stored, bytes) == 0);
		assert_int_equal(counter_read(&c->counters(c)->open), 1);
		c->drop(c, client);
		c->close(c);
	}
}

/* Bytes of the heap in use; 0 under a sanitizer's. */
static size_t
in_use(void)
{
	struct mallinfo2 info = mallinfo2();
	return info.uordblks + info.hblkhd;
}

/* What a connection held while the channel was full it gives back when it is quiet. */
static void
test_kernel_buffers(void **state)
{
	(void)state;
	enum { SENDERS = 8, EACH = 2 << 20, LINE = 100 };
	char line[LINE + 1];
	int clients[SENDERS];
	size_t sent[SENDERS] = { 0 }, all = 0;
	snprintf(line, sizeof line, "<13>%095d\n", 7);
	kernel.open(&kernel, &source_syslogtcp, "");
	for (int i = 0; i < SENDERS; i++)
		clients[i] = kernel.dial(&kernel);
	for (int n = 0; n < 20; n++)
		kernel.turn(&kernel, true, NS_PER_MS);
	size_t quiet = in_use();
	for (int n = 0; n < 3000 && (n < 500 || all < SENDERS * (size_t)EACH); n++) {
		for (int i = 0; i < SENDERS; i++)
			while (sent[i] < EACH) {
				ssize_t took = kernel.send(&kernel, clients[i], line + sent[i] % LINE, LINE - sent[i] % LINE);
				if (took <= 0)
					break;
				sent[i] += (size_t)took;
				all += (size_t)took;
			}
		kernel.turn(&kernel, n > 400, NS_PER_MS);	/* nobody writes for a while: the channel is full */
		if (n == 400 && quiet)
			assert_true(in_use() > quiet + SENDERS * 65536);
		if (n > 400)
			rig_stored(&kernel.rig);
	}
	for (int n = 0; n < 400; n++) {
		kernel.turn(&kernel, true, 10 * NS_PER_MS);
		rig_stored(&kernel.rig);
	}
	assert_int_equal(counter_read(&kernel.counters(&kernel)->bytes_in), all);
	size_t again = in_use();
	for (int i = 0; i < SENDERS; i++)
		kernel.cut(&kernel, clients[i]);
	for (int n = 0; n < 20; n++)
		kernel.turn(&kernel, true, NS_PER_MS);
	assert_true(again - in_use() <= SENDERS * 4096);
	/* Nor does it wake more often for ever because files were once used up. */
	K.ks.refused_until_ns = kernel.rig.clock.now + 100 * NS_PER_MS;
	assert_int_equal(kernel_streams_wait_ms(&K.ks, 1000), 50);
	kernel.turn(&kernel, true, 200 * NS_PER_MS);
	assert_int_equal(kernel_streams_wait_ms(&K.ks, 1000), 1000);
	kernel.close(&kernel);
}

static void
test_lcore_received(void **state)
{
	(void)state;
	lcore.durable = false;
	stream_conformance(&lcore);
}

static void
test_lcore_durable(void **state)
{
	(void)state;
	lcore.durable = true;
	stream_conformance(&lcore);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kernel), cmocka_unit_test(test_lcore_received), cmocka_unit_test(test_lcore_durable),
		cmocka_unit_test(test_tls_kernel), cmocka_unit_test(test_kernel_buffers), cmocka_unit_test(test_netcat_silent),
		cmocka_unit_test(test_tls_lcore_received), cmocka_unit_test(test_tls_lcore_durable),
		cmocka_unit_test(test_tls_record), cmocka_unit_test(test_tls_never_durable), cmocka_unit_test(test_tls_anew),
	};
	return cmocka_run_group_tests_name("stream_carriers", tests, NULL, NULL);
}
