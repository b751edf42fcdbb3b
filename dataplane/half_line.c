#include "dataplane/half_line.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "channel/ledger.h"
#include "dataplane/stream_tls.h"

#define RUN_NS NS_PER_MS
#define RUN_MAX 256u			/* looked at in one turn */
#define RING_BYTES (1u << 20)
#define KEY_BYTES HALF_LINE_KEY_BYTES

uint16_t
half_line_key(const struct stream *stream, uint8_t key[KEY_BYTES])
{
	size_t name = strnlen(stream->in->spec->name, KEY_BYTES - 45);
	uint8_t *p = key;
	memcpy(p, stream->in->spec->name, name);
	p += name;
	*p++ = 0;
	memcpy(p, stream->peer.ip, 16);
	memcpy(p + 16, &stream->peer.port, 2);
	memcpy(p + 18, stream->local.ip, 16);
	memcpy(p + 34, &stream->local.port, 2);
	memcpy(p + 36, &stream->flow, 8);
	return (uint16_t)(p + 44 - key);
}

struct ledger_link *
half_line_link(const struct half_lines *lines, const struct stream *stream)
{
	uint64_t required = stream->in->spec->required;
	return required ? lines->links[__builtin_ctzll(required)] : NULL;
}

static void
list_add(struct half_lines *lines, struct half_line *line)
{
	line->listed = true;
	line->next = NULL;
	line->prev = lines->last;
	*(lines->last ? &lines->last->next : &lines->first) = line;
	lines->last = line;
}

static void
list_remove(struct half_lines *lines, struct half_line *line)
{
	line->listed = false;
	*(line->prev ? &line->prev->next : &lines->first) = line->next;
	*(line->next ? &line->next->prev : &lines->last) = line->prev;
}

static void
forget(struct half_lines *lines, struct half_line *line)
{
	uint8_t key[KEY_BYTES];
	uint64_t number;
	if (line->waiting)
		lines->waiting--;
	line->waiting = false;
	/* A ring that is full has room another time, and a dead link is replaced: what is left behind without its flow's mark would be brought as an event at the next start. */
	line->kept = line->kept && ledger_remove(half_line_link(lines, line->stream), STATE_HALF_LINE, key, half_line_key(line->stream, key),
						 &number) != 0;
	line->offset = line->noted = 0;
}

static void
note(struct half_lines *lines, struct half_line *line)
{
	struct stream *stream = line->stream;
	uint8_t key[KEY_BYTES];
	uint32_t len;
	const uint8_t *bytes = stream_unfinished(stream, &len);
	struct state_record record = { .class = STATE_HALF_LINE, .key = key, .key_len = half_line_key(stream, key), .value = bytes, .value_len = len,
				       .order = stream_consumed(stream) };
	if (ledger_note(half_line_link(lines, stream), &record, &line->number))
		return;		/* too long, or no room now */
	line->urgent = false;
	line->offset = stream->plain;
	line->noted = len;
	line->kept = line->waiting = true;
	lines->waiting++;
	lines->kept_total++;
}

static bool
record_begun(const struct stream *stream)
{
	return stream->tls && stream->received > stream->tls->wire;
}

static void
record_seen(struct stream *stream, uint64_t now_ns)
{
	if (record_begun(stream) && stream->tls->begun != stream->tls->wire) {
		stream->tls->begun = stream->tls->wire;
		stream->tls->begun_ns = now_ns;
	}
}

/* The peer may be unable to send the end of a record before its beginning is acknowledged. */
static void
record_look(struct half_line *line, uint64_t now_ns)
{
	struct stream *stream = line->stream;
	struct stream_tls *tls = stream->tls;
	record_seen(stream, now_ns);
	if (stream->durable < stream->received) {
		if (tls->count || stream->durable < tls->wire || (!line->urgent && now_ns - tls->begun_ns < HALF_LINE_AGE_NS))
			return;
		stream_record_begun(stream);
	}
	line->urgent = line->urgent && stream->tail_len;
}

