#include "base/option.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct option_chunk {
	struct option_chunk *next;
	_Alignas(max_align_t) char bytes[];
};

static const char white[] = " \t\n\r\f\v";

static void *
values_get(struct option_values *values, size_t bytes)
{
	struct option_chunk *chunk = malloc(sizeof *chunk + bytes);
	if (!chunk)
		abort();	/* start-up or reload of a few kilobytes: nothing sensible can follow */
	chunk->next = values->chunks;
	values->chunks = chunk;
	memset(chunk->bytes, 0, bytes);
	return chunk->bytes;
}

static char *
values_text(struct option_values *values, const char *text, size_t len)
{
	char *copy = values_get(values, len + 1);
	memcpy(copy, text, len);
	return copy;
}

void
option_values_free(struct option_values *values)
{
	while (values->chunks) {
		struct option_chunk *chunk = values->chunks;
		values->chunks = chunk->next;
		free(chunk);
	}
}

static void __attribute__((format(printf, 5, 6)))
report_tell(struct option_report *report, bool fatal, const char *origin, const char *key, const char *format, ...)
{
	char text[ERR_TEXT_BYTES];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	if (report && report->tell)
		report->tell(report, fatal, origin, key, text);
}

/* Decimal digits with an optional sign and nothing else, as Java's parseLong takes them. */
static bool
number_parse(const char *text, bool *negative, uint64_t *magnitude)
{
	*negative = *text == '-';
	if (*text == '-' || *text == '+')
		text++;
	if (!*text)
		return false;
	uint64_t n = 0;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return false;
		uint64_t digit = (uint64_t)(*text - '0');
		if (n > (UINT64_MAX - digit) / 10)
			return false;
		n = n * 10 + digit;
	}
	*magnitude = n;
	return true;
}

struct scale {
	const char *suffix;
	uint64_t factor;
};

static const struct scale durations[] = {
	{ "d", UINT64_C(86400000000000) }, { "h", UINT64_C(3600000000000) }, { "m", UINT64_C(60000000000) }, { "s", UINT64_C(1000000000) },
	{ "ms", 1000000 }, { "us", 1000 }, { "ns", 1 }, { NULL, 0 },
};
static const struct scale sizes[] = {
	{ "t", UINT64_C(1) << 40 }, { "g", UINT64_C(1) << 30 }, { "m", UINT64_C(1) << 20 }, { "k", UINT64_C(1) << 10 }, { "", 1 }, { NULL, 0 },
};

static bool
scaled_parse(const char *text, const struct scale *scales, uint64_t *value)
{
	char digits[32];
	size_t n = strspn(text, "0123456789");
	bool negative;
	uint64_t number;
	if (n == 0 || n >= sizeof digits)
		return false;
	memcpy(digits, text, n);
	digits[n] = '\0';
	if (!number_parse(digits, &negative, &number))
		return false;
	text += n;
	text += strspn(text, white);
	for (; scales->suffix; scales++) {
		if (strcasecmp(text, scales->suffix) == 0) {
			if (number > UINT64_MAX / scales->factor)
				return false;
			*value = number * scales->factor;
			return true;
		}
	}
	return false;
}

bool
option_duration_parse(const char *text, uint64_t *ns)
{
	if (strcmp(text, "0") == 0) {
		*ns = 0;
		return true;
	}
	return scaled_parse(text, durations, ns);
}

bool
option_size_parse(const char *text, uint64_t *bytes)
{
	return scaled_parse(text, sizes, bytes);
}

static void
scaled_format(uint64_t value, const struct scale *scales, char *text, size_t text_bytes)
{
	while (scales[1].suffix && (value == 0 || value % scales->factor != 0))
		scales++;
	snprintf(text, text_bytes, "%" PRIu64 "%s", value / scales->factor, scales->suffix);
}

/* The largest unit that needs no fraction. */
static void
number_format(const struct option *option, uint64_t value, bool is_signed, char *text, size_t text_bytes)
{
	if (option->flags & OPTION_DURATION) {
		if (value == 0)
			snprintf(text, text_bytes, "0s");
		else
			scaled_format(value, durations, text, text_bytes);
	} else if (option->flags & OPTION_SIZE) {
		scaled_format(value, sizes, text, text_bytes);
	} else if (is_signed) {
		snprintf(text, text_bytes, "%" PRIi64, (int64_t)value);
	} else {
		snprintf(text, text_bytes, "%" PRIu64, value);
	}
}

