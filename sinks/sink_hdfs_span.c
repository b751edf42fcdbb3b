/* Which events of the taken spans are decided, and the spans' end when all are. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sinks/sink_hdfs.h"

static int
runs_room(struct run_set *set, uint32_t count)
{
	if (count <= set->room)
		return 0;
	uint32_t room = set->room ? set->room * 2 : 4;
	while (room < count)
		room *= 2;
	struct event_range *grown = realloc(set->runs, room * sizeof *grown);
	if (!grown)
		return -ENOMEM;
	set->runs = grown;
	set->room = room;
	return 0;
}

static int
runs_put(struct run_set *set, uint64_t first, uint64_t count)
{
	struct event_range *last = set->count ? &set->runs[set->count - 1] : NULL;
	if (last && last->first + last->count == first) {
		last->count += count;
	} else {
		if (runs_room(set, set->count + 1))
			return -ENOMEM;
		set->runs[set->count++] = (struct event_range){ first, count };
	}
	set->events += count;
	return 0;
}

int
run_set_add(struct run_set *set, uint64_t number)
{
	return runs_put(set, number, 1);
}

int
run_set_join(struct run_set *set, struct run_set *from)
{
	for (uint32_t i = 0; i < from->count; i++) {
		if (runs_put(set, from->runs[i].first, from->runs[i].count))
			return -ENOMEM;
	}
	from->count = 0;
	from->events = 0;
	return 0;
}

void
run_set_free(struct run_set *set)
{
	free(set->runs);
	*set = (struct run_set){ 0 };
}

/* Index of the span that holds `number`, or where one that begins there belongs. */
static uint32_t
span_find(const struct hdfs_sink *sink, uint64_t number)
{
	uint32_t low = 0, high = sink->span_count;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (sink->spans[middle].first + sink->spans[middle].events <= number)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

int
spans_add(struct hdfs_sink *sink, struct span *span)
{
	if (sink->span_count == sink->span_room) {
		uint32_t room = sink->span_room ? sink->span_room * 2 : 64;
		struct span_track *grown = realloc(sink->spans, room * sizeof *grown);
		if (!grown)
			return -ENOMEM;
		sink->spans = grown;
		sink->span_room = room;
	}
	uint32_t at = span_find(sink, span->first);
	memmove(&sink->spans[at + 1], &sink->spans[at], (sink->span_count - at) * sizeof *sink->spans);
	sink->spans[at] = (struct span_track){ .span = span, .first = span->first, .events = span->events, .open = span->events };
	sink->span_count++;
	return 0;
}

static void
span_decided(struct hdfs_sink *sink, uint32_t at)
{
	struct span_track track = sink->spans[at];
	memmove(&sink->spans[at], &sink->spans[at + 1], (sink->span_count - at - 1) * sizeof *sink->spans);
	sink->span_count--;
	static const struct event_range none = { 0 };
	if (!track.failed)
		sink->env->done(sink->env, track.span, SINK_DONE);
	else
		sink->env->done_some(sink->env, track.span, track.out.count ? track.out.runs : &none, track.out.count);
	run_set_free(&track.out);
}

static int
run_order(const void *a_, const void *b_)
{
	const struct event_range *a = a_, *b = b_;
	return a->first < b->first ? -1 : a->first > b->first;
}

/* What is out is kept, for the span that comes to hold both. */
static void
span_note(struct span_track *track, uint64_t first, uint64_t count, bool out)
{
	if (out && runs_put(&track->out, first, count))
		track->failed = true;	/* offered again: twice is better than never */
	if (!out)
		track->failed = true;
	track->open -= count;
}

void
spans_end(struct hdfs_sink *sink, struct run_set *set, bool out)
{
	if (set->count)
		qsort(set->runs, set->count, sizeof *set->runs, run_order);
	for (uint32_t i = 0; i < set->count; i++) {
		uint64_t first = set->runs[i].first, left = set->runs[i].count;
		while (left) {
			uint32_t at = span_find(sink, first);
			assert(at < sink->span_count && sink->spans[at].first <= first);
			struct span_track *track = &sink->spans[at];
			uint64_t here = track->first + track->events - first;
			if (here > left)
				here = left;
			assert(track->open >= here);
			span_note(track, first, here, out);
			first += here;
			left -= here;
			if (!track->open)
				span_decided(sink, at);
		}
	}
	sink->open_events -= set->events;
	run_set_free(set);
}
