#include "camus/manifest.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "camus/complete.h"
#include "camus/counts.h"

#define VERSION 1

int
manifest_newest(struct fs *fs, const char *state, uint64_t *number, bool *done, struct err *err)
{
	struct fs_answer answer;
	void *memory = NULL;
	struct fs_request request = { .op = FS_LIST, .path = state };
	*number = 0;
	*done = true;
	enum fs_class class = fs_call_wait(fs, &request, &answer, &memory);
	if (class == FS_MISSING) {
		free(memory);
		return 0;
	}
	if (class != FS_OK) {
		int rc = err_set(err, EIO, "%s: cannot be listed: %s", state, answer.text);
		free(memory);
		return rc;
	}
	for (size_t i = 0; i < answer.list_count; i++) {
		uint64_t n;
		int end = 0;
		const char *name = answer.list[i].name;
		if (sscanf(name, "manifest-%" SCNu64 "%n", &n, &end) == 1 && name[end] == '\0' && n > *number)
			*number = n;
	}
	char want[64];
	snprintf(want, sizeof want, "manifest-%010" PRIu64 ".done", *number);
	*done = *number == 0;
	for (size_t i = 0; i < answer.list_count; i++)
		if (strcmp(answer.list[i].name, want) == 0)
			*done = true;
	free(memory);
	return 0;
}

static int64_t
get_int(const json_t *object, const char *key, int64_t missing)
{
	const json_t *value = json_object_get(object, key);
	return json_is_integer(value) ? (int64_t)json_integer_value(value) : missing;
}

static const char *
get_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text ? text : "";
}

static bool
is_text(const json_t *object, const char *key)
{
	return *get_text(object, key) != '\0';
}

static bool
is_number(const json_t *object, const char *key, int64_t most)
{
	int64_t number = get_int(object, key, -1);
	return number >= 0 && number <= most;
}

/* What is wrong in a manifest that says nothing wrong in JSON; NULL: nothing. An entry passed over would be read, or published, again. */
static const char *
root_wrong(const json_t *root)
{
	size_t i;
	const json_t *entry;
	if (!is_text(root, "run") || !json_is_string(json_object_get(root, "folder")))
		return "no \"run\" or no \"folder\"";
	if (!json_is_array(json_object_get(root, "files")))
		return "\"files\" is no list";
	if (json_array_size(json_object_get(root, "files")) && !is_text(root, "folder"))	/* a reset's, an import's has neither */
		return "\"files\" but an empty \"folder\"";
	json_array_foreach(json_object_get(root, "files"), i, entry)
		if (!is_text(entry, "temporary") || !is_text(entry, "final") || !is_text(entry, "topic") || !is_number(entry, "fileId", INT64_MAX) ||
		    !is_number(entry, "length", INT64_MAX) || !is_number(entry, "partition", INT32_MAX))
			return "an entry of \"files\" lacks a name, fileId, length, topic or partition";
	if (!json_is_array(json_object_get(root, "partitions")))
		return "\"partitions\" is no list";
	json_array_foreach(json_object_get(root, "partitions"), i, entry)
		if (!is_text(entry, "topic") || !is_number(entry, "partition", INT32_MAX) || !is_number(entry, "next", INT64_MAX))
			return "an entry of \"partitions\" lacks topic, partition or next";
	return NULL;
}

static json_t *
text_parse(const char *text, size_t len, const char *path, struct err *err)
{
	json_error_t trouble;
	json_t *root = json_loadb(text, len, 0, &trouble);
	if (!root || !json_is_object(root)) {
		err_set(err, EINVAL, "%s:%d: not a manifest: %s", path, root ? 1 : trouble.line, root ? "no object" : trouble.text);
		json_decref(root);
		return NULL;
	}
	if (get_int(root, "version", 0) != VERSION) {
		err_set(err, EINVAL, "%s: version %lld of manifests is not known to this program (it knows %d)", path,
			(long long)get_int(root, "version", 0), VERSION);
		json_decref(root);
		return NULL;
	}
	const char *wrong = root_wrong(root);
	if (wrong) {
		err_set(err, EINVAL, "%s: a broken manifest: %s: it is the whole state of the job; put it right, or restore it from a copy", path, wrong);
		json_decref(root);
		return NULL;
	}
	return root;
}