/* "a number from 1 to 65535 (events)" */
static void
number_wanted(const struct option *option, char *text, size_t text_bytes)
{
	char low[32], high[32];
	bool limited = option->min != 0 || option->max != 0;
	number_format(option, (uint64_t)option->min, true, low, sizeof low);
	number_format(option, (uint64_t)option->max, true, high, sizeof high);
	const char *what = option->flags & OPTION_DURATION ? "a time such as 500ms, 10s or 2m" :
			   option->flags & OPTION_SIZE ? "a size such as 64k, 256m or 1g" : "a whole number";
	if (limited && option->max == INT64_MAX)
		snprintf(text, text_bytes, "%s, at least %s", what, low);
	else if (limited)
		snprintf(text, text_bytes, "%s from %s to %s", what, low, high);
	else if (option->type == OPT_U32)
		snprintf(text, text_bytes, "%s from 0 to %" PRIu32, what, UINT32_MAX);
	else
		snprintf(text, text_bytes, "%s", what);
	if (option->unit && !(option->flags & (OPTION_DURATION | OPTION_SIZE))) {
		size_t n = strlen(text);
		snprintf(text + n, text_bytes - n, " (%s)", option->unit);
	}
}

static bool
number_set(const struct option *option, const char *text, void *field)
{
	bool negative = false;
	uint64_t n;
	if (option->flags & OPTION_DURATION) {
		if (!option_duration_parse(text, &n))
			return false;
	} else if (option->flags & OPTION_SIZE) {
		if (!option_size_parse(text, &n))
			return false;
	} else if (!number_parse(text, &negative, &n)) {
		return false;
	}
	if (n == 0)
		negative = false;
	bool limited = option->min != 0 || option->max != 0;
	if (option->type == OPT_I64 || limited) {
		if (n > (uint64_t)INT64_MAX + negative)
			return false;
		int64_t number = negative ? (int64_t)(0 - n) : (int64_t)n;
		if (limited && (number < option->min || number > option->max))
			return false;
	}
	if (option->type == OPT_I64) {
		*(int64_t *)field = negative ? (int64_t)(0 - n) : (int64_t)n;
		return true;
	}
	if (negative)
		return false;
	if (option->type == OPT_U64) {
		*(uint64_t *)field = n;
		return true;
	}
	if (n > UINT32_MAX)
		return false;
	*(uint32_t *)field = (uint32_t)n;
	return true;
}

static bool
choice_set(const struct option *option, const char *text, void *field)
{
	for (uint32_t i = 0; option->choices[i]; i++) {
		if (strcasecmp(option->choices[i], text) == 0) {
			*(uint32_t *)field = i;
			return true;
		}
	}
	return false;
}

static void
list_set(const struct option *option, const char *text, struct option_list *list, struct option_values *values)
{
	const char *separator = option->separator ? option->separator : white;
	size_t len = strlen(text), count = 0;
	char *copy = values_text(values, text, len);
	const char **items = values_get(values, (len / 2 + 1) * sizeof *items);
	for (char *rest = copy, *item; (item = strsep(&rest, separator)) != NULL;) {
		item += strspn(item, white);
		size_t n = strlen(item);
		while (n > 0 && strchr(white, item[n - 1]))
			item[--n] = '\0';
		if (n > 0)
			items[count++] = item;
	}
	list->count = count;
	list->items = items;
}

/* False when the text does not parse; the field then keeps what it had. */
static bool
value_set(const struct option *option, const char *text, void *config, struct option_values *values)
{
	void *field = (char *)config + option->offset;
	switch (option->type) {
	case OPT_STRING:
		*(const char **)field = values_text(values, text, strlen(text));
		return true;
	case OPT_BOOL:
		*(bool *)field = strcasecmp(text, "true") == 0;
		return true;
	case OPT_U32:
	case OPT_U64:
	case OPT_I64:
		return number_set(option, text, field);
	case OPT_CHOICE:
		return choice_set(option, text, field);
	case OPT_LIST:
		list_set(option, text, field, values);
		return true;
	case OPT_FAMILY:
		break;
	}
	return false;
}

