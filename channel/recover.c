/* recover: from the newest checkpoint forward to the end of the log.
 *
 * E is the end of the last good group. What stands at E decides:
 *
 * | at E                                    | elsewhere                             | what happened             | we do                                  |
 * |-----------------------------------------|---------------------------------------|---------------------------|----------------------------------------|
 * | whole group, chain and epoch follow     | no fence ends the extent at E         | written and perhaps acked | take it, go on behind it               |
 * | anything of the fence's epoch or older  | a whole fence says "ends at E"        | a write failed while      | go on at the fence: what landed at E   |
 * |                                         |                                       | running                   | was written again behind it            |
 * | no group, not a segment's start         | the next segment begins with a group  | it did not fit            | go on there                            |
 * |                                         | that follows                          |                           |                                        |
 * | no group, or none that follows          | a later group's `durable` is above E, | media fault               | damage: report, keep its bytes aside,  |
 * |                                         | or the checkpoint's                   |                           | go on at that group                    |
 * | the sectors cannot be read              | nothing says it was durable           | media fault, perhaps      | damage: report, go on at the next      |
 * |                                         |                                       |                           | segment                                |
 * | the same                                | no whole group, but the checkpoint,   | media fault in the newest | the same, up to what was durable; no   |
 * |                                         | or a later block's header alone, says | group                     | number up to there is given again      |
 * |                                         | that more was durable                 |                           |                                        |
 * | no group, or none that follows          | nothing says it was durable           | torn tail, or leftovers   | cut; keep what is of this log aside;   |
 * |                                         |                                       | of an earlier lap         | epoch + 1, write on at E               |
 * | block of a newer version                |                                       | a newer program wrote     | refuse                                 |
 * | block of another log                    | at a segment's start                  | files were mixed up       | refuse                                 |
 *
 * | checkpoints                              | we do                                                                                            |
 * |------------------------------------------|--------------------------------------------------------------------------------------------------|
 * | one valid at least                       | begin at `durable` of the newest; the backlog below it is read when a sink gets there            |
 * | none valid (first start, or two faults)  | begin at the oldest whole group: much is sent twice                                              |
 * | of another log, or of a newer version    | refuse                                                                                           | */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "base/log.h"
#include "channel/broken.h"
#include "channel/ringlog.h"

#define SEARCH_BYTES (1u << 20)
#define ASIDE_BYTES_MAX (64u << 20)	/* of one stretch */

struct scan {
	struct ringlog *log;
	uint8_t *bytes;			/* of one group, grows */
	uint64_t room;
	uint8_t *search;		/* SEARCH_BYTES */
	const char *wrong;
	bool unreadable;		/* the last read failed */
	bool newer;			/* a block of a version we do not know */
	bool no_key;			/* a block whose key we do not have: key_id */
	uint32_t key_id;
	uint64_t events_end;		/* of the group that group_read read: number behind its last event */
	uint64_t proven, proven_number;	/* group_search: what was durable once, though no whole group follows it, and a number not below its end */
};

static bool
scan_room(struct scan *scan, uint64_t bytes)
{
	if (bytes <= scan->room)
		return true;
	uint8_t *more = aligned_alloc(4096, bytes);
	if (!more)
		return false;
	if (scan->room)
		memcpy(more, scan->bytes, scan->room);
	free(scan->bytes);
	scan->bytes = more;
	scan->room = bytes;
	return true;
}

static const char *
header_wrong(const struct ringlog *log, const struct block_header *h, uint64_t position)
{
	const char *wrong = block_check_header((const uint8_t *)h);
	if (wrong)
		return wrong;
	if (memcmp(h->log_id, log->log_id, LOG_ID_BYTES))
		return "block of another log";
	if (h->position != position && !BROKEN(LAP))
		return "block of another position";
	if (position % log->segment_bytes + h->bytes > log->segment_bytes)
		return "block exceeds its segment";
	return NULL;
}

