/* One file of the hdfs sink from its first event to its final name: its bytes wait in memory, go out in one or several requests, the
 * file is renamed; a file that fails gives its events back. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "sinks/sink_hdfs.h"
#include "sinks/sink_hdfs_ledger.h"

#define REQUEST_BYTES (1u << 20)	/* a request is opened when so much waits */
#define SETTLE_BYTES (64u << 20)	/* at least once: a request is ended when so much went into it */
#define REQUEST_IDLE_NS (20 * NS_PER_S)	/* a request without a byte for so long is ended, the file goes on by append */
#define PACE_MAX_NS (30 * NS_PER_S)
#define LATE_LOOKS 3u			/* looks after the first for a file that may be made late */
#define LATE_NS (2 * NS_PER_S)		/* 2, 8, 32 s apart */
#define REPLICA_TRIES 5u		/* looks, 1, 2, 4, 8, 16 s apart */

const char *const file_state_names[] = {
	[FILE_OPEN] = "open", [FILE_NOTE] = "noting", [FILE_REPLICAS] = "replicating", [FILE_STAT] = "checking", [FILE_INTENT] = "intent", [FILE_PUBLISH] = "renaming",
	[FILE_RESOLVE] = "resolving", [FILE_REMOVE] = "removing",
};

static void
bytes_counted(struct hdfs_file *file)
{
	struct hdfs_sink *sink = file->sink;
	sink->memory += file->waiting.memory + file->flight.memory - file->waiting_memory - file->flight_memory;
	file->waiting_memory = file->waiting.memory;
	file->flight_memory = file->flight.memory;
}

static void
settle_due(struct hdfs_file *file, uint64_t now_ns)
{
	struct hdfs_sink *sink = file->sink;
	uint64_t after_ns = sink->config->settle_ns;
	if (after_ns < 10 * sink->end_cost_ns)
		after_ns = 10 * sink->end_cost_ns;
	if (!sink->exactly_once && file->settle_at_ns == UINT64_MAX)
		file->settle_at_ns = now_ns + after_ns;
}

/* The request that runs may still get more. */
static bool
flight_open(const struct hdfs_file *file)
{
	return file->request && !file->request_ending;
}

void
file_out_end(struct hdfs_sink *sink)
{
	struct hdfs_file *file = sink->out_file;
	if (!file)
		return;
	sink->out_file = NULL;
	int rc = out_flush(sink->out);
	sink->open_bytes += sink->out->written - file->encoded;
	file->encoded = sink->out->written;
	bytes_counted(file);
	if (rc)
		file_fail(file, FS_FAILED, strerror(-rc));
}

static struct out *
out_begin(struct hdfs_file *file)
{
	struct hdfs_sink *sink = file->sink;
	if (sink->out_file != file) {
		file_out_end(sink);
		out_reset_chunks(sink->out, flight_open(file) ? &file->flight : &file->waiting, file->encoded);
		sink->out_file = file;
	}
	return sink->out;
}

