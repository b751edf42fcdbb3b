#include "camus/history.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "camus/etl_key.h"
#include "camus/report.h"
#include "camus/seq_read.h"
#include "sinks/format/seqfile.h"

#define NAME_FORM "dddd-dd-dd-dd-dd-dd"	/* d: a digit */
#define NULL_CLASS "org.apache.hadoop.io.NullWritable"

/* An execution's name begins so. */
static bool
name_dated(const char *name)
{
	for (const char *form = NAME_FORM; *form; form++, name++)
		if (*form == 'd' ? !isdigit((unsigned char)*name) : *name != *form)
			return false;
	return true;
}

static int
folder_list(struct place *place, const char *path, struct fs_answer *answer, void **memory, struct err *err)
{
	struct fs_request request = { .op = FS_LIST, .path = path };
	enum fs_class class = fs_call_wait(place->fs, &request, answer, memory);
	if (class == FS_OK)
		return 0;
	answer->list_count = 0;
	return class == FS_MISSING ? 0 : err_set(err, EIO, "%s: cannot be listed: %s", path, answer->text);
}

/* Newest dated folder in `path` whose name lies behind `than`. */
static int
newest_behind(struct place *place, const char *path, const char *than, char *newest, struct err *err)
{
	struct fs_answer answer;
	void *memory = NULL;
	int rc = folder_list(place, path, &answer, &memory, err);
	snprintf(newest, HISTORY_NAME_BYTES, "%s", than);
	for (size_t i = 0; !rc && i < answer.list_count; i++) {
		const struct fs_status *entry = &answer.list[i];
		if (entry->directory && name_dated(entry->name) && strlen(entry->name) < HISTORY_NAME_BYTES && strcmp(entry->name, newest) > 0)
			snprintf(newest, HISTORY_NAME_BYTES, "%s", entry->name);
	}
	free(memory);
	if (strcmp(newest, than) == 0)
		*newest = '\0';
	return rc;
}

int
history_newest(struct place *place, char newest[static HISTORY_NAME_BYTES], struct err *err)
{
	return newest_behind(place, place->history, "", newest, err);
}

int
history_running(struct place *place, const char *than, char newest[static HISTORY_NAME_BYTES], struct err *err)
{
	return newest_behind(place, place->base, than, newest, err);
}

int
history_choose(struct job *job, const char *newest, const char *ours, struct err *err)
{
	if (strcmp(newest, ours) > 0)
		return err_set(err, ESTALE, "%s in the history (%s) is newer than %s and was not written by penstock-camus: Camus has run. Either take its "
			"offsets over (penstock-camus import), or move that folder away, and what it says does not count", newest,
			job->conf->history_path, *ours ? "the last manifest" : "any manifest");
	time_t seconds = (time_t)(job->started_ns / NS_PER_S);
	struct tm tm = { 0 };
	gmtime_r(&seconds, &tm);
	strftime(job->history, sizeof job->history, "%Y-%m-%d-%H-%M-%S", &tm);
	if (strcmp(job->history, ours) > 0)
		return 0;
	/* within the second of the last run, or the clock was set back */
	struct tm last = { 0 };
	if (sscanf(ours, "%d-%d-%d-%d-%d-%d", &last.tm_year, &last.tm_mon, &last.tm_mday, &last.tm_hour, &last.tm_min, &last.tm_sec) != 6)
		return 0;
	last.tm_year -= 1900;
	last.tm_mon -= 1;
	seconds = timegm(&last) + 1;
	gmtime_r(&seconds, &tm);
	strftime(job->history, sizeof job->history, "%Y-%m-%d-%H-%M-%S", &tm);
	return 0;
}

/* A SequenceFile in the making. */
struct sequence {
	struct seqfile *file;
	struct out *out;
	struct chunks chunks;
	struct text key;
};

static void
sequence_begin(struct sequence *sequence, const char *key_class, const char *value_class)
{
	memset(sequence, 0, sizeof *sequence);
	sequence->out = out_new();
	if (!sequence->out || seqfile_new(&sequence->file, key_class, value_class, SEQ_NONE, CODEC_NONE))
		abort();	/* some KB: as job_part */
	out_reset_chunks(sequence->out, &sequence->chunks, 0);
	seqfile_begin(sequence->file, sequence->out);
}