/* The header says that it is of this log and place, but of a version that we do not read. */
static bool
header_newer(const struct ringlog *log, const struct block_header *h, uint64_t position)
{
	return h->magic == BLOCK_MAGIC && h->version > FORMAT_VERSION && h->position == position &&
	       !memcmp(h->log_id, log->log_id, LOG_ID_BYTES) && crc32c(0, h, offsetof(struct block_header, header_crc)) == h->header_crc;
}

/* A read that fails once is no news. */
static int
read_again(struct scan *scan, uint64_t position, void *bytes, uint32_t len)
{
	int rc = -EIO;
	for (int i = 0; i < 3 && rc == -EIO; i++)
		rc = ringlog_read(scan->log, position, bytes, len);
	scan->unreadable = rc == -EIO;
	return rc;
}

/* Reads and checks the whole group at `position`. Returns its bytes, 0 when there is none; *crc is its group CRC. */
static uint64_t
group_read(struct scan *scan, uint64_t position, uint32_t *crc)
{
	struct ringlog *log = scan->log;
	uint64_t bytes = 0;
	uint32_t count = 1, epoch = 0, chain = 0, group_crc = 0;
	uint64_t end = 0, events = 0;
	for (uint32_t i = 0; i < count; i++) {
		if (!scan_room(scan, bytes + BLOCK_ALIGN_BYTES) || read_again(scan, position + bytes, scan->bytes + bytes, BLOCK_ALIGN_BYTES))
			return scan->wrong = "cannot be read", 0;
		const struct block_header *h = (const struct block_header *)(scan->bytes + bytes);
		scan->newer |= header_newer(log, h, position + bytes);
		if ((scan->wrong = header_wrong(log, h, position + bytes)))
			return 0;
		uint64_t len = h->bytes;
		if (!scan_room(scan, bytes + len) || read_again(scan, position + bytes, scan->bytes + bytes, (uint32_t)len))
			return scan->wrong = "cannot be read", 0;
		h = (const struct block_header *)(scan->bytes + bytes);
		if ((scan->wrong = block_check(scan->bytes + bytes, len)))
			return 0;
		uint32_t key_id = h->key_id, header_crc = h->header_crc;
		bool missing;
		if ((scan->wrong = keyring_unseal(log->keys, scan->bytes + bytes, &missing)) && !(missing && log->sealed_ok)) {
			scan->no_key |= missing;
			scan->key_id = key_id;
			return 0;
		}
		if (i == 0) {
			count = h->group_count;
			epoch = h->epoch;
			chain = h->previous_crc;
			end = h->previous_end;
		} else if (h->first_event != events)
			return scan->wrong = "numbers are not dense", 0;
		if (h->group_index != i || h->group_count != count || (h->group_position != position && !BROKEN(LAP)) || h->epoch != epoch ||
		    h->previous_crc != chain || h->previous_end != end)
			return scan->wrong = "blocks of different groups", 0;
		events = h->first_event + h->events;
		group_crc = crc32c(group_crc, &header_crc, sizeof header_crc);
		bytes += len;
	}
	*crc = group_crc;
	scan->events_end = events;
	return bytes;
}

/* What a block at `position` would be: left over behind where a later start cut the log (a sector of it may have been written since, which
 * can make it whole again), given up behind a fence, or left over where the group at the next segment's start, of the same epoch
 * or a later one, says that it follows a group that ended before. */
static bool
not_counted(struct ringlog *log, uint64_t position, uint32_t epoch)
{
	for (uint32_t i = 0; i < log->fence_count; i++)
		if (log->fences[i].end <= position && position < log->fences[i].at && epoch <= log->fences[i].epoch)
			return true;
	if (epoch < log->cut_epoch && position >= log->cut_position)
		return true;
	uint64_t end;
	uint32_t next;
	return ringlog_segment_begin(log, position / log->segment_bytes + 1, &end, &next) && end <= position && epoch <= next && !BROKEN(LAP);
}

