/* golden_run AGENT_CONF EVENTS_JSON DIR [CONF]: runs each hdfs sink of the file over the events, files below DIR (for $DIR; "hdfs://..." with CONF, the
 * directory of its site files: there without k-c, whose path holds what HDFS refuses); see test_golden.py. */
#include <assert.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/sink_fixture.h"

static void
put(struct fake_channel *fake, json_t *event)
{
	const char *body = json_string_value(json_object_get(event, "body"));
	fake_put(fake, body, (uint32_t)strlen(body), "host=x timestamp=x");
	struct fake_event *made = &fake->events[fake->count - 1];
	for (uint32_t i = 0; i < made->header_count; i++) {
		char name[32];
		snprintf(name, sizeof name, "%.*s", (int)made->headers[i].name_len, made->headers[i].name);
		const char *value = json_string_value(json_object_get(json_object_get(event, "headers"), name));
		free((void *)made->headers[i].bytes);
		made->headers[i].bytes = (const uint8_t *)strdup(value);
		made->headers[i].len = (uint32_t)strlen(value);
	}
}

static uint64_t
passing(struct clock *clock)
{
	(void)clock;
	return clock_now_ns(&clock_system);
}

static void
sink_run(const char *sink, char (*lines)[512], int line_count, json_t *events, const char *dir, const char *conf, bool rounds)
{
	struct sink_fixture fixture;
	const char *options[20] = { NULL };
	char text[20][1024];
	int count = 0;
	size_t prefix = strlen(sink) + strlen("a1.sinks..");
	for (int i = 0; i < line_count; i++) {
		char start[64];
		snprintf(start, sizeof start, "a1.sinks.%s.", sink);
		if (strncmp(lines[i], start, strlen(start)) != 0 || strncmp(lines[i] + prefix, "type", 4) == 0 || strncmp(lines[i] + prefix, "channel", 7) == 0)
			continue;
		/* key = value, with $DIR filled in */
		char *key = lines[i] + prefix, *equal = strchr(key, '=');
		char *value = equal + 1 + strspn(equal + 1, " ");
		char *mark = strstr(value, "$DIR");
		if (mark && strstr(dir, "://"))
			value = mark;	/* without its file:// */
		snprintf(text[count], sizeof text[0], "%.*s=%.*s%s%s", (int)strcspn(key, " ="), key, mark ? (int)(mark - value) : (int)strlen(value), value,
			 mark ? dir : "", mark ? mark + 4 : "");
		options[count] = text[count];
		count++;
	}
	if (conf) {
		snprintf(text[count], sizeof text[0], "penstock.hdfs.conf=%s", conf);
		options[count] = text[count];
	}
	fixture_init(&fixture, 1795245848555);
	if (conf)	/* a real server takes real time; the date stays */
		fixture.clock.clock.now_ns = passing;
	size_t i;
	json_t *event;
	json_array_foreach (events, i, event) {
		/* Flume's rounding fails on a timestamp of 0 or below; those runs had none behind. */
		if (!rounds || strtoll(json_string_value(json_object_get(json_object_get(event, "headers"), "timestamp")), NULL, 10) > 0)
			put(&fixture.channel, event);
	}
	if (fixture_open(&fixture, &sink_hdfs, NULL, options[0], options[1], options[2], options[3], options[4], options[5], options[6], options[7], options[8], NULL)) {
		fprintf(stderr, "%s: %s\n", sink, fixture.err.text);
		exit(1);
	}
	fixture_step(&fixture);
	sink_runner_finish(fixture.runner, clock_now_ns(&fixture.clock.clock) + 120 * NS_PER_S);
	fixture.runner = NULL;
	assert(fixture.channel.settled == fixture.channel.count);
	fixture_free(&fixture);
}

int
main(int argc, char **argv)
{
	static char lines[256][512];
	int count = 0;
	assert(argc == 4 || argc == 5);
	FILE *file = fopen(argv[1], "r");
	while (file && count < 256 && fgets(lines[count], sizeof lines[0], file)) {
		lines[count][strcspn(lines[count], "\n")] = '\0';
		count++;
	}
	fclose(file);
	json_t *root = json_load_file(argv[2], 0, NULL);
	assert(root);
	for (int i = 0; i < count; i++) {
		char sink[64];
		char *type = strstr(lines[i], ".type = hdfs");
		if (!type || strncmp(lines[i], "a1.sinks.", 9) != 0)
			continue;
		snprintf(sink, sizeof sink, "%.*s", (int)(type - lines[i] - 9), lines[i] + 9);
		if (argc == 5 && strcmp(sink, "k-c") == 0)
			continue;
		bool rounds = strstr(sink, "-r") || strstr(sink, "round");
		sink_run(sink, lines, count, json_object_get(root, "events"), argv[3], argv[4], rounds);
	}
	json_decref(root);
	return 0;
}
