/* http_client: HTTP calls without waiting, many at a time, over one curl multi handle and one epoll descriptor.
 *
 * A call is begun with http_begin and ends exactly once, by its `done`, always from within http_client_step (never from within
 * http_begin or http_cancel). The body of a request is either bytes that stay where they are until `done`, or is pulled by `body`, which
 * may answer HTTP_BODY_LATER; http_body_more then wakes it. An answer may come while the body is still being sent: the call ends then.
 * 1xx answers are skipped, redirects are answers, nothing is retried.
 *
 * Owner and thread: whoever made it; all calls on that thread. The one file that knows libcurl. */
#ifndef PENSTOCK_SINKS_HTTP_CLIENT_H
#define PENSTOCK_SINKS_HTTP_CLIENT_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"

#define HTTP_BODY_LATER SIZE_MAX	/* nothing now: call http_body_more when there is */
#define HTTP_BODY_ABORT (SIZE_MAX - 1)	/* break the connection off */

struct http_client;
struct http_call;

struct http_tls {			/* all may be NULL: the system's trust, no certificate of our own */
	const char *ca_file;
	const char *cert_file, *key_file;
	bool trust_all;
};

struct http_answer {
	int status;			/* 0: no answer */
	bool sent;			/* with status 0: something may have reached the far side; false: certainly nothing did */
	bool timed_out;
	const char *body;		/* terminated; cut at answer_bytes */
	size_t body_len;
	bool body_cut;
	const char *location;		/* Location header or NULL */
	const char *error;		/* with status 0: in words */
	uint64_t body_sent;		/* bytes of the request's body that were pulled */
};

typedef void http_done(void *context, const struct http_answer *answer);

struct http_request {
	const char *method;		/* GET, PUT, POST, DELETE */
	const char *url;
	const char *const *headers;	/* "Name: value", NULL terminated; may be NULL; copied */
	const void *bytes;		/* fixed body, or NULL; stays until done */
	size_t len;
	/* Streamed body (chunked), instead of `bytes`: fills at most `room` bytes; 0 is the end. */
	size_t (*body)(void *context, void *bytes, size_t room);
	bool spnego;			/* HTTP Negotiate with the credential cache of KRB5CCNAME (see hdfs/login) */
	uint64_t connect_ns;		/* 0: 10 s */
	uint64_t stall_ns;		/* no byte either way for so long while one is due ends the call; 0: 60 s */
	size_t answer_bytes;		/* most bytes of an answer's body that are kept; 0: 1 MiB */
	http_done *done;
	void *context;			/* of body and done */
};

int http_client_open(struct http_client **client, struct clock *clock, const struct http_tls *tls, struct err *err);
/* NULL: no memory or an impossible URL. */
struct http_call *http_begin(struct http_client *client, const struct http_request *request);
void http_body_more(struct http_call *call);
/* Breaks the call off; its `done` is not called. */
void http_cancel(struct http_call *call);
/* Does what can be done now, calls `done` of what ended. Returns ns until it wants the next call even when no descriptor speaks. */
uint64_t http_client_step(struct http_client *client);
int http_client_fd(const struct http_client *client);	/* readable: step has something to do */
uint32_t http_client_busy(const struct http_client *client);	/* calls begun and not ended */
void http_client_close(struct http_client *client);	/* cancels what is left */

/* `text` percent-encoded for a URL's path (keep_slash) or a query value; 0 or -ENOSPC. */
int http_escape(const char *text, bool keep_slash, char *to, size_t room);

#endif
