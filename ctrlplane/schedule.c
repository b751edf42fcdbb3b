#include "ctrlplane/schedule.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/counter.h"
#include "base/log.h"

#define PROGRAM "penstock-camus"
#define REPORT_BYTES_MAX (64u << 20)
#define FAILURE_BYTES 256

struct figures {
	struct counter runs, failed, skipped, records, bytes, files, running, seconds_ns, succeeded, record_lag, event_lag_ns, unproven, unfinished;
};

#define AT(field) offsetof(struct figures, field)
static const struct metric load_metrics[] = {
	{ "runs", METRIC_COUNTER, AT(runs), "runs", "Runs that have ended." },
	{ "runs_failed", METRIC_COUNTER, AT(failed), "runs", "Runs that ended with another status than 0." },
	{ "runs_skipped", METRIC_COUNTER, AT(skipped), "runs", "Turns at which the run before was still at work." },
	{ "records", METRIC_COUNTER, AT(records), "records", "Records read from Kafka by runs that have ended." },
	{ "payload", METRIC_COUNTER, AT(bytes), "bytes", "Payload of these records." },
	{ "files", METRIC_COUNTER, AT(files), "files", "Files published." },
	{ "running", METRIC_GAUGE, AT(running), "runs", "1 while a run is at work." },
	{ "last_run", METRIC_GAUGE, AT(seconds_ns), "ns", "How long the last run took." },
	{ "last_success_time", METRIC_GAUGE, AT(succeeded), "ns", "When a run last ended with status 0, since 1970; 0: never." },
	{ "record_lag", METRIC_GAUGE, AT(record_lag), "records", "Records in Kafka behind what is committed, as the last run left it." },
	{ "event_time_lag", METRIC_GAUGE, AT(event_lag_ns), "ns", "Age of the oldest of the partitions' newest committed event times at the end of the last run." },
	{ "partitions_not_proven", METRIC_GAUGE, AT(unproven), "partitions", "Partitions whose last record was gone, so that nothing proves the log is the same." },
	{ "unfinished_manifest", METRIC_GAUGE, AT(unfinished), "manifests", "Number of the manifest that is decided and not carried out; 0: none." },
};
#undef AT

struct load {
	const struct appliance_load *config;
	struct schedule *schedule;
	pid_t pid;			/* 0: none at work */
	int report;			/* a file in memory that it writes to; -1: none */
	uint64_t due_ns, began_ns;	/* monotonic */
	int64_t began_s;		/* wall */
	bool ended_once;
	int status;			/* of the last run */
	char failure[FAILURE_BYTES], run[64];
	uint64_t manifest;
	struct figures figures;
	struct metric_set metrics;
};

struct schedule {
	struct clock *clock;
	char program[4096];
	bool stopping;
	uint32_t count;
	struct load loads[];
};

/* Beside this program, in the neighbouring folder of a build, or on the PATH. */
static int
program_find(char *path, size_t room, struct err *err)
{
	char self[4096];
	ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
	static const char *const places[] = { "", "../camus/" };
	char *slash = NULL;
	if (len > 0) {
		self[len] = '\0';
		slash = strrchr(self, '/');
	}
	for (size_t i = 0; slash && i < sizeof places / sizeof *places; i++) {
		slash[1] = '\0';
		if ((size_t)snprintf(path, room, "%s%s%s", self, places[i], PROGRAM) < room && access(path, X_OK) == 0)
			return 0;
	}
	for (const char *at = getenv("PATH"); at && *at;) {
		size_t n = strcspn(at, ":");
		if ((size_t)snprintf(path, room, "%.*s/%s", (int)n, at, PROGRAM) < room && access(path, X_OK) == 0)
			return 0;
		at += n + (at[n] == ':');
	}
	return err_set(err, ENOENT, "penstock.camus: there is no %s beside %s or on the PATH: install it", PROGRAM, slash ? self : "this program");
}

