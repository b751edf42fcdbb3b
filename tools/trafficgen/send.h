/* send: the load on a wire. One function per wire; each runs until the pace says so or *stop is set, and yields after a burst. */
#ifndef PENSTOCK_TOOLS_TRAFFICGEN_SEND_H
#define PENSTOCK_TOOLS_TRAFFICGEN_SEND_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/address.h"
#include "base/err.h"
#include "tools/trafficgen/load.h"
#include "tools/trafficgen/pace.h"

struct send_config {
	const char *device;		/* DPDK device; NULL: kernel sockets */
	const char *from;		/* ADDRESS[/LEN] of the device */
	const char *to;			/* ADDRESS:PORT or [ADDRESS]:PORT */
	uint32_t cpu;			/* of the sending thread of a device */
	bool no_huge;			/* DPDK on ordinary memory */
	const volatile sig_atomic_t *stop;
	uint32_t pipeline;		/* http: requests under way on a connection */
	uint32_t active;		/* TCP through a device: only the first so many connections send; 0: all */
	bool hold;			/* stay on the wire after the last event until *stop (DPDK 22.11's memif can crash the far side by leaving) */
	void (*sent)(void *context);	/* called after the last event, before the wire is closed; may be NULL */
	void *context;
};

struct send_result {
	uint64_t events, bytes;		/* bytes of payload */
	uint64_t frames;
	uint64_t retries;		/* the wire was full or its far side not there yet */
	uint64_t ns;
	/* TCP only: by source, arrays of the caller's (NULL: datagrams) */
	uint64_t *last, *acked;		/* last sequence sent; last acknowledged, all before it too */
	uint64_t acked_events, retransmits, connections_lost;
};

/* "192.0.2.10:514" or "[::1]:514" cut in two; host has room for 64. */
int send_split(const char *to, char *host, uint16_t *port, struct err *err);
struct net_config;
/* --from and --to of a device: our address and prefix into net, both ends into from and to. 0 or -EINVAL. */
int send_addresses(const struct send_config *config, struct net_config *net, struct address *from, struct address *to, struct err *err);

int send_kernel(const struct send_config *config, struct load *load, struct pace *pace, struct send_result *result, struct err *err);
int send_device(const struct send_config *config, struct load *load, struct pace *pace, struct send_result *result, struct err *err);

struct tcp_load;
/* One connection for each source. Ends when all is acknowledged, or 30 s after the last event. */
int send_tcp_kernel(const struct send_config *config, struct tcp_load *tcp, struct pace *pace, struct send_result *result, struct err *err);
int send_tcp_device(const struct send_config *config, struct tcp_load *tcp, struct pace *pace, struct send_result *result, struct err *err);

#endif
