/* The loop of one task: its partitions, a window of them at a time, into the writer. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "camus/complete.h"
#include "camus/counts.h"
#include "camus/decode.h"
#include "camus/kafka.h"
#include "camus/kafka_client.h"
#include "camus/registry.h"
#include "camus/route.h"

#define WINDOW 64		/* partitions assigned at a time */
#define WAIT_MS 50
#define BUSY_MS 2		/* while a file is on its way: its server is not kept waiting for bytes that lie here */
#define KEPT_BYTES 4096		/* of key and value of the last record; a longer one is summed up at once */
#define ERRORS_LISTED 50000u	/* bad records of a task, some 10 MB */
#define GRACE_RECORDS 5		/* of each partition that is left when a task's minutes are over */

struct active {
	struct part *part;
	struct route *route;
	const struct decoder_ops *ops;
	void *decoder;
	int64_t time_end;		/* INT64_MAX: not set */
	uint64_t moved_ns;
	uint64_t grace;			/* records since the deadline */
	int64_t bucket, bucket_end;	/* of the last record */
	bool bucket_known, plain_counts;
	bool late;			/* the folder of this bucket is complete */
	int64_t complete_until;
	uint64_t bytes;
	/* The last record, of which the fingerprint is wanted when the partition ends: one copy costs less than one checksum a record. */
	bool kept;
	uint32_t kept_key_len, kept_value_len;
	uint8_t kept_bytes[KEPT_BYTES];
};

struct loop {
	struct task *task;
	rd_kafka_t *consumer;
	rd_kafka_queue_t *queue;
	struct active active[WINDOW];
	uint32_t count;
	size_t next;			/* part to be assigned next */
	int64_t oldest_ms;		/* records before it are dropped */
	uint64_t deadline_ns;
	const rd_kafka_topic_t *last_topic;
	struct active *last;
	int32_t last_partition;
	struct kafka_room room;
	/* of one call into the queue */
	uint64_t now_ns, records, bytes;
	bool woken;
	struct err err;			/* of the running record */
};

static void
error_note(struct task *task, const struct part *part, const rd_kafka_message_t *message, int64_t offset, const char *words)
{
	char last[400];
	if (message && task->error_count >= ERRORS_LISTED)
		return;		/* a topic that the wrong decoder reads would fill all memory */
	if (message && task->error_count == ERRORS_LISTED - 1) {
		snprintf(last, sizeof last, "%.250s (behind this one the task's bad records are counted, not listed)", words);
		words = last;
	}
	if (task->error_count == task->error_room) {
		task->error_room = task->error_room ? task->error_room * 2 : 32;
		task->errors = realloc(task->errors, task->error_room * sizeof *task->errors);
		if (!task->errors)
			abort();
	}
	struct error_record *error = &task->errors[task->error_count++];
	*error = (struct error_record){ .part = part, .offset = offset, .time_ms = -1, .words = strdup(words) };
	if (!message || task->errors_kept >= task->conf->decode_errors_written)
		return;
	task->errors_kept++;
	error->kept = true;
	error->key_len = (uint32_t)message->key_len;
	error->value_len = (uint32_t)message->len;
	error->key = message->key_len ? malloc(message->key_len) : NULL;
	error->value = message->len ? malloc(message->len) : NULL;
	if (error->key)
		memcpy(error->key, message->key, message->key_len);
	if (error->value)
		memcpy(error->value, message->payload, message->len);
}

static void
partition_list(rd_kafka_topic_partition_list_t **list, const struct part *part, int64_t offset)
{
	*list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_topic_partition_list_add(*list, part->topic, part->partition)->offset = offset;
}

static void
active_close(struct active *active)
{
	if (active->ops && active->decoder)
		active->ops->close(active->decoder);
	route_close(active->route);
}

