/* Proves: what each kind of frame becomes (a datagram, an answer, or a drop with the right name), that fragments join in any
 * order and never otherwise, and that the account of frames is even after every single frame. How: net over port_mem with frames
 * made by hand, and random damage to good ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/dataplane/net/bench.h"

static struct bench b;
static uint8_t frame[70000], piece[70000], text[65536];

static uint32_t
good(bool v4, uint32_t payload)
{
	struct frame_udp udp = bench_udp(v4);
	return frame_udp_build(&udp, frame, sizeof frame, text, payload);
}

#define EXPECT(drop_, len_)                                                                                                                \
	do {                                                                                                                               \
		uint32_t taken_ = b.taken;                                                                                                 \
		bench_frame(&b, frame, len_);                                                                                              \
		assert_string_equal(drop_name[bench_dropped(&b)], drop_name[drop_]);                                                       \
		assert_int_equal(b.taken, taken_);                                                                                         \
	} while (0)
#define TAKEN(len_)                                                                                                                        \
	do {                                                                                                                               \
		uint32_t taken_ = b.taken;                                                                                                 \
		bench_frame(&b, frame, len_);                                                                                              \
		assert_string_equal(drop_name[bench_dropped(&b)], "none");                                                                \
		assert_int_equal(b.taken, taken_ + 1);                                                                                     \
	} while (0)

static int
setup(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < sizeof text; i++)
		text[i] = (uint8_t)(i * 7 + (i >> 8));
	bench_open(&b);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	bench_close(&b);
	return 0;
}

static uint16_t
sum_plain(const uint8_t *p, uint32_t len)
{
	uint32_t sum = 0;
	for (uint32_t i = 0; i < len; i++)
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static void
checksum_is_rfc1071(void **state)
{
	(void)state;
	for (uint32_t len = 0; len < 400; len++)
		for (uint32_t at = 0; at < 8; at++) {
			uint16_t sum = csum_fold(csum_add(0, text + at, len));
			assert_int_equal(__builtin_bswap16(sum), sum_plain(text + at, len));
		}
	uint8_t ones[9000];
	memset(ones, 0xff, sizeof ones);
	assert_int_equal(csum_fold(csum_add(0, ones, sizeof ones)), 0);
}

static void
names_have_no_holes(void **state)
{
	(void)state;
	for (int i = 0; i < DROP_COUNT; i++) {
		assert_non_null(drop_name[i]);
		assert_non_null(drop_help[i]);
		for (int k = 0; k < i; k++)
			assert_string_not_equal(drop_name[i], drop_name[k]);
	}
}

static void
udp_is_taken(void **state)
{
	(void)state;
	for (int v4 = 0; v4 < 2; v4++)
		for (uint32_t len = 0; len < 1400; len += 13) {
			TAKEN(good(v4, len));
			assert_int_equal(b.len, len);
			assert_memory_equal(b.payload, text, len);
			assert_int_equal(b.from.port, 5000);
			assert_int_equal(b.to.port, 514);
			struct address from = ip(v4 ? "192.0.2.99" : "2001:db8::99"), to = ip(v4 ? "192.0.2.10" : "2001:db8::10");
			assert_memory_equal(b.from.ip, from.ip, 16);
			assert_memory_equal(b.to.ip, to.ip, 16);
		}
	/* padding behind the datagram is no part of it */
	uint32_t len = good(true, 5);
	memset(frame + len, 0xee, 60 - len);
	TAKEN(60);
	assert_int_equal(b.len, 5);
	/* no checksum: allowed with IPv4 only */
	struct frame_udp udp = bench_udp(true);
	udp.no_checksum = 1;
	TAKEN(frame_udp_build(&udp, frame, sizeof frame, text, 100));
	len = good(false, 100);
	memset(frame + ETH_BYTES + IP6_BYTES + 6, 0, 2);
	EXPECT(DROP_CHECKSUM_UDP, len);
	/* second address, options, broadcast, groups */
	udp = bench_udp(true);
	udp.to.ip[12] = 198, udp.to.ip[13] = 51, udp.to.ip[14] = 100, udp.to.ip[15] = 1;
	TAKEN(frame_udp_build(&udp, frame, sizeof frame, text, 100));
	udp = bench_udp(true);
	memset(udp.to_mac, 0xff, 6);
	udp.to.ip[15] = 255;
	TAKEN(frame_udp_build(&udp, frame, sizeof frame, text, 100));
	struct address group = ip("239.1.2.3");
	memcpy(udp.to.ip, group.ip, 16);
	mac_of_group(&group, udp.to_mac);
	TAKEN(frame_udp_build(&udp, frame, sizeof frame, text, 100));
	udp = bench_udp(false);
	group = ip("ff05::514");
	memcpy(udp.to.ip, group.ip, 16);
	mac_of_group(&group, udp.to_mac);
	TAKEN(frame_udp_build(&udp, frame, sizeof frame, text, 100));
	udp.to.ip[15]++;
	len = frame_udp_build(&udp, frame, sizeof frame, text, 100);
	EXPECT(DROP_NOT_FOR_US, len);
}

