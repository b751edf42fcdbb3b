/* worker: frames from memory through net, syslogudp and an interceptor into blocks, one thread stepped by hand.
 *   test_worker                 both accounts are even to the unit, with a channel that is full for a while, too; the hot path allocates nothing (every
 *                               malloc of ours is counted)
 *   test_worker bench SECONDS   events a second of the data core alone, with checksums and five headers, no regex, no log behind it */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <time.h>

#include "base/err.h"
#include "dataplane/net/frame.h"
#include "dataplane/worker.h"

static uint64_t allocations;

void *__real_malloc(size_t);
void *__real_calloc(size_t, size_t);
void *__real_realloc(void *, size_t);
void *__wrap_malloc(size_t);
void *__wrap_calloc(size_t, size_t);
void *__wrap_realloc(void *, size_t);

void *
__wrap_malloc(size_t n)
{
	allocations++;
	return __real_malloc(n);
}

void *
__wrap_calloc(size_t n, size_t m)
{
	allocations++;
	return __real_calloc(n, m);
}

void *
__wrap_realloc(void *p, size_t n)
{
	allocations++;
	return __real_realloc(p, n);
}

/* A channel that gives every block back at once. */
#define BLOCKS 16
#define BLOCK_BYTES (256u << 10)

struct sponge {
	struct channel channel;
	struct channel_link link;
	struct block blocks[BLOCKS];
	struct completion completions[BLOCKS];
	uint64_t events, bytes;
};

static void
sponge_wake(struct channel *channel)
{
	(void)channel;
}

static int
sponge_link(struct channel *channel, const char *ingress, int wake_fd, struct channel_link **link, struct err *err)
{
	(void)ingress;
	(void)err;
	struct sponge *s = (struct sponge *)channel;
	s->link = (struct channel_link){ .channel = channel, .wake_fd = wake_fd };
	assert_int_equal(spsc_init(&s->link.submit, BLOCKS) | spsc_init(&s->link.completions, BLOCKS) | spsc_init(&s->link.completions_free, BLOCKS) |
			 spsc_init(&s->link.credit, BLOCKS), 0);
	for (int i = 0; i < BLOCKS; i++) {
		s->blocks[i] = (struct block){ .bytes = aligned_alloc(BLOCK_ALIGN_BYTES, BLOCK_BYTES), .capacity = BLOCK_BYTES, .events_max = UINT32_MAX };
		memset(s->blocks[i].bytes, 0, BLOCK_BYTES);
		spsc_push(&s->link.credit, &s->blocks[i]);
		spsc_push(&s->link.completions_free, &s->completions[i]);
	}
	*link = &s->link;
	return 0;
}

static const struct channel_ops sponge_ops = { .name = "sponge", .link = sponge_link, .writer_wake = sponge_wake };

static void
sponge_step(struct sponge *s)
{
	struct block *block;
	while ((block = spsc_pop(&s->link.submit))) {
		struct completion *c = spsc_pop(&s->link.completions_free);
		c->serial = block->serial;
		c->events = block->events;
		c->status = 0;
		c->ticket_count = 0;
		s->events += block->events;
		s->bytes += block->raw_bytes;
		spsc_push(&s->link.completions, c);
		spsc_push(&s->link.credit, block);
	}
}

struct rig {
	struct sponge sponge;
	struct pipeline pipeline;
	struct pipeline_source source;
	struct worker *worker;
	struct port *port;
	uint8_t frames[64][300];
	struct port_mem_frame list[64];
	void *config;
	struct option_values values;
	struct clock_manual clock;
};

static void
tell(struct option_report *report, bool fatal, const char *origin, const char *key, const char *text)
{
	(void)report;
	fprintf(stderr, "%d %s %s %s\n", fatal, origin, key, text);
}

