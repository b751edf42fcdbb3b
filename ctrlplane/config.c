#include "ctrlplane/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "ctrlplane/config_load.h"
#include "sinks/sink.h"

static const char *const parts[] = { "sources", "channels", "sinks", "sinkgroups", "configfilters", NULL };

static void
message_add(struct load *load, uint32_t file, uint32_t line, const struct config_message *parts)
{
	const char *text = !parts->origin ? parts->text : parts->key ?
		pool_print(&load->scratch, "%s: %s: %s", parts->origin, parts->key, parts->text) :
		pool_print(&load->scratch, "%s: %s", parts->origin, parts->text);
	if (load->message_count == load->message_room) {
		load->message_room = load->message_room ? load->message_room * 2 : 32;
		load->messages = realloc(load->messages, load->message_room * sizeof *load->messages);
		if (!load->messages)
			abort();
	}
	load->messages[load->message_count] = (struct message){ parts->severity, file, line, (uint32_t)load->message_count, text, *parts };
	load->message_count++;
}

void
load_tell(struct load *load, enum config_severity severity, const struct property_line *line, const char *key, const char *format, ...)
{
	char text[ERR_TEXT_BYTES];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	const char *origin = line ? line->origin : load->config->properties.file_count ? load->config->properties.files[0] : "configuration";
	message_add(load, line ? line->file : 0, line ? line->line : 0, &(struct config_message){ severity, origin,
		key ? pool_print(&load->scratch, "%s", key) : NULL, pool_print(&load->scratch, "%s", text) });
}

static int
message_compare(const void *a, const void *b)
{
	const struct message *m = a, *n = b;
	if (m->file != n->file)
		return m->file < n->file ? -1 : 1;
	if (m->line != n->line)
		return m->line < n->line ? -1 : 1;
	return m->order < n->order ? -1 : 1;
}

static void
messages_tell(struct load *load, struct config_report *report)
{
	if (load->message_count > 0)
		qsort(load->messages, load->message_count, sizeof *load->messages, message_compare);
	for (size_t i = 0; i < load->message_count; i++) {
		if (load->messages[i].severity == CONFIG_ERROR)
			report->errors++;
		else
			report->warnings++;
		if (report->tell)
			report->tell(report, load->messages[i].severity, load->messages[i].text);
		if (report->message)
			report->message(report, &load->messages[i].parts);
	}
}

const struct property_line *
load_get(struct load *load, const char *format, ...)
{
	char key[1024];
	va_list args;
	size_t n = (size_t)snprintf(key, sizeof key, "%s.", load->config->agent);
	if (n >= sizeof key)
		return NULL;
	va_start(args, format);
	int m = vsnprintf(key + n, sizeof key - n, format, args);
	va_end(args);
	if (m < 0 || (size_t)m >= sizeof key - n)
		return NULL;
	const struct property_line *line = properties_find(&load->config->properties, key);
	return line && *line->resolved ? line : NULL;
}

int
words_index(const struct words *words, const char *name)
{
	for (size_t i = 0; i < words->count; i++) {
		if (strcmp(words->items[i], name) == 0)
			return (int)i;
	}
	return -1;
}

struct words
load_words(struct load *load, const struct property_line *line)
{
	struct words words = { .line = line };
	if (!line)
		return words;
	size_t len = strlen(line->resolved);
	char *rest = pool_text(&load->config->pool, line->resolved, len), *word;
	words.items = pool_get(&load->config->pool, (len / 2 + 1) * sizeof *words.items);
	while ((word = strsep(&rest, " \t\n\r\f\v")) != NULL) {
		if (!*word)
			continue;
		if (words_index(&words, word) >= 0)
			load_tell(load, CONFIG_WARNING, line, line->key, "'%s' stands twice: name it once", word);
		else
			words.items[words.count++] = word;
	}
	return words;
}

const char *
load_list(struct load *load, const char *const *items, size_t count)
{
	struct text text = { 0 };
	text_add(&text, "", 0);
	for (size_t i = 0; i < count; i++)
		text_print(&text, "%s%s", i ? ", " : "", items[i]);
	const char *list = pool_text(&load->scratch, text.text, text.len);
	text_free(&text);
	return count ? list : "none";
}

