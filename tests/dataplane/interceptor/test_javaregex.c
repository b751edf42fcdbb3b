/* Patterns of java.util.regex: what is found, what is refused and where. The expectations are Java 17's (see differential.c for many more). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/interceptor/javaregex.h"
#include "dataplane/interceptor/regex.h"

/* Group 0 and all groups as text, "|" between them, "-" for unset; "" + false when nothing is found. */
static bool
find(const char *pattern, const char *text, char *groups, size_t size)
{
	struct regex *regex;
	struct regex_scratch *scratch;
	struct regex_match match;
	struct err err = {""};
	if (regex_compile(pattern, &regex, &err) != 0)
		fail_msg("%s", err.text);
	assert_int_equal(regex_attach(regex, &scratch, &err), 0);
	bool found = regex_find(regex, scratch, (const uint8_t *)text, (uint32_t)strlen(text), &match);
	size_t n = 0;
	groups[0] = '\0';
	for (uint32_t i = 0; found && i < match.count; i++) {
		size_t start = match.spans[2 * i], end = match.spans[2 * i + 1];
		if (start == SIZE_MAX)
			n += (size_t)snprintf(groups + n, size - n, "%s-", i ? "|" : "");
		else
			n += (size_t)snprintf(groups + n, size - n, "%s%.*s", i ? "|" : "", (int)(end - start), (const char *)match.text + start);
	}
	/* The prefilter agrees. */
	struct batch batch = {.count = 1};
	batch.events[0] = (struct event){.body = (uint8_t *)text, .body_len = (uint32_t)strlen(text)};
	struct regex_marks marks;
	regex_scan(regex, scratch, &batch, &marks);
	assert_true(!found || regex_marked(&marks, 0));
	regex_detach(scratch);
	regex_free(regex);
	return found;
}

