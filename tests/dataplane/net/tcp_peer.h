/* tcp_peer: a scripted peer over bench, and a user of connections that checks every byte it is given. Shared by the tests and the fuzzer.
 * The byte at offset i of every stream is pattern(i), so that a byte lost, doubled or moved shows at once. */
#ifndef TESTS_NET_TCP_PEER_H
#define TESTS_NET_TCP_PEER_H

#include "base/clock.h"
#include "dataplane/net/tcp.h"
#include "dataplane/net/tcp_segment.h"
#include "tests/dataplane/net/bench.h"

#define PEER_STREAMS 64

struct peer_stream {
	struct conn *conn;
	uint64_t got;			/* bytes taken */
	uint64_t allow;			/* takes no more than up to this offset */
	uint32_t finished, gone, hurried, sent;
	int why;
	bool refuse_next;
};

static struct peer {
	struct bench b;
	struct tcp *tcp;
	bool durable;			/* mode of the next accepted */
	bool auto_durable;		/* every byte at once */
	bool refuse, reset_in_bytes, settled;
	uint32_t room;
	struct peer_stream streams[PEER_STREAMS];
	uint32_t stream_count;
	/* the peer's side of one connection */
	struct address from, to;
	uint32_t seq, ack;		/* next of ours; what we acknowledge */
	uint16_t window;
	bool ts;
	uint32_t ts_val, ts_ecr;
	uint8_t mss_said;
	/* the last frame penstock sent */
	bool have;
	uint8_t flags;
	uint32_t s_seq, s_ack, s_window, s_len, s_ts_val, s_ts_ecr, sack[4][2], sack_count;
	bool s_has_ts;
	uint8_t s_data[9000];
} P;

static inline uint8_t
pattern(uint64_t i)
{
	return (uint8_t)(i * 167 + (i >> 8) * 13 + (i >> 16) * 7 + 1);
}

static inline enum drop
peer_listen(void *context, const struct address *from, const struct address *to, void **listener)
{
	struct peer *p = context;
	(void)from;
	*listener = p;
	return to->port == 6514 || to->port - 7000u < TCP_POOLS ? DROP_NONE : to->port == 6515 ? DROP_SENDER_NOT_ALLOWED : DROP_NO_LISTENER;
}

static inline void *
peer_accept(void *context, struct conn *conn, void *listener)
{
	struct peer *p = context;
	assert(listener == p);
	if (p->refuse)
		return NULL;
	struct peer_stream *s = NULL;
	for (uint32_t i = 0; i < PEER_STREAMS && !s; i++)
		if (!P.streams[i].conn)
			s = &P.streams[i];
	assert(s);
	*s = (struct peer_stream){ .conn = conn, .allow = UINT64_MAX };
	p->stream_count++;
	conn_ack_durable(conn, p->durable);
	return s;
}

static inline uint32_t
peer_bytes(void *stream, const uint8_t *bytes, uint32_t len)
{
	struct peer_stream *s = stream;
	assert(!s->gone);
	if (len > s->allow - s->got)
		len = (uint32_t)(s->allow - s->got);
	for (uint32_t i = 0; i < len; i++)
		assert(bytes[i] == pattern(s->got + i));
	s->got += len;
	if (P.auto_durable)
		conn_durable(s->conn, s->got);
	if (P.reset_in_bytes) {
		conn_reset(s->conn);
		s->gone++;
		s->conn = NULL;
	}
	return len;
}

static inline void
peer_finished(void *stream)
{
	struct peer_stream *s = stream;
	s->finished++;
}

static inline void
peer_sent(void *stream, bool taken)
{
	(void)taken;
	struct peer_stream *s = stream;
	s->sent++;
}

static inline void
peer_hurry(void *stream)
{
	struct peer_stream *s = stream;
	s->hurried++;
}

static inline void
peer_gone(void *stream, int why)
{
	struct peer_stream *s = stream;
	assert(!s->gone);
	s->gone++;
	s->why = why;
	s->conn = NULL;
}

static inline bool
peer_settled(void *stream)
{
	(void)stream;
	return P.settled;
}

static inline uint32_t
peer_room(void *stream)
{
	(void)stream;
	return P.room;
}

/* Ports 7000 to 7000 + TCP_POOLS have a pool each. */
static inline uint32_t
peer_pool(void *context, const struct address *to)
{
	(void)context;
	return to->port - 7000u < TCP_POOLS ? to->port - 7000u : 0;
}

static const struct tcp_user peer_user = {
	.listen = peer_listen, .accept = peer_accept, .bytes = peer_bytes, .finished = peer_finished, .sent = peer_sent, .hurry = peer_hurry,
	.gone = peer_gone, .settled = peer_settled, .room = peer_room, .pool = peer_pool,
};

static inline void
peer_open(const struct tcp_config *config)
{
	memset(&P, 0, sizeof P);
	bench_open(&P.b);
	P.tcp = tcp_open(config, P.b.net, &peer_user, &P, NULL);
	assert(P.tcp);
	tcp_credit(P.tcp, 0, 64u << 20, false);
	P.room = UINT32_MAX;
	P.from = ip("192.0.2.99");
	P.to = ip("192.0.2.10");
	P.from.port = 40000;
	P.to.port = 6514;
	P.seq = 1000;
	P.window = 65535;
	P.ts_val = 5;
}

static inline void
peer_close(void)
{
	tcp_close(P.tcp);
	bench_close(&P.b);
}

