/* penstock-trafficgen: offered load with an oracle, and its verification. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "tools/trafficgen/read.h"
#include "tools/trafficgen/report.h"
#include "tools/trafficgen/tcp_load.h"
#include "tools/trafficgen/send.h"

#define EXIT_USAGE 2

static volatile sig_atomic_t stopped;

static const char help[] =
	"usage: penstock-trafficgen send --kernel --to ADDRESS:PORT --as WHAT [option...]\n"
	"       penstock-trafficgen send --device DEVICE --from ADDRESS/LEN --to ADDRESS:PORT --as WHAT [option...]\n"
	"       penstock-trafficgen verify [--seed N] [--sources N] [--sent REPORT] [--acked PLACE | --require-all] [--report FILE] PLACE\n"
	"\n"
	"send:\n"
	"  --kernel            through kernel sockets\n"
	"  --device DEVICE     through a DPDK device: net_memif0,role=client,socket=PATH,socket-abstract=no ...\n"
	"  --from ADDRESS/LEN  own address of the device\n"
	"  --cpu N             CPU of the sending thread of a device (default 0)\n"
	"  --no-huge           DPDK without huge pages\n"
	"  --hold              a device stays connected after the report is written, until SIGTERM\n"
	"  --to ADDRESS:PORT   where to\n"
	"  --as WHAT           syslog-udp, netcat-udp; over TCP, one connection for each source: syslog-tcp, netcat-tcp, http\n"
	"  --pipeline N        http: requests under way on a connection (default 1)\n"
	"  --active N          TCP through a device: only the first N connections are given events, the others stay open\n"
	"  --format F          rfc3164 (syslog's default), rfc5424, raw (the others' default), or a file whose lines are messages\n"
	"  --size BYTES        of a message, stamp included (default 200)\n"
	"  --sources N         (default 64)\n"
	"  --count N, --seconds S   when to stop; neither: at SIGINT or SIGTERM\n"
	"  --rate N|max        events/s; k and m are understood (default max)\n"
	"  --seed N            (default 1)\n"
	"  --match P%:WORD     share of messages with that word in them; may be given several times\n"
	"  --report FILE       JSON (default: standard output)\n"
	"  --quiet             no progress lines\n"
	"\n"
	"verify: PLACE is file_roll:DIR, ringlog:DIR, kafka:BROKERS/TOPIC, file:PATH, or - for standard input\n"
	"  --sent REPORT       what send reported, acknowledged sequences over TCP among it: without it only holes below the highest sequence seen are lost\n"
	"  --acked PLACE       what stands there counts as acknowledged (as what a log on disk holds)\n"
	"  --require-all       everything sent counts as acknowledged\n"
	"  exit status 0 only when nothing acknowledged is lost and nothing is corrupted or phantom\n";

enum { OPT_KERNEL = 256, OPT_DEVICE, OPT_FROM, OPT_CPU, OPT_NO_HUGE, OPT_HOLD,
	OPT_TO, OPT_AS, OPT_FORMAT, OPT_SIZE, OPT_SOURCES, OPT_COUNT, OPT_SECONDS, OPT_RATE,
	OPT_SEED, OPT_MATCH, OPT_REPORT, OPT_QUIET, OPT_PIPELINE, OPT_ACTIVE, OPT_SENT, OPT_ACKED, OPT_REQUIRE_ALL, OPT_HELP, OPT_VERSION };

enum { AS_DATAGRAM = -1 };
static const struct as_word {
	const char *name, *format;	/* format: the default one */
	int tcp;			/* enum tcp_kind, or AS_DATAGRAM */
} as_words[] = {
	{ "syslog-udp", "rfc3164", AS_DATAGRAM }, { "netcat-udp", "raw", AS_DATAGRAM }, { "syslog-tcp", "rfc3164", TCP_KIND_SYSLOG },
	{ "netcat-tcp", "raw", TCP_KIND_NETCAT }, { "http", "raw", TCP_KIND_HTTP },
};

