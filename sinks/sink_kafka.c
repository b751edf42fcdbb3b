/* sink_kafka: each event becomes a Kafka message; a span is done when every delivery report of it is good (at least once).
 *
 * Bodies are handed over without a copy: librdkafka reads the log's own memory, and the span stays open until the last report.
 * Reports are served on the runner's thread, from step. A bad report fails its whole span: it goes back to the channel and what
 * Kafka already has of it is sent again.
 *
 * key = header `key`; topic = header topicHeader, else kafka.topic with its escapes filled in.
 *
 * With counts of audit (sink_kafka_audit.h) an answered span is held until a count with its records has been told, many spans by one:
 *
 *   deliver -> [unanswered] -> flights_end -> [held] -> counts told -> [covered] -> done
 */
#include <assert.h>
#include <errno.h>
#include <librdkafka/rdkafka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "channel/kafka_conf.h"
#include "sinks/escape.h"
#include "sinks/format/audit.h"
#include "sinks/format/avro.h"
#include "sinks/sink.h"
#include "sinks/sink_kafka_audit.h"

#define TOPIC_BYTES 512			/* Kafka itself allows 249 */
#define PENDING_SPANS 256u
#define QUEUE_MESSAGES "1000000"	/* more than pending spans hold; bytes are the bound (buffer.memory) */
#define QUEUE_WAIT_MS 5000		/* for room in librdkafka's queue */
#define STEP_NS (10 * NS_PER_MS)	/* between looks for reports while spans pend */
#define HELD_SPANS (PENDING_SPANS / 4)	/* spans that wait for counts, at most, until these are told */
#define HELD_BYTES (16u << 20)		/* the same in bodies: a quarter of what the runner lets pend */

struct kafka_config {
	struct option_list servers;
	const char *topic;
	uint32_t batch_events;
	const char *acks;
	struct option_family producer;
	bool event_format;
	int64_t default_partition;
	const char *partition_header;
	bool topic_override;
	const char *topic_header, *timestamp_header;
	struct option_family headers;
	struct kafka_audit_config audit;
};

/* A span on its way. */
struct flight {
	struct flight *next;		/* of `ended`, `free`, or a list of spans that wait for counts */
	struct span *span;
	uint32_t unanswered;		/* messages, and one while deliver is at work */
	bool failed;
	uint64_t start_ns;
	struct kafka_mail mail;		/* of all its messages, unless they have times of their own: */
	struct kafka_mail *mails;	/* one a message; kept for the next span */
	uint32_t mails_used, mails_room;
};

/* Spans whose messages are all in Kafka, the last one first. */
struct flight_list {
	struct flight *first;
	uint32_t spans;
	uint64_t events, bytes;
};

struct kafka_sink {
	struct sink_env *env;
	const struct kafka_config *config;	/* control's; outlives the sink */
	rd_kafka_t *kafka;
	struct escape *topic;
	char plain_topic[TOPIC_BYTES];		/* "" when the topic has escapes */
	rd_kafka_topic_t *plain;		/* handle of plain_topic */
	int wake_fd;				/* eventfd: reports wait */
	uint32_t pending;
	struct flight *ended;			/* answered, not yet told to the runner */
	struct flight *free;
	struct flight flights[PENDING_SPANS];
	struct avro_event look;
	char reason[256];			/* why the last report was bad */
	bool fatal;				/* the client takes nothing any more, ever: another one has to go on */
	uint64_t renew_ns;			/* when that is tried next */

	struct kafka_audit *audit;		/* NULL: no counts of audit */
	struct flight_list held;		/* no count with them is on its way yet */
	struct flight_list covered;		/* by the counts that are */
	bool telling;				/* the producer's queue had no room for all of them */
	bool tell_soon;				/* a stop is near */
	uint64_t tell_due_ns;
	uint64_t capacity;			/* of the channel, in events; 0: not known */
	uint64_t capacity_due_ns;
};