/* Builds a segment with data of the stream from `seq_of_first`, or raw bytes. */
static inline uint32_t
peer_build(uint8_t *frame, uint8_t flags, uint32_t seq, uint32_t ack, const uint8_t *options, uint32_t options_bytes, const uint8_t *data, uint32_t len)
{
	uint8_t segment[9100];
	uint32_t header = TCP_BYTES + options_bytes;
	tcp_header_put(segment, P.from.port, P.to.port, seq, ack, header, flags, P.window);
	if (options_bytes)
		memcpy(segment + TCP_BYTES, options, options_bytes);
	if (len)
		memcpy(segment + header, data, len);
	tcp_checksum_put(segment, header + len, &P.from, &P.to);
	return bench_ip(frame, &P.from, &P.to, PROTO_TCP, 64, segment, header + len, -1);
}

/* What penstock sent, the oldest first. False: nothing more. */
static inline bool
peer_take(void)
{
	const uint8_t *p;
	uint32_t len;
	do {
		P.have = port_mem_sent(P.b.port, &p, &len);
		if (!P.have)
			return false;
	} while (get16(p + 12) == ETH_ARP);
	bool v4 = get16(p + 12) == ETH_IP4;
	const uint8_t *ip_ = p + ETH_BYTES, *t = ip_ + (v4 ? IP4_BYTES : IP6_BYTES);
	uint32_t bytes = v4 ? get16(ip_ + 2) - IP4_BYTES : get16(ip_ + 4), header = (t[12] >> 4) * 4u;
	struct address from = P.to, to = P.from;
	if (v4) {
		assert(ip_[9] == PROTO_TCP && csum_fold(csum_add(0, ip_, IP4_BYTES)) == 0);
		memcpy(to.ip + 12, ip_ + 16, 4);
	} else {
		memcpy(to.ip, ip_ + 24, 16);
	}
	assert(tcp_checksum_ok(t, bytes, &from, &to));
	P.s_seq = get32(t + 4);
	P.s_ack = get32(t + 8);
	P.flags = t[13];
	P.s_window = get16(t + 14);
	P.s_len = bytes - header;
	memcpy(P.s_data, t + header, P.s_len);
	P.s_has_ts = tcp_ts_find(t + TCP_BYTES, header - TCP_BYTES, &P.s_ts_val, &P.s_ts_ecr);
	if (P.s_has_ts && P.s_len)	/* echoed, as peers do */
		P.ts_ecr = P.s_ts_val;
	P.sack_count = 0;
	for (const uint8_t *o = t + TCP_BYTES; o < t + header && *o;) {
		if (*o == 1) {
			o++;
			continue;
		}
		for (uint32_t i = 0; *o == 5 && i < (o[1] - 2u) / 8; i++, P.sack_count++) {
			P.sack[i][0] = get32(o + 2 + 8 * i);
			P.sack[i][1] = get32(o + 6 + 8 * i);
		}
		o += o[1];
	}
	return true;
}

static inline void
peer_turn(void)
{
	tcp_turn(P.tcp, P.b.now_ns);
	tcp_check(P.tcp);
}

static inline void
peer_wait(uint64_t ns)
{
	P.b.now_ns += ns;
	P.ts_val += (uint32_t)(ns / NS_PER_MS);
	peer_turn();
}

/* One segment in, no turn behind it. Returns the drop it caused. */
static inline enum drop
peer_put(uint8_t flags, uint32_t seq, uint32_t ack, const uint8_t *data, uint32_t len)
{
	static uint8_t frame[9300];
	uint8_t options[TCP_TS_BYTES];
	if (P.ts)
		tcp_ts_put(options, P.ts_val, P.ts_ecr);
	uint32_t n = peer_build(frame, flags, seq, ack, options, P.ts ? TCP_TS_BYTES : 0, data, len);
	bench_frame(&P.b, frame, n);
	tcp_check(P.tcp);
	return bench_dropped(&P.b);
}

/* Bytes of the stream [from, from + len) at their place; irs + 1 is offset 0. */
static uint32_t peer_first;

static inline enum drop
peer_data(uint64_t from, uint32_t len, uint8_t flags)
{
	static uint8_t data[9000];
	for (uint32_t i = 0; i < len; i++)
		data[i] = pattern(from + i);
	return peer_put(flags | TCP_ACK, peer_first + (uint32_t)from, P.ack, data, len);
}

static inline void
peer_syn(void)
{
	static uint8_t frame[200];
	uint8_t options[TCP_OPTIONS_MAX];
	struct tcp_syn syn = { .mss = 1460, .shift = 7, .has_shift = true, .has_sack = true, .has_ts = P.ts, .ts_val = P.ts_val };
	uint32_t n = tcp_syn_options(&syn, options);
	n = peer_build(frame, TCP_SYN, P.seq, 0, options, n, NULL, 0);
	bench_frame(&P.b, frame, n);
	tcp_check(P.tcp);
}

/* Handshake; the stream it made. */
static inline struct peer_stream *
peer_connect(void)
{
	while (peer_take())
		;
	peer_syn();
	peer_turn();
	bool have = peer_take();
	assert(have && (P.flags & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK) && P.s_ack == P.seq + 1);
	peer_first = ++P.seq;
	P.ack = P.s_seq + 1;
	P.ts_ecr = P.s_ts_val;
	uint32_t before = P.stream_count;
	enum drop drop = peer_put(TCP_ACK, P.seq, P.ack, NULL, 0);
	assert(drop == DROP_NONE && P.stream_count == before + 1);
	struct peer_stream *s = NULL;
	for (uint32_t i = 0; i < PEER_STREAMS; i++)
		if (P.streams[i].conn) {
			struct address from, to;
			conn_addresses(P.streams[i].conn, &from, &to);
			if (from.port == P.from.port && memcmp(from.ip, P.from.ip, 16) == 0)
				s = &P.streams[i];
		}
	assert(s);
	return s;
}

#endif
