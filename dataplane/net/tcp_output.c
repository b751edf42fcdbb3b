/* tcp_output: everything a connection sends. conn_emit is the one send site; what an ACK says is asserted there. */
#include <errno.h>

#include "dataplane/net/conn.h"

#define NEWCOMERS_SHARE 8u	/* of the budget: no window grows into it beyond one segment */
#define DELAYED_ACK_NS (40 * NS_PER_MS)
#define RTO_MAX_MS 60000u
#define RETRIES_MAX 10
#define SYN_RETRIES_MAX 5
#define CHALLENGE_NS (NS_PER_S / 10)	/* one challenge ACK each on a connection (RFC 5961 7) */

void
conn_list(struct conn *c)
{
	struct tcp *tcp = c->tcp;
	if (c->flags & CONN_LISTED)
		return;
	c->flags |= CONN_LISTED;
	c->turn_next = 0;
	if (tcp->turn_tail)
		conn_at(tcp, tcp->turn_tail)->turn_next = c->index;
	else
		tcp->turn_head = c->index;
	tcp->turn_tail = c->index;
}

void
conn_ack_now(struct conn *c)
{
	c->flags |= CONN_ACK_NOW;
	conn_list(c);
}

/* The starved list and the TIME-WAIT list use the same links: nobody is on both. */
void
conn_unlist(struct conn *c)
{
	struct tcp *tcp = c->tcp;
	bool starved = c->flags & CONN_STARVED;
	if (!starved && c->state != TCP_TIME_WAIT)
		return;
	struct tcp_pool *pool = conn_pool(c);
	uint32_t *head = starved ? &pool->starved_head : &tcp->wait_head, *tail = starved ? &pool->starved_tail : &tcp->wait_tail;
	if (c->list_prev)
		conn_at(tcp, c->list_prev)->list_next = c->list_next;
	else
		*head = c->list_next;
	if (c->list_next)
		conn_at(tcp, c->list_next)->list_prev = c->list_prev;
	else
		*tail = c->list_prev;
	c->list_prev = c->list_next = 0;
	if (starved)
		c->flags &= ~(uint32_t)CONN_STARVED;
	else
		counter_set(&tcp->counters.time_wait, --tcp->waiting);
}

void
conn_starve(struct conn *c)
{
	struct tcp_pool *pool = conn_pool(c);
	if ((c->flags & CONN_STARVED) || c->state == TCP_TIME_WAIT)
		return;
	c->flags |= CONN_STARVED;
	c->list_next = 0;
	c->list_prev = pool->starved_tail;
	if (pool->starved_tail)
		conn_at(c->tcp, pool->starved_tail)->list_next = c->index;
	else
		pool->starved_head = c->index;
	pool->starved_tail = c->index;
}

uint32_t
conn_ts_now(const struct conn *c)
{
	return (uint32_t)(c->tcp->now_ns / NS_PER_MS) + c->ts_offset;
}

bool
conn_settled(const struct conn *c)
{
	const struct tcp_user *user = c->tcp->user;
	return conn_edge(c) == c->received || (c->read == c->received && c->stream && user->settled && user->settled(c->stream));
}

bool
conn_stalled(const struct conn *c)
{
	return (c->flags & CONN_DURABLE) && c->durable != c->received && !conn_settled(c) &&
	       (conn_pool(c)->full || c->tcp->now_ns - c->waiting_ns >= TCP_STALL_NS);
}

static bool
newcomer(const struct conn *c)
{
	return !c->read_bytes && c->promised == c->received;
}