static bool
agent_of(const char *key, const char **rest, size_t *len)
{
	const char *dot = strchr(key, '.');
	if (!dot || dot == key || !dot[1])
		return false;
	*len = (size_t)(dot - key);
	*rest = dot + 1;
	return true;
}

/* Is the key one of an agent: NAME.sources... and so on? Helper properties may hold dots too, and are none. */
static bool
is_agent_key(const char *key, const char **rest, size_t *len)
{
	if (!agent_of(key, rest, len))
		return false;
	for (size_t part = 0; parts[part]; part++) {
		size_t n = strlen(parts[part]);
		if (strncmp(*rest, parts[part], n) == 0 && ((*rest)[n] == '\0' || (*rest)[n] == '.'))
			return true;
	}
	return false;
}

/* Names of the agents, each once, in order of appearance; penstock left out. */
static const char **
agents_find(struct pool *pool, const struct properties *properties, size_t *count)
{
	const char **names = pool_get(pool, (properties->count + 1) * sizeof *names);
	*count = 0;
	for (size_t i = 0; i < properties->count; i++) {
		const char *rest;
		size_t len, known = 0;
		if (!is_agent_key(properties->lines[i]->key, &rest, &len) || (len == 8 && strncmp(properties->lines[i]->key, "penstock", 8) == 0))
			continue;
		while (known < *count && (strlen(names[known]) != len || strncmp(names[known], properties->lines[i]->key, len) != 0))
			known++;
		if (known == *count)
			names[(*count)++] = pool_text(pool, properties->lines[i]->key, len);
	}
	return names;
}

static int
files_load(struct properties *properties, const struct config_request *request, struct err *err)
{
	for (size_t i = 0; i < request->file_count; i++) {
		int rc = properties_load(properties, request->files[i], err);
		if (rc)
			return rc;
	}
	return request->appliance_file ? properties_load(properties, request->appliance_file, err) : 0;
}

int
config_agents(const struct config_request *request, char ***names, size_t *count, struct err *err)
{
	struct properties properties = { 0 };
	struct pool pool = { 0 };
	size_t bytes = 0;
	int rc = files_load(&properties, request, err);
	if (rc == 0) {
		const char **found = agents_find(&pool, &properties, count);
		for (size_t i = 0; i < *count; i++)
			bytes += sizeof *found + strlen(found[i]) + 1;
		*names = malloc(bytes + 1);
		if (!*names)
			abort();
		char *at = (char *)(*names + *count);
		for (size_t i = 0; i < *count; i++) {
			(*names)[i] = at;
			at = stpcpy(at, found[i]) + 1;
		}
	}
	pool_free(&pool);
	properties_free(&properties);
	return rc;
}

struct appliance_told {
	struct option_report report;
	struct load *load;
};

static void
appliance_tell(struct option_report *report, bool fatal, const char *origin, const char *key, const char *text)
{
	struct load *load = ((struct appliance_told *)report)->load;
	const char *full = pool_print(&load->scratch, "penstock.%s", key);
	const struct properties *properties = &load->config->properties;
	const struct property_line *line = properties_find(properties, full);
	/* What is not set is told at another property's place, and in its order. */
	for (size_t i = 0; !line && origin && i < properties->count; i++) {
		if (properties->lines[i]->origin == origin)
			line = properties->lines[i];
	}
	load_tell(load, fatal ? CONFIG_ERROR : CONFIG_WARNING, line, full, "%s", text);
}

