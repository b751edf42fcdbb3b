/* Proves the control socket with real clients in one thread: one line in, one line out; streams, passed descriptors, stale sockets,
 * and that hostile clients are bounded. The test owns the clock and calls the steps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "ctrlplane/control.h"
#include "ctrlplane/metrics_http.h"
#include "ctrlplane/stats.h"

#include <arpa/inet.h>
#include <netinet/in.h>

struct fixture {
	struct clock_manual clock;
	char dir[64], path[128];	/* a socket's path has 108 */
	struct control *control;
	struct stats *stats;
	struct control_stream *stream;
	int closed, stopped, passed;
};

static int
run_echo(struct control_call *call, void *context, struct err *err)
{
	(void)context;
	if (call->arg_count == 0)
		return err_set(err, EINVAL, "echo: want a word");
	json_object_set_new(call->answer, "word", json_string(call->args[0]));
	json_object_set_new(call->answer, "words", json_integer(call->arg_count));
	return 0;
}

static void
on_closed(void *context)
{
	struct fixture *f = context;
	f->stream = NULL;
	f->closed++;
}

static int
run_trace(struct control_call *call, void *context, struct err *err)
{
	struct fixture *f = context;
	(void)err;
	f->stream = control_stream_begin(call, on_closed, f);
	return 0;
}

static int
run_capture(struct control_call *call, void *context, struct err *err)
{
	struct fixture *f = context;
	if (call->fd < 0)
		return err_set(err, EBADF, "capture: no descriptor passed");
	f->passed = call->fd;
	call->fd = -1;
	return 0;
}

static void
on_stop(void *context)
{
	((struct fixture *)context)->stopped++;
}

static void
on_status(json_t *answer, void *context)
{
	(void)context;
	json_object_set_new(answer, "ports", json_array());
}

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	struct err err;
	clock_manual_init(&f->clock, NS_PER_S, NS_PER_S);
	snprintf(f->dir, sizeof f->dir, "/tmp/penstock-control-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof f->path, "%s/deep/a1.sock", f->dir);
	f->passed = -1;
	f->stats = stats_open(&f->clock.clock);
	assert_int_equal(control_open(&f->control, f->path, &f->clock.clock, &err), 0);
	control_add_basics(f->control, f->stats, on_status, f);
	control_add_stop(f->control, on_stop, f);
	control_add(f->control, "echo", "echo WORD", run_echo, f);
	control_add(f->control, "trace", "trace SOURCE [COUNT]", run_trace, f);
	control_add(f->control, "capture", "capture PORT [COUNT]", run_capture, f);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;
	char dir[128];
	control_close(f->control);
	stats_close(f->stats);
	assert_int_equal(access(f->path, F_OK), -1);
	snprintf(dir, sizeof dir, "%s/deep", f->dir);
	rmdir(dir);
	rmdir(f->dir);
	free(f);
	return 0;
}

