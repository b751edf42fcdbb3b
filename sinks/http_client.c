#include "sinks/http_client.h"

#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <unistd.h>

#define ANSWER_BYTES (1u << 20)
#define CONNECT_NS (10 * NS_PER_S)
#define STALL_NS (60 * NS_PER_S)
#define UPLOAD_BUFFER_BYTES (1l << 20)
#define LIMIT_STALLS 10			/* as long as this many stalls may an answer take that comes in drops */
#define WATCH_NS (250 * NS_PER_MS)	/* how often deadlines are looked at */
#define EVENTS_MAX 64

struct http_call {
	struct http_call *next, **link;
	struct http_client *client;
	CURL *easy;
	struct curl_slist *headers;
	const uint8_t *bytes;
	size_t len, given;
	size_t (*body)(void *, void *, size_t);
	http_done *done;
	void *context;
	bool paused;			/* the body waits for http_body_more: no byte is due from us or them */
	bool body_ended;
	bool resume;			/* http_body_more came; curl is told in the next step */
	bool over, timed_out;
	CURLcode code;
	uint64_t stall_ns, progress_ns;
	uint64_t turn_ns;		/* begin, or when our last byte was taken: from then on the whole answer is due */
	uint64_t pulled;
	size_t answer_max, answer_len, answer_room;
	char *answer;
	bool answer_cut;
	char *location;
	char error[CURL_ERROR_SIZE];
};

struct http_client {
	CURLM *multi;
	struct clock *clock;
	struct http_tls tls;
	int epoll_fd;
	struct http_call *calls;
	uint32_t busy;
	uint64_t timer_ns;		/* curl wants to be called then; UINT64_MAX never */
	uint64_t watch_ns;
	uint32_t resumes;
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void
curl_begin(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

static int
socket_changed(CURL *easy, curl_socket_t fd, int what, void *context, void *known)
{
	struct http_client *client = context;
	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		epoll_ctl(client->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
		return 0;
	}
	struct epoll_event event = {
		.events = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u), .data.fd = fd,
	};
	/* A number that was closed and came again is no longer in the set. */
	if (epoll_ctl(client->epoll_fd, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event))
		epoll_ctl(client->epoll_fd, errno == EEXIST ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event);
	curl_multi_assign(client->multi, fd, client);
	return 0;
}

static int
timer_changed(CURLM *multi, long timeout_ms, void *context)
{
	struct http_client *client = context;
	(void)multi;
	client->timer_ns = timeout_ms < 0 ? UINT64_MAX : clock_now_ns(&clock_system) + (uint64_t)timeout_ms * NS_PER_MS;
	return 0;
}

int
http_client_open(struct http_client **made, struct clock *clock, const struct http_tls *tls, struct err *err)
{
	pthread_once(&curl_once, curl_begin);
	struct http_client *client = calloc(1, sizeof *client);
	if (!client)
		return err_set(err, ENOMEM, "no memory");
	client->clock = clock;
	client->tls = tls ? *tls : (struct http_tls){ 0 };
	client->timer_ns = UINT64_MAX;
	client->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	client->multi = curl_multi_init();
	if (client->epoll_fd < 0 || !client->multi) {
		http_client_close(client);
		return err_set(err, ENOMEM, "no memory or descriptors for an HTTP client");
	}
	curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, socket_changed);
	curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
	curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, timer_changed);
	curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
	curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, 16l);
	*made = client;
	return 0;
}

static size_t
body_pull(char *to, size_t size, size_t count, void *context)
{
	struct http_call *call = context;
	size_t room = size * count, n;
	call->progress_ns = call->turn_ns = clock_now_ns(call->client->clock);
	if (call->body) {
		n = call->body(call->context, to, room);
		if (n == HTTP_BODY_LATER) {
			call->paused = true;
			return CURL_READFUNC_PAUSE;
		}
		if (n == HTTP_BODY_ABORT)
			return CURL_READFUNC_ABORT;
	} else {
		n = call->len - call->given < room ? call->len - call->given : room;
		memcpy(to, call->bytes + call->given, n);
		call->given += n;
	}
	call->pulled += n;
	call->body_ended = n == 0;
	return n;
}

/* A login that needs a second turn starts a fixed body again; a streamed one cannot. */
static int
body_rewind(void *context, curl_off_t offset, int origin)
{
	struct http_call *call = context;
	if (call->body || origin != SEEK_SET || offset < 0 || (size_t)offset > call->len)
		return call->body && !call->pulled && offset == 0 ? CURL_SEEKFUNC_OK : CURL_SEEKFUNC_FAIL;
	call->given = (size_t)offset;
	return CURL_SEEKFUNC_OK;
}

