/* json: JSON text, walked by calls. Behind this shim stands simdjson (docs/decisions/0004-libraries.md); nothing else includes it.
 *
 * Strings and keys handed to calls live until the next json_walk of the same walker; numbers point into the text. Thread: one at a time a walker. */
#ifndef PENSTOCK_BASE_JSON_H
#define PENSTOCK_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define JSON_PADDING 64u	/* readable bytes behind the text */
#define JSON_DEPTH_MAX 64u

struct json;

/* false stops the walk. All must be there. */
struct json_calls {
	bool (*object)(void *context, bool begin);
	bool (*array)(void *context, bool begin);
	bool (*key)(void *context, const char *text, size_t len);
	bool (*string)(void *context, const char *text, size_t len);
	bool (*number)(void *context, const char *text, size_t len);	/* as written */
	bool (*boolean)(void *context, bool value);
	bool (*null)(void *context);
};

enum json_result { JSON_OK, JSON_SYNTAX, JSON_STOPPED };

struct json *json_new(void);		/* NULL: no memory */
void json_free(struct json *json);

/* text: len bytes, then JSON_PADDING readable ones. Calls may have been made before JSON_SYNTAX is found. */
enum json_result json_walk(struct json *json, const char *text, size_t len, const struct json_calls *calls, void *context);

/* What Gson takes leniently (single quotes, bare words, comments, `;` `=` `=>`, missing array elements, raw control characters, bytes that are no UTF-8, lone
 * surrogates) as strict JSON. out: 6 * len + 16 bytes. Returns its length, or (size_t)-1 when even that cannot be read. Structure is not checked. */
size_t json_strict(const char *text, size_t len, char *out);

#ifdef __cplusplus
}
#endif
#endif
