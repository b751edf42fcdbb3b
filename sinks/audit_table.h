/* audit_table: counts of delivered records by topic and window of event time, on their way to an audit topic.
 *
 * Bounded: AUDIT_WINDOWS windows, no memory is taken after the start. A window's count grows until the window has to make room; it is told as
 * often as it has grown, under one name (its serial). Room is made by the window that was untouched for longest of those whose count is told in
 * full; the same window of time then comes back under another serial, so that nothing is counted twice and nothing is forgotten.
 *
 * Owner and thread: the sink's. */
#ifndef PENSTOCK_SINKS_AUDIT_TABLE_H
#define PENSTOCK_SINKS_AUDIT_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#define AUDIT_WINDOWS 1024u
#define AUDIT_TOPIC_BYTES 250u		/* with its NUL; Kafka allows 249 */

struct audit_window {
	int64_t begin_ms;
	uint64_t count, told, sent;	/* told <= sent <= count; sent: what the message that is on its way says */
	uint64_t serial;		/* no two windows of a table ever have the same */
	uint64_t touched;
	uint32_t hash;
	uint16_t next;			/* of its bucket; AUDIT_WINDOWS: none */
	bool sending;
	char topic[AUDIT_TOPIC_BYTES];
};

struct audit_table {
	int64_t length_ms;
	uint64_t serials, tick;
	uint32_t used;
	struct audit_window *last;	/* that was added to */
	uint16_t buckets[AUDIT_WINDOWS];
	struct audit_window windows[AUDIT_WINDOWS];
};

void audit_table_init(struct audit_table *table, int64_t length_ms);
/* One record more. NULL: there is no room (or no such topic name): nothing was counted. */
struct audit_window *audit_table_add(struct audit_table *table, const char *topic, int64_t time_ms);
/* The next window behind `after` (NULL: from the first) that has more than was told and is not on its way; NULL: no more. */
struct audit_window *audit_table_untold(struct audit_table *table, const struct audit_window *after);
/* Its count goes out now; and then how that ended. */
void audit_window_send(struct audit_window *window);
void audit_window_sent(struct audit_window *window, bool worked);
/* Records counted and not told; *windows that they are of. */
uint64_t audit_table_untold_records(const struct audit_table *table, uint32_t *windows);

#endif
