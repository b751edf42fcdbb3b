#include "base/properties.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t
key_hash(const char *key)
{
	uint64_t hash = UINT64_C(1469598103934665603);
	for (; *key; key++)
		hash = (hash ^ (uint8_t)*key) * UINT64_C(1099511628211);
	return hash ^ hash >> 29;
}

static size_t
slot_of(const struct properties *properties, const char *key)
{
	size_t slot = key_hash(key) & (properties->slot_count - 1);
	while (properties->slots[slot] && strcmp(properties->lines[properties->slots[slot] - 1]->key, key) != 0)
		slot = (slot + 1) & (properties->slot_count - 1);
	return slot;
}

struct property_line *
properties_find(const struct properties *properties, const char *key)
{
	if (properties->slot_count == 0)
		return NULL;
	uint32_t index = properties->slots[slot_of(properties, key)];
	return index ? properties->lines[index - 1] : NULL;
}

static void
lines_grow(struct properties *properties)
{
	size_t room = properties->room ? properties->room * 2 : 64;
	properties->lines = realloc(properties->lines, room * sizeof *properties->lines);
	free(properties->slots);
	properties->slot_count = room * 2;
	properties->slots = calloc(properties->slot_count, sizeof *properties->slots);
	if (!properties->lines || !properties->slots)
		abort();
	properties->room = room;
	for (size_t i = 0; i < properties->count; i++)
		properties->slots[slot_of(properties, properties->lines[i]->key)] = (uint32_t)i + 1;
}

static void
line_put(struct properties *properties, const char *key, const char *value, const char *origin, uint32_t file, uint32_t number)
{
	if (properties->count == properties->room)
		lines_grow(properties);
	size_t slot = slot_of(properties, key);
	struct property_line *line;
	if (properties->slots[slot]) {
		line = properties->lines[properties->slots[slot] - 1];
		line->replaced = line->file == file ? line->origin : NULL;
	} else {
		line = pool_get(&properties->pool, sizeof *line);
		line->key = key;
		properties->lines[properties->count++] = line;
		properties->slots[slot] = (uint32_t)properties->count;
	}
	line->raw = value;
	line->origin = origin;
	line->file = file;
	line->line = number;
}

static uint32_t
file_add(struct properties *properties, const char *file)
{
	properties->files = realloc(properties->files, (properties->file_count + 1) * sizeof *properties->files);
	if (!properties->files)
		abort();
	properties->files[properties->file_count] = pool_text(&properties->pool, file, strlen(file));
	return properties->file_count++;
}

void
properties_set(struct properties *properties, const char *key, const char *value, const char *origin)
{
	struct pool *pool = &properties->pool;
	line_put(properties, pool_text(pool, key, strlen(key)), pool_text(pool, value, strlen(value)), pool_text(pool, origin, strlen(origin)), UINT32_MAX, 0);
}

struct reader {
	const uint8_t *at, *end;
	uint32_t line;			/* of `at`, from 1 */
	uint8_t *buf;			/* the logical line */
	size_t len;
	uint32_t first_line;		/* where it began */
};

static bool
is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\f';
}

/* One byte of the file, counting lines: CR LF is one line end. */
static uint8_t
reader_take(struct reader *reader)
{
	uint8_t c = *reader->at++;
	if (c == '\n' || (c == '\r' && !(reader->at < reader->end && *reader->at == '\n')))
		reader->line++;
	return c;
}