static void
every_cut_is_truncated(void **state)
{
	(void)state;
	for (int v4 = 0; v4 < 2; v4++) {
		uint32_t len = good(v4, 40);
		for (uint32_t cut = 0; cut < len; cut++)
			EXPECT(DROP_TRUNCATED, cut);
		TAKEN(len);
	}
}

static void
bad_frames_have_names(void **state)
{
	(void)state;
	uint8_t *p = frame + ETH_BYTES;
	uint32_t len;
#define BAD(v4_, drop_, ...)                                                                                                               \
	do {                                                                                                                               \
		len = good(v4_, 100);                                                                                                      \
		__VA_ARGS__;                                                                                                               \
		EXPECT(drop_, len);                                                                                                        \
	} while (0)
	BAD(true, DROP_NOT_FOR_US, frame[5] = 77);
	BAD(true, DROP_NOT_IP, put16(frame + 12, 0x88cc));
	BAD(true, DROP_VLAN, put16(frame + 12, ETH_QINQ));
	BAD(true, DROP_IP_VERSION, p[0] = 0x55);
	BAD(true, DROP_IP_VERSION, p[0] = 0x44);
	BAD(false, DROP_IP_VERSION, p[0] = 0x40);
	BAD(true, DROP_CHECKSUM_IP, p[10] ^= 1);
	BAD(true, DROP_BAD_LENGTH, put16(p + 2, 10));
	BAD(true, DROP_TRUNCATED, put16(p + 2, 1500));
	BAD(true, DROP_CHECKSUM_UDP, frame[60] ^= 1);
	BAD(false, DROP_CHECKSUM_UDP, frame[80] ^= 1);
	BAD(true, DROP_BAD_LENGTH, put16(p + 24, 7));
	BAD(true, DROP_BAD_LENGTH, put16(p + 24, 109));
	BAD(false, DROP_BAD_LENGTH, put16(p + 44, 109));
	BAD(false, DROP_BAD_LENGTH, put16(p + 4, 0));
	BAD(true, DROP_PROTOCOL, p[9] = PROTO_TCP; bench_ip4_sum(p));
	BAD(false, DROP_PROTOCOL, p[6] = PROTO_TCP);
	BAD(true, DROP_NOT_FOR_US, p[19] = 77; bench_ip4_sum(p));
	BAD(false, DROP_NOT_FOR_US, p[39] = 77);
	BAD(true, DROP_BAD_SOURCE, p[12] = 127; bench_ip4_sum(p));
	BAD(true, DROP_BAD_SOURCE, p[12] = 239; bench_ip4_sum(p));
	BAD(true, DROP_BAD_SOURCE, p[12] = 0; bench_ip4_sum(p));
	BAD(true, DROP_BAD_SOURCE, p[15] = 10; bench_ip4_sum(p));
	BAD(false, DROP_BAD_SOURCE, p[8] = 0xff);
	BAD(false, DROP_BAD_SOURCE, memset(p + 8, 0, 15); p[23] = 1);
	BAD(false, DROP_BAD_SOURCE, memcpy(p + 8, ip("192.0.2.7").ip, 16));
	struct frame_udp udp = bench_udp(true);
	udp.to.port = 515;
	len = frame_udp_build(&udp, frame, sizeof frame, text, 100);
	EXPECT(DROP_SENDER_NOT_ALLOWED, len);
	udp = bench_udp(false);
	udp.to.port = 515;
	len = frame_udp_build(&udp, frame, sizeof frame, text, 100);
	EXPECT(DROP_SENDER_NOT_ALLOWED, len);
	const uint8_t *sent;
	assert_false(port_mem_sent(b.port, &sent, &len));
	/* a frame that did not fit its buffer */
	struct frame cut = { .bytes = frame, .len = 100, .flags = FRAME_TOO_LONG };
	uint64_t before = bench_drops(&b, DROP_TOO_LONG);
	net_input(b.net, &cut, 1, b.now_ns);
	assert_int_equal(bench_drops(&b, DROP_TOO_LONG), before + 1);
}

