/* sink_null: takes and forgets; a line now and then. */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "sinks/sink.h"

struct null_config {
	uint32_t batch_events;
	uint32_t log_every_events;
};

struct null_sink {
	struct sink_env *env;
	uint64_t events, next_line;
	uint32_t log_every_events;
};

static const struct option null_options[] = {
	{ "batchSize", OPT_U32, offsetof(struct null_config, batch_events), "100", 1, 1000000, "events", "Events a transaction." },
	{ "logEveryNEvents", OPT_U32, offsetof(struct null_config, log_every_events), "10000", 1, INT32_MAX, "events",
		"A line in the log after so many events." },
	{ NULL },
};

static uint32_t
null_batch_events(const void *config)
{
	return ((const struct null_config *)config)->batch_events;
}

static int
null_open(void **made, const void *config, struct sink_env *env, struct err *err)
{
	struct null_sink *sink = calloc(1, sizeof *sink);
	if (!sink)
		return err_set(err, ENOMEM, "no memory for the sink");
	sink->env = env;
	sink->log_every_events = ((const struct null_config *)config)->log_every_events;
	sink->next_line = sink->log_every_events;
	*made = sink;
	return 0;
}

static enum sink_result
null_deliver(void *self, struct span *span)
{
	struct null_sink *sink = self;
	sink->events += span->events;
	if (sink->events >= sink->next_line) {
		static struct log_limit limit;
		log_limited(&limit, LOG_INFO, "Null sink %s successful processed %llu events.", sink->env->name, (unsigned long long)sink->events);
		sink->next_line = sink->events - sink->events % sink->log_every_events + sink->log_every_events;
	}
	return SINK_DONE;
}

static void
null_close(void *self)
{
	free(self);
}

const struct sink_ops sink_null = {
	.name = "null", .class_names = "org.apache.flume.sink.NullSink",
	.help = "Takes events and forgets them.",
	.options = null_options, .config_size = sizeof(struct null_config), .batch_events = null_batch_events,
	.open = null_open, .deliver = null_deliver, .close = null_close,
};
