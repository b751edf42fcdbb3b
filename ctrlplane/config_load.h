/* config_load: what the files config*.c share while a configuration is being read. Not for others. */
#ifndef PENSTOCK_CTRLPLANE_CONFIG_LOAD_H
#define PENSTOCK_CTRLPLANE_CONFIG_LOAD_H

#include "base/near.h"
#include "ctrlplane/config.h"

struct message {
	enum config_severity severity;
	uint32_t file, line, order;
	const char *text;		/* the whole line */
	struct config_message parts;
};

struct load {
	struct config *config;
	struct pool scratch;
	struct message *messages;
	size_t message_count, message_room;
	enum unknown_properties unknown;
};

struct words {
	const char **items;
	size_t count;
	const struct property_line *line;	/* NULL: not set */
};

/* A message about one property; line NULL: about the files as a whole. */
void load_tell(struct load *load, enum config_severity severity, const struct property_line *line, const char *key, const char *format, ...)
	__attribute__((format(printf, 5, 6)));
/* The agent's property with that key ("sources.r1.type"), or NULL. Empty values count as not set. */
const struct property_line *load_get(struct load *load, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Its words; a word that stands twice is taken once, with a warning. */
struct words load_words(struct load *load, const struct property_line *line);
/* Index of `name`, or -1. */
int words_index(const struct words *words, const char *name);
/* "a, b, c" */
const char *load_list(struct load *load, const char *const *items, size_t count);

/* Fills component from all properties under prefix: finds the kind, parses, checks, judges unknown ones. `own` are keys of the frame (type,
 * channels ...), a trailing dot means all below. listed: where the name stands, for messages. False when it cannot be used. */
bool component_load(struct load *load, struct config_component *component, enum kind_of of, const char *name, const char *prefix,
		    const char *const *own, const struct property_line *listed);
void component_free(struct config_component *component);

/* Judges a property that nothing took. near: the closest known name, or NULL. */
void load_unknown(struct load *load, const struct property_line *line, const char *near, const char *belongs);

void source_routes_load(struct load *load, struct config_source *source, const struct words *active);
void sink_groups_load(struct load *load, const struct words *sinks);

#endif
