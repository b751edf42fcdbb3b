#include "dataplane/net/tcp_group.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "dataplane/net/conn.h"

#define LOOKS 4		/* at a table that moves meanwhile */

enum chunk_kind { CHUNK_PAD, CHUNK_SEGMENT, CHUNK_TOO_BIG };

/* One handed-over thing in a ring; never wraps round its end. */
struct handed {
	uint32_t bytes;		/* with what follows, a multiple of a cache line */
	uint16_t kind;		/* enum chunk_kind */
	bool v4;
	uint32_t len;		/* CHUNK_SEGMENT: of the segment */
	uint32_t seq, mtu;	/* CHUNK_TOO_BIG */
	struct address from, to;
	uint8_t from_mac[6];
	uint8_t segment[];
};

struct ring {
	_Alignas(64) _Atomic uint64_t tail;	/* the giver's */
	uint64_t head_seen;
	_Alignas(64) _Atomic uint64_t head;	/* the taker's */
	uint8_t *bytes;
};

struct member {
	_Alignas(64) _Atomic(struct tcp *) tcp;
	_Atomic bool pending;			/* somebody gave something since the last look */
};

struct tcp_group {
	uint32_t members;
	uint64_t secret[2];
	uint8_t *memory;
	struct member *member;
	struct ring *rings;			/* [from * members + to] */
};

static struct ring *
ring_of(const struct tcp_group *group, uint32_t from, uint32_t to)
{
	return &group->rings[from * group->members + to];
}

struct tcp_group *
tcp_group_open(uint32_t members, struct err *err)
{
	assert(members && members <= TCP_GROUP_MEMBERS_MAX);
	size_t pairs = (size_t)members * members, bytes = pairs * TCP_GROUP_RING_BYTES;
	struct tcp_group *group = calloc(1, sizeof *group);
	if (group) {
		group->members = members;
		group->member = aligned_alloc(64, members * sizeof *group->member);
		group->rings = aligned_alloc(64, pairs * sizeof *group->rings);
		group->memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (group->memory == MAP_FAILED)
			group->memory = NULL;
	}
	if (!group || !group->member || !group->rings || !group->memory) {
		tcp_group_close(group);
		err_set(err, ENOMEM, "tcp: no memory for hand-over rings of %u lcores", members);
		return NULL;
	}
	if (getrandom(group->secret, sizeof group->secret, 0) != sizeof group->secret) {
		tcp_group_close(group);
		err_set(err, EIO, "tcp: no random numbers");
		return NULL;
	}
	memset(group->member, 0, members * sizeof *group->member);
	memset(group->rings, 0, pairs * sizeof *group->rings);
	for (size_t i = 0; i < pairs; i++)
		group->rings[i].bytes = group->memory + i * TCP_GROUP_RING_BYTES;
	return group;
}

void
tcp_group_close(struct tcp_group *group)
{
	if (!group)
		return;
	if (group->memory)
		munmap(group->memory, (size_t)group->members * group->members * TCP_GROUP_RING_BYTES);
	free(group->member);
	free(group->rings);
	free(group);
}

void
tcp_group_join(struct tcp_group *group, uint32_t member, struct tcp *tcp)
{
	assert(member < group->members);
	memcpy(tcp->secret, group->secret, sizeof tcp->secret);
	atomic_store_explicit(&group->member[member].tcp, tcp, memory_order_release);
}

void
tcp_group_leave(struct tcp_group *group, uint32_t member)
{
	atomic_store_explicit(&group->member[member].tcp, NULL, memory_order_release);
}

int
tcp_group_owner(const struct tcp_group *group, uint32_t from, uint32_t hash)
{
	bool unsure = false;
	for (uint32_t m = 0; m < group->members; m++) {
		const struct tcp *tcp = m == from ? NULL : atomic_load_explicit(&group->member[m].tcp, memory_order_acquire);
		if (!tcp)
			continue;
		switch (tcp_table_look(tcp, hash, LOOKS)) {
		case 1:
			return (int)m;
		case -EAGAIN:
			unsure = true;
		}
	}
	return unsure ? TCP_OWNER_UNSURE : TCP_OWNER_NONE;
}

