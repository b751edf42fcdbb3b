#include "sinks/processor.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PENALTY_NS NS_PER_S		/* Flume's: 1000 ms x 2^n, n from 1 */
#define SHIFT_MAX 16u			/* Flume's limit of n for load_balance; its failover overflows after 21 */
#define ROW_NS (3600 * NS_PER_S)	/* a failure later than that after the end of the last penalty begins a new row */
#define PAUSE_MAX_NS (5 * NS_PER_S)	/* Flume's runner after an exception */

static uint64_t
penalty_ns(uint32_t failures, uint64_t most_ms)
{
	uint64_t ns = PENALTY_NS << (failures < SHIFT_MAX ? failures : SHIFT_MAX);
	return ns < most_ms * NS_PER_MS ? ns : most_ms * NS_PER_MS;
}

/* ---- what all share ---- */

void
processor_begin(struct processor *p, const struct processor_ops *ops, const void *config, const char *const *members, uint32_t count, uint64_t seed)
{
	assert(count <= GROUP_MEMBERS_MAX);
	*p = (struct processor){ .ops = ops, .config = config, .count = count, .random = seed | 1 };
	if (ops->begin)
		ops->begin(p, members);
}

uint32_t
processor_order(struct processor *p, uint64_t now_ns, uint32_t *order)
{
	if (now_ns < p->pause_ns)
		return 0;
	p->pause_ns = 0;
	return p->ops->order(p, now_ns, order);
}

void
processor_took(struct processor *p, uint32_t member)
{
	if (p->ops->took)
		p->ops->took(p, member);
}

bool
processor_is_out(const struct processor *p, uint32_t member, uint64_t now_ns)
{
	return now_ns < p->members[member].until_ns;
}

bool
processor_on_trial(const struct processor *p, uint32_t member, uint64_t now_ns)
{
	const struct processor_member *m = &p->members[member];
	return p->ops->trials && m->failures && m->until_ns && now_ns >= m->until_ns;
}

void
processor_failed(struct processor *p, uint32_t member, uint64_t now_ns)
{
	bool all = true;
	if (processor_is_out(p, member, now_ns))
		return;		/* spans that fail together are one failure */
	p->members[member].failed = p->members[member].fails = true;
	p->ops->failed(p, member, now_ns);
	for (uint32_t i = 0; i < p->count; i++)
		all = all && p->members[i].failed;
	if (!all)
		return;
	/* Everybody was tried in vain: what Flume's runner does after the group's exception. */
	for (uint32_t i = 0; i < p->count; i++)
		p->members[i].failed = false;
	p->passes++;
	p->pause_ns = now_ns + (p->passes * NS_PER_S < PAUSE_MAX_NS ? p->passes * NS_PER_S : PAUSE_MAX_NS);
}

void
processor_worked(struct processor *p, uint32_t member, uint64_t now_ns)
{
	/* What it had from before its failure says nothing of it now. */
	if (processor_is_out(p, member, now_ns))
		return;
	p->members[member].failures = 0;
	p->members[member].until_ns = 0;
	p->members[member].fails = false;
	p->passes = 0;
	for (uint32_t i = 0; i < p->count; i++)
		p->members[i].failed = false;
}

uint64_t
processor_due_ns(const struct processor *p, uint64_t now_ns)
{
	uint64_t due_ns = UINT64_MAX;
	for (uint32_t i = 0; i < p->count; i++) {
		if (processor_is_out(p, i, now_ns) && p->members[i].until_ns < due_ns)
			due_ns = p->members[i].until_ns;
	}
	if (now_ns < p->pause_ns)
		due_ns = due_ns == UINT64_MAX || due_ns < p->pause_ns ? p->pause_ns : due_ns;
	return due_ns == UINT64_MAX ? due_ns : due_ns - now_ns;
}

/* ---- default: one sink, as without a group ---- */

static uint32_t
default_order(struct processor *p, uint64_t now_ns, uint32_t *order)
{
	(void)p;
	(void)now_ns;
	order[0] = 0;
	return 1;
}

static void
default_failed(struct processor *p, uint32_t member, uint64_t now_ns)
{
	(void)p;
	(void)member;
	(void)now_ns;		/* the pause of the pass is all */
}

