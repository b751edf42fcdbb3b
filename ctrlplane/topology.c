#include "ctrlplane/topology.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "ctrlplane/stats.h"
#include "dataplane/dpdk/eal.h"
#include "dataplane/dpdk/port_dpdk.h"
#include "dataplane/resolve.h"
#include "dataplane/source/stream_options.h"

#define BLOCK_BYTES (256u << 10)
#define BLOCKS_MIN 32
#define WRITER_WAIT_NS (50 * NS_PER_MS)
#define SINK_WAIT_NS (200 * NS_PER_MS)

static int
start_thread(pthread_t *thread, const char *name, void *(*run)(void *context), void *context, bool *running, struct err *err)
{
	int rc = pthread_create(thread, NULL, run, context);
	if (rc)
		return err_set(err, rc, "cannot start a thread: %s", strerror(rc));
	*running = true;
	pthread_setname_np(*thread, name);
	return 0;
}

/* ---- channels ---- */

static void *
run_writer(void *context)
{
	struct topology_channel *c = context;
	channel_writer_begin();
	while (!atomic_load_explicit(&c->stop, memory_order_relaxed))
		c->channel->ops->writer_step(c->channel, WRITER_WAIT_NS);
	while (!c->channel->ops->idle(c->channel))
		c->channel->ops->writer_step(c->channel, NS_PER_MS);
	return NULL;
}

static int
start_channels(struct topology *t, uint32_t ingresses, bool huge_pages, struct err *err)
{
	const struct config *config = t->config;
	t->channels = calloc(config->channel_count ? config->channel_count : 1, sizeof *t->channels);
	if (!t->channels)
		return err_set(err, ENOMEM, "no memory");
	uint64_t share = config->appliance.options.memory_bytes / 2 / (config->channel_count ? config->channel_count : 1);
	uint32_t blocks = (uint32_t)(share / BLOCK_BYTES);
	uint32_t wanted = BLOCKS_MIN + 8 * ingresses;
	for (size_t i = 0; i < config->channel_count; i++) {
		const struct config_component *component = &config->channels[i];
		const struct channel_ops *ops = component->kind->ops;
		struct channel_env env = { .name = component->name, .clock = t->clock, .block_bytes = BLOCK_BYTES,
					   .blocks = blocks > wanted ? blocks : wanted, .links_max = ingresses, .huge_pages = huge_pages };
		int rc = ops->open(&t->channels[i].channel, component->config, &env, err);
		if (rc)
			return err_prefix(err, rc, "%s: channels.%s", component->origin, component->name);
		stats_component_add(t->stats, STATS_CHANNEL, component->name, component->kind->name);
		t->pipeline.channels[i] = t->channels[i].channel;
	}
	t->pipeline.channel_count = (uint32_t)config->channel_count;
	return 0;
}

static int
run_channels(struct topology *t, struct err *err)
{
	for (size_t i = 0; i < t->config->channel_count; i++) {
		struct topology_channel *c = &t->channels[i];
		int rc = start_thread(&c->thread, "writer", run_writer, c, &c->running, err);
		if (rc)
			return rc;
	}
	return 0;
}

/* ---- sinks ---- */

static void *
run_sink(void *context)
{
	struct topology_sink *s = context;
	while (!atomic_load_explicit(&s->stop, memory_order_acquire)) {
		if (s->group)
			sink_group_step(s->group, SINK_WAIT_NS);
		else
			sink_runner_step(s->runner, SINK_WAIT_NS);
	}
	if (s->group)
		sink_group_finish(s->group, s->deadline_ns);
	else
		sink_runner_finish(s->runner, s->deadline_ns);
	return NULL;
}

static uint32_t
sink_slots(const struct topology *t)
{
	return (uint32_t)(t->config->sink_count + t->config->group_count);
}

