#include "sinks/sink_runner.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "sinks/sink_member.h"

#define PENDING_MAX 1024u		/* spans, unless the kind says less */
#define PENDING_BYTES (64u << 20)	/* bodies of pending spans */
#define TAKE_BYTES (8u << 20)		/* bodies a span, at most (one event always fits) */
#define TAKES_PER_STEP 64u
#define BACKOFF_NS NS_PER_S		/* Flume's: min(n * 1 s, 5 s) */
#define BACKOFF_MAX_NS (5 * NS_PER_S)
#define FDS_MAX 8

/* Owner: control until the sink thread starts, then that thread. `busy` is the one thing others read, `draining` what they write. */
struct sink_runner {
	const struct sink_ops *ops;
	void *sink;
	struct sink_env env;
	struct channel *channel;
	struct taker *taker;
	struct sink_member *member;	/* NULL: not in a group, pauses by itself */
	uint32_t batch_events, pending_max;
	uint64_t pending_bytes_max;
	uint32_t pending;		/* spans the sink keeps */
	uint64_t pending_bytes;
	uint32_t failures;		/* in a row */
	uint64_t backoff_until_ns;	/* 0: not backing off */
	_Atomic bool busy, draining;
	struct sink_counters counters;
	struct metric_set metrics;
	char name[];
};

#define COUNTER(field, flume, what, text) { flume, METRIC_COUNTER, offsetof(struct sink_counters, field), what, text }
#define GAUGE(field, flume, what, text) { flume, METRIC_GAUGE, offsetof(struct sink_counters, field), what, text }
#define METRICS_OWN 5u
#define METRICS_FLUME 17u
static const struct metric sink_metrics[] = {
	COUNTER(delivered, "delivered", "events", "Events out of the house and settled."),
	COUNTER(delivered_bytes, "delivered_bytes", "bytes", "Bodies of these."),
	COUNTER(failed_spans, "failed_spans", "spans", "Spans given back to the channel to be offered again."),
	GAUGE(pending_spans, "pending_spans", "spans", "Spans the sink keeps until it knows they are out."),
	GAUGE(backing_off, "backing_off", "", "1 while the sink waits after a failure."),
	GAUGE(start_time, "StartTime", "ms", "Wall time of the start."),
	GAUGE(stop_time, "StopTime", "ms", "Wall time of the stop; 0 while running."),
	COUNTER(connection_created, "ConnectionCreatedCount", "connections", "Connections or files opened."),
	COUNTER(connection_closed, "ConnectionClosedCount", "connections", "Connections or files closed."),
	COUNTER(connection_failed, "ConnectionFailedCount", "connections", "Connections or files that could not be opened or closed."),
	COUNTER(batch_empty, "BatchEmptyCount", "batches", "Takes that found nothing."),
	COUNTER(batch_underflow, "BatchUnderflowCount", "batches", "Takes of less than a batch."),
	COUNTER(batch_complete, "BatchCompleteCount", "batches", "Takes of a whole batch."),
	COUNTER(event_drain_attempt, "EventDrainAttemptCount", "events", "Events handed to the sink."),
	COUNTER(event_drain_success, "EventDrainSuccessCount", "events", "Events delivered."),
	COUNTER(event_write_fail, "EventWriteFail", "failures", "Deliveries that failed."),
	COUNTER(channel_read_fail, "ChannelReadFail", "failures", "Takes that failed."),
	COUNTER(kafka_event_send_timer, "KafkaEventSendTimer", "ms", "Time from producing a batch to its last report, in total."),
	COUNTER(rollback, "RollbackCount", "batches", "Batches given back to the channel."),
	COUNTER(audit_told, "audit_told", "messages", "Counts of audit that are in their topic."),
	COUNTER(audit_failed, "audit_failed", "messages", "Counts of audit that their topic refused; told again with the next ones."),
	COUNTER(audit_lost, "audit_lost", "messages", "Counts of audit that will not be told: a comparison shows the window as short."),
};

