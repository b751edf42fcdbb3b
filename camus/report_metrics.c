/* The report as a textfile for Prometheus. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/pool.h"
#include "camus/complete.h"
#include "camus/report.h"

static void
put(struct text *text, const struct job *job, const char *name, const char *help, double value)
{
	text_print(text, "# HELP penstock_camus_%s %s\n# TYPE penstock_camus_%s gauge\npenstock_camus_%s{job=\"", name, help, name, name);
	for (const char *at = job->conf->job_name; *at; at++)
		text_print(text, "%s%c", strchr("\"\\\n", *at) ? "\\" : "", *at == '\n' ? 'n' : *at);
	text_print(text, "\"} %.15g\n", value);
}

/* When the last good run ended, of the file that is there; a run that fails must not lose it. */
static double
success_before(const char *path)
{
	char line[1024];
	double value = 0;
	FILE *file = fopen(path, "re");
	while (file && fgets(line, sizeof line, file)) {
		const char *blank = strrchr(line, ' ');
		if (strncmp(line, "penstock_camus_last_success_time_seconds{", 41) == 0 && blank)
			value = strtod(blank, NULL);
	}
	if (file)
		fclose(file);
	return value;
}

void
report_metrics(const struct run_report *report, const struct job *job, int status, const char *path)
{
	struct report_sums s = report_sum(job);
	struct text text = { NULL };
	double now = (double)clock_wall_ns(&clock_system) / 1e9;
	char temporary[FS_PATH_BYTES];
	put(&text, job, "last_run_time_seconds", "When the last run ended.", now);
	put(&text, job, "last_success_time_seconds", "When a run last ended with status 0.", status ? success_before(path) : now);
	put(&text, job, "status", "Exit status of the last run.", status);
	put(&text, job, "duration_seconds", "How long it took.",
	    (double)(job->t_pre_ns + job->t_setup_ns + job->t_pull_ns + job->t_commit_ns) / 1e9);
	put(&text, job, "records", "Records read.", (double)s.records);
	put(&text, job, "bytes", "Their payload.", (double)s.bytes);
	put(&text, job, "records_written", "Records written.", (double)s.written);
	put(&text, job, "records_late", "Records whose folder was complete before they came.", (double)s.late);
	put(&text, job, "records_old", "Records dropped as too old.", (double)s.old);
	put(&text, job, "records_undecodable", "Records skipped as undecodable or without a schema.", (double)(s.schema + s.other));
	put(&text, job, "files", "Files published.", (double)report->published);
	put(&text, job, "folders_completed", "Folders that got their mark.", (double)complete_count(job));
	put(&text, job, "partitions", "Partitions known.", (double)job->part_count);
	put(&text, job, "partitions_not_proven", "Partitions whose last record was gone, so that nothing proves the log is the same.", (double)s.unproven);
	put(&text, job, "record_lag", "Records in Kafka behind what is committed.", (double)s.record_lag);
	put(&text, job, "event_time_lag_seconds", "Age of the partitions' oldest committed event time.", (double)s.event_lag_ms / 1e3);
	put(&text, job, "manifest", "Number of the newest manifest.", (double)job->number);
	put(&text, job, "unfinished_manifest", "Number of the manifest that is decided and not carried out; 0: none.", (double)report->unfinished);
	FILE *file = snprintf(temporary, sizeof temporary, "%s.new", path) < (int)sizeof temporary ? fopen(temporary, "we") : NULL;
	bool good = file && fwrite(text.text, 1, text.len, file) == text.len;
	if (file && fclose(file))
		good = false;
	if (!good || rename(temporary, path))
		log_error("--metrics-file %s: cannot be written: %s", path, strerror(errno));
	text_free(&text);
}