static int
open_group(struct topology *t, const struct config_group *from, struct topology_sink *slot, struct err *err)
{
	const struct config *config = t->config;
	bool one_channel = true;
	for (size_t i = 1; i < from->count; i++)
		one_channel = one_channel && config->sinks[from->sinks[i]].channel == config->sinks[from->sinks[0]].channel;
	slot->name = from->name;
	int rc = sink_group_open(&slot->group, from->processor.kind->ops, from->processor.config, from->name, from->names, (uint32_t)from->count, one_channel,
				 t->clock, err);
	for (size_t i = 0; i < from->count && !rc; i++) {
		const struct config_sink *sink = &config->sinks[from->sinks[i]];
		struct topology_sink *member = &t->sinks[from->sinks[i]];
		member->grouped = true;
		rc = sink_group_member(slot->group, (uint32_t)i, sink->component.kind->ops, sink->component.config, config->agent,
				       t->channels[sink->channel].channel, &member->runner, err);
		if (rc)
			err_prefix(err, rc, "%s: sinks.%s", sink->component.origin, sink->component.name);
	}
	return rc;
}

static int
start_sinks(struct topology *t, struct err *err)
{
	const struct config *config = t->config;
	t->sinks = calloc(sink_slots(t) + 1, sizeof *t->sinks);
	if (!t->sinks)
		return err_set(err, ENOMEM, "no memory");
	for (size_t i = 0; i < config->group_count; i++) {
		/* A group without a processor is one sink, which runs as it would alone. */
		int rc = config->groups[i].processor.kind ? open_group(t, &config->groups[i], &t->sinks[config->sink_count + i], err) : 0;
		if (rc)
			return rc;
	}
	for (size_t i = 0; i < config->sink_count; i++) {
		const struct config_component *component = &config->sinks[i].component;
		struct topology_sink *s = &t->sinks[i];
		s->name = component->name;
		int rc = s->grouped ? 0 : sink_runner_open(&s->runner, component->kind->ops, component->config, config->agent, component->name,
							   t->channels[config->sinks[i].channel].channel, t->clock, err);
		if (rc)
			return err_prefix(err, rc, "%s: sinks.%s", component->origin, component->name);
		stats_component_add(t->stats, STATS_SINK, component->name, component->kind->name);
	}
	return 0;
}

static int
run_sinks(struct topology *t, struct err *err)
{
	for (uint32_t i = 0; i < sink_slots(t); i++) {
		struct topology_sink *s = &t->sinks[i];
		bool idle = s->grouped || (!s->runner && !s->group);
		int rc = idle ? 0 : start_thread(&s->thread, s->group ? "sinkgroup" : "sink", run_sink, s, &s->running, err);
		if (rc)
			return rc;
	}
	return 0;
}

/* ---- pipeline ---- */

static int
build_pipeline(struct topology *t, struct err *err)
{
	const struct config *config = t->config;
	struct pipeline *pipeline = &t->pipeline;
	pipeline->generation = 1;
	pipeline->sources = calloc(config->source_count ? config->source_count : 1, sizeof *pipeline->sources);
	if (!pipeline->sources)
		return err_set(err, ENOMEM, "no memory");
	for (size_t i = 0; i < config->source_count; i++) {
		const struct config_source *from = &config->sources[i];
		struct pipeline_source *source = &pipeline->sources[i];
		source->name = from->component.name;
		source->ops = from->component.kind->ops;
		source->config = from->component.config;
		source->required = from->required;
		source->optional = from->optional;
		source->selector.otherwise = from->selector_header ? from->default_required : from->required | from->optional;
		if (from->selector_header) {
			source->selector.header = name_intern(from->selector_header, strlen(from->selector_header));
			source->selector.mappings = calloc(from->mapping_count ? from->mapping_count : 1, sizeof *source->selector.mappings);
			if (!source->selector.mappings)
				return err_set(err, ENOMEM, "no memory");
			for (size_t k = 0; k < from->mapping_count; k++)
				source->selector.mappings[source->selector.mapping_count++] = (struct selector_mapping){
					from->mappings[k].value, (uint32_t)strlen(from->mappings[k].value),
					from->mappings[k].required | from->mappings[k].optional };
		}
		for (size_t k = 0; k < from->interceptor_count; k++) {
			const struct config_component *component = &from->interceptors[k];
			struct pipeline_interceptor *interceptor = &source->interceptors[k];
			interceptor->name = component->name;
			interceptor->ops = component->kind->ops;
			int rc = interceptor->ops->compile(component->config, &interceptor->compiled, err);
			if (rc)
				return err_prefix(err, rc, "%s: sources.%s.interceptors.%s", component->origin, source->name, component->name);
			source->interceptor_count++;
		}
		pipeline->source_count++;
		stats_component_add(t->stats, STATS_SOURCE, source->name, from->component.kind->name);
	}
	return 0;
}