static void
span_settle(struct sink_runner *runner, struct span *span, enum sink_result result)
{
	struct sink_counters *counters = &runner->counters;
	uint32_t events = span->events;
	uint64_t bytes = span->body_bytes;
	if (result == SINK_DONE) {
		int rc = runner->channel->ops->settle(runner->taker, span, SETTLE_COMMIT, NULL, 0);
		if (rc)
			log_warn("sink %s: %u events are out, but the channel lost the span: they may come again", runner->name, events);
		counter_add(&counters->delivered, events);
		counter_add(&counters->delivered_bytes, bytes);
		if (runner->ops->keeps & SINK_KEEPS_SUCCESS)
			counter_add(&counters->event_drain_success, events);
		runner->failures = 0;
		if (runner->member)
			runner->member->told(runner->member, true);
		return;
	}
	(void)runner->channel->ops->settle(runner->taker, span, SETTLE_ROLLBACK, NULL, 0);
	counter_add(&counters->failed_spans, 1);
	if (runner->ops->keeps & SINK_KEEPS_SUCCESS)
		counter_add(&counters->event_write_fail, 1);
	if (runner->ops->keeps & SINK_KEEPS_KAFKA)
		counter_add(&counters->rollback, 1);
	if (runner->member) {
		runner->member->told(runner->member, false);
		return;
	}
	/* Spans that fail together are one failure. */
	uint64_t now_ns = clock_now_ns(runner->env.clock);
	if (now_ns < runner->backoff_until_ns)
		return;
	runner->failures++;
	uint64_t pause_ns = runner->failures * BACKOFF_NS;
	runner->backoff_until_ns = now_ns + (pause_ns < BACKOFF_MAX_NS ? pause_ns : BACKOFF_MAX_NS);
	counter_set(&counters->backing_off, 1);
}

static void
pending_set(struct sink_runner *runner, uint32_t spans, uint64_t bytes)
{
	runner->pending = spans;
	runner->pending_bytes = bytes;
	counter_set(&runner->counters.pending_spans, spans);
	atomic_store_explicit(&runner->busy, spans != 0, memory_order_release);
}

/* env->done: a pending span's end. */
static void
span_done(struct sink_env *env, struct span *span, enum sink_result result)
{
	struct sink_runner *runner = env->runner;
	assert(result != SINK_PENDING && runner->pending > 0);
	uint64_t bytes = span->body_bytes;
	span_settle(runner, span, result);
	pending_set(runner, runner->pending - 1, runner->pending_bytes - bytes);
}

/* env->done_some: part of it is out, or none. No pause: the sink waits where the trouble is (one bucket of many). */
static void
span_done_some(struct sink_env *env, struct span *span, const struct event_range *set, uint32_t count)
{
	struct sink_runner *runner = env->runner;
	struct sink_counters *counters = &runner->counters;
	uint64_t bytes = span->body_bytes, events = 0;
	assert(runner->pending > 0);
	for (uint32_t i = 0; i < count; i++)
		events += set[i].count;
	if (runner->channel->ops->settle(runner->taker, span, SETTLE_COMMIT, set, count))
		log_warn("sink %s: %llu events are out, but the channel lost the span: they may come again", runner->name, (unsigned long long)events);
	counter_add(&counters->delivered, events);
	counter_add(&counters->failed_spans, 1);
	if (runner->ops->keeps & SINK_KEEPS_SUCCESS) {
		counter_add(&counters->event_drain_success, events);
		counter_add(&counters->event_write_fail, 1);
	}
	pending_set(runner, runner->pending - 1, runner->pending_bytes - bytes);
	if (runner->member)
		runner->member->told(runner->member, false);
}

int
sink_runner_open(struct sink_runner **made, const struct sink_ops *ops, const void *config, const char *agent, const char *name,
		 struct channel *channel, struct clock *clock, struct err *err)
{
	return sink_runner_open_member(made, ops, config, agent, name, channel, clock, NULL, err);
}

