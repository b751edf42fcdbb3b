#include "base/name.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define BUCKETS 4096

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct entry {
	struct entry *next;
	struct name name;
} *buckets[BUCKETS];
static uint16_t next_id;

static uint32_t
bucket_of(const char *text, size_t len)
{
	uint32_t h = 2166136261u;
	for (size_t i = 0; i < len; i++)
		h = (h ^ (uint8_t)text[i]) * 16777619u;
	return h % BUCKETS;
}

static const struct name *
find(const char *text, size_t len)
{
	for (struct entry *e = buckets[bucket_of(text, len)]; e; e = e->next)
		if (e->name.len == len && memcmp(e->name.text, text, len) == 0)
			return &e->name;
	return NULL;
}

const struct name *
name_find(const char *text, size_t len)
{
	pthread_mutex_lock(&lock);
	const struct name *name = find(text, len);
	pthread_mutex_unlock(&lock);
	return name;
}

const struct name *
name_intern(const char *text, size_t len)
{
	pthread_mutex_lock(&lock);
	const struct name *name = find(text, len);
	if (!name) {
		struct entry *e = malloc(sizeof *e + len + 1);
		if (!e) {
			fputs("penstock: no memory for a header name\n", stderr);
			abort();
		}
		char *copy = (char *)(e + 1);
		memcpy(copy, text, len);
		copy[len] = 0;
		uint32_t b = bucket_of(text, len);
		*e = (struct entry){ buckets[b], { copy, (uint32_t)len, next_id <= NAME_ID_MAX ? next_id++ : NAME_ID_INLINE } };
		buckets[b] = e;
		name = &e->name;
	}
	pthread_mutex_unlock(&lock);
	return name;
}
