/* test_rejects: events no path can be made for, on a real file channel that dies at each step of their way: each is in the file of rejects once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "sinks/sink_runner.h"
#include "tests/conformance/channel_conformance.h"

#define EVENTS 100u

struct place {
	char dir[64];
	struct option_values values;
	void *config;
};

static void
report_tell(struct option_report *report, bool fatal, const char *origin, const char *key, const char *text)
{
	(void)report;
	(void)origin;
	fprintf(stderr, "%s: %s %s\n", fatal ? "error" : "note", key, text);
}

static void *
config_parse(const struct option *options, size_t size, struct property *props, size_t count, struct option_values *values)
{
	struct option_report report = { report_tell };
	void *config = calloc(1, size);
	assert_int_equal(option_parse(options, props, count, config, values, &report), 0);
	return config;
}

static int
open_file(struct channel_case *c, const struct channel_env *env, uint64_t capacity, struct channel **channel, struct err *err)
{
	struct place *place = c->context;
	char checkpoint[96], data[96];
	(void)capacity;
	snprintf(checkpoint, sizeof checkpoint, "%s/checkpoint", place->dir);
	snprintf(data, sizeof data, "%s/data", place->dir);
	struct property props[] = {
		{ .key = "checkpointDir", .value = checkpoint, .origin = "test" }, { .key = "dataDirs", .value = data, .origin = "test" },
		{ .key = "maxFileSize", .value = "4194304", .origin = "test" }, { .key = "minimumRequiredSpace", .value = "1048576", .origin = "test" },
	};
	place->config = config_parse(channel_file.options, channel_file.config_size, props, 4, &place->values);
	struct channel_env usual = *env;
	usual.block_bytes = 0;
	return channel_file.open(channel, place->config, &usual, err);
}

struct life {
	struct place place;
	struct channel_case c;
	struct rig rig;
	struct clock_manual clock;
	struct sink_runner *runner;
	struct option_values values;
	void *config;
};

static void
life_begin(struct life *life, const char *dir)
{
	char rejects[96];
	struct err err;
	memset(life, 0, sizeof *life);
	snprintf(life->place.dir, sizeof life->place.dir, "%s", dir);
	snprintf(rejects, sizeof rejects, "%s/rejects", dir);
	life->c = (struct channel_case){ .open = open_file, .durable = true, .context = &life->place };
	rig_open(&life->rig, &life->c, 0);
	block_scratch_free(life->rig.scratch);	/* a ledger's notes with paths need blocks of the usual size */
	assert_int_equal(block_scratch_init(&life->rig.scratch, 256 << 10), 0);
	clock_manual_init(&life->clock, NS_PER_S, NS_PER_S);
	struct property props[] = {
		{ .key = "hdfs.path", .value = "file:///tmp/penstock-never/%Y", .origin = "test" }, { .key = "hdfs.fileType", .value = "DataStream", .origin = "test" },
		{ .key = "penstock.hdfs.rejects", .value = rejects, .origin = "test" },
	};
	life->config = config_parse(sink_hdfs.options, sink_hdfs.config_size, props, 3, &life->values);
	if (sink_runner_open(&life->runner, &sink_hdfs, life->config, "a1", "k1", life->rig.channel, &life->clock.clock, &err))
		fail_msg("%s", err.text);
}

static void
life_step(struct life *life)
{
	clock_manual_advance(&life->clock, 6 * NS_PER_MS);
	sink_runner_step(life->runner, 0);
	(void)life->rig.channel->ops->writer_step(life->rig.channel, 0);
	rig_reap(&life->rig);
	usleep(1000);	/* the disk's syncs are of this world */
}

static void
life_end(struct life *life)
{
	sink_runner_finish(life->runner, 0);
	for (int i = 0; i < 20; i++)
		(void)life->rig.channel->ops->writer_step(life->rig.channel, 0);
	rig_close(&life->rig);
	free(life->config);
	free(life->place.config);
	option_values_free(&life->values);
	option_values_free(&life->place.values);
}

static void
shell(const char *format, const char *a, const char *b)
{
	char command[300];
	snprintf(command, sizeof command, format, a, b);
	assert_int_equal(system(command), 0);
}

/* Each number below EVENTS stands once. */
static void
rejects_check(const char *dir)
{
	char path[96], line[300];
	uint32_t seen[EVENTS] = { 0 }, lines = 0;
	snprintf(path, sizeof path, "%s/rejects/k1.rejects", dir);
	FILE *file = fopen(path, "r");
	assert_non_null(file);
	for (; fgets(line, sizeof line, file); lines++) {
		char *rest;
		unsigned long value = strtoul(strchr(line, '}') + 1, &rest, 10);
		assert_true(strncmp(line, "0 ", 2) == 0 || strtoul(line, NULL, 10) > 0);
		assert_true(value < EVENTS);
		seen[value]++;
	}
	fclose(file);
	assert_int_equal(lines, EVENTS);
	for (uint32_t i = 0; i < EVENTS; i++)
		assert_int_equal(seen[i], 1);
}

static void
test_each_step(void **state)
{
	(void)state;
	uint32_t unsettled_at_death = 0, done_at_death = 0;
	for (int steps = 0; steps < 24; steps++) {
		char dir[] = "/tmp/penstock-rejects-XXXXXX", copy[64];
		struct life life;
		assert_non_null(mkdtemp(dir));
		snprintf(copy, sizeof copy, "%s-2", dir);
		shell("mkdir -p %s/rejects %s", dir, dir);
		life_begin(&life, dir);
		for (uint32_t put = 0; put < EVENTS;) {
			put += rig_put(&life.rig, EVENTS - put > 50 ? 50 : EVENTS - put, 100);
			(void)life.rig.channel->ops->writer_step(life.rig.channel, 0);
			rig_reap(&life.rig);
		}
		rig_settle_down(&life.rig);
		for (int i = 0; i < steps; i++)
			life_step(&life);
		/* As it lies on the disk now. */
		shell("cp -r --sparse=always %s %s", dir, copy);
		if (steps % 2 && !life.rig.channel->ops->unsettled(life.rig.channel))
			done_at_death++;
		else
			unsettled_at_death++;
		life_end(&life);
		shell("rm -rf %s%s", dir, "");
		assert_int_equal(rename(copy, dir), 0);
		life_begin(&life, dir);
		for (int i = 0; i < 10000 && life.rig.channel->ops->unsettled(life.rig.channel); i++)
			life_step(&life);
		if (life.rig.channel->ops->unsettled(life.rig.channel))
			fail_msg("after %d steps: %llu unsettled, %llu rejected", steps, (unsigned long long)life.rig.channel->ops->unsettled(life.rig.channel),
				 (unsigned long long)metrics_sum("SINK", "k1", "open_events"));
		rejects_check(dir);
		life_end(&life);
		shell("rm -rf %s%s", dir, "");
	}
	assert_true(unsettled_at_death > 3 && done_at_death > 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_each_step) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
