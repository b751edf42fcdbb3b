/* http_blob: one event of the whole body, headers from the query's parameters: Flume's BLOBHandler and the morphline BlobHandler. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "dataplane/source/http_handler.h"

struct blob {
	struct ingress_source *in;
	const struct http_handler_config *config;
	char *text;			/* decoded parameters */
	struct http1_text names[HTTP_HEADERS_EVENT_MAX + 1], values[HTTP_HEADERS_EVENT_MAX + 1];
};

static int
blob_open(void **handler, const struct http_handler_config *config, struct ingress_source *in, struct err *err)
{
	struct blob *b = calloc(1, sizeof *b);
	if (!b || !(b->text = malloc(HTTP1_HEAD_MAX))) {
		free(b);
		return err_set(err, ENOMEM, "no memory");
	}
	b->in = in;
	b->config = config;
	*handler = b;
	return 0;
}

static void
blob_close(void *handler)
{
	struct blob *b = handler;
	free(b->text);
	free(b);
}

static bool
same(struct http1_text a, const char *b, size_t len)
{
	return a.len == len && memcmp(a.bytes, b, len) == 0;
}

/* The first value of each parameter. Returns how many there are; HTTP_HEADERS_EVENT_MAX + 1: too many. */
static uint32_t
parameters(struct blob *b, const struct http1_request *request)
{
	const char *mark = memchr(request->target.bytes, '?', request->target.len);
	if (!mark)
		return 0;
	struct http1_text query = { mark + 1, request->target.len - (uint32_t)(mark + 1 - request->target.bytes) }, name, value;
	uint32_t count = 0, used = 0;
	while (http1_parameter(&query, b->text + used, &name, &value)) {
		bool known = false;
		for (uint32_t i = 0; i < count && !known; i++)
			known = same(b->names[i], name.bytes, name.len);
		if (known)
			continue;
		if (count == HTTP_HEADERS_EVENT_MAX)
			return count + 1;
		used += name.len + value.len;
		b->names[count] = name;
		b->values[count++] = value;
	}
	return count;
}

static enum http_answer
blob_run(void *handler, const struct http1_request *request, const char *body, uint32_t len, uint32_t ticket)
{
	struct blob *b = handler;
	(void)ticket;
	uint32_t count = parameters(b, request);
	if (count > HTTP_HEADERS_EVENT_MAX)
		return HTTP_HEADERS_MAX;
	for (size_t k = 0; k < b->config->mandatory.count; k++) {
		const char *want = b->config->mandatory.items[k];
		bool there = false;
		for (uint32_t i = 0; i < count && !there; i++)
			there = same(b->names[i], want, strlen(want));
		if (!there)
			return HTTP_PARAMETER;
	}
	return http_append(b->in, body, len, b->names, b->values, count);
}

static enum http_answer
morphline_run(void *handler, const struct http1_request *request, const char *body, uint32_t len, uint32_t ticket)
{
	static struct log_limit limit;
	struct blob *b = handler;
	(void)ticket;
	uint32_t count = parameters(b, request);
	if (count > HTTP_HEADERS_EVENT_MAX)
		return HTTP_HEADERS_MAX;
	if (request->content_type.len) {
		b->names[count] = (struct http1_text){ "_attachment_mimetype", 20 };
		b->values[count++] = request->content_type;
	}
	if (len > b->config->blob_bytes) {
		log_limited(&limit, LOG_WARN, "sources.%s: a body of %u bytes is cut to handler.maxBlobLength", b->in->spec->name, len);
		len = (uint32_t)b->config->blob_bytes;
	}
	return http_append(b->in, body, len, b->names, b->values, count);
}

const struct http_handler_ops http_handler_blob = {
	.name = "org.apache.flume.source.http.BLOBHandler", .open = blob_open, .run = blob_run, .close = blob_close,
};
const struct http_handler_ops http_handler_morphline_blob = {
	.name = "org.apache.flume.sink.solr.morphline.BlobHandler", .open = blob_open, .run = morphline_run, .close = blob_close,
};
