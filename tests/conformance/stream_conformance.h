/* stream_conformance: one body for every source of streams over every carrier: what a sender is promised, seen from the sender's side. */
#ifndef PENSTOCK_TESTS_STREAM_CONFORMANCE_H
#define PENSTOCK_TESTS_STREAM_CONFORMANCE_H

#include <sys/types.h>

#include "tests/lib/stream_rig.h"

/* One carrier with clients of its own. All calls on one thread; nothing sleeps: time goes on with `turn`. */
struct stream_case {
	const char *name;
	bool durable;			/* ACKs follow the durable edge */
	struct stream_rig rig;
	/* The rig with its source, listening. properties: without address and port. */
	void (*open)(struct stream_case *c, const struct source_ops *ops, const char *properties);
	void (*close)(struct stream_case *c);
	/* A millisecond (or `ns`), with the channel's writer or without. */
	void (*turn)(struct stream_case *c, bool write, uint64_t ns);
	int (*dial)(struct stream_case *c);		/* a client's number */
	ssize_t (*send)(struct stream_case *c, int client, const void *bytes, size_t len);	/* bytes taken, 0: none now, -errno */
	ssize_t (*recv)(struct stream_case *c, int client, void *bytes, size_t room);		/* > 0, 0: the end, -EAGAIN, -errno */
	void (*finish)(struct stream_case *c, int client);	/* FIN behind what was sent */
	void (*cut)(struct stream_case *c, int client);		/* RST; the client is no more */
	void (*drop)(struct stream_case *c, int client);	/* the client is no more */
	const struct stream_counters *(*counters)(struct stream_case *c);
	void *context;
};

/* Fails the cmocka test it is called from. */
void stream_conformance(struct stream_case *c);

#endif
