/* recover: from the newest checkpoint forward to the end of the log; tells a torn tail from damage. */
#include <errno.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "channel/ringlog.h"

#define SEARCH_BYTES (1u << 20)

struct scan {
	struct ringlog *log;
	uint8_t *bytes;			/* of one group, grows */
	uint64_t room;
	uint8_t *search;		/* SEARCH_BYTES */
	const char *wrong;
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
	if (h->position != position)
		return "block of another position";
	if (position % log->segment_bytes + h->bytes > log->segment_bytes)
		return "block exceeds its segment";
	return NULL;
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
		if (!scan_room(scan, bytes + BLOCK_ALIGN_BYTES) || ringlog_read(log, position + bytes, scan->bytes + bytes, BLOCK_ALIGN_BYTES))
			return scan->wrong = "cannot be read", 0;
		const struct block_header *h = (const struct block_header *)(scan->bytes + bytes);
		if ((scan->wrong = header_wrong(log, h, position + bytes)))
			return 0;
		uint64_t len = h->bytes;
		if (!scan_room(scan, bytes + len) || ringlog_read(log, position + bytes, scan->bytes + bytes, (uint32_t)len))
			return scan->wrong = "cannot be read", 0;
		h = (const struct block_header *)(scan->bytes + bytes);
		if ((scan->wrong = block_check(scan->bytes + bytes, len)))
			return 0;
		if (i == 0) {
			count = h->group_count;
			epoch = h->epoch;
			chain = h->previous_crc;
			end = h->previous_end;
		} else if (h->first_event != events)
			return scan->wrong = "numbers are not dense", 0;
		if (h->group_index != i || h->group_count != count || h->group_position != position || h->epoch != epoch ||
		    h->previous_crc != chain || h->previous_end != end)
			return scan->wrong = "blocks of different groups", 0;
		events = h->first_event + h->events;
		group_crc = crc32c(group_crc, &h->header_crc, sizeof h->header_crc);
		bytes += len;
	}
	*crc = group_crc;
	return bytes;
}

/* The first position at or behind `from` where a whole group stands whose epoch is at least `epoch` and, with `durable`, whose `durable`
 * lies above `from`. UINT64_MAX: none. */
static uint64_t
group_search(struct scan *scan, uint64_t from, uint32_t epoch, bool durable)
{
	struct ringlog *log = scan->log;
	for (uint32_t i = 0; i < log->segment_count; i++) {
		uint64_t begin = log->segments[i].index * log->segment_bytes, end = begin + log->segment_bytes;
		if (end <= from)
			continue;
		for (uint64_t at = begin > from ? begin : from; at < end;) {
			uint32_t len = end - at < SEARCH_BYTES ? (uint32_t)(end - at) : SEARCH_BYTES;
			if (ringlog_read(log, at, scan->search, len)) {
				if (len > BLOCK_ALIGN_BYTES)	/* a bad sector: go round it */
					len = BLOCK_ALIGN_BYTES;
				if (ringlog_read(log, at, scan->search, len)) {
					at += len;
					continue;
				}
			}
			for (uint32_t o = 0; o < len; o += BLOCK_ALIGN_BYTES) {
				const struct block_header *h = (const struct block_header *)(scan->search + o);
				uint32_t crc;
				if (h->magic != BLOCK_MAGIC || header_wrong(log, h, at + o) || h->group_index || h->epoch < epoch ||
				    (durable && h->durable <= from))
					continue;
				if (group_read(scan, at + o, &crc))
					return at + o;
			}
			at += len;
		}
	}
	return UINT64_MAX;
}

static int
recover(struct scan *scan, void (*visit)(const struct block_header *block, const uint8_t *bytes, void *context),
	void (*damage)(uint64_t from, uint64_t to, const char *what, void *context), void *context)
{
	struct ringlog *log = scan->log;
	const struct checkpoint *c = log->checkpoint;
	bool chained = log->checkpoint_serial != 0;	/* previous_crc is known */
	uint64_t at = c->position, end = at;
	uint32_t crc, previous = c->previous_crc, epoch = 0;
	const char *wrong = NULL;
	if (!log->checkpoint_serial) {
		at = end = group_search(scan, 0, 0, false);
		if (at == UINT64_MAX)
			at = end = 0;
		uint64_t begin = at / log->segment_bytes * log->segment_bytes;
		if (at != begin) {	/* a segment always begins with a group */
			(void)group_read(scan, begin, &crc);
			log->damage_count++;
			log->damage_bytes += at - begin;
			if (damage)
				damage(begin, at, scan->wrong, context);
		}
	}
	log->first_position = at;
	for (;;) {
		uint64_t bytes = group_read(scan, at, &crc);
		if (at == end)
			wrong = scan->wrong;
		const struct block_header *h = (const struct block_header *)scan->bytes;
		if (bytes && (h->epoch < epoch || (chained && (h->previous_crc != previous || h->previous_end != end)))) {
			bytes = 0;
			wrong = "does not follow the group before";
		}
		if (!bytes) {
			uint64_t next = (end + log->segment_bytes - 1) / log->segment_bytes * log->segment_bytes;
			if (at == end && next != end) {		/* perhaps it did not fit in the segment */
				at = next;
				continue;
			}
			/* damage or the torn tail? */
			uint64_t found = group_search(scan, end, epoch, true);
			if (found == UINT64_MAX)
				break;
			log->damage_count++;
			log->damage_bytes += found - end;
			if (damage)
				damage(end, found, wrong, context);
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
	int rc = recover(&scan, visit, damage, context);
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
	log->epoch++;
	return 0;
}