static void
free_pipeline(struct topology *t)
{
	for (uint32_t i = 0; i < t->pipeline.source_count; i++) {
		struct pipeline_source *source = &t->pipeline.sources[i];
		for (uint32_t k = 0; k < source->interceptor_count; k++)
			if (source->interceptors[k].ops->free)
				source->interceptors[k].ops->free(source->interceptors[k].compiled);
		free(source->selector.mappings);
	}
	free(t->pipeline.sources);
	t->pipeline.sources = NULL;
	t->pipeline.source_count = 0;
}

/* ---- which path a listen address takes ---- */

/* The addresses of the dataplane's ports that the listen means; 0: kernel sockets. */
static uint32_t
port_addresses(const struct topology *t, const struct source_listen *listen, struct address *out, uint32_t max)
{
	const struct appliance *appliance = &t->config->appliance;
	struct address host = { .port = (uint16_t)listen->port };
	bool any = !listen->host || (address_parse_ip(&host, listen->host) == 0 && address_is_any(&host));
	if (!any && address_parse_ip(&host, listen->host)) {
		struct addrinfo hints = { .ai_socktype = SOCK_DGRAM }, *list = NULL;
		if (getaddrinfo(listen->host, NULL, &hints, &list))
			return 0;	/* the kernel socket says what is wrong with it */
		address_from_sockaddr(&host, list->ai_addr);
		freeaddrinfo(list);
	}
	uint32_t n = 0;
	for (uint32_t p = 0; p < appliance->port_count; p++) {
		for (uint32_t a = 0; a < appliance->ports[p].address_count && n < max; a++) {
			struct address own = appliance->ports[p].addresses[a].address;
			own.port = (uint16_t)listen->port;
			if (any || memcmp(own.ip, host.ip, 16) == 0)
				out[n++] = own;
		}
		for (uint32_t g = 0; g < appliance->ports[p].group_count && n < max; g++) {
			struct address group = appliance->ports[p].groups[g];
			group.port = (uint16_t)listen->port;
			if (any || memcmp(group.ip, host.ip, 16) == 0)
				out[n++] = group;
		}
	}
	return n;
}

static bool
needs_runner(const struct topology *t)
{
	for (uint32_t i = 0; i < t->pipeline.source_count; i++) {
		const struct pipeline_source *source = &t->pipeline.sources[i];
		struct source_listen listens[SOURCE_LISTENS_MAX];
		struct address addresses[64];
		uint32_t n = source->ops->listens ? source->ops->listens(source->config, listens, SOURCE_LISTENS_MAX) : 0;
		for (uint32_t k = 0; k < n; k++)
			if (!port_addresses(t, &listens[k], addresses, 64))
				return true;
	}
	return false;
}

/* ---- data cores ---- */

/* DPDK takes memory that leaves no files behind (--in-memory) from pages of every size, the largest first, and cannot be told otherwise: one size
 * alone can be had while no other is free. */
static int
hugepages_check(const struct appliance *appliance, uint64_t page_bytes, struct err *err)
{
	const char *size = page_bytes == 2u << 20 ? "2m" : "1g";
	uint64_t all = eal_huge_free_bytes(0), own = eal_huge_free_bytes(page_bytes), wanted = appliance->options.memory_bytes / 2;
	if (all > own)
		return err_set(err, EINVAL, "penstock.hugepages = %s: %llu MiB of pages of another size are free, and DPDK would take those too: use auto, or "
			       "free them (echo 0 > /sys/kernel/mm/hugepages/hugepages-.../nr_hugepages)", size, (unsigned long long)((all - own) >> 20));
	if (own < wanted)
		return err_set(err, ENOMEM, "penstock.hugepages = %s: %llu MiB of them are free, %llu are wanted: echo %llu > "
			       "/sys/kernel/mm/hugepages/hugepages-%llukB/nr_hugepages, or use auto", size, (unsigned long long)(own >> 20),
			       (unsigned long long)(wanted >> 20), (unsigned long long)(wanted / page_bytes + 8),
			       (unsigned long long)(page_bytes >> 10));
	return 0;
}