static struct rig *
rig_open(uint64_t rounds, struct clock *clock)
{
	static const uint8_t mac[6] = { 2, 0, 0, 0, 0, 1 }, peer[6] = { 2, 0, 0, 0, 0, 2 };
	struct rig *rig = aligned_alloc(64, (sizeof *rig + 63) & ~(size_t)63);
	memset(rig, 0, sizeof *rig);
	struct err err = { "" };
	rig->sponge.channel = (struct channel){ .ops = &sponge_ops, .name = "c1" };
	rig->config = calloc(1, source_syslogudp.config_size);
	struct property props[] = { { "port", "514", "t:1" } };
	struct option_report report = { tell };
	assert_int_equal(option_parse(source_syslogudp.options, props, 1, rig->config, &rig->values, &report), 0);
	rig->source = (struct pipeline_source){ .name = "r1", .ops = &source_syslogudp, .config = rig->config, .required = 1, .selector.otherwise = 1 };
	rig->pipeline = (struct pipeline){ .generation = 1, .channels = { &rig->sponge.channel }, .channel_count = 1, .sources = &rig->source,
					   .source_count = 1 };
	clock_manual_init(&rig->clock, 1, UINT64_C(1795245136) * NS_PER_S);
	if (!clock)
		clock = &rig->clock.clock;
	for (int i = 0; i < 64; i++) {
		char text[201];
		int n = snprintf(text, sizeof text, "<%d>Nov 21 07:12:%02d host%02d app[%d]: ", 8 + i % 16, 10 + i / 32, i, i);
		memset(text + n, 'x', sizeof text - (size_t)n);
		struct frame_udp udp = { .id = (uint16_t)i };
		memcpy(udp.from_mac, peer, 6);
		memcpy(udp.to_mac, mac, 6);
		address_parse_ip(&udp.from, "192.0.2.100");
		address_parse_ip(&udp.to, "192.0.2.10");
		udp.from.port = (uint16_t)(1000 + i);
		udp.to.port = 514;
		rig->list[i] = (struct port_mem_frame){ rig->frames[i], frame_udp_build(&udp, rig->frames[i], sizeof rig->frames[i], text, 200) };
		assert_true(rig->list[i].len > 200);
	}
	rig->port = port_mem_open("p0", mac, rig->list, 64, rounds, &err);
	assert_non_null(rig->port);
	struct worker *w = rig->worker = aligned_alloc(64, (sizeof *w + 63) & ~(size_t)63);
	memset(w, 0, sizeof *w);
	assert_int_equal(ingress_open(&w->ingress, "test", &rig->pipeline, clock, -1, &err), 0);
	struct address at = { .port = 514 };
	address_parse_ip(&at, "192.0.2.10");
	assert_int_equal(listeners_add(&w->listeners, &at, &(struct option_list){ 0 }, &w->ingress.sources[0], &err), 0);
	w->ports[0] = (struct worker_port){ .port = rig->port, .worker = w };
	struct net_config config = { .address_count = 1 };
	memcpy(config.addresses[0].ip, at.ip, 16);
	config.addresses[0].bits = 120;
	w->ports[0].net = net_open(&config, rig->port, 0, worker_on_udp, &w->ports[0], &err);
	assert_non_null(w->ports[0].net);
	w->port_count = 1;
	return rig;
}

static void
rig_close(struct rig *rig)
{
	net_close(rig->worker->ports[0].net);
	ingress_close(&rig->worker->ingress);
	listeners_free(&rig->worker->listeners);
	port_close(rig->port);
	for (int i = 0; i < BLOCKS; i++)
		free(rig->sponge.blocks[i].bytes);
	spsc_free(&rig->sponge.link.submit);
	spsc_free(&rig->sponge.link.completions);
	spsc_free(&rig->sponge.link.completions_free);
	spsc_free(&rig->sponge.link.credit);
	option_values_free(&rig->values);
	free(rig->config);
	free(rig->worker);
	free(rig);
}

static void
turn(struct rig *rig)
{
	worker_step(rig->worker);
	sponge_step(&rig->sponge);
}

static void
test_accounts_and_memory(void **state)
{
	(void)state;
	struct rig *rig = rig_open(10000, NULL);
	for (int i = 0; i < 2000; i++)
		turn(rig);
	uint64_t before = allocations;
	while (!rig->port->ended)
		turn(rig);
	assert_int_equal(allocations, before);	/* not one on the hot path */
	struct ingress *ingress = &rig->worker->ingress;
	ingress_put(ingress);
	ingress_seal_due(ingress, true);
	sponge_step(&rig->sponge);
	ingress_reap(ingress);
	assert_true(ingress_drained(ingress));
	struct net_counters *net = net_counters(rig->worker->ports[0].net);
	struct source_counters *source = &ingress->sources[0].counters;
	struct intake_counters *intake = &ingress->channels[0].counters;
	assert_int_equal(counter_read(&net->frames_in), 640000);
	assert_int_equal(net_account_out(net), 640000);
	assert_int_equal(counter_read(&net->to_source), counter_read(&source->parsed));
	assert_int_equal(counter_read(&source->parsed), counter_read(&source->routed));
	assert_int_equal(counter_read(&intake->offered), 640000);
	assert_int_equal(counter_read(&intake->stored), 640000);
	assert_int_equal(rig->sponge.events, 640000);
	rig_close(rig);
}

