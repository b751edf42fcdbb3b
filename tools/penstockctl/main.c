/* penstockctl: steers a running penstock over its control socket.
 *
 * Exit status: 0 done, 1 the server or the connection failed, or an account of `drops` is not even; 2 wrong usage. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <glob.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "tools/penstockctl/show.h"

#define END_SECONDS 3	/* how long the server may take to end a stream */

static const char usage_text[] =
	"usage: penstockctl [-s SOCKET] [--json] COMMAND\n"
	"\n"
	"  status                        version, components, ports\n"
	"  metrics                       every counter\n"
	"  drops                         where every frame and event went; exit 1 when an account is not even\n"
	"  top [-n COUNT]                rates, live\n"
	"  flows [-n COUNT]              connections: state, edges, window, age\n"
	"  trace SOURCE [-n COUNT]       the next events of a source as they pass\n"
	"  capture PORT -w FILE [-n COUNT]   what a port receives and sends, as pcap (FILE may be -)\n"
	"  loglevel LEVEL                error, warn, info, debug\n"
	"  stop                          as SIGTERM\n"
	"  help                          what this server knows\n"
	"\n"
	"  -s, --socket SOCKET   default: the only one in /run/penstock, $XDG_RUNTIME_DIR/penstock or ~/.penstock\n"
	"      --json            answers as they come, one a line\n"
	"  -n, --count COUNT     end after so many\n"
	"  -w, --write FILE      of capture\n"
	"  -h, --help   -V, --version\n";

struct options {
	const char *socket, *count, *write;
	bool json;
};

static const struct verb {
	const char *name;
	int args_min, args_max;
	bool stream;
	const char *missing;		/* the words that have to follow */
} verbs[] = {
	{ "status", 0, 0, false, NULL }, { "metrics", 0, 0, false, NULL }, { "drops", 0, 0, false, NULL },
	{ "stop", 0, 0, false, NULL }, { "loglevel", 1, 1, false, "LEVEL: error, warn, info or debug" }, { "help", 0, 0, false, NULL },
	{ "top", 0, 1, true, NULL }, { "flows", 0, 1, true, NULL }, { "trace", 1, 1, true, "SOURCE: one of those that status shows" },
	{ "capture", 1, 1, true, "PORT: one of those that status shows" },
};

/* What no server does yet, and what does it meanwhile. */
static const struct later {
	const char *name, *instead;
} later[] = {
	{ "reload", "an agent reads its files at its start: see to the new ones with `penstock check`, then restart it" },
	{ "load", "an agent reads its files at its start: see to the new ones with `penstock check`, then restart it" },
	{ "rollback", "an agent reads its files at its start: put the old ones back and restart it" },
	{ "config", "`penstock print -f FILE -n NAME` shows how an agent understands its files" },
	{ "drain", "`penstockctl stop` stops taking and drains within penstock.stop_deadline" },
};

static volatile sig_atomic_t interrupted;

static void
on_signal(int number)
{
	(void)number;
	interrupted = 1;
}

static int
fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int
fail(int status, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	fputs("penstockctl: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	return status;
}

/* ---- the socket ---- */

static int
socket_connect(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof address.sun_path)
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path) + 1);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
		int rc = -errno;
		close(fd);
		return rc;
	}
	return fd;
}

/* The one that answers in the first directory where one does. Sets *status on failure. */
static int
socket_find(int *status)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR"), *home = getenv("HOME");
	char patterns[3][4096] = { "/run/penstock/*.sock", "", "" };
	char denied[4096] = "";
	if (runtime && *runtime)
		snprintf(patterns[1], sizeof patterns[1], "%s/penstock/*.sock", runtime);
	if (home && *home)
		snprintf(patterns[2], sizeof patterns[2], "%s/.penstock/*.sock", home);
	for (int i = 0; i < 3; i++) {
		glob_t found;
		int fd = -1;
		if (!patterns[i][0] || glob(patterns[i], 0, NULL, &found) != 0)
			continue;
		char names[4096] = "";
		int answering = 0;
		for (size_t k = 0; k < found.gl_pathc; k++) {
			int rc = socket_connect(found.gl_pathv[k]);
			if (rc == -EACCES)
				snprintf(denied, sizeof denied, "%s", found.gl_pathv[k]);
			if (rc < 0)
				continue;
			if (fd >= 0)
				close(fd);
			fd = rc;
			answering++;
			size_t n = strlen(names);
			snprintf(names + n, sizeof names - n, " %s", found.gl_pathv[k]);
		}
		globfree(&found);
		if (answering > 1) {
			close(fd);
			*status = fail(2, "several are running: choose one with -s:%s", names);
			return -1;
		}
		if (fd >= 0)
			return fd;
	}
	*status = denied[0] ? fail(1, "%s: permission denied: want its user or group", denied) :
		fail(1, "no running penstock found in /run/penstock, $XDG_RUNTIME_DIR/penstock or ~/.penstock: give -s SOCKET");
	return -1;
}