/* The window field, and what it promises. */
static uint16_t
window_for(struct conn *c, uint32_t ack)
{
	struct tcp *tcp = c->tcp;
	const struct tcp_pool *pool = conn_pool(c);
	if (c->flags & CONN_SHUT)
		return 0;
	if (c->flags & CONN_FIN_GIVEN)	/* nothing can come any more */
		return (uint16_t)(65535u >> tcp->shift);
	if (c->window_use >= c->window_target && c->window_target < tcp->window_bound) {
		c->window_target *= 2;
		c->window_use = 0;
	}
	uint32_t target = c->flags & CONN_UNSCALED && c->window_target > 65535 ? 65535 : c->window_target, unread = c->received - c->read;
	if (tcp->user->room && c->stream) {
		uint32_t room = tcp->user->room(c->stream);
		target = target < room ? target : room;
	}
	target = target > unread ? target - unread : 0;
	uint32_t open = seq_lt(c->received, c->promised) ? c->promised - c->received : 0;
	uint32_t grow = target > open ? target - open : 0, least = c->mss < target / 2 ? c->mss : target / 2;
	uint64_t left = pool_left(pool, pool->budget / NEWCOMERS_SHARE);
	bool others = pool->starved_head != 0, turn = c->flags & CONN_TURN;
	c->flags &= ~(uint32_t)CONN_TURN;
	/* One that has not begun gets its first segment out of what is kept for it. More for those that send would be slivers: they wait for a whole share. */
	bool first = newcomer(c) && (left < c->mss || others) && pool_left(pool, 0) >= c->mss;
	uint32_t share = target < TCP_WINDOW_IDLE ? target : TCP_WINDOW_IDLE;
	if (first)
		left = c->mss;
	else if (others) {
		/* While some wait for a share nobody has more, and only whose turn it is: those that have much would fill it up again with each
		 * segment that comes, and those that wait would do so for ever. */
		grow = share > open ? share - open : 0;
		if (!turn)
			left = 0;
	}
	bool cut = grow > left, whole = first || (turn && !cut);	/* whole: all that it waited for */
	if (cut)
		grow = (uint32_t)left;
	if (grow < least && !whole)	/* a whole segment or half of the target: no silly window */
		grow = 0;
	if (grow)
		conn_promise(c, c->received + open + grow);
	/* Long segments: half a share may hold none. */
	if (cut && !first && (share >= open + grow + least || (open + grow < c->mss && share >= c->mss)))
		conn_starve(c);
	if (target == 0)
		c->flags |= CONN_WINDOW_SMALL;
	else
		c->flags &= ~(uint32_t)CONN_WINDOW_SMALL;
	uint32_t window = seq_lt(ack, c->promised) ? c->promised - ack : 0;
	uint32_t shift = c->flags & CONN_UNSCALED ? 0 : tcp->shift, most = 65535u << shift;
	if (window > most)
		window = most;
	return (uint16_t)(window >> shift);
}

bool
conn_emit(struct conn *c, uint8_t flags, uint32_t seq, uint32_t len)
{
	struct tcp *tcp = c->tcp;
	struct net *net = tcp->net;
	struct frame frame;
	struct address from = { .port = c->own_port }, to = { .port = c->peer_port };
	memcpy(from.ip, c->own_ip, 16);
	memcpy(to.ip, c->peer_ip, 16);
	bool v4 = address_is_v4(&to);
	uint32_t room, ip_bytes = v4 ? IP4_BYTES : IP6_BYTES;
	uint8_t *ip = net_begin(net, &frame, c->peer_mac, v4 ? ETH_IP4 : ETH_IP6, &room);
	if (!ip)
		return false;
	uint8_t *p = ip + ip_bytes, *option = p + TCP_BYTES;
	uint32_t ack = conn_edge(c);
	if (c->flags & CONN_TS) {
		tcp_ts_put(option, conn_ts_now(c), c->ts_recent);
		option += TCP_TS_BYTES;
	}
	/* A hole is told about only when all before it may be acknowledged: else the peer takes the part in order for lost. But the beginning of a
	 * frame may wait for what is in the hole; it is sent again with it then. */
	if ((c->flags & CONN_SACK) && c->queue && !len && !(flags & TCP_RST) && conn_settled(c)) {
		uint32_t blocks[4][2], n = queue_sack(c, blocks, c->flags & CONN_TS ? 3 : 4);
		if (n) {
			put32(option, 0x01010500u | (2 + 8 * n));
			option += 4;
		}
		for (uint32_t i = 0; i < n; i++, option += 8) {
			put32(option, blocks[i][0]);
			put32(option + 4, blocks[i][1]);
		}
	}
	uint32_t header = (uint32_t)(option - p);
	if (room < ip_bytes + header || len > room - ip_bytes - header)
		len = room - ip_bytes - header;
	if (len)
		send_copy(c, seq - c->una, p + header, len);
	uint16_t window = flags & TCP_RST ? 0 : window_for(c, ack);
	/* Whatever happened above: no byte is acknowledged that the user has not called durable, and no ACK goes back. */
	if (c->flags & CONN_DURABLE) {
		uint32_t durable = c->irs + 1 + (uint32_t)c->durable_bytes;
		assert(ack == durable || (ack == durable + 1 && (c->flags & CONN_FIN_GIVEN) && durable == c->fin_seq));
	}
	assert(seq_le(c->ack_sent, ack) && seq_le(ack, c->received));
	tcp_header_put(p, c->own_port, c->peer_port, seq, ack, header, flags, window);
	tcp_checksum_put(p, header + len, &from, &to);
	if (v4) {
		ip4_header(net, ip, &from, &to, PROTO_TCP, 64, header + len);
		ip[6] = 0x40;	/* do not fragment: we listen to what routers answer */
		memset(ip + 10, 0, 2);
		uint16_t sum = csum_fold(csum_add(0, ip, IP4_BYTES));
		memcpy(ip + 10, &sum, 2);
	} else {
		ip6_header(ip, &from, &to, PROTO_TCP, 64, header + len);
	}
	net_end(net, &frame, ip_bytes + header + len);
	if (flags & TCP_RST) {
		counter_add(&tcp->counters.resets_sent, 1);
		return true;
	}
	counter_add(&tcp->counters.acks_sent, 1);
	if (!window)
		counter_add(&tcp->counters.window_zero, 1);
	c->ack_sent = ack;
	c->unacked_segments = 0;
	c->flags &= ~(uint32_t)(CONN_ACK_NOW | CONN_ACK_LATER);
	return true;
}

