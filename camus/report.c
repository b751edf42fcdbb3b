#include "camus/report.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "camus/complete.h"

void
report_task(struct run_report *report, const struct task *task)
{
	report->tasks++;
	if (report->tasks == 1 || task->t_all_ns < report->task_min_ns)
		report->task_min_ns = task->t_all_ns;
	if (task->t_all_ns > report->task_max_ns)
		report->task_max_ns = task->t_all_ns;
	report->task_sum_ns += task->t_all_ns;
	report->kafka_ns += task->t_kafka_ns;
	report->decode_ns += task->t_decode_ns;
	report->write_ns += task->t_write_ns;
}

struct report_sums
report_sum(const struct job *job)
{
	struct report_sums s = { 0 };
	int64_t now_ms = (int64_t)(clock_wall_ns(&clock_system) / NS_PER_MS);
	for (size_t i = 0; i < job->part_count; i++) {
		const struct part *part = job->parts[i];
		const struct saved *saved = part->failed || !part->now.known ? &part->saved : &part->now;
		int64_t next = saved->known ? saved->next : part->start, event_ms = complete_part_time(job, part);
		s.records += part->records;
		s.bytes += part->bytes;
		s.written += part->failed ? 0 : part->written;
		s.late += part->failed ? 0 : part->late;
		s.old += part->skipped_old;
		s.tombstones += part->skipped_tombstones;
		s.schema += part->skipped_schema;
		s.other += part->skipped_other;
		s.pulled += part->pull;
		s.proven += part->pull && part->proven;
		s.unproven += part->pull && part->why == START_SAVED && !part->proven;
		if (part->latest > next)
			s.record_lag += (uint64_t)(part->latest - next);
		if (part->latest >= 0 && event_ms != INT64_MIN && now_ms - event_ms > (int64_t)s.event_lag_ms)
			s.event_lag_ms = (uint64_t)(now_ms - event_ms);
	}
	return s;
}

static json_t *
part_json(const struct part *part)
{
	return json_pack("{s:s, s:i, s:s, s:I, s:I, s:I, s:I, s:b, s:I, s:b, s:b, s:o}", "topic", part->topic, "partition", (int)part->partition, "start_why",
		start_why_name(part->why), "earliest", (json_int_t)part->earliest, "start", (json_int_t)part->start, "latest",
		(json_int_t)part->latest, "next", (json_int_t)(part->failed ? part->saved.next : part->now.next), "identity_proven", (int)part->proven,
		"records", (json_int_t)part->records, "failed", (int)(part->failed || part->trouble), "more", (int)part->more, "words",
		words_json(part->words));
}

static void
print_json(const struct run_report *report, const struct job *job, int status)
{
	struct report_sums s = report_sum(job);
	json_t *parts = json_array();
	for (size_t i = 0; i < job->part_count; i++)
		json_array_append_new(parts, part_json(job->parts[i]));
	json_t *root = json_pack("{s:s, s:i, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:o}", "run", job->run, "status", status,
		"failure", report->failure, "manifest", (json_int_t)report->manifest, "records", (json_int_t)s.records, "bytes",
		(json_int_t)s.bytes, "written", (json_int_t)s.written, "files", (json_int_t)report->published, "skipped_old", (json_int_t)s.old,
		"tombstones", (json_int_t)s.tombstones, "skipped_schema", (json_int_t)s.schema, "skipped_other", (json_int_t)s.other,
		"recovered_manifest", (json_int_t)report->recovered, "pre_setup_seconds", (double)job->t_pre_ns / 1e9, "setup_seconds",
		(double)job->t_setup_ns / 1e9, "pull_seconds", (double)job->t_pull_ns / 1e9, "commit_seconds", (double)job->t_commit_ns / 1e9,
		"partitions", parts);
	json_object_update_new(root, json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:b}", "late", (json_int_t)s.late, "folders_completed",
		(json_int_t)complete_count(job), "record_lag", (json_int_t)s.record_lag, "event_time_lag_ms", (json_int_t)s.event_lag_ms,
		"partitions_not_proven", (json_int_t)s.unproven, "unfinished_manifest", (json_int_t)report->unfinished, "hook_failed",
		report->hook_failed));
	char *text = json_dumps(root, JSON_INDENT(1));
	puts(text);
	free(text);
	json_decref(root);
}

