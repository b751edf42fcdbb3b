/* config: every tests/config/NAME.in gives what NAME.ok says: all messages, then, when there was no error, the print. What is printed
 * must parse and print to the same again. Run with --write in front of the folder to write the .ok files anew (and read the difference). */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/near.h"
#include "ctrlplane/config.h"
#include "ctrlplane/config_print.h"
#include "tests/ctrlplane/test_kinds.h"

static bool writing;

struct told {
	struct config_report report;
	struct text text;
};

static void
told_tell(struct config_report *report, enum config_severity severity, const char *line)
{
	struct told *told = (struct told *)report;
	text_print(&told->text, "%s %s\n", severity == CONFIG_ERROR ? "error" : "warning", line);
}

static struct config *
load(const char *file, struct told *told)
{
	static const struct define defines[] = { { "logdir", "/var/log/in" }, { "level", "2" } };
	struct config_request request = {
		.files = &file, .file_count = 1, .agent = "a1", .defines = defines, .define_count = 2, .wall_ns = UINT64_C(1700000000123456789),
	};
	struct config *config = NULL;
	*told = (struct told){ .report.tell = told_tell };
	text_add(&told->text, "", 0);
	int rc = config_load(&config, &request, &told->report);
	assert_true((rc == 0) == (config != NULL));
	assert_true((rc == 0) == (told->report.errors == 0));
	return config;
}

/* Comments name origins, which differ once the text stands elsewhere. */
static char *
without_comments(const char *text)
{
	char *out = calloc(1, strlen(text) + 1), *at = out;
	while (*text) {
		size_t n = strcspn(text, "\n") + 1;
		if (*text != '#')
			at = mempcpy(at, text, n);
		text += n;
	}
	return out;
}

static void
round_trip(const char *name, const char *printed)
{
	char path[] = "/tmp/penstock-config-XXXXXX";
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, printed, strlen(printed)), strlen(printed));
	close(fd);
	struct told told;
	struct config *config = load(path, &told);
	if (!config)
		fail_msg("%s: what is printed does not load: %s", name, told.text.text);
	struct text again = { 0 };
	config_print(&again, config);
	char *a = without_comments(printed), *b = without_comments(again.text);
	assert_string_equal(a, b);
	free(a);
	free(b);
	text_free(&again);
	text_free(&told.text);
	config_free(config);
	unlink(path);
}

static char *
file_text(const char *path)
{
	struct text text = { 0 };
	char chunk[4096];
	size_t n;
	text_add(&text, "", 0);
	FILE *file = fopen(path, "r");
	while (file && (n = fread(chunk, 1, sizeof chunk, file)) > 0)
		text_add(&text, chunk, n);
	if (file)
		fclose(file);
	return text.text;
}

static int
is_in(const struct dirent *entry)
{
	size_t n = strlen(entry->d_name);
	return n > 3 && strcmp(entry->d_name + n - 3, ".in") == 0;
}

static void
test_files(void **state)
{
	(void)state;
	struct dirent **entries;
	int count = scandir(".", &entries, is_in, alphasort);
	assert_true(count >= 5);
	for (int i = 0; i < count; i++) {
		char ok[300];
		struct told told;
		snprintf(ok, sizeof ok, "%.*sok", (int)strlen(entries[i]->d_name) - 2, entries[i]->d_name);
		struct config *config = load(entries[i]->d_name, &told);
		if (config) {
			struct text printed = { 0 };
			config_print(&printed, config);
			if (!writing)
				round_trip(entries[i]->d_name, printed.text);
			text_add(&told.text, printed.text, printed.len);
			text_free(&printed);
		}
		if (writing) {
			FILE *file = fopen(ok, "w");
			assert_non_null(file);
			fputs(told.text.text, file);
			fclose(file);
		} else {
			char *expected = file_text(ok);
			if (strcmp(expected, told.text.text) != 0)
				print_error("%s differs:\n", ok);
			assert_string_equal(told.text.text, expected);
			free(expected);
		}
		text_free(&told.text);
		config_free(config);
		free(entries[i]);
	}
	free(entries);
}

/* What the builder reads. */
static void
test_structs(void **state)
{
	(void)state;
	struct told told;
	struct config *config = load("routes.in", &told);
	assert_non_null(config);
	assert_int_equal(config->source_count, 2);
	assert_int_equal(config->channel_count, 3);
	assert_int_equal(config->sink_count, 3);
	const struct config_source *r1 = &config->sources[0], *r2 = &config->sources[1];
	assert_string_equal(r1->component.name, "r1");
	assert_int_equal(((struct udp_config *)r1->component.config)->port, 5140);
	assert_null(r1->selector_header);
	assert_int_equal(r1->required, 1);
	assert_int_equal(r1->optional, 2);
	assert_int_equal(r1->interceptor_count, 2);
	assert_string_equal(r1->interceptors[0].kind->name, "timestamp");
	assert_string_equal(((struct filter_config *)r1->interceptors[1].config)->regex, "(\\d+) \xc3\xa9");
	assert_string_equal(r2->selector_header, "state");
	assert_int_equal(r2->mapping_count, 3);
	assert_string_equal(r2->mappings[0].value, "CZ");
	assert_int_equal(r2->mappings[0].required, 1);
	assert_int_equal(r2->mappings[1].required, 6);		/* US = c2 c3, optional c3 c1 */
	assert_int_equal(r2->mappings[1].optional, 1);
	assert_int_equal(r2->mappings[2].required, 4);		/* XX: default c3 */
	assert_int_equal(r2->mappings[2].optional, 2);
	assert_int_equal(r2->default_required, 4);
	assert_int_equal(r2->required, 7);
	assert_int_equal(r2->optional, 0);
	assert_int_equal(config->sinks[2].channel, 2);
	assert_true(config->appliance.metrics_on);
	assert_int_equal(config->appliance.metrics.port, 41414);
	text_free(&told.text);
	config_free(config);
}

