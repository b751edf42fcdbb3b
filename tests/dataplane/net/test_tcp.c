/* Proves: the accepting side of TCP against a scripted peer with its own clock: what is delivered, acknowledged and answered in every
 * state, by which of the two edges, and that nothing is acknowledged before its user called it durable. How: tcp over port_mem, the
 * invariants of every connection checked after every segment. */
#include "tests/dataplane/net/tcp_case.h"

static void
received_mode_delays_and_joins_acks(void **state)
{
	(void)state;
	struct peer_stream *s = peer_connect();
	peer_turn();
	NOTHING();
	peer_data(0, 100, TCP_PSH);
	assert_int_equal(s->got, 100);
	peer_turn();
	NOTHING();
	peer_wait(60 * NS_PER_MS);
	ACKED(100);
	for (int i = 0; i < 10; i++)
		peer_data(100 + i * 1000, 1000, 0);
	peer_turn();
	ACKED(10100);
	NOTHING();
	assert_int_equal(s->got, 10100);
}

static void
durable_mode_withholds(void **state)
{
	(void)state;
	P.durable = true;
	struct peer_stream *s = peer_connect();
	for (int i = 0; i < 10; i++)
		DROPPED(peer_data(i * 1000, 1000, 0), DROP_NONE);
	for (int i = 0; i < 20; i++) {
		peer_wait(4 * NS_PER_MS);
		NOTHING();
	}
	conn_durable(s->conn, 4321);
	peer_turn();
	ACKED(4321);
	/* Retransmission of what waits: no answer while the commit is due, and the block is sealed. */
	peer_data(5000, 1000, 0);
	peer_turn();
	NOTHING();
	assert_int_equal(s->hurried, 1);
	/* ... but of what is durable: the ACK was lost. */
	peer_data(3000, 1000, 0);
	peer_turn();
	ACKED(4321);
	assert_int_not_equal(P.s_window, 0);
	conn_durable(s->conn, 10000);
	peer_turn();
	ACKED(10000);
	NOTHING();
	assert_int_equal(s->got, 10000);
}

static void
fin_is_acknowledged_last(void **state)
{
	(void)state;
	P.durable = true;
	struct peer_stream *s = peer_connect();
	peer_data(0, 500, TCP_FIN);
	assert_int_equal(s->finished, 1);
	conn_finish(s->conn);
	peer_turn();
	assert_true(peer_take());	/* our FIN acknowledges nothing yet */
	assert_int_equal(P.flags & TCP_FIN, TCP_FIN);
	assert_int_equal(P.s_ack, peer_first);
	P.ack = P.s_seq + 1;
	conn_durable(s->conn, 499);
	peer_turn();
	ACKED(499);
	/* The peer acknowledges our FIN first; the connection waits for the commit all the same. */
	peer_put(TCP_ACK, peer_first + 501, P.ack, NULL, 0);
	peer_turn();
	NOTHING();
	assert_int_equal(s->gone, 0);
	conn_durable(s->conn, 500);
	peer_turn();
	ACKED(501);
	assert_int_equal(s->gone, 1);
	assert_int_equal(s->why, 0);
	assert_int_equal(COUNT(time_wait), 1);
	peer_data(0, 500, TCP_FIN);	/* that ACK was lost */
	peer_turn();
	ACKED(501);
	peer_wait(61 * NS_PER_S);
	assert_int_equal(COUNT(connections), 0);
	assert_int_equal(COUNT(chunks_used), 0);
}

