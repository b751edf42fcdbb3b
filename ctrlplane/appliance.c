#include "ctrlplane/appliance.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

static const char *const hugepages_choices[] = { "auto", "2m", "1g", "none", NULL };
static const char *const idle_choices[] = { "poll", "sleep", NULL };
static const char *const unknown_choices[] = { "error", "warn", "auto", NULL };

#define AT(field) offsetof(struct appliance_options, field)
const struct option appliance_options[] = {
	{ "lcores", OPT_STRING, AT(lcores), NULL, .help = "Pinned data cores, such as 2-5; one receive queue of each port per core.", .effect = EFFECT_RESTART },
	{ "control.cores", OPT_STRING, AT(control_cores), NULL, .help = "Where all other threads may run; all but the lcores when not set.", .effect = EFFECT_RESTART },
	{ "memory", OPT_U64, AT(memory_bytes), "256m", 16 << 20, INT64_C(1) << 40, .help = "Huge-page memory for DPDK and blocks.", .flags = OPTION_SIZE,
	  .effect = EFFECT_RESTART },
	{ "hugepages", OPT_CHOICE, AT(hugepages), "auto", .help = "Size of huge pages to use.", .choices = hugepages_choices, .effect = EFFECT_RESTART },
	{ "idle", OPT_CHOICE, AT(idle), "poll", .help = "What data cores do when no packets come: go on asking, or sleep.", .choices = idle_choices, .effect = EFFECT_RESTART },
	{ "ports", OPT_LIST, AT(ports), NULL, .help = "Names of the ports; each has penstock.ports.NAME.* of its own.", .effect = EFFECT_RESTART },
	{ "control.socket", OPT_STRING, AT(control_socket), NULL, .help =
	   "Path of the control socket; when not set, of root /run/penstock/AGENT.sock, else $XDG_RUNTIME_DIR/penstock/AGENT.sock or ~/.penstock/AGENT.sock.", .effect = EFFECT_RESTART },
	{ "metrics.bind", OPT_STRING, AT(metrics_bind), NULL, .help = "ADDRESS:PORT for metrics, health and the page over HTTP; -Dflume.monitoring.port=N means :N.", .effect = EFFECT_RESTART },
	{ "unknown_properties", OPT_CHOICE, AT(unknown), "auto", .help = "Whether an unknown property is an error, a warning, or an error when near a known name.",
	  .choices = unknown_choices, .effect = EFFECT_LIVE },
	{ "user", OPT_STRING, AT(user), NULL, .help = "User to become after start; unchanged when not set.", .effect = EFFECT_RESTART },
	{ "stop_deadline", OPT_U64, AT(stop_deadline_ns), "10s", .help = "How long a stop drains before it leaves the rest in the log.", .flags = OPTION_DURATION,
	  .effect = EFFECT_LIVE },
	{ NULL },
};
#undef AT