static size_t
answer_put(char *bytes, size_t size, size_t count, void *context)
{
	struct http_call *call = context;
	size_t len = size * count, n = len;
	call->progress_ns = clock_now_ns(call->client->clock);
	if (n > call->answer_max - call->answer_len) {
		n = call->answer_max - call->answer_len;
		call->answer_cut = true;
	}
	if (call->answer_len + n + 1 > call->answer_room) {
		size_t room = (call->answer_len + n) * 2 + 256;
		char *grown = realloc(call->answer, room);
		if (!grown)
			return 0;
		call->answer = grown;
		call->answer_room = room;
	}
	memcpy(call->answer + call->answer_len, bytes, n);
	call->answer_len += n;
	call->answer[call->answer_len] = '\0';
	return len;
}

static size_t
header_put(char *bytes, size_t size, size_t count, void *context)
{
	struct http_call *call = context;
	size_t len = size * count;
	call->progress_ns = clock_now_ns(call->client->clock);
	if (len > 9 && strncasecmp(bytes, "Location:", 9) == 0) {
		const char *from = bytes + 9, *end = bytes + len;
		while (from < end && *from == ' ')
			from++;
		while (end > from && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' '))
			end--;
		free(call->location);
		call->location = strndup(from, (size_t)(end - from));
	} else if (len > 5 && memcmp(bytes, "HTTP/", 5) == 0) {
		/* A new answer (after 100, or after a login's 401): what the last one said does not count. */
		call->answer_len = 0;
		free(call->location);
		call->location = NULL;
	}
	return len;
}

static void
call_free(struct http_call *call)
{
	if (call->link) {
		*call->link = call->next;
		if (call->next)
			call->next->link = call->link;
		call->client->busy--;
		if (call->resume)
			call->client->resumes--;
	}
	if (call->easy) {
		curl_multi_remove_handle(call->client->multi, call->easy);
		curl_easy_cleanup(call->easy);
	}
	curl_slist_free_all(call->headers);
	free(call->answer);
	free(call->location);
	free(call);
}

static bool
header_add(struct http_call *call, const char *text)
{
	struct curl_slist *longer = curl_slist_append(call->headers, text);
	if (longer)
		call->headers = longer;
	return longer != NULL;
}

struct http_call *
http_begin(struct http_client *client, const struct http_request *request)
{
	struct http_call *call = calloc(1, sizeof *call);
	if (!call)
		return NULL;
	call->client = client;
	call->easy = curl_easy_init();
	call->bytes = request->bytes;
	call->len = request->bytes ? request->len : 0;
	call->body = request->body;
	call->done = request->done;
	call->context = request->context;
	call->stall_ns = request->stall_ns ? request->stall_ns : STALL_NS;
	call->answer_max = request->answer_bytes ? request->answer_bytes : ANSWER_BYTES;
	call->progress_ns = call->turn_ns = clock_now_ns(client->clock);
	CURL *easy = call->easy;
	bool ok = easy && curl_easy_setopt(easy, CURLOPT_URL, request->url) == CURLE_OK;
	for (uint32_t i = 0; ok && request->headers && request->headers[i]; i++)
		ok = header_add(call, request->headers[i]);
	bool has_body = request->bytes || request->body;
	ok = ok && header_add(call, "Expect:");
	if (ok && request->body)
		ok = header_add(call, "Transfer-Encoding: chunked");
	if (!ok) {
		call_free(call);
		return NULL;
	}
	uint64_t connect_ns = request->connect_ns ? request->connect_ns : CONNECT_NS;
	curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1l);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->error);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)(connect_ns / NS_PER_MS));
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, answer_put);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, header_put);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	if (has_body) {
		curl_easy_setopt(easy, CURLOPT_UPLOAD, 1l);
		curl_easy_setopt(easy, CURLOPT_READFUNCTION, body_pull);
		curl_easy_setopt(easy, CURLOPT_READDATA, call);
		curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, body_rewind);
		curl_easy_setopt(easy, CURLOPT_SEEKDATA, call);
		if (request->body)
			curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, UPLOAD_BUFFER_BYTES);
		else
			curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)request->len);
	} else if (strcmp(request->method, "GET") != 0) {
		call->body_ended = true;
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, "");
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, 0l);
		header_add(call, "Content-Type:");
	} else {
		call->body_ended = true;
	}
	curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, call->headers);
	if (request->spnego) {
		curl_easy_setopt(easy, CURLOPT_HTTPAUTH, (long)CURLAUTH_NEGOTIATE);
		curl_easy_setopt(easy, CURLOPT_USERPWD, ":");
	}
	if (client->tls.ca_file)
		curl_easy_setopt(easy, CURLOPT_CAINFO, client->tls.ca_file);
	if (client->tls.cert_file)
		curl_easy_setopt(easy, CURLOPT_SSLCERT, client->tls.cert_file);
	if (client->tls.key_file)
		curl_easy_setopt(easy, CURLOPT_SSLKEY, client->tls.key_file);
	if (client->tls.trust_all) {
		curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0l);
		curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0l);
	}
	if (curl_multi_add_handle(client->multi, easy) != CURLM_OK) {
		call_free(call);
		return NULL;
	}
	call->next = client->calls;
	call->link = &client->calls;
	if (call->next)
		call->next->link = &call->next;
	client->calls = call;
	client->busy++;
	return call;
}

