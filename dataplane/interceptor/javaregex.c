#include "dataplane/interceptor/javaregex.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <unicode/uchar.h>

#include "dataplane/interceptor/javaregex_parser.h"

#define NODES_MAX 100000

void
parser_fail(struct parser *parser, int errnum, uint32_t at, const char *format, ...)
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
		parser_fail(parser, ENOTSUP, parser->at, "the pattern is too large");
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

/* Java's peek(): with (?x), white space and comments are not there. */
uint32_t
parser_peek(struct parser *parser)
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
	return parser_raw(parser, 0);
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
	charset_add_single(&node->set, point, parser_fold(parser));
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
		uint32_t c = parser_raw(parser, 0);
		bool letter = c < 128 && (c | 32) >= 'a' && (c | 32) <= 'z', digit = c >= '0' && c <= '9';
		if (n && c == '>')
			break;
		if ((!letter && !(n && digit)) || n + 1 >= size)
			parser_fail(parser, EINVAL, start, "a group's name is letters and digits, a letter first");
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
		parser_fail(parser, ENOTSUP, start, "a back reference under (?i) is not supported: PCRE2 would compare by other rules than Java; "
					     "write it outside of (?i)");
	struct node *node = node_new(parser, NODE_BACKREF);
	node->number = number;
	return node;
}

