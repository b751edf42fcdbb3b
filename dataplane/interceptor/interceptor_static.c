/* interceptor_static: one fixed header for every event. */
#include <errno.h>
#include <stdlib.h>

#include "dataplane/interceptor/interceptor.h"

struct static_config {
	const char *key, *value;
	bool preserve;
};

struct static_header {
	const struct name *key;
	char *value;
	uint32_t value_len;
	bool preserve;
};

static const struct option static_options[] = {
	{"key", OPT_STRING, offsetof(struct static_config, key), "key", .help = "Name of the header.", .effect = EFFECT_LIVE},
	{"value", OPT_STRING, offsetof(struct static_config, value), "value", .help = "Its value.", .effect = EFFECT_LIVE},
	{"preserveExisting", OPT_BOOL, offsetof(struct static_config, preserve), "true", .help = "Keep a header that is there already.",
	 .effect = EFFECT_LIVE},
	{0},
};

static int
static_compile(const void *config, void **compiled, struct err *err)
{
	const struct static_config *wanted = config;
	struct static_header *self = calloc(1, sizeof *self);
	char *value = strdup(wanted->value);
	if (!self || !value) {
		free(self);
		free(value);
		return err_set(err, ENOMEM, "out of memory");
	}
	self->key = name_intern(wanted->key, strlen(wanted->key));
	self->value = value;
	self->value_len = (uint32_t)strlen(value);
	self->preserve = wanted->preserve;
	*compiled = self;
	return 0;
}

static void
static_run(const void *compiled, void *scratch, struct batch *batch)
{
	const struct static_header *self = compiled;
	(void)scratch;
	for (uint32_t i = 0; i < batch->count; i++) {
		struct event *event = &batch->events[i];
		if (!event->dropped && !(self->preserve && event_header(event, self->key)))
			event_set_bytes(batch, event, self->key, self->value, self->value_len);
	}
}

static void
static_free(void *compiled)
{
	struct static_header *self = compiled;
	free(self->value);
	free(self);
}

const struct interceptor_ops interceptor_static = {
	.name = "static",
	.class_names = "org.apache.flume.interceptor.StaticInterceptor$Builder",
	.help = "Sets one fixed header.",
	.options = static_options,
	.config_size = sizeof(struct static_config),
	.compile = static_compile,
	.run = static_run,
	.free = static_free,
};
