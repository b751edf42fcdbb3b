#include "tools/trafficgen/report.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "base/clock.h"

static int
write_json(json_t *root, const char *path, struct err *err)
{
	int rc = 0;
	if (!path || strcmp(path, "-") == 0) {
		char *text = json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(12));
		if (!text || puts(text) < 0 || fflush(stdout) != 0)
			rc = err_set(err, EIO, "standard output: cannot write the report");
		free(text);
	} else if (json_dump_file(root, path, JSON_INDENT(1) | JSON_REAL_PRECISION(12)) != 0) {
		rc = err_set(err, EIO, "--report: %s: %s", path, strerror(errno));
	}
	json_decref(root);
	return rc;
}

int
report_send(const char *path, const struct load *load, const struct load_config *config, const struct send_result *result, struct err *err)
{
	double seconds = (double)result->ns / (double)NS_PER_S;
	json_t *last = json_array();
	for (uint32_t i = 0; i < load->sources; i++)
		json_array_append_new(last, json_integer((json_int_t)(result->last ? result->last[i] : load_last_sequence(load, result->events, i))));
	json_t *root = json_object();
	json_object_set_new(root, "events", json_integer((json_int_t)result->events));
	json_object_set_new(root, "bytes", json_integer((json_int_t)result->bytes));
	json_object_set_new(root, "frames", json_integer((json_int_t)result->frames));
	json_object_set_new(root, "seconds", json_real(seconds));
	json_object_set_new(root, "events_per_second", json_real(seconds > 0 ? (double)result->events / seconds : 0));
	json_object_set_new(root, "retransmitted_segments", json_integer((json_int_t)result->retransmits));
	json_object_set_new(root, "acked_events", json_integer((json_int_t)result->acked_events));
	if (result->acked) {
		json_t *acked = json_array();
		for (uint32_t i = 0; i < load->sources; i++)
			json_array_append_new(acked, json_integer((json_int_t)result->acked[i]));
		json_object_set_new(root, "acked_sequence", acked);
		json_object_set_new(root, "connections_lost", json_integer((json_int_t)result->connections_lost));
	}
	json_object_set_new(root, "retries", json_integer((json_int_t)result->retries));
	json_object_set_new(root, "seed", json_integer((json_int_t)config->seed));
	json_object_set_new(root, "sources", json_integer(load->sources));
	json_object_set_new(root, "size", json_integer(config->size));
	json_object_set_new(root, "format", json_string(config->format));
	json_object_set_new(root, "last_sequence", last);
	return write_json(root, path, err);
}

int
report_expect(const char *path, uint64_t seed, uint32_t sources, struct ledger *ledger, struct err *err)
{
	json_error_t trouble;
	json_t *root = json_load_file(path, 0, &trouble);
	if (!root)
		return err_set(err, EINVAL, "--sent: %s:%d: %s", path, trouble.line, trouble.text);
	json_t *last = json_object_get(root, "last_sequence"), *value;
	size_t count = json_array_size(last), i;
	int rc = 0;
	if (!count || count > LOAD_SOURCES_MAX)
		rc = err_set(err, EINVAL, "--sent: %s: no last_sequence in it: not a report of send", path);
	else if (sources && sources != count)
		rc = err_set(err, EINVAL, "--sources: %u: the report says %zu", sources, count);
	else if (seed && (json_int_t)seed != json_integer_value(json_object_get(root, "seed")))
		rc = err_set(err, EINVAL, "--seed: %llu: the report says %lld", (unsigned long long)seed,
			     (long long)json_integer_value(json_object_get(root, "seed")));
	else if (ledger_open(ledger, (uint32_t)count) != 0)
		rc = err_set(err, ENOMEM, "%s: no memory for %zu sources", path, count);
	if (!rc) {
		ledger->sent_known = true;
		json_array_foreach(last, i, value)
			ledger->sources[i].sent = (uint64_t)json_integer_value(value);
	}
	json_array_foreach(json_object_get(root, "acked_sequence"), i, value)
		if (!rc && i < count)
			ledger->sources[i].acked = (uint64_t)json_integer_value(value);
	json_decref(root);
	return rc;
}

int
report_verify(const char *path, const struct ledger *ledger, uint64_t lost_acked, struct err *err)
{
	json_t *root = json_object();
	const struct {
		const char *name;
		uint64_t value;
	} figures[] = {
		{ "unique", ledger->unique }, { "lost", ledger_lost(ledger) }, { "lost_acked", lost_acked }, { "duplicated", ledger->duplicated },
		{ "reordered", ledger->reordered }, { "corrupted", ledger->corrupted }, { "phantom", ledger->phantom },
	};
	for (size_t i = 0; i < sizeof figures / sizeof *figures; i++)
		json_object_set_new(root, figures[i].name, json_integer((json_int_t)figures[i].value));
	return write_json(root, path, err);
}
