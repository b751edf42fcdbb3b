#include "camus/hook.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

#define TRIES 3
#define LOOK_NS (20 * NS_PER_MS)

static json_t *
folder_find(json_t *folders, const char *path)
{
	json_t *one;
	size_t i;
	json_array_foreach(folders, i, one)
		if (strcmp(json_string_value(json_object_get(one, "path")), path) == 0)
			return one;
	return NULL;
}

static void
folders_take(json_t *folders, const json_t *list, bool complete)
{
	json_t *one;
	size_t i;
	json_array_foreach(list, i, one) {
		const char *path = json_string_value(json_object_get(one, "folder"));
		bool fresh = json_is_true(json_object_get(one, "new"));
		if (!path || (!complete && !fresh))
			continue;
		json_array_append_new(folders, json_pack("{s:s, s:O, s:b, s:b}", "path", path, "topic", json_object_get(one, "topic"), "new", fresh,
			"complete", complete));
	}
}

static char *
input_make(const struct manifest *manifest)
{
	json_t *root = json_loads(manifest->text, 0, NULL), *folders = json_array();
	folders_take(folders, json_object_get(root, "complete"), true);
	folders_take(folders, json_object_get(root, "open"), false);
	for (size_t i = 0; i < manifest->file_count; i++) {
		char path[FS_PATH_BYTES];
		snprintf(path, sizeof path, "%s", manifest->files[i].final);
		fs_path_parent(path);
		if (!folder_find(folders, path))
			json_array_append_new(folders, json_pack("{s:s, s:s, s:b, s:b}", "path", path, "topic", manifest->files[i].topic, "new", 0,
				"complete", 0));
	}
	json_t *input = json_pack("{s:o, s:o}", "manifest", root, "folders", folders);
	char *text = input ? json_dumps(input, JSON_COMPACT) : NULL;
	json_decref(input);
	return text;
}

/* Its wait status; -errno when it could not be started; -ETIMEDOUT. */
static int
program_run(const char *program, uint64_t number, int input, uint64_t timeout_ns)
{
	char text[32];
	snprintf(text, sizeof text, "%" PRIu64, number);
	char *argv[] = { (char *)program, text, NULL };
	posix_spawn_file_actions_t files;
	pid_t pid;
	int status, rc = posix_spawn_file_actions_init(&files);
	if (rc)
		return -rc;
	posix_spawn_file_actions_adddup2(&files, input, 0);
	posix_spawn_file_actions_adddup2(&files, 2, 1);	/* our standard output is the report's */
	posix_spawn_file_actions_addclosefrom_np(&files, 3);
	lseek(input, 0, SEEK_SET);
	rc = posix_spawn(&pid, program, &files, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&files);
	if (rc)
		return -rc;
	uint64_t end = clock_now_ns(&clock_system) + timeout_ns;
	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (clock_now_ns(&clock_system) > end) {
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			return -ETIMEDOUT;
		}
		nanosleep(&(struct timespec){ .tv_nsec = LOOK_NS }, NULL);
	}
	return status;
}

int
hook_run(const struct camus_conf *conf, const struct manifest *manifest, struct err *err)
{
	if (!conf->hook)
		return 0;
	char *text = input_make(manifest);
	int input = memfd_create("penstock-camus commit", MFD_CLOEXEC), rc = -ENOMEM;
	size_t len = text ? strlen(text) : 0;
	if (!text || input < 0 || write(input, text, len) != (ssize_t)len)
		rc = err_set(err, ENOMEM, "no memory for the hook's input");
	for (int try = 0; try < TRIES && text && input >= 0; try++) {
		kill_point("hook");
		int status = program_run(conf->hook, manifest->number, input, conf->hook_timeout_ns);
		if (status == 0) {
			rc = 0;
			break;
		}
		if (status == -ETIMEDOUT)
			rc = err_set(err, ETIMEDOUT, "penstock.camus.hook: %s was not done with manifest %" PRIu64 " within penstock.camus.hook_timeout",
				conf->hook, manifest->number);
		else if (status < 0)
			rc = err_set(err, -status, "penstock.camus.hook: %s cannot be run: %s", conf->hook, strerror(-status));
		else
			rc = err_set(err, EIO, "penstock.camus.hook: %s ended with %s %d for manifest %" PRIu64, conf->hook,
				WIFEXITED(status) ? "status" : "signal", WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status), manifest->number);
		log_warn("%s%s", err->text, try + 1 < TRIES ? ": again" : "");
		if (try + 1 < TRIES)
			nanosleep(&(struct timespec){ .tv_nsec = 200000000 }, NULL);
	}
	if (input >= 0)
		close(input);
	free(text);
	return rc;
}
