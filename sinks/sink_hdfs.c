/* sink_hdfs: events into files of a file system (HDFS over WebHDFS, or this machine's), by path escapes, rolled by time, size and count. */
#include "sinks/sink_hdfs.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/log.h"
#include "sinks/hdfs/hadoop_conf.h"
#include "sinks/sink_hdfs_ledger.h"

#define TICK_NS (5 * NS_PER_MS)
#define STOP_NS (5 * NS_PER_S)		/* between two looks at an event no path can be made for */
#define LONE_BYTES (8u << 20)		/* waiting bytes of the only open file */
#define RETRY_NS (120 * NS_PER_S)	/* an operation that is met by "not now" goes on so long */

static const char *const type_choices[] = { "SequenceFile", "DataStream", "CompressedStream", NULL };
static const char *const delivery_choices[] = { "auto", "at_least_once", "exactly_once", NULL };
static const char *const in_doubt_choices[] = { "redeliver", "assume", NULL };

#define AT(field) offsetof(struct hdfs_config, field)
static const struct option hdfs_options[] = {
	{ "hdfs.path", OPT_STRING, AT(path), .help = "Directory of the files, with escapes: hdfs://, webhdfs://, swebhdfs://, file:/// or a path.",
		.flags = OPTION_REQUIRED },
	{ "hdfs.filePrefix", OPT_STRING, AT(file_prefix), "FlumeData", .help = "Begin of each file name, with escapes." },
	{ "hdfs.fileSuffix", OPT_STRING, AT(file_suffix), .help = "End of each file name, with its dot." },
	{ "hdfs.inUsePrefix", OPT_STRING, AT(in_use_prefix), .help = "In front of a file's name while it is open." },
	{ "hdfs.inUseSuffix", OPT_STRING, AT(in_use_suffix), ".tmp", .help = "Behind a file's name while it is open." },
	{ "hdfs.emptyInUseSuffix", OPT_BOOL, AT(empty_in_use_suffix), "false", .help = "No inUseSuffix." },
	{ "hdfs.rollInterval", OPT_U64, AT(roll_interval_s), "30", 0, INT32_MAX, "s", "Age at which a file is closed; 0: never." },
	{ "hdfs.rollSize", OPT_U64, AT(roll_bytes), "1024", 0, INT64_MAX, "bytes", "Bytes of event bodies at which a file is closed; 0: never." },
	{ "hdfs.rollCount", OPT_U64, AT(roll_events), "10", 0, INT64_MAX, "events", "Events at which a file is closed; 0: never." },
	{ "hdfs.idleTimeout", OPT_U64, AT(idle_s), "0", 0, INT32_MAX, "s", "A file without an event for so long is closed; 0: never." },
	{ "hdfs.batchSize", OPT_U32, AT(batch_events), "100", 1, 1000000, "events", "Events a transaction." },
	{ "hdfs.codeC", OPT_STRING, AT(codec), .help = "Compression: gzip, bzip2, snappy, lz4, zstd, deflate, or Hadoop's class name." },
	{ "hdfs.fileType", OPT_CHOICE, AT(file_type), "SequenceFile", .help = "SequenceFile, DataStream or CompressedStream.", .choices = type_choices },
	{ "hdfs.maxOpenFiles", OPT_U32, AT(max_open_files), "5000", 1, 1000000, "files", "Open files; above, the least recently used one is closed." },
	{ "hdfs.minBlockReplicas", OPT_U32, AT(min_replicas), "0", 0, 512, "replicas",
		"Replicas each block of a closed file should have before its rename; waited for half a minute at most. 0, 1: not looked at." },
	{ "hdfs.writeFormat", OPT_STRING, AT(write_format), "Writable", .help = "SequenceFile values: Writable (bytes) or Text." },
	{ "hdfs.threadsPoolSize", OPT_U32, AT(threads), "10", 1, 1000, NULL, "A fourth of the requests that may be open at a time (there are no threads)." },
	{ "hdfs.rollTimerPoolSize", OPT_U32, .flags = OPTION_NO_MEANING, .help = "Threads of timers.", .note = "timers need no threads here" },
	{ "hdfs.kerberosPrincipal", OPT_STRING, AT(principal), .help = "Kerberos principal; _HOST stands for this machine's name." },
	{ "hdfs.kerberosKeytab", OPT_STRING, AT(keytab), .help = "Its keytab." },
	{ "hdfs.proxyUser", OPT_STRING, AT(proxy_user), .help = "User on whose behalf files are written." },
	{ "hdfs.round", OPT_BOOL, AT(round), "false", .help = "The timestamp is rounded down for the escapes." },
	{ "hdfs.roundValue", OPT_U32, AT(round_value), "1", 1, 60, NULL, "To a multiple of this." },
	{ "hdfs.roundUnit", OPT_STRING, AT(round_unit), "second", .help = "second, minute or hour." },
	{ "hdfs.timeZone", OPT_STRING, AT(time_zone), .help = "Time zone of the escapes (America/New_York); unset: this machine's." },
	{ "hdfs.useLocalTimeStamp", OPT_BOOL, AT(use_local_time), "false", .help = "Escapes show this machine's time, not the timestamp header's." },
	{ "hdfs.closeTries", OPT_I64, AT(close_tries), "0", .help = "Tries to rename after which a warning is logged; nothing is given up." },
	{ "hdfs.retryInterval", OPT_I64, AT(retry_s), "180", .unit = "s", .help = "Longest pause between two tries to rename (at most 30 s are waited)." },
	{ "hdfs.callTimeout", OPT_U64, AT(call_ms), "30000", 0, INT32_MAX, "ms", "A call without any progress for so long has failed; 0: 60 s." },
	{ "hdfs.useRawLocalFileSystem", OPT_BOOL, .flags = OPTION_NO_MEANING, .help = "Without checksum files.",
		.note = "file:/// never has checksum files here" },
	SERIALIZER_OPTIONS("serializer", AT(serializer)),
	{ "hdfs.writeFormat.", OPT_FAMILY, .flags = OPTION_REFUSED, .help = "Options of a custom write format.", .note = "use Writable or Text" },
	{ "penstock.delivery", OPT_CHOICE, AT(delivery), "auto",
		.help = "at_least_once (Flume's file names), exactly_once (by the channel's ledger), or auto: exactly_once on channels that keep it.",
		.choices = delivery_choices },
	{ "penstock.hdfs.in_doubt", OPT_CHOICE, AT(in_doubt), "redeliver",
		.help = "exactly_once: a file that is gone before its rename was recorded: redeliver its events, or assume it was consumed.",
		.choices = in_doubt_choices },
	{ "penstock.hdfs.memory", OPT_U64, AT(memory_bytes), "256m", .flags = OPTION_SIZE,
		.help = "Memory for encoded bytes of open files; beyond it nothing is taken until some went out. One take may go over it." },
	{ "penstock.hdfs.settle_interval", OPT_U64, AT(settle_ns), "1s",
		.help = "at_least_once: longest time to the end of a request, when its events are settled.", .flags = OPTION_DURATION },
	{ "penstock.hdfs.http_address", OPT_STRING, AT(http_address), .help = "host:port of the NameNodes' HTTP (or of HttpFS), comma separated." },
	{ "penstock.hdfs.conf", OPT_STRING, AT(conf_dir), .help = "Directory of core-site.xml and hdfs-site.xml; unset: HADOOP_CONF_DIR, /etc/hadoop/conf." },
	{ "penstock.hdfs.user", OPT_STRING, AT(user), .help = "User without Kerberos; unset: HADOOP_USER_NAME, else this process's." },
	{ "penstock.hdfs.ca_file", OPT_STRING, AT(ca_file), .help = "Certificates to trust for TLS (PEM); unset: the system's." },
	{ "penstock.hdfs.calls_per_second", OPT_U32, AT(calls_per_s), "0", 0, 100000, "calls/s", "Limit on NameNode calls; 0: none." },
	{ "penstock.hdfs.sync_block", OPT_BOOL, AT(sync_block), "false", .help = "DataNodes bring each block to their disks before it counts." },
	{ "penstock.hdfs.rejects", OPT_STRING, AT(rejects),
		.help = "For events no path can be made for: a local directory (with a '/'), or the name of a bucket beside the others; unset: the sink stops on "
		"them." },
	{ NULL },
};