static int
start_eal(struct topology *t, struct err *err)
{
	const struct appliance *appliance = &t->config->appliance;
	uint32_t hugepages = appliance->options.hugepages;
	if (!appliance->port_count)
		return 0;
	if (hugepages == HUGEPAGES_2M || hugepages == HUGEPAGES_1G) {
		int rc = hugepages_check(appliance, hugepages == HUGEPAGES_2M ? 2u << 20 : 1u << 30, err);
		if (rc)
			return rc;
	}
	uint32_t cpus[EAL_LCORES_MAX];
	const char *pci[APPLIANCE_PORTS_MAX];
	struct eal_config eal = { .lcore_count = appliance->lcores.count, .lcore_cpus = cpus, .pci = pci,
				  .memory_bytes = appliance->options.memory_bytes / 2, .no_huge = appliance->options.hugepages == HUGEPAGES_NONE };
	if (!appliance->lcores.count || appliance->lcores.count > EAL_LCORES_MAX)
		return err_set(err, EINVAL, "penstock.lcores: ports need 1 to %d data cores: set penstock.lcores = 1", EAL_LCORES_MAX);
	for (uint32_t i = 0; i < appliance->lcores.count; i++)
		cpus[i] = appliance->lcores.ids[i];
	for (uint32_t p = 0; p < appliance->port_count; p++)
		if (strncmp(appliance->ports[p].options.device, "net_", 4) != 0)
			pci[eal.pci_count++] = appliance->ports[p].options.device;
	int rc = eal_start(&eal, err);
	if (rc)
		return err_prefix(err, rc, "penstock.ports");
	t->eal_started = true;
	t->worker_count = appliance->lcores.count;
	return 0;
}

static void
refresh_port(struct metric_set *set)
{
	struct topology_port *p = set->context;
	struct port_stats stats;
	p->port->ops->stats(p->port, &stats);
	counter_set(&p->counters.nic_missed, stats.nic_missed);
	counter_set(&p->counters.no_mbuf, stats.no_mbuf);
	counter_set(&p->counters.nic_error, stats.nic_error);
	counter_set(&p->counters.frames_in, stats.nic_missed + stats.no_mbuf + stats.nic_error);
	counter_set(&p->counters.tx_frames, stats.tx_frames);
	counter_set(&p->counters.tx_failed, stats.tx_failed);
}

static const struct metric port_metrics[] = {
	{ "frames_in", METRIC_COUNTER, offsetof(struct port_counters, frames_in), "frames", "Frames that came in." },
	{ "drop_nic_missed", METRIC_COUNTER, offsetof(struct port_counters, nic_missed), "frames", "The device's receive queue was full." },
	{ "drop_no_mbuf", METRIC_COUNTER, offsetof(struct port_counters, no_mbuf), "frames", "The device had no receive buffer." },
	{ "drop_nic_error", METRIC_COUNTER, offsetof(struct port_counters, nic_error), "frames", "Bad at the wire." },
	{ "tx_frames", METRIC_COUNTER, offsetof(struct port_counters, tx_frames), "frames", "Frames sent." },
	{ "tx_failed", METRIC_COUNTER, offsetof(struct port_counters, tx_failed), "frames", "Frames the device did not take." },
};

static int
open_port(struct topology *t, const struct appliance_port *from, struct err *err)
{
	struct topology_port *p = &t->ports[t->port_count];
	struct port_dpdk_config config = { .name = from->name, .device = from->options.device, .lcores = t->worker_count, .mtu = from->options.mtu,
					   .multicast = true };
	p->name = from->name;
	p->port = port_dpdk_open(&config, err);
	if (!p->port)
		return err_prefix(err, -EIO, "penstock.ports.%s", from->name);
	p->metrics = (struct metric_set){ .kind = STATS_PORT, .component = from->name, .metrics = port_metrics,
					  .count = sizeof port_metrics / sizeof *port_metrics, .counters = &p->counters, .refresh = refresh_port,
					  .context = p };
	metrics_add(&p->metrics);
	t->port_count++;
	return 0;
}

