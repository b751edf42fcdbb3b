/* near: which of the known names somebody may have meant. Any thread. */
#ifndef PENSTOCK_BASE_NEAR_H
#define PENSTOCK_BASE_NEAR_H

#include <stdint.h>

/* Letters to change, add, leave out or swap to make one of the other, letter case aside. */
uint32_t near_distance(const char *a, const char *b);
/* The known name that `key` is near to, or NULL; best holds the distance so far (start with UINT32_MAX). */
void near_word(const char *key, const char *word, const char **near, uint32_t *best);

#endif
