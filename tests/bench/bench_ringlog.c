/* bench_ringlog MODE ...: the file channel alone for ./bench ringlog, events of 200 bytes through the real block_put. Prints one JSON object.
 *
 *   append DIR SECONDS BLOCK_BYTES GROUP_BYTES RATE CPU OTHER_CPU [KEYS]   GROUP_BYTES: of one group at most, 0 as many as the writer takes.
 *                            RATE 0: as fast as it goes. The ingress on CPU, writer and taker on OTHER_CPU. KEYS: a directory with
 *                            store.p12 and its password; blocks are encrypted
 *   trickle DIR COUNT CPU OTHER_CPU   one event a second, and between two a synced write of 4096 bytes into a zero-filled file
 *   fill DIR BYTES           until the log holds so many bytes, unsettled; ends without closing, as a killed process does
 *   open DIR                 recovery of what is there, to the first event taken
 *   behind DIR SECONDS CPU OTHER_CPU   takes what is there while appending
 *   device DIR SECONDS BYTES RATE CPU   the disk alone, as the log asks it: RATE synced writes a second of BYTES into zero-filled files, each at its
 *                            time whether those before have ended or not (at most 4 under way)
 * The channel's options: 2 million million events, transactionCapacity 10,000. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "channel/channel_file.h"
#include "channel/logio.h"

#define BODY 200u
#define SAMPLE_EVERY 64u	/* events */
#define WARM_BYTES 3000000000u	/* more than lies between two checkpoints */
#define SAMPLES_MAX (1u << 22)
#define WAITING_MAX (1u << 16)	/* samples on their way; a power of two */

struct sample {
	uint64_t serial, ns;
};

struct bench {
	struct channel *channel;
	struct channel_link *link;
	struct taker *taker;
	struct block_scratch *scratch;
	struct block *block;
	struct option_values values;
	struct header_set *set;
	const struct name *timestamp;
	uint64_t put, done, failed;
	struct sample waiting[WAITING_MAX];
	uint32_t waiting_first, waiting_end;
	uint32_t *latency_ns;
	uint32_t latencies;
	uint32_t block_bytes;
	_Atomic uint64_t taken, taken_bytes;
	_Atomic bool stop_writer, stop_taker;
	pthread_t writer, taker_thread;
	uint8_t body[BODY];
};

static struct bench b;

static void
die(const char *text)
{
	fprintf(stderr, "bench_ringlog: %s\n", text);
	exit(1);
}

static void
pin(int cpu)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	if (cpu >= 0)
		(void)sched_setaffinity(0, sizeof set, &set);
}

static uint64_t
now(void)
{
	return clock_now_ns(&clock_system);
}

static void
tell(struct option_report *report, bool fatal, const char *origin, const char *key, const char *text)
{
	(void)report, (void)fatal, (void)origin;
	fprintf(stderr, "%s: %s\n", key, text);
}

static void
open_channel(const char *dir, uint32_t block_bytes, uint32_t group_bytes, const char *keys)
{
	static char data[512], checkpoint[512], store[512], password[512], config[1024];
	snprintf(data, sizeof data, "%s/data", dir);
	snprintf(checkpoint, sizeof checkpoint, "%s/checkpoint", dir);
	struct property props[] = { { "capacity", "2000000000000", "t", false }, { "transactionCapacity", "10000", "t", false },
				    { "dataDirs", data, "t", false }, { "checkpointDir", checkpoint, "t", false },
				    { "minimumRequiredSpace", "1048576", "t", false }, { "encryption.activeKey", "key-1", "t", false },
				    { "encryption.cipherProvider", "AESCTRNOPADDING", "t", false }, { "encryption.keyProvider", "JCEKSFILE", "t", false },
				    { "encryption.keyProvider.keyStoreFile", store, "t", false },
				    { "encryption.keyProvider.keyStorePasswordFile", password, "t", false },
				    { "encryption.keyProvider.keys", "key-1", "t", false } };
	size_t count = keys ? sizeof props / sizeof *props : 5;
	snprintf(store, sizeof store, "%s/store.p12", keys ? keys : "");
	snprintf(password, sizeof password, "%s/password", keys ? keys : "");
	struct option_report report = { tell };
	struct err err = { "" };
	memset(config, 0, sizeof config);
	if (option_parse(channel_file.options, props, count, config, &b.values, &report))
		exit(1);
	b.block_bytes = block_bytes ? block_bytes : 256u << 10;
	/* As much memory as an agent with one channel gives it (penstock.memory = 256m, half of it blocks). */
	struct channel_env env = { .name = "c1", .clock = &clock_system, .links_max = 1, .block_bytes = b.block_bytes,
				   .blocks = (128u << 20) / b.block_bytes, .group_bytes = group_bytes };
	if (channel_file.open(&b.channel, config, &env, &err))
		die(err.text);
}

