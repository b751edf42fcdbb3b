/* hadoop_codec: compression as Hadoop's codecs frame it, as one stream of members.
 *
 *   gzip, deflate (zlib format), bzip2, zstd: the usual formats; members may follow each other.
 *   snappy, lz4: blocks of [u32 raw length][u32 compressed length][bytes], big-endian (BlockCompressorStream).
 * Owner and thread: whoever made it. */
#ifndef PENSTOCK_SINKS_FORMAT_HADOOP_CODEC_H
#define PENSTOCK_SINKS_FORMAT_HADOOP_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum hadoop_codec_kind { CODEC_NONE, CODEC_DEFLATE, CODEC_GZIP, CODEC_BZIP2, CODEC_SNAPPY, CODEC_LZ4, CODEC_ZSTD };

struct hadoop_codec;

struct codec_bytes {			/* grows; zeroed to begin with */
	uint8_t *bytes;
	size_t len, room;
};
void codec_bytes_free(struct codec_bytes *bytes);

/* Name as in Flume and Hadoop: the class's full name, its simple name, that without "Codec", in any letter case; "None" is CODEC_NONE. lzo
 * and unknown ones: -ENOTSUP, -EINVAL with a message. */
int hadoop_codec_find(const char *name, enum hadoop_codec_kind *kind, struct err *err);
const char *hadoop_codec_class(enum hadoop_codec_kind kind);	/* "org.apache.hadoop.io.compress.GzipCodec" ... */
const char *hadoop_codec_suffix(enum hadoop_codec_kind kind);	/* ".gz" ... */

struct hadoop_codec *hadoop_codec_new(enum hadoop_codec_kind kind);	/* NULL: no memory */
void hadoop_codec_free(struct hadoop_codec *codec);
/* Puts `bytes` into the running member; what comes out is appended to `to`. With `finish` the member ends (an empty one is still one), the
 * next call begins another. 0, -ENOMEM or -EIO. */
int hadoop_codec_put(struct hadoop_codec *codec, const void *bytes, size_t len, bool finish, struct codec_bytes *to);
bool hadoop_codec_open(const struct hadoop_codec *codec);	/* a member has begun and not ended */

#endif
