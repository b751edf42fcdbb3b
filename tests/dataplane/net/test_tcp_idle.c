/* A million idle connections: each with its own address, within 1 GiB with their streams, and any of them still takes a line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "dataplane/stream.h"
#include "tests/dataplane/net/tcp_peer.h"

#define CONNECTIONS 1000000u
#define BATCH 250u

static struct idle {
	uint32_t accepted, gone;
	uint64_t got;
	uint32_t seq[BATCH];		/* of the SYN-ACKs of a batch */
	uint16_t window[BATCH];
} I;

static void *
idle_accept(void *context, struct conn *conn, void *listener)
{
	(void)context;
	(void)listener;
	I.accepted++;
	conn_ack_durable(conn, true);
	return conn;
}

static uint32_t
idle_bytes(void *stream, const uint8_t *bytes, uint32_t len)
{
	(void)bytes;
	I.got += len;
	conn_durable(stream, I.got);
	return len;
}

static void
idle_nothing(void *stream)
{
	(void)stream;
}

static void
idle_gone(void *stream, int why)
{
	(void)stream;
	(void)why;
	I.gone++;
}

static const struct tcp_user idle_user = { .listen = peer_listen, .accept = idle_accept, .bytes = idle_bytes, .finished = idle_nothing, .gone = idle_gone };

static uint64_t
resident(void)
{
	unsigned long size = 0, pages = 0;
	FILE *file = fopen("/proc/self/statm", "re");
	assert_non_null(file);
	assert_int_equal(fscanf(file, "%lu %lu", &size, &pages), 2);
	fclose(file);
	return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void
from_number(uint32_t i)
{
	put32(P.from.ip + 12, 0x0a000000 + i);
}

static void
send_one(uint8_t flags, uint32_t seq, uint32_t ack, const void *options, uint32_t options_bytes, const void *data, uint32_t len)
{
	static uint8_t frame[2000];
	uint32_t n = peer_build(frame, flags, seq, ack, options, options_bytes, data, len);
	port_mem_feed(P.b.port, frame, n);
}

static void
replies_take(uint32_t first)
{
	const uint8_t *p;
	uint32_t len;
	while (port_mem_sent(P.b.port, &p, &len)) {
		if (get16(p + 12) != ETH_IP4)
			continue;
		const uint8_t *t = p + ETH_BYTES + IP4_BYTES;
		uint32_t i = get32(p + ETH_BYTES + 16) - 0x0a000000 - first;
		if ((t[13] & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK) && i < BATCH) {
			I.seq[i] = get32(t + 4);
			I.window[i] = get16(t + 14);
		}
	}
}

static uint64_t
without_window(void)
{
	struct tcp_flow flow;
	uint32_t cursor = 0;
	uint64_t shut = 0;
	while (tcp_flow_next(P.tcp, &cursor, &flow))
		shut += flow.window == 0;
	return shut;
}

static void
a_million(void **state)
{
	(void)state;
	struct tcp_config config = { .connections_max = 1u << 20, .secret = { 7, 8 } };
	uint8_t options[TCP_OPTIONS_MAX];
	struct tcp_syn syn = { .mss = 1460, .shift = 7, .has_shift = true, .has_sack = true };
	uint32_t options_bytes = tcp_syn_options(&syn, options);
	uint64_t before = resident();
	uint32_t early = 0;
	memset(&P, 0, sizeof P);
	bench_open(&P.b);
	P.tcp = tcp_open(&config, P.b.net, &idle_user, &P, NULL);
	assert_non_null(P.tcp);
	tcp_credit(P.tcp, 0, 64u << 20, false);
	P.from = ip("10.0.0.0");
	P.to = ip("192.0.2.10");
	P.from.port = 40000;
	P.to.port = 6514;
	P.window = 65535;
	for (uint32_t first = 0; first < CONNECTIONS; first += BATCH) {
		for (uint32_t i = 0; i < BATCH; i++) {
			from_number(first + i);
			send_one(TCP_SYN, (first + i) * 3, 0, options, options_bytes, NULL, 0);
		}
		P.b.now_ns += 50 * NS_PER_US;
		bench_turn(&P.b);
		tcp_turn(P.tcp, P.b.now_ns);
		replies_take(first);
		for (uint32_t i = 0; i < BATCH; i++) {
			from_number(first + i);
			send_one(TCP_ACK, (first + i) * 3 + 1, I.seq[i] + 1, NULL, 0, NULL, 0);
		}
		bench_turn(&P.b);
		tcp_turn(P.tcp, P.b.now_ns);
		if (!first)
			early = I.seq[17];
	}
	assert_int_equal(I.accepted, CONNECTIONS);
	assert_int_equal(counter_read(&tcp_counters(P.tcp)->connections), CONNECTIONS);
	uint64_t bytes = resident() - before + (uint64_t)CONNECTIONS * sizeof(struct stream);
	printf("%u connections: %.0f bytes each with their streams\n", CONNECTIONS, (double)bytes / CONNECTIONS);
	assert_true(bytes <= UINT64_C(1) << 30);
	/* More than memory was promised for: the last ones wait, until the first have been idle for so long that they count little. */
	uint64_t budget = (64u << 20) * (uint64_t)TCP_WINDOW_MULTIPLE, shut = without_window();
	assert_true(counter_read(&tcp_counters(P.tcp)->promised) <= budget);
	assert_true(shut > 0);
	for (uint32_t ms = 0; ms < 40000 && shut; ms++) {
		P.b.now_ns += NS_PER_MS;
		tcp_turn(P.tcp, P.b.now_ns);
		replies_take(CONNECTIONS);
		assert_true(counter_read(&tcp_counters(P.tcp)->promised) + counter_read(&tcp_counters(P.tcp)->promised_idle) / TCP_IDLE_MULTIPLE <= budget);
		if (ms % 1000 == 999)
			shut = without_window();
	}
	assert_int_equal(shut, 0);
	/* A newcomer among them has its window at once. */
	from_number(CONNECTIONS);
	send_one(TCP_SYN, 3 * CONNECTIONS, 0, options, options_bytes, NULL, 0);
	bench_turn(&P.b);
	tcp_turn(P.tcp, P.b.now_ns);
	replies_take(CONNECTIONS);
	assert_true(I.window[0] >= 1460);
	/* One of the idle sends a line. */
	from_number(17);
	send_one(TCP_ACK, 17 * 3 + 1, early + 1, NULL, 0, "a line\n", 7);
	bench_turn(&P.b);
	P.b.now_ns += 50 * NS_PER_MS;
	tcp_turn(P.tcp, P.b.now_ns);
	assert_int_equal(I.got, 7);
	assert_int_equal(I.gone, 0);
	tcp_close(P.tcp);
	bench_close(&P.b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(a_million) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
