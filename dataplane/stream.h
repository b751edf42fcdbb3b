/* stream: one client connection as a source sees it, whoever carries its bytes (a kernel socket, the lcore's own TCP).
 *
 * A carrier brings bytes in order (stream_feed) and says when they end (stream_eof) and when the connection is no more (stream_end). The
 * source's on_bytes eats whole frames; the unfinished one stays in `tail` and is offered again, contiguous with what follows. A source that
 * cannot take more now sets a bit of `wait` (stream_wait): the carrier stops reading until it is cleared.
 *
 * Offsets count the bytes of the connection from 0 as the carrier brings them (on the wire; with TLS that is ciphertext).
 *
 *      0 ........ durable ........ consumed .... received
 *                 |  events under way  |  tail  |
 *
 * `durable` is the promise: every byte below it made an event that all required channels have acknowledged, or no event at all (blank line, filtered or
 * unrouted event, handshake) with all bytes before it durable. It only grows. A carrier with edge == STREAM_DURABLE moves its acknowledgement to
 * it in its `durable` operation and never beyond; with STREAM_RECEIVED it acknowledges what it has handed over, and the source's reply is
 * the promise, if there is one.
 *
 * When a required channel could not store an event of the stream the source is told (on_settled with status < 0); for a source without replies
 * the stream is reset, so that the sender knows.
 *
 * Owner: the carrier, who embeds it in its connection. Thread: that of its ingress, for everything.
 * Ends:  stream_end, called once by the carrier. Tickets that are still under way then end by themselves: the generation guards late returns. */
#ifndef PENSTOCK_DATAPLANE_STREAM_H
#define PENSTOCK_DATAPLANE_STREAM_H

#include "base/counter.h"
#include "dataplane/ingress.h"

struct stream;
struct stream_tls;
struct stream_options;

enum stream_edge { STREAM_RECEIVED, STREAM_DURABLE };

/* Why nothing more is eaten. */
enum stream_wait {
	STREAM_WAIT_CREDIT = 1,		/* a required channel has no free block: cleared by streams_run */
	STREAM_WAIT_SEND = 2,		/* the peer does not read replies: cleared by stream_writable */
	STREAM_WAIT_SETTLE = 4,		/* as many requests under way as the source wants: cleared when a ticket of the stream ends */
};

/* None of these may call back into the stream, or free it, before it returns. */
struct stream_carrier {
	const char *name;		/* "kernel", "tcp" */
	bool withholds;			/* can hold its acknowledgement back (edge durable) */
	/* Copies up to len bytes for sending and returns how many it took: fewer when its buffer (bounded) is full. Sent by the end of the turn. */
	uint32_t (*send)(struct stream *stream, const void *bytes, uint32_t len);
	uint32_t (*send_room)(const struct stream *stream);
	/* What was sent goes out, then FIN; what still comes is thrown away. The carrier calls stream_end when the connection is gone. */
	void (*close)(struct stream *stream);
	/* RST, nothing more is sent. The carrier calls stream_end, later in this turn or after it. */
	void (*reset)(struct stream *stream);
	/* off: take no more from the peer (let the window close); bytes already on their way may still be fed. */
	void (*reading)(struct stream *stream, bool on);
	/* stream->durable has moved; NULL when withholds is false. */
	void (*durable)(struct stream *stream);
	/* Of a stream with a flow: all is settled, but bytes behind `recorded` made no event: note where it stands, then stream_recorded. */
	void (*lagging)(struct stream *stream);
};

struct stream_limits {
	uint32_t connections;		/* at once, per listener and thread; 0: no limit */
	uint64_t idle_ns;		/* without a byte or a frame under way; 0: no limit */
	uint64_t frame_ns;		/* from the first byte of a frame to its last, handshake included; 0: no limit */
};

/* Kind STREAMS, component the source: accepted = refused_* + closed_* + reset_* + open. */
struct stream_counters {
	struct counter accepted, open, refused_sender, refused_connections, refused_memory;
	struct counter closed, closed_idle, closed_frame, reset_source, reset_store, reset_send, reset_tls, lost;
	struct counter bytes_in, bytes_out, waits_credit;
};

/* One bound address of a stream source, on one ingress. Owner: who opened it (worker, runner). */
struct stream_listener {
	struct ingress_source *in;
	struct address_prefix *allow;	/* borrowed */
	uint32_t allow_count;
	struct stream_limits limits;
	enum stream_edge edge;
	struct tls_server *tls;		/* NULL: plain */
	uint32_t open;
	struct stream_counters counters;
	struct metric_set metrics;
};
extern const struct metric stream_metrics[];
extern const uint32_t stream_metric_count;

