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

#define TOPIC_DEPTH 8

struct clean {
	const struct camus_conf *conf;
	struct fs *fs;
	char source[FS_PATH_BYTES], rolled[FS_PATH_BYTES];
	int64_t today;			/* days since 1970, in the zone */
	bool dry;
	json_t *folders;		/* told at the end */
	uint64_t removed, kept, files, bytes, unqualified;
	struct err *err;
};

/* Days since 1970-01-01 of a date of the Gregorian calendar. */
static int64_t
day_number(int64_t year, int month, int day)
{
	year -= month <= 2;
	int64_t era = (year >= 0 ? year : year - 399) / 400, of_era = year - era * 400;
	int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

/* Entries of a directory; FS_MISSING counts as none. 0 or -EIO. */
static int
list(struct clean *clean, const char *path, struct fs_answer *answer, void **memory)
{
	struct fs_request request = { .op = FS_LIST, .path = path };
	enum fs_class class = fs_call_wait(clean->fs, &request, answer, memory);
	if (class == FS_OK)
		return 0;
	answer->list_count = 0;
	return class == FS_MISSING ? 0 : err_set(clean->err, EIO, "%s: cannot be listed: %s: %s", path, fs_class_name(class), answer->text);
}

struct tree {
	uint64_t files, bytes, newest_ms;
};

static int
measure(struct clean *clean, const char *path, struct tree *tree, int depth)
{
	struct fs_answer answer;
	void *memory = NULL;
	int rc = list(clean, path, &answer, &memory);
	for (size_t i = 0; i < answer.list_count && !rc; i++) {
		const struct fs_status *entry = &answer.list[i];
		char below[FS_PATH_BYTES];
		if (!entry->directory) {
			tree->files++;
			tree->bytes += entry->length;
			if (entry->modified_ms > tree->newest_ms && entry->name[0] != '_' && entry->name[0] != '.')
				tree->newest_ms = entry->modified_ms;
		} else if (depth < TOPIC_DEPTH && fs_path_join(below, sizeof below, path, entry->name) == 0) {
			rc = measure(clean, below, tree, depth + 1);
		}
	}
	free(memory);
	return rc;
}

/* Whether the rolled-up day is there and nothing came after it. */
static int
qualifies(struct clean *clean, const char *topic, const char *day, const struct tree *tree, bool *yes, const char **why)
{
	char below[FS_PATH_BYTES], path[FS_PATH_BYTES];
	struct fs_answer answer;
	void *memory = NULL;
	*yes = true;
	if (!clean->conf->sweep_dest_sub || clean->conf->clean_force)
		return 0;
	if ((size_t)snprintf(below, sizeof below, "%s/%s/%s", topic, clean->conf->sweep_dest_sub, day) >= sizeof below ||
	    fs_path_join(path, sizeof path, clean->rolled, below))
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
	struct tree tree = { 0 };
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

static bool
number_parse(const char *text, size_t digits, int *value)
{
	if (strlen(text) != digits || strspn(text, "0123456789") != digits)
		return false;
	*value = atoi(text);
	return true;
}

/* YYYY/MM/dd below path: level 0 years, 1 months, 2 days. Folders that became empty go too. */
static int
dates_walk(struct clean *clean, const char *topic, const char *path, int level, int parts[3], int64_t keep_days)
{
	struct fs_answer answer;
	void *memory = NULL;
	int rc = list(clean, path, &answer, &memory);
	uint64_t before = clean->removed;
	for (size_t i = 0; i < answer.list_count && !rc; i++) {
		char below[FS_PATH_BYTES], day[32];
		if (!answer.list[i].directory || !number_parse(answer.list[i].name, level ? 2 : 4, &parts[level]) ||
		    fs_path_join(below, sizeof below, path, answer.list[i].name))
			continue;
		if (level < 2) {
			rc = dates_walk(clean, topic, below, level + 1, parts, keep_days);
			continue;
		}
		if (parts[1] < 1 || parts[1] > 12 || parts[2] < 1 || parts[2] > 31 ||
		    day_number(parts[0], parts[1], parts[2]) >= clean->today - keep_days)
			continue;
		snprintf(day, sizeof day, "%04d/%02d/%02d", parts[0], parts[1], parts[2]);
		rc = day_clean(clean, topic, below, day);
	}
	free(memory);
	if (!rc && clean->removed > before && !clean->dry)
		rc = folder_remove(clean, path, false);
	return rc;
}

static int
topic_clean(struct clean *clean, const char *topic_path, const char *path)
{
	char dotted[FS_PATH_BYTES], below[FS_PATH_BYTES];
	char *end;
	int parts[3];
	snprintf(dotted, sizeof dotted, "%s", topic_path);
	for (char *at = dotted; *at; at++)
		if (*at == '/')
			*at = '.';
	const char *text = conf_topic(&clean->conf->clean_topics, dotted, NULL);
	long long keep = text ? strtoll(text, &end, 10) : clean->conf->clean_days;
	if (text && (end == text || *end || keep < -1))
		return err_set(clean->err, EINVAL, "camus.sweeper.clean.retention.days.topic.%s: \"%s\": want days, or -1 for ever", dotted, text);
	if (keep < 0 || fs_path_join(below, sizeof below, path, clean->conf->sweep_source_sub))
		return 0;
	uint64_t before = clean->removed;
	int rc = dates_walk(clean, topic_path, below, 0, parts, keep);
	if (!rc && clean->removed > before && !clean->dry)
		rc = folder_remove(clean, path, false);
	return rc;
}

/* Folders down to the one that has the subdir: what lies between is the topic's name, with dots. */
static int
topics_walk(struct clean *clean, const char *path, const char *topic, int depth)
{
	struct fs_answer answer;
	void *memory = NULL;
	int rc = list(clean, path, &answer, &memory);
	bool is_topic = false;
	size_t first = strcspn(clean->conf->sweep_source_sub, "/");
	for (size_t i = 0; i < answer.list_count; i++)
		is_topic |= depth && answer.list[i].directory && strncmp(answer.list[i].name, clean->conf->sweep_source_sub, first) == 0 &&
			!answer.list[i].name[first];
	if (is_topic)
		rc = rc ? rc : topic_clean(clean, topic, path);
	for (size_t i = 0; i < answer.list_count && !rc && !is_topic && depth < TOPIC_DEPTH; i++) {
		const char *name = answer.list[i].name;
		char below[FS_PATH_BYTES], longer[FS_PATH_BYTES];
		if (!answer.list[i].directory || name[0] == '.' || name[0] == '_' || fs_path_join(below, sizeof below, path, name) ||
		    (size_t)snprintf(longer, sizeof longer, "%s%s%s", topic, depth ? "/" : "", name) >= sizeof longer)
			continue;
		rc = topics_walk(clean, below, longer, depth + 1);
	}
	free(memory);
	return rc;
}

static int
root_find(const struct place *place, const char *uri, const char *key, char *path, struct err *err)
{
	struct fs_config config = place->config;
	struct fs *fs = NULL;
	config.uri = uri;
	int rc = fs_open(&fs, &config, &clock_system, path, err);
	if (!rc && (fs->ops != place->fs->ops || strcmp(fs->service, place->fs->service) != 0))
		rc = err_set(err, EINVAL, "%s \"%s\": not in the file system of etl.destination.path", key, uri);
	if (fs)
		fs_close(fs);
	return rc;
}

static int
today_find(struct clean *clean)
{
	struct calendar *calendar;
	struct calendar_time now;
	int rc = calendar_open(&calendar, clean->conf->sweep_zone, clean->err);
	if (rc)
		return err_prefix(clean->err, rc, "camus.default.timezone");
	calendar_split(calendar, (int64_t)(clock_wall_ns(&clock_system) / NS_PER_MS), &now);
	calendar_close(calendar);
	clean->today = day_number(now.year, now.month, now.day);
	return 0;
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
		rc = root_find(&place, conf->sweep_source ? conf->sweep_source : conf->destination, "camus.sweeper.source.dir", clean.source, &err);
	const char *rolled = conf->sweep_dest ? conf->sweep_dest : conf->sweep_source ? conf->sweep_source : conf->destination;
	if (!rc)
		rc = root_find(&place, rolled, "camus.sweeper.dest.dir", clean.rolled, &err);
	if (!rc)
		rc = today_find(&clean);
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
		rc = topics_walk(&clean, clean.source, "", 0);
	if (!rc && clean.unqualified && conf->clean_fail)
		rc = err_set(&err, EPERM, "%" PRIu64 " folders do not qualify for removal (fail_job.if.folder.not.qualify.for.deletion)", clean.unqualified);
	if (locked)
		place_unlock(&place);
	if (json_array_size(clean.folders) || !rc)
		clean_print(&clean, options);
	if (rc)
		fprintf(stderr, "penstock-camus: %s\n", err.text);
	json_decref(clean.folders);
	place_close(&place);
	job_free(&job);
	return rc ? status : 0;
}
