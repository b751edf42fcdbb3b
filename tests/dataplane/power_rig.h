/* power_rig: the worker's turn over TCP and the ring log on a disk in memory whose writes end when the seed says, and scripted peers. One thread, one clock.
 * A file that includes it has its own source and its own look at the wire. */
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