static void
appliance_unknown(struct load *load, const struct property *prop)
{
	const char *near = NULL;
	uint32_t best = UINT32_MAX;
	const struct property_line *line = properties_find(&load->config->properties, pool_print(&load->scratch, "penstock.%s", prop->key));
	if (strncmp(prop->key, "ports.", 6) == 0 && strchr(prop->key + 6, '.')) {
		const char *key = strchr(prop->key + 6, '.') + 1, *name = prop->key + 6;
		size_t len = (size_t)(key - 1 - name);
		bool listed = false;
		for (uint32_t i = 0; i < load->config->appliance.port_count; i++) {
			const char *port = load->config->appliance.ports[i].name;
			listed |= strlen(port) == len && strncmp(port, name, len) == 0;
		}
		if (!listed) {
			load_tell(load, CONFIG_WARNING, line, line->key, "is ignored: port '%.*s' is not in penstock.ports: add it there", (int)len, name);
			return;
		}
		for (const struct option *option = appliance_port_options; option->name; option++)
			near_word(key, option->name, &near, &best);
	} else if (strncmp(prop->key, "camus.", 6) == 0 && strchr(prop->key + 6, '.')) {
		for (const struct option *option = appliance_load_options; option->name; option++)
			near_word(strchr(prop->key + 6, '.') + 1, option->name, &near, &best);
	} else {
		for (const struct option *option = appliance_options; option->name; option++)
			near_word(prop->key, option->name, &near, &best);
		near = near ? pool_print(&load->scratch, "penstock.%s", near) : NULL;
	}
	load_unknown(load, line, near, NULL);
}

static void
appliance_load(struct load *load)
{
	struct properties *properties = &load->config->properties;
	struct property *props = calloc(properties->count + 1, sizeof *props);
	struct appliance_told told = { .report.tell = appliance_tell, .load = load };
	size_t count = 0;
	if (!props)
		abort();
	for (size_t i = 0; i < properties->count; i++) {
		const struct property_line *line = properties->lines[i];
		if (strncmp(line->key, "penstock.", 9) != 0 || !line->key[9])
			continue;
		if (!*line->resolved)
			load_tell(load, CONFIG_WARNING, line, line->key, "has no value and is ignored: give it one or take the line out");
		else
			props[count++] = (struct property){ .key = line->key + 9, .value = line->resolved, .origin = line->origin };
	}
	(void)appliance_parse(&load->config->appliance, props, count, &told.report);
	load->unknown = (enum unknown_properties)load->config->appliance.options.unknown;
	for (size_t i = 0; i < count; i++) {
		if (!props[i].used)
			appliance_unknown(load, &props[i]);
	}
	free(props);
}

/* -Dflume.monitoring.* and -Dpenstock.* become properties of the appliance. */
static void
defines_load(struct load *load, const struct config_request *request)
{
	const char *type = NULL, *port = "41414";
	for (size_t i = 0; i < request->define_count; i++) {
		const struct define *define = &request->defines[i];
		if (strcmp(define->key, "flume.monitoring.type") == 0)
			type = define->value;
		else if (strcmp(define->key, "flume.monitoring.port") == 0)
			port = define->value;
		else if (strncmp(define->key, "penstock.", 9) == 0)
			properties_set(&load->config->properties, define->key, define->value, pool_print(&load->config->pool, "-D%s", define->key));
	}
	if (type && strcasecmp(type, "http") == 0)
		properties_set(&load->config->properties, "penstock.metrics.bind", pool_print(&load->scratch, ":%s", port), "-Dflume.monitoring.port");
	else if (type)
		message_add(load, 0, 0, &(struct config_message){ CONFIG_ERROR, "-Dflume.monitoring.type", NULL, pool_print(&load->scratch,
			    "'%s' is not supported: write http, or set penstock.metrics.bind", type) });
}

static void
substitute_tell(struct substitute *substitute, bool fatal, const struct property_line *line, const char *text)
{
	struct load *load = substitute->context;
	const char *rest;
	size_t len;
	bool other = is_agent_key(line->key, &rest, &len) && (strlen(substitute->agent) != len || strncmp(line->key, substitute->agent, len) != 0);
	if (!other)	/* other agents' troubles are not this one's; helper properties are everybody's */
		load_tell(load, fatal ? CONFIG_ERROR : CONFIG_WARNING, line, line->key, "%s", text);
}

