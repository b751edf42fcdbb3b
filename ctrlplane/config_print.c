#include "ctrlplane/config_print.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "dataplane/source/source.h"
#include "dataplane/source/stream_options.h"

/* Comments stand on one line whatever they quote. */
static void
comment_write(struct text *text, const char *comment)
{
	text_add(text, "# ", 2);
	for (; *comment; comment++) {
		char c = *comment == '\n' || *comment == '\r' ? ' ' : *comment;
		text_add(text, &c, 1);
	}
	text_add(text, "\n", 1);
}

/* key = value, with ${ written $${ so that it is read as it stands. */
static void
resolved_write(struct text *text, const char *key, const char *value)
{
	struct text escaped = { 0 };
	text_add(&escaped, "", 0);
	for (; *value; value++) {
		if (value[0] == '$' && value[1] == '{')
			text_add(&escaped, "$", 1);
		text_add(&escaped, value, 1);
	}
	properties_write(text, key, escaped.text);
	text_free(&escaped);
}

static bool
sounds_secret(const char *key)
{
	return strcasestr(key, "password") || strcasestr(key, "secret") || strcasestr(key, "jaas.config") || strcasestr(key, "ssl.key.pem");
}

static void
line_write(struct text *text, const struct property_line *line, bool secret)
{
	if (line->filtered || (secret && (strstr(line->raw, "${env:") || strstr(line->raw, "${sys:"))))	/* the reference, never what it stands for */
		properties_write(text, line->key, line->raw);
	else
		resolved_write(text, line->key, secret ? "****" : line->resolved);
}

static void
frame_write(struct text *text, const struct config *config, const char *key)
{
	const struct property_line *line = properties_find(&config->properties, key);
	if (!line || !*line->resolved)
		return;
	comment_write(text, line->origin);
	line_write(text, line, false);
}

/* What a channel's capacity means in time. */
static void
capacity_write(struct text *text, const struct kind *kind, const struct option *option, const char *value)
{
	uint64_t events = strtoull(value, NULL, 10);
	if (registry_find(KIND_CHANNEL, kind->name) != kind || strcmp(option->name, "capacity") != 0)
		return;
	text_print(text, "# %s events hold %.3g s of 10000 events/s, %.3g s of 1000000 events/s\n", value, (double)events / 1e4, (double)events / 1e6);
}

static void
note_write(struct text *text, const struct option *option)
{
	char note[1024];
	if (option->flags & OPTION_NO_MEANING) {
		snprintf(note, sizeof note, "accepted, without effect here%s%s", option->note ? ": " : "", option->note ? option->note : "");
		comment_write(text, note);
	} else if (option->note) {
		comment_write(text, option->note);
	}
}

/* The property that gave the option its value, by its name or an old one; the last of each counts, the name before an old one. */
static const struct property_line *
option_line(const struct config_component *component, const struct option *option)
{
	const struct property_line *found = NULL;
	for (size_t i = 0; i < component->prop_count; i++) {
		const struct config_value *value = &component->props[i];
		if (!value->known || option_find(component->kind->options, value->key) != option)
			continue;
		if (!found || strcmp(value->key, option->name) == 0)
			found = value->line;
	}
	return found;
}

static void
family_write(struct text *text, const struct config_component *component, const struct option *option, const char *const *own)
{
	for (size_t i = 0; i < component->prop_count; i++) {
		const struct config_value *value = &component->props[i];
		bool framed = false;
		for (size_t j = 0; own[j]; j++)
			framed |= strncmp(own[j], value->key, strlen(own[j])) == 0 && own[j][strlen(own[j]) - 1] == '.';
		if (framed || !value->known || option_find(component->kind->options, value->key) != option)
			continue;
		comment_write(text, value->line->origin);
		note_write(text, option);
		line_write(text, value->line, (option->flags & OPTION_SECRET) != 0 || sounds_secret(value->key));
	}
}

