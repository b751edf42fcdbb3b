#include "camus/sweep.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/calendar.h"
#include "base/log.h"
#include "camus/complete.h"
#include "camus/steps.h"
#include "camus/tree.h"

struct sweep {
	const struct camus_conf *conf;
	const struct run_options *options;
	struct place *place;
	struct job *job;
	struct tree_filter filter;
	struct sweep_plan *plans;
	size_t plan_count, plan_room;
	bool dry;
	bool no_concat;			/* HDFS refused it, or it is not wanted: files are read and written anew */
	json_t *told;			/* folders, for the report */
	size_t swept, failed;
	struct err *err;
};

static void
sources_drop(struct sweep_plan *plan)
{
	for (size_t i = 0; i < plan->source_count; i++)
		free(plan->sources[i].path);
	plan->source_count = 0;
	plan->bytes = 0;
}

static void
plan_free(struct sweep_plan *plan)
{
	sources_drop(plan);
	free(plan->sources);
	json_decref(plan->known);
}

static void
source_add(struct sweep_plan *plan, const char *path, const struct fs_status *entry)
{
	if (plan->source_count == plan->source_room) {
		plan->source_room = plan->source_room ? plan->source_room * 2 : 64;
		plan->sources = realloc(plan->sources, plan->source_room * sizeof *plan->sources);
		if (!plan->sources)
			abort();
	}
	plan->sources[plan->source_count++] = (struct sweep_source){ strdup(path), entry->file_id, entry->length, entry->modified_ms,
		entry->block_bytes, entry->replication };
	plan->bytes += entry->length;
}

/* Was this file swept into the output before? */
static bool
is_known(const json_t *known, const char *path, uint64_t file_id, uint64_t length)
{
	json_t *one;
	size_t i;
	json_array_foreach(known, i, one) {
		const char *its = json_string_value(json_object_get(one, "path"));
		if (its && (uint64_t)json_integer_value(json_object_get(one, "fileId")) == file_id &&
		    (uint64_t)json_integer_value(json_object_get(one, "length")) == length &&
		    strcmp(its, path) == 0)
			return true;
	}
	return false;
}

/* Data files below a folder, hidden ones left out but for _late. */
static int
sources_find(struct sweep *sweep, struct sweep_plan *plan, const char *path, int depth)
{
	struct fs_answer answer;
	void *memory = NULL;
	int rc = tree_list(sweep->place->fs, path, &answer, &memory, sweep->err);
	for (size_t i = 0; i < answer.list_count && !rc; i++) {
		const struct fs_status *entry = &answer.list[i];
		char below[FS_PATH_BYTES];
		bool late = strcmp(entry->name, COMPLETE_LATE_FOLDER) == 0;
		if (strcmp(entry->name, COMPLETE_MARK) == 0 && depth == 0)
			plan->success = true;
		if (((entry->name[0] == '_' && !late) || entry->name[0] == '.') || fs_path_join(below, sizeof below, path, entry->name))
			continue;
		if (entry->directory)
			rc = depth < TREE_DEPTH ? sources_find(sweep, plan, below, depth + 1) : 0;
		else if (entry->length && !is_known(plan->known, below, entry->file_id, entry->length))
			source_add(plan, below, entry);
	}
	free(memory);
	return rc;
}

static int
oldest_first(const void *a, const void *b)
{
	const struct sweep_source *x = a, *y = b;
	int order = (x->modified_ms > y->modified_ms) - (x->modified_ms < y->modified_ms);
	return order ? order : strcmp(x->path, y->path);
}

static int
known_read(struct sweep *sweep, struct sweep_plan *plan)
{
	char path[FS_PATH_BYTES];
	struct fs_answer answer;
	void *memory = NULL;
	if (fs_path_join(path, sizeof path, plan->output, SWEEP_SOURCES))
		return 0;
	struct fs_request request = { .op = FS_READ, .path = path };
	enum fs_class class = fs_call_wait(sweep->place->fs, &request, &answer, &memory);
	json_t *root = class == FS_OK ? json_loadb((const char *)answer.bytes, answer.len, 0, NULL) : NULL;
	json_t *known = json_object_get(root, "sources");
	plan->known = json_is_array(known) ? json_incref(known) : NULL;
	json_decref(root);
	free(memory);
	if (class != FS_OK && class != FS_MISSING)
		return err_set(sweep->err, EIO, "%s: %s", path, answer.text);
	if (!plan->known && !plan->in_place)
		return err_set(sweep->err, EEXIST, "%s: there already and not swept by us (no " SWEEP_SOURCES " in it, or a broken one): what is in it is not known; move it away",
			plan->output);
	return 0;
}

