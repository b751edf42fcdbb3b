/* tcp_listen: from SYN to an established connection; with too many half open, by cookies that keep no state. */
#include "dataplane/net/conn.h"

#define COOKIE_PERIOD_NS (64 * NS_PER_S)
#define COOKIE_PERIODS 2		/* a cookie is good in its own period and the next */

/* Cookie: 5 bits of the period, 3 of the peer's segment size, 24 of a hash. */
static const uint16_t cookie_mss[8] = { 216, 536, 1220, 1360, 1440, 1460, 4312, 8960 };

struct tuple {
	uint8_t from[16], to[16];
	uint16_t ports[2];
	uint32_t irs, extra;
};

static uint64_t
sip(const struct tcp *tcp, const struct address *from, const struct address *to, uint32_t irs, uint32_t extra)
{
	struct tuple tuple = { .ports = { from->port, to->port }, .irs = irs, .extra = extra };
	memcpy(tuple.from, from->ip, 16);
	memcpy(tuple.to, to->ip, 16);
	return tcp_sip(tcp->secret, &tuple, sizeof tuple);
}

static uint32_t
cookie_make(const struct tcp *tcp, const struct address *from, const struct address *to, uint32_t irs, uint32_t period, uint32_t mss_index)
{
	return (period & 31) << 27 | mss_index << 24 | ((uint32_t)sip(tcp, from, to, irs, (period << 3 | mss_index) + 1) & 0xffffff);
}

static uint32_t
ts_offset_of(const struct tcp *tcp, const struct address *from, const struct address *to)
{
	return (uint32_t)sip(tcp, from, to, 0, UINT32_MAX);
}

/* What a cookie has no room for stands in the low bits of the timestamp the peer echoes: shift (15: none), SACK, and a one. */
static uint32_t
cookie_ts(uint32_t now, const struct tcp_syn *syn)
{
	uint32_t bits = (syn->has_shift ? syn->shift : 15u) | (syn->has_sack ? 16 : 0) | 32;
	uint32_t ts = (now & ~63u) | bits;
	return seq_lt(now, ts) ? ts - 64 : ts;
}

static uint16_t
peer_mss(const struct tcp *tcp, uint16_t said, bool v4)
{
	uint32_t own = tcp->net->mtu - (v4 ? IP4_BYTES : IP6_BYTES) - TCP_BYTES;
	uint32_t mss = said ? said : v4 ? 536 : 1220;
	if (mss < 64)
		mss = 64;
	return (uint16_t)(mss < own ? mss : own);
}

void
conn_init(struct conn *c, const struct packet *packet, uint32_t irs, uint32_t iss, uint16_t mss, uint32_t ts_offset)
{
	struct tcp *tcp = c->tcp;
	struct address from, to;
	conn_addresses(c, &from, &to);
	c->pool = (uint8_t)(tcp->user->pool ? tcp->user->pool(tcp->context, &to) : 0);
	assert(c->pool < TCP_POOLS);
	memcpy(c->peer_mac, packet->from_mac, 6);
	c->irs = irs;
	c->received = c->read = c->durable = c->ack_sent = c->promised = irs + 1;
	c->iss = iss;
	c->una = iss;
	c->nxt = c->max = iss + 1;
	c->mss = mss;
	c->cwnd = 10u * mss;
	c->ssthresh = UINT32_MAX;
	c->rto_ms = 1000;
	c->ts_offset = ts_offset;
	c->heard_ns = c->waiting_ns = tcp->now_ns;
	c->window_target = TCP_WINDOW_IDLE < tcp->window_bound ? TCP_WINDOW_IDLE : tcp->window_bound;
}

/* The first promise: 16 KiB, one segment when memory is promised to a quarter, nothing when all is, what is kept for newcomers included. */
static void
promise_first(struct conn *c)
{
	struct tcp *tcp = c->tcp;
	const struct tcp_pool *pool = conn_pool(c);
	uint64_t left = pool_left(pool, 0);
	uint32_t window = left > pool->budget - pool->budget / 4 ? c->window_target : tcp->net->mtu;
	if (window > left)
		window = 0;
	if (!window)
		conn_starve(c);
	conn_promise(c, c->received + window);
}

static enum drop
send_cookie(struct tcp *tcp, const struct segment *s, const struct address *from, const struct address *to, const struct tcp_syn *syn)
{
	uint32_t i = 7, period = (uint32_t)(tcp->now_ns / COOKIE_PERIOD_NS);
	uint16_t mss = peer_mss(tcp, syn->mss, address_is_v4(from));
	while (i && cookie_mss[i] > mss)
		i--;
	uint32_t now = (uint32_t)(tcp->now_ns / NS_PER_MS) + ts_offset_of(tcp, from, to);
	tcp_send_syn_ack(tcp, s->packet, syn, cookie_make(tcp, from, to, s->seq, period, i), s->seq, cookie_ts(now, syn),
			 TCP_WINDOW_IDLE);
	tcp->cookie_ns = tcp->now_ns;
	counter_add(&tcp->counters.cookies_sent, 1);
	return DROP_NONE;
}

