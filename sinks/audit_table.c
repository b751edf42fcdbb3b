#include "sinks/audit_table.h"

#include <assert.h>
#include <string.h>

#include "base/crc32c.h"
#include "sinks/format/audit.h"

void
audit_table_init(struct audit_table *table, int64_t length_ms)
{
	assert(length_ms > 0);
	memset(table, 0, sizeof *table);
	table->length_ms = length_ms;
	for (uint32_t i = 0; i < AUDIT_WINDOWS; i++)
		table->buckets[i] = AUDIT_WINDOWS;
}

static bool
is(const struct audit_window *window, const char *topic, int64_t begin_ms)
{
	return window->begin_ms == begin_ms && strcmp(window->topic, topic) == 0;
}

static void
unlink_window(struct audit_table *table, const struct audit_window *window)
{
	uint16_t *link = &table->buckets[window->hash % AUDIT_WINDOWS];
	while (&table->windows[*link] != window)
		link = &table->windows[*link].next;
	*link = window->next;
}

/* A place for a new window, or NULL. */
static struct audit_window *
room_make(struct audit_table *table)
{
	struct audit_window *oldest = NULL;
	if (table->used < AUDIT_WINDOWS)
		return &table->windows[table->used++];
	for (uint32_t i = 0; i < AUDIT_WINDOWS; i++) {
		struct audit_window *window = &table->windows[i];
		if (window->told == window->count && !window->sending && (!oldest || window->touched < oldest->touched))
			oldest = window;
	}
	if (oldest)
		unlink_window(table, oldest);
	return oldest;
}

struct audit_window *
audit_table_add(struct audit_table *table, const char *topic, int64_t time_ms)
{
	int64_t begin_ms = audit_window(time_ms, table->length_ms);
	struct audit_window *window = table->last;
	if (!window || !is(window, topic, begin_ms)) {
		size_t len = strnlen(topic, AUDIT_TOPIC_BYTES);
		if (len == AUDIT_TOPIC_BYTES)
			return NULL;
		uint32_t hash = crc32c(crc32c(0, topic, len), &begin_ms, sizeof begin_ms);
		uint16_t i = table->buckets[hash % AUDIT_WINDOWS];
		while (i != AUDIT_WINDOWS && !is(&table->windows[i], topic, begin_ms))
			i = table->windows[i].next;
		if (i != AUDIT_WINDOWS) {
			window = &table->windows[i];
		} else {
			window = room_make(table);
			if (!window)
				return NULL;
			*window = (struct audit_window){ .begin_ms = begin_ms, .serial = ++table->serials, .hash = hash,
				.next = table->buckets[hash % AUDIT_WINDOWS] };
			memcpy(window->topic, topic, len + 1);
			table->buckets[hash % AUDIT_WINDOWS] = (uint16_t)(window - table->windows);
		}
		window->touched = ++table->tick;
		table->last = window;
	}
	window->count++;
	return window;
}

struct audit_window *
audit_table_untold(struct audit_table *table, const struct audit_window *after)
{
	for (uint32_t i = after ? (uint32_t)(after - table->windows) + 1 : 0; i < table->used; i++) {
		struct audit_window *window = &table->windows[i];
		if (window->count > window->told && !window->sending)
			return window;
	}
	return NULL;
}

void
audit_window_send(struct audit_window *window)
{
	assert(!window->sending);
	window->sending = true;
	window->sent = window->count;
}

void
audit_window_sent(struct audit_window *window, bool worked)
{
	assert(window->sending);
	window->sending = false;
	if (worked)
		window->told = window->sent;
}

uint64_t
audit_table_untold_records(const struct audit_table *table, uint32_t *windows)
{
	uint64_t records = 0;
	*windows = 0;
	for (uint32_t i = 0; i < table->used; i++) {
		records += table->windows[i].count - table->windows[i].told;
		*windows += table->windows[i].count != table->windows[i].told;
	}
	return records;
}