static uint32_t
hdfs_batch_events(const void *config)
{
	return ((const struct hdfs_config *)config)->batch_events;
}

static int
round_parse(const struct hdfs_config *config, struct escape_time *time, struct err *err)
{
	time->round = config->round;
	time->value = config->round_value;
	if (!config->round)
		return 0;
	if (strcasecmp(config->round_unit, "second") == 0) {
		time->unit = CALENDAR_SECOND;
	} else if (strcasecmp(config->round_unit, "minute") == 0) {
		time->unit = CALENDAR_MINUTE;
	} else if (strcasecmp(config->round_unit, "hour") == 0) {
		time->unit = CALENDAR_HOUR;
		if (config->round_value > 24)
			return err_set(err, EINVAL, "hdfs.roundValue %u with roundUnit hour: want 1 to 24", config->round_value);
	} else {
		time->round = false;	/* as Flume, with a warning when the sink opens */
	}
	return 0;
}

bool
hdfs_in_use_named(const struct hdfs_config *config)
{
	return (config->in_use_prefix && config->in_use_prefix[0]) || (!config->empty_in_use_suffix && config->in_use_suffix[0]);
}

static int
hdfs_check(const void *config_, const char *name, struct err *err)
{
	const struct hdfs_config *config = config_;
	struct escape *escape = NULL;
	struct escape_time time = { 0 };
	(void)name;
	int rc = escape_parse(&escape, config->path, err);
	escape_free(escape);
	escape = NULL;
	if (!rc)
		rc = escape_parse(&escape, config->file_prefix, err);
	escape_free(escape);
	if (!rc)
		rc = calendar_open(&time.calendar, config->time_zone, err);
	if (!rc) {
		calendar_close(time.calendar);
		rc = round_parse(config, &time, err);
	}
	if (!rc)
		rc = format_check(config, err);
	/* Site files may be another machine's matter; whether they can be read is seen when the sink opens. */
	struct hadoop_conf *site = NULL;
	struct hadoop_place place;
	struct err unread = { "" };
	if (!rc && hadoop_conf_open(&site, config->conf_dir, &unread) == 0)
		rc = hadoop_place(site, config->path, config->http_address, &place, err);
	hadoop_conf_close(site);
	if (rc)
		return rc;
	if (!hdfs_in_use_named(config) && config->delivery == DELIVERY_EXACTLY_ONCE)
		return err_set(err, EINVAL, "hdfs.inUsePrefix and inUseSuffix are both empty: exactly_once needs one of them, so that readers can skip open files");
	if (strchr(config->in_use_suffix, '/') || (config->file_suffix && strchr(config->file_suffix, '/')))
		return err_set(err, EINVAL, "hdfs.inUseSuffix and fileSuffix cannot have a '/'");
	if (config->memory_bytes < (4u << 20))
		return err_set(err, EINVAL, "penstock.hdfs.memory is too small: give at least 4m");
	if (rejects_check(config->rejects, err))
		return -EINVAL;
	if (!config->principal != !config->keytab)
		return err_set(err, EINVAL, "hdfs.kerberosPrincipal and hdfs.kerberosKeytab belong together: give both or none");
	return 0;
}

