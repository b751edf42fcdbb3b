/* Proves: what the accepting side of TCP sends of itself, what its windows promise, and what it does when memory or the path is narrow.
 * How: as test_tcp.c, a scripted peer with its own clock. */
#include "tests/dataplane/net/tcp_case.h"

static void
replies_of(bool ts)
{
	P.ts = ts;
	struct peer_stream *s = peer_connect();
	P.window = 400;		/* << 7 */
	static uint8_t text[100000], got[100000];
	for (uint32_t i = 0; i < sizeof text; i++)
		text[i] = (uint8_t)(i * 31 + (i >> 8));
	assert_int_equal(conn_send(s->conn, text, sizeof text), sizeof text);
	assert_int_equal(conn_send(s->conn, text, sizeof text), TCP_SEND_BYTES_MAX - sizeof text);
	uint32_t first = P.ack, n = 0, lost = 0;
	for (uint32_t round = 0; round < 400 && n < sizeof text; round++) {
		peer_wait(10 * NS_PER_MS);
		uint32_t mark = n;
		while (peer_take()) {
			if (!P.s_len)
				continue;
			if (++lost % 7 == 3)	/* every seventh segment is lost */
				continue;
			uint32_t at = P.s_seq - first;
			if (at == n) {
				uint32_t len = P.s_len < sizeof got - n ? P.s_len : sizeof got - n;
				memcpy(got + n, P.s_data, len);
				n += len;
			} else if (at > n) {
				peer_put(TCP_ACK, P.seq, first + n, NULL, 0);	/* duplicate ACK */
			}
		}
		if (n != mark)
			peer_put(TCP_ACK, P.seq, first + n, NULL, 0);
	}
	assert_int_equal(n, sizeof text);
	assert_memory_equal(got, text, sizeof text);
	assert_true(COUNT(retransmits) > 0);
	assert_true(s->sent > 0);
	P.ack = first + TCP_SEND_BYTES_MAX;
	for (int i = 0; i < 50; i++) {
		peer_wait(NS_PER_S);
		while (peer_take())
			if (P.s_len)
				peer_put(TCP_ACK, P.seq, P.s_seq + P.s_len, NULL, 0);
	}
	tcp_check(P.tcp);
	assert_int_equal(conn_send_room(s->conn), TCP_SEND_BYTES_MAX);
}

static void
replies(void **state)
{
	(void)state;
	replies_of(false);
}

static void
replies_with_timestamps(void **state)
{
	(void)state;
	replies_of(true);
}

/* The handshake is a sample of the round trip, and so is what was sent again when the peer echoes timestamps: the timer does not stay at its first second. */
static void
first_answers_of(bool ts)
{
	P.ts = ts;
	struct peer_stream *s = peer_connect();
	uint32_t waited[4] = { 0 };
	for (int i = 0; i < 4; i++) {
		conn_send(s->conn, "hello", 5);
		peer_turn();
		int seen = 0;
		while (peer_take())
			seen += P.s_len == 5;
		assert_int_equal(seen, 1);		/* lost */
		for (seen = 0; !seen && waited[i] < 2000; waited[i]++) {
			peer_wait(NS_PER_MS);
			while (peer_take())
				seen += P.s_len == 5;
		}
		peer_put(TCP_ACK, P.seq, P.s_seq + 5, NULL, 0);
		peer_turn();
	}
	assert_in_range(waited[0], 190, 220);
	assert_in_range(waited[3], 190, ts ? 220 : 2000);
}

static void
first_answers_lost(void **state)
{
	(void)state;
	first_answers_of(false);
}

static void
first_answers_lost_with_timestamps(void **state)
{
	(void)state;
	first_answers_of(true);
}