static const struct option kafka_options[] = {
	{ "kafka.bootstrap.servers", OPT_LIST, offsetof(struct kafka_config, servers), .help = "Brokers as host:port, comma separated.",
		.flags = OPTION_REQUIRED, .old_names = "brokerList", .separator = ", " },
	{ "kafka.topic", OPT_STRING, offsetof(struct kafka_config, topic), "default-flume-topic",
		.help = "Topic, with %{header} and time escapes (only with allowTopicOverride).", .old_names = "topic" },
	{ "flumeBatchSize", OPT_U32, offsetof(struct kafka_config, batch_events), "100", 1, 100000, "events", "Events a transaction.",
		.old_names = "batchSize kafka.flumeBatchSize" },
	{ "kafka.producer.acks", OPT_STRING, offsetof(struct kafka_config, acks), "1",
		.help = "Acknowledgements before a message counts as sent: 0, 1 or all.", .old_names = "requiredAcks" },
	{ "kafka.producer.", OPT_FAMILY, offsetof(struct kafka_config, producer), .help = "Properties of the producer, with Java's names or librdkafka's." },
	{ "useFlumeEventFormat", OPT_BOOL, offsetof(struct kafka_config, event_format), "false",
		.help = "Messages are Avro data with headers and body, not bodies alone." },
	{ "defaultPartitionId", OPT_I64, offsetof(struct kafka_config, default_partition), "-1", -1, INT32_MAX, NULL,
		"Partition for all events; -1: the partitioner decides." },
	{ "partitionIdHeader", OPT_STRING, offsetof(struct kafka_config, partition_header), .help = "Header with the number of the partition." },
	{ "allowTopicOverride", OPT_BOOL, offsetof(struct kafka_config, topic_override), "true", .help = "The header topicHeader may name another topic." },
	{ "topicHeader", OPT_STRING, offsetof(struct kafka_config, topic_header), "topic", .help = "Header that names another topic." },
	{ "timestampHeader", OPT_STRING, offsetof(struct kafka_config, timestamp_header), .help = "Header with the time of the message in ms." },
	{ "header.", OPT_FAMILY, offsetof(struct kafka_config, headers), .help = "header.NAME = KAFKA NAME: sends header NAME as a Kafka header." },
	{ "penstock.kafka.audit.topic", OPT_STRING, offsetof(struct kafka_config, audit.topic),
		.help = "Topic for counts of what was delivered, by topic and window of event time; the batch loader compares those of TrackingMonitoringEvent." },
	{ "penstock.kafka.audit.tier", OPT_STRING, offsetof(struct kafka_config, audit.tier), .help = "Name of this tier in the counts; unset: penstock." },
	{ "penstock.kafka.audit.window", OPT_U64, offsetof(struct kafka_config, audit.window_ns), "10m", .flags = OPTION_DURATION,
		.help = "Window of event time, whole minutes, as the loader's kafka.monitor.time.granularity." },
	{ "penstock.kafka.audit.interval", OPT_U64, offsetof(struct kafka_config, audit.interval_ns), "1s", .flags = OPTION_DURATION,
		.help = "Longest time that delivered events stay in the channel until a count with them has been told." },
	{ NULL },
};

static uint32_t
kafka_batch_events(const void *config)
{
	return ((const struct kafka_config *)config)->batch_events;
}

/* librdkafka's configuration from ours. */
static int
conf_make(rd_kafka_conf_t **made, const struct kafka_config *config, const char *agent, const char *name, struct err *err)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	size_t room = 1;
	for (size_t i = 0; i < config->servers.count; i++)
		room += strlen(config->servers.items[i]) + 1;
	char *servers = calloc(1, room), client[256];
	if (!servers) {
		rd_kafka_conf_destroy(conf);
		return err_set(err, ENOMEM, "no memory");
	}
	size_t used = 0;
	for (size_t i = 0; i < config->servers.count; i++)
		used += (size_t)snprintf(servers + used, room - used, "%s%s", i ? "," : "", config->servers.items[i]);
	snprintf(client, sizeof client, "%s-%s", agent ? agent : "penstock", name);
	int rc = kafka_conf_set(conf, KAFKA_PRODUCER, "bootstrap.servers", servers, err);
	free(servers);
	if (!rc)
		rc = kafka_conf_set(conf, KAFKA_PRODUCER, "client.id", client, err);
	if (!rc)
		rc = kafka_conf_set(conf, KAFKA_PRODUCER, "queue.buffering.max.messages", QUEUE_MESSAGES, err);
	if (!rc)
		rc = kafka_conf_defaults(conf, KAFKA_PRODUCER, err);
	if (!rc)
		rc = kafka_conf_set(conf, KAFKA_PRODUCER, "acks", config->acks, err);
	for (size_t i = 0; i < config->producer.count && !rc; i++)
		rc = kafka_conf_set(conf, KAFKA_PRODUCER, config->producer.items[i].key, config->producer.items[i].value, err);
	if (rc) {
		rd_kafka_conf_destroy(conf);
		return err_prefix(err, rc, "kafka.producer");
	}
	*made = conf;
	return 0;
}

