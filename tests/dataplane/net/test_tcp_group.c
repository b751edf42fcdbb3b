/* Proves: a segment of a connection of another lcore is handed to it and to nobody else, in one thread to the unit, and with two threads that race:
 * every byte once and in order, no RST to a connection that lives, while other connections come and go and their table entries move. Clean under TSan.
 * How: two nets with their tcps in one group; a scripted peer's segments are put into the one or the other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "dataplane/net/tcp.h"
#include "dataplane/net/tcp_group.h"
#include "dataplane/net/tcp_segment.h"
#include "tests/dataplane/net/bench.h"

#define STREAM_BYTES (4u << 20)
#define PIECE 1000u

struct side {
	struct bench b;
	struct tcp *tcp;
	struct conn *conn;	/* the one that is looked at */
	uint64_t got;		/* bytes of it */
	uint32_t gone, accepted;
	uint32_t seed;
};

static struct side sides[2];
static struct tcp_group *group;
static struct address from, to;
static uint32_t first, peer_ack;
static _Atomic uint64_t progress;
static _Atomic bool over;

static uint8_t
pattern(uint64_t i)
{
	return (uint8_t)(i * 167 + (i >> 8) * 13 + (i >> 16) * 7 + 1);
}

static enum drop
on_listen(void *context, const struct address *f, const struct address *t, void **listener)
{
	(void)f;
	*listener = context;
	return t->port == 6514 ? DROP_NONE : DROP_NO_LISTENER;
}

static void *
on_accept(void *context, struct conn *conn, void *listener)
{
	struct side *side = context;
	(void)listener;
	struct address f, t;
	conn_addresses(conn, &f, &t);
	side->accepted++;
	if (f.port == from.port)
		side->conn = conn;
	return side;
}

static uint32_t
on_bytes(void *stream, const uint8_t *bytes, uint32_t len)
{
	struct side *side = stream;
	for (uint32_t i = 0; i < len; i++)
		assert(bytes[i] == pattern(side->got + i));
	side->got += len;
	atomic_store_explicit(&progress, side->got, memory_order_release);
	return len;
}

static void
on_finished(void *stream)
{
	(void)stream;
}

static void
on_gone(void *stream, int why)
{
	(void)why;
	((struct side *)stream)->gone++;
}

static const struct tcp_user user = { .listen = on_listen, .accept = on_accept, .bytes = on_bytes, .finished = on_finished, .gone = on_gone };

/* One segment straight into a side, as its lcore would. */
static void
put(struct side *side, uint16_t port, uint8_t flags, uint32_t seq, uint32_t ack, uint64_t offset, uint32_t len)
{
	uint8_t segment[TCP_BYTES + 2000], bytes[2200];
	struct address peer = from;
	peer.port = port;
	tcp_header_put(segment, peer.port, to.port, seq, ack, TCP_BYTES, flags, 65535);
	for (uint32_t i = 0; i < len; i++)
		segment[TCP_BYTES + i] = pattern(offset + i);
	tcp_checksum_put(segment, TCP_BYTES + len, &peer, &to);
	struct frame frame = { .bytes = bytes };
	frame.len = bench_ip(bytes, &peer, &to, PROTO_TCP, 64, segment, TCP_BYTES + len, -1);
	net_input(side->b.net, &frame, 1, side->b.now_ns);
}

static void
data(struct side *side, uint64_t offset, uint32_t len)
{
	put(side, from.port, TCP_ACK, first + (uint32_t)offset, peer_ack, offset, len);
}

static void
turn(struct side *side)
{
	side->b.now_ns += 100 * NS_PER_US;
	tcp_handed(side->tcp, side->b.now_ns);
	tcp_turn(side->tcp, side->b.now_ns);
	const uint8_t *p;
	uint32_t len;
	while (port_mem_sent(side->b.port, &p, &len)) {
		const uint8_t *t = p + ETH_BYTES + IP4_BYTES;
		if (get16(p + 12) == ETH_IP4 && get16(t + 2) == from.port) {
			assert(!(t[13] & TCP_RST));
			if ((t[13] & TCP_SYN) && !peer_ack)
				peer_ack = get32(t + 4) + 1;
		}
	}
	struct net_counters *c = net_counters(side->b.net);
	assert(counter_read(&c->frames_in) == net_account_out(c));
}

static int
setup(void **state)
{
	(void)state;
	memset(sides, 0, sizeof sides);
	atomic_store(&progress, 0);
	atomic_store(&over, false);
	peer_ack = 0;
	from = ip("192.0.2.99");
	to = ip("192.0.2.10");
	from.port = 40000;
	to.port = 6514;
	group = tcp_group_open(2, NULL);
	assert_non_null(group);
	for (uint32_t i = 0; i < 2; i++) {
		struct side *side = &sides[i];
		bench_open(&side->b);
		struct tcp_config config = { .connections_max = 48, .chunks = 4096, .group = group, .member = i };
		side->tcp = tcp_open(&config, side->b.net, &user, side, NULL);
		assert_non_null(side->tcp);
		tcp_credit(side->tcp, 0, 64u << 20, false);
		side->seed = i + 1;
	}
	/* The handshake: the SYN decides who owns it; its ACK comes to the other. */
	put(&sides[0], from.port, TCP_SYN, 5000, 0, 0, 0);
	turn(&sides[0]);
	assert_int_not_equal(peer_ack, 0);
	first = 5001;
	put(&sides[1], from.port, TCP_ACK, first, peer_ack, 0, 0);
	assert_null(sides[0].conn);
	turn(&sides[0]);
	assert_non_null(sides[0].conn);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 2; i++) {
		tcp_close(sides[i].tcp);
		bench_close(&sides[i].b);
	}
	tcp_group_close(group);
	return 0;
}

