/* penstock-relay: a seeded bad network between two TAP interfaces that it makes, for tests in network namespaces.
 * Ends on SIGTERM or SIGINT; the last line is what became of the frames, as JSON. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "tools/relay/relay.h"

static volatile sig_atomic_t stop;

static void
on_signal(int signal)
{
	(void)signal;
	stop = 1;
}

static const char help[] =
	"usage: penstock-relay --a TAP --b TAP [options]\n"
	"Makes two TAP interfaces and carries frames between them, badly. Shares are numbers from 0 to 1, times are milliseconds.\n"
	"  --seed N          which bad luck (1)\n"
	"  --loss SHARE      frames that vanish\n"
	"  --duplicate SHARE frames that come twice\n"
	"  --reorder SHARE   frames that come --reorder-ms later than their turn (2)\n"
	"  --reorder-ms MS\n"
	"  --corrupt SHARE   frames with one bit turned\n"
	"  --delay MS        of every frame; --jitter MS: up to so much more\n"
	"  --jitter MS\n"
	"  --mtu BYTES       longer packets vanish\n"
	"  --queue FRAMES    on their way at once, each direction (1000)\n";

static int
tap_open(const char *name)
{
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0) {
		fprintf(stderr, "penstock-relay: /dev/net/tun: %s\n", strerror(errno));
		return -1;
	}
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI };
	if (strlen(name) >= sizeof request.ifr_name) {
		fprintf(stderr, "penstock-relay: %s: a name has at most %zu characters\n", name, sizeof request.ifr_name - 1);
		close(fd);
		return -1;
	}
	memcpy(request.ifr_name, name, strlen(name));
	if (ioctl(fd, TUNSETIFF, &request)) {
		fprintf(stderr, "penstock-relay: %s: %s\n", name, strerror(errno));
		close(fd);
		return -1;
	}
	return fd;
}

static void
carry(struct relay *relay, const int fds[2])
{
	static uint8_t buffer[RELAY_FRAME_BYTES + 64];
	const uint8_t *bytes;
	uint32_t len;
	while (!stop) {
		uint64_t now_ns = clock_now_ns(&clock_system), next_ns = relay_next_ns(relay);
		struct pollfd polls[2] = { { .fd = fds[0], .events = POLLIN }, { .fd = fds[1], .events = POLLIN } };
		struct timespec wait = { .tv_nsec = (long)(100 * NS_PER_MS) };
		if (next_ns <= now_ns)
			wait.tv_nsec = 0;
		else if (next_ns - now_ns < 100 * NS_PER_MS)
			wait.tv_nsec = (long)(next_ns - now_ns);
		ppoll(polls, 2, &wait, NULL);
		now_ns = clock_now_ns(&clock_system);
		for (unsigned i = 0; i < 2; i++) {
			ssize_t n;
			for (int k = 0; k < 64 && (n = read(fds[i], buffer, sizeof buffer)) > 0; k++)
				relay_put(relay, i, buffer, (uint32_t)n, now_ns);
			while (relay_get(relay, i, &bytes, &len, now_ns)) {
				n = write(fds[i], bytes, len);
				(void)n;	/* an interface that is down takes nothing */
			}
		}
	}
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "a", 1, NULL, 'a' }, { "b", 1, NULL, 'b' }, { "seed", 1, NULL, 's' }, { "loss", 1, NULL, 'l' }, { "duplicate", 1, NULL, 'd' },
		{ "reorder", 1, NULL, 'r' }, { "reorder-ms", 1, NULL, 'R' }, { "corrupt", 1, NULL, 'c' }, { "delay", 1, NULL, 'D' },
		{ "jitter", 1, NULL, 'j' }, { "mtu", 1, NULL, 'm' }, { "queue", 1, NULL, 'q' }, { "help", 0, NULL, 'h' }, { NULL, 0, NULL, 0 },
	};
	struct relay_config config = { .seed = 1, .reorder_ns = 2 * NS_PER_MS };
	const char *names[2] = { NULL, NULL };
	for (int c; (c = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
		double ms = optarg ? strtod(optarg, NULL) * (double)NS_PER_MS : 0;
		switch (c) {
		case 'a': names[0] = optarg; break;
		case 'b': names[1] = optarg; break;
		case 's': config.seed = strtoull(optarg, NULL, 10); break;
		case 'l': config.loss = strtod(optarg, NULL); break;
		case 'd': config.duplicate = strtod(optarg, NULL); break;
		case 'r': config.reorder = strtod(optarg, NULL); break;
		case 'R': config.reorder_ns = (uint64_t)ms; break;
		case 'c': config.corrupt = strtod(optarg, NULL); break;
		case 'D': config.delay_ns = (uint64_t)ms; break;
		case 'j': config.jitter_ns = (uint64_t)ms; break;
		case 'm': config.mtu = (uint32_t)strtoul(optarg, NULL, 10); break;
		case 'q': config.room = (uint32_t)strtoul(optarg, NULL, 10); break;
		case 'h': fputs(help, stdout); return 0;
		default: fputs(help, stderr); return 2;
		}
	}
	if (!names[0] || !names[1] || optind != argc) {
		fputs(help, stderr);
		return 2;
	}
	int fds[2] = { tap_open(names[0]), tap_open(names[1]) };
	struct relay *relay = relay_open(&config);
	if (fds[0] < 0 || fds[1] < 0 || !relay)
		return 1;
	struct sigaction action = { .sa_handler = on_signal };
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	printf("ready\n");
	fflush(stdout);
	carry(relay, fds);
	printf("{");
	for (unsigned i = 0; i < 2; i++) {
		const struct relay_counts *n = relay_counts(relay, i);
		printf("%s\"%s\": {\"in\": %llu, \"out\": %llu, \"lost\": %llu, \"duplicated\": %llu, \"reordered\": %llu, \"corrupted\": %llu, "
		       "\"too_long\": %llu, \"overflow\": %llu}", i ? ", " : "", i ? "b" : "a", (unsigned long long)n->in, (unsigned long long)n->out,
		       (unsigned long long)n->lost, (unsigned long long)n->duplicated, (unsigned long long)n->reordered,
		       (unsigned long long)n->corrupted, (unsigned long long)n->too_long, (unsigned long long)n->overflow);
	}
	printf("}\n");
	relay_close(relay);
	return 0;
}
