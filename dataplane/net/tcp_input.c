/* tcp_input: the slow path: every segment that is not plain data in order. RFC 9293 3.10.7.4 with RFC 5961 and 7323.
 * Acceptability and reassembly go by `received`; what is answered goes by `durable` (docs/ack-path.md). */
#include <errno.h>

#include "dataplane/net/conn.h"

#define TIME_WAIT_NS (60 * NS_PER_S)
/* After the peer closed first. RFC 9293 forgets such a connection at once; but an ACK of ours that arrives late is answered by the peer's TIME-WAIT, and
 * the RST that nobody's segment gets would end that TIME-WAIT before its time (RFC 1337). */
#define LINGER_NS (2 * NS_PER_S)
#define PAWS_IDLE_NS (UINT64_C(24) * 86400 * NS_PER_S)

bool
conn_leave(struct conn *c)
{
	c->flags &= ~(uint32_t)CONN_BUSY;
	if (!(c->flags & CONN_DEAD))
		return true;
	c->flags &= ~(uint32_t)CONN_DEAD;
	tcp_conn_free(c);
	return false;
}

void
conn_time_wait(struct conn *c)
{
	struct tcp *tcp = c->tcp;
	bool passive = c->state == TCP_LAST_ACK;
	void *stream = c->stream;
	c->stream = NULL;
	conn_unlist(c);
	queue_free(c);
	c->state = TCP_TIME_WAIT;
	c->list_next = 0;
	c->list_prev = tcp->wait_tail;
	if (tcp->wait_tail)
		conn_at(tcp, tcp->wait_tail)->list_next = c->index;
	else
		tcp->wait_head = c->index;
	tcp->wait_tail = c->index;
	counter_set(&tcp->counters.time_wait, ++tcp->waiting);
	c->rto_tick = 0;
	c->life_tick = tcp_tick_in(tcp, passive ? LINGER_NS : TIME_WAIT_NS);
	conn_arm(c);
	if (stream)
		tcp->user->gone(stream, 0);
}

void
conn_settle(struct conn *c)
{
	if (!(c->flags & CONN_FIN_GIVEN) || !(c->flags & CONN_FIN_ACKED))
		return;
	if (conn_edge(c) != c->received) {
		/* A commit is due; or what is left will never be durable (what failed as TLS, a record without its end): the peer shall not take it for
		 * acknowledged, and the place is not kept for it. */
		if (conn_settled(c)) {
			conn_emit(c, TCP_RST | TCP_ACK, c->nxt, 0);
			tcp_conn_gone(c, -ECONNRESET);
		}
		return;
	}
	if (c->state != TCP_TIME_WAIT)
		conn_time_wait(c);
}

/* All bytes before the FIN are with the user. False: the connection is gone. */
static bool
give_fin(struct conn *c)
{
	struct tcp *tcp = c->tcp;
	conn_receive(c, 1);
	c->read++;
	conn_promise(c, c->received);
	c->flags |= CONN_FIN_GIVEN;
	conn_ack_now(c);
	if (c->state == TCP_ESTABLISHED)
		c->state = TCP_CLOSE_WAIT;
	else if (c->state == TCP_FIN_WAIT_1 || c->state == TCP_FIN_WAIT_2)
		c->state = TCP_CLOSING;
	if (c->stream) {
		conn_enter(c);
		tcp->user->finished(c->stream);
		if (!conn_leave(c))
			return false;
	}
	return true;	/* conn_settle comes at the end of the turn, after the ACK */
}

static bool
fin_due(struct conn *c)
{
	if (!(c->flags & CONN_FIN_SEEN) || (c->flags & CONN_FIN_GIVEN) || c->read != c->fin_seq || c->received != c->fin_seq)
		return true;
	return give_fin(c);
}

