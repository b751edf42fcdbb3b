#include "base/crc32c.h"

#include <string.h>

#define POLYNOMIAL 0x82f63b78u	/* reflected */

static uint32_t table[8][256];
static int has_hw;

/* Multiplication by x^(8*n) modulo the polynomial, as four byte-indexed tables: joins the CRCs of streams that ran side by side. */
#define LONG_BYTES 4096
#define SHORT_BYTES 256
static uint32_t shift_long[4][256], shift_short[4][256];

static uint32_t
multiply(uint32_t a, uint32_t b)	/* polynomials, reflected: bit 31 is x^0 */
{
	uint32_t product = 0;
	for (uint32_t m = 1u << 31; m; m >>= 1) {
		if (a & m)
			product ^= b;
		b = b & 1 ? (b >> 1) ^ POLYNOMIAL : b >> 1;
	}
	return product;
}

static void
make_shift(uint32_t shift[4][256], size_t bytes)
{
	uint32_t power = 1u << 31, square = 1u << 30;	/* x^0, x^1 */
	for (size_t bits = bytes * 8; bits; bits >>= 1) {
		if (bits & 1)
			power = multiply(power, square);
		square = multiply(square, square);
	}
	for (uint32_t i = 0; i < 4; i++)
		for (uint32_t n = 0; n < 256; n++)
			shift[i][n] = multiply(n << (8 * i), power);
}

__attribute__((constructor)) static void
make_tables(void)
{
	for (uint32_t n = 0; n < 256; n++) {
		uint32_t crc = n;
		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? (crc >> 1) ^ POLYNOMIAL : crc >> 1;
		table[0][n] = crc;
	}
	for (uint32_t n = 0; n < 256; n++)
		for (int k = 1; k < 8; k++)
			table[k][n] = (table[k - 1][n] >> 8) ^ table[0][table[k - 1][n] & 255];
	make_shift(shift_long, LONG_BYTES);
	make_shift(shift_short, SHORT_BYTES);
#if defined(__x86_64__)
	__builtin_cpu_init();
	has_hw = __builtin_cpu_supports("sse4.2");
#endif
}

uint32_t
crc32c_sw(uint32_t crc, const void *bytes, size_t len)
{
	const uint8_t *p = bytes;
	crc = ~crc;
	for (; len >= 8; p += 8, len -= 8) {
		uint64_t word;
		memcpy(&word, p, 8);
		word ^= crc;
		crc = table[7][word & 255] ^ table[6][word >> 8 & 255] ^ table[5][word >> 16 & 255] ^ table[4][word >> 24 & 255] ^
		      table[3][word >> 32 & 255] ^ table[2][word >> 40 & 255] ^ table[1][word >> 48 & 255] ^ table[0][word >> 56];
	}
	for (; len; p++, len--)
		crc = (crc >> 8) ^ table[0][(crc ^ *p) & 255];
	return ~crc;
}

int
crc32c_has_hw(void)
{
	return has_hw;
}

#if defined(__x86_64__)
static inline uint64_t
shift_crc(uint32_t shift[4][256], uint64_t crc)
{
	return shift[0][crc & 255] ^ shift[1][crc >> 8 & 255] ^ shift[2][crc >> 16 & 255] ^ shift[3][crc >> 24 & 255];
}

/* Three streams side by side hide the instruction's latency of three cycles. */
__attribute__((target("sse4.2"))) static inline uint64_t
three_ways(uint64_t crc, const uint8_t *p, size_t bytes, uint32_t shift[4][256])
{
	uint64_t crc1 = 0, crc2 = 0;
	for (size_t i = 0; i < bytes; i += 8) {
		uint64_t a, b, c;
		memcpy(&a, p + i, 8);
		memcpy(&b, p + bytes + i, 8);
		memcpy(&c, p + 2 * bytes + i, 8);
		crc = __builtin_ia32_crc32di(crc, a);
		crc1 = __builtin_ia32_crc32di(crc1, b);
		crc2 = __builtin_ia32_crc32di(crc2, c);
	}
	crc = shift_crc(shift, crc) ^ crc1;
	return shift_crc(shift, crc) ^ crc2;
}

__attribute__((target("sse4.2"))) uint32_t
crc32c_hw(uint32_t start, const void *bytes, size_t len)
{
	const uint8_t *p = bytes;
	uint64_t crc = (uint32_t)~start;
	for (; len >= 3 * LONG_BYTES; p += 3 * LONG_BYTES, len -= 3 * LONG_BYTES)
		crc = three_ways(crc, p, LONG_BYTES, shift_long);
	for (; len >= 3 * SHORT_BYTES; p += 3 * SHORT_BYTES, len -= 3 * SHORT_BYTES)
		crc = three_ways(crc, p, SHORT_BYTES, shift_short);
	for (; len >= 8; p += 8, len -= 8) {
		uint64_t word;
		memcpy(&word, p, 8);
		crc = __builtin_ia32_crc32di(crc, word);
	}
	for (; len; p++, len--)
		crc = __builtin_ia32_crc32qi((uint32_t)crc, *p);
	return ~(uint32_t)crc;
}
#else
uint32_t
crc32c_hw(uint32_t crc, const void *bytes, size_t len)
{
	return crc32c_sw(crc, bytes, len);
}
#endif

uint32_t
crc32c(uint32_t crc, const void *bytes, size_t len)
{
	return has_hw ? crc32c_hw(crc, bytes, len) : crc32c_sw(crc, bytes, len);
}
