#include "dataplane/interceptor/javaregex.h"

#include <assert.h>
#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <unicode/uchar.h>

#include "dataplane/interceptor/javaregex_ast.h"

#define DEPTH_MAX 200	/* groups and classes within each other */
#define NODES_MAX 100000
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

static void __attribute__((noreturn, format(printf, 4, 5)))
fail(struct parser *parser, int errnum, uint32_t at, const char *format, ...)
{
	char words[256];
	va_list args;
	va_start(args, format);
	vsnprintf(words, sizeof words, format, args);
	va_end(args);
	uint32_t place = parser->place[at < parser->len ? at : parser->len];
	parser->rc = err_set(parser->err, errnum, "regex \"%s\": at character %u: %s", parser->pattern, place + 1, words);
	longjmp(parser->out, 1);
}

static struct node *
node_new(struct parser *parser, enum node_kind kind)
{
	if (parser->node_count == NODES_MAX)
		fail(parser, ENOTSUP, parser->at, "the pattern is too large");
	if (parser->node_count == parser->node_room) {
		parser->node_room = parser->node_room ? parser->node_room * 2 : 64;
		parser->nodes = realloc(parser->nodes, parser->node_room * sizeof *parser->nodes);
		assert(parser->nodes);
	}
	struct node *node = calloc(1, sizeof *node);
	assert(node);
	node->kind = kind;
	node->at = parser->at;
	node->unix_lines = parser->flags & FLAG_D;
	node->unicode = parser->flags & FLAG_W;
	parser->nodes[parser->node_count++] = node;
	return node;
}

static void
node_adopt(struct node *node, struct node *kid)
{
	if (node->kid_count == node->kid_room) {
		node->kid_room = node->kid_room ? node->kid_room * 2 : 4;
		node->kids = realloc(node->kids, node->kid_room * sizeof *node->kids);
		assert(node->kids);
	}
	node->kids[node->kid_count++] = kid;
}

static uint32_t
raw(const struct parser *parser, uint32_t ahead)
{
	return parser->at + ahead < parser->len ? parser->text[parser->at + ahead] : END;
}

/* Java's peek(): with (?x), white space and comments are not there. */
static uint32_t
peek(struct parser *parser)
{
	while (parser->flags & FLAG_X && parser->at < parser->len) {
		uint32_t c = parser->text[parser->at];
		if (c == ' ' || (c >= 9 && c <= 13)) {
			parser->at++;
		} else if (c == '#') {
			while (parser->at < parser->len) {
				c = parser->text[parser->at];
				if (c == '\n' || (!(parser->flags & FLAG_D) && (c == '\r' || c == 0x85 || c == 0x2028 || c == 0x2029)))
					break;
				parser->at++;
			}
		} else {
			break;
		}
	}
	return raw(parser, 0);
}

static enum charset_case
fold(const struct parser *parser)
{
	if (!(parser->flags & FLAG_I))
		return CASE_EXACT;
	return parser->flags & FLAG_U ? CASE_UNICODE : CASE_ASCII;
}

static int
hex_value(uint32_t c)
{
	if (c >= '0' && c <= '9')
		return (int)c - '0';
	if (c < 128 && (c | 32) >= 'a' && (c | 32) <= 'f')
		return (int)(c | 32) - 'a' + 10;
	return -1;
}

/* ---- escapes ---- */

