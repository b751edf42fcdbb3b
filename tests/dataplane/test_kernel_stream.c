/* The conformance body of stream carriers, over kernel sockets of loopback: bytes in order and whole, replies in order and whole, a reader that pauses, half
 * closes, resets told from closes, limits and allowed senders. tests/dataplane/test_stream.c runs the same promises over a carrier made of arrays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dataplane/listen/kernel_stream.h"
#include "tests/lib/stream_rig.h"

struct kernel {
	struct stream_rig rig;
	struct kernel_streams ks;
	struct sockaddr_in to;
};

static void
open_kernel(struct kernel *k, const struct source_ops *ops, const char *properties)
{
	char text[512];
	struct err err = { "" };
	/* A free port: that of a socket which is closed again. */
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	k->to = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof k->to;
	assert_int_equal(bind(fd, (struct sockaddr *)&k->to, sizeof k->to), 0);
	getsockname(fd, (struct sockaddr *)&k->to, &len);
	close(fd);
	snprintf(text, sizeof text, "port=%u %s=127.0.0.1 %s", ntohs(k->to.sin_port), ops == &source_syslogtcp ? "host" : "bind", properties);
	stream_rig_open(&k->rig, ops, text, 1795245136u, 16);
	assert_int_equal(kernel_streams_open(&k->ks, &k->rig.ingress, &err), 0);
	struct source_listen listen;
	ops->listens(k->rig.config, &listen, 1);
	if (kernel_streams_listen(&k->ks, &listen, &k->rig.ingress.sources[0], &err))
		fail_msg("%s", err.text);
}

static void
turn(struct kernel *k)
{
	clock_manual_advance(&k->rig.clock, NS_PER_MS);
	ingress_reap(&k->rig.ingress);
	kernel_streams_step(&k->ks, k->rig.clock.now);
	ingress_put(&k->rig.ingress);
	ingress_seal_due(&k->rig.ingress, true);
	while (k->rig.channel->ops->writer_step(k->rig.channel, 0) > 0)
		;
	ingress_reap(&k->rig.ingress);
	kernel_streams_flush(&k->ks, k->rig.clock.now);
}

static void
close_kernel(struct kernel *k)
{
	for (int i = 0; i < 4; i++)
		turn(k);
	kernel_streams_close(&k->ks);
	stream_rig_close(&k->rig);
}

static int
dial(struct kernel *k)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&k->to, sizeof k->to), 0);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

static const struct stream_counters *
counters(const struct kernel *k)
{
	return &k->ks.listens[0]->listener.counters;
}

/* Turns until the peer has read the end, or an error. Returns 0 or its errno; replies behind each other in `text`. */
static int
read_all(struct kernel *k, int fd, char *text, size_t size)
{
	size_t used = 0;
	for (int i = 0; i < 20000; i++) {
		turn(k);
		ssize_t n = read(fd, text + used, size - 1 - used);
		if (n > 0)
			used += (size_t)n;
		text[used] = 0;
		if (n == 0)
			return 0;
		if (n < 0 && errno != EAGAIN)
			return errno;
	}
	fail_msg("no end of the connection");
	return 0;
}

static void
test_order(void **state)
{
	(void)state;
	struct kernel k;
	static char text[1 << 20];
	open_kernel(&k, &source_netcat, "");
	int fd[8];
	size_t sent[8] = { 0 }, len[8];
	static char lines[8][200000];
	for (int i = 0; i < 8; i++) {
		len[i] = 0;
		for (int n = 0; n < 8000; n++)
			len[i] += (size_t)snprintf(lines[i] + len[i], 40, "%d:%d\n", i, n);
		fd[i] = dial(&k);
	}
	int seen[8] = { 0 }, total = 0;
	for (int round = 0; total < 8 * 8000 && round < 100000; round++) {
		for (int i = 0; i < 8; i++) {
			ssize_t n = sent[i] == len[i] ? 0 : write(fd[i], lines[i] + sent[i], len[i] - sent[i] < 7777 ? len[i] - sent[i] : 7777);
			sent[i] += n > 0 ? (size_t)n : 0;
			if (sent[i] == len[i] && n > 0)
				shutdown(fd[i], SHUT_WR);
		}
		turn(&k);
		for (const char *p = rig_stored(&k.rig); *p; p = strchr(p, '\n') + 1, total++) {
			int i, n;
			assert_int_equal(sscanf(p, "%d:%d", &i, &n), 2);
			assert_int_equal(n, seen[i]++);
		}
	}
	assert_int_equal(total, 8 * 8000);
	for (int i = 0; i < 8; i++) {
		/* After the half close every answer comes, then the end. */
		assert_int_equal(read_all(&k, fd[i], text, sizeof text), 0);
		assert_int_equal(strlen(text), 3 * 8000);
		close(fd[i]);
	}
	for (int i = 0; i < 10; i++)
		turn(&k);
	assert_int_equal(counter_read(&counters(&k)->accepted), 8);
	assert_int_equal(counter_read(&counters(&k)->closed), 8);
	assert_int_equal(counter_read(&counters(&k)->open), 0);
	close_kernel(&k);
}

