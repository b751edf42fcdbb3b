#include "sinks/format/avro.h"

#include <string.h>

#include "sinks/format/headers.h"

int
avro_event_look(struct avro_event *look, const struct event_view *event)
{
	if (headers_all(event, &look->headers, &look->room, &look->count))
		return -ENOMEM;
	size_t bytes = 3 * AVRO_LONG_BYTES + event->body_len;
	for (uint32_t i = 0; i < look->count; i++) {
		const struct header_view *header = &look->headers[i];
		bytes += 2 * AVRO_LONG_BYTES + header->name_len + (header->bytes ? header->len : 24);
	}
	look->bytes = bytes;
	return 0;
}

size_t
avro_event_write(const struct avro_event *look, const struct event_view *event, uint8_t *to)
{
	uint8_t *p = to;
	if (look->count) {
		p += avro_long(p, look->count);
		for (uint32_t i = 0; i < look->count; i++) {
			const struct header_view *header = &look->headers[i];
			char digits[24];
			const uint8_t *text;
			p += avro_long(p, header->name_len);
			memcpy(p, header->name, header->name_len);
			p += header->name_len;
			uint32_t len = header_view_text(header, digits, &text);
			p += avro_long(p, len);
			if (len)
				memcpy(p, text, len);
			p += len;
		}
	}
	*p++ = 0;	/* end of the map */
	p += avro_long(p, event->body_len);
	if (event->body_len)
		memcpy(p, event->body, event->body_len);
	p += event->body_len;
	return (size_t)(p - to);
}

void
avro_event_free(struct avro_event *look)
{
	free(look->headers);
	*look = (struct avro_event){ 0 };
}
