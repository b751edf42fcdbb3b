/* The kinds that exist: every table is well formed, every default parses and reads back, Flume's aliases and classes are found;
 * every file in examples/ loads without a word, and what is printed of it parses to itself. Argument: the examples folder. */
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

#include "ctrlplane/config.h"
#include "ctrlplane/config_print.h"

static void
ignore_tell(struct option_report *report, bool fatal, const char *origin, const char *key, const char *text)
{
	(void)report, (void)fatal, (void)origin, (void)key, (void)text;
}

static void
table_check(const struct kind *kind)
{
	for (const struct option *option = kind->options; option && option->name; option++) {
		bool stored = !(option->flags & (OPTION_NO_MEANING | OPTION_REFUSED));
		for (const struct option *other = kind->options; other < option; other++) {
			if (strcmp(option->name, other->name) == 0)
				fail_msg("%s: %s stands twice", kind->name, option->name);
		}
		if (!option->help)
			fail_msg("%s: %s has no help", kind->name, option->name);
		if (!stored && !option->note)
			fail_msg("%s: %s has no note", kind->name, option->name);
		if (option->type == OPT_FAMILY && option->name[strlen(option->name) - 1] != '.')
			fail_msg("%s: family %s does not end with a dot", kind->name, option->name);
		if (stored && option->offset >= kind->config_size)
			fail_msg("%s: %s lies outside of its config", kind->name, option->name);
		if (option->type == OPT_CHOICE)
			assert_non_null(option->choices);
	}
	/* Defaults: option_parse asserts that each parses. What they print as must be taken again. */
	struct option_report report = { ignore_tell };
	struct option_values values = { 0 };
	void *config = calloc(1, kind->config_size + 1);
	(void)option_parse(kind->options, NULL, 0, config, &values, &report);
	for (const struct option *option = kind->options; option && option->name; option++) {
		char text[4096];
		if (!option->value || !option_format(option, config, text, sizeof text) || (option->flags & OPTION_SECRET))
			continue;
		struct property prop = { option->name, text, "x:1" };
		struct option only[2] = { *option, { NULL } };
		struct option_values again = { 0 };
		void *copy = calloc(1, kind->config_size + 1);
		if (option_parse(only, &prop, 1, copy, &again, &report))
			fail_msg("%s: default '%s' of %s does not parse", kind->name, text, option->name);
		option_values_free(&again);
		free(copy);
	}
	option_values_free(&values);
	free(config);
}

static void
test_tables(void **state)
{
	(void)state;
	for (int of = 0; of < KIND_COUNT; of++) {
		size_t count;
		const struct kind *kinds = registry_kinds((enum kind_of)of, &count);
		assert_true(count > 0);
		for (size_t i = 0; i < count; i++) {
			assert_non_null(kinds[i].name);
			assert_non_null(kinds[i].help);
			assert_non_null(kinds[i].class_names);
			assert_ptr_equal(registry_find((enum kind_of)of, kinds[i].name), &kinds[i]);
			char first[256];
			snprintf(first, sizeof first, "%.*s", (int)strcspn(kinds[i].class_names, " "), kinds[i].class_names);
			if (!registry_flume_type((enum kind_of)of, first))
				fail_msg("%s is no class of Flume's", first);
			table_check(&kinds[i]);
		}
	}
	assert_non_null(registry_find(KIND_SOURCE, "org.apache.flume.source.SyslogUDPSource"));
	assert_non_null(registry_find(KIND_SINK, "org.apache.flume.sink.kafka.KafkaSink"));
	assert_non_null(registry_find(KIND_CHANNEL, "FILE"));
	assert_null(registry_find(KIND_SINK, "hive"));
}

struct told {
	struct config_report report;
	struct text text;
};

static void
told_tell(struct config_report *report, enum config_severity severity, const char *line)
{
	text_print(&((struct told *)report)->text, "%s %s\n", severity == CONFIG_ERROR ? "error" : "warning", line);
}

static struct text
printed(const char *path)
{
	struct told told = { .report.tell = told_tell };
	struct config_request request = { .files = &path, .file_count = 1, .agent = "a1", .wall_ns = 1 };
	struct config *config;
	struct text text = { 0 };
	if (config_load(&config, &request, &told.report) || told.text.len > 0)
		fail_msg("%s:\n%s", path, told.text.text);
	config_print(&text, config);
	config_free(config);
	return text;
}

