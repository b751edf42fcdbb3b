/* net: Ethernet, VLAN, ARP, ICMP, neighbour discovery, IP with fragments, UDP and (tcp.h) TCP, for one port on one lcore.
 *
 * Owner:  the worker of that lcore.  Thread: the lcore; control may read the counters.
 * net_input walks a burst; whatever is UDP for one of our addresses goes to on_udp. Replies are sent at once through the port. */
#ifndef PENSTOCK_DATAPLANE_NET_H
#define PENSTOCK_DATAPLANE_NET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/address.h"
#include "base/counter.h"
#include "base/err.h"
#include "dataplane/drop.h"
#include "dataplane/port.h"

#define NET_ADDRESSES_MAX 16
#define NET_GROUPS_MAX 32
#define NET_NEIGHBOURS 256		/* table entries; a power of two */
#define NET_FRAG_DATAGRAMS 64		/* being put together at a time */
#define NET_FRAG_PIECES_MAX 128		/* fragments of one datagram */
#define NET_FRAG_AGE_NS (UINT64_C(10) * 1000 * 1000 * 1000)
#define NET_ICMP_ERRORS_PER_S 100	/* port unreachables sent */
#define NET_EXTENSION_HEADERS_MAX 8

/* A datagram for one of our addresses. All pointers end when on_udp returns. */
struct net_datagram {
	const uint8_t *payload;
	uint32_t len;
	struct address from, to;
};

/* DROP_NONE: taken. Else why not: DROP_NO_LISTENER (answered with port unreachable) or DROP_SENDER_NOT_ALLOWED. */
typedef enum drop (*net_on_udp)(void *context, const struct net_datagram *datagram);

struct net_config {
	struct address_prefix addresses[NET_ADDRESSES_MAX];	/* own address with its host bits, and the prefix; link-local fe80:: from the MAC is added when there is any IPv6 one */
	uint32_t address_count;
	struct address groups[NET_GROUPS_MAX];	/* multicast, joined with IGMP and MLD */
	uint32_t group_count;
	struct address gateway4, gateway6;		/* all zero: none */
	uint16_t vlan;					/* 0: untagged */
	uint32_t mtu;					/* 0: 1500 */
	bool trust_udp_checksum;			/* do not check it: for veth peers that leave it to "hardware" */
};

/* frames_in = arp + icmp + igmp + tcp_control + fragment_joined + fragment_held + handed_held + to_source + every drop; always, to the unit. The device's
 * own drops (port_stats) come on top on both sides. */
struct net_counters {
	struct counter frames_in, bytes_in;
	struct counter arp, icmp, igmp;		/* consumed: ARP; ICMP, ICMPv6 and neighbour discovery; group membership */
	struct counter tcp_control;		/* consumed: segments of TCP without new data; those with it are to_source */
	struct counter fragment_joined;		/* fragments that went into a whole datagram, the last one not counted */
	struct counter fragment_held;		/* gauge: fragments waiting */
	struct counter handed_held;		/* gauge, over all lcores of the port: segments in hand-over rings. Of one lcore: given minus taken */
	struct counter to_source, bytes_to_source;	/* datagrams taken, and their payload */
	struct counter sent, sent_failed;	/* frames of our own */
	struct counter drops[DROP_COUNT];
};
extern const struct metric net_metrics[];	/* all but drops, of struct net_counters */
extern const uint32_t net_metric_count;

/* Both sides of the equation, for tests and status. */
static inline uint64_t
net_account_out(const struct net_counters *c)
{
	uint64_t sum = counter_read(&c->arp) + counter_read(&c->icmp) + counter_read(&c->igmp) + counter_read(&c->tcp_control) + counter_read(&c->fragment_joined) +
		       counter_read(&c->fragment_held) + counter_read(&c->handed_held) + counter_read(&c->to_source);
	for (int i = 1; i < DROP_COUNT; i++)
		sum += counter_read(&c->drops[i]);
	return sum;
}

struct net;
struct tcp;

/* The port must be open (its MAC is used). */
struct net *net_open(const struct net_config *config, struct port *port, uint32_t queue, net_on_udp on_udp, void *context, struct err *err);
void net_close(struct net *net);	/* fragments held are forgotten; NULL is allowed */
struct net_counters *net_counters(struct net *net);
uint32_t net_queue(const struct net *net);
uint32_t net_queues(const struct net *net);	/* of its port */
bool net_has_address(const struct net *net, const struct address *address);	/* one of its own unicast addresses */

/* Where TCP segments for our addresses go; NULL (at first): they are dropped as `protocol`. */
void net_set_tcp(struct net *net, struct tcp *tcp);

/* A TCP segment for one of our addresses, lengths and checksum right; for a client with a state machine of its own. All pointers end when on_tcp returns. */
struct net_segment {
	const uint8_t *tcp;		/* header, options, data */
	uint32_t len;
	struct address from, to;
};
typedef void (*net_on_tcp)(void *context, const struct net_segment *segment);
/* Instead of net_set_tcp. */
void net_set_on_tcp(struct net *net, net_on_tcp on_tcp, void *context);

/* A burst as port_rx gave it; the frames stay the caller's to release, and nothing points into them afterwards. */
void net_input(struct net *net, struct frame *frames, uint32_t n, uint64_t now_ns);
/* Timers: fragments that are too old, neighbours, announcements. Cheap: call it every turn. */
void net_tick(struct net *net, uint64_t now_ns);

/* MAC of the next hop to `to`: true when known, else a question went out (at most one a second and address) and it is to be
 * asked again later; input must go on. Also true for multicast. */
bool net_resolve(struct net *net, const struct address *to, uint8_t mac[6], uint64_t now_ns);
/* Our address for talking to `to` (of its family; on its prefix if there is one). False: none. */
bool net_source_address(const struct net *net, const struct address *to, struct address *from);
/* Sends one datagram (it must fit the MTU). 0, -EAGAIN (neighbour not known yet, asked), -ENOBUFS, -EMSGSIZE, -EADDRNOTAVAIL. */
int net_send_udp(struct net *net, const struct address *from, const struct address *to, const void *payload, uint32_t len,
		 uint64_t now_ns);

#endif
