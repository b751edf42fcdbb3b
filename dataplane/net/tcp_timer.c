/* tcp_timer: a wheel of four levels with one timer for each connection. The timer stands at the earliest of the connection's
 * ticks as of when it was armed; a tick that moved later is found out when it fires. */
#include <errno.h>

#include "dataplane/net/conn.h"

uint32_t
tcp_tick_in(const struct tcp *tcp, uint64_t ns)
{
	uint32_t tick = (uint32_t)((tcp->now_ns + ns) >> TICK_SHIFT) + 1;
	return tick ? tick : 1;
}

void
conn_disarm(struct conn *c)
{
	if (c->wheel_slot == WHEEL_NONE)
		return;
	struct tcp *tcp = c->tcp;
	if (c->wheel_prev)
		conn_at(tcp, c->wheel_prev)->wheel_next = c->wheel_next;
	else
		tcp->wheel[c->wheel_slot / WHEEL_SLOTS][c->wheel_slot % WHEEL_SLOTS] = c->wheel_next;
	if (c->wheel_next)
		conn_at(tcp, c->wheel_next)->wheel_prev = c->wheel_prev;
	c->wheel_slot = WHEEL_NONE;
	tcp->armed--;
}

static void
insert(struct conn *c, uint32_t tick)
{
	struct tcp *tcp = c->tcp;
	uint32_t delta = tick - tcp->tick, level = 0;
	if ((int32_t)delta < 0) {
		delta = 0;
		tick = tcp->tick;
	}
	while (level < WHEEL_LEVELS - 1 && delta >> (6 * (level + 1)))
		level++;
	if (delta >> (6 * WHEEL_LEVELS))
		tick = tcp->tick + (1u << (6 * WHEEL_LEVELS)) - 1;
	uint32_t slot = tick >> (6 * level) & (WHEEL_SLOTS - 1);
	uint32_t *head = &tcp->wheel[level][slot];
	c->wheel_slot = (uint16_t)(level * WHEEL_SLOTS + slot);
	c->wheel_prev = 0;
	c->wheel_next = *head;
	if (*head)
		conn_at(tcp, *head)->wheel_prev = c->index;
	*head = c->index;
	c->armed_tick = tick;
	tcp->armed++;
}

static uint32_t
earliest(const struct conn *c)
{
	uint32_t tick = c->ack_tick;
	if (c->rto_tick && (!tick || seq_lt(c->rto_tick, tick)))
		tick = c->rto_tick;
	if (c->life_tick && (!tick || seq_lt(c->life_tick, tick)))
		tick = c->life_tick;
	return tick;
}

void
conn_arm(struct conn *c)
{
	uint32_t tick = earliest(c);
	if (!tick || (c->wheel_slot != WHEEL_NONE && seq_le(c->armed_tick, tick)))
		return;
	conn_disarm(c);
	if (!c->tcp->armed && !c->tcp->wheel_runs)	/* nothing was looked for in between */
		c->tcp->tick = (uint32_t)(c->tcp->now_ns >> TICK_SHIFT);
	insert(c, seq_le(tick, c->tcp->tick) ? c->tcp->tick + 1 : tick);
}

/* Silence, or the end of a state that lasts only so long. */
static void
life_due(struct conn *c)
{
	struct tcp *tcp = c->tcp;
	c->life_tick = 0;
	switch (c->state) {
	case TCP_SYN_RECEIVED:
		counter_add(&tcp->counters.timeouts, 1);
		tcp_conn_free(c);
		return;
	case TCP_TIME_WAIT:
		tcp_conn_free(c);
		return;
	case TCP_FIN_WAIT_2:
		counter_add(&tcp->counters.timeouts, 1);
		tcp_conn_gone(c, -ETIMEDOUT);
		return;
	}
	uint64_t silent_ns = tcp->now_ns - c->heard_ns;
	if (silent_ns < tcp->keepalive_ns) {
		c->retries = c->una == c->max ? 0 : c->retries;
		c->life_tick = tcp_tick_in(tcp, tcp->keepalive_ns - silent_ns);
		return;
	}
	if (silent_ns >= tcp->keepalive_ns + 9 * tcp->keepalive_ns / 8) {	/* nine probes */
		counter_add(&tcp->counters.timeouts, 1);
		conn_emit(c, TCP_RST | TCP_ACK, c->nxt, 0);
		tcp_conn_gone(c, -ETIMEDOUT);
		return;
	}
	conn_emit(c, TCP_ACK, c->una - 1, 0);
	c->life_tick = tcp_tick_in(tcp, tcp->keepalive_ns / 8);
}

static void
fire(struct conn *c)
{
	struct tcp *tcp = c->tcp;
	uint32_t now = tcp->tick, generation = c->generation;
	if (c->ack_tick && seq_le(c->ack_tick, now)) {
		c->ack_tick = 0;
		if (c->flags & CONN_ACK_LATER)
			conn_ack_now(c);
	}
	if (c->rto_tick && seq_le(c->rto_tick, now)) {
		c->rto_tick = 0;
		conn_retransmit(c);
		if (c->state == TCP_CLOSED || c->generation != generation)
			return;
	}
	if (c->life_tick && seq_le(c->life_tick, now)) {
		life_due(c);
		if (c->state == TCP_CLOSED || c->generation != generation)
			return;
	}
	conn_arm(c);
}

static uint32_t
take_slot(struct tcp *tcp, uint32_t level, uint32_t slot)
{
	uint32_t head = tcp->wheel[level][slot];
	tcp->wheel[level][slot] = 0;
	return head;
}

void
tcp_wheel_run(struct tcp *tcp, uint64_t now_ns)
{
	uint32_t until = (uint32_t)(now_ns >> TICK_SHIFT);
	tcp->wheel_runs = true;
	while (tcp->tick != until) {
		if (!tcp->armed) {
			tcp->tick = until;
			break;
		}
		tcp->tick++;
		/* What stood on a coarser level comes down when its time on this level begins. */
		for (uint32_t level = 1; level < WHEEL_LEVELS && (tcp->tick & ((1u << (6 * level)) - 1)) == 0; level++) {
			uint32_t index = take_slot(tcp, level, tcp->tick >> (6 * level) & (WHEEL_SLOTS - 1));
			while (index) {
				struct conn *c = conn_at(tcp, index);
				index = c->wheel_next;
				tcp->armed--;
				c->wheel_slot = WHEEL_NONE;
				insert(c, c->armed_tick);
			}
		}
		/* One at a time: firing one may free or arm any other. */
		uint32_t *head = &tcp->wheel[0][tcp->tick & (WHEEL_SLOTS - 1)];
		while (*head) {
			struct conn *c = conn_at(tcp, *head);
			conn_disarm(c);
			fire(c);
		}
	}
	tcp->wheel_runs = false;
}
