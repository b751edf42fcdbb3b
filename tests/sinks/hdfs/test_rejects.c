/* test_rejects: events no path can be made for, on a real file channel that dies at each step of their way: each is in the file of rejects once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/sinks/hdfs/life.h"

#define EVENTS 100u

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
		assert_non_null(strchr(line, '}'));
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
		char dir[] = "/tmp/penstock-rejects-XXXXXX", copy[64], rejects[128];
		struct life life;
		assert_non_null(mkdtemp(dir));
		snprintf(copy, sizeof copy, "%s-2", dir);
		shell("mkdir -p %s/rejects %s", dir, dir);
		snprintf(rejects, sizeof rejects, "penstock.hdfs.rejects=%s/rejects", dir);
		const char *const options[] = { "hdfs.path=file:///tmp/penstock-never/%Y", "hdfs.fileType=DataStream", rejects, NULL };
		life_begin(&life, dir, "k1", options);
		life_put(&life, EVENTS);
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
		life_begin(&life, dir, "k1", options);
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

/* The machine died while lines were being written: what stands of them is cut off, and no hole is left in their place. */
static void
test_begun(void **state)
{
	(void)state;
	uint32_t begun = 0;
	for (int steps = 0; steps < 24; steps++) {
		char dir[] = "/tmp/penstock-rejects-XXXXXX", copy[64], rejects[128], path[128], head[4] = "";
		struct life life;
		assert_non_null(mkdtemp(dir));
		snprintf(copy, sizeof copy, "%s-2", dir);
		shell("mkdir -p %s/rejects %s", dir, dir);
		snprintf(rejects, sizeof rejects, "penstock.hdfs.rejects=%s/rejects", dir);
		const char *const options[] = { "hdfs.path=file:///tmp/penstock-never/%Y", "hdfs.fileType=DataStream", rejects, NULL };
		life_begin(&life, dir, "k1", options);
		life_put(&life, EVENTS);
		for (int i = 0; i < steps; i++)
			life_step(&life);
		shell("cp -r --sparse=always %s %s", dir, copy);
		life_end(&life);
		shell("rm -rf %s%s", dir, "");
		assert_int_equal(rename(copy, dir), 0);
		snprintf(path, sizeof path, "%s/rejects/k1.rejects", dir);
		FILE *file = fopen(path, "r+");
		bool empty = file && fgetc(file) == EOF;
		if (empty)
			fputs("###", file);
		if (file)
			fclose(file);
		life_begin(&life, dir, "k1", options);
		for (int i = 0; i < 10000 && life.rig.channel->ops->unsettled(life.rig.channel); i++)
			life_step(&life);
		assert_int_equal(life.rig.channel->ops->unsettled(life.rig.channel), 0);
		file = fopen(path, "r");
		assert_non_null(file);
		assert_int_equal(fread(head, 1, 3, file), 3);
		fclose(file);
		/* Before there was an intent nothing of ours stood there. */
		if (empty && memcmp(head, "###", 3) != 0) {
			begun++;
			rejects_check(dir);
		}
		life_end(&life);
		shell("rm -rf %s%s", dir, "");
	}
	assert_true(begun > 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_each_step), cmocka_unit_test(test_begun) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
