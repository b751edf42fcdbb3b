/* Commands beside the daily run: reset, import, backfill, redo. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "camus/commit.h"
#include "camus/decode.h"
#include "camus/kafka.h"
#include "camus/run.h"
#include "camus/steps.h"

/* "earliest", "latest", an offset, or a time. */
enum goal { GOAL_EARLIEST, GOAL_LATEST, GOAL_OFFSET, GOAL_TIME };

static int
goal_parse(const char *to, enum goal *goal, int64_t *value, struct err *err)
{
	char *end;
	*value = strtoll(to, &end, 10);
	if (strcmp(to, "earliest") == 0)
		*goal = GOAL_EARLIEST;
	else if (strcmp(to, "latest") == 0)
		*goal = GOAL_LATEST;
	else if (*to && !*end && *value >= 0)
		*goal = GOAL_OFFSET;
	else if (*to == '@' && (*value = strtoll(to + 1, &end, 10)) >= 0 && to[1] && !*end)
		*goal = GOAL_TIME;
	else if (json_time_iso(to, value))
		*goal = GOAL_TIME;
	else
		return err_set(err, EINVAL, "--to \"%s\": want earliest, latest, an offset or a time (2026-11-21T10:00:00Z, @milliseconds)", to);
	return 0;
}

/* What each of these commands begins and ends with. */
struct command {
	struct job job;
	struct place place;
	struct err err;
	struct run_report report;
	bool locked;
	int status;			/* of a failure from here on: 2 configuration, 1 anything else */
};

/* The job's place, and its lock. */
static int
command_begin(struct command *command, const struct camus_conf *conf)
{
	steps_job(&command->job, conf);
	command->status = 2;
	int rc = place_open(&command->place, conf, &command->err);
	if (rc)
		return rc;
	command->status = 1;
	rc = place_lock(&command->place, command->job.run, &command->err);
	command->locked = !rc;
	return rc;
}

/* Says what went wrong, if anything. Exit status. */
static int
command_end(struct command *command, int rc)
{
	if (command->locked)
		place_unlock(&command->place);
	if (rc)
		fprintf(stderr, "penstock-camus: %s\n", command->err.text);
	place_close(&command->place);
	job_free(&command->job);
	return rc ? command->status : 0;
}

int
run_reset(const struct camus_conf *conf, const struct run_options *options, const char *what, const char *to)
{
	struct command command = { .status = 2, .report.quiet = true };
	struct job *job = &command.job;
	struct err *err = &command.err;
	char topic[256], *end = NULL;
	long partition = -1;
	enum goal goal = GOAL_EARLIEST;
	int64_t value = 0;
	(void)options;
	snprintf(topic, sizeof topic, "%s", what);
	char *colon = strrchr(topic, ':');
	if (colon) {
		*colon = '\0';
		partition = strtol(colon + 1, &end, 10);
	}
	int rc = goal_parse(to, &goal, &value, err);
	if (!rc && colon && (end == colon + 1 || *end || partition < 0))
		rc = err_set(err, EINVAL, "\"%s\": want TOPIC or TOPIC:PARTITION", what);
	rc = rc ? rc : command_begin(&command, conf);
	rc = rc ? rc : steps_state(&command.place, job, true, true, &command.report, err);
	rc = rc ? rc : kafka_setup(job, err);
	bool *pick = calloc(job->part_count + 1, sizeof *pick);
	int64_t *offsets = calloc(job->part_count + 1, sizeof *offsets);
	if (!pick || !offsets)
		abort();
	size_t picked = 0;
	for (size_t i = 0; i < job->part_count && !rc; i++) {
		const struct part *part = job->parts[i];
		pick[i] = strcmp(part->topic, topic) == 0 && (partition < 0 || part->partition == partition) && part->latest >= 0;
		picked += pick[i];
	}
	if (!rc && !picked)
		rc = err_set(err, ENOENT, "%s: Kafka has no such topic or partition (or the lists leave it out)", what);
	if (!rc && goal == GOAL_TIME)
		rc = kafka_offsets_at(job, pick, value, offsets, err);
	for (size_t i = 0; i < job->part_count; i++) {
		struct part *part = job->parts[i];
		part->now = part->saved;	/* what setup would move is not moved here */
		if (!pick[i] || rc)
			continue;
		int64_t next = goal == GOAL_EARLIEST ? part->earliest : goal == GOAL_LATEST ? part->latest : goal == GOAL_OFFSET ? value : offsets[i];
		if (next < part->earliest || next > part->latest) {
			rc = err_set(err, ERANGE, "%s:%d: offset %lld is not in Kafka (%lld to %lld)", part->topic, part->partition, (long long)next,
				(long long)part->earliest, (long long)part->latest);
			continue;
		}
		printf("%s:%d: %lld -> %lld\n", part->topic, part->partition, part->saved.known ? (long long)part->saved.next : -1LL, (long long)next);
		part->now.known = true;
		part->now.next = next;
		part->now.last.offset = -1;
	}
	rc = rc ? rc : steps_decide(job, &command.place, "reset", "", NULL, &command.report, err);
	if (!rc)
		printf("recorded as manifest %" PRIu64 "\n", command.report.manifest);
	free(pick);
	free(offsets);
	return command_end(&command, rc);
}

