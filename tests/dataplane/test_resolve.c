/* Names of senders: what a name server says for good is kept; a server that cannot tell now is asked again after a minute, not before, and the name stands
 * from then on. The resolver and the clock are this file's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "dataplane/resolve.h"

static _Atomic int asked, answer;	/* what the server says: 0 a name, else the error */
static _Atomic time_t now = 1000;

int
__wrap_getnameinfo(const struct sockaddr *sa, socklen_t len, char *host, socklen_t host_len, char *service, socklen_t service_len, int flags)
{
	(void)sa, (void)len, (void)service, (void)service_len, (void)flags;
	int rc = atomic_load(&answer);
	if (!rc)
		snprintf(host, host_len, "web1.example");
	atomic_fetch_add(&asked, 1);
	return rc;
}

int
__wrap_clock_gettime(clockid_t id, struct timespec *t)
{
	(void)id;
	*t = (struct timespec){ .tv_sec = atomic_load(&now) };
	return 0;
}

static const struct resolved *
ask(const char *text)
{
	struct address a;
	assert_int_equal(address_parse_ip(&a, text), 0);
	return resolve_name(&a);
}

/* Asks until what is known has that text. */
static void
wait_for(const char *of, const char *text)
{
	const struct resolved *r;
	while (!(r = ask(of)) || r->len != strlen(text) || memcmp(r->name, text, r->len) != 0)
		sched_yield();
}

static void
test_kept(void **state)
{
	(void)state;
	atomic_store(&answer, 0);
	wait_for("192.0.2.1", "web1.example");
	int before = atomic_load(&asked);
	const struct resolved *r = ask("192.0.2.1");
	atomic_fetch_add(&now, 100000);
	assert_ptr_equal(ask("192.0.2.1"), r);
	wait_for("192.0.2.2", "web1.example");	/* behind any further question */
	assert_int_equal(atomic_load(&asked), before + 1);
}

static void
test_asked_again(void **state)
{
	(void)state;
	atomic_store(&answer, EAI_AGAIN);
	wait_for("192.0.2.3", "192.0.2.3");
	const struct resolved *old = ask("192.0.2.3");
	int before = atomic_load(&asked);
	atomic_fetch_add(&now, 50);
	for (int i = 0; i < 1000; i++)
		assert_ptr_equal(ask("192.0.2.3"), old);
	wait_for("192.0.2.4", "192.0.2.4");
	assert_int_equal(atomic_load(&asked), before + 1);
	/* It still cannot tell: one question a minute. */
	atomic_fetch_add(&now, 20);
	while (atomic_load(&asked) < before + 2)
		assert_ptr_equal(ask("192.0.2.3"), old);
	wait_for("192.0.2.5", "192.0.2.5");
	assert_int_equal(atomic_load(&asked), before + 3);
	assert_ptr_equal(ask("192.0.2.3"), old);
	atomic_store(&answer, 0);
	atomic_fetch_add(&now, 70);
	wait_for("192.0.2.3", "web1.example");
	assert_memory_equal(old->name, "192.0.2.3", 9);	/* events under way point to it */
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_kept), cmocka_unit_test(test_asked_again) };
	assert_int_equal(resolve_start(), 0);
	int rc = cmocka_run_group_tests_name("resolve", tests, NULL, NULL);
	resolve_stop();
	return rc;
}
