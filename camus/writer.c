#include "camus/writer.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sinks/format/avro_file.h"
#include "sinks/format/chunks.h"
#include "sinks/format/seqfile.h"

#define BEGIN_BYTES (1u << 20)		/* a request is opened when so much waits */
#define MORE_BYTES (256u << 10)
#define REQUESTS_MAX 32u		/* open at a time */
#define BUCKETS 4096u

enum state { FILLING, BEGUN, ENDING, ASKING, WHOLE, BROKEN };

struct open_file {
	struct open_file *next;		/* of the same hash */
	struct open_file *all_next;
	struct writer *writer;
	enum state state;
	bool current;			/* takes records of its bucket */
	struct chunks queue;
	uint64_t told;			/* queue.bytes when fs_file_more was called last */
	struct fs_file *file;
	struct data_file data;
	char *schema;
	const char *schema_seen;	/* the caller's, that is the same; only its address is looked at */
	struct avro_file *avro;		/* one of these, by the kind and codec */
	struct seqfile *seq;
	struct hadoop_codec *codec;
	uint64_t began_ns;
};

struct writer {
	struct writer_config config;
	size_t delimiter_len;
	struct out *out;		/* of blocks, on their way into a queue; empty between calls */
	struct codec_bytes packed;	/* what a codec just gave */
	uint8_t *joined;		/* a record with its delimiter */
	size_t joined_room;
	struct open_file *hash[BUCKETS];
	struct open_file *all, **all_end;
	struct open_file *last;		/* that took the last record */
	uint64_t waiting;		/* bytes in queues */
	uint32_t requests;
	uint32_t unfinished;
	uint64_t serial;
};

int
writer_open(struct writer **out, const struct writer_config *config, struct err *err)
{
	struct writer *writer = calloc(1, sizeof *writer);
	if (!writer)
		return err_set(err, ENOMEM, "no memory");
	writer->config = *config;
	writer->delimiter_len = strlen(config->delimiter);
	writer->all_end = &writer->all;
	if (config->kind != WRITER_TEXT && !(writer->out = out_new())) {
		free(writer);
		return err_set(err, ENOMEM, "no memory");
	}
	*out = writer;
	return 0;
}

static uint32_t
hash_of(const struct part *part, int64_t bucket)
{
	uint64_t h = ((uint64_t)(uintptr_t)part >> 4) * UINT64_C(0x9e3779b97f4a7c15) + (uint64_t)bucket * UINT64_C(0xc2b2ae3d27d4eb4f);
	return (uint32_t)(h >> 40) & (BUCKETS - 1);
}

static void
part_fail(struct part *part, const char *words, const char *path)
{
	if (part->failed)
		return;
	part->failed = true;
	snprintf(part->words, sizeof part->words, "%s: %s", path, words);
}

static void
file_broken(struct open_file *file, const char *words)
{
	struct writer *writer = file->writer;
	part_fail(file->data.part, words, file->data.temporary);
	if (file->state == BEGUN || file->state == ENDING)
		writer->requests--;
	file->state = BROKEN;
	file->current = false;
	writer->unfinished--;
	chunks_free(&file->queue);	/* or it would wait for room that nothing makes any more */
}

static void
stat_done(void *context, const struct fs_answer *answer)
{
	struct open_file *file = context;
	char words[192];
	if (answer->class != FS_OK) {
		snprintf(words, sizeof words, "written, then not found: %.150s", answer->text);
		file_broken(file, words);
	} else if (answer->status.length != file->data.length) {
		snprintf(words, sizeof words, "%llu bytes written, %llu found", (unsigned long long)file->data.length,
			(unsigned long long)answer->status.length);
		file_broken(file, words);
	} else {
		file->data.file_id = answer->status.file_id;
		file->state = WHOLE;
		file->writer->unfinished--;
	}
}

static void
write_done(void *context, const struct fs_answer *answer)
{
	struct open_file *file = context;
	file->file = NULL;
	if (answer->class != FS_OK) {
		file_broken(file, answer->text[0] ? answer->text : fs_class_name(answer->class));
		return;
	}
	file->writer->requests--;
	chunks_free(&file->queue);	/* empty, but for the memory that it keeps: too much with thousands of files */
	if (answer->status.file_id && answer->status.length == file->data.length) {	/* it was looked at already */
		file->data.file_id = answer->status.file_id;
		file->state = WHOLE;
		file->writer->unfinished--;
		return;
	}
	file->state = ASKING;
	struct fs_request request = { .op = FS_STAT, .path = file->data.temporary, .done = stat_done, .context = file };
	if (!fs_begin(file->writer->config.fs, &request))
		file_broken(file, "no memory");
}

