#include "channel/record.h"

#include <assert.h>
#include <errno.h>

#include "base/crc32c.h"
#include "channel/broken.h"

static uint32_t
u32_at(const uint8_t *at)
{
	uint32_t value;
	memcpy(&value, at, sizeof value);
	return value;
}

bool
block_view_open(struct block_view *view, const uint8_t *bytes, size_t len)
{
	if (len < BLOCK_HEADER_BYTES)
		return false;
	const struct block_header *h = (const struct block_header *)bytes;
	uint64_t used = (uint64_t)BLOCK_HEADER_BYTES + h->raw_bytes + 4ull * h->dict_count + h->dict_bytes + 4ull * h->set_count +
			h->set_bytes + h->record_bytes;
	if (used > len || used > h->bytes)
		return false;
	view->bytes = bytes;
	view->header = h;
	view->raw = bytes + BLOCK_HEADER_BYTES;
	view->dict_table = view->raw + h->raw_bytes;
	view->dict = view->dict_table + 4 * (size_t)h->dict_count;
	view->set_table = view->dict + h->dict_bytes;
	view->sets = view->set_table + 4 * (size_t)h->set_count;
	view->records = view->sets + h->set_bytes;
	view->records_end = view->records + h->record_bytes;
	view->base_ms = (int64_t)(h->first_time_ns / 1000000);
	return true;
}

/* Entry `i` of a table of end offsets over `len` bytes. */
static bool
table_entry(const uint8_t *table, uint32_t count, const uint8_t *bytes, uint32_t len, uint64_t i, const uint8_t **from, uint32_t *entry_len)
{
	if (i >= count)
		return false;
	uint32_t begin = i ? u32_at(table + 4 * (i - 1)) : 0, end = u32_at(table + 4 * i);
	if (begin > end || end > len)
		return false;
	*from = bytes + begin;
	*entry_len = end - begin;
	return true;
}

/* Reads one header; body is NULL inside a set. Returns what is behind it, NULL when it makes no sense. */
static const uint8_t *
header_read(const struct block_view *view, const uint8_t *at, const uint8_t *end, const uint8_t *body, uint32_t body_len,
	    struct header_view *header)
{
	uint64_t ref, a, b;
	if (!(at = varint_get(at, end, &ref)))
		return NULL;
	if (ref >> 2) {
		const uint8_t *name;
		if (!table_entry(view->dict_table, view->header->dict_count, view->dict, view->header->dict_bytes, (ref >> 2) - 1, &name,
				 &header->name_len))
			return NULL;
		header->name = (const char *)name;
	} else {
		if (!(at = varint_get(at, end, &a)) || a > (size_t)(end - at))
			return NULL;
		header->name = (const char *)at;
		header->name_len = (uint32_t)a;
		at += a;
	}
	header->bytes = NULL;
	header->len = 0;
	header->number = 0;
	if (!(at = varint_get(at, end, &a)))
		return NULL;
	switch ((enum value_kind)(ref & 3)) {
	case VALUE_BYTES:
		if (a > (size_t)(end - at))
			return NULL;
		header->bytes = at;
		header->len = (uint32_t)a;
		return at + a;
	case VALUE_BODY:
		if (!(at = varint_get(at, end, &b)) || !body || a > body_len || b > body_len - a)
			return NULL;
		header->bytes = body + a;
		header->len = (uint32_t)b;
		return at;
	case VALUE_NUMBER:
		header->number = unzigzag(a);
		return at;
	case VALUE_TIME:
		header->number = (int64_t)((uint64_t)view->base_ms + (uint64_t)unzigzag(a));
		return at;
	}
	return NULL;
}

struct headers {		/* the header part of an event record, taken apart */
	uint64_t own, set;
	bool has_set;
	const uint8_t *at;
};

static const uint8_t *
event_open(const uint8_t *at, const uint8_t *end, uint64_t *body_len, struct headers *headers)
{
	uint8_t lead = *at++;
	headers->own = lead >> 4;
	headers->has_set = lead & RECORD_HAS_SET;
	headers->set = 0;
	if (headers->own == 15 && !(at = varint_get(at, end, &headers->own)))
		return NULL;
	if (!(at = varint_get(at, end, body_len)))
		return NULL;
	if (headers->has_set && !(at = varint_get(at, end, &headers->set)))
		return NULL;
	headers->at = at;
	return at;
}

