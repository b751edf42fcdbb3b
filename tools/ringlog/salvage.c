/* salvage: what is readable of a damaged log, found block by block without trust in the meta file, the chain of groups or a checkpoint.
 *
 * | what stands at a position                                              | we do                                                       |
 * |------------------------------------------------------------------------|-------------------------------------------------------------|
 * | whole block of this log and position, numbers above what we have        | copy it                                                     |
 * | the same with a lower epoch than before, or numbers that we have        | leave it: leftover of a tail that was cut, or written twice  |
 * | whole block in an extent that a fence gave up                          | leave it: it was written again                              |
 * | block of another position or log                                       | leave it: an earlier lap of the segment                      |
 * | anything else between two blocks                                       | report the stretch and the numbers that are missing          |
 * A block counts as doubtful when its group is not whole, or when blocks are missing before it that nothing says were durable: perhaps it
 * was never acknowledged. It is copied all the same. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "tools/ringlog/tool.h"

#define SEGMENT_LEAST (8u << 20)

struct found {
	uint64_t index;
	uint32_t dir;
};

struct salvage {
	const struct tool_args *args;
	struct logio *io;
	struct found *segments;		/* by index */
	uint32_t count, room;
	uint64_t segment_bytes;
	uint8_t log_id[LOG_ID_BYTES];
	bool id_known;
	struct fence *fences;		/* by place */
	uint32_t fence_count;
	uint8_t *block;			/* grows */
	uint32_t block_room;
	uint64_t end, end_number;	/* of what was copied */
	uint32_t epoch;
	uint64_t group_position;	/* of the group we are in */
	uint32_t group_next, group_count;
	uint64_t group_events;		/* copied of a group that is not whole yet */
	bool unsure;			/* a gap came before that group */
	const char *why;		/* what was found first behind `end` */
	uint64_t blocks, events, others, doubtful, missing, stretches, stretch_bytes, leftovers;
	struct out out;
	struct keyring *keys;		/* or NULL */
	const struct checkpoint *settled;	/* or NULL */
	bool to;
};

static int
by_index(const void *a, const void *b)
{
	const struct found *x = a, *y = b;
	return x->index < y->index ? -1 : x->index > y->index;
}

static int
segments_find(struct salvage *s, struct err *err)
{
	for (uint32_t i = 0; i < s->args->dir_count; i++) {
		const char *dir = s->args->dirs[i];
		DIR *d = opendir(dir);
		if (!d)
			return err_set(err, errno, "%s: %s", dir, strerror(errno));
		for (struct dirent *e; (e = readdir(d));) {
			uint64_t index;
			int end = 0;
			struct stat st;
			if (sscanf(e->d_name, "segment-%16" SCNx64 "%n", &index, &end) != 1 || end != 24 || e->d_name[24])
				continue;
			if (s->count == s->room) {
				struct found *more = realloc(s->segments, (s->room = s->room ? 2 * s->room : 64) * sizeof *more);
				if (!more) {
					closedir(d);
					return err_set(err, ENOMEM, "no memory");
				}
				s->segments = more;
			}
			s->segments[s->count++] = (struct found){ .index = index, .dir = i };
			if (fstatat(dirfd(d), e->d_name, &st, 0) == 0 && (uint64_t)st.st_size > s->segment_bytes)
				s->segment_bytes = (uint64_t)st.st_size / BLOCK_ALIGN_BYTES * BLOCK_ALIGN_BYTES;
		}
		closedir(d);
	}
	if (s->count)
		qsort(s->segments, s->count, sizeof *s->segments, by_index);
	return s->segment_bytes ? 0 : err_set(err, ENOENT, "%s: there are no segments here", s->args->dirs[0]);
}

/* The id and the size of segments as the meta file says, when one is whole; else what the blocks and files say. */
static void
meta_read(struct salvage *s)
{
	for (uint32_t i = 0; i < s->args->dir_count && !s->id_known; i++) {
		char path[4200];
		struct log_meta meta;
		snprintf(path, sizeof path, "%s/ringlog.meta", s->args->dirs[i]);
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (read(fd, &meta, sizeof meta) == sizeof meta && meta.magic == META_MAGIC &&
		    meta.crc == crc32c(0, &meta, offsetof(struct log_meta, crc)) && meta.version <= FORMAT_VERSION) {
			memcpy(s->log_id, meta.log_id, LOG_ID_BYTES);
			s->segment_bytes = meta.segment_bytes;
			s->id_known = true;
		}
		close(fd);
	}
	if (!s->id_known)
		fprintf(stderr, "ringlog.meta cannot be read: the log's id is taken from its first whole block\n");
}

