#include "camus/complete.h"
#include "camus/counts.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *
start_why_name(enum start_why why)
{
	static const char *const names[] = {
		[START_SAVED] = "goes on", [START_NEW] = "new", [START_LATEST] = "moved to the newest offset",
		[START_EARLIEST] = "saved offset out of range: moved to the oldest", [START_RECREATED] = "topic was made again: from its oldest record",
		[START_TRUNCATED] = "log was cut below the saved offset: from its end", [START_OUT_OF_RANGE] = "saved offset out of range",
		[START_CHANGED] = "records that were read have been replaced", [START_NO_LEADER] = "no leader",
	};
	return names[why];
}

struct part *
job_part(struct job *job, const char *topic, int32_t partition)
{
	/* newest first: setup and manifests come topic by topic, in order of partitions */
	for (size_t i = job->part_count; i-- > 0;)
		if (job->parts[i]->partition == partition && strcmp(job->parts[i]->topic, topic) == 0)
			return job->parts[i];
	if (job->part_count == job->part_room) {
		job->part_room = job->part_room ? job->part_room * 2 : 64;
		job->parts = realloc(job->parts, job->part_room * sizeof *job->parts);
		if (!job->parts)
			abort();	/* a few bytes per partition at start: nothing sensible can follow */
	}
	struct part *part = pool_get(&job->pool, sizeof *part);
	const char *last = job->part_count ? job->parts[job->part_count - 1]->topic : "";
	part->topic = strcmp(last, topic) == 0 ? last : pool_text(&job->pool, topic, strlen(topic));
	part->partition = partition;
	part->earliest = part->latest = -1;
	part->saved.last.offset = part->saved.first.offset = -1;
	part->saved.event_ms = INT64_MIN;
	return job->parts[job->part_count++] = part;
}

void
job_free(struct job *job)
{
	for (size_t i = 0; i < job->file_count; i++) {
		free(job->files[i].temporary);
		free(job->files[i].final);
	}
	for (size_t i = 0; i < job->error_count; i++) {
		free(job->errors[i].words);
		free(job->errors[i].key);
		free(job->errors[i].value);
	}
	for (size_t i = 0; i < job->part_count; i++)
		counts_free(job->parts[i]);
	complete_free(job->complete);
	json_decref(job->swaps);
	free(job->files);
	free(job->errors);
	free(job->parts);
	pool_free(&job->pool);
}

static volatile sig_atomic_t stop_asked;

static void
stop_take(int number)
{
	(void)number;
	stop_asked = 1;
}

void
job_stop_on_signals(void)
{
	struct sigaction action = { .sa_handler = stop_take, .sa_flags = (int)SA_RESETHAND | SA_RESTART };
	sigemptyset(&action.sa_mask);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
}

void
job_stop_ask(void)
{
	stop_asked = 1;
}

bool
job_stop_asked(void)
{
	return stop_asked;
}

/* The variables do not change while the program runs, and points are passed at every poll. */
static struct named_point {
	const char *variable;
	int signal;
	const char *at;		/* NULL: not asked for */
	_Atomic int passed;
} points[] = { { .variable = "PENSTOCK_CAMUS_KILL_AT", .signal = SIGKILL }, { .variable = "PENSTOCK_CAMUS_HOLD_AT", .signal = SIGSTOP } };

static void
points_read(void)
{
	for (size_t i = 0; i < sizeof points / sizeof *points; i++)
		points[i].at = getenv(points[i].variable);
}

void
kill_point(const char *name)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, points_read);
	for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
		struct named_point *p = &points[i];
		size_t len = strlen(name);
		if (!p->at || strncmp(p->at, name, len) != 0 || (p->at[len] && p->at[len] != ':'))
			continue;
		long turn = p->at[len] ? strtol(p->at + len + 1, NULL, 10) : 1;
		if (atomic_fetch_add(&p->passed, 1) + 1 == turn)
			kill(getpid(), p->signal);
	}
}

json_t *
words_json(const char *words)
{
	json_t *text = json_string(words);
	if (text)
		return text;
	char *plain = strdup(words);
	if (!plain)
		abort();	/* a line of text: nothing sensible can follow */
	for (char *p = plain; *p; p++)
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	text = json_string(plain);
	free(plain);
	return text;
}
