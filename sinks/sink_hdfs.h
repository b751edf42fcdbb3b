/* sink_hdfs: the parts of the hdfs sink that its files share. Owner and thread: the sink runner.
 *
 * An event goes into the bucket of its path and prefix, encoded at once; the bucket's open file holds the bytes until a request to the file
 * system is worth while. What is kept of an event then is its number: a file knows the runs of numbers in it, a taken span knows how many of its
 * events are not decided yet. */
#ifndef PENSTOCK_SINKS_SINK_HDFS_H
#define PENSTOCK_SINKS_SINK_HDFS_H

#include <pthread.h>

#include "sinks/escape.h"
#include "sinks/format/chunks.h"
#include "sinks/format/serializer.h"
#include "sinks/hdfs/fs.h"
#include "sinks/hdfs/publish.h"
#include "sinks/sink.h"

enum hdfs_file_type { TYPE_SEQUENCE, TYPE_DATA, TYPE_COMPRESSED };
enum hdfs_delivery { DELIVERY_AUTO, DELIVERY_AT_LEAST_ONCE, DELIVERY_EXACTLY_ONCE };
enum hdfs_in_doubt { IN_DOUBT_REDELIVER, IN_DOUBT_ASSUME };

struct hdfs_config {
	const char *path, *file_prefix, *file_suffix, *in_use_prefix, *in_use_suffix;
	bool empty_in_use_suffix;
	uint64_t roll_interval_s, roll_bytes, roll_events, idle_s;
	uint32_t batch_events, max_open_files, threads;
	const char *codec;
	uint32_t file_type;		/* enum hdfs_file_type */
	const char *write_format;
	uint32_t min_replicas;
	const char *principal, *keytab, *proxy_user;
	bool round, use_local_time;
	uint32_t round_value;
	const char *round_unit, *time_zone;
	int64_t close_tries, retry_s;
	uint64_t call_ms;
	struct serializer_config serializer;
	uint32_t delivery, in_doubt;
	uint64_t memory_bytes, settle_ns;
	const char *http_address, *conf_dir, *user, *rejects, *ca_file;
	uint32_t calls_per_s;
	bool sync_block;
};

/* Runs of event numbers, ascending as they came. */
struct run_set {
	struct event_range *runs;
	uint32_t count, room;
	uint64_t events;
};
int run_set_add(struct run_set *set, uint64_t number);			/* 0 or -ENOMEM */
int run_set_join(struct run_set *set, struct run_set *from);		/* moves; `from` is empty then */
void run_set_free(struct run_set *set);

/* A span the sink keeps until all its events are decided. */
struct span_track {
	struct span *span;
	uint64_t first, events;
	uint64_t open;			/* events not decided */
	struct run_set out;		/* events that are out */
	bool failed;
};

struct hdfs_format;			/* how a file's bytes are made (sink_hdfs_format.c) */
int format_check(const struct hdfs_config *config, struct err *err);
const char *format_suffix(const struct hdfs_config *config);	/* ".gz" ... or "" */
struct hdfs_format *format_new(const struct hdfs_config *config, struct err *err);
void format_free(struct hdfs_format *format);
int format_begin(struct hdfs_format *format, struct out *out);
int format_event(struct hdfs_format *format, struct out *out, const struct event_view *event, int64_t now_ms);
int format_flush(struct hdfs_format *format, struct out *out);		/* what was put can be read when the file ends here */
int format_end(struct hdfs_format *format, struct out *out);

enum file_state {
	FILE_OPEN,		/* takes events, or (closing) its last bytes go out */
	FILE_NOTE,		/* exactly once: the name is being noted before the file is made */
	FILE_REPLICAS,		/* closed; its blocks' replicas are looked at (hdfs.minBlockReplicas) */
	FILE_STAT,		/* exactly once: its identity is asked */
	FILE_INTENT,		/* exactly once: the INTENT is on its way to the disk */
	FILE_PUBLISH,		/* it gets its final name */
	FILE_RESOLVE,		/* exactly once: DONE or ABANDON is on its way */
	FILE_REMOVE,		/* it failed: what may be of it goes */
};
extern const char *const file_state_names[];