static void
load_begin(struct load *load)
{
	struct schedule *schedule = load->schedule;
	const char *argv[] = { PROGRAM, "run", "-P", load->config->options.conf, "--json", "--quiet", NULL };
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	sigset_t none, usual;
	load->began_ns = clock_now_ns(schedule->clock);
	load->began_s = (int64_t)(clock_wall_ns(schedule->clock) / NS_PER_S);
	load->report = memfd_create("penstock-camus report", MFD_CLOEXEC);
	if (load->report < 0 || posix_spawn_file_actions_init(&files)) {
		log_error("batch load %s: %s", load->config->name, strerror(errno));
		return;
	}
	posix_spawnattr_init(&attributes);
	sigemptyset(&none);
	sigemptyset(&usual);
	sigaddset(&usual, SIGPIPE);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setsigdefault(&attributes, &usual);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	posix_spawn_file_actions_addopen(&files, 0, "/dev/null", 0, 0);
	posix_spawn_file_actions_adddup2(&files, load->report, 1);
	posix_spawn_file_actions_addclosefrom_np(&files, 3);
	int rc = posix_spawn(&load->pid, schedule->program, &files, &attributes, (char *const *)argv, environ);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&files);
	if (rc) {
		load->pid = 0;
		close(load->report);
		load->report = -1;
		load->status = 2;
		load->ended_once = true;
		snprintf(load->failure, sizeof load->failure, "%.150s cannot be started: %.60s", schedule->program, strerror(rc));
		counter_add(&load->figures.runs, 1);
		counter_add(&load->figures.failed, 1);
		log_error("batch load %s: %s", load->config->name, load->failure);
		return;
	}
	counter_set(&load->figures.running, 1);
	log_info("batch load %s: run begins (process %d)", load->config->name, (int)load->pid);
}

static json_t *
report_read(int fd)
{
	off_t bytes = lseek(fd, 0, SEEK_END);
	if (bytes <= 0 || bytes > REPORT_BYTES_MAX)
		return NULL;
	char *text = malloc((size_t)bytes);
	json_t *report = text && pread(fd, text, (size_t)bytes, 0) == bytes ? json_loadb(text, (size_t)bytes, 0, NULL) : NULL;
	free(text);
	return report;
}

static uint64_t
number(const json_t *report, const char *name)
{
	json_int_t value = json_integer_value(json_object_get(report, name));
	return value > 0 ? (uint64_t)value : 0;
}

static void
load_ended(struct load *load, int wait_status)
{
	struct figures *figures = &load->figures;
	json_t *report = report_read(load->report);
	const char *failure = json_string_value(json_object_get(report, "failure")), *run = json_string_value(json_object_get(report, "run"));
	close(load->report);
	load->report = -1;
	load->pid = 0;
	load->ended_once = true;
	load->status = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
	snprintf(load->run, sizeof load->run, "%s", run ? run : "");
	load->failure[0] = '\0';
	if (failure && *failure)
		snprintf(load->failure, sizeof load->failure, "%s", failure);
	else if (WIFSIGNALED(wait_status))
		snprintf(load->failure, sizeof load->failure, "ended by signal %d: the next run finishes what it decided", WTERMSIG(wait_status));
	else if (load->status && !report)
		snprintf(load->failure, sizeof load->failure, "its configuration was refused: see the lines above");
	else if (load->status)
		snprintf(load->failure, sizeof load->failure, "partitions or records failed: see the lines above");
	counter_add(&figures->runs, 1);
	counter_set(&figures->running, 0);
	counter_set(&figures->seconds_ns, clock_now_ns(load->schedule->clock) - load->began_ns);
	if (load->status)
		counter_add(&figures->failed, 1);
	else
		counter_set(&figures->succeeded, clock_wall_ns(load->schedule->clock));
	if (report) {
		counter_add(&figures->records, number(report, "records"));
		counter_add(&figures->bytes, number(report, "bytes"));
		counter_add(&figures->files, number(report, "files"));
		counter_set(&figures->record_lag, number(report, "record_lag"));
		counter_set(&figures->event_lag_ns, number(report, "event_time_lag_ms") * NS_PER_MS);
		counter_set(&figures->unproven, number(report, "partitions_not_proven"));
		counter_set(&figures->unfinished, number(report, "unfinished_manifest"));
		load->manifest = number(report, "manifest") ? number(report, "manifest") : load->manifest;
	}
	if (load->status)
		log_error("batch load %s: run %s ended with status %d: %s", load->config->name, load->run, load->status, load->failure);
	else
		log_info("batch load %s: run %s: %llu records, %llu files", load->config->name, load->run,
			 (unsigned long long)number(report, "records"), (unsigned long long)number(report, "files"));
	json_decref(report);
}

