#include "dataplane/net/stack.h"

uint32_t
ip4_header(struct net *net, uint8_t *ip, const struct address *from, const struct address *to, uint8_t protocol, uint8_t ttl, uint32_t len)
{
	put16(ip, 0x4500);
	put16(ip + 2, (uint16_t)(IP4_BYTES + len));
	put16(ip + 4, net->ip_id++);
	put16(ip + 6, 0);
	ip[8] = ttl;
	ip[9] = protocol;
	memset(ip + 10, 0, 2);
	memcpy(ip + 12, from->ip + 12, 4);
	memcpy(ip + 16, to->ip + 12, 4);
	uint16_t sum = csum_fold(csum_add(0, ip, IP4_BYTES));
	memcpy(ip + 10, &sum, 2);
	return IP4_BYTES;
}

static enum drop
transport(struct net *net, struct packet *packet)
{
	switch (packet->protocol) {
	case PROTO_UDP:
		return udp_input(net, packet);
	case PROTO_TCP:
		return tcp_input(net, packet);
	case PROTO_ICMP:
		return icmp_input(net, packet);
	case PROTO_IGMP:
		return igmp_input(net, packet);
	}
	return DROP_PROTOCOL;
}

enum drop
ip4_input(struct net *net, struct packet *packet, const uint8_t *ip, uint32_t len)
{
	if (len < IP4_BYTES)
		return DROP_TRUNCATED;
	uint32_t header = (ip[0] & 15u) * 4, total = get16(ip + 2);
	if (ip[0] >> 4 != 4 || header < IP4_BYTES)
		return DROP_IP_VERSION;
	if (total < header)
		return DROP_BAD_LENGTH;
	if (total > len)
		return DROP_TRUNCATED;
	if (csum_fold(csum_add(0, ip, header)) != 0)
		return DROP_CHECKSUM_IP;
	address_set4(&packet->from, ip + 12);
	address_set4(&packet->to, ip + 16);
	packet->v4 = true;
	if (!net_is_ours(net, &packet->to, &packet->to_many))
		return DROP_NOT_FOR_US;
	if (ip[12] == 0 || ip[12] == 127 || ip[12] >= 224 || net_is_own(net, &packet->from))
		return DROP_BAD_SOURCE;
	packet->ttl = ip[8];
	packet->protocol = ip[9];
	packet->ip = ip;
	packet->ip_bytes = total;
	packet->l4 = ip + header;
	packet->l4_bytes = total - header;
	uint16_t fragment = get16(ip + 6);
	if ((fragment & 0x3fff) == 0)
		return transport(net, packet);

	enum drop drop;
	struct frag *whole;
	if (!frag_input(net, packet, get16(ip + 4), (fragment & 0x1fffu) * 8, fragment & 0x2000, &drop, &whole))
		return drop;
	drop = transport(net, packet);
	frag_done(net, whole);
	return drop;
}
