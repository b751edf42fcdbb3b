#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dataplane/port.h"

#define PCAP_FRAME_BYTES 9216

struct pcap_buffer {
	uint8_t bytes[PCAP_FRAME_BYTES];
};

struct port_pcap {
	struct port port;
	FILE *rx, *tx;
	bool swapped;			/* the file's byte order is the other one */
	struct pcap_buffer rx_room[PORT_BURST_MAX], tx_room[PORT_BURST_MAX];
	struct port_stats stats;
};

static uint32_t
pcap_rx(struct port *port, uint32_t queue, struct frame *frames, uint32_t max)
{
	(void)queue;
	struct port_pcap *pcap = (struct port_pcap *)port;
	uint32_t n = 0;
	if (port->ended)
		return 0;
	if (max > PORT_BURST_MAX)
		max = PORT_BURST_MAX;
	while (n < max) {
		uint32_t header[4];	/* seconds, fraction, bytes in the file, bytes of the frame */
		size_t got = fread(header, 1, sizeof header, pcap->rx);
		uint32_t len = pcap->swapped ? __builtin_bswap32(header[2]) : header[2];
		if (got != sizeof header || len > 262144) {
			pcap->stats.nic_error += got != 0;	/* the file ends in the middle, or is none */
			port->ended = true;
			break;
		}
		uint32_t keep = len < PCAP_FRAME_BYTES ? len : PCAP_FRAME_BYTES;
		if (fread(pcap->rx_room[n].bytes, 1, keep, pcap->rx) != keep || (len > keep && fseek(pcap->rx, (long)(len - keep), SEEK_CUR))) {
			pcap->stats.nic_error++;
			port->ended = true;
			break;
		}
		uint32_t whole = pcap->swapped ? __builtin_bswap32(header[3]) : header[3];
		frames[n] = (struct frame){ .bytes = pcap->rx_room[n].bytes, .len = keep, .flags = whole > keep ? FRAME_TOO_LONG : 0 };
		pcap->stats.rx_bytes += keep;
		n++;
	}
	pcap->stats.rx_frames += n;
	return n;
}

static void
pcap_release(struct port *port, uint32_t queue, struct frame *frames, uint32_t n)
{
	(void)port;
	(void)queue;
	(void)frames;
	(void)n;
}

static uint32_t
pcap_tx_room(struct port *port, uint32_t queue, struct frame *frames, uint32_t max)
{
	(void)queue;
	struct port_pcap *pcap = (struct port_pcap *)port;
	if (max > PORT_BURST_MAX)
		max = PORT_BURST_MAX;
	for (uint32_t i = 0; i < max; i++)
		frames[i] = (struct frame){ .bytes = pcap->tx_room[i].bytes, .len = PCAP_FRAME_BYTES };
	return max;
}

static uint32_t
pcap_tx(struct port *port, uint32_t queue, struct frame *frames, uint32_t n)
{
	(void)queue;
	struct port_pcap *pcap = (struct port_pcap *)port;
	uint32_t done = 0;
	for (uint32_t i = 0; i < n; i++) {
		if (frames[i].len == 0)
			continue;
		if (pcap->tx) {
			struct timespec ts;
			clock_gettime(CLOCK_REALTIME, &ts);
			uint32_t header[4] = { (uint32_t)ts.tv_sec, (uint32_t)ts.tv_nsec, frames[i].len, frames[i].len };
			if (fwrite(header, sizeof header, 1, pcap->tx) != 1 || fwrite(frames[i].bytes, frames[i].len, 1, pcap->tx) != 1) {
				pcap->stats.tx_failed++;
				continue;
			}
		}
		pcap->stats.tx_frames++;
		pcap->stats.tx_bytes += frames[i].len;
		done++;
	}
	return done;
}

static void
pcap_stats(struct port *port, struct port_stats *stats)
{
	*stats = ((struct port_pcap *)port)->stats;
}

static bool
pcap_link_up(struct port *port)
{
	return !port->ended;
}

static void
pcap_close(struct port *port)
{
	struct port_pcap *pcap = (struct port_pcap *)port;
	if (pcap->rx)
		fclose(pcap->rx);
	if (pcap->tx)
		fclose(pcap->tx);
	free(pcap);
}

static const struct port_ops port_pcap = {
	.name = "pcap",
	.rx = pcap_rx,
	.release = pcap_release,
	.tx_room = pcap_tx_room,
	.tx = pcap_tx,
	.stats = pcap_stats,
	.link_up = pcap_link_up,
	.close = pcap_close,
};

struct port *
port_pcap_open(const char *name, const uint8_t mac[6], const char *rx_file, const char *tx_file, struct err *err)
{
	struct port_pcap *pcap = calloc(1, sizeof *pcap);
	if (!pcap) {
		err_set(err, ENOMEM, "port %s: no memory", name);
		return NULL;
	}
	pcap->port = (struct port){ .ops = &port_pcap, .queues = 1, .frame_bytes_max = PCAP_FRAME_BYTES, .numa_node = -1 };
	snprintf(pcap->port.name, sizeof pcap->port.name, "%s", name);
	memcpy(pcap->port.mac, mac, 6);
	uint32_t header[6];
	pcap->rx = fopen(rx_file, "rb");
	if (!pcap->rx) {
		err_set(err, errno, "port %s: cannot open %s: %s", name, rx_file, strerror(errno));
		goto fail;
	}
	if (fread(header, sizeof header, 1, pcap->rx) != 1)
		header[0] = 0;
	uint32_t magic = header[0], swapped = __builtin_bswap32(magic);
	if (swapped == 0xa1b2c3d4 || swapped == 0xa1b23c4d) {
		pcap->swapped = true;
		header[5] = __builtin_bswap32(header[5]);
	} else if (magic != 0xa1b2c3d4 && magic != 0xa1b23c4d) {
		err_set(err, EINVAL, "port %s: %s is no pcap file (pcapng is not read: convert it with editcap -F pcap)", name, rx_file);
		goto fail;
	}
	if ((header[5] & 0xffff) != 1) {
		err_set(err, EINVAL, "port %s: %s holds link type %u, not Ethernet (1)", name, rx_file, header[5] & 0xffff);
		goto fail;
	}
	if (tx_file) {
		uint32_t out[6] = { 0xa1b23c4d, 2 | 4 << 16, 0, 0, 262144, 1 };
		pcap->tx = fopen(tx_file, "wb");
		if (!pcap->tx || fwrite(out, sizeof out, 1, pcap->tx) != 1) {
			err_set(err, errno, "port %s: cannot write %s: %s", name, tx_file, strerror(errno));
			goto fail;
		}
	}
	return &pcap->port;
fail:
	pcap_close(&pcap->port);
	return NULL;
}