int
sink_runner_open_member(struct sink_runner **made, const struct sink_ops *ops, const void *config, const char *agent, const char *name,
			struct channel *channel, struct clock *clock, struct sink_member *member, struct err *err)
{
	struct sink_runner *runner = calloc(1, sizeof *runner + strlen(name) + 1);
	if (!runner)
		return err_set(err, ENOMEM, "no memory for sink %s", name);
	memcpy(runner->name, name, strlen(name));
	runner->ops = ops;
	runner->channel = channel;
	runner->member = member;
	runner->batch_events = ops->batch_events ? ops->batch_events(config) : 1;
	/* A transaction of the channel takes no more than that. */
	if (channel->transaction_capacity && runner->batch_events > channel->transaction_capacity)
		runner->batch_events = channel->transaction_capacity;
	if (runner->batch_events == 0)
		runner->batch_events = 1;
	runner->pending_max = ops->pending_max ? ops->pending_max : PENDING_MAX;
	runner->pending_bytes_max = ops->pending_bytes ? ops->pending_bytes : PENDING_BYTES;
	runner->env = (struct sink_env){
		.name = runner->name, .agent = agent, .clock = clock, .channel = channel->ops, .done = span_done, .done_some = span_done_some,
		.on = channel, .runner = runner, .grouped = member && member->others,
		.counters = &runner->counters,
	};
	int rc = channel->ops->taker_open(channel, name, &runner->taker, err);
	if (rc) {
		err_prefix(err, rc, "sink %s", name);
		free(runner);
		return rc;
	}
	rc = ops->open(&runner->sink, config, &runner->env, err);
	if (rc) {
		err_prefix(err, rc, "sink %s", name);
		channel->ops->taker_close(runner->taker);
		free(runner);
		return rc;
	}
	counter_set(&runner->counters.start_time, clock_wall_ns(clock) / NS_PER_MS);
	uint32_t count = ops->keeps & SINK_KEEPS_KAFKA ? sizeof sink_metrics / sizeof *sink_metrics : ops->keeps ? METRICS_FLUME : METRICS_OWN;
	runner->metrics = (struct metric_set){
		.kind = "SINK", .component = runner->name, .metrics = sink_metrics, .count = count, .counters = &runner->counters,
	};
	metrics_add(&runner->metrics);
	*made = runner;
	return 0;
}

static void
fds_wait(struct pollfd *fds, int count, uint64_t wait_ns)
{
	if (!wait_ns)
		return;
	if (wait_ns > 60 * NS_PER_S)
		wait_ns = 60 * NS_PER_S;
	struct timespec timeout = { .tv_sec = (time_t)(wait_ns / NS_PER_S), .tv_nsec = (long)(wait_ns % NS_PER_S) };
	(void)ppoll(fds, (nfds_t)count, &timeout, NULL);
}

/* Sleeps until one of the sink's descriptors speaks, at most wait_ns. */
static void
sink_wait(struct sink_runner *runner, uint64_t wait_ns)
{
	struct pollfd fds[FDS_MAX];
	fds_wait(fds, runner->ops->wait_fds ? runner->ops->wait_fds(runner->sink, fds, FDS_MAX) : 0, wait_ns);
}

/* One span from the channel to the sink. False: nothing there (or it failed). */
static bool
span_offer(struct sink_runner *runner, uint64_t wait_ns)
{
	struct sink_counters *counters = &runner->counters;
	uint32_t keeps = runner->ops->keeps;
	struct span *span = NULL;
	atomic_store_explicit(&runner->busy, true, memory_order_release);
	int rc = runner->channel->ops->take(runner->taker, runner->batch_events, TAKE_BYTES, wait_ns, &span);
	if (rc < 0 || !span) {
		if (rc < 0) {
			static struct log_limit limit;
			log_limited(&limit, LOG_ERROR, "sink %s: cannot read channel %s: %s", runner->name, runner->channel->name, strerror(-rc));
			if (keeps & SINK_KEEPS_SUCCESS)
				counter_add(&counters->channel_read_fail, 1);
			if (runner->member)
				runner->member->told(runner->member, false);
			else
				runner->backoff_until_ns = clock_now_ns(runner->env.clock) + BACKOFF_NS;
		} else if (keeps & SINK_KEEPS_BATCHES) {
			counter_add(&counters->batch_empty, 1);
		}
		pending_set(runner, runner->pending, runner->pending_bytes);
		return false;
	}
	if (span->events < runner->batch_events) {
		if (keeps & SINK_KEEPS_BATCHES)
			counter_add(&counters->batch_underflow, 1);
	} else if (keeps & SINK_KEEPS_COMPLETE) {
		counter_add(&counters->batch_complete, 1);
	}
	if (keeps & SINK_KEEPS_ATTEMPTS)
		counter_add(&counters->event_drain_attempt, span->events);
	/* Counted as pending first: the sink may report it (or others) from within deliver. */
	uint64_t bytes = span->body_bytes;
	pending_set(runner, runner->pending + 1, runner->pending_bytes + bytes);
	enum sink_result result = runner->ops->deliver(runner->sink, span);
	if (result != SINK_PENDING)
		span_done(&runner->env, span, result);
	return true;
}