static int
kafka_check(const void *config_, const char *name, struct err *err)
{
	const struct kafka_config *config = config_;
	rd_kafka_conf_t *conf;
	int rc = conf_make(&conf, config, NULL, name, err);
	if (rc)
		return rc;
	rd_kafka_conf_destroy(conf);
	struct escape *topic;
	rc = escape_parse(&topic, config->topic, err);
	if (rc)
		return err_prefix(err, rc, "kafka.topic");
	escape_free(topic);
	if (strlen(config->topic) >= TOPIC_BYTES)
		return err_set(err, EINVAL, "kafka.topic has more than %d characters", TOPIC_BYTES - 1);
	return kafka_audit_check(&config->audit, config->topic, config->acks, err);
}

/* ---- reports ---- */

static void
flight_answer(struct kafka_sink *sink, struct flight *flight, uint32_t answers)
{
	assert(flight->unanswered >= answers);
	flight->unanswered -= answers;
	if (flight->unanswered == 0) {
		flight->next = sink->ended;
		sink->ended = flight;
	}
}

static void
report_on(rd_kafka_t *kafka, const rd_kafka_message_t *message, void *opaque)
{
	(void)kafka;
	struct kafka_sink *sink = opaque;
	const struct kafka_mail *mail = message->_private;
	struct flight *flight = mail->flight;
	if (!flight) {
		kafka_audit_report(sink->audit, message);
		return;
	}
	if (sink->audit && !message->err)
		kafka_audit_add(sink->audit, message, mail->time_ms);
	if (message->err) {
		flight->failed = true;
		snprintf(sink->reason, sizeof sink->reason, "%s", rd_kafka_err2str(message->err));
	}
	flight_answer(sink, flight, 1);
}

static void
error_on(rd_kafka_t *kafka, int error, const char *reason, void *opaque)
{
	static struct log_limit limit;
	struct kafka_sink *sink = opaque;
	char text[256] = "";
	if (error == RD_KAFKA_RESP_ERR__FATAL) {
		sink->fatal = true;
		rd_kafka_fatal_error(kafka, text, sizeof text);
		reason = text;
	}
	if (error == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN || error == RD_KAFKA_RESP_ERR__TRANSPORT)
		counter_add(&sink->env->counters->connection_failed, 1);
	log_limited(&limit, LOG_WARN, "sink %s: Kafka: %s: %s", sink->env->name, rd_kafka_err2name((rd_kafka_resp_err_t)error), reason);
}

static void
log_on(const rd_kafka_t *kafka, int level, const char *facility, const char *text)
{
	static struct log_limit limit;
	log_limited(&limit, level <= 3 ? LOG_WARN : LOG_INFO, "Kafka client %s: %s: %s", rd_kafka_name(kafka), facility, text);
}

/* Tells the runner. */
static void
flight_done(struct kafka_sink *sink, struct flight *flight, enum sink_result result)
{
	struct span *span = flight->span;
	flight->next = sink->free;
	sink->free = flight;
	sink->pending--;
	sink->env->done(sink->env, span, result);
}

static void
list_done(struct kafka_sink *sink, struct flight_list *list)
{
	while (list->first) {
		struct flight *flight = list->first;
		list->first = flight->next;
		flight_done(sink, flight, SINK_DONE);
	}
	*list = (struct flight_list){ NULL };
}

