/* sink_file_roll: events into files of a directory, a new one every rollInterval.
 *
 * What is not synced is not settled: spans pend until the next sync of the group they are in (penstock.sync). Their bodies are
 * written straight from the log's memory. After a failure the file is cut back to what is synced, the pending spans go back
 * to the channel, and a new file is opened. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "sinks/format/serializer.h"
#include "sinks/roll_state.h"
#include "sinks/sink.h"

#define PENDING_SPANS 512u
#define WRITE_BYTES (256u << 10)	/* so much is gathered before it is written... */
#define WRITE_NS (5 * NS_PER_MS)	/* ...or so long */

enum roll_sync { SYNC_ALWAYS, SYNC_INTERVAL, SYNC_OFF };
static const char *const sync_choices[] = { "always", "interval", "off", NULL };

struct roll_config {
	const char *directory;
	const char *path_manager, *prefix, *extension;
	uint64_t roll_interval_s;
	uint32_t batch_events;
	struct serializer_config serializer;
	uint32_t sync;			/* enum roll_sync */
	uint64_t sync_interval_ns;
	uint64_t sync_bytes;
};

struct roll_sink {
	struct sink_env *env;
	const struct roll_config *config;	/* control's; outlives the sink */
	const struct serializer_ops *serializer_ops;
	void *serializer;
	struct out *out;
	int directory_fd;
	bool roll_time;			/* names with the time of opening in front of the number */
	uint64_t series_ms;		/* DEFAULT: wall time of the start */
	char series[24];		/* text in front of the number */
	uint32_t number;		/* last used in the series */
	int fd;				/* of the open file; -1 none */
	bool failing;			/* the last file failed: only a delivery opens the next */
	char name[ROLL_NAME_BYTES + 1];
	struct roll_state state;
	uint64_t roll_at_ns;		/* UINT64_MAX never */
	uint64_t write_at_ns, sync_at_ns;	/* when what is gathered or written is due; UINT64_MAX: nothing is */
	struct span *pending[PENDING_SPANS];
	uint32_t pending_count;
	uint32_t released_count;		/* of them, the first: their bytes are the kernel's */
};

static const struct option roll_options[] = {
	{ "sink.directory", OPT_STRING, offsetof(struct roll_config, directory), .help = "Where the files go; must exist.", .flags = OPTION_REQUIRED },
	{ "sink.pathManager", OPT_STRING, offsetof(struct roll_config, path_manager), "DEFAULT",
		.help = "Names of files: DEFAULT (start of the sink) or ROLLTIME (opening of the file)." },
	{ "sink.pathManager.prefix", OPT_STRING, offsetof(struct roll_config, prefix), .help = "In front of each file name." },
	{ "sink.pathManager.extension", OPT_STRING, offsetof(struct roll_config, extension), .help = "Behind each file name, after a dot." },
	{ "sink.rollInterval", OPT_U64, offsetof(struct roll_config, roll_interval_s), "30", 0, INT32_MAX, "s",
		"Time to the next file; 0: one file for ever." },
	{ "sink.batchSize", OPT_U32, offsetof(struct roll_config, batch_events), "100", 1, 1000000, "events", "Events a transaction." },
	SERIALIZER_OPTIONS("sink.serializer", offsetof(struct roll_config, serializer)),
	{ "penstock.sync", OPT_CHOICE, offsetof(struct roll_config, sync), "interval",
		.help = "When files are synced: always (each transaction), interval, or off.", .choices = sync_choices },
	{ "penstock.syncInterval", OPT_U64, offsetof(struct roll_config, sync_interval_ns), "100ms",
		.help = "Longest time to the next sync; events are settled then.", .flags = OPTION_DURATION },
	{ "penstock.syncBytes", OPT_U64, offsetof(struct roll_config, sync_bytes), "4m", .help = "Most bytes to the next sync.", .flags = OPTION_SIZE },
	{ NULL },
};

static uint32_t
roll_batch_events(const void *config)
{
	return ((const struct roll_config *)config)->batch_events;
}

static const char *
text_or_empty(const char *text)
{
	return text ? text : "";
}

