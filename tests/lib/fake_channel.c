#include "tests/lib/fake_channel.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct taker {
	struct fake_channel *fake;
};

static int
fake_taker_open(struct channel *channel, const char *sink, struct taker **taker, struct err *err)
{
	(void)sink;
	(void)err;
	*taker = malloc(sizeof **taker);
	(*taker)->fake = (struct fake_channel *)channel;
	return 0;
}

static int
fake_take(struct taker *taker, uint32_t max_events, uint64_t max_bytes, uint64_t wait_ns, struct span **made)
{
	struct fake_channel *fake = taker->fake;
	(void)wait_ns;
	*made = NULL;
	if (fake->take_error) {
		int rc = fake->take_error;
		fake->take_error = 0;
		return rc;
	}
	uint32_t first = fake->next;
	while (first < fake->count && fake->events[first].state != FAKE_WAITING)
		first++;
	fake->next = first;
	if (first == fake->count)
		return 0;
	struct span *span = calloc(1, sizeof *span);
	span->taker = taker;
	span->first = first;
	while (span->events < max_events && first + span->events < fake->count) {
		struct fake_event *event = &fake->events[first + span->events];
		if (event->state != FAKE_WAITING || (span->events && span->body_bytes + event->body_len > max_bytes))
			break;
		event->state = FAKE_TAKEN;
		event->offered++;
		span->events++;
		span->body_bytes += event->body_len;
	}
	fake->open_spans++;
	*made = span;
	return 0;
}

static int
fake_settle(struct taker *taker, struct span *span, enum settle how, const struct event_range *set, uint32_t set_count)
{
	struct fake_channel *fake = taker->fake;
	bool rolled_back = false;
	for (uint32_t i = 0; i < span->events; i++) {
		struct fake_event *event = &fake->events[span->first + i];
		assert(event->state == FAKE_TAKEN);
		bool in_set = !set, commit;
		for (uint32_t j = 0; set && j < set_count; j++)
			in_set = in_set || (span->first + i >= set[j].first && span->first + i < set[j].first + set[j].count);
		commit = in_set == (how == SETTLE_COMMIT);
		event->state = commit ? FAKE_SETTLED : FAKE_WAITING;
		if (!commit && span->first + i < fake->next)
			fake->next = (uint32_t)span->first + i;
		fake->settled += commit;
		rolled_back = rolled_back || !commit;
	}
	fake->rollbacks += rolled_back;
	fake->open_spans--;
	free(span);
	return 0;
}

static void
fake_taker_idle(struct taker *taker)
{
	taker->fake->idle_calls++;
}

static void
fake_taker_close(struct taker *taker)
{
	free(taker);
}

static bool
fake_span_next(const struct span *span, struct span_cursor *cursor, struct event_view *view)
{
	if (cursor->state[0] == span->events)
		return false;
	uint64_t number = span->first + cursor->state[0]++;
	const struct fake_event *event = &span->taker->fake->events[number];
	*view = (struct event_view){ .body = event->body, .body_len = event->body_len, .number = number, .record = (const uint8_t *)event };
	return true;
}

uint32_t
event_view_headers(const struct event_view *view, struct header_view *headers, uint32_t max)
{
	const struct fake_event *event = (const struct fake_event *)(const void *)view->record;
	if (!event)
		return 0;
	for (uint32_t i = 0; i < event->header_count && i < max; i++)
		headers[i] = event->headers[i];
	return event->header_count;
}

bool
event_view_header(const struct event_view *view, const char *name, size_t name_len, struct header_view *header)
{
	const struct fake_event *event = (const struct fake_event *)(const void *)view->record;
	for (uint32_t i = 0; event && i < event->header_count; i++) {
		if (event->headers[i].name_len == name_len && memcmp(event->headers[i].name, name, name_len) == 0) {
			*header = event->headers[i];
			return true;
		}
	}
	return false;
}

uint32_t
header_view_text(const struct header_view *header, char *digits, const uint8_t **text)
{
	if (header->bytes) {
		*text = header->bytes;
		return header->len;
	}
	*text = (const uint8_t *)digits;
	return number_text(header->number, digits);
}

static struct ledger *
fake_ledger(struct channel *channel)
{
	return (struct ledger *)channel;
}

static struct channel_promise
fake_promise(const struct channel *channel)
{
	return (struct channel_promise){ .notes = ((const struct fake_channel *)channel)->notes };
}

static uint64_t
fake_unsettled(struct channel *channel)
{
	const struct fake_channel *fake = (const struct fake_channel *)channel;
	return fake->count - fake->settled;
}

