/* Where events go: a source's channels, selector and interceptors, and sink groups. */
#include <string.h>
#include <strings.h>

#include "ctrlplane/config_load.h"
#include "sinks/processor.h"

static const char *
source_key(struct load *load, const struct config_source *source, const char *key)
{
	return pool_print(&load->scratch, "%s%s", source->component.prefix, key);
}

static const struct property_line *
source_get(struct load *load, const struct config_source *source, const char *key)
{
	const struct property_line *line = properties_find(&load->config->properties, source_key(load, source, key));
	return line && *line->resolved ? line : NULL;
}

/* Channel names of a selector's property as a set; unknown ones are told. `own` is the source's set. */
static uint64_t
channel_set(struct load *load, const struct property_line *line, const struct words *active, uint64_t own)
{
	struct words names = load_words(load, line);
	uint64_t set = 0;
	for (size_t i = 0; i < names.count; i++) {
		int index = words_index(active, names.items[i]);
		if (index < 0 || !(own >> index & 1))
			load_tell(load, CONFIG_ERROR, line, line->key, "'%s' is not a channel of this source: add it to the source's channels, or take it out here", names.items[i]);
		else
			set |= UINT64_C(1) << index;
	}
	return set;
}

static struct config_mapping *
mapping_of(struct config_source *source, const char *value)
{
	for (size_t i = 0; i < source->mapping_count; i++) {
		if (strcmp(source->mappings[i].value, value) == 0)
			return &source->mappings[i];
	}
	struct config_mapping *mapping = &source->mappings[source->mapping_count++];
	mapping->value = value;
	return mapping;
}

static void
multiplexing_load(struct load *load, struct config_source *source, const struct words *active, uint64_t own)
{
	const struct property_line *header = source_get(load, source, "selector.header"), *otherwise = source_get(load, source, "selector.default");
	source->selector_header = header ? header->resolved : "flume.selector.header";
	source->default_required = channel_set(load, otherwise, active, own);
	source->mappings = pool_get(&load->config->pool, (source->component.prop_count + 1) * sizeof *source->mappings);
	for (size_t i = 0; i < source->component.prop_count; i++) {
		const struct config_value *value = &source->component.props[i];
		if (strncmp(value->key, "selector.mapping.", 17) == 0 && value->key[17])
			mapping_of(source, value->key + 17)->required |= channel_set(load, value->line, active, own);
	}
	size_t mapped = source->mapping_count;
	for (size_t i = 0; i < source->component.prop_count; i++) {
		const struct config_value *value = &source->component.props[i];
		if (strncmp(value->key, "selector.optional.", 18) == 0 && value->key[18])
			mapping_of(source, value->key + 18)->optional |= channel_set(load, value->line, active, own);
	}
	source->required = source->default_required;
	for (size_t i = 0; i < source->mapping_count; i++) {
		struct config_mapping *mapping = &source->mappings[i];
		if (i >= mapped)	/* a value that is only optional somewhere goes to the default channels too */
			mapping->required = source->default_required;
		mapping->optional &= ~mapping->required;
		source->required |= mapping->required;
		source->optional |= mapping->optional;
	}
	source->optional &= ~source->required;
	if (source->mapping_count == 0 && !otherwise)
		load_tell(load, CONFIG_WARNING, source_get(load, source, "selector.type"), source_key(load, source, "selector.type"),
			  "no mapping and no default: every event is dropped as unrouted: set selector.mapping.VALUE or selector.default");
}

/* Selector properties that its type does not know. */
static void
selector_keys_check(struct load *load, const struct config_source *source, bool multiplexing)
{
	static const char *const names[] = { "type", "optional", "header", "default", NULL };
	for (size_t i = 0; i < source->component.prop_count; i++) {
		struct config_value *value = &source->component.props[i];
		const char *key = value->key, *near = NULL;
		uint32_t best = UINT32_MAX;
		if (strncmp(key, "selector.", 9) != 0)
			continue;
		key += 9;
		if (strcmp(key, "type") == 0 || (!multiplexing && strcmp(key, "optional") == 0))
			continue;
		bool of_multiplexing = strcmp(key, "header") == 0 || strcmp(key, "default") == 0 || (strncmp(key, "mapping.", 8) == 0 && key[8]) ||
				       (strncmp(key, "optional.", 9) == 0 && key[9]);
		if (multiplexing && of_multiplexing)
			continue;
		value->known = false;
		for (const char *const *name = names; *name; name++)
			near_word(key, *name, &near, &best);
		size_t dot = strcspn(key, ".");
		if (!near && key[dot] == '.') {
			const char *first = pool_text(&load->scratch, key, dot);
			near_word(first, "mapping", &near, &best);
			near_word(first, "optional", &near, &best);
			if (near)
				near = pool_print(&load->scratch, "%s%s", near, key + dot);
		}
		if (near && strcmp(near, key) == 0)
			near = NULL;
		load_unknown(load, value->line, near ? source_key(load, source, pool_print(&load->scratch, "selector.%s", near)) : NULL,
			     of_multiplexing ? "selectors of type multiplexing" : strcmp(key, "optional") == 0 ? "selectors of type replicating" : NULL);
	}
}

