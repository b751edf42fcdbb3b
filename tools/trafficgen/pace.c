#include "tools/trafficgen/pace.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define BUCKET_NS (20 * NS_PER_MS)
#define SLEEP_NS_MIN (60 * NS_PER_US)

void
pace_start(struct pace *pace, uint64_t now_ns)
{
	pace->start_ns = pace->told_ns = pace->base_ns = now_ns;
	pace->base_events = pace->told_events = 0;
	pace->terminal = isatty(STDERR_FILENO);
}

uint32_t
pace_room(struct pace *pace, uint64_t now_ns, uint64_t sent, uint32_t burst)
{
	if ((pace->count && sent >= pace->count) || (pace->duration_ns && now_ns - pace->start_ns >= pace->duration_ns))
		return UINT32_MAX;
	if (pace->count && pace->count - sent < burst)
		burst = (uint32_t)(pace->count - sent);
	if (pace->rate <= 0)
		return burst;
	double due = (double)(now_ns - pace->base_ns) * pace->rate / 1e9 - (double)(sent - pace->base_events);
	double most = BUCKET_NS / 1e9 * pace->rate + burst;
	if (due > most) {	/* stalled for longer than the bucket holds: what was missed is not caught up in a flood */
		pace->base_ns = now_ns - BUCKET_NS;
		pace->base_events = sent;
		due = most;
	}
	if (due >= burst)
		return burst;
	return due >= 1 && pace->rate < 1e5 ? (uint32_t)due : 0;
}

void
pace_wait(const struct pace *pace, uint64_t now_ns, uint64_t sent, uint32_t burst)
{
	uint32_t events = pace->rate < 1e5 ? 1 : burst;
	double at = (double)(sent + events - pace->base_events) / pace->rate * 1e9;
	uint64_t due_ns = pace->base_ns + (uint64_t)at;
	if (due_ns <= now_ns + SLEEP_NS_MIN)
		return;
	uint64_t wait_ns = due_ns - now_ns > 50 * NS_PER_MS ? 50 * NS_PER_MS : due_ns - now_ns;
	struct timespec wait = { 0, (long)wait_ns };
	nanosleep(&wait, NULL);
}

void
pace_tell(struct pace *pace, uint64_t now_ns, uint64_t sent)
{
	uint64_t every_ns = pace->terminal ? NS_PER_S / 4 : 5 * NS_PER_S;
	if (pace->quiet || now_ns - pace->told_ns < every_ns)
		return;
	double rate = (double)(sent - pace->told_events) * 1e9 / (double)(now_ns - pace->told_ns);
	char left[48] = "";
	if (pace->count && rate > 0)
		snprintf(left, sizeof left, ", %.0f s left", (double)(pace->count - sent) / rate);
	else if (pace->duration_ns)
		snprintf(left, sizeof left, ", %.0f s left", (double)(pace->start_ns + pace->duration_ns - now_ns) / 1e9);
	fprintf(stderr, "%s%llu events sent, %.0f events/s%s%s", pace->terminal ? "\r" : "", (unsigned long long)sent, rate, left,
		pace->terminal ? "   " : "\n");
	pace->told_ns = now_ns;
	pace->told_events = sent;
}

void
pace_end(struct pace *pace)
{
	if (pace->terminal && !pace->quiet && pace->told_events)
		fputc('\n', stderr);
}
