/* A swept folder takes the old one's place: three steps, each safe to repeat by the folders' identities. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "camus/sweep.h"

static const char *
text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text ? text : "";
}

/* Identity of what is there; 0: nothing. */
static int
id_of(struct fs *fs, const char *path, uint64_t *id, struct err *err)
{
	struct fs_answer answer;
	void *memory = NULL;
	struct fs_request request = { .op = FS_STAT, .path = path };
	enum fs_class class = fs_call_wait(fs, &request, &answer, &memory);
	*id = class == FS_OK ? answer.status.file_id : 0;
	int rc = class == FS_OK || class == FS_MISSING ? 0 : err_set(err, EIO, "%s: %s: %s", path, fs_class_name(class), answer.text);
	free(memory);
	return rc;
}

/* A lost answer is settled by the look at identities that follows. */
static int
move(struct fs *fs, const char *from, const char *to, uint64_t id, struct err *err)
{
	char parent[FS_PATH_BYTES];
	struct fs_answer answer;
	void *memory = NULL;
	uint64_t there;
	snprintf(parent, sizeof parent, "%s", to);
	fs_path_parent(parent);
	struct fs_request make = { .op = FS_MKDIRS, .path = parent };
	fs_call_wait(fs, &make, &answer, &memory);
	free(memory);
	memory = NULL;
	struct fs_request request = { .op = FS_RENAME, .path = from, .to = to };
	enum fs_class class = fs_call_wait(fs, &request, &answer, &memory);
	int rc = id_of(fs, to, &there, err);
	if (!rc && there != id)
		rc = err_set(err, EIO, "%s: cannot be renamed to %s: %s: %s", from, to, fs_class_name(class), answer.text);
	free(memory);
	return rc;
}

static int
swap_one(struct fs *fs, const json_t *swap, struct err *err)
{
	const char *output = text_of(swap, "output"), *staged = text_of(swap, "staged"), *aside = text_of(swap, "aside");
	uint64_t staged_id = (uint64_t)json_integer_value(json_object_get(swap, "stagedId")), id;
	uint64_t old_id = (uint64_t)json_integer_value(json_object_get(swap, "oldId"));
	kill_point("swap");
	int rc = id_of(fs, output, &id, err);
	if (!rc && id && id != staged_id && id != old_id)
		return err_set(err, EEXIST, "%s: another folder has come there; the swept one is %s: move one of them away and run again", output, staged);
	if (!rc && id && id == old_id)
		rc = move(fs, output, aside, old_id, err);
	kill_point("swap-aside");
	if (!rc && id != staged_id)
		rc = move(fs, staged, output, staged_id, err);
	return rc;
}

int
sweep_publish(struct fs *fs, const struct manifest *manifest, struct err *refused, struct err *err)
{
	json_t *root = json_loads(manifest->text, 0, NULL), *swap;
	size_t i;
	int rc = 0;
	json_array_foreach(json_object_get(root, "swaps"), i, swap) {
		rc = json_object_get(swap, "concat") ? sweep_concat_publish(fs, swap, refused, err) : swap_one(fs, swap, err);
		if (rc)
			break;
	}
	json_decref(root);
	return rc;
}