struct hdfs_file *
file_open(struct hdfs_sink *sink, struct bucket *bucket)
{
	const struct hdfs_config *config = sink->config;
	struct hdfs_file *file = calloc(1, sizeof *file);
	uint64_t now_ns = clock_now_ns(sink->env->clock);
	if (!file)
		return NULL;
	file->sink = sink;
	file->bucket = bucket;
	file->opened_ns = file->last_event_ns = now_ns;
	file->settle_at_ns = UINT64_MAX;
	file->retry_ns = bucket->retry_ns;
	file->format = format_new(config, NULL);
	file->path = strdup(bucket->path);
	file->prefix = strdup(bucket->prefix);
	size_t room = FS_PATH_BYTES;
	char *in_use = malloc(room), *final = malloc(room);
	int n = 0, m = 0;
	const char *path = bucket->path, *slash = path[0] && path[strlen(path) - 1] == '/' ? "" : "/";
	bucket->counter++;
	if (in_use && final) {
		char stem[300];
		if (sink->exactly_once) {
			file->number = ledger_file_number(sink->ledger);
			snprintf(stem, sizeof stem, "%s.%s", sink->env->name, ledger_file_stem(sink->ledger));
			n = snprintf(in_use, room, "%s%s%s%s.%s-%llu%s%s", path, slash, config->in_use_prefix ? config->in_use_prefix : "", bucket->prefix,
				     stem, (unsigned long long)file->number, sink->suffix, sink->in_use_suffix);
			final[0] = '\0';	/* has the first and last event in it */
		} else {
			n = snprintf(in_use, room, "%s%s%s%s.%llu%s%s", path, slash, config->in_use_prefix ? config->in_use_prefix : "", bucket->prefix,
				     (unsigned long long)bucket->counter, sink->suffix, sink->in_use_suffix);
			m = snprintf(final, room, "%s%s%s.%llu%s", path, slash, bucket->prefix, (unsigned long long)bucket->counter, sink->suffix);
		}
	}
	if (!in_use || !final || !file->path || !file->prefix || !file->format || n >= (int)room || m >= (int)room) {
		format_free(file->format);
		free(file->path);
		free(file->prefix);
		free(in_use);
		free(final);
		free(file);
		return NULL;
	}
	file->in_use = realloc(in_use, (size_t)n + 1);
	file->final = realloc(final, m ? (size_t)m + 1 : 1);
	file->next = sink->files;
	file->link = &sink->files;
	if (file->next)
		file->next->link = &file->next;
	sink->files = file;
	identity_folder(file);
	bucket->file = file;
	sink->open_files++;
	if (format_begin(file->format, out_begin(file)))
		file_fail(file, FS_FAILED, "the file cannot be begun");
	return bucket->file;
}

void
file_free(struct hdfs_file *file)
{
	struct hdfs_sink *sink = file->sink;
	if (sink->out_file == file)
		sink->out_file = NULL;
	if (file->request) {
		fs_file_cancel(sink->fs, file->request);
		sink->requests--;
	}
	if (file->call)
		fs_cancel(sink->fs, file->call);
	if (file->publish)
		publish_cancel(file->publish);
	if (file->bucket) {
		file->bucket->file = NULL;
		sink->open_files--;
	}
	chunks_free(&file->waiting);
	chunks_free(&file->flight);
	bytes_counted(file);
	run_set_free(&file->waiting_set);
	run_set_free(&file->flight_set);
	run_set_free(&file->set);
	format_free(file->format);
	*file->link = file->next;
	if (file->next)
		file->next->link = file->link;
	sink->open_bytes -= file->encoded;
	free(file->in_use);
	free(file->final);
	free(file->path);
	free(file->prefix);
	free(file);
}

int
file_put(struct hdfs_file *file, const struct event_view *event, uint64_t now_ns, int64_t now_ms)
{
	int rc = format_event(file->format, out_begin(file), event, now_ms);
	if (!rc)
		rc = run_set_add(flight_open(file) ? &file->flight_set : &file->waiting_set, event->number);
	if (rc)
		return rc;
	file->events++;
	file->body_bytes += event->body_len;
	file->last_event_ns = now_ns;
	file->sink->open_events++;
	if (file->settle_at_ns == UINT64_MAX)
		settle_due(file, now_ns);
	return 0;
}

/* The bucket's next event opens another file. */
static void
file_detach(struct hdfs_file *file)
{
	if (!file->bucket)
		return;
	file->bucket->file = NULL;
	file->bucket = NULL;
	file->sink->open_files--;
}

void
file_close(struct hdfs_file *file)
{
	if (file->closing)
		return;
	file->closing = true;
	file_detach(file);
	if (file->failed)
		return;
	int rc = format_end(file->format, out_begin(file));
	file_out_end(file->sink);
	file->ended = true;
	if (rc)
		file_fail(file, FS_FAILED, "the file cannot be ended");
}

/* Back-off of the bucket's next file: where the trouble is, nobody else waits. */
static void
bucket_pause(struct hdfs_file *file, uint64_t now_ns)
{
	struct bucket *bucket = file->bucket ? file->bucket : bucket_get(file->sink, file->path, file->prefix);
	if (!bucket)
		return;
	uint64_t pause_ns = NS_PER_S << (bucket->failures < 5 ? bucket->failures : 5);
	bucket->failures++;
	bucket->retry_ns = now_ns + (pause_ns < PACE_MAX_NS ? pause_ns : PACE_MAX_NS);
}

