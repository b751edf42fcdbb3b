#include "camus/tree.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/calendar.h"

int
tree_list(struct fs *fs, const char *path, struct fs_answer *answer, void **memory, struct err *err)
{
	struct fs_request request = { .op = FS_LIST, .path = path };
	enum fs_class class = fs_call_wait(fs, &request, answer, memory);
	if (class == FS_OK)
		return 0;
	answer->list_count = 0;
	return class == FS_MISSING ? 0 : err_set(err, EIO, "%s: cannot be listed: %s: %s", path, fs_class_name(class), answer->text);
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
	for (size_t len = strlen(path); len > 1 && path[len - 1] == '/';)
		path[--len] = '\0';
	return rc;
}

int
tree_filter_open(struct tree_filter *filter, const struct camus_conf *conf, struct place *place, struct err *err)
{
	const char *source = conf->sweep_source ? conf->sweep_source : conf->destination, *dest = conf->sweep_dest ? conf->sweep_dest : source;
	struct calendar *calendar;
	struct calendar_time now;
	memset(filter, 0, sizeof *filter);
	filter->subdir = conf->sweep_source_sub;
	int rc = root_find(place, source, "camus.sweeper.source.dir", filter->source, err);
	rc = rc ? rc : root_find(place, dest, "camus.sweeper.dest.dir", filter->dest, err);
	rc = rc ? rc : topic_filter_compile(&conf->sweep_white, "camus.sweeper.whitelist", &filter->white, err);
	rc = rc ? rc : topic_filter_compile(&conf->sweep_black, "camus.sweeper.blacklist", &filter->black, err);
	if (rc)
		return rc;
	rc = calendar_open(&calendar, conf->sweep_zone, err);
	if (rc)
		return err_prefix(err, rc, "camus.default.timezone");
	calendar_split(calendar, (int64_t)(clock_wall_ns(&clock_system) / NS_PER_MS), &now);
	calendar_close(calendar);
	filter->today = calendar_day_number(now.year, now.month, now.day);
	filter->hour = now.hour;
	return 0;
}

void
tree_filter_close(struct tree_filter *filter)
{
	topic_filter_free(filter->white);
	topic_filter_free(filter->black);
}

struct walk {
	const struct tree_filter *filter;
	struct fs *fs;
	tree_dated *dated;
	void *context;
	struct err *err;
	int parts[4];
};

static bool
number_parse(const char *text, size_t digits, int *value)
{
	if (strlen(text) != digits || strspn(text, "0123456789") != digits)
		return false;
	*value = (int)strtol(text, NULL, 10);
	return true;
}

/* Level 0 years, 1 months, 2 days, 3 hours. */
static int
level_walk(struct walk *walk, const char *topic, const char *path, int level)
{
	static const struct {
		int least, most;
	} range[] = { { 0, 9999 }, { 1, 12 }, { 1, 31 }, { 0, 23 } };
	struct fs_answer answer;
	void *memory = NULL;
	int rc = tree_list(walk->fs, path, &answer, &memory, walk->err);
	for (size_t i = 0; i < answer.list_count && !rc; i++) {
		char below[FS_PATH_BYTES], dated[32];
		int *part = &walk->parts[level];
		if (!answer.list[i].directory || !number_parse(answer.list[i].name, level ? 2 : 4, part) || *part < range[level].least ||
		    *part > range[level].most || fs_path_join(below, sizeof below, path, answer.list[i].name))
			continue;
		int length = snprintf(dated, sizeof dated, "%04d/%02d/%02d", walk->parts[0], walk->parts[1], walk->parts[2]);
		if (level < 3) {
			rc = level_walk(walk, topic, below, level + 1);
			walk->parts[3] = -1;
		} else {
			snprintf(dated + length, sizeof dated - (size_t)length, "/%02d", walk->parts[3]);
		}
		if (!rc && level >= 2)
			rc = walk->dated(walk->context, topic, below, dated, walk->parts);
	}
	free(memory);
	return rc;
}

/* Folders down to the one that has the subdir: what lies between is the topic's name. */
static int
topics_walk(struct walk *walk, const char *path, const char *topic, int depth)
{
	const char *subdir = walk->filter->subdir;
	struct fs_answer answer;
	void *memory = NULL;
	int rc = tree_list(walk->fs, path, &answer, &memory, walk->err);
	bool is_topic = false;
	size_t first = strcspn(subdir, "/");
	for (size_t i = 0; i < answer.list_count; i++)
		is_topic |= depth && answer.list[i].directory && strncmp(answer.list[i].name, subdir, first) == 0 && !answer.list[i].name[first];
	if (is_topic && !rc) {
		char below[FS_PATH_BYTES], dotted[FS_PATH_BYTES];
		snprintf(dotted, sizeof dotted, "%s", topic);
		for (char *at = dotted; *at; at++)
			if (*at == '/')
				*at = '.';
		if (topic_filter_admits(walk->filter->white, walk->filter->black, dotted) && !fs_path_join(below, sizeof below, path, subdir))
			rc = level_walk(walk, topic, below, 0);
	}
	for (size_t i = 0; i < answer.list_count && !rc && !is_topic && depth < TREE_DEPTH; i++) {
		const char *name = answer.list[i].name;
		char below[FS_PATH_BYTES], longer[FS_PATH_BYTES];
		if (!answer.list[i].directory || name[0] == '.' || name[0] == '_' || fs_path_join(below, sizeof below, path, name) ||
		    (size_t)snprintf(longer, sizeof longer, "%s%s%s", topic, depth ? "/" : "", name) >= sizeof longer)
			continue;
		rc = topics_walk(walk, below, longer, depth + 1);
	}
	free(memory);
	return rc;
}

int
tree_dates(const struct tree_filter *filter, struct fs *fs, tree_dated *dated, void *context, struct err *err)
{
	struct walk walk = { filter, fs, dated, context, err, { 0, 0, 0, -1 } };
	return topics_walk(&walk, filter->source, "", 0);
}
