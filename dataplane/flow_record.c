#include "dataplane/flow_record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "channel/ledger.h"
#include "dataplane/half_line.h"
#include "dataplane/source/source.h"

#define TUPLE_BYTES 36u
#define MARK_GOES_NS (2 * NS_PER_S)	/* blocks that bear a mark of the flow have ended by then */

struct flow_ended {
	struct ledger_link *link;
	const char *source;
	uint64_t flow, since_ns;
};

static uint16_t
mark_key(const char *source, uint64_t flow, uint8_t key[HALF_LINE_KEY_BYTES])
{
	size_t name = strnlen(source, HALF_LINE_KEY_BYTES - 9);
	memcpy(key, source, name);
	key[name] = 0;
	memcpy(key + name + 1, &flow, 8);
	return (uint16_t)(name + 9);
}

/* The key of a half line without the flow: a later connection of the same addresses takes its place. */
static uint16_t
record_key(const struct stream *stream, uint8_t key[HALF_LINE_KEY_BYTES])
{
	return (uint16_t)(half_line_key(stream, key) - 8);
}

static int
note(struct ledger_link *link, const struct stream *stream, const struct flow_record *record, uint64_t order, uint64_t *number)
{
	uint8_t key[HALF_LINE_KEY_BYTES];
	const struct state_record r = { .class = STATE_FLOW, .key = key, .key_len = record_key(stream, key), .value = (const uint8_t *)record,
					.value_len = sizeof *record, .order = order };
	return ledger_note(link, &r, number);
}

void
flow_record_begin(struct half_lines *lines, struct half_line *line, const struct conn *conn, uint32_t queue)
{
	struct stream *stream = line->stream;
	const struct pipeline_source *spec = stream->in->spec;
	struct ingress *ingress = stream->in->ingress;
	struct ledger_link *link = half_line_link(lines, stream);
	if (stream->edge != STREAM_DURABLE || stream->tls || !link || !spec->ops->stream_state || (spec->required & (spec->required - 1)) ||
	    strlen(spec->name) > HALF_LINE_KEY_BYTES - 45 || ledger_status(link))
		return;
	struct flow_record record = { .queue = (uint16_t)queue };
	uint64_t wall_ns = clock_wall_ns(ingress->clock), number;
	record.flow = lines->flows.last = wall_ns > lines->flows.last ? wall_ns : lines->flows.last + 1;
	conn_save(conn, wall_ns, &record.tcp);
	if (note(link, stream, &record, 0, &number))
		return;
	stream->flow = record.flow;
	line->tcp = record.tcp;
	line->queue = record.queue;
	ingress->has_flows = true;
}

int
flow_record_note(struct ledger_link *link, const struct half_line *line, uint64_t *number)
{
	const struct stream *stream = line->stream;
	const struct flow_record record = { .flow = stream->flow, .tcp = line->tcp, .queue = line->queue, .state = stream->in->spec->ops->stream_state(stream) };
	return note(link, stream, &record, stream_consumed(stream), number);
}

void
flow_record_end(struct flow_records *flows, struct ledger_link *link, struct stream *stream)
{
	uint8_t key[HALF_LINE_KEY_BYTES];
	uint64_t number;
	(void)ledger_remove(link, STATE_FLOW, key, record_key(stream, key), &number);
	if (flows->ended_count == flows->ended_room) {
		uint32_t room = flows->ended_room ? 2 * flows->ended_room : 64;
		struct flow_ended *ended = realloc(flows->ended, room * sizeof *ended);
		if (!ended)
			return;		/* the next start finds the mark */
		flows->ended = ended;
		flows->ended_room = room;
	}
	flows->ended[flows->ended_count++] = (struct flow_ended){ .link = link, .source = stream->in->spec->name, .flow = stream->flow,
								  .since_ns = stream->streams->now_ns };
	stream->flow = 0;
}

void
flow_records_run(struct flow_records *flows, uint64_t now_ns)
{
	uint32_t n = 0;
	uint8_t key[HALF_LINE_KEY_BYTES];
	uint64_t number;
	for (; n < flows->ended_count && now_ns - flows->ended[n].since_ns >= MARK_GOES_NS; n++)
		if (ledger_remove(flows->ended[n].link, STATE_MARK, key, mark_key(flows->ended[n].source, flows->ended[n].flow, key), &number))
			break;
	if (!n)
		return;
	flows->ended_count -= n;
	memmove(flows->ended, flows->ended + n, flows->ended_count * sizeof *flows->ended);
}

void
flow_records_link(struct flow_records *flows, const struct ledger_link *dead, struct ledger_link *link)
{
	for (uint32_t i = 0; i < flows->ended_count; i++)
		if (flows->ended[i].link == dead)
			flows->ended[i].link = link;
}

void
flow_records_free(struct flow_records *flows)
{
	flow_records_run(flows, UINT64_MAX);
	free(flows->ended);
	memset(flows, 0, sizeof *flows);
}

/* ---- at the next start ---- */

