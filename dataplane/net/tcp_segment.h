/* tcp_segment: header fields, options, sequence arithmetic, building. Shared with the traffic generator's client. */
#ifndef PENSTOCK_DATAPLANE_NET_TCP_SEGMENT_H
#define PENSTOCK_DATAPLANE_NET_TCP_SEGMENT_H

#include "dataplane/net/frame.h"

enum { TCP_BYTES = 20, TCP_OPTIONS_MAX = 40, TCP_TS_BYTES = 12 };
enum { TCP_FIN = 1, TCP_SYN = 2, TCP_RST = 4, TCP_PSH = 8, TCP_ACK = 16, TCP_URG = 32 };

/* a before b, on the circle of 2^32 */
static inline bool
seq_lt(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}

static inline bool
seq_le(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) <= 0;
}

/* What a SYN says. */
struct tcp_syn {
	uint16_t mss;		/* 0: not said */
	uint8_t shift;
	bool has_shift, has_sack, has_ts;
	uint32_t ts_val, ts_ecr;
};
void tcp_syn_parse(const uint8_t *options, uint32_t len, struct tcp_syn *syn);
/* Options of a SYN or SYN-ACK; returns their bytes, a multiple of 4. */
uint32_t tcp_syn_options(const struct tcp_syn *syn, uint8_t options[TCP_OPTIONS_MAX]);
/* The timestamp option wherever it stands. */
bool tcp_ts_find(const uint8_t *options, uint32_t len, uint32_t *val, uint32_t *ecr);

static inline void
tcp_ts_put(uint8_t p[TCP_TS_BYTES], uint32_t val, uint32_t ecr)
{
	put32(p, 0x0101080a);	/* NOP NOP kind 8 length 10 */
	put32(p + 4, val);
	put32(p + 8, ecr);
}

/* Fields of the fixed header; the checksum stays 0. header: bytes of header and options. */
static inline void
tcp_header_put(uint8_t *tcp, uint16_t from, uint16_t to, uint32_t seq, uint32_t ack, uint32_t header, uint8_t flags, uint16_t window)
{
	put16(tcp, from);
	put16(tcp + 2, to);
	put32(tcp + 4, seq);
	put32(tcp + 8, ack);
	tcp[12] = (uint8_t)(header / 4 << 4);
	tcp[13] = flags;
	put16(tcp + 14, window);
	memset(tcp + 16, 0, 4);
}

/* Checksum over header and data that stand at tcp, with the addresses' pseudo header; sets the field. */
void tcp_checksum_put(uint8_t *tcp, uint32_t len, const struct address *from, const struct address *to);
bool tcp_checksum_ok(const uint8_t *tcp, uint32_t len, const struct address *from, const struct address *to);

#endif