/* The newest fence that ends the extent before it at `end`; 0: none. */
static uint64_t
fence_at(const struct ringlog *log, uint64_t end)
{
	uint64_t at = 0;
	for (uint32_t i = 0; i < log->fence_count; i++)
		if (log->fences[i].end == end && log->fences[i].at > at)
			at = log->fences[i].at;
	return at;
}

int
ringlog_fence_note(struct ringlog *log, uint64_t end, uint64_t at, uint32_t epoch)
{
	if (log->fence_count == log->fence_room) {
		uint32_t room = log->fence_room ? log->fence_room * 2 : 8;
		struct fence *more = realloc(log->fences, room * sizeof *more);
		if (!more)
			return -ENOMEM;
		log->fences = more;
		log->fence_room = room;
	}
	log->fences[log->fence_count++] = (struct fence){ .end = end, .at = at, .epoch = epoch };
	return 0;
}

/* The block at `at`, whose checked header is in scan->search, is of the backlog and its key is not there: told now, not when a sink gets to it. */
static int
key_look(struct scan *scan, uint64_t at, struct err *err)
{
	const struct ringlog *log = scan->log;
	const struct block_header *h = (const struct block_header *)scan->search;
	if (h->cipher == CIPHER_NONE || log->sealed_ok || at < log->checkpoint->position || (log->keys && keyring_has(log->keys, h->key_id)))
		return 0;
	return err_set(err, EACCES, "%s: the block at position %" PRIu64 " is encrypted with a key of id %08x, which is not among "
		       "encryption.keyProvider.keys", log->dirs[0], at, h->key_id);
}

/* What the first group of the segment says that it follows: in the header of its first block, or, where that cannot be read, of its next. */
static void
segment_begin_look(struct scan *scan, struct segment *segment)
{
	struct ringlog *log = scan->log;
	uint64_t begin = segment->index * log->segment_bytes, end = begin + log->segment_bytes;
	const struct block_header *h = (const struct block_header *)scan->search;
	for (uint64_t at = begin; at < end && at < begin + SEARCH_BYTES; at += BLOCK_ALIGN_BYTES) {
		if (ringlog_read(log, at, scan->search, BLOCK_ALIGN_BYTES) || header_wrong(log, h, at))
			continue;
		if (h->group_position == begin) {
			segment->begins = true;
			segment->begin_end = h->previous_end;
			segment->begin_epoch = h->epoch;
		}
		return;
	}
}

/* What somebody can mend is no damage: nothing of the log is given up for it. Else (a file system that is damaged) it is as if its sectors could
 * not be read. */
static int
segment_refused(struct ringlog *log, uint64_t index, struct err *err)
{
	struct logio_file *file;
	int rc = ringlog_segment_open(log, index, &file);
	if (rc != -EACCES && rc != -EPERM && rc != -EMFILE && rc != -ENFILE && rc != -ENOMEM)
		return 0;
	return err_set(err, -rc, "%s/segment-%016" PRIx64 ": cannot be opened: %s%s", log->dirs[index % log->dir_count], index, strerror(-rc),
		       rc == -EMFILE ? " (the log has a file for each segment; see ulimit -n, LimitNOFILE=)" : "");
}