/* Hands bytes that `received` has passed to the user; *taken: how many went. False: the connection is gone. */
static bool
offer(struct conn *c, const uint8_t *bytes, uint32_t len, uint32_t *taken)
{
	struct tcp *tcp = c->tcp;
	*taken = len;
	c->read += len;
	c->read_bytes += len;	/* before the upcall: it may call conn_durable for what it takes */
	if (!c->stream)		/* nobody is there to read: let it pass */
		return true;
	conn_enter(c);
	uint32_t n = tcp->user->bytes(c->stream, bytes, len);
	assert(n <= len);
	c->read -= len - n;
	c->read_bytes -= len - n;
	*taken = n;
	assert(c->durable_bytes <= c->read_bytes);
	return conn_leave(c);
}

bool
conn_give(struct conn *c, const uint8_t *bytes, uint32_t len)
{
	struct tcp *tcp = c->tcp;
	if (conn_edge(c) == c->received)
		c->waiting_ns = tcp->now_ns;
	conn_receive(c, len);
	c->window_use += len;
	counter_add(&tcp->counters.segments, 1);
	counter_add(&tcp->counters.bytes, len);
	uint32_t taken;
	if (!offer(c, bytes, len, &taken))
		return false;
	if (taken == len)
		return true;
	/* The source takes no more now. What finds no chunk was never received. */
	uint32_t fresh;
	if (!queue_insert(c, c->read, bytes + taken, len - taken, &fresh)) {
		uint32_t lost = len - taken - fresh;
		conn_receive(c, -lost);
		counter_add(&tcp->counters.cut_short, 1);
	}
	return true;
}

void
conn_feed(struct conn *c)
{
	struct tcp *tcp = c->tcp;
	while (c->queue && c->read != c->received && seq_le(c->queue->seq, c->read)) {
		struct chunk *chunk = c->queue;
		uint32_t skip = c->read - chunk->seq, taken = 0;
		uint32_t len = chunk->len > skip ? chunk->len - skip : 0;
		if (len > c->received - c->read)
			len = c->received - c->read;
		/* The chunk leaves the queue for the upcall: it may end the connection. */
		if (len && !offer(c, chunk->bytes + chunk->at + skip, len, &taken))
			return;
		if (taken < len)
			return;
		if (chunk->len > skip + len)	/* cannot be: chunks behind `received` end there */
			break;
		c->queue = chunk->next;
		if (!c->queue)
			c->queue_tail = NULL;
		c->queue_chunks--;
		chunk_put(tcp, chunk);
	}
	fin_due(c);
}

/* A segment with nothing new. Bytes that wait for their commit get no answer while it is due; when it is late, one that shuts
 * the window: the peer then probes and does not count towards giving up. */
static void
answer_old(struct conn *c, const struct segment *s)
{
	struct tcp *tcp = c->tcp;
	uint32_t edge = conn_edge(c), end = s->seq + s->len + !!(s->flags & TCP_FIN);
	if (edge != c->received && seq_lt(edge, end) && s->len + !!(s->flags & TCP_FIN)) {
		if (!conn_stalled(c) && !(c->queue && conn_settled(c))) {
			counter_add(&tcp->counters.held, 1);
			if (c->flags & CONN_FIN_ACKED)
				conn_list(c);	/* conn_settle looks again */
			if (tcp->user->hurry && c->stream)
				tcp->user->hurry(c->stream);
			return;
		}
		if (conn_stalled(c))
			c->flags |= CONN_SHUT;
	} else if (conn_stalled(c)) {	/* a probe */
		c->flags |= CONN_SHUT;
	}
	conn_ack_now(c);
}

static void
measured(struct conn *c, uint64_t ns)
{
	uint32_t us = (uint32_t)(ns / NS_PER_US < 60000000 ? ns / NS_PER_US : 60000000);
	if (!c->srtt_us) {	/* RFC 6298 2 */
		c->srtt_us = us ? us : 1;
		c->rttvar_us = us / 2;
	} else {
		uint32_t off = us > c->srtt_us ? us - c->srtt_us : c->srtt_us - us;
		c->rttvar_us = (3 * c->rttvar_us + off) / 4;
		c->srtt_us = (7 * c->srtt_us + us) / 8;
		if (!c->srtt_us)
			c->srtt_us = 1;
	}
	uint32_t ms = (c->srtt_us + 4 * c->rttvar_us) / 1000;
	c->rto_ms = ms < 200 ? 200 : ms > 60000 ? 60000 : ms;
}