void
file_fail(struct hdfs_file *file, enum fs_class why, const char *text)
{
	struct hdfs_sink *sink = file->sink;
	static struct log_limit limit;
	uint64_t now_ns = clock_now_ns(sink->env->clock);
	if (file->failed)
		return;
	file->failed = true;
	file->why = why;
	/* A DataNode that was not waited for any longer may make it later, when it has been removed. */
	file->late = !file->made && !file->intended && !file->nothing && (file->request || why == FS_UNKNOWN);
	if (sink->out_file == file) {
		sink->out_file = NULL;
		out_reset(sink->out, -1, 0);
	}
	log_limited(&limit, LOG_ERROR, "sink %s: %s%s: %s: %s; its %llu unsettled events are offered again", sink->env->name, sink->fs->service, file->in_use,
		    fs_class_name(why), text, (unsigned long long)(file->waiting_set.events + file->flight_set.events + file->set.events));
	counter_add(&sink->env->counters->connection_failed, 1);
	counter_add(&sink->counters.files_failed, 1);
	bucket_pause(file, now_ns);
	file_detach(file);
	if (file->request) {
		fs_file_cancel(sink->fs, file->request);
		file->request = NULL;
		sink->requests--;
	}
	file->closing = true;
	file->retry_ns = 0;
	file->tries = 0;
	chunks_free(&file->waiting);
	chunks_free(&file->flight);
	bytes_counted(file);
	format_free(file->format);	/* a codec's memory: it may be long until the file can be removed */
	file->format = NULL;
	if (file->intended) {
		file->state = FILE_REMOVE;	/* first it is proved that nothing was ever visible */
		return;
	}
	spans_end(sink, &file->waiting_set, false);
	spans_end(sink, &file->flight_set, false);
	spans_end(sink, &file->set, false);
	/* What was settled in it is published; a name that another file had before is not ours to remove. */
	if (file->made && !sink->exactly_once)
		file->state = FILE_PUBLISH;
	else if (file->nothing || (why == FS_EXISTS && !sink->exactly_once))
		file->state = FILE_RESOLVE;	/* nothing of it is anywhere */
	else
		file->state = FILE_REMOVE;
}

/* ---- requests ---- */

static void
request_ended(void *context, const struct fs_answer *answer)
{
	struct hdfs_file *file = context;
	struct hdfs_sink *sink = file->sink;
	uint64_t now_ns = clock_now_ns(sink->env->clock);
	file->request = NULL;
	sink->requests--;
	if (answer->class != FS_OK) {
		/* Erasure coding, or dfs.support.append off: then a file is one request. */
		if (file->made && (answer->class == FS_INVALID || strcmp(answer->exception, "UnsupportedOperationException") == 0) && !sink->no_append) {
			log_warn("sink %s: %s takes no append (%s): files end early where a request has to end", sink->env->name, file->in_use, answer->text);
			sink->no_append = true;
		}
		file->nothing = !file->made && answer->untouched;
		file->refused = !file->made && answer->class == FS_DENIED && answer->exception[0];
		file_fail(file, answer->class, answer->text);
		return;
	}
	if (!file->made)
		counter_add(&sink->env->counters->connection_created, 1);
	file->made = true;
	struct bucket *bucket = file->bucket ? file->bucket : bucket_find(sink, file->path, file->prefix);
	if (bucket)
		bucket->failures = 0;
	uint64_t cost_ns = now_ns - file->ending_ns;
	sink->end_cost_ns = sink->end_cost_ns ? (sink->end_cost_ns * 7 + cost_ns) / 8 : cost_ns;
	bytes_counted(file);
	if (!sink->exactly_once) {
		spans_end(sink, &file->flight_set, true);
		file->settle_at_ns = UINT64_MAX;
		if (file->waiting_set.events)
			settle_due(file, now_ns);
	} else if (run_set_join(&file->set, &file->flight_set)) {
		file_fail(file, FS_FAILED, "no memory");
	}
}

