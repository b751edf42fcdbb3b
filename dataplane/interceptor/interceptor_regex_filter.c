/* interceptor_regex_filter: keeps the events whose body holds a match, or drops them. */
#include <errno.h>
#include <stdlib.h>

#include "dataplane/interceptor/interceptor.h"
#include "dataplane/interceptor/regex.h"

struct filter_config {
	const char *regex;
	bool exclude;
};

struct filter {
	struct regex *regex;
	bool exclude;
};

static const struct option filter_options[] = {
	{"regex", OPT_STRING, offsetof(struct filter_config, regex), ".*", .help = "Java regular expression looked for in the body.",
	 .effect = EFFECT_LIVE},
	{"excludeEvents", OPT_BOOL, offsetof(struct filter_config, exclude), "false", .help = "Drop what matches instead of keeping it.",
	 .effect = EFFECT_LIVE},
	{0},
};

static int
filter_compile(const void *config, void **compiled, struct err *err)
{
	const struct filter_config *wanted = config;
	struct filter *self = calloc(1, sizeof *self);
	if (!self)
		return err_set(err, ENOMEM, "out of memory");
	int rc = regex_compile(wanted->regex, &self->regex, err);
	if (rc) {
		free(self);
		return rc;
	}
	self->exclude = wanted->exclude;
	*compiled = self;
	return 0;
}

static int
filter_attach(const void *compiled, void **scratch, struct err *err)
{
	const struct filter *self = compiled;
	struct regex_scratch *made = NULL;
	int rc = regex_attach(self->regex, &made, err);
	*scratch = made;
	return rc;
}

static void
filter_run(const void *compiled, void *scratch, struct batch *batch)
{
	const struct filter *self = compiled;
	struct regex_marks marks;
	bool always = regex_always(self->regex);
	if (always && !self->exclude)
		return;
	if (!always)
		regex_scan(self->regex, scratch, batch, &marks);
	for (uint32_t i = 0; i < batch->count; i++) {
		struct event *event = &batch->events[i];
		if (event->dropped)
			continue;
		bool found = always || (regex_marked(&marks, i) && regex_find(self->regex, scratch, event->body, event->body_len, NULL));
		if (found == self->exclude)
			event->dropped = 1;
	}
}

static const void *
filter_counters(void *scratch)
{
	return regex_counters(scratch);
}

static void
filter_detach(void *scratch)
{
	regex_detach(scratch);
}

static void
filter_free(void *compiled)
{
	struct filter *self = compiled;
	regex_free(self->regex);
	free(self);
}

const struct interceptor_ops interceptor_regex_filter = {
	.name = "regex_filter",
	.class_names = "org.apache.flume.interceptor.RegexFilteringInterceptor$Builder",
	.help = "Keeps or drops events by a regular expression over the body.",
	.options = filter_options,
	.config_size = sizeof(struct filter_config),
	.compile = filter_compile,
	.attach = filter_attach,
	.run = filter_run,
	.detach = filter_detach,
	.free = filter_free,
	.metrics = regex_metrics,
	.metric_count = REGEX_METRICS,
	.counters = filter_counters,
};