static void
file_begin(struct open_file *file)
{
	struct writer *writer = file->writer;
	struct fs_write write = { .path = file->data.temporary, .overwrite = true, .early = writer->config.early,
		.bytes = &file->queue, .done = write_done, .context = file };
	file->state = BEGUN;
	file->queue.least = writer->config.memory / REQUESTS_MAX / 4 < MORE_BYTES ? (uint32_t)(writer->config.memory / REQUESTS_MAX / 4) : MORE_BYTES;
	file->began_ns = clock_now_ns(writer->config.clock);
	writer->requests++;
	file->file = fs_file_begin(writer->config.fs, &write);
	file->told = file->queue.bytes;
	if (!file->file)
		file_broken(file, "no memory");
}

/* What blocks added to the queue counts as the file's length. */
static int
blocks_drain(struct open_file *file, uint64_t before)
{
	int rc = out_flush(file->writer->out);
	uint64_t added = file->queue.bytes - before;
	file->data.length += added;
	file->writer->waiting += added;
	return rc;
}

static int
format_begin(struct open_file *file, const char *schema)
{
	struct writer *writer = file->writer;
	const struct writer_config *config = &writer->config;
	if (config->kind == WRITER_TEXT) {
		if (config->codec != CODEC_NONE && !(file->codec = hadoop_codec_new((enum hadoop_codec_kind)config->codec)))
			return -ENOMEM;
		return 0;
	}
	uint64_t before = file->queue.bytes;
	int rc;
	out_reset_chunks(writer->out, &file->queue, 0);
	if (config->kind == WRITER_AVRO) {
		file->schema = strdup(schema);
		rc = file->schema ? avro_file_new(&file->avro, file->schema, (enum avro_codec)config->avro_codec, config->avro_sync_bytes) : -ENOMEM;
		rc = rc ? rc : avro_file_begin(file->avro, writer->out);
	} else {
		rc = seqfile_new(&file->seq, SEQ_LONG, SEQ_TEXT, config->codec == CODEC_NONE ? SEQ_NONE : config->seq_blocks ? SEQ_BLOCK : SEQ_RECORD,
			(enum hadoop_codec_kind)config->codec);
		rc = rc ? rc : seqfile_begin(file->seq, writer->out);
	}
	int drained = blocks_drain(file, before);
	return rc ? rc : drained;
}

static int
blocks_put(struct open_file *file, int64_t time_ms, const void *payload, size_t len)
{
	struct writer *writer = file->writer;
	uint64_t before = file->queue.bytes;
	int rc;
	out_reset_chunks(writer->out, &file->queue, 0);
	if (file->avro) {
		uint8_t *room = avro_file_room(file->avro, len);
		if (!room)
			return -ENOMEM;
		if (len)
			memcpy(room, payload, len);
		rc = avro_file_put(file->avro, writer->out, len);
	} else {
		uint8_t key[8], head[9];
		for (int i = 0; i < 8; i++)
			key[i] = (uint8_t)((uint64_t)time_ms >> (56 - 8 * i));
		if (writer->delimiter_len) {
			if (len + writer->delimiter_len > writer->joined_room) {
				writer->joined_room = (len + writer->delimiter_len) * 2;
				free(writer->joined);
				writer->joined = malloc(writer->joined_room);
				if (!writer->joined) {
					writer->joined_room = 0;
					return -ENOMEM;
				}
			}
			if (len)
				memcpy(writer->joined, payload, len);
			memcpy(writer->joined + len, writer->config.delimiter, writer->delimiter_len);
			payload = writer->joined;
			len += writer->delimiter_len;
		}
		rc = seqfile_put(file->seq, writer->out, key, sizeof key, head, seq_vint(head, (int64_t)len), payload, len);
	}
	int drained = blocks_drain(file, before);
	return rc ? rc : drained;
}

/* Into the codec's member, and what comes out of it into the queue. */
static int
codec_put(struct open_file *file, const void *bytes, size_t len, bool finish)
{
	struct writer *writer = file->writer;
	writer->packed.len = 0;
	int rc = hadoop_codec_put(file->codec, bytes, len, finish, &writer->packed);
	if (!rc && writer->packed.len)
		rc = chunks_put(&file->queue, writer->packed.bytes, writer->packed.len);
	if (!rc) {
		file->data.length += writer->packed.len;
		writer->waiting += writer->packed.len;
	}
	return rc;
}