/* ---- buckets ---- */

static uint32_t
key_hash(const char *path, const char *prefix)
{
	uint32_t hash = 2166136261u;	/* FNV-1a */
	for (const char *p = path; *p; p++)
		hash = (hash ^ (uint8_t)*p) * 16777619u;
	hash = (hash ^ 0xff) * 16777619u;
	for (const char *p = prefix; *p; p++)
		hash = (hash ^ (uint8_t)*p) * 16777619u;
	return hash;
}

static void
bucket_unlink_age(struct hdfs_sink *sink, struct bucket *bucket)
{
	*(bucket->older ? &bucket->older->newer : &sink->oldest) = bucket->newer;
	*(bucket->newer ? &bucket->newer->older : &sink->newest) = bucket->older;
}

static void
bucket_link_age(struct hdfs_sink *sink, struct bucket *bucket)
{
	bucket->older = sink->newest;
	bucket->newer = NULL;
	*(sink->newest ? &sink->newest->newer : &sink->oldest) = bucket;
	sink->newest = bucket;
}

void
bucket_drop(struct hdfs_sink *sink, struct bucket *bucket)
{
	struct bucket **at = &sink->buckets[bucket->hash & sink->bucket_mask];
	while (*at != bucket)
		at = &(*at)->hash_next;
	*at = bucket->hash_next;
	bucket_unlink_age(sink, bucket);
	sink->bucket_count--;
	if (sink->last == bucket)
		sink->last = NULL;
	assert(!bucket->file);
	free(bucket);
}

