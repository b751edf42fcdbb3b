/* Generated pairs of pattern and text, through java.util.regex in a JVM and through us: who finds what, and every group. Exits with 77 where there
 * is no java. Arguments: Differential.java [seed [patterns]]. A pattern that Java takes and we refuse as not supported is only counted. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dataplane/interceptor/regex.h"

#define TEXTS 6

static uint64_t seed = 1;

static uint32_t
pick(uint32_t n)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(seed >> 33) % n;
}

struct text {
	char bytes[4096];
	size_t len;
	uint32_t groups;
};

static void
add(struct text *text, const char *more)
{
	size_t len = strlen(more);
	if (text->len + len + 64 < sizeof text->bytes) {
		memcpy(text->bytes + text->len, more, len);
		text->len += len;
	}
	text->bytes[text->len] = '\0';
}

#define ONE_OF(...) ((const char *[]){__VA_ARGS__})[pick(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *))]

static const char *
letter(void)
{
	return ONE_OF("a", "b", "c", "A", "B", "k", "s", "1", "2", "_", " ", "-", ":", "=", "x", "\xc3\xbc", "\xc3\x9c", "\xe2\x82\xac", "\xf0\x9f\x98\x80");
}

static const char *
escape(void)
{
	return ONE_OF("\\d", "\\w", "\\s", "\\D", "\\W", "\\S", "\\h", "\\H", "\\v", "\\V", "\\p{Lu}", "\\p{L}", "\\P{L}", "\\pN", "\\p{Alpha}", "\\p{Upper}",
		      "\\p{Lower}", "\\p{Punct}", "\\p{IsAlphabetic}", "\\p{IsLatin}", "\\p{InGreek}", "\\p{javaLowerCase}", "\\p{IsUppercase}",
		      "\\x41", "\\u00fc", "\\x{20ac}", "\\t", "\\n", "\\r", "\\0101", "\\e", "\\.", "\\-", "\\[", "\\cA", "\\p{ASCII}", "\\p{Space}",
		      "\\p{Cntrl}", "\\p{XDigit}", "\\p{Sc}", "\\p{Blank}", "\\p{Alnum}", "\\p{Digit}", "\\p{Graph}", "\\p{Print}", "\\uD83D\\uDE00",
		      "\\p{IsL}", "\\p{gc=Ll}", "\\p{sc=Greek}", "\\p{C}", "\\p{M}", "\\p{Z}", "\\p{IsDigit}", "\\p{IsPunctuation}", "\\p{L1}", "\\p{all}");
}

static void
class_body(struct text *text, uint32_t depth)
{
	add(text, pick(4) ? "[" : "[^");
	for (uint32_t n = 1 + pick(3); n; n--)
		switch (pick(10)) {
		case 0: add(text, ONE_OF("a-c", "A-Z", "0-9", "a-z", "\xc3\xa0-\xc3\xbc", "k-s", "\\x30-\\x39", " -~", "+--")); break;
		case 1: add(text, escape()); break;
		case 2: if (depth) class_body(text, depth - 1); else add(text, "b"); break;
		case 3: if (depth && n > 1) { add(text, "&&"); class_body(text, depth - 1); } else add(text, "&"); break;
		case 4: add(text, ONE_OF(".", "$", "(", "|", "^", "-", "]", "*", "\\]", "\\Q]\\E")); break;
		case 5: if (depth) { add(text, "a-z&&[^"); add(text, letter()); add(text, "]"); } else add(text, "c"); break;
		default: add(text, letter());
		}
	add(text, "]");
}

static void alternatives(struct text *text, uint32_t depth);

static void
atom(struct text *text, uint32_t depth)
{
	char number[16];
	switch (pick(26)) {
	case 0: case 1: add(text, escape()); break;
	case 2: class_body(text, 2); break;
	case 3: add(text, "."); break;
	case 4: add(text, ONE_OF("^", "$", "\\b", "\\B", "\\A", "\\z", "\\Z", "\\G", "\\R", "^", "$", "\\b")); break;
	case 5: case 6: case 7:
		if (depth) { text->groups++; add(text, "("); alternatives(text, depth - 1); add(text, ")"); }
		break;
	case 8:
		if (!depth)
			break;
		add(text, ONE_OF("(?:", "(?:", "(?>", "(?i:", "(?s:", "(?m:", "(?iu:", "(?U:", "(?d:", "(?-i:", "(?x: "));
		alternatives(text, depth - 1);
		add(text, ")");
		break;
	case 9: if (depth) { add(text, ONE_OF("(?=", "(?!")); alternatives(text, depth - 1); add(text, ")"); } break;
	case 10: add(text, ONE_OF("(?<=", "(?<!")); add(text, ONE_OF("a", "b|c", "\\w", "ab", "\\s", "^", "[^a]", "a|bc", "\xc3\xbc")); add(text, ")"); break;
	case 11: if (text->groups) { snprintf(number, sizeof number, "\\%u", 1 + pick(text->groups + 1)); add(text, number); } break;
	case 12: add(text, ONE_OF("\\Qa.b\\E", "\\Q*\\E", "(?i)", "(?m)", "(?s)", "(?x) ", "(?d)", "\\Q12\\E")); break;
	default: add(text, letter());
	}
}

static void
sequence(struct text *text, uint32_t depth)
{
	for (uint32_t n = 1 + pick(4); n; n--) {
		size_t before = text->len;
		atom(text, depth);
		if (text->len == before || pick(3))
			continue;
		add(text, ONE_OF("*", "+", "?", "{2}", "{1,2}", "{2,}", "{0,1}"));
		add(text, ONE_OF("", "", "", "?", "+"));
	}
}

static void
alternatives(struct text *text, uint32_t depth)
{
	sequence(text, depth);
	while (pick(4) == 0) {
		add(text, "|");
		sequence(text, depth);
	}
}

static void
subject(struct text *text)
{
	text->len = 0;
	text->bytes[0] = '\0';
	for (uint32_t n = pick(12); n; n--)
		switch (pick(14)) {
		case 0: add(text, ONE_OF("\n", "\r\n", "\r", "\xc2\x85", "\xe2\x80\xa8", "\t")); break;
		case 1: add(text, ONE_OF("aa", "ab", "abab", "a.b", "12", "aA")); break;
		case 2: if (pick(4) == 0) add(text, ONE_OF("\xff", "\xc3", "\xe2\x82", "\xed\xa0\x80", "\xf0\x9f\x98", "\xe0\x80", "\x80", "\xc0\xaf")); break;
		case 3: add(text, ONE_OF("\xe2\x84\xaa", "\xc5\xbf", "\xce\xb1", "\xc3\x9f", "a\xcc\x81", "\xd9\xa1", "\xc2\xa0", "]", "&")); break;
		default: add(text, letter());
		}
	if (pick(5) == 0)
		add(text, ONE_OF("\n", "\r\n", "\r", "\n\n", "\xc2\x85"));
}

static void
put_hex(FILE *file, const void *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		fprintf(file, "%02x", ((const uint8_t *)bytes)[i]);
}

/* Our answer in the words of Differential.java. */
static char *
answer(const struct regex *regex, struct regex_scratch *scratch, const struct text *text)
{
	char *line = NULL;
	size_t size = 0;
	struct regex_match match;
	FILE *out = open_memstream(&line, &size);
	if (!regex_find(regex, scratch, (const uint8_t *)text->bytes, (uint32_t)text->len, &match)) {
		fputs("N", out);
	} else {
		for (uint32_t i = 0; i < match.count; i++) {
			fputs(i ? " " : "", out);
			if (match.spans[2 * i] == SIZE_MAX)
				fputs("-", out);
			else
				put_hex(out, match.text + match.spans[2 * i], match.spans[2 * i + 1] - match.spans[2 * i]);
		}
	}
	fclose(out);
	return line;
}

