/* conn: one TCP peer, and what the tcp*.c files share; nobody else includes it.
 *
 *              irs+1      ack_sent   durable      read        received      promised
 *   received:    |----acked----|---may be--|--in the source--|--in chunks--|--window--|   chunks out of order, from `received` on
 *
 * ack_sent <= durable edge <= read <= received <= promised (+1 for a FIN). In received mode the durable edge is `received`. */
#ifndef PENSTOCK_DATAPLANE_NET_CONN_H
#define PENSTOCK_DATAPLANE_NET_CONN_H

#include <assert.h>

#include "dataplane/net/stack.h"
#include "dataplane/net/tcp.h"
#include "dataplane/net/tcp_group.h"
#include "dataplane/net/tcp_segment.h"

#define CHUNK_BYTES 2020
struct chunk {
	struct chunk *next;
	uint32_t seq;		/* of bytes[at] */
	uint16_t at, len;
	uint8_t bytes[CHUNK_BYTES];
};
_Static_assert(sizeof(struct chunk) <= TCP_CHUNK_BYTES, "what the option says");

enum conn_flags {
	CONN_TS = 1, CONN_SACK = 2,
	CONN_DURABLE = 4,	/* ACKs follow `durable` */
	CONN_FIN_SEEN = 8,	/* fin_seq is known */
	CONN_FIN_GIVEN = 16,	/* received passed it, and the user was told (or there is none) */
	CONN_FINISH = 32,	/* our FIN follows the send queue */
	CONN_FIN_SENT = 64,
	CONN_ACK_NOW = 128,	/* an ACK is due this turn */
	CONN_ACK_LATER = 256,	/* due at ack_tick */
	CONN_SHUT = 512,	/* window 0 was said because a commit is late; the next durable byte opens it again */
	CONN_OUTPUT = 1024,	/* there is something to send */
	CONN_STARVED = 2048,	/* on the list of those whose window waits for credit */
	CONN_BUSY = 4096,	/* an upcall runs: do not free */
	CONN_DEAD = 8192,	/* free when the upcall returns */
	CONN_LISTED = 16384,	/* on the turn list */
	CONN_FIN_ACKED = 65536,	/* our FIN */
	CONN_TIMING = 131072,	/* rtt_seq is being timed */
	CONN_UNSCALED = 524288,	/* no window scaling */
	CONN_RESUMED = 1048576,	/* of an earlier process, and nothing came yet: the peer's timestamp is not known */
	CONN_IDLE = 2097152,	/* its promise counts in promised_idle */
	CONN_TURN = 4194304,	/* waited for a share of what may be promised, and gets it with its next ACK */
	CONN_WINDOW_SMALL = 262144,	/* told a window the user or credit held small; look again each time */
};

struct conn {
	/* --- looked at for every segment --- */
	struct tcp *tcp;
	uint8_t peer_ip[16], own_ip[16];
	uint16_t peer_port, own_port;
	uint32_t hash;
	uint32_t flags;			/* enum conn_flags */
	uint8_t state;			/* enum tcp_state */
	uint8_t peer_shift;		/* of windows the peer sends */
	uint8_t retries;		/* of the retransmission, probe or SYN-ACK */
	uint8_t dup_acks;
	uint32_t received, read, durable, ack_sent, promised;	/* sequence numbers; durable: as the user said, see conn_edge */
	uint32_t una, nxt, max;		/* ours: oldest unacknowledged, next to send, farthest ever sent */
	uint32_t peer_window, window_max, wl1, wl2;
	uint32_t ts_recent;
	void *stream;
	uint64_t read_bytes;		/* taken by the user, from the first byte of the stream */
	uint64_t durable_bytes;		/* what the user said last */
	uint64_t waiting_ns;		/* since when there are bytes that are not durable, or since durable last moved */
	uint64_t heard_ns;
	uint8_t peer_mac[6];
	uint16_t unacked_segments;
	uint32_t window_use, window_target;

	/* --- the rest --- */
	uint32_t index, generation;
	uint32_t turn_next;		/* turn list */
	uint32_t list_prev, list_next;	/* starved, or time-wait */
	uint32_t wheel_prev, wheel_next;
	uint16_t wheel_slot;		/* WHEEL_NONE: not armed */
	uint16_t mss;			/* bytes we may put into a segment */
	uint32_t armed_tick, ack_tick, rto_tick, life_tick;	/* 0: not running */
	uint32_t irs, iss, fin_seq;
	uint32_t ts_offset;
	uint64_t ts_recent_ns;
	struct chunk *queue, *queue_tail;	/* received: sorted, nothing twice */
	uint32_t queue_chunks, sack_recent;
	struct chunk *send, *send_tail;		/* from una on */
	uint32_t send_bytes, send_chunks;
	uint32_t cwnd, ssthresh, recover;
	uint32_t rtt_seq, srtt_us, rttvar_us, rto_ms;
	uint8_t pool;			/* whose credit its window promises */
	uint64_t rtt_ns;
	uint64_t challenge_ns;
};
_Static_assert(sizeof(struct conn) <= 512, "a connection with its stream and table entry stays within 1 KiB");

