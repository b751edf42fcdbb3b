/* kernel_listen: datagrams over kernel sockets: no NIC, or addresses no dataplane port owns. Same sources, same ingress.
 * Owner: the source runner. Thread: open and close on control, the rest on the runner's. */
#ifndef PENSTOCK_DATAPLANE_LISTEN_KERNEL_LISTEN_H
#define PENSTOCK_DATAPLANE_LISTEN_KERNEL_LISTEN_H

#include "dataplane/listeners.h"

/* Kind LISTEN: datagrams_in = to_source + each drop_*; datagrams the socket's buffer had no room for (SO_RXQ_OVFL) are in both. */
struct kernel_listen_counters {
	struct counter datagrams_in, to_source, drop_rcvbuf, drop_sender_not_allowed, drop_truncated, bytes_in, receive_errors;
};

struct kernel_listen {
	int fd;
	struct listener listener;
	struct address at;
	uint32_t overflow_seen;		/* SO_RXQ_OVFL, a 32-bit count since the socket was made */
	struct kernel_listen_counters counters;
	struct metric_set metrics;
};

/* Binds host (address, name, NULL: all, IPv4 and IPv6) and port. Errors name host, port and remedy (a port below 1024 without the right). */
int kernel_listen_open(struct kernel_listen *listen, const struct source_listen *where, struct ingress_source *in, struct err *err);
/* Takes what is there, one recvmmsg's worth. Returns the datagrams received. */
uint32_t kernel_listen_receive(struct kernel_listen *listen);
void kernel_listen_close(struct kernel_listen *listen);

/* Buffers of one receive, shared by the listens of a runner. */
int kernel_listen_buffers_init(void);
void kernel_listen_buffers_free(void);	/* the thread receives no more */

#endif
