/* ingress: one per producing thread. Events of a source are staged, run through its interceptors and selector, and put into the
 * open block of each channel; blocks are sealed and submitted; completions reaped.
 *
 * Owner and thread: the producing thread, but for open, attach and close (control, while that thread does not run). */
#ifndef PENSTOCK_DATAPLANE_INGRESS_H
#define PENSTOCK_DATAPLANE_INGRESS_H

#include "base/clock.h"
#include "dataplane/pipeline.h"
#include "dataplane/mark.h"
#include "dataplane/ticket.h"

/* Account of events, kind "SOURCE": events_parsed = filtered + unrouted + each drop_* + routed. */
struct source_counters {
	struct counter received, accepted;		/* Flume's EventReceivedCount, EventAcceptedCount */
	struct counter channel_write_fail, read_fail;
	struct counter zero;				/* attributes Flume keeps at 0 for this source */
	struct counter parsed, filtered, unrouted, routed;
	struct counter drop_too_large, drop_arena_full, drop_empty;
	struct counter fragments;			/* half lines of an earlier process, also among `parsed` */
	struct counter bytes;
};

/* Account of one ingress into one channel, kind "INTAKE": offered = channel_full + in_flight + the channel's stored and failed. */
struct intake_counters {
	struct counter offered, stored, channel_full, failed, pending, blocks, too_large, known;
};

#define INGRESS_HELD_MAX 24u	/* blocks of one whole batch in one channel; a group holds them all */

struct ingress_channel {
	struct ingress *ingress;
	struct channel_link *link;
	struct block *held[INGRESS_HELD_MAX];	/* sealed blocks of the whole batch under way */
	struct block *spare[INGRESS_HELD_MAX + 1];	/* credit that an abandoned batch gave back */
	uint32_t held_count, spare_count;
	uint64_t held_pending;		/* events of the whole batch */
	struct block *open;
	struct block_scratch *scratch;
	struct intake_counters counters;
	struct metric_set metrics;
	uint64_t pending;
	uint32_t in_flight;		/* blocks submitted whose completion has not come */
	struct ledger_link *notes;	/* of marks; NULL: none is kept there */
	struct mark_slot *marks_dirty;	/* moved since they were written */
	bool mark_failed;
};

struct ingress_source {
	struct ingress *ingress;
	const struct pipeline_source *spec;
	void *self;					/* the source's own */
	void *scratch[PIPELINE_INTERCEPTORS_MAX];
	int direct;					/* slot whose open block is the staging block; -1: staged apart */
	struct source_counters counters;
	struct metric_set metrics;
	struct metric_set interceptor_metrics[PIPELINE_INTERCEPTORS_MAX];
	char interceptor_names[PIPELINE_INTERCEPTORS_MAX][64];	/* r1.i1 */
	/* trace: a bounded ring that control empties; NULL when off */
	_Atomic(struct trace *) trace;
	_Atomic int tracing;				/* the ingress looks at it just now */
	bool has_marks;
	/* Of its batch under way: for so many bytes, headers included, and events all required open blocks have room; 0: not known. */
	uint64_t ready_bytes;
	uint32_t ready_events;
};

struct ingress {
	const char *name;
	struct clock *clock;
	const struct pipeline *pipeline;
	struct ingress_channel channels[PIPELINE_CHANNELS_MAX];
	struct ingress_source *sources;			/* as pipeline->sources */
	struct batch batch;
	struct ingress_source *current;			/* whose events are in the batch */
	uint64_t wall_ns;				/* wall time of this turn, set by the owner of the turn */
	uint8_t *staging;				/* STAGING_BYTES, for sources that are not direct */
	uint8_t *overflow;				/* bodies that no longer fitted in their block */
	uint64_t generation;				/* adopted pipeline */
	uint32_t input_turns;				/* in a row that brought input: answers asked for wait with their block for the rest of it (ingress_input) */
	struct tickets tickets;
	struct mark *marks;
	bool has_flows;					/* streams that go on after a restart: blocks bear their marks */
	uint32_t mark_failures;				/* channels whose marks are being gone back to */
	uint64_t marks_due_ns;
	struct {					/* the whole batch under way, between ingress_begin and commit or abort */
		struct ingress_source *in;		/* NULL: none */
		struct source_counters counters;	/* as they were */
		uint32_t ticket, events;
		int status;				/* the first error */
		bool split;				/* it goes into blocks of its own */
		bool last;				/* ingress_commit puts */
	} whole;
};

