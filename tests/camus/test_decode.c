/* Decoders of text: Camus's vectors of JSON times (camus unit tests), what Gson takes leniently, wrapped records; requests to tasks; Writables. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "camus/avro_json.h"
#include "camus/avro_plan.h"
#include "camus/decode.h"
#include "camus/etl_key.h"
#include "camus/job.h"
#include "camus/seq_read.h"

#define FALLBACK 1234567890123

static int64_t
time_of(const char *format, const char *json)
{
	struct camus_conf conf = { .time_field = "timestamp", .time_format = format };
	struct json_time *time;
	struct err err = { "" };
	int64_t ms = -2;
	assert_int_equal(json_time_open(&time, &conf, &err), 0);
	if (json_time_read(time, (const uint8_t *)json, strlen(json), FALLBACK, &ms, &err))
		ms = -1;
	json_time_close(time);
	return ms;
}

static void
test_json_times(void **state)
{
	(void)state;
	static const char plain[] = "[dd/MMM/yyyy:HH:mm:ss Z]";
	assert_int_equal(time_of("unix_milliseconds", "{\"timestamp\":1406947271534}"), 1406947271534);
	assert_int_equal(time_of("unix_milliseconds", "{\"timestamp\":\"1406947271534\"}"), 1406947271534);
	assert_int_equal(time_of("unix_seconds", "{\"timestamp\":140694727}"), 140694727000);
	assert_int_equal(time_of("unix", "{\"a\":[{\"timestamp\":1}],\"timestamp\":140694727.9}"), 140694727000);
	assert_int_equal(time_of("yyyy-MM-dd HH:mm:ss Z", "{\"timestamp\":\"2014-02-01 01:15:27 UTC\"}"), 1391217327000);
	assert_int_equal(time_of(plain, "{\"timestamp\":\"1994-11-05T08:15:30-05:00\"}"), 784041330000);
	assert_int_equal(time_of(plain, "{\"timestamp\":\"1994-11-05T13:15:30Z\"}"), 784041330000);
	assert_int_equal(time_of("ISO-8601", "{\"timestamp\":\"1994-11-05T13:15:30Z\"}"), 784041330000);
	assert_int_equal(time_of("ISO-8601", "{\"timestamp\":\"05 Nov 1994\"}"), FALLBACK);
	/* not there, unreadable, 0, of another type, deeper down: the record's own time */
	static const char *const without[] = { "{}", "{\"timestamp\":0}", "{\"timestamp\":null}", "{\"timestamp\":true}", "{\"timestamp\":{\"timestamp\":7}}",
		"{\"timestamp\":[7]}", "{\"x\":{\"timestamp\":7}}", "{\"timestamp\":\"7x\"}", "{\"timestamp\":1e300}" };
	for (size_t i = 0; i < sizeof without / sizeof *without; i++)
		assert_int_equal(time_of("unix_milliseconds", without[i]), FALLBACK);
	/* the last one counts, escapes are seen through */
	assert_int_equal(time_of("unix_milliseconds", "{\"timestamp\":5,\"timestamp\":6}"), 6);
	assert_int_equal(time_of("unix_milliseconds", "{\"time\\u0073tamp\":8}"), 8);
	/* no object: a failure */
	static const char *const bad[] = { "", " ", "7", "null", "[]", "\"x\"", "{\"timestamp\":1396130000000,\"n\":", "{\"a\":1}}", "{\"a\":1} {\"b\":2}",
		"no json 1", "\x80\xff" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(time_of("unix_milliseconds", bad[i]), -1);
	/* what Gson takes */
	assert_int_equal(time_of("unix_milliseconds", "{'timestamp':9,'text':'it is'}"), 9);
	assert_int_equal(time_of("unix_milliseconds", "{timestamp:10, text:bare}"), 10);
	/* deeper than the fast parser goes */
	char deep[600] = "{\"d\":";
	memset(deep + 5, '[', 100);
	memset(deep + 105, ']', 100);
	memcpy(deep + 205, ",\"timestamp\":11}", 17);
	assert_int_equal(time_of("unix_milliseconds", deep), 11);
}