/* Looks at the first block of every segment: finds the fences, refuses segments of other logs. */
static int
segments_look(struct scan *scan, struct err *err)
{
	struct ringlog *log = scan->log;
	uint32_t crc;
	int rc = 0;
	if (log->checkpoint_serial && !ringlog_read(log, log->checkpoint->position, scan->search, BLOCK_ALIGN_BYTES) &&
	    !header_wrong(log, (const struct block_header *)scan->search, log->checkpoint->position))
		rc = key_look(scan, log->checkpoint->position, err);
	for (uint32_t i = 0; i < log->segment_count && !rc; i++) {
		uint64_t at = log->segments[i].index * log->segment_bytes;
		const struct block_header *h = (const struct block_header *)scan->search;
		if ((rc = segment_refused(log, log->segments[i].index, err)))
			return rc;
		segment_begin_look(scan, &log->segments[i]);
		if (ringlog_read(log, at, scan->search, BLOCK_ALIGN_BYTES))
			continue;
		if (header_newer(log, h, at))
			return err_set(err, EPROTONOSUPPORT, "%s: segment %" PRIu64 " has blocks of format version %u, this program knows up to %u",
				       log->dirs[log->segments[i].index % log->dir_count], log->segments[i].index, h->version, FORMAT_VERSION);
		if (block_check_header(scan->search))
			continue;
		if (memcmp(h->log_id, log->log_id, LOG_ID_BYTES))
			return err_set(err, EINVAL, "%s: segment %" PRIu64 " (segment-%016" PRIx64 ") belongs to another log; take it away",
				       log->dirs[log->segments[i].index % log->dir_count], log->segments[i].index, log->segments[i].index);
		if (!header_wrong(log, h, at) && (rc = key_look(scan, at, err)))
			return rc;
		if (BROKEN(FENCE) || !(h->flags & BLOCK_FENCE) || header_wrong(log, h, at) || h->previous_end >= at)
			continue;
		uint64_t end = h->previous_end;
		uint32_t epoch = h->epoch;
		if (group_read(scan, at, &crc) && ringlog_fence_note(log, end, at, epoch))
			return err_set(err, ENOMEM, "no memory");
	}
	return rc;
}

/* The first position at or behind `from` where a whole group stands whose epoch is at least `epoch` and, with `durable`, that was queued
 * when something above `from` was durable already (or lies below what the checkpoint calls durable). UINT64_MAX: none. */
static uint64_t
group_search(struct scan *scan, uint64_t from, uint32_t epoch, bool durable)
{
	struct ringlog *log = scan->log;
	scan->proven = log->checkpoint->durable;
	scan->proven_number = log->checkpoint->durable_number;
	for (uint32_t i = 0; i < log->segment_count; i++) {
		uint64_t begin = log->segments[i].index * log->segment_bytes, end = begin + log->segment_bytes;
		if (end <= from)
			continue;
		uint64_t alone = 0;	/* up to there block by block: a bad sector is in it */
		for (uint64_t at = begin > from ? begin : from; at < end;) {
			uint32_t len = end - at < SEARCH_BYTES ? (uint32_t)(end - at) : SEARCH_BYTES;
			if (at < alone)
				len = BLOCK_ALIGN_BYTES;
			if (ringlog_read(log, at, scan->search, len)) {
				if (len > BLOCK_ALIGN_BYTES)
					alone = at + len;
				else
					at += len;
				continue;
			}
			for (uint32_t o = 0; o < len; o += BLOCK_ALIGN_BYTES) {
				const struct block_header *h = (const struct block_header *)(scan->search + o);
				uint32_t crc;
				if (h->magic != BLOCK_MAGIC || header_wrong(log, h, at + o) || h->epoch < epoch ||
				    not_counted(log, at + o, h->epoch) ||
				    (durable && h->durable <= from && at + o >= log->checkpoint->durable))
					continue;
				if (h->durable > scan->proven && h->durable <= at + o) {
					scan->proven = h->durable;
					scan->proven_number = h->first_event;
				}
				if (!h->group_index && group_read(scan, at + o, &crc))
					return at + o;
			}
			at += len;
		}
	}
	return UINT64_MAX;
}

