#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "tools/trafficgen/send.h"

#define SOCKETS_MAX 16
#define BURST 64
#define SEND_BUFFER_BYTES (4 << 20)

int
send_split(const char *to, char *host, uint16_t *port, struct err *err)
{
	const char *colon = strrchr(to, ':');
	size_t len = colon ? (size_t)(colon - to) : 0;
	char *end = NULL;
	long number = colon ? strtol(colon + 1, &end, 10) : 0;
	if (!colon || !len || len > 63 || number < 1 || number > 65535 || *end)
		return err_set(err, EINVAL, "--to: %s: want ADDRESS:PORT or [ADDRESS]:PORT", to);
	if (to[0] == '[' && to[len - 1] == ']') {
		to++;
		len -= 2;
	}
	memcpy(host, to, len);
	host[len] = 0;
	*port = (uint16_t)number;
	return 0;
}

static int
open_sockets(int *sockets, uint32_t count, const char *to, struct err *err)
{
	char host[64], service[8];
	uint16_t port;
	struct addrinfo hints = { .ai_socktype = SOCK_DGRAM }, *found = NULL;
	int rc = send_split(to, host, &port, err);
	if (rc)
		return rc;
	snprintf(service, sizeof service, "%u", port);
	rc = getaddrinfo(host, service, &hints, &found);
	if (rc)
		return err_set(err, EINVAL, "--to: %s: %s", to, gai_strerror(rc));
	for (uint32_t i = 0; i < count; i++) {
		int bytes = SEND_BUFFER_BYTES;
		sockets[i] = socket(found->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		if (sockets[i] < 0 || connect(sockets[i], found->ai_addr, found->ai_addrlen) != 0) {
			rc = err_set(err, errno, "--to: %s: %s", to, strerror(errno));
			break;
		}
		(void)setsockopt(sockets[i], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
	}
	freeaddrinfo(found);
	return rc;
}

/* Sends n messages through one socket; what the kernel cannot take now is tried again until it can. */
static int
send_burst(int fd, struct mmsghdr *messages, uint32_t n, const volatile sig_atomic_t *stop, uint32_t *sent, uint64_t *retries)
{
	*sent = 0;
	while (*sent < n) {
		int did = sendmmsg(fd, messages + *sent, n - *sent, 0);
		if (did > 0) {
			*sent += (uint32_t)did;
			continue;
		}
		if (errno == ECONNREFUSED || errno == ENOBUFS || errno == EAGAIN || errno == EINTR) {
			/* Refused tells of an earlier datagram that found nobody; this one has not gone yet. */
			if (*stop)
				return 0;
			++*retries;
			sched_yield();
			continue;
		}
		return -errno;
	}
	return 0;
}

int
send_kernel(const struct send_config *config, struct load *load, struct pace *pace, struct send_result *result, struct err *err)
{
	int sockets[SOCKETS_MAX];
	struct mmsghdr messages[BURST];
	struct iovec parts[BURST];
	uint32_t socket_count = load->sources < SOCKETS_MAX ? load->sources : SOCKETS_MAX, turn = 0;
	memset(messages, 0, sizeof messages);
	memset(sockets, -1, sizeof sockets);
	for (uint32_t i = 0; i < BURST; i++) {
		messages[i].msg_hdr.msg_iov = &parts[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	int rc = open_sockets(sockets, socket_count, config->to, err);
	uint64_t now_ns = clock_now_ns(&clock_system);
	pace_start(pace, now_ns);
	while (!rc && !*config->stop) {
		now_ns = clock_now_ns(&clock_system);
		uint32_t n = pace_room(pace, now_ns, result->events, BURST), sent;
		if (n == UINT32_MAX)
			break;
		if (n == 0) {
			pace_wait(pace, now_ns, result->events, BURST);
			continue;
		}
		uint64_t bytes = 0;
		for (uint32_t i = 0; i < n; i++) {
			const struct load_message *message = load_next(load);
			parts[i] = (struct iovec){ message->bytes, message->len };
		}
		rc = send_burst(sockets[turn++ % socket_count], messages, n, config->stop, &sent, &result->retries);
		for (uint32_t i = 0; i < sent; i++)
			bytes += parts[i].iov_len;
		load_back(load, n - sent);
		result->events += sent;
		result->frames += sent;
		result->bytes += bytes;
		if (rc)
			rc = err_set(err, -rc, "%s: sending: %s", config->to, strerror(-rc));
		pace_tell(pace, now_ns, result->events);
		sched_yield();
	}
	result->ns = clock_now_ns(&clock_system) - pace->start_ns;
	pace_end(pace);
	for (uint32_t i = 0; i < socket_count; i++)
		if (sockets[i] >= 0)
			close(sockets[i]);
	return rc;
}
