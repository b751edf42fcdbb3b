/* avro: the few pieces of Avro's binary encoding an event needs (Avro 1.x, "Binary Encoding"). Any thread. */
#ifndef PENSTOCK_SINKS_FORMAT_AVRO_H
#define PENSTOCK_SINKS_FORMAT_AVRO_H

#include <stddef.h>
#include <stdint.h>

#include "channel/block.h"

#define AVRO_LONG_BYTES 10

/* Zigzag variable-length; returns the bytes used, at most AVRO_LONG_BYTES. */
static inline uint32_t
avro_long(uint8_t *to, int64_t value)
{
	uint64_t zigzag = ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
	uint32_t n = 0;
	while (zigzag >= 0x80) {
		to[n++] = (uint8_t)(zigzag | 0x80);
		zigzag >>= 7;
	}
	to[n++] = (uint8_t)zigzag;
	return n;
}

/* An event as {headers: map of string, body: bytes}, both in Flume's files and (as AvroFlumeEvent) in Kafka messages. */
struct avro_event {
	struct header_view *headers;
	uint32_t count, room;
	size_t bytes;			/* of the whole datum, an upper bound */
};

/* Looks at the event and works out the room it needs. 0 or -ENOMEM. */
int avro_event_look(struct avro_event *look, const struct event_view *event);
/* Writes the datum to `to` (look->bytes of room); returns its length. */
size_t avro_event_write(const struct avro_event *look, const struct event_view *event, uint8_t *to);
void avro_event_free(struct avro_event *look);

#endif
