/* Partitions to tasks: longest first, each to the task with the least work so far (fewer partitions when equal). With TopicGroupingAllocator small
 * partitions of a topic are first put together, so that one task has them all: a group is at most the average partition divided by a factor.
 * (Camus's own never adds up its groups' sizes.) */
#include <stdlib.h>
#include <string.h>

#include "camus/job.h"

struct request {		/* a group: its partitions are linked by `more` */
	size_t index;
	size_t more;		/* number of the request behind it in the group, + 1; 0: none */
	uint32_t parts;
	double bytes;
};

static int
larger_first(const void *a, const void *b)
{
	const struct request *x = *(struct request *const *)a, *y = *(struct request *const *)b;
	if (x->bytes != y->bytes)
		return x->bytes < y->bytes ? 1 : -1;
	return x->index < y->index ? -1 : 1;
}

/* Requests of one topic stand together, as setup made them. Those that are taken into a group have 0 parts then. */
static void
requests_group(const struct job *job, struct request *requests, size_t count)
{
	double total = 0;
	for (size_t i = 0; i < count; i++)
		total += requests[i].bytes;
	double most = count ? total / (double)count / job->conf->group_factor : 0;
	struct request *group = NULL;
	for (size_t i = 0; i < count; i++) {
		struct request *one = &requests[i];
		if (one->bytes >= most)
			continue;
		if (!group || strcmp(job->parts[group->index]->topic, job->parts[one->index]->topic) != 0 || group->bytes + one->bytes > most) {
			group = one;
			continue;
		}
		one->more = group->more;
		group->more = i + 1;
		group->bytes += one->bytes;
		group->parts++;
		one->parts = 0;
	}
}

uint32_t
allocate_tasks(const struct job *job, uint32_t tasks_max, int32_t *task_of)
{
	struct request *requests = calloc(job->part_count + 1, sizeof *requests), **order = calloc(job->part_count + 1, sizeof *order);
	size_t count = 0, groups = 0;
	if (!requests || !order)
		abort();	/* as job_part */
	for (size_t i = 0; i < job->part_count; i++) {
		const struct part *part = job->parts[i];
		task_of[i] = -1;
		if (!part->pull)
			continue;
		int64_t average = part->saved.known && part->saved.average > 0 ? part->saved.average : AVERAGE_BYTES;
		requests[count++] = (struct request){ i, 0, 1, (double)(part->latest - part->start) * (double)average };
	}
	if (job->conf && job->conf->group_topics)
		requests_group(job, requests, count);
	for (size_t i = 0; i < count; i++)
		if (requests[i].parts)
			order[groups++] = &requests[i];
	uint32_t tasks = groups < tasks_max ? (uint32_t)groups : tasks_max;
	qsort(order, groups, sizeof *order, larger_first);
	double *load = calloc(tasks + 1, sizeof *load);
	uint32_t *parts = calloc(tasks + 1, sizeof *parts);
	if (!load || !parts)
		abort();
	for (size_t i = 0; i < groups; i++) {
		uint32_t best = 0;
		for (uint32_t t = 1; t < tasks; t++)
			if (load[t] < load[best] || (load[t] == load[best] && parts[t] < parts[best]))
				best = t;
		load[best] += order[i]->bytes;
		parts[best] += order[i]->parts;
		task_of[order[i]->index] = (int32_t)best;
		for (size_t k = order[i]->more; k; k = requests[k - 1].more)
			task_of[requests[k - 1].index] = (int32_t)best;
	}
	free(load);
	free(parts);
	free(order);
	free(requests);
	return tasks;
}
