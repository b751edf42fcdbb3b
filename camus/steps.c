#include "camus/steps.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "camus/commit.h"
#include "camus/complete.h"
#include "camus/counts.h"
#include "camus/hook.h"
#include "camus/kafka.h"
#include "camus/sweep.h"

void
steps_job(struct job *job, const struct camus_conf *conf)
{
	memset(job, 0, sizeof *job);
	job->conf = conf;
	job->started_ns = clock_wall_ns(&clock_system);
	uint32_t random = 0;
	if (getrandom(&random, sizeof random, 0) != sizeof random)
		random = (uint32_t)getpid();
	time_t seconds = (time_t)(job->started_ns / NS_PER_S);
	struct tm tm;
	gmtime_r(&seconds, &tm);
	char text[32];
	strftime(text, sizeof text, "%Y-%m-%d-%H-%M-%S", &tm);
	snprintf(job->run, sizeof job->run, "%s-%08x", text, random);
}

int
steps_folder(const struct place *place, const struct job *job, char folder[static FS_PATH_BYTES], struct err *err)
{
	if (fs_path_join(folder, FS_PATH_BYTES, place->work, job->run))
		return err_set(err, ENAMETOOLONG, "%s: too long for a path", place->work);
	return 0;
}

/* Audit counts of a manifest: into the history (or etl.counts.path) and to Kafka. */
static int
counts_tell(const struct camus_conf *conf, struct place *place, const struct manifest *manifest, struct err *err)
{
	char folder[FS_PATH_BYTES];
	int rc = fs_path_join(folder, sizeof folder, place->history, manifest->history[0] ? manifest->history : manifest->run);
	if (!rc && conf->keep_counts && conf->counts_path) {
		struct fs *fs = NULL;
		struct fs_config config = place->config;
		config.uri = conf->counts_path;
		rc = fs_open(&fs, &config, &clock_system, folder, err);
		if (!rc)
			rc = counts_store(fs, conf, manifest, folder, err);
		if (fs)
			fs_close(fs);
	} else if (!rc) {
		rc = counts_store(place->fs, conf, manifest, folder, err);
	}
	kill_point("counts");
	return rc ? rc : counts_send(conf, manifest, err);
}

int
steps_publish(struct place *place, struct manifest *manifest, bool again, struct commit_result *result, struct err *err)
{
	int rc = again ? manifest_missing_read(place->fs, place->state, manifest, err) : 0;
	if (!rc)
		rc = commit_publish(place->fs, manifest, again, result, err);
	struct err refused = { "" };
	if (!rc)
		rc = sweep_publish(place->fs, manifest, &refused, err);
	snprintf(result->refused, sizeof result->refused, "%s", refused.text);
	struct err trouble = { "" };
	if (rc && result->missing && manifest_missing_store(place->fs, place->state, manifest, &trouble))
		log_warn("%s", trouble.text);
	return rc;
}

/* What the newest manifest decided is carried out before anything new is begun. 0 or -errno. */
static int
unfinished_finish(const struct camus_conf *conf, struct place *place, struct manifest *manifest, struct run_report *report, struct err *err)
{
	struct commit_result result = { 0 };
	report->unfinished = manifest->number;
	int rc = steps_publish(place, manifest, true, &result, err);
	if (rc)
		return err_prefix(err, rc, "manifest %" PRIu64 " of run %s is not finished", manifest->number, manifest->run);
	if (result.refused[0])
		log_warn("manifest %" PRIu64 ": files were not put together and stay as they are: %s", manifest->number, result.refused);
	kill_point("recovered");
	rc = history_show(place, manifest, err);
	if (!rc)
		rc = counts_tell(conf, place, manifest, err);
	if (!rc)
		rc = complete_publish(place->fs, manifest, err);
	if (rc)
		return rc;
	struct err hook = { "" };
	report->hook_failed |= hook_run(conf, manifest, &hook) != 0;
	rc = manifest_done(place->fs, place->state, manifest->number, err);
	if (rc)
		return rc;
	commit_clean(place->fs, manifest->folder);
	report->unfinished = 0;
	report->recovered = manifest->number;
	report->recovered_files = result.published;
	report->taken_away = result.taken_away;
	return 0;
}

int
steps_state(struct place *place, struct job *job, bool finish, bool history, struct run_report *report, struct err *err)
{
	uint64_t number;
	bool done;
	struct manifest manifest = { 0 };
	int rc = manifest_newest(place->fs, place->state, &number, &done, err);
	if (!rc && number)
		rc = manifest_read(place->fs, place->state, number, &manifest, err);
	if (!rc && history) {
		char newest[HISTORY_NAME_BYTES];
		rc = history_newest(place, newest, err);
		/* before anything is finished: what Camus has read since would come twice */
		if (!rc)
			rc = history_choose(job, newest, manifest.history[0] ? manifest.history : manifest.run, err);
	}
	if (!rc && number && !done && finish)
		rc = unfinished_finish(job->conf, place, &manifest, report, err);
	if (!rc)
		rc = manifest_saved(&manifest, job, err);
	if (!rc)
		complete_load(job, &manifest);
	snprintf(job->before, sizeof job->before, "%s", manifest.run);
	snprintf(job->history_before, sizeof job->history_before, "%s", manifest.history[0] ? manifest.history : manifest.run);
	manifest_free(&manifest);
	return rc;
}

