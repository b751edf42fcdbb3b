/* penstock: the collector. agent, check, print, kinds. */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/log.h"
#include "base/tls.h"
#include "ctrlplane/commands.h"
#include "ctrlplane/config.h"
#include "ctrlplane/config_print.h"
#include "ctrlplane/control.h"
#include "ctrlplane/metrics_http.h"
#include "ctrlplane/reference.h"
#include "ctrlplane/as_json.h"
#include "ctrlplane/schedule.h"
#include "ctrlplane/stats.h"
#include "ctrlplane/topology.h"

#define FILES_MAX 32
#define DEFINES_MAX 256

static const char usage[] =
	"usage: penstock agent -n NAME -f FILE [-c DIR] [--appliance FILE] [-Dkey=value]... [--no-reload-conf]\n"
	"       penstock check -f FILE [-n NAME] [--appliance FILE]    every error at once; starts nothing\n"
	"       penstock print -f FILE -n NAME                         the configuration as understood, defaults filled in\n"
	"       penstock kinds [KIND [TYPE]]                           sources, channels, sinks, interceptors, sink processors\n"
	"       penstock kinds --markdown                             all of it as docs/options.md\n"
	"       penstock check|print|kinds ... --json                  the same for programs\n"
	"       penstock --help | --version\n"
	"\n"
	"FILE is a Flume properties file, unchanged; -f may be given again. -Dflume.monitoring.type=http -Dflume.monitoring.port=N serves\n"
	"metrics as Flume does. SIGTERM and SIGINT: stop taking, drain within penstock.stop_deadline, leave the rest durable.\n";

struct arguments {
	const char *files[FILES_MAX];
	size_t file_count;
	const char *agent, *appliance;
	struct define defines[DEFINES_MAX];
	size_t define_count;
	bool json;
};

static int
wrong(const char *format, const char *what)
{
	fputs("penstock: ", stderr);
	fprintf(stderr, format, what);
	fputs("; see penstock --help\n", stderr);
	return 2;
}

static int
add_define(struct arguments *args, char *text)
{
	char *equals = strchr(text, '=');
	if (args->define_count == DEFINES_MAX)
		return wrong("too many -D%s", "");
	if (equals)
		*equals = 0;
	args->defines[args->define_count++] = (struct define){ text, equals ? equals + 1 : "" };
	tls_system_property(text, equals ? equals + 1 : "");
	return 0;
}

static int
parse_arguments(struct arguments *args, int argc, char **argv)
{
	enum { APPLIANCE = 256, NO_RELOAD, JSON };
	static const struct {
		const char *name;
		int has_arg, value;
	} longs[] = { { "name", 1, 'n' }, { "conf-file", 1, 'f' }, { "conf", 1, 'c' }, { "appliance", 1, APPLIANCE },
		      { "no-reload-conf", 0, NO_RELOAD }, { "json", 0, JSON }, { "zkConnString", 1, 'z' }, { "zkBasePath", 1, 'p' }, { "help", 0, 'h' } };
	for (int i = 2; i < argc; i++) {
		char *arg = argv[i], *value = NULL;
		int option = 0, has_arg = 0;
		if (strncmp(arg, "-D", 2) == 0 && arg[2]) {
			int rc = add_define(args, arg + 2);
			if (rc)
				return rc;
			continue;
		}
		if (strncmp(arg, "--", 2) == 0) {
			char *equals = strchr(arg, '=');
			if (equals) {
				*equals = 0;
				value = equals + 1;
			}
			for (size_t k = 0; k < sizeof longs / sizeof *longs; k++) {
				if (strcmp(longs[k].name, arg + 2) == 0) {
					option = longs[k].value;
					has_arg = longs[k].has_arg;
				}
			}
		} else if (arg[0] == '-' && arg[1] && !arg[2] && strchr("nfczph", arg[1])) {
			option = arg[1];
			has_arg = option != 'h';
		}
		if (!option)
			return wrong("%s: unknown argument", arg);
		if (has_arg && !value) {
			if (++i == argc)
				return wrong("%s needs a value", arg);
			value = argv[i];
		}
		switch (option) {
		case 'n':
			args->agent = value;
			break;
		case 'f':
			if (args->file_count == FILES_MAX)
				return wrong("too many -f %s", value);
			args->files[args->file_count++] = value;
			break;
		case 'c':	/* Flume's directory of flume-env.sh and log4j.xml: nothing in it is ours */
			break;
		case APPLIANCE:
			args->appliance = value;
			break;
		case JSON:
			args->json = true;
			break;
		case NO_RELOAD:	/* the file is read once; a change is taken by a restart */
			break;
		case 'z':
		case 'p':
			return wrong("%s: configuration from ZooKeeper is not supported: write the znode's text to a file and use -f", arg);
		default:
			fputs(usage, stdout);
			exit(0);
		}
	}
	return 0;
}

