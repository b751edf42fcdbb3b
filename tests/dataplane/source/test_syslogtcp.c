/* syslogtcp and multiport_syslogtcp make of every golden input what a real Flume 1.11 made of it, however the bytes are cut into reads, but for the
 * differences listed in docs/differences.md. Octet counts; what is durable when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <jansson.h>
#include <string.h>
#include <time.h>

#include "dataplane/source/syslog_make.h"
#include "tests/lib/stream_rig.h"

#define UTC_RUN 1795245136	/* 2026-11-21T07:12:16Z */

static char path[1024];

static const char *
golden(const char *name)
{
	snprintf(path, sizeof path, "%s/golden/syslog/%s", getenv("PENSTOCK_TESTS"), name);
	return path;
}

static size_t
unhex(const char *hex, uint8_t *out)
{
	size_t n = 0;
	for (; hex[0]; hex += 2) {
		char two[3] = { hex[0], hex[1], 0 };
		out[n++] = (uint8_t)strtoul(two, NULL, 16);
	}
	return n;
}

struct known {
	const char *prefix;		/* of a case's name */
	const char *why;		/* a line of docs/differences.md */
};

/* Where a case differs on purpose it is looked at by a test of its own. */
static const char *
known_difference(const struct known *known, const char *name)
{
	for (; known && known->prefix; known++)
		if (strncmp(name, known->prefix, strlen(known->prefix)) == 0)
			return known->why;
	return NULL;
}

static const char *
differs(const struct event *event, json_t *expected)
{
	static char text[4096];
	static uint8_t body[70000];
	const char *key;
	json_t *value, *headers = json_object_get(expected, "headers");
	size_t count = 0;
	json_object_foreach(headers, key, value) {
		count++;
		const struct header *header = event_header(event, name_intern(key, strlen(key)));
		/* Flume leaves priority and version of an earlier message on one that does not match. */
		if (!header && !json_object_get(headers, "timestamp") && (strcmp(key, "priority") == 0 || strcmp(key, "version") == 0)) {
			count--;
			continue;
		}
		if (!header) {
			snprintf(text, sizeof text, "header %s is missing, Flume has \"%s\"", key, json_string_value(value));
			return text;
		}
		char digits[24];
		const uint8_t *bytes;
		uint32_t len = event_header_text(event, header, digits, &bytes);
		digits[len < sizeof digits ? len : 0] = 0;
		if (strcmp(key, "chost") == 0)
			continue;
		/* multiport: Flume's rule for the year of an RFC 3164 stamp is broken (1999, 2001); ours is what its comment says. */
		int64_t theirs = strcmp(key, "timestamp") == 0 ? strtoll(json_string_value(value), NULL, 10) / 1000 : 0;
		int64_t ours = theirs ? strtoll((const char *)bytes, NULL, 10) / 1000 : 0;
		time_t a = (time_t)theirs, b = (time_t)ours;
		struct tm ta, tb;
		gmtime_r(&a, &ta);
		gmtime_r(&b, &tb);
		if (theirs && (ta.tm_year == 99 || ta.tm_year == 101) && strstr(path, "multiport")) {
			tb.tm_year = ta.tm_year;
			if (timegm(&tb) == a && ours > UTC_RUN - 340 * 86400 && ours < UTC_RUN + 32 * 86400)
				continue;
		}
		if (len != json_string_length(value) || memcmp(bytes, json_string_value(value), len) != 0) {
			snprintf(text, sizeof text, "header %s is \"%.*s\", Flume has \"%s\"", key, (int)len, bytes, json_string_value(value));
			return text;
		}
	}
	size_t have = event->header_count + (event->shared ? event->shared->count : 0);
	if (have != count) {
		snprintf(text, sizeof text, "%zu headers, Flume has %zu", have, count);
		return text;
	}
	size_t len = unhex(json_string_value(json_object_get(expected, "body_hex")), body);
	if (event->body_len != len || memcmp(event->body, body, len) != 0) {
		snprintf(text, sizeof text, "body \"%.*s\" (%u), Flume has \"%.*s\" (%zu)", (int)event->body_len, event->body, event->body_len, (int)len, body, len);
		return text;
	}
	return NULL;
}

