/* Work items and reports: what is written is read back, and nothing that is cut, of another program or of another run is taken. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "camus/complete.h"
#include "camus/counts.h"
#include "camus/task_item.h"

struct rig {
	struct camus_conf conf;
	struct job job;
	struct task task;
	struct part *parts[2];
};

static const struct only only[] = { { 3600000, 5, 9 }, { 7200000, 10, 10 } };

static void
rig_open(struct rig *rig, bool pulled)
{
	memset(rig, 0, sizeof *rig);
	rig->job.conf = &rig->conf;
	snprintf(rig->job.run, sizeof rig->job.run, "2026-11-21-10-00-00-0badcafe");
	complete_load(&rig->job, &(struct manifest){ .text = (char *)"{\"until\":[{\"topic\":\"a\",\"ms\":1396130000000}]}" });
	for (int i = 0; i < 2; i++) {
		struct part *part = rig->parts[i] = job_part(&rig->job, "a", i + 3);
		snprintf(part->leader, sizeof part->leader, "7");
		part->earliest = 1;
		part->start = 5;
		part->latest = 100;
		part->pull = true;
		part->why = START_SAVED;
		part->proven = i == 0;
		part->saved = (struct saved){ true, 5, { 4, 1396130000000, 0xdeadbeef }, { 1, -1, 7 }, 200, INT64_MIN };
		part->now = part->saved;
	}
	rig->parts[1]->only = only;
	rig->parts[1]->only_count = 2;
	rig->task = (struct task){ .job = &rig->job, .conf = &rig->conf, .number = 6, .parts = rig->parts, .part_count = 2 };
	if (!pulled)
		return;
	struct part *part = rig->parts[0];
	part->now = (struct saved){ true, 50, { 49, 1396130000123, 0xffffffff }, { 5, 1, 2 }, 300, 1396130000000 };
	part->records = 45;
	part->bytes = 4500;
	part->written = 40;
	part->late = 3;
	part->skipped_old = 1;
	part->skipped_tombstones = 2;
	part->skipped_schema = 1;
	part->skipped_other = 1;
	part->decoded = 43;
	part->more = true;
	/* cut within a character, as snprintf does */
	snprintf(part->words, sizeof part->words, "not fully pulled \xc3");
	counts_add(part, 10, 1396130000000, "host", NULL);
	counts_add(part, 10, 1396130000001, "host", NULL);
	counts_add(part, 10, 1396139000000, NULL, "web");
	counts_add(part, 10, 1396139000000, "\xc3\xa9t\xc3", "web\xff");	/* cut, and no UTF-8 */
	rig->parts[1]->failed = true;
	snprintf(rig->parts[1]->words, sizeof rig->parts[1]->words, "no leader");
	rig->task.errors = calloc(2, sizeof *rig->task.errors);
	rig->task.error_count = 2;
	rig->task.errors[0] = (struct error_record){ .part = part, .offset = 11, .time_ms = -1, .words = strdup("no JSON"), .kept = true,
		.value = malloc(3), .value_len = 3 };
	memcpy(rig->task.errors[0].value, "\0\xff\n", 3);
	rig->task.errors[1] = (struct error_record){ .part = rig->parts[1], .offset = 12, .time_ms = 5, .words = strdup("no leader") };
	rig->task.t_all_ns = 12345;
}

static void
rig_close(struct rig *rig)
{
	for (size_t i = 0; i < rig->task.error_count; i++) {
		free(rig->task.errors[i].words);
		free(rig->task.errors[i].key);
		free(rig->task.errors[i].value);
	}
	free(rig->task.errors);
	job_free(&rig->job);
}

static struct written whole[] = {
	{ { .temporary = (char *)"/x/_penstock/r/out/data-6-1", .final = (char *)"a/hourly/2014/03/29/21", .file_id = 16400, .length = 4000, .records = 40,
	    .first = 5, .last = 49, .bucket = 1396126800000, .bucket_end = 1396130400000 }, true },
	{ { .temporary = (char *)"/x/_penstock/r/out/data-6-2", .final = (char *)"a/hourly/2014/03/29/22" }, false },
};

static char *
report_make(void)
{
	struct rig rig;
	rig_open(&rig, true);
	whole[0].file.part = rig.parts[0];
	whole[1].file.part = rig.parts[0];
	char *text = task_report_text(&rig.task, whole, 2);
	rig_close(&rig);
	return text;
}