static void
format_end(struct open_file *file)
{
	if (!file->current)
		return;
	int rc = 0, drained = 0;
	if (file->avro || file->seq) {
		uint64_t before = file->queue.bytes;
		out_reset_chunks(file->writer->out, &file->queue, 0);
		rc = file->avro ? avro_file_flush(file->avro, file->writer->out) : seqfile_flush(file->seq, file->writer->out);
		drained = blocks_drain(file, before);
	} else if (file->codec) {
		rc = codec_put(file, NULL, 0, true);
	}
	if (rc || drained)
		part_fail(file->data.part, "no memory", file->data.temporary);
	avro_file_free(file->avro);
	seqfile_free(file->seq);
	hadoop_codec_free(file->codec);
	file->avro = NULL;
	file->seq = NULL;
	file->codec = NULL;
}

static void
file_end(struct open_file *file)
{
	format_end(file);
	file->current = false;
	if (file->state == FILLING)
		file_begin(file);
	if (file->state == BEGUN) {
		file->state = ENDING;
		fs_file_end(file->writer->config.fs, file->file);
	}
}

/* Room for one more request: the one that was begun longest ago is ended; later records of its bucket get a file of their own. */
static void
request_room(struct writer *writer)
{
	while (writer->requests >= REQUESTS_MAX) {
		struct open_file *oldest = NULL;
		for (struct open_file *file = writer->all; file; file = file->all_next)
			if (file->state == BEGUN && (!oldest || file->began_ns < oldest->began_ns))
				oldest = file;
		if (oldest)
			file_end(oldest);
		writer_step(writer, 10 * NS_PER_MS);
	}
}

static struct open_file *
file_new(struct writer *writer, struct part *part, int64_t bucket, int64_t bucket_end, const char *folder, int64_t offset)
{
	char path[FS_PATH_BYTES];
	struct open_file *file = calloc(1, sizeof *file);
	if (!file)
		return NULL;
	snprintf(path, sizeof path, "%s/data-%u-%llu", writer->config.folder, writer->config.task, (unsigned long long)++writer->serial);
	file->writer = writer;
	file->data.temporary = strdup(path);
	file->data.final = strdup(folder);
	if (!file->data.temporary || !file->data.final) {
		free(file->data.temporary);
		free(file->data.final);
		free(file);
		return NULL;
	}
	file->data.part = part;
	file->data.first = offset;
	file->data.bucket = bucket;
	file->data.bucket_end = bucket_end;
	file->current = true;
	uint32_t slot = hash_of(part, bucket);
	file->next = writer->hash[slot];
	writer->hash[slot] = file;
	*writer->all_end = file;
	writer->all_end = &file->all_next;
	writer->unfinished++;
	return file;
}

static struct open_file *
file_find(struct writer *writer, const struct part *part, int64_t bucket)
{
	struct open_file *file = writer->last;
	if (file && file->current && file->data.part == part && file->data.bucket == bucket)
		return file;
	for (file = writer->hash[hash_of(part, bucket)]; file; file = file->next)
		if (file->current && file->data.part == part && file->data.bucket == bucket)
			return file;
	return NULL;
}

static uint64_t
waiting(const struct writer *writer)
{
	uint64_t bytes = 0;
	for (const struct open_file *file = writer->all; file; file = file->all_next)
		bytes += file->queue.memory;
	return bytes;
}

/* Too much waits: the largest queues are opened, then the file system gets time until enough has gone. */
static void
memory_room(struct writer *writer)
{
	while ((writer->waiting = waiting(writer)) > writer->config.memory) {
		struct open_file *largest = NULL;
		uint64_t moving = 0;
		for (struct open_file *file = writer->all; file; file = file->all_next) {
			if (file->state == FILLING && (!largest || file->queue.bytes > largest->queue.bytes))
				largest = file;
			if (file->state == BEGUN || file->state == ENDING)
				moving += file->queue.bytes;
			if (file->state == BEGUN)
				fs_file_more(writer->config.fs, file->file);
		}
		if (moving < writer->config.memory / 4 && largest) {
			request_room(writer);
			file_begin(largest);
		}
		writer_step(writer, 10 * NS_PER_MS);
	}
}

static int
text_put(struct open_file *file, const void *payload, size_t len)
{
	struct writer *writer = file->writer;
	if (file->codec) {
		int rc = codec_put(file, payload, len, false);
		return rc || !writer->delimiter_len ? rc : codec_put(file, writer->config.delimiter, writer->delimiter_len, false);
	}
	if (chunks_put(&file->queue, payload, len) || (writer->delimiter_len && chunks_put(&file->queue, writer->config.delimiter,
	    writer->delimiter_len)))
		return -ENOMEM;
	file->data.length += len + writer->delimiter_len;
	writer->waiting += len + writer->delimiter_len;
	return 0;
}