static void
request_begin(struct hdfs_file *file, uint64_t now_ns)
{
	struct hdfs_sink *sink = file->sink;
	assert(!file->flight.bytes && !file->flight_set.events);
	chunks_free(&file->flight);
	file->flight = file->waiting;
	file->waiting = (struct chunks){ 0 };
	struct run_set empty = file->flight_set;
	file->flight_set = file->waiting_set;
	file->waiting_set = empty;
	bytes_counted(file);
	file->request = fs_file_begin(sink->fs, &(struct fs_write){ .path = file->in_use, .append = file->made, .whole = file->ended, .sync_block = sink->config->sync_block,
		.bytes = &file->flight, .done = request_ended, .context = file });
	if (!file->request) {
		file_fail(file, FS_FAILED, "no memory for a request");
		return;
	}
	sink->requests++;
	counter_add(&sink->counters.appends, file->made);
	file->request_from = file->encoded - file->flight.bytes;
	file->request_ns = now_ns;
	file->request_ending = false;
}

static void
request_end(struct hdfs_file *file, uint64_t now_ns)
{
	file->request_ending = true;
	file->ending_ns = now_ns;
	fs_file_end(file->sink->fs, file->request);
}

/* ---- the way to the final name ---- */

uint64_t
file_pace_ns(const struct hdfs_file *file)
{
	uint64_t pace_ns = NS_PER_S << (file->tries < 5 ? file->tries : 5);
	uint64_t most_ns = file->sink->config->retry_s > 0 ? (uint64_t)file->sink->config->retry_s * NS_PER_S : PACE_MAX_NS;
	if (most_ns > PACE_MAX_NS)
		most_ns = PACE_MAX_NS;
	return pace_ns < most_ns ? pace_ns : most_ns;
}

static void
later(struct hdfs_file *file, const char *what, const char *text)
{
	struct hdfs_sink *sink = file->sink;
	static struct log_limit limit;
	file->retry_ns = clock_now_ns(sink->env->clock) + file_pace_ns(file);
	file->tries++;
	counter_add(&sink->counters.files_retried, 1);
	log_limited(&limit, LOG_WARN, "sink %s: %s cannot be %s now (%s); it is tried again", sink->env->name, file->in_use, what, text);
	if (sink->config->close_tries > 0 && file->tries == (uint64_t)sink->config->close_tries)
		log_warn("sink %s: %s: hdfs.closeTries (%lld) are used up; it is tried on, as nothing is given up", sink->env->name, file->in_use,
			 (long long)sink->config->close_tries);
}

static void
published(void *context, enum publish_result result, enum fs_class class, const char *text)
{
	struct hdfs_file *file = context;
	struct hdfs_sink *sink = file->sink;
	(void)class;
	file->publish = NULL;
	switch (result) {
	case PUBLISH_DONE:
		counter_add(&sink->counters.files_closed, 1);
		counter_add(&sink->env->counters->connection_closed, 1);
		file->state = FILE_RESOLVE;
		return;
	case PUBLISH_TAKEN: {
		char *other = malloc(strlen(file->final) + 32);
		log_warn("sink %s: another file has the name %s already; this one gets a number behind it", sink->env->name, file->final);
		if (other) {
			snprintf(other, strlen(file->final) + 32, "%s-%llu", file->final, (unsigned long long)(clock_wall_ns(sink->env->clock) / NS_PER_MS));
			free(file->final);
			file->final = other;
		}
		later(file, "renamed", text);
		if (sink->exactly_once)
			file->state = FILE_STAT;	/* INTENT with the new name */
		return;
	}
	case PUBLISH_GONE:
		if (sink->exactly_once) {
			ledger_in_doubt(file);
			return;
		}
		log_warn("sink %s: %s is gone before its rename: %s", sink->env->name, file->in_use, text);
		file->state = FILE_RESOLVE;
		return;
	case PUBLISH_LATER:
		later(file, "renamed", text);
		return;
	}
}

uint64_t
file_late_ns(uint32_t looks)
{
	return looks < LATE_LOOKS ? LATE_NS << 2 * looks : 0;
}

