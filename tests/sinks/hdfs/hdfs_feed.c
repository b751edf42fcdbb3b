/* hdfs_feed URI CONF MIB [OPTION=VALUE...]: the hdfs sink, exactly once, over a fake channel with MIB of 200-byte events that lie as in blocks;
 * prints the milliseconds from the first take to the final name. For ./bench. */
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
	for (int i = 4; i < argc; i++)
		more[i - 4] = argv[i];
	fixture_init(&f, 1500000000000);
	uint32_t per_run = RUN_BYTES / EVENT_BYTES;
	f.channel.run = malloc(RUN_BYTES);
	for (uint32_t i = 0; i < RUN_BYTES; i++)
		f.channel.run[i] = i % EVENT_BYTES == EVENT_BYTES - 1 ? '\n' : (uint8_t)('a' + i * 7 % 26);
	f.channel.count = f.channel.room = (uint32_t)(strtoull(argv[3], NULL, 10) * RUN_BYTES / EVENT_BYTES);
	f.channel.events = calloc(f.channel.count, sizeof *f.channel.events);
	for (uint32_t i = 0; i < f.channel.count; i++) {
		f.channel.events[i].body = f.channel.run + i % per_run * EVENT_BYTES;
		f.channel.events[i].body_len = EVENT_BYTES - 1;
	}
	f.channel.notes = true;
	snprintf(path, sizeof path, "hdfs.path=%s", argv[1]);
	snprintf(conf, sizeof conf, "penstock.hdfs.conf=%s", argv[2]);
	if (fixture_open(&f, &sink_hdfs, &clock_system, path, conf, "hdfs.fileType=DataStream", "hdfs.rollInterval=0", "hdfs.rollSize=0", "hdfs.rollCount=0",
			 "hdfs.batchSize=10000", "penstock.delivery=exactly_once", more[0], more[1], more[2], more[3], more[4], more[5], NULL)) {
		fprintf(stderr, "%s\n", f.err.text);
		return 1;
	}
	uint64_t start_ns = clock_now_ns(&clock_system);
	while (f.channel.next < f.channel.count)
		sink_runner_step(f.runner, 5 * NS_PER_MS);
	uint32_t count = f.channel.count;
	sink_runner_finish(f.runner, clock_now_ns(&clock_system) + 300 * NS_PER_S);
	f.runner = NULL;
	printf("%llu\n", (unsigned long long)((clock_now_ns(&clock_system) - start_ns) / NS_PER_MS));
	int rc = f.channel.settled == count ? 0 : 1;
	fixture_free(&f);
	return rc;
}