const struct processor_ops processor_default = {
	.name = "default", .class_names = "org.apache.flume.sink.DefaultSinkProcessor", .help = "A group of one sink, which runs as it would alone.",
	.options = (const struct option[]){ { NULL } }, .members_min = 1, .members_max = 1, .order = default_order, .failed = default_failed,
};

/* ---- failover: the live sink of the largest priority ---- */

struct failover_config {
	struct option_family priorities;
	uint32_t max_penalty_ms;
};

static const struct option failover_options[] = {
	{ "priority.", OPT_FAMILY, offsetof(struct failover_config, priorities),
		.help = "priority.SINK = a whole number: the live sink with the largest gets the events. Sinks without one come behind, as they are listed." },
	{ "maxpenalty", OPT_U32, offsetof(struct failover_config, max_penalty_ms), "30000", 0, INT32_MAX, "ms",
		"Longest pause before a failed sink is tried again; it begins with 2 s and doubles.", OPTION_LENIENT },
	{ NULL },
};

static bool
priority_parse(const char *text, int32_t *priority)
{
	char *end;
	errno = 0;
	long value = strtol(text, &end, 10);
	if (errno || end == text || *end || value < INT32_MIN || value > INT32_MAX)
		return false;
	*priority = (int32_t)value;
	return true;
}

static const char *
priority_of(const struct failover_config *config, const char *member)
{
	for (size_t i = 0; i < config->priorities.count; i++) {
		if (strcmp(config->priorities.items[i].key, member) == 0)
			return config->priorities.items[i].value;
	}
	return NULL;
}

static void
failover_judge(const void *config_, const char *const *members, uint32_t count, void (*tell)(void *context, bool fatal, const char *key, const char *text),
	       void *context)
{
	const struct failover_config *config = config_;
	char text[512], key[300];
	for (size_t i = 0; i < config->priorities.count; i++) {
		const char *sink = config->priorities.items[i].key, *value = config->priorities.items[i].value;
		int32_t priority, other;
		bool listed = false;
		snprintf(key, sizeof key, "priority.%s", sink);
		for (uint32_t k = 0; k < count; k++)
			listed = listed || strcmp(members[k], sink) == 0;
		if (!listed) {
			snprintf(text, sizeof text, "is ignored: sink '%s' is not in the group: add it to the group's sinks", sink);
			tell(context, false, key, text);
			continue;
		}
		if (!priority_parse(value, &priority)) {
			snprintf(text, sizeof text, "'%s' is not a whole number (Flume would give the sink a priority below all others): write one, for example 10", value);
			tell(context, true, key, text);
			continue;
		}
		for (size_t k = 0; k < i; k++) {
			const char *before = config->priorities.items[k].key;
			if (priority_parse(config->priorities.items[k].value, &other) && other == priority) {
				snprintf(text, sizeof text, "%d is the priority of sink '%s' too (Flume would leave one of them out): give each its own", priority, before);
				tell(context, true, key, text);
			}
		}
	}
	for (uint32_t k = 0; k < count; k++) {
		if (priority_of(config, members[k]))
			continue;
		snprintf(key, sizeof key, "priority.%s", members[k]);
		tell(context, false, key, "is not set: the sink comes behind those that have one, in the order of the group's list (in Flume: in no order)");
	}
}

static void
failover_begin(struct processor *p, const char *const *members)
{
	int32_t lowest = 0;
	/* Those without come below zero and below all others. */
	for (uint32_t i = 0; i < p->count; i++) {
		const char *text = priority_of(p->config, members[i]);
		if (text && priority_parse(text, &p->members[i].priority) && p->members[i].priority < lowest)
			lowest = p->members[i].priority;
	}
	for (uint32_t i = 0; i < p->count; i++) {
		if (!priority_of(p->config, members[i]) && lowest > INT32_MIN)
			p->members[i].priority = --lowest;
	}
}

/* Those whose penalty is over first, then the live one of the largest priority. */
static uint32_t
failover_order(struct processor *p, uint64_t now_ns, uint32_t *order)
{
	uint32_t count = 0, best = UINT32_MAX;
	for (uint32_t i = 0; i < p->count; i++) {
		const struct processor_member *m = &p->members[i];
		if (!m->failures) {
			if (best == UINT32_MAX || m->priority > p->members[best].priority)
				best = i;
			continue;
		}
		if (now_ns < m->until_ns)
			continue;
		uint32_t at = count++;
		for (; at > 0 && m->until_ns < p->members[order[at - 1]].until_ns; at--)
			order[at] = order[at - 1];
		order[at] = i;
	}
	if (best != UINT32_MAX)
		order[count++] = best;
	return count;
}

