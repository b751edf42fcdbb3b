/* javaregex_parser: what the two halves of the parser share: javaregex.c (groups and sequences) and javaregex_class.c (escapes and classes). Nobody else
 * includes it. */
#ifndef PENSTOCK_DATAPLANE_INTERCEPTOR_JAVAREGEX_PARSER_H
#define PENSTOCK_DATAPLANE_INTERCEPTOR_JAVAREGEX_PARSER_H

#include <setjmp.h>

#include "dataplane/interceptor/javaregex_ast.h"

#define DEPTH_MAX 200	/* groups and classes within each other */
#define END UINT32_MAX	/* past the end of the pattern */

enum flag { FLAG_I = 1, FLAG_D = 2, FLAG_M = 4, FLAG_S = 8, FLAG_U = 16, FLAG_X = 32, FLAG_W = 64 /* (?U) */ };

struct parser {
	uint32_t *text, *place;		/* code points after \Q..\E is resolved; where each began in the pattern, in characters */
	uint32_t len, at, flags, groups, depth;
	char **names;			/* [groups + 1] */
	struct node *root;		/* all nodes hang here until they have a parent: freed on error */
	struct node **nodes;
	uint32_t node_count, node_room;
	struct charset scratch[DEPTH_MAX + 2];	/* classes under construction, freed on error */
	const char *pattern;
	struct err *err;
	int rc;
	jmp_buf out;
};

/* Does not return: javaregex_parse does, with the message and the place in the pattern. */
void parser_fail(struct parser *parser, int errnum, uint32_t at, const char *format, ...) __attribute__((noreturn, format(printf, 4, 5)));
uint32_t parser_peek(struct parser *parser);	/* Java's peek(): with (?x), white space and comments are not there */
/* An escape that stands for one code point; cursor behind the backslash. False (cursor unmoved): it is something else. */
bool parser_escape_point(struct parser *parser, uint32_t *point);
/* \p.. and \P.., cursor at the letter. */
void parser_property(struct parser *parser, struct charset *set);
/* Does the letter behind a backslash stand for a class, such as d in \d? */
bool parser_is_class_letter(uint32_t c);
/* Java's clazz(): cursor behind '[' (consume), or at the first element of the right side of && (not). */
struct charset *parser_class(struct parser *parser, bool consume);

static inline uint32_t
parser_raw(const struct parser *parser, uint32_t ahead)
{
	return parser->at + ahead < parser->len ? parser->text[parser->at + ahead] : END;
}

static inline enum charset_case
parser_fold(const struct parser *parser)
{
	if (!(parser->flags & FLAG_I))
		return CASE_EXACT;
	return parser->flags & FLAG_U ? CASE_UNICODE : CASE_ASCII;
}

#endif
