/* One run's tasks: partitions to threads, their files gathered. */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "camus/kafka.h"
#include "camus/route.h"
#include "camus/steps.h"
#include "camus/yarn.h"

static uint64_t
now_ns(void)
{
	return clock_now_ns(&clock_system);
}

static void *
task_thread(void *task)
{
	kafka_task_run(task);
	return NULL;
}

struct pull {
	struct job *job;
	struct task *tasks;
	pthread_t *threads;
	uint32_t count;
};

#define TOPICS_TOLD 20u

/* Where output is kept, the topics that are at work: at most TOPICS_TOLD, a line each. Parts come topic by topic. */
static void
topics_show(const struct job *job, double seconds)
{
	uint32_t told = 0, more = 0;
	for (size_t i = 0, end; i < job->part_count; i = end) {
		const char *topic = job->parts[i]->topic;
		uint64_t records = 0, total = 0;
		for (end = i; end < job->part_count && strcmp(job->parts[end]->topic, topic) == 0; end++) {
			const struct part *part = job->parts[end];
			if (!part->pull)
				continue;
			records += atomic_load_explicit(&part->progress, memory_order_relaxed);
			total += (uint64_t)(part->latest - part->start);
		}
		if (!records || records >= total)
			continue;
		double rate = seconds > 0 ? (double)records / seconds : 0;
		if (told++ < TOPICS_TOLD)
			fprintf(stderr, "  %s: %" PRIu64 " of at most %" PRIu64 " records, %.0f s left\n", topic, records, total,
				rate > 0 ? (double)(total - records) / rate : 0);
		else
			more++;
	}
	if (more)
		fprintf(stderr, "  and %u more topics\n", more);
}

static void
progress_show(const struct pull *pull, uint64_t began, uint64_t total, bool last)
{
	static bool terminal, asked;
	static uint64_t shown;
	if (!asked) {
		terminal = isatty(2);
		asked = true;
	}
	uint64_t now = now_ns(), records = 0, bytes = 0;
	if (!last && now < shown + (terminal ? NS_PER_S / 2 : 5 * NS_PER_S))
		return;
	shown = now;
	for (uint32_t i = 0; i < pull->count; i++) {
		records += atomic_load_explicit(&pull->tasks[i].progress.records, memory_order_relaxed);
		bytes += atomic_load_explicit(&pull->tasks[i].progress.bytes, memory_order_relaxed);
	}
	double seconds = (double)(now - began) / 1e9, rate = seconds > 0 ? (double)records / seconds : 0;
	double left = rate > 0 && total > records ? (double)(total - records) / rate : 0;
	fprintf(stderr, "%s%" PRIu64 " of at most %" PRIu64 " records, %.1f MB, %.0f/s, %.0f s left%s", terminal ? "\r\033[K" : "", records, total,
		(double)bytes / 1e6, rate, left, terminal && !last ? "" : "\n");
	if (!terminal && !last)
		topics_show(pull->job, seconds);
	fflush(stderr);
}

int
steps_file_add(struct job *job, const struct place *place, struct data_file *file, struct err *err)
{
	char name[600], path[FS_PATH_BYTES], folder[FS_PATH_BYTES];
	int rc = fs_path_join(folder, sizeof folder, place->destination, file->final);
	rc = rc ? rc : route_file_name(name, sizeof name, file->part->topic, file->part->leader, file->part->partition, file->records,
		file->last + 1, file->bucket, job->conf->extension);
	rc = rc ? rc : fs_path_join(path, sizeof path, folder, name);
	if (rc) {
		err_set(err, ENAMETOOLONG, "%s: too long for a path", file->final);
		free(file->temporary);
		free(file->final);
		return -ENAMETOOLONG;
	}
	free(file->final);
	file->final = strdup(path);
	if (job->file_count == job->file_room) {
		job->file_room = job->file_room ? job->file_room * 2 : 64;
		job->files = realloc(job->files, job->file_room * sizeof *job->files);
	}
	if (!file->final || !job->files)
		abort();
	job->files[job->file_count++] = *file;
	return 0;
}

/* Files of broken or failed parts go; the others get their final names. */
static int
files_gather(struct job *job, struct place *place, struct task *task, struct err *err)
{
	size_t count;
	struct written *files = writer_files(task->writer, &count);
	int rc = 0;
	for (size_t i = 0; i < count; i++) {
		struct data_file *file = &files[i].file;
		if (!files[i].whole || file->part->failed || rc) {
			free(file->temporary);
			free(file->final);
			continue;
		}
		rc = steps_file_add(job, place, file, err);
	}
	free(files);
	return rc;
}

static void
errors_gather(struct job *job, struct task *task)
{
	if (task->error_count) {
		job->errors = realloc(job->errors, (job->error_count + task->error_count) * sizeof *job->errors);
		if (!job->errors)
			abort();
		memcpy(job->errors + job->error_count, task->errors, task->error_count * sizeof *task->errors);
		job->error_count += task->error_count;
	}
	free(task->errors);
	task->errors = NULL;
}

