#include "camus/task_item.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "camus/complete.h"
#include "camus/counts.h"

#define FORMAT 1

/* ---- pieces ---- */

static json_t *
hex_json(const void *bytes, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *from = bytes;
	char *text = malloc(len * 2 + 1);
	if (!text)
		abort();
	for (size_t i = 0; i < len; i++) {
		text[2 * i] = digits[from[i] >> 4];
		text[2 * i + 1] = digits[from[i] & 15];
	}
	json_t *json = json_stringn(text, len * 2);
	free(text);
	return json;
}

static int
digit_of(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* False: not hexadecimal. *bytes is NULL for none. */
static bool
hex_read(const json_t *json, void **bytes, uint32_t *len)
{
	const char *text = json_string_value(json);
	size_t digits = text ? json_string_length(json) : 1;
	*bytes = NULL;
	*len = (uint32_t)(digits / 2);
	if (digits % 2 || digits / 2 > UINT32_MAX)
		return false;
	uint8_t *to = digits ? malloc(digits / 2) : NULL;
	if (digits && !to)
		abort();
	for (size_t i = 0; i < digits / 2; i++) {
		int high = digit_of(text[2 * i]), low = digit_of(text[2 * i + 1]);
		if (high < 0 || low < 0) {
			free(to);
			return false;
		}
		to[i] = (uint8_t)(high << 4 | low);
	}
	*bytes = to;
	return true;
}

static json_t *
print_json(const struct fingerprint *print)
{
	return json_pack("[I, I, I]", (json_int_t)print->offset, (json_int_t)print->time_ms, (json_int_t)print->crc);
}

static json_t *
saved_json(const struct saved *saved)
{
	return json_pack("{s:b, s:I, s:o, s:o, s:I, s:I}", "known", (int)saved->known, "next", (json_int_t)saved->next, "last", print_json(&saved->last),
		"first", print_json(&saved->first), "average", (json_int_t)saved->average, "event", (json_int_t)saved->event_ms);
}

/* Numbers of an object, counted down as they are found. */
struct reader {
	const char *missing;	/* key that is not there or of another kind; NULL: none */
};

static int64_t
number(struct reader *reader, const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);
	if (!json_is_integer(value)) {
		reader->missing = reader->missing ? reader->missing : key;
		return 0;
	}
	return (int64_t)json_integer_value(value);
}

static bool
boolean(struct reader *reader, const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);
	if (!json_is_boolean(value))
		reader->missing = reader->missing ? reader->missing : key;
	return json_is_true(value);
}

static const char *
text_of(struct reader *reader, const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	if (!text)
		reader->missing = reader->missing ? reader->missing : key;
	return text ? text : "";
}

static struct fingerprint
print_of(struct reader *reader, const json_t *object, const char *key)
{
	const json_t *list = json_object_get(object, key);
	if (json_array_size(list) != 3)
		reader->missing = reader->missing ? reader->missing : key;
	return (struct fingerprint){ (int64_t)json_integer_value(json_array_get(list, 0)), (int64_t)json_integer_value(json_array_get(list, 1)),
		(uint32_t)json_integer_value(json_array_get(list, 2)) };
}

static struct saved
saved_of(struct reader *reader, const json_t *part, const char *key)
{
	const json_t *object = json_object_get(part, key);
	return (struct saved){ .known = boolean(reader, object, "known"), .next = number(reader, object, "next"),
		.last = print_of(reader, object, "last"), .first = print_of(reader, object, "first"), .average = number(reader, object, "average"),
		.event_ms = number(reader, object, "event") };
}

/* The object in `text`, of this program; NULL with words. */
static json_t *
root_read(const char *text, size_t len, const char *what, const char *from, struct err *err)
{
	json_error_t trouble;
	json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &trouble);
	if (!root || !json_is_object(root)) {
		err_set(err, EINVAL, "%s: the %s of %zu bytes is cut or damaged at byte %d (%s): run again", from, what, len, root ? 0 : trouble.position,
			root ? "no object" : trouble.text);
		json_decref(root);
		return NULL;
	}
	const char *program = json_string_value(json_object_get(root, "program"));
	if (json_integer_value(json_object_get(root, "format")) != FORMAT || !program || strcmp(program, PENSTOCK_VERSION) != 0) {
		err_set(err, EINVAL, "%s: the %s is penstock-camus %s's, this is %s: make the bundle again (penstock-camus bundle)", from, what,
			program ? program : "?", PENSTOCK_VERSION);
		json_decref(root);
		return NULL;
	}
	return root;
}

static int
damaged(json_t *root, const char *what, const char *from, const char *key, struct err *err)
{
	json_decref(root);
	return err_set(err, EINVAL, "%s: \"%s\" in the %s is missing or makes no sense: run again", from, key, what);
}

