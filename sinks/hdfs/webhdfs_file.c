/* One file on its way to HDFS: step 1 asks the NameNode for a DataNode, step 2 sends it the bytes and hears the answer, which may come
 * before the bytes have ended. What was sent is kept up to KEEP_BYTES, so that a refusal that certainly did nothing (standby, safe mode,
 * a DataNode that is gone) is met by another try. */
#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sinks/hdfs/login.h"
#include "sinks/hdfs/retry.h"
#include "sinks/hdfs/webhdfs.h"

#define KEEP_BYTES (1u << 20)
#define EXCLUDED_BYTES 1024u
#define LOOK_NS (15 * NS_PER_MS)	/* after the last byte; then twice that, and so on */
#define LOOKS_MAX 6u			/* after 1 s the answer is waited for */
#define NEAR_FILES 8u			/* one answer of the NameNode is for so many small files ... */
#define NEAR_NS NS_PER_S		/* ... that begin within this time */

enum file_step { STEP_WAIT, STEP_ASK, STEP_SEND, STEP_EXCLUDE };

struct fs_file {
	struct fs_file *next, **link;
	struct webhdfs *w;
	struct fs_write write;
	char *path, *location;
	enum file_step step;
	struct http_call *http;
	bool ending, near;		/* near: sent to the DataNode of another one's answer */
	bool sent;			/* a DataNode was asked */
	bool ours;			/* a try of ours has made it, and failed behind that: the next one may overwrite it */
	uint32_t tries, namenode, logins;
	uint64_t begun_ns, due_ns, moved_ns;
	uint8_t *kept;
	size_t kept_len, kept_room, replay;
	bool kept_all;			/* `kept` is all that was pulled */
	/* fs_write.early: a DataNode asks the NameNode to close the file, and again 0.4 s later when it was faster than its own report of the last block.
	 * By then the block is complete and the length right, which the NameNode gives a file only after that first question. */
	uint64_t total;			/* bytes of this try */
	uint64_t look_ns;		/* when to look next; 0: not yet */
	uint32_t looks;
	struct fs_call *look;
	bool told;			/* the caller has its answer; this only waits for the server's */
	char excluded[EXCLUDED_BYTES];	/* host:port,... of DataNodes not to be given again */
};

struct fs_file *
webhdfs_file_begin(struct fs *fs, const struct fs_write *write)
{
	struct webhdfs *w = (struct webhdfs *)fs;
	struct fs_file *file = calloc(1, sizeof *file);
	if (!file || !(file->path = strdup(write->path))) {
		free(file);
		return NULL;
	}
	file->w = w;
	file->write = *write;
	file->write.path = file->path;
	file->kept_all = true;
	file->begun_ns = file->moved_ns = clock_now_ns(fs->clock);
	file->next = w->files;
	file->link = &w->files;
	if (file->next)
		file->next->link = &file->next;
	w->files = file;
	return file;
}

void
webhdfs_file_cancel(struct fs_file *file)
{
	if (file->http)
		http_cancel(file->http);
	if (file->look)
		fs_cancel(&file->w->fs, file->look);
	*file->link = file->next;
	if (file->next)
		file->next->link = file->link;
	if (file->w->near_asks == file)
		file->w->near_asks = NULL;
	free(file->path);
	free(file->location);
	free(file->kept);
	free(file);
}

void
webhdfs_file_more(struct fs_file *file)
{
	if (file->step == STEP_SEND && file->http)
		http_body_more(file->http);
}

void
webhdfs_file_end(struct fs_file *file)
{
	file->ending = true;
	webhdfs_file_more(file);
}

uint64_t
webhdfs_file_moved_ns(const struct fs_file *file)
{
	return file->moved_ns;
}