/* Where a set's headers begin and end, and how many. */
static const uint8_t *
set_open(const struct block_view *view, uint64_t id, const uint8_t **end, uint64_t *count)
{
	const uint8_t *at;
	uint32_t len;
	if (!table_entry(view->set_table, view->header->set_count, view->sets, view->header->set_bytes, id, &at, &len))
		return NULL;
	*end = at + len;
	return varint_get(at, *end, count);
}

int
block_walk(const struct block_view *view, struct walk *walk, struct record_view *record)
{
	const uint8_t *begin = view->records + walk->record_offset, *at = begin, *end = view->records_end;
	uint32_t raw_left = view->header->raw_bytes - walk->raw_offset;
	const uint8_t *raw = view->raw + walk->raw_offset;
	uint64_t len, body_len = 0;
	if (at >= end)
		return 0;
	record->type = *at & RECORD_TYPE_MASK;
	if (record->type == RECORD_EVENT) {
		struct headers headers;
		struct header_view header;
		if (!(at = event_open(at, end, &body_len, &headers)) || body_len >= raw_left)
			return -EBADMSG;
		for (uint64_t i = 0; i < headers.own; i++)
			if (!(at = header_read(view, at, end, raw, (uint32_t)body_len, &header)))
				return -EBADMSG;
		record->must = true;
		record->event = (struct event_view){ .body = raw, .body_len = (uint32_t)body_len,
			.number = view->header->first_event + walk->events, .block = view, .record = begin, .record_len = (uint32_t)(at - begin) };
		walk->raw_offset += (uint32_t)body_len + 1;
		walk->events++;
	} else {
		uint8_t lead = *at++;
		if (!(at = varint_get(at, end, &len)))
			return -EBADMSG;
		record->must = lead & RECORD_MUST;
		record->body = NULL;
		if (lead & RECORD_HAS_BODY) {
			if (!(at = varint_get(at, end, &body_len)) || body_len >= raw_left)
				return -EBADMSG;
			record->body = raw;
			walk->raw_offset += (uint32_t)body_len + 1;
		}
		if (len > (size_t)(end - at))
			return -EBADMSG;
		record->payload = at;
		record->payload_len = (uint32_t)len;
		record->body_len = (uint32_t)body_len;
		at += len;
	}
	walk->record_offset = (uint32_t)(at - view->records);
	return 1;
}

const char *
block_check_header(const uint8_t *bytes)
{
	const struct block_header *h = (const struct block_header *)bytes;
	struct block_view view;
	if (h->magic != BLOCK_MAGIC)
		return "no block here";
	if (!BROKEN(CRC) && crc32c(0, bytes, offsetof(struct block_header, header_crc)) != h->header_crc)
		return "checksum of the header is wrong";
	if (h->version < 1 || h->version > FORMAT_VERSION)
		return "version is not known";
	if (h->cipher > CIPHER_AES_GCM)
		return "cipher is not known";
	if (h->bytes % BLOCK_ALIGN_BYTES || h->bytes == 0 || h->position % BLOCK_ALIGN_BYTES || h->group_index >= h->group_count)
		return "header makes no sense";
	if (!block_view_open(&view, bytes, h->bytes))
		return "lengths exceed the block";
	return NULL;
}

uint32_t
block_payload_bytes(const struct block_header *h)
{
	return h->raw_bytes + 4 * h->dict_count + h->dict_bytes + 4 * h->set_count + h->set_bytes + h->record_bytes;
}

const char *
block_check_content(const uint8_t *bytes)
{
	const struct block_header *h = (const struct block_header *)bytes;
	struct block_view view;
	if (!block_view_open(&view, bytes, h->bytes))
		return "lengths exceed the block";
	const uint8_t *from;
	uint32_t entry;
	struct header_view header;
	for (uint32_t i = 0; i < h->dict_count; i++)
		if (!table_entry(view.dict_table, h->dict_count, view.dict, h->dict_bytes, i, &from, &entry))
			return "dictionary makes no sense";
	for (uint32_t i = 0; i < h->set_count; i++) {
		const uint8_t *end;
		uint64_t count;
		if (!(from = set_open(&view, i, &end, &count)))
			return "header set makes no sense";
		while (count--)
			if (!(from = header_read(&view, from, end, NULL, 0, &header)))
				return "header set makes no sense";
	}
	struct walk walk = { 0 };
	struct record_view record;
	uint32_t records = 0;
	int rc;
	while ((rc = block_walk(&view, &walk, &record)) > 0) {
		records++;
		if (record.type == RECORD_EVENT) {
			struct headers headers;
			uint64_t body_len;
			if (!event_open(record.event.record, view.records_end, &body_len, &headers) ||
			    (headers.has_set && headers.set >= h->set_count))
				return "record refers to no header set";
		} else if (record.must && record.type > RECORD_MARK)
			return "record of an unknown type must be understood";
	}
	if (rc < 0)
		return "record makes no sense";
	if (walk.events != h->events || records != h->records)
		return "count of records is wrong";
	return NULL;
}

