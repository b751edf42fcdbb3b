#include "ctrlplane/metrics_http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ctrlplane/stats.h"

#define CONNECTIONS_MAX 32
#define CONNECTION_SECONDS 10
#define CONNECTION_BYTES 16384

struct metrics_http {
	struct MHD_Daemon *daemon;
	int epoll_fd;
	uint16_t port;
	struct stats *stats;
	health_fn health;
	void *context;
};

static const char front_text[] =
	"penstock " PENSTOCK_VERSION "\n"
	"\n"
	"/metrics              counters: Flume's JSON; Prometheus text to who asks for it\n"
	"/metrics/prometheus   Prometheus text\n"
	"/health               200, or 503 with the reasons\n";

/* Takes text. */
static enum MHD_Result
respond(struct MHD_Connection *connection, unsigned status, const char *type, char *text)
{
	if (!text)
		return MHD_NO;
	struct MHD_Response *response = MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
	if (!response) {
		free(text);
		return MHD_NO;
	}
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	enum MHD_Result result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result
respond_health(struct metrics_http *http, struct MHD_Connection *connection)
{
	char *text = NULL;
	size_t bytes = 0;
	FILE *reasons = open_memstream(&text, &bytes);
	if (!reasons)
		return MHD_NO;
	if (http->health)
		http->health(reasons, http->context);
	fclose(reasons);
	bool well = bytes == 0;
	if (well) {
		free(text);
		text = strdup("ok\n");
	}
	return respond(connection, well ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", text);
}

/* JSON unless the client names a text type: Prometheus sends "application/openmetrics-text;...,text/plain;...", curl sends all. */
static bool
wants_text(struct MHD_Connection *connection)
{
	const char *accept = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT);
	return accept && !strcasestr(accept, "application/json") && (strcasestr(accept, "openmetrics") || strcasestr(accept, "text/plain"));
}

static enum MHD_Result
answer(void *context, struct MHD_Connection *connection, const char *url, const char *method, const char *version,
	const char *upload, size_t *upload_bytes, void **state)
{
	static const char prometheus[] = "text/plain; version=0.0.4; charset=utf-8";
	struct metrics_http *http = context;
	(void)version;
	(void)upload;

	if (!*state) {		/* the head was read; a body may follow, is thrown away */
		*state = http;
		return MHD_YES;
	}
	if (*upload_bytes) {
		*upload_bytes = 0;
		return MHD_YES;
	}
	if (strcmp(method, "TRACE") == 0 || strcmp(method, "OPTIONS") == 0)
		return respond(connection, MHD_HTTP_FORBIDDEN, "text/plain", strdup("forbidden\n"));
	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
		return respond(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "text/plain", strdup("only GET and HEAD\n"));
	if (strcasecmp(url, "/metrics/prometheus") == 0 || (strcasecmp(url, "/metrics") == 0 && wants_text(connection)))
		return respond(connection, MHD_HTTP_OK, prometheus, stats_prometheus(http->stats));
	if (strcasecmp(url, "/metrics") == 0)
		return respond(connection, MHD_HTTP_OK, "application/json;charset=utf-8", stats_flume_json(http->stats));
	if (strcasecmp(url, "/health") == 0)
		return respond_health(http, connection);
	if (strcmp(url, "/") == 0)
		return respond(connection, MHD_HTTP_OK, "text/plain; charset=utf-8", strdup(front_text));
	return respond(connection, MHD_HTTP_NOT_FOUND, "text/plain", strdup("not found\n"));
}

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static int
bind_parse(const char *bind, union address *address, struct err *err)
{
	char host[64];
	const char *colon = strrchr(bind, ':');
	char *end;
	size_t n = colon ? (size_t)(colon - bind) : 0;
	const char *from = bind;
	if (n >= 2 && bind[0] == '[' && bind[n - 1] == ']') {
		from++;
		n -= 2;
	}
	if (!colon || n == 0 || n >= sizeof host)
		goto wrong;
	memcpy(host, from, n);
	host[n] = 0;
	unsigned long port = strtoul(colon + 1, &end, 10);
	if (end == colon + 1 || *end || port > 65535)
		goto wrong;
	memset(address, 0, sizeof *address);
	if (strcmp(host, "localhost") == 0)
		snprintf(host, sizeof host, "127.0.0.1");
	if (from == bind && inet_pton(AF_INET, host, &address->v4.sin_addr) == 1) {
		address->v4.sin_family = AF_INET;
		address->v4.sin_port = htons(port);
		return 0;
	}
	if (from != bind && inet_pton(AF_INET6, host, &address->v6.sin6_addr) == 1) {
		address->v6.sin6_family = AF_INET6;
		address->v6.sin6_port = htons(port);
		return 0;
	}
wrong:
	return err_set(err, EINVAL, "penstock.metrics.bind: \"%s\": want ADDRESS:PORT, as 127.0.0.1:41414 or [::1]:41414", bind);
}

int
metrics_http_open(struct metrics_http **http, const char *where, struct stats *stats, health_fn health, void *context, struct err *err)
{
	union address address;
	*http = NULL;
	int rc = bind_parse(where, &address, err);
	if (rc < 0)
		return rc;
	struct metrics_http *made = calloc(1, sizeof *made);
	if (!made)
		return err_set(err, ENOMEM, "penstock.metrics.bind: out of memory");
	made->stats = stats;
	made->health = health;
	made->context = context;

	/* The socket is ours, so that a failure has its errno. */
	int one = 1, fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool v6 = address.any.sa_family == AF_INET6;
	socklen_t bytes = v6 ? sizeof address.v6 : sizeof address.v4;
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 ||
	    (v6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one) < 0) ||
	    bind(fd, &address.any, bytes) < 0 || listen(fd, CONNECTIONS_MAX) < 0 || getsockname(fd, &address.any, &bytes) < 0) {
		rc = err_set(err, errno, "penstock.metrics.bind: %s: %s", where, strerror(errno));
		goto failed;
	}
	made->port = ntohs(v6 ? address.v6.sin6_port : address.v4.sin_port);
	made->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_NO_FLAG, 0, NULL, NULL, answer, made, MHD_OPTION_LISTEN_SOCKET, fd,
					MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, CONNECTION_SECONDS,
					MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES, MHD_OPTION_END);
	const union MHD_DaemonInfo *info = made->daemon ? MHD_get_daemon_info(made->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
	if (!info) {
		rc = err_set(err, EIO, "penstock.metrics.bind: %s: libmicrohttpd did not start", where);
		goto failed;
	}
	made->epoll_fd = info->epoll_fd;
	*http = made;
	return 0;

failed:
	if (made->daemon)
		MHD_stop_daemon(made->daemon);	/* closes fd */
	else if (fd >= 0)
		close(fd);
	free(made);
	return rc;
}

uint16_t
metrics_http_port(const struct metrics_http *http)
{
	return http->port;
}

int
metrics_http_fd(const struct metrics_http *http)
{
	return http->epoll_fd;
}

void
metrics_http_run(void *http)
{
	(void)MHD_run(((struct metrics_http *)http)->daemon);
}

void
metrics_http_close(struct metrics_http *http)
{
	if (!http)
		return;
	MHD_stop_daemon(http->daemon);
	free(http);
}
