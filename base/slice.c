#include "base/slice.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

struct sched_attr {		/* the kernel's, of which the C library knows nothing */
	uint32_t size, sched_policy;
	uint64_t sched_flags;
	int32_t sched_nice;
	uint32_t sched_priority;
	uint64_t sched_runtime, sched_deadline, sched_period;
};

bool
slice_set(uint64_t ns)
{
	struct sched_attr attr = { .size = sizeof attr, .sched_policy = SCHED_OTHER, .sched_nice = getpriority(PRIO_PROCESS, 0), .sched_runtime = ns };
	if (syscall(SYS_sched_setattr, 0, &attr, 0))
		return false;
	/* An older kernel takes it and forgets it. */
	return syscall(SYS_sched_getattr, 0, &attr, sizeof attr, 0) == 0 && attr.sched_runtime == ns;
}
