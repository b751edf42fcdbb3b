/* clean: dated folders that are older than they have to be kept, as CamusCleaner removes them. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/calendar.h"
#include "base/log.h"
#include "camus/manifest.h"
#include "camus/place.h"
#include "camus/run.h"
#include "camus/steps.h"
#include "camus/tree.h"

struct clean {
	const struct camus_conf *conf;
	struct fs *fs;
	struct tree_filter filter;
	bool dry;
	json_t *folders;		/* told at the end */
	uint64_t removed, kept, files, bytes, unqualified;
	struct err *err;
};

struct bulk {
	uint64_t files, bytes, newest_ms;
};

static int
measure(struct clean *clean, const char *path, struct bulk *tree, int depth)
{
	struct fs_answer answer;
	void *memory = NULL;
	int rc = tree_list(clean->fs, path, &answer, &memory, clean->err);
	for (size_t i = 0; i < answer.list_count && !rc; i++) {
		const struct fs_status *entry = &answer.list[i];
		char below[FS_PATH_BYTES];
		if (!entry->directory) {
			tree->files++;
			tree->bytes += entry->length;
			if (entry->modified_ms > tree->newest_ms && entry->name[0] != '_' && entry->name[0] != '.')
				tree->newest_ms = entry->modified_ms;
		} else if (depth < TREE_DEPTH && fs_path_join(below, sizeof below, path, entry->name) == 0) {
			rc = measure(clean, below, tree, depth + 1);
		}
	}
	free(memory);
	return rc;
}

/* Whether the rolled-up day is there and nothing came after it. */
static int
qualifies(struct clean *clean, const char *topic, const char *day, const struct bulk *tree, bool *yes, const char **why)
{
	char below[FS_PATH_BYTES], path[FS_PATH_BYTES];
	struct fs_answer answer;
	void *memory = NULL;
	*yes = true;
	if (!clean->conf->sweep_dest_sub || clean->conf->clean_force)
		return 0;
	if ((size_t)snprintf(below, sizeof below, "%s/%s/%s", topic, clean->conf->sweep_dest_sub, day) >= sizeof below ||
	    fs_path_join(path, sizeof path, clean->filter.dest, below))
		return err_set(clean->err, ENAMETOOLONG, "%s: too long", topic);
	struct fs_request request = { .op = FS_STAT, .path = path };
	enum fs_class class = fs_call_wait(clean->fs, &request, &answer, &memory);
	int rc = class == FS_OK || class == FS_MISSING ? 0 : err_set(clean->err, EIO, "%s: %s", path, answer.text);
	free(memory);
	if (class == FS_MISSING)
		*yes = false, *why = "not rolled up";
	else if (class == FS_OK && tree->newest_ms > answer.status.modified_ms)
		*yes = false, *why = "has files that are newer than the rolled-up day";
	return rc;
}

static int
folder_remove(struct clean *clean, const char *path, bool recursive)
{
	struct fs_answer answer;
	void *memory = NULL;
	struct fs_request request = { .op = FS_DELETE, .path = path, .recursive = recursive };
	enum fs_class class = fs_call_wait(clean->fs, &request, &answer, &memory);
	int rc = class == FS_OK || (!recursive && class == FS_NOT_EMPTY) ? 0
		: err_set(clean->err, EIO, "%s: cannot be removed: %s: %s", path, fs_class_name(class), answer.text);
	free(memory);
	return rc;
}

static int
day_clean(struct clean *clean, const char *topic, const char *path, const char *day)
{
	struct bulk tree = { 0 };
	bool yes = true;
	const char *why = "";
	int rc = measure(clean, path, &tree, 0);
	if (!rc)
		rc = qualifies(clean, topic, day, &tree, &yes, &why);
	if (rc)
		return rc;
	bool remove = yes || clean->conf->clean_unqualified;
	clean->unqualified += !yes;
	json_array_append_new(clean->folders, json_pack("{s:s, s:I, s:I, s:b, s:s}", "folder", path, "files", (json_int_t)tree.files, "bytes",
		(json_int_t)tree.bytes, "removed", remove && !clean->dry, "words", why));
	if (!remove) {
		clean->kept++;
		return 0;
	}
	clean->removed++;
	clean->files += tree.files;
	clean->bytes += tree.bytes;
	return clean->dry ? 0 : folder_remove(clean, path, true);
}