static bool
buckets_grow(struct hdfs_sink *sink)
{
	uint32_t count = sink->bucket_mask ? (sink->bucket_mask + 1) * 2 : 64;
	struct bucket **table = calloc(count, sizeof *table);
	if (!table)
		return sink->bucket_mask != 0;
	for (uint32_t i = 0; sink->bucket_mask && i <= sink->bucket_mask; i++) {
		for (struct bucket *bucket = sink->buckets[i], *next; bucket; bucket = next) {
			next = bucket->hash_next;
			bucket->hash_next = table[bucket->hash & (count - 1)];
			table[bucket->hash & (count - 1)] = bucket;
		}
	}
	free(sink->buckets);
	sink->buckets = table;
	sink->bucket_mask = count - 1;
	return true;
}

struct bucket *
bucket_find(struct hdfs_sink *sink, const char *path, const char *prefix)
{
	uint32_t hash = key_hash(path, prefix);
	struct bucket *bucket = sink->bucket_mask ? sink->buckets[hash & sink->bucket_mask] : NULL;
	while (bucket && (bucket->hash != hash || strcmp(bucket->path, path) != 0 || strcmp(bucket->prefix, prefix) != 0))
		bucket = bucket->hash_next;
	return bucket;
}

struct bucket *
bucket_get(struct hdfs_sink *sink, const char *path, const char *prefix)
{
	struct bucket *bucket = sink->last;
	if (bucket && strcmp(bucket->path, path) == 0 && strcmp(bucket->prefix, prefix) == 0)
		return bucket;
	if ((bucket = bucket_find(sink, path, prefix))) {
		bucket_unlink_age(sink, bucket);
		bucket_link_age(sink, bucket);
		return bucket;
	}
	uint32_t hash = key_hash(path, prefix);
	/* As many as files may be open; a bucket without a file stays only while it waits after a failure. */
	while (sink->bucket_count >= sink->config->max_open_files) {
		struct bucket *oldest = sink->oldest;
		if (oldest->file)
			file_close(oldest->file);
		bucket_drop(sink, oldest);
	}
	if (sink->bucket_count >= sink->bucket_mask && !buckets_grow(sink))
		return NULL;
	size_t path_len = strlen(path) + 1, prefix_len = strlen(prefix) + 1;
	bucket = calloc(1, sizeof *bucket + path_len + prefix_len);
	if (!bucket)
		return NULL;
	bucket->path = bucket->key;
	bucket->prefix = bucket->key + path_len;
	memcpy(bucket->path, path, path_len);
	memcpy(bucket->prefix, prefix, prefix_len);
	bucket->hash = hash;
	bucket->counter = clock_wall_ns(sink->env->clock) / NS_PER_MS;
	bucket->hash_next = sink->buckets[hash & sink->bucket_mask];
	sink->buckets[hash & sink->bucket_mask] = bucket;
	bucket_link_age(sink, bucket);
	sink->bucket_count++;
	return bucket;
}

