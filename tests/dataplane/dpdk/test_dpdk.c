/* Proves: EAL starts without huge pages, functions run on a data core and are waited for, and port_dpdk over DPDK's null, ring and
 * pcap devices brings the frames and counts that the device really has. Exit 77 where EAL cannot start. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "dataplane/dpdk/eal.h"
#include "dataplane/dpdk/port_dpdk.h"
#include "tests/dataplane/net/bench.h"

static struct bench b;
static uint8_t text[1500];

static void
open_port(struct port **port, const char *device)
{
	struct err err = { "" };
	struct port_dpdk_config config = { .name = "p0", .device = device, .lcores = 1, .rx_ring = 256, .tx_ring = 256 };
	*port = port_dpdk_open(&config, &err);
	if (!*port)
		fail_msg("%s", err.text);
}

static int
answer(void *context)
{
	return *(int *)context + 1;
}

static int
linger(void *context)
{
	while (!atomic_load((_Atomic bool *)context))
		usleep(100);
	return 7;
}

static void
functions_run_on_data_cores(void **state)
{
	(void)state;
	int value = 41, returned = 0;
	struct err err;
	assert_int_equal(eal_launch(0, answer, &value, &err), 0);
	assert_int_equal(eal_wait(0, 60000, &returned), 0);
	assert_int_equal(returned, 42);
	_Atomic bool stop = false;
	assert_int_equal(eal_launch(0, linger, &stop, &err), 0);
	assert_true(eal_launch(0, linger, &stop, &err) < 0);
	assert_true(eal_wait(0, 20, &returned) < 0);
	atomic_store(&stop, true);
	assert_int_equal(eal_wait(0, -1, &returned), 0);
	assert_int_equal(returned, 7);
	struct eal_config config = { .lcore_count = 1, .lcore_cpus = (uint32_t[]){ 0 } };
	assert_true(eal_start(&config, &err) < 0);	/* once in a process */
}

static void
null_device(void **state)
{
	(void)state;
	struct port *port;
	struct frame frames[PORT_BURST_MAX];
	open_port(&port, "net_null0,size=100");
	uint64_t got = 0;
	for (int i = 0; i < 1000; i++) {
		uint32_t n = port_rx(port, 0, frames, 32);
		got += n;
		for (uint32_t k = 0; k < n; k++)
			assert_int_equal(frames[k].len, 100);
		port_release(port, 0, frames, n);
	}
	assert_int_equal(got, 32000);
	struct port_stats stats;
	port->ops->stats(port, &stats);
	assert_int_equal(stats.rx_frames, 32000);
	/* all buffers come back */
	struct port_dpdk_info info;
	port_dpdk_info(port, &info);
	assert_int_equal(info.mbufs, info.mbufs_free);
	assert_int_equal(info.rx_queues, 1);
	uint32_t n = port_tx_room(port, 0, frames, 16);
	assert_int_equal(n, 16);
	for (uint32_t i = 0; i < n; i++)
		frames[i].len = i % 2 ? 60 : 0;
	assert_int_equal(port_tx(port, 0, frames, n), 8);
	port_dpdk_info(port, &info);
	assert_int_equal(info.mbufs, info.mbufs_free);
	port_close(port);
	open_port(&port, "net_null0,size=64");	/* and once more under the same name */
	port_close(port);
}

/* net_ring gives back what is sent: the frames of one net come in at another. */
static void
ring_device(void **state)
{
	(void)state;
	struct port *port;
	struct frame frames[PORT_BURST_MAX];
	open_port(&port, "net_ring0");
	memcpy(port->mac, bench_mac, 6);
	memset(&b, 0, sizeof b);
	struct net_config config = bench_config();
	struct net *net = net_open(&config, port, 0, bench_on_udp, &b, NULL);
	uint64_t payload = 0;
	for (int round = 0; round < 200; round++) {
		uint32_t n = port_tx_room(port, 0, frames, 8);
		assert_int_equal(n, 8);
		for (uint32_t i = 0; i < n; i++) {
			struct frame_udp udp = bench_udp(i % 2);
			frames[i].len = frame_udp_build(&udp, frames[i].bytes, frames[i].len, text, (uint32_t)round * 7);
			payload += (uint32_t)round * 7;
		}
		assert_int_equal(port_tx(port, 0, frames, n), n);
		n = port_rx(port, 0, frames, PORT_BURST_MAX);
		assert_int_equal(n, 8);
		net_input(net, frames, n, 1);
		port_release(port, 0, frames, n);
	}
	assert_int_equal(b.taken, 1600);
	assert_int_equal(counter_read(&net_counters(net)->bytes_to_source), payload);
	assert_int_equal(counter_read(&net_counters(net)->frames_in), net_account_out(net_counters(net)));
	net_close(net);
	struct port_dpdk_info info;
	port_dpdk_info(port, &info);
	assert_int_equal(info.mbufs, info.mbufs_free);
	port_close(port);
}

