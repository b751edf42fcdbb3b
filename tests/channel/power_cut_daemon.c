/* power_cut_daemon: the whole daemon in the emulated machine, on kernel sockets: one client sends lines to a netcat source, one posts to an
 * http source; what is told is what they were answered (OK, 200). The daemon is stopped in order after a third, killed after two. What was
 * not answered is sent again. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/channel/power_cut.h"

#define LINES_PORT 4001
#define HTTP_PORT 4002
#define WINDOW 24u	/* lines on their way */

static pid_t daemon_pid;

static void
config_write(const char *sync)
{
	FILE *f = fopen("/a.properties", "w");
	if (!f || fprintf(f, "a1.sources = r1 r2\na1.channels = c1\na1.sinks = k1\n"
		"a1.sources.r1.type = netcat\na1.sources.r1.bind = 127.0.0.1\na1.sources.r1.port = %d\na1.sources.r1.max-line-length = 5000\n"
		"a1.sources.r1.channels = c1\n"
		"a1.sources.r2.type = http\na1.sources.r2.bind = 127.0.0.1\na1.sources.r2.port = %d\na1.sources.r2.channels = c1\n"
		"a1.channels.c1.type = file\na1.channels.c1.dataDirs = /disk/data\na1.channels.c1.checkpointDir = /disk/checkpoint\n"
		"a1.channels.c1.minimumRequiredSpace = 1048576\na1.channels.c1.checkpointInterval = %s\na1.channels.c1.penstock.segmentSize = 2m\n"
		"a1.channels.c1.fsyncPerTransaction = %s\na1.channels.c1.fsyncInterval = 86400\n"
		"a1.sinks.k1.type = file_roll\na1.sinks.k1.sink.directory = /disk/out\na1.sinks.k1.sink.rollInterval = 2\n"
		"a1.sinks.k1.sink.batchSize = 20\na1.sinks.k1.channel = c1\n", LINES_PORT, HTTP_PORT, *sync == 't' ? "100" : "86400000", sync) < 0 || fclose(f))
		guest_fail("/a.properties");
}

static void
daemon_start(void)
{
	daemon_pid = fork();
	if (daemon_pid)
		return;
	(void)!freopen("/agent.log", "a", stderr);
	(void)!freopen("/agent.log", "a", stdout);
	execl("/penstock", "penstock", "agent", "-n", "a1", "-f", "/a.properties", "-Dpenstock.control.socket=/tmp/a1.sock", (char *)NULL);
	_exit(127);
}

static void
daemon_end(int signal, bool orderly)
{
	int status;
	if (kill(daemon_pid, signal) || waitpid(daemon_pid, &status, 0) != daemon_pid || (orderly && status))
		guest_fail("the daemon's end");
}

/* A connection that is there, or is tried again. */
static int
reach(int *fd, uint16_t port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	if (*fd >= 0)
		return 0;
	*fd = socket(AF_INET, SOCK_STREAM, 0);
	if (*fd < 0)
		guest_fail("socket");
	if (connect(*fd, (struct sockaddr *)&to, sizeof to) == 0)
		return 0;
	close(*fd);
	*fd = -1;
	return -1;
}

static void
lost(int *fd)
{
	close(*fd);
	*fd = -1;
}

static uint32_t
body(char *to, char kind, uint64_t number)
{
	uint32_t len = (uint32_t)snprintf(to, 64, "%c %" PRIu64 " ", kind, number), more = (uint32_t)(number * 2654435761u % 4000);
	memset(to + len, 'a' + (int)(number % 26), more);
	return len + more;
}

static uint32_t
post_events(uint64_t first)
{
	return 1 + (uint32_t)(first * 2654435761u >> 7) % 6;
}

static int
send_all(int fd, const char *bytes, size_t len)
{
	for (ssize_t n; len; bytes += n, len -= (size_t)n)
		if ((n = send(fd, bytes, len, MSG_NOSIGNAL)) <= 0)
			return -1;
	return 0;
}

