#include "tests/conformance/stream_conformance.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#define CLIENTS 6
#define TURNS_MAX 50000

static void
go(struct stream_case *c, int turns)
{
	for (int i = 0; i < turns; i++)
		c->turn(c, true, NS_PER_MS);
}

/* All of it, with turns between. */
static void
send_all(struct stream_case *c, int client, const char *bytes, size_t len, size_t piece)
{
	for (size_t at = 0, idle = 0; at < len && idle < TURNS_MAX; c->turn(c, true, NS_PER_MS)) {
		ssize_t n = c->send(c, client, bytes + at, len - at < piece ? len - at : piece);
		assert_true(n >= 0);
		at += (size_t)n;
		idle = n ? 0 : idle + 1;
		assert_true(idle + 1 < TURNS_MAX);
	}
}

/* Until the peer has read the end or an error, or has `want` bytes (0: the end). Returns 0 or -errno. */
static int
recv_all(struct stream_case *c, int client, char *text, size_t size, size_t want)
{
	size_t used = 0;
	text[0] = 0;
	for (int i = 0; i < 30000 && (!want || used < want); i++) {
		ssize_t n = c->recv(c, client, text + used, size - 1 - used);
		if (n > 0)
			used += (size_t)n;
		text[used] = 0;
		if (n == 0 || (n < 0 && n != -EAGAIN))
			return (int)n;
		c->turn(c, true, NS_PER_MS);
	}
	if (!want)
		fail_msg("%s: no end of the connection, have \"%s\"", c->name, text);
	if (used < want)
		fail_msg("%s: %zu of %zu bytes: \"%s\"", c->name, used, want, text);
	return 0;
}

static uint64_t
count(struct stream_case *c, size_t offset)
{
	return counter_read((const struct counter *)((const char *)c->counters(c) + offset));
}
#define COUNT(c, field) count(c, offsetof(struct stream_counters, field))

/* ---- lines ---- */