const char *
block_check(const uint8_t *bytes, size_t len)
{
	if (len < BLOCK_HEADER_BYTES)
		return "too short";
	const char *wrong = block_check_header(bytes);
	if (wrong)
		return wrong;
	const struct block_header *h = (const struct block_header *)bytes;
	struct block_view view;
	if (h->bytes > len || !block_view_open(&view, bytes, len))
		return "lengths exceed the block";
	if (!BROKEN(CRC) && crc32c(0, bytes + BLOCK_HEADER_BYTES, block_payload_bytes(h)) != h->payload_crc)
		return "checksum is wrong";
	return h->cipher == CIPHER_NONE ? block_check_content(bytes) : NULL;
}

void
block_finish(uint8_t *bytes)
{
	struct block_header *h = (struct block_header *)bytes;
	h->payload_crc = crc32c(0, bytes + BLOCK_HEADER_BYTES, block_payload_bytes(h));
	block_finish_header(bytes);
}

void
block_finish_header(uint8_t *bytes)
{
	struct block_header *h = (struct block_header *)bytes;
	h->header_crc = crc32c(0, bytes, offsetof(struct block_header, header_crc));
}

int
record_headers(const struct block_view *view, const uint8_t *at, const uint8_t *end, struct header_view *headers, uint32_t max, uint64_t *count)
{
	struct header_view header;
	if (!(at = varint_get(at, end, count)))
		return -EBADMSG;
	for (uint64_t i = 0; i < *count; i++) {
		if (!(at = header_read(view, at, end, NULL, 0, &header)))
			return -EBADMSG;
		if (i < max)
			headers[i] = header;
	}
	*count = *count < max ? *count : max;
	return 0;
}

static bool
same_name(const struct header_view *a, const char *name, size_t len)
{
	return a->name_len == len && memcmp(a->name, name, len) == 0;
}

/* Calls for own headers, then for those of the set that no own one hides. Returns how many it saw; fills up to max.
 * With `want` stops at that name and returns 1 with it in headers[0], or 0. */
static uint32_t
headers_visit(const struct event_view *event, struct header_view *headers, uint32_t max, const char *want, size_t want_len)
{
	const struct block_view *view = event->block;
	const uint8_t *end = event->record + event->record_len, *at, *own_at;
	struct headers parts;
	struct header_view header;
	uint64_t body_len, count;
	uint32_t n = 0;
	if (!(own_at = at = event_open(event->record, end, &body_len, &parts)))
		return 0;
	for (uint64_t i = 0; i < parts.own; i++) {
		if (!(at = header_read(view, at, end, event->body, event->body_len, &header)))
			return n;
		if (want && same_name(&header, want, want_len)) {
			headers[0] = header;
			return 1;
		}
		if (!want && n < max)
			headers[n] = header;
		n++;
	}
	const uint8_t *set_end;
	if (parts.has_set && (at = set_open(view, parts.set, &set_end, &count)))
		while (count--) {
			if (!(at = header_read(view, at, set_end, NULL, 0, &header)))
				break;
			if (want) {
				if (same_name(&header, want, want_len)) {
					headers[0] = header;
					return 1;
				}
				continue;
			}
			bool hidden = false;
			const uint8_t *own = own_at;
			struct header_view mine;
			for (uint64_t i = 0; i < parts.own && !hidden && own; i++)
				if ((own = header_read(view, own, end, event->body, event->body_len, &mine)))
					hidden = same_name(&mine, header.name, header.name_len);
			if (hidden)
				continue;
			if (n < max)
				headers[n] = header;
			n++;
		}
	return want ? 0 : n;
}

uint32_t
event_view_headers(const struct event_view *event, struct header_view *headers, uint32_t max)
{
	return headers_visit(event, headers, max, NULL, 0);
}

bool
event_view_header(const struct event_view *event, const char *name, size_t name_len, struct header_view *header)
{
	return headers_visit(event, header, 1, name, name_len) == 1;
}

uint32_t
header_view_text(const struct header_view *header, char *digits, const uint8_t **text)
{
	if (header->bytes) {
		*text = header->bytes;
		return header->len;
	}
	*text = (const uint8_t *)digits;
	return number_text(header->number, digits);
}
