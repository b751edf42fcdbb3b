/* send: the load on a wire. One function per wire; each runs until the pace says so or *stop is set, and yields after a burst. */
#ifndef PENSTOCK_TOOLS_TRAFFICGEN_SEND_H
#define PENSTOCK_TOOLS_TRAFFICGEN_SEND_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "tools/trafficgen/load.h"
#include "tools/trafficgen/pace.h"

struct send_config {
	const char *device;		/* DPDK device; NULL: kernel sockets */
	const char *from;		/* ADDRESS[/LEN] of the device */
	const char *to;			/* ADDRESS:PORT or [ADDRESS]:PORT */
	uint32_t cpu;			/* of the sending thread of a device */
	bool no_huge;			/* DPDK on ordinary memory */
	const volatile sig_atomic_t *stop;
	bool hold;			/* stay on the wire after the last event until *stop (DPDK 22.11's memif can crash the far side by leaving) */
	void (*sent)(void *context);	/* called after the last event, before the wire is closed; may be NULL */
	void *context;
};

struct send_result {
	uint64_t events, bytes;		/* bytes of payload */
	uint64_t frames;
	uint64_t retries;		/* the wire was full or its far side not there yet */
	uint64_t ns;
};

/* "192.0.2.10:514" or "[::1]:514" cut in two; host has room for 64. */
int send_split(const char *to, char *host, uint16_t *port, struct err *err);

int send_kernel(const struct send_config *config, struct load *load, struct pace *pace, struct send_result *result, struct err *err);
int send_device(const struct send_config *config, struct load *load, struct pace *pace, struct send_result *result, struct err *err);

#endif