static int
roll_check(const void *config_, const char *name, struct err *err)
{
	const struct roll_config *config = config_;
	(void)name;
	const char *manager = config->path_manager;
	if (strcasecmp(manager, "DEFAULT") != 0 && strcasecmp(manager, "ROLLTIME") != 0 &&
	    strcmp(manager, "org.apache.flume.formatter.output.DefaultPathManager$Builder") != 0 &&
	    strcmp(manager, "org.apache.flume.formatter.output.RollTimePathManager$Builder") != 0)
		return err_set(err, EINVAL, "sink.pathManager \"%s\" is not known: use DEFAULT or ROLLTIME", manager);
	if (strlen(text_or_empty(config->prefix)) + strlen(text_or_empty(config->extension)) + 40 > 255)
		return err_set(err, EINVAL, "sink.pathManager.prefix and .extension are too long together: a file name has at most 255 bytes");
	if (strchr(text_or_empty(config->extension), '/'))
		return err_set(err, EINVAL, "sink.pathManager.extension \"%s\" contains a '/': give a plain word", config->extension);
	if (strchr(text_or_empty(config->prefix), '/'))
		return err_set(err, EINVAL, "sink.pathManager.prefix \"%s\" contains a '/': put the directory into sink.directory", config->prefix);
	return serializer_find(&config->serializer, err) ? 0 : -EINVAL;
}

/* What a killed run left behind its last sync was not settled and comes again: cut it. */
static int
torn_end_cut(struct roll_sink *sink, struct err *err)
{
	const struct roll_state *state = &sink->state;
	if (!state->name[0])
		return 0;
	int fd = openat(sink->directory_fd, state->name, O_WRONLY | O_CLOEXEC);
	if (fd < 0) {
		if (errno == ENOENT)
			return 0;	/* somebody took it away */
		return err_set(err, errno, "%s/%s: cannot be opened to cut its torn end: %s", sink->config->directory, state->name, strerror(errno));
	}
	struct stat stat;
	int rc = 0;
	if (fstat(fd, &stat)) {
		rc = err_set(err, errno, "%s/%s: %s", sink->config->directory, state->name, strerror(errno));
	} else if ((uint64_t)stat.st_size > state->length) {
		if (ftruncate(fd, (off_t)state->length) || fsync(fd))
			rc = err_set(err, errno, "%s/%s: the torn end cannot be cut: %s", sink->config->directory, state->name, strerror(errno));
		else
			log_warn("sink %s: cut %llu bytes that an earlier run had not settled off %s/%s; they come again", sink->env->name,
				 (unsigned long long)stat.st_size - (unsigned long long)state->length, sink->config->directory, state->name);
	} else if ((uint64_t)stat.st_size < state->length) {
		log_warn("sink %s: %s/%s has %llu bytes, %llu were synced: somebody changed it", sink->env->name, sink->config->directory, state->name,
			 (unsigned long long)stat.st_size, (unsigned long long)state->length);
	}
	close(fd);
	return rc;
}

static void
name_make(struct roll_sink *sink)
{
	const struct roll_config *config = sink->config;
	char series[sizeof sink->series];
	if (sink->roll_time) {
		time_t now_s = (time_t)(clock_wall_ns(sink->env->clock) / NS_PER_S);
		struct tm tm;
		localtime_r(&now_s, &tm);
		strftime(series, sizeof series, "%Y%m%d%H%M%S", &tm);
	} else {
		snprintf(series, sizeof series, "%llu", (unsigned long long)sink->series_ms);
	}
	if (strcmp(series, sink->series) != 0) {
		memcpy(sink->series, series, sizeof series);
		sink->number = 0;
	}
	const char *extension = text_or_empty(config->extension);
	snprintf(sink->name, sizeof sink->name, "%s%s-%u%s%s", text_or_empty(config->prefix), series, ++sink->number, extension[0] ? "." : "", extension);
}

static int
file_failed(struct roll_sink *sink, const char *what, int rc)
{
	static struct log_limit limit;
	log_limited(&limit, LOG_ERROR, "sink %s: %s/%s: cannot be %s: %s", sink->env->name, sink->config->directory, sink->name, what, strerror(-rc));
	counter_add(&sink->env->counters->connection_failed, 1);
	sink->failing = true;
	return rc;
}

static int
file_open(struct roll_sink *sink)
{
	do {
		name_make(sink);
		sink->fd = openat(sink->directory_fd, sink->name, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0644);
	} while (sink->fd < 0 && errno == EEXIST);
	if (sink->fd < 0)
		return file_failed(sink, "made", -errno);
	/* The state must know the file before a byte is in it. */
	bool sync = sink->config->sync != SYNC_OFF;
	int rc = sync && fsync(sink->directory_fd) ? -errno : 0;
	if (!rc)
		rc = roll_state_write(&sink->state, sink->name, 0, sync);
	out_reset(sink->out, sink->fd, 0);
	if (!rc)
		rc = sink->serializer_ops->begin(sink->serializer, sink->out);
	if (rc) {
		close(sink->fd);
		sink->fd = -1;
		(void)unlinkat(sink->directory_fd, sink->name, 0);	/* or a full disk gets one more at each try */
		return file_failed(sink, "begun", rc);
	}
	counter_add(&sink->env->counters->connection_created, 1);
	sink->failing = false;
	return 0;
}

