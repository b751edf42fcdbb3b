/* group: membership of multicast groups, told with IGMPv2 and MLDv1 reports at start and when a router or a snooping switch
 * asks. (Both speak the older version when they hear it.) */
#include "dataplane/net/stack.h"

static void
report4(struct net *net, const struct address *group)
{
	struct address from;
	if (!net_source_address(net, group, &from))
		return;
	uint8_t mac[6];
	mac_of_group(group, mac);
	struct frame frame;
	uint32_t room;
	uint8_t *ip = net_begin(net, &frame, mac, ETH_IP4, &room);
	if (!ip)
		return;
	ip4_header(net, ip, &from, group, PROTO_IGMP, 1, 4 + 8);
	static const uint8_t router_alert[4] = { 0x94, 4, 0, 0 };
	ip[0] = 0x46;
	memcpy(ip + IP4_BYTES, router_alert, 4);
	memset(ip + 10, 0, 2);
	uint16_t sum = csum_fold(csum_add(0, ip, IP4_BYTES + 4));
	memcpy(ip + 10, &sum, 2);
	uint8_t *p = ip + IP4_BYTES + 4;
	memset(p, 0, 4);
	p[0] = 0x16;
	memcpy(p + 4, group->ip + 12, 4);
	sum = csum_fold(csum_add(0, p, 8));
	memcpy(p + 2, &sum, 2);
	net_end(net, &frame, IP4_BYTES + 4 + 8);
}

static void
report6(struct net *net, const struct address *group)
{
	struct address from, link_local = { .ip = { 0xfe, 0x80 } };
	if (!net_source_address(net, &link_local, &from))
		return;
	uint8_t mac[6];
	mac_of_group(group, mac);
	struct frame frame;
	uint32_t room;
	uint8_t *ip = net_begin(net, &frame, mac, ETH_IP6, &room);
	if (!ip)
		return;
	static const uint8_t router_alert[8] = { PROTO_ICMP6, 0, 5, 2, 0, 0, 1, 0 };
	ip6_header(ip, &from, group, PROTO_HOPOPTS, 1, 8 + 24);
	memcpy(ip + IP6_BYTES, router_alert, 8);
	uint8_t *p = ip + IP6_BYTES + 8;
	memset(p, 0, 24);
	p[0] = 131;
	memcpy(p + 8, group->ip, 16);
	icmp6_checksum(p, 24, &from, group);
	net_end(net, &frame, IP6_BYTES + 8 + 24);
}

void
group_report_all(struct net *net, bool v4, bool v6)
{
	if (net->report_ns && net->now_ns - net->report_ns < NS_PER_S && net->announced)
		return;		/* a flood of queries is answered once a second */
	if (net->queue != 0)
		return;
	net->report_ns = net->now_ns;
	for (uint32_t i = 0; i < net->group_count; i++) {
		if (address_is_v4(&net->groups[i])) {
			if (v4)
				report4(net, &net->groups[i]);
		} else if (v6) {
			report6(net, &net->groups[i]);
		}
	}
	for (uint32_t i = 0; v6 && i < net->address_count; i++) {
		struct address own, group = { .ip = { 0xff, 0x02, [11] = 1, [12] = 0xff } };
		memcpy(own.ip, net->addresses[i].ip, 16);
		memcpy(group.ip + 13, own.ip + 13, 3);
		if (!address_is_v4(&own))
			report6(net, &group);
	}
}

enum drop
igmp_input(struct net *net, const struct packet *packet)
{
	if (packet->l4_bytes < 8)
		return DROP_TRUNCATED;
	if (csum_fold(csum_add(0, packet->l4, packet->l4_bytes)) != 0)
		return DROP_CHECKSUM_ICMP;
	counter_add(&net->counters.igmp, 1);
	if (packet->l4[0] == 0x11)
		group_report_all(net, true, false);
	return DROP_NONE;
}
