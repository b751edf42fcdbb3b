/* Plain text swept in place without reading it: HDFS appends whole files to one of them and takes them away in the same step (CONCAT). At every moment each
 * record stands in the folder once, so a sweep that is killed between two such calls, or refused, leaves nothing to be undone; the manifest says what
 * belongs together, and whoever finishes it goes on with the files that are still there under their identities. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "camus/job.h"
#include "camus/sweep.h"
#include "camus/tree.h"

#define AT_ONCE 16u
#define URL_SOURCES 12000u		/* bytes of names in one call; NameNodes take 64 KiB of headers */
#define TRIES 5

static int
refuse(struct err *err, const char *path, const char *words)
{
	return err_set(err, ENOTSUP, "%s: %s", path, words);
}

/* ---- the plan ---- */

struct look {
	const char *path;		/* of which the last byte is wanted */
	char *wrong;			/* room for words */
	size_t room;
	uint32_t *busy;
	bool *one_ended;
};

static void
last_byte_told(void *context, const struct fs_answer *answer)
{
	struct look *look = context;
	--*look->busy;
	*look->one_ended = true;
	if (answer->class == FS_OK && answer->len == 1 && answer->bytes[0] == '\n')
		return;
	if (!look->wrong[0])
		snprintf(look->wrong, look->room, "%.3000s: %s", look->path, answer->class != FS_OK ? answer->text : "its last line has no end");
}

/* Files whose last line has no end would run into the next one's first. */
static int
ends_check(struct fs *fs, const struct sweep_plan *plan, struct err *err)
{
	struct look *looks = calloc(plan->source_count + 1, sizeof *looks);
	char wrong[FS_PATH_BYTES] = "";
	uint32_t busy = 0;
	bool one_ended = false;
	if (!looks)
		return err_set(err, ENOMEM, "no memory");
	for (size_t i = 0; i < plan->source_count || busy;) {
		if (i < plan->source_count && busy < AT_ONCE && !wrong[0]) {
			const struct sweep_source *source = &plan->sources[i];
			looks[i] = (struct look){ source->path, wrong, sizeof wrong, &busy, &one_ended };
			struct fs_request request = { .op = FS_READ, .path = source->path, .offset = source->length - 1, .length = 1,
				.done = last_byte_told, .context = &looks[i] };
			if (!fs_begin(fs, &request)) {
				snprintf(wrong, sizeof wrong, "no memory");
				continue;
			}
			busy++;
			i++;
			continue;
		}
		if (!busy)
			break;
		one_ended = false;
		fs_run(fs, &one_ended, clock_now_ns(fs->clock) + NS_PER_S);
	}
	free(looks);
	return wrong[0] ? err_set(err, ENOTSUP, "%s", wrong) : 0;
}

static const char *
name_of(const struct sweep_source *source)
{
	return strrchr(source->path, '/') + 1;
}

/* Is `name` one that a sweep gives? Its number. */
static bool
part_number(const char *name, uint64_t *number)
{
	static const char head[] = "part-r-";
	char *end;
	if (strncmp(name, head, sizeof head - 1) != 0 || name[sizeof head - 1] < '0' || name[sizeof head - 1] > '9')
		return false;
	*number = strtoull(name + sizeof head - 1, &end, 10);
	return !*end || *end == '.';
}

/* What HDFS wants of files that it puts together, and what we want of lines. */
static int
plan_check(const struct sweep_plan *plan, const char *extension, struct err *err)
{
	const struct sweep_source *first = &plan->sources[0];
	size_t len = strlen(plan->output);
	for (size_t i = 0; i < plan->source_count; i++) {
		const struct sweep_source *source = &plan->sources[i];
		if (strncmp(source->path, plan->output, len) != 0 || source->path[len] != '/' || strchr(source->path + len + 1, '/'))
			return refuse(err, source->path, "not directly in the folder");
		if (strchr(source->path, ','))
			return refuse(err, source->path, "has a comma, which parts names in the call");
		if (source->replication != first->replication || source->block_bytes != first->block_bytes)
			return refuse(err, source->path, "has another replication or block size");
		if (!source->file_id)
			return refuse(err, source->path, "has no identity");
	}
	for (size_t i = 0; extension[i]; i++)
		if (extension[i] == ',')
			return refuse(err, plan->output, "its files' ending has a comma");
	return 0;
}

