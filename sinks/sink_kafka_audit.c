#include "sinks/sink_kafka_audit.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/log.h"
#include "base/utf8.h"
#include "sinks/audit_table.h"
#include "sinks/format/audit.h"

#define MINUTE_NS (60 * NS_PER_S)
#define WINDOW_MINUTES_MAX 10080u	/* as the loader's kafka.monitor.time.granularity */
#define TIER_BYTES 200u
#define RETRY_NS NS_PER_S		/* after a refusal */
#define PATIENCE_MS 10000		/* events wait for a count no longer than that */

/* Owner and thread: the sink's. */
struct kafka_audit {
	const struct kafka_audit_config *config;
	struct sink_env *env;
	rd_kafka_t *kafka;
	rd_kafka_topic_t *topic;
	const char *tier;
	char id[20], server[256], service[512];	/* id: this start of the sink */
	uint32_t sending;
	uint64_t retry_ns;			/* 0: the topic takes what it gets */
	uint64_t alone;				/* counts of one record that found no room in the table */
	struct kafka_mail mails[AUDIT_WINDOWS + 1];	/* one for each window, the last for those alone */
	struct audit_table table;
};

int
kafka_audit_check(const struct kafka_audit_config *config, const char *event_topic, const char *acks, struct err *err)
{
	uint64_t minutes = config->window_ns / MINUTE_NS;
	if (!config->topic) {
		if (config->tier)
			return err_set(err, EINVAL, "penstock.kafka.audit.tier \"%s\" counts nothing: give penstock.kafka.audit.topic too (the batch loader reads %s)",
				config->tier, AUDIT_TOPIC);
		return 0;
	}
	size_t len = strlen(config->topic);
	if (len >= AUDIT_TOPIC_BYTES || strspn(config->topic, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != len ||
	    strcmp(config->topic, ".") == 0 || strcmp(config->topic, "..") == 0)
		return err_set(err, EINVAL, "penstock.kafka.audit.topic \"%s\" is no name of a topic: want at most 249 letters, digits, dots, _ and -, no escapes",
			config->topic);
	if (strcmp(config->topic, event_topic) == 0)
		return err_set(err, EINVAL, "penstock.kafka.audit.topic \"%s\" is kafka.topic too: counts want a topic of their own (the batch loader reads %s)",
			config->topic, AUDIT_TOPIC);
	if (strcmp(acks, "0") == 0)
		return err_set(err, EINVAL, "penstock.kafka.audit.topic: with kafka.producer.acks = 0 nobody knows what arrived: want 1 or all");
	if (config->tier && (strlen(config->tier) >= TIER_BYTES || !utf8_valid((const uint8_t *)config->tier, strlen(config->tier))))
		return err_set(err, EINVAL, "penstock.kafka.audit.tier: want at most %u bytes of UTF-8", TIER_BYTES - 1);
	if (config->window_ns % MINUTE_NS || minutes < 1 || minutes > WINDOW_MINUTES_MAX)
		return err_set(err, EINVAL, "penstock.kafka.audit.window: want whole minutes from 1m to %um, as the batch loader's kafka.monitor.time.granularity",
			WINDOW_MINUTES_MAX);
	if (config->interval_ns < 10 * NS_PER_MS || config->interval_ns > MINUTE_NS)
		return err_set(err, EINVAL, "penstock.kafka.audit.interval: want 10ms to 1m: events stay in the channel so long");
	return 0;
}

int
kafka_audit_client(struct kafka_audit *audit, rd_kafka_t *kafka, struct err *err)
{
	char text[512];
	/* Whatever the events are sent with, a count is told once all replicas have it. */
	rd_kafka_topic_conf_t *conf = rd_kafka_default_topic_conf_dup(kafka);
	size_t room = sizeof text;
	bool set = rd_kafka_topic_conf_get(conf, "message.timeout.ms", text, &room) == RD_KAFKA_CONF_OK;
	long timeout_ms = set ? strtol(text, NULL, 10) : 0;
	char patience[24];
	snprintf(patience, sizeof patience, "%ld", timeout_ms > 0 && timeout_ms < PATIENCE_MS ? timeout_ms : (long)PATIENCE_MS);
	if (rd_kafka_topic_conf_set(conf, "message.timeout.ms", patience, text, sizeof text) ||
	    rd_kafka_topic_conf_set(conf, "request.required.acks", "-1", text, sizeof text)) {
		rd_kafka_topic_conf_destroy(conf);
		return err_set(err, EINVAL, "penstock.kafka.audit.topic: %s", text);
	}
	rd_kafka_topic_t *topic = rd_kafka_topic_new(kafka, audit->config->topic, conf);
	if (!topic)
		return err_set(err, EINVAL, "penstock.kafka.audit.topic \"%s\": %s", audit->config->topic, rd_kafka_err2str(rd_kafka_last_error()));
	kafka_audit_stop(audit);
	audit->topic = topic;
	audit->kafka = kafka;
	return 0;
}

int
kafka_audit_open(struct kafka_audit **made, const struct kafka_audit_config *config, rd_kafka_t *kafka, struct sink_env *env, struct err *err)
{
	uint64_t id;
	struct kafka_audit *audit = calloc(1, sizeof *audit);
	if (!audit)
		return err_set(err, ENOMEM, "no memory for counts of audit");
	audit->config = config;
	audit->env = env;
	audit->tier = config->tier ? config->tier : AUDIT_TIER;
	audit_table_init(&audit->table, (int64_t)(config->window_ns / NS_PER_MS));
	if (getrandom(&id, sizeof id, 0) != sizeof id)
		id = clock_wall_ns(env->clock) ^ (uint64_t)getpid() << 48;
	snprintf(audit->id, sizeof audit->id, "%016" PRIx64, id);
	if (gethostname(audit->server, sizeof audit->server - 1) || !audit->server[0])
		snprintf(audit->server, sizeof audit->server, "unknown_server");
	snprintf(audit->service, sizeof audit->service, "%s.%s", env->agent ? env->agent : "penstock", env->name);
	utf8_mend(audit->server, strlen(audit->server));
	utf8_mend(audit->service, strlen(audit->service));
	if (kafka_audit_client(audit, kafka, err)) {
		free(audit);
		return -EINVAL;
	}
	*made = audit;
	return 0;
}

void
kafka_audit_stop(struct kafka_audit *audit)
{
	if (!audit || !audit->topic)
		return;
	rd_kafka_topic_destroy(audit->topic);
	audit->topic = NULL;
}

void
kafka_audit_free(struct kafka_audit *audit)
{
	free(audit);
}

static rd_kafka_resp_err_t
count_produce(struct kafka_audit *audit, struct kafka_mail *mail, const char *topic, int64_t begin_ms, uint64_t count, const char *run)
{
	struct audit_count told = { .topic = topic, .tier = audit->tier, .run = run, .begin_ms = begin_ms, .length_ms = audit->table.length_ms,
		.count = (int64_t)count };
	json_t *services = json_pack("[{s:s, s:s, s:I}]", "server", audit->server, "service", audit->service, "count", (json_int_t)count);
	char *key = audit_key(&told), *value = audit_value(&told, services, 0);
	rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE;
	if (key && value)
		error = rd_kafka_producev(audit->kafka, RD_KAFKA_V_RKT(audit->topic), RD_KAFKA_V_KEY(key, strlen(key)), RD_KAFKA_V_VALUE(value, strlen(value)),
			RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_OPAQUE(mail), RD_KAFKA_V_END);
	json_decref(services);
	free(key);
	free(value);
	if (!error)
		audit->sending++;
	return error;
}

static void
refused(struct kafka_audit *audit, rd_kafka_resp_err_t error, bool lost)
{
	static struct log_limit limit;
	audit->retry_ns = clock_now_ns(audit->env->clock) + RETRY_NS;
	counter_add(lost ? &audit->env->counters->audit_lost : &audit->env->counters->audit_failed, 1);
	log_limited(&limit, LOG_WARN, "sink %s: a count of audit did not reach topic %s and is %s: %s; events go on without waiting for it",
		audit->env->name, audit->config->topic, lost ? "lost" : "sent again", rd_kafka_err2str(error));
}

void
kafka_audit_add(struct kafka_audit *audit, const rd_kafka_message_t *message, int64_t time_ms)
{
	const char *topic = rd_kafka_topic_name(message->rkt);
	if (!time_ms) {
		rd_kafka_timestamp_type_t type;
		time_ms = rd_kafka_message_timestamp(message, &type);
		if (type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE)
			time_ms = (int64_t)(clock_wall_ns(audit->env->clock) / NS_PER_MS);
	}
	if (audit_table_add(&audit->table, topic, time_ms))
		return;
	/* More windows at once than the table holds: this record's count goes by itself. */
	char run[64];
	snprintf(run, sizeof run, "%s-alone-%" PRIu64, audit->id, ++audit->alone);
	rd_kafka_resp_err_t error = count_produce(audit, &audit->mails[AUDIT_WINDOWS], topic, audit_window(time_ms, audit->table.length_ms), 1, run);
	if (error)
		refused(audit, error, true);
}

void
kafka_audit_report(struct kafka_audit *audit, const rd_kafka_message_t *message)
{
	const struct kafka_mail *mail = message->_private;
	size_t index = (size_t)(mail - audit->mails);
	assert(index <= AUDIT_WINDOWS && audit->sending > 0);
	audit->sending--;
	if (index < AUDIT_WINDOWS)
		audit_window_sent(&audit->table.windows[index], !message->err);
	if (message->err) {
		refused(audit, message->err, index == AUDIT_WINDOWS);
	} else {
		audit->retry_ns = 0;
		counter_add(&audit->env->counters->audit_told, 1);
	}
}

bool
kafka_audit_tell(struct kafka_audit *audit)
{
	for (struct audit_window *window = NULL; (window = audit_table_untold(&audit->table, window));) {
		char run[64];
		snprintf(run, sizeof run, "%s-%" PRIu64, audit->id, window->serial);
		rd_kafka_resp_err_t error = count_produce(audit, &audit->mails[window - audit->table.windows], window->topic, window->begin_ms, window->count, run);
		if (error == RD_KAFKA_RESP_ERR__QUEUE_FULL)
			return false;
		if (error) {
			refused(audit, error, false);
			return true;
		}
		audit_window_send(window);
	}
	return true;
}

uint32_t
kafka_audit_sending(const struct kafka_audit *audit)
{
	return audit->sending;
}

bool
kafka_audit_works(const struct kafka_audit *audit)
{
	return audit->retry_ns == 0;
}

bool
kafka_audit_retry(const struct kafka_audit *audit, uint64_t now_ns)
{
	return now_ns >= audit->retry_ns;
}

uint64_t
kafka_audit_untold(const struct kafka_audit *audit, uint32_t *windows)
{
	return audit_table_untold_records(&audit->table, windows);
}
