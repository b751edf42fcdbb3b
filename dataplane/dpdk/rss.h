/* rss: the hash by which a device spreads flows over its queues. */
#ifndef PENSTOCK_DATAPLANE_DPDK_RSS_H
#define PENSTOCK_DATAPLANE_DPDK_RSS_H

#include <stdbool.h>
#include <stdint.h>

#define RSS_KEY_BYTES_MAX 64

/* Fills `key` with the symmetric pattern 6d 5a 6d 5a ...: both directions of a flow hash alike (Woo and Park, "Scalable TCP
 * Session Monitoring with Symmetric Receive-side Scaling", 2012). */
void rss_key_symmetric(uint8_t *key, uint32_t bytes);

/* Toeplitz hash of `len` bytes, as devices compute it; for tests and for devices without. */
uint32_t rss_hash(const uint8_t *key, uint32_t key_bytes, const uint8_t *bytes, uint32_t len);

#endif
