#include "sinks/sink_group.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "sinks/sink_member.h"

#define TAKES_PER_STEP 64u
#define APART_WAIT_NS (5 * NS_PER_MS)	/* members take from several channels: one wait is for one of them */

struct group_counters {
	struct counter turns, member_failures, members_out, waiting;
};

/* Owner: control until the thread starts, then that thread. */
struct sink_group {
	const char *name;
	struct clock *clock;
	const char *const *names;
	struct sink_member members[GROUP_MEMBERS_MAX];
	uint32_t count, last;		/* last: who got the last span; count: nobody yet */
	bool one_channel;
	struct processor processor;
	struct group_counters counters;
	struct metric_set metrics;
};

static const struct metric group_metrics[] = {
	{ "turns", METRIC_COUNTER, offsetof(struct group_counters, turns), "times", "Turns to another sink of the group (failover)." },
	{ "member_failures", METRIC_COUNTER, offsetof(struct group_counters, member_failures), "failures", "Failures of the group's sinks; those of spans that fail together are one." },
	{ "members_out", METRIC_GAUGE, offsetof(struct group_counters, members_out), "sinks", "Sinks that are left out after a failure, or on trial." },
	{ "waiting", METRIC_GAUGE, offsetof(struct group_counters, waiting), "", "1 while no sink of the group may be tried." },
};

int
sink_group_open(struct sink_group **made, const struct processor_ops *ops, const void *config, const char *name, const char *const *members, uint32_t count,
		bool one_channel, struct clock *clock, struct err *err)
{
	struct sink_group *group = calloc(1, sizeof *group);
	if (!group)
		return err_set(err, ENOMEM, "no memory for sink group %s", name);
	group->name = name;
	group->clock = clock;
	group->names = members;
	group->count = group->last = count;
	group->one_channel = one_channel;
	processor_begin(&group->processor, ops, config, members, count, clock_wall_ns(clock));
	group->metrics = (struct metric_set){ .kind = "SINKGROUP", .component = name, .metrics = group_metrics,
		.count = sizeof group_metrics / sizeof *group_metrics, .counters = &group->counters };
	metrics_add(&group->metrics);
	*made = group;
	return 0;
}

static void
member_told(struct sink_member *member, bool worked)
{
	struct sink_group *group = member->group;
	uint32_t index = (uint32_t)(member - group->members);
	uint64_t now_ns = clock_now_ns(group->clock);
	if (worked) {
		bool was_out = group->processor.members[index].failures;
		processor_worked(&group->processor, index, now_ns);
		if (was_out && !group->processor.members[index].failures)
			log_info("sink group %s: sink %s works again", group->name, group->names[index]);
		return;
	}
	if (processor_is_out(&group->processor, index, now_ns))
		return;
	counter_add(&group->counters.member_failures, 1);
	processor_failed(&group->processor, index, now_ns);
	static struct log_limit limit;
	uint64_t until_ns = group->processor.members[index].until_ns;
	if (until_ns > now_ns)
		log_limited(&limit, LOG_WARN, "sink group %s: sink %s failed and is left out for %llu ms", group->name, group->names[index],
			    (unsigned long long)((until_ns - now_ns) / NS_PER_MS));
}

int
sink_group_member(struct sink_group *group, uint32_t index, const struct sink_ops *ops, const void *config, const char *agent, struct channel *channel,
		  struct sink_runner **runner, struct err *err)
{
	struct sink_member *member = &group->members[index];
	*member = (struct sink_member){ .told = member_told, .group = group, .others = group->count > 1 };
	int rc = sink_runner_open_member(&member->runner, ops, config, agent, group->names[index], channel, group->clock, member, err);
	*runner = rc ? NULL : member->runner;
	return rc;
}

/* The members' timers; what a failed one keeps open is to end, so that it is known soon what becomes of it. */
static uint64_t
members_tick(struct sink_group *group, uint64_t now_ns)
{
	uint64_t due_ns = processor_due_ns(&group->processor, now_ns);
	uint32_t out = 0;
	for (uint32_t i = 0; i < group->count; i++) {
		bool failed = group->processor.members[i].failures != 0;
		uint64_t own_ns = sink_member_tick(group->members[i].runner, now_ns, failed);
		due_ns = own_ns < due_ns ? own_ns : due_ns;
	}
	for (uint32_t i = 0; i < group->count; i++) {
		bool failed = group->processor.members[i].failures != 0;
		/* Without back-off nobody is left out: then it tells who failed when it was last tried. */
		sink_member_backing_off(group->members[i].runner, failed || group->processor.members[i].fails);
		out += failed;
	}
	counter_set(&group->counters.members_out, out);
	return due_ns;
}

/* May it be offered a span now? */
static bool
member_ready(const struct sink_group *group, uint32_t index, uint64_t now_ns)
{
	const struct sink_runner *runner = group->members[index].runner;
	return processor_on_trial(&group->processor, index, now_ns) ? sink_member_empty(runner) && sink_member_ready(runner) : sink_member_ready(runner);
}

static bool
member_offer(struct sink_group *group, uint32_t index, uint64_t wait_ns)
{
	if (!sink_member_offer(group->members[index].runner, wait_ns))
		return false;
	processor_took(&group->processor, index);
	counter_set(&group->counters.waiting, 0);
	if (index != group->last && !group->processor.ops->took) {
		if (group->last != group->count) {
			static struct log_limit limit;
			counter_add(&group->counters.turns, 1);
			log_limited(&limit, LOG_INFO, "sink group %s: events go to sink %s", group->name, group->names[index]);
		}
		group->last = index;
	}
	return true;
}

/* One span to the first who has one to take. */
static bool
group_offer(struct sink_group *group)
{
	uint32_t order[GROUP_MEMBERS_MAX];
	uint64_t now_ns = clock_now_ns(group->clock);
	uint32_t count = processor_order(&group->processor, now_ns, order);
	for (uint32_t i = 0; i < count; i++) {
		if (member_ready(group, order[i], now_ns) && member_offer(group, order[i], 0))
			return true;
	}
	return false;
}

void
sink_group_step(struct sink_group *group, uint64_t wait_ns)
{
	uint32_t order[GROUP_MEMBERS_MAX];
	uint64_t now_ns = clock_now_ns(group->clock);
	uint64_t due_ns = members_tick(group, now_ns);
	if (due_ns < wait_ns)
		wait_ns = due_ns;
	for (uint32_t i = 0; i < TAKES_PER_STEP; i++) {
		if (group_offer(group))
			wait_ns = 0;
		else
			break;
	}
	if (!wait_ns)
		return;
	uint32_t count = processor_order(&group->processor, now_ns, order);
	counter_set(&group->counters.waiting, count == 0);
	for (uint32_t i = 0; i < count; i++) {
		if (!member_ready(group, order[i], now_ns))
			continue;
		member_offer(group, order[i], !group->one_channel && wait_ns > APART_WAIT_NS ? APART_WAIT_NS : wait_ns);
		return;
	}
	sink_members_wait(group->members, group->count, wait_ns);
}

void
sink_group_finish(struct sink_group *group, uint64_t deadline_ns)
{
	for (int failed = 0; failed < 2; failed++) {
		for (uint32_t i = 0; i < group->count; i++) {
			if (!group->members[i].runner || (failed == 0 && group->processor.members[i].failures))
				continue;
			sink_runner_finish(group->members[i].runner, deadline_ns);
			group->members[i].runner = NULL;
		}
	}
	metrics_remove(&group->metrics);
	free(group);
}