static void
test_agents(void **state)
{
	(void)state;
	const char *file = "routes.in";
	struct config_request request = { .files = &file, .file_count = 1 };
	char **names;
	size_t count;
	assert_int_equal(config_agents(&request, &names, &count, NULL), 0);
	assert_int_equal(count, 2);
	assert_string_equal(names[0], "other");
	assert_string_equal(names[1], "a1");
	free(names);
	struct told told = { .report.tell = told_tell };
	struct config *config;
	assert_int_equal(config_load(&config, &request, &told.report), -22);
	assert_string_equal(told.text.text, "error routes.in: there are several agents: choose one with -n: other, a1\n");
	text_free(&told.text);
	request.agent = "a2";
	assert_int_equal(config_load(&config, &request, &told.report), -22);
	assert_string_equal(told.text.text, "error routes.in: there is no agent 'a2': agents here: other, a1\n");
	text_free(&told.text);
	file = "not-there.properties";
	assert_int_equal(config_load(&config, &request, &told.report), -22);
	assert_string_equal(told.text.text, "error not-there.properties: cannot be opened: No such file or directory\n");
	text_free(&told.text);
}

static void
test_defines(void **state)
{
	(void)state;
	static const struct define good[] = { { "flume.monitoring.type", "http" }, { "flume.monitoring.port", "8000" }, { "penstock.stop_deadline", "3s" } };
	static const struct define bad[] = { { "flume.monitoring.type", "ganglia" }, { "penstock.stop_deadline", "3" } };
	const char *file = "routes.in";
	struct config_request request = { .files = &file, .file_count = 1, .agent = "a1", .defines = good, .define_count = 3 };
	struct told told = { .report.tell = told_tell };
	struct config *config;
	assert_int_equal(config_load(&config, &request, &told.report), 0);
	assert_int_equal(config->appliance.metrics.port, 8000);
	assert_true(address_is_any(&config->appliance.metrics));
	assert_int_equal(config->appliance.options.stop_deadline_ns, UINT64_C(3000000000));
	config_free(config);
	request.defines = bad;
	request.define_count = 2;
	assert_int_equal(config_load(&config, &request, &told.report), -22);
	assert_non_null(strstr(told.text.text, "error -Dflume.monitoring.type: 'ganglia' is not supported: write http"));
	assert_non_null(strstr(told.text.text, "error -Dpenstock.stop_deadline: penstock.stop_deadline: '3' cannot be used: write a time"));
	text_free(&told.text);
}

static void
test_distance(void **state)
{
	(void)state;
	assert_int_equal(near_distance("", ""), 0);
	assert_int_equal(near_distance("port", "PORT"), 0);
	assert_int_equal(near_distance("prot", "port"), 1);
	assert_int_equal(near_distance("batchSize", "batch-size"), 1);
	assert_int_equal(near_distance("kitten", "sitting"), 3);
	assert_int_equal(near_distance("abc", ""), 3);
}

static void
test_kinds_text(void **state)
{
	(void)state;
	struct text text = { 0 };
	struct err err = { "" };
	assert_int_equal(registry_print(&text, NULL, NULL, &err), 0);
	assert_non_null(strstr(text.text, "sources\n    syslogudp"));
	text_free(&text);
	assert_int_equal(registry_print(&text, "sink", "FILE_ROLL", &err), 0);
	assert_non_null(strstr(text.text, "    batchSize\n        number, events, 1 to 1000000; default 100;"));
	text_free(&text);
	assert_int_equal(registry_print(&text, "sinks", "hdfs", &err), -22);
	assert_string_equal(err.text, "there is no sink of type 'hdfs': `penstock kinds sinks` lists them");
	assert_int_equal(registry_print(&text, "sinc", NULL, &err), -22);
	text_free(&text);
	assert_string_equal(registry_flume_type(KIND_SINK, "HDFS"), "hdfs org.apache.flume.sink.hdfs.HDFSEventSink");
	assert_non_null(registry_flume_type(KIND_SOURCE, "org.apache.flume.source.kafka.KafkaSource"));
	assert_null(registry_flume_type(KIND_SOURCE, "-"));
	assert_null(registry_flume_type(KIND_SOURCE, "hdfs"));
}

int
main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "--write") == 0)
		writing = true;
	if (argc < 2 || chdir(argv[argc - 1]))
		return 2;
	setenv("TZ", "UTC", 1);
	setenv("PENSTOCK_TEST_HOME", "/home/tester", 1);
	setenv("PENSTOCK_TEST_SECRET", "tiger", 1);
	unsetenv("PENSTOCK_TEST_UNSET");
	test_kinds_fill();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files), cmocka_unit_test(test_structs), cmocka_unit_test(test_agents), cmocka_unit_test(test_defines),
		cmocka_unit_test(test_distance), cmocka_unit_test(test_kinds_text),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
