#include "sinks/format/avro_file.h"

#include <assert.h>
#include <errno.h>
#include <snappy-c.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <zlib.h>

#include "sinks/format/avro.h"
#include "sinks/format/hadoop_codec.h"

struct avro_file {
	const char *schema;
	enum avro_codec codec;
	uint32_t sync_interval_bytes;
	uint8_t sync[16];
	uint8_t *data;			/* the running block, not compressed */
	size_t used, room;
	uint64_t count;			/* data in it */
	uint8_t *packed;		/* the block compressed */
	size_t packed_room;
	z_stream deflate;
	struct hadoop_codec *other;	/* bzip2, zstandard */
	struct codec_bytes other_bytes;
};

static const char *const codec_name[] = { [AVRO_NULL] = "null", [AVRO_DEFLATE] = "deflate", [AVRO_SNAPPY] = "snappy", [AVRO_BZIP2] = "bzip2",
					[AVRO_ZSTD] = "zstandard" };

int
avro_file_new(struct avro_file **made, const char *schema, enum avro_codec codec, uint32_t sync_interval_bytes)
{
	struct avro_file *file = calloc(1, sizeof *file);
	if (!file)
		return -ENOMEM;
	file->schema = schema;
	file->codec = codec;
	file->sync_interval_bytes = sync_interval_bytes;
	if (codec == AVRO_DEFLATE && deflateInit2(&file->deflate, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
		free(file);
		return -ENOMEM;
	}
	if (codec >= AVRO_BZIP2 && !(file->other = hadoop_codec_new(codec == AVRO_ZSTD ? CODEC_ZSTD : CODEC_BZIP2))) {
		free(file);
		return -ENOMEM;
	}
	*made = file;
	return 0;
}

void
avro_file_free(struct avro_file *file)
{
	if (!file)
		return;
	if (file->codec == AVRO_DEFLATE)
		deflateEnd(&file->deflate);
	hadoop_codec_free(file->other);
	codec_bytes_free(&file->other_bytes);
	free(file->data);
	free(file->packed);
	free(file);
}

static int
put_bytes(struct out *out, const void *bytes, size_t len)
{
	uint8_t number[AVRO_LONG_BYTES];
	out_copy(out, number, avro_long(number, (int64_t)len));
	return out_copy(out, bytes, len);
}

int
avro_file_begin(struct avro_file *file, struct out *out)
{
	file->used = 0;
	file->count = 0;
	if (getrandom(file->sync, sizeof file->sync, 0) != sizeof file->sync)
		return -EIO;
	const char *codec = codec_name[file->codec];
	out_copy(out, "Obj\x01\x04", 5);	/* magic, and a map of 2 */
	put_bytes(out, "avro.schema", 11);
	put_bytes(out, file->schema, strlen(file->schema));
	put_bytes(out, "avro.codec", 10);
	put_bytes(out, codec, strlen(codec));
	out_copy(out, "", 1);
	return out_copy(out, file->sync, sizeof file->sync);
}

uint8_t *
avro_file_room(struct avro_file *file, size_t bytes)
{
	if (file->room - file->used < bytes) {
		size_t room = file->used + bytes + file->room / 2 + 4096;
		uint8_t *grown = realloc(file->data, room);
		if (!grown)
			return NULL;
		file->data = grown;
		file->room = room;
	}
	return file->data + file->used;
}

int
avro_file_put(struct avro_file *file, struct out *out, size_t used)
{
	assert(used <= file->room - file->used);
	file->used += used;
	file->count++;
	return file->used >= file->sync_interval_bytes ? avro_file_flush(file, out) : 0;
}

/* The block's bytes as they go into the file. */
static int
block_pack(struct avro_file *file, const uint8_t **bytes, size_t *len)
{
	if (file->codec == AVRO_NULL) {
		*bytes = file->data;
		*len = file->used;
		return 0;
	}
	if (file->other) {
		file->other_bytes.len = 0;
		int rc = hadoop_codec_put(file->other, file->data, file->used, true, &file->other_bytes);
		*bytes = file->other_bytes.bytes;
		*len = file->other_bytes.len;
		return rc;
	}
	size_t need = file->codec == AVRO_SNAPPY ? snappy_max_compressed_length(file->used) + 4 : deflateBound(&file->deflate, file->used) + 16;
	if (need > file->packed_room) {
		uint8_t *grown = realloc(file->packed, need);
		if (!grown)
			return -ENOMEM;
		file->packed = grown;
		file->packed_room = need;
	}
	*bytes = file->packed;
	if (file->codec == AVRO_SNAPPY) {
		size_t n = file->packed_room;
		if (snappy_compress((const char *)file->data, file->used, (char *)file->packed, &n) != SNAPPY_OK)
			return -EIO;
		uint32_t crc = (uint32_t)crc32_z(0, file->data, file->used);
		for (int i = 0; i < 4; i++)
			file->packed[n++] = (uint8_t)(crc >> (24 - 8 * i));
		*len = n;
		return 0;
	}
	z_stream *z = &file->deflate;
	if (deflateReset(z) != Z_OK || file->used > UINT32_MAX || file->packed_room > UINT32_MAX)
		return -EIO;
	z->next_in = file->data;
	z->avail_in = (uInt)file->used;
	z->next_out = file->packed;
	z->avail_out = (uInt)file->packed_room;
	if (deflate(z, Z_FINISH) != Z_STREAM_END)
		return -EIO;
	*len = file->packed_room - z->avail_out;
	return 0;
}

int
avro_file_flush(struct avro_file *file, struct out *out)
{
	if (!file->count)
		return 0;
	const uint8_t *bytes;
	size_t len;
	int rc = block_pack(file, &bytes, &len);
	if (rc)
		return rc;
	uint8_t number[AVRO_LONG_BYTES];
	out_copy(out, number, avro_long(number, (int64_t)file->count));
	put_bytes(out, bytes, len);
	file->used = 0;
	file->count = 0;
	return out_copy(out, file->sync, sizeof file->sync);
}
