/* Both translations of a java.util.regex tree. Every literal and class is written as explicit code points, every anchor as explicit
 * look-around, so that no option of PCRE2 but PCRE2_UTF has a say. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/interceptor/javaregex_ast.h"

struct text {
	char *bytes;
	size_t len, room;
};

static void __attribute__((format(printf, 2, 3)))
put(struct text *text, const char *format, ...)
{
	for (;;) {
		va_list args;
		va_start(args, format);
		int need = vsnprintf(text->bytes ? text->bytes + text->len : NULL, text->room - text->len, format, args);
		va_end(args);
		if (text->len + (size_t)need < text->room) {
			text->len += (size_t)need;
			return;
		}
		text->room = (text->room + (size_t)need + 64) * 2;
		text->bytes = realloc(text->bytes, text->room);
		assert(text->bytes);
	}
}

/* ---- PCRE2 ---- */

static void
put_ranges(struct text *out, const struct charset *set)
{
	for (uint32_t i = 0; i < set->count; i++) {
		uint32_t lo = set->ranges[i].lo, hi = set->ranges[i].hi;
		/* A surrogate cannot be named in UTF-8, and cannot be met there either. */
		if (lo >= 0xd800 && lo <= 0xdfff)
			lo = 0xe000;
		if (hi >= 0xd800 && hi <= 0xdfff)
			hi = 0xd7ff;
		if (lo > hi)
			continue;
		put(out, lo == hi ? "\\x{%x}" : "\\x{%x}-\\x{%x}", lo, hi);
	}
}

static bool
is_empty(const struct charset *set)
{
	for (uint32_t i = 0; i < set->count; i++)
		if (set->ranges[i].lo < 0xd800 || set->ranges[i].hi > 0xdfff)
			return false;
	return true;
}

static void
put_set(struct text *out, const struct charset *set)
{
	if (is_empty(set)) {
		put(out, "(?!)");
		return;
	}
	if (set->count == 1 && set->ranges[0].lo == set->ranges[0].hi) {
		put(out, "\\x{%x}", set->ranges[0].lo);
		return;
	}
	struct charset inverse = {0};
	charset_union(&inverse, set);
	charset_invert(&inverse);
	bool use_inverse = inverse.count < set->count && !is_empty(&inverse);
	put(out, use_inverse ? "[^" : "[");
	put_ranges(out, use_inverse ? &inverse : set);
	put(out, "]");
	charset_free(&inverse);
}

/* Java 17's \b: a letter or digit of any script or _, or combining marks behind a letter or digit (here: up to three of them). With (?U) the
 * word is \w of Unicode, which has the marks in it. */
static void
put_bound(struct text *out, const struct node *node)
{
#define LD "[\\p{L}\\p{Nd}]"
#define WORD "[_\\p{L}\\p{Nd}]"
#define MN "\\p{Mn}"
	const char *left = "(?<=" WORD "|" LD MN "|" LD MN MN "|" LD MN MN MN ")";
	const char *not_left = "(?<!" WORD "|" LD MN "|" LD MN MN "|" LD MN MN MN ")";
	const char *right_inside = WORD "|(?<=" LD "|" LD MN "|" LD MN MN ")" MN;
#undef LD
#undef WORD
#undef MN
	if (node->unicode) {
		/* The property list is long; PCRE2's own classes say the same for all but a handful of marks. */
#define UWORD "[\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}\\x{200c}\\x{200d}]"
		left = "(?<=" UWORD ")";
		not_left = "(?<!" UWORD ")";
		right_inside = UWORD;
#undef UWORD
	}
	put(out, node->negative ? "(?:%s(?=%s)|%s(?!%s))" : "(?:%s(?!%s)|%s(?=%s))", left, right_inside, not_left, right_inside);
}

