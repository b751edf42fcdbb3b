#include "tools/hostcheck/checks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define RMEM_WANTED (UINT64_C(32) << 20)	/* a burst of 2 M datagrams/s over some ms of a busy reader */
#define MEMLOCK_WANTED (UINT64_C(256) << 20)
#define DISK_WANTED (UINT64_C(2) << 30)

/* ---- helpers ---- */

static void set(struct finding *finding, bool ok, const char *mend, const char *format, ...) __attribute__((format(printf, 4, 5)));

static void
set(struct finding *finding, bool ok, const char *mend, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	finding->ok = ok;
	vsnprintf(finding->text, sizeof finding->text, format, args);
	snprintf(finding->mend, sizeof finding->mend, "%s", ok ? "" : mend);
	va_end(args);
}

/* The file's first bytes as text without its last line end; false when it cannot be read. */
static bool
read_text(const struct host *host, char *text, size_t bytes, const char *format, ...) __attribute__((format(printf, 4, 5)));

static bool
read_text(const struct host *host, char *text, size_t bytes, const char *format, ...)
{
	char path[PATH_MAX];
	size_t n = snprintf(path, sizeof path, "%s", host->root);
	va_list args;
	va_start(args, format);
	vsnprintf(path + n, sizeof path - n, format, args);
	va_end(args);
	text[0] = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ssize_t got = read(fd, text, bytes - 1);
	close(fd);
	text[got > 0 ? got : 0] = 0;
	text[strcspn(text, "\n")] = 0;
	return got > 0;
}

/* Calls fn for each name in the folder that is not hidden. */
static int
each_name(const struct host *host, const char *folder, void (*fn)(const struct host *host, const char *name, void *context), void *context)
{
	char path[PATH_MAX];
	snprintf(path, sizeof path, "%s%s", host->root, folder);
	DIR *dir = opendir(path);
	if (!dir)
		return -1;
	int count = 0;
	for (struct dirent *entry; (entry = readdir(dir));) {
		if (entry->d_name[0] == '.')
			continue;
		count++;
		if (fn)
			fn(host, entry->d_name, context);
	}
	closedir(dir);
	return count;
}

bool
cores_parse(const char *text, uint64_t bits[16])
{
	memset(bits, 0, 16 * sizeof *bits);
	while (*text) {
		char *end;
		unsigned long from = strtoul(text, &end, 10), to = from;
		if (end == text || from >= 1024)
			return false;
		if (*end == '-') {
			text = end + 1;
			to = strtoul(text, &end, 10);
			if (end == text || to >= 1024 || to < from)
				return false;
		}
		for (unsigned long core = from; core <= to; core++)
			bits[core / 64] |= UINT64_C(1) << core % 64;
		if (*end && *end != ',')
			return false;
		text = *end ? end + 1 : end;
	}
	return true;
}

/* ---- checks ---- */

static void
check_hugepages(const struct host *host, struct finding *finding)
{
	static const char *const sizes[] = { "2048kB", "1048576kB" };
	unsigned long free_pages[2] = { 0 }, free_mb = 0;
	char text[64];
	for (int i = 0; i < 2; i++)
		if (read_text(host, text, sizeof text, "/sys/kernel/mm/hugepages/hugepages-%s/free_hugepages", sizes[i]))
			free_pages[i] = strtoul(text, NULL, 10);
	free_mb = free_pages[0] * 2 + free_pages[1] * 1024;
	set(finding, free_mb >= 256, "sysctl -w vm.nr_hugepages=256   (and vm.nr_hugepages = 256 in /etc/sysctl.d/penstock.conf)",
	    "%lu of 2 MB and %lu of 1 GB free: %lu MB%s", free_pages[0], free_pages[1], free_mb,
	    free_mb >= 256 ? "" : ", want 256 MB; penstock runs without, slower");
}