/* Copies [from, to) into a file of its own, what cannot be read as zeros: the log will write over it one day. */
void
ringlog_aside(struct ringlog *log, uint64_t from, uint64_t to, const char *what)
{
	const struct logio_ops *ops = log->io->ops;
	char path[RINGLOG_PATH_BYTES];
	struct logio_file *file = NULL;
	uint8_t *bytes = aligned_alloc(4096, BLOCK_ALIGN_BYTES);
	bool cut = to - from > ASIDE_BYTES_MAX;
	if (cut)
		to = from + ASIDE_BYTES_MAX;
	snprintf(path, sizeof path, "%s/aside-%016" PRIx64 "-%u", log->dirs[from / log->segment_bytes % log->dir_count], from, log->epoch);
	int rc = bytes ? ops->file_open(log->io, path, to - from, LOGIO_CREATE, &file) : -ENOMEM;
	for (uint64_t at = from; at < to && !rc; at += BLOCK_ALIGN_BYTES) {
		if (ringlog_read(log, at, bytes, BLOCK_ALIGN_BYTES))
			memset(bytes, 0, BLOCK_ALIGN_BYTES);
		rc = ops->write(log->io, file, at - from, bytes, BLOCK_ALIGN_BYTES, false);
	}
	if (!rc)
		rc = ops->sync(log->io, file);
	if (file)
		ops->file_close(log->io, file);
	free(bytes);
	if (rc)
		log_warn("%s: the bytes (%s) could not be kept: %s", path, what, strerror(-rc));
	else
		log_warn("%s: holds the bytes of positions %" PRIu64 " to %" PRIu64 " (%s%s)", path, from, to, what, cut ? "; not all of them" : "");
}

/* What stands there was a header of a block of this log at this place, and is damaged now. */
static bool
header_damaged(const struct ringlog *log, const struct block_header *h, uint64_t position)
{
	bool id = !memcmp(h->log_id, log->log_id, LOG_ID_BYTES);
	return (h->magic == BLOCK_MAGIC) + id + (h->position == position) >= 2 &&
	       (h->magic != BLOCK_MAGIC || crc32c(0, h, offsetof(struct block_header, header_crc)) != h->header_crc);
}

/* The end of what looks like blocks written behind the end of the log in its newest epoch: 0 when there are none. */
static uint64_t
tail_leftover(struct scan *scan, uint64_t end)
{
	struct ringlog *log = scan->log;
	uint64_t stop = (end / log->segment_bytes + 1) * log->segment_bytes, last = 0;
	for (uint64_t at = end; at < stop; at += BLOCK_ALIGN_BYTES) {
		const struct block_header *h = (const struct block_header *)scan->search;
		if (ringlog_read(log, at, scan->search, BLOCK_ALIGN_BYTES))
			continue;
		if (!header_wrong(log, h, at) && h->epoch >= log->epoch && !not_counted(log, at, h->epoch))
			last = at + h->bytes;
		else if (header_damaged(log, h, at))
			last = at + (h->bytes % BLOCK_ALIGN_BYTES == 0 && h->bytes && h->bytes <= stop - at ? h->bytes : BLOCK_ALIGN_BYTES);
		else if (at > end + LOGIO_GROUPS_MAX * (uint64_t)BLOCK_ALIGN_BYTES && at > last + (1u << 20))
			break;
	}
	return last;
}

struct visitor {
	void (*visit)(const struct block_header *block, const uint8_t *bytes, void *context);
	void (*damage)(uint64_t from, uint64_t to, const char *what, void *context);
	void *context;
};

static void
damage_found(struct scan *scan, bool repair, uint64_t from, uint64_t to, const char *wrong, const struct visitor *who)
{
	if (from == to)
		return;
	scan->log->damage_count++;
	scan->log->damage_bytes += to - from;
	if (who->damage)
		who->damage(from, to, wrong, who->context);
	if (repair)
		ringlog_aside(scan->log, from, to, "damaged");
}

/* Between the end of the last good group and the one `found`, all below `durable` was durable once: blocks that are whole by themselves
 * are taken, though their group is not; the rest is damage. */
