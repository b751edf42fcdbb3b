/* run: the commands of the batch loader. Main thread. Each returns the exit status: 0 done, 1 something failed as the report says, 2 configuration. */
#ifndef PENSTOCK_CAMUS_RUN_H
#define PENSTOCK_CAMUS_RUN_H

#include "camus/conf.h"

struct run_options {
	bool json;			/* report and plan as JSON on standard output */
	bool quiet;
	const char *metrics_file;	/* textfile for Prometheus; NULL */
};

int run_job(const struct camus_conf *conf, const struct run_options *options);
/* Sets where TOPIC[:PARTITION] goes on, once, as a manifest of its own; `to`: earliest, latest, an offset, or a time (2026-11-21T10:00Z, or
 * milliseconds behind an @). */
int run_reset(const struct camus_conf *conf, const struct run_options *options, const char *what, const char *to);
int run_plan(const struct camus_conf *conf, const struct run_options *options);

#endif
