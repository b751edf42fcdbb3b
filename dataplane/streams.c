/* streams: every stream of one ingress: its slot, its turn when it waits for credit, the limits of its life. */
#include "dataplane/stream_impl.h"

#include <assert.h>
#include <stdlib.h>

#define TABLE_FIRST 64u
#define TAIL_MEMORY (64u << 20)
#define SWEEP_NS (10 * NS_PER_MS)
#define SWEEP_TURNS 100u		/* the whole table once a second */
#define RESUME_MAX 256u			/* streams looked at for credit in one turn */
#define TAIL_IDLE_NS NS_PER_S

int
streams_init(struct streams *streams, struct ingress *ingress, uint64_t tail_bytes_max)
{
	*streams = (struct streams){ .ingress = ingress, .tail_bytes_max = tail_bytes_max ? tail_bytes_max : TAIL_MEMORY };
	return 0;
}

void
streams_free(struct streams *streams)
{
	assert(!streams->open);
	free(streams->table);
	free(streams->generations);
	*streams = (struct streams){ 0 };
}

/* A free slot's entry holds the next free one, shifted left and marked with bit 0: no stream has an odd address. */
bool
streams_slot_take(struct streams *streams, struct stream *stream)
{
	if (streams->open == streams->room) {
		uint32_t old = streams->room, room = old ? 2 * old : TABLE_FIRST;
		struct stream **table = realloc(streams->table, room * sizeof *table);
		if (table)
			streams->table = table;
		uint32_t *generations = table ? realloc(streams->generations, room * sizeof *generations) : NULL;
		if (!generations)
			return false;
		streams->generations = generations;
		for (uint32_t i = room; i-- > old;) {
			streams->table[i] = (struct stream *)((uintptr_t)streams->free_slot << 1 | 1);
			streams->generations[i] = 0;
			streams->free_slot = i;
		}
		streams->room = room;
	}
	stream->slot = streams->free_slot;
	streams->free_slot = (uint32_t)((uintptr_t)streams->table[stream->slot] >> 1);
	streams->table[stream->slot] = stream;
	stream->generation = ++streams->generations[stream->slot];
	streams->open++;
	return true;
}

void
streams_slot_give(struct streams *streams, struct stream *stream)
{
	assert(streams->table[stream->slot] == stream && streams->generations[stream->slot] == stream->generation);
	streams->generations[stream->slot]++;
	streams->table[stream->slot] = (struct stream *)((uintptr_t)streams->free_slot << 1 | 1);
	streams->free_slot = stream->slot;
	streams->open--;
}

struct stream *
streams_at(const struct streams *streams, uint32_t slot)
{
	struct stream *stream = streams->table[slot];
	return (uintptr_t)stream & 1 ? NULL : stream;
}

void
streams_wait(struct stream *stream)
{
	struct streams *streams = stream->streams;
	if (stream->waiting)
		return;
	stream->waiting = true;
	stream->wait_next = NULL;
	stream->wait_prev = streams->waiting_last;
	if (streams->waiting_last)
		streams->waiting_last->wait_next = stream;
	else
		streams->waiting_first = stream;
	streams->waiting_last = stream;
}

void
streams_wait_not(struct stream *stream)
{
	struct streams *streams = stream->streams;
	*(stream->wait_prev ? &stream->wait_prev->wait_next : &streams->waiting_first) = stream->wait_next;
	*(stream->wait_next ? &stream->wait_next->wait_prev : &streams->waiting_last) = stream->wait_prev;
	stream->waiting = false;
}

static void
resume_waiting(struct streams *streams)
{
	struct ingress_source *dry = NULL;	/* a source without credit now */
	struct stream *last = streams->waiting_last;
	for (uint32_t i = 0; i < RESUME_MAX && streams->waiting_first; i++) {
		struct stream *stream = streams->waiting_first;
		streams_wait_not(stream);
		bool late = stream->wait_until_ns && streams->now_ns >= stream->wait_until_ns;
		if (!late && (stream->in == dry || !ingress_ready(stream->in, 0))) {
			dry = stream->in;
			streams_wait(stream);
		} else if (!late && stream->wait_blocks && ingress_credit(stream->in) < stream->wait_blocks) {
			streams_wait(stream);	/* others may want less */
		} else {
			stream->wait_blocks = 0;
			stream->wait &= (uint8_t)~STREAM_WAIT_CREDIT;
			stream->wait_until_ns = 0;
			stream_resume(stream);
		}
		if (stream == last)
			break;
	}
}

static void
sweep_one(struct streams *streams, struct stream *stream)
{
	const struct stream_limits *limits = &stream->listener->limits;
	uint64_t now = streams->now_ns;
	if (stream->ending)
		return;
	if ((stream->wait & STREAM_WAIT_SEND) && limits->frame_ns && now - stream->send_ns > limits->frame_ns) {
		stream_shut(stream, &stream->listener->counters.reset_send, true);
		return;
	}
	if (stream->frame_known && !stream->wait) {
		if (limits->frame_ns && now - stream->frame_ns > limits->frame_ns)
			stream_shut(stream, &stream->listener->counters.closed_frame, true);
		return;
	}
	if (!stream->tail_len && stream->tail && now - stream->active_ns > TAIL_IDLE_NS)
		stream_tail_free(stream);
	if (limits->idle_ns && !stream->ticket_first && !stream->wait && now - stream->active_ns > limits->idle_ns)
		stream_shut(stream, &stream->listener->counters.closed_idle, false);
}

void
streams_run(struct streams *streams, uint64_t now_ns)
{
	streams->now_ns = now_ns;
	if (streams->waiting_first)
		resume_waiting(streams);
	if (!streams->open || now_ns - streams->swept_ns < SWEEP_NS)
		return;
	streams->swept_ns = now_ns;
	uint32_t count = streams->room / SWEEP_TURNS + 1;
	for (uint32_t i = 0; i < count; i++) {
		streams->swept = (streams->swept + 1) % streams->room;
		struct stream *stream = streams_at(streams, streams->swept);
		if (stream)
			sweep_one(streams, stream);
	}
}

bool
streams_waiting(const struct streams *streams)
{
	return streams->waiting_first || streams->ingress->tickets.due_first;
}