static void
cwnd_grow(struct conn *c, uint32_t acked)
{
	if (c->cwnd >= 1u << 20)
		return;
	if (c->cwnd < c->ssthresh)
		c->cwnd += acked < c->mss ? acked : c->mss;
	else
		c->cwnd += (uint32_t)c->mss * c->mss / c->cwnd ? (uint32_t)c->mss * c->mss / c->cwnd : 1;
}

/* The ACK field. False: the segment goes no further (or the connection is gone: state TCP_CLOSED or another generation). */
static bool
input_ack(struct conn *c, const struct segment *s)
{
	struct tcp *tcp = c->tcp;
	if (seq_lt(c->max, s->ack) || seq_lt(s->ack, c->una - (c->window_max ? c->window_max : 65535))) {	/* RFC 5961 5 */
		conn_challenge(c);
		return false;
	}
	uint32_t window = s->window << c->peer_shift;
	bool taken = seq_lt(c->una, s->ack);
	if (taken) {
		uint32_t acked = s->ack - c->una, data = acked < c->send_bytes ? acked : c->send_bytes;
		if ((c->flags & CONN_TIMING) && seq_le(c->rtt_seq, s->ack)) {
			c->flags &= ~(uint32_t)CONN_TIMING;
			measured(c, tcp->now_ns - c->rtt_ns);
		} else if (c->retries && (c->flags & CONN_TS) && s->has_ts && conn_ts_now(c) - s->ts_ecr < 60000) {
			/* Of what was sent again the echo tells which of them came (RFC 7323 4): else no sample is had where the loss is high. */
			measured(c, (conn_ts_now(c) - s->ts_ecr) * (uint64_t)NS_PER_MS);
		}
		bool fin = s->ack == c->max && (c->state == TCP_FIN_WAIT_1 || c->state == TCP_CLOSING || c->state == TCP_LAST_ACK) &&
			   acked == c->send_bytes + 1;
		send_free(c, data);
		c->una = s->ack;
		if (seq_lt(c->nxt, c->una))
			c->nxt = c->una;
		c->dup_acks = 0;
		c->retries = 0;
		c->rto_tick = 0;
		cwnd_grow(c, acked);
		if (fin)
			c->flags |= CONN_FIN_ACKED | CONN_FIN_SENT;
		c->flags |= CONN_OUTPUT;
		conn_list(c);	/* tcp_turn ends it if that was the last FIN */
		if (c->una != c->max) {
			c->rto_tick = tcp_tick_in(tcp, c->rto_ms * NS_PER_MS);
			conn_arm(c);
		}
		if (fin && c->state == TCP_FIN_WAIT_1) {
			c->state = TCP_FIN_WAIT_2;
			c->life_tick = tcp_tick_in(tcp, 60 * NS_PER_S);
			conn_arm(c);
		}
	} else if (s->ack == c->una && c->una != c->max && !s->len && window == c->peer_window && !(s->flags & TCP_FIN)) {
		if (++c->dup_acks == 3) {	/* fast retransmit: from the oldest on */
			counter_add(&tcp->counters.retransmits, 1);
			uint32_t flight = c->max - c->una;
			c->ssthresh = c->cwnd = flight / 2 > 2u * c->mss ? flight / 2 : 2u * c->mss;
			c->nxt = c->una;
			c->flags &= ~(uint32_t)(CONN_FIN_SENT | CONN_TIMING);
			c->flags |= CONN_OUTPUT;
			conn_list(c);
		}
	}
	if (seq_lt(c->wl1, s->seq) || (c->wl1 == s->seq && seq_le(c->wl2, s->ack))) {
		if (window > c->peer_window && c->send_bytes) {
			c->flags |= CONN_OUTPUT;
			conn_list(c);
		}
		c->peer_window = window;
		c->wl1 = s->seq;
		c->wl2 = s->ack;
		if (window > c->window_max)
			c->window_max = window;
	}
	if (c->una != s->ack || !c->stream || !tcp->user->sent)
		return true;
	conn_enter(c);
	tcp->user->sent(c->stream, taken || !c->send_bytes);
	return conn_leave(c);
}

