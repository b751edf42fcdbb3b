#include "dataplane/ingress.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/trace.h"

#define STAGING_BYTES (1u << 20)
#define OVERFLOW_BYTES (1u << 20)
#define ARENA_BYTES (256u << 10)

const struct metric source_metrics[] = {
	{ "EventReceivedCount", METRIC_COUNTER, offsetof(struct source_counters, received), "events", "Events that reached the source." },
	{ "EventAcceptedCount", METRIC_COUNTER, offsetof(struct source_counters, accepted), "events", "Events handed to every required channel." },
	{ "ChannelWriteFail", METRIC_COUNTER, offsetof(struct source_counters, channel_write_fail), "events", "Events a required channel had no room for." },
	{ "EventReadFail", METRIC_COUNTER, offsetof(struct source_counters, read_fail), "events", "Messages that were no event of this source." },
	{ "GenericProcessingFail", METRIC_COUNTER, offsetof(struct source_counters, zero), "events", "Kept at 0 for this source, as in Flume." },
	{ "AppendReceivedCount", METRIC_COUNTER, offsetof(struct source_counters, zero), "events", "Kept at 0 for this source, as in Flume." },
	{ "AppendAcceptedCount", METRIC_COUNTER, offsetof(struct source_counters, zero), "events", "Kept at 0 for this source, as in Flume." },
	{ "AppendBatchReceivedCount", METRIC_COUNTER, offsetof(struct source_counters, zero), "events", "Kept at 0 for this source, as in Flume." },
	{ "AppendBatchAcceptedCount", METRIC_COUNTER, offsetof(struct source_counters, zero), "events", "Kept at 0 for this source, as in Flume." },
	{ "OpenConnectionCount", METRIC_GAUGE, offsetof(struct source_counters, zero), "connections", "Datagram sources hold none." },
	{ "events_parsed", METRIC_COUNTER, offsetof(struct source_counters, parsed), "events", "Events made of what was received." },
	{ "filtered", METRIC_COUNTER, offsetof(struct source_counters, filtered), "events", "Events an interceptor dropped." },
	{ "unrouted", METRIC_COUNTER, offsetof(struct source_counters, unrouted), "events", "Events the selector had no channel for." },
	{ "routed", METRIC_COUNTER, offsetof(struct source_counters, routed), "events", "Events offered to one channel or more." },
	{ "drop_too_large", METRIC_COUNTER, offsetof(struct source_counters, drop_too_large), "events", "Events larger than a block." },
	{ "drop_arena_full", METRIC_COUNTER, offsetof(struct source_counters, drop_arena_full), "events", "Events whose headers found no memory in their batch." },
	{ "empty", METRIC_COUNTER, offsetof(struct source_counters, drop_empty), "messages", "Messages that hold no event." },
	{ "body_bytes", METRIC_COUNTER, offsetof(struct source_counters, bytes), "bytes", "Bytes of the bodies of parsed events." },
};
const uint32_t source_metric_count = sizeof source_metrics / sizeof *source_metrics;

const struct metric intake_metrics[] = {
	{ "offered", METRIC_COUNTER, offsetof(struct intake_counters, offered), "events", "Events the selector meant for the channel." },
	{ "acknowledged", METRIC_COUNTER, offsetof(struct intake_counters, stored), "events", "Events the channel has acknowledged." },
	{ "channel_full", METRIC_COUNTER, offsetof(struct intake_counters, channel_full), "events", "Events dropped for want of a free block." },
	{ "store_failed", METRIC_COUNTER, offsetof(struct intake_counters, failed), "events", "Events in blocks the channel could not store." },
	{ "too_large", METRIC_COUNTER, offsetof(struct intake_counters, too_large), "events", "Events that do not fit into a block of the channel." },
	{ "in_flight", METRIC_GAUGE, offsetof(struct intake_counters, pending), "events", "Events in open blocks and blocks in flight." },
	{ "blocks", METRIC_COUNTER, offsetof(struct intake_counters, blocks), "blocks", "Blocks submitted." },
};
const uint32_t intake_metric_count = sizeof intake_metrics / sizeof *intake_metrics;