static void
closed_window_is_probed(void **state)
{
	(void)state;
	struct peer_stream *s = peer_connect();
	P.window = 0;
	peer_put(TCP_ACK, P.seq, P.ack, NULL, 0);
	conn_send(s->conn, "hello", 5);
	uint32_t probes = 0;
	for (int i = 0; i < 600; i++) {
		peer_wait(NS_PER_S);
		while (peer_take())
			if (P.s_len) {
				assert_int_equal(P.s_len, 1);
				probes++;
				peer_put(TCP_ACK, P.seq, P.ack, NULL, 0);
			}
	}
	assert_in_range(probes, 5, 40);
	assert_int_equal(s->gone, 0);
	P.window = 100;
	peer_put(TCP_ACK, P.seq, P.ack, NULL, 0);
	peer_turn();
	while (peer_take())
		;
	assert_int_equal(P.s_len, 5);
	/* Nobody there any more: given up, by name. */
	for (int i = 0; i < 1200 && !s->gone; i++)
		peer_wait(NS_PER_S);
	assert_int_equal(s->why, -ETIMEDOUT);
	assert_int_equal(COUNT(timeouts), 1);
}

/* The same when we have closed it: the one who would bear it is gone, so it ends, however well the probes are answered. */
static void
closed_window_of_a_closed_connection(void **state)
{
	(void)state;
	struct peer_stream *s = peer_connect();
	P.window = 0;
	peer_put(TCP_ACK, P.seq, P.ack, NULL, 0);
	conn_send(s->conn, "hello", 5);
	conn_finish(s->conn);
	int seconds = 0;
	for (; seconds < 600 && !s->gone; seconds++) {
		peer_wait(NS_PER_S);
		while (peer_take())
			if (P.s_len)
				peer_put(TCP_ACK, P.seq, P.ack, NULL, 0);
	}
	assert_int_equal(s->why, -ETIMEDOUT);
	assert_in_range(seconds, 100, 400);
	assert_int_equal(COUNT(chunks_used), 0);
	tcp_check(P.tcp);
}

/* A probe of a shut window takes a byte of what waits; where only the FIN is left there is none, and the FIN itself goes. */
static void
closed_window_and_a_fin_left(void **state)
{
	(void)state;
	static char much[5000];
	struct peer_stream *s = peer_connect();
	uint32_t first = P.ack;
	conn_send(s->conn, much, sizeof much);
	conn_finish(s->conn);
	peer_turn();
	while (peer_take())
		;
	for (int i = 0; i < 3; i++)	/* all of it is lost, the first segment goes again */
		peer_wait(NS_PER_S);
	while (peer_take())
		;
	/* The data had come after all, the FIN had not. */
	P.window = 0;
	peer_put(TCP_ACK, P.seq, first + sizeof much, NULL, 0);
	uint32_t fins = 0;
	for (int i = 0; i < 100; i++) {
		peer_wait(NS_PER_S);
		while (peer_take()) {
			assert_int_equal(P.s_len, 0);
			fins += P.flags & TCP_FIN ? 1 : 0;
		}
	}
	assert_in_range(fins, 1, 20);
	peer_put(TCP_ACK, P.seq, first + sizeof much + 1, NULL, 0);
	peer_turn();
	tcp_check(P.tcp);
}

static void
keepalive(void **state)
{
	(void)state;
	P.durable = true;
	struct peer_stream *s = peer_connect();
	peer_data(0, 10, 0);
	uint32_t probes = 0;
	for (int i = 0; i < 3000; i++) {
		peer_wait(NS_PER_S);
		while (peer_take()) {
			probes++;
			assert_int_equal(P.s_ack, peer_first);	/* durable, even here */
			if (probes < 3)
				peer_put(TCP_ACK, peer_first + 10, P.ack, NULL, 0);
		}
	}
	assert_int_equal(s->gone, 1);
	assert_int_equal(s->why, -ETIMEDOUT);
	assert_in_range(probes, 11, 13);
}

static void
source_that_takes_no_more(void **state)
{
	(void)state;
	struct peer_stream *s = peer_connect();
	s->allow = 1500;
	for (uint64_t at = 0; at < 10000; at += 1000)
		DROPPED(peer_data(at, 1000, 0), DROP_NONE);
	assert_int_equal(s->got, 1500);
	P.room = 0;
	peer_turn();
	while (peer_take())
		;
	assert_int_equal(P.s_ack - peer_first, 10000);
	peer_data(10000, 100, TCP_FIN);
	assert_int_equal(s->finished, 0);
	s->allow = 10000;
	conn_resume(s->conn);
	assert_int_equal(s->got, 10000);
	s->allow = UINT64_MAX;
	P.room = UINT32_MAX;
	conn_resume(s->conn);
	assert_int_equal(s->got, 10100);
	assert_int_equal(s->finished, 1);
	assert_int_equal(COUNT(chunks_used), 0);
}

