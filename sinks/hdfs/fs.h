/* fs: the operations of one file system, of which HDFS (webhdfs) and this machine's files (localfs) are two; shared by the hdfs sink
 * and the batch loader.
 *
 * Nothing here waits. An operation is begun and ends exactly once, by its `done`, always from within fs_step, never from within the
 * beginning call; what `done` is given lives only during it. `done` may begin further operations. Paths are absolute and within the
 * file system ("/logs/a"), at most FS_PATH_BYTES.
 * Retried inside, with back-off, jitter and fail-over between NameNodes, until retry_ns: what is safe to repeat, and what certainly
 * was not done. Never repeated: a rename, concat or write whose answer was lost: FS_UNKNOWN (see publish.h for what to do then).
 *
 * Owner and thread: whoever opened it; all calls on that thread. Programs that may wait use fs_run. */
#ifndef PENSTOCK_SINKS_HDFS_FS_H
#define PENSTOCK_SINKS_HDFS_FS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "sinks/format/chunks.h"

#define FS_PATH_BYTES 4096u
#define FS_READ_BYTES (64u << 20)	/* most bytes of one FS_READ */

struct fs;
struct fs_call;
struct fs_file;

enum fs_class {			/* how an operation ended; of a server's errors by the exception's name, never by the status */
	FS_OK,
	FS_EXISTS,		/* create: there is one already */
	FS_MISSING,		/* no such file, directory or parent */
	FS_DENIED,		/* rights */
	FS_QUOTA,		/* name or space quota */
	FS_SPACE,		/* no DataNode takes another block */
	FS_INVALID,		/* the path or a parameter can never work */
	FS_LEASE,		/* another client writes this file (or its lease is being recovered) */
	FS_NOT_EMPTY,
	FS_BUSY,		/* nothing was done, and later it may work: down, starting, standby, safe mode */
	FS_UNKNOWN,		/* the answer was lost: done, not done, or still to be done */
	FS_LOGIN,		/* who we are was not accepted */
	FS_FAILED,		/* anything else; `text` says it */
};
const char *fs_class_name(enum fs_class class);

enum fs_op {
	FS_STAT,		/* status of path */
	FS_LIST,		/* entries of a directory, by name; with `to` only those behind this name, and perhaps not all of them */
	FS_MKDIRS,		/* with parents; fine when there already */
	FS_RENAME,		/* path -> to, never over anything: `yes` false says that the target exists, or source or target's parent is missing */
	FS_DELETE,		/* `yes` false: was not there. A directory that is not empty needs `recursive` */
	FS_READ,		/* length bytes (0: all, at most FS_READ_BYTES) at offset */
	FS_CONCAT,		/* appends `sources` (same directory) to path and removes them; webhdfs only */
	FS_SUMMARY,		/* length, files, directories, quotas of a tree; webhdfs only (localfs: quotas -1) */
	FS_REPLICAS,		/* live replicas of the file's block that has the fewest; localfs: 1 */
};

struct fs_status {
	uint64_t file_id;	/* identity for life: keeps through renames */
	uint64_t length;
	uint64_t modified_ms;
	uint64_t block_bytes;
	uint32_t replication;
	uint16_t mode;		/* permission bits */
	bool directory;
	const char *name;	/* FS_LIST: the entry's; else "" */
	const char *owner;	/* may be "" */
};

struct fs_summary {
	uint64_t length, space, files, directories;
	int64_t name_quota, space_quota;	/* -1: none */
};

struct fs_answer {
	enum fs_class class;
	bool yes;			/* FS_MKDIRS, FS_RENAME, FS_DELETE */
	struct fs_status status;	/* FS_STAT */
	const struct fs_status *list;	/* FS_LIST */
	size_t list_count;
	size_t list_left, list_before;	/* FS_LIST with `to`: entries behind those that are told; entries that the server told although they are not behind `to` */
	const uint8_t *bytes;		/* FS_READ, terminated by a 0 that is not counted */
	size_t len;
	struct fs_summary summary;
	uint32_t replicas;		/* FS_REPLICAS; UINT32_MAX: it has no block */
	bool untouched;			/* of a file that failed: nothing of it was sent anywhere, so the file system has nothing of it */
	const char *exception;		/* of the server, or "" */
	const char *text;		/* in words, one line; "" with FS_OK */
};