/* What the settings of real kinds say is judged when they are read, as far as it can be: `penstock check` tells all of it. */
static void
test_judged(void **state)
{
	static const char base[] = "a1.sources=r1\na1.channels=c1\na1.sinks=k1\na1.sources.r1.type=syslogudp\na1.sources.r1.port=5140\na1.sources.r1.channels=c1\n"
		"a1.channels.c1.type=file\na1.channels.c1.dataDirs=/d\na1.channels.c1.checkpointDir=/c\na1.sinks.k1.type=hdfs\na1.sinks.k1.channel=c1\n"
		"a1.sinks.k1.hdfs.rollCount=0\na1.sinks.k1.hdfs.rollSize=0\na1.sinks.k1.hdfs.path=webhdfs://nn:50070/x/%Y\na1.sinks.k1.penstock.hdfs.conf=/\n";
	static const char filter[] = "a1.sources.r1.interceptors=i1\na1.sources.r1.interceptors.i1.type=";
	static const struct {
		const char *head, *line, *told;
	} rows[] = {
		{ "", "", NULL },
		{ filter, "regex_filter\na1.sources.r1.interceptors.i1.regex=([\n", "error NAME:17: a1.sources.r1.interceptors.i1: regex \"([\": at character 3" },
		{ filter, "regex_extractor\na1.sources.r1.interceptors.i1.regex=(a\na1.sources.r1.interceptors.i1.serializers=s\n"
			"a1.sources.r1.interceptors.i1.serializers.s.name=n\n", "error NAME:17: a1.sources.r1.interceptors.i1: regex \"(a\"" },
		{ "a1.sinks.k1.hdfs.path=", "s3a://b/x\n", "error NAME:10: a1.sinks.k1: \"s3a://b/x\": the file system \"s3a\"" },
		{ "a1.sinks.k1.hdfs.path=", "relative\n", "error NAME:10: a1.sinks.k1: \"relative\": want hdfs://" },
		{ "a1.sinks.k1.hdfs.path=", "hdfs:///x\n", "there is no name service" },
		{ "a1.sinks.k1.hdfs.path=", "hdfs://n n/x\n", "neither host:port nor a name service" },
		{ "a1.sinks.k1.hdfs.path=", "hdfs://nn:99999/x\n", "neither host:port nor a name service" },
		{ "a1.sinks.k1.hdfs.path=", "file://host/x\n", "write file:///path" },
		{ "a1.sinks.k1.hdfs.path=", "hdfs://[::1]:8020/x\n", NULL },
		{ "a1.sinks.k1.penstock.hdfs.http_address=", "a:1,b:x\n", "want host:port[,host:port]" },
		{ "a1.sinks.k1.hdfs.round=true\na1.sinks.k1.hdfs.roundUnit=", "day\n", "warning NAME:17: a1.sinks.k1.hdfs.roundUnit: is not second" },
		{ "a1.channels.c1.checkpointDir=", "/d/\n", "error NAME:7: a1.channels.c1: c1.checkpointDir = /d/: is among dataDirs" },
		{ "a1.channels.c1.dataDirs=", "/d,/e,/d\n", "error NAME:7: a1.channels.c1: c1.dataDirs: /d stands twice" },
	};
	char name[] = "/tmp/penstock-judged-XXXXXX";
	(void)state;
	int fd = mkstemp(name);
	assert_true(fd >= 0);
	close(fd);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct told told = { .report.tell = told_tell };
		const char *path = name;
		struct config_request request = { .files = &path, .file_count = 1, .agent = "a1", .wall_ns = 1 };
		struct config *config;
		char want[256];
		FILE *file = fopen(name, "w");
		fprintf(file, "%s%s%s", base, rows[i].head, rows[i].line);
		fclose(file);
		text_add(&told.text, "", 0);
		if (config_load(&config, &request, &told.report) == 0)
			config_free(config);
		const char *place = rows[i].told ? strstr(rows[i].told, "NAME") : NULL;
		if (place)
			snprintf(want, sizeof want, "%.*s%s%s", (int)(place - rows[i].told), rows[i].told, name, place + 4);
		else
			snprintf(want, sizeof want, "%s", rows[i].told ? rows[i].told : "");
		if (!rows[i].told ? told.report.errors > 0 : !strstr(told.text.text, want))
			fail_msg("%s%s told as:\n%s", rows[i].head, rows[i].line, told.text.text);
		text_free(&told.text);
	}
	unlink(name);
}

static int
is_properties(const struct dirent *entry)
{
	size_t n = strlen(entry->d_name);
	return n > 11 && strcmp(entry->d_name + n - 11, ".properties") == 0;
}

static void
test_examples(void **state)
{
	(void)state;
	struct dirent **entries;
	int count = scandir(".", &entries, is_properties, alphasort);
	assert_true(count >= 2);
	for (int i = 0; i < count; i++) {
		char path[] = "/tmp/penstock-example-XXXXXX";
		struct text one = printed(entries[i]->d_name);
		int fd = mkstemp(path);
		assert_int_equal(write(fd, one.text, one.len), one.len);
		close(fd);
		struct text two = printed(path);
		unlink(path);
		/* The same but for the comments, which name origins. */
		const char *a = one.text, *b = two.text;
		while (*a && *b) {
			size_t n = strcspn(a, "\n") + 1, m = strcspn(b, "\n") + 1;
			if (*a == '#' && *b == '#') {
				a += n;
				b += m;
				continue;
			}
			if (*a == '#') {
				a += n;
				continue;
			}
			if (*b == '#') {
				b += m;
				continue;
			}
			assert_int_equal(n, m);
			assert_memory_equal(a, b, n);
			a += n;
			b += m;
		}
		assert_int_equal(*a, *b);
		text_free(&one);
		text_free(&two);
		free(entries[i]);
	}
	free(entries);
}

int
main(int argc, char **argv)
{
	if (argc < 2 || chdir(argv[1]))
		return 2;
	setenv("HOME", "/home/tester", 1);
	registry_fill();
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_tables), cmocka_unit_test(test_judged), cmocka_unit_test(test_examples) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
