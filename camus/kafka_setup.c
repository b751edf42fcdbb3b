/* Setup: which topics, which partitions, from where to where. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/log.h"
#include "camus/kafka.h"
#include "camus/kafka_client.h"
#include "camus/route.h"
#include "camus/topic_filter.h"

#define TRIES 3
#define UNKNOWN_NS (5 * NS_PER_S)	/* a topic that was just made is unknown to some broker no longer than this; a deleted one stays unknown */
#define PROVE_AT_ONCE 256

static bool
list_has(const struct option_list *list, const char *topic)
{
	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->items[i], topic) == 0 || strcmp(list->items[i], "all") == 0)
			return true;
	return false;
}

static const struct rd_kafka_metadata *
metadata_get(rd_kafka_t *consumer, const struct camus_conf *conf, struct err *err)
{
	const struct rd_kafka_metadata *metadata;
	rd_kafka_resp_err_t rc = RD_KAFKA_RESP_ERR_NO_ERROR;
	for (int try = 0; try < TRIES; try++) {
		rc = rd_kafka_metadata(consumer, 1, NULL, &metadata, (int)conf->timeout_ms / TRIES + 1000);
		if (rc == RD_KAFKA_RESP_ERR_NO_ERROR)
			return metadata;
	}
	err_set(err, EIO, "kafka.brokers %s: no broker answers: %s (are they up, and may this host reach them?)", conf->brokers, rd_kafka_err2str(rc));
	return NULL;
}

/* Topics that pass the lists become parts; false in `seen` order never matters. */
static int
topics_take(struct job *job, const struct rd_kafka_metadata *metadata, const struct topic_filter *white, const struct topic_filter *black, struct err *err)
{
	size_t room = (size_t)metadata->topic_cnt + 1, taken = 0;
	char (*folders)[256] = calloc(room, sizeof *folders);
	const char **names = calloc(room, sizeof *names);
	int rc = folders && names ? 0 : err_set(err, ENOMEM, "no memory");
	for (int t = 0; t < metadata->topic_cnt && !rc; t++) {
		const struct rd_kafka_metadata_topic *topic = &metadata->topics[t];
		if (strcmp(topic->topic, "__consumer_offsets") == 0 || strcmp(topic->topic, "__transaction_state") == 0)
			continue;
		if (!topic_filter_admits(white, black, topic->topic))
			continue;
		if (topic->err) {
			log_error("topic %s: left out: %s", topic->topic, rd_kafka_err2str(topic->err));
			job->unreadable_topics++;
			continue;
		}
		if (strlen(topic->topic) >= sizeof *folders)
			continue;
		route_topic_folder(topic->topic, folders[taken]);
		for (size_t i = 0; i < taken && !rc; i++)
			if (strcmp(folders[i], folders[taken]) == 0)
				rc = err_set(err, EINVAL, "topics %s and %s have the same folder, %s: put one of them into kafka.blacklist.topics",
					names[i], topic->topic, folders[taken]);
		names[taken++] = topic->topic;
		for (int p = 0; p < topic->partition_cnt && !rc; p++) {
			const struct rd_kafka_metadata_partition *partition = &topic->partitions[p];
			struct part *part = job_part(job, topic->topic, partition->id);
			snprintf(part->leader, sizeof part->leader, "%d", partition->leader);
			part->latest = partition->leader >= 0 ? 0 : -1;	/* asked for below */
			part->pull = true;
		}
	}
	free(folders);
	free(names);
	return rc;
}

/* Errors that pass by themselves: a leader that is being chosen, or of which the broker or this client has not heard yet. */
static bool
err_passes(rd_kafka_resp_err_t err)
{
	switch (err) {
	case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
	case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
	case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
	case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
	case RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH:
	case RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH:
	case RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE:
	case RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE:
	case RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE:
	case RD_KAFKA_RESP_ERR__TRANSPORT:
	case RD_KAFKA_RESP_ERR__TIMED_OUT:
	case RD_KAFKA_RESP_ERR__WAIT_COORD:
		return true;
	default:
		return false;
	}
}

