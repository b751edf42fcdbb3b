/* fuzz_tcp: any sequence of segments against the invariants of every connection (tcp_check after each), the stream (every byte delivered is the one that
 * stands at its offset) and the promise (the ACK field never passes what was called durable).
 * Input: records of 8 bytes: what, which peer, offset from a known edge (16 bits, signed), length, flags, and two more. With clang
 * -fsanitize=fuzzer a libFuzzer target; else main runs random records (arguments: seed, else a new one each time, and rounds), so that the test needs no clang. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tests/dataplane/net/tcp_peer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PEERS 6
#define POOLS 3

static struct {
	uint32_t iss, ack;		/* iss: of the peer */
	uint64_t highest_ack;
} peers[PEERS];

static struct peer_stream *
stream_of(uint32_t i)
{
	for (uint32_t k = 0; k < PEER_STREAMS; k++) {
		struct address from, to;
		if (!P.streams[k].conn)
			continue;
		conn_addresses(P.streams[k].conn, &from, &to);
		if (from.port == 100 + i)
			return &P.streams[k];
	}
	return NULL;
}

static bool
known(uint32_t i)
{
	struct tcp_flow flow;
	for (uint32_t cursor = 0; tcp_flow_next(P.tcp, &cursor, &flow);)
		if (flow.from.port == 100 + i)
			return true;
	return false;
}

static void
look(void)
{
	const uint8_t *bytes;
	uint32_t len;
	while (port_mem_sent(P.b.port, &bytes, &len)) {
		if (get16(bytes + 12) != ETH_IP4 || bytes[ETH_BYTES + 9] != PROTO_TCP)
			continue;
		const uint8_t *t = bytes + ETH_BYTES + IP4_BYTES;
		uint32_t i = get16(t + 2) - 100u;
		if (i >= PEERS)
			continue;
		if (t[13] & TCP_SYN)
			peers[i].ack = get32(t + 4) + 1;
		struct peer_stream *s = stream_of(i);
		if (!s || !P.durable || (t[13] & (TCP_SYN | TCP_RST)))
			continue;
		/* The user calls what it got durable when the input says so: never before. */
		uint64_t acked = (uint32_t)(get32(t + 8) - peers[i].iss - 1);
		assert(acked <= s->got + 1);
	}
}

