/* stamp: the last 36 bytes of every event's text, " #SSSSSSSS:NNNNNNNNNNNNNNNN:CCCCCCCC": source, sequence in that source
 * (from 1), CRC32C of the text before the stamp (behind the syslog header); lower-case hex. Any thread. */
#ifndef PENSTOCK_TOOLS_TRAFFICGEN_STAMP_H
#define PENSTOCK_TOOLS_TRAFFICGEN_STAMP_H

#include <stdbool.h>
#include <stdint.h>

#define STAMP_BYTES 36
#define STAMP_SEQUENCE_AT 11	/* of the 16 digits of the sequence, from the stamp's begin */

struct stamp {
	uint32_t source;
	uint32_t crc;
	uint64_t sequence;
};

void stamp_write(uint8_t *at, const struct stamp *stamp);
void stamp_write_sequence(uint8_t *digits, uint64_t sequence);
/* False when the 36 bytes are no stamp. */
bool stamp_read(const uint8_t *at, struct stamp *stamp);

#endif
