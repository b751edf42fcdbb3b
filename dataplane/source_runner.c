#include "dataplane/source_runner.h"

#include <poll.h>
#include <unistd.h>

#define DRAIN_NS (5 * NS_PER_S)

static uint32_t
receive_all(struct source_runner *runner)
{
	uint32_t received = 0;
	for (uint32_t i = 0; i < runner->listen_count; i++)
		received += kernel_listen_receive(&runner->listens[i]);
	return received;
}

static void
sleep_until_woken(struct source_runner *runner, int wait_ms)
{
	struct pollfd fds[SOURCE_RUNNER_LISTENS_MAX + 2];
	wait_ms = kernel_streams_wait_ms(&runner->streams, wait_ms);
	if (ingress_open_events(&runner->ingress))
		wait_ms = 1;	/* the writer is busy: it is offered the block again soon */
	if (!ingress_sleep(&runner->ingress))
		return;
	for (uint32_t i = 0; i < runner->listen_count; i++)
		fds[i] = (struct pollfd){ .fd = runner->listens[i].fd, .events = POLLIN };
	fds[runner->listen_count] = (struct pollfd){ .fd = runner->wake_fd, .events = POLLIN };
	fds[runner->listen_count + 1] = (struct pollfd){ .fd = runner->streams.epoll_fd, .events = POLLIN };
	poll(fds, runner->listen_count + 2, wait_ms);
	ingress_woken(&runner->ingress);
	if (fds[runner->listen_count].revents & POLLIN) {
		uint64_t count;
		ssize_t n = read(runner->wake_fd, &count, sizeof count);
		(void)n;	/* EAGAIN: another wake-up was read before */
	}
}

void
source_runner_step(struct source_runner *runner, int wait_ms)
{
	struct ingress *ingress = &runner->ingress;
	ingress_reap(ingress);
	uint32_t received = receive_all(runner);
	ingress->wall_ns = clock_wall_ns(ingress->clock);
	uint64_t now_ns = clock_now_ns(ingress->clock);
	received += kernel_streams_step(&runner->streams, now_ns);
	ingress_put(ingress);
	ingress_seal_due(ingress, false);
	struct flow_query *query = flow_asked(&runner->flows);
	if (query)
		kernel_streams_flows(&runner->streams, query);
	kernel_streams_flush(&runner->streams, now_ns);		/* replies that the reap made due */
	if (!received)
		sleep_until_woken(runner, wait_ms);
}

void *
source_runner_run(void *context)
{
	struct source_runner *runner = context;
	struct ingress *ingress = &runner->ingress;
	if (kernel_listen_buffers_init())
		return NULL;
	while (!atomic_load_explicit(&runner->stop, memory_order_relaxed))
		source_runner_step(runner, 1000);
	uint64_t deadline_ns = clock_now_ns(ingress->clock) + DRAIN_NS;
	while (receive_all(runner) && clock_now_ns(ingress->clock) < deadline_ns) {
		ingress_put(ingress);
		ingress_reap(ingress);
	}
	ingress_put(ingress);
	kernel_streams_stop(&runner->streams);
	while ((!ingress_drained(ingress) || !kernel_streams_idle(&runner->streams)) && clock_now_ns(ingress->clock) < deadline_ns) {
		ingress_put(ingress);
		ingress_seal_due(ingress, true);
		ingress_reap(ingress);
		kernel_streams_flush(&runner->streams, clock_now_ns(ingress->clock));
		if (!ingress_drained(ingress))
			poll(&(struct pollfd){ .fd = runner->wake_fd, .events = POLLIN }, 1, 1);
	}
	kernel_listen_buffers_free();
	return NULL;
}

void
source_runner_stop(struct source_runner *runner)
{
	atomic_store(&runner->stop, true);
	source_runner_wake(runner);
}

void
source_runner_wake(struct source_runner *runner)
{
	uint64_t one = 1;
	ssize_t n = write(runner->wake_fd, &one, sizeof one);
	(void)n;	/* full: it is awake anyway */
}
