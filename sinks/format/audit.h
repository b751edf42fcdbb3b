/* audit: a count of audit, how many records of a Kafka topic a tier has seen in one window of event time, as a message of Camus's audit topic.
 * Written by the agent's kafka sink and by the batch loader, read by the loader's compare. Any thread.
 *
 *   key    {"topic": "T", "tier": "agents", "window": 1700000000000, "run": "..."}
 *   value  {"eventType": "T", "tier": "agents", "beginTimestamp": ms, "endTimestamp": ms, "count": n,
 *           "services": [{"server": "...", "service": "...", "count": n}], "run": "..."}
 *
 * The key says what is counted: of messages with one key the greatest count holds, whoever sent it how often and in whatever order they arrived. So
 * a count may be told while it grows, and again after a failure, and the topic may be compacted. Counts of several keys are added. */
#ifndef PENSTOCK_SINKS_FORMAT_AUDIT_H
#define PENSTOCK_SINKS_FORMAT_AUDIT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AUDIT_TOPIC "TrackingMonitoringEvent"	/* Camus's */

struct audit_count {
	const char *topic, *tier;	/* UTF-8 */
	const char *run;		/* NULL, when read: each such message is a count of its own */
	int64_t begin_ms, length_ms;
	int64_t count;
};

/* Start of the window that the time falls into; a floor for times before 1970 too. */
int64_t audit_window(int64_t time_ms, int64_t length_ms);
/* The header `timestamp` of Flume's Avro events as the time of a count: a number of ms that is not 0. */
bool audit_time(const uint8_t *text, size_t len, int64_t *time_ms);

/* Texts to free, or NULL: no memory, or a name that is no UTF-8. services: the array, borrowed. manifest: 0 for none. */
char *audit_key(const struct audit_count *count);
char *audit_value(const struct audit_count *count, json_t *services, int64_t manifest);
/* From a parsed message; texts are the message's. False: it is no count. */
bool audit_read(const json_t *message, struct audit_count *count);

#endif
