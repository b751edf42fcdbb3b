#include "dataplane/net/net.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "dataplane/net/stack.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "masks below are written for little-endian");

#define METRIC(field, unit_, help_) { #field, METRIC_COUNTER, offsetof(struct net_counters, field), unit_, help_ }
const struct metric net_metrics[] = {
	METRIC(frames_in, "frames", "Frames received."),
	METRIC(bytes_in, "bytes", "Bytes of frames received."),
	METRIC(arp, "frames", "ARP packets handled."),
	METRIC(icmp, "frames", "ICMP and ICMPv6 messages handled, neighbour discovery included."),
	METRIC(igmp, "frames", "IGMP messages handled."),
	METRIC(tcp_control, "frames", "TCP segments handled that brought no new data."),
	METRIC(fragment_joined, "frames", "Fragments that went into a whole datagram, the last of each not counted."),
	{ "fragment_held", METRIC_GAUGE, offsetof(struct net_counters, fragment_held), "frames", "Fragments waiting for the rest." },
	{ "handed_held", METRIC_GAUGE, offsetof(struct net_counters, handed_held), "frames", "TCP segments on their way to the lcore of their connection." },
	METRIC(to_source, "frames", "Datagrams handed to a source."),
	METRIC(bytes_to_source, "bytes", "Payload of datagrams handed to a source."),
	METRIC(sent, "frames", "Frames of our own sent: answers, questions, reports."),
	METRIC(sent_failed, "frames", "Frames of our own the device did not take."),
};
const uint32_t net_metric_count = sizeof net_metrics / sizeof *net_metrics;

uint32_t
net_queue(const struct net *net)
{
	return net->queue;
}

uint32_t
net_queues(const struct net *net)
{
	return net->port->queues ? net->port->queues : 1;
}

bool
net_has_address(const struct net *net, const struct address *address)
{
	return net_is_own(net, address);
}

struct net_counters *
net_counters(struct net *net)
{
	return &net->counters;
}

bool
net_is_own(const struct net *net, const struct address *address)
{
	for (uint32_t i = 0; i < net->address_count; i++)
		if (memcmp(net->addresses[i].ip, address->ip, 16) == 0)
			return true;
	return false;
}

const struct address_prefix *
net_own_on_link(const struct net *net, const struct address *to)
{
	bool v4 = address_is_v4(to);
	for (uint32_t i = 0; i < net->address_count; i++) {
		struct address own;
		memcpy(own.ip, net->addresses[i].ip, 16);
		if (address_is_v4(&own) == v4 && address_in_prefix(to, &net->addresses[i]))
			return &net->addresses[i];
	}
	return NULL;
}

/* 255.255.255.255 or the last address of an own prefix. */
static bool
is_broadcast(const struct net *net, const struct address *to)
{
	uint32_t ip = get32(to->ip + 12);
	if (ip == UINT32_MAX)
		return true;
	const struct address_prefix *own = net_own_on_link(net, to);
	if (!own || own->bits > 126)
		return false;
	uint32_t host = UINT32_MAX >> (own->bits - 96);
	return (ip & host) == host;
}

bool
net_is_ours(const struct net *net, const struct address *to, bool *many)
{
	if (net_is_own(net, to))
		return true;
	if (!ip_is_multicast(to)) {
		if (!address_is_v4(to) || !is_broadcast(net, to))
			return false;
		*many = true;
		return true;
	}
	*many = true;
	for (uint32_t i = 0; i < net->group_count; i++)
		if (memcmp(net->groups[i].ip, to->ip, 16) == 0)
			return true;
	if (address_is_v4(to))
		return get32(to->ip + 12) == 0xe0000001;	/* all hosts */
	if (!net->has_ip6)
		return false;
	static const uint8_t all_nodes[16] = { 0xff, 0x02, [15] = 1 };
	static const uint8_t solicited[13] = { 0xff, 0x02, [11] = 1, [12] = 0xff };
	if (memcmp(to->ip, all_nodes, 16) == 0)
		return true;
	if (memcmp(to->ip, solicited, 13) == 0)
		for (uint32_t i = 0; i < net->address_count; i++)
			if (memcmp(net->addresses[i].ip + 13, to->ip + 13, 3) == 0)
				return true;
	return false;
}