#define AT(field) offsetof(struct appliance_port_options, field)
const struct option appliance_port_options[] = {
	{ "device", OPT_STRING, AT(device), NULL, .help = "PCI address, or a DPDK virtual device such as net_memif0,...", .flags = OPTION_REQUIRED, .effect = EFFECT_RESTART },
	{ "addresses", OPT_LIST, AT(addresses), NULL, .help = "Addresses with prefix length, such as 192.0.2.10/24.", .flags = OPTION_REQUIRED, .effect = EFFECT_RESTART },
	{ "gateway", OPT_LIST, AT(gateways), NULL, .help = "Default gateway; one of each family at most.", .effect = EFFECT_RESTART },
	{ "groups", OPT_LIST, AT(groups), NULL, .help = "Multicast groups to join, at most 32; a source may be bound to one.", .effect = EFFECT_RESTART },
	{ "vlan", OPT_U32, AT(vlan), NULL, 1, 4094, .help = "VLAN tag of all frames; none when not set.", .effect = EFFECT_RESTART },
	{ "mtu", OPT_U32, AT(mtu), "1500", 576, 9216, "bytes", "Largest packet.", .effect = EFFECT_RESTART },
	{ "trust_checksums", OPT_BOOL, AT(trust_checksums), "false", 0, 0, NULL,
	  "UDP and TCP checksums are not looked at: for af_packet and af_xdp on a veth whose other end leaves them to hardware that is not there.",
	  .effect = EFFECT_RESTART },
	{ "allow", OPT_LIST, AT(allow), NULL, .help = "Senders whose datagrams and connections are taken at all, as prefixes (10.0.0.0/8), at most 64; all when not set. "
	  "Sources may take fewer (penstock.allow).", .effect = EFFECT_RESTART },
	{ "tcp.connections.max", OPT_U32, AT(tcp_connections), "131072", 1, 16777216, "connections", "Most TCP connections at once, per data core.",
	  .effect = EFFECT_RESTART },
	{ "tcp.half_open.max", OPT_U32, AT(tcp_half_open), "1024", 1, 16777216, "connections",
	  "Most handshakes under way, per data core; beyond it SYNs are answered with cookies.", .effect = EFFECT_RESTART },
	{ "tcp.half_open.timeout", OPT_U64, AT(tcp_half_open_ns), "30s", 1000000000, INT64_C(3600) * 1000000000,
	  .flags = OPTION_DURATION,
	  .help = "A handshake not complete after so long is forgotten.",
	  .effect = EFFECT_RESTART },
	{ "tcp.keepalive", OPT_U64, AT(tcp_keepalive_ns), "10m", 1000000000, INT64_C(43200) * 1000000000, .help =
	  "Silence before a connection is probed; after nine probes without an answer, an eighth of it apart, it is reset.", .flags = OPTION_DURATION,
	  .effect = EFFECT_RESTART },
	{ "tcp.window.max", OPT_U64, AT(tcp_window_bytes), "2m", 4096, 64 << 20, .help = "Largest window of one connection.", .flags = OPTION_SIZE,
	  .effect = EFFECT_RESTART },
	{ "tcp.memory", OPT_U64, AT(tcp_memory_bytes), "32m", 1 << 18, INT64_C(1) << 36, .help =
	  "Memory for bytes out of order, not yet taken by their source, and replies, of all connections of a data core.", .flags = OPTION_SIZE,
	  .effect = EFFECT_RESTART },
	{ "tcp.memory.connection", OPT_U64, AT(tcp_connection_bytes), "2m", 4096, INT64_C(1) << 30, .help =
	  "The most of it for what one connection has sent out of order or not yet taken.", .flags = OPTION_SIZE, .effect = EFFECT_RESTART },
	{ NULL },
};
#undef AT

#define AT(field) offsetof(struct appliance_load_options, field)
const struct option appliance_load_options[] = {
	{ "conf", OPT_STRING, AT(conf), NULL, .help = "Properties file of the batch load, as penstock-camus -P reads it.", .flags = OPTION_REQUIRED,
	  .effect = EFFECT_RESTART },
	{ "schedule", OPT_U64, AT(schedule_ns), NULL, NS_PER_S, INT64_C(366) * 86400 * NS_PER_S, .flags = OPTION_REQUIRED | OPTION_DURATION,
	  .help = "From the start of one run to the start of the next; the first begins with the agent. A run that is still at work is not joined by another.",
	  .effect = EFFECT_RESTART },
	{ NULL },
};
#undef AT

int
appliance_cores_parse(struct appliance_cores *cores, const char *text)
{
	bool set[APPLIANCE_CORES_MAX] = { 0 };
	*cores = (struct appliance_cores){ 0 };
	while (*text) {
		char *end;
		if (*text < '0' || *text > '9')
			return -EINVAL;
		unsigned long first = strtoul(text, &end, 10), last = first;
		if (*end == '-') {
			text = end + 1;
			if (*text < '0' || *text > '9')
				return -EINVAL;
			last = strtoul(text, &end, 10);
		}
		if (last < first || last >= APPLIANCE_CORES_MAX)
			return -EINVAL;
		for (unsigned long core = first; core <= last; core++)
			set[core] = true;
		if (*end != '\0' && *end != ',' && *end != ' ')
			return -EINVAL;
		text = end + strspn(end, ", ");
	}
	for (uint16_t core = 0; core < APPLIANCE_CORES_MAX; core++) {
		if (set[core])
			cores->ids[cores->count++] = core;
	}
	return cores->count ? 0 : -EINVAL;
}