static const struct option options[] = {
	{ "kernel", no_argument, NULL, OPT_KERNEL }, { "device", required_argument, NULL, OPT_DEVICE }, { "from", required_argument, NULL, OPT_FROM },
	{ "no-huge", no_argument, NULL, OPT_NO_HUGE },
	{ "hold", no_argument, NULL, OPT_HOLD }, { "cpu", required_argument, NULL, OPT_CPU }, { "to", required_argument, NULL, OPT_TO }, { "as", required_argument, NULL, OPT_AS },
	{ "format", required_argument, NULL, OPT_FORMAT }, { "size", required_argument, NULL, OPT_SIZE },
	{ "sources", required_argument, NULL, OPT_SOURCES }, { "count", required_argument, NULL, OPT_COUNT },
	{ "seconds", required_argument, NULL, OPT_SECONDS }, { "rate", required_argument, NULL, OPT_RATE },
	{ "seed", required_argument, NULL, OPT_SEED }, { "match", required_argument, NULL, OPT_MATCH },
	{ "report", required_argument, NULL, OPT_REPORT },
	{ "quiet", no_argument, NULL, OPT_QUIET }, { "pipeline", required_argument, NULL, OPT_PIPELINE },
	{ "active", required_argument, NULL, OPT_ACTIVE }, { "sent", required_argument, NULL, OPT_SENT },
	{ "acked", required_argument, NULL, OPT_ACKED }, { "require-all", no_argument, NULL, OPT_REQUIRE_ALL }, { "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION }, { NULL, 0, NULL, 0 },
};

struct arguments {
	struct send_config send;
	struct load_config load;
	struct pace pace;
	bool kernel, require_all;
	int tcp;			/* enum tcp_kind, or AS_DATAGRAM */
	const char *as, *report, *sent, *acked, *program;
	uint64_t seed_given;		/* 0: none */
	uint32_t sources_given;
};

static void
on_signal(int number)
{
	(void)number;
	stopped = 1;
}

/* A number with an optional k, m or g (thousands) behind it, and "/s" when `rate`. */
static bool
parse_number(const char *text, bool rate, double *number)
{
	char *end;
	*number = strtod(text, &end);
	if (end == text || !(*number >= 0) || *number > 1e18)
		return false;
	switch (*end) {
	case 'k': *number *= 1e3, end++; break;
	case 'm': case 'M': *number *= 1e6, end++; break;
	case 'g': case 'G': *number *= 1e9, end++; break;
	default: break;
	}
	return !*end || (rate && strcmp(end, "/s") == 0);
}

static int
take_number(const char *option, const char *text, double max, double *number, struct err *err)
{
	if (parse_number(text, false, number) && *number <= max)
		return 0;
	return err_set(err, EINVAL, "--%s: %s: want a number up to %.0f", option, text, max);
}

static int
take_match(struct load_config *load, const char *text, struct err *err)
{
	char *end;
	double percent = strtod(text, &end), sum = percent;
	for (uint32_t i = 0; i < load->match_count; i++)
		sum += load->matches[i].share * 100;
	if (end == text || end[0] != '%' || end[1] != ':' || !end[2] || !(percent > 0) || sum > 100)
		return err_set(err, EINVAL, "--match: %s: want PERCENT%%:WORD, all of them 100%% together at most", text);
	if (load->match_count == LOAD_MATCHES_MAX)
		return err_set(err, EINVAL, "--match: at most %u", LOAD_MATCHES_MAX);
	load->matches[load->match_count++] = (struct load_match){ percent / 100, end + 2 };
	return 0;
}

static int
take(struct arguments *a, int option, const char *text, struct err *err)
{
	double number = 0;
	int rc = 0;
	switch (option) {
	case OPT_KERNEL: a->kernel = true; break;
	case OPT_DEVICE: a->send.device = text; break;
	case OPT_FROM: a->send.from = text; break;
	case OPT_TO: a->send.to = text; break;
	case OPT_AS: a->as = text; break;
	case OPT_FORMAT: a->load.format = text; break;
	case OPT_REPORT: a->report = text; break;
	case OPT_HOLD: a->send.hold = true; break;
	case OPT_NO_HUGE: a->send.no_huge = true; break;
	case OPT_QUIET: a->pace.quiet = true; break;
	case OPT_SENT: a->sent = text; break;
	case OPT_ACKED: a->acked = text; break;
	case OPT_REQUIRE_ALL: a->require_all = true; break;
	case OPT_MATCH: return take_match(&a->load, text, err);
	case OPT_CPU:
		rc = take_number("cpu", text, 1023, &number, err);
		a->send.cpu = (uint32_t)number;
		break;
	case OPT_SIZE:
		rc = take_number("size", text, LOAD_SIZE_MAX, &number, err);
		a->load.size = (uint32_t)number;
		break;
	case OPT_SOURCES:
		rc = take_number("sources", text, LOAD_SOURCES_MAX, &number, err);
		a->load.sources = a->sources_given = (uint32_t)number;
		break;
	case OPT_COUNT:
		rc = take_number("count", text, 1e15, &number, err);
		a->pace.count = (uint64_t)number;
		break;
	case OPT_SECONDS:
		rc = take_number("seconds", text, 1e8, &number, err);
		a->pace.duration_ns = (uint64_t)(number * (double)NS_PER_S);
		break;
	case OPT_PIPELINE:
		rc = take_number("pipeline", text, 65536, &number, err);
		a->send.pipeline = number < 1 ? 1 : (uint32_t)number;
		break;
	case OPT_ACTIVE:
		rc = take_number("active", text, LOAD_SOURCES_MAX, &number, err);
		a->send.active = number < 1 ? 1 : (uint32_t)number;
		break;
	case OPT_SEED:
		rc = take_number("seed", text, 9e15, &number, err);
		a->load.seed = a->seed_given = (uint64_t)number;
		break;
	case OPT_RATE:
		if (strcmp(text, "max") == 0)
			a->pace.rate = 0;
		else if (!parse_number(text, true, &a->pace.rate) || a->pace.rate <= 0)
			rc = err_set(err, EINVAL, "--rate: %s: want events/s (100000/s, 100k, 1.5m) or max", text);
		break;
	default:
		rc = err_set(err, EINVAL, "see penstock-trafficgen --help");
	}
	return rc;
}

static int
check_send(struct arguments *a, struct err *err)
{
	if (a->kernel == (a->send.device != NULL))
		return err_set(err, EINVAL, "send: want either --kernel or --device DEVICE");
	if (!a->send.to)
		return err_set(err, EINVAL, "send: --to ADDRESS:PORT is missing");
	if (a->send.device && !a->send.from)
		return err_set(err, EINVAL, "send: --from ADDRESS/LEN is missing: a device has no address of its own");
	if (!a->as)
		return err_set(err, EINVAL, "send: --as is missing: syslog-udp, netcat-udp, syslog-tcp, netcat-tcp or http");
	for (size_t i = 0; i < sizeof as_words / sizeof *as_words; i++) {
		if (strcmp(a->as, as_words[i].name))
			continue;
		a->tcp = as_words[i].tcp;
		if (!a->load.format)
			a->load.format = as_words[i].format;
		if (a->send.active && (a->kernel || a->tcp == AS_DATAGRAM))
			return err_set(err, EINVAL, "--active: only for TCP through a device");
		return 0;
	}
	return err_set(err, EINVAL, "--as: %s: syslog-udp, netcat-udp, syslog-tcp, netcat-tcp or http", a->as);
}

struct sending {
	struct arguments *arguments;
	struct load *load;
	struct send_result *result;
	struct err *err;
	bool told;
	int rc;
};

static void
tell_sent(void *context)
{
	struct sending *sending = context;
	struct arguments *a = sending->arguments;
	sending->told = true;
	sending->rc = report_send(a->report, sending->load, &a->load, sending->result, sending->err);
}

static int
run_send(struct arguments *a, struct err *err)
{
	struct sigaction action = { .sa_handler = on_signal };
	struct load load;
	struct send_result result = { 0 };
	int rc = check_send(a, err);
	if (rc)
		return EXIT_USAGE;
	a->load.time = (time_t)(clock_wall_ns(&clock_system) / NS_PER_S);
	a->send.stop = &stopped;
	rc = load_open(&load, &a->load, err);
	if (rc)
		return rc == -ENOMEM ? EXIT_FAILURE : EXIT_USAGE;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	struct err report_err = { "" };
	struct sending sending = { .arguments = a, .load = &load, .result = &result, .err = &report_err };
	a->send.sent = tell_sent;
	a->send.context = &sending;
	struct tcp_load tcp;
	if (a->tcp == AS_DATAGRAM) {
		rc = a->kernel ? send_kernel(&a->send, &load, &a->pace, &result, err) : send_device(&a->send, &load, &a->pace, &result, err);
	} else {
		result.last = calloc(load.sources, sizeof *result.last);
		result.acked = calloc(load.sources, sizeof *result.acked);
		rc = result.last && result.acked ? tcp_load_open(&tcp, &load, a->tcp, a->send.to, err) : err_set(err, ENOMEM, "no memory");
		if (!rc)
			rc = (a->kernel ? send_tcp_kernel : send_tcp_device)(&a->send, &tcp, &a->pace, &result, err);
	}
	/* What went before a failure went: the report is written all the same. */
	if (!sending.told)
		tell_sent(&sending);
	load_close(&load);
	free(result.last);
	free(result.acked);
	if (!rc && sending.rc)
		*err = report_err;
	if (rc == -EINVAL)
		return EXIT_USAGE;
	return rc || sending.rc ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int
run_verify(struct arguments *a, const char *place, struct err *err)
{
	struct ledger ledger = { 0 }, acked = { 0 };
	int status = EXIT_USAGE, rc;
	if (!place) {
		err_set(err, EINVAL, "verify: say where to look: file_roll:DIR, ringlog:DIR, kafka:BROKERS/TOPIC, file:PATH or -");
		return EXIT_USAGE;
	}
	if (a->acked && a->require_all) {
		err_set(err, EINVAL, "verify: --acked or --require-all, not both");
		return EXIT_USAGE;
	}
	if (a->require_all && !a->sent) {
		err_set(err, EINVAL, "verify: --require-all wants --sent REPORT");
		return EXIT_USAGE;
	}
	rc = a->sent ? report_expect(a->sent, a->seed_given, a->sources_given, &ledger, err) : ledger_open(&ledger, a->load.sources);
	if (!rc && a->acked) {
		rc = a->sent ? report_expect(a->sent, 0, 0, &acked, err) : ledger_open(&acked, ledger.source_count);
		if (!rc)
			rc = read_place(&acked, a->acked, a->program, err);
	}
	if (!rc)
		rc = read_place(&ledger, place, a->program, err);
	if (!rc) {
		uint64_t lost_acked = a->acked ? ledger_lacks(&ledger, &acked) : a->require_all ? ledger_lost(&ledger) : ledger_lost_acked(&ledger);
		bool whole = !lost_acked && !ledger.corrupted && !ledger.phantom;
		rc = report_verify(a->report, &ledger, lost_acked, err);
		status = whole && !rc ? EXIT_SUCCESS : EXIT_FAILURE;
		if (!whole)
			err_set(err, EIO, "verify: %s: %llu acknowledged lost, %llu corrupted, %llu phantom", place, (unsigned long long)lost_acked,
				(unsigned long long)ledger.corrupted, (unsigned long long)ledger.phantom);
	} else if (rc != -EINVAL) {
		status = EXIT_FAILURE;
	}
	ledger_close(&acked);
	ledger_close(&ledger);
	return status;
}

int
main(int argc, char **argv)
{
	struct err err = { "" };
	struct arguments a = { .send.pipeline = 1, .load = { .size = 200, .sources = 64, .seed = 1 }, .program = argv[0] };
	const char *command = argc > 1 ? argv[1] : "";
	int option, status = EXIT_SUCCESS;
	if (strcmp(command, "--version") == 0) {
		puts("penstock-trafficgen " PENSTOCK_VERSION);
		return EXIT_SUCCESS;
	}
	if (strcmp(command, "--help") == 0 || strcmp(command, "-h") == 0 || strcmp(command, "help") == 0) {
		fputs(help, stdout);
		return EXIT_SUCCESS;
	}
	bool send = strcmp(command, "send") == 0;
	if (!send && strcmp(command, "verify") != 0) {
		if (*command)
			fprintf(stderr, "penstock-trafficgen: %s: no such command: send or verify; see penstock-trafficgen --help\n", command);
		else
			fputs(help, stderr);
		return EXIT_USAGE;
	}
	optind = 2;
	while (!err.text[0] && (option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == OPT_HELP) {
			fputs(help, stdout);
			return EXIT_SUCCESS;
		}
		if (option == OPT_VERSION) {
			puts("penstock-trafficgen " PENSTOCK_VERSION);
			return EXIT_SUCCESS;
		}
		if (take(&a, option, optarg, &err) != 0)
			status = EXIT_USAGE;
	}
	if (!status && optind < argc - !send) {
		err_set(&err, EINVAL, "%s: not understood", argv[optind + !send]);
		status = EXIT_USAGE;
	}
	if (!status)
		status = send ? run_send(&a, &err) : run_verify(&a, argv[optind], &err);
	if (err.text[0])
		fprintf(stderr, "penstock-trafficgen: %s\n", err.text);
	return status;
}