static char *
item_make(void)
{
	struct rig rig;
	rig_open(&rig, false);
	char *text = task_item_text(&rig.task, 9);
	rig_close(&rig);
	return text;
}

static void
item_goes_there(void **state)
{
	(void)state;
	char *text = item_make();
	struct job job = { .conf = NULL };
	struct err err = { "" };
	uint32_t number = 0;
	assert_non_null(strchr(text, '\n'));
	assert_int_equal(strchr(text, '\n')[1], '\0');
	assert_int_equal(task_item_read(&job, &number, text, strlen(text) - 1, "here", &err), 0);
	assert_int_equal(number, 6);
	assert_string_equal(job.run, "2026-11-21-10-00-00-0badcafe");
	assert_int_equal(job.part_count, 2);
	const struct part *part = job.parts[0];
	assert_string_equal(part->topic, "a");
	assert_int_equal(part->partition, 3);
	assert_string_equal(part->leader, "7");
	assert_int_equal(part->earliest, 1);
	assert_int_equal(part->start, 5);
	assert_int_equal(part->latest, 100);
	assert_true(part->pull && part->proven && part->saved.known);
	assert_int_equal(part->why, START_SAVED);
	assert_int_equal(part->saved.last.crc, 0xdeadbeef);
	assert_int_equal(part->saved.last.time_ms, 1396130000000);
	assert_true(part->now.event_ms == INT64_MIN);
	assert_null(part->only);
	assert_int_equal(job.parts[1]->only_count, 2);
	assert_int_equal(job.parts[1]->only[1].bucket, 7200000);
	assert_true(complete_until(&job, "a") == 1396130000000);
	assert_true(complete_until(&job, "b") == INT64_MIN);
	job_free(&job);
	free(text);
}

/* Every shorter line, and lines with one byte changed, end with words or with something whole; never otherwise. */
static void
item_cut(void **state)
{
	(void)state;
	char *text = item_make();
	size_t len = strlen(text) - 1;
	for (size_t cut = 0; cut < len; cut++) {
		struct job job = { .conf = NULL };
		struct err err = { "" };
		uint32_t number;
		assert_int_equal(task_item_read(&job, &number, text, cut, "items", &err), -EINVAL);
		assert_non_null(strstr(err.text, "items: "));
		assert_non_null(strstr(err.text, "run again"));
		job_free(&job);
	}
	for (size_t at = 0; at < len; at++) {
		struct job job = { .conf = NULL };
		struct err err = { "" };
		uint32_t number;
		char was = text[at];
		text[at] = was == '9' ? '-' : '9';
		int rc = task_item_read(&job, &number, text, len, "items", &err);
		assert_true(rc == 0 || (rc == -EINVAL && err.text[0]));
		text[at] = was;
		job_free(&job);
	}
	free(text);
}

static void
report_comes_back(void **state)
{
	(void)state;
	char *text = report_make();
	struct rig rig;
	struct data_file *files;
	struct err err = { "" };
	size_t count;
	rig_open(&rig, false);
	assert_int_equal(task_report_read(&rig.task, text, strlen(text), "report-6", &files, &count, &err), 0);
	const struct part *part = rig.parts[0];
	assert_int_equal(part->now.next, 50);
	assert_int_equal(part->now.last.crc, 0xffffffff);
	assert_int_equal(part->records, 45);
	assert_int_equal(part->written, 40);
	assert_int_equal(part->late, 3);
	assert_int_equal(part->skipped_old + 10 * part->skipped_tombstones + 100 * part->skipped_schema + 1000 * part->skipped_other, 1121);
	assert_int_equal(part->decoded, 43);
	assert_true(part->more && !part->failed && !part->trouble);
	assert_string_equal(part->words, "not fully pulled ?");
	assert_true(rig.parts[1]->failed);
	assert_int_equal(count, 1);
	assert_string_equal(files[0].temporary, "data-6-1");
	assert_string_equal(files[0].final, "a/hourly/2014/03/29/21");
	assert_ptr_equal(files[0].part, part);
	assert_int_equal(files[0].file_id, 16400);
	assert_int_equal(files[0].last, 49);
	assert_true(files[0].bucket_end == 1396130400000);
	assert_int_equal(rig.task.error_count, 2);
	assert_string_equal(rig.task.errors[0].words, "no JSON");
	assert_int_equal(rig.task.errors[0].value_len, 3);
	assert_memory_equal(rig.task.errors[0].value, "\0\xff\n", 3);
	assert_null(rig.task.errors[0].key);
	assert_false(rig.task.errors[1].kept);
	assert_int_equal(rig.task.t_all_ns, 12345);
	json_t *counts = counts_json(&rig.job), *entries = json_object_get(json_array_get(counts, 0), "counts");
	assert_int_equal(json_object_size(entries), 3);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(entries, "{\xc3\xa9t?,web?,1396138800000}"), "count")), 1);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(entries, "{host,unknown_service,1396129800000}"), "count")), 2);
	json_decref(counts);
	free(files[0].temporary);
	free(files[0].final);
	free(files);
	rig_close(&rig);
	free(text);
}

