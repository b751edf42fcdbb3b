#include "base/err.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

int
err_set(struct err *err, int errnum, const char *format, ...)
{
	assert(errnum > 0);
	if (err) {
		va_list args;
		va_start(args, format);
		vsnprintf(err->text, sizeof err->text, format, args);
		va_end(args);
	}
	return -errnum;
}

int
err_prefix(struct err *err, int rc, const char *format, ...)
{
	if (!err)
		return rc;
	char old[ERR_TEXT_BYTES];
	memcpy(old, err->text, sizeof old);
	va_list args;
	va_start(args, format);
	int n = vsnprintf(err->text, sizeof err->text, format, args);
	va_end(args);
	if (n < 0 || (size_t)n >= sizeof err->text)
		return rc;
	size_t left = sizeof err->text - (size_t)n;
	int m = snprintf(err->text + n, left, ": %s", old);
	(void)m;	/* a message cut at the end is still a message */
	return rc;
}