typedef void fs_done(void *context, const struct fs_answer *answer);

struct fs_request {			/* copied by fs_begin */
	enum fs_op op;
	const char *path, *to;
	const char *const *sources;	/* FS_CONCAT, NULL terminated */
	bool recursive;
	bool once;			/* not retried: the first answer counts (probes at shutdown) */
	uint64_t offset, length;
	fs_done *done;
	void *context;
};

/* One file being written: bytes go from the caller's `bytes` queue (filled and emptied under this thread's eyes) to the file system
 * until fs_file_end and the queue is empty; then `done` says whether the file system has it all. A failed create may have left a file
 * (also one that looks whole, with less in it): delete it. */
struct fs_write {			/* copied by fs_file_begin, but for the queue */
	const char *path;
	bool append;			/* to an existing file; else it is made, with its parents */
	bool overwrite;			/* create: an existing file is replaced (its writer then fails); else FS_EXISTS */
	bool whole;			/* all bytes are in the queue, and they are few: which DataNode takes them is no great matter */
	bool early;			/* create, under a name that nobody else writes: `done` may come, with the file's status, when the NameNode has its
					 * last block complete and its length is right, before the answer, which a busy DataNode gives 0.4 s later */
	bool sync_block;		/* create: each block reaches the DataNodes' disks before the end (createflag SYNC_BLOCK) */
	uint32_t replication;		/* 0: of the site's files (dfs.replication), else the DataNode's default */
	uint64_t block_bytes;		/* 0: likewise (dfs.blocksize) */
	struct chunks *bytes;		/* owned by the caller; stays until done */
	fs_done *done;
	void *context;
};

struct fs_counters {			/* runner thread writes, any may read with relaxed loads */
	uint64_t calls;			/* to NameNodes, each attempt */
	uint64_t retries, failovers, lost_answers;
	uint64_t bytes_written;
};

struct fs_ops {
	const char *name;
	struct fs_call *(*begin)(struct fs *fs, const struct fs_request *request);
	void (*cancel)(struct fs_call *call);
	struct fs_file *(*file_begin)(struct fs *fs, const struct fs_write *write);
	void (*file_more)(struct fs_file *file);
	void (*file_end)(struct fs_file *file);
	void (*file_cancel)(struct fs_file *file);
	uint64_t (*file_moved_ns)(const struct fs_file *file);
	uint64_t (*step)(struct fs *fs);
	int (*fd)(const struct fs *fs);
	void (*close)(struct fs *fs);
};

struct fs {				/* every kind's struct begins so */
	const struct fs_ops *ops;
	struct clock *clock;
	struct fs_counters counters;
	char service[256];		/* name service, host:port or "" : with a path the file's address for people and ledgers */
};

struct fs_config {			/* strings stay as long as the fs */
	const char *uri;		/* hdfs://service[/...], webhdfs://host:port, swebhdfs://, file:///, or a bare path: the site's fs.defaultFS */
	const char *conf_dir;		/* site files; NULL: $HADOOP_CONF_DIR, else /etc/hadoop/conf, else none */
	const char *http_address;	/* host:port[,host:port]: instead of what the site's files say; NULL */
	const char *user;		/* without Kerberos; NULL: $HADOOP_USER_NAME, else the process's user */
	const char *proxy_user;		/* acts for this user; NULL */
	const char *principal, *keytab;	/* Kerberos; NULL: none (or the ticket cache, when the site asks for kerberos) */
	const char *token;		/* a delegation token in URL form, instead of a login; NULL (then HADOOP_TOKEN_FILE_LOCATION is read) */
	const char *ca_file;
	uint64_t call_ns;		/* deadline of one call without progress; 0: 30 s */
	uint64_t retry_ns;		/* how long a retried operation goes on; 0: the first answer counts */
	uint32_t calls_per_s;		/* NameNode calls a second, at most; 0: no limit */
	uint64_t seed;			/* of the jitter */
};

/* Picks the kind by the URI, reads the site's files. `path` gets the path within (room FS_PATH_BYTES; NULL: not wanted).
 * Opens no connection: a cluster that is down is met by the first operation. 0 or -errno. */