/* Java leaves in a group what it saw in a repeated part that failed later on, where we (and Perl) say that it took no part, and counts turns of a
 * loop that consume nothing otherwise. Groups (but never group 0) may differ in that. */
static bool
same(const char *java, const char *ours, uint32_t *stale)
{
	/* Java may begin in the middle of a character beyond U+FFFF; the half comes out as "?", which no text here has. */
	if (strncmp(java, "3f", 2) == 0) {
		++*stale;
		return true;
	}
	for (bool first = true;; first = false) {
		size_t a = strcspn(java, " "), b = strcspn(ours, " ");
		if (a != b || memcmp(java, ours, a) != 0) {
			bool unset = b == 1 && *ours == '-', empty = a == 1 && *java == '-' && b == 0;
			if (first || (!unset && !empty))
				return false;
			++*stale;
		}
		if (!java[a] || !ours[b])
			return java[a] == ours[b];
		java += a + 1;
		ours += b + 1;
	}
}

int
main(int argc, char **argv)
{
	uint32_t patterns = argc > 3 ? (uint32_t)atoi(argv[3]) : 3000, bad = 0, refused = 0, syntax = 0, found = 0, compared = 0, stale = 0;
	char pairs[64] = "/tmp/penstock-differential-XXXXXX", answers[80], command[4096];
	if (argc < 2 || system("java -version >/dev/null 2>&1") != 0) {
		printf("no java: skipped\n");
		return 77;
	}
	if (argc > 2)
		seed = strtoull(argv[2], NULL, 10);
	int fd = mkstemp(pairs);
	FILE *file = fdopen(fd, "w");
	struct text *made = calloc(patterns, sizeof *made), (*texts)[TEXTS] = calloc(patterns, sizeof *texts);
	if (fd < 0 || !file || !made || !texts)
		return 1;
	for (uint32_t i = 0; i < patterns; i++) {
		do {
			made[i].len = made[i].groups = 0;
			alternatives(&made[i], 3);
		} while (!made[i].len);
		for (uint32_t t = 0; t < TEXTS; t++) {
			subject(&texts[i][t]);
			put_hex(file, made[i].bytes, made[i].len);
			fputc('\t', file);
			put_hex(file, texts[i][t].bytes, texts[i][t].len);
			fputc('\n', file);
		}
	}
	fclose(file);
	snprintf(answers, sizeof answers, "%s.out", pairs);
	snprintf(command, sizeof command, "java -Xshare:auto -XX:TieredStopAtLevel=1 -Xss16m \"%s\" %s %s", argv[1], pairs, answers);
	int rc = system(command);
	file = fopen(answers, "r");
	unlink(pairs);
	if (rc != 0 || !file) {
		printf("java failed: %s\n", command);
		unlink(answers);
		return 1;
	}
	unlink(answers);
	char *line = NULL;
	size_t room = 0;
	for (uint32_t i = 0; i < patterns; i++) {
		struct regex *regex;
		struct regex_scratch *scratch = NULL;
		struct err err = {""};
		rc = regex_compile(made[i].bytes, &regex, &err);
		if (!rc && regex_attach(regex, &scratch, &err) != 0)
			return 1;
		refused += rc == -ENOTSUP;
		for (uint32_t t = 0; t < TEXTS; t++) {
			ssize_t n = getline(&line, &room, file);
			if (n <= 0)
				return 1;
			line[n - 1] = '\0';
			bool java_error = strcmp(line, "E") == 0;
			if (rc || java_error) {
				syntax += java_error && t == 0;
				if (t == 0 && rc != -ENOTSUP && java_error != (rc == -EINVAL)) {
					bad++;
					printf("pattern %s: Java %s it; ours: %s\n", made[i].bytes, java_error ? "refuses" : "takes", rc ? err.text : "takes it");
				}
				continue;
			}
			compared++;
			char *ours = answer(regex, scratch, &texts[i][t]);
			if (strcmp(ours, line) != 0 && !same(line, ours, &stale)) {
				bad++;
				printf("pattern %s text \"%s\" (", made[i].bytes, texts[i][t].bytes);
				put_hex(stdout, texts[i][t].bytes, texts[i][t].len);
				printf("): Java %s, ours %s\n", line, ours);
			}
			found += strcmp(line, "N") != 0;
			/* The prefilter must not lose it, alone or between others. */
			struct batch *batch = calloc(1, sizeof *batch);
			uint8_t run[sizeof texts[i][t].bytes * TEXTS];
			batch->run = run;
			for (uint32_t k = 0; k < TEXTS; k++) {
				const struct text *one = &texts[i][(t + k) % TEXTS];
				batch->events[k] = (struct event){.body = run + batch->run_bytes, .body_len = (uint32_t)one->len};
				memcpy(run + batch->run_bytes, one->bytes, one->len);
				run[batch->run_bytes + one->len] = '\n';
				batch->run_bytes += (uint32_t)one->len + 1;
				batch->count++;
			}
			struct regex_marks marks;
			regex_scan(regex, scratch, batch, &marks);
			if (strcmp(ours, "N") != 0 && !regex_marked(&marks, 0)) {
				bad++;
				printf("pattern %s text \"%s\": lost by the prefilter (mode %d)\n", made[i].bytes, texts[i][t].bytes, regex_mode(scratch));
			}
			free(batch);
			free(ours);
		}
		regex_detach(scratch);
		regex_free(regex);
	}
	fclose(file);
	free(line);
	free(made);
	free(texts);
	printf("%u patterns: %u not Java, %u refused by us; %u pairs compared, %u with a match; %u with a stale group in Java; %u differ\n",
	       patterns, syntax, refused, compared, found, stale, bad);
	return bad ? 1 : 0;
}
