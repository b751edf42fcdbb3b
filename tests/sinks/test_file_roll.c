/* What a file_roll sink leaves on the disk, byte for byte: names, rolling, the three serializers (Avro files are read back with
 * libavro), settling only after a sync, the cut of a torn end, and a directory that goes bad. The clock is the test's. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <avro.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <signal.h>
#include <unistd.h>

#include "tests/lib/sink_fixture.h"

#define WALL_MS UINT64_C(1700000000123)

static char directory[64], option_directory[96];
static struct sink_fixture f;

static void
directory_empty(const char *path)
{
	struct dirent **names;
	int count = scandir(path, &names, NULL, NULL);
	for (int i = 0; i < count; i++) {
		char name[512];
		snprintf(name, sizeof name, "%s/%s", path, names[i]->d_name);
		if (strcmp(names[i]->d_name, ".") != 0 && strcmp(names[i]->d_name, "..") != 0)
			(void)unlink(name);
		free(names[i]);
	}
	free(names);
}

/* Overwrites (or, behind the end, adds) bytes of a file in the directory. */
static void
file_patch(const char *name, const void *bytes, size_t len, off_t offset)
{
	char path[512];
	snprintf(path, sizeof path, "%s/%s", directory, name);
	int fd = open(path, O_WRONLY | O_CREAT, 0644);
	assert_true(fd >= 0);
	if (offset < 0)
		offset = lseek(fd, 0, SEEK_END);
	assert_int_equal(pwrite(fd, bytes, len, offset), len);
	close(fd);
}

static int
set_up(void **state)
{
	(void)state;
	setenv("TZ", "UTC", 1);
	snprintf(directory, sizeof directory, "/tmp/penstock-roll-XXXXXX");
	assert_non_null(mkdtemp(directory));
	snprintf(option_directory, sizeof option_directory, "sink.directory=%s", directory);
	fixture_init(&f, WALL_MS);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	fixture_free(&f);
	directory_empty(directory);
	return rmdir(directory);
}

static void
file_is(const char *name, const char *text)
{
	size_t len;
	char *bytes = file_read(directory, name, &len);
	assert_non_null(bytes);
	assert_string_equal(bytes, text);
	assert_int_equal(len, strlen(text));
	free(bytes);
}

static void
files_are(const char *names)
{
	char *list = files_list(directory);
	assert_string_equal(list, names);
	free(list);
}

static void
text_settles_after_the_sync(void **state)
{
	(void)state;
	assert_int_equal(fixture_open(&f, &sink_file_roll, NULL, option_directory, NULL), 0);
	fake_put(&f.channel, "hello", 5, "host=h1");
	fake_put(&f.channel, "", 0, NULL);
	fixture_step(&f);
	assert_int_equal(f.channel.settled, 0);
	assert_true(sink_runner_busy(f.runner));
	clock_manual_advance(&f.clock, 5 * NS_PER_MS);
	fixture_step(&f);
	file_is("1700000000123-1", "hello\n\n");	/* written, not yet synced */
	assert_int_equal(f.channel.settled, 0);
	clock_manual_advance(&f.clock, 95 * NS_PER_MS);
	fixture_step(&f);
	assert_int_equal(f.channel.settled, 2);
	assert_false(sink_runner_busy(f.runner));
	assert_int_equal(fixture_metric("EventDrainSuccessCount"), 2);
	assert_int_equal(fixture_metric("EventDrainAttemptCount"), 2);
	assert_int_equal(fixture_metric("ConnectionCreatedCount"), 1);
	assert_int_equal(fixture_metric("BatchUnderflowCount"), 0);	/* Flume does not keep it here */
}

static void
adjacent_bodies(void **state)
{
	(void)state;
	static const char *const bodies[] = { "one", "two", "", "four", "five" };
	assert_int_equal(fixture_open(&f, &sink_file_roll, NULL, option_directory, "penstock.sync=always", "sink.batchSize=3", NULL), 0);
	fake_put_adjacent(&f.channel, bodies, 5);
	fixture_step(&f);
	file_is("1700000000123-1", "one\ntwo\n\nfour\nfive\n");
	assert_int_equal(f.channel.settled, 5);
}

