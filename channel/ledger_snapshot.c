/* ledger_snapshot: the table as of a position, beside the checkpoint, so that a start need not read the whole log. Two files in turn;
 * a header with the CRC of all that follows is written last, so that a torn snapshot is none. The log alone holds every live record,
 * too: with no good snapshot recovery reads it from its oldest segment.
 *
 * It is written while the writer goes on: a record that changes meanwhile gets a position above the snapshot's, and the scan from
 * there on brings it (or its removal) anyway. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "base/log.h"
#include "channel/ledger_impl.h"

#define CHUNK_BYTES (16u << 20)	/* more than two of the largest records; less where the whole snapshot is less */
#define RECORD_ROOM (LEDGER_VALUE_MAX + LEDGER_KEY_MAX + 64)	/* most bytes of one record */
#define LOCKED_BYTES (64u << 10)	/* copied in one go under the lock */
#define RECORD_HEAD 15u			/* its position and length */
_Static_assert(sizeof(struct ledger_item) >= RECORD_HEAD + 14, "a record takes less in a snapshot than in memory");

static bool
header_valid(const struct ringlog *log, const struct snapshot_header *h)
{
	return h->magic == SNAPSHOT_MAGIC && h->version == FORMAT_VERSION && h->crc == crc32c(0, h, offsetof(struct snapshot_header, crc)) &&
	       !memcmp(h->log_id, log->log_id, LOG_ID_BYTES);
}

/* Records from `bytes` to `end` into the table; returns where the first incomplete one begins. */
static const uint8_t *
records_put(struct ledger_table *t, const uint8_t *at, const uint8_t *end, uint64_t *count, int *rc)
{
	while (at < end && !*rc) {
		uint64_t position, len;
		struct state_record r;
		const uint8_t *p = varint_get(at, end, &position);
		if (!p || !(p = varint_get(p, end, &len)) || len > (uint64_t)(end - p))
			break;
		if (!state_decode(p, (uint32_t)len, &r))
			*rc = -EBADMSG;
		else if (!table_put(t, &r, position))
			*rc = -ENOMEM;
		at = p + len;
		(*count)++;
	}
	return at;
}

static int
snapshot_load(struct ringlog *log, struct logio_file *file, struct snapshot_header *h, struct ledger_table *t, uint8_t *chunk, uint32_t chunk_bytes)
{
	uint64_t at = 0, count = 0;
	uint32_t have = 0, crc = 0;
	struct seal_stream *sealed = NULL;
	int rc = h->cipher == CIPHER_NONE ? 0 : seal_stream_open(&sealed, log->keys, NULL, &h->key_id, h->salt, h->log_id, h, SNAPSHOT_ABOUT);
	if (rc == -EACCES && h->bytes == 0)		/* encryption was given up, and nothing is in it */
		rc = 0;
	while (at < h->bytes && !rc) {
		uint64_t left = h->bytes - at;
		uint32_t room = (chunk_bytes - have) / 4096 * 4096, len = left < room ? (uint32_t)left : room;
		/* Direct reads want aligned memory: what is left of the last chunk ends where the new one begins. */
		uint8_t *to = chunk + (have + 4095) / 4096 * 4096;
		if (to + (len + 4095) / 4096 * 4096 > chunk + chunk_bytes + 4096) {
			rc = -EBADMSG;
			break;
		}
		memmove(to - have, chunk, have);
		rc = log->io->ops->read(log->io, file, 4096 + at, to, (len + 4095) / 4096 * 4096);
		if (rc)
			break;
		crc = crc32c(crc, to, len);
		if (sealed && (rc = seal_stream_run(sealed, to, len)))
			break;
		const uint8_t *end = to + len, *rest = records_put(t, to - have, end, &count, &rc);
		have = (uint32_t)(end - rest);
		if (have > RECORD_ROOM)
			rc = -EBADMSG;
		memmove(chunk, rest, have);
		at += len;
	}
	int forged = seal_stream_end(sealed, h->tag);
	rc = rc ? rc : forged;
	return rc ? rc : have || crc != h->payload_crc || count != h->count ? -EBADMSG : 0;
}

int
snapshots_open(struct snapshots *s, struct ringlog *log, bool create, struct ledger_table *t, struct err *err)
{
	struct snapshot_header *h = aligned_alloc(4096, 2 * sizeof *h);
	uint8_t *chunk = NULL;
	uint32_t chunk_bytes = 0;
	bool good[2] = { false, false };
	int rc = h ? 0 : err_set(err, ENOMEM, "no memory");
	*s = (struct snapshots){ .log = log };
	for (int i = 0; i < 2 && !rc; i++) {
		char path[RINGLOG_PATH_BYTES];
		snprintf(path, sizeof path, "%s/ledger-%d", log->checkpoint_dir, i);
		rc = log->io->ops->file_open(log->io, path, create ? 4096 : 0, create ? LOGIO_CREATE : 0, &s->files[i]);
		if (rc == -ENOENT && !create) {
			rc = 0;
			continue;
		}
		if (rc)
			err_set(err, -rc, "%s: %s", path, strerror(-rc));
		else
			good[i] = !log->io->ops->read(log->io, s->files[i], 0, &h[i], sizeof *h) && header_valid(log, &h[i]);
		if (good[i] && h[i].bytes > chunk_bytes)
			chunk_bytes = h[i].bytes < CHUNK_BYTES ? (uint32_t)(h[i].bytes + 4095) / 4096 * 4096 : CHUNK_BYTES;
	}
	if (!rc && (good[0] || good[1]) && !(chunk = aligned_alloc(4096, chunk_bytes + 8192)))
		rc = err_set(err, ENOMEM, "no memory");
	while (!rc && (good[0] || good[1])) {
		int i = good[1] && (!good[0] || h[1].serial > h[0].serial);
		int bad = snapshot_load(log, s->files[i], &h[i], t, chunk, chunk_bytes);
		if (h[i].serial > s->serial)
			s->serial = h[i].serial;
		if (!bad) {
			s->valid = true;
			s->position = h[i].position;
			s->previous_crc = h[i].previous_crc;
			s->turn = (unsigned)i ^ 1;
			break;
		}
		table_clear(t);
		if (bad == -ENOMEM)
			rc = err_set(err, ENOMEM, "no memory for the ledger");
		log_warn("%s/ledger-%d: %s; the log holds the same records", log->checkpoint_dir, i, bad == -EBADMSG ? "is damaged" :
			 bad == -EACCES ? "its key is not among encryption.keyProvider.keys" : strerror(-bad));
		good[i] = false;
	}
	free(h);
	free(chunk);
	return rc;
}

