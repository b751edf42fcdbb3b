/* eal: start of DPDK. One process, one EAL; control (main) thread. Hides rte_*.h from everybody else. */
#ifndef PENSTOCK_DATAPLANE_DPDK_EAL_H
#define PENSTOCK_DATAPLANE_DPDK_EAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "dataplane/port.h"

#define EAL_LCORES_MAX 64

struct eal_config {
	const char *file_prefix;	/* NULL: "penstock-<pid>" */
	uint32_t lcore_count;		/* data cores, 1 to EAL_LCORES_MAX */
	const uint32_t *lcore_cpus;	/* CPU of each */
	uint64_t memory_bytes;		/* of DPDK, huge pages or not; 0: 256 MiB */
	bool no_huge;			/* never huge pages */
	const char *const *pci;		/* PCI addresses to use; the bus is looked at only when there are any */
	uint32_t pci_count;
	const char *const *vdevs;	/* further EAL --vdev strings; ports need none, port_dpdk_open plugs them in */
	uint32_t vdev_count;
	bool verbose;			/* DPDK's own log lines to stderr */
};

/* Starts EAL. The calling thread is pinned to the CPUs that are not data cores (or shares them when there are no others), and
 * so are the threads it makes later. Huge pages when enough are free, in memory mode (a kill leaves none behind); else ordinary
 * memory, with a warning. Can be called once in a process: -EALREADY. */
int eal_start(const struct eal_config *config, struct err *err);
bool eal_has_huge_pages(void);
void eal_stop(void);

/* Runs fn(context) on DPDK's interrupt thread and waits for its end; 0 or -errno (then it did not run). Not from that thread itself. fn may be NULL. */
int eal_interrupt_call(void (*fn)(void *context), void *context);

/* Runs fn(context) on data core i (0 ..). -EBUSY while another runs there. */
int eal_launch(uint32_t i, int (*fn)(void *context), void *context, struct err *err);
/* Sleeps until it has returned; at most timeout_ms (-ETIMEDOUT), negative: for ever. Gives what fn returned. */
int eal_wait(uint32_t i, int timeout_ms, int *returned);

/* Free huge pages of all sizes, in bytes. */
uint64_t eal_huge_free_bytes(uint64_t page_bytes);	/* of pages of that size; 0: of all sizes */

#endif
