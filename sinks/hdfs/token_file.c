#include "sinks/hdfs/token_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
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

static bool
of_service(const struct token *token, const char *service)
{
	static const char ha[] = "ha-hdfs:";
	struct bytes name = token->service;
	if ((size_t)(name.end - name.at) > sizeof ha - 1 && memcmp(name.at, ha, sizeof ha - 1) == 0)
		name.at += sizeof ha - 1;
	return service && same(name, service);
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

/* False: cut or damaged. */
static bool
tokens_look(struct bytes file, enum format format, const char *service, struct token *found, bool *any)
{
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
		if (!same(token.kind, "HDFS_DELEGATION_TOKEN") && !same(token.kind, "WEBHDFS delegation"))
			continue;
		if (!*any || of_service(&token, service))
			*found = token;
		*any = true;
		if (of_service(&token, service))
			return true;
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
	bool any = false;
	if (!rc && (len < 6 || memcmp(file, "HDTS", 4) != 0 || file[4] > PROTOBUF))
		rc = err_set(err, EINVAL, "%s (HADOOP_TOKEN_FILE_LOCATION): no credentials file of Hadoop", path);
	if (!rc && !tokens_look((struct bytes){ file + 5, file + len }, (enum format)file[4], service, &token, &any))
		rc = err_set(err, EINVAL, "%s (HADOOP_TOKEN_FILE_LOCATION): the credentials file of %zu bytes is cut or damaged", path, len);
	if (!rc && !any)
		rc = err_set(err, ENOENT, "%s (HADOOP_TOKEN_FILE_LOCATION): it has no token for HDFS", path);
	if (!rc && !(*text = url_form(&token)))
		rc = err_set(err, ENOMEM, "no memory");
	free(file);
	return rc;
}