static void
many_events(void **state)
{
	(void)state;
	char *wanted = malloc(1 << 22), *p = wanted, body[300], filling[201];
	memset(filling, 'x', 200);
	filling[200] = '\0';
	assert_int_equal(fixture_open(&f, &sink_file_roll, NULL, option_directory, NULL), 0);
	for (int i = 0; i < 20000; i++) {
		int len = snprintf(body, sizeof body, "event %d %.*s", i, i % 160, filling);
		fake_put(&f.channel, body, (uint32_t)len, NULL);
		p += snprintf(p, sizeof body, "%s\n", body);
	}
	for (int i = 0; i < 10; i++)
		fixture_step(&f);
	clock_manual_advance(&f.clock, NS_PER_S);
	fixture_step(&f);
	assert_int_equal(f.channel.settled, 20000);
	file_is("1700000000123-1", wanted);
	free(wanted);
}

static void
header_and_text(void **state)
{
	(void)state;
	assert_int_equal(fixture_open(&f, &sink_file_roll, NULL, option_directory, "penstock.sync=off", "sink.serializer=header_and_text",
				      "sink.serializer.appendNewline=true", NULL), 0);
	fake_put(&f.channel, "hello", 5, "k=v k2=#-17");
	fake_put(&f.channel, "bye", 3, NULL);
	fixture_step(&f);
	file_is("1700000000123-1", "{k=v, k2=-17} hello\n{} bye\n");
	assert_int_equal(f.channel.settled, 2);
}

static void
no_newline(void **state)
{
	(void)state;
	assert_int_equal(fixture_open(&f, &sink_file_roll, NULL, option_directory, "penstock.sync=always", "sink.serializer.appendNewline=false",
				      "sink.serializer=org.apache.flume.serialization.BodyTextEventSerializer$Builder", NULL), 0);
	fake_put(&f.channel, "a", 1, NULL);
	fake_put(&f.channel, "b", 1, NULL);
	fixture_step(&f);
	file_is("1700000000123-1", "ab");
}

static void
rolls_and_names(void **state)
{
	(void)state;
	assert_int_equal(fixture_open(&f, &sink_file_roll, NULL, option_directory, "sink.rollInterval=10", "sink.pathManager.prefix=log-",
				      "sink.pathManager.extension=txt", NULL), 0);
	fixture_step(&f);
	fake_put(&f.channel, "first", 5, NULL);
	fixture_step(&f);
	clock_manual_advance(&f.clock, 10 * NS_PER_S);
	fixture_step(&f);
	assert_int_equal(f.channel.settled, 1);
	fake_put(&f.channel, "second", 6, NULL);
	fixture_step(&f);
	clock_manual_advance(&f.clock, 10 * NS_PER_S);
	fixture_step(&f);
	files_are("log-1700000000123-1.txt log-1700000000123-2.txt log-1700000000123-3.txt");
	file_is("log-1700000000123-1.txt", "first\n");
	file_is("log-1700000000123-2.txt", "second\n");
	file_is("log-1700000000123-3.txt", "");
	assert_int_equal(fixture_metric("ConnectionClosedCount"), 2);
}

static void
roll_time_names(void **state)
{
	(void)state;
	assert_int_equal(fixture_open(&f, &sink_file_roll, NULL, option_directory, "sink.rollInterval=1", "sink.pathManager=rolltime", NULL), 0);
	fixture_step(&f);
	clock_manual_advance(&f.clock, NS_PER_S);
	fixture_step(&f);
	files_are("20231114221320-1 20231114221321-1");
}

static void
no_rolling(void **state)
{
	(void)state;
	assert_int_equal(fixture_open(&f, &sink_file_roll, NULL, option_directory, "sink.rollInterval=0", NULL), 0);
	fixture_step(&f);
	clock_manual_advance(&f.clock, 100000 * NS_PER_S);
	fixture_step(&f);
	files_are("1700000000123-1");
}

/* Reads the events back with libavro and compares the bodies "e0", "e1", ...; headers {host: h1}. */
static void
avro_is(const char *name, int count)
{
	char path[128];
	snprintf(path, sizeof path, "%s/%s", directory, name);
	avro_file_reader_t reader;
	if (avro_file_reader(path, &reader))
		fail_msg("%s: %s", path, avro_strerror());
	avro_schema_t schema = avro_file_reader_get_writer_schema(reader);
	avro_value_iface_t *iface = avro_generic_class_from_schema(schema);
	avro_value_t value, field, host;
	avro_generic_value_new(iface, &value);
	int n = 0;
	while (avro_file_reader_read_value(reader, &value) == 0) {
		char wanted[32];
		const void *body;
		const char *text;
		size_t len;
		snprintf(wanted, sizeof wanted, "e%d", n++);
		avro_value_get_by_name(&value, "body", &field, NULL);
		avro_value_get_bytes(&field, &body, &len);
		assert_int_equal(len, strlen(wanted));
		assert_memory_equal(body, wanted, len);
		avro_value_get_by_name(&value, "headers", &field, NULL);
		assert_int_equal(avro_value_get_by_name(&field, "host", &host, NULL), 0);
		avro_value_get_string(&host, &text, &len);
		assert_string_equal(text, "h1");
		avro_value_reset(&value);
	}
	assert_int_equal(n, count);
	avro_value_decref(&value);
	avro_value_iface_decref(iface);
	avro_schema_decref(schema);
	avro_file_reader_close(reader);
}

