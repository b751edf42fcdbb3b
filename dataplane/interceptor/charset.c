#include "dataplane/interceptor/charset.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <unicode/uchar.h>
#include <unicode/uscript.h>

void
charset_free(struct charset *set)
{
	free(set->ranges);
	*set = (struct charset){0};
}

static void
append(struct charset *set, uint32_t lo, uint32_t hi)
{
	if (set->count && set->ranges[set->count - 1].hi + 1 == lo) {
		set->ranges[set->count - 1].hi = hi;
		return;
	}
	if (set->count == set->room) {
		set->room = set->room ? set->room * 2 : 8;
		set->ranges = realloc(set->ranges, set->room * sizeof *set->ranges);
		assert(set->ranges);
	}
	set->ranges[set->count++] = (struct charset_range){lo, hi};
}

static int
range_compare(const void *a, const void *b)
{
	uint32_t x = ((const struct charset_range *)a)->lo, y = ((const struct charset_range *)b)->lo;
	return x < y ? -1 : x > y;
}

static void
normalise(struct charset *set)
{
	if (set->count < 2)
		return;
	qsort(set->ranges, set->count, sizeof *set->ranges, range_compare);
	uint32_t out = 0;
	for (uint32_t i = 1; i < set->count; i++) {
		struct charset_range *last = &set->ranges[out], next = set->ranges[i];
		if (next.lo <= last->hi || next.lo == last->hi + 1) {
			if (next.hi > last->hi)
				last->hi = next.hi;
		} else {
			set->ranges[++out] = next;
		}
	}
	set->count = out + 1;
}

void
charset_add(struct charset *set, uint32_t lo, uint32_t hi)
{
	append(set, lo, hi);
	normalise(set);
}

void
charset_union(struct charset *set, const struct charset *other)
{
	for (uint32_t i = 0; i < other->count; i++)
		append(set, other->ranges[i].lo, other->ranges[i].hi);
	normalise(set);
}

void
charset_invert(struct charset *set)
{
	struct charset out = {0};
	uint32_t next = 0;
	for (uint32_t i = 0; i < set->count; i++) {
		if (set->ranges[i].lo > next)
			append(&out, next, set->ranges[i].lo - 1);
		next = set->ranges[i].hi + 1;
	}
	if (next <= CHAR_MAX_POINT)
		append(&out, next, CHAR_MAX_POINT);
	charset_free(set);
	*set = out;
}

void
charset_intersect(struct charset *set, const struct charset *other)
{
	struct charset out = {0};
	for (uint32_t i = 0, j = 0; i < set->count && j < other->count;) {
		struct charset_range a = set->ranges[i], b = other->ranges[j];
		uint32_t lo = a.lo > b.lo ? a.lo : b.lo, hi = a.hi < b.hi ? a.hi : b.hi;
		if (lo <= hi)
			append(&out, lo, hi);
		if (a.hi < b.hi)
			i++;
		else
			j++;
	}
	charset_free(set);
	*set = out;
}

bool
charset_has(const struct charset *set, uint32_t point)
{
	for (uint32_t i = 0; i < set->count && set->ranges[i].lo <= point; i++)
		if (point <= set->ranges[i].hi)
			return true;
	return false;
}

/* ---- letter case ---- */

static uint32_t
upper(uint32_t c)
{
	return (uint32_t)u_toupper((UChar32)c);
}

static uint32_t
lower(uint32_t c)
{
	return (uint32_t)u_tolower((UChar32)c);
}

/* The code points that have a case mapping at all: some 2800 of 1.1 million. Made at first use, on the control thread. */
static const struct charset *
cased(void)
{
	static struct charset set;
	if (!set.count)
		for (uint32_t c = 0; c <= CHAR_MAX_POINT; c++)
			if (upper(c) != c || lower(upper(c)) != c)
				append(&set, c, c);
	return &set;
}