int fs_open(struct fs **fs, const struct fs_config *config, struct clock *clock, char *path, struct err *err);
void fs_close(struct fs *fs);		/* cancels what is left; `done` is not called */

/* NULL: no memory. */
static inline struct fs_call *
fs_begin(struct fs *fs, const struct fs_request *request)
{
	return fs->ops->begin(fs, request);
}

/* `done` is not called; whether the operation is done is not known then. */
static inline void
fs_cancel(struct fs *fs, struct fs_call *call)
{
	fs->ops->cancel(call);
}

static inline struct fs_file *
fs_file_begin(struct fs *fs, const struct fs_write *write)
{
	return fs->ops->file_begin(fs, write);
}

/* There is more in the queue. */
static inline void
fs_file_more(struct fs *fs, struct fs_file *file)
{
	fs->ops->file_more(file);
}

/* What is in the queue is the rest. */
static inline void
fs_file_end(struct fs *fs, struct fs_file *file)
{
	fs->ops->file_end(file);
}

/* Breaks off; `done` is not called. The file may stay, cut anywhere and closed. */
static inline void
fs_file_cancel(struct fs *fs, struct fs_file *file)
{
	fs->ops->file_cancel(file);
}

/* When bytes last went to the server (the fs's clock). */
static inline uint64_t
fs_file_moved_ns(struct fs *fs, const struct fs_file *file)
{
	return fs->ops->file_moved_ns(file);
}

/* Does what can be done, calls `done`s. Returns ns until it wants the next call even when its descriptor is silent. */
static inline uint64_t
fs_step(struct fs *fs)
{
	return fs->ops->step(fs);
}

/* Readable: fs_step has something to do. -1: none. */
static inline int
fs_fd(const struct fs *fs)
{
	return fs->ops->fd(fs);
}

/* For programs that may wait: steps until *finished (set by a `done`), or until deadline_ns on the fs's clock. False: deadline. */
bool fs_run(struct fs *fs, const bool *finished, uint64_t deadline_ns);

/* One operation from begin to end, waiting. `keep` gets the answer with copies of its strings, list and bytes in `memory`
 * (free(*memory) later; NULL: text and list are not wanted and set to nothing). */
enum fs_class fs_call_wait(struct fs *fs, const struct fs_request *request, struct fs_answer *keep, void **memory);
/* Writes `len` bytes as a whole file. With FS_OK, status (may be NULL) has its identity. */
enum fs_class fs_put_wait(struct fs *fs, const char *path, const void *bytes, size_t len, bool overwrite, struct fs_status *status, struct err *err);

/* Several small files and folders at once, for programs that may wait: what each of them costs is mostly waiting for servers. Zeroed but for `fs`
 * is empty; every batch that got something is waited for. */
struct fs_batch {
	struct fs *fs;
	uint32_t busy;
	bool one_ended;
	enum fs_class class;		/* of the first that failed, else FS_OK */
	char words[700];		/* its path, and why */
};
/* Begins with a whole file (an existing one is replaced; nobody else writes it) of what `bytes` holds, which is empty then. */
void fs_batch_put(struct fs_batch *batch, const char *path, struct chunks *bytes);
void fs_batch_put_text(struct fs_batch *batch, const char *path, const char *text, size_t len);
void fs_batch_mkdirs(struct fs_batch *batch, const char *path);
/* Until at most `left` are under way (0: all have ended). What has failed by then, and err the first of it. */
enum fs_class fs_batch_wait(struct fs_batch *batch, uint32_t left, struct err *err);

/* The two kinds; fs_open chooses. */
struct hadoop_conf;
int localfs_open(struct fs **fs, const struct fs_config *config, struct clock *clock, struct err *err);
int webhdfs_open(struct fs **fs, const struct fs_config *config, const struct hadoop_conf *conf, struct clock *clock, struct err *err);

/* Joins for paths: "dir/name" without doubled slashes; 0 or -ENAMETOOLONG. Parent of "/a/b" is "/a", of "/a" is "/". */
int fs_path_join(char *to, size_t room, const char *directory, const char *name);
void fs_path_parent(char *path);

#endif
