/* drop_receiver DEVICE PREFIX CPU [no-huge]: the far side of a generator that is measured alone: answers ARP, gives every other frame back
 * unread. Until SIGTERM. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "dataplane/dpdk/eal.h"
#include "dataplane/dpdk/port_dpdk.h"
#include "dataplane/net/frame.h"
#include "dataplane/net/net.h"

static struct port *port;
static struct net *net;
static volatile sig_atomic_t stop;

static void
on_signal(int number)
{
	(void)number;
	stop = 1;
}

static enum drop
on_udp(void *context, const struct net_datagram *datagram)
{
	(void)context;
	(void)datagram;
	return DROP_NONE;
}

static int
loop(void *context)
{
	(void)context;
	struct frame frames[PORT_BURST_MAX];
	while (!stop) {
		uint64_t now_ns = clock_now_ns(&clock_system);
		uint32_t n = port_rx(port, 0, frames, PORT_BURST_MAX);
		for (uint32_t i = 0; i < n; i++)
			if (get16(frames[i].bytes + 12) == ETH_ARP)
				net_input(net, &frames[i], 1, now_ns);
		port_release(port, 0, frames, n);
		net_tick(net, now_ns);
	}
	return 0;
}

int
main(int argc, char **argv)
{
	struct err err = { "" };
	struct net_config config = { .address_count = 1 };
	if (argc < 4 || argc > 5 || address_parse_prefix(&config.addresses[0], argv[2]))
		return 2;
	uint32_t cpu = (uint32_t)atoi(argv[3]);
	struct eal_config eal = { .lcore_count = 1, .lcore_cpus = &cpu, .memory_bytes = 64 << 20, .no_huge = argc == 5 };
	struct port_dpdk_config device = { .name = "p0", .device = argv[1], .lcores = 1 };
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	int rc = eal_start(&eal, &err);
	if (!rc && (!(port = port_dpdk_open(&device, &err)) || !(net = net_open(&config, port, 0, on_udp, NULL, &err))))
		rc = -1;
	if (rc || eal_launch(0, loop, NULL, &err)) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	int returned;
	eal_wait(0, -1, &returned);
	net_close(net);
	port_close(port);
	eal_stop();
	return 0;
}
