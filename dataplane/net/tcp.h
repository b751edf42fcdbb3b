/* tcp: the accepting side of TCP on one lcore and port: RFC 9293, 5961, 7323, 2018, 6298. Receive heavy: replies are small.
 *
 * Two edges. `received` is what came in order; `durable` is what the user of the connection says may be acknowledged
 * (conn_durable). Whether an ACK goes by the one or the other is the connection's mode; docs/ack-path.md has the table.
 *
 * Owner:  control opens and closes it. Thread: the lcore, all calls and upcalls; control may read the counters.
 * Memory: connections and chunks are fixed numbers, mapped at open and touched when first used; nothing is allocated after. */
#ifndef PENSTOCK_DATAPLANE_NET_TCP_H
#define PENSTOCK_DATAPLANE_NET_TCP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/address.h"
#include "base/counter.h"
#include "base/err.h"
#include "dataplane/drop.h"

struct net;
struct tcp;
struct tcp_group;
struct conn;

enum tcp_state {	/* TCP_CLOSED: a slot in the free list */
	TCP_CLOSED, TCP_SYN_RECEIVED, TCP_ESTABLISHED, TCP_CLOSE_WAIT, TCP_LAST_ACK, TCP_FIN_WAIT_1, TCP_FIN_WAIT_2, TCP_CLOSING, TCP_TIME_WAIT,
	TCP_STATE_COUNT
};
extern const char *const tcp_state_name[TCP_STATE_COUNT];

/* What stands above a connection. All on the lcore. */
struct tcp_user {
	/* Who listens at `to` for `from`: DROP_NONE and *listener, DROP_NO_LISTENER (answered with RST) or DROP_SENDER_NOT_ALLOWED. */
	enum drop (*listen)(void *context, const struct address *from, const struct address *to, void **listener);
	/* The handshake is complete. Returns what the other upcalls get; NULL refuses: the peer gets a RST. conn_ack_durable is set here. */
	void *(*accept)(void *context, struct conn *conn, void *listener);
	/* The next bytes in order, gone when it returns. Returns how many were taken; the rest waits in chunks for conn_resume. May call
	 * the conn_* functions, conn_reset among them. */
	uint32_t (*bytes)(void *stream, const uint8_t *bytes, uint32_t len);
	/* The peer sends no more (its FIN came behind the last byte). Once. */
	void (*finished)(void *stream);
	/* The peer acknowledges; there may be room for more. taken: bytes that it had not acknowledged before, or none are left that it has not. May
	 * be NULL. */
	void (*sent)(void *stream, bool taken);
	/* Bytes wait to be acknowledged, and a hole is behind them or they came again: seal the open block. May be NULL. */
	void (*hurry)(void *stream);
	/* The connection is over (or in TIME-WAIT, which needs no user): conn must not be used again. 0, -ECONNRESET, -ETIMEDOUT. Once. */
	void (*gone)(void *stream, int why);
	/* Nothing of what it took waits for a commit: what is not durable is the beginning of a frame. Such bytes are not acknowledged, but no commit
	 * will do it either, so a hole behind them is told about at once. May be NULL: never so. */
	bool (*settled)(void *stream);
	/* How many bytes it would take now; bounds the window. May be NULL: no bound. */
	uint32_t (*room)(void *stream);
	/* Whose credit the windows of connections to `to` promise: below TCP_POOLS. May be NULL: all one pool, 0. */
	uint32_t (*pool)(void *context, const struct address *to);
};

struct tcp_config {
	uint32_t connections_max;	/* 0: TCP_CONNECTIONS_DEFAULT */
	uint32_t chunks;		/* 0: TCP_CHUNKS_DEFAULT; for bytes out of order, bytes not yet read, and replies */
	uint32_t half_open_max;		/* 0: TCP_HALF_OPEN_DEFAULT; beyond it SYN cookies */
	uint32_t window_max;		/* bytes; 0: TCP_WINDOW_DEFAULT */
	uint32_t queue_chunks_max;	/* of one connection, received; 0: TCP_QUEUE_CHUNKS_MAX */
	uint64_t half_open_ns;		/* from SYN to the handshake's end; 0: TCP_HALF_OPEN_NS */
	uint64_t keepalive_ns;		/* silence before the first probe; 0: TCP_KEEPALIVE_NS */
	uint64_t secret[2];		/* of hashes, sequence numbers and cookies; 0: random; of no use in a group */
	struct tcp_group *group;	/* NULL: one lcore has the port to itself */
	uint32_t member;		/* this one's number in it */
};

#define TCP_CONNECTIONS_DEFAULT (128u << 10)
#define TCP_CHUNKS_DEFAULT (16u << 10)
#define TCP_HALF_OPEN_DEFAULT 1024u
#define TCP_CHUNK_BYTES 2048u		/* memory of a chunk, at most */
#define TCP_WINDOW_DEFAULT (2u << 20)
#define TCP_WINDOW_IDLE 16384u		/* offered to a connection that has shown no use yet */
#define TCP_WINDOW_MULTIPLE 8u		/* sum of a pool's advertised windows <= this times its credit */
#define TCP_POOLS 16u
#define TCP_IDLE_MULTIPLE 64u		/* windows of idle connections count divided by it */
#define TCP_IDLE_NS (UINT64_C(10) * 1000 * 1000 * 1000)	/* nothing heard for so long */
#define TCP_QUEUE_CHUNKS_MAX 1024u
#define TCP_SEND_BYTES_MAX (128u << 10)	/* of one connection, not yet acknowledged by the peer */
#define TCP_HALF_OPEN_NS (UINT64_C(30) * 1000 * 1000 * 1000)
#define TCP_KEEPALIVE_NS (UINT64_C(600) * 1000 * 1000 * 1000)
#define TCP_STALL_NS (UINT64_C(100) * 1000 * 1000)	/* a commit older than this: retransmissions are answered with window 0 */