static void
salvage(struct scan *scan, bool repair, uint64_t from, uint64_t found, uint64_t durable, uint32_t epoch, const char *wrong,
	const struct visitor *who)
{
	struct ringlog *log = scan->log;
	uint64_t bad = from;
	for (uint64_t at = from; at < found;) {
		const struct block_header *h = (const struct block_header *)scan->bytes;
		if (at < durable && scan_room(scan, BLOCK_ALIGN_BYTES) && ringlog_read(log, at, scan->bytes, BLOCK_ALIGN_BYTES) == 0 &&
		    !header_wrong(log, h, at) && h->epoch >= epoch && !not_counted(log, at, h->epoch) && at + h->bytes <= found &&
		    scan_room(scan, h->bytes)) {
			uint32_t len = ((const struct block_header *)scan->bytes)->bytes;
			if (ringlog_read(log, at, scan->bytes, len) == 0 && !block_check(scan->bytes, len)) {
				h = (const struct block_header *)scan->bytes;
				damage_found(scan, repair, bad, at, wrong, who);
				epoch = h->epoch;
				who->visit(h, scan->bytes, who->context);
				bad = at = at + len;
				continue;
			}
		}
		at += BLOCK_ALIGN_BYTES;
	}
	damage_found(scan, repair, bad, found, wrong, who);
}

static int
recover(struct scan *scan, bool repair, void (*visit)(const struct block_header *block, const uint8_t *bytes, void *context),
	void (*damage)(uint64_t from, uint64_t to, const char *what, void *context), void *context, struct err *err)
{
	struct ringlog *log = scan->log;
	const struct checkpoint *c = log->checkpoint;
	bool chained = log->checkpoint_serial != 0;	/* previous_crc is known */
	bool hot = c->durable > c->position;
	uint64_t at = hot ? c->durable : c->position, end, fence;
	uint32_t crc, previous = hot ? c->durable_crc : c->previous_crc, epoch = 0;
	const char *wrong = NULL;
	bool unreadable = false;
	const struct visitor who = { .visit = visit, .damage = damage, .context = context };
	if (chained && at > log->scan_limit) {	/* the ledger's snapshot is older */
		at = log->scan_limit;
		chained = log->scan_chained;
		previous = log->scan_crc;
	}
	end = at;
	if (!log->checkpoint_serial) {
		at = end = group_search(scan, 0, 0, false);
		if (at == UINT64_MAX)
			at = end = 0;
		uint64_t begin = at / log->segment_bytes * log->segment_bytes;
		if (at != begin) {	/* a segment always begins with a group */
			(void)group_read(scan, begin, &crc);
			damage_found(scan, repair, begin, at, scan->wrong, &who);
		}
	}
	log->first_position = at;
	for (;;) {
		uint64_t bytes = group_read(scan, at, &crc);
		if (scan->newer)
			return err_set(err, EPROTONOSUPPORT, "%s: the log has blocks of a newer format at position %" PRIu64
				       ", this program knows up to version %u", log->dirs[0], at, FORMAT_VERSION);
		if (scan->no_key)
			return err_set(err, EACCES, "%s: the block at position %" PRIu64 " is encrypted with a key of id %08x, which is not among "
				       "encryption.keyProvider.keys", log->dirs[0], at, scan->key_id);
		if (at == end) {
			wrong = scan->wrong;
			unreadable = !bytes && scan->unreadable;
		}
		const struct block_header *h = (const struct block_header *)scan->bytes;
		if (bytes && (h->epoch < epoch || not_counted(log, at, h->epoch) ||
			      (chained && !BROKEN(LAP) && (h->previous_crc != previous || h->previous_end != end)))) {
			bytes = 0;
			wrong = "does not follow the group before";
		}
		if (!bytes && at == end && (fence = fence_at(log, end))) {
			at = fence;
			continue;
		}
		if (!bytes) {
			uint64_t next = (end + log->segment_bytes - 1) / log->segment_bytes * log->segment_bytes;
			if (at == end && next != end) {		/* perhaps it did not fit in the segment */
				at = next;
				continue;
			}
			/* damage or the torn tail? */
			uint64_t found = group_search(scan, end, epoch, true), proven = scan->proven;
			if (found == UINT64_MAX && proven > end && proven % BLOCK_ALIGN_BYTES == 0) {
				salvage(scan, repair, end, proven, proven, epoch, wrong, &who);
				at = end = proven;
				chained = proven == c->durable;
				previous = chained ? c->durable_crc : 0;
				log->number_least = scan->proven_number;
				continue;
			}
			if (found == UINT64_MAX && unreadable) {	/* perhaps it was: leave it alone and go on behind it */
				next = (end / log->segment_bytes + 1) * log->segment_bytes;
				damage_found(scan, repair, end, next, wrong, &who);
				end = next;
			}
			if (found == UINT64_MAX)
				break;
			(void)group_read(scan, found, &crc);
			h = (const struct block_header *)scan->bytes;
			salvage(scan, repair, end, found, h->durable > c->durable ? h->durable : c->durable, epoch, wrong, &who);
			at = end = found;
			chained = false;
			continue;
		}
		for (uint64_t o = 0; o < bytes;) {
			h = (const struct block_header *)(scan->bytes + o);
			visit(h, scan->bytes + o, context);
			o += h->bytes;
		}
		epoch = h->epoch;
		if (log->epoch < epoch)
			log->epoch = epoch;
		at = end = at + bytes;
		previous = crc;
		chained = true;
	}
	log->position = end;
	log->previous_crc = previous;
	uint64_t leftover = tail_leftover(scan, end);
	if (leftover) {
		log->cut_bytes = leftover - end;
		if (repair)
			ringlog_aside(log, end, leftover, "torn tail: nothing says that it was durable");
	}
	return 0;
}