struct bucket {
	struct bucket *hash_next, *older, *newer;	/* of the table; by last use */
	struct hdfs_file *file;		/* NULL: none is open */
	uint64_t counter;		/* Flume's: ms of its making, +1 a file */
	uint64_t retry_ns;		/* after a failure: no request before */
	uint32_t failures;		/* in a row */
	uint32_t hash;
	char *path, *prefix;		/* in key */
	char key[];			/* path 0 prefix 0 */
};

struct hdfs_file {
	struct hdfs_file *next, **link;
	struct hdfs_sink *sink;
	struct bucket *bucket;		/* while open */
	char *path, *prefix;		/* of its bucket, after that too */
	enum file_state state;
	char *in_use, *final;		/* final: exactly once not before it closes */
	uint64_t number;		/* exactly once: counts up for the life of the log */
	struct hdfs_format *format;
	struct fs_file *request;
	struct fs_call *call;
	struct publish *publish;
	bool made;			/* the file system has it */
	bool noted, note_running;	/* its name is in the ledger; on the way there */
	bool closing, ended;		/* no more events; the format's end is written */
	bool request_ending;
	bool intended;			/* an INTENT may be durable */
	bool failed;
	enum fs_class why;
	struct chunks waiting, flight;	/* bytes not handed out; the running request's */
	struct run_set waiting_set, flight_set;	/* events of these */
	struct run_set set;		/* exactly once: all that are in the file */
	uint64_t waiting_memory, flight_memory;	/* as counted in the sink's */
	uint64_t encoded;		/* bytes put so far */
	uint64_t request_from;		/* of them, in front of the running request */
	uint64_t file_id;
	uint64_t events, body_bytes;	/* Flume's roll counters */
	uint64_t opened_ns, last_event_ns, request_ns, ending_ns, settle_at_ns, retry_ns;
	uint32_t tries, looks;
	bool nothing;			/* failed before anything of it was sent: there is nothing to be removed */
	bool refused;			/* failed because we may not make it there */
	bool late;			/* failed, and what should make it was not answered: it may be made yet */
	uint64_t note;			/* ledger number awaited */
	uint32_t folder_len, folder_hash;	/* of in_use: what is in front of the last slash */
	uint64_t stat_ns;		/* since when its identity is wanted */
	bool listed, alone;		/* a listing that is under way will tell it; it has to be asked for by name */
};

/* Looks at folders for the identities of several files at once. */
struct identities {
	struct fs_call *list;		/* under way */
	uint64_t from_ns;		/* none before that: a folder was too full, or the file system does not do it */
};

struct hdfs_counters {
	struct counter open_files, open_bytes, open_events, oldest_unsettled_s, requests, files_closed, files_failed, files_retried,
		rolled_for_room, in_doubt, intents, rejected, under_replicated, name_node_calls, retries, failovers, memory, appends;
};

struct hdfs_ledger;

/* The oldest files as control last asked for them. */
#define BOARD_FILES 100u
struct hdfs_board {
	pthread_mutex_t lock;
	pthread_cond_t filled;
	_Atomic bool wanted;		/* control asks, the runner answers at its next slow tick */
	uint64_t serial;		/* answers so far; this and below under lock */
	uint32_t count;
	struct board_entry {
		char *name;
		enum file_state state;
		uint64_t age_s, bytes, events;
	} entries[BOARD_FILES];
};

