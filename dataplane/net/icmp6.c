/* icmp6: echo, neighbour discovery (RFC 4861, the host's part; router advertisements are not followed: addresses and gateway are
 * configured), listener queries, port unreachable. */
#include "base/log.h"
#include "dataplane/net/stack.h"
#include "dataplane/net/tcp.h"

enum {
	ICMP6_UNREACHABLE = 1, ICMP6_TOO_BIG = 2, ICMP6_ECHO = 128, ICMP6_ECHO_REPLY = 129, MLD_QUERY = 130, MLD_REPORT = 131,
	ND_ROUTER_SOLICIT = 133, ND_ROUTER_ADVERT = 134, ND_SOLICIT = 135, ND_ADVERT = 136, ND_REDIRECT = 137,
};

void
icmp6_checksum(uint8_t *message, uint32_t len, const struct address *from, const struct address *to)
{
	memset(message + 2, 0, 2);
	uint16_t sum = csum_fold(csum_add(csum_pseudo6(from->ip, to->ip, PROTO_ICMP6, len), message, len));
	memcpy(message + 2, &sum, 2);
}

static void
send_end(struct net *net, struct frame *frame, uint8_t *ip, const struct address *from, const struct address *to, uint8_t hops, uint32_t len)
{
	ip6_header(ip, from, to, PROTO_ICMP6, hops, len);
	icmp6_checksum(ip + IP6_BYTES, len, from, to);
	net_end(net, frame, IP6_BYTES + len);
}

void
icmp6_ask(struct net *net, const struct address *from, const struct address *to)
{
	struct address group = { .ip = { 0xff, 0x02, [11] = 1, [12] = 0xff } };
	memcpy(group.ip + 13, to->ip + 13, 3);
	uint8_t mac[6];
	mac_of_group(&group, mac);
	struct frame frame;
	uint32_t room;
	uint8_t *ip = net_begin(net, &frame, mac, ETH_IP6, &room);
	if (!ip)
		return;
	uint8_t *p = ip + IP6_BYTES;
	memset(p, 0, 32);
	p[0] = ND_SOLICIT;
	memcpy(p + 8, to->ip, 16);
	p[24] = 1;	/* source link-layer address */
	p[25] = 1;
	memcpy(p + 26, net->mac, 6);
	send_end(net, &frame, ip, from, &group, 255, 32);
}

static void
advertise(struct net *net, const struct address *target, const struct address *to, const uint8_t to_mac[6], bool solicited)
{
	struct frame frame;
	uint32_t room;
	uint8_t *ip = net_begin(net, &frame, to_mac, ETH_IP6, &room);
	if (!ip)
		return;
	uint8_t *p = ip + IP6_BYTES;
	memset(p, 0, 32);
	p[0] = ND_ADVERT;
	p[4] = solicited ? 0x60 : 0x20;	/* solicited, override */
	memcpy(p + 8, target->ip, 16);
	p[24] = 2;	/* target link-layer address */
	p[25] = 1;
	memcpy(p + 26, net->mac, 6);
	send_end(net, &frame, ip, target, to, 255, 32);
}

static const struct address all_nodes = { .ip = { 0xff, 0x02, [15] = 1 } };

void
icmp6_announce(struct net *net)
{
	uint8_t mac[6];
	mac_of_group(&all_nodes, mac);
	for (uint32_t i = 0; i < net->address_count; i++) {
		struct address a;
		memcpy(a.ip, net->addresses[i].ip, 16);
		if (!address_is_v4(&a))
			advertise(net, &a, &all_nodes, mac, false);
	}
}

void
icmp6_unreachable(struct net *net, const struct packet *packet)
{
	if (packet->to_many || !packet->ip || address_is_any(&packet->from) || !icmp_may_send(net))
		return;
	struct frame frame;
	uint32_t room;
	uint8_t *ip = net_begin(net, &frame, packet->from_mac, ETH_IP6, &room);
	if (!ip)
		return;
	uint32_t most = (room < 1280 ? room : 1280) - IP6_BYTES - ICMP_BYTES;
	uint32_t len = packet->ip_bytes < most ? packet->ip_bytes : most;
	uint8_t *p = ip + IP6_BYTES;
	memset(p, 0, ICMP_BYTES);
	p[0] = ICMP6_UNREACHABLE;
	p[1] = 4;	/* port */
	memcpy(p + ICMP_BYTES, packet->ip, len);
	send_end(net, &frame, ip, &packet->to, &packet->from, 64, ICMP_BYTES + len);
}