bool
net_source_address(const struct net *net, const struct address *to, struct address *from)
{
	const struct address_prefix *own = net_own_on_link(net, to);
	bool v4 = address_is_v4(to);
	bool link_local = !v4 && (to->ip[0] == 0xff ? (to->ip[1] & 15) == 2 : to->ip[0] == 0xfe && (to->ip[1] & 0xc0) == 0x80);
	for (uint32_t i = 0; i < net->address_count && !own; i++) {
		struct address a;
		memcpy(a.ip, net->addresses[i].ip, 16);
		if (address_is_v4(&a) == v4 && (v4 || link_local == (a.ip[0] == 0xfe && (a.ip[1] & 0xc0) == 0x80)))
			own = &net->addresses[i];
	}
	if (!own)
		return false;
	memcpy(from->ip, own->ip, 16);
	return true;
}

uint8_t *
net_begin(struct net *net, struct frame *frame, const uint8_t to_mac[6], uint16_t type, uint32_t *room)
{
	if (port_tx_room(net->port, net->queue, frame, 1) != 1) {
		counter_add(&net->counters.sent_failed, 1);
		return NULL;
	}
	uint32_t most = net->mtu + net->l2_bytes;
	if (frame->len > most)
		frame->len = most;
	assert(frame->len >= 128);
	*room = frame->len - net->l2_bytes;
	uint8_t *p = frame->bytes;
	memcpy(p, to_mac, 6);
	memcpy(p + 6, net->mac, 6);
	p += 12;
	if (net->vlan) {
		put16(p, ETH_VLAN);
		put16(p + 2, net->vlan);
		p += 4;
	}
	put16(p, type);
	return p + 2;
}

void
net_end(struct net *net, struct frame *frame, uint32_t len)
{
	frame->len = net->l2_bytes + len;
	if (frame->len < 60) {	/* the shortest frame of Ethernet */
		memset(frame->bytes + frame->len, 0, 60 - frame->len);
		frame->len = 60;
	}
	if (port_tx(net->port, net->queue, frame, 1) == 1)
		counter_add(&net->counters.sent, 1);
	else
		counter_add(&net->counters.sent_failed, 1);
}

/* Everything that is not the plain case, and all that is wrong. */
static enum drop
input_slow(struct net *net, const struct frame *frame)
{
	const uint8_t *p = frame->bytes;
	uint32_t len = frame->len;
	if (frame->flags & FRAME_TOO_LONG)
		return DROP_TOO_LONG;
	if (len < ETH_BYTES)
		return DROP_TRUNCATED;
	struct packet packet = { .from_mac = p + 6, .flags = frame->flags, .to_many = p[0] & 1 };
	if (!packet.to_many && memcmp(p, net->mac, 6) != 0)
		return DROP_NOT_FOR_US;
	uint16_t type = get16(p + 12), vlan = 0;
	p += ETH_BYTES;
	len -= ETH_BYTES;
	if (type == ETH_VLAN) {
		if (len < VLAN_BYTES)
			return DROP_TRUNCATED;
		vlan = get16(p) & 0xfff;	/* 0: only a priority */
		type = get16(p + 2);
		p += VLAN_BYTES;
		len -= VLAN_BYTES;
	}
	if (vlan != net->vlan || type == ETH_VLAN || type == ETH_QINQ)
		return DROP_VLAN;
	switch (type) {
	case ETH_ARP:
		return arp_input(net, p, len);
	case ETH_IP4:
		return ip4_input(net, &packet, p, len);
	case ETH_IP6:
		return ip6_input(net, &packet, p, len);
	}
	return DROP_NOT_IP;
}

/* One store of all 16 bytes: they are copied at once, and a load over several stores waits for them to retire. */
static inline void
set_mapped(struct address *address, uint32_t ip4)
{
	typedef uint32_t words __attribute__((vector_size(16)));
	words mapped = { 0, 0, 0xffff0000, ip4 };
	memcpy(address->ip, &mapped, 16);
}

/* The plain case: our MAC and first address, IPv4 without options or fragments, UDP, all sums right, a listener that takes it.
 * Whatever differs goes the slow way, which finds out what it is. *refused: the listener did not take it. */
