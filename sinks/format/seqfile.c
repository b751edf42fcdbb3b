#include "sinks/format/seqfile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define SYNC_BYTES 16u
#define SYNC_INTERVAL (5 * 1024 * 20)		/* Hadoop 3's */
#define BLOCK_BYTES 1000000u			/* io.seqfile.compress.blocksize */

struct seqfile {
	const char *key_class, *value_class;
	enum seq_compression compression;
	enum hadoop_codec_kind kind;
	struct hadoop_codec *codec;
	uint8_t sync[SYNC_BYTES];
	uint64_t last_sync;			/* position behind it */
	struct codec_bytes parts[4];		/* SEQ_BLOCK: key lengths, keys, value lengths, values */
	struct codec_bytes packed;
	uint32_t records;
};
enum { KEY_LENGTHS, KEYS, VALUE_LENGTHS, VALUES };

uint32_t
seq_vint(uint8_t *to, int64_t number)
{
	if (number >= -112 && number <= 127) {
		to[0] = (uint8_t)number;
		return 1;
	}
	uint64_t bits = number < 0 ? ~(uint64_t)number : (uint64_t)number;
	uint32_t len = 0;
	for (uint64_t rest = bits; rest; rest >>= 8)
		len++;
	to[0] = (uint8_t)(number < 0 ? -120 - (int)len : -112 - (int)len);
	for (uint32_t i = 0; i < len; i++)
		to[1 + i] = (uint8_t)(bits >> (8 * (len - 1 - i)));
	return len + 1;
}

int
seqfile_new(struct seqfile **made, const char *key_class, const char *value_class, enum seq_compression compression, enum hadoop_codec_kind kind)
{
	struct seqfile *file = calloc(1, sizeof *file);
	if (!file)
		return -ENOMEM;
	*file = (struct seqfile){ .key_class = key_class, .value_class = value_class, .compression = compression, .kind = kind };
	if (compression != SEQ_NONE && !(file->codec = hadoop_codec_new(kind))) {
		free(file);
		return -ENOMEM;
	}
	*made = file;
	return 0;
}

void
seqfile_free(struct seqfile *file)
{
	if (!file)
		return;
	hadoop_codec_free(file->codec);
	for (int i = 0; i < 4; i++)
		codec_bytes_free(&file->parts[i]);
	codec_bytes_free(&file->packed);
	free(file);
}

static void
number_put(uint8_t *to, uint32_t number)
{
	for (int i = 0; i < 4; i++)
		to[i] = (uint8_t)(number >> (24 - 8 * i));
}

static int
text_put(struct out *out, const char *text)
{
	uint8_t number[9];
	out_copy(out, number, seq_vint(number, (int64_t)strlen(text)));
	return out_copy(out, text, strlen(text));
}

int
seqfile_begin(struct seqfile *file, struct out *out)
{
	uint8_t flags[2] = { file->compression != SEQ_NONE, file->compression == SEQ_BLOCK };
	static const uint8_t none[4];
	if (getrandom(file->sync, sizeof file->sync, 0) != sizeof file->sync)
		return -EIO;
	file->records = 0;
	file->last_sync = 0;
	for (int i = 0; i < 4; i++)
		file->parts[i].len = 0;
	out_copy(out, "SEQ\x06", 4);
	text_put(out, file->key_class);
	text_put(out, file->value_class);
	out_copy(out, flags, 2);
	if (flags[0])
		text_put(out, hadoop_codec_class(file->kind));
	out_copy(out, none, sizeof none);
	return out_copy(out, file->sync, sizeof file->sync);
}

static int
sync_put(struct seqfile *file, struct out *out)
{
	static const uint8_t escape[4] = { 0xff, 0xff, 0xff, 0xff };
	out_copy(out, escape, sizeof escape);
	int rc = out_copy(out, file->sync, sizeof file->sync);
	file->last_sync = out_position(out);
	return rc;
}

static int
part_add(struct codec_bytes *part, const void *bytes, size_t len)
{
	if (part->room - part->len < len) {
		size_t room = part->room * 2 > part->len + len ? part->room * 2 : part->len + len + 4096;
		uint8_t *grown = realloc(part->bytes, room);
		if (!grown)
			return -ENOMEM;
		part->bytes = grown;
		part->room = room;
	}
	if (len)
		memcpy(part->bytes + part->len, bytes, len);
	part->len += len;
	return 0;
}

int
seqfile_flush(struct seqfile *file, struct out *out)
{
	if (file->compression != SEQ_BLOCK && file->last_sync != out_position(out))
		return sync_put(file, out);	/* a place from where readers can begin, as Flume's flush */
	if (!file->records)
		return out->error;
	uint8_t number[9];
	int rc = sync_put(file, out);
	out_copy(out, number, seq_vint(number, file->records));
	for (int i = 0; !rc && i < 4; i++) {
		file->packed.len = 0;
		rc = hadoop_codec_put(file->codec, file->parts[i].bytes, file->parts[i].len, true, &file->packed);
		out_copy(out, number, seq_vint(number, (int64_t)file->packed.len));
		if (!rc)
			rc = out_copy(out, file->packed.bytes, file->packed.len);
		file->parts[i].len = 0;
	}
	file->records = 0;
	return rc;
}

int
seqfile_put(struct seqfile *file, struct out *out, const void *key, size_t key_len, const void *head, size_t head_len, const void *value, size_t len)
{
	uint8_t number[9];
	int rc = 0;
	if (key_len > INT32_MAX / 2 || len > INT32_MAX / 2)
		return -EMSGSIZE;
	if (file->compression == SEQ_BLOCK) {
		rc = part_add(&file->parts[KEY_LENGTHS], number, seq_vint(number, (int64_t)key_len));
		rc = rc ? rc : part_add(&file->parts[KEYS], key, key_len);
		rc = rc ? rc : part_add(&file->parts[VALUE_LENGTHS], number, seq_vint(number, (int64_t)(head_len + len)));
		rc = rc ? rc : part_add(&file->parts[VALUES], head, head_len);
		rc = rc ? rc : part_add(&file->parts[VALUES], value, len);
		if (rc)
			return rc;
		file->records++;
		return file->parts[KEYS].len + file->parts[VALUES].len >= BLOCK_BYTES ? seqfile_flush(file, out) : 0;
	}
	if (out_position(out) >= file->last_sync + SYNC_INTERVAL && (rc = sync_put(file, out)))
		return rc;
	uint8_t lengths[8];
	size_t value_len = head_len + len;
	if (file->compression == SEQ_RECORD) {
		file->packed.len = 0;
		rc = hadoop_codec_put(file->codec, head, head_len, false, &file->packed);
		rc = rc ? rc : hadoop_codec_put(file->codec, value, len, true, &file->packed);
		if (rc)
			return rc;
		value_len = file->packed.len;
	}
	number_put(lengths, (uint32_t)(key_len + value_len));
	number_put(lengths + 4, (uint32_t)key_len);
	out_copy(out, lengths, sizeof lengths);
	out_copy(out, key, key_len);
	if (file->compression == SEQ_RECORD)
		return out_copy(out, file->packed.bytes, file->packed.len);
	out_copy(out, head, head_len);
	return out_refer(out, value, len, false);
}
