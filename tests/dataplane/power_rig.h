/* power_rig: the worker's turn over TCP and the ring log on a disk in memory whose writes end when the seed says, and scripted peers. One thread, one clock.
 * A file that includes it has its own source and says itself what it makes of what came over the wire and of what is in the log. */
#ifndef PENSTOCK_TESTS_DATAPLANE_POWER_RIG_H
#define PENSTOCK_TESTS_DATAPLANE_POWER_RIG_H

#include <stdio.h>
#include <stdlib.h>

#include "channel/channel_file.h"
#include "channel/ledger.h"
#include "channel/logio.h"
#include "dataplane/worker.h"
#include "tests/dataplane/net/tcp_peer.h"

#define PEERS 4
#define LINE 80
#define STREAM_BYTES (LINE * 300)

struct line_peer {
	struct address from;
	uint32_t first, ack, iss;	/* first: seq of byte 0 */
	bool open, reset;
	uint64_t acked, sent;		/* offsets; acked: the highest ACK seen */
	uint64_t stored;		/* lines found in the log after the cut */
	uint64_t half;			/* end of the half line that a state record holds */
	uint32_t left_bytes;		/* of it, to come as an event of its own */
	uint32_t total;			/* bytes of its stream, <= STREAM_BYTES */
	uint8_t bytes[STREAM_BYTES];
};

static struct rig {
	struct clock_manual clock;
	struct worker *worker;
	struct pipeline pipeline;
	struct pipeline_source source;
	struct channel *channel;
	struct port *port;
	struct logio_mem *mem;
	struct line_peer peers[PEERS];
	uint64_t seed;
	uint64_t acks;
	bool failing, again;
	uint64_t halves;
} R;

static inline uint32_t
any(uint32_t below)
{
	R.seed = R.seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)((R.seed >> 33) % below);
}

/* ---- the rig ---- */

static const char *dirs[] = { "/d" };
static const struct channel_file_config file_config = { .checkpoint_dir = "/c", .data_dirs = { 1, dirs }, .capacity = 100000, .sync = true,
	.required_space = 1, .max_file_size = 1u << 30, .transaction_capacity = 1000, .checkpoint_interval_ms = 1000, .sync_interval_s = 5,
	.segment_size = 2u << 20 };

static inline void
channel_start(void)
{
	struct err err = { "" };
	struct channel_env env = { .name = "c1", .clock = &R.clock.clock, .block_bytes = 16384, .blocks = 8, .links_max = 1 };
	if (channel_file_open_on(&R.channel, &file_config, &env, logio_mem_io(R.mem), &err)) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
}

/* The worker over R.channel, as at a start of the process. */
static inline void
worker_start(enum stream_edge edge)
{
	struct err err = { "" };
	struct worker *w = R.worker = aligned_alloc(64, (sizeof *w + 63) & ~(size_t)63);
	memset(w, 0, sizeof *w);
	R.port = port_mem_open("p0", bench_mac, NULL, 0, 1, NULL);
	R.pipeline.channels[0] = R.channel;
	struct net_config config = bench_config();
	int rc = ingress_open(&w->ingress, "test", &R.pipeline, &R.clock.clock, -1, &err);
	assert(rc == 0);
	w->ports[0] = (struct worker_port){ .port = R.port, .worker = w };
	w->ports[0].net = net_open(&config, R.port, 0, worker_on_udp, &w->ports[0], &err);
	w->port_count = 1;
	struct tcp_config tcp_config = { .connections_max = 64, .chunks = 256, .secret = { R.seed, 1 } };
	struct address at = ip("192.0.2.10");
	at.port = 6514;
	rc = streams_init(&w->streams, &w->ingress, 0);
	rc |= tcp_listeners_add(&w->tcp_listeners, &at, &(struct source_listen){ 0 }, &(struct stream_limits){ 0 }, edge, &w->ingress.sources[0], &err);
	rc |= tcp_carrier_open(&w->ports[0].tcp, &tcp_config, w->ports[0].net, &w->streams, &w->tcp_listeners, "p0", &err);
	assert(rc == 0);
	P.b.port = R.port;
	P.to = at;
	P.window = 65535;
}

/* Everything but the worker: it is started when the peers are. */
static inline void
rig_start(uint64_t seed, const struct source_ops *ops, const void *config)
{
	memset(&R, 0, sizeof R);
	memset(&P, 0, sizeof P);
	R.seed = seed;
	clock_manual_init(&R.clock, NS_PER_S, UINT64_C(1795245136) * NS_PER_S);
	R.mem = logio_mem_new();
	channel_start();
	R.source = (struct pipeline_source){ .name = "r1", .ops = ops, .config = config, .required = 1, .selector.otherwise = 1 };
	R.pipeline = (struct pipeline){ .generation = 1, .channels = { R.channel }, .channel_count = 1, .sources = &R.source, .source_count = 1 };
}

