#include "base/http1.h"

#include <string.h>
#include <strings.h>

/* ---- characters ---- */

enum { TOKEN = 1, HOST = 2 };
static const uint8_t char_class[256] = {
	['a' ... 'z'] = TOKEN | HOST, ['A' ... 'Z'] = TOKEN | HOST, ['0' ... '9'] = TOKEN | HOST,
	['!'] = TOKEN | HOST, ['$'] = TOKEN | HOST, ['%'] = TOKEN | HOST, ['&'] = TOKEN | HOST, ['\''] = TOKEN | HOST, ['*'] = TOKEN | HOST,
	['+'] = TOKEN | HOST, ['-'] = TOKEN | HOST, ['.'] = TOKEN | HOST, ['_'] = TOKEN | HOST, ['~'] = TOKEN | HOST,
	['#'] = TOKEN, ['^'] = TOKEN, ['`'] = TOKEN, ['|'] = TOKEN,
	[':'] = HOST, ['['] = HOST, [']'] = HOST, ['('] = HOST, [')'] = HOST, [';'] = HOST, ['='] = HOST,
};

static bool
is_token(uint8_t c)
{
	return char_class[c] & TOKEN;
}

static bool
is_field_text(uint8_t c)
{
	return c == '\t' || (c >= 0x20 && c != 0x7f);
}

const char *
http1_reason(int status)
{
	static const struct { int status; const char *reason; } reasons[] = {
		{ 200, "OK" }, { 400, "Bad Request" }, { 403, "Forbidden" }, { 405, "Method Not Allowed" }, { 408, "Request Timeout" },
		{ 413, "Payload Too Large" }, { 414, "URI Too Long" }, { 415, "Unsupported Media Type" }, { 417, "Expectation Failed" },
		{ 431, "Request Header Fields Too Large" }, { 500, "Server Error" }, { 501, "Not Implemented" }, { 503, "Service Unavailable" },
		{ 505, "HTTP Version Not Supported" },
	};
	for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
		if (reasons[i].status == status)
			return reasons[i].reason;
	return "";
}

/* ---- head ---- */

/* "METHOD SP TARGET SP HTTP/1.x", without its CRLF. 0 or minus a status. */
static int
request_line(const char *p, size_t len, struct http1_request *r)
{
	size_t i = 0;
	while (i < len && is_token((uint8_t)p[i]))
		i++;
	if (!i || i == len || p[i] != ' ')
		return -400;
	r->method = (struct http1_text){ p, (uint32_t)i };
	size_t begin = ++i;
	while (i < len && (uint8_t)p[i] > 0x20 && (uint8_t)p[i] < 0x7f && p[i] != '#')
		i++;
	if (i == begin || i == len || p[i] != ' ')
		return -400;
	r->target = (struct http1_text){ p + begin, (uint32_t)(i - begin) };
	const char *version = p + ++i;
	if (len - i != 8 || memcmp(version, "HTTP/", 5) != 0 || version[6] != '.' || (uint8_t)(version[5] - '0') > 9 || (uint8_t)(version[7] - '0') > 9)
		return -400;
	if (version[5] != '1' || version[7] > '1')
		return -505;
	r->http_1_0 = version[7] == '0';
	if (r->target.bytes[0] == '/')
		return 0;
	if (r->target.len == 1 && r->target.bytes[0] == '*')
		return http1_is(r->method, "OPTIONS") ? 0 : -400;
	if (http1_is(r->method, "CONNECT"))
		return 0;
	return (r->target.len > 7 && strncasecmp(r->target.bytes, "http://", 7) == 0) ||
	       (r->target.len > 8 && strncasecmp(r->target.bytes, "https://", 8) == 0) ? 0 : -400;
}

static bool
host_good(struct http1_text host)
{
	if (!host.len)
		return false;
	for (uint32_t i = 0; i < host.len; i++)
		if (!(char_class[(uint8_t)host.bytes[i]] & HOST))
			return false;
	return true;
}

static int
length_field(struct http1_text value, struct http1_request *r)
{
	if (r->has_length || !value.len || value.len > 18)
		return -400;
	r->content_length = 0;
	for (uint32_t i = 0; i < value.len; i++) {
		if ((uint8_t)(value.bytes[i] - '0') > 9)
			return -400;
		r->content_length = r->content_length * 10 + (uint64_t)(value.bytes[i] - '0');
	}
	r->has_length = true;
	return 0;
}