/* The key in sequence->key; value_head is the value. */
static void
sequence_put(struct sequence *sequence, const void *value, size_t len)
{
	seqfile_put(sequence->file, sequence->out, sequence->key.text, sequence->key.len, value, len, NULL, 0);
	sequence->key.len = 0;
}

/* What was put, as a file of the batch. */
static int
sequence_store(struct sequence *sequence, struct fs_batch *batch, const char *folder, const char *name, struct err *err)
{
	char path[FS_PATH_BYTES];
	int rc = out_flush(sequence->out);
	rc = rc ? rc : fs_path_join(path, sizeof path, folder, name);
	if (rc)
		err_set(err, -rc, "%s/%s: %s", folder, name, strerror(-rc));
	else
		fs_batch_put(batch, path, &sequence->chunks);
	seqfile_free(sequence->file);
	out_free(sequence->out);
	chunks_free(&sequence->chunks);
	text_free(&sequence->key);
	return rc;
}

static int
offsets_store(const struct job *job, struct fs_batch *batch, const char *folder, struct err *err)
{
	struct sequence sequence;
	sequence_begin(&sequence, ETL_KEY_CLASS, NULL_CLASS);
	for (size_t i = 0; i < job->part_count; i++) {
		const struct part *part = job->parts[i];
		const struct saved *saved = part->failed ? &part->saved : &part->now;
		if (!saved->known)
			continue;
		struct etl_key key = { .partition = part->partition, .begin = saved->last.offset >= 0 ? saved->last.offset : saved->next,
			.offset = saved->next, .checksum = saved->last.offset >= 0 ? saved->last.crc : 0, .message_bytes = saved->average,
			.time_ms = saved->event_ms != INT64_MIN ? saved->event_ms : (int64_t)(job->started_ns / NS_PER_MS) };
		snprintf(key.topic, sizeof key.topic, "%s", part->topic);
		etl_key_write(&key, &sequence.key);
		sequence_put(&sequence, NULL, 0);
	}
	return sequence_store(&sequence, batch, folder, "offsets-m-00000", err);
}

static int
requests_store(const struct job *job, struct fs_batch *batch, const char *folder, struct err *err)
{
	struct sequence sequence;
	sequence_begin(&sequence, ETL_REQUEST_CLASS, NULL_CLASS);
	for (size_t i = 0; i < job->part_count; i++) {
		const struct part *part = job->parts[i];
		if (!part->pull)
			continue;
		etl_request_write(part->topic, part->leader, part->partition, part->latest, &sequence.key);
		sequence_put(&sequence, NULL, 0);
	}
	return sequence_store(&sequence, batch, folder, "requests.previous", err);
}

static int
errors_store(const struct job *job, struct fs_batch *batch, const char *folder, struct err *err)
{
	struct sequence sequence;
	struct text value = { NULL };
	sequence_begin(&sequence, ETL_KEY_CLASS, SEQ_TEXT);
	for (size_t i = 0; i < job->error_count; i++) {
		const struct error_record *error = &job->errors[i];
		struct etl_key key = { .partition = error->part->partition, .begin = error->offset, .offset = error->offset + 1,
			.time_ms = error->time_ms >= 0 ? error->time_ms : (int64_t)(job->started_ns / NS_PER_MS), .message_bytes = error->value_len,
			.key = error->key, .key_len = error->key_len, .payload = error->value, .payload_len = error->value_len };
		uint8_t vint[9];
		snprintf(key.topic, sizeof key.topic, "%s", error->part->topic);
		etl_key_write(&key, &sequence.key);
		value.len = 0;
		text_add(&value, (const char *)vint, seq_vint(vint, (int64_t)strlen(error->words)));
		text_add(&value, error->words, strlen(error->words));
		sequence_put(&sequence, value.text, value.len);
	}
	text_free(&value);
	return sequence_store(&sequence, batch, folder, "errors-m-00000", err);
}

int
history_build(const struct job *job, const struct place *place, struct fs_batch *batch, struct err *err)
{
	char folder[FS_PATH_BYTES];
	int rc = fs_path_join(folder, sizeof folder, place->state, job->run);
	rc = rc ? rc : requests_store(job, batch, folder, err);
	rc = rc ? rc : offsets_store(job, batch, folder, err);
	rc = rc ? rc : errors_store(job, batch, folder, err);
	return rc || !job->error_count ? rc : report_errors_store(job, batch, folder, err);
}