static inline struct line_peer *
peer_start(uint32_t i, uint32_t first)
{
	struct line_peer *p = &R.peers[i];
	p->from = ip("192.0.2.99");
	p->from.port = (uint16_t)(1000 + i);
	p->first = first;
	return p;
}

static inline void
rig_stop(void)
{
	struct worker *w = R.worker;
	tcp_carrier_close(&w->ports[0].tcp);
	streams_free(&w->streams);
	net_close(w->ports[0].net);
	ingress_close(&w->ingress);
	tcp_listeners_free(&w->tcp_listeners);
	port_close(R.port);
	free(w);
}

/* The process is gone, and what was not synced with it; the log is read anew. */
static inline void
power_off(uint64_t seed)
{
	rig_stop();
	R.channel->ops->close(R.channel);
	logio_mem_power_off(R.mem, seed);
	logio_mem_hold(R.mem, false);
	logio_mem_cut_after(R.mem, UINT64_MAX);
	channel_start();
}

static inline void
rig_end(void)
{
	R.channel->ops->close(R.channel);
	logio_mem_free(R.mem);
}

/* All events that the log holds and no taker has had, in order. */
static inline void
log_each(void (*visit)(const struct event_view *event))
{
	const struct channel_ops *ops = R.channel->ops;
	struct taker *t;
	struct err err;
	struct span *s;
	int rc = ops->taker_open(R.channel, "k1", &t, &err);
	assert(rc == 0);
	while (ops->take(t, 1000, UINT64_MAX, 0, &s) == 0 && s) {
		struct span_cursor cursor = { { 0 } };
		for (struct event_view e; ops->span_next(s, &cursor, &e);)
			visit(&e);
		ops->settle(t, s, SETTLE_COMMIT, NULL, 0);
	}
	ops->taker_close(t);
}

/* A segment that penstock sent to a peer, no SYN. */
struct wire_segment {
	struct line_peer *peer;
	uint64_t acked;			/* offset */
	uint32_t seq, len;
	const uint8_t *data;
	bool reset;
};

/* The next one; SYN-ACKs open their peer and are not told about. False: no more. */
static inline bool
wire_next(struct wire_segment *s)
{
	const uint8_t *bytes;
	uint32_t len;
	while (port_mem_sent(R.port, &bytes, &len)) {
		if (get16(bytes + 12) != ETH_IP4 || bytes[ETH_BYTES + 9] != PROTO_TCP)
			continue;
		const uint8_t *t = bytes + ETH_BYTES + IP4_BYTES;
		uint32_t header = (t[12] >> 4) * 4u;
		struct line_peer *p = &R.peers[get16(t + 2) - 1000];
		*s = (struct wire_segment){ .peer = p, .acked = (uint32_t)(get32(t + 8) - p->first), .seq = get32(t + 4), .data = t + header,
					    .len = get16(bytes + ETH_BYTES + 2) - IP4_BYTES - header, .reset = t[13] & TCP_RST };
		if (s->reset || !(t[13] & TCP_SYN))
			return true;
		p->ack = s->seq + 1;
		p->open = true;
	}
	return false;
}

static inline void
peer_put_bytes(struct line_peer *p, uint8_t flags, uint64_t at, uint32_t len)
{
	static uint8_t frame[9300];
	P.from = p->from;
	uint32_t n = peer_build(frame, flags, p->first + (uint32_t)at, p->ack, NULL, 0, p->bytes + at, len);
	port_mem_feed(R.port, frame, n);
}

/* One thing that a peer does. */
static inline void
peer_act(struct line_peer *p)
{
	static uint8_t frame[200];
	if (!p->open) {
		uint8_t options[TCP_OPTIONS_MAX];
		struct tcp_syn syn = { .mss = 1460, .shift = 7, .has_shift = true, .has_sack = true };
		P.from = p->from;
		uint32_t n = peer_build(frame, TCP_SYN, p->first - 1, 0, options, tcp_syn_options(&syn, options), NULL, 0);
		port_mem_feed(R.port, frame, n);
		return;
	}
	/* New bytes, or some from anywhere behind the last ACK; often out of order, sometimes twice. */
	uint64_t at = any(3) ? p->sent : p->acked + any((uint32_t)(p->sent - p->acked) + 1);
	if (any(6) == 0)
		at += any(3000);
	uint32_t len = 1 + any(any(2) ? 1460 : 100);
	if (at >= p->total)
		at = p->acked;
	if (len > p->total - at)
		len = (uint32_t)(p->total - at);
	if (!len)
		return;
	if (at <= p->sent && at + len > p->sent)
		p->sent = at + len;
	peer_put_bytes(p, TCP_ACK | TCP_PSH, at, len);
}

#endif
