#include "channel/block.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "channel/format.h"

struct block_scratch {
	uint32_t capacity;		/* of each of the three regions below */
	uint32_t dict_count, dict_bytes, set_count, set_bytes, record_bytes;
	uint8_t *dict, *sets, *records;
	uint32_t dict_ends[NAME_ID_MAX + 1];
	uint32_t *set_ends;
	uint32_t sets_max;
	uint64_t name_serial[NAME_ID_MAX + 1];	/* block in which the name has an entry */
	uint16_t name_entry[NAME_ID_MAX + 1];
};

#define SETS_MAX 4096u
#define RECORD_LEAST 24u	/* lead, own count, body length, set id: at their longest */
#define HEADER_LEAST 22u	/* name and kind, two varints: at their longest */

int
block_scratch_init(struct block_scratch **out, uint32_t block_capacity)
{
	struct block_scratch *s = calloc(1, sizeof *s);
	if (!s)
		return -ENOMEM;
	s->capacity = block_capacity;
	s->sets_max = SETS_MAX;
	s->dict = malloc(block_capacity);
	s->sets = malloc(block_capacity);
	s->records = malloc(block_capacity);
	s->set_ends = malloc(SETS_MAX * sizeof *s->set_ends);
	if (!s->dict || !s->sets || !s->records || !s->set_ends) {
		block_scratch_free(s);
		return -ENOMEM;
	}
	*out = s;
	return 0;
}

void
block_scratch_free(struct block_scratch *s)
{
	if (!s)
		return;
	free(s->dict);
	free(s->sets);
	free(s->records);
	free(s->set_ends);
	free(s);
}

void
block_open(struct block *block, struct block_scratch *scratch)
{
	static _Atomic uint64_t serials;
	assert(scratch->capacity >= block->capacity && block->capacity >= BLOCK_ALIGN_BYTES);
	block->raw_bytes = block->events = block->ticket_count = block->joined = block->mark_bytes = block->marks = block->reserved = 0;
	block->first_time_ns = block->last_time_ns = 0;
	block->serial = atomic_fetch_add_explicit(&serials, 1, memory_order_relaxed) + 1;
	block->scratch = scratch;
	scratch->dict_count = scratch->dict_bytes = scratch->set_count = scratch->set_bytes = scratch->record_bytes = 0;
}

static uint64_t
block_used(const struct block *block)
{
	const struct block_scratch *s = block->scratch;
	return (uint64_t)BLOCK_HEADER_BYTES + block->raw_bytes + 4u * s->dict_count + s->dict_bytes + 4u * s->set_count + s->set_bytes +
	       s->record_bytes + block->reserved;
}

static bool
block_limited(const struct block *block)
{
	return block->events_max && block->events >= block->events_max;
}

uint8_t *
block_room(struct block *block, uint32_t len)
{
	if (block_limited(block) || block_used(block) + len + 1 + RECORD_LEAST > block->capacity)
		return NULL;
	return block->bytes + BLOCK_HEADER_BYTES + block->raw_bytes;
}

uint32_t
block_left(const struct block *block)
{
	uint64_t used = block_used(block);
	return used < block->capacity && !block_limited(block) ? (uint32_t)(block->capacity - used) : 0;
}

uint32_t
block_events_left(const struct block *block)
{
	return block->events_max ? block->events_max - block->events : UINT32_MAX;
}

/* At most so many bytes, dictionary entries included. */
static uint64_t
headers_bound(const struct header *headers, uint32_t count)
{
	uint64_t bytes = 0;
	for (uint32_t i = 0; i < count; i++)
		bytes += HEADER_LEAST + 4 + headers[i].name->len + (headers[i].kind == HEADER_BYTES ? headers[i].len : 0);
	return bytes;
}

