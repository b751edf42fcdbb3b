/* json_strict: what Gson takes leniently, as strict JSON. A rewriter of tokens: structure is the parser's business. */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"

struct rewrite {
	const uint8_t *in, *end;
	char *out;
	char last;		/* structural character or '"' or 'v' (another value) written last; 0 at the start */
	unsigned depth;
	char open[JSON_DEPTH_MAX];
};

static void
put(struct rewrite *r, char c)
{
	*r->out++ = c;
}

static void
put_text(struct rewrite *r, const char *text)
{
	size_t n = strlen(text);
	memcpy(r->out, text, n);
	r->out += n;
}

static void
put_point(struct rewrite *r, uint32_t c)
{
	if (c < 0x80) {
		put(r, (char)c);
	} else if (c < 0x800) {
		put(r, (char)(0xc0 | c >> 6));
		put(r, (char)(0x80 | (c & 0x3f)));
	} else {
		put(r, (char)(0xe0 | c >> 12));
		put(r, (char)(0x80 | (c >> 6 & 0x3f)));
		put(r, (char)(0x80 | (c & 0x3f)));
	}
}

/* A character inside a string, escaped where JSON wants it. */
static void
put_inside(struct rewrite *r, uint32_t c)
{
	static const char hex[] = "0123456789abcdef";
	if (c == '"' || c == '\\') {
		put(r, '\\');
		put(r, (char)c);
	} else if (c < 0x20) {
		put_text(r, "\\u00");
		put(r, hex[c >> 4]);
		put(r, hex[c & 15]);
	} else {
		put_point(r, c);
	}
}

static int
hex4(const uint8_t *p, const uint8_t *end)
{
	int value = 0;
	if (end - p < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		uint8_t c = p[i] | 0x20;
		int digit = p[i] >= '0' && p[i] <= '9' ? p[i] - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
		if (digit < 0)
			return -1;
		value = value << 4 | digit;
	}
	return value;
}

/* One character or escape of a string. False: an escape that is none. */
static bool
inside(struct rewrite *r)
{
	const uint8_t *p = r->in;
	if (*p != '\\') {
		uint32_t step = utf8_step(p, (size_t)(r->end - p));
		if (step <= 1) {
			put_inside(r, step ? *p : 0xfffd);
			r->in++;
			return true;
		}
		memcpy(r->out, p, step);
		r->out += step;
		r->in += step;
		return true;
	}
	static const char from[] = "btnfr'\"\\/\n", to[] = "\b\t\n\f\r'\"\\/\n";
	if (++p >= r->end)
		return false;
	if (*p == 'u') {
		int high = hex4(p + 1, r->end), low;
		if (high < 0)
			return false;
		r->in = p + 5;
		if (high < 0xd800 || high > 0xdfff) {
			put_inside(r, (uint32_t)high);
		} else if (high < 0xdc00 && r->end - r->in >= 6 && r->in[0] == '\\' && r->in[1] == 'u' && (low = hex4(r->in + 2, r->end)) >= 0xdc00 &&
			   low <= 0xdfff) {
			uint32_t c = 0x10000 + (((uint32_t)high & 0x3ff) << 10 | ((uint32_t)low & 0x3ff));
			put(r, (char)(0xf0 | c >> 18));
			put(r, (char)(0x80 | (c >> 12 & 0x3f)));
			put(r, (char)(0x80 | (c >> 6 & 0x3f)));
			put(r, (char)(0x80 | (c & 0x3f)));
			r->in += 6;
		} else {
			put(r, '?');	/* what Java's encoder makes of half a pair */
		}
		return true;
	}
	const char *found = *p ? strchr(from, *p) : NULL;
	if (!found)
		return false;
	put_inside(r, (uint8_t)to[found - from]);
	r->in = p + 1;
	return true;
}

static bool
quoted(struct rewrite *r)
{
	uint8_t quote = *r->in++;
	put(r, '"');
	while (r->in < r->end && *r->in != quote)
		if (!inside(r))
			return false;
	if (r->in == r->end)
		return false;
	r->in++;
	put(r, '"');
	return true;
}

