#include "camus/unpack.h"

#include <bzlib.h>
#include <errno.h>
#include <inttypes.h>
#include <lz4.h>
#include <snappy-c.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "sinks/format/avro.h"

#define PIECE_BYTES (256u << 10)
#define BLOCK_BYTES_MAX (1u << 30)	/* of an Avro block, packed or not */
#define HADOOP_BLOCK_MAX (256u << 20)
#define META_BYTES_MAX (16 << 20)

enum hadoop_codec_kind
unpack_kind(const char *suffix)
{
	for (enum hadoop_codec_kind kind = CODEC_DEFLATE; kind <= CODEC_ZSTD; kind++)
		if (strcmp(suffix, hadoop_codec_suffix(kind)) == 0)
			return kind;
	return CODEC_NONE;
}

/* ---- streams ---- */

struct stream {
	enum hadoop_codec_kind kind;
	z_stream z;
	bz_stream bz;
	ZSTD_DStream *zstd;
	bool within;			/* a member has begun and not ended */
};

static int
stream_open(struct stream *stream, enum hadoop_codec_kind kind)
{
	*stream = (struct stream){ .kind = kind };
	if (kind == CODEC_BZIP2)
		return BZ2_bzDecompressInit(&stream->bz, 0, 0) == BZ_OK ? 0 : -ENOMEM;
	if (kind == CODEC_ZSTD)
		return (stream->zstd = ZSTD_createDStream()) ? 0 : -ENOMEM;
	return inflateInit2(&stream->z, 15 + 32) == Z_OK ? 0 : -ENOMEM;	/* gzip's or zlib's head */
}

static void
stream_close(struct stream *stream)
{
	if (stream->kind == CODEC_BZIP2)
		BZ2_bzDecompressEnd(&stream->bz);
	else if (stream->kind == CODEC_ZSTD)
		ZSTD_freeDStream(stream->zstd);
	else
		inflateEnd(&stream->z);
}

static int
room_make(struct codec_bytes *to, size_t more)
{
	if (to->room - to->len >= more)
		return 0;
	size_t room = to->room * 2 > to->len + more ? to->room * 2 : to->len + more;
	uint8_t *grown = realloc(to->bytes, room);
	if (!grown)
		return -ENOMEM;
	to->bytes = grown;
	to->room = room;
	return 0;
}

/* One step: bytes used of `in`, bytes made; the end of a member begins the next one. 0 or -errno. */
static int
stream_step(struct stream *stream, const uint8_t *in, size_t *len, uint8_t *out, size_t *room)
{
	bool ended = false;
	if (stream->kind == CODEC_ZSTD) {
		ZSTD_inBuffer from = { in, *len, 0 };
		ZSTD_outBuffer to = { out, *room, 0 };
		size_t rc = ZSTD_decompressStream(stream->zstd, &to, &from);
		*len = from.pos;
		*room = to.pos;
		stream->within = rc != 0;
		return ZSTD_isError(rc) ? -EINVAL : 0;
	}
	if (stream->kind == CODEC_BZIP2) {
		bz_stream *bz = &stream->bz;
		bz->next_in = (char *)in;
		bz->avail_in = (unsigned)*len;
		bz->next_out = (char *)out;
		bz->avail_out = (unsigned)*room;
		int rc = BZ2_bzDecompress(bz);
		*len -= bz->avail_in;
		*room -= bz->avail_out;
		if (rc != BZ_OK && rc != BZ_STREAM_END)
			return -EINVAL;
		ended = rc == BZ_STREAM_END;
		if (ended) {
			BZ2_bzDecompressEnd(bz);
			memset(bz, 0, sizeof *bz);
			if (BZ2_bzDecompressInit(bz, 0, 0) != BZ_OK)
				return -ENOMEM;
		}
	} else {
		z_stream *z = &stream->z;
		z->next_in = (Bytef *)in;
		z->avail_in = (uInt)*len;
		z->next_out = out;
		z->avail_out = (uInt)*room;
		int rc = inflate(z, Z_NO_FLUSH);
		*len -= z->avail_in;
		*room -= z->avail_out;
		if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR)
			return -EINVAL;
		ended = rc == Z_STREAM_END;
		if (ended && inflateReset(z) != Z_OK)
			return -EINVAL;
	}
	stream->within = !ended;
	return 0;
}

