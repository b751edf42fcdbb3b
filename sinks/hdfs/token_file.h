/* token_file: Hadoop's credentials file (HADOOP_TOKEN_FILE_LOCATION), of both of its formats, and the delegation token for HDFS in it. */
#ifndef PENSTOCK_SINKS_HDFS_TOKEN_FILE_H
#define PENSTOCK_SINKS_HDFS_TOKEN_FILE_H

#include "base/err.h"

/* The HDFS token of `service` (ns1, host:port; another name of the same address is as good), else the only one there is, in URL form; free it.
 * Of several tokens it asks for their addresses by name. 0; -ENODATA: it has none; -EINVAL: no such file of Hadoop's, or several tokens and none of them this service's;
 * -errno: the file cannot be read. */
int token_file_read(const char *path, const char *service, char **token, struct err *err);

#endif
