/* Proves: the conformance body of streams (tests/conformance/stream_conformance.c) holds over kernel sockets, over the lcore's TCP with ack = received,
 * and over the lcore's TCP with ack = durable (stream_carriers.h): the same sources, the same promises. With TLS: test_stream_tls.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <malloc.h>
#include <string.h>

#include "tests/dataplane/stream_carriers.h"

static void
test_kernel(void **state)
{
	(void)state;
	stream_conformance(&kernel_case);
}

/* A sender of netcat that wants no answers may have more lines under way than answers would have room. Both carriers. */
static void
test_netcat_silent(void **state)
{
	(void)state;
	enum { LINES = 20000 };
	static char bytes[LINES * 8 + 1];
	struct stream_case *const carriers[] = { &kernel_case, &lcore_case };
	for (int i = 0; i < LINES; i++)
		snprintf(bytes + 8 * i, 9, "%07d\n", i);
	for (int which = 0; which < 2; which++) {
		struct stream_case *c = carriers[which];
		lcore_case.durable = false;
		c->open(c, &source_netcat, "ack-every-event=false");
		int client = c->dial(c);
		size_t sent = 0;
		for (int n = 0; n < 2000; n++) {
			if (sent < LINES * 8 && n > 5) {
				ssize_t took = c->send(c, client, bytes + sent, LINES * 8 - sent);
				assert_true(took >= 0);
				sent += (size_t)took;
			}
			c->turn(c, n > 300, NS_PER_MS);		/* nothing is stored for a while */
		}
		assert_int_equal(sent, LINES * 8);
		const char *stored = rig_stored(&c->rig);
		assert_int_equal(strlen(stored), LINES * 8);	/* cmocka's own message would be too long */
		assert_true(strcmp(stored, bytes) == 0);
		assert_int_equal(counter_read(&c->counters(c)->open), 1);
		c->drop(c, client);
		c->close(c);
	}
}

/* Bytes of the heap in use; 0 under a sanitizer's. */
static size_t
in_use(void)
{
	struct mallinfo2 info = mallinfo2();
	return info.uordblks + info.hblkhd;
}

/* What a connection held while the channel was full it gives back when it is quiet. */
static void
test_kernel_buffers(void **state)
{
	(void)state;
	enum { SENDERS = 8, EACH = 2 << 20, LINE = 100 };
	char line[LINE + 1];
	int clients[SENDERS];
	size_t sent[SENDERS] = { 0 }, all = 0;
	snprintf(line, sizeof line, "<13>%095d\n", 7);
	kernel_case.open(&kernel_case, &source_syslogtcp, "");
	for (int i = 0; i < SENDERS; i++)
		clients[i] = kernel_case.dial(&kernel_case);
	for (int n = 0; n < 20; n++)
		kernel_case.turn(&kernel_case, true, NS_PER_MS);
	size_t quiet = in_use();
	for (int n = 0; n < 3000 && (n < 500 || all < SENDERS * (size_t)EACH); n++) {
		for (int i = 0; i < SENDERS; i++)
			while (sent[i] < EACH) {
				ssize_t took = kernel_case.send(&kernel_case, clients[i], line + sent[i] % LINE, LINE - sent[i] % LINE);
				if (took <= 0)
					break;
				sent[i] += (size_t)took;
				all += (size_t)took;
			}
		kernel_case.turn(&kernel_case, n > 400, NS_PER_MS);	/* nobody writes for a while: the channel is full */
		if (n == 400 && quiet)
			assert_true(in_use() > quiet + SENDERS * 65536);
		if (n > 400)
			rig_stored(&kernel_case.rig);
	}
	for (int n = 0; n < 400; n++) {
		kernel_case.turn(&kernel_case, true, 10 * NS_PER_MS);
		rig_stored(&kernel_case.rig);
	}
	assert_int_equal(counter_read(&kernel_case.counters(&kernel_case)->bytes_in), all);
	size_t again = in_use();
	for (int i = 0; i < SENDERS; i++)
		kernel_case.cut(&kernel_case, clients[i]);
	for (int n = 0; n < 20; n++)
		kernel_case.turn(&kernel_case, true, NS_PER_MS);
	assert_true(again - in_use() <= SENDERS * 4096);
	/* Nor does it wake more often for ever because files were once used up. */
	kernel_side.ks.refused_until_ns = kernel_case.rig.clock.now + 100 * NS_PER_MS;
	assert_int_equal(kernel_streams_wait_ms(&kernel_side.ks, 1000), 50);
	kernel_case.turn(&kernel_case, true, 200 * NS_PER_MS);
	assert_int_equal(kernel_streams_wait_ms(&kernel_side.ks, 1000), 1000);
	kernel_case.close(&kernel_case);
}

static void
test_lcore_received(void **state)
{
	(void)state;
	lcore_case.durable = false;
	stream_conformance(&lcore_case);
}

static void
test_lcore_durable(void **state)
{
	(void)state;
	lcore_case.durable = true;
	stream_conformance(&lcore_case);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kernel), cmocka_unit_test(test_lcore_received), cmocka_unit_test(test_lcore_durable),
		cmocka_unit_test(test_kernel_buffers), cmocka_unit_test(test_netcat_silent),
	};
	return cmocka_run_group_tests_name("stream_carriers", tests, NULL, NULL);
}
