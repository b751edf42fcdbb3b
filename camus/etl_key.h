/* etl_key: the Writables of Camus's own files, byte by byte: EtlKey (offsets, errors) and EtlRequest. Any thread.
 *
 *    EtlKey:     leaderId, u32 partition, u64 beginOffset, u64 offset, u64 checksum, topic, u64 time, server, service (each text u16 length and
 *                modified UTF-8), then a MapWritable: u8 foreign classes, u32 entries, each a u8 class and its bytes, twice
 *    EtlRequest: topic, leaderId, URI, u32 partition, u64 offset, u64 latestOffset
 * Numbers are big-endian. An older EtlKey ends before the map. */
#ifndef PENSTOCK_CAMUS_ETL_KEY_H
#define PENSTOCK_CAMUS_ETL_KEY_H

#include <stddef.h>
#include <stdint.h>

#include "base/pool.h"

#define ETL_KEY_CLASS "com.linkedin.camus.etl.kafka.common.EtlKey"
#define ETL_REQUEST_CLASS "com.linkedin.camus.etl.kafka.common.EtlRequest"

struct etl_key {
	char topic[256];
	int32_t partition;
	int64_t begin, offset;		/* before the last record; to be read next */
	int64_t checksum;
	int64_t time_ms;
	int64_t message_bytes;		/* "message.size": average in offset files; 0: none */
	const void *key, *payload;	/* of a record that is kept with its error: entries "key" and "payload"; NULL: none. Written only */
	size_t key_len, payload_len;
};

/* Appends. */
void etl_key_write(const struct etl_key *key, struct text *to);
void etl_request_write(const char *topic, const char *leader, int32_t partition, int64_t latest, struct text *to);
/* 0; -EBADMSG: these bytes are no EtlKey. A map whose classes are not known is left unread. */
int etl_key_read(struct etl_key *key, const uint8_t *bytes, size_t len);

#endif