static void
stretch(struct salvage *s, uint64_t from, uint64_t to, uint64_t numbers)
{
	s->stretches++;
	s->stretch_bytes += to - from;
	s->missing += numbers;
	const char *why = s->why ? s->why : "nothing there";
	fprintf(stderr, s->args->json ? "{\"unreadable\":{\"from\":%" PRIu64 ",\"to\":%" PRIu64 ",\"numbers\":%" PRIu64 ",\"why\":\"%s\"}}\n" :
		"unreadable: position %" PRIu64 " to %" PRIu64 ", %" PRIu64 " events: %s\n", from, to, numbers, why);
}

static void
group_end(struct salvage *s)
{
	if (s->group_events && (s->group_next != s->group_count || s->unsure))
		s->doubtful += s->group_events;
	s->group_events = 0;
}

/* Extents that were given up after a failed write: their fences stand at the beginning of segments. */
static int
fences_find(struct salvage *s, struct err *err)
{
	s->fences = calloc(s->count, sizeof *s->fences);
	if (!s->fences)
		return err_set(err, ENOMEM, "no memory");
	for (uint32_t i = 0; i < s->count; i++) {
		char path[4200];
		struct logio_file *file;
		const struct block_header *h = (const struct block_header *)s->block;
		uint64_t at = s->segments[i].index * s->segment_bytes;
		snprintf(path, sizeof path, "%s/segment-%016" PRIx64, s->args->dirs[s->segments[i].dir], s->segments[i].index);
		if (s->io->ops->file_open(s->io, path, 0, 0, &file))
			continue;
		if (s->io->ops->read(s->io, file, 0, s->block, BLOCK_ALIGN_BYTES) == 0 && !block_check(s->block, BLOCK_ALIGN_BYTES) &&
		    h->flags & BLOCK_FENCE && h->position == at && h->previous_end < at &&
		    (!s->id_known || !memcmp(h->log_id, s->log_id, LOG_ID_BYTES)))
			s->fences[s->fence_count++] = (struct fence){ .end = h->previous_end, .at = at, .epoch = h->epoch };
		s->io->ops->file_close(s->io, file);
	}
	return 0;
}

static bool
given_up(const struct salvage *s, const struct block_header *h)
{
	for (uint32_t i = 0; i < s->fence_count; i++)
		if (s->fences[i].end <= h->position && h->position < s->fences[i].at && h->epoch <= s->fences[i].epoch)
			return true;
	return false;
}

static int
block_take(struct salvage *s, struct block_header *h, struct err *err)
{
	bool first = s->end == 0, gap = false;
	uint64_t settled = s->settled ? s->settled->number : 0, oldest = s->segments[0].index * s->segment_bytes;
	if (first && s->why && h->position > oldest && h->first_event >= settled)	/* a log's own numbers begin at 0; of one that went round nobody knows */
		stretch(s, oldest, h->position, oldest && !s->settled ? 0 : h->first_event - settled);
	if (!first) {
		uint64_t numbers = h->first_event > s->end_number ? h->first_event - s->end_number : 0;
		uint64_t begin = h->position / s->segment_bytes * s->segment_bytes;
		bool skip = h->position == begin && h->group_index == 0 && h->previous_end == s->end &&
			    (s->end + s->segment_bytes > h->position || h->flags & BLOCK_FENCE);
		if (h->position != s->end && !skip) {
			stretch(s, s->end, h->position, numbers);
			gap = h->durable < h->position && h->durable <= s->end;
		} else if (numbers)
			stretch(s, s->end, s->end, numbers);
	}
	if (h->group_position != s->group_position || h->group_index == 0) {
		group_end(s);
		s->group_position = h->group_position;
		s->group_next = 0;
		s->group_count = h->group_count;
		s->unsure = gap;
	}
	s->group_next = h->group_index == s->group_next ? s->group_next + 1 : UINT32_MAX;
	s->group_events += h->events;
	s->end = h->position + h->bytes;
	s->end_number = h->first_event + h->events;
	s->epoch = h->epoch;
	s->blocks += !(h->flags & BLOCK_FENCE);
	s->events += h->events;
	s->others += h->flags & BLOCK_FENCE ? 0 : h->records - h->events;
	s->why = NULL;
	if (h->flags & BLOCK_FENCE)	/* says where something ended in the old log; the new one has no such place */
		return 0;
	if (!s->to) {
		print_block(stdout, s->block, 0, true, s->args->json);
		return 0;
	}
	return out_block(&s->out, s->block, err);
}