static int
client_open(struct fixture *f)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	memcpy(address.sun_path, f->path, sizeof address.sun_path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static void
steps(struct fixture *f)
{
	for (int i = 0; i < 4; i++)
		control_step(f->control, 0);
}

static char buffer[1 << 16];

/* What there is to read; "" at the end or when there is nothing. */
static const char *
client_read(struct fixture *f, int fd)
{
	steps(f);
	ssize_t n = recv(fd, buffer, sizeof buffer - 1, MSG_DONTWAIT);
	buffer[n > 0 ? n : 0] = 0;
	return buffer;
}

static const char *
ask(struct fixture *f, int fd, const char *line)
{
	assert_int_equal(send(fd, line, strlen(line), MSG_NOSIGNAL), strlen(line));
	return client_read(f, fd);
}

static bool
client_ended(int fd)
{
	char c;
	ssize_t n;
	while ((n = recv(fd, &c, 1, MSG_DONTWAIT)) > 0)
		;
	return n == 0 || errno == ECONNRESET;
}

static void
test_requests(void **state)
{
	struct fixture *f = *state;
	int fd = client_open(f);
	struct stat st;
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
	assert_string_equal(ask(f, fd, "echo hello you\n"), "{\"word\":\"hello\",\"words\":2,\"ok\":true}\n");
	assert_string_equal(ask(f, fd, "[\"echo\",\"two words\"]\n"), "{\"word\":\"two words\",\"words\":1,\"ok\":true}\n");
	assert_string_equal(ask(f, fd, "echo\n"), "{\"ok\":false,\"error\":\"echo: want a word\"}\n");
	assert_non_null(strstr(ask(f, fd, "nonsense\n"), "unknown command \\\"nonsense\\\""));
	assert_non_null(strstr(ask(f, fd, "[1]\n"), "\"ok\":false"));
	assert_non_null(strstr(ask(f, fd, "[\n"), "\"ok\":false"));
	assert_non_null(strstr(ask(f, fd, "\xff\xfe\n"), "\"ok\":false"));
	assert_string_equal(ask(f, fd, "\n \n"), "");
	assert_non_null(strstr(ask(f, fd, "status\n"), "\"ports\":[]"));
	assert_non_null(strstr(ask(f, fd, "drops\n"), "\"even\":true"));
	assert_non_null(strstr(ask(f, fd, "loglevel loud\n"), "\"ok\":false"));
	assert_non_null(strstr(ask(f, fd, "loglevel info\n"), "\"ok\":true"));
	assert_non_null(strstr(ask(f, fd, "help\n"), "trace SOURCE"));
	/* Two requests in one write, half a request, and one without a line end. */
	assert_string_equal(ask(f, fd, "echo a\necho b\nec"),
			    "{\"word\":\"a\",\"words\":1,\"ok\":true}\n{\"word\":\"b\",\"words\":1,\"ok\":true}\n");
	ask(f, fd, "ho c");
	shutdown(fd, SHUT_WR);
	assert_string_equal(client_read(f, fd), "{\"word\":\"c\",\"words\":1,\"ok\":true}\n");
	steps(f);
	assert_true(client_ended(fd));
	close(fd);
	fd = client_open(f);
	assert_non_null(strstr(ask(f, fd, "stop\n"), "\"stopping\":true"));
	assert_int_equal(f->stopped, 1);
	close(fd);
}

static void
test_stream(void **state)
{
	struct fixture *f = *state;
	json_t *line = json_pack("{ss}", "body", "x");
	int fd = client_open(f);
	assert_string_equal(ask(f, fd, "trace r1\n"), "");
	assert_non_null(f->stream);
	assert_true(control_stream_write(f->stream, line));
	assert_string_equal(client_read(f, fd), "{\"body\":\"x\"}\n");
	control_stream_end(f->stream, NULL);
	assert_string_equal(client_read(f, fd), "{\"end\":true,\"dropped\":0}\n");
	assert_int_equal(f->closed, 1);
	ask(f, fd, "trace r1\n");
	assert_string_equal(ask(f, fd, "end\n"), "{\"end\":true,\"dropped\":0}\n");
	assert_int_equal(f->closed, 2);
	f->closed = 1;
	/* The connection is free again; one that goes away ends its stream. */
	ask(f, fd, "trace r1\n");
	assert_non_null(f->stream);
	close(fd);
	steps(f);
	assert_null(f->stream);
	assert_int_equal(f->closed, 2);

	/* Who does not read loses lines, and at last the connection. */
	fd = client_open(f);
	ask(f, fd, "trace r1\n");
	json_t *big = json_object();
	char *text = malloc(60001);
	memset(text, 'y', 60000);
	text[60000] = 0;
	json_object_set_new(big, "body", json_string(text));
	free(text);
	int written = 0;
	while (written < 1000 && control_stream_write(f->stream, big))
		written++, control_step(f->control, 0);
	assert_in_range(written, 10, 100);
	clock_manual_advance(&f->clock, CONTROL_PATIENCE_NS + 1);
	steps(f);
	assert_int_equal(f->closed, 3);
	close(fd);
	json_decref(big);
	json_decref(line);

	fd = client_open(f);
	assert_non_null(strstr(ask(f, fd, "top 500\n"), "\"metrics\""));
	assert_string_equal(client_read(f, fd), "");
	clock_manual_advance(&f->clock, NS_PER_S / 2);
	assert_non_null(strstr(client_read(f, fd), "\"metrics\""));
	close(fd);
}

static void
test_descriptor(void **state)
{
	struct fixture *f = *state;
	int fd = client_open(f), pipes[2];
	assert_non_null(strstr(ask(f, fd, "capture p0\n"), "no descriptor"));
	assert_int_equal(pipe(pipes), 0);
	char control[CMSG_SPACE(sizeof (int))] = { 0 }, text[] = "capture p0\n";
	struct iovec iov = { text, strlen(text) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof (int));
	memcpy(CMSG_DATA(c), &pipes[1], sizeof (int));
	assert_int_equal(sendmsg(fd, &msg, 0), strlen(text));
	assert_string_equal(client_read(f, fd), "{\"ok\":true}\n");
	assert_true(f->passed >= 0);
	assert_int_equal(write(f->passed, "hi", 2), 2);
	assert_int_equal(read(pipes[0], text, 2), 2);
	close(f->passed);
	close(pipes[0]);
	close(pipes[1]);
	close(fd);
}

static void
test_hostile(void **state)
{
	struct fixture *f = *state;
	int fds[CONTROL_CLIENTS_MAX + 8], fd = client_open(f);
	/* A line that never ends. */
	char *text = malloc(CONTROL_REQUEST_BYTES);
	memset(text, 'z', CONTROL_REQUEST_BYTES);
	for (int i = 0; i < 4; i++) {
		(void)!send(fd, text, CONTROL_REQUEST_BYTES / 2, MSG_NOSIGNAL | MSG_DONTWAIT);
		steps(f);
	}
	assert_true(client_ended(fd));
	close(fd);
	free(text);

	/* More connections than there is room for. The queue of the kernel is of the same size. */
	int opened = 0, refused = 0;
	for (int i = 0; i < CONTROL_CLIENTS_MAX + 8; i++) {
		fds[i] = client_open(f);
		steps(f);
		opened += fds[i] >= 0;
	}
	for (int i = 0; i < CONTROL_CLIENTS_MAX + 8; i++)
		refused += strstr(client_read(f, fds[i]), "too many connections") != NULL;
	assert_int_equal(opened, CONTROL_CLIENTS_MAX + 8);
	assert_int_equal(refused, 8);
	/* Half a request is not waited for for ever; an idle connection gives way to a new one. */
	(void)!send(fds[0], "stat", 4, MSG_NOSIGNAL);
	steps(f);
	clock_manual_advance(&f->clock, CONTROL_PATIENCE_NS + 1);
	steps(f);
	assert_true(client_ended(fds[0]));
	for (int i = 0; i < 3; i++) {
		fd = client_open(f);
		assert_non_null(strstr(ask(f, fd, "status\n"), "\"ok\":true"));
		close(fd);
	}
	for (int i = 0; i < CONTROL_CLIENTS_MAX; i++) {	/* all taken, the old ones idle */
		int more = client_open(f);
		assert_non_null(strstr(ask(f, more, "status\n"), "\"ok\":true"));
		close(fds[i]);
		fds[i] = more;
	}
	for (int i = 0; i < CONTROL_CLIENTS_MAX + 8; i++)
		close(fds[i]);
	steps(f);

	/* A stream's client that fills its request buffer and goes. */
	fd = client_open(f);
	ask(f, fd, "trace r1\n");
	text = calloc(1, CONTROL_REQUEST_BYTES);
	for (int i = 0; i < 4; i++) {
		(void)!send(fd, text, CONTROL_REQUEST_BYTES / 2, MSG_NOSIGNAL | MSG_DONTWAIT);
		steps(f);
	}
	free(text);
	close(fd);
	steps(f);
	assert_null(f->stream);
	fd = client_open(f);
	assert_non_null(strstr(ask(f, fd, "status\n"), "\"ok\":true"));
	close(fd);
}

static void
test_bytes(void **state)
{
	static const struct { const char *in, *out; } table[] = {
		{ "plain", "plain" }, { "\xc3\xa4", "\xc3\xa4" }, { "a\xffz", "a\xef\xbf\xbdz" }, { "\xc3", "\xef\xbf\xbd" },
		{ "\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" }, { "\xc0\x80", "\xef\xbf\xbd\xef\xbf\xbd" },
		{ "\xf0\x9f\x98\x80\xfe", "\xf0\x9f\x98\x80\xef\xbf\xbd" },
	};
	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		json_t *text = control_json_bytes(table[i].in, strlen(table[i].in));
		assert_string_equal(json_string_value(text), table[i].out);
		json_decref(text);
	}
}

