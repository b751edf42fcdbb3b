/* tcp_table: finding connections, and their slots. Open addressing with linear probing; who goes shifts those behind it back,
 * so there are no tombstones. The hash is keyed: strangers choose addresses and ports. */
#include <errno.h>

#include "dataplane/net/conn.h"

#define IDLE_LOOKS 64u		/* connections looked at for each millisecond that has passed */
#define IDLE_LOOKS_MS 16u

#define ROTL(x, b) ((x) << (b) | (x) >> (64 - (b)))
#define ROUND()                                                                                                                             \
	do {                                                                                                                                \
		a += b, b = ROTL(b, 13), b ^= a, a = ROTL(a, 32);                                                                           \
		c += d, d = ROTL(d, 16), d ^= c;                                                                                            \
		a += d, d = ROTL(d, 21), d ^= a;                                                                                            \
		c += b, b = ROTL(b, 17), b ^= c, c = ROTL(c, 32);                                                                           \
	} while (0)

/* SipHash-2-4 (Aumasson, Bernstein). For sequence numbers and cookies, not for every segment. */
uint64_t
tcp_sip(const uint64_t secret[2], const void *bytes, uint32_t len)
{
	const uint8_t *p = bytes;
	uint64_t a = secret[0] ^ 0x736f6d6570736575, b = secret[1] ^ 0x646f72616e646f6d;
	uint64_t c = secret[0] ^ 0x6c7967656e657261, d = secret[1] ^ 0x7465646279746573, m;
	uint32_t left = len;
	for (; left >= 8; left -= 8, p += 8) {
		memcpy(&m, p, 8);
		d ^= m;
		ROUND();
		ROUND();
		a ^= m;
	}
	m = (uint64_t)len << 56;
	for (uint32_t i = 0; i < left; i++)
		m |= (uint64_t)p[i] << (8 * i);
	d ^= m;
	ROUND();
	ROUND();
	a ^= m;
	c ^= 0xff;
	ROUND();
	ROUND();
	ROUND();
	ROUND();
	return a ^ b ^ c ^ d;
}