/* A peer that never reads is paused, not cut; one that then reads gets everything. */
static void
test_pause(void **state)
{
	(void)state;
	struct kernel k;
	static char text[1 << 20], line[] = "x\nx\nx\nx\nx\nx\nx\nx\n";
	open_kernel(&k, &source_netcat, "");
	int fd = socket(AF_INET, SOCK_STREAM, 0), small = 4096;
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
	assert_int_equal(connect(fd, (struct sockaddr *)&k.to, sizeof k.to), 0);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	size_t lines = 0, got = 0;
	for (int i = 0; i < 40000 && lines < 200000; i++) {
		while (lines < 200000 && write(fd, line, 16) == 16)
			lines += 8;
		turn(&k);
		rig_stored(&k.rig);
		if (i > 300) {
			ssize_t n = read(fd, text, sizeof text);
			got += n > 0 ? (size_t)n : 0;
		}
	}
	assert_int_equal(lines, 200000);
	shutdown(fd, SHUT_WR);
	for (int i = 0; i < 100000 && got < 3 * lines; i++) {
		turn(&k);
		rig_stored(&k.rig);
		ssize_t n = read(fd, text, sizeof text);
		got += n > 0 ? (size_t)n : 0;
	}
	assert_int_equal(got, 3 * lines);
	assert_int_equal(counter_read(&counters(&k)->reset_send), 0);
	close(fd);
	close_kernel(&k);
}

static void
test_ends(void **state)
{
	(void)state;
	struct kernel k;
	char text[4096];
	open_kernel(&k, &source_syslogtcp, "penstock.connections.max=2 penstock.frame.timeout=2s penstock.idle.timeout=4s");
	int a = dial(&k), b = dial(&k);
	turn(&k);
	int c = dial(&k);			/* one too many: reset */
	assert_int_equal(read_all(&k, c, text, sizeof text), ECONNRESET);
	struct linger off = { 1, 0 };
	assert_int_equal(write(a, "<13>one\n<13>tw", 14), 14);
	for (int i = 0; i < 5; i++)
		turn(&k);
	setsockopt(a, SOL_SOCKET, SO_LINGER, &off, sizeof off);
	close(a);				/* the peer resets: what was whole is stored */
	for (int i = 0; i < 20; i++)
		turn(&k);
	assert_string_equal(rig_stored(&k.rig), "<13>one\n");
	assert_int_equal(counter_read(&counters(&k)->lost), 1);
	assert_int_equal(write(b, "<13>never ends", 14), 14);
	assert_int_equal(read_all(&k, b, text, sizeof text), ECONNRESET);	/* closed_frame */
	assert_int_equal(counter_read(&counters(&k)->closed_frame), 1);
	int d = dial(&k);
	assert_int_equal(read_all(&k, d, text, sizeof text), 0);		/* closed_idle */
	assert_int_equal(counter_read(&counters(&k)->closed_idle), 1);
	close(b);
	close(c);
	close(d);
	close_kernel(&k);
	open_kernel(&k, &source_syslogtcp, "penstock.allow=10.0.0.0/8");
	a = dial(&k);
	assert_int_equal(read_all(&k, a, text, sizeof text), ECONNRESET);
	assert_int_equal(counter_read(&counters(&k)->refused_sender), 1);
	close(a);
	close_kernel(&k);
}

static void
test_port_allow(void **state)
{
	(void)state;
	struct stream_rig rig;
	struct err err = { "" };
	struct source_listen listen;
	struct address_prefix *allow;
	uint32_t count;
	stream_rig_open(&rig, &source_multiport_syslogtcp, "ports=5140 host=127.0.0.1 penstock.allow=192.0.2.0/24 penstock.allow.port.5140=10.0.0.0/8,2001:db8::/32",
			1795245136u, 16);
	assert_int_equal(source_multiport_syslogtcp.listens(rig.config, &listen, 1), 1);
	assert_int_equal(source_listen_allow(&listen, "r1", &allow, &count, &err), 0);
	assert_int_equal(count, 2);
	struct address inside, outside;
	assert_int_equal(address_parse_ip(&inside, "10.9.9.9") | address_parse_ip(&outside, "192.0.2.9"), 0);
	assert_true(address_in_prefixes(&inside, allow, count));
	assert_false(address_in_prefixes(&outside, allow, count));
	free(allow);
	listen.port_allow = " 10.0.0.0/8 nonsense";
	assert_int_equal(source_listen_allow(&listen, "r1", &allow, &count, &err), -EINVAL);
	assert_non_null(strstr(err.text, "penstock.allow.port.5140: \"nonsense\""));
	listen.port_allow = " ";
	assert_int_equal(source_listen_allow(&listen, "r1", &allow, &count, &err), -EINVAL);
	stream_rig_close(&rig);
}

static void
test_durable_refused(void **state)
{
	(void)state;
	struct stream_rig rig;
	struct kernel_streams ks;
	struct err err = { "" };
	struct source_listen listen;
	stream_rig_open(&rig, &source_syslogtcp, "port=5140 host=127.0.0.1 ack=durable", 1795245136u, 16);
	kernel_streams_open(&ks, &rig.ingress, &err);
	source_syslogtcp.listens(rig.config, &listen, 1);
	assert_int_equal(kernel_streams_listen(&ks, &listen, &rig.ingress.sources[0], &err), -EINVAL);
	assert_non_null(strstr(err.text, "sources.r1: ack = durable"));
	kernel_streams_close(&ks);
	stream_rig_close(&rig);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order), cmocka_unit_test(test_pause), cmocka_unit_test(test_ends), cmocka_unit_test(test_port_allow), cmocka_unit_test(test_durable_refused),
	};
	return cmocka_run_group_tests_name("kernel_stream", tests, NULL, NULL);
}
