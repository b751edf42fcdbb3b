/* file_roll with each serializer writes, byte for byte, the file that a real Flume 1.11 wrote of the same events in the same transactions; of an Avro file
 * only the sync marker, which is random, is another, and the order of its two metadata is not looked at. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <snappy-c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sinks/sink.h"
#include "tests/lib/sink_fixture.h"

static struct sink_fixture f;
static char directory[64], option_directory[128];

static void
put(json_t *row)
{
	json_t *headers = json_object_get(row, "headers"), *body = json_object_get(row, "body");
	const char *pairs[64];
	size_t count = json_array_size(headers);
	for (size_t i = 0; i < 2 * count; i++)
		pairs[i] = json_string_value(json_array_get(json_array_get(headers, i / 2), i % 2));
	fake_put_pairs(&f.channel, json_string_value(body), (uint32_t)json_string_length(body), pairs, (uint32_t)count);
}

/* One step of the sink a batch: one transaction, as Flume had it. */
static void
deliver(void)
{
	FILE *in = fopen(GOLDEN_DIR "/events.jsonl", "r");
	char *line = NULL;
	size_t size = 0;
	json_int_t batch = 0;
	assert_non_null(in);
	while (getline(&line, &size, in) > 0) {
		json_t *row = json_loads(line, 0, NULL);
		assert_non_null(row);
		if (json_integer_value(json_object_get(row, "batch")) != batch) {
			batch = json_integer_value(json_object_get(row, "batch"));
			fixture_step(&f);
		}
		put(row);
		json_decref(row);
	}
	fixture_step(&f);
	free(line);
	fclose(in);
}

static size_t
head_bytes(const char *file, size_t len)
{
	/* magic, two pairs, the map's end */
	static const char schema[] = "\x16" "avro.schema", codec[] = "\x14" "avro.codec";
	assert_true(len > 64 && memcmp(file, "Obj\x01\x04", 5) == 0);
	const char *first = memmem(file, len, schema, sizeof schema - 1), *second = memmem(file, len, codec, sizeof codec - 1);
	assert_non_null(first);
	assert_non_null(second);
	assert_true(first < second);
	const char *end = second + sizeof codec - 1;
	end += 1 + *end / 2;	/* the codec's name: a short text */
	assert_int_equal(*end, 0);
	return (size_t)(end + 1 - file);
}

static void
same(const char *golden, const char *ours, size_t len, size_t our_len, bool avro)
{
	size_t at = 0;
	if (avro) {
		/* Our copy gets Flume's marker wherever ours stands. */
		size_t head = head_bytes(golden, len);
		assert_int_equal(head_bytes(ours, our_len), head);
		char marker[16], *copy = (char *)ours;
		memcpy(marker, ours + head, 16);
		for (char *p = copy + head; (p = memmem(p, (size_t)(copy + our_len - p), marker, 16)); p += 16)
			memcpy(p, golden + head, 16);
	}
	while (at < len && at < our_len && golden[at] == ours[at])
		at++;
	if (at < len || at < our_len)
		fail_msg("byte %zu is another one; %zu bytes, Flume wrote %zu", at, our_len, len);
}

static int64_t
number(const uint8_t **p)
{
	uint64_t n = 0;
	for (int shift = 0;; shift += 7) {
		uint8_t byte = *(*p)++;
		n |= (uint64_t)(byte & 127) << shift;
		if (byte < 128)
			return (int64_t)(n >> 1) ^ -(int64_t)(n & 1);
	}
}

/* Another release of snappy may choose other copies: blocks are compared as they were before, with Avro's checksum behind them. */
static void
same_snappy(const char *golden, const char *ours, size_t len, size_t our_len)
{
	static char plain[2][1 << 20];
	const uint8_t *p[2] = { (const uint8_t *)golden, (const uint8_t *)ours }, *end[2] = { p[0] + len, p[1] + our_len };
	size_t head = head_bytes(golden, len);
	assert_int_equal(head_bytes(ours, our_len), head);
	assert_memory_equal(golden, ours, head);
	p[0] += head + 16;
	p[1] += head + 16;
	for (int blocks = 0; p[0] < end[0] || blocks < 3; blocks++) {
		size_t room[2];
		int64_t count[2], bytes[2];
		for (int i = 0; i < 2; i++) {
			assert_true(p[i] < end[i]);
			count[i] = number(&p[i]);
			bytes[i] = number(&p[i]);
			room[i] = sizeof plain[i];
			assert_int_equal(snappy_uncompress((const char *)p[i], (size_t)bytes[i] - 4, plain[i], &room[i]), SNAPPY_OK);
			p[i] += bytes[i];
		}
		assert_int_equal(count[0], count[1]);
		assert_int_equal(room[0], room[1]);
		assert_memory_equal(plain[0], plain[1], room[0]);
		assert_memory_equal(p[0] - 4, p[1] - 4, 4);	/* CRC-32 */
		p[0] += 16;
		p[1] += 16;
	}
	assert_ptr_equal(p[1], end[1]);
}

static void
golden_file(const char *name, const char *serializer, const char *option)
{
	char path[64] = "/tmp/penstock-golden-XXXXXX", kind[128];
	assert_non_null(mkdtemp(path));
	snprintf(directory, sizeof directory, "%s", path);
	snprintf(option_directory, sizeof option_directory, "sink.directory=%s", directory);
	snprintf(kind, sizeof kind, "sink.serializer=%s", serializer);
	fixture_init(&f, 1700000000123);
	assert_int_equal(fixture_open(&f, &sink_file_roll, NULL, option_directory, "sink.rollInterval=0", "penstock.sync=always", kind, option,
				      NULL), 0);
	deliver();
	fixture_stop(&f);
	size_t len, our_len;
	char *ours = file_read(directory, "1700000000123-1", &our_len), *theirs = file_read(GOLDEN_DIR, name, &len);
	assert_non_null(ours);
	assert_non_null(theirs);
	if (strcmp(name, "avro-snappy") == 0)
		same_snappy(theirs, ours, len, our_len);
	else
		same(theirs, ours, len, our_len, strncmp(name, "avro", 4) == 0);
	free(ours);
	free(theirs);
	fixture_free(&f);
	char file[128];
	snprintf(file, sizeof file, "%s/1700000000123-1", directory);
	unlink(file);
	snprintf(file, sizeof file, "%s/.penstock-k1.state", directory);
	unlink(file);
	rmdir(directory);
}

static void
text(void **state)
{
	(void)state;
	golden_file("text", "text", NULL);
	golden_file("text-bare", "TEXT", "sink.serializer.appendNewline=false");
}

static void
header_and_text(void **state)
{
	(void)state;
	golden_file("header-and-text", "header_and_text", NULL);
	golden_file("header-and-text-bare", "header_and_text", "sink.serializer.appendNewline=false");
}

static void
avro(void **state)
{
	(void)state;
	golden_file("avro", "avro_event", NULL);
	golden_file("avro-sync", "avro_event", "sink.serializer.syncIntervalBytes=100");
}

static void
avro_deflate(void **state)
{
	(void)state;
	golden_file("avro-deflate", "avro_event", "sink.serializer.compressionCodec=deflate");
}

static void
avro_snappy(void **state)
{
	(void)state;
	golden_file("avro-snappy", "avro_event", "sink.serializer.compressionCodec=snappy");
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(text), cmocka_unit_test(header_and_text), cmocka_unit_test(avro),
					    cmocka_unit_test(avro_deflate), cmocka_unit_test(avro_snappy) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
