/* test_fs: the conformance body over localfs and over the WebHDFS double, faults of the double, site files. `test_fs URI DIR [CONF]` runs the
 * body alone over that file system. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "sinks/hdfs/hadoop_conf.h"
#include "sinks/hdfs/publish.h"
#include "sinks/hdfs/retry.h"
#include "sinks/http_client.h"
#include "tests/conformance/fs_conformance.h"
#include "tests/lib/webhdfs_double.h"

static struct fs *
double_open(uint64_t call_ns, uint64_t retry_ns)
{
	struct fs *fs;
	struct err err;
	char uri[128];
	snprintf(uri, sizeof uri, "webhdfs://%s/", double_address);
	struct fs_config config = { .uri = uri, .conf_dir = "/", .call_ns = call_ns, .retry_ns = retry_ns, .seed = 7, .user = "root" };
	if (fs_open(&fs, &config, &clock_system, NULL, &err))
		fail_msg("%s", err.text);
	return fs;
}

static void
test_local(void **state)
{
	char dir[] = "/tmp/penstock-fs-XXXXXX", root[64];
	struct fs *fs;
	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(root, sizeof root, "%s/root", dir);
	assert_int_equal(fs_open(&fs, &(struct fs_config){ .uri = "file:///", .conf_dir = "/" }, &clock_system, NULL, NULL), 0);
	fs_conformance(fs, root);
	fs_close(fs);
	rmdir(dir);
}

static void
test_double(void **state)
{
	(void)state;
	struct fs *fs = double_open(0, 0);
	fs_conformance(fs, "/conformance");
	fs_close(fs);
}

static enum fs_class
simple(struct fs *fs, enum fs_op op, const char *path, const char *to, bool *yes)
{
	struct fs_answer answer;
	enum fs_class class = fs_call_wait(fs, &(struct fs_request){ .op = op, .path = path, .to = to }, &answer, NULL);
	if (yes)
		*yes = answer.yes;
	return class;
}

/* Several files and folders at once: all there; the first failure is told with its path, the others end. */
static void
test_batch(void **state)
{
	(void)state;
	struct err err = { "" };
	struct fs_answer answer;
	void *memory;
	double_order("/reset");
	struct fs *fs = double_open(20 * NS_PER_S, 60 * NS_PER_S);
	struct fs_batch batch = { .fs = fs };
	assert_int_equal(fs_batch_wait(&batch, 0, &err), FS_OK);
	for (int i = 0; i < 40; i++) {
		char path[32];
		snprintf(path, sizeof path, "/many/f%d", i);
		fs_batch_put_text(&batch, path, path, (size_t)i % 5);
		snprintf(path, sizeof path, "/made/d%d", i);
		fs_batch_mkdirs(&batch, path);
		fs_batch_wait(&batch, 16, &err);
		assert_true(batch.busy <= 16);
	}
	assert_int_equal(fs_batch_wait(&batch, 0, &err), FS_OK);
	assert_int_equal(batch.busy, 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(fs_call_wait(fs, &(struct fs_request){ .op = FS_LIST, .path = i ? "/made" : "/many" }, &answer, &memory), FS_OK);
		assert_int_equal(answer.list_count, 40);
		free(memory);
	}
	double_order("/fault?op=SEND&kind=quota&path=/many/bad");
	fs_batch_put_text(&batch, "/many/good1", "1", 1);
	fs_batch_put_text(&batch, "/many/bad", "2", 1);
	fs_batch_put_text(&batch, "/many/good2", "3", 1);
	assert_int_equal(fs_batch_wait(&batch, 0, &err), FS_QUOTA);
	assert_non_null(strstr(err.text, "/many/bad: quota: "));
	assert_int_equal(fs_call_wait(fs, &(struct fs_request){ .op = FS_STAT, .path = "/many/good2" }, &answer, NULL), FS_OK);
	fs_close(fs);
}

