/* How the bytes of one file of the hdfs sink are made: a serializer's output as it is (DataStream) or compressed (CompressedStream), or
 * a SequenceFile. */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "sinks/format/hadoop_codec.h"
#include "sinks/format/seqfile.h"
#include "sinks/sink_hdfs.h"

#define PACK_BYTES (64u << 10)		/* serializer output goes to the codec in such pieces */

struct hdfs_format {
	const struct serializer_ops *ops;	/* not for SequenceFile */
	void *serializer;
	struct hadoop_codec *codec;		/* CompressedStream */
	struct out *inner;			/* CompressedStream: before compression */
	struct chunks raw;
	struct codec_bytes packed;
	struct seqfile *seqfile;
	bool text;				/* its values are Text */
};

static bool
is_text(const struct hdfs_config *config)
{
	return strcmp(config->write_format, "Text") == 0;
}

static enum hadoop_codec_kind
codec_of(const struct hdfs_config *config)
{
	enum hadoop_codec_kind kind = CODEC_NONE;
	if (config->codec)
		(void)hadoop_codec_find(config->codec, &kind, NULL);
	return kind;
}

int
format_check(const struct hdfs_config *config, struct err *err)
{
	enum hadoop_codec_kind kind = CODEC_NONE;
	if (config->codec && hadoop_codec_find(config->codec, &kind, err))
		return err_prefix(err, -EINVAL, "hdfs.codeC");
	if (config->file_type == TYPE_SEQUENCE) {
		if (!is_text(config) && strcmp(config->write_format, "Writable") != 0)
			return err_set(err, ENOTSUP, "hdfs.writeFormat \"%s\" is not supported: use Writable or Text", config->write_format);
		return 0;
	}
	if (config->file_type == TYPE_DATA && config->codec)
		return err_set(err, EINVAL, "hdfs.codeC \"%s\" with fileType DataStream: as in Flume, use CompressedStream or leave the codec out", config->codec);
	if (config->file_type == TYPE_COMPRESSED && kind == CODEC_NONE)
		return err_set(err, EINVAL, "hdfs.fileType CompressedStream needs hdfs.codeC: gzip, bzip2, snappy, lz4, zstd or deflate");
	return serializer_find(&config->serializer, err) ? 0 : -EINVAL;
}

const char *
format_suffix(const struct hdfs_config *config)
{
	return hadoop_codec_suffix(codec_of(config));
}

struct hdfs_format *
format_new(const struct hdfs_config *config, struct err *err)
{
	struct hdfs_format *format = calloc(1, sizeof *format);
	enum hadoop_codec_kind kind = codec_of(config);
	if (!format)
		return NULL;
	bool ok = true;
	if (config->file_type == TYPE_SEQUENCE) {
		format->text = is_text(config);
		ok = seqfile_new(&format->seqfile, SEQ_LONG, format->text ? SEQ_TEXT : SEQ_BYTES, kind == CODEC_NONE ? SEQ_NONE : SEQ_BLOCK, kind) == 0;
	} else {
		format->ops = serializer_find(&config->serializer, err);
		ok = format->ops && format->ops->open(&format->serializer, &config->serializer, err) == 0;
		if (ok && config->file_type == TYPE_COMPRESSED)
			ok = (format->codec = hadoop_codec_new(kind)) && (format->inner = out_new());
	}
	if (ok && format->inner)
		out_reset_chunks(format->inner, &format->raw, 0);
	if (ok)
		return format;
	format_free(format);
	return NULL;
}

void
format_free(struct hdfs_format *format)
{
	if (!format)
		return;
	if (format->serializer)
		format->ops->close(format->serializer);
	hadoop_codec_free(format->codec);
	out_free(format->inner);
	chunks_free(&format->raw);
	codec_bytes_free(&format->packed);
	seqfile_free(format->seqfile);
	free(format);
}

/* What the serializer made goes through the codec into `out`. */
static int
pack(struct hdfs_format *format, struct out *out, bool finish)
{
	int rc = out_flush(format->inner);
	while (!rc && format->raw.bytes) {
		size_t len;
		const uint8_t *front = chunks_front(&format->raw, &len);
		rc = hadoop_codec_put(format->codec, front, len, false, &format->packed);
		chunks_drop(&format->raw, len);
	}
	if (!rc && finish && hadoop_codec_open(format->codec))
		rc = hadoop_codec_put(format->codec, NULL, 0, true, &format->packed);
	if (!rc)
		rc = out_copy(out, format->packed.bytes, format->packed.len);
	format->packed.len = 0;
	return rc;
}

int
format_begin(struct hdfs_format *format, struct out *out)
{
	if (format->seqfile)
		return seqfile_begin(format->seqfile, out);
	return format->ops->begin(format->serializer, format->inner ? format->inner : out);
}

/* Flume's key: the timestamp header as a number, else now. */
static int64_t
event_ms(const struct event_view *event, int64_t now_ms)
{
	struct header_view header;
	char digits[24], text[32], *end;
	const uint8_t *value;
	if (!event_view_header(event, "timestamp", 9, &header))
		return now_ms;
	uint32_t len = header_view_text(&header, digits, &value);
	if (len == 0 || len >= sizeof text)
		return now_ms;
	memcpy(text, value, len);
	text[len] = '\0';
	errno = 0;
	long long number = strtoll(text, &end, 10);
	return *end || errno ? now_ms : number;
}

int
format_event(struct hdfs_format *format, struct out *out, const struct event_view *event, int64_t now_ms)
{
	if (format->seqfile) {
		uint64_t key = htobe64((uint64_t)event_ms(event, now_ms));
		uint8_t head[9];
		uint32_t length = htobe32(event->body_len), head_len = 4;
		if (format->text)
			head_len = seq_vint(head, event->body_len);
		else
			memcpy(head, &length, 4);
		return seqfile_put(format->seqfile, out, &key, 8, head, head_len, event->body, event->body_len);
	}
	if (!format->inner)
		return format->ops->write(format->serializer, out, event);
	int rc = format->ops->write(format->serializer, format->inner, event);
	/* The event's bytes stay only so long: they are copied here, if not packed. */
	if (!rc)
		rc = out_flush(format->inner);
	return rc || format->raw.bytes < PACK_BYTES ? rc : pack(format, out, false);
}

int
format_flush(struct hdfs_format *format, struct out *out)
{
	if (format->seqfile)
		return seqfile_flush(format->seqfile, out);
	int rc = format->ops->flush(format->serializer, format->inner ? format->inner : out);
	return rc || !format->inner ? rc : pack(format, out, true);
}

int
format_end(struct hdfs_format *format, struct out *out)
{
	return format_flush(format, out);
}
