/* A client TCP of its own on a DPDK device: one connection for each source. It shares frames, ARP, checksums and segment code with the dataplane; only this
 * state machine is its own. Nothing that was sent is kept: a retransmission makes the bytes again (tcp_load_fill). */
#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/slice.h"
#include "dataplane/dpdk/eal.h"
#include "dataplane/dpdk/port_dpdk.h"
#include "dataplane/net/net.h"
#include "dataplane/net/tcp_segment.h"
#include "tools/trafficgen/send.h"
#include "tools/trafficgen/tcp_load.h"

#define PORT_FIRST 20000u
#define CONNS_MAX 40000u		/* one address, ports from PORT_FIRST on */
#define CONNECTING_MAX 256u
#define START_NS (30 * NS_PER_S)
#define DRAIN_NS (30 * NS_PER_S)
#define CLOSE_NS (NS_PER_S / 2)
#define SCAN_NS (5 * NS_PER_MS)
#define RTO_MIN_NS (200 * NS_PER_MS)
#define RETRIES_MAX 12
#define CWND_MAX (4u << 20)
#define GIVE_LOOKS 512u			/* connections looked at for each turn's events */
#define GIVE_MAX 1024u			/* events of one turn when nothing holds the pace */
#define BACKLOG_BYTES 65536u
#define YIELD_NS NS_PER_MS
#define MSS 1460u			/* said; with timestamps a segment holds 12 less */

enum client_state { CLIENT_IDLE, CLIENT_SYN_SENT, CLIENT_OPEN, CLIENT_ENDED };

struct client {
	uint8_t state, peer_shift, retries, dup_acks;
	bool has_ts, ack_due, fin_sent, lost;
	bool ready;				/* on the list of those with something to send */
	uint32_t ready_next;
	uint16_t mss;
	uint32_t iss, rcv_nxt, ts_recent;
	uint64_t offered, una, nxt, max;	/* offsets in the stream */
	uint64_t edge;				/* of the peer's window */
	uint32_t cwnd, ssthresh;
	uint64_t rto_ns, due_ns, srtt_ns;
	uint64_t timed, timed_ns;		/* offset being timed (0: none), and since when */
	struct tcp_replies replies;
};

struct clients {
	const struct send_config *config;
	struct tcp_load *tcp;
	struct pace *pace;
	struct send_result *result;
	struct err *err;
	struct port *port;
	struct net *net;
	struct address from, to;
	uint8_t to_mac[6];
	struct client *list;
	uint32_t count, turn, begun, connecting, open;
	uint32_t active;			/* the first so many are given events */
	uint32_t ready_first, ready_last;	/* index + 1 */
	uint64_t now_ns, scan_ns;
	uint16_t ip_id;
	struct frame frames[PORT_BURST_MAX];	/* [0, used) wait for the wire, [used, room) are empty */
	uint32_t room, used;
};

static enum drop
refuse_udp(void *context, const struct net_datagram *datagram)
{
	(void)context;
	(void)datagram;
	return DROP_NO_LISTENER;
}

/* ---- sending ---- */

/* What the wire does not take now stays here: a frame dropped on a full ring would be a loss, and the client would slow down for it. */
static void
flush(struct clients *s)
{
	if (!s->used)
		return;
	uint32_t went = port_dpdk_offer(s->port, 0, s->frames, s->used);
	s->result->retries += went < s->used;
	s->used -= went;
	s->room -= went;
	memmove(s->frames, s->frames + went, s->room * sizeof *s->frames);
}

static void
give_back(struct clients *s)
{
	for (uint32_t i = 0; i < s->room; i++)
		s->frames[i].len = 0;
	if (s->room)
		port_tx(s->port, 0, s->frames, s->room);
	s->room = s->used = 0;
}

static struct frame *
next_frame(struct clients *s)
{
	if (s->used == PORT_BURST_MAX)
		flush(s);
	if (s->used == s->room)
		s->room += port_tx_room(s->port, 0, s->frames + s->room, PORT_BURST_MAX - s->room);
	return s->used < s->room ? &s->frames[s->used++] : NULL;
}

