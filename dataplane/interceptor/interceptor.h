/* interceptor: looks at, changes or drops the events of a batch before the selector sees them.
 *
 * compile runs on control, once a pipeline: what it makes is shared and read only. attach runs on control, once a thread: scratch.
 * run is called by the ingress with whole batches; it marks events dropped, sets and removes headers; it never writes into a body. */
#ifndef PENSTOCK_DATAPLANE_INTERCEPTOR_H
#define PENSTOCK_DATAPLANE_INTERCEPTOR_H

#include "base/counter.h"
#include "base/err.h"
#include "base/event.h"
#include "base/option.h"

struct interceptor_ops {
	const char *name;
	const char *class_names;	/* Flume's, blank separated */
	const char *help;
	const struct option *options;
	size_t config_size;
	bool changes_body;
	/* props: for options that name others (serializers.<s>.*) an OPT_FAMILY in the table is enough. */
	int (*compile)(const void *config, void **compiled, struct err *err);
	int (*attach)(const void *compiled, void **scratch, struct err *err);	/* may be NULL */
	void (*run)(const void *compiled, void *scratch, struct batch *batch);
	void (*detach)(void *scratch);
	void (*free)(void *compiled);
	/* What the scratch of one thread counts; all NULL and 0 when the kind counts nothing. To be registered by whoever attached it. */
	const struct metric *metrics;
	uint32_t metric_count;
	const void *(*counters)(void *scratch);
};

extern const struct interceptor_ops interceptor_timestamp, interceptor_host, interceptor_static, interceptor_regex_filter, interceptor_regex_extractor;
extern const struct interceptor_ops *const interceptor_kinds[];	/* NULL terminated */

#endif
