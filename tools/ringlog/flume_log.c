/* flume_log: see the header. What stands in a data file:
 *
 *   records from offset 0: op byte (7f record, 00 made void by Flume's integrity tool, 80 end), u32 big-endian length, payload
 *   payload (in whole encrypted where the .meta file names a key): three messages, a varint length before each:
 *     header {1 type sfixed32, 2 transaction sfixed64, 3 order sfixed64}, body by type, footer {}
 *   bodies: 1 put {1 event {1 repeated {1 name, 2 value}, 2 body}, 2 CRC-32 of the body sfixed64}, 2 take {1 file sfixed32, 2 offset sfixed32},
 *     3 rollback {}, 4 commit {1 type sfixed32: 1 put, 2 take}
 *
 * The checkpoint file: big-endian int64: [0] version 3, [1] order, [4] 0 when complete; from [1029] on a ring of pointers (file in the high
 * half); checkpoint.meta says where the queue begins in it and how long it is. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "channel/keyring.h"
#include "tools/ringlog/flume_log.h"

#define OP_RECORD 0x7f
#define OP_NOOP 0x00
#define OP_END 0x80
#define CHECKPOINT_HEADER 1029u		/* int64s */
#define NONE UINT32_MAX

struct field {
	uint32_t number;
	uint64_t value;			/* of fixed fields and varints */
	const uint8_t *bytes;		/* of fields with a length */
	uint32_t len;
};

/* The next field of a message: 1, 0 at its end, -1 when the bytes make no sense. */
static int
field_next(const uint8_t **at, const uint8_t *end, struct field *f)
{
	uint64_t tag, n;
	if (*at >= end)
		return 0;
	const uint8_t *p = varint_get(*at, end, &tag);
	if (!p)
		return -1;
	f->number = (uint32_t)(tag >> 3);
	f->value = 0;
	f->bytes = NULL;
	f->len = 0;
	switch (tag & 7) {
	case 0:
		if (!(p = varint_get(p, end, &f->value)))
			return -1;
		break;
	case 1:
		if (end - p < 8)
			return -1;
		memcpy(&f->value, p, 8);
		p += 8;
		break;
	case 2:
		if (!(p = varint_get(p, end, &n)) || n > (uint64_t)(end - p))
			return -1;
		f->bytes = p;
		f->len = (uint32_t)n;
		p += n;
		break;
	case 5: {
		uint32_t v;
		if (end - p < 4)
			return -1;
		memcpy(&v, p, 4);
		f->value = v;
		p += 4;
		break;
	}
	default:
		return -1;
	}
	*at = p;
	return 1;
}

/* A message with its length before it. */
static bool
delimited(const uint8_t **at, const uint8_t *end, const uint8_t **from, const uint8_t **to)
{
	uint64_t n;
	const uint8_t *p = varint_get(*at, end, &n);
	if (!p || n > (uint64_t)(end - p))
		return false;
	*from = p;
	*at = *to = p + n;
	return true;
}

static uint64_t
be64(const uint8_t *at)
{
	uint64_t v = 0;
	for (int i = 0; i < 8; i++)
		v = v << 8 | at[i];
	return v;
}

static bool
room(void **items, uint64_t count, uint64_t *have, size_t size)
{
	if (count < *have)
		return true;
	uint64_t more = *have ? *have * 2 : 1024;
	void *bigger = realloc(*items, more * size);
	if (!bigger)
		return false;
	*items = bigger;
	*have = more;
	return true;
}

static int
file_map(const char *path, int *fd, const uint8_t **bytes, uint64_t *len)
{
	struct stat st;
	*fd = open(path, O_RDONLY | O_CLOEXEC);
	if (*fd < 0)
		return -errno;
	int rc = fstat(*fd, &st) ? -errno : 0;
	*len = rc ? 0 : (uint64_t)st.st_size;
	*bytes = NULL;
	if (!rc && *len) {
		void *map = mmap(NULL, *len, PROT_READ, MAP_PRIVATE, *fd, 0);
		if (map == MAP_FAILED)
			rc = -errno;
		else
			*bytes = map;
	}
	if (rc)
		close(*fd);
	return rc;
}