static void
ready(struct clients *s, struct client *c)
{
	if (c->ready)
		return;
	uint32_t place = (uint32_t)(c - s->list) + 1;
	c->ready = true;
	c->ready_next = 0;
	if (s->ready_last)
		s->list[s->ready_last - 1].ready_next = place;
	else
		s->ready_first = place;
	s->ready_last = place;
}

/* One segment: `len` bytes of the stream from `offset`. False: no buffer, or the wire is full. */
static bool
emit(struct clients *s, struct client *c, uint8_t flags, uint64_t offset, uint32_t len)
{
	struct frame *frame = next_frame(s);
	if (!frame)
		return false;
	uint32_t i = (uint32_t)(c - s->list);
	bool v4 = address_is_v4(&s->to);
	uint8_t *p = frame->bytes, *ip = p + ETH_BYTES, *t = ip + (v4 ? IP4_BYTES : IP6_BYTES);
	uint8_t options[TCP_OPTIONS_MAX];
	uint32_t option_bytes = 0, now_ms = (uint32_t)(s->now_ns / NS_PER_MS);
	if (flags & TCP_SYN) {
		struct tcp_syn syn = { .mss = v4 ? MSS : MSS - 20, .shift = 7, .has_shift = true, .has_sack = false, .has_ts = true, .ts_val = now_ms };
		option_bytes = tcp_syn_options(&syn, options);
	} else if (c->has_ts) {
		tcp_ts_put(options, now_ms, c->ts_recent);
		option_bytes = TCP_TS_BYTES;
	}
	uint32_t header = TCP_BYTES + option_bytes, seq = c->iss + (flags & TCP_SYN ? 0 : 1 + (uint32_t)offset);
	memcpy(p, s->to_mac, 6);
	memcpy(p + 6, s->port->mac, 6);
	put16(p + 12, v4 ? ETH_IP4 : ETH_IP6);
	if (v4) {
		put16(ip, 0x4500);
		put16(ip + 2, (uint16_t)(IP4_BYTES + header + len));
		put16(ip + 4, s->ip_id++);
		put16(ip + 6, 0x4000);
		ip[8] = 64;
		ip[9] = PROTO_TCP;
		memset(ip + 10, 0, 2);
		memcpy(ip + 12, s->from.ip + 12, 4);
		memcpy(ip + 16, s->to.ip + 12, 4);
		uint16_t sum = csum_fold(csum_add(0, ip, IP4_BYTES));
		memcpy(ip + 10, &sum, 2);
	} else {
		put32(ip, 0x60000000);
		put16(ip + 4, (uint16_t)(header + len));
		ip[6] = PROTO_TCP;
		ip[7] = 64;
		memcpy(ip + 8, s->from.ip, 16);
		memcpy(ip + 24, s->to.ip, 16);
	}
	tcp_header_put(t, (uint16_t)(PORT_FIRST + i), s->to.port, seq, flags & TCP_SYN ? 0 : c->rcv_nxt, header, flags, 65535);
	memcpy(t + TCP_BYTES, options, option_bytes);
	if (len)
		tcp_load_fill(s->tcp, i, offset, t + header, len);
	tcp_checksum_put(t, header + len, &s->from, &s->to);
	frame->len = (uint32_t)(t - p) + header + len;
	if (frame->len < 60) {
		memset(p + frame->len, 0, 60 - frame->len);
		frame->len = 60;
	}
	s->result->frames++;
	c->ack_due = false;
	return true;
}

