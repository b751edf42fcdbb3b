#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/udp.h>
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
#define SEGMENTS_BYTES 65000u		/* of one segmented send */
#define SEGMENT_BYTES_MAX 1400u		/* longer ones may not fit the wire, where a segment must not be a fragment */

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

/* Messages of one length go out as one segmented send: the kernel walks its stack once for the burst, and cuts it into the same datagrams
 * where the receiver (or the wire) takes nothing else. A kernel or an address that does not know it: 0, and never again. */
static int
send_segmented(int fd, struct iovec *parts, uint32_t n, const volatile sig_atomic_t *stop, uint64_t *retries)
{
	union {
		struct cmsghdr header;
		uint8_t bytes[CMSG_SPACE(sizeof(uint16_t))];
	} control = { { 0 } };
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = n, .msg_control = &control, .msg_controllen = sizeof control };
	uint16_t segment = (uint16_t)parts[0].iov_len;
	struct cmsghdr *c = CMSG_FIRSTHDR(&message);
	c->cmsg_level = IPPROTO_UDP;
	c->cmsg_type = UDP_SEGMENT;
	c->cmsg_len = CMSG_LEN(sizeof segment);
	memcpy(CMSG_DATA(c), &segment, sizeof segment);
	while (sendmsg(fd, &message, 0) < 0) {
		if (errno != ECONNREFUSED && errno != ENOBUFS && errno != EAGAIN && errno != EINTR)
			return errno == EINVAL || errno == EMSGSIZE || errno == EIO || errno == ENOPROTOOPT ? 0 : -errno;
		if (*stop)
			return 0;
		++*retries;
		sched_yield();
	}
	return (int)n;
}

/* How many messages of the load one segmented send may carry; 1: lengths differ, or too long. */
static uint32_t
segments_of(const struct load *load)
{
	uint32_t len = load->messages[0].len, n = len ? SEGMENTS_BYTES / len : 1;
	for (uint32_t i = 1; i < load->message_count; i++)
		if (load->messages[i].len != len)
			return 1;
	return n < 1 || len > SEGMENT_BYTES_MAX ? 1 : n > BURST ? BURST : n;
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
	uint32_t segments = segments_of(load);
	int rc = open_sockets(sockets, socket_count, config->to, err);
	uint64_t now_ns = clock_now_ns(&clock_system);
	pace_start(pace, now_ns);
	while (!rc && !*config->stop) {
		now_ns = clock_now_ns(&clock_system);
		uint32_t n = pace_room(pace, now_ns, result->events, BURST), sent = 0;
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
		int fd = sockets[turn++ % socket_count];
		while (segments > 1 && sent < n && rc >= 0) {
			uint32_t some = n - sent < segments ? n - sent : segments;
			rc = send_segmented(fd, parts + sent, some, config->stop, &result->retries);
			sent += rc > 0 ? (uint32_t)rc : 0;
			if (rc == 0)
				segments = 1;
		}
		if (rc >= 0 && sent < n) {
			uint32_t more;
			rc = send_burst(fd, messages + sent, n - sent, config->stop, &more, &result->retries);
			sent += more;
		}
		rc = rc < 0 ? rc : 0;
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
