/* One mapper: its work item from standard input, its files and report into its attempt's folder, a status line every ten seconds. What it leaves
 * counts only when Hadoop has committed the attempt. Main thread; the records are pulled by another one. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "camus/steps.h"
#include "camus/task_item.h"
#include "camus/yarn.h"

#define STATUS_NS (10 * NS_PER_S)
#define SITE_FOLDER "penstock-site"

struct mapper {
	struct camus_conf conf;
	struct job job;
	struct place place;
	struct task task;
	char out[FS_PATH_BYTES];	/* the attempt's, within the file system */
	char stop[FS_PATH_BYTES];
	uint64_t counted;		/* records that were told as a counter */
};

/* ---- settings ---- */

static int
site_write(const json_t *site, struct err *err)
{
	const char *name;
	json_t *text;
	char path[300];
	if (json_object_size(site) == 0)
		return 0;
	if (mkdir(SITE_FOLDER, 0700) && errno != EEXIST)
		return err_set(err, errno, SITE_FOLDER ": %s", strerror(errno));
	json_object_foreach((json_t *)site, name, text) {
		if (strchr(name, '/') || !json_is_string(text))
			return err_set(err, EINVAL, "site file \"%s\": not a name", name);
		snprintf(path, sizeof path, SITE_FOLDER "/%.200s", name);
		FILE *file = fopen(path, "we");
		size_t len = json_string_length(text);
		bool good = file && fwrite(json_string_value(text), 1, len, file) == len;
		if (file)
			good = fclose(file) == 0 && good;
		if (!good)
			return err_set(err, EIO, "%s: cannot be written: %s", path, strerror(errno));
	}
	return 0;
}

static int
settings_read(struct mapper *mapper, const char *path, struct err *err)
{
	json_error_t trouble;
	json_t *root = json_load_file(path, 0, &trouble), *one;
	size_t i;
	if (!root)
		return err_set(err, EINVAL, "%s: %s: the client of this job sends it (-files)", path, trouble.text);
	const char *program = json_string_value(json_object_get(root, "program"));
	int rc = 0;
	if (!program || strcmp(program, PENSTOCK_VERSION) != 0)
		rc = err_set(err, EINVAL, "%s: of penstock-camus %s, this is %s: make the bundle again (penstock-camus bundle)", path,
			program ? program : "?", PENSTOCK_VERSION);
	json_array_foreach(json_object_get(root, "properties"), i, one) {
		const char *key = json_string_value(json_array_get(one, 0)), *value = json_string_value(json_array_get(one, 1));
		if (!rc && (!key || !value))
			rc = err_set(err, EINVAL, "%s: property %zu has no name or value", path, i + 1);
		if (!rc)
			properties_set(&mapper->conf.properties, key, value, path);
	}
	const json_t *site = json_object_get(root, "site");
	rc = rc ? rc : site_write(site, err);
	if (!rc && json_object_size(site))
		properties_set(&mapper->conf.properties, "penstock.hdfs.conf_dir", SITE_FOLDER, path);
	json_decref(root);
	if (!rc && conf_load(&mapper->conf))
		rc = err_set(err, EINVAL, "%s: settings that this program does not take, see above", path);
	return rc;
}

/* ---- where it writes ---- */

/* Of hdfs://host:port/a/b, file:/a/b or /a/b the path. */
static int
attempt_folder(struct mapper *mapper, struct err *err)
{
	const char *uri = getenv("mapreduce_task_output_dir"), *path = uri;
	if (!uri)
		return err_set(err, EINVAL, "mapreduce_task_output_dir is not set: this command is run by Hadoop Streaming");
	const char *colon = strchr(uri, ':'), *slash = strchr(uri, '/');
	if (colon && slash && colon < slash) {
		path = colon + 1;
		if (strncmp(path, "//", 2) == 0)
			path = strchr(path + 2, '/');
	}
	if (!path || path[0] != '/' || strlen(path) >= sizeof mapper->out - 64)
		return err_set(err, EINVAL, "mapreduce_task_output_dir \"%s\": want a URI or path of a folder", uri);
	snprintf(mapper->out, sizeof mapper->out, "%s", path);
	return 0;
}

/* ---- the work ---- */