/* Kind INTERCEPTOR, component r1.i1: what the kind counts, if anything. */
static void
count_interceptor(struct ingress_source *in, uint32_t i)
{
	const struct pipeline_interceptor *interceptor = &in->spec->interceptors[i];
	if (!interceptor->ops->metric_count || !in->scratch[i])
		return;
	snprintf(in->interceptor_names[i], sizeof in->interceptor_names[i], "%s.%s", in->spec->name, interceptor->name);
	in->interceptor_metrics[i] = (struct metric_set){ .kind = "INTERCEPTOR", .component = in->interceptor_names[i],
		.metrics = interceptor->ops->metrics, .count = interceptor->ops->metric_count, .counters = interceptor->ops->counters(in->scratch[i]) };
	metrics_add(&in->interceptor_metrics[i]);
}

static int
open_source(struct ingress *ingress, struct ingress_source *in, const struct pipeline_source *spec, struct err *err)
{
	in->ingress = ingress;
	in->spec = spec;
	bool changes_body = false;
	for (uint32_t i = 0; i < spec->interceptor_count; i++) {
		const struct pipeline_interceptor *interceptor = &spec->interceptors[i];
		changes_body |= interceptor->ops->changes_body;
		int rc = interceptor->ops->attach ? interceptor->ops->attach(interceptor->compiled, &in->scratch[i], err) : 0;
		if (rc)
			return err_prefix(err, rc, "sources.%s.interceptors.%s", spec->name, interceptor->name);
		count_interceptor(in, i);
	}
	uint64_t named = spec->required | spec->optional;
	in->direct = -1;
	if (named && !(named & (named - 1)) && !changes_body)
		in->direct = __builtin_ctzll(named);
	int rc = spec->ops->open(&in->self, spec->config, in, err);
	if (rc)
		return err_prefix(err, rc, "sources.%s", spec->name);
	in->metrics = (struct metric_set){ .kind = "SOURCE", .component = spec->name, .metrics = source_metrics, .count = source_metric_count,
					   .counters = &in->counters };
	metrics_add(&in->metrics);
	return 0;
}

int
ingress_open(struct ingress *ingress, const char *name, const struct pipeline *pipeline, struct clock *clock, int wake_fd, struct err *err)
{
	memset(ingress, 0, sizeof *ingress);
	ingress->name = name;
	ingress->clock = clock;
	ingress->pipeline = pipeline;
	ingress->generation = pipeline->generation;
	ingress->wall_ns = clock_wall_ns(clock);
	ingress->sources = calloc(pipeline->source_count ? pipeline->source_count : 1, sizeof *ingress->sources);
	ingress->staging = malloc(STAGING_BYTES);
	ingress->overflow = malloc(OVERFLOW_BYTES);
	if (!ingress->sources || !ingress->staging || !ingress->overflow || batch_init(&ingress->batch, ARENA_BYTES))
		return err_set(err, ENOMEM, "no memory for an ingress: lower penstock.memory or the number of lcores");
	/* The memory is touched now, so that the first events find it there. */
	memset(ingress->staging, 0, STAGING_BYTES);
	memset(ingress->overflow, 0, OVERFLOW_BYTES);
	memset(ingress->batch.arena.bytes, 0, ARENA_BYTES);
	uint64_t used = 0;
	for (uint32_t i = 0; i < pipeline->source_count; i++)
		used |= pipeline->sources[i].required | pipeline->sources[i].optional;
	for (uint32_t slot = 0; slot < pipeline->channel_count; slot++) {
		struct ingress_channel *channel = &ingress->channels[slot];
		if (!(used >> slot & 1))
			continue;
		struct channel *c = pipeline->channels[slot];
		int rc = c->ops->link(c, name, wake_fd, &channel->link, err);
		if (rc)
			return rc;
		channel->metrics = (struct metric_set){ .kind = "INTAKE", .component = c->name, .metrics = intake_metrics,
							.count = intake_metric_count, .counters = &channel->counters };
		metrics_add(&channel->metrics);
	}
	for (uint32_t i = 0; i < pipeline->source_count; i++) {
		int rc = open_source(ingress, &ingress->sources[i], &pipeline->sources[i], err);
		if (rc)
			return rc;
	}
	return 0;
}