/* Empty parts and "." are left out; ".." and ':' make no path in HDFS. False: none can be made. */
static bool
path_tidy(char *path, bool colons)
{
	char *to = path;
	const char *from = path;
	while (*from) {
		while (*from == '/')
			from++;
		size_t n = strcspn(from, "/");
		if (n == 0)
			break;
		if ((n == 1 && from[0] == '.')) {
			from += n;
			continue;
		}
		if ((n == 2 && from[0] == '.' && from[1] == '.') || (!colons && memchr(from, ':', n)) || n > 255)
			return false;
		*to++ = '/';
		memmove(to, from, n);
		to += n;
		from += n;
	}
	if (to == path)
		*to++ = '/';
	*to = '\0';
	return true;
}

/* The event's bucket; NULL with *why (none can be made), or without (no memory). */
static struct bucket *
bucket_of(struct hdfs_sink *sink, const struct event_view *event, const char **why)
{
	int64_t ms = 0;
	*why = NULL;
	if (sink->cache_paths) {
		if (escape_needs_time(sink->path) || escape_needs_time(sink->prefix)) {
			if (!escape_instant(event, &sink->time, &ms)) {
				*why = "it has no timestamp header with a number (ms), which hdfs.path or filePrefix needs";
				return NULL;
			}
			ms -= ms % 1000 < 0 ? ms % 1000 + 1000 : ms % 1000;
		}
		if (sink->last && sink->last_ms == ms)
			return sink->last;
	}
	char *path = sink->text[0], *prefix = sink->text[1];
	size_t base = strlen(sink->base);
	memcpy(path, sink->base, base);
	long n = escape_fill_at(sink->path, event, &sink->time, path + base, FS_PATH_BYTES - base);
	long m = n < 0 ? 0 : escape_fill_at(sink->prefix, event, &sink->time, prefix, 1024);
	if (n < 0 || m < 0) {
		*why = n == -EINVAL || m == -EINVAL ? "it has no timestamp header with a number (ms), which hdfs.path or filePrefix needs" :
			"the path made of it is too long";
		return NULL;
	}
	bool colons = !sink->fs->service[0];	/* this machine's files may have them */
	if (!path_tidy(path, colons) || (!colons && strchr(prefix, ':')) || strstr(prefix, "..") || (m && memchr(prefix, '\0', (size_t)m)) || strlen(path) + 1 < base) {
		*why = "no legal path can be made of its headers (a ':' or \"..\" in a name, or one longer than 255 bytes)";
		return NULL;
	}
	struct bucket *bucket = bucket_get(sink, path, prefix);
	sink->last = bucket;
	sink->last_ms = ms;
	return bucket;
}

/* ---- the sink ---- */

static enum sink_result
hdfs_deliver(void *self, struct span *span)
{
	struct hdfs_sink *sink = self;
	const struct hdfs_config *config = sink->config;
	struct span_cursor cursor = { 0 };
	struct event_view event;
	uint64_t now_ns = clock_now_ns(sink->env->clock);
	int64_t now_ms = (int64_t)(clock_wall_ns(sink->env->clock) / NS_PER_MS);
	sink->time.now_ms = now_ms;
	if (spans_add(sink, span))
		return SINK_FAILED;
	uint32_t runs_max = ledger_runs_max(sink);
	struct run_set undone = { 0 };
	uint64_t end = span->first + span->events;
	while (sink->env->channel->span_next(span, &cursor, &event)) {
		const char *why;
		uint64_t number = event.number;
		struct bucket *bucket = bucket_of(sink, &event, &why);
		if (why && sink->reject_path && (bucket = bucket_get(sink, sink->reject_path, "rejects"))) {
			why = NULL;
			counter_add(&sink->counters.rejected, 1);
		}
		struct hdfs_file *file = bucket ? bucket->file : NULL;
		if (file && ((config->roll_events && file->events >= config->roll_events) || (config->roll_bytes && file->body_bytes >= config->roll_bytes) ||
			     file->waiting_set.count + file->flight_set.count + file->set.count >= runs_max)) {
			file_close(file);
			file = NULL;
		}
		if (bucket && !file)
			file = file_open(sink, bucket);
		if (file && file_put(file, &event, now_ns, now_ms) == 0)
			continue;
		if (file)
			file_fail(file, FS_FAILED, "an event cannot be encoded");
		if (why && sink->rejects && rejects_put(sink, &event) == 0)
			continue;
		if (why) {
			static struct log_limit limit;
			log_limited(&limit, LOG_ERROR, "sink %s stops on event %llu: %s; name a directory for such events with penstock.hdfs.rejects",
				    sink->env->name, (unsigned long long)number, why);
			sink->pause_until_ns = now_ns + STOP_NS;
		} else {
			sink->pause_until_ns = now_ns + NS_PER_S;
		}
		/* This one and what comes behind it in the span: offered again. */
		for (; number < end; number++) {
			if (run_set_add(&undone, number))
				abort();	/* a few bytes */
			sink->open_events++;
		}
		break;
	}
	file_out_end(sink);
	if (sink->env->channel->span_release)
		sink->env->channel->span_release(span->taker, span);
	if (undone.events)
		spans_end(sink, &undone, false);
	return SINK_PENDING;
}

