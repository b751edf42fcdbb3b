/* make_log DIR DIRS SEGMENT_BYTES GROUPS KEEP_BYTES: a log in DIR/data0 ... with records of every kind, groups of several blocks and extents given up; segments
 * below the last KEEP_BYTES are used again, so that old laps lie behind the end. For readers to be held against. Every value comes from the
 * number of the event, so the same call makes the same log but for its id. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/crc32c.h"
#include "channel/block.h"
#include "channel/ringlog.h"

#define ROOM (256u << 10)

struct extra {			/* a record that is no event */
	uint8_t bytes[512], body[64];
	uint32_t len, body_len;
	bool has_body;
};

static uint64_t seed = 1;

static uint32_t
chance(uint32_t below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % below;
}

static void
extra_make(struct extra *e, uint64_t n, uint32_t dict)
{
	uint8_t payload[256], *at = payload;
	char text[32];
	uint32_t len = (uint32_t)snprintf(text, sizeof text, "key-%llu", (unsigned long long)n % 17);
	e->has_body = false;
	uint8_t lead;
	switch (n % 6) {
	case 0:
		lead = RECORD_STATE | RECORD_MUST;
		*at++ = (uint8_t)(n % 5);
		at = varint_put(at, n * 1000003);
		at = varint_put(at, len);
		memcpy(at, text, len);
		at += len;
		memcpy(at, "v\377\001value", 8);
		at += n % 9;
		break;
	case 1:
		lead = RECORD_MARK | RECORD_MUST;
		at = varint_put(at, 2);
		memcpy(at, "r1", 2);
		at = varint_put(at + 2, len);
		memcpy(at, text, len);
		at += len;
		break;
	case 2:
		lead = RECORD_CONTROL;
		at = varint_put(at, n);
		memcpy(at, "\0\1\2", 3);
		at += 3;
		break;
	case 3:
	case 4:
		lead = RECORD_FRAGMENT | RECORD_MUST;
		e->has_body = true;
		e->body_len = (uint32_t)snprintf((char *)e->body, sizeof e->body, "part of \"%llu\"\n", (unsigned long long)n);
		at = varint_put(at, n / 2);
		*at++ = n % 6 == 3 ? 1 : 2;
		at = varint_put(at, 2 + (dict != 0));
		at = varint_put(at, VALUE_TIME);
		at = varint_put(at, 4);
		memcpy(at, "when", 4);
		at = varint_put(at + 4, zigzag((int64_t)(n % 100) - 50));
		at = varint_put(at, VALUE_BYTES);
		at = varint_put(at, 3);
		memcpy(at, "k\303\244", 3);
		at = varint_put(at + 3, len);
		memcpy(at, text, len);
		at += len;
		if (dict) {
			at = varint_put(at, (uint64_t)dict << 2 | VALUE_NUMBER);
			at = varint_put(at, zigzag(INT64_MIN + (int64_t)n));
		}
		break;
	default:
		lead = (uint8_t)(5 + n / 6 % 3);	/* of a later version, and not a must */
		e->has_body = n % 4 == 1;
		e->body_len = 0;
		memcpy(at, "later", 5);
		at += 5;
		break;
	}
	uint8_t *out = e->bytes;
	*out++ = (uint8_t)(lead | (e->has_body ? RECORD_HAS_BODY : 0));
	out = varint_put(out, (uint64_t)(at - payload));
	if (e->has_body)
		out = varint_put(out, e->body_len);
	memcpy(out, payload, (size_t)(at - payload));
	e->len = (uint32_t)(out + (at - payload) - e->bytes);
}