static void
output(struct clients *s, struct client *c)
{
	while (c->state == CLIENT_OPEN && c->nxt < c->offered) {
		uint64_t edge = c->una + c->cwnd < c->edge ? c->una + c->cwnd : c->edge, left = c->offered - c->nxt;
		uint32_t n = left < c->mss ? (uint32_t)left : c->mss;
		if (c->nxt + n > edge) {
			if (c->nxt > c->una || c->edge <= c->nxt)	/* slivers only when nothing is in flight */
				break;
			n = edge > c->nxt ? (uint32_t)(edge - c->nxt) : 1;
		}
		if (!emit(s, c, TCP_ACK | (n == left ? TCP_PSH : 0), c->nxt, n)) {
			ready(s, c);
			return;
		}
		if (!c->timed && c->nxt == c->max) {
			c->timed = c->nxt + n;
			c->timed_ns = s->now_ns;
		}
		if (c->nxt < c->max)
			s->result->retransmits++;
		c->nxt += n;
		if (c->nxt > c->max)
			c->max = c->nxt;
		if (!c->due_ns)
			c->due_ns = s->now_ns + c->rto_ns;
	}
	/* A window too small for anything: the timer probes it. */
	if (c->nxt < c->offered && !c->due_ns)
		c->due_ns = s->now_ns + c->rto_ns;
	if (c->ack_due && !emit(s, c, TCP_ACK, c->nxt, 0))
		ready(s, c);
}

/* Those with something to send, in turn, until the wire is full. */
static void
run_ready(struct clients *s)
{
	uint32_t last = s->ready_last;
	while (s->ready_first) {
		uint32_t place = s->ready_first;
		struct client *c = &s->list[place - 1];
		s->ready_first = c->ready_next;
		if (!s->ready_first)
			s->ready_last = 0;
		c->ready = false;
		if (c->state == CLIENT_OPEN)
			output(s, c);
		if (place == last)
			break;
	}
}

static void
ended(struct clients *s, struct client *c, bool lost)
{
	if (c->state == CLIENT_ENDED)
		return;
	s->connecting -= c->state == CLIENT_SYN_SENT;
	s->open -= c->state == CLIENT_OPEN;
	c->state = CLIENT_ENDED;
	c->lost = lost && !c->fin_sent;
	c->due_ns = 0;
}

/* ---- what comes ---- */

static void
on_ack(struct clients *s, struct client *c, uint32_t ack, uint32_t window, uint32_t len)
{
	int32_t step = (int32_t)(ack - (c->iss + 1 + (uint32_t)c->una));
	uint64_t at = c->una + (uint64_t)(int64_t)step, edge;
	if (step < 0 || at > c->max + c->fin_sent)
		return;
	if (at > c->max)
		at = c->max;	/* our FIN */
	edge = at + window;
	if (at > c->una) {
		if (c->timed && at >= c->timed) {
			uint64_t ns = s->now_ns - c->timed_ns;
			c->srtt_ns = c->srtt_ns ? (7 * c->srtt_ns + ns) / 8 : ns;
			c->rto_ns = 4 * c->srtt_ns > RTO_MIN_NS ? 4 * c->srtt_ns : RTO_MIN_NS;
			c->timed = 0;
		}
		uint64_t acked = at - c->una;
		c->cwnd += c->cwnd < c->ssthresh ? (uint32_t)(acked < 65536 ? acked : 65536) : (uint32_t)c->mss * c->mss / c->cwnd + 1;
		if (c->cwnd > CWND_MAX)
			c->cwnd = CWND_MAX;
		c->una = at;
		if (c->nxt < at)
			c->nxt = at;
		c->retries = c->dup_acks = 0;
		c->due_ns = c->una < c->max ? s->now_ns + c->rto_ns : 0;
	} else if (!len && c->una < c->max && edge == c->edge && ++c->dup_acks == 3) {
		c->ssthresh = c->cwnd = c->cwnd / 2 > 2u * c->mss ? c->cwnd / 2 : 2u * c->mss;
		c->nxt = c->una;
		c->timed = 0;
	}
	c->edge = edge;
}

