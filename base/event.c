#include "base/event.h"

#include <assert.h>
#include <errno.h>

#define FIRST_ROOM 4u	/* headers */

int
batch_init(struct batch *batch, size_t arena_bytes)
{
	batch->count = 0;
	batch->run = NULL;
	batch->run_bytes = 0;
	batch->no_room = 0;
	return arena_init(&batch->arena, arena_bytes);
}

void
batch_free(struct batch *batch)
{
	arena_free(&batch->arena);
}

void
batch_clear(struct batch *batch)
{
	batch->count = 0;
	batch->run_bytes = 0;
	arena_empty(&batch->arena);
}

static struct header *
own_header(const struct event *event, const struct name *name)
{
	for (uint32_t i = 0; i < event->header_count; i++)
		if (name_equal(event->headers[i].name, name))
			return &event->headers[i];
	return NULL;
}

const struct header *
event_header(const struct event *event, const struct name *name)
{
	const struct header *header = own_header(event, name);
	if (header || !event->shared)
		return header;
	for (uint32_t i = 0; i < event->shared->count; i++)
		if (name_equal(event->shared->headers[i].name, name))
			return &event->shared->headers[i];
	return NULL;
}

static bool
make_room(struct batch *batch, struct event *event, uint32_t more)
{
	if (event->header_count + more <= event->header_room)
		return true;
	uint32_t room = event->header_room ? event->header_room * 2u : FIRST_ROOM;
	while (room < event->header_count + more)
		room *= 2;
	struct header *headers = room <= UINT16_MAX ? arena_get(&batch->arena, room * sizeof *headers) : NULL;
	if (!headers) {
		event->dropped = 1;
		batch->no_room++;
		return false;
	}
	if (event->header_count)
		memcpy(headers, event->headers, event->header_count * sizeof *headers);
	event->headers = headers;
	event->header_room = (uint16_t)room;
	return true;
}

bool
event_set(struct batch *batch, struct event *event, const struct header *header)
{
	struct header *own = event->header_count ? own_header(event, header->name) : NULL;
	if (!own) {
		if (!make_room(batch, event, 1))
			return false;
		own = &event->headers[event->header_count++];
	}
	*own = *header;
	return true;
}

bool
event_set_bytes(struct batch *batch, struct event *event, const struct name *name, const void *bytes, uint32_t len)
{
	return event_set(batch, event, &(struct header){ .name = name, .kind = HEADER_BYTES, .len = len, .value.bytes = bytes });
}

bool
event_set_number(struct batch *batch, struct event *event, const struct name *name, int64_t number)
{
	struct header *own = event->header_count ? NULL : arena_get(&batch->arena, FIRST_ROOM * sizeof *own);
	if (!own)
		return event_set(batch, event, &(struct header){ .name = name, .kind = HEADER_NUMBER, .value.number = number });
	/* The first header of an event: the timestamp of most. Written field by field, not by way of a copy. */
	own->name = name;
	own->len = 0;
	own->kind = HEADER_NUMBER;
	own->value.number = number;
	event->headers = own;
	event->header_room = FIRST_ROOM;
	event->header_count = 1;
	return true;
}

bool
event_set_body(struct batch *batch, struct event *event, const struct name *name, uint32_t body_offset, uint32_t len)
{
	assert(body_offset <= event->body_len && len <= event->body_len - body_offset);
	return event_set(batch, event,
			 &(struct header){ .name = name, .kind = HEADER_BODY, .len = len, .value.body_offset = body_offset });
}

bool
event_remove(struct batch *batch, struct event *event, const struct name *name)
{
	if (!event_header(event, name))
		return false;
	if (event->shared) {
		struct header_set *shared = event->shared;
		uint32_t own = event->header_count;
		if (!make_room(batch, event, shared->count))
			return false;
		for (uint32_t i = 0; i < shared->count; i++) {
			bool hidden = false;
			for (uint32_t k = 0; k < own && !hidden; k++)
				hidden = name_equal(event->headers[k].name, shared->headers[i].name);
			if (!hidden)
				event->headers[event->header_count++] = shared->headers[i];
		}
		event->shared = NULL;
	}
	struct header *header = own_header(event, name);
	assert(header);
	*header = event->headers[--event->header_count];
	return true;
}

uint32_t
number_text(int64_t number, char *digits)
{
	char reversed[24];
	uint32_t n = 0, len = 0;
	uint64_t magnitude = number < 0 ? -(uint64_t)number : (uint64_t)number;
	do
		reversed[n++] = (char)('0' + magnitude % 10);
	while (magnitude /= 10);
	if (number < 0)
		digits[len++] = '-';
	while (n)
		digits[len++] = reversed[--n];
	return len;
}

uint32_t
event_header_text(const struct event *event, const struct header *header, char *digits, const uint8_t **text)
{
	switch ((enum header_kind)header->kind) {
	case HEADER_BYTES:
		*text = header->value.bytes;
		return header->len;
	case HEADER_BODY:
		*text = event->body + header->value.body_offset;
		return header->len;
	case HEADER_NUMBER:
		*text = (const uint8_t *)digits;
		return number_text(header->value.number, digits);
	}
	assert(!"a header of no kind");
	return 0;
}

uint8_t *
batch_copy(struct batch *batch, const void *bytes, uint32_t len)
{
	uint8_t *copy = arena_get(&batch->arena, len);
	if (copy)
		memcpy(copy, bytes, len);
	else
		batch->no_room++;
	return copy;
}