static void
avro_events_put(int count)
{
	char body[16];
	for (int i = 0; i < count; i++)
		fake_put(&f.channel, body, (uint32_t)snprintf(body, sizeof body, "e%d", i), "host=h1");
}

static void
avro_null_bytes(void **state)
{
	(void)state;
	assert_int_equal(fixture_open(&f, &sink_file_roll, NULL, option_directory, "penstock.sync=always", "sink.serializer=avro_event", NULL), 0);
	avro_events_put(1);
	fixture_step(&f);
	size_t len;
	char *bytes = file_read(directory, "1700000000123-1", &len);
	static const char head[] = "Obj\x01\x04\x16" "avro.schema" "\x8a\x02"
		"{\"type\":\"record\",\"name\":\"Event\",\"fields\":[{\"name\":\"headers\","
		"\"type\":{\"type\":\"map\",\"values\":\"string\"}},{\"name\":\"body\",\"type\":\"bytes\"}]}"
		"\x14" "avro.codec" "\x08" "null";
	assert_memory_equal(bytes, head, sizeof head);		/* with the 0 that ends the map */
	const char *sync = bytes + sizeof head;
	assert_memory_equal(sync + 16, "\x02\x1a\x02\x08host\x04h1\x00\x04" "e0", 15);
	assert_memory_equal(sync + 16 + 15, sync, 16);
	assert_int_equal(len, sizeof head + 16 + 15 + 16);
	free(bytes);
	avro_is("1700000000123-1", 1);
}

static void
avro_codec(const char *codec)
{
	char option[64];
	snprintf(option, sizeof option, "sink.serializer.compressionCodec=%s", codec);
	assert_int_equal(fixture_open(&f, &sink_file_roll, NULL, option_directory, "sink.serializer=AVRO_EVENT", "sink.serializer.syncIntervalBytes=500",
				      option, NULL), 0);
	avro_events_put(1000);
	fixture_step(&f);
	fixture_stop(&f);
	assert_int_equal(f.channel.settled, 1000);
	avro_is("1700000000123-1", 1000);
}

static void
avro_deflate(void **state)
{
	(void)state;
	avro_codec("deflate");
}

static void
avro_snappy(void **state)
{
	(void)state;
	avro_codec("snappy");
}

static void
avro_unknown_codec_is_none(void **state)
{
	(void)state;
	avro_codec("brotli");
}

/* The run dies between write and sync: what it had not settled is cut and comes again, nothing is there twice. */
static void
torn_end_is_cut(void **state)
{
	(void)state;
	assert_int_equal(fixture_open(&f, &sink_file_roll, NULL, option_directory, NULL), 0);
	fake_put(&f.channel, "settled", 7, NULL);
	fixture_step(&f);
	clock_manual_advance(&f.clock, NS_PER_S / 10);
	fixture_step(&f);
	assert_int_equal(f.channel.settled, 1);
	/* The directory as a kill at this moment leaves it; the tidy stop that the test needs comes between. */
	size_t state_len, file_len;
	char *record = file_read(directory, ".penstock-k1.state", &state_len);
	char *written = file_read(directory, "1700000000123-1", &file_len);
	fixture_stop(&f);
	directory_empty(directory);
	file_patch(".penstock-k1.state", record, state_len, 0);
	file_patch("1700000000123-1", written, file_len, 0);
	file_patch("1700000000123-1", "written, not sett", 17, -1);
	free(record);
	free(written);
	fake_put(&f.channel, "again", 5, NULL);
	clock_manual_advance(&f.clock, NS_PER_S);
	assert_int_equal(fixture_open(&f, &sink_file_roll, NULL, option_directory, NULL), 0);
	fixture_step(&f);
	fixture_stop(&f);
	file_is("1700000000123-1", "settled\n");
	file_is("1700000001223-1", "again\n");
	assert_int_equal(f.channel.settled, 2);
}