/* The settings with which a part of the log is read once more: nothing is limited, counted or told. `topics` are the only ones; free_own frees. */
static void
own_conf(struct camus_conf *own, const struct camus_conf *conf, const char **topics, size_t count)
{
	*own = *conf;
	own->pull_hours = own->historical_days = own->pull_minutes = -1;
	own->run_tracking = false;
	own->to_earliest = false;
	own->blacklist.count = own->to_last.count = 0;
	own->whitelist.items = calloc(count + 1, sizeof *own->whitelist.items);
	own->whitelist.count = count;
	for (size_t i = 0; own->whitelist.items && i < count; i++) {
		char text[300];
		snprintf(text, sizeof text, "\\Q%s\\E", topics[i]);
		own->whitelist.items[i] = strdup(text);
	}
}

static void
own_free(struct camus_conf *own)
{
	for (size_t i = 0; i < own->whitelist.count; i++)
		free((char *)own->whitelist.items[i]);
	free(own->whitelist.items);
}

static int
pulled_whole(const struct job *job, struct err *err)
{
	for (size_t i = 0; i < job->part_count; i++) {
		const struct part *part = job->parts[i];
		if (part->failed || part->trouble || (part->pull && part->now.next < part->latest))
			return err_set(err, EIO, "%s:%d: %s: nothing is committed", part->topic, part->partition, part->words);
	}
	return 0;
}

int
run_import(const struct camus_conf *conf, const struct run_options *options)
{
	struct command command = { .report.quiet = true };
	struct job *job = &command.job;
	struct err *err = &command.err, own = { "" };
	char newest[HISTORY_NAME_BYTES] = "", running[HISTORY_NAME_BYTES] = "";
	(void)options;
	int rc = command_begin(&command, conf);
	rc = rc ? rc : history_newest(&command.place, newest, err);
	if (!rc && !newest[0])
		rc = err_set(err, ENOENT, "%s (etl.execution.history.path): no execution of Camus in it", conf->history_path);
	rc = rc ? rc : history_running(&command.place, newest, running, err);
	if (!rc && running[0])
		rc = err_set(err, EBUSY, "%s/%s is newer than the newest execution in the history (%s): Camus is at work, or died. Wait for it; if it is "
			"dead, remove that folder (what it published is there and will be loaded again)", conf->base_path, running, newest);
	rc = rc ? rc : steps_state(&command.place, job, true, false, &command.report, err);
	if (!rc && history_choose(job, newest, job->history_before, &own) == 0)
		rc = err_set(err, EALREADY, "%s is the newest execution in the history, and manifest %" PRIu64 " is as new: there is nothing to import",
			newest, job->number);
	if (!rc && command.report.recovered)
		log_warn("manifest %" PRIu64 " was finished first: what Camus has read of the same offsets since is there twice", command.report.recovered);
	rc = rc ? rc : history_import(&command.place, newest, job, err);
	if (!rc) {
		snprintf(job->history, sizeof job->history, "%s", newest);
		rc = steps_decide(job, &command.place, "import", "", NULL, &command.report, err);
	}
	for (size_t i = 0; i < job->part_count && !rc; i++)
		if (job->parts[i]->now.known)
			printf("%s:%d: %lld\n", job->parts[i]->topic, job->parts[i]->partition, (long long)job->parts[i]->now.next);
	if (!rc)
		printf("%s imported as manifest %" PRIu64 "\n", newest, command.report.manifest);
	return command_end(&command, rc);
}