static void
window_closes_and_opens(void **state)
{
	(void)state;
	struct peer_stream *s = peer_connect();
	P.room = s->allow = 0;
	uint64_t at = 0;
	for (int i = 0; i < 100 && peer_data(at, 1000, 0) == DROP_NONE; i++) {
		at += 1000;
		peer_turn();
	}
	while (peer_take())
		;
	assert_int_equal(P.s_window, 0);
	assert_true(at < 20000);
	P.room = UINT32_MAX;
	s->allow = UINT64_MAX;
	conn_resume(s->conn);
	peer_turn();
	assert_true(peer_take());
	assert_int_not_equal(P.s_window, 0);
}

static void
windows_promise_only_credit(void **state)
{
	(void)state;
	tcp_credit(P.tcp, 0, 10000, false);	/* 80,000 may be promised */
	struct peer_stream *s[60];
	uint64_t open = 0;
	for (int i = 0; i < 60; i++) {
		P.from.port++;
		P.seq = 1000;
		s[i] = peer_connect();
		open += P.s_window != 0;
		assert_true(COUNT(promised) <= 80000);
	}
	assert_in_range(open, 5, 59);
	/* One that uses its window gets more, up to what there is. */
	tcp_credit(P.tcp, 0, 1 << 20, false);
	peer_turn();
	for (uint64_t at = 0; at < 100000; at += 1000) {
		peer_data(at, 1000, 0);
		peer_turn();
		while (peer_take())
			;
	}
	assert_true(P.s_window << 6 >= 65536);
	peer_turn();
	while (peer_take())
		;
	/* Those that had none were told when there was some. */
	struct tcp_flow flow;
	for (uint32_t cursor = 0; tcp_flow_next(P.tcp, &cursor, &flow);)
		assert_true(flow.window > 0);
	(void)s;
}

/* A full channel shuts the windows of its own sources alone; a source that answers what it cannot store has windows without credit, as many as there are free
 * chunks and no more, and those of the others with it are not touched. */
static void
a_full_channel_shuts_its_own_windows(void **state)
{
	(void)state;
	peer_close();
	peer_open(&(struct tcp_config){ .chunks = 256, .secret = { 1, 2 } });	/* an eighth of them is kept */
	tcp_credit(P.tcp, 1, 0, false);
	tcp_credit(P.tcp, 2, 64u << 20, false);
	tcp_credit(P.tcp, 3, 0, true);
	const uint16_t port = P.from.port;
	struct peer_stream *s[4];
	for (int i = 0; i < 4; i++) {
		P.from.port = (uint16_t)(port + i);
		P.to.port = (uint16_t)(7000 + i);
		P.seq = 1000;
		s[i] = peer_connect();
		assert_int_equal(P.s_window, i == 1 ? 0 : TCP_WINDOW_IDLE);
		if (i == 1)
			continue;
		assert_int_equal(peer_data(0, 1000, 0), DROP_NONE);
		peer_turn();
		while (peer_take())
			;
		assert_int_equal(s[i]->got, 1000);
	}
	for (int i = 4; i < 60; i++) {
		P.from.port = (uint16_t)(port + i);
		P.to.port = 7003;
		P.seq = 1000;
		peer_connect();
		assert_true(COUNT(promised) <= 224u * TCP_CHUNK_BYTES + 3 * TCP_WINDOW_IDLE);
	}
	assert_int_equal(P.s_window, 1500);
	/* With credit the one that waited is told, and nobody else. */
	tcp_credit(P.tcp, 1, 1 << 20, false);
	peer_turn();
	P.from.port = (uint16_t)(port + 1);
	P.to.port = 7001;
	assert_true(peer_take());	/* the checksum is that of its ports */
	assert_int_not_equal(P.s_window, 0);
	NOTHING();
}

