/* control: the Unix socket that penstockctl speaks to.
 *
 * One request line, one answer line: {"ok":true,...} or {"ok":false,"error":"..."}; a connection may ask again. A request is words
 * with blanks between them (`trace r1 10`), or a JSON list of strings (["load","/a path"]). Streaming requests answer lines until
 * {"end":true}; the client may ask for the end with the line `end`.
 *
 * Thread: everything here is the control thread's; no call blocks. Clients are bounded: connections, the length of a request, the
 * time for one, and unread output; who reads too slowly loses lines of a stream (counted in its last line), never holds us up. */
#ifndef PENSTOCK_CTRLPLANE_CONTROL_H
#define PENSTOCK_CTRLPLANE_CONTROL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"

struct stats;
struct control;
struct control_stream;

#define CONTROL_CLIENTS_MAX 32
#define CONTROL_REQUEST_BYTES 65536	/* longest request line */
#define CONTROL_STREAM_BYTES (1u << 20)	/* unread lines of a stream; more are dropped and counted */
#define CONTROL_ANSWER_BYTES (16u << 20)	/* longest answer line */
#define CONTROL_PATIENCE_NS (UINT64_C(10) * NS_PER_S)	/* for a whole request, and for reading an answer */
#define CONTROL_IDLE_MIN_NS NS_PER_S	/* when all connections are taken, one idle for so long gives way to a new one */

/* One request on its way through its command. */
struct control_call {
	struct control *control;
	const char *const *args;	/* words after the command; they end with the call */
	uint32_t arg_count;
	int fd;				/* a descriptor the client passed, or -1; set it to -1 to keep it, else it is closed */
	json_t *answer;			/* to be filled; "ok" is added */
	void *impl;
};

/* Returns 0, or -errno with err, which becomes the answer {"ok":false,"error":text}. */
typedef int (*control_fn)(struct control_call *call, void *context, struct err *err);

/* The default socket of the agent `name`: /run/penstock/NAME.sock for root, else under $XDG_RUNTIME_DIR/penstock or ~/.penstock. */
int control_path_default(char *path, size_t bytes, const char *name, struct err *err);

/* Makes the directory if missing; a socket that nobody answers on is replaced; mode 0660. */
int control_open(struct control **control, const char *path, struct clock *clock, struct err *err);
const char *control_path(const struct control *control);
/* Ends streams, sends what can be sent at once, removes the socket. */
void control_close(struct control *control);

/* name and help must stay. usage: "trace SOURCE [COUNT]". */
void control_add(struct control *control, const char *name, const char *usage, control_fn fn, void *context);

/* Waits at most wait_ms for something to do (0: not at all), and does it. */
void control_step(struct control *control, int wait_ms);

/* The step also waits for fd (POLLIN) and calls fn when it is readable, and at least once a step if `always`. Up to 8; fd -1 with
 * `always`: only the call. */
void control_watch(struct control *control, int fd, bool always, void (*fn)(void *context), void *context);

/* ---- streams ---- */

/* In a control_fn: the first answer line is the answer object as always (only if it has members besides "ok"), lines follow until
 * control_stream_end. closed(context) is called exactly once, when the client went away, the stream was ended, or control closes;
 * the stream is gone after it. */
struct control_stream *control_stream_begin(struct control_call *call, void (*closed)(void *context), void *context);
/* Borrows line. false: dropped, the client reads too slowly. */
bool control_stream_write(struct control_stream *stream, const json_t *line);
/* The client has read most of what was written: more will not be dropped. */
bool control_stream_ready(const struct control_stream *stream);
/* Sends {"end":true,"dropped":N, and the members of `more` (borrowed, may be NULL)}; calls closed. */
void control_stream_end(struct control_stream *stream, const json_t *more);
/* Calls fn every interval, from the step. */
void control_stream_every(struct control_stream *stream, uint64_t interval_ns, void (*fn)(struct control_stream *stream, void *context));

/* What penstockctl makes of the two streams other rooms fill:
 *   trace SOURCE [COUNT]     each line an object, shown as it comes: "headers" {}, "body", "dropped_by" or "channels" []
 *   capture PORT [COUNT]     call->fd is the file, pcap is written there; lines {"packets":N} for progress, the last one too
 * An fd passed by a client may be a pipe nobody reads: make it O_NONBLOCK, or write it from a thread that may wait. */

/* ---- the commands that need no other room ---- */

void control_add_stats(struct control *control, struct stats *stats);	/* "metrics", "drops", "top", "loglevel" */
/* All of those; "status" from stats and then more(answer, context), which may be NULL; "help". */
void control_add_basics(struct control *control, struct stats *stats, void (*more)(json_t *answer, void *context), void *context);
/* "stop": calls stop(context) after the answer was queued. */
void control_add_stop(struct control *control, void (*stop)(void *context), void *context);
/* A JSON string of any bytes: what is not UTF-8 becomes U+FFFD. NULL: out of memory. */
json_t *control_json_bytes(const void *bytes, size_t count);
/* A whole number from a word; -EINVAL with err when it is none or not in [low, high]. */
int control_number(const char *word, uint64_t low, uint64_t high, uint64_t *value, struct err *err);

#endif
