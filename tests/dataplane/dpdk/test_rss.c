/* Proves: rss_hash is Toeplitz (Microsoft's published vectors), and with our key both directions of a flow hash alike. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/dpdk/rss.h"

static void
published_vectors(void **state)
{
	(void)state;
	static const uint8_t key[40] = {
		0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
		0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
	};
	/* 66.9.149.187:2794 -> 161.142.100.80:1766 */
	static const uint8_t flow[12] = { 66, 9, 149, 187, 161, 142, 100, 80, 2794 >> 8, 2794 & 255, 1766 >> 8, 1766 & 255 };
	assert_int_equal(rss_hash(key, 40, flow, 8), 0x323e8fc2);
	assert_int_equal(rss_hash(key, 40, flow, 12), 0x51ccc178);
}

static void
both_directions_alike(void **state)
{
	(void)state;
	uint8_t key[52], there[36], back[36];
	rss_key_symmetric(key, sizeof key);
	for (uint32_t round = 1; round < 1000; round++) {
		for (uint32_t i = 0; i < 36; i++)
			there[i] = (uint8_t)(round * 2654435761u >> (i % 24) ^ i * 31);
		memcpy(back, there + 16, 16);
		memcpy(back + 16, there, 16);
		memcpy(back + 32, there + 34, 2);
		memcpy(back + 34, there + 32, 2);
		assert_int_equal(rss_hash(key, 52, there, 36), rss_hash(key, 52, back, 36));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(published_vectors), cmocka_unit_test(both_directions_alike) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
