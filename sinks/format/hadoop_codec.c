#include "sinks/format/hadoop_codec.h"

#include <bzlib.h>
#include <errno.h>
#include <lz4.h>
#include <snappy-c.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>
#include <zstd.h>

#define BLOCK_BYTES (128u << 10)	/* raw bytes of a snappy or lz4 block: Hadoop's readers have room for 256 KiB */
#define GROW_BYTES (64u << 10)

struct hadoop_codec {
	enum hadoop_codec_kind kind;
	bool open;
	z_stream z;
	bz_stream bz;
	ZSTD_CStream *zstd;
	uint8_t *block;			/* snappy, lz4: raw bytes that wait */
	size_t waiting;
};

static const struct {
	enum hadoop_codec_kind kind;
	const char *name, *suffix;
} codecs[] = {
	{ CODEC_DEFLATE, "DefaultCodec", ".deflate" },	{ CODEC_DEFLATE, "DeflateCodec", ".deflate" },	{ CODEC_GZIP, "GzipCodec", ".gz" },
	{ CODEC_BZIP2, "BZip2Codec", ".bz2" },		{ CODEC_SNAPPY, "SnappyCodec", ".snappy" },	{ CODEC_LZ4, "Lz4Codec", ".lz4" },
	{ CODEC_ZSTD, "ZStandardCodec", ".zst" },
};
#define PACKAGE "org.apache.hadoop.io.compress."

int
hadoop_codec_find(const char *name, enum hadoop_codec_kind *kind, struct err *err)
{
	const char *simple = strncmp(name, PACKAGE, sizeof PACKAGE - 1) == 0 ? name + sizeof PACKAGE - 1 : name;
	if (strcasecmp(name, "None") == 0) {
		*kind = CODEC_NONE;
		return 0;
	}
	if (strcasecmp(name, "zstd") == 0) {
		*kind = CODEC_ZSTD;
		return 0;
	}
	for (size_t i = 0; i < sizeof codecs / sizeof *codecs; i++) {
		size_t len = strlen(codecs[i].name) - 5;
		if (strcasecmp(simple, codecs[i].name) == 0 || (strlen(simple) == len && strncasecmp(simple, codecs[i].name, len) == 0)) {
			*kind = codecs[i].kind;
			return 0;
		}
	}
	if (strcasestr(name, "lzo"))
		return err_set(err, ENOTSUP, "codec \"%s\" is not supported (its library's licence keeps it out): use lz4, snappy or zstd", name);
	return err_set(err, EINVAL, "codec \"%s\" is not known: use gzip, bzip2, snappy, lz4, zstd or deflate", name);
}

const char *
hadoop_codec_class(enum hadoop_codec_kind kind)
{
	static const char *const names[] = {
		[CODEC_NONE] = "", [CODEC_DEFLATE] = PACKAGE "DefaultCodec", [CODEC_GZIP] = PACKAGE "GzipCodec", [CODEC_BZIP2] = PACKAGE "BZip2Codec",
		[CODEC_SNAPPY] = PACKAGE "SnappyCodec", [CODEC_LZ4] = PACKAGE "Lz4Codec", [CODEC_ZSTD] = PACKAGE "ZStandardCodec",
	};
	return names[kind];
}

const char *
hadoop_codec_suffix(enum hadoop_codec_kind kind)
{
	for (size_t i = 0; i < sizeof codecs / sizeof *codecs; i++) {
		if (codecs[i].kind == kind)
			return codecs[i].suffix;
	}
	return "";
}

void
codec_bytes_free(struct codec_bytes *bytes)
{
	free(bytes->bytes);
	*bytes = (struct codec_bytes){ 0 };
}

static uint8_t *
room_get(struct codec_bytes *to, size_t need)
{
	if (to->room - to->len < need) {
		size_t room = to->room * 2 > to->len + need ? to->room * 2 : to->len + need;
		uint8_t *grown = realloc(to->bytes, room);
		if (!grown)
			return NULL;
		to->bytes = grown;
		to->room = room;
	}
	return to->bytes + to->len;
}

struct hadoop_codec *
hadoop_codec_new(enum hadoop_codec_kind kind)
{
	struct hadoop_codec *codec = calloc(1, sizeof *codec);
	if (!codec)
		return NULL;
	codec->kind = kind;
	bool ok = true;
	if (kind == CODEC_GZIP || kind == CODEC_DEFLATE)
		ok = deflateInit2(&codec->z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, kind == CODEC_GZIP ? 31 : 15, 8, Z_DEFAULT_STRATEGY) == Z_OK;
	else if (kind == CODEC_ZSTD)
		ok = (codec->zstd = ZSTD_createCStream()) != NULL;
	else if (kind == CODEC_SNAPPY || kind == CODEC_LZ4)
		ok = (codec->block = malloc(BLOCK_BYTES)) != NULL;
	if (!ok) {
		free(codec);
		return NULL;
	}
	return codec;
}

void
hadoop_codec_free(struct hadoop_codec *codec)
{
	if (!codec)
		return;
	if (codec->kind == CODEC_GZIP || codec->kind == CODEC_DEFLATE)
		deflateEnd(&codec->z);
	if (codec->kind == CODEC_BZIP2 && codec->open)
		BZ2_bzCompressEnd(&codec->bz);
	ZSTD_freeCStream(codec->zstd);
	free(codec->block);
	free(codec);
}

bool
hadoop_codec_open(const struct hadoop_codec *codec)
{
	return codec->open;
}

