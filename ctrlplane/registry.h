/* registry: every kind of source, channel, sink and interceptor behind one descriptor, so that configuration, `penstock kinds` and
 * print treat them alike. Filled once at start (registry_fill; tests give kinds of their own). Control thread. */
#ifndef PENSTOCK_CTRLPLANE_REGISTRY_H
#define PENSTOCK_CTRLPLANE_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/option.h"

struct sink_place;	/* sinks/sink.h */

enum kind_of { KIND_SOURCE, KIND_CHANNEL, KIND_SINK, KIND_INTERCEPTOR, KIND_PROCESSOR, KIND_COUNT };

struct kind {
	const char *name;		/* Flume's alias, or our short name where Flume has none */
	const char *class_names;	/* blank separated, or NULL */
	const char *help;
	const struct option *options;
	size_t config_size;
	int (*check)(const void *config, const char *name, struct err *err);	/* may be NULL */
	uint32_t (*batch_events)(const void *config);				/* may be NULL */
	/* Sinks: what their settings lead to on such a channel; may be NULL. */
	void (*advise)(const void *config, const struct sink_place *place, void (*tell)(void *context, const char *key, const char *text), void *context);
	const void *ops;		/* struct source_ops, channel_ops, sink_ops, interceptor_ops or processor_ops */
	/* Makes what the settings say and throws it away; may be NULL. */
	int (*attempt)(const void *ops, const void *config, struct err *err);
};

extern const char *const kind_word[KIND_COUNT];		/* "source", ... */
extern const char *const kind_words[KIND_COUNT];	/* "sources", ... as in keys */

/* The array must outlive the registry's use. */
void registry_set(enum kind_of of, const struct kind *kinds, size_t count);
/* From source_kinds[], channel_kinds[], sink_kinds[], interceptor_kinds[], processor_kinds[]. */
void registry_fill(void);
const struct kind *registry_kinds(enum kind_of of, size_t *count);
/* By alias or class name, in any letter case. */
const struct kind *registry_find(enum kind_of of, const char *type);

/* A type that Flume has and penstock not (yet): its canonical name, else NULL. */
const char *registry_flume_type(enum kind_of of, const char *type);

struct text;
/* What `penstock kinds [KIND [TYPE]]` prints. kind: "sources" or "source" ... or NULL. 0, or -EINVAL with err. */
int registry_print(struct text *text, const char *kind, const char *type, struct err *err);

#endif
