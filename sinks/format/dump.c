#include "sinks/format/dump.h"

#include <stdio.h>
#include <string.h>

#include "sinks/format/headers.h"

#define ROW_BYTES 16u
#define ROW_CHARACTERS (8u + 3 * ROW_BYTES + 1 + ROW_BYTES + 1)

static size_t
put_text(char *to, const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		to[i] = bytes[i] < ' ' || bytes[i] == 127 ? '.' : (char)bytes[i];
	return len;
}

long
event_dump(const struct event_view *event, uint32_t max_body_bytes, char **text, size_t *room)
{
	struct header_view few[16], *headers = few, *many = NULL;
	uint32_t many_room = 0;
	uint32_t count = event_view_headers(event, few, 16);
	if (count > 16) {
		if (headers_all(event, &many, &many_room, &count))
			return -ENOMEM;
		headers = many;
	}
	uint32_t body_len = event->body_len < max_body_bytes ? event->body_len : max_body_bytes;
	size_t need = 64 + ((size_t)body_len / ROW_BYTES + 1) * ROW_CHARACTERS;
	for (uint32_t i = 0; i < count; i++)
		need += headers[i].name_len + (headers[i].bytes ? headers[i].len : 24) + 3;
	if (need > *room) {
		char *grown = realloc(*text, need);
		if (!grown) {
			free(many);
			return -ENOMEM;
		}
		*text = grown;
		*room = need;
	}
	char *p = *text;
	p = stpcpy(p, "{ headers:{");
	for (uint32_t i = 0; i < count; i++) {
		char digits[24];
		const uint8_t *value;
		uint32_t len = header_view_text(&headers[i], digits, &value);
		if (i)
			p = stpcpy(p, ", ");
		p += put_text(p, (const uint8_t *)headers[i].name, headers[i].name_len);
		*p++ = '=';
		p += put_text(p, value, len);
	}
	p = stpcpy(p, "} body:");
	for (uint32_t row = 0; row < body_len; row += ROW_BYTES) {
		uint32_t n = body_len - row < ROW_BYTES ? body_len - row : ROW_BYTES;
		if (row)
			p += snprintf(p, 10, "\n%08X", row);
		for (uint32_t i = 0; i < ROW_BYTES; i++)
			p += i < n ? snprintf(p, 4, " %02X", event->body[row + i]) : snprintf(p, 4, "   ");
		*p++ = ' ';
		for (uint32_t i = 0; i < n; i++) {
			uint8_t byte = event->body[row + i];
			*p++ = byte < 32 || byte > 126 ? '.' : (char)byte;
		}
	}
	p = stpcpy(p, " }");
	free(many);
	return p - *text;
}
