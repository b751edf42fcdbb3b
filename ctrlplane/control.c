#include "ctrlplane/control.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "ctrlplane/stats.h"

#define COMMANDS_MAX 48
#define WATCHES_MAX 8
#define WORDS_MAX 32

struct command {
	const char *name, *usage;
	control_fn fn;
	void *context;
};

struct watch {
	int fd;
	bool always;
	void (*fn)(void *context);
	void *context;
};

struct control_stream {
	struct client *client;
	void (*closed)(void *context);
	void *context;
	uint64_t dropped;		/* lines */
	uint64_t interval_ns, next_ns;	/* interval 0: no timer */
	void (*every)(struct control_stream *stream, void *context);
};

/* client: one connection. Owned by control's slots; freed at the end of a step, never inside a callback. */
struct client {
	struct control *control;
	int fd;
	int passed_fd;			/* from SCM_RIGHTS, for the next request; -1 */
	bool eof;			/* the client sends no more */
	bool gone;			/* to be freed */
	bool quit;			/* after the output is out */
	uint64_t since_ns;		/* of the first byte of a half request, or of the last progress of the output */
	char *in;			/* CONTROL_REQUEST_BYTES, made with the first byte */
	size_t in_bytes;
	char *out;
	size_t out_bytes, out_sent, out_room;
	struct control_stream *stream;
};

struct control {
	struct clock *clock;
	char path[sizeof ((struct sockaddr_un *)0)->sun_path];
	dev_t dev;			/* of our socket's file, so that we remove no other's */
	ino_t ino;
	int listen_fd;
	struct client *clients[CONTROL_CLIENTS_MAX];
	struct command commands[COMMANDS_MAX];
	uint32_t command_count;
	struct watch watches[WATCHES_MAX];
	uint32_t watch_count;
	struct stats *stats;		/* of the basic commands */
	void (*status_more)(json_t *answer, void *context);
	void *status_context;
	void (*stop)(void *context);
	void *stop_context;
};

/* ---- path and socket ---- */

int
control_path_default(char *path, size_t bytes, const char *name, struct err *err)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR"), *home = getenv("HOME");
	int n;
	if (strchr(name, '/'))
		return err_set(err, EINVAL, "control socket: agent name \"%s\" has a '/': give penstock.control.socket", name);
	if (geteuid() == 0)
		n = snprintf(path, bytes, "/run/penstock/%s.sock", name);
	else if (runtime && *runtime == '/')
		n = snprintf(path, bytes, "%s/penstock/%s.sock", runtime, name);
	else if (home && *home == '/')
		n = snprintf(path, bytes, "%s/.penstock/%s.sock", home, name);
	else
		return err_set(err, ENOENT, "control socket: neither XDG_RUNTIME_DIR nor HOME is set: give penstock.control.socket");
	if (n < 0 || (size_t)n >= bytes)
		return err_set(err, ENAMETOOLONG, "control socket: path too long: give penstock.control.socket");
	return 0;
}

static int
directory_make(const char *path, struct err *err)
{
	char dir[sizeof ((struct sockaddr_un *)0)->sun_path];
	snprintf(dir, sizeof dir, "%s", path);
	char *slash = strrchr(dir, '/');
	if (!slash || slash == dir)
		return 0;
	*slash = 0;
	struct stat st;
	if (stat(dir, &st) == 0)
		return S_ISDIR(st.st_mode) ? 0 : err_set(err, ENOTDIR, "control socket: %s is not a directory", dir);
	int rc = directory_make(dir, err);
	if (rc < 0)
		return rc;
	if (mkdir(dir, geteuid() == 0 ? 0755 : 0700) < 0 && errno != EEXIST)
		return err_set(err, errno, "control socket: cannot make %s: %s", dir, strerror(errno));
	return 0;
}

