/* netcat answers as a real Flume 1.11 did in tests/golden/routing/sessions.json, but not before the line is stored; bytes that are no UTF-8 are kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <jansson.h>
#include <string.h>

#include "tests/lib/stream_rig.h"

#define NOW 1795245136u

static void
replies(struct rig_stream *r, const char *text)
{
	r->out[r->out_len] = 0;
	assert_string_equal((char *)r->out, text);
	r->out_len = 0;
}

static void
feed(struct rig_stream *r, const void *bytes, size_t len)
{
	assert_int_equal(stream_feed(&r->stream, bytes, (uint32_t)len), len);
}

/* Bytes of a JSON text that was made of bytes as ISO-8859-1. */
static size_t
latin1(const char *text, uint8_t *out)
{
	size_t n = 0;
	for (const uint8_t *p = (const uint8_t *)text; *p; p += *p < 0x80 ? 1 : 2)
		out[n++] = *p < 0x80 ? *p : (uint8_t)((p[0] & 3) << 6 | (p[1] & 0x3f));
	return n;
}

static void
test_sessions(void **state)
{
	(void)state;
	static uint8_t bytes[4096];
	char path[1024];
	snprintf(path, sizeof path, "%s/golden/routing/sessions.json", getenv("PENSTOCK_TESTS"));
	json_t *all = json_load_file(path, 0, NULL), *session;
	assert_non_null(all);
	size_t i, k;
	int seen = 0;
	struct stream_rig rig;
	stream_rig_open(&rig, &source_netcat, "bind=127.0.0.1 port=5140", NOW, 16);
	json_array_foreach(json_object_get(all, "sessions"), i, session) {
		const char *name = json_string_value(json_object_get(session, "case"));
		if (strncmp(name, "netcat-", 7) != 0)
			continue;
		json_t *exchange;
		struct rig_stream *r = rig_connect(&rig, false, 5140);
		json_array_foreach(json_object_get(session, "exchange"), k, exchange) {
			size_t want = (size_t)json_integer_value(json_array_get(exchange, 1)), len;
			len = latin1(json_string_value(json_array_get(exchange, 0)), bytes);
			if (len < want) {	/* recorded only in part */
				memset(bytes + len, 'x', want - len);
				bytes[want - 1] = '\n';
				len = want;
			}
			feed(r, bytes, len);
			assert_int_equal(r->out_len, 0);		/* not before it is stored */
			stream_rig_turn(&rig, false);
			if (strcmp(name, "netcat-512") != 0)
				assert_int_equal(r->out_len, 0);
			stream_rig_turn(&rig, true);
			if (strcmp(name, "netcat-utf8") == 0)
				replies(r, "OK\n");			/* Flume closes at bytes that are no UTF-8 and loses the line */
			else
				replies(r, json_string_value(json_array_get(exchange, 2)));
		}
		if (strcmp(name, "netcat-utf8") != 0)
			assert_int_equal(r->closed, json_is_true(json_object_get(session, "closed_by_server")));
		if (!r->closed)
			stream_eof(&r->stream);
		assert_true(r->closed);
		rig_end(r);
		seen++;
	}
	assert_int_equal(seen, 6);
	const char *stored = rig_stored(&rig);
	json_t *event;
	json_array_foreach(json_object_get(json_object_get(all, "output"), "netcat"), i, event) {
		const char *body = json_string_value(json_object_get(event, "body"));
		assert_memory_equal(stored, body, strlen(body));
		stored += strlen(body);
		assert_int_equal(*stored++, '\n');
	}
	assert_string_equal(stored, "bad \xff\xfe\n");
	json_decref(all);
	stream_rig_close(&rig);
}

static void
test_options(void **state)
{
	(void)state;
	struct stream_rig rig;
	stream_rig_open(&rig, &source_netcat, "bind=127.0.0.1 port=5140 ack-every-event=false max-line-length=10 encoding=iso-8859-1", NOW, 16);
	struct rig_stream *r = rig_connect(&rig, false, 5140);
	feed(r, "gr\xfc\xdf""e\n", 6);
	stream_rig_turn(&rig, true);
	replies(r, "");
	feed(r, "123456789\n1234567890\n", 21);
	stream_rig_turn(&rig, true);
	stream_rig_turn(&rig, true);
	replies(r, "FAILED: Event exceeds the maximum length (10 chars, including newline)\n");
	assert_true(r->closed);
	assert_string_equal(rig_stored(&rig), "gr\xc3\xbc\xc3\x9f""e\n123456789\n");
	rig_end(r);
	stream_rig_close(&rig);
}

/* A peer that does not read its replies is left unread, and loses nothing. */
static void
test_peer_does_not_read(void **state)
{
	(void)state;
	struct stream_rig rig;
	stream_rig_open(&rig, &source_netcat, "bind=127.0.0.1 port=5140", NOW, 16);
	struct rig_stream *r = rig_connect(&rig, false, 5140);
	static char lines[2 * 4000];
	for (int i = 0; i < 4000; i++)
		memcpy(lines + 2 * i, "x\n", 2);
	r->out_max = 140000;
	uint32_t sent = 0, answered = 0;
	for (int i = 0; i < 200 && answered < 40000; i++) {
		for (uint32_t n = 1; n && sent < 80000;)
			sent += n = stream_feed(&r->stream, (const uint8_t *)lines, 80000 - sent < 8000 ? 80000 - sent : 8000);
		stream_rig_turn(&rig, true);
		rig_stored(&rig);
		if (i % 3 == 0) {
			answered += r->out_len / 3;
			r->out_len = 0;
			stream_writable(&r->stream, true);
		}
	}
	assert_int_equal(sent, 80000);
	assert_int_equal(answered, 40000);
	assert_false(r->reset);
	rig_end(r);
	stream_rig_close(&rig);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sessions), cmocka_unit_test(test_options), cmocka_unit_test(test_peer_does_not_read),
	};
	return cmocka_run_group_tests_name("netcat", tests, NULL, NULL);
}
