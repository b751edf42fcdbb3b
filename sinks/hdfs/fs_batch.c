/* Several small files and folders at once. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sinks/format/chunks.h"
#include "sinks/hdfs/fs.h"

struct item {
	struct fs_batch *batch;
	struct chunks bytes;
	char path[];
};

static void
item_end(struct item *item, enum fs_class class, const char *text)
{
	struct fs_batch *batch = item->batch;
	if (class != FS_OK && batch->class == FS_OK) {
		batch->class = class;
		snprintf(batch->words, sizeof batch->words, "%.400s: %s: %.250s", item->path, fs_class_name(class), text);
	}
	batch->busy--;
	batch->one_ended = true;
	chunks_free(&item->bytes);
	free(item);
}

static void
item_done(void *context, const struct fs_answer *answer)
{
	item_end(context, answer->class, answer->text ? answer->text : "");
}

static struct item *
item_new(struct fs_batch *batch, const char *path)
{
	size_t len = strlen(path) + 1;
	struct item *item = calloc(1, sizeof *item + len);
	if (!item)
		abort();	/* some hundred bytes: nothing sensible can follow */
	item->batch = batch;
	memcpy(item->path, path, len);
	batch->busy++;
	return item;
}

void
fs_batch_put(struct fs_batch *batch, const char *path, struct chunks *bytes)
{
	struct item *item = item_new(batch, path);
	item->bytes = *bytes;
	*bytes = (struct chunks){ .least = bytes->least };
	struct fs_write write = { .path = item->path, .overwrite = true, .early = true, .bytes = &item->bytes, .done = item_done, .context = item };
	struct fs_file *file = fs_file_begin(batch->fs, &write);
	if (file)
		fs_file_end(batch->fs, file);
	else
		item_end(item, FS_FAILED, "no memory");
}

void
fs_batch_put_text(struct fs_batch *batch, const char *path, const char *text, size_t len)
{
	struct chunks bytes = { NULL };
	if (len && chunks_put(&bytes, text, len))
		abort();	/* as item_new: the text itself is in memory */
	fs_batch_put(batch, path, &bytes);
}

void
fs_batch_mkdirs(struct fs_batch *batch, const char *path)
{
	struct item *item = item_new(batch, path);
	if (!fs_begin(batch->fs, &(struct fs_request){ .op = FS_MKDIRS, .path = item->path, .done = item_done, .context = item }))
		item_end(item, FS_FAILED, "no memory");
}

enum fs_class
fs_batch_wait(struct fs_batch *batch, uint32_t left, struct err *err)
{
	while (batch->busy > left) {
		batch->one_ended = false;
		fs_run(batch->fs, &batch->one_ended, UINT64_MAX);
	}
	if (batch->class != FS_OK)
		err_set(err, EIO, "%s", batch->words);
	return batch->class;
}