/* Both sides have closed, and what is not durable will never be (the user says that nothing waits for a commit): no reason to keep the place. */
static void
closed_and_never_durable(void **state)
{
	(void)state;
	P.durable = true;
	struct peer_stream *s = peer_connect();
	peer_data(0, 500, 0);
	conn_durable(s->conn, 100);
	peer_turn();
	ACKED(100);
	conn_finish(s->conn);
	peer_turn();
	assert_true(peer_take());
	P.ack = P.s_seq + 1;
	DROPPED(peer_data(500, 0, TCP_FIN), DROP_NONE);
	peer_turn();
	ACKED(100);
	assert_int_equal(s->gone, 0);	/* a commit is due still */
	P.settled = true;
	peer_data(500, 0, TCP_FIN);	/* the peer asks again */
	peer_turn();
	assert_true(peer_take());
	assert_true(P.flags & TCP_RST);
	assert_int_equal(s->gone, 1);
	assert_int_equal(s->why, -ECONNRESET);
	assert_int_equal(COUNT(connections), 0);
	assert_int_equal(COUNT(chunks_used), 0);
}

static void
late_commit_shuts_the_window(void **state)
{
	(void)state;
	P.durable = true;
	struct peer_stream *s = peer_connect();
	peer_data(0, 1000, 0);
	peer_wait(200 * NS_PER_MS);
	NOTHING();
	peer_data(0, 1000, 0);
	peer_turn();
	ACKED(0);
	assert_int_equal(P.s_window, 0);
	/* What was promised before still comes in. */
	DROPPED(peer_data(1000, 1000, 0), DROP_NONE);
	assert_int_equal(s->got, 2000);
	/* The peer's probes for twenty minutes, at Linux' pace. */
	uint64_t gap = 200 * NS_PER_MS;
	for (uint64_t waited = 0; waited < 1200 * NS_PER_S; waited += gap) {
		gap = gap * 2 < 120 * NS_PER_S ? gap * 2 : 120 * NS_PER_S;
		peer_wait(gap);
		NOTHING();
		peer_put(TCP_ACK, peer_first - 1, P.ack, NULL, 0);
		peer_turn();
		ACKED(0);
		assert_int_equal(P.s_window, 0);
		NOTHING();
	}
	conn_durable(s->conn, 2000);
	peer_turn();
	ACKED(2000);
	assert_int_not_equal(P.s_window, 0);
	assert_int_equal(s->gone, 0);
	/* With the channel full there is no waiting: the first retransmission is told. */
	tcp_credit(P.tcp, 0, 0, false);
	peer_data(2000, 100, 0);
	peer_data(2000, 100, 0);
	peer_turn();
	ACKED(2000);
	assert_int_equal(P.s_window, 0);
}

static void
hole_is_told_when_durable_reaches_it(void **state)
{
	(void)state;
	P.durable = true;
	struct peer_stream *s = peer_connect();
	peer_data(0, 1000, 0);
	peer_data(2000, 1000, 0);
	peer_turn();
	NOTHING();
	assert_int_equal(s->hurried, 1);
	conn_durable(s->conn, 400);
	peer_turn();
	ACKED(400);
	assert_int_equal(P.sack_count, 0);
	conn_durable(s->conn, 1000);
	peer_turn();
	ACKED(1000);
	assert_int_equal(P.sack_count, 1);
	assert_int_equal(P.sack[0][0] - peer_first, 2000);
	assert_int_equal(P.sack[0][1] - peer_first, 3000);
	/* durable is at the hole: each further segment is told at once, newest first. */
	peer_data(5000, 1000, 0);
	peer_turn();
	ACKED(1000);
	assert_int_equal(P.sack_count, 2);
	assert_int_equal(P.sack[0][0] - peer_first, 5000);
	assert_int_equal(P.sack[1][0] - peer_first, 2000);
	peer_data(1000, 1000, 0);
	assert_int_equal(s->got, 3000);
	peer_data(3000, 2000 - 540, 0);
	peer_data(3000 + 1460, 540, 0);
	assert_int_equal(s->got, 6000);
	assert_int_equal(COUNT(chunks_used), 0);
	conn_durable(s->conn, 6000);
	peer_turn();
	ACKED(6000);
	assert_int_equal(P.sack_count, 0);
}

