#include "camus/counts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "sinks/format/audit.h"

struct count {
	struct count *next;
	int64_t start;
	uint64_t count;
	char *server, *service;
};

struct counts {
	struct count *first, *last;	/* last: that was added to */
	int64_t window_ms, first_ms, last_ms;
	uint64_t opened_ms;
};

static bool
same(const struct count *count, int64_t start, const char *server, const char *service)
{
	return count->start == start && strcmp(count->server, server) == 0 && strcmp(count->service, service) == 0;
}

void
counts_add(struct part *part, uint32_t window_minutes, int64_t time_ms, const char *server, const char *service)
{
	struct counts *counts = part->counts;
	server = server ? server : "unknown_server";
	service = service ? service : "unknown_service";
	if (!counts) {
		counts = part->counts = calloc(1, sizeof *counts);
		if (!counts)
			abort();
		counts->window_ms = (int64_t)window_minutes * 60000;
		counts->first_ms = counts->last_ms = time_ms;
		counts->opened_ms = clock_wall_ns(&clock_system) / NS_PER_MS;
	}
	if (time_ms < counts->first_ms)
		counts->first_ms = time_ms;
	if (time_ms > counts->last_ms)
		counts->last_ms = time_ms;
	int64_t start = audit_window(time_ms, counts->window_ms);
	struct count *count = counts->last;
	if (!count || !same(count, start, server, service)) {
		for (count = counts->first; count && !same(count, start, server, service); count = count->next)
			;
		if (!count) {
			count = calloc(1, sizeof *count);
			if (!count)
				abort();
			count->start = start;
			count->server = strdup(server);
			count->service = strdup(service);
			count->next = counts->first;
			counts->first = count;
		}
		counts->last = count;
	}
	count->count++;
}

/* A name as JSON can have it: records of Avro may name themselves in other bytes than UTF-8, and long names were cut. */
static void
plain(char to[static 256], const char *name)
{
	size_t len = strnlen(name, 255);
	memcpy(to, name, len);
	to[len] = '\0';
	utf8_mend(to, len);
}

void
counts_free(struct part *part)
{
	if (!part->counts)
		return;
	for (struct count *count = part->counts->first, *next; count; count = next) {
		next = count->next;
		free(count->server);
		free(count->service);
		free(count);
	}
	free(part->counts);
	part->counts = NULL;
}

json_t *
counts_write(const struct part *part)
{
	const struct counts *counts = part->counts;
	if (!counts)
		return json_null();
	json_t *list = json_array();
	for (const struct count *count = counts->first; count; count = count->next) {
		char server[256], service[256];
		plain(server, count->server);
		plain(service, count->service);
		json_array_append_new(list, json_pack("[I, I, s, s]", (json_int_t)count->start, (json_int_t)count->count, server, service));
	}
	return json_pack("{s:I, s:I, s:I, s:I, s:o}", "window", (json_int_t)counts->window_ms, "first", (json_int_t)counts->first_ms, "last",
		(json_int_t)counts->last_ms, "opened", (json_int_t)counts->opened_ms, "counts", list);
}

bool
counts_read(struct part *part, const json_t *json)
{
	json_int_t window, first, last, opened, start, many;
	const char *server, *service;
	json_t *list, *one;
	size_t i;
	if (json_is_null(json))
		return true;
	if (json_unpack((json_t *)json, "{s:I, s:I, s:I, s:I, s:o}", "window", &window, "first", &first, "last", &last, "opened", &opened, "counts", &list) ||
	    window <= 0)
		return false;
	struct counts *counts = part->counts = calloc(1, sizeof *counts);
	if (!counts)
		abort();
	*counts = (struct counts){ .window_ms = window, .first_ms = first, .last_ms = last, .opened_ms = (uint64_t)opened };
	json_array_foreach(list, i, one) {
		if (json_unpack(one, "[I, I, s, s]", &start, &many, &server, &service))
			return false;
		struct count *count = calloc(1, sizeof *count);
		if (!count)
			abort();
		*count = (struct count){ counts->first, start, (uint64_t)many, strdup(server), strdup(service) };
		counts->first = count;
	}
	return true;
}

static void
limit(json_t *object, const char *key, int64_t value, bool least)
{
	json_t *there = json_object_get(object, key);
	if (!there || (least ? value < json_integer_value(there) : value > json_integer_value(there)))
		json_object_set_new(object, key, json_integer((json_int_t)value));
}

json_t *
counts_json(const struct job *job)
{
	json_t *topics = json_object(), *list = json_array();
	for (size_t i = 0; i < job->part_count; i++) {
		const struct part *part = job->parts[i];
		if (part->failed || !part->counts)
			continue;
		json_t *topic = json_object_get(topics, part->topic);
		if (!topic) {
			topic = json_pack("{s:s, s:I, s:i, s:o}", "topic", part->topic, "granularity", (json_int_t)part->counts->window_ms, "errorCount", 0,
				"counts", json_object());
			json_object_set(topics, part->topic, topic);
			json_array_append_new(list, topic);
		}
		limit(topic, "startTime", (int64_t)part->counts->opened_ms, true);
		limit(topic, "endTime", (int64_t)(clock_wall_ns(&clock_system) / NS_PER_MS), false);
		limit(topic, "firstTimestamp", part->counts->first_ms, true);
		limit(topic, "lastTimestamp", part->counts->last_ms, false);
		json_object_set_new(topic, "errorCount", json_integer(json_integer_value(json_object_get(topic, "errorCount")) +
			(json_int_t)(part->skipped_schema + part->skipped_other)));
		json_t *entries = json_object_get(topic, "counts");
		for (const struct count *count = part->counts->first; count; count = count->next) {
			char key[600], server[256], service[256];
			plain(server, count->server);
			plain(service, count->service);
			snprintf(key, sizeof key, "{%s,%s,%lld}", server, service, (long long)count->start);
			json_t *entry = json_object_get(entries, key);
			uint64_t before = entry ? (uint64_t)json_integer_value(json_object_get(entry, "count")) : 0;
			json_object_set_new(entries, key, json_pack("{s:s, s:s, s:I, s:I}", "server", server, "service", service, "start",
				(json_int_t)count->start, "count", (json_int_t)(before + count->count)));
		}
	}
	json_decref(topics);
	return list;
}

int
counts_store(struct fs *fs, const struct camus_conf *conf, const struct manifest *manifest, const char *folder, struct err *err)
{
	(void)conf;
	json_t *root = json_loads(manifest->text, 0, NULL), *counts = json_object_get(root, "counts");
	int rc = 0;
	if (json_array_size(counts)) {
		char path[FS_PATH_BYTES], name[128];
		char *text = json_dumps(counts, JSON_INDENT(1));
		snprintf(name, sizeof name, "counts.%s", manifest->run);
		rc = fs_path_join(path, sizeof path, folder, name);
		if (!rc && fs_put_wait(fs, path, text, strlen(text), true, NULL, err) != FS_OK)
			rc = err_prefix(err, -EIO, "%s", path);
		free(text);
	}
	json_decref(root);
	return rc;
}
