#include "dataplane/interceptor/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <assert.h>
#include <errno.h>
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "dataplane/interceptor/hs.h"
#include "dataplane/interceptor/javaregex.h"

#define MATCH_LIMIT 1000000u		/* steps of one search; an ordinary one takes some hundred */
#define JIT_STACK_BYTES (1024u * 1024u)
#define REPAIR_BYTES (3u * 65536u)	/* room for a repaired body; grows, rarely, when a larger one is broken */
#define MODE_WINDOW 4096u		/* events after which the way of scanning is thought over */
#define MODE_RETRY (64u * MODE_WINDOW)	/* events after which the batch scan gets another chance */

#define METRIC(field, unit, help) {#field, METRIC_COUNTER, offsetof(struct regex_counters, field), unit, help}
const struct metric regex_metrics[REGEX_METRICS] = {
	METRIC(scanned, "events", "Events that the prefilter was asked about."),
	METRIC(confirmed, "events", "Events that were searched by PCRE2."),
	METRIC(found, "events", "Events in which the pattern was found."),
	METRIC(limit, "events", "Searches given up at the match limit; counted as not found."),
	METRIC(invalid, "events", "Searched events whose body is not UTF-8."),
	METRIC(unread, "groups", "Groups that are no time by the serializer's pattern; no header was set."),
};

struct regex {
	struct javaregex *java;
	pcre2_code *code;
	struct hs_pattern *prefilter;
};

struct regex_scratch {
	pcre2_match_data *data;
	pcre2_match_context *context;
	pcre2_jit_stack *stack;
	struct hs_room *room;
	uint8_t *repaired;
	size_t repaired_room;
	enum regex_mode mode;
	uint32_t window_events, window_hits, since_batch;
	struct regex_counters counters;
};

static int
compile(const char *pattern, uint32_t options, struct regex **made, struct err *err)
{
	struct regex *regex = calloc(1, sizeof *regex);
	*made = NULL;
	if (!regex)
		return err_set(err, ENOMEM, "out of memory");
	int rc = javaregex_parse(pattern, &regex->java, err);
	if (rc) {
		regex_free(regex);
		return rc;
	}
	int number;
	PCRE2_SIZE place;
	regex->code = pcre2_compile((PCRE2_SPTR)regex->java->pcre, PCRE2_ZERO_TERMINATED, PCRE2_UTF | options, &number, &place, NULL);
	if (!regex->code) {
		char words[128] = "";
		pcre2_get_error_message(number, (PCRE2_UCHAR *)words, sizeof words);
		rc = err_set(err, ENOTSUP, "regex \"%s\": not possible with PCRE2 as Java does it: %s", pattern, words);
		regex_free(regex);
		return rc;
	}
	uint32_t captures = 0;
	pcre2_pattern_info(regex->code, PCRE2_INFO_CAPTURECOUNT, &captures);
	assert(captures == regex->java->groups);
	pcre2_jit_compile(regex->code, PCRE2_JIT_COMPLETE);	/* without it pcre2_match does the same, slower */
	if (regex->java->prefilter && !options)
		regex->prefilter = hs_pattern_new(regex->java->prefilter);
	*made = regex;
	return 0;
}

int
regex_compile(const char *pattern, struct regex **made, struct err *err)
{
	return compile(pattern, 0, made, err);
}

int
regex_compile_whole(const char *pattern, struct regex **made, struct err *err)
{
	return compile(pattern, PCRE2_ANCHORED | PCRE2_ENDANCHORED, made, err);
}

void
regex_free(struct regex *regex)
{
	if (!regex)
		return;
	hs_pattern_free(regex->prefilter);
	pcre2_code_free(regex->code);
	javaregex_free(regex->java);
	free(regex);
}

uint32_t
regex_groups(const struct regex *regex)
{
	return regex->java->groups;
}

uint32_t
regex_group_named(const struct regex *regex, const char *name, size_t len)
{
	for (uint32_t i = 1; i <= regex->java->groups; i++) {
		const char *known = regex->java->group_names[i];
		if (known && strlen(known) == len && memcmp(known, name, len) == 0)
			return i;
	}
	return 0;
}

bool
regex_always(const struct regex *regex)
{
	return regex->java->always;
}

bool
regex_has_prefilter(const struct regex *regex)
{
	return regex->prefilter != NULL;
}

