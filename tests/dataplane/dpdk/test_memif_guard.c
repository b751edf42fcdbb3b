/* memif_guard: who waits, waits until every burst that is under way has ended. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <sys/mman.h>

#include "dataplane/dpdk/memif_guard.h"

static _Atomic int waited;

static void *
wait_once(void *arg)
{
	(void)arg;
	memif_guard_wait();
	atomic_store(&waited, 1);
	return NULL;
}

static void
test_waits_for_bursts(void **state)
{
	(void)state;
	struct memif_gate gates[3] = { 0 };
	pthread_t thread;
	for (int i = 0; i < 3; i++)
		assert_int_equal(memif_gate_register(&gates[i]), 0);
	memif_guard_wait();	/* nobody is in a burst */
	for (int turn = 0; turn < 3; turn++) {
		atomic_store(&waited, 0);
		memif_gate_enter(&gates[turn]);
		assert_int_equal(pthread_create(&thread, NULL, wait_once, NULL), 0);
		for (int i = 0; i < 1000; i++)
			assert_int_equal(atomic_load(&waited), 0);
		memif_gate_leave(&gates[turn]);
		assert_int_equal(pthread_join(thread, NULL), 0);
		assert_int_equal(atomic_load(&waited), 1);
	}
	memif_gate_remove(&gates[0]);
	memif_gate_enter(&gates[0]);
	memif_guard_wait();	/* no longer watched */
	memif_gate_remove(&gates[1]);
	memif_gate_remove(&gates[2]);
}

/* The driver's munmap is ours, and still unmaps. */
static void
test_munmap(void **state)
{
	(void)state;
	assert_true(memif_guard_works());
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned char resident;
	assert_ptr_not_equal(page, MAP_FAILED);
	memif_guard_keep(true);
	assert_int_equal(munmap(page, 4096), 0);
	assert_int_equal(mincore(page, 4096, &resident), 0);
	memif_guard_keep(false);
	assert_int_equal(munmap(page, 4096), 0);
	assert_int_equal(mincore(page, 4096, &resident), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_waits_for_bursts), cmocka_unit_test(test_munmap) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