int
manifest_parse(struct manifest *manifest, uint64_t number, const char *text, size_t len, const char *path, struct err *err)
{
	memset(manifest, 0, sizeof *manifest);
	json_t *root = text_parse(text, len, path, err);
	if (!root)
		return -EINVAL;
	const json_t *files = json_object_get(root, "files");
	manifest->number = number;
	manifest->text = strndup(text, len);
	manifest->folder = strdup(get_text(root, "folder"));
	snprintf(manifest->run, sizeof manifest->run, "%s", get_text(root, "run"));
	snprintf(manifest->history, sizeof manifest->history, "%s", get_text(root, "history"));
	snprintf(manifest->command, sizeof manifest->command, "%s", get_text(root, "command"));
	manifest->file_count = json_array_size(files);
	manifest->files = calloc(manifest->file_count + 1, sizeof *manifest->files);
	for (size_t i = 0; manifest->files && i < manifest->file_count; i++) {
		const json_t *file = json_array_get(files, i);
		manifest->files[i] = (struct manifest_file){
			.temporary = strdup(get_text(file, "temporary")), .final = strdup(get_text(file, "final")),
			.file_id = (uint64_t)get_int(file, "fileId", 0), .length = (uint64_t)get_int(file, "length", 0),
			.records = (uint64_t)get_int(file, "records", 0), .topic = strdup(get_text(file, "topic")),
			.partition = (int32_t)get_int(file, "partition", 0), .first = get_int(file, "first", 0),
			.last = get_int(file, "last", 0), .bucket = get_int(file, "bucket", 0),
		};
	}
	json_decref(root);
	return 0;
}

int
manifest_read(struct fs *fs, const char *state, uint64_t number, struct manifest *manifest, struct err *err)
{
	char path[FS_PATH_BYTES];
	struct fs_answer answer;
	void *memory = NULL;
	memset(manifest, 0, sizeof *manifest);
	snprintf(path, sizeof path, "%s/manifest-%010" PRIu64, state, number);
	struct fs_request request = { .op = FS_READ, .path = path };
	int rc;
	if (fs_call_wait(fs, &request, &answer, &memory) != FS_OK)
		rc = err_set(err, EIO, "%s: cannot be read: %s", path, answer.text);
	else
		rc = manifest_parse(manifest, number, (const char *)answer.bytes, answer.len, path, err);
	free(memory);
	return rc;
}

static struct fingerprint
print_read(const json_t *object)
{
	return (struct fingerprint){ get_int(object, "offset", -1), get_int(object, "time", -1), (uint32_t)get_int(object, "crc", 0) };
}

int
manifest_saved(const struct manifest *manifest, struct job *job, struct err *err)
{
	if (manifest->number == 0)
		return 0;
	json_t *root = text_parse(manifest->text, strlen(manifest->text), "manifest", err);
	if (!root)
		return -EINVAL;
	size_t i;
	json_t *entry;
	json_array_foreach(json_object_get(root, "partitions"), i, entry) {
		const char *topic = get_text(entry, "topic");
		int64_t next = get_int(entry, "next", -1);
		struct part *part = job_part(job, topic, (int32_t)get_int(entry, "partition", 0));
		part->saved = (struct saved){ .known = true, .next = next, .last = print_read(json_object_get(entry, "lastRecord")),
			.first = print_read(json_object_get(entry, "firstRecord")), .average = get_int(entry, "average", 0),
			.event_ms = get_int(entry, "eventTime", INT64_MIN) };
	}
	job->number = manifest->number;
	json_decref(root);
	return 0;
}

static json_t *
print_write(const struct fingerprint *print)
{
	return print->offset < 0 ? json_null() : json_pack("{s:I, s:I, s:I}", "offset", (json_int_t)print->offset, "time", (json_int_t)print->time_ms,
		"crc", (json_int_t)print->crc);
}

