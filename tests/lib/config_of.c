#include "tests/lib/config_of.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
report_tell(struct option_report *report, bool fatal, const char *origin, const char *key, const char *text)
{
	(void)report;
	(void)origin;
	fprintf(stderr, "%s: %s %s\n", fatal ? "error" : "note", key, text);
}

int
config_of(const struct option *options, size_t size, const char *const *texts, void **config, struct option_values *values)
{
	struct option_report report = { report_tell };
	struct property props[32];
	char text[32][1024];
	size_t count = 0;
	for (; texts[count]; count++) {
		assert(count < 32 && strlen(texts[count]) < sizeof text[0]);
		snprintf(text[count], sizeof text[count], "%s", texts[count]);
		char *equal = strchr(text[count], '=');
		assert(equal);
		*equal = '\0';
		props[count] = (struct property){ .key = text[count], .value = equal + 1, .origin = "test" };
	}
	*config = calloc(1, size + 1);	/* a kind without options has no bytes */
	assert(*config);
	return option_parse(options, props, count, *config, values, &report);
}

void *
config_must(const struct option *options, size_t size, const char *const *texts, struct option_values *values)
{
	void *config;
	int rc = config_of(options, size, texts, &config, values);
	assert(rc == 0);
	return config;
}