/* Those that use their windows do not take what newcomers begin with. */
static void
newcomers_have_a_segment(void **state)
{
	(void)state;
	tcp_credit(P.tcp, 0, 20000, false);
	struct peer_stream *first = peer_connect();
	uint32_t port = P.from.port;
	for (uint64_t at = 0; at < 2000000; at += 1000) {
		peer_data(at, 1000, 0);
		peer_turn();
		while (peer_take())
			;
	}
	uint64_t greedy = COUNT(promised);
	assert_in_range(greedy, 65536, 140000);
	assert_non_null(first);
	for (int i = 0; i < 10; i++) {
		P.from.port = (uint16_t)(port + 1 + i);
		P.seq = 1000;
		peer_connect();
		assert_in_range(P.s_window, 1460, 16384);
		/* One that sends its segment is answered at once. */
		peer_data(0, 1000, 0);
		peer_turn();
		assert_true(peer_take());
		assert_true(COUNT(promised) <= 160000);
	}
}

/* One that has sent its first segment gets a window while others, which were fast once, trickle on under all that may be promised. */
static void
nobody_waits_for_ever(void **state)
{
	(void)state;
	enum { OTHERS = 8 };
	struct { uint32_t first, seq, ack; uint64_t at; } other[OTHERS];
	tcp_credit(P.tcp, 0, 20000, false);
	uint16_t port = P.from.port;
	for (int i = 0; i < OTHERS; i++) {
		P.from.port = (uint16_t)(port + i);
		P.seq = 1000;
		peer_connect();
		other[i].first = peer_first;
		other[i].seq = P.seq;
		other[i].ack = P.ack;
		other[i].at = 0;
	}
	uint64_t window = 0;
	for (int round = 0; round < 500 && window < 1400; round++) {
		for (int i = 0; i < OTHERS; i++) {
			P.from.port = (uint16_t)(port + i);
			peer_first = other[i].first;
			P.seq = other[i].seq;
			P.ack = other[i].ack;
			if (peer_data(other[i].at, 1400, 0) == DROP_NONE)
				other[i].at += 1400;
			peer_wait(round < 400 ? 0 : 100 * NS_PER_MS);
			while (peer_take())
				;
		}
		assert_true(COUNT(promised) <= 160000);
		if (round == 399) {
			P.from.port = (uint16_t)(port + OTHERS);
			P.seq = 1000;
			peer_connect();
			peer_data(0, 1400, 0);
			peer_turn();
			while (peer_take())
				;
		}
		struct tcp_flow flow;
		for (uint32_t cursor = 0; round > 399 && tcp_flow_next(P.tcp, &cursor, &flow);)
			if (flow.from.port == port + OTHERS)
				window = flow.window;
	}
	assert_true(window >= 1400);
	for (int i = 0; i < OTHERS; i++)
		assert_true(other[i].at >= 100000);
}

static void
no_chunks_no_acknowledgement(void **state)
{
	(void)state;
	peer_close();
	struct tcp_config small = plain;
	small.chunks = 16;
	peer_open(&small);
	struct peer_stream *s = peer_connect();
	uint32_t taken = 0;
	enum drop drop = DROP_NONE;
	for (uint64_t at = 1000; at < 16000; at += 300) {
		drop = peer_data(at, 100, 0);
		if (drop == DROP_NONE)
			taken++;
		else
			assert_string_equal(drop_name[drop], "tcp_no_memory");
	}
	assert_int_equal(taken, 14);	/* two are kept for what is in order */
	assert_string_equal(drop_name[drop], "tcp_no_memory");
	peer_data(0, 1000, 0);
	assert_int_equal(s->got, 1100);
	s->allow = 1100;
	peer_data(1100, 1400, 0);
	peer_turn();
	while (peer_take())
		;
	assert_int_equal(P.s_ack - peer_first, 2600);	/* the one at 2500 was there already */
}

