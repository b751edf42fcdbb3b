/* http_json: a JSON array of {"headers": {...}, "body": "..."} (Flume's JSONHandler): read strictly first, and as leniently as Gson when that fails. */
#include <errno.h>
#include <iconv.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "dataplane/source/http_handler.h"

enum charset { UTF_8, UTF_16, UTF_32 };
enum member { MEMBER_OTHER, MEMBER_HEADERS, MEMBER_BODY };
enum level { LEVEL_TOP, LEVEL_LIST, LEVEL_EVENT, LEVEL_HEADERS };

struct handler {
	struct ingress_source *in;
	struct json *json;
	enum charset charset;
	enum http_answer answer;	/* why the walk stopped */
	enum level level;
	enum member member;		/* whose value comes next, in an event */
	uint32_t skip;			/* depth inside a member that is not wanted */
	bool list;			/* the array was there */
	const char *body;
	uint32_t body_len;
	struct http1_text names[HTTP_HEADERS_EVENT_MAX], values[HTTP_HEADERS_EVENT_MAX];
	uint32_t count;
	iconv_t decode[3], encode[3];	/* by charset; to and from UTF-8 */
	char *text, *coded;		/* decoded or rewritten body; an event's body in the request's charset */
	size_t text_room, coded_room;
};

static bool
stop(struct handler *h, enum http_answer answer)
{
	h->answer = answer;
	return false;
}

static bool
room(char **buffer, size_t *have, size_t need)
{
	if (need <= *have)
		return true;
	size_t want = *have ? *have : 4096;
	while (want < need)
		want *= 2;
	char *more = realloc(*buffer, want);
	if (!more)
		return false;
	*buffer = more;
	*have = want;
	return true;
}

static bool
event_end(struct handler *h)
{
	const char *body = h->body;
	uint32_t len = h->body_len;
	if (h->charset != UTF_8 && len) {
		/* Java puts a byte-order mark before UTF-16 only. */
		size_t bom = h->charset == UTF_16 ? 2 : 0, left = 4 * (size_t)len, in_left = len;
		if (!room(&h->coded, &h->coded_room, left + bom))
			return stop(h, HTTP_MEMORY);
		char *to = h->coded + bom, *from = (char *)body;
		memcpy(h->coded, "\xfe\xff", bom);
		if (iconv(h->encode[h->charset], &from, &in_left, &to, &left) == (size_t)-1)
			return stop(h, HTTP_BAD_JSON);
		body = h->coded;
		len = (uint32_t)(to - h->coded);
	}
	enum http_answer answer = http_append(h->in, body, len, h->names, h->values, h->count);
	return answer == HTTP_OK || stop(h, answer);
}

static bool
on_object(void *context, bool begin)
{
	struct handler *h = context;
	if (h->skip) {
		h->skip += begin ? 1 : UINT32_MAX;
		return true;
	}
	switch (h->level) {
	case LEVEL_TOP:
		break;
	case LEVEL_LIST:
		h->level = LEVEL_EVENT;
		h->body = "";
		h->body_len = h->count = 0;
		return true;
	case LEVEL_EVENT:
		if (!begin) {
			h->level = LEVEL_LIST;
			return event_end(h);
		}
		if (h->member == MEMBER_HEADERS) {
			h->level = LEVEL_HEADERS;
			h->count = 0;
			return true;
		}
		if (h->member == MEMBER_OTHER)
			return (h->skip = 1);
		break;
	case LEVEL_HEADERS:
		if (!begin) {
			h->level = LEVEL_EVENT;
			return true;
		}
		break;
	}
	return stop(h, HTTP_BAD_JSON);
}

static bool
on_array(void *context, bool begin)
{
	struct handler *h = context;
	if (h->skip) {
		h->skip += begin ? 1 : UINT32_MAX;
		return true;
	}
	if (!begin)
		return true;	/* the list's end */
	if (h->level == LEVEL_TOP) {
		h->level = LEVEL_LIST;
		return (h->list = true);
	}
	if (h->level == LEVEL_EVENT && h->member == MEMBER_OTHER)
		return (h->skip = 1);
	return stop(h, HTTP_BAD_JSON);
}

static bool
on_key(void *context, const char *text, size_t len)
{
	struct handler *h = context;
	if (h->skip)
		return true;
	if (h->level == LEVEL_EVENT) {
		h->member = len == 7 && memcmp(text, "headers", 7) == 0 ? MEMBER_HEADERS : len == 4 && memcmp(text, "body", 4) == 0 ? MEMBER_BODY : MEMBER_OTHER;
		return true;
	}
	if (h->count == HTTP_HEADERS_EVENT_MAX)
		return stop(h, HTTP_HEADERS_MAX);
	for (uint32_t i = 0; i < h->count; i++)
		if (h->names[i].len == len && memcmp(h->names[i].bytes, text, len) == 0)
			return stop(h, HTTP_BAD_JSON);	/* as in Flume */
	h->names[h->count] = (struct http1_text){ text, (uint32_t)len };
	return true;
}

static bool
on_text(void *context, const char *text, size_t len)
{
	struct handler *h = context;
	if (h->skip)
		return true;
	if (h->level == LEVEL_HEADERS) {
		h->values[h->count++] = (struct http1_text){ text, (uint32_t)len };
		return true;
	}
	if (h->level != LEVEL_EVENT || h->member == MEMBER_HEADERS)
		return stop(h, HTTP_BAD_JSON);
	if (h->member == MEMBER_BODY) {
		h->body = text;
		h->body_len = (uint32_t)len;
	}
	return true;
}

static bool
on_boolean(void *context, bool value)
{
	return value ? on_text(context, "true", 4) : on_text(context, "false", 5);
}

