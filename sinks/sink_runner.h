/* sink_runner: the step of a sink thread: take, deliver, settle, back off (Flume: min(n * 1 s, 5 s)). */
#ifndef PENSTOCK_SINKS_SINK_RUNNER_H
#define PENSTOCK_SINKS_SINK_RUNNER_H

#include "sinks/sink.h"

struct sink_runner;

/* Control. Opens the sink (which may fail) and a taker on the channel. */
int sink_runner_open(struct sink_runner **runner, const struct sink_ops *ops, const void *config, const char *agent, const char *name,
		     struct channel *channel, struct clock *clock, struct err *err);
/* Runner thread. One turn; waits at most wait_ns for something to do. */
void sink_runner_step(struct sink_runner *runner, uint64_t wait_ns);
/* Runner thread: gives pending spans until deadline_ns (monotonic), settles all, closes sink and taker, frees the runner. */
void sink_runner_finish(struct sink_runner *runner, uint64_t deadline_ns);
/* Any thread: a stop is near, what the sink keeps open is to end (sink_ops.drain). */
void sink_runner_drain(struct sink_runner *runner);
/* Any thread: a span is open or pending. */
bool sink_runner_busy(struct sink_runner *runner);
/* Control, while the runner thread runs: sink_ops.files. */
void sink_runner_files(struct sink_runner *runner, void (*visit)(void *context, const struct sink_file *file), void *context);

#endif
