#include "camus/etl_key.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "sinks/format/seqfile.h"

/* Numbers of AbstractMapWritable for classes of its own. */
enum { MAP_BOOLEAN = -126, MAP_BYTES = -125, MAP_INT = -123, MAP_LONG = -122, MAP_NULL = -119, MAP_TEXT = -116 };

static void
number_put(struct text *to, uint64_t number, unsigned bytes)
{
	char big[8];
	for (unsigned i = 0; i < bytes; i++)
		big[i] = (char)(number >> (8 * (bytes - 1 - i)));
	text_add(to, big, bytes);
}

/* ASCII without a NUL is its own modified UTF-8; nothing else comes in names of topics and brokers. */
static void
utf_put(struct text *to, const char *text)
{
	size_t len = strlen(text);
	number_put(to, len, 2);
	text_add(to, text, len);
}

static void
map_text(struct text *to, const char *text)
{
	uint8_t vint[9];
	number_put(to, (uint8_t)MAP_TEXT, 1);
	text_add(to, (const char *)vint, seq_vint(vint, (int64_t)strlen(text)));
	text_add(to, text, strlen(text));
}

static void
map_bytes(struct text *to, const char *name, const void *bytes, size_t len)
{
	map_text(to, name);
	number_put(to, (uint8_t)MAP_BYTES, 1);
	number_put(to, len, 4);
	text_add(to, bytes, len);
}

void
etl_key_write(const struct etl_key *key, struct text *to)
{
	utf_put(to, "");
	number_put(to, (uint32_t)key->partition, 4);
	number_put(to, (uint64_t)key->begin, 8);
	number_put(to, (uint64_t)key->offset, 8);
	number_put(to, (uint64_t)key->checksum, 8);
	utf_put(to, key->topic);
	number_put(to, (uint64_t)key->time_ms, 8);
	utf_put(to, "");
	utf_put(to, "");
	number_put(to, 0, 1);
	number_put(to, 2 + (key->message_bytes > 0) + (key->key != NULL) + (key->payload != NULL), 4);
	map_text(to, "server");
	map_text(to, "unknown_server");
	map_text(to, "service");
	map_text(to, "unknown_service");
	if (key->message_bytes > 0) {
		map_text(to, "message.size");
		number_put(to, (uint8_t)MAP_LONG, 1);
		number_put(to, (uint64_t)key->message_bytes, 8);
	}
	if (key->key)
		map_bytes(to, "key", key->key, key->key_len);
	if (key->payload)
		map_bytes(to, "payload", key->payload, key->payload_len);
}

void
etl_request_write(const char *topic, const char *leader, int32_t partition, int64_t latest, struct text *to)
{
	utf_put(to, topic);
	utf_put(to, leader);
	utf_put(to, "");
	number_put(to, (uint32_t)partition, 4);
	number_put(to, 0, 8);
	number_put(to, (uint64_t)latest, 8);
}

struct cursor {
	const uint8_t *at, *end;
	bool bad;
};

static const uint8_t *
take(struct cursor *cursor, size_t len)
{
	if (cursor->bad || (size_t)(cursor->end - cursor->at) < len) {
		cursor->bad = true;
		return NULL;
	}
	const uint8_t *bytes = cursor->at;
	cursor->at += len;
	return bytes;
}

static uint64_t
number_take(struct cursor *cursor, unsigned bytes)
{
	const uint8_t *big = take(cursor, bytes);
	uint64_t number = 0;
	for (unsigned i = 0; big && i < bytes; i++)
		number = number << 8 | big[i];
	return number;
}

static size_t
utf_take(struct cursor *cursor, char *to, size_t room)
{
	size_t len = number_take(cursor, 2);
	const uint8_t *bytes = take(cursor, len);
	size_t copied = bytes && len < room ? len : 0;
	if (copied)
		memcpy(to, bytes, copied);
	if (room)
		to[copied] = '\0';
	return len;
}

static int64_t
vint_take(struct cursor *cursor)
{
	const uint8_t *first = take(cursor, 1);
	int8_t head = first ? (int8_t)*first : 0;
	if (head >= -112)
		return head;
	bool negative = head < -120;
	uint64_t bits = number_take(cursor, (unsigned)(negative ? -120 - head : -112 - head));
	return (int64_t)(negative ? ~bits : bits);
}

/* One value of a map; text: when it is one; number: when it is one. False: a class that is not known. */
static bool
value_take(struct cursor *cursor, char *text, size_t room, int64_t *number)
{
	*number = 0;
	if (room)
		*text = '\0';
	switch ((int8_t)number_take(cursor, 1)) {
	case MAP_TEXT: {
		int64_t len = vint_take(cursor);
		const uint8_t *bytes = len < 0 ? NULL : take(cursor, (size_t)len);
		if (bytes && (size_t)len < room) {
			memcpy(text, bytes, (size_t)len);
			text[len] = '\0';
		}
		return bytes != NULL;
	}
	case MAP_LONG:
		*number = (int64_t)number_take(cursor, 8);
		return true;
	case MAP_INT:
		*number = (int32_t)number_take(cursor, 4);
		return true;
	case MAP_BYTES:
		return take(cursor, number_take(cursor, 4)) != NULL;
	case MAP_BOOLEAN:
		return take(cursor, 1) != NULL;
	case MAP_NULL:
		return true;
	default:
		return false;
	}
}

int
etl_key_read(struct etl_key *key, const uint8_t *bytes, size_t len)
{
	struct cursor cursor = { bytes, bytes + len, false };
	char name[32];
	memset(key, 0, sizeof *key);
	utf_take(&cursor, NULL, 0);
	key->partition = (int32_t)number_take(&cursor, 4);
	key->begin = (int64_t)number_take(&cursor, 8);
	key->offset = (int64_t)number_take(&cursor, 8);
	key->checksum = (int64_t)number_take(&cursor, 8);
	size_t topic = utf_take(&cursor, key->topic, sizeof key->topic);
	key->time_ms = (int64_t)number_take(&cursor, 8);
	utf_take(&cursor, NULL, 0);
	utf_take(&cursor, NULL, 0);
	if (cursor.bad || topic == 0 || topic >= sizeof key->topic || strlen(key->topic) != topic || key->partition < 0 || key->offset < 0)
		return -EBADMSG;
	if (number_take(&cursor, 1) != 0 || cursor.bad)
		return 0;
	for (uint64_t entries = number_take(&cursor, 4); entries && !cursor.bad; entries--) {
		int64_t number;
		if (!value_take(&cursor, name, sizeof name, &number) || !value_take(&cursor, NULL, 0, &number))
			break;
		if (!cursor.bad && strcmp(name, "message.size") == 0)
			key->message_bytes = number;
	}
	return 0;
}
