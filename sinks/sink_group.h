/* sink_group: sinks of which a processor (sinks/processor.h) says which one is offered the next span; all on one thread. Each member takes from
 * its own channel with a taker of its own; what it gives back is the channel's again, and the next member gets it. What a member has under way
 * and cannot take back (a file whose rename is in doubt) stays with it: the ledger's rules are those of a sink alone. */
#ifndef PENSTOCK_SINKS_SINK_GROUP_H
#define PENSTOCK_SINKS_SINK_GROUP_H

#include "sinks/processor.h"
#include "sinks/sink_runner.h"

struct sink_group;

/* Control. name and members must live as long; `one_channel`: all members take from the same. */
int sink_group_open(struct sink_group **group, const struct processor_ops *ops, const void *config, const char *name, const char *const *members,
		    uint32_t count, bool one_channel, struct clock *clock, struct err *err);
/* Control: opens member `index` (sink_runner_open), in any order; all must be there before the first step. */
int sink_group_member(struct sink_group *group, uint32_t index, const struct sink_ops *ops, const void *config, const char *agent, struct channel *channel,
		      struct sink_runner **runner, struct err *err);
/* Group's thread. One turn; waits at most wait_ns for something to do. */
void sink_group_step(struct sink_group *group, uint64_t wait_ns);
/* Group's thread: finishes the members (sink_runner_finish), those that work first, and frees the group. */
void sink_group_finish(struct sink_group *group, uint64_t deadline_ns);

#endif