static void
pcre(struct text *out, const struct node *node, uint32_t groups)
{
	switch (node->kind) {
	case NODE_SET:
		put_set(out, &node->set);
		break;
	case NODE_SEQ:
		for (uint32_t i = 0; i < node->kid_count; i++) {
			bool wrap = node->kids[i]->kind == NODE_ALT;
			put(out, "%s", wrap ? "(?:" : "");
			pcre(out, node->kids[i], groups);
			put(out, "%s", wrap ? ")" : "");
		}
		break;
	case NODE_ALT:
		for (uint32_t i = 0; i < node->kid_count; i++) {
			put(out, "%s", i ? "|" : "");
			pcre(out, node->kids[i], groups);
		}
		break;
	case NODE_GROUP:
	case NODE_ATOMIC:
		put(out, "%s", node->kind == NODE_GROUP ? "(" : "(?>");
		pcre(out, node->kids[0], groups);
		put(out, ")");
		break;
	case NODE_LOOK:
		put(out, "(?%s%s", node->behind ? "<" : "", node->negative ? "!" : "=");
		pcre(out, node->kids[0], groups);
		put(out, ")");
		break;
	case NODE_REPEAT: {
		const struct node *kid = node->kids[0];
		bool bare = kid->kind == NODE_SET && !is_empty(&kid->set);
		/* Java's possessive loop, and any over \R, keeps each single turn, not only the whole. */
		if (!bare)
			put(out, "%s", node->how == REPEAT_POSSESSIVE || kid->kind == NODE_BREAK ? "(?>" : "(?:");
		pcre(out, kid, groups);
		put(out, "%s", bare ? "" : ")");
		if (node->max == REPEAT_NO_MAX)
			put(out, "{%u,}", node->min);
		else
			put(out, "{%u,%u}", node->min, node->max);
		put(out, "%s", node->how == REPEAT_LAZY ? "?" : node->how == REPEAT_POSSESSIVE ? "+" : "");
		break;
	}
	case NODE_BACKREF:
		if (node->number > groups)
			put(out, "(?!)");
		else
			put(out, "\\g{%u}", node->number);
		break;
	case NODE_BEGIN:
		put(out, "\\A");
		break;
	case NODE_LAST:
		put(out, "\\G");
		break;
	case NODE_LINE_BEGIN:	/* never at the end of the text, not even of an empty one */
		put(out, node->unix_lines ? "(?!\\z)(?:\\A|(?<=\\n))"
					  : "(?!\\z)(?:\\A|(?<=[\\n\\x{85}\\x{2028}\\x{2029}])|(?<=\\r)(?!\\n))");
		break;
	case NODE_END:
		put(out, "\\z");
		break;
	case NODE_END_LINE:	/* before the last line end, and not within \r\n */
		put(out, node->unix_lines ? "(?=\\n?\\z)" : "(?:\\z|(?=(?:\\r\\n|[\\r\\x{85}\\x{2028}\\x{2029}])\\z)|(?<!\\r)(?=\\n\\z))");
		break;
	case NODE_LINE_END:
		put(out, node->unix_lines ? "(?=\\n|\\z)" : "(?:\\z|(?=[\\r\\x{85}\\x{2028}\\x{2029}])|(?<!\\r)(?=\\n))");
		break;
	case NODE_BOUND:
		put_bound(out, node);
		break;
	case NODE_BREAK:
		put(out, "(?:\\r\\n|[\\n\\x{b}\\x{c}\\r\\x{85}\\x{2028}\\x{2029}])");
		break;
	}
}

char *
javaregex_emit_pcre(const struct node *root, uint32_t groups)
{
	struct text out = {0};
	put(&out, "%s", "");
	pcre(&out, root, groups);
	return out.bytes;
}

/* ---- prefilter ---- */

/* Code points beyond ASCII (and the U+FFFD that Java reads for broken UTF-8) are 1 to 4 bytes of 0x80 and above. Assertions are left out, but for
 * ^ at the very front and $ at the very end. Repetitions at both ends are cut to their least number. Each of these only
 * adds texts. */
#define PREFILTER_REPEAT_MAX 64u
#define PREFILTER_BYTES_MAX 8192u

static uint64_t
least(const struct node *node)
{
	uint64_t sum = 0;
	switch (node->kind) {
	case NODE_SET:
	case NODE_BREAK:
		return 1;
	case NODE_SEQ:
		for (uint32_t i = 0; i < node->kid_count; i++)
			sum += least(node->kids[i]);
		return sum > UINT32_MAX ? UINT32_MAX : sum;
	case NODE_ALT:
		sum = UINT64_MAX;
		for (uint32_t i = 0; i < node->kid_count; i++)
			if (least(node->kids[i]) < sum)
				sum = least(node->kids[i]);
		return sum;
	case NODE_GROUP:
	case NODE_ATOMIC:
		return least(node->kids[0]);
	case NODE_REPEAT:
		sum = node->min ? node->min * least(node->kids[0]) : 0;
		return sum > UINT32_MAX ? UINT32_MAX : sum;
	default:
		return 0;
	}
}

static void
put_byte_class(struct text *out, const struct charset *set, bool high)
{
	put(out, "[");
	for (uint32_t i = 0; i < set->count && set->ranges[i].lo < 128; i++)
		put(out, "\\x%02x-\\x%02x", set->ranges[i].lo, set->ranges[i].hi < 128 ? set->ranges[i].hi : 127);
	put(out, high ? "\\x80-\\xff]" : "]");
}

static bool
has_high(const struct charset *set)
{
	return set->count && set->ranges[set->count - 1].hi > 127;
}

static bool
has_low(const struct charset *set)
{
	return set->count && set->ranges[0].lo < 128;
}

