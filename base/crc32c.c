#include "base/crc32c.h"

#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define POLYNOMIAL 0x82f63b78u	/* reflected */

static uint32_t table[8][256];
static int has_hw, has_wide;

/* Multiplication by x^(8*n) modulo the polynomial, as four byte-indexed tables: joins the CRCs of streams that ran side by side. */
#define LONG_BYTES 4096
#define SHORT_BYTES 256
static uint32_t shift_long[4][256], shift_short[4][256];

/* Four registers of 64 bytes are folded onto the 256 bytes behind them: what stands in a register's half times x^2047, x^2111 (one bit less than the
 * distance, as a product of reflected halves is short of one), modulo the polynomial. */
#define WIDE_BYTES 256
static uint64_t fold_low, fold_high;

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

static uint32_t
power_of_x(size_t bits)
{
	uint32_t power = 1u << 31, square = 1u << 30;	/* x^0, x^1 */
	for (; bits; bits >>= 1) {
		if (bits & 1)
			power = multiply(power, square);
		square = multiply(square, square);
	}
	return power;
}

static void
make_shift(uint32_t shift[4][256], size_t bytes)
{
	uint32_t power = power_of_x(bytes * 8);
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
	has_wide = has_hw && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("vpclmulqdq");
	fold_low = (uint64_t)power_of_x(8 * WIDE_BYTES + 63) << 32;
	fold_high = (uint64_t)power_of_x(8 * WIDE_BYTES - 1) << 32;
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

#define FOLD(x, at) \
	_mm512_ternarylogic_epi64(_mm512_clmulepi64_epi128(x, by, 0x00), _mm512_clmulepi64_epi128(x, by, 0x11), _mm512_loadu_si512(at), 0x96)

/* Of whole stretches of WIDE_BYTES, at least two: folded onto the last one, of which it is taken as usual. */
__attribute__((target("avx512f,vpclmulqdq"))) static uint32_t
wide(uint32_t start, const uint8_t *p, size_t len)
{
	const __m512i by = _mm512_broadcast_i32x4(_mm_set_epi64x((int64_t)fold_high, (int64_t)fold_low));
	const __m512i begin = _mm512_zextsi128_si512(_mm_cvtsi32_si128((int)~start));
	uint8_t rest[WIDE_BYTES];
	__m512i a = _mm512_xor_si512(_mm512_loadu_si512(p), begin), b = _mm512_loadu_si512(p + 64);
	__m512i c = _mm512_loadu_si512(p + 128), d = _mm512_loadu_si512(p + 192);
	for (p += WIDE_BYTES, len -= WIDE_BYTES; len; p += WIDE_BYTES, len -= WIDE_BYTES) {
		a = FOLD(a, p);
		b = FOLD(b, p + 64);
		c = FOLD(c, p + 128);
		d = FOLD(d, p + 192);
	}
	_mm512_storeu_si512(rest, a);
	_mm512_storeu_si512(rest + 64, b);
	_mm512_storeu_si512(rest + 128, c);
	_mm512_storeu_si512(rest + 192, d);
	return crc32c_hw(~0u, rest, sizeof rest);	/* from a register of zeros */
}
#else
uint32_t
crc32c_hw(uint32_t crc, const void *bytes, size_t len)
{
	return crc32c_sw(crc, bytes, len);
}

static uint32_t
wide(uint32_t crc, const uint8_t *bytes, size_t len)
{
	return crc32c_sw(crc, bytes, len);
}
#endif

#define WIDE_LEAST 1024u	/* below, the last stretch costs more than is won */

uint32_t
crc32c(uint32_t crc, const void *bytes, size_t len)
{
	const uint8_t *p = bytes;
	if (has_wide && len >= WIDE_LEAST) {
		size_t whole = len / WIDE_BYTES * WIDE_BYTES;
		crc = wide(crc, p, whole);
		p += whole;
		len -= whole;
	}
	return has_hw ? crc32c_hw(crc, p, len) : crc32c_sw(crc, p, len);
}
