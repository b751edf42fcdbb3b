#include "dataplane/source/syslogmulti.h"

#include <string.h>
#include <strings.h>
#include <time.h>

static bool
digit(uint8_t c)
{
	return (uint8_t)(c - '0') < 10;
}

static bool
digits(const uint8_t *p, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (!digit(p[i]))
			return false;
	return true;
}

static int
two(const uint8_t *p)
{
	return (p[0] - '0') * 10 + (p[1] - '0');
}

static int
month_days(int year, int month)
{
	static const uint8_t days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	return month == 1 && year % 4 == 0 && (year % 100 || year % 400 == 0) ? 29 : days[month];
}

/* One or two digits. */
static uint32_t
number(const uint8_t *p, uint32_t len, int *value)
{
	uint32_t n = 0;
	*value = 0;
	while (n < len && n < 2 && digit(p[n]))
		*value = *value * 10 + (p[n++] - '0');
	return n;
}

/* "Mmm d HH:mm:ss" in UTC, all of it; 0 when it cannot be read. The year is the one that puts the date between eleven months ago and one month ahead. */
static int64_t
time_3164(const uint8_t *p, uint32_t len, uint64_t now_ns)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	int month = -1, day, h, m, s;
	for (int i = 0; i < 12 && month < 0; i++)
		if (strncasecmp((const char *)p, months + 3 * i, 3) == 0)
			month = i;
	uint32_t at = 3, n;
	if (month < 0 || p[at++] != ' ')
		return 0;
	if (p[at] == ' ')
		at++;		/* two blanks are one */
	if (!(n = number(p + at, len - at, &day)) || (at += n) >= len || p[at++] != ' ' || !(n = number(p + at, len - at, &h)) || (at += n) >= len ||
	    p[at++] != ':' || !(n = number(p + at, len - at, &m)) || (at += n) >= len || p[at++] != ':' || !(n = number(p + at, len - at, &s)) ||
	    (at += n) != len)
		return 0;
	if (day < 1 || day > 29 + (month != 1) + (month_days(2000, month) == 31) || day > month_days(2000, month) || h > 23 || m > 59 || s > 59)
		return 0;
	time_t now = (time_t)(now_ns / 1000000000u);
	struct tm utc;
	gmtime_r(&now, &utc);
	for (int year = utc.tm_year + 1; year >= utc.tm_year - 1; year--) {
		struct tm tm = { .tm_year = year, .tm_mon = month, .tm_mday = day, .tm_hour = h, .tm_min = m, .tm_sec = s };
		if (day > month_days(year + 1900, month))
			tm.tm_mday = 28;	/* 29 February of a year that has none, as Joda does */
		struct tm earlier = tm;
		earlier.tm_mon--;
		if (timegm(&earlier) <= now)
			return (int64_t)timegm(&tm) * 1000;
	}
	return 0;
}

static bool
time_5424(const uint8_t *p, uint32_t len, int64_t *ms)
{
	static const char form[] = "0000-00-00T00:00:00";
	if (len <= sizeof form - 1)
		return false;
	for (uint32_t i = 0; i < sizeof form - 1; i++)
		if (form[i] == '0' ? !digit(p[i]) : p[i] != form[i] && (form[i] != 'T' || p[i] != 't'))
			return false;
	struct tm tm = { .tm_year = two(p) * 100 + two(p + 2) - 1900, .tm_mon = two(p + 5) - 1, .tm_mday = two(p + 8), .tm_hour = two(p + 11),
			 .tm_min = two(p + 14), .tm_sec = two(p + 17) };
	if (tm.tm_mon < 0 || tm.tm_mon > 11 || tm.tm_mday < 1 || tm.tm_mday > month_days(tm.tm_year + 1900, tm.tm_mon) || tm.tm_hour > 23 || tm.tm_min > 59 ||
	    tm.tm_sec > 59)
		return false;
	*ms = (int64_t)timegm(&tm) * 1000;
	uint32_t at = sizeof form - 1;
	if (p[at] == '.') {
		uint32_t begin = ++at;
		while (at < len && digit(p[at]))
			at++;
		if (at == begin || at == len)
			return false;
		/* Rounded down. */
		int whole = 0;
		for (uint32_t i = 0; i < 3; i++)
			whole = whole * 10 + (begin + i < at ? p[begin + i] - '0' : 0);
		*ms += whole;
	}
	if (p[at] == '+' || p[at] == '-') {
		if (len <= at + 5 || !digits(p + at + 1, 2) || p[at + 3] != ':' || !digits(p + at + 4, 2))
			return false;
		int64_t offset = (two(p + at + 1) * 60 + two(p + at + 4)) * INT64_C(60000);
		*ms -= p[at] == '+' ? offset : -offset;
	}
	return true;
}

bool
syslogmulti_parse(struct syslog_message *m, const uint8_t *bytes, uint32_t len, uint64_t now_ns, int64_t *ms)
{
	const uint8_t *end = len ? memchr(bytes, '>', len < 7 ? len : 7) : NULL;
	memset(m, 0, sizeof *m);
	if (!end || bytes[0] != '<')
		return false;
	uint32_t at = (uint32_t)(end - bytes) + 1;
	m->priority_text = (struct syslog_slice){ 1, at - 2 };
	uint32_t sign = bytes[1] == '+';
	if (m->priority_text.len <= sign || !digits(bytes + 1 + sign, m->priority_text.len - sign) || len <= at)
		return false;
	for (uint32_t i = 1 + sign; i + 1 < at; i++)
		m->priority = m->priority * 10 + (uint32_t)(bytes[i] - '0');
	if (len > at + 2 && bytes[at] == '1' && bytes[at + 1] == ' ') {
		m->version = (struct syslog_slice){ at, 1 };
		at += 2;
	}
	if (bytes[at] == '-') {
		m->stamp = (struct syslog_slice){ at, 1 };
		*ms = (int64_t)(now_ns / 1000000u);
		if (len <= at + 2)
			return false;
		at += 2;
	} else if (bytes[at] >= 'A' && bytes[at] <= 'Z') {
		if (len <= at + 15)
			return false;
		m->stamp = (struct syslog_slice){ at, 15 };
		*ms = time_3164(bytes + at, 15, now_ns);
		at += 16;
	} else {
		const uint8_t *blank = memchr(bytes + at, ' ', len - at);
		m->rfc5424 = true;
		if (!blank || !time_5424(bytes + at, (uint32_t)(blank - bytes) - at, ms))
			return false;
		m->stamp = (struct syslog_slice){ at, (uint32_t)(blank - bytes) - at };
		at = (uint32_t)(blank - bytes) + 1;
	}
	const uint8_t *blank = at < len ? memchr(bytes + at, ' ', len - at) : NULL;
	if (!blank)
		return false;
	m->host = (struct syslog_slice){ at, (uint32_t)(blank - bytes) - at };
	at = (uint32_t)(blank - bytes) + 1;
	m->body = (struct syslog_slice){ at, len - at };
	m->matched = true;
	return true;
}