/* Removes a socket that nobody answers on. */
static int
stale_remove(const struct sockaddr_un *address, struct err *err)
{
	struct stat st;
	if (lstat(address->sun_path, &st) < 0)
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return err_set(err, EEXIST, "control socket: %s is there and not a socket: remove it or give another path", address->sun_path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set(err, errno, "control socket: %s", strerror(errno));
	int rc = connect(fd, (const struct sockaddr *)address, sizeof *address) < 0 ? -errno : 0;
	close(fd);
	if (rc == 0 || rc == -EAGAIN)
		return err_set(err, EADDRINUSE, "control socket: another penstock answers on %s: stop it or give another path",
			       address->sun_path);
	if (rc == -ECONNREFUSED && unlink(address->sun_path) < 0)
		return err_set(err, errno, "control socket: cannot replace %s: %s", address->sun_path, strerror(errno));
	return 0;
}

int
control_open(struct control **control, const char *path, struct clock *clock, struct err *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	*control = NULL;
	if (strlen(path) >= sizeof address.sun_path)
		return err_set(err, ENAMETOOLONG, "control socket: %s: longer than %zu bytes", path, sizeof address.sun_path - 1);
	memcpy(address.sun_path, path, strlen(path) + 1);
	int rc = directory_make(path, err);
	if (rc == 0)
		rc = stale_remove(&address, err);
	if (rc < 0)
		return rc;

	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set(err, errno, "control socket: %s", strerror(errno));
	/* The mode before bind, so that the file is at no moment open to more than the mode says; then what umask took away. */
	(void)fchmod(fd, 0660);
	struct stat st;
	if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || chmod(path, 0660) < 0 || stat(path, &st) < 0 ||
	    listen(fd, CONTROL_CLIENTS_MAX) < 0) {
		rc = err_set(err, errno, "control socket: %s: %s", path, strerror(errno));
		close(fd);
		return rc;
	}
	struct control *made = calloc(1, sizeof *made);
	if (!made) {
		close(fd);
		unlink(path);
		return err_set(err, ENOMEM, "control socket: out of memory");
	}
	memcpy(made->path, path, strlen(path) + 1);
	made->dev = st.st_dev;
	made->ino = st.st_ino;
	made->clock = clock;
	made->listen_fd = fd;
	*control = made;
	return 0;
}

const char *
control_path(const struct control *control)
{
	return control->path;
}

void
control_add(struct control *control, const char *name, const char *usage, control_fn fn, void *context)
{
	assert(control->command_count < COMMANDS_MAX);
	control->commands[control->command_count++] = (struct command){ name, usage, fn, context };
}

void
control_watch(struct control *control, int fd, bool always, void (*fn)(void *context), void *context)
{
	assert(control->watch_count < WATCHES_MAX);
	control->watches[control->watch_count++] = (struct watch){ fd, always, fn, context };
}

/* ---- output ---- */

static size_t
out_unsent(const struct client *client)
{
	return client->out_bytes - client->out_sent;
}

static void
client_flush(struct control *control, struct client *client)
{
	while (!client->gone && out_unsent(client) > 0) {
		ssize_t n = send(client->fd, client->out + client->out_sent, out_unsent(client), MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			if (errno != EAGAIN && errno != EWOULDBLOCK)
				client->gone = true;
			return;
		}
		client->out_sent += (size_t)n;
		client->since_ns = clock_now_ns(control->clock);
	}
	client->out_bytes = client->out_sent = 0;
	if (client->quit)
		client->gone = true;
}

/* Queues the line and its end. false: no room for it. */
static bool
client_put(struct control *control, struct client *client, const json_t *line, size_t limit)
{
	size_t bytes = json_dumpb(line, NULL, 0, JSON_COMPACT);
	if (bytes == 0 || client->gone || out_unsent(client) + bytes + 1 > limit)
		return false;
	if (client->out_sent > 0) {
		memmove(client->out, client->out + client->out_sent, out_unsent(client));
		client->out_bytes -= client->out_sent;
		client->out_sent = 0;
	}
	if (client->out_bytes + bytes + 1 > client->out_room) {
		size_t room = client->out_bytes + bytes + 1 + 4096;
		char *out = realloc(client->out, room);
		if (!out)
			return false;
		client->out = out;
		client->out_room = room;
	}
	if (client->out_bytes == 0)
		client->since_ns = clock_now_ns(control->clock);
	json_dumpb(line, client->out + client->out_bytes, bytes, JSON_COMPACT);
	client->out_bytes += bytes;
	client->out[client->out_bytes++] = '\n';
	return true;
}

static void
client_error(struct control *control, struct client *client, const char *text)
{
	json_t *answer = json_pack("{sb ss+}", "ok", 0, "error", text, "");
	if (!answer)	/* not UTF-8: a stranger's bytes */
		answer = json_pack("{sb ss}", "ok", 0, "error", "the request is not UTF-8");
	if (!client_put(control, client, answer, CONTROL_ANSWER_BYTES))
		client->gone = true;
	json_decref(answer);
}

/* ---- streams ---- */

struct call_impl {
	struct control *control;
	struct client *client;
	bool streaming;
};

