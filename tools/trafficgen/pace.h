/* pace: how many events may go now, and a word about how it goes. One owner, one thread. */
#ifndef PENSTOCK_TOOLS_TRAFFICGEN_PACE_H
#define PENSTOCK_TOOLS_TRAFFICGEN_PACE_H

#include <stdbool.h>
#include <stdint.h>

struct pace {
	double rate;			/* events/s; 0: as fast as it goes */
	uint64_t count;			/* stop after so many; 0: no limit */
	uint64_t duration_ns;		/* stop after so long; 0: no limit */
	uint64_t start_ns;
	uint64_t told_ns, told_events;	/* of the last word on stderr */
	bool terminal, quiet;
	double bucket_ns;		/* what may be caught up after a stall */
	uint64_t base_ns, base_events;	/* the bucket's origin, moved after a longer stall */
};

void pace_start(struct pace *pace, uint64_t now_ns);
/* Events that may go now, at most burst; 0: not yet (see pace_wait). UINT32_MAX: the run is over. */
uint32_t pace_room(struct pace *pace, uint64_t now_ns, uint64_t sent, uint32_t burst);
/* Sleeps until about the next event is due, if that is worth a system call. */
void pace_wait(const struct pace *pace, uint64_t now_ns, uint64_t sent, uint32_t burst);
/* A line on stderr now and then. */
void pace_tell(struct pace *pace, uint64_t now_ns, uint64_t sent);
void pace_end(struct pace *pace);

#endif