/* A DataNode that answers late: the file is whole when the NameNode has all of it, and goes on being so. */
static void
test_early(void **state)
{
	(void)state;
	static const char path[] = "/early/a";
	double_order("/reset");
	struct fs *fs = double_open(20 * NS_PER_S, 20 * NS_PER_S);
	struct fs_batch batch = { .fs = fs };
	struct err err = { "" };
	struct fs_answer answer;
	/* The first answer comes after the test's end. */
	double_order("/fault?op=SEND&kind=closing&ms=20000&count=1");
	double_order("/fault?op=SEND&kind=closing&ms=1500&count=1");
	uint64_t began = clock_now_ns(&clock_system);
	fs_batch_put_text(&batch, path, "whole", 5);
	assert_int_equal(fs_batch_wait(&batch, 0, &err), FS_OK);
	assert_true(clock_now_ns(&clock_system) - began < 15 * NS_PER_S);
	bool yes;
	assert_int_equal(simple(fs, FS_RENAME, path, "/early/b", &yes), FS_OK);
	assert_true(yes);
	/* one with nothing in it has nothing to be looked at, and one that is not asked for it is waited for */
	began = clock_now_ns(&clock_system);
	assert_int_equal(fs_put_wait(fs, "/early/c", "waited for", 10, false, NULL, &err), FS_OK);
	assert_true(clock_now_ns(&clock_system) - began > 1400 * NS_PER_MS);
	assert_int_equal(fs_call_wait(fs, &(struct fs_request){ .op = FS_STAT, .path = "/early/b" }, &answer, NULL), FS_OK);
	assert_int_equal(answer.status.length, 5);
	/* another length is no reason to believe it: the answer counts */
	double_order("/fault?op=GETFILESTATUS&kind=raw&status=200&body={\"FileStatus\":{\"type\":\"FILE\",\"length\":4,\"fileId\":7}}&count=9");
	double_order("/fault?op=SEND&kind=closing&ms=700");
	began = clock_now_ns(&clock_system);
	fs_batch_put_text(&batch, "/early/d", "whole", 5);
	assert_int_equal(fs_batch_wait(&batch, 0, &err), FS_OK);
	assert_true(clock_now_ns(&clock_system) - began >= 600 * NS_PER_MS);
	double_order("/calm");
	/* closed while one's answer is still to come */
	double_order("/fault?op=SEND&kind=closing&ms=1500");
	fs_batch_put_text(&batch, "/early/e", "whole", 5);
	assert_int_equal(fs_batch_wait(&batch, 0, &err), FS_OK);
	fs_close(fs);
}

static void
test_retries(void **state)
{
	(void)state;
	bool yes;
	double_order("/reset");
	/* Calls may take their time, but for the one that is to wait in vain. */
	struct fs *fs = double_open(20 * NS_PER_S, 60 * NS_PER_S), *hasty = double_open(500 * NS_PER_MS, 20 * NS_PER_S);
	assert_int_equal(fs_put_wait(fs, "/a", "1", 1, false, NULL, NULL), FS_OK);
	/* Nothing was done: repeated. */
	double_order("/fault?op=RENAME&kind=retriable&count=2");
	assert_int_equal(simple(fs, FS_RENAME, "/a", "/b", &yes), FS_OK);
	assert_true(yes);
	assert_int_equal(fs->counters.retries, 2);
	double_order("/fault?op=MKDIRS&kind=safemode");
	assert_int_equal(simple(fs, FS_MKDIRS, "/d", NULL, NULL), FS_OK);
	/* Safe to repeat: repeated though the answer was lost or never came. */
	double_order("/fault?op=GETFILESTATUS&kind=lost_before&count=2");
	assert_int_equal(simple(fs, FS_STAT, "/b", NULL, NULL), FS_OK);
	double_order("/fault?op=GETFILESTATUS&kind=hang&ms=1500");
	assert_int_equal(simple(hasty, FS_STAT, "/b", NULL, NULL), FS_OK);
	fs_close(hasty);
	double_order("/fault?op=DELETE&kind=lost_after");
	assert_int_equal(simple(fs, FS_DELETE, "/b", NULL, &yes), FS_OK);
	assert_false(yes);	/* the repetition's answer */
	/* Not safe: told. */
	assert_int_equal(fs_put_wait(fs, "/a", "1", 1, false, NULL, NULL), FS_OK);
	double_order("/fault?op=RENAME&kind=lost_after");
	long before = double_order("/count?op=RENAME");
	assert_int_equal(simple(fs, FS_RENAME, "/a", "/b", NULL), FS_UNKNOWN);
	assert_int_equal(double_order("/count?op=RENAME"), before + 1);
	/* Writing: step 1 is repeated, step 2 only while it did nothing. */
	double_order("/fault?op=CREATE&kind=lost_before&count=2");
	assert_int_equal(fs_put_wait(fs, "/w1", "12", 2, false, NULL, NULL), FS_OK);
	double_order("/fault?op=SEND&kind=standby&count=2");
	assert_int_equal(fs_put_wait(fs, "/w2", "34", 2, false, NULL, NULL), FS_OK);
	double_order("/fault?op=SEND&kind=lost_after");
	struct err err;
	assert_int_equal(fs_put_wait(fs, "/w3", "56", 2, false, NULL, &err), FS_UNKNOWN);
	assert_non_null(strstr(err.text, "/w3"));
	double_order("/fault?op=SEND&kind=quota");
	assert_int_equal(fs_put_wait(fs, "/w4", "78", 2, false, NULL, &err), FS_QUOTA);
	assert_non_null(strstr(err.text, "NSQuotaExceededException"));
	/* An error answered while the body still comes. */
	double_order("/fault?op=SEND&kind=early");
	char *big = calloc(1, 8u << 20);
	assert_int_equal(fs_put_wait(fs, "/w5", big, 8u << 20, false, NULL, &err), FS_QUOTA);
	assert_null(strstr(err.text, "at org"));
	free(big);
	double_order("/fault?op=APPEND&kind=lease");
	struct fs_answer a;
	assert_int_equal(fs_call_wait(fs, &(struct fs_request){ .op = FS_STAT, .path = "/w2" }, &a, NULL), FS_OK);
	assert_int_equal(a.status.length, 2);
	fs_close(fs);
	/* Nobody there: busy, after the retries' time. */
	assert_int_equal(fs_open(&fs, &(struct fs_config){ .uri = "webhdfs://127.0.0.1:1/", .conf_dir = "/", .retry_ns = 300 * NS_PER_MS }, &clock_system,
		NULL, NULL), 0);
	assert_int_equal(simple(fs, FS_STAT, "/", NULL, NULL), FS_BUSY);
	assert_true(fs->counters.calls > 1);
	fs_close(fs);
}

