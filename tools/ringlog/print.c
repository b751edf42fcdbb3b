/* print: events and other records as lines for eyes or as JSON. */
#include <inttypes.h>

#include "tools/ringlog/tool.h"

#define HEADERS_MAX 256u

/* Length of the UTF-8 character at `at`, 0 when it is none. */
static uint32_t
utf8_len(const uint8_t *at, const uint8_t *end)
{
	uint32_t len = *at < 0x80 ? 1 : *at >= 0xc2 && *at < 0xe0 ? 2 : (*at & 0xf0) == 0xe0 ? 3 : *at >= 0xf0 && *at < 0xf5 ? 4 : 0;
	if (!len || len > (size_t)(end - at))
		return 0;
	for (uint32_t i = 1; i < len; i++)
		if ((at[i] & 0xc0) != 0x80)
			return 0;
	if ((*at == 0xe0 && at[1] < 0xa0) || (*at == 0xed && at[1] > 0x9f) || (*at == 0xf0 && at[1] < 0x90) || (*at == 0xf4 && at[1] > 0x8f))
		return 0;
	return len;
}

static bool
is_utf8(const uint8_t *bytes, uint32_t len)
{
	const uint8_t *end = bytes + len;
	for (uint32_t n; bytes < end; bytes += n)
		if (!(n = utf8_len(bytes, end)))
			return false;
	return true;
}

/* Text as JSON wants it between quotes, or (json false) for eyes: what is not printable as \xHH. */
void
print_text(FILE *out, const uint8_t *bytes, uint32_t len, bool json)
{
	const uint8_t *end = bytes + len;
	while (bytes < end) {
		uint32_t n = utf8_len(bytes, end);
		if (*bytes == '\\' || (*bytes == '"' && json))
			putc('\\', out);
		if (*bytes == '\n')
			fputs("\\n", out);
		else if (n == 0 || *bytes < 0x20 || *bytes == 0x7f)
			fprintf(out, json ? "\\u%04x" : "\\x%02x", *bytes);
		else
			fwrite(bytes, 1, n, out);
		bytes += n ? n : 1;
	}
}

void
print_json(FILE *out, const char *name, uint32_t name_len, const uint8_t *bytes, uint32_t len)
{
	bool text = is_utf8(bytes, len);
	putc('"', out);
	print_text(out, (const uint8_t *)name, name_len, true);
	fputs(text ? "\":\"" : "_hex\":\"", out);
	if (text)
		print_text(out, bytes, len, true);
	else
		for (uint32_t i = 0; i < len; i++)
			fprintf(out, "%02x", bytes[i]);
	putc('"', out);
}

static void
print_headers(FILE *out, const struct header_view *headers, uint32_t n, bool json)
{
	char digits[24];
	const uint8_t *text;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t len = header_view_text(&headers[i], digits, &text);
		if (i)
			fputs(json ? "," : ", ", out);
		if (json)
			print_json(out, headers[i].name, headers[i].name_len, text, len);
		else {
			print_text(out, (const uint8_t *)headers[i].name, headers[i].name_len, false);
			putc('=', out);
			print_text(out, text, len, false);
		}
	}
}

static void
print_event(FILE *out, const struct event_view *event, bool json)
{
	struct header_view headers[HEADERS_MAX];
	uint32_t n = event_view_headers(event, headers, HEADERS_MAX);
	fprintf(out, json ? "{\"number\":%" PRIu64 ",\"headers\":{" : "%" PRIu64 " {", event->number);
	print_headers(out, headers, n < HEADERS_MAX ? n : HEADERS_MAX, json);
	fputs(json ? "}," : "} ", out);
	if (json)
		print_json(out, "body", 4, event->body, event->body_len);
	else
		print_text(out, event->body, event->body_len, false);
	fputs(json ? "}\n" : "\n", out);
}

