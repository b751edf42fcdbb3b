#include "camus/yarn.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "camus/commit.h"
#include "camus/steps.h"
#include "camus/task_item.h"
#include "camus/yarn_local.h"
#include "camus/yarn_rm.h"

#define LOOK_NS (100 * NS_PER_MS)		/* between looks at the child */
#define ASK_NS (5 * NS_PER_S)			/* between questions to the ResourceManager */
#define RENEW_NS (60 * NS_PER_S)		/* the lock */
#define SILENT_NS (10 * 60 * NS_PER_S)		/* no ResourceManager answers for so long after the child has ended: given up */
#define WORDS_MAX 512				/* arguments of the child */
#define TAIL_BYTES 4000

struct client {
	struct job *job;
	struct place *place;
	struct yarn_rm *rm;
	char folder[FS_PATH_BYTES], out[FS_PATH_BYTES], items[FS_PATH_BYTES];
	char tag[128];
	struct yarn_local local;
	pid_t pid;			/* 0: has ended, or never begun */
	int status;			/* waitpid's */
	uint32_t tasks;
	bool stop_told;
};

static uint64_t
now_ns(void)
{
	return clock_now_ns(&clock_system);
}

static void
tag_of(char tag[static 128], const char *run)
{
	snprintf(tag, 128, "penstock-camus-%.100s", run);
}

static void
pause_for(uint64_t ns)
{
	nanosleep(&(struct timespec){ (time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S) }, NULL);
}

/* ---- what a client that died left ---- */

static int
record_path(char path[static FS_PATH_BYTES], const struct place *place, const char *run)
{
	char name[80];
	snprintf(name, sizeof name, "yarn-%.64s", run);
	return fs_path_join(path, FS_PATH_BYTES, place->state, name);
}

static int
record_put(struct client *client, struct err *err)
{
	char path[FS_PATH_BYTES];
	if (record_path(path, client->place, client->job->run))
		return err_set(err, ENAMETOOLONG, "%s: too long for a path", client->place->state);
	json_t *root = json_pack("{s:s, s:s, s:s}", "run", client->job->run, "folder", client->folder, "tag", client->tag);
	char *text = root ? json_dumps(root, 0) : NULL;
	json_decref(root);
	if (!text)
		return err_set(err, EINVAL, "%s: a path that is no UTF-8 cannot be used on YARN", client->folder);
	enum fs_class class = fs_put_wait(client->place->fs, path, text, strlen(text), true, NULL, err);
	free(text);
	return class == FS_OK ? 0 : err_prefix(err, -EIO, "%s", path);
}

static void
record_remove(struct place *place, const char *run)
{
	char path[FS_PATH_BYTES];
	struct fs_answer answer;
	struct fs_request request = { .op = FS_DELETE, .path = path };
	if (record_path(path, place, run) == 0)
		fs_call_wait(place->fs, &request, &answer, NULL);
}

/* One run that died. */
static int
left_sweep(struct job *job, struct place *place, struct yarn_rm *rm, const char *run, struct err *err)
{
	struct yarn_app app;
	char folder[FS_PATH_BYTES], path[FS_PATH_BYTES], tag[128];
	uint64_t end = now_ns() + job->conf->yarn_wait_ns;
	bool told = false;
	int rc;
	tag_of(tag, run);
	if (record_path(path, place, run) || fs_path_join(folder, sizeof folder, place->work, run))
		return err_set(err, ENAMETOOLONG, "%s: too long for a path", place->work);
	while (!(rc = yarn_rm_app(rm, tag, &app, err)) && app.id[0] && !app.ended) {
		if (!told)
			log_warn("%s of run %s, which died, is still at work (%s): waiting for its end", app.id, run, app.state);
		told = true;
		if (now_ns() >= end || job_stop_asked())
			return err_set(err, EBUSY, "%s of run %s, which died, is still %s after penstock.camus.yarn.wait: its tasks are of no use any more; "
				"end it (yarn application -kill %s) or run again later", app.id, run, app.state, app.id);
		pause_for(NS_PER_S);
	}
	if (rc)
		return err_prefix(err, rc, "%s: whether the tasks of run %s, which died, are still at work cannot be asked", path, run);
	log_info("%s: left by run %s%s%s: removed", folder, run, app.id[0] ? ", whose job has ended: " : "", app.id);
	commit_clean(place->fs, folder);
	record_remove(place, run);
	return 0;
}