static void
play(struct port *port, struct net_counters *counters)
{
	struct net_config config = bench_config();
	struct frame frames[PORT_BURST_MAX];
	memset(&b, 0, sizeof b);
	struct net *net = net_open(&config, port, 0, bench_on_udp, &b, NULL);
	for (int quiet = 0; quiet < 100;) {
		uint32_t n = port_rx(port, 0, frames, PORT_BURST_MAX);
		net_input(net, frames, n, 1);
		port_release(port, 0, frames, n);
		quiet = n ? 0 : quiet + 1;
	}
	memcpy(counters, net_counters(net), sizeof *counters);
	net_close(net);
	port_close(port);
}

/* The same file through DPDK's pcap device and through port_pcap: the same account. */
static void
pcap_device_equals_port_pcap(void **state)
{
	(void)state;
	char path[] = "/tmp/test_dpdk_XXXXXX", device[128];
	static uint8_t frame[2000];
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	bench_open(&b);
	assert_int_equal(port_capture_start(b.port, fd, 0, NULL), 0);
	for (int i = 0; i < 300; i++) {
		struct frame_udp udp = bench_udp(i % 2);
		uint32_t len = frame_udp_build(&udp, frame, sizeof frame, text, (uint32_t)i * 4);
		if (i % 5 == 0)
			frame[i % len] ^= 0x10;
		bench_frame(&b, frame, i % 7 ? len : len - 3);
	}
	port_capture_stop(b.port, NULL, NULL);
	bench_close(&b);

	static struct net_counters one, two;
	play(port_pcap_open("p0", bench_mac, path, NULL, NULL), &one);
	uint32_t taken = b.taken;
	struct port *port;
	snprintf(device, sizeof device, "net_pcap0,rx_pcap=%s,tx_pcap=/dev/null", path);
	open_port(&port, device);
	memcpy(port->mac, bench_mac, 6);
	play(port, &two);
	assert_int_equal(b.taken, taken);
	assert_true(taken > 150);
	assert_true(counter_read(&two.frames_in) >= 300);
	assert_int_equal(counter_read(&one.frames_in), counter_read(&two.frames_in));
	for (int i = 0; i < DROP_COUNT; i++)
		assert_int_equal(counter_read(&one.drops[i]), counter_read(&two.drops[i]));
	unlink(path);
}

static void
wrong_devices_are_refused(void **state)
{
	(void)state;
	struct err err;
	struct port_dpdk_config config = { .name = "p9", .device = "eth0" };
	assert_null(port_dpdk_open(&config, &err));
	assert_non_null(strstr(err.text, "eth0"));
	config.device = "net_nosuch0";
	assert_null(port_dpdk_open(&config, &err));
	assert_non_null(strstr(err.text, "net_nosuch0"));
}

int
main(void)
{
	struct err err;
	struct eal_config config = { .lcore_count = 1, .lcore_cpus = (uint32_t[]){ 0 }, .no_huge = true, .memory_bytes = 128 << 20 };
	if (eal_start(&config, &err)) {
		fprintf(stderr, "skipped: %s\n", err.text);
		return 77;
	}
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(functions_run_on_data_cores), cmocka_unit_test(null_device), cmocka_unit_test(ring_device),
		cmocka_unit_test(pcap_device_equals_port_pcap), cmocka_unit_test(wrong_devices_are_refused),
	};
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	eal_stop();
	return rc;
}
