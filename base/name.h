/* name: header names interned for the life of the process, so that the hot path compares pointers and indexes by id.
 *
 * Names that a configuration or a source's code mentions are interned (control thread, at build). Names that strangers choose
 * are not: they travel inline (struct header with name->id == NAME_ID_INLINE, the struct name living in the batch arena). */
#ifndef PENSTOCK_BASE_NAME_H
#define PENSTOCK_BASE_NAME_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define NAME_ID_MAX 1023	/* ids are 0..NAME_ID_MAX; when they run out name_intern answers names with NAME_ID_INLINE */
#define NAME_ID_INLINE UINT16_MAX

struct name {
	const char *text;	/* UTF-8 by custom, any bytes in fact; not terminated when inline */
	uint32_t len;
	uint16_t id;
};

/* Any thread (takes a lock): meant for control. Never NULL; aborts when memory is gone. */
const struct name *name_intern(const char *text, size_t len);
/* NULL when nobody interned it. */
const struct name *name_find(const char *text, size_t len);

static inline bool
name_equal(const struct name *a, const struct name *b)
{
	return a == b || (a->len == b->len && memcmp(a->text, b->text, a->len) == 0);
}

#endif