int
appliance_bind_parse(struct address *address, const char *text)
{
	char host[128];
	const char *colon = strrchr(text, ':');
	if (!colon || (size_t)(colon - text) >= sizeof host || colon[1] < '0' || colon[1] > '9')
		return -EINVAL;
	char *end;
	unsigned long port = strtoul(colon + 1, &end, 10);
	if (*end || port > 65535)
		return -EINVAL;
	size_t len = (size_t)(colon - text);
	snprintf(host, sizeof host, "%.*s", (int)len, text);
	const char *ip = host;
	if (host[0] == '[') {
		if (len < 2 || host[len - 1] != ']')
			return -EINVAL;
		host[len - 1] = '\0';
		ip = host + 1;
	} else if (strchr(host, ':')) {
		return -EINVAL;
	}
	if (strcmp(ip, "localhost") == 0)
		ip = "127.0.0.1";
	if (address_parse_ip(address, *ip ? ip : "0.0.0.0"))
		return -EINVAL;
	address->port = (uint16_t)port;
	return 0;
}

int
appliance_socket_path(const struct appliance *appliance, const char *agent, char *path, size_t path_bytes)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR"), *home = getenv("HOME");
	struct passwd *entry = home ? NULL : getpwuid(getuid());
	int n;
	if (appliance && appliance->options.control_socket)
		n = snprintf(path, path_bytes, "%s", appliance->options.control_socket);
	else if (geteuid() == 0)
		n = snprintf(path, path_bytes, "/run/penstock/%s.sock", agent);
	else if (runtime && *runtime)
		n = snprintf(path, path_bytes, "%s/penstock/%s.sock", runtime, agent);
	else
		n = snprintf(path, path_bytes, "%s/.penstock/%s.sock", home ? home : entry ? entry->pw_dir : "", agent);
	return (size_t)n < path_bytes ? 0 : -ENAMETOOLONG;
}

struct wrong {
	struct option_report report;	/* as option_parse sees it: puts ports.NAME. in front */
	struct option_report *out;
	const char *prefix;
	struct property *props;
	size_t prop_count;
	bool fatal;
};

static void
wrong_tell(struct option_report *report, bool fatal, const char *origin, const char *key, const char *text)
{
	struct wrong *wrong = (struct wrong *)report;
	char full[256];
	snprintf(full, sizeof full, "%s%s", wrong->prefix, key);
	/* What is not set has no place: that of a port is the list of ports, that of a load its other property. */
	bool port = strncmp(wrong->prefix, "ports.", 6) == 0;
	for (size_t i = 0; !origin && i < wrong->prop_count; i++) {
		if (port ? strcmp(wrong->props[i].key, "ports") == 0 : strncmp(wrong->props[i].key, wrong->prefix, strlen(wrong->prefix)) == 0)
			origin = wrong->props[i].origin;
	}
	if (fatal)
		wrong->fatal = true;
	wrong->out->tell(wrong->out, fatal, origin, full, text);
}

/* An error about the value of a property that option_parse took. */
static void __attribute__((format(printf, 3, 4)))
value_wrong(struct wrong *wrong, const char *key, const char *format, ...)
{
	char text[ERR_TEXT_BYTES], full[256];
	const char *origin = NULL;
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	snprintf(full, sizeof full, "%s%s", wrong->prefix, key);
	for (size_t i = 0; i < wrong->prop_count; i++) {
		if (strcmp(wrong->props[i].key, full) == 0)
			origin = wrong->props[i].origin;
	}
	wrong_tell(&wrong->report, true, origin, key, text);
}

/* Text before a slash as address, the number behind it as bits. */
static bool
prefixed_parse(struct appliance_address *out, const char *text)
{
	char ip[64];
	const char *slash = strchr(text, '/');
	if (!slash || (size_t)(slash - text) >= sizeof ip || slash[1] < '0' || slash[1] > '9')
		return false;
	snprintf(ip, sizeof ip, "%.*s", (int)(slash - text), text);
	char *end;
	unsigned long bits = strtoul(slash + 1, &end, 10);
	*out = (struct appliance_address){ 0 };
	if (*end || address_parse_ip(&out->address, ip))
		return false;
	out->bits = (uint8_t)bits;
	return bits >= 1 && bits <= (address_is_v4(&out->address) ? 32 : 128) && !address_is_any(&out->address);
}

