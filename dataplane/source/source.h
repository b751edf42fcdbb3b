/* source: makes events of bytes. Who brings the bytes (an lcore, a kernel socket, the source itself) is not its business.
 *
 * Threads: check on control; all else on the thread of the ingress the instance belongs to (one instance per source and ingress). */
#ifndef PENSTOCK_DATAPLANE_SOURCE_SOURCE_H
#define PENSTOCK_DATAPLANE_SOURCE_SOURCE_H

#include "base/address.h"
#include "base/err.h"
#include "base/event.h"
#include "base/option.h"

struct ingress_source;
struct stream_options;

struct datagram {
	const uint8_t *bytes;
	uint32_t len;
	struct address from, to;
	uint64_t time_ns;	/* wall time of receipt */
};

#define SOURCE_LISTENS_MAX 256

/* Where a source wants its bytes from. */
struct source_listen {
	const char *host;	/* as configured: address, name, or NULL for all */
	uint32_t port;
	bool datagram;		/* else a stream */
	struct option_list allow;	/* allowed sender prefixes; none: all */
	const char *port_allow;		/* the same for this port alone, separated by blanks; NULL: `allow` */
	bool gro;		/* kernel sockets: UDP_GRO */
	const char *interface;	/* kernel sockets: where the group that host is gets joined; NULL: the kernel chooses */
	const struct stream_options *stream;	/* streams: limits and what is promised */
	uint64_t idle_ns;		/* instead of stream->idle_ns, when set */
	bool tickets;			/* TLS sessions may be resumed: no senders that write and close at once */
	bool replies;			/* its reply is the promise: ack = auto means received */
	bool answers_full;		/* reads on when a channel is full, and answers so */
};

struct stream;

struct source_ops {
	const char *name;
	const char *class_names;
	const char *help;
	const struct option *options;
	size_t config_size;
	int (*check)(const void *config, const char *name, struct err *err);
	uint32_t (*batch_events)(const void *config);	/* NULL: none exposed */
	/* Fills up to max; returns how many there are. NULL for polled sources. */
	uint32_t (*listens)(const void *config, struct source_listen *listens, uint32_t max);
	int (*open)(void **source, const void *config, struct ingress_source *in, struct err *err);
	void (*on_datagram)(void *source, const struct datagram *datagram);
	/* Streams (dataplane/stream.h). Bytes eaten, whole frames only: the rest is offered again with more behind it; -errno to reset. last: no more will
	 * come, len may be 0. Stops at a frame it has no credit for (ingress_ready), after stream_wait. */
	int64_t (*on_bytes)(void *source, struct stream *stream, const uint8_t *bytes, uint32_t len, bool last);
	size_t stream_bytes;		/* of state per connection */
	/* Connections that outlive the process: what beside the unfinished frame the source knows of one, 0 for a new one; and to set it again, behind
	 * on_open. Without these its connections end with the process. */
	uint32_t (*stream_state)(const struct stream *stream);
	void (*stream_state_set)(struct stream *stream, uint32_t state);
	/* The beginning of a frame whose end a killed process did not get, and nobody will send: an event of it, flagged as incomplete. NULL: no credit.
	 * Without this operation its body is the bytes as they came. */
	struct event *(*on_fragment)(void *source, const struct address *from, const struct address *to, const uint8_t *bytes, uint32_t len);
	void (*on_open)(void *source, struct stream *stream);
	/* A ticket of the stream has ended, in order; stream NULL: it has ended, or no reply can be sent: free what the cookie names. NULL: status < 0
	 * resets the stream. */
	void (*on_settled)(void *source, struct stream *stream, uint64_t cookie, int status);
	void (*on_close)(void *source, struct stream *stream);
	/* Polled: room in events, may be 0 (keep sessions alive, bring nothing); returns events brought, or -errno. */
	int (*poll)(void *source, uint32_t room);
	void (*ack)(void *source, uint64_t cookie, int status);	/* status < 0: rewind to the ticket */
	bool (*quiesce)(void *source, uint64_t key);		/* true when all tickets of the key are settled */
	void (*close)(void *source);
};

/* The sender prefixes of one listener, *allow the caller's to free (NULL: all senders). 0, -EINVAL with the bad one named, -ENOMEM. Control. */
int source_listen_allow(const struct source_listen *where, const char *source, struct address_prefix **allow, uint32_t *count, struct err *err);
/* Every sender prefix of penstock.allow can be read. 0 or -EINVAL. Control. */
int source_allow_check(const struct option_list *allow, const char *source, struct err *err);

extern const struct source_ops source_syslogudp, source_netcatudp, source_syslogtcp, source_multiport_syslogtcp, source_netcat, source_http;
extern const struct source_ops *const source_kinds[];	/* NULL terminated */

#endif
