/* address: an IPv4 or IPv6 address with a port; IPv4 stands as an IPv4-mapped IPv6 address (RFC 4291 2.5.5.2). */
#ifndef PENSTOCK_BASE_ADDRESS_H
#define PENSTOCK_BASE_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct address {
	uint8_t ip[16];
	uint16_t port;		/* host byte order */
};

#define ADDRESS_TEXT_BYTES 64	/* room for "[ip]:port" */

static inline bool
address_is_v4(const struct address *a)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	return memcmp(a->ip, mapped, sizeof mapped) == 0;
}

static inline bool
address_is_group(const struct address *a)	/* 224.0.0.0/4 or ff00::/8: multicast */
{
	static const uint8_t v4[12] = { [10] = 0xff, [11] = 0xff };
	return a->ip[0] == 0xff || (memcmp(a->ip, v4, 12) == 0 && (a->ip[12] & 0xf0) == 0xe0);
}

static inline bool
address_is_any(const struct address *a)	/* 0.0.0.0 or :: */
{
	static const uint8_t zero[16];
	return memcmp(a->ip + (address_is_v4(a) ? 12 : 0), zero, address_is_v4(a) ? 4 : 16) == 0;
}

/* "192.0.2.1", "2001:db8::1"; returns the length. */
size_t address_ip_text(const struct address *a, char *text, size_t text_bytes);
/* "192.0.2.1:514", "[2001:db8::1]:514"; returns the length. */
size_t address_text(const struct address *a, char *text, size_t text_bytes);
/* Numeric IPv4 or IPv6 only. 0 or -EINVAL. port is left as it is. */
int address_parse_ip(struct address *a, const char *text);
struct sockaddr;
/* Of a kernel socket, AF_INET or AF_INET6. */
void address_from_sockaddr(struct address *a, const struct sockaddr *from);

/* prefix: "10.0.0.0/8", "2001:db8::/32" or one address. bits counts from the left of the 128. */
struct address_prefix {
	uint8_t ip[16];
	uint8_t bits;
};
int address_parse_prefix(struct address_prefix *prefix, const char *text);
bool address_in_prefix(const struct address *a, const struct address_prefix *prefix);
bool address_in_prefixes(const struct address *a, const struct address_prefix *prefixes, uint32_t count);

#endif