static void
test_wrapped(void **state)
{
	(void)state;
	struct camus_conf conf = { .time_field = "timestamp", .time_format = "unix_milliseconds",
		.decoder = "com.linkedin.camus.etl.kafka.coders.JsonWrappedStringMessageDecoder" };
	struct err err = { "" };
	const struct decoder_ops *ops = decoder_find(&conf, "t", &err);
	void *decoder;
	assert_non_null(ops);
	assert_false(ops->avro);
	assert_int_equal(ops->open(&decoder, &conf, "t", &err), 0);
	static const char payload[] = "{\"timestamp\":77,\"n\":\"\xc3\xa9\"}", key[] = "{\"k\":1}";
	struct message message = { "t", 3, 42, 5, (const uint8_t *)key, (const uint8_t *)payload, strlen(key), strlen(payload) };
	struct decoded out = { NULL };
	assert_int_equal(ops->decode(decoder, &message, &out, &err), DECODE_OK);
	assert_int_equal(out.time_ms, 77);
	json_t *root = json_loadb((const char *)out.payload, out.len, 0, NULL);
	assert_non_null(root);
	assert_string_equal(json_string_value(json_object_get(root, "topic")), "t");
	assert_int_equal(json_integer_value(json_object_get(root, "partition")), 3);
	assert_int_equal(json_integer_value(json_object_get(root, "offset")), 42);
	assert_int_equal(json_integer_value(json_object_get(root, "timestamp")), 77);
	assert_string_equal(json_string_value(json_object_get(json_object_get(root, "payload"), "n")), "\xc3\xa9");
	assert_int_equal(json_integer_value(json_object_get(json_object_get(root, "key"), "k")), 1);
	json_decref(root);
	message.key = NULL;
	message.key_len = 0;
	assert_int_equal(ops->decode(decoder, &message, &out, &err), DECODE_OK);
	root = json_loadb((const char *)out.payload, out.len, 0, NULL);
	assert_null(json_object_get(root, "key"));
	json_decref(root);
	message.key = (const uint8_t *)"bare";
	message.key_len = 4;
	assert_int_equal(ops->decode(decoder, &message, &out, &err), DECODE_OTHER);
	assert_non_null(strstr(err.text, "the key"));
	ops->close(decoder);
}

/* libavro takes a schema with the same field many times over; the plan leaves such records to the way of values. Large texts, too. */
static void
test_avro_plan_refuses(void **state)
{
	(void)state;
	char schema_text[4096] = "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"b\",\"type\":\"int\"}", record[2048] = "{\"b\":1,\"a\":\"";
	size_t len = strlen(schema_text);
	for (int i = 0; i < 100; i++, len += 29)
		memcpy(schema_text + len, ",{\"name\":\"a\",\"type\":\"string\"}", 29);
	memcpy(schema_text + len, "]}", 3);
	len = strlen(record);
	memset(record + len, 'x', 1500);
	memcpy(record + len + 1500, "\"}", 3);
	avro_schema_t schema;
	assert_int_equal(avro_schema_from_json_length(schema_text, strlen(schema_text), &schema), 0);
	struct avro_plan *plan = avro_plan_new(schema);
	struct avro_text *text = avro_text_new();
	struct avro_binary out;
	assert_true(avro_text_read(text, (const uint8_t *)record, strlen(record)));
	assert_false(avro_plan_encode(plan, text, &out));
	size_t many = 600000;
	char *large = malloc(many * 2 + 16);
	assert_non_null(large);
	memcpy(large, "{\"s\":[0", 7);
	for (size_t i = 0; i < many; i++)
		memcpy(large + 7 + 2 * i, ",0", 2);
	memcpy(large + 7 + 2 * many, "]}", 2);
	assert_false(avro_text_read(text, (const uint8_t *)large, 9 + 2 * many));
	free(large);
	assert_true(avro_text_read(text, (const uint8_t *)record, strlen(record)));
	avro_text_free(text);
	avro_plan_free(plan);
	avro_schema_decref(schema);
}

static void
test_decoder_names(void **state)
{
	(void)state;
	static const char *const names[] = { "JsonStringMessageDecoder", "JsonWrappedStringMessageDecoder", "KafkaAvroMessageDecoder", "AvroMessageDecoder",
		"LatestSchemaKafkaAvroMessageDecoder", "JSONToAvroMessageDecoder", "flume", "raw", "string" };
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		struct camus_conf conf = { .decoder = names[i] };
		assert_non_null(decoder_find(&conf, "t", NULL));
	}
	struct camus_conf conf = { .decoder = "com.our.own.Decoder" };
	struct err err = { "" };
	assert_null(decoder_find(&conf, "t", &err));
	assert_non_null(strstr(err.text, "com.our.own.Decoder"));
}