static size_t
file_pull(void *context, void *to, size_t room)
{
	struct fs_file *file = context;
	if (file->told)
		return HTTP_BODY_ABORT;
	file->moved_ns = clock_now_ns(file->w->fs.clock);
	if (file->replay < file->kept_len) {
		size_t n = file->kept_len - file->replay < room ? file->kept_len - file->replay : room;
		memcpy(to, file->kept + file->replay, n);
		file->replay += n;
		file->total += n;
		return n;
	}
	struct chunks *bytes = file->write.bytes;
	if (!bytes->bytes) {
		if (file->ending && file->write.early && file->total)
			file->look_ns = file->moved_ns + LOOK_NS;
		return file->ending ? 0 : HTTP_BODY_LATER;
	}
	size_t n = chunks_take(bytes, to, room);
	file->total += n;
	file->w->fs.counters.bytes_written += n;
	if (file->kept_all && file->kept_len + n <= KEEP_BYTES) {
		if (file->kept_len + n > file->kept_room) {
			size_t more = (file->kept_len + n) * 2 > KEEP_BYTES ? KEEP_BYTES : (file->kept_len + n) * 2;
			uint8_t *grown = realloc(file->kept, more);
			file->kept_all = grown != NULL;
			file->kept = grown ? grown : file->kept;
			file->kept_room = grown ? more : file->kept_room;
		}
		if (file->kept_all) {
			memcpy(file->kept + file->kept_len, to, n);
			file->kept_len += n;
			file->replay = file->kept_len;
		}
	} else {
		file->kept_all = false;
	}
	if (!file->kept_all) {
		free(file->kept);
		file->kept = NULL;
		file->kept_len = file->kept_room = file->replay = 0;
	}
	return n;
}

static void
file_tell(struct fs_file *file, enum fs_class class, const char *exception, const char *text)
{
	struct fs_answer answer = { .class = class, .exception = exception, .text = text, .untouched = !file->sent, .status = { .name = "", .owner = "" } };
	fs_done *done = file->write.done;
	void *context = file->write.context;
	file->http = NULL;
	webhdfs_file_cancel(file);
	done(context, &answer);
}

/* ---- small files side by side ---- */

static void file_send(struct fs_file *file);

static void
near_forget(struct webhdfs *w)
{
	free(w->near_key);
	free(w->near_path);
	free(w->near_location);
	w->near_key = w->near_path = w->near_location = NULL;
}

/* The URL in which an answer names a DataNode, for another path; NULL: it is not to be seen what in it the path is. */
static char *
near_url(const char *location, const char *path, const char *other)
{
	const char *host = strstr(location, "://"), *from = host ? strchr(host + 3, '/') : NULL, *query = from ? strchr(from, '?') : NULL;
	size_t len = query ? (size_t)(query - from) : 0, path_len = strlen(path), n = 0;
	char *plain = malloc(len + 1), *url = malloc(URL_BYTES);
	if (plain && url && len) {
		for (const char *p = from; p < query; n++) {
			unsigned byte;
			bool escaped = *p == '%' && query - p > 2 && sscanf(p + 1, "%2x", &byte) == 1;
			plain[n] = escaped ? (char)byte : *p;
			p += escaped ? 3 : 1;
		}
	}
	size_t before = n > path_len ? n - path_len : 0, head = (size_t)(from - location) + before;
	bool good = before && memcmp(plain, from, before) == 0 && memcmp(plain + before, path, path_len) == 0 && head < URL_BYTES / 2;
	if (good) {
		memcpy(url, location, head);
		good = http_escape(other, true, url + head, URL_BYTES - head) == 0;
	}
	size_t used = good ? strlen(url) : 0;
	good = good && used + strlen(query) < URL_BYTES;
	if (good)
		snprintf(url + used, URL_BYTES - used, "%s", query);
	free(plain);
	if (!good) {
		free(url);
		url = NULL;
	}
	return url;
}

/* `url` is what a NameNode would be asked. True: it need not be asked: the file is on its way, or waits for another one's answer. */
static bool
near_goes(struct fs_file *file, const char *url, uint64_t now_ns)
{
	struct webhdfs *w = file->w;
	const char *key = strchr(url, '?');
	if (!file->write.whole || file->write.append || file->tries || file->logins || file->excluded[0] || !key)
		return false;
	if (w->near_location && w->near_left && now_ns < w->near_until_ns && strcmp(key, w->near_key) == 0) {
		char *location = near_url(w->near_location, w->near_path, file->path);
		if (location) {
			w->near_left--;
			free(file->location);
			file->location = location;
			file->near = true;
			file->namenode = w->active;
			file_send(file);
			return true;
		}
	}
	if (w->near_asks && w->near_asks != file && now_ns - file->begun_ns < NEAR_NS) {
		file->due_ns = now_ns + 2 * NS_PER_MS;
		return true;
	}
	near_forget(w);
	w->near_asks = file;
	w->near_key = strdup(key);
	return false;
}