static void
tell(struct config_report *report, enum config_severity severity, const char *line)
{
	(void)report;
	fprintf(stderr, "%s%s\n", severity == CONFIG_WARNING ? "warning: " : "", line);
}

/* Messages for programs. */
struct collected {
	struct config_report report;
	const char *agent;
	json_t *messages;
};

static void
collect(struct config_report *report, const struct config_message *message)
{
	struct collected *collected = (struct collected *)report;
	as_json_message(collected->messages, collected->agent, message);
}

static int
load(struct config **config, const struct arguments *args, const char *agent, struct config_report *report)
{
	struct config_request request = { .files = args->files, .file_count = args->file_count, .appliance_file = args->appliance, .agent = agent,
					  .defines = args->defines, .define_count = args->define_count };
	if (args->json)
		report->message = collect;
	else
		report->tell = tell;
	return config_load(config, &request, report);
}

/* Takes the value. */
static void
json_print(json_t *json)
{
	if (!json || json_dumpf(json, stdout, JSON_INDENT(1)))
		abort();
	putchar('\n');
	json_decref(json);
}

static int
run_check(const struct arguments *args)
{
	if (!args->file_count)
		return wrong("check needs %s", "-f FILE");
	struct config_request request = { .files = args->files, .file_count = args->file_count };
	struct err err = { "" };
	char **names = NULL;
	size_t count = 0;
	uint32_t errors = 0, warnings = 0;
	json_t *messages = json_array();
	if (config_agents(&request, &names, &count, &err)) {
		if (args->json) {
			as_json_message(messages, args->agent, &(struct config_message){ CONFIG_ERROR, NULL, NULL, err.text });
			json_print(json_pack("{s:i, s:i, s:O}", "errors", 1, "warnings", 0, "messages", messages));
		} else {
			fprintf(stderr, "%s\n", err.text);
		}
		json_decref(messages);
		return 2;
	}
	if (args->agent)
		count = 1;
	for (size_t i = 0; i < count; i++) {
		struct config *config = NULL;
		struct collected report = { .agent = args->agent ? args->agent : names[i], .messages = messages };
		load(&config, args, report.agent, &report.report);
		errors += report.report.errors;
		warnings += report.report.warnings;
		config_free(config);
	}
	free(names);
	if (args->json)
		json_print(json_pack("{s:I, s:I, s:O}", "errors", (json_int_t)errors, "warnings", (json_int_t)warnings, "messages", messages));
	else
		printf("%u errors, %u warnings\n", errors, warnings);
	json_decref(messages);
	return errors ? 2 : 0;
}

