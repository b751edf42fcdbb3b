/* flow_record: connections that outlive the process. A record in the log (class flow) says how TCP stands: sequence numbers, options, timestamps; marks in the
 * blocks say, block by block, up to which byte the connection's events are stored; where no event says so a note of the record does. Nothing
 * behind that byte is acknowledged, so a process that starts again goes on exactly there: no reset, nothing lost, nothing twice.
 *
 * For plain connections with edge durable whose source has one required channel, one with a disk, and can say where it stands (ops->stream_state). Others
 * end with the process, as do those whose record found no room.
 *
 * Owner and thread: the lcore's carrier; control takes over before it runs. */
#ifndef PENSTOCK_DATAPLANE_FLOW_RECORD_H
#define PENSTOCK_DATAPLANE_FLOW_RECORD_H

#include "dataplane/net/tcp.h"
#include "dataplane/stream.h"

struct half_line;
struct half_lines;
struct ledger;
struct ledger_link;

struct flow_ended;

struct flow_records {
	uint64_t last;			/* name given last */
	struct flow_ended *ended;	/* connections whose marks go when their blocks are through */
	uint32_t ended_count, ended_room;
	uint64_t resumed, dropped;
};

/* As the record lies in the log, its order the offset. */
struct flow_record {
	uint64_t flow;
	struct tcp_resume tcp;
	uint32_t state;			/* of the source */
	uint16_t queue;
	uint16_t zero;
};
_Static_assert(sizeof(struct flow_record) == 56, "no gaps");

/* A new connection gets its record, if it can have one: stream->flow is set. */
void flow_record_begin(struct half_lines *lines, struct half_line *line, const struct conn *conn, uint32_t queue);
/* Notes where it stands: all that was eaten is stored or makes no event. 0 or ledger_note's. */
int flow_record_note(struct ledger_link *link, const struct half_line *line, uint64_t *number);
/* Its connection has ended. */
void flow_record_end(struct flow_records *flows, struct ledger_link *link, struct stream *stream);
void flow_records_run(struct flow_records *flows, uint64_t now_ns);
void flow_records_link(struct flow_records *flows, const struct ledger_link *dead, struct ledger_link *link);	/* that lost a note */
void flow_records_free(struct flow_records *flows);

/* Offset up to which the log says that the flow of a half line's key is stored; 0: nothing is known. */
uint64_t flow_record_stored(struct ledger *ledger, const uint8_t *key, uint16_t key_len);

/* The mark of the flow of a half line's key goes. 0 or ledger_remove's. */
int flow_mark_remove(struct ledger_link *link, const uint8_t *key, uint16_t key_len);

/* One connection that may go on. Takes `record`; true: it does, and *unfinished bytes at its end are those of a half line (`half`, of flow_half_bytes). */
struct flow_left {
	struct address from, to;
	const char *source;
	struct flow_record record;
	uint64_t offset;		/* of the first byte that is not in the log, half line included */
	const uint8_t *half;
	uint32_t half_len;
	bool half_served;		/* a half line's record is there still, though its frame is in the log */
};
/* Calls `resume` for each connection that an earlier process left to an address that is `own`; those it refuses are forgotten (their half lines are left). */
int flow_records_take(struct half_lines *lines, bool (*own)(void *context, const struct flow_left *left),
		      bool (*resume)(void *context, const struct flow_left *left), void *context, struct err *err);

#endif