void
writer_put(struct writer *writer, struct part *part, int64_t bucket, int64_t bucket_end, const char *folder, const char *schema, int64_t time_ms,
	   const void *payload, size_t len, int64_t offset)
{
	struct open_file *file = file_find(writer, part, bucket);
	if (file && file->schema && schema && file->schema_seen != schema && strcmp(file->schema, schema) != 0) {
		if (writer->config.schema_fails) {
			part_fail(part, "a newer schema appeared (penstock.camus.schema_change = fail)", writer->config.folder);
			return;
		}
		request_room(writer);
		file_end(file);
		file = NULL;
	}
	if (!file) {
		file = file_new(writer, part, bucket, bucket_end, folder, offset);
		if (file && format_begin(file, schema)) {
			part_fail(part, "no memory", writer->config.folder);
			return;
		}
	}
	if (!file || (writer->config.kind == WRITER_TEXT ? text_put(file, payload, len) : blocks_put(file, time_ms, payload, len))) {
		part_fail(part, "no memory", writer->config.folder);
		return;
	}
	writer->last = file;
	file->schema_seen = schema;
	file->data.records++;
	file->data.last = offset;
	if (file->state == FILLING && file->queue.bytes >= BEGIN_BYTES) {
		request_room(writer);
		if (file->state == FILLING)
			file_begin(file);
	} else if (file->state == BEGUN && file->queue.bytes >= file->told + MORE_BYTES) {
		file->told = file->queue.bytes;
		fs_file_more(writer->config.fs, file->file);
		writer_step(writer, 0);
		file->told = file->queue.bytes;
	}
	if (writer->waiting > writer->config.memory)
		memory_room(writer);
}

bool
writer_busy(const struct writer *writer)
{
	return writer->requests > 0;
}

void
writer_step(struct writer *writer, uint64_t wait_ns)
{
	uint64_t next = fs_step(writer->config.fs);
	uint64_t now = clock_now_ns(writer->config.clock);
	for (struct open_file *file = writer->all; file; file = file->all_next) {
		if (file->state != ENDING || !file->file)
			continue;
		uint64_t moved = fs_file_moved_ns(writer->config.fs, file->file), since = moved > file->began_ns ? moved : file->began_ns;
		if (now > since + writer->config.stall_ns) {
			fs_file_cancel(writer->config.fs, file->file);
			file->file = NULL;
			file_broken(file, "the file system takes no more bytes");
		}
	}
	if (next < wait_ns)
		wait_ns = next;
	if (wait_ns == 0)
		return;
	struct pollfd fd = { fs_fd(writer->config.fs), POLLIN, 0 };
	struct timespec wait = { (time_t)(wait_ns / NS_PER_S), (long)(wait_ns % NS_PER_S) };
	ppoll(&fd, fd.fd >= 0 ? 1 : 0, &wait, NULL);
	fs_step(writer->config.fs);
}

void
writer_end_part(struct writer *writer, const struct part *part)
{
	for (struct open_file *file = writer->all; file; file = file->all_next)
		if (file->data.part == part && file->current) {
			request_room(writer);
			file_end(file);
			writer_step(writer, 0);
		}
}

void
writer_finish(struct writer *writer)
{
	for (struct open_file *file = writer->all; file; file = file->all_next)
		if (file->current) {
			request_room(writer);
			file_end(file);
			writer_step(writer, 0);
		}
	while (writer->unfinished)
		writer_step(writer, 50 * NS_PER_MS);
}

struct written *
writer_files(struct writer *writer, size_t *count)
{
	size_t n = 0;
	for (struct open_file *file = writer->all; file; file = file->all_next)
		n++;
	struct written *files = calloc(n + 1, sizeof *files);
	if (!files)
		abort();
	*count = n;
	n = 0;
	for (struct open_file *file = writer->all; file; file = file->all_next) {
		files[n].file = file->data;
		files[n++].whole = file->state == WHOLE;
		file->data.temporary = file->data.final = NULL;
	}
	return files;
}

void
writer_close(struct writer *writer)
{
	if (!writer)
		return;
	for (struct open_file *file = writer->all, *next; file; file = next) {
		next = file->all_next;
		if (file->file)
			fs_file_cancel(writer->config.fs, file->file);
		chunks_free(&file->queue);
		avro_file_free(file->avro);
		seqfile_free(file->seq);
		hadoop_codec_free(file->codec);
		free(file->schema);
		free(file->data.temporary);
		free(file->data.final);
		free(file);
	}
	out_free(writer->out);
	codec_bytes_free(&writer->packed);
	free(writer->joined);
	free(writer);
}