/* One line of JSON; free it. */
static char *
line_of(json_t *root)
{
	char *text = root ? json_dumps(root, JSON_COMPACT) : NULL, *line = text ? realloc(text, strlen(text) + 2) : NULL;
	json_decref(root);
	if (!line)
		abort();	/* names from Kafka are ASCII, other words were looked at */
	size_t len = strlen(line);
	line[len] = '\n';
	line[len + 1] = '\0';
	return line;
}

/* ---- the item ---- */

char *
task_item_text(const struct task *task, uint32_t tasks)
{
	json_t *parts = json_array(), *until = json_array();
	const char *before = "";
	for (size_t i = 0; i < task->part_count; i++) {
		const struct part *part = task->parts[i];
		json_t *one = json_pack("{s:s, s:i, s:s, s:I, s:I, s:I, s:i, s:b, s:o, s:o}", "topic", part->topic, "partition", (int)part->partition,
			"leader", part->leader, "earliest", (json_int_t)part->earliest, "latest", (json_int_t)part->latest, "start",
			(json_int_t)part->start, "why", (int)part->why, "proven", (int)part->proven, "saved", saved_json(&part->saved), "now",
			saved_json(&part->now));
		if (part->only) {
			json_t *only = json_array();
			for (size_t k = 0; k < part->only_count; k++)
				json_array_append_new(only, json_pack("[I, I, I]", (json_int_t)part->only[k].bucket, (json_int_t)part->only[k].first,
					(json_int_t)part->only[k].last));
			json_object_set_new(one, "only", only);
		}
		json_array_append_new(parts, one);
		int64_t ms = complete_until(task->job, part->topic);
		if (ms != INT64_MIN && strcmp(before, part->topic) != 0)
			json_array_append_new(until, json_pack("{s:s, s:I}", "topic", part->topic, "ms", (json_int_t)ms));
		before = part->topic;
	}
	return line_of(json_pack("{s:i, s:s, s:s, s:i, s:i, s:o, s:o}", "format", FORMAT, "program", PENSTOCK_VERSION, "run", task->job->run, "task",
		(int)task->number, "tasks", (int)tasks, "until", until, "parts", parts));
}

static bool
only_read(struct job *job, struct part *part, const json_t *list)
{
	if (!list)
		return true;
	size_t count = json_array_size(list);
	struct only *only = pool_get(&job->pool, (count + 1) * sizeof *only);
	for (size_t k = 0; k < count; k++) {
		const json_t *one = json_array_get(list, k);
		if (json_array_size(one) != 3)
			return false;
		only[k] = (struct only){ json_integer_value(json_array_get(one, 0)), json_integer_value(json_array_get(one, 1)),
			json_integer_value(json_array_get(one, 2)) };
	}
	part->only = only;
	part->only_count = count;
	return json_is_array(list);
}

int
task_item_read(struct job *job, uint32_t *task, const char *line, size_t len, const char *from, struct err *err)
{
	static const char what[] = "work item";
	json_t *root = root_read(line, len, what, from, err), *one;
	if (!root)
		return -EINVAL;
	struct reader reader = { NULL };
	size_t i;
	int64_t asked = number(&reader, root, "task");
	snprintf(job->run, sizeof job->run, "%s", text_of(&reader, root, "run"));
	if (reader.missing || asked < 0 || asked > INT32_MAX || !json_array_size(json_object_get(root, "parts")))
		return damaged(root, what, from, reader.missing ? reader.missing : asked < 0 || asked > INT32_MAX ? "task" : "parts", err);
	*task = (uint32_t)asked;
	json_array_foreach(json_object_get(root, "parts"), i, one) {
		const char *topic = text_of(&reader, one, "topic");
		int64_t partition = number(&reader, one, "partition");
		if (reader.missing || !*topic || partition < 0 || partition > INT32_MAX)
			return damaged(root, what, from, "parts", err);
		struct part *part = job_part(job, topic, (int32_t)partition);
		int64_t why = number(&reader, one, "why");
		snprintf(part->leader, sizeof part->leader, "%s", text_of(&reader, one, "leader"));
		part->earliest = number(&reader, one, "earliest");
		part->latest = number(&reader, one, "latest");
		part->start = number(&reader, one, "start");
		part->proven = boolean(&reader, one, "proven");
		part->saved = saved_of(&reader, one, "saved");
		part->now = saved_of(&reader, one, "now");
		part->pull = true;
		if (reader.missing || part->start < 0 || part->latest < part->start || why < 0 || why > START_NO_LEADER)
			return damaged(root, what, from, reader.missing ? reader.missing : "start", err);
		part->why = (enum start_why)why;
		if (!only_read(job, part, json_object_get(one, "only")))
			return damaged(root, what, from, "only", err);
	}
	json_decref(root);
	/* "until" stands as in a manifest. */
	char *text = strndup(line, len);
	complete_load(job, &(struct manifest){ .text = text });
	free(text);
	return 0;
}

