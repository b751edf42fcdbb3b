/* worker: the step of a data core: the loop that reads top to bottom. One per lcore; polls one queue of every port. */
#ifndef PENSTOCK_DATAPLANE_WORKER_H
#define PENSTOCK_DATAPLANE_WORKER_H

#include "dataplane/ingress.h"
#include "dataplane/listeners.h"
#include "dataplane/net/net.h"
#include "dataplane/net/tcp_group.h"
#include "dataplane/port.h"
#include "dataplane/tcp_carrier.h"

#define WORKER_PORTS_MAX 16

struct worker_port {
	struct port *port;
	uint32_t queue;
	struct net *net;
	struct worker *worker;
	const struct address_prefix *allow;	/* senders of this port; borrowed */
	uint32_t allow_count;		/* 0: all */
	struct tcp_carrier tcp;		/* .tcp NULL: no stream source listens on an address of this port */
};

struct worker_counters {
	struct counter turns, busy_turns, sleeps;
};

/* Owner: control makes and frees it. Thread: its lcore, but for `stop`. */
struct worker {
	char name[16];
	struct ingress ingress;
	struct listeners listeners;
	struct tcp_listeners tcp_listeners;
	struct streams streams;
	struct worker_port ports[WORKER_PORTS_MAX];
	uint32_t port_count;
	struct frame frames[PORT_BURST_MAX];
	bool sleeps;			/* penstock.idle = sleep */
	uint64_t idle_turns;
	uint64_t yielded_ns;		/* last time the CPU was offered to others */
	_Atomic bool stop;
	flow_post flows;		/* control asks for connections */
	struct worker_counters counters;
	struct metric_set metrics;
};

extern const struct metric worker_metrics[];
extern const uint32_t worker_metric_count;

/* One turn. Returns the frames received. */
uint32_t worker_step(struct worker *worker);
/* Turns until `stop`, then puts, seals and reaps until nothing is in flight (at most 5 s). For eal_launch. */
int worker_run(void *worker);
/* on_udp of a worker's nets; context is the struct worker_port. */
enum drop worker_on_udp(void *context, const struct net_datagram *datagram);

#endif
