/* The compare command: audit counts of this job's tier beside those of another, window by window, as both told them to Kafka. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <librdkafka/rdkafka.h>

#include "base/log.h"
#include "camus/counts.h"
#include "camus/kafka_client.h"
#include "camus/run.h"
#include "camus/steps.h"
#include "sinks/format/audit.h"

#define WAIT_MS 100
#define SILENT_NS (30 * NS_PER_S)	/* nothing comes for so long: given up */
#define MEMORY (8u << 20)

struct compare {
	const char *tiers[2];
	json_t *told;			/* key text: [topic, tier index, window, count]: of what is told more than once the most holds */
	int64_t length_ms;		/* of this job's windows */
	uint64_t unread;		/* messages that are no counts */
	uint64_t misfits;		/* counts of windows of another length */
};

static void
count_take(struct compare *compare, const rd_kafka_message_t *message)
{
	json_t *value = json_loadb(message->payload ? message->payload : "", message->len, 0, NULL);
	struct audit_count count;
	if (!audit_read(value, &count)) {
		compare->unread++;
		json_decref(value);
		return;
	}
	for (int i = 0; i < 2; i++) {
		char key[1200], place[40];
		if (strcmp(count.tier, compare->tiers[i]) != 0)
			continue;
		/* Who has no runs is told apart by where the message lies: each of them counts. */
		snprintf(place, sizeof place, "%d/%lld", (int)message->partition, (long long)message->offset);
		snprintf(key, sizeof key, "%.300s %d %lld %.600s", count.topic, i, (long long)count.begin_ms, count.run ? count.run : place);
		if (count.length_ms > 0 && count.length_ms != compare->length_ms)
			compare->misfits++;
		const json_t *told = json_object_get(compare->told, key);
		if (!told || json_integer_value(json_array_get(told, 3)) < count.count)
			json_object_set_new(compare->told, key, json_pack("[s, i, I, I]", count.topic, i, (json_int_t)count.begin_ms, (json_int_t)count.count));
	}
	json_decref(value);
}

/* All of the counts' topic, from its oldest message to its end. */
static int
counts_read_all(struct compare *compare, const struct camus_conf *conf, struct err *err)
{
	rd_kafka_t *consumer = kafka_consumer_new(conf, MEMORY, err);
	if (!consumer)
		return -EINVAL;
	const struct rd_kafka_metadata *metadata = NULL;
	rd_kafka_topic_t *topic = rd_kafka_topic_new(consumer, AUDIT_TOPIC, NULL);
	rd_kafka_resp_err_t code = topic ? rd_kafka_metadata(consumer, 0, topic, &metadata, (int)conf->timeout_ms) : RD_KAFKA_RESP_ERR__FAIL;
	if (!code && metadata->topic_cnt == 1)
		code = metadata->topics[0].err;
	int rc = 0, open = 0, count = 0;
	bool *ended = NULL;
	if (code)
		rc = err_set(err, EIO, "%s: %s: no counts were told (etl.run.tracking.post = true)", AUDIT_TOPIC, rd_kafka_err2str(code));
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);
	if (!rc) {
		count = metadata->topics[0].partition_cnt;
		ended = calloc((size_t)count + 1, sizeof *ended);
		if (!ended)
			abort();
	}
	for (int i = 0; i < count; i++, open++)
		rd_kafka_topic_partition_list_add(list, AUDIT_TOPIC, metadata->topics[0].partitions[i].id)->offset = RD_KAFKA_OFFSET_BEGINNING;
	if (!rc && (code = rd_kafka_assign(consumer, list)))
		rc = err_set(err, EIO, "%s: %s", AUDIT_TOPIC, rd_kafka_err2str(code));
	uint64_t last = clock_now_ns(&clock_system);
	while (!rc && open > 0) {
		rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, WAIT_MS);
		if (message) {
			last = clock_now_ns(&clock_system);
			if (!message->err) {
				count_take(compare, message);
			} else if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
				/* Agents go on telling: a partition may come to its end again before another one does for the first time. */
				for (int i = 0; i < count; i++)
					if (metadata->topics[0].partitions[i].id == message->partition && !ended[i]) {
						ended[i] = true;
						open--;
					}
			} else {
				rc = err_set(err, EIO, "%s: %s", AUDIT_TOPIC, rd_kafka_message_errstr(message));
			}
			rd_kafka_message_destroy(message);
		} else if (clock_now_ns(&clock_system) > last + SILENT_NS) {
			rc = err_set(err, EIO, "%s: nothing came from its leader for %u s", AUDIT_TOPIC, (unsigned)(SILENT_NS / NS_PER_S));
		}
	}
	rd_kafka_topic_partition_list_destroy(list);
	free(ended);
	if (metadata)
		rd_kafka_metadata_destroy(metadata);
	if (topic)
		rd_kafka_topic_destroy(topic);
	kafka_consumer_free(consumer);
	return rc;
}

