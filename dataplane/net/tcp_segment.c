#include "dataplane/net/tcp_segment.h"

/* Calls `use` of each well-formed option; anything odd ends the list. */
static const uint8_t *
option_next(const uint8_t **at, const uint8_t *end)
{
	const uint8_t *p = *at;
	while (p < end && *p == 1)
		p++;
	if (end - p < 2 || *p == 0 || p[1] < 2 || p[1] > end - p)
		return NULL;
	*at = p + p[1];
	return p;
}

void
tcp_syn_parse(const uint8_t *options, uint32_t len, struct tcp_syn *syn)
{
	const uint8_t *at = options, *end = options + len, *p;
	*syn = (struct tcp_syn){ 0 };
	while ((p = option_next(&at, end))) {
		if (p[0] == 2 && p[1] == 4) {
			syn->mss = get16(p + 2);
		} else if (p[0] == 3 && p[1] == 3) {
			syn->has_shift = true;
			syn->shift = p[2] > 14 ? 14 : p[2];
		} else if (p[0] == 4 && p[1] == 2) {
			syn->has_sack = true;
		} else if (p[0] == 8 && p[1] == 10) {
			syn->has_ts = true;
			syn->ts_val = get32(p + 2);
			syn->ts_ecr = get32(p + 6);
		}
	}
}

uint32_t
tcp_syn_options(const struct tcp_syn *syn, uint8_t options[TCP_OPTIONS_MAX])
{
	uint32_t n = 0;
	put32(options, 0x02040000u | syn->mss);
	n += 4;
	if (syn->has_ts) {
		tcp_ts_put(options + n, syn->ts_val, syn->ts_ecr);
		if (syn->has_sack)
			put16(options + n, 0x0402);	/* in the place of the two NOPs */
		n += TCP_TS_BYTES;
	} else if (syn->has_sack) {
		put32(options + n, 0x01010402);
		n += 4;
	}
	if (syn->has_shift) {
		put32(options + n, 0x01030300u | syn->shift);
		n += 4;
	}
	return n;
}

bool
tcp_ts_find(const uint8_t *options, uint32_t len, uint32_t *val, uint32_t *ecr)
{
	const uint8_t *at = options, *end = options + len, *p;
	while ((p = option_next(&at, end))) {
		if (p[0] != 8 || p[1] != 10)
			continue;
		*val = get32(p + 2);
		*ecr = get32(p + 6);
		return true;
	}
	return false;
}

static uint64_t
pseudo(uint32_t len, const struct address *from, const struct address *to)
{
	return address_is_v4(from) ? csum_pseudo4(from->ip + 12, to->ip + 12, PROTO_TCP, len) : csum_pseudo6(from->ip, to->ip, PROTO_TCP, len);
}

void
tcp_checksum_put(uint8_t *tcp, uint32_t len, const struct address *from, const struct address *to)
{
	memset(tcp + 16, 0, 2);
	uint16_t sum = csum_fold(csum_add(pseudo(len, from, to), tcp, len));
	memcpy(tcp + 16, &sum, 2);
}

bool
tcp_checksum_ok(const uint8_t *tcp, uint32_t len, const struct address *from, const struct address *to)
{
	return csum_fold(csum_add(pseudo(len, from, to), tcp, len)) == 0;
}
