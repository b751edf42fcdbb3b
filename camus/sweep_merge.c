/* The records of many files into few: text line by line as they are (compressed text is unpacked and compressed anew), Avro in the newest schema, one of
 * each key. */
#include <avro.h>
#include <errno.h>
#include <inttypes.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "camus/avro_plan.h"
#include "camus/avro_project.h"
#include "camus/complete.h"
#include "camus/sweep.h"
#include "camus/unpack.h"
#include "camus/writer.h"
#include "sinks/format/hadoop_codec.h"

#define PIECE_BYTES (8u << 20)
#define KEY_BYTES SHA256_DIGEST_LENGTH
#define KEY_SLOT_BYTES (KEY_BYTES + 1)

struct keys {				/* open addressing; a slot begins with 1 when it is taken */
	uint8_t *slots;
	size_t count, room;
	uint64_t memory;
};

struct merge {
	struct place *place;
	const struct camus_conf *conf;
	const struct sweep_plan *plan;
	struct sweep_result *result;
	struct err *err;
	struct writer *writer;
	struct part *part;		/* all records' */
	uint64_t file_bytes, written;	/* of one output file; so far */
	int64_t file;			/* number of the output file */
	double share;			/* of a record's bytes that its source had: less than 1 when it was compressed */

	/* Avro */
	char *schema_text;
	json_t *schema_json, *key_json;
	avro_value_iface_t *class, *key_class;
	avro_value_t value, key;
	struct keys keys;
	char *out;
	size_t out_room;
};

static void
record_put(struct merge *merge, const void *bytes, size_t len)
{
	if (merge->written >= merge->file_bytes) {
		merge->file++;
		merge->written = 0;
	}
	merge->written += (uint64_t)((double)len * merge->share);
	merge->result->records++;
	merge->result->bytes += len;
	writer_put(merge->writer, merge->part, merge->file, merge->file + 1, "", merge->schema_text, 0, bytes, len, 0);
}

/* A source as a local file, from its beginning. -ENODATA: this one cannot be read; -EFBIG: it does not fit here; another -errno: none can be now. */
static int
source_fetch(struct merge *merge, const struct sweep_source *source, FILE **made)
{
	FILE *file = tmpfile();
	*made = file;
	if (!file)
		return err_set(merge->err, EIO, "no temporary file: %s", strerror(errno));
	for (uint64_t at = 0; at < source->length;) {
		struct fs_answer answer;
		void *memory = NULL;
		struct fs_request request = { .op = FS_READ, .path = source->path, .offset = at, .length = PIECE_BYTES };
		enum fs_class class = fs_call_wait(merge->place->fs, &request, &answer, &memory);
		int rc = 0;
		if (class != FS_OK || !answer.len)
			rc = err_set(merge->err, class == FS_BUSY || class == FS_UNKNOWN || class == FS_LOGIN ? EIO : ENODATA, "%s: cannot be read at %" PRIu64
				": %s", source->path, at, class == FS_OK ? "it is shorter than it was" : answer.text);
		else if (fwrite(answer.bytes, 1, answer.len, file) != answer.len)
			rc = err_set(merge->err, errno == ENOSPC ? EFBIG : EIO, "%s: its local copy cannot be written at %" PRIu64 ": %s", source->path, at,
				strerror(errno));
		at += answer.len;
		free(memory);
		if (rc) {
			fclose(file);
			*made = NULL;
			return rc;
		}
	}
	rewind(file);
	return 0;
}

static int
text_take(struct merge *merge, FILE *file, const struct sweep_source *source)
{
	char *line = NULL;
	size_t room = 0;
	ssize_t len;
	while ((len = getline(&line, &room, file)) > 0) {
		if (line[len - 1] == '\n')
			len--;
		record_put(merge, line, (size_t)len);
		if (merge->part->failed)
			break;
	}
	free(line);
	if (merge->part->failed || feof(file))
		return 0;
	return ferror(file) ? err_set(merge->err, EIO, "%s: its local copy cannot be read", source->path)
		: err_set(merge->err, ENOMEM, "%s: a line that memory has no room for", source->path);
}

/* ---- keys ---- */