/* One torn record of the state file leaves the one before. */
static void
torn_state_is_survived(void **state)
{
	(void)state;
	assert_int_equal(fixture_open(&f, &sink_file_roll, NULL, option_directory, "penstock.sync=always", NULL), 0);
	fake_put(&f.channel, "one", 3, NULL);
	fixture_step(&f);		/* records: 1 opened, 2 one */
	fake_put(&f.channel, "two", 3, NULL);
	fixture_step(&f);		/* 3 two, in the place of 1 */
	fixture_stop(&f);
	file_patch(".penstock-k1.state", "X", 1, 512 + 20);
	assert_int_equal(fixture_open(&f, &sink_file_roll, NULL, option_directory, NULL), 0);
	fixture_stop(&f);
	file_is("1700000000123-1", "one\n");
}

/* No room: the file goes back to what is settled, the events come again, the pause grows. */
static void
disk_full(void **state)
{
	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	struct rlimit old, small;
	getrlimit(RLIMIT_FSIZE, &old);
	small = old;
	assert_int_equal(fixture_open(&f, &sink_file_roll, NULL, option_directory, "penstock.sync=always", NULL), 0);
	fake_put(&f.channel, "fits", 4, NULL);
	fixture_step(&f);
	assert_int_equal(f.channel.settled, 1);
	small.rlim_cur = 2000;
	setrlimit(RLIMIT_FSIZE, &small);
	char *large = calloc(1, 4000);
	memset(large, 'x', 4000);
	fake_put(&f.channel, large, 4000, NULL);
	fixture_step(&f);
	assert_int_equal(f.channel.rollbacks, 1);
	assert_int_equal(fixture_metric("EventWriteFail"), 1);
	file_is("1700000000123-1", "fits\n");
	fixture_step(&f);
	assert_int_equal(f.channel.rollbacks, 1);	/* backing off */
	assert_true(f.channel.idle_calls >= 1);
	clock_manual_advance(&f.clock, NS_PER_S);
	fixture_step(&f);
	assert_int_equal(f.channel.rollbacks, 2);
	clock_manual_advance(&f.clock, NS_PER_S);
	fixture_step(&f);
	assert_int_equal(f.channel.rollbacks, 2);	/* 2 s now */
	setrlimit(RLIMIT_FSIZE, &old);
	clock_manual_advance(&f.clock, NS_PER_S);
	fixture_step(&f);
	assert_int_equal(f.channel.settled, 2);
	fixture_stop(&f);
	size_t len;
	char *bytes = file_read(directory, "1700000000123-3", &len);
	assert_int_equal(len, 4001);
	free(bytes);
	free(large);
	/* The tries in between have left nothing, or a disk that is full for a weekend would have files by the thousand. */
	char *list = files_list(directory);
	assert_string_equal(list, "1700000000123-1 1700000000123-3");
	free(list);
}

static void
mistakes_are_told(void **state)
{
	(void)state;
	assert_int_not_equal(fixture_open(&f, &sink_file_roll, NULL, "sink.directory=/nonexistent/there", NULL), 0);
	assert_non_null(strstr(f.err.text, "/nonexistent/there"));
	assert_int_not_equal(fixture_open(&f, &sink_file_roll, NULL, option_directory, "sink.serializer=xml", NULL), 0);
	assert_non_null(strstr(f.err.text, "\"xml\""));
	assert_int_not_equal(fixture_open(&f, &sink_file_roll, NULL, option_directory, "sink.serializer=avro_event",
					  "sink.serializer.compressionCodec=xz", NULL), 0);
	assert_non_null(strstr(f.err.text, "xz"));
	assert_int_not_equal(fixture_open(&f, &sink_file_roll, NULL, option_directory, "sink.pathManager=mine", NULL), 0);
	assert_int_not_equal(fixture_open(&f, &sink_file_roll, NULL, option_directory, "sink.serializer.schemaURL=x", NULL), 0);
	assert_int_not_equal(fixture_open(&f, &sink_file_roll, NULL, NULL), 0);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(text_settles_after_the_sync), T(adjacent_bodies), T(many_events), T(header_and_text), T(no_newline), T(rolls_and_names),
		T(roll_time_names), T(no_rolling), T(avro_null_bytes), T(avro_deflate), T(avro_snappy), T(avro_unknown_codec_is_none),
		T(torn_end_is_cut), T(torn_state_is_survived), T(disk_full), T(mistakes_are_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