static void
check_memlock(const struct host *host, struct finding *finding)
{
	struct rlimit limit;
	(void)host;
	getrlimit(RLIMIT_MEMLOCK, &limit);
	bool ok = geteuid() == 0 || limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= MEMLOCK_WANTED;
	if (limit.rlim_cur == RLIM_INFINITY)
		set(finding, true, "", "no limit on locked memory");
	else
		set(finding, ok, "LimitMEMLOCK=infinity in the systemd unit, or `* - memlock unlimited` in /etc/security/limits.d/penstock.conf",
		    "locked memory: %llu KB%s", (unsigned long long)limit.rlim_cur / 1024,
		    geteuid() == 0 ? ", root is not bound by it" : ok ? "" : ", want 262144 KB; the log then uses plain writes");
}

static void
check_io_uring(const struct host *host, struct finding *finding)
{
	char params[512] = { 0 }, text[16];	/* larger than struct io_uring_params, whose header is not ours to include */
	long fd = syscall(SYS_io_uring_setup, 4, params);
	int error = errno;
	if (fd >= 0) {
		close((int)fd);
		set(finding, true, "", "io_uring is permitted");
		return;
	}
	bool off = read_text(host, text, sizeof text, "/proc/sys/kernel/io_uring_disabled") && text[0] != '0';
	set(finding, false, off ? "sysctl -w kernel.io_uring_disabled=0" :
	    "allow io_uring_setup, io_uring_enter and io_uring_register in the container's seccomp profile",
	    "io_uring: %s%s; the log then uses plain writes", strerror(error), off ? " (kernel.io_uring_disabled)" : "");
}

static void
check_iommu(const struct host *host, struct finding *finding)
{
	char text[16], path[PATH_MAX];
	int groups = each_name(host, "/sys/kernel/iommu_groups", NULL, NULL);
	snprintf(path, sizeof path, "%s/sys/bus/pci/drivers/vfio-pci", host->root);
	bool vfio = access(path, F_OK) == 0;
	bool noiommu = read_text(host, text, sizeof text, "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode") && text[0] == 'Y';
	if (groups <= 0 && !noiommu)
		set(finding, false, "intel_iommu=on iommu=pt on the kernel's command line; without an IOMMU: "
		    "modprobe vfio enable_unsafe_noiommu_mode=1", "no IOMMU groups: a PCI NIC cannot be taken (virtual devices can)");
	else if (!vfio)
		set(finding, false, "modprobe vfio-pci", "%d IOMMU groups, vfio-pci is not loaded", groups < 0 ? 0 : groups);
	else
		set(finding, true, "", "%d IOMMU groups, vfio-pci is loaded%s", groups < 0 ? 0 : groups, noiommu ? ", without IOMMU" : "");
}

struct nics {
	int all, ready;
	char list[256], first[64];
	int first_node;
};

static void
nic_look(const struct host *host, const char *name, void *context)
{
	struct nics *nics = context;
	char class[32], link[PATH_MAX], target[PATH_MAX], node[16];
	if (!read_text(host, class, sizeof class, "/sys/bus/pci/devices/%s/class", name) || strncmp(class, "0x0200", 6) != 0)
		return;
	if (host->device && strcmp(host->device, name) != 0)
		return;
	snprintf(link, sizeof link, "%s/sys/bus/pci/devices/%s/driver", host->root, name);
	ssize_t n = readlink(link, target, sizeof target - 1);
	target[n > 0 ? n : 0] = 0;
	const char *driver = strrchr(target, '/');
	driver = driver ? driver + 1 : "none";
	bool ready = strcmp(driver, "vfio-pci") == 0 || strcmp(driver, "igb_uio") == 0 || strcmp(driver, "uio_pci_generic") == 0 ||
		strncmp(driver, "mlx", 3) == 0;	/* mlx5 works beside its kernel driver */
	if (!nics->first[0]) {
		snprintf(nics->first, sizeof nics->first, "%s", name);
		nics->first_node = read_text(host, node, sizeof node, "/sys/bus/pci/devices/%s/numa_node", name) ? (int)strtol(node, NULL, 10) : -1;
	}
	nics->all++;
	nics->ready += ready;
	size_t used = strlen(nics->list);
	snprintf(nics->list + used, sizeof nics->list - used, "%s%s (%s)", used ? ", " : "", name, driver);
}

