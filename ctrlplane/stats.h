/* stats: what the registered counters (base/counter.h) add up to, as Flume's JSON, Prometheus text, penstockctl's JSON, and the
 * two accounts that `penstockctl drops` holds even.
 *
 * Names. A component registers metric sets under these kinds; several threads may register the same kind and component, readers
 * see the sum. Names in CamelCase are Flume's attributes and appear in Flume's JSON; names in snake_case are our own and appear
 * everywhere else.
 *
 *   kind      component   metrics of the accounts
 *   PORT      p0          frames_in = arp + icmp + igmp + fragment_joined + fragment_held (gauge) + handed_held (gauge)
 *                         + tcp_control + to_source
 *                         + every drop_<name>
 *                         (frames_in includes what the NIC dropped: drop_nic_missed, drop_no_mbuf. Of a reassembled datagram the
 *                         frame that completes it is to_source, the others are fragment_joined.)
 *   LISTEN    r1          datagrams_in = to_source + every drop_<name>      (kernel sockets; SO_RXQ_OVFL is in datagrams_in too,
 *                         as drop_rcvbuf)
 *   SOURCE    r1          events_parsed = filtered + unrouted + routed + every drop_<name>
 *                         (routed: handed to at least one channel, whatever became of it there; held: gauge, events still in
 *                         the staging block)
 *   INTAKE    c1          offered = channel_full + too_large + in_flight (gauge: in open blocks, or submitted and not yet
 *                         completed) + acknowledged (shown as stored) + store_failed (shown as failed). Registered by each ingress
 *                         for each of its channels; all in one thread, so that the account is even at the end of each turn.
 *   CHANNEL   c1          stored, failed; and Flume's attributes. What is stored reaches INTAKE a completion later.
 *   SINK      k1          Flume's attributes, our own
 *
 * A metric that nobody registers counts as 0; a component without the account's in-metric has no account.
 * Counters are read while their writers go on, so an account is read again some times until it is even, and is called "moving"
 * when it is not but its in-metric still grows. */
#ifndef PENSTOCK_CTRLPLANE_STATS_H
#define PENSTOCK_CTRLPLANE_STATS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/counter.h"

#define STATS_PORT "PORT"
#define STATS_LISTEN "LISTEN"
#define STATS_SOURCE "SOURCE"
#define STATS_INTAKE "INTAKE"
#define STATS_CHANNEL "CHANNEL"
#define STATS_SINK "SINK"

#define STATS_FRAMES_IN "frames_in"
#define STATS_ARP "arp"
#define STATS_ICMP "icmp"
#define STATS_IGMP "igmp"
#define STATS_FRAGMENT_JOINED "fragment_joined"
#define STATS_FRAGMENT_HELD "fragment_held"
#define STATS_HANDED_HELD "handed_held"
#define STATS_TCP_CONTROL "tcp_control"
#define STATS_TO_SOURCE "to_source"
#define STATS_DATAGRAMS_IN "datagrams_in"
#define STATS_EVENTS_PARSED "events_parsed"
#define STATS_FILTERED "filtered"
#define STATS_UNROUTED "unrouted"
#define STATS_ROUTED "routed"
#define STATS_HELD "held"
#define STATS_OFFERED "offered"
#define STATS_CHANNEL_FULL "channel_full"
#define STATS_TOO_LARGE "too_large"
#define STATS_IN_FLIGHT "in_flight"
#define STATS_ACKNOWLEDGED "acknowledged"
#define STATS_STORE_FAILED "store_failed"
#define STATS_STORED "stored"
#define STATS_FAILED "failed"
#define STATS_DROP "drop_"		/* prefix */

#define STATS_ACCOUNT_OUTS 12

/* in = the sum of out, for each component that has `in`. An out name that ends in '_' is a prefix. */
struct stats_account {
	const char *name;
	const char *in_kind, *in;
	struct {
		const char *kind, *name;
		const char *label;	/* shown in place of name, unless NULL */
	} out[STATS_ACCOUNT_OUTS];
};
extern const struct stats_account stats_accounts[];	/* ends with a NULL name */

/* Owner: control. Components are added and read by any thread, under a lock of its own. */
struct stats;

struct stats *stats_open(struct clock *clock);
void stats_close(struct stats *stats);

/* A configured component. type: Flume's alias or class name ("syslogudp", "file"); it decides which attributes Flume shows, and
 * whether Flume shows the component at all (netcatudp, logger and null it does not). Starts now. Adding one again restarts it. */
void stats_component_add(struct stats *stats, const char *kind, const char *name, const char *type);
void stats_component_stopped(struct stats *stats, const char *kind, const char *name);	/* StopTime becomes now */
void stats_component_remove(struct stats *stats, const char *kind, const char *name);

/* For tests: what to do between two readings of an account that is not even; default: sleep 1 ms. */
void stats_set_pause(struct stats *stats, void (*pause)(void *context), void *context);

/* Texts are malloc'd, the caller frees; NULL when out of memory. */
char *stats_flume_json(struct stats *stats);		/* flume.md's shape: {"SOURCE.r1":{"EventReceivedCount":"0",...},...} */
char *stats_prometheus(struct stats *stats);		/* text format 0.0.4 */

/* New references. Each fills an object that is to be an answer of the control socket. */
void stats_metrics(struct stats *stats, json_t *answer);	/* "metrics": [{kind, component, name, type, unit, help, value}] */
void stats_drops(struct stats *stats, json_t *answer);		/* "even": bool, "accounts": [...]; may take some ms, see above */
void stats_status(struct stats *stats, json_t *answer);		/* "version", "pid", "uptime_seconds", "components": [...] */

#define STATS_NUMBER_BYTES 64
/* A double as Java's Double.toString writes it: 0.0, 12.5, 1.0E-4. */
void stats_java_double(double value, char text[STATS_NUMBER_BYTES]);

#endif
