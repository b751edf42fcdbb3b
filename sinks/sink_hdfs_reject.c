/* Events no path can be made for: into a file of their own on this machine, one line each, exactly once where the channel keeps a ledger. What is
 * gathered is noted as INTENT with its place in the file, written, synced, and resolved as set aside; a restart finds the INTENT and sees by
 * the file's length whether it was written. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "sinks/sink_hdfs.h"
#include "sinks/sink_hdfs_ledger.h"

struct hdfs_rejects {
	int fd;
	char path[FS_PATH_BYTES];
	struct out *out;
	void *serializer;
	uint64_t length;			/* of the file */
	struct chunks gathered, writing;	/* lines; writing: those of the INTENT */
	struct run_set gathered_set, writing_set;
	enum { REJECTS_IDLE, REJECTS_INTENT, REJECTS_WRITE, REJECTS_RESOLVE } state;
	bool written;				/* the lines of the INTENT are in the file; else it is abandoned */
	uint64_t number, note, retry_ns;
};

/* The directory part of the path that no escape is in. */
static int
bucket_path(struct hdfs_sink *sink, const char *path, const char *name, struct err *err)
{
	size_t len = strcspn(path, "%");
	while (path[len] && len && path[len - 1] != '/')
		len--;
	while (len && path[len - 1] == '/')
		len--;
	if (asprintf(&sink->reject_path, "%.*s/%s", (int)len, path, name) < 0) {
		sink->reject_path = NULL;
		return err_set(err, ENOMEM, "no memory for the sink");
	}
	return 0;
}

int
rejects_check(const char *name, struct err *err)
{
	if (!name || strchr(name, '/'))
		return 0;
	if (!name[0] || strchr(name, ':') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strlen(name) > 255)
		return err_set(err, EINVAL, "penstock.hdfs.rejects \"%s\": want a local directory (with a '/') or the name of a bucket beside the others", name);
	return 0;
}