static void
ip4_options_are_skipped(void **state)
{
	(void)state;
	uint32_t len = good(true, 100);
	uint8_t *p = frame + ETH_BYTES;
	memmove(p + 28, p + 20, len - ETH_BYTES - 20);
	memset(p + 20, 1, 8);
	p[0] = 0x47;
	put16(p + 2, (uint16_t)(get16(p + 2) + 8));
	bench_ip4_sum(p);
	TAKEN(len + 8);
	assert_memory_equal(b.payload, text, 100);
}

static void
vlan(void **state)
{
	(void)state;
	struct frame_udp udp = bench_udp(true);
	udp.vlan = 7;
	uint32_t len = frame_udp_build(&udp, frame, sizeof frame, text, 100);
	EXPECT(DROP_VLAN, len);
	put16(frame + 14, 0x2000);	/* only a priority: as untagged */
	TAKEN(len);
	bench_close(&b);
	struct net_config config = bench_config();
	config.vlan = 7;
	bench_open_with(&b, &config);
	for (int v4 = 0; v4 < 2; v4++) {
		udp = bench_udp(v4);
		udp.vlan = 7;
		len = frame_udp_build(&udp, frame, sizeof frame, text, 100);
		TAKEN(len);
		put16(frame + 14, 0x6007);
		TAKEN(len);
		put16(frame + 14, 8);
		EXPECT(DROP_VLAN, len);
		len = good(v4, 100);
		EXPECT(DROP_VLAN, len);
	}
	/* answers bear the tag */
	udp.to.port = 9;
	len = frame_udp_build(&udp, frame, sizeof frame, text, 100);
	EXPECT(DROP_NO_LISTENER, len);
	const uint8_t *sent;
	assert_true(port_mem_sent(b.port, &sent, &len));
	assert_int_equal(get16(sent + 12), ETH_VLAN);
	assert_int_equal(get16(sent + 14), 7);
}

static void
arp(void **state)
{
	(void)state;
	uint32_t len = 60;
	const uint8_t *sent;
	uint8_t *p = frame + ETH_BYTES;
	memset(frame, 0xff, 6);
	memcpy(frame + 6, bench_peer_mac, 6);
	put16(frame + 12, ETH_ARP);
	memset(p, 0, 46);
	put16(p, 1);
	put16(p + 2, ETH_IP4);
	p[4] = 6, p[5] = 4;
	put16(p + 6, 1);
	memcpy(p + 8, bench_peer_mac, 6);
	memcpy(p + 14, ip("192.0.2.99").ip + 12, 4);
	memcpy(p + 24, ip("192.0.2.10").ip + 12, 4);
	EXPECT(DROP_NONE, 60);
	assert_int_equal(counter_read(&net_counters(b.net)->arp), 1);
	assert_true(port_mem_sent(b.port, &sent, &len));
	assert_int_equal(len, 60);
	assert_memory_equal(sent, bench_peer_mac, 6);
	assert_memory_equal(sent + 6, bench_mac, 6);
	assert_int_equal(get16(sent + ETH_BYTES + 6), 2);
	assert_memory_equal(sent + ETH_BYTES + 8, bench_mac, 6);
	assert_memory_equal(sent + ETH_BYTES + 14, p + 24, 4);
	/* and we know the asker now */
	uint8_t mac[6];
	struct address peer = ip("192.0.2.99");
	assert_true(net_resolve(b.net, &peer, mac, b.now_ns));
	assert_memory_equal(mac, bench_peer_mac, 6);
	/* for somebody else: consumed, no answer */
	p[27] = 77;
	EXPECT(DROP_NONE, 60);
	assert_false(port_mem_sent(b.port, &sent, &len));
	for (int i = 0; i < 8; i++) {
		uint8_t keep = p[i];
		p[i] ^= 0x40;
		EXPECT(DROP_BAD_ARP, 60);
		p[i] = keep;
	}
	EXPECT(DROP_TRUNCATED, 41);
}