/* One dated folder. What became empty with it goes too. */
static int
dated_take(void *context, const char *topic, const char *path, const char *dated, const int parts[4])
{
	struct clean *clean = context;
	char dotted[FS_PATH_BYTES], parent[FS_PATH_BYTES], *end;
	if (parts[3] >= 0)
		return 0;
	snprintf(dotted, sizeof dotted, "%s", topic);
	for (char *at = dotted; *at; at++)
		if (*at == '/')
			*at = '.';
	const char *text = conf_topic(&clean->conf->clean_topics, dotted, NULL);
	long long keep = text ? strtoll(text, &end, 10) : clean->conf->clean_days;
	if (text && (end == text || *end || keep < -1))
		return err_set(clean->err, EINVAL, "camus.sweeper.clean.retention.days.topic.%s: \"%s\": want days, or -1 for ever", dotted, text);
	if (keep < 0 || calendar_day_number(parts[0], parts[1], parts[2]) >= clean->filter.today - keep)
		return 0;
	uint64_t before = clean->removed;
	int rc = day_clean(clean, topic, path, dated);
	snprintf(parent, sizeof parent, "%s", path);
	for (fs_path_parent(parent); !rc && !clean->dry && clean->removed > before && strlen(parent) > strlen(clean->filter.source); fs_path_parent(parent))
		rc = folder_remove(clean, parent, false);
	return rc;
}

static void
clean_print(const struct clean *clean, const struct run_options *options)
{
	json_t *one;
	size_t i;
	if (options->json) {
		json_t *root = json_pack("{s:b, s:I, s:I, s:I, s:I, s:O}", "dry_run", clean->dry, "folders_removed", (json_int_t)clean->removed,
			"folders_kept", (json_int_t)clean->kept, "files", (json_int_t)clean->files, "bytes", (json_int_t)clean->bytes, "folders",
			clean->folders);
		char *text = json_dumps(root, JSON_INDENT(1));
		puts(text);
		free(text);
		json_decref(root);
		return;
	}
	json_array_foreach(clean->folders, i, one) {
		const char *words = json_string_value(json_object_get(one, "words"));
		bool kept = *words && !clean->conf->clean_unqualified;
		printf("%s %s (%lld files, %lld bytes)%s%s\n", kept ? "kept" : clean->dry ? "would be removed" : "removed",
			json_string_value(json_object_get(one, "folder")), (long long)json_integer_value(json_object_get(one, "files")),
			(long long)json_integer_value(json_object_get(one, "bytes")), *words ? ": " : "", words);
	}
	printf("%s%" PRIu64 " folders with %" PRIu64 " files and %.1f MB removed, %" PRIu64 " kept\n", clean->dry ? "dry run: " : "", clean->removed,
		clean->files, (double)clean->bytes / 1e6, clean->kept);
}

int
run_clean(const struct camus_conf *conf, const struct run_options *options, bool dry)
{
	struct clean clean = { .conf = conf, .dry = dry || conf->clean_simulate };
	struct place place = { NULL };
	struct job job;
	struct err err = { "" };
	uint64_t number;
	bool done = true, locked = false;
	clean.err = &err;
	clean.folders = json_array();
	steps_job(&job, conf);
	int rc = 0, status = 2;
	if (!conf->sweep_source_sub)
		rc = err_set(&err, EINVAL, "camus.sweeper.source.subdir: required: the folder between topic and date, such as hourly");
	if (!rc)
		rc = place_open(&place, conf, &err);
	if (!rc)
		rc = tree_filter_open(&clean.filter, conf, &place, &err);
	if (!rc) {
		status = 1;
		rc = place_lock(&place, job.run, &err);
		locked = !rc;
	}
	if (!rc)
		rc = manifest_newest(place.fs, place.state, &number, &done, &err);
	if (!rc && !done)
		rc = err_set(&err, EAGAIN, "manifest %" PRIu64 " is decided and not carried out: penstock-camus run finishes it; nothing is removed before",
			number);
	clean.fs = place.fs;
	if (!rc)
		rc = tree_dates(&clean.filter, place.fs, dated_take, &clean, &err);
	if (!rc && clean.unqualified && conf->clean_fail)
		rc = err_set(&err, EPERM, "%" PRIu64 " folders do not qualify for removal (fail_job.if.folder.not.qualify.for.deletion)", clean.unqualified);
	if (locked)
		place_unlock(&place);
	if (json_array_size(clean.folders) || !rc)
		clean_print(&clean, options);
	if (rc)
		fprintf(stderr, "penstock-camus: %s\n", err.text);
	json_decref(clean.folders);
	tree_filter_close(&clean.filter);
	place_close(&place);
	job_free(&job);
	return rc ? status : 0;
}