static void
prefilter_set(struct text *out, const struct charset *set)
{
	uint32_t c = set->count == 1 && set->ranges[0].lo == set->ranges[0].hi ? set->ranges[0].lo : 0;
	if (!set->count) {
		put(out, "[\\x00-\\xff]");	/* never matches in truth; any byte is an over-approximation */
	} else if (!has_high(set)) {
		put_byte_class(out, set, false);
	} else if (c > 127 && c < 0xd800 && c != 0xfffd) {
		if (c < 0x800)
			put(out, "\\x%02x\\x%02x", 0xc0 | c >> 6, 0x80 | (c & 0x3f));
		else
			put(out, "\\x%02x\\x%02x\\x%02x", 0xe0 | c >> 12, 0x80 | (c >> 6 & 0x3f), 0x80 | (c & 0x3f));
	} else if (!has_low(set)) {
		put(out, "[\\x80-\\xff]{1,4}");
	} else {
		put(out, "(?:");
		put_byte_class(out, set, false);
		put(out, "|[\\x80-\\xff]{1,4})");
	}
}

static void
put_repeat(struct text *out, uint64_t min, uint64_t max)
{
	if (min > PREFILTER_REPEAT_MAX)
		min = PREFILTER_REPEAT_MAX;
	if (max > PREFILTER_REPEAT_MAX && max != min)
		put(out, "{%u,}", (unsigned)min);
	else
		put(out, "{%u,%u}", (unsigned)min, (unsigned)(max < min ? min : max));
}

/* Of those that never write anything. */
static bool
is_silent(const struct node *node)
{
	return node->kind == NODE_LOOK || node->kind == NODE_BOUND;
}

/* head, tail: nothing that is written stands before, behind. */
static void
prefilter(struct text *out, const struct node *node, bool head, bool tail)
{
	if (out->len > PREFILTER_BYTES_MAX)
		return;
	size_t start = out->len;
	switch (node->kind) {
	case NODE_SET:
		prefilter_set(out, &node->set);
		break;
	case NODE_SEQ: {
		uint32_t last = node->kid_count;
		while (last && is_silent(node->kids[last - 1]))
			last--;
		for (uint32_t i = 0; i < last; i++)
			prefilter(out, node->kids[i], head && out->len == start, tail && i + 1 == last);
		break;
	}
	case NODE_ALT:
		put(out, "(?:");
		for (uint32_t i = 0; i < node->kid_count; i++) {
			put(out, "%s", i ? "|" : "");
			prefilter(out, node->kids[i], head, tail);
		}
		put(out, ")");
		break;
	case NODE_GROUP:
	case NODE_ATOMIC:
		prefilter(out, node->kids[0], head, tail);
		break;
	case NODE_REPEAT: {
		const struct node *kid = node->kids[0];
		uint64_t min = node->min, max = node->max == REPEAT_NO_MAX ? UINT32_MAX : node->max;
		if (head || tail)
			max = min;
		if (!max)
			break;
		if (kid->kind == NODE_SET && kid->set.count) {
			bool high = has_high(&kid->set);
			put_byte_class(out, &kid->set, high);
			put_repeat(out, min, high && !head && !tail ? max * 4 : max);
			break;
		}
		bool once = min == 1 && max == 1;
		put(out, "(?:");
		size_t inner = out->len;
		prefilter(out, kid, head && once, tail && once);
		if (out->len == inner) {
			out->len = start;
			out->bytes[start] = '\0';
			break;
		}
		put(out, ")");
		put_repeat(out, min, max);
		break;
	}
	case NODE_BACKREF:
		if (!head && !tail)
			put(out, "[\\x00-\\xff]*");
		break;
	case NODE_BREAK:
		put(out, "[\\x0a-\\x0d\\x80-\\xff]{1,3}");
		break;
	case NODE_BEGIN:
	case NODE_LAST:
		if (head)
			put(out, "^");
		break;
	case NODE_LINE_BEGIN:
		if (head)
			put(out, "(?:^|[\\r\\x80-\\xff])");
		break;
	case NODE_END:
		if (tail)
			put(out, "$");
		break;
	case NODE_END_LINE:
	case NODE_LINE_END:
		if (tail)
			put(out, "(?:$|[\\r\\x80-\\xff])");
		break;
	case NODE_LOOK:
	case NODE_BOUND:
		break;
	}
}

char *
javaregex_emit_prefilter(const struct node *root)
{
	struct text out = {0};
	if (!least(root))
		return NULL;
	put(&out, "%s", "");
	prefilter(&out, root, true, true);
	if (out.len > PREFILTER_BYTES_MAX || !out.len) {
		free(out.bytes);
		return NULL;
	}
	return out.bytes;
}

bool
javaregex_node_always(const struct node *node)
{
	switch (node->kind) {
	case NODE_SEQ:
		for (uint32_t i = 0; i < node->kid_count; i++)
			if (!javaregex_node_always(node->kids[i]))
				return false;
		return true;
	case NODE_ALT:
		for (uint32_t i = 0; i < node->kid_count; i++)
			if (javaregex_node_always(node->kids[i]))
				return true;
		return false;
	case NODE_GROUP:
	case NODE_ATOMIC:
		return javaregex_node_always(node->kids[0]);
	case NODE_REPEAT:
		return node->min == 0 || javaregex_node_always(node->kids[0]);
	default:
		return false;
	}
}