/* Where the log says that the flow stands: its record or the last mark, whichever is farther. */
static uint64_t
place(struct ledger *ledger, const char *source, uint64_t flow, uint64_t order, uint32_t *state)
{
	uint8_t key[HALF_LINE_KEY_BYTES];
	uint32_t marked_state = 0;
	uint64_t marked = 0;
	if (ledger_get(ledger, STATE_MARK, key, mark_key(source, flow, key), &marked_state, sizeof marked_state, &marked) < 0 || marked < order)
		return order;
	*state = marked_state;
	return marked;
}

uint64_t
flow_record_stored(struct ledger *ledger, const uint8_t *key, uint16_t key_len)
{
	const uint8_t *zero = memchr(key, 0, key_len);
	uint64_t flow, order = 0;
	struct flow_record record;
	uint32_t state;
	if (!zero || key_len != zero - key + 1 + TUPLE_BYTES + 8)
		return 0;
	memcpy(&flow, key + key_len - 8, 8);
	if (!flow)
		return 0;
	int64_t len = ledger_get(ledger, STATE_FLOW, key, (uint16_t)(key_len - 8), &record, sizeof record, &order);
	if (len != sizeof record || record.flow != flow)
		order = 0;
	return place(ledger, (const char *)key, flow, order, &state);
}

int
flow_mark_remove(struct ledger_link *link, const uint8_t *key, uint16_t key_len)
{
	const uint8_t *zero = memchr(key, 0, key_len);
	uint8_t mark[HALF_LINE_KEY_BYTES];
	uint64_t flow, number;
	if (!zero || key_len != zero - key + 1 + TUPLE_BYTES + 8)
		return 0;
	memcpy(&flow, key + key_len - 8, 8);
	return flow ? ledger_remove(link, STATE_MARK, mark, mark_key((const char *)key, flow, mark), &number) : 0;
}

/* ---- marks of nobody ---- */

struct flows {
	uint64_t *flow;
	size_t count, room;
	bool no_memory;
};

static bool
flows_add(struct flows *flows, uint64_t flow)
{
	if (flows->count == flows->room) {
		size_t room = flows->room ? 2 * flows->room : 256;
		uint64_t *list = realloc(flows->flow, room * sizeof *list);
		flows->no_memory |= !list;
		if (!list)
			return false;
		flows->flow = list;
		flows->room = room;
	}
	flows->flow[flows->count++] = flow;
	return true;
}

static bool
flow_of_record(const struct state_record *record, void *context)
{
	struct flow_record r;
	if (record->value_len != sizeof r)
		return true;
	memcpy(&r, record->value, sizeof r);
	return flows_add(context, r.flow);
}

static bool
flow_of_half(const struct state_record *record, void *context)
{
	uint64_t flow;
	if (record->key_len < 8)
		return true;
	memcpy(&flow, (const uint8_t *)record->key + record->key_len - 8, 8);
	return flows_add(context, flow);
}

struct mark_left {
	struct mark_left *next;
	uint16_t key_len;
	uint8_t key[];
};

static bool
mark_gather(const struct state_record *record, void *context)
{
	struct mark_left **first = context, *m = malloc(sizeof *m + record->key_len);
	if (!m)
		return false;	/* the next start finds them */
	*m = (struct mark_left){ .next = *first, .key_len = record->key_len };
	memcpy(m->key, record->key, record->key_len);
	*first = m;
	return true;
}

