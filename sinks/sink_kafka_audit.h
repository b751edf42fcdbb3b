/* sink_kafka_audit: the kafka sink's counts of audit (sinks/format/audit.h), told to a topic through the sink's own producer.
 *
 * A record counts when its delivery report is good, under the topic and the time that it has in Kafka; so a window's count is never more than what
 * lies in Kafka. The sink settles a span only once the counts with its records are told: after a kill what was told is in Kafka once, and
 * what was not told comes again. All calls on the sink's thread. */
#ifndef PENSTOCK_SINKS_SINK_KAFKA_AUDIT_H
#define PENSTOCK_SINKS_SINK_KAFKA_AUDIT_H

#include <librdkafka/rdkafka.h>

#include "base/option.h"
#include "sinks/sink.h"

struct kafka_audit;

struct kafka_audit_config {
	const char *topic;		/* NULL: no counts */
	const char *tier;		/* NULL: AUDIT_TIER */
	uint64_t window_ns, interval_ns;
};
#define AUDIT_TIER "penstock"

/* What every message of the sink carries as its own: whose answer it is. */
struct flight;
struct kafka_mail {
	struct flight *flight;		/* NULL: a count's */
	int64_t time_ms;		/* event time where it is not the record's; 0: the record's */
};

/* 0 or -EINVAL. event_topic: kafka.topic. */
int kafka_audit_check(const struct kafka_audit_config *config, const char *event_topic, const char *acks, struct err *err);
int kafka_audit_open(struct kafka_audit **audit, const struct kafka_audit_config *config, rd_kafka_t *kafka, struct sink_env *env, struct err *err);
/* From now on counts go by this producer; nothing is under way. 0 or -EINVAL: as before. */
int kafka_audit_client(struct kafka_audit *audit, rd_kafka_t *kafka, struct err *err);
/* A good report of an event. */
void kafka_audit_add(struct kafka_audit *audit, const rd_kafka_message_t *message, int64_t time_ms);
/* The report of a count. */
void kafka_audit_report(struct kafka_audit *audit, const rd_kafka_message_t *message);
/* Sends what has grown. False: the producer's queue is full, call again. With nothing under way afterwards all is told, or cannot be. */
bool kafka_audit_tell(struct kafka_audit *audit);
/* Counts under way. */
uint32_t kafka_audit_sending(const struct kafka_audit *audit);
/* False from a refusal until the topic has taken a count again: then nothing shall wait for it. */
bool kafka_audit_works(const struct kafka_audit *audit);
/* Time to try again? */
bool kafka_audit_retry(const struct kafka_audit *audit, uint64_t now_ns);
/* Records that are counted and not told; *windows that they are of. */
uint64_t kafka_audit_untold(const struct kafka_audit *audit, uint32_t *windows);
/* Before the producer goes, and after. NULL is fine. */
void kafka_audit_stop(struct kafka_audit *audit);
void kafka_audit_free(struct kafka_audit *audit);

#endif