/* The sealed block `from` with a record before its event number `index`. */
static void
splice(uint8_t *to, const uint8_t *from, uint32_t index, uint64_t n)
{
	struct block_view view;
	struct walk walk = { 0 };
	struct record_view record;
	struct extra e;
	const struct block_header *h = (const struct block_header *)from;
	if (!block_view_open(&view, from, h->bytes))
		abort();
	while (index-- && block_walk(&view, &walk, &record) > 0)
		;
	extra_make(&e, n, h->dict_count);
	memcpy(to, from, BLOCK_HEADER_BYTES);
	uint8_t *at = to + BLOCK_HEADER_BYTES;
	memcpy(at, view.raw, walk.raw_offset);
	at += walk.raw_offset;
	if (e.has_body) {
		memcpy(at, e.body, e.body_len);
		at += e.body_len;
		*at++ = '\n';
	}
	size_t len = (size_t)(view.records - view.raw) - walk.raw_offset + walk.record_offset;
	memcpy(at, view.raw + walk.raw_offset, len);
	at += len;
	memcpy(at, e.bytes, e.len);
	at += e.len;
	len = h->record_bytes - walk.record_offset;
	memcpy(at, view.records + walk.record_offset, len);
	at += len;
	struct block_header *g = (struct block_header *)to;
	g->records++;
	g->record_bytes += e.len;
	g->raw_bytes += e.has_body ? e.body_len + 1 : 0;
	size_t used = (size_t)(at - to);
	g->bytes = (uint32_t)((used + BLOCK_ALIGN_BYTES - 1) / BLOCK_ALIGN_BYTES * BLOCK_ALIGN_BYTES);
	memset(at, 0, g->bytes - used);
}

static void
block_make(uint8_t *bytes, uint8_t *other, struct block_scratch *scratch, struct header_set *set, uint64_t first)
{
	struct block b = { .bytes = bytes, .capacity = ROOM - 8192 };
	uint64_t time_ns = UINT64_C(1790000000000000000) + first * 1000000;
	block_open(&b, scratch);
	uint32_t events = chance(9) == 0 ? 0 : 1 + chance(40);
	for (uint32_t i = 0; i < events; i++) {
		char body[4096], value[64];
		uint64_t n = first + i;
		int len = snprintf(body, sizeof body, "event %llu with \"quotes\", a \\ and %s.", (unsigned long long)n, n % 7 ? "\303\274" : "\xff\xfe\n\t");
		memset(body + len, 'a' + (int)(n % 26), 3000);
		struct header own[17];
		uint16_t count = (uint16_t)(n % 3);
		own[0] = (struct header){ .name = name_intern("timestamp", 9), .kind = HEADER_NUMBER, .value.number = (int64_t)(1790000000000 + n) };
		own[1] = (struct header){ .name = name_intern("slice", 5), .kind = HEADER_BODY, .len = 5, .value.body_offset = 0 };
		if (n % 11 == 0) {
			for (count = 0; count < 17; count++) {
				int name = snprintf(value, sizeof value, "h%u", count);
				own[count] = (struct header){ .name = name_intern(value, (size_t)name), .kind = HEADER_NUMBER,
					.value.number = -(int64_t)(n << count % 60) };
			}
			own[16] = (struct header){ .name = name_intern("host", 4), .kind = HEADER_BYTES, .len = 4, .value.bytes = (const uint8_t *)"mine" };
		}
		struct event e = { .body = (uint8_t *)body, .body_len = (uint32_t)len + (n % 13 == 0 ? 3000 : n % 50), .headers = own,
			.header_count = count, .shared = n % 4 ? set : NULL, .time_ns = time_ns + i };
		if (n % 29 == 0)
			e.body_len = count = 0, e.header_count = 0;
		if (block_put(&b, 0, &e))
			break;
	}
	if (!b.events)
		b.first_time_ns = b.last_time_ns = time_ns;
	(void)block_seal(&b);
	((struct block_header *)bytes)->first_event = first;
	for (uint32_t i = 0; i < 2; i++)
		if (chance(3) || !b.events) {
			splice(other, bytes, b.events ? chance(b.events) : 0, first * 7 + i);
			memcpy(bytes, other, ((struct block_header *)other)->bytes);
		}
}