static void
pending_end(struct roll_sink *sink, enum sink_result result)
{
	uint32_t count = sink->pending_count;
	sink->pending_count = sink->released_count = 0;
	for (uint32_t i = 0; i < count; i++)
		sink->env->done(sink->env, sink->pending[i], result);
}

/* The kernel has the bytes of all pending spans: the channel may have its memory back while they wait for the sync. */
static void
pending_release(struct roll_sink *sink)
{
	const struct channel_ops *channel = sink->env->channel;
	for (; channel->span_release && sink->released_count < sink->pending_count; sink->released_count++)
		channel->span_release(sink->pending[sink->released_count]->taker, sink->pending[sink->released_count]);
}

/* Back to what is synced; the next deliver opens another file. */
static void
file_give_up(struct roll_sink *sink, const char *what, int rc)
{
	file_failed(sink, what, rc);
	out_reset(sink->out, -1, 0);
	if (sink->fd >= 0) {
		uint64_t length = strcmp(sink->state.name, sink->name) == 0 ? sink->state.length : 0;
		if (ftruncate(sink->fd, (off_t)length))
			log_error("sink %s: %s/%s: cannot be cut back to its last %llu settled bytes: %s; some events may be in it twice", sink->env->name,
				  sink->config->directory, sink->name, (unsigned long long)length, strerror(errno));
		(void)fdatasync(sink->fd);
		if (!length)
			(void)unlinkat(sink->directory_fd, sink->name, 0);	/* likewise: nothing in it was settled */
		close(sink->fd);
		counter_add(&sink->env->counters->connection_closed, 1);
		sink->fd = -1;
	}
	sink->write_at_ns = sink->sync_at_ns = UINT64_MAX;
	pending_end(sink, SINK_FAILED);
}

/* Everything put so far goes to the kernel; with `settle` to the disk too, and the pending spans end. */
static int
file_write(struct roll_sink *sink, bool settle)
{
	const char *what = "written";
	int rc = settle ? sink->serializer_ops->flush(sink->serializer, sink->out) : 0;
	if (!rc)
		rc = out_flush(sink->out);
	sink->write_at_ns = UINT64_MAX;
	if (!rc && !settle)
		pending_release(sink);
	if (!rc && settle) {
		bool sync = sink->config->sync != SYNC_OFF;
		if (sync && fdatasync(sink->fd)) {
			rc = -errno;
			what = "synced";
		}
		if (!rc && sink->out->written != sink->state.length)
			rc = roll_state_write(&sink->state, sink->name, sink->out->written, sync);
		sink->sync_at_ns = UINT64_MAX;
	}
	if (rc) {
		file_give_up(sink, what, rc);
		return rc;
	}
	if (settle)
		pending_end(sink, SINK_DONE);
	return 0;
}

static void
file_close(struct roll_sink *sink)
{
	if (sink->fd < 0 || file_write(sink, true))
		return;
	if (close(sink->fd))
		file_failed(sink, "closed", -errno);
	else
		counter_add(&sink->env->counters->connection_closed, 1);
	sink->fd = -1;
}

static void
roll_free(struct roll_sink *sink)
{
	if (sink->serializer)
		sink->serializer_ops->close(sink->serializer);
	roll_state_close(&sink->state);
	if (sink->directory_fd >= 0)
		close(sink->directory_fd);
	out_free(sink->out);
	free(sink);
}

