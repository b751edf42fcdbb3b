/* token_file: Hadoop's credentials file (HADOOP_TOKEN_FILE_LOCATION), of both of its formats, and the delegation token for HDFS in it. */
#ifndef PENSTOCK_SINKS_HDFS_TOKEN_FILE_H
#define PENSTOCK_SINKS_HDFS_TOKEN_FILE_H

#include "base/err.h"

/* The HDFS token of `service` (ns1, host:port), else the first one, in URL form; free it. 0; -ENOENT: it has none; -EINVAL, -errno: the file. */
int token_file_read(const char *path, const char *service, char **token, struct err *err);

#endif
