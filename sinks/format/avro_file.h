/* avro_file: Avro object container files (Avro 1.x specification, "Object Container Files").
 *
 *    "Obj" 1 | map of bytes: avro.schema, avro.codec | 16 sync bytes | blocks
 *    block:  count (long) | bytes (long) | data, perhaps compressed | the 16 sync bytes
 *
 * deflate is raw (no zlib header); snappy data is followed by the big-endian CRC-32 of what was compressed;
 * bzip2 and zstandard are the usual formats.
 * Owner and thread: the sink. */
#ifndef PENSTOCK_SINKS_FORMAT_AVRO_FILE_H
#define PENSTOCK_SINKS_FORMAT_AVRO_FILE_H

#include "sinks/format/out.h"

enum avro_codec { AVRO_NULL, AVRO_DEFLATE, AVRO_SNAPPY, AVRO_BZIP2, AVRO_ZSTD };

struct avro_file;

/* schema must outlive it. 0 or -ENOMEM. */
int avro_file_new(struct avro_file **file, const char *schema, enum avro_codec codec, uint32_t sync_interval_bytes);
void avro_file_free(struct avro_file *file);
/* A new file: new sync bytes, the header. 0 or -errno. */
int avro_file_begin(struct avro_file *file, struct out *out);
/* Room for one datum of at most `bytes`, or NULL without memory; avro_file_put then takes `used` of it. */
uint8_t *avro_file_room(struct avro_file *file, size_t bytes);
int avro_file_put(struct avro_file *file, struct out *out, size_t used);
/* Ends the running block, if it has any datum. */
int avro_file_flush(struct avro_file *file, struct out *out);

#endif
