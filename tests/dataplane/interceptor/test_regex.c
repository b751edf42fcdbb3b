/* The scan of a whole batch marks every event that a search of its body alone finds something in: random patterns' texts, line feeds and broken UTF-8
 * within bodies, dropped events, empty ones, in every way of scanning; and the way changes with the share of hits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "dataplane/interceptor/regex.h"

static uint64_t seed = 7;

static uint32_t
pick(uint32_t n)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(seed >> 33) % n;
}

static struct batch batch;
static uint8_t run[1 << 20];

static void
fill(const char *const *words, uint32_t word_count, uint32_t events)
{
	batch.run = run;
	batch.run_bytes = 0;
	batch.count = 0;
	for (uint32_t i = 0; i < events; i++) {
		struct event *event = &batch.events[batch.count++];
		*event = (struct event){.body = run + batch.run_bytes, .dropped = pick(10) == 0};
		for (uint32_t n = pick(8); n; n--) {
			const char *word = words[pick(word_count)];
			size_t len = strlen(word);
			memcpy(event->body + event->body_len, word, len);
			event->body_len += (uint32_t)len;
		}
		event->body[event->body_len] = '\n';
		batch.run_bytes += event->body_len + 1;
	}
}

static void
test_same_as_alone(void **state)
{
	static const char *const patterns[] = {
		"ERROR|WARN", "^ERROR", "ERROR$", "^ERROR$", "(?m)^b$", "\\Aa", "a\\z", "a\\Z", "a\\s+b", "a\nb", "a[^x]b", "(?s)a.*b", "\xc3\xbc|\xef\xbf\xbd",
		"\\bERROR\\b", "(\\w)\\1", "^\\s*$", "x*", "(?!a)b", "(?<=a)b", "[^a]$", "\\R", "a{2,}b", "..a..", "(?i)error\\W", "^.{3,5}$", "\\P{ASCII}b",
	};
	static const char *const words[] = {"a", "b", "ERROR", "WARN", " ", "\n", "\r\n", "\r", "x", "\xc3\xbc", "\xff", "\xe2\x82", "error", "\xe2\x80\xa8", "aab"};
	(void)state;
	for (size_t p = 0; p < sizeof patterns / sizeof *patterns; p++) {
		struct regex *regex;
		struct regex_scratch *scratch;
		assert_int_equal(regex_compile(patterns[p], &regex, NULL), 0);
		assert_int_equal(regex_attach(regex, &scratch, NULL), 0);
		for (uint32_t round = 0; round < 60; round++) {
			struct regex_marks marks;
			fill(words, sizeof words / sizeof *words, pick(BATCH_EVENTS_MAX + 1));
			if (round % 7 == 3)
				batch.run = NULL;	/* bodies that lie elsewhere */
			regex_scan(regex, scratch, &batch, &marks);
			for (uint32_t i = 0; i < batch.count; i++) {
				const struct event *event = &batch.events[i];
				if (event->dropped)
					assert_false(regex_marked(&marks, i));
				else if (regex_find(regex, scratch, event->body, event->body_len, NULL) && !regex_marked(&marks, i))
					fail_msg("%s: event %u of round %u is lost", patterns[p], i, round);
			}
		}
		regex_detach(scratch);
		regex_free(regex);
	}
}

static void
scan_rounds(const struct regex *regex, struct regex_scratch *scratch, const char *const *words, uint32_t count, uint32_t rounds)
{
	struct regex_marks marks;
	while (rounds--) {
		fill(words, count, BATCH_EVENTS_MAX);
		regex_scan(regex, scratch, &batch, &marks);
	}
}

static void
test_mode(void **state)
{
	static const char *const rare[] = {"a", "b", "c"}, *const some[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "ERROR"},
			  *const often[] = {"ERROR"};
	struct regex *regex;
	struct regex_scratch *scratch;
	(void)state;
	assert_int_equal(regex_compile("ERROR", &regex, NULL), 0);
	assert_int_equal(regex_attach(regex, &scratch, NULL), 0);
	assert_int_equal(regex_mode(scratch), REGEX_BATCH);
	scan_rounds(regex, scratch, rare, 3, 40);
	assert_int_equal(regex_mode(scratch), REGEX_BATCH);
	scan_rounds(regex, scratch, some, 15, 40);
	assert_int_equal(regex_mode(scratch), REGEX_SINGLE);
	scan_rounds(regex, scratch, often, 1, 40);
	assert_int_equal(regex_mode(scratch), REGEX_DIRECT);
	scan_rounds(regex, scratch, rare, 3, 1200);	/* it is tried again, some time */
	assert_int_equal(regex_mode(scratch), REGEX_BATCH);
	regex_detach(scratch);
	regex_free(regex);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_as_alone), cmocka_unit_test(test_mode)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