struct tcp_counters {
	struct counter opened, accepted, refused;	/* SYNs answered; handshakes completed; not taken by a source */
	struct counter cookies_sent, cookies_good, cookies_bad;
	struct counter resets_sent, resets_received, timeouts;
	struct counter segments, bytes;			/* with data that was new */
	struct counter reneged;				/* chunks behind a hole that went for what fills it */
	struct counter cut_short;			/* segments whose end found no memory */
	struct counter out_of_order, duplicates;	/* segments queued; segments all of whose bytes had come */
	struct counter acks_sent, retransmits, challenge_acks, window_zero;
	struct counter resumed;				/* connections of an earlier process that go on */
	struct counter held;				/* retransmissions left unanswered while a commit is due */
	struct counter handed_over;			/* segments of another lcore's connection, given to it */
	struct counter connections, half_open, time_wait, chunks_used, promised, promised_idle;	/* gauges */
};
extern const struct metric tcp_metrics[];
extern const uint32_t tcp_metric_count;

/* net gives it every TCP segment for our addresses; it must outlive the tcp. */
struct tcp *tcp_open(const struct tcp_config *config, struct net *net, const struct tcp_user *user, void *context, struct err *err);
void tcp_close(struct tcp *tcp);	/* users get no upcall; NULL is allowed */
struct tcp_counters *tcp_counters(struct tcp *tcp);

/* Every turn, after input: timers that are due, ACKs and data that became due, windows that may open again. */
void tcp_turn(struct tcp *tcp, uint64_t now_ns);
/* Bytes of free block credit behind the connections of a pool. 0: its channel is full. Where `chunks`, those of the pool that are free may be promised all
 * the same: its streams take bytes without credit, to answer that there is none; their equal share when there are several such pools. */
void tcp_credit(struct tcp *tcp, uint32_t pool, uint64_t bytes, bool chunks);
/* All connections to `own` port are reset (its listener went); 0: all of them. */
void tcp_reset_all(struct tcp *tcp, uint16_t own_port);

/* --- one connection --- */
/* ACKs follow conn_durable (true) or what was received (false, at first). In accept only. */
void conn_ack_durable(struct conn *conn, bool durable);
/* All bytes before `offset` (counted from the first of the stream) may be acknowledged. Only grows. */
void conn_durable(struct conn *conn, uint64_t offset);
/* The user takes bytes again. */
void conn_resume(struct conn *conn);
/* Queues a copy of what fits; returns how much. It leaves at the next tcp_turn. */
uint32_t conn_send(struct conn *conn, const void *bytes, uint32_t len);
uint32_t conn_send_room(const struct conn *conn);
/* No more will be sent: FIN after what is queued. Bytes still come in. */
void conn_finish(struct conn *conn);
/* RST. gone is not called: the caller knows. */
void conn_reset(struct conn *conn);
void conn_addresses(const struct conn *conn, struct address *from, struct address *to);
uint64_t conn_received(const struct conn *conn);	/* bytes handed to `bytes` and taken */

/* --- connections that outlive the process: durable mode, nothing of ours ever sent --- */
struct tcp_resume {		/* as it lies in the log: little-endian, no gaps */
	uint64_t mono_ns, wall_ns;	/* when it was saved */
	uint32_t irs, iss, ts_offset;
	uint16_t mss;
	uint8_t peer_shift, own_shift, options, peer_mac[6], zero;
};
_Static_assert(sizeof(struct tcp_resume) == 40, "no gaps");
void conn_save(const struct conn *conn, uint64_t wall_ns, struct tcp_resume *resume);
/* The connection stands where all before `offset` is durable. NULL: no room, or the window's scale is another one now. Control, before the first turn. */
struct conn *tcp_resume(struct tcp *tcp, const struct address *from, const struct address *to, const struct tcp_resume *resume, uint64_t offset, void *stream,
			uint64_t now_ns, uint64_t wall_ns);
bool tcp_knows(struct tcp *tcp, const struct address *from, const struct address *to);
/* Forgotten without a word to the peer: the next process goes on with it. gone is not called. */
void conn_leave_open(struct conn *conn);

/* From 1 to connections_max; names the place of the connection as long as it lives. */
uint32_t conn_index(const struct conn *conn);
/* A router on the way says that packets may have so many bytes (ICMP); seq: that of the segment it is about. */
void tcp_too_big(struct tcp *tcp, const struct address *own, const struct address *peer, uint32_t seq, uint32_t mtu);

/* --- for tests, fuzzing and penstockctl flows --- */
struct tcp_flow {
	struct address from, to;
	enum tcp_state state;
	bool durable_mode, stalled;
	uint64_t received, durable, acked;	/* stream offsets */
	uint32_t window, queued_chunks, unsent;
	uint64_t idle_ns;
	void *stream;			/* what accept returned; NULL before, and in TIME-WAIT */
};
/* The next connection behind *cursor (0 to begin); false: no more. Lcore. */
bool tcp_flow_next(struct tcp *tcp, uint32_t *cursor, struct tcp_flow *flow);
void tcp_check(struct tcp *tcp);	/* asserts every invariant of every connection */
uint32_t tcp_conn_bytes(void);		/* memory of an idle connection, its place in the table included */

#endif