static double
share(uint64_t part, uint64_t whole)
{
	return whole ? (double)part * 100 / (double)whole : 0;
}

void
report_print(const struct run_report *report, const struct job *job, int status, const struct run_options *options)
{
	struct report_sums s = report_sum(job);
	uint64_t total = job->t_pre_ns + job->t_setup_ns + job->t_pull_ns + job->t_commit_ns;
	for (size_t i = 0; i < job->part_count; i++) {
		const struct part *part = job->parts[i];
		bool bad = part->failed || part->trouble || part->why == START_OUT_OF_RANGE || part->why == START_CHANGED || part->why == START_NO_LEADER;
		if (bad || part->more)
			fprintf(stderr, "%s:%d: %s%s%s (oldest %lld, saved %lld, newest %lld)\n", part->topic, part->partition,
				start_why_name(part->why), part->words[0] ? ": " : "", part->words, (long long)part->earliest,
				part->saved.known ? (long long)part->saved.next : -1LL, (long long)part->latest);
		if (part->pull && part->why == START_SAVED && !part->proven)
			fprintf(stderr, "%s:%d: identity not proven: %s %lld %s\n", part->topic, part->partition,
				part->saved.last.offset < 0 ? "offset" : "the record before offset", (long long)part->start,
				part->saved.last.offset < 0 ? "was set or imported, what is before it was not read by us" :
				"is gone (retention or compaction)");
		if (part->falling_behind)
			fprintf(stderr, "%s:%d: falling behind: offset %lld is in the oldest quarter of %lld to %lld\n", part->topic, part->partition,
				(long long)part->start, (long long)part->earliest, (long long)part->latest);
	}
	for (size_t i = 0; i < job->error_count; i++) {
		if (i == job->conf->errors_printed) {
			fprintf(stderr, "and %zu more errors\n", job->error_count - i);
			break;
		}
		fprintf(stderr, "%s:%d offset %lld: %s\n", job->errors[i].part->topic, job->errors[i].part->partition,
			(long long)job->errors[i].offset, job->errors[i].words);
	}
	if (report->failure[0])
		fprintf(stderr, "penstock-camus: %s\n", report->failure);
	if (options->json) {
		print_json(report, job, status);
		return;
	}
	printf("Job %s, run %s: %s\n", job->conf->job_name, job->run, status == 0 ? "done" : "FAILED");
	if (report->recovered)
		printf("  manifest %" PRIu64 " of an earlier run was finished first: %" PRIu64 " files published, %" PRIu64 " already taken by a consumer\n",
			report->recovered, report->recovered_files, report->taken_away);
	printf("  partitions %zu, pulled %" PRIu64 ", identity proven %" PRIu64 ", not proven %" PRIu64 "\n", job->part_count, s.pulled, s.proven, s.unproven);
	printf("  records read %" PRIu64 " (%.1f MB), written %" PRIu64 " in %" PRIu64 " files; too old %" PRIu64 ", without payload %" PRIu64
		", without schema %" PRIu64 ", undecodable %" PRIu64 "\n", s.records, (double)s.bytes / 1e6, s.written, report->published, s.old,
		s.tombstones, s.schema, s.other);
	if (s.late || complete_count(job))
		printf("  folders completed %zu; records for folders that were complete %" PRIu64 "\n", complete_count(job), s.late);
	if (report->hook_failed)
		printf("  the hook failed: see above\n");
	if (report->manifest)
		printf("  committed as manifest %" PRIu64 "\n", report->manifest);
	else
		printf("  nothing committed\n");
	printf("  pre-setup %.1f s (%.0f%%), setup %.1f s (%.0f%%), tasks %.1f s (%.0f%%), commit %.1f s (%.0f%%), total %.1f s\n",
		(double)job->t_pre_ns / 1e9, share(job->t_pre_ns, total), (double)job->t_setup_ns / 1e9, share(job->t_setup_ns, total),
		(double)job->t_pull_ns / 1e9, share(job->t_pull_ns, total), (double)job->t_commit_ns / 1e9, share(job->t_commit_ns, total),
		(double)total / 1e9);
	if (report->tasks) {
		double mean = (double)report->task_sum_ns / report->tasks;
		printf("  tasks %u: min %.1f s, mean %.1f s, max %.1f s, skew %.2f; waiting for Kafka %.0f%%, decoding and routing %.0f%%, output %.0f%%\n",
			report->tasks, (double)report->task_min_ns / 1e9, mean / 1e9, (double)report->task_max_ns / 1e9,
			mean > 0 ? (double)report->task_max_ns / mean : 0, share(report->kafka_ns, report->task_sum_ns),
			share(report->decode_ns, report->task_sum_ns), share(report->write_ns, report->task_sum_ns));
	}
}