static inline uint64_t
fold(uint64_t a, uint64_t b)
{
	__uint128_t product = (__uint128_t)a * b;
	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint32_t
tcp_hash(const struct tcp *tcp, const struct address *from, const struct address *to)
{
	uint64_t f[2], t[2];
	memcpy(f, from->ip, 16);
	memcpy(t, to->ip, 16);
	uint64_t ports = (uint64_t)from->port << 16 | to->port;
	uint64_t h = fold(f[0] ^ tcp->secret[0], f[1] ^ tcp->secret[1] ^ ports);
	h = fold(h ^ t[0] ^ tcp->secret[1], t[1] ^ tcp->secret[0] ^ ports << 32);
	return (uint32_t)(h ^ h >> 32);
}

struct conn *
tcp_find(struct tcp *tcp, uint32_t hash, const struct address *from, const struct address *to)
{
	for (uint32_t i = hash & tcp->table_mask; tcp->table[i].index; i = (i + 1) & tcp->table_mask) {
		if (tcp->table[i].hash != hash)
			continue;
		struct conn *c = conn_at(tcp, tcp->table[i].index);
		if (c->peer_port == from->port && c->own_port == to->port && memcmp(c->peer_ip, from->ip, 16) == 0 &&
		    memcmp(c->own_ip, to->ip, 16) == 0)
			return c;
	}
	return NULL;
}

static void
entry_set(struct tcp *tcp, uint32_t at, uint32_t hash, uint32_t index)
{
	struct table_entry entry = { hash, index };
	__atomic_store(&tcp->table[at], &entry, __ATOMIC_RELEASE);
}

int
tcp_table_look(const struct tcp *tcp, uint32_t hash, uint32_t looks)
{
	for (uint32_t look = 0; look < looks; look++) {
		uint32_t version = atomic_load_explicit(&tcp->table_version, memory_order_acquire);
		for (uint32_t i = hash & tcp->table_mask, n = 0; n <= tcp->table_mask; i = (i + 1) & tcp->table_mask, n++) {
			struct table_entry entry;
			__atomic_load(&tcp->table[i], &entry, __ATOMIC_ACQUIRE);
			if (!entry.index)
				break;
			if (entry.hash == hash)
				return 1;
		}
		if (!(version & 1) && atomic_load_explicit(&tcp->table_version, memory_order_relaxed) == version)
			return 0;
	}
	return -EAGAIN;
}

static void
table_remove(struct tcp *tcp, const struct conn *c)
{
	uint32_t mask = tcp->table_mask, hole = c->hash & mask;
	while (tcp->table[hole].index != c->index) {
		assert(tcp->table[hole].index);
		hole = (hole + 1) & mask;
	}
	uint32_t version = atomic_load_explicit(&tcp->table_version, memory_order_relaxed);
	bool moved = false;
	for (uint32_t i = (hole + 1) & mask; tcp->table[i].index; i = (i + 1) & mask) {
		uint32_t home = tcp->table[i].hash & mask;
		/* It may move to the hole unless its home lies behind the hole. */
		if (((i - home) & mask) >= ((i - hole) & mask)) {
			if (!moved)
				atomic_store_explicit(&tcp->table_version, version + 1, memory_order_relaxed);
			moved = true;
			entry_set(tcp, hole, tcp->table[i].hash, tcp->table[i].index);
			hole = i;
		}
	}
	entry_set(tcp, hole, 0, 0);
	if (moved)
		atomic_store_explicit(&tcp->table_version, version + 2, memory_order_release);
}

struct conn *
tcp_conn_new(struct tcp *tcp, uint32_t hash, const struct address *from, const struct address *to)
{
	uint32_t index = tcp->free_head;
	if (!index && tcp->conns_fresh <= tcp->conns_max)
		index = tcp->conns_fresh++;
	if (!index && tcp->wait_head) {	/* the oldest that only waits gives its place */
		tcp_conn_free(conn_at(tcp, tcp->wait_head));
		index = tcp->free_head;
	}
	if (!index)
		return NULL;
	struct conn *c = conn_at(tcp, index);
	if (index == tcp->free_head)
		tcp->free_head = c->list_next;
	uint32_t generation = c->generation + 1;
	memset(c, 0, sizeof *c);
	c->tcp = tcp;
	c->index = index;
	c->generation = generation;
	c->hash = hash;
	c->wheel_slot = WHEEL_NONE;
	memcpy(c->peer_ip, from->ip, 16);
	memcpy(c->own_ip, to->ip, 16);
	c->peer_port = from->port;
	c->own_port = to->port;
	uint32_t i = hash & tcp->table_mask;
	while (tcp->table[i].index)
		i = (i + 1) & tcp->table_mask;
	entry_set(tcp, i, hash, index);
	counter_set(&tcp->counters.connections, ++tcp->used);
	return c;
}

static uint32_t
promise_of(const struct conn *c)
{
	return seq_lt(c->received, c->promised) ? c->promised - c->received : 0;
}

static uint64_t *
promise_account(struct conn *c)
{
	return c->flags & CONN_IDLE ? &conn_pool(c)->promised_idle : &conn_pool(c)->promised;
}

void
conn_receive(struct conn *c, uint32_t bytes)
{
	*promise_account(c) -= promise_of(c);
	c->flags &= ~(uint32_t)CONN_IDLE;
	c->received += bytes;
	conn_pool(c)->promised += promise_of(c);
}

void
conn_promise(struct conn *c, uint32_t edge)
{
	uint64_t *account = promise_account(c);
	*account -= promise_of(c);
	c->promised = edge;
	*account += promise_of(c);
}

uint64_t
pool_left(const struct tcp_pool *pool, uint64_t kept)
{
	uint64_t used = pool->promised + pool->promised_idle / TCP_IDLE_MULTIPLE + kept;
	return pool->budget > used ? pool->budget - used : 0;
}

/* A window cannot be taken back, but of those who have long sent nothing few will begin in the same moment. */
void
tcp_idle_look(struct tcp *tcp)
{
	uint64_t ms = (tcp->now_ns - tcp->idle_look_ns) / NS_PER_MS;
	if (!ms || tcp->conns_fresh <= 1)
		return;
	tcp->idle_look_ns = tcp->now_ns;
	uint64_t looks = (ms < IDLE_LOOKS_MS ? ms : IDLE_LOOKS_MS) * IDLE_LOOKS;
	for (uint64_t i = 0; i < looks && i + 1 < tcp->conns_fresh; i++) {
		tcp->idle_cursor = tcp->idle_cursor + 1 < tcp->conns_fresh ? tcp->idle_cursor + 1 : 1;
		struct conn *c = conn_at(tcp, tcp->idle_cursor);
		if (c->state == TCP_CLOSED || (c->flags & CONN_IDLE) || tcp->now_ns - c->heard_ns < TCP_IDLE_NS)
			continue;
		conn_pool(c)->promised -= promise_of(c);
		c->flags |= CONN_IDLE;
		conn_pool(c)->promised_idle += promise_of(c);
	}
}

void
tcp_conn_free(struct conn *c)
{
	struct tcp *tcp = c->tcp;
	assert(c->state != TCP_CLOSED);
	if (c->flags & CONN_BUSY) {
		c->flags |= CONN_DEAD;
		return;
	}
	if (c->state == TCP_SYN_RECEIVED)
		counter_set(&tcp->counters.half_open, --tcp->half_open);
	conn_unlist(c);
	conn_disarm(c);
	queue_free(c);
	send_free(c, c->send_bytes);
	conn_promise(c, c->received);
	table_remove(tcp, c);
	c->state = TCP_CLOSED;
	c->stream = NULL;
	counter_set(&tcp->counters.connections, --tcp->used);
	if (c->flags & CONN_LISTED)	/* the turn list lets go of it */
		return;
	c->list_next = tcp->free_head;
	tcp->free_head = c->index;
}

void
tcp_conn_gone(struct conn *c, int why)
{
	void *stream = c->stream;
	c->stream = NULL;
	const struct tcp_user *user = c->tcp->user;
	tcp_conn_free(c);
	if (stream)
		user->gone(stream, why);
}
