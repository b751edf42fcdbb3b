/* substitute: ${...} in values, resolved in full, and Flume's config filters. Control thread. */
#ifndef PENSTOCK_CTRLPLANE_SUBSTITUTE_H
#define PENSTOCK_CTRLPLANE_SUBSTITUTE_H

#include "base/properties.h"

struct define {
	const char *key, *value;	/* -Dkey=value */
};

enum filter_type { FILTER_ENV, FILTER_EXTERNAL };

struct config_filter {
	const char *name;		/* f1 */
	enum filter_type type;
	const char *command;		/* FILTER_EXTERNAL: split on white space, the key is added at the end */
};

struct substitute {
	struct properties *properties;
	const struct define *defines;
	size_t define_count;
	uint64_t wall_ns;		/* for ${date:...} */
	const char *agent;		/* whose component values config filters look at */
	const struct config_filter *filters;
	size_t filter_count;
	/* Told of what could not be resolved; fatal: the value goes round in a circle. */
	void (*tell)(struct substitute *substitute, bool fatal, const struct property_line *line, const char *text);
	void *context;
};

/* Sets `resolved` of every line: ${env:..} ${sys:..} ${date:..} ${NAME} ${X:-def} $${X}; what has no value stays as it stands; trimmed. */
void substitute_all(struct substitute *substitute);

/* Then, for values of the agent's components: ${f1['key']}, ${f1["key"]}, ${f1[key]}. */
void substitute_filters(struct substitute *substitute);

/* Is there a ${name[key]} in the text? */
bool substitute_has_filter(const char *text);

#endif
