/* stream_tls: the TLS of one stream: its session, and which byte on the wire ends the record of which plaintext, so that what is durable in
 * plaintext can be acknowledged on the wire. Owner and thread: the stream's. */
#ifndef PENSTOCK_DATAPLANE_STREAM_TLS_H
#define PENSTOCK_DATAPLANE_STREAM_TLS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/tls.h"

/* A record that holds plaintext which is not durable yet: where it ends in plaintext and on the wire. */
struct tls_record {
	uint64_t plain, wire;
};

struct stream_tls {
	struct tls_session *session;
	struct tls_record *records;	/* a ring, oldest at first; kept only where the durable edge is wanted */
	uint32_t first, count, room;
	uint64_t plain, wire;		/* ends of the last whole record */
	uint64_t edge;			/* plaintext below it is durable */
	uint64_t begun, begun_ns;	/* where the record begins that was seen without its end, and when that was */
	bool established;
};

struct stream_tls *stream_tls_new(struct tls_server *server);	/* NULL: no memory */
void stream_tls_free(struct stream_tls *tls);			/* NULL is fine */
/* A whole record was read: it ends at `plain` and `wire`; keep: its end will be asked for. False: no memory. */
bool stream_tls_note(struct stream_tls *tls, uint64_t plain, uint64_t wire, bool keep);
/* How far the wire is durable when plaintext is up to `edge`: to the end of the last record that lies before it in whole; `durable` where none
 * ends anew. Forgets what lies before. */
uint64_t stream_tls_edge(struct stream_tls *tls, uint64_t edge, uint64_t durable);

#endif
