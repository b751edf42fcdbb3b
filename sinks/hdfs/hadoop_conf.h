/* hadoop_conf: Hadoop's site files (core-site.xml, hdfs-site.xml), and where a name service's NameNodes answer HTTP. */
#ifndef PENSTOCK_SINKS_HDFS_HADOOP_CONF_H
#define PENSTOCK_SINKS_HDFS_HADOOP_CONF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define HADOOP_NAMENODES_MAX 8u

struct hadoop_conf;

/* Reads the directory's core-site.xml and hdfs-site.xml (either may be missing). dir NULL: $HADOOP_CONF_DIR, else /etc/hadoop/conf; there a
 * missing directory means no properties, a named one must exist. 0 or -errno. */
int hadoop_conf_open(struct hadoop_conf **conf, const char *dir, struct err *err);
int hadoop_conf_load(struct hadoop_conf *conf, const char *file, struct err *err);	/* one more file; later ones win, but for final */
void hadoop_conf_close(struct hadoop_conf *conf);
/* The value with ${name}s filled in, or NULL. Lives as long as conf. */
const char *hadoop_conf_get(const struct hadoop_conf *conf, const char *name);
uint64_t hadoop_conf_number(const struct hadoop_conf *conf, const char *name, uint64_t otherwise);	/* 128m, 1g too */

/* Where a file system lives. */
struct hadoop_place {
	bool local;
	char service[256];			/* ns1 or host:port */
	uint32_t count;
	char http[HADOOP_NAMENODES_MAX][320];	/* "http://host:port", the NameNodes of the service */
	char host[HADOOP_NAMENODES_MAX][256];	/* for _HOST */
	const char *path;			/* in `uri` (or "/") */
};

/* uri: hdfs://, viewfs is refused, webhdfs://, swebhdfs://, file:///, /path (fs.defaultFS; without site files this machine). http_address
 * overrides the addresses. */
int hadoop_place(const struct hadoop_conf *conf, const char *uri, const char *http_address, struct hadoop_place *place, struct err *err);

#endif