static void
act(const uint8_t *r)
{
	static uint8_t data[1600];
	uint32_t i = r[1] % PEERS;
	struct peer_stream *s = stream_of(i);
	int32_t off = (int16_t)(r[2] | r[3] << 8);
	uint64_t edge = s ? s->got : 0;
	P.from.port = (uint16_t)(100 + i);
	P.to.port = (uint16_t)(7000 + i % POOLS);
	P.ts = r[7] & 1;
	P.ts_val += r[7] >> 4;
	P.window = r[7] & 2 ? 0 : (uint16_t)(r[6] << 6);
	peer_first = peers[i].iss + 1;
	P.ack = peers[i].ack + (r[7] & 4 ? (uint32_t)(int8_t)r[6] : 0);
	uint32_t len = r[4] * 6u;
	switch (r[0] % 12) {
	case 0:
		if (!known(i)) {
			look();		/* what is left of the one before */
			peers[i].iss = (uint32_t)r[2] << 24 | (uint32_t)r[3] << 16 | 0xffff;
			P.seq = peers[i].iss;
			peer_syn();
		}
		break;
	case 1:
	case 2:
	case 3:		/* data at or near the edge */
	case 4: {
		uint64_t at = edge + (uint64_t)(int64_t)(r[0] & 1 ? 0 : off);
		if ((int64_t)at < 0)
			at = 0;
		for (uint32_t k = 0; k < len; k++)
			data[k] = pattern(at + k);
		peer_put((uint8_t)(TCP_ACK | (r[5] & 8)), peer_first + (uint32_t)at, P.ack, data, len);
		break;
	}
	case 5:		/* a FIN is at one place only, else the stream has two ends */
		if (s && s->got > 3000)
			peer_put(TCP_ACK | TCP_FIN, peer_first + (uint32_t)s->got, P.ack, NULL, 0);
		break;
	case 6:		/* any flags, no data; a SYN of a new connection only as above */
		peer_put(r[5] & (uint8_t) ~(TCP_FIN | (s ? 0 : TCP_SYN)), peer_first + (uint32_t)edge + (uint32_t)off, P.ack, NULL, 0);
		break;
	case 7:
		P.b.now_ns += (uint64_t)r[2] * r[3] * NS_PER_MS;
		peer_turn();
		break;
	case 8:
		peer_turn();
		break;
	case 9:
		if (s && P.durable) {
			struct tcp_flow flow;
			for (uint32_t cursor = 0; tcp_flow_next(P.tcp, &cursor, &flow);)
				if (flow.from.port == 100 + i && flow.durable + r[4] * 8u <= s->got)
					conn_durable(s->conn, flow.durable + r[4] * 8u);
		}
		break;
	case 10:
		if (s && (r[5] & 3) == 0)
			conn_finish(s->conn);
		else if (s && (r[5] & 63) == 1) {
			conn_reset(s->conn);
			s->conn = NULL;
		} else if (s) {
			for (uint32_t k = 0; k < len; k++)
				data[k] = (uint8_t)k;
			conn_send(s->conn, data, len);
		}
		break;
	case 11:
		if (s) {
			s->allow = r[5] & 1 ? UINT64_MAX : s->got + r[4];
			P.room = r[5] & 2 ? UINT32_MAX : r[4] * 16u;
			P.settled = r[5] & 4;
			tcp_credit(P.tcp, i % POOLS, r[5] & 8 ? 1u << 20 : r[4] * 64u, r[5] & 16);
			conn_resume(s->conn);
		}
		break;
	}
	tcp_check(P.tcp);
	look();
}

int
LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
	if (size < 2)
		return 0;
	struct tcp_config config = { .connections_max = 5, .chunks = 24, .half_open_max = 1 + input[0] % 4u, .window_max = 65536, .secret = { 3, 4 } };
	peer_open(&config);
	for (uint32_t i = 1; i < POOLS; i++)
		tcp_credit(P.tcp, i, 64u << 20, false);
	P.durable = input[1] & 1;
	memset(peers, 0, sizeof peers);
	for (size_t at = 2; at + 8 <= size; at += 8)
		act(input + at);
	for (int i = 0; i < 3; i++)
		peer_wait(700 * NS_PER_S);
	peer_close();
	return 0;
}

#ifndef LIBFUZZER
int
main(int argc, char **argv)
{
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : (uint64_t)time(NULL), rounds = argc > 2 ? strtoull(argv[2], NULL, 10) : 1500;
	printf("seed %llu, %llu rounds\n", (unsigned long long)seed, (unsigned long long)rounds);
	fflush(stdout);		/* it is wanted most when the next thing is an abort */
	static uint8_t input[2 + 8 * 400];
	uint64_t got = 0;
	for (uint64_t round = 0; round < rounds; round++) {
		uint64_t x = seed * 1000003 + round;
		for (size_t i = 0; i < sizeof input; i++) {
			x = x * 6364136223846793005u + 1442695040888963407u;
			input[i] = (uint8_t)(x >> 33);
		}
		/* Begin with handshakes that are completed, or most of the run would be strangers'. */
		for (uint32_t p = 0; p < PEERS; p++) {
			uint8_t *r = input + 2 + 24 * p;
			r[0] = 0, r[8] = 8, r[16] = 1;
			r[1] = r[17] = (uint8_t)p;
			r[7] = r[23] = (uint8_t)(p & 1);
		}
		LLVMFuzzerTestOneInput(input, sizeof input);
		for (uint32_t k = 0; k < PEER_STREAMS; k++)
			got += P.streams[k].got;
	}
	printf("%llu rounds, %llu bytes delivered\n", (unsigned long long)rounds, (unsigned long long)got);
	return got < 1000 * rounds;
}
#endif
