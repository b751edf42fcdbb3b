/* Proves: a power cut at any step between packet and sync never leaves an event out of the log whose reply was on the wire: `OK` of netcat, 200 of http; a
 * request of several events is there whole or not at all; and bytes that only TCP acknowledged (ack = received) do get lost in the same runs,
 * so they can see a loss. How: tests/dataplane/power_rig.h with the real sources, peers that pipeline and read what comes back; the disk dies in
 * each of its writes in turn. Argument: a number of seeds (default 4). */
#include "base/option.h"
#include "tests/dataplane/power_rig.h"

#define UNITS_MAX 400			/* requests, or lines, of a peer */
#define REPLY_BYTES (UNITS_MAX * 160)

struct unit {
	uint32_t end;			/* of its bytes in the stream */
	uint32_t events;
	uint32_t found;			/* of them in the log, a bit each */
};

static struct reader {
	struct unit units[UNITS_MAX];
	uint32_t count;
	char replies[REPLY_BYTES];
	uint32_t len;
} readers[PEERS];

struct kind {
	const struct source_ops *ops;
	const char *options[4];
	bool http;
};

static struct option_values values;

static void
tell(struct option_report *report, bool fatal, const char *origin, const char *key, const char *text)
{
	(void)report;
	fprintf(stderr, "%s %s: %s: %s\n", fatal ? "error" : "warning", origin, key, text);
}

