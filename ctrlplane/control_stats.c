/* The commands of the control socket that read counters and nothing else, and what commands of all rooms need to read words and write bytes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "ctrlplane/control.h"
#include "ctrlplane/stats.h"

/* Bytes of the UTF-8 sequence at text, 0 when it is none. */
static size_t
utf8_sequence(const unsigned char *text, size_t bytes)
{
	size_t n = text[0] < 0x80 ? 1 : text[0] < 0xc2 ? 0 : text[0] < 0xe0 ? 2 : text[0] < 0xf0 ? 3 : text[0] < 0xf5 ? 4 : 0;
	if (n == 0 || n > bytes)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((text[i] & 0xc0) != 0x80)
			return 0;
	if ((text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xed && text[1] > 0x9f) || (text[0] == 0xf0 && text[1] < 0x90) ||
	    (text[0] == 0xf4 && text[1] > 0x8f))
		return 0;	/* overlong, surrogates, above U+10FFFF */
	return n;
}

json_t *
control_json_bytes(const void *bytes, size_t count)
{
	const unsigned char *from = bytes;
	json_t *string = json_stringn(bytes, count);
	if (string)
		return string;
	char *text = malloc(count * 3 + 1);
	size_t n = 0;
	for (size_t i = 0; text && i < count;) {
		size_t sequence = utf8_sequence(from + i, count - i);
		memcpy(text + n, sequence ? (const char *)from + i : "\xef\xbf\xbd", sequence ? sequence : 3);
		n += sequence ? sequence : 3;
		i += sequence ? sequence : 1;
	}
	string = text ? json_stringn(text, n) : NULL;
	free(text);
	return string;
}

int
control_number(const char *word, uint64_t low, uint64_t high, uint64_t *value, struct err *err)
{
	char *end;
	errno = 0;
	unsigned long long number = strtoull(word, &end, 10);
	if (errno || end == word || *end || *word == '-' || number < low || number > high)
		return err_set(err, EINVAL, "\"%.64s\": want a number from %llu to %llu", word, (unsigned long long)low,
			       (unsigned long long)high);
	*value = number;
	return 0;
}

static int
run_metrics(struct control_call *call, void *context, struct err *err)
{
	(void)err;
	stats_metrics(context, call->answer);
	return 0;
}

static int
run_drops(struct control_call *call, void *context, struct err *err)
{
	(void)err;
	stats_drops(context, call->answer);
	return 0;
}

static void
top_line(struct control_stream *stream, void *context)
{
	json_t *line = json_object();
	stats_metrics(context, line);
	(void)control_stream_write(stream, line);
	json_decref(line);
}

static int
run_top(struct control_call *call, void *context, struct err *err)
{
	uint64_t interval_ms = 1000;
	if (call->arg_count > 0) {
		int rc = control_number(call->args[0], 100, 60000, &interval_ms, err);
		if (rc < 0)
			return err_prefix(err, rc, "top: interval in ms");
	}
	control_stream_every(control_stream_begin(call, NULL, context), interval_ms * NS_PER_MS, top_line);
	return 0;
}

static int
run_loglevel(struct control_call *call, void *context, struct err *err)
{
	enum log_level level;
	(void)context;
	if (call->arg_count != 1 || !log_level_parse(call->args[0], &level))
		return err_set(err, EINVAL, "loglevel: want error, warn, info or debug");
	log_set_level(level);
	json_object_set_new(call->answer, "loglevel", json_string(call->args[0]));
	return 0;
}

void
control_add_stats(struct control *control, struct stats *stats)
{
	control_add(control, "metrics", "metrics", run_metrics, stats);
	control_add(control, "drops", "drops", run_drops, stats);
	control_add(control, "top", "top [INTERVAL_MS]", run_top, stats);
	control_add(control, "loglevel", "loglevel LEVEL", run_loglevel, NULL);
}
