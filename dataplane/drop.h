/* drop: every reason to let a frame or an event go, with a name. One counter for each stands in whoever drops. */
#ifndef PENSTOCK_DATAPLANE_DROP_H
#define PENSTOCK_DATAPLANE_DROP_H

#include <stdint.h>

enum drop {
	DROP_NONE,			/* not a drop: "taken" where a function answers with an enum drop */

	/* Frames. Together with what was consumed and handed to sources they make up all frames that came in. */
	DROP_TRUNCATED,			/* shorter than its headers say */
	DROP_TOO_LONG,			/* longer than a receive buffer */
	DROP_NOT_IP,			/* an Ethernet type that nobody here speaks */
	DROP_VLAN,			/* another VLAN's, or doubly tagged */
	DROP_NOT_FOR_US,		/* MAC or IP address is not one of the port's */
	DROP_BAD_ARP,
	DROP_IP_VERSION,		/* version or header length field makes no sense */
	DROP_BAD_LENGTH,		/* a length field that contradicts another */
	DROP_CHECKSUM_IP,
	DROP_CHECKSUM_UDP,
	DROP_CHECKSUM_ICMP,
	DROP_BAD_SOURCE,		/* source address is multicast, broadcast, loopback or ours */
	DROP_BAD_ICMP,			/* neighbour discovery that breaks its rules (hop limit, options) */
	DROP_EXTENSION_HEADERS,		/* IPv6 chain too long, broken, or with a header we must refuse */
	DROP_CHECKSUM_TCP,
	DROP_TCP_FLAGS,			/* SYN on a connection, no ACK, or flags that cannot be together */
	DROP_TCP_WINDOW,		/* outside of the window, RST that is not exact */
	DROP_TCP_ACK,			/* acknowledges what was never sent, or long ago */
	DROP_TCP_PAWS,			/* timestamp older than the last (RFC 7323), or none */
	DROP_TCP_DUPLICATE,		/* all of its bytes had come */
	DROP_TCP_NO_MEMORY,		/* no chunk for bytes out of order or not yet taken: unacknowledged */
	DROP_TCP_NO_ROOM,		/* SYN with all connections in use */
	DROP_TCP_HANDOVER,		/* of a connection of another lcore, and its hand-over ring is full: unanswered */
	DROP_TCP_STRANGER,		/* of no connection we know: answered with RST */
	DROP_PROTOCOL,			/* not UDP, TCP or ICMP */
	DROP_FRAGMENT_BAD,		/* offset and length that fit no datagram */
	DROP_FRAGMENT_OVERLAP,		/* the fragment and all held of its datagram */
	DROP_FRAGMENT_DUPLICATE,
	DROP_FRAGMENT_TOO_MANY,		/* more fragments in one datagram than allowed */
	DROP_FRAGMENT_NO_ROOM,		/* pushed out by newer datagrams */
	DROP_FRAGMENT_TIMEOUT,		/* the rest never came */
	DROP_NO_LISTENER,
	DROP_SENDER_NOT_ALLOWED,
	DROP_NIC_MISSED,		/* from the device: no room in its receive queue */
	DROP_NO_MBUF,			/* from the device: no receive buffer */
	DROP_NIC_ERROR,			/* from the device: bad at the wire */

	/* Events. */
	DROP_EVENT_FIRST,
	DROP_CHANNEL_FULL = DROP_EVENT_FIRST,
	DROP_CHANNEL_FAILED,		/* the log could not be written */
	DROP_ARENA_FULL,		/* more headers than a batch has memory for */
	DROP_TOO_LARGE,			/* larger than a block takes */
	DROP_FILTERED,			/* an interceptor said so */
	DROP_UNROUTED,			/* the selector names no channel */
	DROP_BAD_SYSLOG,
	DROP_EMPTY,			/* nothing in it */
	DROP_SOCKET_OVERFLOW,		/* the kernel's socket buffer was full (SO_RXQ_OVFL) */
	DROP_STOPPING,			/* came while the pipeline was being taken down */

	DROP_COUNT
};

extern const char *const drop_name[DROP_COUNT];	/* snake_case, as penstockctl drops shows it */
extern const char *const drop_help[DROP_COUNT];	/* one sentence for humans */

#endif