static bool
key_insert(struct keys *keys, const uint8_t key[static KEY_BYTES])
{
	uint64_t at;
	memcpy(&at, key, sizeof at);
	for (at &= keys->room - 1; keys->slots[at * KEY_SLOT_BYTES]; at = (at + 1) & (keys->room - 1))
		if (memcmp(keys->slots + at * KEY_SLOT_BYTES + 1, key, KEY_BYTES) == 0)
			return false;
	keys->slots[at * KEY_SLOT_BYTES] = 1;
	memcpy(keys->slots + at * KEY_SLOT_BYTES + 1, key, KEY_BYTES);
	keys->count++;
	return true;
}

static int
keys_grow(struct merge *merge)
{
	struct keys *keys = &merge->keys, old = *keys;
	if (keys->count * 4 < keys->room * 3)
		return 0;
	keys->room = keys->room ? keys->room * 2 : 1024;
	if (keys->room * KEY_SLOT_BYTES > keys->memory || !(keys->slots = calloc(keys->room, KEY_SLOT_BYTES))) {
		*keys = old;
		return err_set(merge->err, ENOMEM, "%s: more keys than penstock.camus.memory has room for (%zu so far): give it more", merge->plan->output,
			keys->count);
	}
	keys->count = 0;
	for (size_t i = 0; i < old.room; i++)
		if (old.slots[i * KEY_SLOT_BYTES])
			key_insert(keys, old.slots + i * KEY_SLOT_BYTES + 1);
	free(old.slots);
	return 0;
}

static int
encode(struct merge *merge, avro_value_t *value, size_t *len)
{
	if (avro_value_sizeof(value, len))
		return err_set(merge->err, EINVAL, "%s", avro_strerror());
	if (*len > merge->out_room) {
		free(merge->out);
		merge->out_room = *len * 2;
		merge->out = malloc(merge->out_room);
		if (!merge->out)
			abort();
	}
	avro_writer_t writer = avro_writer_memory(merge->out, (int64_t)*len);
	int rc = avro_value_write(writer, value);
	avro_writer_free(writer);
	return rc ? err_set(merge->err, EINVAL, "%s", avro_strerror()) : 0;
}

/* The fields that tell records apart: of the properties, or all but maps. NULL: records are not told apart. */
static json_t *
key_schema(const struct merge *merge)
{
	char name[600];
	snprintf(name, sizeof name, "%s.camus.sweeper.avro.key.schema", merge->plan->topic);
	const char *text = conf_text(merge->conf, name);
	if (!text)
		text = merge->conf->sweep_key_schema;
	if (text)
		return json_loads(text, 0, NULL);
	if (!merge->conf->sweep_all_attributes)
		return NULL;
	json_t *key = json_deep_copy(merge->schema_json), *fields = json_object_get(key, "fields");
	for (size_t i = json_array_size(fields); i-- > 0;) {
		const json_t *type = json_object_get(json_array_get(fields, i), "type");
		const char *word = json_string_value(json_is_object(type) ? json_object_get(type, "type") : type);
		if (word && strcmp(word, "map") == 0)
			json_array_remove(fields, i);
	}
	return key;
}

/* Why libavro is not to make values of it, or NULL. */
static const char *
schema_trouble(avro_schema_t schema)
{
	struct avro_plan *plan = avro_plan_new(schema);
	const char *trouble = plan ? avro_plan_trouble(plan) : "no memory";
	avro_plan_free(plan);
	return trouble;
}