/* The 6 bytes of a link-layer address option, or NULL. *bad when the options are broken. */
static const uint8_t *
option_find(const uint8_t *p, uint32_t len, uint8_t type, bool *bad)
{
	const uint8_t *found = NULL;
	while (len) {
		if (len < 8 || p[1] == 0 || p[1] * 8u > len) {
			*bad = true;
			return NULL;
		}
		if (p[0] == type && p[1] == 1 && !found)
			found = p + 2;
		len -= p[1] * 8u;
		p += p[1] * 8u;
	}
	return found;
}

/* Neighbour solicitation or advertisement. False: breaks the rules. */
static bool
neighbour_input(struct net *net, const struct packet *packet)
{
	const uint8_t *p = packet->l4;
	bool bad = false, ask = p[0] == ND_SOLICIT;
	if (packet->ttl != 255 || p[1] != 0 || packet->l4_bytes < 24 || !packet->ip)
		return false;
	struct address target;
	memcpy(target.ip, p + 8, 16);
	const uint8_t *mac = option_find(p + 24, packet->l4_bytes - 24, ask ? 1 : 2, &bad);
	bool probe = address_is_any(&packet->from);
	if (bad || target.ip[0] == 0xff || (ask && probe && mac))
		return false;
	if (!ask) {
		if (net_is_own(net, &target)) {
			static struct log_limit limit;
			char text[ADDRESS_TEXT_BYTES];
			address_ip_text(&target, text, sizeof text);
			log_limited(&limit, LOG_WARN, "port %s: somebody says it has our address %s too", net->port->name, text);
			return true;
		}
		neighbour_learn(net, &target, mac ? mac : packet->from_mac, false);
		return true;
	}
	if (!net_is_own(net, &target))
		return true;
	if (probe) {	/* checks whether the address is free: told to all, since it has no address to answer to */
		uint8_t all_mac[6];
		mac_of_group(&all_nodes, all_mac);
		advertise(net, &target, &all_nodes, all_mac, false);
		return true;
	}
	if (mac)
		neighbour_learn(net, &packet->from, mac, true);
	advertise(net, &target, &packet->from, packet->from_mac, true);
	return true;
}

static void
echo(struct net *net, const struct packet *packet)
{
	struct frame frame;
	uint32_t room;
	uint8_t *ip = net_begin(net, &frame, packet->from_mac, ETH_IP6, &room);
	if (!ip)
		return;
	if (packet->l4_bytes > room - IP6_BYTES) {	/* we do not send fragments: no answer */
		frame.len = 0;
		port_tx(net->port, net->queue, &frame, 1);
		return;
	}
	memcpy(ip + IP6_BYTES, packet->l4, packet->l4_bytes);
	ip[IP6_BYTES] = ICMP6_ECHO_REPLY;
	send_end(net, &frame, ip, &packet->to, &packet->from, 64, packet->l4_bytes);
}

enum drop
icmp6_input(struct net *net, const struct packet *packet)
{
	const uint8_t *p = packet->l4;
	if (packet->l4_bytes < 4)
		return DROP_TRUNCATED;
	if (csum_fold(csum_add(csum_pseudo6(packet->from.ip, packet->to.ip, PROTO_ICMP6, packet->l4_bytes), p, packet->l4_bytes)) != 0)
		return DROP_CHECKSUM_ICMP;
	switch (p[0]) {
	case ICMP6_TOO_BIG:	/* with the beginning of the packet of ours it is about; without extension headers, we send none */
		if (net->tcp && packet->l4_bytes >= 8 + IP6_BYTES + 8 && p[8] >> 4 == 6 && p[8 + 6] == PROTO_TCP) {
			const uint8_t *ip = p + 8, *tcp = ip + IP6_BYTES;
			struct address own = { .port = get16(tcp) }, peer = { .port = get16(tcp + 2) };
			memcpy(own.ip, ip + 8, 16);
			memcpy(peer.ip, ip + 24, 16);
			uint32_t mtu = get32(p + 4);
			tcp_too_big(net->tcp, &own, &peer, get32(tcp + 4), mtu < 65535 ? mtu : 65535);
		}
		break;
	case ICMP6_ECHO:
		if (packet->l4_bytes < ICMP_BYTES)
			return DROP_TRUNCATED;
		if (!packet->to_many && !address_is_any(&packet->from))
			echo(net, packet);
		break;
	case ND_SOLICIT:
	case ND_ADVERT:
		if (!neighbour_input(net, packet))
			return DROP_BAD_ICMP;
		break;
	case MLD_QUERY:
		if (packet->ttl != 1 || packet->l4_bytes < 24)
			return DROP_BAD_ICMP;
		group_report_all(net, false, true);
		break;
	}
	counter_add(&net->counters.icmp, 1);
	return DROP_NONE;
}