/* A manifest that has done the same before, or 0. */
static uint64_t
command_done(struct place *place, uint64_t newest, const char *command)
{
	for (uint64_t n = newest; n; n--) {
		struct manifest manifest;
		struct err err = { "" };
		bool same = manifest_read(place->fs, place->state, n, &manifest, &err) == 0 && strcmp(manifest.command, command) == 0;
		manifest_free(&manifest);
		if (same)
			return n;
	}
	return 0;
}

/* The range of each partition by Kafka's time index. */
static int
ranges_set(struct job *job, const char *topic, int64_t from, int64_t to, struct err *err)
{
	bool *pick = calloc(job->part_count + 1, sizeof *pick);
	int64_t *first = calloc(job->part_count + 1, sizeof *first), *end = calloc(job->part_count + 1, sizeof *end);
	size_t picked = 0;
	if (!pick || !first || !end)
		abort();
	int rc = 0;
	for (size_t i = 0; i < job->part_count; i++) {
		picked += pick[i] = strcmp(job->parts[i]->topic, topic) == 0;
		if (pick[i] && job->parts[i]->why == START_NO_LEADER)
			rc = err_set(err, EIO, "%s:%d: no leader, or its offsets cannot be asked for", topic, job->parts[i]->partition);
	}
	rc = rc ? rc : picked ? kafka_offsets_at(job, pick, from, first, err) : err_set(err, ENOENT, "Kafka has no such topic");
	rc = rc ? rc : kafka_offsets_at(job, pick, to, end, err);
	for (size_t i = 0; i < job->part_count && !rc; i++) {
		struct part *part = job->parts[i];
		if (!pick[i])
			continue;
		if (first[i] < 0 || end[i] < 0) {
			rc = err_set(err, EIO, "%s:%d: its offsets at these times cannot be asked for", part->topic, part->partition);
			break;
		}
		part->start = first[i];
		if (end[i] < part->latest)
			part->latest = end[i];
		part->pull = part->start < part->latest;
		if (part->earliest > 0 && part->start == part->earliest)
			fprintf(stderr, "%s:%d: begins with offset %lld, the oldest that Kafka still has\n", part->topic, part->partition,
				(long long)part->start);
	}
	free(pick);
	free(first);
	free(end);
	return rc;
}

int
run_backfill(const struct camus_conf *conf, const struct run_options *options, const char *topic, const char *from, const char *to, const char *into)
{
	struct camus_conf own;
	struct command command = { .status = 2, .report.quiet = options->quiet };
	struct job *job = &command.job;
	struct err *err = &command.err;
	int64_t times[2];
	enum goal goal;
	int rc = 0;
	for (int i = 0; i < 2 && !rc; i++) {
		rc = goal_parse(i ? to : from, &goal, &times[i], err);
		if (rc || goal != GOAL_TIME)
			rc = err_set(err, EINVAL, "%s \"%s\": want a time (2026-11-21T10:00:00Z, @milliseconds)", i ? "--to" : "--from", i ? to : from);
	}
	if (!rc && times[0] >= times[1])
		rc = err_set(err, EINVAL, "--from %s does not lie before --to %s", from, to);
	own_conf(&own, conf, &topic, 1);
	own.destination = own.base_path = own.history_path = into;
	char name[300], folder[FS_PATH_BYTES] = "";
	if (!rc)
		snprintf(name, sizeof name, "backfill %s %lld %lld", topic, (long long)times[0], (long long)times[1]);
	rc = rc ? rc : command_begin(&command, &own);
	rc = rc ? rc : steps_folder(&command.place, job, folder, err);
	rc = rc ? rc : steps_state(&command.place, job, true, false, &command.report, err);
	uint64_t before = rc ? 0 : command_done(&command.place, job->number, name);
	if (before && command.report.recovered != before)
		rc = err_set(err, EALREADY, "manifest %" PRIu64 " in %s/_penstock has done this: remove the folder to have it again", before, into);
	if (!rc && !before) {
		for (size_t i = 0; i < job->part_count; i++)	/* of earlier ones: no place to go on from */
			job->parts[i]->saved.known = false;
		rc = kafka_setup(job, err);
		rc = rc ? rc : ranges_set(job, topic, times[0], times[1], err);
		rc = rc ? rc : steps_pull(job, &command.place, folder, &command.report, err);
		rc = rc ? rc : pulled_whole(job, err);
		rc = rc ? rc : steps_judge(job, err);
		rc = rc ? rc : steps_decide(job, &command.place, name, folder, NULL, &command.report, err);
		if (!rc || (!command.report.manifest && !command.report.in_doubt))	/* what an unfinished manifest needs stays */
			commit_clean(command.place.fs, folder);
	}
	uint64_t records = 0;
	for (size_t i = 0; i < job->part_count; i++)
		records += job->parts[i]->written;
	if (!rc && before)
		printf("finished what an earlier backfill began: %" PRIu64 " files\n", command.report.recovered_files);
	else if (!rc)
		printf("%" PRIu64 " records in %" PRIu64 " files, saved offsets are as they were\n", records, command.report.published);
	int status = command_end(&command, rc);
	own_free(&own);
	return status;
}