enum drop
tcp_input_syn(struct tcp *tcp, const struct segment *s, uint32_t hash, const struct address *from, const struct address *to)
{
	void *listener;
	enum drop drop = tcp->user->listen(tcp->context, from, to, &listener);
	if (drop != DROP_NONE) {
		if (drop != DROP_SENDER_NOT_ALLOWED)
			tcp_reset_stranger(tcp, s);
		return drop;
	}
	struct tcp_syn syn;
	tcp_syn_parse(s->options, s->options_bytes, &syn);
	if (tcp->half_open >= tcp->half_open_max)
		return send_cookie(tcp, s, from, to, &syn);
	struct conn *c = tcp_conn_new(tcp, hash, from, to);
	if (!c)
		return DROP_TCP_NO_ROOM;
	uint32_t iss = (uint32_t)sip(tcp, from, to, 0, 0) + (uint32_t)(tcp->now_ns >> 12);	/* RFC 6528, ticks of 4 us */
	conn_init(c, s->packet, s->seq, iss, peer_mss(tcp, syn.mss, address_is_v4(from)), ts_offset_of(tcp, from, to));
	c->state = TCP_SYN_RECEIVED;
	counter_set(&tcp->counters.half_open, ++tcp->half_open);
	counter_add(&tcp->counters.opened, 1);
	c->peer_shift = syn.has_shift ? syn.shift : UINT8_MAX;
	c->peer_window = s->window;
	c->flags |= (syn.has_sack ? CONN_SACK : 0) | (syn.has_ts ? CONN_TS : 0) | CONN_OUTPUT | CONN_TIMING;
	c->rtt_ns = tcp->now_ns;
	c->ts_recent = syn.ts_val;
	c->ts_recent_ns = tcp->now_ns;
	promise_first(c);
	conn_list(c);
	c->rto_tick = tcp_tick_in(tcp, NS_PER_S);
	c->life_tick = tcp_tick_in(tcp, tcp->half_open_ns);
	conn_arm(c);
	return DROP_NONE;
}

struct conn *
tcp_cookie_ack(struct tcp *tcp, const struct segment *s, uint32_t hash, const struct address *from, const struct address *to)
{
	if (!tcp->cookie_ns || tcp->now_ns - tcp->cookie_ns > COOKIE_PERIODS * COOKIE_PERIOD_NS || (s->flags & (TCP_SYN | TCP_RST)) ||
	    !(s->flags & TCP_ACK))
		return NULL;
	uint32_t cookie = s->ack - 1, irs = s->seq - 1, now = (uint32_t)(tcp->now_ns / COOKIE_PERIOD_NS);
	uint32_t mss_index = cookie >> 24 & 7, period = now - ((now - (cookie >> 27)) & 31);
	if (now - period >= COOKIE_PERIODS || cookie_make(tcp, from, to, irs, period, mss_index) != cookie) {
		counter_add(&tcp->counters.cookies_bad, 1);
		return NULL;
	}
	struct conn *c = tcp_conn_new(tcp, hash, from, to);
	if (!c)
		return NULL;
	conn_init(c, s->packet, irs, cookie, cookie_mss[mss_index], ts_offset_of(tcp, from, to));
	c->state = TCP_SYN_RECEIVED;
	counter_set(&tcp->counters.half_open, ++tcp->half_open);
	c->peer_shift = UINT8_MAX;
	if (s->has_ts && (s->ts_ecr & 32)) {
		c->flags |= CONN_TS | (s->ts_ecr & 16 ? CONN_SACK : 0);
		c->ts_recent = s->ts_val;
		c->ts_recent_ns = tcp->now_ns;
		if ((s->ts_ecr & 15) != 15)
			c->peer_shift = s->ts_ecr & 15;
	}
	conn_promise(c, c->received + TCP_WINDOW_IDLE);	/* the cookie said so */
	counter_add(&tcp->counters.cookies_good, 1);
	return c;
}

bool
conn_establish(struct conn *c)
{
	struct tcp *tcp = c->tcp;
	struct address from, to;
	void *listener, *stream = NULL;
	conn_addresses(c, &from, &to);
	c->state = TCP_ESTABLISHED;
	counter_set(&tcp->counters.half_open, --tcp->half_open);
	if (c->peer_shift == UINT8_MAX) {	/* no scaling: neither side's */
		c->peer_shift = 0;
		c->flags |= CONN_UNSCALED;
	}
	c->una = c->iss + 1;
	c->retries = 0;
	c->rto_tick = 0;
	c->life_tick = tcp_tick_in(tcp, tcp->keepalive_ns);
	conn_arm(c);
	if (tcp->user->listen(tcp->context, &from, &to, &listener) == DROP_NONE) {
		conn_enter(c);
		stream = tcp->user->accept(tcp->context, c, listener);
		c->flags &= ~(uint32_t)CONN_BUSY;
	}
	if (!stream || (c->flags & CONN_DEAD)) {
		counter_add(&tcp->counters.refused, 1);
		c->flags &= ~(uint32_t)CONN_DEAD;
		conn_reset(c);
		return false;
	}
	c->stream = stream;
	if (c->promised == c->received) {	/* the SYN-ACK shut the window */
		if (pool_left(conn_pool(c), 0) >= tcp->net->mtu)
			conn_ack_now(c);
		else
			conn_starve(c);
	}
	counter_add(&tcp->counters.accepted, 1);
	return true;
}