static void *
writer_main(void *context)
{
	pin(*(int *)context);
	channel_writer_begin();
	while (!atomic_load(&b.stop_writer))
		(void)channel_file.writer_step(b.channel, 10 * NS_PER_MS);
	return NULL;
}

/* Walks every event, as a null sink does. */
static void *
taker_main(void *context)
{
	pin(*(int *)context);
	while (!atomic_load(&b.stop_taker)) {
		struct span *s;
		if (channel_file.take(b.taker, 10000, 4u << 20, 5 * NS_PER_MS, &s) || !s)
			continue;
		struct span_cursor cursor = { { 0 } };
		struct event_view e;
		uint64_t events = s->events, bytes = 0;
		while (channel_file.span_next(s, &cursor, &e))
			bytes += e.body_len;
		channel_file.settle(b.taker, s, SETTLE_COMMIT, NULL, 0);
		atomic_fetch_add(&b.taken, events);
		atomic_fetch_add(&b.taken_bytes, bytes);
	}
	return NULL;
}

static void
start(bool taker, int *cpu)
{
	struct err err = { "" };
	if (channel_file.link(b.channel, "i", -1, &b.link, &err))
		die(err.text);
	if (block_scratch_init(&b.scratch, b.block_bytes))
		die("no memory");
	b.set = calloc(1, sizeof *b.set + sizeof(struct header));
	b.set->count = 1;
	b.set->headers[0] = (struct header){ .name = name_intern("host", 4), .kind = HEADER_BYTES, .len = 5, .value.bytes = (const uint8_t *)"web-1" };
	b.timestamp = name_intern("timestamp", 9);
	b.latency_ns = malloc(SAMPLES_MAX * sizeof *b.latency_ns);
	memset(b.latency_ns, 0, SAMPLES_MAX * sizeof *b.latency_ns);
	memset(b.body, 'x', sizeof b.body);
	if (pthread_create(&b.writer, NULL, writer_main, cpu))
		die("no thread");
	if (taker && (channel_file.taker_open(b.channel, "k", &b.taker, &err) || pthread_create(&b.taker_thread, NULL, taker_main, cpu)))
		die("no taker");
}

static void
reap(void)
{
	for (struct completion *c; (c = channel_completion(b.link));) {
		uint64_t ns = now();
		while (b.waiting_first != b.waiting_end && b.waiting[b.waiting_first % WAITING_MAX].serial == c->serial) {
			if (b.latencies < SAMPLES_MAX)
				b.latency_ns[b.latencies++] = (uint32_t)(ns - b.waiting[b.waiting_first % WAITING_MAX].ns);
			b.waiting_first++;
		}
		if (c->status)
			b.failed += c->events;
		else
			b.done += c->events;
		channel_completion_done(b.link, c);
	}
}

static void
submit(void)
{
	block_seal(b.block);
	channel_submit(b.link, &b.block);
}

/* Up to `n` events; false when there is no credit. */
static bool
put(uint32_t n)
{
	uint64_t ns = now();
	for (uint32_t i = 0; i < n; i++) {
		if (!b.block) {
			b.block = channel_credit(b.link);
			if (!b.block)
				return false;
			block_open(b.block, b.scratch);
		}
		struct header own = { .name = b.timestamp, .kind = HEADER_NUMBER, .value.number = (int64_t)(1790000000000 + b.put / 1000) };
		struct event e = { .body = b.body, .body_len = BODY, .headers = &own, .header_count = 1, .shared = b.set,
				   .time_ns = UINT64_C(1790000000000000000) };
		memcpy(b.body, &b.put, sizeof b.put);
		int rc = block_put(b.block, 0, &e);
		if (rc) {
			submit();
			i--;
			continue;
		}
		if (b.put++ % SAMPLE_EVERY == 0 && b.waiting_end - b.waiting_first < WAITING_MAX)
			b.waiting[b.waiting_end++ % WAITING_MAX] = (struct sample){ b.block->serial, ns };
	}
	return true;
}

/* As an lcore does: what is open goes when the writer is free to take it and nothing is on its way. */
static void
seal_due(bool all)
{
	if (b.block && b.block->events && (all || (channel_hungry(b.channel) && !spsc_count(&b.link->submit))))
		submit();
}

