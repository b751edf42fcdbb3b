/* bench: a net over port_mem, packets made by hand, and the account checked after each. Shared by the tests and the fuzzer. */
#ifndef TESTS_NET_BENCH_H
#define TESTS_NET_BENCH_H

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/net/frame.h"
#include "dataplane/net/net.h"
#include "dataplane/port.h"

static const uint8_t bench_mac[6] = { 2, 0, 0, 0, 0, 1 }, bench_peer_mac[6] = { 2, 0, 0, 0, 0, 9 };

struct bench {
	struct port *port;
	struct net *net;
	uint64_t now_ns;
	uint32_t taken;			/* datagrams */
	uint32_t len;			/* of the last */
	uint64_t bytes_sum;		/* of all payload bytes: every byte is read, for the address sanitizer */
	uint8_t payload[65536];
	struct address from, to;
	uint64_t drops_before[DROP_COUNT];
};

static inline struct address
ip(const char *text)
{
	struct address a = { 0 };
	int rc = address_parse_ip(&a, text);
	assert(rc == 0);
	return a;
}

/* Port 514 is taken, 515 refuses the sender, all others have no listener. */
static inline enum drop
bench_on_udp(void *context, const struct net_datagram *datagram)
{
	struct bench *b = context;
	if (datagram->to.port == 515)
		return DROP_SENDER_NOT_ALLOWED;
	if (datagram->to.port != 514)
		return DROP_NO_LISTENER;
	b->taken++;
	b->len = datagram->len;
	b->from = datagram->from;
	b->to = datagram->to;
	memcpy(b->payload, datagram->payload, datagram->len);
	for (uint32_t i = 0; i < datagram->len; i++)
		b->bytes_sum += datagram->payload[i];
	return DROP_NONE;
}

static inline struct net_config
bench_config(void)
{
	struct net_config config = { .address_count = 3, .group_count = 2 };
	address_parse_prefix(&config.addresses[0], "192.0.2.10/24");
	address_parse_prefix(&config.addresses[1], "198.51.100.1/30");
	address_parse_prefix(&config.addresses[2], "2001:db8::10/64");
	config.groups[0] = ip("239.1.2.3");
	config.groups[1] = ip("ff05::514");
	config.gateway4 = ip("192.0.2.1");
	return config;
}

static inline void
bench_open_with(struct bench *b, const struct net_config *config)
{
	memset(b, 0, sizeof *b);
	b->port = port_mem_open("p0", bench_mac, NULL, 0, 1, NULL);
	b->net = net_open(config, b->port, 0, bench_on_udp, b, NULL);
	assert(b->port && b->net);
	b->now_ns = 1000000000;
}

static inline void
bench_open(struct bench *b)
{
	struct net_config config = bench_config();
	bench_open_with(b, &config);
}

static inline void
bench_close(struct bench *b)
{
	net_close(b->net);
	port_close(b->port);
}

static inline uint64_t
bench_drops(struct bench *b, enum drop drop)
{
	return counter_read(&net_counters(b->net)->drops[drop]);
}

/* One turn over everything fed. The account must be even after it. */
static inline void
bench_turn(struct bench *b)
{
	struct frame frames[PORT_BURST_MAX];
	uint32_t n;
	while ((n = port_rx(b->port, 0, frames, PORT_BURST_MAX))) {
		net_input(b->net, frames, n, b->now_ns);
		port_release(b->port, 0, frames, n);
	}
	struct net_counters *c = net_counters(b->net);
	assert(counter_read(&c->frames_in) == net_account_out(c));
}

static inline void
bench_frame(struct bench *b, const void *bytes, uint32_t len)
{
	for (int i = 0; i < DROP_COUNT; i++)
		b->drops_before[i] = bench_drops(b, i);
	int rc = port_mem_feed(b->port, bytes, len);
	assert(rc == 0);
	bench_turn(b);
}

/* The one drop that the last bench_frame caused; DROP_NONE: none. */
static inline enum drop
bench_dropped(struct bench *b)
{
	enum drop found = DROP_NONE;
	for (int i = 1; i < DROP_COUNT; i++)
		if (bench_drops(b, i) != b->drops_before[i]) {
			assert(found == DROP_NONE);
			found = i;
		}
	return found;
}