/* `concat`: nothing was read, so records were not counted. */
static void
tell(struct sweep *sweep, const struct sweep_plan *plan, const struct sweep_result *result, bool concat, const char *words)
{
	json_array_append_new(sweep->told, json_pack("{s:s, s:s, s:I, s:I, s:I, s:o, s:I, s:b, s:s}", "topic", plan->topic, "folder", plan->output, "from",
		(json_int_t)plan->source_count, "bytes", (json_int_t)plan->bytes, "to", (json_int_t)result->files, "records",
		concat ? json_null() : json_integer((json_int_t)result->records), "duplicates", (json_int_t)result->duplicates, "concat", (int)concat,
		"words", words));
	if (sweep->options->json)
		return;
	if (*words)
		fprintf(stderr, "%s: %s\n", plan->output, words);
	else if (concat)
		printf("swept %s: %zu files, %.1f MB to %" PRIu64 " files by CONCAT\n", plan->output, plan->source_count, (double)plan->bytes / 1e6,
			result->files);
	else
		printf("%s %s: %zu files, %.1f MB to %" PRIu64 " files, %" PRIu64 " records, %" PRIu64 " duplicates out\n",
			sweep->dry ? "would be swept" : "swept", plan->output, plan->source_count, (double)plan->bytes / 1e6, result->files, result->records,
			result->duplicates);
}

/* Is there something to be done for this folder? */
static int
plan_make(struct sweep *sweep, const char *topic, const char *input, const char *output)
{
	struct sweep_plan plan = { .topic = topic, .in_place = strcmp(input, output) == 0 };
	struct fs_answer answer;
	void *memory = NULL;
	snprintf(plan.output, sizeof plan.output, "%s", output);
	struct fs_request request = { .op = FS_STAT, .path = output };
	enum fs_class class = fs_call_wait(sweep->place->fs, &request, &answer, &memory);
	int rc = class == FS_OK || class == FS_MISSING ? 0 : err_set(sweep->err, EIO, "%s: %s", output, answer.text);
	plan.output_id = class == FS_OK ? answer.status.file_id : 0;
	plan.again = class == FS_OK && !plan.in_place;
	free(memory);
	if (!rc && class == FS_OK)
		rc = known_read(sweep, &plan);
	if (!rc)
		rc = sources_find(sweep, &plan, input, 0);
	uint64_t few = plan.bytes / sweep->conf->sweep_file_bytes + 1;
	bool worth = plan.in_place ? plan.source_count > (few < sweep->conf->sweep_max_files ? few : sweep->conf->sweep_max_files) : plan.source_count > 0;
	if (!rc && worth && plan.again)	/* what was swept before goes on being in it */
		rc = sources_find(sweep, &plan, output, 0);
	if (rc == -EEXIST) {	/* not ours: the others do not wait for it */
		struct sweep_result nothing = { 0 };
		tell(sweep, &plan, &nothing, false, sweep->err->text);
		sweep->failed++;
		sweep->err->text[0] = '\0';
		rc = 0;
		worth = false;
	}
	if (rc || !worth) {
		plan_free(&plan);
		return rc;
	}
	qsort(plan.sources, plan.source_count, sizeof *plan.sources, oldest_first);
	if (sweep->plan_count == sweep->plan_room) {
		sweep->plan_room = sweep->plan_room ? sweep->plan_room * 2 : 64;
		sweep->plans = realloc(sweep->plans, sweep->plan_room * sizeof *sweep->plans);
		if (!sweep->plans)
			abort();
	}
	sweep->plans[sweep->plan_count++] = plan;
	return 0;
}

