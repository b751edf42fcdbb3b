#include "ctrlplane/pool.h"

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
	va_list args, again;
	va_start(args, format);
	va_copy(again, args);
	int len = vsnprintf(NULL, 0, format, args);
	char *text = pool_get(pool, (size_t)len + 1);
	vsnprintf(text, (size_t)len + 1, format, again);
	va_end(again);
	va_end(args);
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
	va_list args, again;
	va_start(args, format);
	va_copy(again, args);
	int len = vsnprintf(NULL, 0, format, args);
	text_reserve(text, (size_t)len + 1);
	vsnprintf(text->text + text->len, (size_t)len + 1, format, again);
	text->len += (size_t)len;
	va_end(again);
	va_end(args);
}

void
text_free(struct text *text)
{
	free(text->text);
	*text = (struct text){ 0 };
}
