#include "dataplane/ticket.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/ingress.h"
#include "dataplane/stream.h"

#define TICKETS_FIRST 1024u

static void
free_range(struct tickets *tickets, uint32_t from)
{
	for (uint32_t i = tickets->room; i-- > from;) {
		tickets->table[i] = (struct ticket){ .next = tickets->free };
		tickets->free = i;
	}
}

int
tickets_init(struct tickets *tickets)
{
	*tickets = (struct tickets){ .table = malloc(TICKETS_FIRST * sizeof *tickets->table), .room = TICKETS_FIRST };
	if (!tickets->table)
		return -ENOMEM;
	free_range(tickets, 1);
	tickets->table[0] = (struct ticket){ 0 };
	return 0;
}

void
tickets_free(struct tickets *tickets)
{
	free(tickets->table);
	*tickets = (struct tickets){ 0 };
}

uint32_t
ticket_open(struct ingress_source *in, uint64_t cookie)
{
	struct tickets *tickets = &in->ingress->tickets;
	if (!tickets->free) {
		/* Doubling is rare: the table is as large as the most requests that were ever under way at once. */
		uint32_t old = tickets->room;
		struct ticket *table = old > UINT32_MAX / 4 ? NULL : realloc(tickets->table, 2 * (size_t)old * sizeof *table);
		if (!table)
			return 0;
		tickets->table = table;
		tickets->room = 2 * old;
		free_range(tickets, old);
	}
	uint32_t ticket = tickets->free;
	struct ticket *t = &tickets->table[ticket];
	tickets->free = t->next;
	tickets->open++;
	*t = (struct ticket){ .in = in, .cookie = cookie, .end = UINT64_MAX };
	return ticket;
}

static void
make_due(struct tickets *tickets, uint32_t ticket)
{
	struct ticket *t = &tickets->table[ticket];
	if (t->due)
		return;
	t->due = true;
	t->due_next = 0;
	if (tickets->due_last)
		tickets->table[tickets->due_last].due_next = ticket;
	else
		tickets->due_first = ticket;
	tickets->due_last = ticket;
}

void
ticket_complete(struct ingress *ingress, uint32_t ticket)
{
	struct ticket *t = &ingress->tickets.table[ticket];
	assert(t->in && !t->complete);
	t->complete = true;
	/* Events of it may still be staged: what is due is looked at again when the batch has been put. */
	if (!t->pending)
		make_due(&ingress->tickets, ticket);
}

void
ticket_fail(struct ingress *ingress, uint32_t ticket, int status)
{
	struct ticket *t = &ingress->tickets.table[ticket];
	assert(t->in && status < 0);
	if (!t->status)
		t->status = status;
	if (t->stream)
		t->stream->cut = true;	/* no mark may pass what is not stored */
}

bool
ticket_reserve(struct tickets *tickets, uint32_t ticket, struct block *block)
{
	const struct ticket *t = &tickets->table[ticket];
	if (t->noted_serial == block->serial || (block->ticket_count && block->tickets[block->ticket_count - 1] == ticket))
		return true;
	if (block->ticket_count == BLOCK_TICKETS_MAX)
		return false;
	return !t->stream || !t->stream->flow || stream_reserve(t->stream, block);
}

void
ticket_note(struct tickets *tickets, uint32_t ticket, uint32_t stream_end, struct block *block)
{
	struct ticket *t = &tickets->table[ticket];
	assert(t->in);
	if (stream_end && t->stream)
		stream_put(t->stream, t->begin + stream_end);
	if (t->noted_serial == block->serial || (block->ticket_count && block->tickets[block->ticket_count - 1] == ticket))
		return;
	assert(block->ticket_count < BLOCK_TICKETS_MAX);
	/* A ticket that alternates between channels may stand in a block twice; it then counts twice. */
	block->tickets[block->ticket_count++] = ticket;
	t->noted_serial = block->serial;
	t->pending++;
}

void
ticket_returned(struct tickets *tickets, uint32_t ticket, int status)
{
	struct ticket *t = &tickets->table[ticket];
	assert(t->in && t->pending);
	if (status && !t->status)
		t->status = status;
	if (status && t->stream)
		t->stream->cut = true;
	if (--t->pending == 0 && t->complete)
		make_due(tickets, ticket);
}

void
ticket_release(struct tickets *tickets, uint32_t ticket)
{
	struct ticket *t = &tickets->table[ticket];
	tickets->asked -= t->asked;
	*t = (struct ticket){ .next = tickets->free };
	tickets->free = ticket;
	tickets->open--;
}

void
tickets_settle(struct ingress *ingress)
{
	struct tickets *tickets = &ingress->tickets;
	assert(!ingress->batch.count);
	/* Those that become due meanwhile have events staged again: theirs is the next turn. */
	uint32_t next = tickets->due_first;
	tickets->due_first = tickets->due_last = 0;
	while (next) {
		uint32_t ticket = next;
		struct ticket *t = &tickets->table[ticket];
		next = t->due_next;
		t->due = false;
		if (t->pending)
			continue;	/* its events were still staged */
		t->settled = true;
		if (t->of_stream) {
			stream_ticket_settled(ingress, ticket);
			continue;
		}
		struct ingress_source *in = t->in;
		uint64_t cookie = t->cookie;
		int status = t->status;
		ticket_release(tickets, ticket);
		if (in->spec->ops->ack)
			in->spec->ops->ack(in->self, cookie, status);
	}
}