int
regex_attach(const struct regex *regex, struct regex_scratch **made, struct err *err)
{
	struct regex_scratch *scratch = calloc(1, sizeof *scratch);
	*made = NULL;
	if (!scratch)
		return err_set(err, ENOMEM, "out of memory");
	scratch->data = pcre2_match_data_create_from_pattern(regex->code, NULL);
	scratch->context = pcre2_match_context_create(NULL);
	scratch->stack = pcre2_jit_stack_create(32 * 1024, JIT_STACK_BYTES, NULL);
	scratch->repaired = malloc(REPAIR_BYTES);
	scratch->repaired_room = REPAIR_BYTES;
	if (regex->prefilter)
		scratch->room = hs_room_new(regex->prefilter);
	if (!scratch->data || !scratch->context || !scratch->repaired || (regex->prefilter && !scratch->room)) {
		regex_detach(scratch);
		return err_set(err, ENOMEM, "out of memory");
	}
	pcre2_set_match_limit(scratch->context, MATCH_LIMIT);
	if (scratch->stack)
		pcre2_jit_stack_assign(scratch->context, NULL, scratch->stack);
	scratch->mode = regex->prefilter ? REGEX_BATCH : REGEX_DIRECT;
	*made = scratch;
	return 0;
}

void
regex_detach(struct regex_scratch *scratch)
{
	if (!scratch)
		return;
	pcre2_match_data_free(scratch->data);
	pcre2_match_context_free(scratch->context);
	pcre2_jit_stack_free(scratch->stack);
	hs_room_free(scratch->room);
	free(scratch->repaired);
	free(scratch);
}

struct regex_counters *
regex_counters(struct regex_scratch *scratch)
{
	return &scratch->counters;
}

enum regex_mode
regex_mode(const struct regex_scratch *scratch)
{
	return scratch->mode;
}

/* ---- UTF-8 as Java reads it ---- */

static bool
is_more(uint8_t byte)
{
	return (byte & 0xc0) == 0x80;
}

