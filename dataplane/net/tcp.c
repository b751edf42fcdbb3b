/* tcp: opening, the way of a segment to its connection, and the fast path: plain data in order on a known connection. */
#include "dataplane/net/tcp.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "dataplane/net/conn.h"

const char *const tcp_state_name[TCP_STATE_COUNT] = {
	[TCP_CLOSED] = "closed", [TCP_SYN_RECEIVED] = "syn-received", [TCP_ESTABLISHED] = "established", [TCP_CLOSE_WAIT] = "close-wait",
	[TCP_LAST_ACK] = "last-ack", [TCP_FIN_WAIT_1] = "fin-wait-1", [TCP_FIN_WAIT_2] = "fin-wait-2", [TCP_CLOSING] = "closing",
	[TCP_TIME_WAIT] = "time-wait",
};

#define METRIC(field, type_, unit_, help_) { #field, METRIC_##type_, offsetof(struct tcp_counters, field), unit_, help_ }
const struct metric tcp_metrics[] = {
	METRIC(opened, COUNTER, "connections", "Connections begun: SYNs that got a place."),
	METRIC(accepted, COUNTER, "connections", "Connections whose handshake was completed and that a source took."),
	METRIC(refused, COUNTER, "connections", "Connections reset because the source did not take them."),
	METRIC(cookies_sent, COUNTER, "segments", "SYNs answered with a cookie because too many connections were half open."),
	METRIC(cookies_good, COUNTER, "connections", "Connections completed by a cookie."),
	METRIC(cookies_bad, COUNTER, "segments", "Segments of unknown connections that bore no good cookie while cookies were in use."),
	METRIC(resets_sent, COUNTER, "segments", "Resets sent."),
	METRIC(resets_received, COUNTER, "segments", "Resets that ended a connection."),
	METRIC(timeouts, COUNTER, "connections", "Connections given up because the peer was silent."),
	METRIC(segments, COUNTER, "segments", "Segments that brought new data."),
	METRIC(bytes, COUNTER, "bytes", "New bytes received in order or queued out of order."),
	METRIC(reneged, COUNTER, "chunks", "Pieces behind a hole given up for what fills it, the connection's chunks being used up; their sender sends them again."),
	METRIC(cut_short, COUNTER, "segments", "Segments of which the end found no memory."),
	METRIC(out_of_order, COUNTER, "segments", "Segments that came before those in front of them."),
	METRIC(duplicates, COUNTER, "segments", "Segments all of whose bytes had come before."),
	METRIC(acks_sent, COUNTER, "segments", "Segments sent that bear an acknowledgement."),
	METRIC(retransmits, COUNTER, "segments", "Times that unacknowledged data was sent again."),
	METRIC(challenge_acks, COUNTER, "segments", "Challenge ACKs sent (RFC 5961)."),
	METRIC(window_zero, COUNTER, "segments", "Acknowledgements sent that shut the window."),
	METRIC(resumed, COUNTER, "connections", "Connections of an earlier process that go on."),
	METRIC(held, COUNTER, "segments", "Retransmissions left without an answer because a commit was due."),
	METRIC(handed_over, COUNTER, "segments", "Segments of a connection of another lcore, handed to it."),
	METRIC(connections, GAUGE, "connections", "Places in use, half open ones and TIME-WAIT included."),
	METRIC(half_open, GAUGE, "connections", "Connections whose handshake is not complete."),
	METRIC(time_wait, GAUGE, "connections", "Connections in TIME-WAIT."),
	METRIC(chunks_used, GAUGE, "chunks", "Chunks with bytes out of order, bytes not yet taken, or replies."),
	METRIC(promised, GAUGE, "bytes", "Sum of the windows promised to peers that send."),
	METRIC(promised_idle, GAUGE, "bytes", "Sum of the windows promised to peers that have long sent nothing."),
};
const uint32_t tcp_metric_count = sizeof tcp_metrics / sizeof *tcp_metrics;

struct tcp_counters *
tcp_counters(struct tcp *tcp)
{
	return &tcp->counters;
}

uint32_t
conn_index(const struct conn *c)
{
	return c->index;
}

uint32_t
tcp_conn_bytes(void)
{
	return sizeof(struct conn) + 2 * sizeof(struct table_entry);
}