/* The hole is in the middle of a frame: its beginning cannot become durable, so the hole is told about all the same. */
static void
hole_inside_a_frame(void **state)
{
	(void)state;
	P.durable = P.settled = true;
	struct peer_stream *s = peer_connect();
	peer_data(0, 1000, 0);
	conn_durable(s->conn, 900);
	peer_turn();
	ACKED(900);
	peer_data(2000, 1000, 0);
	peer_turn();
	ACKED(900);
	assert_int_equal(P.sack_count, 1);
	assert_int_equal(P.sack[0][0] - peer_first, 2000);
	assert_int_not_equal(P.s_window, 0);
	peer_wait(300 * NS_PER_MS);
	peer_data(900, 100, 0);		/* the peer's timer: it did not hear */
	peer_turn();
	ACKED(900);
	assert_int_equal(P.sack_count, 1);
	assert_int_not_equal(P.s_window, 0);
	peer_data(900, 1100, 0);
	assert_int_equal(s->got, 3000);
	/* No hole: the beginning of a frame again, and nothing to say. */
	peer_turn();
	while (peer_take())
		;
	peer_wait(300 * NS_PER_MS);
	peer_data(2000, 1000, 0);
	peer_turn();
	NOTHING();
}

static void
split_at_every_byte(void **state)
{
	(void)state;
	enum { LEN = 64 };
	static const uint32_t starts[] = { 1000, UINT32_MAX - 30, UINT32_MAX, 0x7fffffe0 };
	for (uint32_t w = 0; w < 4; w++) {
		P.from.port++;
		P.seq = starts[w];
		P.durable = w & 1;
		P.auto_durable = true;
		struct peer_stream *s = peer_connect();
		uint64_t at = 0;
		for (uint32_t cut = 0; cut <= LEN; cut++)
			for (uint32_t over = 0; over < 3; over++)	/* bytes both parts have */
				for (uint32_t order = 0; order < 3; order++) {
					uint32_t first = cut + over < LEN ? cut + over : LEN;
					if (order != 1)
						peer_data(at, first, 0);
					peer_data(at + cut, LEN - cut, TCP_PSH);
					if (order != 0)
						peer_data(at, first, 0);
					at += LEN;
					assert_int_equal(s->got, at);
					peer_turn();
					while (peer_take())
						;
				}
		while (peer_take())
			;
		assert_int_equal(P.s_ack - peer_first, at);
		conn_reset(s->conn);
		s->conn = NULL;
		while (peer_take())
			;
	}
	assert_int_equal(COUNT(chunks_used), 0);
}

static void
overlaps_old_and_future(void **state)
{
	(void)state;
	struct peer_stream *s = peer_connect();
	peer_data(0, 100, 0);
	DROPPED(peer_data(50, 100, 0), DROP_NONE);
	assert_int_equal(s->got, 150);
	DROPPED(peer_data(0, 150, 0), DROP_TCP_DUPLICATE);
	DROPPED(peer_put(TCP_ACK, peer_first - 100000, P.ack, (const uint8_t *)"x", 1), DROP_TCP_DUPLICATE);
	DROPPED(peer_data(1000000, 100, 0), DROP_TCP_WINDOW);
	DROPPED(peer_data(300, 100, 0), DROP_NONE);
	DROPPED(peer_data(300, 100, 0), DROP_TCP_DUPLICATE);
	DROPPED(peer_data(350, 100, 0), DROP_NONE);
	DROPPED(peer_data(200, 400, 0), DROP_NONE);
	assert_int_equal(s->got, 150);
	DROPPED(peer_data(100, 100, 0), DROP_NONE);
	assert_int_equal(s->got, 600);
	/* The end beyond the window is cut off, the FIN with it. */
	peer_turn();
	while (peer_take())
		;
	uint32_t window = P.s_window << 6;
	DROPPED(peer_data(600 + window - 10, 1000, TCP_FIN), DROP_NONE);
	for (uint64_t at = 600; at < 600 + window - 10; at += 1000)
		peer_data(at, (uint32_t)(600 + window - 10 - at < 1000 ? 600 + window - 10 - at : 1000), 0);
	assert_in_range(s->got, 600 + window, 600 + window + 63);	/* the SYN-ACK's was not rounded */
	assert_int_equal(s->finished, 0);
	assert_int_equal(COUNT(chunks_used), 0);
}

