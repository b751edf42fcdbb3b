/* http1: HTTP/1.1 and 1.0 request heads and chunked bodies (RFC 9112), for a server. Strict: what two parsers could read in two ways is refused.
 * No memory of its own, no I/O, any thread. */
#ifndef PENSTOCK_BASE_HTTP1_H
#define PENSTOCK_BASE_HTTP1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#define HTTP1_HEAD_MAX 16384u		/* bytes of a request line with its header fields */
#define HTTP1_FIELDS_MAX 100u
#define HTTP1_LINE_MAX 256u		/* of a chunk's size line */

struct http1_text {
	const char *bytes;		/* not terminated */
	uint32_t len;
};

struct http1_request {
	struct http1_text method, target;
	struct http1_text content_type, content_encoding;	/* len 0: none */
	uint64_t content_length;	/* when has_length */
	uint32_t head_len;
	bool http_1_0, has_length, chunked, keep_alive, expects_continue;
};

/* 0: the head is not complete yet; > 0: it is, head_len; < 0: refused: minus an HTTP status (400, 414, 417, 431, 501, 505). Texts point into bytes. */
int http1_head(const char *bytes, size_t len, struct http1_request *request);

struct http1_chunked {			/* zeros at the start */
	uint64_t left;			/* of the chunk under way */
	uint8_t state;
	uint32_t trailer_bytes;
};

/* Eats a chunked body. Returns the bytes eaten; *data, *data_len: a piece of the body among them (may be empty). done: the last chunk and the trailer are
 * through. bad: refused, 400. Call again while something is eaten. */
size_t http1_chunks(struct http1_chunked *state, const char *bytes, size_t len, const char **data, size_t *data_len, bool *done, bool *bad);

/* "OK", "Bad Request" ... */
const char *http1_reason(int status);

/* Cuts the next name=value off a query (without the '?'), undoing %XX and '+', into `out` (at least query->len bytes). False at the end. */
bool http1_parameter(struct http1_text *query, char *out, struct http1_text *name, struct http1_text *value);

/* In any letter case. */
static inline bool
http1_is(struct http1_text text, const char *word)
{
	return strlen(word) == text.len && strncasecmp(text.bytes, word, text.len) == 0;
}

#endif
