/* wire: one end of a wire for test_wires.py. Runs net over a DPDK port on one data core.
 *
 *   wire DEVICE PREFIX CPU [send COUNT FROM_PORT TO TO_PORT]     (TO an address on the other end)
 *
 * Writes "ready" when frames are being received, then, after "stop" or end of input on stdin, one JSON line with all counts.
 * With `send`: COUNT datagrams of 200 bytes, as fast as the other end takes them; writes "sent N" when done. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "dataplane/dpdk/eal.h"
#include "dataplane/dpdk/port_dpdk.h"
#include "dataplane/net/frame.h"
#include "dataplane/net/net.h"

static struct {
	struct port *port;
	struct net *net;
	_Atomic bool stop;
	_Atomic uint64_t sent;
	uint64_t count, bytes_sum;
	struct address from, to;
} wire;

static enum drop
on_udp(void *context, const struct net_datagram *datagram)
{
	(void)context;
	if (datagram->to.port != 514)
		return DROP_NO_LISTENER;
	wire.bytes_sum += datagram->len;
	return DROP_NONE;
}

static void
send_some(uint64_t now_ns)
{
	struct frame_udp udp = { .from = wire.from, .to = wire.to };
	uint64_t left = wire.count - wire.sent;
	struct frame frames[32];
	static uint8_t payload[200];
	if (!left || !net_resolve(wire.net, &wire.to, udp.to_mac, now_ns))
		return;
	memcpy(udp.from_mac, wire.port->mac, 6);
	uint32_t n = port_tx_room(wire.port, 0, frames, left < 32 ? (uint32_t)left : 32);
	for (uint32_t i = 0; i < n; i++)
		frames[i].len = frame_udp_build(&udp, frames[i].bytes, frames[i].len, payload, sizeof payload);
	wire.sent += port_tx(wire.port, 0, frames, n);
}

static int
loop(void *context)
{
	(void)context;
	struct frame frames[PORT_BURST_MAX];
	while (!wire.stop) {
		uint64_t now_ns = clock_now_ns(&clock_system);
		uint32_t n = port_rx(wire.port, 0, frames, PORT_BURST_MAX);
		net_input(wire.net, frames, n, now_ns);
		port_release(wire.port, 0, frames, n);
		net_tick(wire.net, now_ns);
		send_some(now_ns);
		if (n == 0)
			usleep(50);	/* a test shares its machine */
	}
	return 0;
}

int
main(int argc, char **argv)
{
	struct err err;
	if (argc != 4 && argc != 9)
		return 2;
	uint32_t cpu = (uint32_t)atoi(argv[3]);
	bool huge = getenv("WIRE_HUGE") != NULL;
	struct eal_config config = { .lcore_count = 1, .lcore_cpus = &cpu, .no_huge = !huge, .memory_bytes = 96 << 20,
				     .verbose = getenv("WIRE_VERBOSE") != NULL };
	if (eal_start(&config, &err)) {
		fprintf(stderr, "%s\n", err.text);
		return 77;
	}
	if (huge && !eal_has_huge_pages())
		return 77;
	struct port_dpdk_config device = { .name = "p0", .device = argv[1], .lcores = 1, .multicast = true, .rx_ring = 512, .tx_ring = 512 };
	wire.port = port_dpdk_open(&device, &err);
	if (!wire.port) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	struct net_config net = { .address_count = 2 };
	if (address_parse_prefix(&net.addresses[0], argv[2]) || address_parse_prefix(&net.addresses[1], getenv("WIRE_IP6") ? getenv("WIRE_IP6") : "fd00::1/64"))
		return 2;
	wire.net = net_open(&net, wire.port, 0, on_udp, NULL, &err);
	if (argc == 9) {
		wire.count = strtoull(argv[5], NULL, 10);
		memcpy(wire.from.ip, net.addresses[0].ip, 16);
		wire.from.port = (uint16_t)atoi(argv[6]);
		address_parse_ip(&wire.to, argv[7]);
		wire.to.port = (uint16_t)atoi(argv[8]);
	}
	if (!wire.net || eal_launch(0, loop, NULL, &err)) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	printf("ready %02x:%02x:%02x:%02x:%02x:%02x\n", wire.port->mac[0], wire.port->mac[1], wire.port->mac[2], wire.port->mac[3],
	       wire.port->mac[4], wire.port->mac[5]);
	fflush(stdout);
	if (wire.count) {
		for (int i = 0; i < 150000 && wire.sent < wire.count; i++)
			usleep(1000);
		printf("sent %llu\n", (unsigned long long)wire.sent);
		fflush(stdout);
	}
	char line[100];
	while (fgets(line, sizeof line, stdin)) {	/* anything but stop asks for the counts so far */
		struct net_counters *c = net_counters(wire.net);
		if (strncmp(line, "stop", 4) == 0)
			break;
		printf("%llu %llu\n", (unsigned long long)counter_read(&c->frames_in), (unsigned long long)counter_read(&c->to_source));
		fflush(stdout);
	}
	wire.stop = true;
	eal_wait(0, -1, NULL);
	struct net_counters *c = net_counters(wire.net);
	struct port_stats stats;
	wire.port->ops->stats(wire.port, &stats);
	printf("{\"even\": %s, \"sent_udp\": %llu, \"rx\": %llu, \"nic_missed\": %llu, \"no_mbuf\": %llu, \"payload\": %llu",
	       counter_read(&c->frames_in) == net_account_out(c) ? "true" : "false", (unsigned long long)wire.sent,
	       (unsigned long long)stats.rx_frames, (unsigned long long)stats.nic_missed, (unsigned long long)stats.no_mbuf,
	       (unsigned long long)wire.bytes_sum);
	for (uint32_t i = 0; i < net_metric_count; i++)
		printf(", \"%s\": %llu", net_metrics[i].name,
		       (unsigned long long)counter_read((const struct counter *)((const char *)c + net_metrics[i].offset)));
	for (int i = 1; i < DROP_COUNT; i++)
		if (counter_read(&c->drops[i]))
			printf(", \"drop_%s\": %llu", drop_name[i], (unsigned long long)counter_read(&c->drops[i]));
	printf("}\n");
	fflush(stdout);
	port_close(wire.port);
	net_close(wire.net);
	eal_stop();
	return 0;
}
