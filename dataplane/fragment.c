#include "dataplane/fragment.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "channel/ledger.h"
#include "dataplane/flow_record.h"
#include "dataplane/source/source.h"

#define RUN_NS (20 * NS_PER_MS)
#define RUN_MAX 64u			/* events made in one turn */
#define AGAIN_NS (3 * NS_PER_S)	/* marks of filtered events are noted within one */
#define TUPLE_BYTES 36u

enum state { WAITS, SENT, REMOVED };

struct fragment {
	struct fragment *next;
	struct ingress_source *in;
	struct ledger_link *link;
	struct mark *mark;
	struct address from, to;
	uint64_t end;			/* offset behind its last byte: the mark's order */
	uint64_t number;		/* of the note that removes the record */
	uint64_t sent_ns;
	enum state state;
	uint16_t key_len;
	uint32_t len;
	const uint8_t *key;
	uint8_t bytes[];
};

static struct ingress_source *
source_of(struct ingress *ingress, const uint8_t *name, size_t len)
{
	for (uint32_t i = 0; i < ingress->pipeline->source_count; i++) {
		const char *own = ingress->pipeline->sources[i].name;
		if (strlen(own) == len && memcmp(own, name, len) == 0)
			return &ingress->sources[i];
	}
	return NULL;
}

int
fragment_take(struct fragments *fragments, struct ledger_link *link, const void *key, uint16_t key_len, uint64_t order, const void *bytes,
	      uint32_t len, struct err *err)
{
	const uint8_t *zero = memchr(key, 0, key_len);
	size_t name_len = zero ? (size_t)(zero - (const uint8_t *)key) : 0;
	if (!zero || key_len < name_len + 1 + TUPLE_BYTES || !len)
		return -ENOENT;
	struct ingress_source *in = source_of(fragments->ingress, key, name_len);
	if (!in)
		return -ENOENT;
	struct fragment *f = calloc(1, sizeof *f + len + key_len);
	if (!f)
		return err_set(err, ENOMEM, "no memory");
	*f = (struct fragment){ .in = in, .link = link, .end = order + len, .key_len = key_len, .len = len, .key = f->bytes + len };
	memcpy(f->bytes, bytes, len);
	memcpy(f->bytes + len, key, key_len);
	const uint8_t *tuple = f->key + name_len + 1;
	memcpy(f->from.ip, tuple, 16);
	memcpy(&f->from.port, tuple + 16, 2);
	memcpy(f->to.ip, tuple + 18, 16);
	memcpy(&f->to.port, tuple + 34, 2);
	f->mark = mark_open(in, tuple, (uint16_t)(key_len - name_len - 1), err);
	if (!f->mark) {
		free(f);
		return -ENOMEM;
	}
	struct fragment **at = &fragments->first;
	while (*at)
		at = &(*at)->next;
	*at = f;
	fragments->count++;
	fragments->bytes += len;
	return 0;
}

/* Every required channel has the event, or has seen it filtered. */
static bool
stored(const struct fragment *f)
{
	const struct ingress *ingress = f->in->ingress;
	for (uint64_t left = f->in->spec->required; left; left &= left - 1) {
		struct channel *channel = ingress->pipeline->channels[__builtin_ctzll(left)];
		uint64_t order = 0;
		uint8_t resume;
		if (!channel->ops->promise(channel).marks)
			continue;
		if (ledger_get(channel->ops->ledger(channel), STATE_MARK, f->key, f->key_len, &resume, 0, &order) < 0 || order < f->end)
			return false;
	}
	return true;
}

static bool
in_flight(const struct fragment *f)
{
	const struct ingress *ingress = f->in->ingress;
	for (uint64_t left = f->in->spec->required; left; left &= left - 1)
		if (ingress->channels[__builtin_ctzll(left)].pending)
			return true;
	return ingress->batch.count != 0;
}

static void
bring(struct fragment *f, uint64_t now_ns)
{
	struct ingress *ingress = f->in->ingress;
	if (!ingress_ready(f->in, f->len + 16))
		return;
	const struct source_ops *ops = f->in->spec->ops;
	struct event *event = ops->on_fragment ? ops->on_fragment(f->in->self, &f->from, &f->to, f->bytes, f->len)
					       : ingress_append(f->in, f->bytes, f->len, ingress->wall_ns);
	if (!event)
		return;
	mark_event(f->mark, event, f->end, NULL, 0);
	counter_add(&f->in->counters.fragments, 1);
	f->state = SENT;
	f->sent_ns = now_ns;
}

/* True: done with. */
static bool
step(struct fragment *f, uint64_t now_ns)
{
	if (f->state == REMOVED) {
		if (ledger_durable(f->link) < f->number)
			return false;
		/* What judged the half line goes behind it. */
		if (flow_mark_remove(f->link, f->key, f->key_len) == -EAGAIN)
			return false;
		mark_remove(f->mark);
		return true;
	}
	if (stored(f)) {
		if (ledger_remove(f->link, STATE_HALF_LINE, f->key, f->key_len, &f->number) == 0)
			f->state = REMOVED;
	} else if (f->state == WAITS) {
		bring(f, now_ns);
	} else if (in_flight(f)) {
		f->sent_ns = now_ns;
	} else if (now_ns - f->sent_ns > AGAIN_NS) {
		f->state = WAITS;	/* its block could not be written */
	}
	return false;
}

void
fragments_run(struct fragments *fragments, uint64_t now_ns)
{
	if (!fragments->first || now_ns < fragments->next_ns)
		return;
	fragments->next_ns = now_ns + RUN_NS;
	uint32_t n = 0;
	for (struct fragment **at = &fragments->first, *f; (f = *at) && n < RUN_MAX; n++) {
		if (!step(f, now_ns)) {
			at = &f->next;
			continue;
		}
		*at = f->next;
		free(f);
	}
}

void
fragments_link(struct fragments *fragments, const struct ledger_link *dead, struct ledger_link *link, uint64_t now_ns)
{
	for (struct fragment *f = fragments->first; f; f = f->next) {
		if (f->link != dead)
			continue;
		f->link = link;
		if (f->state != REMOVED)
			continue;
		if (f->number <= ledger_durable(dead)) {
			f->number = 0;
			continue;
		}
		f->state = SENT;	/* its removal is noted again */
		f->sent_ns = now_ns;
	}
}

void
fragments_free(struct fragments *fragments)
{
	for (struct fragment *f; (f = fragments->first);) {
		fragments->first = f->next;
		mark_close(f->mark);
		free(f);
	}
}