static void
on_segment(void *context, const struct net_segment *segment)
{
	struct clients *s = context;
	const uint8_t *t = segment->tcp;
	uint32_t i = segment->to.port - PORT_FIRST, header = (t[12] >> 4) * 4u, len = segment->len - header;
	if (i >= s->count || segment->from.port != s->to.port)
		return;
	struct client *c = &s->list[i];
	uint8_t flags = t[13];
	uint32_t seq = get32(t + 4), ack = get32(t + 8), window = get16(t + 14), val, ecr;
	if (c->state == CLIENT_IDLE || c->state == CLIENT_ENDED)
		return;
	if (flags & TCP_RST) {
		if (c->state == CLIENT_OPEN ? seq == c->rcv_nxt : ack == c->iss + 1)
			ended(s, c, true);
		return;
	}
	if (c->state == CLIENT_SYN_SENT) {
		if ((flags & (TCP_SYN | TCP_ACK)) != (TCP_SYN | TCP_ACK) || ack != c->iss + 1)
			return;
		struct tcp_syn syn;
		tcp_syn_parse(t + TCP_BYTES, header - TCP_BYTES, &syn);
		c->has_ts = syn.has_ts;
		c->ts_recent = syn.ts_val;
		c->peer_shift = syn.has_shift ? syn.shift : 0;
		uint32_t mss = syn.mss && syn.mss < MSS ? syn.mss : address_is_v4(&s->to) ? MSS : MSS - 20;
		c->mss = (uint16_t)(mss - (c->has_ts ? TCP_TS_BYTES : 0));
		c->rcv_nxt = seq + 1;
		c->edge = window;
		c->cwnd = 10u * c->mss;
		c->ssthresh = UINT32_MAX;
		c->rto_ns = RTO_MIN_NS;
		c->due_ns = 0;
		c->retries = 0;
		c->state = CLIENT_OPEN;
		c->ack_due = true;
		s->connecting--;
		s->open++;
		ready(s, c);
		return;
	}
	if (c->has_ts && tcp_ts_find(t + TCP_BYTES, header - TCP_BYTES, &val, &ecr) && seq_le(seq, c->rcv_nxt) && seq_le(c->ts_recent, val))
		c->ts_recent = val;
	if (flags & TCP_ACK)
		on_ack(s, c, ack, window << c->peer_shift, len);
	if (len && seq == c->rcv_nxt) {
		tcp_replies_take(s->tcp, &c->replies, t + header, len);
		c->rcv_nxt += len;
	}
	if (len || (flags & (TCP_FIN | TCP_SYN)))
		c->ack_due = true;
	if ((flags & TCP_FIN) && seq + len == c->rcv_nxt) {
		c->rcv_nxt++;
		(void)emit(s, c, TCP_ACK, c->nxt + c->fin_sent, 0);
		ended(s, c, true);
		return;
	}
	ready(s, c);	/* what it has to say goes with what it is given now */
}

static void
timer(struct clients *s, struct client *c)
{
	if (++c->retries > RETRIES_MAX) {
		ended(s, c, true);
		return;
	}
	c->due_ns = s->now_ns + (c->rto_ns << (c->retries < 8 ? c->retries : 8));
	if (c->state == CLIENT_SYN_SENT) {
		(void)emit(s, c, TCP_SYN, 0, 0);
		return;
	}
	c->timed = 0;
	if (c->una < c->max) {
		c->ssthresh = c->cwnd / 2 > 2u * c->mss ? c->cwnd / 2 : 2u * c->mss;
		c->cwnd = c->mss;
		c->nxt = c->una;
	}
	if (c->edge <= c->una) {	/* shut: one byte asks */
		if (c->una < c->offered && emit(s, c, TCP_ACK, c->una, 1)) {
			if (c->max == c->una)
				c->max++;
			if (c->nxt == c->una)
				c->nxt++;
		}
		c->retries = c->retries > 4 ? 4 : c->retries;
		return;
	}
	ready(s, c);
}

/* ---- the run ---- */

static void
turn(struct clients *s)
{
	struct frame frames[PORT_BURST_MAX];
	s->now_ns = clock_now_ns(&clock_system);
	uint32_t n = port_rx(s->port, 0, frames, PORT_BURST_MAX);
	if (n)
		net_input(s->net, frames, n, s->now_ns);
	port_release(s->port, 0, frames, n);
	net_tick(s->net, s->now_ns);
	while (s->begun < s->count && s->connecting < CONNECTING_MAX) {
		struct client *c = &s->list[s->begun];
		c->iss = (uint32_t)s->now_ns * 2654435761u + s->begun * 40503u;
		c->rto_ns = NS_PER_S;
		c->due_ns = s->now_ns + c->rto_ns;
		c->state = CLIENT_SYN_SENT;
		if (!emit(s, c, TCP_SYN, 0, 0))
			c->due_ns = s->now_ns + SCAN_NS;
		s->begun++;
		s->connecting++;
	}
	if (s->now_ns - s->scan_ns >= SCAN_NS) {
		s->scan_ns = s->now_ns;
		for (uint32_t i = 0; i < s->begun; i++)
			if (s->list[i].due_ns && s->list[i].due_ns <= s->now_ns)
				timer(s, &s->list[i]);
	}
}