/* Appends to `to` what `in` holds; at most `most` bytes in all. */
static int
stream_put(struct stream *stream, const uint8_t *in, size_t len, struct codec_bytes *to, size_t most)
{
	size_t used = 0, made;
	do {
		if (to->len >= most)
			return -EFBIG;
		int rc = room_make(to, PIECE_BYTES);
		if (rc)
			return rc;
		size_t n = len - used;
		bool within = stream->within;
		made = PIECE_BYTES;
		rc = stream_step(stream, in + used, &n, to->bytes + to->len, &made);
		if (rc)
			return rc;
		used += n;
		to->len += made;
		if (!n && !made)
			stream->within = within;	/* it was only asked whether there is more */
		if (!n && !made && used < len)
			return -EINVAL;
	} while (used < len || made == PIECE_BYTES);
	return 0;
}

static uint32_t
big32(const uint8_t bytes[4])
{
	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* Hadoop's blocks: a raw length, then pieces with a length each until they are that much. One block; 1: no more. */
static int
block_take(FILE *in, bool snappy, struct codec_bytes *packed, struct codec_bytes *to)
{
	uint8_t head[4];
	size_t got = fread(head, 1, 4, in);
	if (got != 4)
		return got ? -EINVAL : 1;
	for (size_t left = big32(head); left;) {
		if (left > HADOOP_BLOCK_MAX || fread(head, 1, 4, in) != 4)
			return -EINVAL;
		size_t len = big32(head), made = left;
		packed->len = 0;
		if (len > HADOOP_BLOCK_MAX || room_make(packed, len + 1) || room_make(to, left))
			return len > HADOOP_BLOCK_MAX ? -EINVAL : -ENOMEM;
		if (fread(packed->bytes, 1, len, in) != len)
			return -EINVAL;
		if (snappy) {
			if (snappy_uncompress((const char *)packed->bytes, len, (char *)to->bytes + to->len, &made) != SNAPPY_OK)
				return -EINVAL;
		} else {
			int n = LZ4_decompress_safe((const char *)packed->bytes, (char *)to->bytes + to->len, (int)len, (int)left);
			if (n < 0)
				return -EINVAL;
			made = (size_t)n;
		}
		if (!made)
			return -EINVAL;
		to->len += made;
		left -= made;
	}
	return 0;
}

static int
flush(FILE *out, struct codec_bytes *bytes)
{
	bool whole = !bytes->len || fwrite(bytes->bytes, 1, bytes->len, out) == bytes->len;
	bytes->len = 0;
	return whole ? 0 : -EIO;
}

static int
text_unpack(FILE *in, FILE *out, enum hadoop_codec_kind kind, struct codec_bytes *packed, struct codec_bytes *raw)
{
	int rc = 0;
	if (kind == CODEC_SNAPPY || kind == CODEC_LZ4) {
		while (!(rc = block_take(in, kind == CODEC_SNAPPY, packed, raw)) && !(rc = flush(out, raw)))
			;
		return rc == 1 ? 0 : rc;
	}
	struct stream stream;
	size_t got;
	if (stream_open(&stream, kind) || room_make(packed, PIECE_BYTES))
		return -ENOMEM;
	while (!rc && (got = fread(packed->bytes, 1, PIECE_BYTES, in)) > 0)
		for (size_t at = 0; !rc && at < got; at += 4096) {	/* in small bites: a bite may be a thousand times as much */
			rc = stream_put(&stream, packed->bytes + at, got - at < 4096 ? got - at : 4096, raw, SIZE_MAX);
			rc = rc ? rc : flush(out, raw);
		}
	if (!rc && stream.within)
		rc = -ENODATA;
	stream_close(&stream);
	return rc;
}

/* Ends unpacking: `out` takes the place of `*file`, or err says what was wrong. */
static int
swap(FILE **file, FILE *out, int rc, const char *path, struct err *err)
{
	if (!rc && (ferror(*file) || fflush(out) || ferror(out)))
		rc = -EIO;
	fclose(*file);
	*file = out;
	if (!rc) {
		rewind(out);
		return 0;
	}
	fclose(out);
	*file = NULL;
	return err_set(err, -rc, "%s: %s", path, rc == -ENODATA ? "ends before what was compressed does" : rc == -EINVAL ? "what is compressed in it is broken"
		: rc == -EFBIG ? "a block of more than a gigabyte" : rc == -ENOTSUP ? "compressed by a codec that is not known here" : strerror(-rc));
}

int
unpack_text(FILE **file, enum hadoop_codec_kind kind, const char *path, struct err *err)
{
	struct codec_bytes packed = { NULL }, raw = { NULL };
	FILE *out = tmpfile();
	if (!out) {
		fclose(*file);
		*file = NULL;
		return err_set(err, errno, "no temporary file: %s", strerror(errno));
	}
	int rc = text_unpack(*file, out, kind, &packed, &raw);
	codec_bytes_free(&packed);
	codec_bytes_free(&raw);
	return swap(file, out, rc, path, err);
}

/* ---- Avro ---- */

static bool
long_read(FILE *file, int64_t *value)
{
	uint64_t bits = 0;
	for (int shift = 0; shift < 64; shift += 7) {
		int byte = getc(file);
		if (byte == EOF)
			return false;
		bits |= (uint64_t)(byte & 127) << shift;
		if (byte < 128) {
			*value = (int64_t)(bits >> 1) ^ -(int64_t)(bits & 1);
			return true;
		}
	}
	return false;
}

static char *
bytes_read(FILE *file)
{
	int64_t len;
	if (!long_read(file, &len) || len < 0 || len > META_BYTES_MAX)
		return NULL;
	char *text = calloc(1, (size_t)len + 1);
	if (text && fread(text, 1, (size_t)len, file) != (size_t)len) {
		free(text);
		return NULL;
	}
	return text;
}

/* The header up to the sync bytes. False: no such header. */
static bool
header_read(FILE *file, char **schema, char **codec)
{
	char magic[4];
	int64_t count, size;
	*schema = *codec = NULL;
	if (fread(magic, 1, 4, file) != 4 || memcmp(magic, "Obj\1", 4) != 0)
		return false;
	for (;;) {
		if (!long_read(file, &count))
			return false;
		if (!count)
			return *schema;
		if (count == INT64_MIN || (count < 0 && !long_read(file, &size)))
			return false;
		count = count < 0 ? -count : count;
		for (; count; count--) {
			char *key = bytes_read(file), *value = key ? bytes_read(file) : NULL;
			char **to = !value ? NULL : strcmp(key, "avro.schema") == 0 ? schema : strcmp(key, "avro.codec") == 0 ? codec : NULL;
			if (to && !*to)
				*to = value;
			else
				free(value);
			free(key);
			if (!value)
				return false;
		}
	}
}

char *
unpack_avro_schema(FILE *file)
{
	char *schema, *codec;
	bool good = header_read(file, &schema, &codec);
	free(codec);
	if (good)
		return schema;
	free(schema);
	return NULL;
}

static void
long_write(FILE *out, int64_t value)
{
	uint8_t number[AVRO_LONG_BYTES];
	fwrite(number, 1, avro_long(number, value), out);
}

static void
text_write(FILE *out, const char *text)
{
	long_write(out, (int64_t)strlen(text));
	fwrite(text, 1, strlen(text), out);
}

static int
avro_block(const char *codec, const struct codec_bytes *packed, struct codec_bytes *raw)
{
	raw->len = 0;
	if (strcmp(codec, "snappy") == 0) {
		size_t len;
		if (packed->len < 4 || snappy_uncompressed_length((const char *)packed->bytes, packed->len - 4, &len) != SNAPPY_OK)
			return -EINVAL;
		if (len > BLOCK_BYTES_MAX)
			return -EFBIG;
		if (room_make(raw, len + 1))
			return -ENOMEM;
		if (snappy_uncompress((const char *)packed->bytes, packed->len - 4, (char *)raw->bytes, &len) != SNAPPY_OK ||
		    (uint32_t)crc32_z(0, raw->bytes, len) != big32(packed->bytes + packed->len - 4))
			return -EINVAL;
		raw->len = len;
		return 0;
	}
	struct stream stream;
	if (stream_open(&stream, strcmp(codec, "bzip2") == 0 ? CODEC_BZIP2 : CODEC_ZSTD))
		return -ENOMEM;
	int rc = stream_put(&stream, packed->bytes, packed->len, raw, BLOCK_BYTES_MAX);
	if (!rc && stream.within)
		rc = -ENODATA;
	stream_close(&stream);
	return rc;
}

/* Block by block, from behind the header. */
static int
avro_blocks(FILE *in, FILE *out, const char *codec, struct codec_bytes *packed, struct codec_bytes *raw)
{
	uint8_t sync[16], end[16];
	int64_t count, len;
	if (fread(sync, 1, sizeof sync, in) != sizeof sync)
		return -EINVAL;
	fwrite(sync, 1, sizeof sync, out);
	for (;;) {
		int byte = getc(in);
		if (byte == EOF)
			return 0;
		ungetc(byte, in);
		if (!long_read(in, &count) || !long_read(in, &len) || count < 0 || len < 0 || len > BLOCK_BYTES_MAX)
			return -EINVAL;
		packed->len = 0;
		if (room_make(packed, (size_t)len + 1))
			return -ENOMEM;
		packed->len = (size_t)len;
		if (fread(packed->bytes, 1, packed->len, in) != packed->len || fread(end, 1, sizeof end, in) != sizeof end)
			return -ENODATA;
		if (memcmp(end, sync, sizeof sync) != 0)
			return -EINVAL;
		int rc = avro_block(codec, packed, raw);
		if (rc)
			return rc;
		long_write(out, count);
		long_write(out, (int64_t)raw->len);
		if (flush(out, raw) || fwrite(sync, 1, sizeof sync, out) != sizeof sync)
			return -EIO;
	}
}

int
unpack_avro(FILE **file, const char *path, struct err *err)
{
	struct codec_bytes packed = { NULL }, raw = { NULL };
	char *schema, *codec;
	bool good = header_read(*file, &schema, &codec);
	FILE *out = NULL;
	int rc = 0;
	if (!good || !codec || strcmp(codec, "null") == 0 || strcmp(codec, "deflate") == 0) {	/* libavro's; it says what is wrong */
		rewind(*file);
	} else if (!(out = tmpfile())) {
		rc = err_set(err, errno, "no temporary file: %s", strerror(errno));
		fclose(*file);
		*file = NULL;
	} else {
		bool known = strcmp(codec, "snappy") == 0 || strcmp(codec, "bzip2") == 0 || strcmp(codec, "zstandard") == 0;
		fwrite("Obj\1\4", 1, 5, out);	/* a map of two */
		text_write(out, "avro.schema");
		text_write(out, schema);
		text_write(out, "avro.codec");
		text_write(out, "null");
		long_write(out, 0);
		rc = known ? avro_blocks(*file, out, codec, &packed, &raw) : -ENOTSUP;
		rc = swap(file, out, rc, path, err);
	}
	free(schema);
	free(codec);
	codec_bytes_free(&packed);
	codec_bytes_free(&raw);
	return rc;
}