static void
test_avro_json(void **state)
{
	(void)state;
	static const char schema_text[] = "{\"type\":\"record\",\"name\":\"a.R\",\"fields\":[{\"name\":\"i\",\"type\":\"int\"},{\"name\":\"l\",\"type\":\"long\"},"
		"{\"name\":\"u\",\"type\":[\"null\",\"string\",{\"type\":\"record\",\"name\":\"a.In\",\"fields\":[{\"name\":\"x\",\"type\":\"double\"}]}]},"
		"{\"name\":\"b\",\"type\":\"bytes\"},{\"name\":\"e\",\"type\":{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\",\"B\"]}},"
		"{\"name\":\"m\",\"type\":{\"type\":\"map\",\"values\":\"boolean\"}},{\"name\":\"s\",\"type\":{\"type\":\"array\",\"items\":\"float\"}}]}";
	avro_schema_t schema;
	avro_value_t value;
	assert_int_equal(avro_schema_from_json_length(schema_text, strlen(schema_text), &schema), 0);
	avro_value_iface_t *class = avro_generic_class_from_schema(schema);
	assert_int_equal(avro_generic_value_new(class, &value), 0);
	static const char *const good[] = {
		"{\"i\":1,\"l\":4000000000,\"u\":null,\"b\":\"a\\u00ff\\u0000\",\"e\":\"B\",\"m\":{\"t\":true},\"s\":[1,2.5],\"more\":3}",
		"{\"i\":-1,\"l\":1,\"u\":{\"string\":\"x\"},\"b\":\"\",\"e\":\"A\",\"m\":{},\"s\":[]}",
		"{\"i\":-1,\"l\":1,\"u\":{\"a.In\":{\"x\":2}},\"b\":\"\",\"e\":\"A\",\"m\":{},\"s\":[]}",
	};
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		json_t *json = json_loads(good[i], JSON_ALLOW_NUL, NULL);
		struct err err = { "" };
		assert_int_equal(avro_json_read(json, &value, &err), 0);
		char *again;	/* libavro's own writer says the same, but for what the schema does not have */
		assert_int_equal(avro_value_to_json(&value, 1, &again), 0);
		if (i) {
			json_t *back = json_loads(again, JSON_ALLOW_NUL, NULL);
			assert_int_equal(json_integer_value(json_object_get(back, "i")), -1);
			json_decref(back);
		}
		const void *bytes;
		size_t len;
		avro_value_t b;
		avro_value_get_by_name(&value, "b", &b, NULL);
		avro_value_get_bytes(&b, &bytes, &len);
		assert_int_equal(len, i ? 0 : 3);
		assert_memory_equal(bytes, "a\xff\0", len);
		free(again);
		json_decref(json);
	}
	static const char *const bad[][2] = {
		{ "{\"i\":1}", "l: not there" },
		{ "{\"i\":3000000000,\"l\":1,\"u\":null,\"b\":\"\",\"e\":\"A\",\"m\":{},\"s\":[]}", "i: no int" },
		{ "{\"i\":1,\"l\":1,\"u\":\"x\",\"b\":\"\",\"e\":\"A\",\"m\":{},\"s\":[]}", "of a union" },
		{ "{\"i\":1,\"l\":1,\"u\":{\"int\":1},\"b\":\"\",\"e\":\"A\",\"m\":{},\"s\":[]}", "of a union" },
		{ "{\"i\":1,\"l\":1,\"u\":null,\"b\":\"\xe2\x82\xac\",\"e\":\"A\",\"m\":{},\"s\":[]}", "b: no bytes" },
		{ "{\"i\":1,\"l\":1,\"u\":null,\"b\":\"\",\"e\":\"C\",\"m\":{},\"s\":[]}", "e: no" },
		{ "{\"i\":1,\"l\":1,\"u\":null,\"b\":\"\",\"e\":\"A\",\"m\":{\"k\":1},\"s\":[]}", "m: k: no boolean" },
		{ "{\"i\":1,\"l\":1,\"u\":null,\"b\":\"\",\"e\":\"A\",\"m\":{},\"s\":[1,\"x\"]}", "s: [1]: no float" },
		{ "[]", "no" },
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		json_t *json = json_loads(bad[i][0], 0, NULL);
		struct err err = { "" };
		assert_non_null(json);
		assert_int_equal(avro_json_read(json, &value, &err), -EINVAL);
		if (!strstr(err.text, bad[i][1]))
			fail_msg("\"%s\" does not say \"%s\"", err.text, bad[i][1]);
		json_decref(json);
	}
	avro_value_decref(&value);
	avro_value_iface_decref(class);
	avro_schema_decref(schema);
}

