/* sink_logger: one line in our own log for each event, in Flume's layout. For a person who watches. */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "sinks/format/dump.h"
#include "sinks/sink.h"

struct logger_config {
	uint32_t max_bytes_to_log;
};

struct logger_sink {
	struct sink_env *env;
	uint32_t max_bytes_to_log;
	char *text;
	size_t room;
};

static const struct option logger_options[] = {
	{ "maxBytesToLog", OPT_U32, offsetof(struct logger_config, max_bytes_to_log), "16", 0, INT32_MAX, "bytes", "Bytes of the body shown.", OPTION_LENIENT },
	{ NULL },
};

static int
logger_open(void **made, const void *config, struct sink_env *env, struct err *err)
{
	struct logger_sink *sink = calloc(1, sizeof *sink);
	if (!sink)
		return err_set(err, ENOMEM, "no memory for the sink");
	sink->env = env;
	sink->max_bytes_to_log = ((const struct logger_config *)config)->max_bytes_to_log;
	*made = sink;
	return 0;
}

static enum sink_result
logger_deliver(void *self, struct span *span)
{
	struct logger_sink *sink = self;
	struct span_cursor cursor = { 0 };
	struct event_view event;
	while (sink->env->channel->span_next(span, &cursor, &event)) {
		if (event_dump(&event, sink->max_bytes_to_log, &sink->text, &sink->room) < 0)
			return SINK_FAILED;
		log_info("Event: %s", sink->text);
	}
	return SINK_DONE;
}

static void
logger_close(void *self)
{
	struct logger_sink *sink = self;
	free(sink->text);
	free(sink);
}

const struct sink_ops sink_logger = {
	.name = "logger", .class_names = "org.apache.flume.sink.LoggerSink",
	.help = "Shows each event in the log; for trying things out.",
	.options = logger_options, .config_size = sizeof(struct logger_config),
	.open = logger_open, .deliver = logger_deliver, .close = logger_close,
};