static bool
there(struct place *place, const char *path, enum fs_class *class)
{
	struct fs_answer answer;
	void *memory = NULL;
	struct fs_request request = { .op = FS_STAT, .path = path };
	*class = fs_call_wait(place->fs, &request, &answer, &memory);
	free(memory);
	return *class == FS_OK;
}

int
history_show(struct place *place, const struct manifest *manifest, struct err *err)
{
	char from[FS_PATH_BYTES], to[FS_PATH_BYTES];
	if (!manifest->history[0])	/* of a version that had none, or of an import */
		return 0;
	if (fs_path_join(from, sizeof from, place->state, manifest->run) || fs_path_join(to, sizeof to, place->history, manifest->history))
		return err_set(err, ENAMETOOLONG, "%s/%s: too long for a path", place->history, manifest->history);
	struct fs_answer answer;
	void *memory = NULL;
	enum fs_class class;
	struct fs_request make = { .op = FS_MKDIRS, .path = place->history }, rename = { .op = FS_RENAME, .path = from, .to = to };
	class = fs_call_wait(place->fs, &make, &answer, &memory);
	if (class != FS_OK) {
		int rc = err_set(err, EIO, "%s (etl.execution.history.path): cannot be made: %s", place->history, answer.text);
		free(memory);
		return rc;
	}
	free(memory);
	memory = NULL;
	class = fs_call_wait(place->fs, &rename, &answer, &memory);
	bool renamed = class == FS_OK && answer.yes;
	char words[300];
	snprintf(words, sizeof words, "%s", class == FS_OK ? "something of this name is there" : answer.text);
	free(memory);
	if (renamed || (!there(place, from, &class) && class == FS_MISSING))
		return 0;	/* gone from here: by us, now or in an earlier life */
	return err_set(err, EIO, "%s: this run's offsets cannot be put into the history: %s", to, words);
}

struct importing {
	struct job *job;
	size_t entries;
};

static int
key_take(void *context, const uint8_t *bytes, size_t len, struct err *err)
{
	struct importing *importing = context;
	struct etl_key key;
	int rc = etl_key_read(&key, bytes, len);
	if (rc)
		return err_set(err, -rc, "entry %zu is no EtlKey", importing->entries + 1);
	importing->entries++;
	struct part *part = job_part(importing->job, key.topic, key.partition);
	if (part->now.known && part->now.next >= key.offset)
		return 0;
	part->now = (struct saved){ .known = true, .next = key.offset, .last.offset = -1, .first.offset = -1, .average = key.message_bytes,
		.event_ms = key.time_ms };
	return 0;
}

int
history_import(struct place *place, const char *name, struct job *job, struct err *err)
{
	char folder[FS_PATH_BYTES], path[FS_PATH_BYTES];
	struct fs_answer answer;
	void *memory = NULL;
	struct importing importing = { .job = job };
	for (size_t i = 0; i < job->part_count; i++)	/* what Camus does not name is read from its oldest record, as Camus would */
		job->parts[i]->now = (struct saved){ .last.offset = -1, .first.offset = -1, .event_ms = INT64_MIN };
	int rc = fs_path_join(folder, sizeof folder, place->history, name);
	rc = rc ? rc : folder_list(place, folder, &answer, &memory, err);
	size_t files = 0;
	for (size_t i = 0; !rc && i < answer.list_count; i++) {
		if (answer.list[i].directory || strncmp(answer.list[i].name, "offsets", 7) != 0)
			continue;
		files++;
		struct fs_answer content;
		void *bytes = NULL;
		rc = fs_path_join(path, sizeof path, folder, answer.list[i].name);
		if (rc)
			break;
		struct fs_request read = { .op = FS_READ, .path = path };
		if (fs_call_wait(place->fs, &read, &content, &bytes) != FS_OK)
			rc = err_set(err, EIO, "%s: cannot be read: %s", path, content.text);
		else if (content.len < answer.list[i].length)
			rc = err_set(err, EFBIG, "%s: more than %u bytes", path, FS_READ_BYTES);
		else if ((rc = seq_read_keys(content.bytes, content.len, ETL_KEY_CLASS, key_take, &importing, err)))
			err_prefix(err, rc, "%s", path);
		free(bytes);
	}
	free(memory);
	if (!rc && !files)
		rc = err_set(err, ENOENT, "%s: no file whose name begins with offsets", folder);
	return rc;
}