/* In order, new, plain, within the promise, nothing queued, nothing ending: the rest of conn_input's questions has the same answer each
 * time. False: nothing was done. */
static inline bool
input_fast(struct conn *c, const struct segment *s)
{
	uint32_t odd = (c->state ^ TCP_ESTABLISHED) | ((s->flags & ~TCP_PSH) ^ TCP_ACK) | (s->seq ^ c->received) | (s->ack ^ c->una) |
		       (c->una ^ c->max) | (c->received ^ c->read) | (c->flags & (CONN_FIN_SEEN | CONN_SHUT | CONN_FINISH | CONN_RESUMED));
	if (odd || !s->len || c->queue || s->len > c->promised - c->received)
		return false;
	struct tcp *tcp = c->tcp;
	if (c->flags & CONN_TS) {
		if (!s->has_ts || seq_lt(s->ts_val, c->ts_recent))
			return false;
		if (seq_le(s->seq, c->ack_sent)) {
			c->ts_recent = s->ts_val;
			c->ts_recent_ns = tcp->now_ns;
		}
	}
	c->heard_ns = tcp->now_ns;
	memcpy(c->peer_mac, s->packet->from_mac, 6);
	c->peer_window = s->window << c->peer_shift;
	c->wl1 = s->seq;
	c->wl2 = s->ack;
	if (!conn_give(c, s->data, s->len) || (c->flags & CONN_DURABLE))
		return true;
	if (conn_ack_at_once(c))
		c->flags |= CONN_ACK_NOW;
	else
		c->flags |= CONN_ACK_LATER;
	conn_list(c);
	return true;
}

static __attribute__((noinline, cold)) enum drop
input_stranger(struct tcp *tcp, const struct segment *s, uint32_t hash, bool handed)
{
	const struct address *from = &s->packet->from, *to = &s->packet->to;
	int owner = tcp->group && !handed ? tcp_group_owner(tcp->group, tcp->member, hash) : TCP_OWNER_NONE;
	if (owner != TCP_OWNER_NONE) {
		/* Not taken: the peer sends it again. No answer, which would be a RST for a connection that lives. */
		if (owner == TCP_OWNER_UNSURE || !tcp_group_give(tcp->group, tcp->member, (uint32_t)owner, s->packet))
			return DROP_TCP_HANDOVER;
		counter_add(&tcp->counters.handed_over, 1);
		counter_set(&tcp->net->counters.handed_held, counter_read(&tcp->net->counters.handed_held) + 1);
		return DROP_COUNT;
	}
	if ((s->flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) == TCP_SYN)
		return tcp_input_syn(tcp, s, hash, from, to);
	struct conn *c = tcp_cookie_ack(tcp, s, hash, from, to);
	if (c) {
		bool taken;
		enum drop drop = conn_input(c, s, &taken);
		if (taken) {
			tcp->net->taken++;
			tcp->net->taken_bytes += s->len;
			return DROP_COUNT;
		}
		if (drop == DROP_NONE)
			counter_add(&tcp->net->counters.tcp_control, 1);
		return drop == DROP_NONE ? DROP_COUNT : drop;	/* DROP_COUNT: counted already */
	}
	tcp_reset_stranger(tcp, s);
	return DROP_TCP_STRANGER;
}

