#include "tests/conformance/fs_conformance.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sinks/hdfs/publish.h"

static struct fs *fs;
static const char *root;

static const char *
at(const char *name)
{
	static char paths[8][FS_PATH_BYTES];
	static unsigned turn;
	char *path = paths[turn++ % 8];
	assert_int_equal(fs_path_join(path, FS_PATH_BYTES, root, name), 0);
	return path;
}

static enum fs_class
call(enum fs_op op, const char *path, const char *to, struct fs_answer *answer)
{
	struct fs_answer unused;
	return fs_call_wait(fs, &(struct fs_request){ .op = op, .path = path, .to = to }, answer ? answer : &unused, NULL);
}

static enum fs_class
put(const char *path, const char *text, bool overwrite)
{
	return fs_put_wait(fs, path, text, strlen(text), overwrite, NULL, NULL);
}

static void
assert_content(const char *path, const char *text)
{
	struct fs_answer answer;
	void *memory;
	assert_int_equal(fs_call_wait(fs, &(struct fs_request){ .op = FS_READ, .path = path }, &answer, &memory), FS_OK);
	assert_int_equal(answer.len, strlen(text));
	assert_memory_equal(answer.bytes, text, answer.len);
	free(memory);
}

static void
names(void)
{
	struct fs_answer a;
	assert_int_equal(call(FS_STAT, at("none"), NULL, NULL), FS_MISSING);
	assert_int_equal(call(FS_LIST, at("none"), NULL, NULL), FS_MISSING);
	assert_int_equal(call(FS_DELETE, at("none"), NULL, &a), FS_OK);
	assert_false(a.yes);
	assert_int_equal(call(FS_MKDIRS, at("d/e/f"), NULL, &a), FS_OK);
	assert_true(a.yes);
	assert_int_equal(call(FS_MKDIRS, at("d/e/f"), NULL, &a), FS_OK);
	assert_true(a.yes);
	assert_int_equal(call(FS_STAT, at("d/e"), NULL, &a), FS_OK);
	assert_true(a.status.directory);
	/* Create makes parents, refuses what is there, keeps odd names. */
	const char *odd = at("d/a=1/\xc3\xa4 b%&?#+;.x");
	assert_int_equal(put(odd, "one", false), FS_OK);
	assert_int_equal(put(odd, "two", false), FS_EXISTS);
	assert_content(odd, "one");
	assert_int_equal(put(odd, "three", true), FS_OK);
	assert_content(odd, "three");
	assert_int_equal(put(at("d/e"), "x", true), FS_EXISTS);
	assert_int_equal(put(at("d/empty"), "", false), FS_OK);
	assert_content(at("d/empty"), "");
	/* A directory that is not empty goes only when asked for. */
	assert_int_equal(call(FS_DELETE, at("d"), NULL, NULL), FS_NOT_EMPTY);
	void *memory;
	assert_int_equal(fs_call_wait(fs, &(struct fs_request){ .op = FS_LIST, .path = at("d") }, &a, &memory), FS_OK);
	assert_int_equal(a.list_count, 3);
	assert_string_equal(a.list[0].name, "a=1");
	assert_string_equal(a.list[1].name, "e");
	assert_true(a.list[1].directory);
	assert_string_equal(a.list[2].name, "empty");
	free(memory);
	/* Behind a name that need not be there. */
	assert_int_equal(fs_call_wait(fs, &(struct fs_request){ .op = FS_LIST, .path = at("d"), .to = "a=1x" }, &a, &memory), FS_OK);
	assert_int_equal(a.list_count, 2);
	assert_int_equal(a.list_left, 0);
	assert_string_equal(a.list[0].name, "e");
	free(memory);
	assert_int_equal(fs_call_wait(fs, &(struct fs_request){ .op = FS_DELETE, .path = at("d"), .recursive = true }, &a, NULL), FS_OK);
	assert_true(a.yes);
	assert_int_equal(call(FS_STAT, at("d"), NULL, NULL), FS_MISSING);
}

static void
rename_rules(void)
{
	struct fs_answer a, before;
	assert_int_equal(put(at("r/a"), "aa", false), FS_OK);
	assert_int_equal(put(at("r/b"), "b", false), FS_OK);
	assert_int_equal(call(FS_STAT, at("r/a"), NULL, &before), FS_OK);
	assert_int_equal(before.status.length, 2);
	assert_int_not_equal(before.status.file_id, 0);
	assert_int_equal(call(FS_RENAME, at("r/a"), at("r/b"), &a), FS_OK);
	assert_false(a.yes);
	assert_content(at("r/b"), "b");
	assert_int_equal(call(FS_RENAME, at("r/none"), at("r/c"), &a), FS_OK);
	assert_false(a.yes);
	assert_int_equal(call(FS_RENAME, at("r/a"), at("r/no/where"), &a), FS_OK);
	assert_false(a.yes);
	assert_int_equal(call(FS_RENAME, at("r/a"), at("r/c"), &a), FS_OK);
	assert_true(a.yes);
	assert_int_equal(call(FS_STAT, at("r/c"), NULL, &a), FS_OK);
	assert_int_equal(a.status.file_id, before.status.file_id);
	assert_int_equal(call(FS_STAT, at("r/a"), NULL, NULL), FS_MISSING);
}

