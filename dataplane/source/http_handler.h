/* http_handler: makes events of one request's body (Flume's HTTPSourceHandler). */
#ifndef PENSTOCK_DATAPLANE_SOURCE_HTTP_HANDLER_H
#define PENSTOCK_DATAPLANE_SOURCE_HTTP_HANDLER_H

#include "base/http1.h"
#include "base/json.h"
#include "dataplane/ingress.h"

/* What the answer says; http.c has the status and the text. */
enum http_answer {
	HTTP_OK, HTTP_BAD_JSON, HTTP_NULL_LIST, HTTP_NULL_EVENT, HTTP_CHARSET, HTTP_PARAMETER, HTTP_HEADERS_MAX, HTTP_FULL, HTTP_STORE, HTTP_TOO_LARGE,
	HTTP_BODY_MAX, HTTP_BAD_GZIP, HTTP_ENCODING, HTTP_FORBIDDEN, HTTP_METHOD, HTTP_BAD_REQUEST, HTTP_BAD_CHUNK, HTTP_URI_LONG, HTTP_EXPECT, HTTP_FIELDS,
	HTTP_TRANSFER, HTTP_VERSION, HTTP_MEMORY, HTTP_ANSWERS,
};

struct http_handler_config {
	struct option_list mandatory;	/* parameters */
	uint64_t blob_bytes;
};

struct http_handler_ops {
	const char *name;		/* Flume's class */
	int (*open)(void **handler, const struct http_handler_config *config, struct ingress_source *in, struct err *err);
	/* Between ingress_begin and commit or abort (which the caller does; the handler may abort and begin again with `ticket`). HTTP_OK: all events are
	 * appended. body: len bytes, then JSON_PADDING readable ones. */
	enum http_answer (*run)(void *handler, const struct http1_request *request, const char *body, uint32_t len, uint32_t ticket);
	void (*close)(void *handler);
};

extern const struct http_handler_ops http_handler_json, http_handler_blob, http_handler_morphline_blob;

/* Appends an event with headers; names and values live until commit. HTTP_OK, or HTTP_HEADERS_MAX. */
enum http_answer http_append(struct ingress_source *in, const char *body, uint32_t len, const struct http1_text *names, const struct http1_text *values,
			     uint32_t count);

#define HTTP_HEADERS_EVENT_MAX 1024u

#endif