int
ringlog_recover(struct ringlog *log, bool repair, void (*visit)(const struct block_header *block, const uint8_t *bytes, void *context),
		void (*damage)(uint64_t from, uint64_t to, const char *what, void *context), void *context, struct err *err)
{
	struct scan scan = { .log = log, .search = aligned_alloc(4096, SEARCH_BYTES) };
	if (!scan.search)
		return err_set(err, ENOMEM, "no memory");
	log->epoch = log->checkpoint->epoch;
	if (log->checkpoint_serial && log->checkpoint->epoch_begin && !BROKEN(LAP)) {
		log->cut_epoch = log->checkpoint->epoch;
		log->cut_position = log->checkpoint->epoch_begin - 1;
	}
	int rc = segments_look(&scan, err);
	if (!rc)
		rc = recover(&scan, repair, visit, damage, context, err);
	free(scan.search);
	free(scan.bytes);
	if (rc || !repair)
		return rc;
	/* What was read may stand in a cache only; from here on it counts as durable. */
	for (uint32_t i = 0; i < log->segment_count && !rc; i++)
		if ((log->segments[i].index + 1) * log->segment_bytes > log->first_position && ringlog_segment(log, log->segments[i].index))
			rc = log->io->ops->sync(log->io, log->segments[i].file);
	if (rc)
		return err_set(err, -rc, "%s: sync: %s", log->dirs[0], strerror(-rc));
	if (!BROKEN(EPOCH))
		log->epoch++;
	log->epoch_begin = log->position;
	return 0;
}

/* The block at `at` is the next of the walk: of the same group, or the first of a group that follows the one before. */
static bool
walk_follows(struct ringlog *log, const struct log_walk *walk, uint64_t at, uint64_t limit, const struct block_header *h)
{
	if (header_wrong(log, h, at) || not_counted(log, at, h->epoch) || at + h->bytes > limit || h->epoch < walk->epoch)
		return false;
	if (walk->lost)
		return true;
	if (walk->index)
		return h->group_index == walk->index && h->group_count == walk->count && h->epoch == walk->epoch && at == walk->position;
	return h->group_index == 0 && h->previous_end == walk->position && (!walk->crc_known || h->previous_crc == walk->crc);
}

