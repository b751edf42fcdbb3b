/* counter: counts with one writer each, readable by any thread; registered with component, name and unit.
 *
 * A component keeps its counters in a struct of its own and describes them in a const table; control registers both. Several
 * instances (one per thread) may register the same kind, component and name: readers see the sum (gauges too). */
#ifndef PENSTOCK_BASE_COUNTER_H
#define PENSTOCK_BASE_COUNTER_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct counter {
	_Atomic uint64_t value;
};

/* The counter's one writer. */
static inline void
counter_add(struct counter *counter, uint64_t n)
{
	uint64_t value = atomic_load_explicit(&counter->value, memory_order_relaxed);
	atomic_store_explicit(&counter->value, value + n, memory_order_relaxed);
}

static inline void
counter_set(struct counter *counter, uint64_t value)
{
	atomic_store_explicit(&counter->value, value, memory_order_relaxed);
}

/* Any thread. */
static inline uint64_t
counter_read(const struct counter *counter)
{
	return atomic_load_explicit(&counter->value, memory_order_relaxed);
}

enum metric_type { METRIC_COUNTER, METRIC_GAUGE };

struct metric {
	const char *name;	/* Flume's attribute (CamelCase) where Flume has one, else snake_case of our own */
	enum metric_type type;
	size_t offset;		/* of a struct counter in the component's counters */
	const char *unit;	/* "events", "bytes", "frames", "ns", ... */
	const char *help;	/* one sentence */
};

/* One registered set of counters. Embedded by its owner, who zeroes it, fills it and keeps it alive until metrics_remove. */
struct metric_set {
	struct metric_set *next;		/* the registry's */
	const char *kind;			/* "SOURCE", "CHANNEL", "SINK", "PORT", "WORKER" ... */
	const char *component;			/* r1, c1, k1, p0 ... */
	const struct metric *metrics;
	uint32_t count;
	const void *counters;
	void (*refresh)(struct metric_set *set);	/* control, before reading; may be NULL; for gauges worked out on demand */
	void *context;
};

/* Registry of the process. Any thread, under a lock; never on the hot path. */
void metrics_add(struct metric_set *set);
void metrics_remove(struct metric_set *set);
/* Calls visit for every set under the lock, after its refresh. */
void metrics_visit(void (*visit)(struct metric_set *set, void *context), void *context);
/* Sum over all sets of that kind, component and metric name (component NULL: all). */
uint64_t metrics_sum(const char *kind, const char *component, const char *name);

static inline uint64_t
metric_value(const struct metric_set *set, uint32_t i)
{
	return counter_read((const struct counter *)((const char *)set->counters + set->metrics[i].offset));
}

#endif