/* The next partition of the task; it may fail at once. */
static void
active_open(struct loop *loop, struct part *part)
{
	struct task *task = loop->task;
	struct active *active = &loop->active[loop->count];
	struct err err = { "" };
	*active = (struct active){ .part = part, .time_end = INT64_MAX, .moved_ns = clock_now_ns(&clock_system) };
	for (size_t i = 0; i < task->conf->count_plain.count; i++)
		active->plain_counts |= strcmp(task->conf->count_plain.items[i], part->topic) == 0 ||
			strcmp(task->conf->count_plain.items[i], "all") == 0;
	int rc = route_open(&active->route, task->conf, part->topic, &err);
	if (!rc) {
		active->ops = decoder_find(task->conf, part->topic, &err);
		if (active->ops && active->ops->avro != (task->conf->kind == WRITER_AVRO)) {
			err_set(&err, EINVAL, "topic %s: the %s decoder's records cannot be written by %s", part->topic, active->ops->name, task->conf->writer);
			active->ops = NULL;
		}
		rc = active->ops ? active->ops->open(&active->decoder, task->conf, part->topic, &err) : -EINVAL;
	}
	if (!rc) {
		rd_kafka_topic_partition_list_t *list;
		partition_list(&list, part, part->start);
		rd_kafka_error_t *error = rd_kafka_incremental_assign(loop->consumer, list);
		rd_kafka_topic_partition_list_destroy(list);
		if (error) {
			rc = err_set(&err, EIO, "%s", rd_kafka_error_string(error));
			rd_kafka_error_destroy(error);
		}
	}
	if (rc) {
		part->failed = true;
		snprintf(part->words, sizeof part->words, "%.250s", err.text);
		error_note(task, part, NULL, part->start, err.text);
		active_close(active);
		return;
	}
	part->now.next = part->start;
	active->complete_until = complete_until(task->job, part->topic);
	loop->count++;
}

/* The record's fingerprint, or what it takes to make it at the end. */
static void
last_keep(struct active *active, const rd_kafka_message_t *message, int64_t time_ms)
{
	struct fingerprint *last = &active->part->now.last;
	last->offset = message->offset;
	last->time_ms = time_ms;
	active->kept = message->len <= KEPT_BYTES && message->key_len <= KEPT_BYTES - message->len;
	if (!active->kept) {
		last->crc = kafka_checksum(message->key, message->key_len, message->payload, message->len);
		return;
	}
	active->kept_key_len = (uint32_t)message->key_len;
	active->kept_value_len = (uint32_t)message->len;
	if (message->len)
		memcpy(active->kept_bytes, message->payload, message->len);
	if (message->key_len)
		memcpy(active->kept_bytes + message->len, message->key, message->key_len);
}

/* The partition is done for this run: at its end, limited or in trouble. */
static void
active_end(struct loop *loop, struct active *active)
{
	struct part *part = active->part;
	rd_kafka_topic_partition_list_t *list;
	if (active->kept)
		part->now.last.crc = kafka_checksum(active->kept_bytes + active->kept_value_len, active->kept_key_len, active->kept_bytes,
			active->kept_value_len);
	partition_list(&list, part, RD_KAFKA_OFFSET_INVALID);
	rd_kafka_error_t *error = rd_kafka_incremental_unassign(loop->consumer, list);
	if (error)
		rd_kafka_error_destroy(error);
	rd_kafka_topic_partition_list_destroy(list);
	if (part->records)
		part->now.average = (int64_t)(active->bytes / part->records);
	part->now.known = true;
	atomic_store_explicit(&part->progress, part->records, memory_order_relaxed);
	writer_end_part(loop->task->writer, part);
	active_close(active);
	*active = loop->active[--loop->count];
	loop->last = NULL;
	loop->last_topic = NULL;
}

static struct active *
active_find(struct loop *loop, const rd_kafka_message_t *message)
{
	if (message->rkt == loop->last_topic && message->partition == loop->last_partition && loop->last)
		return loop->last;
	if (!message->rkt)
		return NULL;
	const char *topic = rd_kafka_topic_name(message->rkt);
	for (uint32_t i = 0; i < loop->count; i++)
		if (loop->active[i].part->partition == message->partition && strcmp(loop->active[i].part->topic, topic) == 0) {
			loop->last_topic = message->rkt;
			loop->last_partition = message->partition;
			return loop->last = &loop->active[i];
		}
	return NULL;
}