static uint8_t *
header_put(struct block *block, uint8_t *at, const struct header *header)
{
	struct block_scratch *s = block->scratch;
	const struct name *name = header->name;
	int64_t delta = 0;
	unsigned kind = header->kind == HEADER_BYTES ? VALUE_BYTES : header->kind == HEADER_BODY ? VALUE_BODY : VALUE_NUMBER;
	if (kind == VALUE_NUMBER) {
		delta = (int64_t)((uint64_t)header->value.number - block->first_time_ns / 1000000);
		if (delta > -(INT64_C(1) << 31) && delta < INT64_C(1) << 31)
			kind = VALUE_TIME;
	}
	if (name->id <= NAME_ID_MAX) {
		if (s->name_serial[name->id] != block->serial) {
			memcpy(s->dict + s->dict_bytes, name->text, name->len);
			s->dict_bytes += name->len;
			s->dict_ends[s->dict_count] = s->dict_bytes;
			s->name_serial[name->id] = block->serial;
			s->name_entry[name->id] = (uint16_t)s->dict_count++;
		}
		at = varint_put(at, (uint64_t)(s->name_entry[name->id] + 1u) << 2 | kind);
	} else {
		at = varint_put(at, kind);
		at = varint_put(at, name->len);
		memcpy(at, name->text, name->len);
		at += name->len;
	}
	switch ((enum value_kind)kind) {
	case VALUE_BYTES:
		at = varint_put(at, header->len);
		if (header->len)
			memcpy(at, header->value.bytes, header->len);
		return at + header->len;
	case VALUE_BODY:
		at = varint_put(at, header->value.body_offset);
		return varint_put(at, header->len);
	case VALUE_NUMBER:
		return varint_put(at, zigzag(header->value.number));
	case VALUE_TIME:
		return varint_put(at, zigzag(delta));
	}
	return at;
}

/* Most events' one header of their own: a time near the block's, its name known to the block. NULL: it is something else. */
static inline uint8_t *
time_put(const struct block *block, uint8_t *at, const struct header *header)
{
	const struct block_scratch *s = block->scratch;
	uint32_t id = header->name->id;
	if (header->kind != HEADER_NUMBER || id > NAME_ID_MAX || s->name_serial[id] != block->serial)
		return NULL;
	int64_t delta = (int64_t)((uint64_t)header->value.number - block->first_time_ns / 1000000);
	if (delta <= -(INT64_C(1) << 31) || delta >= INT64_C(1) << 31)
		return NULL;
	at = varint_put(at, (uint64_t)(s->name_entry[id] + 1u) << 2 | VALUE_TIME);
	return varint_put(at, zigzag(delta));
}

uint64_t
block_need(const struct event *event)
{
	uint64_t need = (uint64_t)event->body_len + 1 + RECORD_LEAST + headers_bound(event->headers, event->header_count);
	return need + (event->shared ? 14 + headers_bound(event->shared->headers, event->shared->count) : 0);
}

int
block_put_staged(struct block *block, uint32_t slot, const struct event *event)
{
	struct block_scratch *s = block->scratch;
	struct header_set *set = event->shared;
	bool new_set = set && set->in_block[slot % HEADER_SET_SLOTS].serial != block->serial;
	uint64_t need = (uint64_t)event->body_len + 1 + RECORD_LEAST;
	if (event->header_count)
		need += headers_bound(event->headers, event->header_count);
	if (new_set)
		need += 4 + 10 + headers_bound(set->headers, set->count);
	if (block_used(block) + need > block->capacity || block_limited(block) || (new_set && s->set_count == s->sets_max))
		return block->events ? -ENOSPC : -EMSGSIZE;
	if (block->events == 0)
		block->first_time_ns = event->time_ns;
	block->last_time_ns = event->time_ns;
	if (new_set) {
		uint8_t *begin = s->sets + s->set_bytes, *at = varint_put(begin, set->count);
		for (uint32_t i = 0; i < set->count; i++)
			at = header_put(block, at, &set->headers[i]);
		s->set_bytes += (uint32_t)(at - begin);
		s->set_ends[s->set_count] = s->set_bytes;
		set->in_block[slot % HEADER_SET_SLOTS].serial = block->serial;
		set->in_block[slot % HEADER_SET_SLOTS].id = s->set_count++;
	}
	uint8_t *begin = s->records + s->record_bytes, *at = begin;
	uint32_t own = event->header_count;
	*at++ = (uint8_t)(RECORD_EVENT | (set ? RECORD_HAS_SET : 0) | (own < 15 ? own : 15) << 4);
	if (own >= 15)
		at = varint_put(at, own);
	at = varint_put(at, event->body_len);
	if (set)
		at = varint_put(at, set->in_block[slot % HEADER_SET_SLOTS].id);
	for (uint32_t i = 0; i < own; i++) {
		uint8_t *end = time_put(block, at, &event->headers[i]);
		at = end ? end : header_put(block, at, &event->headers[i]);
	}
	s->record_bytes += (uint32_t)(at - begin);
	block->raw_bytes += event->body_len + 1;
	block->events++;
	return 0;
}

