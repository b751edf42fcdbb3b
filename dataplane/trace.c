#include "dataplane/trace.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "dataplane/pipeline.h"

int
trace_init(struct trace *trace, uint64_t events)
{
	memset(trace, 0, sizeof *trace);
	trace->left = events;
	trace->lines = calloc(TRACE_LINES, TRACE_LINE_BYTES);
	if (!trace->lines || spsc_init(&trace->filled, TRACE_LINES) || spsc_init(&trace->empty, TRACE_LINES)) {
		trace_free(trace);
		return -ENOMEM;
	}
	for (int i = 0; i < TRACE_LINES; i++)
		spsc_push(&trace->empty, trace->lines + i * TRACE_LINE_BYTES);
	return 0;
}

void
trace_free(struct trace *trace)
{
	free(trace->lines);
	spsc_free(&trace->filled);
	spsc_free(&trace->empty);
}

void
trace_begin(struct trace *trace, const struct batch *batch)
{
	for (uint32_t i = 0; i < batch->count; i++)
		trace->dropped_by[i] = batch->events[i].dropped ? "source" : NULL;
}

void
trace_interceptor(struct trace *trace, const struct batch *batch, const char *interceptor)
{
	for (uint32_t i = 0; i < batch->count; i++)
		if (batch->events[i].dropped && !trace->dropped_by[i])
			trace->dropped_by[i] = interceptor;
}

struct text {
	char *at, *end;
};

static void
put(struct text *text, const char *s)
{
	while (*s && text->at < text->end)
		*text->at++ = *s++;
}

/* A JSON string; bytes that are not ASCII text become \u00xx, long ones are cut with three dots. */
static void
put_json(struct text *text, const uint8_t *bytes, uint32_t len)
{
	put(text, "\"");
	uint32_t shown = len < 512 ? len : 512;
	for (uint32_t i = 0; i < shown; i++) {
		char escaped[8];
		uint8_t c = bytes[i];
		if (c == '"' || c == '\\')
			snprintf(escaped, sizeof escaped, "\\%c", c);
		else if (c < 0x20 || c >= 0x7f)
			snprintf(escaped, sizeof escaped, "\\u%04x", c);
		else
			snprintf(escaped, sizeof escaped, "%c", c);
		put(text, escaped);
	}
	put(text, shown < len ? "...\"" : "\"");
}

static void
put_event(struct text *text, const struct event *event, const char *dropped_by, const struct pipeline *pipeline)
{
	put(text, "{\"headers\":{");
	bool first = true;
	for (int shared = 0; shared < 2; shared++) {
		uint32_t count = shared ? (event->shared ? event->shared->count : 0) : event->header_count;
		const struct header *headers = shared ? (event->shared ? event->shared->headers : NULL) : event->headers;
		for (uint32_t i = 0; i < count; i++) {
			if (shared && event_header(event, headers[i].name) != &headers[i])
				continue;
			char digits[24];
			const uint8_t *value;
			uint32_t len = event_header_text(event, &headers[i], digits, &value);
			if (!first)
				put(text, ",");
			first = false;
			put_json(text, (const uint8_t *)headers[i].name->text, headers[i].name->len);
			put(text, ":");
			put_json(text, value, len);
		}
	}
	put(text, "},\"body\":");
	put_json(text, event->body, event->body_len);
	if (dropped_by) {
		put(text, ",\"dropped_by\":");
		put_json(text, (const uint8_t *)dropped_by, (uint32_t)strlen(dropped_by));
	}
	put(text, ",\"channels\":[");
	first = true;
	for (uint64_t left = dropped_by ? 0 : event->channels; left; left &= left - 1) {
		const char *name = pipeline->channels[__builtin_ctzll(left)]->name;
		if (!first)
			put(text, ",");
		first = false;
		put_json(text, (const uint8_t *)name, (uint32_t)strlen(name));
	}
	put(text, "]}");
}

void
trace_end(struct trace *trace, const struct batch *batch, const struct pipeline *pipeline)
{
	for (uint32_t i = 0; i < batch->count && trace->left; i++, trace->left--) {
		char *line = spsc_pop(&trace->empty);
		if (!line) {
			trace->dropped++;
			continue;
		}
		struct text text = { line, line + TRACE_LINE_BYTES - 1 };
		put_event(&text, &batch->events[i], trace->dropped_by[i], pipeline);
		*text.at = 0;
		if (text.at == text.end)	/* would not be JSON any more */
			snprintf(line, TRACE_LINE_BYTES, "{\"too_long\":true}");
		spsc_push(&trace->filled, line);
	}
	if (!trace->left)
		atomic_store_explicit(&trace->finished, 1, memory_order_release);
}
