/* penstock-hostcheck: is this host ready, and which command mends what is not. Exit status: 0 ready, 1 something to mend, 2 usage. */
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "tools/hostcheck/checks.h"

static const char usage_text[] =
	"usage: penstock-hostcheck [--dir DIR] [--lcores LIST] [--device PCI] [--kernel] [--json]\n"
	"\n"
	"  -d, --dir DIR       where the log will be (default: here)\n"
	"  -l, --lcores LIST   the cores that will poll, as 2-5\n"
	"  -p, --device PCI    the NIC to be taken, as 0000:3b:00.0\n"
	"  -k, --kernel        for kernel sockets only: DPDK's checks are left out\n"
	"      --root DIR      reads DIR/proc and DIR/sys in place of this host's\n"
	"      --json          the same as JSON\n"
	"  -h, --help   -V, --version\n"
	"\n"
	"Exit status: 0 ready, 1 something to mend, 2 wrong usage.\n";

int
main(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "dir", required_argument, NULL, 'd' }, { "lcores", required_argument, NULL, 'l' }, { "device", required_argument, NULL, 'p' },
		{ "kernel", no_argument, NULL, 'k' }, { "root", required_argument, NULL, 'r' }, { "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' }, { "version", no_argument, NULL, 'V' }, { 0 },
	};
	struct host host = { .root = "" };
	bool json = false, ready = true;
	int c;
	while ((c = getopt_long(argc, argv, "d:l:p:khV", longs, NULL)) != -1) {
		switch (c) {
		case 'd': host.dir = optarg; break;
		case 'l':
			if (!cores_parse(optarg, host.lcores)) {
				fprintf(stderr, "penstock-hostcheck: --lcores: \"%s\": want a list as 2-5,8\n", optarg);
				return 2;
			}
			break;
		case 'p': host.device = optarg; break;
		case 'k': host.kernel_only = true; break;
		case 'r': host.root = optarg; break;
		case 'j': json = true; break;
		case 'h': fputs(usage_text, stdout); return 0;
		case 'V': puts("penstock-hostcheck " PENSTOCK_VERSION); return 0;
		default: return 2;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "penstock-hostcheck: \"%s\": want options only: --help lists them\n", argv[optind]);
		return 2;
	}
	json_t *list = json_array();
	for (const struct check *check = checks; check->name; check++) {
		struct finding finding = { 0 };
		if (check->dpdk && host.kernel_only)
			continue;
		check->run(&host, &finding);
		ready = ready && finding.ok;
		if (json) {
			json_array_append_new(list, json_pack("{ss sb ss ss}", "check", check->name, "ok", finding.ok, "text", finding.text,
							      "mend", finding.mend));
			continue;
		}
		printf("%-4s  %-14s  %s\n", finding.ok ? "ok" : "warn", check->name, finding.text);
		if (finding.mend[0])
			printf("%24s%s\n", "-> ", finding.mend);
	}
	if (json) {
		json_t *all = json_pack("{sb sO}", "ready", ready, "checks", list);
		json_dumpf(all, stdout, JSON_COMPACT);
		putchar('\n');
		json_decref(all);
	}
	json_decref(list);
	return ready ? 0 : 1;
}
