#include "dataplane/mark.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "channel/ledger.h"
#include "dataplane/ingress.h"

#define IDLE_NOTE_NS NS_PER_S		/* between notes of marks that moved with no event to carry them */
#define MARK_OVERHEAD 48u		/* of a mark record: lead byte and numbers, at most */

/* A mark in one channel. */
struct mark_slot {
	struct mark *mark;
	struct mark_slot *dirty_next;
	uint64_t order;			/* all up to here is stored, or on its way */
	uint64_t serial;		/* block that has room for it reserved */
	bool known, dirty, listed;
	uint32_t resume_len;
	uint8_t resume[MARK_RESUME_MAX];
};

struct mark {
	struct ingress_source *in;
	struct mark *next;
	bool kept, started, removed;
	uint64_t start_order;
	uint32_t start_len;
	uint8_t start_resume[MARK_RESUME_MAX];
	uint16_t name_len, key_len;	/* of the ledger's key: source name, zero byte, key */
	uint32_t slot_count;
	struct mark_slot *slots;
	uint8_t key[];
};

static uint64_t
named(const struct ingress_source *in)
{
	return in->spec->required | in->spec->optional;
}

static struct mark_slot *
slot_of(const struct mark *mark, uint32_t slot)
{
	return &mark->slots[__builtin_popcountll(named(mark->in) & ((UINT64_C(1) << slot) - 1))];
}

/* What the channel has stored of the key. */
static void
slot_load(struct mark *mark, uint32_t slot)
{
	struct mark_slot *s = slot_of(mark, slot);
	struct channel *c = mark->in->ingress->pipeline->channels[slot];
	struct ledger *ledger = c->ops->promise(c).marks ? c->ops->ledger(c) : NULL;
	int64_t len = ledger ? ledger_get(ledger, STATE_MARK, mark->key, mark->key_len, s->resume, sizeof s->resume, &s->order) : -ENOENT;
	s->known = len >= 0;
	s->resume_len = len < 0 ? 0 : len > (int64_t)sizeof s->resume ? (uint32_t)sizeof s->resume : (uint32_t)len;
	s->dirty = false;
	if (!s->known)
		s->order = 0;
}

struct mark *
mark_open(struct ingress_source *in, const void *key, uint16_t key_len, struct err *err)
{
	struct ingress *ingress = in->ingress;
	size_t name_len = strlen(in->spec->name);
	uint64_t channels = named(in);
	uint32_t count = (uint32_t)__builtin_popcountll(channels);
	struct mark *mark = calloc(1, sizeof *mark + name_len + 1 + key_len);
	if (key_len > MARK_KEY_MAX || name_len > MARK_KEY_MAX) {
		free(mark);
		err_set(err, EMSGSIZE, "%s: a key of %u bytes is too long to be marked, at most %u", in->spec->name, key_len, MARK_KEY_MAX);
		return NULL;
	}
	if (!mark || !(mark->slots = calloc(count ? count : 1, sizeof *mark->slots))) {
		free(mark);
		err_set(err, ENOMEM, "%s: no memory for a mark", in->spec->name);
		return NULL;
	}
	mark->in = in;
	mark->slot_count = count;
	mark->name_len = (uint16_t)name_len;
	memcpy(mark->key, in->spec->name, name_len);
	memcpy(mark->key + name_len + 1, key, key_len);
	mark->key_len = (uint16_t)(name_len + 1 + key_len);
	mark->kept = mark->started = in->spec->required != 0;
	mark->start_order = UINT64_MAX;
	for (uint64_t left = channels; left; left &= left - 1) {
		uint32_t slot = (uint32_t)__builtin_ctzll(left);
		struct channel *c = ingress->pipeline->channels[slot];
		struct ingress_channel *channel = &ingress->channels[slot];
		struct mark_slot *s = slot_of(mark, slot);
		s->mark = mark;
		slot_load(mark, slot);
		if (c->ops->promise(c).marks && !channel->notes &&
		    ledger_link_open(c->ops->ledger(c), ingress->name, 0, -1, &channel->notes, err)) {
			free(mark->slots);
			free(mark);
			return NULL;
		}
		if (!(in->spec->required >> slot & 1))
			continue;
		mark->kept = mark->kept && c->ops->promise(c).marks;
		mark->started = mark->started && s->known;
		if (s->known && s->order < mark->start_order) {
			mark->start_order = s->order;
			mark->start_len = s->resume_len;
			memcpy(mark->start_resume, s->resume, s->resume_len);
		}
	}
	mark->next = ingress->marks;
	ingress->marks = mark;
	in->has_marks = true;
	return mark;
}

bool
mark_kept(const struct mark *mark)
{
	return mark->kept;
}

bool
mark_start(const struct mark *mark, uint64_t *order, const uint8_t **resume, uint32_t *resume_len)
{
	if (!mark->started)
		return false;
	*order = mark->start_order;
	*resume = mark->start_resume;
	*resume_len = mark->start_len;
	return true;
}