/* A task's partitions, topic by topic, so that few files are open. */
static int
by_topic(const void *a, const void *b)
{
	const struct part *x = *(struct part *const *)a, *y = *(struct part *const *)b;
	int order = strcmp(x->topic, y->topic);
	return order ? order : (x->partition > y->partition) - (x->partition < y->partition);
}

int
steps_writer(struct task *task, const char *folder, uint64_t memory, struct err *err)
{
	const struct camus_conf *conf = task->conf;
	struct writer_config config = { .fs = task->fs, .clock = &clock_system, .folder = folder, .task = task->number,
		.memory = memory, .delimiter = conf->delimiter,
		.stall_ns = conf->stall_timeout_ns, .kind = conf->kind, .avro_sync_bytes = conf->avro_sync_bytes,
		.avro_codec = conf->avro_codec, .codec = conf->codec_kind, .seq_blocks = conf->seq_blocks,
		.schema_fails = conf->schema_change == SCHEMA_FAIL, .early = conf->execution != EXECUTION_YARN };
	return writer_open(&task->writer, &config, err);
}

/* The tasks as threads of this process. */
static int
threads_run(struct pull *pull, struct place *place, const char *folder, uint64_t total, struct run_report *report, struct err *err)
{
	struct job *job = pull->job;
	const struct camus_conf *conf = job->conf;
	uint32_t running = 0;
	int rc = 0;
	pull->threads = calloc(pull->count + 1, sizeof *pull->threads);
	if (!pull->threads)
		abort();
	for (uint32_t t = 0; t < pull->count && !rc; t++) {
		struct task *task = &pull->tasks[t];
		rc = place_connect(place, conf, &task->fs, err);
		if (!rc)
			rc = steps_writer(task, folder, conf->memory / pull->count / 2, err);
	}
	uint64_t began = now_ns(), renewed = began;
	for (uint32_t t = 0; t < pull->count && !rc; t++) {
		int trouble = pthread_create(&pull->threads[t], NULL, task_thread, &pull->tasks[t]);
		if (trouble)
			rc = err_set(err, trouble, "no thread for a task: %s", strerror(trouble));
		else
			running++;
	}
	for (uint32_t t = 0; t < running; t++) {
		for (;;) {
			if (task_ended(pull->threads[t]))
				break;
			if (!report->quiet)
				progress_show(pull, began, total, false);
			if (now_ns() > renewed + 60 * NS_PER_S) {
				place_lock_renew(place, job->run);
				renewed = now_ns();
			}
		}
	}
	if (pull->count && !rc && !report->quiet)
		progress_show(pull, began, total, true);
	for (uint32_t t = 0; t < pull->count; t++) {
		struct task *task = &pull->tasks[t];
		if (task->writer && !rc)
			rc = files_gather(job, place, task, err);
	}
	return rc;
}

int
steps_pull(struct job *job, struct place *place, const char *folder, struct run_report *report, struct err *err)
{
	const struct camus_conf *conf = job->conf;
	bool yarn = conf->execution == EXECUTION_YARN;
	int rc = yarn ? yarn_sweep(job, place, err) : 0;
	if (rc)
		return rc;
	int32_t *task_of = calloc(job->part_count + 1, sizeof *task_of);
	uint32_t cpus = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN), most = conf->tasks ? conf->tasks : yarn ? conf->map_tasks : cpus;
	if (!conf->tasks && most > conf->map_tasks)
		most = conf->map_tasks;
	struct pull pull = { .job = job };
	if (!task_of)
		abort();
	pull.count = allocate_tasks(job, most, task_of);
	pull.tasks = calloc(pull.count + 1, sizeof *pull.tasks);
	if (!pull.tasks)
		abort();
	uint64_t total = 0;
	for (uint32_t t = 0; t < pull.count; t++) {
		struct task *task = &pull.tasks[t];
		*task = (struct task){ .job = job, .conf = conf, .number = t, .fetch_memory = conf->memory / pull.count / 2 };
		task->parts = calloc(job->part_count, sizeof *task->parts);
		if (!task->parts)
			abort();
		for (size_t i = 0; i < job->part_count; i++)
			if (task_of[i] == (int32_t)t) {
				task->parts[task->part_count++] = job->parts[i];
				total += (uint64_t)(job->parts[i]->latest - job->parts[i]->start);
			}
		qsort(task->parts, task->part_count, sizeof *task->parts, by_topic);
	}
	if (!yarn)
		rc = threads_run(&pull, place, folder, total, report, err);
	else if (pull.count)
		rc = yarn_run(job, place, folder, pull.tasks, pull.count, report, err);
	for (uint32_t t = 0; t < pull.count; t++) {
		struct task *task = &pull.tasks[t];
		errors_gather(job, task);
		report_task(report, task);
		writer_close(task->writer);
		if (task->fs)
			fs_close(task->fs);
		free(task->parts);
	}
	free(pull.tasks);
	free(pull.threads);
	free(task_of);
	return rc;
}
