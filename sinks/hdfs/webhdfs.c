#include "sinks/hdfs/webhdfs.h"

#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sinks/hdfs/login.h"
#include "sinks/hdfs/retry.h"

#define FLYING_MAX 32u
#define CALL_NS (30 * NS_PER_S)
#define LIST_BYTES (256u << 20)

struct fs_call {
	struct fs_call *next, **link;	/* queue or flying */
	struct webhdfs *w;
	struct http_call *http;
	enum fs_op op;
	bool recursive, once, queued;
	uint64_t offset, length;
	fs_done *done;
	void *context;
	char *path, *to;
	char *location;			/* FS_READ: of the DataNode */
	uint32_t tries, namenode, logins;
	uint64_t begun_ns, due_ns;
};

static void
call_link(struct fs_call **head, struct fs_call *call)
{
	call->next = *head;
	call->link = head;
	if (call->next)
		call->next->link = &call->next;
	*head = call;
}

static void
call_unlink(struct fs_call *call)
{
	struct webhdfs *w = call->w;
	*call->link = call->next;
	if (call->next)
		call->next->link = call->link;
	else if (call->queued)
		w->queue_end = call->link;
	if (!call->queued)
		w->flying_count--;
}

static void
call_queue(struct fs_call *call)
{
	struct webhdfs *w = call->w;
	call->next = NULL;
	call->link = w->queue_end;
	*w->queue_end = call;
	w->queue_end = &call->next;
	call->queued = true;
}

static void
call_free(struct fs_call *call)
{
	free(call->path);
	free(call->to);
	free(call->location);
	free(call);
}

/* ---- answers ---- */

enum fs_class
webhdfs_class(const struct http_answer *answer, char *exception, char *text)
{
	exception[0] = text[0] = '\0';
	if (answer->status >= 200 && answer->status < 300)
		return FS_OK;
	if (answer->status == 0) {
		snprintf(text, TEXT_BYTES, "%s", answer->error);
		return answer->sent ? FS_UNKNOWN : FS_BUSY;
	}
	json_t *root = json_loadb(answer->body, answer->body_len, 0, NULL);
	json_t *remote = json_object_get(root, "RemoteException");
	const char *name = json_string_value(json_object_get(remote, "exception")), *message = json_string_value(json_object_get(remote, "message"));
	snprintf(exception, 128, "%s", name ? name : "");
	size_t line = message ? strcspn(message, "\r\n") : 0;
	snprintf(text, TEXT_BYTES, "HTTP %d%s%s%s%.*s", answer->status, name ? ", " : "", name ? name : "", line ? ": " : "", (int)line, message ? message : "");
	enum fs_class class = retry_class(answer->status, exception, message ? message : "");
	json_decref(root);
	return class;
}

enum fs_class
webhdfs_first_class(const struct http_answer *answer, char *exception, char *text)
{
	if (answer->status != 307 || !answer->location)
		return webhdfs_class(answer, exception, text);
	exception[0] = text[0] = '\0';
	return FS_OK;
}

char *
webhdfs_location(const struct http_answer *answer)
{
	if (answer->location)
		return strdup(answer->location);
	json_t *root = json_loadb(answer->body, answer->body_len, 0, NULL);
	const char *text = json_string_value(json_object_get(root, "Location"));
	char *copy = text ? strdup(text) : NULL;
	json_decref(root);
	return copy;
}

void
webhdfs_failover(struct webhdfs *w, uint32_t tried)
{
	if (w->namenodes < 2 || tried != w->active)
		return;
	w->active = (w->active + 1) % w->namenodes;
	w->near_left = 0;	/* what the other one said is old */
	w->fs.counters.failovers++;
}