/* Lines and octet counts from several clients at once, cut anywhere: each byte once, in its client's order; FIN is answered with FIN. */
static void
frames(struct stream_case *c, const struct source_ops *ops)
{
	static char bytes[CLIENTS][60000];
	size_t len[CLIENTS] = { 0 }, at[CLIENTS] = { 0 };
	int client[CLIENTS], seen[CLIENTS] = { 0 }, total = 0, lines = 500;
	char text[64];
	c->open(c, ops, ops == &source_syslogtcp ? "keepFields=all" : "keepFields=all");
	for (int i = 0; i < CLIENTS; i++) {
		for (int n = 0; n < lines; n++) {
			char message[80];
			int m = snprintf(message, sizeof message, "<13>Nov 21 16:00:00 host c%d n%d %.*s", i, n, (n * 7 + i) % 40, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
			/* multiport frames by lines alone at Flume too; both detect a count per frame */
			if (n % 3 == 1)
				len[i] += (size_t)snprintf(bytes[i] + len[i], 100, "%d %s", m, message);
			else
				len[i] += (size_t)snprintf(bytes[i] + len[i], 100, "%s\n", message);
		}
		client[i] = c->dial(c);
	}
	for (int round = 0; total < CLIENTS * lines && round < TURNS_MAX; round++) {
		for (int i = 0; i < CLIENTS; i++) {
			size_t piece = i == 0 ? 1 + (size_t)round % 3 : i == 1 ? 1448 : 1 + (size_t)(round * 7919 + i * 31) % 700;
			if (at[i] == len[i])
				continue;
			ssize_t n = c->send(c, client[i], bytes[i] + at[i], len[i] - at[i] < piece ? len[i] - at[i] : piece);
			assert_true(n >= 0);
			at[i] += (size_t)n;
			if (at[i] == len[i])
				c->finish(c, client[i]);
		}
		c->turn(c, true, NS_PER_MS);
		for (const char *p = rig_stored(&c->rig); *p; p = strchr(p, '\n') + 1, total++) {
			int i, n;
			if (sscanf(p, "<13>Nov 21 16:00:00 host c%d n%d ", &i, &n) != 2)
				fail_msg("%s: \"%.80s\"", c->name, p);
			assert_int_equal(n, seen[i]++);
			assert_int_equal(strcspn(strchr(strstr(p, " n") + 2, ' ') + 1, "\n"), (n * 7 + i) % 40);
		}
	}
	assert_int_equal(total, CLIENTS * lines);
	for (int i = 0; i < CLIENTS; i++) {
		assert_int_equal(recv_all(c, client[i], text, sizeof text, 0), 0);
		assert_string_equal(text, "");
		c->drop(c, client[i]);
	}
	go(c, 10);
	assert_int_equal(COUNT(c, accepted), CLIENTS);
	assert_int_equal(COUNT(c, closed), CLIENTS);
	assert_int_equal(COUNT(c, open), 0);
	c->close(c);
}

/* The channel is full: nothing more is taken, nothing is lost, and it goes on. */
static void
back_pressure(struct stream_case *c)
{
	static char line[1001], text[64];
	c->open(c, &source_syslogtcp, "keepFields=all");
	int client = c->dial(c), sent = 0, got = 0;
	size_t at = 0;
	memset(line, 'y', sizeof line - 1);
	for (int idle = 0; idle < 200 && sent < 40000;) {
		if (at == 0)
			memcpy(line, "<13>", 4), snprintf(line + 4, 12, "%-10d", sent), line[14] = ' ', line[999] = '\n';
		ssize_t n = c->send(c, client, line + at, 1000 - at);
		assert_true(n >= 0);
		at = (at + (size_t)n) % 1000;
		sent += n && !at;
		idle = n ? 0 : idle + 1;
		if (!n || sent % 16 == 0)
			c->turn(c, false, NS_PER_MS);	/* nobody writes */
	}
	assert_in_range(sent, 100, 39999);
	send_all(c, client, line + at, at ? 1000 - at : 0, 1000);
	sent += at != 0;
	c->finish(c, client);
	for (int round = 0; got < sent && round < TURNS_MAX; round++) {
		c->turn(c, true, NS_PER_MS);
		for (const char *p = rig_stored(&c->rig); *p; p = strchr(p, '\n') + 1, got++)
			assert_int_equal(atoi(p + 4), got);
	}
	assert_int_equal(got, sent);
	assert_int_equal(recv_all(c, client, text, sizeof text, 0), 0);
	c->drop(c, client);
	c->close(c);
}

/* Cut off in the middle of a line: the whole lines are there, the half is no event. Limits end connections by name. */
static void
ends(struct stream_case *c)
{
	char text[256];
	c->open(c, &source_syslogtcp, "keepFields=all penstock.connections.max=2 penstock.frame.timeout=2s penstock.idle.timeout=4s");
	int a = c->dial(c), b = c->dial(c);
	go(c, 3);
	int one_too_many = c->dial(c);
	go(c, 3);
	assert_int_equal(COUNT(c, refused_connections), 1);
	assert_true(c->recv(c, one_too_many, text, sizeof text) < 0);
	c->drop(c, one_too_many);
	send_all(c, a, "<13>one\n<13>tw", 14, 14);
	go(c, 5);
	c->cut(c, a);
	go(c, 20);
	assert_string_equal(rig_stored(&c->rig), "<13>one\n");
	assert_int_equal(COUNT(c, lost), 1);
	send_all(c, b, "<13>never ends", 14, 14);
	assert_int_equal(recv_all(c, b, text, sizeof text, 0), -ECONNRESET);
	assert_int_equal(COUNT(c, closed_frame), 1);
	c->drop(c, b);
	int d = c->dial(c);
	assert_int_equal(recv_all(c, d, text, sizeof text, 0), 0);
	assert_int_equal(COUNT(c, closed_idle), 1);
	c->drop(c, d);
	c->close(c);
	c->open(c, &source_syslogtcp, "penstock.allow=10.0.0.0/8");
	int e = c->dial(c);
	go(c, 3);
	assert_true(c->recv(c, e, text, sizeof text) < 0);
	assert_int_equal(COUNT(c, refused_sender), 1);
	assert_int_equal(COUNT(c, open), 0);
	c->drop(c, e);
	c->close(c);
}

/* ---- replies ---- */

/* OK after the commit and not before, one a line, in order; all of them before the end when the sender has closed its half. */
static void
netcat(struct stream_case *c)
{
	static char text[100000], lines[40000];
	size_t len = 0;
	c->open(c, &source_netcat, "");
	int client = c->dial(c);
	for (int i = 0; i < 20; i++)
		c->turn(c, false, NS_PER_MS);
	assert_int_equal(c->send(c, client, "one\ntwo\n", 8), 8);
	for (int i = 0; i < 50; i++)
		c->turn(c, false, NS_PER_MS);
	assert_int_equal(c->recv(c, client, text, sizeof text), -EAGAIN);
	assert_int_equal(recv_all(c, client, text, sizeof text, 6), 0);
	assert_string_equal(text, "OK\nOK\n");
	for (int i = 0; i < 3000; i++)
		len += (size_t)snprintf(lines + len, 20, "line %d\n", i);
	send_all(c, client, lines, len, 7777);
	c->finish(c, client);
	assert_int_equal(recv_all(c, client, text, sizeof text, 0), 0);
	assert_int_equal(strlen(text), 3 * 3000);
	c->drop(c, client);
	const char *stored = rig_stored(&c->rig);
	assert_memory_equal(stored, "one\ntwo\n", 8);
	assert_string_equal(stored + 8, lines);
	c->close(c);
}

/* A peer that never reads is paused, not cut; one that then reads gets everything. */
static void
pause(struct stream_case *c)
{
	static char text[1 << 16];
	static const char line[] = "x\nx\nx\nx\nx\nx\nx\nx\n";
	c->open(c, &source_netcat, "");
	int client = c->dial(c);
	size_t bytes = 0, got = 0, want = 600000;
	for (int i = 0; i < TURNS_MAX && got < 3 * want / 2; i++) {
		ssize_t n = 1;
		while (bytes < want && n > 0) {
			n = c->send(c, client, line + bytes % 16, 16 - bytes % 16);
			assert_true(n >= 0);
			bytes += (size_t)n;
		}
		if (bytes == want)
			c->finish(c, client), bytes++;
		c->turn(c, true, NS_PER_MS);
		rig_stored(&c->rig);
		n = i > 300 ? c->recv(c, client, text, sizeof text) : -EAGAIN;
		assert_true(n > 0 || n == -EAGAIN);
		got += n > 0 ? (size_t)n : 0;
	}
	assert_int_equal(got, 3 * want / 2);
	assert_int_equal(recv_all(c, client, text, sizeof text, 0), 0);
	assert_int_equal(COUNT(c, reset_send), 0);
	c->drop(c, client);
	c->close(c);
}

/* 200 after the commit; pipelined answers in order; a body larger than a window; Expect; a refused request is told and the connection ends. */
static void
http(struct stream_case *c)
{
	static char text[1 << 16], request[400000], body[300000];
	size_t len = 0, n = 0;
	c->open(c, &source_http, "");
	int client = c->dial(c);
	for (int i = 0; i < 16; i++)
		len += (size_t)snprintf(request + len, 200, "POST /%d HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n[{\"body\":\"r%02d\"}]", i, 16, i);
	for (int i = 0; i < 20; i++)
		c->turn(c, false, NS_PER_MS);
	for (size_t at = 0; at < len;) {
		ssize_t took = c->send(c, client, request + at, len - at);
		assert_true(took >= 0);
		at += (size_t)took;
		c->turn(c, false, NS_PER_MS);
	}
	for (int i = 0; i < 50; i++)
		c->turn(c, false, NS_PER_MS);
	assert_int_equal(c->recv(c, client, text, sizeof text), -EAGAIN);
	size_t answers = 0;
	for (int i = 0; i < 2000 && answers < 16; i++) {
		c->turn(c, true, NS_PER_MS);
		ssize_t got = c->recv(c, client, text + n, sizeof text - 1 - n);
		n += got > 0 ? (size_t)got : 0;
		text[n] = 0;
		answers = 0;
		for (const char *p = text; (p = strstr(p, "HTTP/1.1 200 ")); p++)
			answers++;
	}
	assert_int_equal(answers, 16);
	const char *stored = rig_stored(&c->rig);
	for (int i = 0; i < 16; i++)
		assert_int_equal(atoi(stored + 4 * i + 1), i);
	n = (size_t)snprintf(body, 2, "[");
	for (int i = 0; i < 60; i++)
		n += (size_t)snprintf(body + n, 1000, "%s{\"body\":\"big%d%0800d\"}", i ? "," : "", i, 0);
	n += (size_t)snprintf(body + n, 2, "]");
	len = (size_t)snprintf(request, sizeof request, "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %zu\r\n\r\n", n);
	send_all(c, client, request, len, len);
	recv_all(c, client, text, sizeof text, 25);
	assert_string_equal(text, "HTTP/1.1 100 Continue\r\n\r\n");
	send_all(c, client, body, n, 20000);
	recv_all(c, client, text, sizeof text, 12);
	assert_memory_equal(text, "HTTP/1.1 200", 12);
	int events = 0;
	for (const char *p = rig_stored(&c->rig); *p; p = strchr(p, '\n') + 1)
		events += strncmp(p, "big", 3) == 0;
	assert_int_equal(events, 60);
	go(c, 5);
	c->recv(c, client, text, sizeof text);
	static const char both[] = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
	send_all(c, client, both, sizeof both - 1, 1000);
	assert_int_equal(recv_all(c, client, text, sizeof text, 0), 0);
	assert_memory_equal(text, "HTTP/1.1 400", 12);
	c->drop(c, client);
	c->close(c);
}

void
stream_conformance(struct stream_case *c)
{
	frames(c, &source_syslogtcp);
	frames(c, &source_multiport_syslogtcp);
	back_pressure(c);
	ends(c);
	netcat(c);
	pause(c);
	http(c);
}