static int
zlib_put(struct hadoop_codec *codec, const void *bytes, size_t len, bool finish, struct codec_bytes *to)
{
	z_stream *z = &codec->z;
	if (!codec->open && deflateReset(z) != Z_OK)
		return -EIO;
	const uint8_t *from = bytes;
	do {
		uInt part = len > (1u << 30) ? 1u << 30 : (uInt)len;
		z->next_in = (uint8_t *)from;
		z->avail_in = part;
		from += part;
		len -= part;
		int rc;
		do {
			if (!(z->next_out = room_get(to, GROW_BYTES)))
				return -ENOMEM;
			z->avail_out = GROW_BYTES;
			rc = deflate(z, finish && !len ? Z_FINISH : Z_NO_FLUSH);
			to->len += GROW_BYTES - z->avail_out;
			if (rc == Z_STREAM_ERROR)
				return -EIO;
		} while (z->avail_in || (finish && !len && rc != Z_STREAM_END));
	} while (len);
	return 0;
}

static int
bzip2_put(struct hadoop_codec *codec, const void *bytes, size_t len, bool finish, struct codec_bytes *to)
{
	bz_stream *bz = &codec->bz;
	if (!codec->open) {
		*bz = (bz_stream){ 0 };
		if (BZ2_bzCompressInit(bz, 9, 0, 0) != BZ_OK)
			return -ENOMEM;
		codec->open = true;
	}
	const char *from = bytes;
	int rc = BZ_OK;
	do {
		unsigned part = len > (1u << 30) ? 1u << 30 : (unsigned)len;
		bz->next_in = (char *)from;
		bz->avail_in = part;
		from += part;
		len -= part;
		do {
			if (!(bz->next_out = (char *)room_get(to, GROW_BYTES)))
				return -ENOMEM;
			bz->avail_out = GROW_BYTES;
			if (!bz->avail_in && !(finish && !len))
				break;
			rc = BZ2_bzCompress(bz, finish && !len ? BZ_FINISH : BZ_RUN);
			to->len += GROW_BYTES - bz->avail_out;
			if (rc < 0)
				return -EIO;
		} while (bz->avail_in || (finish && !len && rc != BZ_STREAM_END));
	} while (len);
	if (finish)
		BZ2_bzCompressEnd(bz);
	return 0;
}

static int
zstd_put(struct hadoop_codec *codec, const void *bytes, size_t len, bool finish, struct codec_bytes *to)
{
	if (!codec->open && ZSTD_isError(ZSTD_CCtx_reset(codec->zstd, ZSTD_reset_session_only)))
		return -EIO;
	ZSTD_inBuffer in = { bytes, len, 0 };
	size_t left;
	do {
		uint8_t *room = room_get(to, GROW_BYTES);
		if (!room)
			return -ENOMEM;
		ZSTD_outBuffer out = { room, GROW_BYTES, 0 };
		left = ZSTD_compressStream2(codec->zstd, &out, &in, finish ? ZSTD_e_end : ZSTD_e_continue);
		to->len += out.pos;
		if (ZSTD_isError(left))
			return -EIO;
	} while (in.pos < in.size || (finish && left));
	return 0;
}

static void
number_put(uint8_t *to, size_t number)
{
	for (int i = 0; i < 4; i++)
		to[i] = (uint8_t)(number >> (24 - 8 * i));
}

static int
block_end(struct hadoop_codec *codec, struct codec_bytes *to)
{
	if (!codec->waiting)
		return 0;
	bool snappy = codec->kind == CODEC_SNAPPY;
	size_t most = snappy ? snappy_max_compressed_length(codec->waiting) : (size_t)LZ4_compressBound((int)codec->waiting), len = most;
	uint8_t *room = room_get(to, most + 8);
	if (!room)
		return -ENOMEM;
	if (snappy) {
		if (snappy_compress((const char *)codec->block, codec->waiting, (char *)room + 8, &len) != SNAPPY_OK)
			return -EIO;
	} else {
		int n = LZ4_compress_default((const char *)codec->block, (char *)room + 8, (int)codec->waiting, (int)most);
		if (n <= 0)
			return -EIO;
		len = (size_t)n;
	}
	number_put(room, codec->waiting);
	number_put(room + 4, len);
	to->len += len + 8;
	codec->waiting = 0;
	return 0;
}

static int
block_put(struct hadoop_codec *codec, const void *bytes, size_t len, bool finish, struct codec_bytes *to)
{
	const uint8_t *from = bytes;
	int rc = 0;
	while (!rc && len) {
		size_t n = BLOCK_BYTES - codec->waiting < len ? BLOCK_BYTES - codec->waiting : len;
		memcpy(codec->block + codec->waiting, from, n);
		codec->waiting += n;
		from += n;
		len -= n;
		if (codec->waiting == BLOCK_BYTES)
			rc = block_end(codec, to);
	}
	return rc || !finish ? rc : block_end(codec, to);
}

int
hadoop_codec_put(struct hadoop_codec *codec, const void *bytes, size_t len, bool finish, struct codec_bytes *to)
{
	int rc = -EINVAL;
	switch (codec->kind) {
	case CODEC_DEFLATE: case CODEC_GZIP:
		rc = zlib_put(codec, bytes, len, finish, to);
		break;
	case CODEC_BZIP2:
		rc = bzip2_put(codec, bytes, len, finish, to);
		break;
	case CODEC_ZSTD:
		rc = zstd_put(codec, bytes, len, finish, to);
		break;
	case CODEC_SNAPPY: case CODEC_LZ4:
		rc = block_put(codec, bytes, len, finish, to);
		break;
	case CODEC_NONE:
		break;
	}
	codec->open = !finish;
	return rc;
}
