/* tcp_carrier: streams over the lcore's own TCP: what net/tcp's upcalls say becomes stream_feed, stream_eof and stream_end, and what a
 * stream asks for becomes conn_* calls. With edge durable the ACK follows stream->durable.
 *
 * Owner: control makes and frees them (the lcore is not running then). Thread: the lcore. */
#ifndef PENSTOCK_DATAPLANE_TCP_CARRIER_H
#define PENSTOCK_DATAPLANE_TCP_CARRIER_H

#include "dataplane/flows.h"
#include "dataplane/half_line.h"
#include "dataplane/net/tcp.h"
#include "dataplane/stream.h"

/* One (address, port) that a stream source listens on, on one lcore. */
struct tcp_listener {
	struct stream_listener listener;	/* first */
	struct address at;
	bool any;				/* every address */
	uint16_t next;				/* further ones of the same port; 0 none, else index + 1 */
	struct address_prefix *allow;		/* owned; listener.allow */
	uint32_t pool;
};

/* Listeners whose connections share what they may promise: those of sources with the same channels. */
struct tcp_credit_pool {
	uint64_t channels;			/* required ones, by slot */
	bool chunks;				/* its streams read on without credit and answer so */
	uint64_t bytes;				/* of credit, this turn */
};

/* All of one lcore: its streams on every port share them. */
struct tcp_listeners {
	uint16_t by_port[65536];		/* 0 none, else index + 1 */
	struct tcp_listener **list;
	uint32_t count;
	struct tcp_credit_pool pools[TCP_POOLS];
	uint32_t pool_count;
};

/* What becomes of stream sources on one port of one lcore. */
struct tcp_carrier {
	struct tcp *tcp;
	struct net *net;
	struct streams *streams;
	struct tcp_listeners *listeners;
	const struct address_prefix *allow;	/* senders of the port; borrowed, set after open */
	uint32_t allow_count;		/* 0: all */
	struct tcp_stream *slots;		/* mapped, touched when first used */
	uint32_t slots_max, slots_fresh;
	struct tcp_stream *free_first;
	struct tcp_stream *due_first;		/* reset by us and not yet ended, or to be read again */
	struct half_lines half_lines;
	bool hurry;				/* somebody waits for the open block: seal it this turn */
	struct metric_set metrics;
};

/* What the ACKs of a source's connections follow; refuses ack = durable where nothing could keep it. 0 or -EINVAL. */
int tcp_stream_edge(const struct pipeline *pipeline, const struct pipeline_source *source, const struct source_listen *where,
		    enum stream_edge *edge, struct err *err);

/* 0; -EADDRINUSE when a source listens there already; -EINVAL, -ENOMEM. */
int tcp_listeners_add(struct tcp_listeners *listeners, const struct address *at, const struct source_listen *where, const struct stream_limits *limits,
		      enum stream_edge edge, struct ingress_source *in, struct err *err);
void tcp_listeners_free(struct tcp_listeners *listeners);

/* component: of the metrics (the port's name); must live as long. */
int tcp_carrier_open(struct tcp_carrier *carrier, const struct tcp_config *config, struct net *net, struct streams *streams,
		     struct tcp_listeners *listeners, const char *component, struct err *err);
/* Streams that are still there end. */
void tcp_carrier_close(struct tcp_carrier *carrier);

/* After input, put and seal, with this turn's credit: what streams asked for, then ACKs, replies and timers. */
void tcp_carrier_turn(struct tcp_carrier *carrier, uint64_t now_ns);
/* Somebody asked for the open block to be sealed since the last call. */
bool tcp_carrier_hurry(struct tcp_carrier *carrier);

/* Each pool's credit: the bytes of free blocks that all its channels have, each channel's divided by the pools that need it and by `ports`, so that no
 * byte is promised out of two of them. Once a turn, before the ports' tcp_carrier_turn. */
void tcp_listeners_credit(struct tcp_listeners *listeners, const struct ingress *ingress, uint32_t ports);

/* The lcore: copies connections from query->cursor on; true when there may be more. */
bool tcp_carrier_flows(struct tcp_carrier *carrier, struct flow_query *query);

#endif