struct window {
	const char *topic;
	int64_t begin, count[2];
};

static int
by_window(const void *a, const void *b)
{
	const struct window *x = a, *y = b;
	int order = strcmp(x->topic, y->topic);
	return order ? order : (x->begin > y->begin) - (x->begin < y->begin);
}

/* Event time up to which a topic has been loaded: the least of its partitions that have one. INT64_MIN: nothing. */
static int64_t
loaded_until(const struct job *job, const char *topic)
{
	int64_t until = INT64_MAX;
	for (size_t i = 0; i < job->part_count; i++) {
		const struct part *part = job->parts[i];
		if (part->saved.known && part->saved.event_ms != INT64_MIN && part->saved.event_ms < until && strcmp(part->topic, topic) == 0)
			until = part->saved.event_ms;
	}
	return until == INT64_MAX ? INT64_MIN : until;
}

static void
window_text(int64_t ms, char text[static 40])
{
	time_t seconds = (time_t)(ms / 1000);
	struct tm tm;
	if (!gmtime_r(&seconds, &tm) || !strftime(text, 40, "%Y-%m-%dT%H:%M:%SZ", &tm))
		snprintf(text, 40, "%lld", (long long)ms);
}

/* Windows that differ, by name. */
static uint64_t
differences_tell(const struct compare *compare, const struct job *job, int64_t length_ms, uint64_t *same, uint64_t *open)
{
	size_t room = json_object_size(compare->told), count = 0;
	struct window *windows = calloc(room + 1, sizeof *windows);
	const char *key;
	json_t *one;
	uint64_t differ = 0;
	if (!windows)
		abort();
	json_object_foreach(compare->told, key, one) {
		struct window *window = &windows[count++];
		window->topic = json_string_value(json_array_get(one, 0));
		window->begin = json_integer_value(json_array_get(one, 2));
		window->count[json_integer_value(json_array_get(one, 1))] = json_integer_value(json_array_get(one, 3));
	}
	qsort(windows, count, sizeof *windows, by_window);
	for (size_t i = 0, end; i < count; i = end) {
		struct window sum = { windows[i].topic, windows[i].begin, { 0 } };
		for (end = i; end < count && by_window(&windows[i], &windows[end]) == 0; end++)
			for (int t = 0; t < 2; t++)
				sum.count[t] += windows[end].count[t];
		char text[40];
		window_text(sum.begin, text);
		if (sum.begin + length_ms > loaded_until(job, sum.topic)) {
			(*open)++;	/* more may come */
		} else if (sum.count[0] == sum.count[1]) {
			(*same)++;
		} else {
			differ++;
			printf("%s %s: %s %" PRId64 ", %s %" PRId64 " (%+" PRId64 ")\n", sum.topic, text, compare->tiers[0], sum.count[0],
				compare->tiers[1], sum.count[1], sum.count[0] - sum.count[1]);
		}
	}
	free(windows);
	return differ;
}

int
run_compare(const struct camus_conf *conf, const struct run_options *options, const char *tier)
{
	struct job job;
	struct place place;
	struct err err = { "" };
	struct run_report report = { .quiet = true };
	struct compare compare = { .tiers = { counts_tier(conf), tier }, .told = json_object(), .length_ms = (int64_t)conf->count_minutes * 60000 };
	uint64_t same = 0, open = 0, differ = 0;
	(void)options;
	steps_job(&job, conf);
	int status = 2, rc = place_open(&place, conf, &err);
	if (!rc) {
		status = 1;
		rc = steps_state(&place, &job, false, false, &report, &err);
	}
	if (!rc && strcmp(compare.tiers[0], tier) == 0)
		rc = err_set(&err, EINVAL, "--tier %s is this job's own tier (kafka.monitor.tier): want the other one's name", tier);
	rc = rc ? rc : counts_read_all(&compare, conf, &err);
	if (rc) {
		fprintf(stderr, "penstock-camus: %s\n", err.text);
	} else {
		differ = differences_tell(&compare, &job, compare.length_ms, &same, &open);
		printf("windows: %" PRIu64 " the same, %" PRIu64 " differ, %" PRIu64 " not loaded to their end", same, differ, open);
		if (compare.misfits)
			fprintf(stderr, "penstock-camus: %" PRIu64 " counts are of windows of another length than this job's %u minutes: give both the same "
				"(kafka.monitor.time.granularity here, penstock.kafka.audit.window at the agent)\n", compare.misfits, conf->count_minutes);
		printf(compare.unread ? "; %" PRIu64 " messages are no counts\n" : "\n", compare.unread);
		status = differ ? 1 : 0;
	}
	json_decref(compare.told);
	place_close(&place);
	job_free(&job);
	return status;
}