static void
test_stale(void **state)
{
	struct fixture *f = *state;
	struct control *second;
	struct err err;
	char path[100];
	assert_int_equal(control_open(&second, f->path, &f->clock.clock, &err), -EADDRINUSE);
	assert_non_null(strstr(err.text, "another penstock answers"));

	snprintf(path, sizeof path, "%.60s/stale.sock", f->dir);
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	close(fd);	/* nobody listens */
	assert_int_equal(control_open(&second, path, &f->clock.clock, &err), 0);
	control_close(second);

	fd = open(path, O_CREAT | O_WRONLY, 0600);
	close(fd);
	assert_int_equal(control_open(&second, path, &f->clock.clock, &err), -EEXIST);
	unlink(path);
}

/* ---- metrics over HTTP, in the same step ---- */

static void
sick(FILE *reasons, void *context)
{
	if (*(bool *)context)
		fputs("channel c1: the disk is full\n", reasons);
}

static const char *
http_ask(struct fixture *f, uint16_t port, const char *request)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
	size_t got = 0;
	for (int i = 0; i < 60000; i++) {	/* until the far side closes */
		control_step(f->control, 1);
		ssize_t n = recv(fd, buffer + got, sizeof buffer - 1 - got, MSG_DONTWAIT);
		if (n == 0)
			break;
		if (n > 0)
			got += n;
	}
	buffer[got] = 0;
	close(fd);
	return buffer;
}

