/* mark: where a source that can rewind stands, kept in its channels beside the events themselves: {source, key, order, resume bytes}.
 *
 * A key is something the source reads in order (a file, a partition); the order of its events only grows (an offset, a line number).
 * Each block ends with the mark of every key that has moved, so what survives a crash is a prefix that agrees with its last mark. At
 * start the source resumes behind the lowest mark of its required channels; each channel drops what is at or below its own, so with two
 * channels nothing is lost and nothing comes twice. Filtered events move marks too.
 *
 *   open:   mark = mark_open(in, key, key_len, &err); if (mark_kept(mark) && mark_start(mark, &order, &resume, &len)) go behind order
 *           (a channel without a disk keeps no marks: the source's own store rules)
 *   event:  while (ingress_ready(in, len)) { event = ingress_append(...); mark_event(mark, event, order, resume, resume_len); }
 *           resume bytes are those that hold once this event is stored; they may be none: the order is often enough
 *           and set event->ticket: only tickets tell the source to go back
 *   ack(cookie, status < 0): go back behind the ticket's last good order and bring the events again: what a channel has stored since it drops
 *
 * Not between ingress_begin and ingress_commit. Owner and thread: the ingress. */
#ifndef PENSTOCK_DATAPLANE_MARK_H
#define PENSTOCK_DATAPLANE_MARK_H

#include "base/err.h"
#include "base/event.h"

struct ingress;
struct ingress_channel;
struct ingress_source;
struct mark;
struct block;

#define MARK_KEY_MAX 1024u

/* NULL: no memory, or too long a key. Closed with the ingress, or by mark_close. */
struct mark *mark_open(struct ingress_source *in, const void *key, uint16_t key_len, struct err *err);
/* The key is done with (the file is gone): its records are removed from the channels when all its events are stored. */
void mark_remove(struct mark *mark);
/* The memory goes; the records stay. */
void mark_close(struct mark *mark);
/* Every required channel keeps marks. */
bool mark_kept(const struct mark *mark);
/* The lowest mark of the required channels. False: one of them has none: from the beginning. */
bool mark_start(const struct mark *mark, uint64_t *order, const uint8_t **resume, uint32_t *resume_len);
/* Of an event just appended (NULL: nothing happens). At most MARK_RESUME_MAX resume bytes, copied. */
void mark_event(struct mark *mark, struct event *event, uint64_t order, const void *resume, uint32_t resume_len);

/* ---- for ingress ---- */
bool mark_reserve(struct ingress_channel *channel, uint32_t slot, const struct mark_point *point, struct block *block);
void mark_stored(struct ingress_channel *channel, uint32_t slot, const struct mark_point *point);
void marks_skip(struct ingress_source *in, struct batch *batch);
void marks_advance(struct ingress_source *in, struct batch *batch);
void marks_write(struct ingress_channel *channel);
void marks_failed(struct ingress *ingress, struct ingress_channel *channel);
void marks_reap(struct ingress *ingress);
bool marks_ready(const struct ingress_source *in);
void marks_idle(struct ingress *ingress);
void marks_close(struct ingress *ingress);

#endif
