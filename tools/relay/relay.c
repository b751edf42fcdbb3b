#include "tools/relay/relay.h"

#include <stdlib.h>
#include <string.h>

struct relay_frame {
	uint64_t due_ns, order;
	uint32_t len;
	uint8_t bytes[];
};

/* One direction: a heap by due time, then by arrival. */
struct way {
	struct relay_frame **heap;
	uint32_t count;
	uint64_t order, last_ns, random;
	struct relay_frame *shown;
	struct relay_counts counts;
};

struct relay {
	struct relay_config config;
	struct way ways[2];		/* by sender */
};

static double
chance(struct way *way)
{
	way->random = way->random * 6364136223846793005u + 1442695040888963407u;
	return (double)(way->random >> 11) / 9007199254740992.0;	/* 2^53 */
}

static bool
before(const struct relay_frame *a, const struct relay_frame *b)
{
	return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->order < b->order;
}

static void
heap_push(struct way *way, struct relay_frame *frame)
{
	uint32_t i = way->count++;
	for (; i && before(frame, way->heap[(i - 1) / 2]); i = (i - 1) / 2)
		way->heap[i] = way->heap[(i - 1) / 2];
	way->heap[i] = frame;
}

static struct relay_frame *
heap_pop(struct way *way)
{
	struct relay_frame *top = way->heap[0], *last = way->heap[--way->count];
	uint32_t i = 0;
	for (uint32_t child; (child = 2 * i + 1) < way->count; i = child) {
		if (child + 1 < way->count && before(way->heap[child + 1], way->heap[child]))
			child++;
		if (!before(way->heap[child], last))
			break;
		way->heap[i] = way->heap[child];
	}
	way->heap[i] = last;
	return top;
}

struct relay *
relay_open(const struct relay_config *config)
{
	struct relay *relay = calloc(1, sizeof *relay);
	if (!relay)
		return NULL;
	relay->config = *config;
	if (!relay->config.room)
		relay->config.room = 1000;
	for (unsigned i = 0; i < 2; i++) {
		relay->ways[i].random = config->seed * 2 + i;
		for (int k = 0; k < 4; k++)
			(void)chance(&relay->ways[i]);
		relay->ways[i].heap = calloc(relay->config.room, sizeof(void *));
		if (!relay->ways[i].heap) {
			relay_close(relay);
			return NULL;
		}
	}
	return relay;
}

void
relay_close(struct relay *relay)
{
	for (unsigned i = 0; i < 2; i++) {
		struct way *way = &relay->ways[i];
		while (way->count)
			free(heap_pop(way));
		free(way->shown);
		free(way->heap);
	}
	free(relay);
}

static void
queue(struct relay *relay, struct way *way, const uint8_t *bytes, uint32_t len, uint64_t due_ns)
{
	struct relay_frame *frame = way->count < relay->config.room ? malloc(sizeof *frame + len) : NULL;
	if (!frame) {
		way->counts.overflow++;
		return;
	}
	*frame = (struct relay_frame){ .due_ns = due_ns, .order = way->order++, .len = len };
	memcpy(frame->bytes, bytes, len);
	/* Not the MAC addresses and not the type: a frame nobody takes would only be one more loss. */
	if (relay->config.corrupt > 0 && len > 34 && chance(way) < relay->config.corrupt) {
		frame->bytes[14 + (uint32_t)(chance(way) * (len - 14))] ^= (uint8_t)(1u << (uint32_t)(chance(way) * 8));
		way->counts.corrupted++;
	}
	heap_push(way, frame);
}

void
relay_put(struct relay *relay, unsigned from, const uint8_t *bytes, uint32_t len, uint64_t now_ns)
{
	struct way *way = &relay->ways[from];
	const struct relay_config *config = &relay->config;
	way->counts.in++;
	if (len > RELAY_FRAME_BYTES || (config->mtu && len > config->mtu + 14)) {
		way->counts.too_long++;
		return;
	}
	if (chance(way) < config->loss) {
		way->counts.lost++;
		return;
	}
	uint64_t due_ns = now_ns + config->delay_ns + (config->jitter_ns ? (uint64_t)(chance(way) * (double)config->jitter_ns) : 0);
	if (due_ns < way->last_ns)
		due_ns = way->last_ns;
	way->last_ns = due_ns;
	if (chance(way) < config->reorder) {
		due_ns += config->reorder_ns;
		way->counts.reordered++;
	}
	queue(relay, way, bytes, len, due_ns);
	if (chance(way) < config->duplicate) {
		way->counts.duplicated++;
		queue(relay, way, bytes, len, due_ns);
	}
}

bool
relay_get(struct relay *relay, unsigned to, const uint8_t **bytes, uint32_t *len, uint64_t now_ns)
{
	struct way *way = &relay->ways[!to];
	free(way->shown);
	way->shown = NULL;
	if (!way->count || way->heap[0]->due_ns > now_ns)
		return false;
	way->shown = heap_pop(way);
	way->counts.out++;
	*bytes = way->shown->bytes;
	*len = way->shown->len;
	return true;
}

uint64_t
relay_next_ns(const struct relay *relay)
{
	uint64_t next = UINT64_MAX;
	for (unsigned i = 0; i < 2; i++)
		if (relay->ways[i].count && relay->ways[i].heap[0]->due_ns < next)
			next = relay->ways[i].heap[0]->due_ns;
	return next;
}

const struct relay_counts *
relay_counts(const struct relay *relay, unsigned from)
{
	return &relay->ways[from].counts;
}