/* Config filters come first: their properties are not filtered themselves. */
static void
filters_load(struct load *load, struct substitute *substitute)
{
	struct words names = load_words(load, load_get(load, "configfilters"));
	struct config_filter *filters = pool_get(&load->config->pool, (names.count + 1) * sizeof *filters);
	for (size_t i = 0; i < names.count; i++) {
		const struct property_line *type = load_get(load, "configfilters.%s.type", names.items[i]);
		const struct property_line *command = load_get(load, "configfilters.%s.command", names.items[i]);
		struct config_filter *filter = &filters[substitute->filter_count];
		filter->name = names.items[i];
		if (!type) {
			load_tell(load, CONFIG_ERROR, names.line, pool_print(&load->scratch, "%s.configfilters.%s.type", load->config->agent, names.items[i]),
				  "is not set: write env or external");
		} else if (strcasecmp(type->resolved, "env") == 0 || strcasecmp(type->resolved, "org.apache.flume.configfilter.EnvironmentVariableConfigFilter") == 0) {
			filter->type = FILTER_ENV;
			substitute->filter_count++;
		} else if (strcasecmp(type->resolved, "external") == 0 ||
			   strcasecmp(type->resolved, "org.apache.flume.configfilter.ExternalProcessConfigFilter") == 0) {
			filter->type = FILTER_EXTERNAL;
			filter->command = command ? command->resolved : NULL;
			if (command)
				substitute->filter_count++;
			else
				load_tell(load, CONFIG_ERROR, type, pool_print(&load->scratch, "%s.configfilters.%s.command", load->config->agent, names.items[i]),
					  "is required and not set: the command that prints the value of the key it is given");
		} else if (strcasecmp(type->resolved, "hadoop") == 0 || strcasestr(type->resolved, "HadoopCredentialStoreConfigFilter")) {
			load_tell(load, CONFIG_ERROR, type, type->key, "'%s' is not supported: Hadoop credential stores cannot be read: use env, or external with a command",
				  type->resolved);
		} else {
			load_tell(load, CONFIG_ERROR, type, type->key, "'%s' is no config filter of penstock: write env or external", type->resolved);
		}
	}
	substitute->filters = filters;
	substitute_filters(substitute);
}

/* Keys of the agent that belong to no listed component, lists that are misspelt, empty values, keys given twice. */
static void
keys_check(struct load *load, const struct words lists[])
{
	const struct properties *properties = &load->config->properties;
	const char **ignored = pool_get(&load->scratch, (properties->count + 1) * sizeof *ignored);
	size_t ignored_count = 0;
	for (size_t i = 0; i < properties->count; i++) {
		const struct property_line *line = properties->lines[i];
		const char *rest, *near = NULL;
		size_t len, part;
		uint32_t best = UINT32_MAX;
		if (!agent_of(line->key, &rest, &len) || strlen(load->config->agent) != len || strncmp(line->key, load->config->agent, len) != 0)
			continue;
		if (line->replaced)
			load_tell(load, CONFIG_WARNING, line, line->key, "stands here again and replaces the value at %s: keep one", line->replaced);
		if (!*line->resolved) {
			load_tell(load, CONFIG_WARNING, line, line->key, "has no value and is ignored: give it one or take the line out");
			continue;
		}
		size_t n = strcspn(rest, ".");
		for (part = 0; parts[part]; part++) {
			if (strlen(parts[part]) == n && strncmp(parts[part], rest, n) == 0)
				break;
		}
		if (!parts[part]) {
			const char *word = pool_text(&load->scratch, rest, n);
			for (part = 0; parts[part]; part++)
				near_word(word, parts[part], &near, &best);
			if (near)
				load_unknown(load, line, pool_print(&load->scratch, "%s.%s%s", load->config->agent, near, rest + n), NULL);
			else
				load_tell(load, load->unknown == UNKNOWN_ERROR ? CONFIG_ERROR : CONFIG_WARNING, line, line->key,
					  "is no property of an agent and is ignored: after the agent's name comes sources, channels, sinks, sinkgroups or configfilters");
			continue;
		}
		if (rest[n] == '\0')
			continue;
		const char *name = rest + n + 1, *dot = strchr(name, '.');
		if (!dot || dot == name || !dot[1]) {
			load_tell(load, CONFIG_WARNING, line, line->key, "is ignored: a component's property is written %s.%s.NAME.PROPERTY", load->config->agent, parts[part]);
			continue;
		}
		const char *component = pool_text(&load->scratch, name, (size_t)(dot - name));
		if (words_index(&lists[part], component) >= 0)
			continue;
		const char *whole = pool_print(&load->scratch, "%s.%s", parts[part], component);
		size_t seen = 0;
		while (seen < ignored_count && strcmp(ignored[seen], whole) != 0)
			seen++;
		if (seen == ignored_count) {
			ignored[ignored_count++] = whole;
			load_tell(load, CONFIG_WARNING, line, line->key, "all properties of '%s' are ignored: it is not listed: add it to %s.%s, or take them out",
				  component, load->config->agent, parts[part]);
		}
	}
}

