/* appliance: cores, binds, ports and addresses, each mistake told; where the control socket stands. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "ctrlplane/appliance.h"

struct told {
	struct option_report report;
	char text[4096];
};

static void
told_tell(struct option_report *report, bool fatal, const char *origin, const char *key, const char *text)
{
	struct told *told = (struct told *)report;
	size_t n = strlen(told->text);
	snprintf(told->text + n, sizeof told->text - n, "%s %s %s: %s\n", fatal ? "E" : "W", origin ? origin : "-", key, text);
}

static void
test_cores(void **state)
{
	(void)state;
	static const struct { const char *text; int count, last; } table[] = {
		{ "2-5", 4, 5 }, { "1", 1, 1 }, { "3,1,3", 2, 3 }, { "0-1, 7", 3, 7 }, { "", -1, 0 }, { "5-2", -1, 0 }, { "a", -1, 0 }, { "1-", -1, 0 }, { "1024", -1, 0 },
		{ "-1", -1, 0 }, { "1;2", -1, 0 }, { "99999999999999999999", -1, 0 },
	};
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		struct appliance_cores cores;
		int rc = appliance_cores_parse(&cores, table[i].text);
		assert_int_equal(rc, table[i].count < 0 ? -22 : 0);
		if (rc == 0) {
			assert_int_equal(cores.count, table[i].count);
			assert_int_equal(cores.ids[cores.count - 1], table[i].last);
		}
	}
}

static void
test_binds(void **state)
{
	(void)state;
	static const struct { const char *text; int port; bool v4, any; } table[] = {
		{ "127.0.0.1:41414", 41414, true, false }, { "[::1]:80", 80, false, false }, { ":80", 80, true, true }, { "localhost:1", 1, true, false },
		{ "[::]:9", 9, false, true }, { "127.0.0.1", -1 }, { "::1:80", -1 }, { "127.0.0.1:65536", -1 }, { "127.0.0.1:-1", -1 }, { "[::1:80", -1 }, { "x:80", -1 },
		{ "127.0.0.1:", -1 },
	};
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		struct address address;
		int rc = appliance_bind_parse(&address, table[i].text);
		assert_int_equal(rc, table[i].port < 0 ? -22 : 0);
		if (rc == 0) {
			assert_int_equal(address.port, table[i].port);
			assert_int_equal(address_is_v4(&address), table[i].v4);
			assert_int_equal(address_is_any(&address), table[i].any);
		}
	}
}

static void
test_ports(void **state)
{
	(void)state;
	static struct appliance appliance;
	struct told told = { .report.tell = told_tell };
	struct property props[] = {
		{ "lcores", "2-3", "f:1" }, { "ports", "p0 p1", "f:2" }, { "ports.p0.device", "net_memif0,role=server", "f:3" },
		{ "ports.p0.addresses", "192.0.2.10/24 2001:db8::10/64", "f:4" }, { "ports.p0.gateway", "192.0.2.1", "f:5" }, { "ports.p0.vlan", "7", "f:6" },
		{ "ports.p0.groups", "239.1.2.3 ff15::7", "f:16" },
		{ "ports.p1.device", "0000:3b:00.0", "f:7" }, { "ports.p1.addresses", "198.51.100.1/32", "f:8" }, { "memory", "1g", "f:9" }, { "idle", "sleep", "f:10" },
	};
	assert_int_equal(appliance_parse(&appliance, props, sizeof props / sizeof *props, &told.report), 0);
	assert_string_equal(told.text, "");
	assert_int_equal(appliance.port_count, 2);
	assert_string_equal(appliance.ports[0].name, "p0");
	assert_int_equal(appliance.ports[0].address_count, 2);
	assert_int_equal(appliance.ports[0].addresses[0].bits, 24);
	assert_int_equal(appliance.ports[0].addresses[1].bits, 64);
	assert_int_equal(appliance.ports[0].gateway_count, 1);
	assert_int_equal(appliance.ports[0].group_count, 2);
	assert_int_equal(appliance.ports[0].options.vlan, 7);
	assert_int_equal(appliance.ports[1].options.mtu, 1500);
	assert_int_equal(appliance.options.memory_bytes, 1 << 30);
	assert_int_equal(appliance.options.idle, IDLE_SLEEP);
	for (size_t i = 0; i < sizeof props / sizeof *props; i++)
		assert_true(props[i].used);
	appliance_free(&appliance);
}

static void
test_mistakes(void **state)
{
	(void)state;
	static struct appliance appliance;
	struct told told = { .report.tell = told_tell };
	struct property props[] = {
		{ "lcores", "2-", "f:1" }, { "control.cores", "x", "f:2" }, { "ports", "p0 p0 a.b p1", "f:3" }, { "ports.p0.addresses", "192.0.2.10 192.0.2.0/33 ::/0", "f:4" },
		{ "ports.p0.gateway", "192.0.2.1 192.0.2.2 x", "f:5" }, { "ports.p1.device", "d", "f:6" }, { "ports.p1.mtu", "70000", "f:7" },
		{ "ports.p1.groups", "192.0.2.9", "f:17" }, { "metrics.bind", "80", "f:8" },
		{ "user", "no such user", "f:9" }, { "camus.x.conf", "f", "f:10" },
	};
	assert_int_equal(appliance_parse(&appliance, props, sizeof props / sizeof *props, &told.report), -22);
	static const char *const wanted[] = {
		"E f:1 lcores: '2-' is no list of cores", "E f:2 control.cores: 'x' is no list", "E f:3 ports: 'p0' stands twice", "E f:3 ports: 'a.b' is no name",
		"E f:3 ports.p0.device: is required and not set", "E f:4 ports.p0.addresses: '192.0.2.10' is no address with prefix", "'192.0.2.0/33'", "'::/0'",
		"E f:5 ports.p0.gateway: '192.0.2.2' is a second gateway", "E f:5 ports.p0.gateway: 'x' is no address", "E f:3 ports.p1.addresses: is required",
		"E f:7 ports.p1.mtu: '70000' cannot be used: write a whole number from 576 to 9216", "E f:8 metrics.bind: '80' is no ADDRESS:PORT",
		"E f:9 user: there is no user", "E f:17 ports.p1.groups: '192.0.2.9' is no multicast address", "E f:10 camus.x.schedule: is required and not set",
	};
	for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
		if (!strstr(told.text, wanted[i]))
			fail_msg("not told: %s\nbut:\n%s", wanted[i], told.text);
	}
	appliance_free(&appliance);
	struct property overlap[] = { { "lcores", "2-3", "f:1" }, { "control.cores", "0-2", "f:2" } };
	told.text[0] = '\0';
	assert_int_equal(appliance_parse(&appliance, overlap, 2, &told.report), -22);
	assert_string_equal(told.text, "E f:2 control.cores: core 2 is an lcore too: take it out of one of the two\n");
	appliance_free(&appliance);
	struct property no_cores[] = { { "ports", "p0", "f:1" }, { "ports.p0.device", "d", "f:2" }, { "ports.p0.addresses", "192.0.2.1/24", "f:3" } };
	told.text[0] = '\0';
	assert_int_equal(appliance_parse(&appliance, no_cores, 3, &told.report), -22);
	assert_string_equal(told.text, "E f:1 ports: ports need data cores: set penstock.lcores, for example 1\n");
	appliance_free(&appliance);
}

static void
test_socket_path(void **state)
{
	(void)state;
	static struct appliance appliance;
	char path[256];
	setenv("XDG_RUNTIME_DIR", "/run/user/9", 1);
	setenv("HOME", "/home/x", 1);
	assert_int_equal(appliance_socket_path(&appliance, "a1", path, sizeof path), 0);
	assert_string_equal(path, geteuid() == 0 ? "/run/penstock/a1.sock" : "/run/user/9/penstock/a1.sock");
	unsetenv("XDG_RUNTIME_DIR");
	assert_int_equal(appliance_socket_path(&appliance, "a1", path, sizeof path), 0);
	assert_string_equal(path, geteuid() == 0 ? "/run/penstock/a1.sock" : "/home/x/.penstock/a1.sock");
	appliance.options.control_socket = "/tmp/s";
	assert_int_equal(appliance_socket_path(&appliance, "a1", path, sizeof path), 0);
	assert_string_equal(path, "/tmp/s");
	assert_int_equal(appliance_socket_path(&appliance, "a1", path, 3), -36);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cores), cmocka_unit_test(test_binds), cmocka_unit_test(test_ports), cmocka_unit_test(test_mistakes), cmocka_unit_test(test_socket_path),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
