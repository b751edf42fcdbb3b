#include "dataplane/dpdk/eal.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <rte_alarm.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_log.h>

#include "base/log.h"
#include "dataplane/dpdk/memif_guard.h"

#define MEMORY_BYTES_DEFAULT (UINT64_C(256) << 20)

struct interrupt_call {
	void (*fn)(void *context);	/* may be NULL */
	void *context;
	_Atomic bool done;
};

/* One data core: DPDK's lcore i + 1 (0 is main). */
struct data_core {
	bool busy;
	bool done;		/* under the lock */
	int returned;
	int (*fn)(void *context);
	void *context;
};

static struct {
	bool started, huge;
	uint32_t cores;
	struct data_core core[EAL_LCORES_MAX];
	pthread_mutex_t lock;
	pthread_cond_t returned;
} eal = { .lock = PTHREAD_MUTEX_INITIALIZER };

uint64_t
eal_huge_free_bytes(uint64_t page_bytes)
{
	uint64_t bytes = 0;
	DIR *dir = opendir("/sys/kernel/mm/hugepages");
	if (!dir)
		return 0;
	for (struct dirent *entry; (entry = readdir(dir));) {
		unsigned long long kilobytes, pages = 0;
		char path[512];
		if (sscanf(entry->d_name, "hugepages-%llukB", &kilobytes) != 1 || (page_bytes && kilobytes * 1024 != page_bytes))
			continue;
		snprintf(path, sizeof path, "/sys/kernel/mm/hugepages/%s/free_hugepages", entry->d_name);
		FILE *file = fopen(path, "r");
		if (!file)
			continue;
		if (fscanf(file, "%llu", &pages) == 1)
			bytes += (uint64_t)pages * kilobytes * 1024;
		fclose(file);
	}
	closedir(dir);
	return bytes;
}

bool
eal_has_huge_pages(void)
{
	return eal.huge;
}

/* "0@(1,3),1@0": lcore 0 is this (control) thread on the CPUs that are no data cores, lcores 1.. the data cores. */
static int
lcores_text(const struct eal_config *config, char *text, size_t room, struct err *err)
{
	cpu_set_t allowed, control;
	if (sched_getaffinity(0, sizeof allowed, &allowed))
		return err_set(err, errno, "cannot ask which CPUs are allowed: %s", strerror(errno));
	control = allowed;
	for (uint32_t i = 0; i < config->lcore_count; i++) {
		uint32_t cpu = config->lcore_cpus[i];
		if (cpu >= CPU_SETSIZE || !CPU_ISSET(cpu, &allowed))
			return err_set(err, EINVAL, "penstock.lcores: CPU %u is not there or not allowed to this process", cpu);
		for (uint32_t k = 0; k < i; k++)
			if (config->lcore_cpus[k] == cpu)
				return err_set(err, EINVAL, "penstock.lcores: CPU %u is named twice", cpu);
		CPU_CLR(cpu, &control);
	}
	if (CPU_COUNT(&control) == 0)
		control = allowed;
	size_t used = (size_t)snprintf(text, room, "0@(");
	bool first = true;
	for (uint32_t cpu = 0; cpu < CPU_SETSIZE && used < room; cpu++)
		if (CPU_ISSET(cpu, &control)) {
			used += (size_t)snprintf(text + used, room - used, "%s%u", first ? "" : ",", cpu);
			first = false;
		}
	if (used < room)
		used += (size_t)snprintf(text + used, room - used, ")");
	for (uint32_t i = 0; i < config->lcore_count && used < room; i++)
		used += (size_t)snprintf(text + used, room - used, ",%u@%u", i + 1, config->lcore_cpus[i]);
	return used < room ? 0 : err_set(err, E2BIG, "penstock.lcores: too many CPUs");
}