int
block_put(struct block *block, uint32_t slot, const struct event *event)
{
	uint64_t least = (uint64_t)BLOCK_HEADER_BYTES + event->body_len + 1 + RECORD_LEAST;
	if (least > block->capacity)
		return -EMSGSIZE;
	uint8_t *room = block_room(block, event->body_len);
	if (!room)
		return block->events ? -ENOSPC : -EMSGSIZE;
	/* Only bytes that nothing stands in yet are written before we know that all fits. */
	if (event->body_len)
		memcpy(room, event->body, event->body_len);
	room[event->body_len] = '\n';
	return block_put_staged(block, slot, event);
}

static uint8_t *
region_put(uint8_t *at, const void *bytes, size_t len)
{
	if (len)
		memcpy(at, bytes, len);
	return at + len;
}

bool
block_reserve(struct block *block, uint32_t bytes)
{
	if (block_used(block) + bytes > block->capacity)
		return false;
	block->reserved += bytes;
	return true;
}

void
block_put_mark(struct block *block, const uint8_t *source, uint32_t source_len, uint64_t order, const uint8_t *key, uint32_t key_len,
	       const uint8_t *resume, uint32_t resume_len)
{
	struct block_scratch *s = block->scratch;
	uint8_t head[32], middle[32], *head_end = varint_put(head, source_len), *middle_end = varint_put(middle, order);
	middle_end = varint_put(middle_end, key_len);
	uint32_t len = (uint32_t)(head_end - head) + source_len + (uint32_t)(middle_end - middle) + key_len + resume_len;
	assert(len + 8 <= block->reserved);
	uint8_t *begin = s->records + s->record_bytes, *at = begin;
	*at++ = RECORD_MARK;
	at = varint_put(at, len);
	at = region_put(at, head, (size_t)(head_end - head));
	at = region_put(at, source, source_len);
	at = region_put(at, middle, (size_t)(middle_end - middle));
	at = region_put(at, key, key_len);
	at = region_put(at, resume, resume_len);
	block->reserved -= (uint32_t)(at - begin);
	s->record_bytes += (uint32_t)(at - begin);
	block->mark_bytes += (uint32_t)(at - begin);
	block->marks++;
}

bool
block_note_ticket(struct block *block, uint32_t ticket)
{
	for (uint32_t i = block->ticket_count; i-- > 0;)
		if (block->tickets[i] == ticket)
			return true;
	if (block->ticket_count == BLOCK_TICKETS_MAX)
		return false;
	block->tickets[block->ticket_count++] = ticket;
	return true;
}

uint32_t
block_seal(struct block *block)
{
	struct block_scratch *s = block->scratch;
	block->reserved = 0;
	uint64_t used = block_used(block), bytes = (used + BLOCK_ALIGN_BYTES - 1) / BLOCK_ALIGN_BYTES * BLOCK_ALIGN_BYTES;
	assert(bytes <= block->capacity);
	struct block_header *h = (struct block_header *)block->bytes;
	*h = (struct block_header){ .magic = BLOCK_MAGIC, .version = FORMAT_VERSION, .bytes = (uint32_t)bytes, .events = block->events,
		.records = block->events + block->marks, .first_time_ns = block->first_time_ns, .last_time_ns = block->last_time_ns,
		.raw_bytes = block->raw_bytes, .dict_count = s->dict_count, .dict_bytes = s->dict_bytes, .set_count = s->set_count,
		.set_bytes = s->set_bytes, .record_bytes = s->record_bytes };
	uint8_t *at = block->bytes + BLOCK_HEADER_BYTES + block->raw_bytes;
	at = region_put(at, s->dict_ends, 4 * (size_t)s->dict_count);
	at = region_put(at, s->dict, s->dict_bytes);
	at = region_put(at, s->set_ends, 4 * (size_t)s->set_count);
	at = region_put(at, s->sets, s->set_bytes);
	at = region_put(at, s->records, s->record_bytes);
	memset(at, 0, bytes - used);
	if (block->check)
		h->payload_crc = crc32c(0, block->bytes + BLOCK_HEADER_BYTES, (size_t)(used - BLOCK_HEADER_BYTES));
	block->scratch = NULL;
	return (uint32_t)bytes;
}
