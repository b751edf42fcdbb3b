/* webhdfs: the parts of the WebHDFS kind that its two files share: calls to a NameNode (webhdfs.c), files being written (webhdfs_file.c). */
#ifndef PENSTOCK_SINKS_HDFS_WEBHDFS_H
#define PENSTOCK_SINKS_HDFS_WEBHDFS_H

#include "sinks/hdfs/fs.h"
#include "sinks/hdfs/hadoop_conf.h"
#include "sinks/http_client.h"

struct login;

#define URL_BYTES (4 * FS_PATH_BYTES + 8192)
#define TEXT_BYTES 512u

struct webhdfs {
	struct fs fs;
	struct http_client *http;
	struct login *login;		/* NULL: simple authentication */
	uint32_t namenodes, active;
	char base[HADOOP_NAMENODES_MAX][320];
	char user[256];			/* "user.name=...&doas=..." as it goes into each call without a token */
	uint32_t replication;		/* 0: not said */
	uint64_t block_bytes;
	uint32_t umask;
	uint64_t call_ns, retry_ns, seed;
	uint64_t call_gap_ns, next_call_ns;	/* the limit on NameNode calls */
	struct fs_call *queue, **queue_end;	/* wait for their (next) try */
	struct fs_call *flying;
	uint32_t flying_count;
	struct fs_file *files;
	/* The DataNode of the NameNode's last answer to a small file's CREATE: some more of the small files made now go there, too. */
	struct fs_file *near_asks;	/* the others wait for its answer; NULL nobody */
	char *near_key, *near_path, *near_location;	/* what was asked but for the path; the path; the answer. NULL none */
	uint32_t near_left;		/* files it still is for */
	uint64_t near_until_ns;
};

/* What an http_answer means. text has TEXT_BYTES, exception 128. */
enum fs_class webhdfs_class(const struct http_answer *answer, char *exception, char *text);
/* The same of a first step, where a redirect is an answer. */
enum fs_class webhdfs_first_class(const struct http_answer *answer, char *exception, char *text);
/* The active NameNode did not do it: go on with the next one. */
void webhdfs_failover(struct webhdfs *w, uint32_t tried);
/* "<NameNode>/webhdfs/v1<path>?op=<op>&<who>" into url (URL_BYTES), spnego tells how to log in. The length, or -ENOSPC, -EAGAIN (no login now). */
int webhdfs_url(struct webhdfs *w, char *url, const char *path, const char *op, bool *spnego);
/* No login has come for so long that what began then ends without one; text (TEXT_BYTES) says why. */
bool webhdfs_login_over(const struct webhdfs *w, uint64_t begun_ns, uint64_t now_ns, char *text);
/* False: the limit of calls a second says not yet. */
bool webhdfs_may_call(struct webhdfs *w, uint64_t now_ns);
/* Body {"Location": ...} or the header. */
char *webhdfs_location(const struct http_answer *answer);

struct fs_file *webhdfs_file_begin(struct fs *fs, const struct fs_write *write);
void webhdfs_file_more(struct fs_file *file);
void webhdfs_file_end(struct fs_file *file);
void webhdfs_file_cancel(struct fs_file *file);
uint64_t webhdfs_file_moved_ns(const struct fs_file *file);
uint64_t webhdfs_files_step(struct webhdfs *w, uint64_t now_ns);	/* ns until the next due one */

#endif
