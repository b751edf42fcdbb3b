/* port: where frames come from and go to. port_dpdk is the real one; port_pcap plays files, port_mem arrays.
 *
 * Owner:  whoever opened it (control thread); port_close ends it, after the last lcore has left it.
 * Thread: rx, release, tx_room and tx of one queue belong to one lcore; everything else to control. */
#ifndef PENSTOCK_DATAPLANE_PORT_H
#define PENSTOCK_DATAPLANE_PORT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define PORT_BURST_MAX 64
#define PORT_QUEUES_MAX 64

enum frame_flags {
	FRAME_IP_GOOD = 1,	/* the device found the IPv4 header checksum right */
	FRAME_L4_GOOD = 2,	/* the device found the UDP checksum right */
	FRAME_HASH = 4,		/* hash is the device's */
	FRAME_TOO_LONG = 8,	/* only the beginning is here */
};

/* A frame belongs to the port between rx and release; to whoever asked between tx_room and tx. */
struct frame {
	uint8_t *bytes;		/* from the destination MAC on, without FCS */
	uint32_t len;		/* rx: bytes of the frame. tx_room: room; set to the frame's length before tx */
	uint32_t hash;
	uint32_t flags;		/* enum frame_flags */
	void *handle;		/* the port's own */
};

struct port_stats {		/* since open, whole port */
	uint64_t rx_frames, rx_bytes, tx_frames, tx_bytes;
	uint64_t tx_failed;	/* frames handed to tx that the device did not take */
	uint64_t nic_missed, no_mbuf, nic_error;	/* frames that never reached rx: add them to the frames that came in */
};

struct port;
struct port_ops {
	const char *name;
	uint32_t (*rx)(struct port *port, uint32_t queue, struct frame *frames, uint32_t max);
	void (*release)(struct port *port, uint32_t queue, struct frame *frames, uint32_t n);
	/* Up to max (<= PORT_BURST_MAX) empty frames to fill; fewer or none when buffers are short. */
	uint32_t (*tx_room)(struct port *port, uint32_t queue, struct frame *frames, uint32_t max);
	/* Takes all n back in any case; returns how many the device took, the first ones. A frame with len 0 is only given back. */
	uint32_t (*tx)(struct port *port, uint32_t queue, struct frame *frames, uint32_t n);
	void (*stats)(struct port *port, struct port_stats *stats);
	bool (*link_up)(struct port *port);
	/* Counters of the device itself, by its own names; may be NULL. */
	void (*xstats)(struct port *port, void (*visit)(void *context, const char *name, uint64_t value), void *context);
	void (*close)(struct port *port);
};

struct port_capture;

/* First member of every port's own struct. */
struct port {
	const struct port_ops *ops;
	char name[32];		/* p0 ... */
	uint8_t mac[6];
	uint32_t queues;	/* queue q is polled by one lcore; 1 at least */
	uint32_t frame_bytes_max;	/* longest frame that fits a buffer */
	int numa_node;		/* -1: unknown */
	bool ended;		/* port_pcap and port_mem: rx will bring no more */
	_Atomic bool capturing;
	struct port_capture *capture;	/* made at the first port_capture_start, lives until port_close */
};

/* --- capture: copies of what a port receives and sends, as a pcap file with nanoseconds. Control thread. --- */

/* Starts writing to fd (taken over: closed at stop), at most count frames (0: no limit). -EBUSY when one is running. */
int port_capture_start(struct port *port, int fd, uint64_t count, struct err *err);
/* Moves what the lcores copied to the file; call it often. False when the capture has ended (count reached, or the file
 * cannot be written): then call port_capture_stop. */
bool port_capture_step(struct port *port);
/* Writes the rest and closes the file. written, lost (copies that found the ring full) may be NULL. */
void port_capture_stop(struct port *port, uint64_t *written, uint64_t *lost);

void port_capture_copy(struct port *port, uint32_t queue, bool sent, const struct frame *frames, uint32_t n);

/* --- the calls of the data path --- */

static inline uint32_t
port_rx(struct port *port, uint32_t queue, struct frame *frames, uint32_t max)
{
	uint32_t n = port->ops->rx(port, queue, frames, max);
	if (__builtin_expect(atomic_load_explicit(&port->capturing, memory_order_acquire), 0) && n)
		port_capture_copy(port, queue, false, frames, n);
	return n;
}

static inline void
port_release(struct port *port, uint32_t queue, struct frame *frames, uint32_t n)
{
	if (n)
		port->ops->release(port, queue, frames, n);
}

static inline uint32_t
port_tx_room(struct port *port, uint32_t queue, struct frame *frames, uint32_t max)
{
	return port->ops->tx_room(port, queue, frames, max);
}

static inline uint32_t
port_tx(struct port *port, uint32_t queue, struct frame *frames, uint32_t n)
{
	if (__builtin_expect(atomic_load_explicit(&port->capturing, memory_order_acquire), 0))
		port_capture_copy(port, queue, true, frames, n);
	return port->ops->tx(port, queue, frames, n);
}

void port_close(struct port *port);	/* NULL is allowed; frees the port */

/* --- port_mem: frames from arrays; what is sent is kept. For tests and for measuring a data core alone. --- */

struct port_mem_frame {
	const void *bytes;
	uint32_t len;
};
/* Plays the array `rounds` times (0: without end). The array and its frames are the caller's and must outlive the port; they
 * are handed out themselves, without a copy. frames may be NULL with count 0. */
struct port *port_mem_open(const char *name, const uint8_t mac[6], const struct port_mem_frame *frames, uint32_t count, uint64_t rounds,
			   struct err *err);
/* Adds a copy of one frame to play after the array; -ENOMEM when 4096 wait. One thread only. */
int port_mem_feed(struct port *port, const void *bytes, uint32_t len);
/* The oldest frame sent and not yet looked at; false: none. Valid until the next call. Keeps 256, then drops (tx_failed). */
bool port_mem_sent(struct port *port, const uint8_t **bytes, uint32_t *len);

/* --- port_pcap: plays a pcap file (micro- or nanoseconds, either byte order) and writes what is sent to another (or NULL). --- */
struct port *port_pcap_open(const char *name, const uint8_t mac[6], const char *rx_file, const char *tx_file, struct err *err);

#endif