/* A record of a file that is fetched again. */
static bool
wanted(const struct part *part, int64_t bucket, int64_t offset)
{
	for (size_t i = 0; i < part->only_count; i++)
		if (part->only[i].bucket == bucket && offset >= part->only[i].first && offset <= part->only[i].last)
			return true;
	return false;
}

/* One record. True when its partition is done. */
static bool
record_take(struct loop *loop, struct active *active, const rd_kafka_message_t *message)
{
	struct task *task = loop->task;
	const struct camus_conf *conf = task->conf;
	struct part *part = active->part;
	char words[256];
	if (message->offset < part->now.next)
		return false;
	if (message->offset >= part->latest) {
		part->now.next = part->latest;
		return true;
	}
	int64_t time_ms = kafka_time_ms(message);
	last_keep(active, message, time_ms);
	if (part->records == 0 && (part->now.first.offset < part->earliest || part->why == START_RECREATED))
		part->now.first = kafka_fingerprint(message);	/* the oldest record still kept that was read */
	part->now.next = message->offset + 1;
	part->records++;
	part->bytes += message->len;
	active->bytes += message->len + message->key_len;
	bool last = message->offset + 1 >= part->latest;
	struct message in = { part->topic, part->partition, message->offset, time_ms, message->key, message->payload, message->key_len,
		message->len };
	if (!message->payload) {
		if (conf->tombstones == TOMBSTONE_SKIP) {
			part->skipped_tombstones++;
			return last;
		}
		if (conf->tombstones == TOMBSTONE_ERROR) {
			part->skipped_other++;
			error_note(task, part, message, message->offset, "a record without a payload");
			return last;
		}
	}
	struct decoded out = { NULL };
	loop->err.text[0] = '\0';
	enum decode_result result = DECODE_OK;
	if (message->payload)
		result = active->ops->decode(active->decoder, &in, &out, &loop->err);
	else
		out.time_ms = decode_fallback_ms(conf, &in);
	if (result != DECODE_OK) {
		*(result == DECODE_SCHEMA_NOT_FOUND ? &part->skipped_schema : &part->skipped_other) += 1;
		error_note(task, part, message, message->offset, loop->err.text);
		return last;
	}
	part->decoded++;
	part->now.event_ms = out.time_ms;
	if (out.time_ms < loop->oldest_ms) {
		part->skipped_old++;
		return last;
	}
	if (conf->pull_hours >= 0 && active->time_end == INT64_MAX && __builtin_add_overflow(out.time_ms, conf->pull_hours * 3600000, &active->time_end))
		active->time_end = INT64_MAX;	/* a time from nowhere: as far away as can be */
	if (!active->bucket_known || out.time_ms < active->bucket || out.time_ms >= active->bucket_end) {
		active->bucket = route_bucket(active->route, out.time_ms);
		active->bucket_end = route_bucket_end(active->route, active->bucket);
		active->bucket_known = true;
		active->late = active->bucket_end <= active->complete_until &&
			route_folder_end(active->route, active->bucket) <= active->complete_until;
	}
	if (part->only && !wanted(part, active->bucket, message->offset))
		return last;
	const char *folder = route_folder(active->route, active->bucket);
	if (!folder) {
		part->skipped_other++;
		error_note(task, part, message, message->offset, "no folder can be made for its time");
		return last;
	}
	char aside[FS_PATH_BYTES];
	if (active->late) {
		part->late++;
		if (conf->late == LATE_ASIDE) {
			snprintf(aside, sizeof aside, "%s/" COMPLETE_LATE_FOLDER, folder);
			folder = aside;
		}
	}
	writer_put(task->writer, part, active->bucket, active->bucket_end, folder, out.schema ? out.schema->json : NULL, out.time_ms,
		out.payload, out.len, message->offset);
	part->written++;
	if (conf->run_tracking)
		counts_add(part, conf->count_minutes, out.time_ms, active->plain_counts ? "server" : out.server,
			active->plain_counts ? "service" : out.service);
	if (part->failed)
		return true;
	if (out.time_ms > active->time_end && !last) {
		snprintf(words, sizeof words, "not fully pulled: kafka.max.pull.hrs = %lld reached", (long long)conf->pull_hours);
		snprintf(part->words, sizeof part->words, "%s", words);
		error_note(task, part, NULL, message->offset, words);
		part->more = true;
		return true;
	}
	return last;
}

