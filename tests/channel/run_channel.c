/* run_channel KIND EVENTS INGRESSES TAKERS DIR [keep]: real threads over one channel: ingresses fill blocks as an lcore does, a writer
 * thread, takers. Checks that every event comes out once and prints events a second. `keep` leaves what was stored unsettled in DIR. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <unistd.h>

#include "channel/channel_file.h"

#define BODY 200u

struct job {
	struct channel *channel;
	struct channel_link *link;
	struct taker *taker;
	uint64_t events, done;
	uint32_t index, count;
};

static _Atomic bool writer_stop;
static _Atomic uint64_t settled, sum;
static uint64_t total;

static void *
writer_main(void *context)
{
	struct channel *c = context;
	while (!atomic_load(&writer_stop))
		(void)c->ops->writer_step(c, 10 * NS_PER_MS);
	return NULL;
}

static void *
ingress_main(void *context)
{
	struct job *j = context;
	struct block_scratch *scratch;
	struct block *b = NULL;
	if (block_scratch_init(&scratch, 256u << 10))
		abort();
	struct header_set *set = calloc(1, sizeof *set + sizeof(struct header));
	set->count = 1;
	set->headers[0] = (struct header){ .name = name_intern("host", 4), .kind = HEADER_BYTES, .len = 5, .value.bytes = (const uint8_t *)"web-1" };
	uint64_t failed = 0, put = 0;
	const struct name *timestamp = name_intern("timestamp", 9);
	uint8_t body[BODY];
	memset(body, 'x', sizeof body);
	while (j->done + failed < j->events) {
		for (struct completion *c; (c = channel_completion(j->link));) {
			if (c->status)
				failed += c->events;
			else
				j->done += c->events;
			channel_completion_done(j->link, c);
		}
		if (!b && put < j->events) {
			b = channel_credit(j->link);
			if (b)
				block_open(b, scratch);
		}
		if (!b) {
			sched_yield();
			continue;
		}
		for (int i = 0; i < 32 && put < j->events && b; i++) {
			uint64_t id = put * j->count + j->index;
			struct header own = { .name = timestamp, .kind = HEADER_NUMBER, .value.number = (int64_t)(1790000000000 + put / 1000) };
			struct event e = { .body = body, .body_len = BODY, .headers = &own, .header_count = 1, .shared = set,
				.time_ns = UINT64_C(1790000000000000000) };
			uint8_t *room = block_room(b, BODY);
			if (room) {
				memcpy(room, body, BODY);
				memcpy(room, &id, sizeof id);
				room[BODY] = '\n';
			}
			if (room && block_put_staged(b, j->index, &e) == 0) {
				put++;
				continue;
			}
			block_seal(b);
			channel_submit(j->link, &b);
		}
		if (b && b->events && (channel_hungry(j->channel) || put == j->events)) {
			block_seal(b);
			channel_submit(j->link, &b);
		}
	}
	block_scratch_free(scratch);
	free(set);
	if (failed)
		fprintf(stderr, "%llu events failed\n", (unsigned long long)failed);
	return NULL;
}

static void *
taker_main(void *context)
{
	struct job *j = context;
	const struct channel_ops *ops = j->channel->ops;
	uint64_t turn = 0;
	while (atomic_load(&settled) < total) {
		struct span *s;
		if (ops->take(j->taker, 10000, 4u << 20, 5 * NS_PER_MS, &s) || !s)
			continue;
		if (++turn % 7 == 3) {
			ops->settle(j->taker, s, SETTLE_ROLLBACK, NULL, 0);
			continue;
		}
		struct span_cursor cursor = { { 0 } };
		struct event_view e;
		uint64_t mine = 0, id;
		while (ops->span_next(s, &cursor, &e)) {
			memcpy(&id, e.body, sizeof id);
			mine += id + 1;
		}
		atomic_fetch_add(&sum, mine);
		uint64_t n = s->events;
		ops->settle(j->taker, s, SETTLE_COMMIT, NULL, 0);
		atomic_fetch_add(&settled, n);
	}
	return NULL;
}

static void
tell(struct option_report *report, bool fatal, const char *origin, const char *key, const char *text)
{
	(void)report, (void)fatal, (void)origin;
	fprintf(stderr, "%s: %s\n", key, text);
}

int
main(int argc, char **argv)
{
	if (argc < 6)
		return 2;
	const struct channel_ops *ops = !strcmp(argv[1], "spillable") ? &channel_spillable : strcmp(argv[1], "memory") ? &channel_file : &channel_memory;
	total = strtoull(argv[2], NULL, 10);
	uint32_t ingresses = (uint32_t)atoi(argv[3]), takers = (uint32_t)atoi(argv[4]);
	char data[512], checkpoint[512], config[1024];
	snprintf(data, sizeof data, "%s/data", argv[5]);
	snprintf(checkpoint, sizeof checkpoint, "%s/checkpoint", argv[5]);
	struct property props[] = { { "capacity", "1000000", "t", false }, { "transactionCapacity", "10000", "t", false },
				    { "dataDirs", data, "t", false }, { "checkpointDir", checkpoint, "t", false },
				    { "minimumRequiredSpace", "1", "t", false }, { "penstock.io", strcmp(argv[1], "pwrite") ? "auto" : "pwrite", "t", false },
				    { "memoryCapacity", "20000", "t", false }, { "overflowTimeout", "0", "t", false } };
	struct option_values values = { 0 };
	struct option_report report = { tell };
	memset(config, 0, sizeof config);
	if (option_parse(ops->options, props, ops == &channel_memory ? 2 : ops == &channel_file ? 6 : 8, config, &values, &report))
		return 1;
	struct channel_env env = { .name = "c1", .clock = &clock_system, .links_max = ingresses };
	struct channel *channel;
	struct err err = { "" };
	if (ops->open(&channel, config, &env, &err)) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	pthread_t writer, threads[32];
	struct job jobs[32] = { { 0 } };
	for (uint32_t i = 0; i < ingresses + takers; i++) {
		jobs[i].channel = channel;
		jobs[i].index = i;
		jobs[i].count = ingresses;
		jobs[i].events = total / ingresses;
		if (i < ingresses ? ops->link(channel, "i", -1, &jobs[i].link, &err) : ops->taker_open(channel, "k", &jobs[i].taker, &err))
			return 1;
	}
	total = total / ingresses * ingresses;
	uint64_t start = clock_now_ns(&clock_system);
	if (pthread_create(&writer, NULL, writer_main, channel))
		return 1;
	for (uint32_t i = 0; i < ingresses + takers; i++)
		if (pthread_create(&threads[i], NULL, i < ingresses ? ingress_main : taker_main, &jobs[i]))
			return 1;
	for (uint32_t i = 0; i < ingresses + takers; i++)
		pthread_join(threads[i], NULL);
	uint64_t ns = clock_now_ns(&clock_system) - start;
	atomic_store(&writer_stop, true);
	ops->writer_wake(channel);
	pthread_join(writer, NULL);
	uint64_t left = ops->unsettled(channel), syncs = metrics_sum("CHANNEL", "c1", "syncs"), bytes = metrics_sum("CHANNEL", "c1", "log_bytes"),
		 blocks = metrics_sum("CHANNEL", "c1", "blocks");
	for (uint32_t i = ingresses; i < ingresses + takers; i++)
		ops->taker_close(jobs[i].taker);
	ops->close(channel);
	option_values_free(&values);
	printf("%llu events, %.2f M/s, %llu blocks, %llu groups, %.3f log bytes a body byte\n", (unsigned long long)total, total * 1e3 / (double)ns,
	       (unsigned long long)blocks, (unsigned long long)syncs, (double)bytes / (double)(total * BODY));
	uint64_t expected = total * (total + 1) / 2;
	if (takers && (left || atomic_load(&sum) != expected)) {
		fprintf(stderr, "%llu left, sum %llu, not %llu\n", (unsigned long long)left, (unsigned long long)atomic_load(&sum),
			(unsigned long long)expected);
		return 1;
	}
	return takers || left == total ? 0 : 1;
}