/* Looks at one place. Returns how far to go on, 0: *rc tells of trouble with the output. */
static uint64_t
place_look(struct salvage *s, struct logio_file *file, uint64_t index, uint64_t offset, int *rc, struct err *err)
{
	uint64_t position = index * s->segment_bytes + offset;
	if (s->io->ops->read(s->io, file, offset, s->block, BLOCK_ALIGN_BYTES)) {
		s->why = "cannot be read";
		return BLOCK_ALIGN_BYTES;
	}
	struct block_header *h = (struct block_header *)s->block;
	const char *wrong = block_check_header(s->block);
	if (wrong) {
		if (!s->why && h->magic == BLOCK_MAGIC)
			s->why = wrong;
		return BLOCK_ALIGN_BYTES;
	}
	if (!s->id_known) {
		memcpy(s->log_id, h->log_id, LOG_ID_BYTES);
		s->id_known = true;
	}
	if (h->position != position || memcmp(h->log_id, s->log_id, LOG_ID_BYTES) || offset + h->bytes > s->segment_bytes)
		return BLOCK_ALIGN_BYTES;
	if (h->bytes > s->block_room) {
		uint32_t len = h->bytes;
		uint8_t *more = aligned_alloc(BLOCK_ALIGN_BYTES, len);
		if (!more) {
			*rc = err_set(err, ENOMEM, "no memory for a block of %u bytes", len);
			return 0;
		}
		free(s->block);
		s->block = more;
		s->block_room = len;
	} else if (h->bytes == 0)
		return BLOCK_ALIGN_BYTES;
	if (s->io->ops->read(s->io, file, offset, s->block, BLOCK_ALIGN_BYTES))
		return BLOCK_ALIGN_BYTES;
	h = (struct block_header *)s->block;
	if (s->io->ops->read(s->io, file, offset, s->block, h->bytes)) {
		s->why = "cannot be read";
		return BLOCK_ALIGN_BYTES;
	}
	bool missing, was_sealed = h->cipher != CIPHER_NONE;
	if ((wrong = block_check(s->block, h->bytes)) || (wrong = keyring_unseal(s->keys, s->block, &missing))) {
		s->why = wrong;
		return BLOCK_ALIGN_BYTES;
	}
	if (given_up(s, h) || (s->end && (h->epoch < s->epoch || h->first_event < s->end_number))) {
		s->leftovers++;
		return h->bytes;
	}
	if (s->to && was_sealed && !s->args->active_key) {
		*rc = err_set(err, EINVAL, "the log is encrypted: name the key of the new one with --active-key ALIAS");
		return 0;
	}
	if (s->to && !s->out.log.io) {	/* made with the first good block: it knows the id */
		uint64_t bytes = s->segment_bytes < SEGMENT_LEAST ? SEGMENT_LEAST : s->segment_bytes;
		if ((*rc = out_open(&s->out, s->args, bytes, s->log_id, s->keys, err)))
			return 0;
		if (s->settled)
			s->out.want_number = s->settled->number;
	}
	if (s->to)
		s->out.log.epoch = h->epoch;
	uint64_t len = h->bytes;
	*rc = block_take(s, h, err);
	return *rc ? 0 : len;
}

static int
segment_look(struct salvage *s, const struct found *f, struct err *err)
{
	char path[4200];
	struct logio_file *file;
	snprintf(path, sizeof path, "%s/segment-%016" PRIx64, s->args->dirs[f->dir], f->index);
	int rc = s->io->ops->file_open(s->io, path, 0, 0, &file);
	if (rc) {
		fprintf(stderr, "%s: %s\n", path, strerror(-rc));
		s->why = "a segment cannot be opened";
		return 0;
	}
	for (uint64_t offset = 0; offset < s->segment_bytes && !rc;) {
		uint64_t step = place_look(s, file, f->index, offset, &rc, err);
		offset += step;
	}
	s->io->ops->file_close(s->io, file);
	return rc;
}