/* Parts and ranges of a manifest's missing files. */
static int
missing_plan(struct job *job, const struct manifest *manifest, bool accept_loss, struct err *err)
{
	for (size_t i = 0; i < job->part_count; i++)
		job->parts[i]->pull = false;
	for (size_t i = 0; i < manifest->file_count; i++) {
		const struct manifest_file *file = &manifest->files[i];
		if (!file->missing)
			continue;
		struct part *part = job_part(job, file->topic, file->partition);
		int64_t first = file->first;
		if (part->earliest < 0 || part->latest < 0)
			return err_set(err, EIO, "%s:%d: Kafka does not have it now", file->topic, file->partition);
		if (first < part->earliest || file->last >= part->latest) {
			if (!accept_loss)
				return err_set(err, ERANGE, "%s:%d: of offsets %lld to %lld Kafka has only %lld to %lld: with --accept-loss what is there is taken",
					file->topic, file->partition, (long long)file->first, (long long)file->last, (long long)part->earliest,
					(long long)part->latest - 1);
			fprintf(stderr, "%s:%d: lost: of offsets %lld to %lld Kafka has only %lld to %lld\n", file->topic, file->partition,
				(long long)file->first, (long long)file->last, (long long)part->earliest, (long long)part->latest - 1);
			if (first < part->earliest)
				first = part->earliest;
		}
		struct only *grown = pool_get(&job->pool, (part->only_count + 1) * sizeof *grown);
		if (part->only_count)
			memcpy(grown, part->only, part->only_count * sizeof *grown);
		grown[part->only_count] = (struct only){ file->bucket, file->first, file->last };
		int64_t end = file->last + 1 < part->latest ? file->last + 1 : part->latest;
		part->start = part->only_count && part->start < first ? part->start : first;
		part->now.next = part->start;
		part->wanted_end = part->only_count && part->wanted_end > end ? part->wanted_end : end;
		part->only = grown;
		part->only_count++;
	}
	for (size_t i = 0; i < job->part_count; i++) {
		struct part *part = job->parts[i];
		if (!part->only)
			continue;
		part->latest = part->wanted_end;
		part->pull = part->start < part->latest;
	}
	return 0;
}

/* The files that were made again get the names of the missing ones; all records must be there. */
static int
missing_match(struct job *job, const struct manifest *manifest, bool accept_loss, struct err *err)
{
	uint64_t wanted = 0, got = 0;
	for (size_t i = 0; i < manifest->file_count; i++) {
		const struct manifest_file *file = &manifest->files[i];
		if (!file->missing)
			continue;
		wanted += file->records;
		for (size_t k = 0; k < job->file_count; k++) {
			struct data_file *made = &job->files[k];
			if (made->bucket != file->bucket || made->part->partition != file->partition || strcmp(made->part->topic, file->topic) != 0 ||
			    made->last != file->last || made->records != file->records)
				continue;
			free(made->final);
			made->final = strdup(file->final);
		}
	}
	for (size_t k = 0; k < job->file_count; k++)
		got += job->files[k].records;
	if (got != wanted && !accept_loss)
		return err_set(err, EIO, "%" PRIu64 " of %" PRIu64 " records could be fetched again (retention, compaction, or other settings than then): with "
			"--accept-loss they are taken", got, wanted);
	return 0;
}

