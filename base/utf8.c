#include "base/utf8.h"

#include <string.h>

bool
utf8_valid(const uint8_t *p, size_t len)
{
	size_t i = 0;
	while (i < len) {
		uint64_t word;
		while (i + 8 <= len && (memcpy(&word, p + i, 8), !(word & UINT64_C(0x8080808080808080))))
			i += 8;
		if (i == len)
			break;
		uint32_t step = utf8_step(p + i, len - i);
		if (!step)
			return false;
		i += step;
	}
	return true;
}

size_t
utf8_utf16_units(const uint8_t *p, size_t len)
{
	size_t units = 0;
	for (size_t i = 0; i < len;) {
		uint32_t step = utf8_step(p + i, len - i);
		units += step == 4 ? 2 : 1;
		i += step ? step : 1;
	}
	return units;
}

void
utf8_mend(char *text, size_t len)
{
	for (size_t i = 0; i < len;) {
		uint32_t step = utf8_step((const uint8_t *)text + i, len - i);
		if (!step)
			text[i] = '?';
		i += step ? step : 1;
	}
}
