/* ledger_set: event sets as delta-coded runs, consumer values, state and mark records as bytes. No state; any thread. */
#include <errno.h>

#include "channel/ledger_impl.h"

void
set_begin(struct set_writer *s, void *bytes, uint32_t room)
{
	*s = (struct set_writer){ .bytes = bytes, .room = room };
}

static void
set_put(struct set_writer *s)
{
	if (s->first == s->end)
		return;
	if (s->room - s->len < SET_RUN_MAX) {
		s->full = true;
		return;
	}
	uint64_t count = s->end - s->first;
	uint8_t *at = varint_put(s->bytes + s->len, (s->first - s->at) << 1 | (count > 1));
	if (count > 1)
		at = varint_put(at, count - 2);
	s->len = (uint32_t)(at - s->bytes);
	s->at = s->end;
	s->events += count;
}

void
set_add(struct set_writer *s, uint64_t first, uint64_t count)
{
	if (first == s->end && s->end != s->first) {
		s->end += count;
		return;
	}
	set_put(s);
	s->first = first;
	s->end = first + count;
}

uint32_t
set_end(struct set_writer *s)
{
	set_put(s);
	s->first = s->end;
	return s->full ? 0 : s->len;
}

void
set_open(struct set_reader *s, const void *bytes, uint32_t len)
{
	*s = (struct set_reader){ .at = bytes, .end = (const uint8_t *)bytes + len };
}

bool
set_next(struct set_reader *s, struct event_range *range)
{
	uint64_t gap, more = 0;
	if (s->at == s->end || s->bad)
		return false;
	const uint8_t *at = varint_get(s->at, s->end, &gap);
	if (at && gap & 1)
		at = varint_get(at, s->end, &more);
	uint64_t count = at && gap & 1 ? more + 2 : 1;
	/* Numbers of events stay far below 2^62; anything else would wrap. */
	if (!at || gap >> 1 > UINT64_C(1) << 62 || count > UINT64_C(1) << 62 || s->number + (gap >> 1) + count > UINT64_C(1) << 62) {
		s->bad = true;
		return false;
	}
	range->first = s->number + (gap >> 1);
	range->count = count;
	s->number = range->first + count;
	s->at = at;
	return true;
}

bool
consumer_decode(const void *value, uint32_t value_len, struct consumer_record *c)
{
	const uint8_t *at = value, *end = at + value_len;
	uint64_t set_len;
	if (!value_len || *at < CONSUMER_BOUND || *at > CONSUMER_ASIDE)
		return false;
	c->state = (enum consumer_state)*at++;
	if (!(at = varint_get(at, end, &set_len)) || set_len > (uint64_t)(end - at))
		return false;
	c->set = at;
	c->set_len = (uint32_t)set_len;
	c->more = at + set_len;
	c->more_len = (uint32_t)(end - c->more);
	return true;
}

uint32_t
state_bytes_max(const struct state_record *r)
{
	return 1 + 10 + 3 + r->key_len + r->value_len;
}

static uint8_t *
bytes_put(uint8_t *at, const void *bytes, uint32_t len)
{
	if (len)
		memcpy(at, bytes, len);
	return at + len;
}

uint8_t *
state_encode(uint8_t *at, const struct state_record *r)
{
	*at++ = r->class;
	at = varint_put(at, r->order);
	at = varint_put(at, r->key_len);
	at = bytes_put(at, r->key, r->key_len);
	return bytes_put(at, r->value, r->value_len);
}

bool
state_decode(const uint8_t *payload, uint32_t len, struct state_record *r)
{
	const uint8_t *at = payload, *end = payload + len;
	uint64_t key_len;
	if (!len)
		return false;
	r->class = *at++;
	if (!(at = varint_get(at, end, &r->order)) || !(at = varint_get(at, end, &key_len)) || key_len > LEDGER_KEY_MAX ||
	    key_len > (uint64_t)(end - at))
		return false;
	r->key = at;
	r->key_len = (uint16_t)key_len;
	r->value = at + key_len;
	r->value_len = (uint32_t)(end - at - (ptrdiff_t)key_len);
	return true;
}

bool
mark_decode(const uint8_t *payload, uint32_t len, uint8_t *key, struct state_record *r)
{
	const uint8_t *at = payload, *end = payload + len, *name;
	uint64_t name_len, key_len;
	if (!(at = varint_get(at, end, &name_len)) || name_len >= LEDGER_KEY_MAX / 2 || name_len > (uint64_t)(end - at))
		return false;
	name = at;
	at += name_len;
	if (!(at = varint_get(at, end, &r->order)) || !(at = varint_get(at, end, &key_len)) || key_len >= LEDGER_KEY_MAX / 2 ||
	    key_len > (uint64_t)(end - at))
		return false;
	uint8_t *to = bytes_put(key, name, (uint32_t)name_len);
	*to++ = 0;
	to = bytes_put(to, at, (uint32_t)key_len);
	at += key_len;
	r->class = STATE_MARK;
	r->key = key;
	r->key_len = (uint16_t)(to - key);
	r->value = at;
	r->value_len = (uint32_t)(end - at);
	return true;
}
