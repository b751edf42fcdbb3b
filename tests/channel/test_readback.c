/* readback: runs are on their way while one is walked, also for a taker to which others leave only some of the log. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "channel/engine.h"
#include "channel/readback.h"
#include "channel/record.h"

#define BLOCK BLOCK_ALIGN_BYTES
#define RUN (4u << 20)
#define SEGMENT (UINT64_C(1) << 30)

/* A disk whose bytes are empty blocks, made when they are read. */
struct logio_reader {
	struct { uint64_t offset; uint8_t *bytes; uint32_t len; int *status; } reads[LOGIO_READS_MAX];
};
static struct logio_reader reader;
static uint32_t begun, alone;

static int
disk_read(struct logio *io, struct logio_file *file, uint64_t offset, void *bytes, uint32_t len)
{
	(void)io;
	(void)file;
	alone++;
	for (uint32_t at = 0; at < len; at += BLOCK) {
		memset((uint8_t *)bytes + at, 0, BLOCK);
		*(struct block_header *)((uint8_t *)bytes + at) = (struct block_header){ .magic = BLOCK_MAGIC, .version = FORMAT_VERSION, .bytes = BLOCK,
			.position = offset + at, .group_count = 1 };
		block_finish((uint8_t *)bytes + at);
	}
	return 0;
}

static int
disk_reader_open(struct logio *io, struct logio_reader **made)
{
	(void)io;
	*made = &reader;
	return 0;
}

static int
disk_begin(struct logio_reader *r, struct logio_file *file, uint64_t offset, void *bytes, uint32_t len, int *status)
{
	(void)file;
	uint32_t i = 0;
	while (i < LOGIO_READS_MAX && r->reads[i].status)
		i++;
	if (i == LOGIO_READS_MAX)
		return -1;
	r->reads[i].offset = offset;
	r->reads[i].bytes = bytes;
	r->reads[i].len = len;
	r->reads[i].status = status;
	*status = LOGIO_READING;
	begun++;
	return 0;
}

static void
disk_wait(struct logio_reader *r, const int *status)
{
	for (uint32_t i = 0; i < LOGIO_READS_MAX; i++) {
		if (r->reads[i].status != status)
			continue;
		(void)disk_read(NULL, NULL, r->reads[i].offset, r->reads[i].bytes, r->reads[i].len);
		alone--;
		*r->reads[i].status = 0;
		r->reads[i].status = NULL;
	}
}

static void
disk_reader_close(struct logio_reader *r)
{
	memset(r, 0, sizeof *r);
}

static const struct logio_ops disk_ops = {
	.read = disk_read, .reader_open = disk_reader_open, .reader_begin = disk_begin, .reader_wait = disk_wait, .reader_close = disk_reader_close,
};

static void
walk(struct readback *r, uint64_t from, uint64_t end)
{
	for (uint64_t at = from; at < end; at += BLOCK) {
		int trouble = 0;
		struct buffer *b = readback_get(r, at, BLOCK, &trouble);
		assert_non_null(b);
		assert_int_equal(((const struct block_header *)(b->bytes + (at - b->position)))->position, at);
		b->refs--;
	}
}

static void
test_left_to_others(void **state)
{
	(void)state;
	struct logio io = { .ops = &disk_ops };
	struct segment segment = { .index = 0, .file = (struct logio_file *)&io };
	struct ringlog *log = calloc(1, sizeof *log);
	struct engine *e = calloc(1, sizeof *e);
	struct readback r = { .engine = e };
	log->io = e->io = &io;
	log->segment_bytes = SEGMENT;
	log->segments = &segment;
	log->segment_count = 1;
	pthread_mutex_init(&log->lock, NULL);
	pthread_mutex_init(&e->lock, NULL);
	e->log = log;
	e->acked_position = SEGMENT;
	/* Each time, others take what was sent for. */
	for (uint64_t part = 0; part < 6; part++) {
		uint64_t from = part * 16 * RUN;
		begun = 0;
		walk(&r, from, from + 3 * (uint64_t)RUN);
		assert_in_range(begun, 3, 5);
	}
	alone = begun = 0;
	walk(&r, 100 * (uint64_t)RUN, 120 * (uint64_t)RUN);
	assert_in_range(alone, 1, 2);		/* the first block by itself, then the run behind it */
	assert_in_range(begun, 18, 22);
	readback_close(&r);
	pthread_mutex_destroy(&log->lock);
	pthread_mutex_destroy(&e->lock);
	free(log);
	free(e);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_left_to_others) };
	return cmocka_run_group_tests_name("readback", tests, NULL, NULL);
}