static int
by_value(const void *a, const void *c)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)c;
	return x < y ? -1 : x > y;
}

static double
percentile_us(double share)
{
	return b.latencies ? b.latency_ns[(uint32_t)((b.latencies - 1) * share)] / 1e3 : 0;
}

static uint64_t
read_bytes(void)
{
	char line[100];
	unsigned long long bytes = 0;
	FILE *file = fopen("/proc/self/io", "r");
	while (file && fgets(line, sizeof line, file))
		sscanf(line, "read_bytes: %llu", &bytes);
	if (file)
		fclose(file);
	return bytes;
}

static uint64_t
channel_sum(const char *name)
{
	return metrics_sum("CHANNEL", "c1", name);
}

static void
append(double seconds, uint64_t rate)
{
	uint64_t began = now(), end = began + (uint64_t)(seconds * 1e9), ns, first = b.put, yielded = began;
	while ((ns = now()) < end) {
		reap();
		uint64_t due = rate ? (uint64_t)((double)(ns - began) / 1e9 * (double)rate) - (b.put - first) : 64;
		bool credit = put(due > 64 ? 64 : (uint32_t)due);
		seal_due(false);
		if (!credit || ns - yielded > 50 * NS_PER_US) {
			yielded = ns;
			sched_yield();
		}
	}
}

static void
drain(void)
{
	while (b.done + b.failed < b.put) {
		seal_due(true);
		reap();
		sched_yield();
	}
}

static int
run_append(const char *dir, double seconds, uint32_t block_bytes, uint32_t group_bytes, uint64_t rate, int cpu, int other, const char *keys)
{
	open_channel(dir, block_bytes, group_bytes, keys);
	start(true, &other);
	pin(cpu);
	/* The log goes round once: from then on it writes over segments it has, as fio does, and makes no new ones. */
	for (int i = 0; i < 80 && channel_sum("log_bytes") < WARM_BYTES; i++)
		append(0.05, 0);
	drain();
	for (int i = 0; i < 2000 && atomic_load(&b.taken) < b.done; i++)	/* the sink keeps up from here on, if it can */
		nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
	append(0.2, rate);
	b.latencies = 0;
	uint64_t began = now(), put = b.done, bytes = channel_sum("log_bytes"), payload = channel_sum("payload_bytes"), syncs = channel_sum("syncs"),
		 reads = channel_sum("read_bytes"), taken = atomic_load(&b.taken);
	append(seconds, rate);
	double took = (double)(now() - began) / 1e9;
	put = b.done - put;
	bytes = channel_sum("log_bytes") - bytes;
	payload = channel_sum("payload_bytes") - payload;
	syncs = channel_sum("syncs") - syncs;
	reads = channel_sum("read_bytes") - reads;
	taken = atomic_load(&b.taken) - taken;
	drain();
	qsort(b.latency_ns, b.latencies, sizeof *b.latency_ns, by_value);
	double group = syncs ? (double)bytes / (double)syncs : 0;
	printf("{\"events_per_second\":%.0f,\"taken_per_second\":%.0f,\"log_bytes_per_second\":%.0f,\"log_bytes_per_payload\":%.4f,\"group_bytes\":%.0f,"
	       "\"ack_p50_us\":%.1f,\"ack_p99_us\":%.1f,\"fill_us\":%.1f,\"read_bytes\":%llu,\"failed\":%llu}\n",
	       (double)put / took, (double)taken / took, (double)bytes / took, (double)bytes / (double)payload, group, percentile_us(0.5), percentile_us(0.99),
	       group * took / (double)bytes * 1e6, (unsigned long long)reads, (unsigned long long)b.failed);
	return b.failed != 0;
}

/* A synced write as the log makes them, behind the last one. */
static double
device_sync_us(int fd, void *bytes, uint64_t *at)
{
	uint64_t began = now();
	if (pwrite(fd, bytes, 4096, (off_t)*at) != 4096 || fdatasync(fd))
		die("the probe's write");
	*at += 4096;
	return (double)(now() - began) / 1e3;
}

