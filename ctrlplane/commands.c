#include "ctrlplane/commands.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/dpdk/port_dpdk.h"
#include "dataplane/trace.h"

#define POLL_NS (50 * NS_PER_MS)
#define FLOWS_NS (2 * NS_PER_MS)
#define INSTANCES_MAX 64
#define COUNT_MAX UINT64_C(1000000000000)

/* ---- trace SOURCE [COUNT] ---- */

struct tracing {
	struct ingress_source *in[INSTANCES_MAX];
	struct trace trace[INSTANCES_MAX];
	uint32_t instances;
	uint64_t left;
};

static void
trace_take_away(struct ingress_source *in, struct trace *trace)
{
	atomic_store(&in->trace, NULL);
	while (atomic_load(&in->tracing))
		sched_yield();		/* for the length of one batch */
	trace_free(trace);
}

static void
trace_closed(void *context)
{
	struct tracing *tracing = context;
	for (uint32_t i = 0; i < tracing->instances; i++)
		trace_take_away(tracing->in[i], &tracing->trace[i]);
	free(tracing);
}

static void
trace_poll(struct control_stream *stream, void *context)
{
	struct tracing *tracing = context;
	for (uint32_t i = 0; i < tracing->instances && tracing->left; i++) {
		char *line;
		while (tracing->left && (line = spsc_pop(&tracing->trace[i].filled))) {
			json_t *event = json_loads(line, 0, NULL);
			spsc_push(&tracing->trace[i].empty, line);
			if (event)
				control_stream_write(stream, event);
			json_decref(event);
			tracing->left--;
		}
	}
	if (!tracing->left)
		control_stream_end(stream, NULL);
}

static int
run_trace(struct control_call *call, void *context, struct err *err)
{
	struct topology *topology = context;
	uint64_t count = 10;
	if (call->arg_count < 1 || call->arg_count > 2)
		return err_set(err, EINVAL, "trace: want a source and perhaps a count");
	if (call->arg_count == 2) {
		int rc = control_number(call->args[1], 1, COUNT_MAX, &count, err);
		if (rc)
			return rc;
	}
	struct tracing *tracing = calloc(1, sizeof *tracing);
	if (!tracing)
		return err_set(err, ENOMEM, "no memory");
	tracing->left = count;
	uint32_t n = topology_source_instances(topology, call->args[0], tracing->in, INSTANCES_MAX);
	if (!n) {
		free(tracing);
		return err_set(err, ENOENT, "there is no source \"%s\": status shows them", call->args[0]);
	}
	for (uint32_t i = 0; i < n; i++) {
		if (atomic_load(&tracing->in[i]->trace)) {
			trace_closed(tracing);
			return err_set(err, EBUSY, "source %s is being traced already", call->args[0]);
		}
		if (trace_init(&tracing->trace[i], count)) {
			trace_closed(tracing);
			return err_set(err, ENOMEM, "no memory");
		}
		tracing->instances++;
		atomic_store(&tracing->in[i]->trace, &tracing->trace[i]);
	}
	struct control_stream *stream = control_stream_begin(call, trace_closed, tracing);
	control_stream_every(stream, POLL_NS, trace_poll);
	return 0;
}

/* ---- flows [COUNT] ---- */

struct flowing {
	struct topology *topology;
	uint32_t thread;		/* asked now: lcores, then the runner of kernel sockets */
	bool asked;
	uint64_t left, shown;
	struct flow_query query;
};

/* Whom to ask; NULL: all have been. */
static flow_post *
flows_post(struct flowing *f)
{
	struct topology *t = f->topology;
	if (f->thread < t->worker_count)
		return &t->workers[f->thread]->flows;
	return f->thread == t->worker_count && t->runner ? &t->runner->flows : NULL;
}

static void
flows_closed(void *context)
{
	struct flowing *f = context;
	if (f->asked && !flow_take_back(flows_post(f), &f->query))
		while (!atomic_load_explicit(&f->query.answered, memory_order_acquire))
			sched_yield();		/* for the length of one turn */
	free(f);
}

