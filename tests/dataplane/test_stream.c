/* Tickets end once, in order, and only when every required channel has what it promises; the durable edge never passes a byte whose event is under way; a stream
 * that finds no credit is left unread and loses nothing; a whole batch enters in one piece or not at all; limits close by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "tests/lib/stream_rig.h"

#define NOW 1795245136u

static void
feed(struct rig_stream *r, const char *text)
{
	uint32_t len = (uint32_t)strlen(text);
	assert_int_equal(stream_feed(&r->stream, (const uint8_t *)text, len), len);
}

static void
test_durable_edge(void **state)
{
	(void)state;
	struct stream_rig rig;
	stream_rig_open(&rig, &source_syslogtcp, "port=5140", NOW, 16);
	struct rig_stream *r = rig_connect(&rig, true, 5140);
	feed(r, "\n\n");		/* no event: durable at once */
	assert_int_equal(r->durable_told, 2);
	feed(r, "<13>one\n<13>tw");
	assert_int_equal(r->durable_told, 2);
	stream_rig_turn(&rig, false);	/* sealed and submitted */
	assert_int_equal(r->durable_told, 2);
	stream_rig_turn(&rig, true);	/* stored; the unfinished frame is not */
	assert_int_equal(r->durable_told, 10);
	uint32_t len;
	assert_memory_equal(stream_unfinished(&r->stream, &len), "<13>tw", 6);
	assert_int_equal(len, 6);
	stream_stored(&r->stream, 16);	/* as a fragment it is */
	assert_int_equal(r->durable_told, 16);
	feed(r, "o\n");
	assert_int_equal(r->durable_told, 16);
	feed(r, "\n");			/* behind bytes under way: not yet */
	assert_int_equal(r->durable_told, 16);
	stream_rig_turn(&rig, true);
	assert_int_equal(r->durable_told, 19);
	stream_eof(&r->stream);
	assert_true(r->closed);
	assert_string_equal(rig_stored(&rig), "<13>one\n<13>two\n");
	rig_end(r);
	stream_rig_close(&rig);
}

static void
test_gone(void **state)
{
	(void)state;
	struct stream_rig rig;
	stream_rig_open(&rig, &source_syslogtcp, "port=5140", NOW, 16);
	struct rig_stream *r = rig_connect(&rig, true, 5140);
	feed(r, "<13>one\n");
	rig_end(r);			/* its ticket ends by itself */
	r = rig_connect(&rig, true, 5140);	/* in the same slot */
	feed(r, "<13>tw");
	stream_rig_turn(&rig, true);
	assert_int_equal(r->durable_told, 0);
	assert_int_equal(rig.ingress.tickets.open, 0);
	assert_string_equal(rig_stored(&rig), "<13>one\n");
	assert_int_equal(counter_read(&rig.listener.counters.lost), 1);
	rig_end(r);
	stream_rig_close(&rig);
}