/* Cursor behind the backslash. */
static struct node *
parse_escape(struct parser *parser)
{
	uint32_t start = parser->at, c = parser_raw(parser, 0), point;
	if (c == 'p' || c == 'P') {
		struct node *node = node_new(parser, NODE_SET);
		parser_property(parser, &node->set);
		return node;
	}
	if (parser_is_class_letter(c)) {
		struct node *node = node_new(parser, NODE_SET);
		charset_add_escape(&node->set, (char)c, parser->flags & FLAG_W);
		parser->at++;
		return node;
	}
	if (parser_escape_point(parser, &point))
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
		if (parser_raw(parser, 0) == '{')
			parser_fail(parser, ENOTSUP, start, "\\b{g} is not supported");
		return node_new(parser, NODE_BOUND);
	case 'B': {
		struct node *node = node_new(parser, NODE_BOUND);
		node->negative = true;
		return node;
	}
	case 'X':
		parser_fail(parser, ENOTSUP, start, "\\X (grapheme cluster) is not supported");
	case 'k': {
		char name[64];
		if (parser_raw(parser, 0) != '<')
			parser_fail(parser, EINVAL, start, "\\k needs <name>");
		parser->at++;
		group_name(parser, name, sizeof name);
		uint32_t number = group_find(parser, name);
		if (!number)
			parser_fail(parser, EINVAL, start, "no group <%s> begins before this", name);
		return back_reference(parser, number, start);
	}
	}
	if (c >= '1' && c <= '9') {
		uint32_t number = c - '0';
		/* More digits belong to it only while such a group has begun. */
		while (parser_raw(parser, 0) >= '0' && parser_raw(parser, 0) <= '9' && number * 10 + (parser_raw(parser, 0) - '0') <= parser->groups) {
			number = number * 10 + (parser_raw(parser, 0) - '0');
			parser->at++;
		}
		return back_reference(parser, number, start);
	}
	parser_fail(parser, EINVAL, start, "\\%c is no escape", (char)c);
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
		parser_fail(parser, ENOTSUP, start, "more than %d groups or classes within each other", DEPTH_MAX);
	parser->depth++;
	struct node *inner = parse_alternatives(parser);
	parser->depth--;
	if (parser_peek(parser) != ')')
		parser_fail(parser, EINVAL, start, "the group does not end");
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
	if (parser_raw(parser, 0) != '?') {
		group = node_new(parser, NODE_GROUP);
	} else {
		parser->at++;
		uint32_t c = parser_raw(parser, 0);
		if (c == '<' && parser_raw(parser, 1) != '=' && parser_raw(parser, 1) != '!') {
			parser->at++;
			group_name(parser, name, sizeof name);
			if (group_find(parser, name))
				parser_fail(parser, EINVAL, start, "a group <%s> is there already", name);
			group = node_new(parser, NODE_GROUP);
		} else if (c == '<' || c == '=' || c == '!') {
			group = node_new(parser, NODE_LOOK);
			group->behind = c == '<';
			parser->at += c == '<';
			group->negative = parser_raw(parser, 0) == '!';
			parser->at++;
		} else if (c == '>') {
			group = node_new(parser, NODE_ATOMIC);
			parser->at++;
		} else if (c == ':') {
			parser->at++;
		} else {
			bool off = false;
			for (; (c = parser_raw(parser, 0)) != ')' && c != ':'; parser->at++) {
				uint32_t flag = flag_of(c);
				if (c == '-' && !off)
					off = true;
				else if (!flag)
					parser_fail(parser, EINVAL, start, "unknown group or flag");
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
	while (parser_raw(parser, 0) >= '0' && parser_raw(parser, 0) <= '9') {
		value = value * 10 + parser_raw(parser, 0) - '0';
		if (value > INT32_MAX)
			parser_fail(parser, EINVAL, parser->at, "the number of repetitions is too large");
		parser->at++;
	}
	if (value > 65535)
		parser_fail(parser, ENOTSUP, parser->at, "more than 65535 repetitions are not supported");
	return (uint32_t)value;
}

static struct node *
parse_repeat(struct parser *parser, struct node *atom)
{
	uint32_t c = parser_peek(parser), start = parser->at, min = 0, max = REPEAT_NO_MAX;
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
		if (!(parser_raw(parser, 0) >= '0' && parser_raw(parser, 0) <= '9'))
			parser_fail(parser, EINVAL, start, "{ needs a number of repetitions (write \\{ for the brace itself)");
		min = max = repeat_number(parser);
		if (parser_raw(parser, 0) == ',') {
			parser->at++;
			max = parser_raw(parser, 0) == '}' ? REPEAT_NO_MAX : repeat_number(parser);
		}
		if (parser_raw(parser, 0) != '}')
			parser_fail(parser, EINVAL, start, "the number of repetitions does not end with }");
		if (max < min)
			parser_fail(parser, EINVAL, start, "the largest number of repetitions lies below the smallest");
		break;
	default:
		return atom;
	}
	parser->at++;
	struct node *node = node_new(parser, NODE_REPEAT);
	node->min = min;
	node->max = max;
	c = parser_peek(parser);
	if (c == '?' || c == '+') {
		node->how = c == '?' ? REPEAT_LAZY : REPEAT_POSSESSIVE;
		parser->at++;
	}
	node_adopt(node, atom);
	if (parser_peek(parser) == '{')
		parser_fail(parser, ENOTSUP, parser->at, "a quantifier behind a quantifier is not supported: Java gives it no useful meaning");
	return node;
}

static struct node *
parse_sequence(struct parser *parser)
{
	struct node *seq = node_new(parser, NODE_SEQ);
	for (;;) {
		uint32_t c = parser_peek(parser), start = parser->at;
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
			atom = set_node(parser, parser_class(parser, true));
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
			parser_fail(parser, EINVAL, start, "%c with nothing to repeat", (char)c);
		case '{':
			/* An error in Java too, but behind (?i) it takes it, for nothing useful. */
			parser_fail(parser, ENOTSUP, start, "{ with nothing to repeat (write \\{ for the brace itself)");
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
	while (parser_peek(parser) == '|') {
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
			parser_fail(parser, EINVAL, parser->at, ") without (");
		const char *words;
		const struct node *odd = javaregex_check(parser->nodes, parser->node_count, parser->groups, &words);
		if (odd)
			parser_fail(parser, ENOTSUP, odd->at, "%s", words);
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