static inline bool
input_fast(struct net *net, const struct frame *frame, struct net_datagram *datagram, enum drop *refused)
{
	const uint8_t *p = frame->bytes;
	uint32_t l2 = net->l2_bytes;
	if (frame->len < l2 + IP4_BYTES + UDP_BYTES || (frame->flags & FRAME_TOO_LONG))
		return false;
	const uint8_t *ip = p + l2;
	uint32_t mac4, own4, to, from;
	uint16_t mac2, own2, fragment;
	memcpy(&mac4, p, 4);
	memcpy(&own4, net->mac, 4);
	memcpy(&mac2, p + 4, 2);
	memcpy(&own2, net->mac + 4, 2);
	memcpy(&fragment, ip + 6, 2);
	memcpy(&from, ip + 12, 4);
	memcpy(&to, ip + 16, 4);
	uint32_t total = get16(ip + 2), udp_len = get16(ip + 24);
	uint32_t odd = (mac4 ^ own4) | (uint32_t)(mac2 ^ own2) | (get16(ip - 2) ^ (uint32_t)ETH_IP4) | (ip[0] ^ 0x45u) |
		       (fragment & 0xff3fu) | (ip[9] ^ (uint32_t)PROTO_UDP) | (to ^ net->fast_ip4);
	if (odd)
		return false;
	if (net->vlan && (get16(p + 12) != ETH_VLAN || (get16(p + 14) & 0xfff) != net->vlan))
		return false;
	if (total > frame->len - l2 || udp_len < UDP_BYTES || udp_len + IP4_BYTES > total)
		return false;
	uint8_t net_of = ip[12];
	if (net_of == 0 || net_of == 127 || net_of >= 224 || from == to)
		return false;
	if (!(frame->flags & FRAME_IP_GOOD) && csum_fold(csum_add(0, ip, IP4_BYTES)) != 0)
		return false;
	const uint8_t *udp = ip + IP4_BYTES;
	uint16_t sum;
	memcpy(&sum, udp + 6, 2);
	if (sum && !(frame->flags & FRAME_L4_GOOD) && !net->trust_udp_checksum &&
	    csum_fold(csum_add(csum_pseudo4(ip + 12, ip + 16, PROTO_UDP, udp_len), udp, udp_len)) != 0)
		return false;
	datagram->payload = udp + UDP_BYTES;
	datagram->len = udp_len - UDP_BYTES;
	set_mapped(&datagram->from, from);
	set_mapped(&datagram->to, to);
	datagram->from.port = get16(udp);
	datagram->to.port = get16(udp + 2);
	*refused = net->on_udp(net->context, datagram);
	return true;
}

static void
refuse(struct net *net, const struct frame *frame, const struct net_datagram *datagram, enum drop drop)
{
	counter_add(&net->counters.drops[drop], 1);
	if (drop != DROP_NO_LISTENER)
		return;
	const uint8_t *ip = frame->bytes + net->l2_bytes;
	struct packet packet = { .from_mac = frame->bytes + 6, .v4 = true, .ip = ip, .ip_bytes = get16(ip + 2), .from = datagram->from,
				 .to = datagram->to };
	icmp_unreachable(net, &packet);
}

void
net_input(struct net *net, struct frame *frames, uint32_t n, uint64_t now_ns)
{
	struct net_datagram datagram = { 0 };
	uint64_t bytes = 0;
	net->now_ns = now_ns;
	net->taken = net->taken_bytes = 0;
	for (uint32_t i = 0; i < n; i++) {
		if (i + 2 < n) {
			__builtin_prefetch(frames[i + 2].bytes);
			__builtin_prefetch(frames[i + 2].bytes + 64);
		}
		bytes += frames[i].len;
		enum drop drop = DROP_NONE;
		if (__builtin_expect(input_fast(net, &frames[i], &datagram, &drop), 1)) {
			if (__builtin_expect(drop == DROP_NONE, 1)) {
				net->taken++;
				net->taken_bytes += datagram.len;
			} else {
				refuse(net, &frames[i], &datagram, drop);
			}
			continue;
		}
		drop = input_slow(net, &frames[i]);
		if (drop != DROP_NONE)
			counter_add(&net->counters.drops[drop], 1);
	}
	counter_add(&net->counters.frames_in, n);
	counter_add(&net->counters.bytes_in, bytes);
	counter_add(&net->counters.to_source, net->taken);
	counter_add(&net->counters.bytes_to_source, net->taken_bytes);
}

void
net_set_tcp(struct net *net, struct tcp *tcp)
{
	net->tcp = tcp;
}

void
net_set_on_tcp(struct net *net, net_on_tcp on_tcp, void *context)
{
	net->on_tcp = on_tcp;
	net->on_tcp_context = context;
}

void
net_tick(struct net *net, uint64_t now_ns)
{
	if (now_ns < net->tick_ns)
		return;
	net->now_ns = now_ns;
	net->tick_ns = now_ns + TICK_NS;
	if (!net->announced && now_ns >= net->announce_ns) {
		/* Once for the port; again each second while the other end is not there (memif, link down). */
		uint64_t failed = counter_read(&net->counters.sent_failed);
		if (net->queue == 0) {
			arp_announce(net);
			icmp6_announce(net);
			group_report_all(net, true, true);
		}
		net->announced = counter_read(&net->counters.sent_failed) == failed;
		net->announce_ns = now_ns + NS_PER_S;
	}
	if (net->frag_used)
		frag_tick(net);
}

