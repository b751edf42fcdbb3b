#include "camus/run.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "camus/commit.h"
#include "camus/complete.h"
#include "camus/kafka.h"
#include "camus/steps.h"

static uint64_t
now_ns(void)
{
	return clock_now_ns(&clock_system);
}

/* Nothing to be written down: no offset moved. */
static bool
nothing_new(const struct job *job)
{
	if (job->file_count || job->error_count || complete_count(job))
		return false;
	for (size_t i = 0; i < job->part_count; i++) {
		const struct part *part = job->parts[i];
		if (part->failed || !part->now.known)
			continue;
		if (!part->saved.known || part->saved.next != part->now.next || part->records)
			return false;
	}
	return true;
}

static int
verdict(const struct job *job, struct run_report *report)
{
	int status = 0;
	for (size_t i = 0; i < job->part_count; i++) {
		const struct part *part = job->parts[i];
		if (part->failed || part->trouble || part->why == START_NO_LEADER || part->why == START_CHANGED)
			status = 1;
		if (part->why == START_OUT_OF_RANGE && job->conf->fail_out_of_range)
			status = 1;
	}
	if (job->unreadable_topics || job->offsets_failed || (job->error_count && job->conf->fail_on_errors))
		status = 1;
	if (report->failure[0] || report->hook_failed)
		status = 1;
	return status;
}

/* What is no longer needed goes; a failure is told and stops nothing. */
static void
old_remove(struct place *place, const struct job *job)
{
	struct prune_result pruned;
	struct err err = { "" };
	if (history_prune(place, job->conf, job->number, &pruned, &err))
		log_warn("the history was not pruned: %s", err.text);
	else if (pruned.executions || pruned.leftovers || pruned.manifests)
		log_info("%" PRIu64 " entries below %s, more than %" PRIu64 ": %u old executions, %u left-over folders and %u manifests removed",
			pruned.entries, place->base, pruned.limit, pruned.executions, pruned.leftovers, pruned.manifests);
	steps_leftovers(place, job);
}

int
run_job(const struct camus_conf *conf, const struct run_options *options)
{
	struct job job;
	struct place place;
	struct err err = { "" };
	struct run_report report = { .quiet = options->quiet };
	uint64_t t0 = now_ns();
	job_stop_on_signals();
	steps_job(&job, conf);
	int rc = place_open(&place, conf, &err), status = 2;
	bool locked = false;
	char folder[FS_PATH_BYTES] = "";
	if (!rc)
		rc = steps_folder(&place, &job, folder, &err);
	if (!rc) {
		status = 1;
		rc = place_lock(&place, job.run, &err);
		locked = rc == 0;
	}
	if (!rc)
		rc = steps_state(&place, &job, true, true, &report, &err);
	if (!rc)
		old_remove(&place, &job);
	uint64_t t1 = now_ns();
	job.t_pre_ns = t1 - t0;
	if (!rc)
		rc = kafka_setup(&job, &err);
	uint64_t t2 = now_ns();
	job.t_setup_ns = t2 - t1;
	bool pulled = false;
	if (!rc) {
		for (size_t i = 0; i < job.part_count; i++)
			pulled |= job.parts[i]->pull;
		rc = steps_pull(&job, &place, folder, &report, &err);
	}
	uint64_t t3 = now_ns();
	job.t_pull_ns = t3 - t2;
	bool decided = false, failed = false;
	for (size_t i = 0; i < job.part_count; i++)
		failed |= job.parts[i]->failed || job.parts[i]->trouble;
	if (!rc)
		rc = complete_decide(&job, &err);
	if (!rc)
		rc = steps_judge(&job, &err);
	if (!rc && failed && conf->commit == COMMIT_FULL)
		rc = err_set(&err, EIO, "a partition failed and penstock.camus.commit = full: nothing is committed");
	if (!rc && !conf->move_data) {
		log_warn("etl.run.move.data = false: the data stays in %s and nothing is committed", folder);
		decided = true;
	} else if (!rc && !nothing_new(&job)) {
		rc = steps_decide(&job, &place, "run", folder, NULL, &report, &err);
		decided = rc && (report.manifest != 0 || report.in_doubt);
	}
	if (rc)
		snprintf(report.failure, sizeof report.failure, "%.500s", err.text);
	/* What an unfinished manifest needs stays; all else goes. */
	if (pulled && !decided && place.fs)
		commit_clean(place.fs, folder);
	char built[FS_PATH_BYTES];
	if (rc && locked && !report.manifest && !report.in_doubt && fs_path_join(built, sizeof built, place.state, job.run) == 0)
		commit_clean(place.fs, built);
	if (locked)
		place_unlock(&place);
	job.t_commit_ns = now_ns() - t3;
	if (status != 2 || !rc)
		status = verdict(&job, &report);
	if (rc && status != 1)
		status = 2;
	report_print(&report, &job, status, options);
	if (options->metrics_file)
		report_metrics(&report, &job, status, options->metrics_file);
	place_close(&place);
	job_free(&job);
	return status;
}

int
run_plan(const struct camus_conf *conf, const struct run_options *options)
{
	struct job job;
	struct place place;
	struct err err = { "" };
	struct run_report report = { .quiet = true };
	steps_job(&job, conf);
	int status = 2, rc = place_open(&place, conf, &err);
	if (!rc) {
		status = 1;
		rc = steps_state(&place, &job, false, true, &report, &err);
	}
	if (!rc)
		rc = kafka_setup(&job, &err);
	if (rc)
		fprintf(stderr, "penstock-camus: %s\n", err.text);
	else {
		report_plan(&job, options);
		status = 0;
	}
	place_close(&place);
	job_free(&job);
	return status;
}
