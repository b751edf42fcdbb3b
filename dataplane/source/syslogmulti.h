/* syslogmulti: one syslog message as Flume's SyslogParser reads it (multiport_syslogtcp). No I/O, any thread. */
#ifndef PENSTOCK_DATAPLANE_SOURCE_SYSLOGMULTI_H
#define PENSTOCK_DATAPLANE_SOURCE_SYSLOGMULTI_H

#include "dataplane/source/syslog.h"

/* False: it cannot be read. Else m->priority (any number that fits), priority_text, version, stamp ("-" included), host, body (len 0: none, the whole message
 * is the body) and *ms are set. now_ns: wall time. RFC 3164 stamps are UTC; an unreadable one is 0, as in Flume. */
bool syslogmulti_parse(struct syslog_message *m, const uint8_t *bytes, uint32_t len, uint64_t now_ns, int64_t *ms);

#endif