/*
 * Oldest (-2) or newest (-1) offsets of all partitions, one call a broker. What failed with an error that passes is asked for again, with new
 * metadata, until kafka.timeout.value is over; a topic that is not known, for UNKNOWN_NS at most.
 */
static void
offsets_get(struct job *job, rd_kafka_t *consumer, bool latest)
{
	rd_kafka_topic_partition_list_t *open = rd_kafka_topic_partition_list_new((int)job->part_count + 1);
	for (size_t i = 0; i < job->part_count; i++) {
		struct part *part = job->parts[i];
		if (part->pull && part->latest >= 0)
			rd_kafka_topic_partition_list_add(open, part->topic, part->partition);
	}
	uint64_t began = clock_now_ns(&clock_system), deadline = began + job->conf->timeout_ms * NS_PER_MS;
	for (int try = 0; open->cnt; try++) {
		for (int i = 0; i < open->cnt; i++) {
			open->elems[i].offset = latest ? -1 : -2;
			open->elems[i].err = RD_KAFKA_RESP_ERR_NO_ERROR;
		}
		rd_kafka_resp_err_t rc = rd_kafka_offsets_for_times(consumer, open, (int)job->conf->timeout_ms / TRIES + 1000);
		uint64_t now = clock_now_ns(&clock_system);
		bool last = try + 1 >= TRIES && now >= deadline, known = try + 1 < TRIES || now < began + UNKNOWN_NS;
		rd_kafka_topic_partition_list_t *again = rd_kafka_topic_partition_list_new(open->cnt);
		for (int i = 0; i < open->cnt; i++) {
			struct part *part = job_part(job, open->elems[i].topic, open->elems[i].partition);
			rd_kafka_resp_err_t why = rc ? rc : open->elems[i].err;
			int64_t offset = why || open->elems[i].offset < 0 ? -1 : open->elems[i].offset;
			if (offset < 0 && !last && (rc || err_passes(why)) && (known || why != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)) {
				rd_kafka_topic_partition_list_add(again, part->topic, part->partition);
				continue;
			}
			if (offset < 0) {
				snprintf(part->words, sizeof part->words, "its %s offset could not be asked for: %s", latest ? "newest" : "oldest", rd_kafka_err2str(why));
				job->offsets_failed = true;
			}
			*(latest ? &part->latest : &part->earliest) = offset;
		}
		rd_kafka_topic_partition_list_destroy(open);
		open = again;
		const struct rd_kafka_metadata *metadata;
		if (open->cnt) {
			nanosleep(&(struct timespec){ .tv_nsec = 100 * NS_PER_MS }, NULL);
			if (rd_kafka_metadata(consumer, 1, NULL, &metadata, (int)job->conf->timeout_ms / TRIES + 1000) == RD_KAFKA_RESP_ERR_NO_ERROR)
				rd_kafka_metadata_destroy(metadata);
		}
	}
	rd_kafka_topic_partition_list_destroy(open);
}

struct question {
	struct part *part;
	const struct fingerprint *want;
	enum proof answer;
};

static struct question *
question_of(struct question *questions, size_t count, const char *topic, int32_t partition)
{
	for (size_t i = 0; i < count; i++)
		if (questions[i].part->partition == partition && strcmp(questions[i].part->topic, topic) == 0)
			return &questions[i];
	return NULL;
}