/* net's counters as metrics: its own table, then one entry for each frame drop. Made once, kept for good. */
static const struct metric *
net_metric_table(uint32_t *count)
{
	static struct metric table[64 + DROP_COUNT];
	static char names[DROP_COUNT][48];
	static uint32_t n;
	if (!n) {
		assert(net_metric_count <= 64);
		memcpy(table, net_metrics, net_metric_count * sizeof *table);
		n = net_metric_count;
		for (int d = 1; d < DROP_EVENT_FIRST; d++) {
			if (d == DROP_NIC_MISSED || d == DROP_NO_MBUF || d == DROP_NIC_ERROR)
				continue;
			snprintf(names[d], sizeof names[d], "drop_%s", drop_name[d]);
			table[n++] = (struct metric){ names[d], METRIC_COUNTER, offsetof(struct net_counters, drops) + (size_t)d * sizeof(struct counter),
						      "frames", drop_help[d] };
		}
	}
	*count = n;
	return table;
}

static int
open_net(struct topology *t, uint32_t w, uint32_t p, struct err *err)
{
	struct worker *worker = t->workers[w];
	const struct appliance_port *from = &t->config->appliance.ports[p];
	if (w >= t->ports[p].port->queues)
		return 0;	/* the device has fewer queues than there are lcores */
	struct worker_port *wp = &worker->ports[worker->port_count];
	*wp = (struct worker_port){ .port = t->ports[p].port, .queue = w, .worker = worker, .allow = from->allow, .allow_count = from->allow_count };
	struct net_config config = { .vlan = (uint16_t)from->options.vlan, .mtu = from->options.mtu,
				     .trust_udp_checksum = from->options.trust_checksums };
	for (uint32_t a = 0; a < from->address_count && a < NET_ADDRESSES_MAX; a++) {
		struct address_prefix *prefix = &config.addresses[config.address_count++];
		memcpy(prefix->ip, from->addresses[a].address.ip, 16);
		prefix->bits = (uint8_t)(from->addresses[a].bits + (address_is_v4(&from->addresses[a].address) ? 96 : 0));
	}
	for (uint32_t g = 0; g < from->gateway_count; g++) {
		if (address_is_v4(&from->gateways[g]))
			config.gateway4 = from->gateways[g];
		else
			config.gateway6 = from->gateways[g];
	}
	_Static_assert(APPLIANCE_PORT_GROUPS_MAX <= NET_GROUPS_MAX, "every group of a port is joined");
	memcpy(config.groups, from->groups, sizeof from->groups);
	config.group_count = from->group_count;
	wp->net = net_open(&config, wp->port, wp->queue, worker_on_udp, wp, err);
	if (!wp->net)
		return err_prefix(err, -EINVAL, "penstock.ports.%s", from->name);
	struct metric_set *set = &t->worker_ports[w][worker->port_count];
	*set = (struct metric_set){ .kind = STATS_PORT, .component = from->name, .counters = net_counters(wp->net) };
	set->metrics = net_metric_table(&set->count);
	metrics_add(set);
	worker->port_count++;
	if (!worker->tcp_listeners.count)
		return 0;
	struct topology_port *port = &t->ports[p];
	if (t->worker_count > 1 && port->port->queues > 1 && !port->tcp_group) {
		port->tcp_group = tcp_group_open(port->port->queues, err);
		if (!port->tcp_group)
			return err_prefix(err, -ENOMEM, "penstock.ports.%s", from->name);
	}
	const struct appliance_port_options *o = &from->options;
	struct tcp_config tcp = { .group = port->tcp_group, .member = w, .connections_max = o->tcp_connections, .half_open_max = o->tcp_half_open,
				  .half_open_ns = o->tcp_half_open_ns, .keepalive_ns = o->tcp_keepalive_ns, .window_max = (uint32_t)o->tcp_window_bytes,
				  .chunks = (uint32_t)(o->tcp_memory_bytes / TCP_CHUNK_BYTES),
				  .queue_chunks_max = (uint32_t)(o->tcp_connection_bytes / TCP_CHUNK_BYTES) };
	int rc = tcp_carrier_open(&wp->tcp, &tcp, wp->net, &worker->streams, &worker->tcp_listeners, from->name, err);
	wp->tcp.allow = from->allow;
	wp->tcp.allow_count = from->allow_count;
	return rc ? err_prefix(err, rc, "penstock.ports.%s", from->name) : 0;
}

