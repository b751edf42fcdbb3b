/* The characters of a pattern, before anything is parsed. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/interceptor/javaregex_ast.h"

struct characters {
	uint32_t *text, *place, len;
};

/* One code point of UTF-8; a byte that is none stands for itself (a properties file is Latin-1 with escapes, so this is rare). */
static uint32_t
decode(const uint8_t **text)
{
	const uint8_t *p = *text;
	uint32_t more = p[0] >= 0xf0 ? 3 : p[0] >= 0xe0 ? 2 : p[0] >= 0xc2 ? 1 : 0, c = p[0];
	if (p[0] >= 0xf5)
		more = 0;
	if (more)
		c &= 0x3fu >> more;
	for (uint32_t i = 1; i <= more; i++) {
		if ((p[i] & 0xc0) != 0x80) {
			*text = p + 1;
			return p[0];
		}
		c = c << 6 | (p[i] & 0x3f);
	}
	*text = p + 1 + more;
	return c > CHAR_MAX_POINT ? 0xfffd : c;
}

static void
put(struct characters *out, uint32_t c, uint32_t place)
{
	out->text[out->len] = c;
	out->place[out->len++] = place;
}

/* What stands between \Q and \E is written as escapes, as Java does first of all. */
uint32_t
javaregex_text(const char *pattern, uint32_t **points, uint32_t **places)
{
	struct characters made = {0}, *out = &made;
	size_t bytes = strlen(pattern);
	out->text = malloc((bytes * 5 + 8) * sizeof *out->text);
	out->place = malloc((bytes * 5 + 8) * sizeof *out->place);
	assert(out->text && out->place);
	bool quoted = false, first = false;
	uint32_t place = 0;
	for (const uint8_t *p = (const uint8_t *)pattern; *p; place++) {
		uint32_t c = decode(&p);
		if (quoted) {
			if (c == '\\' && *p == 'E') {
				p++;
				place++;
				quoted = false;
			} else if (first && c >= '0' && c <= '9') {
				/* as \x3N: it must not become part of an escape before the quote */
				put(out, '\\', place);
				put(out, 'x', place);
				put(out, '3', place);
				put(out, c, place);
			} else {
				bool plain = c >= 128 || (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
				if (!plain)
					put(out, '\\', place);
				put(out, c, place);
			}
			first = false;
		} else if (c == '\\' && *p == 'Q') {
			p++;
			place++;
			quoted = first = true;
		} else {
			put(out, c, place);
			if (c == '\\' && *p) {
				c = decode(&p);
				put(out, c, ++place);
			}
		}
	}
	out->place[out->len] = place;
	*points = out->text;
	*places = out->place;
	return out->len;
}
