/* stream_ticket: what of a stream is promised: its tickets in their order, the durable edge they move, and the marks of streams that go on after a
 * restart. */
#include "dataplane/stream_impl.h"

#include <assert.h>
#include <string.h>

#include "dataplane/stream_tls.h"

#define MARK_BYTES 64u			/* of a stream's mark beside its source's name, at most */

void
stream_progress(struct stream *stream)
{
	uint64_t edge;
	if (stream->ticket_first) {
		edge = ticket_at(&stream->in->ingress->tickets, stream->ticket_first)->begin;
	} else if (stream->flow) {
		edge = stream_consumed(stream);
	} else {
		edge = stream_consumed(stream);
		if (stream->stored > edge)
			edge = stream->stored;
	}
	if (stream->tls)
		edge = stream_tls_edge(stream->tls, edge, stream->durable);
	/* One that has come to its end needs no record of where it stands; what made no event there is acknowledged, the FIN behind it. */
	if (stream->flow && (!stream->eof_told || stream->ticket_first)) {
		if (edge > stream->recorded && !stream->ticket_first && !stream->ending)
			stream->carrier->lagging(stream);
		edge = edge < stream->recorded ? edge : stream->recorded;
		edge = edge > stream->stored ? edge : stream->stored;
	}
	if (edge <= stream->durable)
		return;
	stream->durable = edge;
	if (stream->edge == STREAM_DURABLE && !stream->ending)
		stream->carrier->durable(stream);
}

static uint32_t
open_ticket(struct stream *stream, uint64_t cookie, uint32_t at)
{
	struct tickets *tickets = &stream->in->ingress->tickets;
	uint32_t ticket = ticket_open(stream->in, cookie);
	if (!ticket)
		return 0;
	struct ticket *t = ticket_at(tickets, ticket);
	t->of_stream = true;
	t->stream = stream;
	t->begin = stream->eaten + at;
	t->next = 0;
	if (stream->ticket_last)
		ticket_at(tickets, stream->ticket_last)->next = ticket;
	else
		stream->ticket_first = ticket;
	stream->ticket_last = ticket;
	return ticket;
}

uint32_t
stream_ticket(struct stream *stream, uint32_t at)
{
	if (!stream->ticket_open)
		stream->ticket_open = open_ticket(stream, 0, at);
	return stream->ticket_open;
}

void
stream_event(struct stream *stream, struct event *event, uint32_t ticket, uint32_t end)
{
	event->ticket = ticket;
	if (!stream->flow || !end)
		return;
	uint64_t n = stream->eaten + end - ticket_at(&stream->in->ingress->tickets, ticket)->begin;
	event->stream_end = n < 1u << 24 ? n & 0xffffff : 0;
}

uint32_t
stream_ticket_open(struct stream *stream, uint64_t cookie, uint32_t at)
{
	uint32_t ticket = open_ticket(stream, cookie, at);
	if (ticket)
		stream_ticket_asked(stream, ticket);
	return ticket;
}

void
stream_ticket_asked(struct stream *stream, uint32_t ticket)
{
	struct tickets *tickets = &stream->in->ingress->tickets;
	struct ticket *t = ticket_at(tickets, ticket);
	tickets->asked += !t->asked;
	t->asked = true;
}

void
stream_ticket_complete(struct stream *stream, uint32_t ticket)
{
	ticket_complete(stream->in->ingress, ticket);
}

/* The bytes of this feed are eaten: its ticket waits for the channels now. */
void
stream_ticket_close(struct stream *stream)
{
	if (!stream->ticket_open)
		return;
	struct ingress *ingress = stream->in->ingress;
	ticket_at(&ingress->tickets, stream->ticket_open)->end = stream_consumed(stream);
	ticket_complete(ingress, stream->ticket_open);
	stream->ticket_open = 0;
}

void
stream_ticket_settled(struct ingress *ingress, uint32_t ticket)
{
	struct tickets *tickets = &ingress->tickets;
	struct ticket *t = ticket_at(tickets, ticket);
	const struct source_ops *ops = t->in->spec->ops;
	struct stream *stream = t->stream;
	if (!stream) {
		struct ingress_source *in = t->in;
		uint64_t cookie = t->cookie;
		int status = t->status;
		ticket_release(tickets, ticket);
		if (ops->on_settled)
			ops->on_settled(in->self, NULL, cookie, status);
		return;
	}
	/* Only the head may be answered. */
	while (stream->ticket_first && (t = ticket_at(tickets, stream->ticket_first))->settled) {
		ticket = stream->ticket_first;
		uint64_t cookie = t->cookie;
		int status = t->status;
		if (!status && t->marked > stream->recorded)
			stream->recorded = t->marked;
		stream->ticket_first = t->next;
		if (!stream->ticket_first)
			stream->ticket_last = 0;
		ticket_release(tickets, ticket);
		if (ops->on_settled)
			ops->on_settled(stream->in->self, stream->ending ? NULL : stream, cookie, status);
		else if (status)
			stream_shut(stream, &stream->listener->counters.reset_store, true);
	}
	stream_progress(stream);
	if (stream->eof_told && !stream->ticket_first)
		stream_shut(stream, &stream->listener->counters.closed, false);
	if (stream->wait & STREAM_WAIT_SETTLE) {
		stream->wait &= (uint8_t)~STREAM_WAIT_SETTLE;
		stream_resume(stream);
	}
}

void
stream_stored(struct stream *stream, uint64_t offset)
{
	assert(offset <= stream->plain);
	if (offset > stream->stored)
		stream->stored = offset;
	stream_progress(stream);
}

void
stream_record_begun(struct stream *stream)
{
	assert(stream->tls && !stream->tls->count && stream->durable >= stream->tls->wire);
	stream->durable = stream->received;
	if (!stream->ending)
		stream->carrier->durable(stream);
}

bool
stream_reserve(struct stream *stream, struct block *block)
{
	if (stream->reserved_serial == block->serial)
		return true;
	if (!block_reserve(block, MARK_BYTES + (uint32_t)strlen(stream->in->spec->name)))
		return false;
	stream->reserved_serial = block->serial;
	return true;
}

void
streams_mark(struct ingress *ingress, struct block *block)
{
	bool whole = !ingress->batch.count;	/* all that was eaten is in this block or before it */
	for (uint32_t i = 0; i < block->ticket_count; i++) {
		struct ticket *t = ticket_at(&ingress->tickets, block->tickets[i]);
		struct stream *stream = t->of_stream ? t->stream : NULL;
		if (!stream || !stream->flow || stream->cut || stream->reserved_serial != block->serial)
			continue;
		if (stream->marked_serial != block->serial) {
			const char *name = stream->in->spec->name;
			uint64_t consumed = stream_consumed(stream);
			if (whole && !stream->feeding && consumed >= stream->put) {
				stream->put = consumed;
				stream->put_state = stream->in->spec->ops->stream_state(stream);
			}
			stream->marked_serial = block->serial;
			block_put_mark(block, (const uint8_t *)name, (uint32_t)strlen(name), stream->put, (const uint8_t *)&stream->flow,
				       sizeof stream->flow, (const uint8_t *)&stream->put_state, sizeof stream->put_state);
		}
		t->marked = stream->put;
	}
}

void
stream_recorded(struct stream *stream, uint64_t offset)
{
	if (offset > stream->recorded)
		stream->recorded = offset;
	stream_progress(stream);
}