/* The next logical line: comments and empty lines left out, continuations joined. False at the end. */
static bool
reader_next(struct reader *reader)
{
	bool skip_blanks = true, continued = false, backslash = false;
	reader->len = 0;
	while (reader->at < reader->end) {
		uint32_t line = reader->line;
		uint8_t c = reader_take(reader);
		if (skip_blanks) {
			if (is_blank(c) || (!continued && (c == '\r' || c == '\n')))
				continue;
			skip_blanks = continued = false;
		}
		if (reader->len == 0) {
			reader->first_line = line;
			if (c == '#' || c == '!') {
				while (reader->at < reader->end) {
					c = reader_take(reader);
					if (c == '\r' || c == '\n')
						break;
				}
				skip_blanks = true;
				continue;
			}
		}
		if (c != '\n' && c != '\r') {
			reader->buf[reader->len++] = c;
			backslash = c == '\\' && !backslash;
			continue;
		}
		if (reader->len == 0) {
			skip_blanks = true;
			continue;
		}
		if (!backslash)
			return true;
		if (reader->at == reader->end)
			break;
		reader->len--;
		skip_blanks = continued = true;
		backslash = false;
		if (c == '\r' && *reader->at == '\n')
			reader_take(reader);
	}
	if (backslash)
		reader->len--;
	return reader->len > 0 || backslash;
}

static size_t
utf8_put(char *out, uint32_t c)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 63));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 63));
		out[2] = (char)(0x80 | (c & 63));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 63));
	out[2] = (char)(0x80 | (c >> 6 & 63));
	out[3] = (char)(0x80 | (c & 63));
	return 4;
}

static int
hex_digit(uint8_t c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* One UTF-16 unit of the text; *at moves past it. -1: a bad \u escape. */
static int32_t
unit_take(const uint8_t **at, const uint8_t *end)
{
	uint8_t c = *(*at)++;
	if (c != '\\' || *at == end)
		return c;
	c = *(*at)++;
	switch (c) {
	case 't': return '\t';
	case 'n': return '\n';
	case 'r': return '\r';
	case 'f': return '\f';
	case 'u': break;
	default: return c;
	}
	int32_t unit = 0;
	for (int i = 0; i < 4; i++) {
		int digit = *at < end ? hex_digit(*(*at)++) : -1;
		if (digit < 0)
			return -1;
		unit = unit << 4 | digit;
	}
	return unit;
}

/* Decodes escapes. NULL with a message in err. */
static char *
decode(struct pool *pool, const uint8_t *at, size_t len, struct err *err)
{
	const uint8_t *end = at + len;
	char *out = pool_get(pool, len * 2 + 5);	/* a byte becomes at most two, an escape of six at most three */
	size_t n = 0;
	while (at < end) {
		int32_t unit = unit_take(&at, end);
		if (unit < 0) {
			err_set(err, EINVAL, "a \\u is not followed by four hex digits: write \\\\u for the two characters, or four digits");
			return NULL;
		}
		if (unit == 0) {
			err_set(err, EINVAL, "a NUL character cannot stand in a key or value: take it out");
			return NULL;
		}
		uint32_t c = (uint32_t)unit;
		if (c >= 0xd800 && c < 0xe000) {
			const uint8_t *ahead = at;
			int32_t low = c < 0xdc00 && at < end ? unit_take(&ahead, end) : -1;
			if (low >= 0xdc00 && low < 0xe000) {
				c = 0x10000 + ((c - 0xd800) << 10) + ((uint32_t)low - 0xdc00);
				at = ahead;
			} else {
				c = '?';	/* as Java writes half a pair in UTF-8 */
			}
		}
		n += utf8_put(out + n, c);
	}
	out[n] = '\0';
	return out;
}

static int
logical_line_put(struct properties *properties, const struct reader *reader, uint32_t file, struct err *err)
{
	const uint8_t *buf = reader->buf;
	size_t key_len = 0, value_at = reader->len;
	bool separated = false, backslash = false;
	for (; key_len < reader->len; key_len++) {
		uint8_t c = buf[key_len];
		if ((c == '=' || c == ':' || is_blank(c)) && !backslash) {
			separated = !is_blank(c);
			value_at = key_len + 1;
			break;
		}
		backslash = c == '\\' && !backslash;
	}
	for (; value_at < reader->len; value_at++) {
		uint8_t c = buf[value_at];
		if (is_blank(c))
			continue;
		if (separated || (c != '=' && c != ':'))
			break;
		separated = true;
	}
	const char *origin = pool_print(&properties->pool, "%s:%u", properties->files[file], reader->first_line);
	const char *key = decode(&properties->pool, buf, key_len, err);
	const char *value = key ? decode(&properties->pool, buf + value_at, reader->len - value_at, err) : NULL;
	if (!value)
		return err_prefix(err, -EINVAL, "%s", origin);
	line_put(properties, key, value, origin, file, reader->first_line);
	return 0;
}

int
properties_parse(struct properties *properties, const char *file, const void *bytes, size_t len, struct err *err)
{
	uint32_t index = file_add(properties, file);
	if (len > PROPERTIES_BYTES_MAX)
		return err_set(err, EFBIG, "%s: the file is larger than 16 MiB: that is no properties file", file);
	struct reader reader = { .at = bytes, .end = (const uint8_t *)bytes + len, .line = 1, .buf = malloc(len + 1) };
	if (!reader.buf)
		abort();
	int rc = 0;
	while (rc == 0 && reader_next(&reader))
		rc = logical_line_put(properties, &reader, index, err);
	free(reader.buf);
	return rc;
}

int
properties_load(struct properties *properties, const char *path, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		int errnum = errno;
		return err_set(err, errnum, "%s: cannot be opened: %s", path, strerror(errnum));
	}
	struct text text = { 0 };
	char chunk[65536];
	ssize_t n;
	while ((n = read(fd, chunk, sizeof chunk)) > 0 && text.len <= PROPERTIES_BYTES_MAX)
		text_add(&text, chunk, (size_t)n);
	int errnum = n < 0 ? errno : 0;
	close(fd);
	int rc = errnum ? err_set(err, errnum, "%s: cannot be read: %s", path, strerror(errnum)) :
			  properties_parse(properties, path, text.text ? text.text : "", text.len, err);
	text_free(&text);
	return rc;
}

