/* format: the bytes of docs/ringlog-format.md as C sees them. */
#ifndef PENSTOCK_CHANNEL_FORMAT_H
#define PENSTOCK_CHANNEL_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the log is little-endian; this host is not"
#endif

#define BLOCK_MAGIC 0x42525350u		/* PSRB */
#define META_MAGIC 0x4d525350u		/* PSRM */
#define CHECKPOINT_MAGIC 0x43525350u	/* PSRC */
#define FORMAT_VERSION 2u		/* written; older ones are read too */
#define BLOCK_FENCE 1u			/* flags: first block behind an extent that was given up */
#define BLOCK_HEADER_BYTES 256u
#define LOG_ID_BYTES 16u
#define HOST_ID_BYTES 16u
#define CHECKPOINT_BYTES 4096u
#define CHECKPOINT_RANGES 200u
#define META_BYTES 4096u
#define SALT_BYTES 16u

struct block_header {
	uint32_t magic;
	uint16_t version, flags;
	uint8_t log_id[LOG_ID_BYTES];
	uint32_t epoch, bytes;
	uint64_t position, first_event;
	uint32_t events, records;
	uint64_t first_time_ns, last_time_ns;
	uint64_t group_position;
	uint32_t group_index, group_count;
	uint64_t durable, previous_end;
	uint32_t previous_crc, raw_bytes, dict_count, dict_bytes, set_count, set_bytes, record_bytes;
	uint32_t cipher, key_id, zero;
	uint8_t nonce[16], tag[16], salt[SALT_BYTES], reserved[56];
	uint32_t payload_crc, header_crc;
};
_Static_assert(sizeof(struct block_header) == BLOCK_HEADER_BYTES, "as documented");
_Static_assert(offsetof(struct block_header, position) == 32 && offsetof(struct block_header, durable) == 88 &&
	       offsetof(struct block_header, record_bytes) == 128 && offsetof(struct block_header, payload_crc) == 248, "as documented");

struct log_meta {
	uint32_t magic, version;
	uint8_t log_id[LOG_ID_BYTES];
	uint64_t segment_bytes;
	uint32_t dirs, crc;
	uint8_t host_id[HOST_ID_BYTES];	/* version 2; zeros: unknown */
	uint32_t host_crc;		/* of all before */
};
_Static_assert(offsetof(struct log_meta, crc) == 36 && offsetof(struct log_meta, host_crc) == 56, "as documented");

struct checkpoint {
	uint32_t magic, version;
	uint8_t log_id[LOG_ID_BYTES];
	uint64_t serial;
	uint32_t epoch, clean;
	uint64_t position, number;
	uint32_t previous_crc, range_count;
	struct { uint64_t first, count; } ranges[CHECKPOINT_RANGES];
	uint64_t durable, durable_number;	/* version 2, else 0: end of the newest synced group, number behind its last event */
	uint32_t durable_crc, zero;
	uint64_t epoch_begin;		/* position from which only blocks of `epoch` on count, plus 1; 0: unknown */
	uint8_t reserved[CHECKPOINT_BYTES - 64 - CHECKPOINT_RANGES * 16 - 32 - 4];
	uint32_t crc;
};
_Static_assert(sizeof(struct checkpoint) == CHECKPOINT_BYTES && offsetof(struct checkpoint, ranges) == 64 &&
	       offsetof(struct checkpoint, durable) == 3264 && offsetof(struct checkpoint, crc) == 4092, "as documented");

enum block_cipher { CIPHER_NONE, CIPHER_AES_GCM };	/* channel/keyring.h */
enum record_type { RECORD_EVENT, RECORD_FRAGMENT, RECORD_CONTROL, RECORD_STATE, RECORD_MARK };
enum control_kind { CONTROL_FENCE = 1 };	/* varint: where the extent before ends; its blocks from there on do not count */
#define RECORD_TYPE_MASK 7u
#define RECORD_HAS_SET 8u		/* event */
#define RECORD_MUST 8u			/* all others */
#define RECORD_HAS_BODY 16u		/* all others */

enum value_kind { VALUE_BYTES, VALUE_BODY, VALUE_NUMBER, VALUE_TIME };

static inline uint8_t *
varint_put(uint8_t *at, uint64_t value)
{
	while (value >= 128) {
		*at++ = (uint8_t)(value | 128);
		value >>= 7;
	}
	*at++ = (uint8_t)value;
	return at;
}

/* NULL when it does not end before `end` or is too long. */
static inline const uint8_t *
varint_get(const uint8_t *at, const uint8_t *end, uint64_t *value)
{
	uint64_t v = 0;
	for (unsigned shift = 0; shift < 64 && at < end; shift += 7) {
		uint8_t byte = *at++;
		v |= (uint64_t)(byte & 127) << shift;
		if (byte < 128) {
			*value = v;
			return at;
		}
	}
	return NULL;
}

static inline uint64_t
zigzag(int64_t n)
{
	return ((uint64_t)n << 1) ^ (uint64_t)(n >> 63);
}

static inline int64_t
unzigzag(uint64_t n)
{
	return (int64_t)(n >> 1) ^ -(int64_t)(n & 1);
}

#endif