static int
avro_take(struct merge *merge, FILE *file, const struct sweep_source *source)
{
	avro_file_reader_t reader;
	avro_value_t from;
	if (avro_file_reader_fp(file, source->path, 0, &reader))
		return err_set(merge->err, EINVAL, "%s: %s", source->path, avro_strerror());
	avro_schema_t schema = avro_file_reader_get_writer_schema(reader);
	const char *trouble = schema_trouble(schema);
	if (trouble) {
		avro_schema_decref(schema);
		avro_file_reader_close(reader);
		return err_set(merge->err, EINVAL, "%s: %s", source->path, trouble);
	}
	avro_value_iface_t *class = avro_generic_class_from_schema(schema);
	int rc = 0, got = 0;
	uint64_t before = merge->result->records + merge->result->duplicates;
	if (!class || avro_generic_value_new(class, &from)) {
		avro_file_reader_close(reader);
		return err_set(merge->err, ENOMEM, "%s: %s", source->path, avro_strerror());
	}
	while (!rc && !merge->part->failed && (got = avro_file_reader_read_value(reader, &from)) == 0) {
		size_t len;
		bool fresh = true;
		avro_value_reset(&merge->value);
		rc = avro_project(&from, &merge->value, merge->schema_json, merge->err);
		if (!rc && merge->key_class) {
			uint8_t digest[KEY_BYTES];
			avro_value_reset(&merge->key);
			rc = avro_project(&merge->value, &merge->key, merge->key_json, merge->err);
			rc = rc ? rc : encode(merge, &merge->key, &len);
			rc = rc ? rc : keys_grow(merge);
			if (!rc) {
				SHA256((const unsigned char *)merge->out, len, digest);
				fresh = key_insert(&merge->keys, digest);
			}
		}
		rc = rc ? rc : encode(merge, &merge->value, &len);
		if (!rc && fresh)
			record_put(merge, merge->out, len);
		else if (!rc)
			merge->result->duplicates++;
		avro_value_reset(&from);
	}
	if (!rc && !merge->part->failed && got != EOF)
		rc = err_set(merge->err, EINVAL, "%s: record %" PRIu64 ": %s", source->path,
			merge->result->records + merge->result->duplicates - before, avro_strerror());
	else if (rc)
		rc = err_prefix(merge->err, rc, "%s", source->path);
	avro_value_decref(&from);
	avro_value_iface_decref(class);
	avro_schema_decref(schema);
	avro_file_reader_close(reader);
	return rc;
}

/* The schema of the file that was changed last (camus.output.schema, and by topic, instead). */
static int
avro_begin(struct merge *merge)
{
	char name[600];
	snprintf(name, sizeof name, "%s.camus.output.schema", merge->plan->topic);
	const char *given = conf_text(merge->conf, name);
	given = given ? given : merge->conf->sweep_schema;
	if (given) {
		merge->schema_text = strdup(given);
	} else {
		const struct sweep_source *newest = &merge->plan->sources[0];
		for (size_t i = 1; i < merge->plan->source_count; i++)
			if (merge->plan->sources[i].modified_ms >= newest->modified_ms)
				newest = &merge->plan->sources[i];
		FILE *file;
		int rc = source_fetch(merge, newest, &file);
		if (rc)
			return rc;
		merge->schema_text = unpack_avro_schema(file);
		fclose(file);
		if (!merge->schema_text)
			return err_set(merge->err, EINVAL, "%s: is no Avro file", newest->path);
	}
	avro_schema_t schema;
	merge->schema_json = json_loads(merge->schema_text, 0, NULL);
	if (!merge->schema_json || avro_schema_from_json_length(merge->schema_text, strlen(merge->schema_text), &schema))
		return err_set(merge->err, EINVAL, "the schema of %s: %s", merge->plan->output, avro_strerror());
	const char *trouble = schema_trouble(schema);
	if (!trouble)
		merge->class = avro_generic_class_from_schema(schema);
	avro_schema_decref(schema);
	if (trouble || !merge->class)
		return err_set(merge->err, EINVAL, "the schema of %s: %s", merge->plan->output, trouble ? trouble : avro_strerror());
	avro_generic_value_new(merge->class, &merge->value);
	merge->key_json = key_schema(merge);
	if (!merge->key_json)
		return 0;
	char *text = json_dumps(merge->key_json, 0);
	if (avro_schema_from_json_length(text, strlen(text), &schema)) {
		free(text);
		return err_set(merge->err, EINVAL, "camus.sweeper.avro.key.schema: %s", avro_strerror());
	}
	free(text);
	merge->key_class = avro_generic_class_from_schema(schema);
	avro_schema_decref(schema);
	avro_generic_value_new(merge->key_class, &merge->key);
	/* A key that the records do not have tells none apart, as with Camus. */
	struct err err = { "" };
	avro_value_t empty;
	avro_generic_value_new(merge->class, &empty);
	if (avro_project(&empty, &merge->key, merge->key_json, &err)) {
		log_warn("%s: its records lack the fields of the key schema (%s): duplicates stay", merge->plan->output, err.text);
		avro_value_decref(&merge->key);
		avro_value_iface_decref(merge->key_class);
		merge->key_class = NULL;
	}
	avro_value_decref(&empty);
	return 0;
}

