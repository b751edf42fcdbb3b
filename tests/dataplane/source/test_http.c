/* http answers as a real Flume 1.11 did (tests/golden/http/http.jsonl) but for the differences listed in docs/differences.md, however the bytes are cut; never
 * before the events are stored; in order; a batch enters whole or not at all; what is ambiguous is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <jansson.h>
#include <string.h>
#include <zlib.h>

#include "tests/lib/stream_rig.h"

#define NOW 1795245136u

static int differences;

static size_t
unhex(const char *hex, char *out)
{
	size_t n = 0;
	for (; hex[0]; hex += 2) {
		char two[3] = { hex[0], hex[1], 0 };
		out[n++] = (char)strtoul(two, NULL, 16);
	}
	return n;
}

struct comparison {
	json_t *expected;
	const char *name;
	size_t count;
};

static void
compare(void *context, const struct event *event)
{
	struct comparison *c = context;
	json_t *expected = json_array_get(c->expected, c->count++), *value;
	const char *key;
	static char body[70000];
	if (!expected) {
		differences++;
		return;
	}
	size_t len = unhex(json_string_value(json_object_get(expected, "body_hex")), body), headers = 0;
	if (len != event->body_len || memcmp(body, event->body, len) != 0) {
		print_error("%s: body \"%.*s\"\n", c->name, (int)event->body_len, event->body);
		differences++;
	}
	json_object_foreach(json_object_get(expected, "headers"), key, value) {
		struct name name = { key, (uint32_t)strlen(key), NAME_ID_INLINE };
		const struct header *header = event_header(event, &name);
		headers++;
		if (header && header->len == json_string_length(value) && memcmp(header->value.bytes, json_string_value(value), header->len) == 0)
			continue;
		print_error("%s: header %s\n", c->name, key);
		differences++;
	}
	if (headers != event->header_count) {
		print_error("%s: %u headers, Flume has %zu\n", c->name, event->header_count, headers);
		differences++;
	}
}

static void
feed(struct rig_stream *r, const char *bytes, size_t len)
{
	assert_int_equal(stream_feed(&r->stream, (const uint8_t *)bytes, (uint32_t)len), len);
}

static size_t
request_text(json_t *request, char *out)
{
	const char *key;
	json_t *value;
	size_t n = (size_t)snprintf(out, 1000, "%s %s HTTP/1.1\r\nHost: localhost\r\n", json_string_value(json_object_get(request, "method")),
				    json_string_value(json_object_get(request, "path")));
	json_object_foreach(json_object_get(request, "headers"), key, value)
		n += (size_t)snprintf(out + n, 1000, "%s: %s\r\n", key, json_string_value(value));
	static char body[70000];
	size_t len = unhex(json_string_value(json_object_get(request, "body_hex")), body);
	n += (size_t)snprintf(out + n, 100, "Content-Length: %zu\r\n\r\n", len);
	memcpy(out + n, body, len);
	return n + len;
}

static int
status_of(struct rig_stream *r)
{
	int status = 0;
	r->out[r->out_len] = 0;
	sscanf((char *)r->out, "HTTP/1.1 %d", &status);
	return status;
}

static void
test_golden(void **state)
{
	(void)state;
	static const uint32_t steps[] = { 100000, 1, 13 };
	static char bytes[140000];
	char path[1024];
	for (size_t k = 0; k < sizeof steps / sizeof *steps; k++) {
		struct stream_rig json, mandatory, blob;
		stream_rig_open(&json, &source_http, "port=80", NOW, 16);
		stream_rig_open(&mandatory, &source_http,
				"port=80 handler=org.apache.flume.source.http.BLOBHandler handler.mandatoryParameters=basename", NOW, 16);
		stream_rig_open(&blob, &source_http, "port=80 handler=org.apache.flume.source.http.BLOBHandler", NOW, 16);
		snprintf(path, sizeof path, "%s/golden/http/http.jsonl", getenv("PENSTOCK_TESTS"));
		FILE *in = fopen(path, "r");
		assert_non_null(in);
		char *line = NULL;
		size_t size = 0;
		int cases = 0;
		while (getline(&line, &size, in) > 0) {
			json_t *c = json_loads(line, JSON_ALLOW_NUL, NULL);
			const char *name = json_string_value(json_object_get(c, "case")), *source = json_string_value(json_object_get(c, "source"));
			cases++;
			if (strcmp(source, "json-tiny-channel") == 0) {	/* test_full */
				json_decref(c);
				continue;
			}
			struct stream_rig *rig = strcmp(source, "blob-mandatory") == 0 ? &mandatory : strcmp(source, "blob-default") == 0 ? &blob : &json;
			struct comparison compared = { .expected = json_object_get(c, "events"), .name = name };
			struct rig_stream *r = rig_connect(rig, false, 80);
			bool null = strcmp(name, "header-value-null") == 0, no_names = strcmp(name, "blob-default-noparams") == 0;
			rig->seen = null || no_names ? NULL : compare;
			rig->seen_context = &compared;
			size_t len = request_text(json_object_get(c, "request"), bytes);
			for (size_t at = 0; at < len; at += steps[k])
				feed(r, bytes + at, len - at < steps[k] ? len - at : steps[k]);
			assert_int_equal(r->out_len, 0);
			stream_rig_turn(rig, false);
			int want = (int)json_integer_value(json_object_get(c, "status"));
			if (no_names)
				want = 200;	/* Flume wants a parameter without a name */
			if (want == 200)
				assert_int_equal(r->out_len, 0);	/* not stored yet */
			stream_rig_turn(rig, true);
			stream_rig_turn(rig, true);
			const char *reason = json_string_value(json_object_get(c, "reason"));
			if (status_of(r) != want || (!no_names && !strstr((char *)r->out, reason))) {
				print_error("%s: %.*s, Flume has %d %s\n", name, 40, r->out, want, reason);
				differences++;
			}
			if (want == 200 && !strstr((char *)r->out, "\r\nContent-Length: 0\r\n\r\n"))
				differences++;
			if (want == 400 && !strstr((char *)r->out, "Bad request from client. Request has invalid JSON Syntax."))
				differences++;
			assert_false(r->closed);	/* the connection lives on */
			if (rig->seen && compared.count != json_array_size(compared.expected)) {
				print_error("%s: %zu events\n", name, compared.count);
				differences++;
			}
			rig_end(r);
			rig_stored(rig);
			json_decref(c);
		}
		assert_true(cases > 40);
		free(line);
		fclose(in);
		stream_rig_close(&json);
		stream_rig_close(&mandatory);
		stream_rig_close(&blob);
	}
	assert_int_equal(differences, 0);
}

