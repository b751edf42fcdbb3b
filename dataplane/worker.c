#include "dataplane/worker.h"

#include <sched.h>
#include <time.h>

/* A polling core that never lets go of its CPU delays the log device's interrupt there: a sync of 47 us became 2.6 to 4 ms. One with nothing to do lets go
 * at every turn: what the kernel does there when a write ends is what the peers wait for. */
#define YIELD_NS (50 * NS_PER_US)
#define IDLE_TURNS_BEFORE_SLEEP 2000
#define IDLE_SLEEP_NS (500 * NS_PER_US)
/* After a second of naps they get longer: a ring of 1,024 descriptors holds what 200,000 frames a second bring meanwhile. */
#define IDLE_LONG_TURNS 4000
#define IDLE_LONG_SLEEP_NS (5 * NS_PER_MS)
#define DRAIN_NS (5 * NS_PER_S)

const struct metric worker_metrics[] = {
	{ "turns", METRIC_COUNTER, offsetof(struct worker_counters, turns), "turns", "Turns of the loop." },
	{ "busy_turns", METRIC_COUNTER, offsetof(struct worker_counters, busy_turns), "turns", "Turns that received a frame." },
	{ "sleeps", METRIC_COUNTER, offsetof(struct worker_counters, sleeps), "sleeps", "Naps while no frames came (penstock.idle = sleep)." },
};
const uint32_t worker_metric_count = sizeof worker_metrics / sizeof *worker_metrics;

enum drop
worker_on_udp(void *context, const struct net_datagram *dg)
{
	const struct worker_port *port = context;
	struct worker *worker = port->worker;
	if (__builtin_expect(port->allow_count, 0) && !address_in_prefixes(&dg->from, port->allow, port->allow_count))
		return DROP_SENDER_NOT_ALLOWED;
	struct datagram datagram = { .bytes = dg->payload, .len = dg->len, .from = dg->from, .to = dg->to,
				     .time_ns = worker->ingress.wall_ns };
	return listeners_deliver(&worker->listeners, &datagram);
}

/* A peer waits for its ACK and no further byte of it will fill the open block. */
static bool
hurry(struct worker *worker)
{
	bool any = false;
	for (uint32_t i = 0; i < worker->port_count; i++)
		any |= worker->ports[i].tcp.tcp && tcp_carrier_hurry(&worker->ports[i].tcp);
	return any;
}

static void
turn_tcp(struct worker *worker, uint64_t now_ns)
{
	tcp_listeners_credit(&worker->tcp_listeners, &worker->ingress, worker->port_count);
	for (uint32_t i = 0; i < worker->port_count; i++)
		if (worker->ports[i].tcp.tcp)
			tcp_carrier_turn(&worker->ports[i].tcp, now_ns);
}

static __attribute__((noinline, cold)) void
answer_flows(struct worker *worker, struct flow_query *query)
{
	query->count = 0;
	while (query->port < worker->port_count && query->count < FLOW_ROWS) {
		struct tcp_carrier *carrier = &worker->ports[query->port].tcp;
		if (carrier->tcp && tcp_carrier_flows(carrier, query))
			break;
		query->port++;
		query->cursor = 0;
	}
	query->more = query->port < worker->port_count;
	flow_answered(query);
}

static bool
naps(const struct worker *worker)
{
	return worker->sleeps && worker->idle_turns >= IDLE_TURNS_BEFORE_SLEEP;
}

uint32_t
worker_step(struct worker *worker)
{
	struct ingress *ingress = &worker->ingress;
	uint64_t now_ns = clock_now_ns(ingress->clock);
	uint32_t received = 0;

	ingress_reap(ingress);						/* completions from the channels: what is durable now */
	if (worker->tcp_listeners.count)
		streams_run(&worker->streams, now_ns);			/* streams that waited for credit; limits */
	for (uint32_t i = 0; i < worker->port_count; i++) {
		struct worker_port *p = &worker->ports[i];
		if (p->tcp.tcp && tcp_handed_waits(p->tcp.tcp)) {	/* segments that came to another lcore */
			ingress->wall_ns = clock_wall_ns(ingress->clock);
			received += tcp_handed(p->tcp.tcp, now_ns);
		}
		uint32_t n = port_rx(p->port, p->queue, worker->frames, PORT_BURST_MAX);
		if (n && !received)
			ingress->wall_ns = clock_wall_ns(ingress->clock);
		net_input(p->net, worker->frames, n, now_ns);		/* frames -> events, one copy into the staging block */
		port_release(p->port, p->queue, worker->frames, n);	/* after this line nothing points into a frame */
		net_tick(p->net, now_ns);				/* fragments, neighbours, announcements */
		received += n;
	}
	ingress_put(ingress);						/* interceptors over the run of bodies, then the selector */
	ingress_input(ingress, received != 0);
	ingress_seal_due(ingress, hurry(worker));			/* blocks the writer is free to take; full ones went already */
	if (worker->tcp_listeners.count)
		turn_tcp(worker, now_ns);				/* acknowledgements, replies, timers */

	struct flow_query *query = flow_asked(&worker->flows);
	if (query)
		answer_flows(worker, query);

	counter_add(&worker->counters.turns, 1);
	if (received) {
		counter_add(&worker->counters.busy_turns, 1);
		worker->idle_turns = 0;
	} else {
		worker->idle_turns++;
	}
	if (!naps(worker) && (!received || now_ns - worker->yielded_ns >= YIELD_NS)) {
		worker->yielded_ns = now_ns;
		sched_yield();
	}
	return received;
}

static void
nap(struct worker *worker)
{
	if (!naps(worker))
		return;
	counter_add(&worker->counters.sleeps, 1);
	uint64_t ns = worker->idle_turns < IDLE_LONG_TURNS ? IDLE_SLEEP_NS : IDLE_LONG_SLEEP_NS;
	nanosleep(&(struct timespec){ .tv_nsec = (long)ns }, NULL);
}

int
worker_run(void *context)
{
	struct worker *worker = context;
	while (!atomic_load_explicit(&worker->stop, memory_order_relaxed)) {
		worker_step(worker);
		nap(worker);
	}
	struct ingress *ingress = &worker->ingress;
	uint64_t deadline_ns = clock_now_ns(ingress->clock) + DRAIN_NS;
	ingress_put(ingress);
	while (!ingress_drained(ingress) && clock_now_ns(ingress->clock) < deadline_ns) {
		ingress_seal_due(ingress, true);
		ingress_reap(ingress);
		turn_tcp(worker, clock_now_ns(ingress->clock));		/* what became durable is acknowledged still */
		sched_yield();
	}
	turn_tcp(worker, clock_now_ns(ingress->clock));
	return 0;
}