static void
failover_failed(struct processor *p, uint32_t member, uint64_t now_ns)
{
	const struct failover_config *config = p->config;
	struct processor_member *m = &p->members[member];
	m->failures++;
	m->failed_ns = now_ns;
	m->until_ns = now_ns + penalty_ns(m->failures, config->max_penalty_ms);
}

const struct processor_ops processor_failover = {
	.name = "failover", .class_names = "org.apache.flume.sink.FailoverSinkProcessor",
	.help = "Events go to the live sink of the largest priority; a sink that fails is left out for a while.",
	.options = failover_options, .config_size = sizeof(struct failover_config), .members_min = 1, .members_max = GROUP_MEMBERS_MAX,
	.judge = failover_judge, .begin = failover_begin, .order = failover_order, .failed = failover_failed, .trials = true,
};

/* ---- load_balance ---- */

enum { SELECT_ROUND_ROBIN, SELECT_RANDOM };
static const char *const selector_choices[] = { "round_robin", "random", NULL };

struct balance_config {
	uint32_t selector, max_timeout_ms;
	bool backoff;
};

static const struct option balance_options[] = {
	{ "selector", OPT_CHOICE, offsetof(struct balance_config, selector), "round_robin", .choices = selector_choices,
		.help = "Which sink gets the next batch: each in turn, or any. Flume's class of a selector of one's own is not supported." },
	{ "backoff", OPT_BOOL, offsetof(struct balance_config, backoff), "false", .help = "A sink that fails is left out for a while: 2 s at first, doubled each time." },
	{ "selector.maxTimeOut", OPT_U32, offsetof(struct balance_config, max_timeout_ms), "30000", 0, INT32_MAX, "ms", "Longest such while." },
	{ NULL },
};

static uint32_t
random_below(struct processor *p, uint32_t end)
{
	p->random ^= p->random << 13;	/* xorshift64 */
	p->random ^= p->random >> 7;
	p->random ^= p->random << 17;
	return (uint32_t)((p->random >> 32) * end >> 32);
}

static uint32_t
balance_order(struct processor *p, uint64_t now_ns, uint32_t *order)
{
	const struct balance_config *config = p->config;
	uint32_t count = 0;
	for (uint32_t i = 0; i < p->count; i++) {
		uint32_t member = (p->next + i) % p->count;
		if (!processor_is_out(p, member, now_ns))
			order[count++] = member;
	}
	for (uint32_t i = count; config->selector == SELECT_RANDOM && i > 1; i--) {
		uint32_t other = random_below(p, i), swap = order[i - 1];
		order[i - 1] = order[other];
		order[other] = swap;
	}
	return count;
}

static void
balance_took(struct processor *p, uint32_t member)
{
	p->next = (member + 1) % p->count;
}

static void
balance_failed(struct processor *p, uint32_t member, uint64_t now_ns)
{
	const struct balance_config *config = p->config;
	struct processor_member *m = &p->members[member];
	if (!config->backoff)
		return;
	bool row = m->failures && now_ns - m->failed_ns < penalty_ns(m->failures, config->max_timeout_ms) + ROW_NS;
	m->failures = row ? m->failures + (m->failures < SHIFT_MAX) : 1;
	m->failed_ns = now_ns;
	m->until_ns = now_ns + penalty_ns(m->failures, config->max_timeout_ms);
}

const struct processor_ops processor_load_balance = {
	.name = "load_balance", .class_names = "org.apache.flume.sink.LoadBalancingSinkProcessor",
	.help = "Batches go to the sinks in turn, or to any.",
	.options = balance_options, .config_size = sizeof(struct balance_config), .members_min = 2, .members_max = GROUP_MEMBERS_MAX,
	.order = balance_order, .took = balance_took, .failed = balance_failed, .trials = true,
};

const struct processor_ops *const processor_kinds[] = { &processor_default, &processor_failover, &processor_load_balance, NULL };
