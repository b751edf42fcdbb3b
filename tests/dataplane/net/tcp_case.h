/* What the tests of TCP share: a fresh peer for each, and short words for what it is to find. */
#ifndef PENSTOCK_TESTS_DATAPLANE_NET_TCP_CASE_H
#define PENSTOCK_TESTS_DATAPLANE_NET_TCP_CASE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <errno.h>

#include "tests/dataplane/net/tcp_peer.h"

static const struct tcp_config plain = { .secret = { 1, 2 } };

static int
setup(void **state)
{
	(void)state;
	peer_open(&plain);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	peer_close();
	return 0;
}

#define NOTHING() assert_false(peer_take())
#define ACKED(offset)                                                                                                                       \
	do {                                                                                                                                \
		assert_true(peer_take());                                                                                                   \
		assert_int_equal(P.flags, TCP_ACK);                                                                                         \
		assert_int_equal(P.s_ack - peer_first, offset);                                                                             \
	} while (0)
#define DROPPED(call, drop_) assert_string_equal(drop_name[call], drop_name[drop_])
#define COUNT(field) counter_read(&tcp_counters(P.tcp)->field)

#endif