static void
test_http(void **state)
{
	struct fixture *f = *state;
	struct metrics_http *http;
	struct err err;
	bool ill = false;
	assert_int_equal(metrics_http_open(&http, "41414", f->stats, NULL, NULL, &err), -EINVAL);
	assert_int_equal(metrics_http_open(&http, "127.0.0.1:x", f->stats, NULL, NULL, &err), -EINVAL);
	assert_int_equal(metrics_http_open(&http, "192.0.2.1:41414", f->stats, NULL, NULL, &err), -EADDRNOTAVAIL);
	assert_int_equal(metrics_http_open(&http, "127.0.0.1:0", f->stats, sick, &ill, &err), 0);
	uint16_t port = metrics_http_port(http);
	control_watch(f->control, metrics_http_fd(http), true, metrics_http_run, http);
	stats_component_add(f->stats, "SINK", "k1", "file_roll");

#define GET(path, more) http_ask(f, port, "GET " path " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" more "\r\n")
	const char *answer = GET("/metrics", "Accept: */*\r\n");
	assert_non_null(strstr(answer, "200 OK"));
	assert_non_null(strstr(answer, "application/json;charset=utf-8"));
	assert_non_null(strstr(answer, "{\"SINK.k1\":{\"ConnectionCreatedCount\":\"0\""));
	assert_non_null(strstr(GET("/METRICS", ""), "SINK.k1"));
	assert_non_null(strstr(GET("/metrics", "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5,*/*;q=0.1\r\n"),
			       "# TYPE penstock_build_info gauge"));
	assert_non_null(strstr(GET("/metrics/prometheus", ""), "# TYPE penstock_build_info gauge"));
	assert_non_null(strstr(GET("/health", ""), "200 OK"));
	ill = true;
	answer = GET("/health", "");
	assert_non_null(strstr(answer, "503 "));
	assert_non_null(strstr(answer, "channel c1: the disk is full"));
	assert_non_null(strstr(GET("/", ""), "/metrics/prometheus"));
	assert_non_null(strstr(GET("/nothing", ""), "404 "));
	assert_non_null(strstr(http_ask(f, port, "TRACE /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), " 403 "));
	assert_non_null(strstr(http_ask(f, port, "OPTIONS /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), " 403 "));
	metrics_http_close(http);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_requests, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stream, setup, teardown),
		cmocka_unit_test_setup_teardown(test_descriptor, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hostile, setup, teardown),
		cmocka_unit_test(test_bytes),
		cmocka_unit_test_setup_teardown(test_stale, setup, teardown),
		cmocka_unit_test_setup_teardown(test_http, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