static void
arp_asks(void **state)
{
	(void)state;
	uint32_t len;
	const uint8_t *sent;
	uint8_t mac[6];
	struct address far = ip("203.0.113.5"), far6 = ip("2001:db8:1::5"), from = ip("192.0.2.10");
	assert_false(net_resolve(b.net, &far6, mac, b.now_ns));	/* no gateway */
	assert_false(port_mem_sent(b.port, &sent, &len));
	assert_int_equal(net_send_udp(b.net, &from, &far, "x", 1, b.now_ns), -11 /* EAGAIN */);
	assert_true(port_mem_sent(b.port, &sent, &len));
	assert_int_equal(get16(sent + 12), ETH_ARP);
	assert_memory_equal(sent + ETH_BYTES + 24, ip("192.0.2.1").ip + 12, 4);	/* the gateway */
	assert_false(net_resolve(b.net, &far, mac, b.now_ns));
	assert_false(port_mem_sent(b.port, &sent, &len));	/* once a second */
	b.now_ns += 1000000000;
	assert_false(net_resolve(b.net, &far, mac, b.now_ns));
	assert_true(port_mem_sent(b.port, &sent, &len));
	memcpy(frame, sent, 60);
	uint8_t *p = frame + ETH_BYTES;
	memcpy(frame, bench_mac, 6);
	put16(p + 6, 2);
	memcpy(p + 8, bench_peer_mac, 6);
	memcpy(p + 14, ip("192.0.2.1").ip + 12, 4);
	memcpy(p + 18, bench_mac, 6);
	memcpy(p + 24, from.ip + 12, 4);
	EXPECT(DROP_NONE, 60);
	assert_true(net_resolve(b.net, &far, mac, b.now_ns));
	assert_memory_equal(mac, bench_peer_mac, 6);
	from.port = 1, far.port = 2;
	assert_int_equal(net_send_udp(b.net, &from, &far, "x", 1, b.now_ns), 0);
	assert_true(port_mem_sent(b.port, &sent, &len));
	assert_int_equal(len, 60);
	assert_int_equal(sent[ETH_BYTES + 28], 'x');
	/* asked again when it grows old, used meanwhile; forgotten at last */
	b.now_ns += UINT64_C(61000000000);
	assert_true(net_resolve(b.net, &far, mac, b.now_ns));
	assert_true(port_mem_sent(b.port, &sent, &len));
	b.now_ns += UINT64_C(600000000000);
	assert_false(net_resolve(b.net, &far, mac, b.now_ns));
}

static void
echo(void **state)
{
	(void)state;
	const uint8_t *sent;
	uint32_t len;
	struct address from = ip("192.0.2.99"), to = ip("192.0.2.10"), from6 = ip("fe80::9"), to6 = ip("2001:db8::10");
	uint8_t ping[64] = { 8, 0, 0, 0, 0x12, 0x34, 0, 1, 'h', 'i' };
	TAKEN(good(true, 1));
	len = bench_ip(frame, &from, &to, PROTO_ICMP, 64, ping, 57, 2);
	EXPECT(DROP_NONE, len);
	assert_int_equal(counter_read(&net_counters(b.net)->icmp), 1);
	assert_true(port_mem_sent(b.port, &sent, &len));
	assert_int_equal(sent[34], 0);
	assert_int_equal(csum_fold(csum_add(0, sent + 34, 57)), 0);
	assert_int_equal(csum_fold(csum_add(0, sent + 14, 20)), 0);
	assert_memory_equal(sent + 38, ping + 4, 53);
	assert_memory_equal(sent + 26, to.ip + 12, 4);
	len = bench_ip(frame, &from, &to, PROTO_ICMP, 64, ping, 57, 2);
	frame[40] ^= 1;
	EXPECT(DROP_CHECKSUM_ICMP, len);
	len = bench_ip(frame, &from, &to, PROTO_ICMP, 64, ping, 7, 2);
	EXPECT(DROP_TRUNCATED, len);
	/* nobody gets many to answer at once */
	struct address all = ip("192.0.2.255");
	len = bench_ip(frame, &from, &all, PROTO_ICMP, 64, ping, 57, 2);
	EXPECT(DROP_NONE, len);
	assert_false(port_mem_sent(b.port, &sent, &len));

	ping[0] = 128;
	len = bench_ip(frame, &from6, &to6, PROTO_ICMP6, 64, ping, 57, 2);
	EXPECT(DROP_NONE, len);
	assert_true(port_mem_sent(b.port, &sent, &len));
	assert_int_equal(sent[54], 129);
	assert_int_equal(csum_fold(csum_add(csum_pseudo6(sent + 22, sent + 38, PROTO_ICMP6, 57), sent + 54, 57)), 0);
	len = bench_ip(frame, &from6, &to6, PROTO_ICMP6, 64, ping, 57, 2);
	frame[70] ^= 1;
	EXPECT(DROP_CHECKSUM_ICMP, len);
}

