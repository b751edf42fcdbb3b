/* config: one agent's configuration as understood: Flume's properties files, checked whole, every value with its raw text and its place.
 *
 * config_load tells every mistake at once and starts nothing. What it makes is read only until config_free. Control thread.
 * The registry must be filled (registry_fill). */
#ifndef PENSTOCK_CTRLPLANE_CONFIG_H
#define PENSTOCK_CTRLPLANE_CONFIG_H

#include "ctrlplane/appliance.h"
#include "base/properties.h"
#include "ctrlplane/registry.h"
#include "ctrlplane/substitute.h"

#define CONFIG_CHANNELS_MAX 64		/* bits of a channel set */
#define CONFIG_INTERCEPTORS_MAX 16	/* of one source */

/* One property of a component. */
struct config_value {
	const char *key;			/* without the component's prefix */
	const struct property_line *line;	/* raw, resolved, origin */
	bool known;				/* false: no option takes it; it was warned about */
};

struct config_component {
	const char *name;			/* r1 */
	const char *prefix;			/* "a1.sources.r1." */
	const struct kind *kind;
	const char *type;			/* as written */
	const char *origin;			/* of the type, "file:line" */
	void *config;				/* the kind's config struct, filled */
	struct option_values values;		/* memory behind it */
	struct config_value *props;		/* all of them, for print */
	size_t prop_count;
};

/* Multiplexing: what a value of the header means. Sets have a bit for each index into config->channels. */
struct config_mapping {
	const char *value;
	uint64_t required, optional;		/* optional without the required ones */
};

struct config_source {
	struct config_component component;
	struct config_component *interceptors;	/* in order */
	size_t interceptor_count;
	uint64_t required, optional;		/* channels the selector can name at all; one in both counts as required */
	const char *selector_header;		/* multiplexing; NULL: replicating, then required and optional hold for every event */
	struct config_mapping *mappings;
	size_t mapping_count;
	uint64_t default_required;		/* multiplexing: events without a mapping */
};

struct config_sink {
	struct config_component component;
	size_t channel;				/* index into config->channels */
};

struct config_group {
	const char *name;			/* g1 */
	struct config_component processor;	/* kind NULL: not set, one sink */
	const char **names;			/* its sinks, as listed */
	size_t *sinks;				/* indices into config->sinks */
	size_t count;
};

struct config {
	const char *agent;
	struct config_source *sources;
	struct config_component *channels;	/* only those that a source or sink refers to */
	struct config_sink *sinks;
	struct config_group *groups;
	size_t source_count, channel_count, sink_count, group_count;
	struct appliance appliance;
	struct properties properties;		/* everything that was read, resolved */
	struct pool pool;
};

enum config_severity { CONFIG_ERROR, CONFIG_WARNING };

/* Told of all messages, ordered by file and line, before config_load returns. line: "file:line: key: what is wrong: what would be right". */
struct config_message {
	enum config_severity severity;
	const char *origin;			/* file:line, or what else it came from; NULL: the text says it */
	const char *key;			/* NULL: of the whole */
	const char *text;
};
struct config_report {
	void (*tell)(struct config_report *report, enum config_severity severity, const char *line);
	void (*message)(struct config_report *report, const struct config_message *message);	/* the same in parts; both may be NULL */
	uint32_t errors, warnings;		/* counted by config_load */
};

struct config_request {
	const char *const *files;		/* -f, merged in order */
	size_t file_count;
	const char *appliance_file;		/* --appliance, or NULL */
	const char *agent;			/* -n; NULL: the only one there is */
	const struct define *defines;		/* -D; those that begin with "penstock." are properties of the appliance */
	size_t define_count;
	uint64_t wall_ns;			/* for ${date:...}; 0: now */
};

/* 0 and *out, or -EINVAL with *out NULL and report->errors > 0. */
int config_load(struct config **out, const struct config_request *request, struct config_report *report);
void config_free(struct config *config);

/* Names of the agents in the files (penstock left out), for `check` without -n. *names is one block for free(). */
int config_agents(const struct config_request *request, char ***names, size_t *count, struct err *err);

#endif
