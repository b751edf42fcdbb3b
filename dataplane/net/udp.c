#include "dataplane/net/stack.h"

enum drop
udp_input(struct net *net, const struct packet *packet)
{
	const uint8_t *udp = packet->l4;
	if (packet->l4_bytes < UDP_BYTES)
		return DROP_TRUNCATED;
	uint32_t len = get16(udp + 4);
	if (len < UDP_BYTES || len > packet->l4_bytes)
		return DROP_BAD_LENGTH;
	if (packet->v4 ? packet->from.ip[12] == 0 : address_is_any(&packet->from))
		return DROP_BAD_SOURCE;
	uint16_t sum;
	memcpy(&sum, udp + 6, 2);
	if (sum == 0 && !packet->v4)
		return DROP_CHECKSUM_UDP;
	if (sum && !(packet->flags & FRAME_L4_GOOD) && !net->trust_udp_checksum) {
		uint64_t pseudo = packet->v4 ? csum_pseudo4(packet->from.ip + 12, packet->to.ip + 12, PROTO_UDP, len)
					     : csum_pseudo6(packet->from.ip, packet->to.ip, PROTO_UDP, len);
		if (csum_fold(csum_add(pseudo, udp, len)) != 0)
			return DROP_CHECKSUM_UDP;
	}
	struct net_datagram datagram = { .payload = udp + UDP_BYTES, .len = len - UDP_BYTES, .from = packet->from, .to = packet->to };
	datagram.from.port = get16(udp);
	datagram.to.port = get16(udp + 2);
	enum drop drop = net->on_udp(net->context, &datagram);
	if (drop == DROP_NONE) {
		net->taken++;
		net->taken_bytes += datagram.len;
	} else if (drop == DROP_NO_LISTENER) {
		if (packet->v4)
			icmp_unreachable(net, packet);
		else
			icmp6_unreachable(net, packet);
	}
	return drop;
}