static bool
names_good(struct load *load, const struct words *words)
{
	bool good = true;
	for (size_t i = 0; i < words->count; i++) {
		if (strchr(words->items[i], '.')) {
			load_tell(load, CONFIG_ERROR, words->line, words->line->key, "'%s' has a dot in its name: choose a name without one", words->items[i]);
			good = false;
		}
	}
	return good;
}

/* Channels that somebody refers to; the others are left out, as Flume does. */
static struct words
channels_used(struct load *load, const struct words *listed, const struct words *sources, const struct words *sinks)
{
	struct words used = { .line = listed->line, .items = pool_get(&load->config->pool, (listed->count + 1) * sizeof *used.items) };
	for (size_t i = 0; i < listed->count; i++) {
		bool put = false, take = false;
		for (size_t j = 0; j < sources->count; j++) {
			const struct property_line *line = load_get(load, "sources.%s.channels", sources->items[j]);
			struct words words = { 0 };
			if (line) {
				size_t count = load->message_count;
				words = load_words(load, line);
				load->message_count = count;	/* told again when the source is read */
			}
			put |= words_index(&words, listed->items[i]) >= 0;
		}
		for (size_t j = 0; j < sinks->count; j++) {
			const struct property_line *line = load_get(load, "sinks.%s.channel", sinks->items[j]);
			take |= line && strcmp(line->resolved, listed->items[i]) == 0;
		}
		if (put || take)
			used.items[used.count++] = listed->items[i];
		if (!put && !take)
			load_tell(load, CONFIG_WARNING, listed->line, listed->line->key, "channel '%s' is left out: no source and no sink refers to it", listed->items[i]);
		else if (!take)
			load_tell(load, CONFIG_WARNING, listed->line, listed->line->key, "no sink takes from channel '%s', it will fill up: give it a sink", listed->items[i]);
		else if (!put)
			load_tell(load, CONFIG_WARNING, listed->line, listed->line->key, "no source puts into channel '%s': name it in a source's channels", listed->items[i]);
	}
	return used;
}

static const char *
prefix_of(struct load *load, const char *part, const char *name)
{
	return pool_print(&load->config->pool, "%s.%s.%s.", load->config->agent, part, name);
}

/* A number of a channel's config, 0 when the kind has none. */
static uint64_t
channel_number(const struct config_component *channel, const char *key)
{
	const struct option *option = channel->config ? option_find(channel->kind->options, key) : NULL;
	if (!option || (option->flags & (OPTION_NO_MEANING | OPTION_REFUSED)))
		return 0;
	const char *field = (const char *)channel->config + option->offset;
	return option->type == OPT_U32 ? *(const uint32_t *)field : option->type == OPT_U64 ? *(const uint64_t *)field : 0;
}

static void
batch_check(struct load *load, const struct config_component *component, uint64_t channels)
{
	if (!component->config || !component->kind->batch_events)
		return;
	uint32_t batch = component->kind->batch_events(component->config);
	for (size_t i = 0; i < load->config->channel_count; i++) {
		const struct config_component *channel = &load->config->channels[i];
		uint64_t capacity = channels >> i & 1 ? channel_number(channel, "transactionCapacity") : 0;
		const struct property_line *line = properties_find(&load->config->properties, pool_print(&load->scratch, "%stype", component->prefix));
		if (capacity > 0 && batch > capacity)
			load_tell(load, CONFIG_ERROR, line, pool_text(&load->scratch, component->prefix, strlen(component->prefix) - 1),
				  "its batch of %u events is larger than the transactionCapacity %llu of channel '%s': make the batch smaller or set %stransactionCapacity to %u or more",
				  batch, (unsigned long long)capacity, channel->name, channel->prefix, batch);
	}
}

