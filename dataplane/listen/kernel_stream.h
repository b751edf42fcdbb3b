/* kernel_stream: streams over kernel sockets: the carrier of no NIC, or of addresses no dataplane port owns. Same on_bytes, same tickets; the kernel
 * acknowledges what it has received, so the edge is always `received`.
 * Owner: the source runner. Thread: open, listen and close on control, the rest on the runner's. */
#ifndef PENSTOCK_DATAPLANE_LISTEN_KERNEL_STREAM_H
#define PENSTOCK_DATAPLANE_LISTEN_KERNEL_STREAM_H

#include "dataplane/source/source.h"
#include "dataplane/flows.h"
#include "dataplane/stream.h"

#define KERNEL_STREAM_SEND_BYTES (256u << 10)	/* most bytes of replies that one connection holds */

struct kernel_stream;

struct kernel_stream_listen {
	int fd;
	bool armed;			/* in the epoll set */
	struct stream_listener listener;
	struct address at;
	struct address_prefix *allow;
};

struct kernel_streams {
	struct streams streams;
	int epoll_fd;			/* -1: none is listened on */
	struct kernel_stream_listen **listens;
	uint32_t listen_count;
	struct kernel_stream *all;	/* doubly linked */
	struct kernel_stream *dirty;	/* replies to be written, or to be ended, at the end of the turn */
	uint8_t *buffer;
	uint64_t refused_until_ns;	/* no descriptors: no accept before */
	bool stopping;
};

int kernel_streams_open(struct kernel_streams *ks, struct ingress *ingress, struct err *err);
/* Binds and listens. Errors name host, port and remedy. */
int kernel_streams_listen(struct kernel_streams *ks, const struct source_listen *where, struct ingress_source *in, struct err *err);
/* Accepts, reads, feeds. wait_ms 0. Returns how many sockets had something. After ingress_reap. */
uint32_t kernel_streams_step(struct kernel_streams *ks, uint64_t now_ns);
/* Writes the replies of this turn and ends what is to end. After ingress_reap and before sleeping. */
void kernel_streams_flush(struct kernel_streams *ks, uint64_t now_ns);
/* Most milliseconds to sleep: limits of connections are looked at by time. */
int kernel_streams_wait_ms(const struct kernel_streams *ks, int wait_ms);
/* No more connections, no more bytes: what is under way still ends and is answered. */
void kernel_streams_stop(struct kernel_streams *ks);
/* Nothing under way, nothing to send. */
bool kernel_streams_idle(const struct kernel_streams *ks);
void kernel_streams_close(struct kernel_streams *ks);
/* The runner's thread: copies connections from query->cursor on, and answers. */
void kernel_streams_flows(struct kernel_streams *streams, struct flow_query *query);

#endif