/* Data that begins at or behind `received` and ends within the promise. DROP_NONE or why nothing of it was taken. *here: c lives. */
static enum drop
input_data(struct conn *c, uint32_t seq, const uint8_t *bytes, uint32_t len, bool *here)
{
	struct tcp *tcp = c->tcp;
	uint32_t before = c->received;
	if (seq == before && !c->queue) {
		*here = conn_give(c, bytes, len);
		if (!*here)
			return DROP_NONE;
		if (before == c->received)
			return DROP_TCP_NO_MEMORY;
	} else {
		uint32_t fresh;
		bool all = queue_insert(c, seq, bytes, len, &fresh);
		if (!fresh)
			return all ? DROP_TCP_DUPLICATE : DROP_TCP_NO_MEMORY;
		counter_add(&tcp->counters.segments, 1);
		counter_add(&tcp->counters.bytes, fresh);
		uint32_t reach = queue_reach(c, c->received);
		if (reach != c->received) {
			if (conn_edge(c) == c->received)
				c->waiting_ns = tcp->now_ns;
			c->window_use += reach - c->received;
			conn_receive(c, reach - c->received);
			uint32_t generation = c->generation;
			conn_feed(c);
			*here = c->generation == generation && c->state != TCP_CLOSED;
			if (!*here)
				return DROP_NONE;
		}
		if (seq != before) {
			counter_add(&tcp->counters.out_of_order, 1);
			c->sack_recent = seq;
			if (tcp->user->hurry && c->stream && conn_edge(c) != c->received)
				tcp->user->hurry(c->stream);
		} else if (c->queue && tcp->user->hurry && c->stream && conn_edge(c) != c->received) {
			tcp->user->hurry(c->stream);	/* a hole filled before another one */
		}
		/* One for each, not one a turn: where a segment was lost an ACK may be lost too. */
		if (conn_settled(c) && (seq == before || !conn_emit(c, TCP_ACK, c->nxt, 0)))
			conn_ack_now(c);
		return DROP_NONE;
	}
	if (!(c->flags & CONN_DURABLE)) {
		if (conn_ack_at_once(c))
			conn_ack_now(c);
		else
			c->flags |= CONN_ACK_LATER;
		conn_list(c);
	}
	return DROP_NONE;
}

static enum drop
input_time_wait(struct conn *c, const struct segment *s)
{
	struct tcp *tcp = c->tcp;
	bool newer = seq_lt(c->received, s->seq) || ((c->flags & CONN_TS) && s->has_ts && seq_lt(c->ts_recent, s->ts_val));
	if ((s->flags & (TCP_SYN | TCP_RST | TCP_ACK)) == TCP_SYN && newer) {	/* a new incarnation (RFC 6191) */
		struct address from, to;
		conn_addresses(c, &from, &to);
		uint32_t hash = c->hash;
		tcp_conn_free(c);
		return tcp_input_syn(tcp, s, hash, &from, &to);
	}
	if (s->flags & TCP_RST) {
		if (s->seq == c->received)
			tcp_conn_free(c);
		return DROP_NONE;
	}
	if (s->flags & TCP_FIN) {
		c->life_tick = tcp_tick_in(tcp, TIME_WAIT_NS);
		conn_ack_now(c);
	} else if (s->len || (s->flags & TCP_SYN)) {
		conn_challenge(c);
	}
	return DROP_NONE;
}

