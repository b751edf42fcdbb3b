#include "dataplane/half_line.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "channel/ledger.h"

#define RUN_NS NS_PER_MS
#define RUN_MAX 256u			/* looked at in one turn */
#define RING_BYTES (1u << 20)
#define KEY_BYTES 128u

/* {source, peer, own address}: a connection's, as long as it lives. */
static uint16_t
key_of(const struct stream *stream, uint8_t key[KEY_BYTES])
{
	size_t name = strnlen(stream->in->spec->name, KEY_BYTES - 37);
	uint8_t *p = key;
	memcpy(p, stream->in->spec->name, name);
	p += name;
	*p++ = 0;
	memcpy(p, stream->peer.ip, 16);
	memcpy(p + 16, &stream->peer.port, 2);
	memcpy(p + 18, stream->local.ip, 16);
	memcpy(p + 34, &stream->local.port, 2);
	return (uint16_t)(p + 36 - key);
}

static struct ledger_link *
link_of(const struct half_lines *lines, const struct stream *stream)
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
	/* A ring that is full leaves it to the next connection with this key, or the next start. */
	if (line->kept)
		(void)ledger_remove(link_of(lines, line->stream), STATE_HALF_LINE, key, key_of(line->stream, key), &number);
	line->kept = false;
	line->offset = line->noted = 0;
}

static void
note(struct half_lines *lines, struct half_line *line)
{
	struct stream *stream = line->stream;
	uint8_t key[KEY_BYTES];
	uint32_t len;
	const uint8_t *bytes = stream_unfinished(stream, &len);
	struct state_record record = { .class = STATE_HALF_LINE, .key = key, .key_len = key_of(stream, key), .value = bytes, .value_len = len,
				       .order = stream_consumed(stream) };
	if (ledger_note(link_of(lines, stream), &record, &line->number))
		return;		/* too long, or no room now */
	line->urgent = false;
	line->offset = stream->received;
	line->noted = len;
	line->kept = line->waiting = true;
	lines->waiting++;
	lines->kept_total++;
}

/* False: it need not be looked at again. */
static bool
look(struct half_lines *lines, struct half_line *line, uint64_t now_ns)
{
	struct stream *stream = line->stream;
	struct ledger_link *link = link_of(lines, stream);
	if (line->waiting && ledger_durable(link) >= line->number) {
		line->waiting = false;
		lines->waiting--;
		if (!stream->ending)
			stream_stored(stream, line->offset);
	}
	if (stream->ending || ledger_status(link))
		return false;
	if (line->kept && !line->waiting && stream->durable > line->offset)
		forget(lines, line);	/* the whole frame is in the log now */
	if (!stream->tail_len)
		return line->kept;
	uint64_t begin = stream_consumed(stream);
	if (begin != line->begin) {
		line->begin = begin;
		line->since_ns = now_ns;
	}
	bool longer = stream->tail_len >= HALF_LINE_LONG_BYTES && stream->tail_len >= 2 * line->noted;
	/* A stream that waits for room in a channel holds whole frames too: those are acknowledged when they are events in the log, not before. */
	if (!line->waiting && !stream->wait && !stream->ticket_first && stream->received > line->offset &&
	    (line->urgent || longer || now_ns - line->since_ns >= HALF_LINE_AGE_NS))
		note(lines, line);
	return true;
}

void
half_line_fed(struct half_lines *lines, struct half_line *line, uint64_t now_ns)
{
	struct stream *stream = line->stream;
	if (line->listed || !stream->tail_len || stream->tls || stream->edge != STREAM_DURABLE || !link_of(lines, stream))
		return;
	line->begin = stream_consumed(stream);
	line->since_ns = now_ns;
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
half_line_end(struct half_lines *lines, struct half_line *line)
{
	if (line->listed)
		list_remove(lines, line);
	forget(lines, line);
}

void
half_lines_run(struct half_lines *lines, uint64_t now_ns)
{
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

struct left {
	uint8_t key[LEDGER_KEY_MAX];
	uint16_t key_len;
	uint32_t bytes;
};

static bool
first_left(const struct state_record *record, void *context)
{
	struct left *left = context;
	memcpy(left->key, record->key, record->key_len);
	left->key_len = record->key_len;
	left->bytes = record->value_len;
	return false;
}

/* What a process that was killed left behind: nobody will send the rest. */
static void
sweep(struct channel *channel, struct ledger_link *link)
{
	struct ledger *ledger = channel->ops->ledger(channel);
	uint64_t number, lines = 0, bytes = 0;
	struct left left;
	for (;;) {
		left.key_len = 0;
		ledger_each(ledger, STATE_HALF_LINE, "", 0, first_left, &left);
		if (!left.key_len || ledger_remove(link, STATE_HALF_LINE, left.key, left.key_len, &number))
			break;
		lines++;
		bytes += left.bytes;
		if (ledger_sync(link, number, NS_PER_S))
			break;
	}
	if (lines)
		log_info("channel %s: %llu connections were cut inside a frame, %llu bytes of such frames had been acknowledged", channel->name,
			 (unsigned long long)lines, (unsigned long long)bytes);
}

int
half_lines_open(struct half_lines *lines, const char *who, const struct pipeline *pipeline, struct err *err)
{
	memset(lines, 0, sizeof *lines);
	for (uint32_t i = 0; i < pipeline->source_count; i++) {
		uint64_t required = pipeline->sources[i].required;
		uint32_t slot = required ? (uint32_t)__builtin_ctzll(required) : 0;
		struct channel *channel = required ? pipeline->channels[slot] : NULL;
		if (!channel || lines->links[slot] || !channel->ops->promise(channel).durable || !channel->ops->promise(channel).notes)
			continue;
		int rc = ledger_link_open(channel->ops->ledger(channel), who, RING_BYTES, -1, &lines->links[slot], err);
		if (rc)
			return rc;
		sweep(channel, lines->links[slot]);
	}
	return 0;
}

void
half_lines_close(struct half_lines *lines)
{
	for (uint32_t slot = 0; slot < PIPELINE_CHANNELS_MAX; slot++)
		if (lines->links[slot])
			ledger_link_close(lines->links[slot]);
	memset(lines, 0, sizeof *lines);
}