void
conn_challenge(struct conn *c)
{
	struct tcp *tcp = c->tcp;
	if (c->challenge_ns && tcp->now_ns - c->challenge_ns < CHALLENGE_NS)
		return;
	c->challenge_ns = tcp->now_ns ? tcp->now_ns : 1;
	counter_add(&tcp->counters.challenge_acks, 1);
	conn_ack_now(c);
}

static void
arm_rto(struct conn *c)
{
	uint32_t ms = c->rto_ms;
	for (uint32_t i = 0; i < c->retries && ms < RTO_MAX_MS; i++)
		ms *= 2;
	c->rto_tick = tcp_tick_in(c->tcp, (ms < RTO_MAX_MS ? ms : RTO_MAX_MS) * NS_PER_MS);
	conn_arm(c);
}

/* New data, then the FIN, as far as congestion and the peer's window let it. */
void
conn_output(struct conn *c)
{
	struct tcp *tcp = c->tcp;
	bool sent = false;
	uint32_t mss = c->mss - (c->flags & CONN_TS ? TCP_TS_BYTES : 0u);	/* RFC 6691: options come off */
	if (!conn_synchronized(c) || c->state == TCP_TIME_WAIT)
		return;
	for (;;) {
		uint32_t in_flight = c->nxt - c->una, window = c->peer_window < c->cwnd ? c->peer_window : c->cwnd;
		if (c->flags & CONN_FIN_SENT)
			break;
		uint32_t queued = c->send_bytes > in_flight ? c->send_bytes - in_flight : 0;
		uint32_t n = queued < mss ? queued : mss;
		if (n > (window > in_flight ? window - in_flight : 0)) {
			n = window > in_flight ? window - in_flight : 0;
			if (n < mss && in_flight)	/* wait for more window rather than send slivers */
				n = 0;
		}
		bool last = n == queued, finish = last && (c->flags & CONN_FINISH);
		if (!n && !finish)
			break;
		if (!conn_emit(c, (uint8_t)(TCP_ACK | (last ? TCP_PSH : 0) | (finish ? TCP_FIN : 0)), c->nxt, n)) {
			c->flags |= CONN_OUTPUT;	/* no buffer: again next turn */
			conn_list(c);
			break;
		}
		if (!(c->flags & CONN_TIMING) && c->nxt == c->max && n) {
			c->flags |= CONN_TIMING;
			c->rtt_seq = c->nxt + n;
			c->rtt_ns = tcp->now_ns;
		}
		c->nxt += n;
		if (finish) {
			c->nxt++;
			c->flags |= CONN_FIN_SENT;
			if (c->state == TCP_ESTABLISHED) {
				c->state = TCP_FIN_WAIT_1;
			} else if (c->state == TCP_CLOSE_WAIT) {
				/* Did it bear the ACK of the peer's FIN? Else ours may be acknowledged before that ACK is sent, as if both
				 * had closed at once. */
				c->state = c->ack_sent == c->received ? TCP_LAST_ACK : TCP_CLOSING;
			}
		}
		if (seq_lt(c->max, c->nxt))
			c->max = c->nxt;
		sent = true;
		if (!c->rto_tick)
			arm_rto(c);
	}
	/* Closed window and something to say: the timer becomes the persist timer. */
	if (!sent && c->nxt == c->una && c->send_bytes && !c->rto_tick)
		arm_rto(c);
}