static int differences;

struct comparison {
	json_t *expected;
	const char *name;
	uint32_t step;
	size_t count;
	bool skip;
};

static void
compare(void *context, const struct event *event)
{
	struct comparison *c = context;
	json_t *expected = json_array_get(c->expected, c->count++);
	const char *what = expected && !c->skip ? differs(event, expected) : NULL;
	if (!what)
		return;
	print_error("%s (reads of %u): %s\n", c->name, c->step, what);
	differences++;
}

static void
check_case(struct stream_rig *rig, json_t *input, json_t *output, uint32_t step, const struct known *known, uint16_t port)
{
	static uint8_t bytes[70000];
	const char *name = json_string_value(json_object_get(input, "case"));
	uint32_t len = (uint32_t)unhex(json_string_value(json_object_get(input, "input_hex")), bytes);
	struct comparison c = { .expected = json_object_get(output, "events"), .step = step, .name = name };
	struct rig_stream *r = rig_connect(rig, false, port);
	c.skip = known_difference(known, name) != NULL;
	rig->seen = compare;
	rig->seen_context = &c;
	for (uint32_t at = 0; at < len; at += step)
		assert_int_equal(stream_feed(&r->stream, bytes + at, len - at < step ? len - at : step), len - at < step ? len - at : step);
	stream_eof(&r->stream);
	ingress_put(&rig->ingress);
	ingress_reap(&rig->ingress);
	assert_true(r->closed);
	rig_end(r);
	if (c.skip && !json_array_size(c.expected))
		assert_true(c.count > 0);	/* Flume loses it */
	if (!c.skip && c.count != json_array_size(c.expected)) {
		print_error("%s (reads of %u): %zu events, Flume has %zu\n", name, step, c.count, json_array_size(c.expected));
		differences++;
	}
}

static void
check_file(const struct source_ops *ops, const char *file, const char *properties, uint64_t wall_s, const struct known *known, uint16_t port)
{
	static const uint32_t steps[] = { 70000, 1, 7 };
	for (size_t k = 0; k < sizeof steps / sizeof *steps; k++) {
		struct stream_rig rig;
		stream_rig_open(&rig, ops, properties, wall_s, 0);
		FILE *in = fopen(golden("cases.jsonl"), "r");
		assert_non_null(in);
		FILE *out = fopen(golden(file), "r");
		assert_non_null(out);
		char *a = NULL, *b = NULL;
		size_t a_size = 0, b_size = 0;
		int cases = 0;
		while (getline(&b, &b_size, out) > 0) {
			json_t *output = json_loads(b, JSON_ALLOW_NUL, NULL), *input;
			assert_non_null(output);
			const char *name = json_string_value(json_object_get(output, "case"));
			do {
				assert_true(getline(&a, &a_size, in) > 0);
				input = json_loads(a, JSON_ALLOW_NUL, NULL);
				assert_non_null(input);
				if (strcmp(json_string_value(json_object_get(input, "case")), name) == 0)
					break;
				json_decref(input);
			} while (true);
			check_case(&rig, input, output, steps[k], known, port);
			cases++;
			json_decref(input);
			json_decref(output);
		}
		assert_true(cases > 50);
		free(a);
		free(b);
		fclose(in);
		fclose(out);
		stream_rig_close(&rig);
	}
	if (differences)
		fail_msg("%s: %d differences", file, differences);
}

static const struct known tcp_known[] = { { "body-latin1", "bytes that are no UTF-8 stay as they are" }, { NULL, NULL } };

static void
test_none(void **state)
{
	(void)state;
	check_file(&source_syslogtcp, "utc-tcp-none.jsonl", "port=5140", UTC_RUN, tcp_known, 5140);
}

