#include "dataplane/dpdk/memif_guard.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <rte_interrupts.h>

#define GATES_MAX 1024

static struct {
	pthread_mutex_t lock;
	uint32_t count;
	bool keep;
	struct memif_gate *gates[GATES_MAX];
} guard = { .lock = PTHREAD_MUTEX_INITIALIZER };

int
memif_gate_register(struct memif_gate *gate)
{
	int rc = -ENOSPC;
	pthread_mutex_lock(&guard.lock);
	if (guard.count < GATES_MAX) {
		guard.gates[guard.count++] = gate;
		gate->registered = true;
		rc = 0;
	}
	pthread_mutex_unlock(&guard.lock);
	return rc;
}

void
memif_gate_remove(struct memif_gate *gate)
{
	pthread_mutex_lock(&guard.lock);
	for (uint32_t i = 0; i < guard.count; i++)
		if (guard.gates[i] == gate) {
			guard.gates[i] = guard.gates[--guard.count];
			break;
		}
	gate->registered = false;
	pthread_mutex_unlock(&guard.lock);
}

void
memif_guard_wait(void)
{
	pthread_mutex_lock(&guard.lock);
	atomic_thread_fence(memory_order_seq_cst);
	for (uint32_t i = 0; i < guard.count; i++) {
		uint32_t turn = atomic_load_explicit(&guard.gates[i]->turn, memory_order_acquire);
		/* An lcore that was torn from its CPU in the middle of a burst may be away for long. */
		while ((turn & 1) && atomic_load_explicit(&guard.gates[i]->turn, memory_order_acquire) == turn)
			nanosleep(&(struct timespec){ 0, 20000 }, NULL);
	}
	pthread_mutex_unlock(&guard.lock);
}

bool
memif_guard_works(void)
{
	return dlsym(RTLD_DEFAULT, "munmap") == (void *)munmap;
}

void
memif_guard_keep(bool keep)
{
	guard.keep = keep;
}

/* In place of the C library's, for every part of this process; the difference is only there on EAL's interrupt thread. */
int
munmap(void *address, size_t bytes)
{
	if (guard.keep)
		return 0;
	if (guard.count && rte_thread_is_intr())
		memif_guard_wait();
	return (int)syscall(SYS_munmap, address, bytes);
}