/* Fetches the record at each fingerprint's offset again. */
static void
questions_ask(rd_kafka_t *consumer, const struct camus_conf *conf, struct question *questions, size_t count)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
	for (size_t i = 0; i < count; i++) {
		questions[i].answer = PROOF_UNKNOWN;
		rd_kafka_topic_partition_list_add(list, questions[i].part->topic, questions[i].part->partition)->offset = questions[i].want->offset;
	}
	rd_kafka_assign(consumer, list);
	uint64_t deadline = clock_now_ns(&clock_system) + conf->timeout_ms * NS_PER_MS;
	size_t open = count;
	while (open && clock_now_ns(&clock_system) < deadline) {
		rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, 100);
		if (!message)
			continue;
		struct question *question = message->rkt ? question_of(questions, count, rd_kafka_topic_name(message->rkt), message->partition) : NULL;
		if (question && question->answer == PROOF_UNKNOWN) {
			if (!message->err) {
				struct fingerprint got = kafka_fingerprint(message);
				const struct fingerprint *want = question->want;
				if (got.offset != want->offset)
					question->answer = PROOF_GONE;
				else
					question->answer = got.crc == want->crc && got.time_ms == want->time_ms ? PROOF_SAME : PROOF_DIFFERENT;
			} else if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF || message->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET ||
			    message->err == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE) {
				question->answer = PROOF_GONE;
			}
			if (question->answer != PROOF_UNKNOWN) {
				open--;
				rd_kafka_topic_partition_list_t *one = rd_kafka_topic_partition_list_new(1);
				rd_kafka_topic_partition_list_add(one, question->part->topic, question->part->partition);
				rd_kafka_pause_partitions(consumer, one);
				rd_kafka_topic_partition_list_destroy(one);
			}
		}
		rd_kafka_message_destroy(message);
	}
	rd_kafka_resume_partitions(consumer, list);	/* or they stay paused when they are asked about again */
	rd_kafka_assign(consumer, NULL);
	rd_kafka_topic_partition_list_destroy(list);
}

static void
questions_all(rd_kafka_t *consumer, const struct camus_conf *conf, struct question *questions, size_t count)
{
	for (size_t i = 0; i < count; i += PROVE_AT_ONCE)
		questions_ask(consumer, conf, questions + i, count - i < PROVE_AT_ONCE ? count - i : PROVE_AT_ONCE);
}

static void
parts_prove(struct job *job, rd_kafka_t *consumer)
{
	const struct camus_conf *conf = job->conf;
	enum proof *last = calloc(job->part_count + 1, sizeof *last);
	struct question *questions = calloc(job->part_count + 1, sizeof *questions);
	size_t count = 0;
	if (!last || !questions)
		abort();
	for (size_t i = 0; i < job->part_count; i++) {
		last[i] = PROOF_UNKNOWN;
		if (start_needs_last(job->parts[i]))
			questions[count++] = (struct question){ job->parts[i], &job->parts[i]->saved.last, PROOF_UNKNOWN };
	}
	questions_all(consumer, conf, questions, count);
	for (size_t i = 0, q = 0; i < job->part_count; i++)
		if (q < count && questions[q].part == job->parts[i])
			last[i] = questions[q++].answer;
	size_t firsts = 0;
	for (size_t i = 0; i < job->part_count; i++) {
		struct part *part = job->parts[i];
		if (part->latest > 0 && start_needs_first(part, last[i]))
			questions[firsts++] = (struct question){ part, &part->saved.first, PROOF_UNKNOWN };
	}
	questions_all(consumer, conf, questions, firsts);
	for (size_t i = 0, q = 0; i < job->part_count; i++) {
		struct part *part = job->parts[i];
		enum proof first = PROOF_UNKNOWN;
		if (q < firsts && questions[q].part == part)
			first = questions[q++].answer;
		else if (part->latest == 0 && start_needs_first(part, last[i]))
			first = PROOF_GONE;
		start_prove(part, last[i], first, conf->to_earliest);
	}
	free(questions);
	free(last);
}

