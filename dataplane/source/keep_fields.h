/* keep_fields: Flume's keepFields option of the syslog sources: which parsed fields stay in the body. */
#ifndef PENSTOCK_DATAPLANE_SOURCE_KEEP_FIELDS_H
#define PENSTOCK_DATAPLANE_SOURCE_KEEP_FIELDS_H

#include <stdint.h>

#include "dataplane/source/syslog.h"

enum keep_fields { KEEP_NONE = 0, KEEP_PRIORITY = 1, KEEP_VERSION = 2, KEEP_TIMESTAMP = 4, KEEP_HOSTNAME = 8, KEEP_ALL = 16 };

/* all/true, none/false, or any text that holds one or more of priority version timestamp hostname. */
uint32_t keep_fields_parse(const char *text);

/* The fields in Flume's fixed order, then the body, into `out` (message length + 16 bytes); returns the length. A nil timestamp or host is left out
 * (Flume writes the text "null": docs/differences.md). */
uint32_t keep_fields_body(uint32_t keep, const struct syslog_message *message, const uint8_t *bytes, uint8_t *out);

#endif