char *
manifest_text(const struct job *job, const char *command, uint64_t number, const char *folder, json_t *counts)
{
	json_t *files = json_array(), *parts = json_array(), *errors = json_array();
	for (size_t i = 0; i < job->file_count; i++) {
		const struct data_file *file = &job->files[i];
		json_array_append_new(files, json_pack("{s:s, s:s, s:I, s:I, s:I, s:s, s:i, s:I, s:I, s:I}", "temporary", file->temporary, "final",
			file->final, "fileId", (json_int_t)file->file_id, "length", (json_int_t)file->length, "records", (json_int_t)file->records,
			"topic", file->part->topic, "partition", (int)file->part->partition, "first", (json_int_t)file->first, "last",
			(json_int_t)file->last, "bucket", (json_int_t)file->bucket));
	}
	for (size_t i = 0; i < job->part_count; i++) {
		const struct part *part = job->parts[i];
		const struct saved *saved = part->failed ? &part->saved : &part->now;
		if (!saved->known)
			continue;
		json_array_append_new(parts, json_pack("{s:s, s:i, s:I, s:o, s:o, s:I, s:o, s:I}", "topic", part->topic, "partition",
			(int)part->partition, "next", (json_int_t)saved->next, "lastRecord", print_write(&saved->last), "firstRecord",
			print_write(&saved->first), "average", (json_int_t)saved->average, "eventTime",
			saved->event_ms == INT64_MIN ? json_null() : json_integer((json_int_t)saved->event_ms), "records",
			(json_int_t)(part->failed ? 0 : part->records)));
	}
	for (size_t i = 0; i < job->error_count && i < 1000; i++)
		json_array_append_new(errors, json_pack("{s:s, s:i, s:I, s:o}", "topic", job->errors[i].part->topic, "partition",
			(int)job->errors[i].part->partition, "offset", (json_int_t)job->errors[i].offset, "words", words_json(job->errors[i].words)));
	json_t *root = json_pack("{s:i, s:I, s:s, s:s, s:s, s:s, s:I, s:s, s:o, s:o, s:o, s:I, s:o}", "version", VERSION, "number", (json_int_t)number,
		"command", command, "job", job->conf->job_name, "run", job->run, "history", job->history, "started", (json_int_t)(job->started_ns / NS_PER_MS), "folder",
		folder, "files", files, "partitions", parts, "counts",
		counts ? json_incref(counts) : counts_json(job), "errorCount", (json_int_t)job->error_count, "errors", errors);
	complete_write(job, root);
	if (job->swaps)
		json_object_set(root, "swaps", job->swaps);
	char *text = root ? json_dumps(root, JSON_INDENT(1) | JSON_PRESERVE_ORDER) : NULL;
	json_decref(root);
	if (!text)
		abort();	/* a name that is no UTF-8 cannot come from Kafka, and nothing sensible can follow */
	return text;
}