static void
trouble(struct loop *loop, struct active *active, const char *words)
{
	struct part *part = active->part;
	part->trouble = true;
	snprintf(part->words, sizeof part->words, "%s", words);
	error_note(loop->task, part, NULL, part->now.next, words);
	active_end(loop, active);
}

static void
message_take(struct loop *loop, const rd_kafka_message_t *message, uint64_t now)
{
	struct active *active = active_find(loop, message);
	if (!active)
		return;		/* of a partition that is done */
	struct part *part = active->part;
	active->moved_ns = now;
	if (!message->err) {
		if (record_take(loop, active, message)) {
			active_end(loop, active);
		} else if (loop->deadline_ns && now > loop->deadline_ns && ++active->grace >= GRACE_RECORDS) {
			part->more = true;
			snprintf(part->words, sizeof part->words, "not fully pulled: kafka.max.pull.minutes.per.task = %lld reached",
				(long long)loop->task->conf->pull_minutes);
			error_note(loop->task, part, NULL, part->now.next, part->words);
			active_end(loop, active);
		}
		return;
	}
	if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
		/* The end of the log (or of what is committed) without a record there: markers, aborted records, compaction. */
		if (message->offset >= part->latest || message->offset >= part->now.next) {
			if (part->now.next < part->latest)
				part->now.next = message->offset < part->latest ? message->offset : part->latest;
			active_end(loop, active);
		}
		return;
	}
	char words[250];
	/* The client fetches a batch with a wrong checksum again and again; only its owner can say that it is not wanted. */
	if (message->err == RD_KAFKA_RESP_ERR__BAD_MSG)
		snprintf(words, sizeof words, "Kafka: %.110s (penstock-camus reset %.60s:%d --to OFFSET goes on behind it)",
			rd_kafka_message_errstr(message), part->topic, part->partition);
	else
		snprintf(words, sizeof words, "Kafka: %.180s", rd_kafka_message_errstr(message));
	trouble(loop, active, words);
}

static void
stalls_find(struct loop *loop, uint64_t now)
{
	for (uint32_t i = loop->count; i-- > 0;)
		if (now > loop->active[i].moved_ns + loop->task->conf->stall_timeout_ns) {
			char words[128];
			snprintf(words, sizeof words, "nothing came from its leader for %llu s (penstock.camus.stall_timeout)",
				(unsigned long long)(loop->task->conf->stall_timeout_ns / NS_PER_S));
			trouble(loop, &loop->active[i], words);
		}
}

/* Asked to end: each partition goes on from here in the next run. */
static void
all_stop(struct loop *loop)
{
	while (loop->count) {
		struct part *part = loop->active[0].part;
		part->more = true;
		snprintf(part->words, sizeof part->words, "not fully pulled: asked to stop");
		active_end(loop, &loop->active[0]);
	}
	loop->next = loop->task->part_count;
}

/* librdkafka gives each record of the call's to this. Nothing that it got before waits in its queue now, so the client may fetch on. */
static void
message_call(rd_kafka_message_t *message, void *context)
{
	struct loop *loop = context;
	if (loop->records++ == 0) {
		loop->now_ns = clock_now_ns(&clock_system);
		if (loop->woken)
			kafka_consumer_wake(loop->consumer);
	}
	loop->bytes += message->len;
	message_take(loop, message, loop->now_ns);
}

static void
add(_Atomic uint64_t *number, uint64_t more)
{
	atomic_store_explicit(number, atomic_load_explicit(number, memory_order_relaxed) + more, memory_order_relaxed);
}

