/* block: what is put comes back as it was; no byte of a hostile block leads outside it; the record stays small. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "channel/record.h"

#define BYTES 16384u

struct fixture {
	struct block block;
	struct block_scratch *scratch;
};

static void
fixture_open(struct fixture *f, uint32_t bytes)
{
	f->block = (struct block){ .bytes = aligned_alloc(4096, bytes), .capacity = bytes };
	assert_int_equal(block_scratch_init(&f->scratch, bytes), 0);
	block_open(&f->block, f->scratch);
}

static void
fixture_close(struct fixture *f)
{
	block_scratch_free(f->scratch);
	free(f->block.bytes);
}

static struct header_set *
set_make(void)
{
	struct header_set *set = calloc(1, sizeof *set + 2 * sizeof(struct header));
	set->count = 2;
	set->headers[0] = (struct header){ .name = name_intern("host", 4), .kind = HEADER_BYTES, .len = 2, .value.bytes = (const uint8_t *)"h1" };
	set->headers[1] = (struct header){ .name = name_intern("Severity", 8), .kind = HEADER_NUMBER, .value.number = -7 };
	return set;
}

static void
text_is(const struct event_view *e, const char *name, const char *value)
{
	struct header_view h;
	char digits[24];
	const uint8_t *text;
	assert_true(event_view_header(e, name, strlen(name), &h));
	uint32_t len = header_view_text(&h, digits, &text);
	assert_int_equal(len, strlen(value));
	assert_memory_equal(text, value, len);
}

static void
test_round_trip(void **state)
{
	(void)state;
	struct fixture f;
	fixture_open(&f, BYTES);
	struct header_set *set = set_make();
	struct name odd = { .text = "o\0dd", .len = 4, .id = NAME_ID_INLINE };
	const uint64_t now = UINT64_C(1790000000123456789);
	for (int i = 0; i < 20; i++) {
		uint8_t body[] = "hello ERR world";
		struct header own[20] = {
			{ .name = name_intern("timestamp", 9), .kind = HEADER_NUMBER, .value.number = (int64_t)(now / 1000000) + i },
			{ .name = name_intern("word", 4), .kind = HEADER_BODY, .len = 3, .value.body_offset = 6 },
			{ .name = &odd, .kind = HEADER_BYTES, .len = 0, .value.bytes = body },
			{ .name = name_intern("host", 4), .kind = HEADER_BYTES, .len = 2, .value.bytes = (const uint8_t *)"h2" },
			{ .name = name_intern("big", 3), .kind = HEADER_NUMBER, .value.number = INT64_MIN },
		};
		for (int k = 5; k < 20; k++)
			own[k] = own[2];
		struct event e = { .body = body, .body_len = i ? 15 : 0, .headers = own, .header_count = i == 5 ? 20 : i % 6, .shared = set,
			.time_ns = now + (uint64_t)i };
		if (i == 0)
			e.header_count = 0;
		assert_int_equal(block_put(&f.block, 6, &e), 0);
	}
	assert_true(block_note_ticket(&f.block, 5) && block_note_ticket(&f.block, 5));
	assert_int_equal(f.block.ticket_count, 1);
	uint32_t bytes = block_seal(&f.block);
	assert_int_equal(bytes % 4096, 0);
	struct block_header *h = (struct block_header *)f.block.bytes;
	h->first_event = 1000;
	h->group_count = 1;
	block_finish(f.block.bytes);
	assert_null(block_check(f.block.bytes, bytes));

	struct block_view view;
	assert_true(block_view_open(&view, f.block.bytes, bytes));
	struct walk walk = { 0 };
	struct record_view r;
	for (int i = 0; i < 20; i++) {
		assert_int_equal(block_walk(&view, &walk, &r), 1);
		assert_int_equal(r.event.number, 1000 + i);
		assert_int_equal(r.event.body_len, i ? 15 : 0);
		assert_memory_equal(r.event.body, "hello ERR world", r.event.body_len);
		assert_int_equal(r.event.body[r.event.body_len], '\n');
		struct header_view headers[32];
		uint32_t own = i == 5 ? 20 : (uint32_t)i % 6, expected = own + (own >= 4 ? 1 : 2);
		if (i == 0)
			expected = 2;
		assert_int_equal(event_view_headers(&r.event, headers, 32), expected);
		text_is(&r.event, "Severity", "-7");
		text_is(&r.event, "host", own >= 4 && i ? "h2" : "h1");
		if (own >= 1 && i) {
			char want[24];
			snprintf(want, sizeof want, "%lld", (long long)(now / 1000000) + i);
			text_is(&r.event, "timestamp", want);
		}
		if (own >= 2 && i)
			text_is(&r.event, "word", "ERR");
		if (own >= 5 && i)
			text_is(&r.event, "big", "-9223372036854775808");
	}
	assert_int_equal(block_walk(&view, &walk, &r), 0);
	free(set);
	fixture_close(&f);
}

static void
test_small_record(void **state)
{
	(void)state;
	struct fixture f;
	fixture_open(&f, 262144);
	struct header_set *set = set_make();
	uint8_t body[200];
	memset(body, 'x', sizeof body);
	int rc;
	uint64_t now = UINT64_C(1790000000123456789);
	do {
		struct header own = { .name = name_intern("timestamp", 9), .kind = HEADER_NUMBER, .value.number = (int64_t)(now / 1000000) + 20 };
		struct event e = { .body = body, .body_len = 200, .headers = &own, .header_count = 1, .shared = set, .time_ns = now };
		uint8_t *room = block_room(&f.block, 200);
		if (!room)
			break;
		memcpy(room, body, 200);
		room[200] = '\n';
		rc = block_put_staged(&f.block, 0, &e);
	} while (rc == 0);
	uint32_t events = f.block.events, bytes = block_seal(&f.block);
	assert_int_equal(bytes, 262144);
	const struct block_header *h = (const struct block_header *)f.block.bytes;
	assert_true((h->raw_bytes + h->record_bytes) <= 208ull * events);
	assert_true(events * 200.0 * 1.05 > bytes);
	free(set);
	fixture_close(&f);
}

static void
test_limits(void **state)
{
	(void)state;
	struct fixture f;
	fixture_open(&f, 4096);
	static uint8_t body[8192];
	struct event e = { .body = body, .body_len = 8192 };
	assert_int_equal(block_put(&f.block, 0, &e), -EMSGSIZE);
	e.body_len = 3000;
	assert_int_equal(block_put(&f.block, 0, &e), 0);
	assert_int_equal(block_put(&f.block, 0, &e), -ENOSPC);
	assert_null(block_room(&f.block, 900));
	assert_non_null(block_room(&f.block, 700));
	block_seal(&f.block);
	block_open(&f.block, f.scratch);
	f.block.events_max = 2;
	e.body_len = 1;
	assert_int_equal(block_put(&f.block, 0, &e), 0);
	assert_int_equal(block_put(&f.block, 0, &e), 0);
	assert_int_equal(block_put(&f.block, 0, &e), -ENOSPC);
	fixture_close(&f);
}

/* Every single byte changed, checksums made good again: the walk ends, inside the block. */
static void
test_hostile(void **state)
{
	(void)state;
	struct fixture f;
	fixture_open(&f, 4096);
	struct header_set *set = set_make();
	uint8_t body[] = "abcdef";
	struct header own = { .name = name_intern("word", 4), .kind = HEADER_BODY, .len = 3, .value.body_offset = 2 };
	struct event e = { .body = body, .body_len = 6, .headers = &own, .header_count = 1, .shared = set, .time_ns = 1 };
	for (int i = 0; i < 8; i++)
		assert_int_equal(block_put(&f.block, 0, &e), 0);
	uint32_t bytes = block_seal(&f.block);
	((struct block_header *)f.block.bytes)->group_count = 1;
	block_finish(f.block.bytes);
	uint8_t *copy = malloc(bytes);
	static const uint8_t values[] = { 0, 1, 127, 128, 255, 0xf7 };
	uint32_t used = BLOCK_HEADER_BYTES + 400;
	for (uint32_t at = 0; at < used; at++)
		for (size_t v = 0; v < sizeof values; v++) {
			memcpy(copy, f.block.bytes, bytes);
			copy[at] = values[v];
			struct block_view view;
			if (!block_view_open(&view, copy, bytes))
				continue;
			block_finish(copy);
			if (block_check(copy, bytes))
				continue;
			struct walk walk = { 0 };
			struct record_view r;
			struct header_view h[4];
			while (block_walk(&view, &walk, &r) > 0)
				if (r.type == RECORD_EVENT)
					(void)event_view_headers(&r.event, h, 4);
		}
	free(copy);
	free(set);
	fixture_close(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_round_trip), cmocka_unit_test(test_small_record), cmocka_unit_test(test_limits),
					    cmocka_unit_test(test_hostile) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
