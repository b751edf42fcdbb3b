#include "dataplane/interceptor/javaregex_parser.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <unicode/uchar.h>

/* ---- escapes ---- */

static int
hex_value(uint32_t c)
{
	if (c >= '0' && c <= '9')
		return (int)c - '0';
	if (c < 128 && (c | 32) >= 'a' && (c | 32) <= 'f')
		return (int)(c | 32) - 'a' + 10;
	return -1;
}

static uint32_t
hex_digits(struct parser *parser, uint32_t count)
{
	uint32_t value = 0;
	for (uint32_t i = 0; i < count; i++) {
		int digit = hex_value(parser_raw(parser, 0));
		if (digit < 0)
			parser_fail(parser, EINVAL, parser->at, "a hexadecimal escape needs %u digits", count);
		value = value * 16 + (uint32_t)digit;
		parser->at++;
	}
	return value;
}

/* Text in braces, cursor at '{'. */
static void
braced(struct parser *parser, char *text, size_t size)
{
	uint32_t start = parser->at++;
	size_t n = 0;
	while (parser_raw(parser, 0) != '}') {
		uint32_t c = parser_raw(parser, 0);
		if (c == END || c > 126 || n + 1 >= size)
			parser_fail(parser, EINVAL, start, "a name in { } that does not end or is not a name");
		text[n++] = (char)c;
		parser->at++;
	}
	parser->at++;
	text[n] = '\0';
	if (!n)
		parser_fail(parser, EINVAL, start, "an empty name in { }");
}

/* An escape that stands for one code point; cursor behind the backslash. False (cursor unmoved): it is something else. */
bool
parser_escape_point(struct parser *parser, uint32_t *point)
{
	uint32_t start = parser->at, c = parser_raw(parser, 0);
	parser->at++;
	switch (c) {
	case END:
		parser_fail(parser, EINVAL, start, "a backslash at the end");
	case '0': {
		uint32_t value = 0, digits = 0;
		uint32_t max = parser_raw(parser, 0) <= '3' ? 3 : 2;
		while (digits < max && parser_raw(parser, 0) >= '0' && parser_raw(parser, 0) <= '7') {
			value = value * 8 + parser_raw(parser, 0) - '0';
			parser->at++;
			digits++;
		}
		if (!digits)
			parser_fail(parser, EINVAL, start, "\\0 needs octal digits");
		*point = value;
		return true;
	}
	case 'a': *point = 7; return true;
	case 'e': *point = 27; return true;
	case 'f': *point = '\f'; return true;
	case 'n': *point = '\n'; return true;
	case 'r': *point = '\r'; return true;
	case 't': *point = '\t'; return true;
	case 'c':
		if (parser_raw(parser, 0) == END)
			parser_fail(parser, EINVAL, start, "\\c needs a character");
		*point = parser_raw(parser, 0) ^ 64;
		parser->at++;
		return true;
	case 'x':
		if (parser_raw(parser, 0) == '{') {
			char digits[16];
			braced(parser, digits, sizeof digits);
			uint32_t value = 0;
			for (const char *p = digits; *p; p++) {
				int digit = hex_value((uint8_t)*p);
				if (digit < 0 || (value = value * 16 + (uint32_t)digit) > CHAR_MAX_POINT)
					parser_fail(parser, EINVAL, start, "\\x{%s} is no code point", digits);
			}
			*point = value;
		} else {
			*point = hex_digits(parser, 2);
		}
		return true;
	case 'u':
		*point = hex_digits(parser, 4);
		if (*point >= 0xd800 && *point < 0xdc00 && parser_raw(parser, 0) == '\\' && parser_raw(parser, 1) == 'u') {
			uint32_t back = parser->at;
			parser->at += 2;
			uint32_t low = hex_digits(parser, 4);
			if (low >= 0xdc00 && low < 0xe000)
				*point = 0x10000 + ((*point - 0xd800) << 10) + (low - 0xdc00);
			else
				parser->at = back;
		}
		return true;
	case 'N':
		if (parser_raw(parser, 0) == '{') {
			char name[128];
			braced(parser, name, sizeof name);
			UErrorCode status = U_ZERO_ERROR;
			UChar32 found = u_charFromName(U_EXTENDED_CHAR_NAME, name, &status);
			if (U_FAILURE(status))
				parser_fail(parser, EINVAL, start, "no character is called %s", name);
			*point = (uint32_t)found;
			return true;
		}
		parser_fail(parser, EINVAL, start, "\\N needs a name in { }");
	default:
		if (c < 128 && (((c | 32) >= 'a' && (c | 32) <= 'z') || (c >= '1' && c <= '9'))) {
			parser->at = start;
			return false;
		}
		*point = c;
		return true;
	}
}