static bool
hdfs_ready(void *self)
{
	const struct hdfs_sink *sink = self;
	/* One file alone: no other bucket waits behind it, and what lies longer than the processor's cache remembers is fetched from memory twice. */
	const struct hdfs_file *lone = sink->open_files == 1 && sink->newest ? sink->newest->file : NULL;
	if (lone && lone->waiting.memory + lone->flight.memory >= LONE_BYTES)
		return false;
	return sink->memory < sink->config->memory_bytes && !sink->finishing && clock_now_ns(sink->env->clock) >= sink->pause_until_ns;
}

static uint64_t
files_step(struct hdfs_sink *sink, uint64_t now_ns)
{
	uint64_t due_ns = UINT64_MAX;
	sink->wanting = 0;
	for (struct hdfs_file *file = sink->files, *next; file; file = next) {
		next = file->next;
		uint64_t wait_ns = file_step(file, now_ns);
		due_ns = wait_ns < due_ns ? wait_ns : due_ns;
	}
	return due_ns;
}

static uint64_t
hdfs_step(void *self, uint64_t now_ns)
{
	struct hdfs_sink *sink = self;
	uint64_t due_ns = UINT64_MAX, fs_ns;
	if (sink->ledger)
		due_ns = ledger_step(sink, now_ns);
	uint64_t rejects_ns = rejects_step(sink, now_ns);
	due_ns = rejects_ns < due_ns ? rejects_ns : due_ns;
	/* With thousands of open files, not all are looked at for each span. */
	if (now_ns >= sink->tick_ns) {
		uint64_t files_ns = files_step(sink, now_ns);
		sink->tick_ns = now_ns + (files_ns < TICK_NS && sink->open_files < 64 ? files_ns : TICK_NS);
		due_ns = files_ns < due_ns ? files_ns : due_ns;
	} else {
		due_ns = sink->tick_ns - now_ns < due_ns ? sink->tick_ns - now_ns : due_ns;
	}
	if (now_ns >= sink->slow_tick_ns) {
		sink->slow_tick_ns = now_ns + 100 * NS_PER_MS;
		room_make(sink, now_ns);
		counters_show(sink, now_ns);
	}
	fs_ns = fs_step(sink->fs);
	due_ns = fs_ns < due_ns ? fs_ns : due_ns;
	/* The runner waits for the channel, not for sockets: look again soon while requests run. */
	if (sink->requests && due_ns > NS_PER_MS)
		due_ns = NS_PER_MS;
	if (sink->files && due_ns > 50 * NS_PER_MS)
		due_ns = 50 * NS_PER_MS;
	return due_ns;
}

static void
files_close(struct hdfs_sink *sink)
{
	while (sink->oldest) {
		if (sink->oldest->file)
			file_close(sink->oldest->file);
		bucket_drop(sink, sink->oldest);
	}
}

/* Files end now; what still comes out of the channel goes into others, which end a little later. */
static void
hdfs_drain(void *self)
{
	struct hdfs_sink *sink = self;
	uint64_t now_ns = clock_now_ns(sink->env->clock);
	if (now_ns < sink->drain_ns)
		return;
	sink->drain_ns = now_ns + 500 * NS_PER_MS;
	files_close(sink);
}