static int
run_print(const struct arguments *args)
{
	if (!args->file_count)
		return wrong("print needs %s", "-f FILE");
	struct config *config;
	struct collected report = { .agent = args->agent, .messages = json_array() };
	struct text text = { 0 };
	int status = load(&config, args, args->agent, &report.report) ? 2 : 0;
	json_t *properties = NULL;
	if (!status) {
		config_print(&text, config);
		if (args->json)
			properties = as_json_properties(text.text);
		else
			fwrite(text.text, 1, text.len, stdout);
	}
	if (args->json)		/* properties: null when the configuration cannot be used */
		json_print(json_pack("{s:s?, s:o?, s:I, s:I, s:O}", "agent", status ? args->agent : config->agent, "properties", properties, "errors",
			(json_int_t)report.report.errors, "warnings", (json_int_t)report.report.warnings, "messages", report.messages));
	json_decref(report.messages);
	if (!status) {
		text_free(&text);
		config_free(config);
	}
	return status;
}

static int
run_kinds(int argc, char **argv)
{
	struct text text = { 0 };
	struct err err = { "" };
	bool json = false;
	for (int i = 2; i < argc; i++) {	/* wherever it stands */
		if (json)
			argv[i - 1] = argv[i];
		else
			json = strcmp(argv[i], "--json") == 0;
	}
	argc -= json;
	if (argc > 4)
		return wrong("%s: too many words", argv[4]);
	if (argc == 3 && strcmp(argv[2], "--markdown") == 0) {
		reference_print(&text);
	} else if (json) {
		json_t *all = as_json_kinds(argc > 2 ? argv[2] : NULL, argc > 3 ? argv[3] : NULL, &err);
		if (!all) {
			fprintf(stderr, "penstock: %s\n", err.text);
			return 2;
		}
		json_print(all);
		return 0;
	} else if (registry_print(&text, argc > 2 ? argv[2] : NULL, argc > 3 ? argv[3] : NULL, &err)) {
		fprintf(stderr, "penstock: %s\n", err.text);
		return 2;
	}
	fwrite(text.text, 1, text.len, stdout);
	text_free(&text);
	return 0;
}

/* ---- agent ---- */

struct agent {
	struct config *config;
	struct stats *stats;
	struct topology topology;
	struct control *control;
	struct metrics_http *http;
	struct schedule *schedule;
	int signals;
	unsigned stops;			/* times somebody asked */
};

static void
read_signal(void *context)
{
	struct agent *agent = context;
	struct signalfd_siginfo info;
	while (read(agent->signals, &info, sizeof info) == sizeof info)
		agent->stops++;
}

static void
stop_asked(void *context)
{
	((struct agent *)context)->stops++;
}

/* During the drain: control goes on answering; a second request ends it. */
static bool
hurry(void *context)
{
	struct agent *agent = context;
	control_step(agent->control, 0);
	read_signal(agent);
	return agent->stops > 1;
}

static int
give_up_rights(const char *user, struct err *err)
{
	if (!user)
		return 0;
	struct passwd *pw = getpwnam(user);
	if (!pw)
		return err_set(err, ENOENT, "penstock.user: there is no user \"%s\": useradd --system %s", user, user);
	if (initgroups(pw->pw_name, pw->pw_gid) || setgid(pw->pw_gid) || setuid(pw->pw_uid))
		return err_set(err, errno, "penstock.user: cannot become %s: %s (only root can)", user, strerror(errno));
	return 0;
}

static void
status_more(json_t *answer, void *context)
{
	struct agent *agent = context;
	commands_status(answer, &agent->topology);
	schedule_status(agent->schedule, answer);
}

static int
open_outside(struct agent *agent, struct err *err)
{
	const struct appliance *appliance = &agent->config->appliance;
	char path[256];
	if (appliance_socket_path(appliance, agent->config->agent, path, sizeof path))
		return err_set(err, ENAMETOOLONG, "penstock.control.socket: the path is too long for a socket (want under 108 bytes)");
	int rc = control_open(&agent->control, path, &clock_system, err);
	if (rc)
		return rc;
	control_add_basics(agent->control, agent->stats, status_more, agent);
	control_add_stop(agent->control, stop_asked, agent);
	commands_add(agent->control, &agent->topology);
	control_watch(agent->control, agent->signals, false, read_signal, agent);
	if (!appliance->metrics_on)
		return 0;
	char bind[ADDRESS_TEXT_BYTES];
	address_text(&appliance->metrics, bind, sizeof bind);
	rc = metrics_http_open(&agent->http, bind, agent->stats, commands_health, &agent->topology, err);
	if (rc)
		return rc;
	control_watch(agent->control, metrics_http_fd(agent->http), true, metrics_http_run, agent->http);
	return 0;
}