/* False: it need not be looked at again. */
static bool
look(struct half_lines *lines, struct half_line *line, uint64_t now_ns)
{
	struct stream *stream = line->stream;
	struct ledger_link *link = half_line_link(lines, stream);
	if (!link) {
		if (stream->ending || !record_begun(stream))
			return false;
		record_look(line, now_ns);
		return true;
	}
	if (line->waiting && ledger_durable(link) >= line->number) {
		line->waiting = false;
		lines->waiting--;
		if (!stream->ending)
			stream_stored(stream, line->offset);
	}
	if (line->place_waiting && ledger_durable(link) >= line->place_number) {
		line->place_waiting = false;
		lines->waiting--;
		if (!stream->ending)
			stream_recorded(stream, line->place);
	}
	if (stream->ending)
		return false;
	if (ledger_status(link))
		return true;	/* till links_again */
	bool lags = stream->flow && !stream->ticket_first && stream_consumed(stream) > stream->recorded;
	if (lags && !line->place_waiting && flow_record_note(link, line, &line->place_number) == 0) {
		line->place = stream->put = stream_consumed(stream);
		line->place_waiting = true;
		lines->waiting++;
	}
	if (record_begun(stream))
		record_look(line, now_ns);
	if (line->kept && !line->waiting && (stream->tls ? stream->tls->edge : stream->durable) > line->offset)
		forget(lines, line);	/* the whole frame is in the log now */
	if (!stream->tail_len)
		return line->kept || line->place_waiting || lags || record_begun(stream);
	uint64_t begin = stream_consumed(stream);
	if (begin != line->begin) {
		line->begin = begin;
		line->since_ns = now_ns;
	}
	bool longer = stream->tail_len >= HALF_LINE_LONG_BYTES && stream->tail_len >= 2 * line->noted;
	/* A stream that waits for room in a channel holds whole frames too: those are acknowledged when they are events in the log, not before. */
	bool placed = !stream->flow || stream_consumed(stream) <= stream->recorded || (line->place_waiting && line->place == stream_consumed(stream));
	if (placed && !line->waiting && !stream->wait && !stream->ticket_first && stream->plain > line->offset &&
	    (line->urgent || longer || now_ns - line->since_ns >= HALF_LINE_AGE_NS))
		note(lines, line);
	return true;
}

void
half_line_fed(struct half_lines *lines, struct half_line *line, uint64_t now_ns)
{
	struct stream *stream = line->stream;
	if (line->listed || stream->edge != STREAM_DURABLE || !((stream->tail_len && half_line_link(lines, stream)) || record_begun(stream)))
		return;
	line->begin = stream_consumed(stream);
	line->since_ns = now_ns;
	record_seen(stream, now_ns);
	list_add(lines, line);
}

void
half_line_resume(struct half_lines *lines, struct half_line *line, uint32_t len, bool served)
{
	struct stream *stream = line->stream;
	if (!len && !served)
		return;
	line->begin = stream_consumed(stream);
	line->since_ns = stream->streams->now_ns;
	line->offset = served ? 0 : stream->received;
	line->noted = len;
	line->kept = true;
	list_add(lines, line);
}

void
half_line_hurry(struct half_lines *lines, struct half_line *line, uint64_t now_ns)
{
	half_line_fed(lines, line, now_ns);
	if (line->listed)
		line->urgent = lines->urgent = true;
}

void
half_line_lag(struct half_lines *lines, struct half_line *line)
{
	if (!line->listed)
		list_add(lines, line);
	if (!line->place_waiting)
		lines->urgent = true;
}

void
half_line_end(struct half_lines *lines, struct half_line *line, bool leave)
{
	if (line->listed)
		list_remove(lines, line);
	if (line->place_waiting)
		lines->waiting--;
	line->place_waiting = false;
	if (leave) {
		lines->waiting -= line->waiting;
		line->waiting = line->kept = false;
		return;
	}
	forget(lines, line);
	if (line->stream->flow && !line->kept)	/* else all three are left to the next start, which finds the connection gone */
		flow_record_end(&lines->flows, half_line_link(lines, line->stream), line->stream);
}

/* A link that lost a note is dead (ledger_status): another takes its place, and what was under way with it is noted anew. What an earlier note
 * holds stays the line's record. */
static void
links_again(struct half_lines *lines, uint64_t now_ns)
{
	const struct pipeline *pipeline = lines->left.ingress->pipeline;
	for (uint32_t slot = 0; slot < pipeline->channel_count; slot++) {
		struct ledger_link *link = lines->links[slot], *fresh;
		struct channel *channel = pipeline->channels[slot];
		if (!link || !ledger_status(link) ||
		    ledger_link_open(channel->ops->ledger(channel), lines->left.ingress->name, RING_BYTES, -1, &fresh, NULL))
			continue;
		uint64_t durable = ledger_durable(link);
		for (struct half_line *line = lines->first; line; line = line->next) {
			struct stream *stream = line->stream;
			if (half_line_link(lines, stream) != link)
				continue;
			lines->waiting -= line->waiting + line->place_waiting;
			if (line->waiting && line->number <= durable && !stream->ending)
				stream_stored(stream, line->offset);
			if (line->waiting && line->number > durable) {
				uint64_t begin = stream_consumed(stream);
				line->offset = stream->stored;
				line->noted = stream->stored > begin ? (uint32_t)(stream->stored - begin) : 0;
			}
			if (line->place_waiting && line->place_number <= durable && !stream->ending)
				stream_recorded(stream, line->place);
			line->waiting = line->place_waiting = false;
		}
		lines->links[slot] = fresh;
		fragments_link(&lines->left, link, fresh, now_ns);
		flow_records_link(&lines->flows, link, fresh);
		ledger_link_close(link);
		lines->urgent = true;
	}
}

void
half_lines_run(struct half_lines *lines, uint64_t now_ns)
{
	links_again(lines, now_ns);
	if (lines->flows.ended_count)
		flow_records_run(&lines->flows, now_ns);
	if (lines->left.first)
		fragments_run(&lines->left, now_ns);
	if (!lines->first || (now_ns < lines->next_ns && !lines->urgent && !lines->waiting))
		return;
	lines->next_ns = now_ns + RUN_NS;
	lines->urgent = false;
	struct half_line *last = lines->last;
	for (uint32_t i = 0; i < RUN_MAX && lines->first; i++) {
		struct half_line *line = lines->first;
		list_remove(lines, line);
		if (look(lines, line, now_ns))
			list_add(lines, line);
		lines->urgent |= line->listed && line->urgent;
		if (line == last)
			break;
	}
}