int
yarn_sweep(struct job *job, struct place *place, struct err *err)
{
	struct fs_answer answer;
	struct yarn_rm *rm = NULL;
	void *memory = NULL;
	int rc = 0;
	struct fs_request list = { .op = FS_LIST, .path = place->state };
	if (fs_call_wait(place->fs, &list, &answer, &memory) == FS_OK)
		for (size_t i = 0; i < answer.list_count && !rc; i++) {
			const char *name = answer.list[i].name;
			if (strncmp(name, "yarn-", 5) != 0 || strcmp(name + 5, job->run) == 0)
				continue;
			if (!rm)
				rc = yarn_rm_open(&rm, job->conf, err);
			if (!rc)
				rc = left_sweep(job, place, rm, name + 5, err);
		}
	yarn_rm_close(rm);
	free(memory);
	return rc;
}

/* ---- what goes to the tasks ---- */

static void
property_add(json_t *list, const char *key, const char *value)
{
	if (value && json_array_append_new(list, json_pack("[s, s]", key, value)))
		log_warn("%s: not handed to tasks: no UTF-8", key);
}

static void
number_add(json_t *list, const char *key, int64_t value)
{
	char text[32];
	snprintf(text, sizeof text, "%" PRId64, value);
	property_add(list, key, text);
}

/* A site file of this machine, so that tasks find the same NameNodes. */
static void
site_add(json_t *site, const char *dir, const char *name)
{
	char path[FS_PATH_BYTES];
	struct text text = { NULL };
	char bytes[8192];
	if (fs_path_join(path, sizeof path, dir, name))
		return;
	FILE *file = fopen(path, "re");
	if (!file)
		return;
	for (size_t n; (n = fread(bytes, 1, sizeof bytes, file)) > 0 && text.len < FS_READ_BYTES;)
		text_add(&text, bytes, n);
	fclose(file);
	if (text.len)
		json_object_set_new(site, name, json_stringn(text.text, text.len));
	text_free(&text);
}

static const char *
user_name(const struct camus_conf *conf)
{
	const char *user = conf_text(conf, "user.name");
	const struct passwd *entry;
	if (!user)
		user = getenv("HADOOP_USER_NAME");
	if (!user && (entry = getpwuid(geteuid())))
		user = entry->pw_name;
	return user;
}

