/* arp: ARP, and the table of neighbours that ARP and neighbour discovery share. */
#include "base/log.h"
#include "dataplane/net/stack.h"

static const uint8_t mac_everybody[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

static struct neighbour *
bucket_of(struct net *net, const struct address *ip)
{
	uint32_t hash = (get32(ip->ip + 8) ^ get32(ip->ip + 12)) * 2654435761u;
	return &net->neighbours[(hash >> 24) % (NET_NEIGHBOURS / NEIGHBOUR_WAYS) * NEIGHBOUR_WAYS];
}

static struct neighbour *
neighbour_find(struct net *net, const struct address *ip)
{
	struct neighbour *bucket = bucket_of(net, ip);
	for (uint32_t i = 0; i < NEIGHBOUR_WAYS; i++)
		if (bucket[i].used && memcmp(bucket[i].ip, ip->ip, 16) == 0)
			return &bucket[i];
	return NULL;
}

/* A new entry in the place of a free or the longest unheard one. */
static struct neighbour *
neighbour_make(struct net *net, const struct address *ip)
{
	struct neighbour *bucket = bucket_of(net, ip), *made = bucket;
	for (uint32_t i = 0; i < NEIGHBOUR_WAYS; i++) {
		if (!bucket[i].used) {
			made = &bucket[i];
			break;
		}
		if (bucket[i].learnt_ns < made->learnt_ns)
			made = &bucket[i];
	}
	*made = (struct neighbour){ .used = true };
	memcpy(made->ip, ip->ip, 16);
	return made;
}

void
neighbour_learn(struct net *net, const struct address *ip, const uint8_t mac[6], bool create)
{
	if (mac[0] & 1)
		return;
	struct neighbour *neighbour = neighbour_find(net, ip);
	if (!neighbour && create)
		neighbour = neighbour_make(net, ip);
	if (!neighbour)
		return;
	memcpy(neighbour->mac, mac, 6);
	neighbour->known = true;
	neighbour->learnt_ns = net->now_ns;
}

bool
net_resolve(struct net *net, const struct address *to, uint8_t mac[6], uint64_t now_ns)
{
	net->now_ns = now_ns;
	if (ip_is_multicast(to)) {
		mac_of_group(to, mac);
		return true;
	}
	bool many = false, v4 = address_is_v4(to);
	if (v4 && net_is_ours(net, to, &many) && many) {
		memcpy(mac, mac_everybody, 6);
		return true;
	}
	struct address hop = *to, from;
	if (!net_own_on_link(net, to)) {
		if (!(v4 ? net->has_gateway4 : net->has_gateway6))
			return false;
		hop = v4 ? net->gateway4 : net->gateway6;
	}
	struct neighbour *neighbour = neighbour_find(net, &hop);
	if (!neighbour)
		neighbour = neighbour_make(net, &hop);
	bool known = neighbour->known && now_ns - neighbour->learnt_ns < NEIGHBOUR_DEAD_NS;
	if (!known || now_ns - neighbour->learnt_ns >= NEIGHBOUR_FRESH_NS) {
		if ((neighbour->asked_ns == 0 || now_ns - neighbour->asked_ns >= NS_PER_S) && net_source_address(net, &hop, &from)) {
			neighbour->asked_ns = now_ns ? now_ns : 1;
			if (v4)
				arp_ask(net, &from, &hop);
			else
				icmp6_ask(net, &from, &hop);
		}
	}
	if (known)
		memcpy(mac, neighbour->mac, 6);
	return known;
}

static void
send(struct net *net, uint16_t operation, const uint8_t to_mac[6], const uint8_t *from4, const uint8_t target_mac[6], const uint8_t *target4)
{
	struct frame frame;
	uint32_t room;
	uint8_t *p = net_begin(net, &frame, to_mac, ETH_ARP, &room);
	if (!p)
		return;
	put16(p, 1);
	put16(p + 2, ETH_IP4);
	p[4] = 6;
	p[5] = 4;
	put16(p + 6, operation);
	memcpy(p + 8, net->mac, 6);
	memcpy(p + 14, from4, 4);
	memcpy(p + 18, target_mac, 6);
	memcpy(p + 24, target4, 4);
	net_end(net, &frame, ARP_BYTES);
}

void
arp_ask(struct net *net, const struct address *from, const struct address *to)
{
	static const uint8_t nobody[6];
	send(net, 1, mac_everybody, from->ip + 12, nobody, to->ip + 12);
}

/* Tells everybody where our addresses are now: a switch or a peer may remember another place. */
void
arp_announce(struct net *net)
{
	static const uint8_t nobody[6];
	for (uint32_t i = 0; i < net->address_count; i++) {
		struct address a;
		memcpy(a.ip, net->addresses[i].ip, 16);
		if (address_is_v4(&a))
			send(net, 1, mac_everybody, a.ip + 12, nobody, a.ip + 12);
	}
}

enum drop
arp_input(struct net *net, const uint8_t *arp, uint32_t len)
{
	if (len < ARP_BYTES)
		return DROP_TRUNCATED;
	uint16_t operation = get16(arp + 6);
	if (get16(arp) != 1 || get16(arp + 2) != ETH_IP4 || arp[4] != 6 || arp[5] != 4 || (operation != 1 && operation != 2) ||
	    (arp[8] & 1))
		return DROP_BAD_ARP;
	counter_add(&net->counters.arp, 1);
	struct address sender, target;
	address_set4(&sender, arp + 14);
	address_set4(&target, arp + 24);
	if (net_is_own(net, &sender)) {
		static struct log_limit limit;
		char text[ADDRESS_TEXT_BYTES];
		address_ip_text(&sender, text, sizeof text);
		if (memcmp(arp + 8, net->mac, 6) != 0)
			log_limited(&limit, LOG_WARN, "port %s: %02x:%02x:%02x:%02x:%02x:%02x says it has our address %s too", net->port->name,
				    arp[8], arp[9], arp[10], arp[11], arp[12], arp[13], text);
		return DROP_NONE;
	}
	bool probe = address_is_any(&sender);	/* asks whether the address is free; has none yet */
	bool for_us = net_is_own(net, &target);
	if (!probe && !ip_is_multicast(&sender))
		neighbour_learn(net, &sender, arp + 8, for_us && operation == 1);
	if (operation == 1 && for_us)
		send(net, 2, arp + 8, target.ip + 12, arp + 8, sender.ip + 12);
	return DROP_NONE;
}