/* What waits in the client's queue, once. */
static void
queue_serve(struct loop *loop)
{
	struct task *task = loop->task;
	uint64_t records = atomic_load_explicit(&task->progress.records, memory_order_relaxed), average = AVERAGE_BYTES;
	if (records)
		average = atomic_load_explicit(&task->progress.bytes, memory_order_relaxed) / records;
	size_t waits = rd_kafka_queue_length(loop->queue);
	loop->woken = waits >= loop->room.messages / 2 || waits * average >= loop->room.bytes / 2;
	loop->records = loop->bytes = 0;
	uint64_t began = clock_now_ns(&clock_system);
	loop->now_ns = began;
	rd_kafka_consume_callback_queue(loop->queue, writer_busy(task->writer) ? BUSY_MS : WAIT_MS, message_call, loop);
	uint64_t ended = clock_now_ns(&clock_system);
	if (!loop->records)
		loop->now_ns = ended;
	/* It filled up just before it was emptied, or nothing came: perhaps because it was full a moment ago. */
	if (!loop->woken && (!loop->records || loop->records >= loop->room.messages / 2 || loop->bytes >= loop->room.bytes / 2))
		kafka_consumer_wake(loop->consumer);
	task->t_kafka_ns += loop->now_ns - began;
	task->t_decode_ns += ended - loop->now_ns;
	for (uint32_t i = 0; i < loop->count; i++)
		atomic_store_explicit(&loop->active[i].part->progress, loop->active[i].part->records, memory_order_relaxed);
	add(&task->progress.records, loop->records);
	add(&task->progress.bytes, loop->bytes);
}

static void *
consumer_thread(void *consumer)
{
	kafka_consumer_free(consumer);
	return NULL;
}

void
kafka_task_run(struct task *task)
{
	const struct camus_conf *conf = task->conf;
	struct loop *loop = calloc(1, sizeof *loop);
	struct err err = { "" };
	uint64_t began = clock_now_ns(&clock_system);
	if (!loop)
		abort();
	loop->task = task;
	loop->room = kafka_room(task->fetch_memory);
	loop->consumer = kafka_consumer_new(conf, task->fetch_memory, &err);
	if (!loop->consumer) {
		for (size_t i = 0; i < task->part_count; i++) {
			task->parts[i]->failed = true;
			snprintf(task->parts[i]->words, sizeof task->parts[i]->words, "%.250s", err.text);
		}
		free(loop);
		return;
	}
	loop->queue = rd_kafka_queue_get_consumer(loop->consumer);
	loop->oldest_ms = conf->historical_days < 0 ? INT64_MIN
		: (int64_t)(clock_wall_ns(&clock_system) / NS_PER_MS) - conf->historical_days * 86400000;
	loop->deadline_ns = conf->pull_minutes < 0 ? 0 : began + (uint64_t)conf->pull_minutes * 60 * NS_PER_S;
	while (loop->count || loop->next < task->part_count) {
		while (loop->count < WINDOW && loop->next < task->part_count)
			active_open(loop, task->parts[loop->next++]);
		if (!loop->count)
			continue;
		queue_serve(loop);
		uint64_t before = clock_now_ns(&clock_system);
		writer_step(task->writer, 0);
		task->t_write_ns += clock_now_ns(&clock_system) - before;
		stalls_find(loop, loop->now_ns);
		if (job_stop_asked())
			all_stop(loop);
		kill_point("pull");
		if (loop->records)
			kill_point("records");
	}
	rd_kafka_queue_destroy(loop->queue);
	pthread_t closer;	/* the client takes its time to end; the files take theirs */
	bool beside = pthread_create(&closer, NULL, consumer_thread, loop->consumer) == 0;
	uint64_t before = clock_now_ns(&clock_system);
	writer_finish(task->writer);
	task->t_write_ns += clock_now_ns(&clock_system) - before;
	if (beside)
		pthread_join(closer, NULL);
	else
		kafka_consumer_free(loop->consumer);
	free(loop);
	task->t_all_ns = clock_now_ns(&clock_system) - began;
}
