/* Nothing is allocated per event behind the data cores either: after a start, many events pass through the log's writer without one malloc of ours on its
 * thread, and through a sink's runner without one either (null), or with as few as there are more spans open at a time than ever before (file_roll, whose
 * spans end with a sync: bounded by the tail, and kept). File channel (the real one, in a directory) and memory channel; sinks null and file_roll with each serializer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sinks/sink_runner.h"
#include "tests/conformance/channel_conformance.h"
#include "tests/lib/config_of.h"

/* The steps are called on this thread; helpers (who make segments ahead of need) have threads of their own. */
static _Thread_local bool counting;
static uint64_t allocations;
static uint64_t in_writer;

void *__real_malloc(size_t);
void *__real_calloc(size_t, size_t);
void *__real_realloc(void *, size_t);
void *__wrap_malloc(size_t);
void *__wrap_calloc(size_t, size_t);
void *__wrap_realloc(void *, size_t);

void *
__wrap_malloc(size_t n)
{
	allocations += counting;
	return __real_malloc(n);
}

void *
__wrap_calloc(size_t n, size_t m)
{
	allocations += counting;
	return __real_calloc(n, m);
}

void *
__wrap_realloc(void *p, size_t n)
{
	allocations += counting;
	return __real_realloc(p, n);
}

#define EVENTS 100000u
#define PASSES 8

static char directory[64];

struct opened {
	const struct channel_ops *ops;
	struct option_values values;
	void *config;
};

static int
open_channel(struct channel_case *c, const struct channel_env *env, uint64_t capacity, struct channel **channel, struct err *err)
{
	struct opened *o = c->context;
	char text[48], data[128], checkpoint[128];
	snprintf(text, sizeof text, "capacity=%llu", (unsigned long long)capacity);
	snprintf(data, sizeof data, "dataDirs=%s/data", directory);
	snprintf(checkpoint, sizeof checkpoint, "checkpointDir=%s/checkpoint", directory);
	const char *const texts[] = { text, o->ops == &channel_file ? data : NULL, checkpoint, "minimumRequiredSpace=1048576", NULL };
	o->config = config_must(o->ops->options, o->ops->config_size, texts, &o->values);
	return o->ops->open(channel, o->config, env, err);
}

static void
pass(struct rig *rig, struct sink_runner *runner, struct clock_manual *clock, uint64_t events)
{
	for (uint64_t until = rig->next + events, stuck = 0; rig->next < until;) {
		stuck = rig_put(rig, 50, 200) ? 0 : stuck + 1;
		assert_true(stuck < 100000);
		uint64_t before = allocations;
		counting = true;
		(void)rig->channel->ops->writer_step(rig->channel, stuck > 100 ? NS_PER_MS : 0);
		counting = false;
		in_writer += allocations - before;
		rig_reap(rig);
		counting = true;
		sink_runner_step(runner, 0);
		counting = false;
		clock_manual_advance(clock, NS_PER_MS);
	}
}

static void
through(const struct channel_ops *ops, const struct sink_ops *sink, const char *serializer)
{
	char command[256], out[128];
	snprintf(directory, sizeof directory, "%s", "/tmp/penstock-malloc-XXXXXX");
	assert_non_null(mkdtemp(directory));
	snprintf(out, sizeof out, "%s/out", directory);
	snprintf(command, sizeof command, "mkdir '%s'", out);
	assert_int_equal(system(command), 0);
	struct opened opened = { .ops = ops };
	struct channel_case c = { .open = open_channel, .context = &opened };
	struct rig rig;
	rig_open(&rig, &c, 1000000);
	char directory_text[160], serializer_text[64];
	snprintf(directory_text, sizeof directory_text, "sink.directory=%s", out);
	snprintf(serializer_text, sizeof serializer_text, "sink.serializer=%s", serializer ? serializer : "");
	const char *const texts[] = { serializer ? directory_text : NULL, "sink.rollInterval=0", serializer_text, NULL };
	struct option_values values = { 0 };
	struct clock_manual clock;
	struct err err;
	struct sink_runner *runner;
	void *config = config_must(sink->options, sink->config_size, texts, &values);
	clock_manual_init(&clock, NS_PER_S, NS_PER_S);
	if (sink_runner_open(&runner, sink, config, "a1", "k1", rig.channel, &clock.clock, &err))
		fail_msg("%s", err.text);
	pass(&rig, runner, &clock, 50000);	/* spans and buffers find their number */
	/* A disk that pauses brings more spans to be open at a time than ever before. They are kept: what is allocated so comes to an end, and what each span
	 * or event costs does not. */
	uint64_t made = 0, limit = serializer ? EVENTS / 1000 : 0, in_writer_all = 0;
	for (int turn = 0; turn < (serializer ? PASSES : 1) && (!turn || made > limit); turn++) {
		allocations = in_writer = 0;
		pass(&rig, runner, &clock, EVENTS);
		made = allocations;
		in_writer_all += in_writer;
	}
	sink_runner_finish(runner, 0);
	rig_settle_down(&rig);
	rig_close(&rig);
	free(config);
	option_values_free(&values);
	free(opened.config);
	option_values_free(&opened.values);
	snprintf(command, sizeof command, "rm -rf '%s'", directory);
	assert_int_equal(system(command), 0);
	if (made > limit || in_writer_all)
		fail_msg("channel %s, sink %s %s: %llu allocations, %llu of them in the writer, in %u events", ops->name, sink->name,
			 serializer ? serializer : "", (unsigned long long)made, (unsigned long long)in_writer_all, EVENTS);
}

static void
memory(void **state)
{
	(void)state;
	through(&channel_memory, &sink_null, NULL);
}

static void
file(void **state)
{
	(void)state;
	through(&channel_file, &sink_null, NULL);
}

static void
file_to_text(void **state)
{
	(void)state;
	through(&channel_file, &sink_file_roll, "text");
}

static void
file_to_header_and_text(void **state)
{
	(void)state;
	through(&channel_file, &sink_file_roll, "header_and_text");
}

static void
file_to_avro(void **state)
{
	(void)state;
	through(&channel_file, &sink_file_roll, "avro_event");
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(memory), cmocka_unit_test(file), cmocka_unit_test(file_to_text),
					    cmocka_unit_test(file_to_header_and_text), cmocka_unit_test(file_to_avro) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