/* The request line, and with it a descriptor unless -1. */
static int
request_send(int fd, const char *const *words, int count, int passed_fd)
{
	json_t *list = json_array();
	for (int i = 0; i < count; i++)
		if (json_array_append_new(list, json_string(words[i])) < 0) {
			json_decref(list);
			return -EILSEQ;
		}
	char *text = json_dumps(list, JSON_COMPACT);
	json_decref(list);
	size_t bytes = strlen(text);
	text[bytes++] = '\n';	/* in the place of the zero byte */

	char control[CMSG_SPACE(sizeof (int))] = { 0 };
	struct iovec iov = { text, bytes };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	if (passed_fd >= 0) {
		msg.msg_control = control;
		msg.msg_controllen = sizeof control;
		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof (int));
		memcpy(CMSG_DATA(c), &passed_fd, sizeof passed_fd);
	}
	ssize_t n = sendmsg(fd, &msg, MSG_NOSIGNAL);
	int rc = n == (ssize_t)bytes ? 0 : n < 0 ? -errno : -EIO;
	free(text);
	return rc;
}

/* ---- lines ---- */

struct reader {
	int fd;
	char *bytes;
	size_t used, room;
	bool asked_end;
	time_t deadline;	/* after asking for the end */
};

/* The next line, to be freed with json_decref; NULL at the end, or when interrupted. */
static json_t *
line_read(struct reader *reader, bool stream)
{
	for (;;) {
		char *end = reader->used ? memchr(reader->bytes, '\n', reader->used) : NULL;
		if (end) {
			size_t bytes = (size_t)(end - reader->bytes) + 1;
			json_t *line = json_loadb(reader->bytes, bytes, 0, NULL);
			reader->used -= bytes;
			memmove(reader->bytes, end + 1, reader->used);
			return line;
		}
		if (interrupted && !stream)
			return NULL;
		if (interrupted && !reader->asked_end) {
			reader->asked_end = true;
			reader->deadline = time(NULL) + END_SECONDS;
			(void)!send(reader->fd, "end\n", 4, MSG_NOSIGNAL);
		}
		if (reader->asked_end && time(NULL) > reader->deadline)
			return NULL;
		struct pollfd poll_fd = { reader->fd, POLLIN, 0 };
		if (poll(&poll_fd, 1, reader->asked_end ? 200 : -1) <= 0)
			continue;
		if (reader->used == reader->room) {
			size_t room = reader->room ? reader->room * 2 : 65536;
			char *bytes = realloc(reader->bytes, room);
			if (!bytes)
				return NULL;
			reader->bytes = bytes;
			reader->room = room;
		}
		ssize_t n = recv(reader->fd, reader->bytes + reader->used, reader->room - reader->used, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return NULL;
		reader->used += (size_t)n;
	}
}

static void
print_json(const json_t *line)
{
	json_dumpf(line, stdout, JSON_COMPACT);
	putchar('\n');
	fflush(stdout);
}

static int
answer_show(const char *verb, const json_t *line, bool json)
{
	bool even = true;
	if (json) {
		print_json(line);
		return strcmp(verb, "drops") == 0 && json_is_false(json_object_get(line, "even"));
	}
	if (strcmp(verb, "status") == 0)
		show_status(line);
	else if (strcmp(verb, "metrics") == 0)
		show_metrics(line);
	else if (strcmp(verb, "drops") == 0)
		even = show_drops(line);
	else
		show_any(line);
	return even ? 0 : 1;
}

/* One line of a stream. Returns false when it was the last. */
static bool
stream_show(const char *verb, json_t *line, json_t **before, const struct options *options)
{
	bool end = json_is_true(json_object_get(line, "end"));
	long long dropped = json_integer_value(json_object_get(line, "dropped"));
	if (options->json) {
		/* What was captured may go to standard output. */
		if (strcmp(verb, "capture") != 0 || strcmp(options->write, "-") != 0)
			print_json(line);
	} else if (end && dropped > 0) {
		fprintf(stderr, "penstockctl: %lld lines were left out: too slow\n", dropped);
	}
	if (!options->json && strcmp(verb, "capture") == 0) {
		const char *packets = "packets";
		if (json_object_get(line, packets) && (end || isatty(2)))
			fprintf(stderr, "%s%lld packets%s", isatty(2) ? "\r" : "", (long long)json_integer_value(json_object_get(line, packets)),
				end ? "\n" : "");
	} else if (!options->json && !end && strcmp(verb, "top") == 0) {
		show_top(*before, line, isatty(1));
		json_decref(*before);
		*before = json_incref(line);
	} else if (!options->json && !end && strcmp(verb, "flows") == 0) {
		if (!*before)
			show_flow(NULL);
		if (!*before)
			*before = json_incref(line);
		show_flow(line);
	} else if (!options->json && !end) {
		show_trace(line);
	}
	return !end;
}

static int
command_run(int fd, const struct verb *verb, const struct options *options)
{
	struct reader reader = { .fd = fd };
	json_t *line, *before = NULL;
	unsigned long lines = 0, top_lines = verb->stream && strcmp(verb->name, "top") == 0 && options->count ?
		strtoul(options->count, NULL, 10) : 0;
	int status = 1;
	bool more = true, any = false;
	while (more && (line = line_read(&reader, verb->stream))) {
		const json_t *ok = json_object_get(line, "ok");
		any = true;
		if (json_is_false(ok)) {
			if (options->json)
				print_json(line);
			else
				fail(1, "%s", json_string_value(json_object_get(line, "error")));
			more = false;
			status = 1;
		} else if (!verb->stream) {
			status = answer_show(verb->name, line, options->json);
			more = false;
		} else {
			status = 0;
			more = stream_show(verb->name, line, &before, options);
			if (top_lines && ++lines == top_lines)
				more = false;
		}
		json_decref(line);
	}
	if (!any && !interrupted)
		status = fail(1, "the server closed the connection without an answer");
	else if (interrupted && verb->stream)
		status = 0;
	else if (more && !interrupted)
		status = fail(1, "the server went away");
	json_decref(before);
	free(reader.bytes);
	return status;
}

int
main(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "socket", required_argument, NULL, 's' }, { "json", no_argument, NULL, 'j' }, { "count", required_argument, NULL, 'n' },
		{ "write", required_argument, NULL, 'w' }, { "help", no_argument, NULL, 'h' }, { "version", no_argument, NULL, 'V' }, { 0 },
	};
	struct options options = { 0 };
	int c;
	while ((c = getopt_long(argc, argv, "s:n:w:hV", longs, NULL)) != -1) {
		switch (c) {
		case 's': options.socket = optarg; break;
		case 'j': options.json = true; break;
		case 'n': options.count = optarg; break;
		case 'w': options.write = optarg; break;
		case 'h': fputs(usage_text, stdout); return 0;
		case 'V': puts("penstockctl " PENSTOCK_VERSION); return 0;
		default: return 2;	/* getopt has said why */
		}
	}
	if (optind == argc) {
		fputs(usage_text, stderr);
		return 2;
	}
	const struct verb *verb = NULL;
	for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
		if (strcmp(verbs[i].name, argv[optind]) == 0)
			verb = &verbs[i];
	int args = argc - optind - 1;
	for (size_t i = 0; i < sizeof later / sizeof *later; i++)
		if (strcmp(later[i].name, argv[optind]) == 0)
			return fail(2, "%s is not there yet: %s", later[i].name, later[i].instead);
	if (!verb)
		return fail(2, "unknown command \"%s\": --help lists them", argv[optind]);
	if (args < verb->args_min)
		return fail(2, "%s wants %s", verb->name, verb->missing);
	if (args > verb->args_max)
		return fail(2, "%s: \"%s\" is one word too many: --help shows how", verb->name, argv[optind + 1 + verb->args_max]);
	bool capture = strcmp(verb->name, "capture") == 0, top = strcmp(verb->name, "top") == 0;
	if (capture != (options.write != NULL))
		return fail(2, capture ? "capture: where to? -w FILE" : "-w belongs to capture");
	if (options.count && !verb->stream)
		return fail(2, "-n belongs to trace, capture and top");
	char *end = NULL;
	if (options.count && (strtoul(options.count, &end, 10) == 0 || *end || *options.count == '-'))
		return fail(2, "-n: \"%s\": want a number above 0", options.count);

	int status = 1, rc, out_fd = -1;
	int fd = options.socket ? socket_connect(options.socket) : socket_find(&status);
	if (fd < 0)
		return options.socket ? fail(1, "%s: %s", options.socket, strerror(-fd)) : status;
	if (capture) {
		out_fd = strcmp(options.write, "-") == 0 ? 1 : open(options.write, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
		if (out_fd < 0)
			return fail(1, "%s: %s", options.write, strerror(errno));
	}
	const char *words[4];
	int count = 0;
	words[count++] = verb->name;
	for (int i = 0; i < args; i++)
		words[count++] = argv[optind + 1 + i];
	if (options.count && !top)
		words[count++] = options.count;
	if (verb->stream) {
		struct sigaction action = { .sa_handler = on_signal };	/* no SA_RESTART: poll is to return */
		sigaction(SIGINT, &action, NULL);
		sigaction(SIGTERM, &action, NULL);
	}
	rc = request_send(fd, words, count, out_fd);
	if (rc < 0)
		return fail(1, "cannot send: %s", strerror(-rc));
	status = command_run(fd, verb, &options);
	if (out_fd > 1 && close(out_fd) < 0)
		status = fail(1, "%s: %s", options.write, strerror(errno));
	close(fd);
	if (fflush(stdout) != 0)
		return 1;
	return status;
}