static bool
on_null(void *context)
{
	struct handler *h = context;
	if (h->skip || h->level == LEVEL_HEADERS)
		return true;	/* a header without a value is left out */
	if (h->level != LEVEL_EVENT)
		return stop(h, h->level == LEVEL_TOP ? HTTP_NULL_LIST : HTTP_NULL_EVENT);
	if (h->member == MEMBER_BODY)
		h->body_len = 0;
	if (h->member == MEMBER_HEADERS)
		h->count = 0;
	return true;
}

static const struct json_calls calls = {
	.object = on_object, .array = on_array, .key = on_key, .string = on_text, .number = on_text, .boolean = on_boolean, .null = on_null,
};

static enum json_result
walk(struct handler *h, const char *text, size_t len)
{
	h->answer = HTTP_OK;
	h->level = LEVEL_TOP;
	h->skip = 0;
	h->list = false;
	return json_walk(h->json, text, len, &calls, h);
}

/* charset of a Content-Type; false: one that Flume does not take. */
static bool
charset_of(struct http1_text type, enum charset *charset)
{
	*charset = UTF_8;
	for (uint32_t i = 0; i + 8 < type.len; i++) {
		if (type.bytes[i] != ';' && type.bytes[i] != ' ')
			continue;
		if (strncasecmp(type.bytes + i + 1, "charset=", 8) != 0)
			continue;
		const char *name = type.bytes + i + 9;
		uint32_t len = type.len - i - 9, n = 0;
		if (len && *name == '"')
			name++, len--;
		while (n < len && name[n] != ';' && name[n] != '"' && name[n] != ' ')
			n++;
		struct http1_text text = { name, n };
		if (http1_is(text, "utf-16"))
			*charset = UTF_16;
		else if (http1_is(text, "utf-32"))
			*charset = UTF_32;
		else
			return http1_is(text, "utf-8");
		return true;
	}
	return true;
}

/* The body as UTF-8 in h->text, padding behind it. */
static bool
decode(struct handler *h, const char *body, uint32_t len, size_t *text_len)
{
	size_t most = 2 * (size_t)len + 16, in_left = len, left = most;
	if (!room(&h->text, &h->text_room, most + JSON_PADDING))
		return false;
	char *from = (char *)body, *to = h->text;
	iconv(h->decode[h->charset], NULL, NULL, NULL, NULL);
	while (in_left && iconv(h->decode[h->charset], &from, &in_left, &to, &left) == (size_t)-1) {
		if (left < 4)
			return false;
		memcpy(to, "\xef\xbf\xbd", 3);
		to += 3;
		left -= 3;
		size_t unit = h->charset == UTF_16 ? 2 : 4;
		unit = unit < in_left ? unit : in_left;
		from += unit;
		in_left -= unit;
	}
	*text_len = (size_t)(to - h->text);
	return true;
}

static enum http_answer
json_run(void *handler, const struct http1_request *request, const char *body, uint32_t len, uint32_t ticket)
{
	struct handler *h = handler;
	size_t text_len = len;
	const char *text = body;
	if (!charset_of(request->content_type, &h->charset))
		return HTTP_CHARSET;
	if (h->charset != UTF_8) {
		if (!decode(h, body, len, &text_len))
			return HTTP_MEMORY;
		text = h->text;
	}
	size_t blank = 0;
	while (blank < text_len && strchr(" \t\r\n", text[blank]) && text[blank])
		blank++;
	if (blank == text_len)
		return HTTP_NULL_LIST;
	if (text_len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		return HTTP_BAD_JSON;
	enum json_result result = walk(h, text, text_len);
	if (result == JSON_SYNTAX) {
		ingress_abort(h->in);
		ingress_begin(h->in, ticket);
		size_t most = 6 * text_len + 16;
		char *strict = malloc(most + JSON_PADDING);
		if (!strict)
			return HTTP_MEMORY;
		size_t strict_len = json_strict(text, text_len, strict);
		bool kept = strict_len != (size_t)-1 && room(&h->text, &h->text_room, strict_len + JSON_PADDING);
		if (kept)
			memcpy(h->text, strict, strict_len);	/* numbers point into it until commit */
		free(strict);
		if (strict_len == (size_t)-1)
			return HTTP_BAD_JSON;
		if (!kept)
			return HTTP_MEMORY;
		result = walk(h, h->text, strict_len);
	}
	if (result == JSON_SYNTAX || (result == JSON_OK && !h->list))
		return HTTP_BAD_JSON;
	return result == JSON_OK ? HTTP_OK : h->answer;
}

static void
json_close(void *handler)
{
	struct handler *h = handler;
	for (int i = UTF_16; i <= UTF_32; i++) {
		if (h->decode[i])
			iconv_close(h->decode[i]);
		if (h->encode[i])
			iconv_close(h->encode[i]);
	}
	if (h->json)
		json_free(h->json);
	free(h->text);
	free(h->coded);
	free(h);
}

static int
json_open(void **handler, const struct http_handler_config *config, struct ingress_source *in, struct err *err)
{
	(void)config;
	struct handler *h = calloc(1, sizeof *h);
	if (!h)
		return err_set(err, ENOMEM, "no memory");
	h->in = in;
	h->json = json_new();
	h->decode[UTF_16] = iconv_open("UTF-8", "UTF-16");
	h->decode[UTF_32] = iconv_open("UTF-8", "UTF-32BE");
	h->encode[UTF_16] = iconv_open("UTF-16BE", "UTF-8");
	h->encode[UTF_32] = iconv_open("UTF-32BE", "UTF-8");
	*handler = h;
	return h->json ? 0 : err_set(err, ENOMEM, "no memory");
}

const struct http_handler_ops http_handler_json = {
	.name = "org.apache.flume.source.http.JSONHandler", .open = json_open, .run = json_run, .close = json_close,
};
