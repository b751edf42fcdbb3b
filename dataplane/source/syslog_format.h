/* syslog_format: the one more message pattern of Flume's syslog sources (format.regex, .search, .replace, .dateFormat).
 *
 * The regex must match the whole message; its groups are priority, version, timestamp, host and body. In the timestamp every match of `search` is
 * replaced by `replace`; then it is read by `dateFormat` (SimpleDateFormat). A message that is not UTF-8 is read, and stored, with U+FFFD for what
 * is broken. One a source and thread. */
#ifndef PENSTOCK_DATAPLANE_SOURCE_SYSLOG_FORMAT_H
#define PENSTOCK_DATAPLANE_SOURCE_SYSLOG_FORMAT_H

#include "base/err.h"
#include "dataplane/source/syslog.h"

struct syslog_format_config {
	const char *regex, *search, *replace, *date_format;
};

/* Most bytes that the texts of the groups take together. */
#define SYSLOG_FORMAT_BYTES (5u * 3u * 65536u)

struct syslog_format;

/* now_s: wall time, seconds. Leaves NULL and returns 0 when there is no regex (as in Flume the others mean nothing then). Control. */
int syslog_format_open(struct syslog_format **format, const struct syslog_format_config *config, int64_t now_s, struct err *err);
void syslog_format_close(struct syslog_format *format);

/* Does the pattern take the message? Then the slices of `message` are set, relative to *text, which is good until the next call.
 * *has_time: the timestamp could be read, *ms says what it is. */
bool syslog_format_parse(struct syslog_format *format, struct syslog_message *message, const uint8_t *bytes, uint32_t len, const uint8_t **text,
			 bool *has_time, int64_t *ms);

#endif