/* A request of one to three events, or a line. */
static uint32_t
make_unit(const struct kind *kind, uint32_t peer, uint32_t k, uint32_t events, uint8_t *out, uint32_t room)
{
	char body[2048], pad[200];
	int n = 0;
	memset(pad, 'x', sizeof pad);
	pad[any(150)] = 0;
	if (!kind->http) {
		n = snprintf(body, sizeof body, "%u %u 0 %s\n", peer, k, pad);
		if ((uint32_t)n > room)
			return 0;
		memcpy(out, body, (size_t)n);
		return (uint32_t)n;
	}
	for (uint32_t e = 0; e < events; e++)
		n += snprintf(body + n, sizeof body - (size_t)n, "%s{\"headers\":{},\"body\":\"%u %u %u %s\"}", e ? "," : "[", peer, k, e, pad);
	n += snprintf(body + n, sizeof body - (size_t)n, "]");
	char head[200];
	int h = snprintf(head, sizeof head, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", n);
	if ((uint32_t)(h + n) > room)
		return 0;
	memcpy(out, head, (size_t)h);
	memcpy(out + h, body, (size_t)n);
	return (uint32_t)(h + n);
}

static void
begin(uint64_t seed, const struct kind *kind)
{
	memset(readers, 0, sizeof readers);
	struct property props[2];
	size_t count = 0;
	for (; count < 2 && kind->options[2 * count]; count++)
		props[count] = (struct property){ kind->options[2 * count], kind->options[2 * count + 1], "t:1", false };
	void *config = calloc(1, kind->ops->config_size);
	struct option_report report = { .tell = tell };
	int rc = option_parse(kind->ops->options, props, count, config, &values, &report);
	assert(rc == 0);
	rig_start(seed, kind->ops, config);
	worker_start(STREAM_RECEIVED);
	for (uint32_t i = 0; i < PEERS; i++) {
		struct line_peer *p = peer_start(i, any(UINT32_MAX));
		struct reader *r = &readers[i];
		for (; r->count < UNITS_MAX; r->count++) {
			uint32_t events = kind->http ? 1 + any(3) : 1;
			uint32_t n = make_unit(kind, i, r->count, events, p->bytes + p->total, STREAM_BYTES - p->total);
			if (!n)
				break;
			p->total += n;
			r->units[r->count] = (struct unit){ .end = p->total, .events = events };
		}
	}
}

/* ACKs, and replies in order; the peer's next segment acknowledges them. */
static void
look(void)
{
	struct wire_segment s;
	while (wire_next(&s)) {
		struct line_peer *p = s.peer;
		struct reader *r = &readers[p - R.peers];
		if (s.reset) {
			p->reset = true;
			continue;
		}
		if (s.acked > p->acked && s.acked <= p->total)
			p->acked = s.acked;
		uint32_t skip = p->ack - s.seq;
		if (s.len && skip < s.len) {
			assert(r->len + s.len - skip < REPLY_BYTES);
			memcpy(r->replies + r->len, s.data + skip, s.len - skip);
			r->len += s.len - skip;
			p->ack += s.len - skip;
		}
	}
}

/* How many units from the first on were answered well; -1: something else came. */
static int
answered(const struct kind *kind, const struct reader *r)
{
	int count = 0;
	const char *at = r->replies;
	if (!kind->http) {
		for (; strncmp(at, "OK\n", 3) == 0; at += 3)
			count++;
		return count;
	}
	while (strncmp(at, "HTTP/1.1 200", 12) == 0) {
		count++;
		const char *next = strstr(at + 12, "HTTP/1.1 ");
		if (!next)
			break;
		at = next;
	}
	return count;
}

static void
unit_found(const struct event_view *e)
{
	char text[64] = "";
	unsigned i, k, n;
	memcpy(text, e->body, e->body_len < 63 ? e->body_len : 63);
	int rc = sscanf(text, "%u %u %u", &i, &k, &n);
	assert(rc == 3 && i < PEERS && k < readers[i].count && n < readers[i].units[k].events);
	assert(!(readers[i].units[k].found >> n & 1));	/* each request was sent once */
	readers[i].units[k].found |= 1u << n;
}

static uint64_t replies, unanswered, acked_lost, cuts;

/* As in test_tcp_power.c: the disk dies in its write number n. False: it lived. */
static bool
cut_at(uint64_t n, uint64_t seed, const struct kind *kind)
{
	begin(seed, kind);
	logio_mem_hold(R.mem, true);
	uint64_t writes = logio_mem_writes(R.mem);
	logio_mem_cut_after(R.mem, n);
	uint32_t after = 0;
	for (uint32_t turn = 0; turn < 700 && after < 40; turn++) {
		for (uint32_t k = any(4); k; k--) {
			struct line_peer *p = &R.peers[any(PEERS)];
			if (p->reset)
				continue;
			peer_act(p);
			if (p->open && any(4) == 0)
				peer_put_bytes(p, TCP_ACK, p->sent, 0);
		}
		worker_step(R.worker);
		look();
		if (any(2))
			(void)R.channel->ops->writer_step(R.channel, 0);
		if (any(3) == 0)
			(void)logio_mem_complete(R.mem, any(2));
		clock_manual_advance(&R.clock, any(8) ? 50 * NS_PER_US : 30 * NS_PER_MS);
		tcp_check(R.worker->ports[0].tcp.tcp);
		after += logio_mem_writes(R.mem) - writes > n;
	}
	bool died = logio_mem_writes(R.mem) - writes > n;
	logio_mem_abort(R.mem);
	logio_mem_cut_after(R.mem, 0);
	for (int i = 0; i < 4; i++) {
		(void)R.channel->ops->writer_step(R.channel, 0);
		worker_step(R.worker);
		look();
	}
	power_off(seed ^ n);
	log_each(unit_found);
	for (uint32_t i = 0; i < PEERS; i++) {
		const struct reader *r = &readers[i];
		uint32_t good = (uint32_t)answered(kind, r);
		assert(good <= r->count);
		replies += good;
		for (uint32_t k = 0; k < r->count; k++) {
			const struct unit *u = &r->units[k];
			bool whole = u->found == (1u << u->events) - 1;
			if ((k < good && !whole) || (!whole && u->found)) {
				printf("%s, seed %llu, cut in write %llu: request %u of peer %u, of %u events: %x in the log, %sanswered\n", kind->ops->name,
				       (unsigned long long)seed, (unsigned long long)n, k, i, u->events, u->found, k < good ? "" : "not ");
				exit(1);
			}
			unanswered += k >= good && whole;
			acked_lost += !whole && u->end <= R.peers[i].acked;
		}
	}
	rig_end();
	option_values_free(&values);
	free((void *)R.source.config);
	cuts++;
	return died;
}

int
main(int argc, char **argv)
{
	static const struct kind kinds[] = {
		{ .ops = &source_netcat, .options = { "bind", "192.0.2.10", "port", "6514" } },
		{ .ops = &source_http, .options = { "port", "6514" }, .http = true },
	};
	uint64_t seeds = argc > 1 ? strtoull(argv[1], NULL, 10) : 4;
	bool good = true;
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		replies = unanswered = acked_lost = cuts = 0;
		for (uint64_t seed = 1; seed <= seeds; seed++)
			for (uint64_t n = 0; cut_at(n, seed, &kinds[i]); n++)
				;
		printf("%s: %llu cuts, %llu good replies before them, none of their events lost, no request halved; %llu stored and not answered; of what only TCP had "
		       "acknowledged %llu were lost\n", kinds[i].ops->name, (unsigned long long)cuts, (unsigned long long)replies,
		       (unsigned long long)unanswered, (unsigned long long)acked_lost);
		good &= cuts > 10 * seeds && replies > 10 * cuts && acked_lost;
	}
	return !good;
}