/* The newest of the checkpoints in a directory; false when there is none. */
static bool
checkpoint_find(const struct salvage *s, struct checkpoint *best)
{
	static const char *const names[3] = { "checkpoint-0", "checkpoint-1", "checkpoint-soft" };
	bool found = false;
	for (int i = 0; i < 3; i++) {
		char path[4200];
		struct checkpoint c;
		snprintf(path, sizeof path, "%s/%s", s->args->checkpoint, names[i]);
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (read(fd, &c, sizeof c) == sizeof c && c.magic == CHECKPOINT_MAGIC && c.version <= FORMAT_VERSION &&
		    c.crc == crc32c(0, &c, offsetof(struct checkpoint, crc)) && (!s->id_known || !memcmp(c.log_id, s->log_id, LOG_ID_BYTES)) &&
		    c.range_count <= CHECKPOINT_RANGES && (!found || c.serial > best->serial)) {
			*best = c;
			found = true;
		}
		close(fd);
	}
	return found;
}

static void
report(const struct salvage *s, FILE *out)
{
	fprintf(out, s->args->json ? "{\"blocks\":%" PRIu64 ",\"events\":%" PRIu64 ",\"other_records\":%" PRIu64 ",\"doubtful\":%" PRIu64
		",\"missing\":%" PRIu64 ",\"unreadable\":%" PRIu64 ",\"unreadable_bytes\":%" PRIu64 ",\"leftovers\":%" PRIu64
		",\"end_number\":%" PRIu64 "}\n" : "blocks           %" PRIu64 "\nevents           %" PRIu64 "\nother records    %" PRIu64
		"\ndoubtful events  %" PRIu64 "\nmissing events   %" PRIu64 "\nunreadable       %" PRIu64 " stretches, %" PRIu64
		" bytes\nleftover blocks  %" PRIu64 "\nnumbers          to below %" PRIu64 "\n", s->blocks, s->events, s->others, s->doubtful,
		s->missing, s->stretches, s->stretch_bytes, s->leftovers, s->end_number);
}

static enum tool_end
run(const struct tool_args *args, struct err *err)
{
	struct salvage s = { .args = args, .to = args->to, .block_room = 256u << 10, .group_position = UINT64_MAX };
	struct checkpoint *settled = NULL;
	int rc = tool_keys(args, &s.keys, err);
	if (!rc)
		rc = segments_find(&s, err);
	if (rc)
		goto end;
	meta_read(&s);
	s.block = aligned_alloc(BLOCK_ALIGN_BYTES, s.block_room);
	settled = args->checkpoint ? calloc(1, sizeof *settled) : NULL;
	if (!s.block || (args->checkpoint && !settled)) {
		rc = err_set(err, ENOMEM, "no memory");
		goto end;
	}
	if ((rc = ahead_open(&s.io, err)))
		goto end;
	if (settled && !checkpoint_find(&s, settled)) {
		fprintf(stderr, "%s: no whole checkpoint of this log: all events of the new log will be delivered\n", args->checkpoint);
		free(settled);
		settled = NULL;
	}
	rc = fences_find(&s, err);
	s.settled = settled;
	for (uint32_t i = 0; i < s.count && !rc; i++)
		rc = segment_look(&s, &s.segments[i], err);
	group_end(&s);
	if (s.out.log.io)
		rc = out_close(&s.out, rc, settled, err);
	s.io->ops->close(s.io);
	if (!rc)
		report(&s, args->to ? stdout : stderr);
end:
	free(s.block);
	keyring_close(s.keys);
	free(s.segments);
	free(s.fences);
	free(settled);
	return rc ? TOOL_TROUBLE : s.stretches || s.missing || s.doubtful ? TOOL_DAMAGE : TOOL_DONE;
}

const struct tool_command tool_salvage = { .name = "salvage",
	.help = "copies what is readable of a damaged log: to standard output as dump does, or with --to DIR into a new log (DIR/data,\n"
		"           DIR/checkpoint); --checkpoint DIR of the old log: what it had settled stays settled; exit 1 when something is missing",
	.flags = TOOL_TO | TOOL_CHECKPOINT, .run = run };