struct advice {
	struct load *load;
	const struct config_component *component;
	const struct property_line *listed;
};

static void
advice_tell(void *context, const char *key, const char *text)
{
	struct advice *advice = context;
	struct load *load = advice->load;
	const char *whole = pool_print(&load->scratch, "%s%s", advice->component->prefix, key);
	const struct property_line *line = properties_find(&load->config->properties, whole);
	load_tell(load, CONFIG_WARNING, line ? line : advice->listed, whole, "%s", text);
}

static void
sink_load(struct load *load, struct config_sink *sink, const char *name, const struct words *sinks, const struct words *active, const struct words *channels)
{
	static const char *const own[] = { "type", "channel", "config", NULL };
	const struct property_line *line = load_get(load, "sinks.%s.channel", name);
	component_load(load, &sink->component, KIND_SINK, name, prefix_of(load, "sinks", name), own, sinks->line);
	int index = line ? words_index(active, line->resolved) : -1;
	if (!line)
		load_tell(load, CONFIG_ERROR, sinks->line, pool_print(&load->scratch, "%s.sinks.%s.channel", load->config->agent, name),
			  "is not set: name the one channel it takes from (channels here: %s)", load_list(load, channels->items, channels->count));
	else if (index < 0)
		load_tell(load, CONFIG_ERROR, line, line->key, "'%s' is not one channel of %s.channels: write one of %s", line->resolved, load->config->agent,
			  load_list(load, channels->items, channels->count));
	else
		sink->channel = (size_t)index;
	if (index >= 0)
		batch_check(load, &sink->component, UINT64_C(1) << index);
	if (index >= 0 && sink->component.config && sink->component.kind->advise) {
		const struct config_component *channel = &load->config->channels[index];
		struct sink_place place = { channel->name, channel->config ? channel->kind->name : "", channel_number(channel, "capacity") };
		sink->component.kind->advise(sink->component.config, &place, advice_tell, &(struct advice){ load, &sink->component, sinks->line });
	}
}

static void
agent_load(struct load *load, struct substitute *substitute)
{
	struct config *config = load->config;
	struct words lists[5];
	filters_load(load, substitute);
	for (size_t i = 0; i < 5; i++)
		lists[i] = load_words(load, load_get(load, "%s", parts[i]));
	keys_check(load, lists);
	struct words *sources = &lists[0], *channels = &lists[1], *sinks = &lists[2];
	for (size_t i = 0; i < 4; i++) {
		if (!names_good(load, &lists[i]))
			return;
	}
	if (channels->count == 0)
		load_tell(load, CONFIG_ERROR, channels->line, pool_print(&load->scratch, "%s.channels", config->agent), "is not set: list the agent's channels, for example c1");
	if (sources->count == 0 && sinks->count == 0)
		load_tell(load, CONFIG_ERROR, NULL, pool_print(&load->scratch, "%s.sources", config->agent),
			  "there is no source and no sink: list them in %s.sources and %s.sinks", config->agent, config->agent);
	struct words active = channels_used(load, channels, sources, sinks);
	if (active.count > CONFIG_CHANNELS_MAX) {
		load_tell(load, CONFIG_ERROR, channels->line, channels->line->key, "there are %zu channels: %d is the most an agent can have", active.count, CONFIG_CHANNELS_MAX);
		return;
	}
	static const char *const channel_own[] = { "type", "config", NULL };
	config->channels = pool_get(&config->pool, (active.count + 1) * sizeof *config->channels);
	for (size_t i = 0; i < active.count; i++)
		component_load(load, &config->channels[config->channel_count++], KIND_CHANNEL, active.items[i], prefix_of(load, "channels", active.items[i]),
			       channel_own, channels->line);
	static const char *const source_own[] = { "type", "channels", "config", "selector.", "interceptors", "interceptors.", NULL };
	config->sources = pool_get(&config->pool, (sources->count + 1) * sizeof *config->sources);
	for (size_t i = 0; i < sources->count; i++) {
		struct config_source *source = &config->sources[config->source_count++];
		component_load(load, &source->component, KIND_SOURCE, sources->items[i], prefix_of(load, "sources", sources->items[i]), source_own, sources->line);
		source_routes_load(load, source, &active);
		batch_check(load, &source->component, source->required | source->optional);
	}
	config->sinks = pool_get(&config->pool, (sinks->count + 1) * sizeof *config->sinks);
	for (size_t i = 0; i < sinks->count; i++)
		sink_load(load, &config->sinks[config->sink_count++], sinks->items[i], sinks, &active, channels);
	sink_groups_load(load, sinks);
}

