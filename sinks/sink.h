/* sink: takes spans of a channel out of the house. One ops table per kind. All calls on the sink runner's thread but for check. */
#ifndef PENSTOCK_SINKS_SINK_H
#define PENSTOCK_SINKS_SINK_H

#include <poll.h>

#include "channel/channel.h"

enum sink_result {
	SINK_DONE,	/* every event of the span is out: settle(commit) */
	SINK_PENDING,	/* the sink keeps the span and will report it through env->done from step or finish */
	SINK_FAILED,	/* nothing is known to be out (or some are: at least once): settle(rollback), back off, offer again */
};

/* A sink's counters, Flume's attributes first (flume: SinkCounter, KafkaSinkCounter); the runner registers them. */
struct sink_counters {
	struct counter start_time, stop_time;
	struct counter connection_created, connection_closed, connection_failed;
	struct counter batch_empty, batch_underflow, batch_complete;
	struct counter event_drain_attempt, event_drain_success, event_write_fail, channel_read_fail;
	struct counter kafka_event_send_timer, rollback;
	struct counter audit_told, audit_failed, audit_lost;	/* counts of audit; of kafka sinks, as the line above */
	struct counter delivered, delivered_bytes, failed_spans, pending_spans, backing_off;	/* our own, kept for every kind */
};

/* Which of Flume's attributes a kind keeps (sink_ops.keeps); those it does not keep stay 0, as in Flume. */
enum sink_keeps {
	SINK_KEEPS_BATCHES = 1,		/* BatchEmptyCount, BatchUnderflowCount */
	SINK_KEEPS_COMPLETE = 2,	/* BatchCompleteCount */
	SINK_KEEPS_ATTEMPTS = 4,	/* EventDrainAttemptCount */
	SINK_KEEPS_SUCCESS = 8,		/* EventDrainSuccessCount, EventWriteFail, ChannelReadFail */
	SINK_KEEPS_KAFKA = 16,		/* KafkaEventSendTimer, RollbackCount */
};

struct sink_env {
	const char *name;		/* k1 */
	const char *agent;
	struct clock *clock;
	const struct channel_ops *channel;	/* for span_next */
	/* A pending span's end; runner thread only. */
	void (*done)(struct sink_env *env, struct span *span, enum sink_result result);
	/* The same when only the events of `set` are out (ascending, within the span): they are settled, the others offered
	 * again, without a pause: the sink itself sees to one. set is not NULL, count may be 0. */
	void (*done_some)(struct sink_env *env, struct span *span, const struct event_range *set, uint32_t count);
	struct channel *on;			/* the channel; for its ledger and what it holds */
	void *runner;
	bool grouped;				/* another sink takes what this one gives back: no long patience */
	struct sink_counters *counters;		/* runner thread; the sink counts connections and its own timers */
};

struct sink_place;
struct sink_file;

struct sink_ops {
	const char *name;
	const char *class_names;
	const char *help;
	const struct option *options;
	size_t config_size;
	uint32_t (*batch_events)(const void *config);	/* NULL: 1 event */
	int (*check)(const void *config, const char *name, struct err *err);
	int (*open)(void **sink, const void *config, struct sink_env *env, struct err *err);
	enum sink_result (*deliver)(void *sink, struct span *span);
	uint64_t (*step)(void *sink, uint64_t now_ns);	/* timers; returns ns until it wants the next call (UINT64_MAX: none); may be NULL */
	int (*wait_fds)(void *sink, struct pollfd *fds, int max);	/* may be NULL */
	void (*finish)(void *sink, uint64_t deadline_ns);	/* stop: end what is pending by the deadline; all pending spans are reported */
	int (*resolve)(void *sink, const struct state_record *intent);	/* exactly once: settles an INTENT found at start; may be NULL */
	void (*close)(void *sink);
	uint32_t keeps;			/* enum sink_keeps; 0: Flume has no counters for this kind */
	uint32_t pending_max;		/* spans the sink may keep at a time; 0: the runner's own bound */
	uint64_t pending_bytes;		/* bodies of these; 0: the runner's own bound */
	void (*drain)(void *sink);	/* a stop is near: what is kept open for long ends soon, more may still come; may be NULL */
	bool (*ready)(void *sink);	/* false: takes nothing now (its memory is full); may be NULL */
	/* Control, without an open sink: what the settings lead to that nobody may want. `key` is an option's. May be NULL. */
	void (*advise)(const void *config, const struct sink_place *place, void (*tell)(void *context, const char *key, const char *text), void *context);
	/* Control: files without their final name, the oldest first; waits up to half a second for the runner. May be NULL. */
	void (*files)(void *sink, void (*visit)(void *context, const struct sink_file *file), void *context);
};

/* Where a sink takes from, for its advice. */
struct sink_place {
	const char *channel, *channel_kind;
	uint64_t capacity;		/* events; 0: not known */
};

/* What a sink keeps open, for people. */
struct sink_file {
	const char *name, *state;
	uint64_t age_s, bytes, events;
};

extern const struct sink_ops sink_null, sink_logger, sink_file_roll, sink_hdfs, sink_kafka;
extern const struct sink_ops *const sink_kinds[];	/* NULL terminated */

#endif