/* The answer of the one who asked. */
static void
near_told(struct fs_file *file)
{
	struct webhdfs *w = file->w;
	if (w->near_asks != file)
		return;
	w->near_asks = NULL;
	if (!file->location || !w->near_key || !(w->near_path = strdup(file->path)) || !(w->near_location = strdup(file->location))) {
		near_forget(w);
		return;
	}
	w->near_left = NEAR_FILES - 1;
	w->near_until_ns = clock_now_ns(w->fs.clock) + NEAR_NS;
}

static bool
file_again(struct fs_file *file, enum fs_class class, const char *exception)
{
	struct webhdfs *w = file->w;
	uint64_t now_ns = clock_now_ns(w->fs.clock);
	bool asking = file->step == STEP_ASK;	/* step 1 does nothing, so it may be repeated whatever came of it */
	bool again = class == FS_BUSY || class == FS_SPACE || (asking && class == FS_UNKNOWN);
	if (class == FS_LOGIN && w->login && file->logins++ == 0 && login_refused(w->login, now_ns)) {
		file->due_ns = now_ns;
		file->step = STEP_WAIT;
		file->replay = 0;
		return file->kept_all;
	}
	if (!again || !file->kept_all)
		return false;
	if (asking && (class == FS_UNKNOWN || retry_elsewhere(exception) || !exception[0]))
		webhdfs_failover(w, file->namenode);
	else if (!asking && retry_elsewhere(exception))
		webhdfs_failover(w, file->namenode);
	uint64_t pause_ns = retry_pause_ns(++file->tries, &w->seed);
	if (file->tries < w->namenodes)
		pause_ns = 0;
	else if (!w->retry_ns || now_ns + pause_ns - file->begun_ns > w->retry_ns)
		return false;
	w->fs.counters.retries++;
	/* The NameNode has nobody else: what was left out may be back by the next try, and is asked for again if not. */
	if (class == FS_SPACE)
		file->excluded[0] = '\0';
	file->due_ns = now_ns + pause_ns;
	file->step = STEP_WAIT;
	file->replay = 0;
	return true;
}

/* The DataNode's transfer address by its HTTP address, from the NameNode's own page. */
static void
exclude_ended(void *context, const struct http_answer *http)
{
	struct fs_file *file = context;
	file->http = NULL;
	const char *from = strstr(file->location, "://");
	char address[300] = "";
	if (from)
		snprintf(address, sizeof address, "%.*s", (int)strcspn(from + 3, "/"), from + 3);
	json_t *root = http->status == 200 ? json_loadb(http->body, http->body_len, 0, NULL) : NULL;
	const char *text = json_string_value(json_object_get(json_array_get(json_object_get(root, "beans"), 0), "LiveNodes"));
	json_t *nodes = text ? json_loads(text, 0, NULL) : NULL, *node;
	const char *name;
	size_t used = strlen(file->excluded);
	json_object_foreach (nodes, name, node) {
		const char *http_address = json_string_value(json_object_get(node, "infoAddr")), *transfer = json_string_value(json_object_get(node, "xferaddr"));
		if (!http_address || !transfer)
			continue;
		/* By name or by number: the ports are enough where the hosts are written differently. */
		const char *port = strrchr(http_address, ':'), *wanted = strrchr(address, ':');
		size_t host = strcspn(name, ":"), host_wanted = wanted ? (size_t)(wanted - address) : 0;
		bool same = strcmp(http_address, address) == 0 ||
			(port && wanted && strcmp(port, wanted) == 0 && host == host_wanted && memcmp(name, address, host) == 0);
		if (same && used + strlen(transfer) + 2 < sizeof file->excluded && !strstr(file->excluded, transfer))
			snprintf(file->excluded + used, sizeof file->excluded - used, "%s%s", used ? "," : "", transfer);
	}
	json_decref(nodes);
	json_decref(root);
	file->step = STEP_WAIT;
}

