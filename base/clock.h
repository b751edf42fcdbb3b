/* clock: time behind a pointer, so that tests own it. */
#ifndef PENSTOCK_BASE_CLOCK_H
#define PENSTOCK_BASE_CLOCK_H

#include <stdint.h>

struct clock {
	uint64_t (*now_ns)(struct clock *clock);	/* monotonic, from an arbitrary start */
	uint64_t (*wall_ns)(struct clock *clock);	/* since 1970-01-01 UTC */
};

extern struct clock clock_system;

/* A clock that stands still until the test moves it. */
struct clock_manual {
	struct clock clock;
	uint64_t now, wall;	/* ns */
};
void clock_manual_init(struct clock_manual *manual, uint64_t now_ns, uint64_t wall_ns);
void clock_manual_advance(struct clock_manual *manual, uint64_t ns);

#define NS_PER_US UINT64_C(1000)
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S UINT64_C(1000000000)

static inline uint64_t
clock_now_ns(struct clock *clock)
{
	return clock->now_ns(clock);
}

static inline uint64_t
clock_wall_ns(struct clock *clock)
{
	return clock->wall_ns(clock);
}

#endif
