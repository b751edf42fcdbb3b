/* How the bytes of one file of the hdfs sink are made: a serializer's output as it is. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "sinks/sink_hdfs.h"

struct hdfs_format {
	const struct serializer_ops *ops;
	void *serializer;
};

int
format_check(const struct hdfs_config *config, struct err *err)
{
	if (config->file_type == TYPE_SEQUENCE)
		return err_set(err, ENOTSUP, "hdfs.fileType SequenceFile is not there yet: use DataStream");
	if (config->file_type == TYPE_COMPRESSED)
		return err_set(err, ENOTSUP, "hdfs.fileType CompressedStream is not there yet: use DataStream");
	if (config->codec)
		return err_set(err, EINVAL, "hdfs.codeC \"%s\" with fileType DataStream: as in Flume, use CompressedStream or leave the codec out", config->codec);
	return serializer_find(&config->serializer, err) ? 0 : -EINVAL;
}

const char *
format_suffix(const struct hdfs_config *config)
{
	(void)config;
	return "";
}

struct hdfs_format *
format_new(const struct hdfs_config *config, struct err *err)
{
	struct hdfs_format *format = calloc(1, sizeof *format);
	if (!format)
		return NULL;
	format->ops = serializer_find(&config->serializer, err);
	if (!format->ops || format->ops->open(&format->serializer, &config->serializer, err)) {
		free(format);
		return NULL;
	}
	return format;
}

void
format_free(struct hdfs_format *format)
{
	if (!format)
		return;
	format->ops->close(format->serializer);
	free(format);
}

int
format_begin(struct hdfs_format *format, struct out *out)
{
	return format->ops->begin(format->serializer, out);
}

int
format_event(struct hdfs_format *format, struct out *out, const struct event_view *event, int64_t now_ms)
{
	(void)now_ms;
	return format->ops->write(format->serializer, out, event);
}

int
format_flush(struct hdfs_format *format, struct out *out)
{
	return format->ops->flush(format->serializer, out);
}

int
format_end(struct hdfs_format *format, struct out *out)
{
	return format->ops->flush(format->serializer, out);
}
