#include "dataplane/dpdk/rss.h"

#include <assert.h>

void
rss_key_symmetric(uint8_t *key, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++)
		key[i] = i % 2 ? 0x5a : 0x6d;
}

uint32_t
rss_hash(const uint8_t *key, uint32_t key_bytes, const uint8_t *bytes, uint32_t len)
{
	assert(key_bytes >= len + 4);
	uint32_t hash = 0;
	uint64_t window = (uint64_t)key[0] << 24 | (uint64_t)key[1] << 16 | (uint64_t)key[2] << 8 | key[3];
	for (uint32_t i = 0; i < len; i++) {
		window = window << 8 | key[i + 4];	/* the key's 32 bits for bit b of this byte begin at 8 + b from the left of 40 */
		for (uint32_t b = 0; b < 8; b++)
			if (bytes[i] & (0x80 >> b))
				hash ^= (uint32_t)(window >> (8 - b));
		window &= 0xffffffff;
	}
	return hash;
}
