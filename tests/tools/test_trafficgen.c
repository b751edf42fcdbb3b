/* The generator's messages and verify's ledger, held against each other: what load makes, ledger knows; every kind of damage has its own
 * figure; Avro containers with each codec are read; the pace keeps to its rate on a clock of the test's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <zlib.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "tools/trafficgen/ledger.h"
#include "tools/trafficgen/load.h"
#include "tools/trafficgen/pace.h"
#include "tools/trafficgen/read.h"
#include "tools/trafficgen/stamp.h"

static const struct load_config defaults = { .format = "rfc3164", .size = 200, .sources = 3, .seed = 1 };

static void
test_stamp(void **state)
{
	(void)state;
	const struct stamp stamp = { .source = 0x1f, .sequence = UINT64_C(0xfedcba9876543210), .crc = 0xdeadbeef };
	struct stamp back;
	uint8_t text[STAMP_BYTES + 1] = "";
	stamp_write(text, &stamp);
	assert_string_equal(text, " #0000001f:fedcba9876543210:deadbeef");
	assert_true(stamp_read(text, &back));
	assert_memory_equal(&back, &stamp, sizeof stamp);
	for (uint32_t at = 0; at < STAMP_BYTES; at++) {	/* capital or other bytes anywhere: no stamp */
		uint8_t was = text[at];
		text[at] = 'G';
		assert_false(stamp_read(text, &back));
		text[at] = was;
	}
}

static void
test_formats(void **state)
{
	(void)state;
	static const char *const formats[] = { "rfc3164", "rfc5424", "raw" };
	for (size_t f = 0; f < 3; f++) {
		struct load_config config = defaults;
		struct load load;
		struct ledger whole, body;
		struct err err = { "" };
		config.format = formats[f];
		assert_int_equal(load_open(&load, &config, &err), 0);
		ledger_open(&whole, 3);
		ledger_open(&body, 3);
		for (uint64_t i = 0; i < 5000; i++) {
			const struct load_message *message = load_next(&load);
			uint32_t text_at = load_text_at(message->bytes, message->len);
			uint8_t braces[300] = "{host=host0001, tgen=no}";
			struct stamp stamp;
			assert_int_equal(message->len, 200);
			assert_memory_equal(message->bytes + text_at, LOAD_TAG, 4);
			assert_true(stamp_read(message->bytes + 200 - STAMP_BYTES, &stamp));
			assert_int_equal(stamp.source, i % 3);
			assert_int_equal(stamp.sequence, i / 3 + 1);
			/* The rule as a stranger would apply it. */
			assert_int_equal(stamp.crc, crc32c(0, message->bytes + text_at, 200 - STAMP_BYTES - text_at));
			ledger_note(&whole, message->bytes, message->len);	/* header kept */
			memcpy(braces + 24, message->bytes + text_at, message->len - text_at);
			ledger_note(&body, braces, 24 + message->len - text_at);
		}
		assert_int_equal(whole.unique, 5000);
		assert_int_equal(body.unique, 5000);
		assert_int_equal(whole.corrupted + whole.phantom + whole.duplicated + whole.reordered, 0);
		assert_int_equal(load_last_sequence(&load, 5000, 0), 1667);
		assert_int_equal(load_last_sequence(&load, 5000, 2), 1666);
		ledger_close(&whole);
		ledger_close(&body);
		load_close(&load);
	}
}

static void
test_seed_and_back(void **state)
{
	(void)state;
	struct load a, b;
	struct err err;
	assert_int_equal(load_open(&a, &defaults, &err), 0);
	assert_int_equal(load_open(&b, &defaults, &err), 0);
	for (int i = 0; i < 100; i++)
		load_next(&a);
	load_back(&a, 37);
	for (int i = 0; i < 63; i++)
		load_next(&b);
	for (int i = 0; i < 3000; i++) {
		const struct load_message *x = load_next(&a), *y = load_next(&b);
		assert_memory_equal(x->bytes, y->bytes, x->len);
	}
	load_close(&a);
	load_close(&b);
}

static void
test_match_share(void **state)
{
	(void)state;
	struct load_config config = defaults;
	struct load load;
	struct err err;
	uint32_t errors = 0, warns = 0;
	config.match_count = 2;
	config.matches[0] = (struct load_match){ 0.1, "ERROR" };
	config.matches[1] = (struct load_match){ 0.25, "WARN" };
	config.sources = 64;
	assert_int_equal(load_open(&load, &config, &err), 0);
	for (int i = 0; i < 10240; i++) {
		const struct load_message *message = load_next(&load);
		errors += memmem(message->bytes, message->len, "ERROR", 5) != NULL;
		warns += memmem(message->bytes, message->len, "WARN", 4) != NULL;
	}
	assert_in_range(errors, 1000, 1050);
	assert_in_range(warns, 2530, 2590);
	load_close(&load);
}

