/* record: reading blocks. Every length is checked against the bytes at hand; the bytes may come from anywhere. Any thread. */
#ifndef PENSTOCK_CHANNEL_RECORD_H
#define PENSTOCK_CHANNEL_RECORD_H

#include "channel/block.h"
#include "channel/format.h"

struct block_view {
	const uint8_t *bytes;
	const struct block_header *header;
	const uint8_t *raw, *dict_table, *dict, *set_table, *sets, *records, *records_end;
	int64_t base_ms;
};

/* Points into `len` bytes at `bytes`. False when the lengths in the header do not fit in. No CRC is looked at. */
bool block_view_open(struct block_view *view, const uint8_t *bytes, size_t len);

/* One step of a walk; zeroed to begin with. */
struct walk {
	uint32_t record_offset, raw_offset;
	uint32_t events;
};

struct record_view {
	uint8_t type;			/* enum record_type or one we do not know */
	bool must;
	struct event_view event;	/* RECORD_EVENT */
	const uint8_t *payload, *body;	/* others; body NULL when there is none */
	uint32_t payload_len, body_len;
};

/* 1: a record; 0: the end; -EBADMSG: the bytes make no sense. */
int block_walk(const struct block_view *view, struct walk *walk, struct record_view *record);

/* A fragment's headers (`varint count`, then that many, none of them a slice of the body) of [at, end). Returns 0 with *count (at most
 * max, the rest is left out), or -EBADMSG. */
int record_headers(const struct block_view *view, const uint8_t *at, const uint8_t *end, struct header_view *headers, uint32_t max,
		   uint64_t *count);

/* Everything that can be said of a block alone: NULL when it is whole, else what is wrong. Of a sealed one the payload's CRC alone. */
const char *block_check(const uint8_t *bytes, size_t len);
/* What is in the block makes sense: part of block_check, but for sealed blocks, which keyring_unseal opens. */
const char *block_check_content(const uint8_t *bytes);
uint32_t block_payload_bytes(const struct block_header *header);
/* Only the header (its CRC, magic, version, lengths): enough to know how many bytes to read. */
const char *block_check_header(const uint8_t *bytes);

/* Fills in CRCs; all other fields of the header are set. */
void block_finish(uint8_t *bytes);
void block_finish_header(uint8_t *bytes);	/* that of the content is there */

#endif