static void
unreachable_is_limited(void **state)
{
	(void)state;
	const uint8_t *sent;
	uint32_t len, answers = 0;
	for (int v4 = 0; v4 < 2; v4++) {
		struct frame_udp udp = bench_udp(v4);
		udp.to.port = 9;
		b.now_ns += 1000000000;
		answers = 0;
		uint64_t before = bench_drops(&b, DROP_NO_LISTENER);
		for (int i = 0; i < 1000; i++) {
			len = frame_udp_build(&udp, frame, sizeof frame, text, 100);
			EXPECT(DROP_NO_LISTENER, len);
			while (port_mem_sent(b.port, &sent, &len)) {
				answers++;
				uint32_t at = v4 ? 34 : 54;
				assert_int_equal(sent[at], v4 ? 3 : 1);
				assert_int_equal(sent[at + 1], v4 ? 3 : 4);
				assert_memory_equal(sent + at + 8, frame + 14, 60);
				assert_int_equal(csum_fold(csum_add(v4 ? 0 : csum_pseudo6(sent + 22, sent + 38, PROTO_ICMP6, len - at), sent + at,
								    len - at)), 0);
			}
		}
		assert_int_equal(answers, NET_ICMP_ERRORS_PER_S);
		assert_int_equal(bench_drops(&b, DROP_NO_LISTENER), before + 1000);
	}
}

static void
neighbour_discovery(void **state)
{
	(void)state;
	const uint8_t *sent;
	uint32_t len;
	uint8_t mac[6], ask[32] = { 135, [24] = 1, [25] = 1 };
	struct address peer = ip("fe80::9"), own = ip("2001:db8::10"), group = ip("ff02::1:ff00:10"), none = { 0 };
	memcpy(ask + 8, own.ip, 16);
	memcpy(ask + 26, bench_peer_mac, 6);
	len = bench_ip(frame, &peer, &group, PROTO_ICMP6, 255, ask, 32, 2);
	EXPECT(DROP_NONE, len);
	assert_true(port_mem_sent(b.port, &sent, &len));
	assert_int_equal(sent[54], 136);
	assert_int_equal(sent[58], 0x60);
	assert_memory_equal(sent + 62, own.ip, 16);
	assert_memory_equal(sent + 80, bench_mac, 6);
	assert_int_equal(csum_fold(csum_add(csum_pseudo6(sent + 22, sent + 38, PROTO_ICMP6, 32), sent + 54, 32)), 0);
	assert_true(net_resolve(b.net, &peer, mac, b.now_ns));
	assert_memory_equal(mac, bench_peer_mac, 6);
	/* rules: hop limit 255, code 0, options whole, no multicast target */
	len = bench_ip(frame, &peer, &group, PROTO_ICMP6, 254, ask, 32, 2);
	EXPECT(DROP_BAD_ICMP, len);
	len = bench_ip(frame, &peer, &group, PROTO_ICMP6, 255, ask, 30, 2);
	EXPECT(DROP_BAD_ICMP, len);
	ask[25] = 0;
	len = bench_ip(frame, &peer, &group, PROTO_ICMP6, 255, ask, 32, 2);
	EXPECT(DROP_BAD_ICMP, len);
	ask[25] = 1;
	len = bench_ip(frame, &none, &group, PROTO_ICMP6, 255, ask, 32, 2);
	EXPECT(DROP_BAD_ICMP, len);
	/* a probe for duplicates is answered to all */
	len = bench_ip(frame, &none, &group, PROTO_ICMP6, 255, ask, 24, 2);
	EXPECT(DROP_NONE, len);
	assert_true(port_mem_sent(b.port, &sent, &len));
	assert_int_equal(sent[0], 0x33);
	assert_int_equal(sent[58], 0x20);
	/* and we ask */
	struct address other = ip("2001:db8::77");
	assert_false(net_resolve(b.net, &other, mac, b.now_ns));
	assert_true(port_mem_sent(b.port, &sent, &len));
	assert_int_equal(sent[54], 135);
	assert_memory_equal(sent + 62, other.ip, 16);
	uint8_t tell[32] = { 136, [4] = 0x60, [24] = 2, [25] = 1 };
	memcpy(tell + 8, other.ip, 16);
	memcpy(tell + 26, bench_peer_mac, 6);
	len = bench_ip(frame, &other, &own, PROTO_ICMP6, 255, tell, 32, 2);
	EXPECT(DROP_NONE, len);
	assert_true(net_resolve(b.net, &other, mac, b.now_ns));
}

