/* source_runner: the step of a thread that brings bytes by other ways than packets: kernel sockets now. Then the same ingress. */
#ifndef PENSTOCK_DATAPLANE_SOURCE_RUNNER_H
#define PENSTOCK_DATAPLANE_SOURCE_RUNNER_H

#include "dataplane/listen/kernel_listen.h"
#include "dataplane/listen/kernel_stream.h"

#define SOURCE_RUNNER_LISTENS_MAX 256

/* Owner: control makes and frees it (while its thread does not run). Thread: the runner's. */
struct source_runner {
	struct ingress ingress;
	struct kernel_listen listens[SOURCE_RUNNER_LISTENS_MAX];
	uint32_t listen_count;
	struct kernel_streams streams;
	int wake_fd;			/* eventfd: completions, and stop */
	_Atomic bool stop;
	flow_post flows;		/* control asks for connections, then source_runner_wake */
};

/* One turn; sleeps in the kernel for at most wait_ms when nothing comes. */
void source_runner_step(struct source_runner *runner, int wait_ms);
/* Turns until stop, then drains: what sits in the sockets is still taken, all is submitted and acknowledged (at most 5 s). */
void *source_runner_run(void *runner);
/* Any thread. */
void source_runner_wake(struct source_runner *runner);
void source_runner_stop(struct source_runner *runner);

#endif
