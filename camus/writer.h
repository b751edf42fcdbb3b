/* writer: the files of one task below _penstock/<run>. Records gather in memory; a file's request is opened when enough waits or the task
 * ends; a bounded number of requests is open at a time. Owner and thread: the task's. */
#ifndef PENSTOCK_CAMUS_WRITER_H
#define PENSTOCK_CAMUS_WRITER_H

#include "camus/job.h"
#include "sinks/hdfs/fs.h"

struct writer;

struct writer_config {
	struct fs *fs;			/* the task's own */
	struct clock *clock;
	const char *folder;		/* <destination>/_penstock/<run>, within the file system */
	uint32_t task;
	uint64_t memory;		/* bytes that may wait */
	enum conf_writer kind;
	const char *delimiter;		/* behind each record, but for Avro */
	uint32_t avro_codec, avro_sync_bytes;	/* enum avro_codec of sinks/format */
	uint32_t codec;			/* enum hadoop_codec_kind: of text and SequenceFiles */
	bool early;			/* a file is whole when the file system has all of it, before its server says so (fs_write.early) */
	bool schema_fails;		/* another schema fails the part, instead of opening the next file */
	bool seq_blocks;		/* SequenceFiles compressed by the block, else by the record */
	uint64_t stall_ns;		/* a file that does not move for so long has failed */
};

int writer_open(struct writer **writer, const struct writer_config *config, struct err *err);
void writer_close(struct writer *writer);

/* Adds one record. `folder` is the bucket's, below the destination; schema: of an Avro record, as JSON (another one opens the next file).
 * A failure of a file fails its part (part->failed, part->words). */
void writer_put(struct writer *writer, struct part *part, int64_t bucket, int64_t bucket_end, const char *folder, const char *schema,
		int64_t time_ms, const void *payload, size_t len, int64_t offset);
/* A file is on its way: writer_step wants to be called. */
bool writer_busy(const struct writer *writer);
/* Lets the file system work; waits at most wait_ns for it. */
void writer_step(struct writer *writer, uint64_t wait_ns);
/* No more records of this part are to come: its files are ended. */
void writer_end_part(struct writer *writer, const struct part *part);
/* Ends all files and waits until the file system has them. */
void writer_finish(struct writer *writer);
/* Whole files, after writer_finish; strings go to the caller. `folder` of file i, below the destination, in folders[i]. */
struct written {
	struct data_file file;		/* final is the folder here: the name is made at the commit */
	bool whole;
};
struct written *writer_files(struct writer *writer, size_t *count);

#endif
