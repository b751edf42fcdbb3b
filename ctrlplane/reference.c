#include "ctrlplane/reference.h"

#include "base/pool.h"
#include "ctrlplane/appliance.h"
#include "ctrlplane/registry.h"

/* In a cell of a table. */
static void
cell(struct text *text, const char *words)
{
	for (; *words; words++) {
		if (*words == '|')
			text_add(text, "\\", 1);
		text_add(text, words, 1);
	}
}

static void
default_cell(struct text *text, const struct option *option)
{
	if (option->flags & OPTION_REQUIRED)
		text_print(text, "required");
	else if (option->flags & OPTION_NO_MEANING)
		text_print(text, "no effect");
	else if (option->flags & OPTION_REFUSED)
		text_print(text, "refused");
	else if (option->value && *option->value)
		text_print(text, "`%s`", option->value);
}

static void
value_cell(struct text *text, const struct option *option)
{
	switch (option->type) {
	case OPT_STRING: text_print(text, "text"); break;
	case OPT_BOOL: text_print(text, "true, false"); break;
	case OPT_LIST: text_print(text, "list"); break;
	case OPT_FAMILY: text_print(text, "names and values"); break;
	case OPT_CHOICE:
		for (uint32_t i = 0; option->choices && option->choices[i]; i++)
			text_print(text, "%s`%s`", i ? ", " : "", option->choices[i]);
		break;
	case OPT_U32:
	case OPT_U64:
	case OPT_I64:
		text_print(text, "%s", option->flags & OPTION_DURATION ? "time (`10s`)" : option->flags & OPTION_SIZE ? "size (`64m`)" :
						option->unit ? option->unit : "number");
		if ((option->min || option->max) && !(option->flags & (OPTION_DURATION | OPTION_SIZE))) {
			if (option->max == INT64_MAX)
				text_print(text, ", at least %lld", (long long)option->min);
			else
				text_print(text, ", %lld to %lld", (long long)option->min, (long long)option->max);
		}
	}
}

static void
options_print(struct text *text, const char *prefix, const struct option *options)
{
	text_print(text, "\n| property | default | value | meaning |\n|---|---|---|---|\n");
	for (const struct option *option = options; option && option->name; option++) {
		text_print(text, "| `%s%s%s` | ", prefix, option->name, option->type == OPT_FAMILY ? "*" : "");
		default_cell(text, option);
		text_print(text, " | ");
		value_cell(text, option);
		text_print(text, " | ");
		cell(text, option->help ? option->help : "");
		if (option->note) {
			text_print(text, "%s%s", option->help ? " " : "", option->flags & OPTION_REFUSED ? "Instead: " : "");
			cell(text, option->note);
		}
		if (option->old_names)
			text_print(text, " Also read as `%s`.", option->old_names);
		text_print(text, " |\n");
	}
}

void
reference_print(struct text *text)
{
	static const char *const heading[KIND_COUNT] = { "Sources", "Channels", "Sinks", "Interceptors", "Sink processors" };
	text_print(text, "# Options\n\nMade of the option tables by `penstock kinds --markdown`: change those, not this file. How properties are read is told in\n"
			 "[configuration.md](configuration.md). \"no effect\": Flume's property is accepted and does nothing here, for the reason given; \"refused\":\n"
			 "known, not supported, an error at start.\n");
	for (int of = 0; of < KIND_COUNT; of++) {
		size_t count;
		const struct kind *kinds = registry_kinds((enum kind_of)of, &count);
		text_print(text, "\n## %s\n", heading[of]);
		for (size_t i = 0; i < count; i++) {
			text_print(text, "\n### %s %s\n\n%s\n", kind_word[of], kinds[i].name, kinds[i].help ? kinds[i].help : "");
			if (kinds[i].class_names)
				text_print(text, "Class names: `%s`.\n", kinds[i].class_names);
			if (kinds[i].options && kinds[i].options->name)
				options_print(text, "", kinds[i].options);
		}
	}
	text_print(text, "\n## The process\n\nThe agent name `penstock` is kept for it; its properties stand in the agent's file or in one given by `--appliance`, and may\n"
			 "be given as `-Dpenstock.NAME=VALUE`.\n");
	options_print(text, "penstock.", appliance_options);
	text_print(text, "\nOf each port:\n");
	options_print(text, "penstock.ports.NAME.", appliance_port_options);
	text_print(text, "\nOf each batch load that is run by schedule ([camus.md](camus.md)):\n");
	options_print(text, "penstock.camus.NAME.", appliance_load_options);
}