struct published {
	bool finished;
	enum publish_result result;
};

static void
published(void *context, enum publish_result result, enum fs_class class, const char *text)
{
	struct published *p = context;
	(void)class;
	(void)text;
	p->result = result;
	p->finished = true;
}

static enum publish_result
publish(struct fs *fs, const char *from, const char *to, uint64_t id, uint64_t length)
{
	struct published p = { 0 };
	publish_begin(fs, from, to, id, length, false, published, &p);
	assert_true(fs_run(fs, &p.finished, clock_now_ns(fs->clock) + 60 * NS_PER_S));
	return p.result;
}

static void
test_publish_faults(void **state)
{
	(void)state;
	struct fs_status status;
	double_order("/reset");
	struct fs *fs = double_open(20 * NS_PER_S, 60 * NS_PER_S);
	/* Done, but the answer was lost; not done, and the answer lost; done only after we gave it up. */
	static const char *const kinds[] = { "lost_after", "lost_before", "late&ms=0", "late&ms=30", "retriable" };
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		char from[32], to[32], query[128];
		snprintf(from, sizeof from, "/x%zu.tmp", i);
		snprintf(to, sizeof to, "/x%zu", i);
		assert_int_equal(fs_put_wait(fs, from, "abc", 3, false, &status, NULL), FS_OK);
		snprintf(query, sizeof query, "/fault?op=RENAME&kind=%s", kinds[i]);
		double_order(query);
		assert_int_equal(publish(fs, from, to, status.file_id, 3), PUBLISH_DONE);
		assert_int_equal(simple(fs, FS_STAT, to, NULL, NULL), FS_OK);
		assert_int_equal(simple(fs, FS_STAT, from, NULL, NULL), FS_MISSING);
	}
	/* Rights taken away: later. */
	assert_int_equal(fs_put_wait(fs, "/y.tmp", "abc", 3, false, &status, NULL), FS_OK);
	double_order("/fault?op=RENAME&kind=denied");
	assert_int_equal(publish(fs, "/y.tmp", "/y", status.file_id, 3), PUBLISH_LATER);
	assert_int_equal(publish(fs, "/y.tmp", "/y", status.file_id, 3), PUBLISH_DONE);
	fs_close(fs);
}