static void
groups_are_reported(void **state)
{
	(void)state;
	const uint8_t *sent;
	uint32_t len, arps = 0, igmp = 0, mld = 0, adverts = 0;
	for (int round = 0; round < 3; round++) {
		net_tick(b.net, b.now_ns);
		while (port_mem_sent(b.port, &sent, &len)) {
			arps += get16(sent + 12) == ETH_ARP;
			igmp += get16(sent + 12) == ETH_IP4 && sent[23] == PROTO_IGMP && sent[38] == 0x16;
			mld += get16(sent + 12) == ETH_IP6 && sent[20] == PROTO_HOPOPTS && sent[62] == 131;
			adverts += get16(sent + 12) == ETH_IP6 && sent[20] == PROTO_ICMP6 && sent[54] == 136;
		}
		b.now_ns += 1000000000;
	}
	assert_int_equal(arps, 2);
	assert_int_equal(igmp, 1);
	assert_int_equal(mld, 3);	/* the group, and those of two addresses */
	assert_int_equal(adverts, 2);
	uint8_t query[8] = { 0x11, 100 };
	struct address router = ip("192.0.2.1"), all = ip("224.0.0.1");
	len = bench_ip(frame, &router, &all, PROTO_IGMP, 1, query, 8, 2);
	EXPECT(DROP_NONE, len);
	assert_int_equal(counter_read(&net_counters(b.net)->igmp), 1);
	assert_true(port_mem_sent(b.port, &sent, &len));
	assert_int_equal(sent[38], 0x16);
	EXPECT(DROP_NONE, 42);	/* a flood of queries is answered once a second */
	assert_false(port_mem_sent(b.port, &sent, &len));
}

/* Puts `bytes` of extension headers between the IPv6 header and UDP. */
static uint32_t
extended(uint8_t first, const uint8_t *bytes, uint32_t count)
{
	uint32_t len = good(false, 100);
	uint8_t *p = frame + ETH_BYTES;
	memmove(p + 40 + count, p + 40, len - ETH_BYTES - 40);
	memcpy(p + 40, bytes, count);
	p[6] = first;
	put16(p + 4, (uint16_t)(get16(p + 4) + count));
	return len + count;
}

static void
extension_headers(void **state)
{
	(void)state;
	uint8_t pad[8] = { PROTO_UDP, 0, 1, 4, 0, 0, 0, 0 }, route[8] = { PROTO_UDP, 0, 0, 0 }, ah[24] = { PROTO_UDP, 4 };
	TAKEN(extended(PROTO_HOPOPTS, pad, 8));
	TAKEN(extended(PROTO_DSTOPTS, pad, 8));
	TAKEN(extended(PROTO_ROUTING, route, 8));
	TAKEN(extended(PROTO_AH, ah, 24));
	uint32_t len;
	route[3] = 1;
	len = extended(PROTO_ROUTING, route, 8);
	EXPECT(DROP_EXTENSION_HEADERS, len);
	pad[2] = 0xc2;	/* jumbo: one that must not be skipped */
	len = extended(PROTO_HOPOPTS, pad, 8);
	EXPECT(DROP_EXTENSION_HEADERS, len);
	pad[2] = 1, pad[3] = 5;
	len = extended(PROTO_HOPOPTS, pad, 8);
	EXPECT(DROP_EXTENSION_HEADERS, len);
	pad[3] = 4, pad[1] = 200;
	len = extended(PROTO_HOPOPTS, pad, 8);
	EXPECT(DROP_TRUNCATED, len);
	uint8_t many[8 * 9] = { 0 };
	for (int i = 0; i < 9; i++) {
		many[i * 8] = i == 8 ? PROTO_UDP : PROTO_DSTOPTS;
		many[i * 8 + 2] = 1, many[i * 8 + 3] = 4;
	}
	len = extended(PROTO_DSTOPTS, many, sizeof many);
	EXPECT(DROP_EXTENSION_HEADERS, len);
	many[0] = PROTO_HOPOPTS;	/* in the second place */
	len = extended(PROTO_DSTOPTS, many, sizeof many);
	EXPECT(DROP_EXTENSION_HEADERS, len);
	uint8_t atomic[8] = { PROTO_UDP, 0, 0, 0, 1, 2, 3, 4 };
	TAKEN(extended(PROTO_FRAGMENT, atomic, 8));
	len = extended(PROTO_NONE, pad, 8);
	EXPECT(DROP_PROTOCOL, len);
}