struct control_stream *
control_stream_begin(struct control_call *call, void (*closed)(void *context), void *context)
{
	struct call_impl *impl = call->impl;
	assert(!impl->client->stream);
	struct control_stream *stream = calloc(1, sizeof *stream);
	assert(stream);
	stream->client = impl->client;
	stream->closed = closed;
	stream->context = context;
	impl->client->stream = stream;
	impl->streaming = true;
	/* The answer goes out before the first line. */
	if (json_object_size(call->answer) > 0) {
		json_object_set_new(call->answer, "ok", json_true());
		(void)client_put(impl->control, impl->client, call->answer, CONTROL_ANSWER_BYTES);
	}
	return stream;
}

static void
stream_free(struct client *client)
{
	struct control_stream *stream = client->stream;
	if (!stream)
		return;
	client->stream = NULL;
	if (stream->closed)
		stream->closed(stream->context);
	free(stream);
}

bool
control_stream_write(struct control_stream *stream, const json_t *line)
{
	if (!client_put(stream->client->control, stream->client, line, CONTROL_STREAM_BYTES)) {
		stream->dropped++;
		return false;
	}
	return true;
}

bool
control_stream_ready(const struct control_stream *stream)
{
	return stream->client->out_bytes - stream->client->out_sent < CONTROL_STREAM_BYTES / 4;
}

void
control_stream_end(struct control_stream *stream, const json_t *more)
{
	struct client *client = stream->client;
	json_t *last = json_pack("{sb sI}", "end", 1, "dropped", (json_int_t)stream->dropped);
	if (more)
		json_object_update(last, (json_t *)more);
	(void)client_put(stream->client->control, client, last, CONTROL_ANSWER_BYTES);
	json_decref(last);
	stream_free(client);
}

void
control_stream_every(struct control_stream *stream, uint64_t interval_ns, void (*fn)(struct control_stream *stream, void *context))
{
	stream->interval_ns = interval_ns;
	stream->next_ns = 0;
	stream->every = fn;
}

/* ---- requests ---- */

/* Cuts line into words; they point into it. */
static uint32_t
words_cut(char *line, const char *words[WORDS_MAX])
{
	uint32_t count = 0;
	char *rest = NULL;
	for (char *word = strtok_r(line, " \t\r", &rest); word && count < WORDS_MAX; word = strtok_r(NULL, " \t\r", &rest))
		words[count++] = word;
	return count;
}

static const struct command *
command_find(const struct control *control, const char *name)
{
	for (uint32_t i = 0; i < control->command_count; i++)
		if (strcmp(control->commands[i].name, name) == 0)
			return &control->commands[i];
	return NULL;
}

static void
request_run(struct control *control, struct client *client, const char *const *words, uint32_t count)
{
	const struct command *command = command_find(control, words[0]);
	struct err err = { "" };
	struct call_impl impl = { control, client, false };
	struct control_call call = { control, words + 1, count - 1, client->passed_fd, json_object(), &impl };
	client->passed_fd = -1;

	int rc = command ? command->fn(&call, command->context, &err) :
		err_set(&err, ENOENT, "unknown command \"%s\": \"help\" lists them", words[0]);
	if (call.fd >= 0)
		close(call.fd);
	if (rc < 0) {
		if (impl.streaming)
			stream_free(client);
		client_error(control, client, err.text[0] ? err.text : strerror(-rc));
	} else if (!impl.streaming) {
		json_object_set_new(call.answer, "ok", json_true());
		if (!client_put(control, client, call.answer, CONTROL_ANSWER_BYTES))
			client_error(control, client, "the answer is too long");
	}
	json_decref(call.answer);
}

/* One line, without its end; zero bytes in it end it. */
static void
request_line(struct control *control, struct client *client, char *line)
{
	const char *words[WORDS_MAX];
	uint32_t count = 0;
	json_t *list = NULL;

	line += strspn(line, " \t");
	if (*line == '[') {
		json_error_t error;
		list = json_loads(line, 0, &error);
		size_t i;
		json_t *word;
		json_array_foreach(list, i, word) {
			if (!json_is_string(word) || count == WORDS_MAX) {
				count = 0;
				break;
			}
			words[count++] = json_string_value(word);
		}
		if (count == 0)
			client_error(control, client, "a request is words, or a JSON list of strings: [\"status\"]");
	} else {
		count = words_cut(line, words);
	}
	if (count > 0)
		request_run(control, client, words, count);
	json_decref(list);
}