/* What a process that was killed left behind. */
struct taking {
	struct half_lines *lines;
	struct ledger *ledger;
	struct ledger_link *link;
	bool (*own)(void *context, const struct address *peer, const struct address *address);
	void *context;
	struct key { struct key *next; uint64_t order; uint32_t len; uint16_t key_len; uint8_t bytes[]; } *found;
	bool no_memory;
};

static bool
find_left(const struct state_record *record, void *context)
{
	struct taking *t = context;
	const uint8_t *key = record->key, *zero = memchr(key, 0, record->key_len);
	struct address from, to;
	if (!zero || record->key_len < zero - key + 37)
		return true;
	memcpy(from.ip, zero + 1, 16);
	memcpy(&from.port, zero + 1 + 16, 2);
	memcpy(to.ip, zero + 1 + 18, 16);
	memcpy(&to.port, zero + 1 + 34, 2);
	if (!t->own(t->context, &from, &to))
		return true;
	struct key *k = malloc(sizeof *k + record->key_len + record->value_len);
	t->no_memory |= !k;
	if (!k)
		return false;
	*k = (struct key){ .next = t->found, .order = record->order, .len = record->value_len, .key_len = record->key_len };
	memcpy(k->bytes, record->key, record->key_len);
	memcpy(k->bytes + record->key_len, record->value, record->value_len);
	t->found = k;
	return true;
}

static int
take_left(struct half_lines *lines, struct taking *t, const char *channel, struct err *err)
{
	uint64_t count = lines->left.count, bytes = lines->left.bytes;
	int rc = t->no_memory ? err_set(err, ENOMEM, "no memory for the half lines of channel %s", channel) : 0;
	for (struct key *k = t->found, *next; k; k = next) {
		next = k->next;
		/* A frame whose end came and is in the log: its record was only not removed any more. */
		uint64_t stored = flow_record_stored(t->ledger, k->bytes, k->key_len), number;
		uint64_t skip = stored > k->order ? stored - k->order : 0;
		if (!rc && skip >= k->len)
			(void)ledger_remove(t->link, STATE_HALF_LINE, k->bytes, k->key_len, &number);
		else if (!rc)
			rc = fragment_take(&lines->left, t->link, k->bytes, k->key_len, k->order + skip, k->bytes + k->key_len + skip,
					   k->len - (uint32_t)skip, err);
		if (rc == -ENOENT)
			rc = 0;
		free(k);
	}
	if (lines->left.count != count)
		log_info("channel %s: %llu connections were cut inside a frame; what was acknowledged of it, %llu bytes, comes as events of its own", channel,
			 (unsigned long long)(lines->left.count - count), (unsigned long long)(lines->left.bytes - bytes));
	return rc;
}

int
half_lines_take(struct half_lines *lines, bool (*own)(void *context, const struct address *peer, const struct address *address), void *context,
		struct err *err)
{
	const struct pipeline *pipeline = lines->left.ingress->pipeline;
	int rc = 0;
	for (uint32_t slot = 0; slot < pipeline->channel_count && !rc; slot++) {
		struct channel *channel = pipeline->channels[slot];
		if (!lines->links[slot])
			continue;
		struct taking t = { .lines = lines, .ledger = channel->ops->ledger(channel), .link = lines->links[slot], .own = own, .context = context };
		ledger_each(t.ledger, STATE_HALF_LINE, "", 0, find_left, &t);
		rc = take_left(lines, &t, channel->name, err);
	}
	return rc;
}

int
half_lines_open(struct half_lines *lines, struct ingress *ingress, struct err *err)
{
	const struct pipeline *pipeline = ingress->pipeline;
	memset(lines, 0, sizeof *lines);
	lines->left.ingress = ingress;
	for (uint32_t i = 0; i < pipeline->source_count; i++) {
		uint64_t required = pipeline->sources[i].required;
		uint32_t slot = required ? (uint32_t)__builtin_ctzll(required) : 0;
		struct channel *channel = required ? pipeline->channels[slot] : NULL;
		if (!channel || lines->links[slot] || !channel->ops->promise(channel).durable || !channel->ops->promise(channel).notes)
			continue;
		int rc = ledger_link_open(channel->ops->ledger(channel), ingress->name, RING_BYTES, -1, &lines->links[slot], err);
		if (rc)
			return rc;
	}
	return 0;
}

void
half_lines_close(struct half_lines *lines)
{
	fragments_free(&lines->left);
	flow_records_free(&lines->flows);
	for (uint32_t slot = 0; slot < PIPELINE_CHANNELS_MAX; slot++)
		if (lines->links[slot])
			ledger_link_close(lines->links[slot]);
	memset(lines, 0, sizeof *lines);
}