/* \p.. and \P.., cursor at the letter. */
void
parser_property(struct parser *parser, struct charset *set)
{
	uint32_t start = parser->at;
	bool negative = parser_raw(parser, 0) == 'P';
	char name[128];
	parser->at++;
	parser_peek(parser);
	if (parser_raw(parser, 0) == '{') {
		braced(parser, name, sizeof name);
	} else {
		uint32_t c = parser_raw(parser, 0);
		if (c == END || c > 126)
			parser_fail(parser, EINVAL, start, "\\p needs a name");
		name[0] = (char)c;
		name[1] = '\0';
		parser->at++;
	}
	struct charset *own = &parser->scratch[DEPTH_MAX + 1];
	charset_free(own);
	if (!charset_add_property(own, name, parser->flags & FLAG_W, parser_fold(parser)))
		parser_fail(parser, EINVAL, start, "unknown character property %s", name);
	if (negative)
		charset_invert(own);
	charset_union(set, own);
	charset_free(own);
}

bool
parser_is_class_letter(uint32_t c)
{
	return c < 128 && c && strchr("dDhHsSvVwW", (int)c);
}

/* ---- classes ---- */

static struct charset *
class_scratch(struct parser *parser)
{
	if (parser->depth == DEPTH_MAX)
		parser_fail(parser, ENOTSUP, parser->at, "more than %d groups or classes within each other", DEPTH_MAX);
	struct charset *set = &parser->scratch[parser->depth++];
	charset_free(set);
	return set;
}

/* One element: a character, an escape, or a range. */
static void
class_element(struct parser *parser, struct charset *set)
{
	uint32_t start = parser->at, c = parser_peek(parser);
	if (c == '\\') {
		parser->at++;
		uint32_t letter = parser_raw(parser, 0);
		if (letter == 'p' || letter == 'P') {
			parser_property(parser, set);
			return;
		}
		if (letter == 'v' && parser_raw(parser, 1) == '-') {
			c = 11;
			parser->at++;
		} else if (parser_is_class_letter(letter)) {
			charset_add_escape(set, (char)letter, parser->flags & FLAG_W);
			parser->at++;
			return;
		} else if (!parser_escape_point(parser, &c)) {
			parser_fail(parser, EINVAL, start, "\\%c has no meaning in a character class", (char)letter);
		}
	} else {
		parser->at++;
	}
	if (parser_peek(parser) == '-') {
		uint32_t after = parser_raw(parser, 1);
		if (after != '[' && after != ']') {
			parser->at++;
			uint32_t hi = parser_peek(parser);
			if (hi == END)
				parser_fail(parser, EINVAL, start, "the character class does not end");
			parser->at++;
			if (hi == '\\') {
				if (parser_raw(parser, 0) == 'v') {
					hi = 11;
					parser->at++;
				} else if (!parser_escape_point(parser, &hi)) {
					parser_fail(parser, EINVAL, start, "a range must end with a character");
				}
			}
			if (hi < c)
				parser_fail(parser, EINVAL, start, "the range ends before it begins");
			charset_add_range(set, c, hi, parser_fold(parser));
			return;
		}
	}
	charset_add_single(set, c, parser_fold(parser));
}

/* Java's clazz(): cursor at what follows '[' (consume), or at the first element of the right side of && (not). Leaves the set in the
 * scratch of this depth, whose address it returns with depth already given back: use it before the next class_scratch. */
struct charset *
parser_class(struct parser *parser, bool consume)
{
	struct charset *set = class_scratch(parser);
	uint32_t start = parser->at;
	bool negative = false, any = false;
	if (consume && parser_raw(parser, 0) == '^') {
		negative = true;
		parser->at++;
	}
	for (;;) {
		uint32_t c = parser_peek(parser);
		if (c == END)
			parser_fail(parser, EINVAL, start, "the character class does not end");
		if (c == '[') {
			parser->at++;
			charset_union(set, parser_class(parser, true));
			any = true;
			continue;
		}
		if (c == '&' && parser_raw(parser, 1) == '&') {
			uint32_t operator = parser->at;
			parser->at += 2;
			bool right_any = false;
			struct charset *right = class_scratch(parser);
			while ((c = parser_peek(parser)) != ']' && c != '&') {
				if (c == END)
					parser_fail(parser, EINVAL, start, "the character class does not end");
				if (c == '[') {
					parser->at++;
					charset_union(right, parser_class(parser, true));
				} else {
					charset_union(right, parser_class(parser, false));
				}
				right_any = true;
			}
			parser->depth--;
			if (!right_any)
				parser_fail(parser, any ? ENOTSUP : EINVAL, operator, "&& with nothing behind it");
			if (parser_raw(parser, 0) == '&' && parser_raw(parser, 1) != '&')
				parser_fail(parser, ENOTSUP, parser->at, "a single & behind && is not supported: Java takes it for more than it says; write \\&");
			if (any) {
				charset_intersect(set, right);
			} else {
				charset_union(set, right);
				any = true;
			}
			continue;
		}
		if (c == ']' && any) {
			if (consume)
				parser->at++;
			break;
		}
		class_element(parser, set);
		any = true;
	}
	if (negative)
		charset_invert(set);
	parser->depth--;
	return set;
}