static void
test_bad_settings(void **state)
{
	(void)state;
	struct load load;
	struct err err;
	struct load_config config = defaults;
	config.sources = 0;
	assert_true(load_open(&load, &config, &err) < 0);
	config = defaults;
	config.size = 70;
	assert_true(load_open(&load, &config, &err) < 0);
	assert_non_null(strstr(err.text, "--size"));
	config = defaults;
	config.format = "/nonexistent/format";
	assert_true(load_open(&load, &config, &err) < 0);
	assert_non_null(strstr(err.text, "--format"));
}

/* A bare text with the right CRC. */
static uint32_t
make_text(uint8_t *text, uint32_t source, uint64_t sequence)
{
	uint32_t len = (uint32_t)snprintf((char *)text, 64, "text of %u", source);
	struct stamp stamp = { source, crc32c(0, text, len), sequence };
	stamp_write(text + len, &stamp);
	return len + STAMP_BYTES;
}

static void
test_ledger_figures(void **state)
{
	(void)state;
	struct ledger ledger, acked;
	uint8_t text[128];
	ledger_open(&ledger, 2);
	ledger.sent_known = true;
	ledger.sources[0].sent = 10;
	ledger.sources[1].sent = 5;
	for (uint64_t i = 1; i <= 10; i++)
		if (i != 4 && i != 7)
			ledger_note(&ledger, text, make_text(text, 0, i));
	ledger_note(&ledger, text, make_text(text, 0, 4));	/* late */
	ledger_note(&ledger, text, make_text(text, 0, 4));	/* twice */
	ledger_note(&ledger, text, make_text(text, 0, 11));	/* never sent */
	ledger_note(&ledger, text, make_text(text, 0, 0));
	ledger_note(&ledger, text, make_text(text, 2, 1));	/* no such source */
	uint32_t len = make_text(text, 1, 1);
	text[0] ^= 1;
	ledger_note(&ledger, text, len);
	ledger_note(&ledger, text, len - 1);			/* cut */
	ledger_note(&ledger, text, 0);
	assert_int_equal(ledger.unique, 9);
	assert_int_equal(ledger.reordered, 1);
	assert_int_equal(ledger.duplicated, 1);
	assert_int_equal(ledger.phantom, 3);
	assert_int_equal(ledger.corrupted, 3);
	assert_int_equal(ledger_lost(&ledger), 6);
	ledger_open(&acked, 2);
	ledger_note(&acked, text, make_text(text, 0, 1));	/* there in both */
	ledger_note(&acked, text, make_text(text, 0, 7));	/* acknowledged and lost */
	ledger_note(&acked, text, make_text(text, 1, 5));
	assert_int_equal(ledger_lacks(&ledger, &acked), 2);
	ledger_close(&acked);
	ledger_close(&ledger);
}

static void
test_ledger_without_report(void **state)
{
	(void)state;
	struct ledger ledger;
	uint8_t text[128];
	ledger_open(&ledger, 1);
	ledger_note(&ledger, text, make_text(text, 0, 100000));
	ledger_note(&ledger, text, make_text(text, 0, LEDGER_SEQUENCE_MAX + 1));
	assert_int_equal(ledger_lost(&ledger), 99999);
	assert_int_equal(ledger.phantom, 1);
	ledger_close(&ledger);
}

static size_t
put_long(uint8_t *at, int64_t value)
{
	uint64_t z = (uint64_t)value << 1 ^ (uint64_t)(value >> 63);
	size_t n = 0;
	for (; z > 127; z >>= 7)
		at[n++] = (uint8_t)(z | 128);
	at[n++] = (uint8_t)z;
	return n;
}

static size_t
put_bytes(uint8_t *at, const void *bytes, size_t len)
{
	size_t n = put_long(at, (int64_t)len);
	memcpy(at + n, bytes, len);
	return n + len;
}

