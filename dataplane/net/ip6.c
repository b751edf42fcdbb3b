#include "dataplane/net/stack.h"

uint32_t
ip6_header(uint8_t *ip, const struct address *from, const struct address *to, uint8_t next, uint8_t hops, uint32_t len)
{
	put32(ip, 0x60000000);
	put16(ip + 4, (uint16_t)len);
	ip[6] = next;
	ip[7] = hops;
	memcpy(ip + 8, from->ip, 16);
	memcpy(ip + 24, to->ip, 16);
	return IP6_BYTES;
}

/* Options of a hop-by-hop or destination header: those we do not know must be of the kind that may be skipped (RFC 8200 4.2). */
static bool
options_ok(const uint8_t *p, uint32_t len)
{
	while (len) {
		if (p[0] == 0) {	/* Pad1 */
			p++;
			len--;
			continue;
		}
		if (len < 2 || p[1] + 2u > len || p[0] >> 6 != 0)
			return false;
		len -= p[1] + 2u;
		p += p[1] + 2u;
	}
	return true;
}

/* Walks the chain from packet->protocol at packet->l4, then hands the packet up. `joined`: fragments were put together already,
 * there may be no fragment header again. */
static enum drop
walk(struct net *net, struct packet *packet, bool joined)
{
	for (uint32_t i = 0; i < NET_EXTENSION_HEADERS_MAX; i++) {
		const uint8_t *p = packet->l4;
		uint32_t len = packet->l4_bytes, bytes;
		switch (packet->protocol) {
		case PROTO_UDP:
			return udp_input(net, packet);
		case PROTO_TCP:
			return tcp_input(net, packet);
		case PROTO_ICMP6:
			return icmp6_input(net, packet);
		case PROTO_HOPOPTS:
			if (i || joined)	/* only right behind the IPv6 header */
				return DROP_EXTENSION_HEADERS;
			/* fall through */
		case PROTO_DSTOPTS:
		case PROTO_ROUTING:
			if (len < 8)
				return DROP_TRUNCATED;
			bytes = p[1] * 8u + 8;
			if (bytes > len)
				return DROP_TRUNCATED;
			/* A routing header that wants the packet to go on would make a router of us. */
			if (packet->protocol == PROTO_ROUTING ? p[3] != 0 : !options_ok(p + 2, bytes - 2))
				return DROP_EXTENSION_HEADERS;
			break;
		case PROTO_AH:
			if (len < 8)
				return DROP_TRUNCATED;
			bytes = p[1] * 4u + 8;
			if (bytes > len)
				return DROP_TRUNCATED;
			break;
		case PROTO_FRAGMENT: {
			if (joined)
				return DROP_EXTENSION_HEADERS;
			if (len < 8)
				return DROP_TRUNCATED;
			uint16_t field = get16(p + 2);
			uint32_t id = get32(p + 4);
			packet->protocol = p[0];
			packet->l4 += 8;
			packet->l4_bytes -= 8;
			if ((field & 0xfff9) == 0) {	/* whole all the same (RFC 6946) */
				joined = true;
				continue;
			}
			enum drop drop;
			struct frag *whole;
			if (!frag_input(net, packet, id, field & 0xfff8, field & 1, &drop, &whole))
				return drop;
			drop = walk(net, packet, true);
			frag_done(net, whole);
			return drop;
		}
		default:
			return DROP_PROTOCOL;
		}
		packet->protocol = p[0];
		packet->l4 += bytes;
		packet->l4_bytes -= bytes;
	}
	return DROP_EXTENSION_HEADERS;
}

enum drop
ip6_input(struct net *net, struct packet *packet, const uint8_t *ip, uint32_t len)
{
	if (len < IP6_BYTES)
		return DROP_TRUNCATED;
	if (ip[0] >> 4 != 6)
		return DROP_IP_VERSION;
	uint32_t payload = get16(ip + 4);
	if (payload > len - IP6_BYTES)
		return DROP_TRUNCATED;
	if (payload == 0)
		return DROP_BAD_LENGTH;
	memcpy(packet->from.ip, ip + 8, 16);
	memcpy(packet->to.ip, ip + 24, 16);
	/* IPv4-mapped addresses never stand on a wire, and would be taken for IPv4 above. */
	if (address_is_v4(&packet->from))
		return DROP_BAD_SOURCE;
	if (address_is_v4(&packet->to) || !net_is_ours(net, &packet->to, &packet->to_many))
		return DROP_NOT_FOR_US;
	static const uint8_t loopback[16] = { [15] = 1 };
	if (packet->from.ip[0] == 0xff || memcmp(packet->from.ip, loopback, 16) == 0 || net_is_own(net, &packet->from))
		return DROP_BAD_SOURCE;
	packet->ttl = ip[7];
	packet->protocol = ip[6];
	packet->ip = ip;
	packet->ip_bytes = IP6_BYTES + payload;
	packet->l4 = ip + IP6_BYTES;
	packet->l4_bytes = payload;
	return walk(net, packet, false);
}
