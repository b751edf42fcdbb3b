/* ledger: small durable records {class, key, order, value} in a channel's own log; of one key the last counts. What exactly once,
 * source positions and connections that outlive the process stand on.  docs/ringlog-format.md "State records".
 *
 * How it goes: a thread that notes opens a link (`ledger_link_open`), a ring of its own towards the writer. `ledger_note` copies the
 * record into it and answers a number; it is durable once `ledger_durable(link) >= number` (an atomic read: poll it, or sleep on the
 * wake_fd given at open, or wait in `ledger_sync`). A note never needs credit: it goes out in a full channel and on a full disk, where a
 * reserve of the log is kept for it. What `ledger_get` and `ledger_each` show is the durable state, never what is under way.
 *
 * Notes of one link keep their order. Notes of one key must come from one link at a time.
 *
 * Consumer records (enum consumer_state) also steer what a channel offers:
 *   INTENT   noted while the events of its set are held in spans of the sink's own. Nothing changes while the process lives. After a
 *            restart these events are held back from every take until the INTENT is resolved.
 *   DONE     its events are delivered: after a restart they are settled, offered to no sink. In the same process the sink settles its spans itself.
 *            The record goes by itself when all its events lie below the synced checkpoint's first unsettled event.
 *   ASIDE    as DONE, for events that were set aside (rejects).
 *   ABANDON  proved never visible: the record goes; events held back by a restart are offered again.
 *   BOUND    without a set: what the sink wants to keep (its file number, its group). Lives until removed.
 * Only `ledger_resolve` makes DONE, ASIDE, ABANDON of an INTENT: it takes the set from the INTENT, which must be durable.
 *
 * In a channel without a disk (promise.notes is false) everything is the same, durable at once, and gone with the process.
 *
 * Threads: a link belongs to one thread; get and each may be called by any thread and take the ledger's lock, as the writer does for a
 * moment when a group has ended. Errors: negative errno. */
#ifndef PENSTOCK_CHANNEL_LEDGER_H
#define PENSTOCK_CHANNEL_LEDGER_H

#include "channel/channel.h"

struct ledger;
struct ledger_link;

/* The numbers are the log's. */
enum state_class { STATE_CONSUMER = 1, STATE_MARK = 2, STATE_FLOW = 3, STATE_HALF_LINE = 4 };
enum consumer_state { CONSUMER_BOUND = 1, CONSUMER_INTENT = 2, CONSUMER_DONE = 3, CONSUMER_ABANDON = 4, CONSUMER_ASIDE = 5 };

#define LEDGER_KEY_MAX 4096u
#define LEDGER_VALUE_MAX (7u << 20)	/* less where segments are small: ledger_value_max */

/* The channel's ledger: channel->ops->ledger(channel). Never NULL for the kinds that hold events themselves (file, memory). */

/* `room`: bytes of the ring, at least 64 KiB; the largest record must fit in half of it. wake_fd: an eventfd that is signalled when notes
 * of this link became durable or failed; -1: none. Control thread, or any while the channel is open. */
int ledger_link_open(struct ledger *ledger, const char *who, uint32_t room, int wake_fd, struct ledger_link **link, struct err *err);
/* What is noted still goes out; the link must not be used any more. */
void ledger_link_close(struct ledger_link *link);

/* Copies the record. -EAGAIN: the ring is full, try later; -EMSGSIZE: too long a key or value; -ENOSPC: the ledger's limit of live bytes
 * (penstock.ledger.bytes) would be passed by a new record (removal and resolution always pass); -EIO: an earlier note of this link
 * failed, or the log has. */
int ledger_note(struct ledger_link *link, const struct state_record *record, uint64_t *number);
/* The key goes (if it is there). */
int ledger_remove(struct ledger_link *link, uint8_t class, const void *key, uint16_t key_len, uint64_t *number);

/* Notes of this link up to this number are durable. */
uint64_t ledger_durable(const struct ledger_link *link);
/* 0, or why a note of this link was lost; for good: close the link, look at what is durable, open another. */
int ledger_status(const struct ledger_link *link);
/* Waits until `number` is durable: 0, -ETIMEDOUT, or ledger_status. The channel's writer must run in another thread. */
int ledger_sync(struct ledger_link *link, uint64_t number, uint64_t timeout_ns);

/* ---- the durable state ---- */

/* Visits the live records of a class whose key begins with the prefix, in no order, under the ledger's lock: no other call of the ledger
 * from inside; the record's bytes are gone afterwards. The visitor returns false to stop. */
void ledger_each(struct ledger *ledger, uint8_t class, const void *prefix, uint16_t prefix_len,
		 bool (*visit)(const struct state_record *record, void *context), void *context);
/* The value, copied; at most `room` bytes of it. Returns its length, or -ENOENT. */
int64_t ledger_get(struct ledger *ledger, uint8_t class, const void *key, uint16_t key_len, void *value, size_t room, uint64_t *order);
uint32_t ledger_value_max(const struct ledger *ledger);

/* ---- consumers ---- */

/* What a consumer record's value holds. */
struct consumer_record {
	enum consumer_state state;
	const uint8_t *set;		/* event set, encoded */
	uint32_t set_len;
	const uint8_t *more;		/* the sink's own: names, paths ... */
	uint32_t more_len;
};

/* Notes BOUND or INTENT under {sink's key}. set may be NULL. */
int ledger_note_consumer(struct ledger_link *link, const void *key, uint16_t key_len, uint64_t order, const struct consumer_record *consumer,
			 uint64_t *number);
/* Ends an INTENT that is durable: state DONE, ASIDE or ABANDON; its set and order are kept, `more` replaces the sink's own bytes (may be
 * NULL). -ENOENT: no INTENT of that key is durable. When the number is durable, events that a restart held back are settled (DONE,
 * ASIDE) or offered again (ABANDON). */
int ledger_resolve(struct ledger_link *link, const void *key, uint16_t key_len, enum consumer_state state, const void *more, uint32_t more_len,
		   uint64_t *number);
/* False: the bytes make no sense. Points into the value. */
bool consumer_decode(const void *value, uint32_t value_len, struct consumer_record *consumer);

/* An event set: ascending runs of event numbers, coded as differences: `varint (gap << 1 | longer)`, then `varint length - 2` when longer;
 * the gap counts from the end of the run before (from 0 at first). A lone event near the last one is one byte. */
struct set_writer {
	uint8_t *bytes;
	uint32_t len, room;
	uint64_t at;			/* end of the last run written */
	uint64_t first, end;		/* the run that may still grow */
	uint64_t events;
	bool full;
};
#define SET_RUN_MAX 20u			/* bytes of one run at most */

/* Runs must come in ascending order, apart or touching (touching ones are joined). Writes into `bytes`; full: the set did not fit. */
void set_begin(struct set_writer *set, void *bytes, uint32_t room);
void set_add(struct set_writer *set, uint64_t first, uint64_t count);
/* Writes the last run; returns the bytes, 0 when the set is empty or full. */
uint32_t set_end(struct set_writer *set);

struct set_reader {
	const uint8_t *at, *end;
	uint64_t number;
	bool bad;
};
void set_open(struct set_reader *set, const void *bytes, uint32_t len);
/* False at the end, or (bad) where the bytes make no sense. */
bool set_next(struct set_reader *set, struct event_range *range);

/* ---- marks: where a source that can rewind stands; written by ingresses into their blocks ---- */

/* Key of a mark in the ledger: source name, a zero byte, the source's own key. Value: opaque resume bytes. */
#define MARK_RESUME_MAX 128u

#endif