/* Next element of a comma list; false at its end. */
static bool
list_next(struct http1_text *list, struct http1_text *element)
{
	while (list->len && (*list->bytes == ' ' || *list->bytes == '\t' || *list->bytes == ','))
		list->bytes++, list->len--;
	if (!list->len)
		return false;
	const char *comma = memchr(list->bytes, ',', list->len);
	element->bytes = list->bytes;
	element->len = comma ? (uint32_t)(comma - list->bytes) : list->len;
	list->bytes += element->len;
	list->len -= element->len;
	while (element->len && (element->bytes[element->len - 1] == ' ' || element->bytes[element->len - 1] == '\t'))
		element->len--;
	return true;
}

struct seen {
	bool host, transfer, close, keep;
};

static int
field(struct http1_text name, struct http1_text value, struct http1_request *r, struct seen *seen)
{
	struct http1_text element;
	if (http1_is(name, "content-length"))
		return length_field(value, r);
	if (http1_is(name, "host")) {
		if (seen->host || !host_good(value))
			return -400;
		seen->host = true;
	} else if (http1_is(name, "transfer-encoding")) {
		if (seen->transfer)
			return -400;
		seen->transfer = true;
		if (!http1_is(value, "chunked"))
			return -501;
		r->chunked = true;
	} else if (http1_is(name, "connection")) {
		while (list_next(&value, &element)) {
			seen->close |= http1_is(element, "close");
			seen->keep |= http1_is(element, "keep-alive");
		}
	} else if (http1_is(name, "expect")) {
		if (!http1_is(value, "100-continue"))
			return -417;
		r->expects_continue = true;
	} else if (http1_is(name, "content-type")) {
		if (r->content_type.len)
			return -400;
		r->content_type = value;
	} else if (http1_is(name, "content-encoding")) {
		if (r->content_encoding.len)
			return -400;
		r->content_encoding = value;
	}
	return 0;
}

/* One field line without its CRLF. */
static int
field_line(const char *p, size_t len, struct http1_text *name, struct http1_text *value)
{
	size_t i = 0;
	while (i < len && is_token((uint8_t)p[i]))
		i++;
	if (!i || i == len || p[i] != ':')
		return -400;	/* also a blank before the colon, and a folded line */
	*name = (struct http1_text){ p, (uint32_t)i };
	size_t begin = i + 1, end = len;
	for (i = begin; i < len; i++)
		if (!is_field_text((uint8_t)p[i]))
			return -400;
	while (begin < end && (p[begin] == ' ' || p[begin] == '\t'))
		begin++;
	while (end > begin && (p[end - 1] == ' ' || p[end - 1] == '\t'))
		end--;
	*value = (struct http1_text){ p + begin, (uint32_t)(end - begin) };
	return 0;
}

/* Length of the line at p without its CRLF; -1: not complete; -2: a line feed or carriage return that stands alone. */
static ptrdiff_t
line_at(const char *p, size_t len)
{
	const char *lf = memchr(p, '\n', len);
	size_t upto = lf ? (size_t)(lf - p) : len;
	const char *cr = memchr(p, '\r', upto);
	if (!lf)
		return cr && (size_t)(cr - p) + 1 < upto ? -2 : -1;
	return cr && cr + 1 == lf ? cr - p : -2;
}

int
http1_head(const char *bytes, size_t len, struct http1_request *r)
{
	size_t at = 0;
	struct seen seen = { 0 };
	memset(r, 0, sizeof *r);
	/* One empty line before a request is ignored (RFC 9112 2.2). */
	if (len >= 2 && bytes[0] == '\r' && bytes[1] == '\n')
		at = 2;
	size_t look = len < HTTP1_HEAD_MAX ? len : HTTP1_HEAD_MAX;
	for (uint32_t lines = 0;; lines++) {
		ptrdiff_t n = at < look ? line_at(bytes + at, look - at) : -1;
		if (n == -2)
			return -400;
		if (n < 0) {
			if (lines == 0 && at < look) {
				/* What can be no request is not waited for. */
				uint8_t first = (uint8_t)bytes[at];
				if (!is_token(first) && first != '\r')
					return -400;
			}
			if (len < HTTP1_HEAD_MAX)
				return 0;
			return lines == 0 ? -414 : -431;
		}
		const char *line = bytes + at;
		at += (size_t)n + 2;
		int rc;
		if (lines == 0) {
			rc = request_line(line, (size_t)n, r);
			if (rc)
				return rc;
			continue;
		}
		if (n == 0)
			break;
		if (lines > HTTP1_FIELDS_MAX)
			return -431;
		struct http1_text name, value;
		rc = field_line(line, (size_t)n, &name, &value);
		if (!rc)
			rc = field(name, value, r, &seen);
		if (rc)
			return rc;
	}
	if ((r->chunked && (r->has_length || r->http_1_0)) || (!seen.host && !r->http_1_0))
		return -400;
	r->keep_alive = !seen.close && (!r->http_1_0 || seen.keep);
	r->expects_continue &= !r->http_1_0;
	r->head_len = (uint32_t)at;
	return (int)at;
}

