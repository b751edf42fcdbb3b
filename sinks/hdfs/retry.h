/* retry: what a WebHDFS answer means (by the exception's name, never by the status) and how long to wait before the next try. */
#ifndef PENSTOCK_SINKS_HDFS_RETRY_H
#define PENSTOCK_SINKS_HDFS_RETRY_H

#include "sinks/hdfs/fs.h"

/* Class of a RemoteException; status only where there is none (exception ""). */
enum fs_class retry_class(int status, const char *exception, const char *message);
/* The exception says that another NameNode is the active one. */
bool retry_elsewhere(const char *exception);
/* Pause before try number `tries` (1: the first repetition): 100 ms doubled each time up to 5 s, of that half to all. */
uint64_t retry_pause_ns(uint32_t tries, uint64_t *seed);

#endif
