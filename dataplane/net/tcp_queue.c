/* tcp_queue: chunks of a fixed pool, the received bytes that wait in them (out of order, or not yet taken by the source), and
 * the replies that wait for their acknowledgement. */
#include <sys/mman.h>

#include "dataplane/net/conn.h"

bool
tcp_chunks_init(struct tcp *tcp, uint32_t count)
{
	tcp->chunks = mmap(NULL, (size_t)count * sizeof *tcp->chunks, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (tcp->chunks == MAP_FAILED)
		return false;
	tcp->chunk_count = count;
	tcp->chunks_kept = count / 8;	/* for replies and bytes in order */
	return true;
}

struct chunk *
chunk_get(struct tcp *tcp, bool urgent)
{
	if (tcp->chunks_used + (urgent ? 0 : tcp->chunks_kept) >= tcp->chunk_count)
		return NULL;
	struct chunk *chunk = tcp->chunk_free;
	if (chunk)
		tcp->chunk_free = chunk->next;
	else
		chunk = &tcp->chunks[tcp->chunk_fresh++];
	counter_set(&tcp->counters.chunks_used, ++tcp->chunks_used);
	chunk->next = NULL;
	chunk->at = chunk->len = 0;
	return chunk;
}

void
chunk_put(struct tcp *tcp, struct chunk *chunk)
{
	chunk->next = tcp->chunk_free;
	tcp->chunk_free = chunk;
	counter_set(&tcp->counters.chunks_used, --tcp->chunks_used);
}

static uint32_t
chunk_end(const struct chunk *chunk)
{
	return chunk->seq + chunk->len;
}

/* Gives up the chunk farthest behind the hole at `received`, for bytes that fill it: else a connection whose chunks are used up by what it cannot read yet
 * would stand still for ever. Nothing of it was acknowledged; what SACK said of it a peer must not rely on (RFC 2018 8). False: there is none behind `seq`. */
static __attribute__((cold)) bool
renege(struct conn *c, uint32_t seq)
{
	struct chunk *tail = c->queue_tail, *before = NULL;
	if (!tail || seq_le(tail->seq, seq))
		return false;
	for (struct chunk *p = c->queue; p != tail; p = p->next)
		before = p;
	*(before ? &before->next : &c->queue) = NULL;
	c->queue_tail = before;
	c->queue_chunks--;
	chunk_put(c->tcp, tail);
	counter_add(&c->tcp->counters.reneged, 1);
	return true;
}

/* Bytes for the gap between `before` (NULL: none) and what follows it. Returns how many found room; *last: the chunk they end in.
 * in_order: from `received` on; chunks behind them may go for them. */
static uint32_t
fill(struct conn *c, struct chunk *before, uint32_t seq, const uint8_t *bytes, uint32_t len, bool in_order, struct chunk **last)
{
	uint32_t done = 0;
	*last = before;
	while (done < len) {
		struct chunk *to = *last;
		if (!to || chunk_end(to) != seq + done || to->at + to->len == CHUNK_BYTES) {
			struct chunk *fresh = c->queue_chunks < c->tcp->queue_chunks_max ? chunk_get(c->tcp, in_order) : NULL;
			if (!fresh && in_order && renege(c, seq + done))
				continue;
			if (!fresh)
				break;
			c->queue_chunks++;
			fresh->seq = seq + done;
			if (to) {
				fresh->next = to->next;
				to->next = fresh;
			} else {
				fresh->next = c->queue;
				c->queue = fresh;
			}
			if (!fresh->next)
				c->queue_tail = fresh;
			to = fresh;
		}
		uint32_t n = CHUNK_BYTES - to->at - to->len;
		if (n > len - done)
			n = len - done;
		memcpy(to->bytes + to->at + to->len, bytes + done, n);
		to->len = (uint16_t)(to->len + n);
		done += n;
		*last = to;
	}
	return done;
}

bool
queue_insert(struct conn *c, uint32_t seq, const uint8_t *bytes, uint32_t len, uint32_t *fresh)
{
	struct chunk *before = NULL, *p = c->queue;
	bool in_order = seq == c->received;
	*fresh = 0;
	if (c->queue_tail && seq_le(chunk_end(c->queue_tail), seq)) {	/* mostly it comes at the end */
		before = c->queue_tail;
		p = NULL;
	}
	uint32_t end = seq + len;
	while (seq_lt(seq, end)) {
		while (p && seq_le(chunk_end(p), seq)) {
			before = p;
			p = p->next;
		}
		if (p && seq_le(p->seq, seq)) {	/* it is here already, up to the end of p */
			uint32_t skip = chunk_end(p) - seq;
			if (skip >= end - seq)
				return true;
			bytes += skip;
			seq += skip;
			continue;
		}
		uint32_t n = p && seq_lt(p->seq, end) ? p->seq - seq : end - seq;
		struct chunk *last;
		uint32_t done = fill(c, before, seq, bytes, n, in_order, &last);
		*fresh += done;
		if (done < n)
			return false;
		before = last;
		p = last->next;		/* the next one may have been given up */
		bytes += n;
		seq += n;
	}
	return true;
}

uint32_t
queue_reach(const struct conn *c, uint32_t seq)
{
	for (const struct chunk *p = c->queue; p && seq_le(p->seq, seq); p = p->next)
		if (seq_lt(seq, chunk_end(p)))
			seq = chunk_end(p);
	return seq;
}

void
queue_free(struct conn *c)
{
	while (c->queue) {
		struct chunk *chunk = c->queue;
		c->queue = chunk->next;
		chunk_put(c->tcp, chunk);
	}
	c->queue_tail = NULL;
	c->queue_chunks = 0;
}

uint32_t
queue_sack(const struct conn *c, uint32_t (*blocks)[2], uint32_t max)
{
	uint32_t n = 1;
	bool newest = false;
	if (!max)
		return 0;
	for (const struct chunk *p = c->queue; p;) {
		uint32_t from = p->seq, to = chunk_end(p);
		for (p = p->next; p && p->seq == to; p = p->next)
			to = chunk_end(p);
		if (seq_le(from, c->received))
			continue;
		if (seq_le(from, c->sack_recent) && seq_lt(c->sack_recent, to)) {
			blocks[0][0] = from;
			blocks[0][1] = to;
			newest = true;
		} else if (n < max) {
			blocks[n][0] = from;
			blocks[n][1] = to;
			n++;
		}
		if (newest && n == max)
			break;
	}
	if (newest)
		return n;
	memmove(blocks, blocks + 1, (n - 1) * sizeof *blocks);
	return n - 1;
}

void
send_free(struct conn *c, uint32_t bytes)
{
	assert(bytes <= c->send_bytes);
	c->send_bytes -= bytes;
	while (c->send) {
		struct chunk *chunk = c->send;
		uint32_t n = bytes < chunk->len ? bytes : chunk->len;
		chunk->at = (uint16_t)(chunk->at + n);
		chunk->len = (uint16_t)(chunk->len - n);
		bytes -= n;
		if (chunk->len)
			break;
		c->send = chunk->next;
		if (!c->send)
			c->send_tail = NULL;
		c->send_chunks--;
		chunk_put(c->tcp, chunk);
	}
}

void
send_copy(const struct conn *c, uint32_t from, uint8_t *to, uint32_t len)
{
	for (const struct chunk *p = c->send; len; p = p->next) {
		assert(p);
		if (from >= p->len) {
			from -= p->len;
			continue;
		}
		uint32_t n = p->len - from;
		if (n > len)
			n = len;
		memcpy(to, p->bytes + p->at + from, n);
		to += n;
		len -= n;
		from = 0;
	}
}

uint32_t
conn_send_room(const struct conn *c)
{
	if (c->flags & CONN_FINISH)
		return 0;
	uint32_t chunks = c->tcp->chunk_count - c->tcp->chunks_used;
	uint32_t room = TCP_SEND_BYTES_MAX - c->send_bytes;
	return chunks < TCP_SEND_BYTES_MAX / CHUNK_BYTES && chunks * CHUNK_BYTES < room ? chunks * CHUNK_BYTES : room;
}

uint32_t
conn_send(struct conn *c, const void *bytes, uint32_t len)
{
	uint32_t done = 0;
	if (len > TCP_SEND_BYTES_MAX - c->send_bytes)
		len = TCP_SEND_BYTES_MAX - c->send_bytes;
	if (c->flags & CONN_FINISH)
		return 0;
	while (done < len) {
		struct chunk *to = c->send_tail;
		if (!to || to->at + to->len == CHUNK_BYTES) {
			to = chunk_get(c->tcp, true);
			if (!to)
				break;
			if (c->send_tail)
				c->send_tail->next = to;
			else
				c->send = to;
			c->send_tail = to;
			c->send_chunks++;
		}
		uint32_t n = CHUNK_BYTES - to->at - to->len;
		if (n > len - done)
			n = len - done;
		memcpy(to->bytes + to->at + to->len, (const uint8_t *)bytes + done, n);
		to->len = (uint16_t)(to->len + n);
		done += n;
	}
	c->send_bytes += done;
	if (done) {
		c->flags |= CONN_OUTPUT;
		conn_list(c);
	}
	return done;
}