void
mark_event(struct mark *mark, struct event *event, uint64_t order, const void *resume, uint32_t resume_len)
{
	struct batch *batch = &mark->in->ingress->batch;
	if (!event)
		return;
	if (resume_len > MARK_RESUME_MAX)
		resume_len = MARK_RESUME_MAX;
	struct mark_point *point = arena_get(&batch->arena, sizeof *point + resume_len);
	if (!point) {
		event->dropped = 1;	/* as with headers that find no memory; the source reads smaller batches than that */
		batch->no_room++;
		return;
	}
	*point = (struct mark_point){ .mark = mark, .order = order, .resume_len = resume_len };
	if (resume_len)
		memcpy(point->resume, resume, resume_len);
	event->point = point;
}

/* ---- for ingress ---- */

bool
mark_reserve(struct ingress_channel *channel, uint32_t slot, const struct mark_point *point, struct block *block)
{
	struct mark_slot *s = slot_of(point->mark, slot);
	(void)channel;
	if (s->serial == block->serial)
		return true;
	if (!block_reserve(block, MARK_OVERHEAD + point->mark->key_len + MARK_RESUME_MAX))
		return false;
	s->serial = block->serial;
	return true;
}

static void
slot_move(struct ingress_channel *channel, struct mark_slot *s, const struct mark_point *point)
{
	if (s->known && point->order <= s->order)
		return;
	s->known = s->dirty = true;
	s->order = point->order;
	s->resume_len = point->resume_len;
	memcpy(s->resume, point->resume, point->resume_len);
	if (!s->listed) {
		s->listed = true;
		s->dirty_next = channel->marks_dirty;
		channel->marks_dirty = s;
	}
}

void
mark_stored(struct ingress_channel *channel, uint32_t slot, const struct mark_point *point)
{
	slot_move(channel, slot_of(point->mark, slot), point);
}

/* Channels that have the event already do not get it again. */
void
marks_skip(struct ingress_source *in, struct batch *batch)
{
	struct ingress *ingress = in->ingress;
	for (uint32_t i = 0; i < batch->count; i++) {
		struct event *event = &batch->events[i];
		if (!event->point || event->dropped)
			continue;
		for (uint64_t left = event->channels; left; left &= left - 1) {
			uint32_t slot = (uint32_t)__builtin_ctzll(left);
			const struct mark_slot *s = slot_of(event->point->mark, slot);
			if (!s->known || event->point->order > s->order)
				continue;
			event->channels &= ~(UINT64_C(1) << slot);
			counter_add(&ingress->channels[slot].counters.known, 1);
		}
	}
}

/* The batch is put: events that went nowhere, or not there, move the mark, too. */
void
marks_advance(struct ingress_source *in, struct batch *batch)
{
	struct ingress *ingress = in->ingress;
	for (uint64_t left = named(in); left; left &= left - 1) {
		uint32_t slot = (uint32_t)__builtin_ctzll(left);
		struct ingress_channel *channel = &ingress->channels[slot];
		if (channel->mark_failed)
			continue;
		for (uint32_t i = 0; i < batch->count; i++)
			if (batch->events[i].point)
				slot_move(channel, slot_of(batch->events[i].point->mark, slot), batch->events[i].point);
	}
}

/* Before the open block is sealed: marks that found no room stay dirty for the next. */
void
marks_write(struct ingress_channel *channel)
{
	struct mark_slot *list = channel->marks_dirty;
	channel->marks_dirty = NULL;
	while (list) {
		struct mark_slot *s = list;
		const struct mark *m = s->mark;
		list = s->dirty_next;
		s->listed = false;
		if (!s->dirty)
			continue;
		if (s->serial == channel->open->serial || block_reserve(channel->open, MARK_OVERHEAD + m->key_len + MARK_RESUME_MAX)) {
			block_put_mark(channel->open, m->key, m->name_len, s->order, m->key + m->name_len + 1, (uint32_t)(m->key_len - m->name_len - 1),
				       s->resume, s->resume_len);
			s->dirty = false;
		} else {
			s->listed = true;
			s->dirty_next = channel->marks_dirty;
			channel->marks_dirty = s;
		}
	}
}

/* A block of the channel failed, or a marked event found no credit: nothing marked goes in until all on its way is back and the marks
 * are what the channel has stored. Its tickets have failed, so the source goes back. */
void
marks_failed(struct ingress *ingress, struct ingress_channel *channel)
{
	if (!ingress->marks || channel->mark_failed)
		return;
	channel->mark_failed = true;
	ingress->mark_failures++;
}

