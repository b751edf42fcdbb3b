#include "dataplane/resolve.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define BUCKETS 4096		/* the cache's limit: one answer a bucket, kept for good */
#define QUEUE 1024

static _Atomic(struct resolved *) cache[BUCKETS][2];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static struct address queue[QUEUE];
static uint32_t queue_head, queue_tail;
static bool running;
static pthread_t thread;

static uint32_t
bucket_of(const struct address *a)
{
	uint32_t h = 2166136261u;
	for (int i = 0; i < 16; i++)
		h = (h ^ a->ip[i]) * 16777619u;
	return (h ^ h >> 13) % BUCKETS;
}

const struct resolved *
resolve_name(const struct address *a)
{
	uint32_t b = bucket_of(a);
	bool full = true;
	for (int way = 0; way < 2; way++) {
		struct resolved *r = atomic_load_explicit(&cache[b][way], memory_order_acquire);
		if (r && memcmp(r->ip, a->ip, 16) == 0)
			return r;
		full &= r != NULL;
	}
	if (full || pthread_mutex_trylock(&lock))
		return NULL;
	bool waiting = !running;
	for (uint32_t i = queue_head; i != queue_tail && !waiting; i++)
		waiting = memcmp(queue[i % QUEUE].ip, a->ip, 16) == 0;
	if (!waiting && queue_tail - queue_head < QUEUE) {
		queue[queue_tail++ % QUEUE] = *a;
		pthread_cond_signal(&wake);
	}
	pthread_mutex_unlock(&lock);
	return NULL;
}

static void
answer(const struct address *a)
{
	char name[NI_MAXHOST];
	struct sockaddr_in v4 = { .sin_family = AF_INET };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
	memcpy(&v4.sin_addr, a->ip + 12, 4);
	memcpy(&v6.sin6_addr, a->ip, 16);
	int rc = address_is_v4(a) ? getnameinfo((struct sockaddr *)&v4, sizeof v4, name, sizeof name, NULL, 0, 0)
				  : getnameinfo((struct sockaddr *)&v6, sizeof v6, name, sizeof name, NULL, 0, 0);
	if (rc)
		address_ip_text(a, name, sizeof name);
	size_t len = strlen(name);
	struct resolved *r = malloc(sizeof *r + len);
	if (!r)
		return;
	memcpy(r->ip, a->ip, 16);
	r->len = (uint32_t)len;
	memcpy(r->name, name, len);
	uint32_t b = bucket_of(a);
	for (int way = 0; way < 2; way++) {
		struct resolved *none = NULL;
		if (atomic_compare_exchange_strong(&cache[b][way], &none, r))
			return;
	}
	free(r);
}

static void *
ask(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&lock);
	while (running) {
		if (queue_head == queue_tail) {
			pthread_cond_wait(&wake, &lock);
			continue;
		}
		struct address a = queue[queue_head % QUEUE];
		pthread_mutex_unlock(&lock);
		answer(&a);
		pthread_mutex_lock(&lock);
		queue_head++;
	}
	pthread_mutex_unlock(&lock);
	return NULL;
}

int
resolve_start(void)
{
	pthread_mutex_lock(&lock);
	running = true;
	pthread_mutex_unlock(&lock);
	int rc = pthread_create(&thread, NULL, ask, NULL);
	if (rc)
		running = false;
	return -rc;
}

void
resolve_stop(void)
{
	pthread_mutex_lock(&lock);
	bool was = running;
	running = false;
	pthread_cond_signal(&wake);
	pthread_mutex_unlock(&lock);
	if (was)
		pthread_join(thread, NULL);
}