/* Runs the requests that are whole, one at a time: the next one waits until the answer is out. */
static void
client_requests(struct control *control, struct client *client)
{
	if (client->stream && client->in_bytes == 4 && memcmp(client->in, "end\n", 4) == 0) {
		client->in_bytes = 0;
		control_stream_end(client->stream, NULL);
		client_flush(control, client);
	}
	while (!client->gone && !client->quit && !client->stream && out_unsent(client) == 0) {
		char *end = client->in_bytes ? memchr(client->in, '\n', client->in_bytes) : NULL;
		if (!end && client->eof && client->in_bytes > 0)
			end = client->in + client->in_bytes;	/* printf status | socat: no line end */
		if (!end) {
			if (client->in_bytes == CONTROL_REQUEST_BYTES) {
				client_error(control, client, "the request is too long");
				client->quit = true;
				client_flush(control, client);
			} else if (client->eof) {
				client->gone = true;
			}
			return;
		}
		size_t line_bytes = (size_t)(end - client->in), used = line_bytes + (end < client->in + client->in_bytes);
		char *line = strndup(client->in, line_bytes);
		client->in_bytes -= used;
		memmove(client->in, client->in + used, client->in_bytes);
		client->since_ns = clock_now_ns(control->clock);
		if (!line) {
			client->gone = true;
			return;
		}
		request_line(control, client, line);
		free(line);
		client_flush(control, client);
	}
}

static void
client_read(struct control *control, struct client *client)
{
	char rights[CMSG_SPACE(sizeof (int) * 4)];
	if (client->in_bytes == CONTROL_REQUEST_BYTES)
		return;
	if (!client->in && !(client->in = malloc(CONTROL_REQUEST_BYTES + 1))) {
		client->gone = true;
		return;
	}
	struct iovec iov = { client->in + client->in_bytes, CONTROL_REQUEST_BYTES - client->in_bytes };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = rights, .msg_controllen = sizeof rights };
	ssize_t n = recvmsg(client->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			client->gone = true;
		return;
	}
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof (int);
		for (size_t i = 0; i < count; i++) {	/* one is kept, the last; the rest is closed */
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
			if (client->passed_fd >= 0)
				close(client->passed_fd);
			client->passed_fd = fd;
		}
	}
	if (n == 0) {
		client->eof = true;
		return;
	}
	if (client->in_bytes == 0)
		client->since_ns = clock_now_ns(control->clock);
	client->in_bytes += (size_t)n;
}

static void
client_free(struct client *client)
{
	stream_free(client);
	if (client->passed_fd >= 0)
		close(client->passed_fd);
	close(client->fd);
	free(client->in);
	free(client->out);
	free(client);
}

/* ---- the step ---- */

/* All slots are taken: that of the client which has had nothing to do for longest, freed; or the end. */
static struct client **
idlest_free(struct control *control)
{
	uint64_t now_ns = clock_now_ns(control->clock);
	struct client **end = control->clients + CONTROL_CLIENTS_MAX, **idlest = end;
	for (struct client **slot = control->clients; slot < end; slot++) {
		const struct client *client = *slot;
		if (client->stream || client->in_bytes > 0 || out_unsent(client) > 0 || now_ns - client->since_ns < CONTROL_IDLE_MIN_NS)
			continue;
		if (idlest == end || client->since_ns < (*idlest)->since_ns)
			idlest = slot;
	}
	if (idlest < end) {
		client_free(*idlest);
		*idlest = NULL;
	}
	return idlest;
}

