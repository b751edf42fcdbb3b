/* javaregex_ast: what javaregex.c (parser) shares with _text.c (characters), _check.c (limits) and _emit.c (both translations). Nobody else includes it. */
#ifndef PENSTOCK_DATAPLANE_INTERCEPTOR_JAVAREGEX_AST_H
#define PENSTOCK_DATAPLANE_INTERCEPTOR_JAVAREGEX_AST_H

#include "dataplane/interceptor/charset.h"
#include "dataplane/interceptor/javaregex.h"

enum node_kind {
	NODE_SET,	/* one code point of `set` */
	NODE_SEQ, NODE_ALT,
	NODE_GROUP,	/* capturing, `number` */
	NODE_ATOMIC,
	NODE_LOOK,	/* behind, negative */
	NODE_REPEAT,	/* min, max, how */
	NODE_BACKREF,	/* `number`; to a group that does not exist: never matches */
	NODE_BEGIN,	/* \A, and ^ without (?m) */
	NODE_LAST,	/* \G */
	NODE_LINE_BEGIN,/* (?m)^ */
	NODE_END,	/* \z */
	NODE_END_LINE,	/* $ without (?m), \Z */
	NODE_LINE_END,	/* (?m)$ */
	NODE_BOUND,	/* \b, negative: \B */
	NODE_BREAK,	/* \R */
};

enum repeat_how { REPEAT_GREEDY, REPEAT_LAZY, REPEAT_POSSESSIVE };
#define REPEAT_NO_MAX UINT32_MAX

struct node {
	enum node_kind kind;
	bool behind, negative;
	bool unix_lines;		/* (?d) */
	bool unicode;			/* (?U), for \b */
	uint32_t min, max, number;
	uint32_t at;			/* where in the pattern, for messages */
	enum repeat_how how;
	struct charset set;
	uint32_t kid_count, kid_room;
	struct node **kids;
};

/* Decodes a pattern and resolves \Q..\E. *points: code points; *places [len + 1]: where each began in the pattern, in characters. Both to be freed. */
uint32_t javaregex_text(const char *pattern, uint32_t **points, uint32_t **places);
/* The first node that cannot be had as Java has it, and why; NULL when all can. */
const struct node *javaregex_check(struct node *const *nodes, uint32_t count, uint32_t groups, const char **words);
char *javaregex_emit_pcre(const struct node *root, uint32_t groups);
char *javaregex_emit_prefilter(const struct node *root);	/* NULL: the pattern may match without consuming anything */
bool javaregex_node_always(const struct node *node);		/* matches at every place, whatever stands there */

#endif
