#include "dataplane/listen/kernel_listen.h"

#include <errno.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"

#define BURST 64
#define DATAGRAM_BYTES 65536
#define RECEIVE_BUFFER_BYTES (32 << 20)	/* asked for; the kernel gives what net.core.rmem_max allows, root gets it all */

static const struct metric metrics[] = {
	{ "datagrams_in", METRIC_COUNTER, offsetof(struct kernel_listen_counters, datagrams_in), "datagrams", "Datagrams that reached the socket." },
	{ "to_source", METRIC_COUNTER, offsetof(struct kernel_listen_counters, to_source), "datagrams", "Datagrams handed to the source." },
	{ "drop_rcvbuf", METRIC_COUNTER, offsetof(struct kernel_listen_counters, drop_rcvbuf), "datagrams", "Datagrams the socket's buffer had no room for." },
	{ "drop_sender_not_allowed", METRIC_COUNTER, offsetof(struct kernel_listen_counters, drop_sender_not_allowed), "datagrams",
	  "Datagrams of senders outside penstock.allow." },
	{ "drop_truncated", METRIC_COUNTER, offsetof(struct kernel_listen_counters, drop_truncated), "datagrams", "Datagrams longer than 65535 bytes." },
	{ "bytes_in", METRIC_COUNTER, offsetof(struct kernel_listen_counters, bytes_in), "bytes", "Payload bytes received." },
	{ "receive_errors", METRIC_COUNTER, offsetof(struct kernel_listen_counters, receive_errors), "errors", "Errors the socket reported." },
};

/* One runner a process has all kernel listeners, so the buffers are the thread's. */
static _Thread_local struct buffers {
	struct mmsghdr messages[BURST];
	struct iovec iov[BURST];
	struct sockaddr_storage from[BURST];
	uint8_t control[BURST][64];
	uint8_t *bytes;
} *buffers;

int
kernel_listen_buffers_init(void)
{
	if (buffers)
		return 0;
	buffers = calloc(1, sizeof *buffers);
	if (!buffers || !(buffers->bytes = malloc((size_t)BURST * DATAGRAM_BYTES)))
		return -ENOMEM;
	for (int i = 0; i < BURST; i++) {
		buffers->iov[i] = (struct iovec){ buffers->bytes + (size_t)i * DATAGRAM_BYTES, DATAGRAM_BYTES };
		buffers->messages[i].msg_hdr = (struct msghdr){ .msg_name = &buffers->from[i], .msg_iov = &buffers->iov[i], .msg_iovlen = 1,
								.msg_control = buffers->control[i] };
	}
	return 0;
}

void
kernel_listen_buffers_free(void)
{
	if (!buffers)
		return;
	free(buffers->bytes);
	free(buffers);
	buffers = NULL;
}

static int
bind_one(const struct addrinfo *ai, const struct source_listen *where, struct err *err)
{
	const char *host = where->host ? where->host : "all addresses";
	int fd = socket(ai->ai_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_set(err, errno, "cannot make a UDP socket: %s", strerror(errno));
	int off = 0, on = 1, bytes = RECEIVE_BUFFER_BYTES;
	if (ai->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes))
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
	setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof on);
	/* A kernel without it says ENOPROTOOPT: datagrams come one by one. */
	if (where->gro && setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof on) && errno != ENOPROTOOPT) {
		int errnum = errno;
		close(fd);
		return err_set(err, errnum, "UDP port %u on %s: penstock.gro: %s", where->port, host, strerror(errnum));
	}
	if (bind(fd, ai->ai_addr, ai->ai_addrlen)) {
		int errnum = errno;
		close(fd);
		if (errnum == EACCES)
			return err_set(err, errnum, "UDP port %u on %s: ports below 1024 need a right this process does not have: use a port above 1023, "
				       "or give it CAP_NET_BIND_SERVICE (setcap cap_net_bind_service+ep)", where->port, host);
		if (errnum == EADDRINUSE)
			return err_set(err, errnum, "UDP port %u on %s is in use by another process: stop it (ss -lunp shows it) or choose another port",
				       where->port, host);
		if (errnum == EADDRNOTAVAIL)
			return err_set(err, errnum, "%s is no address of this machine: use one of `ip address`, or 0.0.0.0", host);
		return err_set(err, errnum, "UDP port %u on %s: %s", where->port, host, strerror(errnum));
	}
	return fd;
}

/* A socket bound to a multicast address gets nothing before the group is joined. */
static int
join_group(int fd, const struct address *group, const struct source_listen *where, struct err *err)
{
	unsigned index = where->interface ? if_nametoindex(where->interface) : 0;
	int rc;
	if (where->interface && !index)
		return err_set(err, ENODEV, "penstock.interface: there is no network interface \"%s\": `ip link` shows them", where->interface);
	if (address_is_v4(group)) {
		struct ip_mreqn mreq = { .imr_ifindex = (int)index };
		memcpy(&mreq.imr_multiaddr, group->ip + 12, 4);
		rc = setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &mreq, sizeof mreq);
	} else {
		struct ipv6_mreq mreq = { .ipv6mr_interface = index };
		memcpy(&mreq.ipv6mr_multiaddr, group->ip, 16);
		rc = setsockopt(fd, IPPROTO_IPV6, IPV6_JOIN_GROUP, &mreq, sizeof mreq);
	}
	if (rc == 0)
		return 0;
	if (errno == ENODEV && !index)
		return err_set(err, ENODEV, "group %s cannot be joined: no route says on which interface: set penstock.interface", where->host);
	return err_set(err, errno, "group %s cannot be joined%s%s: %s", where->host, index ? " on " : "", index ? where->interface : "", strerror(errno));
}