static void
component_write(struct text *text, const struct config *config, const struct config_component *component)
{
	static const char *const own[] = { "selector.", "interceptors.", NULL };
	char key[2048], value[8192];
	snprintf(key, sizeof key, "%stype", component->prefix);
	frame_write(text, config, key);
	for (const struct option *option = component->kind->options; option && option->name; option++) {
		if (option->type == OPT_FAMILY) {
			family_write(text, component, option, own);
			continue;
		}
		const struct property_line *line = option_line(component, option);
		bool secret = (option->flags & OPTION_SECRET) != 0;
		snprintf(key, sizeof key, "%s%s", component->prefix, option->name);
		if (option->flags & OPTION_NO_MEANING) {
			if (!line)
				continue;
			comment_write(text, line->origin);
			note_write(text, option);
			line_write(text, line, secret);
			continue;
		}
		if ((!line && !option->value) || !option_format(option, component->config, value, sizeof value))
			continue;
		comment_write(text, line ? line->origin : "default");
		note_write(text, option);
		capacity_write(text, component->kind, option, value);
		if (line && (secret || line->filtered || option->type == OPT_STRING || option->type == OPT_LIST)) {
			struct property_line renamed = *line;	/* old names are printed as the new one */
			renamed.key = key;
			line_write(text, &renamed, secret);
		} else if (*value) {
			resolved_write(text, key, value);
		}
	}
	for (size_t i = 0; i < component->prop_count; i++) {
		const struct config_value *prop = &component->props[i];
		if (prop->known)
			continue;
		struct text unknown = { 0 };
		line_write(&unknown, prop->line, sounds_secret(prop->key));
		unknown.text[strcspn(unknown.text, "\n")] = '\0';
		text_print(text, "# %s, not known and ignored:\n", prop->line->origin);
		comment_write(text, unknown.text);
		text_free(&unknown);
	}
}

/* Does a dataplane port own the address that is listened on? Names are resolved at start only. */
static bool
on_port(const struct config *config, const struct source_listen *listen)
{
	struct address host = { .port = 0 };
	bool any = !listen->host || (address_parse_ip(&host, listen->host) == 0 && address_is_any(&host));
	for (uint32_t p = 0; p < config->appliance.port_count; p++)
		for (uint32_t a = 0; a < config->appliance.ports[p].address_count; a++)
			if (any || memcmp(config->appliance.ports[p].addresses[a].address.ip, host.ip, 16) == 0)
				return true;
	return false;
}

/* What the sender of a stream may conclude, as a comment (docs/ack-path.md). */
static void
promise_write(struct text *text, const struct config *config, const struct config_source *source)
{
	static struct source_listen listens[SOURCE_LISTENS_MAX];
	const struct source_ops *ops = source->component.kind->ops;
	uint32_t count = ops && ops->listens ? ops->listens(source->component.config, listens, SOURCE_LISTENS_MAX) : 0;
	if (!count || listens[0].datagram || !listens[0].stream)
		return;
	bool durable = source->required != 0;
	for (size_t i = 0; i < config->channel_count; i++)
		durable &= !(source->required >> i & 1) || strcmp(config->channels[i].kind->name, "file") == 0;
	const char *stored = durable ? "in the log of every required channel" : "in every required channel";
	if (listens[0].replies)
		text_print(text, "# ack: received; the reply is the promise: it is sent when the events are %s\n", stored);
	else if (!on_port(config, &listens[0]))
		text_print(text, "# ack: received: the kernel acknowledges before penstock has the bytes; it is not told when they are %s\n", stored);
	else if (durable && listens[0].stream->ack != ACK_RECEIVED)
		text_print(text, "# ack: durable: a byte is acknowledged to its sender when it is %s\n", stored);
	else
		text_print(text, "# ack: received: a byte is acknowledged before it is %s\n", stored);
}

static void
source_write(struct text *text, const struct config *config, const struct config_source *source)
{
	char key[2048];
	component_write(text, config, &source->component);
	snprintf(key, sizeof key, "%schannels", source->component.prefix);
	frame_write(text, config, key);
	for (size_t i = 0; i < source->component.prop_count; i++) {
		const struct config_value *value = &source->component.props[i];
		if (value->known && strncmp(value->key, "selector.", 9) == 0)
			frame_write(text, config, value->line->key);
	}
	snprintf(key, sizeof key, "%sinterceptors", source->component.prefix);
	frame_write(text, config, key);
	for (size_t i = 0; i < source->interceptor_count; i++)
		component_write(text, config, &source->interceptors[i]);
}