struct hdfs_sink {
	struct sink_env *env;
	const struct hdfs_config *config;
	struct fs *fs;
	struct hdfs_ledger *ledger;	/* NULL: at least once, without */
	bool exactly_once;
	char base[FS_PATH_BYTES];
	const char *in_use_suffix, *suffix;
	struct escape *path, *prefix;
	struct escape_time time;
	struct out *out;
	struct hdfs_file *out_file;	/* whose bytes `out` gathers; NULL none */
	uint32_t wanting;		/* files that wait for a request to be free, at the last tick */
	struct hdfs_rejects *rejects;	/* events no path can be made for: a file here (NULL: none) ... */
	char *reject_path;		/* ... or a bucket (NULL: none) */
	bool no_append;			/* the file system refused an append: files end where a request has to */
	uint64_t pause_until_ns;	/* after an event no path can be made for */
	struct hdfs_file *files;	/* all */
	struct bucket **buckets;	/* hash table */
	uint32_t bucket_mask, bucket_count;
	struct bucket *oldest, *newest;
	uint32_t open_files, requests, requests_max;
	struct span_track *spans;	/* by first */
	uint32_t span_count, span_room;
	uint64_t memory, open_bytes, open_events;
	uint64_t end_cost_ns;		/* of ending a request, running mean */
	uint64_t tick_ns, slow_tick_ns;
	bool finishing;
	uint64_t drain_ns;		/* next closing of all files while a stop is near */
	/* the last event's bucket */
	struct bucket *last;
	int64_t last_ms;
	bool cache_paths;		/* path and prefix depend on the instant alone */
	struct identities identities;
	struct hdfs_counters counters;
	struct metric_set metrics;
	char text[2][FS_PATH_BYTES];
	struct hdfs_board board;
};

/* sink_hdfs_span.c: which events of the taken spans are decided. */
int spans_add(struct hdfs_sink *sink, struct span *span);
void spans_end(struct hdfs_sink *sink, struct run_set *set, bool out);	/* empties the set */
uint64_t spans_oldest_age_ns(const struct hdfs_sink *sink);

/* sink_hdfs_file.c */
struct hdfs_file *file_open(struct hdfs_sink *sink, struct bucket *bucket);
int file_put(struct hdfs_file *file, const struct event_view *event, uint64_t now_ns, int64_t now_ms);
void file_close(struct hdfs_file *file);		/* no more events; its end takes its time */
void file_fail(struct hdfs_file *file, enum fs_class why, const char *text);
uint64_t file_step(struct hdfs_file *file, uint64_t now_ns);	/* ns until its next; may free it */
void file_free(struct hdfs_file *file);
uint64_t file_pace_ns(const struct hdfs_file *file);	/* pause before its next try */
uint64_t file_late_ns(uint32_t looks);			/* pause before the next look for a file that may come late; 0: it does not come any more */
bool file_waits_late(const struct hdfs_file *file);	/* nothing of it is unsettled, and it was not there when it was last removed */
void file_out_end(struct hdfs_sink *sink);		/* what `out` gathered is the file's */

/* sink_hdfs_identity.c: the identity of a file that got all its bytes */
void identity_folder(struct hdfs_file *file);
uint64_t identity_step(struct hdfs_file *file, uint64_t now_ns);	/* ns until its next */
void identities_end(struct hdfs_sink *sink);

/* sink_hdfs_reject.c: events no path can be made for */
int rejects_check(const char *name, struct err *err);
int rejects_open(struct hdfs_sink *sink, const char *path, struct err *err);	/* path: hdfs.path within the file system */
void rejects_close(struct hdfs_sink *sink);
int rejects_put(struct hdfs_sink *sink, const struct event_view *event);
uint64_t rejects_step(struct hdfs_sink *sink, uint64_t now_ns);
bool rejects_busy(const struct hdfs_sink *sink);
void rejects_drop(struct hdfs_sink *sink);
bool rejects_left(const char *path, uint64_t offset, uint64_t bytes);

/* sink_hdfs_room.c: room in the channel, what is shown, and advice. */
void room_make(struct hdfs_sink *sink, uint64_t now_ns);
void counters_show(struct hdfs_sink *sink, uint64_t now_ns);
void board_open(struct hdfs_sink *sink);
void board_close(struct hdfs_sink *sink);
void board_read(void *sink, void (*visit)(void *context, const struct sink_file *file), void *context);		/* sink_ops.files */
void hdfs_advise(const void *config, const struct sink_place *place, void (*tell)(void *context, const char *key, const char *text), void *context);

/* sink_hdfs.c */
bool hdfs_in_use_named(const struct hdfs_config *config);	/* readers can tell an open file by its name */
struct bucket *bucket_get(struct hdfs_sink *sink, const char *path, const char *prefix);	/* NULL: no memory */
struct bucket *bucket_find(struct hdfs_sink *sink, const char *path, const char *prefix);	/* NULL: there is none */
void bucket_drop(struct hdfs_sink *sink, struct bucket *bucket);

#endif
