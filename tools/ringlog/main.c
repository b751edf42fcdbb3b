/* penstock-ringlog: looks into a log on disk, and takes logs over (docs/ringlog-format.md). What it reads it never changes; info, dump and
 * verify may run beside the penstock that writes the log. */
#include <errno.h>

#include "tools/ringlog/tool.h"

static const struct tool_command *const commands[] = { &tool_info, &tool_dump, &tool_verify, &tool_salvage, &tool_import, &tool_ledger, NULL };

static void
usage(FILE *out)
{
	fputs("penstock-ringlog COMMAND [OPTION...] DIR...\n\n", out);
	for (const struct tool_command *const *c = commands; *c; c++)
		fprintf(out, "  %-8s %s\n", (*c)->name, (*c)->help);
	fputs("\nDIR is a data directory of a file channel; of several (dataDirs = a,b) name all, in the same order.\n"
	      "--keys FILE --password FILE: key store (PKCS#12) of an encrypted log and a file with its password; --active-key ALIAS (with --to):\n"
	      "the new log is encrypted with that key.\n"
	      "--json gives JSON instead of lines for eyes. Exit status: 0; 1 damage was found, or it cannot be done; 2 wrong usage.\n", out);
}

int
tool_keys(const struct tool_args *args, struct keyring **keys, struct err *err)
{
	static const struct option_list all = { 0 };
	*keys = NULL;
	return args->keys ? keyring_open(keys, args->keys, args->password, &all, NULL, err) : 0;
}

struct flag {
	const char *name;
	unsigned flag;
	bool *is;
	const char **value;
};

int
main(int argc, char **argv)
{
	struct tool_args args = { 0 };
	struct err err = { "" };
	const struct flag flags[] = {
		{ "--json", 0, &args.json, NULL }, { "--all", TOOL_ALL, &args.all, NULL }, { "--progress", TOOL_PROGRESS, &args.progress, NULL },
		{ "--to", TOOL_TO, NULL, &args.to }, { "--checkpoint", TOOL_CHECKPOINT, NULL, &args.checkpoint },
		{ "--keys", 0, NULL, &args.keys }, { "--password", 0, NULL, &args.password }, { "--active-key", TOOL_TO, NULL, &args.active_key },
	};
	const struct tool_command *command = NULL;
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
			usage(stdout);
			return 0;
		}
		if (argv[i][0] != '-' && !command) {
			for (const struct tool_command *const *c = commands; *c; c++)
				if (!strcmp((*c)->name, argv[i]))
					command = *c;
			if (!command) {
				fprintf(stderr, "penstock-ringlog: %s: no such command\n\n", argv[i]);
				usage(stderr);
				return 2;
			}
		} else if (argv[i][0] != '-') {
			if (args.dir_count == RINGLOG_DIRS_MAX) {
				fprintf(stderr, "penstock-ringlog: more than %u directories\n", RINGLOG_DIRS_MAX);
				return 2;
			}
			args.dirs[args.dir_count++] = argv[i];
		} else {
			const struct flag *flag = NULL;
			for (size_t j = 0; j < sizeof flags / sizeof *flags; j++)
				if (!strcmp(flags[j].name, argv[i]))
					flag = &flags[j];
			if (!flag || (command && flag->flag & ~command->flags)) {
				fprintf(stderr, "penstock-ringlog: %s: not understood%s%s\n", argv[i], flag ? " by " : "", flag ? command->name : "");
				return 2;
			}
			if (flag->is)
				*flag->is = true;
			else if (i + 1 < argc)
				*flag->value = argv[++i];
			else {
				fprintf(stderr, "penstock-ringlog: %s: needs a value\n", argv[i]);
				return 2;
			}
		}
	}
	if (!command || !args.dir_count) {
		usage(stderr);
		return 2;
	}
	if (!args.keys != !args.password || (args.active_key && !args.keys)) {
		fputs("penstock-ringlog: --keys, --password (and --active-key) go together\n", stderr);
		return 2;
	}
	if (args.checkpoint && !args.to && command == &tool_salvage) {
		fputs("penstock-ringlog: --checkpoint goes with --to: the new log gets a checkpoint that says the same\n", stderr);
		return 2;
	}
	enum tool_end end = command->run(&args, &err);
	if (end == TOOL_TROUBLE)
		fprintf(stderr, "penstock-ringlog: %s\n", err.text);
	if (fflush(stdout)) {
		fprintf(stderr, "penstock-ringlog: standard output: %s\n", strerror(errno));
		return 1;
	}
	return end == TOOL_DONE ? 0 : 1;
}
