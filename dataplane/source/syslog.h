/* syslog: one syslog message as Flume's SyslogUtils reads it (syslogtcp, syslogudp): an RFC 5424-like pattern, then an
 * RFC 3164-like one. Written by hand; means what those two java.util.regex patterns mean. No I/O, any thread. */
#ifndef PENSTOCK_DATAPLANE_SOURCE_SYSLOG_H
#define PENSTOCK_DATAPLANE_SOURCE_SYSLOG_H

#include <stdbool.h>
#include <stdint.h>

struct syslog_slice {
	uint32_t offset, len;
};

struct syslog_message {
	bool bad_priority;		/* no <1 to 3 digits>: status Invalid, facility and severity 0 */
	uint32_t priority;		/* 0..999 */
	bool matched;			/* one of the two patterns; the slices below are set */
	struct syslog_slice priority_text, version, stamp, host, body;	/* len 0: took no part */
	bool has_body;			/* the pattern's body took part, though it may be empty */
	bool stamp_nil, host_nil;	/* "-" */
	bool stamp_empty, host_empty;	/* took part with nothing in it */
	bool rfc5424;
};

/* `len` bytes, newline already cut off. */
void syslog_parse(struct syslog_message *message, const uint8_t *bytes, uint32_t len);

/* Does Java's `.*` reach its end? No: a line terminator is in it. */
bool syslog_dot(const uint8_t *bytes, uint32_t len);

/* Milliseconds since 1970 of a stamp as matched. now_ns: wall time, for the year of RFC 3164. Zone: the process's (TZ).
 * False: an unknown month name. */
bool syslog_time(const uint8_t *stamp, uint32_t len, bool rfc5424, uint64_t now_ns, int64_t *ms);

#endif
