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

struct sink_env {
	const char *name;		/* k1 */
	const char *agent;
	struct clock *clock;
	const struct channel_ops *channel;	/* for span_next */
	/* A pending span's end; runner thread only. */
	void (*done)(struct sink_env *env, struct span *span, enum sink_result result);
	void *runner;
};

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
};

extern const struct sink_ops sink_null, sink_logger, sink_file_roll, sink_kafka;
extern const struct sink_ops *const sink_kinds[];	/* NULL terminated */

#endif
