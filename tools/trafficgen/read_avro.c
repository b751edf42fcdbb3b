/* Reads Avro container files of Flume's avro_event serializer: record Event { map<bytes> or map<string> headers; bytes body }.
 * Written apart from the sink's writer on purpose: verify is to be a stranger to it. */
#include <errno.h>
#include <snappy-c.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "tools/trafficgen/read.h"

#define BLOCK_BYTES_MAX (UINT64_C(1) << 30)
#define SYNC_BYTES 16

struct cursor {
	const uint8_t *at, *end;
	bool torn;			/* read past the end */
};

static int64_t
read_long(struct cursor *cursor)
{
	uint64_t value = 0;
	for (unsigned shift = 0; shift < 64; shift += 7) {
		if (cursor->at == cursor->end)
			break;
		uint8_t byte = *cursor->at++;
		value |= (uint64_t)(byte & 127) << shift;
		if (byte < 128)
			return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
	}
	cursor->torn = true;
	return 0;
}

static const uint8_t *
read_bytes(struct cursor *cursor, size_t *len)
{
	int64_t n = read_long(cursor);
	if (cursor->torn || n < 0 || n > cursor->end - cursor->at) {
		cursor->torn = true;
		*len = 0;
		return NULL;
	}
	const uint8_t *bytes = cursor->at;
	cursor->at += n;
	*len = (size_t)n;
	return bytes;
}

/* Calls nothing for headers; `codec` takes avro.codec of the file's own map when given. */
static void
read_map(struct cursor *cursor, char *codec, size_t codec_room)
{
	for (;;) {
		int64_t n = read_long(cursor);
		if (n < 0) {
			(void)read_long(cursor);	/* bytes of the block */
			n = n == INT64_MIN ? 0 : -n;
		}
		if (n == 0 || cursor->torn)
			return;
		for (; n > 0 && !cursor->torn; n--) {
			size_t key_len, len;
			const uint8_t *key = read_bytes(cursor, &key_len), *value = read_bytes(cursor, &len);
			if (codec && value && key_len == 10 && memcmp(key, "avro.codec", 10) == 0 && len < codec_room) {
				memcpy(codec, value, len);
				codec[len] = 0;
			}
		}
	}
}

/* The block's bytes as they were before the codec; *own tells whether to free them. NULL: cannot be. */
static uint8_t *
unpack(const char *codec, const uint8_t *bytes, size_t len, size_t *out_len)
{
	uint8_t *out = NULL;
	if (strcmp(codec, "snappy") == 0) {
		if (len < 4 || snappy_uncompressed_length((const char *)bytes, len - 4, out_len) != SNAPPY_OK || *out_len > BLOCK_BYTES_MAX)
			return NULL;
		out = malloc(*out_len + 1);
		const uint8_t *sum = bytes + len - 4;
		uint32_t crc = (uint32_t)sum[0] << 24 | (uint32_t)sum[1] << 16 | (uint32_t)sum[2] << 8 | sum[3];
		if (!out || snappy_uncompress((const char *)bytes, len - 4, (char *)out, out_len) != SNAPPY_OK || crc32(0, out, (uInt)*out_len) != crc) {
			free(out);
			return NULL;
		}
		return out;
	}
	z_stream stream = { .next_in = (Bytef *)(uintptr_t)bytes, .avail_in = (uInt)len };
	size_t room = len * 4 + 4096;
	if (inflateInit2(&stream, -15) != Z_OK)
		return NULL;
	*out_len = 0;
	for (;;) {
		uint8_t *more = room > BLOCK_BYTES_MAX ? NULL : realloc(out, room);
		if (!more)
			break;
		out = more;
		stream.next_out = out + *out_len;
		stream.avail_out = (uInt)(room - *out_len);
		int rc = inflate(&stream, Z_NO_FLUSH);
		*out_len = room - stream.avail_out;
		if (rc == Z_STREAM_END) {
			inflateEnd(&stream);
			return out;
		}
		if (rc != Z_OK)
			break;
		room *= 2;
	}
	inflateEnd(&stream);
	free(out);
	return NULL;
}

int
read_avro(struct ledger *ledger, const char *path, const uint8_t *bytes, size_t len, struct err *err)
{
	struct cursor file = { bytes + 4, bytes + len, false };
	char codec[32] = "null";
	read_map(&file, codec, sizeof codec);
	if (file.torn || file.end - file.at < SYNC_BYTES)
		return err_set(err, EINVAL, "%s: the Avro header is torn", path);
	if (strcmp(codec, "null") != 0 && strcmp(codec, "deflate") != 0 && strcmp(codec, "snappy") != 0)
		return err_set(err, EINVAL, "%s: avro.codec: %s: null, deflate and snappy can be read", path, codec);
	const uint8_t *sync = file.at;
	file.at += SYNC_BYTES;
	while (file.at < file.end) {
		size_t block_len, out_len;
		int64_t count = read_long(&file);
		const uint8_t *block = read_bytes(&file, &block_len);
		if (file.torn || file.end - file.at < SYNC_BYTES)
			return 0;	/* the torn end of a run that was killed: what it held was not settled */
		if (memcmp(file.at, sync, SYNC_BYTES) != 0)
			return err_set(err, EINVAL, "%s: no sync marker at byte %td", path, file.at - bytes);
		file.at += SYNC_BYTES;
		uint8_t *own = NULL;
		struct cursor data = { block, block + block_len, false };
		if (strcmp(codec, "null") != 0) {
			own = unpack(codec, block, block_len, &out_len);
			if (!own)
				return err_set(err, EINVAL, "%s: block at byte %td does not unpack (%s)", path, block - bytes, codec);
			data = (struct cursor){ own, own + out_len, false };
		}
		for (; count > 0 && !data.torn; count--) {
			size_t body_len;
			read_map(&data, NULL, 0);
			const uint8_t *body = read_bytes(&data, &body_len);
			if (body)
				ledger_note(ledger, body, (uint32_t)body_len);
		}
		free(own);
		if (data.torn)
			return err_set(err, EINVAL, "%s: block at byte %td ends in the middle of an event", path, block - bytes);
	}
	return 0;
}