static void
files_free(struct data_file *files, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(files[i].temporary);
		free(files[i].final);
	}
	free(files);
}

static void
report_cut(void **state)
{
	(void)state;
	char *text = report_make();
	size_t len = strlen(text) - 1, count;
	struct data_file *files;
	for (size_t cut = 0; cut < len; cut++) {
		struct rig rig;
		struct err err = { "" };
		rig_open(&rig, false);
		assert_int_equal(task_report_read(&rig.task, text, cut, "report-6", &files, &count, &err), -EINVAL);
		assert_non_null(strstr(err.text, "report-6: "));
		assert_int_equal(rig.parts[0]->records, 0);
		assert_int_equal(rig.task.error_count, 0);
		files_free(files, count);
		rig_close(&rig);
	}
	for (size_t at = 0; at < len; at++) {
		struct rig rig;
		struct err err = { "" };
		char was = text[at];
		text[at] = was == '9' ? '/' : '9';
		rig_open(&rig, false);
		int rc = task_report_read(&rig.task, text, len, "report-6", &files, &count, &err);
		assert_true(rc == 0 || (rc == -EINVAL && err.text[0]));
		if (rc)
			assert_int_equal(rig.parts[0]->now.next, 5);
		text[at] = was;
		files_free(files, count);
		rig_close(&rig);
	}
	free(text);
}

/* Reports that are whole and not this task's, or say what cannot be. */
static void
report_refused(void **state)
{
	(void)state;
	static const struct {
		const char *from, *to, *words;
	} rows[] = {
		{ "0badcafe", "0badcaff", "\"run\"" }, { "\"task\":6", "\"task\":7", "\"task\"" }, { "\"topic\":\"a\"", "\"topic\":\"b\"", "\"parts\"" },
		{ "\"next\":50", "\"next\":101", "\"next\"" }, { "\"next\":50", "\"next\":4", "\"next\"" },
		{ "\"name\":\"data-6-1\"", "\"name\":\"data-6-1/../../x\"", "\"name\"" }, { "\"name\":\"data-6-1\"", "\"name\":\"data-5-1\"", "\"name\"" },
		{ "\"part\":0", "\"part\":2", "\"files\"" }, { "\"format\":1", "\"format\":2", "make the bundle again" },
		{ "\"program\":\"", "\"program\":\"x", "make the bundle again" }, { "\"window\":600000", "\"window\":0", "\"counts\"" },
		{ "00ff0a", "00ff0", "\"errors\"" }, { "\"errors\":[", "\"errors\":1,\"e\":[", "\"parts\"" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char *text = report_make(), *at = strstr(text, rows[i].from), changed[8192];
		struct rig rig;
		struct err err = { "" };
		struct data_file *files;
		size_t count;
		assert_non_null(at);
		snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - text), text, rows[i].to, at + strlen(rows[i].from));
		rig_open(&rig, false);
		assert_int_equal(task_report_read(&rig.task, changed, strlen(changed), "report-6", &files, &count, &err), -EINVAL);
		assert_non_null(strstr(err.text, rows[i].words));
		assert_int_equal(rig.parts[0]->now.next, 5);
		assert_null(rig.parts[0]->counts);
		files_free(files, count);
		rig_close(&rig);
		free(text);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(item_goes_there), cmocka_unit_test(item_cut), cmocka_unit_test(report_comes_back), cmocka_unit_test(report_cut),
		cmocka_unit_test(report_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