void
ingress_close(struct ingress *ingress)
{
	if (ingress->sources) {
		for (uint32_t i = 0; i < ingress->pipeline->source_count; i++) {
			struct ingress_source *in = &ingress->sources[i];
			if (!in->spec)
				continue;
			if (in->metrics.counters)
				metrics_remove(&in->metrics);
			if (in->self)
				in->spec->ops->close(in->self);
			for (uint32_t k = 0; k < in->spec->interceptor_count; k++)
				if (in->interceptor_metrics[k].counters)
					metrics_remove(&in->interceptor_metrics[k]);
			for (uint32_t k = 0; k < in->spec->interceptor_count; k++)
				if (in->scratch[k] && in->spec->interceptors[k].ops->detach)
					in->spec->interceptors[k].ops->detach(in->scratch[k]);
		}
	}
	for (uint32_t slot = 0; slot < PIPELINE_CHANNELS_MAX; slot++) {
		if (!ingress->channels[slot].link)
			continue;
		metrics_remove(&ingress->channels[slot].metrics);
		block_scratch_free(ingress->channels[slot].scratch);
	}
	batch_free(&ingress->batch);
	free(ingress->sources);
	free(ingress->staging);
	free(ingress->overflow);
	memset(ingress, 0, sizeof *ingress);
}

static void
set_pending(struct ingress_channel *channel, int64_t change)
{
	channel->pending += (uint64_t)change;
	counter_set(&channel->counters.pending, channel->pending);
}

static void
submit(struct ingress_channel *channel)
{
	block_seal(channel->open);
	counter_add(&channel->counters.blocks, 1);
	channel_submit(channel->link, &channel->open);
	assert(channel->open == NULL);
}

/* The open block, or a fresh one, or NULL: out of credit. */
static struct block *
open_block(struct ingress_channel *channel)
{
	if (channel->open)
		return channel->open;
	struct block *block = channel_credit(channel->link);
	if (!block)
		return NULL;
	if (!channel->scratch && block_scratch_init(&channel->scratch, block->capacity)) {
		/* Only at the first block of a link; a machine without memory for it has none for anything else. */
		assert(!"no memory for block scratch");
	}
	block_open(block, channel->scratch);
	channel->open = block;
	return block;
}

/* Room for `bytes` more in the staging run of the current source; NULL when the run must end first. */
static uint8_t *
staging_room(struct ingress *ingress, struct ingress_source *in, uint32_t bytes)
{
	uint32_t run = ingress->batch.run_bytes;
	if (in->direct >= 0) {
		struct block *block = open_block(&ingress->channels[in->direct]);
		uint8_t *room = block ? block_room(block, run + bytes) : NULL;
		return room ? room + run : NULL;
	}
	return run + bytes + 1 <= STAGING_BYTES ? ingress->staging + run : NULL;
}

struct event *
ingress_append(struct ingress_source *in, const void *body, uint32_t len, uint64_t time_ns)
{
	struct ingress *ingress = in->ingress;
	struct batch *batch = &ingress->batch;
	if (batch->count && (ingress->current != in || batch->count == BATCH_EVENTS_MAX))
		ingress_put(ingress);
	ingress->current = in;
	counter_add(&in->counters.received, 1);
	counter_add(&in->counters.parsed, 1);
	counter_add(&in->counters.bytes, len);
	uint8_t *room = staging_room(ingress, in, len);
	if (!room) {
		if (batch->count) {
			ingress_put(ingress);
			ingress->current = in;
		}
		if (in->direct >= 0) {
			struct ingress_channel *channel = &ingress->channels[in->direct];
			if (channel->open && channel->open->events && !block_room(channel->open, len))
				submit(channel);
			if (!open_block(channel)) {
				counter_add(&in->counters.routed, 1);
				counter_add(&in->counters.channel_write_fail, 1);
				counter_add(&channel->counters.offered, 1);
				counter_add(&channel->counters.channel_full, 1);
				return NULL;
			}
		}
		room = staging_room(ingress, in, len);
		if (!room) {
			counter_add(&in->counters.drop_too_large, 1);
			return NULL;
		}
	}
	if (batch->count == 0)
		batch->run = room;
	memcpy(room, body, len);
	room[len] = '\n';
	struct event *event = &batch->events[batch->count++];
	batch->run_bytes += len + 1;
	event->body = room;
	event->body_len = len;
	event->header_count = event->header_room = 0;
	event->headers = NULL;
	event->shared = NULL;
	event->time_ns = time_ns;
	event->channels = 0;
	event->ticket = 0;
	event->dropped = 0;
	return event;
}

