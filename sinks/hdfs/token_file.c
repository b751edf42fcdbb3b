#include "sinks/hdfs/token_file.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FILE_BYTES (1u << 20)

enum format { WRITABLE, PROTOBUF };	/* the byte behind "HDTS" */

struct bytes {
	const uint8_t *at, *end;
};

struct token {				/* pieces of the file */
	struct bytes alias, identifier, password, kind, service;
};

/* ---- Writables ---- */

/* Hadoop's vint of a length; false: the bytes end, or it is none. */
static bool
vint_read(struct bytes *from, size_t *number)
{
	if (from->at == from->end)
		return false;
	int8_t first = (int8_t)*from->at++;
	if (first >= -112) {
		*number = first < 0 ? 0 : (size_t)first;
		return true;
	}
	int len = first >= -120 ? -112 - first : 0;
	if (len == 0 || len > 4 || from->end - from->at < len)
		return false;
	for (*number = 0; len; len--)
		*number = *number << 8 | *from->at++;
	return true;
}

static bool
piece_read(struct bytes *from, struct bytes *piece)
{
	size_t len;
	if (!vint_read(from, &len) || (size_t)(from->end - from->at) < len)
		return false;
	*piece = (struct bytes){ from->at, from->at + len };
	from->at += len;
	return true;
}

static bool
writable_read(struct bytes *from, struct token *token)
{
	return piece_read(from, &token->alias) && piece_read(from, &token->identifier) && piece_read(from, &token->password) &&
		piece_read(from, &token->kind) && piece_read(from, &token->service);
}

/* ---- protocol buffers ---- */

static bool
varint_read(struct bytes *from, uint64_t *number)
{
	*number = 0;
	for (unsigned shift = 0; shift < 64 && from->at < from->end; shift += 7) {
		uint8_t byte = *from->at++;
		*number |= (uint64_t)(byte & 127) << shift;
		if (byte < 128)
			return true;
	}
	return false;
}

/* The next field of bytes; others are passed over. False: the end, or nonsense (then from->at is NULL). */
static bool
field_read(struct bytes *from, uint32_t *number, struct bytes *value)
{
	while (from->at < from->end) {
		uint64_t tag, len;
		if (!varint_read(from, &tag) || !varint_read(from, &len))
			break;
		if ((tag & 7) == 0)
			continue;	/* a number */
		if ((tag & 7) != 2 || (uint64_t)(from->end - from->at) < len)
			break;
		*number = (uint32_t)(tag >> 3);
		*value = (struct bytes){ from->at, from->at + len };
		from->at += len;
		return true;
	}
	if (from->at != from->end)
		from->at = NULL;
	return false;
}

/* CredentialsKVProto { alias = 1; token = 2 { identifier = 1, password = 2, kind = 3, service = 4 } }. */
static bool
proto_read(struct bytes entry, struct token *token)
{
	uint32_t number;
	struct bytes value, inner;
	while (field_read(&entry, &number, &value)) {
		if (number == 1)
			token->alias = value;
		if (number != 2)
			continue;
		struct bytes *pieces[] = { &token->identifier, &token->password, &token->kind, &token->service };
		while (field_read(&value, &number, &inner))
			if (number >= 1 && number <= 4)
				*pieces[number - 1] = inner;
		if (!value.at)
			return false;
	}
	return entry.at != NULL;
}

/* ---- what is wanted of it ---- */

static bool
same(struct bytes piece, const char *text)
{
	size_t len = strlen(text);
	return (size_t)(piece.end - piece.at) == len && (len == 0 || memcmp(piece.at, text, len) == 0);
}

/* The part before the port's colon as text; NULL: none, or too long. The port as text behind it. */
static const char *
place_split(const char *place, size_t len, char *host, size_t room)
{
	const char *colon = len ? memrchr(place, ':', len) : NULL;
	size_t host_len = colon ? (size_t)(colon - place) : 0;
	if (!host_len || host_len + 8 > room || (size_t)(place + len - colon) > 7)
		return NULL;
	snprintf(host, room, "%.*s%c%.*s", (int)host_len, place, 0, (int)(place + len - colon - 1), colon + 1);
	return host + host_len + 1;
}

/* Do both names lead to one address and port? Hadoop writes a token's service with the NameNode's number (hadoop.security.token.service.use_ip). */
static bool
same_address(struct bytes name, const char *service)
{
	char one[300], other[300];
	const char *port = place_split((const char *)name.at, (size_t)(name.end - name.at), one, sizeof one);
	const char *port_other = place_split(service, strlen(service), other, sizeof other);
	if (!port || !port_other || strcmp(port, port_other) != 0)
		return false;
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *ours = NULL, *theirs = NULL;
	bool found = false;
	if (getaddrinfo(one, NULL, &hints, &theirs) == 0 && getaddrinfo(other, NULL, &hints, &ours) == 0) {
		for (struct addrinfo *a = theirs; a; a = a->ai_next)
			for (struct addrinfo *b = ours; b; b = b->ai_next)
				found = found || (a->ai_addrlen == b->ai_addrlen && memcmp(a->ai_addr, b->ai_addr, a->ai_addrlen) == 0);
	}
	if (theirs)
		freeaddrinfo(theirs);
	if (ours)
		freeaddrinfo(ours);
	return found;
}

static bool
of_service(const struct token *token, const char *service, bool resolve)
{
	static const char *const logical[] = { "ha-hdfs:", "ha-webhdfs:", "ha-swebhdfs:" };
	struct bytes name = token->service;
	size_t len = (size_t)(name.end - name.at);
	if (!service)
		return false;
	for (size_t i = 0; i < sizeof logical / sizeof *logical; i++) {
		size_t prefix = strlen(logical[i]);
		if (len > prefix && memcmp(name.at, logical[i], prefix) == 0)
			return same((struct bytes){ name.at + prefix, name.end }, service);
	}
	return same(name, service) || (resolve && same_address(name, service));
}