/* False: it is none. */
static bool
status_parse(json_t *from, struct fs_status *status)
{
	const json_t *length = json_object_get(from, "length");
	const char *type = json_string_value(json_object_get(from, "type")), *mode = json_string_value(json_object_get(from, "permission"));
	const char *name = json_string_value(json_object_get(from, "pathSuffix")), *owner = json_string_value(json_object_get(from, "owner"));
	*status = (struct fs_status){
		.file_id = (uint64_t)json_integer_value(json_object_get(from, "fileId")),
		.length = (uint64_t)json_integer_value(json_object_get(from, "length")),
		.modified_ms = (uint64_t)json_integer_value(json_object_get(from, "modificationTime")),
		.block_bytes = (uint64_t)json_integer_value(json_object_get(from, "blockSize")),
		.replication = (uint32_t)json_integer_value(json_object_get(from, "replication")),
		.mode = (uint16_t)(mode ? strtoul(mode, NULL, 8) : 0),
		.directory = type && strcmp(type, "DIRECTORY") == 0,
		.name = name ? name : "", .owner = owner ? owner : "",
	};
	return type && json_is_integer(length) && json_integer_value(length) >= 0;
}

/* Calls `done` with what a 200 says. False: it does not say it. */
static bool
answer_tell(struct fs_call *call, const struct http_answer *http)
{
	struct fs_answer answer = { .exception = "", .text = "", .status = { .name = "", .owner = "" } };
	if (call->op == FS_READ) {
		answer.bytes = (const uint8_t *)http->body;
		answer.len = http->body_len;
		if (http->body_cut) {
			answer.class = FS_FAILED;
			answer.text = "the file is larger than what may be read at a time";
			answer.len = 0;
		}
		call->done(call->context, &answer);
		return true;
	}
	json_t *root = json_loadb(http->body, http->body_len, 0, NULL), *part;
	bool good = root != NULL || call->op == FS_CONCAT;
	struct fs_status *list = NULL;
	switch (call->op) {
	case FS_STAT:
		good = status_parse(json_object_get(root, "FileStatus"), &answer.status);
		break;
	case FS_LIST: {
		json_t *batch = json_object_get(root, "DirectoryListing");
		answer.list_left = (size_t)json_integer_value(json_object_get(batch, "remainingEntries"));
		part = json_object_get(json_object_get(batch ? json_object_get(batch, "partialListing") : root, "FileStatuses"), "FileStatus");
		size_t told = json_array_size(part);
		good = json_is_array(part) && (list = calloc(told + 1, sizeof *list));
		for (size_t i = 0; good && i < told; i++) {
			struct fs_status *one = &list[answer.list_count];
			good = status_parse(json_array_get(part, i), one) && json_is_string(json_object_get(json_array_get(part, i), "pathSuffix"));
			if (good && call->to && strcmp(one->name, call->to) <= 0)
				answer.list_before++;	/* HttpFS tells the whole directory */
			else
				answer.list_count++;
		}
		answer.list = list;
		break;
	}
	case FS_MKDIRS: case FS_RENAME: case FS_DELETE:
		part = json_object_get(root, "boolean");
		good = json_is_boolean(part);
		answer.yes = json_is_true(part);
		break;
	case FS_SUMMARY:
		part = json_object_get(root, "ContentSummary");
		good = json_is_integer(json_object_get(part, "length"));
		answer.summary = (struct fs_summary){
			.length = (uint64_t)json_integer_value(json_object_get(part, "length")),
			.space = (uint64_t)json_integer_value(json_object_get(part, "spaceConsumed")),
			.files = (uint64_t)json_integer_value(json_object_get(part, "fileCount")),
			.directories = (uint64_t)json_integer_value(json_object_get(part, "directoryCount")),
			.name_quota = json_integer_value(json_object_get(part, "quota")),
			.space_quota = json_integer_value(json_object_get(part, "spaceQuota")),
		};
		break;
	case FS_REPLICAS: {
		const json_t *block;
		size_t i;
		part = json_object_get(json_object_get(root, "BlockLocations"), "BlockLocation");
		good = json_is_array(part);
		answer.replicas = UINT32_MAX;
		json_array_foreach (part, i, block) {
			size_t count = json_array_size(json_object_get(block, "hosts"));
			answer.replicas = count < answer.replicas ? (uint32_t)count : answer.replicas;
		}
		break;
	}
	case FS_CONCAT: case FS_READ:
		break;
	}
	if (good)
		call->done(call->context, &answer);
	json_decref(root);
	free(list);
	return good;
}

