/* hdfs_feed URI CONF MIB[:BUCKETS] [OPTION=VALUE...]: the hdfs sink, exactly once, over a fake channel with MIB of 200-byte events that lie as in blocks;
 * a header b with the numbers below BUCKETS by turns;
 * prints the milliseconds from the first take to the final name, and the calls to NameNodes (whole ones with hdfs.idleTimeout, which ends the last
 * file). For ./bench. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/sink_fixture.h"

#define RUN_BYTES (1u << 20)
#define EVENT_BYTES 200u

int
main(int argc, char **argv)
{
	if (argc < 4 || argc > 10) {
		fprintf(stderr, "usage: hdfs_feed URI CONF MIB [OPTION=VALUE]...\n");
		return 2;
	}
	struct sink_fixture f;
	char path[512], conf[512];
	const char *more[7] = { NULL };
	bool ends_by_itself = false;
	for (int i = 4; i < argc; i++) {
		more[i - 4] = argv[i];
		ends_by_itself = ends_by_itself || strncmp(argv[i], "hdfs.idleTimeout=", 17) == 0;
	}
	fixture_init(&f, 1500000000000);
	uint32_t per_run = RUN_BYTES / EVENT_BYTES;
	f.channel.run = malloc(RUN_BYTES);
	for (uint32_t i = 0; i < RUN_BYTES; i++)
		f.channel.run[i] = i % EVENT_BYTES == EVENT_BYTES - 1 ? '\n' : (uint8_t)('a' + i * 7 % 26);
	f.channel.count = f.channel.room = (uint32_t)(strtod(argv[3], NULL) * RUN_BYTES / EVENT_BYTES + 0.5);
	f.channel.events = calloc(f.channel.count, sizeof *f.channel.events);
	for (uint32_t i = 0; i < f.channel.count; i++) {
		f.channel.events[i].body = f.channel.run + i % per_run * EVENT_BYTES;
		f.channel.events[i].body_len = EVENT_BYTES - 1;
	}
	const char *colon = strchr(argv[3], ':');
	uint32_t buckets = colon ? (uint32_t)strtoul(colon + 1, NULL, 10) : 0;
	struct header_view *headers = calloc(buckets + 1, sizeof *headers);
	char (*numbers)[12] = calloc(buckets + 1, sizeof *numbers);
	for (uint32_t i = 0; i < buckets; i++) {
		int n = snprintf(numbers[i], sizeof numbers[i], "%u", i);
		headers[i] = (struct header_view){ .name = "b", .name_len = 1, .bytes = (const uint8_t *)numbers[i], .len = (uint32_t)n };
	}
	for (uint32_t i = 0; buckets && i < f.channel.count; i++) {
		f.channel.events[i].headers = &headers[i % buckets];
		f.channel.events[i].header_count = 1;
	}
	f.channel.notes = true;
	snprintf(path, sizeof path, "hdfs.path=%s", argv[1]);
	snprintf(conf, sizeof conf, "penstock.hdfs.conf=%s", argv[2]);
	static const char *const usual[] = { "hdfs.fileType=DataStream", "hdfs.rollInterval=0", "hdfs.rollSize=0", "hdfs.rollCount=0",
		"hdfs.batchSize=10000", "penstock.delivery=exactly_once" };
	const char *all[12] = { NULL };
	size_t count = 0;
	for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
		all[count++] = usual[i];
	for (int i = 0; more[i] && count < 11; i++)
		all[count++] = more[i];		/* of one option twice the last counts */
	if (fixture_open(&f, &sink_hdfs, &clock_system, path, conf, all[0], all[1], all[2], all[3], all[4], all[5], all[6], all[7], all[8], all[9], all[10], NULL)) {
		fprintf(stderr, "%s\n", f.err.text);
		return 1;
	}
	uint64_t start_ns = clock_now_ns(&clock_system);
	while (f.channel.next < f.channel.count)
		sink_runner_step(f.runner, 5 * NS_PER_MS);
	while (ends_by_itself && f.channel.settled < f.channel.count)
		sink_runner_step(f.runner, NS_PER_MS);
	uint64_t calls = 0;
	for (uint64_t until_ns = clock_now_ns(&clock_system) + 200 * NS_PER_MS; ends_by_itself && clock_now_ns(&clock_system) < until_ns;)
		sink_runner_step(f.runner, NS_PER_MS);	/* metrics are of each 100 ms */
	calls = fixture_metric("name_node_calls");
	uint32_t events = f.channel.count;
	sink_runner_finish(f.runner, clock_now_ns(&clock_system) + 300 * NS_PER_S);
	f.runner = NULL;
	printf("%llu %llu\n", (unsigned long long)((clock_now_ns(&clock_system) - start_ns) / NS_PER_MS), (unsigned long long)calls);
	int rc = f.channel.settled == events ? 0 : 1;
	for (uint32_t i = 0; i < events; i++) {
		f.channel.events[i].headers = NULL;		/* the channel would free them */
		f.channel.events[i].header_count = 0;
	}
	free(headers);
	free(numbers);
	fixture_free(&f);
	return rc;
}
