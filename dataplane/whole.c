/* whole: a set of events that enters whole or not at all. While it fits the open blocks it stays there until ingress_commit; else it gets blocks of
 * its own, which are held until it is complete and then lie in one group of each channel. */
#include "dataplane/ingress_impl.h"

#include <errno.h>
#include <string.h>

void
whole_split(struct ingress *ingress)
{
	const struct pipeline_source *spec = ingress->whole.in->spec;
	if (ingress->whole.split)
		return;
	ingress->whole.split = true;
	for (uint64_t left = spec->required | spec->optional; left; left &= left - 1) {
		struct ingress_channel *channel = &ingress->channels[__builtin_ctzll(left)];
		channel->held_pending = 0;
		if (channel->open && channel->open->events)
			intake_submit(channel);
	}
}

static bool
hold(struct ingress *ingress, struct ingress_channel *channel)
{
	uint32_t most = channel->link->channel->joined_max;
	if (!most || most > INGRESS_HELD_MAX)
		most = INGRESS_HELD_MAX;
	if (channel->held_count + 1 >= most) {	/* the open one becomes the last */
		ingress->whole.status = -EMSGSIZE;
		return false;
	}
	intake_seal(channel);
	channel->held[channel->held_count++] = channel->open;
	channel->open = NULL;
	return true;
}

bool
whole_pass_on(struct ingress *ingress, struct ingress_channel *channel)
{
	if (ingress->whole.in && ingress->whole.split)
		return hold(ingress, channel);
	intake_submit(channel);
	return true;
}

/* Every open block has room for all that the batch brings it, so that nothing is spread over two groups. */
static bool
fits_open(struct ingress *ingress)
{
	struct batch *batch = &ingress->batch;
	uint64_t need[PIPELINE_CHANNELS_MAX] = { 0 }, named = 0;
	uint32_t events[PIPELINE_CHANNELS_MAX] = { 0 };
	for (uint32_t i = 0; i < batch->count; i++) {
		const struct event *event = &batch->events[i];
		if (event->dropped || !event->channels)
			continue;
		uint64_t bytes = block_need(event);
		for (uint64_t left = event->channels; left; left &= left - 1) {
			int slot = __builtin_ctzll(left);
			need[slot] += bytes;
			events[slot]++;
			named |= UINT64_C(1) << slot;
		}
	}
	for (uint64_t left = named; left; left &= left - 1) {
		int slot = __builtin_ctzll(left);
		struct block *block = intake_block(&ingress->channels[slot]);
		if (!block || block_left(block) < need[slot] || block_events_left(block) < events[slot])
			return false;
		if (ingress->whole.ticket && !ticket_reserve(&ingress->tickets, ingress->whole.ticket, block))
			return false;
	}
	return true;
}

void
whole_put(struct ingress *ingress, struct ingress_source *in)
{
	struct batch *batch = &ingress->batch;
	if (ingress->whole.last && !ingress->whole.split && fits_open(ingress)) {
		if (in->direct >= 0)
			ingress_put_direct(ingress, in);
		else
			ingress_put_copies(ingress, in);
		return;
	}
	/* Bodies staged in the open block move out of it first. */
	uint32_t used = 0;
	for (uint32_t i = 0; in->direct >= 0 && i < batch->count; i++) {
		struct event *event = &batch->events[i];
		if (event->dropped || !event->channels)
			continue;
		assert(used + event->body_len + 1 <= OVERFLOW_BYTES);
		memcpy(ingress->overflow + used, event->body, event->body_len + 1);
		event->body = ingress->overflow + used;
		used += event->body_len + 1;
	}
	whole_split(ingress);
	ingress_put_copies(ingress, in);
}

void
ingress_begin(struct ingress_source *in, uint32_t ticket)
{
	struct ingress *ingress = in->ingress;
	assert(!ingress->whole.in);
	if (ingress->batch.count)
		ingress_put(ingress);
	ingress->whole.in = in;
	ingress->whole.counters = in->counters;
	ingress->whole.ticket = ticket;
	ingress->whole.events = 0;
	ingress->whole.status = 0;
	ingress->whole.split = ingress->whole.last = false;
}