static void
default_set(const struct option *option, void *config, struct option_values *values)
{
	void *field = (char *)config + option->offset;
	switch (option->type) {
	case OPT_STRING: *(const char **)field = NULL; break;
	case OPT_BOOL: *(bool *)field = false; break;
	case OPT_U32:
	case OPT_CHOICE: *(uint32_t *)field = 0; break;
	case OPT_U64: *(uint64_t *)field = 0; break;
	case OPT_I64: *(int64_t *)field = 0; break;
	case OPT_LIST: *(struct option_list *)field = (struct option_list){ 0 }; break;
	case OPT_FAMILY: *(struct option_family *)field = (struct option_family){ 0 }; return;
	}
	if (option->value && !value_set(option, option->value, config, values))
		assert(!"an option's default must parse");
}

static void
wanted_text(const struct option *option, char *text, size_t text_bytes)
{
	if (option->type != OPT_CHOICE) {
		number_wanted(option, text, text_bytes);
		return;
	}
	size_t n = (size_t)snprintf(text, text_bytes, "one of");
	for (uint32_t i = 0; option->choices[i] && n < text_bytes; i++)
		n += (size_t)snprintf(text + n, text_bytes - n, "%s %s", i ? "," : "", option->choices[i]);
}

/* Is `key` one of the blank separated words? With a family, does it begin with one; the rest goes to *rest. */
static bool
words_match(const char *words, const char *key, bool prefix, const char **rest)
{
	while (words && *words) {
		words += strspn(words, " ");
		size_t n = strcspn(words, " ");
		if (n > 0 && strncmp(words, key, n) == 0 && (prefix ? key[n] != '\0' : key[n] == '\0')) {
			if (rest)
				*rest = key + n;
			return true;
		}
		words += n;
	}
	return false;
}

static bool
name_match(const struct option *option, const char *key, bool *old, const char **rest)
{
	bool prefix = option->type == OPT_FAMILY;
	*old = false;
	if (words_match(option->name, key, prefix, rest))
		return true;
	*old = words_match(option->old_names, key, prefix, rest);
	return *old;
}

const struct option *
option_find(const struct option *options, const char *key)
{
	bool old;
	for (const struct option *option = options; option && option->name; option++) {
		if (option->type != OPT_FAMILY && name_match(option, key, &old, NULL))
			return option;
	}
	for (const struct option *option = options; option && option->name; option++) {
		if (option->type == OPT_FAMILY && name_match(option, key, &old, NULL))
			return option;
	}
	return NULL;
}

static void
refusal_tell(const struct option *option, const struct property *prop, struct option_report *report)
{
	report_tell(report, true, prop->origin, prop->key, "is not supported%s%s", option->note ? ": " : "", option->note ? option->note : "");
}

static int
family_parse(const struct option *option, struct property *props, size_t prop_count, void *config, struct option_values *values,
	     struct option_report *report)
{
	int rc = 0;
	bool stored = !(option->flags & (OPTION_NO_MEANING | OPTION_REFUSED));
	struct option_family family = { 0 };
	if (stored)
		family.items = values_get(values, (prop_count + 1) * sizeof *family.items);
	for (size_t i = 0; i < prop_count; i++) {
		struct property *prop = &props[i];
		const char *rest;
		bool old;
		if (prop->used || !name_match(option, prop->key, &old, &rest))
			continue;
		prop->used = true;
		if (option->flags & OPTION_REFUSED) {
			refusal_tell(option, prop, report);
			rc = -EINVAL;
			continue;
		}
		if (!stored)
			continue;
		if (old)
			report_tell(report, false, prop->origin, prop->key, "is an old name: write '%s%s'", option->name, rest);
		family.items[family.count++] = (struct option_pair){
			.key = values_text(values, rest, strlen(rest)), .value = values_text(values, prop->value, strlen(prop->value)),
		};
	}
	if (stored)
		*(struct option_family *)((char *)config + option->offset) = family;
	if (rc == 0 && stored && family.count == 0 && (option->flags & OPTION_REQUIRED)) {
		report_tell(report, true, NULL, option->name, "is not set: at least one '%s...' is needed: %s", option->name, option->help ? option->help : "");
		rc = -EINVAL;
	}
	return rc;
}

