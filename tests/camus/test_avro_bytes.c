/* Avro records and schemas of strangers: what goes through as it is must be one whole record of its schema, and nothing in it may cost the run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "camus/decode.h"

static char folder[] = "/tmp/penstock-avro-XXXXXX";

static int
begin(void **state)
{
	char path[64];
	(void)state;
	snprintf(path, sizeof path, "%s/t", mkdtemp(folder));
	return mkdir(path, 0700);
}

static int
end(void **state)
{
	char command[64];
	(void)state;
	snprintf(command, sizeof command, "rm -r %s", folder);
	return system(command);
}

static void
schema_put(int id, const char *json)
{
	char path[64];
	snprintf(path, sizeof path, "%s/t/%d.avsc", folder, id);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fputs(json, file);
	fclose(file);
}

/* A record of schema `id` behind the 5 bytes that name it; *out is freed by the caller. */
static enum decode_result
decode(int id, const void *record, size_t len, uint8_t **out, size_t *out_len, struct err *err)
{
	struct camus_conf conf = { .time_field = "timestamp" };
	char define[128];
	assert_int_equal(conf_define(&conf, "kafka.message.coder.schema.registry.class=FileSchemaRegistry", err), 0);
	snprintf(define, sizeof define, "penstock.camus.schemas=%s", folder);
	assert_int_equal(conf_define(&conf, define, err), 0);
	void *decoder;
	assert_int_equal(decoder_camus_avro.open(&decoder, &conf, "t", err), 0);
	uint8_t *bytes = calloc(1, len + 5);
	bytes[4] = (uint8_t)id;
	memcpy(bytes + 5, record, len);
	struct message message = { .topic = "t", .time_ms = 7, .value = bytes, .value_len = len + 5 };
	struct decoded decoded = { NULL };
	enum decode_result result = decoder_camus_avro.decode(decoder, &message, &decoded, err);
	*out = NULL;
	*out_len = 0;
	if (result == DECODE_OK) {
		*out = malloc(decoded.len + 1);
		memcpy(*out, decoded.payload, decoded.len);
		*out_len = decoded.len;
	}
	decoder_camus_avro.close(decoder);
	conf_free(&conf);
	free(bytes);
	return result;
}

static const char plain[] = "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"n\",\"type\":\"int\"},{\"name\":\"e\",\"type\":{\"type\":\"enum\",\"name\":\"E\","
	"\"symbols\":[\"A\",\"B\"]}},{\"name\":\"s\",\"type\":\"string\"},{\"name\":\"l\",\"type\":{\"type\":\"array\",\"items\":\"null\"}}]}";
static const char list[] = "{\"type\":\"record\",\"name\":\"L\",\"fields\":[{\"name\":\"next\",\"type\":[\"null\",\"L\"]}]}";

/* What stands behind the record would be taken for the next record of the file. */
static void
test_bytes_behind(void **state)
{
	struct err err = { "" };
	uint8_t *out;
	size_t len;
	(void)state;
	schema_put(1, plain);
	assert_int_equal(decode(1, "\2\2\4ab\0junk", 10, &out, &len, &err), DECODE_OK);
	assert_int_equal(len, 6);
	assert_memory_equal(out, "\2\2\4ab\0", 6);
	free(out);
}

static void
test_no_record(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		const char *what;
	} rows[] = {
		{ "\2\4\4ab\0", 6, "an enum's third symbol of two" },
		{ "\2\1\4ab\0", 6, "a symbol below 0" },
		{ "\2\2\3ab\0", 6, "a length below 0" },
		{ "\2\2\xfe\xff\xff\xff\xff\xff\xff\xff\xff\1ab\0", 15, "the longest length" },
		{ "\2\2\4ab", 5, "cut in front of its last byte" },
		{ "\xfe\xff\xff\xff\x7f\2\4ab\0", 10, "an int of 35 bits" },
		{ "\x82\x80\x80\x80\x80\0\2\4ab\0", 11, "an int of 6 bytes" },
		{ "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\0\2\4ab\0", 17, "a number without an end" },
		{ "\2\2\4ab\x80\x80\x80\x80\x80\x80\x80\x80\x40\0", 15, "nulls without number" },
		{ "\2\2\4ab\xff\xff\xff\xff\xff\xff\xff\xff\xff\1\0\0", 17, "the lowest number of a block" },
		{ "\2\2\4ab\3\2\0", 8, "a block that is not as long as it says" },
		{ "", 0, "nothing" },
	};
	(void)state;
	schema_put(1, plain);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct err err = { "" };
		uint8_t *out;
		size_t len;
		if (decode(1, rows[i].bytes, rows[i].len, &out, &len, &err) != DECODE_OTHER)
			fail_msg("%s is taken", rows[i].what);
		assert_non_null(strstr(err.text, "schema 1"));
		free(out);
	}
}

static void
test_deep(void **state)
{
	static uint8_t bytes[1 << 20];
	struct err err = { "" };
	uint8_t *out;
	size_t len;
	(void)state;
	schema_put(1, list);
	memset(bytes, 2, sizeof bytes - 1);
	assert_int_equal(decode(1, bytes, sizeof bytes, &out, &len, &err), DECODE_OTHER);
	assert_int_equal(decode(1, bytes + sizeof bytes - 101, 101, &out, &len, &err), DECODE_OK);
	assert_int_equal(len, 101);
	free(out);
}

static void
test_schemas(void **state)
{
	static const char *const rows[] = {
		"{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"r\",\"type\":\"R\"}]}",
		"{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"q\",\"type\":{\"type\":\"record\",\"name\":\"Q\",\"fields\":[{\"name\":\"r\",\"type\":\"R\"}]}}]}",
		"{\"type\":\"record\",\"name\":\"R\",\"fields\":5}", "{\"type\":\"fixed\",\"name\":\"F\",\"size\":-1}", "{", "", "7",
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct err err = { "" };
		uint8_t *out;
		size_t len;
		schema_put(1, rows[i]);
		assert_int_not_equal(decode(1, "\0\0\0\0", 4, &out, &len, &err), DECODE_OK);
		assert_true(err.text[0]);
	}
}

/* A default that needs itself. */
static void
test_endless_default(void **state)
{
	struct err err = { "" };
	uint8_t *out;
	size_t len;
	(void)state;
	schema_put(1, "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"n\",\"type\":\"int\"}]}");
	schema_put(2, "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"n\",\"type\":\"int\",\"default\":0},{\"name\":\"r\",\"type\":[\"R\",\"null\"],\"default\":{}}]}");
	assert_int_equal(decode(1, "\2", 1, &out, &len, &err), DECODE_OTHER);
	char path[64];
	snprintf(path, sizeof path, "%s/t/2.avsc", folder);
	unlink(path);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bytes_behind), cmocka_unit_test(test_no_record), cmocka_unit_test(test_deep), cmocka_unit_test(test_schemas),
		cmocka_unit_test(test_endless_default),
	};
	return cmocka_run_group_tests(tests, begin, end);
}
