/* One component: its kind, its properties against the kind's table, and what nobody knows. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "ctrlplane/config_load.h"

/* Near one of the table's names; a family counts when the key's first parts are near its name. */
static void
near_option(struct load *load, const char *key, const struct option *options, const char **near, uint32_t *best)
{
	for (const struct option *option = options; option && option->name; option++) {
		if (option->type != OPT_FAMILY) {
			near_word(key, option->name, near, best);
			continue;
		}
		size_t dots = 0, len = 0;
		for (const char *c = option->name; *c; c++)
			dots += *c == '.';
		while (key[len] && dots > 0)
			dots -= key[len++] == '.';
		const char *found = NULL;
		if (dots == 0 && key[len]) {
			near_word(pool_text(&load->scratch, key, len), option->name, &found, best);
			if (found)
				*near = pool_print(&load->scratch, "%s%s", option->name, key + len);
		}
	}
}

/* "sinks of type file_roll" when another kind has that very property. */
static const char *
other_owner(struct load *load, const char *key, const struct kind *self)
{
	for (int of = 0; of < KIND_COUNT; of++) {
		size_t count;
		const struct kind *kinds = registry_kinds((enum kind_of)of, &count);
		for (size_t i = 0; i < count; i++) {
			if (&kinds[i] != self && option_find(kinds[i].options, key))
				return pool_print(&load->scratch, "%s of type %s", kind_words[of], kinds[i].name);
		}
	}
	return NULL;
}

void
load_unknown(struct load *load, const struct property_line *line, const char *near, const char *belongs)
{
	bool fatal = load->unknown == UNKNOWN_ERROR || (load->unknown == UNKNOWN_AUTO && near && !belongs);
	enum config_severity severity = fatal ? CONFIG_ERROR : CONFIG_WARNING;
	if (belongs)
		load_tell(load, severity, line, line->key, "has no meaning here%s: it belongs to %s: take it out", fatal ? "" : " and is ignored", belongs);
	else if (near)
		load_tell(load, severity, line, line->key, "is not known%s: did you mean %s?", fatal ? "" : " and is ignored", near);
	else
		load_tell(load, severity, line, line->key, "is not known%s: take it out", fatal ? "" : " and is ignored");
}

static bool
own_match(const char *const *own, const char *key)
{
	for (; *own; own++) {
		size_t n = strlen(*own);
		if ((*own)[n - 1] == '.' ? strncmp(*own, key, n) == 0 : strcmp(*own, key) == 0)
			return true;
	}
	return false;
}

struct component_told {
	struct option_report report;
	struct load *load;
	const struct config_component *component;
	const struct property_line *type;
};

static void
component_tell(struct option_report *report, bool fatal, const char *origin, const char *key, const char *text)
{
	struct component_told *told = (struct component_told *)report;
	const char *full = pool_print(&told->load->scratch, "%s%s", told->component->prefix, key);
	const struct property_line *line = origin ? properties_find(&told->load->config->properties, full) : NULL;
	load_tell(told->load, fatal ? CONFIG_ERROR : CONFIG_WARNING, line ? line : told->type, full, "%s", text);
}

static void
type_refuse(struct load *load, enum kind_of of, const struct property_line *type)
{
	size_t count;
	const struct kind *kinds = registry_kinds(of, &count);
	const char **names = pool_get(&load->scratch, (count + 1) * sizeof *names), *near = NULL;
	uint32_t best = UINT32_MAX;
	for (size_t i = 0; i < count; i++) {
		names[i] = kinds[i].name;
		near_word(type->resolved, kinds[i].name, &near, &best);
	}
	const char *list = load_list(load, names, count), *flume = registry_flume_type(of, type->resolved);
	if (flume)
		load_tell(load, CONFIG_ERROR, type, type->key, "Flume's %s '%s' is not supported yet: types supported: %s", kind_word[of], type->resolved, list);
	else if (near)
		load_tell(load, CONFIG_ERROR, type, type->key, "'%s' is not a type of %s: did you mean %s? types supported: %s", type->resolved, kind_word[of], near, list);
	else if (strchr(type->resolved, '.'))
		load_tell(load, CONFIG_ERROR, type, type->key, "'%s' is a Java class that penstock cannot load: types supported: %s", type->resolved, list);
	else
		load_tell(load, CONFIG_ERROR, type, type->key, "'%s' is not a type of %s: types supported: %s", type->resolved, kind_word[of], list);
}

