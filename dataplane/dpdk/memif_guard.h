/* memif_guard: keeps DPDK's memif driver from taking the shared memory away under a data core.
 *
 * When a peer leaves (or is killed), EAL's interrupt thread marks the device as not connected and unmaps the rings and buffers at once, while
 * a data core may be in the middle of a burst in them: it would read unmapped memory, or write its position into the next connection
 * and lose a ring full of frames. DPDK 22.11 offers no hook in between, so the unmapping itself is held: munmap of this program, which the driver
 * calls, first waits on the interrupt thread until every burst that began before has ended. Bursts that begin later find the device not connected. */
#ifndef PENSTOCK_DATAPLANE_DPDK_MEMIF_GUARD_H
#define PENSTOCK_DATAPLANE_DPDK_MEMIF_GUARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* One queue of one port. Odd: its lcore is in a burst. Thread: enter and leave its lcore's, everything else control's. */
struct memif_gate {
	_Atomic uint32_t turn;
	bool registered;
};

/* -ENOSPC: more than the guard can watch. */
int memif_gate_register(struct memif_gate *gate);
void memif_gate_remove(struct memif_gate *gate);	/* no lcore uses it any more */

/* False when something in this process keeps the driver from calling our munmap. */
bool memif_guard_works(void);

/* Returns when every burst that is under way in any gate has ended. */
void memif_guard_wait(void);

/* While true nothing is unmapped any more. For the end of EAL. */
void memif_guard_keep(bool keep);

static inline void
memif_gate_enter(struct memif_gate *gate)
{
	uint32_t turn = atomic_load_explicit(&gate->turn, memory_order_relaxed);
	/* An exchange, so that "in a burst" is seen before the driver's "connected" is read. */
	atomic_exchange_explicit(&gate->turn, turn + 1, memory_order_seq_cst);
}

static inline void
memif_gate_leave(struct memif_gate *gate)
{
	uint32_t turn = atomic_load_explicit(&gate->turn, memory_order_relaxed);
	atomic_store_explicit(&gate->turn, turn + 1, memory_order_release);
}

#endif
