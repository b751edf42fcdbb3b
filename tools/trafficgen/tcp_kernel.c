/* One non-blocking kernel socket for each source. Acknowledged are the bytes that TCP_INFO says, or the replies. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <linux/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "tools/trafficgen/send.h"
#include "tools/trafficgen/tcp_load.h"

#define PIECE_BYTES 65536u
#define DRAIN_NS (30 * NS_PER_S)
#define BACKLOG_BYTES (1u << 20)	/* a connection is given no more events while so much of it waits to be written */

struct kernel_conn {
	int fd;				/* -1: it has ended */
	uint64_t offered, sent;		/* bytes */
	uint64_t acked;
	struct tcp_replies replies;
	bool shut;
};

struct kernel_run {
	const struct send_config *config;
	struct tcp_load *tcp;
	struct kernel_conn *conns;
	uint32_t count, turn;
	int epoll_fd;
	uint64_t lost;			/* connections that ended before their time */
	uint8_t piece[PIECE_BYTES];
};

static void
ask_acked(struct kernel_conn *c)
{
	struct tcp_info info;
	socklen_t len = sizeof info;
	memset(&info, 0, sizeof info);
	if (c->fd >= 0 && getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 && info.tcpi_bytes_acked) {
		uint64_t acked = info.tcpi_bytes_acked - 1;	/* the SYN */
		c->acked = acked < c->sent ? acked : c->sent;	/* nor the FIN */
	}
}

static void
conn_end(struct kernel_run *run, struct kernel_conn *c)
{
	ask_acked(c);
	close(c->fd);
	c->fd = -1;
	run->lost += !c->shut;
}

static uint64_t
outstanding(const struct kernel_run *run, const struct kernel_conn *c)
{
	return c->offered / run->tcp->unit_bytes - c->replies.good - c->replies.bad;
}

static bool
takes_more(const struct kernel_run *run, const struct kernel_conn *c)
{
	if (c->fd < 0 || c->offered - c->sent > BACKLOG_BYTES)
		return false;
	return run->tcp->kind != TCP_KIND_HTTP || outstanding(run, c) < run->config->pipeline;
}

static void
conn_send(struct kernel_run *run, struct kernel_conn *c)
{
	while (c->fd >= 0 && c->sent < c->offered) {
		uint32_t n = c->offered - c->sent < PIECE_BYTES ? (uint32_t)(c->offered - c->sent) : PIECE_BYTES;
		tcp_load_fill(run->tcp, (uint32_t)(c - run->conns), c->sent, run->piece, n);
		ssize_t did = send(c->fd, run->piece, n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (did < 0) {
			if (errno != EAGAIN && errno != EINTR)
				conn_end(run, c);
			return;
		}
		c->sent += (uint64_t)did;
		if ((uint32_t)did < n)
			return;
	}
}

static void
conn_read(struct kernel_run *run, struct kernel_conn *c)
{
	for (int i = 0; i < 16 && c->fd >= 0; i++) {
		ssize_t n = recv(c->fd, run->piece, PIECE_BYTES, MSG_DONTWAIT);
		if (n > 0)
			tcp_replies_take(run->tcp, &c->replies, run->piece, (uint32_t)n);
		else if (n == 0 || (errno != EAGAIN && errno != EINTR))
			conn_end(run, c);
		else
			return;
	}
}

static int
open_all(struct kernel_run *run, struct err *err)
{
	char host[64], service[8];
	uint16_t port;
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found = NULL;
	int rc = send_split(run->config->to, host, &port, err);
	if (rc)
		return rc;
	snprintf(service, sizeof service, "%u", port);
	rc = getaddrinfo(host, service, &hints, &found);
	if (rc)
		return err_set(err, EINVAL, "--to: %s: %s", run->config->to, gai_strerror(rc));
	for (uint32_t i = 0; i < run->count && !rc; i++) {
		struct kernel_conn *c = &run->conns[i];
		c->fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (c->fd < 0 || connect(c->fd, found->ai_addr, found->ai_addrlen) != 0)
			rc = err_set(err, errno, "--to: %s: %s", run->config->to, strerror(errno));
		struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.u32 = i };
		if (!rc && epoll_ctl(run->epoll_fd, EPOLL_CTL_ADD, c->fd, &event))
			rc = err_set(err, errno, "epoll: %s", strerror(errno));
	}
	freeaddrinfo(found);
	return rc;
}