/* SYN-RECEIVED: false when *drop is the answer, true when the connection is established and the segment goes on. */
static bool
input_half_open(struct conn *c, const struct segment *s, enum drop *drop)
{
	struct tcp *tcp = c->tcp;
	*drop = DROP_NONE;
	if (s->flags & TCP_RST) {
		if (s->seq == c->received)
			tcp_conn_free(c);
		else
			*drop = DROP_TCP_WINDOW;
		return false;
	}
	if (s->flags & TCP_SYN) {
		if (s->seq == c->irs && !(s->flags & TCP_ACK)) {	/* ours was lost: again, but not for each of a flood */
			if (tcp->now_ns - c->heard_ns >= NS_PER_S / 5) {
				struct tcp_syn syn;
				tcp_syn_parse(s->options, s->options_bytes, &syn);
				c->ts_recent = syn.ts_val;	/* of this one, or the peer measures a round trip of seconds */
				c->flags &= ~(uint32_t)CONN_TIMING;
				c->heard_ns = tcp->now_ns;
				c->flags |= CONN_OUTPUT;
				conn_list(c);
			}
		} else {
			conn_challenge(c);
			c->flags &= ~(uint32_t)CONN_ACK_NOW;
			c->flags |= CONN_OUTPUT;
		}
		return false;
	}
	if (!(s->flags & TCP_ACK)) {
		*drop = DROP_TCP_FLAGS;
		return false;
	}
	if (s->ack != c->iss + 1) {
		tcp_reset_stranger(tcp, s);
		*drop = DROP_TCP_ACK;
		return false;
	}
	if (seq_lt(s->seq, c->received) || seq_lt(c->promised + 1, s->seq)) {
		*drop = DROP_TCP_WINDOW;
		return false;
	}
	if (!conn_establish(c))
		return false;
	if (c->flags & CONN_TIMING)
		measured(c, tcp->now_ns - c->rtt_ns);
	c->flags &= ~(uint32_t)CONN_TIMING;
	c->peer_window = c->window_max = s->window << c->peer_shift;
	c->wl1 = s->seq;
	c->wl2 = s->ack;
	return true;
}