static int
listen_stream(struct topology *t, struct worker *worker, const struct source_listen *where, const struct address *at, struct ingress_source *in,
	      struct err *err)
{
	const struct stream_options *options = where->stream;
	struct stream_limits limits = { .connections = options->connections, .idle_ns = where->idle_ns ? where->idle_ns : options->idle_ns,
					.frame_ns = options->frame_ns };
	enum stream_edge edge;
	int rc = tcp_stream_edge(&t->pipeline, in->spec, where, &edge, err);
	if (!rc)
		rc = tcp_listeners_add(&worker->tcp_listeners, at, where, &limits, edge, in, err);
	if (rc)
		return rc;
	struct stream_listener *listener = &worker->tcp_listeners.list[worker->tcp_listeners.count - 1]->listener;
	rc = stream_listener_tls(listener, options, where->tickets, err);
	return rc ? err_prefix(err, rc, "sources.%s", in->spec->name) : 0;
}

static int
listen_lcores(struct topology *t, struct worker *worker, struct err *err)
{
	for (uint32_t i = 0; i < t->pipeline.source_count; i++) {
		const struct pipeline_source *source = &t->pipeline.sources[i];
		struct source_listen listens[SOURCE_LISTENS_MAX];
		struct address addresses[64];
		uint32_t n = source->ops->listens ? source->ops->listens(source->config, listens, SOURCE_LISTENS_MAX) : 0;
		for (uint32_t k = 0; k < n; k++) {
			uint32_t count = port_addresses(t, &listens[k], addresses, 64);
			for (uint32_t a = 0; a < count; a++) {
				struct ingress_source *in = &worker->ingress.sources[i];
				int rc = listens[k].datagram ? listeners_add(&worker->listeners, &addresses[a], &listens[k].allow, in, err)
							     : listen_stream(t, worker, &listens[k], &addresses[a], in, err);
				if (rc)
					return rc;
			}
		}
	}
	return 0;
}

static int
start_workers(struct topology *t, struct err *err)
{
	const struct appliance *appliance = &t->config->appliance;
	if (!t->worker_count)
		return 0;
	t->workers = calloc(t->worker_count, sizeof *t->workers);
	t->worker_ports = calloc(t->worker_count, sizeof *t->worker_ports);
	if (!t->workers || !t->worker_ports)
		return err_set(err, ENOMEM, "no memory");
	for (uint32_t w = 0; w < t->worker_count; w++) {
		struct worker *worker = t->workers[w] = aligned_alloc(64, (sizeof *worker + 63) & ~(size_t)63);
		if (!worker)
			return err_set(err, ENOMEM, "no memory");
		memset(worker, 0, sizeof *worker);
		snprintf(worker->name, sizeof worker->name, "lcore%u", appliance->lcores.ids[w]);
		worker->sleeps = appliance->options.idle == IDLE_SLEEP;
		int rc = ingress_open(&worker->ingress, worker->name, &t->pipeline, t->clock, -1, err);
		if (rc)
			return rc;
		worker->metrics = (struct metric_set){ .kind = "WORKER", .component = worker->name, .metrics = worker_metrics,
						       .count = worker_metric_count, .counters = &worker->counters };
		metrics_add(&worker->metrics);
		rc = streams_init(&worker->streams, &worker->ingress, 0);
		if (!rc)
			rc = listen_lcores(t, worker, err);
		if (rc)
			return rc;
	}
	for (uint32_t p = 0; p < appliance->port_count; p++) {
		int rc = open_port(t, &appliance->ports[p], err);
		if (rc)
			return rc;
	}
	for (uint32_t w = 0; w < t->worker_count; w++) {
		for (uint32_t p = 0; p < t->port_count; p++) {
			int rc = open_net(t, w, p, err);
			if (rc)
				return rc;
		}
	}
	for (uint32_t w = 0; w < t->worker_count; w++) {
		int rc = eal_launch(w, worker_run, t->workers[w], err);
		if (rc)
			return rc;
	}
	return 0;
}