static void
avro_end(struct merge *merge)
{
	if (merge->key_class) {
		avro_value_decref(&merge->key);
		avro_value_iface_decref(merge->key_class);
	}
	if (merge->class) {
		avro_value_decref(&merge->value);
		avro_value_iface_decref(merge->class);
	}
	json_decref(merge->schema_json);
	json_decref(merge->key_json);
	free(merge->schema_text);
	free(merge->keys.slots);
	free(merge->out);
}

static const char *
extension_of(const char *path)
{
	const char *slash = strrchr(path, '/'), *dot = strrchr(slash ? slash : path, '.');
	/* A data file's name has dots of its own: topic.leader.partition.count.offset.time */
	return dot && dot[1] && strspn(dot + 1, "0123456789") != strlen(dot + 1) ? dot : "";
}

/* One kind of file in a folder; what can be read and written again. */
static int
kind_find(const struct sweep_plan *plan, bool *avro, enum hadoop_codec_kind *codec, const char **extension, struct err *err)
{
	static const char *const texts[] = { "", ".txt", ".json", ".log", ".csv" };
	*extension = extension_of(plan->sources[0].path);
	for (size_t i = 1; i < plan->source_count; i++)
		if (strcmp(extension_of(plan->sources[i].path), *extension) != 0)
			return err_set(err, ENOTSUP, "%s and %s: files of two kinds are not swept together", plan->sources[0].path, plan->sources[i].path);
	*avro = strcmp(*extension, ".avro") == 0;
	*codec = unpack_kind(*extension);
	if (*codec != CODEC_NONE)
		return 0;
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		if (*avro || strcmp(*extension, texts[i]) == 0)
			return 0;
	return err_set(err, ENOTSUP, "%s: files \"*%s\" are not swept, Avro files and text (plain, or compressed by gzip, "
		"deflate, bzip2, snappy, lz4 or zstd) are", plan->sources[0].path, *extension);
}

int
sweep_is_plain_text(const struct sweep_plan *plan, const char **extension, struct err *err)
{
	bool avro;
	enum hadoop_codec_kind codec;
	int rc = kind_find(plan, &avro, &codec, extension, err);
	if (!rc && (avro || codec != CODEC_NONE))
		rc = err_set(err, ENOTSUP, "%s: no plain text", plan->sources[0].path);
	return rc;
}

uint64_t
sweep_file_room(const struct camus_conf *conf, const struct sweep_plan *plan)
{
	uint64_t files = plan->bytes / conf->sweep_file_bytes + 1;
	if (files > conf->sweep_max_files)
		files = conf->sweep_max_files;
	return files == 1 ? UINT64_MAX : plan->bytes / files + 1;
}

/* Gives the written files their names within the staged folder. */
static int
files_name(struct merge *merge, const char *staged, const char *extension)
{
	size_t count;
	struct written *files = writer_files(merge->writer, &count);
	int rc = merge->part->failed ? err_set(merge->err, EIO, "%s", merge->part->words) : 0;
	uint64_t now_ms = clock_wall_ns(&clock_system) / NS_PER_MS;
	for (size_t i = 0; i < count; i++) {
		struct data_file *file = &files[i].file;
		char name[128], path[FS_PATH_BYTES];
		struct fs_answer answer;
		void *memory = NULL;
		if (!rc && !files[i].whole)
			rc = err_set(merge->err, EIO, "%s: not written", file->temporary);
		if (merge->conf->sweep_skip_names && *extension)
			snprintf(name, sizeof name, "part-r-%" PRIu64 ".%" PRIu64 "%s", file->records, now_ms + i, extension);
		else
			snprintf(name, sizeof name, "part-r-%05zu%s", i, extension);
		if (!rc && !fs_path_join(path, sizeof path, staged, name)) {
			struct fs_request request = { .op = FS_RENAME, .path = file->temporary, .to = path };
			enum fs_class class = fs_call_wait(merge->place->fs, &request, &answer, &memory);
			if (class != FS_OK || !answer.yes)
				rc = err_set(merge->err, EIO, "%s: cannot be renamed to %s: %s", file->temporary, path, answer.text);
		}
		free(memory);
		free(file->temporary);
		free(file->final);
		merge->result->files++;
	}
	free(files);
	return rc;
}

