/* crc32c: CRC-32C (Castagnoli), RFC 3720 appendix B.4 test vectors. Any thread. */
#ifndef PENSTOCK_BASE_CRC32C_H
#define PENSTOCK_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* CRC of `bytes` continued from `crc` (0 to begin). crc32c(crc32c(0, a), b) is the CRC of a and b joined. */
uint32_t crc32c(uint32_t crc, const void *bytes, size_t len);

/* Two of the ways behind it (the third, of long stretches, is for CPUs with AVX-512), for the tests: table driven, and with the CPU's instruction (false from crc32c_has_hw means do not call). */
uint32_t crc32c_sw(uint32_t crc, const void *bytes, size_t len);
uint32_t crc32c_hw(uint32_t crc, const void *bytes, size_t len);
int crc32c_has_hw(void);

#endif