void
snapshots_close(struct snapshots *s)
{
	for (int i = 0; i < 2; i++)
		if (s->files[i])
			s->log->io->ops->file_close(s->log->io, s->files[i]);
}

/* Whole pages of the chunk go to the file, the rest comes to its front. */
static int
chunk_flush(struct snapshots *s, uint8_t *chunk, uint32_t *used, uint64_t *offset, bool all)
{
	uint32_t len = *used / 4096 * 4096;
	if (all && len < *used) {
		memset(chunk + *used, 0, 4096 - *used % 4096);
		len += 4096;
	}
	int rc = len ? s->log->io->ops->write(s->log->io, s->files[s->turn], *offset, chunk, len, false) : 0;
	*offset += len;
	*used -= all ? *used : len;
	memmove(chunk, chunk + len, *used);
	return rc;
}

int
snapshot_write(struct snapshots *s, struct ledger_table *t, pthread_mutex_t *lock, uint64_t position, uint32_t previous_crc, uint64_t *bytes)
{
	struct snapshot_header *h = aligned_alloc(4096, sizeof *h);
	pthread_mutex_lock(lock);
	/* What a record takes there is less than what it takes in memory, and none is added below `position`. */
	uint32_t used = 0, crc = 0, room = t->bytes < CHUNK_BYTES ? (uint32_t)(t->bytes + 4095) / 4096 * 4096 : CHUNK_BYTES;
	pthread_mutex_unlock(lock);
	uint8_t *chunk = aligned_alloc(4096, room + 4096);
	uint64_t count = 0, total = 0, offset = 4096;
	int rc = h && chunk ? 0 : -ENOMEM;
	struct seal_stream *sealed = NULL;
	if (!rc) {		/* what stands before the records is known but for their count */
		memset(h, 0, sizeof *h);
		*h = (struct snapshot_header){ .magic = SNAPSHOT_MAGIC, .version = FORMAT_VERSION, .serial = s->serial + 1, .position = position,
			.previous_crc = previous_crc };
		memcpy(h->log_id, s->log->log_id, LOG_ID_BYTES);
		if (s->log->active_key) {
			h->cipher = CIPHER_AES_GCM;
			rc = seal_stream_open(&sealed, s->log->keys, s->log->active_key, &h->key_id, h->salt, h->log_id, h, SNAPSHOT_ABOUT);
		}
	}
	bool more = !rc;
	if (!rc) {
		pthread_mutex_lock(lock);
		t->cursors[0] = t->oldest;
		pthread_mutex_unlock(lock);
	}
	while (more && !rc) {
		uint32_t begin = used;
		bool full = false;
		pthread_mutex_lock(lock);
		while ((more = t->cursors[0] && t->cursors[0]->position < position) && used - begin < LOCKED_BYTES) {
			const struct ledger_item *i = t->cursors[0];
			const struct state_record r = { .class = i->class, .key = i->bytes, .key_len = i->key_len, .value = i->bytes + i->key_len,
				.value_len = i->value_len, .order = i->order };
			if ((full = used + RECORD_HEAD + state_bytes_max(&r) > room))
				break;
			uint8_t digits[20], *payload, *at = varint_put(chunk + used, i->position);
			payload = state_encode(at + 5, &r);	/* its length comes before it: 5 bytes at most */
			uint32_t len = (uint32_t)(payload - (at + 5)), digits_len = (uint32_t)(varint_put(digits, len) - digits);
			memcpy(at, digits, digits_len);
			memmove(at + digits_len, at + 5, len);
			used = (uint32_t)(at + digits_len + len - chunk);
			count++;
			t->cursors[0] = i->newer;
		}
		pthread_mutex_unlock(lock);
		if (sealed)
			rc = seal_stream_run(sealed, chunk + begin, used - begin);
		crc = crc32c(crc, chunk + begin, used - begin);
		total += used - begin;
		assert(!full || room == CHUNK_BYTES);
		if (!rc && (!more || full))
			rc = chunk_flush(s, chunk, &used, &offset, !more);
	}
	pthread_mutex_lock(lock);
	t->cursors[0] = NULL;
	pthread_mutex_unlock(lock);
	if (!rc)
		rc = s->log->io->ops->sync(s->log->io, s->files[s->turn]);
	int closed = h && sealed ? seal_stream_end(sealed, h->tag) : 0;
	rc = rc ? rc : closed;
	if (!rc) {
		h->payload_crc = crc;
		h->count = count;
		h->bytes = total;
		h->crc = crc32c(0, h, offsetof(struct snapshot_header, crc));
		rc = s->log->io->ops->write(s->log->io, s->files[s->turn], 0, h, sizeof *h, true);
	}
	free(h);
	free(chunk);
	if (rc)
		return rc;
	s->serial++;
	s->position = position;
	s->previous_crc = previous_crc;
	s->turn ^= 1;
	s->valid = true;
	*bytes = offset;
	return 0;
}
