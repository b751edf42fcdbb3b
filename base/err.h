/* err: a message with context for humans, filled on the way up.
 *
 * A function that can fail because the operator or a file is wrong takes a struct err * and returns -errno; the text names the
 * place, the value and what would be right. Each level may put its own words in front. A NULL err is allowed everywhere. */
#ifndef PENSTOCK_BASE_ERR_H
#define PENSTOCK_BASE_ERR_H

#include <stdarg.h>
#include <stddef.h>

#define ERR_TEXT_BYTES 1024

struct err {
	char text[ERR_TEXT_BYTES];	/* one line, no newline at the end; "" when nothing went wrong */
};

/* Writes the message and returns -errnum (errnum > 0), so that a caller can `return err_set(...)`. */
int err_set(struct err *err, int errnum, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Puts "words: " in front of what is there. Returns rc unchanged. */
int err_prefix(struct err *err, int rc, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
