#include "base/clock.h"

#include <time.h>

static uint64_t
read_clock(clockid_t id)
{
	struct timespec ts;
	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static uint64_t
system_now_ns(struct clock *clock)
{
	(void)clock;
	return read_clock(CLOCK_MONOTONIC);
}

static uint64_t
system_wall_ns(struct clock *clock)
{
	(void)clock;
	return read_clock(CLOCK_REALTIME);
}

struct clock clock_system = { .now_ns = system_now_ns, .wall_ns = system_wall_ns };

static uint64_t
manual_now_ns(struct clock *clock)
{
	return ((struct clock_manual *)clock)->now;
}

static uint64_t
manual_wall_ns(struct clock *clock)
{
	return ((struct clock_manual *)clock)->wall;
}

void
clock_manual_init(struct clock_manual *manual, uint64_t now_ns, uint64_t wall_ns)
{
	*manual = (struct clock_manual){ .clock = { manual_now_ns, manual_wall_ns }, .now = now_ns, .wall = wall_ns };
}

void
clock_manual_advance(struct clock_manual *manual, uint64_t ns)
{
	manual->now += ns;
	manual->wall += ns;
}