#define LEFT_NS (24 * 3600 * NS_PER_S)

static void
leftovers_remove(struct place *place, const char *path, const struct job *job)
{
	struct fs_answer answer;
	void *memory = NULL;
	struct fs_request list = { .op = FS_LIST, .path = path };
	if (fs_call_wait(place->fs, &list, &answer, &memory) == FS_OK)
		for (size_t i = 0; i < answer.list_count; i++) {
			const struct fs_status *entry = &answer.list[i];
			char one[FS_PATH_BYTES];
			if (!entry->directory || strcmp(entry->name, job->before) == 0 || strcmp(entry->name, job->run) == 0 || entry->name[0] != '2' ||
			    clock_wall_ns(&clock_system) < entry->modified_ms * NS_PER_MS + LEFT_NS || fs_path_join(one, sizeof one, path, entry->name))
				continue;
			log_info("%s: left by a run that decided nothing: removed", one);
			commit_clean(place->fs, one);
		}
	free(memory);
}

void
steps_leftovers(struct place *place, const struct job *job)
{
	leftovers_remove(place, place->state, job);
	if (strcmp(place->state, place->work) != 0)
		leftovers_remove(place, place->work, job);
}

/* The group's offsets are for information: beside the rest, because the group's broker has to be asked for first. */
struct group {
	const struct job *job;
	pthread_t thread;
	bool begun, failed;
	struct err err;
};

static void *
group_thread(void *context)
{
	struct group *group = context;
	group->failed = kafka_group_store(group->job, &group->err) != 0;
	return NULL;
}

static void
group_begin(struct group *group, const struct job *job)
{
	group->job = job;
	if (!job->history[0])
		return;
	int trouble = pthread_create(&group->thread, NULL, group_thread, group);
	group->begun = trouble == 0;
	if (trouble)
		log_warn("offsets were not stored in the consumer group: no thread: %s", strerror(trouble));
}

static void
group_end(struct group *group)
{
	if (!group->begun)
		return;
	pthread_join(group->thread, NULL);
	if (group->failed)
		log_warn("%s", group->err.text);
}

int
steps_decide(struct job *job, struct place *place, const char *command, const char *folder, json_t *counts, struct run_report *report,
	     struct err *err)
{
	int rc = place_lock_check(place, err);
	if (rc)
		return rc;
	struct fs_batch batch = { .fs = place->fs };
	struct err words = { "" };
	kill_point("before-manifest");
	if (job->history[0] && strcmp(command, "import") != 0)
		rc = history_build(job, place, &batch, err);
	if (rc) {
		fs_batch_wait(&batch, 0, &words);
		return rc;
	}
	char *text = manifest_text(job, command, job->number + 1, folder, counts);
	rc = manifest_put(&batch, place->state, job->number + 1, job->run, text, err);
	report->in_doubt = rc == -EINPROGRESS;
	struct manifest manifest = { 0 };
	if (!rc) {
		report->manifest = report->unfinished = ++job->number;
		rc = manifest_parse(&manifest, job->number, text, strlen(text), "manifest", err);
	}
	free(text);
	if (rc) {
		manifest_free(&manifest);
		return rc;
	}
	struct group group = { NULL };
	group_begin(&group, job);
	struct commit_result result = { 0 };
	rc = steps_publish(place, &manifest, false, &result, err);
	report->published = result.published;
	snprintf(report->refused, sizeof report->refused, "%s", result.refused);
	if (!rc) {
		kill_point("published");
		rc = history_show(place, &manifest, err);
	}
	if (!rc) {
		kill_point("history");
		rc = counts_tell(job->conf, place, &manifest, err);
	}
	if (!rc)
		rc = complete_publish(place->fs, &manifest, err);
	struct err hook = { "" };
	if (!rc)
		report->hook_failed |= hook_run(job->conf, &manifest, &hook) != 0;
	manifest_free(&manifest);
	group_end(&group);
	if (rc)
		return rc;
	kill_point("group");
	rc = manifest_done(place->fs, place->state, job->number, err);
	if (!rc)
		report->unfinished = 0;
	kill_point("done");
	return rc;
}

/* Share of skipped records above which nothing is committed. */
int
steps_judge(const struct job *job, struct err *err)
{
	uint64_t decoded = 0, schema = 0, other = 0;
	for (size_t i = 0; i < job->part_count; i++) {
		decoded += job->parts[i]->decoded;
		schema += job->parts[i]->skipped_schema;
		other += job->parts[i]->skipped_other;
	}
	const struct {
		const char *key;
		uint64_t skipped;
		double limit;
	} rules[] = {
		{ "etl.max.percent.skipped.schemanotfound", schema, job->conf->skip_schema },
		{ "etl.max.percent.skipped.other", other, job->conf->skip_other },
	};
	for (size_t i = 0; i < 2; i++) {
		double percent = rules[i].skipped ? (double)rules[i].skipped * 100 / (double)(rules[i].skipped + decoded) : 0;
		if (percent > rules[i].limit)
			return err_set(err, ERANGE, "%" PRIu64 " of %" PRIu64 " records were skipped, %.3g %%, more than %s = %g: nothing is committed",
				rules[i].skipped, rules[i].skipped + decoded, percent, rules[i].key, rules[i].limit);
	}
	return 0;
}

bool
task_ended(pthread_t thread)
{
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += 200000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	return pthread_timedjoin_np(thread, NULL, &until) == 0;
}