static void
check_nic(const struct host *host, struct finding *finding)
{
	struct nics nics = { 0 };
	char mend[256];
	each_name(host, "/sys/bus/pci/devices", nic_look, &nics);
	if (nics.all == 0) {
		set(finding, !host->device, "lspci -D | grep -i ethernet", host->device ? "no network device %s on PCI" :
		    "no network device on PCI: use a virtual device (net_tap0, net_af_packet0, net_memif0)%s", host->device ? host->device : "");
		return;
	}
	snprintf(mend, sizeof mend, "dpdk-devbind.py -b vfio-pci %s   (this takes it from the kernel)", nics.first);
	set(finding, nics.ready > 0, mend, "%s%s", nics.list, nics.ready ? "" : ": none has a driver that DPDK can use");
}

static void
check_numa(const struct host *host, struct finding *finding)
{
	struct nics nics = { 0 };
	char text[256], mend[384];
	if (!read_text(host, text, sizeof text, "/sys/devices/system/node/online") || strcmp(text, "0") == 0) {
		set(finding, true, "", "one memory node");
		return;
	}
	each_name(host, "/sys/bus/pci/devices", nic_look, &nics);
	uint64_t near[16];
	bool given = false, away = false;
	if (nics.first[0] && nics.first_node >= 0 &&
	    read_text(host, text, sizeof text, "/sys/devices/system/node/node%d/cpulist", nics.first_node) && cores_parse(text, near)) {
		for (int i = 0; i < 16; i++) {
			given = given || host->lcores[i];
			away = away || (host->lcores[i] & ~near[i]);
		}
		snprintf(mend, sizeof mend, "penstock.lcores out of %s", text);
		set(finding, !away, mend, "%s is on node %d, cores %s%s", nics.first, nics.first_node, text,
		    away ? ": some lcores are on another, each frame then crosses between nodes" :
		    given ? "" : "; give --lcores to have them checked");
		return;
	}
	set(finding, true, "", "memory nodes %s, no NIC to be near to", text);
}

/* The names of the log device's interrupts begin with that of its bus device: virtio1, nvme0, 0000:00:1f.2. */
static bool
log_device(const struct host *host, char *disk, size_t disk_bytes, char *bus, size_t bus_bytes)
{
	struct stat st;
	char link[PATH_MAX], real[PATH_MAX];
	if (stat(host->dir ? host->dir : ".", &st) < 0)
		return false;
	snprintf(link, sizeof link, "%s/sys/dev/block/%u:%u", host->root, major(st.st_dev), minor(st.st_dev));
	if (!realpath(link, real))
		return false;
	char *block = strstr(real, "/block/");
	if (!block || strstr(real, "/virtual/"))
		return false;
	snprintf(disk, disk_bytes, "%.*s", (int)strcspn(block + 7, "/"), block + 7);
	*block = 0;
	char *last = strrchr(real, '/');
	/* .../nvme/nvme0/block: nvme0; .../virtio1/block: virtio1; SCSI: .../host0/target0:0:0/0:0:0:0/block: its PCI address */
	char *host_part = strstr(real, "/host"), *virtio = strstr(real, "/virtio");
	if (virtio) {
		snprintf(bus, bus_bytes, "%.*s", (int)strcspn(virtio + 1, "/"), virtio + 1);
	} else if (host_part) {
		*host_part = 0;
		char *ata = strrchr(real, '/');
		if (ata && strncmp(ata, "/ata", 4) == 0)
			*ata = 0;
		last = strrchr(real, '/');
		snprintf(bus, bus_bytes, "%.100s", last ? last + 1 : real);
	} else {
		snprintf(bus, bus_bytes, "%.100s", last ? last + 1 : real);
	}
	return true;
}

