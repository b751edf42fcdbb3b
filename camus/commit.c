#include "camus/commit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "sinks/hdfs/publish.h"

#define AT_ONCE 16

struct publishing {
	struct round *round;
	struct manifest_file *file;
	bool begun, ended;
};

struct round {
	struct commit_result *result;
	struct publishing *files;
	uint64_t number;
	bool again, folder_there, later;
	size_t open;
	struct err *err;
	bool finished;
};

static void
one_done(void *context, enum publish_result result, enum fs_class class, const char *text)
{
	struct publishing *one = context;
	struct round *round = one->round;
	struct manifest_file *file = one->file;
	one->ended = true;
	round->open--;
	round->finished = true;
	switch (result) {
	case PUBLISH_DONE:
		round->result->published++;
		return;
	case PUBLISH_TAKEN:
		if (round->result->occupied++ == 0)
			err_set(round->err, EIO, "%s: another file has this name; ours is %s (topic %s, partition %d, offsets %lld to %lld): move one "
				"of them away and run again", file->final, file->temporary, file->topic, file->partition, (long long)file->first,
				(long long)file->last);
		return;
	case PUBLISH_GONE:
		/* While the run's folder stands, only our own rename took the file out of it: a consumer has it. */
		if (round->again && round->folder_there && !file->missing) {
			round->result->taken_away++;
			return;
		}
		file->missing = true;
		if (round->result->missing++ == 0)
			err_set(round->err, EIO, "%s: gone before it could be published (topic %s, partition %d, offsets %lld to %lld): penstock-camus "
				"redo %llu fetches them again", file->temporary, file->topic, file->partition, (long long)file->first,
				(long long)file->last, (unsigned long long)round->number);
		return;
	case PUBLISH_LATER:
		if (!round->later)
			err_set(round->err, EAGAIN, "%s: cannot be published now: %s: %s", file->final, fs_class_name(class), text);
		round->later = true;
		return;
	}
}

static int
by_final(const void *a, const void *b)
{
	const struct publishing *x = a, *y = b;
	return strcmp(x->file->final, y->file->final);
}

/* Folders of files that are sorted by their final names. */
static int
folders_make(struct fs *fs, const struct publishing *files, size_t count, struct err *err)
{
	struct fs_batch batch = { .fs = fs };
	char made[FS_PATH_BYTES] = "", folder[FS_PATH_BYTES];
	for (size_t i = 0; i < count && batch.class == FS_OK; i++) {
		snprintf(folder, sizeof folder, "%s", files[i].file->final);
		fs_path_parent(folder);
		if (strcmp(folder, made) == 0)
			continue;
		snprintf(made, sizeof made, "%s", folder);
		fs_batch_wait(&batch, AT_ONCE - 1, err);
		fs_batch_mkdirs(&batch, folder);
	}
	return fs_batch_wait(&batch, 0, err) == FS_OK ? 0 : -EAGAIN;
}

int
commit_publish(struct fs *fs, const struct manifest *manifest, bool again, struct commit_result *result, struct err *err)
{
	memset(result, 0, sizeof *result);
	if (manifest->file_count == 0)
		return 0;
	struct round round = { .result = result, .number = manifest->number, .again = again, .err = err };
	round.files = calloc(manifest->file_count, sizeof *round.files);
	if (!round.files)
		return err_set(err, ENOMEM, "no memory");
	for (size_t i = 0; i < manifest->file_count; i++)
		round.files[i] = (struct publishing){ &round, &manifest->files[i], false, false };
	qsort(round.files, manifest->file_count, sizeof *round.files, by_final);
	int rc = 0;
	if (again) {
		struct fs_answer answer;
		void *memory = NULL;
		struct fs_request request = { .op = FS_STAT, .path = manifest->folder };
		enum fs_class class = fs_call_wait(fs, &request, &answer, &memory);
		round.folder_there = class == FS_OK;
		if (class != FS_OK && class != FS_MISSING)	/* not known: what a consumer took would count as lost, for good */
			rc = err_set(err, EAGAIN, "%s: cannot be looked at: %s: %s", manifest->folder, fs_class_name(class), answer.text);
		free(memory);
	}
	rc = rc ? rc : folders_make(fs, round.files, manifest->file_count, err);
	for (size_t i = 0; !rc && (i < manifest->file_count || round.open); ) {
		if (i < manifest->file_count && round.open < AT_ONCE) {
			const struct manifest_file *file = round.files[i].file;
			kill_point("publish");
			round.open++;
			if (!publish_begin(fs, file->temporary, file->final, file->file_id, file->length, again, one_done, &round.files[i])) {
				rc = err_set(err, ENOMEM, "no memory");
				round.open--;
				break;
			}
			i++;
			continue;
		}
		round.finished = false;
		fs_run(fs, &round.finished, clock_now_ns(fs->clock) + NS_PER_S);
	}
	while (round.open) {
		round.finished = false;
		fs_run(fs, &round.finished, clock_now_ns(fs->clock) + NS_PER_S);
	}
	free(round.files);
	if (rc)
		return rc;
	if (result->missing || result->occupied)
		return -EIO;
	return round.later ? -EAGAIN : 0;
}

void
commit_clean(struct fs *fs, const char *folder)
{
	struct fs_answer answer;
	void *memory = NULL;
	struct fs_request request = { .op = FS_DELETE, .path = folder, .recursive = true };
	if (fs_call_wait(fs, &request, &answer, &memory) != FS_OK)
		log_warn("%s: left behind: %s", folder, answer.text);
	free(memory);
}