/* The properties below `prefix` by a table of their own; wrong->prefix is set for what is said. */
static void
below_parse(struct appliance *appliance, const char *prefix, const struct option *table, void *options, struct wrong *wrong)
{
	size_t count = 0, len = strlen(prefix);
	struct property *props = calloc(wrong->prop_count + 1, sizeof *props), **from = calloc(wrong->prop_count + 1, sizeof *from);
	if (!props || !from)
		abort();
	for (size_t i = 0; i < wrong->prop_count; i++) {
		if (strncmp(wrong->props[i].key, prefix, len) == 0) {
			props[count] = wrong->props[i];
			props[count].key += len;
			from[count++] = &wrong->props[i];
		}
	}
	wrong->prefix = prefix;
	(void)option_parse(table, props, count, options, &appliance->values, &wrong->report);
	for (size_t i = 0; i < count; i++)
		from[i]->used = props[i].used;
	free(props);
	free(from);
}

static void
port_parse(struct appliance *appliance, const char *name, struct wrong *wrong)
{
	struct appliance_port *port = &appliance->ports[appliance->port_count++];
	char prefix[128];
	snprintf(prefix, sizeof prefix, "ports.%s.", name);
	port->name = name;
	below_parse(appliance, prefix, appliance_port_options, &port->options, wrong);
	for (size_t i = 0; i < port->options.addresses.count; i++) {
		const char *text = port->options.addresses.items[i];
		if (port->address_count == APPLIANCE_PORT_ADDRESSES_MAX)
			value_wrong(wrong, "addresses", "has more than %d addresses: take some out", APPLIANCE_PORT_ADDRESSES_MAX);
		else if (!prefixed_parse(&port->addresses[port->address_count], text))
			value_wrong(wrong, "addresses", "'%s' is no address with prefix length: write one such as 192.0.2.10/24 or 2001:db8::10/64", text);
		else
			port->address_count++;
	}
	for (size_t i = 0; i < port->options.gateways.count; i++) {
		const char *text = port->options.gateways.items[i];
		struct address gateway = { 0 };
		if (address_parse_ip(&gateway, text) || address_is_any(&gateway))
			value_wrong(wrong, "gateway", "'%s' is no address: write one such as 192.0.2.1", text);
		else if (port->gateway_count == 2 || (port->gateway_count == 1 && address_is_v4(&gateway) == address_is_v4(&port->gateways[0])))
			value_wrong(wrong, "gateway", "'%s' is a second gateway of its family: give one IPv4 and one IPv6 gateway at most", text);
		else
			port->gateways[port->gateway_count++] = gateway;
	}
	for (size_t i = 0; i < port->options.allow.count; i++) {
		const char *text = port->options.allow.items[i];
		if (port->allow_count == APPLIANCE_PORT_ALLOW_MAX)
			value_wrong(wrong, "allow", "'%s' is one too many: at most %d prefixes", text, APPLIANCE_PORT_ALLOW_MAX);
		else if (address_parse_prefix(&port->allow[port->allow_count], text))
			value_wrong(wrong, "allow", "'%s' is no prefix: write one such as 192.0.2.0/24 or 2001:db8::/32", text);
		else
			port->allow_count++;
	}
	for (size_t i = 0; i < port->options.groups.count; i++) {
		const char *text = port->options.groups.items[i];
		struct address group = { 0 };
		if (address_parse_ip(&group, text) || !address_is_group(&group))
			value_wrong(wrong, "groups", "'%s' is no multicast address: write one such as 239.1.2.3 or ff15::1", text);
		else if (port->group_count == APPLIANCE_PORT_GROUPS_MAX)
			value_wrong(wrong, "groups", "'%s' is one too many: at most %d groups", text, APPLIANCE_PORT_GROUPS_MAX);
		else
			port->groups[port->group_count++] = group;
	}
	wrong->prefix = "";
}

