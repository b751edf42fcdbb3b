/* Partitions to tasks: longest first, each to the task with the least work so far (fewer partitions when equal). */
#include <stdlib.h>
#include <string.h>

#include "camus/job.h"

struct request {
	size_t index;
	double bytes;
};

static int
larger_first(const void *a, const void *b)
{
	const struct request *x = a, *y = b;
	if (x->bytes != y->bytes)
		return x->bytes < y->bytes ? 1 : -1;
	return x->index < y->index ? -1 : 1;
}

uint32_t
allocate_tasks(const struct job *job, uint32_t tasks_max, int32_t *task_of)
{
	struct request *requests = calloc(job->part_count + 1, sizeof *requests);
	size_t count = 0;
	if (!requests)
		abort();	/* as job_part */
	for (size_t i = 0; i < job->part_count; i++) {
		const struct part *part = job->parts[i];
		task_of[i] = -1;
		if (!part->pull)
			continue;
		int64_t average = part->saved.known && part->saved.average > 0 ? part->saved.average : AVERAGE_BYTES;
		requests[count++] = (struct request){ i, (double)(part->latest - part->start) * (double)average };
	}
	uint32_t tasks = count < tasks_max ? (uint32_t)count : tasks_max;
	qsort(requests, count, sizeof *requests, larger_first);
	double *load = calloc(tasks + 1, sizeof *load);
	uint32_t *parts = calloc(tasks + 1, sizeof *parts);
	if (!load || !parts)
		abort();
	for (size_t i = 0; i < count; i++) {
		uint32_t best = 0;
		for (uint32_t t = 1; t < tasks; t++)
			if (load[t] < load[best] || (load[t] == load[best] && parts[t] < parts[best]))
				best = t;
		load[best] += requests[i].bytes;
		parts[best]++;
		task_of[requests[i].index] = (int32_t)best;
	}
	free(load);
	free(parts);
	free(requests);
	return tasks;
}