static int
hdfs_wait_fds(void *self, struct pollfd *fds, int max)
{
	struct hdfs_sink *sink = self;
	if (max < 1)
		return 0;
	fds[0] = (struct pollfd){ .fd = fs_fd(sink->fs), .events = POLLIN };
	return 1;
}

/* A file that is to be waited for at the end. One that may only be made late yet is in the ledger, if there is one, for the next run to look for. */
static bool
files_busy(const struct hdfs_sink *sink)
{
	const struct hdfs_file *file = sink->files;
	while (file && sink->ledger && file_waits_late(file))
		file = file->next;
	return file != NULL;
}

static void
hdfs_finish(void *self, uint64_t deadline_ns)
{
	struct hdfs_sink *sink = self;
	sink->finishing = true;
	files_close(sink);
	while ((files_busy(sink) || rejects_busy(sink)) && clock_now_ns(sink->env->clock) < deadline_ns) {
		sink->tick_ns = 0;
		uint64_t wait_ns = hdfs_step(sink, clock_now_ns(sink->env->clock));
		struct pollfd poll = { .fd = fs_fd(sink->fs), .events = POLLIN };
		struct timespec timeout = { .tv_nsec = (long)(wait_ns < 5 * NS_PER_MS ? wait_ns : 5 * NS_PER_MS) };
		(void)ppoll(&poll, 1, &timeout, NULL);
	}
	if (files_busy(sink))
		log_warn("sink %s: stopped before all files had their final names; what is not settled is offered again", sink->env->name);
	while (sink->files) {
		/* Its name is in the ledger where there is one: the next run sees to it. */
		spans_end(sink, &sink->files->waiting_set, false);
		spans_end(sink, &sink->files->flight_set, false);
		spans_end(sink, &sink->files->set, false);
		file_free(sink->files);
	}
	rejects_drop(sink);
	assert(!sink->span_count);
}

static void
hdfs_close(void *self)
{
	struct hdfs_sink *sink = self;
	if (sink->metrics.kind)
		metrics_remove(&sink->metrics);
	while (sink->files)
		file_free(sink->files);
	while (sink->oldest)
		bucket_drop(sink, sink->oldest);
	if (sink->ledger)
		ledger_end(sink);
	identities_end(sink);
	fs_close(sink->fs);
	escape_free(sink->path);
	escape_free(sink->prefix);
	calendar_close(sink->time.calendar);
	out_free(sink->out);
	rejects_close(sink);
	free(sink->buckets);
	free(sink->spans);
	board_close(sink);
	free(sink);
}

#define COUNTER(field, what, text) { #field, METRIC_COUNTER, offsetof(struct hdfs_counters, field), what, text }
#define GAUGE(field, what, text) { #field, METRIC_GAUGE, offsetof(struct hdfs_counters, field), what, text }
static const struct metric hdfs_metrics[] = {
	GAUGE(open_files, "files", "Files that take events."),
	GAUGE(open_bytes, "bytes", "Encoded bytes of files without their final name."),
	GAUGE(open_events, "events", "Events in files that are not settled."),
	GAUGE(oldest_unsettled_s, "s", "Age of the oldest file without its final name."),
	GAUGE(requests, "requests", "Open requests to the file system."),
	GAUGE(memory, "bytes", "Memory of encoded bytes that wait."),
	COUNTER(appends, "requests", "Requests that went on with a file begun before."),
	COUNTER(files_closed, "files", "Files that got their final name."),
	COUNTER(files_failed, "files", "Files given up; their unsettled events are offered again."),
	COUNTER(files_retried, "tries", "Renames and removals that have to be tried again."),
	COUNTER(rolled_for_room, "files", "Files closed early because unsettled events fill half of the channel, or its disk."),
	GAUGE(intents, "records", "INTENTs without DONE: files whose rename is under way or in doubt."),
	COUNTER(in_doubt, "files", "Files that were gone before their rename was recorded."),
	COUNTER(rejected, "events", "Events no path could be made for, put aside."),
	COUNTER(under_replicated, "files", "Files renamed with fewer replicas than hdfs.minBlockReplicas after half a minute."),
	COUNTER(name_node_calls, "calls", "Calls to NameNodes."),
	COUNTER(retries, "calls", "Calls repeated after a NameNode or DataNode could not serve."),
	COUNTER(failovers, "times", "Turns to another NameNode."),
};

