/* route: event time -> bucket -> folder, as Camus's partitioners do it, by the calendar of a zone (libicu).
 *
 * A bucket is a floor in local time; its name (`encoded`) is the bucket's start in ms since 1970. Two topics whose names differ only in dots
 * and underscores share a folder in Camus: setup refuses that (route_topic_folder tells).
 * One route per topic and thread; not shared between threads. */
#ifndef PENSTOCK_CAMUS_ROUTE_H
#define PENSTOCK_CAMUS_ROUTE_H

#include "base/err.h"
#include "camus/conf.h"

struct route;

int route_open(struct route **route, const struct camus_conf *conf, const char *topic, struct err *err);
void route_close(struct route *route);

/* Start of the bucket that holds time_ms, ms since 1970. */
int64_t route_bucket(struct route *route, int64_t time_ms);
/* Folder of a bucket below the destination, "topic/hourly/2015/02/16/15"; stays until the next call. NULL: the path cannot be made. */
const char *route_folder(struct route *route, int64_t bucket);
/* End of the bucket, ms: where the next one begins. */
int64_t route_bucket_end(struct route *route, int64_t bucket);
/* End of the folder that holds the bucket: where the first bucket of another folder begins; INT64_MAX: there is none in sight. */
int64_t route_folder_end(struct route *route, int64_t bucket);
/* The topic's name in folders and file names: dots become underscores. `text` has room for len + 1. */
void route_topic_folder(const char *topic, char *text);

/* Name of a published file: topic.leader.partition.count.offset.encoded + extension. */
int route_file_name(char *text, size_t room, const char *topic, const char *leader, int32_t partition, uint64_t count, int64_t offset,
		    int64_t bucket, const char *extension);

#endif
