#include "base/pool.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pool_chunk {
	struct pool_chunk *next;
	_Alignas(max_align_t) char bytes[];
};

void *
pool_get(struct pool *pool, size_t bytes)
{
	struct pool_chunk *chunk = calloc(1, sizeof *chunk + bytes);
	if (!chunk)
		abort();	/* start-up or reload of a few kilobytes: nothing sensible can follow */
	chunk->next = pool->chunks;
	pool->chunks = chunk;
	return chunk->bytes;
}

char *
pool_text(struct pool *pool, const char *text, size_t len)
{
	char *copy = pool_get(pool, len + 1);
	if (len > 0)
		memcpy(copy, text, len);
	return copy;
}

char *
pool_print(struct pool *pool, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	char *made;
	int len = vasprintf(&made, format, args);
	va_end(args);
	if (len < 0)
		abort();
	char *text = pool_text(pool, made, (size_t)len);
	free(made);
	return text;
}

void
pool_free(struct pool *pool)
{
	while (pool->chunks) {
		struct pool_chunk *chunk = pool->chunks;
		pool->chunks = chunk->next;
		free(chunk);
	}
}

static void
text_reserve(struct text *text, size_t more)
{
	if (text->room - text->len > more)
		return;
	size_t room = (text->len + more + 64) * 2;
	char *grown = realloc(text->text, room);
	if (!grown)
		abort();
	text->text = grown;
	text->room = room;
}

void
text_add(struct text *text, const char *bytes, size_t len)
{
	text_reserve(text, len + 1);
	if (len > 0)
		memcpy(text->text + text->len, bytes, len);
	text->len += len;
	text->text[text->len] = '\0';
}

void
text_print(struct text *text, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	char *made;
	int len = vasprintf(&made, format, args);
	va_end(args);
	if (len < 0)
		abort();
	text_add(text, made, (size_t)len);
	free(made);
}

void
text_free(struct text *text)
{
	free(text->text);
	*text = (struct text){ 0 };
}
