/* utf8: is it UTF-8, as Java's strict decoder means it (no surrogates, no overlong forms, at most U+10FFFF)? Any thread. */
#ifndef PENSTOCK_BASE_UTF8_H
#define PENSTOCK_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the character at p (1 to 4), 0 when there is none. */
static inline uint32_t
utf8_step(const uint8_t *p, size_t left)
{
	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		return left >= 2 && (p[1] & 0xc0) == 0x80 ? 2 : 0;
	if (left < 3 || (p[1] & 0xc0) != 0x80 || (p[2] & 0xc0) != 0x80)
		return 0;
	if (p[0] >= 0xe0 && p[0] <= 0xef)
		return (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ? 0 : 3;
	if (left < 4 || (p[3] & 0xc0) != 0x80 || p[0] < 0xf0 || p[0] > 0xf4)
		return 0;
	return (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f) ? 0 : 4;
}

bool utf8_valid(const uint8_t *p, size_t len);
/* In UTF-16 units, as Java counts; a byte that is no UTF-8 counts as one. */
size_t utf8_utf16_units(const uint8_t *p, size_t len);
/* Each byte that is no UTF-8 becomes a question mark: a name from outside as JSON can have it. */
void utf8_mend(char *text, size_t len);

#endif