static uint8_t *
piece_write(uint8_t *to, struct bytes piece)
{
	size_t len = (size_t)(piece.end - piece.at);
	if (len <= 127) {
		*to++ = (uint8_t)len;
	} else {
		int bytes = len > 0xffff ? 3 : len > 0xff ? 2 : 1;
		*to++ = (uint8_t)(-112 - bytes);
		while (bytes--)
			*to++ = (uint8_t)(len >> 8 * bytes);
	}
	if (len)
		memcpy(to, piece.at, len);
	return to + len;
}

/* As Token.encodeToUrlString: the token as Writables, in the URL's base64 without padding. */
static char *
url_form(const struct token *token)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	const struct bytes *pieces[] = { &token->identifier, &token->password, &token->kind, &token->service };
	size_t room = 0;
	for (size_t i = 0; i < 4; i++)
		room += (size_t)(pieces[i]->end - pieces[i]->at) + 4;
	uint8_t *bytes = malloc(room), *end = bytes;
	char *text = malloc(room / 3 * 4 + 5), *to = text;
	if (bytes && text) {
		for (size_t i = 0; i < 4; i++)
			end = piece_write(end, *pieces[i]);
		size_t len = (size_t)(end - bytes);
		for (size_t k = 0; k < len; k += 3) {
			uint32_t three = (uint32_t)bytes[k] << 16 | (k + 1 < len ? (uint32_t)bytes[k + 1] << 8 : 0) | (k + 2 < len ? bytes[k + 2] : 0);
			for (size_t d = 0; d < (len - k < 3 ? len - k + 1 : 4); d++)
				*to++ = digits[three >> (18 - 6 * d) & 63];
		}
		*to = '\0';
	} else {
		free(text);
		text = NULL;
	}
	free(bytes);
	return text;
}

/* Counts the tokens for HDFS; found is the one of the service (resolve: by its address, too), else the first. False: cut or damaged. */
static bool
tokens_look(struct bytes file, enum format format, const char *service, bool resolve, struct token *found, uint32_t *tokens, bool *right)
{
	*tokens = 0;
	size_t count = SIZE_MAX;
	uint32_t number;
	struct bytes value;
	if (format == WRITABLE && !vint_read(&file, &count))
		return false;
	for (size_t i = 0; i < count; i++) {
		struct token token = { { NULL } };
		if (format == WRITABLE) {
			if (!writable_read(&file, &token))
				return false;
		} else {
			if (i == 0 && (!varint_read(&file, &(uint64_t){ 0 })))	/* the message's length */
				return false;
			if (!field_read(&file, &number, &value))
				return file.at != NULL;
			if (number != 1)	/* secrets */
				continue;
			if (!proto_read(value, &token))
				return false;
		}
		if (!same(token.kind, "HDFS_DELEGATION_TOKEN") && !same(token.kind, "WEBHDFS delegation") && !same(token.kind, "SWEBHDFS delegation"))
			continue;
		if (!(*tokens)++)
			*found = token;
		if (of_service(&token, service, resolve)) {
			*found = token;
			*right = true;
			return true;
		}
	}
	return true;
}

int
token_file_read(const char *path, const char *service, char **text, struct err *err)
{
	uint8_t *file = malloc(FILE_BYTES);
	size_t len = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc = 0;
	*text = NULL;
	if (!file)
		rc = err_set(err, ENOMEM, "no memory");
	else if (fd < 0)
		rc = err_set(err, errno, "%s (HADOOP_TOKEN_FILE_LOCATION): cannot be read: %s", path, strerror(errno));
	for (ssize_t n = 1; !rc && n > 0 && len < FILE_BYTES; len += (size_t)(n > 0 ? n : 0))
		n = read(fd, file + len, FILE_BYTES - len);
	if (fd >= 0)
		close(fd);
	struct token token = { { NULL } };
	uint32_t tokens = 0;
	bool right = false;
	if (!rc && (len < 6 || memcmp(file, "HDTS", 4) != 0 || file[4] > PROTOBUF))
		rc = err_set(err, EINVAL, "%s (HADOOP_TOKEN_FILE_LOCATION): no credentials file of Hadoop", path);
	struct bytes from = { file ? file + 5 : NULL, file ? file + len : NULL };
	if (!rc && (!tokens_look(from, (enum format)file[4], service, false, &token, &tokens, &right) ||
		    (tokens > 1 && !right && !tokens_look(from, (enum format)file[4], service, true, &token, &tokens, &right))))
		rc = err_set(err, EINVAL, "%s (HADOOP_TOKEN_FILE_LOCATION): the credentials file of %zu bytes is cut or damaged", path, len);
	if (!rc && !tokens)
		rc = err_set(err, ENODATA, "%s (HADOOP_TOKEN_FILE_LOCATION): it has no token for HDFS", path);
	/* The only one there is may have a name for the service that we do not know; of several one would be a guess. */
	if (!rc && tokens > 1 && !right)
		rc = err_set(err, EINVAL, "%s (HADOOP_TOKEN_FILE_LOCATION): of its %u tokens for HDFS none is for %s (the first one is for %.*s)", path, tokens,
			     service ? service : "this service", (int)(token.service.end - token.service.at), (const char *)token.service.at);
	if (!rc && !(*text = url_form(&token)))
		rc = err_set(err, ENOMEM, "no memory");
	free(file);
	return rc;
}