void
conn_retransmit(struct conn *c)
{
	struct tcp *tcp = c->tcp;
	if (c->state == TCP_SYN_RECEIVED) {
		c->flags &= ~(uint32_t)CONN_TIMING;
		if (++c->retries > SYN_RETRIES_MAX) {
			counter_add(&tcp->counters.timeouts, 1);
			tcp_conn_free(c);
			return;
		}
		c->flags |= CONN_OUTPUT;	/* tcp_turn sends the SYN-ACK */
		conn_list(c);
		arm_rto(c);
		return;
	}
	if (c->una == c->max && !c->send_bytes)
		return;
	bool probe = c->peer_window == 0 && c->una == c->nxt && c->send_bytes;	/* a FIN goes whatever the window */
	/* A peer that answers our probes may keep its window shut as long as the user above bears it; one that is silent may not, nor may one whose
	 * connection we have closed: nobody is left to bear it. */
	if (++c->retries > RETRIES_MAX && (tcp->now_ns - c->heard_ns > 2 * RTO_MAX_MS * NS_PER_MS || (c->flags & CONN_FINISH))) {
		counter_add(&tcp->counters.timeouts, 1);
		conn_emit(c, TCP_RST | TCP_ACK, c->nxt, 0);
		tcp_conn_gone(c, -ETIMEDOUT);
		return;
	}
	if (c->retries > RETRIES_MAX)
		c->retries = RETRIES_MAX;
	c->flags &= ~(uint32_t)CONN_TIMING;
	if (probe) {
		if (conn_emit(c, TCP_ACK | TCP_PSH, c->una, 1) && c->max == c->una)
			c->max = c->una + 1;
		arm_rto(c);
		return;
	}
	counter_add(&tcp->counters.retransmits, 1);
	uint32_t flight = c->max - c->una;
	c->ssthresh = flight / 2 > 2u * c->mss ? flight / 2 : 2u * c->mss;
	c->cwnd = c->mss;
	c->dup_acks = 0;
	c->recover = c->max;
	c->nxt = c->una;
	c->flags &= ~(uint32_t)CONN_FIN_SENT;	/* it goes again, behind the data */
	conn_output(c);
	arm_rto(c);
}

/* RST for a segment of nobody (RFC 9293 3.10.7.1), at most so many a second. */
void
tcp_reset_stranger(struct tcp *tcp, const struct segment *s)
{
	if (s->flags & TCP_RST)
		return;
	if (tcp->now_ns - tcp->stranger_ns >= NS_PER_S) {
		tcp->stranger_ns = tcp->now_ns;
		tcp->stranger_tokens = 1000;
	}
	if (!tcp->stranger_tokens)
		return;
	tcp->stranger_tokens--;
	struct net *net = tcp->net;
	const struct packet *packet = s->packet;
	struct frame frame;
	bool v4 = address_is_v4(&packet->to);
	uint32_t room, ip_bytes = v4 ? IP4_BYTES : IP6_BYTES;
	uint8_t *ip = net_begin(net, &frame, packet->from_mac, v4 ? ETH_IP4 : ETH_IP6, &room);
	if (!ip)
		return;
	uint8_t *p = ip + ip_bytes;
	uint32_t span = s->len + !!(s->flags & TCP_SYN) + !!(s->flags & TCP_FIN);
	if (s->flags & TCP_ACK)
		tcp_header_put(p, packet->to.port, packet->from.port, s->ack, 0, TCP_BYTES, TCP_RST, 0);
	else
		tcp_header_put(p, packet->to.port, packet->from.port, 0, s->seq + span, TCP_BYTES, TCP_RST | TCP_ACK, 0);
	tcp_checksum_put(p, TCP_BYTES, &packet->to, &packet->from);
	if (v4)
		ip4_header(net, ip, &packet->to, &packet->from, PROTO_TCP, 64, TCP_BYTES);
	else
		ip6_header(ip, &packet->to, &packet->from, PROTO_TCP, 64, TCP_BYTES);
	net_end(net, &frame, ip_bytes + TCP_BYTES);
	counter_add(&tcp->counters.resets_sent, 1);
}