static void
fin_out_of_order(void **state)
{
	(void)state;
	struct peer_stream *s = peer_connect();
	peer_data(500, 100, TCP_FIN);
	assert_int_equal(s->finished, 0);
	DROPPED(peer_data(700, 100, 0), DROP_TCP_WINDOW);	/* behind the FIN */
	peer_data(0, 500, 0);
	assert_int_equal(s->got, 600);
	assert_int_equal(s->finished, 1);
	ACKED(0);			/* at once, for what came too early */
	peer_turn();
	ACKED(601);
	DROPPED(peer_data(601, 100, 0), DROP_TCP_WINDOW);
	conn_finish(s->conn);
	peer_turn();
	while (peer_take())
		;
	assert_true(P.flags & TCP_FIN);
	peer_put(TCP_ACK, peer_first + 601, P.s_seq + 1, NULL, 0);
	peer_turn();
	assert_int_equal(s->gone, 1);
	peer_put(TCP_ACK, peer_first + 601, P.s_seq + 1, NULL, 0);	/* a late one: an RST would end the peer's TIME-WAIT */
	peer_turn();
	NOTHING();
	assert_int_equal(COUNT(resets_sent), 0);
}

static void
resets(void **state)
{
	(void)state;
	P.durable = true;
	struct peer_stream *s = peer_connect();
	peer_data(0, 1000, 0);
	/* In the window but not exact: challenged, at most ten a second. */
	DROPPED(peer_put(TCP_RST, peer_first + 1001, 0, NULL, 0), DROP_TCP_WINDOW);
	DROPPED(peer_put(TCP_RST, peer_first + 1002, 0, NULL, 0), DROP_TCP_WINDOW);
	peer_turn();
	ACKED(0);
	NOTHING();
	DROPPED(peer_put(TCP_RST, peer_first - 1, 0, NULL, 0), DROP_TCP_WINDOW);
	DROPPED(peer_put(TCP_RST, peer_first + 500000, 0, NULL, 0), DROP_TCP_WINDOW);
	DROPPED(peer_put(TCP_RST, peer_first + 500, 0, NULL, 0), DROP_TCP_WINDOW);
	peer_turn();
	NOTHING();
	assert_int_equal(s->gone, 0);
	/* Exact at durable: the peer's answer to a challenge ACK. */
	DROPPED(peer_put(TCP_RST, peer_first, 0, NULL, 0), DROP_NONE);
	assert_int_equal(s->gone, 1);
	assert_int_equal(s->why, -ECONNRESET);
	/* Exact at received: its own. */
	P.from.port++;
	P.seq = 77;
	s = peer_connect();
	peer_data(0, 1000, 0);
	DROPPED(peer_put(TCP_RST | TCP_ACK, peer_first + 1000, P.ack, NULL, 0), DROP_NONE);
	assert_int_equal(s->gone, 1);
	assert_int_equal(COUNT(connections), 0);
	/* To a segment of nobody. */
	DROPPED(peer_data(1000, 10, 0), DROP_TCP_STRANGER);
	assert_true(peer_take());
	assert_int_equal(P.flags, TCP_RST);
	assert_int_equal(P.s_seq, P.ack);
	DROPPED(peer_put(TCP_FIN, 5, 0, NULL, 0), DROP_TCP_STRANGER);
	assert_true(peer_take());
	assert_int_equal(P.flags, TCP_RST | TCP_ACK);
	assert_int_equal(P.s_ack, 6);
	DROPPED(peer_put(TCP_RST, 5, 0, NULL, 0), DROP_TCP_STRANGER);
	NOTHING();
}