static void
test_failover(void **state)
{
	(void)state;
	struct fs *fs;
	char addresses[128];
	double_order("/reset");
	/* The first NameNode is not there; the second is. */
	snprintf(addresses, sizeof addresses, "127.0.0.1:1,%s", double_address);
	assert_int_equal(fs_open(&fs, &(struct fs_config){ .uri = "hdfs://ns1/x", .conf_dir = "/", .http_address = addresses }, &clock_system, NULL, NULL), 0);
	assert_int_equal(simple(fs, FS_MKDIRS, "/d", NULL, NULL), FS_OK);
	assert_int_equal(fs->counters.failovers, 1);
	assert_int_equal(simple(fs, FS_MKDIRS, "/e", NULL, NULL), FS_OK);
	assert_int_equal(fs->counters.failovers, 1);
	fs_close(fs);
	/* A standby answers step 1 of CREATE as if it were active, and other calls with its name. */
	snprintf(addresses, sizeof addresses, "%s,%s", double_address, double_address);
	assert_int_equal(fs_open(&fs, &(struct fs_config){ .uri = "hdfs://ns1/x", .conf_dir = "/", .http_address = addresses }, &clock_system, NULL, NULL), 0);
	double_order("/fault?op=MKDIRS&kind=standby");
	assert_int_equal(simple(fs, FS_MKDIRS, "/f", NULL, NULL), FS_OK);
	assert_int_equal(fs->counters.failovers, 1);
	double_order("/fault?op=SEND&kind=standby");
	assert_int_equal(fs_put_wait(fs, "/w", "34", 2, false, NULL, NULL), FS_OK);
	assert_int_equal(fs->counters.failovers, 2);
	fs_close(fs);
}

static void
test_limit(void **state)
{
	(void)state;
	struct fs *fs;
	char uri[128];
	double_order("/reset");
	snprintf(uri, sizeof uri, "webhdfs://%s/", double_address);
	assert_int_equal(fs_open(&fs, &(struct fs_config){ .uri = uri, .conf_dir = "/", .calls_per_s = 20 }, &clock_system, NULL, NULL), 0);
	uint64_t begun_ns = clock_now_ns(&clock_system);
	for (int i = 0; i < 30; i++)
		simple(fs, FS_STAT, "/", NULL, NULL);
	uint64_t took_ns = clock_now_ns(&clock_system) - begun_ns;
	assert_true(took_ns > 400 * NS_PER_MS && took_ns < 30 * NS_PER_S);
	fs_close(fs);
}

static void
file_write(const char *dir, const char *name, const char *text)
{
	char path[128];
	snprintf(path, sizeof path, "%s/%s", dir, name);
	FILE *file = fopen(path, "w");
	fputs(text, file);
	fclose(file);
}