/* ---- kernel sockets ---- */

static int
start_runner(struct topology *t, struct err *err)
{
	if (!needs_runner(t))
		return 0;
	struct source_runner *runner = t->runner = calloc(1, sizeof *runner);
	if (!runner)
		return err_set(err, ENOMEM, "no memory");
	runner->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (runner->wake_fd < 0)
		return err_set(err, errno, "eventfd: %s", strerror(errno));
	int rc = ingress_open(&runner->ingress, "kernel", &t->pipeline, t->clock, runner->wake_fd, err);
	if (!rc)
		rc = kernel_streams_open(&runner->streams, &runner->ingress, err);
	if (rc)
		return rc;
	for (uint32_t i = 0; i < t->pipeline.source_count; i++) {
		const struct pipeline_source *source = &t->pipeline.sources[i];
		struct source_listen listens[SOURCE_LISTENS_MAX];
		struct address addresses[64];
		uint32_t n = source->ops->listens ? source->ops->listens(source->config, listens, SOURCE_LISTENS_MAX) : 0;
		for (uint32_t k = 0; k < n; k++) {
			if (port_addresses(t, &listens[k], addresses, 64))
				continue;
			if (!listens[k].datagram) {
				rc = kernel_streams_listen(&runner->streams, &listens[k], &runner->ingress.sources[i], err);
				if (rc)
					return rc;
				continue;
			}
			if (runner->listen_count == SOURCE_RUNNER_LISTENS_MAX)
				return err_set(err, ENOSPC, "more than %d kernel sockets", SOURCE_RUNNER_LISTENS_MAX);
			rc = kernel_listen_open(&runner->listens[runner->listen_count], &listens[k], &runner->ingress.sources[i], err);
			if (rc)
				return rc;
			runner->listen_count++;
		}
	}
	return start_thread(&t->runner_thread, "sources", source_runner_run, runner, &t->runner_running, err);
}

static void
pin_control(const struct appliance *appliance)
{
	if (!appliance->control_cores.count)
		return;
	cpu_set_t set;
	CPU_ZERO(&set);
	for (uint32_t i = 0; i < appliance->control_cores.count; i++)
		CPU_SET(appliance->control_cores.ids[i], &set);
	if (sched_setaffinity(0, sizeof set, &set))
		log_warn("penstock.control.cores: %s: these CPUs are not all there; threads run where they like", strerror(errno));
}

static int
start(struct topology *t, struct err *err)
{
	int rc = start_eal(t, err);
	if (rc)
		return rc;
	pin_control(&t->config->appliance);
	rc = start_channels(t, t->worker_count + 1, t->eal_started && eal_has_huge_pages(), err);
	if (!rc)
		rc = start_sinks(t, err);
	if (!rc)
		rc = build_pipeline(t, err);
	if (!rc)
		rc = run_channels(t, err);
	if (!rc)
		rc = run_sinks(t, err);
	if (!rc && resolve_start())
		rc = err_set(err, EAGAIN, "cannot start the resolver's thread");
	if (!rc)
		rc = start_workers(t, err);
	if (!rc)
		rc = start_runner(t, err);
	return rc;
}

int
topology_start(struct topology *t, const struct config *config, struct clock *clock, struct stats *stats, struct err *err)
{
	*t = (struct topology){ .config = config, .clock = clock, .stats = stats };
	int rc = start(t, err);
	if (rc)
		topology_stop(t, 0, NULL, NULL);
	return rc;
}

/* ---- stop ---- */

static void
stop_intake(struct topology *t)
{
	if (t->runner_running) {
		source_runner_stop(t->runner);
		pthread_join(t->runner_thread, NULL);
	}
	for (uint32_t w = 0; w < t->worker_count && t->workers && t->workers[w]; w++)
		atomic_store(&t->workers[w]->stop, true);
	for (uint32_t w = 0; w < t->worker_count && t->workers && t->workers[w]; w++)
		eal_wait(w, 10000, NULL);
}

static bool
drained(struct topology *t)
{
	for (size_t i = 0; i < t->config->sink_count; i++) {
		struct channel *channel = t->channels[t->config->sinks[i].channel].channel;
		if (channel->ops->unsettled(channel))
			return false;
	}
	return true;
}

