/* The interceptors' kinds against what a real Flume 1.11 made of the same input (tests/golden/interceptors): every case of a kind that is in
 * interceptor_kinds, through the kind's own option table. Deviations are named in the code. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "dataplane/interceptor/interceptor.h"

#define NOW_NS (UINT64_C(1790000000123) * 1000000)

static void
tell(struct option_report *report, bool fatal, const char *origin, const char *key, const char *text)
{
	(void)report, (void)origin;
	if (fatal)
		fail_msg("%s: %s", key, text);
}

/* As java.util.Properties reads a value: a backslash takes the next character as it is. */
static char *
unescape(const char *text)
{
	char *out = malloc(strlen(text) + 1), *p = out;
	for (; *text; text++) {
		if (*text == '\\' && text[1])
			text++;
		*p++ = *text;
	}
	*p = '\0';
	return out;
}

static void
load_batch(struct batch *batch, json_t *input)
{
	static uint8_t run[65536];
	size_t i, at = 0;
	json_t *one;
	batch_clear(batch);
	batch->run = run;
	json_array_foreach(input, i, one) {
		struct event *event = &batch->events[batch->count++];
		json_t *body = json_object_get(one, "body");
		size_t len = json_string_length(body);
		const char *key;
		json_t *value;
		*event = (struct event){.body = run + at, .body_len = (uint32_t)len, .time_ns = NOW_NS};
		memcpy(run + at, json_string_value(body), len);
		at += len;
		run[at++] = '\n';
		json_object_foreach(json_object_get(one, "headers"), key, value)
			assert_true(event_set_bytes(batch, event, name_intern(key, strlen(key)), json_string_value(value),
						    (uint32_t)json_string_length(value)));
	}
	batch->run_bytes = (uint32_t)at;
}

static void
check_headers(const char *name, const struct event *event, json_t *headers, bool loose_values)
{
	const char *key;
	json_t *value;
	char digits[24];
	const uint8_t *text;
	assert_int_equal(event->header_count, json_object_size(headers));
	json_object_foreach(headers, key, value) {
		const struct header *header = event_header(event, name_intern(key, strlen(key)));
		if (!header)
			fail_msg("%s: header %s is missing", name, key);
		uint32_t len = event_header_text(event, header, digits, &text);
		if (loose_values && strcmp(json_string_value(value), "h") != 0) {
			assert_true(len > 0);	/* this machine's address, or now */
			continue;
		}
		if (len != json_string_length(value) || memcmp(text, json_string_value(value), len) != 0)
			fail_msg("%s: header %s is \"%.*s\", Flume has \"%s\"", name, key, (int)len, (const char *)text, json_string_value(value));
	}
}

static int
run_case(json_t *json)
{
	const char *name = json_string_value(json_object_get(json, "case"));
	struct property props[32];
	size_t count = 0, i;
	json_t *one;
	char *type = NULL;
	json_array_foreach(json_object_get(json, "properties"), i, one) {
		const char *line = json_string_value(one), *equal = strstr(line, " =");
		if (strncmp(line, "i.", 2) != 0)
			return 0;
		char *key = strndup(line + 2, (size_t)(equal - line - 2)), *value = unescape(equal[2] ? equal + 3 : "");
		if (strcmp(key, "type") == 0) {
			type = value;
			free(key);
			continue;
		}
		props[count++] = (struct property){.key = key, .value = value, .origin = name};
	}
	const struct interceptor_ops *ops = NULL;
	for (i = 0; interceptor_kinds[i] && type; i++)
		if (strcasecmp(interceptor_kinds[i]->name, type) == 0 || strcmp(interceptor_kinds[i]->class_names, type) == 0)
			ops = interceptor_kinds[i];
	int done = 0;
	if (ops) {
		struct option_values values = {0};
		struct option_report report = {tell};
		struct err err = {""};
		struct batch batch;
		void *config = calloc(1, ops->config_size), *compiled = NULL, *scratch = NULL;
		assert_int_equal(batch_init(&batch, 1 << 20), 0);
		assert_int_equal(option_parse(ops->options, props, count, config, &values, &report), 0);
		if (ops->compile(config, &compiled, &err) != 0)
			fail_msg("%s: %s", name, err.text);
		if (ops->attach)
			assert_int_equal(ops->attach(compiled, &scratch, &err), 0);
		json_t *input = json_object_get(json, "input"), *output = json_object_get(json, "output");
		load_batch(&batch, input);
		ops->run(compiled, scratch, &batch);
		bool loose = ops == &interceptor_host || ops == &interceptor_timestamp;
		if (strcmp(name, "extract-millis-bad-date") == 0) {
			/* Flume loses the whole batch; here both events live on, the bad one without the header. */
			assert_int_equal(batch.events[0].header_count, 1);
			assert_int_equal(batch.events[1].header_count, 0);
		} else if (strcmp(name, "extract-null-group") == 0) {
			/* Flume sets null headers, on which some sinks fail for ever; here they are left out. */
			assert_int_equal(batch.events[0].header_count, 1);
			assert_int_equal(batch.events[1].header_count, 1);
		} else {
			uint32_t next = 0;
			json_array_foreach(output, i, one) {
				while (next < batch.count && batch.events[next].dropped)
					next++;
				if (next == batch.count)
					fail_msg("%s: Flume keeps more events", name);
				const struct event *event = &batch.events[next++];
				json_t *body = json_object_get(one, "body");
				assert_int_equal(event->body_len, json_string_length(body));
				assert_memory_equal(event->body, json_string_value(body), event->body_len);
				check_headers(name, event, json_object_get(one, "headers"), loose);
			}
			for (; next < batch.count; next++)
				if (!batch.events[next].dropped)
					fail_msg("%s: Flume drops event %u", name, next);
		}
		if (ops->detach)
			ops->detach(scratch);
		ops->free(compiled);
		batch_free(&batch);
		option_values_free(&values);
		free(config);
		done = 1;
	}
	free(type);
	for (i = 0; i < count; i++) {
		free((void *)props[i].key);
		free((void *)props[i].value);
	}
	return done;
}

static void
test_golden(void **state)
{
	(void)state;
	FILE *file = fopen(GOLDEN_DIR "/interceptors/interceptors.jsonl", "r");
	char *line = NULL;
	size_t room = 0;
	int done = 0;
	assert_non_null(file);
	while (getline(&line, &room, file) > 0) {
		json_t *json = json_loads(line, 0, NULL);
		if (!json)
			fail_msg("not JSON: %.60s", line);
		done += run_case(json);
		json_decref(json);
	}
	free(line);
	fclose(file);
	print_message("%d cases\n", done);
	assert_true(done >= 20);
}

int
main(void)
{
	setenv("TZ", "UTC", 1);
	tzset();
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_golden)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