static int
item_take(struct mapper *mapper, struct err *err)
{
	const char *from = getenv("mapreduce_map_input_file");
	char *line = NULL, *more = NULL;
	size_t room = 0, more_room = 0;
	ssize_t len = getline(&line, &room, stdin);
	from = from ? from : "standard input";
	int rc = 0;
	if (len <= 0)
		rc = err_set(err, EINVAL, "%s: no work item", from);
	while (!rc && len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\t' || line[len - 1] == '\r'))
		len--;
	rc = rc ? rc : task_item_read(&mapper->job, &mapper->task.number, line, (size_t)len, from, err);
	if (!rc && getline(&more, &more_room, stdin) > 0)
		rc = err_set(err, EINVAL, "%s: more than one work item for a mapper: mapreduce.input.lineinputformat.linespermap must be 1", from);
	free(more);
	free(line);
	return rc;
}

static void *
pull_thread(void *task)
{
	kafka_task_run(task);
	return NULL;
}

static void
status_tell(struct mapper *mapper, uint64_t total)
{
	uint64_t records = atomic_load_explicit(&mapper->task.progress.records, memory_order_relaxed);
	uint64_t bytes = atomic_load_explicit(&mapper->task.progress.bytes, memory_order_relaxed);
	char lines[400];
	int len = snprintf(lines, sizeof lines, "reporter:status:%s and %zu more: %" PRIu64 " of at most %" PRIu64 " records, %.1f MB\n",
		mapper->task.parts[0]->topic, mapper->task.part_count - 1, records, total, (double)bytes / 1e6);
	if (records > mapper->counted && len < (int)sizeof lines)
		len += snprintf(lines + len, sizeof lines - (size_t)len, "reporter:counter:penstock,records,%" PRIu64 "\n", records - mapper->counted);
	mapper->counted = records;
	/* In one write, so that no line of the log gets between. */
	if (write(2, lines, (size_t)len) < 0)
		return;		/* nobody listens: the attempt is about to end */
}

static void
stop_look(struct mapper *mapper)
{
	struct fs_answer answer;
	struct fs_request request = { .op = FS_STAT, .path = mapper->stop, .once = true };
	if (fs_call_wait(mapper->place.fs, &request, &answer, NULL) == FS_OK)
		job_stop_ask();
}

static int
records_pull(struct mapper *mapper, struct err *err)
{
	struct task *task = &mapper->task;
	pthread_t thread;
	uint64_t total = 0, told = 0;
	for (size_t i = 0; i < task->part_count; i++)
		total += (uint64_t)(task->parts[i]->latest - task->parts[i]->start);
	int trouble = pthread_create(&thread, NULL, pull_thread, task);
	if (trouble)
		return err_set(err, trouble, "no thread for the task: %s", strerror(trouble));
	for (;;) {
		uint64_t now = clock_now_ns(&clock_system);
		if (!told || now >= told + STATUS_NS) {
			status_tell(mapper, total);
			stop_look(mapper);
			told = now;
		}
		if (task_ended(thread))
			break;
	}
	status_tell(mapper, total);
	return 0;
}

static int
report_put(struct mapper *mapper, struct err *err)
{
	char name[64], path[FS_PATH_BYTES];
	size_t count;
	struct written *files = writer_files(mapper->task.writer, &count);
	char *text = task_report_text(&mapper->task, files, count);
	snprintf(name, sizeof name, YARN_REPORT "%u", mapper->task.number);
	int rc = fs_path_join(path, sizeof path, mapper->out, name) ? err_set(err, ENAMETOOLONG, "%s: too long for a path", mapper->out) : 0;
	kill_point("task-report");
	if (!rc && fs_put_wait(mapper->place.fs, path, text, strlen(text), true, NULL, err) != FS_OK)
		rc = err_prefix(err, -EIO, "%s", path);
	for (size_t i = 0; i < count; i++) {
		free(files[i].file.temporary);
		free(files[i].file.final);
	}
	free(files);
	free(text);
	return rc;
}

int
yarn_task(const char *job_file)
{
	static struct mapper mapper;
	struct err err = { "" };
	struct task *task = &mapper.task;
	mapper.job.conf = task->conf = &mapper.conf;
	int rc = settings_read(&mapper, job_file, &err);
	rc = rc ? rc : attempt_folder(&mapper, &err);
	rc = rc ? rc : item_take(&mapper, &err);
	rc = rc ? rc : place_open(&mapper.place, &mapper.conf, &err);
	if (!rc && (fs_path_join(mapper.stop, sizeof mapper.stop, mapper.place.work, mapper.job.run) ||
	    strlen(mapper.stop) + sizeof "/" YARN_STOP > sizeof mapper.stop))
		rc = err_set(&err, ENAMETOOLONG, "%s: too long for a path", mapper.place.work);
	if (!rc) {
		strncat(mapper.stop, "/" YARN_STOP, sizeof mapper.stop - strlen(mapper.stop) - 1);
		task->job = &mapper.job;
		task->parts = mapper.job.parts;
		task->part_count = mapper.job.part_count;
		task->fetch_memory = mapper.conf.memory / 2;
		rc = place_connect(&mapper.place, &mapper.conf, &task->fs, &err);
	}
	rc = rc ? rc : steps_writer(task, mapper.out, mapper.conf.memory / 2, &err);
	rc = rc ? rc : records_pull(&mapper, &err);
	rc = rc ? rc : report_put(&mapper, &err);
	if (rc)
		fprintf(stderr, "penstock-camus task: %s\n", err.text);
	writer_close(task->writer);
	if (task->fs)
		fs_close(task->fs);
	for (size_t i = 0; i < task->error_count; i++) {
		free(task->errors[i].words);
		free(task->errors[i].key);
		free(task->errors[i].value);
	}
	free(task->errors);
	place_close(&mapper.place);
	job_free(&mapper.job);
	conf_free(&mapper.conf);
	return rc ? 1 : 0;
}