static bool
ends_word(uint8_t c)
{
	return c <= ' ' || strchr("{}[]:,;=/\\#\"'", c);
}

static bool
is_literal(const uint8_t *p, size_t len)
{
	static const char *const words[] = { "true", "false", "null" };
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (strlen(words[i]) == len && memcmp(words[i], p, len) == 0)
			return true;
	size_t i = p[0] == '-';
	size_t digits = i;
	while (i < len && p[i] >= '0' && p[i] <= '9')
		i++;
	if (i == digits || (p[digits] == '0' && i > digits + 1))
		return false;
	if (i < len && p[i] == '.') {
		digits = ++i;
		while (i < len && p[i] >= '0' && p[i] <= '9')
			i++;
		if (i == digits)
			return false;
	}
	if (i < len && (p[i] == 'e' || p[i] == 'E')) {
		i += 1 + (i + 1 < len && (p[i + 1] == '+' || p[i + 1] == '-'));
		digits = i;
		while (i < len && p[i] >= '0' && p[i] <= '9')
			i++;
		if (i == digits)
			return false;
	}
	return i == len;
}

static void
bare(struct rewrite *r)
{
	const uint8_t *begin = r->in, *p = begin;
	while (p < r->end && !ends_word(*p))
		p++;
	if (is_literal(begin, (size_t)(p - begin))) {
		memcpy(r->out, begin, (size_t)(p - begin));
		r->out += p - begin;
		r->in = p;
		return;
	}
	put(r, '"');
	while (r->in < p)
		inside(r);
	put(r, '"');
}

/* Blanks and comments. False: a comment without end. */
static bool
skip(struct rewrite *r)
{
	while (r->in < r->end) {
		const uint8_t *p = r->in;
		if (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r') {
			r->in++;
		} else if (*p == '#' || (*p == '/' && p + 1 < r->end && p[1] == '/')) {
			while (r->in < r->end && *r->in != '\n' && *r->in != '\r')
				r->in++;
		} else if (*p == '/' && p + 1 < r->end && p[1] == '*') {
			const uint8_t *close = memmem(p + 2, (size_t)(r->end - p - 2), "*/", 2);
			if (!close)
				return false;
			r->in = close + 2;
		} else {
			break;
		}
	}
	return true;
}

size_t
json_strict(const char *text, size_t len, char *out)
{
	struct rewrite r = { (const uint8_t *)text, (const uint8_t *)text + len, out, 0, 0, { 0 } };
	while (skip(&r) && r.in < r.end) {
		uint8_t c = *r.in;
		bool in_array = r.depth && r.open[r.depth - 1] == '[';
		if (c == ';')
			c = ',';
		switch (c) {
		case '{':
		case '[':
			if (r.depth == JSON_DEPTH_MAX)
				return (size_t)-1;
			r.open[r.depth++] = (char)c;
			break;
		case '}':
		case ']':
			if (!r.depth || r.open[r.depth - 1] != (c == '}' ? '{' : '['))
				return (size_t)-1;
			if (c == ']' && r.last == ',')
				put_text(&r, "null");	/* [a,] has two elements */
			r.depth--;
			break;
		case ',':
			if (in_array && (r.last == ',' || r.last == '['))
				put_text(&r, "null");
			break;
		case '=':
			c = ':';
			if (r.in + 1 < r.end && r.in[1] == '>')
				r.in++;
			break;
		case ':':
			break;
		case '"':
		case '\'':
			if (!quoted(&r))
				return (size_t)-1;
			r.last = '"';
			continue;
		default:
			if (ends_word(c))
				return (size_t)-1;
			if (r.last == '"' || r.last == 'v')
				put(&r, ' ');
			bare(&r);
			r.last = 'v';
			continue;
		}
		put(&r, (char)c);
		r.last = (char)c;
		r.in++;
	}
	return r.in == r.end ? (size_t)(r.out - out) : (size_t)-1;
}