/* More than the channel holds: left unread, nothing lost, nothing twice, order kept. */
static void
test_no_credit(void **state)
{
	(void)state;
	struct stream_rig rig;
	stream_rig_open(&rig, &source_syslogtcp, "port=5140", NOW, 4);
	struct rig_stream *r[3];
	static char line[2048];
	uint32_t sent[3] = { 0 };
	static uint8_t pending[3][4096];
	uint32_t pending_len[3] = { 0 };
	for (int i = 0; i < 3; i++)
		r[i] = rig_connect(&rig, true, 5140);
	uint32_t seen[3] = { 0 }, total = 0, waits = 0;
	const uint32_t each = 2000;
	for (int round = 0; total < 3 * each && round < 100000; round++) {
		for (int i = 0; i < 3; i++) {
			for (int burst = 0; burst < 40; burst++) {
				if (!pending_len[i] && sent[i] < each) {
					int n = snprintf(line, sizeof line, "<13>%d:%u:", i, sent[i]++);
					memset(line + n, 'x', 1000);
					line[n + 1000] = '\n';
					pending_len[i] = (uint32_t)n + 1001;
					memcpy(pending[i], line, pending_len[i]);
				}
				if (!pending_len[i])
					break;
				uint32_t n = stream_feed(&r[i]->stream, pending[i], pending_len[i]);
				memmove(pending[i], pending[i] + n, pending_len[i] - n);
				pending_len[i] -= n;
				if (pending_len[i])
					break;
			}
			waits += r[i]->stream.wait != 0;
		}
		stream_rig_turn(&rig, true);
		if (round % 7)
			continue;
		for (const char *p = rig_stored(&rig); *p; p = strchr(p, '\n') + 1) {
			int i;
			unsigned sequence;
			assert_int_equal(sscanf(p, "<13>%d:%u:", &i, &sequence), 2);
			assert_int_equal(sequence, seen[i]);
			seen[i]++;
			total++;
		}
	}
	assert_int_equal(total, 3 * each);
	assert_true(waits > 100);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(r[i]->durable_told, r[i]->stream.received);
		assert_true(r[i]->reading);
		rig_end(r[i]);
	}
	assert_int_equal(counter_read(&rig.ingress.channels[0].counters.channel_full), 0);
	stream_rig_close(&rig);
}

/* Blocks of a small channel are good for few events each: as many lines as come at once wait their turn. */
static void
test_small_channel(void **state)
{
	(void)state;
	static const uint32_t capacities[] = { 1, 2, 8, 100, 1000, 5000 };
	static char text[200000];
	for (size_t c = 0; c < sizeof capacities / sizeof *capacities; c++) {
		struct stream_rig rig;
		stream_rig_open_small(&rig, &source_syslogtcp, "port=5140", NOW, 16, capacities[c]);
		struct rig_stream *r = rig_connect(&rig, true, 5140);
		uint32_t len = 0, fed = 0, seen = 0, lines = 12000;
		for (uint32_t i = 0; i < lines; i++)
			len += (uint32_t)snprintf(text + len, sizeof text - len, "<13>x%u\n", i);
		for (uint32_t turn = 0; turn < 3 * lines && seen < lines; turn++) {
			if (fed < len && r->reading)
				fed += stream_feed(&r->stream, (const uint8_t *)text + fed, len - fed);
			stream_rig_turn(&rig, true);
			assert_false(r->reset);
			for (const char *p = rig_stored(&rig); *p; p = strchr(p, '\n') + 1)
				assert_int_equal(atoi(p + 5), seen++);
		}
		assert_int_equal(seen, lines);
		stream_rig_turn(&rig, true);
		assert_int_equal(r->durable_told, len);
		assert_int_equal(counter_read(&rig.ingress.channels[0].counters.channel_full), 0);
		rig_end(r);
		stream_rig_close(&rig);
	}
}

static void
even(struct stream_rig *rig)
{
	const struct source_counters *s = &rig->ingress.sources[0].counters;
	assert_int_equal(counter_read(&s->parsed), counter_read(&s->filtered) + counter_read(&s->unrouted) + counter_read(&s->drop_too_large) +
			 counter_read(&s->drop_arena_full) + counter_read(&s->routed));
	const struct intake_counters *c = &rig->ingress.channels[0].counters;
	assert_int_equal(counter_read(&c->offered), counter_read(&c->channel_full) + counter_read(&c->pending) + counter_read(&c->stored) +
			 counter_read(&c->failed));
}

static uint32_t
count_lines(const char *text)
{
	uint32_t n = 0;
	for (; (text = strchr(text, '\n')); text++)
		n++;
	return n;
}

static int
whole(struct stream_rig *rig, uint32_t events, uint32_t bytes, bool commit)
{
	static uint8_t body[300000];
	struct ingress_source *in = &rig->ingress.sources[0];
	memset(body, 'b', sizeof body);
	uint32_t ticket = ticket_open(in, 1);
	ingress_begin(in, ticket);
	for (uint32_t i = 0; i < events; i++)
		ingress_append(in, body, bytes, 0);
	int rc = 0;
	if (commit)
		rc = ingress_commit(in);
	else
		ingress_abort(in);
	ticket_complete(&rig->ingress, ticket);
	return rc;
}

