#include "camus/run.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "camus/commit.h"
#include "camus/counts.h"
#include "camus/decode.h"
#include "camus/kafka.h"
#include "camus/place.h"
#include "camus/report.h"
#include "camus/route.h"

static uint64_t
now_ns(void)
{
	return clock_now_ns(&clock_system);
}

static void
job_init(struct job *job, const struct camus_conf *conf)
{
	memset(job, 0, sizeof *job);
	job->conf = conf;
	job->started_ns = clock_wall_ns(&clock_system);
	uint32_t random = 0;
	if (getrandom(&random, sizeof random, 0) != sizeof random)
		random = (uint32_t)getpid();
	time_t seconds = (time_t)(job->started_ns / NS_PER_S);
	struct tm tm;
	gmtime_r(&seconds, &tm);
	char text[32];
	strftime(text, sizeof text, "%Y-%m-%d-%H-%M-%S", &tm);
	snprintf(job->run, sizeof job->run, "%s-%08x", text, random);
}

/* Audit counts of a manifest: into the history (or etl.counts.path) and to Kafka. */
static int
counts_tell(const struct camus_conf *conf, struct place *place, const struct manifest *manifest, struct err *err)
{
	char folder[FS_PATH_BYTES];
	int rc = fs_path_join(folder, sizeof folder, place->history, manifest->run);
	if (!rc && conf->keep_counts && conf->counts_path) {
		struct fs *fs = NULL;
		struct fs_config config = place->config;
		config.uri = conf->counts_path;
		rc = fs_open(&fs, &config, &clock_system, folder, err);
		if (!rc)
			rc = counts_store(fs, conf, manifest, folder, err);
		if (fs)
			fs_close(fs);
	} else if (!rc) {
		rc = counts_store(place->fs, conf, manifest, folder, err);
	}
	kill_point("counts");
	return rc ? rc : counts_send(conf, manifest, err);
}

/* What the newest manifest decided is carried out before anything new is begun. 0 or -errno. */
static int
unfinished_finish(const struct camus_conf *conf, struct place *place, const struct manifest *manifest, struct run_report *report, struct err *err)
{
	struct commit_result result;
	int rc = commit_publish(place->fs, manifest, true, &result, err);
	if (rc)
		return err_prefix(err, rc, "manifest %" PRIu64 " of run %s is not finished", manifest->number, manifest->run);
	kill_point("recovered");
	rc = counts_tell(conf, place, manifest, err);
	if (rc)
		return rc;
	rc = manifest_done(place->fs, place->state, manifest->number, err);
	if (rc)
		return rc;
	commit_clean(place->fs, manifest->folder);
	report->recovered = manifest->number;
	report->recovered_files = result.published;
	report->taken_away = result.taken_away;
	return 0;
}