/* Where the next group may stand instead: at a fence that ends the extent here, or at the next segment's start, because it did not fit; a
 * torn group may be left here then. 0: it does not; *bad: that could not be read, and is asked again while the caller is patient. Else
 * one read a segment: what is given up there once is not waited for again at each block before it. */
static uint64_t
walk_ahead(struct ringlog *log, struct log_walk *walk, uint64_t limit, bool patient, bool *bad)
{
	uint64_t there = fence_at(log, walk->position);
	if (!there)
		there = (walk->position / log->segment_bytes + 1) * log->segment_bytes;
	if (walk->ahead != there) {
		uint8_t *bytes = aligned_alloc(4096, BLOCK_ALIGN_BYTES);
		if (!bytes)
			return 0;
		const struct block_header *h = (const struct block_header *)bytes;
		int rc = there < limit ? ringlog_read(log, there, bytes, BLOCK_ALIGN_BYTES) : -ENOENT;
		*bad = rc == -EIO && patient;
		walk->ahead = *bad ? 0 : there;
		walk->ahead_ok = rc == 0 && !header_wrong(log, h, there);
		walk->ahead_end = h->previous_end;
		walk->ahead_epoch = h->epoch;
		free(bytes);
	}
	return walk->ahead_ok && walk->ahead_end == walk->position ? there : 0;
}

static int
header_read(struct ringlog *log, uint64_t at, uint8_t *header, const struct ringlog_ahead *ahead)
{
	if (ahead->bytes && at >= ahead->position && at + BLOCK_ALIGN_BYTES <= ahead->position + ahead->len) {
		memcpy(header, ahead->bytes + (at - ahead->position), BLOCK_ALIGN_BYTES);
		return 0;
	}
	return ringlog_read(log, at, header, BLOCK_ALIGN_BYTES);
}

int
ringlog_next(struct ringlog *log, struct log_walk *walk, uint64_t limit, bool patient, uint8_t *header, uint64_t *gap,
	     const struct ringlog_ahead *run)
{
	const struct block_header *h = (const struct block_header *)header;
	uint64_t from = walk->position, at = from;
	walk->lost = false;
	*gap = 0;
	while (at < limit) {
		int rc = header_read(log, at, header, run);
		bool ok = rc == 0 && walk_follows(log, walk, at, limit, h);
		if (rc == -EIO && patient)
			return rc;
		bool bad = false;
		uint64_t ahead = at == from && !walk->index ? walk_ahead(log, walk, limit, patient, &bad) : 0;
		if (bad)
			return -EIO;
		if (ahead && (!ok || walk->ahead_epoch > h->epoch)) {
			if ((rc = header_read(log, ahead, header, run)) == 0 && walk_follows(log, walk, ahead, limit, h)) {
				at = ahead;
				ok = true;
			} else if (rc == -EIO && patient)
				return rc;
			else if (ok && (rc = header_read(log, at, header, run)) == -EIO && patient)
				return rc;
			else
				ok = ok && rc == 0;
		}
		if (!ok) {
			walk->lost = true;
			at += BLOCK_ALIGN_BYTES;
			continue;
		}
		if (walk->lost)
			*gap = at - from;
		if (h->group_index == 0) {
			walk->previous_end = h->previous_end;
			walk->previous_crc = h->previous_crc;
			walk->crc_next = 0;
			walk->crc_whole = true;
		} else if (walk->lost)
			walk->crc_whole = false;
		walk->crc_next = crc32c(walk->crc_next, &h->header_crc, sizeof h->header_crc);
		walk->epoch = h->epoch;
		walk->count = h->group_count;
		walk->index = h->group_index + 1 == h->group_count ? 0 : h->group_index + 1;
		if (!walk->index) {
			walk->crc = walk->crc_next;
			walk->crc_known = walk->crc_whole;
		}
		walk->lost = false;
		walk->position = at + h->bytes;
		return 1;
	}
	*gap = limit - from;
	walk->position = limit;
	return 0;
}