enum drop
conn_input(struct conn *c, const struct segment *s, bool *taken)
{
	struct tcp *tcp = c->tcp;
	enum drop drop;
	*taken = false;
	if (c->state == TCP_TIME_WAIT)
		return input_time_wait(c, s);
	if (c->state == TCP_SYN_RECEIVED && !input_half_open(c, s, &drop))
		return drop;

	uint32_t seq = s->seq, len = s->len, end = seq + len;
	bool fin = s->flags & TCP_FIN;
	/* Not of a SYN: a peer that began anew counts from anywhere, and only a challenge ACK tells it that the old connection still stands here. */
	if ((c->flags & CONN_TS) && !(s->flags & (TCP_RST | TCP_SYN))) {
		if (!s->has_ts)
			return DROP_TCP_PAWS;
		if (!(c->flags & CONN_RESUMED) && seq_lt(s->ts_val, c->ts_recent) && tcp->now_ns - c->ts_recent_ns < PAWS_IDLE_NS) {
			if (len || fin)
				answer_old(c, s);
			return DROP_TCP_PAWS;
		}
	}
	if (s->flags & TCP_RST) {
		/* Exact at either edge: the peer's own stands at what it sent, its answer to an ACK of ours at what we acknowledged. */
		if (seq == c->received || seq == conn_edge(c) || seq == c->ack_sent) {
			counter_add(&tcp->counters.resets_received, 1);
			tcp_conn_gone(c, -ECONNRESET);
			return DROP_NONE;
		}
		if (seq_lt(c->ack_sent, seq) && seq_lt(seq, c->promised))
			conn_challenge(c);
		return DROP_TCP_WINDOW;
	}
	if (s->flags & TCP_SYN) {
		conn_challenge(c);
		return DROP_TCP_FLAGS;
	}
	if (!(s->flags & TCP_ACK))
		return DROP_TCP_FLAGS;

	/* Acceptable by `received`? A FIN past the promise is let in when it comes next: it needs no memory. */
	uint32_t open = seq_lt(c->received, c->promised) ? c->promised - c->received : 0;
	uint32_t span = len + fin;
	bool inside = span == 0 ? seq == c->received || (seq_lt(c->received, seq) && seq_lt(seq, c->received + open))
				: seq_lt(seq, c->received + open + (fin && !len)) && seq_lt(c->received, end + fin);
	if (!inside) {
		bool old = span ? seq_le(end + fin, c->received) : seq_lt(seq, c->received);
		if (old && (c->flags & CONN_RESUMED))	/* its card may be another one by now */
			memcpy(c->peer_mac, s->packet->from_mac, 6);
		if (old && span && (c->flags & CONN_TS) && seq_le(seq, c->ack_sent)) {
			c->ts_recent = s->ts_val;
			c->ts_recent_ns = tcp->now_ns;
			c->flags &= ~(uint32_t)CONN_RESUMED;
		}
		if (old && span && len)
			counter_add(&tcp->counters.duplicates, 1);
		/* What an old segment acknowledges is as true as ever; its data is not looked at. */
		uint32_t generation = c->generation;
		if (old && !input_ack(c, s) && (c->generation != generation || c->state == TCP_CLOSED))
			return DROP_NONE;
		if (c->generation == generation && c->state != TCP_CLOSED) {
			if (old)
				c->heard_ns = tcp->now_ns;
			answer_old(c, s);
		}
		return !span ? DROP_NONE : old ? DROP_TCP_DUPLICATE : DROP_TCP_WINDOW;
	}
	c->heard_ns = tcp->now_ns;
	memcpy(c->peer_mac, s->packet->from_mac, 6);
	/* Last.ACK.sent stands at `durable`; where a frame waits for what is in a hole, the segment that fills it is as good: the echo of an older
	 * one would make the peer think its round trip took as long as the loss. */
	if (c->flags & CONN_RESUMED) {	/* any will do: an echo of none measures nothing */
		c->flags &= ~(uint32_t)CONN_RESUMED;
		c->ts_recent = s->ts_val;
		c->ts_recent_ns = tcp->now_ns;
	}
	if ((c->flags & CONN_TS) && seq_le(c->ts_recent, s->ts_val) &&
	    (seq_le(seq, c->ack_sent) || (c->queue && seq_le(seq, c->received) && conn_settled(c)))) {
		c->ts_recent = s->ts_val;
		c->ts_recent_ns = tcp->now_ns;
	}
	if (!input_ack(c, s))
		return DROP_TCP_ACK;
	if (c->flags & CONN_FIN_GIVEN)	/* nothing can stand behind a FIN */
		return len ? DROP_TCP_WINDOW : DROP_NONE;

	/* Cut to what is new and promised. */
	if (seq_lt(seq, c->received) && len) {
		uint32_t cut = c->received - seq < len ? c->received - seq : len;
		seq += cut;
		len -= cut;
	}
	uint32_t skip = s->len - len;
	if (seq_lt(c->received + open, seq + len)) {
		len = c->received + open - seq;
		fin = false;
	}
	/* A FIN in front of bytes that are here already: the peer contradicts itself, the bytes came first. */
	if (fin && c->queue && seq_lt(seq + len, c->queue_tail->seq + c->queue_tail->len))
		fin = false;
	if (fin && !(c->flags & CONN_FIN_SEEN)) {
		c->flags |= CONN_FIN_SEEN;
		c->fin_seq = seq + len;
	}
	if ((c->flags & CONN_FIN_SEEN) && seq_lt(c->fin_seq, seq + len))
		return DROP_TCP_WINDOW;
	drop = DROP_NONE;
	bool here = true;
	if (len) {
		drop = input_data(c, seq, s->data + skip, len, &here);
		*taken = drop == DROP_NONE;
	}
	if (here)
		fin_due(c);
	return drop;
}