static void
stop_sinks(struct topology *t, uint64_t deadline_ns, bool (*hurry)(void *context), void *context)
{
	if (!t->sinks)
		return;
	for (size_t i = 0; i < t->config->sink_count; i++) {
		if (t->sinks[i].runner)
			sink_runner_drain(t->sinks[i].runner);
	}
	while (clock_now_ns(t->clock) < deadline_ns && !drained(t) && !(hurry && hurry(context)))
		usleep(2000);
	for (uint32_t i = 0; i < sink_slots(t); i++) {
		struct topology_sink *s = &t->sinks[i];
		s->deadline_ns = deadline_ns;
		atomic_store_explicit(&s->stop, true, memory_order_release);
	}
	for (uint32_t i = 0; i < sink_slots(t); i++) {
		struct topology_sink *s = &t->sinks[i];
		if (s->running)
			pthread_join(s->thread, NULL);
		else if (s->group)
			sink_group_finish(s->group, 0);
		else if (s->runner && !s->grouped)
			sink_runner_finish(s->runner, 0);
	}
}

static void
close_dataplane(struct topology *t)
{
	if (t->runner) {
		for (uint32_t i = 0; i < t->runner->listen_count; i++)
			kernel_listen_close(&t->runner->listens[i]);
		if (t->runner->streams.streams.ingress)
			kernel_streams_close(&t->runner->streams);
		if (t->runner->ingress.pipeline)
			ingress_close(&t->runner->ingress);
		if (t->runner->wake_fd > 0)
			close(t->runner->wake_fd);
		free(t->runner);
	}
	for (uint32_t w = 0; w < t->worker_count && t->workers && t->workers[w]; w++) {
		struct worker *worker = t->workers[w];
		for (uint32_t p = 0; p < worker->port_count; p++) {
			metrics_remove(&t->worker_ports[w][p]);
			tcp_carrier_close(&worker->ports[p].tcp);
			net_close(worker->ports[p].net);
		}
		metrics_remove(&worker->metrics);
		if (worker->ingress.pipeline)
			ingress_close(&worker->ingress);
		listeners_free(&worker->listeners);
		if (worker->streams.ingress)
			streams_free(&worker->streams);
		tcp_listeners_free(&worker->tcp_listeners);
		free(worker);
	}
	free(t->workers);
	free(t->worker_ports);
	for (uint32_t p = 0; p < t->port_count; p++) {
		metrics_remove(&t->ports[p].metrics);
		tcp_group_close(t->ports[p].tcp_group);
		port_close(t->ports[p].port);
	}
}

void
topology_stop(struct topology *t, uint64_t deadline_ns, bool (*hurry)(void *context), void *context)
{
	stop_intake(t);
	stop_sinks(t, deadline_ns, hurry, context);
	for (size_t i = 0; i < t->config->channel_count && t->channels; i++) {
		if (!t->channels[i].running)
			continue;
		atomic_store(&t->channels[i].stop, true);
		t->channels[i].channel->ops->writer_wake(t->channels[i].channel);
		pthread_join(t->channels[i].thread, NULL);
	}
	close_dataplane(t);
	for (size_t i = 0; i < t->config->channel_count && t->channels; i++)
		if (t->channels[i].channel)
			t->channels[i].channel->ops->close(t->channels[i].channel);
	resolve_stop();
	free_pipeline(t);
	free(t->channels);
	free(t->sinks);
	if (t->eal_started)
		eal_stop();
}

uint32_t
topology_source_instances(struct topology *t, const char *source, struct ingress_source **instances, uint32_t max)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < t->pipeline.source_count; i++) {
		if (strcmp(t->pipeline.sources[i].name, source) != 0)
			continue;
		for (uint32_t w = 0; w < t->worker_count && n < max; w++)
			instances[n++] = &t->workers[w]->ingress.sources[i];
		if (t->runner && n < max)
			instances[n++] = &t->runner->ingress.sources[i];
	}
	return n;
}

struct port *
topology_port(struct topology *t, const char *name)
{
	for (uint32_t p = 0; p < t->port_count; p++)
		if (strcmp(t->ports[p].name, name) == 0)
			return t->ports[p].port;
	return NULL;
}
