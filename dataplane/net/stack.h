/* stack: what the files of net/ share among themselves; nobody else includes it. */
#ifndef PENSTOCK_DATAPLANE_NET_STACK_H
#define PENSTOCK_DATAPLANE_NET_STACK_H

#include "base/clock.h"
#include "dataplane/net/frame.h"
#include "dataplane/net/net.h"

#define NEIGHBOUR_WAYS 4
#define NEIGHBOUR_FRESH_NS (60 * NS_PER_S)	/* after that asked again, still used */
#define NEIGHBOUR_DEAD_NS (600 * NS_PER_S)	/* after that no longer used */
#define FRAG_BYTES_MAX 65536
#define TICK_NS (100 * NS_PER_MS)

struct neighbour {
	uint8_t ip[16], mac[6];
	bool used, known;
	uint64_t learnt_ns, asked_ns;
};

/* One datagram being put together. Never holds two pieces for the same byte. */
struct frag {
	bool used, v4;
	uint8_t protocol;		/* IPv4: part of the key. IPv6: of the first fragment */
	uint8_t from[16], to[16], from_mac[6];
	uint32_t id;
	uint32_t total;			/* bytes; 0 until the last fragment came */
	uint32_t got, end;		/* bytes here; end of the farthest piece */
	uint32_t pieces;		/* frames held */
	uint64_t began_ns;
	uint8_t have[FRAG_BYTES_MAX / 8 / 8];	/* a bit for each 8 bytes */
	uint8_t bytes[FRAG_BYTES_MAX];
};

struct net {
	/* looked at for every frame */
	struct port *port;
	net_on_udp on_udp;
	void *context;
	struct tcp *tcp;		/* or NULL */
	net_on_tcp on_tcp;		/* when tcp is NULL; or NULL */
	void *on_tcp_context;
	uint8_t mac[6];
	uint16_t vlan;
	bool trust_udp_checksum;
	uint32_t l2_bytes;		/* ETH_BYTES, and VLAN_BYTES on a tagged port */
	uint32_t fast_ip4;		/* first IPv4 address in memory order; 0: none */
	uint32_t queue;
	uint64_t taken, taken_bytes;	/* of this burst */
	uint64_t now_ns;

	struct net_counters counters;
	struct address_prefix addresses[NET_ADDRESSES_MAX + 1];
	uint32_t address_count;
	struct address groups[NET_GROUPS_MAX];
	uint32_t group_count;
	struct address gateway4, gateway6;
	bool has_gateway4, has_gateway6, has_ip6;
	uint32_t mtu;
	uint64_t tick_ns, announce_ns;	/* when due */
	uint64_t report_ns, icmp_ns;	/* last group report; when icmp_tokens was filled */
	uint32_t icmp_tokens;
	uint16_t ip_id;
	bool announced;
	struct neighbour neighbours[NET_NEIGHBOURS];
	struct frag *frags;		/* NET_FRAG_DATAGRAMS */
	uint32_t frag_used;
};

/* One packet on its way up. */
struct packet {
	const uint8_t *from_mac;
	uint32_t flags;			/* of the frame; 0 when put together from fragments */
	bool to_many;			/* MAC or IP destination is broadcast or multicast: never answer with an error */
	bool v4;
	uint8_t ttl, protocol;
	const uint8_t *ip;		/* header and what follows, for error messages; NULL when put together */
	uint32_t ip_bytes;
	struct address from, to;
	const uint8_t *l4;
	uint32_t l4_bytes;
};

/* All input functions: DROP_NONE when the frame is counted already, else the drop that the caller counts. */
enum drop arp_input(struct net *net, const uint8_t *arp, uint32_t len);
enum drop ip4_input(struct net *net, struct packet *packet, const uint8_t *ip, uint32_t len);
enum drop ip6_input(struct net *net, struct packet *packet, const uint8_t *ip, uint32_t len);
enum drop tcp_input(struct net *net, struct packet *packet);
enum drop tcp_input_handed(struct net *net, struct packet *packet);	/* from another lcore */
enum drop udp_input(struct net *net, const struct packet *packet);
enum drop icmp_input(struct net *net, const struct packet *packet);
enum drop icmp6_input(struct net *net, const struct packet *packet);
enum drop igmp_input(struct net *net, const struct packet *packet);

/* True when packet became whole: its l4, l4_bytes and protocol are set, and frag_done is to be called after use. Otherwise
 * *drop says what became of the frame (DROP_NONE: held and counted). */
bool frag_input(struct net *net, struct packet *packet, uint32_t id, uint32_t offset, bool more, enum drop *drop, struct frag **whole);
void frag_done(struct net *net, struct frag *frag);
void frag_tick(struct net *net);

/* Our unicast address, a joined group, or a broadcast address; *many when it is not unicast. */
bool net_is_ours(const struct net *net, const struct address *to, bool *many);
bool net_is_own(const struct net *net, const struct address *address);
const struct address_prefix *net_own_on_link(const struct net *net, const struct address *to);

void neighbour_learn(struct net *net, const struct address *ip, const uint8_t mac[6], bool create);
void arp_ask(struct net *net, const struct address *from, const struct address *to);
void arp_announce(struct net *net);
void icmp6_ask(struct net *net, const struct address *from, const struct address *to);
void icmp6_announce(struct net *net);
void icmp_unreachable(struct net *net, const struct packet *packet);
void icmp6_unreachable(struct net *net, const struct packet *packet);
bool icmp_may_send(struct net *net);
void group_report_all(struct net *net, bool v4, bool v6);

/* Sending: begin gives the place behind the Ethernet header (or NULL), end sends `len` bytes standing there. */
uint8_t *net_begin(struct net *net, struct frame *frame, const uint8_t to_mac[6], uint16_t type, uint32_t *room);
void net_end(struct net *net, struct frame *frame, uint32_t len);
/* IP headers for `len` bytes that follow; they return their own length. */
uint32_t ip4_header(struct net *net, uint8_t *ip, const struct address *from, const struct address *to, uint8_t protocol, uint8_t ttl,
		    uint32_t len);
uint32_t ip6_header(uint8_t *ip, const struct address *from, const struct address *to, uint8_t next, uint8_t hops, uint32_t len);
void icmp6_checksum(uint8_t *message, uint32_t len, const struct address *from, const struct address *to);

static inline bool
ip_is_multicast(const struct address *a)
{
	return address_is_v4(a) ? (a->ip[12] & 0xf0) == 0xe0 : a->ip[0] == 0xff;
}

static inline void
address_set4(struct address *a, const void *four)
{
	uint64_t zero = 0;
	uint32_t mapped = 0xffff0000u;	/* 00 00 ff ff in memory, little-endian */
	memcpy(a->ip, &zero, 8);
	memcpy(a->ip + 8, &mapped, 4);
	memcpy(a->ip + 12, four, 4);
}

#endif
