#include "dataplane/interceptor/regex_replace.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct part {
	bool is_group;
	uint32_t group;
	size_t offset, len;	/* of a literal, in `literals` */
};

struct regex_replacement {
	char *literals;
	uint32_t count;
	struct part parts[];
};

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static int
read_group(const struct regex *regex, const char **text, uint32_t *group, struct err *err)
{
	const char *p = *text;
	uint32_t groups = regex_groups(regex);
	if (*p == '{') {
		const char *end = strchr(p, '}');
		*group = end ? regex_group_named(regex, p + 1, (size_t)(end - p - 1)) : 0;
		if (!*group)
			return err_set(err, EINVAL, "replacement: \"$%s\": the pattern has no group of that name", p);
		*text = end + 1;
		return 0;
	}
	if (!is_digit(*p))
		return err_set(err, EINVAL, "replacement: a $ wants a group's number or {name} behind it (\\$ is a dollar sign)");
	*group = (uint32_t)(*p++ - '0');
	if (*group > groups)
		return err_set(err, EINVAL, "replacement: $%u: the pattern has %u groups", *group, groups);
	for (; is_digit(*p) && *group * 10 + (uint32_t)(*p - '0') <= groups; p++)
		*group = *group * 10 + (uint32_t)(*p - '0');
	*text = p;
	return 0;
}

int
regex_replacement_compile(const struct regex *regex, const char *text, struct regex_replacement **made, struct err *err)
{
	size_t len = strlen(text), used = 0;
	struct regex_replacement *self = calloc(1, sizeof *self + (len + 1) * sizeof *self->parts);
	*made = NULL;
	if (!self || !(self->literals = malloc(len + 1))) {
		free(self);
		return err_set(err, ENOMEM, "out of memory");
	}
	int rc = 0;
	for (const char *p = text; *p && !rc;) {
		struct part *part = &self->parts[self->count];
		if (*p == '$') {
			p++;
			part->is_group = true;
			rc = read_group(regex, &p, &part->group, err);
			self->count++;
			continue;
		}
		part->offset = used;
		for (; *p && *p != '$'; p++) {
			if (*p == '\\' && !*++p) {
				rc = err_set(err, EINVAL, "replacement: a \\ at the end: write \\\\ for one");
				break;
			}
			self->literals[used++] = *p;
		}
		part->len = used - part->offset;
		self->count++;
	}
	if (rc) {
		regex_replacement_free(self);
		return rc;
	}
	*made = self;
	return 0;
}

void
regex_replacement_free(struct regex_replacement *replacement)
{
	if (!replacement)
		return;
	free(replacement->literals);
	free(replacement);
}

static bool
put(uint8_t *out, size_t room, size_t *used, const void *bytes, size_t len)
{
	if (len > room - *used)
		return false;
	memcpy(out + *used, bytes, len);
	*used += len;
	return true;
}

bool
regex_replace_all(const struct regex *regex, struct regex_scratch *scratch, const struct regex_replacement *replacement, const uint8_t *text,
		  size_t len, uint8_t *out, size_t room, size_t *out_len)
{
	size_t from = 0, copied = 0, used = 0;
	struct regex_match match;
	while (from <= len && regex_find_from(regex, scratch, text, len, from, &match)) {
		size_t start = match.spans[0], end = match.spans[1];
		if (start < copied || end < start)	/* \K and its like are not Java's; never go back */
			break;
		if (!put(out, room, &used, text + copied, start - copied))
			return false;
		for (uint32_t i = 0; i < replacement->count; i++) {
			const struct part *part = &replacement->parts[i];
			const size_t *span = part->is_group ? &match.spans[2 * part->group] : NULL;
			if (span && (part->group >= match.count || span[0] == SIZE_MAX))
				continue;
			if (!(span ? put(out, room, &used, text + span[0], span[1] - span[0])
				   : put(out, room, &used, replacement->literals + part->offset, part->len)))
				return false;
		}
		copied = from = end;
		if (start == end)	/* behind an empty match: one character on */
			do
				from++;
			while (from < len && (text[from] & 0xc0) == 0x80);
	}
	if (!put(out, room, &used, text + copied, len - copied))
		return false;
	*out_len = used;
	return true;
}
