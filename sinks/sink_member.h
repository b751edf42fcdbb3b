/* sink_member: the parts of a sink runner's step, for sink_group: it drives several in one thread. Group's thread, but for open. */
#ifndef PENSTOCK_SINKS_SINK_MEMBER_H
#define PENSTOCK_SINKS_SINK_MEMBER_H

#include "sinks/processor.h"
#include "sinks/sink_runner.h"

struct sink_member {
	/* A span is out, or one (or a part of it) is not. In place of the runner's own pause. Called from within deliver, step and finish. */
	void (*told)(struct sink_member *member, bool worked);
	struct sink_group *group;
	bool others;			/* the group has more sinks */
	struct sink_runner *runner;
};

/* As sink_runner_open; the sink knows that another one may take what it gives back (sink_env.grouped). */
int sink_runner_open_member(struct sink_runner **runner, const struct sink_ops *ops, const void *config, const char *agent, const char *name,
			    struct channel *channel, struct clock *clock, struct sink_member *member, struct err *err);
/* The sink's timers, ended: what it keeps open ends now; returns ns until it wants the next call. */
uint64_t sink_member_tick(struct sink_runner *runner, uint64_t now_ns, bool ended);
bool sink_member_ready(const struct sink_runner *runner);	/* has room for a span */
bool sink_member_empty(const struct sink_runner *runner);	/* keeps none */
/* One span from its channel. False: there was none. */
bool sink_member_offer(struct sink_runner *runner, uint64_t wait_ns);
/* Sleeps until a descriptor of any of them speaks, at most wait_ns. */
void sink_members_wait(const struct sink_member *members, uint32_t count, uint64_t wait_ns);
void sink_member_backing_off(struct sink_runner *runner, bool out);

#endif
