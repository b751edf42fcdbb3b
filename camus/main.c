/* penstock-camus: Kafka topics into dated folders, as LinkedIn's Camus does, each record once. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "camus/conf.h"
#include "camus/run.h"

static void
usage(FILE *to)
{
	fprintf(to,
		"usage: penstock-camus [run] -P FILE [-p FILE] [-D name=value]... [--json] [--quiet]\n"
		"       penstock-camus plan  -P FILE [-p FILE] [-D name=value]... [--json]\n"
		"       penstock-camus reset TOPIC[:PARTITION] --to earliest|latest|OFFSET|TIME -P FILE ...\n"
		"\n"
		"Loads Kafka topics into dated folders, as LinkedIn's Camus does; its property files are read unchanged.\n"
		"  run        one run: topics, offsets, tasks, commit, report (default)\n"
		"  plan       what a run would do; changes nothing\n"
		"  reset      sets where a topic goes on, once\n"
		"  -P FILE    properties;  -p FILE  properties read before -P's;  -D  one more, wins\n"
		"  --json     report as JSON on standard output\n"
		"  --quiet    no progress\n"
		"Exit status: 0 all done, 1 some partitions or records failed as the report says, 2 configuration.\n");
}

/* Files in the order in which they count: -p before -P, whatever the order on the command line; then -D. */
struct inputs {
	const char *first, *second;
	const char *defines[256];
	size_t define_count;
};

static int
inputs_load(struct camus_conf *conf, const struct inputs *inputs)
{
	struct err err = { "" };
	int rc = 0;
	if (inputs->first)
		rc = conf_file(conf, inputs->first, &err);
	if (!rc && inputs->second)
		rc = conf_file(conf, inputs->second, &err);
	for (size_t i = 0; i < inputs->define_count && !rc; i++)
		rc = conf_define(conf, inputs->defines[i], &err);
	if (rc)
		fprintf(stderr, "penstock-camus: %s\n", err.text);
	return rc ? rc : conf_load(conf);
}

int
main(int argc, char **argv)
{
	static const char *const later[] = { "import", "backfill", "redo", "sweep", "clean", "bundle", NULL };
	const char *command = "run";
	struct inputs inputs = { NULL };
	struct run_options options = { false };
	int at = 1;
	if (at < argc && argv[at][0] != '-')
		command = argv[at++];
	for (size_t i = 0; later[i]; i++)
		if (strcmp(command, later[i]) == 0) {
			fprintf(stderr, "penstock-camus: %s is not there yet: run, plan and reset are\n", command);
			return 2;
		}
	bool reset = strcmp(command, "reset") == 0;
	const char *what = NULL, *to = NULL;
	if (strcmp(command, "run") != 0 && strcmp(command, "plan") != 0 && !reset) {
		fprintf(stderr, "penstock-camus: no command \"%s\"\n", command);
		usage(stderr);
		return 2;
	}
	for (; at < argc; at++) {
		const char *arg = argv[at];
		const char *value = NULL;
		if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0) {
			usage(stdout);
			return 0;
		}
		if (strcmp(arg, "--version") == 0) {
			puts("penstock-camus " PENSTOCK_VERSION);
			return 0;
		}
		if (reset && strcmp(arg, "--to") == 0 && at + 1 < argc) {
			to = argv[++at];
			continue;
		}
		if (reset && arg[0] != '-' && !what) {
			what = arg;
			continue;
		}
		if (strcmp(arg, "--json") == 0) {
			options.json = true;
			continue;
		}
		if (strcmp(arg, "--quiet") == 0) {
			options.quiet = true;
			continue;
		}
		if (arg[0] == '-' && arg[1] && strchr("PpD", arg[1])) {
			value = arg[2] ? arg + 2 : at + 1 < argc ? argv[++at] : NULL;
			if (!value) {
				fprintf(stderr, "penstock-camus: %s needs a value\n", arg);
				return 2;
			}
		}
		if (value && arg[1] == 'P')
			inputs.second = value;
		else if (value && arg[1] == 'p')
			inputs.first = value;
		else if (value && inputs.define_count < sizeof inputs.defines / sizeof *inputs.defines)
			inputs.defines[inputs.define_count++] = value;
		else {
			fprintf(stderr, "penstock-camus: \"%s\" is not understood\n", arg);
			usage(stderr);
			return 2;
		}
	}
	if (!inputs.first && !inputs.second && inputs.define_count == 0) {
		usage(stderr);
		return 2;
	}
	if (reset && (!what || !to)) {
		fprintf(stderr, "penstock-camus: reset needs TOPIC[:PARTITION] and --to earliest|latest|OFFSET|TIME\n");
		return 2;
	}
	struct camus_conf conf = { .values = { NULL } };
	int status = 2;
	if (inputs_load(&conf, &inputs) == 0)
		status = reset ? run_reset(&conf, &options, what, to) : strcmp(command, "plan") == 0 ? run_plan(&conf, &options) : run_job(&conf, &options);
	conf_free(&conf);
	return status;
}