static void
flight_hold(struct kafka_sink *sink, struct flight *flight)
{
	const struct channel_ops *channel = sink->env->channel;
	struct flight_list *held = &sink->held;
	flight->next = held->first;
	held->first = flight;
	held->spans++;
	held->events += flight->span->events;
	held->bytes += flight->span->body_bytes;
	if (channel->span_release)
		channel->span_release(flight->span->taker, flight->span);
}

/* Shall the counts be told now? Not for each span, but before what waits for them takes up room that others need. */
static bool
tell_due(struct kafka_sink *sink, uint64_t now_ns)
{
	const struct flight_list *held = &sink->held;
	struct channel *on = sink->env->on;
	if (!held->spans && sink->pending)
		return false;		/* a span is about to end */
	if (sink->tell_soon || now_ns >= sink->tell_due_ns || held->spans >= HELD_SPANS || held->bytes >= HELD_BYTES)
		return true;
	if (now_ns >= sink->capacity_due_ns) {
		sink->capacity = on ? metrics_sum("CHANNEL", on->name, "ChannelCapacity") : 0;
		sink->capacity_due_ns = now_ns + NS_PER_S;
	}
	return sink->capacity && held->events >= (sink->capacity + 3) / 4;
}

/* Counts: tells them when it is time, and lets go of the spans that were waiting for it. */
static void
counts_turn(struct kafka_sink *sink)
{
	uint64_t now_ns = clock_now_ns(sink->env->clock);
	bool works = kafka_audit_works(sink->audit);
	if (!works) {
		list_done(sink, &sink->covered);
		list_done(sink, &sink->held);
	}
	if (sink->telling)
		sink->telling = !kafka_audit_tell(sink->audit);
	if (sink->telling || kafka_audit_sending(sink->audit))
		return;
	list_done(sink, &sink->covered);
	if (works ? tell_due(sink, now_ns) : kafka_audit_retry(sink->audit, now_ns)) {
		sink->covered = sink->held;
		sink->held = (struct flight_list){ NULL };
		sink->tell_soon = false;
		sink->telling = !kafka_audit_tell(sink->audit);
		if (sink->telling || kafka_audit_sending(sink->audit))
			sink->tell_due_ns = now_ns + sink->config->audit.interval_ns;
		if (!sink->telling && !kafka_audit_sending(sink->audit))
			list_done(sink, &sink->covered);
	}
}

/* What is answered: tells the runner, or holds it until it is counted. */
static void
flights_end(struct kafka_sink *sink)
{
	while (sink->ended) {
		struct flight *flight = sink->ended;
		sink->ended = flight->next;
		counter_add(&sink->env->counters->kafka_event_send_timer, (clock_now_ns(sink->env->clock) - flight->start_ns) / NS_PER_MS);
		if (flight->failed) {
			static struct log_limit limit;
			log_limited(&limit, LOG_WARN, "sink %s: a batch was not delivered and is tried again: %s", sink->env->name, sink->reason);
			flight_done(sink, flight, SINK_FAILED);
		} else if (sink->audit) {
			flight_hold(sink, flight);
		} else {
			flight_done(sink, flight, SINK_DONE);
		}
	}
	if (sink->audit)
		counts_turn(sink);
}

/* ---- open ---- */

static void
kafka_free(struct kafka_sink *sink)
{
	if (sink->plain)
		rd_kafka_topic_destroy(sink->plain);
	kafka_audit_stop(sink->audit);
	if (sink->kafka)
		rd_kafka_destroy(sink->kafka);
	kafka_audit_free(sink->audit);
	for (uint32_t i = 0; i < PENDING_SPANS; i++)
		free(sink->flights[i].mails);
	if (sink->wake_fd >= 0)
		close(sink->wake_fd);
	escape_free(sink->topic);
	avro_event_free(&sink->look);
	free(sink);
}

