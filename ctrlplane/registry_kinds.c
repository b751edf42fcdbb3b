/* The kinds that exist, from the rooms that make them. */
#include "channel/channel.h"
#include "ctrlplane/registry.h"
#include "dataplane/interceptor/interceptor.h"
#include "dataplane/source/source.h"
#include "sinks/processor.h"
#include "sinks/sink.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define KINDS_MAX 32

static struct kind kinds[KIND_COUNT][KINDS_MAX];
static size_t counts[KIND_COUNT];

#define KIND_ADD(of, table, batch, checker) do { \
	for (size_t i = 0; (table)[i]; i++) { \
		assert(counts[of] < KINDS_MAX); \
		kinds[of][counts[of]++] = (struct kind){ \
			.name = (table)[i]->name, .class_names = (table)[i]->class_names, .help = (table)[i]->help, .options = (table)[i]->options, \
			.config_size = (table)[i]->config_size, .check = checker, .batch_events = batch, .ops = (table)[i], \
		}; \
	} \
} while (0)

/* Patterns are judged by being compiled. */
static int
interceptor_attempt(const void *ops_, const void *config, struct err *err)
{
	const struct interceptor_ops *ops = ops_;
	void *compiled = NULL;
	int rc = ops->compile(config, &compiled, err);
	if (!rc && ops->free)
		ops->free(compiled);
	return rc;
}

/* What can be no host's name or address is told now, not when the agent starts. */
static int
source_attempt(const void *ops_, const void *config, struct err *err)
{
	static struct source_listen listens[SOURCE_LISTENS_MAX];
	const struct source_ops *ops = ops_;
	uint32_t count = ops->listens ? ops->listens(config, listens, SOURCE_LISTENS_MAX) : 0;
	for (uint32_t i = 0; i < count; i++)
		if (listens[i].host && strpbrk(listens[i].host, " \t,/;\"'"))
			return err_set(err, EINVAL, "\"%s\" is no address or name of a host: choose one, or 0.0.0.0 for all addresses", listens[i].host);
	return 0;
}

void
registry_fill(void)
{
	for (int of = 0; of < KIND_COUNT; of++)
		counts[of] = 0;
	KIND_ADD(KIND_SOURCE, source_kinds, source_kinds[i]->batch_events, source_kinds[i]->check);
	for (size_t i = 0; source_kinds[i]; i++)
		kinds[KIND_SOURCE][i].attempt = source_attempt;
	KIND_ADD(KIND_CHANNEL, channel_kinds, NULL, channel_kinds[i]->check);
	KIND_ADD(KIND_SINK, sink_kinds, sink_kinds[i]->batch_events, sink_kinds[i]->check);
	KIND_ADD(KIND_INTERCEPTOR, interceptor_kinds, NULL, NULL);
	for (size_t i = 0; interceptor_kinds[i]; i++)
		kinds[KIND_INTERCEPTOR][i].attempt = interceptor_attempt;
	KIND_ADD(KIND_PROCESSOR, processor_kinds, NULL, NULL);
	for (size_t i = 0; sink_kinds[i]; i++)
		kinds[KIND_SINK][i].advise = sink_kinds[i]->advise;
	for (int of = 0; of < KIND_COUNT; of++)
		registry_set((enum kind_of)of, kinds[of], counts[of]);
}