/* ---- calls ---- */

static void
call_fail(struct fs_call *call, enum fs_class class, const char *exception, const char *text)
{
	struct fs_answer answer = { .class = class, .exception = exception, .text = text, .status = { .name = "", .owner = "" } };
	call->done(call->context, &answer);
	call_free(call);
}

static bool
op_repeatable(enum fs_op op)
{
	return op != FS_RENAME && op != FS_CONCAT;
}

/* Ends the try; true: there will be another. */
static bool
call_again(struct fs_call *call, enum fs_class class, const char *exception)
{
	struct webhdfs *w = call->w;
	uint64_t now_ns = clock_now_ns(w->fs.clock);
	if (class == FS_UNKNOWN)
		w->fs.counters.lost_answers++;
	if (class == FS_LOGIN && w->login && call->logins++ == 0 && login_refused(w->login, now_ns)) {
		call->due_ns = now_ns;	/* with a new token, once */
		call_queue(call);
		return true;
	}
	bool again = class == FS_BUSY || (class == FS_UNKNOWN && op_repeatable(call->op));
	if (!again || call->once)
		return false;
	/* Of a DataNode's trouble the NameNode is innocent. */
	if (retry_elsewhere(exception) || (!call->location && (class == FS_UNKNOWN || !exception[0])))
		webhdfs_failover(w, call->namenode);
	uint64_t pause_ns = retry_pause_ns(++call->tries, &w->seed);
	/* The other NameNode is asked at once, once each. */
	if (call->tries < w->namenodes)
		pause_ns = 0;
	else if (!w->retry_ns || now_ns + pause_ns - call->begun_ns > w->retry_ns)
		return false;
	w->fs.counters.retries++;
	free(call->location);
	call->location = NULL;
	call->due_ns = now_ns + pause_ns;
	call_queue(call);
	return true;
}

static void
call_ended(void *context, const struct http_answer *http)
{
	struct fs_call *call = context;
	char exception[128], text[TEXT_BYTES];
	call->http = NULL;
	call_unlink(call);
	bool first = call->op == FS_READ && !call->location;
	enum fs_class class = first ? webhdfs_first_class(http, exception, text) : webhdfs_class(http, exception, text);
	if (class == FS_OK && first) {
		if ((call->location = webhdfs_location(http))) {
			call->due_ns = 0;
			call_queue(call);
			return;
		}
		class = FS_FAILED;
		snprintf(text, sizeof text, "HTTP %d without the address of a DataNode", http->status);
	} else if (class == FS_OK) {
		if (answer_tell(call, http)) {
			call_free(call);
			return;
		}
		class = FS_FAILED;
		snprintf(text, sizeof text, "HTTP %d, but not WebHDFS: %.80s", http->status, http->body);
	}
	if (!call_again(call, class, exception))
		call_fail(call, class, exception, text);
}