uint64_t
sink_member_tick(struct sink_runner *runner, uint64_t now_ns, bool ended)
{
	if (runner->ops->drain && (ended || atomic_load_explicit(&runner->draining, memory_order_relaxed)))
		runner->ops->drain(runner->sink);
	return runner->ops->step ? runner->ops->step(runner->sink, now_ns) : UINT64_MAX;
}

bool
sink_member_ready(const struct sink_runner *runner)
{
	return runner->pending < runner->pending_max && runner->pending_bytes < runner->pending_bytes_max &&
	       (!runner->ops->ready || runner->ops->ready(runner->sink));
}

bool
sink_member_empty(const struct sink_runner *runner)
{
	return runner->pending == 0;
}

bool
sink_member_offer(struct sink_runner *runner, uint64_t wait_ns)
{
	return span_offer(runner, wait_ns);
}

void
sink_members_wait(const struct sink_member *members, uint32_t count, uint64_t wait_ns)
{
	struct pollfd fds[FDS_MAX * GROUP_MEMBERS_MAX];
	int used = 0;
	for (uint32_t i = 0; i < count; i++) {
		struct sink_runner *runner = members[i].runner;
		runner->channel->ops->taker_idle(runner->taker);
		if (runner->ops->wait_fds)
			used += runner->ops->wait_fds(runner->sink, fds + used, FDS_MAX);
	}
	fds_wait(fds, used, wait_ns);
}

void
sink_member_backing_off(struct sink_runner *runner, bool out)
{
	counter_set(&runner->counters.backing_off, out);
}

void
sink_runner_step(struct sink_runner *runner, uint64_t wait_ns)
{
	uint64_t now_ns = clock_now_ns(runner->env.clock);
	uint64_t due_ns = sink_member_tick(runner, now_ns, false);
	if (due_ns < wait_ns)
		wait_ns = due_ns;
	if (runner->backoff_until_ns) {
		if (now_ns < runner->backoff_until_ns) {
			uint64_t left_ns = runner->backoff_until_ns - now_ns;
			runner->channel->ops->taker_idle(runner->taker);
			sink_wait(runner, left_ns < wait_ns ? left_ns : wait_ns);
			return;
		}
		runner->backoff_until_ns = 0;
		counter_set(&runner->counters.backing_off, 0);
	}
	for (uint32_t i = 0; i < TAKES_PER_STEP; i++) {
		if (!sink_member_ready(runner)) {
			if (i == 0)
				sink_wait(runner, wait_ns);
			return;
		}
		if (!span_offer(runner, i == 0 ? wait_ns : 0) || runner->backoff_until_ns)
			return;
	}
}

void
sink_runner_finish(struct sink_runner *runner, uint64_t deadline_ns)
{
	if (runner->ops->finish)
		runner->ops->finish(runner->sink, deadline_ns);
	assert(runner->pending == 0);	/* finish reports them all */
	counter_set(&runner->counters.stop_time, clock_wall_ns(runner->env.clock) / NS_PER_MS);
	runner->ops->close(runner->sink);
	runner->channel->ops->taker_close(runner->taker);
	metrics_remove(&runner->metrics);
	free(runner);
}

bool
sink_runner_busy(struct sink_runner *runner)
{
	return atomic_load_explicit(&runner->busy, memory_order_acquire);
}

void
sink_runner_drain(struct sink_runner *runner)
{
	atomic_store_explicit(&runner->draining, true, memory_order_relaxed);
}

void
sink_runner_files(struct sink_runner *runner, void (*visit)(void *context, const struct sink_file *file), void *context)
{
	if (runner->ops->files)
		runner->ops->files(runner->sink, visit, context);
}
