#include "sinks/hdfs/publish.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS_MAX 4	/* renames of one publish */

enum publish_step { LOOK_TARGET, LOOK_SOURCE, LOOK_ID, MAKE_PARENT, RENAME };

struct publish {
	struct fs *fs;
	struct fs_call *call;
	enum publish_step step;
	char *from, *to;
	uint64_t file_id, length;
	uint32_t rounds;
	bool source_there;		/* ours, at `from` */
	bool parent_made;
	publish_done *done;
	void *context;
};

static void step_begin(struct publish *p, enum publish_step step);

static void
publish_free(struct publish *p)
{
	free(p->from);
	free(p->to);
	free(p);
}

static void
publish_end(struct publish *p, enum publish_result result, enum fs_class class, const char *text)
{
	publish_done *done = p->done;
	void *context = p->context;
	char copy[512];
	snprintf(copy, sizeof copy, "%s", text);
	publish_free(p);
	done(context, result, class, copy);
}

static bool
ours(const struct publish *p, const struct fs_status *status)
{
	return !status->directory && (p->length == PUBLISH_ANY_LENGTH || status->length == p->length) && (!p->file_id || status->file_id == p->file_id);
}

static void
rename_try(struct publish *p, const char *why)
{
	if (p->rounds++ == ROUNDS_MAX)
		publish_end(p, PUBLISH_LATER, FS_FAILED, why);
	else
		step_begin(p, RENAME);
}

static void
step_ended(void *context, const struct fs_answer *answer)
{
	struct publish *p = context;
	p->call = NULL;
	bool ok = answer->class == FS_OK, missing = answer->class == FS_MISSING;
	switch (p->step) {
	case RENAME:
		if (ok && answer->yes)
			publish_end(p, PUBLISH_DONE, FS_OK, "");
		else if (ok || answer->class == FS_UNKNOWN || missing)
			step_begin(p, LOOK_SOURCE);
		else
			publish_end(p, PUBLISH_LATER, answer->class, answer->text);
		return;
	case LOOK_SOURCE:
		if (!ok && !missing) {
			publish_end(p, PUBLISH_LATER, answer->class, answer->text);
			return;
		}
		p->source_there = ok && ours(p, &answer->status);
		step_begin(p, LOOK_TARGET);
		return;
	case LOOK_TARGET:
		if (!ok && !missing) {
			publish_end(p, PUBLISH_LATER, answer->class, answer->text);
		} else if (ok && ours(p, &answer->status) && (p->file_id || !p->source_there)) {
			publish_end(p, PUBLISH_DONE, FS_OK, "");	/* perhaps between the two looks */
		} else if (p->source_there && ok) {
			publish_end(p, PUBLISH_TAKEN, FS_EXISTS, "another file has the final name");
		} else if (p->source_there && p->rounds && !p->parent_made) {
			step_begin(p, MAKE_PARENT);
		} else if (p->source_there) {
			rename_try(p, "the rename is refused though its target is free");
		} else if (p->file_id) {
			step_begin(p, LOOK_ID);
		} else {
			publish_end(p, PUBLISH_GONE, FS_MISSING, "neither the in-use name nor the final name has it");
		}
		return;
	case LOOK_ID:
		if (ok && ours(p, &answer->status))
			publish_end(p, PUBLISH_DONE, FS_OK, "");
		else if (ok || missing || answer->class == FS_INVALID)
			publish_end(p, PUBLISH_GONE, FS_MISSING, "neither its names nor its identity are there any more");
		else
			publish_end(p, PUBLISH_LATER, answer->class, answer->text);
		return;
	case MAKE_PARENT:
		p->parent_made = true;
		if (ok)
			rename_try(p, "");
		else
			publish_end(p, PUBLISH_LATER, answer->class, answer->text);
		return;
	}
}

static void
step_begin(struct publish *p, enum publish_step step)
{
	char path[FS_PATH_BYTES];
	struct fs_request request = { .path = path, .done = step_ended, .context = p };
	p->step = step;
	switch (step) {
	case LOOK_TARGET:
		request.op = FS_STAT;
		request.path = p->to;
		break;
	case LOOK_SOURCE:
		request.op = FS_STAT;
		request.path = p->from;
		break;
	case LOOK_ID:
		request.op = FS_STAT;
		snprintf(path, sizeof path, "/.reserved/.inodes/%llu", (unsigned long long)p->file_id);
		break;
	case MAKE_PARENT:
		request.op = FS_MKDIRS;
		snprintf(path, sizeof path, "%s", p->to);
		fs_path_parent(path);
		break;
	case RENAME:
		request.op = FS_RENAME;
		request.path = p->from;
		request.to = p->to;
		break;
	}
	p->call = fs_begin(p->fs, &request);
	assert(p->call);	/* some hundred bytes */
}

struct publish *
publish_begin(struct fs *fs, const char *from, const char *to, uint64_t file_id, uint64_t length, bool look_first, publish_done *done, void *context)
{
	struct publish *p = calloc(1, sizeof *p);
	if (!p)
		return NULL;
	*p = (struct publish){ .fs = fs, .from = strdup(from), .to = strdup(to), .file_id = file_id, .length = length, .done = done, .context = context };
	if (!p->from || !p->to) {
		publish_free(p);
		return NULL;
	}
	p->rounds = !look_first;
	step_begin(p, look_first ? LOOK_SOURCE : RENAME);
	return p;
}

void
publish_cancel(struct publish *p)
{
	if (p->call)
		fs_cancel(p->fs, p->call);
	publish_free(p);
}
