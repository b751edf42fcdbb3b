#include "sinks/escape.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netdb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum part_kind { PART_TEXT, PART_HEADER, PART_TIME };

struct part {
	enum part_kind kind;
	char letter;			/* PART_TIME */
	const char *text;		/* PART_TEXT and PART_HEADER; in `memory` */
	size_t len;
};

struct escape {
	uint32_t count;
	bool needs_time;
	struct calendar *calendar;	/* this machine's zone, for escape_fill */
	char *memory;
	struct part parts[];
};

/* %[word]: host name, address and canonical name of this machine, looked up once. */
static int
host_word(const char *word, size_t len, char *text, size_t room)
{
	char host[256];
	if (gethostname(host, sizeof host))
		memcpy(host, "localhost", sizeof "localhost");
	host[sizeof host - 1] = '\0';
	if (len == 9 && strncasecmp(word, "localhost", 9) == 0) {
		snprintf(text, room, "%s", host);
		return 0;
	}
	bool ip = len == 2 && strncasecmp(word, "IP", 2) == 0;
	if (!ip && !(len == 4 && strncasecmp(word, "FQDN", 4) == 0))
		return -EINVAL;
	struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_CANONNAME }, *found = NULL;
	snprintf(text, room, "%s", ip ? "127.0.0.1" : host);
	if (getaddrinfo(host, NULL, &hints, &found) == 0) {
		if (ip)
			(void)getnameinfo(found->ai_addr, found->ai_addrlen, text, (socklen_t)room, NULL, 0, NI_NUMERICHOST);
		else if (found->ai_canonname)
			snprintf(text, room, "%s", found->ai_canonname);
		freeaddrinfo(found);
	}
	return 0;
}

