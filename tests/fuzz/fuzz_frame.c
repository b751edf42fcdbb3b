/* fuzz_frame: any bytes as frames. The input is cut into frames: two bytes of length (big-endian, 11 bits used; the highest bit
 * moves the clock one second on), then the frame. Proves no crash and an even account; every payload byte handed up is read.
 * With clang -fsanitize=fuzzer it is a libFuzzer target; else main below runs a bounded number of damaged good frames
 * (argument: seed and rounds), so that the test needs no clang. */
#include <stdio.h>

#include "tests/dataplane/net/bench.h"

static struct bench fuzz;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *sent;
	uint32_t n;
	bench_open(&fuzz);
	while (size >= 2) {
		uint32_t len = get16(data) & 0x7ff;
		if (data[0] & 0x80)
			fuzz.now_ns += 1000000000;
		data += 2;
		size -= 2;
		if (len > size)
			len = (uint32_t)size;
		net_tick(fuzz.net, fuzz.now_ns);
		bench_frame(&fuzz, data, len);	/* asserts the account */
		while (port_mem_sent(fuzz.port, &sent, &n))
			assert(n >= 60);
		data += len;
		size -= len;
	}
	bench_close(&fuzz);
	return 0;
}

#ifndef LIBFUZZER
static uint64_t seed;

static uint32_t
any(uint32_t below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)((seed >> 33) % below);
}

/* A frame that is good in most layers, so that damage reaches deep. */
static uint32_t
make(uint8_t *out)
{
	static uint8_t whole[2100], text[1500];
	struct address from = ip("192.0.2.99"), to = ip("192.0.2.10"), from6 = ip("fe80::9"), to6 = ip("2001:db8::10");
	bool v4 = any(2);
	uint32_t kind = any(6), n;
	struct frame_udp udp = bench_udp(v4);
	switch (kind) {
	case 0:
	case 1:
		n = frame_udp_build(&udp, whole, sizeof whole, text, any(1400));
		if (kind == 0 || n < 200) {
			memcpy(out, whole, n);
			return n;
		}
		return bench_fragment(whole, n, any(4), any(4) * 8, 8 + any(3) * 8, any(2), out);
	case 2: {
		uint8_t message[64] = { 0 };
		static const uint8_t types[] = { 128, 130, 135, 136, 1, 134 };
		message[0] = types[any(6)];
		memcpy(message + 8, to6.ip, 16);
		message[24] = (uint8_t)(1 + any(2)), message[25] = (uint8_t)any(3);
		return bench_ip(out, &from6, &to6, PROTO_ICMP6, any(2) ? 255 : 1, message, 8 + any(40), 2);
	}
	case 3: {
		uint8_t message[64] = { any(2) ? 8 : 0x11 };
		return bench_ip(out, &from, &to, any(2) ? PROTO_ICMP : PROTO_IGMP, 1, message, 8 + any(40), 2);
	}
	case 4: {
		uint8_t chain[200];
		for (uint32_t i = 0; i < sizeof chain; i++)
			chain[i] = 0;
		static const uint8_t next[] = { PROTO_HOPOPTS, PROTO_DSTOPTS, PROTO_ROUTING, PROTO_FRAGMENT, PROTO_AH, PROTO_UDP, PROTO_ICMP6, 59 };
		for (uint32_t i = 0; i < sizeof chain; i += 8) {
			chain[i] = next[any(8)];
			chain[i + 1] = (uint8_t)(any(4) == 0 ? any(256) : 0);
			chain[i + 2] = (uint8_t)(any(2)), chain[i + 3] = (uint8_t)(any(2) * 4);
		}
		return bench_ip(out, &from6, &to6, next[any(8)], 64, chain, any(sizeof chain), -1);
	}
	}
	memset(out, 0, 60);
	memcpy(out, bench_mac, 6);
	put16(out + 12, ETH_ARP);
	put16(out + 14, 1);
	put16(out + 16, ETH_IP4);
	out[18] = 6, out[19] = 4;
	put16(out + 20, (uint16_t)(1 + any(2)));
	memcpy(out + 28, from.ip + 12, 4);
	memcpy(out + 38, to.ip + 12, 4);
	return 60;
}

int
main(int argc, char **argv)
{
	static uint8_t input[65536];
	seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	uint64_t rounds = argc > 2 ? strtoull(argv[2], NULL, 0) : 300, taken = 0;
	printf("seed %llu, %llu rounds\n", (unsigned long long)seed, (unsigned long long)rounds);
	for (uint64_t round = 0; round < rounds; round++) {
		uint32_t used = 0;
		while (used + 2200 < sizeof input) {
			uint32_t len = make(input + used + 2);
			for (uint32_t k = any(4); k > 0; k--)
				input[used + 2 + any(any(2) ? len : len < 64 ? len : 64)] ^= (uint8_t)(1 << any(8));
			if (any(8) == 0)
				len = any(len + 1);
			put16(input + used, (uint16_t)(len | (any(50) == 0 ? 0x8000 : 0)));
			used += 2 + len;
		}
		LLVMFuzzerTestOneInput(input, used);
		taken += fuzz.taken;
	}
	printf("%llu datagrams got through\n", (unsigned long long)taken);
	return taken ? 0 : 1;
}
#endif
