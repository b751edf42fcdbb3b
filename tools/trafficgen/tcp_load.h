/* tcp_load: the load as streams of bytes, one connection for each source: event n of a source is the n-th unit of its stream, so any byte of it can be
 * made again at any time and nothing that was sent is kept. And what comes back: how many events are acknowledged.
 *
 * A unit is a message and a line feed (syslog-tcp, netcat-tcp), or a whole POST with one event (http). An event of syslog-tcp is acknowledged when TCP has
 * acknowledged the last byte of its unit; one of netcat-tcp by its OK, one of http by its 200. One owner, one thread. */
#ifndef PENSTOCK_TOOLS_TRAFFICGEN_TCP_LOAD_H
#define PENSTOCK_TOOLS_TRAFFICGEN_TCP_LOAD_H

#include "base/err.h"
#include "tools/trafficgen/load.h"

enum tcp_kind { TCP_KIND_SYSLOG, TCP_KIND_NETCAT, TCP_KIND_HTTP };

struct tcp_load {
	struct load *load;
	enum tcp_kind kind;
	char head[256];			/* of a POST */
	uint32_t head_bytes, tail_bytes, unit_bytes;
	const char *tail;
	uint32_t good_reply_bytes;	/* 0: none was seen yet */
	uint8_t good_reply[256];	/* the last 200 that came in one piece: most are its equals */
};

/* -EINVAL: messages of different lengths, or with bytes that JSON would write otherwise. */
int tcp_load_open(struct tcp_load *tcp, struct load *load, enum tcp_kind kind, const char *to, struct err *err);
/* Bytes [offset, offset + len) of a source's stream. */
void tcp_load_fill(const struct tcp_load *tcp, uint32_t source, uint64_t offset, uint8_t *out, uint32_t len);

/* What a connection has been answered. */
struct tcp_replies {
	uint64_t good, bad;		/* OKs or 200s; other answers */
	uint32_t line_len, skip, length;
	int status;
	bool within;			/* an answer has begun */
	char line[64];			/* the beginning of the line under way */
};
void tcp_replies_take(struct tcp_load *tcp, struct tcp_replies *replies, const uint8_t *bytes, uint32_t len);

/* Events acknowledged, given the bytes of the stream that TCP has acknowledged. */
static inline uint64_t
tcp_acked_events(const struct tcp_load *tcp, uint64_t acked_bytes, const struct tcp_replies *replies)
{
	return tcp->kind == TCP_KIND_SYSLOG ? acked_bytes / tcp->unit_bytes : replies->good;
}

#endif
