/* Room in the channel for what the hdfs sink keeps open, what it shows of it, and what its settings lead to. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "sinks/sink_hdfs.h"

#define YOUNG_NS NS_PER_S		/* so long a file is left alone for room, unless it holds much */
#define ANSWER_NS (500 * NS_PER_MS)	/* control waits so long for the runner */
#define SMALL_EVENTS 1000u		/* a file of fewer is worth a word */
#define SMALL_BYTES (1u << 20)
#define SLOW_RATE 10000u		/* events/s: settings that lead to early rolls below this are worth a word */

static uint64_t
file_events(const struct hdfs_file *file)
{
	return file->set.events + file->flight_set.events + file->waiting_set.events;
}

/* Its lowest event, UINT64_MAX: none is unsettled. */
static uint64_t
file_first(const struct hdfs_file *file)
{
	const struct run_set *sets[] = { &file->set, &file->flight_set, &file->waiting_set };
	uint64_t first = UINT64_MAX;
	for (int i = 0; i < 3; i++) {
		if (sets[i]->count && sets[i]->runs[0].first < first)
			first = sets[i]->runs[0].first;
	}
	return first;
}

/* Open files never stop intake: past half of the channel's capacity, or when its disk is full, the file with the oldest open event is ended
 * early, and then the next one, until what is on its way out makes room enough. */
void
room_make(struct hdfs_sink *sink, uint64_t now_ns)
{
	struct channel *channel = sink->env->on;
	if (!channel || !channel->ops->unsettled || !sink->span_count)
		return;
	uint64_t capacity = metrics_sum("CHANNEL", channel->name, "ChannelCapacity"), unsettled = channel->ops->unsettled(channel), closing = 0;
	bool disk_full = metrics_sum("CHANNEL", channel->name, "disk_full") != 0;
	if (!disk_full && (!capacity || unsettled <= capacity / 2))
		return;
	struct hdfs_file *oldest = NULL;
	uint64_t lowest = UINT64_MAX;
	for (struct hdfs_file *file = sink->files; file; file = file->next) {
		uint64_t first = file_first(file);
		if (file->closing) {
			closing += file_events(file);
		} else if (first < lowest && (now_ns - file->opened_ns >= YOUNG_NS || file_events(file) >= capacity / 16)) {
			lowest = first;
			oldest = file;
		}
	}
	if (!oldest || (disk_full ? closing > 0 : unsettled - closing <= capacity / 2))
		return;
	struct bucket *bucket = oldest->bucket;
	counter_add(&sink->counters.rolled_for_room, 1);
	file_close(oldest);
	if (bucket && !bucket->file)
		bucket_drop(sink, bucket);
}

/* ---- what is shown ---- */

static void
board_fill(struct hdfs_sink *sink, uint64_t now_ns)
{
	struct hdfs_board *board = &sink->board;
	struct hdfs_file *oldest[BOARD_FILES];
	uint32_t seen = 0;
	/* New ones are put in front: the last of the list are the oldest. */
	for (struct hdfs_file *file = sink->files; file; file = file->next)
		oldest[seen++ % BOARD_FILES] = file;
	pthread_mutex_lock(&board->lock);
	for (uint32_t i = 0; i < board->count; i++)
		free(board->entries[i].name);
	board->count = 0;
	for (uint32_t i = 0; i < BOARD_FILES && i < seen; i++) {
		const struct hdfs_file *file = oldest[(seen - 1 - i) % BOARD_FILES];
		char *name = strdup(file->state == FILE_RESOLVE && file->final[0] ? file->final : file->in_use);
		if (name)
			board->entries[board->count++] = (struct board_entry){ name, file->state, (now_ns - file->opened_ns) / NS_PER_S, file->encoded, file_events(file) };
	}
	board->serial++;
	pthread_cond_broadcast(&board->filled);
	pthread_mutex_unlock(&board->lock);
}

void
counters_show(struct hdfs_sink *sink, uint64_t now_ns)
{
	struct hdfs_counters *c = &sink->counters;
	counter_set(&c->open_files, sink->open_files);
	counter_set(&c->open_bytes, sink->open_bytes);
	counter_set(&c->open_events, sink->open_events);
	counter_set(&c->requests, sink->requests);
	counter_set(&c->memory, sink->memory);
	counter_set(&c->name_node_calls, sink->fs->counters.calls);
	counter_set(&c->retries, sink->fs->counters.retries);
	counter_set(&c->failovers, sink->fs->counters.failovers);
	uint64_t oldest_ns = now_ns;
	for (struct hdfs_file *file = sink->files; file; file = file->next) {
		if (file->opened_ns < oldest_ns && !file_waits_late(file))
			oldest_ns = file->opened_ns;
	}
	counter_set(&c->oldest_unsettled_s, (now_ns - oldest_ns) / NS_PER_S);
	if (atomic_exchange_explicit(&sink->board.wanted, false, memory_order_acquire))
		board_fill(sink, now_ns);
}

