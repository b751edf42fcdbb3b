/* test_format: what the formats make is read back by the libraries' own readers. `test_format DIR` writes one file of each kind for Hadoop's
 * readers (test_format_real.sh): DIR/<name><suffix>, each of RECORDS lines "line <i> <filler>". */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bzlib.h>
#include <endian.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <zlib.h>
#include <zstd.h>

#include "tests/lib/sink_fixture.h"
#include "sinks/format/hadoop_codec.h"
#include "sinks/format/seqfile.h"

#define RECORDS 20000

static size_t
line_make(int i, char *text, size_t room)
{
	int n = snprintf(text, room, "line %d ", i), more = i % 97;
	for (int k = 0; k < more && n < (int)room - 1; k++)
		text[n++] = (char)('a' + (i * 31 + k * k) % 26);
	text[n] = '\0';
	return (size_t)n;
}

static void
test_names(void **state)
{
	(void)state;
	enum hadoop_codec_kind kind;
	struct err err;
	assert_int_equal(hadoop_codec_find("gzip", &kind, &err), 0);
	assert_int_equal(kind, CODEC_GZIP);
	assert_int_equal(hadoop_codec_find("org.apache.hadoop.io.compress.SnappyCodec", &kind, &err), 0);
	assert_int_equal(kind, CODEC_SNAPPY);
	assert_int_equal(hadoop_codec_find("BZIP2codec", &kind, &err), 0);
	assert_int_equal(kind, CODEC_BZIP2);
	assert_int_equal(hadoop_codec_find("None", &kind, &err), 0);
	assert_int_equal(kind, CODEC_NONE);
	assert_int_not_equal(hadoop_codec_find("lzop", &kind, &err), 0);
	assert_non_null(strstr(err.text, "lzop"));
	assert_int_not_equal(hadoop_codec_find("foo.BarCodec", &kind, &err), 0);
}

static void
test_members(void **state)
{
	(void)state;
	char text[256], raw[64 * 256], back[64 * 256];
	for (enum hadoop_codec_kind kind = CODEC_DEFLATE; kind <= CODEC_ZSTD; kind++) {
		struct hadoop_codec *codec = hadoop_codec_new(kind);
		struct codec_bytes out = { 0 };
		size_t len = 0;
		assert_false(hadoop_codec_open(codec));
		for (int i = 0; i < 64; i++) {
			size_t n = line_make(i, text, sizeof text);
			memcpy(raw + len, text, n);
			len += n;
			assert_int_equal(hadoop_codec_put(codec, text, n, i == 63, &out), 0);
		}
		assert_false(hadoop_codec_open(codec));
		if (kind == CODEC_ZSTD) {
			assert_int_equal(ZSTD_decompress(back, sizeof back, out.bytes, out.len), len);
		} else if (kind == CODEC_BZIP2) {
			unsigned room = sizeof back;
			assert_int_equal(BZ2_bzBuffToBuffDecompress(back, &room, (char *)out.bytes, (unsigned)out.len, 0, 0), BZ_OK);
			assert_int_equal(room, len);
		} else if (kind <= CODEC_GZIP) {
			z_stream z = { .next_in = out.bytes, .avail_in = (uInt)out.len, .next_out = (Bytef *)back, .avail_out = sizeof back };
			assert_int_equal(inflateInit2(&z, 47), Z_OK);
			assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
			assert_int_equal(z.avail_in, 0);
			inflateEnd(&z);
		} else {
			memcpy(back, raw, len);		/* Hadoop reads these: test_format_real.sh */
		}
		assert_memory_equal(back, raw, len);
		/* Another member begins by itself. */
		size_t before = out.len;
		assert_int_equal(hadoop_codec_put(codec, "more", 4, true, &out), 0);
		assert_true(out.len > before);
		codec_bytes_free(&out);
		hadoop_codec_free(codec);
	}
}

static void
test_vints(void **state)
{
	(void)state;
	static const struct {
		int64_t number;
		const char *bytes;
		uint32_t len;
	} cases[] = { { 0, "\0", 1 }, { 127, "\x7f", 1 }, { -112, "\x90", 1 }, { 128, "\x8f\x80", 2 }, { 255, "\x8f\xff", 2 }, { 256, "\x8e\x01\0", 3 },
		      { -113, "\x87\x70", 2 }, { 65536, "\x8d\x01\0\0", 4 } };
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		uint8_t bytes[9];
		assert_int_equal(seq_vint(bytes, cases[i].number), cases[i].len);
		assert_memory_equal(bytes, cases[i].bytes, cases[i].len);
	}
}