void
marks_reap(struct ingress *ingress)
{
	/* Until the sources know: a ticket that waits for another channel has not been told yet, and what comes behind it would leave a hole. */
	for (uint32_t i = 1; i < ingress->tickets.room; i++)
		if (ingress->tickets.table[i].in && ingress->tickets.table[i].in->has_marks && ingress->tickets.table[i].status)
			return;
	if (ingress->batch.count)
		return;
	for (uint32_t slot = 0; slot < ingress->pipeline->channel_count && ingress->mark_failures; slot++) {
		struct ingress_channel *channel = &ingress->channels[slot];
		if (!channel->mark_failed || channel->pending)
			continue;
		for (struct mark *m = ingress->marks; m; m = m->next)
			if (named(m->in) >> slot & 1)
				slot_load(m, slot);
		channel->mark_failed = false;
		ingress->mark_failures--;
	}
}

bool
marks_ready(const struct ingress_source *in)
{
	for (uint64_t left = in->has_marks && in->ingress->mark_failures ? in->spec->required : 0; left; left &= left - 1)
		if (in->ingress->channels[__builtin_ctzll(left)].mark_failed)
			return false;
	return true;
}

/* The link has lost a note (ledger_status): another takes its place, and all marks are noted with it. */
static void
notes_again(struct ingress *ingress, uint32_t slot)
{
	struct ingress_channel *channel = &ingress->channels[slot];
	struct channel *c = ingress->pipeline->channels[slot];
	struct ledger_link *fresh;
	if (ledger_link_open(c->ops->ledger(c), ingress->name, 0, -1, &fresh, NULL))
		return;
	ledger_link_close(channel->notes);
	channel->notes = fresh;
	for (struct mark *m = ingress->marks; m; m = m->next) {
		struct mark_slot *s = named(m->in) >> slot & 1 ? slot_of(m, slot) : NULL;
		if (!s || !s->known)
			continue;
		s->dirty = true;
		if (s->listed)
			continue;
		s->listed = true;
		s->dirty_next = channel->marks_dirty;
		channel->marks_dirty = s;
	}
}

/* Marks that moved while no event of the channel carried them are noted, when all before them is stored. */
void
marks_idle(struct ingress *ingress)
{
	uint64_t now = clock_now_ns(ingress->clock), number;
	if (now < ingress->marks_due_ns)
		return;
	ingress->marks_due_ns = now + IDLE_NOTE_NS;
	for (uint32_t slot = 0; slot < ingress->pipeline->channel_count; slot++) {
		struct ingress_channel *channel = &ingress->channels[slot];
		struct mark_slot **at = &channel->marks_dirty, *s;
		if (!channel->notes || channel->pending || channel->mark_failed)
			continue;
		if (ledger_status(channel->notes))
			notes_again(ingress, slot);
		while ((s = *at)) {
			const struct state_record r = { .class = STATE_MARK, .key = s->mark->key, .key_len = s->mark->key_len, .value = s->resume,
				.value_len = s->resume_len, .order = s->order };
			if (s->dirty && ledger_note(channel->notes, &r, &number))
				break;
			s->dirty = s->listed = false;
			*at = s->dirty_next;
		}
	}
	for (struct mark **at = &ingress->marks, *m; (m = *at);) {
		bool stored = m->removed;
		for (uint64_t left = stored ? named(m->in) : 0; left; left &= left - 1)
			stored &= ingress->channels[__builtin_ctzll(left)].pending == 0;
		if (!stored) {
			at = &m->next;
			continue;
		}
		for (uint64_t left = named(m->in); left; left &= left - 1) {
			struct ingress_channel *channel = &ingress->channels[__builtin_ctzll(left)];
			if (channel->notes && slot_of(m, (uint32_t)__builtin_ctzll(left))->known)
				(void)ledger_remove(channel->notes, STATE_MARK, m->key, m->key_len, &number);
		}
		mark_close(m);
	}
}

void
mark_remove(struct mark *mark)
{
	mark->removed = true;
}

static void
slots_unlist(struct mark *mark)
{
	struct ingress *ingress = mark->in->ingress;
	for (uint64_t left = named(mark->in); left; left &= left - 1)
		for (struct mark_slot **at = &ingress->channels[__builtin_ctzll(left)].marks_dirty; *at;) {
			if ((*at)->mark == mark)
				*at = (*at)->dirty_next;
			else
				at = &(*at)->dirty_next;
		}
}

void
mark_close(struct mark *mark)
{
	struct mark **at = &mark->in->ingress->marks;
	while (*at != mark)
		at = &(*at)->next;
	*at = mark->next;
	slots_unlist(mark);
	free(mark->slots);
	free(mark);
}

void
marks_close(struct ingress *ingress)
{
	while (ingress->marks)
		mark_close(ingress->marks);
	for (uint32_t slot = 0; slot < PIPELINE_CHANNELS_MAX; slot++)
		if (ingress->channels[slot].notes)
			ledger_link_close(ingress->channels[slot].notes);
}