void
board_open(struct hdfs_sink *sink)
{
	pthread_condattr_t monotonic;
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_mutex_init(&sink->board.lock, NULL);
	pthread_cond_init(&sink->board.filled, &monotonic);
	pthread_condattr_destroy(&monotonic);
}

void
board_close(struct hdfs_sink *sink)
{
	for (uint32_t i = 0; i < sink->board.count; i++)
		free(sink->board.entries[i].name);
	pthread_cond_destroy(&sink->board.filled);
	pthread_mutex_destroy(&sink->board.lock);
}

void
board_read(void *self, void (*visit)(void *context, const struct sink_file *file), void *context)
{
	struct hdfs_sink *sink = self;
	struct hdfs_board *board = &sink->board;
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += (long)ANSWER_NS;
	until.tv_sec += until.tv_nsec / (long)NS_PER_S;
	until.tv_nsec %= (long)NS_PER_S;
	pthread_mutex_lock(&board->lock);
	uint64_t serial = board->serial;
	atomic_store_explicit(&board->wanted, true, memory_order_release);
	while (board->serial == serial && pthread_cond_timedwait(&board->filled, &board->lock, &until) != ETIMEDOUT)
		;
	for (uint32_t i = 0; i < board->count; i++) {
		const struct board_entry *entry = &board->entries[i];
		visit(context, &(struct sink_file){ entry->name, file_state_names[entry->state], entry->age_s, entry->bytes, entry->events });
	}
	pthread_mutex_unlock(&board->lock);
}

/* ---- advice ---- */

static bool
place_settles_by_file(const struct hdfs_config *config, const struct sink_place *place)
{
	return config->delivery != DELIVERY_AT_LEAST_ONCE && strcmp(place->channel_kind, "file") == 0 && hdfs_in_use_named(config) && place->capacity;
}

void
hdfs_advise(const void *config_, const struct sink_place *place, void (*tell)(void *context, const char *key, const char *text), void *context)
{
	const struct hdfs_config *config = config_;
	char text[640];
	unsigned long long half = place->capacity / 2, count = config->roll_events, bytes = config->roll_bytes, seconds = config->roll_interval_s;
	/* Files an hour: what makes a NameNode slow, and Flume's defaults are for trying it out. */
	if (count && count < SMALL_EVENTS) {
		snprintf(text, sizeof text, "a file ends after %llu events: at 1,000 events/s that is %llu files an hour (10 is Flume's default); set it to 0 and "
			 "let hdfs.rollInterval and a large hdfs.rollSize end files", count, 3600 * 1000 / count);
		tell(context, "hdfs.rollCount", text);
	}
	if (bytes && bytes < SMALL_BYTES) {
		snprintf(text, sizeof text, "a file ends after %llu bytes: at 1 MiB/s that is %llu files an hour (1024 is Flume's default); set it to 0, or near "
			 "the block size (134217728)", bytes, (3600ull << 20) / bytes);
		tell(context, "hdfs.rollSize", text);
	}
	if (config->round && strcasecmp(config->round_unit, "second") != 0 && strcasecmp(config->round_unit, "minute") != 0 &&
	    strcasecmp(config->round_unit, "hour") != 0)
		tell(context, "hdfs.roundUnit", "is not second, minute or hour: nothing is rounded, as in Flume");
	if (!place_settles_by_file(config, place))
		return;
	/* Room: an event counts in the channel until its file has its final name. */
	if (count && count <= half)
		return;
	if (count) {
		snprintf(text, sizeof text, "a file of %llu events never fills: files end early when half of channel %s's capacity (%llu of %llu events) waits for "
			 "final names; give the channel a capacity of %llu or more", count, place->channel, half, half * 2, count * 2);
		tell(context, "hdfs.rollCount", text);
	} else if (!seconds && !bytes && !config->idle_s) {
		snprintf(text, sizeof text, "no roll ends a file: it ends when half of channel %s's capacity (%llu of %llu events) waits for its final name; set "
			 "hdfs.rollInterval", place->channel, half, half * 2);
		tell(context, "hdfs.rollInterval", text);
	} else if (seconds && half / seconds < SLOW_RATE && (!bytes || bytes / 100 > half)) {
		snprintf(text, sizeof text, "files of %llu s, %llu an hour and bucket: above %llu events/s they end earlier, when half of channel %s's capacity (%llu of "
			 "%llu events) waits for final names; at %u events/s capacity has to be %llu", seconds, seconds < 3600 ? 3600 / seconds : 1, half / seconds,
			 place->channel, half, half * 2, SLOW_RATE, 2ull * SLOW_RATE * seconds);
		tell(context, "hdfs.rollInterval", text);
	}
}
