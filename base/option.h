/* option: one line per option gives parsing, range check, default, --help, `penstock kinds`, the manual and the round trip.
 *
 * A kind keeps its settings in a config struct and lists them in a const table; option_parse fills the struct from the
 * properties of one component. Strings and lists it points to belong to the struct option_values handed in. Control thread. */
#ifndef PENSTOCK_BASE_OPTION_H
#define PENSTOCK_BASE_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum option_type {
	OPT_STRING,	/* const char * (NULL when not set) */
	OPT_BOOL,	/* bool; as in Java only "true" in any letter case is true, all else false */
	OPT_U32,	/* uint32_t */
	OPT_U64,	/* uint64_t */
	OPT_I64,	/* int64_t */
	OPT_CHOICE,	/* uint32_t: index into choices, any letter case */
	OPT_LIST,	/* struct option_list, cut at `separator` (NULL: white space) */
	OPT_FAMILY,	/* struct option_family: every property that begins with `name` (which ends with a dot) */
};

enum option_flags {
	OPTION_REQUIRED = 1,
	OPTION_SECRET = 2,		/* never printed: print shows "****" */
	OPTION_LENIENT = 4,		/* a value that does not parse means the default, with a warning (Flume catches it) */
	OPTION_NO_MEANING = 8,		/* accepted; `note` says why it does nothing here; print shows the note. offset unused */
	OPTION_REFUSED = 16,		/* known but not supported: an error; `note` says what to use instead. offset unused */
	OPTION_DURATION = 32,		/* OPT_U64 in nanoseconds, written 10s, 5ms, 2m ... (our own options only) */
	OPTION_SIZE = 64,		/* OPT_U64 in bytes, written 256m, 1g, 4k ... (our own options only) */
};

enum option_effect { EFFECT_REOPEN, EFFECT_LIVE, EFFECT_RESTART };	/* what a change at reload needs */

struct option {
	const char *name;		/* without the component's prefix: "sink.directory", "kafka.producer." */
	enum option_type type;
	size_t offset;			/* in the kind's config struct */
	const char *value;		/* default as text; NULL: none */
	int64_t min, max;		/* inclusive, for numbers; both 0: no limits */
	const char *unit;		/* "events", "ms", "bytes" ... or NULL */
	const char *help;		/* one sentence */
	uint32_t flags;
	const char *const *choices;	/* OPT_CHOICE, NULL terminated */
	const char *old_names;		/* further accepted names, blank separated, or NULL */
	const char *note;
	enum option_effect effect;
	const char *separator;		/* OPT_LIST: characters, NULL: white space */
};

struct option_list {
	size_t count;
	const char **items;
};

struct option_family {
	size_t count;
	struct option_pair {
		const char *key;	/* without the family's prefix */
		const char *value;
	} *items;
};

/* One property of a component as the configuration reader hands it over. */
struct property {
	const char *key;	/* without the component's prefix */
	const char *value;	/* resolved and trimmed, never empty */
	const char *origin;	/* "file:line", for messages */
	bool used;		/* set by option_parse when an option took it */
};

/* Memory behind a parsed config struct. Zeroed to begin with; option_values_free frees all. */
struct option_values {
	struct option_chunk *chunks;
};
void option_values_free(struct option_values *values);

/* Told of every trouble; fatal: the configuration cannot be used. text is one sentence that names value and remedy. */
struct option_report {
	void (*tell)(struct option_report *report, bool fatal, const char *origin, const char *key, const char *text);
};

/* Fills `config` from `props` by the table (`options` ends with a NULL name). Every trouble goes to `report`; goes on to the end so that all are
 * told. Returns 0, or -EINVAL when any was fatal. Properties that no option took keep used == false: the caller decides. */
int option_parse(const struct option *options, struct property *props, size_t prop_count, void *config, struct option_values *values,
		 struct option_report *report);

/* Text of an option's value in a parsed config, as print shows it. False when it is not set. */
bool option_format(const struct option *option, const void *config, char *text, size_t text_bytes);

/* The line of the table that takes `key` (old names and families included), or NULL. */
const struct option *option_find(const struct option *options, const char *key);

/* "500ms", "10s", "2m" ("0" needs no unit); "64k", "1g", "4096". False when the text is neither. */
bool option_duration_parse(const char *text, uint64_t *ns);
bool option_size_parse(const char *text, uint64_t *bytes);

#endif
