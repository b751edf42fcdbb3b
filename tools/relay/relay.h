/* relay: what a bad network does to frames, from a seed: loss, duplication, reordering, corruption, delay, an MTU. No I/O and no clock of
 * its own, so that tests step it. */
#ifndef PENSTOCK_TOOLS_RELAY_RELAY_H
#define PENSTOCK_TOOLS_RELAY_RELAY_H

#include <stdbool.h>
#include <stdint.h>

#define RELAY_FRAME_BYTES 9216

struct relay_config {
	uint64_t seed;
	double loss, duplicate, reorder, corrupt;	/* share of the frames, 0 to 1; each direction */
	uint64_t delay_ns, jitter_ns;			/* every frame; up to so much more, order kept */
	uint64_t reorder_ns;				/* a reordered frame comes so much later */
	uint32_t mtu;					/* longer packets vanish; 0: none */
	uint32_t room;					/* frames on their way, each direction; further ones are lost. 0: 1,000 */
};

struct relay_counts {
	uint64_t in, out, lost, duplicated, reordered, corrupted, too_long, overflow;
};

struct relay;
struct relay *relay_open(const struct relay_config *config);	/* NULL: no memory */
void relay_close(struct relay *relay);
/* A frame that side 0 or 1 sent. */
void relay_put(struct relay *relay, unsigned from, const uint8_t *bytes, uint32_t len, uint64_t now_ns);
/* A frame that is due at side `to`; false: none. Valid until the next call. */
bool relay_get(struct relay *relay, unsigned to, const uint8_t **bytes, uint32_t *len, uint64_t now_ns);
/* When the next is due; UINT64_MAX: nothing is on its way. */
uint64_t relay_next_ns(const struct relay *relay);
const struct relay_counts *relay_counts(const struct relay *relay, unsigned from);

#endif
