/* simulate [--seed N | --from N --lives N] [--broken NAME] [--verbose]: the whole channel (links, writer, recovery, takers) in one thread
 * on a disk in memory, with a clock of its own; everything by chance from one seed. A life is one log through several power cuts.
 *
 * The model beside it knows nothing of the code under test: it notes what was put, acknowledged, failed, taken, settled, and judges:
 * what was acknowledged or taken is there after every cut until it is settled, in the order of its ingress, once, under the same number;
 * blocks and joined runs are whole or gone; what was gone stays gone; what failed stays away once a later event was stored; no byte is
 * invented. With damage (bit rot, latent errors) exactly what is missing is reported.
 *
 * Replay: the seed that is printed. One line at the end tells how many cuts there were. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/log.h"
#include "channel/broken.h"
#include "channel/channel_file.h"
#include "channel/engine.h"
#include "channel/format.h"
#include "tests/channel/keys.h"
#include "tests/channel/simulate.h"

#define ALL_FAULTS_CUTS 10000u	/* power cuts, in which each kind of fault happens at least once */
#define BLOCK_BYTES 8192u
#define BLOCKS 24u
#define LINKS 2u
#define IDS 40000u
#define SPANS 6u
#define NO_NUMBER UINT64_MAX

#ifdef CHANNEL_BROKEN
enum broken channel_broken;
#endif

enum state {
	UNUSED,
	PUT,		/* submitted */
	KEPT,		/* acknowledged, taken, or found after a cut: must be there from now on */
	FAILED,		/* may be there until a later event is stored */
	GONE,		/* must not come back (but may be put again by a client that repeats itself) */
};

struct id {
	enum state state;
	uint8_t link;
	bool settled, held, seen;	/* committed once; in an open span; found in this look */
	uint32_t settled_life;		/* process life in which it was committed */
	uint32_t block, run;		/* which must be whole */
	uint64_t number, step;		/* when put */
};

static struct model {
	struct id ids[IDS];
	uint32_t next, block, run;
	uint64_t number_id[IDS];	/* id of a number + 1 */
} model;

static struct world {
	uint64_t seed, random, step;
	struct logio_mem *mem;
	struct clock_manual clock;
	struct channel *channel;
	const struct channel_ops *ops;
	struct channel_link *links[LINKS];
	struct taker *takers[2];
	struct span *spans[SPANS];
	uint32_t span_taker[SPANS];
	uint32_t process;		/* opens so far */
	uint64_t failed_step;		/* newest failure seen; 0 none */
	bool repeats;			/* one link; a client that sends the very same bytes again after a cut */
	bool faults, small_disk, damaged;
	uint64_t reported, stretches;	/* lost to damage, and damage counted, in processes that have ended */
	char what[16];
} w;

static struct {
	uint64_t cuts, lives, opens, events, acknowledged, failed, fences, damaged, full, notes, doubtful;
} total;

static struct block_scratch *scratch[LINKS];
static uint8_t *region;
static bool verbose;
static const char *self;

uint64_t
draw(uint64_t below)
{
	uint64_t z = w.random += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return (z ^ z >> 31) % below;
}