/* Control. wake_fd: eventfd that the channels' writers signal while the thread sleeps; -1 for a polling lcore. */
int ingress_open(struct ingress *ingress, const char *name, const struct pipeline *pipeline, struct clock *clock, int wake_fd, struct err *err);
/* Control, when the thread is gone and ingress_drained said so (or its deadline passed). */
void ingress_close(struct ingress *ingress);

/* One event of `len` body bytes, copied once. NULL: dropped and counted (no credit, too large). Headers may be set on it until the next call. */
struct event *ingress_append(struct ingress_source *in, const void *body, uint32_t len, uint64_t time_ns);
/* A message that makes no event (an empty datagram). */
void ingress_drop_empty(struct ingress_source *in);

/* Streams and polled sources ask before they take a message of `len` bytes from their client: false when a required channel has no credit (leave it unread; the
 * answer changes in ingress_reap). After true ingress_append gives an event, but for one too large for any block. May put the batch. */
bool ingress_ready_look(struct ingress_source *in, uint32_t len);
/* Headers of one event may need so much; more is rare and fails the event's ticket. */
#define INGRESS_EVENT_SLACK 384u
#define INGRESS_READY_BYTES 65536u	/* bodies of a batch, where its source asks */

/* The batch, `len` bytes more and their headers have room in what is open: known without a look. */
static inline bool
ingress_ready_known(const struct ingress_source *in, uint32_t len)
{
	const struct batch *batch = &in->ingress->batch;
	return batch->count < in->ready_events && batch->run_bytes + len <= INGRESS_READY_BYTES &&
	       batch->run_bytes + len + (batch->count + 1) * INGRESS_EVENT_SLACK <= in->ready_bytes;
}

static inline bool
ingress_ready(struct ingress_source *in, uint32_t len)
{
	return ingress_ready_known(in, len) || ingress_ready_look(in, len);
}

/* A batch that enters whole or not at all: its blocks lie in one group of each channel, so that a crash keeps all or none too. Between begin and commit only
 * ingress_append of this source is called; it may answer NULL, the error is then remembered. `ticket` (may be 0) is set on every event.
 * commit: 0, all events that interceptors and selector left are on their way; -ENOSPC a required channel has no credit now; -EMSGSIZE more than
 * INGRESS_HELD_MAX blocks, or than lie in one segment of a log, or an event larger than a block; nothing has entered then and the ticket has no event. */
void ingress_begin(struct ingress_source *in, uint32_t ticket);
int ingress_commit(struct ingress_source *in);
/* How long a request may wait for credit before its client is told: the longest keep-alive of the channels that must have its events. */
uint64_t ingress_keep_alive_ns(const struct ingress_source *in);
void ingress_abort(struct ingress_source *in);
/* The set that was committed last found no room, and is not tried again: its events are counted as refused, once. */
void ingress_refused(struct ingress_source *in);
/* Free blocks of the required channel that has the fewest: after -ENOSPC, a set like it wants more than are there now. */
uint32_t ingress_credit(const struct ingress_source *in);

/* Interceptors, selector, blocks: ends the batch. */
void ingress_put(struct ingress *ingress);
/* Completions from the channels; tickets that end: acks and on_settled are called from here and nowhere else. Puts a staged batch first when tickets are due. */
void ingress_reap(struct ingress *ingress);
/* Each turn, before ingress_seal_due, by a polling lcore: whether it brought input. */
void ingress_input(struct ingress *ingress, bool any);
/* Seals and submits full blocks and those the writer is free to take; with all: every block that holds an event. */
void ingress_seal_due(struct ingress *ingress, bool all);
/* An open block holds an event: do not sleep for long. */
bool ingress_open_events(const struct ingress *ingress);
/* Nothing staged, open or in flight. */
bool ingress_drained(const struct ingress *ingress);
/* Before and after sleeping: writers signal wake_fd in between. ingress_sleep is false when something already waits. */
bool ingress_sleep(struct ingress *ingress);
void ingress_woken(struct ingress *ingress);

extern const struct metric source_metrics[], intake_metrics[];
extern const uint32_t source_metric_count, intake_metric_count;

#endif
