/* tcp_resume: a connection of an earlier process goes on: to its peer the restart was a long packet loss. */
#include "dataplane/net/conn.h"

#define SAME_BOOT_NS (10 * NS_PER_S)	/* the two clocks may have drifted so far apart */

void
conn_save(const struct conn *c, uint64_t wall_ns, struct tcp_resume *r)
{
	const struct tcp *tcp = c->tcp;
	memset(r, 0, sizeof *r);
	r->irs = c->irs;
	r->iss = c->iss;
	r->ts_offset = c->ts_offset;
	r->mono_ns = tcp->now_ns;
	r->wall_ns = wall_ns;
	r->mss = c->mss;
	r->peer_shift = c->peer_shift;
	r->own_shift = tcp->shift;
	r->options = (uint8_t)((c->flags & CONN_TS ? 1 : 0) | (c->flags & CONN_SACK ? 2 : 0) | (c->flags & CONN_UNSCALED ? 4 : 0));
	memcpy(r->peer_mac, c->peer_mac, 6);
}

struct conn *
tcp_resume(struct tcp *tcp, const struct address *from, const struct address *to, const struct tcp_resume *r, uint64_t offset, void *stream,
	   uint64_t now_ns, uint64_t wall_ns)
{
	tcp->now_ns = now_ns;
	uint32_t hash = tcp_hash(tcp, from, to);
	if (r->own_shift != tcp->shift || tcp_find(tcp, hash, from, to))
		return NULL;
	struct conn *c = tcp_conn_new(tcp, hash, from, to);
	if (!c)
		return NULL;
	/* Timestamps go on where they were, on another boot's clock by wall time: none may lie before one that was sent. */
	uint64_t passed_ns = wall_ns > r->wall_ns ? wall_ns - r->wall_ns : 0, expected_ns = r->mono_ns + passed_ns;
	uint64_t off_ns = expected_ns > now_ns ? expected_ns - now_ns : now_ns - expected_ns;
	uint32_t ts_offset = r->ts_offset;
	if (off_ns > SAME_BOOT_NS)
		ts_offset += (uint32_t)(expected_ns / NS_PER_MS) + 1000 - (uint32_t)(now_ns / NS_PER_MS);
	struct packet packet = { .from_mac = r->peer_mac };
	conn_init(c, &packet, r->irs, r->iss, r->mss, ts_offset);
	c->received = c->read = c->durable = c->ack_sent = c->promised = r->irs + 1 + (uint32_t)offset;
	c->read_bytes = c->durable_bytes = offset;
	c->una = r->iss + 1;
	c->peer_shift = r->peer_shift;
	c->flags |= CONN_DURABLE | CONN_RESUMED | (r->options & 1 ? CONN_TS : 0) | (r->options & 2 ? CONN_SACK : 0) |
		    (r->options & 4 ? CONN_UNSCALED : 0);
	c->state = TCP_ESTABLISHED;
	c->stream = stream;
	/* With the first credit it is told where we stand, and with which window. */
	conn_starve(c);
	c->life_tick = tcp_tick_in(tcp, tcp->keepalive_ns);
	conn_arm(c);
	counter_add(&tcp->counters.resumed, 1);
	return c;
}

void
conn_leave_open(struct conn *c)
{
	c->stream = NULL;
	tcp_conn_free(c);
}

bool
tcp_knows(struct tcp *tcp, const struct address *from, const struct address *to)
{
	return tcp_find(tcp, tcp_hash(tcp, from, to), from, to) != NULL;
}