static void
check_interrupts(const struct host *host, struct finding *finding)
{
	char disk[64], bus[128], path[PATH_MAX], line[8192], cores[256] = "", mend[384] = "";
	uint64_t bits[16], all[16] = { 0 };
	bool clash = false, given = false;
	if (!log_device(host, disk, sizeof disk, bus, sizeof bus)) {
		set(finding, true, "", "the log's folder is not on a device with interrupts of its own");
		return;
	}
	snprintf(path, sizeof path, "%s/proc/interrupts", host->root);
	FILE *file = fopen(path, "re");
	while (file && fgets(line, sizeof line, file)) {
		char *name = strstr(line, bus), text[256];
		int irq = (int)strtol(line, NULL, 10);
		size_t n = strlen(bus);
		if (!name || irq <= 0 || (name[n] >= '0' && name[n] <= '9') || strstr(name, "config"))
			continue;
		if (!read_text(host, text, sizeof text, "/proc/irq/%d/effective_affinity_list", irq) || !cores_parse(text, bits))
			continue;
		for (int i = 0; i < 16; i++) {
			given = given || host->lcores[i];
			if (host->lcores[i] & bits[i]) {
				clash = true;
				snprintf(mend, sizeof mend, "echo CORE > /proc/irq/%d/smp_affinity_list with a CORE that does not poll, "
					 "or leave %s out of penstock.lcores", irq, text);
			}
			all[i] |= bits[i];
		}
	}
	if (file)
		fclose(file);
	for (int core = 0; core < 1024 && strlen(cores) < sizeof cores - 8; core++)
		if (all[core / 64] >> core % 64 & 1)
			snprintf(cores + strlen(cores), sizeof cores - strlen(cores), "%s%d", cores[0] ? "," : "", core);
	if (!cores[0])
		set(finding, true, "", "%s: no interrupts found", disk);
	else
		set(finding, !clash, mend, "%s interrupts core %s%s", disk, cores,
		    clash ? ": a core that polls there makes each sync many times slower" : given ? "" :
		    ": keep it out of penstock.lcores, or give --lcores to have them checked");
}

static void
check_direct(const struct host *host, struct finding *finding)
{
	const char *dir = host->dir ? host->dir : ".";
	char path[PATH_MAX];
	void *block = NULL;
	snprintf(path, sizeof path, "%s/.hostcheck-XXXXXX", dir);
	int fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0) {
		char mend[512];
		snprintf(mend, sizeof mend, "%s %.200s", errno == ENOENT ? "mkdir -p" : "chown penstock", dir);
		set(finding, false, mend, "%s: cannot write: %s", dir, strerror(errno));
		return;
	}
	unlink(path);
	bool ok = fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_DIRECT) == 0 && posix_memalign(&block, 4096, 4096) == 0;
	if (ok)
		ok = pwrite(fd, memset(block, 0, 4096), 4096, 0) == 4096;
	int error = errno;
	free(block);
	close(fd);
	set(finding, ok, "put the log on ext4 or xfs on a disk (not tmpfs or overlay)", "%s: O_DIRECT %s%s", dir, ok ? "works" : "does not: ",
	    ok ? "" : strerror(error));
}

static void
check_space(const struct host *host, struct finding *finding)
{
	struct statvfs vfs;
	const char *dir = host->dir ? host->dir : ".";
	if (statvfs(dir, &vfs) < 0) {
		set(finding, false, "give --dir an existing folder", "%s: %s", dir, strerror(errno));
		return;
	}
	uint64_t bytes = (uint64_t)vfs.f_bavail * vfs.f_frsize;
	set(finding, bytes >= DISK_WANTED, "give the log another folder, or make room", "%s: %llu MB free", dir,
	    (unsigned long long)(bytes >> 20));
}