static void
file_unmap(int fd, const uint8_t *bytes, uint64_t len)
{
	if (bytes)
		munmap((void *)bytes, len);
	close(fd);
}

static int
meta_read(struct flume_file *f, struct err *err)
{
	char path[4200];
	int fd;
	const uint8_t *bytes, *at, *from, *to, *end;
	uint64_t len;
	snprintf(path, sizeof path, "%s.meta", f->path);
	int rc = file_map(path, &fd, &bytes, &len);
	if (rc == -ENOENT) {		/* Flume died while it put the new one in place */
		snprintf(path, sizeof path, "%s.meta.old", f->path);
		rc = file_map(path, &fd, &bytes, &len);
	}
	if (rc)
		return err_set(err, -rc, "%s.meta: %s", f->path, strerror(-rc));
	struct field field, inner;
	uint64_t version = 0, id = 0;
	at = bytes;
	int more = bytes && delimited(&at, bytes + len, &from, &to) ? 1 : -1;
	for (at = from, end = to; more > 0 && (more = field_next(&at, end, &field)) > 0;) {
		if (field.number == 1)
			version = field.value;
		else if (field.number == 2)
			id = field.value;
		else if (field.number == 5 && field.bytes) {
			f->encrypted = true;
			const uint8_t *in = field.bytes, *in_end = in + field.len;
			while (field_next(&in, in_end, &inner) > 0) {
				if (inner.number == 2)
					snprintf(f->key_alias, sizeof f->key_alias, "%.*s", (int)inner.len, (const char *)inner.bytes);
				else if (inner.number == 3 && inner.len == sizeof f->iv)
					memcpy(f->iv, inner.bytes, inner.len);
			}
		}
	}
	file_unmap(fd, bytes, len);
	if (more < 0)
		return err_set(err, EBADMSG, "%s: is no metadata of a Flume log", path);
	if (version != 3)
		return err_set(err, EPROTONOSUPPORT, "%s: version %" PRIu64 " of Flume's file channel; only version 3 is understood: let a Flume "
			       "1.4 or later open the channel once", path, version);
	if (id != f->id)
		return err_set(err, EINVAL, "%s: belongs to log-%" PRIu64, path, id);
	return 0;
}

static int
by_id(const void *a, const void *b)
{
	const struct flume_file *x = a, *y = b;
	return x->id < y->id ? -1 : x->id > y->id;
}

/* A running Flume holds a lock: what it writes meanwhile would be missing. */
static int
lock_look(const char *dir, struct err *err)
{
	char path[4200];
	snprintf(path, sizeof path, "%s/in_use.lock", dir);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return 0;
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int rc = fcntl(fd, F_GETLK, &lock);
	close(fd);
	if (rc == 0 && lock.l_type != F_UNLCK)
		return err_set(err, EBUSY, "%s: is in use by process %d; stop that Flume first", dir, (int)lock.l_pid);
	return 0;
}

static int
dir_open(struct flume_log *log, const char *dir, struct err *err)
{
	int rc = lock_look(dir, err);
	DIR *d = rc ? NULL : opendir(dir);
	if (!d)
		return rc ? rc : err_set(err, errno, "%s: %s", dir, strerror(errno));
	uint32_t found = 0;
	for (struct dirent *e; !rc && (e = readdir(d));) {
		uint32_t id;
		int end = 0;
		if (sscanf(e->d_name, "log-%" SCNu32 "%n", &id, &end) != 1 || e->d_name[end])
			continue;
		struct flume_file *more = realloc(log->files, (log->file_count + 1) * sizeof *more);
		if (!more) {
			rc = err_set(err, ENOMEM, "no memory");
			break;
		}
		log->files = more;
		struct flume_file *f = &log->files[log->file_count];
		memset(f, 0, sizeof *f);
		f->id = id;
		snprintf(f->path, sizeof f->path, "%s/%s", dir, e->d_name);
		if ((rc = file_map(f->path, &f->fd, &f->bytes, &f->len)))
			rc = err_set(err, -rc, "%s: %s", f->path, strerror(-rc));
		else {
			log->file_count++;
			found++;
			rc = meta_read(f, err);
		}
	}
	closedir(d);
	return rc ? rc : found ? 0 : err_set(err, ENOENT, "%s: holds no log-N files; name the data directories of a Flume file channel", dir);
}