/* Brings a new connection to a state. */
static struct peer_stream *
reach(enum tcp_state want)
{
	P.from.port++;
	P.seq = 0xfffffff0;
	while (peer_take())
		;
	if (want == TCP_SYN_RECEIVED) {
		peer_syn();
		peer_turn();
		peer_take();
		peer_first = P.seq + 1;
		P.ack = P.s_seq + 1;
		return NULL;
	}
	struct peer_stream *s = peer_connect();
	if (want == TCP_CLOSE_WAIT || want == TCP_LAST_ACK)
		peer_data(0, 20, TCP_FIN);
	else
		peer_data(0, 20, 0);
	if (want != TCP_ESTABLISHED && want != TCP_CLOSE_WAIT)
		conn_finish(s->conn);
	peer_turn();
	while (peer_take())
		;
	if (want == TCP_FIN_WAIT_2 || want == TCP_TIME_WAIT) {
		P.ack = P.s_seq + 1;
		peer_put(TCP_ACK, peer_first + 20, P.ack, NULL, 0);
	}
	if (want == TCP_TIME_WAIT || want == TCP_CLOSING)
		peer_put(TCP_ACK | TCP_FIN, peer_first + 20, P.ack, NULL, 0);
	peer_turn();
	while (peer_take())
		;
	return s;
}

static enum tcp_state
state_now(void)
{
	struct tcp_flow flow;
	for (uint32_t cursor = 0; tcp_flow_next(P.tcp, &cursor, &flow);)
		if (flow.from.port == P.from.port)
			return flow.state;
	return TCP_CLOSED;
}

static void
every_flag_in_every_state(void **state)
{
	(void)state;
	for (enum tcp_state at = TCP_SYN_RECEIVED; at < TCP_STATE_COUNT; at++) {
		static const uint8_t kinds[] = { TCP_SYN, TCP_SYN | TCP_ACK, TCP_RST, TCP_RST | TCP_ACK, TCP_FIN | TCP_ACK, TCP_ACK, 0, 63, TCP_SYN | TCP_FIN, TCP_URG };
		/* Offsets from the next expected byte: far before, just before, exact, in the window, at its end, far behind. */
		static const int64_t offsets[] = { -2000000000, -100000, -1, 0, 1, 5000, 16384, 2000000000 };
		for (uint32_t k = 0; k < sizeof kinds; k++)
			for (uint32_t o = 0; o < 8; o++)
				for (uint32_t a = 0; a < 3; a++)
					for (uint32_t len = 0; len < 12; len += 11) {
						struct peer_stream *s = reach(at);
						assert_string_equal(tcp_state_name[state_now()], tcp_state_name[at]);
						bool fin = at == TCP_CLOSE_WAIT || at == TCP_LAST_ACK || at == TCP_CLOSING || at == TCP_TIME_WAIT;
						uint32_t next = peer_first + (at == TCP_SYN_RECEIVED ? 0 : 20 + fin);
						uint32_t ack = a == 0 ? P.ack : a == 1 ? P.ack + 100000 : P.ack - 100000000;
						uint8_t bytes[11];
						for (int i = 0; i < 11; i++)
							bytes[i] = pattern((at == TCP_SYN_RECEIVED ? 0 : 20) + offsets[o] + i);
						bool exact = offsets[o] == 0;
						peer_put(kinds[k], next + (uint32_t)offsets[o], ack, bytes, len);
						peer_turn();
						enum tcp_state after = state_now();
						if (kinds[k] & TCP_RST && !(kinds[k] & TCP_SYN) && exact)
							assert_string_equal(tcp_state_name[after], "closed");
						else if ((kinds[k] & (TCP_RST | TCP_SYN | TCP_FIN)) && !exact && at != TCP_TIME_WAIT && !(kinds[k] & TCP_FIN))
							assert_string_equal(tcp_state_name[after], tcp_state_name[at]);
						if (s && s->got != 20)
							assert_true(s->got > 20 && s->got <= 31 && a == 0 && len);
						if (after != TCP_CLOSED)
							tcp_reset_all(P.tcp, 0);
						if (s)
							s->conn = NULL;
						for (uint32_t i = 0; i < PEER_STREAMS; i++)
							P.streams[i].conn = NULL;
						peer_turn();
						while (peer_take())
							;
						assert_int_equal(COUNT(connections), 0);
						P.b.now_ns += NS_PER_S;
					}
	}
	assert_int_equal(COUNT(chunks_used), 0);
}

