/* What a commit does when a NameNode does not say what it did: a manifest that may stand keeps its data, a file that a consumer may have is not lost.
 * Against the WebHDFS double. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "camus/commit.h"
#include "camus/manifest.h"
#include "tests/lib/webhdfs_double.h"

#define STATE "/base/_penstock"
#define TEXT "{\"version\":1,\"run\":\"%s\",\"folder\":\"/w/r\",\"files\":[{\"temporary\":\"/w/r/a\",\"final\":\"/out/b\",\"fileId\":7,\"length\":3,\"records\":1," \
	"\"topic\":\"t\",\"partition\":0,\"first\":0,\"last\":0,\"bucket\":0}],\"partitions\":[{\"topic\":\"t\",\"partition\":0,\"next\":5}]}"

static struct fs *fs;

static int
begin(void **state)
{
	char uri[96], ignored[FS_PATH_BYTES];
	struct err err = { "" };
	(void)state;
	double_order("/reset");
	snprintf(uri, sizeof uri, "webhdfs://%s", double_address);
	return fs_open(&fs, &(struct fs_config){ .uri = uri, .conf_dir = "/", .user = "etl", .retry_ns = NS_PER_S / 2, .seed = 7 }, &clock_system, ignored, &err);
}

static int
end(void **state)
{
	(void)state;
	fs_close(fs);
	return 0;
}

static bool
there(const char *path)
{
	struct fs_answer answer;
	return fs_call_wait(fs, &(struct fs_request){ .op = FS_STAT, .path = path }, &answer, NULL) == FS_OK;
}

static int
put(const char *run)
{
	struct err err = { "" };
	struct fs_batch batch = { .fs = fs };
	char text[600];
	snprintf(text, sizeof text, TEXT, run);
	return manifest_put(&batch, STATE, 1, run, text, &err);
}

/* The answer is lost: done, or not done. */
static void
test_lost(void **state)
{
	(void)state;
	double_order("/fault?op=RENAME&kind=lost_before");
	assert_int_equal(put("one"), -EIO);
	assert_false(there(STATE "/manifest-0000000001"));
	double_order("/fault?op=RENAME&kind=lost_after");
	assert_int_equal(put("two"), 0);
	assert_int_equal(put("three"), -EEXIST);
}

/* Not done when it is looked at, but under way: then it must not come behind our back. */
static void
test_late(void **state)
{
	(void)state;
	double_order("/fault?op=RENAME&kind=late&ms=400");
	assert_int_equal(put("one"), -EIO);
	nanosleep(&(struct timespec){ .tv_nsec = 600 * NS_PER_MS }, NULL);
	assert_false(there(STATE "/manifest-0000000001"));
}

/* Done, and nobody answers what stands there: in doubt. */
static void
test_unread(void **state)
{
	(void)state;
	double_order("/fault?op=RENAME&kind=lost_after");
	double_order("/fault?op=OPEN&kind=retriable&count=1000");
	assert_int_equal(put("one"), -EINPROGRESS);
	double_order("/calm");
	assert_true(there(STATE "/manifest-0000000001"));
	/* Not even whether its source went away. */
	double_order("/reset");
	double_order("/fault?op=RENAME&kind=lost_before");
	double_order("/fault?op=OPEN&kind=retriable&count=1000");
	double_order("/fault?op=DELETE&kind=retriable&count=1000");
	assert_int_equal(put("two"), -EINPROGRESS);
}

/* A file that a consumer took is no lost one, also when the run's folder could not be looked at once. */
static void
test_folder(void **state)
{
	struct err err = { "" };
	struct manifest manifest;
	struct commit_result result;
	struct fs_answer answer;
	char text[600];
	(void)state;
	snprintf(text, sizeof text, TEXT, "one");
	assert_int_equal(manifest_parse(&manifest, 1, text, strlen(text), "m", &err), 0);
	assert_int_equal(fs_call_wait(fs, &(struct fs_request){ .op = FS_MKDIRS, .path = "/w/r" }, &answer, NULL), FS_OK);
	double_order("/fault?op=GETFILESTATUS&kind=denied&count=1&path=/w/r");
	assert_int_equal(commit_publish(fs, &manifest, true, &result, &err), -EAGAIN);
	assert_false(manifest.files[0].missing);
	assert_int_equal(commit_publish(fs, &manifest, true, &result, &err), 0);
	assert_int_equal(result.taken_away, 1);
	assert_int_equal(result.missing, 0);
	manifest_free(&manifest);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_lost, begin, end),
		cmocka_unit_test_setup_teardown(test_late, begin, end),
		cmocka_unit_test_setup_teardown(test_unread, begin, end),
		cmocka_unit_test_setup_teardown(test_folder, begin, end),
	};
	return cmocka_run_group_tests(tests, double_start, double_stop);
}
