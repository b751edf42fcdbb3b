#include "base/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

size_t
address_ip_text(const struct address *a, char *text, size_t text_bytes)
{
	const char *p = address_is_v4(a) ? inet_ntop(AF_INET, a->ip + 12, text, (socklen_t)text_bytes)
					 : inet_ntop(AF_INET6, a->ip, text, (socklen_t)text_bytes);
	return p ? strlen(p) : 0;
}

size_t
address_text(const struct address *a, char *text, size_t text_bytes)
{
	char ip[ADDRESS_TEXT_BYTES];
	address_ip_text(a, ip, sizeof ip);
	int n = snprintf(text, text_bytes, address_is_v4(a) ? "%s:%u" : "[%s]:%u", ip, a->port);
	return (size_t)n < text_bytes ? (size_t)n : text_bytes - 1;
}

int
address_parse_ip(struct address *a, const char *text)
{
	uint8_t v4[4];
	if (inet_pton(AF_INET, text, v4) == 1) {
		memset(a->ip, 0, 10);
		a->ip[10] = a->ip[11] = 0xff;
		memcpy(a->ip + 12, v4, 4);
		return 0;
	}
	return inet_pton(AF_INET6, text, a->ip) == 1 ? 0 : -EINVAL;
}

int
address_parse_prefix(struct address_prefix *prefix, const char *text)
{
	char ip[ADDRESS_TEXT_BYTES];
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	if (len >= sizeof ip)
		return -EINVAL;
	memcpy(ip, text, len);
	ip[len] = 0;
	struct address a;
	if (address_parse_ip(&a, ip))
		return -EINVAL;
	unsigned whole = address_is_v4(&a) ? 32 : 128;
	unsigned long bits = whole;
	if (slash) {
		char *end;
		bits = strtoul(slash + 1, &end, 10);
		if (end == slash + 1 || *end || bits > whole)
			return -EINVAL;
	}
	memcpy(prefix->ip, a.ip, 16);
	prefix->bits = (uint8_t)(bits + 128 - whole);
	return 0;
}

bool
address_in_prefix(const struct address *a, const struct address_prefix *prefix)
{
	unsigned bytes = prefix->bits / 8, rest = prefix->bits % 8;
	if (memcmp(a->ip, prefix->ip, bytes) != 0)
		return false;
	return rest == 0 || ((a->ip[bytes] ^ prefix->ip[bytes]) >> (8 - rest)) == 0;
}

void
address_from_sockaddr(struct address *a, const struct sockaddr *from)
{
	if (from->sa_family == AF_INET) {
		const struct sockaddr_in *v4 = (const struct sockaddr_in *)from;
		memset(a->ip, 0, 10);
		a->ip[10] = a->ip[11] = 0xff;
		memcpy(a->ip + 12, &v4->sin_addr, 4);
		a->port = ntohs(v4->sin_port);
	} else {
		const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)from;
		memcpy(a->ip, &v6->sin6_addr, 16);
		a->port = ntohs(v6->sin6_port);
	}
}

bool
address_in_prefixes(const struct address *a, const struct address_prefix *prefixes, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (address_in_prefix(a, &prefixes[i]))
			return true;
	return false;
}
