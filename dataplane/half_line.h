/* half_line: the beginning of a frame whose end does not come is made durable as a state record, so that it can be acknowledged: a sender with Nagle's
 * algorithm holds the end back until then, and one whose segment was lost behind it sends nothing else again before.
 *
 * With TLS there are beginnings of two kinds: of a frame, in plaintext, which is noted as any other, and of a record, of which nothing can be read: it is
 * acknowledged when it is as old and all records before it are durable. A record is up to 16 KiB, more than a congestion window at its beginning.
 *
 * It is noted when it is 40 ms old, at once when a hole is behind it, and when it has grown long. When the frame is whole and durable, or the
 * connection ends (an unfinished frame makes no event), the record goes. Records that a killed process left become events at the next start (fragment.h).
 *
 * Owner and thread: the lcore; control opens and closes. */
#ifndef PENSTOCK_DATAPLANE_HALF_LINE_H
#define PENSTOCK_DATAPLANE_HALF_LINE_H

#include "dataplane/flow_record.h"
#include "dataplane/fragment.h"
#include "dataplane/stream.h"

#define HALF_LINE_AGE_NS (UINT64_C(40) * 1000 * 1000)
#define HALF_LINE_LONG_BYTES 8192u

struct ledger_link;

struct half_line {
	struct stream *stream;
	struct half_line *prev, *next;
	uint64_t since_ns, begin;	/* when the frame that begins at `begin` was first seen unfinished */
	uint64_t number, offset;	/* the last note, and where the bytes it holds end, in plaintext */
	uint32_t noted;			/* bytes in it */
	bool listed, urgent;
	bool waiting;			/* the note is not durable yet */
	bool kept;			/* a record is in the ledger */
	/* Of a stream with a flow (flow_record.h). */
	bool place_waiting;		/* a note of where it stands is not durable yet */
	uint64_t place_number, place;
	struct tcp_resume tcp;		/* what its record says of the connection */
	uint16_t queue;
};

struct half_lines {
	struct ledger_link *links[PIPELINE_CHANNELS_MAX];
	struct half_line *first, *last;
	uint32_t waiting;
	bool urgent;
	uint64_t next_ns;
	uint64_t kept_total;		/* notes made */
	struct fragments left;		/* what a killed process had acknowledged */
	struct flow_records flows;
};

/* Links to the durable channels that a source of the ingress's pipeline requires. 0, or -ENOMEM. */
int half_lines_open(struct half_lines *lines, struct ingress *ingress, struct err *err);
/* Takes over what a killed process left of connections to addresses that are `own`. 0, or -ENOMEM. Control. */
int half_lines_take(struct half_lines *lines, bool (*own)(void *context, const struct address *peer, const struct address *address), void *context,
		    struct err *err);
/* All streams have ended. */
void half_lines_close(struct half_lines *lines);
/* Every turn. */
void half_lines_run(struct half_lines *lines, uint64_t now_ns);

static inline void
half_line_begin(struct half_line *line, struct stream *stream)
{
	*line = (struct half_line){ .stream = stream };
}
/* Its place is behind what its flow's record says, and no event will say so. */
void half_line_lag(struct half_lines *lines, struct half_line *line);
/* The stream took bytes. */
void half_line_fed(struct half_lines *lines, struct half_line *line, uint64_t now_ns);
/* The stream goes on with `len` bytes of an unfinished frame that a record holds; `served`: the record's frame is in the log, so it is to be removed,
 * before the flow's record and mark that say so. */
void half_line_resume(struct half_lines *lines, struct half_line *line, uint32_t len, bool served);
/* Something waits behind it. */
void half_line_hurry(struct half_lines *lines, struct half_line *line, uint64_t now_ns);
/* Before stream_end. leave: the records stay, for the next process. */
void half_line_end(struct half_lines *lines, struct half_line *line, bool leave);

/* ---- flow_record.c ---- */
/* {source, zero byte, peer, own address, flow}: a connection's, as long as it lives. Returns its length. */
#define HALF_LINE_KEY_BYTES 128u
uint16_t half_line_key(const struct stream *stream, uint8_t key[HALF_LINE_KEY_BYTES]);
struct ledger_link *half_line_link(const struct half_lines *lines, const struct stream *stream);

#endif
