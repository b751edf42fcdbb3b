#include "camus/place.h"

#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

#define LOCK_OLD_NS (10 * 60 * NS_PER_S)	/* a run renews its lock every minute */

static int
folder_open(const struct camus_conf *conf, const char *key, const char *uri, struct fs **fs, struct fs_config *config, char *path, struct err *err)
{
	*config = (struct fs_config){ .uri = uri, .conf_dir = conf_text(conf, "penstock.hdfs.conf_dir"),
		.http_address = conf_text(conf, "penstock.hdfs.http_address"), .user = conf_text(conf, "user.name"),
		.principal = conf_text(conf, "penstock.hdfs.principal"), .keytab = conf_text(conf, "penstock.hdfs.keytab"),
		.retry_ns = 60 * NS_PER_S, .seed = (uint64_t)getpid() };
	int rc = fs_open(fs, config, &clock_system, path, err);
	if (rc)
		return err_prefix(err, rc, "%s \"%s\"", key, uri);
	size_t len = strlen(path);
	while (len > 1 && path[len - 1] == '/')
		path[--len] = '\0';
	return 0;
}

int
place_open(struct place *place, const struct camus_conf *conf, struct err *err)
{
	memset(place, 0, sizeof *place);
	int rc = folder_open(conf, "etl.destination.path", conf->destination, &place->fs, &place->config, place->destination, err);
	if (rc)
		return rc;
	const struct {
		const char *key, *uri;
		char *path;
	} others[] = {
		{ "etl.execution.base.path", conf->base_path, place->base }, { "etl.execution.history.path", conf->history_path, place->history },
	};
	for (size_t i = 0; i < 2 && !rc; i++) {
		struct fs *fs = NULL;
		struct fs_config config;
		rc = folder_open(conf, others[i].key, others[i].uri, &fs, &config, others[i].path, err);
		if (!rc && (fs->ops != place->fs->ops || strcmp(fs->service, place->fs->service) != 0))
			rc = err_set(err, EINVAL, "%s \"%s\": not in the file system of etl.destination.path (%s): both must be renamed within one",
				others[i].key, others[i].uri, conf->destination);
		if (fs)
			fs_close(fs);
	}
	if (!rc)
		rc = fs_path_join(place->state, sizeof place->state, place->base, "_penstock");
	if (!rc)
		rc = fs_path_join(place->work, sizeof place->work, place->destination, "_penstock");
	return rc;
}

int
place_connect(const struct place *place, const struct camus_conf *conf, struct fs **fs, struct err *err)
{
	(void)conf;
	char path[FS_PATH_BYTES];
	return fs_open(fs, &place->config, &clock_system, path, err);
}

void
place_close(struct place *place)
{
	if (place->fs)
		fs_close(place->fs);
	place->fs = NULL;
}

static enum fs_class
lock_put(struct place *place, const char *run, bool overwrite, struct err *err)
{
	char path[FS_PATH_BYTES], host[256] = "";
	gethostname(host, sizeof host - 1);
	if (fs_path_join(path, sizeof path, place->state, "lock"))
		return FS_INVALID;
	json_t *root = json_pack("{s:s, s:s, s:i, s:I}", "run", run, "host", host, "pid", (int)getpid(), "renewed",
		(json_int_t)(clock_wall_ns(&clock_system) / NS_PER_MS));
	char *text = json_dumps(root, 0);
	json_decref(root);
	enum fs_class class = fs_put_wait(place->fs, path, text, strlen(text), overwrite, NULL, err);
	free(text);
	return class;
}

/* What the lock says; NULL: it cannot be read, or nothing that makes sense. */
static json_t *
lock_read(struct place *place)
{
	char path[FS_PATH_BYTES];
	struct fs_answer answer;
	void *memory = NULL;
	if (fs_path_join(path, sizeof path, place->state, "lock"))
		return NULL;
	struct fs_request request = { .op = FS_READ, .path = path };
	enum fs_class class = fs_call_wait(place->fs, &request, &answer, &memory);
	json_t *root = class == FS_OK ? json_loadb((const char *)answer.bytes, answer.len, 0, NULL) : NULL;
	free(memory);
	return root;
}

int
place_lock(struct place *place, const char *run, struct err *err)
{
	enum fs_class class = lock_put(place, run, false, err);
	snprintf(place->locked, sizeof place->locked, "%s", run);
	if (class == FS_OK)
		return 0;
	place->locked[0] = '\0';
	if (class != FS_EXISTS && class != FS_LEASE)	/* lease: who was writing it has just died, or is at it */
		return err_prefix(err, -EIO, "the lock in %s", place->state);
	char path[FS_PATH_BYTES], host[256] = "";
	gethostname(host, sizeof host - 1);
	fs_path_join(path, sizeof path, place->state, "lock");
	json_t *root = lock_read(place);
	for (int i = 0; !root && i < 10; i++) {		/* somebody may be about to write it */
		nanosleep(&(struct timespec){ .tv_nsec = 100 * NS_PER_MS }, NULL);
		root = lock_read(place);
	}
	const char *whose = json_string_value(json_object_get(root, "run")), *where = json_string_value(json_object_get(root, "host"));
	int64_t renewed = json_integer_value(json_object_get(root, "renewed")), pid = json_integer_value(json_object_get(root, "pid"));
	bool here = where && strcmp(where, host) == 0, dead = here && pid > 0 && kill((pid_t)pid, 0) && errno == ESRCH;
	bool old = clock_wall_ns(&clock_system) > (uint64_t)renewed * NS_PER_MS + LOCK_OLD_NS;
	int rc = 0;
	if (root && !dead && !old) {
		rc = err_set(err, EBUSY, "%s: run %s on %s (process %lld) is at work; if it is not, remove this file", path, whose ? whose : "?",
			where ? where : "?", (long long)pid);
	} else {
		log_info("%s: left by run %s: taken over", path, whose ? whose : "?");
		if (lock_put(place, run, true, err) != FS_OK)
			rc = err_prefix(err, -EIO, "%s", path);
		else
			snprintf(place->locked, sizeof place->locked, "%s", run);
	}
	json_decref(root);
	return rc;
}

int
place_lock_check(struct place *place, struct err *err)
{
	if (!place->locked[0])
		return 0;
	json_t *root = lock_read(place);
	const char *whose = json_string_value(json_object_get(root, "run"));
	int rc = whose && strcmp(whose, place->locked) == 0 ? 0 : err_set(err, EBUSY, "%s/lock is run %s's now: this one, %s, stood still for too long, and what "
		"it read may have been taken away: nothing is committed, the next run reads it again", place->state, whose ? whose : "?", place->locked);
	json_decref(root);
	return rc;
}

void
place_lock_renew(struct place *place, const char *run)
{
	struct err err = { "" };
	if (place_lock_check(place, &err))
		log_warn("%s", err.text);
	else if (lock_put(place, run, true, &err) != FS_OK)
		log_warn("the lock in %s is not renewed: %s", place->state, err.text);
}

void
place_unlock(struct place *place)
{
	char path[FS_PATH_BYTES];
	struct fs_answer answer;
	void *memory = NULL;
	struct err err = { "" };
	if (place_lock_check(place, &err) || fs_path_join(path, sizeof path, place->state, "lock"))
		return;		/* somebody else's */
	place->locked[0] = '\0';
	struct fs_request request = { .op = FS_DELETE, .path = path };
	fs_call_wait(place->fs, &request, &answer, &memory);
	free(memory);
}