static int
by_number(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

/* The mark of a flow that has neither a record nor a half line, or that of a half line that is gone, as `known` and the ledger say. */
static bool
mark_is_nobodys(struct ledger *ledger, const struct mark_left *m, size_t name_len, const struct flows *known)
{
	uint64_t flow, order;
	uint8_t none;
	if (m->key_len == name_len + 1 + TUPLE_BYTES + 8)
		return ledger_get(ledger, STATE_HALF_LINE, m->key, m->key_len, &none, 0, &order) < 0;
	if (m->key_len != name_len + 9)
		return false;
	memcpy(&flow, m->key + name_len + 1, 8);
	return !known->count || !bsearch(&flow, known->flow, known->count, sizeof *known->flow, by_number);
}

/* A process that is killed when a connection, or its half line, has ended leaves the mark. Such marks go before new connections begin. */
static void
marks_sweep(struct ledger *ledger, struct ledger_link *link, const struct pipeline *pipeline)
{
	struct flows known = { NULL };
	uint64_t number;
	ledger_each(ledger, STATE_FLOW, "", 0, flow_of_record, &known);
	ledger_each(ledger, STATE_HALF_LINE, "", 0, flow_of_half, &known);
	if (known.count)
		qsort(known.flow, known.count, sizeof *known.flow, by_number);
	for (uint32_t i = 0; i < pipeline->source_count && !known.no_memory; i++) {
		const struct pipeline_source *source = &pipeline->sources[i];
		struct mark_left *first = NULL;
		if (source->ops->stream_state)	/* others' marks are their own */
			ledger_each(ledger, STATE_MARK, source->name, (uint16_t)(strlen(source->name) + 1), mark_gather, &first);
		for (struct mark_left *m = first, *next; m; m = next) {
			next = m->next;
			if (mark_is_nobodys(ledger, m, strlen(source->name), &known))
				(void)ledger_remove(link, STATE_MARK, m->key, m->key_len, &number);
			free(m);
		}
	}
	free(known.flow);
}

struct found {
	struct found *next;
	struct flow_left left;
	uint64_t order;
	uint16_t key_len;
	uint8_t key[];
};

struct gather {
	bool (*own)(void *context, const struct flow_left *left);
	void *context;
	struct found *first;
	bool no_memory;
};

static bool
gather(const struct state_record *record, void *context)
{
	struct gather *g = context;
	const uint8_t *zero = memchr(record->key, 0, record->key_len);
	if (!zero || record->key_len != zero - (const uint8_t *)record->key + 1 + TUPLE_BYTES || record->value_len != sizeof(struct flow_record))
		return true;
	struct found *f = calloc(1, sizeof *f + record->key_len + 8);
	g->no_memory |= !f;
	if (!f)
		return false;
	memcpy(f->key, record->key, record->key_len);
	f->key_len = record->key_len;
	f->order = record->order;
	const uint8_t *tuple = f->key + (zero + 1 - (const uint8_t *)record->key);
	memcpy(f->left.from.ip, tuple, 16);
	memcpy(&f->left.from.port, tuple + 16, 2);
	memcpy(f->left.to.ip, tuple + 18, 16);
	memcpy(&f->left.to.port, tuple + 34, 2);
	memcpy(&f->left.record, record->value, sizeof f->left.record);
	f->left.source = (const char *)f->key;
	if (!g->own(g->context, &f->left)) {
		free(f);
		return true;
	}
	f->next = g->first;
	g->first = f;
	return true;
}

/* The half line that stands where the log's events end, if there is one. */
static void
half_of(struct ledger *ledger, struct found *f, uint8_t *room, uint32_t room_bytes)
{
	uint64_t order;
	memcpy(f->key + f->key_len, &f->left.record.flow, 8);
	int64_t len = ledger_get(ledger, STATE_HALF_LINE, f->key, (uint16_t)(f->key_len + 8), room, room_bytes, &order);
	f->left.half_served = len >= 0 && order + (uint64_t)len <= f->left.offset;
	if (len <= 0 || len > room_bytes || f->left.half_served)
		return;
	uint64_t skip = f->left.offset > order ? f->left.offset - order : 0;
	if (f->left.offset < order)	/* what is in between made no event */
		f->left.record.state = 0;
	f->left.half = room + skip;
	f->left.half_len = (uint32_t)((uint64_t)len - skip);
	f->left.offset = order + (uint64_t)len;
}

int
flow_records_take(struct half_lines *lines, bool (*own)(void *context, const struct flow_left *left),
		  bool (*resume)(void *context, const struct flow_left *left), void *context, struct err *err)
{
	const struct pipeline *pipeline = lines->left.ingress->pipeline;
	uint8_t *room = malloc(LEDGER_VALUE_MAX);
	if (!room)
		return err_set(err, ENOMEM, "no memory");
	for (uint32_t slot = 0; slot < pipeline->channel_count; slot++) {
		struct channel *channel = pipeline->channels[slot];
		struct ledger_link *link = lines->links[slot];
		struct gather g = { .own = own, .context = context };
		uint64_t resumed = 0, dropped = 0, number;
		if (!link)
			continue;
		struct ledger *ledger = channel->ops->ledger(channel);
		marks_sweep(ledger, link, pipeline);
		ledger_each(ledger, STATE_FLOW, "", 0, gather, &g);
		for (struct found *f = g.first, *next; f; f = next) {
			uint8_t key[HALF_LINE_KEY_BYTES];
			next = f->next;
			f->left.offset = place(ledger, f->left.source, f->left.record.flow, f->order, &f->left.record.state);
			if (lines->flows.last < f->left.record.flow)
				lines->flows.last = f->left.record.flow;
			half_of(ledger, f, room, LEDGER_VALUE_MAX);
			if (resume(context, &f->left)) {
				resumed++;
			} else if (f->left.half_served) {
				/* It is judged by the other two: they go with the next start. */
				(void)ledger_remove(link, STATE_HALF_LINE, f->key, (uint16_t)(f->key_len + 8), &number);
				dropped++;
			} else {
				/* The marks first: half lines are judged by them, so they go with the next start. */
				(void)ledger_remove(link, STATE_FLOW, f->key, f->key_len, &number);
				if (!f->left.half)
					(void)ledger_remove(link, STATE_MARK, key, mark_key(f->left.source, f->left.record.flow, key), &number);
				dropped++;
			}
			free(f);
		}
		if (resumed || dropped)
			log_info("channel %s: %llu connections of an earlier process go on, %llu cannot", channel->name, (unsigned long long)resumed,
				 (unsigned long long)dropped);
		if (g.no_memory) {
			free(room);
			return err_set(err, ENOMEM, "no memory for the connections that channel %s remembers", channel->name);
		}
	}
	free(room);
	return 0;
}