void
charset_add_range(struct charset *set, uint32_t lo, uint32_t hi, enum charset_case fold)
{
	append(set, lo, hi);
	if (fold == CASE_ASCII) {
		for (uint32_t c = 'a'; c <= 'z'; c++) {
			uint32_t big = c - 32;
			if ((c >= lo && c <= hi) || (big >= lo && big <= hi)) {
				append(set, c, c);
				append(set, big, big);
			}
		}
	} else if (fold == CASE_UNICODE) {	/* as Java's CIRangeU */
		const struct charset *all = cased();
		for (uint32_t i = 0; i < all->count; i++)
			for (uint32_t c = all->ranges[i].lo; c <= all->ranges[i].hi; c++) {
				uint32_t up = upper(c), low = lower(up);
				if ((up >= lo && up <= hi) || (low >= lo && low <= hi))
					append(set, c, c);
			}
	}
	normalise(set);
}

void
charset_add_single(struct charset *set, uint32_t point, enum charset_case fold)
{
	append(set, point, point);
	if (fold == CASE_ASCII) {
		if ((point | 32) >= 'a' && (point | 32) <= 'z')
			append(set, point ^ 32, point ^ 32);
	} else if (fold == CASE_UNICODE && lower(upper(point)) != upper(point)) {	/* as Java's SingleU */
		const struct charset *all = cased();
		uint32_t want = lower(upper(point));
		append(set, want, want);
		for (uint32_t i = 0; i < all->count; i++)
			for (uint32_t c = all->ranges[i].lo; c <= all->ranges[i].hi; c++)
				if (lower(upper(c)) == want)
					append(set, c, c);
	}
	normalise(set);
}

/* ---- properties ---- */

static void
add_where(struct charset *set, bool (*test)(uint32_t c, uint32_t arg), uint32_t arg)
{
	for (uint32_t c = 0; c <= CHAR_MAX_POINT; c++)
		if (test(c, arg))
			append(set, c, c);
	normalise(set);
}

static bool
has_category(uint32_t c, uint32_t mask)
{
	return (U_MASK(u_charType((UChar32)c)) & mask) != 0;
}

static bool
has_binary(uint32_t c, uint32_t property)
{
	return u_hasBinaryProperty((UChar32)c, (UProperty)property);
}

static bool
has_script(uint32_t c, uint32_t script)
{
	return (uint32_t)u_getIntPropertyValue((UChar32)c, UCHAR_SCRIPT) == script;
}

static bool
has_block(uint32_t c, uint32_t block)
{
	return (uint32_t)u_getIntPropertyValue((UChar32)c, UCHAR_BLOCK) == block;
}

/* Java's (?U)\w. */
static bool
is_unicode_word(uint32_t c, uint32_t unused)
{
	(void)unused;
	return has_binary(c, UCHAR_ALPHABETIC) || has_category(c, U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK) || has_binary(c, UCHAR_JOIN_CONTROL);
}

static bool
is_unicode_graph(uint32_t c, uint32_t unused)
{
	(void)unused;
	return !has_category(c, U_GC_Z_MASK | U_GC_CC_MASK | U_GC_CS_MASK | U_GC_CN_MASK);
}

static bool
is_unicode_print(uint32_t c, uint32_t unused)
{
	return (is_unicode_graph(c, unused) || has_category(c, U_GC_ZS_MASK)) && !has_category(c, U_GC_CC_MASK);
}

static bool
is_java_whitespace(uint32_t c, uint32_t unused)
{
	(void)unused;
	if (c == 0xa0 || c == 0x2007 || c == 0x202f)
		return false;
	return has_category(c, U_GC_Z_MASK) || (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x1f);
}

static const uint32_t letter_digit = U_GC_L_MASK | U_GC_ND_MASK;