static inline __attribute__((always_inline)) enum drop
input(struct net *net, struct packet *packet, bool handed)
{
	struct tcp *tcp = net->tcp;
	const uint8_t *p = packet->l4;
	if (__builtin_expect(!tcp, 0) && !net->on_tcp)
		return DROP_PROTOCOL;
	if (packet->l4_bytes < TCP_BYTES)
		return DROP_TRUNCATED;
	uint32_t header = (p[12] >> 4) * 4u;
	if (header < TCP_BYTES || header > packet->l4_bytes)
		return DROP_BAD_LENGTH;
	if (packet->to_many || ip_is_multicast(&packet->from) || address_is_any(&packet->from))
		return DROP_BAD_SOURCE;
	if (!(packet->flags & FRAME_L4_GOOD) && !net->trust_udp_checksum && !tcp_checksum_ok(p, packet->l4_bytes, &packet->from, &packet->to))
		return DROP_CHECKSUM_TCP;
	packet->from.port = get16(p);
	packet->to.port = get16(p + 2);
	if (__builtin_expect(!tcp, 0)) {
		struct net_segment segment = { .tcp = p, .len = packet->l4_bytes, .from = packet->from, .to = packet->to };
		net->on_tcp(net->on_tcp_context, &segment);
		counter_add(&net->counters.tcp_control, 1);
		return DROP_NONE;
	}
	tcp->now_ns = net->now_ns;
	struct segment s = { .packet = packet, .seq = get32(p + 4), .ack = get32(p + 8), .flags = p[13] & 63, .window = get16(p + 14),
			     .data = p + header, .len = packet->l4_bytes - header, .options = p + TCP_BYTES, .options_bytes = header - TCP_BYTES };
	if (header == TCP_BYTES + TCP_TS_BYTES && get32(p + TCP_BYTES) == 0x0101080a) {
		s.has_ts = true;
		s.ts_val = get32(p + TCP_BYTES + 4);
		s.ts_ecr = get32(p + TCP_BYTES + 8);
	} else if (s.options_bytes) {
		s.has_ts = tcp_ts_find(s.options, s.options_bytes, &s.ts_val, &s.ts_ecr);
	}
	uint32_t hash = tcp_hash(tcp, &packet->from, &packet->to);
	struct conn *c = tcp_find(tcp, hash, &packet->from, &packet->to);
	if (__builtin_expect(c != NULL, 1)) {
		bool taken = true;
		enum drop drop = DROP_NONE;
		if (!input_fast(c, &s))
			drop = conn_input(c, &s, &taken);
		if (taken) {
			net->taken++;
			net->taken_bytes += s.len;
		} else if (drop == DROP_NONE) {
			counter_add(&net->counters.tcp_control, 1);
		}
		return drop;
	}
	enum drop drop = input_stranger(tcp, &s, hash, handed);
	if (drop == DROP_NONE)
		counter_add(&net->counters.tcp_control, 1);
	return drop == DROP_COUNT ? DROP_NONE : drop;
}

enum drop
tcp_input(struct net *net, struct packet *packet)
{
	return input(net, packet, false);
}

__attribute__((cold)) enum drop
tcp_input_handed(struct net *net, struct packet *packet)
{
	return input(net, packet, true);
}

void
tcp_credit(struct tcp *tcp, uint32_t number, uint64_t bytes, bool chunks)
{
	assert(number < TCP_POOLS);
	struct tcp_pool *pool = &tcp->pools[number];
	if (tcp->pool_count <= number)
		tcp->pool_count = number + 1;
	tcp->pools_of_chunks += chunks - pool->chunks;
	pool->chunks = chunks;
	pool->full = bytes == 0;
	pool->budget = bytes * TCP_WINDOW_MULTIPLE;
	if (!chunks)
		return;
	uint32_t used = tcp->chunks_used + tcp->chunks_kept;
	uint64_t room = used < tcp->chunk_count ? (uint64_t)(tcp->chunk_count - used) * CHUNK_BYTES / tcp->pools_of_chunks : 0;
	if (pool->budget < room)
		pool->budget = room;
}

void
tcp_too_big(struct tcp *tcp, const struct address *own, const struct address *peer, uint32_t seq, uint32_t mtu)
{
	uint32_t hash = tcp_hash(tcp, peer, own);
	struct conn *c = tcp_find(tcp, hash, peer, own);
	int owner = !c && tcp->group ? tcp_group_owner(tcp->group, tcp->member, hash) : TCP_OWNER_NONE;
	if (owner >= 0)		/* full or not sure: the router says it again */
		tcp_group_give_too_big(tcp->group, tcp->member, (uint32_t)owner, own, peer, seq, mtu);
	uint32_t headers = (address_is_v4(peer) ? IP4_BYTES : IP6_BYTES) + TCP_BYTES, least = address_is_v4(peer) ? 552 : 1280;
	if (!c || !conn_synchronized(c) || seq_lt(seq, c->una) || !seq_lt(seq, c->max))
		return;		/* nothing we have in flight: a stranger's guess */
	if (mtu < least)
		mtu = least;
	uint32_t mss = mtu - headers;
	if (mss >= c->mss)
		return;
	c->mss = (uint16_t)mss;
	c->nxt = c->una;
	c->flags &= ~(uint32_t)(CONN_FIN_SENT | CONN_TIMING);
	c->flags |= CONN_OUTPUT;
	conn_list(c);
}