static int
make(const char *dir, const char *name, const char *type, const char *more1, const char *more2)
{
	struct sink_fixture f;
	char path[512], prefix[128], text[256];
	fixture_init(&f, 1500000000000);
	for (int i = 0; i < RECORDS; i++) {
		size_t n = line_make(i, text, sizeof text);
		fake_put(&f.channel, text, (uint32_t)n, "timestamp=#1065910455003 h=v");
	}
	snprintf(path, sizeof path, "hdfs.path=file://%s/%s", dir, name);
	snprintf(prefix, sizeof prefix, "hdfs.filePrefix=%s", name);
	if (fixture_open(&f, &sink_hdfs, NULL, path, prefix, type, "hdfs.rollCount=0", "hdfs.rollSize=0", "hdfs.rollInterval=0", "hdfs.batchSize=1000", more1, more2, NULL)) {
		fprintf(stderr, "%s: %s\n", name, f.err.text);
		return 1;
	}
	/* In two requests, so that a file is appended to after a flush. */
	for (int i = 0; i < 8; i++) {
		clock_manual_advance(&f.clock, 300 * NS_PER_MS);
		sink_runner_step(f.runner, 0);
	}
	sink_runner_finish(f.runner, f.clock.now + 10 * NS_PER_S);
	f.runner = NULL;
	int rc = f.channel.settled != RECORDS;
	fixture_free(&f);
	return rc;
}

/* Record compression, which the loader writes and Flume's sink never does. */
static int
make_records(const char *dir, const char *codec)
{
	struct seqfile *file;
	struct out *out = out_new();
	enum hadoop_codec_kind kind = CODEC_NONE;
	char name[32], path[512], text[256];
	snprintf(name, sizeof name, "rec-%s", codec);
	snprintf(path, sizeof path, "%s/%s", dir, name);
	if (mkdir(path, 0755) || hadoop_codec_find(codec, &kind, NULL))
		return 1;
	snprintf(path, sizeof path, "%s/%s/file", dir, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644), rc = fd < 0 || !out || seqfile_new(&file, SEQ_LONG, SEQ_TEXT, SEQ_RECORD, kind);
	if (rc)
		return 1;
	out_reset(out, fd, 0);
	rc = seqfile_begin(file, out);
	for (int i = 0; i < RECORDS && !rc; i++) {
		size_t n = line_make(i, text, sizeof text);
		uint64_t key = htobe64(UINT64_C(1065910455003));
		uint8_t head[9];
		uint32_t head_len = seq_vint(head, (int64_t)n);
		rc = seqfile_put(file, out, &key, 8, head, head_len, text, n);
		if (!rc)
			rc = out_flush(out);
	}
	rc = rc || seqfile_flush(file, out) || out_flush(out);
	seqfile_free(file);
	out_free(out);
	close(fd);
	return rc;
}

int
main(int argc, char **argv)
{
	static const char *const codecs[] = { "gzip", "bzip2", "snappy", "lz4", "zstd", "deflate", NULL };
	static const char *const avro[] = { "null", "deflate", "snappy", "bzip2", "zstandard", NULL };
	int bad = 0;
	if (argc == 2) {
		for (int i = 0; codecs[i]; i++) {
			char codec[64], name[64];
			snprintf(codec, sizeof codec, "hdfs.codeC=%s", codecs[i]);
			snprintf(name, sizeof name, "text-%s", codecs[i]);
			bad += make(argv[1], name, "hdfs.fileType=CompressedStream", codec, NULL);
			snprintf(name, sizeof name, "seq-%s", codecs[i]);
			bad += make(argv[1], name, "hdfs.fileType=SequenceFile", codec, "hdfs.writeFormat=Text");
			bad += make_records(argv[1], codecs[i]);
		}
		for (int i = 0; avro[i]; i++) {
			char codec[64], name[64];
			snprintf(codec, sizeof codec, "serializer.compressionCodec=%s", avro[i]);
			snprintf(name, sizeof name, "avro-%s", avro[i]);
			bad += make(argv[1], name, "hdfs.fileType=DataStream", "serializer=avro_event", codec);
		}
		bad += make(argv[1], "seq-none", "hdfs.fileType=SequenceFile", "hdfs.writeFormat=Text", NULL);
		bad += make(argv[1], "bytes-none", "hdfs.fileType=SequenceFile", "hdfs.writeFormat=Writable", NULL);
		return bad != 0;
	}
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_names), cmocka_unit_test(test_members), cmocka_unit_test(test_vints) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