int
sweep_concat(struct fs *fs, const struct camus_conf *conf, const struct sweep_plan *plan, json_t **swap, struct sweep_result *result, struct err *err)
{
	const char *extension;
	memset(result, 0, sizeof *result);
	if (!plan->in_place)
		return refuse(err, plan->output, "made of files of other folders");
	int rc = sweep_is_plain_text(plan, &extension, err);
	if (!rc && conf->sweep_skip_names && *extension)
		rc = refuse(err, plan->output, "its file names are to have the number of records");
	rc = rc ? rc : plan_check(plan, extension, err);
	rc = rc ? rc : ends_check(fs, plan, err);
	if (rc)
		return rc;
	uint64_t file_bytes = sweep_file_room(conf, plan), bytes = 0, next = 0, number;
	json_t *groups = json_array(), *sources = NULL;
	for (size_t i = 0; i < plan->source_count; i++)
		if (part_number(name_of(&plan->sources[i]), &number) && number >= next)
			next = number + 1;
	for (size_t i = 0; i < plan->source_count; i++) {
		const struct sweep_source *source = &plan->sources[i];
		const char *name = name_of(source);
		if (!sources || bytes >= file_bytes) {
			char fresh[64];
			snprintf(fresh, sizeof fresh, "part-r-%05" PRIu64 "%.32s", part_number(name, &number) ? number : next++, extension);
			sources = json_array();
			json_array_append_new(groups, json_pack("{s:s, s:I, s:s, s:o}", "target", name, "id", (json_int_t)source->file_id, "name",
				part_number(name, &number) ? name : fresh, "sources", sources));
			bytes = 0;
			result->files++;
		} else {
			json_array_append_new(sources, json_pack("{s:s, s:I}", "name", name, "id", (json_int_t)source->file_id));
		}
		bytes += source->length;
		result->bytes += source->length;
	}
	/* A file that stays alone keeps its name. */
	for (size_t i = json_array_size(groups); i-- > 0;)
		if (!json_array_size(json_object_get(json_array_get(groups, i), "sources")))
			json_array_remove(groups, i);
	*swap = json_pack("{s:s, s:o}", "output", plan->output, "concat", groups);
	if (!*swap)
		return refuse(err, plan->output, "has names that are no text");
	return 0;
}

/* ---- carried out ---- */

struct found {				/* what the folder has, by identity */
	const struct fs_status **entries;
	size_t count;
};

static int
by_id(const void *a, const void *b)
{
	const struct fs_status *x = *(const struct fs_status *const *)a, *y = *(const struct fs_status *const *)b;
	return (x->file_id > y->file_id) - (x->file_id < y->file_id);
}

static const struct fs_status *
found_get(const struct found *found, const json_t *one)
{
	struct fs_status key = { .file_id = (uint64_t)json_integer_value(json_object_get(one, "id")) };
	const struct fs_status *want = &key, **at = found->count ? bsearch(&want, found->entries, found->count, sizeof *found->entries, by_id) : NULL;
	return at ? *at : NULL;
}

enum outcome { DONE, REFUSED, LOST, LATER };

/* How a call ended that is not to be repeated blindly. */
static enum outcome
outcome_of(enum fs_class class, const struct fs_answer *answer, const char *path, struct err *refused, struct err *err)
{
	switch (class) {
	case FS_OK:
		return DONE;
	case FS_UNKNOWN:
		err_set(err, EAGAIN, "%s: %s: %s", path, fs_class_name(class), answer->text);
		return LOST;
	case FS_BUSY:
	case FS_LOGIN:
		err_set(err, EAGAIN, "%s: %s: %s", path, fs_class_name(class), answer->text);
		return LATER;
	default:
		if (!refused->text[0])
			err_set(refused, ENOTSUP, "%s: %s: %s", path, fs_class_name(class), answer->text);
		return REFUSED;
	}
}

