/* stream_carriers: the two carriers of streams as cases of tests/conformance/stream_conformance.h, and what stands behind them for tests that look there: kernel
 * sockets of loopback; and the lcore's TCP, net and tcp over port_mem, with clients whose TCP is a few lines (a wire that loses nothing). One of each at a time. */
#ifndef PENSTOCK_TESTS_STREAM_CARRIERS_H
#define PENSTOCK_TESTS_STREAM_CARRIERS_H

#include <netinet/in.h>

#include "dataplane/listen/kernel_stream.h"
#include "dataplane/tcp_carrier.h"
#include "tests/conformance/stream_conformance.h"
#include "tests/dataplane/net/bench.h"

struct kernel {
	struct kernel_streams ks;
	struct sockaddr_in to;
};

#define LCORE_CLIENTS 16
#define CLIENT_TX_BYTES (256u << 10)
#define CLIENT_RX_BYTES (32u << 10)
#define CLIENT_MSS 1400u

struct client {
	bool used, open, fin, fin_sent, fin_got, reset;
	struct address from;
	uint32_t una, nxt, ack;		/* ours, and what we acknowledge */
	uint32_t window, said;		/* of penstock; what we said last of our own */
	uint8_t shift;
	uint32_t quiet;			/* turns without progress while something is on its way */
	uint8_t tx[CLIENT_TX_BYTES], rx[CLIENT_RX_BYTES];	/* tx: from una on */
	uint32_t tx_len, rx_len;
};

struct lcore {
	struct port *port;
	struct net *net;
	struct tcp_listeners listeners;
	struct tcp_carrier carrier;
	struct client clients[LCORE_CLIENTS];
	uint16_t next_port;
	uint32_t flight_max;		/* of a client, bytes: its congestion window; 0: none */
};

extern struct stream_case kernel_case, lcore_case;
extern struct kernel kernel_side;
extern struct lcore lcore_side;

#endif