#define WHEEL_LEVELS 4
#define WHEEL_SLOTS 64
#define WHEEL_NONE UINT16_MAX
#define TICK_SHIFT 22			/* 4.19 ms */

/* Written whole by the lcore; those of other lcores of the port look (tcp_group.h). */
struct table_entry {
	_Alignas(8) uint32_t hash;
	uint32_t index;			/* 0: empty */
};

/* What windows may promise, and do, of the connections that share their channels' credit. */
struct tcp_pool {
	uint64_t budget, promised;	/* bytes */
	uint64_t promised_idle;		/* the same of connections that have long sent nothing: a TCP_IDLE_MULTIPLE-th of it counts */
	uint32_t starved_head, starved_tail;
	bool full;			/* no credit */
	bool chunks;			/* free chunks may be promised, too */
};

struct tcp {
	struct net *net;
	const struct tcp_user *user;
	void *context;
	struct table_entry *table;
	uint32_t table_mask;
	_Atomic uint32_t table_version;	/* odd: entries move */
	uint32_t member;
	struct tcp_group *group;	/* or NULL */
	struct conn *conns;		/* [1 .. conns_max] */
	uint32_t conns_max, conns_fresh;	/* slots from conns_fresh on were never used */
	uint32_t free_head;		/* through list_next */
	uint32_t used, half_open, half_open_max;
	uint64_t now_ns;
	uint32_t tick;			/* wheel has run up to here */
	uint32_t wheel[WHEEL_LEVELS][WHEEL_SLOTS];
	uint32_t armed;
	bool wheel_runs;
	uint32_t turn_head, turn_tail;
	uint32_t wait_head, wait_tail, waiting;	/* TIME-WAIT, oldest first */
	struct tcp_pool pools[TCP_POOLS];
	uint32_t pool_count, pools_of_chunks;	/* pools that ever had credit; with `chunks` */
	uint64_t idle_look_ns;
	uint32_t idle_cursor;		/* connection looked at last */
	uint32_t window_bound;
	uint8_t shift;			/* of windows we send */
	uint64_t keepalive_ns, half_open_ns;
	uint32_t queue_chunks_max;
	struct chunk *chunks, *chunk_free;
	uint32_t chunk_count, chunk_fresh, chunks_used, chunks_kept;
	uint64_t secret[2];
	uint64_t cookie_ns;		/* last cookie sent; 0: never */
	uint64_t stranger_ns;		/* when stranger_tokens was filled: RSTs to unknown segments */
	uint32_t stranger_tokens;
	struct tcp_counters counters;
};

/* One segment on its way up. */
struct segment {
	const struct packet *packet;
	uint32_t seq, ack, len;		/* len: of the data */
	uint32_t window;		/* not shifted */
	uint8_t flags;
	bool has_ts;
	uint32_t ts_val, ts_ecr;
	const uint8_t *data;
	const uint8_t *options;
	uint32_t options_bytes;
};

static inline struct conn *
conn_at(struct tcp *tcp, uint32_t index)
{
	return &tcp->conns[index];
}

/* What may be acknowledged, the one place that decides it. */
static inline uint32_t
conn_edge(const struct conn *c)
{
	if (!(c->flags & CONN_DURABLE))
		return c->received;
	/* A FIN is acknowledged last: when every byte before it is durable. */
	if ((c->flags & CONN_FIN_GIVEN) && c->durable == c->fin_seq)
		return c->received;
	return c->durable;
}

/* A segment of data came in received mode: every second one is answered at once, and one after which the peer has no window for another. */
static inline bool
conn_ack_at_once(struct conn *c)
{
	return ++c->unacked_segments >= 2 || c->promised - c->received < c->mss;
}

static inline struct tcp_pool *
conn_pool(const struct conn *c)
{
	return &c->tcp->pools[c->pool];
}

static inline bool
conn_synchronized(const struct conn *c)
{
	return c->state > TCP_SYN_RECEIVED;
}

