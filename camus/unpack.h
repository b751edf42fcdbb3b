/* unpack: compressed files that are to be swept, as plain ones: text as Hadoop's codecs frame it, and Avro files whose blocks are compressed by what
 * libavro does not read. Into temporary files of this machine. The main thread. */
#ifndef PENSTOCK_CAMUS_UNPACK_H
#define PENSTOCK_CAMUS_UNPACK_H

#include <stdio.h>

#include "sinks/format/hadoop_codec.h"

/* Kind of a file name's ending (".gz"); CODEC_NONE: none of them. */
enum hadoop_codec_kind unpack_kind(const char *suffix);

/* Reads `*file` to its end and puts a plain one, at its beginning, in its place (the old one is closed either way). 0 or -errno with `path` in err. */
int unpack_text(FILE **file, enum hadoop_codec_kind kind, const char *path, struct err *err);
/* The same for an Avro file, if it needs it. */
int unpack_avro(FILE **file, const char *path, struct err *err);

/* The schema as an Avro file's header has it, defaults included, which libavro leaves out. NULL: no such header. Free it. */
char *unpack_avro_schema(FILE *file);

#endif
