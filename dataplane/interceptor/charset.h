/* charset: sets of Unicode code points as sorted ranges, with Java's rules for letter case and for property names.
 *
 * Control thread only. Memory belongs to whoever holds the set; the functions abort when memory is gone. */
#ifndef PENSTOCK_DATAPLANE_INTERCEPTOR_CHARSET_H
#define PENSTOCK_DATAPLANE_INTERCEPTOR_CHARSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHAR_MAX_POINT UINT32_C(0x10ffff)

struct charset {
	uint32_t count, room;
	struct charset_range {
		uint32_t lo, hi;	/* inclusive */
	} *ranges;
};

enum charset_case {
	CASE_EXACT,
	CASE_ASCII,	/* (?i): letters of ASCII only */
	CASE_UNICODE,	/* (?iu): simple case mappings of Unicode */
};

void charset_free(struct charset *set);
/* These leave the set sorted and merged. */
void charset_add(struct charset *set, uint32_t lo, uint32_t hi);
void charset_add_single(struct charset *set, uint32_t point, enum charset_case fold);
void charset_add_range(struct charset *set, uint32_t lo, uint32_t hi, enum charset_case fold);
void charset_union(struct charset *set, const struct charset *other);
void charset_intersect(struct charset *set, const struct charset *other);
void charset_invert(struct charset *set);
bool charset_has(const struct charset *set, uint32_t point);

/* \p{name}. `unicode`: (?U) is on, which widens the POSIX names. False when Java (or we) know no such name. */
bool charset_add_property(struct charset *set, const char *name, bool unicode, enum charset_case fold);
/* One of d D h H s S v V w W. */
void charset_add_escape(struct charset *set, char letter, bool unicode);

#endif
