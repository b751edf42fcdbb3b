/* interceptor_regex_extractor: the groups of the first match in the body become headers. A group that took no part sets nothing, and neither
 * does a time that cannot be read: Flume would put a null there, or lose the whole batch. */
#include <errno.h>
#include <stdlib.h>
#include <strings.h>

#include "base/counter.h"
#include "dataplane/interceptor/interceptor.h"
#include "dataplane/interceptor/joda.h"
#include "dataplane/interceptor/regex.h"

#define PACKAGE "org.apache.flume.interceptor."

struct extractor_config {
	const char *regex;
	struct option_list serializers;
	struct option_family settings;
};

struct extractor {
	struct regex *regex;
	uint32_t count;			/* serializers that have a group */
	struct serializer {
		const struct name *header;
		struct joda *millis;	/* NULL: the text as it is */
	} serializers[];
};

static const struct option extractor_options[] = {
	{"regex", OPT_STRING, offsetof(struct extractor_config, regex), .flags = OPTION_REQUIRED,
	 .help = "Java regular expression looked for in the body.", .effect = EFFECT_LIVE},
	{"serializers", OPT_LIST, offsetof(struct extractor_config, serializers), .flags = OPTION_REQUIRED,
	 .help = "One name for each group, in order.", .effect = EFFECT_LIVE},
	{"serializers.", OPT_FAMILY, offsetof(struct extractor_config, settings),
	 .help = "Of each serializer: name (of the header), type (DEFAULT, or " PACKAGE "RegexExtractorInterceptorMillisSerializer with pattern).",
	 .effect = EFFECT_LIVE},
	{0},
};

static const char *
setting(const struct option_family *family, const char *serializer, const char *key)
{
	size_t len = strlen(serializer);
	for (size_t i = 0; i < family->count; i++)
		if (strncmp(family->items[i].key, serializer, len) == 0 && family->items[i].key[len] == '.'
		    && strcmp(family->items[i].key + len + 1, key) == 0)
			return family->items[i].value;
	return NULL;
}

static int
serializer_compile(const struct option_family *family, const char *name, struct serializer *serializer, struct err *err)
{
	const char *header = setting(family, name, "name"), *type = setting(family, name, "type"), *pattern = setting(family, name, "pattern");
	if (!header)
		return err_set(err, EINVAL, "serializers.%s.name is missing: name the header that group goes to", name);
	serializer->header = name_intern(header, strlen(header));
	if (!type || strcasecmp(type, "DEFAULT") == 0 || strcmp(type, PACKAGE "RegexExtractorInterceptorPassThroughSerializer") == 0)
		return 0;
	if (strcmp(type, PACKAGE "RegexExtractorInterceptorMillisSerializer") != 0)
		return err_set(err, EINVAL, "serializers.%s.type: \"%s\" is not known (known: DEFAULT, " PACKAGE
			       "RegexExtractorInterceptorMillisSerializer)", name, type);
	if (!pattern)
		return err_set(err, EINVAL, "serializers.%s.pattern is missing: say how the time is written, such as yyyy-MM-dd HH:mm", name);
	int rc = joda_compile(pattern, &serializer->millis, err);
	return rc ? err_prefix(err, rc, "serializers.%s.pattern", name) : 0;
}

static void
extractor_free(void *compiled)
{
	struct extractor *self = compiled;
	for (uint32_t i = 0; i < self->count; i++)
		joda_free(self->serializers[i].millis);
	regex_free(self->regex);
	free(self);
}

static int
extractor_compile(const void *config, void **compiled, struct err *err)
{
	const struct extractor_config *wanted = config;
	size_t count = wanted->serializers.count;
	struct extractor *self = calloc(1, sizeof *self + count * sizeof *self->serializers);
	if (!self)
		return err_set(err, ENOMEM, "out of memory");
	int rc = regex_compile(wanted->regex, &self->regex, err);
	self->count = (uint32_t)count;
	for (size_t i = 0; i < count && !rc; i++)
		rc = serializer_compile(&wanted->settings, wanted->serializers.items[i], &self->serializers[i], err);
	if (rc) {
		extractor_free(self);
		return rc;
	}
	*compiled = self;
	return 0;
}

static int
extractor_attach(const void *compiled, void **scratch, struct err *err)
{
	const struct extractor *self = compiled;
	struct regex_scratch *made = NULL;
	int rc = regex_attach(self->regex, &made, err);
	*scratch = made;
	return rc;
}

static void
extract(const struct extractor *self, struct regex_scratch *scratch, struct batch *batch, struct event *event, const struct regex_match *match)
{
	for (uint32_t i = 0; i < self->count && i + 1 < match->count; i++) {
		const struct serializer *serializer = &self->serializers[i];
		size_t start = match->spans[2 * (i + 1)], end = match->spans[2 * (i + 1) + 1];
		if (start == SIZE_MAX || end < start)
			continue;
		uint32_t len = (uint32_t)(end - start);
		int64_t ms;
		if (serializer->millis) {
			if (!joda_parse(serializer->millis, match->text + start, len, &ms)) {
				counter_add(&regex_counters(scratch)->unread, 1);
				continue;
			}
			if (!event_set_number(batch, event, serializer->header, ms))
				return;
		} else if (!match->copied) {
			if (!event_set_body(batch, event, serializer->header, (uint32_t)start, len))
				return;
		} else {
			uint8_t *copy = batch_copy(batch, match->text + start, len);
			if (!copy) {
				event->dropped = 1;
				batch->no_room++;
				return;
			}
			if (!event_set_bytes(batch, event, serializer->header, copy, len))
				return;
		}
	}
}

static void
extractor_run(const void *compiled, void *scratch, struct batch *batch)
{
	const struct extractor *self = compiled;
	struct regex_marks marks;
	regex_scan(self->regex, scratch, batch, &marks);
	for (uint32_t i = 0; i < batch->count; i++) {
		struct event *event = &batch->events[i];
		struct regex_match match;
		if (regex_marked(&marks, i) && regex_find(self->regex, scratch, event->body, event->body_len, &match))
			extract(self, scratch, batch, event, &match);
	}
}

static const void *
extractor_counters(void *scratch)
{
	return regex_counters(scratch);
}

static void
extractor_detach(void *scratch)
{
	regex_detach(scratch);
}

const struct interceptor_ops interceptor_regex_extractor = {
	.name = "regex_extractor",
	.class_names = "org.apache.flume.interceptor.RegexExtractorInterceptor$Builder",
	.help = "Sets headers from the groups of a regular expression over the body.",
	.options = extractor_options,
	.config_size = sizeof(struct extractor_config),
	.compile = extractor_compile,
	.attach = extractor_attach,
	.run = extractor_run,
	.detach = extractor_detach,
	.free = extractor_free,
	.metrics = regex_metrics,
	.metric_count = REGEX_METRICS,
	.counters = extractor_counters,
};