static int
notes_put(struct merge *merge, const char *staged)
{
	char path[FS_PATH_BYTES];
	struct fs_answer answer;
	void *memory = NULL;
	json_t *list = merge->plan->known ? json_deep_copy(merge->plan->known) : json_array();
	for (size_t i = 0; i < merge->plan->source_count; i++) {
		const struct sweep_source *source = &merge->plan->sources[i];
		size_t len = strlen(merge->plan->output);
		if (strncmp(source->path, merge->plan->output, len) == 0 && source->path[len] == '/')
			continue;	/* an earlier result, or swept in place: gone with the old folder */
		json_array_append_new(list, json_pack("{s:s, s:I, s:I}", "path", source->path, "fileId", (json_int_t)source->file_id, "length",
			(json_int_t)source->length));
	}
	json_t *root = json_pack("{s:o, s:I, s:I}", "sources", list, "records", (json_int_t)merge->result->records, "swept",
		(json_int_t)(clock_wall_ns(&clock_system) / NS_PER_MS));
	char *text = json_dumps(root, JSON_COMPACT);
	int rc = fs_path_join(path, sizeof path, staged, SWEEP_SOURCES);
	if (!rc && fs_put_wait(merge->place->fs, path, text, strlen(text), true, NULL, merge->err) != FS_OK)
		rc = -EIO;
	if (!rc && merge->plan->success && !fs_path_join(path, sizeof path, staged, COMPLETE_MARK) &&
	    fs_put_wait(merge->place->fs, path, "", 0, true, NULL, merge->err) != FS_OK)
		rc = -EIO;
	free(text);
	json_decref(root);
	struct fs_request request = { .op = FS_STAT, .path = staged };
	if (!rc && fs_call_wait(merge->place->fs, &request, &answer, &memory) != FS_OK)
		rc = err_set(merge->err, EIO, "%s: %s", staged, answer.text);
	merge->result->staged_id = rc ? 0 : answer.status.file_id;
	free(memory);
	return rc;
}

/* The source as libavro or text_take reads it. */
static int
source_unpack(struct merge *merge, FILE **file, bool avro, enum hadoop_codec_kind codec, const struct sweep_source *source)
{
	struct stat stat;
	merge->share = 1;
	if (!avro && codec == CODEC_NONE)
		return 0;
	int rc = avro ? unpack_avro(file, source->path, merge->err) : unpack_text(file, codec, source->path, merge->err);
	if (!rc && fstat(fileno(*file), &stat) == 0 && stat.st_size > 0)
		merge->share = (double)source->length / (double)stat.st_size;
	return rc;
}

int
sweep_merge(struct place *place, const struct camus_conf *conf, const struct sweep_plan *plan, const char *staged, struct sweep_result *result,
	    struct err *err)
{
	struct part part = { .topic = plan->topic };
	struct merge merge = { .place = place, .conf = conf, .plan = plan, .result = result, .err = err, .part = &part };
	const char *extension;
	bool avro;
	enum hadoop_codec_kind codec;
	memset(result, 0, sizeof *result);
	int rc = kind_find(plan, &avro, &codec, &extension, err);
	if (rc)
		return rc;
	merge.file_bytes = sweep_file_room(conf, plan);
	merge.keys.memory = conf->memory / 2;
	struct writer_config config = { .fs = place->fs, .clock = &clock_system, .folder = staged, .memory = conf->memory / 2,
		.kind = avro ? WRITER_AVRO : WRITER_TEXT, .delimiter = "\n", .avro_codec = conf->sweep_codec,
		.avro_sync_bytes = conf->avro_sync_bytes, .codec = codec, .stall_ns = conf->stall_timeout_ns };
	rc = avro ? avro_begin(&merge) : 0;
	if (!rc)
		rc = writer_open(&merge.writer, &config, err);
	for (size_t i = 0; i < plan->source_count && !rc && !part.failed; i++) {
		FILE *file;
		rc = source_fetch(&merge, &plan->sources[i], &file);
		rc = rc ? rc : source_unpack(&merge, &file, avro, codec, &plan->sources[i]);
		if (rc)
			break;
		rc = avro ? avro_take(&merge, file, &plan->sources[i]) : text_take(&merge, file, &plan->sources[i]);
		fclose(file);
	}
	if (!rc) {
		writer_finish(merge.writer);
		rc = files_name(&merge, staged, extension);
	}
	if (!rc)
		rc = notes_put(&merge, staged);
	writer_close(merge.writer);
	avro_end(&merge);
	return rc;
}