static uint64_t
drops(struct side *side, enum drop drop)
{
	return counter_read(&net_counters(side->b.net)->drops[drop]);
}

static void
handed_to_its_owner(void **state)
{
	(void)state;
	struct side *a = &sides[0], *b = &sides[1];
	data(b, 0, 700);
	assert_int_equal(counter_read(&net_counters(b->b.net)->handed_held), 1 + 1);	/* the handshake's ACK too */
	turn(b);
	assert_int_equal(a->got, 0);
	turn(a);
	assert_int_equal(a->got, 700);
	assert_int_equal(counter_read(&net_counters(a->b.net)->handed_held) + counter_read(&net_counters(b->b.net)->handed_held), 0);
	assert_int_equal(counter_read(&tcp_counters(b->tcp)->handed_over), 2);
	assert_int_equal(counter_read(&net_counters(a->b.net)->to_source), 1);
	/* A SYN of the same four, sent again and spread anew, makes no second connection. */
	put(b, from.port, TCP_SYN, 5000, 0, 0, 0);
	turn(b);
	turn(a);
	assert_int_equal(counter_read(&tcp_counters(b->tcp)->opened), 0);
	/* A segment of nobody is answered where it came in. */
	put(b, 41000, TCP_ACK, 77, 88, 0, 0);
	turn(b);
	assert_int_equal(drops(b, DROP_TCP_STRANGER), 1);
	assert_int_equal(counter_read(&tcp_counters(b->tcp)->resets_sent), 1);
	tcp_check(a->tcp);
	tcp_check(b->tcp);
}

static void
full_ring_answers_nothing(void **state)
{
	(void)state;
	struct side *a = &sides[0], *b = &sides[1];
	uint32_t n = 0;
	while (!drops(b, DROP_TCP_HANDOVER) && n < 100000)
		data(b, (n++ % 10) * PIECE, PIECE);
	assert_int_equal(drops(b, DROP_TCP_HANDOVER), 1);
	assert_true(n > TCP_GROUP_RING_BYTES / 2048 && n < TCP_GROUP_RING_BYTES / PIECE);
	assert_int_equal(counter_read(&tcp_counters(b->tcp)->resets_sent), 0);
	for (uint32_t i = 0; i < n / TCP_GROUP_TURN + 1; i++)
		turn(a);
	assert_int_equal(a->got, 10 * PIECE);
	/* Round the ring's end many times, with segments of every length. */
	for (uint64_t at = 10 * PIECE, k = 0; at < 2000000; k++) {
		uint32_t len = 1 + (uint32_t)(k * 7919 % 1460);
		data(b, at, len);
		at += len;
		turn(a);
		assert_int_equal(a->got, at);
	}
}

static uint32_t
dice(struct side *side)
{
	return side->seed = side->seed * 1664525 + 1013904223;
}

/* Each sends pieces of the stream, a little ahead of what has come, into its own side; the owner's side has connections come and go besides. */
static void *
run(void *context)
{
	struct side *side = context;
	while (!atomic_load_explicit(&over, memory_order_relaxed)) {
		uint64_t got = atomic_load_explicit(&progress, memory_order_acquire);
		if (got >= STREAM_BYTES)
			break;
		for (uint32_t i = 0; i < 8; i++) {
			uint64_t at = got + dice(side) / 65536 % 12 * PIECE;
			if (i == 0)
				at = got;
			if (at >= STREAM_BYTES)
				continue;
			data(side, at, STREAM_BYTES - at < PIECE ? (uint32_t)(STREAM_BYTES - at) : PIECE);
		}
		for (uint32_t i = 0; i < 6; i++) {
			uint16_t port = (uint16_t)(50000 + (side == sides) * 1000 + dice(side) / 65536 % 40);
			put(side, port, TCP_SYN, 100, 0, 0, 0);
			port = (uint16_t)(50000 + (side == sides) * 1000 + dice(side) / 65536 % 40);
			put(side, port, TCP_RST, 101, 0, 0, 0);
		}
		turn(side);
		sched_yield();
	}
	return NULL;
}

static void
two_threads(void **state)
{
	(void)state;
	pthread_t thread;
	assert_int_equal(pthread_create(&thread, NULL, run, &sides[1]), 0);
	uint64_t begin = clock_now_ns(&clock_system);
	/* The owner only takes until the other, which gets its CPU when it gets it, has handed some over. */
	while (counter_read(&tcp_counters(sides[1].tcp)->handed_over) <= 100 && clock_now_ns(&clock_system) - begin < 100 * NS_PER_S) {
		turn(&sides[0]);
		sched_yield();
	}
	while (atomic_load(&progress) < STREAM_BYTES && clock_now_ns(&clock_system) - begin < 100 * NS_PER_S)
		run(&sides[0]);
	atomic_store(&over, true);
	pthread_join(thread, NULL);
	for (int i = 0; i < 20; i++)
		turn(&sides[0]), turn(&sides[1]);
	assert_int_equal(sides[0].got, STREAM_BYTES);
	assert_int_equal(sides[1].got, 0);
	assert_int_equal(sides[0].gone, 0);
	assert_int_equal(counter_read(&net_counters(sides[0].b.net)->handed_held) + counter_read(&net_counters(sides[1].b.net)->handed_held), 0);
	assert_true(counter_read(&tcp_counters(sides[1].tcp)->handed_over) > 100);
	tcp_check(sides[0].tcp);
	tcp_check(sides[1].tcp);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(handed_to_its_owner, setup, teardown),
		cmocka_unit_test_setup_teardown(full_ring_answers_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(two_threads, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