bool
tcp_send_syn_ack(struct tcp *tcp, const struct packet *packet, const struct tcp_syn *syn, uint32_t iss, uint32_t irs, uint32_t ts, uint16_t window)
{
	struct net *net = tcp->net;
	struct frame frame;
	bool v4 = address_is_v4(&packet->to);
	uint32_t room, ip_bytes = v4 ? IP4_BYTES : IP6_BYTES;
	uint8_t *ip = net_begin(net, &frame, packet->from_mac, v4 ? ETH_IP4 : ETH_IP6, &room);
	if (!ip)
		return false;
	uint8_t *p = ip + ip_bytes;
	struct tcp_syn answer = { .mss = (uint16_t)(net->mtu - ip_bytes - TCP_BYTES), .shift = tcp->shift, .has_shift = syn->has_shift,
				  .has_sack = syn->has_sack, .has_ts = syn->has_ts, .ts_val = ts, .ts_ecr = syn->ts_val };
	uint32_t header = TCP_BYTES + tcp_syn_options(&answer, p + TCP_BYTES);
	tcp_header_put(p, packet->to.port, packet->from.port, iss, irs + 1, header, TCP_SYN | TCP_ACK, window);
	tcp_checksum_put(p, header, &packet->to, &packet->from);
	if (v4)
		ip4_header(net, ip, &packet->to, &packet->from, PROTO_TCP, 64, header);
	else
		ip6_header(ip, &packet->to, &packet->from, PROTO_TCP, 64, header);
	net_end(net, &frame, ip_bytes + header);
	return true;
}

/* The delayed ACK of received mode, and durable mode's at once: the commit was delay enough. */
void
conn_durable(struct conn *c, uint64_t offset)
{
	struct tcp *tcp = c->tcp;
	if (offset == c->durable_bytes)
		return;
	assert(offset > c->durable_bytes && offset <= c->read_bytes);
	c->durable += (uint32_t)(offset - c->durable_bytes);
	c->durable_bytes = offset;
	c->waiting_ns = tcp->now_ns;
	if (!(c->flags & CONN_DURABLE))
		return;
	c->flags &= ~(uint32_t)CONN_SHUT;
	conn_ack_now(c);
}

void
conn_resume(struct conn *c)
{
	if (c->flags & CONN_BUSY)
		return;
	uint32_t generation = c->generation;
	conn_feed(c);
	if (c->generation == generation && c->state != TCP_CLOSED && (c->flags & CONN_WINDOW_SMALL))
		conn_ack_now(c);
}

void
conn_ack_durable(struct conn *c, bool durable)
{
	if (durable)
		c->flags |= CONN_DURABLE;
}

void
conn_finish(struct conn *c)
{
	if (c->flags & CONN_FINISH)
		return;
	c->flags |= CONN_FINISH | CONN_OUTPUT;
	conn_list(c);
}

void
conn_reset(struct conn *c)
{
	c->stream = NULL;
	if (conn_synchronized(c) && c->state != TCP_TIME_WAIT)
		conn_emit(c, TCP_RST | TCP_ACK, c->nxt, 0);
	tcp_conn_free(c);
}

void
conn_addresses(const struct conn *c, struct address *from, struct address *to)
{
	memcpy(from->ip, c->peer_ip, 16);
	memcpy(to->ip, c->own_ip, 16);
	from->port = c->peer_port;
	to->port = c->own_port;
}