static int
statuses(struct rig_stream *r, char *text)
{
	int count = 0;
	text[0] = 0;
	r->out[r->out_len] = 0;
	for (char *p = (char *)r->out; (p = strstr(p, "HTTP/1.1 ")); p += 9) {
		if (p[9] < '1' || p[9] > '5')
			continue;	/* in the text of an answer */
		memcpy(text + 4 * count, p + 9, 3);
		text[4 * count + 3] = ' ';
		text[4 * ++count] = 0;
	}
	r->out_len = 0;
	return count;
}

#define POST "POST / HTTP/1.1\r\nHost: h\r\n"

/* What each of these bytes is answered with, cut anywhere, and how many events there are. */
static const struct {
	const char *bytes, *answers;
	bool closed;
	int events;
} requests[] = {
	{ POST "Content-Length: 14\r\n\r\n[{\"body\":\"x\"}]", "200 ", false, 1 },
	{ POST "Content-Length: 14\r\n\r\n[{\"body\":\"x\"}]" POST "Content-Length: 14\r\n\r\n[{\"body\":\"y\"}]", "200 200 ", false, 2 },
	{ POST "Content-Length: 4\r\n\r\n[{}}" POST "Content-Length: 14\r\n\r\n[{\"body\":\"y\"}]", "400 200 ", false, 1 },
	{ POST "Transfer-Encoding: chunked\r\n\r\n5\r\n[{\"bo\r\n9;x=y\r\ndy\":\"x\"}]\r\n0\r\nT: v\r\n\r\n", "200 ", false, 1 },
	{ POST "Transfer-Encoding: chunked\r\n\r\nE\r\n[{\"body\":\"x\"}]\r\n0\r\n\r\n" POST "Content-Length: 14\r\n\r\n[{\"body\":\"y\"}]", "200 200 ", false, 2 },
	{ POST "Connection: close\r\nContent-Length: 14\r\n\r\n[{\"body\":\"x\"}]GARBAGE", "200 ", true, 1 },
	{ "POST / HTTP/1.0\r\nContent-Length: 14\r\n\r\n[{\"body\":\"x\"}]", "200 ", true, 1 },
	{ "POST / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 14\r\n\r\n[{\"body\":\"x\"}]", "200 ", false, 1 },
	{ "\r\n" POST "Content-Length: 14\r\n\r\n[{\"body\":\"x\"}]", "200 ", false, 1 },
	{ "POST http://h/a HTTP/1.1\r\nHost: h\r\nContent-Length: 14\r\n\r\n[{\"body\":\"x\"}]", "200 ", false, 1 },
	{ "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "403 ", false, 0 },
	{ POST "Expect: nothing\r\n\r\n", "417 ", true, 0 },
	/* ambiguous or malformed: refused, and the connection with it */
	{ POST "Content-Length: 14\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400 ", true, 0 },
	{ POST "Content-Length: 14\r\nContent-Length: 14\r\n\r\n[{\"body\":\"x\"}]", "400 ", true, 0 },
	{ POST "Content-Length: 14, 14\r\n\r\n[{\"body\":\"x\"}]", "400 ", true, 0 },
	{ POST "Content-Length: +14\r\n\r\n[{\"body\":\"x\"}]", "400 ", true, 0 },
	{ POST "Content-Length: -1\r\n\r\n", "400 ", true, 0 },
	{ POST "Content-Length: 0x0\r\n\r\n", "400 ", true, 0 },
	{ POST "Content-Length:\r\n\r\n", "400 ", true, 0 },
	{ POST "Content-Length: 99999999999999999999\r\n\r\n", "400 ", true, 0 },
	{ POST "Content-Length : 14\r\n\r\n[{\"body\":\"x\"}]", "400 ", true, 0 },
	{ POST " Content-Length: 14\r\n\r\n", "400 ", true, 0 },
	{ POST "A: b\r\n folded\r\n\r\n", "400 ", true, 0 },
	{ "POST / HTTP/1.1\nHost: h\nContent-Length: 14\n\n[{\"body\":\"x\"}]", "400 ", true, 0 },
	{ POST "Content-Length: 14\r\n\n[{\"body\":\"x\"}]", "400 ", true, 0 },
	{ POST "A: b\rc\r\n\r\n", "400 ", true, 0 },
	{ POST "A: b\001c\r\n\r\n", "400 ", true, 0 },
	{ POST "A\r\n\r\n", "400 ", true, 0 },
	{ POST ": b\r\n\r\n", "400 ", true, 0 },
	{ "POST / HTTP/1.1\r\n\r\n", "400 ", true, 0 },
	{ "POST / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "400 ", true, 0 },
	{ "POST / HTTP/1.1\r\nHost: a/b\r\n\r\n", "400 ", true, 0 },
	{ "POST  / HTTP/1.1\r\nHost: h\r\n\r\n", "400 ", true, 0 },
	{ "POST / a HTTP/1.1\r\nHost: h\r\n\r\n", "400 ", true, 0 },
	{ "POST / HTTP/1.1 \r\nHost: h\r\n\r\n", "400 ", true, 0 },
	{ "POST a HTTP/1.1\r\nHost: h\r\n\r\n", "400 ", true, 0 },
	{ "POST / http/1.1\r\nHost: h\r\n\r\n", "400 ", true, 0 },
	{ "POST / HTTP/1.2\r\nHost: h\r\n\r\n", "505 ", true, 0 },
	{ "GET /\r\n\r\n", "400 ", true, 0 },
	{ " POST / HTTP/1.1\r\n\r\n", "400 ", true, 0 },
	{ "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505 ", true, 0 },
	{ "\026\003\001\002\001\001", "400 ", true, 0 },			/* TLS at a plain port */
	{ "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400 ", true, 0 },
	{ POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "501 ", true, 0 },
	{ POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400 ", true, 0 },
	{ POST "Transfer-Encoding: chunked\r\n\r\n0x5\r\n[{}]x\r\n0\r\n\r\n", "400 ", true, 0 },
	{ POST "Transfer-Encoding: chunked\r\n\r\n+5\r\n[{}]x\r\n0\r\n\r\n", "400 ", true, 0 },
	{ POST "Transfer-Encoding: chunked\r\n\r\n4 \r\n[{}]\r\n0\r\n\r\n", "400 ", true, 0 },
	{ POST "Transfer-Encoding: chunked\r\n\r\n4\n[{}]\r\n0\r\n\r\n", "400 ", true, 0 },
	{ POST "Transfer-Encoding: chunked\r\n\r\n3\r\n[{}]\r\n0\r\n\r\n", "400 ", true, 0 },
	{ POST "Transfer-Encoding: chunked\r\n\r\n\r\n0\r\n\r\n", "400 ", true, 0 },
	{ POST "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", "400 ", true, 0 },
	{ POST "Transfer-Encoding: chunked\r\n\r\n4\r\n[{}]\r\n0\r\nbad trailer\r\n\r\n", "400 ", true, 0 },
	{ POST "Content-Encoding: br\r\nContent-Length: 4\r\n\r\n[{}]", "415 ", false, 0 },
	{ POST "Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n[{}]", "400 ", false, 0 },
	{ POST "Content-Length: 5000000\r\n\r\n", "413 ", true, 0 },
	{ POST "Content-Length: 1", "", false, 0 },
	/* Gson's leniency */
	{ POST "Content-Length: 13\r\n\r\n[{body:x y}] ", "400 ", false, 0 },
	{ POST "Content-Length: 10\r\n\r\n[{body=x}]", "200 ", false, 1 },
	{ POST "Content-Length: 11\r\n\r\n[{body=>x}]", "200 ", false, 1 },
	{ POST "Content-Length: 21\r\n\r\n[{body=x};{body='y'}]", "200 ", false, 2 },
	{ POST "Content-Length: 3\r\n\r\n[,]", "500 ", false, 0 },
	{ POST "Content-Length: 2\r\n\r\n[]", "200 ", false, 0 },
	{ POST "Content-Length: 4\r\n\r\n[}{]", "400 ", false, 0 },
};

static int events_seen;

static void
count_event(void *context, const struct event *event)
{
	(void)context;
	(void)event;
	events_seen++;
}

static void
test_requests(void **state)
{
	(void)state;
	static char text[4096];
	for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
		size_t len = strlen(requests[i].bytes);
		for (size_t cut = 0; cut <= len; cut += i < 12 ? 1 : 5) {
			struct stream_rig rig;
			stream_rig_open(&rig, &source_http, "port=80", NOW, 8);
			rig.seen = count_event;
			events_seen = 0;
			struct rig_stream *r = rig_connect(&rig, false, 80);
			if (cut)
				feed(r, requests[i].bytes, cut);
			stream_rig_turn(&rig, true);
			if (cut < len)
				feed(r, requests[i].bytes + cut, len - cut);
			for (int k = 0; k < 3; k++)
				stream_rig_turn(&rig, true);
			statuses(r, text);
			if (strcmp(text, requests[i].answers) != 0 || r->closed != requests[i].closed || events_seen != requests[i].events)
				fail_msg("%s\n(cut at %zu): answers %s(want %s), closed %d, %d events", requests[i].bytes, cut, text, requests[i].answers,
					 r->closed, events_seen);
			rig_end(r);
			stream_rig_close(&rig);
		}
	}
}

static size_t
post(char *out, const char *fields, const void *body, size_t len)
{
	size_t n = (size_t)snprintf(out, 1000, POST "%sContent-Length: %zu\r\n\r\n", fields, len);
	memcpy(out + n, body, len);
	return n + len;
}

/* A request that waits for more blocks than are free is not read anew at each turn, and counted once, when it is refused; one that is no request of its handler
 * is no fault of the channel. */
static void
test_waits_for_blocks(void **state)
{
	(void)state;
	static char bytes[2 << 20], body[2 << 20], text[4096];
	struct stream_rig rig;
	stream_rig_open(&rig, &source_http, "port=80", NOW, 16);
	rig.seen = count_event;
	atomic_store(&rig.channel->keep_alive_s, 3);
	struct source_counters *counters = &rig.ingress.sources[0].counters;
	struct rig_stream *r = rig_connect(&rig, false, 80);
	size_t n = 1, len;
	body[0] = '[';
	for (int i = 0; i < 10; i++) {		/* five blocks and a bit */
		n += (size_t)snprintf(body + n, 100, "%s{\"body\":\"", i ? "," : "");
		memset(body + n, 'x', 120000);
		n += 120000;
		n += (size_t)snprintf(body + n, 100, "\"}");
	}
	body[n++] = ']';
	len = post(bytes, "", body, n);
	uint32_t tries = 0, accepted = 0;
	for (int answered = 200; answered == 200; tries++) {
		events_seen = 0;
		uint64_t received = counter_read(&counters->received);
		for (size_t at = 0; at < len;) {
			at += stream_feed(&r->stream, (const uint8_t *)bytes + at, (uint32_t)(len - at < 60000 ? len - at : 60000));
			stream_rig_turn(&rig, true);
		}
		for (int k = 0; k < 2000 && !r->out_len; k++) {
			clock_manual_advance(&rig.clock, 5 * NS_PER_MS);
			stream_rig_turn(&rig, true);
		}
		assert_int_equal(statuses(r, text), 1);
		sscanf(text, "%d", &answered);
		accepted += answered == 200;
		assert_int_equal(counter_read(&counters->received), received + 10);
		r->out_len = 0;
	}
	assert_string_equal(text, "503 ");
	assert_true(accepted >= 1 && tries <= 8);
	assert_true(events_seen <= 4 * 10);		/* 600 turns went by */
	assert_int_equal(counter_read(&counters->accepted), 10 * accepted);
	assert_int_equal(counter_read(&counters->channel_write_fail), 10);
	assert_int_equal(counter_read(&counters->read_fail), 0);
	/* Drained: it goes in. */
	(void)rig_stored(&rig);
	for (size_t at = 0; at < len;) {
		at += stream_feed(&r->stream, (const uint8_t *)bytes + at, (uint32_t)(len - at < 60000 ? len - at : 60000));
		stream_rig_turn(&rig, true);
	}
	for (int k = 0; k < 100 && !r->out_len; k++) {
		stream_rig_turn(&rig, true);
	}
	assert_int_equal(statuses(r, text), 1);
	assert_string_equal(text, "200 ");
	r->out_len = 0;
	uint64_t received = counter_read(&counters->received);
	len = post(bytes, "", "[{\"body\":\"y\"},{\"body\":", 22);
	feed(r, bytes, len);
	for (int k = 0; k < 10 && !r->out_len; k++)
		stream_rig_turn(&rig, true);
	statuses(r, text);
	assert_string_equal(text, "400 ");
	assert_int_equal(counter_read(&counters->received), received);
	assert_int_equal(counter_read(&counters->channel_write_fail), 10);
	assert_int_equal(counter_read(&counters->read_fail), 1);
	rig_end(r);
	stream_rig_close(&rig);
}

/* 503 when there is no credit for the whole of it, and nothing of it has entered. */
static void
test_full(void **state)
{
	(void)state;
	static char bytes[1 << 20], body[1 << 20], text[4096];
	struct stream_rig rig;
	stream_rig_open(&rig, &source_http, "port=80", NOW, 4);
	atomic_store(&rig.channel->keep_alive_s, 0);
	struct rig_stream *r = rig_connect(&rig, false, 80);
	size_t n = 1;
	body[0] = '[';
	for (int i = 0; i < 10; i++) {
		n += (size_t)snprintf(body + n, 100, "%s{\"body\":\"%d:", i ? "," : "", i);
		memset(body + n, 'x', 50000);
		n += 50000;
		n += (size_t)snprintf(body + n, 100, "\"}");
	}
	body[n++] = ']';
	size_t len = post(bytes, "", body, n);
	int answered[2] = { 0 };
	for (int i = 0; i < 12; i++) {
		for (size_t at = 0; at < len;) {
			uint32_t fed = stream_feed(&r->stream, (const uint8_t *)bytes + at, (uint32_t)(len - at < 60000 ? len - at : 60000));
			at += fed;
			for (int k = 0; k < 4 || (!fed && k < 60); k++) {
				clock_manual_advance(&rig.clock, 5 * NS_PER_MS);
				stream_rig_turn(&rig, true);
			}
		}
		for (int k = 0; k < 40 && !r->out_len; k++) {
			clock_manual_advance(&rig.clock, 5 * NS_PER_MS);
			stream_rig_turn(&rig, true);
		}
		assert_int_equal(statuses(r, text), 1);
		assert_true(strcmp(text, "200 ") == 0 || strcmp(text, "503 ") == 0);
		answered[text[0] == '5']++;
	}
	assert_true(answered[0] >= 1 && answered[1] >= 5);
	const char *stored = rig_stored(&rig);
	int lines = 0;
	for (const char *p = stored; *p; p = strchr(p, '\n') + 1, lines++)
		assert_int_equal(p[0] - '0', lines % 10);
	assert_int_equal(lines, 10 * answered[0]);
	/* A full channel again, with keep-alive: the request waits that long and no longer. */
	for (uint32_t seconds = 1; seconds <= 5; seconds += 4) {
		uint64_t waited = 0;
		stream_rig_turn(&rig, true);
		for (int full = 0; !full;) {	/* until one waits */
			atomic_store(&rig.channel->keep_alive_s, seconds);
			for (size_t at = 0; at < len;) {
				at += stream_feed(&r->stream, (const uint8_t *)bytes + at, (uint32_t)(len - at < 60000 ? len - at : 60000));
				stream_rig_turn(&rig, true);
			}
			for (int k = 0; k < 4; k++)
				stream_rig_turn(&rig, true);
			full = !r->out_len;
			if (!full)
				assert_int_equal(statuses(r, text), 1);
			r->out_len = 0;
		}
		for (; !r->out_len && waited < 100 * NS_PER_S; waited += 50 * NS_PER_MS) {
			clock_manual_advance(&rig.clock, 50 * NS_PER_MS);
			stream_rig_turn(&rig, true);
		}
		statuses(r, text);
		assert_string_equal(text, "503 ");
		assert_in_range(waited, seconds * NS_PER_S, seconds * NS_PER_S + 100 * NS_PER_MS);
		r->out_len = 0;
	}
	(void)rig_stored(&rig);
	/* Drained: it goes on. */
	stream_rig_turn(&rig, true);
	len = post(bytes, "", "[{\"body\":\"y\"}]", 14);
	feed(r, bytes, len);
	for (int k = 0; k < 3; k++)
		stream_rig_turn(&rig, true);
	statuses(r, text);
	assert_string_equal(text, "200 ");
	rig_end(r);
	stream_rig_close(&rig);
}

static void
test_gzip_large_expect(void **state)
{
	(void)state;
	static char bytes[1 << 20], body[200000], packed[200000], text[4096];
	struct stream_rig rig;
	stream_rig_open(&rig, &source_http, "port=80 penstock.body.max=150000", NOW, 16);
	struct rig_stream *r = rig_connect(&rig, false, 80);
	for (int large = 0; large < 2; large++) {
		size_t n = (size_t)snprintf(body, 100, "[{\"body\":\"");
		memset(body + n, 'z', large ? 160000 : 100000);
		n += large ? 160000 : 100000;
		n += (size_t)snprintf(body + n, 100, "\"}]");
		z_stream z = { .next_in = (Bytef *)body, .avail_in = (uInt)n, .next_out = (Bytef *)packed, .avail_out = sizeof packed };
		deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
		deflate(&z, Z_FINISH);
		size_t len = post(bytes, "Content-Encoding: gzip\r\n", packed, z.total_out);
		deflateEnd(&z);
		feed(r, bytes, len);
		for (int k = 0; k < 3; k++)
			stream_rig_turn(&rig, true);
		statuses(r, text);
		assert_string_equal(text, large ? "413 " : "200 ");
		assert_int_equal(strlen(rig_stored(&rig)), large ? 0 : 100001);
	}
	/* 100 comes behind the answers before it, once, and only when the body is not there yet. */
	static const char both[] = POST "Content-Length: 14\r\n\r\n[{\"body\":\"x\"}]" POST "Expect: 100-continue\r\nContent-Length: 14\r\n\r\n";
	feed(r, both, sizeof both - 1);
	assert_int_equal(r->out_len, 0);
	for (int k = 0; k < 3; k++)
		stream_rig_turn(&rig, true);
	statuses(r, text);
	assert_string_equal(text, "200 100 ");
	feed(r, "[{\"body\":", 9);
	feed(r, "\"y\"}]", 5);
	for (int k = 0; k < 3; k++)
		stream_rig_turn(&rig, true);
	statuses(r, text);
	assert_string_equal(text, "200 ");
	assert_string_equal(rig_stored(&rig), "x\ny\n");
	rig_end(r);
	stream_rig_close(&rig);
}

/* Many pipelined requests, more than are let in at once: every answer, in order. */
static void
test_pipelined(void **state)
{
	(void)state;
	static char bytes[1 << 20], text[1 << 16];
	struct stream_rig rig;
	stream_rig_open(&rig, &source_http, "port=80", NOW, 16);
	struct rig_stream *r = rig_connect(&rig, false, 80);
	size_t n = 0;
	for (int i = 0; i < 1000; i++)
		n += i % 10 == 3 ? post(bytes + n, "", "[", 1) : post(bytes + n, "", "[{\"body\":\"y\"}]", 14);
	size_t at = 0, answers = 0;
	r->out_max = 1 << 19;
	for (int i = 0; i < 1000 && answers < 1000; i++) {
		if (at < n)
			at += stream_feed(&r->stream, (const uint8_t *)bytes + at, (uint32_t)(n - at < 30000 ? n - at : 30000));
		stream_rig_turn(&rig, true);
		int count = statuses(r, text);
		for (int k = 0; k < count; k++)
			assert_memory_equal(text + 4 * k, (answers + (size_t)k) % 10 == 3 ? "400 " : "200 ", 4);
		answers += (size_t)count;
		stream_writable(&r->stream, true);
	}
	assert_int_equal(answers, 1000);
	assert_int_equal(strlen(rig_stored(&rig)), 1800);
	rig_end(r);
	stream_rig_close(&rig);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_golden), cmocka_unit_test(test_requests), cmocka_unit_test(test_full), cmocka_unit_test(test_waits_for_blocks), cmocka_unit_test(test_gzip_large_expect),
		cmocka_unit_test(test_pipelined),
	};
	return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