static void
send_piece(uint32_t whole, uint32_t id, uint32_t offset, uint32_t len, bool more)
{
	uint32_t n = bench_fragment(frame, whole, id, offset, len, more, piece);
	bench_frame(&b, piece, n);
}

static void
fragments_join_in_any_order(void **state)
{
	(void)state;
	static const uint8_t orders[6][3] = { { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 }, { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 } };
	for (int v4 = 0; v4 < 2; v4++)
		for (int o = 0; o < 6; o++) {
			uint32_t whole = good(v4, 4001), total = 4009, at[4] = { 0, 1480, 2960, total }, taken = b.taken;
			for (int k = 0; k < 3; k++) {
				int i = orders[o][k];
				send_piece(whole, 100 + o, at[i], at[i + 1] - at[i], i < 2);
				assert_int_equal(bench_dropped(&b), DROP_NONE);
			}
			assert_int_equal(b.taken, taken + 1);
			assert_int_equal(b.len, 4001);
			assert_memory_equal(b.payload, text, 4001);
		}
	struct net_counters *c = net_counters(b.net);
	assert_int_equal(counter_read(&c->fragment_joined), 24);
	assert_int_equal(counter_read(&c->fragment_held), 0);
	assert_int_equal(counter_read(&c->to_source), 12);
	/* the largest of all */
	uint32_t whole = good(true, 65507), taken = b.taken;
	for (uint32_t at = 0; at < 65515; at += 1480)
		send_piece(whole, 7, at, 65515 - at < 1480 ? 65515 - at : 1480, 65515 - at > 1480);
	assert_int_equal(b.taken, taken + 1);
	assert_int_equal(b.len, 65507);
	assert_memory_equal(b.payload, text, 65507);
	/* a wrong checksum shows in the whole too, and an unlistened port is answered by nothing */
	whole = good(true, 3000);
	frame[100] ^= 1;
	send_piece(whole, 8, 0, 1480, true);
	send_piece(whole, 8, 1480, 3008 - 1480, false);
	assert_int_equal(bench_dropped(&b), DROP_CHECKSUM_UDP);
}

static void
bad_fragments(void **state)
{
	(void)state;
	for (int v4 = 0; v4 < 2; v4++) {
		struct net_counters *c = net_counters(b.net);
		uint32_t whole = good(v4, 4000), id = 1;
		uint64_t overlap = bench_drops(&b, DROP_FRAGMENT_OVERLAP);
		/* overlap: both go, and nothing is delivered */
		send_piece(whole, id, 0, 1480, true);
		send_piece(whole, id, 1472, 1480, true);
		assert_int_equal(bench_drops(&b, DROP_FRAGMENT_OVERLAP), overlap + 2);
		assert_int_equal(counter_read(&c->fragment_held), 0);
		/* an exact copy only goes itself; a changed one takes all */
		send_piece(whole, ++id, 0, 1480, true);
		send_piece(whole, id, 0, 1480, true);
		assert_int_equal(bench_dropped(&b), DROP_FRAGMENT_DUPLICATE);
		frame[200] ^= 1;
		send_piece(whole, id, 0, 1480, true);
		assert_int_equal(bench_dropped(&b), DROP_FRAGMENT_OVERLAP);
		assert_int_equal(counter_read(&c->fragment_held), 0);
		/* lengths: not a multiple of 8, two different ends, beyond the end, nothing at all */
		send_piece(whole, ++id, 0, 1481, true);
		assert_int_equal(bench_dropped(&b), DROP_FRAGMENT_BAD);
		send_piece(whole, ++id, 1480, 100, false);
		send_piece(whole, id, 1600, 100, false);
		assert_int_equal(bench_dropped(&b), DROP_FRAGMENT_BAD);
		send_piece(whole, ++id, 1600, 800, true);
		send_piece(whole, id, 8, 1480, false);
		assert_int_equal(bench_dropped(&b), DROP_FRAGMENT_BAD);
		send_piece(whole, ++id, 8, 0, true);
		assert_int_equal(bench_dropped(&b), DROP_FRAGMENT_BAD);
		uint32_t n = bench_fragment(frame, whole, ++id, 0, 1480, true, piece);
		if (v4) {	/* the ping of death */
			put16(piece + ETH_BYTES + 6, 0x3fff);
			bench_ip4_sum(piece + ETH_BYTES);
		} else {
			put16(piece + ETH_BYTES + 42, 0xfff9);
		}
		bench_frame(&b, piece, n);
		assert_int_equal(bench_dropped(&b), DROP_FRAGMENT_BAD);
		assert_int_equal(counter_read(&c->fragment_held), 0);
		/* too many pieces */
		uint64_t many = bench_drops(&b, DROP_FRAGMENT_TOO_MANY);
		id++;
		for (uint32_t i = 0; i <= NET_FRAG_PIECES_MAX; i++)
			send_piece(whole, id, i * 8, 8, true);
		assert_int_equal(bench_drops(&b, DROP_FRAGMENT_TOO_MANY), many + NET_FRAG_PIECES_MAX + 1);
		/* by the million: the oldest make room; then time takes the rest */
		uint64_t no_room = bench_drops(&b, DROP_FRAGMENT_NO_ROOM), late = bench_drops(&b, DROP_FRAGMENT_TIMEOUT);
		for (uint32_t i = 0; i < 10000; i++) {
			b.now_ns += 1000;
			send_piece(whole, 1000 + i, 0, 1480, true);
		}
		assert_int_equal(bench_drops(&b, DROP_FRAGMENT_NO_ROOM), no_room + 10000 - NET_FRAG_DATAGRAMS);
		assert_int_equal(counter_read(&c->fragment_held), NET_FRAG_DATAGRAMS);
		b.now_ns += NET_FRAG_AGE_NS;
		net_tick(b.net, b.now_ns);
		assert_int_equal(bench_drops(&b, DROP_FRAGMENT_TIMEOUT), late + NET_FRAG_DATAGRAMS);
		assert_int_equal(counter_read(&c->fragment_held), 0);
		assert_int_equal(counter_read(&c->frames_in), net_account_out(c));
	}
	assert_int_equal(b.taken, 0);
}

