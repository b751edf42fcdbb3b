#include "tools/trafficgen/stamp.h"

#include <string.h>

static const char digit[16] = "0123456789abcdef";

static void
write_hex(uint8_t *at, uint64_t value, int digits)
{
	for (int i = digits - 1; i >= 0; i--, value >>= 4)
		at[i] = (uint8_t)digit[value & 15];
}

/* Value + 1 of a lower-case hex digit; 0: none. */
static const uint8_t value_of[256] = {
	['0'] = 1, ['1'] = 2, ['2'] = 3, ['3'] = 4, ['4'] = 5, ['5'] = 6, ['6'] = 7, ['7'] = 8, ['8'] = 9, ['9'] = 10,
	['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
};

static bool
read_hex(const uint8_t *at, int digits, uint64_t *value)
{
	uint64_t sum = 0;
	for (int i = 0; i < digits; i++) {
		uint8_t v = value_of[at[i]];
		if (!v)
			return false;
		sum = sum << 4 | (uint64_t)(v - 1);
	}
	*value = sum;
	return true;
}

/* Eight nibbles spread over eight bytes, made letters without a branch: the one thing done per event. */
static uint64_t
spread(uint32_t half)
{
	uint64_t x = half;
	x = (x & UINT64_C(0xffff0000)) << 16 | (x & 0xffff);
	x = (x & UINT64_C(0xff000000ff00)) << 8 | (x & UINT64_C(0xff000000ff));
	x = (x & UINT64_C(0xf000f000f000f0)) << 4 | (x & UINT64_C(0xf000f000f000f));
	uint64_t above_nine = ((x + UINT64_C(0x0606060606060606)) >> 4) & UINT64_C(0x0101010101010101);
	return __builtin_bswap64(x + UINT64_C(0x3030303030303030) + above_nine * ('a' - '0' - 10));
}

void
stamp_write_sequence(uint8_t *digits, uint64_t sequence)
{
	uint64_t high = spread((uint32_t)(sequence >> 32)), low = spread((uint32_t)sequence);
	memcpy(digits, &high, 8);
	memcpy(digits + 8, &low, 8);
}

void
stamp_write(uint8_t *at, const struct stamp *stamp)
{
	at[0] = ' ';
	at[1] = '#';
	write_hex(at + 2, stamp->source, 8);
	at[10] = ':';
	stamp_write_sequence(at + STAMP_SEQUENCE_AT, stamp->sequence);
	at[27] = ':';
	write_hex(at + 28, stamp->crc, 8);
}

bool
stamp_read(const uint8_t *at, struct stamp *stamp)
{
	uint64_t source, crc;
	if (at[0] != ' ' || at[1] != '#' || at[10] != ':' || at[27] != ':' || !read_hex(at + 2, 8, &source) ||
	    !read_hex(at + STAMP_SEQUENCE_AT, 16, &stamp->sequence) || !read_hex(at + 28, 8, &crc))
		return false;
	stamp->source = (uint32_t)source;
	stamp->crc = (uint32_t)crc;
	return true;
}