int
kafka_setup(struct job *job, struct err *err)
{
	const struct camus_conf *conf = job->conf;
	struct topic_filter *white, *black = NULL;
	int rc = topic_filter_compile(&conf->whitelist, "kafka.whitelist.topics", &white, err);
	if (!rc)
		rc = topic_filter_compile(&conf->blacklist, "kafka.blacklist.topics", &black, err);
	rd_kafka_t *consumer = rc ? NULL : kafka_consumer_new(conf, 4 << 20, err);
	const struct rd_kafka_metadata *metadata = consumer ? metadata_get(consumer, conf, err) : NULL;
	rc = metadata ? topics_take(job, metadata, white, black, err) : rc ? rc : -EIO;
	if (!rc) {
		/* newest first: a record that comes in between is the next run's, an oldest offset that moves in between is seen */
		offsets_get(job, consumer, true);
		offsets_get(job, consumer, false);
		for (size_t i = 0; i < job->part_count; i++) {
			struct part *part = job->parts[i];
			part->now = part->saved;
			if (!part->pull) {	/* known from before, not asked for now: its offsets are carried on */
				part->start = part->saved.next;
				part->why = START_SAVED;
				continue;
			}
			start_decide(part, list_has(&conf->to_last, part->topic), conf->to_earliest);
		}
		parts_prove(job, consumer);
		for (size_t i = 0; i < job->part_count; i++) {
			struct part *part = job->parts[i];
			bool moved = part->why == START_NEW || part->why == START_LATEST || part->why == START_EARLIEST ||
				part->why == START_RECREATED || part->why == START_TRUNCATED;
			if (!moved)
				continue;
			part->now.known = true;
			part->now.next = part->start;
			if (part->why != START_NEW && part->why != START_LATEST)
				part->now.last.offset = -1;	/* proves nothing any more */
			if (part->why == START_RECREATED)
				part->now.first.offset = -1;
		}
	}
	if (metadata)
		rd_kafka_metadata_destroy(metadata);
	kafka_consumer_free(consumer);
	topic_filter_free(white);
	topic_filter_free(black);
	return rc;
}

int
kafka_group_store(const struct job *job, struct err *err)
{
	rd_kafka_t *consumer = kafka_consumer_new(job->conf, 1 << 20, err);
	if (!consumer)
		return -EINVAL;
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)job->part_count + 1);
	for (size_t i = 0; i < job->part_count; i++)
		if (job->parts[i]->now.known && job->parts[i]->latest >= 0)
			rd_kafka_topic_partition_list_add(list, job->parts[i]->topic, job->parts[i]->partition)->offset = job->parts[i]->now.next;
	rd_kafka_resp_err_t rc = list->cnt ? rd_kafka_commit(consumer, list, 0) : RD_KAFKA_RESP_ERR_NO_ERROR;
	rd_kafka_topic_partition_list_destroy(list);
	kafka_consumer_free(consumer);
	return rc ? err_set(err, EIO, "offsets were not stored in the consumer group: %s", rd_kafka_err2str(rc)) : 0;
}

int
kafka_offsets_at(struct job *job, const bool *pick, int64_t time_ms, int64_t *offsets, struct err *err)
{
	rd_kafka_t *consumer = kafka_consumer_new(job->conf, 1 << 20, err);
	if (!consumer)
		return -EINVAL;
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)job->part_count + 1);
	for (size_t i = 0; i < job->part_count; i++)
		if (pick[i])
			rd_kafka_topic_partition_list_add(list, job->parts[i]->topic, job->parts[i]->partition)->offset = time_ms;
	rd_kafka_resp_err_t rc = rd_kafka_offsets_for_times(consumer, list, (int)job->conf->timeout_ms);
	for (size_t i = 0, n = 0; i < job->part_count; i++) {
		if (!pick[i])
			continue;
		const rd_kafka_topic_partition_t *one = &list->elems[n++];
		offsets[i] = rc || one->err ? -1 : one->offset >= 0 ? one->offset : job->parts[i]->latest;
	}
	rd_kafka_topic_partition_list_destroy(list);
	kafka_consumer_free(consumer);
	return rc ? err_set(err, EIO, "offsets at a time cannot be asked for: %s", rd_kafka_err2str(rc)) : 0;
}
