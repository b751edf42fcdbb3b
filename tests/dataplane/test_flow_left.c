/* Proves: the record of a half line whose frame is in the log makes no event at any later start. It outlives a process that is killed between the frame's
 * block and the record's removal; the next one removes it, before the flow's record and mark that tell it from one that was cut: when the
 * connection goes on and ends without another half line, and when it cannot go on. A half line that was cut goes on with its connection. And when
 * the disk takes no writes for a while: what was to be noted then is noted when it takes them again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/dataplane/line_source.h"
#include "tests/dataplane/power_rig.h"

static void
look_at_wire(void)
{
	struct wire_segment s;
	while (wire_next(&s)) {
		s.peer->reset |= s.reset;
		if (s.acked > s.peer->acked && s.acked <= STREAM_BYTES + 1)
			s.peer->acked = s.acked;
	}
}

/* `turns` of the worker, 20 ms each, with the channel's writer or without. */
static void
run(uint32_t turns, bool writes)
{
	for (; turns; turns--) {
		worker_step(R.worker);
		look_at_wire();
		if (writes)
			(void)R.channel->ops->writer_step(R.channel, 0);
		clock_manual_advance(&R.clock, 20 * NS_PER_MS);
	}
}

/* Power off: what was not synced is gone. */
static void
kill_it(void)
{
	struct logio *io = logio_mem_io(R.mem);
	struct logio_file *file = NULL;
	static uint32_t kills;
	char path[32];
	snprintf(path, sizeof path, "/c/torn%u", kills++);
	logio_mem_cut_after(R.mem, 0);
	(void)io->ops->file_open(io, path, 4096, LOGIO_CREATE, &file);	/* the operation that is torn, so that all of the log's are lost */
	if (file)
		io->ops->file_close(io, file);
	for (int i = 0; i < 20; i++) {		/* so that the channel can be closed */
		(void)R.channel->ops->writer_step(R.channel, 0);
		logio_mem_abort(R.mem);
		clock_manual_advance(&R.clock, 20 * NS_PER_MS);
	}
	power_off(1);
}

static void
stop(void)
{
	rig_stop();
	R.channel->ops->close(R.channel);
	channel_start();
}

static bool
count_one(const struct state_record *record, void *context)
{
	(void)record;
	++*(uint32_t *)context;
	return true;
}

static uint32_t
records(uint8_t class)
{
	uint32_t n = 0;
	ledger_each(R.channel->ops->ledger(R.channel), class, "", 0, count_one, &n);
	return n;
}

static uint64_t
resumed(void)
{
	return counter_read(&tcp_counters(R.worker->ports[0].tcp.tcp)->resumed);
}

static uint32_t events;
static bool half_came;

static void
one_event(const struct event_view *e)
{
	if (half_came && events == 1) {
		assert_int_equal(e->body_len, 50);
		assert_memory_equal(e->body, R.peers[0].bytes + LINE, 50);
	} else {
		assert_int_equal(e->body_len, LINE - 1);
		assert_memory_equal(e->body, R.peers[0].bytes + events * LINE, LINE - 1);
	}
	events++;
}

/* All events of the log: the first `count` lines of the peer, once each. */
static void
log_is(uint32_t count)
{
	events = 0;
	log_each(one_event);
	assert_int_equal(events, count);
}

static bool lasts = true;		/* connections go on after a restart */

static void
rig_begin(void)
{
	rig_start(0, lasts ? &lasting_lines : &lines, NULL);
	worker_start(STREAM_DURABLE);
	struct line_peer *p = peer_start(0, 1000);
	p->total = STREAM_BYTES;
	for (uint32_t k = 0; k < STREAM_BYTES / LINE; k++) {
		memset(p->bytes + k * LINE, 'a' + (int)k % 26, LINE);
		p->bytes[(k + 1) * LINE - 1] = '\n';
	}
	peer_act(p);
	run(10, true);
	assert_true(p->open);
	peer_put_bytes(p, TCP_ACK, 0, 0);
	run(5, true);
}

/* Line 0 in two halves, the first of them acknowledged; killed when the line is in the log and its half's record still there. */
static void
kill_between(void)
{
	struct line_peer *p = &R.peers[0];
	rig_begin();
	peer_put_bytes(p, TCP_ACK | TCP_PSH, 0, 50);
	run(20, true);
	assert_int_equal(p->acked, 50);
	peer_put_bytes(p, TCP_ACK | TCP_PSH, 50, LINE - 50);
	worker_step(R.worker);
	(void)R.channel->ops->writer_step(R.channel, 0);
	run(5, false);
	assert_int_equal(p->acked, LINE);
	kill_it();
	assert_int_equal(records(STATE_HALF_LINE), 1);
	assert_int_equal(records(STATE_FLOW), 1);
	assert_int_equal(records(STATE_MARK), 1);
}