/* Nobody takes blocks for a while: each datagram is in the channel or counted as channel_full, and it goes on. */
static void
test_full_channel(void **state)
{
	(void)state;
	struct rig *rig = rig_open(2000, NULL);
	struct ingress *ingress = &rig->worker->ingress;
	struct intake_counters *intake = &ingress->channels[0].counters;
	struct source_counters *source = &ingress->sources[0].counters;
	for (int i = 0; i < 1500; i++)
		worker_step(rig->worker);
	uint64_t full = counter_read(&intake->channel_full), held = counter_read(&intake->offered) - full;
	assert_in_range(held, BLOCKS * BLOCK_BYTES / 400, BLOCKS * BLOCK_BYTES / 150);
	assert_true(full > 10000);
	while (!rig->port->ended)
		turn(rig);
	ingress_put(ingress);
	ingress_seal_due(ingress, true);
	sponge_step(&rig->sponge);
	ingress_reap(ingress);
	assert_true(ingress_drained(ingress));
	assert_int_equal(counter_read(&net_counters(rig->worker->ports[0].net)->to_source), 128000);
	assert_int_equal(counter_read(&source->parsed), 128000);
	assert_int_equal(counter_read(&source->parsed), counter_read(&source->routed));
	assert_int_equal(counter_read(&intake->offered), 128000);
	assert_int_equal(counter_read(&intake->stored) + counter_read(&intake->channel_full), 128000);
	assert_in_range(counter_read(&intake->channel_full), full, full + 64);
	assert_int_equal(rig->sponge.events, counter_read(&intake->stored));
	rig_close(rig);
}

/* Turns of the data core over frames in memory; a function of its own, so that callgrind can be told to count it alone. */
__attribute__((noinline)) void
bench_turns(struct rig *rig, uint32_t turns)
{
	for (uint32_t i = 0; i < turns; i++)
		turn(rig);
}

/* The same frames received and given back, and nothing else. */
__attribute__((noinline)) static void
bench_receive(struct rig *rig, uint32_t turns)
{
	struct frame frames[PORT_BURST_MAX];
	for (uint32_t i = 0; i < turns; i++)
		port_release(rig->port, 0, frames, port_rx(rig->port, 0, frames, PORT_BURST_MAX));
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

#define SLICE_TURNS 500u	/* some 4 ms */
#define SLICES_MAX 4096

/* Slices of work and of receiving alone by turns; medians, so that what else runs on the CPU does not count. */
static int
bench(double seconds)
{
	static double full[SLICES_MAX], receive[SLICES_MAX];
	struct rig *rig = rig_open(0, &clock_system);
	uint32_t n = 0, slice_events = SLICE_TURNS * PORT_BURST_MAX;
	bench_turns(rig, 20000);
	uint64_t began = clock_now_ns(&clock_system), now = began;
	for (; n < SLICES_MAX && now - began < (uint64_t)(seconds * 1e9); n++) {
		bench_turns(rig, SLICE_TURNS);
		uint64_t middle = clock_now_ns(&clock_system);
		bench_receive(rig, SLICE_TURNS);
		full[n] = (double)(middle - now) / slice_events;
		now = clock_now_ns(&clock_system);
		receive[n] = (double)(now - middle) / slice_events;
	}
	assert_true(counter_read(&rig->worker->ingress.channels[0].counters.channel_full) == 0);
	qsort(full, n, sizeof *full, compare);
	qsort(receive, n, sizeof *receive, compare);
	printf("{\"events_per_second\":%.0f,\"ns_per_event\":%.1f,\"ns_receive\":%.1f,\"ns_above_receive\":%.1f,\"least_ns\":%.1f}\n", 1e9 / full[n / 2],
	       full[n / 2], receive[n / 2], full[n / 2] - receive[n / 2], full[0]);
	rig_close(rig);
	return 0;
}

/* For callgrind: that many turns, nothing measured. */
static int
count(uint32_t turns)
{
	struct rig *rig = rig_open(0, &clock_system);
	for (uint32_t i = 0; i < 200; i++)
		turn(rig);
	bench_turns(rig, turns);
	printf("{\"events\":%llu}\n", (unsigned long long)turns * PORT_BURST_MAX);
	rig_close(rig);
	return 0;
}

int
main(int argc, char **argv)
{
	setenv("TZ", "UTC0", 1);
	if (argc == 3 && strcmp(argv[1], "bench") == 0)
		return bench(atof(argv[2]));
	if (argc == 3 && strcmp(argv[1], "count") == 0)
		return count((uint32_t)atoi(argv[2]));
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_accounts_and_memory), cmocka_unit_test(test_full_channel) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
