/* listeners: which source instance a datagram for (address, port) belongs to. Built by control, one for each ingress; read by its thread. */
#ifndef PENSTOCK_DATAPLANE_LISTENERS_H
#define PENSTOCK_DATAPLANE_LISTENERS_H

#include "dataplane/drop.h"
#include "dataplane/ingress.h"

#define LISTENERS_MAX 255

struct listener {
	struct address at;		/* ip all zero (:: or 0.0.0.0): every address */
	bool any;
	uint8_t next;			/* further listeners of the same port; 0 none, else index + 1 */
	struct ingress_source *in;
	struct address_prefix *allow;	/* owned */
	uint32_t allow_count;
};

struct listeners {
	uint8_t by_port[65536];		/* 0 none, else index + 1 */
	struct listener list[LISTENERS_MAX];
	uint32_t count;
};

/* Control. 0; -EADDRINUSE when the same address and port has a source already; -ENOSPC; -EINVAL. */
int listeners_add(struct listeners *listeners, const struct address *at, const struct option_list *allow, struct ingress_source *in, struct err *err);
void listeners_free(struct listeners *listeners);

/* Hands the datagram to its source. DROP_NONE when taken. */
enum drop listeners_deliver(struct listeners *listeners, const struct datagram *datagram);

bool listener_allows(const struct listener *listener, const struct address *from);

#endif