static void
check_rmem(const struct host *host, struct finding *finding)
{
	char text[64];
	uint64_t bytes = read_text(host, text, sizeof text, "/proc/sys/net/core/rmem_max") ? strtoull(text, NULL, 10) : 0;
	if (geteuid() == 0)
		set(finding, true, "", "net.core.rmem_max = %llu; root may go above it", (unsigned long long)bytes);
	else
		set(finding, bytes >= RMEM_WANTED, "sysctl -w net.core.rmem_max=33554432   (and in /etc/sysctl.d/penstock.conf)",
		    "net.core.rmem_max = %llu%s", (unsigned long long)bytes,
		    bytes >= RMEM_WANTED ? "" : ": bursts are dropped by kernel sockets, want 33554432");
}

static void
check_rights(const struct host *host, struct finding *finding)
{
	char path[PATH_MAX], line[256], low[64];
	unsigned long long effective = 0;
	static const struct { int bit; const char *name, *use; } wanted[] = {
		{ 10, "CAP_NET_BIND_SERVICE", "ports below" }, { 12, "CAP_NET_ADMIN", "TAP" }, { 13, "CAP_NET_RAW", "af_packet, capture" },
		{ 14, "CAP_IPC_LOCK", "huge pages" } };
	char missing[256] = "";
	snprintf(path, sizeof path, "%s/proc/self/status", host->root);
	FILE *file = fopen(path, "re");
	while (file && fgets(line, sizeof line, file))
		if (sscanf(line, "CapEff: %llx", &effective) == 1)
			break;
	if (file)
		fclose(file);
	unsigned long start = read_text(host, low, sizeof low, "/proc/sys/net/ipv4/ip_unprivileged_port_start") ? strtoul(low, NULL, 10) : 1024;
	for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
		if ((effective >> wanted[i].bit & 1) || (host->kernel_only && i > 0) || (i == 0 && start <= 514))
			continue;
		size_t n = strlen(missing);
		snprintf(missing + n, sizeof missing - n, "%s%s (%s", n ? ", " : "", wanted[i].name, wanted[i].use);
		n = strlen(missing);
		if (i == 0)
			snprintf(missing + n, sizeof missing - n, " %lu)", start);
		else
			snprintf(missing + n, sizeof missing - n, ")");
	}
	set(finding, !missing[0], host->kernel_only ? "setcap cap_net_bind_service+ep penstock, or AmbientCapabilities= in the systemd unit" :
	    "setcap cap_net_bind_service,cap_net_admin,cap_net_raw,cap_ipc_lock+ep penstock, or AmbientCapabilities= in the systemd unit",
	    "%s%s", missing[0] ? "not held: " : "all rights held", missing);
}

static void
check_cores(const struct host *host, struct finding *finding)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	char text[256], governor[64];
	uint64_t isolated[16] = { 0 };
	bool given = false, shared = false;
	if (read_text(host, text, sizeof text, "/sys/devices/system/cpu/isolated"))
		cores_parse(text, isolated);
	for (int i = 0; i < 16; i++) {
		given = given || host->lcores[i];
		shared = shared || (host->lcores[i] & ~isolated[i]);
	}
	if (read_text(host, governor, sizeof governor, "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") &&
	    strcmp(governor, "performance") != 0)
		set(finding, false, "cpupower frequency-set -g performance", "%ld cores, governor %s", cores, governor);
	else if (cores < 2)
		set(finding, false, "penstock.idle = sleep, or a machine with more cores", "1 core: a polling lcore leaves none for the rest");
	else
		set(finding, true, "", "%ld cores%s%s%s", cores, text[0] ? ", isolated: " : "", text,
		    given && shared ? " (the lcores are not isolated: other programs may run there)" : "");
}

const struct check checks[] = {
	{ "cores", false, check_cores },
	{ "huge pages", true, check_hugepages },
	{ "locked memory", false, check_memlock },
	{ "io_uring", false, check_io_uring },
	{ "IOMMU", true, check_iommu },
	{ "NIC", true, check_nic },
	{ "NUMA", true, check_numa },
	{ "interrupts", true, check_interrupts },
	{ "direct writes", false, check_direct },
	{ "disk space", false, check_space },
	{ "socket buffers", false, check_rmem },
	{ "rights", false, check_rights },
	{ 0 },
};
