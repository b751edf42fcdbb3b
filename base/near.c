#include "base/near.h"

#include <ctype.h>
#include <string.h>

uint32_t
near_distance(const char *a, const char *b)
{
	enum { LEN = 96 };
	size_t m = strlen(a), n = strlen(b);
	uint32_t rows[3][LEN + 1];
	if (m > LEN || n > LEN)
		return UINT32_MAX;
	for (size_t j = 0; j <= n; j++)
		rows[0][j] = (uint32_t)j;
	for (size_t i = 1; i <= m; i++) {
		uint32_t *row = rows[i % 3], *above = rows[(i - 1) % 3], *two_above = rows[(i + 1) % 3];
		row[0] = (uint32_t)i;
		for (size_t j = 1; j <= n; j++) {
			int x = tolower((unsigned char)a[i - 1]), y = tolower((unsigned char)b[j - 1]);
			uint32_t best = above[j - 1] + (x != y);
			if (above[j] + 1 < best)
				best = above[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			if (i > 1 && j > 1 && x == tolower((unsigned char)b[j - 2]) && y == tolower((unsigned char)a[i - 2]) && two_above[j - 2] + 1 < best)
				best = two_above[j - 2] + 1;
			row[j] = best;
		}
	}
	return rows[m % 3][n];
}

void
near_word(const char *key, const char *word, const char **near, uint32_t *best)
{
	size_t len = strlen(key) > strlen(word) ? strlen(key) : strlen(word);
	uint32_t distance = near_distance(key, word), limit = len <= 3 ? 0 : len <= 5 ? 1 : len <= 14 ? 2 : 3;
	if (distance <= limit && distance < *best) {
		*near = word;
		*best = distance;
	}
}
