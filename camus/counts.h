/* counts: audit counts, how many records of a topic fall into each window of event time, by server and service. They stand in the manifest, so
 * that they are told exactly of what was committed, and are told again, under the same key, when a run died while telling.
 * Counting: the task's thread; the rest: the run's. */
#ifndef PENSTOCK_CAMUS_COUNTS_H
#define PENSTOCK_CAMUS_COUNTS_H

#include <jansson.h>

#include "camus/job.h"
#include "camus/manifest.h"

struct place;

/* One record of the part. server, service: NULL for unknown. */
void counts_add(struct part *part, uint32_t window_minutes, int64_t time_ms, const char *server, const char *service);
/* Of all parts that are committed, one object a topic, as Camus's count files have them. New reference. */
json_t *counts_json(const struct job *job);
void counts_free(struct part *part);
/* One part's, for the way from a task on another machine: new reference, null without any; and back into a part without (false: makes no sense). */
json_t *counts_write(const struct part *part);
bool counts_read(struct part *part, const json_t *json);

/* Puts a manifest's counts into <folder>/counts.<run>: a JSON array. 0 or -errno; nothing to do without counts. */
int counts_store(struct fs *fs, const struct camus_conf *conf, const struct manifest *manifest, const char *folder, struct err *err);
const char *counts_tier(const struct camus_conf *conf);
/* Sends a manifest's counts to Kafka: one JSON message a topic and window (its servers and services in it), its key {topic, tier, window, run} the
 * same however often it is sent. 0 or -errno. */
int counts_send(const struct camus_conf *conf, const struct manifest *manifest, struct err *err);

#endif