static struct flume_file *
file_find(struct flume_log *log, uint32_t id)
{
	struct flume_file key = { .id = id };
	return log->file_count ? bsearch(&key, log->files, log->file_count, sizeof *log->files, by_id) : NULL;
}

/* The payload of the record at an offset: its bytes, NULL with what is wrong. *op tells what stands there. */
static const uint8_t *
record_at(const struct flume_file *f, uint64_t offset, uint8_t *op, uint32_t *len, const char **wrong)
{
	*op = OP_END;
	*wrong = NULL;
	if (offset >= f->len)
		return NULL;
	*op = f->bytes[offset];
	if (*op == OP_END)
		return NULL;
	if (*op != OP_RECORD && *op != OP_NOOP) {
		*wrong = "no operation stands here";
		return NULL;
	}
	if (f->len - offset < 5) {
		*wrong = "the file ends in a record";
		return NULL;
	}
	const uint8_t *at = f->bytes + offset + 1;
	*len = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
	if (*len > f->len - offset - 5) {
		*wrong = "the record is longer than the file";
		return NULL;
	}
	return at + 4;
}

/* The record as it was before Flume encrypted it; good until the next one of this file. NULL: no memory or no key. */
static const uint8_t *
plain(const struct flume_log *log, struct flume_file *f, const uint8_t *bytes, uint32_t len)
{
	if (!f->encrypted)
		return bytes;
	if (len > f->plain_room) {
		free(f->plain);
		f->plain_room = 0;
		if (!(f->plain = malloc(len)))
			return NULL;
		f->plain_room = len;
	}
	return keyring_ctr(log->keys, f->key_alias, f->iv, bytes, len, f->plain) ? NULL : f->plain;
}

static bool
head_read(const uint8_t **at, const uint8_t *end, struct flume_record *r, const uint8_t **body, const uint8_t **body_end)
{
	const uint8_t *from, *to;
	struct field f;
	int more;
	if (!delimited(at, end, &from, &to))
		return false;
	while ((more = field_next(&from, to, &f)) > 0) {
		if (f.number == 1)
			r->type = (uint8_t)f.value;
		else if (f.number == 2)
			r->transaction = (int64_t)f.value;
		else if (f.number == 3)
			r->order = f.value;
	}
	return more == 0 && delimited(at, end, body, body_end);
}

static bool
record_read(const uint8_t *bytes, uint32_t len, struct flume_record *r)
{
	const uint8_t *at = bytes, *body, *end;
	struct field f;
	int more;
	if (!head_read(&at, bytes + len, r, &body, &end) || r->type < 1 || r->type > 4)
		return false;
	if (r->type == 1 || r->type == 3)
		return true;
	while ((more = field_next(&body, end, &f)) > 0) {
		if (r->type == 4 && f.number == 1)
			r->commit_type = (uint8_t)f.value;
		else if (r->type == 2 && f.number == 1)
			r->at.file = (uint32_t)f.value;
		else if (r->type == 2 && f.number == 2)
			r->at.offset = (uint32_t)f.value;
	}
	return more == 0 && (r->type != 4 || r->commit_type == 1 || r->commit_type == 2);
}