static void
goes_on_and_ends(void **state)
{
	struct line_peer *p = &R.peers[0];
	(void)state;
	kill_between();
	worker_start(STREAM_DURABLE);
	assert_int_equal(resumed(), 1);
	run(5, true);		/* its window opens */
	peer_put_bytes(p, TCP_ACK | TCP_PSH | TCP_FIN, LINE, 4 * LINE);	/* no half line any more */
	run(10, true);
	assert_int_equal(p->acked, 5 * LINE + 1);
	peer_put_bytes(p, TCP_ACK | TCP_RST, 5 * LINE + 1, 0);
	run(200, true);		/* the mark goes, too */
	stop();
	assert_int_equal(records(STATE_FLOW) + records(STATE_MARK) + records(STATE_HALF_LINE), 0);
	worker_start(STREAM_DURABLE);
	run(50, true);
	stop();
	log_is(5);
	rig_end();
}

/* Killed again and again before its removal is in the log. */
static void
stays_until_removed(void **state)
{
	struct line_peer *p = &R.peers[0];
	(void)state;
	kill_between();
	for (int i = 0; i < 3; i++) {
		worker_start(STREAM_DURABLE);
		assert_int_equal(resumed(), 1);
		run(5, false);
		kill_it();
		assert_int_equal(records(STATE_HALF_LINE), 1);
	}
	worker_start(STREAM_DURABLE);
	run(5, true);
	kill_it();
	assert_int_equal(records(STATE_HALF_LINE), 0);
	worker_start(STREAM_DURABLE);
	assert_int_equal(resumed(), 1);
	run(5, true);		/* its window opens */
	peer_put_bytes(p, TCP_ACK | TCP_PSH, LINE, LINE);
	run(10, true);
	assert_int_equal(p->acked, 2 * LINE);
	stop();
	log_is(2);
	rig_end();
}

static void
cannot_go_on(void **state)
{
	(void)state;
	kill_between();
	worker_start(STREAM_RECEIVED);		/* of another promise */
	assert_int_equal(resumed(), 0);
	run(200, true);
	stop();
	assert_int_equal(records(STATE_HALF_LINE), 0);
	worker_start(STREAM_RECEIVED);
	run(200, true);
	stop();
	assert_int_equal(records(STATE_FLOW) + records(STATE_MARK) + records(STATE_HALF_LINE), 0);
	log_is(1);
	rig_end();
}

static void
half_goes_on(void **state)
{
	struct line_peer *p = &R.peers[0];
	(void)state;
	rig_begin();
	peer_put_bytes(p, TCP_ACK | TCP_PSH, 0, 50);
	run(20, true);
	assert_int_equal(p->acked, 50);
	kill_it();
	worker_start(STREAM_DURABLE);
	assert_int_equal(resumed(), 1);
	run(5, true);		/* its window opens */
	peer_put_bytes(p, TCP_ACK | TCP_PSH | TCP_FIN, 50, 2 * LINE - 50);
	run(10, true);
	peer_put_bytes(p, TCP_ACK | TCP_RST, 2 * LINE + 1, 0);
	run(200, true);
	stop();
	assert_int_equal(records(STATE_FLOW) + records(STATE_MARK) + records(STATE_HALF_LINE), 0);
	log_is(2);
	rig_end();
}

/* Everything fails, in new extents too, until it does not. */
static void
disk_away(void)
{
	logio_mem_fail_after(R.mem, 0);
	run(100, true);
	logio_mem_fail_after(R.mem, UINT64_MAX);
	run(1000, true);
}

static void
half_noted_again(void **state)
{
	struct line_peer *p = &R.peers[0];
	(void)state;
	rig_begin();
	peer_put_bytes(p, TCP_ACK | TCP_PSH, 0, LINE);
	run(20, true);
	assert_int_equal(p->acked, LINE);
	for (uint32_t round = 0; round < 3; round++) {
		uint32_t at = LINE + 10 * round;
		peer_put_bytes(p, TCP_ACK | TCP_PSH, at, 10);
		disk_away();
		assert_int_equal(p->acked, at + 10);
	}
	kill_it();
	assert_int_equal(records(STATE_HALF_LINE), 1);
	worker_start(STREAM_DURABLE);
	assert_int_equal(resumed(), 1);
	run(5, true);
	peer_put_bytes(p, TCP_ACK | TCP_PSH, LINE + 30, LINE - 30);
	run(10, true);
	assert_int_equal(p->acked, 2 * LINE);
	assert_false(p->reset);
	stop();
	log_is(2);
	rig_end();
}

/* Bytes that make no event: where the connection stands is noted by the same link. */
static void
place_noted_again(void **state)
{
	struct line_peer *p = &R.peers[0];
	(void)state;
	rig_begin();
	memset(p->bytes + LINE, '\n', LINE);
	peer_put_bytes(p, TCP_ACK | TCP_PSH, 0, LINE);
	run(20, true);
	peer_put_bytes(p, TCP_ACK | TCP_PSH, LINE, LINE);
	disk_away();
	assert_int_equal(p->acked, 2 * LINE);
	assert_false(p->reset);
	stop();
	log_is(1);
	rig_end();
}