bool
file_waits_late(const struct hdfs_file *file)
{
	return file->late && file->looks;
}

static void
removed(void *context, const struct fs_answer *answer)
{
	struct hdfs_file *file = context;
	file->call = NULL;
	/* Where nothing may be made nothing may be removed either, as long as that lasts: each new try would leave one more file to be asked about. */
	bool refused = file->refused && !file->intended && answer->class == FS_DENIED && answer->exception[0];
	if (answer->class != FS_OK && answer->class != FS_MISSING && answer->class != FS_INVALID && !refused) {
		later(file, "removed", answer->text);
		return;
	}
	file->tries = 0;
	file->retry_ns = 0;
	uint64_t pause_ns = file->late && !(answer->class == FS_OK && answer->yes) ? file_late_ns(file->looks) : 0;
	if (pause_ns) {
		file->looks++;
		file->retry_ns = clock_now_ns(file->sink->env->clock) + pause_ns;
		return;
	}
	if (file->sink->ledger)
		ledger_file_removed(file);
	else
		file->state = FILE_RESOLVE;
}

static void
replicas_seen(void *context, const struct fs_answer *answer)
{
	struct hdfs_file *file = context;
	struct hdfs_sink *sink = file->sink;
	uint32_t wanted = sink->config->min_replicas;
	static struct log_limit limit;
	bool few = answer->class == FS_OK && answer->replicas < wanted;
	bool later = answer->class == FS_BUSY || answer->class == FS_UNKNOWN || answer->class == FS_LOGIN;
	file->call = NULL;
	if (later || (few && file->tries < REPLICA_TRIES)) {
		file->retry_ns = clock_now_ns(sink->env->clock) + file_pace_ns(file);
		file->tries++;
		return;
	}
	if (few) {
		counter_add(&sink->counters.under_replicated, 1);
		log_limited(&limit, LOG_WARN, "sink %s: %s has a block with %u of %u replicas (hdfs.minBlockReplicas); it gets its final name all the same",
			    sink->env->name, file->in_use, answer->replicas, wanted);
	} else if (answer->class != FS_OK) {
		log_limited(&limit, LOG_WARN, "sink %s: the replicas of %s cannot be looked at: %s", sink->env->name, file->in_use, answer->text);
	}
	file->tries = 0;
	file->retry_ns = 0;
	file->state = sink->exactly_once ? FILE_STAT : FILE_PUBLISH;
}