/* ---- the report ---- */

static size_t
part_index(const struct task *task, const struct part *part)
{
	size_t i = 0;
	while (i < task->part_count && task->parts[i] != part)
		i++;
	return i;
}

char *
task_report_text(const struct task *task, const struct written *files, size_t count)
{
	json_t *parts = json_array(), *list = json_array(), *errors = json_array();
	for (size_t i = 0; i < task->part_count; i++) {
		const struct part *part = task->parts[i];
		json_t *one = json_pack("{s:s, s:i, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:b, s:b, s:o}", "topic", part->topic,
			"partition", (int)part->partition, "now", saved_json(&part->now), "late", (json_int_t)part->late, "records",
			(json_int_t)part->records, "bytes", (json_int_t)part->bytes, "written", (json_int_t)part->written, "old",
			(json_int_t)part->skipped_old, "tombstones", (json_int_t)part->skipped_tombstones, "schema",
			(json_int_t)part->skipped_schema, "other", (json_int_t)part->skipped_other, "decoded", (json_int_t)part->decoded, "failed",
			(int)part->failed, "more", (int)part->more, "trouble", (int)part->trouble, "words", words_json(part->words));
		json_object_set_new(one, "counts", counts_write(part));
		json_array_append_new(parts, one);
	}
	for (size_t i = 0; i < count; i++) {
		const struct data_file *file = &files[i].file;
		const char *name = strrchr(file->temporary, '/');
		if (!files[i].whole || file->part->failed)
			continue;
		json_array_append_new(list, json_pack("{s:s, s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "name", name ? name + 1 : file->temporary,
			"folder", file->final, "part", (int)part_index(task, file->part), "fileId", (json_int_t)file->file_id, "length",
			(json_int_t)file->length, "records", (json_int_t)file->records, "first", (json_int_t)file->first, "last",
			(json_int_t)file->last, "bucket", (json_int_t)file->bucket, "bucketEnd", (json_int_t)file->bucket_end));
	}
	for (size_t i = 0; i < task->error_count; i++) {
		const struct error_record *error = &task->errors[i];
		json_t *one = json_pack("{s:i, s:I, s:I, s:o, s:b}", "part", (int)part_index(task, error->part), "offset", (json_int_t)error->offset,
			"time", (json_int_t)error->time_ms, "words", words_json(error->words ? error->words : ""), "kept", (int)error->kept);
		if (error->kept) {
			json_object_set_new(one, "key", hex_json(error->key, error->key ? error->key_len : 0));
			json_object_set_new(one, "value", hex_json(error->value, error->value ? error->value_len : 0));
		}
		json_array_append_new(errors, one);
	}
	return line_of(json_pack("{s:i, s:s, s:s, s:i, s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "format", FORMAT, "program", PENSTOCK_VERSION, "run",
		task->job->run, "task", (int)task->number, "allNs", (json_int_t)task->t_all_ns, "kafkaNs", (json_int_t)task->t_kafka_ns, "decodeNs",
		(json_int_t)task->t_decode_ns, "writeNs", (json_int_t)task->t_write_ns, "parts", parts, "files", list, "errors", errors));
}

/* Into `part` what the task said of it. */
static const char *
part_read(struct part *part, const json_t *one)
{
	struct reader reader = { NULL };
	if (strcmp(text_of(&reader, one, "topic"), part->topic) != 0 || number(&reader, one, "partition") != part->partition)
		return "parts";
	part->now = saved_of(&reader, one, "now");
	part->late = (uint64_t)number(&reader, one, "late");
	part->records = (uint64_t)number(&reader, one, "records");
	part->bytes = (uint64_t)number(&reader, one, "bytes");
	part->written = (uint64_t)number(&reader, one, "written");
	part->skipped_old = (uint64_t)number(&reader, one, "old");
	part->skipped_tombstones = (uint64_t)number(&reader, one, "tombstones");
	part->skipped_schema = (uint64_t)number(&reader, one, "schema");
	part->skipped_other = (uint64_t)number(&reader, one, "other");
	part->decoded = (uint64_t)number(&reader, one, "decoded");
	part->failed = boolean(&reader, one, "failed");
	part->more = boolean(&reader, one, "more");
	part->trouble = boolean(&reader, one, "trouble");
	snprintf(part->words, sizeof part->words, "%s", text_of(&reader, one, "words"));
	if (!reader.missing && !part->failed && (part->now.next < part->start || part->now.next > part->latest))
		return "next";
	if (!reader.missing && !counts_read(part, json_object_get(one, "counts")))
		return "counts";
	return reader.missing;
}

