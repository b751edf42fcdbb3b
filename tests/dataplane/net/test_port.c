/* Proves: port_pcap gives what port_mem gives, and a capture holds exactly the frames that went through, or counts the lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/dataplane/net/bench.h"

static char path[64] = "/tmp/test_port_XXXXXX";
static uint8_t frame[2000], text[1500];

static void
capture_and_replay(void **state)
{
	(void)state;
	static struct bench b;
	bench_open(&b);
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(port_capture_start(b.port, fd, 0, NULL), 0);
	assert_true(port_capture_start(b.port, fd, 0, NULL) < 0);
	uint64_t written, lost;
	for (int i = 0; i < 500; i++) {
		struct frame_udp udp = bench_udp(i % 3 != 0);
		udp.to.port = i % 10 ? 514 : 9;		/* every tenth is answered */
		bench_frame(&b, frame, frame_udp_build(&udp, frame, sizeof frame, text, (uint32_t)i));
		assert_true(port_capture_step(b.port));
	}
	port_capture_stop(b.port, &written, &lost);
	assert_int_equal(written, 550);
	assert_int_equal(lost, 0);

	struct err err;
	struct port *pcap = port_pcap_open("p1", bench_mac, path, NULL, &err);
	assert_non_null(pcap);
	static struct bench again;
	struct net_config config = bench_config();
	memset(&again, 0, sizeof again);
	again.port = pcap;
	again.net = net_open(&config, pcap, 0, bench_on_udp, &again, NULL);
	bench_turn(&again);
	assert_true(pcap->ended);
	assert_int_equal(again.taken, b.taken);
	assert_int_equal(again.bytes_sum, b.bytes_sum);
	struct port_stats stats;
	pcap->ops->stats(pcap, &stats);
	assert_int_equal(stats.rx_frames, 550);
	assert_int_equal(bench_drops(&again, DROP_NO_LISTENER), 50);
	assert_int_equal(bench_drops(&again, DROP_NOT_FOR_US), 50);	/* our answers, heard back: the peer's MAC */
	unlink(path);
	bench_close(&again);
	bench_close(&b);
}

static void
slow_capture_loses_copies_not_frames(void **state)
{
	(void)state;
	static struct bench b;
	uint64_t written, lost;
	bench_open(&b);
	int fd = mkstemp(strcpy(path, "/tmp/test_port_XXXXXX"));
	assert_int_equal(port_capture_start(b.port, fd, 0, NULL), 0);
	struct frame_udp udp = bench_udp(true);
	uint32_t len = frame_udp_build(&udp, frame, sizeof frame, text, 100);
	for (int i = 0; i < 3000; i++)
		bench_frame(&b, frame, len);
	assert_int_equal(b.taken, 3000);
	port_capture_stop(b.port, &written, &lost);
	assert_int_equal(written, 1024);
	assert_int_equal(lost, 3000 - 1024);
	unlink(path);
	/* and again, with a count */
	fd = mkstemp(strcpy(path, "/tmp/test_port_XXXXXX"));
	assert_int_equal(port_capture_start(b.port, fd, 10, NULL), 0);
	for (int i = 0; i < 20; i++)
		bench_frame(&b, frame, len);
	assert_false(port_capture_step(b.port));
	port_capture_stop(b.port, &written, &lost);
	assert_int_equal(written, 10);
	unlink(path);
	bench_close(&b);
}

static void
no_pcap_is_refused(void **state)
{
	(void)state;
	struct err err;
	assert_null(port_pcap_open("p", bench_mac, "/nowhere/x", NULL, &err));
	assert_non_null(strstr(err.text, "/nowhere/x"));
	assert_null(port_pcap_open("p", bench_mac, "/proc/self/cmdline", NULL, &err));
	assert_non_null(strstr(err.text, "no pcap file"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(capture_and_replay), cmocka_unit_test(slow_capture_loses_copies_not_frames), cmocka_unit_test(no_pcap_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
