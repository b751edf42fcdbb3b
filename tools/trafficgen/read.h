/* read: every place that events can be read back from, for verify. Each function hands every event's text to the ledger. */
#ifndef PENSTOCK_TOOLS_TRAFFICGEN_READ_H
#define PENSTOCK_TOOLS_TRAFFICGEN_READ_H

#include <stddef.h>

#include "base/err.h"
#include "tools/trafficgen/ledger.h"

/* file_roll:DIR | ringlog:DIR | kafka:BROKERS/TOPIC | file:PATH | - . `program` is argv[0]: penstock-ringlog is looked for around it. */
int read_place(struct ledger *ledger, const char *place, const char *program, struct err *err);

/* An Avro container file of Flume events in memory. */
int read_avro(struct ledger *ledger, const char *path, const uint8_t *bytes, size_t len, struct err *err);
/* Lines of a descriptor until its end; json: lines as `penstock-ringlog dump --json` writes them. */
int read_lines(struct ledger *ledger, int fd, bool json, const char *path, struct err *err);
/* Every partition from its begin to its end as it was when asked. */
int read_kafka(struct ledger *ledger, const char *brokers, const char *topic, struct err *err);

#endif