int
main(int argc, char **argv)
{
	struct ringlog log = { 0 };
	static char paths[RINGLOG_DIRS_MAX][512];
	struct err err = { "" };
	struct block_scratch *scratch;
	uint8_t *bytes[4], *other = aligned_alloc(4096, ROOM);
	if (argc != 6 || !other || block_scratch_init(&scratch, ROOM) || logio_pwrite_open(&log.io, -1, &err))
		return 2;
	log.dir_count = (uint32_t)atoi(argv[2]);
	log.segment_bytes = strtoull(argv[3], NULL, 10);
	uint64_t groups = strtoull(argv[4], NULL, 10), keep = strtoull(argv[5], NULL, 10), number = 0, durable = 0;
	for (uint32_t i = 0; i < log.dir_count; i++) {
		snprintf(paths[i], sizeof paths[i], "%s/data%u", argv[1], i);
		log.dirs[i] = paths[i];
		if (mkdir(paths[i], 0755))
			return 2;
	}
	if (ringlog_open(&log, true, &err)) {
		fprintf(stderr, "%s\n", err.text);
		return 2;
	}
	struct header_set *set = calloc(1, sizeof *set + 3 * sizeof(struct header));
	set->count = 3;
	set->headers[0] = (struct header){ .name = name_intern("host", 4), .kind = HEADER_BYTES, .len = 5, .value.bytes = (const uint8_t *)"web-1" };
	set->headers[1] = (struct header){ .name = name_intern("port", 4), .kind = HEADER_NUMBER, .value.number = 5140 };
	set->headers[2] = (struct header){ .name = name_intern("empty", 5), .kind = HEADER_BYTES, .len = 0, .value.bytes = (const uint8_t *)"" };
	for (uint32_t i = 0; i < 4; i++)
		bytes[i] = aligned_alloc(4096, ROOM);
	for (uint64_t g = 0; g < groups; g++) {
		uint32_t count = 1 + chance(4), len = 0, crc = 0;
		uint64_t number_before = number;
		log.epoch = 1 + (uint32_t)(g / 40);
		for (uint32_t i = 0; i < count; i++) {
			block_make(bytes[i], other, scratch, set, number);
			number += ((struct block_header *)bytes[i])->events;
			len += ((struct block_header *)bytes[i])->bytes;
		}
		uint64_t end = log.position, position, offset;
		uint32_t previous = log.previous_crc;
		struct logio_file *file;
		if (ringlog_place(&log, len, &position, &file, &offset))
			return 2;
		for (uint32_t i = 0, at = 0; i < count; i++) {
			struct block_header *h = (struct block_header *)bytes[i];
			memcpy(h->log_id, log.log_id, LOG_ID_BYTES);
			h->epoch = log.epoch;
			h->position = position + at;
			h->group_position = position;
			h->group_index = i;
			h->group_count = count;
			h->durable = durable;
			h->previous_end = end;
			h->previous_crc = previous;
			block_finish(bytes[i]);
			const char *wrong = block_check(bytes[i], h->bytes);
			if (wrong || log.io->ops->write(log.io, file, offset + at, bytes[i], h->bytes, false)) {
				fprintf(stderr, "%s\n", wrong ? wrong : "write failed");
				return 2;
			}
			crc = crc32c(crc, &h->header_crc, 4);
			at += h->bytes;
		}
		if (g % 30 == 29) {		/* "failed": given up, and its numbers are used again */
			number = number_before;
			if (ringlog_fence(&log, end, previous, number, durable))
				return 2;
			continue;
		}
		log.previous_crc = crc;
		durable = log.position;
		log.checkpoint_position = log.position > keep ? log.position - keep : 0;
		ringlog_tend(&log, log.position);
	}
	printf("%llu\n", (unsigned long long)number);
	ringlog_close(&log);
	log.io->ops->close(log.io);
	for (uint32_t i = 0; i < 4; i++)
		free(bytes[i]);
	free(other);
	free(set);
	block_scratch_free(scratch);
	return 0;
}