static uint64_t
open_step(struct hdfs_file *file, uint64_t now_ns)
{
	struct hdfs_sink *sink = file->sink;
	const struct hdfs_config *config = sink->config;
	uint64_t due_ns = UINT64_MAX;
	if (!file->closing) {
		uint64_t roll_ns = config->roll_interval_s ? file->opened_ns + config->roll_interval_s * NS_PER_S : UINT64_MAX;
		uint64_t idle_ns = config->idle_s ? file->last_event_ns + config->idle_s * NS_PER_S : UINT64_MAX;
		due_ns = roll_ns < idle_ns ? roll_ns : idle_ns;
		if (now_ns >= due_ns) {
			struct bucket *bucket = file->bucket;
			file_close(file);
			bucket_drop(sink, bucket);
			if (file->failed)
				return 0;
			due_ns = UINT64_MAX;
		}
	}
	if (file->request) {
		uint64_t moved_ns = fs_file_moved_ns(sink->fs, file->request);
		bool idle = !file->flight.bytes && now_ns > moved_ns;
		bool due = !sink->exactly_once && (now_ns >= file->settle_at_ns || now_ns - file->request_ns > REQUEST_IDLE_NS || file->encoded - file->request_from >= SETTLE_BYTES);
		bool give_way = idle && ((sink->wanting && now_ns - moved_ns > 50 * NS_PER_MS) || now_ns - moved_ns > REQUEST_IDLE_NS);
		if (file->request_ending)
			return due_ns;
		if (due && !file->closing) {
			int rc = format_flush(file->format, out_begin(file));
			file_out_end(sink);
			if (rc || file->failed) {
				file_fail(file, FS_FAILED, "the file cannot be written");
				return 0;
			}
		}
		if (file->flight.bytes)
			fs_file_more(sink->fs, file->request);
		if (sink->no_append && !file->closing && (due || give_way)) {
			struct bucket *bucket = file->bucket;
			file_close(file);
			bucket_drop(sink, bucket);
			if (file->failed)
				return 0;
			if (file->flight.bytes)
				fs_file_more(sink->fs, file->request);
		}
		if (file->closing || due || give_way)
			request_end(file, now_ns);
		bytes_counted(file);
		if (file->settle_at_ns < due_ns)
			due_ns = file->settle_at_ns;
		return due_ns <= now_ns ? 0 : due_ns - now_ns;
	}
	if (file->closing && file->made && !file->waiting.bytes) {
		file->state = config->min_replicas > 1 && sink->fs->service[0] ? FILE_REPLICAS : sink->exactly_once ? FILE_STAT : FILE_PUBLISH;
		return 0;
	}
	bool due = !sink->exactly_once && now_ns >= file->settle_at_ns;
	bool pressure = sink->memory > config->memory_bytes / 2 && file->waiting.memory >= config->memory_bytes / 2 / (sink->open_files + 1);
	bool wants = file->closing || due || pressure || file->waiting.bytes >= REQUEST_BYTES;
	if (wants && now_ns < file->retry_ns) {
		due_ns = file->retry_ns < due_ns ? file->retry_ns : due_ns;
	} else if (wants && sink->ledger && !file->noted) {
		ledger_file_note(file);
		return 0;
	} else if (wants && sink->requests >= sink->requests_max) {
		sink->wanting++;
		return 5 * NS_PER_MS;
	} else if (wants && sink->no_append && !file->closing && (due || file->waiting.bytes < REQUEST_BYTES)) {
		struct bucket *bucket = file->bucket;
		file_close(file);
		bucket_drop(sink, bucket);
		return 0;
	} else if (wants) {
		if (due && !file->closing) {
			int rc = format_flush(file->format, out_begin(file));
			file_out_end(sink);
			if (rc || file->failed) {
				file_fail(file, FS_FAILED, "the file cannot be written");
				return 0;
			}
		}
		request_begin(file, now_ns);
		bool pressed = pressure && file->request_from + REQUEST_BYTES > file->encoded;
		if (file->request && (due || file->closing || pressed))
			request_end(file, now_ns);
		return 0;
	}
	if (file->settle_at_ns < due_ns)
		due_ns = file->settle_at_ns;
	return due_ns == UINT64_MAX ? due_ns : due_ns <= now_ns ? 0 : due_ns - now_ns;
}

uint64_t
file_step(struct hdfs_file *file, uint64_t now_ns)
{
	struct hdfs_sink *sink = file->sink;
	if (file->state == FILE_OPEN)
		return open_step(file, now_ns);
	if (file->call || file->publish)
		return UINT64_MAX;
	if (now_ns < file->retry_ns)
		return file->retry_ns - now_ns;
	switch (file->state) {
	case FILE_PUBLISH:
		if (strcmp(file->in_use, file->final) == 0) {
			counter_add(&sink->counters.files_closed, 1);
			counter_add(&sink->env->counters->connection_closed, 1);
			file->state = FILE_RESOLVE;
			return 0;
		}
		file->publish = publish_begin(sink->fs, file->in_use, file->final, file->file_id, sink->exactly_once ? file->encoded : PUBLISH_ANY_LENGTH,
					      file->intended && file->tries, published, file);
		return 0;
	case FILE_REPLICAS:
		file->call = fs_begin(sink->fs, &(struct fs_request){ .op = FS_REPLICAS, .path = file->in_use, .done = replicas_seen, .context = file });
		return 0;
	case FILE_REMOVE:
		file->call = fs_begin(sink->fs, &(struct fs_request){ .op = FS_DELETE, .path = file->in_use, .done = removed, .context = file });
		return 0;
	case FILE_RESOLVE:
		if (sink->ledger)
			return ledger_file_resolve(file);
		file_free(file);
		return 0;
	default:
		return ledger_file_step(file, now_ns);
	}
}
