/* penstock-camus: Kafka topics into dated folders, as LinkedIn's Camus does, each record once. */
#include <malloc.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "camus/conf.h"
#include "camus/run.h"
#include "camus/yarn.h"

static void
usage(FILE *to)
{
	fprintf(to,
		"usage: penstock-camus [run] -P FILE [-p FILE] [-D name=value]... [--json] [--quiet] [--metrics-file FILE]\n"
		"       penstock-camus plan  -P FILE [-p FILE] [-D name=value]... [--json]\n"
		"       penstock-camus reset TOPIC[:PARTITION] --to earliest|latest|OFFSET|TIME -P FILE ...\n"
		"       penstock-camus import -P FILE ...\n"
		"       penstock-camus backfill TOPIC --from TIME --to TIME --into DIR -P FILE ...\n"
		"       penstock-camus redo N [--accept-loss] -P FILE ...\n"
		"       penstock-camus sweep|clean [--dry-run] -P FILE ...\n"
		"       penstock-camus compare --tier TIER -P FILE ...\n"
		"       penstock-camus bundle FILE.tar.gz\n"
		"\n"
		"Loads Kafka topics into dated folders, as LinkedIn's Camus does; its property files are read unchanged.\n"
		"  run        one run: topics, offsets, tasks, commit, report (default)\n"
		"  plan       what a run would do; changes nothing\n"
		"  reset      sets where a topic goes on, once\n"
		"  import     goes on where Camus's newest execution ended\n"
		"  backfill   a topic's records of a time (by Kafka's index) into a folder of their own\n"
		"  redo       fetches again what was taken out of _penstock before manifest N was finished\n"
		"  sweep      many small files of published folders to few (camus.sweeper.*)\n"
		"  clean      removes dated folders that are older than camus.sweeper.clean.retention.days.*\n"
		"  compare    this job's audit counts beside another tier's: names the windows that differ\n"
		"  bundle     an archive of this program and its libraries, for tasks on YARN (penstock.camus.yarn.bundle)\n"
		"  task       one mapper of a run on YARN, as Hadoop Streaming starts it: [FILE] settings, a work item on standard input\n"
		"  -P FILE    properties;  -p FILE  properties read before -P's;  -D  one more, wins\n"
		"  --json     report as JSON on standard output\n"
		"  --quiet    no progress\n"
		"  --metrics-file FILE  the run's figures as a textfile for Prometheus\n"
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

enum command { RUN, PLAN, RESET, IMPORT, BACKFILL, REDO, SWEEP, CLEAN, COMPARE, BUNDLE, TASK, COMMANDS };
static const char *const commands[COMMANDS] = { "run", "plan", "reset", "import", "backfill", "redo", "sweep", "clean", "compare", "bundle", "task" };

struct asked {
	enum command command;
	const char *what;		/* TOPIC, N */
	const char *from, *to, *into, *tier;
	bool accept_loss, dry_run;
	struct inputs inputs;
	struct run_options options;
};

static int
command_parse(const char *name, enum command *command)
{
	for (size_t i = 0; i < COMMANDS; i++)
		if (strcmp(name, commands[i]) == 0) {
			*command = (enum command)i;
			return 0;
		}
	fprintf(stderr, "penstock-camus: no command \"%s\"\n", name);
	usage(stderr);
	return 2;
}

/* One argument, with its value the next one. Arguments used; 0: not understood; -1: a value is missing. */
static int
argument_take(struct asked *asked, const char *arg, const char *next)
{
	const struct {
		const char *name;
		unsigned commands;
		const char **value;
	} valued[] = {
		{ "--to", 1u << RESET | 1u << BACKFILL, &asked->to }, { "--from", 1u << BACKFILL, &asked->from },
		{ "--into", 1u << BACKFILL, &asked->into }, { "--tier", 1u << COMPARE, &asked->tier }, { "--metrics-file", 1u << RUN, &asked->options.metrics_file },
	};
	for (size_t i = 0; i < sizeof valued / sizeof *valued; i++)
		if (strcmp(arg, valued[i].name) == 0 && valued[i].commands & 1u << asked->command) {
			*valued[i].value = next;
			return next ? 2 : -1;
		}
	if (arg[0] != '-' && !asked->what && (asked->command == RESET || asked->command == BACKFILL || asked->command == REDO ||
	    asked->command == BUNDLE || asked->command == TASK)) {
		asked->what = arg;
		return 1;
	}
	if (strcmp(arg, "--accept-loss") == 0 && asked->command == REDO)
		return asked->accept_loss = true, 1;
	if (strcmp(arg, "--dry-run") == 0 && (asked->command == CLEAN || asked->command == SWEEP))
		return asked->dry_run = true, 1;
	if (strcmp(arg, "--json") == 0)
		return asked->options.json = true, 1;
	if (strcmp(arg, "--quiet") == 0)
		return asked->options.quiet = true, 1;
	if (arg[0] != '-' || !arg[1] || !strchr("PpD", arg[1]))
		return 0;
	const char *value = arg[2] ? arg + 2 : next;
	if (!value)
		return -1;
	if (arg[1] == 'P')
		asked->inputs.second = value;
	else if (arg[1] == 'p')
		asked->inputs.first = value;
	else if (asked->inputs.define_count < sizeof asked->inputs.defines / sizeof *asked->inputs.defines)
		asked->inputs.defines[asked->inputs.define_count++] = value;
	else
		return 0;
	return arg[2] ? 1 : 2;
}

static int
command_run(const struct asked *asked, const struct camus_conf *conf)
{
	switch (asked->command) {
	case PLAN:
		return run_plan(conf, &asked->options);
	case RESET:
		return run_reset(conf, &asked->options, asked->what, asked->to);
	case IMPORT:
		return run_import(conf, &asked->options);
	case BACKFILL:
		return run_backfill(conf, &asked->options, asked->what, asked->from, asked->to, asked->into);
	case REDO:
		return run_redo(conf, &asked->options, strtoull(asked->what, NULL, 10), asked->accept_loss);
	case SWEEP:
		return run_sweep(conf, &asked->options, asked->dry_run);
	case COMPARE:
		return run_compare(conf, &asked->options, asked->tier);
	case CLEAN:
		return run_clean(conf, &asked->options, asked->dry_run);
	default:
		return run_job(conf, &asked->options);
	}
}

int
main(int argc, char **argv)
{
	static struct asked asked;
	int at = 1, used;
	signal(SIGCHLD, SIG_DFL);	/* who ignores it hands that down, and nobody hears how a hook or a job's client ended */
	/* Answers of brokers and chunks of files are megabytes that come and go all the time: kept, not given back to the kernel and zeroed by it anew. */
	mallopt(M_MMAP_THRESHOLD, 32 << 20);
	mallopt(M_TRIM_THRESHOLD, 256 << 20);
	if (at < argc && argv[at][0] != '-' && (used = command_parse(argv[at++], &asked.command)))
		return used;
	for (; at < argc; at += used) {
		if (strcmp(argv[at], "--help") == 0 || strcmp(argv[at], "-h") == 0) {
			usage(stdout);
			return 0;
		}
		if (strcmp(argv[at], "--version") == 0) {
			puts("penstock-camus " PENSTOCK_VERSION);
			return 0;
		}
		used = argument_take(&asked, argv[at], at + 1 < argc ? argv[at + 1] : NULL);
		if (used <= 0) {
			fprintf(stderr, used ? "penstock-camus: %s needs a value\n" : "penstock-camus: \"%s\" is not understood\n", argv[at]);
			if (!used)
				usage(stderr);
			return 2;
		}
	}
	if (asked.command == BUNDLE && asked.what)
		return yarn_bundle(asked.what);
	if (asked.command == BUNDLE) {
		fprintf(stderr, "penstock-camus: bundle needs the name of the archive to be made\n");
		return 2;
	}
	if (asked.command == TASK)
		return yarn_task(asked.what ? asked.what : YARN_JOB_FILE);
	if (!asked.inputs.first && !asked.inputs.second && asked.inputs.define_count == 0) {
		usage(stderr);
		return 2;
	}
	const char *wanting = NULL;
	if (asked.command == RESET && (!asked.what || !asked.to))
		wanting = "reset needs TOPIC[:PARTITION] and --to earliest|latest|OFFSET|TIME";
	if (asked.command == BACKFILL && (!asked.what || !asked.from || !asked.to || !asked.into))
		wanting = "backfill needs TOPIC, --from TIME, --to TIME and --into DIR";
	if (asked.command == REDO && (!asked.what || strspn(asked.what, "0123456789") != strlen(asked.what)))
		wanting = "redo needs the number of a manifest";
	if (asked.command == COMPARE && !asked.tier)
		wanting = "compare needs --tier TIER: whose counts are to be the same";
	if (wanting) {
		fprintf(stderr, "penstock-camus: %s\n", wanting);
		return 2;
	}
	struct camus_conf conf = { .values = { NULL } };
	int status = inputs_load(&conf, &asked.inputs) ? 2 : command_run(&asked, &conf);
	conf_free(&conf);
	return status;
}