/* Options of a table that stand in a plain struct: the appliance and its ports. */
static void
table_write(struct text *text, const struct config *config, const char *prefix, const struct option *options, const void *values)
{
	char key[512], value[8192];
	for (const struct option *option = options; option->name; option++) {
		if (!option_format(option, values, value, sizeof value))
			continue;
		snprintf(key, sizeof key, "%s%s", prefix, option->name);
		const struct property_line *line = properties_find(&config->properties, key);
		bool set = line && *line->resolved;
		if (!set && !option->value)
			continue;
		comment_write(text, set ? line->origin : "default");
		resolved_write(text, key, value);
	}
}

static void
part_write(struct text *text, const struct config *config, const char *part)
{
	char key[512];
	snprintf(key, sizeof key, "%s.%s", config->agent, part);
	frame_write(text, config, key);
}

/* Config filters and sink groups: all their properties as they stand. */
static void
plain_write(struct text *text, const struct config *config, const char *part)
{
	char prefix[512];
	size_t len = (size_t)snprintf(prefix, sizeof prefix, "%s.%s.", config->agent, part);
	part_write(text, config, part);
	for (size_t i = 0; i < config->properties.count; i++) {
		if (strncmp(config->properties.lines[i]->key, prefix, len) == 0)
			frame_write(text, config, config->properties.lines[i]->key);
	}
}

/* A list of components that were built: those left out are not printed either. */
static void
list_write(struct text *text, const struct config *config, const char *part, const char *names)
{
	char key[512];
	snprintf(key, sizeof key, "%s.%s", config->agent, part);
	const struct property_line *line = properties_find(&config->properties, key);
	if (!*names)
		return;
	comment_write(text, line ? line->origin : "default");
	resolved_write(text, key, names);
}

void
config_print(struct text *text, const struct config *config)
{
	struct text names = { 0 };
	char key[2048];
	text_print(text, "# agent %s as penstock understands it\n", config->agent);
	plain_write(text, config, "configfilters");
	part_write(text, config, "sources");
	text_add(&names, "", 0);
	for (size_t i = 0; i < config->channel_count; i++)
		text_print(&names, "%s%s", i ? " " : "", config->channels[i].name);
	list_write(text, config, "channels", names.text);
	text_free(&names);
	part_write(text, config, "sinks");
	plain_write(text, config, "sinkgroups");
	for (size_t i = 0; i < config->source_count; i++) {
		text_print(text, "\n# source %s\n", config->sources[i].component.name);
		promise_write(text, config, &config->sources[i]);
		source_write(text, config, &config->sources[i]);
	}
	for (size_t i = 0; i < config->channel_count; i++) {
		text_print(text, "\n# channel %s\n", config->channels[i].name);
		component_write(text, config, &config->channels[i]);
	}
	for (size_t i = 0; i < config->sink_count; i++) {
		const struct config_component *sink = &config->sinks[i].component;
		text_print(text, "\n# sink %s\n", sink->name);
		component_write(text, config, sink);
		snprintf(key, sizeof key, "%schannel", sink->prefix);
		frame_write(text, config, key);
	}
	text_print(text, "\n# the process\n");
	table_write(text, config, "penstock.", appliance_options, &config->appliance.options);
	for (uint32_t i = 0; i < config->appliance.port_count; i++) {
		const struct appliance_port *port = &config->appliance.ports[i];
		snprintf(key, sizeof key, "penstock.ports.%s.", port->name);
		table_write(text, config, key, appliance_port_options, &port->options);
	}
	for (uint32_t i = 0; i < config->appliance.load_count; i++) {
		const struct appliance_load *load = &config->appliance.loads[i];
		snprintf(key, sizeof key, "penstock.camus.%s.", load->name);
		table_write(text, config, key, appliance_load_options, &load->options);
	}
}