static int
single_parse(const struct option *option, struct property *props, size_t prop_count, void *config, struct option_values *values,
	     struct option_report *report)
{
	struct property *found = NULL;
	bool found_old = false;
	int rc = 0;
	for (size_t i = 0; i < prop_count; i++) {
		struct property *prop = &props[i];
		bool old;
		if (prop->used || !name_match(option, prop->key, &old, NULL))
			continue;
		prop->used = true;
		if (found && old == found_old && strcmp(found->key, prop->key) == 0) {
			found = prop;	/* the same key again: the last one counts, as in a properties file */
		} else if (found && old && !found_old) {
			report_tell(report, false, prop->origin, prop->key, "is ignored: it is another name of '%s', which is set too (%s)", found->key, found->origin);
		} else {
			if (found)
				report_tell(report, false, found->origin, found->key, "is ignored: it is another name of '%s', which is set too (%s)", prop->key, prop->origin);
			found = prop;
			found_old = old;
		}
	}
	if (option->flags & OPTION_REFUSED) {
		if (!found)
			return 0;
		refusal_tell(option, found, report);
		return -EINVAL;
	}
	if (option->flags & OPTION_NO_MEANING)
		return 0;
	default_set(option, config, values);
	if (!found) {
		if (!(option->flags & OPTION_REQUIRED))
			return 0;
		report_tell(report, true, NULL, option->name, "is required and not set: %s", option->help ? option->help : "set it");
		return -EINVAL;
	}
	if (found_old)
		report_tell(report, false, found->origin, found->key, "is an old name: write '%s'", option->name);
	if (!value_set(option, found->value, config, values)) {
		char wanted[512];
		const char *shown = option->flags & OPTION_SECRET ? "****" : found->value;
		wanted_text(option, wanted, sizeof wanted);
		if (option->flags & OPTION_LENIENT) {
			default_set(option, config, values);
			report_tell(report, false, found->origin, found->key, "'%s' cannot be used, the default '%s' is taken: write %s", shown,
				    option->value ? option->value : "", wanted);
		} else {
			report_tell(report, true, found->origin, found->key, "'%s' cannot be used: write %s", shown, wanted);
			rc = -EINVAL;
		}
	} else if (option->type == OPT_BOOL && strcasecmp(found->value, "true") != 0 && strcasecmp(found->value, "false") != 0) {
		report_tell(report, false, found->origin, found->key, "'%s' means false: only 'true' is true; write true or false", found->value);
	}
	return rc;
}

int
option_parse(const struct option *options, struct property *props, size_t prop_count, void *config, struct option_values *values,
	     struct option_report *report)
{
	int rc = 0;
	/* Names first, so that a family never takes a property that has a line of its own. */
	for (const struct option *option = options; option && option->name; option++) {
		if (option->type != OPT_FAMILY && single_parse(option, props, prop_count, config, values, report))
			rc = -EINVAL;
	}
	for (const struct option *option = options; option && option->name; option++) {
		if (option->type == OPT_FAMILY && family_parse(option, props, prop_count, config, values, report))
			rc = -EINVAL;
	}
	return rc;
}

bool
option_format(const struct option *option, const void *config, char *text, size_t text_bytes)
{
	const void *field = (const char *)config + option->offset;
	if ((option->flags & (OPTION_NO_MEANING | OPTION_REFUSED)) || option->type == OPT_FAMILY)
		return false;
	bool secret = (option->flags & OPTION_SECRET) != 0;
	switch (option->type) {
	case OPT_STRING: {
		const char *value = *(const char *const *)field;
		if (!value)
			return false;
		snprintf(text, text_bytes, "%s", secret ? "****" : value);
		return true;
	}
	case OPT_BOOL:
		snprintf(text, text_bytes, "%s", *(const bool *)field ? "true" : "false");
		return true;
	case OPT_U32:
		number_format(option, *(const uint32_t *)field, false, text, text_bytes);
		return true;
	case OPT_U64:
		number_format(option, *(const uint64_t *)field, false, text, text_bytes);
		return true;
	case OPT_I64:
		number_format(option, (uint64_t)*(const int64_t *)field, true, text, text_bytes);
		return true;
	case OPT_CHOICE:
		snprintf(text, text_bytes, "%s", option->choices[*(const uint32_t *)field]);
		return true;
	case OPT_LIST: {
		const struct option_list *list = field;
		const char *separator = option->separator ? option->separator : " ";
		if (list->count == 0)
			return false;
		if (secret) {
			snprintf(text, text_bytes, "****");
			return true;
		}
		size_t n = 0;
		text[0] = '\0';
		for (size_t i = 0; i < list->count && n < text_bytes; i++) {
			if (i > 0)
				n += (size_t)snprintf(text + n, text_bytes - n, "%c", separator[0]);
			if (n < text_bytes)
				n += (size_t)snprintf(text + n, text_bytes - n, "%s", list->items[i]);
		}
		return true;
	}
	case OPT_FAMILY:
		break;
	}
	return false;
}