static int
run_trickle(const char *dir, uint32_t count, int cpu, int other)
{
	char path[512];
	snprintf(path, sizeof path, "%s/probe", dir);
	void *bytes = aligned_alloc(4096, 1 << 20);
	memset(bytes, 0, 1 << 20);
	int fd = open(path, O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0600);
	if (fd < 0 || pwrite(fd, bytes, 1 << 20, 0) != 1 << 20 || fsync(fd))
		die("the probe's file");
	uint64_t at = 0;
	open_channel(dir, 0, 0, NULL);
	start(true, &other);
	pin(cpu);
	append(0.3, 100);
	drain();
	printf("{\"ack_us\":[");
	double device[1000];
	for (uint32_t i = 0; i < count && i < 1000; i++) {
		nanosleep(&(struct timespec){ .tv_nsec = 500000000 }, NULL);
		device[i] = device_sync_us(fd, bytes, &at);
		nanosleep(&(struct timespec){ .tv_nsec = 500000000 }, NULL);
		uint64_t began = now();
		put(1);
		while (b.done < b.put) {
			seal_due(false);
			reap();
			sched_yield();
		}
		printf("%s%.1f", i ? "," : "", (double)(now() - began) / 1e3);
	}
	printf("],\"device_us\":[");
	for (uint32_t i = 0; i < count && i < 1000; i++)
		printf("%s%.1f", i ? "," : "", device[i]);
	printf("]}\n");
	return 0;
}

#define DEVICE_FILE_BYTES (512u << 20)
#define DEVICE_DEPTH 4u

/* Times count from when a write was due: one that waits for the device's pause counts as the events do that wait in the log. */
static int
run_device(const char *dir, double seconds, uint32_t bytes, double rate, int cpu)
{
	struct logio *io;
	struct logio_file *file;
	struct err err = { "" };
	char path[512];
	snprintf(path, sizeof path, "%s/device", dir);
	uint8_t *memory = aligned_alloc(2u << 20, DEVICE_DEPTH * (8u << 20));
	bytes = bytes / 4096 * 4096;
	if (!memory || !bytes || bytes > 8u << 20 || logio_uring_open(&io, -1, &err))
		die("the device's probe");
	(void)madvise(memory, DEVICE_DEPTH * (8u << 20), MADV_HUGEPAGE);
	memset(memory, 'x', DEVICE_DEPTH * (8u << 20));
	io->ops->memory(io, memory, DEVICE_DEPTH * (8u << 20));
	if (io->ops->file_open(io, path, DEVICE_FILE_BYTES, access(path, F_OK) ? LOGIO_CREATE | LOGIO_ZERO : 0, &file))
		die("the device's file");
	pin(cpu);
	b.latency_ns = calloc(SAMPLES_MAX, sizeof *b.latency_ns);
	uint64_t due[DEVICE_DEPTH], under_way = 0, sent = 0, at = 0, began = now(), ns;
	bool used[DEVICE_DEPTH] = { false };
	while ((ns = now()) < began + (uint64_t)(seconds * 1e9) || under_way) {
		struct logio_done done[DEVICE_DEPTH];
		int n = io->ops->reap(io, done, DEVICE_DEPTH);
		for (int i = 0; i < n; i++) {
			uint64_t *slot = done[i].context;
			if (done[i].status)
				die("the device's write");
			if (b.latencies < SAMPLES_MAX)
				b.latency_ns[b.latencies++] = (uint32_t)(now() - *slot);
			used[slot - due] = false;
			under_way--;
		}
		uint64_t next = began + (uint64_t)((double)sent * 1e9 / rate);
		if (next > ns || next > began + (uint64_t)(seconds * 1e9) || under_way == DEVICE_DEPTH) {
			sched_yield();
			continue;
		}
		uint32_t i = 0;
		while (used[i])
			i++;
		if (at + bytes > DEVICE_FILE_BYTES)
			at = 0;
		struct logio_write write = { .bytes = memory + i * (8u << 20), .len = bytes };
		due[i] = next;
		used[i] = true;
		if (io->ops->submit(io, file, at, &write, 1, true, &due[i]))
			die("the device's write");
		at += bytes;
		sent++;
		under_way++;
	}
	io->ops->file_close(io, file);
	io->ops->close(io);
	qsort(b.latency_ns, b.latencies, sizeof *b.latency_ns, by_value);
	printf("{\"writes\":%u,\"p50_us\":%.1f,\"p99_us\":%.1f,\"most_us\":%.1f}\n", b.latencies, percentile_us(0.5), percentile_us(0.99), percentile_us(1));
	free(b.latency_ns);
	free(memory);
	return 0;
}

