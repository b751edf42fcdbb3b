/* pool: strings and tables that live as long as one configuration, freed in one go. Control thread. */
#ifndef PENSTOCK_BASE_POOL_H
#define PENSTOCK_BASE_POOL_H

#include <stddef.h>

struct pool {
	struct pool_chunk *chunks;	/* zeroed to begin with */
};

void *pool_get(struct pool *pool, size_t bytes);	/* zeroed; never NULL: aborts when memory is gone */
char *pool_text(struct pool *pool, const char *text, size_t len);
char *pool_print(struct pool *pool, const char *format, ...) __attribute__((format(printf, 2, 3)));
void pool_free(struct pool *pool);

/* A string that grows. Owner: who declared it; text is NULL until something was added. */
struct text {
	char *text;
	size_t len, room;
};

void text_add(struct text *text, const char *bytes, size_t len);
void text_print(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_free(struct text *text);

#endif