static void
test_find(void **state)
{
	static const struct {
		const char *pattern, *text, *groups;	/* NULL: nothing found */
	} table[] = {
		{"abc", "xxabcxx", "abc"},
		{"[a-z&&[^bc]]+", "bcadx", "adx"},
		{"[a-c[x-z]]+", "dazb", "azb"},
		{"[^a-z&&[aeiou]]", "a", NULL},		/* since Java 9 the ^ is for the whole class */
		{"[]a]+", "]a", "]a"},
		{"[a&&^b]", "^", NULL},
		{"a.c", "a\nc", NULL},
		{"a.c", "a\xc2\x85" "c", NULL},
		{"a.c", "a\xe2\x80\xa8" "c", NULL},
		{"(?d)a.c", "a\rc", "a\rc"},
		{"(?s)a.c", "a\nc", "a\nc"},
		{"b$", "ab\n", "b"},
		{"b$", "ab\r\n", "b"},
		{"b$", "ab\xe2\x80\xa9", "b"},
		{"b$", "ab\n\n", NULL},
		{"b\\z", "ab\n", NULL},
		{"b\\Z", "ab\n", "b"},
		{"^b", "a\nb", NULL},
		{"(?m)^b", "a\nb", "b"},
		{"(?m)^", "", NULL},
		{"(?m)a$", "a\rb", "a"},
		{"\\w+", "\xc3\xbc" "ab", "ab"},
		{"(?U)\\w+", "-\xc3\xbc" "ab", "\xc3\xbc" "ab"},
		{"\\bab", "\xc3\xbc" "ab", NULL},	/* \b of Java 17 knows all letters */
		{"(?i)\xc3\xbc", "\xc3\x9c", NULL},	/* ASCII only */
		{"(?iu)\xc3\xbc", "\xc3\x9c", "\xc3\x9c"},
		{"(?i)error", "an ERROR", "ERROR"},
		{"(?iu)k", "\xe2\x84\xaa", "\xe2\x84\xaa"},
		{"\\Qa.b\\E+", "a.bbb", "a.bbb"},
		{"\\Q[\\E", "[", "["},
		{"(?<y>\\d{4})-(?<m>\\d\\d)", "on 2026-11-21", "2026-11|2026|11"},
		{"(['\"])(.*?)\\1", "say 'hi' now", "'hi'|'|hi"},
		{"(?=(\\w+))\\1:", "abc:", "abc:|abc"},
		{"(a)|(b)", "b", "b|-|b"},
		{"a++a", "aaa", NULL},
		{"(?>a*)b", "aab", "aab"},
		{"(?<!foo)bar", "foobar", NULL},
		{"(?<=ab|c)x", "cx", "x"},
		{"\\x{1F600}", "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},
		{"\\uD83D\\uDE00", "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},
		{"\\0101", "A", "A"},
		{"\\cA", "\x01", "\x01"},
		{"\\R", "a\r\n", "\r\n"},
		{"\\h+", "a \xc2\xa0", " \xc2\xa0"},
		{"\\p{Lu}\\p{javaLowerCase}", "aB\xc3\xa4", "B\xc3\xa4"},
		{"(?x) a b # c\n c", "abc", "abc"},
		{"\\N{EURO SIGN}", "\xe2\x82\xac", "\xe2\x82\xac"},
		{"x\\11", "x\t", NULL},			/* \1 (no such group), then 1 */
		{"a{2,3}?", "aaa", "aa"},
		{"\xef\xbf\xbd", "a\xff" "b", "\xef\xbf\xbd"},	/* what is not UTF-8 is read as U+FFFD */
		{"^.{3}$", "a\xe2\x82" "b", "a\xef\xbf\xbd" "b"},
		{"^..$", "\xed\xa0\x80z", "\xef\xbf\xbdz"},
		{"", "", ""},
		{"a*", "bbb", ""},
	};
	char groups[256];
	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		bool found = find(table[i].pattern, table[i].text, groups, sizeof groups);
		if (found != (table[i].groups != NULL) || (found && strcmp(groups, table[i].groups) != 0))
			fail_msg("%s in \"%s\": %s \"%s\"", table[i].pattern, table[i].text, found ? "found" : "nothing", groups);
	}
}

static void
test_refused(void **state)
{
	static const struct {
		const char *pattern;
		int rc;
		const char *words;	/* in the message */
	} table[] = {
		{"(a", -EINVAL, "character 1"},
		{"a)", -EINVAL, "character 2"},
		{"[a", -EINVAL, "does not end"},
		{"[b-a]", -EINVAL, "range"},
		{"*a", -EINVAL, "nothing to repeat"},
		{"a**", -EINVAL, "character 3"},
		{"a{2,1}", -EINVAL, "smallest"},
		{"\\y", -EINVAL, "no escape"},
		{"ab\\p{Foo}", -EINVAL, "Foo"},
		{"\\k<x>", -EINVAL, "<x>"},
		{"(?<a>x)(?<a>y)", -EINVAL, "already"},
		{"(?<1>x)", -EINVAL, "name"},
		{"a\\", -EINVAL, "backslash"},
		{"(?y)", -EINVAL, "flag"},
		{"\\X", -ENOTSUP, "\\X"},
		{"\\b{g}", -ENOTSUP, "\\b{g}"},
		{"(?i)(a)\\1", -ENOTSUP, "(?i)"},
		{"[a&&[a]&]", -ENOTSUP, "&"},
		{"a{2}{3}", -ENOTSUP, "quantifier"},
		{"(a\\1)", -ENOTSUP, "own group"},
		{"(?:(a)b)*\\1", -ENOTSUP, "back reference"},
		{"(?<=a{1,3}b?)x", -ENOTSUP, "PCRE2"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		struct regex *regex;
		struct err err = {""};
		int rc = regex_compile(table[i].pattern, &regex, &err);
		if (rc != table[i].rc || !strstr(err.text, table[i].words))
			fail_msg("%s: %d %s", table[i].pattern, rc, err.text);
	}
	/* Depth has a bound. */
	char deep[4001];
	struct regex *regex;
	memset(deep, '(', 4000);
	deep[4000] = '\0';
	assert_int_equal(regex_compile(deep, &regex, NULL), -ENOTSUP);
	memset(deep, '[', 4000);
	assert_int_equal(regex_compile(deep, &regex, NULL), -ENOTSUP);
}

static void
test_prefilter(void **state)
{
	static const struct {
		const char *pattern, *prefilter;	/* NULL: none */
		bool always;
	} table[] = {
		{".*", NULL, true},
		{"", NULL, true},
		{"(a*|b)", NULL, true},
		{"^", NULL, false},
		{"a?$", NULL, false},
		{".*ab.*", "[\\x61-\\x61][\\x62-\\x62]", false},
		{"^a", "^[\\x61-\\x61]", false},
		{"a$", "[\\x61-\\x61](?:$|[\\r\\x80-\\xff])", false},
		{"(?=a)b(?!c)", "[\\x62-\\x62]", false},
		{"\xc3\xbc", "\\xc3\\xbc", false},
	};
	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		struct javaregex *regex;
		assert_int_equal(javaregex_parse(table[i].pattern, &regex, NULL), 0);
		assert_int_equal(regex->always, table[i].always);
		if (!table[i].prefilter)
			assert_null(regex->prefilter);
		else
			assert_string_equal(regex->prefilter, table[i].prefilter);
		javaregex_free(regex);
	}
	/* Hyperscan takes what we write for it. */
	static const char *const taken[] = {"ERROR|WARN", "^(?:a|b)+c$", "user=(\\w+).*\\1$", "(?i)\\berror\\b", "\\d{1,3}(\\.\\d{1,3}){3}",
					   "[^ ]+ \xe2\x82\xac", "x{200}"};
	for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) {
		struct regex *regex;
		assert_int_equal(regex_compile(taken[i], &regex, NULL), 0);
		if (!regex_has_prefilter(regex))
			fail_msg("no prefilter for %s", taken[i]);
		regex_free(regex);
	}
}