void
ingress_abort(struct ingress_source *in)
{
	struct ingress *ingress = in->ingress;
	const struct pipeline_source *spec = in->spec;
	assert(ingress->whole.in == in);
	for (uint64_t left = ingress->whole.split ? spec->required | spec->optional : 0; left; left &= left - 1) {
		struct ingress_channel *channel = &ingress->channels[__builtin_ctzll(left)];
		while (channel->held_count)
			channel->spare[channel->spare_count++] = channel->held[--channel->held_count];
		if (channel->open)
			channel->spare[channel->spare_count++] = channel->open;
		channel->open = NULL;
		counter_set(&channel->counters.offered, counter_read(&channel->counters.offered) - channel->held_pending);
		intake_set_pending(channel, -(int64_t)channel->held_pending);
	}
	/* The source's account goes back to where it was: it may try again, and says (ingress_refused) when it does not. */
	in->counters = ingress->whole.counters;
	batch_clear(&ingress->batch);
	in->ready_bytes = in->ready_events = 0;
	ingress->current = NULL;
	ingress->whole.in = NULL;
	ingress->whole.status = 0;
}

void
ingress_refused(struct ingress_source *in)
{
	const uint32_t events = in->ingress->whole.events;
	counter_add(&in->counters.received, events);
	counter_add(&in->counters.channel_write_fail, events);
}

uint32_t
ingress_credit(const struct ingress_source *in)
{
	uint32_t least = UINT32_MAX;
	for (uint64_t left = in->spec->required; left; left &= left - 1) {
		const struct ingress_channel *channel = &in->ingress->channels[__builtin_ctzll(left)];
		uint32_t blocks = channel->spare_count + (channel->link ? (uint32_t)spsc_count(&channel->link->credit) : 0);
		least = blocks < least ? blocks : least;
	}
	return least;
}

uint64_t
ingress_keep_alive_ns(const struct ingress_source *in)
{
	uint32_t longest = 0;
	for (uint64_t left = in->spec->required; left; left &= left - 1) {
		const struct channel *channel = in->ingress->pipeline->channels[__builtin_ctzll(left)];
		uint32_t wait = atomic_load_explicit(&channel->keep_alive_s, memory_order_relaxed);
		longest = wait > longest ? wait : longest;
	}
	return longest * NS_PER_S;
}

int
ingress_commit(struct ingress_source *in)
{
	struct ingress *ingress = in->ingress;
	const struct pipeline_source *spec = in->spec;
	assert(ingress->whole.in == in);
	ingress->whole.last = true;
	if (!ingress->whole.status)
		ingress_put(ingress);
	if (ingress->whole.status) {
		int status = ingress->whole.status;
		ingress_abort(in);
		return status;
	}
	for (uint64_t left = ingress->whole.split ? spec->required | spec->optional : 0; left; left &= left - 1) {
		uint32_t slot = (uint32_t)__builtin_ctzll(left);
		struct ingress_channel *channel = &ingress->channels[slot];
		bool noted = ingress->whole.ticket && spec->required >> slot & 1;
		if (channel->open && channel->open->events && noted)
			ticket_note(&ingress->tickets, ingress->whole.ticket, 0, channel->open);
		if (!channel->held_count)
			continue;
		if (channel->open && channel->open->events) {
			intake_seal(channel);
			channel->held[channel->held_count++] = channel->open;
			channel->open = NULL;
		}
		uint32_t count = channel->held_count;
		for (uint32_t i = 0; i < count; i++) {
			if (noted)
				ticket_note(&ingress->tickets, ingress->whole.ticket, 0, channel->held[i]);
			channel->held[i]->joined = count - 1 - i;
			counter_add(&channel->counters.blocks, 1);
			channel_submit(channel->link, &channel->held[i]);
			channel->in_flight++;
		}
		channel->held_count = 0;
	}
	ingress->whole.in = NULL;
	return 0;
}