static int
file_read(struct flume_log *log, struct flume_file *f, FILE *complain, struct err *err)
{
	uint64_t offset = 0;
	for (;;) {
		uint8_t op;
		uint32_t len;
		const char *wrong;
		const uint8_t *bytes = record_at(f, offset, &op, &len, &wrong);
		struct flume_record r = { .at = { f->id, (uint32_t)offset }, .next = NONE };
		if (!bytes && !wrong)
			return 0;
		if (bytes && op == OP_RECORD && (!(bytes = plain(log, f, bytes, len)) || !record_read(bytes, len, &r)))
			wrong = "the record makes no sense";
		if (wrong) {
			log->bad_stretches++;
			fprintf(complain, "%s: offset %" PRIu64 ": %s; nothing behind it in this file is read\n", f->path, offset, wrong);
			return 0;
		}
		offset += 5 + (uint64_t)len;
		if (op == OP_NOOP) {
			log->noops++;
			continue;
		}
		if (r.order <= log->checkpoint_order && log->checkpoint_order)
			continue;
		if (!room((void **)&log->records, log->record_count, &log->record_room, sizeof r))
			return err_set(err, ENOMEM, "no memory for %" PRIu64 " records", log->record_count);
		log->records[log->record_count++] = r;
	}
}

static int
by_order(const void *a, const void *b)
{
	const struct flume_record *x = a, *y = b;
	return x->order < y->order ? -1 : x->order > y->order;
}