/* The record's bytes by way of values. False: refused. */
static bool
slow_encode(avro_value_t *value, const char *text, size_t len, char *to, size_t room, size_t *used)
{
	struct err err = { "" };
	json_t *json = json_loadb(text, len, JSON_ALLOW_NUL, NULL);
	bool taken = json && avro_json_read(json, value, &err) == 0;
	if (taken) {
		avro_writer_t writer = avro_writer_memory(to, (int64_t)room);
		assert_int_equal(avro_value_write(writer, value), 0);
		*used = (size_t)avro_writer_tell(writer);
		avro_writer_free(writer);
	}
	json_decref(json);
	return taken;
}

/* What the plan takes is what the values make of it, byte by byte, also of texts with something wrong in them. */
static void
test_avro_plan(void **state)
{
	(void)state;
	static const char schema_text[] = "{\"type\":\"record\",\"name\":\"a.R\",\"fields\":[{\"name\":\"i\",\"type\":\"int\"},{\"name\":\"l\",\"type\":\"long\"},"
		"{\"name\":\"u\",\"type\":[\"null\",\"string\",\"a.R\",{\"type\":\"record\",\"name\":\"a.In\",\"fields\":[{\"name\":\"x\",\"type\":\"double\"}]}]},"
		"{\"name\":\"b\",\"type\":\"bytes\"},{\"name\":\"e\",\"type\":{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\",\"B\"]}},"
		"{\"name\":\"m\",\"type\":{\"type\":\"map\",\"values\":\"boolean\"}},{\"name\":\"s\",\"type\":{\"type\":\"array\",\"items\":\"float\"}},"
		"{\"name\":\"f\",\"type\":{\"type\":\"fixed\",\"name\":\"F\",\"size\":2}},{\"name\":\"header\",\"type\":[\"null\",{\"type\":\"record\",\"name\":\"H\","
		"\"fields\":[{\"name\":\"time\",\"type\":\"long\"},{\"name\":\"server\",\"type\":\"string\"}]}]},{\"name\":\"timestamp\",\"type\":\"long\"}]}";
	static const char *const texts[] = {
		"{\"i\":1,\"l\":4000000000,\"u\":null,\"b\":\"a\\u00ff\",\"e\":\"B\",\"m\":{\"t\":true,\"u\":false},\"s\":[1,2.5,1e3],\"f\":\"ab\",\"header\":null,"
		"\"timestamp\":12,\"more\":{\"a\":[1,{}]}}",
		"{\"header\":{\"H\":{\"time\":77,\"server\":\"one\"}},\"timestamp\":12,\"l\":-9,\"i\":-1,\"u\":{\"string\":\"\\\"\\u20ac\"},\"b\":\"\",\"e\":\"A\",\"m\":{},"
		"\"s\":[],\"f\":\"\\u0080z\"}",
		"{\"i\":-1,\"l\":1,\"u\":{\"a.In\":{\"x\":2}},\"b\":\"\",\"e\":\"A\",\"m\":{},\"s\":[],\"f\":\"..\",\"header\":null,\"timestamp\":0}",
		"{\"i\":-1,\"l\":1,\"u\":{\"R\":{\"i\":2,\"l\":2,\"u\":null,\"b\":\"x\",\"e\":\"A\",\"m\":{},\"s\":[3],\"f\":\"..\",\"header\":null,\"timestamp\":5}},"
		"\"b\":\"\",\"e\":\"A\",\"m\":{},\"s\":[],\"f\":\"..\",\"header\":null,\"timestamp\":6}",
	};
	static const int64_t times[] = { 12, 77, 0, 6 };
	avro_schema_t schema;
	avro_value_t value;
	assert_int_equal(avro_schema_from_json_length(schema_text, strlen(schema_text), &schema), 0);
	avro_value_iface_t *class = avro_generic_class_from_schema(schema);
	assert_int_equal(avro_generic_value_new(class, &value), 0);
	struct avro_plan *plan = avro_plan_new(schema);
	struct avro_text *text = avro_text_new();
	struct avro_binary out;
	char copy[1024], slow[4096];
	size_t used, both = 0;
	uint64_t random = 1;
	for (size_t t = 0; t < sizeof texts / sizeof *texts; t++) {
		size_t len = strlen(texts[t]);
		assert_true(avro_text_read(text, (const uint8_t *)texts[t], len) && avro_plan_encode(plan, text, &out));
		assert_true(slow_encode(&value, texts[t], len, slow, sizeof slow, &used));
		assert_int_equal(out.len, used);
		assert_memory_equal(out.bytes, slow, used);
		assert_true(out.timed);
		assert_int_equal(out.time_ms, times[t]);
		assert_int_equal(out.server_len, t == 1 ? 3 : 0);
		for (int n = 0; n < 4000; n++) {
			memcpy(copy, texts[t], len);
			for (int k = 0; k <= n % 3; k++) {
				random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
				copy[(random >> 33) % len] = n & 1 ? texts[t][(random >> 13) % len] : (char)"\"\\{}[],:019eE.-n \x80\xc3"[(random >> 20) % 20];
			}
			if (!avro_text_read(text, (uint8_t *)copy, len) || !avro_plan_encode(plan, text, &out))
				continue;
			both++;
			if (!slow_encode(&value, copy, len, slow, sizeof slow, &used) || used != out.len || memcmp(out.bytes, slow, used) != 0)
				fail_msg("not as values have it: %.*s", (int)len, copy);
		}
	}
	assert_true(both > 500);
	int64_t number;
	static const char ids[] = "{\"id\":\"17\",\"x\":{\"id\":3},\"n\":5,\"bad\":\"1x\"}";
	assert_true(avro_text_read(text, (const uint8_t *)ids, strlen(ids)));
	assert_true(avro_text_number(text, "id", &number) && number == 17);
	assert_true(avro_text_number(text, "n", &number) && number == 5);
	assert_false(avro_text_number(text, "bad", &number) || avro_text_number(text, "none", &number));
	static const char twice[] = "{\"id\":1,\"id\":2}";
	assert_false(avro_text_read(text, (const uint8_t *)twice, strlen(twice)));
	avro_text_free(text);
	avro_plan_free(plan);
	avro_value_decref(&value);
	avro_value_iface_decref(class);
	avro_schema_decref(schema);
}