void
tcp_reset_all(struct tcp *tcp, uint16_t own_port)
{
	for (uint32_t i = 1; i < tcp->conns_fresh; i++) {
		struct conn *c = conn_at(tcp, i);
		if (c->state == TCP_CLOSED || (own_port && c->own_port != own_port))
			continue;
		if (conn_synchronized(c) && c->state != TCP_TIME_WAIT)
			conn_emit(c, TCP_RST | TCP_ACK, c->nxt, 0);
		tcp_conn_gone(c, -ECONNRESET);
	}
}

bool
tcp_flow_next(struct tcp *tcp, uint32_t *cursor, struct tcp_flow *flow)
{
	while (++*cursor < tcp->conns_fresh) {
		struct conn *c = conn_at(tcp, *cursor);
		if (c->state == TCP_CLOSED)
			continue;
		*flow = (struct tcp_flow){ .state = c->state, .durable_mode = c->flags & CONN_DURABLE, .stalled = conn_stalled(c),
					   .received = c->read_bytes + (c->received - c->read), .durable = c->durable_bytes,
					   .acked = c->read_bytes - (c->read - c->ack_sent), .queued_chunks = c->queue_chunks,
					   .unsent = c->send_bytes, .stream = c->stream, .idle_ns = tcp->now_ns - c->heard_ns,
					   .window = seq_lt(c->received, c->promised) ? c->promised - c->received : 0 };
		conn_addresses(c, &flow->from, &flow->to);
		return true;
	}
	return false;
}

static void
check_conn(const struct conn *c, uint64_t *chunks)
{
	assert(seq_le(c->irs + 1, c->durable) && seq_le(c->durable, c->read) && seq_le(c->read, c->received));
	assert(seq_le(c->received, c->promised + 1));
	assert(seq_le(c->ack_sent, conn_edge(c)) && seq_le(conn_edge(c), c->received));
	assert(seq_le(c->una, c->nxt) && seq_le(c->nxt, c->max));
	assert(c->max - c->una <= c->send_bytes + 1);
	assert(c->durable == c->irs + 1 + (uint32_t)c->durable_bytes && c->durable_bytes <= c->read_bytes);
	assert(c->read == c->irs + 1 + (uint32_t)c->read_bytes + !!(c->flags & CONN_FIN_GIVEN));
	assert(!(c->flags & CONN_FIN_GIVEN) || c->received == c->fin_seq + 1);
	assert((c->stream != NULL) == (conn_synchronized(c) && c->state != TCP_TIME_WAIT));
	uint32_t count = 0, end = c->read;
	for (const struct chunk *p = c->queue; p; p = p->next) {
		assert(p->len && p->at == 0 && p->len <= CHUNK_BYTES);
		assert(p == c->queue || seq_le(end, p->seq));
		end = p->seq + p->len;
		assert(seq_lt(c->read, end) && seq_le(end, c->promised));
		if (!p->next)
			assert(p == c->queue_tail);
		count++;
	}
	assert(count == c->queue_chunks && count <= c->tcp->queue_chunks_max);
	assert(queue_reach(c, c->read) == c->received);
	uint32_t bytes = 0, sends = 0;
	for (const struct chunk *p = c->send; p; p = p->next) {
		bytes += p->len;
		sends++;
	}
	assert(bytes == c->send_bytes && sends == c->send_chunks && bytes <= TCP_SEND_BYTES_MAX);
	*chunks += count + sends;
}