/* ---- chunks ---- */

enum { CHUNK_SIZE, CHUNK_DATA, CHUNK_END, CHUNK_TRAILER, CHUNK_DONE };

/* "HEX[;extension]" without its CRLF. */
static bool
size_line(const char *p, size_t len, uint64_t *size)
{
	size_t i = 0;
	*size = 0;
	for (; i < len && i < 15; i++) {
		uint8_t c = (uint8_t)p[i] | 0x20;
		uint32_t digit = (uint8_t)(p[i] - '0') < 10 ? (uint32_t)(p[i] - '0') : (uint8_t)(c - 'a') < 6 ? (uint32_t)(c - 'a') + 10 : 16;
		if (digit == 16)
			break;
		*size = *size << 4 | digit;
	}
	if (!i || (i < len && p[i] != ';'))
		return false;
	for (; i < len; i++)
		if (!is_field_text((uint8_t)p[i]))
			return false;
	return true;
}

size_t
http1_chunks(struct http1_chunked *s, const char *bytes, size_t len, const char **data, size_t *data_len, bool *done, bool *bad)
{
	*data = NULL;
	*data_len = 0;
	*done = s->state == CHUNK_DONE;
	*bad = false;
	if (*done || !len)
		return 0;
	if (s->state == CHUNK_DATA) {
		size_t n = len < s->left ? len : (size_t)s->left;
		*data = bytes;
		*data_len = n;
		s->left -= n;
		if (!s->left)
			s->state = CHUNK_END;
		return n;
	}
	size_t most = s->state == CHUNK_TRAILER ? HTTP1_HEAD_MAX : HTTP1_LINE_MAX, look = len < most ? len : most;
	ptrdiff_t n = line_at(bytes, look);
	if (n == -1 && len < most && (s->state != CHUNK_END || bytes[0] == '\r'))
		return 0;
	if (n < 0) {
		*bad = true;
		return 0;
	}
	struct http1_text name, value;
	switch (s->state) {
	case CHUNK_SIZE:
		*bad = !size_line(bytes, (size_t)n, &s->left);
		s->state = s->left ? CHUNK_DATA : CHUNK_TRAILER;
		break;
	case CHUNK_END:
		*bad = n != 0;
		s->state = CHUNK_SIZE;
		break;
	case CHUNK_TRAILER:
		s->trailer_bytes += (uint32_t)n + 2;
		if (n == 0) {
			s->state = CHUNK_DONE;
			*done = true;
		} else {
			*bad = s->trailer_bytes > HTTP1_HEAD_MAX || field_line(bytes, (size_t)n, &name, &value) != 0;
		}
		break;
	}
	return *bad ? 0 : (size_t)n + 2;
}

/* ---- query ---- */

static uint32_t
undo(const char *from, uint32_t len, char *out)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < len; i++) {
		uint64_t byte;
		if (from[i] == '%' && i + 2 < len && size_line(from + i + 1, 2, &byte) && from[i + 1] != ';' && from[i + 2] != ';') {
			out[n++] = (char)byte;
			i += 2;
		} else {
			out[n++] = from[i] == '+' ? ' ' : from[i];
		}
	}
	return n;
}

bool
http1_parameter(struct http1_text *query, char *out, struct http1_text *name, struct http1_text *value)
{
	while (query->len && *query->bytes == '&')
		query->bytes++, query->len--;
	if (!query->len)
		return false;
	const char *amp = memchr(query->bytes, '&', query->len);
	uint32_t len = amp ? (uint32_t)(amp - query->bytes) : query->len;
	const char *equal = memchr(query->bytes, '=', len);
	uint32_t name_len = equal ? (uint32_t)(equal - query->bytes) : len;
	*name = (struct http1_text){ out, undo(query->bytes, name_len, out) };
	*value = (struct http1_text){ out + name->len, 0 };
	if (equal)
		value->len = undo(equal + 1, len - name_len - 1, out + name->len);
	query->bytes += len;
	query->len -= len;
	return true;
}