static inline struct frame_udp
bench_udp(bool v4)
{
	struct frame_udp udp = { .from = ip(v4 ? "192.0.2.99" : "2001:db8::99"), .to = ip(v4 ? "192.0.2.10" : "2001:db8::10") };
	udp.from.port = 5000;
	udp.to.port = 514;
	memcpy(udp.from_mac, bench_peer_mac, 6);
	memcpy(udp.to_mac, bench_mac, 6);
	return udp;
}

/* Sets the checksum of an IPv4 header at p anew. */
static inline void
bench_ip4_sum(uint8_t *p)
{
	memset(p + 10, 0, 2);
	uint16_t sum = csum_fold(csum_add(0, p, (p[0] & 15) * 4u));
	memcpy(p + 10, &sum, 2);
}

/* Ethernet and IP header for an upper protocol's bytes; returns the frame's length. checksum_at >= 0: filled in there. */
static inline uint32_t
bench_ip(uint8_t *frame, const struct address *from, const struct address *to, uint8_t protocol, uint8_t ttl, const void *bytes, uint32_t len,
	 int checksum_at)
{
	bool v4 = address_is_v4(to);
	uint8_t *p = frame + ETH_BYTES;
	if (to->ip[0] == 0xff || (v4 && to->ip[12] >= 224))
		mac_of_group(to, frame);
	else
		memcpy(frame, bench_mac, 6);
	memcpy(frame + 6, bench_peer_mac, 6);
	put16(frame + 12, v4 ? ETH_IP4 : ETH_IP6);
	if (v4) {
		put32(p, 0x45000000 | (IP4_BYTES + len));
		put32(p + 4, 0);
		p[8] = ttl;
		p[9] = protocol;
		memcpy(p + 12, from->ip + 12, 4);
		memcpy(p + 16, to->ip + 12, 4);
		bench_ip4_sum(p);
		p += IP4_BYTES;
	} else {
		put32(p, 0x60000000);
		put16(p + 4, (uint16_t)len);
		p[6] = protocol;
		p[7] = ttl;
		memcpy(p + 8, from->ip, 16);
		memcpy(p + 24, to->ip, 16);
		p += IP6_BYTES;
	}
	memcpy(p, bytes, len);
	if (checksum_at >= 0) {
		memset(p + checksum_at, 0, 2);
		uint64_t sum = csum_add(v4 ? 0 : csum_pseudo6(from->ip, to->ip, protocol, len), p, len);
		uint16_t folded = csum_fold(sum);
		memcpy(p + checksum_at, &folded, 2);
	}
	return (uint32_t)(p - frame) + len;
}

/* Cuts the UDP datagram of a built frame into a fragment [offset, offset + len) of its IP payload. */
static inline uint32_t
bench_fragment(const uint8_t *frame, uint32_t frame_len, uint32_t id, uint32_t offset, uint32_t len, bool more, uint8_t *out)
{
	bool v4 = get16(frame + 12) == ETH_IP4;
	uint32_t ip_at = ETH_BYTES, header = v4 ? IP4_BYTES : IP6_BYTES;
	const uint8_t *l4 = frame + ip_at + header;
	assert(ip_at + header + offset + len <= frame_len);
	memcpy(out, frame, ip_at + header);
	uint8_t *p = out + ip_at;
	if (v4) {
		put16(p + 2, (uint16_t)(header + len));
		put16(p + 4, (uint16_t)id);
		put16(p + 6, (uint16_t)(offset / 8 | (more ? 0x2000 : 0)));
		bench_ip4_sum(p);
		memcpy(p + header, l4 + offset, len);
		return ip_at + header + len;
	}
	put16(p + 4, (uint16_t)(8 + len));
	uint8_t next = p[6];
	p[6] = PROTO_FRAGMENT;
	p[40] = next;
	p[41] = 0;
	put16(p + 42, (uint16_t)(offset | more));
	put32(p + 44, id);
	memcpy(p + 48, l4 + offset, len);
	return ip_at + header + 8 + len;
}

#endif