void
tcp_check(struct tcp *tcp)
{
	uint64_t promised[TCP_POOLS] = { 0 }, idle[TCP_POOLS] = { 0 }, chunks = 0;
	uint32_t used = 0, half_open = 0, waiting = 0;
	for (uint32_t i = 1; i < tcp->conns_fresh; i++) {
		struct conn *c = conn_at(tcp, i);
		if (c->state == TCP_CLOSED)
			continue;
		struct address from, to;
		conn_addresses(c, &from, &to);
		assert(tcp_find(tcp, c->hash, &from, &to) == c);
		used++;
		half_open += c->state == TCP_SYN_RECEIVED;
		waiting += c->state == TCP_TIME_WAIT;
		(c->flags & CONN_IDLE ? idle : promised)[c->pool] += seq_lt(c->received, c->promised) ? c->promised - c->received : 0;
		check_conn(c, &chunks);
	}
	assert(used == tcp->used && half_open == tcp->half_open && waiting == tcp->waiting);
	for (uint32_t i = 0; i < TCP_POOLS; i++)
		assert(promised[i] == tcp->pools[i].promised && idle[i] == tcp->pools[i].promised_idle);
	assert(chunks == tcp->chunks_used);
}

static void *
map(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return memory == MAP_FAILED ? NULL : memory;
}

struct tcp *
tcp_open(const struct tcp_config *config, struct net *net, const struct tcp_user *user, void *context, struct err *err)
{
	struct tcp *tcp = aligned_alloc(64, (sizeof *tcp + 63) & ~(size_t)63);
	if (!tcp) {
		err_set(err, ENOMEM, "tcp: no memory");
		return NULL;
	}
	memset(tcp, 0, sizeof *tcp);
	tcp->net = net;
	tcp->user = user;
	tcp->context = context;
	tcp->conns_max = config->connections_max ? config->connections_max : TCP_CONNECTIONS_DEFAULT;
	tcp->conns_fresh = 1;
	tcp->half_open_max = config->half_open_max ? config->half_open_max : TCP_HALF_OPEN_DEFAULT;
	tcp->window_bound = config->window_max ? config->window_max : TCP_WINDOW_DEFAULT;
	tcp->keepalive_ns = config->keepalive_ns ? config->keepalive_ns : TCP_KEEPALIVE_NS;
	tcp->half_open_ns = config->half_open_ns ? config->half_open_ns : TCP_HALF_OPEN_NS;
	tcp->queue_chunks_max = config->queue_chunks_max ? config->queue_chunks_max : TCP_QUEUE_CHUNKS_MAX;
	memcpy(tcp->secret, config->secret, sizeof tcp->secret);
	if (!config->group && !tcp->secret[0] && !tcp->secret[1] && getrandom(tcp->secret, sizeof tcp->secret, 0) != sizeof tcp->secret) {
		err_set(err, EIO, "tcp: no random numbers");
		free(tcp);
		return NULL;
	}
	/* In durable mode the window field reaches from `durable`, so it must hold what waits for the commit too. */
	while (tcp->shift < 14 && 65536u << tcp->shift < 2 * tcp->window_bound)
		tcp->shift++;
	uint32_t entries = 64;
	while (entries < 2 * tcp->conns_max)
		entries *= 2;
	tcp->table_mask = entries - 1;
	tcp->table = map((size_t)entries * sizeof *tcp->table);
	tcp->conns = map(((size_t)tcp->conns_max + 1) * sizeof *tcp->conns);
	if (!tcp->table || !tcp->conns || !tcp_chunks_init(tcp, config->chunks ? config->chunks : TCP_CHUNKS_DEFAULT)) {
		err_set(err, ENOMEM, "tcp: no address space for %u connections", tcp->conns_max);
		tcp_close(tcp);
		return NULL;
	}
	net_set_tcp(net, tcp);
	if (config->group) {
		tcp->group = config->group;
		tcp->member = config->member;
		tcp_group_join(tcp->group, tcp->member, tcp);
	}
	return tcp;
}

void
tcp_close(struct tcp *tcp)
{
	if (!tcp)
		return;
	if (tcp->group)
		tcp_group_leave(tcp->group, tcp->member);
	if (tcp->net->tcp == tcp)
		net_set_tcp(tcp->net, NULL);
	if (tcp->table)
		munmap(tcp->table, ((size_t)tcp->table_mask + 1) * sizeof *tcp->table);
	if (tcp->conns)
		munmap(tcp->conns, ((size_t)tcp->conns_max + 1) * sizeof *tcp->conns);
	if (tcp->chunk_count)
		munmap(tcp->chunks, (size_t)tcp->chunk_count * sizeof *tcp->chunks);
	free(tcp);
}