/* More holes than a connection has chunks: what fills the first one finds room all the same, and in the end all of it was there once. */
static void
holes_beyond_the_chunks(void **state)
{
	(void)state;
	peer_close();
	struct tcp_config small = plain;
	small.queue_chunks_max = 8;
	peer_open(&small);
	struct peer_stream *s = peer_connect();
	uint32_t full = 0;
	for (uint64_t at = 101; at < 301; at += 2)
		full += peer_data(at, 1, 0) == DROP_TCP_NO_MEMORY;
	assert_int_equal(full, 100 - 8);
	uint64_t rounds = 0;
	while (s->got < 301) {		/* from what was acknowledged on, as a sender does */
		uint32_t before = (uint32_t)s->got;
		peer_data(before, 40, 0);
		tcp_check(P.tcp);
		assert_true(s->got >= before + 40);
		assert_in_range(++rounds, 1, 10);
	}
	assert_int_equal(COUNT(reneged), 1);
	assert_int_equal(COUNT(chunks_used), 0);
	/* No chunk in the pool either: it is the same. */
	peer_close();
	small = plain;
	small.chunks = 16;
	peer_open(&small);
	s = peer_connect();
	for (uint64_t at = 101; at < 301; at += 2)
		peer_data(at, 1, 0);
	s->allow = 50;			/* the rest of it has to wait in chunks */
	peer_data(0, 1000, 0);
	tcp_check(P.tcp);
	s->allow = UINT64_MAX;
	while (s->got < 1000) {
		uint32_t before = (uint32_t)s->got;
		conn_resume(s->conn);
		peer_data(before, 1000 - before, 0);
		assert_true(s->got > before);
	}
	tcp_check(P.tcp);
	peer_turn();
	while (peer_take())
		;
	assert_int_equal(P.s_ack - peer_first, 1000);
}

static void
user_ends_it_inside_an_upcall(void **state)
{
	(void)state;
	struct peer_stream *s = peer_connect();
	P.reset_in_bytes = true;
	peer_data(0, 10, 0);
	assert_int_equal(s->gone, 1);
	assert_int_equal(COUNT(connections), 0);
	P.reset_in_bytes = false;
	P.from.port++;
	P.seq = 1;
	s = peer_connect();
	peer_data(10, 10, 0);
	P.reset_in_bytes = true;
	peer_data(0, 10, TCP_FIN);
	assert_int_equal(COUNT(connections), 0);
	assert_int_equal(COUNT(chunks_used), 0);
	peer_turn();
}

static void
path_mtu(void **state)
{
	(void)state;
	struct peer_stream *s = peer_connect();
	static uint8_t text[3000];
	conn_send(s->conn, text, sizeof text);
	peer_turn();
	assert_true(peer_take());
	assert_int_equal(P.s_len, 1460);
	tcp_too_big(P.tcp, &P.to, &P.from, P.s_seq - 1, 600);	/* not of ours */
	while (peer_take())
		;
	peer_turn();
	NOTHING();
	/* A router's word, with the first eight bytes of our segment in it. */
	uint8_t icmp[8 + IP4_BYTES + 8] = { 3, 4, [6] = 1000 >> 8, [7] = 1000 & 255 }, frame[200], *t = icmp + 8 + IP4_BYTES;
	put32(icmp + 8, 0x450005dc);
	icmp[8 + 9] = PROTO_TCP;
	memcpy(icmp + 8 + 12, P.to.ip + 12, 4);
	memcpy(icmp + 8 + 16, P.from.ip + 12, 4);
	put16(t, P.to.port);
	put16(t + 2, P.from.port);
	put32(t + 4, P.ack);
	struct address router = ip("192.0.2.1");
	bench_frame(&P.b, frame, bench_ip(frame, &router, &P.to, PROTO_ICMP, 64, icmp, sizeof icmp, 2));
	assert_int_equal(bench_dropped(&P.b), DROP_NONE);
	peer_turn();
	assert_true(peer_take());
	assert_int_equal(P.s_len, 960);
	assert_int_equal(P.s_seq, P.ack);
}