static void
exclude_begin(struct fs_file *file)
{
	struct webhdfs *w = file->w;
	char url[512];
	snprintf(url, sizeof url, "%s/jmx?qry=Hadoop:service=NameNode,name=NameNodeInfo", w->base[w->active]);
	file->step = STEP_EXCLUDE;
	file->http = http_begin(w->http, &(struct http_request){ .method = "GET", .url = url, .spnego = w->login != NULL, .stall_ns = w->call_ns,
		.answer_bytes = 64u << 20, .done = exclude_ended, .context = file });
	if (!file->http)
		file->step = STEP_WAIT;
}

static void
look_told(void *context, const struct fs_answer *answer)
{
	struct fs_file *file = context;
	file->look = NULL;
	if ((answer->class != FS_OK && answer->class != FS_MISSING) || file->looks >= LOOKS_MAX)
		return;
	if (answer->class == FS_MISSING || answer->status.length != file->total || !answer->status.file_id) {
		file->look_ns = clock_now_ns(file->w->fs.clock) + (LOOK_NS << file->looks);
		return;
	}
	struct fs_answer whole = { .class = FS_OK, .exception = "", .text = "", .status = answer->status };
	file->told = true;
	file->write.done(file->write.context, &whole);
}

static void
look_begin(struct fs_file *file)
{
	file->look_ns = 0;
	file->looks++;
	file->look = fs_begin(&file->w->fs, &(struct fs_request){ .op = FS_STAT, .path = file->path, .once = true, .done = look_told, .context = file });
}

static void
send_ended(void *context, const struct http_answer *http)
{
	struct fs_file *file = context;
	char exception[128], text[TEXT_BYTES];
	file->http = NULL;
	file->look_ns = 0;
	if (file->look)
		fs_cancel(&file->w->fs, file->look);
	file->look = NULL;
	if (file->told) {
		webhdfs_file_cancel(file);
		return;
	}
	enum fs_class class = webhdfs_class(http, exception, text);
	if (class == FS_OK && http->status != 200 && http->status != 201) {
		class = FS_FAILED;
		snprintf(text, sizeof text, "HTTP %d is no answer to a file", http->status);
	}
	if (class == FS_OK && (!file->ending || file->write.bytes->bytes || file->replay < file->kept_len)) {
		class = FS_FAILED;
		snprintf(text, sizeof text, "HTTP %d before the file had ended", http->status);
	}
	if (class == FS_OK) {
		file_tell(file, FS_OK, "", "");
		return;
	}
	if (class == FS_UNKNOWN)
		file->w->fs.counters.lost_answers++;
	bool gone = http->status == 0 && !http->sent;
	/* No DataNode for its first block: the NameNode has the name by then, and would answer the next try that it is taken. */
	if (class == FS_SPACE && !file->write.append && strstr(text, "could only be"))
		file->ours = true;
	near_forget(file->w);	/* nobody else is sent where this one had trouble */
	if (file_again(file, class, exception)) {
		if (gone)
			exclude_begin(file);
		return;
	}
	file_tell(file, class, exception, text);
}

static void
file_send(struct fs_file *file)
{
	static const char *const headers[] = { "Content-Type: application/octet-stream", NULL };
	struct webhdfs *w = file->w;
	file->step = STEP_SEND;
	file->sent = true;
	file->total = file->look_ns = file->looks = 0;
	file->http = http_begin(w->http, &(struct http_request){
		.method = file->write.append ? "POST" : "PUT", .url = file->location, .headers = headers, .body = file_pull, .stall_ns = w->call_ns,
		.connect_ns = w->call_ns < 10 * NS_PER_S ? w->call_ns : 10 * NS_PER_S, .done = send_ended, .context = file,
	});
	if (!file->http)
		file_tell(file, FS_FAILED, "", "no memory for a call, or a DataNode's address that is none");
}