static void
test_all(void **state)
{
	(void)state;
	check_file(&source_syslogtcp, "utc-tcp-all.jsonl", "port=5140 keepFields=all", UTC_RUN, tcp_known, 5140);
}

static void
test_four(void **state)
{
	(void)state;
	check_file(&source_syslogtcp, "utc-tcp-four.jsonl", "port=5140 keepFields=hostname~timestamp~version~priority", UTC_RUN, tcp_known, 5140);
}

static void
test_64(void **state)
{
	(void)state;
	check_file(&source_syslogtcp, "utc-tcp-64.jsonl", "port=5140 eventSize=64 clientIPHeader=cip clientHostnameHeader=chost", UTC_RUN, tcp_known, 5140);
}

static char seen[4096];

static void
note(void *context, const struct event *event)
{
	const struct header *status = event_header(event, name_intern("flume.syslog.status", 19));
	size_t used = strlen(seen);
	(void)context;
	snprintf(seen + used, sizeof seen - used, "%.*s%.*s|", (int)event->body_len, event->body, status ? 5 : 0,
		 status ? (const char *)status->value.bytes : "");
}

/* Octet counts and line feeds mixed, cut anywhere: the same events. */
static void
test_octets(void **state)
{
	(void)state;
	static const struct { const char *bytes, *events; } cases[] = {
		{ "5 <13>a6 <13>bc", "<13>a|<13>bc|" },
		{ "6 <13>a\n7 <13>bc\n", "<13>a|<13>bc|" },		/* the line feed inside the count: one event, without it */
		{ "5 <13>a\n5 <13>b\n\n<13>c\n", "<13>a|<13>b|<13>c|" },
		{ "8 <13>a\nb\n<13>c\n", "<13>a\nb|<13>c|" },
		{ "<13>a\n5 <13>b<13>c\n", "<13>a|<13>b|<13>c|" },
		{ "12 monkeys\n", "12 monkeysInval|" },			/* no count */
		{ "012 <13>x\n", "012 <13>xInval|" },
		{ "1234567890 <13>x\n", "1234567890 <13>xInval|" },
		{ "25 <13>aaaaaaaaaaaaaaaaaaaaa5 <13>b", "<13>aaaaaaaaaaaaaaaaIncom|aaaaaInval|<13>b|" },	/* longer than eventSize */
		{ "<13>aaaaaaaaaaaaaaaaaaaaaaaaa\n5 <13>b", "<13>aaaaaaaaaaaaaaaaIncom|aaaaaaaaaInval|<13>b|" },
		{ "1 <\n", "<Inval|" },
		{ "99999 <13>a", "" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		uint32_t len = (uint32_t)strlen(cases[i].bytes);
		const uint8_t *bytes = (const uint8_t *)cases[i].bytes;
		for (uint32_t cut = 0; cut <= len; cut++) {
			struct stream_rig rig;
			stream_rig_open(&rig, &source_syslogtcp, "port=5140 eventSize=20", UTC_RUN, 0);
			rig.seen = note;
			seen[0] = 0;
			struct rig_stream *r = rig_connect(&rig, false, 5140);
			if (cut)
				stream_feed(&r->stream, bytes, cut);
			if (cut < len)
				stream_feed(&r->stream, bytes + cut, len - cut);
			stream_eof(&r->stream);
			ingress_put(&rig.ingress);
			ingress_reap(&rig.ingress);
			rig_end(r);
			assert_string_equal(seen, cases[i].events);
			stream_rig_close(&rig);
		}
	}
}

/* Flume throws inside its handler and loses the whole read; here the line is an event of its own, empty lines none. */
static const struct known multi_known[] = {
	{ "5424-no-zone-fraction", "marked Invalid" }, { "5424-month-13", "marked Invalid" }, { "5424-hour-24", "marked Invalid" },
	{ "5424-second-60", "marked Invalid" }, { "multi-empty-lines", "no event, and the good lines are kept" }, { "size-2500", "an event" },
	{ NULL, NULL },
};

/* And so a line of exactly eventSize bytes. */
static const struct known multi_known_64[] = {
	{ "5424-no-zone-fraction", "marked Invalid" }, { "5424-month-13", "marked Invalid" }, { "5424-hour-24", "marked Invalid" },
	{ "5424-second-60", "marked Invalid" }, { "multi-empty-lines", "no event, and the good lines are kept" }, { "3164-one-blank-day", "an event" },
	{ "5424-plus0200", "an event" }, { "5424-zone-no-colon", "an event" }, { NULL, NULL },
};

#define MULTI(name, file, properties, known) \
	static void \
	name(void **state) \
	{ \
		(void)state; \
		check_file(&source_multiport_syslogtcp, file, properties, UTC_RUN, known, 19336); \
	}
MULTI(test_multi_none, "utc-multiport-none.jsonl", "ports=5140", multi_known)
MULTI(test_multi_all, "utc-multiport-all.jsonl", "ports=5140 keepFields=all", multi_known)
MULTI(test_multi_four, "utc-multiport-four.jsonl", "ports=5140 keepFields=hostname~timestamp~version~priority", multi_known)
MULTI(test_multi_pv, "utc-multiport-priority-version.jsonl", "ports=5140 keepFields=priority~version", multi_known)
MULTI(test_multi_th, "utc-multiport-timestamp-hostname.jsonl", "ports=5140 keepFields=timestamp~hostname", multi_known)
MULTI(test_multi_64, "utc-multiport-64.jsonl", "ports=5140 eventSize=64 clientIPHeader=cip clientHostnameHeader=chost portHeader=prt", multi_known_64)

static void
test_pv(void **state)
{
	(void)state;
	check_file(&source_syslogtcp, "utc-tcp-priority-version.jsonl", "port=5140 keepFields=priority~version", UTC_RUN, tcp_known, 5140);
}

static void
test_th(void **state)
{
	(void)state;
	check_file(&source_syslogtcp, "utc-tcp-timestamp-hostname.jsonl", "port=5140 keepFields=timestamp~hostname", UTC_RUN, tcp_known, 5140);
}

#define NEW_YORK_RUN 1795245204	/* 2026-11-21T07:13:24Z */

static void
test_new_york(void **state)
{
	(void)state;
	setenv("TZ", "EST5EDT,M3.2.0,M11.1.0", 1);
	tzset();
	check_file(&source_syslogtcp, "new_york-tcp-none.jsonl", "port=5140", NEW_YORK_RUN, tcp_known, 5140);
	check_file(&source_multiport_syslogtcp, "new_york-multiport-none.jsonl", "ports=5140", NEW_YORK_RUN, multi_known, 19336);
	setenv("TZ", "UTC", 1);
	tzset();
}

/* ---- heads that were read before ---- */

static size_t
event_text(const struct event *event, char *out, size_t room)
{
	static const char *const names[] = { "Facility", "Severity", "priority", "version", "timestamp", "host", "flume.syslog.status" };
	size_t n = (size_t)snprintf(out, room, "%.*s", (int)event->body_len, (const char *)event->body);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		const struct header *header = event_header(event, name_intern(names[i], (uint32_t)strlen(names[i])));
		const uint8_t *text = NULL;
		char digits[24];
		uint32_t len = header ? event_header_text(event, header, digits, &text) : 0;
		n += (size_t)snprintf(out + n, room - n, "|%s=%.*s", header ? names[i] : "", (int)len, text ? (const char *)text : "");
	}
	return n;
}

