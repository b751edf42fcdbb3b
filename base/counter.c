#include "base/counter.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct metric_set *first;

void
metrics_add(struct metric_set *set)
{
	assert(set->kind && set->component && set->metrics && set->counters);
	pthread_mutex_lock(&lock);
	struct metric_set **link = &first;
	while (*link)
		link = &(*link)->next;
	set->next = NULL;
	*link = set;
	pthread_mutex_unlock(&lock);
}

void
metrics_remove(struct metric_set *set)
{
	pthread_mutex_lock(&lock);
	for (struct metric_set **link = &first; *link; link = &(*link)->next) {
		if (*link == set) {
			*link = set->next;
			break;
		}
	}
	pthread_mutex_unlock(&lock);
}

void
metrics_visit(void (*visit)(struct metric_set *set, void *context), void *context)
{
	pthread_mutex_lock(&lock);
	for (struct metric_set *set = first; set; set = set->next) {
		if (set->refresh)
			set->refresh(set);
		visit(set, context);
	}
	pthread_mutex_unlock(&lock);
}

struct sum {
	const char *kind, *component, *name;
	uint64_t total;
};

static void
add_up(struct metric_set *set, void *context)
{
	struct sum *sum = context;
	if (strcmp(set->kind, sum->kind) != 0 || (sum->component && strcmp(set->component, sum->component) != 0))
		return;
	for (uint32_t i = 0; i < set->count; i++)
		if (strcmp(set->metrics[i].name, sum->name) == 0)
			sum->total += metric_value(set, i);
}

uint64_t
metrics_sum(const char *kind, const char *component, const char *name)
{
	struct sum sum = { kind, component, name, 0 };
	metrics_visit(add_up, &sum);
	return sum.total;
}
