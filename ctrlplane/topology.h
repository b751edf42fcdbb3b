/* topology: threads, cores, links, depths: the one file that draws the machine.
 *
 *   lcore worker (one per lcore) -+                      +- sink runner (one per sink)
 *   source runner (kernel sockets)+-> channel writer ----+
 *                                    (one per channel)   +- sink group (one per sinkgroup: its sinks)
 *
 * Start: channels recover, sinks run, the pipeline is made, ports and sockets open. Stop is the reverse, each with a deadline. Control thread. */
#ifndef PENSTOCK_CTRLPLANE_TOPOLOGY_H
#define PENSTOCK_CTRLPLANE_TOPOLOGY_H

#include <pthread.h>

#include "ctrlplane/config.h"
#include "dataplane/source_runner.h"
#include "dataplane/worker.h"
#include "sinks/sink_group.h"

struct stats;

struct topology_channel {
	struct channel *channel;
	pthread_t thread;
	bool running;
	_Atomic bool stop;
};

struct topology_sink {
	const char *name;		/* of the group: its own */
	struct sink_runner *runner;	/* NULL in a group's */
	struct sink_group *group;	/* NULL: a sink */
	bool grouped;			/* a group's thread runs it */
	pthread_t thread;
	bool running;
	_Atomic bool stop;
	uint64_t deadline_ns;		/* monotonic; set before stop */
};

struct topology_port {
	const char *name;
	struct port *port;
	struct tcp_group *tcp_group;	/* NULL: one queue */
	struct port_counters {
		struct counter frames_in, nic_missed, no_mbuf, nic_error, tx_frames, tx_failed;
	} counters;
	struct metric_set metrics;
};

struct topology {
	const struct config *config;
	struct clock *clock;
	struct stats *stats;
	struct topology_channel *channels;
	struct topology_sink *sinks;	/* config's, then a slot for each group */
	struct pipeline pipeline;
	struct worker **workers;
	struct metric_set (*worker_ports)[WORKER_PORTS_MAX];
	uint32_t worker_count;
	bool eal_started;
	struct topology_port ports[APPLIANCE_PORTS_MAX];
	uint32_t port_count;
	struct source_runner *runner;	/* NULL: no source is on kernel sockets */
	pthread_t runner_thread;
	bool runner_running;
};

/* Builds and starts everything. On an error what was started is stopped again. */
int topology_start(struct topology *topology, const struct config *config, struct clock *clock, struct stats *stats, struct err *err);
/* Intake ends, sinks drain what they can by deadline_ns (monotonic), the rest stays durable. `hurry` (may be NULL) cuts the drain short. */
void topology_stop(struct topology *topology, uint64_t deadline_ns, bool (*hurry)(void *context), void *context);

/* The instances of a source, one for each ingress; returns how many. */
uint32_t topology_source_instances(struct topology *topology, const char *source, struct ingress_source **instances, uint32_t max);
struct port *topology_port(struct topology *topology, const char *name);

#endif