static uint32_t
chance(uint64_t *seed, uint32_t n)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(*seed >> 33) % n;
}

/* A maker that knows heads makes of any messages what one makes that reads each anew. */
static void
test_heads(void **state)
{
	static const char *const heads[] = {
		"<13>Nov 21 07:12:16 host-1 ", "<13>Nov  1 07:12:16 host-1 ", "<190>Nov 21 07:12:16 a.b.example.org ", "<13>Nov 21 07:12:17 host-1 ",
		"<13>1 2026-11-21T07:12:16Z host-1 ", "<13>1 2026-11-21T07:12:16.123456+01:00 h ", "<13>1 2026-11-21T07:12:16Z - ", "<13>1 - host-1 - - - - - - - ",
		"<13>2026-11-21T07:12:16Z host-1 ", "<13> 2026-11-21T07:12:16Z host-1 ", "<13>1Nov 21 07:12:16 host-1 ", "<13> Nov 21 07:12:16 host-1 ",
		"<13>Foo 21 07:12:16 host-1 ", "<999>Nov 21 07:12:16 host-1 ", "<1>12026-11-21T07:12:16Z host-1 ", "<13>Nov 21 07:12:16 hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh ",
		/* 64 bytes, the most that is kept: such a message without a body is as long as its head. */
		"<13>Nov 21 07:12:16 hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh ",
	};
	static const char *const odd[] = { "\t", "\r", "\xe2\x80\xa8", "\xc2\x85", "\xc3\xa9", "\n", "\x1b", "-" };
	struct stream_rig rig;
	struct syslog_maker with, without;
	struct syslog_make_config config = { .keep_fields = "none" };
	struct err err;
	uint64_t seed = 7;
	(void)state;
	stream_rig_open(&rig, &source_syslogtcp, "port=5140", UTC_RUN, 0);
	struct ingress_source *in = &rig.ingress.sources[0];
	assert_int_equal(syslog_maker_open(&with, &config, in, 2500, &err), 0);
	assert_int_equal(syslog_maker_open(&without, &config, in, 2500, &err), 0);
	assert_non_null(with.heads);
	free(without.heads);
	without.heads = NULL;
	for (uint32_t round = 0; round < 60000; round++) {
		char bytes[400], text[2][1000];
		uint32_t len = (uint32_t)snprintf(bytes, sizeof bytes, "%s", heads[chance(&seed, sizeof heads / sizeof *heads)]);
		if (chance(&seed, 8) == 0)
			bytes[chance(&seed, len)] = "0Z -:1T\n"[chance(&seed, 8)];
		bool empty = chance(&seed, 6) == 0;
		for (uint32_t body = empty ? 0 : chance(&seed, 120); body; body--)
			bytes[len++] = (char)('a' + chance(&seed, 26));
		if (!empty && chance(&seed, 6) == 0)
			len += (uint32_t)snprintf(bytes + len, 8, "%s", odd[chance(&seed, sizeof odd / sizeof *odd)]);
		for (uint32_t body = empty ? 0 : chance(&seed, 40); body; body--)
			bytes[len++] = 'x';
		struct address from = { .port = (uint16_t)(1000 + chance(&seed, 3)) };
		bool cut = chance(&seed, 50) == 0;
		uint64_t now = (uint64_t)UTC_RUN * NS_PER_S + round * (NS_PER_S / 1000);
		for (int i = 0; i < 2; i++) {
			struct event *event = syslog_make(i ? &without : &with, (uint8_t *)bytes, len, &from, now, cut);
			assert_non_null(event);
			event_text(event, text[i], sizeof text[i]);
		}
		assert_string_equal(text[0], text[1]);
		ingress_put(&rig.ingress);
	}
	syslog_maker_close(&with);
	syslog_maker_close(&without);
	stream_rig_close(&rig);
}

int
main(void)
{
	setenv("TZ", "UTC", 1);
	tzset();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_none), cmocka_unit_test(test_all), cmocka_unit_test(test_four), cmocka_unit_test(test_64),
		cmocka_unit_test(test_octets), cmocka_unit_test(test_pv), cmocka_unit_test(test_th), cmocka_unit_test(test_multi_none),
		cmocka_unit_test(test_multi_all), cmocka_unit_test(test_multi_four), cmocka_unit_test(test_multi_pv), cmocka_unit_test(test_multi_th),
		cmocka_unit_test(test_multi_64), cmocka_unit_test(test_new_york), cmocka_unit_test(test_heads),
	};
	return cmocka_run_group_tests_name("syslogtcp", tests, NULL, NULL);
}