/* Bytes at p, where no character is, that Java replaces by one U+FFFD. */
static uint32_t
utf8_broken(const uint8_t *p, size_t left)
{
	if (p[0] < 0xe0 || p[0] > 0xf4 || left < 2 || !is_more(p[1]) || (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 1;
	return left < 3 || !is_more(p[2]) ? 2 : 3;	/* a surrogate is one U+FFFD */
}

/* A copy with U+FFFD for what is broken; 0 length and NULL when there is no memory. */
static const uint8_t *
utf8_repair(struct regex_scratch *scratch, const uint8_t *body, uint32_t len, size_t *repaired_len)
{
	size_t need = (size_t)len * 3;
	if (need > scratch->repaired_room) {
		uint8_t *larger = realloc(scratch->repaired, need);
		if (!larger)
			return NULL;
		scratch->repaired = larger;
		scratch->repaired_room = need;
	}
	uint8_t *out = scratch->repaired;
	for (uint32_t i = 0; i < len;) {
		uint32_t step = utf8_step(body + i, len - i);
		if (step) {
			memcpy(out, body + i, step);
			out += step;
		} else {
			memcpy(out, "\xef\xbf\xbd", 3);
			out += 3;
			step = utf8_broken(body + i, len - i);
		}
		i += step;
	}
	*repaired_len = (size_t)(out - scratch->repaired);
	return scratch->repaired;
}

/* ---- confirm ---- */

bool
regex_find_from(const struct regex *regex, struct regex_scratch *scratch, const uint8_t *text, size_t len, size_t from, struct regex_match *match)
{
	int rc = pcre2_match(regex->code, len ? text : (PCRE2_SPTR)"", len, from, PCRE2_NO_UTF_CHECK, scratch->data, scratch->context);
	if (rc < 0) {
		if (rc != PCRE2_ERROR_NOMATCH)
			counter_add(&scratch->counters.limit, 1);
		return false;
	}
	counter_add(&scratch->counters.found, 1);
	if (match) {
		match->text = text;
		match->copied = false;
		match->count = pcre2_get_ovector_count(scratch->data);
		match->spans = pcre2_get_ovector_pointer(scratch->data);
		/* Groups above the highest that took part are set to PCRE2_UNSET (== SIZE_MAX) by pcre2_match too. */
	}
	return true;
}

bool
regex_find(const struct regex *regex, struct regex_scratch *scratch, const uint8_t *body, uint32_t len, struct regex_match *match)
{
	const uint8_t *text = body;
	size_t text_len = len;
	counter_add(&scratch->counters.confirmed, 1);
	if (!utf8_valid(body, len)) {
		counter_add(&scratch->counters.invalid, 1);
		text = utf8_repair(scratch, body, len, &text_len);
		if (!text) {
			counter_add(&scratch->counters.limit, 1);
			return false;
		}
	}
	if (!regex_find_from(regex, scratch, text, text_len, 0, match))
		return false;
	if (match)
		match->copied = text != body;
	return true;
}

/* ---- scan ---- */

static void
mark(struct regex_marks *marks, uint32_t i)
{
	marks->bits[i / 64] |= UINT64_C(1) << (i % 64);
}

struct walk {
	const struct batch *batch;
	struct regex_marks *marks;
	uint32_t next;		/* event that the last hit fell into; ends come in ascending order, nearly */
};

static void
on_hit(uint32_t end, void *context)
{
	struct walk *walk = context;
	const struct batch *batch = walk->batch;
	if (!end)
		return;
	/* The byte before the end: in a true match it is the body's. In a padding line feed: a match over the border, a false hit. */
	const uint8_t *last = batch->run + end - 1;
	while (walk->next && last < batch->events[walk->next].body)
		walk->next--;
	while (walk->next + 1 < batch->count && last >= batch->events[walk->next + 1].body)
		walk->next++;
	const struct event *event = &batch->events[walk->next];
	if (last >= event->body && last < event->body + event->body_len)
		mark(walk->marks, walk->next);
}

/* Do the bodies lie in the run as the batch scan needs them? */
static bool
is_run(const struct batch *batch)
{
	const uint8_t *at = batch->run;
	if (!at)
		return false;
	for (uint32_t i = 0; i < batch->count; i++) {
		if (batch->events[i].body != at)
			return false;
		at += (size_t)batch->events[i].body_len + 1;
	}
	return at == batch->run + batch->run_bytes;
}

static void
choose_mode(struct regex_scratch *scratch, uint32_t events, uint32_t hits)
{
	scratch->window_events += events;
	scratch->window_hits += hits;
	scratch->since_batch += events;
	if (scratch->window_events < MODE_WINDOW)
		return;
	if (scratch->window_hits * 2 > scratch->window_events)
		scratch->mode = REGEX_DIRECT;	/* most are confirmed anyway */
	else if (scratch->window_hits * 10 > scratch->window_events)
		scratch->mode = REGEX_SINGLE;
	else
		scratch->mode = REGEX_BATCH;
	scratch->window_events = scratch->window_hits = 0;
	if (scratch->mode != REGEX_BATCH && scratch->since_batch >= MODE_RETRY) {
		scratch->mode = REGEX_BATCH;
		scratch->since_batch = 0;
	}
}

void
regex_scan(const struct regex *regex, struct regex_scratch *scratch, const struct batch *batch, struct regex_marks *marks)
{
	memset(marks, 0, sizeof *marks);
	counter_add(&scratch->counters.scanned, batch->count);
	bool done = false;
	enum regex_mode mode = scratch->mode;
	if (mode == REGEX_BATCH && batch->count) {
		if (is_run(batch)) {
			struct walk walk = {batch, marks, 0};
			done = hs_each(regex->prefilter, scratch->room, batch->run, batch->run_bytes, on_hit, &walk);
		}
		if (!done)
			mode = REGEX_SINGLE;
	}
	uint32_t hits = 0, events = 0;
	for (uint32_t i = 0; i < batch->count; i++) {
		const struct event *event = &batch->events[i];
		if (event->dropped) {
			marks->bits[i / 64] &= ~(UINT64_C(1) << (i % 64));
			continue;
		}
		events++;
		if (!done && (mode == REGEX_DIRECT || hs_has(regex->prefilter, scratch->room, event->body, event->body_len)))
			mark(marks, i);
		hits += regex_marked(marks, i);
	}
	if (!regex->prefilter)
		return;
	/* When all are marked without a look, stay so until the batch scan is tried again. */
	if (mode == REGEX_DIRECT) {
		scratch->since_batch += events;
		if (scratch->since_batch >= MODE_RETRY) {
			scratch->mode = REGEX_BATCH;
			scratch->since_batch = scratch->window_events = scratch->window_hits = 0;
		}
		return;
	}
	choose_mode(scratch, events, hits);
}
