/* file_note: what the hdfs sink keeps in a ledger about one file: its key, and its own bytes of the consumer record (docs/ringlog-format.md). Here, so
 * that tools which know no sinks can say what stands there.
 *
 * Key: "hdfs" 0 "f" 0 sink 0 file number (8 bytes, big-endian). Bytes: u8 1, u8 exactly once, u64 file id, u64 length (little-endian), then service,
 * in-use path, final path, each with its 0. */
#ifndef PENSTOCK_CHANNEL_FILE_NOTE_H
#define PENSTOCK_CHANNEL_FILE_NOTE_H

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define FILE_NOTE_KEY "hdfs\0f\0"
#define FILE_NOTE_KEY_LEN 7u
#define FILE_NOTE_HEAD 18u

struct file_note {
	bool exactly_once;
	uint64_t file_id, length;
	const char *service, *in_use, *final;
};

/* False: it is no such note. Points into the bytes. */
static inline bool
file_note_read(const uint8_t *bytes, uint32_t len, struct file_note *note)
{
	const char *at = (const char *)bytes + FILE_NOTE_HEAD, *end = (const char *)bytes + len, *text[3];
	if (len < FILE_NOTE_HEAD + 3 || bytes[0] != 1)
		return false;
	for (int i = 0; i < 3; i++) {
		text[i] = at;
		at = at < end ? (const char *)memchr(at, 0, (size_t)(end - at)) : NULL;
		if (!at)
			return false;
		at++;
	}
	uint64_t id, length;
	memcpy(&id, bytes + 2, 8);
	memcpy(&length, bytes + 10, 8);
	*note = (struct file_note){ bytes[1] != 0, le64toh(id), le64toh(length), text[0], text[1], text[2] };
	return true;
}

/* The owner's name and the file's number of such a key; false: it is another one. */
static inline bool
file_note_key(const uint8_t *key, uint32_t len, const char **sink, uint32_t *sink_len, uint64_t *number)
{
	uint64_t big;
	if (len < FILE_NOTE_KEY_LEN + 9 || memcmp(key, FILE_NOTE_KEY, FILE_NOTE_KEY_LEN) != 0 || key[len - 9])
		return false;
	memcpy(&big, key + len - 8, 8);
	*sink = (const char *)key + FILE_NOTE_KEY_LEN;
	*sink_len = len - FILE_NOTE_KEY_LEN - 9;
	*number = be64toh(big);
	return true;
}

#endif