static void
test_groups(void **state)
{
	(void)state;
	struct camus_conf conf = { .group_topics = true, .group_factor = 1 };
	struct job job = { .conf = &conf };
	static const struct { const char *topic; int64_t records; } requests[] = {
		{ "big", 1000 }, { "big", 1000 }, { "small", 10 }, { "small", 10 }, { "small", 10 }, { "small", 10 }, { "tiny", 1 }, { "tiny", 1 },
	};
	int32_t task_of[8];
	for (size_t i = 0; i < 8; i++) {
		struct part *part = job_part(&job, requests[i].topic, (int32_t)i);
		part->latest = requests[i].records;
		part->pull = true;
	}
	/* average 255 records: all of small are one group, and of tiny */
	assert_int_equal(allocate_tasks(&job, 30, task_of), 4);
	assert_int_equal(task_of[0], 0);
	assert_int_equal(task_of[1], 1);
	for (int i = 3; i < 6; i++)
		assert_int_equal(task_of[i], task_of[2]);
	assert_int_equal(task_of[7], task_of[6]);
	assert_int_not_equal(task_of[2], task_of[6]);
	/* a factor that makes groups of 25 records at most: two of small each */
	conf.group_factor = 10;
	assert_int_equal(allocate_tasks(&job, 30, task_of), 5);
	assert_int_equal(task_of[2], task_of[3]);
	assert_int_equal(task_of[4], task_of[5]);
	assert_int_not_equal(task_of[2], task_of[4]);
	/* Camus's BaseAllocator spreads them */
	conf.group_topics = false;
	assert_int_equal(allocate_tasks(&job, 30, task_of), 8);
	assert_int_equal(allocate_tasks(&job, 2, task_of), 2);
	assert_int_not_equal(task_of[0], task_of[1]);
	job_free(&job);
}