/* All settings of the job, as this command means them. It may hold passwords: nobody else may read it, and Hadoop keeps it in its user's staging folder. */
static int
job_file_write(struct client *client, struct err *err)
{
	static const char *const left_out[] = { "user.name", "penstock.hdfs.conf_dir", "penstock.hdfs.principal", "penstock.hdfs.keytab" };
	const struct camus_conf *conf = client->job->conf;
	json_t *list = json_array(), *site = json_object();
	for (size_t i = 0; i < conf->properties.count; i++) {
		const struct property_line *line = conf->properties.lines[i];
		bool out = strncmp(line->key, "penstock.camus.yarn.", 20) == 0;
		for (size_t k = 0; k < sizeof left_out / sizeof *left_out; k++)
			out |= strcmp(line->key, left_out[k]) == 0;
		if (!out)
			property_add(list, line->key, line->raw);
	}
	/* what a command may have set otherwise */
	property_add(list, "etl.destination.path", conf->destination);
	property_add(list, "etl.execution.base.path", conf->base_path);
	property_add(list, "etl.execution.history.path", conf->history_path);
	property_add(list, "etl.run.tracking.post", conf->run_tracking ? "true" : "false");
	number_add(list, "kafka.max.pull.hrs", conf->pull_hours);
	number_add(list, "kafka.max.historical.days", conf->historical_days);
	number_add(list, "kafka.max.pull.minutes.per.task", conf->pull_minutes);
	property_add(list, "user.name", user_name(conf));
	const char *dir = conf_text(conf, "penstock.hdfs.conf_dir");
	if (!dir && !(dir = getenv("HADOOP_CONF_DIR")))
		dir = "/etc/hadoop/conf";
	site_add(site, dir, "core-site.xml");
	site_add(site, dir, "hdfs-site.xml");
	json_t *root = json_pack("{s:s, s:o, s:o}", "program", PENSTOCK_VERSION, "properties", list, "site", site);
	char *text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
	json_decref(root);
	if (!text)
		return err_set(err, EINVAL, "a setting or site file that is no UTF-8 cannot go to tasks on YARN");
	int fd = open(client->local.job_file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	size_t len = strlen(text), done = 0;
	while (fd >= 0 && done < len) {
		ssize_t n = write(fd, text + done, len - done);
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	int rc = fd < 0 || done < len ? err_set(err, errno ? errno : EIO, "%s: cannot be written: %s", client->local.job_file, strerror(errno)) : 0;
	if (fd >= 0)
		close(fd);
	free(text);
	return rc;
}

static int
items_put(struct client *client, const struct task *tasks, struct err *err)
{
	struct text text = { NULL };
	for (uint32_t t = 0; t < client->tasks; t++) {
		char *line = task_item_text(&tasks[t], client->tasks);
		text_add(&text, line, strlen(line));
		free(line);
	}
	enum fs_class class = fs_put_wait(client->place->fs, client->items, text.text, text.len, true, NULL, err);
	text_free(&text);
	return class == FS_OK ? 0 : err_prefix(err, -EIO, "%s", client->items);
}

/* ---- the child ---- */

struct words {
	struct pool pool;
	char *list[WORDS_MAX + 1];
	size_t count;
	bool full;
};

static void
word(struct words *words, const char *text)
{
	if (words->count == WORDS_MAX)
		words->full = true;
	else
		words->list[words->count++] = pool_text(&words->pool, text, strlen(text));
}

static void
define(struct words *words, const char *key, const char *value)
{
	word(words, "-D");
	word(words, pool_print(&words->pool, "%s=%s", key, value));
}

/* A path within the destination's file system, as Hadoop names it. */
static const char *
hadoop_path(struct client *client, struct words *words, const char *path)
{
	const char *uri = client->place->config.uri, *authority = strstr(uri, "://");
	if (!authority)
		return strncmp(uri, "file:", 5) == 0 ? pool_print(&words->pool, "file://%s", path) : path;
	size_t head = (size_t)(authority - uri) + 3;
	head += strcspn(uri + head, "/");
	return pool_print(&words->pool, "%.*s%s", (int)head, uri, path);
}

static int
words_make(struct client *client, struct words *words, struct err *err)
{
	const struct camus_conf *conf = client->job->conf;
	const char *command = conf->yarn_command;
	while (*command) {
		size_t blank = strspn(command, " \t"), len = strcspn(command + blank, " \t");
		if (len)
			word(words, pool_text(&words->pool, command + blank, len));
		command += blank + len;
	}
	if (words->count == 0)
		return err_set(err, EINVAL, "penstock.camus.yarn.command is empty: want a program such as \"mapred streaming\"");
	/* The last of two wins: what must be so comes last. */
	define(words, "mapreduce.map.speculative", "false");
	for (size_t i = 0; i < conf->properties.count; i++)
		if (conf_yarn_takes(conf->properties.lines[i]->key))
			define(words, conf->properties.lines[i]->key, conf->properties.lines[i]->resolved);
	define(words, "mapreduce.job.name", pool_print(&words->pool, "%s %s", conf->job_name, client->job->run));
	define(words, "mapreduce.job.tags", client->tag);
	define(words, "mapreduce.job.reduces", "0");
	define(words, "mapreduce.input.lineinputformat.linespermap", "1");
	define(words, "stream.map.input.ignoreKey", "true");
	define(words, "mapreduce.fileoutputcommitter.algorithm.version", "1");
	define(words, "mapreduce.fileoutputcommitter.marksuccessfuljobs", "true");
	define(words, "mapreduce.map.failures.maxpercent", conf->commit == COMMIT_FULL ? "0" : "100");
	if (conf->yarn_slots)
		define(words, "mapreduce.job.running.map.limit", pool_print(&words->pool, "%u", conf->yarn_slots));
	word(words, "-archives");
	word(words, pool_print(&words->pool, "%s#penstock", conf->yarn_bundle));
	word(words, "-files");
	word(words, conf->yarn_files ? pool_print(&words->pool, "%s,%s", client->local.job_file, conf->yarn_files) : client->local.job_file);
	word(words, "-inputformat");
	word(words, "org.apache.hadoop.mapred.lib.NLineInputFormat");
	word(words, "-lazyOutput");
	word(words, "-input");
	word(words, hadoop_path(client, words, client->items));
	word(words, "-output");
	word(words, hadoop_path(client, words, client->out));
	word(words, "-mapper");
	word(words, "penstock/penstock-camus task");
	return words->full ? err_set(err, E2BIG, "more than %d arguments for %s: fewer mapreduce.* properties", WORDS_MAX, words->list[0]) : 0;
}

/* The child ends with us, so that a job that is not submitted yet never is. */
static int
child_begin(struct client *client, struct err *err)
{
	struct words words = { .count = 0 };
	int rc = words_make(client, &words, err);
	int output = rc ? -1 : open(client->local.output, O_RDWR | O_CREAT | O_CLOEXEC, 0600), input = rc ? -1 : open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (!rc && (output < 0 || input < 0))
		rc = err_set(err, errno, "%s: %s", client->local.output, strerror(errno));
	pid_t parent = getpid();
	if (!rc && (client->pid = fork()) < 0) {
		client->pid = 0;
		rc = err_set(err, errno, "no process for %s: %s", words.list[0], strerror(errno));
	} else if (!rc && client->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* a signal from the terminal is for us: what the tasks have is still to be committed */
		setpgid(0, 0);
		if (getppid() == parent && dup2(input, 0) == 0 && dup2(output, 1) == 1 && dup2(output, 2) == 2)
			execvp(words.list[0], words.list);
		_exit(127);
	}
	if (output >= 0)
		close(output);
	if (input >= 0)
		close(input);
	pool_free(&words.pool);
	return rc;
}

/* The last words of the child, for people. */
static void
child_words_tell(const struct client *client)
{
	char words[TAIL_BYTES];
	int fd = open(client->local.output, O_RDONLY | O_CLOEXEC);
	off_t size = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0;
	ssize_t n = 0;
	if (size > 0)
		n = pread(fd, words, TAIL_BYTES - 1, size > TAIL_BYTES - 1 ? size - (TAIL_BYTES - 1) : 0);
	if (fd >= 0)
		close(fd);
	words[n > 0 ? n : 0] = '\0';
	if (words[0])
		fprintf(stderr, "last words of %s:\n%s\n", client->job->conf->yarn_command, words);
}

/* Ends tasks where they are: they look for this file. */
static void
stop_tell(struct client *client)
{
	char path[FS_PATH_BYTES];
	struct err err = { "" };
	if (client->stop_told || fs_path_join(path, sizeof path, client->folder, YARN_STOP))
		return;
	client->stop_told = true;
	log_info("asked to stop: tasks end where they are, what they have is committed");
	if (fs_put_wait(client->place->fs, path, "", 0, true, NULL, &err) != FS_OK)
		log_warn("%s: %s: the tasks go on to their end", path, err.text);
}

/* A folder that nothing happens in for a day counts as left; what mappers write lies deeper. */
static void
folder_renew(struct client *client)
{
	char path[FS_PATH_BYTES];
	struct err err = { "" };
	if (fs_path_join(path, sizeof path, client->folder, "alive") == 0 && fs_put_wait(client->place->fs, path, "", 0, true, NULL, &err) != FS_OK)
		log_warn("%s: %s", path, err.text);
}

static void
app_tell(const struct client *client, const struct yarn_app *app, const struct run_report *report)
{
	if (!report->quiet && app->id[0])
		fprintf(stderr, "%s: %s, %.0f %% of %u tasks\n", app->id, app->state, app->progress, client->tasks);
}

/* Until the child and what it submitted have ended. -EIO: cannot be known. */
static int
job_wait(struct client *client, struct yarn_app *app, const struct run_report *report, struct err *err)
{
	uint64_t asked = 0, renewed = now_ns(), answered = now_ns();
	bool seen = false;
	for (;;) {
		bool here = client->pid != 0;
		if (here && waitpid(client->pid, &client->status, WNOHANG) == client->pid) {
			client->pid = 0;
			asked = 0;	/* at once */
		}
		uint64_t now = now_ns();
		if (job_stop_asked())
			stop_tell(client);
		if (now >= asked + ASK_NS || !asked) {
			int rc = yarn_rm_app(client->rm, client->tag, app, err);
			asked = now_ns();
			if (!rc) {
				answered = asked;
				app_tell(client, app, report);
				if (app->id[0] && !seen) {
					seen = true;
					kill_point("yarn");
				}
				if (!client->pid && (app->ended || !app->id[0]))
					return 0;
			} else if (!client->pid && now > answered + SILENT_NS) {
				return rc;
			}
		}
		if (now > renewed + RENEW_NS) {
			place_lock_renew(client->place, client->job->run);
			folder_renew(client);
			renewed = now;
		}
		pause_for(LOOK_NS);
	}
}

/* ---- reports ---- */

static const struct fs_status *
entry_find(const struct fs_answer *list, const char *name)
{
	for (size_t i = 0; i < list->list_count; i++)
		if (strcmp(list->list[i].name, name) == 0)
			return &list->list[i];
	return NULL;
}

/* None of the task's partitions moves. */
static void
task_fail(struct task *task, const char *words)
{
	log_error("%s", words);
	for (size_t i = 0; i < task->part_count; i++) {
		struct part *part = task->parts[i];
		part->failed = true;
		snprintf(part->words, sizeof part->words, "%s", words);
	}
}

/* A committed attempt's report, and its files as the folder has them. -EIO, -EINVAL: the task counts as failed. */
static int
report_take(struct client *client, struct task *task, const struct fs_answer *there, struct err *err)
{
	char name[64], path[FS_PATH_BYTES];
	struct fs_answer answer;
	void *memory = NULL;
	snprintf(name, sizeof name, YARN_REPORT "%u", task->number);
	if (fs_path_join(path, sizeof path, client->out, name))
		return err_set(err, ENAMETOOLONG, "%s: too long for a path", client->out);
	if (!entry_find(there, name))
		return err_set(err, ENOENT, "%s is missing: no attempt of task %u was committed (yarn logs of %s say why); the next run takes it up again", path,
			task->number, client->tag);
	struct fs_request request = { .op = FS_READ, .path = path };
	if (fs_call_wait(client->place->fs, &request, &answer, &memory) != FS_OK) {
		int rc = err_set(err, EIO, "%s: cannot be read: %s", path, answer.text);
		free(memory);
		return rc;
	}
	struct data_file *files;
	size_t count;
	int rc = task_report_read(task, (const char *)answer.bytes, answer.len, path, &files, &count, err);
	free(memory);
	for (size_t i = 0; i < count && !rc; i++) {
		const struct fs_status *entry = entry_find(there, files[i].temporary);
		if (!entry)
			rc = err_set(err, ENOENT, "%s: its file %s is not there", path, files[i].temporary);
		else if (entry->file_id != files[i].file_id || entry->length != files[i].length)
			rc = err_set(err, EIO, "%s: %s is another file (id %" PRIu64 ", %" PRIu64 " bytes) than the report's (id %" PRIu64 ", %" PRIu64
				" bytes)", path, files[i].temporary, entry->file_id, entry->length, files[i].file_id, files[i].length);
	}
	for (size_t i = 0; i < count; i++) {
		char whole[FS_PATH_BYTES];
		struct data_file *file = &files[i];
		if (!rc && !fs_path_join(whole, sizeof whole, client->out, file->temporary)) {
			free(file->temporary);
			file->temporary = strdup(whole);
			if (!file->temporary)
				abort();
			rc = steps_file_add(client->job, client->place, file, err);
			continue;
		}
		free(file->temporary);
		free(file->final);
	}
	free(files);
	return rc;
}

static int
reports_take(struct client *client, struct task *tasks, const struct yarn_app *app, struct err *err)
{
	struct fs_answer there;
	void *memory = NULL;
	struct fs_request list = { .op = FS_LIST, .path = client->out };
	enum fs_class class = fs_call_wait(client->place->fs, &list, &there, &memory);
	int rc = 0;
	if (class != FS_OK || !entry_find(&there, "_SUCCESS")) {
		child_words_tell(client);
		rc = err_set(err, EIO, "the Hadoop job did not end well: %s %s %s %.200s: %s ended with %s %d", app->id[0] ? app->id : "no application",
			app->state, app->final, app->words, client->job->conf->yarn_command, WIFEXITED(client->status) ? "status" : "signal",
			WIFEXITED(client->status) ? WEXITSTATUS(client->status) : WTERMSIG(client->status));
	}
	for (uint32_t t = 0; t < client->tasks && !rc; t++) {
		struct err words = { "" };
		if (report_take(client, &tasks[t], &there, &words))
			task_fail(&tasks[t], words.text);
	}
	free(memory);
	return rc;
}

/* ---- all of it ---- */

static int
settings_check(const struct camus_conf *conf, struct err *err)
{
	if (!conf->yarn_bundle)
		return err_set(err, EINVAL, "penstock.camus.execution = yarn needs penstock.camus.yarn.bundle: the archive of penstock-camus bundle FILE.tar.gz");
	if (!strstr(conf->yarn_bundle, "://") && access(conf->yarn_bundle, R_OK))
		return err_set(err, errno, "penstock.camus.yarn.bundle \"%s\": %s: penstock-camus bundle makes it", conf->yarn_bundle, strerror(errno));
	return 0;
}

int
yarn_run(struct job *job, struct place *place, const char *folder, struct task *tasks, uint32_t count, struct run_report *report, struct err *err)
{
	struct client client = { .job = job, .place = place, .tasks = count };
	struct yarn_app app = { .id = "" };
	bool recorded = false, ended = false;
	tag_of(client.tag, job->run);
	snprintf(client.folder, sizeof client.folder, "%s", folder);
	int rc = settings_check(job->conf, err);
	if (!rc && (fs_path_join(client.out, sizeof client.out, folder, "out") || fs_path_join(client.items, sizeof client.items, folder, "items")))
		rc = err_set(err, ENAMETOOLONG, "%s: too long for a path", folder);
	rc = rc ? rc : yarn_rm_open(&client.rm, job->conf, err);
	rc = rc ? rc : yarn_rm_check(client.rm, err);
	rc = rc ? rc : yarn_local_make(&client.local, err);
	rc = rc ? rc : job_file_write(&client, err);
	rc = rc ? rc : items_put(&client, tasks, err);
	if (!rc) {
		rc = record_put(&client, err);
		recorded = true;
	}
	rc = rc ? rc : child_begin(&client, err);
	if (!rc) {
		rc = job_wait(&client, &app, report, err);
		ended = rc == 0;
		rc = rc ? err_prefix(err, rc, "what became of run %s's tasks", job->run) : reports_take(&client, tasks, &app, err);
	} else {
		ended = true;
	}
	if (recorded && ended)
		record_remove(place, job->run);
	yarn_local_remove(&client.local);
	yarn_rm_close(client.rm);
	return rc;
}