struct end {
	bool finished;
	enum fs_class class;
};

static void
ended(void *context, const struct fs_answer *answer)
{
	struct end *end = context;
	end->finished = true;
	end->class = answer->class;
	if (answer->class != FS_OK)
		assert_true(answer->text[0]);
}

static void
streams(void)
{
	struct chunks bytes = { 0 };
	struct end end = { 0 };
	uint64_t soon = clock_now_ns(fs->clock) + 60 * NS_PER_S;
	struct fs_write write = { .path = at("s/x"), .bytes = &bytes, .done = ended, .context = &end };
	/* Bytes come in turns, with silence between. */
	size_t size = 3u << 20;
	char *text = malloc(size + 1), *expect = malloc(2 * size + 100);
	memset(text, 'm', size);
	text[size] = '\0';
	struct fs_file *file = fs_file_begin(fs, &write);
	assert_int_equal(chunks_put(&bytes, "first,", 6), 0);
	fs_file_more(fs, file);
	bool never = false;
	while (bytes.bytes && clock_now_ns(fs->clock) < soon)		/* a busy NameNode takes its time until they can go */
		fs_run(fs, &never, clock_now_ns(fs->clock) + 20 * NS_PER_MS);
	fs_run(fs, &never, clock_now_ns(fs->clock) + 300 * NS_PER_MS);
	assert_false(end.finished);
	assert_int_equal(bytes.bytes, 0);
	assert_int_equal(chunks_put(&bytes, text, size), 0);
	fs_file_more(fs, file);
	fs_run(fs, &never, clock_now_ns(fs->clock) + 50 * NS_PER_MS);
	assert_int_equal(chunks_put(&bytes, ",last", 5), 0);
	fs_file_end(fs, file);
	assert_true(fs_run(fs, &end.finished, soon));
	assert_int_equal(end.class, FS_OK);
	snprintf(expect, 2 * size + 100, "first,%s,last", text);
	assert_content(at("s/x"), expect);
	/* Append goes on behind it, and keeps the identity. */
	struct fs_answer before, a;
	assert_int_equal(call(FS_STAT, at("s/x"), NULL, &before), FS_OK);
	end.finished = false;
	write.append = true;
	write.path = at("s/x");
	assert_int_equal(chunks_put(&bytes, "+more", 5), 0);
	file = fs_file_begin(fs, &write);
	fs_file_end(fs, file);
	assert_true(fs_run(fs, &end.finished, soon));
	assert_int_equal(end.class, FS_OK);
	snprintf(expect, 2 * size + 100, "first,%s,last+more", text);
	assert_content(at("s/x"), expect);
	assert_int_equal(call(FS_STAT, at("s/x"), NULL, &a), FS_OK);
	assert_int_equal(a.status.file_id, before.status.file_id);
	assert_int_equal(a.status.length, size + 16);
	/* A piece of it. */
	void *memory;
	assert_int_equal(fs_call_wait(fs, &(struct fs_request){ .op = FS_READ, .path = at("s/x"), .offset = 3, .length = 5 }, &a, &memory), FS_OK);
	assert_int_equal(a.len, 5);
	assert_memory_equal(a.bytes, "st,mm", 5);
	free(memory);
	/* Append to nothing, and onto what is there already. */
	end.finished = false;
	write.path = at("s/none");
	file = fs_file_begin(fs, &write);
	fs_file_end(fs, file);
	assert_true(fs_run(fs, &end.finished, soon));
	assert_int_equal(end.class, FS_MISSING);
	/* Broken off: done is not called, a cut file may stay and can be deleted at once. */
	end.finished = false;
	write.append = false;
	write.path = at("s/cut");
	assert_int_equal(chunks_put(&bytes, text, size), 0);
	file = fs_file_begin(fs, &write);
	fs_run(fs, &never, clock_now_ns(fs->clock) + 200 * NS_PER_MS);
	fs_file_cancel(fs, file);
	chunks_free(&bytes);
	fs_run(fs, &never, clock_now_ns(fs->clock) + 100 * NS_PER_MS);
	assert_false(end.finished);
	assert_int_equal(call(FS_DELETE, at("s/cut"), NULL, NULL), FS_OK);
	/* Removed while it is written: the end is told, whatever it is, and no file appears. */
	write.path = at("s/gone");
	file = fs_file_begin(fs, &write);
	assert_int_equal(chunks_put(&bytes, "abc", 3), 0);
	fs_file_more(fs, file);
	for (int i = 0; i < 600; i++) {		/* a busy NameNode must not make it after it was removed */
		fs_run(fs, &never, clock_now_ns(fs->clock) + 100 * NS_PER_MS);
		if (call(FS_STAT, at("s/gone"), NULL, NULL) == FS_OK)
			break;
	}
	assert_int_equal(call(FS_DELETE, at("s/gone"), NULL, NULL), FS_OK);
	fs_file_end(fs, file);
	assert_true(fs_run(fs, &end.finished, soon));
	assert_int_equal(call(FS_STAT, at("s/gone"), NULL, NULL), FS_MISSING);
	chunks_free(&bytes);
	free(text);
	free(expect);
}