int
schedule_open(struct schedule **out, const struct appliance *appliance, struct clock *clock, struct err *err)
{
	*out = NULL;
	if (!appliance->load_count)
		return 0;
	struct schedule *schedule = calloc(1, sizeof *schedule + appliance->load_count * sizeof schedule->loads[0]);
	if (!schedule)
		return err_set(err, ENOMEM, "no memory");
	int rc = program_find(schedule->program, sizeof schedule->program, err);
	if (rc) {
		free(schedule);
		return rc;
	}
	schedule->clock = clock;
	schedule->count = appliance->load_count;
	for (uint32_t i = 0; i < schedule->count; i++) {
		struct load *load = &schedule->loads[i];
		load->config = &appliance->loads[i];
		load->schedule = schedule;
		load->report = -1;
		load->due_ns = clock_now_ns(clock);
		load->metrics = (struct metric_set){ .kind = "LOAD", .component = load->config->name, .metrics = load_metrics,
						     .count = sizeof load_metrics / sizeof *load_metrics, .counters = &load->figures };
		metrics_add(&load->metrics);
	}
	*out = schedule;
	return 0;
}

void
schedule_step(void *context)
{
	struct schedule *schedule = context;
	if (!schedule)
		return;
	uint64_t now = clock_now_ns(schedule->clock);
	for (uint32_t i = 0; i < schedule->count; i++) {
		struct load *load = &schedule->loads[i];
		int status;
		if (load->pid && waitpid(load->pid, &status, WNOHANG) == load->pid)
			load_ended(load, status);
		if (schedule->stopping || now < load->due_ns)
			continue;
		if (load->pid)
			counter_add(&load->figures.skipped, 1);
		else
			load_begin(load);
		while (load->due_ns <= now)
			load->due_ns += load->config->options.schedule_ns;
	}
}

void
schedule_stop(struct schedule *schedule)
{
	if (!schedule)
		return;
	schedule->stopping = true;
	for (uint32_t i = 0; i < schedule->count; i++)
		if (schedule->loads[i].pid)
			kill(schedule->loads[i].pid, SIGTERM);
}

bool
schedule_busy(const struct schedule *schedule)
{
	for (uint32_t i = 0; schedule && i < schedule->count; i++)
		if (schedule->loads[i].pid)
			return true;
	return false;
}

void
schedule_status(const struct schedule *schedule, json_t *answer)
{
	if (!schedule)
		return;
	uint64_t now = clock_now_ns(schedule->clock);
	json_t *list = json_array();
	for (uint32_t i = 0; i < schedule->count; i++) {
		const struct load *load = &schedule->loads[i];
		const char *state = load->pid ? schedule->stopping ? "stopping" : "running" : load->ended_once && load->status ? "failed" : "waiting";
		json_t *one = json_pack("{s:s, s:s, s:f, s:s, s:f}", "name", load->config->name, "conf", load->config->options.conf, "schedule_seconds",
			(double)load->config->options.schedule_ns / 1e9, "state", state, "next_in_seconds",
			load->due_ns > now ? (double)(load->due_ns - now) / 1e9 : 0.0);
		if (load->pid)
			json_object_set_new(one, "pid", json_integer(load->pid));
		if (load->pid || load->ended_once)
			json_object_set_new(one, "began", json_integer(load->began_s));
		if (load->ended_once) {
			json_object_set_new(one, "last_run", json_string(load->run));
			json_object_set_new(one, "last_status", json_integer(load->status));
			json_object_set_new(one, "last_failure", json_string(load->failure));
			json_object_set_new(one, "manifest", json_integer((json_int_t)load->manifest));
		}
		for (size_t m = 0; m < sizeof load_metrics / sizeof *load_metrics; m++) {
			char name[64];
			snprintf(name, sizeof name, "%s%s", load_metrics[m].name, strcmp(load_metrics[m].unit, "ns") == 0 ? "_ns" : "");
			json_object_set_new(one, name, json_integer((json_int_t)metric_value(&load->metrics, (uint32_t)m)));
		}
		json_array_append_new(list, one);
	}
	json_object_set_new(answer, "loads", list);
}

void
schedule_close(struct schedule *schedule)
{
	if (!schedule)
		return;
	for (uint32_t i = 0; i < schedule->count; i++) {
		struct load *load = &schedule->loads[i];
		if (load->pid) {
			log_warn("batch load %s: still at work at the stop deadline: ended; its next run finishes what it decided", load->config->name);
			kill(load->pid, SIGKILL);
			waitpid(load->pid, NULL, 0);
		}
		if (load->report >= 0)
			close(load->report);
		metrics_remove(&load->metrics);
	}
	free(schedule);
}