/* Every stream of one ingress. Owner and thread: the ingress's. */
struct streams {
	struct ingress *ingress;
	struct stream **table;		/* by slot */
	uint32_t *generations;
	uint32_t room, open, free_slot, swept;
	struct stream *waiting_first, *waiting_last;	/* for credit, in turn */
	uint64_t now_ns;		/* monotonic, of this turn */
	uint64_t swept_ns;
	uint64_t tail_bytes, tail_bytes_max;	/* memory of all tails; the limit */
};

struct stream {
	const struct stream_carrier *carrier;
	struct streams *streams;
	struct stream_listener *listener;
	struct ingress_source *in;
	void *state;			/* the source's own, ops->stream_bytes of zeros at the start */
	struct stream_tls *tls;		/* NULL: plain */
	struct address peer, local;
	uint32_t slot, generation;
	uint8_t edge;			/* enum stream_edge */
	uint8_t wait;			/* enum stream_wait bits */
	bool eof;			/* the peer has sent its last byte */
	bool ending;			/* closed or reset by us: on_bytes is not called any more */
	uint8_t in_frame;		/* the source holds the beginning of a frame itself (stream_frame): its number */
	bool waiting, feeding, frame_known, eof_told;
	uint64_t received, durable;	/* as the carrier counts */
	uint64_t plain;			/* plaintext bytes so far (== received without TLS) */
	uint64_t eaten;			/* plaintext offset of the bytes on_bytes looks at */
	uint64_t stored;		/* plaintext below it is durable as a fragment (stream_stored) */
	/* A stream that goes on after a restart (flow_record.h): what the log says of it. Nothing behind `recorded` is acknowledged. */
	uint64_t flow;			/* its name, 0: none */
	uint64_t recorded;		/* offset that a durable mark or note says */
	uint64_t put;			/* offset up to which all is in blocks */
	uint64_t reserved_serial, marked_serial;	/* blocks that have room for its mark, and have it */
	uint32_t put_state;		/* the source's, at `put` (ops->stream_state) */
	bool cut;			/* an event of it was not stored: it ends */
	uint8_t *tail;
	uint32_t tail_len, tail_room;
	uint32_t ticket_first, ticket_last, ticket_open;	/* open: that of stream_ticket */
	uint64_t wait_until_ns;		/* 0: as long as it takes */
	uint32_t wait_blocks;		/* not before so many are free */
	uint64_t opened_ns;		/* monotonic */
	uint64_t active_ns, frame_ns;	/* monotonic: last byte; first byte of the frame under way, or of the piece of it that must be here in time */
	uint64_t send_ns;		/* since when the peer takes nothing of the replies that the source waits with (STREAM_WAIT_SEND); 0: it does */
	uint32_t frame_bytes;		/* of that piece */
	struct stream *wait_prev, *wait_next;
};

/* ---- carriers ---- */

/* tail_bytes_max 0: 64 MiB. */
int streams_init(struct streams *streams, struct ingress *ingress, uint64_t tail_bytes_max);
/* All streams have ended before. */
void streams_free(struct streams *streams);
/* Once a turn, after ingress_reap: time, streams that waited for credit, limits of a part of the table. Its carriers' close, reset and reading are called. */
void streams_run(struct streams *streams, uint64_t now_ns);
/* The open stream in a slot below streams->room, or NULL. */
struct stream *streams_at(const struct streams *streams, uint32_t slot);
/* A stream waits for credit or a ticket is due: do not sleep for long. */
bool streams_waiting(const struct streams *streams);

/* TLS of a listener as its options say; nothing when it is off. tickets: see tls_server_open. Control; stream_listener_close frees it. */
int stream_listener_tls(struct stream_listener *listener, const struct stream_options *options, bool tickets, struct err *err);
void stream_listener_close(struct stream_listener *listener);

/* May this peer connect? 0, or -EACCES, -EUSERS, -ENOMEM (counted): answer RST or close at once. For before a SYN is answered or after accept; does not
 * replace stream_open's own look. */
int stream_admit(struct stream_listener *listener, const struct address *peer);
/* 0, or what stream_admit says (counted; the stream is then not open and stream_end must not be called). */
int stream_open(struct stream *stream, const struct stream_carrier *carrier, struct streams *streams, struct stream_listener *listener,
		const struct address *peer, const struct address *local);