int
manifest_put(struct fs_batch *batch, const char *state, uint64_t number, const char *run, const char *text, struct err *err)
{
	struct fs *fs = batch->fs;
	char temporary[FS_PATH_BYTES], path[FS_PATH_BYTES];
	snprintf(temporary, sizeof temporary, "%s/manifest-%010" PRIu64 ".%s.new", state, number, run);
	snprintf(path, sizeof path, "%s/manifest-%010" PRIu64, state, number);
	fs_batch_put_text(batch, temporary, text, strlen(text));
	enum fs_class class = fs_batch_wait(batch, 0, err);
	if (class != FS_OK) {
		struct fs_request removal = { .op = FS_DELETE, .path = temporary, .once = true };
		fs_call_wait(fs, &removal, NULL, NULL);
		return -EIO;
	}
	kill_point("manifest-written");
	struct fs_answer answer;
	void *memory = NULL;
	struct fs_request rename = { .op = FS_RENAME, .path = temporary, .to = path };
	class = fs_call_wait(fs, &rename, &answer, &memory);
	bool renamed = class == FS_OK && answer.yes;
	char words[300];
	snprintf(words, sizeof words, "%s", class == FS_OK ? "" : answer.text);
	free(memory);
	kill_point("manifest-renamed");
	if (renamed)
		return 0;
	/* Lost answer, or somebody else's: what stands there says whose it is. */
	struct manifest there;
	struct err trouble = { "" };
	if (manifest_read(fs, state, number, &there, &trouble)) {
		manifest_free(&there);
		/* A rename without an answer (or with a gateway's) may have been done, or be done later: not any more once its source is gone by our hand. */
		struct fs_request removal = { .op = FS_DELETE, .path = temporary };
		bool open = (class == FS_UNKNOWN || class == FS_BUSY) && !(fs_call_wait(fs, &removal, &answer, NULL) == FS_OK && answer.yes);
		return open ? err_set(err, EINPROGRESS, "%s: the NameNode did not say whether the manifest got its name (%s), and it cannot be looked at (%s): "
			"the data stays, and the next run goes on from what it finds", path, words, trouble.text)
			: err_set(err, EIO, "%s: the manifest could not be given its name: %s", path, words[0] ? words : trouble.text);
	}
	int rc = strcmp(there.run, run) == 0 ? 0 : err_set(err, EEXIST, "%s: run %s was first", path, there.run);
	manifest_free(&there);
	if (rc) {
		struct fs_request removal = { .op = FS_DELETE, .path = temporary };
		fs_call_wait(fs, &removal, &answer, NULL);
	}
	return rc;
}

int
manifest_done(struct fs *fs, const char *state, uint64_t number, struct err *err)
{
	char path[FS_PATH_BYTES];
	snprintf(path, sizeof path, "%s/manifest-%010" PRIu64 ".done", state, number);
	return fs_put_wait(fs, path, "", 0, true, NULL, err) == FS_OK ? 0 : err_prefix(err, -EIO, "%s", path);
}

static void
missing_path(char path[static FS_PATH_BYTES], const char *state, uint64_t number)
{
	snprintf(path, FS_PATH_BYTES, "%s/manifest-%010" PRIu64 ".missing", state, number);
}

int
manifest_missing_store(struct fs *fs, const char *state, const struct manifest *manifest, struct err *err)
{
	char path[FS_PATH_BYTES];
	struct text lines = { NULL };
	for (size_t i = 0; i < manifest->file_count; i++)
		if (manifest->files[i].missing)
			text_print(&lines, "%s\n", manifest->files[i].temporary);
	missing_path(path, state, manifest->number);
	enum fs_class class = fs_put_wait(fs, path, lines.text, lines.len, true, NULL, err);
	text_free(&lines);
	return class == FS_OK ? 0 : err_prefix(err, -EIO, "%s", path);
}

int
manifest_missing_read(struct fs *fs, const char *state, struct manifest *manifest, struct err *err)
{
	char path[FS_PATH_BYTES];
	struct fs_answer answer;
	void *memory = NULL;
	missing_path(path, state, manifest->number);
	struct fs_request request = { .op = FS_READ, .path = path };
	enum fs_class class = fs_call_wait(fs, &request, &answer, &memory);
	int rc = class == FS_OK || class == FS_MISSING ? 0 : err_set(err, EIO, "%s: cannot be read: %s", path, answer.text);
	for (const char *line = class == FS_OK ? (const char *)answer.bytes : ""; *line;) {
		size_t len = strcspn(line, "\n");
		for (size_t i = 0; i < manifest->file_count; i++)
			if (strlen(manifest->files[i].temporary) == len && memcmp(manifest->files[i].temporary, line, len) == 0)
				manifest->files[i].missing = true;
		line += len + (line[len] == '\n');
	}
	free(memory);
	return rc;
}

void
manifest_free(struct manifest *manifest)
{
	for (size_t i = 0; manifest->files && i < manifest->file_count; i++) {
		free(manifest->files[i].temporary);
		free(manifest->files[i].final);
		free(manifest->files[i].topic);
	}
	free(manifest->files);
	free(manifest->folder);
	free(manifest->text);
	memset(manifest, 0, sizeof *manifest);
}