static int
run_fill(const char *dir, uint64_t bytes)
{
	int cpu = -1;
	open_channel(dir, 0, 0, NULL);
	start(false, &cpu);
	uint64_t began = now();
	while (channel_sum("log_bytes") < bytes && !b.failed)
		append(0.05, 0);
	drain();
	printf("{\"events\":%llu,\"log_bytes\":%llu,\"seconds\":%.3f}\n", (unsigned long long)b.put, (unsigned long long)channel_sum("log_bytes"),
	       (double)(now() - began) / 1e9);
	fflush(stdout);
	_exit(b.failed != 0);	/* nothing is closed: what a kill leaves */
}

static int
run_open(const char *dir)
{
	struct err err = { "" };
	uint64_t began = now();
	open_channel(dir, 0, 0, NULL);
	double opened = (double)(now() - began) / 1e9;
	uint64_t unsettled = channel_file.unsettled(b.channel);
	struct span *span = NULL;
	if (channel_file.taker_open(b.channel, "k", &b.taker, &err))
		die(err.text);
	while (unsettled && !span)
		if (channel_file.take(b.taker, 1, 1u << 20, NS_PER_S, &span))
			die("nothing can be taken");
	double first = (double)(now() - began) / 1e9;
	if (span)
		channel_file.settle(b.taker, span, SETTLE_ROLLBACK, NULL, 0);
	printf("{\"unsettled\":%llu,\"open_seconds\":%.4f,\"first_event_seconds\":%.4f}\n", (unsigned long long)unsettled, opened, first);
	fflush(stdout);
	_exit(0);		/* the log stays as it is, for the next one */
}

static int
run_behind(const char *dir, double seconds, int cpu, int other)
{
	open_channel(dir, 0, 0, NULL);
	uint64_t backlog = channel_file.unsettled(b.channel);
	start(true, &other);
	pin(cpu);
	append(0.5, 0);
	uint64_t began = now(), bytes = channel_sum("log_bytes"), reads = read_bytes(), taken = atomic_load(&b.taken), put = b.done;
	append(seconds, 0);
	double took = (double)(now() - began) / 1e9;
	bytes = channel_sum("log_bytes") - bytes;
	reads = read_bytes() - reads;
	put = b.done - put;
	taken = atomic_load(&b.taken) - taken;
	printf("{\"backlog\":%llu,\"left\":%llu,\"append_bytes_per_second\":%.0f,\"read_bytes_per_second\":%.0f,\"events_per_second\":%.0f,"
	       "\"taken_per_second\":%.0f}\n", (unsigned long long)backlog, (unsigned long long)channel_file.unsettled(b.channel), (double)bytes / took,
	       (double)reads / took, (double)put / took, (double)taken / took);
	fflush(stdout);
	_exit(0);
}

static void
finish(void)
{
	atomic_store(&b.stop_taker, true);
	if (b.taker)
		pthread_join(b.taker_thread, NULL);
	atomic_store(&b.stop_writer, true);
	channel_file.writer_wake(b.channel);
	pthread_join(b.writer, NULL);
	if (b.taker)
		channel_file.taker_close(b.taker);
	channel_file.close(b.channel);
	block_scratch_free(b.scratch);
	option_values_free(&b.values);
	free(b.set);
	free(b.latency_ns);
}

int
main(int argc, char **argv)
{
	const char *mode = argc > 2 ? argv[1] : "", *dir = argc > 2 ? argv[2] : "";
	int rc = 2;
	if (strcmp(mode, "append") == 0 && (argc == 9 || argc == 10))
		rc = run_append(dir, atof(argv[3]), (uint32_t)atoi(argv[4]), (uint32_t)atoi(argv[5]), strtoull(argv[6], NULL, 10), atoi(argv[7]),
				atoi(argv[8]), argv[9]);
	else if (strcmp(mode, "trickle") == 0 && argc == 6)
		rc = run_trickle(dir, (uint32_t)atoi(argv[3]), atoi(argv[4]), atoi(argv[5]));
	else if (strcmp(mode, "device") == 0 && argc == 7)
		return run_device(dir, atof(argv[3]), (uint32_t)atoi(argv[4]), atof(argv[5]), atoi(argv[6]));
	else if (strcmp(mode, "fill") == 0 && argc == 4)
		return run_fill(dir, strtoull(argv[3], NULL, 10));
	else if (strcmp(mode, "open") == 0 && argc == 3)
		return run_open(dir);
	else if (strcmp(mode, "behind") == 0 && argc == 6)
		return run_behind(dir, atof(argv[3]), atoi(argv[4]), atoi(argv[5]));
	else
		return rc;
	finish();
	return rc;
}
