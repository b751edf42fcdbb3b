/* hook: a program of the operator's that learns of each commit (penstock.camus.hook). Main thread. */
#ifndef PENSTOCK_CAMUS_HOOK_H
#define PENSTOCK_CAMUS_HOOK_H

#include "camus/manifest.h"

/* Runs it with the manifest's number as its argument and on standard input
 *   {"manifest": {...}, "folders": [{"path", "topic", "new", "complete"}]}
 * where new folders are those this manifest began. Up to three tries of penstock.camus.hook_timeout each, and at least once for each manifest, also
 * when a run dies meanwhile. 0, or -errno with its status in err. */
int hook_run(const struct camus_conf *conf, const struct manifest *manifest, struct err *err);

#endif
