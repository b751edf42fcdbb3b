#include "dataplane/source/syslog.h"

#include <string.h>
#include <time.h>

#if defined(__SSE4_1__)
#include <smmintrin.h>
#endif

static inline bool
is_digit(uint8_t c)
{
	return (uint8_t)(c - '0') < 10;
}

static inline bool
is_space(uint8_t c)	/* \s */
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static inline bool
is_word(uint8_t c)	/* \w */
{
	return is_digit(c) || (uint8_t)((c | 0x20) - 'a') < 26 || c == '_';
}

/* What a host name goes on with: \w . @ - */
static const uint8_t host_more[256] = { ['0' ... '9'] = 1, ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1, ['_'] = 1, ['.'] = 1, ['@'] = 1, ['-'] = 1 };

/* Does `.*` reach the end? Java's dot stops at \n, \r, U+0085, U+2028 and U+2029. */
static bool
dot_matches_bytes(const uint8_t *p, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++) {
		uint8_t c = p[i];
		if (c == '\r' || c == '\n')
			return false;
		if (c == 0xc2 && i + 1 < len && p[i + 1] == 0x85)
			return false;
		if (c == 0xe2 && i + 2 < len && p[i + 1] == 0x80 && (p[i + 2] == 0xa8 || p[i + 2] == 0xa9))
			return false;
	}
	return true;
}

bool
syslog_dot(const uint8_t *p, uint32_t len)
{
#if defined(__SSE4_1__)
	if (len >= 16) {	/* nearly always: neither control characters nor anything beyond ASCII (negative here), and that is all there is to know */
		const uint8_t *last = p + len - 16;
		__m128i least = _mm_loadu_si128((const __m128i *)last);
		for (const uint8_t *at = p; at < last; at += 16)
			least = _mm_min_epi8(least, _mm_loadu_si128((const __m128i *)at));
		if (!_mm_movemask_epi8(_mm_cmplt_epi8(least, _mm_set1_epi8('\r' + 1))))
			return true;
	}
	if (len >= 16) {	/* tabs, and the like: still no \r, no \n and only ASCII */
		const __m128i cr = _mm_set1_epi8('\r'), lf = _mm_set1_epi8('\n');
		__m128i suspicious = _mm_setzero_si128();
		const uint8_t *last = p + len - 16;
		for (const uint8_t *at = p; at < last; at += 16) {
			__m128i v = _mm_loadu_si128((const __m128i *)at);
			suspicious = _mm_or_si128(suspicious, _mm_or_si128(v, _mm_or_si128(_mm_cmpeq_epi8(v, cr), _mm_cmpeq_epi8(v, lf))));
		}
		__m128i v = _mm_loadu_si128((const __m128i *)last);
		suspicious = _mm_or_si128(suspicious, _mm_or_si128(v, _mm_or_si128(_mm_cmpeq_epi8(v, cr), _mm_cmpeq_epi8(v, lf))));
		if (!_mm_movemask_epi8(suspicious))
			return true;
	}
#endif
	return dot_matches_bytes(p, len);
}

/* YYYY-MM-DDThh:mm:ss[.1-6 digits][+-hh:mm|Z]; returns its length or 0. */
static uint32_t
stamp_5424(const uint8_t *p, uint32_t len)
{
	static const char form[] = "0000-00-00T00:00:00";
	if (len < sizeof form - 1)
		return 0;
	for (uint32_t i = 0; i < sizeof form - 1; i++)
		if (form[i] == '0' ? !is_digit(p[i]) : p[i] != form[i])
			return 0;
	uint32_t n = sizeof form - 1;
	if (n + 1 < len && p[n] == '.' && is_digit(p[n + 1])) {
		uint32_t digits = 1;
		while (digits < 6 && n + 1 + digits < len && is_digit(p[n + 1 + digits]))
			digits++;
		n += 1 + digits;
	}
	if (n < len && p[n] == 'Z')
		return n + 1;
	if (n + 6 <= len && (p[n] == '+' || p[n] == '-') && is_digit(p[n + 1]) && is_digit(p[n + 2]) && p[n + 3] == ':' && is_digit(p[n + 4]) &&
	    is_digit(p[n + 5]))
		return n + 6;
	return n;
}

/* Mmm [d]d hh:mm:ss with one or two blanks after the month. */
static uint32_t
stamp_3164(const uint8_t *p, uint32_t len)
{
	if (len < 14 || (uint8_t)(p[0] - 'A') > 25 || (uint8_t)(p[1] - 'a') > 25 || (uint8_t)(p[2] - 'a') > 25 || !is_space(p[3]))
		return 0;
	uint32_t n = 4;
	if (is_space(p[n]))
		n++;
	if (!is_digit(p[n++]))
		return 0;
	if (n < len && is_digit(p[n]))
		n++;
	if (n + 9 > len || !is_space(p[n]))
		return 0;
	const uint8_t *t = p + n + 1;
	if (!is_digit(t[0]) || !is_digit(t[1]) || t[2] != ':' || !is_digit(t[3]) || !is_digit(t[4]) || t[5] != ':' || !is_digit(t[6]) || !is_digit(t[7]))
		return 0;
	return n + 9;
}

/* What follows the stamp: \s host \s .* */
static bool
match_tail(struct syslog_message *m, const uint8_t *bytes, uint32_t len, uint32_t at, bool nil_allowed)
{
	if (at >= len || !is_space(bytes[at]))
		return false;
	uint32_t host = ++at;
	if (at < len && is_word(bytes[at])) {
		while (at < len && host_more[bytes[at]])
			at++;
		m->host = (struct syslog_slice){ host, at - host };
		m->host_nil = false;
	} else if (nil_allowed && at < len && bytes[at] == '-') {
		at++;
		m->host = (struct syslog_slice){ host, 0 };
		m->host_nil = true;
	} else {
		return false;
	}
	if (at >= len || !is_space(bytes[at]) || !syslog_dot(bytes + at + 1, len - at - 1))
		return false;
	m->body = (struct syslog_slice){ at + 1, len - at - 1 };
	return true;
}