#define MANY 40

static void
many(void)
{
	struct end ends[MANY] = { 0 };
	struct chunks bytes[MANY] = { 0 };
	for (int i = 0; i < MANY; i++) {
		char name[32], text[32];
		snprintf(name, sizeof name, "m/f%02d", i);
		int n = snprintf(text, sizeof text, "text of %d", i);
		assert_int_equal(chunks_put(&bytes[i], text, (size_t)n), 0);
		struct fs_file *file = fs_file_begin(fs, &(struct fs_write){ .path = at(name), .bytes = &bytes[i], .done = ended, .context = &ends[i] });
		fs_file_end(fs, file);
	}
	for (int i = 0; i < MANY; i++) {
		assert_true(fs_run(fs, &ends[i].finished, clock_now_ns(fs->clock) + 60 * NS_PER_S));
		assert_int_equal(ends[i].class, FS_OK);
		chunks_free(&bytes[i]);
	}
	struct fs_answer a;
	assert_int_equal(call(FS_LIST, at("m"), NULL, &a), FS_OK);
	assert_int_equal(a.list_count, MANY);
	assert_content(at("m/f17"), "text of 17");
	assert_int_equal(call(FS_SUMMARY, at("m"), NULL, &a), FS_OK);
	assert_int_equal(a.summary.files, MANY);
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
	p->finished = true;
	p->result = result;
}

static enum publish_result
publish(const char *from, const char *to, uint64_t id, uint64_t length, bool look)
{
	struct published p = { 0 };
	assert_non_null(publish_begin(fs, from, to, id, length, look, published, &p));
	assert_true(fs_run(fs, &p.finished, clock_now_ns(fs->clock) + 60 * NS_PER_S));
	return p.result;
}

static void
publishing(void)
{
	struct fs_answer a;
	assert_int_equal(put(at("p/x.tmp"), "pp", false), FS_OK);
	assert_int_equal(call(FS_STAT, at("p/x.tmp"), NULL, &a), FS_OK);
	uint64_t id = a.status.file_id;
	assert_int_equal(publish(at("p/x.tmp"), at("p/new/dir/x"), id, 2, false), PUBLISH_DONE);
	assert_content(at("p/new/dir/x"), "pp");
	assert_int_equal(publish(at("p/x.tmp"), at("p/new/dir/x"), id, 2, true), PUBLISH_DONE);
	assert_int_equal(publish(at("p/x.tmp"), at("p/new/dir/x"), id, 2, false), PUBLISH_DONE);
	assert_int_equal(put(at("p/x.tmp"), "qq", false), FS_OK);
	assert_int_equal(call(FS_STAT, at("p/x.tmp"), NULL, &a), FS_OK);
	assert_int_equal(publish(at("p/x.tmp"), at("p/new/dir/x"), a.status.file_id, 2, false), PUBLISH_TAKEN);
	assert_int_equal(publish(at("p/y.tmp"), at("p/y"), 999999999, 2, true), PUBLISH_GONE);
	assert_int_equal(publish(at("p/x.tmp"), at("p/z"), a.status.file_id, 2, true), PUBLISH_DONE);
	if (strcmp(fs->ops->name, "webhdfs") == 0) {
		/* A consumer moved it before the rename was seen. */
		assert_int_equal(call(FS_MKDIRS, at("p/taken"), NULL, NULL), FS_OK);
		assert_int_equal(call(FS_RENAME, at("p/z"), at("p/taken/z"), NULL), FS_OK);
		assert_int_equal(publish(at("p/x.tmp"), at("p/z"), a.status.file_id, 2, true), PUBLISH_DONE);
	}
}

void
fs_conformance(struct fs *fs_, const char *root_)
{
	fs = fs_;
	root = root_;
	(void)fs_call_wait(fs, &(struct fs_request){ .op = FS_DELETE, .path = root, .recursive = true }, NULL, NULL);
	names();
	rename_rules();
	streams();
	many();
	publishing();
	assert_int_equal(fs_call_wait(fs, &(struct fs_request){ .op = FS_DELETE, .path = root, .recursive = true }, NULL, NULL), FS_OK);
}