static int
by_place(const void *a, const void *b)
{
	const struct flume_pointer *x = a, *y = b;
	return x->file != y->file ? (x->file < y->file ? -1 : 1) : x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* ---- transactions that are open at a point of the replay: a table by id, chains of records ---- */
struct transaction {
	int64_t id;
	bool used;
	uint32_t put_first, put_last, take_first, take_last;
};

struct transactions {
	struct transaction *slots;
	uint64_t count, mask;
};

static struct transaction *
transaction_slot(struct transactions *t, int64_t id)
{
	uint64_t i = (uint64_t)id * UINT64_C(0x9e3779b97f4a7c15) >> 20 & t->mask;
	while (t->slots[i].used && t->slots[i].id != id)
		i = (i + 1) & t->mask;
	return &t->slots[i];
}

static struct transaction *
transaction_find(struct transactions *t, int64_t id)
{
	if (t->count * 2 > t->mask || !t->slots) {
		struct transactions more = { .mask = t->slots ? t->mask * 2 + 1 : 4095, .count = t->count };
		more.slots = calloc(more.mask + 1, sizeof *more.slots);
		if (!more.slots)
			return NULL;
		for (uint64_t i = 0; t->slots && i <= t->mask; i++)
			if (t->slots[i].used)
				*transaction_slot(&more, t->slots[i].id) = t->slots[i];
		free(t->slots);
		*t = more;
	}
	struct transaction *slot = transaction_slot(t, id);
	if (!slot->used) {
		*slot = (struct transaction){ .id = id, .used = true, .put_first = NONE, .put_last = NONE, .take_first = NONE, .take_last = NONE };
		t->count++;
	}
	return slot;
}

static void
chain(struct flume_log *log, uint32_t *first, uint32_t *last, uint32_t record)
{
	if (*first == NONE)
		*first = record;
	else
		log->records[*last].next = record;
	*last = record;
}

static bool
pointer_add(struct flume_pointer **items, uint64_t *count, uint64_t *have, struct flume_pointer at)
{
	if (!room((void **)items, *count, have, sizeof at))
		return false;
	(*items)[(*count)++] = at;
	return true;
}

static int
replay(struct flume_log *log)
{
	struct transactions open = { 0 };
	bool ok = true;
	if (log->record_count >= NONE)
		return -EFBIG;
	if (log->record_count)
		qsort(log->records, log->record_count, sizeof *log->records, by_order);
	for (uint32_t i = 0; i < log->record_count && ok; i++) {
		struct flume_record *r = &log->records[i];
		struct transaction *t = transaction_find(&open, r->transaction);
		if (!(ok = t))
			break;
		switch (r->type) {
		case 1:
			log->puts++;
			chain(log, &t->put_first, &t->put_last, i);
			break;
		case 2:
			log->takes++;
			chain(log, &t->take_first, &t->take_last, i);
			break;
		case 3:
			log->rollbacks++;
			t->put_first = t->put_last = t->take_first = t->take_last = NONE;
			break;
		default:
			log->commits++;
			for (uint32_t p = t->put_first; p != NONE && ok; p = log->records[p].next)
				ok = pointer_add(&log->queue, &log->queue_count, &log->queue_room, log->records[p].at);
			for (uint32_t p = t->take_first; p != NONE && ok; p = log->records[p].next)
				ok = pointer_add(&log->taken, &log->taken_count, &log->taken_room, log->records[p].at);
			t->put_first = t->put_last = t->take_first = t->take_last = NONE;
			break;
		}
	}
	for (uint64_t i = 0; open.slots && i <= open.mask; i++) {
		for (uint32_t p = open.slots[i].used ? open.slots[i].put_first : NONE; p != NONE; p = log->records[p].next)
			log->open_puts++;
		for (uint32_t p = open.slots[i].used ? open.slots[i].take_first : NONE; p != NONE; p = log->records[p].next)
			log->open_takes++;
	}
	free(open.slots);
	if (!ok)
		return -ENOMEM;
	if (log->taken_count)
		qsort(log->taken, log->taken_count, sizeof *log->taken, by_place);
	uint64_t kept = 0;
	for (uint64_t i = 0; i < log->queue_count; i++)
		if (!log->taken_count || !bsearch(&log->queue[i], log->taken, log->taken_count, sizeof *log->taken, by_place))
			log->queue[kept++] = log->queue[i];
	log->queue_count = kept;
	return 0;
}

/* ---- the checkpoint ---- */

/* inflightputs, inflighttakes: MD5 of the rest, then transaction, count, pointers. They become records of the replay, oldest of all. */
static int
inflight_read(struct flume_log *log, const char *dir, const char *name, uint8_t type, bool queued)
{
	char path[4200];
	int fd;
	const uint8_t *bytes;
	uint64_t len;
	snprintf(path, sizeof path, "%s/%s", dir, name);
	int rc = file_map(path, &fd, &bytes, &len);
	if (rc)
		return rc == -ENOENT ? 0 : rc;
	for (uint64_t at = 16; at + 16 <= len && !rc;) {
		int64_t transaction = (int64_t)be64(bytes + at);
		uint64_t count = be64(bytes + at + 8);
		at += 16;
		if (count > (len - at) / 8) {
			rc = -EBADMSG;
			break;
		}
		for (uint64_t i = 0; i < count && !rc; i++, at += 8) {
			uint64_t pointer = be64(bytes + at);
			struct flume_record r = { .type = type, .transaction = transaction, .next = NONE, .order = log->record_count + 1,
				.at = { (uint32_t)(pointer >> 32), (uint32_t)pointer } };
			if (!room((void **)&log->records, log->record_count, &log->record_room, sizeof r) ||
			    (queued && !pointer_add(&log->queue, &log->queue_count, &log->queue_room, r.at)))
				rc = -ENOMEM;
			else
				log->records[log->record_count++] = r;
		}
	}
	file_unmap(fd, bytes, len);
	return rc;
}

/* Flume keeps takes in flight in a hash set and so delivers them again in no order; we put them back into that of their puts. */
static int
inflight_sort(struct flume_log *log)
{
	struct flume_record *puts = calloc(log->queue_count + 1, sizeof *puts);
	if (!puts)
		return -ENOMEM;
	for (uint64_t i = 0; i < log->queue_count; i++) {
		struct flume_file *f = file_find(log, log->queue[i].file);
		uint8_t op;
		uint32_t len;
		const char *wrong;
		const uint8_t *body, *end, *p = f ? record_at(f, log->queue[i].offset, &op, &len, &wrong) : NULL;
		if (p && (p = plain(log, f, p, len)))
			(void)head_read(&p, p + len, &puts[i], &body, &end);
		puts[i].at = log->queue[i];
	}
	qsort(puts, log->queue_count, sizeof *puts, by_order);
	for (uint64_t i = 0; i < log->queue_count; i++)
		log->queue[i] = puts[i].at;
	free(puts);
	return 0;
}

/* 0: used; 1: not usable, all logs are replayed. */
static int
checkpoint_read(struct flume_log *log, const char *dir, FILE *complain, struct err *err)
{
	char path[4200];
	int fd, meta_fd;
	const uint8_t *bytes, *meta, *at, *from, *to;
	uint64_t len, meta_len, version = 0, order = 0, size = 0, head = 0;
	struct field f;
	const char *wrong = NULL;
	snprintf(path, sizeof path, "%s/checkpoint", dir);
	int rc = file_map(path, &fd, &bytes, &len);
	if (rc) {
		fprintf(complain, "%s: %s; all logs are replayed\n", path, strerror(-rc));
		return 1;
	}
	snprintf(path, sizeof path, "%s/checkpoint.meta", dir);
	rc = file_map(path, &meta_fd, &meta, &meta_len);
	if (rc) {
		fprintf(complain, "%s: %s; all logs are replayed\n", path, strerror(-rc));
		file_unmap(fd, bytes, len);
		return 1;
	}
	at = meta;
	if (!meta || !delimited(&at, meta + meta_len, &from, &to))
		wrong = "makes no sense";
	else
		while (field_next(&from, to, &f) > 0) {
			if (f.number == 1)
				version = f.value;
			else if (f.number == 2)
				order = f.value;
			else if (f.number == 3)
				size = f.value;
			else if (f.number == 4)
				head = f.value;
		}
	uint64_t capacity = len / 8 > CHECKPOINT_HEADER ? len / 8 - CHECKPOINT_HEADER : 0;
	if (!wrong && (version != 3 || !capacity || be64(bytes) != 3))
		wrong = "is of another version";
	else if (!wrong && be64(bytes + 32) != 0)
		wrong = "was being written when Flume ended";
	else if (!wrong && (be64(bytes + 8) != order || size > capacity || head >= capacity))
		wrong = "does not fit to its metadata";
	if (wrong) {
		fprintf(complain, "%s: the checkpoint %s; all logs are replayed\n", dir, wrong);
		rc = 1;
	} else {
		log->checkpoint_order = order;
		rc = inflight_read(log, dir, "inflighttakes", 2, true);		/* they went out last, and come back first */
		if (!rc)
			rc = inflight_sort(log);
		for (uint64_t i = 0; i < size && !rc; i++) {
			uint64_t pointer = be64(bytes + 8 * (CHECKPOINT_HEADER + (head + i) % capacity));
			if (!pointer_add(&log->queue, &log->queue_count, &log->queue_room,
					 (struct flume_pointer){ (uint32_t)(pointer >> 32), (uint32_t)pointer }))
				rc = -ENOMEM;
		}
		if (!rc)
			rc = inflight_read(log, dir, "inflightputs", 1, false);
		if (rc)
			err_set(err, -rc, "%s: the checkpoint: %s", dir, strerror(-rc));
	}
	file_unmap(fd, bytes, len);
	file_unmap(meta_fd, meta, meta_len);
	return rc;
}

int
flume_log_open(struct flume_log *log, const char *const *dirs, uint32_t dir_count, const char *checkpoint, FILE *complain, struct err *err)
{
	struct keyring *keys = log->keys;
	memset(log, 0, sizeof *log);
	log->keys = keys;
	int rc = 0;
	for (uint32_t i = 0; i < dir_count && !rc; i++)
		rc = dir_open(log, dirs[i], err);
	if (rc)
		return rc;
	qsort(log->files, log->file_count, sizeof *log->files, by_id);
	for (uint32_t i = 0; i < log->file_count; i++) {
		if (i && log->files[i].id == log->files[i - 1].id)
			return err_set(err, EINVAL, "%s and %s have the same number: are they of one channel?", log->files[i - 1].path,
				       log->files[i].path);
		uint32_t key_len;
		if (log->files[i].encrypted && (!log->keys || !keyring_key(log->keys, log->files[i].key_alias, &key_len)))
			return err_set(err, EACCES, "%s: is encrypted with key %s; give the key store with --keys FILE --password FILE",
				       log->files[i].path, log->files[i].key_alias);
	}
	if (checkpoint && (rc = checkpoint_read(log, checkpoint, complain, err)) < 0)
		return rc;
	rc = 0;
	for (uint32_t i = 0; i < log->file_count && !rc; i++)
		rc = file_read(log, &log->files[i], complain, err);
	if (!rc && (rc = replay(log)))
		err_set(err, -rc, "%s: %s", dirs[0], strerror(-rc));
	return rc;
}

static int
event_parse(const uint8_t *from, const uint8_t *to, struct flume_event *e, int64_t *checksum)
{
	struct field f, in, pair;
	int more;
	bool seen = false;
	*checksum = -1;
	e->header_count = e->body_len = 0;
	e->body = (const uint8_t *)"";
	while ((more = field_next(&from, to, &f)) > 0) {
		if (f.number == 2)
			*checksum = (int64_t)f.value;
		if (f.number != 1 || !f.bytes)
			continue;
		seen = true;
		const uint8_t *at = f.bytes, *end = at + f.len;
		while ((more = field_next(&at, end, &in)) > 0) {
			if (in.number == 2 && in.bytes) {
				e->body = in.bytes;
				e->body_len = in.len;
			}
			if (in.number != 1 || !in.bytes)
				continue;
			if (e->header_count == e->header_room) {
				uint32_t n = e->header_room ? e->header_room * 2 : 16;
				struct flume_header *bigger = realloc(e->headers, n * sizeof *bigger);
				if (!bigger)
					return -ENOMEM;
				e->headers = bigger;
				e->header_room = n;
			}
			struct flume_header *h = &e->headers[e->header_count++];
			*h = (struct flume_header){ (const uint8_t *)"", (const uint8_t *)"", 0, 0 };
			const uint8_t *p = in.bytes, *p_end = p + in.len;
			while ((more = field_next(&p, p_end, &pair)) > 0) {
				if (pair.number == 1 && pair.bytes) {
					h->name = pair.bytes;
					h->name_len = pair.len;
				} else if (pair.number == 2 && pair.bytes) {
					h->value = pair.bytes;
					h->value_len = pair.len;
				}
			}
			if (more < 0)
				return -EBADMSG;
		}
		if (more < 0)
			return -EBADMSG;
	}
	return more < 0 || !seen ? -EBADMSG : 0;
}

int
flume_log_event(struct flume_log *log, struct flume_pointer at, struct flume_event *event, struct err *err)
{
	struct flume_file *f = file_find(log, at.file);
	struct flume_record r = { 0 };
	uint8_t op;
	uint32_t len;
	const char *wrong;
	if (!f)
		return err_set(err, EBADMSG, "log-%u is not there; name all data directories of the channel", at.file);
	const uint8_t *bytes = record_at(f, at.offset, &op, &len, &wrong), *p, *body, *end;
	if (!bytes || op != OP_RECORD || !(p = bytes = plain(log, f, bytes, len)))
		return err_set(err, EBADMSG, "%s: offset %u: no record", f->path, at.offset);
	int64_t checksum;
	if (!head_read(&p, bytes + len, &r, &body, &end) || r.type != 1 || event_parse(body, end, event, &checksum))
		return err_set(err, EBADMSG, "%s: offset %u: no event", f->path, at.offset);
	if (checksum >= 0 && (uint64_t)checksum != crc32(0, event->body, event->body_len))
		return err_set(err, EBADMSG, "%s: offset %u: the checksum of the body is wrong", f->path, at.offset);
	return 0;
}

void
flume_event_free(struct flume_event *event)
{
	free(event->headers);
}

void
flume_log_close(struct flume_log *log)
{
	for (uint32_t i = 0; i < log->file_count; i++) {
		file_unmap(log->files[i].fd, log->files[i].bytes, log->files[i].len);
		free(log->files[i].plain);
	}
	free(log->files);
	free(log->records);
	free(log->queue);
	free(log->taken);
}