static void
test_match_limit(void **state)
{
	struct regex *regex;
	struct regex_scratch *scratch;
	char text[64];
	(void)state;
	memset(text, 'a', sizeof text);
	assert_int_equal(regex_compile("^(?:a|a|(a)a)*\\1?b", &regex, NULL), -ENOTSUP);
	assert_int_equal(regex_compile("^(?:a|a|aa)*[bc]", &regex, NULL), 0);
	assert_int_equal(regex_attach(regex, &scratch, NULL), 0);
	text[63] = 'd';
	assert_false(regex_find(regex, scratch, (const uint8_t *)text, sizeof text, NULL));
	uint64_t limit = counter_read(&regex_counters(scratch)->limit);
	regex_detach(scratch);
	regex_free(regex);
	if (limit == 0) {	/* PCRE2 may know that a b or c must come; then it need not search */
		assert_int_equal(regex_compile("^(?:a|a|aa)*(?:b|c)", &regex, NULL), 0);
		assert_int_equal(regex_attach(regex, &scratch, NULL), 0);
		text[62] = 'x';
		text[63] = 'b';
		assert_false(regex_find(regex, scratch, (const uint8_t *)text, sizeof text, NULL));
		limit = counter_read(&regex_counters(scratch)->limit);
		regex_detach(scratch);
		regex_free(regex);
	}
	assert_int_equal(limit, 1);
}

/* No byte string as a pattern does harm: it compiles or is refused with words. */
static void
test_any_pattern(void **state)
{
	static const char pieces[] = "()[]{}?*+|^$.\\\\\\&&--:=!<>aQEpPxuLk01,}(?[^i";
	uint64_t seed = 3;
	uint32_t compiled = 0;
	(void)state;
	for (uint32_t i = 0; i < 20000; i++) {
		char pattern[24];
		size_t len = 0, want = 1 + i % 22;
		while (len < want) {
			seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
			uint32_t random = (uint32_t)(seed >> 33);
			pattern[len++] = random % 16 ? pieces[random / 16 % (sizeof pieces - 1)] : (char)(1 + random / 16 % 255);
		}
		pattern[len] = '\0';
		struct javaregex *regex;
		struct err err = {""};
		int rc = javaregex_parse(pattern, &regex, &err);
		assert_true(rc == 0 || ((rc == -EINVAL || rc == -ENOTSUP) && err.text[0]));
		compiled += rc == 0;
		javaregex_free(regex);
	}
	assert_true(compiled > 1000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_find), cmocka_unit_test(test_refused), cmocka_unit_test(test_prefilter),
					   cmocka_unit_test(test_match_limit), cmocka_unit_test(test_any_pattern)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