/* One dated folder of a topic, if it is in the window. parts: year, month, day, hour (-1: a day's folder). */
static int
dated_take(void *context, const char *topic, const char *path, const char *dated, const int parts[4])
{
	struct sweep *sweep = context;
	const struct camus_conf *conf = sweep->conf;
	int64_t day = calendar_day_number(parts[0], parts[1], parts[2]), ago;
	char output[FS_PATH_BYTES], below[FS_PATH_BYTES], slashed[FS_PATH_BYTES];
	if (conf->sweep_single) {
		if ((parts[3] < 0) != (conf->sweep_levels == 3))
			return 0;
		ago = (sweep->filter.today - day) * 24 + (parts[3] < 0 ? 0 : sweep->filter.hour - parts[3]);
		if (conf->sweep_timebased && (ago < conf->sweep_min_hours || ago > conf->sweep_max_hours))
			return 0;
	} else {
		ago = sweep->filter.today - day;
		if (parts[3] >= 0 || ago < conf->sweep_min_days || ago > conf->sweep_max_days)
			return 0;
	}
	snprintf(slashed, sizeof slashed, "%s", topic);
	if ((size_t)snprintf(below, sizeof below, "%s/%s/%s", slashed, conf->sweep_dest_sub, dated) >= sizeof below ||
	    fs_path_join(output, sizeof output, sweep->filter.dest, below))
		return err_set(sweep->err, ENAMETOOLONG, "%s: too long", path);
	char *dotted = pool_text(&sweep->job->pool, topic, strlen(topic));
	for (char *at = dotted; *at; at++)
		if (*at == '/')
			*at = '.';
	return plan_make(sweep, dotted, path, output);
}

/* One folder whose files are put together where they lie. 0; -ENOTSUP: they have to be read and written anew; -errno. */
static int
plan_concat(struct sweep *sweep, struct sweep_plan *plan, const char *folder, struct run_report *report)
{
	struct sweep_result result;
	struct err why = { "" };
	json_t *swap;
	if (sweep->no_concat)
		return -ENOTSUP;
	int rc = sweep_concat(sweep->place->fs, sweep->conf, plan, &swap, &result, &why);
	if (rc) {
		log_info("%s: is read and written anew: %s", plan->output, why.text);
		return -ENOTSUP;
	}
	json_decref(sweep->job->swaps);
	sweep->job->swaps = json_pack("[o]", swap);
	rc = steps_decide(sweep->job, sweep->place, "sweep", folder, NULL, report, sweep->err);
	if (rc)
		return rc;
	if (report->refused[0]) {
		log_warn("files are not put together by CONCAT in this run, but read and written anew: %s", report->refused);
		sweep->no_concat = true;
		sources_drop(plan);	/* some may be in another by now */
		rc = sources_find(sweep, plan, plan->output, 0);
		if (!rc && plan->source_count > 1)
			qsort(plan->sources, plan->source_count, sizeof *plan->sources, oldest_first);
		return rc ? rc : plan->source_count > 1 ? -ENOTSUP : 0;
	}
	sweep->swept++;
	tell(sweep, plan, &result, true, "");
	return 0;
}

/* One folder: written aside, decided by a manifest, put in place. */
static int
plan_run(struct sweep *sweep, struct sweep_plan *plan, const char *folder, struct run_report *report)
{
	int quick = plan_concat(sweep, plan, folder, report);
	if (quick != -ENOTSUP)
		return quick;
	char staged[FS_PATH_BYTES], aside[FS_PATH_BYTES], name[32];
	struct sweep_result result = { 0 };
	snprintf(name, sizeof name, "sweep-%zu", sweep->swept);
	int rc = fs_path_join(staged, sizeof staged, folder, name);
	snprintf(name, sizeof name, "old-%zu", sweep->swept);
	rc = rc ? rc : fs_path_join(aside, sizeof aside, folder, name);
	if (!rc)
		rc = sweep_merge(sweep->place, sweep->conf, plan, staged, &result, sweep->err);
	/* What is in the files, or how much of it, is in the way of this folder only. */
	if (rc == -ENOTSUP || rc == -EINVAL || rc == -ENODATA || rc == -EFBIG || rc == -ENOMEM) {
		tell(sweep, plan, &result, false, sweep->err->text);
		sweep->failed++;
		sweep->err->text[0] = '\0';
		commit_clean(sweep->place->fs, staged);		/* the next folder takes the name */
		return 0;
	}
	if (rc)
		return rc;
	json_decref(sweep->job->swaps);
	sweep->job->swaps = json_pack("[{s:s, s:s, s:I, s:I, s:s}]", "output", plan->output, "staged", staged, "stagedId", (json_int_t)result.staged_id,
		"oldId", (json_int_t)plan->output_id, "aside", aside);
	rc = steps_decide(sweep->job, sweep->place, "sweep", folder, NULL, report, sweep->err);
	if (!rc) {
		sweep->swept++;
		tell(sweep, plan, &result, false, "");
	}
	return rc;
}

