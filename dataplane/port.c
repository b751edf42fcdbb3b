#include "dataplane/port.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/spsc.h"

#define CAPTURE_SLOTS 1024		/* copies a queue may have waiting */
#define CAPTURE_BYTES_MAX 2048		/* of a frame; the rest is cut off */

struct capture_record {
	uint32_t len, frame_len;
	uint64_t wall_ns;
	uint8_t bytes[CAPTURE_BYTES_MAX];
};

/* Copies go round: lcore takes from `empty`, fills, pushes to `full`; control takes from `full`, writes, pushes to `empty`.
 * Lives as long as the port, so an lcore that saw `capturing` a moment too late harms nothing. */
struct capture_queue {
	struct spsc empty, full;
	struct capture_record *records;
	_Atomic uint64_t lost;		/* lcore */
};

struct port_capture {
	bool running;			/* control */
	int fd;
	uint64_t left, written, lost_before;
	bool limited, failed;
	uint32_t queues;
	struct capture_queue queue[];
};

static void
capture_free(struct port_capture *capture)
{
	if (!capture)
		return;
	for (uint32_t i = 0; i < capture->queues; i++) {
		spsc_free(&capture->queue[i].empty);
		spsc_free(&capture->queue[i].full);
		free(capture->queue[i].records);
	}
	free(capture);
}

static struct port_capture *
capture_make(uint32_t queues)
{
	size_t bytes = sizeof(struct port_capture) + queues * sizeof(struct capture_queue);
	struct port_capture *capture = aligned_alloc(CACHE_LINE_BYTES, (bytes + CACHE_LINE_BYTES - 1) & ~(size_t)(CACHE_LINE_BYTES - 1));
	if (!capture)
		return NULL;
	memset(capture, 0, bytes);
	capture->queues = queues;
	for (uint32_t i = 0; i < queues; i++) {
		struct capture_queue *q = &capture->queue[i];
		q->records = malloc(CAPTURE_SLOTS * sizeof *q->records);
		if (!q->records || spsc_init(&q->empty, CAPTURE_SLOTS) || spsc_init(&q->full, CAPTURE_SLOTS)) {
			capture_free(capture);
			return NULL;
		}
		for (uint32_t k = 0; k < CAPTURE_SLOTS; k++)
			spsc_push(&q->empty, &q->records[k]);
	}
	return capture;
}

static uint64_t
capture_lost(struct port_capture *capture)
{
	uint64_t lost = 0;
	for (uint32_t i = 0; i < capture->queues; i++)
		lost += atomic_load_explicit(&capture->queue[i].lost, memory_order_relaxed);
	return lost;
}

static bool
write_all(int fd, const void *bytes, size_t len)
{
	const char *p = bytes;
	while (len) {
		ssize_t n = write(fd, p, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

int
port_capture_start(struct port *port, int fd, uint64_t count, struct err *err)
{
	if (port->capture && port->capture->running)
		return err_set(err, EBUSY, "port %s: a capture is running already", port->name);
	if (!port->capture)
		port->capture = capture_make(port->queues);
	if (!port->capture)
		return err_set(err, ENOMEM, "port %s: no memory for a capture", port->name);
	struct port_capture *capture = port->capture;
	/* What an lcore put there after the last stop is of no interest any more. */
	for (uint32_t i = 0; i < capture->queues; i++) {
		void *record;
		while ((record = spsc_pop(&capture->queue[i].full)))
			spsc_push(&capture->queue[i].empty, record);
	}
	/* pcap file header: magic of nanoseconds, version 2.4, zone, accuracy, longest copy, link type Ethernet; host byte order */
	struct {
		uint32_t magic;
		uint16_t major, minor;
		uint32_t zone, accuracy, snap, link;
	} header = { 0xa1b23c4d, 2, 4, 0, 0, CAPTURE_BYTES_MAX, 1 };
	if (!write_all(fd, &header, sizeof header))
		return err_set(err, errno ? errno : EIO, "port %s: cannot write the capture file: %s", port->name, strerror(errno));
	capture->fd = fd;
	capture->limited = count != 0;
	capture->left = count;
	capture->written = 0;
	capture->failed = false;
	capture->lost_before = capture_lost(capture);
	capture->running = true;
	atomic_store_explicit(&port->capturing, true, memory_order_release);
	return 0;
}

static void
capture_write(struct port_capture *capture, const struct capture_record *record)
{
	if (capture->failed || (capture->limited && capture->left == 0))
		return;
	struct {
		uint32_t header[4];
		uint8_t bytes[CAPTURE_BYTES_MAX];
	} out = { { (uint32_t)(record->wall_ns / 1000000000), (uint32_t)(record->wall_ns % 1000000000), record->len, record->frame_len }, { 0 } };
	memcpy(out.bytes, record->bytes, record->len);
	if (!write_all(capture->fd, &out, sizeof out.header + record->len)) {
		capture->failed = true;
		return;
	}
	capture->left--;
	capture->written++;
}

bool
port_capture_step(struct port *port)
{
	struct port_capture *capture = port->capture;
	if (!capture || !capture->running)
		return false;
	for (uint32_t i = 0; i < capture->queues; i++) {
		struct capture_record *record;
		for (uint32_t k = 0; k < CAPTURE_SLOTS && (record = spsc_pop(&capture->queue[i].full)); k++) {
			capture_write(capture, record);
			spsc_push(&capture->queue[i].empty, record);
		}
	}
	return !capture->failed && !(capture->limited && capture->left == 0);
}

void
port_capture_stop(struct port *port, uint64_t *written, uint64_t *lost)
{
	struct port_capture *capture = port->capture;
	atomic_store_explicit(&port->capturing, false, memory_order_release);
	if (written)
		*written = 0;
	if (lost)
		*lost = 0;
	if (!capture || !capture->running)
		return;
	port_capture_step(port);
	capture->running = false;
	close(capture->fd);
	if (written)
		*written = capture->written;
	if (lost)
		*lost = capture_lost(capture) - capture->lost_before;
}

void
port_capture_copy(struct port *port, uint32_t queue, bool sent, const struct frame *frames, uint32_t n)
{
	(void)sent;	/* pcap has no place for it */
	struct capture_queue *q = &port->capture->queue[queue];
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	uint64_t wall_ns = (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
	for (uint32_t i = 0; i < n; i++) {
		if (frames[i].len == 0)
			continue;
		struct capture_record *record = spsc_pop(&q->empty);
		if (!record) {
			atomic_store_explicit(&q->lost, atomic_load_explicit(&q->lost, memory_order_relaxed) + 1, memory_order_relaxed);
			continue;
		}
		record->frame_len = frames[i].len;
		record->len = frames[i].len < CAPTURE_BYTES_MAX ? frames[i].len : CAPTURE_BYTES_MAX;
		record->wall_ns = wall_ns;
		memcpy(record->bytes, frames[i].bytes, record->len);
		spsc_push(&q->full, record);
	}
}

void
port_close(struct port *port)
{
	if (!port)
		return;
	port_capture_stop(port, NULL, NULL);
	capture_free(port->capture);
	port->capture = NULL;
	port->ops->close(port);
}