int
rejects_open(struct hdfs_sink *sink, const char *path, struct err *err)
{
	const char *directory = sink->config->rejects;
	struct stat stat;
	if (!directory)
		return 0;
	if (!strchr(directory, '/'))
		return bucket_path(sink, path, directory, err);
	struct hdfs_rejects *r = sink->rejects = calloc(1, sizeof *r);
	if (!r)
		return err_set(err, ENOMEM, "no memory for the sink");
	r->fd = -1;
	if ((size_t)snprintf(r->path, sizeof r->path, "%s/%s.rejects", directory, sink->env->name) >= sizeof r->path)
		return err_set(err, ENAMETOOLONG, "penstock.hdfs.rejects: the path is too long");
	r->fd = open(r->path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	if (r->fd < 0 || fstat(r->fd, &stat))
		return err_set(err, errno, "penstock.hdfs.rejects: %s cannot be written: %s; make the directory", r->path, strerror(errno));
	r->length = (uint64_t)stat.st_size;
	if (!(r->out = out_new()))
		return err_set(err, ENOMEM, "no memory for the sink");
	return serializer_header_and_text.open(&r->serializer, &(struct serializer_config){ .append_newline = true }, err);
}

void
rejects_close(struct hdfs_sink *sink)
{
	struct hdfs_rejects *r = sink->rejects;
	free(sink->reject_path);
	if (!r)
		return;
	if (r->serializer)
		serializer_header_and_text.close(r->serializer);
	out_free(r->out);
	chunks_free(&r->gathered);
	chunks_free(&r->writing);
	run_set_free(&r->gathered_set);
	run_set_free(&r->writing_set);
	if (r->fd >= 0)
		close(r->fd);
	free(r);
	sink->rejects = NULL;
}

/* A line of the event's number, headers and body. */
int
rejects_put(struct hdfs_sink *sink, const struct event_view *event)
{
	struct hdfs_rejects *r = sink->rejects;
	char number[32];
	int n = snprintf(number, sizeof number, "%llu ", (unsigned long long)event->number);
	out_reset_chunks(r->out, &r->gathered, 0);
	int rc = out_copy(r->out, number, (size_t)n);
	if (!rc)
		rc = serializer_header_and_text.write(r->serializer, r->out, event);
	if (!rc)
		rc = out_flush(r->out);	/* the event's bytes stay only so long */
	if (!rc)
		rc = run_set_add(&r->gathered_set, event->number);
	if (!rc)
		sink->open_events++;
	return rc;
}

/* The lines go behind what is there, and to the disk. What was written of them otherwise is written over. */
static int
lines_write(struct hdfs_rejects *r)
{
	uint64_t at = r->length;
	for (struct chunks *lines = &r->writing; lines->bytes;) {
		size_t len;
		const uint8_t *front = chunks_front(lines, &len);
		ssize_t n = pwrite(r->fd, front, len, (off_t)at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		at += (uint64_t)n;
		chunks_drop(lines, (size_t)n);
	}
	if (fdatasync(r->fd))
		return -errno;
	r->length = at;
	return 0;
}

static void
lines_end(struct hdfs_sink *sink, bool well)
{
	struct hdfs_rejects *r = sink->rejects;
	uint64_t events = r->writing_set.events;
	chunks_free(&r->writing);
	r->state = REJECTS_IDLE;
	if (well)
		counter_add(&sink->counters.rejected, events);
	else
		sink->pause_until_ns = r->retry_ns = clock_now_ns(sink->env->clock) + 5 * NS_PER_S;
	spans_end(sink, &r->writing_set, well);
}

uint64_t
rejects_step(struct hdfs_sink *sink, uint64_t now_ns)
{
	struct hdfs_rejects *r = sink->rejects;
	int rc;
	if (!r || (r->state == REJECTS_IDLE && !r->gathered_set.events))
		return UINT64_MAX;
	if (now_ns < r->retry_ns)
		return r->retry_ns - now_ns;
	switch (r->state) {
	case REJECTS_IDLE: {
		struct stat stat;
		/* What an earlier run had only begun to write was there when the file was opened, and has been cut off: no hole stands for it. */
		if (fstat(r->fd, &stat) == 0 && (uint64_t)stat.st_size < r->length)
			r->length = (uint64_t)stat.st_size;
		struct run_set empty = r->writing_set;
		r->writing_set = r->gathered_set;
		r->gathered_set = empty;
		r->writing = r->gathered;
		r->gathered = (struct chunks){ 0 };
		r->note = 0;
		r->written = false;
		if (sink->ledger)
			r->number = ledger_file_number(sink->ledger);
		r->state = sink->ledger ? REJECTS_INTENT : REJECTS_WRITE;
		return 0;
	}
	case REJECTS_INTENT:
		if (!r->note && (rc = ledger_reject_note(sink, r->number, &r->writing_set, r->path, r->length, r->writing.bytes, &r->note)))
			r->retry_ns = now_ns + 5 * NS_PER_MS;
		else if (ledger_reject_durable(sink, &r->note))
			r->state = REJECTS_WRITE;
		return NS_PER_MS;
	case REJECTS_WRITE:
		rc = lines_write(r);
		if (rc) {
			static struct log_limit limit;
			log_limited(&limit, LOG_ERROR, "sink %s: %s cannot be written: %s; its events are offered again", sink->env->name, r->path, strerror(-rc));
			(void)!ftruncate(r->fd, (off_t)r->length);
		}
		r->written = rc == 0;
		r->state = REJECTS_RESOLVE;
		return 0;
	case REJECTS_RESOLVE:
		if (sink->ledger && ledger_reject_resolve(sink, r->number, r->written)) {
			r->retry_ns = now_ns + 5 * NS_PER_MS;
			return 5 * NS_PER_MS;
		}
		lines_end(sink, r->written);
		return 0;
	}
	return 0;
}

/* True: something of them is on its way. */
bool
rejects_busy(const struct hdfs_sink *sink)
{
	return sink->rejects && (sink->rejects->state != REJECTS_IDLE || sink->rejects->gathered_set.events);
}

/* The sink ends: what is not decided is offered again, by the next run after its look at the INTENT. */
void
rejects_drop(struct hdfs_sink *sink)
{
	struct hdfs_rejects *r = sink->rejects;
	if (!r)
		return;
	spans_end(sink, &r->gathered_set, false);
	spans_end(sink, &r->writing_set, false);
}

/* What an earlier run meant to put at `offset`: true: it is there whole (and now on the disk); false: nothing of it is there any more. */
bool
rejects_left(const char *path, uint64_t offset, uint64_t bytes)
{
	struct stat stat;
	int fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return false;
	bool whole = fstat(fd, &stat) == 0 && (uint64_t)stat.st_size >= offset + bytes && fdatasync(fd) == 0;
	if (!whole && (uint64_t)stat.st_size > offset)
		(void)!ftruncate(fd, (off_t)offset);
	close(fd);
	return whole;
}