/* tcp_table.c */
uint64_t tcp_sip(const uint64_t secret[2], const void *bytes, uint32_t len);
uint32_t tcp_hash(const struct tcp *tcp, const struct address *from, const struct address *to);
struct conn *tcp_find(struct tcp *tcp, uint32_t hash, const struct address *from, const struct address *to);
/* From another lcore: 1, 0, or -EAGAIN when entries moved during each of `looks`. */
int tcp_table_look(const struct tcp *tcp, uint32_t hash, uint32_t looks);
struct conn *tcp_conn_new(struct tcp *tcp, uint32_t hash, const struct address *from, const struct address *to);	/* NULL: none left */
void tcp_conn_free(struct conn *c);	/* no upcall */
/* An end that the user did not ask for: tells it, then frees. */
void tcp_conn_gone(struct conn *c, int why);
void conn_receive(struct conn *c, uint32_t bytes);	/* `received` moves on */
void conn_promise(struct conn *c, uint32_t edge);
uint64_t pool_left(const struct tcp_pool *pool, uint64_t kept);	/* bytes that may be promised still; `kept`: of the budget, not for this */
void tcp_idle_look(struct tcp *tcp);	/* now and then, while much is promised */

/* tcp_timer.c: one timer a connection, at the earliest of its ticks. Moving one later costs nothing. */
void tcp_wheel_run(struct tcp *tcp, uint64_t now_ns);
void conn_arm(struct conn *c);
void conn_disarm(struct conn *c);
uint32_t tcp_tick_in(const struct tcp *tcp, uint64_t ns);	/* never 0 */

/* tcp_queue.c */
bool tcp_chunks_init(struct tcp *tcp, uint32_t count);
struct chunk *chunk_get(struct tcp *tcp, bool urgent);	/* urgent: may take the reserve */
void chunk_put(struct tcp *tcp, struct chunk *chunk);
/* Copies what is not there yet. False: some of it found no chunk. *fresh: bytes taken. */
bool queue_insert(struct conn *c, uint32_t seq, const uint8_t *bytes, uint32_t len, uint32_t *fresh);
/* End of the run of chunks that begins at `seq`, or seq. */
uint32_t queue_reach(const struct conn *c, uint32_t seq);
void queue_free(struct conn *c);
/* SACK blocks above `received`, newest first; returns how many. */
uint32_t queue_sack(const struct conn *c, uint32_t (*blocks)[2], uint32_t max);
void send_free(struct conn *c, uint32_t bytes);	/* from the front */
void send_copy(const struct conn *c, uint32_t from, uint8_t *to, uint32_t len);

/* tcp_output.c */
void conn_list(struct conn *c);			/* on the turn list */
void conn_ack_now(struct conn *c);
bool conn_emit(struct conn *c, uint8_t flags, uint32_t seq, uint32_t len);	/* false: not sent, no buffer */
void conn_output(struct conn *c);
bool conn_stalled(const struct conn *c);
bool conn_settled(const struct conn *c);	/* durable is as far as it can come before more is received */
void conn_challenge(struct conn *c);
void conn_starve(struct conn *c);
void conn_unlist(struct conn *c);		/* starved or time-wait list */
void conn_retransmit(struct conn *c);		/* RTO ran out */
void tcp_reset_stranger(struct tcp *tcp, const struct segment *s);
bool tcp_send_syn_ack(struct tcp *tcp, const struct packet *packet, const struct tcp_syn *syn, uint32_t iss, uint32_t irs, uint32_t ts, uint16_t window);
uint32_t conn_ts_now(const struct conn *c);

/* tcp_listen.c */
enum drop tcp_input_syn(struct tcp *tcp, const struct segment *s, uint32_t hash, const struct address *from, const struct address *to);
/* A segment of an unknown connection that may bear a cookie: the connection, established, or NULL. */
struct conn *tcp_cookie_ack(struct tcp *tcp, const struct segment *s, uint32_t hash, const struct address *from, const struct address *to);
bool conn_establish(struct conn *c);	/* accept upcall; false: refused and freed */

/* tcp_input.c */
/* DROP_NONE: *taken says whether it brought new data (else it was control). */
enum drop conn_input(struct conn *c, const struct segment *s, bool *taken);
/* Data in order, past what is queued: `received` moves on, the user gets it. False: the connection is gone. */
bool conn_give(struct conn *c, const uint8_t *bytes, uint32_t len);
void conn_init(struct conn *c, const struct packet *packet, uint32_t irs, uint32_t iss, uint16_t mss, uint32_t ts_offset);
void conn_feed(struct conn *c);			/* from the queue to the user */
void conn_time_wait(struct conn *c);
void conn_settle(struct conn *c);		/* both FINs said and acknowledged: the end, or TIME-WAIT */
/* Round an upcall: nothing frees the connection in between. conn_leave is false when it is gone. */
static inline void
conn_enter(struct conn *c)
{
	assert(!(c->flags & CONN_BUSY));
	c->flags |= CONN_BUSY;
}
bool conn_leave(struct conn *c);

#endif
