/* Proves: a power cut at any step between packet and sync never leaves a byte that TCP acknowledged out of the log, for connections whose ACK
 * follows durable, with segments lost, doubled and out of order on the way; and that with ack = received the same rig does show losses,
 * so it can see them. How: the ring log on a disk in memory whose writes end when the seed says, the worker's turn above it, scripted peers that
 * remember the highest ACK seen on the wire; the disk dies in each of its writes in turn. One thread, one clock.
 * Argument: a number of seeds (default 10). */
#include "channel/ledger.h"
#include "tests/dataplane/line_source.h"
#include "tests/dataplane/power_rig.h"

static uint64_t gone_on;			/* connections over restarts */
static uint64_t halves, brought, restarts;	/* half lines found, brought as events; starts cut short, all runs */

/* Stretches of blank lines: bytes that make no event. */
static bool
blank(uint64_t k)
{
	return k % 11 >= 9;
}

static void
lines_start(uint64_t seed, enum stream_edge edge, const struct source_ops *ops)
{
	rig_start(seed, ops, NULL);
	worker_start(edge);
	for (uint32_t i = 0; i < PEERS; i++) {
		struct line_peer *p = peer_start(i, any(3) ? any(UINT32_MAX) : UINT32_MAX - any(STREAM_BYTES));
		p->total = STREAM_BYTES;
		for (uint32_t k = 0; k < STREAM_BYTES / LINE; k++) {
			char text[LINE + 1];
			int n = snprintf(text, sizeof text, "%u %u ", i, k);
			memset(text + n, 'a' + (int)k % 26, LINE - (size_t)n);
			text[LINE - 1] = '\n';
			if (blank(k))
				memset(text, '\n', LINE);
			memcpy(p->bytes + k * LINE, text, LINE);
		}
	}
}

static void
look_at_wire(void)
{
	struct wire_segment s;
	while (wire_next(&s)) {
		struct line_peer *p = s.peer;
		if (s.reset && !R.failing) {
			assert(R.again && !p->acked);	/* its record was not in the log yet, nor was any byte acknowledged */
			p->reset = true;
			continue;
		}
		assert(s.acked <= STREAM_BYTES || s.reset);
		if (s.acked > p->acked && !s.reset)
			p->acked = s.acked;
		R.acks++;
	}
}

/* The beginning of a line, as a state record; what is before it must be there as lines. */
static bool
half_found(const struct state_record *record, void *context)
{
	(void)context;
	uint16_t port;
	memcpy(&port, (const uint8_t *)record->key + 3 + 16, 2);
	struct line_peer *p = &R.peers[port - 1000];
	assert(record->order + record->value_len <= STREAM_BYTES && memcmp(record->value, p->bytes + record->order, record->value_len) == 0);
	if (record->order <= p->stored * LINE)
		p->half = record->order + record->value_len;
	p->left_bytes = record->value_len;
	return true;
}

static void
line_found(const struct event_view *e)
{
	assert(e->body_len == LINE - 1);
	unsigned i = e->body[0] - '0';
	assert(i < PEERS);
	struct line_peer *p = &R.peers[i];
	assert(memcmp(e->body, p->bytes + p->stored * LINE, LINE - 1) == 0);
	do
		p->stored++;
	while (blank(p->stored));
}

/* What the log holds of each peer: its lines from the first on, in order, each once. */
static void
read_log(void)
{
	log_each(line_found);
	ledger_each(R.channel->ops->ledger(R.channel), STATE_HALF_LINE, "", 0, half_found, NULL);
}

static void
left_found(const struct event_view *e)
{
	struct line_peer *p = NULL;
	for (uint32_t i = 0; i < PEERS && !p; i++)
		if (R.peers[i].left_bytes == e->body_len && memcmp(e->body, R.peers[i].bytes + R.peers[i].half - e->body_len, e->body_len) == 0)
			p = &R.peers[i];
	if (!p && e->body_len == LINE - 1)	/* read before the cut that followed */
		return;
	assert(p);
	p->left_bytes = 0;
	brought++;
}

