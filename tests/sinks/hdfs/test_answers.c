/* test_answers: WebHDFS answers that are none: redirects where none may be, JSON of other types, a token that a DataNode no longer knows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sinks/hdfs/fs.h"
#include "sinks/hdfs/login.h"
#include "tests/lib/webhdfs_double.h"

static uint32_t refusals;

/* A login by Kerberos would take another token here. */
bool __wrap_login_refused(struct login *login, uint64_t now_ns);
bool
__wrap_login_refused(struct login *login, uint64_t now_ns)
{
	(void)login;
	(void)now_ns;
	refusals++;
	return true;
}

static int
begin(void **state)
{
	struct fs *fs;
	struct err err;
	char uri[96], path[FS_PATH_BYTES];
	double_order("/reset");
	snprintf(uri, sizeof uri, "webhdfs://%s/", double_address);
	struct fs_config config = { .uri = uri, .conf_dir = "/", .user = "me", .token = "abc", .call_ns = 10 * NS_PER_S };
	assert_int_equal(fs_open(&fs, &config, &clock_system, path, &err), 0);
	refusals = 0;
	*state = fs;
	return 0;
}

static int
begin_hasty(void **state)
{
	struct fs *fs;
	struct err err;
	char uri[96], path[FS_PATH_BYTES];
	double_order("/reset");
	snprintf(uri, sizeof uri, "webhdfs://%s/", double_address);
	struct fs_config config = { .uri = uri, .conf_dir = "/", .user = "me", .call_ns = 300 * NS_PER_MS };
	assert_int_equal(fs_open(&fs, &config, &clock_system, path, &err), 0);
	*state = fs;
	return 0;
}

/* Two NameNodes, which are one. */
static int
begin_two(void **state)
{
	struct fs *fs;
	struct err err;
	char uri[96], both[140], path[FS_PATH_BYTES];
	double_order("/reset");
	snprintf(uri, sizeof uri, "hdfs://%s/", double_address);
	snprintf(both, sizeof both, "%s,%s", double_address, double_address);
	struct fs_config config = { .uri = uri, .http_address = both, .conf_dir = "/", .user = "me", .call_ns = 10 * NS_PER_S, .retry_ns = 10 * NS_PER_S };
	assert_int_equal(fs_open(&fs, &config, &clock_system, path, &err), 0);
	*state = fs;
	return 0;
}

static int
end(void **state)
{
	fs_close(*state);
	return 0;
}

static void
order(const char *op, const char *more)
{
	char query[250];
	snprintf(query, sizeof query, "/fault?op=%s&%s", op, more);
	double_order(query);
}

static void
test_token_refused_by_datanode(void **state)
{
	struct fs *fs = *state;
	struct fs_status status;
	struct err err;
	static char bytes[300000];
	memset(bytes, 'x', sizeof bytes);
	order("SEND", "kind=token");
	assert_int_equal(fs_put_wait(fs, "/token", bytes, sizeof bytes, false, &status, &err), FS_OK);
	assert_int_equal(refusals, 1);
	assert_int_equal(status.length, sizeof bytes);	/* also what had gone with the token that was refused */
}

static void
test_redirect_is_no_file(void **state)
{
	struct fs *fs = *state;
	struct fs_answer answer;
	struct err err;
	void *memory;
	order("SEND", "kind=raw&status=307&location=HERE/dn/moved");
	assert_int_not_equal(fs_put_wait(fs, "/a", "bytes", 5, false, NULL, &err), FS_OK);
	assert_non_null(strstr(err.text, "307"));
	order("SEND", "kind=raw&status=202");
	assert_int_not_equal(fs_put_wait(fs, "/a", "bytes", 5, false, NULL, &err), FS_OK);
	assert_int_equal(fs_put_wait(fs, "/a", "bytes", 5, false, NULL, &err), FS_OK);
	order("DATA", "kind=raw&status=307&location=HERE/dn/a");
	assert_int_not_equal(fs_call_wait(fs, &(struct fs_request){ .op = FS_READ, .path = "/a" }, &answer, &memory), FS_OK);
	free(memory);
	assert_int_equal(fs_call_wait(fs, &(struct fs_request){ .op = FS_READ, .path = "/a" }, &answer, &memory), FS_OK);
	assert_int_equal(answer.len, 5);
	free(memory);
	order("CONCAT", "kind=raw&status=307&location=HERE/dn/a");
	const char *const sources[] = { "/b", NULL };
	assert_int_not_equal(fs_call_wait(fs, &(struct fs_request){ .op = FS_CONCAT, .path = "/a", .sources = sources }, NULL, NULL), FS_OK);
}