static bool
call_start(struct fs_call *call)
{
	static const char *const names[] = {
		[FS_STAT] = "GETFILESTATUS", [FS_LIST] = "LISTSTATUS", [FS_MKDIRS] = "MKDIRS", [FS_RENAME] = "RENAME", [FS_DELETE] = "DELETE",
		[FS_READ] = "OPEN", [FS_CONCAT] = "CONCAT", [FS_SUMMARY] = "GETCONTENTSUMMARY",
		[FS_REPLICAS] = "GETFILEBLOCKLOCATIONS",
	};
	static const char *const methods[] = {
		[FS_STAT] = "GET", [FS_LIST] = "GET", [FS_MKDIRS] = "PUT", [FS_RENAME] = "PUT", [FS_DELETE] = "DELETE", [FS_READ] = "GET",
		[FS_CONCAT] = "POST", [FS_SUMMARY] = "GET", [FS_REPLICAS] = "GET",
	};
	struct webhdfs *w = call->w;
	char *url = malloc(URL_BYTES);
	bool spnego = false;
	int n = -ENOMEM;
	if (url && call->location) {
		n = snprintf(url, URL_BYTES, "%s", call->location);
		if ((size_t)n >= URL_BYTES)
			n = -ENOSPC;
	} else if (url) {
		n = webhdfs_url(w, url, call->path, call->op == FS_LIST && call->to ? "LISTSTATUS_BATCH" : names[call->op], &spnego);
		if (n == -EAGAIN) {
			free(url);
			return false;
		}
		char *end = url + n;
		size_t room = n < 0 ? 0 : URL_BYTES - (size_t)n;
		int more = 0;
		if (n < 0)
			;
		else if (call->op == FS_MKDIRS)
			more = snprintf(end, room, "&permission=%o", 0777 & ~w->umask);
		else if (call->op == FS_DELETE)
			more = snprintf(end, room, "&recursive=%s", call->recursive ? "true" : "false");
		else if (call->op == FS_READ && call->length)
			more = snprintf(end, room, "&noredirect=true&offset=%llu&length=%llu", (unsigned long long)call->offset, (unsigned long long)call->length);
		else if (call->op == FS_READ)
			more = snprintf(end, room, "&noredirect=true&offset=%llu", (unsigned long long)call->offset);
		else if (call->to) {
			more = snprintf(end, room, call->op == FS_RENAME ? "&destination=" : call->op == FS_LIST ? "&startAfter=" : "&sources=");
			if (http_escape(call->to, true, end + more, room - (size_t)more))
				n = -ENOSPC;
		}
		if (n >= 0 && (size_t)more >= room)
			n = -ENOSPC;
		call->namenode = w->active;
		w->fs.counters.calls++;
	}
	struct http_request request = {
		.method = methods[call->op], .url = url, .spnego = spnego, .stall_ns = w->call_ns,
		.connect_ns = w->call_ns < 10 * NS_PER_S ? w->call_ns : 10 * NS_PER_S,
		.answer_bytes = call->op == FS_LIST ? LIST_BYTES : call->op == FS_READ ? FS_READ_BYTES + 1 : 0, .done = call_ended, .context = call,
	};
	call_unlink(call);
	call->queued = false;
	if (n > 0)
		call->http = http_begin(w->http, &request);
	free(url);
	if (!call->http) {
		w->flying_count++;	/* as call_unlink will take it away */
		call_link(&w->flying, call);
		call_unlink(call);
		call_fail(call, n == -ENOSPC ? FS_INVALID : FS_FAILED, "", n == -ENOSPC ? "the path is too long" : "no memory for a call");
		return true;
	}
	call_link(&w->flying, call);
	w->flying_count++;
	return true;
}

bool
webhdfs_may_call(struct webhdfs *w, uint64_t now_ns)
{
	if (!w->call_gap_ns)
		return true;
	if (now_ns < w->next_call_ns)
		return false;
	/* A second's worth may come at once. */
	uint64_t from_ns = w->next_call_ns + NS_PER_S < now_ns ? now_ns - NS_PER_S : w->next_call_ns;
	w->next_call_ns = from_ns + w->call_gap_ns;
	return true;
}

bool
webhdfs_login_over(const struct webhdfs *w, uint64_t begun_ns, uint64_t now_ns, char *text)
{
	uint64_t most_ns = w->retry_ns ? w->retry_ns : w->call_ns;
	if (now_ns - begun_ns < most_ns)
		return false;
	snprintf(text, TEXT_BYTES, "no login within %llu s: %.400s", (unsigned long long)(most_ns / NS_PER_S), login_trouble(w->login));
	return true;
}

