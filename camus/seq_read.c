#include "camus/seq_read.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define SYNC_BYTES 16u
#define UNPACKED_MAX (256u << 20)	/* keys of one block: a stranger's file is not to take all memory */

struct reader {
	const uint8_t *bytes, *at, *end;
	bool bad;
};

static const uint8_t *
take(struct reader *reader, uint64_t len)
{
	if (reader->bad || len > (uint64_t)(reader->end - reader->at)) {
		reader->bad = true;
		return NULL;
	}
	const uint8_t *bytes = reader->at;
	reader->at += len;
	return bytes;
}

static uint32_t
number_take(struct reader *reader)
{
	const uint8_t *big = take(reader, 4);
	return big ? (uint32_t)big[0] << 24 | (uint32_t)big[1] << 16 | (uint32_t)big[2] << 8 | big[3] : 0;
}

/* Hadoop's vint; lengths only, so not below 0. */
static uint64_t
length_take(struct reader *reader)
{
	const uint8_t *first = take(reader, 1);
	int8_t head = first ? (int8_t)*first : 0;
	if (head >= 0)
		return (uint64_t)head;
	if (head >= -112 || head < -120) {
		reader->bad = true;
		return 0;
	}
	uint64_t number = 0;
	unsigned count = (unsigned)(-112 - head);
	const uint8_t *big = take(reader, count);
	for (unsigned i = 0; big && i < count; i++)
		number = number << 8 | big[i];
	return number;
}

static bool
text_is(struct reader *reader, const char *want, char *got, size_t room)
{
	uint64_t len = length_take(reader);
	const uint8_t *text = take(reader, len);
	size_t copied = text ? len < room ? (size_t)len : room - 1 : 0;
	if (copied)
		memcpy(got, text, copied);
	got[copied] = '\0';
	return text && strcmp(got, want) == 0;
}

/* zlib's format or gzip's. Free *out. */
static int
unpack(const uint8_t *bytes, uint64_t len, uint8_t **out, size_t *out_len)
{
	z_stream z = { .next_in = (Bytef *)bytes, .avail_in = (uInt)len };
	size_t room = 0;
	int rc = inflateInit2(&z, 15 + 32);
	*out = NULL;
	*out_len = 0;
	if (rc != Z_OK)
		return -ENOMEM;
	while (rc == Z_OK) {
		if (*out_len == room) {
			room = room ? room * 2 : 4096;
			uint8_t *grown = room <= UNPACKED_MAX ? realloc(*out, room) : NULL;
			if (!grown)
				break;
			*out = grown;
		}
		z.next_out = *out + *out_len;
		z.avail_out = (uInt)(room - *out_len);
		rc = inflate(&z, Z_NO_FLUSH);
		*out_len = room - z.avail_out;
	}
	inflateEnd(&z);
	if (rc == Z_STREAM_END)
		return 0;
	free(*out);
	*out = NULL;
	return -EBADMSG;
}

static int
block_read(struct reader *reader, seq_key *each, void *context, struct err *err)
{
	uint64_t records = length_take(reader);
	uint8_t *parts[2] = { NULL };
	size_t lens[2] = { 0 };
	int rc = 0;
	for (int i = 0; i < 4 && !rc; i++) {	/* key lengths, keys, value lengths, values */
		uint64_t len = length_take(reader);
		const uint8_t *packed = take(reader, len);
		if (!packed || len > UINT32_MAX)
			rc = -EBADMSG;
		else if (i < 2)
			rc = unpack(packed, len, &parts[i], &lens[i]);
	}
	struct reader lengths = { parts[0], parts[0], parts[0] + lens[0], false }, keys = { parts[1], parts[1], parts[1] + lens[1], false };
	for (; !rc && records; records--) {
		uint64_t len = length_take(&lengths);
		const uint8_t *key = take(&keys, len);
		rc = lengths.bad || !key ? -EBADMSG : each(context, key, (size_t)len, err);
	}
	free(parts[0]);
	free(parts[1]);
	return rc;
}

int
seq_read_keys(const uint8_t *bytes, size_t len, const char *key_class, seq_key *each, void *context, struct err *err)
{
	struct reader reader = { bytes, bytes, bytes + len, false };
	char text[256];
	const uint8_t *magic = take(&reader, 4);
	if (!magic || memcmp(magic, "SEQ", 3) != 0)
		return err_set(err, EBADMSG, "no SequenceFile");
	if (magic[3] != 6)
		return err_set(err, ENOTSUP, "a SequenceFile of version %u, only 6 is known", magic[3]);
	if (!text_is(&reader, key_class, text, sizeof text))
		return err_set(err, EBADMSG, "its keys are of the class \"%s\", not %s", text, key_class);
	text_is(&reader, "", text, sizeof text);
	const uint8_t *flags = take(&reader, 2);
	bool packed = flags && flags[0], blocks = flags && flags[1];
	if (packed) {
		text_is(&reader, "", text, sizeof text);
		if (blocks && strcmp(text, "org.apache.hadoop.io.compress.DefaultCodec") != 0 &&
		    strcmp(text, "org.apache.hadoop.io.compress.DeflateCodec") != 0 && strcmp(text, "org.apache.hadoop.io.compress.GzipCodec") != 0)
			return err_set(err, ENOTSUP, "blocks compressed by %s cannot be read here (DefaultCodec and GzipCodec can)", text);
	}
	for (uint64_t pairs = 2 * (uint64_t)number_take(&reader); pairs && !reader.bad; pairs--)
		text_is(&reader, "", text, sizeof text);
	const uint8_t *sync = take(&reader, SYNC_BYTES);
	int rc = reader.bad ? -EBADMSG : 0;
	while (!rc && reader.at < reader.end) {
		uint32_t record = number_take(&reader);
		if (record == UINT32_MAX) {
			const uint8_t *mark = take(&reader, SYNC_BYTES);
			if (!mark || memcmp(mark, sync, SYNC_BYTES) != 0)
				rc = -EBADMSG;
			else if (blocks)
				rc = block_read(&reader, each, context, err);
			continue;
		}
		uint32_t key_len = number_take(&reader);
		const uint8_t *key = key_len <= record ? take(&reader, record) : NULL;
		rc = blocks || !key ? -EBADMSG : each(context, key, key_len, err);
	}
	if (rc == -EBADMSG && (!err || !err->text[0]))
		err_set(err, EBADMSG, "broken or cut at byte %zu of %zu", (size_t)(reader.at - bytes), len);
	return rc;
}