static void
paws(void **state)
{
	(void)state;
	P.ts = true;
	P.ts_val = 0xfffffff0;
	struct peer_stream *s = peer_connect();
	P.ts_val += 32;			/* over the wrap */
	DROPPED(peer_data(0, 10, 0), DROP_NONE);
	peer_turn();
	peer_wait(50 * NS_PER_MS);
	ACKED(10);
	assert_int_equal(P.s_ts_ecr, 16);
	P.ts_val = 5;
	DROPPED(peer_data(10, 10, 0), DROP_TCP_PAWS);
	peer_turn();
	ACKED(10);
	P.ts = false;
	DROPPED(peer_data(10, 10, 0), DROP_TCP_PAWS);
	P.ts = true;
	P.ts_val = 17;
	DROPPED(peer_data(10, 10, 0), DROP_NONE);
	assert_int_equal(s->got, 20);
	/* After 25 days of silence an old timestamp is as good as any (keep-alive answered meanwhile). */
	P.ts_val = 18;
	for (int day = 0; day < 1; day++) {
		P.b.now_ns += 25 * 86400 * NS_PER_S;
		P.ts_val = 0x80000000;
		DROPPED(peer_data(20, 10, 0), DROP_NONE);
	}
	assert_int_equal(s->got, 30);
}

/* A peer that was started anew comes from the same port, its clock of timestamps anywhere: each of its SYNs is answered with a challenge ACK, its RST ends
 * the old connection, and the next SYN begins one. */
static void
peer_begins_anew(void **state)
{
	(void)state;
	static const struct { bool ts; uint32_t val; } syns[] = { { true, 1 }, { true, 0x70000000 }, { false, 0 } };
	for (uint32_t i = 0; i < sizeof syns / sizeof *syns; i++) {
		P.ts = true;
		P.ts_val = 1000000;
		struct peer_stream *s = peer_connect();
		peer_data(0, 10, 0);
		peer_turn();
		peer_wait(50 * NS_PER_MS);
		ACKED(10);
		uint64_t challenges = COUNT(challenge_acks);
		P.ts = syns[i].ts;
		P.ts_val = syns[i].val;
		P.seq += 500000;
		P.b.now_ns += NS_PER_S;
		peer_syn();
		peer_turn();
		assert_int_equal(COUNT(challenge_acks), challenges + 1);
		ACKED(10);
		peer_put(TCP_RST, P.s_ack, 0, NULL, 0);
		assert_int_equal(s->gone, 1);
		P.ts = true;
		P.ts_val = syns[i].val + 1000;
		peer_connect();
		P.from.port++;
		P.seq += 1000;
	}
}

/* In durable mode Last.ACK.sent is `durable`: the echoed timestamp is that of the segment the next ACK begins with, so the peer's measured
 * round trip has the commit in it. */
static void
timestamp_echo_follows_durable(void **state)
{
	(void)state;
	P.ts = P.durable = true;
	struct peer_stream *s = peer_connect();
	P.ts_val = 100;
	peer_data(0, 10, 0);
	P.ts_val = 200;
	peer_data(10, 10, 0);
	conn_durable(s->conn, 20);
	peer_turn();
	ACKED(20);
	assert_int_equal(P.s_ts_ecr, 100);
	P.ts_val = 300;
	peer_data(20, 10, 0);
	conn_durable(s->conn, 30);
	peer_turn();
	ACKED(30);
	assert_int_equal(P.s_ts_ecr, 300);
}

