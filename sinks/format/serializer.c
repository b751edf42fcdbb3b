#include "sinks/format/serializer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/log.h"
#include "sinks/format/avro.h"
#include "sinks/format/avro_file.h"
#include "sinks/format/headers.h"

/* ---- text, header_and_text ---- */

struct text {
	bool append_newline;
	struct header_view *headers;
	uint32_t room;
};

static int
text_open(void **made, const struct serializer_config *config, struct err *err)
{
	struct text *text = calloc(1, sizeof *text);
	if (!text)
		return err_set(err, ENOMEM, "no memory for the serializer");
	text->append_newline = config->append_newline;
	*made = text;
	return 0;
}

static int
text_begin(void *self, struct out *out)
{
	(void)self;
	return out->error;
}

static int
text_write(void *self, struct out *out, const struct event_view *event)
{
	struct text *text = self;
	return out_refer(out, event->body, event->body_len, text->append_newline);
}

/* {k=v, k2=v2} as Java prints a map, and a blank. */
static int
header_and_text_write(void *self, struct out *out, const struct event_view *event)
{
	struct text *text = self;
	uint32_t count;
	if (headers_all(event, &text->headers, &text->room, &count))
		return -ENOMEM;
	out_copy(out, "{", 1);
	for (uint32_t i = 0; i < count; i++) {
		const struct header_view *header = &text->headers[i];
		char digits[24];
		const uint8_t *value;
		uint32_t len = header_view_text(header, digits, &value);
		if (i)
			out_copy(out, ", ", 2);
		out_copy(out, header->name, header->name_len);
		out_copy(out, "=", 1);
		out_copy(out, value, len);
	}
	out_copy(out, "} ", 2);
	return out_refer(out, event->body, event->body_len, text->append_newline);
}

static int
text_flush(void *self, struct out *out)
{
	(void)self;
	return out->error;
}

static void
text_close(void *self)
{
	struct text *text = self;
	free(text->headers);
	free(text);
}

/* ---- avro_event ---- */

struct avro_serializer {
	struct avro_file *file;
	struct avro_event look;
};

static bool
codec_parse(const char *text, enum avro_codec *codec, struct err *err)
{
	static const char *const refused[] = { "xz" };
	if (strcmp(text, "null") == 0)
		*codec = AVRO_NULL;
	else if (strcmp(text, "deflate") == 0)
		*codec = AVRO_DEFLATE;
	else if (strcmp(text, "snappy") == 0)
		*codec = AVRO_SNAPPY;
	else if (strcmp(text, "bzip2") == 0)
		*codec = AVRO_BZIP2;
	else if (strcmp(text, "zstandard") == 0)
		*codec = AVRO_ZSTD;
	else {
		for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
			if (strcmp(text, refused[i]) == 0) {
				err_set(err, EINVAL, "compressionCodec \"%s\" is not supported: use zstandard, deflate, snappy, bzip2 or null", text);
				return false;
			}
		}
		*codec = AVRO_NULL;	/* as Flume, which warns; so do we when the sink opens */
	}
	return true;
}

static int
avro_open(void **made, const struct serializer_config *config, struct err *err)
{
	enum avro_codec codec;
	if (!codec_parse(config->codec, &codec, err))
		return -EINVAL;
	if (codec == AVRO_NULL && strcmp(config->codec, "null") != 0)
		log_warn("compressionCodec \"%s\" is unknown (want null, deflate, snappy, bzip2 or zstandard): nothing is compressed", config->codec);
	struct avro_serializer *avro = calloc(1, sizeof *avro);
	if (!avro || avro_file_new(&avro->file, AVRO_EVENT_SCHEMA, codec, config->sync_interval_bytes)) {
		free(avro);
		return err_set(err, ENOMEM, "no memory for the serializer");
	}
	*made = avro;
	return 0;
}

static int
avro_begin(void *self, struct out *out)
{
	struct avro_serializer *avro = self;
	return avro_file_begin(avro->file, out);
}

static int
avro_write(void *self, struct out *out, const struct event_view *event)
{
	struct avro_serializer *avro = self;
	if (avro_event_look(&avro->look, event))
		return -ENOMEM;
	uint8_t *room = avro_file_room(avro->file, avro->look.bytes);
	if (!room)
		return -ENOMEM;
	return avro_file_put(avro->file, out, avro_event_write(&avro->look, event, room));
}

static int
avro_flush(void *self, struct out *out)
{
	struct avro_serializer *avro = self;
	return avro_file_flush(avro->file, out);
}

static void
avro_close(void *self)
{
	struct avro_serializer *avro = self;
	avro_file_free(avro->file);
	avro_event_free(&avro->look);
	free(avro);
}

/* ---- the kinds ---- */

const struct serializer_ops serializer_text = {
	.name = "TEXT",
	.class_names = "org.apache.flume.serialization.BodyTextEventSerializer$Builder org.apache.flume.serialization.BodyTextEventSerializer",
	.open = text_open, .begin = text_begin, .write = text_write, .flush = text_flush, .close = text_close,
};

const struct serializer_ops serializer_header_and_text = {
	.name = "HEADER_AND_TEXT",
	.class_names = "org.apache.flume.serialization.HeaderAndBodyTextEventSerializer$Builder "
		"org.apache.flume.serialization.HeaderAndBodyTextEventSerializer",
	.open = text_open, .begin = text_begin, .write = header_and_text_write, .flush = text_flush, .close = text_close,
};

const struct serializer_ops serializer_avro_event = {
	.name = "AVRO_EVENT",
	.class_names = "org.apache.flume.serialization.FlumeEventAvroEventSerializer$Builder org.apache.flume.serialization.FlumeEventAvroEventSerializer",
	.open = avro_open, .begin = avro_begin, .write = avro_write, .flush = avro_flush, .close = avro_close,
};

static const struct serializer_ops *const kinds[] = { &serializer_text, &serializer_header_and_text, &serializer_avro_event, NULL };

static bool
word_among(const char *words, const char *word)
{
	size_t len = strlen(word);
	for (const char *p = words; *p;) {
		size_t n = strcspn(p, " ");
		if (n == len && memcmp(p, word, n) == 0)
			return true;
		p += n + (p[n] == ' ');
	}
	return false;
}

const struct serializer_ops *
serializer_find(const struct serializer_config *config, struct err *err)
{
	enum avro_codec codec;
	for (uint32_t i = 0; kinds[i]; i++) {
		if (strcasecmp(kinds[i]->name, config->type) != 0 && !word_among(kinds[i]->class_names, config->type))
			continue;
		if (kinds[i] == &serializer_avro_event && !codec_parse(config->codec, &codec, err))
			return NULL;
		return kinds[i];
	}
	err_set(err, EINVAL, "serializer \"%s\" is not known: use TEXT, HEADER_AND_TEXT or AVRO_EVENT", config->type);
	return NULL;
}