static uint64_t
mix(uint64_t z)
{
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static void
dump_file(const char *name, void *context)
{
	char path[64];
	uint64_t len;
	snprintf(path, sizeof path, "%s/%s", (const char *)context, name);
	const uint8_t *bytes = logio_mem_bytes(w.mem, path, &len);
	if (strncmp(name, "segment-", 8) || !bytes)
		return;
	fprintf(stderr, "  %s\n", path);
	for (uint64_t at = 0; at + BLOCK_ALIGN_BYTES <= len; at += BLOCK_ALIGN_BYTES) {
		const struct block_header *h = (const struct block_header *)(bytes + at);
		if (h->magic == BLOCK_MAGIC)
			fprintf(stderr, "    %6" PRIu64 ": position %" PRIu64 "+%u epoch %u flags %u group %" PRIu64 " %u/%u after %" PRIu64
				" crc %08x durable %" PRIu64 " events %" PRIu64 "+%u header crc %08x\n", at, h->position, h->bytes, h->epoch,
				h->flags, h->group_position, h->group_index, h->group_count, h->previous_end, h->previous_crc, h->durable,
				h->first_event, h->events, h->header_crc);
	}
}

void
broken_promise(const char *condition)
{
	if (verbose) {
		logio_mem_io(w.mem)->ops->list(logio_mem_io(w.mem), "/d", dump_file, (void *)"/d");
		logio_mem_io(w.mem)->ops->list(logio_mem_io(w.mem), "/e", dump_file, (void *)"/e");
	}
	fprintf(stderr, "\n  is against: %s\n  in process %u, step %" PRIu64 " (%s)\n  replay: %s --seed %" PRIu64 "\n", condition, w.process, w.step,
		w.what, self, w.seed);
	exit(1);
}

/* ---- putting ---- */

static uint32_t
body_len(uint32_t id)
{
	return 16 + (uint32_t)(mix(id) % (mix(id + 7) % 8 ? 300 : 3000));
}

static void
body_fill(uint32_t id, uint8_t *body, uint32_t len)
{
	uint64_t value = mix(id + UINT64_C(0x1234567));
	memcpy(body, &id, 4);
	for (uint32_t i = 4; i < len; i++)
		body[i] = (uint8_t)(value >> (i % 8 * 8));
}

static uint32_t
put_block(uint32_t link, uint32_t events, uint32_t joined)
{
	struct block *b = channel_credit(w.links[link]);
	if (!b)
		return 0;
	block_open(b, scratch[link]);
	uint8_t body[4096];
	uint32_t n = 0;
	for (; n < events && model.next < IDS; n++) {
		uint32_t id = model.next, len = body_len(id);
		body_fill(id, body, len);
		struct header h = { .name = name_intern("id", 2), .kind = HEADER_NUMBER, .value.number = (int64_t)id };
		struct event e = { .body = body, .body_len = len, .headers = &h, .header_count = 1, .time_ns = 1000 };
		if (block_put(b, link, &e))
			break;
		model.ids[id] = (struct id){ .state = PUT, .link = (uint8_t)link, .block = model.block, .run = model.run, .number = NO_NUMBER,
			.step = w.step };
		model.next++;
	}
	CHECK(n || model.next == IDS, "no event fits into an empty block");
	total.events += n;
	(void)block_note_ticket(b, n ? model.next - n : 0);	/* the block's first event */
	block_seal(b);
	b->joined = joined;
	model.block++;
	channel_submit(w.links[link], &b);
	return n;
}

static void
put(void)
{
	uint32_t link = w.repeats ? 0 : (uint32_t)draw(LINKS);
	if (model.next + 200 > IDS)
		return;
	if (w.repeats) {
		(void)put_block(0, 1 + (uint32_t)(mix(model.next + 99) % 6), 0);
	} else if (draw(5) == 0 && spsc_count(&w.links[link]->credit) >= 3) {
		uint32_t run = 2 + (uint32_t)draw(2);
		for (uint32_t i = 0; i < run; i++)
			(void)put_block(link, 1 + (uint32_t)draw(8), i == 0 ? run - 1 : 0);
	} else
		(void)put_block(link, 1 + (uint32_t)draw(draw(4) ? 8 : 30), 0);
	model.run++;
}

/* Later events are stored: what failed before they were put must stay away. */
static void
stored_after(uint64_t step)
{
	if (!w.failed_step || step <= w.failed_step)
		return;
	for (uint32_t id = 0; id < model.next; id++)
		if (model.ids[id].state == FAILED)
			model.ids[id].state = GONE;
	w.failed_step = 0;
}

static void
reap(void)
{
	for (uint32_t link = 0; link < LINKS; link++)
		for (struct completion *c; (c = channel_completion(w.links[link]));) {
			CHECK(c->ticket_count == 1, "a completion with %u tickets", c->ticket_count);
			uint32_t first = c->tickets[0];
			for (uint32_t id = first; id < first + c->events; id++) {
				struct id *i = &model.ids[id];
				CHECK(i->link == link && (i->state == PUT || (i->state == KEPT && !c->status)),
				      "event %u answered with %d in state %d", id, c->status, i->state);
				i->state = c->status ? FAILED : KEPT;
			}
			if (c->status) {
				w.failed_step = w.step;
				total.failed += c->events;
			} else {
				total.acknowledged += c->events;
				if (c->events)
					stored_after(model.ids[first].step);
			}
			channel_completion_done(w.links[link], c);
		}
}

/* ---- state records ---- */

/* ---- taking ---- */

static uint32_t
event_id(const struct event_view *e)
{
	uint32_t id = UINT32_MAX;
	uint8_t body[4096];
	struct header_view h;
	if (e->body_len >= 4)
		memcpy(&id, e->body, 4);
	CHECK(id < model.next && e->body_len == body_len(id), "number %" PRIu64 ": invented: id %u of %u bytes", e->number, id, e->body_len);
	body_fill(id, body, e->body_len);
	CHECK(!memcmp(body, e->body, e->body_len), "number %" PRIu64 ": id %u: its bytes are not what was put", e->number, id);
	CHECK(event_view_header(e, "id", 2, &h) && !h.bytes && h.number == (int64_t)id, "number %" PRIu64 ": id %u: wrong header", e->number, id);
	CHECK(e->number < IDS, "number %" PRIu64 " was never given", e->number);
	return id;
}

static void
event_seen(const struct event_view *e)
{
	uint32_t id = event_id(e);
	struct id *i = &model.ids[id];
	uint64_t *known = &model.number_id[e->number];
	/* Two faults at once may hide that a whole block was cut: where the log went on elsewhere, just that place is damaged. It was never
	 * acknowledged; its client has sent it again. */
	bool doubtful = w.damaged && i->state == GONE;
	total.doubtful += doubtful;
	CHECK(i->state == PUT || i->state == KEPT || doubtful, "number %" PRIu64 ": id %u came back in state %d",
	      e->number, id, i->state);
	CHECK(i->number == NO_NUMBER || i->number == e->number, "id %u: number %" PRIu64 " was %" PRIu64, id, e->number, i->number);
	CHECK(!*known || *known == id + 1u || w.damaged, "number %" PRIu64 ": id %u, was id %" PRIu64, e->number, id, *known - 1);
	CHECK(!i->held, "number %" PRIu64 ": id %u offered while it is held", e->number, id);
	CHECK(!i->settled || i->settled_life != w.process, "number %" PRIu64 ": id %u offered after it was committed", e->number, id);
	if (i->state == PUT)
		i->state = KEPT;
	if (w.what[0] != 'l')
		stored_after(i->step);
	i->number = e->number;
	*known = id + 1u;
	i->held = true;
}

static struct span *
take(uint32_t taker, uint32_t events)
{
	struct span *s;
	int rc = w.ops->take(w.takers[taker], events, draw(3) ? UINT64_MAX : 1000, 0, &s);
	CHECK(rc == 0 || w.faults || w.damaged || logio_mem_dead(w.mem), "take: %s", strerror(-rc));
	if (rc || !s)
		return NULL;
	struct span_cursor cursor = { { 0 } };
	struct event_view e;
	uint32_t n = 0;
	while (w.ops->span_next(s, &cursor, &e)) {
		CHECK(e.number == s->first + n, "span from %" PRIu64 ": event %u has number %" PRIu64, s->first, n, e.number);
		event_seen(&e);
		n++;
	}
	CHECK(n == s->events, "span of %u events has %u", s->events, n);
	return s;
}

static void
settled(uint64_t first, uint64_t end, bool commit)
{
	for (uint64_t number = first; number < end; number++) {
		struct id *i = &model.ids[model.number_id[number] - 1];
		i->held = false;
		if (commit) {
			i->settled = true;
			i->settled_life = w.process;
		}
	}
}

static void
settle(uint32_t slot)
{
	struct span *s = w.spans[slot];
	uint64_t first = s->first, end = first + s->events;
	struct event_range set[4];
	uint32_t sets = draw(3) ? 0 : 1 + (uint32_t)draw(3);
	bool commit = draw(4) != 0;
	uint64_t at = first;
	for (uint32_t i = 0; i < sets; i++) {
		set[i].first = at + draw(4);
		set[i].count = draw(5);
		at = set[i].first + set[i].count;
	}
	if (draw(2))
		w.ops->span_release(w.takers[w.span_taker[slot]], s);
	int rc = w.ops->settle(w.takers[w.span_taker[slot]], s, commit ? SETTLE_COMMIT : SETTLE_ROLLBACK, sets ? set : NULL, sets);
	CHECK(rc == 0, "settle: %s", strerror(-rc));
	w.spans[slot] = NULL;
	settled(first, end, sets ? !commit : commit);
	for (uint32_t i = 0; i < sets; i++) {
		uint64_t from = set[i].first < end ? set[i].first : end, to = set[i].first + set[i].count < end ? set[i].first + set[i].count : end;
		if (!commit)		/* the others were committed: these were not */
			for (uint64_t n = from; n < to; n++) {
				struct id *id = &model.ids[model.number_id[n] - 1];
				id->settled = id->settled_life != w.process && id->settled;
			}
		else
			settled(from, to, true);
	}
}

/* ---- opening and looking ---- */

static void *
region_alloc(size_t bytes, void *context)
{
	(void)context;
	CHECK(bytes <= (size_t)BLOCKS * BLOCK_BYTES, "too much memory: %zu", bytes);
	return region;
}

static bool
open_channel(void)
{
	static const char *one[] = { "/d" }, *two[] = { "/d", "/e" };
	struct channel_file_config config = { .checkpoint_dir = "/c", .data_dirs = { w.seed % 3 ? 1 : 2, w.seed % 3 ? one : two }, .capacity = 4000,
		.sync = true, .required_space = 1, .max_file_size = 1u << 30, .transaction_capacity = 1000, .sync_interval_s = 5,
		.checkpoint_interval_ms = 1 + (uint32_t)(mix(w.seed) % 40), .segment_size = 1, .spare_bytes = w.seed % 2 * (1u << 20), .checkpoint_on_close = w.seed % 8 == 7 || mix(w.seed + 1) % 2 };
	struct channel_env env = { .name = "c1", .clock = &w.clock.clock, .block_bytes = BLOCK_BYTES, .blocks = BLOCKS, .links_max = LINKS,
		.group_bytes = w.seed % 4 == 2 ? BLOCK_BYTES : 0, .alloc = region_alloc };
	struct err err = { "" };
	if (w.seed % 5 == 3)		/* encrypted, and another key each time */
		keys_config(&config, w.process % 2 ? "key-1" : "key-2");
	w.process++;
	total.opens++;
	snprintf(w.what, sizeof w.what, "open");
	int rc = channel_file_open_on(&w.channel, &config, &env, logio_mem_io(w.mem), &err);
	if (rc) {
		CHECK(logio_mem_dead(w.mem), "open: %s", err.text);
		w.channel = NULL;
		return false;
	}
	w.ops = w.channel->ops;
	if (verbose) {
		const struct ringlog *log = ((const struct engine *)w.channel)->log;
		fprintf(stderr, "process %u: epoch %u, from %" PRIu64 ", end %" PRIu64 "; model: next %u\n", w.process, log->epoch,
			log->first_position, log->position, model.next);
	}
	for (uint32_t i = 0; i < LINKS; i++)
		CHECK(w.ops->link(w.channel, "i", -1, &w.links[i], &err) == 0, "link: %s", err.text);
	for (uint32_t i = 0; i < 2; i++)
		CHECK(w.ops->taker_open(w.channel, "k", &w.takers[i], &err) == 0, "taker: %s", err.text);
	notes_open(w.ops->ledger(w.channel));
	w.failed_step = 0;
	for (uint32_t id = 0; id < model.next; id++)	/* it may have been found, and only a look can tell */
		if (model.ids[id].state == FAILED)
			model.ids[id].state = PUT;
	return true;
}

static void
close_channel(void)
{
	if (!w.channel)
		return;
	for (uint32_t i = 0; i < SPANS; i++)
		w.spans[i] = NULL;
	for (uint32_t i = 0; i < model.next; i++)
		model.ids[i].held = false;
	w.reported += metrics_sum("CHANNEL", "c1", "damaged_events");
	w.stretches += metrics_sum("CHANNEL", "c1", "damage");
	total.fences += metrics_sum("CHANNEL", "c1", "fences");
	notes_close();
	w.ops->taker_close(w.takers[0]);
	w.ops->taker_close(w.takers[1]);
	w.ops->close(w.channel);
	w.channel = NULL;
}

/* A block, or a joined run, of which something is there and something never settled is not. */
static void
check_whole(void)
{
	for (uint32_t id = 0; id < model.next; id++) {
		const struct id *i = &model.ids[id];
		if (!id || model.ids[id - 1].run != i->run || i->settled || model.ids[id - 1].settled || i->state == GONE || model.ids[id - 1].state == GONE)
			continue;
		CHECK(i->seen == model.ids[id - 1].seen, "id %u is %s, its neighbour of the same group is not", id, i->seen ? "there" : "gone");
	}
}

/* All that is in the log, right after recovery, is looked at and put back. What damage made away with must be reported. */
static void
look(void)
{
	bool damage = w.damaged;
	struct span *spans[4000];
	uint32_t count = 0, dry = 0;
	uint64_t events = 0, unsettled = w.ops->unsettled(w.channel), newest[LINKS] = { 0, 0 };
	/* A sector that cannot be read is waited for at most ten times as a block's beginning and ten as the next segment's. */
	uint64_t dry_most = 3 + 20 * logio_mem_counts(w.mem)->made_bad;
	snprintf(w.what, sizeof w.what, "look");
	for (uint32_t id = 0; id < model.next; id++)
		model.ids[id].seen = false;
	while (dry < dry_most && count < 4000) {
		struct span *s = take(0, 200);
		if (!s) {
			dry++;
			if (damage && w.ops->unsettled(w.channel) == events)
				break;
			continue;
		}
		dry = 0;
		w.ops->span_release(w.takers[0], s);
		spans[count++] = s;
		events += s->events;
		for (uint64_t n = s->first; n < s->first + s->events; n++) {
			uint32_t id = (uint32_t)model.number_id[n] - 1;
			struct id *i = &model.ids[id];
			CHECK(!i->seen, "id %u is there twice", id);
			i->seen = true;
			if (i->state == GONE)
				continue;
			CHECK(id >= newest[i->link], "id %u comes behind id %" PRIu64 " of the same ingress", id, newest[i->link]);
			newest[i->link] = id;
		}
	}
	uint64_t missing = 0;
	for (uint32_t id = 0; id < model.next; id++) {
		struct id *i = &model.ids[id];
		if (i->state == KEPT && !i->settled && !i->seen) {
			missing++;
			if (verbose)
				fprintf(stderr, "missing: id %u number %" PRIu64 " block %u\n", id, i->number, i->block);
			CHECK(damage, "event %u (number %" PRIu64 ") was acknowledged and is lost", id, i->number);
		}
	}
	if (damage) {
		uint64_t reported = w.reported + metrics_sum("CHANNEL", "c1", "damaged_events");
		CHECK(reported >= missing, "%" PRIu64 " events are missing, %" PRIu64 " were reported", missing, reported);
		CHECK(!missing || w.stretches + metrics_sum("CHANNEL", "c1", "damage") > 0, "damage is not counted");
		total.damaged += missing;
	} else {
		CHECK(unsettled == events, "%" PRIu64 " events are unsettled, %" PRIu64 " came out", unsettled, events);
		check_whole();
	}
	for (uint32_t id = 0; id < model.next; id++) {	/* what is not there now never comes back */
		struct id *i = &model.ids[id];
		if (i->seen && i->state != KEPT && i->state != GONE)
			i->state = KEPT;
		else if (!i->seen && (i->state == PUT || i->state == FAILED || (damage && !i->settled)))
			i->state = GONE;
	}
	while (count) {
		struct span *s = spans[--count];
		uint64_t first = s->first, end = first + s->events;
		CHECK(w.ops->settle(w.takers[0], s, SETTLE_ROLLBACK, NULL, 0) == 0, "rollback");
		settled(first, end, false);
	}
	notes_look(w.damaged);
	if (w.repeats && !damage)	/* the client sends again what has gone, from the first on */
		while (model.next && model.ids[model.next - 1].state == GONE)
			model.next--;
	snprintf(w.what, sizeof w.what, "run");
}

/* ---- a run ---- */

static void
faults_turn(void)
{
	struct logio_mem_faults f = { .seed = draw(UINT64_MAX) };
	switch (draw(6)) {
	case 0: f.write = 3000; break;
	case 1: f.sync = 3000; break;
	case 2: f.write = f.sync = f.open = f.rename = 800; f.read = 200; break;
	case 3: f.write = 65535; break;		/* for a while nothing works */
	default: break;
	}
	if (f.read && w.seed >> 8 & 1) {	/* above all these, and often */
		f.read = 2000;
		f.open = f.rename = 6000;
	}
	f.misdirect = w.seed & 1;
	logio_mem_faults(w.mem, &f);
}

static void
run(uint32_t steps)
{
	for (uint32_t i = 0; i < steps && !logio_mem_dead(w.mem); i++) {
		w.step++;
		if (w.faults && draw(40) == 0)
			faults_turn();
		if (w.small_disk && draw(60) == 0) {
			logio_mem_space(w.mem, draw(2) ? 0 : UINT64_C(1) << 40);
			total.full++;
		}
		uint32_t slot = (uint32_t)draw(SPANS);
		switch (draw(w.repeats ? 12 : 13)) {
		case 0: case 1: case 2: put(); break;
		case 3: case 4: case 5: (void)w.ops->writer_step(w.channel, 0); break;
		case 6: case 7: (void)logio_mem_complete(w.mem, (uint32_t)draw(3)); break;
		case 8: reap(); break;
		case 9:
			if (!w.spans[slot]) {
				w.span_taker[slot] = (uint32_t)draw(2);
				w.spans[slot] = take(w.span_taker[slot], 1 + (uint32_t)draw(40));
			}
			break;
		case 10:
			if (w.spans[slot])
				settle(slot);
			break;
		case 12: total.notes += notes_note(); break;
		default: clock_manual_advance(&w.clock, draw(20) ? draw(3) * NS_PER_MS : draw(200) * NS_PER_MS); break;
		}
	}
}

/* All that was put is answered, and the log is closed in order. */
static void
run_down(void)
{
	struct logio_mem_faults none = { .seed = 1 };
	logio_mem_faults(w.mem, &none);
	logio_mem_space(w.mem, UINT64_C(1) << 40);
	snprintf(w.what, sizeof w.what, "run down");
	for (int i = 0; i < 2000 && !w.ops->idle(w.channel); i++) {
		clock_manual_advance(&w.clock, 20 * NS_PER_MS);
		(void)w.ops->writer_step(w.channel, 0);
		while (logio_mem_complete(w.mem, 0))
			;
		reap();
	}
	CHECK(w.ops->idle(w.channel), "what was put is not answered on a disk that works");
	reap();
}

static void
damage_one(const char *name, void *context)
{
	char path[64];
	uint64_t len;
	snprintf(path, sizeof path, "%s/%s", (const char *)context, name);
	if (strncmp(name, "segment-", 8) || !logio_mem_bytes(w.mem, path, &len) || !len)
		return;
	for (uint64_t n = draw(3); n > 0; n--)
		if (draw(2))
			logio_mem_rot(w.mem, path, draw(len), (uint8_t)(1 + draw(255)));
		else
			logio_mem_bad(w.mem, path, draw(len));
}

/* Each kind of fault, and how often the disk made it. */
static struct fault_kind { const char *name; size_t at; uint64_t count; } fault_kinds[] = {
#define KIND(name) { #name, offsetof(struct logio_mem_counts, name), 0 }
	KIND(lost), KIND(torn), KIND(reordered), KIND(misdirected), KIND(stale), KIND(write_errors), KIND(sync_errors), KIND(read_errors),
	KIND(open_errors), KIND(rename_errors), KIND(rotted), KIND(made_bad), KIND(bad_reads), KIND(full), KIND(overlapped_reads),
#undef KIND
};

static void
faults_add(void)
{
	for (size_t i = 0; i < sizeof fault_kinds / sizeof *fault_kinds; i++)
		fault_kinds[i].count += *(const uint64_t *)(const void *)((const char *)logio_mem_counts(w.mem) + fault_kinds[i].at);
}

/* False: some kind never happened, in a run long enough for each. */
static bool
faults_tell(void)
{
	bool all = true;
	printf("faults:");
	for (size_t i = 0; i < sizeof fault_kinds / sizeof *fault_kinds; i++) {
		printf(" %s %" PRIu64, fault_kinds[i].name, fault_kinds[i].count);
		all &= fault_kinds[i].count != 0;
	}
	puts("");
	return all || total.cuts < ALL_FAULTS_CUTS;
}

static void
life(uint64_t seed, uint32_t cuts)
{
	memset(&model, 0, sizeof model);
	notes_forget();
	w = (struct world){ .seed = seed, .random = seed, .repeats = seed % 4 == 1, .faults = seed % 4 == 2 || seed % 16 == 3,
		.small_disk = seed % 8 == 4 || seed % 16 == 6, .mem = logio_mem_new() };
	clock_manual_init(&w.clock, NS_PER_S, NS_PER_S);
	logio_mem_hold(w.mem, true);
	for (uint32_t i = 0; i < cuts; i++) {
		struct logio_mem_faults misdirect = { .seed = draw(UINT64_MAX), .misdirect = seed & 1 };
		bool closed = false;
		logio_mem_faults(w.mem, &misdirect);
		logio_mem_space(w.mem, UINT64_C(1) << 40);
		if (draw(8) == 0)	/* in the middle of opening */
			logio_mem_cut_after(w.mem, draw(12));
		if (open_channel()) {
			if (draw(6) && !logio_mem_dead(w.mem)) {
				logio_mem_cut_after(w.mem, UINT64_MAX);
				look();
			}
			if (draw(8))
				logio_mem_cut_after(w.mem, draw(draw(3) ? 60 : 600));
			run(100 + (uint32_t)draw(1500));
			if (!logio_mem_dead(w.mem) && (draw(4) == 0 || seed % 8 == 7)) {
				logio_mem_cut_after(w.mem, UINT64_MAX);
				run_down();
				if (draw(2)) {
					close_channel();
					closed = true;
				}
			}
		}
		logio_mem_abort(w.mem);
		logio_mem_cut_after(w.mem, 0);
		close_channel();
		logio_mem_power_off(w.mem, draw(UINT64_MAX));
		total.cuts++;
		if (seed % 8 == 7 && closed && w.process > 2 && draw(2)) {
			logio_mem_io(w.mem)->ops->list(logio_mem_io(w.mem), "/d", damage_one, (void *)"/d");
			w.damaged = true;
		}
	}
	logio_mem_space(w.mem, UINT64_C(1) << 40);
	if (open_channel()) {
		look();
		run_down();
		close_channel();
	}
	total.lives++;
	faults_add();
	logio_mem_free(w.mem);
}

int
main(int argc, char **argv)
{
	static const struct option_name { const char *name; enum broken broken; } names[] = {
		{ "sync", BROKEN_SYNC }, { "checkpoint-first", BROKEN_CHECKPOINT_FIRST }, { "ack-early", BROKEN_ACK_EARLY }, { "crc", BROKEN_CRC },
		{ "lap", BROKEN_LAP }, { "epoch", BROKEN_EPOCH }, { "fence", BROKEN_FENCE },
	};
	uint64_t from = 0, cuts = 2000, seed = 0;
	bool one = false;
	self = argv[0];
	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : "";
		if (!strcmp(argv[i], "--seed"))
			seed = strtoull(value, NULL, 0), one = true, i++;
		else if (!strcmp(argv[i], "--from"))
			from = strtoull(value, NULL, 0), i++;
		else if (!strcmp(argv[i], "--cuts"))
			cuts = strtoull(value, NULL, 0), i++;
		else if (!strcmp(argv[i], "--verbose"))
			verbose = true;
		else if (!strcmp(argv[i], "--broken")) {
			bool known = false;
			for (size_t n = 0; n < sizeof names / sizeof *names; n++)
				if (!strcmp(names[n].name, value)) {
					known = true;
#ifdef CHANNEL_BROKEN
					channel_broken = names[n].broken;
#endif
				}
			if (!known || !*value)
				return fprintf(stderr, "--broken %s: is not known\n", value), 2;
			i++;
		} else
			return fprintf(stderr, "%s: is not known\n", argv[i]), 2;
	}
	log_set_level(verbose ? LOG_DEBUG : (enum log_level)-1);
	region = aligned_alloc(4096, (size_t)BLOCKS * BLOCK_BYTES);
	for (uint32_t i = 0; i < LINKS; i++)
		if (!region || block_scratch_init(&scratch[i], BLOCK_BYTES))
			return 1;
	if (!from && !one) {		/* below 2^40: short to type */
		if (getrandom(&from, sizeof from, 0) != sizeof from)
			return 1;
		from &= (UINT64_C(1) << 40) - 1;
	}
	uint64_t next = one ? seed : from;
	do
		life(next++, 5);
	while (!one && total.cuts < cuts);
	printf("seeds %" PRIu64 " to %" PRIu64 ": %" PRIu64 " power cuts in %" PRIu64 " lives, %" PRIu64 " opens; ", one ? seed : from, next - 1,
	       total.cuts, total.lives, total.opens);
	printf("%" PRIu64 " events put, %" PRIu64 " acknowledged, %" PRIu64 " failed, %" PRIu64 " state records; ", total.events,
	       total.acknowledged, total.failed, total.notes);
	printf("%" PRIu64 " extents fenced, %" PRIu64 " events damaged and reported, %" PRIu64 " cut ones back beside damage, %" PRIu64
	       " turns of a full disk; 0 promises broken\n", total.fences, total.damaged, total.doubtful, total.full);
	bool all = faults_tell();
	for (uint32_t i = 0; i < LINKS; i++)
		block_scratch_free(scratch[i]);
	free(region);
	if (!all)
		fputs("a kind of fault never happened\n", stderr);
	return all ? 0 : 1;
}
