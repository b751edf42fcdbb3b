/* test_nfs: this machine's files on a file system whose rename knows no "but not over another": files and folders get their names all the same. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sinks/hdfs/fs.h"

int __wrap_renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags);
int
__wrap_renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
	(void)from_fd;
	(void)from;
	(void)to_fd;
	(void)to;
	(void)flags;
	errno = EINVAL;
	return -1;
}

static char dir[] = "/tmp/penstock-nfs-XXXXXX";
static struct fs *fs;

static const char *
path(const char *name, char *to)
{
	snprintf(to, 100, "%s/%s", dir, name);
	return to;
}

static enum fs_class
call(enum fs_op op, const char *name, const char *to, bool *yes)
{
	char paths[2][100];
	struct fs_answer answer;
	enum fs_class class = fs_call_wait(fs, &(struct fs_request){ .op = op, .path = path(name, paths[0]), .to = to ? path(to, paths[1]) : NULL }, &answer, NULL);
	if (yes)
		*yes = answer.yes;
	return class;
}

static void
test_rename(void **state)
{
	char uri[64], ignored[FS_PATH_BYTES], name[100];
	struct err err = { "" };
	bool yes;
	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(uri, sizeof uri, "file://%s", dir);
	assert_int_equal(fs_open(&fs, &(struct fs_config){ .uri = uri, .conf_dir = "/" }, &clock_system, ignored, &err), 0);
	static const char *const files[] = { "a", "b" };
	for (int i = 0; i < 2; i++)
		assert_int_equal(fs_put_wait(fs, path(files[i], name), "x", 1, false, NULL, &err), FS_OK);
	assert_int_equal(call(FS_RENAME, "a", "c", &yes), FS_OK);
	assert_true(yes);
	assert_int_equal(call(FS_STAT, "a", NULL, NULL), FS_MISSING);
	assert_int_equal(call(FS_STAT, "c", NULL, NULL), FS_OK);
	/* Never over another. */
	assert_int_equal(call(FS_RENAME, "b", "c", &yes), FS_OK);
	assert_false(yes);
	assert_int_equal(call(FS_STAT, "b", NULL, NULL), FS_OK);
	assert_int_equal(call(FS_RENAME, "gone", "d", &yes), FS_OK);
	assert_false(yes);
	/* Folders. */
	assert_int_equal(call(FS_MKDIRS, "one", NULL, NULL), FS_OK);
	assert_int_equal(call(FS_MKDIRS, "two", NULL, NULL), FS_OK);
	assert_int_equal(call(FS_RENAME, "one", "two", &yes), FS_OK);
	assert_false(yes);
	assert_int_equal(call(FS_RENAME, "one", "three", &yes), FS_OK);
	assert_true(yes);
	assert_int_equal(call(FS_STAT, "three", NULL, NULL), FS_OK);
	fs_close(fs);
	snprintf(name, sizeof name, "rm -r %s", dir);
	assert_int_equal(system(name), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_rename) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