static void
half_open_and_refused(void **state)
{
	(void)state;
	peer_syn();
	peer_turn();
	assert_true(peer_take());
	uint32_t iss = P.s_seq;
	peer_wait(1100 * NS_PER_MS);
	assert_true(peer_take());	/* once more */
	assert_int_equal(P.s_seq, iss);
	P.b.now_ns += NS_PER_S / 2;
	peer_syn();			/* the peer once more */
	peer_turn();
	assert_true(peer_take());
	assert_int_equal(P.s_seq, iss);
	DROPPED(peer_put(TCP_ACK, P.seq + 1, iss + 2, NULL, 0), DROP_TCP_ACK);
	assert_true(peer_take());
	assert_int_equal(P.flags, TCP_RST);
	for (int i = 0; i < 40; i++)
		peer_wait(5 * NS_PER_S);
	assert_int_equal(COUNT(connections), 0);
	while (peer_take())
		;
	P.refuse = true;
	peer_syn();
	peer_turn();
	assert_true(peer_take());
	DROPPED(peer_put(TCP_ACK, P.seq + 1, P.s_seq + 1, NULL, 0), DROP_NONE);
	assert_true(peer_take());
	assert_true(P.flags & TCP_RST);
	assert_int_equal(COUNT(connections), 0);
	P.refuse = false;
	P.to.port = 6515;
	peer_syn();
	assert_int_equal(bench_dropped(&P.b), DROP_SENDER_NOT_ALLOWED);
	NOTHING();
	P.to.port = 1;
	peer_syn();
	assert_int_equal(bench_dropped(&P.b), DROP_NO_LISTENER);
	assert_true(peer_take());
	assert_int_equal(P.flags, TCP_RST | TCP_ACK);
	assert_int_equal(P.s_ack, P.seq + 1);
}

static void
limits_are_as_said(void **state)
{
	(void)state;
	peer_close();
	static const struct tcp_config tight = { .secret = { 1, 2 }, .connections_max = 2, .half_open_ns = 3 * NS_PER_S, .queue_chunks_max = 3, .window_max = 8192,
						 .keepalive_ns = 80 * NS_PER_S };
	peer_open(&tight);
	peer_syn();
	peer_turn();
	peer_wait(2 * NS_PER_S);
	assert_int_equal(COUNT(half_open), 1);
	peer_wait(1100 * NS_PER_MS);
	assert_int_equal(COUNT(half_open), 0);
	assert_int_equal(COUNT(timeouts), 1);
	P.from.port++;
	struct peer_stream *s = peer_connect();
	s->allow = 0;			/* takes nothing: three chunks, and no byte more */
	for (uint32_t i = 0; i < 4; i++)
		peer_data(1400 * i, 1400, 0);
	assert_in_range(COUNT(chunks_used), 1, 3);
	peer_turn();
	while (peer_take())
		assert_true(P.s_window <= 8192);
	for (uint32_t i = 0; i < 3; i++) {
		P.from.port++;
		peer_syn();
	}
	assert_int_equal(bench_dropped(&P.b), DROP_TCP_NO_ROOM);
	assert_int_equal(COUNT(connections), 2);
	for (uint32_t i = 0; i < 9 && !s->gone; i++) {
		assert_int_equal(s->gone, 0);
		peer_wait(18 * NS_PER_S);
	}
	peer_wait(40 * NS_PER_S);
	assert_int_equal(s->why, -ETIMEDOUT);
}

