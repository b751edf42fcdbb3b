/* life: the hdfs sink on a real file channel in a directory, for tests that end it at each step and begin it again. */
#ifndef PENSTOCK_TESTS_SINKS_HDFS_LIFE_H
#define PENSTOCK_TESTS_SINKS_HDFS_LIFE_H

#include "sinks/sink_runner.h"
#include "tests/conformance/channel_conformance.h"

struct place {
	char dir[64];
	struct option_values values;
	void *config;
};

struct life {
	struct place place;
	struct channel_case c;
	struct rig rig;
	struct clock_manual clock;
	struct sink_runner *runner;
	struct option_values values;
	void *config;
};

/* options: NULL terminated, "hdfs.path=..." and so on; they and `sink` stay as long as the life. */
void life_begin(struct life *life, const char *dir, const char *sink, const char *const *options);
void life_put(struct life *life, uint32_t events);	/* of 100 bytes; their numbers, from 0, in front */
void life_step(struct life *life);			/* 6 ms of its clock */
void life_end(struct life *life);

#endif