/* What a killed process left comes as an event, once, also when its removal is not noted at first. */
static void
fragment_once(void **state)
{
	struct line_peer *p = &R.peers[0];
	(void)state;
	rig_begin();
	peer_put_bytes(p, TCP_ACK | TCP_PSH, 0, LINE - 1);
	run(20, true);
	assert_int_equal(p->acked, LINE - 1);
	kill_it();
	P.to = ip("192.0.2.10");
	worker_start(STREAM_RECEIVED);		/* it cannot go on */
	assert_int_equal(resumed(), 0);
	uint32_t turns = 0;
	for (; turns < 100 && counter_read(&R.worker->ingress.channels[0].counters.stored) == 0; turns++)
		run(1, true);
	assert_true(turns < 100);
	disk_away();
	run(300, true);
	stop();
	assert_int_equal(records(STATE_HALF_LINE), 0);
	worker_start(STREAM_RECEIVED);
	run(300, true);
	stop();
	log_is(1);
	rig_end();
}

/* A line, then half of one, acknowledged both; the connection cannot go on. Its half comes as an event, and of all three records none is left: when the process
 * lives to see it, and when it is killed between the removal of the half line and that of the mark. */
static void
half_comes_alone(bool killed)
{
	struct line_peer *p = &R.peers[0];
	rig_begin();
	peer_put_bytes(p, TCP_ACK | TCP_PSH, 0, LINE + 50);
	run(20, true);
	assert_int_equal(p->acked, LINE + 50);
	kill_it();
	half_came = true;
	worker_start(STREAM_RECEIVED);
	run(10, true);
	for (uint32_t turns = 0; killed && records(STATE_HALF_LINE); turns++) {
		assert_true(turns < 100);
		run(1, true);
	}
	if (killed) {
		assert_int_equal(records(STATE_FLOW), 0);
		kill_it();
		assert_in_range(records(STATE_MARK), 1, 2);
		assert_int_equal(records(STATE_HALF_LINE), 0);
		worker_start(STREAM_RECEIVED);
	}
	run(200, true);
	stop();
	assert_int_equal(records(STATE_FLOW) + records(STATE_MARK) + records(STATE_HALF_LINE), 0);
	log_is(2);
	rig_end();
	half_came = false;
}

static void
half_cannot_go_on(void **state)
{
	(void)state;
	half_comes_alone(false);
	half_comes_alone(true);
}

/* The end of a stream in the middle of a line, or behind blank lines, makes no event, and is acknowledged all the same: with the line before it under
 * way, and when that is long stored. */
static void
unfinished_end(void **state)
{
	struct line_peer *p = &R.peers[0];
	(void)state;
	for (uint32_t kind = 0; kind < 12; kind++) {
		bool later = kind & 1, flow = kind & 2;
		uint32_t how = kind >> 2;	/* 0: in one segment, 1: the FIN behind it, 2: blank lines */
		lasts = flow;
		rig_begin();
		if (how == 2)
			memset(p->bytes + LINE, '\n', 30);
		peer_put_bytes(p, TCP_ACK | TCP_PSH, 0, LINE);
		if (later)
			run(20, true);
		peer_put_bytes(p, TCP_ACK | TCP_PSH | (how == 1 ? 0 : TCP_FIN), LINE, 30);
		if (how == 1)
			peer_put_bytes(p, TCP_ACK | TCP_FIN, LINE + 30, 0);
		run(50, true);
		assert_int_equal(p->acked, LINE + 31);
		assert_false(p->reset);
		peer_put_bytes(p, TCP_ACK | TCP_RST, LINE + 31, 0);
		run(200, true);
		stop();
		assert_int_equal(records(STATE_FLOW) + records(STATE_MARK) + records(STATE_HALF_LINE), 0);
		log_is(1);
		rig_end();
	}
	lasts = true;
}

/* Others hold all memory for unfinished lines for a while. */
static void
no_tail_memory(void **state)
{
	struct line_peer *p = &R.peers[0];
	(void)state;
	rig_begin();
	uint64_t most = R.worker->streams.tail_bytes_max;
	R.worker->streams.tail_bytes_max = R.worker->streams.tail_bytes;
	peer_put_bytes(p, TCP_ACK | TCP_PSH | TCP_FIN, 0, LINE + 30);
	run(50, true);
	R.worker->streams.tail_bytes_max = most;
	run(200, true);
	assert_int_equal(p->acked, LINE + 31);
	stop();
	log_is(1);
	rig_end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(goes_on_and_ends), cmocka_unit_test(stays_until_removed), cmocka_unit_test(cannot_go_on), cmocka_unit_test(half_goes_on),
		cmocka_unit_test(half_cannot_go_on), cmocka_unit_test(half_noted_again), cmocka_unit_test(place_noted_again), cmocka_unit_test(fragment_once),
		cmocka_unit_test(unfinished_end), cmocka_unit_test(no_tail_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
