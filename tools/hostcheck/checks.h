/* checks: what penstock wants of a host, one function each. A check reads /proc, /sys and tries calls; it changes nothing that
 * stays. */
#ifndef PENSTOCK_TOOLS_HOSTCHECK_CHECKS_H
#define PENSTOCK_TOOLS_HOSTCHECK_CHECKS_H

#include <stdbool.h>
#include <stdint.h>

struct host {
	const char *root;		/* in front of /proc and /sys: "" or a test's folder */
	const char *dir;		/* where the log will be; NULL: the working directory */
	const char *device;		/* PCI address of the NIC to be taken, NULL: all that a kernel driver does not use */
	uint64_t lcores[16];		/* bits of the cores that will poll; all 0: not given */
	bool kernel_only;		/* no DPDK wanted: its checks are left out */
};

struct finding {
	bool ok;
	char text[512];			/* what was found */
	char mend[512];			/* the command that mends it; "" when nothing is to be mended */
};

struct check {
	const char *name;
	bool dpdk;			/* only of use with DPDK */
	void (*run)(const struct host *host, struct finding *finding);
};
extern const struct check checks[];	/* ends with a NULL name */

/* "2-5,8" into bits. false: wrong. */
bool cores_parse(const char *text, uint64_t bits[16]);

#endif