static uint32_t
give(struct clients *s, uint32_t n)
{
	uint32_t given = 0, unit = s->tcp->unit_bytes;
	for (uint32_t looked = 0; looked < s->active && looked < GIVE_LOOKS && given < n; looked++) {
		struct client *c = &s->list[s->turn];
		s->turn = s->turn + 1 == s->active ? 0 : s->turn + 1;
		if (c->state != CLIENT_OPEN || c->offered - c->nxt > BACKLOG_BYTES)
			continue;
		uint64_t most = n - given;
		if (s->tcp->kind == TCP_KIND_HTTP) {
			uint64_t under_way = c->offered / unit - c->replies.good - c->replies.bad;
			uint64_t more = under_way < s->config->pipeline ? s->config->pipeline - under_way : 0;
			most = more < most ? more : most;
			if (!most)
				continue;
		} else if (most > 1 + 16384 / unit) {
			most = 1 + 16384 / unit;	/* the next one wants some too */
		}
		c->offered += most * unit;
		given += (uint32_t)most;
		ready(s, c);
	}
	return given;
}

static bool
all_answered(const struct clients *s)
{
	for (uint32_t i = 0; i < s->count; i++) {
		const struct client *c = &s->list[i];
		if (c->state == CLIENT_OPEN && tcp_acked_events(s->tcp, c->una, &c->replies) + c->replies.bad < c->offered / s->tcp->unit_bytes)
			return false;
	}
	return true;
}

static int
start(struct clients *s)
{
	uint64_t begin_ns = clock_now_ns(&clock_system);
	s->now_ns = begin_ns;
	while (!s->port->ops->link_up(s->port) || !net_resolve(s->net, &s->to, s->to_mac, s->now_ns)) {
		struct frame frames[PORT_BURST_MAX];
		uint32_t n = port_rx(s->port, 0, frames, PORT_BURST_MAX);
		s->now_ns = clock_now_ns(&clock_system);
		if (n)
			net_input(s->net, frames, n, s->now_ns);
		port_release(s->port, 0, frames, n);
		net_tick(s->net, s->now_ns);
		if (*s->config->stop)
			return -EINTR;
		if (s->now_ns - begin_ns > START_NS)
			return err_set(s->err, EHOSTUNREACH, "--to: %s: nobody answers for this address on %s", s->config->to, s->config->device);
		sched_yield();
	}
	begin_ns = s->now_ns;
	while (s->open < s->count && !*s->config->stop) {
		turn(s);
		run_ready(s);
		flush(s);
		sched_yield();
		bool refused = s->begun == s->count && s->connecting == 0 && s->open < s->count;
		if (refused || s->now_ns - begin_ns > START_NS)
			return err_set(s->err, ECONNREFUSED, "--to: %s: %u of %u connections were made", s->config->to, s->open, s->count);
	}
	return *s->config->stop ? -EINTR : 0;
}

