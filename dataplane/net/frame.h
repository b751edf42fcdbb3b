/* frame: offsets of the headers, checksums, and building of UDP frames. Shared with the traffic generator. */
#ifndef PENSTOCK_DATAPLANE_NET_FRAME_H
#define PENSTOCK_DATAPLANE_NET_FRAME_H

#include <stdint.h>
#include <string.h>

#include "base/address.h"

enum {
	ETH_BYTES = 14, VLAN_BYTES = 4, IP4_BYTES = 20, IP6_BYTES = 40, UDP_BYTES = 8, ARP_BYTES = 28, ICMP_BYTES = 8,
	FRAME_HEADERS_MAX = ETH_BYTES + VLAN_BYTES + IP6_BYTES + UDP_BYTES,
	ETH_IP4 = 0x0800, ETH_ARP = 0x0806, ETH_VLAN = 0x8100, ETH_QINQ = 0x88a8, ETH_IP6 = 0x86dd,
	PROTO_HOPOPTS = 0, PROTO_ICMP = 1, PROTO_IGMP = 2, PROTO_TCP = 6, PROTO_UDP = 17, PROTO_ROUTING = 43, PROTO_FRAGMENT = 44,
	PROTO_AH = 51, PROTO_ICMP6 = 58, PROTO_NONE = 59, PROTO_DSTOPTS = 60,
};

static inline uint16_t
get16(const void *p)
{
	uint16_t v;
	memcpy(&v, p, 2);
	return __builtin_bswap16(v);
}

static inline uint32_t
get32(const void *p)
{
	uint32_t v;
	memcpy(&v, p, 4);
	return __builtin_bswap32(v);
}

static inline void
put16(void *p, uint16_t v)
{
	v = __builtin_bswap16(v);
	memcpy(p, &v, 2);
}

static inline void
put32(void *p, uint32_t v)
{
	v = __builtin_bswap32(v);
	memcpy(p, &v, 4);
}

/* Internet checksum (RFC 1071). Sums are of 16-bit words in memory order (no swapping anywhere): csum_fold of a sum over a whole
 * header with its checksum in place is 0 when it is right, and what it answers is stored with memcpy, not put16. */
uint64_t csum_add(uint64_t sum, const void *bytes, uint32_t len);	/* an odd len only for the last part */

static inline uint16_t
csum_fold(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* Sum of the pseudo header: addresses, protocol and length. */
uint64_t csum_pseudo4(const void *from4, const void *to4, uint8_t protocol, uint32_t len);
uint64_t csum_pseudo6(const void *from16, const void *to16, uint8_t protocol, uint32_t len);

struct frame_udp {
	uint8_t from_mac[6], to_mac[6];
	uint16_t vlan;			/* 0: none */
	struct address from, to;	/* with ports; both IPv4 (mapped) or both IPv6 */
	uint8_t ttl;			/* 0: 64 */
	uint16_t id;			/* IPv4 identification */
	uint8_t no_checksum;		/* UDP checksum 0 (IPv4 only) */
};

/* Bytes of all headers: where the payload begins. */
uint32_t frame_udp_header_bytes(const struct frame_udp *udp);
/* Builds headers and payload; payload may already stand at its place (payload == frame + header bytes). Returns the frame's
 * length, 0 when it does not fit room or a datagram. Not padded to 60 bytes. */
uint32_t frame_udp_build(const struct frame_udp *udp, void *frame, uint32_t room, const void *payload, uint32_t len);
/* After the payload of a built frame was changed: sets the UDP checksum anew. */
void frame_udp_checksum(void *frame, uint32_t header_bytes, uint32_t len);

void mac_of_group(const struct address *group, uint8_t mac[6]);

#endif
