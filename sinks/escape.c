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
#include <time.h>
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
	*made = escape;
	return 0;
}

void
escape_free(struct escape *escape)
{
	if (!escape)
		return;
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
time_text(char letter, const struct tm *tm, int64_t ms, char *text, size_t room)
{
	static const char *const days[] = { "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday" };
	static const char *const months[] = { "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
					      "November", "December" };
	const char *day = days[tm->tm_wday], *month = months[tm->tm_mon];
	int hour12 = tm->tm_hour % 12 ? tm->tm_hour % 12 : 12;
	long year = tm->tm_year + 1900L, zone = tm->tm_gmtoff / 60;
	switch (letter) {
	case 's': return snprintf(text, room, "%lld", (long long)(ms / 1000));
	case 'a': return snprintf(text, room, "%.3s", day);
	case 'A': return snprintf(text, room, "%s", day);
	case 'b': return snprintf(text, room, "%.3s", month);
	case 'B': return snprintf(text, room, "%s", month);
	case 'c': return snprintf(text, room, "%.3s %.3s %d %02d:%02d:%02d %ld", day, month, tm->tm_mday, tm->tm_hour, tm->tm_min, tm->tm_sec, year);
	case 'd': return snprintf(text, room, "%02d", tm->tm_mday);
	case 'e': return snprintf(text, room, "%d", tm->tm_mday);
	case 'D': return snprintf(text, room, "%02d/%02d/%02ld", tm->tm_mon + 1, tm->tm_mday, year % 100);
	case 'H': return snprintf(text, room, "%02d", tm->tm_hour);
	case 'I': return snprintf(text, room, "%02d", hour12);
	case 'j': return snprintf(text, room, "%03d", tm->tm_yday + 1);
	case 'k': return snprintf(text, room, "%d", tm->tm_hour);
	case 'l': return snprintf(text, room, "%d", hour12);
	case 'm': return snprintf(text, room, "%02d", tm->tm_mon + 1);
	case 'n': return snprintf(text, room, "%d", tm->tm_mon + 1);
	case 'M': return snprintf(text, room, "%02d", tm->tm_min);
	case 'p': return snprintf(text, room, "%s", tm->tm_hour < 12 ? "AM" : "PM");
	case 'S': return snprintf(text, room, "%02d", tm->tm_sec);
	case 'y': return snprintf(text, room, "%02ld", year % 100);
	case 'Y': return snprintf(text, room, "%ld", year);
	case 'z': return snprintf(text, room, "%c%02ld%02ld", zone < 0 ? '-' : '+', labs(zone) / 60, labs(zone) % 60);
	case '%': return snprintf(text, room, "%%");
	default: return 0;
	}
}

/* The numeric `timestamp` header in ms, and its own text. */
static bool
event_time(const struct event_view *event, int64_t *ms, struct tm *tm, char *text, size_t room)
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
	char *end;
	errno = 0;
	long long number = strtoll(text, &end, 10);
	if (*end || errno || isspace((unsigned char)text[0]))
		return false;
	*ms = number;
	time_t s = (time_t)(number / 1000 - (number % 1000 < 0));
	return localtime_r(&s, tm) != NULL;
}

long
escape_fill(const struct escape *escape, const struct event_view *event, char *text, size_t room)
{
	size_t n = 0;
	int64_t ms = 0;
	struct tm tm;
	char stamp[32] = "", piece[128];
	if (escape->needs_time && !event_time(event, &ms, &tm, stamp, sizeof stamp))
		return -EINVAL;
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
			len = part->letter == 't' ? strlen(stamp) : (size_t)time_text(part->letter, &tm, ms, piece, sizeof piece);
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