uint64_t
conn_received(const struct conn *c)
{
	return c->read_bytes;
}

static void
send_syn_ack(struct conn *c)
{
	struct packet packet = { .from_mac = c->peer_mac };
	conn_addresses(c, &packet.from, &packet.to);
	struct tcp_syn syn = { .has_shift = c->peer_shift != UINT8_MAX, .has_sack = c->flags & CONN_SACK, .has_ts = c->flags & CONN_TS,
			       .ts_val = c->ts_recent };
	uint32_t window = c->promised - c->received;
	if (!tcp_send_syn_ack(c->tcp, &packet, &syn, c->iss, c->irs, conn_ts_now(c), (uint16_t)(window < 65535 ? window : 65535)))
		return;
	c->flags &= ~(uint32_t)CONN_OUTPUT;
}

static void
turn_conn(struct conn *c)
{
	struct tcp *tcp = c->tcp;
	if (c->state == TCP_SYN_RECEIVED) {
		if (c->flags & CONN_OUTPUT)
			send_syn_ack(c);
		return;
	}
	if (c->flags & CONN_OUTPUT) {
		c->flags &= ~(uint32_t)CONN_OUTPUT;
		conn_output(c);
	}
	if (c->flags & CONN_ACK_NOW) {
		if (!conn_emit(c, TCP_ACK, c->nxt, 0))
			conn_list(c);
	} else if ((c->flags & CONN_ACK_LATER) && !c->ack_tick) {
		c->ack_tick = tcp_tick_in(tcp, DELAYED_ACK_NS);
		conn_arm(c);
	}
	if ((c->flags & (CONN_FIN_GIVEN | CONN_FIN_ACKED)) == (CONN_FIN_GIVEN | CONN_FIN_ACKED))
		conn_settle(c);	/* after the ACK has left */
}

static void
feed_starved(struct tcp *tcp, struct tcp_pool *pool)
{
	for (uint32_t n = 0; n < 64 && pool->starved_head; n++) {
		struct conn *c = conn_at(tcp, pool->starved_head);
		uint64_t given = (uint64_t)n * TCP_WINDOW_IDLE;		/* to those before it, when their ACKs go */
		if (pool_left(pool, pool->budget / NEWCOMERS_SHARE + given) <= TCP_WINDOW_IDLE && (!newcomer(c) || pool_left(pool, given) < tcp->net->mtu))
			break;
		conn_unlist(c);
		c->flags |= CONN_TURN;
		if (conn_synchronized(c))
			conn_ack_now(c);
	}
}

void
tcp_turn(struct tcp *tcp, uint64_t now_ns)
{
	tcp->now_ns = now_ns;
	if ((uint32_t)(now_ns >> TICK_SHIFT) != tcp->tick)
		tcp_wheel_run(tcp, now_ns);
	uint64_t promised = 0, idle = 0;
	bool much = false;
	for (struct tcp_pool *pool = tcp->pools; pool < tcp->pools + tcp->pool_count; pool++) {
		if (pool->starved_head)
			feed_starved(tcp, pool);
		much |= pool->promised > pool->budget / 2;
	}
	if (much)
		tcp_idle_look(tcp);
	uint32_t last = tcp->turn_tail;
	while (tcp->turn_head) {	/* those that list themselves again wait for the next turn */
		uint32_t index = tcp->turn_head;
		struct conn *c = conn_at(tcp, index);
		tcp->turn_head = c->turn_next;
		if (!tcp->turn_head)
			tcp->turn_tail = 0;
		c->flags &= ~(uint32_t)CONN_LISTED;
		if (c->state == TCP_CLOSED) {	/* freed while it was on the list */
			c->list_next = tcp->free_head;
			tcp->free_head = index;
		} else {
			turn_conn(c);
		}
		if (index == last)
			break;
	}
	for (struct tcp_pool *pool = tcp->pools; pool < tcp->pools + tcp->pool_count; pool++) {
		promised += pool->promised;
		idle += pool->promised_idle;
	}
	counter_set(&tcp->counters.promised, promised);
	counter_set(&tcp->counters.promised_idle, idle);
}
