/* kafka_feed SERVERS TOPIC COUNT [OPTION=VALUE...]: runs the kafka sink over a fake channel with COUNT events "event 0" ... (header
 * key = the number modulo 10) until all are settled, at most 300 s. Says "feeding" first and "settled N, rolled back M" at the end. For test_kafka_real.sh. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/sink_fixture.h"

int
main(int argc, char **argv)
{
	if (argc < 4 || argc > 8) {
		fprintf(stderr, "usage: kafka_feed SERVERS TOPIC COUNT [OPTION=VALUE] (at most 4)\n");
		return 2;
	}
	struct sink_fixture f;
	char servers[256], topic[256], body[64], key[32];
	uint32_t count = (uint32_t)strtoul(argv[3], NULL, 10);
	snprintf(servers, sizeof servers, "kafka.bootstrap.servers=%s", argv[1]);
	snprintf(topic, sizeof topic, "kafka.topic=%s", argv[2]);
	fixture_init(&f, 0);
	for (uint32_t i = 0; i < count; i++) {
		snprintf(key, sizeof key, "key=%u", i % 10);
		fake_put(&f.channel, body, (uint32_t)snprintf(body, sizeof body, "event %u", i), key);
	}
	if (fixture_open(&f, &sink_kafka, &clock_system, servers, topic, argc > 4 ? argv[4] : NULL, argc > 5 ? argv[5] : NULL,
			 argc > 6 ? argv[6] : NULL, argc > 7 ? argv[7] : NULL, NULL)) {
		fprintf(stderr, "%s\n", f.err.text);
		return 1;
	}
	printf("feeding\n");
	fflush(stdout);
	uint64_t start_ns = clock_now_ns(&clock_system), end_ns = start_ns + 300 * NS_PER_S;
	while (f.channel.settled < count && clock_now_ns(&clock_system) < end_ns)
		sink_runner_step(f.runner, 20 * NS_PER_MS);
	printf("settled %u, rolled back %u, %llu ms\n", f.channel.settled, f.channel.rollbacks,
	       (unsigned long long)((clock_now_ns(&clock_system) - start_ns) / NS_PER_MS));
	int rc = f.channel.settled == count ? 0 : 1;
	sink_runner_finish(f.runner, clock_now_ns(&clock_system) + NS_PER_S);
	f.runner = NULL;
	fixture_free(&f);
	return rc;
}