/* One block of three events with one header each. */
static size_t
make_avro(uint8_t *file, const char *codec)
{
	uint8_t data[1024], packed[1024], text[128];
	size_t n = 0, len = 4;
	for (uint64_t i = 1; i <= 3; i++) {
		n += put_long(data + n, 1);
		n += put_bytes(data + n, "host", 4);
		n += put_bytes(data + n, "h\n", 2);
		n += put_long(data + n, 0);
		n += put_bytes(data + n, text, make_text(text, 0, i));
	}
	memcpy(file, "Obj\1", 4);
	len += put_long(file + len, 2);
	len += put_bytes(file + len, "avro.schema", 11);
	len += put_bytes(file + len, "{}", 2);
	len += put_bytes(file + len, "avro.codec", 10);
	len += put_bytes(file + len, codec, strlen(codec));
	len += put_long(file + len, 0);
	memset(file + len, 7, 16);
	len += 16;
	len += put_long(file + len, 3);
	if (strcmp(codec, "deflate") == 0) {
		z_stream stream = { .next_in = data, .avail_in = (uInt)n, .next_out = packed, .avail_out = sizeof packed };
		deflateInit2(&stream, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY);
		assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
		len += put_bytes(file + len, packed, stream.total_out);
		deflateEnd(&stream);
	} else {
		len += put_bytes(file + len, data, n);
	}
	memset(file + len, 7, 16);
	return len + 16;
}

static void
test_avro(void **state)
{
	(void)state;
	static const char *const codecs[] = { "null", "deflate" };
	uint8_t file[2048];
	struct err err;
	for (size_t c = 0; c < 2; c++) {
		struct ledger ledger;
		size_t len = make_avro(file, codecs[c]);
		ledger_open(&ledger, 1);
		assert_int_equal(read_avro(&ledger, "t", file, len, &err), 0);
		assert_int_equal(ledger.unique, 3);
		assert_int_equal(ledger.corrupted, 0);
		ledger_close(&ledger);
		/* Any torn end of the block is an end, never more events and never damage. */
		for (size_t cut = len - 1; cut > len - 60; cut--) {
			ledger_open(&ledger, 1);
			assert_int_equal(read_avro(&ledger, "t", file, cut, &err), 0);
			assert_int_equal(ledger.copies, 0);
			ledger_close(&ledger);
		}
		file[len - 3] ^= 1;	/* the sync marker */
		ledger_open(&ledger, 1);
		assert_true(read_avro(&ledger, "t", file, len, &err) < 0);
		ledger_close(&ledger);
	}
	size_t len = make_avro(file, "bzip2");
	assert_true(read_avro(NULL, "t", file, len, &err) < 0);
	assert_non_null(strstr(err.text, "bzip2"));
}

static void
test_json_lines(void **state)
{
	(void)state;
	FILE *file = tmpfile();
	uint8_t text[128];
	struct ledger ledger;
	struct err err;
	uint32_t len = make_text(text, 0, 1);
	fprintf(file, "{\"type\":\"state\"}\n{\"number\":1,\"body\":\"%.*s\"}\n", (int)len, (char *)text);
	/* The same letter as an escape. */
	fprintf(file, "{\"body\": \"\\u%04x%.*s\",\"headers\":{}}", text[0], (int)len - 1, (char *)text + 1);
	fflush(file);
	rewind(file);
	ledger_open(&ledger, 1);
	assert_int_equal(read_lines(&ledger, fileno(file), true, "t", &err), 0);
	assert_int_equal(ledger.copies, 2);
	assert_int_equal(ledger.unique, 1);
	assert_int_equal(ledger.duplicated, 1);
	ledger_close(&ledger);
	fclose(file);
}

static void
test_pace(void **state)
{
	(void)state;
	struct pace pace = { .rate = 1e6, .duration_ns = 2 * NS_PER_S };
	uint64_t now = 5, sent = 0;
	pace_start(&pace, now);
	for (;; now += 10 * NS_PER_US) {
		uint32_t n = pace_room(&pace, now, sent, 64);
		if (n == UINT32_MAX)
			break;
		sent += n;
	}
	assert_in_range(sent, 1999000, 2000000);
	/* After a stall of a second only the bucket's 20 ms are caught up. */
	pace = (struct pace){ .rate = 1e6 };
	pace_start(&pace, 0);
	now = NS_PER_S;
	sent = 0;
	for (uint32_t n; (n = pace_room(&pace, now, sent, 64)); )
		sent += n;
	assert_in_range(sent, 19900, 20064);
	pace = (struct pace){ .count = 100 };
	pace_start(&pace, 0);
	assert_int_equal(pace_room(&pace, 1, 0, 64), 64);
	assert_int_equal(pace_room(&pace, 1, 64, 64), 36);
	assert_int_equal(pace_room(&pace, 1, 100, 64), UINT32_MAX);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stamp), cmocka_unit_test(test_formats), cmocka_unit_test(test_seed_and_back),
		cmocka_unit_test(test_match_share), cmocka_unit_test(test_bad_settings), cmocka_unit_test(test_ledger_figures),
		cmocka_unit_test(test_ledger_without_report), cmocka_unit_test(test_avro), cmocka_unit_test(test_json_lines),
		cmocka_unit_test(test_pace),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