/* POSIX names: the ranges without (?U). */
static bool
add_posix(struct charset *set, const char *name, bool unicode, enum charset_case fold)
{
	static const struct {
		const char *name, *pairs;	/* lo hi lo hi ... */
	} table[] = {
		{"Lower", "az"}, {"Upper", "AZ"}, {"Alpha", "azAZ"}, {"Digit", "09"}, {"Alnum", "azAZ09"},
		{"Punct", "!/:@[`{~"}, {"Graph", "!~"}, {"Print", " ~"}, {"Blank", "  \t\t"}, {"XDigit", "09afAF"}, {"Space", "  \t\r"},
	};
	if (strcmp(name, "ASCII") == 0) {
		append(set, 0, 0x7f);
		return true;
	}
	if (unicode) {
		/* As java.util.regex names them with UNICODE_CHARACTER_CLASS, in any letter case. */
		if (strcasecmp(name, "Lower") == 0 || strcasecmp(name, "Upper") == 0) {
			if (fold != CASE_EXACT || strcasecmp(name, "Lower") == 0)
				add_where(set, has_binary, UCHAR_LOWERCASE);
			if (fold != CASE_EXACT || strcasecmp(name, "Upper") == 0)
				add_where(set, has_binary, UCHAR_UPPERCASE);
			if (fold != CASE_EXACT)
				add_where(set, has_category, U_GC_LT_MASK);
		} else if (strcasecmp(name, "Alpha") == 0) {
			add_where(set, has_binary, UCHAR_ALPHABETIC);
		} else if (strcasecmp(name, "Digit") == 0) {
			add_where(set, has_category, U_GC_ND_MASK);
		} else if (strcasecmp(name, "Alnum") == 0) {
			add_where(set, has_binary, UCHAR_ALPHABETIC);
			add_where(set, has_category, U_GC_ND_MASK);
		} else if (strcasecmp(name, "Punct") == 0) {
			add_where(set, has_category, U_GC_P_MASK);
		} else if (strcasecmp(name, "Graph") == 0) {
			add_where(set, is_unicode_graph, 0);
		} else if (strcasecmp(name, "Print") == 0) {
			add_where(set, is_unicode_print, 0);
		} else if (strcasecmp(name, "Blank") == 0) {
			append(set, '\t', '\t');
			add_where(set, has_category, U_GC_ZS_MASK);
		} else if (strcasecmp(name, "XDigit") == 0) {
			add_where(set, has_category, U_GC_ND_MASK);
			add_where(set, has_binary, UCHAR_HEX_DIGIT);
		} else if (strcasecmp(name, "Space") == 0) {
			add_where(set, has_binary, UCHAR_WHITE_SPACE);
		} else if (strcasecmp(name, "Cntrl") == 0) {
			add_where(set, has_category, U_GC_CC_MASK);
		} else {
			return false;
		}
		return true;
	}
	if (strcmp(name, "Cntrl") == 0) {
		append(set, 0, 0x1f);
		append(set, 0x7f, 0x7f);
		return true;
	}
	if (fold != CASE_EXACT && (strcmp(name, "Lower") == 0 || strcmp(name, "Upper") == 0))
		name = "Alpha";
	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		if (strcmp(table[i].name, name) == 0) {
			for (const char *p = table[i].pairs; *p; p += 2)
				append(set, (uint8_t)p[0], (uint8_t)p[1]);
			return true;
		}
	return false;
}

static bool
add_category(struct charset *set, const char *name, enum charset_case fold)
{
	size_t len = strlen(name);
	if (strcmp(name, "LC") == 0) {
		add_where(set, has_category, U_GC_LC_MASK);
		return true;
	}
	if (strcmp(name, "LD") == 0) {
		add_where(set, has_category, letter_digit);
		return true;
	}
	if (strcmp(name, "L1") == 0) {
		append(set, 0, 0xff);
		return true;
	}
	if (strcmp(name, "all") == 0) {
		append(set, 0, CHAR_MAX_POINT);
		return true;
	}
	if (len != 1 && len != 2)
		return false;
	for (uint32_t c = 0; len == 2 && c < U_CHAR_CATEGORY_COUNT; c++) {
		const char *known = u_getPropertyValueName(UCHAR_GENERAL_CATEGORY, (int32_t)c, U_SHORT_PROPERTY_NAME);
		if (known && strcmp(known, name) == 0) {
			uint32_t mask = UINT32_C(1) << c;
			if (fold != CASE_EXACT && (mask & U_GC_LC_MASK))
				mask = U_GC_LC_MASK;
			add_where(set, has_category, mask);
			return true;
		}
	}
	static const struct {
		char letter;
		uint32_t mask;
	} wide[] = {{'L', U_GC_L_MASK}, {'M', U_GC_M_MASK}, {'N', U_GC_N_MASK}, {'Z', U_GC_Z_MASK},
		    {'C', U_GC_C_MASK}, {'P', U_GC_P_MASK}, {'S', U_GC_S_MASK}};
	for (size_t i = 0; len == 1 && i < sizeof wide / sizeof *wide; i++)
		if (wide[i].letter == name[0]) {
			/* Java's \p{C} is every category of C but Cn. */
			add_where(set, has_category, name[0] == 'C' ? wide[i].mask & ~U_GC_CN_MASK : wide[i].mask);
			return true;
		}
	return false;
}