static void
sweep_print(const struct sweep *sweep)
{
	if (sweep->options->json) {
		json_t *root = json_pack("{s:b, s:I, s:I, s:O}", "dry_run", sweep->dry, "swept", (json_int_t)sweep->swept, "failed",
			(json_int_t)sweep->failed, "folders", sweep->told);
		char *text = json_dumps(root, JSON_INDENT(1));
		puts(text);
		free(text);
		json_decref(root);
	} else {
		printf("%zu folders swept, %zu not\n", sweep->swept, sweep->failed);
	}
}

int
run_sweep(const struct camus_conf *conf, const struct run_options *options, bool dry)
{
	struct place place = { NULL };
	struct job job;
	struct err err = { "" };
	struct run_report report = { .quiet = true };
	struct sweep sweep = { .conf = conf, .options = options, .place = &place, .job = &job, .dry = dry, .told = json_array(), .err = &err };
	char folder[FS_PATH_BYTES] = "";
	bool locked = false;
	job_stop_on_signals();
	steps_job(&job, conf);
	int rc = 0, status = 2;
	if (!conf->sweep_source_sub || !conf->sweep_dest_sub)
		rc = err_set(&err, EINVAL, "camus.sweeper.%s.subdir: required: the folder between topic and date, such as %s",
			conf->sweep_source_sub ? "dest" : "source", conf->sweep_source_sub ? "daily" : "hourly");
	if (!rc)
		rc = place_open(&place, conf, &err);
	if (!rc)
		rc = tree_filter_open(&sweep.filter, conf, &place, &err);
	sweep.no_concat = !conf->sweep_concat || (place.fs && strcmp(place.fs->ops->name, "webhdfs") != 0);
	if (!rc)
		rc = steps_folder(&place, &job, folder, &err);
	if (!rc) {
		status = 1;
		rc = place_lock(&place, job.run, &err);
		locked = !rc;
	}
	if (!rc)
		rc = steps_state(&place, &job, !dry, false, &report, &err);
	for (size_t i = 0; i < job.part_count; i++)
		job.parts[i]->now = job.parts[i]->saved;
	if (!rc && !dry)
		steps_leftovers(&place, &job);
	if (!rc)
		rc = tree_dates(&sweep.filter, place.fs, dated_take, &sweep, &err);
	for (size_t i = 0; i < sweep.plan_count && !rc && !job_stop_asked(); i++) {
		struct sweep_result nothing = { 0 };
		if (dry)
			tell(&sweep, &sweep.plans[i], &nothing, false, "");
		else
			rc = plan_run(&sweep, &sweep.plans[i], folder, &report);
		if (locked)
			place_lock_renew(&place, job.run);
	}
	if (*folder && locked && !dry && sweep.plan_count && !report.unfinished && !report.in_doubt)
		commit_clean(place.fs, folder);
	if (locked)
		place_unlock(&place);
	if (rc)
		fprintf(stderr, "penstock-camus: %s\n", err.text);
	if (status == 1)
		sweep_print(&sweep);
	for (size_t i = 0; i < sweep.plan_count; i++)
		plan_free(&sweep.plans[i]);
	free(sweep.plans);
	json_decref(sweep.told);
	tree_filter_close(&sweep.filter);
	place_close(&place);
	job_free(&job);
	return rc ? status : sweep.failed ? 1 : 0;
}