static void
lines_turn(int *fd, uint64_t *sent, uint64_t *acked, uint64_t until)
{
	static char line[8192];
	bool fresh = *fd < 0;
	if (reach(fd, LINES_PORT))
		return;
	if (fresh)
		*sent = *acked;
	while (*sent < until && *sent - *acked < WINDOW) {
		uint32_t len = body(line, 'n', *sent);
		line[len++] = '\n';
		if (send_all(*fd, line, len)) {
			lost(fd);
			return;
		}
		++*sent;
	}
	ssize_t n = recv(*fd, line, sizeof line, MSG_DONTWAIT);
	if (n == 0 || (n < 0 && errno != EAGAIN))
		lost(fd);
	for (ssize_t i = 0; i < n; i++) {
		if (!strchr("OK\n", line[i]))
			guest_fail("an answer to a line");
		*acked += line[i] == '\n';
	}
}

static void
post_turn(int *fd, bool *under_way, uint64_t *acked)
{
	static char text[65536], json[65536];
	bool fresh = *fd < 0;
	if (reach(fd, HTTP_PORT))
		return;
	if (fresh)
		*under_way = false;
	uint32_t count = post_events(*acked);
	if (!*under_way) {
		uint32_t len = 0;
		json[len++] = '[';
		for (uint32_t i = 0; i < count; i++) {
			len += (uint32_t)snprintf(json + len, 32, "%s{\"body\":\"", i ? "," : "");
			len += body(json + len, 'h', *acked + i);
			len += (uint32_t)snprintf(json + len, 32, "\"}");
		}
		json[len++] = ']';
		int head = snprintf(text, 256, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %u\r\n\r\n", len);
		memcpy(text + head, json, len);
		if (send_all(*fd, text, (size_t)head + len)) {
			lost(fd);
			return;
		}
		*under_way = true;
	}
	ssize_t n = recv(*fd, text, sizeof text - 1, MSG_DONTWAIT);
	if (n == 0 || (n < 0 && errno != EAGAIN))
		lost(fd);
	if (n <= 0)
		return;
	text[n] = 0;
	if (strncmp(text, "HTTP/1.1 200 ", 13) || !strstr(text, "\r\n\r\n"))
		guest_fail("an answer to a request");
	*acked += count;
	*under_way = false;
}

void
guest_daemon(const char *sync, uint64_t events, uint64_t *lines, uint64_t *posted)
{
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd = socket(AF_INET, SOCK_DGRAM, 0), lines_fd = -1, post_fd = -1;
	uint64_t sent = 0, told = 0;
	bool under_way = false;
	uint32_t turns = 0;
	mkdir("/tmp", 0777);
	mkdir("/run", 0755);
	mkdir("/sys", 0755);
	mkdir("/disk/out", 0755);
	(void)mount("sys", "/sys", "sysfs", 0, NULL);
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &lo))
		guest_fail("lo");
	close(fd);
	config_write(sync);
	daemon_start();
	for (int third = 1; third <= 3;) {
		lines_turn(&lines_fd, &sent, lines, events);
		post_turn(&post_fd, &under_way, posted);
		if (*lines + *posted != told) {
			guest_tell(*lines, *posted);
			told = *lines + *posted;
			turns = 0;
		}
		struct pollfd wait[2] = { { lines_fd, POLLIN }, { post_fd, POLLIN } };
		(void)poll(wait, 2, 20);
		if (++turns > 15000 || waitpid(daemon_pid, NULL, WNOHANG) == daemon_pid) {
			char log[4096];
			int file = open("/agent.log", O_RDONLY);
			ssize_t n = read(file, log, sizeof log);
			printf("%.*s\n", n > 0 ? (int)n : 0, log);
			guest_fail("the daemon");
		}
		if (told < 2 * events * (uint64_t)third / 3)
			continue;
		third++;
		daemon_end(third == 2 ? SIGTERM : SIGKILL, third == 2);
		if (third <= 3)
			daemon_start();
	}
}