static uint32_t
hex_digits(struct parser *parser, uint32_t count)
{
	uint32_t value = 0;
	for (uint32_t i = 0; i < count; i++) {
		int digit = hex_value(raw(parser, 0));
		if (digit < 0)
			fail(parser, EINVAL, parser->at, "a hexadecimal escape needs %u digits", count);
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
	while (raw(parser, 0) != '}') {
		uint32_t c = raw(parser, 0);
		if (c == END || c > 126 || n + 1 >= size)
			fail(parser, EINVAL, start, "a name in { } that does not end or is not a name");
		text[n++] = (char)c;
		parser->at++;
	}
	parser->at++;
	text[n] = '\0';
	if (!n)
		fail(parser, EINVAL, start, "an empty name in { }");
}

/* An escape that stands for one code point; cursor behind the backslash. False (cursor unmoved): it is something else. */
static bool
escape_point(struct parser *parser, uint32_t *point)
{
	uint32_t start = parser->at, c = raw(parser, 0);
	parser->at++;
	switch (c) {
	case END:
		fail(parser, EINVAL, start, "a backslash at the end");
	case '0': {
		uint32_t value = 0, digits = 0;
		uint32_t max = raw(parser, 0) <= '3' ? 3 : 2;
		while (digits < max && raw(parser, 0) >= '0' && raw(parser, 0) <= '7') {
			value = value * 8 + raw(parser, 0) - '0';
			parser->at++;
			digits++;
		}
		if (!digits)
			fail(parser, EINVAL, start, "\\0 needs octal digits");
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
		if (raw(parser, 0) == END)
			fail(parser, EINVAL, start, "\\c needs a character");
		*point = raw(parser, 0) ^ 64;
		parser->at++;
		return true;
	case 'x':
		if (raw(parser, 0) == '{') {
			char digits[16];
			braced(parser, digits, sizeof digits);
			uint32_t value = 0;
			for (const char *p = digits; *p; p++) {
				int digit = hex_value((uint8_t)*p);
				if (digit < 0 || (value = value * 16 + (uint32_t)digit) > CHAR_MAX_POINT)
					fail(parser, EINVAL, start, "\\x{%s} is no code point", digits);
			}
			*point = value;
		} else {
			*point = hex_digits(parser, 2);
		}
		return true;
	case 'u':
		*point = hex_digits(parser, 4);
		if (*point >= 0xd800 && *point < 0xdc00 && raw(parser, 0) == '\\' && raw(parser, 1) == 'u') {
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
		if (raw(parser, 0) == '{') {
			char name[128];
			braced(parser, name, sizeof name);
			UErrorCode status = U_ZERO_ERROR;
			UChar32 found = u_charFromName(U_EXTENDED_CHAR_NAME, name, &status);
			if (U_FAILURE(status))
				fail(parser, EINVAL, start, "no character is called %s", name);
			*point = (uint32_t)found;
			return true;
		}
		fail(parser, EINVAL, start, "\\N needs a name in { }");
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
static void
property(struct parser *parser, struct charset *set)
{
	uint32_t start = parser->at;
	bool negative = raw(parser, 0) == 'P';
	char name[128];
	parser->at++;
	peek(parser);
	if (raw(parser, 0) == '{') {
		braced(parser, name, sizeof name);
	} else {
		uint32_t c = raw(parser, 0);
		if (c == END || c > 126)
			fail(parser, EINVAL, start, "\\p needs a name");
		name[0] = (char)c;
		name[1] = '\0';
		parser->at++;
	}
	struct charset *own = &parser->scratch[DEPTH_MAX + 1];
	charset_free(own);
	if (!charset_add_property(own, name, parser->flags & FLAG_W, fold(parser)))
		fail(parser, EINVAL, start, "unknown character property %s", name);
	if (negative)
		charset_invert(own);
	charset_union(set, own);
	charset_free(own);
}

static bool
is_class_letter(uint32_t c)
{
	return c < 128 && c && strchr("dDhHsSvVwW", (int)c);
}

/* ---- classes ---- */

static struct charset *
class_scratch(struct parser *parser)
{
	if (parser->depth == DEPTH_MAX)
		fail(parser, ENOTSUP, parser->at, "more than %d groups or classes within each other", DEPTH_MAX);
	struct charset *set = &parser->scratch[parser->depth++];
	charset_free(set);
	return set;
}

/* One element: a character, an escape, or a range. */
static void
class_element(struct parser *parser, struct charset *set)
{
	uint32_t start = parser->at, c = peek(parser);
	if (c == '\\') {
		parser->at++;
		uint32_t letter = raw(parser, 0);
		if (letter == 'p' || letter == 'P') {
			property(parser, set);
			return;
		}
		if (letter == 'v' && raw(parser, 1) == '-') {
			c = 11;
			parser->at++;
		} else if (is_class_letter(letter)) {
			charset_add_escape(set, (char)letter, parser->flags & FLAG_W);
			parser->at++;
			return;
		} else if (!escape_point(parser, &c)) {
			fail(parser, EINVAL, start, "\\%c has no meaning in a character class", (char)letter);
		}
	} else {
		parser->at++;
	}
	if (peek(parser) == '-') {
		uint32_t after = raw(parser, 1);
		if (after != '[' && after != ']') {
			parser->at++;
			uint32_t hi = peek(parser);
			if (hi == END)
				fail(parser, EINVAL, start, "the character class does not end");
			parser->at++;
			if (hi == '\\') {
				if (raw(parser, 0) == 'v') {
					hi = 11;
					parser->at++;
				} else if (!escape_point(parser, &hi)) {
					fail(parser, EINVAL, start, "a range must end with a character");
				}
			}
			if (hi < c)
				fail(parser, EINVAL, start, "the range ends before it begins");
			charset_add_range(set, c, hi, fold(parser));
			return;
		}
	}
	charset_add_single(set, c, fold(parser));
}

/* Java's clazz(): cursor at what follows '[' (consume), or at the first element of the right side of && (not). Leaves the set in the
 * scratch of this depth, whose address it returns with depth already given back: use it before the next class_scratch. */
static struct charset *
class_parse(struct parser *parser, bool consume)
{
	struct charset *set = class_scratch(parser);
	uint32_t start = parser->at;
	bool negative = false, any = false;
	if (consume && raw(parser, 0) == '^') {
		negative = true;
		parser->at++;
	}
	for (;;) {
		uint32_t c = peek(parser);
		if (c == END)
			fail(parser, EINVAL, start, "the character class does not end");
		if (c == '[') {
			parser->at++;
			charset_union(set, class_parse(parser, true));
			any = true;
			continue;
		}
		if (c == '&' && raw(parser, 1) == '&') {
			uint32_t operator = parser->at;
			parser->at += 2;
			bool right_any = false;
			struct charset *right = class_scratch(parser);
			while ((c = peek(parser)) != ']' && c != '&') {
				if (c == END)
					fail(parser, EINVAL, start, "the character class does not end");
				if (c == '[') {
					parser->at++;
					charset_union(right, class_parse(parser, true));
				} else {
					charset_union(right, class_parse(parser, false));
				}
				right_any = true;
			}
			parser->depth--;
			if (!right_any)
				fail(parser, any ? ENOTSUP : EINVAL, operator, "&& with nothing behind it");
			if (raw(parser, 0) == '&' && raw(parser, 1) != '&')
				fail(parser, ENOTSUP, parser->at, "a single & behind && is not supported: Java takes it for more than it says; write \\&");
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

/* ---- groups and sequences ---- */

static struct node *parse_alternatives(struct parser *parser);

static struct node *
set_node(struct parser *parser, const struct charset *set)
{
	struct node *node = node_new(parser, NODE_SET);
	charset_union(&node->set, set);
	return node;
}

static struct node *
point_node(struct parser *parser, uint32_t point)
{
	struct node *node = node_new(parser, NODE_SET);
	charset_add_single(&node->set, point, fold(parser));
	return node;
}

static struct node *
dot_node(struct parser *parser)
{
	struct node *node = node_new(parser, NODE_SET);
	if (!(parser->flags & FLAG_S)) {
		charset_add(&node->set, '\n', '\n');
		if (!(parser->flags & FLAG_D)) {
			charset_add(&node->set, '\r', '\r');
			charset_add(&node->set, 0x85, 0x85);
			charset_add(&node->set, 0x2028, 0x2029);
		}
	}
	charset_invert(&node->set);
	return node;
}

/* A group's name, cursor behind '<'; leaves it behind '>'. */
static void
group_name(struct parser *parser, char *name, size_t size)
{
	uint32_t start = parser->at;
	size_t n = 0;
	for (;;) {
		uint32_t c = raw(parser, 0);
		bool letter = c < 128 && (c | 32) >= 'a' && (c | 32) <= 'z', digit = c >= '0' && c <= '9';
		if (n && c == '>')
			break;
		if ((!letter && !(n && digit)) || n + 1 >= size)
			fail(parser, EINVAL, start, "a group's name is letters and digits, a letter first");
		name[n++] = (char)c;
		parser->at++;
	}
	parser->at++;
	name[n] = '\0';
}

static uint32_t
group_find(const struct parser *parser, const char *name)
{
	for (uint32_t i = 1; i <= parser->groups; i++)
		if (parser->names[i] && strcmp(parser->names[i], name) == 0)
			return i;
	return 0;
}

static struct node *
back_reference(struct parser *parser, uint32_t number, uint32_t start)
{
	if (parser->flags & FLAG_I)
		fail(parser, ENOTSUP, start, "a back reference under (?i) is not supported: PCRE2 would compare by other rules than Java; "
					     "write it outside of (?i)");
	struct node *node = node_new(parser, NODE_BACKREF);
	node->number = number;
	return node;
}

/* Cursor behind the backslash. */
static struct node *
parse_escape(struct parser *parser)
{
	uint32_t start = parser->at, c = raw(parser, 0), point;
	if (c == 'p' || c == 'P') {
		struct node *node = node_new(parser, NODE_SET);
		property(parser, &node->set);
		return node;
	}
	if (is_class_letter(c)) {
		struct node *node = node_new(parser, NODE_SET);
		charset_add_escape(&node->set, (char)c, parser->flags & FLAG_W);
		parser->at++;
		return node;
	}
	if (escape_point(parser, &point))
		return point_node(parser, point);
	parser->at++;
	switch (c) {
	case 'A':
		return node_new(parser, NODE_BEGIN);
	case 'G':
		return node_new(parser, NODE_LAST);
	case 'z':
		return node_new(parser, NODE_END);
	case 'Z':
		return node_new(parser, NODE_END_LINE);
	case 'R':
		return node_new(parser, NODE_BREAK);
	case 'b':
		if (raw(parser, 0) == '{')
			fail(parser, ENOTSUP, start, "\\b{g} is not supported");
		return node_new(parser, NODE_BOUND);
	case 'B': {
		struct node *node = node_new(parser, NODE_BOUND);
		node->negative = true;
		return node;
	}
	case 'X':
		fail(parser, ENOTSUP, start, "\\X (grapheme cluster) is not supported");
	case 'k': {
		char name[64];
		if (raw(parser, 0) != '<')
			fail(parser, EINVAL, start, "\\k needs <name>");
		parser->at++;
		group_name(parser, name, sizeof name);
		uint32_t number = group_find(parser, name);
		if (!number)
			fail(parser, EINVAL, start, "no group <%s> begins before this", name);
		return back_reference(parser, number, start);
	}
	}
	if (c >= '1' && c <= '9') {
		uint32_t number = c - '0';
		/* More digits belong to it only while such a group has begun. */
		while (raw(parser, 0) >= '0' && raw(parser, 0) <= '9' && number * 10 + (raw(parser, 0) - '0') <= parser->groups) {
			number = number * 10 + (raw(parser, 0) - '0');
			parser->at++;
		}
		return back_reference(parser, number, start);
	}
	fail(parser, EINVAL, start, "\\%c is no escape", (char)c);
}

static uint32_t
flag_of(uint32_t c)
{
	switch (c) {
	case 'i': return FLAG_I;
	case 'd': return FLAG_D;
	case 'm': return FLAG_M;
	case 's': return FLAG_S;
	case 'u': return FLAG_U;
	case 'x': return FLAG_X;
	case 'U': return FLAG_W | FLAG_U;
	default: return 0;
	}
}

static struct node *
group_body(struct parser *parser, struct node *group, uint32_t start, uint32_t saved_flags)
{
	if (parser->depth == DEPTH_MAX)
		fail(parser, ENOTSUP, start, "more than %d groups or classes within each other", DEPTH_MAX);
	parser->depth++;
	struct node *inner = parse_alternatives(parser);
	parser->depth--;
	if (peek(parser) != ')')
		fail(parser, EINVAL, start, "the group does not end");
	parser->at++;
	parser->flags = saved_flags;
	if (!group)
		return inner;
	node_adopt(group, inner);
	return group;
}

/* Cursor at '('. NULL: only flags, (?i). */
static struct node *
parse_group(struct parser *parser)
{
	uint32_t start = parser->at, saved = parser->flags;
	struct node *group = NULL;
	char name[64] = "";
	parser->at++;
	if (raw(parser, 0) != '?') {
		group = node_new(parser, NODE_GROUP);
	} else {
		parser->at++;
		uint32_t c = raw(parser, 0);
		if (c == '<' && raw(parser, 1) != '=' && raw(parser, 1) != '!') {
			parser->at++;
			group_name(parser, name, sizeof name);
			if (group_find(parser, name))
				fail(parser, EINVAL, start, "a group <%s> is there already", name);
			group = node_new(parser, NODE_GROUP);
		} else if (c == '<' || c == '=' || c == '!') {
			group = node_new(parser, NODE_LOOK);
			group->behind = c == '<';
			parser->at += c == '<';
			group->negative = raw(parser, 0) == '!';
			parser->at++;
		} else if (c == '>') {
			group = node_new(parser, NODE_ATOMIC);
			parser->at++;
		} else if (c == ':') {
			parser->at++;
		} else {
			bool off = false;
			for (; (c = raw(parser, 0)) != ')' && c != ':'; parser->at++) {
				uint32_t flag = flag_of(c);
				if (c == '-' && !off)
					off = true;
				else if (!flag)
					fail(parser, EINVAL, start, "unknown group or flag");
				else if (off)
					parser->flags &= ~flag;
				else
					parser->flags |= flag;
			}
			parser->at++;
			if (c == ')')
				return NULL;
		}
	}
	if (group && group->kind == NODE_GROUP) {
		group->number = ++parser->groups;
		parser->names = realloc(parser->names, (parser->groups + 1) * sizeof *parser->names);
		assert(parser->names);
		parser->names[group->number] = name[0] ? strdup(name) : NULL;
	}
	return group_body(parser, group, start, saved);
}

static uint32_t
repeat_number(struct parser *parser)
{
	uint64_t value = 0;
	while (raw(parser, 0) >= '0' && raw(parser, 0) <= '9') {
		value = value * 10 + raw(parser, 0) - '0';
		if (value > INT32_MAX)
			fail(parser, EINVAL, parser->at, "the number of repetitions is too large");
		parser->at++;
	}
	if (value > 65535)
		fail(parser, ENOTSUP, parser->at, "more than 65535 repetitions are not supported");
	return (uint32_t)value;
}

static struct node *
parse_repeat(struct parser *parser, struct node *atom)
{
	uint32_t c = peek(parser), start = parser->at, min = 0, max = REPEAT_NO_MAX;
	switch (c) {
	case '*':
		break;
	case '+':
		min = 1;
		break;
	case '?':
		max = 1;
		break;
	case '{':
		parser->at++;
		if (!(raw(parser, 0) >= '0' && raw(parser, 0) <= '9'))
			fail(parser, EINVAL, start, "{ needs a number of repetitions (write \\{ for the brace itself)");
		min = max = repeat_number(parser);
		if (raw(parser, 0) == ',') {
			parser->at++;
			max = raw(parser, 0) == '}' ? REPEAT_NO_MAX : repeat_number(parser);
		}
		if (raw(parser, 0) != '}')
			fail(parser, EINVAL, start, "the number of repetitions does not end with }");
		if (max < min)
			fail(parser, EINVAL, start, "the largest number of repetitions lies below the smallest");
		break;
	default:
		return atom;
	}
	parser->at++;
	struct node *node = node_new(parser, NODE_REPEAT);
	node->min = min;
	node->max = max;
	c = peek(parser);
	if (c == '?' || c == '+') {
		node->how = c == '?' ? REPEAT_LAZY : REPEAT_POSSESSIVE;
		parser->at++;
	}
	node_adopt(node, atom);
	if (peek(parser) == '{')
		fail(parser, ENOTSUP, parser->at, "a quantifier behind a quantifier is not supported: Java gives it no useful meaning");
	return node;
}

static struct node *
parse_sequence(struct parser *parser)
{
	struct node *seq = node_new(parser, NODE_SEQ);
	for (;;) {
		uint32_t c = peek(parser), start = parser->at;
		struct node *atom;
		switch (c) {
		case END:
		case '|':
		case ')':
			return seq;
		case '(':
			atom = parse_group(parser);
			if (!atom)
				continue;
			break;
		case '[': {
			parser->at++;
			atom = set_node(parser, class_parse(parser, true));
			break;
		}
		case '\\':
			parser->at++;
			atom = parse_escape(parser);
			break;
		case '^':
			parser->at++;
			atom = node_new(parser, parser->flags & FLAG_M ? NODE_LINE_BEGIN : NODE_BEGIN);
			break;
		case '$':
			parser->at++;
			atom = node_new(parser, parser->flags & FLAG_M ? NODE_LINE_END : NODE_END_LINE);
			break;
		case '.':
			parser->at++;
			atom = dot_node(parser);
			break;
		case '*':
		case '+':
		case '?':
			fail(parser, EINVAL, start, "%c with nothing to repeat", (char)c);
		case '{':
			/* An error in Java too, but behind (?i) it takes it, for nothing useful. */
			fail(parser, ENOTSUP, start, "{ with nothing to repeat (write \\{ for the brace itself)");
		default:
			parser->at++;
			atom = point_node(parser, c);
		}
		node_adopt(seq, parse_repeat(parser, atom));
	}
}

static struct node *
parse_alternatives(struct parser *parser)
{
	struct node *first = parse_sequence(parser), *alt = NULL;
	while (peek(parser) == '|') {
		parser->at++;
		if (!alt) {
			alt = node_new(parser, NODE_ALT);
			node_adopt(alt, first);
		}
		node_adopt(alt, parse_sequence(parser));
	}
	return alt ? alt : first;
}

int
javaregex_parse(const char *pattern, struct javaregex **regex, struct err *err)
{
	struct parser *parser = calloc(1, sizeof *parser);
	struct javaregex *made = calloc(1, sizeof *made);
	assert(parser && made);
	*regex = NULL;
	parser->err = err;
	parser->pattern = pattern;
	parser->names = calloc(1, sizeof *parser->names);
	assert(parser->names);
	parser->len = javaregex_text(pattern, &parser->text, &parser->place);
	if (setjmp(parser->out) == 0) {
		struct node *root = parse_alternatives(parser);
		if (parser->at < parser->len)
			fail(parser, EINVAL, parser->at, ") without (");
		const char *words;
		const struct node *odd = javaregex_check(parser->nodes, parser->node_count, parser->groups, &words);
		if (odd)
			fail(parser, ENOTSUP, odd->at, "%s", words);
		made->pcre = javaregex_emit_pcre(root, parser->groups);
		made->always = javaregex_node_always(root);
		made->prefilter = made->always ? NULL : javaregex_emit_prefilter(root);
	}
	made->groups = parser->groups;
	made->group_names = parser->names;
	for (uint32_t i = 0; i < parser->node_count; i++) {
		charset_free(&parser->nodes[i]->set);
		free(parser->nodes[i]->kids);
		free(parser->nodes[i]);
	}
	for (size_t i = 0; i < DEPTH_MAX + 2; i++)
		charset_free(&parser->scratch[i]);
	free(parser->nodes);
	free(parser->text);
	free(parser->place);
	int rc = parser->rc;
	free(parser);
	if (rc) {
		javaregex_free(made);
		return rc;
	}
	*regex = made;
	return 0;
}

void
javaregex_free(struct javaregex *regex)
{
	if (!regex)
		return;
	for (uint32_t i = 0; i <= regex->groups; i++)
		free(regex->group_names[i]);
	free(regex->group_names);
	free(regex->pcre);
	free(regex->prefilter);
	free(regex);
}