static void
test_conf(void **state)
{
	(void)state;
	char dir[] = "/tmp/penstock-conf-XXXXXX", command[64];
	struct hadoop_conf *conf;
	struct hadoop_place place;
	struct err err;
	assert_non_null(mkdtemp(dir));
	file_write(dir, "core-site.xml", "<?xml version=\"1.0\"?><!-- c --><configuration><property><name>fs.defaultFS</name><value>hdfs://ns1</value></property>"
		"<property><name> a.b </name><value>x${c.d}y</value><final>true</final></property>"
		"<property><name>c.d</name><value>&lt;1&gt;</value></property></configuration>");
	file_write(dir, "hdfs-site.xml", "<configuration><property><name>dfs.ha.namenodes.ns1</name><value>nn1, nn2</value></property>"
		"<property><name>dfs.namenode.http-address.ns1.nn1</name><value>h1:9870</value></property>"
		"<property><name>dfs.namenode.http-address.ns1.nn2</name><value>h2:9871</value></property>"
		"<property><name>a.b</name><value>later</value></property>"
		"<property><name>dfs.blocksize</name><value>64m</value></property></configuration>");
	if (hadoop_conf_open(&conf, dir, &err))
		fail_msg("%s", err.text);
	assert_string_equal(hadoop_conf_get(conf, "a.b"), "x<1>y");
	assert_null(hadoop_conf_get(conf, "none"));
	assert_int_equal(hadoop_conf_number(conf, "dfs.blocksize", 0), 64 << 20);
	assert_int_equal(hadoop_place(conf, "/logs/x", NULL, &place, &err), 0);
	assert_int_equal(place.count, 2);
	assert_string_equal(place.http[0], "http://h1:9870");
	assert_string_equal(place.http[1], "http://h2:9871");
	assert_string_equal(place.service, "ns1");
	assert_string_equal(place.path, "/logs/x");
	assert_int_equal(hadoop_place(conf, "hdfs://other:8020/p", NULL, &place, &err), 0);
	assert_string_equal(place.http[0], "http://other:9870");
	assert_string_equal(place.path, "/p");
	assert_int_equal(hadoop_place(conf, "swebhdfs://other:50470", NULL, &place, &err), 0);
	assert_string_equal(place.http[0], "https://other:50470");
	assert_string_equal(place.path, "/");
	assert_int_equal(hadoop_place(conf, "hdfs://other/p", "a:1, b:2", &place, &err), 0);
	assert_string_equal(place.http[1], "http://b:2");
	assert_string_equal(place.host[1], "b");
	assert_int_equal(hadoop_place(conf, "file:///a/b", NULL, &place, &err), 0);
	assert_true(place.local);
	assert_string_equal(place.path, "/a/b");
	assert_int_equal(hadoop_place(conf, "s3a://bucket/x", NULL, &place, &err), -ENOTSUP);
	assert_non_null(strstr(err.text, "s3a"));
	hadoop_conf_close(conf);
	file_write(dir, "hdfs-site.xml", "<configuration><property><name>dfs.http.policy</name><value>HTTPS_ONLY</value></property></configuration>");
	assert_int_equal(hadoop_conf_open(&conf, dir, &err), 0);
	assert_int_equal(hadoop_place(conf, "hdfs://other:8020/p", NULL, &place, &err), 0);
	assert_string_equal(place.http[0], "https://other:9871");
	hadoop_conf_close(conf);
	file_write(dir, "hdfs-site.xml", "<configuration>\n<property><name>x</nam");
	assert_int_not_equal(hadoop_conf_open(&conf, dir, &err), 0);
	assert_non_null(strstr(err.text, "hdfs-site.xml:2"));
	assert_int_not_equal(hadoop_conf_open(&conf, "/not/there", &err), 0);
	snprintf(command, sizeof command, "rm -r %s", dir);
	assert_int_equal(system(command), 0);
}

static void
test_classes(void **state)
{
	(void)state;
	assert_int_equal(retry_class(403, "StandbyException", ""), FS_BUSY);
	assert_int_equal(retry_class(500, "FileAlreadyExistsException", ""), FS_EXISTS);	/* HttpFS */
	assert_int_equal(retry_class(403, "IOException", "Failed to find datanode, suggest"), FS_SPACE);
	assert_int_equal(retry_class(403, "IOException", "x"), FS_FAILED);
	assert_int_equal(retry_class(503, "", ""), FS_BUSY);
	uint64_t seed = 1;
	for (uint32_t i = 1; i < 20; i++) {
		uint64_t pause_ns = retry_pause_ns(i, &seed);
		assert_true(pause_ns >= 50 * NS_PER_MS && pause_ns <= 5 * NS_PER_S);
	}
}

static const char *const *arguments;

static void
test_given(void **state)
{
	(void)state;
	struct fs *fs;
	struct err err;
	if (fs_open(&fs, &(struct fs_config){ .uri = arguments[1], .conf_dir = arguments[3], .retry_ns = 20 * NS_PER_S, .user = "root" }, &clock_system, NULL, &err))
		fail_msg("%s", err.text);
	fs_conformance(fs, arguments[2]);
	fs_close(fs);
}

int
main(int argc, char **argv)
{
	arguments = (const char *const *)argv;
	if (argc >= 3) {
		const struct CMUnitTest one[] = { cmocka_unit_test(test_given) };
		return cmocka_run_group_tests(one, NULL, NULL);
	}
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_conf), cmocka_unit_test(test_classes), cmocka_unit_test(test_local), cmocka_unit_test(test_double),
		cmocka_unit_test(test_batch), cmocka_unit_test(test_early), cmocka_unit_test(test_retries),
		cmocka_unit_test(test_publish_faults), cmocka_unit_test(test_failover), cmocka_unit_test(test_limit),
	};
	return cmocka_run_group_tests(tests, double_start, double_stop);
}
