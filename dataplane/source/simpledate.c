#include "dataplane/source/simpledate.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/calendar.h"

#define FIELDS_MAX 64
#define LITERAL 0
#define DAY_S 86400
#define JULIAN_UNTIL (-141427)		/* 1582-10-15 in days since 1970 */
#define LETTERS "yMLdDEHkKhamsSzZX"

struct field {
	char letter;		/* LITERAL: `text` */
	uint32_t count;		/* of the letter, or of the literal's bytes */
	const char *text;
	bool adjacent;		/* another field follows with nothing between: read `count` characters, no more */
};

struct simpledate {
	char *literals;		/* quotes resolved; the fields point into it */
	int64_t century_start_s;	/* earliest time a year of two digits may mean */
	int64_t century_start_year;
	uint32_t count;
	struct field fields[FIELDS_MAX];
};

static const char *const months[] = { "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
				      "November", "December", NULL };
static const char *const weekdays[] = { "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", NULL };

static bool
is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Reads a literal up to the next letter outside quotes. False: a quote is not closed. */
static bool
literal(const char **pattern, char **out)
{
	const char *p = *pattern;
	bool quoted = false;
	for (; *p && (quoted || !is_letter(*p)); p++) {
		if (*p == '\'' && p[1] == '\'')
			*(*out)++ = *p++;
		else if (*p == '\'')
			quoted = !quoted;
		else
			*(*out)++ = *p;
	}
	*pattern = p;
	return !quoted;
}

int
simpledate_compile(const char *pattern, int64_t now_s, struct simpledate **made, struct err *err)
{
	struct simpledate *date = calloc(1, sizeof *date);
	*made = NULL;
	if (!date || !(date->literals = malloc(strlen(pattern) + 1))) {
		free(date);
		return err_set(err, ENOMEM, "out of memory");
	}
	int rc = 0;
	char *out = date->literals;
	for (const char *p = pattern; *p && !rc;) {
		if (date->count == FIELDS_MAX) {
			rc = err_set(err, ENOTSUP, "date pattern \"%s\": more than %d fields", pattern, FIELDS_MAX);
			break;
		}
		struct field *field = &date->fields[date->count++];
		if (is_letter(*p)) {
			field->letter = *p;
			while (*p == field->letter) {
				field->count++;
				p++;
			}
			if (!strchr(LETTERS, field->letter))
				rc = err_set(err, ENOTSUP, "date pattern \"%s\": letter %c is not supported (known: " LETTERS ")", pattern, field->letter);
			else if (field->letter == 'X' && field->count > 3)
				rc = err_set(err, EINVAL, "date pattern \"%s\": at most XXX", pattern);
			if (field->letter == 'L')
				field->letter = 'M';
			continue;
		}
		field->text = out;
		if (!literal(&p, &out))
			rc = err_set(err, EINVAL, "date pattern \"%s\": a quote (') is not closed", pattern);
		field->count = (uint32_t)(out - field->text);
	}
	for (uint32_t i = 0; i + 1 < date->count; i++)
		date->fields[i].adjacent = date->fields[i].letter && date->fields[i + 1].letter;
	time_t now = (time_t)now_s;
	struct tm tm;
	gmtime_r(&now, &tm);
	date->century_start_year = tm.tm_year + 1900 - 80;
	tm.tm_year -= 80;
	date->century_start_s = timegm(&tm);
	if (rc) {
		simpledate_free(date);
		return rc;
	}
	*made = date;
	return 0;
}

void
simpledate_free(struct simpledate *date)
{
	if (!date)
		return;
	free(date->literals);
	free(date);
}

struct cursor {
	const uint8_t *at, *end;
};

/* What was read, before it is put together. */
struct parts {
	int64_t year, month, day, year_day, hour, half_hour, half, minute, second, milli, offset_s;
	bool has_day, has_year_day, has_hour, has_half_hour, has_half, has_offset;
	bool by_year_day;		/* D came after d */
	bool by_half_hour;		/* h and a, the later of them, came after H */
	bool ambiguous_year;
	int weekday;			/* -1: none */
};

/* Java keeps the low 32 bits of what fits 64, and the largest 32-bit number for what does not. */
static int64_t
narrow(uint64_t value, uint32_t digits, bool negative)
{
	if (digits > 18)
		return negative ? INT32_MIN : INT32_MAX;
	return (int32_t)(uint32_t)(negative ? -value : value);
}

