/* file_roll over a real channel of memory: adjacent bodies and headers come out of real blocks, also more than all blocks hold
 * between two syncs (spans give their bytes back once written), and the channel is empty at the end. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sinks/sink_runner.h"
#include "tests/conformance/channel_conformance.h"
#include "tests/lib/config_of.h"

struct memory_case {
	struct option_values values;
	void *config;
};

static int
open_memory(struct channel_case *c, const struct channel_env *env, uint64_t capacity, struct channel **channel, struct err *err)
{
	struct memory_case *m = c->context;
	char text[48];
	snprintf(text, sizeof text, "capacity=%llu", (unsigned long long)capacity);
	m->config = config_must(channel_memory.options, channel_memory.config_size, (const char *const[]){ text, NULL }, &m->values);
	return channel_memory.open(channel, m->config, env, err);
}

static void
through(const char *serializer, bool headers)
{
	char directory[64] = "/tmp/penstock-real-XXXXXX", path[512], line[300];
	assert_non_null(mkdtemp(directory));
	struct memory_case m = { 0 };
	struct channel_case c = { .open = open_memory, .context = &m };
	struct rig rig;
	rig_open(&rig, &c, 1000000);
	char directory_text[96], serializer_text[64];
	snprintf(directory_text, sizeof directory_text, "sink.directory=%s", directory);
	snprintf(serializer_text, sizeof serializer_text, "sink.serializer=%s", serializer);
	const char *const texts[] = { directory_text, serializer_text, "sink.rollInterval=0", NULL };
	struct option_values values = { 0 };
	struct clock_manual clock;
	struct err err;
	struct sink_runner *runner;
	void *config = config_must(sink_file_roll.options, sink_file_roll.config_size, texts, &values);
	clock_manual_init(&clock, NS_PER_S, NS_PER_S);
	if (sink_runner_open(&runner, &sink_file_roll, config, "a1", "k1", rig.channel, &clock.clock, &err))
		fail_msg("%s", err.text);
	/* 16 blocks of 16 KiB are there; 10 times that goes through before a sync is due. */
	for (int stuck = 0; rig.next < 20000;) {
		stuck = rig_put(&rig, 50, 100) ? 0 : stuck + 1;
		assert_true(stuck < 1000);
		(void)rig.channel->ops->writer_step(rig.channel, 0);
		rig_reap(&rig);
		sink_runner_step(runner, 0);
		if (stuck)
			clock_manual_advance(&clock, 6 * NS_PER_MS);
	}
	rig_settle_down(&rig);
	for (int i = 0; i < 20; i++) {
		sink_runner_step(runner, 0);
		clock_manual_advance(&clock, 100 * NS_PER_MS);
	}
	assert_int_equal(rig.channel->ops->unsettled(rig.channel), 0);
	assert_false(sink_runner_busy(runner));
	sink_runner_finish(runner, 0);
	rig_close(&rig);

	snprintf(path, sizeof path, "%s/1000-1", directory);
	FILE *file = fopen(path, "r");
	assert_non_null(file);
	uint64_t n = 0;
	while (fgets(line, sizeof line, file)) {
		char wanted[300];
		int len = headers ? snprintf(wanted, sizeof wanted, "{k=%llu} ", (unsigned long long)n) : 0;
		snprintf(wanted + len, sizeof wanted - (size_t)len, "%016llu", (unsigned long long)n);
		assert_memory_equal(line, wanted, strlen(wanted));
		assert_int_equal(strlen(line), len + 101);
		n++;
	}
	assert_int_equal(n, rig.put);
	fclose(file);
	unlink(path);
	snprintf(path, sizeof path, "%s/.penstock-k1.state", directory);
	unlink(path);
	assert_int_equal(rmdir(directory), 0);
	free(config);
	option_values_free(&values);
	free(m.config);
	option_values_free(&m.values);
}

static void
text(void **state)
{
	(void)state;
	through("TEXT", false);
}

static void
header_and_text(void **state)
{
	(void)state;
	through("HEADER_AND_TEXT", true);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(text), cmocka_unit_test(header_and_text) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