static void
flows_write(struct control_stream *stream, struct flowing *f)
{
	for (uint32_t i = 0; i < f->query.count && f->left; i++, f->left--, f->shown++) {
		const struct flow_row *r = &f->query.rows[i];
		char peer[ADDRESS_TEXT_BYTES], local[ADDRESS_TEXT_BYTES];
		address_text(&r->from, peer, sizeof peer);
		address_text(&r->to, local, sizeof local);
		json_t *line = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:b,s:b,s:I,s:I,s:I,s:I,s:i,s:i,s:f,s:f}", "source", r->source ? r->source : "", "peer",
					 peer, "local", local, "carrier", r->carrier, "state", r->state, "ack", r->ack_durable ? "durable" : "received",
					 "stalled", r->stalled, "tls", r->tls, "received", (json_int_t)r->received, "durable", (json_int_t)r->durable,
					 "acked", (json_int_t)r->acked, "window", (json_int_t)r->window, "queued_chunks", (int)r->queued_chunks, "unsent",
					 (int)r->unsent, "idle_seconds", (double)r->idle_ns / 1e9, "age_seconds", (double)r->age_ns / 1e9);
		if (line)
			control_stream_write(stream, line);
		json_decref(line);
	}
}

static void
flows_poll(struct control_stream *stream, void *context)
{
	struct flowing *f = context;
	if (f->asked) {
		if (!atomic_load_explicit(&f->query.answered, memory_order_acquire))
			return;
		f->asked = false;
		flows_write(stream, f);
		if (!f->query.more) {
			f->thread++;
			f->query.port = f->query.cursor = 0;
		}
	}
	if (!control_stream_ready(stream))
		return;
	flow_post *post = flows_post(f);
	if (!post || !f->left) {
		json_t *more = json_pack("{s:I}", "flows", (json_int_t)f->shown);
		control_stream_end(stream, more);
		json_decref(more);
		return;
	}
	f->asked = flow_ask(post, &f->query);		/* else another client asks; later */
	if (f->asked && f->thread == f->topology->worker_count)
		source_runner_wake(f->topology->runner);
}

static int
run_flows(struct control_call *call, void *context, struct err *err)
{
	uint64_t count = COUNT_MAX;
	if (call->arg_count > 1)
		return err_set(err, EINVAL, "flows: want nothing or a count");
	if (call->arg_count) {
		int rc = control_number(call->args[0], 1, COUNT_MAX, &count, err);
		if (rc)
			return rc;
	}
	struct flowing *f = calloc(1, sizeof *f);
	if (!f)
		return err_set(err, ENOMEM, "no memory");
	f->topology = context;
	f->left = count;
	struct control_stream *stream = control_stream_begin(call, flows_closed, f);
	control_stream_every(stream, FLOWS_NS, flows_poll);
	return 0;
}

/* ---- capture PORT [COUNT] ---- */

static void
capture_closed(void *context)
{
	struct port *port = context;
	if (atomic_load(&port->capturing))
		port_capture_stop(port, NULL, NULL);
}

static void
capture_poll(struct control_stream *stream, void *context)
{
	struct port *port = context;
	if (port_capture_step(port))
		return;
	uint64_t written = 0, lost = 0;
	port_capture_stop(port, &written, &lost);
	json_t *more = json_pack("{s:I,s:I}", "packets", (json_int_t)written, "lost", (json_int_t)lost);
	control_stream_end(stream, more);
	json_decref(more);
}

static int
run_capture(struct control_call *call, void *context, struct err *err)
{
	uint64_t count = 0;
	if (call->arg_count < 1 || call->arg_count > 2)
		return err_set(err, EINVAL, "capture: want a port and perhaps a count");
	if (call->arg_count == 2) {
		int rc = control_number(call->args[1], 1, COUNT_MAX, &count, err);
		if (rc)
			return rc;
	}
	if (call->fd < 0)
		return err_set(err, EINVAL, "capture: the client must pass the file's descriptor (penstockctl capture PORT -w FILE does)");
	struct port *port = topology_port(context, call->args[0]);
	if (!port)
		return err_set(err, ENOENT, "there is no port \"%s\": status shows them; kernel sockets are seen by tcpdump", call->args[0]);
	int rc = port_capture_start(port, call->fd, count, err);
	if (rc)
		return rc;
	call->fd = -1;
	struct control_stream *stream = control_stream_begin(call, capture_closed, port);
	control_stream_every(stream, POLL_NS, capture_poll);
	return 0;
}

/* ---- status, health ---- */

static void
add_xstat(void *context, const char *name, uint64_t value)
{
	if (value)
		json_object_set_new(context, name, json_integer((json_int_t)value));
}