/* ---- pruning ---- */

struct pruning {
	struct place *place;
	uint64_t count, limit;
};

static uint64_t
entries_below(struct place *place, const char *path, int64_t *quota)
{
	struct fs_answer answer;
	void *memory = NULL;
	struct fs_request request = { .op = FS_SUMMARY, .path = path };
	enum fs_class class = fs_call_wait(place->fs, &request, &answer, &memory);
	uint64_t count = class == FS_OK ? answer.summary.files + answer.summary.directories : 0;
	if (quota)
		*quota = class == FS_OK ? answer.summary.name_quota : -1;
	free(memory);
	return count;
}

static bool
entry_remove(struct pruning *pruning, const char *folder, const char *name, uint64_t entries)
{
	char path[FS_PATH_BYTES];
	struct fs_answer answer;
	void *memory = NULL;
	if (fs_path_join(path, sizeof path, folder, name))
		return false;
	if (!entries)
		entries = entries_below(pruning->place, path, NULL);
	struct fs_request request = { .op = FS_DELETE, .path = path, .recursive = true };
	bool done = fs_call_wait(pruning->place->fs, &request, &answer, &memory) == FS_OK;
	if (!done)
		log_warn("%s: cannot be removed: %s", path, answer.text);
	free(memory);
	if (done)
		pruning->count -= entries < pruning->count ? entries : pruning->count;
	return done;
}

static int
by_name(const void *a, const void *b)
{
	const struct fs_status *x = a, *y = b;
	return strcmp(x->name, y->name);
}

/* Dated folders in `folder`, oldest first, while there is too much; the newest stays with keep_newest. */
static int
dated_prune(struct pruning *pruning, const char *folder, bool keep_newest, uint32_t *removed, struct err *err)
{
	struct fs_answer answer;
	void *memory = NULL;
	int rc = folder_list(pruning->place, folder, &answer, &memory, err);
	struct fs_status *dated = rc ? NULL : calloc(answer.list_count + 1, sizeof *dated);
	size_t count = 0;
	for (size_t i = 0; dated && i < answer.list_count; i++)
		if (answer.list[i].directory && name_dated(answer.list[i].name))
			dated[count++] = answer.list[i];
	if (dated)
		qsort(dated, count, sizeof *dated, by_name);
	for (size_t i = 0; i + keep_newest < count && pruning->count > pruning->limit; i++)
		*removed += entry_remove(pruning, folder, dated[i].name, 0);
	free(dated);
	free(memory);
	return rc;
}

#define MANIFESTS_KEPT 10	/* a run that was wrong may be looked into */

static int
manifests_prune(struct pruning *pruning, uint64_t newest, uint32_t *removed, struct err *err)
{
	struct fs_answer answer;
	void *memory = NULL;
	int rc = folder_list(pruning->place, pruning->place->state, &answer, &memory, err);
	for (size_t i = 0; !rc && i < answer.list_count && pruning->count > pruning->limit; i++) {	/* by name: oldest first */
		unsigned long long number;
		if (sscanf(answer.list[i].name, "manifest-%llu", &number) == 1 && number + MANIFESTS_KEPT <= newest)
			*removed += entry_remove(pruning, pruning->place->state, answer.list[i].name, 1);
	}
	free(memory);
	return rc;
}

int
history_prune(struct place *place, const struct camus_conf *conf, uint64_t manifest, struct prune_result *result, struct err *err)
{
	struct pruning pruning = { .place = place };
	int64_t quota;
	memset(result, 0, sizeof *result);
	pruning.count = entries_below(place, place->base, &quota);
	pruning.limit = quota > 0 ? (uint64_t)((double)quota * conf->history_share) : 0;
	if (pruning.limit == 0)
		pruning.limit = 50000;
	if (conf->history_entries)
		pruning.limit = conf->history_entries;
	result->entries = pruning.count;
	result->limit = pruning.limit;
	int rc = 0;
	if (pruning.count > pruning.limit)
		rc = dated_prune(&pruning, place->history, true, &result->executions, err);
	if (!rc && pruning.count > pruning.limit && strcmp(place->base, place->history) != 0)
		rc = dated_prune(&pruning, place->base, false, &result->leftovers, err);
	if (!rc && pruning.count > pruning.limit)
		rc = manifests_prune(&pruning, manifest, &result->manifests, err);
	return rc;
}