static bool
read_number(struct cursor *cursor, const uint8_t *end, int64_t *value, uint32_t *digits)
{
	const uint8_t *p = cursor->at;
	bool negative = p < end && *p == '-';
	uint64_t sum = 0;
	uint32_t significant = 0;
	p += negative;
	const uint8_t *first = p;
	for (; p < end && *p >= '0' && *p <= '9'; p++) {
		significant += significant || *p != '0';
		if (significant <= 18)
			sum = sum * 10 + (uint64_t)(*p - '0');
	}
	if (p == first)
		return false;
	*digits = negative ? 0 : (uint32_t)(p - first);		/* 0: signed, never a year of two digits */
	*value = narrow(sum, significant, negative);
	cursor->at = p;
	return true;
}

/* Index of the name at the cursor, whole or its first three letters, in any letter case; -1: none. */
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

/* hh, hhmm, hh:mm behind the sign. one_digit: h:mm too. */
static bool
read_zone_digits(struct cursor *cursor, bool minutes, bool colon, bool one_digit, int64_t *seconds)
{
	const uint8_t *p = cursor->at, *end = cursor->end;
	if (end - p < 2 || !isdigit(p[0]))
		return false;
	int64_t hours = *p++ - '0', mm = 0;
	if (isdigit(*p))
		hours = hours * 10 + (*p++ - '0');
	else if (!one_digit)
		return false;
	if (hours > 23)
		return false;
	if (minutes) {
		if (colon && (p == end || *p++ != ':'))
			return false;
		if (end - p < 2 || !isdigit(p[0]) || !isdigit(p[1]))
			return false;
		mm = (p[0] - '0') * 10 + p[1] - '0';
		if (mm > 59)
			return false;
		p += 2;
	}
	cursor->at = p;
	*seconds = (hours * 60 + mm) * 60;
	return true;
}

static bool
read_zone(struct cursor *cursor, const struct field *field, int64_t *seconds)
{
	size_t left = (size_t)(cursor->end - cursor->at);
	*seconds = 0;
	bool iso = field->letter == 'X', gmt = false;
	if (iso && left && *cursor->at == 'Z') {
		cursor->at++;
		return true;
	}
	if (!iso && left >= 3 && strncasecmp((const char *)cursor->at, "UTC", 3) == 0) {
		cursor->at += 3;
		return true;
	}
	if (!iso && left >= 3 && strncasecmp((const char *)cursor->at, "GMT", 3) == 0) {
		cursor->at += 3;
		gmt = true;
	}
	if (cursor->at == cursor->end || (*cursor->at != '+' && *cursor->at != '-'))
		return gmt;
	bool negative = *cursor->at++ == '-';
	if (!read_zone_digits(cursor, !iso || field->count > 1, gmt || (iso && field->count == 3), gmt, seconds))
		return false;
	if (negative)
		*seconds = -*seconds;
	return true;
}

static bool
read_field(const struct simpledate *date, const struct field *field, struct cursor *cursor, struct parts *parts)
{
	const uint8_t *start = cursor->at;
	while (cursor->at < cursor->end && (*cursor->at == ' ' || *cursor->at == '\t'))
		cursor->at++;
	if (cursor->at == cursor->end)
		return false;
	bool name = field->letter == 'E' || field->letter == 'a' || (field->letter == 'M' && field->count > 2);
	if (name && cursor->at != start)
		return false;	/* blanks are skipped in front of numbers and zones only */
	if (field->letter == 'E') {
		parts->weekday = read_name(cursor, weekdays);
		return parts->weekday >= 0;
	}
	if (field->letter == 'M' && name) {
		parts->month = read_name(cursor, months);
		return parts->month >= 0;
	}
	if (field->letter == 'a') {
		if (cursor->end - cursor->at < 2 || (cursor->at[1] | 32) != 'm' || ((cursor->at[0] | 32) != 'a' && (cursor->at[0] | 32) != 'p'))
			return false;
		parts->half = (cursor->at[0] | 32) == 'p';
		parts->has_half = true;
		parts->by_half_hour = parts->has_half_hour;
		cursor->at += 2;
		return true;
	}
	if (strchr("zZX", field->letter)) {
		parts->has_offset = true;
		return read_zone(cursor, field, &parts->offset_s);
	}
	const uint8_t *end = cursor->end;
	if (field->adjacent) {
		if ((size_t)(end - start) < field->count)
			return false;
		end = start + field->count;
	}
	int64_t value;
	uint32_t digits;
	if (!read_number(cursor, end, &value, &digits))
		return false;
	switch (field->letter) {
	case 'y':
		if (field->count <= 2 && digits == 2) {
			int64_t low = date->century_start_year % 100;
			parts->ambiguous_year = value == low;
			value += date->century_start_year - low + (value < low ? 100 : 0);
		}
		parts->year = value;
		break;
	case 'M':
		parts->month = value - 1;
		break;
	case 'd':
		parts->day = value;
		parts->has_day = true;
		parts->by_year_day = false;
		break;
	case 'D':
		parts->year_day = value;
		parts->has_year_day = parts->by_year_day = true;
		break;
	case 'H':
	case 'k':
		parts->hour = field->letter == 'k' && value == 24 ? 0 : value;
		parts->has_hour = true;
		parts->by_half_hour = false;
		break;
	case 'K':
	case 'h':
		parts->half_hour = field->letter == 'h' && value == 12 ? 0 : value;
		parts->has_half_hour = true;
		parts->by_half_hour = parts->has_half;
		break;
	case 'm':
		parts->minute = value;
		break;
	case 's':
		parts->second = value;
		break;
	default:	/* S */
		parts->milli = value;
		break;
	}
	return true;
}