static const char *
file_read(const struct task *task, const json_t *one, struct data_file *file)
{
	struct reader reader = { NULL };
	int64_t part = number(&reader, one, "part");
	const char *name = text_of(&reader, one, "name"), *folder = text_of(&reader, one, "folder");
	char want[64];
	int len = snprintf(want, sizeof want, "data-%" PRIu32 "-", task->number);
	if (reader.missing || part < 0 || (size_t)part >= task->part_count)
		return "files";
	if (strncmp(name, want, (size_t)len) != 0 || !name[len] || strspn(name + len, "0123456789") != strlen(name + len))
		return "name";
	*file = (struct data_file){ .temporary = strdup(name), .final = strdup(folder), .part = task->parts[part],
		.file_id = (uint64_t)number(&reader, one, "fileId"), .length = (uint64_t)number(&reader, one, "length"),
		.records = (uint64_t)number(&reader, one, "records"), .first = number(&reader, one, "first"), .last = number(&reader, one, "last"),
		.bucket = number(&reader, one, "bucket"), .bucket_end = number(&reader, one, "bucketEnd") };
	return reader.missing;
}

static const char *
error_read(struct task *task, const json_t *one)
{
	struct reader reader = { NULL };
	int64_t part = number(&reader, one, "part");
	struct error_record error = { .offset = number(&reader, one, "offset"), .time_ms = number(&reader, one, "time"),
		.kept = boolean(&reader, one, "kept") };
	if (reader.missing || part < 0 || (size_t)part >= task->part_count)
		return "errors";
	error.part = task->parts[part];
	if (error.kept && (!hex_read(json_object_get(one, "key"), &error.key, &error.key_len) ||
	    !hex_read(json_object_get(one, "value"), &error.value, &error.value_len))) {
		free(error.key);
		free(error.value);
		return "errors";
	}
	error.words = strdup(text_of(&reader, one, "words"));
	task->errors[task->error_count++] = error;
	return NULL;
}

int
task_report_read(struct task *task, const char *text, size_t len, const char *from, struct data_file **files, size_t *count, struct err *err)
{
	static const char what[] = "task's report";
	json_t *root = root_read(text, len, what, from, err), *one;
	*files = NULL;
	*count = 0;
	if (!root)
		return -EINVAL;
	struct reader reader = { NULL };
	const char *wrong = NULL;
	size_t i;
	if (strcmp(text_of(&reader, root, "run"), task->job->run) != 0)
		return damaged(root, what, from, "run", err);
	if (number(&reader, root, "task") != task->number)
		return damaged(root, what, from, "task", err);
	task->t_all_ns = (uint64_t)number(&reader, root, "allNs");
	task->t_kafka_ns = (uint64_t)number(&reader, root, "kafkaNs");
	task->t_decode_ns = (uint64_t)number(&reader, root, "decodeNs");
	task->t_write_ns = (uint64_t)number(&reader, root, "writeNs");
	const json_t *parts = json_object_get(root, "parts"), *list = json_object_get(root, "files"), *errors = json_object_get(root, "errors");
	if (reader.missing || json_array_size(parts) != task->part_count || !json_is_array(list) || !json_is_array(errors))
		return damaged(root, what, from, reader.missing ? reader.missing : "parts", err);
	struct part *before = calloc(task->part_count + 1, sizeof *before);
	*files = calloc(json_array_size(list) + 1, sizeof **files);
	task->errors = calloc(json_array_size(errors) + 1, sizeof *task->errors);
	if (!before || !*files || !task->errors)
		abort();
	for (i = 0; i < task->part_count; i++)
		before[i] = *task->parts[i];
	for (i = 0; i < task->part_count && !wrong; i++)
		wrong = part_read(task->parts[i], json_array_get(parts, i));
	json_array_foreach(list, i, one)
		if (!wrong)
			wrong = file_read(task, one, &(*files)[(*count)++]);
	json_array_foreach(errors, i, one)
		if (!wrong)
			wrong = error_read(task, one);
	if (wrong) {
		for (i = 0; i < task->part_count; i++) {
			counts_free(task->parts[i]);
			*task->parts[i] = before[i];
		}
		for (i = 0; i < task->error_count; i++) {
			free(task->errors[i].words);
			free(task->errors[i].key);
			free(task->errors[i].value);
		}
		free(task->errors);
		task->errors = NULL;
		task->error_count = 0;
	}
	free(before);
	if (wrong)
		return damaged(root, what, from, wrong, err);
	json_decref(root);
	return 0;
}