void
ingress_drop_empty(struct ingress_source *in)
{
	counter_add(&in->counters.drop_empty, 1);
	counter_add(&in->counters.read_fail, 1);
}

/* One event into one channel by copy. False: no credit or it does not fit; counted. */
static bool
put_copy(struct ingress_channel *channel, uint32_t slot, const struct event *event)
{
	for (int tries = 0; tries < 2; tries++) {
		struct block *block = open_block(channel);
		if (!block) {
			counter_add(&channel->counters.offered, 1);
			counter_add(&channel->counters.channel_full, 1);
			return false;
		}
		int rc = block_put(block, slot, event);
		if (rc == 0) {
			counter_add(&channel->counters.offered, 1);
			set_pending(channel, 1);
			return true;
		}
		if (block->events == 0)
			break;
		submit(channel);
	}
	counter_add(&channel->counters.too_large, 1);
	return false;
}

/* The batch lies at the end of its channel's open block already: close the gaps of dropped events and write the records. */
static void
put_direct(struct ingress *ingress, struct ingress_source *in)
{
	struct batch *batch = &ingress->batch;
	uint32_t slot = (uint32_t)in->direct;
	struct ingress_channel *channel = &ingress->channels[slot];
	uint8_t *to = batch->run;
	uint32_t i = 0, stored = 0, offered = 0;
	for (; i < batch->count; i++) {
		struct event *event = &batch->events[i];
		if (event->dropped || !event->channels)
			continue;
		if (event->body != to) {
			memmove(to, event->body, event->body_len + 1);
			event->body = to;
		}
		if (block_put_staged(channel->open, slot, event) != 0)
			break;
		to += event->body_len + 1;
		offered++;
		stored++;
	}
	counter_add(&channel->counters.offered, offered);
	set_pending(channel, stored);
	if (i == batch->count) {
		counter_add(&in->counters.accepted, stored);
		return;
	}
	/* The block is full of records before it is full of bodies. Sealing writes over what lies behind, so the rest moves out first. */
	uint32_t used = 0, rest = i;
	for (; i < batch->count; i++) {
		struct event *event = &batch->events[i];
		if (event->dropped || !event->channels)
			continue;
		if (used + event->body_len + 1 > OVERFLOW_BYTES)
			break;
		memcpy(ingress->overflow + used, event->body, event->body_len + 1);
		event->body = ingress->overflow + used;
		used += event->body_len + 1;
	}
	assert(i == batch->count);	/* a run is never longer than a block */
	if (channel->open->events)
		submit(channel);
	for (i = rest; i < batch->count; i++) {
		struct event *event = &batch->events[i];
		if (event->dropped || !event->channels)
			continue;
		if (put_copy(channel, slot, event))
			stored++;
		else
			counter_add(&in->counters.channel_write_fail, 1);
	}
	counter_add(&in->counters.accepted, stored);
}

static void
put_copies(struct ingress *ingress, struct ingress_source *in)
{
	struct batch *batch = &ingress->batch;
	uint64_t optional = in->spec->optional & ~in->spec->required;
	for (uint32_t i = 0; i < batch->count; i++) {
		struct event *event = &batch->events[i];
		if (event->dropped)
			continue;
		bool whole = true;
		for (uint64_t left = event->channels; left; left &= left - 1) {
			uint32_t slot = (uint32_t)__builtin_ctzll(left);
			if (!put_copy(&ingress->channels[slot], slot, event) && !(optional >> slot & 1))
				whole = false;
		}
		if (event->channels)
			counter_add(whole ? &in->counters.accepted : &in->counters.channel_write_fail, 1);
	}
}