/* A client, with a handle of the plain topic, in place of the one that there may be. */
static int
client_open(struct kafka_sink *sink, struct err *err)
{
	const struct kafka_config *config = sink->config;
	rd_kafka_conf_t *conf = NULL;
	rd_kafka_topic_t *plain = NULL;
	char text[512];
	int rc = conf_make(&conf, config, sink->env->agent, sink->env->name, err);
	if (rc)
		return rc;
	rd_kafka_conf_set_opaque(conf, sink);
	rd_kafka_conf_set_dr_msg_cb(conf, report_on);
	rd_kafka_conf_set_error_cb(conf, error_on);
	rd_kafka_conf_set_log_cb(conf, log_on);
	rd_kafka_t *kafka = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
	if (!kafka) {
		rd_kafka_conf_destroy(conf);
		return err_set(err, EINVAL, "the Kafka client does not start: %s", text);
	}
	if (sink->plain_topic[0] && !(plain = rd_kafka_topic_new(kafka, sink->plain_topic, NULL)))
		rc = err_set(err, EINVAL, "kafka.topic \"%s\": %s", sink->plain_topic, rd_kafka_err2str(rd_kafka_last_error()));
	if (!rc && sink->audit)
		rc = kafka_audit_client(sink->audit, kafka, err);
	if (rc) {
		if (plain)
			rd_kafka_topic_destroy(plain);
		rd_kafka_destroy(kafka);
		return rc;
	}
	if (sink->plain)
		rd_kafka_topic_destroy(sink->plain);
	if (sink->kafka)
		rd_kafka_destroy(sink->kafka);
	sink->kafka = kafka;
	sink->plain = plain;
	sink->fatal = false;
	rd_kafka_queue_t *queue = rd_kafka_queue_get_main(kafka);
	uint64_t one = 1;
	rd_kafka_queue_io_event_enable(queue, sink->wake_fd, &one, sizeof one);
	rd_kafka_queue_destroy(queue);
	return 0;
}

/* An idempotent producer that lost count with its brokers has failed for good. What it had not delivered goes back to the channel, and another one
 * goes on. */
