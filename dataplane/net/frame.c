#include "dataplane/net/frame.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

uint64_t
csum_add(uint64_t sum, const void *bytes, uint32_t len)
{
	const uint8_t *p = bytes;
#ifdef __SSE2__
	if (len >= 32) {
		/* Four 32-bit words of 16 bytes go to 64-bit sums: two lanes each for even and odd words. No carry can get lost. */
		const __m128i low = _mm_set1_epi64x(0xffffffff);
		__m128i even0 = _mm_setzero_si128(), odd0 = even0, even1 = even0, odd1 = even0;
		do {
			__m128i a = _mm_loadu_si128((const __m128i *)p), b = _mm_loadu_si128((const __m128i *)(p + 16));
			even0 = _mm_add_epi64(even0, _mm_and_si128(a, low));
			odd0 = _mm_add_epi64(odd0, _mm_srli_epi64(a, 32));
			even1 = _mm_add_epi64(even1, _mm_and_si128(b, low));
			odd1 = _mm_add_epi64(odd1, _mm_srli_epi64(b, 32));
			p += 32;
			len -= 32;
		} while (len >= 32);
		even0 = _mm_add_epi64(_mm_add_epi64(even0, odd0), _mm_add_epi64(even1, odd1));
		uint64_t two[2];
		_mm_storeu_si128((__m128i *)two, even0);
		sum += two[0] + two[1];
	}
#endif
	uint32_t word;
	for (; len >= 4; p += 4, len -= 4) {
		memcpy(&word, p, 4);
		sum += word;
	}
	if (len) {
		word = 0;
		memcpy(&word, p, len);
		sum += word;
	}
	return sum;
}

uint64_t
csum_pseudo4(const void *from4, const void *to4, uint8_t protocol, uint32_t len)
{
	uint8_t rest[4] = { 0, protocol, (uint8_t)(len >> 8), (uint8_t)len };
	uint32_t words[3];
	memcpy(&words[0], from4, 4);
	memcpy(&words[1], to4, 4);
	memcpy(&words[2], rest, 4);
	return (uint64_t)words[0] + words[1] + words[2];
}

uint64_t
csum_pseudo6(const void *from16, const void *to16, uint8_t protocol, uint32_t len)
{
	uint32_t words[10] = { [8] = __builtin_bswap32(len), [9] = (uint32_t)protocol << 24 };
	uint64_t sum = 0;
	memcpy(words, from16, 16);
	memcpy(words + 4, to16, 16);
	for (int i = 0; i < 10; i++)
		sum += words[i];
	return sum;
}

void
mac_of_group(const struct address *group, uint8_t mac[6])
{
	if (address_is_v4(group)) {
		mac[0] = 0x01, mac[1] = 0x00, mac[2] = 0x5e;
		mac[3] = group->ip[13] & 0x7f, mac[4] = group->ip[14], mac[5] = group->ip[15];
	} else {
		mac[0] = mac[1] = 0x33;
		memcpy(mac + 2, group->ip + 12, 4);
	}
}

uint32_t
frame_udp_header_bytes(const struct frame_udp *udp)
{
	return ETH_BYTES + (udp->vlan ? VLAN_BYTES : 0) + (address_is_v4(&udp->to) ? IP4_BYTES : IP6_BYTES) + UDP_BYTES;
}

void
frame_udp_checksum(void *frame, uint32_t header_bytes, uint32_t len)
{
	uint8_t *udp = (uint8_t *)frame + header_bytes - UDP_BYTES;
	bool v6 = header_bytes >= ETH_BYTES + IP6_BYTES + UDP_BYTES;	/* the shortest with IPv6 is longer than the longest with IPv4 */
	uint32_t udp_len = UDP_BYTES + len;
	memset(udp + 6, 0, 2);
	uint64_t sum = v6 ? csum_pseudo6(udp - 32, udp - 16, PROTO_UDP, udp_len) : csum_pseudo4(udp - 8, udp - 4, PROTO_UDP, udp_len);
	uint16_t folded = csum_fold(csum_add(sum, udp, udp_len));
	if (folded == 0)
		folded = 0xffff;	/* 0 would mean: none */
	memcpy(udp + 6, &folded, 2);
}

uint32_t
frame_udp_build(const struct frame_udp *udp, void *frame, uint32_t room, const void *payload, uint32_t len)
{
	bool v4 = address_is_v4(&udp->to);
	uint32_t headers = frame_udp_header_bytes(udp);
	if (len > 65535 - (v4 ? IP4_BYTES : 0) - UDP_BYTES || headers + len > room)
		return 0;
	uint8_t *p = frame;
	if (len && payload != p + headers)
		memmove(p + headers, payload, len);
	memcpy(p, udp->to_mac, 6);
	memcpy(p + 6, udp->from_mac, 6);
	p += 12;
	if (udp->vlan) {
		put16(p, ETH_VLAN);
		put16(p + 2, udp->vlan);
		p += 4;
	}
	put16(p, v4 ? ETH_IP4 : ETH_IP6);
	p += 2;
	uint8_t ttl = udp->ttl ? udp->ttl : 64;
	if (v4) {
		put16(p, 0x4500);
		put16(p + 2, (uint16_t)(IP4_BYTES + UDP_BYTES + len));
		put16(p + 4, udp->id);
		put16(p + 6, 0x4000);	/* don't fragment */
		p[8] = ttl;
		p[9] = PROTO_UDP;
		memset(p + 10, 0, 2);
		memcpy(p + 12, udp->from.ip + 12, 4);
		memcpy(p + 16, udp->to.ip + 12, 4);
		uint16_t sum = csum_fold(csum_add(0, p, IP4_BYTES));
		memcpy(p + 10, &sum, 2);
		p += IP4_BYTES;
	} else {
		put32(p, 0x60000000);
		put16(p + 4, (uint16_t)(UDP_BYTES + len));
		p[6] = PROTO_UDP;
		p[7] = ttl;
		memcpy(p + 8, udp->from.ip, 16);
		memcpy(p + 24, udp->to.ip, 16);
		p += IP6_BYTES;
	}
	put16(p, udp->from.port);
	put16(p + 2, udp->to.port);
	put16(p + 4, (uint16_t)(UDP_BYTES + len));
	if (v4 && udp->no_checksum)
		memset(p + 6, 0, 2);
	else
		frame_udp_checksum(frame, headers, len);
	return headers + len;
}
