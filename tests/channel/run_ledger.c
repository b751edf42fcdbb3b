/* run_ledger DIR FILES: real threads over a file channel with a ledger: a writer, an ingress, a sink that works as an exactly-once sink does (FILES
 * INTENTs; of every four the last two stay open, the one before is abandoned), a thread that notes. Prints what it left. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "channel/channel_file.h"
#include "channel/ledger.h"

static _Atomic bool writer_stop, noter_stop;

static void *
writer_main(void *context)
{
	struct channel *c = context;
	while (!atomic_load(&writer_stop))
		(void)c->ops->writer_step(c, 10 * NS_PER_MS);
	return NULL;
}

static void *
noter_main(void *context)
{
	struct ledger_link *link = context;
	uint64_t number = 0, key = 0;
	while (!atomic_load(&noter_stop)) {
		key = (key + 1) % 50;
		struct state_record r = { .class = STATE_FLOW, .key = &key, .key_len = 8, .value = &number, .value_len = 8, .order = number };
		int rc = ledger_note(link, &r, &number);
		if (rc && rc != -EAGAIN)
			abort();
		if (number % 64 == 0 && ledger_sync(link, number, 10 * NS_PER_S))
			abort();
	}
	return NULL;
}

static void
check(int rc, const char *what)
{
	if (!rc)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(-rc));
	exit(1);
}

static void
put(struct channel_link *link, struct block_scratch *scratch, uint32_t events)
{
	struct block *b;
	uint8_t body[100];
	memset(body, 'x', sizeof body);
	while (!(b = channel_credit(link)))
		;
	block_open(b, scratch);
	struct event e = { .body = body, .body_len = sizeof body, .time_ns = 1 };
	for (uint32_t i = 0; i < events; i++)
		if (block_put(b, 0, &e))
			abort();
	block_seal(b);
	channel_submit(link, &b);
	struct completion *c;
	while (!(c = channel_completion(link)))
		;
	check(c->status, "put");
	channel_completion_done(link, c);
}

int
main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	char data[512], checkpoint[512];
	snprintf(data, sizeof data, "%s/data", argv[1]);
	snprintf(checkpoint, sizeof checkpoint, "%s/checkpoint", argv[1]);
	const char *dirs[] = { data };
	struct channel_file_config config = { .checkpoint_dir = checkpoint, .data_dirs = { 1, dirs }, .capacity = 100000, .sync = true,
		.checkpoint_on_close = true, .required_space = 1, .max_file_size = 1u << 30, .transaction_capacity = 100,
		.checkpoint_interval_ms = 1, .sync_interval_s = 5, .segment_size = 4u << 20, .ledger_bytes = 1u << 24 };
	struct channel_env env = { .name = "c1", .clock = &clock_system, .links_max = 1 };
	struct channel *channel;
	struct channel_link *link;
	struct block_scratch *scratch;
	struct taker *taker;
	struct err err = { "" };
	pthread_t writer, noter;
	if (channel_file.open(&channel, &config, &env, &err) || channel->ops->link(channel, "i", -1, &link, &err) ||
	    channel->ops->taker_open(channel, "k", &taker, &err)) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	struct ledger *ledger = channel->ops->ledger(channel);
	struct ledger_link *sink, *plain;
	check(ledger_link_open(ledger, "k1", 1u << 20, -1, &sink, &err), "link");
	check(ledger_link_open(ledger, "flows", 0, -1, &plain, &err), "link");
	check(block_scratch_init(&scratch, 256u << 10), "scratch");
	if (pthread_create(&writer, NULL, writer_main, channel) || pthread_create(&noter, NULL, noter_main, plain))
		return 1;
	uint32_t files = (uint32_t)atoi(argv[2]);
	for (uint32_t i = 0; i < files; i++) {
		struct span *s;
		char key[24], path[40];
		uint8_t set[4 * SET_RUN_MAX];
		struct set_writer w;
		uint64_t number;
		put(link, scratch, 10);
		check(channel->ops->take(taker, 10, UINT64_MAX, NS_PER_S, &s), "take");
		set_begin(&w, set, sizeof set);
		set_add(&w, s->first, s->events);
		struct consumer_record intent = { .state = CONSUMER_INTENT, .set = set, .set_len = set_end(&w), .more = (uint8_t *)path,
			.more_len = (uint32_t)snprintf(path, sizeof path, "/logs/file.%u.log", i) };
		snprintf(key, sizeof key, "k1/%u", i);
		check(ledger_note_consumer(sink, key, (uint16_t)strlen(key), i, &intent, &number), "intent");
		check(ledger_sync(sink, number, 10 * NS_PER_S), "sync");
		if (i % 4 >= 2)
			continue;	/* the span stays open: the process ends first */
		check(ledger_resolve(sink, key, (uint16_t)strlen(key), i % 4 ? CONSUMER_ABANDON : CONSUMER_DONE, NULL, 0, &number), "resolve");
		check(ledger_sync(sink, number, 10 * NS_PER_S), "sync");
		channel->ops->settle(taker, s, i % 4 ? SETTLE_ROLLBACK : SETTLE_COMMIT, NULL, 0);
	}
	atomic_store(&noter_stop, true);
	pthread_join(noter, NULL);
	channel->ops->taker_close(taker);
	atomic_store(&writer_stop, true);
	channel->ops->writer_wake(channel);
	pthread_join(writer, NULL);
	ledger_link_close(sink);
	ledger_link_close(plain);
	printf("records %llu\n", (unsigned long long)metrics_sum("LEDGER", "c1", "records"));
	channel->ops->close(channel);
	block_scratch_free(scratch);
	return 0;
}
