/* kernel_listen over loopback: datagrams one by one, and (penstock.gro) as runs that the kernel hands over whole; the account in datagrams
 * either way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dataplane/listen/kernel_listen.h"

struct fake {
	uint32_t count, lens[256];
	uint8_t first[256];
};

static void
fake_on_datagram(void *source, const struct datagram *dg)
{
	struct fake *fake = source;
	if (fake->count < 256) {
		fake->lens[fake->count] = dg->len;
		fake->first[fake->count] = dg->bytes[0];
	}
	fake->count++;
}

static const struct source_ops fake_ops = { .name = "fake", .on_datagram = fake_on_datagram };

struct rig {
	struct fake fake;
	struct clock_manual clock;
	struct ingress ingress;
	struct pipeline_source spec;
	struct ingress_source in;
	struct kernel_listen listen;
	int sender;
};

static void
rig_open(struct rig *rig, bool gro, bool allow)
{
	memset(rig, 0, sizeof *rig);
	clock_manual_init(&rig->clock, 1, 1);
	rig->ingress.clock = &rig->clock.clock;
	rig->spec = (struct pipeline_source){ .name = "r1", .ops = &fake_ops };
	rig->in = (struct ingress_source){ .ingress = &rig->ingress, .spec = &rig->spec, .self = &rig->fake };
	const char *prefix = "192.0.2.0/24";
	struct source_listen where = { .host = "127.0.0.1", .datagram = true, .gro = gro };
	if (!allow)
		where.allow = (struct option_list){ .items = &prefix, .count = 1 };
	struct err err = { "" };
	assert_int_equal(kernel_listen_buffers_init(), 0);
	assert_int_equal(kernel_listen_open(&rig->listen, &where, &rig->in, &err), 0);
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(rig->listen.at.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	rig->sender = socket(AF_INET, SOCK_DGRAM, 0);
	assert_int_equal(connect(rig->sender, (struct sockaddr *)&to, sizeof to), 0);
}

static void
rig_close(struct rig *rig)
{
	kernel_listen_close(&rig->listen);
	close(rig->sender);
}

/* Takes datagrams until there are so many, waiting a minute at most for the next. */
static void
take(struct rig *rig, uint64_t datagrams)
{
	struct pollfd fd = { .fd = rig->listen.fd, .events = POLLIN };
	while (counter_read(&rig->listen.counters.datagrams_in) < datagrams) {
		assert_int_equal(poll(&fd, 1, 60000), 1);
		kernel_listen_receive(&rig->listen);
	}
}

/* `bytes` in datagrams of `segment` bytes, the last one what is left, in one call. False: a kernel that cannot. */
static bool
send_run(int fd, const uint8_t *bytes, size_t len, uint16_t segment)
{
	union {
		struct cmsghdr header;
		uint8_t bytes[CMSG_SPACE(sizeof(uint16_t))];
	} control = { { 0 } };
	struct iovec part = { (void *)(uintptr_t)bytes, len };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
	struct cmsghdr *c = CMSG_FIRSTHDR(&message);
	c->cmsg_level = IPPROTO_UDP;
	c->cmsg_type = UDP_SEGMENT;
	c->cmsg_len = CMSG_LEN(sizeof segment);
	memcpy(CMSG_DATA(c), &segment, sizeof segment);
	return sendmsg(fd, &message, 0) == (ssize_t)len;
}

static void
run_of_datagrams(bool gro)
{
	struct rig rig;
	uint8_t bytes[50 * 100 + 30];
	rig_open(&rig, gro, true);
	for (uint32_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)(i / 100);
	if (!send_run(rig.sender, bytes, sizeof bytes, 100))
		skip();
	take(&rig, 51);
	assert_int_equal(send(rig.sender, "", 0, 0), 0);
	assert_int_equal(send(rig.sender, "xy", 2, 0), 2);
	take(&rig, 53);
	assert_int_equal(rig.fake.count, 53);
	for (uint32_t i = 0; i < 51; i++) {
		assert_int_equal(rig.fake.lens[i], i < 50 ? 100 : 30);
		assert_int_equal(rig.fake.first[i], i);
	}
	assert_int_equal(rig.fake.lens[51], 0);
	assert_int_equal(rig.fake.lens[52], 2);
	assert_int_equal(counter_read(&rig.listen.counters.to_source), 53);
	assert_int_equal(counter_read(&rig.listen.counters.bytes_in), sizeof bytes + 2);
	rig_close(&rig);
}

static void
test_one_by_one(void **state)
{
	(void)state;
	run_of_datagrams(false);
}

static void
test_gro(void **state)
{
	(void)state;
	run_of_datagrams(true);
}

static void
test_senders_not_allowed(void **state)
{
	(void)state;
	struct rig rig;
	uint8_t bytes[700] = { 0 };
	rig_open(&rig, true, false);
	if (!send_run(rig.sender, bytes, sizeof bytes, 100))
		skip();
	take(&rig, 7);
	assert_int_equal(rig.fake.count, 0);
	assert_int_equal(counter_read(&rig.listen.counters.drop_sender_not_allowed), 7);
	rig_close(&rig);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_one_by_one), cmocka_unit_test(test_gro), cmocka_unit_test(test_senders_not_allowed) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
