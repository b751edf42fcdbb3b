#include "dataplane/drop.h"

#define DROPS(X)                                                                                                                           \
	X(NONE, "none", "Not dropped.")                                                                                                     \
	X(TRUNCATED, "truncated", "Frames shorter than their headers say.")                                                                \
	X(TOO_LONG, "too_long", "Frames longer than a receive buffer.")                                                                    \
	X(NOT_IP, "not_ip", "Frames of an Ethernet type other than IPv4, IPv6 and ARP.")                                                   \
	X(VLAN, "vlan", "Frames of another VLAN, untagged ones on a tagged port, or doubly tagged.")                                       \
	X(NOT_FOR_US, "not_for_us", "Frames whose MAC or IP address is not one of the port's.")                                            \
	X(BAD_ARP, "bad_arp", "ARP packets that make no sense.")                                                                           \
	X(IP_VERSION, "ip_version", "Packets whose IP version or header length makes no sense.")                                           \
	X(BAD_LENGTH, "bad_length", "Packets with a length field that contradicts another.")                                               \
	X(CHECKSUM_IP, "checksum_ip", "IPv4 headers with a wrong checksum.")                                                               \
	X(CHECKSUM_UDP, "checksum_udp", "UDP datagrams with a wrong checksum, or none over IPv6.")                                         \
	X(CHECKSUM_ICMP, "checksum_icmp", "ICMP, ICMPv6 and IGMP messages with a wrong checksum.")                                         \
	X(BAD_SOURCE, "bad_source", "Packets from a multicast, broadcast, loopback or one of our own addresses.")                          \
	X(BAD_ICMP, "bad_icmp", "Neighbour discovery or group messages that break their rules.")                                           \
	X(EXTENSION_HEADERS, "extension_headers", "IPv6 packets whose extension headers are too many, broken or refused.")                 \
	X(CHECKSUM_TCP, "checksum_tcp", "TCP segments with a wrong checksum.")                                                             \
	X(TCP_FLAGS, "tcp_flags", "TCP segments whose flags have no place in their connection's state.")                                   \
	X(TCP_WINDOW, "tcp_window", "TCP segments outside of the window, and resets that are not exact.")                                  \
	X(TCP_ACK, "tcp_ack", "TCP segments that acknowledge what was never sent, or long ago.")                                           \
	X(TCP_PAWS, "tcp_paws", "TCP segments with a timestamp older than the last, or without one.")                                      \
	X(TCP_DUPLICATE, "tcp_duplicate", "TCP segments all of whose bytes had come before.")                                              \
	X(TCP_NO_MEMORY, "tcp_no_memory", "TCP segments for which no chunk was free; not acknowledged, they come again.")                  \
	X(TCP_NO_ROOM, "tcp_no_room", "TCP connections not begun because all places were in use.")                                         \
	X(TCP_HANDOVER, "tcp_handover", "TCP segments of another lcore's connection that its hand-over ring had no room for: not answered.") \
	X(TCP_STRANGER, "tcp_stranger", "TCP segments of no known connection; answered with a reset.")                                     \
	X(PROTOCOL, "protocol", "Packets that are not UDP, TCP or ICMP.")                                                                  \
	X(FRAGMENT_BAD, "fragment_bad", "Fragments whose offset and length fit no datagram.")                                              \
	X(FRAGMENT_OVERLAP, "fragment_overlap", "Fragments of datagrams of which two overlapped.")                                         \
	X(FRAGMENT_DUPLICATE, "fragment_duplicate", "Fragments that were already there.")                                                  \
	X(FRAGMENT_TOO_MANY, "fragment_too_many", "Fragments of datagrams in more pieces than allowed.")                                   \
	X(FRAGMENT_NO_ROOM, "fragment_no_room", "Fragments pushed out by newer datagrams.")                                                \
	X(FRAGMENT_TIMEOUT, "fragment_timeout", "Fragments whose rest never came.")                                                        \
	X(NO_LISTENER, "no_listener", "UDP datagrams to a port on which no source listens.")                                               \
	X(SENDER_NOT_ALLOWED, "sender_not_allowed", "Datagrams from senders outside the source's allowed prefixes.")                       \
	X(NIC_MISSED, "nic_missed", "Frames the device missed because its receive queue was full.")                                        \
	X(NO_MBUF, "no_mbuf", "Frames lost because the device found no receive buffer.")                                                   \
	X(NIC_ERROR, "nic_error", "Frames the device found bad on the wire.")                                                              \
	X(CHANNEL_FULL, "channel_full", "Events for which the channel had no room.")                                                       \
	X(CHANNEL_FAILED, "channel_failed", "Events that the channel could not write.")                                                    \
	X(ARENA_FULL, "arena_full", "Events with more headers than a batch has memory for.")                                               \
	X(TOO_LARGE, "too_large", "Events larger than a block takes.")                                                                     \
	X(FILTERED, "filtered", "Events an interceptor dropped.")                                                                          \
	X(UNROUTED, "unrouted", "Events for which the selector named no channel.")                                                         \
	X(BAD_SYSLOG, "bad_syslog", "Messages that are no syslog.")                                                                        \
	X(EMPTY, "empty", "Messages with nothing in them.")                                                                                \
	X(SOCKET_OVERFLOW, "socket_overflow", "Datagrams the kernel lost because a socket's buffer was full.")                             \
	X(STOPPING, "stopping", "Messages that came while the pipeline was being taken down.")

#define X(id, name, help) [DROP_##id] = name,
const char *const drop_name[DROP_COUNT] = { DROPS(X) };
#undef X
#define X(id, name, help) [DROP_##id] = help,
const char *const drop_help[DROP_COUNT] = { DROPS(X) };
#undef X