static void
selector_load(struct load *load, struct config_source *source, const struct words *active, uint64_t own)
{
	const struct property_line *line = source_get(load, source, "selector.type");
	const char *type = line ? line->resolved : "replicating";
	if (strcasecmp(type, "replicating") == 0 || strcasecmp(type, "org.apache.flume.channel.ReplicatingChannelSelector") == 0) {
		selector_keys_check(load, source, false);
		source->optional = channel_set(load, source_get(load, source, "selector.optional"), active, own);
		source->required = own & ~source->optional;
	} else if (strcasecmp(type, "multiplexing") == 0 || strcasecmp(type, "org.apache.flume.channel.MultiplexingChannelSelector") == 0) {
		selector_keys_check(load, source, true);
		multiplexing_load(load, source, active, own);
	} else if (strcasecmp(type, "load_balancing") == 0 || strcasecmp(type, "org.apache.flume.channel.LoadBalancingChannelSelector") == 0) {
		load_tell(load, CONFIG_ERROR, line, line->key, "Flume's selector '%s' is not supported yet: write replicating or multiplexing", type);
	} else {
		load_tell(load, CONFIG_ERROR, line, line->key, "'%s' is not a type of selector: write replicating or multiplexing", type);
	}
}

static void
interceptors_load(struct load *load, struct config_source *source)
{
	static const char *const own[] = { "type", "config", NULL };
	const struct property_line *line = source_get(load, source, "interceptors");
	struct words names = load_words(load, line);
	if (names.count > CONFIG_INTERCEPTORS_MAX) {
		load_tell(load, CONFIG_ERROR, line, line->key, "lists %zu interceptors: %d is the most a source can have", names.count, CONFIG_INTERCEPTORS_MAX);
		return;
	}
	source->interceptors = pool_get(&load->config->pool, (names.count + 1) * sizeof *source->interceptors);
	for (size_t i = 0; i < names.count; i++) {
		const char *prefix = pool_print(&load->config->pool, "%sinterceptors.%s.", source->component.prefix, names.items[i]);
		component_load(load, &source->interceptors[source->interceptor_count++], KIND_INTERCEPTOR, names.items[i], prefix, own, line);
	}
	for (size_t i = 0; i < source->component.prop_count; i++) {
		struct config_value *value = &source->component.props[i];
		if (strncmp(value->key, "interceptors.", 13) != 0)
			continue;
		size_t len = strcspn(value->key + 13, ".");
		if (words_index(&names, pool_text(&load->scratch, value->key + 13, len)) >= 0)
			continue;
		value->known = false;
		load_tell(load, CONFIG_WARNING, value->line, value->line->key, "is ignored: interceptor '%.*s' is not listed: add it to %s", (int)len, value->key + 13,
			  source_key(load, source, "interceptors"));
	}
}

void
source_routes_load(struct load *load, struct config_source *source, const struct words *active)
{
	const struct property_line *line = source_get(load, source, "channels");
	struct words names = load_words(load, line);
	uint64_t own = 0;
	if (names.count == 0)
		load_tell(load, CONFIG_ERROR, properties_find(&load->config->properties, source_key(load, source, "type")), source_key(load, source, "channels"),
			  "is not set: name the channels it puts events into (channels here: %s)", load_list(load, active->items, active->count));
	for (size_t i = 0; i < names.count; i++) {
		int index = words_index(active, names.items[i]);
		if (index < 0)
			load_tell(load, CONFIG_ERROR, line, line->key, "'%s' is not in %s.channels (Flume would drop it in silence): add it there, or write one of %s",
				  names.items[i], load->config->agent, load_list(load, active->items, active->count));
		else
			own |= UINT64_C(1) << index;
	}
	selector_load(load, source, active, own);
	interceptors_load(load, source);
}

struct judged {
	struct load *load;
	const struct config_component *processor;
	const struct property_line *type;
};

static void
processor_tell(void *context, bool fatal, const char *key, const char *text)
{
	const struct judged *judged = context;
	const char *whole = pool_print(&judged->load->scratch, "%s%s", judged->processor->prefix, key);
	const struct property_line *line = properties_find(&judged->load->config->properties, whole);
	load_tell(judged->load, fatal ? CONFIG_ERROR : CONFIG_WARNING, line ? line : judged->type, whole, "%s", text);
}