/* camus.NAME.*: no list names them, each NAME that has a property is one. */
static void
loads_parse(struct appliance *appliance, struct wrong *wrong)
{
	for (size_t i = 0; i < wrong->prop_count; i++) {
		const char *key = wrong->props[i].key, *name = key + 6, *dot = strncmp(key, "camus.", 6) == 0 ? strchr(name, '.') : NULL;
		size_t len = dot ? (size_t)(dot - name) : 0;
		bool known = false;
		for (uint32_t j = 0; j < appliance->load_count; j++)
			known |= strncmp(appliance->loads[j].name, name, len) == 0 && !appliance->loads[j].name[len];
		if (!len || known)
			continue;
		if (len > 32 || appliance->load_count == APPLIANCE_LOADS_MAX) {
			value_wrong(wrong, key, len > 32 ? "the name of a load has at most 32 characters: choose a shorter one"
				: "is one load more than the %d there may be: take it out", APPLIANCE_LOADS_MAX);
			wrong->props[i].used = true;
			continue;
		}
		struct appliance_load *load = &appliance->loads[appliance->load_count++];
		char prefix[64];
		snprintf(load->name, sizeof load->name, "%.*s", (int)len, name);
		snprintf(prefix, sizeof prefix, "camus.%s.", load->name);
		below_parse(appliance, prefix, appliance_load_options, &load->options, wrong);
		wrong->prefix = "";
	}
}

int
appliance_parse(struct appliance *appliance, struct property *props, size_t prop_count, struct option_report *report)
{
	struct wrong wrong = { .report.tell = wrong_tell, .out = report, .prefix = "", .props = props, .prop_count = prop_count };
	struct appliance_options *options = &appliance->options;
	*appliance = (struct appliance){ 0 };
	(void)option_parse(appliance_options, props, prop_count, options, &appliance->values, &wrong.report);
	if (options->lcores && appliance_cores_parse(&appliance->lcores, options->lcores))
		value_wrong(&wrong, "lcores", "'%s' is no list of cores: write one such as 2-5 or 1,3", options->lcores);
	if (options->control_cores && appliance_cores_parse(&appliance->control_cores, options->control_cores))
		value_wrong(&wrong, "control.cores", "'%s' is no list of cores: write one such as 0-1 or 0,4", options->control_cores);
	if (options->metrics_bind) {
		appliance->metrics_on = true;
		if (appliance_bind_parse(&appliance->metrics, options->metrics_bind))
			value_wrong(&wrong, "metrics.bind", "'%s' is no ADDRESS:PORT: write one such as 127.0.0.1:41414 or [::1]:41414", options->metrics_bind);
	}
	if (options->user && !getpwnam(options->user))
		value_wrong(&wrong, "user", "there is no user '%s' on this machine: create it, or leave the property out", options->user);
	char path[256];
	if (appliance_socket_path(appliance, "x", path, 108))	/* sun_path */
		value_wrong(&wrong, "control.socket", "the path is longer than the 107 bytes a socket's name may have: choose a shorter one");
	for (size_t i = 0; i < options->ports.count; i++) {
		bool again = false;
		for (size_t j = 0; j < i; j++)
			again |= strcmp(options->ports.items[i], options->ports.items[j]) == 0;
		if (again)
			value_wrong(&wrong, "ports", "'%s' stands twice: name it once", options->ports.items[i]);
		else if (strchr(options->ports.items[i], '.') || strlen(options->ports.items[i]) > 32)
			value_wrong(&wrong, "ports", "'%s' is no name: use up to 32 characters and no dot", options->ports.items[i]);
		else if (appliance->port_count == APPLIANCE_PORTS_MAX)
			value_wrong(&wrong, "ports", "'%s' is one more than the %d ports there may be: take it out", options->ports.items[i], APPLIANCE_PORTS_MAX);
		else
			port_parse(appliance, options->ports.items[i], &wrong);
	}
	loads_parse(appliance, &wrong);
	if (appliance->port_count > 0 && !options->lcores)
		value_wrong(&wrong, "ports", "ports need data cores: set penstock.lcores, for example 1");
	for (uint32_t a = 0; a < appliance->lcores.count; a++) {
		for (uint32_t b = 0; b < appliance->control_cores.count; b++) {
			if (appliance->lcores.ids[a] == appliance->control_cores.ids[b]) {
				value_wrong(&wrong, "control.cores", "core %u is an lcore too: take it out of one of the two", appliance->lcores.ids[a]);
				a = appliance->lcores.count - 1;
				break;
			}
		}
	}
	return wrong.fatal ? -EINVAL : 0;
}

void
appliance_free(struct appliance *appliance)
{
	option_values_free(&appliance->values);
	*appliance = (struct appliance){ 0 };
}