/* Topics that the manifest misses files of, each once; free it, not the names. */
static const char **
missing_topics(const struct manifest *manifest, size_t *count)
{
	const char **topics = calloc(manifest->file_count + 1, sizeof *topics);
	if (!topics)
		abort();
	*count = 0;
	for (size_t i = 0; i < manifest->file_count; i++)
		if (manifest->files[i].missing && (!*count || strcmp(topics[*count - 1], manifest->files[i].topic) != 0))
			topics[(*count)++] = manifest->files[i].topic;
	return topics;
}

int
run_redo(const struct camus_conf *conf, const struct run_options *options, uint64_t number, bool accept_loss)
{
	struct camus_conf own = *conf;
	struct command command = { .report.quiet = options->quiet };
	struct job *job = &command.job;
	struct place *place = &command.place;
	struct err *err = &command.err;
	struct manifest manifest = { 0 };
	struct commit_result result = { 0 };
	own.whitelist = (struct option_list){ 0, NULL };	/* until own_conf */
	char folder[FS_PATH_BYTES] = "", newest[HISTORY_NAME_BYTES], name[64];
	bool done = false;
	uint64_t there = 0;
	const char **topics = NULL;
	json_t *root = NULL;
	int rc = command_begin(&command, conf);
	job->conf = &own;
	rc = rc ? rc : steps_folder(place, job, folder, err);
	rc = rc ? rc : manifest_newest(place->fs, place->state, &there, &done, err);
	if (!rc && (number != there || done))
		rc = err_set(err, EINVAL, "manifest %" PRIu64 " %s: only the newest one, while it is not finished, can be done again; backfill loads what is "
			"missing into a folder of its own", number, number > there ? "is not there" : "is finished");
	rc = rc ? rc : manifest_read(place->fs, place->state, number, &manifest, err);
	rc = rc ? rc : history_newest(place, newest, err);
	rc = rc ? rc : history_choose(job, newest, manifest.history[0] ? manifest.history : manifest.run, err);
	if (!rc) {
		rc = steps_publish(place, &manifest, true, &result, err);
		if (!rc)
			rc = err_set(err, EALREADY, "no file of manifest %" PRIu64 " is missing: a run finishes it", number);
		else if (result.missing && !result.occupied)
			rc = 0;
	}
	rc = rc ? rc : history_show(place, &manifest, err);
	rc = rc ? rc : manifest_saved(&manifest, job, err);
	if (!rc) {
		size_t count;
		topics = missing_topics(&manifest, &count);
		own_conf(&own, conf, topics, count);
		rc = kafka_setup(job, err);
		rc = rc ? rc : missing_plan(job, &manifest, accept_loss, err);
		rc = rc ? rc : steps_pull(job, place, folder, &command.report, err);
		rc = rc ? rc : pulled_whole(job, err);
		rc = rc ? rc : missing_match(job, &manifest, accept_loss, err);
	}
	if (!rc) {
		snprintf(name, sizeof name, "redo %" PRIu64, number);
		for (size_t i = 0; i < job->part_count; i++)	/* what comes next is what manifest N says */
			job->parts[i]->now = job->parts[i]->saved;
		root = json_loads(manifest.text, 0, NULL);
		rc = steps_decide(job, place, name, folder, json_object_get(root, "counts"), &command.report, err);
	}
	if (command.locked && (!rc || (!command.report.manifest && !command.report.in_doubt)))	/* what an unfinished manifest needs stays */
		commit_clean(place->fs, folder);
	if (!rc) {
		commit_clean(place->fs, manifest.folder);
		printf("%zu files of manifest %" PRIu64 " were made again; recorded as manifest %" PRIu64 "\n", job->file_count, number,
			command.report.manifest);
	}
	int status = command_end(&command, rc);
	json_decref(root);
	free(topics);
	manifest_free(&manifest);
	own_free(&own);
	return status;
}