/* Takes bytes; returns how many: fewer than len only when tails have used up their memory or the stream is waiting and its tail is large;
 * the rest has not been received: offer it again later. Bytes behind close or reset are thrown away (len is returned). */
uint32_t stream_feed(struct stream *stream, const uint8_t *bytes, uint32_t len);
/* The peer's FIN, in order. */
void stream_eof(struct stream *stream);
/* There may be room to send again. taken: the peer took some of the replies, or had taken all. */
void stream_writable(struct stream *stream, bool taken);
/* The connection is no more; counts it as lost when neither side had closed it. */
void stream_end(struct stream *stream);

/* The unfinished frame: bytes behind the last eaten frame, at plaintext offsets [consumed, plain). */
const uint8_t *stream_unfinished(const struct stream *stream, uint32_t *len);
/* Bytes below `offset` (plaintext) of the unfinished frame are durable as a fragment in the log. */
void stream_stored(struct stream *stream, uint64_t offset);
/* With TLS, all whole records durable: what has come of the next one may be acknowledged. It makes no event before its end has come (which is not
 * acknowledged before its events are durable). */
void stream_record_begun(struct stream *stream);
/* After a restart: the connection goes on at `offset` with `len` bytes of an unfinished frame before it. Directly after stream_open. 0 or -ENOMEM. */
int stream_restore(struct stream *stream, uint64_t offset, const uint8_t *unfinished, uint32_t len);

/* Offset behind the last eaten frame, in plaintext. */
static inline uint64_t
stream_consumed(const struct stream *stream)
{
	return stream->plain - stream->tail_len;
}

/* Its place is durable up to `offset`. */
void stream_recorded(struct stream *stream, uint64_t offset);

/* ---- ingress and tickets: marks of streams that go on ---- */

bool stream_reserve(struct stream *stream, struct block *block);
/* An event of it that ends at `offset` is in its block. */
static inline void
stream_put(struct stream *stream, uint64_t offset)
{
	if (offset > stream->put) {
		stream->put = offset;
		stream->put_state = 0;
	}
}
/* The marks of all streams that have events in the block, which is about to be sealed. */
void streams_mark(struct ingress *ingress, struct block *block);

/* ---- sources, inside on_bytes, on_settled ---- */

/* The ticket of the bytes being eaten, one for each stream_feed, opened at the first call; for sources without replies. 0: no memory. `at`: offset in `bytes`
 * of on_bytes where the event's frame begins. */
uint32_t stream_ticket(struct stream *stream, uint32_t at);
/* Of an event just appended: its ticket, and where its frame ends in `bytes` of on_bytes; end 0: there the source's state is not that of a new stream. */
void stream_event(struct stream *stream, struct event *event, uint32_t ticket, uint32_t end);
/* A request's own ticket, in the stream's order: on_settled(source, stream, cookie, status) when it and all before it have ended. Complete it with
 * stream_ticket_complete. `at` as above. */
uint32_t stream_ticket_open(struct stream *stream, uint64_t cookie, uint32_t at);
void stream_ticket_complete(struct stream *stream, uint32_t ticket);
/* The peer waits for this ticket's answer and may send nothing more before it: its block is sealed early. stream_ticket_open says so itself. */
void stream_ticket_asked(struct stream *stream, uint32_t ticket);
/* False: the peer does not read and the buffer is full; the stream has been reset. Ask stream_send_room before a request is taken. */
bool stream_send(struct stream *stream, const void *bytes, uint32_t len);
uint32_t stream_send_room(const struct stream *stream);
/* After on_bytes returned; tickets under way still end and are told. */
void stream_close(struct stream *stream);
void stream_reset(struct stream *stream);
void stream_wait(struct stream *stream, enum stream_wait why);
/* For so many free blocks of each required channel (ingress_credit), but not beyond that time (monotonic, streams->now_ns): on_bytes is then called again
 * all the same. */
void stream_wait_until(struct stream *stream, uint64_t until_ns, uint32_t blocks);
/* The source holds the beginning of a frame whose bytes it has eaten (a body being collected): limits.frame_ns counts, and
 * begins again with each 16 KiB of it. frame: 0 none, else a number that the one before did not have. */
void stream_frame(struct stream *stream, uint8_t frame);

/* ---- ticket.c ---- */
void stream_ticket_settled(struct ingress *ingress, uint32_t ticket);

#endif