static void
hardware_flags_save_the_sum(void **state)
{
	(void)state;
	uint32_t len = good(true, 100);
	frame[60] ^= 1;
	struct frame one = { .bytes = frame, .len = len, .flags = FRAME_IP_GOOD | FRAME_L4_GOOD };
	net_input(b.net, &one, 1, b.now_ns);
	assert_int_equal(b.taken, 1);
	one.flags = FRAME_IP_GOOD;
	net_input(b.net, &one, 1, b.now_ns);
	assert_int_equal(b.taken, 1);
	assert_int_equal(bench_drops(&b, DROP_CHECKSUM_UDP), 1);
}

static void
account_is_even_under_damage(void **state)
{
	(void)state;
	uint64_t seed = 1;
	const uint8_t *sent;
	for (int i = 0; i < 60000; i++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		uint32_t whole = good(seed >> 63, 40 + (seed >> 50) % 300), len = whole;
		uint8_t *p = frame;
		if ((seed >> 40) % 4 == 0) {
			len = bench_fragment(frame, whole, (seed >> 20) % 8, (seed >> 24) % 4 * 8, 16, seed >> 30 & 1, piece);
			p = piece;
		}
		for (uint32_t k = 0; k < (seed >> 34) % 4; k++) {
			uint64_t r = (seed ^ (uint64_t)k << 17) * 0x9e3779b97f4a7c15u;
			p[(r >> 32) % (k ? 70 : len) % len] ^= (uint8_t)(1 << (r >> 60 & 7));
		}
		if ((seed >> 44) % 8 == 0)
			len = (seed >> 10) % (len + 1);
		b.now_ns += 1000000;
		net_tick(b.net, b.now_ns);
		bench_frame(&b, p, len);	/* asserts the account */
		uint32_t n;
		while (port_mem_sent(b.port, &sent, &n))
			;
	}
	assert_true(b.taken > 1000);
	assert_true(counter_read(&net_counters(b.net)->fragment_joined) > 10);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(checksum_is_rfc1071), T(names_have_no_holes), T(udp_is_taken), T(every_cut_is_truncated), T(bad_frames_have_names),
		T(ip4_options_are_skipped), T(vlan), T(arp), T(arp_asks), T(echo), T(unreachable_is_limited), T(neighbour_discovery),
		T(groups_are_reported), T(extension_headers), T(fragments_join_in_any_order), T(bad_fragments), T(hardware_flags_save_the_sum),
		T(account_is_even_under_damage),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