static const struct channel_ops fake_ops = {
	.unsettled = fake_unsettled,
	.ledger = fake_ledger, .promise = fake_promise,
	.name = "fake", .taker_open = fake_taker_open, .take = fake_take, .settle = fake_settle, .taker_idle = fake_taker_idle,
	.taker_close = fake_taker_close, .span_next = fake_span_next,
};

void
fake_channel_init(struct fake_channel *fake)
{
	*fake = (struct fake_channel){ .channel = { .ops = &fake_ops, .name = "c1" } };
}

void
fake_channel_free(struct fake_channel *fake)
{
	assert(fake->open_spans == 0);
	if (fake->metrics.kind)
		metrics_remove(&fake->metrics);
	for (uint32_t i = 0; i < fake->count; i++) {
		struct fake_event *event = &fake->events[i];
		for (uint32_t k = 0; k < event->header_count; k++) {
			free((void *)event->headers[k].name);
			free((void *)event->headers[k].bytes);
		}
		free(event->headers);
		if (!fake->run || event->body < fake->run || event->body >= fake->run + (1 << 20))
			free(event->body);
	}
	free(fake->events);
	free(fake->run);
}

static struct fake_event *
event_add(struct fake_channel *fake)
{
	if (fake->count == fake->room) {
		fake->room = fake->room * 2 + 64;
		fake->events = realloc(fake->events, fake->room * sizeof *fake->events);
	}
	struct fake_event *event = &fake->events[fake->count++];
	*event = (struct fake_event){ 0 };
	return event;
}

void
fake_capacity(struct fake_channel *fake, uint64_t events)
{
	static const struct metric capacity[] = { { "ChannelCapacity", METRIC_GAUGE, 0, "events", "" } };
	counter_set(&fake->capacity, events);
	fake->metrics = (struct metric_set){ .kind = "CHANNEL", .component = fake->channel.name, .metrics = capacity, .count = 1, .counters = &fake->capacity };
	metrics_add(&fake->metrics);
}

void
fake_put_many(struct fake_channel *fake, uint32_t count, const char *body)
{
	if (!fake->run)
		fake->run = calloc(1, 1 << 20);
	memcpy(fake->run, body, strlen(body));
	for (uint32_t i = 0; i < count; i++) {
		struct fake_event *event = event_add(fake);
		event->body = fake->run;
		event->body_len = (uint32_t)strlen(body);
	}
}

void
fake_put(struct fake_channel *fake, const void *body, uint32_t len, const char *headers)
{
	/* Views of open spans are looked up by number, so that the array may move. */
	struct fake_event *event = event_add(fake);
	event->body = malloc(len ? len : 1);
	memcpy(event->body, body, len);
	event->body_len = len;
	for (const char *p = headers; p && *p;) {
		size_t n = strcspn(p, " ");
		const char *equal = memchr(p, '=', n);
		event->headers = realloc(event->headers, (event->header_count + 1) * sizeof *event->headers);
		struct header_view *header = &event->headers[event->header_count++];
		*header = (struct header_view){ .name = strndup(p, (size_t)(equal - p)), .name_len = (uint32_t)(equal - p) };
		if (equal[1] == '#') {
			header->number = strtoll(equal + 2, NULL, 10);
		} else {
			header->len = (uint32_t)(p + n - equal - 1);
			header->bytes = (uint8_t *)strndup(equal + 1, header->len);
		}
		p += n + (p[n] == ' ');
	}
}

void
fake_put_pairs(struct fake_channel *fake, const void *body, uint32_t len, const char *const *pairs, uint32_t count)
{
	fake_put(fake, body, len, NULL);
	struct fake_event *event = &fake->events[fake->count - 1];
	event->headers = calloc(count ? count : 1, sizeof *event->headers);
	event->header_count = count;
	for (uint32_t i = 0; i < count; i++) {
		const char *name = pairs[2 * i], *value = pairs[2 * i + 1];
		event->headers[i] = (struct header_view){ .name = strdup(name), .name_len = (uint32_t)strlen(name),
							  .bytes = (uint8_t *)strdup(value), .len = (uint32_t)strlen(value) };
	}
}

void
fake_put_adjacent(struct fake_channel *fake, const char *const *bodies, uint32_t count)
{
	assert(!fake->run);
	uint8_t *p = fake->run = malloc(1 << 20);
	for (uint32_t i = 0; i < count; i++) {
		size_t len = strlen(bodies[i]);
		struct fake_event *event = event_add(fake);
		event->body = p;
		event->body_len = (uint32_t)len;
		memcpy(p, bodies[i], len);
		p[len] = '\n';
		p += len + 1;
	}
}
