/* spsc: single-producer single-consumer ring of pointers, fixed capacity, wait-free.
 *
 * Owner:  whoever made it; the slots are allocated by spsc_init and freed by spsc_free (control thread).
 * Thread: one thread pushes, one thread pops; spsc_count may be asked from either side and is a lower (consumer) or upper
 *         (producer) bound there. */
#ifndef PENSTOCK_BASE_SPSC_H
#define PENSTOCK_BASE_SPSC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define CACHE_LINE_BYTES 64

struct spsc {
	void **slots;
	uint32_t mask;		/* slots - 1, slots a power of two */
	_Alignas(CACHE_LINE_BYTES) _Atomic uint32_t tail;	/* next to fill; written by the producer */
	uint32_t head_seen;	/* producer's last look at head */
	_Alignas(CACHE_LINE_BYTES) _Atomic uint32_t head;	/* next to take; written by the consumer */
	uint32_t tail_seen;	/* consumer's last look at tail */
};

/* Room for at least `entries` pointers (1 to 2^30). 0 or -ENOMEM. */
int spsc_init(struct spsc *ring, uint32_t entries);
void spsc_free(struct spsc *ring);

/* Producer. False when the ring is full. */
static inline bool
spsc_push(struct spsc *ring, void *item)
{
	uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
	if (tail - ring->head_seen > ring->mask) {
		ring->head_seen = atomic_load_explicit(&ring->head, memory_order_acquire);
		if (tail - ring->head_seen > ring->mask)
			return false;
	}
	ring->slots[tail & ring->mask] = item;
	atomic_store_explicit(&ring->tail, tail + 1, memory_order_release);
	return true;
}

/* Consumer. NULL when the ring is empty. */
static inline void *
spsc_pop(struct spsc *ring)
{
	uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
	if (head == ring->tail_seen) {
		ring->tail_seen = atomic_load_explicit(&ring->tail, memory_order_acquire);
		if (head == ring->tail_seen)
			return NULL;
	}
	void *item = ring->slots[head & ring->mask];
	atomic_store_explicit(&ring->head, head + 1, memory_order_release);
	return item;
}

/* Consumer. What the pop after `behind` others would give, or NULL. */
static inline void *
spsc_peek(struct spsc *ring, uint32_t behind)
{
	uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
	uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
	return tail - head > behind ? ring->slots[(head + behind) & ring->mask] : NULL;
}

static inline uint32_t
spsc_count(struct spsc *ring)
{
	return atomic_load_explicit(&ring->tail, memory_order_acquire) - atomic_load_explicit(&ring->head, memory_order_acquire);
}

#endif