static void
serve(struct kernel_run *run, int wait_ms)
{
	struct epoll_event events[64];
	int n = epoll_wait(run->epoll_fd, events, 64, wait_ms);
	for (int i = 0; i < n; i++) {
		struct kernel_conn *c = &run->conns[events[i].data.u32];
		if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
			conn_read(run, c);
		if (events[i].events & EPOLLOUT)
			conn_send(run, c);
	}
}

/* Gives out up to n events, to one connection after the other. */
static uint32_t
give(struct kernel_run *run, uint32_t n)
{
	uint32_t given = 0;
	for (uint32_t looked = 0; looked < run->count && given < n; looked++) {
		struct kernel_conn *c = &run->conns[run->turn];
		run->turn = run->turn + 1 == run->count ? 0 : run->turn + 1;
		if (!takes_more(run, c))
			continue;
		uint32_t some = run->tcp->kind == TCP_KIND_HTTP ? (uint32_t)(run->config->pipeline - outstanding(run, c)) : n - given;
		some = some < n - given ? some : n - given;
		c->offered += (uint64_t)some * run->tcp->unit_bytes;
		given += some;
		conn_send(run, c);
	}
	return given;
}

static bool
all_answered(struct kernel_run *run)
{
	bool all = true;
	for (uint32_t i = 0; i < run->count; i++) {
		struct kernel_conn *c = &run->conns[i];
		if (c->fd < 0)
			continue;
		ask_acked(c);
		if (c->sent < c->offered)
			all = false;
		else if (tcp_acked_events(run->tcp, c->acked, &c->replies) + c->replies.bad < c->offered / run->tcp->unit_bytes)
			all = false;
	}
	return all;
}

int
send_tcp_kernel(const struct send_config *config, struct tcp_load *tcp, struct pace *pace, struct send_result *result, struct err *err)
{
	struct kernel_run *run = calloc(1, sizeof *run);
	if (!run)
		return err_set(err, ENOMEM, "no memory");
	*run = (struct kernel_run){ .config = config, .tcp = tcp, .count = tcp->load->sources, .epoll_fd = epoll_create1(EPOLL_CLOEXEC) };
	run->conns = calloc(run->count, sizeof *run->conns);
	int rc = run->conns && run->epoll_fd >= 0 ? 0 : err_set(err, ENOMEM, "no memory for %u connections", run->count);
	for (uint32_t i = 0; run->conns && i < run->count; i++)
		run->conns[i].fd = -1;
	if (!rc)
		rc = open_all(run, err);
	uint64_t now_ns = clock_now_ns(&clock_system);
	pace_start(pace, now_ns);
	while (!rc && !*config->stop && run->lost < run->count) {
		now_ns = clock_now_ns(&clock_system);
		uint32_t n = pace_room(pace, now_ns, result->events, 256), given = 0;
		if (n == UINT32_MAX)
			break;
		if (n)
			given = give(run, n);
		result->events += given;
		serve(run, given ? 0 : 1);
		pace_tell(pace, now_ns, result->events);
	}
	uint64_t end_ns = now_ns + DRAIN_NS;
	while (!rc && !all_answered(run) && clock_now_ns(&clock_system) < end_ns)
		serve(run, 1);
	result->ns = clock_now_ns(&clock_system) - pace->start_ns;
	pace_end(pace);
	for (uint32_t i = 0; run->conns && i < run->count; i++) {
		struct kernel_conn *c = &run->conns[i];
		c->shut = true;
		if (c->fd >= 0)
			conn_end(run, c);
		result->last[i] = c->offered / tcp->unit_bytes;
		result->acked[i] = tcp_acked_events(tcp, c->acked, &c->replies);
		result->acked_events += result->acked[i];
		result->bytes += c->sent;
	}
	result->connections_lost = run->lost;
	if (run->epoll_fd >= 0)
		close(run->epoll_fd);
	free(run->conns);
	free(run);
	return rc;
}
