/* What a listener of kernel sockets is told: senders allowed on one port of multiport, and that ack = durable is refused there by name. What its connections are
 * promised stands in tests/conformance/stream_conformance.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dataplane/listen/kernel_stream.h"
#include "tests/lib/stream_rig.h"

static void
test_port_allow(void **state)
{
	(void)state;
	struct stream_rig rig;
	struct err err = { "" };
	struct source_listen listen;
	struct address_prefix *allow;
	uint32_t count;
	stream_rig_open(&rig, &source_multiport_syslogtcp, "ports=5140 host=127.0.0.1 penstock.allow=192.0.2.0/24 penstock.allow.port.5140=10.0.0.0/8,2001:db8::/32",
			1795245136u, 16);
	assert_int_equal(source_multiport_syslogtcp.listens(rig.config, &listen, 1), 1);
	assert_int_equal(source_listen_allow(&listen, "r1", &allow, &count, &err), 0);
	assert_int_equal(count, 2);
	struct address inside, outside;
	assert_int_equal(address_parse_ip(&inside, "10.9.9.9") | address_parse_ip(&outside, "192.0.2.9"), 0);
	assert_true(address_in_prefixes(&inside, allow, count));
	assert_false(address_in_prefixes(&outside, allow, count));
	free(allow);
	listen.port_allow = " 10.0.0.0/8 nonsense";
	assert_int_equal(source_listen_allow(&listen, "r1", &allow, &count, &err), -EINVAL);
	assert_non_null(strstr(err.text, "penstock.allow.port.5140: \"nonsense\""));
	listen.port_allow = " ";
	assert_int_equal(source_listen_allow(&listen, "r1", &allow, &count, &err), -EINVAL);
	stream_rig_close(&rig);
}

static void
test_durable_refused(void **state)
{
	(void)state;
	struct stream_rig rig;
	struct kernel_streams ks;
	struct err err = { "" };
	struct source_listen listen;
	stream_rig_open(&rig, &source_syslogtcp, "port=5140 host=127.0.0.1 ack=durable", 1795245136u, 16);
	kernel_streams_open(&ks, &rig.ingress, &err);
	source_syslogtcp.listens(rig.config, &listen, 1);
	assert_int_equal(kernel_streams_listen(&ks, &listen, &rig.ingress.sources[0], &err), -EINVAL);
	assert_non_null(strstr(err.text, "sources.r1: ack = durable"));
	kernel_streams_close(&ks);
	stream_rig_close(&rig);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_port_allow), cmocka_unit_test(test_durable_refused),
	};
	return cmocka_run_group_tests_name("kernel_stream", tests, NULL, NULL);
}