int
eal_start(const struct eal_config *config, struct err *err)
{
	if (eal.started)
		return err_set(err, EALREADY, "DPDK runs already in this process");
	if (config->lcore_count == 0 || config->lcore_count > EAL_LCORES_MAX)
		return err_set(err, EINVAL, "penstock.lcores: 1 to %d CPUs, not %u", EAL_LCORES_MAX, config->lcore_count);
	static char lcores[8192], prefix[128], memory[32];
	int rc = lcores_text(config, lcores, sizeof lcores, err);
	if (rc)
		return rc;
	uint64_t bytes = config->memory_bytes ? config->memory_bytes : MEMORY_BYTES_DEFAULT, free_bytes = eal_huge_free_bytes(0);
	eal.huge = !config->no_huge && free_bytes >= bytes;
	if (!eal.huge && !config->no_huge)
		log_warn("only %llu MiB of huge pages are free, %llu are wanted: running without them, slower. Remedy: echo %llu > "
			 "/proc/sys/vm/nr_hugepages", (unsigned long long)(free_bytes >> 20), (unsigned long long)(bytes >> 20),
			 (unsigned long long)((bytes >> 21) + 8));
	if (config->file_prefix)
		snprintf(prefix, sizeof prefix, "--file-prefix=%s", config->file_prefix);
	else
		snprintf(prefix, sizeof prefix, "--file-prefix=penstock-%d", (int)getpid());
	snprintf(memory, sizeof memory, "%llu", (unsigned long long)(bytes >> 20 ? bytes >> 20 : 1));

	uint32_t room = 24 + 2 * (config->pci_count + config->vdev_count), n = 0;
	char **args = calloc(room, sizeof *args), **kept = calloc(room, sizeof *kept);
	if (!args || !kept) {
		free(args);
		free(kept);
		return err_set(err, ENOMEM, "no memory");
	}
	const char *fixed[] = { "penstock", "--lcores", lcores, prefix, "-m", memory, "--no-telemetry", NULL };
	for (uint32_t i = 0; fixed[i]; i++)
		args[n++] = strdup(fixed[i]);
	args[n++] = strdup(eal.huge ? "--in-memory" : "--no-huge");	/* the two exclude each other */
	if (eal.huge)
		args[n++] = strdup("--single-file-segments");	/* a vhost-user peer is handed few files, not one a page */
	if (config->pci_count == 0)
		args[n++] = strdup("--no-pci");
	for (uint32_t i = 0; i < config->pci_count; i++) {
		args[n++] = strdup("-a");
		args[n++] = strdup(config->pci[i]);
	}
	for (uint32_t i = 0; i < config->vdev_count; i++) {
		args[n++] = strdup("--vdev");
		args[n++] = strdup(config->vdevs[i]);
	}
	if (!config->verbose) {
		args[n++] = strdup("--log-level=*:error");
		args[n++] = strdup("--log-level=lib.eal:critical");
	}
	memcpy(kept, args, n * sizeof *args);	/* getopt in there moves the pointers about */
	rte_openlog_stream(stderr);
	rc = rte_eal_init((int)n, args);
	int errnum = rte_errno;
	for (uint32_t i = 0; i < n; i++)
		free(kept[i]);
	free(args);
	free(kept);
	if (rc < 0)
		return err_set(err, errnum > 0 ? errnum : EIO, "DPDK does not start: %s. Remedy: run as root (or with CAP_SYS_ADMIN, CAP_NET_ADMIN "
			       "and CAP_IPC_LOCK), or take the ports out: sources over kernel sockets need no DPDK", rte_strerror(errnum));
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&eal.returned, &attr);
	pthread_condattr_destroy(&attr);
	eal.cores = config->lcore_count;
	eal.started = true;
	return 0;
}

static void
interrupt_call(void *context)
{
	struct interrupt_call *call = context;
	if (call->fn)
		call->fn(call->context);
	atomic_store(&call->done, true);
}

int
eal_interrupt_call(void (*fn)(void *context), void *context)
{
	struct interrupt_call call = { .fn = fn, .context = context };
	int rc = rte_eal_alarm_set(1, interrupt_call, &call);
	if (rc)
		return rc;
	while (!atomic_load(&call.done))
		nanosleep(&(struct timespec){ 0, 200000 }, NULL);
	return 0;
}

void
eal_stop(void)
{
	if (!eal.started)
		return;
	for (uint32_t i = 0; i < eal.cores; i++)
		assert(!eal.core[i].busy);	/* wait for them first: rte_eal_cleanup takes their memory away */
	/* The interrupt thread is not ended by rte_eal_cleanup, but woken by it; the memif driver leaves its listener in that thread's list, in EAL's
	 * memory. So that memory stays until the process ends. */
	memif_guard_keep(true);
	rte_eal_cleanup();
	memif_guard_keep(false);
	eal.started = false;
}

static int
run(void *arg)
{
	struct data_core *core = arg;
	int returned = core->fn(core->context);
	pthread_mutex_lock(&eal.lock);
	core->returned = returned;
	core->done = true;
	pthread_cond_broadcast(&eal.returned);
	pthread_mutex_unlock(&eal.lock);
	return 0;
}

int
eal_launch(uint32_t i, int (*fn)(void *context), void *context, struct err *err)
{
	assert(eal.started && i < eal.cores);
	struct data_core *core = &eal.core[i];
	if (core->busy)
		return err_set(err, EBUSY, "data core %u is busy", i);
	*core = (struct data_core){ .busy = true, .fn = fn, .context = context };
	int rc = rte_eal_remote_launch(run, core, i + 1);
	if (rc) {
		core->busy = false;
		return err_set(err, -rc, "data core %u does not start: %s", i, rte_strerror(-rc));
	}
	return 0;
}

int
eal_wait(uint32_t i, int timeout_ms, int *returned)
{
	assert(eal.started && i < eal.cores);
	struct data_core *core = &eal.core[i];
	if (!core->busy)
		return -ESRCH;
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	if (timeout_ms > 0) {
		until.tv_sec += timeout_ms / 1000;
		until.tv_nsec += timeout_ms % 1000 * 1000000L;
		if (until.tv_nsec >= 1000000000L) {
			until.tv_nsec -= 1000000000L;
			until.tv_sec++;
		}
	}
	pthread_mutex_lock(&eal.lock);
	int rc = 0;
	while (!core->done && rc == 0)
		rc = timeout_ms < 0 ? pthread_cond_wait(&eal.returned, &eal.lock) : pthread_cond_timedwait(&eal.returned, &eal.lock, &until);
	bool done = core->done;
	pthread_mutex_unlock(&eal.lock);
	if (!done)
		return -ETIMEDOUT;
	rte_eal_wait_lcore(i + 1);	/* spins, but the function has returned already */
	core->busy = false;
	if (returned)
		*returned = core->returned;
	return 0;
}