/* Days since 1970-01-01, month from 0 and any. */
static int64_t
days_from(int64_t year, int64_t month, int64_t day)
{
	year += (month - (((month % 12) + 12) % 12)) / 12;
	month = ((month % 12) + 12) % 12;
	int64_t days = calendar_day_number(year, month + 1, day);
	if (days >= JULIAN_UNTIL)
		return days;
	int64_t y = year - (month < 2);		/* the year begins in March */
	int64_t of_year = (153 * (month + (month > 1 ? -2 : 10)) + 2) / 5 + day - 1;
	int64_t four = (y >= 0 ? y : y - 3) / 4, of_four = y - four * 4;
	return four * 1461 + of_four * 365 + of_year - 719470;
}

/* Seconds since 1970 of a local time in the process's zone. A time that comes twice, or never, is read as standard time. */
static int64_t
local_seconds(int64_t local)
{
	int64_t best = local;
	bool have = false, have_standard = false;
	for (int side = 0; side < 2; side++) {
		time_t near = (time_t)(local + (side ? DAY_S : -DAY_S)), at;
		struct tm tm, back;
		if (!localtime_r(&near, &tm))
			return local;
		at = (time_t)(local - tm.tm_gmtoff);
		if (!localtime_r(&at, &back))
			return local;
		bool fits = back.tm_gmtoff == tm.tm_gmtoff, standard = !tm.tm_isdst;
		/* A fitting one before any other, among equals the standard one. */
		if (!side || fits > have || (fits == have && standard && !have_standard)) {
			best = at;
			have = fits;
			have_standard = standard;
		}
	}
	return best;
}

static int64_t
put_together(const struct parts *p, int64_t year)
{
	int64_t days;
	if (p->has_year_day && (p->by_year_day || !p->has_day)) {
		days = days_from(year, 0, 1) + p->year_day - 1;
	} else if (p->weekday >= 0 && !p->has_day) {
		days = days_from(year, p->month, 1);	/* the first such day of the month */
		days += ((p->weekday - (days + 4)) % 7 + 7) % 7;
	} else {
		days = days_from(year, p->month, p->day);
	}
	int64_t hour = p->hour;
	if (p->by_half_hour || !p->has_hour)
		hour = p->half_hour + 12 * p->half;
	int64_t seconds = days * DAY_S + hour * 3600 + p->minute * 60 + p->second;
	int64_t more = p->milli / 1000, milli = p->milli % 1000;
	seconds = p->has_offset ? seconds + more - p->offset_s : local_seconds(seconds + more);
	return seconds * 1000 + milli;
}

bool
simpledate_parse(const struct simpledate *date, const uint8_t *text, uint32_t len, int64_t *ms)
{
	struct cursor cursor = { text, text + len };
	struct parts parts = { .year = 1970, .day = 1, .weekday = -1 };
	for (uint32_t i = 0; i < date->count; i++) {
		const struct field *field = &date->fields[i];
		if (field->letter) {
			if (!read_field(date, field, &cursor, &parts))
				return false;
		} else {
			if ((size_t)(cursor.end - cursor.at) < field->count || memcmp(cursor.at, field->text, field->count) != 0)
				return false;
			cursor.at += field->count;
		}
	}
	if (cursor.at == text)
		return false;
	*ms = put_together(&parts, parts.year);
	if (parts.ambiguous_year && *ms < date->century_start_s * 1000)
		*ms = put_together(&parts, parts.year + 100);
	return true;
}