int
net_send_udp(struct net *net, const struct address *from, const struct address *to, const void *payload, uint32_t len, uint64_t now_ns)
{
	struct frame_udp udp = { .from = *from, .to = *to, .vlan = net->vlan, .id = net->ip_id++ };
	bool v4 = address_is_v4(to);
	if (address_is_v4(from) != v4)
		return -EADDRNOTAVAIL;
	if (len + (v4 ? IP4_BYTES : IP6_BYTES) + UDP_BYTES > net->mtu)
		return -EMSGSIZE;
	if (!net_resolve(net, to, udp.to_mac, now_ns))
		return -EAGAIN;
	memcpy(udp.from_mac, net->mac, 6);
	struct frame frame;
	if (port_tx_room(net->port, net->queue, &frame, 1) != 1) {
		counter_add(&net->counters.sent_failed, 1);
		return -ENOBUFS;
	}
	frame.len = frame_udp_build(&udp, frame.bytes, frame.len, payload, len);
	bool fits = frame.len != 0;
	if (fits)
		net_end(net, &frame, frame.len - net->l2_bytes);
	else
		port_tx(net->port, net->queue, &frame, 1);	/* gives the buffer back */
	return fits ? 0 : -EMSGSIZE;
}

static bool
is_zero(const struct address *a)
{
	static const uint8_t zero[16];
	return memcmp(a->ip, zero, 16) == 0;
}

struct net *
net_open(const struct net_config *config, struct port *port, uint32_t queue, net_on_udp on_udp, void *context, struct err *err)
{
	if (config->address_count == 0 || config->address_count > NET_ADDRESSES_MAX || config->group_count > NET_GROUPS_MAX) {
		err_set(err, EINVAL, "port %s: 1 to %d addresses and at most %d groups, not %u and %u", port->name, NET_ADDRESSES_MAX,
			NET_GROUPS_MAX, config->address_count, config->group_count);
		return NULL;
	}
	struct net *net = aligned_alloc(64, (sizeof *net + 63) & ~(size_t)63);
	if (!net) {
		err_set(err, ENOMEM, "port %s: no memory", port->name);
		return NULL;
	}
	memset(net, 0, sizeof *net);
	net->frags = calloc(NET_FRAG_DATAGRAMS, sizeof *net->frags);
	if (!net->frags) {
		err_set(err, ENOMEM, "port %s: no memory", port->name);
		free(net);
		return NULL;
	}
	net->port = port;
	net->queue = queue;
	net->on_udp = on_udp;
	net->context = context;
	memcpy(net->mac, port->mac, 6);
	net->vlan = config->vlan & 0xfff;
	net->l2_bytes = ETH_BYTES + (net->vlan ? VLAN_BYTES : 0);
	net->mtu = config->mtu ? config->mtu : 1500;
	net->trust_udp_checksum = config->trust_udp_checksum;
	for (uint32_t i = 0; i < config->address_count; i++) {
		struct address a;
		net->addresses[net->address_count++] = config->addresses[i];
		memcpy(a.ip, config->addresses[i].ip, 16);
		if (!address_is_v4(&a))
			net->has_ip6 = true;
		else if (!net->fast_ip4)
			memcpy(&net->fast_ip4, a.ip + 12, 4);
	}
	if (net->has_ip6) {
		struct address_prefix local = { .bits = 64 };
		uint8_t id[8] = { net->mac[0] ^ 2, net->mac[1], net->mac[2], 0xff, 0xfe, net->mac[3], net->mac[4], net->mac[5] };
		local.ip[0] = 0xfe, local.ip[1] = 0x80;
		memcpy(local.ip + 8, id, 8);
		net->addresses[net->address_count++] = local;
	}
	memcpy(net->groups, config->groups, sizeof net->groups);
	net->group_count = config->group_count;
	net->gateway4 = config->gateway4;
	net->gateway6 = config->gateway6;
	net->has_gateway4 = !is_zero(&config->gateway4);
	net->has_gateway6 = !is_zero(&config->gateway6);
	net->icmp_tokens = NET_ICMP_ERRORS_PER_S;
	return net;
}

void
net_close(struct net *net)
{
	if (!net)
		return;
	free(net->frags);
	free(net);
}