static void
ipv6_and_no_scaling(void **state)
{
	(void)state;
	P.from = ip("2001:db8::99");
	P.to = ip("2001:db8::10");
	P.from.port = 1;
	P.to.port = 6514;
	struct peer_stream *s = peer_connect();
	peer_data(0, 1000, 0);
	peer_data(1000, 1000, TCP_FIN);
	assert_int_equal(s->got, 2000);
	assert_int_equal(s->finished, 1);
	/* A peer without options. */
	static uint8_t frame[200];
	P.from.port = 2;
	P.seq = 9;
	uint32_t n = peer_build(frame, TCP_SYN, P.seq, 0, NULL, 0, NULL, 0);
	while (peer_take())
		;
	bench_frame(&P.b, frame, n);
	peer_turn();
	assert_true(peer_take());
	while (P.flags != (TCP_SYN | TCP_ACK))
		assert_true(peer_take());
	assert_false(P.s_has_ts);
	peer_first = ++P.seq;
	P.ack = P.s_seq + 1;
	peer_put(TCP_ACK, P.seq, P.ack, NULL, 0);
	uint64_t at = 0;
	for (int i = 0; i < 200; i++, at += 1000) {
		DROPPED(peer_data(at, 1000, 0), DROP_NONE);
		peer_turn();
	}
	while (peer_take())
		;
	assert_in_range(P.s_window, 16384, 65535);
}

static void
place_is_small(void **state)
{
	(void)state;
	assert_true(tcp_conn_bytes() <= 640);
}

/* What a process left is gone on with by the next: told where it stands, old bytes known, timestamps going on, on another boot's clock, too. */
static void
goes_on_after_a_restart(void **state)
{
	const uint64_t wall_ns = UINT64_C(1795245136) * NS_PER_S;
	(void)state;
	for (int boot = 0; boot < 2; boot++) {
		P.ts = P.durable = true;
		struct peer_stream *s = peer_connect();
		peer_wait(60 * NS_PER_S);
		peer_data(0, 1000, 0);
		conn_durable(s->conn, 1000);
		peer_turn();
		ACKED(1000);
		uint32_t ts = P.s_ts_val;
		struct tcp_resume r;
		conn_save(s->conn, wall_ns, &r);
		conn_leave_open(s->conn);
		peer_turn();
		NOTHING();		/* not a word to the peer */
		assert_false(tcp_knows(P.tcp, &P.from, &P.to));
		uint64_t off_ns = 5 * NS_PER_S;
		if (boot)
			r.mono_ns += UINT64_C(86400) * NS_PER_S;	/* saved a day after the boot, this one is fresh */
		s->conn = tcp_resume(P.tcp, &P.from, &P.to, &r, 1000, s, P.b.now_ns += off_ns, wall_ns + off_ns);
		assert_non_null(s->conn);
		assert_null(tcp_resume(P.tcp, &P.from, &P.to, &r, 1000, s, P.b.now_ns, wall_ns + off_ns));
		peer_turn();
		ACKED(1000);
		assert_int_not_equal(P.s_window, 0);
		assert_int_equal(P.s_ts_ecr, 0);	/* nothing is known to echo: the peer measures nothing by it */
		assert_true(seq_lt(ts, boot ? P.s_ts_val : P.s_ts_val + 1));
		P.ts_val = UINT32_MAX - 5;		/* whatever it is */
		DROPPED(peer_data(500, 500, 0), DROP_TCP_DUPLICATE);
		peer_turn();
		ACKED(1000);
		assert_int_equal(P.s_ts_ecr, UINT32_MAX - 5);
		peer_data(1000, 700, 0);
		NOTHING();
		conn_durable(s->conn, 1700);
		peer_turn();
		ACKED(1700);
		assert_int_equal(s->got, 1700);
		peer_put(TCP_RST, peer_first + 1700, 0, NULL, 0);
		assert_int_equal(s->gone, 1);
		P.from.port++;
	}
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(replies), T(replies_with_timestamps), T(first_answers_lost), T(first_answers_lost_with_timestamps), T(closed_window_is_probed),
		T(closed_window_and_a_fin_left), T(closed_window_of_a_closed_connection),
		T(keepalive), T(source_that_takes_no_more), T(window_closes_and_opens),
		T(windows_promise_only_credit), T(a_full_channel_shuts_its_own_windows), T(newcomers_have_a_segment), T(nobody_waits_for_ever),
		T(no_chunks_no_acknowledgement), T(holes_beyond_the_chunks), T(user_ends_it_inside_an_upcall), T(path_mtu), T(ipv6_and_no_scaling),
		T(place_is_small), T(goes_on_after_a_restart),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