/* The agent's name: as asked for, or the only one there is. */
static bool
agent_choose(struct load *load, const char *asked)
{
	size_t count, i = 0;
	const char **names = agents_find(&load->scratch, &load->config->properties, &count);
	if (asked && strcmp(asked, "penstock") == 0) {
		load_tell(load, CONFIG_ERROR, NULL, NULL, "the agent name penstock is kept for the properties of the process: name the agent otherwise");
		return false;
	}
	while (asked && i < count && strcmp(names[i], asked) != 0)
		i++;
	if (asked && i < count)
		load->config->agent = pool_text(&load->config->pool, asked, strlen(asked));
	else if (!asked && count == 1)
		load->config->agent = pool_text(&load->config->pool, names[0], strlen(names[0]));
	else if (asked)
		load_tell(load, CONFIG_ERROR, NULL, NULL, "there is no agent '%s': agents here: %s", asked, load_list(load, names, count));
	else if (count)
		load_tell(load, CONFIG_ERROR, NULL, NULL, "there are several agents: choose one with -n: %s", load_list(load, names, count));
	else
		load_tell(load, CONFIG_ERROR, NULL, NULL, "there is no agent: write NAME.sources, NAME.channels and NAME.sinks");
	return load->config->agent != NULL;
}

int
config_load(struct config **out, const struct config_request *request, struct config_report *report)
{
	struct load load = { .config = calloc(1, sizeof *load.config), .unknown = UNKNOWN_AUTO };
	struct err err = { "" };
	if (!load.config)
		abort();
	*out = NULL;
	report->errors = report->warnings = 0;
	if (files_load(&load.config->properties, request, &err)) {
		message_add(&load, 0, 0, &(struct config_message){ CONFIG_ERROR, NULL, NULL, pool_text(&load.scratch, err.text, strlen(err.text)) });
	} else {
		defines_load(&load, request);
		if (agent_choose(&load, request->agent)) {
			struct substitute substitute = {
				.properties = &load.config->properties, .defines = request->defines, .define_count = request->define_count,
				.wall_ns = request->wall_ns ? request->wall_ns : clock_wall_ns(&clock_system), .agent = load.config->agent,
				.tell = substitute_tell, .context = &load,
			};
			substitute_all(&substitute);
			appliance_load(&load);
			agent_load(&load, &substitute);
		}
	}
	messages_tell(&load, report);
	free(load.messages);
	pool_free(&load.scratch);
	if (report->errors) {
		config_free(load.config);
		return -EINVAL;
	}
	*out = load.config;
	return 0;
}

void
config_free(struct config *config)
{
	if (!config)
		return;
	for (size_t i = 0; i < config->source_count; i++) {
		for (size_t j = 0; j < config->sources[i].interceptor_count; j++)
			component_free(&config->sources[i].interceptors[j]);
		component_free(&config->sources[i].component);
	}
	for (size_t i = 0; i < config->channel_count; i++)
		component_free(&config->channels[i]);
	for (size_t i = 0; i < config->sink_count; i++)
		component_free(&config->sinks[i].component);
	for (size_t i = 0; i < config->group_count; i++)
		component_free(&config->groups[i].processor);
	appliance_free(&config->appliance);
	properties_free(&config->properties);
	pool_free(&config->pool);
	free(config);
}
