#include "dataplane/resolve.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#define BUCKETS 4096		/* the cache's limit: one answer a bucket, kept for good */
#define QUEUE 1024
#define AGAIN_S 60		/* after which a question is asked again that no server could answer */

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

static uint32_t
now_s(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint32_t)now.tv_sec;
}

const struct resolved *
resolve_name(const struct address *a)
{
	uint32_t b = bucket_of(a);
	bool full = true;
	const struct resolved *known = NULL;
	for (int way = 0; way < 2 && !known; way++) {
		const struct resolved *r = atomic_load_explicit(&cache[b][way], memory_order_acquire);
		if (r && memcmp(r->ip, a->ip, 16) == 0)
			known = r;
		full &= r != NULL;
	}
	uint32_t again_s = known ? atomic_load_explicit(&known->again_s, memory_order_relaxed) : 0;
	if (known ? !again_s || now_s() < again_s : full)
		return known;
	if (pthread_mutex_trylock(&lock))
		return known;
	bool waiting = !running;
	for (uint32_t i = queue_head; i != queue_tail && !waiting; i++)
		waiting = memcmp(queue[i % QUEUE].ip, a->ip, 16) == 0;
	if (!waiting && queue_tail - queue_head < QUEUE) {
		queue[queue_tail++ % QUEUE] = *a;
		pthread_cond_signal(&wake);
	}
	pthread_mutex_unlock(&lock);
	return known;
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
	/* An address without a name is no error, but its text. */
	uint32_t b = bucket_of(a), again_s = rc ? now_s() + AGAIN_S : 0;
	int at = -1;
	for (int way = 0; way < 2; way++) {
		struct resolved *r = atomic_load(&cache[b][way]);
		if (r && memcmp(r->ip, a->ip, 16) == 0)
			at = way;
		if (!r && at < 0)
			at = way;
	}
	if (at < 0)
		return;
	struct resolved *known = atomic_load(&cache[b][at]);
	if (known && rc) {
		atomic_store_explicit(&known->again_s, again_s, memory_order_relaxed);
		return;
	}
	if (rc)
		address_ip_text(a, name, sizeof name);
	size_t len = strlen(name);
	struct resolved *r = malloc(sizeof *r + len);
	if (!r)
		return;
	memcpy(r->ip, a->ip, 16);
	r->len = (uint32_t)len;
	memcpy(r->name, name, len);
	atomic_init(&r->again_s, again_s);
	r->before = known;
	atomic_store_explicit(&cache[b][at], r, memory_order_release);
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
