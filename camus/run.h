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
/* Camus's newest execution becomes the next manifest. */
int run_import(const struct camus_conf *conf, const struct run_options *options);
/* A topic's records between two times (of Kafka's index) into a tree of its own; the job's state is not touched. */
int run_backfill(const struct camus_conf *conf, const struct run_options *options, const char *topic, const char *from, const char *to,
		 const char *into);
/* Files of manifest `number` that are gone before they were published are fetched again. accept_loss: as far as Kafka still has them. */
int run_redo(const struct camus_conf *conf, const struct run_options *options, uint64_t number, bool accept_loss);
/* Many small files of published folders to few (camus.sweeper.*). dry: tells only. */
int run_sweep(const struct camus_conf *conf, const struct run_options *options, bool dry);
/* Removes dated folders that need not be kept any longer (camus.sweeper.clean.*). dry: tells only. */
int run_clean(const struct camus_conf *conf, const struct run_options *options, bool dry);
/* Audit counts of this job's tier beside another's, by what both told Kafka: windows that differ are named, with status 1. */
int run_compare(const struct camus_conf *conf, const struct run_options *options, const char *tier);
int run_plan(const struct camus_conf *conf, const struct run_options *options);

#endif
