#include "camus/complete.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "camus/route.h"

#define MARKS_AT_ONCE 16

struct folder {
	const char *topic;
	char *path;
	int64_t end;		/* ms */
	bool complete;		/* by this run */
	bool fresh;		/* nothing was in it that we know of */
};

struct until {
	const char *topic;
	int64_t ms;
};

struct completeness {
	struct folder *folders;
	size_t folder_count, folder_room;
	struct until *untils;
	size_t until_count, until_room;
	size_t completed;
};

static void *
grown(void *list, size_t count, size_t *room, size_t each)
{
	if (count < *room)
		return list;
	*room = *room ? *room * 2 : 32;
	list = realloc(list, *room * each);
	if (!list)
		abort();	/* a few bytes a folder: nothing sensible can follow */
	return list;
}

static void
folder_add(struct completeness *complete, const char *topic, const char *path, int64_t end, bool fresh)
{
	complete->folders = grown(complete->folders, complete->folder_count, &complete->folder_room, sizeof *complete->folders);
	complete->folders[complete->folder_count++] = (struct folder){ topic, strdup(path), end, false, fresh };
}

static struct until *
until_of(const struct completeness *complete, const char *topic)
{
	for (size_t i = 0; complete && i < complete->until_count; i++)
		if (strcmp(complete->untils[i].topic, topic) == 0)
			return &complete->untils[i];
	return NULL;
}

static void
until_set(struct completeness *complete, const char *topic, int64_t ms)
{
	struct until *until = until_of(complete, topic);
	if (!until) {
		complete->untils = grown(complete->untils, complete->until_count, &complete->until_room, sizeof *complete->untils);
		until = &complete->untils[complete->until_count++];
		*until = (struct until){ topic, INT64_MIN };
	}
	if (ms > until->ms)
		until->ms = ms;
}

static const char *
text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text ? text : "";
}

void
complete_load(struct job *job, const struct manifest *manifest)
{
	struct completeness *complete = calloc(1, sizeof *complete);
	json_t *root = manifest->text ? json_loads(manifest->text, 0, NULL) : NULL, *one;
	size_t i;
	if (!complete)
		abort();
	json_array_foreach(json_object_get(root, "open"), i, one)
		folder_add(complete, pool_text(&job->pool, text_of(one, "topic"), strlen(text_of(one, "topic"))), text_of(one, "folder"),
			json_integer_value(json_object_get(one, "end")), false);
	/* A task on YARN has it from its run. */
	int64_t begun = job->started_ns ? (int64_t)(job->started_ns / NS_PER_MS) : INT64_MAX;
	json_array_foreach(json_object_get(root, "until"), i, one) {
		int64_t ms = json_integer_value(json_object_get(one, "ms"));
		until_set(complete, pool_text(&job->pool, text_of(one, "topic"), strlen(text_of(one, "topic"))), ms > begun ? begun : ms);
	}
	json_decref(root);
	complete_free(job->complete);
	job->complete = complete;
}

void
complete_free(struct completeness *complete)
{
	for (size_t i = 0; complete && i < complete->folder_count; i++)
		free(complete->folders[i].path);
	if (complete) {
		free(complete->folders);
		free(complete->untils);
	}
	free(complete);
}

int64_t
complete_until(const struct job *job, const char *topic)
{
	const struct until *until = until_of(job->complete, topic);
	return until ? until->ms : INT64_MIN;
}

int64_t
complete_part_time(const struct job *job, const struct part *part)
{
	bool left = part->failed || part->why == START_OUT_OF_RANGE || part->why == START_CHANGED || part->why == START_NO_LEADER;
	const struct saved *saved = left || !part->now.known ? &part->saved : &part->now;
	int64_t next = saved->known ? saved->next : part->start, begun = (int64_t)(job->started_ns / NS_PER_MS);
	bool at_end = !left && !part->trouble && !part->more && part->latest >= 0 && next >= part->latest;
	/* A time from the future says nothing of what comes: one wrong clock would complete a topic's folders for years, and make all records late. */
	return (at_end && part->records == 0) || saved->event_ms > begun ? begun : saved->event_ms;
}

static int
by_topic(const void *a, const void *b)
{
	return strcmp((*(struct part *const *)a)->topic, (*(struct part *const *)b)->topic);
}

