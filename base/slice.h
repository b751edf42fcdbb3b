/* slice: how long a thread keeps its CPU when others that wake there want it. */
#ifndef PENSTOCK_BASE_SLICE_H
#define PENSTOCK_BASE_SLICE_H

#include <stdbool.h>
#include <stdint.h>

#define SLICE_LEAST_NS 100000u		/* what Linux takes */
#define SLICE_MOST_NS 100000000u

/* Of the calling thread. Where the kernel knows slices (Linux 6.12) one with a shorter slice runs as soon as it wakes; all get their fair share as before.
 * False: it does not know them, nothing has changed. */
bool slice_set(uint64_t ns);

#endif
