/* power_cut_guest: the first process of an emulated machine: mounts the disk, runs a file channel on it (or, with daemon=1, the whole daemon:
 * power_cut_daemon.c), and tells on a second disk how much was acknowledged and how much a sink was about to settle. Every write of both
 * is logged outside, in one log, so that what had been promised at each point stands in the same order as the writes themselves. Kernel
 * arguments: seed=N, sync=true|false, events=N, daemon=1.
 *
 * Told by sectors of 512 bytes: "PSAK", u32 0, u64, u64: acknowledged and taken (all numbers below may be gone), or lines and requests'
 * events acknowledged. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "channel/channel_file.h"
#include "tests/channel/power_cut.h"

#define TOLD_SECTORS 2048u

static const struct channel_ops *const ops = &channel_file;
static int told_fd;
static uint8_t *told;
static uint64_t acked, taken, sent, turn;
static uint64_t seed = 1;

uint32_t
guest_chance(uint32_t below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % below;
}

void
guest_fail(const char *what)
{
	perror(what);
	printf("GUEST FAILED\n");
	fflush(stdout);
	if (getpid() == 1)
		reboot(RB_POWER_OFF);
	exit(1);
}

static void
modules_load(void)
{
	FILE *list = fopen("/modules", "r");
	char path[256];
	while (list && fgets(path, sizeof path, list)) {
		path[strcspn(path, "\n")] = 0;
		int fd = open(path, O_RDONLY);
		if (fd < 0 || syscall(SYS_finit_module, fd, "", 0))
			guest_fail(path);
		close(fd);
	}
}

void
guest_tell(uint64_t first, uint64_t second)
{
	memcpy(told, "PSAK\0\0\0", 8);
	memcpy(told + 8, &first, 8);
	memcpy(told + 16, &second, 8);
	if (pwrite(told_fd, told, 512, (off_t)(turn++ % TOLD_SECTORS * 512)) != 512)
		guest_fail("telling");
}

static void
complain(struct option_report *report, bool fatal, const char *origin, const char *key, const char *text)
{
	(void)report, (void)fatal, (void)origin;
	printf("%s: %s\n", key, text);
}

/* Puts and takes until `until` events are acknowledged. */
static void
run(const char *sync, uint64_t until)
{
	struct property props[] = { { "dataDirs", "/disk/data", "t", false }, { "checkpointDir", "/disk/checkpoint", "t", false },
		{ "minimumRequiredSpace", "1", "t", false }, { "penstock.segmentSize", "2m", "t", false },
		{ "checkpointInterval", *sync == 't' ? "100" : "86400000", "t", false },	/* each syncs the log, too: else a slow machine would sync all in time */
		{ "fsyncPerTransaction", (char *)sync, "t", false }, { "fsyncInterval", "86400", "t", false } };
	struct channel_file_config config;
	struct option_values values = { 0 };
	struct option_report report = { complain };
	struct channel_env env = { .name = "c1", .clock = &clock_system, .links_max = 1, .blocks = 16 };
	struct channel *channel;
	struct channel_link *link;
	struct block_scratch *scratch;
	struct taker *taker;
	struct span *span;
	struct err err = { "" };
	memset(&config, 0, sizeof config);
	if (option_parse(ops->options, props, sizeof props / sizeof *props, &config, &values, &report) || ops->open(&channel, &config, &env, &err) ||
	    ops->link(channel, "i", -1, &link, &err) || ops->taker_open(channel, "k", &taker, &err) || block_scratch_init(&scratch, 256u << 10)) {
		printf("%s\n", err.text);
		guest_fail("opening the channel");
	}
	while (acked < until) {
		struct block *b = sent < until ? channel_credit(link) : NULL;
		if (b) {
			block_open(b, scratch);
			for (uint32_t n = 1 + guest_chance(8); n && sent < until; n--, sent++) {
				static char body[4096];
				int len = snprintf(body, sizeof body, "event %" PRIu64 " ", sent);
				memset(body + len, 'a' + (int)(sent % 26), 3000);
				struct event e = { .body = (uint8_t *)body, .body_len = (uint32_t)len + guest_chance(2000), .time_ns = 1 };
				if (block_put(b, 0, &e))
					break;
			}
			block_seal(b);
			channel_submit(link, &b);
		}
		(void)ops->writer_step(channel, 1000000);
		uint64_t before = acked;
		for (struct completion *c; (c = channel_completion(link));) {
			if (c->status)
				guest_fail("a write");
			acked += c->events;
			channel_completion_done(link, c);
		}
		if (acked != before)
			guest_tell(acked, taken);
		if (guest_chance(6) == 0 && ops->take(taker, 1 + guest_chance(40), 1u << 20, 0, &span) == 0 && span) {
			taken = span->first + span->events;
			guest_tell(acked, taken);
			if (ops->settle(taker, span, SETTLE_COMMIT, NULL, 0))
				guest_fail("settling");
		}
	}
	ops->taker_close(taker);
	ops->close(channel);
	block_scratch_free(scratch);
	option_values_free(&values);
}

int
main(void)
{
	char line[1024] = "", *at;
	uint64_t events = 400;
	const char *sync = "true";
	mkdir("/proc", 0755);
	mkdir("/dev", 0755);
	mkdir("/disk", 0755);
	if (mount("proc", "/proc", "proc", 0, NULL) || (mount("dev", "/dev", "devtmpfs", 0, NULL) && access("/dev/console", F_OK)))
		guest_fail("mount");
	modules_load();
	int fd = open("/proc/cmdline", O_RDONLY);
	if (fd < 0 || read(fd, line, sizeof line - 1) <= 0)
		guest_fail("/proc/cmdline");
	if ((at = strstr(line, "seed=")))
		seed = strtoull(at + 5, NULL, 10);
	if ((at = strstr(line, "events=")))
		events = strtoull(at + 7, NULL, 10);
	if (strstr(line, "sync=false"))
		sync = "false";
	for (int i = 0; i < 3000 && mount("/dev/vda", "/disk", "ext4", 0, NULL); i++) {
		if (i == 2999)
			guest_fail("/dev/vda");
		usleep(20000);
	}
	told_fd = open("/dev/vdb", O_WRONLY | O_DIRECT);
	told = aligned_alloc(4096, 4096);
	if (told_fd < 0 || !told)
		guest_fail("/dev/vdb");
	memset(told, 0, 4096);
	if (strstr(line, "daemon=1"))
		guest_daemon(sync, events, &acked, &taken);
	else {
		run(sync, events / 3);		/* an orderly stop and a second epoch in between */
		run(sync, events);
	}
	printf("GUEST DONE %" PRIu64 " %" PRIu64 "\n", acked, taken);
	fflush(stdout);
	reboot(RB_POWER_OFF);
	return 0;
}