struct open_files {
	json_t *list;
	const char *sink;
};

static void
add_file(void *context, const struct sink_file *file)
{
	struct open_files *open = context;
	json_array_append_new(open->list, json_pack("{s:s,s:s,s:s,s:I,s:I,s:I}", "sink", open->sink, "name", file->name, "state", file->state, "age_seconds",
						    (json_int_t)file->age_s, "bytes", (json_int_t)file->bytes, "events", (json_int_t)file->events));
}

static json_t *
groups_list(const struct config *config)
{
	json_t *groups = json_array();
	for (size_t i = 0; i < config->group_count; i++) {
		const struct config_group *group = &config->groups[i];
		json_t *sinks = json_array();
		for (size_t k = 0; k < group->count; k++)
			json_array_append_new(sinks, json_pack("{s:s,s:b}", "name", group->names[k], "out", metrics_sum("SINK", group->names[k], "backing_off") != 0));
		json_array_append_new(groups, json_pack("{s:s,s:s,s:o}", "name", group->name, "processor",
							group->processor.kind ? group->processor.kind->name : "default", "sinks", sinks));
	}
	return groups;
}

void
commands_status(json_t *answer, void *context)
{
	struct topology *t = context;
	struct open_files open = { .list = json_array() };
	json_t *ports = json_array(), *channels = json_array();
	for (uint32_t p = 0; p < t->port_count; p++) {
		struct port_dpdk_info info;
		port_dpdk_info(t->ports[p].port, &info);
		json_t *xstats = json_object();
		if (t->ports[p].port->ops->xstats)
			t->ports[p].port->ops->xstats(t->ports[p].port, add_xstat, xstats);
		json_array_append_new(ports, json_pack("{s:s,s:s,s:b,s:i,s:i,s:b,s:b,s:i,s:o}", "name", t->ports[p].name, "driver",
						       info.driver ? info.driver : "", "link_up", info.link_up, "queues", (int)info.rx_queues,
						       "numa_node", info.numa_node, "rss", info.rss, "checksum_udp", info.checksum_udp,
						       "speed_mbps", (int)info.speed_mbps, "xstats", xstats));
	}
	for (uint32_t i = 0; i < t->pipeline.channel_count; i++) {
		struct channel *channel = t->pipeline.channels[i];
		struct channel_promise promise = channel->ops->promise(channel);
		json_array_append_new(channels, json_pack("{s:s,s:s,s:I,s:b,s:b}", "name", channel->name, "type", channel->ops->name, "unsettled",
							  (json_int_t)channel->ops->unsettled(channel), "durable", promise.durable, "ordered",
							  promise.ordered));
	}
	json_object_set_new(answer, "agent", json_string(t->config->agent));
	json_object_set_new(answer, "lcores", json_integer(t->worker_count));
	json_object_set_new(answer, "ports", ports);
	json_object_set_new(answer, "channels", channels);
	if (t->config->group_count)
		json_object_set_new(answer, "sink_groups", groups_list(t->config));
	for (size_t i = 0; i < t->config->sink_count; i++) {
		open.sink = t->sinks[i].name;
		if ((t->sinks[i].running || t->sinks[i].grouped) && !atomic_load(&t->sinks[i].stop))
			sink_runner_files(t->sinks[i].runner, add_file, &open);
	}
	if (json_array_size(open.list))
		json_object_set(answer, "open_files", open.list);
	json_decref(open.list);
}

void
commands_health(FILE *reasons, void *context)
{
	struct topology *t = context;
	for (uint32_t i = 0; i < t->pipeline.channel_count; i++) {
		const char *name = t->pipeline.channels[i]->name;
		if (metrics_sum("CHANNEL", name, "Unhealthy"))
			fprintf(reasons, "channel %s is unhealthy: see the log for the error of its disk\n", name);
	}
	for (uint32_t p = 0; p < t->port_count; p++)
		if (!t->ports[p].port->ops->link_up(t->ports[p].port))
			fprintf(reasons, "port %s has no link\n", t->ports[p].name);
}

void
commands_add(struct control *control, struct topology *topology)
{
	control_add(control, "trace", "trace SOURCE [COUNT]", run_trace, topology);
	control_add(control, "flows", "flows [COUNT]", run_flows, topology);
	control_add(control, "capture", "capture PORT [COUNT]", run_capture, topology);
}