void
ingress_put(struct ingress *ingress)
{
	struct batch *batch = &ingress->batch;
	struct ingress_source *in = ingress->current;
	if (!batch->count)
		return;
	const struct pipeline_source *spec = in->spec;
	struct trace *trace = atomic_load_explicit(&in->trace, memory_order_acquire);
	if (__builtin_expect(trace != NULL, 0)) {
		atomic_store(&in->tracing, 1);	/* control takes the trace away, then waits for this to be 0 */
		trace = atomic_load(&in->trace);
		if (trace)
			trace_begin(trace, batch);
	}
	uint64_t no_room = batch->no_room;
	for (uint32_t i = 0; i < spec->interceptor_count; i++) {
		spec->interceptors[i].ops->run(spec->interceptors[i].compiled, in->scratch[i], batch);
		if (__builtin_expect(trace != NULL, 0))
			trace_interceptor(trace, batch, spec->interceptors[i].name);
	}
	selector_run(&spec->selector, batch);
	uint64_t arena_full = batch->no_room - no_room;
	uint32_t dropped = 0, unrouted = 0;
	for (uint32_t i = 0; i < batch->count; i++) {
		if (batch->events[i].dropped)
			dropped++;
		else if (!batch->events[i].channels)
			unrouted++;
	}
	if (arena_full > dropped)
		arena_full = dropped;
	counter_add(&in->counters.drop_arena_full, arena_full);
	counter_add(&in->counters.filtered, dropped - arena_full);
	counter_add(&in->counters.unrouted, unrouted);
	counter_add(&in->counters.routed, batch->count - dropped - unrouted);
	if (__builtin_expect(trace != NULL, 0))
		trace_end(trace, batch, ingress->pipeline);
	atomic_store_explicit(&in->tracing, 0, memory_order_release);
	if (in->direct >= 0)
		put_direct(ingress, in);
	else
		put_copies(ingress, in);
	batch_clear(batch);
	ingress->current = NULL;
}

void
ingress_reap(struct ingress *ingress)
{
	for (uint32_t slot = 0; slot < ingress->pipeline->channel_count; slot++) {
		struct ingress_channel *channel = &ingress->channels[slot];
		if (!channel->link)
			continue;
		struct completion *completion;
		while ((completion = channel_completion(channel->link))) {
			counter_add(completion->status == 0 ? &channel->counters.stored : &channel->counters.failed, completion->events);
			set_pending(channel, -(int64_t)completion->events);
			channel_completion_done(channel->link, completion);
		}
	}
}

void
ingress_seal_due(struct ingress *ingress, bool all)
{
	for (uint32_t slot = 0; slot < ingress->pipeline->channel_count; slot++) {
		struct ingress_channel *channel = &ingress->channels[slot];
		if (!channel->open || !channel->open->events)
			continue;
		/* One block on its way is what a hungry writer needs; more would spend the credit on small ones. */
		if (all || (channel_hungry(channel->link->channel) && !spsc_count(&channel->link->submit)))
			submit(channel);
	}
}

bool
ingress_open_events(const struct ingress *ingress)
{
	for (uint32_t slot = 0; slot < ingress->pipeline->channel_count; slot++)
		if (ingress->channels[slot].open && ingress->channels[slot].open->events)
			return true;
	return false;
}

bool
ingress_drained(const struct ingress *ingress)
{
	if (ingress->batch.count)
		return false;
	for (uint32_t slot = 0; slot < ingress->pipeline->channel_count; slot++)
		if (ingress->channels[slot].pending)
			return false;
	return true;
}

bool
ingress_sleep(struct ingress *ingress)
{
	for (uint32_t slot = 0; slot < ingress->pipeline->channel_count; slot++)
		if (ingress->channels[slot].link)
			atomic_store_explicit(&ingress->channels[slot].link->sleeping, true, memory_order_relaxed);
	atomic_thread_fence(memory_order_seq_cst);
	for (uint32_t slot = 0; slot < ingress->pipeline->channel_count; slot++) {
		struct channel_link *link = ingress->channels[slot].link;
		if (link && spsc_count(&link->completions)) {
			ingress_woken(ingress);
			return false;
		}
	}
	return true;
}

void
ingress_woken(struct ingress *ingress)
{
	for (uint32_t slot = 0; slot < ingress->pipeline->channel_count; slot++)
		if (ingress->channels[slot].link)
			atomic_store_explicit(&ingress->channels[slot].link->sleeping, false, memory_order_relaxed);
}