static int
roll_open(void **made, const void *config_, struct sink_env *env, struct err *err)
{
	const struct roll_config *config = config_;
	int rc = roll_check(config, env->name, err);
	if (rc)
		return rc;
	struct roll_sink *sink = calloc(1, sizeof *sink);
	if (!sink)
		return err_set(err, ENOMEM, "no memory for the sink");
	sink->env = env;
	sink->config = config;
	sink->fd = sink->directory_fd = sink->state.fd = -1;
	sink->write_at_ns = sink->sync_at_ns = UINT64_MAX;
	sink->series_ms = clock_wall_ns(env->clock) / NS_PER_MS;
	sink->roll_time = strcasecmp(config->path_manager, "ROLLTIME") == 0 || strstr(config->path_manager, "RollTimePathManager");
	sink->roll_at_ns = config->roll_interval_s ? clock_now_ns(env->clock) + config->roll_interval_s * NS_PER_S : UINT64_MAX;
	sink->serializer_ops = serializer_find(&config->serializer, err);
	sink->out = out_new();
	char state_name[300];
	if (!sink->out) {
		rc = err_set(err, ENOMEM, "no memory for the sink");
	} else if ((sink->directory_fd = open(config->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0) {
		rc = err_set(err, errno, "sink.directory \"%s\" cannot be used: %s; make it and give this user the right to write", config->directory,
			     strerror(errno));
	} else if (faccessat(sink->directory_fd, ".", W_OK | X_OK, AT_EACCESS)) {
		rc = err_set(err, errno, "sink.directory \"%s\" is not writable: %s; give this user the right to write", config->directory, strerror(errno));
	} else if ((size_t)snprintf(state_name, sizeof state_name, ".penstock-%s.state", env->name) >= 256) {
		rc = err_set(err, ENAMETOOLONG, "the sink's name is too long");
	} else if ((rc = roll_state_open(&sink->state, sink->directory_fd, state_name, err)) == 0 && (rc = torn_end_cut(sink, err)) == 0) {
		rc = sink->serializer_ops->open(&sink->serializer, &config->serializer, err);
	}
	if (rc) {
		roll_free(sink);
		return rc;
	}
	*made = sink;
	return 0;
}

static enum sink_result
roll_deliver(void *self, struct span *span)
{
	struct roll_sink *sink = self;
	if (sink->fd < 0 && file_open(sink))
		return SINK_FAILED;
	struct span_cursor cursor = { 0 };
	struct event_view event;
	int rc = 0;
	while (!rc && sink->env->channel->span_next(span, &cursor, &event))
		rc = sink->serializer_ops->write(sink->serializer, sink->out, &event);
	assert(sink->pending_count < PENDING_SPANS);
	sink->pending[sink->pending_count++] = span;
	if (rc) {
		file_give_up(sink, "written", rc);
		return SINK_PENDING;	/* reported already, with the others */
	}
	const struct roll_config *config = sink->config;
	uint64_t now_ns = clock_now_ns(sink->env->clock);
	if (sink->sync_at_ns == UINT64_MAX)
		sink->sync_at_ns = now_ns + config->sync_interval_ns;
	if (config->sync != SYNC_INTERVAL || sink->pending_count == PENDING_SPANS || now_ns >= sink->sync_at_ns ||
	    out_position(sink->out) - sink->state.length >= config->sync_bytes) {
		file_write(sink, true);
		return SINK_PENDING;
	}
	if (sink->out->waiting >= WRITE_BYTES) {
		file_write(sink, false);
	} else if (sink->write_at_ns == UINT64_MAX && sink->out->waiting) {
		sink->write_at_ns = now_ns + WRITE_NS;
	}
	return SINK_PENDING;
}

static uint64_t
roll_step(void *self, uint64_t now_ns)
{
	struct roll_sink *sink = self;
	if (now_ns >= sink->roll_at_ns) {
		file_close(sink);
		sink->roll_at_ns = now_ns + sink->config->roll_interval_s * NS_PER_S;
	}
	if (now_ns >= sink->sync_at_ns)
		file_write(sink, true);
	else if (now_ns >= sink->write_at_ns)
		file_write(sink, false);
	if (sink->fd < 0 && !sink->failing)
		(void)file_open(sink);	/* as Flume: a file an interval, with or without events */
	uint64_t due_ns = sink->roll_at_ns;
	if (sink->sync_at_ns < due_ns)
		due_ns = sink->sync_at_ns;
	if (sink->write_at_ns < due_ns)
		due_ns = sink->write_at_ns;
	return due_ns == UINT64_MAX ? UINT64_MAX : due_ns > now_ns ? due_ns - now_ns : 0;
}

static void
roll_finish(void *self, uint64_t deadline_ns)
{
	struct roll_sink *sink = self;
	(void)deadline_ns;	/* one write and one sync: there is no shorter way to end what pends */
	file_close(sink);
	pending_end(sink, SINK_FAILED);	/* none are left but after a failure */
}

static void
roll_close(void *self)
{
	struct roll_sink *sink = self;
	assert(sink->pending_count == 0);
	if (sink->fd >= 0)
		close(sink->fd);
	roll_free(sink);
}

const struct sink_ops sink_file_roll = {
	.name = "file_roll", .class_names = "org.apache.flume.sink.RollingFileSink",
	.help = "Writes events into files of a directory, a new one every rollInterval.",
	.options = roll_options, .config_size = sizeof(struct roll_config), .batch_events = roll_batch_events, .check = roll_check,
	.open = roll_open, .deliver = roll_deliver, .step = roll_step, .finish = roll_finish, .close = roll_close,
	.keeps = SINK_KEEPS_ATTEMPTS | SINK_KEEPS_SUCCESS, .pending_max = PENDING_SPANS,
};
