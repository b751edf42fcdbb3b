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

struct death {
	char dir[40], rejects[128];
	const char *options[4];
	bool settled;			/* all of it, at that moment */
};

/* A life that ends after so many steps: what lies on the disk then is in dir. */
static void
die_after(struct death *d, int steps)
{
	char copy[48];
	struct life life;
	*d = (struct death){ .dir = "/tmp/penstock-rejects-XXXXXX", .options = { "hdfs.path=file:///tmp/penstock-never/%Y", "hdfs.fileType=DataStream", d->rejects } };
	assert_non_null(mkdtemp(d->dir));
	snprintf(copy, sizeof copy, "%s-2", d->dir);
	shell("mkdir -p %s/rejects %s", d->dir, d->dir);
	snprintf(d->rejects, sizeof d->rejects, "penstock.hdfs.rejects=%s/rejects", d->dir);
	life_begin(&life, d->dir, "k1", d->options);
	life_put(&life, EVENTS);
	for (int i = 0; i < steps; i++)
		life_step(&life);
	shell("cp -r --sparse=always %s %s", d->dir, copy);	/* as it lies on the disk now */
	d->settled = !life.rig.channel->ops->unsettled(life.rig.channel);
	life_end(&life);
	shell("rm -rf %s%s", d->dir, "");
	assert_int_equal(rename(copy, d->dir), 0);
}

/* The next life, until all is settled. */
static void
live_on(struct death *d, struct life *life)
{
	life_begin(life, d->dir, "k1", d->options);
	for (int i = 0; i < 10000 && life->rig.channel->ops->unsettled(life->rig.channel); i++)
		life_step(life);
	assert_int_equal(life->rig.channel->ops->unsettled(life->rig.channel), 0);
}

static void
test_each_step(void **state)
{
	(void)state;
	uint32_t unsettled_at_death = 0, done_at_death = 0;
	for (int steps = 0; steps < 24; steps++) {
		struct death d;
		struct life life;
		die_after(&d, steps);
		if (steps % 2 && d.settled)
			done_at_death++;
		else
			unsettled_at_death++;
		live_on(&d, &life);
		rejects_check(d.dir);
		life_end(&life);
		shell("rm -rf %s%s", d.dir, "");
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
		char path[96], head[4] = "";
		struct death d;
		struct life life;
		die_after(&d, steps);
		snprintf(path, sizeof path, "%s/rejects/k1.rejects", d.dir);
		FILE *file = fopen(path, "r+");
		bool empty = file && fgetc(file) == EOF;
		if (empty)
			fputs("###", file);
		if (file)
			fclose(file);
		live_on(&d, &life);
		file = fopen(path, "r");
		assert_non_null(file);
		assert_int_equal(fread(head, 1, 3, file), 3);
		fclose(file);
		/* Before there was an intent nothing of ours stood there. */
		if (empty && memcmp(head, "###", 3) != 0) {
			begun++;
			rejects_check(d.dir);
		}
		life_end(&life);
		shell("rm -rf %s%s", d.dir, "");
	}
	assert_true(begun > 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_each_step), cmocka_unit_test(test_begun) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