static void
client_renew(struct kafka_sink *sink)
{
	struct err err = { "" };
	uint64_t now_ns = clock_now_ns(sink->env->clock);
	if (now_ns < sink->renew_ns)
		return;
	sink->renew_ns = now_ns + NS_PER_S;
	rd_kafka_purge(sink->kafka, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
	if (rd_kafka_flush(sink->kafka, 1000))
		return;		/* some are not answered yet */
	flights_end(sink);
	if (client_open(sink, &err))
		log_error("sink %s: the Kafka client has failed, and another one does not begin: %s", sink->env->name, err.text);
	else
		log_warn("sink %s: the Kafka client had failed for good; another one goes on", sink->env->name);
}

static int
kafka_open(void **made, const void *config_, struct sink_env *env, struct err *err)
{
	const struct kafka_config *config = config_;
	int rc = kafka_check(config, env->name, err);
	if (rc)
		return rc;
	struct kafka_sink *sink = calloc(1, sizeof *sink);
	if (!sink)
		return err_set(err, ENOMEM, "no memory for the sink");
	sink->env = env;
	sink->config = config;
	for (uint32_t i = 0; i < PENDING_SPANS; i++) {
		sink->flights[i].next = sink->free;
		sink->free = &sink->flights[i];
	}
	sink->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (sink->wake_fd < 0)
		rc = err_set(err, errno, "eventfd: %s", strerror(errno));
	else
		rc = escape_parse(&sink->topic, config->topic, err);
	/* Flume fills escapes in only where the topic may change at all. */
	if (!rc && !config->topic_override) {
		snprintf(sink->plain_topic, sizeof sink->plain_topic, "%s", config->topic);
	} else if (!rc && escape_is_plain(sink->topic)) {
		struct event_view none = { 0 };
		(void)escape_fill(sink->topic, &none, sink->plain_topic, sizeof sink->plain_topic);
	}
	rc = rc ? rc : client_open(sink, err);
	if (!rc && config->audit.topic)
		rc = kafka_audit_open(&sink->audit, &config->audit, sink->kafka, env, err);
	if (rc) {
		kafka_free(sink);
		return rc;
	}
	*made = sink;
	return 0;
}

/* ---- produce ---- */

static bool
header_number(const struct event_view *event, const char *name, int64_t *number)
{
	struct header_view header;
	char digits[24], text[32], *end;
	const uint8_t *value;
	if (!event_view_header(event, name, strlen(name), &header))
		return false;
	uint32_t len = header_view_text(&header, digits, &value);
	if (len == 0 || len >= sizeof text)
		return false;
	memcpy(text, value, len);
	text[len] = '\0';
	errno = 0;
	*number = strtoll(text, &end, 10);
	return *end == '\0' && errno == 0 && (text[0] == '-' || text[0] == '+' || (text[0] >= '0' && text[0] <= '9'));
}

/* Where the event goes: *handle when it is the plain topic, else its name in `text`. 0 or -errno. */
static int
topic_find(struct kafka_sink *sink, const struct event_view *event, rd_kafka_topic_t **handle, char *text)
{
	const struct kafka_config *config = sink->config;
	struct header_view header;
	*handle = NULL;
	if (config->topic_override && event_view_header(event, config->topic_header, strlen(config->topic_header), &header)) {
		char digits[24];
		const uint8_t *value;
		uint32_t len = header_view_text(&header, digits, &value);
		if (len && len < TOPIC_BYTES) {
			memcpy(text, value, len);
			text[len] = '\0';
			return 0;
		}
	}
	if (sink->plain) {
		*handle = sink->plain;
		return 0;
	}
	long len = escape_fill(sink->topic, event, text, TOPIC_BYTES);
	return len < 0 ? (int)len : len == 0 ? -EINVAL : 0;
}

static int32_t
partition_find(struct kafka_sink *sink, const struct event_view *event)
{
	const struct kafka_config *config = sink->config;
	int64_t number;
	struct header_view header;
	if (config->partition_header && event_view_header(event, config->partition_header, strlen(config->partition_header), &header)) {
		if (header_number(event, config->partition_header, &number) && number >= 0 && number <= INT32_MAX)
			return (int32_t)number;
		/* Flume fails the batch and would try it for ever. */
		static struct log_limit limit;
		log_limited(&limit, LOG_WARN, "sink %s: header %s of an event is no number of a partition: sent without one", sink->env->name,
			config->partition_header);
	}
	return config->default_partition < 0 ? RD_KAFKA_PARTITION_UA : (int32_t)config->default_partition;
}

/* What the message's report is known by. Counts of Flume's Avro events go by their header `timestamp`, as who reads them goes. */
static struct kafka_mail *
mail_of(struct kafka_sink *sink, struct flight *flight, const struct event_view *event)
{
	if (!sink->audit || !sink->config->event_format)
		return &flight->mail;
	/* The first message makes room for all: where one lies must not move. */
	uint32_t events = flight->span->events;
	if (!flight->mails_used && events > flight->mails_room) {
		free(flight->mails);
		flight->mails = malloc(events * sizeof *flight->mails);
		flight->mails_room = flight->mails ? events : 0;
		if (!flight->mails)
			return NULL;
	}
	assert(flight->mails_used < flight->mails_room);
	struct kafka_mail *mail = &flight->mails[flight->mails_used++];
	struct header_view header;
	char digits[24];
	const uint8_t *text;
	*mail = (struct kafka_mail){ .flight = flight };
	if (event_view_header(event, "timestamp", 9, &header)) {
		uint32_t len = header_view_text(&header, digits, &text);
		if (!audit_time(text, len, &mail->time_ms))
			mail->time_ms = 0;
	}
	return mail;
}

static rd_kafka_resp_err_t
message_produce(struct kafka_sink *sink, struct flight *flight, const struct event_view *event)
{
	const struct kafka_config *config = sink->config;
	char topic[TOPIC_BYTES];
	rd_kafka_topic_t *handle;
	if (topic_find(sink, event, &handle, topic))
		return RD_KAFKA_RESP_ERR__INVALID_ARG;
	struct kafka_mail *mail = mail_of(sink, flight, event);
	if (!mail)
		return RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE;
	/* A body of no bytes is a value of no bytes, not a missing one. */
	void *payload = event->body_len ? (void *)event->body : (void *)"";
	size_t len = event->body_len;
	int flags = 0;
	if (config->event_format) {
		if (avro_event_look(&sink->look, event) || !(payload = malloc(sink->look.bytes)))
			return RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE;
		len = avro_event_write(&sink->look, event, payload);
		flags = RD_KAFKA_MSG_F_FREE;	/* librdkafka's once it took the message */
	}
	struct header_view key;
	char digits[24];
	const uint8_t *key_bytes = NULL;
	size_t key_len = 0;
	if (event_view_header(event, "key", 3, &key)) {
		key_len = header_view_text(&key, digits, &key_bytes);
		if (!key_bytes)
			key_bytes = (const uint8_t *)"";
	}
	int64_t timestamp = 0;
	if (config->timestamp_header && (!header_number(event, config->timestamp_header, &timestamp) || timestamp < 0))
		timestamp = 0;	/* now */
	rd_kafka_headers_t *headers = NULL;
	for (size_t i = 0; i < config->headers.count; i++) {
		struct header_view header;
		char number[24];
		const uint8_t *value;
		const struct option_pair *pair = &config->headers.items[i];
		if (!event_view_header(event, pair->key, strlen(pair->key), &header))
			continue;
		if (!headers)
			headers = rd_kafka_headers_new(config->headers.count);
		uint32_t value_len = header_view_text(&header, number, &value);
		(void)rd_kafka_header_add(headers, pair->value, -1, value_len ? (const void *)value : "", value_len);
	}
	rd_kafka_vu_t args[8];
	size_t count = 0;
	if (handle)
		args[count++] = (rd_kafka_vu_t){ .vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = handle };
	else
		args[count++] = (rd_kafka_vu_t){ .vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = topic };
	args[count++] = (rd_kafka_vu_t){ .vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = partition_find(sink, event) };
	args[count++] = (rd_kafka_vu_t){ .vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = flags };
	args[count++] = (rd_kafka_vu_t){ .vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = { payload, len } };
	args[count++] = (rd_kafka_vu_t){ .vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = mail };
	if (key_bytes)
		args[count++] = (rd_kafka_vu_t){ .vtype = RD_KAFKA_VTYPE_KEY, .u.mem = { (void *)key_bytes, key_len } };
	if (timestamp)
		args[count++] = (rd_kafka_vu_t){ .vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = timestamp };
	if (headers)
		args[count++] = (rd_kafka_vu_t){ .vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers };
	rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;
	for (int waited_ms = 0;; waited_ms += 10) {
		rd_kafka_error_t *trouble = rd_kafka_produceva(sink->kafka, args, count);
		if (!trouble)
			return RD_KAFKA_RESP_ERR_NO_ERROR;
		error = rd_kafka_error_code(trouble);
		rd_kafka_error_destroy(trouble);
		if (error != RD_KAFKA_RESP_ERR__QUEUE_FULL || waited_ms >= QUEUE_WAIT_MS)
			break;
		rd_kafka_poll(sink->kafka, 10);
	}
	if (headers)
		rd_kafka_headers_destroy(headers);
	if (flags)
		free(payload);
	return error;
}

static enum sink_result
kafka_deliver(void *self, struct span *span)
{
	struct kafka_sink *sink = self;
	struct flight *flight = sink->free;
	assert(flight);
	sink->free = flight->next;
	sink->pending++;
	*flight = (struct flight){ .span = span, .unanswered = 1, .start_ns = clock_now_ns(sink->env->clock), .mail = { .flight = flight },
		.mails = flight->mails, .mails_room = flight->mails_room };
	struct span_cursor cursor = { 0 };
	struct event_view event;
	while (!flight->failed && sink->env->channel->span_next(span, &cursor, &event)) {
		flight->unanswered++;
		rd_kafka_resp_err_t error = message_produce(sink, flight, &event);
		if (error) {
			flight->unanswered--;
			flight->failed = true;
			sink->fatal = sink->fatal || error == RD_KAFKA_RESP_ERR__FATAL;
			snprintf(sink->reason, sizeof sink->reason, "%s%s", rd_kafka_err2str(error),
				 error == RD_KAFKA_RESP_ERR__INVALID_ARG ?
					" (kafka.topic needs a header or a timestamp that the event does not have, or there is no such topic name)" :
					"");
		}
	}
	flight_answer(sink, flight, 1);
	rd_kafka_poll(sink->kafka, 0);
	flights_end(sink);
	return SINK_PENDING;
}

static uint64_t
kafka_step(void *self, uint64_t now_ns)
{
	struct kafka_sink *sink = self;
	uint64_t woken;
	(void)now_ns;
	(void)!read(sink->wake_fd, &woken, sizeof woken);
	rd_kafka_poll(sink->kafka, 0);
	flights_end(sink);
	if (sink->fatal)
		client_renew(sink);
	return sink->pending ? STEP_NS : NS_PER_S;
}

static int
kafka_wait_fds(void *self, struct pollfd *fds, int max)
{
	struct kafka_sink *sink = self;
	if (max < 1)
		return 0;
	fds[0] = (struct pollfd){ .fd = sink->wake_fd, .events = POLLIN };
	return 1;
}

static void
kafka_drain(void *self)
{
	struct kafka_sink *sink = self;
	sink->tell_soon = true;
}

static void
kafka_finish(void *self, uint64_t deadline_ns)
{
	struct kafka_sink *sink = self;
	bool told = sink->audit == NULL;
	uint32_t windows = 0;
	while (clock_now_ns(sink->env->clock) < deadline_ns) {
		sink->tell_soon = true;
		flights_end(sink);
		if (!sink->pending && (!sink->audit || (!sink->telling && !kafka_audit_sending(sink->audit)))) {
			if (told || !kafka_audit_untold(sink->audit, &windows))
				break;
			/* What was refused before gets a last try. */
			told = true;
			sink->telling = !kafka_audit_tell(sink->audit);
		}
		uint64_t left_ms = (deadline_ns - clock_now_ns(sink->env->clock)) / NS_PER_MS;
		(void)rd_kafka_flush(sink->kafka, left_ms < 100 ? (int)left_ms + 1 : 100);
	}
	/* Delivered is delivered, whether that could be told or not. */
	if (sink->audit) {
		list_done(sink, &sink->covered);
		list_done(sink, &sink->held);
		uint64_t untold = kafka_audit_untold(sink->audit, &windows);
		if (untold)
			log_warn("sink %s: %llu delivered records are in no count of audit: topic %s did not take it in time", sink->env->name,
				 (unsigned long long)untold, sink->config->audit.topic);
		counter_add(&sink->env->counters->audit_lost, windows);
	}
	if (!sink->pending)
		return;
	/* What is left goes back to the channel, once no thread of librdkafka can look at its bytes any more. */
	log_warn("sink %s: %u batches were not answered in time and are sent again at the next start", sink->env->name, sink->pending);
	rd_kafka_purge(sink->kafka, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
	(void)rd_kafka_flush(sink->kafka, 1000);
	if (sink->plain)
		rd_kafka_topic_destroy(sink->plain);
	sink->plain = NULL;
	kafka_audit_stop(sink->audit);
	rd_kafka_destroy(sink->kafka);
	sink->kafka = NULL;
	kafka_audit_free(sink->audit);
	sink->audit = NULL;
	flights_end(sink);
	for (uint32_t i = 0; i < PENDING_SPANS && sink->pending; i++) {
		struct flight *flight = &sink->flights[i];
		if (flight->unanswered) {
			flight->failed = true;
			flight_answer(sink, flight, flight->unanswered);
		}
	}
	flights_end(sink);
}

static void
kafka_close(void *self)
{
	struct kafka_sink *sink = self;
	assert(sink->pending == 0);
	kafka_free(sink);
}

const struct sink_ops sink_kafka = {
	.name = "kafka", .class_names = "org.apache.flume.sink.kafka.KafkaSink",
	.help = "Sends each event as a message to Kafka, at least once.",
	.options = kafka_options, .config_size = sizeof(struct kafka_config), .batch_events = kafka_batch_events, .check = kafka_check,
	.open = kafka_open, .deliver = kafka_deliver, .step = kafka_step, .wait_fds = kafka_wait_fds, .finish = kafka_finish, .close = kafka_close,
	.drain = kafka_drain,
	.keeps = SINK_KEEPS_BATCHES | SINK_KEEPS_SUCCESS | SINK_KEEPS_KAFKA, .pending_max = PENDING_SPANS,
};