static void
clients_accept(struct control *control)
{
	for (int i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		int fd = accept4(control->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0)
			return;
		struct client **slot = control->clients, **end = slot + CONTROL_CLIENTS_MAX;
		while (slot < end && *slot)
			slot++;
		if (slot == end)
			slot = idlest_free(control);
		struct client *client = slot < end ? calloc(1, sizeof *client) : NULL;
		if (!client) {
			static const char busy[] = "{\"ok\":false,\"error\":\"too many connections\"}\n";
			(void)!send(fd, busy, sizeof busy - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
			close(fd);
			continue;
		}
		client->control = control;
		client->fd = fd;
		client->passed_fd = -1;
		client->since_ns = clock_now_ns(control->clock);
		*slot = client;
	}
}

static void
streams_tick(struct control *control, uint64_t now_ns)
{
	for (uint32_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		struct client *client = control->clients[i];
		struct control_stream *stream = client ? client->stream : NULL;
		if (!stream || !stream->every || now_ns < stream->next_ns)
			continue;
		stream->next_ns = now_ns + stream->interval_ns;
		stream->every(stream, stream->context);
	}
}

/* Milliseconds until the next stream's timer or client's end of patience, at most wait_ms. */
static int
wait_cut(const struct control *control, int wait_ms)
{
	uint64_t now_ns = clock_now_ns(control->clock), until_ns = now_ns + (uint64_t)(wait_ms < 0 ? 0 : wait_ms) * NS_PER_MS;
	for (uint32_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		const struct client *client = control->clients[i];
		if (client && client->stream && client->stream->every && client->stream->next_ns < until_ns)
			until_ns = client->stream->next_ns;
	}
	return until_ns <= now_ns ? 0 : (int)((until_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS);
}

static void
client_patience(struct client *client, uint64_t now_ns)
{
	/* A stream may be silent for long, a connection idle; half a request or output that is not taken may not stay. */
	if (now_ns - client->since_ns >= CONTROL_PATIENCE_NS &&
	    (out_unsent(client) > 0 || (client->in_bytes > 0 && !client->stream)))
		client->gone = true;
}

void
control_step(struct control *control, int wait_ms)
{
	struct pollfd fds[1 + CONTROL_CLIENTS_MAX + WATCHES_MAX];
	struct client *of[1 + CONTROL_CLIENTS_MAX];
	nfds_t count = 1, watch_at;

	fds[0] = (struct pollfd){ control->listen_fd, POLLIN, 0 };
	for (uint32_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		struct client *client = control->clients[i];
		if (!client)
			continue;
		short events = (client->eof || client->in_bytes == CONTROL_REQUEST_BYTES) ? 0 : POLLIN;
		of[count] = client;
		fds[count++] = (struct pollfd){ client->fd, events | (out_unsent(client) > 0 ? POLLOUT : 0), 0 };
	}
	watch_at = count;
	for (uint32_t i = 0; i < control->watch_count; i++)
		fds[count++] = (struct pollfd){ control->watches[i].fd, POLLIN, 0 };

	if (poll(fds, count, wait_cut(control, wait_ms)) < 0)
		for (nfds_t i = 0; i < count; i++)
			fds[i].revents = 0;

	for (uint32_t i = 0; i < control->watch_count; i++)
		if (control->watches[i].always || fds[watch_at + i].revents)
			control->watches[i].fn(control->watches[i].context);
	for (nfds_t i = 1; i < watch_at; i++) {
		struct client *client = of[i];
		if (fds[i].revents & (POLLERR | POLLNVAL))
			client->gone = true;
		if (!client->gone && (fds[i].revents & (POLLIN | POLLHUP)) && !client->eof)
			client_read(control, client);
		if ((fds[i].revents & POLLHUP) && (client->eof || client->in_bytes == CONTROL_REQUEST_BYTES) &&
		    (client->stream || client->in_bytes == 0))
			client->gone = true;	/* nobody is there to read */
		client_flush(control, client);
		client_requests(control, client);
	}
	if (fds[0].revents)
		clients_accept(control);

	uint64_t now_ns = clock_now_ns(control->clock);
	streams_tick(control, now_ns);
	for (uint32_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		struct client *client = control->clients[i];
		if (!client)
			continue;
		client_flush(control, client);
		client_patience(client, now_ns);
		if (client->gone) {
			control->clients[i] = NULL;
			client_free(client);
		}
	}
}

void
control_close(struct control *control)
{
	if (!control)
		return;
	for (uint32_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		struct client *client = control->clients[i];
		if (!client)
			continue;
		if (client->stream)
			control_stream_end(client->stream, NULL);
		client_flush(control, client);
		client_free(client);
	}
	close(control->listen_fd);
	struct stat st;
	if (stat(control->path, &st) == 0 && st.st_dev == control->dev && st.st_ino == control->ino)
		unlink(control->path);
	free(control);
}

/* ---- basic commands ---- */

static int
run_status(struct control_call *call, void *context, struct err *err)
{
	struct control *control = context;
	(void)err;
	stats_status(control->stats, call->answer);
	if (control->status_more)
		control->status_more(call->answer, control->status_context);
	return 0;
}

static int
run_help(struct control_call *call, void *context, struct err *err)
{
	struct control *control = context;
	json_t *list = json_array();
	(void)err;
	for (uint32_t i = 0; i < control->command_count; i++)
		json_array_append_new(list, json_string(control->commands[i].usage));
	json_object_set_new(call->answer, "commands", list);
	return 0;
}

static int
run_stop(struct control_call *call, void *context, struct err *err)
{
	struct control *control = context;
	(void)err;
	json_object_set_new(call->answer, "stopping", json_true());
	control->stop(control->stop_context);
	return 0;
}

void
control_add_basics(struct control *control, struct stats *stats, void (*more)(json_t *answer, void *context), void *context)
{
	control->stats = stats;
	control->status_more = more;
	control->status_context = context;
	control_add(control, "status", "status", run_status, control);
	control_add_stats(control, stats);
	control_add(control, "help", "help", run_help, control);
}

void
control_add_stop(struct control *control, void (*stop)(void *context), void *context)
{
	control->stop = stop;
	control->stop_context = context;
	control_add(control, "stop", "stop", run_stop, control);
}