static void
test_whole(void **state)
{
	(void)state;
	static const struct { uint32_t events, bytes; int rc; } cases[] = {
		{ 1, 10, 0 }, { 0, 0, 0 }, { 256, 100, 0 }, { 257, 100, 0 }, { 1000, 1000, 0 }, { 3, 200000, 0 }, { 5000, 100, 0 },
		{ 1, 299999, -EMSGSIZE }, { 20, 299999, -EMSGSIZE }, { 100, 260000, -EMSGSIZE }, { 25, 200000, -EMSGSIZE }, { 24, 200000, 0 }, { 60, 90000, -EMSGSIZE },
	};
	for (int abort = 0; abort < 2; abort++) {
		struct stream_rig rig;
		stream_rig_open(&rig, &source_syslogtcp, "port=5140", NOW, 200);
		for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
			struct rig_stream *r = rig_connect(&rig, true, 5140);
			feed(r, "<13>before\n");
			int rc = whole(&rig, cases[i].events, cases[i].bytes, !abort);
			assert_int_equal(rc, abort ? 0 : cases[i].rc);
			even(&rig);
			feed(r, "<13>after\n");
			stream_rig_turn(&rig, true);
			stream_rig_turn(&rig, true);
			assert_int_equal(rig.ingress.tickets.open, 0);
			assert_int_equal(r->durable_told, r->stream.received);
			assert_int_equal(count_lines(rig_stored(&rig)), 2 + (rc || abort ? 0 : cases[i].events));
			even(&rig);
			rig_end(r);
		}
		stream_rig_close(&rig);
	}
}

/* Without credit for all of it nothing enters; what it had taken is there again for the next. */
static void
test_whole_no_credit(void **state)
{
	(void)state;
	struct stream_rig rig;
	stream_rig_open(&rig, &source_syslogtcp, "port=5140", NOW, 12);
	uint32_t stored = 0, refused = 0;
	for (int i = 0; i < 200; i++) {
		int rc = whole(&rig, 12, 70000, true);	/* four blocks */
		assert_true(rc == 0 || rc == -ENOSPC);
		stored += rc == 0 ? 12 : 0;
		refused += rc != 0;
		even(&rig);
		stream_rig_turn(&rig, i % 3 == 0);
		if (i % 10 == 9)
			stored -= count_lines(rig_stored(&rig));
	}
	assert_true(refused > 20 && refused < 180);
	for (int i = 0; i < 20; i++) {
		stream_rig_turn(&rig, true);
		stored -= count_lines(rig_stored(&rig));
	}
	assert_int_equal(stored, 0);
	even(&rig);
	stream_rig_close(&rig);
}

static void
sweep(struct stream_rig *rig, uint64_t ns)
{
	for (uint64_t t = 0; t < ns; t += NS_PER_S / 10) {
		clock_manual_advance(&rig->clock, NS_PER_S / 10);
		for (int i = 0; i < 2; i++)
			streams_run(&rig->streams, rig->clock.now);
	}
}

