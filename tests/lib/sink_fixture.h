/* sink_fixture: a sink on a fake channel with the test's clock, its options given as "key=value" texts. */
#ifndef PENSTOCK_TESTS_LIB_SINK_FIXTURE_H
#define PENSTOCK_TESTS_LIB_SINK_FIXTURE_H

#include "sinks/sink_runner.h"
#include "tests/lib/fake_channel.h"

struct sink_fixture {
	struct fake_channel channel;
	struct clock_manual clock;
	void *config;
	struct option_values values;
	struct sink_runner *runner;
	struct err err;
};

/* Channel and clock (now 1 s, wall as given). */
void fixture_init(struct sink_fixture *fixture, uint64_t wall_ms);
/* Parses and opens; ends with NULL. 0, or the error with fixture->err filled. May be called again after fixture_stop. */
int fixture_open(struct sink_fixture *fixture, const struct sink_ops *ops, struct clock *clock, ...);
void fixture_step(struct sink_fixture *fixture);
void fixture_stop(struct sink_fixture *fixture);	/* sink_runner_finish */
void fixture_free(struct sink_fixture *fixture);
uint64_t fixture_metric(const char *name);

/* Whole file; *len bytes, terminated. */
char *file_read(const char *directory, const char *name, size_t *len);
/* Names in the directory that do not begin with a dot, sorted, blank separated; caller frees. */
char *files_list(const char *directory);

#endif