static bool
half_there(const struct state_record *record, void *context)
{
	(void)record;
	*(bool *)context = true;
	return false;
}

/* The process starts again: half lines that were acknowledged come as events, each once, also when this process is killed, too. */
static void
start_again(void)
{
	const struct channel_ops *ops = R.channel->ops;
	bool left = true;
	for (uint32_t starts = 0; left; starts++) {
		assert(starts < 50);
		worker_start(STREAM_DURABLE);
		for (uint32_t turns = 10 + any(starts < 3 ? 20 : 200); turns; turns--) {
			worker_step(R.worker);
			look_at_wire();
			if (any(2))
				(void)ops->writer_step(R.channel, 0);
			clock_manual_advance(&R.clock, 20 * NS_PER_MS);
		}
		rig_stop();
		left = false;
		ledger_each(ops->ledger(R.channel), STATE_HALF_LINE, "", 0, half_there, &left);
		if (!left)
			break;
		ops->close(R.channel);
		logio_mem_power_off(R.mem, R.seed);
		channel_start();
		ops = R.channel->ops;
		restarts++;
	}
	log_each(left_found);
	for (uint32_t i = 0; i < PEERS; i++)
		assert(!R.peers[i].left_bytes);
}

/* Runs until the disk has died in its write number n, or all is sent. Returns whether it died; *lost: acknowledged lines not in the log. */
static bool
cut_at(uint64_t n, uint64_t seed, enum stream_edge edge, uint64_t *lost, uint64_t *acked)
{
	lines_start(seed, edge, &lines);
	logio_mem_hold(R.mem, true);
	uint64_t writes = logio_mem_writes(R.mem);
	logio_mem_cut_after(R.mem, n);
	uint32_t after = 0;
	for (uint32_t turn = 0; turn < 700 && after < 40; turn++) {
		for (uint32_t k = any(4); k; k--)
			peer_act(&R.peers[any(PEERS)]);
		worker_step(R.worker);
		look_at_wire();
		if (any(2))
			(void)R.channel->ops->writer_step(R.channel, 0);
		if (any(3) == 0)
			(void)logio_mem_complete(R.mem, any(2));
		clock_manual_advance(&R.clock, any(8) ? 50 * NS_PER_US : 30 * NS_PER_MS);
		if (any(50) == 0)
			clock_manual_advance(&R.clock, 300 * NS_PER_MS);
		tcp_check(R.worker->ports[0].tcp.tcp);
		after += logio_mem_writes(R.mem) - writes > n;	/* dead: nothing may be acknowledged from here on that was not before */
	}
	bool died = logio_mem_writes(R.mem) - writes > n;
	logio_mem_abort(R.mem);
	logio_mem_cut_after(R.mem, 0);
	R.failing = true;		/* streams whose events could not be stored are reset, and nothing of them is acknowledged */
	for (int i = 0; i < 4; i++) {
		(void)R.channel->ops->writer_step(R.channel, 0);
		worker_step(R.worker);
		look_at_wire();
	}
	power_off(seed ^ n);
	read_log();
	*lost = *acked = 0;
	for (uint32_t i = 0; i < PEERS; i++) {
		struct line_peer *p = &R.peers[i];
		*acked += p->acked;
		uint64_t end = p->stored * LINE > p->half ? p->stored * LINE : p->half;
		if (end < p->acked)
			*lost += p->acked - end;
		R.halves += p->half > p->stored * LINE;
	}
	R.failing = true;
	start_again();
	rig_end();
	halves += R.halves;
	return died;
}