/* A body that drips is a frame without an end, whatever the source has taken of it; one that keeps coming is none. And a peer that takes no answers. */
static void
test_slow_requests(void **state)
{
	(void)state;
	static const char head[] = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n", get[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
	static char piece[2000];
	struct stream_rig rig;
	stream_rig_open(&rig, &source_http, "port=5140 penstock.frame.timeout=10s", NOW, 16);
	struct rig_stream *slow = rig_connect(&rig, false, 5140), *steady = rig_connect(&rig, false, 5140);
	feed(slow, head);
	feed(steady, head);
	memset(piece, ' ', sizeof piece - 1);
	for (int i = 0; i < 49; i++) {
		if (!slow->reset)
			feed(slow, "x");
		feed(steady, piece);
		sweep(&rig, NS_PER_S);
		if (i > 14)
			assert_true(slow->reset);
	}
	assert_false(steady->reset);
	assert_int_equal(counter_read(&rig.listener.counters.closed_frame), 1);
	struct rig_stream *deaf = rig_connect(&rig, false, 5140);
	deaf->out_max = 100000;		/* and none of it goes */
	for (int i = 0; i < 2000; i++)
		feed(deaf, get);
	for (int i = 0; i < 20; i++)
		stream_rig_turn(&rig, true);
	sweep(&rig, 9 * NS_PER_S);
	assert_false(deaf->reset);
	for (int i = 0; i < 15; i++) {		/* it acknowledges what it has acknowledged before: a sender with a segment that it sends again */
		if (!deaf->reset)
			stream_writable(&deaf->stream, false);
		sweep(&rig, NS_PER_S);
	}
	assert_true(deaf->reset);
	assert_int_equal(counter_read(&rig.listener.counters.reset_send), 1);
	rig_end(slow);
	rig_end(steady);
	rig_end(deaf);
	stream_rig_close(&rig);
}

static void
test_limits(void **state)
{
	(void)state;
	struct stream_rig rig;
	stream_rig_open(&rig, &source_syslogtcp, "port=5140 penstock.idle.timeout=30s penstock.frame.timeout=10s penstock.connections.max=2", NOW, 16);
	struct rig_stream *idle = rig_connect(&rig, false, 5140), *slow = rig_connect(&rig, false, 5140);
	assert_null(rig_connect(&rig, false, 5140));
	assert_int_equal(counter_read(&rig.listener.counters.refused_connections), 1);
	for (int i = 0; i < 13 && !slow->reset; i++) {
		feed(slow, "<");	/* one byte a second: a frame that never ends */
		sweep(&rig, NS_PER_S);
	}
	assert_true(slow->reset);
	assert_int_equal(counter_read(&rig.listener.counters.closed_frame), 1);
	assert_false(idle->closed);
	feed(idle, "<13>x\n");
	stream_rig_turn(&rig, true);
	sweep(&rig, 25 * NS_PER_S);
	assert_false(idle->closed);
	sweep(&rig, 25 * NS_PER_S);
	assert_true(idle->closed);
	assert_int_equal(counter_read(&rig.listener.counters.closed_idle), 1);
	rig_end(idle);
	rig_end(slow);
	const struct stream_counters *c = &rig.listener.counters;
	assert_int_equal(counter_read(&c->accepted), counter_read(&c->refused_connections) + counter_read(&c->closed_idle) + counter_read(&c->closed_frame));
	struct address_prefix allow;
	address_parse_prefix(&allow, "10.0.0.0/8");
	rig.listener.allow = &allow;
	rig.listener.allow_count = 1;
	assert_null(rig_connect(&rig, false, 5140));
	assert_int_equal(counter_read(&c->refused_sender), 1);
	stream_rig_close(&rig);
}

static uint32_t
sealed(struct stream_rig *rig)
{
	ingress_put(&rig->ingress);
	ingress_seal_due(&rig->ingress, false);
	return rig->ingress.channels[0].in_flight;
}

