#include "dataplane/interceptor/joda.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/calendar.h"

#define FIELDS_MAX 64
#define LITERAL 0

struct field {
	char letter;		/* LITERAL: `text` */
	uint32_t count;		/* of the letter, or of the literal's bytes */
	const char *text;
	bool adjacent;		/* another number follows without anything between: read `count` digits, no more */
};

struct joda {
	char *pattern;		/* literals, quotes resolved; the fields point into it */
	uint32_t count;
	struct field fields[FIELDS_MAX];
};

static const char *const months[] = {"January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
				     "November", "December", NULL};
static const char *const weekdays[] = {"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday", NULL};

static bool
is_number(const struct field *field)
{
	return field->letter && !strchr("EaZ", field->letter) && !(field->letter == 'M' && field->count >= 3);
}

int
joda_compile(const char *pattern, struct joda **made, struct err *err)
{
	struct joda *joda = calloc(1, sizeof *joda);
	*made = NULL;
	if (!joda || !(joda->pattern = malloc(strlen(pattern) + 1))) {
		free(joda);
		return err_set(err, ENOMEM, "out of memory");
	}
	int rc = 0;
	char *out = joda->pattern;
	for (const char *p = pattern; *p && !rc;) {
		if (joda->count == FIELDS_MAX) {
			rc = err_set(err, ENOTSUP, "date pattern \"%s\": more than %d fields", pattern, FIELDS_MAX);
			break;
		}
		struct field *field = &joda->fields[joda->count++];
		if ((*p | 32) >= 'a' && (*p | 32) <= 'z') {
			field->letter = *p;
			while (*p == field->letter) {
				field->count++;
				p++;
			}
			if (!strchr("yYMdDEHkKhamsSZ", field->letter))
				rc = err_set(err, ENOTSUP, "date pattern \"%s\": letter %c is not supported (known: y Y M d D E H k K h a m s S Z)",
					     pattern, field->letter);
			if (field->letter == 'Z' && field->count > 2)
				rc = err_set(err, ENOTSUP, "date pattern \"%s\": ZZZ (name of a zone) is not supported; use Z or ZZ", pattern);
			if (field->letter == 'Y')
				field->letter = 'y';
			continue;
		}
		field->text = out;
		bool quoted = false;
		for (; *p && (quoted || !((*p | 32) >= 'a' && (*p | 32) <= 'z')); p++) {
			if (*p == '\'' && p[1] == '\'')
				*out++ = *p++;
			else if (*p == '\'')
				quoted = !quoted;
			else
				*out++ = *p;
		}
		field->count = (uint32_t)(out - field->text);
	}
	for (uint32_t i = 0; i + 1 < joda->count; i++)
		joda->fields[i].adjacent = is_number(&joda->fields[i]) && is_number(&joda->fields[i + 1]);
	if (!rc && !joda->count)
		rc = err_set(err, EINVAL, "an empty date pattern");
	if (rc) {
		joda_free(joda);
		return rc;
	}
	*made = joda;
	return 0;
}

void
joda_free(struct joda *joda)
{
	if (!joda)
		return;
	free(joda->pattern);
	free(joda);
}

struct cursor {
	const uint8_t *at, *end;
};

static bool
read_number(struct cursor *cursor, uint32_t max_digits, bool sign, int64_t *value, uint32_t *digits)
{
	bool negative = false;
	if (sign && cursor->at < cursor->end && (*cursor->at == '-' || *cursor->at == '+'))
		negative = *cursor->at++ == '-';
	*value = 0;
	*digits = 0;
	while (*digits < max_digits && cursor->at < cursor->end && *cursor->at >= '0' && *cursor->at <= '9') {
		*value = *value * 10 + *cursor->at++ - '0';
		(*digits)++;
	}
	if (negative)
		*value = -*value;
	return *digits > 0;
}

/* Index of the longest name, whole or its first three letters, in any letter case; -1 none. */
static int
read_name(struct cursor *cursor, const char *const *names)
{
	size_t left = (size_t)(cursor->end - cursor->at);
	for (int whole = 1; whole >= 0; whole--)
		for (int i = 0; names[i]; i++) {
			size_t len = whole ? strlen(names[i]) : 3;
			if (len <= left && strncasecmp((const char *)cursor->at, names[i], len) == 0) {
				cursor->at += len;
				return i;
			}
		}
	return -1;
}

static bool
read_offset(struct cursor *cursor, int64_t *offset_ms)
{
	*offset_ms = 0;
	if (cursor->at < cursor->end && (*cursor->at == 'Z' || *cursor->at == 'z')) {
		cursor->at++;
		return true;
	}
	if (cursor->end - cursor->at < 3 || (*cursor->at != '+' && *cursor->at != '-'))
		return false;
	bool negative = *cursor->at++ == '-';
	int64_t part[3] = {0};
	bool colons = false;
	static const int64_t limit[3] = {23, 59, 59};
	for (int i = 0; i < 3; i++) {
		const uint8_t *p = cursor->at;
		if (i == 1)
			colons = p < cursor->end && *p == ':';
		if (i && colons) {
			if (p == cursor->end || *p != ':')
				break;
			p++;
		}
		if (cursor->end - p < 2 || p[0] < '0' || p[0] > '9' || p[1] < '0' || p[1] > '9') {
			if (i == 0)
				return false;
			break;
		}
		part[i] = (p[0] - '0') * 10 + p[1] - '0';
		if (part[i] > limit[i])
			return false;
		cursor->at = p + 2;
	}
	*offset_ms = ((part[0] * 60 + part[1]) * 60 + part[2]) * 1000 * (negative ? -1 : 1);
	return true;
}

