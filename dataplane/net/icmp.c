#include "dataplane/net/stack.h"
#include "dataplane/net/tcp.h"

/* So many errors a second at most, for the whole port and lcore: nobody can make us flood a third party. */
bool
icmp_may_send(struct net *net)
{
	if (net->now_ns - net->icmp_ns >= NS_PER_S) {
		net->icmp_ns = net->now_ns;
		net->icmp_tokens = NET_ICMP_ERRORS_PER_S;
	}
	if (net->icmp_tokens == 0)
		return false;
	net->icmp_tokens--;
	return true;
}

static void
finish(uint8_t *icmp, uint32_t len)
{
	memset(icmp + 2, 0, 2);
	uint16_t sum = csum_fold(csum_add(0, icmp, len));
	memcpy(icmp + 2, &sum, 2);
}

/* Port unreachable, with the beginning of the packet it is about (RFC 1812: up to 576 bytes in all). */
void
icmp_unreachable(struct net *net, const struct packet *packet)
{
	if (packet->to_many || !packet->ip || !icmp_may_send(net))
		return;
	struct frame frame;
	uint32_t room;
	uint8_t *ip = net_begin(net, &frame, packet->from_mac, ETH_IP4, &room);
	if (!ip)
		return;
	uint32_t most = (room < 576 ? room : 576) - IP4_BYTES - ICMP_BYTES;
	uint32_t len = packet->ip_bytes < most ? packet->ip_bytes : most;
	uint8_t *icmp = ip + ip4_header(net, ip, &packet->to, &packet->from, PROTO_ICMP, 64, ICMP_BYTES + len);
	icmp[0] = 3;
	icmp[1] = 3;
	memset(icmp + 4, 0, 4);
	memcpy(icmp + ICMP_BYTES, packet->ip, len);
	finish(icmp, ICMP_BYTES + len);
	net_end(net, &frame, IP4_BYTES + ICMP_BYTES + len);
}

/* A router's "fragmentation needed", with the beginning of the packet of ours it is about. */
static void
icmp_too_big(struct net *net, const uint8_t *ip, uint32_t len, uint32_t mtu)
{
	uint32_t header = len ? (ip[0] & 15u) * 4 : 0;
	if (len < IP4_BYTES || ip[0] >> 4 != 4 || header < IP4_BYTES || len < header + 8 || ip[9] != PROTO_TCP)
		return;
	struct address own, peer;
	address_set4(&own, ip + 12);
	address_set4(&peer, ip + 16);
	own.port = get16(ip + header);
	peer.port = get16(ip + header + 2);
	tcp_too_big(net->tcp, &own, &peer, get32(ip + header + 4), mtu);
}

enum drop
icmp_input(struct net *net, const struct packet *packet)
{
	const uint8_t *icmp = packet->l4;
	uint32_t len = packet->l4_bytes;
	if (len < ICMP_BYTES)
		return DROP_TRUNCATED;
	if (csum_fold(csum_add(0, icmp, len)) != 0)
		return DROP_CHECKSUM_ICMP;
	counter_add(&net->counters.icmp, 1);
	if (icmp[0] == 3 && icmp[1] == 4 && net->tcp) {
		icmp_too_big(net, icmp + ICMP_BYTES, len - ICMP_BYTES, get16(icmp + 6));
		return DROP_NONE;
	}
	if (icmp[0] != 8 || icmp[1] != 0 || packet->to_many)
		return DROP_NONE;
	struct frame frame;
	uint32_t room;
	uint8_t *ip = net_begin(net, &frame, packet->from_mac, ETH_IP4, &room);
	if (!ip)
		return DROP_NONE;
	if (len > room - IP4_BYTES) {	/* we do not send fragments: no answer */
		frame.len = 0;
		port_tx(net->port, net->queue, &frame, 1);
		return DROP_NONE;
	}
	uint8_t *answer = ip + ip4_header(net, ip, &packet->to, &packet->from, PROTO_ICMP, 64, len);
	memcpy(answer, icmp, len);
	answer[0] = 0;
	finish(answer, len);
	net_end(net, &frame, IP4_BYTES + len);
	return DROP_NONE;
}
