#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/port.h"

#define MEM_FRAME_BYTES 9216
#define MEM_FED_MAX 4096
#define MEM_SENT_MAX 256

struct mem_frame {
	uint32_t len;
	uint8_t bytes[MEM_FRAME_BYTES];
};

struct port_mem {
	struct port port;
	const struct port_mem_frame *frames;
	uint32_t count, at;
	uint64_t rounds;		/* left; UINT64_MAX: without end */
	struct mem_frame *fed[MEM_FED_MAX];
	uint32_t fed_count, fed_at;
	struct mem_frame *sent[MEM_SENT_MAX];
	uint32_t sent_head, sent_tail;
	struct mem_frame *shown;
	struct mem_frame room[PORT_BURST_MAX];
	struct port_stats stats;
};

static uint32_t
mem_rx(struct port *port, uint32_t queue, struct frame *frames, uint32_t max)
{
	(void)queue;
	struct port_mem *mem = (struct port_mem *)port;
	uint32_t n = 0;
	for (; n < max; n++) {
		frames[n] = (struct frame){ 0 };
		if (mem->rounds && mem->count) {
			frames[n].bytes = (uint8_t *)(uintptr_t)mem->frames[mem->at].bytes;
			frames[n].len = mem->frames[mem->at].len;
			if (++mem->at == mem->count) {
				mem->at = 0;
				if (mem->rounds != UINT64_MAX)
					mem->rounds--;
			}
		} else if (mem->fed_at < mem->fed_count) {
			struct mem_frame *fed = mem->fed[mem->fed_at++];
			frames[n].bytes = fed->bytes;
			frames[n].len = fed->len;
			frames[n].handle = fed;
		} else {
			mem->fed_at = mem->fed_count = 0;
			break;
		}
		mem->stats.rx_bytes += frames[n].len;
	}
	mem->stats.rx_frames += n;
	port->ended = n == 0;
	return n;
}

static void
mem_release(struct port *port, uint32_t queue, struct frame *frames, uint32_t n)
{
	(void)port;
	(void)queue;
	for (uint32_t i = 0; i < n; i++)
		free(frames[i].handle);
}

static uint32_t
mem_tx_room(struct port *port, uint32_t queue, struct frame *frames, uint32_t max)
{
	(void)queue;
	struct port_mem *mem = (struct port_mem *)port;
	if (max > PORT_BURST_MAX)
		max = PORT_BURST_MAX;
	for (uint32_t i = 0; i < max; i++)
		frames[i] = (struct frame){ .bytes = mem->room[i].bytes, .len = MEM_FRAME_BYTES, .handle = &mem->room[i] };
	return max;
}

static uint32_t
mem_tx(struct port *port, uint32_t queue, struct frame *frames, uint32_t n)
{
	(void)queue;
	struct port_mem *mem = (struct port_mem *)port;
	uint32_t done = 0;
	for (uint32_t i = 0; i < n; i++) {
		if (frames[i].len == 0)
			continue;
		struct mem_frame *copy = mem->sent_tail - mem->sent_head < MEM_SENT_MAX ? malloc(sizeof *copy) : NULL;
		if (!copy) {
			mem->stats.tx_failed++;
			continue;
		}
		copy->len = frames[i].len;
		memcpy(copy->bytes, frames[i].bytes, frames[i].len);
		mem->sent[mem->sent_tail++ % MEM_SENT_MAX] = copy;
		mem->stats.tx_frames++;
		mem->stats.tx_bytes += frames[i].len;
		done++;
	}
	return done;
}

static void
mem_stats(struct port *port, struct port_stats *stats)
{
	*stats = ((struct port_mem *)port)->stats;
}

static bool
mem_link_up(struct port *port)
{
	(void)port;
	return true;
}

static void
mem_close(struct port *port)
{
	struct port_mem *mem = (struct port_mem *)port;
	for (uint32_t i = mem->fed_at; i < mem->fed_count; i++)
		free(mem->fed[i]);
	while (mem->sent_head != mem->sent_tail)
		free(mem->sent[mem->sent_head++ % MEM_SENT_MAX]);
	free(mem->shown);
	free(mem);
}

static const struct port_ops port_mem = {
	.name = "mem",
	.rx = mem_rx,
	.release = mem_release,
	.tx_room = mem_tx_room,
	.tx = mem_tx,
	.stats = mem_stats,
	.link_up = mem_link_up,
	.close = mem_close,
};

struct port *
port_mem_open(const char *name, const uint8_t mac[6], const struct port_mem_frame *frames, uint32_t count, uint64_t rounds, struct err *err)
{
	struct port_mem *mem = calloc(1, sizeof *mem);
	if (!mem) {
		err_set(err, ENOMEM, "port %s: no memory", name);
		return NULL;
	}
	mem->port = (struct port){ .ops = &port_mem, .queues = 1, .frame_bytes_max = MEM_FRAME_BYTES, .numa_node = -1 };
	snprintf(mem->port.name, sizeof mem->port.name, "%s", name);
	memcpy(mem->port.mac, mac, 6);
	mem->frames = frames;
	mem->count = count;
	mem->rounds = rounds ? rounds : UINT64_MAX;
	return &mem->port;
}

int
port_mem_feed(struct port *port, const void *bytes, uint32_t len)
{
	struct port_mem *mem = (struct port_mem *)port;
	if (mem->fed_count == MEM_FED_MAX)
		return -ENOMEM;
	/* Exactly as long as the frame, so that the address sanitizer sees a read past its end. */
	struct mem_frame *fed = malloc(offsetof(struct mem_frame, bytes) + (len ? len : 1));
	if (!fed)
		return -ENOMEM;
	fed->len = len;
	memcpy(fed->bytes, bytes, len);
	mem->fed[mem->fed_count++] = fed;
	return 0;
}

bool
port_mem_sent(struct port *port, const uint8_t **bytes, uint32_t *len)
{
	struct port_mem *mem = (struct port_mem *)port;
	free(mem->shown);
	mem->shown = NULL;
	if (mem->sent_head == mem->sent_tail)
		return false;
	mem->shown = mem->sent[mem->sent_head++ % MEM_SENT_MAX];
	*bytes = mem->shown->bytes;
	*len = mem->shown->len;
	return true;
}