void
report_plan(const struct job *job, const struct run_options *options)
{
	if (options->json) {
		json_t *parts = json_array();
		for (size_t i = 0; i < job->part_count; i++)
			json_array_append_new(parts, part_json(job->parts[i]));
		char *text = json_dumps(parts, JSON_INDENT(1));
		puts(text);
		free(text);
		json_decref(parts);
		return;
	}
	uint64_t total = 0;
	printf("%-32s %9s %12s %12s %12s  %s\n", "topic", "partition", "from", "to", "records", "");
	for (size_t i = 0; i < job->part_count; i++) {
		const struct part *part = job->parts[i];
		uint64_t records = part->pull ? (uint64_t)(part->latest - part->start) : 0;
		total += records;
		printf("%-32s %9d %12lld %12lld %12" PRIu64 "  %s%s\n", part->topic, part->partition, (long long)part->start, (long long)part->latest,
			records, start_why_name(part->why), part->pull && part->why == START_SAVED && !part->proven ? " (identity not proven)" : "");
	}
	printf("at most %" PRIu64 " records\n", total);
}

static char *
base64(const void *bytes, size_t len)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const uint8_t *in = bytes;
	char *text = malloc(len / 3 * 4 + 5), *out = text;
	if (!text)
		abort();
	for (size_t i = 0; i < len; i += 3) {
		uint32_t v = (uint32_t)in[i] << 16 | (i + 1 < len ? (uint32_t)in[i + 1] << 8 : 0) | (i + 2 < len ? in[i + 2] : 0);
		*out++ = letters[v >> 18];
		*out++ = letters[v >> 12 & 63];
		*out++ = i + 1 < len ? letters[v >> 6 & 63] : '=';
		*out++ = i + 2 < len ? letters[v & 63] : '=';
	}
	*out = '\0';
	return text;
}

int
report_errors_store(const struct job *job, struct fs_batch *batch, const char *folder, struct err *err)
{
	struct text lines = { NULL };
	for (size_t i = 0; i < job->error_count; i++) {
		const struct error_record *error = &job->errors[i];
		json_t *object = json_pack("{s:s, s:i, s:I, s:o}", "topic", error->part->topic, "partition", (int)error->part->partition, "offset",
			(json_int_t)error->offset, "error", words_json(error->words));
		if (error->kept) {
			char *key = base64(error->key, error->key ? error->key_len : 0), *value = base64(error->value, error->value ? error->value_len : 0);
			json_object_set_new(object, "key_base64", error->key ? json_string(key) : json_null());
			json_object_set_new(object, "payload_base64", error->value ? json_string(value) : json_null());
			free(key);
			free(value);
		}
		char *line = object ? json_dumps(object, JSON_COMPACT) : NULL;
		if (line)
			text_print(&lines, "%s\n", line);
		free(line);
		json_decref(object);
	}
	char path[FS_PATH_BYTES];
	int rc = fs_path_join(path, sizeof path, folder, "errors.jsonl");
	if (rc)
		err_set(err, -rc, "%s: too long for a path", folder);
	else
		fs_batch_put_text(batch, path, lines.text, lines.len);
	text_free(&lines);
	return rc;
}
