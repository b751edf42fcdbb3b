#include "dataplane/dpdk/port_dpdk.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_bus.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#include "base/counter.h"
#include "base/log.h"
#include "dataplane/dpdk/eal.h"
#include "dataplane/dpdk/memif_guard.h"
#include "dataplane/dpdk/rss.h"

#define RING_DEFAULT 1024
#define MBUF_CACHE 256
#define FRAME_EXTRA 32		/* Ethernet, two tags, FCS */

/* One lcore's; a line of its own. */
struct dpdk_queue {
	_Alignas(64) struct counter tx_frames, tx_bytes, tx_failed;
	struct memif_gate gate;		/* memif only */
};

struct port_dpdk {
	struct port port;
	uint16_t id;
	char device[64];		/* DPDK's name of it */
	struct rte_mempool *pool;
	struct rte_eth_dev_info info;
	bool rss, checksum_ip, checksum_udp;
	bool plugged;			/* by us: unplugged at close */
	bool memif;			/* every burst goes through its queue's gate */
	struct rte_device *handle;
	struct dpdk_queue queue[];
};

static uint32_t
dpdk_rx(struct port *port, uint32_t queue, struct frame *frames, uint32_t max)
{
	struct port_dpdk *dpdk = (struct port_dpdk *)port;
	struct rte_mbuf *mbufs[PORT_BURST_MAX];
	if (max > PORT_BURST_MAX)
		max = PORT_BURST_MAX;
	if (dpdk->memif)
		memif_gate_enter(&dpdk->queue[queue].gate);
	uint32_t n = rte_eth_rx_burst(dpdk->id, (uint16_t)queue, mbufs, (uint16_t)max);
	if (dpdk->memif)
		memif_gate_leave(&dpdk->queue[queue].gate);
	for (uint32_t i = 0; i < n; i++) {
		struct rte_mbuf *m = mbufs[i];
		uint64_t flags = m->ol_flags;
		uint32_t out = 0;
		out |= (flags & RTE_MBUF_F_RX_IP_CKSUM_MASK) == RTE_MBUF_F_RX_IP_CKSUM_GOOD ? FRAME_IP_GOOD : 0;
		out |= (flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_GOOD ? FRAME_L4_GOOD : 0;
		out |= flags & RTE_MBUF_F_RX_RSS_HASH ? FRAME_HASH : 0;
		/* A chain only happens with peers whose buffers are larger than ours (memif): joined when it fits one buffer. */
		if (__builtin_expect(m->nb_segs > 1, 0) && rte_pktmbuf_linearize(m) != 0)
			out |= FRAME_TOO_LONG;
		frames[i].bytes = rte_pktmbuf_mtod(m, uint8_t *);
		frames[i].len = m->data_len;
		frames[i].hash = m->hash.rss;
		frames[i].flags = out;
		frames[i].handle = m;
	}
	return n;
}

static void
dpdk_release(struct port *port, uint32_t queue, struct frame *frames, uint32_t n)
{
	(void)port;
	(void)queue;
	struct rte_mbuf *mbufs[PORT_BURST_MAX];
	while (n) {
		uint32_t part = n < PORT_BURST_MAX ? n : PORT_BURST_MAX;
		for (uint32_t i = 0; i < part; i++)
			mbufs[i] = frames[i].handle;
		rte_pktmbuf_free_bulk(mbufs, part);
		frames += part;
		n -= part;
	}
}

static uint32_t
dpdk_tx_room(struct port *port, uint32_t queue, struct frame *frames, uint32_t max)
{
	(void)queue;
	struct port_dpdk *dpdk = (struct port_dpdk *)port;
	struct rte_mbuf *mbufs[PORT_BURST_MAX];
	if (max > PORT_BURST_MAX)
		max = PORT_BURST_MAX;
	if (rte_pktmbuf_alloc_bulk(dpdk->pool, mbufs, max) != 0) {
		/* all or none: ask for one, so that replies get through while buffers are short */
		if (max == 1 || rte_pktmbuf_alloc_bulk(dpdk->pool, mbufs, 1) != 0)
			return 0;
		max = 1;
	}
	for (uint32_t i = 0; i < max; i++) {
		frames[i].bytes = rte_pktmbuf_mtod(mbufs[i], uint8_t *);
		frames[i].len = port->frame_bytes_max;
		frames[i].hash = 0;
		frames[i].flags = 0;
		frames[i].handle = mbufs[i];
	}
	return max;
}

static uint32_t
burst(struct port_dpdk *dpdk, uint32_t queue, struct rte_mbuf **mbufs, uint32_t count)
{
	struct dpdk_queue *q = &dpdk->queue[queue];
	if (dpdk->memif)
		memif_gate_enter(&q->gate);
	uint32_t sent = rte_eth_tx_burst(dpdk->id, (uint16_t)queue, mbufs, (uint16_t)count);
	if (dpdk->memif)
		memif_gate_leave(&q->gate);
	counter_add(&q->tx_frames, sent);
	return sent;
}

uint32_t
port_dpdk_offer(struct port *port, uint32_t queue, const struct frame *frames, uint32_t n)
{
	struct port_dpdk *dpdk = (struct port_dpdk *)port;
	struct rte_mbuf *mbufs[PORT_BURST_MAX];
	uint64_t bytes = 0;
	assert(n <= PORT_BURST_MAX);
	for (uint32_t i = 0; i < n; i++) {
		mbufs[i] = frames[i].handle;
		mbufs[i]->data_len = (uint16_t)frames[i].len;
		mbufs[i]->pkt_len = frames[i].len;
	}
	uint32_t sent = burst(dpdk, queue, mbufs, n);
	for (uint32_t i = 0; i < sent; i++)
		bytes += frames[i].len;
	counter_add(&dpdk->queue[queue].tx_bytes, bytes);
	return sent;
}

static uint32_t
dpdk_tx(struct port *port, uint32_t queue, struct frame *frames, uint32_t n)
{
	struct port_dpdk *dpdk = (struct port_dpdk *)port;
	struct dpdk_queue *q = &dpdk->queue[queue];
	struct rte_mbuf *mbufs[PORT_BURST_MAX];
	uint32_t count = 0;
	uint64_t bytes = 0;
	assert(n <= PORT_BURST_MAX);
	for (uint32_t i = 0; i < n; i++) {
		struct rte_mbuf *m = frames[i].handle;
		if (frames[i].len == 0) {
			rte_pktmbuf_free(m);
			continue;
		}
		m->data_len = (uint16_t)frames[i].len;
		m->pkt_len = frames[i].len;
		mbufs[count++] = m;
	}
	uint32_t sent = burst(dpdk, queue, mbufs, count);
	for (uint32_t i = 0, k = 0; k < sent; i++)
		if (frames[i].len) {
			bytes += frames[i].len;
			k++;
		}
	if (sent < count) {
		rte_pktmbuf_free_bulk(mbufs + sent, count - sent);
		counter_add(&q->tx_failed, count - sent);
	}
	counter_add(&q->tx_bytes, bytes);
	return sent;
}

static void
dpdk_stats(struct port *port, struct port_stats *stats)
{
	struct port_dpdk *dpdk = (struct port_dpdk *)port;
	struct rte_eth_stats eth;
	*stats = (struct port_stats){ 0 };
	if (rte_eth_stats_get(dpdk->id, &eth) == 0) {
		stats->rx_frames = eth.ipackets;
		stats->rx_bytes = eth.ibytes;
		stats->nic_missed = eth.imissed;
		stats->no_mbuf = eth.rx_nombuf;
		stats->nic_error = eth.ierrors;
	}
	for (uint32_t i = 0; i < port->queues; i++) {
		stats->tx_frames += counter_read(&dpdk->queue[i].tx_frames);
		stats->tx_bytes += counter_read(&dpdk->queue[i].tx_bytes);
		stats->tx_failed += counter_read(&dpdk->queue[i].tx_failed);
	}
}

static bool
dpdk_link_up(struct port *port)
{
	struct rte_eth_link link = { 0 };
	return rte_eth_link_get_nowait(((struct port_dpdk *)port)->id, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
}

static void
dpdk_xstats(struct port *port, void (*visit)(void *context, const char *name, uint64_t value), void *context)
{
	struct port_dpdk *dpdk = (struct port_dpdk *)port;
	int count = rte_eth_xstats_get_names(dpdk->id, NULL, 0);
	if (count <= 0)
		return;
	struct rte_eth_xstat_name *names = calloc((size_t)count, sizeof *names);
	struct rte_eth_xstat *values = calloc((size_t)count, sizeof *values);
	if (names && values && rte_eth_xstats_get_names(dpdk->id, names, (unsigned)count) == count) {
		int got = rte_eth_xstats_get(dpdk->id, values, (unsigned)count);
		for (int i = 0; i < got && i < count; i++)
			if (values[i].id < (uint64_t)count)
				visit(context, names[values[i].id].name, values[i].value);
	}
	free(names);
	free(values);
}

static void
close_device(void *context)
{
	struct port_dpdk *dpdk = context;
	rte_eth_dev_stop(dpdk->id);
	rte_eth_dev_close(dpdk->id);
}

static void
dpdk_close(struct port *port)
{
	struct port_dpdk *dpdk = (struct port_dpdk *)port;
	/* A memif peer that leaves at this moment is seen by EAL's interrupt thread, and the driver does not expect both: closed on that thread too. */
	if (!dpdk->memif || eal_interrupt_call(close_device, dpdk) != 0)
		close_device(dpdk);
	for (uint32_t q = 0; q < port->queues; q++)
		if (dpdk->queue[q].gate.registered)
			memif_gate_remove(&dpdk->queue[q].gate);
	if (dpdk->plugged && dpdk->handle)
		rte_dev_remove(dpdk->handle);
	rte_mempool_free(dpdk->pool);
	free(dpdk);
}

static const struct port_ops port_dpdk = {
	.name = "dpdk",
	.rx = dpdk_rx,
	.release = dpdk_release,
	.tx_room = dpdk_tx_room,
	.tx = dpdk_tx,
	.stats = dpdk_stats,
	.link_up = dpdk_link_up,
	.xstats = dpdk_xstats,
	.close = dpdk_close,
};

void
port_dpdk_info(struct port *port, struct port_dpdk_info *info)
{
	assert(port->ops == &port_dpdk);
	struct port_dpdk *dpdk = (struct port_dpdk *)port;
	struct rte_eth_link link = { 0 };
	rte_eth_link_get_nowait(dpdk->id, &link);
	*info = (struct port_dpdk_info){
		.driver = dpdk->info.driver_name,
		.rx_queues = port->queues,
		.rx_queues_max = dpdk->info.max_rx_queues,
		.mbufs = dpdk->pool->size,
		.mbufs_free = rte_mempool_avail_count(dpdk->pool),
		.rss = dpdk->rss,
		.checksum_ip = dpdk->checksum_ip,
		.checksum_udp = dpdk->checksum_udp,
		.speed_mbps = link.link_speed == RTE_ETH_SPEED_NUM_UNKNOWN ? 0 : link.link_speed,
		.link_up = link.link_status == RTE_ETH_LINK_UP,
		.numa_node = port->numa_node,
	};
}

/* A power of two around `wanted` that the device takes. */
static uint16_t
ring_entries(uint32_t wanted, const struct rte_eth_desc_lim *limits)
{
	uint32_t n = wanted ? wanted : RING_DEFAULT;
	if (limits->nb_max && n > limits->nb_max)
		n = limits->nb_max;
	if (n < limits->nb_min)
		n = limits->nb_min;
	if (limits->nb_align > 1)
		n -= n % limits->nb_align;
	return (uint16_t)(n < 32768 ? n : 32768);
}

/* Finds the device, plugging a virtual one in. */
static int
find_device(struct port_dpdk *dpdk, const struct port_dpdk_config *config, struct err *err)
{
	snprintf(dpdk->device, sizeof dpdk->device, "%.*s", (int)strcspn(config->device, ","), config->device);
	if (rte_eth_dev_get_port_by_name(dpdk->device, &dpdk->id) == 0)
		return 0;
	bool pci = isxdigit((unsigned char)dpdk->device[0]) && strchr(dpdk->device, ':');
	if (!pci && strncmp(dpdk->device, "net_", 4) != 0 && strncmp(dpdk->device, "eth_", 4) != 0)
		return err_set(err, EINVAL, "port %s: device %s is neither a PCI address (0000:3b:00.0) nor a DPDK virtual device (net_...)",
			       config->name, config->device);
	int rc = rte_dev_probe(config->device);
	if (rc)
		return err_set(err, rc < 0 ? -rc : EIO, "port %s: device %s cannot be used: %s%s", config->name, config->device,
			       rte_strerror(rc < 0 ? -rc : EIO), pci ? " (is it bound to vfio-pci, and was it named at start?)" : "");
	dpdk->plugged = !pci;
	if (rte_eth_dev_get_port_by_name(dpdk->device, &dpdk->id) == 0)
		return 0;
	return err_set(err, ENODEV, "port %s: device %s is no Ethernet device", config->name, config->device);
}

static int
configure(struct port_dpdk *dpdk, const struct port_dpdk_config *config, struct err *err)
{
	const struct rte_eth_dev_info *info = &dpdk->info;
	struct rte_eth_conf conf = { 0 };
	uint32_t mtu = config->mtu ? config->mtu : 1500;
	uint8_t key[RSS_KEY_BYTES_MAX];

	uint64_t offloads = 0;
	if (info->rx_offload_capa & RTE_ETH_RX_OFFLOAD_IPV4_CKSUM)
		offloads |= RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
	if (info->rx_offload_capa & RTE_ETH_RX_OFFLOAD_UDP_CKSUM)
		offloads |= RTE_ETH_RX_OFFLOAD_UDP_CKSUM;
	dpdk->checksum_ip = offloads & RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
	dpdk->checksum_udp = offloads & RTE_ETH_RX_OFFLOAD_UDP_CKSUM;
	uint64_t rss = info->flow_type_rss_offloads & (RTE_ETH_RSS_IP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_TCP);
	if (dpdk->port.queues > 1 && rss) {
		uint32_t bytes = info->hash_key_size ? info->hash_key_size : 40;
		if (bytes > sizeof key)
			bytes = sizeof key;
		rss_key_symmetric(key, bytes);
		conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
		conf.rx_adv_conf.rss_conf.rss_key = key;
		conf.rx_adv_conf.rss_conf.rss_key_len = (uint8_t)bytes;
		conf.rx_adv_conf.rss_conf.rss_hf = rss;
		if (info->rx_offload_capa & RTE_ETH_RX_OFFLOAD_RSS_HASH)
			offloads |= RTE_ETH_RX_OFFLOAD_RSS_HASH;
		dpdk->rss = true;
	}
	conf.rxmode.offloads = offloads;
	/* Virtual devices name a longest frame of 1518 bytes and take longer ones all the same: told afterwards, with set_mtu. */
	uint32_t configured = mtu, frame_most = info->max_rx_pktlen;
	if (frame_most > FRAME_EXTRA && frame_most < 65536 && mtu > frame_most - 18)
		configured = frame_most - 18;
	conf.rxmode.mtu = configured;
	if (info->max_mtu && mtu > info->max_mtu)
		return err_set(err, EINVAL, "port %s: mtu %u is more than device %s takes (%u)", config->name, mtu, dpdk->device, info->max_mtu);
	int rc = rte_eth_dev_configure(dpdk->id, (uint16_t)dpdk->port.queues, (uint16_t)dpdk->port.queues, &conf);
	if (rc)
		return err_set(err, -rc, "port %s: device %s cannot be configured: %s", config->name, dpdk->device, rte_strerror(-rc));
	if (mtu != configured && rte_eth_dev_set_mtu(dpdk->id, (uint16_t)mtu) != 0)
		log_info("port %s: device %s does not let its mtu be set to %u: set it at the other end", config->name, dpdk->device, mtu);

	uint16_t rx_ring = ring_entries(config->rx_ring, &info->rx_desc_lim), tx_ring = ring_entries(config->tx_ring, &info->tx_desc_lim);
	rte_eth_dev_adjust_nb_rx_tx_desc(dpdk->id, &rx_ring, &tx_ring);
	/* Buffers: both rings of every queue full, what the lcores' caches may hide, bursts in hand. One per port. */
	uint32_t mbufs = dpdk->port.queues * (rx_ring + tx_ring + 2 * MBUF_CACHE + 4 * PORT_BURST_MAX) + 1024;
	uint32_t room = RTE_PKTMBUF_HEADROOM + mtu + FRAME_EXTRA;
	if (room < RTE_MBUF_DEFAULT_BUF_SIZE)
		room = RTE_MBUF_DEFAULT_BUF_SIZE;
	/* af_packet's kernel side joins fragments before it hands them over: framesz=16384,blocksz=65536 lets such datagrams through
	 * (beyond framesz they come cut off, and are counted as truncated). */
	const char *frame_size = strstr(config->device, "framesz=");
	if (frame_size && strtoul(frame_size + 8, NULL, 10) + RTE_PKTMBUF_HEADROOM > room && strtoul(frame_size + 8, NULL, 10) <= 65536 - 512)
		room = (uint32_t)strtoul(frame_size + 8, NULL, 10) + RTE_PKTMBUF_HEADROOM;
	room = (room + 127) & ~127u;
	char pool_name[RTE_MEMPOOL_NAMESIZE];
	snprintf(pool_name, sizeof pool_name, "frames_%s", config->name);
	int socket = dpdk->port.numa_node >= 0 ? dpdk->port.numa_node : SOCKET_ID_ANY;
	dpdk->pool = rte_pktmbuf_pool_create(pool_name, mbufs, MBUF_CACHE, 0, (uint16_t)room, socket);
	if (!dpdk->pool)
		return err_set(err, rte_errno, "port %s: no memory for %u frames of %u bytes: %s. Remedy: raise penstock.memory", config->name,
			       mbufs, room, rte_strerror(rte_errno));
	dpdk->port.frame_bytes_max = room - RTE_PKTMBUF_HEADROOM;

	for (uint16_t q = 0; q < dpdk->port.queues; q++) {
		rc = rte_eth_rx_queue_setup(dpdk->id, q, rx_ring, (unsigned)socket, NULL, dpdk->pool);
		if (rc == 0)
			rc = rte_eth_tx_queue_setup(dpdk->id, q, tx_ring, (unsigned)socket, NULL);
		if (rc)
			return err_set(err, -rc, "port %s: queue %u of device %s: %s", config->name, q, dpdk->device, rte_strerror(-rc));
	}
	rc = rte_eth_dev_start(dpdk->id);
	if (rc)
		return err_set(err, -rc, "port %s: device %s does not start: %s", config->name, dpdk->device, rte_strerror(-rc));
	/* Devices of one sender and one receiver (memif, ring) know no such thing: no trouble. */
	if (config->promiscuous)
		rte_eth_promiscuous_enable(dpdk->id);
	if (config->multicast && rte_eth_allmulticast_enable(dpdk->id) != 0)
		rte_eth_promiscuous_enable(dpdk->id);
	rte_eth_stats_reset(dpdk->id);
	return 0;
}

struct port *
port_dpdk_open(const struct port_dpdk_config *config, struct err *err)
{
	uint32_t lcores = config->lcores ? config->lcores : 1;
	if (lcores > PORT_QUEUES_MAX)
		lcores = PORT_QUEUES_MAX;
	size_t bytes = sizeof(struct port_dpdk) + lcores * sizeof(struct dpdk_queue);
	struct port_dpdk *dpdk = aligned_alloc(64, (bytes + 63) & ~(size_t)63);
	if (!dpdk) {
		err_set(err, ENOMEM, "port %s: no memory", config->name);
		return NULL;
	}
	memset(dpdk, 0, bytes);
	dpdk->port.ops = &port_dpdk;
	snprintf(dpdk->port.name, sizeof dpdk->port.name, "%s", config->name);
	if (find_device(dpdk, config, err)) {
		free(dpdk);
		return NULL;
	}
	int rc = rte_eth_dev_info_get(dpdk->id, &dpdk->info);
	if (rc == 0) {
		dpdk->handle = dpdk->info.device;
		dpdk->memif = strcmp(dpdk->info.driver_name, "net_memif") == 0;
		struct rte_ether_addr mac;
		if (rte_eth_macaddr_get(dpdk->id, &mac) == 0)
			memcpy(dpdk->port.mac, mac.addr_bytes, 6);
		uint32_t queues = lcores;
		if (queues > dpdk->info.max_rx_queues)
			queues = dpdk->info.max_rx_queues;
		if (queues > dpdk->info.max_tx_queues)
			queues = dpdk->info.max_tx_queues;
		if (queues < lcores)
			log_info("port %s: device %s offers %u queues for %u data cores; the others serve other ports", config->name, dpdk->device,
				 queues, lcores);
		dpdk->port.queues = queues;
		dpdk->port.numa_node = rte_eth_dev_socket_id(dpdk->id);
		if (dpdk->port.numa_node >= 0 && rte_socket_count() > 1) {
			uint32_t lcore;
			RTE_LCORE_FOREACH_WORKER(lcore)
				if ((int)rte_lcore_to_socket_id(lcore) != dpdk->port.numa_node)
					log_warn("port %s is on NUMA node %d, data core on CPU %d on node %u: every frame crosses between them, "
						 "which costs about a third of the rate. Remedy: penstock.lcores from node %d", config->name,
						 dpdk->port.numa_node, rte_lcore_to_cpu_id((int)lcore), rte_lcore_to_socket_id(lcore),
						 dpdk->port.numa_node);
		}
		rc = queues ? 0 : err_set(err, ENODEV, "port %s: device %s has no queues", config->name, dpdk->device);
		for (uint32_t q = 0; dpdk->memif && q < queues && !rc; q++)
			if ((rc = memif_gate_register(&dpdk->queue[q].gate)) != 0)
				err_set(err, ENOSPC, "port %s: too many memif queues in one process", config->name);
		if (dpdk->memif && !memif_guard_works())
			log_warn("port %s: a preloaded library has its own munmap: a memif peer that leaves may crash this process", config->name);
		if (!rc)
			rc = configure(dpdk, config, err);
	} else {
		err_set(err, -rc, "port %s: device %s says nothing about itself: %s", config->name, dpdk->device, rte_strerror(-rc));
	}
	if (rc) {
		dpdk_close(&dpdk->port);
		return NULL;
	}
	return &dpdk->port;
}
