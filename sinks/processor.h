/* processor: which member of a sink group is offered the next span, as Flume's sink processors choose. No threads and no input of its own:
 * told of the time, of failures and of successes. One ops table per kind. Sink runner's thread, but for judge (control).
 *
 * A sink's failure may come to light long after the span was given to it (a file that cannot be ended). So a member that is out for its penalty
 * and due again is on trial: it gets one span, and no other before that one's end is known; the others go on meanwhile. */
#ifndef PENSTOCK_SINKS_PROCESSOR_H
#define PENSTOCK_SINKS_PROCESSOR_H

#include "base/clock.h"
#include "base/option.h"

#define GROUP_MEMBERS_MAX 64u

struct processor_ops;

struct processor_member {
	int32_t priority;
	uint32_t failures;		/* in a row */
	uint64_t until_ns, failed_ns;	/* end of its penalty; its last failure */
	bool failed;			/* since any member had a success */
	bool fails;			/* what it was last heard of */
};

struct processor {
	const struct processor_ops *ops;
	const void *config;
	uint32_t count, next;		/* next: of round_robin */
	uint64_t random;
	uint32_t passes;		/* of all members without a success */
	uint64_t pause_ns;		/* until then nobody is tried; 0: no pause */
	struct processor_member members[GROUP_MEMBERS_MAX];
};

struct processor_ops {
	const char *name;
	const char *class_names;
	const char *help;
	const struct option *options;
	size_t config_size;
	uint32_t members_min, members_max;
	/* Control: what is wrong between the settings and the group's members. key: a property's, or "". May be NULL. */
	void (*judge)(const void *config, const char *const *members, uint32_t count, void (*tell)(void *context, bool fatal, const char *key,
		      const char *text), void *context);
	void (*begin)(struct processor *processor, const char *const *members);		/* may be NULL */
	/* Members that may be offered something now, best first; returns how many. */
	uint32_t (*order)(struct processor *processor, uint64_t now_ns, uint32_t *order);
	void (*took)(struct processor *processor, uint32_t member);			/* may be NULL */
	void (*failed)(struct processor *processor, uint32_t member, uint64_t now_ns);
	bool trials;			/* a member whose penalty is over is on trial */
};

void processor_begin(struct processor *processor, const struct processor_ops *ops, const void *config, const char *const *members, uint32_t count,
		     uint64_t seed);
uint32_t processor_order(struct processor *processor, uint64_t now_ns, uint32_t *order);
void processor_took(struct processor *processor, uint32_t member);
void processor_failed(struct processor *processor, uint32_t member, uint64_t now_ns);
void processor_worked(struct processor *processor, uint32_t member, uint64_t now_ns);
bool processor_on_trial(const struct processor *processor, uint32_t member, uint64_t now_ns);
bool processor_is_out(const struct processor *processor, uint32_t member, uint64_t now_ns);	/* its penalty runs */
/* Until a member's penalty, or the group's pause, ends; UINT64_MAX: nobody waits. */
uint64_t processor_due_ns(const struct processor *processor, uint64_t now_ns);

extern const struct processor_ops processor_default, processor_failover, processor_load_balance;
extern const struct processor_ops *const processor_kinds[];	/* NULL terminated */

#endif