/* A block that peers wait for goes at once, and while one is under way as soon as it holds half of what is waited for; others wait for the writer. */
static void
test_answers_due(void **state)
{
	(void)state;
	for (int answers = 0; answers < 2; answers++) {
		struct stream_rig rig;
		stream_rig_open(&rig, answers ? &source_netcat : &source_syslogtcp, answers ? "bind=127.0.0.1 port=5140" : "port=5140", NOW, 16);
		struct rig_stream *r[6];
		for (int i = 0; i < 6; i++)
			r[i] = rig_connect(&rig, !answers, 5140);
		feed(r[0], "<13>0\n");
		stream_rig_turn(&rig, true);	/* stored, and nobody takes it: the writer asks for nothing */
		assert_false(channel_hungry(rig.channel));
		for (int i = 0; i < 3; i++) {
			feed(r[i], "<13>1\n");
			ingress_input(&rig.ingress, true);
			assert_int_equal(sealed(&rig), 0);	/* the burst goes on */
		}
		ingress_input(&rig.ingress, false);
		assert_int_equal(sealed(&rig), answers ? 1 : 0);
		feed(r[3], "<13>2\n");		/* one of four */
		assert_int_equal(sealed(&rig), answers ? 1 : 0);
		feed(r[4], "<13>2\n");
		assert_int_equal(sealed(&rig), answers ? 1 : 0);
		feed(r[5], "<13>2\n");		/* three of six */
		for (int turn = 0; turn < 4; turn++) {
			ingress_input(&rig.ingress, true);
			assert_int_equal(sealed(&rig), answers ? 1 : 0);
		}
		ingress_input(&rig.ingress, true);	/* a burst without end holds nothing up for longer */
		assert_int_equal(sealed(&rig), answers ? 2 : 0);
		feed(r[5], "<13>3\n");
		assert_int_equal(sealed(&rig), answers ? 2 : 0);	/* no third */
		assert_true(ingress_open_events(&rig.ingress));
		stream_rig_turn(&rig, true);
		stream_rig_turn(&rig, true);
		assert_int_equal(rig.ingress.channels[0].in_flight, 0);
		assert_int_equal(rig.ingress.tickets.asked, 0);
		assert_int_equal(count_lines(rig_stored(&rig)), 8);
		for (int i = 0; i < 6; i++)
			rig_end(r[i]);
		stream_rig_close(&rig);
	}
}

static uint32_t
no_send(struct stream *stream, const void *bytes, uint32_t len)
{
	(void)stream, (void)bytes;
	return len;
}

static uint32_t
no_room(const struct stream *stream)
{
	(void)stream;
	return 1 << 20;
}

static void
no_end(struct stream *stream)
{
	(void)stream;
}

static void
no_reading(struct stream *stream, bool on)
{
	(void)stream, (void)on;
}

/* Of very many streams that wait for credit each leaves for itself: all of them at once cost no more than they are (a walk from the first for each of them was
 * minutes of the core). */
static void
test_many_wait(void **state)
{
	(void)state;
	enum { MANY = 100000 };
	static const struct stream_carrier carrier = { .name = "none", .send = no_send, .send_room = no_room, .close = no_end, .reset = no_end, .reading = no_reading };
	struct stream_rig rig;
	stream_rig_open(&rig, &source_syslogtcp, "port=5140", NOW, 16);
	struct stream *many = calloc(MANY, sizeof *many);
	struct address peer, local;
	assert_non_null(many);
	address_parse_ip(&peer, "127.0.0.1");
	address_parse_ip(&local, "127.0.0.1");
	rig.listener.edge = STREAM_RECEIVED;
	rig.listener.limits.connections = 0;
	clock_t began = clock();
	for (int i = 0; i < MANY; i++) {
		assert_int_equal(stream_open(&many[i], &carrier, &rig.streams, &rig.listener, &peer, &local), 0);
		stream_wait(&many[i], STREAM_WAIT_CREDIT);
	}
	stream_end(&many[MANY / 2]);
	for (int i = MANY; i-- > 0;)
		if (i != MANY / 2)
			stream_end(&many[i]);
	assert_false(streams_waiting(&rig.streams));
	assert_null(rig.streams.waiting_last);
	assert_true((clock() - began) / CLOCKS_PER_SEC < 5);
	free(many);
	stream_rig_close(&rig);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_durable_edge), cmocka_unit_test(test_gone), cmocka_unit_test(test_no_credit), cmocka_unit_test(test_small_channel),
		cmocka_unit_test(test_whole), cmocka_unit_test(test_whole_no_credit), cmocka_unit_test(test_slow_requests), cmocka_unit_test(test_limits), cmocka_unit_test(test_answers_due),
		cmocka_unit_test(test_many_wait),
	};
	return cmocka_run_group_tests_name("stream", tests, NULL, NULL);
}