/* How far each topic that was asked for is complete now. */
static void
untils_decide(struct job *job)
{
	struct part **parts = calloc(job->part_count + 1, sizeof *parts);
	int64_t delay = (int64_t)(job->conf->complete_delay_ns / NS_PER_MS);
	if (!parts)
		abort();
	memcpy(parts, job->parts, job->part_count * sizeof *parts);
	qsort(parts, job->part_count, sizeof *parts, by_topic);
	for (size_t i = 0, next; i < job->part_count; i = next) {
		int64_t lowest = INT64_MAX;
		bool asked = true;
		for (next = i; next < job->part_count && strcmp(parts[next]->topic, parts[i]->topic) == 0; next++) {
			int64_t ms = complete_part_time(job, parts[next]);
			asked = asked && parts[next]->latest >= 0;
			if (ms < lowest)
				lowest = ms;
		}
		if (asked && lowest > INT64_MIN + delay)
			until_set(job->complete, parts[i]->topic, lowest - delay);
	}
	free(parts);
}

static bool
is_late(const char *folder)
{
	const char *slash = strrchr(folder, '/');
	return slash && strcmp(slash + 1, COMPLETE_LATE_FOLDER) == 0;
}

static int
files_add(struct job *job, struct err *err)
{
	struct completeness *complete = job->complete;
	struct route *route = NULL;
	const char *topic = NULL;
	int rc = 0;
	for (size_t i = 0; i < job->file_count && !rc; i++) {
		const struct data_file *file = &job->files[i];
		char folder[FS_PATH_BYTES];
		bool known = false;
		snprintf(folder, sizeof folder, "%s", file->final);
		fs_path_parent(folder);
		for (size_t f = complete->folder_count; f-- > 0 && !known;)
			known = strcmp(complete->folders[f].path, folder) == 0;
		if (known || is_late(folder))
			continue;
		if (!topic || strcmp(topic, file->part->topic) != 0) {
			route_close(route);
			route = NULL;
			topic = file->part->topic;
			rc = route_open(&route, job->conf, topic, err);
			if (rc)
				break;
		}
		int64_t end = route_folder_end(route, file->bucket);
		if (end > complete_until(job, topic))	/* not one that has its mark, with late records now */
			folder_add(complete, topic, folder, end, true);
	}
	route_close(route);
	return rc;
}

int
complete_decide(struct job *job, struct err *err)
{
	struct completeness *complete = job->complete;
	if (!job->conf->complete_delay_ns || !complete)
		return 0;
	int rc = files_add(job, err);
	if (rc)
		return rc;
	untils_decide(job);
	for (size_t i = 0; i < complete->folder_count; i++) {
		struct folder *folder = &complete->folders[i];
		folder->complete = folder->end <= complete_until(job, folder->topic);
		complete->completed += folder->complete;
	}
	return 0;
}

size_t
complete_count(const struct job *job)
{
	return job->complete ? job->complete->completed : 0;
}

void
complete_write(const struct job *job, json_t *root)
{
	const struct completeness *complete = job->complete;
	json_t *open = json_array(), *done = json_array(), *until = json_array();
	for (size_t i = 0; complete && i < complete->folder_count; i++) {
		const struct folder *folder = &complete->folders[i];
		json_array_append_new(folder->complete ? done : open, json_pack("{s:s, s:s, s:I, s:b}", "topic", folder->topic, "folder", folder->path,
			"end", (json_int_t)folder->end, "new", folder->fresh));
	}
	for (size_t i = 0; complete && i < complete->until_count; i++)
		json_array_append_new(until, json_pack("{s:s, s:I}", "topic", complete->untils[i].topic, "ms", (json_int_t)complete->untils[i].ms));
	json_object_set_new(root, "open", open);
	json_object_set_new(root, "complete", done);
	json_object_set_new(root, "until", until);
}

int
complete_publish(struct fs *fs, const struct manifest *manifest, struct err *err)
{
	json_t *root = json_loads(manifest->text, 0, NULL), *one;
	size_t i;
	struct fs_batch batch = { .fs = fs };
	json_array_foreach(json_object_get(root, "complete"), i, one) {
		char path[FS_PATH_BYTES];
		if (fs_path_join(path, sizeof path, text_of(one, "folder"), COMPLETE_MARK))
			continue;	/* a file was published there, so its name fits; nothing of ours writes longer ones */
		kill_point("complete");
		fs_batch_wait(&batch, MARKS_AT_ONCE - 1, err);
		if (batch.class != FS_OK)
			break;
		fs_batch_put_text(&batch, path, "", 0);
	}
	json_decref(root);
	return fs_batch_wait(&batch, 0, err) == FS_OK ? 0 : -EIO;
}