void
properties_free(struct properties *properties)
{
	free(properties->lines);
	free(properties->slots);
	free(properties->files);
	pool_free(&properties->pool);
	*properties = (struct properties){ 0 };
}

/* One code point of valid UTF-8; a stray byte stands for itself. */
static uint32_t
utf8_take(const uint8_t **at)
{
	const uint8_t *p = *at;
	uint32_t c = *p++;
	int more = c >= 0xf0 && c < 0xf8 ? 3 : c >= 0xe0 && c < 0xf0 ? 2 : c >= 0xc0 && c < 0xe0 ? 1 : 0;
	uint32_t value = more ? c & (0x3fu >> more) : c;
	for (int i = 0; i < more; i++) {
		if ((p[i] & 0xc0) != 0x80) {
			*at = p;
			return c;
		}
		value = value << 6 | (p[i] & 0x3f);
	}
	*at = p + more;
	return value;
}

static void
escaped_write(struct text *text, const char *bytes, bool key)
{
	bool first = true;
	for (const uint8_t *at = (const uint8_t *)bytes; *at; first = false) {
		uint32_t c = utf8_take(&at);
		if (c == '\\' || (key && (c == '=' || c == ':' || c == ' ' || (first && (c == '#' || c == '!')))) || (first && c == ' '))
			text_print(text, "\\%c", (char)c);
		else if (c >= 0x10000)
			text_print(text, "\\u%04X\\u%04X", 0xd800 + ((c - 0x10000) >> 10 & 0x3ff), 0xdc00 + ((c - 0x10000) & 0x3ff));
		else if (c < 0x20 || c >= 0x7f)
			text_print(text, "\\u%04X", c);
		else
			text_print(text, "%c", (char)c);
	}
}

void
properties_write(struct text *text, const char *key, const char *value)
{
	escaped_write(text, key, true);
	text_add(text, " = ", 3);
	escaped_write(text, value, false);
	text_add(text, "\n", 1);
}
