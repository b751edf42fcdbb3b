/* properties: files as java.util.Properties.load(InputStream) reads them, each value with the place it came from.
 *
 * Bytes are ISO-8859-1 and \uXXXX; what comes out is UTF-8. A key given again replaces the value, and the place. Control thread. */
#ifndef PENSTOCK_BASE_PROPERTIES_H
#define PENSTOCK_BASE_PROPERTIES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/pool.h"

#define PROPERTIES_BYTES_MAX (16u << 20)	/* of one file */

struct property_line {
	const char *key, *raw;		/* decoded, not trimmed */
	const char *resolved;		/* set by substitute_all: substituted and trimmed; before that NULL */
	const char *origin;		/* "file:line", the line its logical line began on */
	const char *replaced;		/* origin of an earlier value in the same file, or NULL */
	uint32_t file, line;
	uint8_t state;			/* substitute's */
	bool filtered;			/* a config filter had a part in `resolved` */
};

struct properties {
	struct pool pool;
	struct property_line **lines;	/* in order of first appearance */
	size_t count, room;
	uint32_t *slots;		/* hash of keys: index + 1 */
	size_t slot_count;
	const char **files;		/* names as given, in order of loading */
	uint32_t file_count;
};

/* Adds one file's bytes. 0, or -EINVAL with the line in err when Java would throw, or for a NUL. */
int properties_parse(struct properties *properties, const char *file, const void *bytes, size_t len, struct err *err);
/* The same from the file system. */
int properties_load(struct properties *properties, const char *path, struct err *err);
/* Adds one key from elsewhere (origin "-D"). */
void properties_set(struct properties *properties, const char *key, const char *value, const char *origin);
struct property_line *properties_find(const struct properties *properties, const char *key);
void properties_free(struct properties *properties);

/* Writes "key = value" and a line feed so that properties_parse reads the same back. */
void properties_write(struct text *text, const char *key, const char *value);

#endif