static int
serve(struct agent *agent)
{
	struct err err = { "" };
	const struct appliance *appliance = &agent->config->appliance;
	int rc = topology_start(&agent->topology, agent->config, &clock_system, agent->stats, &err);
	if (rc) {
		fprintf(stderr, "penstock: %s\n", err.text);
		return rc == -EINVAL || rc == -ENOENT ? 2 : 1;
	}
	rc = open_outside(agent, &err);
	if (!rc)
		rc = give_up_rights(appliance->options.user, &err);
	if (rc)
		fprintf(stderr, "penstock: %s\n", err.text);
	else
		log_info("agent %s is up: %zu sources, %zu channels, %zu sinks, %u lcores; control socket %s", agent->config->agent,
			 agent->config->source_count, agent->config->channel_count, agent->config->sink_count, agent->topology.worker_count,
			 control_path(agent->control));
	if (!rc)
		rc = schedule_open(&agent->schedule, appliance, &clock_system, &err);
	if (rc)
		fprintf(stderr, "penstock: %s\n", err.text);
	else
		control_watch(agent->control, -1, true, schedule_step, agent->schedule);
	while (!rc && !agent->stops)
		control_step(agent->control, 1000);
	schedule_stop(agent->schedule);		/* a batch load commits what it has while the agent drains */
	if (!rc)
		log_info("stopping: intake ends, sinks drain for at most %.0f s", (double)appliance->options.stop_deadline_ns / 1e9);
	uint64_t deadline = clock_now_ns(&clock_system) + appliance->options.stop_deadline_ns;
	topology_stop(&agent->topology, deadline, rc ? NULL : hurry, agent);
	while (schedule_busy(agent->schedule) && agent->stops < 2 && clock_now_ns(&clock_system) < deadline)
		control_step(agent->control, 50);
	schedule_close(agent->schedule);
	metrics_http_close(agent->http);
	control_close(agent->control);
	return rc ? 1 : 0;
}

static int
run_agent(const struct arguments *args)
{
	if (!args->file_count || !args->agent)
		return wrong("agent needs %s", args->agent ? "-f FILE" : "-n NAME");
	struct agent agent = { 0 };
	struct config_report report = { 0 };
	if (load(&agent.config, args, args->agent, &report))
		return 2;
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	pthread_sigmask(SIG_BLOCK, &set, NULL);	/* before any thread: all of them inherit it */
	signal(SIGPIPE, SIG_IGN);
	agent.signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	agent.stats = stats_open(&clock_system);
	int status = 1;
	if (agent.signals >= 0 && agent.stats)
		status = serve(&agent);
	stats_close(agent.stats);
	config_free(agent.config);
	return status;
}

int
main(int argc, char **argv)
{
	const char *command = argc > 1 ? argv[1] : "";
	if (strcmp(command, "--version") == 0 || strcmp(command, "version") == 0) {
		puts("penstock " PENSTOCK_VERSION);
		return 0;
	}
	if (strcmp(command, "--help") == 0 || strcmp(command, "-h") == 0 || strcmp(command, "help") == 0) {
		fputs(usage, stdout);
		return 0;
	}
	registry_fill();
	if (strcmp(command, "kinds") == 0)
		return run_kinds(argc, argv);
	struct arguments args = { 0 };
	int rc = parse_arguments(&args, argc, argv);
	if (rc)
		return rc;
	if (strcmp(command, "agent") == 0)
		return run_agent(&args);
	if (strcmp(command, "check") == 0)
		return run_check(&args);
	if (strcmp(command, "print") == 0)
		return run_print(&args);
	return wrong(*command ? "%s: no such command" : "%sno command", command);
}
