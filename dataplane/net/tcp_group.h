/* tcp_group: the tcps of one port, one a lcore. A connection lives on the lcore that its SYN came to. A segment of it that comes to another
 * lcore (fragments put together, a device that spreads anew) is copied into that pair's hand-over ring, and the owner takes it from
 * there: no buffer of the port crosses a thread. Who owns it is read from the others' tables, which costs nothing until a segment is
 * a stranger's.
 *
 * Owner:  control opens it before the tcps, and closes it after them.
 * Thread: tcp_group_owner, tcp_group_give: the lcore of `from`; tcp_handed: the lcore of its tcp. */
#ifndef PENSTOCK_DATAPLANE_NET_TCP_GROUP_H
#define PENSTOCK_DATAPLANE_NET_TCP_GROUP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct tcp;
struct tcp_group;
struct packet;
struct address;

#define TCP_GROUP_MEMBERS_MAX 64
#define TCP_GROUP_RING_BYTES (512u << 10)	/* of each pair of lcores; touched when used */
#define TCP_GROUP_TURN 64			/* segments taken from one ring a turn */

enum { TCP_OWNER_NONE = -1, TCP_OWNER_UNSURE = -2 };

struct tcp_group *tcp_group_open(uint32_t members, struct err *err);
void tcp_group_close(struct tcp_group *group);	/* NULL is allowed */

/* tcp_open and tcp_close of a member; all members hash by the group's secret. */
void tcp_group_join(struct tcp_group *group, uint32_t member, struct tcp *tcp);
void tcp_group_leave(struct tcp_group *group, uint32_t member);

/* Which other member has a connection of that hash (two of 32 equal bits are not told apart: the owner looks again), TCP_OWNER_NONE, or
 * TCP_OWNER_UNSURE when a table did not hold still. */
int tcp_group_owner(const struct tcp_group *group, uint32_t from, uint32_t hash);
/* Copies a segment (its lengths and checksum were right) for another member. False: the ring is full. */
bool tcp_group_give(struct tcp_group *group, uint32_t from, uint32_t to, const struct packet *packet);
/* What a router said (tcp_too_big), likewise. */
bool tcp_group_give_too_big(struct tcp_group *group, uint32_t from, uint32_t to, const struct address *own, const struct address *peer, uint32_t seq,
			    uint32_t mtu);

/* One load. */
bool tcp_handed_waits(const struct tcp *tcp);
/* Every turn, before input: takes what others handed over. Returns how many segments. */
uint32_t tcp_handed(struct tcp *tcp, uint64_t now_ns);

#endif