/* Room for `len` bytes behind a chunk's header, all in one piece; NULL: the ring is full. *tail: where it will end. */
static struct handed *
ring_room(struct ring *ring, uint32_t len, uint64_t *tail)
{
	uint32_t bytes = (uint32_t)(sizeof(struct handed) + len + 63) & ~63u;
	uint64_t at = atomic_load_explicit(&ring->tail, memory_order_relaxed);
	uint32_t left = TCP_GROUP_RING_BYTES - (uint32_t)(at % TCP_GROUP_RING_BYTES), skip = left < bytes ? left : 0;
	if (at + skip + bytes - ring->head_seen > TCP_GROUP_RING_BYTES) {
		ring->head_seen = atomic_load_explicit(&ring->head, memory_order_acquire);
		if (at + skip + bytes - ring->head_seen > TCP_GROUP_RING_BYTES)
			return NULL;
	}
	if (skip) {
		struct handed *pad = (struct handed *)(ring->bytes + at % TCP_GROUP_RING_BYTES);
		pad->bytes = skip;
		pad->kind = CHUNK_PAD;
		at += skip;
	}
	struct handed *chunk = (struct handed *)(ring->bytes + at % TCP_GROUP_RING_BYTES);
	chunk->bytes = bytes;
	*tail = at + bytes;
	return chunk;
}

static void
ring_give(struct tcp_group *group, struct ring *ring, uint32_t to, uint64_t tail)
{
	atomic_store_explicit(&ring->tail, tail, memory_order_release);
	atomic_store_explicit(&group->member[to].pending, true, memory_order_release);
}

bool
tcp_group_give(struct tcp_group *group, uint32_t from, uint32_t to, const struct packet *packet)
{
	struct ring *ring = ring_of(group, from, to);
	uint64_t tail;
	struct handed *chunk = ring_room(ring, packet->l4_bytes, &tail);
	if (!chunk)
		return false;
	chunk->kind = CHUNK_SEGMENT;
	chunk->v4 = packet->v4;
	chunk->len = packet->l4_bytes;
	chunk->from = packet->from;
	chunk->to = packet->to;
	memcpy(chunk->from_mac, packet->from_mac, 6);
	memcpy(chunk->segment, packet->l4, packet->l4_bytes);
	ring_give(group, ring, to, tail);
	return true;
}

bool
tcp_group_give_too_big(struct tcp_group *group, uint32_t from, uint32_t to, const struct address *own, const struct address *peer, uint32_t seq,
		       uint32_t mtu)
{
	struct ring *ring = ring_of(group, from, to);
	uint64_t tail;
	struct handed *chunk = ring_room(ring, 0, &tail);
	if (!chunk)
		return false;
	chunk->kind = CHUNK_TOO_BIG;
	chunk->from = *peer;
	chunk->to = *own;
	chunk->seq = seq;
	chunk->mtu = mtu;
	ring_give(group, ring, to, tail);
	return true;
}

static void
take(struct tcp *tcp, const struct handed *chunk)
{
	struct net *net = tcp->net;
	if (chunk->kind == CHUNK_TOO_BIG) {
		tcp_too_big(tcp, &chunk->to, &chunk->from, chunk->seq, chunk->mtu);
		return;
	}
	struct packet packet = { .from_mac = chunk->from_mac, .flags = FRAME_L4_GOOD, .v4 = chunk->v4, .protocol = PROTO_TCP, .from = chunk->from,
				 .to = chunk->to, .l4 = chunk->segment, .l4_bytes = chunk->len };
	counter_set(&net->counters.handed_held, counter_read(&net->counters.handed_held) - 1);
	enum drop drop = tcp_input_handed(net, &packet);
	if (drop != DROP_NONE)
		counter_add(&net->counters.drops[drop], 1);
}

static uint32_t
take_ring(struct tcp *tcp, struct ring *ring, bool *more)
{
	uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed), tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
	uint32_t n = 0;
	while (head != tail && n < TCP_GROUP_TURN) {
		const struct handed *chunk = (const struct handed *)(ring->bytes + head % TCP_GROUP_RING_BYTES);
		head += chunk->bytes;
		if (chunk->kind == CHUNK_PAD)
			continue;
		take(tcp, chunk);
		n++;
	}
	atomic_store_explicit(&ring->head, head, memory_order_release);
	*more |= head != tail;
	return n;
}

bool
tcp_handed_waits(const struct tcp *tcp)
{
	return tcp->group && atomic_load_explicit(&tcp->group->member[tcp->member].pending, memory_order_relaxed);
}

uint32_t
tcp_handed(struct tcp *tcp, uint64_t now_ns)
{
	struct tcp_group *group = tcp->group;
	if (!tcp_handed_waits(tcp))
		return 0;
	atomic_exchange_explicit(&group->member[tcp->member].pending, false, memory_order_acq_rel);
	struct net *net = tcp->net;
	net->now_ns = now_ns;
	net->taken = net->taken_bytes = 0;
	uint32_t n = 0;
	bool more = false;
	for (uint32_t from = 0; from < group->members; from++)
		n += take_ring(tcp, ring_of(group, from, tcp->member), &more);
	if (more)
		atomic_store_explicit(&group->member[tcp->member].pending, true, memory_order_relaxed);
	counter_add(&net->counters.to_source, net->taken);
	counter_add(&net->counters.bytes_to_source, net->taken_bytes);
	return n;
}