int
webhdfs_url(struct webhdfs *w, char *url, const char *path, const char *op, bool *spnego)
{
	char who[4096 + 512];
	*spnego = false;
	if (w->login) {
		int rc = login_query(w->login, clock_now_ns(w->fs.clock), who, sizeof who, spnego);
		if (rc)
			return rc;
	} else {
		snprintf(who, sizeof who, "%s", w->user);
	}
	size_t n = (size_t)snprintf(url, URL_BYTES, "%s/webhdfs/v1", w->base[w->active]);
	if (http_escape(path, true, url + n, URL_BYTES - n))
		return -ENOSPC;
	n += strlen(url + n);
	size_t more = (size_t)snprintf(url + n, URL_BYTES - n, "?op=%s%s%s", op, who[0] ? "&" : "", who);
	return n + more < URL_BYTES ? (int)(n + more) : -ENOSPC;
}

static struct fs_call *
web_begin(struct fs *fs, const struct fs_request *request)
{
	struct webhdfs *w = (struct webhdfs *)fs;
	struct fs_call *call = calloc(1, sizeof *call);
	if (!call)
		return NULL;
	*call = (struct fs_call){
		.w = w, .op = request->op, .recursive = request->recursive, .once = request->once, .offset = request->offset, .length = request->length,
		.done = request->done, .context = request->context, .begun_ns = clock_now_ns(fs->clock), .path = strdup(request->path),
		.to = request->to ? strdup(request->to) : NULL,
	};
	size_t need = 1;
	for (uint32_t i = 0; request->op == FS_CONCAT && request->sources[i]; i++)
		need += strlen(request->sources[i]) + 1;
	if (request->op == FS_CONCAT && (call->to = calloc(1, need))) {
		char *end = call->to;
		for (uint32_t i = 0; request->sources[i]; i++)
			end += snprintf(end, need - (size_t)(end - call->to), "%s%s", i ? "," : "", request->sources[i]);
	}
	if (!call->path || ((request->to || request->op == FS_CONCAT) && !call->to)) {
		call_free(call);
		return NULL;
	}
	call_queue(call);
	return call;
}

static void
web_cancel(struct fs_call *call)
{
	if (call->http)
		http_cancel(call->http);
	call_unlink(call);
	call_free(call);
}

static uint64_t
web_step(struct fs *fs)
{
	struct webhdfs *w = (struct webhdfs *)fs;
	uint64_t now_ns = clock_now_ns(fs->clock), due_ns = UINT64_MAX;
	if (w->login)
		due_ns = login_step(w->login, now_ns);
again:
	for (struct fs_call *call = w->queue; call; call = call->next) {
		if (w->flying_count >= FLYING_MAX)
			break;
		if (call->due_ns > now_ns) {
			due_ns = call->due_ns - now_ns < due_ns ? call->due_ns - now_ns : due_ns;
			continue;
		}
		if (!call->location && !webhdfs_may_call(w, now_ns)) {
			due_ns = w->next_call_ns - now_ns < due_ns ? w->next_call_ns - now_ns : due_ns;
			break;
		}
		if (!call_start(call)) {
			char text[TEXT_BYTES];
			if (webhdfs_login_over(w, call->begun_ns, now_ns, text)) {
				call_unlink(call);
				call_fail(call, FS_LOGIN, "", text);
				goto again;
			}
			due_ns = due_ns < 20 * NS_PER_MS ? due_ns : 20 * NS_PER_MS;
			break;
		}
		goto again;
	}
	uint64_t files_ns = webhdfs_files_step(w, now_ns);
	uint64_t http_ns = http_client_step(w->http);
	if (w->queue && w->flying_count < FLYING_MAX && w->queue->due_ns <= now_ns && (!w->call_gap_ns || w->next_call_ns <= now_ns))
		due_ns = due_ns < NS_PER_MS ? due_ns : NS_PER_MS;
	due_ns = files_ns < due_ns ? files_ns : due_ns;
	return http_ns < due_ns ? http_ns : due_ns;
}