static bool
is_leap(int64_t year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int64_t
month_days(int64_t year, int64_t month)
{
	static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	return days[month - 1] + (month == 2 && is_leap(year));
}

/* Seconds since 1970 of a local time in the process's zone: the earlier one when it comes twice; false when it never comes. */
static bool
local_seconds(int64_t local, int64_t *utc)
{
	bool found = false;
	time_t as_utc = (time_t)local;
	struct tm wanted;
	if (!gmtime_r(&as_utc, &wanted))
		return false;
	for (int summer = 1; summer >= 0; summer--) {
		struct tm try = wanted, back;
		try.tm_isdst = summer;
		time_t at = mktime(&try);
		if (!localtime_r(&at, &back))
			continue;
		back.tm_isdst = 0;
		if (timegm(&back) == as_utc && (!found || at < *utc)) {
			*utc = at;
			found = true;
		}
	}
	return found;
}

bool
joda_parse(const struct joda *joda, const uint8_t *text, uint32_t len, int64_t *ms)
{
	struct cursor cursor = {text, text + len};
	int64_t year = 0, month = 0, day = 0, year_day = 0, hour = -1, half_hour = -1, half = -1, minute = 0, second = 0, milli = 0, offset = 0;
	bool has_year = false, has_offset = false;
	int weekday = -1;
	for (uint32_t i = 0; i < joda->count; i++) {
		const struct field *field = &joda->fields[i];
		const uint8_t *start = cursor.at;
		int64_t value = 0;
		uint32_t digits = 0;
		uint32_t max = field->adjacent ? field->count : field->letter == 'D' ? 3 : 2;
		switch (field->letter) {
		case LITERAL:
			if ((size_t)(cursor.end - cursor.at) < field->count
			    || strncasecmp((const char *)cursor.at, field->text, field->count) != 0)
				return false;
			cursor.at += field->count;
			break;
		case 'y':
			if (!read_number(&cursor, field->adjacent ? field->count : 9, true, &year, &digits))
				return false;
			if (field->count == 2 && digits == 2 && cursor.at - start == 2) {
				/* two digits: within fifty years of now */
				time_t now = time(NULL);
				struct tm tm;
				gmtime_r(&now, &tm);
				int64_t first = tm.tm_year + 1900 - 50;	/* lowest year meant */
				int64_t low = ((first % 100) + 100) % 100;
				year = first - low + year + (year < low ? 100 : 0);
			}
			has_year = true;
			break;
		case 'M':
			if (field->count >= 3) {
				month = read_name(&cursor, months) + 1;
			} else if (!read_number(&cursor, max, false, &month, &digits)) {
				return false;
			}
			if (month < 1 || month > 12)
				return false;
			break;
		case 'd':
			if (!read_number(&cursor, max, false, &day, &digits) || day < 1 || day > 31)
				return false;
			break;
		case 'D':
			if (!read_number(&cursor, max, false, &year_day, &digits) || year_day < 1 || year_day > 366)
				return false;
			break;
		case 'E':
			weekday = read_name(&cursor, weekdays);
			if (weekday < 0)
				return false;
			break;
		case 'H':
		case 'k':
			if (!read_number(&cursor, max, false, &hour, &digits) || hour > (field->letter == 'H' ? 23 : 24)
			    || hour < (field->letter == 'k'))
				return false;
			hour %= 24;
			break;
		case 'K':
		case 'h':
			if (!read_number(&cursor, max, false, &half_hour, &digits) || half_hour > (field->letter == 'K' ? 11 : 12)
			    || half_hour < (field->letter == 'h'))
				return false;
			half_hour %= 12;
			break;
		case 'a':
			if (cursor.end - cursor.at < 2 || (cursor.at[1] | 32) != 'm' || ((cursor.at[0] | 32) != 'a' && (cursor.at[0] | 32) != 'p'))
				return false;
			half = (cursor.at[0] | 32) == 'p';
			cursor.at += 2;
			break;
		case 'm':
			if (!read_number(&cursor, max, false, &minute, &digits) || minute > 59)
				return false;
			break;
		case 's':
			if (!read_number(&cursor, max, false, &second, &digits) || second > 59)
				return false;
			break;
		case 'S':
			/* Up to as many digits as the pattern has letters; what lies below the millisecond is cut off. */
			for (; digits < field->count && cursor.at < cursor.end && *cursor.at >= '0' && *cursor.at <= '9'; digits++) {
				static const int64_t weight[] = {100, 10, 1};
				if (digits < 3)
					value += weight[digits] * (*cursor.at - '0');
				cursor.at++;
			}
			if (!digits)
				return false;
			milli = value;
			break;
		case 'Z':
			if (!read_offset(&cursor, &offset))
				return false;
			has_offset = true;
			break;
		}
	}
	if (cursor.at != cursor.end)
		return false;
	/* Joda starts from 1970, but from 2000 when a month or a day stands there without a year. */
	if (!has_year)
		year = month || day || year_day ? 2000 : 1970;
	if (!month)
		month = 1;
	if (!day)
		day = 1;
	if (day > month_days(year, month) || year_day > 365 + is_leap(year))
		return false;
	int64_t days = year_day ? calendar_day_number(year, 1, 1) + year_day - 1 : calendar_day_number(year, month, day);
	if (weekday >= 0)	/* that day of the same week, Monday first */
		days += weekday - (((days + 3) % 7) + 7) % 7;
	if (hour < 0)
		hour = half_hour >= 0 ? half_hour + (half == 1 ? 12 : 0) : half == 1 ? 12 : 0;
	else if (half >= 0)
		hour = hour % 12 + 12 * half;
	int64_t seconds = days * 86400 + hour * 3600 + minute * 60 + second;
	if (has_offset)
		seconds -= offset / 1000;
	else if (!local_seconds(seconds, &seconds))
		return false;
	*ms = seconds * 1000 + milli;
	return true;
}
