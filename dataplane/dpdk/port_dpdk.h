/* port_dpdk: a port over any DPDK device. Control thread opens and closes; one lcore polls each queue. */
#ifndef PENSTOCK_DATAPLANE_PORT_DPDK_H
#define PENSTOCK_DATAPLANE_PORT_DPDK_H

#include "base/err.h"
#include "dataplane/port.h"

struct port_dpdk_config {
	const char *name;	/* p0 */
	const char *device;	/* "0000:3b:00.0", or "net_memif0,role=server,..." and the like */
	uint32_t lcores;	/* queues wanted: one per lcore */
	uint32_t mtu;		/* 0: 1500 */
	uint32_t rx_ring, tx_ring;	/* descriptors a queue; 0: 1024, or what the device takes */
	bool multicast;		/* groups will be joined: let multicast through */
	bool promiscuous;
};

/* After eal_start. Starts the device. */
struct port *port_dpdk_open(const struct port_dpdk_config *config, struct err *err);

/* As port_tx, but what the device does not take now stays the caller's, who may offer it again. Returns how many went, from the front. No empty frames;
 * for generators, which need no capture. */
uint32_t port_dpdk_offer(struct port *port, uint32_t queue, const struct frame *frames, uint32_t n);

struct port_dpdk_info {
	const char *driver;
	uint32_t rx_queues, rx_queues_max;
	uint32_t mbufs, mbufs_free;
	bool rss, checksum_ip, checksum_udp;	/* the device does it */
	uint32_t speed_mbps;			/* 0: unknown */
	bool link_up;
	int numa_node;
};
void port_dpdk_info(struct port *port, struct port_dpdk_info *info);

#endif
