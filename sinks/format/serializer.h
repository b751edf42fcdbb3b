/* serializer: how events look in a file. One ops table per kind (text, header_and_text, avro_event).
 * Owner and thread: the sink. */
#ifndef PENSTOCK_SINKS_FORMAT_SERIALIZER_H
#define PENSTOCK_SINKS_FORMAT_SERIALIZER_H

#include "base/err.h"
#include "channel/block.h"
#include "sinks/format/out.h"

struct serializer_config {		/* part of a sink's config; see SERIALIZER_OPTIONS */
	const char *type;		/* alias in any letter case, or Flume's class name */
	bool append_newline;
	uint32_t sync_interval_bytes;
	const char *codec;
};

struct serializer_ops {
	const char *name;
	const char *class_names;	/* blank separated */
	int (*open)(void **serializer, const struct serializer_config *config, struct err *err);
	int (*begin)(void *serializer, struct out *out);		/* a new, empty file */
	/* Bytes of the event may be referred to until the next out_flush. 0 or -errno. */
	int (*write)(void *serializer, struct out *out, const struct event_view *event);
	int (*flush)(void *serializer, struct out *out);		/* the file must be whole when cut behind what was put so far */
	void (*close)(void *serializer);
};

extern const struct serializer_ops serializer_text, serializer_header_and_text, serializer_avro_event;

/* The table for a type; NULL and a message when there is none. Also checks what the kind needs of the rest. */
const struct serializer_ops *serializer_find(const struct serializer_config *config, struct err *err);

#define AVRO_EVENT_SCHEMA \
	"{\"type\":\"record\",\"name\":\"Event\",\"fields\":[{\"name\":\"headers\",\"type\":{\"type\":\"map\",\"values\":\"string\"}}," \
	"{\"name\":\"body\",\"type\":\"bytes\"}]}"

/* Lines of an option table: `prefix` is "sink.serializer" or "serializer", `base` the offset of a struct serializer_config. */
#define SERIALIZER_OPTIONS(prefix, base) \
	{ prefix, OPT_STRING, (base) + offsetof(struct serializer_config, type), "TEXT", \
		.help = "How events are written: TEXT, HEADER_AND_TEXT, AVRO_EVENT, or Flume's class name." }, \
	{ prefix ".appendNewline", OPT_BOOL, (base) + offsetof(struct serializer_config, append_newline), "true", \
		.help = "Text kinds: a line feed behind each event." }, \
	{ prefix ".syncIntervalBytes", OPT_U32, (base) + offsetof(struct serializer_config, sync_interval_bytes), "2048000", 32, 1 << 30, "bytes", \
		"AVRO_EVENT: data in a block, at most." }, \
	{ prefix ".compressionCodec", OPT_STRING, (base) + offsetof(struct serializer_config, codec), "null", \
		.help = "AVRO_EVENT: null, deflate, snappy, bzip2 or zstandard." }, \
	{ prefix ".schemaURL", OPT_STRING, .flags = OPTION_REFUSED, .help = "Schema of the bodies.", \
		.note = "bodies that are Avro data themselves are not written to files yet; use AVRO_EVENT, which keeps them as bytes" }

#endif