static int
hdfs_open(void **made, const void *config_, struct sink_env *env, struct err *err)
{
	const struct hdfs_config *config = config_;
	int rc = hdfs_check(config, env->name, err);
	if (rc)
		return rc;
	struct hdfs_sink *sink = calloc(1, sizeof *sink);
	if (!sink || !(sink->out = out_new())) {
		free(sink);
		return err_set(err, ENOMEM, "no memory for the sink");
	}
	sink->env = env;
	sink->config = config;
	board_open(sink);
	sink->requests_max = config->threads * 4;
	sink->in_use_suffix = config->empty_in_use_suffix ? "" : config->in_use_suffix;
	sink->suffix = config->file_suffix ? config->file_suffix : format_suffix(config);
	sink->time.use_clock = config->use_local_time;
	struct fs_config fs = {
		.uri = config->path, .conf_dir = config->conf_dir, .http_address = config->http_address, .user = config->user, .proxy_user = config->proxy_user,
		.principal = config->principal, .keytab = config->keytab, .ca_file = config->ca_file, .call_ns = config->call_ms * NS_PER_MS,
		.retry_ns = RETRY_NS, .calls_per_s = config->calls_per_s,
	};
	if (config->call_ms == 0)
		fs.call_ns = 60 * NS_PER_S;
	if (env->grouped && fs.call_ns < fs.retry_ns)
		fs.retry_ns = fs.call_ns;	/* the group's next sink is waiting */
	char path[FS_PATH_BYTES];
	rc = round_parse(config, &sink->time, err);
	if (config->round && !sink->time.round)
		log_warn("sink %s: hdfs.roundUnit \"%s\" is not second, minute or hour: nothing is rounded", env->name, config->round_unit);
	if (!rc)
		rc = calendar_open(&sink->time.calendar, config->time_zone, err);
	if (!rc)
		rc = fs_open(&sink->fs, &fs, env->clock, path, err);
	if (!rc)
		rc = escape_parse(&sink->path, path, err);
	if (!rc)
		rc = escape_parse(&sink->prefix, config->file_prefix, err);
	if (!rc)
		rc = rejects_open(sink, path, err);
	if (!rc)
		rc = ledger_begin(sink, err);
	if (rc) {
		hdfs_close(sink);
		return rc;
	}
	sink->cache_paths = escape_by_instant(sink->path) && escape_by_instant(sink->prefix);
	sink->metrics = (struct metric_set){
		.kind = "SINK", .component = env->name, .metrics = hdfs_metrics, .count = sizeof hdfs_metrics / sizeof *hdfs_metrics, .counters = &sink->counters,
	};
	metrics_add(&sink->metrics);
	*made = sink;
	return 0;
}

const struct sink_ops sink_hdfs = {
	.name = "hdfs", .class_names = "org.apache.flume.sink.hdfs.HDFSEventSink",
	.help = "Writes events into files of HDFS (over WebHDFS) or of this machine, by path, rolled by time, size and count.",
	.options = hdfs_options, .config_size = sizeof(struct hdfs_config), .batch_events = hdfs_batch_events, .check = hdfs_check,
	.open = hdfs_open, .deliver = hdfs_deliver, .step = hdfs_step, .wait_fds = hdfs_wait_fds, .finish = hdfs_finish, .close = hdfs_close,
	.drain = hdfs_drain, .ready = hdfs_ready, .advise = hdfs_advise, .files = board_read,
	.keeps = SINK_KEEPS_BATCHES | SINK_KEEPS_COMPLETE | SINK_KEEPS_ATTEMPTS | SINK_KEEPS_SUCCESS, .pending_max = 1u << 20, .pending_bytes = UINT64_MAX,
};
