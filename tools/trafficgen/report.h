/* report: the JSON that `send` leaves and `verify` reads and leaves. */
#ifndef PENSTOCK_TOOLS_TRAFFICGEN_REPORT_H
#define PENSTOCK_TOOLS_TRAFFICGEN_REPORT_H

#include "base/err.h"
#include "tools/trafficgen/ledger.h"
#include "tools/trafficgen/send.h"

/* path NULL or "-": standard output. */
int report_send(const char *path, const struct load *load, const struct load_config *config, const struct send_result *result, struct err *err);
/* Opens the ledger for what the report says was sent, and checks seed and sources (0: not asked) against it. */
int report_expect(const char *path, uint64_t seed, uint32_t sources, struct ledger *ledger, struct err *err);
int report_verify(const char *path, const struct ledger *ledger, uint64_t lost_acked, struct err *err);

#endif