static void
test_other_types(void **state)
{
	struct fs *fs = *state;
	static const struct {
		enum fs_op op;
		const char *name, *body;
	} rows[] = {
		{ FS_STAT, "GETFILESTATUS", "{\"FileStatus\":5}" },
		{ FS_STAT, "GETFILESTATUS", "{\"FileStatus\":{}}" },
		{ FS_STAT, "GETFILESTATUS", "{\"FileStatus\":{\"type\":\"FILE\"}}" },
		{ FS_STAT, "GETFILESTATUS", "{\"FileStatus\":{\"type\":\"FILE\",\"length\":-1}}" },
		{ FS_STAT, "GETFILESTATUS", "{\"FileStatus\":{\"type\":\"FILE\",\"length\":\"7\"}}" },
		{ FS_STAT, "GETFILESTATUS", "{\"FileStatus\":{\"type\":\"FILE\",\"length\":7" },
		{ FS_STAT, "GETFILESTATUS", "[]" },
		{ FS_STAT, "GETFILESTATUS", "" },
		{ FS_LIST, "LISTSTATUS", "{\"FileStatuses\":{\"FileStatus\":[7]}}" },
		{ FS_LIST, "LISTSTATUS", "{\"FileStatuses\":{\"FileStatus\":{}}}" },
		{ FS_LIST, "LISTSTATUS", "{\"FileStatuses\":{\"FileStatus\":[{\"type\":\"FILE\",\"length\":1}]}}" },
		{ FS_SUMMARY, "GETCONTENTSUMMARY", "{\"ContentSummary\":true}" },
		{ FS_RENAME, "RENAME", "{\"boolean\":\"true\"}" },
		{ FS_DELETE, "DELETE", "{\"boolean\":1}" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char query[200];
		struct fs_answer answer;
		void *memory;
		snprintf(query, sizeof query, "kind=raw&body=%s", rows[i].body);
		order(rows[i].name, query);
		if (fs_call_wait(fs, &(struct fs_request){ .op = rows[i].op, .path = "/a", .to = "/b" }, &answer, &memory) == FS_OK)
			fail_msg("%s: %s is taken", rows[i].name, rows[i].body);
		free(memory);
	}
}

/* A DataNode that is not there is no reason to leave the NameNode. */
static void
test_datanode_away(void **state)
{
	struct fs *fs = *state;
	struct fs_answer answer;
	struct err err;
	void *memory;
	assert_int_equal(fs_put_wait(fs, "/a", "bytes", 5, false, NULL, &err), FS_OK);
	order("OPEN", "kind=raw&body={\"Location\":\"http://127.0.0.1:1/dn/a\"}&count=2");
	assert_int_equal(fs_call_wait(fs, &(struct fs_request){ .op = FS_READ, .path = "/a" }, &answer, &memory), FS_OK);
	assert_int_equal(answer.len, 5);
	free(memory);
	assert_int_equal(double_order("/count?op=OPEN"), 3);
	assert_int_equal(fs->counters.failovers, 0);
}

/* Bytes that keep coming are no answer. */
static void
test_drops(void **state)
{
	struct fs *fs = *state;
	for (int i = 0; i < 2; i++) {
		uint64_t from_ns = clock_now_ns(&clock_system);
		order("GETFILESTATUS", i ? "kind=interim&ms=25000" : "kind=drip&ms=25000");
		assert_int_equal(fs_call_wait(fs, &(struct fs_request){ .op = FS_STAT, .path = "/a", .once = true }, NULL, NULL), FS_UNKNOWN);
		assert_in_range((clock_now_ns(&clock_system) - from_ns) / NS_PER_MS, 2900, 20000);
	}
}

#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)

int
main(void)
{
	const struct CMUnitTest tests[] = { T(test_token_refused_by_datanode), T(test_redirect_is_no_file), T(test_other_types),
		cmocka_unit_test_setup_teardown(test_datanode_away, begin_two, end),
		cmocka_unit_test_setup_teardown(test_drops, begin_hasty, end) };
	return cmocka_run_group_tests(tests, double_start, double_stop);
}