/* The version digit and the blank before the stamp are both optional, and the stamp may begin with a digit: try in the order a
 * backtracking matcher does. */
static bool
match_head(struct syslog_message *m, const uint8_t *bytes, uint32_t len, uint32_t at, bool rfc5424)
{
	for (int with_version = 1; with_version >= 0; with_version--) {
		uint32_t p = at;
		if (with_version) {
			if (p >= len || !is_digit(bytes[p]))
				continue;
			p++;
		}
		for (int with_space = 1; with_space >= 0; with_space--) {
			uint32_t q = p;
			if (with_space) {
				if (q >= len || !is_space(bytes[q]))
					continue;
				q++;
			}
			uint32_t n = rfc5424 ? stamp_5424(bytes + q, len - q) : stamp_3164(bytes + q, len - q);
			bool nil = rfc5424 && !n && q < len && bytes[q] == '-';
			if (!n && !nil)
				continue;
			if (!match_tail(m, bytes, len, q + (nil ? 1 : n), rfc5424))
				continue;
			m->version = (struct syslog_slice){ at, with_version ? 1 : 0 };
			m->stamp = (struct syslog_slice){ q, n };
			m->stamp_nil = nil;
			return true;
		}
	}
	return false;
}

void
syslog_parse(struct syslog_message *m, const uint8_t *bytes, uint32_t len)
{
	m->matched = m->has_body = m->stamp_empty = m->host_empty = false;
	m->bad_priority = true;
	m->priority = 0;
	if (len < 3 || bytes[0] != '<')
		return;
	uint32_t n = 1;
	while (n < len && n < 4 && is_digit(bytes[n]))
		m->priority = m->priority * 10 + (uint32_t)(bytes[n++] - '0');
	if (n == 1 || n >= len || bytes[n] != '>') {
		m->priority = 0;
		return;
	}
	m->bad_priority = false;
	m->priority_text = (struct syslog_slice){ 1, n - 1 };
	n++;
	/* The first pattern goes on with a digit, a blank or "-", never with the letter of a month. */
	m->rfc5424 = n < len && (uint8_t)(bytes[n] - 'A') > 25 && match_head(m, bytes, len, n, true);
	m->matched = m->rfc5424 || match_head(m, bytes, len, n, false);
	m->has_body = m->matched;
}

static int
two(const uint8_t *p)
{
	return (p[0] - '0') * 10 + (p[1] - '0');
}

static int64_t
local_ms(struct tm *tm)
{
	tm->tm_isdst = -1;
	return (int64_t)mktime(tm) * 1000;
}

static bool
time_3164(const uint8_t *p, uint32_t len, uint64_t now_ns, int64_t *ms)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	int month = -1;
	for (int i = 0; i < 12 && month < 0; i++)
		if (memcmp(p, months + 3 * i, 3) == 0)
			month = i;
	if (month < 0)
		return false;
	const uint8_t *t = p + len - 8;
	int day = 0;
	for (const uint8_t *d = p + 3; d < t - 1; d++)
		if (is_digit(*d))
			day = day * 10 + (*d - '0');
	time_t now = (time_t)(now_ns / 1000000000u);
	struct tm utc;
	gmtime_r(&now, &utc);
	int year = utc.tm_year;
	struct tm tm = { .tm_year = year, .tm_mon = month, .tm_mday = day, .tm_hour = two(t), .tm_min = two(t + 3), .tm_sec = two(t + 6) };
	struct tm copy = tm;
	int64_t value = local_ms(&copy);
	/* Flume: more than one month ahead is last year's, more than eleven months behind next year's. Months are moved on the message's date. */
	int64_t now_ms = (int64_t)(now_ns / 1000000u);
	struct tm earlier = tm, later = tm;
	earlier.tm_mon -= 1;
	later.tm_mon += 11;
	if (local_ms(&earlier) > now_ms) {
		tm.tm_year = year - 1;
		value = local_ms(&tm);
	} else if (local_ms(&later) < now_ms) {
		tm.tm_year = year + 1;
		value = local_ms(&tm);
	}
	*ms = value;
	return true;
}

bool
syslog_time(const uint8_t *p, uint32_t len, bool rfc5424, uint64_t now_ns, int64_t *ms)
{
	if (!rfc5424)
		return time_3164(p, len, now_ns, ms);
	struct tm tm = { .tm_year = (two(p) * 100 + two(p + 2)) - 1900, .tm_mon = two(p + 5) - 1, .tm_mday = two(p + 8), .tm_hour = two(p + 11),
			 .tm_min = two(p + 14), .tm_sec = two(p + 17) };
	if (len > 19 && p[19] == '.') {
		/* With a fraction Flume reads the number behind the dot (cut to three digits) as milliseconds and never sees the zone. */
		int fraction = 0;
		for (uint32_t i = 20; i < len && i < 23 && is_digit(p[i]); i++)
			fraction = fraction * 10 + (p[i] - '0');
		*ms = local_ms(&tm) + fraction;
		return true;
	}
	if (len == 19) {
		*ms = local_ms(&tm);
		return true;
	}
	int64_t offset_s = 0;
	if (p[19] != 'Z')
		offset_s = (two(p + 20) * 3600 + two(p + 23) * 60) * (p[19] == '-' ? -1 : 1);
	*ms = ((int64_t)timegm(&tm) - offset_s) * 1000;
	return true;
}
