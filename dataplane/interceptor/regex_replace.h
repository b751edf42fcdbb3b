/* regex_replace: java.util.regex.Matcher.replaceAll: every match is replaced; $1, ${name} and \\x as there. */
#ifndef PENSTOCK_DATAPLANE_INTERCEPTOR_REGEX_REPLACE_H
#define PENSTOCK_DATAPLANE_INTERCEPTOR_REGEX_REPLACE_H

#include "dataplane/interceptor/regex.h"

struct regex_replacement;	/* read only once compiled; any thread */

/* A group that the pattern does not have, or a $ or \ at the end: -EINVAL (Java says so at the first match). */
int regex_replacement_compile(const struct regex *regex, const char *text, struct regex_replacement **replacement, struct err *err);
void regex_replacement_free(struct regex_replacement *replacement);

/* The text must be UTF-8. False: it does not fit into `room` bytes. */
bool regex_replace_all(const struct regex *regex, struct regex_scratch *scratch, const struct regex_replacement *replacement, const uint8_t *text,
		       size_t len, uint8_t *out, size_t room, size_t *out_len);

#endif