static void
ask_ended(void *context, const struct http_answer *http)
{
	struct fs_file *file = context;
	char exception[128], text[TEXT_BYTES];
	file->http = NULL;
	enum fs_class class = webhdfs_first_class(http, exception, text);
	if (class == FS_OK) {
		free(file->location);
		file->location = webhdfs_location(http);
		near_told(file);
		if (file->location) {
			file_send(file);
			return;
		}
		class = FS_FAILED;
		snprintf(text, sizeof text, "HTTP %d without the address of a DataNode", http->status);
	}
	near_told(file);
	if (!file_again(file, class, exception))
		file_tell(file, class, exception, text);
}

static void
file_ask(struct fs_file *file, uint64_t now_ns)
{
	struct webhdfs *w = file->w;
	const struct fs_write *write = &file->write;
	char *url = malloc(URL_BYTES);
	bool spnego = false;
	int n = url ? webhdfs_url(w, url, file->path, write->append ? "APPEND" : "CREATE", &spnego) : -ENOMEM;
	if (n == -EAGAIN) {
		char text[TEXT_BYTES];
		free(url);
		if (webhdfs_login_over(w, file->begun_ns, now_ns, text))
			file_tell(file, FS_LOGIN, "", text);
		else
			file->due_ns = now_ns + 20 * NS_PER_MS;
		return;
	}
	if (n > 0) {
		char *end = url + n, *stop = url + URL_BYTES;
		end += snprintf(end, (size_t)(stop - end), "&noredirect=true");
		if (!write->append) {
			uint32_t replication = write->replication ? write->replication : w->replication;
			bool overwrite = write->overwrite || file->ours;
			uint64_t block_bytes = write->block_bytes ? write->block_bytes : w->block_bytes;
			end += snprintf(end, (size_t)(stop - end), "&overwrite=%s&permission=%o", overwrite ? "true" : "false", 0666 & ~w->umask);
			if (write->sync_block)
				end += snprintf(end, (size_t)(stop - end), "&createflag=CREATE%s,SYNC_BLOCK", overwrite ? ",OVERWRITE" : "");
			if (replication)
				end += snprintf(end, (size_t)(stop - end), "&replication=%u", replication);
			if (block_bytes)
				end += snprintf(end, (size_t)(stop - end), "&blocksize=%llu", (unsigned long long)block_bytes);
		}
		if (file->excluded[0] && (size_t)(stop - end) > sizeof file->excluded + 32)
			end += snprintf(end, (size_t)(stop - end), "&excludedatanodes=%s", file->excluded);
		n = end < stop ? (int)(end - url) : -ENOSPC;
	}
	if (n > 0 && !spnego && near_goes(file, url, now_ns)) {
		w->next_call_ns -= w->call_gap_ns < w->next_call_ns ? w->call_gap_ns : 0;	/* no call after all */
		free(url);
		return;
	}
	file->namenode = w->active;
	file->step = STEP_ASK;
	w->fs.counters.calls++;
	if (n > 0)
		file->http = http_begin(w->http, &(struct http_request){ .method = write->append ? "POST" : "PUT", .url = url, .spnego = spnego,
			.stall_ns = w->call_ns, .connect_ns = w->call_ns < 10 * NS_PER_S ? w->call_ns : 10 * NS_PER_S, .done = ask_ended, .context = file });
	free(url);
	if (!file->http)
		file_tell(file, n == -ENOSPC ? FS_INVALID : FS_FAILED, "", n == -ENOSPC ? "the path is too long" : "no memory for a call");
}

uint64_t
webhdfs_files_step(struct webhdfs *w, uint64_t now_ns)
{
	uint64_t due_ns = UINT64_MAX;
again:
	for (struct fs_file *file = w->files; file; file = file->next) {
		if (file->look_ns && file->look_ns <= now_ns)
			look_begin(file);
		else if (file->look_ns)
			due_ns = file->look_ns - now_ns < due_ns ? file->look_ns - now_ns : due_ns;
		if (file->step != STEP_WAIT)
			continue;
		if (file->due_ns > now_ns) {
			due_ns = file->due_ns - now_ns < due_ns ? file->due_ns - now_ns : due_ns;
			continue;
		}
		if (!webhdfs_may_call(w, now_ns)) {
			due_ns = w->next_call_ns - now_ns < due_ns ? w->next_call_ns - now_ns : due_ns;
			break;
		}
		file_ask(file, now_ns);
		goto again;
	}
	return due_ns;
}