/* State of the job: newest manifest, finished if it was not. */
static int
state_load(struct place *place, struct job *job, bool finish, struct run_report *report, struct err *err)
{
	uint64_t number;
	bool done;
	int rc = manifest_newest(place->fs, place->state, &number, &done, err);
	if (rc || number == 0)
		return rc;
	struct manifest manifest;
	rc = manifest_read(place->fs, place->state, number, &manifest, err);
	if (!rc && !done && finish)
		rc = unfinished_finish(job->conf, place, &manifest, report, err);
	if (!rc)
		rc = manifest_saved(&manifest, job, err);
	manifest_free(&manifest);
	return rc;
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
	fflush(stderr);
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
		char name[600], path[FS_PATH_BYTES], folder[FS_PATH_BYTES];
		rc = fs_path_join(folder, sizeof folder, place->destination, file->final);
		rc = rc ? rc : route_file_name(name, sizeof name, file->part->topic, file->part->leader, file->part->partition, file->records,
			file->last + 1, file->bucket, job->conf->extension);
		rc = rc ? rc : fs_path_join(path, sizeof path, folder, name);
		if (rc) {
			err_set(err, ENAMETOOLONG, "%s: too long for a path", file->final);
			free(file->temporary);
			free(file->final);
			continue;
		}
		free(file->final);
		file->final = strdup(path);
		if (job->file_count == job->file_room) {
			job->file_room = job->file_room ? job->file_room * 2 : 64;
			job->files = realloc(job->files, job->file_room * sizeof *job->files);
			if (!job->files)
				abort();
		}
		job->files[job->file_count++] = *file;
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

static int
pull_all(struct job *job, struct place *place, const char *folder, struct run_report *report, struct err *err)
{
	const struct camus_conf *conf = job->conf;
	int32_t *task_of = calloc(job->part_count + 1, sizeof *task_of);
	uint32_t cpus = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN), most = conf->tasks ? conf->tasks : cpus;
	if (!conf->tasks && most > conf->map_tasks)
		most = conf->map_tasks;
	struct pull pull = { .job = job };
	if (!task_of)
		abort();
	pull.count = allocate_tasks(job, most, task_of);
	pull.tasks = calloc(pull.count + 1, sizeof *pull.tasks);
	pull.threads = calloc(pull.count + 1, sizeof *pull.threads);
	if (!pull.tasks || !pull.threads)
		abort();
	uint64_t total = 0;
	int rc = 0;
	uint32_t running = 0;
	for (uint32_t t = 0; t < pull.count && !rc; t++) {
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
		rc = place_connect(place, conf, &task->fs, err);
		struct writer_config config = { .fs = task->fs, .clock = &clock_system, .folder = folder, .task = t,
			.memory = conf->memory / pull.count / 2, .delimiter = conf->delimiter,
			.stall_ns = conf->stall_timeout_ns, .kind = conf->kind, .avro_sync_bytes = conf->avro_sync_bytes,
			.avro_codec = conf->avro_codec, .codec = conf->codec_kind, .seq_blocks = conf->seq_blocks };
		if (!rc)
			rc = writer_open(&task->writer, &config, err);
	}
	uint64_t began = now_ns(), renewed = began;
	for (uint32_t t = 0; t < pull.count && !rc; t++) {
		int trouble = pthread_create(&pull.threads[t], NULL, task_thread, &pull.tasks[t]);
		if (trouble)
			rc = err_set(err, trouble, "no thread for a task: %s", strerror(trouble));
		else
			running++;
	}
	for (uint32_t t = 0; t < running; t++) {
		for (;;) {
			struct timespec until;
			clock_gettime(CLOCK_REALTIME, &until);
			until.tv_nsec += 200000000;
			if (until.tv_nsec >= 1000000000) {
				until.tv_sec++;
				until.tv_nsec -= 1000000000;
			}
			if (pthread_timedjoin_np(pull.threads[t], NULL, &until) == 0)
				break;
			if (!report->quiet)
				progress_show(&pull, began, total, false);
			if (now_ns() > renewed + 60 * NS_PER_S) {
				place_lock_renew(place, job->run);
				renewed = now_ns();
			}
		}
	}
	if (pull.count && !rc && !report->quiet)
		progress_show(&pull, began, total, true);
	for (uint32_t t = 0; t < pull.count; t++) {
		struct task *task = &pull.tasks[t];
		errors_gather(job, task);
		if (task->writer && !rc)
			rc = files_gather(job, place, task, err);
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

/* Nothing to be written down: no offset moved. */
static bool
nothing_new(const struct job *job)
{
	if (job->file_count || job->error_count)
		return false;
	for (size_t i = 0; i < job->part_count; i++) {
		const struct part *part = job->parts[i];
		if (part->failed || !part->now.known)
			continue;
		if (!part->saved.known || part->saved.next != part->now.next || part->records)
			return false;
	}
	return true;
}

/* Share of skipped records above which nothing is committed. */
static int
thresholds_judge(const struct job *job, struct err *err)
{
	uint64_t decoded = 0, schema = 0, other = 0;
	for (size_t i = 0; i < job->part_count; i++) {
		decoded += job->parts[i]->decoded;
		schema += job->parts[i]->skipped_schema;
		other += job->parts[i]->skipped_other;
	}
	const struct {
		const char *key;
		uint64_t skipped;
		double limit;
	} rules[] = {
		{ "etl.max.percent.skipped.schemanotfound", schema, job->conf->skip_schema },
		{ "etl.max.percent.skipped.other", other, job->conf->skip_other },
	};
	for (size_t i = 0; i < 2; i++) {
		double percent = rules[i].skipped ? (double)rules[i].skipped * 100 / (double)(rules[i].skipped + decoded) : 0;
		if (percent > rules[i].limit)
			return err_set(err, ERANGE, "%" PRIu64 " of %" PRIu64 " records were skipped, %.3g %%, more than %s = %g: nothing is committed",
				rules[i].skipped, rules[i].skipped + decoded, percent, rules[i].key, rules[i].limit);
	}
	return 0;
}

static int
verdict(const struct job *job, struct run_report *report)
{
	int status = 0;
	for (size_t i = 0; i < job->part_count; i++) {
		const struct part *part = job->parts[i];
		if (part->failed || part->trouble || part->why == START_NO_LEADER || part->why == START_CHANGED)
			status = 1;
		if (part->why == START_OUT_OF_RANGE && job->conf->fail_out_of_range)
			status = 1;
	}
	if (job->unreadable_topics || job->offsets_failed || (job->error_count && job->conf->fail_on_errors))
		status = 1;
	if (report->failure[0])
		status = 1;
	return status;
}

/* The committed run is published; its errors and report go to the history. */
static int
decide(struct job *job, struct place *place, const char *folder, struct run_report *report, struct err *err)
{
	char *text = manifest_text(job, "run", job->number + 1, folder);
	kill_point("before-manifest");
	int rc = manifest_put(place->fs, place->state, job->number + 1, job->run, text, err);
	free(text);
	if (rc)
		return rc;
	report->manifest = ++job->number;
	struct manifest manifest;
	rc = manifest_read(place->fs, place->state, job->number, &manifest, err);
	struct commit_result result = { 0 };
	if (!rc)
		rc = commit_publish(place->fs, &manifest, false, &result, err);
	report->published = result.published;
	if (!rc)
		kill_point("published");
	if (!rc)
		rc = counts_tell(job->conf, place, &manifest, err);
	manifest_free(&manifest);
	if (rc)
		return rc;
	report_errors_store(job, place, err);
	struct err group = { "" };
	if (kafka_group_store(job, &group))
		log_warn("%s", group.text);
	kill_point("group");
	rc = manifest_done(place->fs, place->state, job->number, err);
	kill_point("done");
	return rc;
}

int
run_job(const struct camus_conf *conf, const struct run_options *options)
{
	struct job job;
	struct place place;
	struct err err = { "" };
	struct run_report report = { .quiet = options->quiet };
	uint64_t t0 = now_ns();
	job_init(&job, conf);
	int rc = place_open(&place, conf, &err), status = 2;
	bool locked = false;
	char folder[FS_PATH_BYTES] = "";
	if (!rc)
		rc = fs_path_join(folder, sizeof folder, place.work, job.run);
	if (!rc) {
		status = 1;
		rc = place_lock(&place, job.run, &err);
		locked = rc == 0;
	}
	if (!rc)
		rc = state_load(&place, &job, true, &report, &err);
	uint64_t t1 = now_ns();
	job.t_pre_ns = t1 - t0;
	if (!rc)
		rc = kafka_setup(&job, &err);
	uint64_t t2 = now_ns();
	job.t_setup_ns = t2 - t1;
	bool pulled = false;
	if (!rc) {
		for (size_t i = 0; i < job.part_count; i++)
			pulled |= job.parts[i]->pull;
		rc = pull_all(&job, &place, folder, &report, &err);
	}
	uint64_t t3 = now_ns();
	job.t_pull_ns = t3 - t2;
	bool decided = false, failed = false;
	for (size_t i = 0; i < job.part_count; i++)
		failed |= job.parts[i]->failed || job.parts[i]->trouble;
	if (!rc)
		rc = thresholds_judge(&job, &err);
	if (!rc && failed && conf->commit == COMMIT_FULL)
		rc = err_set(&err, EIO, "a partition failed and penstock.camus.commit = full: nothing is committed");
	if (!rc && !conf->move_data) {
		log_warn("etl.run.move.data = false: the data stays in %s and nothing is committed", folder);
		decided = true;
	} else if (!rc && !nothing_new(&job)) {
		rc = decide(&job, &place, folder, &report, &err);
		decided = report.manifest != 0 && rc;
	}
	if (rc)
		snprintf(report.failure, sizeof report.failure, "%.500s", err.text);
	/* What an unfinished manifest needs stays; all else goes. */
	if (pulled && !decided && place.fs)
		commit_clean(place.fs, folder);
	if (locked)
		place_unlock(&place);
	job.t_commit_ns = now_ns() - t3;
	if (status != 2 || !rc)
		status = verdict(&job, &report);
	if (rc && status != 1)
		status = 2;
	report_print(&report, &job, status, options);
	place_close(&place);
	job_free(&job);
	return status;
}

int
run_plan(const struct camus_conf *conf, const struct run_options *options)
{
	struct job job;
	struct place place;
	struct err err = { "" };
	struct run_report report = { .quiet = true };
	job_init(&job, conf);
	int status = 2, rc = place_open(&place, conf, &err);
	if (!rc) {
		status = 1;
		rc = state_load(&place, &job, false, &report, &err);
	}
	if (!rc)
		rc = kafka_setup(&job, &err);
	if (rc)
		fprintf(stderr, "penstock-camus: %s\n", err.text);
	else {
		report_plan(&job, options);
		status = 0;
	}
	place_close(&place);
	job_free(&job);
	return status;
}

/* "earliest", "latest", an offset, or a time. */
enum goal { GOAL_EARLIEST, GOAL_LATEST, GOAL_OFFSET, GOAL_TIME };

static int
goal_parse(const char *to, enum goal *goal, int64_t *value, struct err *err)
{
	char *end;
	*value = strtoll(to, &end, 10);
	if (strcmp(to, "earliest") == 0)
		*goal = GOAL_EARLIEST;
	else if (strcmp(to, "latest") == 0)
		*goal = GOAL_LATEST;
	else if (*to && !*end && *value >= 0)
		*goal = GOAL_OFFSET;
	else if (*to == '@' && (*value = strtoll(to + 1, &end, 10)) >= 0 && to[1] && !*end)
		*goal = GOAL_TIME;
	else if (json_time_iso(to, value))
		*goal = GOAL_TIME;
	else
		return err_set(err, EINVAL, "--to \"%s\": want earliest, latest, an offset or a time (2026-11-21T10:00:00Z, @milliseconds)", to);
	return 0;
}

int
run_reset(const struct camus_conf *conf, const struct run_options *options, const char *what, const char *to)
{
	struct job job;
	struct place place;
	struct err err = { "" };
	struct run_report report = { .quiet = true };
	char topic[256], *end = NULL;
	long partition = -1;
	enum goal goal = GOAL_EARLIEST;
	int64_t value = 0;
	(void)options;
	snprintf(topic, sizeof topic, "%s", what);
	char *colon = strrchr(topic, ':');
	if (colon) {
		*colon = '\0';
		partition = strtol(colon + 1, &end, 10);
	}
	int status = 2, rc = goal_parse(to, &goal, &value, &err);
	if (!rc && colon && (end == colon + 1 || *end || partition < 0))
		rc = err_set(&err, EINVAL, "\"%s\": want TOPIC or TOPIC:PARTITION", what);
	job_init(&job, conf);
	place.fs = NULL;
	if (!rc)
		rc = place_open(&place, conf, &err);
	bool locked = false;
	if (!rc) {
		status = 1;
		rc = place_lock(&place, job.run, &err);
		locked = !rc;
	}
	if (!rc)
		rc = state_load(&place, &job, true, &report, &err);
	if (!rc)
		rc = kafka_setup(&job, &err);
	bool *pick = calloc(job.part_count + 1, sizeof *pick);
	int64_t *offsets = calloc(job.part_count + 1, sizeof *offsets);
	if (!pick || !offsets)
		abort();
	size_t picked = 0;
	for (size_t i = 0; i < job.part_count && !rc; i++) {
		const struct part *part = job.parts[i];
		pick[i] = strcmp(part->topic, topic) == 0 && (partition < 0 || part->partition == partition) && part->latest >= 0;
		picked += pick[i];
	}
	if (!rc && !picked)
		rc = err_set(&err, ENOENT, "%s: Kafka has no such topic or partition (or the lists leave it out)", what);
	if (!rc && goal == GOAL_TIME)
		rc = kafka_offsets_at(&job, pick, value, offsets, &err);
	for (size_t i = 0; i < job.part_count; i++) {
		struct part *part = job.parts[i];
		part->now = part->saved;	/* what setup would move is not moved here */
		if (!pick[i] || rc)
			continue;
		int64_t next = goal == GOAL_EARLIEST ? part->earliest : goal == GOAL_LATEST ? part->latest : goal == GOAL_OFFSET ? value : offsets[i];
		if (next < part->earliest || next > part->latest) {
			rc = err_set(&err, ERANGE, "%s:%d: offset %lld is not in Kafka (%lld to %lld)", part->topic, part->partition, (long long)next,
				(long long)part->earliest, (long long)part->latest);
			continue;
		}
		printf("%s:%d: %lld -> %lld\n", part->topic, part->partition, part->saved.known ? (long long)part->saved.next : -1LL, (long long)next);
		part->now.known = true;
		part->now.next = next;
		part->now.last.offset = -1;
	}
	if (!rc) {
		char *text = manifest_text(&job, "reset", job.number + 1, "");
		rc = manifest_put(place.fs, place.state, job.number + 1, job.run, text, &err);
		free(text);
	}
	if (!rc)
		rc = manifest_done(place.fs, place.state, job.number + 1, &err);
	if (locked)
		place_unlock(&place);
	if (rc)
		fprintf(stderr, "penstock-camus: %s\n", err.text);
	else {
		printf("recorded as manifest %" PRIu64 "\n", job.number + 1);
		status = 0;
	}
	free(pick);
	free(offsets);
	place_close(&place);
	job_free(&job);
	return status;
}