/* Strangers' bytes: every cut and every changed byte is read or refused, never more. */
static void
test_key_bytes(void **state)
{
	(void)state;
	struct etl_key key = { .topic = "a.topic", .partition = 7, .begin = 41, .offset = 42, .checksum = 0xdeadbeef, .time_ms = FALLBACK,
		.message_bytes = 333, .key = "k", .key_len = 1, .payload = "\0p", .payload_len = 2 }, got;
	struct text text = { NULL };
	etl_key_write(&key, &text);
	assert_int_equal(etl_key_read(&got, (const uint8_t *)text.text, text.len), 0);
	assert_string_equal(got.topic, "a.topic");
	assert_int_equal(got.partition, 7);
	assert_int_equal(got.offset, 42);
	assert_int_equal(got.begin, 41);
	assert_int_equal(got.checksum, 0xdeadbeef);
	assert_int_equal(got.time_ms, FALLBACK);
	assert_int_equal(got.message_bytes, 333);
	size_t whole = 2 + 4 + 8 + 8 + 8 + 2 + 7 + 8 + 2 + 2;	/* without a map, as older files */
	for (size_t len = 0; len < text.len; len++) {
		uint8_t *cut = malloc(len + 1);
		memcpy(cut, text.text, len);
		assert_int_equal(etl_key_read(&got, cut, len), len < whole ? -EBADMSG : 0);
		free(cut);
	}
	for (size_t i = 0; i < text.len; i++) {
		for (int bit = 0; bit < 8; bit++) {
			text.text[i] = (char)(text.text[i] ^ 1 << bit);
			etl_key_read(&got, (const uint8_t *)text.text, text.len);
			text.text[i] = (char)(text.text[i] ^ 1 << bit);
		}
	}
	text_free(&text);
}

static int
key_count(void *context, const uint8_t *bytes, size_t len, struct err *err)
{
	(void)err;
	volatile uint8_t last = len ? bytes[len - 1] : 0;
	(void)last;
	++*(int *)context;
	return 0;
}

static void
test_sequence_bytes(void **state)
{
	(void)state;
	/* "K" -> "V" uncompressed: one record "ab" -> "c", a sync mark, one more */
	uint8_t file[] = "SEQ\6\1K\1V\0\0\0\0\0\0" "0123456789abcdef" "\0\0\0\3\0\0\0\2" "abc" "\xff\xff\xff\xff" "0123456789abcdef" "\0\0\0\3\0\0\0\1" "abc";
	size_t len = sizeof file - 1;
	int count = 0;
	struct err err = { "" };
	assert_int_equal(seq_read_keys(file, len, "K", key_count, &count, &err), 0);
	assert_int_equal(count, 2);
	assert_int_equal(seq_read_keys(file, len, "L", key_count, &count, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "\"K\""));
	assert_int_equal(seq_read_keys((const uint8_t *)"text\n", 5, "K", key_count, &count, &err), -EBADMSG);
	for (size_t cut = 0; cut < len; cut++) {
		uint8_t *bytes = malloc(cut + 1);
		memcpy(bytes, file, cut);
		int rc = seq_read_keys(bytes, cut, "K", key_count, &count, NULL);
		if (cut != 30 && cut != 41 && cut != 61)	/* ends of records and marks */
			assert_int_equal(rc, -EBADMSG);
		free(bytes);
	}
	for (size_t i = 0; i < len; i++)
		for (int bit = 0; bit < 8; bit++) {
			file[i] ^= (uint8_t)(1 << bit);
			seq_read_keys(file, len, "K", key_count, &count, NULL);
			file[i] ^= (uint8_t)(1 << bit);
		}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_json_times), cmocka_unit_test(test_wrapped), cmocka_unit_test(test_decoder_names), cmocka_unit_test(test_avro_json), cmocka_unit_test(test_avro_plan),
		cmocka_unit_test(test_avro_plan_refuses),
		cmocka_unit_test(test_groups), cmocka_unit_test(test_key_bytes), cmocka_unit_test(test_sequence_bytes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
