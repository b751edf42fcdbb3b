/* appliance: the properties of the process itself (agent name `penstock`): cores, memory, ports, control socket, metrics. Control thread. */
#ifndef PENSTOCK_CTRLPLANE_APPLIANCE_H
#define PENSTOCK_CTRLPLANE_APPLIANCE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/address.h"
#include "base/err.h"
#include "base/option.h"

#define APPLIANCE_CORES_MAX 1024
#define APPLIANCE_PORTS_MAX 16
#define APPLIANCE_PORT_ADDRESSES_MAX 16
#define APPLIANCE_PORT_GROUPS_MAX 32
#define APPLIANCE_PORT_ALLOW_MAX 64
#define APPLIANCE_LOADS_MAX 64

enum unknown_properties { UNKNOWN_ERROR, UNKNOWN_WARN, UNKNOWN_AUTO };
enum appliance_idle { IDLE_POLL, IDLE_SLEEP };
enum appliance_hugepages { HUGEPAGES_AUTO, HUGEPAGES_2M, HUGEPAGES_1G, HUGEPAGES_NONE };

struct appliance_cores {
	uint32_t count;
	uint16_t ids[APPLIANCE_CORES_MAX];	/* ascending */
};

struct appliance_address {
	struct address address;			/* port 0 */
	uint8_t bits;				/* as written: of 32 or of 128 */
};

/* What the option table fills in. */
struct appliance_port_options {
	const char *device;
	struct option_list addresses, gateways, groups;
	uint32_t vlan, mtu;			/* vlan 0: none */
	bool trust_checksums;
	struct option_list allow;		/* senders, as prefixes; none: all */
	uint32_t tcp_connections, tcp_half_open;
	uint64_t tcp_half_open_ns, tcp_keepalive_ns;
	uint64_t tcp_window_bytes, tcp_memory_bytes, tcp_connection_bytes;
};

struct appliance_port {
	const char *name;			/* p0 */
	struct appliance_port_options options;
	struct appliance_address addresses[APPLIANCE_PORT_ADDRESSES_MAX];
	uint32_t address_count;
	struct address gateways[2];		/* at most one a family */
	uint32_t gateway_count;
	struct address groups[APPLIANCE_PORT_GROUPS_MAX];	/* multicast */
	uint32_t group_count;
	struct address_prefix allow[APPLIANCE_PORT_ALLOW_MAX];
	uint32_t allow_count;
};

/* A batch load that is run by schedule. */
struct appliance_load {
	char name[33];				/* hourly, of penstock.camus.hourly.conf */
	struct appliance_load_options {
		const char *conf;
		uint64_t schedule_ns;
	} options;
};

struct appliance_options {
	const char *lcores, *control_cores, *control_socket, *metrics_bind, *user;
	uint64_t memory_bytes, stop_deadline_ns;
	uint32_t hugepages, idle, unknown;	/* enums above */
	struct option_list ports;
};

struct appliance {
	struct appliance_options options;
	struct appliance_cores lcores, control_cores;	/* count 0: not set */
	struct appliance_port ports[APPLIANCE_PORTS_MAX];
	uint32_t port_count;
	struct appliance_load loads[APPLIANCE_LOADS_MAX];
	uint32_t load_count;
	bool metrics_on;
	struct address metrics;			/* where HTTP listens */
	struct option_values values;
};

extern const struct option appliance_options[], appliance_port_options[], appliance_load_options[];

/* props: keys without "penstock."; used marks what was taken. Everything wrong goes to report. 0 or -EINVAL. */
int appliance_parse(struct appliance *appliance, struct property *props, size_t prop_count, struct option_report *report);
void appliance_free(struct appliance *appliance);

/* "2-5,7" into ids. 0 or -EINVAL. */
int appliance_cores_parse(struct appliance_cores *cores, const char *text);
/* "127.0.0.1:41414", "[::1]:80", ":80" (all addresses). 0 or -EINVAL. */
int appliance_bind_parse(struct address *address, const char *text);
/* Where the control socket of that agent stands. 0, or -ENAMETOOLONG. */
int appliance_socket_path(const struct appliance *appliance, const char *agent, char *path, size_t path_bytes);

#endif