static enum outcome
append(struct fs *fs, const char *target, const char *const *sources, struct err *refused, struct err *err)
{
	struct fs_answer answer;
	void *memory = NULL;
	struct fs_request request = { .op = FS_CONCAT, .path = target, .sources = sources };
	kill_point("concat");
	enum outcome outcome = outcome_of(fs_call_wait(fs, &request, &answer, &memory), &answer, target, refused, err);
	free(memory);
	return outcome;
}

static enum outcome
group_publish(struct fs *fs, const char *output, const json_t *group, const struct found *found, struct err *refused, struct err *err)
{
	const struct fs_status *target = found_get(found, group);
	const char *name = json_string_value(json_object_get(group, "name"));
	char from[FS_PATH_BYTES], to[FS_PATH_BYTES];
	if (!target || !name || fs_path_join(from, sizeof from, output, target->name) || fs_path_join(to, sizeof to, output, name)) {
		if (!refused->text[0])
			err_set(refused, ENOTSUP, "%s: the file that others belong to is gone", output);
		return REFUSED;
	}
	if (strcmp(target->name, name) != 0) {
		struct fs_answer answer;
		void *memory = NULL;
		struct fs_request request = { .op = FS_RENAME, .path = from, .to = to };
		enum outcome outcome = outcome_of(fs_call_wait(fs, &request, &answer, &memory), &answer, from, refused, err);
		if (outcome == DONE && !answer.yes) {
			err_set(refused, ENOTSUP, "%s: cannot be renamed to %s", from, name);
			outcome = REFUSED;
		}
		free(memory);
		if (outcome != DONE)
			return outcome;
	}
	const json_t *sources = json_object_get(group, "sources");
	size_t count = json_array_size(sources), taken = 0, used = 0;
	const char **paths = calloc(count + 1, sizeof *paths);
	enum outcome outcome = DONE;
	if (!paths)
		abort();
	for (size_t i = 0; i <= count && outcome == DONE; i++) {
		const json_t *one = json_array_get(sources, i);
		const struct fs_status *entry = one ? found_get(found, one) : NULL;
		char path[FS_PATH_BYTES];
		/* Three bytes for each that has to be escaped. */
		if (taken && (!one || used + 3 * (strlen(output) + 256) > URL_SOURCES)) {
			paths[taken] = NULL;
			outcome = append(fs, to, paths, refused, err);
			while (taken)
				free((void *)(uintptr_t)paths[--taken]);
			used = 0;
		}
		/* Done by an earlier life, or taken away by a consumer. */
		if (!entry || fs_path_join(path, sizeof path, output, entry->name))
			continue;
		paths[taken++] = strdup(path);
		used += 3 * strlen(path);
	}
	while (taken)
		free((void *)(uintptr_t)paths[--taken]);
	free(paths);
	return outcome;
}

int
sweep_concat_publish(struct fs *fs, const json_t *swap, struct err *refused, struct err *err)
{
	const char *output = json_string_value(json_object_get(swap, "output"));
	const json_t *group, *groups = json_object_get(swap, "concat");
	enum outcome outcome = DONE;
	for (int try = 0; output && try < TRIES; try++) {
		struct fs_answer answer;
		void *memory = NULL;
		struct found found = { NULL };
		size_t i;
		int rc = tree_list(fs, output, &answer, &memory, err);
		found.entries = calloc(answer.list_count + 1, sizeof *found.entries);
		if (!found.entries)
			abort();
		for (i = 0; i < answer.list_count && !rc; i++)
			if (!answer.list[i].directory)
				found.entries[found.count++] = &answer.list[i];
		if (found.count)
			qsort(found.entries, found.count, sizeof *found.entries, by_id);
		outcome = DONE;
		json_array_foreach(groups, i, group) {
			enum outcome one = rc ? LATER : group_publish(fs, output, group, &found, refused, err);
			outcome = one == LOST || one == LATER ? one : outcome;
			if (one != DONE && one != REFUSED)
				break;
		}
		free(found.entries);
		free(memory);
		if (rc || outcome == LATER)
			return rc ? rc : -EAGAIN;
		if (outcome != LOST)
			return 0;
	}
	return outcome == LOST ? -EAGAIN : 0;
}
