#include "dataplane/ingress.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/ingress_impl.h"
#include "dataplane/trace.h"

#define STAGING_BYTES (1u << 20)
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
	{ "fragments", METRIC_COUNTER, offsetof(struct source_counters, fragments), "events",
	  "Incomplete frames that a killed process had acknowledged, brought as events of their own." },
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
	{ "already_stored", METRIC_COUNTER, offsetof(struct intake_counters, known), "events", "Events a source brought again that the channel has." },
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
	if (!ingress->sources || !ingress->staging || !ingress->overflow || batch_init(&ingress->batch, ARENA_BYTES) || tickets_init(&ingress->tickets))
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
		channel->ingress = ingress;
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
	marks_close(ingress);
	batch_free(&ingress->batch);
	tickets_free(&ingress->tickets);
	free(ingress->sources);
	free(ingress->staging);
	free(ingress->overflow);
	memset(ingress, 0, sizeof *ingress);
}

/* Room for `bytes` more in the staging run of the current source; NULL when the run must end first. */
static uint8_t *
staging_room(struct ingress *ingress, struct ingress_source *in, uint32_t bytes)
{
	uint32_t run = ingress->batch.run_bytes;
	if (in->direct >= 0) {
		struct block *block = intake_block(&ingress->channels[in->direct]);
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
	if (batch->count && (ingress->current != in || batch->count == BATCH_EVENTS_MAX || batch->arena.used > ARENA_BYTES / 2))
		ingress_put(ingress);
	ingress->current = in;
	if (ingress->whole.in) {
		assert(ingress->whole.in == in);
		ingress->whole.events++;
		if (ingress->whole.status)
			return NULL;
	}
	counter_add(&in->counters.received, 1);
	counter_add(&in->counters.parsed, 1);
	counter_add(&in->counters.bytes, len);
	/* A batch of it is under way in the open block, and there is room: it was looked at. */
	bool known = in->direct >= 0 && batch->count && ingress_ready_known(in, len);
	uint8_t *room = known ? batch->run + batch->run_bytes : staging_room(ingress, in, len);
	if (!room) {
		if (batch->count) {
			ingress_put(ingress);
			ingress->current = in;
		}
		if (in->direct >= 0) {
			struct ingress_channel *channel = &ingress->channels[in->direct];
			if (channel->open && channel->open->events && !block_room(channel->open, len)) {
				if (ingress->whole.in)
					whole_split(ingress);
				if (channel->open && !whole_pass_on(ingress, channel))
					return NULL;
			}
			if (!intake_block(channel)) {
				ingress->whole.status = -ENOSPC;
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
			ingress->whole.status = -EMSGSIZE;
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
	event->ticket = ingress->whole.in ? ingress->whole.ticket : 0;
	event->dropped = event->stream_end = 0;
	event->point = NULL;
	return event;
}

void
ingress_drop_empty(struct ingress_source *in)
{
	counter_add(&in->counters.drop_empty, 1);
	counter_add(&in->counters.read_fail, 1);
}

/* One event into one channel by copy. 0; -ENOSPC no credit, -EMSGSIZE it does not fit into any block; counted. Only a required channel's ticket waits. */
static int
put_copy(struct ingress *ingress, uint32_t slot, const struct event *event, bool required)
{
	struct ingress_channel *channel = &ingress->channels[slot];
	bool split = ingress->whole.in && ingress->whole.split;
	if (event->point && channel->mark_failed && required)
		return -ENOSPC;
	for (int tries = 0; tries < 2; tries++) {
		struct block *block = intake_block(channel);
		if (!block) {
			counter_add(&channel->counters.offered, 1);
			counter_add(&channel->counters.channel_full, 1);
			if (event->point && required)
				marks_failed(ingress, channel);
			return -ENOSPC;
		}
		bool noted = event->ticket && required && !split;
		bool full = (noted && !ticket_reserve(&ingress->tickets, event->ticket, block)) ||
			    (event->point && !mark_reserve(channel, slot, event->point, block));
		int rc = full ? -ENOSPC : block_put(block, slot, event);
		if (rc == 0) {
			if (event->point)
				mark_stored(channel, slot, event->point);
			if (noted)
				ticket_note(&ingress->tickets, event->ticket, event->stream_end, block);
			counter_add(&channel->counters.offered, 1);
			intake_set_pending(channel, 1);
			if (split)
				channel->held_pending++;
			return 0;
		}
		if (block->events == 0)
			break;
		if (!whole_pass_on(ingress, channel))
			return -EMSGSIZE;
	}
	counter_add(&channel->counters.too_large, 1);
	return -EMSGSIZE;
}

/* The batch lies at the end of its channel's open block already: close the gaps of dropped events and write the records. */
void
ingress_put_direct(struct ingress *ingress, struct ingress_source *in)
{
	struct batch *batch = &ingress->batch;
	uint32_t slot = (uint32_t)in->direct;
	struct ingress_channel *channel = &ingress->channels[slot];
	bool required = in->spec->required >> slot & 1;
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
		if (event->ticket && required && !ticket_reserve(&ingress->tickets, event->ticket, channel->open))
			break;
		if (event->point && ((channel->mark_failed && required) || !mark_reserve(channel, slot, event->point, channel->open)))
			break;
		if (block_put_staged(channel->open, slot, event) != 0)
			break;
		if (event->point)
			mark_stored(channel, slot, event->point);
		if (event->ticket && required)
			ticket_note(&ingress->tickets, event->ticket, event->stream_end, channel->open);
		to += event->body_len + 1;
		offered++;
		stored++;
	}
	counter_add(&channel->counters.offered, offered);
	intake_set_pending(channel, stored);
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
		intake_submit(channel);
	for (i = rest; i < batch->count; i++) {
		struct event *event = &batch->events[i];
		if (event->dropped || !event->channels)
			continue;
		int rc = put_copy(ingress, slot, event, required);
		if (rc == 0) {
			stored++;
			continue;
		}
		counter_add(&in->counters.channel_write_fail, 1);
		if (event->ticket && required)
			ticket_fail(ingress, event->ticket, rc);
	}
	counter_add(&in->counters.accepted, stored);
}

void
ingress_put_copies(struct ingress *ingress, struct ingress_source *in)
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
			bool required = !(optional >> slot & 1);
			int rc = put_copy(ingress, slot, event, required);
			if (rc == 0 || !required)
				continue;
			whole = false;
			if (ingress->whole.in)
				ingress->whole.status = rc;
			else if (event->ticket)
				ticket_fail(ingress, event->ticket, rc);
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
	if (in->has_marks)
		marks_skip(in, batch);
	if (ingress->whole.in)
		whole_put(ingress, in);
	else if (in->direct >= 0)
		ingress_put_direct(ingress, in);
	else
		ingress_put_copies(ingress, in);
	if (in->has_marks)
		marks_advance(in, batch);
	batch_clear(batch);
	in->ready_bytes = in->ready_events = 0;
	ingress->current = NULL;
}


/* A block on credit may be good for a single event (a small channel, or one that is nearly full): so much is certain and no more. */
static bool
ready_in(struct ingress_channel *channel, uint64_t need, uint32_t events)
{
	struct block *block = channel->open;
	if (block && block_left(block) >= need && block_events_left(block) >= events && block->ticket_count + events <= BLOCK_TICKETS_MAX)
		return true;
	return events == 1 && intake_has_credit(channel);
}

/* What the next calls of this batch need not look at again: blocks do not change before it is put. */
static void
ready_keep(struct ingress_source *in)
{
	struct ingress *ingress = in->ingress;
	if (!ingress->batch.count || ingress->current != in || in->has_marks || !in->spec->required)
		return;
	uint64_t bytes = UINT64_MAX;
	uint32_t events = BATCH_EVENTS_MAX;
	for (uint64_t left = in->spec->required; left; left &= left - 1) {
		const struct ingress_channel *channel = &ingress->channels[__builtin_ctzll(left)];
		const struct block *block = channel->open;
		if (!block)
			return;
		uint32_t least = block_events_left(block), tickets = BLOCK_TICKETS_MAX - block->ticket_count;
		least = least < tickets ? least : tickets;
		events = events < least ? events : least;
		bytes = bytes < block_left(block) ? bytes : block_left(block);
	}
	in->ready_bytes = bytes;
	in->ready_events = events;
}

bool
ingress_ready_look(struct ingress_source *in, uint32_t len)
{
	struct ingress *ingress = in->ingress;
	struct batch *batch = &ingress->batch;
	if (batch->count && (ingress->current != in || batch->run_bytes + len > INGRESS_READY_BYTES))
		ingress_put(ingress);
	if (!marks_ready(in))
		return false;
	for (int put = 0; put < 2; put++) {
		uint64_t need = (uint64_t)batch->run_bytes + len + (batch->count + 1) * INGRESS_EVENT_SLACK;
		bool ready = true;
		for (uint64_t left = in->spec->required; left && ready; left &= left - 1)
			ready = ready_in(&ingress->channels[__builtin_ctzll(left)], need, batch->count + 1);
		if (ready) {
			ready_keep(in);
			return true;
		}
		if (!batch->count)
			return false;
		ingress_put(ingress);	/* what is staged was counted with its worst case */
	}
	return false;
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
			intake_set_pending(channel, -(int64_t)completion->events);
			channel->in_flight--;
			if (completion->status)
				marks_failed(ingress, channel);
			for (uint32_t i = 0; i < completion->ticket_count; i++)
				ticket_returned(&ingress->tickets, completion->tickets[i], completion->status);
			channel_completion_done(channel->link, completion);
		}
	}
	if (ingress->mark_failures)
		marks_reap(ingress);
	if (ingress->tickets.due_first) {
		if (ingress->batch.count)
			ingress_put(ingress);
		tickets_settle(ingress);
	}
}