static int
web_fd(const struct fs *fs)
{
	return http_client_fd(((const struct webhdfs *)fs)->http);
}

static void
web_close(struct fs *fs)
{
	struct webhdfs *w = (struct webhdfs *)fs;
	while (w->files)
		webhdfs_file_cancel(w->files);
	while (w->queue)
		web_cancel(w->queue);
	while (w->flying)
		web_cancel(w->flying);
	free(w->near_key);
	free(w->near_path);
	free(w->near_location);
	login_close(w->login);
	http_client_close(w->http);
	free(w);
}

static const struct fs_ops web_ops = {
	.name = "webhdfs", .begin = web_begin, .cancel = web_cancel, .file_begin = webhdfs_file_begin, .file_more = webhdfs_file_more,
	.file_end = webhdfs_file_end, .file_cancel = webhdfs_file_cancel, .file_moved_ns = webhdfs_file_moved_ns, .step = web_step, .fd = web_fd,
	.close = web_close,
};

static int
user_fill(struct webhdfs *w, const struct fs_config *config, struct err *err)
{
	const char *name = config->user ? config->user : getenv("HADOOP_USER_NAME");
	char memory[4096], user[200], proxy[200] = "";
	struct passwd entry, *found = NULL;
	if (!name && (getpwuid_r(geteuid(), &entry, memory, sizeof memory, &found) || !found))
		return err_set(err, ENOENT, "this process's user has no name: set HADOOP_USER_NAME");
	if (http_escape(name ? name : found->pw_name, false, user, sizeof user) ||
	    (config->proxy_user && http_escape(config->proxy_user, false, proxy, sizeof proxy)))
		return err_set(err, EINVAL, "the user's name is too long");
	if (proxy[0])
		snprintf(w->user, sizeof w->user, "user.name=%.100s&doas=%.100s", user, proxy);
	else
		snprintf(w->user, sizeof w->user, "user.name=%s", user);
	return 0;
}

int
webhdfs_open(struct fs **made, const struct fs_config *config, const struct hadoop_conf *conf, struct clock *clock, struct err *err)
{
	struct hadoop_place place;
	int rc = hadoop_place(conf, config->uri, config->http_address, &place, err);
	if (rc)
		return rc;
	struct webhdfs *w = calloc(1, sizeof *w);
	if (!w)
		return err_set(err, ENOMEM, "no memory");
	w->fs = (struct fs){ .ops = &web_ops, .clock = clock };
	memcpy(w->fs.service, place.service, sizeof w->fs.service);
	w->queue_end = &w->queue;
	w->namenodes = place.count;
	memcpy(w->base, place.http, sizeof w->base);
	w->replication = (uint32_t)hadoop_conf_number(conf, "dfs.replication", 0);
	w->block_bytes = hadoop_conf_number(conf, "dfs.blocksize", 0);
	const char *umask = hadoop_conf_get(conf, "fs.permissions.umask-mode");
	w->umask = umask ? (uint32_t)strtoul(umask, NULL, 8) & 0777 : 022;
	w->call_ns = config->call_ns ? config->call_ns : CALL_NS;
	w->retry_ns = config->retry_ns;
	w->call_gap_ns = config->calls_per_s ? NS_PER_S / config->calls_per_s : 0;
	w->seed = config->seed ? config->seed : clock_wall_ns(clock) | 1;
	struct http_tls tls = { .ca_file = config->ca_file };
	rc = user_fill(w, config, err);
	if (!rc)
		rc = http_client_open(&w->http, clock, &tls, err);
	if (!rc)
		rc = login_open(&w->login, config, conf, &place, clock, w, err);
	if (rc) {
		http_client_close(w->http);
		free(w);
		return rc;
	}
	*made = &w->fs;
	return 0;
}
