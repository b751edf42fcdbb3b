/* seqfile: Hadoop SequenceFiles, version 6.
 *
 *    "SEQ" 6 | key class | value class | bool compressed | bool in blocks | [codec class] | metadata (u32 0) | 16 sync bytes | records
 *    record:  u32 key + value length | u32 key length | key | value (compressed by itself with SEQ_RECORD);  u32 -1 and the sync bytes in
 *             front of the first one that begins 100 KiB or more behind the last sync
 *    block:   u32 -1 | sync | vint records | four times: vint length | compressed key lengths (vints), keys, value lengths, values
 * Numbers are big-endian. Owner and thread: whoever made it. */
#ifndef PENSTOCK_SINKS_FORMAT_SEQFILE_H
#define PENSTOCK_SINKS_FORMAT_SEQFILE_H

#include "sinks/format/hadoop_codec.h"
#include "sinks/format/out.h"

enum seq_compression { SEQ_NONE, SEQ_RECORD, SEQ_BLOCK };

#define SEQ_LONG "org.apache.hadoop.io.LongWritable"	/* 8 bytes, big-endian */
#define SEQ_BYTES "org.apache.hadoop.io.BytesWritable"	/* u32 length, bytes */
#define SEQ_TEXT "org.apache.hadoop.io.Text"		/* vint length, bytes */

struct seqfile;

/* Class names must outlive it. codec is CODEC_NONE with SEQ_NONE. 0 or -ENOMEM. */
int seqfile_new(struct seqfile **file, const char *key_class, const char *value_class, enum seq_compression compression, enum hadoop_codec_kind codec);
void seqfile_free(struct seqfile *file);
int seqfile_begin(struct seqfile *file, struct out *out);	/* a new file: header, new sync bytes */
/* One record of serialized key and value; the value is its head (a length, say) and the rest. 0 or -errno. */
int seqfile_put(struct seqfile *file, struct out *out, const void *key, size_t key_len, const void *head, size_t head_len, const void *value, size_t len);
int seqfile_flush(struct seqfile *file, struct out *out);	/* ends the running block; else a sync mark */

/* Hadoop's vint; room of 9 bytes; the length. */
uint32_t seq_vint(uint8_t *to, int64_t number);

#endif