static void
print_number(FILE *out, const char *name, uint64_t value, bool json)
{
	fprintf(out, json ? ",\"%s\":%" PRIu64 : " %s=%" PRIu64, name, value);
}

static void
print_bytes(FILE *out, const char *name, const uint8_t *bytes, uint64_t len, bool json)
{
	if (json) {
		putc(',', out);
		print_json(out, name, (uint32_t)strlen(name), bytes, (uint32_t)len);
	} else {
		fprintf(out, " %s=", name);
		print_text(out, bytes, (uint32_t)len, false);
	}
}

/* `len` bytes behind a varint that says so; false when they are not there. */
static bool
take_bytes(const uint8_t **at, const uint8_t *end, const uint8_t **bytes, uint64_t *len)
{
	const uint8_t *from = varint_get(*at, end, len);
	if (!from || *len > (uint64_t)(end - from))
		return false;
	*bytes = from;
	*at = from + *len;
	return true;
}

/* What a state, mark, fragment or control record says; false: only its bytes can be shown. */
static bool
print_fields(FILE *out, const struct record_view *r, const struct block_view *view, bool json)
{
	const uint8_t *at = r->payload, *end = at + r->payload_len, *a, *b;
	uint64_t n, m, a_len, b_len;
	struct header_view headers[HEADERS_MAX];
	switch (r->type) {
	case RECORD_STATE:
		if (at == end || !(b = varint_get(at + 1, end, &n)) || !take_bytes(&b, end, &a, &a_len))
			return false;
		print_number(out, "class", *at, json);
		print_number(out, "order", n, json);
		print_bytes(out, "key", a, a_len, json);
		print_bytes(out, "value", b, (uint64_t)(end - b), json);
		return true;
	case RECORD_MARK:
		if (!take_bytes(&at, end, &a, &a_len) || !take_bytes(&at, end, &b, &b_len))
			return false;
		print_bytes(out, "source", a, a_len, json);
		print_bytes(out, "mark", b, b_len, json);
		return true;
	case RECORD_CONTROL:
		if (!(at = varint_get(at, end, &n)))
			return false;
		print_number(out, "kind", n, json);
		print_bytes(out, "payload", at, (uint64_t)(end - at), json);
		return true;
	case RECORD_FRAGMENT:
		if (!(at = varint_get(at, end, &n)) || at == end)
			return false;
		m = *at++;
		if (record_headers(view, at, end, headers, HEADERS_MAX, &a_len) < 0)
			return false;
		print_number(out, "stream", n, json);
		print_number(out, "first", m & 1, json);
		print_number(out, "last", m >> 1 & 1, json);
		fputs(json ? ",\"headers\":{" : " {", out);
		print_headers(out, headers, (uint32_t)a_len, json);
		putc('}', out);
		return true;
	default:
		return false;
	}
}

static void
print_record(FILE *out, const struct record_view *r, const struct block_view *view, bool json)
{
	static const char *const names[8] = { "event", "fragment", "control", "state", "mark", "5", "6", "7" };
	fprintf(out, json ? "{\"record\":\"%s\",\"position\":%" PRIu64 : "- %s position=%" PRIu64, names[r->type], view->header->position);
	if (!print_fields(out, r, view, json))
		print_bytes(out, "payload", r->payload, r->payload_len, json);
	if (r->body)
		print_bytes(out, "body", r->body, r->body_len, json);
	fputs(json ? "}\n" : "\n", out);
}

void
print_block(FILE *out, const uint8_t *bytes, uint64_t first, bool all, bool json)
{
	struct block_view view;
	struct walk walk = { 0 };
	struct record_view record;
	if (!block_view_open(&view, bytes, ((const struct block_header *)bytes)->bytes))
		return;
	while (block_walk(&view, &walk, &record) > 0) {
		if (record.type != RECORD_EVENT) {
			if (all)
				print_record(out, &record, &view, json);
		} else if (record.event.number >= first)
			print_event(out, &record.event, json);
	}
}
