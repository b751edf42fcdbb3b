/* sink_hdfs_ledger: what the hdfs sink keeps in the channel's ledger, so that no restart leaves a file in use or an event twice. */
#ifndef PENSTOCK_SINKS_SINK_HDFS_LEDGER_H
#define PENSTOCK_SINKS_SINK_HDFS_LEDGER_H

#include "sinks/sink_hdfs.h"

int ledger_begin(struct hdfs_sink *sink, struct err *err);	/* opens sink->ledger where the channel has one */
void ledger_end(struct hdfs_sink *sink);
uint64_t ledger_step(struct hdfs_sink *sink, uint64_t now_ns);	/* what an earlier run left */
uint64_t ledger_file_number(struct hdfs_ledger *ledger);
const char *ledger_file_stem(const struct hdfs_ledger *ledger);	/* the log's id in names */
uint32_t ledger_runs_max(const struct hdfs_sink *sink);	/* runs of event numbers one file may have */
/* Steps of a file; see enum file_state. */
void ledger_file_note(struct hdfs_file *file);
uint64_t ledger_file_step(struct hdfs_file *file, uint64_t now_ns);
uint64_t ledger_file_resolve(struct hdfs_file *file);
void ledger_file_seen(struct hdfs_file *file, const struct fs_answer *answer);	/* its status */
void ledger_file_removed(struct hdfs_file *file);
void ledger_in_doubt(struct hdfs_file *file);

/* Rejects. Note: INTENT of lines at an offset of a local file; 0, or it did not go in now. Durable: *note 0 then, when it has to be noted again.
 * Resolve: set aside (written) or abandoned; 0, or it did not go in now. */
int ledger_reject_note(struct hdfs_sink *sink, uint64_t number, struct run_set *set, const char *path, uint64_t offset, uint64_t bytes, uint64_t *note);
bool ledger_reject_durable(struct hdfs_sink *sink, uint64_t *note);
int ledger_reject_resolve(struct hdfs_sink *sink, uint64_t number, bool written);

#endif
