/* What a run reads of its own and of the registry, broken: a manifest that says less than it should, a registry that says nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "camus/job.h"
#include "camus/manifest.h"
#include "camus/registry.h"
#include "camus/report.h"

#define FILES "\"files\":[{\"temporary\":\"/a\",\"final\":\"/b\",\"fileId\":7,\"length\":3,\"records\":1,\"topic\":\"t\",\"partition\":0,\"first\":0,\"last\":0,\"bucket\":0}]"
#define PARTS "\"partitions\":[{\"topic\":\"t\",\"partition\":0,\"next\":5}]"
#define HEAD "{\"version\":1,\"run\":\"r\",\"folder\":\"/f\","

static void
test_manifest(void **state)
{
	static const char *const good[] = {
		HEAD FILES "," PARTS "}", HEAD "\"files\":[]," PARTS "}",
		"{\"version\":1,\"run\":\"r\",\"folder\":\"\",\"files\":[]," PARTS "}",	/* a reset's */
	};
	static const char *const bad[] = {
		"", "[]", "{}", "{\"version\":1}", "{\"version\":1,\"run\":\"r\",\"folder\":\"\"," FILES "," PARTS "}",
		"{\"version\":2,\"run\":\"r\",\"folder\":\"/f\"," FILES "," PARTS "}", HEAD FILES "," PARTS,
		HEAD PARTS "}", HEAD FILES "}", HEAD "\"files\":{}," PARTS "}", HEAD FILES ",\"partitions\":7}",
		HEAD FILES ",\"partitions\":[{\"topic\":\"t\",\"partition\":0,\"next\":\"5\"}]}", HEAD FILES ",\"partitions\":[{\"topic\":\"t\",\"partition\":0,\"next\":-1}]}",
		HEAD FILES ",\"partitions\":[{\"topic\":\"t\",\"partition\":\"0\",\"next\":5}]}", HEAD FILES ",\"partitions\":[{\"topic\":\"t\",\"partition\":4294967296,\"next\":5}]}",
		HEAD FILES ",\"partitions\":[{\"partition\":0,\"next\":5}]}", HEAD FILES ",\"partitions\":[5]}",
		HEAD "\"files\":[{\"final\":\"/b\",\"fileId\":7,\"length\":3,\"topic\":\"t\",\"partition\":0}]," PARTS "}",
		HEAD "\"files\":[{\"temporary\":\"/a\",\"final\":\"/b\",\"fileId\":7,\"length\":-3,\"topic\":\"t\",\"partition\":0}]," PARTS "}",
	};
	char dir[] = "/tmp/penstock-state-XXXXXX", path[64], uri[64], ignored[FS_PATH_BYTES], command[64];
	struct err err = { "" };
	struct fs *fs;
	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(uri, sizeof uri, "file://%s", dir);
	assert_int_equal(fs_open(&fs, &(struct fs_config){ .uri = uri, .conf_dir = "/" }, &clock_system, ignored, &err), 0);
	snprintf(path, sizeof path, "%s/manifest-0000000003", dir);
	for (size_t i = 0; i < sizeof good / sizeof *good + sizeof bad / sizeof *bad; i++) {
		bool is_good = i < sizeof good / sizeof *good;
		const char *text = is_good ? good[i] : bad[i - sizeof good / sizeof *good];
		struct manifest manifest;
		FILE *file = fopen(path, "w");
		fputs(text, file);
		fclose(file);
		err.text[0] = '\0';
		int rc = manifest_read(fs, dir, 3, &manifest, &err);
		if ((rc == 0) != is_good)
			fail_msg("%s: %s", text, rc ? err.text : "taken");
		if (rc)
			assert_non_null(strstr(err.text, path));
		manifest_free(&manifest);
	}
	fs_close(fs);
	snprintf(command, sizeof command, "rm -r %s", dir);
	assert_int_equal(system(command), 0);
}

/* What is said of a record may be cut within a character: it is kept all the same. */
static void
test_errors(void **state)
{
	char dir[] = "/tmp/penstock-state-XXXXXX", path[64], uri[64], ignored[FS_PATH_BYTES], command[64], line[256] = "";
	struct err err = { "" };
	struct place place = { NULL };
	struct part part = { .topic = "t" };
	struct error_record error = { .part = &part, .offset = 41, .words = "no JSON near 'caf\xc3", .kept = true, .value = (uint8_t *)"abc", .value_len = 3 };
	struct job job = { .errors = &error, .error_count = 1 };
	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(uri, sizeof uri, "file://%s", dir);
	assert_int_equal(fs_open(&place.fs, &(struct fs_config){ .uri = uri, .conf_dir = "/" }, &clock_system, ignored, &err), 0);
	struct fs_batch batch = { .fs = place.fs };
	assert_int_equal(report_errors_store(&job, &batch, dir, &err), 0);
	assert_int_equal(fs_batch_wait(&batch, 0, &err), FS_OK);
	snprintf(path, sizeof path, "%s/errors.jsonl", dir);
	FILE *file = fopen(path, "r");
	assert_non_null(file);
	assert_non_null(fgets(line, sizeof line, file));
	fclose(file);
	assert_non_null(strstr(line, "\"offset\":41"));
	assert_non_null(strstr(line, "near 'caf?"));
	assert_non_null(strstr(line, "YWJj"));
	fs_close(place.fs);
	snprintf(command, sizeof command, "rm -r %s", dir);
	assert_int_equal(system(command), 0);
}

/* A registry that does not answer is not asked for each record: a run of a million would never end. */
static void
test_registry_down(void **state)
{
	struct camus_conf conf = { .time_field = "timestamp" };
	struct err err = { "" };
	struct registry *registry;
	const struct schema *schema;
	(void)state;
	assert_int_equal(conf_define(&conf, "schema.registry.url=http://127.0.0.1:1", &err), 0);
	assert_int_equal(conf_define(&conf, "get.schema.by.id.min.interval.seconds=0", &err), 0);
	assert_int_equal(registry_open(&registry, &conf, true, &err), 0);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(registry_latest(registry, "t", &schema, &err), REGISTRY_DOWN);
		assert_int_equal(registry_by_id(registry, "t", 7, &schema, &err), REGISTRY_DOWN);
	}
	assert_int_equal(registry_latest(registry, "t", &schema, &err), REGISTRY_DOWN);
	assert_non_null(strstr(err.text, "asked 4 times"));
	assert_non_null(strstr(err.text, "http://127.0.0.1:1/subjects/t-value"));
	registry_close(registry);
	conf_free(&conf);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_manifest), cmocka_unit_test(test_errors), cmocka_unit_test(test_registry_down) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