/* All properties under the prefix that have a value. */
static void
props_collect(struct load *load, struct config_component *component)
{
	const struct properties *properties = &load->config->properties;
	size_t len = strlen(component->prefix), count = 0;
	for (size_t i = 0; i < properties->count; i++)
		count += strncmp(properties->lines[i]->key, component->prefix, len) == 0;
	component->props = pool_get(&load->config->pool, (count + 1) * sizeof *component->props);
	for (size_t i = 0; i < properties->count; i++) {
		const struct property_line *line = properties->lines[i];
		if (strncmp(line->key, component->prefix, len) == 0 && line->key[len] && *line->resolved)
			component->props[component->prop_count++] = (struct config_value){ .key = line->key + len, .line = line, .known = true };
	}
}

static void
unknown_judge(struct load *load, const struct config_component *component, const char *const *own, const struct config_value *value)
{
	const char *near = NULL, *belongs = other_owner(load, value->key, component->kind);
	uint32_t best = UINT32_MAX;
	near_option(load, value->key, component->kind->options, &near, &best);
	for (; *own; own++) {
		if ((*own)[strlen(*own) - 1] != '.')
			near_word(value->key, *own, &near, &best);
	}
	if (near)
		near = pool_print(&load->scratch, "%s%s", component->prefix, near);
	load_unknown(load, value->line, near, belongs);
}

bool
component_load(struct load *load, struct config_component *component, enum kind_of of, const char *name, const char *prefix,
	       const char *const *own, const struct property_line *listed)
{
	const char *type_key = pool_print(&load->scratch, "%stype", prefix);
	const struct property_line *type = properties_find(&load->config->properties, type_key);
	component->name = name;
	component->prefix = prefix;
	props_collect(load, component);
	if (!type || !*type->resolved) {
		load_tell(load, CONFIG_ERROR, listed, type_key, "is not set, so %s '%s' cannot run (Flume would run without it): give it a type, or take it out of the list",
			  kind_word[of], name);
		return false;
	}
	component->type = type->resolved;
	component->origin = type->origin;
	component->kind = registry_find(of, type->resolved);
	if (!component->kind) {
		type_refuse(load, of, type);
		return false;
	}
	const struct kind *kind = component->kind;
	struct property *props = calloc(component->prop_count + 1, sizeof *props);
	size_t *index = calloc(component->prop_count + 1, sizeof *index), count = 0;
	if (!props || !index)
		abort();
	for (size_t i = 0; i < component->prop_count; i++) {
		const struct config_value *value = &component->props[i];
		if (own_match(own, value->key))
			continue;
		index[count] = i;
		props[count++] = (struct property){ .key = value->key, .value = value->line->resolved, .origin = value->line->origin };
	}
	component->config = pool_get(&load->config->pool, kind->config_size);
	struct component_told told = { .report.tell = component_tell, .load = load, .component = component, .type = type };
	bool good = option_parse(kind->options, props, count, component->config, &component->values, &told.report) == 0;
	for (size_t i = 0; i < count; i++) {
		if (props[i].used)
			continue;
		component->props[index[i]].known = false;
		unknown_judge(load, component, own, &component->props[index[i]]);
	}
	free(props);
	free(index);
	struct err err = { "" };
	if (good && ((kind->check && kind->check(component->config, name, &err)) || (kind->attempt && kind->attempt(kind->ops, component->config, &err)))) {
		load_tell(load, CONFIG_ERROR, type, pool_text(&load->scratch, prefix, strlen(prefix) - 1), "%s", err.text);
		good = false;
	}
	return good;
}

void
component_free(struct config_component *component)
{
	option_values_free(&component->values);
}
