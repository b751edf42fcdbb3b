#include "sinks/hdfs/fs.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sinks/hdfs/hadoop_conf.h"

static const char *const class_names[] = {
	[FS_OK] = "done", [FS_EXISTS] = "exists", [FS_MISSING] = "missing", [FS_DENIED] = "denied", [FS_QUOTA] = "quota", [FS_SPACE] = "no space",
	[FS_INVALID] = "invalid", [FS_LEASE] = "lease held", [FS_NOT_EMPTY] = "not empty", [FS_BUSY] = "busy", [FS_UNKNOWN] = "answer lost",
	[FS_LOGIN] = "login", [FS_FAILED] = "failed",
};

const char *
fs_class_name(enum fs_class class)
{
	return class_names[class];
}

int
fs_open(struct fs **fs, const struct fs_config *config, struct clock *clock, char *path, struct err *err)
{
	struct hadoop_conf *conf;
	struct hadoop_place place;
	int rc = hadoop_conf_open(&conf, config->conf_dir, err);
	if (rc)
		return rc;
	rc = hadoop_place(conf, config->uri, config->http_address, &place, err);
	if (!rc && path && (size_t)snprintf(path, FS_PATH_BYTES, "%s", place.path[0] ? place.path : "/") >= FS_PATH_BYTES)
		rc = err_set(err, ENAMETOOLONG, "the path is too long");
	if (!rc)
		rc = place.local ? localfs_open(fs, config, clock, err) : webhdfs_open(fs, config, conf, clock, err);
	hadoop_conf_close(conf);
	return rc;
}

void
fs_close(struct fs *fs)
{
	if (fs)
		fs->ops->close(fs);
}

bool
fs_run(struct fs *fs, const bool *finished, uint64_t deadline_ns)
{
	for (;;) {
		uint64_t wait_ns = fs_step(fs);
		if (*finished)
			return true;
		uint64_t now_ns = clock_now_ns(fs->clock);
		if (now_ns >= deadline_ns)
			return false;
		if (wait_ns > deadline_ns - now_ns)
			wait_ns = deadline_ns - now_ns;
		if (wait_ns > NS_PER_S)
			wait_ns = NS_PER_S;
		struct pollfd poll = { .fd = fs_fd(fs), .events = POLLIN };
		struct timespec timeout = { .tv_sec = (time_t)(wait_ns / NS_PER_S), .tv_nsec = (long)(wait_ns % NS_PER_S) };
		(void)ppoll(&poll, poll.fd >= 0, &timeout, NULL);
	}
}

struct wait {
	bool finished;
	struct fs_answer *keep;
	void **memory;
	enum fs_class class;
	char text[512];
};

static const char *
text_keep(char **at, const char *text)
{
	size_t len = strlen(text) + 1;
	char *to = memcpy(*at, text, len);
	*at += len;
	return to;
}

static void
wait_done(void *context, const struct fs_answer *answer)
{
	struct wait *wait = context;
	wait->finished = true;
	wait->class = answer->class;
	snprintf(wait->text, sizeof wait->text, "%s", answer->text ? answer->text : "");
	if (!wait->keep)
		return;
	*wait->keep = *answer;
	wait->keep->list = NULL;
	wait->keep->bytes = NULL;
	wait->keep->text = wait->keep->exception = wait->keep->status.name = wait->keep->status.owner = "";
	if (!wait->memory)
		return;
	size_t need = answer->list_count * sizeof *answer->list + answer->len + 1 + strlen(answer->text) + 1 + strlen(answer->exception) + 1 +
		      strlen(answer->status.owner) + 1;
	for (size_t i = 0; i < answer->list_count; i++)
		need += strlen(answer->list[i].name) + strlen(answer->list[i].owner) + 2;
	char *memory = *wait->memory = malloc(need);
	if (!memory) {
		wait->class = wait->keep->class = FS_FAILED;
		wait->keep->list_count = wait->keep->len = 0;
		return;
	}
	struct fs_status *list = (struct fs_status *)memory;
	char *at = memory + answer->list_count * sizeof *list;
	for (size_t i = 0; i < answer->list_count; i++) {
		list[i] = answer->list[i];
		list[i].name = text_keep(&at, answer->list[i].name);
		list[i].owner = text_keep(&at, answer->list[i].owner);
	}
	wait->keep->list = list;
	wait->keep->text = text_keep(&at, answer->text);
	wait->keep->exception = text_keep(&at, answer->exception);
	wait->keep->status.owner = text_keep(&at, answer->status.owner);
	wait->keep->bytes = (uint8_t *)at;
	if (answer->len)
		memcpy(at, answer->bytes, answer->len);
	at[answer->len] = '\0';
}

enum fs_class
fs_call_wait(struct fs *fs, const struct fs_request *request_, struct fs_answer *keep, void **memory)
{
	struct wait wait = { .keep = keep, .memory = memory };
	struct fs_request request = *request_;
	request.done = wait_done;
	request.context = &wait;
	if (memory)
		*memory = NULL;
	if (keep)
		*keep = (struct fs_answer){ .class = FS_FAILED, .text = "no memory", .exception = "" };
	if (!fs_begin(fs, &request))
		return FS_FAILED;
	fs_run(fs, &wait.finished, UINT64_MAX);
	return wait.class;
}

enum fs_class
fs_put_wait(struct fs *fs, const char *path, const void *bytes, size_t len, bool overwrite, struct fs_status *status, struct err *err)
{
	struct wait wait = { 0 };
	struct chunks chunks = { 0 };
	struct fs_write write = { .path = path, .overwrite = overwrite, .bytes = &chunks, .done = wait_done, .context = &wait };
	struct fs_file *file = NULL;
	if (chunks_put(&chunks, bytes, len) || !(file = fs_file_begin(fs, &write))) {
		chunks_free(&chunks);
		err_set(err, ENOMEM, "no memory");
		return FS_FAILED;
	}
	fs_file_end(fs, file);
	fs_run(fs, &wait.finished, UINT64_MAX);
	chunks_free(&chunks);
	if (wait.class == FS_OK && status) {
		struct fs_answer answer;
		wait.class = fs_call_wait(fs, &(struct fs_request){ .op = FS_STAT, .path = path }, &answer, NULL);
		*status = answer.status;
	}
	if (wait.class != FS_OK)
		err_set(err, EIO, "%s: %s: %s", path, fs_class_name(wait.class), wait.text);
	return wait.class;
}

int
fs_path_join(char *to, size_t room, const char *directory, const char *name)
{
	size_t len = strlen(directory);
	while (len && directory[len - 1] == '/')
		len--;
	while (*name == '/')
		name++;
	int n = snprintf(to, room, "%.*s/%s", (int)len, directory, name);
	return n < 0 || (size_t)n >= room ? -ENAMETOOLONG : 0;
}

void
fs_path_parent(char *path)
{
	char *slash = strrchr(path, '/');
	if (slash)
		slash[slash == path] = '\0';
}