static bool
word_character(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

int
escape_parse(struct escape **made, const char *text, struct err *err)
{
	size_t text_len = strlen(text);
	struct escape *escape = calloc(1, sizeof *escape + (2 * text_len + 2) * sizeof escape->parts[0]);
	size_t room = text_len * 2 + 1024 * (1 + text_len / 4);
	char *memory = malloc(room), *end = memory;
	if (!escape || !memory) {
		free(escape);
		free(memory);
		return err_set(err, ENOMEM, "no memory");
	}
	escape->memory = memory;
	struct part *part = NULL;
	for (const char *p = text; *p;) {
		const char *close = NULL;
		if (p[0] == '%' && p[1] == '{') {
			close = p + 2;
			while (word_character(*close) || *close == '.' || *close == '-')
				close++;
			close = *close == '}' && close > p + 2 ? close : NULL;
		} else if (p[0] == '%' && p[1] == '[') {
			close = p + 2;
			while (word_character(*close))
				close++;
			close = *close == ']' && close > p + 2 ? close : NULL;
		}
		if (close && p[1] == '{') {
			part = &escape->parts[escape->count++];
			*part = (struct part){ .kind = PART_HEADER, .text = end, .len = (size_t)(close - p - 2) };
			memcpy(end, p + 2, part->len);
			end += part->len;
			p = close + 1;
			continue;
		}
		if (close) {
			char host[512];
			if (host_word(p + 2, (size_t)(close - p - 2), host, sizeof host)) {
				int rc = err_set(err, EINVAL, "\"%s\": %%[%.*s] is not known: use %%[localhost], %%[IP] or %%[FQDN]", text,
					(int)(close - p - 2), p + 2);
				escape_free(escape);
				return rc;
			}
			part = &escape->parts[escape->count++];
			*part = (struct part){ .kind = PART_TEXT, .text = end, .len = strlen(host) };
			memcpy(end, host, part->len);
			end += part->len;
			p = close + 1;
			continue;
		}
		if (p[0] == '%' && (word_character(p[1]) || p[1] == '%')) {
			part = &escape->parts[escape->count++];
			*part = (struct part){ .kind = PART_TIME, .letter = p[1] };
			escape->needs_time = true;
			p += 2;
			continue;
		}
		if (!part || part->kind != PART_TEXT || part->text + part->len != end) {
			part = &escape->parts[escape->count++];
			*part = (struct part){ .kind = PART_TEXT, .text = end };
		}
		*end++ = *p++;
		part->len++;
	}
	int rc = escape->needs_time ? calendar_open(&escape->calendar, NULL, err) : 0;
	if (rc) {
		escape_free(escape);
		return rc;
	}
	*made = escape;
	return 0;
}

void
escape_free(struct escape *escape)
{
	if (!escape)
		return;
	calendar_close(escape->calendar);
	free(escape->memory);
	free(escape);
}

bool
escape_is_plain(const struct escape *escape)
{
	for (uint32_t i = 0; i < escape->count; i++) {
		if (escape->parts[i].kind != PART_TEXT)
			return false;
	}
	return true;
}

static int
time_text(char letter, const struct calendar_time *time, int64_t ms, char *text, size_t room)
{
	static const char *const days[] = { "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday" };
	static const char *const months[] = { "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
					      "November", "December" };
	const char *day = days[time->weekday], *month = months[time->month - 1];
	int hour12 = time->hour % 12 ? time->hour % 12 : 12;
	int zone = time->zone_s / 60;
	switch (letter) {
	case 's': return snprintf(text, room, "%lld", (long long)(ms / 1000));
	case 'a': return snprintf(text, room, "%.3s", day);
	case 'A': return snprintf(text, room, "%s", day);
	case 'b': return snprintf(text, room, "%.3s", month);
	case 'B': return snprintf(text, room, "%s", month);
	case 'c': return snprintf(text, room, "%.3s %.3s %d %02d:%02d:%02d %d", day, month, time->day, time->hour, time->minute, time->second, time->year);
	case 'd': return snprintf(text, room, "%02d", time->day);
	case 'e': return snprintf(text, room, "%d", time->day);
	case 'D': return snprintf(text, room, "%02d/%02d/%02d", time->month, time->day, time->year % 100);
	case 'H': return snprintf(text, room, "%02d", time->hour);
	case 'I': return snprintf(text, room, "%02d", hour12);
	case 'j': return snprintf(text, room, "%03d", time->yearday);
	case 'k': return snprintf(text, room, "%d", time->hour);
	case 'l': return snprintf(text, room, "%d", hour12);
	case 'm': return snprintf(text, room, "%02d", time->month);
	case 'n': return snprintf(text, room, "%d", time->month);
	case 'M': return snprintf(text, room, "%02d", time->minute);
	case 'p': return snprintf(text, room, "%s", time->hour < 12 ? "AM" : "PM");
	case 'S': return snprintf(text, room, "%02d", time->second);
	case 'y': return snprintf(text, room, "%02d", time->year % 100);
	case 'Y': return snprintf(text, room, "%d", time->year);
	case 'z': return snprintf(text, room, "%c%02d%02d", zone < 0 ? '-' : '+', abs(zone) / 60, abs(zone) % 60);
	case '%': return snprintf(text, room, "%%");
	default: return 0;
	}
}

/* The `timestamp` header's own text; false: there is none, or it is too long. */
static bool
event_stamp(const struct event_view *event, char *text, size_t room)
{
	struct header_view header;
	char digits[24];
	const uint8_t *value;
	if (!event_view_header(event, "timestamp", 9, &header))
		return false;
	uint32_t len = header_view_text(&header, digits, &value);
	if (len == 0 || len >= room)
		return false;
	memcpy(text, value, len);
	text[len] = '\0';
	return true;
}

static bool
stamp_number(const char *text, int64_t *ms)
{
	char *end;
	errno = 0;
	long long number = strtoll(text, &end, 10);
	if (*end || errno || isspace((unsigned char)text[0]))
		return false;
	*ms = number;
	return true;
}

static int64_t
instant(const struct escape_time *time, int64_t ms)
{
	return time->round ? calendar_floor(time->calendar, ms, time->unit, time->value) : ms;
}

bool
escape_by_instant(const struct escape *escape)
{
	for (uint32_t i = 0; i < escape->count; i++) {
		if (escape->parts[i].kind == PART_HEADER || escape->parts[i].letter == 't')
			return false;
	}
	return true;
}

bool
escape_needs_time(const struct escape *escape)
{
	return escape->needs_time;
}

bool
escape_instant(const struct event_view *event, const struct escape_time *time, int64_t *ms)
{
	char stamp[32];
	if (time->use_clock) {
		*ms = instant(time, time->now_ms);
		return true;
	}
	if (!event_stamp(event, stamp, sizeof stamp) || !stamp_number(stamp, ms))
		return false;
	*ms = instant(time, *ms);
	return true;
}

static long
fill(const struct escape *escape, const struct event_view *event, const struct escape_time *time, char *text, size_t room)
{
	size_t n = 0;
	int64_t ms = 0;
	struct calendar_time fields;
	char stamp[32] = "", piece[128];
	bool stamped = escape->needs_time && event_stamp(event, stamp, sizeof stamp);
	if (escape->needs_time) {
		if (time->use_clock)
			ms = time->now_ms;
		else if (!stamped || !stamp_number(stamp, &ms))
			return -EINVAL;
		ms = instant(time, ms);
		calendar_split(time->calendar, ms, &fields);
	}
	for (uint32_t i = 0; i < escape->count; i++) {
		const struct part *part = &escape->parts[i];
		const void *bytes = part->text;
		size_t len = part->len;
		char digits[24];
		if (part->kind == PART_HEADER) {
			struct header_view header;
			const uint8_t *value = NULL;
			len = event_view_header(event, part->text, part->len, &header) ? header_view_text(&header, digits, &value) : 0;
			bytes = value;
		} else if (part->kind == PART_TIME) {
			bytes = part->letter == 't' ? stamp : piece;
			len = part->letter == 't' ? strlen(stamp) : (size_t)time_text(part->letter, &fields, ms, piece, sizeof piece);
		}
		if (len >= room - n)
			return -ENOSPC;
		if (len)
			memcpy(text + n, bytes, len);
		n += len;
	}
	text[n] = '\0';
	return (long)n;
}

long
escape_fill_at(const struct escape *escape, const struct event_view *event, const struct escape_time *time, char *text, size_t room)
{
	return fill(escape, event, time, text, room);
}

long
escape_fill(const struct escape *escape, const struct event_view *event, char *text, size_t room)
{
	return fill(escape, event, &(struct escape_time){ .calendar = escape->calendar }, text, room);
}