static int
client_loop(void *context)
{
	struct clients *s = context;
	struct send_result *result = s->result;
	int rc = start(s);
	uint64_t end_ns, yielded_ns = 0;
	/* Who waits for each answer polls, perhaps on the CPU of those who make them, the kernel's workers among them: they go first when they wake, and need not
	 * wait for a turn of ours to end. Where the kernel does not know of that, and for others on the CPU that poll, there is the yield. */
	bool behind = s->tcp->kind == TCP_KIND_HTTP && s->config->pipeline < 2 && slice_set(SLICE_MOST_NS);
	pace_start(s->pace, clock_now_ns(&clock_system));
	while (!rc && !*s->config->stop && s->open) {
		turn(s);
		uint32_t n = pace_room(s->pace, s->now_ns, result->events, s->pace->rate > 0 ? 256 : GIVE_MAX);
		if (n == UINT32_MAX)
			break;
		if (n && s->used < PORT_BURST_MAX)
			result->events += give(s, n);
		run_ready(s);
		flush(s);
		pace_tell(s->pace, s->now_ns, result->events);
		if (behind && s->now_ns - yielded_ns < YIELD_NS)
			continue;
		yielded_ns = s->now_ns;
		sched_yield();
	}
	end_ns = clock_now_ns(&clock_system) + DRAIN_NS;
	while (!rc && s->open && !all_answered(s) && s->now_ns < end_ns) {
		for (int i = 0; i < 16; i++) {
			turn(s);
			run_ready(s);
			flush(s);
			sched_yield();
		}
	}
	result->ns = clock_now_ns(&clock_system) - s->pace->start_ns;
	pace_end(s->pace);
	for (uint32_t i = 0; i < s->count; i++) {
		struct client *c = &s->list[i];
		if (c->state != CLIENT_OPEN)
			continue;
		c->fin_sent = true;
		c->due_ns = 0;
		if (!emit(s, c, TCP_FIN | TCP_ACK, c->nxt, 0) || i % 32 == 31) {
			turn(s);
			flush(s);
		}
	}
	end_ns = clock_now_ns(&clock_system) + CLOSE_NS;
	while (s->open && s->now_ns < end_ns) {
		turn(s);
		run_ready(s);
		flush(s);
		sched_yield();
	}
	for (uint32_t i = 0; i < s->count; i++) {
		const struct client *c = &s->list[i];
		result->last[i] = c->offered / s->tcp->unit_bytes;
		result->acked[i] = tcp_acked_events(s->tcp, c->una, &c->replies);
		result->acked_events += result->acked[i];
		result->bytes += c->max;
		result->connections_lost += c->lost;
	}
	return rc;
}

int
send_tcp_device(const struct send_config *config, struct tcp_load *tcp, struct pace *pace, struct send_result *result, struct err *err)
{
	struct clients *s = calloc(1, sizeof *s);
	struct net_config net = { 0 };
	uint32_t cpu = config->cpu;
	const struct eal_config eal = { .lcore_count = 1, .lcore_cpus = &cpu, .memory_bytes = 64 << 20, .no_huge = config->no_huge };
	const struct port_dpdk_config port = { .name = "g0", .device = config->device, .lcores = 1 };
	if (!s)
		return err_set(err, ENOMEM, "no memory");
	*s = (struct clients){ .config = config, .tcp = tcp, .pace = pace, .result = result, .err = err, .count = tcp->load->sources,
			       .active = config->active && config->active < tcp->load->sources ? config->active : tcp->load->sources };
	int rc = send_addresses(s->config, &net, &s->from, &s->to, s->err), returned = 0;
	if (!rc && s->count > CONNS_MAX)
		rc = err_set(err, EINVAL, "--sources: at most %u connections from one address", CONNS_MAX);
	s->list = calloc(s->count, sizeof *s->list);
	if (!rc && !s->list)
		rc = err_set(err, ENOMEM, "no memory for %u connections", s->count);
	if (!rc)
		rc = eal_start(&eal, err);
	if (rc) {
		free(s->list);
		free(s);
		return rc;
	}
	s->port = port_dpdk_open(&port, err);
	rc = s->port ? 0 : -EIO;
	if (!rc && !(s->net = net_open(&net, s->port, 0, refuse_udp, NULL, err)))
		rc = -EIO;
	if (!rc)
		net_set_on_tcp(s->net, on_segment, s);
	if (!rc && !(rc = eal_launch(0, client_loop, s, err)) && !(rc = eal_wait(0, -1, &returned)))
		rc = returned;
	if (config->sent)
		config->sent(config->context);
	while (!rc && config->hold && !*config->stop) {
		struct timespec nap = { 0, 10 * (long)NS_PER_MS };
		turn(s);
		run_ready(s);
		flush(s);
		nanosleep(&nap, NULL);
	}
	if (s->port)
		give_back(s);
	net_close(s->net);
	port_close(s->port);
	eal_stop();
	free(s->list);
	free(s);
	return rc == -EINTR ? 0 : rc;
}