void
http_body_more(struct http_call *call)
{
	if (!call->paused || call->resume)
		return;
	call->resume = true;
	call->client->resumes++;
}

void
http_cancel(struct http_call *call)
{
	call_free(call);
}

static void
call_end(struct http_call *call)
{
	long status = 0, sent = 0;
	struct http_answer answer = { .body = call->answer ? call->answer : "", .body_len = call->answer_len, .body_cut = call->answer_cut,
		.location = call->location, .timed_out = call->timed_out, .body_sent = call->pulled };
	if (call->code == CURLE_OK)
		curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(call->easy, CURLINFO_REQUEST_SIZE, &sent);
	answer.status = (int)status;
	answer.sent = sent > 0 || call->pulled;
	if (!status) {
		answer.error = call->timed_out ? "no answer in time" : call->error[0] ? call->error : curl_easy_strerror(call->code);
		if (call->code == CURLE_OPERATION_TIMEDOUT)
			answer.timed_out = true;
	}
	/* The call's memory lives through `done`, but is no longer among the client's. */
	*call->link = call->next;
	if (call->next)
		call->next->link = call->link;
	call->link = NULL;
	call->client->busy--;
	if (call->resume)
		call->client->resumes--;
	http_done *done = call->done;
	void *context = call->context;
	done(context, &answer);
	call_free(call);
}

static void
ended_collect(struct http_client *client)
{
	CURLMsg *message;
	int left;
	while ((message = curl_multi_info_read(client->multi, &left))) {
		struct http_call *call = NULL;
		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&call);
		call->code = message->data.result;
		call->over = true;
		call_end(call);
	}
}

static void
stalled_end(struct http_client *client, uint64_t now_ns)
{
again:
	for (struct http_call *call = client->calls; call; call = call->next) {
		bool due = !call->paused || call->resume;
		bool stalled = now_ns > call->progress_ns && now_ns - call->progress_ns >= call->stall_ns;
		bool drips = now_ns > call->turn_ns && (now_ns - call->turn_ns) / LIMIT_STALLS >= call->stall_ns;
		if (due && (stalled || drips)) {
			call->timed_out = true;
			call->code = CURLE_OPERATION_TIMEDOUT;
			call_end(call);
			goto again;	/* done may have changed the list */
		}
	}
}

uint64_t
http_client_step(struct http_client *client)
{
	int running;
	while (client->resumes) {
		struct http_call *call = client->calls;
		while (!call->resume)
			call = call->next;
		call->resume = call->paused = false;
		call->progress_ns = call->turn_ns = clock_now_ns(client->clock);
		client->resumes--;
		curl_easy_pause(call->easy, CURLPAUSE_CONT);
	}
	struct epoll_event events[EVENTS_MAX];
	int count = epoll_wait(client->epoll_fd, events, EVENTS_MAX, 0);
	for (int i = 0; i < count; i++) {
		int what = (events[i].events & (EPOLLIN | EPOLLHUP) ? CURL_CSELECT_IN : 0) | (events[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
			   (events[i].events & EPOLLERR ? CURL_CSELECT_ERR : 0);
		curl_multi_socket_action(client->multi, events[i].data.fd, what, &running);
	}
	uint64_t now_ns = clock_now_ns(&clock_system);
	if (now_ns >= client->timer_ns) {
		client->timer_ns = UINT64_MAX;
		curl_multi_socket_action(client->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	}
	ended_collect(client);
	uint64_t mine_ns = clock_now_ns(client->clock);
	if (mine_ns >= client->watch_ns) {
		client->watch_ns = mine_ns + WATCH_NS;
		stalled_end(client, mine_ns);
	}
	if (!client->busy)
		return UINT64_MAX;
	uint64_t wait_ns = client->resumes ? 0 : WATCH_NS;
	if (client->timer_ns != UINT64_MAX) {
		uint64_t left_ns = client->timer_ns > now_ns ? client->timer_ns - now_ns : 0;
		wait_ns = left_ns < wait_ns ? left_ns : wait_ns;
	}
	return wait_ns;
}

int
http_client_fd(const struct http_client *client)
{
	return client->epoll_fd;
}

uint32_t
http_client_busy(const struct http_client *client)
{
	return client->busy;
}

void
http_client_close(struct http_client *client)
{
	if (!client)
		return;
	while (client->calls)
		call_free(client->calls);
	if (client->multi)
		curl_multi_cleanup(client->multi);
	if (client->epoll_fd >= 0)
		close(client->epoll_fd);
	free(client);
}

int
http_escape(const char *text, bool keep_slash, char *to, size_t room)
{
	static const char plain[] = "-._~";
	size_t n = 0;
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		bool keep = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || strchr(plain, *p) ||
			(keep_slash && (*p == '/' || *p == '=' || *p == ','));
		if (n + (keep ? 1 : 3) >= room)
			return -ENOSPC;
		if (keep)
			to[n++] = (char)*p;
		else
			n += (size_t)snprintf(to + n, room - n, "%%%02X", *p);
	}
	to[n] = '\0';
	return 0;
}