static void
processor_load(struct load *load, struct config_group *group, const struct property_line *line, const struct property_line *type)
{
	static const char *const own[] = { "type", "config", NULL };
	const char *prefix = pool_print(&load->config->pool, "%s.sinkgroups.%s.processor.", load->config->agent, group->name);
	if (!type && group->count > 1) {
		load_tell(load, CONFIG_ERROR, line, pool_print(&load->scratch, "%stype", prefix),
			  "is not set, and the group has %zu sinks: write failover or load_balance, or take the group out to run each on its own", group->count);
		return;
	}
	if (!type) {
		load_tell(load, CONFIG_WARNING, line, pool_print(&load->scratch, "%stype", prefix),
			  "is not set and taken as default (Flume would not run the group's sink): write default");
		return;
	}
	if (!component_load(load, &group->processor, KIND_PROCESSOR, group->name, prefix, own, line) || !group->processor.kind->ops)
		return;
	const struct processor_ops *ops = group->processor.kind->ops;
	if (group->count < ops->members_min)
		load_tell(load, CONFIG_ERROR, type, type->key, "%s takes at least %u sinks, and the group has %zu: add one, or write default", ops->name, ops->members_min,
			  group->count);
	else if (group->count > ops->members_max && ops->members_max == 1)
		load_tell(load, CONFIG_ERROR, type, type->key, "%s takes one sink, and the group has %zu: write failover or load_balance, or take the group out to run "
			  "each on its own", ops->name, group->count);
	else if (group->count > ops->members_max)
		load_tell(load, CONFIG_ERROR, type, type->key, "%s takes %u sinks at most, and the group has %zu", ops->name, ops->members_max, group->count);
	else if (ops->judge)
		ops->judge(group->processor.config, group->names, (uint32_t)group->count, processor_tell, &(struct judged){ load, &group->processor, type });
}

static void
group_keys_check(struct load *load, const struct config_group *group)
{
	const struct properties *properties = &load->config->properties;
	const char *prefix = pool_print(&load->scratch, "%s.sinkgroups.%s.", load->config->agent, group->name);
	size_t len = strlen(prefix);
	for (size_t i = 0; i < properties->count; i++) {
		const struct property_line *line = properties->lines[i];
		const char *key = line->key + len, *near = NULL;
		uint32_t best = UINT32_MAX;
		if (strncmp(line->key, prefix, len) != 0 || !*line->resolved || strcmp(key, "sinks") == 0 || strncmp(key, "processor.", 10) == 0)
			continue;
		near_word(key, "sinks", &near, &best);
		near_word(key, "processor.type", &near, &best);
		load_unknown(load, line, near ? pool_print(&load->scratch, "%s%s", prefix, near) : NULL, NULL);
	}
}

static void
group_load(struct load *load, struct config_group *group, const struct words *groups, const struct words *sinks, bool *grouped)
{
	const char *agent = load->config->agent, *name = group->name;
	const struct property_line *line = load_get(load, "sinkgroups.%s.sinks", name), *type = load_get(load, "sinkgroups.%s.processor.type", name);
	struct words members = load_words(load, line);
	if (members.count == 0) {
		load_tell(load, CONFIG_ERROR, groups->line, pool_print(&load->scratch, "%s.sinkgroups.%s.sinks", agent, name), "is not set: list the group's sinks");
		return;
	}
	group->names = pool_get(&load->config->pool, members.count * sizeof *group->names);
	group->sinks = pool_get(&load->config->pool, members.count * sizeof *group->sinks);
	for (size_t i = 0; i < members.count; i++) {
		int sink = words_index(sinks, members.items[i]);
		if (sink < 0) {
			load_tell(load, CONFIG_ERROR, line, line->key, "'%s' is not in %s.sinks: add it there, or write one of %s", members.items[i], agent,
				  load_list(load, sinks->items, sinks->count));
			continue;
		}
		if (grouped[sink])
			load_tell(load, CONFIG_ERROR, line, line->key, "sink '%s' is in another group already: a sink belongs to one group", members.items[i]);
		grouped[sink] = true;
		group->names[group->count] = load->config->sinks[sink].component.name;
		group->sinks[group->count++] = (size_t)sink;
	}
	processor_load(load, group, line, type);
	group_keys_check(load, group);
}

void
sink_groups_load(struct load *load, const struct words *sinks)
{
	struct words groups = load_words(load, load_get(load, "sinkgroups"));
	bool *grouped = pool_get(&load->scratch, sinks->count + 1);	/* by index of the sink */
	load->config->groups = pool_get(&load->config->pool, (groups.count + 1) * sizeof *load->config->groups);
	for (size_t i = 0; i < groups.count; i++) {
		struct config_group *group = &load->config->groups[load->config->group_count++];
		group->name = pool_print(&load->config->pool, "%s", groups.items[i]);
		group_load(load, group, &groups, sinks, grouped);
	}
}