static bool
add_binary(struct charset *set, const char *name, enum charset_case fold)
{
	static const struct {
		const char *name;
		UProperty property;
	} table[] = {
		{"ALPHABETIC", UCHAR_ALPHABETIC}, {"IDEOGRAPHIC", UCHAR_IDEOGRAPHIC}, {"LOWERCASE", UCHAR_LOWERCASE}, {"UPPERCASE", UCHAR_UPPERCASE},
		{"WHITE_SPACE", UCHAR_WHITE_SPACE}, {"WHITESPACE", UCHAR_WHITE_SPACE}, {"HEX_DIGIT", UCHAR_HEX_DIGIT}, {"HEXDIGIT", UCHAR_HEX_DIGIT},
		{"JOIN_CONTROL", UCHAR_JOIN_CONTROL}, {"JOINCONTROL", UCHAR_JOIN_CONTROL},
	};
	static const struct {
		const char *name;
		uint32_t mask;
	} masks[] = {{"LETTER", U_GC_L_MASK}, {"PUNCTUATION", U_GC_P_MASK}, {"CONTROL", U_GC_CC_MASK}, {"DIGIT", U_GC_ND_MASK},
		     {"TITLECASE", U_GC_LT_MASK}, };
	if (fold != CASE_EXACT && (strcasecmp(name, "LOWERCASE") == 0 || strcasecmp(name, "UPPERCASE") == 0 || strcasecmp(name, "TITLECASE") == 0)) {
		add_where(set, has_binary, UCHAR_LOWERCASE);
		add_where(set, has_binary, UCHAR_UPPERCASE);
		add_where(set, has_category, U_GC_LT_MASK);
		return true;
	}
	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		if (strcasecmp(table[i].name, name) == 0) {
			add_where(set, has_binary, table[i].property);
			if (table[i].property == UCHAR_HEX_DIGIT)
				add_where(set, has_category, U_GC_ND_MASK);
			return true;
		}
	for (size_t i = 0; i < sizeof masks / sizeof *masks; i++)
		if (strcasecmp(masks[i].name, name) == 0) {
			add_where(set, has_category, masks[i].mask);
			return true;
		}
	if (strcasecmp(name, "ASSIGNED") == 0) {
		add_where(set, has_category, ~(uint32_t)U_GC_CN_MASK);
		return true;
	}
	return false;
}

static bool
add_script(struct charset *set, const char *name)
{
	int32_t script = u_getPropertyValueEnum(UCHAR_SCRIPT, name);
	if (script == UCHAR_INVALID_CODE)
		return false;
	add_where(set, has_script, (uint32_t)script);
	return true;
}

static bool
add_block(struct charset *set, const char *name)
{
	int32_t block = u_getPropertyValueEnum(UCHAR_BLOCK, name);
	if (block == UCHAR_INVALID_CODE)
		return false;
	add_where(set, has_block, (uint32_t)block);
	return true;
}

