/* readback: what one taker reads back from the log: blocks, or runs of them, the next run on its way while one is walked.
 *
 * Thread: the taker's. A buffer stays as it is while it has references; what it held before may still be found in it. */
#ifndef PENSTOCK_CHANNEL_READBACK_H
#define PENSTOCK_CHANNEL_READBACK_H

#include <stdbool.h>
#include <stdint.h>

struct engine;
struct logio_reader;

#define BUFFERS_MAX 64u

struct buffer {			/* a block read back from the log, or a run of them */
	uint8_t *bytes;
	uint32_t room, len, refs;
	int status;			/* LOGIO_READING: on its way; a failure of a read ahead: nothing is in it */
	uint64_t position, checked;	/* blocks of [position, checked) are good */
};

struct readback {
	struct engine *engine;
	struct buffer *buffers[BUFFERS_MAX];
	uint32_t count;
	uint64_t room_bytes;		/* of all buffers */
	uint64_t next_position;		/* behind the block read back last */
	struct logio_reader *reader;	/* made with the first read ahead; NULL before, or when this disk has none */
	bool no_ahead;			/* it could not be made */
	uint64_t broken, broken_end;	/* a run over this could not be read: its blocks are read one by one */
};

/* The buffer that holds the block at `position`, read where need be, one more reference to it. NULL with *trouble: -EAGAIN when open spans
 * hold all buffers, -EIO or -EBADMSG when the log gives nothing good, -EACCES when its key is not there. */
struct buffer *readback_get(struct readback *readback, uint64_t position, uint32_t bytes, int *trouble);
/* The run from `position` on, of which headers are read, and its blocks by readback_get afterwards. NULL: one by one, then. */
struct buffer *readback_run(struct readback *readback, uint64_t position, uint64_t limit);
void readback_close(struct readback *readback);

#endif