int
kernel_listen_open(struct kernel_listen *listen, const struct source_listen *where, struct ingress_source *in, struct err *err)
{
	*listen = (struct kernel_listen){ .fd = -1, .listener.in = in };
	char port[8];
	snprintf(port, sizeof port, "%u", where->port);
	bool all = !where->host || strcmp(where->host, "0.0.0.0") == 0 || strcmp(where->host, "::") == 0;
	struct addrinfo hints = { .ai_socktype = SOCK_DGRAM, .ai_flags = AI_PASSIVE, .ai_family = all ? AF_INET6 : AF_UNSPEC }, *list = NULL;
	int rc = getaddrinfo(all ? "::" : where->host, port, &hints, &list);
	if (rc)
		return err_set(err, EINVAL, "sources.%s: \"%s\" cannot be resolved (%s): give an address of this machine", in->spec->name,
			       where->host ? where->host : "::", gai_strerror(rc));
	int fd = bind_one(list, where, err);
	if (fd < 0 && all) {	/* a machine without IPv6 */
		struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons((uint16_t)where->port) };
		struct addrinfo ai = { .ai_family = AF_INET, .ai_addr = (struct sockaddr *)&v4, .ai_addrlen = sizeof v4 };
		if (fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL)
			fd = bind_one(&ai, where, err);
	}
	freeaddrinfo(list);
	if (fd < 0)
		return err_prefix(err, fd, "sources.%s", in->spec->name);
	listen->fd = fd;
	if (where->allow.count) {
		listen->listener.allow = calloc(where->allow.count, sizeof *listen->listener.allow);
		for (size_t i = 0; listen->listener.allow && i < where->allow.count; i++)
			address_parse_prefix(&listen->listener.allow[listen->listener.allow_count++], where->allow.items[i]);
	}
	struct sockaddr_storage bound;
	socklen_t bound_len = sizeof bound;
	if (getsockname(fd, (struct sockaddr *)&bound, &bound_len) == 0)
		address_from_sockaddr(&listen->at, (const struct sockaddr *)&bound);
	if (address_is_group(&listen->at) && (rc = join_group(fd, &listen->at, where, err)) != 0) {
		close(fd);
		listen->fd = -1;
		return err_prefix(err, rc, "sources.%s", in->spec->name);
	}
	listen->metrics = (struct metric_set){ .kind = "LISTEN", .component = in->spec->name, .metrics = metrics,
					       .count = sizeof metrics / sizeof *metrics, .counters = &listen->counters };
	metrics_add(&listen->metrics);
	return 0;
}

/* What the kernel says beside a message: overflows of the socket so far, and the length of a train's datagrams (0: no train). */
static uint32_t
read_control(struct kernel_listen *listen, struct msghdr *header)
{
	int train = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
		if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO)
			memcpy(&train, CMSG_DATA(c), sizeof train);
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SO_RXQ_OVFL)
			continue;
		uint32_t overflow;
		memcpy(&overflow, CMSG_DATA(c), sizeof overflow);
		uint32_t more = overflow - listen->overflow_seen;
		listen->overflow_seen = overflow;
		counter_add(&listen->counters.drop_rcvbuf, more);
		counter_add(&listen->counters.datagrams_in, more);
	}
	return train > 0 ? (uint32_t)train : 0;
}

uint32_t
kernel_listen_receive(struct kernel_listen *listen)
{
	for (int i = 0; i < BURST; i++) {
		buffers->messages[i].msg_hdr.msg_namelen = sizeof buffers->from[i];
		buffers->messages[i].msg_hdr.msg_controllen = sizeof buffers->control[i];
		buffers->messages[i].msg_hdr.msg_flags = 0;
	}
	int n = recvmmsg(listen->fd, buffers->messages, BURST, MSG_DONTWAIT, NULL);
	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			counter_add(&listen->counters.receive_errors, 1);
		return 0;
	}
	struct ingress_source *in = listen->listener.in;
	in->ingress->wall_ns = clock_wall_ns(in->ingress->clock);
	for (int i = 0; i < n; i++) {
		struct msghdr *header = &buffers->messages[i].msg_hdr;
		struct datagram dg = { .bytes = buffers->iov[i].iov_base, .len = buffers->messages[i].msg_len, .to = listen->at,
				       .time_ns = in->ingress->wall_ns };
		address_from_sockaddr(&dg.from, (const struct sockaddr *)&buffers->from[i]);
		uint32_t left = dg.len, train = read_control(listen, header), count = train && left > train ? (left + train - 1) / train : 1;
		counter_add(&listen->counters.datagrams_in, count);
		counter_add(&listen->counters.bytes_in, dg.len);
		if (header->msg_flags & MSG_TRUNC) {
			counter_add(&listen->counters.drop_truncated, count);
			continue;
		}
		if (!listener_allows(&listen->listener, &dg.from)) {
			counter_add(&listen->counters.drop_sender_not_allowed, count);
			continue;
		}
		counter_add(&listen->counters.to_source, count);
		for (; count; count--, dg.bytes += dg.len, left -= dg.len) {
			dg.len = count > 1 ? train : left;	/* all of one length but the last */
			in->spec->ops->on_datagram(in->self, &dg);
		}
	}
	return (uint32_t)n;
}

void
kernel_listen_close(struct kernel_listen *listen)
{
	if (listen->fd < 0)
		return;
	metrics_remove(&listen->metrics);
	close(listen->fd);
	free(listen->listener.allow);
	listen->fd = -1;
}