#define INPUT_TURNS_MAX 4u	/* that a block waits for the end of a burst: 128 frames, some 80 us of requests */

/* Peers answered together ask again together: their requests come in a row, and a block sealed after the first of them would leave the others a device's
 * whole time behind. */
void
ingress_input(struct ingress *ingress, bool any)
{
	ingress->input_turns = any && ingress->input_turns < INPUT_TURNS_MAX ? ingress->input_turns + 1 : 0;
}

/* Peers that wait for an answer send nothing more before it: a block that holds half of what is waited for need not wait for the one under way, or two
 * halves of the peers would take turns at the device. */
static bool
answers_due(const struct ingress *ingress, const struct ingress_channel *channel)
{
	uint32_t asked = ingress->tickets.asked;
	return asked && channel->open->ticket_count &&
	       (channel->in_flight == 0 || (channel->in_flight == 1 && 2 * channel->open->ticket_count >= asked));
}

void
ingress_seal_due(struct ingress *ingress, bool all)
{
	for (uint32_t slot = 0; slot < ingress->pipeline->channel_count; slot++) {
		struct ingress_channel *channel = &ingress->channels[slot];
		if (!channel->open || !channel->open->events)
			continue;
		bool burst = ingress->input_turns && ingress->tickets.asked;
		/* One block on its way is what a hungry writer needs; more would spend the credit on small ones. */
		if (all || channel->mark_failed ||
		    (!burst && (answers_due(ingress, channel) || (channel_hungry(channel->link->channel) && !spsc_count(&channel->link->submit)))))
			intake_submit(channel);
	}
	if (ingress->marks)
		marks_idle(ingress);
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