static void
flood_of_syns(void **state)
{
	(void)state;
	P.ts = true;
	struct peer_stream *good = peer_connect();
	uint32_t good_ack = P.ack, good_first = peer_first;
	struct address me = P.from;
	uint64_t sent = 0;
	for (uint32_t i = 0; i < 1000000; i++) {
		uint32_t ip4 = 0x0a000000 + i;
		put32(P.from.ip + 12, ip4);
		static uint8_t frame[200], options[TCP_OPTIONS_MAX];
		struct tcp_syn syn = { .mss = 1460, .shift = 7, .has_shift = true, .has_sack = true, .has_ts = true, .ts_val = i };
		uint32_t n = peer_build(frame, TCP_SYN, i * 7, 0, options, tcp_syn_options(&syn, options), NULL, 0);
		port_mem_feed(P.b.port, frame, n);
		if (i % 512 != 511)
			continue;
		P.b.now_ns += 50 * NS_PER_US;
		bench_turn(&P.b);
		tcp_turn(P.tcp, P.b.now_ns);
		const uint8_t *p;
		uint32_t len;
		while (port_mem_sent(P.b.port, &p, &len))
			;
		P.from = me;
		P.ack = good_ack;
		peer_first = good_first;
		static uint8_t data[100];
		for (uint32_t k = 0; k < 100; k++)
			data[k] = pattern(sent + k);
		uint8_t ts[TCP_TS_BYTES];
		tcp_ts_put(ts, P.ts_val, P.ts_ecr);
		n = peer_build(frame, TCP_ACK, peer_first + (uint32_t)sent, P.ack, ts, TCP_TS_BYTES, data, 100);
		port_mem_feed(P.b.port, frame, n);
		sent += 100;
	}
	bench_turn(&P.b);
	peer_turn();
	assert_int_equal(good->got, sent);
	assert_true(COUNT(half_open) <= TCP_HALF_OPEN_DEFAULT);
	assert_true(COUNT(connections) <= TCP_HALF_OPEN_DEFAULT + 1);
	assert_true(COUNT(cookies_sent) > 900000);
	while (peer_take())
		;
	/* A good sender comes while it lasts: no state until its ACK, and all options live on in the timestamp. */
	for (uint32_t v = 0; v < 3; v++) {
		P.from = ip("192.0.2.77");
		P.from.port = (uint16_t)(1000 + v);
		P.seq = 0xffffffff;
		uint64_t before = COUNT(connections);
		P.ts = v != 2;
		while (peer_take())
			;
		peer_syn();
		peer_turn();
		assert_true(peer_take());
		assert_int_equal(COUNT(connections), before);
		peer_first = ++P.seq;
		P.ack = P.s_seq + 1;
		P.ts_ecr = P.s_ts_val;
		if (v == 1) {		/* a guess */
			DROPPED(peer_put(TCP_ACK, P.seq, P.ack + 1, NULL, 0), DROP_TCP_STRANGER);
			continue;
		}
		DROPPED(peer_data(0, 200, 0), DROP_NONE);	/* the ACK itself was lost */
		assert_int_equal(COUNT(connections), before + 1);
		struct peer_stream *s = &P.streams[v ? 2 : 1];
		assert_int_equal(s->got, 200);
		DROPPED(peer_data(500, 200, 0), DROP_NONE);
		peer_turn();
		while (peer_take())
			;
		assert_int_equal(P.sack_count, v == 0);
	}
	for (int i = 0; i < 100; i++)
		peer_wait(NS_PER_S);
	assert_int_equal(COUNT(half_open), 0);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(received_mode_delays_and_joins_acks), T(durable_mode_withholds), T(fin_is_acknowledged_last), T(closed_and_never_durable), T(late_commit_shuts_the_window),
		T(hole_is_told_when_durable_reaches_it), T(hole_inside_a_frame), T(split_at_every_byte), T(overlaps_old_and_future), T(fin_out_of_order), T(resets),
		T(every_flag_in_every_state), T(paws), T(peer_begins_anew), T(timestamp_echo_follows_durable), T(half_open_and_refused), T(limits_are_as_said), T(flood_of_syns),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
