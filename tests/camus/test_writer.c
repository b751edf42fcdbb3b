/* The writer's memory is a bound, never a place to wait in for ever: not behind a file that broke, nor behind thousands that are done. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "camus/writer.h"

#define MEMORY (1u << 18)

struct rig {
	char dir[40];
	struct fs *fs;
	struct writer *writer;
};

static int
begin(void **state)
{
	struct rig *rig = calloc(1, sizeof *rig);
	char uri[64], ignored[FS_PATH_BYTES];
	struct err err = { "" };
	snprintf(rig->dir, sizeof rig->dir, "/tmp/penstock-writer-XXXXXX");
	if (!mkdtemp(rig->dir))
		return -1;
	snprintf(uri, sizeof uri, "file://%s", rig->dir);
	*state = rig;
	alarm(120);	/* what is tested here is that it ends */
	return fs_open(&rig->fs, &(struct fs_config){ .uri = uri, .conf_dir = "/" }, &clock_system, ignored, &err);
}

static int
end(void **state)
{
	struct rig *rig = *state;
	char command[64];
	writer_close(rig->writer);
	fs_close(rig->fs);
	snprintf(command, sizeof command, "rm -r %s", rig->dir);
	free(rig);
	return system(command);
}

static void
rig_open(struct rig *rig, const char *folder)
{
	struct err err = { "" };
	assert_int_equal(writer_open(&rig->writer, &(struct writer_config){ .fs = rig->fs, .clock = &clock_system, .folder = folder, .memory = MEMORY,
		.kind = WRITER_TEXT, .delimiter = "\n", .stall_ns = 60 * NS_PER_S }, &err), 0);
}

/* More waits than memory has room for, and the file it waits for cannot be made. */
static void
test_broken(void **state)
{
	struct rig *rig = *state;
	struct part part = { .topic = "t" };
	char folder[64], path[80], *record = calloc(1, 3 * MEMORY);
	snprintf(path, sizeof path, "%s/file", rig->dir);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fclose(file);
	snprintf(folder, sizeof folder, "%s/file/run", rig->dir);	/* no folder can be there */
	rig_open(rig, folder);
	writer_put(rig->writer, &part, 0, 1, "f", NULL, 0, record, 3 * MEMORY, 0);
	writer_finish(rig->writer);
	free(record);
	assert_true(part.failed);
	assert_non_null(strstr(part.words, folder));
}

/* Each small file has kept some memory of its queue. */
static void
test_many(void **state)
{
	struct rig *rig = *state;
	struct part part = { .topic = "t" };
	char folder[64], *record = calloc(1, 5000);
	size_t count;
	uint32_t buckets = 2 * MEMORY / 4096;
	snprintf(folder, sizeof folder, "%s/run", rig->dir);
	rig_open(rig, folder);
	for (uint32_t i = 0; i < buckets; i++) {
		writer_put(rig->writer, &part, i, i + 1, "f", NULL, 0, record, 100, i);
		writer_end_part(rig->writer, &part);
	}
	for (uint32_t i = 0; i < 4 * MEMORY / 5000; i++)
		writer_put(rig->writer, &part, buckets, buckets + 1, "f", NULL, 0, record, 5000, buckets + i);
	writer_finish(rig->writer);
	free(record);
	assert_false(part.failed);
	struct written *files = writer_files(rig->writer, &count);
	assert_int_equal(count, buckets + 1);
	for (size_t i = 0; i < count; i++) {
		assert_true(files[i].whole);
		free(files[i].file.temporary);
		free(files[i].file.final);
	}
	free(files);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_broken, begin, end),
		cmocka_unit_test_setup_teardown(test_many, begin, end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