static bool
add_java(struct charset *set, const char *name, enum charset_case fold)
{
	bool any_case = fold != CASE_EXACT;
	if (strcmp(name, "LowerCase") == 0 || strcmp(name, "UpperCase") == 0 || strcmp(name, "TitleCase") == 0) {
		if (any_case || name[0] == 'L')
			add_where(set, has_binary, UCHAR_LOWERCASE);
		if (any_case || name[0] == 'U')
			add_where(set, has_binary, UCHAR_UPPERCASE);
		if (any_case || name[0] == 'T')
			add_where(set, has_category, U_GC_LT_MASK);
	} else if (strcmp(name, "Alphabetic") == 0) {
		add_where(set, has_binary, UCHAR_ALPHABETIC);
	} else if (strcmp(name, "Ideographic") == 0) {
		add_where(set, has_binary, UCHAR_IDEOGRAPHIC);
	} else if (strcmp(name, "Digit") == 0) {
		add_where(set, has_category, U_GC_ND_MASK);
	} else if (strcmp(name, "Letter") == 0) {
		add_where(set, has_category, U_GC_L_MASK);
	} else if (strcmp(name, "LetterOrDigit") == 0) {
		add_where(set, has_category, letter_digit);
	} else if (strcmp(name, "Defined") == 0) {
		add_where(set, has_category, ~(uint32_t)U_GC_CN_MASK);
	} else if (strcmp(name, "SpaceChar") == 0) {
		add_where(set, has_category, U_GC_Z_MASK);
	} else if (strcmp(name, "Whitespace") == 0) {
		add_where(set, is_java_whitespace, 0);
	} else if (strcmp(name, "ISOControl") == 0) {
		add_where(set, has_category, U_GC_CC_MASK);
	} else if (strcmp(name, "Mirrored") == 0) {
		add_where(set, has_binary, UCHAR_BIDI_MIRRORED);
	} else {
		return false;
	}
	return true;
}

static bool
add_property(struct charset *set, const char *name, bool unicode, enum charset_case fold)
{
	const char *equal = strchr(name, '=');
	if (equal) {
		size_t len = (size_t)(equal - name);
#define KEY(text) (len == sizeof text - 1 && strncasecmp(name, text, len) == 0)
		if (KEY("sc") || KEY("script"))
			return add_script(set, equal + 1);
		if (KEY("blk") || KEY("block"))
			return add_block(set, equal + 1);
		if (KEY("gc") || KEY("general_category"))
			return add_category(set, equal + 1, fold);
#undef KEY
		return false;
	}
	if (strncmp(name, "In", 2) == 0)
		return add_block(set, name + 2);
	if (strncmp(name, "Is", 2) == 0)
		return add_binary(set, name + 2, fold) || add_category(set, name + 2, fold) || add_script(set, name + 2);
	if (unicode && add_posix(set, name, true, fold))
		return true;
	if (strncmp(name, "java", 4) == 0)
		return add_java(set, name + 4, fold);
	return add_posix(set, name, false, fold) || add_category(set, name, fold);
}

bool
charset_add_property(struct charset *set, const char *name, bool unicode, enum charset_case fold)
{
	bool known = add_property(set, name, unicode, fold);
	normalise(set);
	return known;
}

void
charset_add_escape(struct charset *set, char letter, bool unicode)
{
	struct charset own = {0};
	switch (letter | 32) {
	case 'd':
		if (unicode)
			add_where(&own, has_category, U_GC_ND_MASK);
		else
			append(&own, '0', '9');
		break;
	case 'w':
		if (unicode) {
			add_where(&own, is_unicode_word, 0);
		} else {
			append(&own, '0', '9');
			append(&own, 'A', 'Z');
			append(&own, '_', '_');
			append(&own, 'a', 'z');
		}
		break;
	case 's':
		if (unicode) {
			add_where(&own, has_binary, UCHAR_WHITE_SPACE);
		} else {
			append(&own, '\t', '\r');
			append(&own, ' ', ' ');
		}
		break;
	case 'h': {
		static const uint32_t points[] = {'\t', ' ', 0xa0, 0x1680, 0x180e, 0x202f, 0x205f, 0x3000};
		for (size_t i = 0; i < sizeof points / sizeof *points; i++)
			append(&own, points[i], points[i]);
		append(&own, 0x2000, 0x200a);
		break;
	}
	case 'v':
		append(&own, '\n', '\r');
		append(&own, 0x85, 0x85);
		append(&own, 0x2028, 0x2029);
		break;
	}
	normalise(&own);
	if (!(letter & 32))
		charset_invert(&own);
	charset_union(set, &own);
	charset_free(&own);
}
