/* interceptor_timestamp: the time of receipt in ms since 1970, as a header. */
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "dataplane/interceptor/interceptor.h"

struct timestamp_config {
	const char *header;
	bool preserve;
};

struct timestamp {
	const struct name *header;
	bool preserve;
};

static const struct option timestamp_options[] = {
	{"headerName", OPT_STRING, offsetof(struct timestamp_config, header), "timestamp", .help = "Name of the header.", .old_names = "header",
	 .effect = EFFECT_LIVE},
	{"preserveExisting", OPT_BOOL, offsetof(struct timestamp_config, preserve), "false", .help = "Keep a header that is there already.",
	 .effect = EFFECT_LIVE},
	{0},
};

static int
timestamp_compile(const void *config, void **compiled, struct err *err)
{
	const struct timestamp_config *wanted = config;
	struct timestamp *self = calloc(1, sizeof *self);
	if (!self)
		return err_set(err, ENOMEM, "out of memory");
	self->header = name_intern(wanted->header, strlen(wanted->header));
	self->preserve = wanted->preserve;
	*compiled = self;
	return 0;
}

static void
timestamp_run(const void *compiled, void *scratch, struct batch *batch)
{
	const struct timestamp *self = compiled;
	(void)scratch;
	for (uint32_t i = 0; i < batch->count; i++) {
		struct event *event = &batch->events[i];
		if (event->dropped || (self->preserve && event_header(event, self->header)))
			continue;
		event_set_number(batch, event, self->header, (int64_t)(event->time_ns / NS_PER_MS));
	}
}

const struct interceptor_ops interceptor_timestamp = {
	.name = "timestamp",
	.class_names = "org.apache.flume.interceptor.TimestampInterceptor$Builder",
	.help = "Sets a header to the time of receipt in milliseconds.",
	.options = timestamp_options,
	.config_size = sizeof(struct timestamp_config),
	.compile = timestamp_compile,
	.run = timestamp_run,
	.free = free,
};