/* As cut_at, but the peers stay and the process starts again, and again: connections go on, and in the end every line is there once. */
static bool
go_on_after(uint64_t n, uint64_t seed)
{
	lines_start(seed, STREAM_DURABLE, &lasting_lines);
	logio_mem_hold(R.mem, true);
	uint64_t writes = logio_mem_writes(R.mem), starts = 0;
	logio_mem_cut_after(R.mem, n);
	bool died = false, done = false;
	for (uint32_t turn = 0; !done; turn++) {
		assert(turn < 40000);
		for (uint32_t k = any(4); k; k--)
			if (!R.peers[turn % PEERS].reset)
				peer_act(&R.peers[turn % PEERS]);
		worker_step(R.worker);
		look_at_wire();
		if (any(2) || starts)
			(void)R.channel->ops->writer_step(R.channel, 0);
		if (any(3) == 0)
			(void)logio_mem_complete(R.mem, any(2));
		clock_manual_advance(&R.clock, any(8) ? 50 * NS_PER_US : 30 * NS_PER_MS);
		tcp_check(R.worker->ports[0].tcp.tcp);
		bool dead = !died && logio_mem_writes(R.mem) - writes > n;
		died |= dead;
		if (dead || (starts && starts < 4 && any(150) == 0)) {	/* power off: nobody hears anything */
			logio_mem_abort(R.mem);
			logio_mem_cut_after(R.mem, 0);
			R.failing = true;
			for (int i = 0; i < 20; i++) {		/* so that the channel can be closed */
				(void)R.channel->ops->writer_step(R.channel, 0);
				clock_manual_advance(&R.clock, 20 * NS_PER_MS);
			}
			rig_stop();
			R.channel->ops->close(R.channel);
			logio_mem_power_off(R.mem, seed ^ n);
			R.failing = false;
			R.again = true;
			channel_start();
			worker_start(STREAM_DURABLE);
			starts++;
			restarts++;
			gone_on += counter_read(&tcp_counters(R.worker->ports[0].tcp.tcp)->resumed);
		}
		done = turn > 700 && !starts;	/* it never died */
		for (uint32_t i = 0, all = 0; i < PEERS && starts; i++) {
			all += R.peers[i].acked == STREAM_BYTES || R.peers[i].reset;
			done |= all == PEERS;
		}
	}
	logio_mem_cut_after(R.mem, UINT64_MAX);
	for (int i = 0; i < 20; i++) {
		(void)R.channel->ops->writer_step(R.channel, 0);
		(void)logio_mem_complete(R.mem, 0);
	}
	logio_mem_hold(R.mem, false);
	power_off(seed);
	read_log();
	for (uint32_t i = 0; i < PEERS; i++) {
		struct line_peer *p = &R.peers[i];
		uint64_t end = p->stored * LINE > p->half ? p->stored * LINE : p->half;
		if (end < p->acked) {
			printf("seed %llu, cut in write %llu: peer %u: %llu bytes acknowledged, %llu stored\n", (unsigned long long)seed,
			       (unsigned long long)n, i, (unsigned long long)p->acked, (unsigned long long)end);
			exit(1);
		}
	}
	rig_end();
	return died;
}

int
main(int argc, char **argv)
{
	uint64_t seeds = argc > 1 ? strtoull(argv[1], NULL, 10) : 10, lost, acked, cuts = 0, all = 0, seen = 0;
	for (uint64_t seed = 1; seed <= seeds; seed++)
		for (uint64_t n = 0; cut_at(n, seed, STREAM_DURABLE, &lost, &acked); n++) {
			cuts++;
			all += acked;
			if (lost) {
				printf("seed %llu, cut in write %llu: %llu acknowledged bytes are not in the log\n", (unsigned long long)seed,
				       (unsigned long long)n, (unsigned long long)lost);
				return 1;
			}
		}
	for (uint64_t seed = 1; seed <= (seeds + 3) / 4; seed++)
		for (uint64_t n = 0; go_on_after(n, seed + 1000); n += 1 + any(3))
			;
	for (uint64_t n = 0; n < 20; n++) {
		cut_at(n, 99, STREAM_RECEIVED, &lost, &acked);
		seen += lost;
	}
	printf("%llu cuts, %llu bytes acknowledged before them, none lost, %llu half lines among them, %llu brought as events over %llu more power cuts, "
	       "%llu times a connection went on after one; with ack = received %llu would have been\n", (unsigned long long)cuts,
	       (unsigned long long)all, (unsigned long long)halves, (unsigned long long)brought, (unsigned long long)restarts, (unsigned long long)gone_on, (unsigned long long)seen);
	return cuts < 20 * seeds || all < 1000 * cuts || !seen || !halves || !brought || !restarts || !gone_on;
}
