#include "channel/channel.h"

#include <assert.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

const struct channel_ops *const channel_kinds[] = { &channel_file, &channel_memory, &channel_spillable, NULL };

#define WRITER_SLICE_NS 100000u	/* the least that Linux takes */

struct sched_attr {		/* the kernel's, of which the C library knows nothing */
	uint32_t size, sched_policy;
	uint64_t sched_flags;
	int32_t sched_nice;
	uint32_t sched_priority;
	uint64_t sched_runtime, sched_deadline, sched_period;
};

void
channel_writer_begin(void)
{
	struct sched_attr attr = { .size = sizeof attr, .sched_policy = SCHED_OTHER, .sched_nice = getpriority(PRIO_PROCESS, 0),
		.sched_runtime = WRITER_SLICE_NS };
	(void)syscall(SYS_sched_setattr, 0, &attr, 0);
}

void
channel_submit(struct channel_link *link, struct block **block)
{
	struct block *b = *block;
	*block = NULL;
	bool pushed = spsc_push(&link->submit, b);
	assert(pushed);
	link->channel->ops->writer_wake(link->channel);
}
